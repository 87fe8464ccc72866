/* Decisions on the controller's cluster; see control/loop_place.h. */
#include "control/loop_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "control/loop_cluster.h"
#include "sched/fast.h"
#include "sched/nearest.h"
#include "sched/profile.h"

#define WHY_SIZE 512 /* of the messages of single nodes */

static void place_small(struct loops *l, const struct place_request *rq, struct loop_placed *p);
static void place_large(struct loops *l, const struct place_request *rq, struct loop_placed *p);
static void compare(struct loops *l, const struct place_request *rq, const struct place_result *r);
static void compare_engine(struct loops *l, const struct place_request *rq,
                           const struct fast_decision *d);
static const char *with_network_details(struct loops *l, const struct place_request *rq,
                                        const char *message);
static const char *with_nearest(struct loops *l, const struct place_request *rq,
                                const char *message);

struct loop_placed
loop_place(struct loops *l, const struct place_request *rq)
{
    struct loop_placed p = {.message = ""};

    if (loop_cache_count(l->cache, KIND_NODE) <= LOOP_PLACE_NODES_SHOWN)
        place_small(l, rq, &p);
    else
        place_large(l, rq, &p);
    if (p.node) {
        loop_cluster_reserve(l, rq->vmi, p.node);
        return p;
    }
    if (rq->needs_network)
        p.message = with_network_details(l, rq, p.message);
    if (rq->target) /* somebody asked for this one, and wants to know */
        p.message = with_nearest(l, rq, p.message);
    return p;
}

struct tree *
loop_place_refusal(struct loops *l, const struct place_request *rq, const char *message)
{
    struct cluster *c = loop_cluster_get(l);
    size_t nodes = loop_cache_count(l->cache, KIND_NODE);
    struct place_result none = {.message = ""}, *r = NULL;
    struct nearest nearest = {.change = ""};
    struct tree *t;

    if (loop_cluster_may_explain(l)) {
        r = place_look(c, rq, LOOP_PLACE_NODES_SHOWN);
        place_explain(c, rq, r, LOOP_PLACE_NODES_EXPLAINED);
        nearest = nearest_miss(c, rq, r, r->arena);
    }
    t = place_result_tree(r ? r : &none, rq->vmi->meta.namespace_, rq->vmi->meta.name);
    tree_set(t, "message", tree_string(message));
    if (nodes > (r ? r->nodes_len : 0))
        tree_set(t, "nodesNotShown", tree_int((int64_t)(nodes - (r ? r->nodes_len : 0))));
    if (*nearest.change)
        tree_set(t, "nearest", nearest_tree(&nearest));
    place_result_free(r);
    return t;
}

/* Few nodes: a full scan costs little, and says how each of them scores. */
static void
place_small(struct loops *l, const struct place_request *rq, struct loop_placed *p)
{
    struct place_result *r = place(loop_cluster_get(l), rq);
    struct fast_decision d;

    if (l->on_mismatch) {
        fast_place(loop_cluster_engine(l), rq, &d);
        compare_engine(l, rq, &d);
    }
    p->node = arena_strdup(l->arena, r->node);
    p->message = arena_strdup(l->arena, r->message);
    if (p->node)
        p->result = place_result_tree(r, rq->vmi->meta.namespace_, rq->vmi->meta.name);
    place_result_free(r);
}

static void
place_large(struct loops *l, const struct place_request *rq, struct loop_placed *p)
{
    struct fast *engine = loop_cluster_engine(l);
    const struct profile *profile = l->profile ? l->profile : profile_default();
    const char *best[LOOP_PLACE_NODES_SHOWN];
    struct fast_decision d;
    struct place_plugin_score scores[PLACE_PLUGINS];
    int64_t values[PLACE_PLUGINS];
    struct place_node chosen;
    struct place_result shown = {.message = "", .nodes = &chosen, .nodes_len = 1};

    fast_place(engine, rq, &d);
    if (l->on_mismatch)
        compare_engine(l, rq, &d);
    p->message = arena_strdup(l->arena, d.message);
    if (!d.node)
        return;
    p->node = arena_strdup(l->arena, d.node);
    chosen = (struct place_node){
        .name = p->node, .fits = true, .score = d.score, .total = d.total, .scores = scores};
    fast_scores(engine, rq, values);
    for (size_t i = 0; i < PLACE_PLUGINS; i++)
        if (profile->weights[i] > 0)
            scores[chosen.scores_len++] = (struct place_plugin_score){
                profile_plugin_name((enum place_plugin)i), values[i], profile->weights[i]};
    shown.node = p->node;
    shown.best = (struct str_list){best, fast_best(engine, best, ARRAY_LEN(best))};
    p->result = place_result_tree(&shown, rq->vmi->meta.namespace_, rq->vmi->meta.name);
    tree_set(p->result, "bestCount", tree_int((int64_t)d.best_len));
    tree_set(p->result, "fitsCount", tree_int((int64_t)d.fits_len));
    tree_set(p->result, "nodesNotShown",
             tree_int((int64_t)loop_cache_count(l->cache, KIND_NODE) - 1));
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

    if (!c || !c->status || strcmp(c->status, "True") == 0)
        return NULL;
    if (!c->reason || !*c->reason)
        return c->message && *c->message ? c->message : "not ready";
    return c->message && *c->message ? arena_printf(l->arena, "%s: %s", c->reason, c->message)
                                     : c->reason;
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

static void
compare_engine(struct loops *l, const struct place_request *rq, const struct fast_decision *d)
{
    struct place_result *r = place(loop_cluster_get(l), rq);

    compare(l, rq, r);
    if (strcmp(r->message, d->message) != 0 ||
        strcmp(r->node ? r->node : "", d->node ? d->node : "") != 0 ||
        (r->node && r->best.len != d->best_len)) {
        AUTO_FREE char *text =
            xasprintf("%s/%s: the engine says %s (%s), not %s (%s)", rq->vmi->meta.namespace_,
                      rq->vmi->meta.name, d->node, d->message, r->node, r->message);

        l->on_mismatch(l->mismatch_ctx, text);
    }
    place_result_free(r);
}

/* " n2: link is down." for each node that lacks nothing but the network. */
static const char *
with_network_details(struct loops *l, const struct place_request *rq, const char *message)
{
    struct place_result *r = place_look(loop_cluster_get(l), rq, SIZE_MAX);
    AUTO_SB struct sb why = SB_INIT;

    sb_puts(&why, message);
    for (size_t i = 0; i < r->nodes_len && why.len < strlen(message) + WHY_SIZE; i++)
        for (size_t j = 0; j < r->nodes[i].reasons.len; j++)
            if (strcmp(r->nodes[i].reasons.items[j], PLACE_NETWORK_REASON) == 0)
                sb_printf(&why, " %s: %s.", r->nodes[i].name,
                          loop_place_network_trouble(l, r->nodes[i].name));
    place_result_free(r);
    return arena_strdup(l->arena, sb_str(&why));
}

static const char *
with_nearest(struct loops *l, const struct place_request *rq, const char *message)
{
    const struct place_result none = {.message = message};
    struct nearest n = {.change = ""};

    if (loop_cluster_may_explain(l))
        n = nearest_miss(loop_cluster_get(l), rq, &none, l->arena);
    return *n.change ? arena_printf(l->arena, "%s %s.", message, n.change) : message;
}
