/* Decisions on the controller's cluster; see control/loop_place.h. */
#include "control/loop_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "control/loop_cluster.h"
#include "sched/nearest.h"

#define RESULT_NODES_SHOWN 64  /* of the nodes in ANN_SCHEDULE_RESULT */
#define WHY_SIZE           512 /* of the messages of single nodes */

static void compare(struct loops *l, const struct place_request *rq, const struct place_result *r);
static void add_network_details(struct loops *l, const struct place_result *r, struct sb *why);
static struct tree *result_tree(struct loops *l, const struct place_result *r, const char *node,
                                const struct vmi *v);

struct loop_placed
loop_place(struct loops *l, const struct place_request *rq)
{
    struct place_result *r = place(loop_cluster_get(l), rq);
    struct loop_placed p = {.message = ""};
    struct nearest nearest = {.change = ""};

    if (l->on_mismatch)
        compare(l, rq, r);
    if (r->node) {
        p.node = arena_strdup(l->arena, r->node);
        loop_cluster_reserve(l, rq->vmi, p.node);
    } else {
        AUTO_SB struct sb why = SB_INIT;

        sb_puts(&why, r->message);
        if (rq->needs_network)
            add_network_details(l, r, &why);
        if (loop_cluster_may_explain(l)) {
            place_explain(loop_cluster_get(l), rq, r, RESULT_NODES_SHOWN);
            nearest = nearest_miss(loop_cluster_get(l), rq, r, l->arena);
        }
        if (rq->target && *nearest.change) /* somebody asked for this one, and wants to know */
            sb_printf(&why, " %s.", nearest.change);
        p.message = arena_strdup(l->arena, sb_str(&why));
    }
    p.result = result_tree(l, r, r->node, rq->vmi);
    if (*nearest.change)
        tree_set(p.result, "nearest", nearest_tree(&nearest));
    place_result_free(r);
    return p;
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

/* Each decision is made again on a cluster that was built for it. */
static void
compare(struct loops *l, const struct place_request *rq, const struct place_result *r)
{
    struct cluster *c = loop_cluster_build(l);
    struct place_result *again = place(c, rq);
    AUTO_SB struct sb what = SB_INIT;

    if (strcmp(r->message, again->message) != 0 ||
        strcmp(r->node ? r->node : "", again->node ? again->node : "") != 0 ||
        r->nodes_len != again->nodes_len)
        sb_printf(&what, " %s (%s), not %s (%s)", r->node, r->message, again->node, again->message);
    for (size_t i = 0; i < r->nodes_len; i++)
        for (size_t j = 0; j < again->nodes_len; j++)
            if (strcmp(r->nodes[i].name, again->nodes[j].name) == 0 &&
                r->nodes[i].total != again->nodes[j].total)
                sb_printf(&what, " %s has %" PRId64 ", not %" PRId64, r->nodes[i].name,
                          r->nodes[i].total, again->nodes[j].total);
    if (what.len) {
        AUTO_FREE char *text =
            xasprintf("%s/%s:%s", rq->vmi->meta.namespace_, rq->vmi->meta.name, sb_str(&what));

        l->on_mismatch(l->mismatch_ctx, text);
    }
    place_result_free(again);
    cluster_free(c);
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
