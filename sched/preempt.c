/* Preemption over all nodes; see preempt.h. The rules are those of kube-scheduler 1.31's defaultpreemption
 * plugin. */
#include "sched/preempt.h"

#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "sched/explain.h"
#include "sched/filter.h"
#include "sched/preempt_node.h"

static const char *not_eligible(struct request *r, const struct place_request *rq,
                                int64_t priority);
static bool leaves_by_preemption(const struct occupant *o);
static void search(struct cluster *c, struct request *r, int64_t priority,
                   struct preempt_result *ret, struct arena *a);
static bool better(const struct preempt_plan *x, const struct preempt_plan *y);
static int64_t sum_of_priorities(const struct preempt_plan *p);
static int64_t youngest(const struct preempt_plan *p);
static void keep(struct preempt_result *ret, const struct preempt_plan *p, struct arena *a);

struct preempt_result
preempt(struct cluster *c, const struct place_request *rq, struct arena *a)
{
    struct preempt_result ret = {.message = ""};
    struct arena *scratch = arena_new();
    struct request r;
    const char *why = request_compile(&r, c, rq, scratch);
    int64_t priority = rq->pod   ? cluster_priority_of_pod(c, rq->pod)
                       : rq->vmi ? cluster_priority_of_vmi(c, rq->vmi)
                                 : 0;

    if (!why && c->nodes_len > 0 && priority_matters(c, priority)) {
        why = cluster_may_preempt(c, rq) ? not_eligible(&r, rq, priority)
                                         : "not eligible due to preemptionPolicy=Never.";
        if (why)
            ret.message = arena_printf(a, " preemption: %s", why);
        else
            search(c, &r, priority, &ret, a);
    }
    request_done(&r);
    arena_free(scratch);
    return ret;
}

const char *
preempt_nominated(const struct place_request *rq)
{
    const char *node =
        rq->pod ? rq->pod->nominated_node : kv_get(&rq->vmi->meta.annotations, ANN_NOMINATED);

    return node && *node ? node : NULL;
}

bool
preempt_helps(struct cluster *c, const struct place_request *rq, const char *node,
              const struct preempt_victim *without, size_t without_len)
{
    struct cluster_node *n = cluster_find(c, node);
    struct arena *scratch = arena_new();
    struct request r;
    bool helps = !request_compile(&r, c, rq, scratch) && n && n->node &&
                 preempt_node_without(c, &r, n, without, without_len);

    request_done(&r);
    arena_free(scratch);
    return helps;
}

/* Its victims are on their way out of the node that it was promised. */
static const char *
not_eligible(struct request *r, const struct place_request *rq, int64_t priority)
{
    const struct cluster_node *n = cluster_find(r->c, preempt_nominated(rq));

    if (!n || !n->node || !filter_resolvable(r, n))
        return NULL;
    for (const struct occupant *o = n->occupants; o; o = o->next)
        if (leaves_by_preemption(o) && priority_of_occupant(r->c, o) < priority)
            return "not eligible due to a terminating pod on the nominated node.";
    return NULL;
}

static bool
leaves_by_preemption(const struct occupant *o)
{
    const struct pod *p = o->is_pod ? o->object : NULL;

    if (!o->terminating)
        return false;
    for (size_t i = 0; p && i < p->conditions.len; i++) {
        const struct condition *k = &p->conditions.items[i];

        if (k->type && strcmp(k->type, "DisruptionTarget") == 0)
            return k->status && strcmp(k->status, "True") == 0 && k->reason &&
                   strcmp(k->reason, "PreemptionByScheduler") == 0;
    }
    return !p;
}

static void
search(struct cluster *c, struct request *r, int64_t priority, struct preempt_result *ret,
       struct arena *a)
{
    const struct str_list **reasons = arena_calloc(r->arena, c->nodes_len, sizeof(*reasons));
    struct preempt_plan best = {0}, one;

    for (size_t i = 0; i < c->nodes_len; i++) {
        struct str_list *why = arena_alloc(r->arena, sizeof(*why));

        reasons[i] = why;
        if (!filter_resolvable(r, c->nodes[i]))
            explain_add(why, r->arena, "Preemption is not helpful for scheduling");
        else if (preempt_node_plan(c, r, c->nodes[i], priority, &one, why) &&
                 (!best.node || better(&one, &best)))
            best = one;
    }
    if (best.node)
        keep(ret, &best, a);
    else
        ret->message = arena_printf(a, " preemption: %s",
                                    explain_message(c->nodes_len, reasons, c->nodes_len, a));
}

/* Fewest violations, then the lowest highest priority, the smallest sum, the fewest, and the youngest
 * victims; then the first name. */
static bool
better(const struct preempt_plan *x, const struct preempt_plan *y)
{
    int64_t x_sum = sum_of_priorities(x), y_sum = sum_of_priorities(y);
    int64_t x_young = youngest(x), y_young = youngest(y);

    if (x->violations != y->violations)
        return x->violations < y->violations;
    if (x->priorities[0] != y->priorities[0])
        return x->priorities[0] < y->priorities[0];
    if (x_sum != y_sum)
        return x_sum < y_sum;
    if (x->len != y->len)
        return x->len < y->len;
    if (x_young != y_young)
        return x_young > y_young;
    return cluster_before(x->node, y->node);
}

/* Each counts as at least 0, so that more victims never make a smaller sum. */
static int64_t
sum_of_priorities(const struct preempt_plan *p)
{
    int64_t sum = 0;

    for (size_t i = 0; i < p->len; i++)
        sum += p->priorities[i] - INT32_MIN;
    return sum;
}

/* When the first one of the highest priority came. */
static int64_t
youngest(const struct preempt_plan *p)
{
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < p->len && p->priorities[i] == p->priorities[0]; i++) {
        int64_t us = priority_start_us(p->victims[i]);

        first = us < first ? us : first;
    }
    return first;
}

static void
keep(struct preempt_result *ret, const struct preempt_plan *p, struct arena *a)
{
    ret->node = arena_strdup(a, p->node->name);
    ret->pdb_violations = p->violations;
    ret->victims = arena_calloc(a, p->len, sizeof(*ret->victims));
    for (size_t i = 0; i < p->len; i++)
        ret->victims[ret->victims_len++] = (struct preempt_victim){
            .ns = arena_strdup(a, p->victims[i]->ns),
            .name = arena_strdup(a, p->victims[i]->name),
            .is_pod = p->victims[i]->is_pod,
            .priority = p->priorities[i],
        };
}
