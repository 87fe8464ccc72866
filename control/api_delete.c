/* DELETE of an object and of a collection. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "control/api_call.h"

static int read_options(struct api_call *c, struct store_opts *ret);
static void on_deleted(void *ctx, const struct store_result *res);
static void on_one_deleted(void *ctx, const struct store_result *res);

int
api_delete(struct api_call *c)
{
    struct store_opts o = {0};

    if (api_parse_options(c) != 0 || read_options(c, &o) != 0)
        return -1;
    if (c->kind->kind == KIND_NAMESPACE && api_namespace_is_protected(c->name))
        return api_err_forbidden(c, c->kind, c->name, "this namespace may not be deleted");
    api_call_wait(c);
    store_delete_opts(c->api->store, c->kind->kind, c->ns, c->name, &o, on_deleted, c);
    return 0;
}

static void
on_deleted(void *ctx, const struct store_result *res)
{
    struct api_call *c = ctx;

    if (!api_call_back(c))
        return;
    if (res->rc) {
        api_err_store(c, res);
        api_send_error(c);
    } else if (res->removed) {
        api_send_deleted(c, res->obj);
    } else {
        api_send_object(c, 200, res->obj); /* finalizers have the word now */
    }
}

/* DeleteOptions in the body, and what of them may stand in the query. propagationPolicy and the
 * grace period are accepted: what an object owns is always deleted after it, in the background. */
static int
read_options(struct api_call *c, struct store_opts *ret)
{
    const struct tree *pre, *dry;
    const char *policy, *kind, *rv;

    if (api_read_body(c, true) != 0)
        return -1;
    kind = tree_get_string(tree_get(c->body, "kind"), "DeleteOptions");
    if (strcmp(kind, "DeleteOptions") != 0)
        return api_err_bad(c,
                           "the kind in the data (%s) does not match the expected kind "
                           "(DeleteOptions)",
                           kind);
    policy = tree_get_string(tree_get(c->body, "propagationPolicy"), NULL);
    if (!policy)
        policy = http_param(c->request, "propagationPolicy");
    if (policy && *policy && strcmp(policy, "Background") != 0 &&
        strcmp(policy, "Foreground") != 0 && strcmp(policy, "Orphan") != 0)
        return api_err_field(c, c->name, "propagationPolicy", "FieldValueNotSupported",
                             "Unsupported value: \"%s\": supported values: \"Background\", "
                             "\"Foreground\", \"Orphan\"",
                             policy);
    dry = tree_get(c->body, "dryRun");
    for (size_t i = 0; i < tree_len(dry); i++) {
        if (strcmp(tree_get_string(tree_at(dry, i), ""), "All") != 0)
            return api_err_field(c, c->name, "dryRun", "FieldValueNotSupported",
                                 "Unsupported value: supported values: \"All\"");
        c->dry_run = true;
    }
    pre = tree_get(c->body, "preconditions");
    rv = tree_get_string(tree_get(pre, "resourceVersion"), "");
    *ret = (struct store_opts){
        .dry_run = c->dry_run,
        .uid = tree_get_string(tree_get(pre, "uid"), NULL),
        .rv = *rv ? strtoull(rv, NULL, 10) : 0,
    };
    return 0;
}

/* --- collections --- */
static bool
delete_one(void *ctx, const struct store_object *o)
{
    struct api_call *c = ctx;
    const struct tree *t = store_object_tree(o);

    if (!api_selected(c, t) ||
        (c->kind->kind == KIND_NAMESPACE && api_namespace_is_protected(object_name(t))))
        return true;
    api_call_wait(c);
    store_delete_opts(c->api->store, c->kind->kind, object_namespace(t), object_name(t),
                      &(struct store_opts){.dry_run = c->dry_run, .uid = object_uid(t)},
                      on_one_deleted, c);
    return true;
}

static int
answer_collection(struct api_call *c)
{
    AUTO_TREE struct tree *none = tree_map();

    if (c->error.code)
        return -1;
    api_send_deleted(c, none);
    return 0;
}

int
api_delete_collection(struct api_call *c)
{
    struct store_opts o;

    if (api_parse_options(c) != 0 || read_options(c, &o) != 0 || api_parse_selectors(c) != 0)
        return -1;
    store_each(c->api->store, c->kind->kind, c->ns, delete_one, c);
    return c->pending ? 0 : answer_collection(c);
}

static void
on_one_deleted(void *ctx, const struct store_result *res)
{
    struct api_call *c = ctx;

    /* one that others have deleted meanwhile is no error */
    if (res->rc && res->rc != -ENOENT && res->rc != -EAGAIN && !c->error.code)
        api_err_store(c, res);
    if (api_call_back(c) && c->pending == 0 && answer_collection(c) != 0)
        api_send_error(c);
}
