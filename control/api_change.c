/* PUT and PATCH, of objects and of their status: computed inside the store on the newest version,
 * so that a patch never loses what others write meanwhile. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "control/api_call.h"
#include "control/api_jsonpatch.h"

static bool is_builtin(const struct kind_info *k);
static int change(struct api_call *c, uint64_t rv, const char *uid);
static int on_newest(void *ctx, struct tree *obj);
static int apply_patch(struct api_call *c, struct tree **doc);
static int check_patched(struct api_call *c, const struct tree *old, const struct tree *doc);
static int check_finalizers(struct api_call *c, const struct tree *old, const struct tree *doc);
static bool same_spec(const struct tree *a, const struct tree *b);
static void put_back(struct tree *to, const struct tree *from, const char *key);
static void replace_content(struct tree *obj, struct tree *from);
static void on_changed(void *ctx, const struct store_result *res);

int
api_update(struct api_call *c)
{
    const char *rv, *uid;

    if (api_parse_options(c) != 0 || api_read_body(c, false) != 0 || api_check_identity(c) != 0)
        return -1;
    rv = tree_find_string(c->body, "", "metadata", "resourceVersion", NULL);
    if (*rv && strspn(rv, "0123456789") != strlen(rv))
        return api_err_field(c, c->name, "metadata.resourceVersion", "FieldValueInvalid",
                             "Invalid value: \"%s\": want the number that the server gave", rv);
    uid = arena_strdup(c->arena, object_uid(c->body));
    return change(c, store_object_rv(c->body), uid);
}

int
api_patch(struct api_call *c)
{
    static const struct {
        const char *type;
        int change;
    } types[] = {
        {"application/merge-patch+json", API_MERGE_PATCH},
        {"application/strategic-merge-patch+json", API_STRATEGIC_PATCH},
        {"application/json-patch+json", API_JSON_PATCH},
    };
    const char *type = http_header(c->request, "content-type");
    size_t len = type ? strcspn(type, "; \t") : 0, i;
    struct err err = {0};

    for (i = 0; i < ARRAY_LEN(types); i++)
        if (len == strlen(types[i].type) && strncmp(type, types[i].type, len) == 0)
            break;
    /* Upstream has strategic merge for its own kinds only: custom resources have no Go types. */
    if (i == ARRAY_LEN(types) || (types[i].change == API_STRATEGIC_PATCH && !is_builtin(c->kind)))
        return api_err(c, 415, "UnsupportedMediaType",
                       "the body of the request was in an unknown format - accepted media types "
                       "include: application/json-patch+json, application/merge-patch+json%s%s",
                       is_builtin(c->kind) ? ", application/strategic-merge-patch+json" : "",
                       len && strncmp(type, "application/apply-patch", 23) == 0
                           ? "; server-side apply is not served"
                           : "");
    c->change = types[i].change;
    if (api_parse_options(c) != 0)
        return -1;
    if (tree_from_json(c->request->body, c->request->body_len, &c->body, &err) != 0)
        return api_err_bad(c, "error decoding patch: %s", err_msg(&err));
    if (tree_type(c->body) != (c->change == API_JSON_PATCH ? TREE_LIST : TREE_MAP))
        return api_err_bad(c, "error decoding patch: want %s",
                           c->change == API_JSON_PATCH ? "a list of operations" : "an object");
    return change(c, 0, NULL);
}

/* One of Kubernetes' own kinds: clients patch them with a strategic merge. */
static bool
is_builtin(const struct kind_info *k)
{
    const char *dot = strchr(k->group, '.');

    return !dot || strcmp(dot, ".k8s.io") == 0;
}

static int
change(struct api_call *c, uint64_t rv, const char *uid)
{
    api_call_wait(c);
    store_mutate_opts(c->api->store, c->kind->kind, c->ns, c->name,
                      &(struct store_opts){.dry_run = c->dry_run, .rv = rv, .uid = uid}, on_newest,
                      on_changed, c);
    return 0;
}

static void
on_changed(void *ctx, const struct store_result *res)
{
    struct api_call *c = ctx;

    if (!api_call_back(c))
        return;
    if (res->rc) {
        api_err_store(c, res);
        api_send_error(c);
        return;
    }
    api_send_object(c, 200, res->obj);
}

