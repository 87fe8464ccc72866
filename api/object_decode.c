/* The typed view of each kind: the tables do the work, and what follows from several fields together
 * is filled in here (run strategy, requests that follow from limits, "" for texts that are never NULL). */
#include <string.h>

#include "api/schema.h"

static void *decode(enum kind kind, const struct tree *obj, struct arena *a);
static int64_t start_of(const struct tree *phases);
static void finish_vmi_spec(struct vmi_spec *s, const struct tree *spec, struct arena *a);
static void requests_from_limits(struct resource_list *requests, const struct resource_list *limits,
                                 struct arena *a);
static bool has_resource(const struct resource_list *l, const char *name);
static void finish_containers(struct pod_container *items, size_t len, const struct tree *list,
                              struct arena *a);

struct vm *
vm_decode(const struct tree *obj, struct arena *a)
{
    struct vm *vm = decode(KIND_VM, obj, a);

    if (!vm->run_strategy)
        vm->run_strategy =
            tree_get_bool(tree_find(obj, "spec", "running", NULL), false) ? "Always" : "Halted";
    finish_vmi_spec(&vm->spec, tree_find(obj, "spec", "template", "spec", NULL), a);
    return vm;
}

struct vmi *
vmi_decode(const struct tree *obj, struct arena *a)
{
    struct vmi *vmi = decode(KIND_VMI, obj, a);

    finish_vmi_spec(&vmi->spec, tree_get(obj, "spec"), a);
    vmi->status.start_us = start_of(tree_find(obj, "status", "phaseTransitionTimestamps", NULL));
    return vmi;
}

struct vmim *
vmim_decode(const struct tree *obj, struct arena *a)
{
    struct vmim *vmim = decode(KIND_VMIM, obj, a);

    if (!vmim->phase)
        vmim->phase = "";
    return vmim;
}

struct hco *
hco_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_HCO, obj, a);
}

struct kubevirt *
kubevirt_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_KUBEVIRT, obj, a);
}

struct migration_policy *
policy_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_POLICY, obj, a);
}

struct nad *
nad_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_NAD, obj, a);
}

struct maintenance *
maintenance_decode(const struct tree *obj, struct arena *a)
{
    struct maintenance *m = decode(KIND_MAINTENANCE, obj, a);

    if (!m->phase)
        m->phase = "";
    return m;
}

struct node *
node_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_NODE, obj, a);
}

struct namespace_ *
namespace_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_NAMESPACE, obj, a);
}

struct pvc *
pvc_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_PVC, obj, a);
}

struct pv *
pv_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_PV, obj, a);
}

struct storage_class *
storage_class_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_STORAGE_CLASS, obj, a);
}

struct pod *
pod_decode(const struct tree *obj, struct arena *a)
{
    struct pod *pod = decode(KIND_POD, obj, a);
    const struct tree *spec = tree_get(obj, "spec"), *gates = tree_get(spec, "schedulingGates");

    finish_containers(pod->containers, pod->containers_len, tree_get(spec, "containers"), a);
    finish_containers(pod->init_containers, pod->init_containers_len,
                      tree_get(spec, "initContainers"), a);
    pod->gates.items = arena_calloc(a, tree_len(gates), sizeof *pod->gates.items);
    for (size_t i = 0; i < tree_len(gates); i++) {
        const char *name = tree_get_string(tree_get(tree_at(gates, i), "name"), NULL);

        if (name)
            pod->gates.items[pod->gates.len++] = arena_strdup(a, name);
    }
    return pod;
}

struct priority_class *
priority_class_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_PRIORITY, obj, a);
}

struct pdb *
pdb_decode(const struct tree *obj, struct arena *a)
{
    return decode(KIND_PDB, obj, a);
}

struct meta *
meta_decode(const struct tree *obj, struct arena *a)
{
    struct meta *m = arena_alloc(a, sizeof *m);

    schema_decode(&meta_schema, tree_get(obj, "metadata"), m, a);
    return m;
}

static void *
decode(enum kind kind, const struct tree *obj, struct arena *a)
{
    const struct schema *s = schema_of(kind);
    void *out = arena_alloc(a, s->size);

    schema_decode(s, obj, out, a);
    return out;
}

static int64_t
start_of(const struct tree *phases)
{
    for (size_t i = 0; i < tree_len(phases); i++) {
        const struct tree *one = tree_at(phases, i);
        int64_t us;

        if (strcmp(tree_get_string(tree_get(one, "phase"), ""), "Scheduled") == 0 &&
            time_parse(tree_get_string(tree_get(one, "phaseTransitionTimestamp"), ""), &us, NULL) ==
                0)
            return us;
    }
    return 0;
}

static void
finish_vmi_spec(struct vmi_spec *s, const struct tree *spec, struct arena *a)
{
    for (size_t i = 0; i < s->domain.disks_len; i++)
        if (!s->domain.disks[i].kind)
            s->domain.disks[i].kind = "";
    for (size_t i = 0; i < s->domain.interfaces_len; i++)
        if (!s->domain.interfaces[i].binding)
            s->domain.interfaces[i].binding = "";
    for (size_t i = 0; i < s->volumes_len; i++)
        if (!s->volumes[i].kind)
            s->volumes[i].kind = "";
    requests_from_limits(&s->domain.requests, &s->domain.limits, a);
    s->domain.sev = s->domain.sev || s->domain.sev_snp;
    /* Secure Execution is what launchSecurity means on s390x, and it has no field of its own */
    s->domain.secure_execution =
        tree_type(tree_find(spec, "domain", "launchSecurity", NULL)) == TREE_MAP &&
        strcmp(tree_find_string(spec, "", "architecture", NULL), "s390x") == 0;
}

/* As the API servers default it: a limit without a request is a request, too. */
static void
requests_from_limits(struct resource_list *requests, const struct resource_list *limits,
                     struct arena *a)
{
    if (limits->len == 0)
        return;
    struct resource *all = arena_calloc(a, requests->len + limits->len, sizeof *all);
    size_t len = requests->len;

    if (len > 0)
        memcpy(all, requests->items, len * sizeof *all);
    for (size_t i = 0; i < limits->len; i++)
        if (!has_resource(requests, limits->items[i].name))
            all[len++] = limits->items[i];
    *requests = (struct resource_list){.items = all, .len = len};
}

static bool
has_resource(const struct resource_list *l, const char *name)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].name, name) == 0)
            return true;
    return false;
}

static void
finish_containers(struct pod_container *items, size_t len, const struct tree *list, struct arena *a)
{
    static const struct field limits_field[] = {
        {.name = "limits", .type = F_RESOURCES, .at = AT(struct pod_container, requests)}, {0}};
    static const struct schema limits_schema = {.fields = limits_field};
    size_t at = 0;

    for (size_t i = 0; i < tree_len(list) && at < len; i++) {
        struct pod_container limits = {0};

        if (tree_type(tree_at(list, i)) != TREE_MAP)
            continue;
        schema_decode(&limits_schema, tree_get(tree_at(list, i), "resources"), &limits, a);
        requests_from_limits(&items[at++].requests, &limits.requests, a);
    }
}
