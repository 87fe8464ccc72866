/* Status of PodDisruptionBudgets: how many of the VMs that they select run, and how many of those may go. Part
 * of a pass (control/loop_core.h), at most once a second. Follows kube-controller-manager's disruption
 * controller; as VMs have no replica count, those that are there are those that are expected. */
#include <inttypes.h>
#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_core.h"
#include "control/loop_phase.h"

#define EVERY_US INT64_C(1000000)

struct budget {
    const struct pdb *pdb;
    struct budget *next; /* of its namespace */
    int64_t expected, healthy;
};

struct budget_args {
    int64_t expected, healthy, desired, allowed;
};

static bool anything_changed(struct loops *l);
static void count(struct loops *l, struct strmap *by_ns);
static void publish(struct loops *l, const struct budget *b);
static int64_t desired(const struct tree *spec, int64_t expected);
static int64_t scaled(const struct tree *v, int64_t of);
static bool fill(struct tree *obj, const struct budget_args *a, int64_t now_us);
static int write_status(struct loop_write *w, struct tree *obj);

void
loop_budget_pass(struct loops *l)
{
    struct strmap *by_ns;
    const struct pdb *pdb;
    const char *ns;
    void *value;

    if (loop_cache_count(l->cache, KIND_PDB) == 0)
        return;
    l->budgets_dirty = l->budgets_dirty || anything_changed(l);
    if (!l->budgets_dirty)
        return;
    if (l->now_us < l->budgets_us + EVERY_US) {
        size_t it = 0;

        pdb = loop_cache_next(l->cache, KIND_PDB, &it);
        loop_core_look_at(l, KIND_PDB, &pdb->meta, l->budgets_us + EVERY_US);
        return;
    }
    l->budgets_dirty = false;
    l->budgets_us = l->now_us;
    by_ns = strmap_new();
    for (size_t it = 0; (pdb = loop_cache_next(l->cache, KIND_PDB, &it));) {
        struct budget *b = arena_alloc(l->arena, sizeof(*b));

        b->pdb = pdb;
        b->next = strmap_put(by_ns, pdb->meta.namespace_, b);
    }
    count(l, by_ns);
    for (size_t it = 0; strmap_next(by_ns, &it, &ns, &value);)
        for (const struct budget *b = value; b; b = b->next)
            publish(l, b);
    strmap_free(by_ns, NULL);
}

static bool
anything_changed(struct loops *l)
{
    size_t vmi = 0, pdb = 0;

    return loop_cache_next_changed(l->cache, KIND_VMI, l->all, &vmi) ||
           loop_cache_next_changed(l->cache, KIND_PDB, l->all, &pdb);
}

static void
count(struct loops *l, struct strmap *by_ns)
{
    const struct vmi *v;

    for (size_t it = 0; (v = loop_cache_next(l->cache, KIND_VMI, &it));) {
        const struct condition *ready = loop_core_condition(&v->status.conditions, "Ready");
        bool healthy =
            ready && ready->status && strcmp(ready->status, "True") == 0 && !v->meta.deletion_us;

        if (vmi_phase_final(vmi_phase_parse(v->status.phase)))
            continue;
        for (struct budget *b = strmap_get(by_ns, v->meta.namespace_); b; b = b->next) {
            if (!label_selector_matches(b->pdb->selector, &v->meta.labels))
                continue;
            b->expected++;
            b->healthy += healthy;
        }
    }
}

static void
publish(struct loops *l, const struct budget *b)
{
    const struct meta *m = &b->pdb->meta;
    const struct tree *now = loop_core_tree(l, KIND_PDB, m->namespace_, m->name);
    const struct tree *spec = tree_get(now, "spec");
    AUTO_TREE struct tree *next = tree_copy(now);
    struct budget_args a = {.expected = b->expected, .healthy = b->healthy};
    struct loop_write *w;

    if (!tree_get(spec, "minAvailable") && !tree_get(spec, "maxUnavailable"))
        a.expected = 0; /* nothing is asked for: upstream counts nobody, and allows nothing */
    a.desired = desired(spec, a.expected);
    a.allowed = a.expected > 0 && a.healthy > a.desired ? a.healthy - a.desired : 0;
    if (!fill(next, &a, l->now_us))
        return;
    w = loop_write_new(l, KIND_PDB, m, sizeof(a));
    *(struct budget_args *)w->args = a;
    loop_write_mutate(w, write_status, NULL);
}

static int64_t
desired(const struct tree *spec, int64_t expected)
{
    const struct tree *max = tree_get(spec, "maxUnavailable");
    int64_t n = expected - (max ? scaled(max, expected) : 0);

    if (!max)
        return scaled(tree_get(spec, "minAvailable"), expected);
    return n > 0 ? n : 0;
}

/* A number, or a share of so many, rounded up. */
static int64_t
scaled(const struct tree *v, int64_t of)
{
    if (tree_type(v) == TREE_INT)
        return tree_get_int(v, 0);
    return (of * strtol(tree_get_string(v, "0"), NULL, 10) + 99) / 100;
}

/* True when anything changed. */
static bool
fill(struct tree *obj, const struct budget_args *a, int64_t now_us)
{
    struct tree *status = tree_ensure_map(obj, "status");
    AUTO_TREE struct tree *before = tree_copy(status);
    bool allowed = a->allowed > 0;

    tree_set(status, "expectedPods", tree_int(a->expected));
    tree_set(status, "currentHealthy", tree_int(a->healthy));
    tree_set(status, "desiredHealthy", tree_int(a->desired));
    tree_set(status, "disruptionsAllowed", tree_int(a->allowed));
    tree_set(status, "observedGeneration",
             tree_int(tree_get_int(tree_find(obj, "metadata", "generation", NULL), 0)));
    object_set_condition(obj, "DisruptionAllowed", allowed ? "True" : "False",
                         allowed ? "SufficientPods" : "InsufficientPods", "", now_us);
    return !tree_equal(before, tree_get(obj, "status"));
}

static int
write_status(struct loop_write *w, struct tree *obj)
{
    return !tree_find(obj, "metadata", "deletionTimestamp", NULL) &&
           fill(obj, w->args, loop_wall_us(w->l->loop));
}
