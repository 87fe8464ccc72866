/* Rules for new and changed objects that need others: what upstream's validating webhooks refuse, in their
 * words. Run by the store just before the write, when everything before it is committed, so two
 * requests at once cannot both pass. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "control/api_call.h"
#include "control/api_columns.h"

static int admit_migration(struct api_call *c, struct tree *obj);
static int admit_maintenance(struct api_call *c, struct tree *obj);
static int admit_priority(struct api_call *c, struct tree *obj);
static bool is_final(const char *phase);
static bool find_any(void *ctx, const struct tree *obj);
static bool find_living(void *ctx, const struct tree *obj);

bool
api_admission_looks_at(enum kind kind)
{
    return kind == KIND_VMIM || kind == KIND_MAINTENANCE || kind == KIND_PRIORITY ||
           kind == KIND_CONFIGMAP || api_admission_is_network(kind);
}

int
api_admit(void *ctx, struct tree *obj)
{
    struct api_call *c = ctx;
    int rc = 0;

    if (c->kind->kind == KIND_VMIM)
        rc = admit_migration(c, obj);
    if (c->kind->kind == KIND_MAINTENANCE)
        rc = admit_maintenance(c, obj);
    if (c->kind->kind == KIND_PRIORITY)
        rc = admit_priority(c, obj);
    if (c->kind->kind == KIND_CONFIGMAP)
        rc = api_admit_checkup(c, obj);
    if (api_admission_is_network(c->kind->kind))
        rc = api_admit_network(c, NULL, obj);
    return rc ? -EPERM : 0;
}

#define HCO_HOOK "admission webhook \"validate-hco.kubevirt.io\" denied the request: "

int
api_admit_change(struct api_call *c, const struct tree *old, const struct tree *doc)
{
    const struct tree *found = NULL;

    if (api_admission_is_network(c->kind->kind) && api_admit_network(c, old, doc) != 0)
        return -1;
    if (c->kind->kind != KIND_HCO || tree_equal(tree_find(old, "spec", "workloads", NULL),
                                                tree_find(doc, "spec", "workloads", NULL)))
        return 0;
    store_list(c->api->store, KIND_VM, NULL, find_any, &found);
    if (!found)
        store_list(c->api->store, KIND_VMI, NULL, find_living, &found);
    if (found)
        return api_err_bad(
            c,
            HCO_HOOK "spec.workloads: the placement of workloads can be changed only "
                     "when no VMs are present, and %s %s/%s is",
            tree_find_string(found, "", "kind", NULL), object_namespace(found), object_name(found));
    return 0;
}

static bool
find_any(void *ctx, const struct tree *obj)
{
    *(const struct tree **)ctx = obj;
    return false;
}

static bool
find_living(void *ctx, const struct tree *obj)
{
    if (!is_final(tree_find_string(obj, "", "status", "phase", NULL)))
        *(const struct tree **)ctx = obj;
    return !*(const struct tree **)ctx;
}

#define MIGRATION_HOOK \
    "admission webhook \"migration-create-validator.kubevirt.io\" denied the request: "

struct find_migration {
    const char *vmi;
    const struct tree *found;
};

static bool
find_unfinished(void *ctx, const struct tree *obj)
{
    struct find_migration *f = ctx;

    if (strcmp(tree_find_string(obj, "", "spec", "vmiName", NULL), f->vmi) == 0 &&
        !is_final(tree_find_string(obj, "", "status", "phase", NULL)))
        f->found = obj;
    return !f->found;
}

static int
admit_migration(struct api_call *c, struct tree *obj)
{
    const char *name = object_name(obj), *ns = object_namespace(obj);
    const char *vmi_name = tree_find_string(obj, "", "spec", "vmiName", NULL);
    const struct tree *vmi = store_get(c->api->store, KIND_VMI, ns, vmi_name), *cond;
    struct find_migration f = {.vmi = vmi_name};

    if (tree_find(obj, "spec", "priority", NULL))
        return api_err_field(c, name, "spec.priority", "FieldValueForbidden",
                             "Forbidden: priority is set by the system, not by users");
    if (!vmi)
        return api_err_bad(c, MIGRATION_HOOK "the VMI \"%s/%s\" does not exist", ns, vmi_name);
    if (is_final(tree_find_string(vmi, "", "status", "phase", NULL)))
        return api_err_bad(c, MIGRATION_HOOK "Cannot migrate VMI in finalized state.");
    cond = object_condition(vmi, "LiveMigratable");
    if (cond && strcmp(tree_find_string(cond, "", "status", NULL), "False") == 0)
        return api_err_bad(c, MIGRATION_HOOK "Cannot migrate VMI, Reason: %s, Message: %s",
                           tree_find_string(cond, "", "reason", NULL),
                           tree_find_string(cond, "", "message", NULL));
    store_list(c->api->store, KIND_VMIM, ns, find_unfinished, &f);
    if (f.found)
        return api_err_bad(c,
                           MIGRATION_HOOK "in-flight migration detected. Active migration job (%s) "
                                          "is currently already in progress for VMI %s.",
                           object_name(f.found), vmi_name);
    return 0;
}

#define MAINTENANCE_HOOK "admission webhook \"vnodemaintenance.kb.io\" denied the request: "

struct find_maintenance {
    const char *node;
    bool found;
};

static bool
find_same_node(void *ctx, const struct tree *obj)
{
    struct find_maintenance *f = ctx;

    f->found = strcmp(tree_find_string(obj, "", "spec", "nodeName", NULL), f->node) == 0;
    return !f->found;
}

static int
admit_maintenance(struct api_call *c, struct tree *obj)
{
    const char *node = tree_find_string(obj, "", "spec", "nodeName", NULL);
    struct find_maintenance f = {.node = node};

    if (!store_get(c->api->store, KIND_NODE, NULL, node))
        return api_err_bad(c, MAINTENANCE_HOOK "invalid nodeName, no node with name %s found",
                           node);
    store_list(c->api->store, KIND_MAINTENANCE, NULL, find_same_node, &f);
    if (f.found)
        return api_err_bad(
            c, MAINTENANCE_HOOK "invalid nodeName, a NodeMaintenance for node %s already exists",
            node);
    return 0;
}

struct find_default {
    const char *but;
    const struct tree *found;
};

static bool
find_default(void *ctx, const struct tree *obj)
{
    struct find_default *f = ctx;

    if (tree_get_bool(tree_get(obj, "globalDefault"), false) &&
        strcmp(object_name(obj), f->but) != 0)
        f->found = obj;
    return !f->found;
}

static int
admit_priority(struct api_call *c, struct tree *obj)
{
    struct find_default f = {.but = object_name(obj)};

    if (!tree_get_bool(tree_get(obj, "globalDefault"), false))
        return 0;
    store_list(c->api->store, KIND_PRIORITY, NULL, find_default, &f);
    if (f.found)
        return api_err_forbidden(c, c->kind, object_name(obj),
                                 "PriorityClass %s is already marked as default. Only one default "
                                 "can exist",
                                 object_name(f.found));
    return 0;
}

static bool
is_final(const char *phase)
{
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}
