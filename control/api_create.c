/* POST: a new object. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "control/api_call.h"

#define FINALIZER_NAMESPACE "kubernetes"

static int check_namespace(struct api_call *c);
static void on_created(void *ctx, const struct store_result *res);

int
api_create(struct api_call *c)
{
    const char *rv;
    unsigned flags = VALIDATE_CREATE;

    if (api_parse_options(c) != 0 || api_read_body(c, false) != 0 || api_check_identity(c) != 0)
        return -1;
    rv = tree_find_string(c->body, "", "metadata", "resourceVersion", NULL);
    if (*rv)
        return api_err_bad(c, "resourceVersion should not be set on objects to be created");
    if (check_namespace(c) != 0)
        return -1;
    c->name = arena_strdup(c->arena, object_name(c->body));
    if (!*c->name && !*tree_find_string(c->body, "", "metadata", "generateName", NULL))
        return api_err_field(c, "", "metadata.name", "FieldValueRequired",
                             "Required value: name or generateName is required");
    /* A node's status comes with it, as kubelets send it; else it is the controllers' to write. */
    if (c->kind->kind == KIND_NODE)
        flags |= VALIDATE_STATUS;
    else if (c->kind->has_status)
        tree_del(c->body, "status");
    if (api_validate(c, c->body, NULL, flags) != 0)
        return -1;
    api_prepare(c, c->body, true);
    api_call_wait(c);
    store_create_opts(c->api->store, TAKE_PTR(c->body),
                      &(struct store_opts){
                          .dry_run = c->dry_run,
                          .check = api_admission_looks_at(c->kind->kind) ? api_admit : NULL,
                      },
                      on_created, c);
    return 0;
}

static void
on_created(void *ctx, const struct store_result *res)
{
    struct api_call *c = ctx;

    if (!api_call_back(c))
        return;
    if (res->rc) {
        api_err_store(c, res);
        api_send_error(c);
        return;
    }
    api_send_object(c, 201, res->obj);
}

static int
check_namespace(struct api_call *c)
{
    const struct tree *ns;
    const char *name = object_name(c->body);

    if (!c->kind->namespaced)
        return 0;
    ns = store_get(c->api->store, KIND_NAMESPACE, NULL, c->ns);
    if (!ns)
        return api_err_not_found(c, kind_info(KIND_NAMESPACE), c->ns);
    if (tree_find(ns, "metadata", "deletionTimestamp", NULL))
        return api_err_forbidden(c, c->kind, name,
                                 "unable to create new content in namespace %s because it is being "
                                 "terminated",
                                 c->ns);
    return 0;
}

/* True when the list has the text. */
static bool
list_has(const struct tree *list, const char *text)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_get_string(tree_at(list, i), ""), text) == 0)
            return true;
    return false;
}

void
api_prepare(struct api_call *c, struct tree *obj, bool create)
{
    switch (c->kind->kind) {
    case KIND_NAMESPACE:
        api_prepare_namespace(obj, create);
        break;
    case KIND_PVC:
        if (create)
            tree_set_path(obj, tree_string("Pending"), "status", "phase", NULL);
        break;
    case KIND_HCO:
        if (create && (strcmp(c->ns, DEFAULT_HCO_NAMESPACE) != 0 ||
                       strcmp(object_name(obj), DEFAULT_HCO_NAME) != 0))
            api_warn(c, "this HyperConverged has no effect: only \"%s\" in namespace \"%s\" has",
                     DEFAULT_HCO_NAME, DEFAULT_HCO_NAMESPACE);
        break;
    default:
        break;
    }
}

/* It goes when it is empty: api_housekeeping.c then takes the finalizer away. */
void
api_prepare_namespace(struct tree *obj, bool create)
{
    struct tree *meta = tree_ensure_map(obj, "metadata");

    if (tree_get(meta, "deletionTimestamp"))
        return;
    if (tree_type(tree_get(meta, "finalizers")) != TREE_LIST)
        tree_set(meta, "finalizers", tree_list());
    if (!list_has(tree_get(meta, "finalizers"), FINALIZER_NAMESPACE))
        tree_append(tree_get(meta, "finalizers"), tree_string(FINALIZER_NAMESPACE));
    tree_set_path(obj, tree_string(object_name(obj)), "metadata", "labels",
                  "kubernetes.io/metadata.name", NULL);
    if (create)
        tree_set_path(obj, tree_string("Active"), "status", "phase", NULL);
}
