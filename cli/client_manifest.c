/* Reads and checks manifests for apply and delete. The checks are api/object.h's, on a copy. */
#include "cli/client_manifest.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/limits.h"
#include "base/fs.h"
#include "base/strmap.h"

struct loading {
    const char *ns;
    bool ns_given;
    struct tree *objects;
    struct strmap *seen; /* "kind/namespace/name" -> "FILE:L:C" (malloc) */
    struct err *err;
};

static bool
is_manifest_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && name[0] != '.' &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static int
choose(const struct dirent *d)
{
    return is_manifest_name(d->d_name);
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int
wrong(struct loading *l, const char *file, const struct tree *obj, const char *what)
{
    struct tree_pos pos = tree_pos(obj);

    return err_set(l->err, -EINVAL, "%s:%u:%u: %s", file, pos.line, pos.column, what);
}

/* The server's rules, on a copy: what they fill in is not what was written. */
static int
check(struct loading *l, const char *file, const struct tree *obj)
{
    AUTO_TREE struct tree *copy = tree_copy(obj);
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    int rc;

    rc = object_validate(copy, VALIDATE_CREATE | VALIDATE_OFFLINE | VALIDATE_STATUS, &errs, &warn);
    if (rc < 0)
        field_errors_text(&errs, file, obj, l->err);
    arena_free(a);
    return rc;
}

static int
set_namespace(struct loading *l, const char *file, struct tree *obj, const struct kind_info *ki)
{
    const char *ns = object_namespace(obj);
    AUTO_FREE char *what = NULL;

    if (!ki->namespaced)
        return 0;
    if (ns[0] && l->ns_given && strcmp(ns, l->ns) != 0) {
        what = xasprintf("%s \"%s\" names the namespace \"%s\", but -n is \"%s\"", ki->name,
                         object_name(obj), ns, l->ns);
        return wrong(l, file, obj, what);
    }
    if (!ns[0])
        tree_set_path(obj, tree_string(l->ns), "metadata", "namespace", NULL);
    return 0;
}

static int
note_place(struct loading *l, const char *file, const struct tree *obj, const struct kind_info *ki)
{
    struct tree_pos pos = tree_pos(obj);
    AUTO_FREE char *key =
        xasprintf("%s/%s/%s", ki->plural, object_namespace(obj), object_name(obj));
    const char *before = strmap_get(l->seen, key);
    AUTO_FREE char *what = NULL;

    if (!object_name(obj)[0])
        return 0; /* generateName */
    if (before) {
        what = xasprintf("%s \"%s\" is given twice; the other one is at %s", ki->name,
                         object_name(obj), before);
        return wrong(l, file, obj, what);
    }
    strmap_put(l->seen, key, xasprintf("%s:%u:%u", file, pos.line, pos.column));
    return 0;
}

static int
add_object(struct loading *l, const char *file, const struct tree *obj)
{
    const struct kind_info *ki;
    struct tree *copy;
    int rc;

    if (tree_type(obj) == TREE_MAP &&
        strcmp(tree_find_string(obj, "", "kind", NULL), "List") == 0) {
        const struct tree *items = tree_get(obj, "items");

        for (size_t i = 0; i < tree_len(items); i++) {
            rc = add_object(l, file, tree_at(items, i));
            if (rc < 0)
                return rc;
        }
        return 0;
    }
    rc = check(l, file, obj);
    if (rc < 0)
        return rc;
    ki = object_kind(obj);
    if (!ki || !ki->stored)
        return wrong(l, file, obj,
                     "this kind is an input of `drover schedule` only; it is not stored");
    copy = tree_copy(obj);
    tree_append(l->objects, copy);
    rc = set_namespace(l, file, copy, ki);
    return rc < 0 ? rc : note_place(l, file, copy, ki);
}

static int
load_file(struct loading *l, const char *path)
{
    AUTO_FREE char *buf = NULL;
    AUTO_TREE struct tree *docs = NULL;
    size_t len;
    int rc;

    rc = fs_read_all(path, API_MAX_INPUT_BYTES, &buf, &len, l->err);
    if (rc == 0)
        rc = tree_from_yaml(path, buf, len, &docs, l->err);
    for (size_t i = 0; rc == 0 && i < tree_len(docs); i++)
        rc = add_object(l, path, tree_at(docs, i));
    return rc;
}

static int
load_folder(struct loading *l, const char *path)
{
    struct dirent **names = NULL;
    int n = scandir(path, &names, choose, by_bytes), rc = 0;

    if (n < 0)
        return err_set(l->err, -errno, "%s: %s", path, strerror(errno));
    if (n == 0)
        rc = err_set(l->err, -ENOENT, "%s: no *.yaml, *.yml or *.json file in it", path);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *file =
            xasprintf("%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", names[i]->d_name);

        if (rc == 0)
            rc = load_file(l, file);
        free(names[i]);
    }
    free(names);
    return rc;
}

int
client_manifests_load(const char *const *paths, size_t len, const char *ns, bool ns_given,
                      struct tree **ret, struct err *err)
{
    AUTO_TREE struct tree *objects = tree_list();
    struct loading l = {
        .ns = ns, .ns_given = ns_given, .objects = objects, .seen = strmap_new(), .err = err};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < len; i++) {
        struct stat st;

        if (strcmp(paths[i], "-") != 0 && stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode))
            rc = load_folder(&l, paths[i]);
        else
            rc = load_file(&l, paths[i]);
    }
    if (rc == 0 && tree_len(objects) == 0)
        rc = err_set(err, -EINVAL, "%s: no objects in it", len ? paths[0] : "-f");
    strmap_free(l.seen, free);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(objects);
    return 0;
}
