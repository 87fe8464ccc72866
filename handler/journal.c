/* The journal's files: JSON through api/tree; see journal.h. */
#include "handler/journal.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "api/tree.h"
#include "base/fs.h"
#include "handler/limits.h"

static const char *const state_names[] = {
#define X(id, name, text) [JOURNAL_##id] = name,
    JOURNAL_STATES(X)
#undef X
};

static int load_one(const char *path, struct journal *ret, struct err *err);
static int copy_field(char *dst, size_t size, const struct tree *t, const char *key, bool required,
                      const char *path, struct err *err);

const char *
journal_state_name(enum journal_state s)
{
    return state_names[s];
}

char *
journal_postcopy_path(const char *state_dir, const char *uid)
{
    return xasprintf("%s/vms/%s.postcopy", state_dir, uid);
}

int
journal_write(const char *state_dir, const struct journal *j, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/vms/%s.json", state_dir, j->uid);
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb sb = SB_INIT;

    tree_set(t, "uid", tree_string(j->uid));
    tree_set(t, "namespace", tree_string(j->namespace_));
    tree_set(t, "name", tree_string(j->name));
    tree_set(t, "cluster", tree_string(j->cluster));
    tree_set(t, "state", tree_string(state_names[j->state]));
    tree_set(t, "hypervisor", tree_string(hv_kind_name(j->hypervisor)));
    tree_set(t, "generation", tree_int((int64_t)j->generation));
    tree_set(t, "migrationUid", tree_string(j->migration_uid));
    tree_set(t, "reason", tree_string(j->reason));
    if (j->post_copy)
        tree_set(t, "postCopy", tree_bool(true));
    tree_to_json(t, 2, &sb);
    sb_putc(&sb, '\n');
    return fs_replace(path, sb.buf, sb.len, 0600, err);
}

int
journal_remove(const char *state_dir, const char *uid, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/vms/%s.json", state_dir, uid);
    AUTO_FREE char *postcopy = journal_postcopy_path(state_dir, uid);

    (void)unlink(postcopy);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

int
journal_load_all(const char *state_dir, int (*fn)(void *ctx, const struct journal *j), void *ctx,
                 struct err *err)
{
    AUTO_FREE char *dir = xasprintf("%s/vms", state_dir);
    int rc = fs_mkdirs(dir, 0700, err);
    DIR *d;
    struct dirent *e;

    if (rc != 0)
        return rc;
    d = opendir(dir);
    if (!d)
        return err_set(err, -errno, "%s: %s", dir, strerror(errno));
    while (rc == 0 && (e = readdir(d))) {
        size_t len = strlen(e->d_name);
        AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
        struct journal j;

        if (len > 4 && strcmp(e->d_name + len - 4, ".tmp") == 0) {
            unlink(path); /* a write that did not get as far as its rename */
            continue;
        }
        if (len < 6 || strcmp(e->d_name + len - 5, ".json") != 0)
            continue;
        rc = load_one(path, &j, err);
        if (rc == 0)
            rc = fn(ctx, &j);
    }
    closedir(d);
    return rc;
}

static int
load_one(const char *path, struct journal *ret, struct err *err)
{
    AUTO_FREE char *buf = NULL;
    AUTO_TREE struct tree *t = NULL;
    struct journal j = {0};
    const char *state;
    size_t len;
    int rc = fs_read_all(path, HANDLER_MAX_JOURNAL_BYTES, &buf, &len, err);

    if (rc == 0)
        rc = tree_from_json(buf, len, &t, err);
    if (rc != 0)
        return err_prefix(err, rc, "%s", path);
    if ((rc = copy_field(j.uid, sizeof j.uid, t, "uid", true, path, err)) != 0 ||
        (rc = copy_field(j.namespace_, sizeof j.namespace_, t, "namespace", true, path, err)) !=
            0 ||
        (rc = copy_field(j.name, sizeof j.name, t, "name", true, path, err)) != 0 ||
        (rc = copy_field(j.cluster, sizeof j.cluster, t, "cluster", false, path, err)) != 0 ||
        (rc = copy_field(j.reason, sizeof j.reason, t, "reason", false, path, err)) != 0 ||
        (rc = copy_field(j.migration_uid, sizeof j.migration_uid, t, "migrationUid", false, path,
                         err)) != 0)
        return rc;

    int64_t generation = tree_get_int(tree_get(t, "generation"), -1);

    if (generation < 0)
        return err_set(err, -EINVAL, "%s: generation: want a number from 0", path);
    j.generation = (uint64_t)generation;
    state = tree_get_string(tree_get(t, "hypervisor"), hv_kind_name(HV_NATIVE));
    if (!hv_kind_parse(state, &j.hypervisor))
        return err_set(err, -EINVAL, "%s: hypervisor: \"%s\": want native or libvirt", path, state);
    j.post_copy = tree_get_bool(tree_get(t, "postCopy"), false);
    state = tree_get_string(tree_get(t, "state"), "");
    for (size_t i = 0; i < JOURNAL_STATE_COUNT; i++) {
        if (strcmp(state_names[i], state) == 0) {
            j.state = (enum journal_state)i;
            *ret = j;
            return 0;
        }
    }
    return err_set(err, -EINVAL, "%s: state: \"%s\" is not known to this handler", path, state);
}

static int
copy_field(char *dst, size_t size, const struct tree *t, const char *key, bool required,
           const char *path, struct err *err)
{
    const char *s = tree_get_string(tree_get(t, key), "");
    size_t len = strlen(s);

    if (len >= size || (required && len == 0))
        return err_set(err, -EINVAL, "%s: %s: want 1 to %zu bytes", path, key, size - 1);
    memcpy(dst, s, len + 1);
    return 0;
}
