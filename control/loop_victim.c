/* Victims of a preemption; see control/loop_victim.h. */
#include "control/loop_victim.h"

#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_cluster.h"
#include "control/loop_event.h"
#include "control/loop_evict.h"
#include "control/loop_migration.h"
#include "control/loop_phase.h"
#include "control/loop_policy.h"
#include "sched/preempt.h"

#define PATIENCE_S 30 /* a migration that has no target by then gives way to a shutdown */

static void wait_for(struct loops *l, struct loop_victim *x, const char *node, const struct vmi *v,
                     const struct vmi *by);
static bool fits_elsewhere(struct loops *l, const struct vmi *v);
static bool is_ours(const struct vmim *m);
static bool is(const char *a, const char *b);
static const char *text_at(const struct tree *t, const char *key);

struct tree *
loop_victim_list(struct loops *l, const struct preempt_result *r)
{
    struct tree *list = tree_list();

    for (size_t i = 0; i < r->victims_len; i++) {
        const struct vmi *v =
            loop_cache_get(l->cache, KIND_VMI, r->victims[i].ns, r->victims[i].name);
        struct tree *one = v ? tree_map() : NULL;

        if (!v)
            continue;
        tree_set(one, "namespace", tree_string(v->meta.namespace_));
        tree_set(one, "name", tree_string(v->meta.name));
        tree_set(one, "uid", tree_string(v->meta.uid));
        tree_append(list, one);
    }
    return list;
}

struct loop_victim *
loop_victim_read(const struct tree *list, size_t *ret_len)
{
    struct loop_victim *all = xcalloc(tree_len(list) + 1, sizeof(*all));

    *ret_len = 0;
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *one = tree_at(list, i);

        if (*text_at(one, "uid"))
            all[(*ret_len)++] = (struct loop_victim){.ns = xstrdup(text_at(one, "namespace")),
                                                     .name = xstrdup(text_at(one, "name")),
                                                     .uid = xstrdup(text_at(one, "uid"))};
    }
    return all;
}

void
loop_victim_done(struct loop_victim *x)
{
    free(x->ns);
    free(x->name);
    free(x->uid);
}

const struct vmi *
loop_victim_there(struct loops *l, const struct loop_victim *x, const char *node)
{
    const struct vmi *v = loop_cache_get(l->cache, KIND_VMI, x->ns, x->name);
    const struct migration_state *ms = v ? &v->status.migration : NULL;
    const struct vmim *now, *last;

    if (!v || strcmp(v->meta.uid, x->uid) != 0 || vmi_phase_final(vmi_phase_parse(v->status.phase)))
        return NULL;
    if (is(v->status.node_name, node) || (ms->present && !ms->completed && !ms->failed &&
                                          (is(ms->source_node, node) || is(ms->target_node, node))))
        return v;
    loop_evict_migrations(l, v, &now, &last);
    return now && is(now->state.target_node, node) ? v : NULL;
}

void
loop_victim_send_away(struct loops *l, struct loop_victim *x, const char *node,
                      const struct vmi *by)
{
    const struct vmi *v = loop_victim_there(l, x, node);
    struct loop_evict_cause why = {.node = node, .cause = EVICT_CAUSE_PREEMPT};
    const struct vmim *now, *last;
    struct evict_decision what;

    if (!v || !evict_applies(v))
        return;
    if (x->asked_us == 0) {
        x->asked_us = l->now_us;
        loop_event(l, KIND_VMI, &v->meta, EVENT_NORMAL, "Preempted",
                   "Preempted by VirtualMachineInstance %s/%s on node %s", by->meta.namespace_,
                   by->meta.name, node);
    }
    why.text = arena_printf(l->arena, "%s/%s of higher priority needs the room on node %s",
                            by->meta.namespace_, by->meta.name, node);
    what = loop_evict_would(l, v);
    loop_evict_migrations(l, v, &now, &last);
    if (now) {
        wait_for(l, x, node, v, by);
        return;
    }
    if (last && is_ours(last) && last->state.failed && last->meta.creation_us >= x->asked_us)
        x->shut_down = true;
    if (!x->shut_down && what.action == EVICT_MIGRATE && fits_elsewhere(l, v))
        loop_evict(l, v, &why);
    else
        loop_evict_shut_down(l, v, &why,
                             what.action == EVICT_MIGRATE ? "it fits nowhere else" : what.reason);
}

void
loop_victim_spare(struct loops *l, const struct loop_victim *x)
{
    const struct vmi *v = loop_cache_get(l->cache, KIND_VMI, x->ns, x->name);

    if (v && strcmp(v->meta.uid, x->uid) == 0 && x->asked_us)
        loop_evict_cancel(l, v, EVICT_CAUSE_PREEMPT);
}

/* It migrates. One that only comes is stopped; one that leaves, but finds no target, is shut down later. */
static void
wait_for(struct loops *l, struct loop_victim *x, const char *node, const struct vmi *v,
         const struct vmi *by)
{
    int64_t until_us = x->asked_us + PATIENCE_S * INT64_C(1000000);
    const struct vmim *now, *last;
    enum coord_phase phase;

    loop_evict_migrations(l, v, &now, &last);
    if (is(now->state.target_node, node)) {
        if (!now->meta.deletion_us)
            loop_write_delete(loop_write_new(l, KIND_VMIM, &now->meta, 0), NULL);
        return;
    }
    if (!is_ours(now) || coord_phase_parse(now->phase, &phase, NULL) != 0 ||
        phase >= COORD_SCHEDULED)
        return;
    if (l->now_us < until_us) {
        loop_core_look_at(l, KIND_VMI, &by->meta, until_us);
        return;
    }
    x->shut_down = true;
    loop_evict_cancel(l, v, EVICT_CAUSE_PREEMPT);
}

/* Room is kept for it, so that two victims do not count on the same. */
static bool
fits_elsewhere(struct loops *l, const struct vmi *v)
{
    struct place_request rq = {.vmi = v, .purpose = PLACE_MIGRATE};
    struct policy_decision policy;
    struct place_result *r;
    bool fits;

    loop_policy_decide(l, v, &policy);
    rq.needs_network = policy.effective.network != NULL;
    r = place(loop_cluster_get(l), &rq);
    fits = r->node != NULL;
    if (fits)
        loop_cluster_reserve(l, v, r->node);
    place_result_free(r);
    return fits;
}

static bool
is_ours(const struct vmim *m)
{
    return is(kv_get(&m->meta.annotations, ANN_EVACUATION_CAUSE), EVICT_CAUSE_PREEMPT);
}

static bool
is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static const char *
text_at(const struct tree *t, const char *key)
{
    return tree_get_string(tree_get(t, key), "");
}
