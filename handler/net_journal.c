/* One JSON file; see net_journal.h. */
#include "handler/net_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/fs.h"
#include "handler/limits.h"

#define VERSION 1

static const char *const phase_names[] = {
#define X(id, name, text) name,
    NET_PHASES(X)
#undef X
};

static void
put(struct tree *t, const char *key, const struct tree *v)
{
    if (v)
        tree_set(t, key, tree_copy(v));
}

const char *
net_phase_name(enum net_phase p)
{
    return phase_names[p];
}

int
net_journal_load(const char *state_dir, struct net_journal *ret, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/network.json", state_dir);
    AUTO_FREE char *buf = NULL;
    AUTO_TREE struct tree *t = NULL;
    struct err why = {0};
    struct tree *change;
    const char *phase;
    size_t len;
    int rc = fs_read_all(path, HANDLER_MAX_NET_JOURNAL_BYTES, &buf, &len, &why);

    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = tree_from_json(buf, len, &t, &why);
    if (rc == 0 && tree_get_int(tree_get(t, "version"), 0) != VERSION)
        rc = err_set(&why, -EINVAL, "version: want %d", VERSION);
    if (rc != 0)
        return err_set(err, rc, "%s: %s", path, err_msg(&why));
    change = tree_get(t, "change");
    phase = change ? tree_get_string(tree_get(change, "phase"), "") : "idle";
    ret->phase = NET_PHASE_COUNT;
    for (int i = 0; i < NET_PHASE_COUNT; i++)
        if (strcmp(phase, phase_names[i]) == 0)
            ret->phase = (enum net_phase)i;
    if (ret->phase == NET_PHASE_COUNT) {
        ret->phase = NET_IDLE;
        return err_set(err, -EINVAL, "%s: change.phase %.40s: want applying, probing or back", path,
                       phase);
    }
    ret->baseline = tree_take(t, "baseline");
    ret->policies = tree_take(t, "policies");
    ret->refused = tree_take(t, "refused");
    if (change) {
        ret->back = tree_take(change, "back");
        ret->prior = tree_take(change, "prior");
        ret->after = tree_take(change, "after");
        ret->next = tree_take(change, "policies");
    }
    return 0;
}

int
net_journal_save(const char *state_dir, const struct net_journal *j, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/network.json", state_dir);
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb sb = SB_INIT;
    int rc;

    tree_set(t, "version", tree_int(VERSION));
    put(t, "baseline", j->baseline);
    put(t, "policies", j->policies);
    put(t, "refused", j->refused);
    if (j->phase != NET_IDLE) {
        struct tree *change = tree_map();

        tree_set(change, "phase", tree_string(phase_names[j->phase]));
        put(change, "back", j->back);
        put(change, "prior", j->prior);
        put(change, "after", j->after);
        put(change, "policies", j->next);
        tree_set(t, "change", change);
    }
    tree_to_json(t, 1, &sb);
    rc = fs_replace(path, sb.buf, sb.len, 0600, err);
    return rc ? err_prefix(err, rc, "%s", path) : 0;
}

int
net_journal_lock(const char *state_dir, bool alone, int *ret_fd, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/network.lock", state_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc;

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK
                 ? err_set(err, -EBUSY, "%s: %s", state_dir,
                           alone ? "a drover-handler runs with this state directory: stop it first"
                                 : "drover-handler --leave is at work on it")
                 : err_set(err, -errno, "%s: %s", path, strerror(errno));
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

void
net_journal_done(struct net_journal *j)
{
    tree_free(j->baseline);
    tree_free(j->policies);
    tree_free(j->refused);
    net_journal_idle(j);
    memset(j, 0, sizeof *j);
}

void
net_journal_idle(struct net_journal *j)
{
    j->phase = NET_IDLE;
    net_journal_set(&j->back, NULL);
    net_journal_set(&j->prior, NULL);
    net_journal_set(&j->after, NULL);
    net_journal_set(&j->next, NULL);
}

void
net_journal_set(struct tree **slot, struct tree *t)
{
    tree_free(*slot);
    *slot = t;
}