/* As store_mutate_fn. */
static int
on_newest(void *ctx, struct tree *obj)
{
    struct api_call *c = ctx;
    AUTO_TREE struct tree *old = tree_copy(obj), *doc = NULL;
    bool status_only = strcmp(c->sub, "status") == 0;

    if (c->change == API_PUT) {
        doc = TAKE_PTR(c->body);
    } else {
        doc = tree_copy(obj);
        if (apply_patch(c, &doc) != 0 || check_patched(c, old, doc) != 0)
            return -EPERM;
    }
    if (status_only) {
        AUTO_TREE struct tree *status = tree_take(doc, "status");

        tree_free(doc);
        doc = tree_copy(old);
        tree_del(doc, "status");
        if (status)
            tree_set(doc, "status", TAKE_PTR(status));
    } else if (c->kind->has_status) {
        put_back(doc, old, "status");
    }
    put_back(doc, old, "apiVersion");
    put_back(doc, old, "kind");
    if (check_finalizers(c, old, doc) != 0)
        return -EPERM;
    if (!status_only)
        api_prepare(c, doc, false);
    if (api_validate(c, doc, old, status_only ? VALIDATE_STATUS : 0) != 0)
        return -EPERM;
    if ((c->kind->kind == KIND_PRIORITY && api_admit(c, doc) != 0) ||
        (!status_only && api_admit_change(c, old, doc) != 0))
        return -EPERM;
    if (same_spec(old, doc)) /* a label or a status: what is said of the spec was said before */
        c->warnings.list.len = 0;
    replace_content(obj, doc);
    return 1;
}

static int
apply_patch(struct api_call *c, struct tree **doc)
{
    struct err err = {0};

    switch (c->change) {
    case API_MERGE_PATCH:
        tree_merge_patch(*doc, c->body);
        break;
    case API_STRATEGIC_PATCH:
        if (tree_strategic_patch(*doc, c->body, &err) != 0)
            return api_err_bad(c, "error applying the strategic merge patch: %s", err_msg(&err));
        break;
    case API_JSON_PATCH:
        if (api_jsonpatch_apply(doc, c->body, &err) != 0)
            return api_err_field(c, c->name, "patch", "FieldValueInvalid", "%s", err_msg(&err));
        break;
    case API_PUT:
        break;
    }
    if (tree_type(*doc) != TREE_MAP || tree_type(tree_get(*doc, "metadata")) != TREE_MAP)
        return api_err_bad(c, "the patch leaves no object");
    return 0;
}

/* What a patch says of the object's identity and version must be so. */
static int
check_patched(struct api_call *c, const struct tree *old, const struct tree *doc)
{
    const char *old_rv = tree_find_string(old, "", "metadata", "resourceVersion", NULL);
    const char *rv = tree_find_string(doc, "", "metadata", "resourceVersion", NULL);

    if (strcmp(object_name(doc), object_name(old)) != 0)
        return api_err_bad(c, "the name of the object (%s) does not match the name on the URL (%s)",
                           object_name(doc), c->name);
    if (strcmp(object_namespace(doc), object_namespace(old)) != 0)
        return api_err_bad(c,
                           "the namespace of the object (%s) does not match the namespace on the "
                           "URL (%s)",
                           object_namespace(doc), c->ns);
    if (*rv && strcmp(rv, old_rv) != 0)
        return api_err_conflict(c, c->name,
                                "the object has been modified; please apply your changes to the "
                                "latest version and try again");
    if (*object_uid(doc) && strcmp(object_uid(doc), object_uid(old)) != 0)
        return api_err_conflict(c, c->name,
                                "Precondition failed: UID in precondition: %s, UID in object meta: "
                                "%s",
                                object_uid(doc), object_uid(old));
    return 0;
}

/* An object that is being deleted gets no new finalizers. */
static int
check_finalizers(struct api_call *c, const struct tree *old, const struct tree *doc)
{
    const struct tree *was = tree_find(old, "metadata", "finalizers", NULL);
    const struct tree *is = tree_find(doc, "metadata", "finalizers", NULL);

    if (!tree_find(old, "metadata", "deletionTimestamp", NULL))
        return 0;
    for (size_t i = 0; i < tree_len(is); i++) {
        bool found = false;

        for (size_t k = 0; k < tree_len(was) && !found; k++)
            found = tree_equal(tree_at(was, k), tree_at(is, i));
        if (!found)
            return api_err_field(c, c->name, "metadata.finalizers", "FieldValueForbidden",
                                 "Forbidden: no new finalizers can be added if the object is being "
                                 "deleted, found new finalizers []string{\"%s\"}",
                                 tree_get_string(tree_at(is, i), ""));
    }
    return 0;
}

/* True when nothing but metadata and status differs. */
static bool
same_spec(const struct tree *a, const struct tree *b)
{
    for (size_t i = 0; i < tree_len(b); i++) {
        const char *key = tree_key_at(b, i);

        if (strcmp(key, "metadata") != 0 && strcmp(key, "status") != 0 &&
            !tree_equal(tree_get(a, key), tree_at(b, i)))
            return false;
    }
    return true;
}

static void
put_back(struct tree *to, const struct tree *from, const char *key)
{
    const struct tree *v = tree_get(from, key);

    if (v)
        tree_set(to, key, tree_copy(v));
    else
        tree_del(to, key);
}

/* obj becomes what from is; from is emptied. */
static void
replace_content(struct tree *obj, struct tree *from)
{
    while (tree_len(obj) > 0) {
        AUTO_FREE char *key = xstrdup(tree_key_at(obj, 0));

        tree_del(obj, key);
    }
    while (tree_len(from) > 0) {
        AUTO_FREE char *key = xstrdup(tree_key_at(from, 0));

        tree_set(obj, key, tree_take(from, key));
    }
}
