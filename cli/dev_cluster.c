/* See dev_cluster.h. The order of making: directory and cluster.json, namespaces, controller,
 * handlers; cluster.json is written before anything that it names is made, and again after each
 * process, so that `down` finds everything whenever `up` was interrupted. */
#include "cli/dev_cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api/quantity.h"
#include "api/selector.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "cli/dev_file.h"
#include "cli/dev_libvirt.h"
#include "cli/dev_priv.h"
#include "migrate/tls_pki.h"

static int claim_dir(const char *dir, int *ret_fd, struct err *err);
static int check_config(const struct dev_config *cfg, const char *dir, struct err *err);
static int plan(const struct dev_config *cfg, const char *dir, struct dev_cluster **ret,
                struct err *err);
static int make(const struct dev_config *cfg, struct dev_cluster *c, struct err *err);

int
dev_cluster_up(const struct dev_config *cfg, struct dev_cluster **ret, struct err *err)
{
    const char *dir = cfg->dir ? cfg->dir : DEV_DIR_DEFAULT;
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    AUTO_FD int lock = -1;
    int rc;

    if ((rc = check_config(cfg, dir, err)) != 0 || (rc = dev_net_permitted(err)) != 0 ||
        (rc = plan(cfg, dir, &c, err)) != 0 || (rc = claim_dir(dir, &lock, err)) != 0)
        return rc;
    rc = make(cfg, c, err);
    if (rc != 0) {
        dev_down_all(c, NULL);
        return rc;
    }
    *ret = TAKE_PTR(c);
    return 0;
}

int
dev_cluster_open(const char *dir, struct dev_cluster **ret, struct err *err)
{
    return dev_file_read(dir ? dir : DEV_DIR_DEFAULT, ret, err);
}

int
dev_cluster_down(struct dev_cluster *c, struct err *err)
{
    AUTO_FD int lock = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, -EBUSY, "%s: another drover dev is at work on it", c->dir);
    return dev_down_all(c, err);
}

static void
free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

void
dev_cluster_free(struct dev_cluster *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->nodes_len; i++) {
        struct dev_node *n = &c->nodes[i];

        free(n->name);
        free(n->netns);
        free(n->mgmt_ip);
        free(n->state_dir);
        free(n->tls_dir);
        free_list(n->handler_argv);
    }
    free(c->nodes);
    free(c->dir);
    free(c->netns);
    free(c->url);
    free(c->tcp_url);
    free(c->kubeconfig);
    free_list(c->controller_argv);
    free(c);
}

void
dev_cluster_auto(struct dev_cluster **c)
{
    dev_cluster_free(*c);
}

struct dev_node *
dev_cluster_node(struct dev_cluster *c, const char *name)
{
    for (size_t i = 0; i < c->nodes_len; i++)
        if (strcmp(c->nodes[i].name, name) == 0)
            return &c->nodes[i];
    return NULL;
}

/* --- checks before anything is made --- */

static int
check_node(const struct dev_config *cfg, size_t i, struct err *err)
{
    const char *name = cfg->nodes[i].name;
    int rc;

    if (!name)
        return 0;
    rc = name_check(name, err);
    if (rc != 0)
        return err_prefix(err, rc, "node \"%s\"", name);
    if (strlen(name) > DEV_MAX_NAME_BYTES)
        return err_set(err, -EINVAL, "node \"%s\": want a name of at most %d bytes", name,
                       DEV_MAX_NAME_BYTES);
    for (size_t k = 0; k < i; k++)
        if (cfg->nodes[k].name && strcmp(cfg->nodes[k].name, name) == 0)
            return err_set(err, -EINVAL, "node \"%s\": is there twice", name);
    return 0;
}

static int
check_config(const struct dev_config *cfg, const char *dir, struct err *err)
{
    int64_t beat_us = 0;
    int rc = 0;

    if (dir[0] != '/' || strlen(dir) > DEV_MAX_DIR_BYTES || dir[1] == '\0')
        return err_set(err, -EINVAL,
                       "directory \"%.128s\": want an absolute path of at most %d bytes (the "
                       "controller's socket lies in it)",
                       dir, DEV_MAX_DIR_BYTES);
    if (cfg->nodes_len > DEV_NET_MAX_NODES)
        return err_set(err, -EINVAL, "%zu nodes: want 1 to %d", cfg->nodes_len, DEV_NET_MAX_NODES);
    if (cfg->heartbeat) {
        rc = duration_parse(cfg->heartbeat, &beat_us, err);
        if (rc == 0 && (beat_us < 100000 || beat_us > 600000000))
            rc = err_set(err, -EINVAL, "want 100ms to 10m");
        if (rc != 0)
            return err_prefix(err, rc, "heartbeat \"%s\"", cfg->heartbeat);
    }
    for (size_t i = 0; cfg->nodes && i < cfg->nodes_len && rc == 0; i++)
        rc = check_node(cfg, i, err);
    return rc;
}

