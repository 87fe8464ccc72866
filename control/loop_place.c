/* The pass' snapshot and what is placed on it; see control/loop_place.h. */
#include "control/loop_place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "migrate/coord.h"
#include "sched/explain.h"

#define RESULT_NODES_SHOWN 64    /* of the nodes in ANN_SCHEDULE_RESULT */
#define MEMO_MAX           20000 /* entries; forgotten all at once, which costs a search each */
#define WHY_SIZE           512   /* of the messages of single nodes */

static struct cluster *snapshot(struct loops *l);
static void reserve_scheduled(struct loops *l, struct cluster *c);
static const char *choose(struct loops *l, const struct place_result *r, loop_place_veto veto,
                          void *ctx, struct sb *why);
static struct tree *result_tree(struct loops *l, const struct place_result *r, const char *node,
                                const struct vmi *v);

struct loop_placed
loop_place(struct loops *l, const struct place_request *rq, loop_place_veto veto, void *ctx)
{
    struct cluster *c = snapshot(l);
    struct place_result *r = place(c, rq);
    struct loop_placed p = {.message = ""};
    AUTO_SB struct sb why = SB_INIT;
    const char *node = veto && r->node ? choose(l, r, veto, ctx, &why) : r->node;

    if (node) {
        p.node = arena_strdup(l->arena, node);
        cluster_reserve(c, rq->vmi, p.node);
    } else {
        p.message = arena_strdup(l->arena, r->node ? sb_str(&why) : r->message);
    }
    p.result = result_tree(l, r, node, rq->vmi);
    if (r->node && (!node || strcmp(node, r->node) != 0)) { /* the veto changed the outcome */
        tree_set(p.result, "node", tree_string(node));
        tree_set(p.result, "message", tree_string(p.message));
    }
    place_result_free(r);
    return p;
}

void
loop_place_done(struct loops *l)
{
    cluster_free(TAKE_PTR(l->cluster));
}

const struct loop_memo *
loop_memo_get(struct loops *l, const char *uid)
{
    const struct loop_memo *m = strmap_get(l->memo, uid);

    return m && m->epoch == l->epoch ? m : NULL;
}

const struct loop_memo *
loop_memo_put(struct loops *l, const char *uid, const char *reason, const char *message)
{
    struct loop_memo *m = xcalloc(1, sizeof(*m)), *old;

    *m = (struct loop_memo){l->epoch, reason, xstrdup(message)};
    if (strmap_len(l->memo) >= MEMO_MAX) {
        strmap_free(l->memo, loop_memo_free);
        l->memo = strmap_new();
    }
    old = strmap_put(l->memo, uid, m);
    if (old)
        loop_memo_free(old);
    return m;
}

void
loop_memo_free(void *memo)
{
    struct loop_memo *m = memo;

    free(m->message);
    free(m);
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

/* The best node that is not vetoed: highest total, then the first name. NULL: *why says why not,
 * in the form of the other refusals. */
static const char *
choose(struct loops *l, const struct place_result *r, loop_place_veto veto, void *ctx,
       struct sb *why)
{
    const struct str_list **reasons = arena_calloc(l->arena, r->nodes_len + 1, sizeof(*reasons));
    static const char *const vetoed[] = {"node(s) had no ready migration network"};
    const struct str_list no_network = {(const char **)(uintptr_t)vetoed, 1};
    const struct place_node *best = NULL;
    AUTO_SB struct sb each = SB_INIT;

    for (size_t i = 0; i < r->nodes_len; i++) {
        const struct place_node *n = &r->nodes[i];
        const char *no = n->fits ? veto(ctx, n->name) : NULL;

        reasons[i] = no ? &no_network : &n->reasons;
        if (no && each.len < WHY_SIZE)
            sb_printf(&each, " %s: %s.", n->name, no);
        if (n->fits && !no &&
            (!best || n->total > best->total ||
             (n->total == best->total && strcmp(n->name, best->name) < 0)))
            best = n;
    }
    if (!best)
        sb_printf(why, "%s%s", explain_message(r->nodes_len, reasons, r->nodes_len, l->arena),
                  sb_str(&each));
    return best ? best->name : NULL;
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
