/* Manifests from files, folders and standard input: read, split into documents, lists unfolded, each
 * object checked and defaulted as a file's (VALIDATE_OFFLINE), no object twice. For the command line's verbs
 * that need no controller, and for its apply. */
#include "api/object.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/limits.h"
#include "api/schema.h"
#include "api/tree_priv.h"
#include "base/fs.h"
#include "base/strmap.h"

struct loader {
    struct tree *objects;
    struct strmap *places; /* "kind namespace/name" -> where it was defined */
    struct warnings *warn;
    struct err *err;
};

static int load_path(struct loader *l, const char *path);
static int load_folder(struct loader *l, const char *path);
static int load_file(struct loader *l, const char *path);
static int parse(const char *path, const char *buf, size_t len, struct tree **ret, struct err *err);
static int parse_json(const char *path, const char *buf, size_t len, struct tree **ret,
                      struct err *err);
static void copy_positions(struct tree *to, const struct tree *from);
static int add_document(struct loader *l, const char *path, struct tree *doc);
static int add_list(struct loader *l, const char *path, struct tree *list);
static int add_object(struct loader *l, const char *path, struct tree *obj);
static int add_place(struct loader *l, const char *path, const struct tree *obj);
static bool is_list(const struct tree *doc);
static bool has_suffix(const char *s, const char *suffix);
static int is_manifest(const struct dirent *e);

int
manifests_load(const char *const *paths, size_t len, struct tree **ret, struct warnings *warn,
               struct err *err)
{
    struct loader l = {.objects = tree_list(), .places = strmap_new(), .warn = warn, .err = err};
    int rc = 0;

    for (size_t i = 0; i < len && rc == 0; i++)
        rc = load_path(&l, paths[i]);
    strmap_free(l.places, free);
    if (rc == 0)
        *ret = l.objects;
    else
        tree_free(l.objects);
    return rc;
}

static int
load_path(struct loader *l, const char *path)
{
    struct stat st;

    if (strcmp(path, "-") == 0)
        return load_file(l, path);
    if (stat(path, &st) != 0)
        return err_set(l->err, -errno, "%s: %s", path, strerror(errno));
    return S_ISDIR(st.st_mode) ? load_folder(l, path) : load_file(l, path);
}

static int
load_folder(struct loader *l, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_manifest, alphasort), rc = 0;

    if (n < 0)
        return err_set(l->err, -errno, "%s: %s", path, strerror(errno));
    if (n == 0)
        rc = err_set(l->err, -ENOENT, "%s: no file ends in .yaml, .yml or .json", path);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *file =
            xasprintf("%s%s%s", path, has_suffix(path, "/") ? "" : "/", entries[i]->d_name);

        if (rc == 0)
            rc = load_file(l, file);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int
load_file(struct loader *l, const char *path)
{
    const char *shown = strcmp(path, "-") == 0 ? "stdin" : path;
    AUTO_FREE char *buf = NULL;
    AUTO_TREE struct tree *docs = NULL;
    size_t len;
    int rc = fs_read_all(path, API_MAX_INPUT_BYTES, &buf, &len, l->err);

    if (rc == 0)
        rc = parse(shown, buf, len, &docs, l->err);
    for (size_t i = 0; rc == 0 && docs && i < docs->list.len; i++) {
        struct tree *doc = docs->list.items[i];

        docs->list.items[i] = NULL;
        rc = add_document(l, shown, doc);
    }
    return rc;
}

/* A file is JSON when its name says so; standard input when it looks so and is. */
static int
parse(const char *path, const char *buf, size_t len, struct tree **ret, struct err *err)
{
    size_t blank = strspn(buf, " \t\r\n");

    if (has_suffix(path, ".json"))
        return parse_json(path, buf, len, ret, err);
    if (buf[blank] == '{' && parse_json(path, buf, len, ret, NULL) == 0)
        return 0;
    return tree_from_yaml(path, buf, len, ret, err);
}

static int
parse_json(const char *path, const char *buf, size_t len, struct tree **ret, struct err *err)
{
    struct tree *value, *docs;
    AUTO_TREE struct tree *placed = NULL;
    struct tree_pos pos = {0};
    struct err why;
    int rc = tree_json_read(buf, len, &value, &pos, &why);

    if (rc != 0 && pos.line > 0)
        return err_set(err, rc, "%s:%u:%u: %s", path, pos.line, pos.column, why.msg);
    if (rc != 0)
        return err_set(err, rc, "%s: %s", path, why.msg);
    /* JSON is nearly all YAML, and that reader knows where everything stands */
    if (tree_from_yaml(path, buf, len, &placed, NULL) == 0 && tree_len(placed) == 1)
        copy_positions(value, tree_at(placed, 0));
    docs = tree_list();
    tree_append(docs, value);
    *ret = docs;
    return 0;
}