/* Makes dir if need be, holds its lock, and refuses one that has something in it. */
static int
claim_dir(const char *dir, int *ret_fd, struct err *err)
{
    AUTO_FREE char *file = xasprintf("%s/" DEV_FILE_NAME, dir);
    AUTO_FD int fd = -1;
    struct dirent *e;
    int rc = fs_mkdirs(dir, 0755, err);
    DIR *d;

    if (rc != 0)
        return rc;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", dir, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, -EBUSY, "%s: another drover dev is at work on it", dir);
    if (access(file, F_OK) == 0)
        return err_set(err, -EEXIST,
                       "%s: holds a cluster already; end it (drover dev down --dir %s) or choose "
                       "another --dir",
                       dir, dir);
    d = opendir(dir);
    if (!d)
        return err_set(err, -errno, "%s: %s", dir, strerror(errno));
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        rc = err_set(err, -ENOTEMPTY, "%s: want an empty or missing directory; it holds %s", dir,
                     e->d_name);
        break;
    }
    closedir(d);
    *ret_fd = rc == 0 ? take_fd(&fd) : -1;
    return rc;
}

/* --- the plan: everything that will be made, before anything is --- */

static int
find_program(const struct dev_config *cfg, const char *name, char **ret, struct err *err)
{
    char self[4096] = ".";
    ssize_t n;

    if (!cfg->bin_dir) {
        n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n <= 0)
            return err_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
    }
    AUTO_FREE char *path = xasprintf("%s/%s", cfg->bin_dir ? cfg->bin_dir : self, name);
    if (access(path, X_OK) != 0)
        return err_set(err, -errno, "%s: %s: it must be there to make a cluster", path,
                       strerror(errno));
    *ret = TAKE_PTR(path);
    return 0;
}

/* A namespace's name that nobody has. */
static int
choose_id(struct dev_cluster *c, struct err *err)
{
    for (int turn = 0; turn < 32; turn++) {
        unsigned char r[2];
        int fd, rc = rng_secret(r, sizeof r);

        if (rc != 0)
            return err_set(err, rc, "no random numbers: %s", strerror(-rc));
        snprintf(c->id, sizeof c->id, "%02x%02x", r[0], r[1]);
        free(c->netns);
        c->netns = xasprintf("drover-%s", c->id);
        fd = netns_open(c->netns, NULL);
        if (fd < 0)
            return 0;
        close(fd);
    }
    return err_set(err, -EEXIST, "no free name for a cluster: remove old namespaces (ip netns)");
}

struct args {
    char **items;
    size_t len;
};

static void
add_arg(struct args *a, const char *s)
{
    a->items = xreallocarray(a->items, a->len + 2, sizeof *a->items);
    a->items[a->len++] = xstrdup(s);
    a->items[a->len] = NULL;
}

static void
add_option(struct args *a, const char *name, const char *value)
{
    add_arg(a, name);
    add_arg(a, value);
}

static void
plan_controller(const struct dev_config *cfg, struct dev_cluster *c, const char *program)
{
    AUTO_FREE char *store = xasprintf("%s/controller/drover.db", c->dir);
    struct args a = {0};

    add_arg(&a, program);
    add_option(&a, "--listen", c->url);
    add_option(&a, "--listen", "tcp:" DEV_NET_CONTROLLER ":8001");
    add_option(&a, "--store", cfg->store ? cfg->store : store);
    for (size_t i = 0; cfg->controller_args && cfg->controller_args[i]; i++)
        add_arg(&a, cfg->controller_args[i]);
    c->controller_argv = a.items;
}

