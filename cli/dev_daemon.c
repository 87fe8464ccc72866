/* The daemons of a dev cluster: started, killed, waited for; and whatever else runs inside its
 * namespaces. See dev_cluster.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "cli/dev_cluster.h"
#include "cli/dev_file.h"
#include "cli/dev_libvirt.h"
#include "cli/dev_priv.h"

#define POLL_MS       50
#define LOG_MAX_BYTES (64u << 20)

static int spawn(struct dev_cluster *c, const struct dev_node *n, char *const *argv,
                 const char *log, const char *const *env, struct dev_process *ret, struct err *err);
static int need_node(struct dev_cluster *c, const char *name, struct dev_node **ret,
                     struct err *err);
static int need_libvirt(struct dev_cluster *c, const char *name, struct dev_node **ret,
                        struct err *err);
static int all_alive(const struct dev_cluster *c, struct err *err);

int
dev_start_controller(struct dev_cluster *c, const char *const *env, struct err *err)
{
    int rc;

    if (dev_proc_alive(&c->controller))
        return err_set(err, -EALREADY, "drover-controller: it runs already");
    rc = spawn(c, NULL, c->controller_argv, "controller", env, &c->controller, err);
    return rc != 0 ? rc : dev_file_write(c, err);
}

int
dev_start_handler(struct dev_cluster *c, const char *node, const char *const *env, struct err *err)
{
    AUTO_FREE char *log = xasprintf("handler-%s", node);
    struct dev_node *n;
    int rc = need_node(c, node, &n, err);

    if (rc != 0)
        return rc;
    if (dev_proc_alive(&n->handler))
        return err_set(err, -EALREADY, "drover-handler of node %s: it runs already", node);
    rc = spawn(c, n, n->handler_argv, log, env, &n->handler, err);
    return rc != 0 ? rc : dev_file_write(c, err);
}

int
dev_kill_controller(struct dev_cluster *c, struct err *err)
{
    if (!dev_proc_kill(&c->controller))
        return err_set(err, -ETIMEDOUT, "drover-controller: pid %d does not end",
                       (int)c->controller.pid);
    return 0;
}

int
dev_kill_handler(struct dev_cluster *c, const char *node, struct err *err)
{
    struct dev_node *n;
    int rc = need_node(c, node, &n, err);

    if (rc == 0 && !dev_proc_kill(&n->handler))
        rc = err_set(err, -ETIMEDOUT, "drover-handler of node %s: pid %d does not end", node,
                     (int)n->handler.pid);
    return rc;
}

int
dev_start_libvirtd(struct dev_cluster *c, const char *node, struct err *err)
{
    AUTO_FREE char *log = xasprintf("libvirtd-%s", node);
    struct dev_node *n;
    int rc = need_libvirt(c, node, &n, err);

    if (rc != 0)
        return rc;
    if (dev_proc_alive(&n->libvirtd))
        return err_set(err, -EALREADY, "libvirtd of node %s: it runs already", node);
    rc = spawn(c, n, dev_libvirt_argv, log, NULL, &n->libvirtd, err);
    return rc != 0 ? rc : dev_file_write(c, err);
}

int
dev_kill_libvirtd(struct dev_cluster *c, const char *node, struct err *err)
{
    struct dev_node *n;
    int rc = need_libvirt(c, node, &n, err);

    if (rc == 0 && !dev_proc_kill(&n->libvirtd))
        rc = err_set(err, -ETIMEDOUT, "libvirtd of node %s: pid %d does not end", node,
                     (int)n->libvirtd.pid);
    return rc;
}

int
dev_wait_ready(struct dev_cluster *c, unsigned timeout_ms, const atomic_bool *stop, struct err *err)
{
    uint64_t end_us = clock_mono_us() + (uint64_t)(timeout_ms ? timeout_ms : DEV_READY_MS) * 1000;
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    struct err why = {0};
    int rc;

    for (;;) {
        if (stop && atomic_load(stop))
            return err_set(err, -EINTR, "interrupted");
        if ((rc = all_alive(c, err)) != 0)
            return rc;
        rc = dev_ready_check(c, &why);
        if (rc != -EAGAIN) {
            if (err && rc != 0)
                *err = why;
            return rc;
        }
        if (clock_mono_us() >= end_us)
            return err_set(err, -ETIMEDOUT, "not ready in time: %s", err_msg(&why));
        nanosleep(&pause, NULL);
    }
}

int
dev_node_call(struct dev_cluster *c, const char *node, int (*fn)(void *ctx, struct err *err),
              void *ctx, struct err *err)
{
    const char *netns = c->netns;
    AUTO_FD int fd = -1;
    struct dev_node *n;
    int rc;

    if (node) {
        if ((rc = need_node(c, node, &n, err)) != 0)
            return rc;
        netns = n->netns;
    }
    fd = netns_open(netns, err);
    return fd < 0 ? fd : netns_call(fd, fn, ctx, err);
}

int
dev_node_spawn(struct dev_cluster *c, const char *node, char *const *argv, const char *log,
               struct dev_process *ret, struct err *err)
{
    struct dev_node *n = NULL;
    int rc = node ? need_node(c, node, &n, err) : 0;

    return rc != 0 ? rc : spawn(c, n, argv, log, NULL, ret, err);
}

struct counting {
    const char *ifname;
    struct nl_counters *ret;
};

static int
count(void *ctx, struct err *err)
{
    struct counting *k = ctx;

    return nl_link_counters(k->ifname, k->ret, err);
}

int
dev_counters(struct dev_cluster *c, const char *node, const char *ifname, struct nl_counters *ret,
             struct err *err)
{
    struct counting k = {ifname, ret};

    return dev_node_call(c, node, count, &k, err);
}

static int
need_node(struct dev_cluster *c, const char *name, struct dev_node **ret, struct err *err)
{
    *ret = dev_cluster_node(c, name);
    return *ret ? 0 : err_set(err, -ENOENT, "node %s: the cluster has none of this name", name);
}

static int
need_libvirt(struct dev_cluster *c, const char *name, struct dev_node **ret, struct err *err)
{
    if (need_node(c, name, ret, err) != 0 || !*ret)
        return -ENOENT;
    return (*ret)->libvirt ? 0 : err_set(err, -ENOTSUP, "node %s: has no libvirtd", name);
}

/* n NULL: on the switch. */
static int
spawn(struct dev_cluster *c, const struct dev_node *n, char *const *argv, const char *log,
      const char *const *env, struct dev_process *ret, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/log/%s.log", c->dir, log);
    AUTO_FD int fd = netns_open(n ? n->netns : c->netns, err);
    struct dev_spawn s = {.argv = argv,
                          .env = env,
                          .netns_fd = fd,
                          .log = path,
                          .host = n && n->libvirt ? &n->host : NULL};

    return fd < 0 ? fd : dev_proc_spawn(&s, ret, err);
}

