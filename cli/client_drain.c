/* The drain's view for people. Decides nothing itself: sched/evict.h does, on what the server
 * has. */
#include "cli/client_drain.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"

struct fetched { /* what the decisions need, decoded into the plan's arena */
    const struct vmi **vmis;
    const struct vmim **vmims;
    const struct pvc **pvcs;
    const struct node **nodes;
    size_t vmis_len, vmims_len, pvcs_len, nodes_len;
    const char *strategy; /* the cluster's */
};

/* Calls the kind's decoder for each object of the list and stores the results. */
#define FETCH(list, decode, a, items, len)                           \
    do {                                                             \
        const struct tree *objects = tree_get(list, "items");        \
        (len) = tree_len(objects);                                   \
        (items) = arena_calloc(a, (len) + 1, sizeof(*(items)));      \
        for (size_t fetch_i = 0; fetch_i < (len); fetch_i++)         \
            (items)[fetch_i] = decode(tree_at(objects, fetch_i), a); \
    } while (0)

static int
fetch_all(struct client *c, struct arena *a, struct fetched *f, struct err *err)
{
    static const enum kind kinds[] = {KIND_VMI,  KIND_VMIM, KIND_PVC,
                                      KIND_NODE, KIND_HCO,  KIND_KUBEVIRT};
    struct tree *lists[ARRAY_LEN(kinds)] = {0};
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == 0; i++)
        rc = client_list(c, kind_info(kinds[i]), NULL, NULL, &lists[i], err);
    if (rc == 0) {
        const struct tree *hcos = tree_get(lists[4], "items"), *kvs = tree_get(lists[5], "items");

        FETCH(lists[0], vmi_decode, a, f->vmis, f->vmis_len);
        FETCH(lists[1], vmim_decode, a, f->vmims, f->vmims_len);
        FETCH(lists[2], pvc_decode, a, f->pvcs, f->pvcs_len);
        FETCH(lists[3], node_decode, a, f->nodes, f->nodes_len);
        if (tree_len(hcos))
            f->strategy = hco_decode(tree_at(hcos, 0), a)->eviction_strategy;
        else if (tree_len(kvs))
            f->strategy = kubevirt_decode(tree_at(kvs, 0), a)->eviction_strategy;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        tree_free(lists[i]);
    return rc;
}

static bool
is_final(const char *phase)
{
    return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

static bool
is_migrating(const struct fetched *f, const struct vmi *v)
{
    for (size_t i = 0; i < f->vmims_len; i++) {
        const struct vmim *m = f->vmims[i];

        if (!is_final(m->phase) && m->vmi_name && strcmp(m->vmi_name, v->meta.name) == 0 &&
            strcmp(m->meta.namespace_, v->meta.namespace_) == 0)
            return true;
    }
    return false;
}

static struct evict_decision
decide(const struct fetched *f, const struct vmi *v, struct arena *a)
{
    const struct pvc **claims = arena_calloc(a, f->pvcs_len + 1, sizeof(*claims));
    struct migratable m;
    size_t len = 0;

    for (size_t i = 0; i < f->pvcs_len; i++) {
        if (strcmp(f->pvcs[i]->meta.namespace_, v->meta.namespace_) == 0)
            claims[len++] = f->pvcs[i];
    }
    m = vmi_migratable(v, claims, len, a);
    return evict_decide(v, &m, f->strategy, f->nodes_len, is_migrating(f, v), a);
}

static int
by_name(const void *x, const void *y)
{
    const struct drain_vm *a = x, *b = y;
    int order = strcmp(a->namespace_, b->namespace_);

    return order ? order : strcmp(a->name, b->name);
}

int
drain_plan_make(struct client *c, const char *node, struct drain_plan *ret, struct err *err)
{
    struct drain_plan p = {.arena = arena_new()};
    struct fetched f = {0};
    bool known = false;
    int rc;

    rc = fetch_all(c, p.arena, &f, err);
    if (rc < 0) {
        drain_plan_done(&p);
        return rc;
    }
    for (size_t i = 0; i < f.nodes_len; i++)
        known |= strcmp(f.nodes[i]->meta.name, node) == 0;
    if (!known) {
        drain_plan_done(&p);
        return err_set(err, -ENOENT, "nodes \"%s\" not found", node);
    }
    p.vms = arena_calloc(p.arena, f.vmis_len + 1, sizeof(*p.vms));
    for (size_t i = 0; i < f.vmis_len; i++) {
        const struct vmi *v = f.vmis[i];
        struct drain_vm *vm = &p.vms[p.len];

        if (!v->status.node_name || strcmp(v->status.node_name, node) != 0 ||
            is_final(v->status.phase) || v->meta.deletion_us)
            continue;
        vm->namespace_ = v->meta.namespace_;
        vm->name = v->meta.name;
        vm->decision = decide(&f, v, p.arena);
        p.blocked += vm->decision.action == EVICT_BLOCK;
        p.len++;
    }
    qsort(p.vms, p.len, sizeof(*p.vms), by_name);
    *ret = p;
    return 0;
}

void
drain_plan_done(struct drain_plan *p)
{
    arena_free(p->arena);
    *p = (struct drain_plan){0};
}

char *
drain_maintenance_name(const char *node)
{
    return xasprintf("drain-%s", node);
}

int
drain_maintenance_find(struct client *c, const char *node, struct tree **ret, struct err *err)
{
    AUTO_TREE struct tree *list = NULL;
    const struct tree *items;
    int rc;

    rc = client_list(c, kind_info(KIND_MAINTENANCE), NULL, NULL, &list, err);
    if (rc < 0)
        return rc;
    items = tree_get(list, "items");
    *ret = NULL;
    for (size_t i = 0; i < tree_len(items) && !*ret; i++) {
        const struct tree *obj = tree_at(items, i);

        if (strcmp(tree_find_string(obj, "", "spec", "nodeName", NULL), node) == 0)
            *ret = tree_copy(obj);
    }
    return 0;
}