static void
plan_node(const struct dev_config *cfg, struct dev_cluster *c, size_t i, const char *program,
          bool libvirt)
{
    static const struct dev_node_config plain;
    const struct dev_node_config *nc = cfg->nodes ? &cfg->nodes[i] : &plain;
    struct ip mgmt = dev_net_mgmt_address(i);
    struct dev_node *n = &c->nodes[i];
    char text[IP_TEXT_SIZE];
    struct args a = {0};

    n->name = nc->name ? xstrdup(nc->name) : xasprintf("n%zu", i + 1);
    n->netns = xasprintf("%s-%s", c->netns, n->name);
    n->state_dir = xasprintf("%s/nodes/%s", c->dir, n->name);
    n->libvirt = libvirt;
    n->emulated = libvirt && cfg->emulate;
    ip_format(&mgmt, text, sizeof text);
    n->mgmt_ip = xstrdup(text);

    AUTO_FREE char *metrics = xasprintf("%s:%u", n->mgmt_ip, DEV_METRICS_PORT);

    add_arg(&a, program);
    add_option(&a, "--node-name", n->name);
    add_option(&a, "--controller", c->tcp_url);
    add_option(&a, "--state-dir", n->state_dir);
    add_option(&a, "--address", n->mgmt_ip);
    if (cfg->plaintext) {
        add_arg(&a, "--insecure-plaintext");
    } else {
        n->tls_dir = xasprintf("%s/pki/%s", c->dir, n->name);
        add_option(&a, "--tls-dir", n->tls_dir);
    }
    add_option(&a, "--capacity-cpu", nc->cpu ? nc->cpu : DEV_DEFAULT_CPU);
    add_option(&a, "--capacity-memory", nc->memory ? nc->memory : DEV_DEFAULT_MEMORY);
    add_option(&a, "--heartbeat-interval", cfg->heartbeat ? cfg->heartbeat : DEV_DEFAULT_HEARTBEAT);
    add_option(&a, "--metrics-listen", metrics);
    add_option(&a, "--hypervisor", libvirt ? "auto" : "native");
    if (libvirt) {
        AUTO_FREE char *beside =
            xasprintf("%.*s/images", (int)(strrchr(program, '/') - program), program);

        add_option(&a, "--libvirt-uri", DEV_LIBVIRT_URI);
        add_option(&a, "--images", cfg->images ? cfg->images : beside);
    }
    for (size_t k = 0; cfg->handler_args && cfg->handler_args[k]; k++)
        add_arg(&a, cfg->handler_args[k]);
    for (size_t k = 0; k < nc->labels.len; k++) {
        AUTO_FREE char *label =
            xasprintf("%s=%s", nc->labels.items[k].key, nc->labels.items[k].value);

        add_option(&a, "--label", label);
    }
    n->handler_argv = a.items;
}

static int
plan(const struct dev_config *cfg, const char *dir, struct dev_cluster **ret, struct err *err)
{
    AUTO_DEV_CLUSTER struct dev_cluster *c = xcalloc(1, sizeof *c);
    AUTO_FREE char *controller = NULL;
    AUTO_FREE char *handler = NULL;
    size_t len = cfg->nodes_len ? cfg->nodes_len : DEV_DEFAULT_NODES;
    bool libvirt = cfg->hypervisor == DEV_LIBVIRT ||
                   (cfg->hypervisor == DEV_AUTO && dev_libvirt_installed(NULL) == 0);
    int rc = libvirt ? dev_libvirt_installed(err) : 0;

    if (rc != 0 || (rc = find_program(cfg, "drover-controller", &controller, err)) != 0 ||
        (rc = find_program(cfg, "drover-handler", &handler, err)) != 0 ||
        (rc = choose_id(c, err)) != 0)
        return rc;
    c->dir = xstrdup(dir);
    c->url = xasprintf("unix:%s/api.sock", dir);
    c->tcp_url = xstrdup("http://" DEV_NET_CONTROLLER ":8001");
    c->kubeconfig = xasprintf("%s/kubeconfig", dir);
    c->nodes = xcalloc(len, sizeof *c->nodes);
    c->nodes_len = len;
    plan_controller(cfg, c, controller);
    for (size_t i = 0; i < len; i++)
        plan_node(cfg, c, i, handler, libvirt);
    for (size_t i = 0; i < len && libvirt; i++)
        if ((rc = dev_libvirt_check_paths(&c->nodes[i], err)) != 0)
            return rc;
    *ret = TAKE_PTR(c);
    return 0;
}

/* --- making it --- */

