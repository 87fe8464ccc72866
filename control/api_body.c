/* What a client sends: the body as a tree, the options in the query, and whether the object is the
 * one that the URL names and is valid. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "control/api_call.h"

static int parse_body(struct api_call *c, const char *type, size_t type_len);
static void drop_old_errors(struct api_call *c, const struct tree *old_obj, unsigned flags,
                            struct field_errors *errs);
static bool prune(struct tree *t, const char *path);

int
api_read_body(struct api_call *c, bool empty_ok)
{
    const char *type = http_header(c->request, "content-type");
    size_t type_len;

    if (c->request->body_len == 0 && empty_ok)
        return 0;
    if (!type || !*type)
        type = "application/json";
    type_len = strcspn(type, "; \t");
    if (parse_body(c, type, type_len) != 0)
        return -1;
    if (tree_type(c->body) != TREE_MAP)
        return api_err_bad(c, "the body is %s: want an object", tree_type_name(tree_type(c->body)));
    return 0;
}

static int
parse_body(struct api_call *c, const char *type, size_t type_len)
{
    struct err err = {0};

    if ((type_len == 16 && strncmp(type, "application/json", type_len) == 0) ||
        (type_len == 9 && strncmp(type, "text/json", type_len) == 0)) {
        if (tree_from_json(c->request->body, c->request->body_len, &c->body, &err) != 0)
            return api_err_bad(c, "json parse error: %s", err_msg(&err));
        return 0;
    }
    if (type_len == 16 && strncmp(type, "application/yaml", type_len) == 0) {
        AUTO_TREE struct tree *docs = NULL;

        if (tree_from_yaml("body", c->request->body, c->request->body_len, &docs, &err) != 0)
            return api_err_bad(c, "yaml parse error: %s", err_msg(&err));
        if (tree_len(docs) != 1)
            return api_err_bad(c, "the body has %zu YAML documents: want one", tree_len(docs));
        c->body = tree_list_take(docs, 0);
        return 0;
    }
    return api_err(c, 415, "UnsupportedMediaType",
                   "the body of the request was in an unknown format - accepted media types "
                   "include: application/json, application/yaml");
}

int
api_parse_options(struct api_call *c)
{
    const char *dry = http_param(c->request, "dryRun");
    const char *validation = http_param(c->request, "fieldValidation");

    if (dry && *dry) {
        if (strcmp(dry, "All") != 0)
            return api_err_field(c, c->name, "dryRun", "FieldValueNotSupported",
                                 "Unsupported value: \"%s\": supported values: \"All\"", dry);
        c->dry_run = true;
    }
    if (validation && *validation) {
        if (strcmp(validation, "Strict") == 0)
            c->validation = API_STRICT;
        else if (strcmp(validation, "Warn") == 0)
            c->validation = API_WARN;
        else if (strcmp(validation, "Ignore") == 0)
            c->validation = API_IGNORE;
        else
            return api_err_field(c, c->name, "fieldValidation", "FieldValueNotSupported",
                                 "Unsupported value: \"%s\": supported values: \"Ignore\", "
                                 "\"Strict\", \"Warn\"",
                                 validation);
    }
    return 0;
}

int
api_check_identity(struct api_call *c)
{
    const char *want =
        *c->kind->group ? arena_printf(c->arena, "%s/%s", c->kind->group, c->version) : c->version;
    const char *api_version = tree_get_string(tree_get(c->body, "apiVersion"), "");
    const char *kind = tree_get_string(tree_get(c->body, "kind"), "");
    const char *name = object_name(c->body), *ns = object_namespace(c->body);

    if (!*kind)
        return api_err_bad(c, "Object 'Kind' is missing in the body");
    if (!*api_version)
        return api_err_bad(c, "Object 'apiVersion' is missing in the body");
    if (strcmp(api_version, want) != 0)
        return api_err_bad(c,
                           "the API version in the data (%s) does not match the expected API "
                           "version (%s)",
                           api_version, want);
    if (strcmp(kind, c->kind->name) != 0)
        return api_err_bad(c, "the kind in the data (%s) does not match the expected kind (%s)",
                           kind, c->kind->name);
    if (tree_get(c->body, "metadata") && tree_type(tree_get(c->body, "metadata")) != TREE_MAP)
        return api_err_bad(c, "metadata: want an object");
    if (*c->name && *name && strcmp(name, c->name) != 0)
        return api_err_bad(c, "the name of the object (%s) does not match the name on the URL (%s)",
                           name, c->name);
    if (*ns && strcmp(ns, c->ns) != 0)
        return api_err_bad(c,
                           "the namespace of the provided object does not match the namespace sent "
                           "on the request");
    if (c->kind->namespaced)
        tree_set_path(c->body, tree_string(c->ns), "metadata", "namespace", NULL);
    if (*c->name)
        tree_set_path(c->body, tree_string(c->name), "metadata", "name", NULL);
    return 0;
}

int
api_validate(struct api_call *c, struct tree *obj, const struct tree *old_obj, unsigned flags)
{
    struct field_errors errs = {.arena = c->arena};
    size_t kept = 0;

    object_validate(obj, flags, &errs, &c->warnings);
    if (old_obj)
        object_validate_update(old_obj, obj, &errs);
    for (size_t i = 0; i < errs.len; i++) {
        const struct field_error *e = &errs.items[i];

        if (c->validation == API_STRICT || strcmp(e->type, "UnknownField") != 0) {
            errs.items[kept++] = *e;
            continue;
        }
        /* as upstream: what nobody knows is not stored */
        prune(obj, e->path);
        if (c->validation == API_WARN)
            api_warn(c, "unknown field \"%s\"", e->path);
    }
    errs.len = kept;
    if (kept > 0 && old_obj)
        drop_old_errors(c, old_obj, flags, &errs);
    if (errs.len == 0)
        return 0;

    const char *name = object_name(obj);

    return api_err_invalid(
        c, *name ? name : tree_find_string(obj, "", "metadata", "generateName", NULL), &errs);
}

