/* Keeps the cluster up to date; see control/loop_cluster.h. What a VMI occupies is always set as a
 * whole, from its object, its migrations and its reservation: so nothing is counted twice, and
 * nothing is left behind. */
#include "control/loop_cluster.h"

#include <string.h>

#include "control/loop_core.h"
#include "migrate/coord.h"
#include "sched/fast.h"
#include "sched/preempt.h"

struct reservation {
    char *ns, *name, *node;
};

#define EXPLAINED_NODES 20000 /* a second, which may have hundreds of passes */

struct loop_cluster {
    struct cluster *c;
    struct fast *engine;
    struct strmap *reserved; /* "ns/name" of a VMI -> struct reservation of the last pass */
    bool anew, priorities;   /* to be done when all changes are told */
    size_t explained;        /* nodes looked at for explanations since explained_us */
    int64_t explained_us;
};

static void on_change(void *ctx, enum kind kind, const char *ns, const char *name,
                      const void *before, const void *now);
static void on_change_of_new(void *ctx, enum kind kind, const char *ns, const char *name,
                             const void *before, const void *now);
static void give_back(struct loops *l);
static void settle(struct loops *l, const char *ns, const char *name);
static void hold_target(struct loops *l, struct cluster *c, const struct vmi *v);
static void add_priorities(struct loops *l, struct cluster *c);
static struct cluster *make(struct loops *l);
static void reservation_free(void *p);

struct loop_cluster *
loop_cluster_new(void)
{
    struct loop_cluster *lc = xcalloc(1, sizeof(*lc));

    lc->reserved = strmap_new();
    return lc;
}

void
loop_cluster_free(struct loop_cluster *lc)
{
    if (!lc)
        return;
    fast_free(lc->engine);
    cluster_free(lc->c);
    strmap_free(lc->reserved, reservation_free);
    free(lc);
}

void
loop_cluster_sync(struct loops *l)
{
    struct loop_cluster *lc = l->cluster;

    lc->anew = !lc->c;
    if (lc->c) {
        cluster_set_now(lc->c, l->now_us);
        loop_cache_tell(l->cache, on_change, l);
    }
    if (lc->anew) { /* the first one, or the settings change what each VMI asks for */
        fast_free(lc->engine);
        cluster_free(lc->c);
        lc->c = make(l);
        lc->engine = fast_new(lc->c);
        loop_cache_tell_anew(l->cache);
        loop_cache_tell(l->cache, on_change_of_new, l);
    }
    if (lc->priorities)
        add_priorities(l, lc->c);
    lc->priorities = false;
    give_back(l);
}

struct cluster *
loop_cluster_get(struct loops *l)
{
    return l->cluster->c;
}

struct fast *
loop_cluster_engine(struct loops *l)
{
    return l->cluster->engine;
}

void
loop_cluster_reserve(struct loops *l, const struct vmi *v, const char *node)
{
    struct loop_cluster *lc = l->cluster;
    AUTO_FREE char *key = xasprintf("%s/%s", v->meta.namespace_, v->meta.name);
    struct reservation *r = xcalloc(1, sizeof(*r));

    *r = (struct reservation){xstrdup(v->meta.namespace_), xstrdup(v->meta.name), xstrdup(node)};
    r = strmap_put(lc->reserved, key, r);
    if (r)
        reservation_free(r);
    cluster_reserve(lc->c, v, node);
}

void
loop_cluster_give_back(struct loops *l, const struct vmi *v)
{
    AUTO_FREE char *key = xasprintf("%s/%s", v->meta.namespace_, v->meta.name);
    struct reservation *r = strmap_del(l->cluster->reserved, key);

    if (r)
        reservation_free(r);
    settle(l, v->meta.namespace_, v->meta.name);
}

bool
loop_cluster_may_explain(struct loops *l)
{
    struct loop_cluster *lc = l->cluster;

    if (l->now_us < lc->explained_us || l->now_us >= lc->explained_us + 1000000) {
        lc->explained = 0;
        lc->explained_us = l->now_us;
    }
    if (lc->explained >= EXPLAINED_NODES)
        return false;
    lc->explained += loop_cache_count(l->cache, KIND_NODE);
    return true;
}

struct cluster *
loop_cluster_build(struct loops *l)
{
    struct cluster *c = make(l);
    const struct vmi *v;
    const void *o;
    void *value;

    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_NAMESPACE, &it));)
        cluster_add_namespace(c, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_NODE, &it));)
        cluster_add_node(c, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_PVC, &it));)
        cluster_add_pvc(c, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_PV, &it));)
        cluster_add_pv(c, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_STORAGE_CLASS, &it));)
        cluster_add_storage_class(c, o);
    for (size_t it = 0; (v = loop_cache_next(l->cache, KIND_VMI, &it));) {
        cluster_add_vmi(c, v);
        hold_target(l, c, v);
    }
    add_priorities(l, c);
    for (size_t it = 0; strmap_next(l->cluster->reserved, &it, NULL, &value);) {
        const struct reservation *r = value;

        v = loop_cache_get(l->cache, KIND_VMI, r->ns, r->name);
        if (v)
            cluster_reserve(c, v, r->node);
    }
    return c;
}

