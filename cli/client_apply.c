/* Client-side apply. The patch is made by pure functions; one function below talks to the
 * server. */
#include "cli/client_apply.h"

#include <errno.h>
#include <string.h>

#define APPLY_TRIES \
    5 /* someone else may create or delete the object between our look and our write */
#define TRY_AGAIN 1

static struct tree *sorted_copy(const struct tree *t);

const char *
apply_result_name(enum apply_result r)
{
    static const char *const names[] = {
        [APPLY_CREATED] = "created",
        [APPLY_CONFIGURED] = "configured",
        [APPLY_UNCHANGED] = "unchanged",
    };

    return names[r];
}

static int
compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct tree *
sorted_map(const struct tree *t)
{
    size_t len = tree_len(t);
    AUTO_FREE const char **keys = xcalloc(len + 1, sizeof(*keys));
    struct tree *copy = tree_map();

    for (size_t i = 0; i < len; i++)
        keys[i] = tree_key_at(t, i);
    qsort(keys, len, sizeof(*keys), compare_keys);
    for (size_t i = 0; i < len; i++)
        tree_set(copy, keys[i], sorted_copy(tree_get(t, keys[i])));
    return copy;
}

/* Keys in byte order, as Go prints maps. */
static struct tree *
sorted_copy(const struct tree *t)
{
    struct tree *copy;

    if (tree_type(t) == TREE_MAP)
        return sorted_map(t);
    if (tree_type(t) != TREE_LIST)
        return tree_copy(t);
    copy = tree_list();
    for (size_t i = 0; i < tree_len(t); i++)
        tree_append(copy, sorted_copy(tree_at(t, i)));
    return copy;
}

/* JSON as Go's encoder writes it: sorted, compact, with <, > and & escaped, and a newline. */
static void
put_go_json(const struct tree *t, struct sb *out)
{
    AUTO_TREE struct tree *sorted = sorted_copy(t);
    AUTO_SB struct sb json = SB_INIT;

    tree_to_json(sorted, 0, &json);
    for (const char *p = sb_str(&json); *p; p++) {
        if (*p == '<' || *p == '>' || *p == '&')
            sb_printf(out, "\\u%04x", (unsigned)*p);
        else
            sb_putc(out, *p);
    }
    sb_putc(out, '\n');
}

struct tree *
apply_modified(const struct tree *manifest)
{
    struct tree *obj = tree_copy(manifest);
    struct tree *annotations = tree_ensure_map(tree_ensure_map(obj, "metadata"), "annotations");
    AUTO_SB struct sb json = SB_INIT;

    tree_del(annotations, APPLY_ANNOTATION);
    put_go_json(obj, &json);
    tree_set(annotations, APPLY_ANNOTATION, tree_string(sb_str(&json)));
    return obj;
}

/* Takes all nulls (want_nulls false) or everything but nulls out of a merge patch. */
static void
filter_patch(struct tree *patch, bool want_nulls)
{
    for (size_t i = tree_len(patch); i-- > 0;) {
        struct tree *value = tree_at(patch, i);
        bool is_null = tree_type(value) == TREE_NULL, is_map = tree_type(value) == TREE_MAP;
        bool keep = want_nulls ? is_null || is_map : !is_null;
        AUTO_FREE char *key = xstrdup(tree_key_at(patch, i));

        if (keep && is_map && tree_len(value)) {
            filter_patch(value, want_nulls);
            keep = tree_len(value) > 0;
        } else if (is_map && want_nulls) {
            keep = false;
        }
        if (!keep)
            tree_del(patch, key);
    }
}

static struct tree *
last_applied(const struct tree *current)
{
    const char *json = object_annotation(current, APPLY_ANNOTATION);
    struct tree *t = NULL;

    if (!json || tree_from_json(json, strlen(json), &t, NULL) < 0)
        return NULL;
    return t;
}

/* Lays one merge patch over another: nulls stay nulls. */
static void
overlay(struct tree *patch, const struct tree *over)
{
    for (size_t i = 0; i < tree_len(over); i++) {
        const char *key = tree_key_at(over, i);

        if (tree_type(tree_at(over, i)) == TREE_MAP)
            overlay(tree_ensure_map(patch, key), tree_at(over, i));
        else
            tree_set(patch, key, tree_copy(tree_at(over, i)));
    }
}