/* What was wrong before the change is not held against it, as upstream's ratcheting validation. */
static void
drop_old_errors(struct api_call *c, const struct tree *old_obj, unsigned flags,
                struct field_errors *errs)
{
    struct field_errors old = {.arena = c->arena};
    AUTO_TREE struct tree *copy = tree_copy(old_obj);
    size_t kept = 0;

    object_validate(copy, flags, &old, NULL);
    for (size_t i = 0; i < errs->len; i++) {
        bool was_there = false;

        for (size_t k = 0; k < old.len && !was_there; k++)
            was_there = strcmp(old.items[k].path, errs->items[i].path) == 0 &&
                        strcmp(old.items[k].message, errs->items[i].message) == 0;
        if (!was_there)
            errs->items[kept++] = errs->items[i];
    }
    errs->len = kept;
}

/* Takes away what stands at a path such as "spec.disks[0].foo"; keys may have dots, so each key of
 * a map that the path could begin with is tried. True when it was found. */
static bool
prune(struct tree *t, const char *path)
{
    if (*path == '[') {
        char *end;
        size_t i = strtoul(path + 1, &end, 10);

        if (*end != ']' || tree_type(t) != TREE_LIST || i >= tree_len(t) || !end[1])
            return false;
        return prune(tree_at(t, i), end[1] == '.' ? end + 2 : end + 1);
    }
    if (tree_type(t) != TREE_MAP)
        return false;
    if (tree_del(t, path))
        return true;
    for (size_t i = 0; i < tree_len(t); i++) {
        const char *key = tree_key_at(t, i);
        size_t n = strlen(key);

        if (strncmp(path, key, n) != 0 || (path[n] != '.' && path[n] != '['))
            continue;
        if (prune(tree_at(t, i), path[n] == '.' ? path + n + 1 : path + n))
            return true;
    }
    return false;
}