/* With what has to be known before VMIs are added. */
static struct cluster *
make(struct loops *l)
{
    struct cluster *c = cluster_new();
    const void *o;

    cluster_set_hco(c, loop_cache_hco(l->cache));
    cluster_set_profile(c, l->profile);
    cluster_set_seed(c, l->placement_seed);
    cluster_set_heartbeat(c, l->now_us, l->heartbeat_timeout_us / 1000000);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_NAD, &it));)
        cluster_add_nad(c, o);
    return c;
}

static void
on_change(void *ctx, enum kind kind, const char *ns, const char *name, const void *before,
          const void *now)
{
    struct loops *l = ctx;
    struct loop_cluster *lc = l->cluster;

    switch (kind) {
    case KIND_NODE:
        now ? cluster_update_node(lc->c, now) : cluster_remove_node(lc->c, name);
        break;
    case KIND_NAMESPACE:
        now ? cluster_update_namespace(lc->c, now) : cluster_remove_namespace(lc->c, name);
        break;
    case KIND_VMI:
        settle(l, ns, name);
        break;
    case KIND_VMIM: /* its VMI: spec.vmiName never changes */
        settle(l, ns, (now ? (const struct vmim *)now : (const struct vmim *)before)->vmi_name);
        break;
    case KIND_PVC:
        now ? cluster_add_pvc(lc->c, now) : cluster_remove_pvc(lc->c, ns, name);
        break;
    case KIND_PV:
        now ? cluster_add_pv(lc->c, now) : cluster_remove_pv(lc->c, name);
        break;
    case KIND_STORAGE_CLASS:
        now ? cluster_add_storage_class(lc->c, now) : cluster_remove_storage_class(lc->c, name);
        break;
    case KIND_NAD:
        now ? cluster_add_nad(lc->c, now) : cluster_remove_nad(lc->c, ns, name);
        lc->anew = true;
        break;
    case KIND_HCO:
        cluster_set_hco(lc->c, NULL); /* it lives no longer than this call */
        lc->anew = true;
        break;
    case KIND_PRIORITY:
    case KIND_PDB:
        cluster_clear_priorities(lc->c);
        lc->priorities = true;
        break;
    default:
        break;
    }
}

/* make() has seen to what VMIs depend on. */
static void
on_change_of_new(void *ctx, enum kind kind, const char *ns, const char *name, const void *before,
                 const void *now)
{
    if (kind != KIND_HCO && kind != KIND_NAD)
        on_change(ctx, kind, ns, name, before, now);
}

static void
give_back(struct loops *l)
{
    struct strmap *old = l->cluster->reserved;
    void *value;

    l->cluster->reserved = strmap_new();
    for (size_t it = 0; strmap_next(old, &it, NULL, &value);) {
        const struct reservation *r = value;

        settle(l, r->ns, r->name);
    }
    strmap_free(old, reservation_free);
}

/* Sets what the VMI occupies, as far as it is stored. */
static void
settle(struct loops *l, const char *ns, const char *name)
{
    const struct vmi *v = name ? loop_cache_get(l->cache, KIND_VMI, ns, name) : NULL;

    if (v) {
        cluster_update_vmi(l->cluster->c, v);
        hold_target(l, l->cluster->c, v);
    } else if (name) {
        cluster_remove_vmi(l->cluster->c, ns, name);
    }
}

static void
hold_target(struct loops *l, struct cluster *c, const struct vmi *v)
{
    const struct vmim *m;

    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OF_VMI,
                                                v->meta.namespace_, v->meta.name, &it));)
        if (m->phase && strcmp(m->phase, coord_phase_name(COORD_SCHEDULED)) == 0 &&
            m->state.target_node &&
            (!v->status.migration.migration_uid ||
             strcmp(v->status.migration.migration_uid, m->meta.uid) != 0))
            cluster_reserve(c, v, m->state.target_node);
}

static void
add_priorities(struct loops *l, struct cluster *c)
{
    const void *o;

    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_PRIORITY, &it));)
        cluster_add_priority_class(c, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_PDB, &it));)
        cluster_add_pdb(c, o);
}

static void
reservation_free(void *p)
{
    struct reservation *r = p;

    free(r->ns);
    free(r->name);
    free(r->node);
    free(r);
}
