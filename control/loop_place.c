/* The pass' snapshot and what is placed on it; see control/loop_place.h. */
#include "control/loop_place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "migrate/coord.h"

#define RESULT_NODES_SHOWN 64  /* of the nodes in ANN_SCHEDULE_RESULT */
#define WHY_SIZE           512 /* of the messages of single nodes */

static struct cluster *snapshot(struct loops *l);
static void reserve_scheduled(struct loops *l, struct cluster *c);
static void add_network_details(struct loops *l, const struct place_result *r, struct sb *why);
static struct tree *result_tree(struct loops *l, const struct place_result *r, const char *node,
                                const struct vmi *v);

struct loop_placed
loop_place(struct loops *l, const struct place_request *rq)
{
    struct cluster *c = snapshot(l);
    struct place_result *r = place(c, rq);
    struct loop_placed p = {.message = ""};

    if (r->node) {
        p.node = arena_strdup(l->arena, r->node);
        cluster_reserve(c, rq->vmi, p.node);
    } else {
        AUTO_SB struct sb why = SB_INIT;

        sb_puts(&why, r->message);
        if (rq->needs_network)
            add_network_details(l, r, &why);
        p.message = arena_strdup(l->arena, sb_str(&why));
    }
    p.result = result_tree(l, r, r->node, rq->vmi);
    place_result_free(r);
    return p;
}

void
loop_place_done(struct loops *l)
{
    cluster_free(TAKE_PTR(l->cluster));
}

int64_t
loop_place_heartbeat_us(const struct kv_list *annotations)
{
    const char *s = kv_get(annotations, ANN_HEARTBEAT);
    int64_t us;

    return s && time_parse(s, &us, NULL) == 0 ? us : 0;
}

bool
loop_place_stale(struct loops *l, const char *node, bool *ret_gone)
{
    const struct node *n = node ? loop_cache_get(l->cache, KIND_NODE, NULL, node) : NULL;

    if (ret_gone)
        *ret_gone = !n;
    return !n ||
           loop_place_heartbeat_us(&n->meta.annotations) + l->heartbeat_timeout_us <= l->now_us;
}

const char *
loop_place_network_trouble(struct loops *l, const char *node)
{
    const struct node *n = loop_cache_get(l->cache, KIND_NODE, NULL, node);
    const struct condition *c =
        n ? loop_core_condition(&n->conditions, PLACE_NETWORK_CONDITION) : NULL;

    if (!c || !c->status || strcmp(c->status, "False") != 0)
        return NULL;
    return c->message && *c->message ? c->message : "not ready";
}

static struct cluster *
snapshot(struct loops *l)
{
    const void *o;

    if (l->cluster)
        return l->cluster;
    l->cluster = cluster_new();
    cluster_set_hco(l->cluster, loop_cache_hco(l->cache));
    cluster_set_heartbeat(l->cluster, l->now_us, l->heartbeat_timeout_us / 1000000);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_NAMESPACE, &it));)
        cluster_add_namespace(l->cluster, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_NODE, &it));)
        cluster_add_node(l->cluster, o);
    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_VMI, &it));)
        cluster_add_vmi(l->cluster, o);
    reserve_scheduled(l, l->cluster);
    return l->cluster;
}

/* Targets that are chosen but not yet handed off: only the migration object knows them. */
static void
reserve_scheduled(struct loops *l, struct cluster *c)
{
    const struct vmim *m;

    for (size_t it = 0; (m = loop_cache_next(l->cache, KIND_VMIM, &it));) {
        const struct vmi *v;

        if (!m->phase || strcmp(m->phase, coord_phase_name(COORD_SCHEDULED)) != 0 ||
            !m->state.target_node)
            continue;
        v = loop_cache_get(l->cache, KIND_VMI, m->meta.namespace_, m->vmi_name);
        if (v && (!v->status.migration.migration_uid ||
                  strcmp(v->status.migration.migration_uid, m->meta.uid) != 0))
            cluster_reserve(c, v, m->state.target_node);
    }
}

/* " n2: link is down." for each node that lacks nothing but the network. */
static void
add_network_details(struct loops *l, const struct place_result *r, struct sb *why)
{
    size_t end = why->len + WHY_SIZE;

    for (size_t i = 0; i < r->nodes_len && why->len < end; i++)
        for (size_t j = 0; j < r->nodes[i].reasons.len; j++)
            if (strcmp(r->nodes[i].reasons.items[j], PLACE_NETWORK_REASON) == 0)
                sb_printf(why, " %s: %s.", r->nodes[i].name,
                          loop_place_network_trouble(l, r->nodes[i].name));
}

/* An annotation cannot hold the scores of thousands of nodes: the chosen one and the first ones
 * stay. */
static struct tree *
result_tree(struct loops *l, const struct place_result *r, const char *node, const struct vmi *v)
{
    struct place_result shown = *r;
    struct tree *t;

    if (r->nodes_len > RESULT_NODES_SHOWN) {
        shown.nodes = arena_calloc(l->arena, RESULT_NODES_SHOWN, sizeof(*shown.nodes));
        shown.nodes_len = 0;
        for (size_t i = 0; i < r->nodes_len && shown.nodes_len < RESULT_NODES_SHOWN; i++)
            if (i < RESULT_NODES_SHOWN - 1 || (node && strcmp(r->nodes[i].name, node) == 0))
                shown.nodes[shown.nodes_len++] = r->nodes[i];
        if (shown.best.len > RESULT_NODES_SHOWN)
            shown.best.len = RESULT_NODES_SHOWN;
    }
    t = place_result_tree(&shown, v->meta.namespace_, v->meta.name);
    if (shown.nodes_len < r->nodes_len)
        tree_set(t, "nodesNotShown", tree_int((int64_t)(r->nodes_len - shown.nodes_len)));
    return t;
}
