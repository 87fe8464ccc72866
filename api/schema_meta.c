/* Field tables of what all objects share: metadata, owner references, conditions. Names follow
 * apimachinery's ObjectMeta. */
#include "api/schema.h"

#include <string.h>

#include "api/limits.h"
#include "api/selector.h"

static void check_meta(struct check *c, struct tree *map);
static void check_generate_name(struct check *c, struct tree *v);
static void check_finalizers(struct check *c, struct tree *list);

static const struct field owner_fields[] = {
    {.name = "apiVersion",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct owner_ref, api_version)},
    {.name = "kind",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct owner_ref, kind)},
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct owner_ref, name)},
    {.name = "uid",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct owner_ref, uid)},
    {.name = "controller", .type = F_BOOL, .at = AT(struct owner_ref, controller)},
    {.name = "blockOwnerDeletion", .type = F_BOOL},
    {0},
};

static const struct schema owner_schema = {.fields = owner_fields,
                                           .size = sizeof(struct owner_ref)};

static const struct field meta_fields[] = {
    {.name = "name", .type = F_STRING, .at = AT(struct meta, name)},
    {.name = "generateName",
     .type = F_STRING,
     .at = AT(struct meta, generate_name),
     .check = check_generate_name},
    {.name = "namespace", .type = F_STRING, .at = AT(struct meta, namespace_)},
    {.name = "labels", .type = F_KV, .at = AT(struct meta, labels), .check = check_labels},
    {.name = "annotations",
     .type = F_KV,
     .at = AT(struct meta, annotations),
     .check = check_annotations},
    {.name = "finalizers",
     .type = F_STRINGS,
     .at = AT(struct meta, finalizers),
     .check = check_finalizers},
    {.name = "ownerReferences",
     .type = F_LIST,
     .at = AT(struct meta, owners),
     .second = AT(struct meta, owners_len),
     .sub = &owner_schema},
    {.name = "uid", .type = F_STRING, .at = AT(struct meta, uid)},
    {.name = "resourceVersion", .type = F_STRING, .at = AT(struct meta, resource_version)},
    {.name = "generation", .type = F_INT, .at = AT(struct meta, generation)},
    {.name = "creationTimestamp", .type = F_TIME, .at = AT(struct meta, creation_us)},
    {.name = "deletionTimestamp", .type = F_TIME, .at = AT(struct meta, deletion_us)},
    {.name = "deletionGracePeriodSeconds", .type = F_INT},
    {.name = "managedFields", .type = F_ANY},
    {.name = "selfLink", .type = F_STRING},
    {0},
};

const struct schema meta_schema = {
    .fields = meta_fields, .check = check_meta, .size = sizeof(struct meta)};

static const struct field condition_fields[] = {
    {.name = "type",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct condition, type)},
    {.name = "status", .type = F_STRING, .at = AT(struct condition, status)},
    {.name = "reason", .type = F_STRING, .at = AT(struct condition, reason)},
    {.name = "message", .type = F_STRING, .at = AT(struct condition, message)},
    {.name = "lastProbeTime", .type = F_TIME, .at = AT(struct condition, probe_us)},
    {.name = "lastTransitionTime", .type = F_TIME, .at = AT(struct condition, transition_us)},
    {.name = "lastHeartbeatTime", .type = F_TIME, .at = AT(struct condition, heartbeat_us)},
    {0},
};

const struct schema condition_schema = {
    .fields = condition_fields, .size = sizeof(struct condition), .open = true};

/* name, generateName and namespace: what they must be depends on the kind. */
static void
check_meta(struct check *c, struct tree *map)
{
    const struct tree *name = tree_get(map, "name"), *ns = tree_get(map, "namespace");
    const char *text = tree_get_string(name, "");
    bool generated =
        *tree_get_string(tree_get(map, "generateName"), "") && !(c->flags & VALIDATE_OFFLINE);
    struct path p;

    check_enter(c, &p, "name");
    if (*text && c->kind->kind == KIND_NAMESPACE)
        check_name_label(c, tree_get(map, "name"));
    else if (*text)
        check_name(c, tree_get(map, "name"));
    else if (!generated && (!name || tree_type(name) == TREE_STRING))
        check_required(c, tree_pos(name ? name : map),
                       c->flags & VALIDATE_OFFLINE ? NULL : "name or generateName is required");
    check_leave(c);
    check_enter(c, &p, "namespace");
    if (c->kind->namespaced && *tree_get_string(ns, ""))
        check_name_label(c, tree_get(map, "namespace"));
    else if (!c->kind->namespaced && *tree_get_string(ns, ""))
        check_forbidden(c, tree_pos(ns), "not allowed on this type");
    check_leave(c);
}

/* As if the suffix that the server adds were there already. */
static void
check_generate_name(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    AUTO_FREE char *name = *s ? xasprintf("%.*sx", API_MAX_NAME_BYTES, s) : xstrdup("x");
    struct err why;

    if (name_check(name, &why) != 0)
        check_invalid(c, v, "%s", why.msg);
}

static void
check_finalizers(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path p;

        check_enter_item(c, &p, i);
        check_label_key(c, tree_at(list, i));
        check_leave(c);
    }
}
