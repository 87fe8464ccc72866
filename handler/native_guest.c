/* The driver's handle on one native guest: finding it, its names, its life and its end. See
 * native_guest.h; starting one is native_spawn.c, talking to it native_ops.c. */
#include "handler/native_guest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "api/tree.h"
#include "base/fs.h"
#include "handler/guest_exit.h"
#include "handler/libvirt_guest.h"
#include "handler/native_priv.h"

int
native_uid_check(const char *uid, struct err *err)
{
    size_t len = uid ? strlen(uid) : 0;

    if (len < 1 || len > GUEST_MAX_UID || uid[0] == '.' ||
        strspn(uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != len)
        return err_set(err, -EINVAL,
                       "guest uid '%.80s': want 1 to %u letters, digits, '-', '_' or '.', not "
                       "beginning with '.'",
                       uid ? uid : "", GUEST_MAX_UID);
    return 0;
}

int
native_new(const char *dir, const char *uid, pid_t pid, int pidfd, struct native_guest **ret,
           struct err *err)
{
    struct native_guest *g = xcalloc(1, sizeof(*g));
    AUTO_FREE char *path = xasprintf("%s/%s", dir, NATIVE_CONFIG_FILE);
    AUTO_FREE char *text = NULL;
    AUTO_TREE struct tree *t = NULL;
    size_t len = 0;
    int64_t memory;
    int r;

    g->dir = xstrdup(dir);
    g->uid = xstrdup(uid);
    g->pid = pid;
    g->pidfd = pidfd;
    g->memfd = -1;
    g->throttle_fd = -1;
    pthread_mutex_init(&g->mu, NULL);
    r = fs_read_all(path, NATIVE_FILE_MAX, &text, &len, err);
    if (r == 0)
        r = tree_from_json(text, len, &t, err);
    memory = tree_get_int(tree_get(t, "memoryBytes"), 0);
    if (r == 0 && memory <= 0)
        r = err_set(err, -EINVAL, "memoryBytes: want a positive number");
    if (r < 0) {
        g->pidfd = -1; /* stays the caller's */
        native_free(g);
        return err_prefix(err, r, "%s", path);
    }
    g->memory_bytes = (uint64_t)memory;
    g->name = xstrdup(tree_get_string(tree_get(t, "name"), ""));
    g->incoming = tree_get_bool(tree_get(t, "incoming"), false);
    *ret = g;
    return 0;
}

/* libvirt's guests have their directories beside ours. */
static bool
is_domain(const char *dir)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, LV_RECORD_FILE);

    return access(path, F_OK) == 0;
}

int
native_open(const char *state_dir, const char *vmi_uid, struct native_guest **ret, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    AUTO_FD int pidfd = -1;
    pid_t pid = 0;
    int r = native_uid_check(vmi_uid, err);

    if (r < 0)
        return r;
    dir = xasprintf("%s/guests/%s", state_dir, vmi_uid);
    pthread_mutex_lock(&native_spawn_mu);
    r = native_proc_open(dir, &pid, &pidfd, err);
    if (r == -ENOENT && !is_domain(dir))
        (void)fs_rmtree(dir, NULL); /* its start was cut short; what stays is found again */
    pthread_mutex_unlock(&native_spawn_mu);
    if (r == -ENOENT)
        return err_set(err, r, "there is no guest %s", vmi_uid);
    if (r == 0)
        r = native_new(dir, vmi_uid, pid, pidfd, ret, err);
    if (r == 0)
        pidfd = -1;
    return r;
}

static int
by_uid(const void *a, const void *b)
{
    return strcmp((*(struct native_guest *const *)a)->uid, (*(struct native_guest *const *)b)->uid);
}

static void
clean_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

int
native_find(const char *state_dir, struct native_guest ***ret, size_t *ret_len, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/guests", state_dir);
    CLEANUP(clean_dir) DIR *d = opendir(path);
    struct native_guest **list = NULL;
    const struct dirent *e;
    size_t len = 0;
    int r = 0;

    if (!d && errno != ENOENT)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    while (d && r == 0 && (errno = 0, e = readdir(d))) {
        struct native_guest *g = NULL;

        if (native_uid_check(e->d_name, NULL) < 0)
            continue;
        r = native_open(state_dir, e->d_name, &g, err);
        if (r == -ENOENT)
            r = 0;
        if (!g)
            continue;
        list = xreallocarray(list, len + 1, sizeof(struct native_guest *));
        list[len++] = g;
    }
    if (r == 0 && d && errno)
        r = err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (r < 0) {
        while (len > 0)
            native_free(list[--len]);
        free(list);
        return r;
    }
    if (len > 0)
        qsort(list, len, sizeof(struct native_guest *), by_uid);
    *ret = list;
    *ret_len = len;
    return 0;
}

void
native_free(struct native_guest *g)
{
    if (!g)
        return;
    if (g->map)
        munmap(g->map, g->memory_bytes);
    if (g->throttle_fd >= 0)
        close(g->throttle_fd);
    if (g->memfd >= 0)
        close(g->memfd);
    if (g->pidfd >= 0)
        close(g->pidfd);
    pthread_mutex_destroy(&g->mu);
    free(g->dir);
    free(g->uid);
    free(g->name);
    free(g);
}

const char *
native_uid(const struct native_guest *g)
{
    return g->uid;
}

const char *
native_name(const struct native_guest *g)
{
    return g->name;
}

const char *
native_dir(const struct native_guest *g)
{
    return g->dir;
}

uint64_t
native_memory_bytes(const struct native_guest *g)
{
    return g->memory_bytes;
}

bool
native_was_incoming(const struct native_guest *g)
{
    return g->incoming;
}

pid_t
native_pid(const struct native_guest *g)
{
    return g->pidfd >= 0 ? g->pid : 0;
}

int
native_pidfd(const struct native_guest *g)
{
    return g->pidfd;
}

bool
native_alive(const struct native_guest *g)
{
    return native_proc_alive(g->pidfd);
}

/* --- its end --- */

void
native_exit_reason(const struct native_guest *g, struct native_exit *ret)
{
    static const struct {
        const char *word, *text;
        enum native_exit_kind kind;
    } kinds[] = {
        {GUEST_EXIT_QUIT, "ended in order", NATIVE_EXIT_QUIT},
        {GUEST_EXIT_FAILED, "failed", NATIVE_EXIT_FAILED},
        {GUEST_EXIT_CRASHED, "crashed", NATIVE_EXIT_CRASHED},
    };
    AUTO_FREE char *path = xasprintf("%s/%s", g->dir, GUEST_EXIT_FILE);
    AUTO_FREE char *text = NULL;
    size_t len = 0;

    *ret = (struct native_exit){.kind = NATIVE_EXIT_NONE, .text = "it runs"};
    if (native_alive(g))
        return;
    *ret = (struct native_exit){.kind = NATIVE_EXIT_KILLED, .text = "killed: it left no word"};
    if (fs_read_all(path, NATIVE_FILE_MAX, &text, &len, NULL) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i].word);

        if (strncmp(text, kinds[i].word, n) != 0 || text[n] != ' ')
            continue;
        ret->kind = kinds[i].kind;
        snprintf(ret->text, sizeof(ret->text), "%s: %.200s", kinds[i].text, text + n + 1);
    }
}

int
native_kill(struct native_guest *g, struct err *err)
{
    int r = native_proc_kill(g->pidfd, err);

    return r < 0 ? err_prefix(err, r, "guest %s", g->uid) : 0;
}

int
native_remove(struct native_guest *g, struct err *err)
{
    int r = native_kill(g, err);

    return r < 0 ? r : fs_rmtree(g->dir, err);
}
