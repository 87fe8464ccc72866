/* Priorities in `drover schedule`; see schedule_preempt.h. */
#include "cli/schedule_preempt.h"

#include <string.h>

#define SHOWN_VICTIMS 10

struct promise {
    struct place_request rq; /* only vmi or pod */
    const char *node;
    int64_t priority;
};

struct schedule_places {
    struct cluster *c;
    const struct offline *o;
    struct promise *promises;
    size_t len, cap;
};

static void promise(struct schedule_places *s, const struct place_request *rq, const char *node);
static void hold(struct schedule_places *s, const struct place_request *rq, bool on);
static void forget(struct schedule_places *s, const struct place_request *rq);
static bool same(const struct place_request *a, const struct place_request *b);
static void prefer(struct place_result *r, const char *node);
static int64_t priority_of(const struct cluster *c, const struct place_request *rq);
static void check_class(const struct cluster *c, const struct meta *meta, const char *name);

struct schedule_places *
schedule_places_new(struct cluster *c, const struct offline *o)
{
    struct schedule_places *s = xcalloc(1, sizeof(*s));

    s->c = c;
    s->o = o;
    for (size_t i = 0; i < o->len; i++) {
        if (o->items[i].kind == KIND_PRIORITY)
            cluster_add_priority_class(c, o->items[i].priority_class);
        else if (o->items[i].kind == KIND_PDB)
            cluster_add_pdb(c, o->items[i].pdb);
    }
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_VM)
            check_class(c, it->meta, it->vm->spec.priority_class);
        else if (it->kind == KIND_VMI)
            check_class(c, it->meta, it->vmi->spec.priority_class);
        else if (it->kind == KIND_POD && !it->pod->has_priority)
            check_class(c, it->meta, it->pod->priority_class);
        if (it->meta->deletion_us)
            continue;
        if (it->kind == KIND_VMI && !(it->vmi->status.node_name && *it->vmi->status.node_name))
            promise(s, &(struct place_request){.vmi = it->vmi}, NULL);
        else if (it->kind == KIND_POD && !(it->pod->node_name && *it->pod->node_name))
            promise(s, &(struct place_request){.pod = it->pod}, NULL);
    }
    return s;
}

void
schedule_places_free(struct schedule_places *s)
{
    if (!s)
        return;
    free(s->promises);
    free(s);
}

struct place_result *
schedule_place(struct schedule_places *s, const struct place_request *rq,
               struct preempt_result *ret)
{
    struct place_result *result;

    hold(s, rq, true);
    result = place(s->c, rq);
    prefer(result, preempt_nominated(rq));
    *ret = (struct preempt_result){.message = ""};
    if (!result->node) {
        *ret = preempt(s->c, rq, result->arena);
        result->message = arena_printf(result->arena, "%s%s", result->message, ret->message);
    }
    hold(s, rq, false);
    if (result->node || ret->node)
        forget(s, rq);
    if (ret->node && rq->purpose == PLACE_START)
        promise(s, rq, ret->node);
    return result;
}

void
schedule_preempt_tree(const struct preempt_result *p, struct tree *answer)
{
    struct tree *t, *victims;

    if (!p->node)
        return;
    t = tree_map();
    victims = tree_list();
    tree_set(t, "node", tree_string(p->node));
    for (size_t i = 0; i < p->victims_len; i++)
        tree_append(victims, tree_stringf("%s/%s", p->victims[i].ns, p->victims[i].name));
    tree_set(t, "victims", victims);
    tree_set(t, "budgetViolations", tree_int(p->pdb_violations));
    tree_set(answer, "preemption", t);
}

void
schedule_preempt_print(const struct preempt_result *p, struct sb *out)
{
    if (!p->node)
        return;
    sb_printf(out, "preemption: it fits on %s without", p->node);
    for (size_t i = 0; i < p->victims_len && i < SHOWN_VICTIMS; i++)
        sb_printf(out, "%s %s/%s (priority %lld)", i > 0 ? "," : "", p->victims[i].ns,
                  p->victims[i].name, (long long)p->victims[i].priority);
    if (p->victims_len > SHOWN_VICTIMS)
        sb_printf(out, " and %zu more", p->victims_len - SHOWN_VICTIMS);
    if (p->pdb_violations > 0)
        sb_printf(out, "; that is against %lld disruption budget%s", (long long)p->pdb_violations,
                  p->pdb_violations > 1 ? "s" : "");
}

/* node NULL: the one that its object names, if any. */
static void
promise(struct schedule_places *s, const struct place_request *rq, const char *node)
{
    if (!node)
        node = preempt_nominated(rq);
    if (!node)
        return;
    if (s->len == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 8;
        s->promises = xreallocarray(s->promises, s->cap, sizeof(*s->promises));
    }
    s->promises[s->len++] = (struct promise){.rq = {.vmi = rq->vmi, .pod = rq->pod},
                                             .node = arena_strdup(s->o->arena, node),
                                             .priority = priority_of(s->c, rq)};
}

/* The room of those that rq has to leave alone: on before it is placed, off after it. */
static void
hold(struct schedule_places *s, const struct place_request *rq, bool on)
{
    int64_t priority = priority_of(s->c, rq);

    for (size_t i = 0; i < s->len; i++) {
        const struct promise *p = &s->promises[i];
        const struct meta *meta = p->rq.pod ? &p->rq.pod->meta : &p->rq.vmi->meta;

        if (p->priority < priority || same(&p->rq, rq))
            continue;
        if (on && p->rq.pod)
            cluster_reserve_pod(s->c, p->rq.pod, p->node);
        else if (on)
            cluster_reserve(s->c, p->rq.vmi, p->node);
        else if (p->rq.pod)
            cluster_remove_pod(s->c, meta->namespace_, meta->name);
        else
            cluster_unreserve(s->c, meta->namespace_, meta->name, p->node);
    }
}

static void
forget(struct schedule_places *s, const struct place_request *rq)
{
    for (size_t i = s->len; i-- > 0;)
        if (same(&s->promises[i].rq, rq))
            s->promises[i] = s->promises[--s->len];
}

static bool
same(const struct place_request *a, const struct place_request *b)
{
    return a->vmi == b->vmi && a->pod == b->pod;
}

/* As kube-scheduler: when it fits there, the others are not looked at. */
static void
prefer(struct place_result *r, const char *node)
{
    for (size_t i = 0; node && r->node && i < r->nodes_len; i++) {
        if (!r->nodes[i].fits || strcmp(r->nodes[i].name, node) != 0)
            continue;
        r->node = r->best.items[0] = r->nodes[i].name;
        r->best.len = 1;
    }
}

static int64_t
priority_of(const struct cluster *c, const struct place_request *rq)
{
    return rq->pod ? cluster_priority_of_pod(c, rq->pod) : cluster_priority_of_vmi(c, rq->vmi);
}

static void
check_class(const struct cluster *c, const struct meta *meta, const char *name)
{
    if (name && *name && !cluster_has_priority_class(c, name))
        offline_warn("%s/%s: no PriorityClass with name %s was found: its priority counts as 0",
                     meta->namespace_, meta->name, name);
}
