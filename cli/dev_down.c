/* The end of a dev cluster: exactly its processes, namespaces and files. See dev_cluster.h. Every
 * step works on what is there, so that it can be run on the remains of an interrupted one; the
 * record (cluster.json) goes last. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "cli/dev_file.h"
#include "cli/dev_priv.h"

#define END_WAIT_MS 5000 /* after SIGTERM, before SIGKILL */

static void end_daemons(struct dev_cluster *c, struct err *err);
static void end_guests(const char *state_dir, struct err *err);
static void end_libvirt(struct dev_cluster *c, struct err *err);
static void end_strays(const char *netns, struct err *err);
static void remove_network(const struct dev_cluster *c, struct err *err);
static void remove_files(const struct dev_cluster *c, struct err *err);

/* The first error is kept. */
static void
note(struct err *first, int rc, const struct err *e)
{
    if (rc != 0 && first->code == 0)
        err_set(first, rc, "%s", err_msg(e));
}

int
dev_down_all(struct dev_cluster *c, struct err *err)
{
    struct err first = {0};

    end_daemons(c, &first);
    end_libvirt(c, &first);
    for (size_t i = 0; i < c->nodes_len; i++)
        end_guests(c->nodes[i].state_dir, &first);
    for (size_t i = 0; i < c->nodes_len; i++)
        end_strays(c->nodes[i].netns, &first);
    end_strays(c->netns, &first);
    remove_network(c, &first);
    if (first.code == 0) /* else keep the record for another try */
        remove_files(c, &first);
    if (first.code != 0 && err)
        *err = first;
    return first.code;
}

/* --- processes --- */

static void
end_all(struct dev_process *const *list, size_t len, struct err *first)
{
    uint64_t end_us = clock_mono_us() + (uint64_t)END_WAIT_MS * 1000;

    for (size_t i = 0; i < len; i++)
        dev_proc_signal(list[i], SIGTERM);
    for (size_t i = 0; i < len; i++) {
        uint64_t now_us = clock_mono_us();
        unsigned left_ms = now_us < end_us ? (unsigned)((end_us - now_us) / 1000) : 0;
        struct err e = {0};

        if (dev_proc_wait(list[i], left_ms) || dev_proc_kill(list[i]))
            list[i]->pid = 0;
        else
            note(first, err_set(&e, -ETIMEDOUT, "pid %d does not end", (int)list[i]->pid), &e);
    }
}

/* Handlers first: they may still tell the controller how their migrations ended. */
static void
end_daemons(struct dev_cluster *c, struct err *first)
{
    AUTO_FREE struct dev_process **list = xcalloc(c->nodes_len + 1, sizeof(struct dev_process *));
    struct dev_process *controller = &c->controller;

    for (size_t i = 0; i < c->nodes_len; i++)
        list[i] = &c->nodes[i].handler;
    end_all(list, c->nodes_len, first);
    end_all(&controller, 1, first);
}

/* libvirtd before its QEMUs, which are ended as strays: it would take note of each. Last the process that
 * holds the host's namespaces. */
static void
end_libvirt(struct dev_cluster *c, struct err *first)
{
    AUTO_FREE struct dev_process **list = xcalloc(c->nodes_len + 1, sizeof(struct dev_process *));

    for (size_t i = 0; i < c->nodes_len; i++)
        list[i] = &c->nodes[i].libvirtd;
    end_all(list, c->nodes_len, first);
    for (size_t i = 0; i < c->nodes_len; i++)
        list[i] = &c->nodes[i].host;
    end_all(list, c->nodes_len, first);
}

static void
kill_one(const struct dev_process *p, struct err *first)
{
    struct err e = {0};

    if (!dev_proc_kill(p))
        note(first, err_set(&e, -ETIMEDOUT, "pid %d does not end", (int)p->pid), &e);
}

/* Guests that the handlers' state names: <state>/guests/UID/pid holds pid, start time and boot id
 * (docs/native-guest.md). */