static void
copy_positions(struct tree *to, const struct tree *from)
{
    if (tree_type(to) != tree_type(from) || tree_len(to) != tree_len(from))
        return;
    tree_set_pos(to, tree_pos(from));
    for (size_t i = 0; i < tree_len(to); i++) {
        if (tree_type(to) == TREE_MAP) {
            if (strcmp(tree_key_at(to, i), tree_key_at(from, i)) != 0)
                return;
            tree_set_key_pos_at(to, i, tree_key_pos_at(from, i));
        }
        copy_positions(tree_at(to, i), tree_at(from, i));
    }
}

/* Takes doc. */
static int
add_document(struct loader *l, const char *path, struct tree *doc)
{
    AUTO_TREE struct tree *owned = doc;

    if (tree_type(doc) != TREE_MAP) {
        struct tree_pos pos = tree_pos(doc);

        return err_set(l->err, -EINVAL,
                       "%s:%u:%u: want an object with apiVersion and kind (this is of type %s)",
                       path, pos.line, pos.column, tree_type_name(tree_type(doc)));
    }
    if (is_list(doc))
        return add_list(l, path, doc);
    return add_object(l, path, TAKE_PTR(owned));
}

static bool
is_list(const struct tree *doc)
{
    const char *kind = tree_get_string(tree_get(doc, "kind"), "");

    return has_suffix(kind, "List") && tree_type(tree_get(doc, "items")) == TREE_LIST &&
           !object_kind(doc);
}

/* The items of a typed list may leave out what the list says. */
static int
add_list(struct loader *l, const char *path, struct tree *list)
{
    const char *kind = tree_get_string(tree_get(list, "kind"), "");
    const char *version = tree_get_string(tree_get(list, "apiVersion"), "");
    AUTO_FREE char *item_kind = xstrndup(kind, strlen(kind) - strlen("List"));
    struct tree *items = tree_get(list, "items");
    bool typed = kind_by_gvk(version, item_kind);

    for (size_t i = 0; i < tree_len(items); i++) {
        struct tree *item = tree_at(items, i);
        struct tree_pos pos = tree_pos(item);

        if (tree_type(item) != TREE_MAP || is_list(item))
            return err_set(
                l->err, -EINVAL, "%s:%u:%u: items[%zu]: want an object (this is of type %s)", path,
                pos.line, pos.column, i, is_list(item) ? "list" : tree_type_name(tree_type(item)));
        if (typed && !tree_get(item, "kind"))
            tree_set(item, "kind", tree_string(item_kind));
        if (typed && !tree_get(item, "apiVersion"))
            tree_set(item, "apiVersion", tree_string(version));
        int rc = add_object(l, path, tree_copy(item));

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Takes obj. */
static int
add_object(struct loader *l, const char *path, struct tree *obj)
{
    AUTO_TREE struct tree *owned = obj;
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    int rc =
        object_validate(obj, VALIDATE_CREATE | VALIDATE_OFFLINE | VALIDATE_STATUS, &errs, &warn);

    if (rc != 0) {
        field_errors_text(&errs, path, obj, l->err);
        rc = -EINVAL;
    }
    for (size_t i = 0; i < warn.list.len && rc == 0; i++) {
        AUTO_SB struct sb sb = SB_INIT;

        object_place_text(path, (struct tree_pos){0}, obj, &sb);
        sb_puts(&sb, warn.list.items[i]);
        warnings_add(l->warn, sb_str(&sb));
    }
    arena_free(a);
    if (rc == 0)
        rc = add_place(l, path, obj);
    if (rc == 0)
        tree_append(l->objects, TAKE_PTR(owned));
    return rc;
}

static int
add_place(struct loader *l, const char *path, const struct tree *obj)
{
    const struct kind_info *k = object_kind(obj);
    struct tree_pos pos = tree_pos(obj);
    AUTO_FREE char *id = xasprintf("%d %s/%s", k->kind, object_namespace(obj), object_name(obj));
    AUTO_FREE char *place = xasprintf("%s:%u", path, pos.line);
    const char *first = strmap_get(l->places, id);

    if (first) {
        AUTO_SB struct sb sb = SB_INIT;

        object_place_text(path, pos, obj, &sb);
        return err_set(l->err, -EEXIST, "%sthere is one%s already, at %s", sb_str(&sb),
                       *object_name(obj) ? " of this name" : "", first);
    }
    if (tree_len(l->objects) == API_MAX_DOCUMENTS)
        return err_set(l->err, -E2BIG, "%s: more than %d objects", place, API_MAX_DOCUMENTS);
    strmap_put(l->places, id, TAKE_PTR(place));
    return 0;
}

static bool
has_suffix(const char *s, const char *suffix)
{
    size_t len = strlen(s), n = strlen(suffix);

    return len >= n && strcmp(s + len - n, suffix) == 0;
}

static int
is_manifest(const struct dirent *e)
{
    return e->d_name[0] != '.' && (has_suffix(e->d_name, ".yaml") ||
                                   has_suffix(e->d_name, ".yml") || has_suffix(e->d_name, ".json"));
}