/* The last line that a daemon wrote: mostly why it ended. */
static void
last_words(const struct dev_cluster *c, const char *log, char *buf, size_t size)
{
    AUTO_FREE char *path = xasprintf("%s/log/%s.log", c->dir, log);
    AUTO_FREE char *text = NULL;
    const char *line;
    size_t len;

    snprintf(buf, size, "its log %s is empty", path);
    if (fs_read_all(path, LOG_MAX_BYTES, &text, &len, NULL) != 0)
        return;
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    line = memrchr(text, '\n', len);
    line = line ? line + 1 : text;
    if (*line)
        snprintf(buf, size, "%s", line);
}

static int
all_alive(const struct dev_cluster *c, struct err *err)
{
    char words[512];

    if (c->controller.pid > 0 && !dev_proc_alive(&c->controller)) {
        last_words(c, "controller", words, sizeof words);
        return err_set(err, -ESRCH, "drover-controller has ended: %s", words);
    }
    for (size_t i = 0; i < c->nodes_len; i++) {
        const struct dev_node *n = &c->nodes[i];

        if (n->handler.pid > 0 && !dev_proc_alive(&n->handler)) {
            AUTO_FREE char *log = xasprintf("handler-%s", n->name);

            last_words(c, log, words, sizeof words);
            return err_set(err, -ESRCH, "drover-handler of node %s has ended: %s", n->name, words);
        }
        if (n->libvirtd.pid > 0 && !dev_proc_alive(&n->libvirtd)) {
            AUTO_FREE char *log = xasprintf("libvirtd-%s", n->name);

            last_words(c, log, words, sizeof words);
            return err_set(err, -ESRCH, "libvirtd of node %s has ended: %s", n->name, words);
        }
    }
    return 0;
}