static void
end_guests(const char *state_dir, struct err *first)
{
    AUTO_FREE char *guests = xasprintf("%s/guests", state_dir);
    DIR *d = opendir(guests);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        AUTO_FREE char *path = xasprintf("%s/%s/pid", guests, e->d_name);
        AUTO_FREE char *text = NULL;
        struct dev_process p = {0};
        char program[64];
        size_t len;

        if (e->d_name[0] == '.' || fs_read_all(path, 4096, &text, &len, NULL) != 0 ||
            sscanf(text, "%d %" SCNu64, &p.pid, &p.start) != 2 || p.pid <= 1)
            continue;
        /* After a reboot another process may have both numbers: it must be a guest. */
        if (dev_proc_alive(&p) && dev_proc_program(p.pid, program, sizeof program) &&
            strncmp(program, "drover-guest", 12) == 0)
            kill_one(&p, first);
    }
    if (d)
        closedir(d);
}

struct strays {
    size_t found;
    struct err *first;
};

/* Our programs in the cluster's own namespaces that no record names: somebody restarted a daemon by
 * hand, or what wrote the record was interrupted; and what libvirtd started there. Other programs
 * there are somebody's shell and are left alone. */
static void
end_stray(void *ctx, const struct dev_process *p)
{
    static const char *const ours[] = {"drover-controller", "drover-handler", "drover-guest"};
    static const char *const of_host[] = {"libvirtd", "qemu-system-x86_64", "qemu-img", "sleep"};
    struct strays *s = ctx;
    char program[64];
    bool it = false;

    if (!dev_proc_program(p->pid, program, sizeof program))
        return;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        it = it || strcmp(program, ours[i]) == 0;
    for (size_t i = 0; i < ARRAY_LEN(of_host) && !it && dev_proc_apart(p->pid); i++)
        it = strcmp(program, of_host[i]) == 0;
    if (it) {
        kill_one(p, s->first);
        s->found++;
    }
}

static void
end_strays(const char *netns, struct err *first)
{
    AUTO_FD int fd = netns_open(netns, NULL);
    struct strays s = {.found = 1, .first = first};

    /* A handler may have started a guest between our look at /proc and its end. */
    for (int turn = 0; fd >= 0 && s.found > 0 && turn < 8; turn++) {
        s.found = 0;
        dev_proc_each_in(fd, end_stray, &s);
    }
}

/* --- namespaces and files --- */

static void
remove_namespace(const char *name, struct err *first)
{
    struct err e = {0};
    int rc = netns_del(name, &e);

    if (rc != -ENOENT)
        note(first, rc, &e);
}

static void
remove_network(const struct dev_cluster *c, struct err *first)
{
    /* A namespace lives on while somebody's shell is in it: its links are taken away all the
     * same. */
    for (size_t i = 0; i < c->nodes_len; i++)
        dev_net_cut_node(c->netns, i);
    for (size_t i = 0; i < c->nodes_len; i++)
        remove_namespace(c->nodes[i].netns, first);
    remove_namespace(c->netns, first);
}

static void
remove_files(const struct dev_cluster *c, struct err *first)
{
    AUTO_FREE char *file = xasprintf("%s/" DEV_FILE_NAME, c->dir);
    DIR *d = opendir(c->dir);
    struct err e = {0};
    struct dirent *de;

    while (d && (de = readdir(d))) {
        AUTO_FREE char *path = xasprintf("%s/%s", c->dir, de->d_name);

        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
            strcmp(de->d_name, DEV_FILE_NAME) != 0)
            note(first, fs_rmtree(path, &e), &e);
    }
    if (d)
        closedir(d);
    if (first->code != 0)
        return;
    if (unlink(file) != 0 && errno != ENOENT)
        note(first, err_set(&e, -errno, "%s: %s", file, strerror(errno)), &e);
    else if (rmdir(c->dir) != 0 && errno != ENOENT)
        note(first, err_set(&e, -errno, "%s: %s", c->dir, strerror(errno)), &e);
}
