/* Named network namespaces; see netns.h. The layout and the mount propagation are those of
 * iproute2's ipnetns.c, so that `ip netns exec NAME` works on ours and we on its. */
#include "netpolicy/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "netpolicy/nl_link.h"

#define NETNS_DIR "/run/netns"

struct call {
    int fd; /* namespace, or -1: a fresh one */
    int (*fn)(void *ctx, struct err *err);
    void *ctx;
    struct err err;
    int rc;
};

static int name_path(const char *name, char *buf, size_t size, struct err *err);
static int make_dir(struct err *err);
static int run_in_thread(struct call *c, struct err *err);
static int bind_here(void *path, struct err *err);

int
netns_add(const char *name, struct err *err)
{
    char path[sizeof NETNS_DIR + 1 + NETNS_MAX_NAME_BYTES];
    struct call c = {.fd = -1, .fn = bind_here, .ctx = path};
    int rc = name_path(name, path, sizeof path, err);
    int fd;

    if (rc != 0 || (rc = make_dir(err)) != 0)
        return rc;
    fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (fd < 0)
        return err_set(err, -errno, "network namespace %s: %s", name,
                       errno == EEXIST ? "there is one of this name" : strerror(errno));
    close(fd);
    rc = run_in_thread(&c, err);
    if (rc != 0) {
        umount2(path, MNT_DETACH);
        unlink(path);
        return err_prefix(err, rc, "network namespace %s", name);
    }
    return 0;
}

int
netns_del(const char *name, struct err *err)
{
    char path[sizeof NETNS_DIR + 1 + NETNS_MAX_NAME_BYTES];
    int rc = name_path(name, path, sizeof path, err);

    if (rc != 0)
        return rc;
    /* Not mounted (EINVAL) is what an interrupted netns_add leaves: the file goes all the same. */
    if (umount2(path, MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT)
        return err_set(err, -errno, "network namespace %s: cannot unmount %s: %s", name, path,
                       strerror(errno));
    if (unlink(path) != 0)
        return err_set(err, -errno, "network namespace %s: %s", name, strerror(errno));
    return 0;
}

int
netns_open(const char *name, struct err *err)
{
    char path[sizeof NETNS_DIR + 1 + NETNS_MAX_NAME_BYTES];
    int rc = name_path(name, path, sizeof path, err);
    int fd;

    if (rc != 0)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "network namespace %s: %s", name, strerror(errno));
    return fd;
}

int
netns_enter(int fd, struct err *err)
{
    if (setns(fd, CLONE_NEWNET) != 0)
        return err_set(err, -errno, "cannot enter the network namespace: %s", strerror(errno));
    return 0;
}

int
netns_call(int fd, int (*fn)(void *ctx, struct err *err), void *ctx, struct err *err)
{
    struct call c = {.fd = fd, .fn = fn, .ctx = ctx};

    return run_in_thread(&c, err);
}

bool
netns_has_process(int fd, pid_t pid)
{
    struct stat ns, of;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    return fstat(fd, &ns) == 0 && stat(path, &of) == 0 && ns.st_dev == of.st_dev &&
           ns.st_ino == of.st_ino;
}

static int
name_path(const char *name, char *buf, size_t size, struct err *err)
{
    size_t len = strlen(name);

    if (len == 0 || len > NETNS_MAX_NAME_BYTES || strchr(name, '/') || name[0] == '.')
        return err_set(err, -EINVAL,
                       "network namespace \"%.64s\": want a name of 1 to %d bytes without '/' that "
                       "does not begin with '.'",
                       name, NETNS_MAX_NAME_BYTES);
    snprintf(buf, size, "%s/%s", NETNS_DIR, name);
    return 0;
}

/* Makes /run/netns a shared mount point, as ip(8) does: a namespace that is deleted here vanishes
 * in other mount namespaces, too, instead of living on there. */
static int
make_dir(struct err *err)
{
    bool bound = false;
    AUTO_FD int lock = -1;

    if (mkdir(NETNS_DIR, 0755) != 0 && errno != EEXIST)
        return err_set(err, -errno, "%s: %s", NETNS_DIR, strerror(errno));
    /* Two that bind at the same time would stack two mounts. */
    lock = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        return err_set(err, -errno, "%s: %s", NETNS_DIR, strerror(errno));
    while (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) != 0) {
        /* EINVAL: not a mount point yet */
        if (errno != EINVAL || bound)
            return err_set(err, -errno, "%s: cannot share the mount: %s", NETNS_DIR,
                           strerror(errno));
        if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) != 0)
            return err_set(err, -errno, "%s: cannot make it a mount point: %s", NETNS_DIR,
                           strerror(errno));
        bound = true;
    }
    return 0;
}

static int
bind_here(void *path, struct err *err)
{
    int rc = nl_link_up("lo", err);

    if (rc != 0)
        return rc;
    if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) != 0)
        return err_set(err, -errno, "cannot mount it at %s: %s", (const char *)path,
                       strerror(errno));
    return 0;
}

static void *
thread_main(void *arg)
{
    struct call *c = arg;

    if (c->fd >= 0)
        c->rc = netns_enter(c->fd, &c->err);
    else if (unshare(CLONE_NEWNET) != 0)
        c->rc = err_set(&c->err, -errno, "cannot make a namespace: %s", strerror(errno));
    if (c->rc == 0)
        c->rc = c->fn(c->ctx, &c->err);
    return NULL;
}

/* Namespaces belong to threads: one that ends takes no harm with it when something goes wrong half-
 * way. */
static int
run_in_thread(struct call *c, struct err *err)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, thread_main, c);

    if (rc != 0)
        return err_set(err, -rc, "cannot start a thread: %s", strerror(rc));
    pthread_join(t, NULL);
    if (c->err.code != 0 && err)
        *err = c->err;
    return c->rc;
}