struct tree *
apply_patch(const struct tree *modified, const struct tree *current)
{
    AUTO_TREE struct tree *original = last_applied(current);
    AUTO_TREE struct tree *now = NULL;
    AUTO_TREE struct tree *deletions = NULL;
    const char *json = object_annotation(modified, APPLY_ANNOTATION);
    struct tree *patch;

    /* the same manifest, written in another order or by another program: not a change */
    if (original && tree_from_json(json, strlen(json), &now, NULL) == 0 &&
        tree_equal(original, now)) {
        AUTO_TREE struct tree *want = tree_copy(modified);
        struct tree *annotations = tree_find(want, "metadata", "annotations", NULL);

        tree_del(annotations, APPLY_ANNOTATION);
        patch = tree_merge_diff(current, want);
    } else {
        patch = tree_merge_diff(current, modified);
    }
    if (!patch)
        patch = tree_map();
    filter_patch(patch, false);
    if (original && now)
        deletions = tree_merge_diff(original, now);
    if (deletions) {
        filter_patch(deletions, true);
        overlay(patch, deletions);
    }
    if (tree_len(patch))
        return patch;
    tree_free(patch);
    return NULL;
}

static int
try_apply(struct client *c, const struct kind_info *ki, const struct tree *modified, bool dry_run,
          enum apply_result *ret, struct err *err)
{
    const char *ns = object_namespace(modified), *name = object_name(modified);
    AUTO_TREE struct tree *current = NULL, *patch = NULL, *after = NULL;
    const char *before;
    int rc;

    rc = client_get(c, ki, ns, name, &current, err);
    if (rc == -ENOENT) {
        *ret = APPLY_CREATED;
        rc = dry_run ? 0 : client_create(c, ki, ns, modified, NULL, err);
        return rc == -EEXIST ? TRY_AGAIN : rc;
    }
    if (rc < 0)
        return rc;
    patch = apply_patch(modified, current);
    *ret = patch ? APPLY_CONFIGURED : APPLY_UNCHANGED;
    if (!patch || dry_run)
        return 0;
    rc = client_patch(c, ki, ns, name, NULL, patch, &after, err);
    if (rc < 0)
        return rc == -ENOENT || rc == -EAGAIN ? TRY_AGAIN : rc;
    /* what we sent may be what the server had made of it at the last time (defaults, old forms) */
    before = tree_find_string(current, "", "metadata", "resourceVersion", NULL);
    if (strcmp(before, tree_find_string(after, "", "metadata", "resourceVersion", NULL)) == 0)
        *ret = APPLY_UNCHANGED;
    return 0;
}

/* The kind as the manifest's own version of it: the server takes an object only where its version
 * is served. */
static struct kind_info
of_version(const struct kind_info *ki, const struct tree *manifest)
{
    const char *version = tree_find_string(manifest, "", "apiVersion", NULL);
    const char *slash = strchr(version, '/');
    struct kind_info as = *ki;

    as.version = slash ? slash + 1 : version;
    return as;
}

int
apply_object(struct client *c, const struct tree *manifest, bool dry_run, enum apply_result *ret,
             struct err *err)
{
    const struct kind_info *preferred = object_kind(manifest), *ki;
    AUTO_TREE struct tree *modified = apply_modified(manifest);
    struct kind_info as;
    int rc;

    if (!preferred)
        return err_set(err, -EINVAL, "unknown kind \"%s\"",
                       tree_find_string(manifest, "", "kind", NULL));
    as = of_version(preferred, manifest);
    ki = &as;
    if (!object_name(manifest)[0]) {
        /* generateName: each apply makes one more, as kubectl create does */
        *ret = APPLY_CREATED;
        return dry_run ? 0 : client_create(c, ki, object_namespace(manifest), manifest, NULL, err);
    }
    for (int i = 0; i < APPLY_TRIES; i++) {
        rc = try_apply(c, ki, modified, dry_run, ret, err);
        if (rc != TRY_AGAIN)
            return rc;
    }
    return err ? err->code : -EAGAIN;
}