static void say(const struct dev_config *cfg, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
say(const struct dev_config *cfg, const char *fmt, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    if (!cfg->say)
        return;
    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    cfg->say(cfg->say_ctx, sb_str(&sb));
}

static int
stopped(const struct dev_config *cfg, struct err *err)
{
    return cfg->stop && atomic_load(cfg->stop) ? err_set(err, -EINTR, "interrupted") : 0;
}

static int
make_certificates(const struct dev_cluster *c, struct err *err)
{
    AUTO_FREE char *ca = xasprintf("%s/pki/ca", c->dir);
    int rc = c->nodes_len > 0 && c->nodes[0].tls_dir ? tls_pki_ca(ca, err) : 0;

    for (size_t i = 0; i < c->nodes_len && c->nodes[i].tls_dir && rc == 0; i++)
        rc = tls_pki_node(ca, c->nodes[i].name, c->nodes[i].tls_dir, TLS_PKI_NODE_DAYS, err);
    return rc;
}

static int
make_dirs(const struct dev_cluster *c, struct err *err)
{
    AUTO_FREE char *controller = xasprintf("%s/controller", c->dir);
    AUTO_FREE char *log = xasprintf("%s/log", c->dir);
    int rc = fs_mkdirs(controller, 0755, err);

    if (rc == 0)
        rc = fs_mkdirs(log, 0755, err);
    for (size_t i = 0; i < c->nodes_len && rc == 0; i++)
        rc = fs_mkdirs(c->nodes[i].state_dir, 0755, err);
    if (rc == 0)
        rc = make_certificates(c, err);
    return rc != 0 ? rc : dev_file_write_kubeconfig(c, err);
}

static int
make_networks(const struct dev_config *cfg, const struct dev_cluster *c, struct err *err)
{
    int rc = dev_net_make_switch(c->netns, err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < c->nodes_len; i++) {
        const struct dev_node *n = &c->nodes[i];

        if ((rc = stopped(cfg, err)) != 0)
            return rc;
        rc = dev_net_make_node(c->netns, n->netns, i, err);
        if (rc != 0)
            return err_prefix(err, rc, "node %s", n->name);
        say(cfg, "namespace %s: mgmt0 %s, eth1", n->netns, n->mgmt_ip);
    }
    return 0;
}

/* A host's namespaces and libvirtd, where it has one, and its handler. */
static int
start_node(const struct dev_config *cfg, struct dev_cluster *c, struct dev_node *n, struct err *err)
{
    int rc;

    if (n->libvirt) {
        if ((rc = dev_libvirt_make_host(c, n, err)) != 0 || (rc = dev_file_write(c, err)) != 0 ||
            (rc = dev_start_libvirtd(c, n->name, err)) != 0)
            return err_prefix(err, rc, "node %s", n->name);
        say(cfg, "libvirtd of %s: pid %d%s", n->name, (int)n->libvirtd.pid,
            n->emulated ? ", without /dev/kvm" : "");
    }
    if ((rc = dev_start_handler(c, n->name, NULL, err)) != 0)
        return rc;
    say(cfg, "handler of %s: pid %d", n->name, (int)n->handler.pid);
    return 0;
}

static int
make(const struct dev_config *cfg, struct dev_cluster *c, struct err *err)
{
    unsigned ready_ms = cfg->ready_ms ? cfg->ready_ms : DEV_READY_MS;
    int rc;

    if ((rc = dev_file_write(c, err)) != 0 || (rc = make_dirs(c, err)) != 0)
        return rc;
    say(cfg, "cluster %s in %s", c->id, c->dir);
    if ((rc = make_networks(cfg, c, err)) != 0 || (rc = dev_start_controller(c, NULL, err)) != 0)
        return rc;
    say(cfg, "controller: pid %d, %s in namespace %s, %s", (int)c->controller.pid, c->tcp_url,
        c->netns, c->url);
    for (size_t i = 0; i < c->nodes_len; i++) {
        if ((rc = stopped(cfg, err)) != 0 || (rc = start_node(cfg, c, &c->nodes[i], err)) != 0)
            return rc;
    }
    if ((rc = dev_wait_ready(c, ready_ms, cfg->stop, err)) != 0)
        return rc;
    for (size_t i = 0; cfg->nodes && i < c->nodes_len; i++) {
        const struct dev_node_config *nc = &cfg->nodes[i];

        if (nc->taints_len > 0 &&
            (rc = dev_ready_taint(c, c->nodes[i].name, nc->taints, nc->taints_len, err)) != 0)
            return rc;
    }
    c->ready = true;
    say(cfg, "%zu nodes are Ready", c->nodes_len);
    return dev_file_write(c, err);
}
