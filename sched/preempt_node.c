/* Victims on one node; see preempt_node.h. Follows SelectVictimsOnNode of kube-scheduler 1.31. */
#include "sched/preempt_node.h"

#include <stdlib.h>
#include <string.h>

#include "sched/explain.h"
#include "sched/filter.h"

struct candidate {
    struct occupant *o;
    int64_t priority, start_us;
    size_t order; /* in which they came: what is equal else stays so */
};

/* The node while some of its occupants are looked away from. */
struct trial {
    struct cluster *c;
    struct request *r;
    struct cluster_node *n;
    struct candidate *all; /* the most important first */
    bool *gone;
    size_t len;
    struct room room; /* as it is */
};

static size_t find_candidates(struct trial *t, int64_t priority);
static struct room room_without(const struct trial *t);
static void shift(struct trial *t, size_t i, int64_t by);
static bool reprieve(struct trial *t, size_t i);
static int by_importance(const void *x, const void *y);

bool
preempt_node_plan(struct cluster *c, struct request *r, struct cluster_node *n, int64_t priority,
                  struct preempt_plan *ret, struct str_list *why)
{
    struct trial t = {.c = c, .r = r, .n = n, .room = n->room};
    struct preempt_plan plan = {.node = n};
    struct occupant **list;
    bool *protected, fits;

    if (find_candidates(&t, priority) == 0) {
        explain_add(why, r->arena, "No preemption victims found for incoming pod");
        return false;
    }
    n->room = room_without(&t);
    for (size_t i = 0; i < t.len; i++)
        shift(&t, i, -1);
    fits = filter_node(r, n, why);
    if (fits) {
        list = arena_calloc(r->arena, t.len, sizeof(*list));
        protected = arena_calloc(r->arena, t.len, sizeof(*protected));
        for (size_t i = 0; i < t.len; i++)
            list[i] = t.all[i].o;
        priority_protected(c, list, t.len, protected);
        for (size_t i = 0; i < t.len; i++)
            if (protected[i] && !reprieve(&t, i))
                plan.violations++;
        for (size_t i = 0; i < t.len; i++)
            if (!protected[i])
                reprieve(&t, i);
    }
    plan.victims = arena_calloc(r->arena, t.len, sizeof(struct occupant *));
    plan.priorities = arena_calloc(r->arena, t.len, sizeof(*plan.priorities));
    n->room = t.room;
    for (size_t i = 0; i < t.len; i++) {
        if (!t.gone[i])
            continue;
        shift(&t, i, 1);
        plan.priorities[plan.len] = t.all[i].priority;
        plan.victims[plan.len++] = t.all[i].o;
    }
    if (fits)
        *ret = plan;
    return fits;
}

bool
preempt_node_without(struct cluster *c, struct request *r, struct cluster_node *n,
                     const struct preempt_victim *without, size_t without_len)
{
    struct trial t = {.c = c, .r = r, .n = n, .room = n->room};
    struct str_list unused = {0};
    bool fits;

    t.all = arena_calloc(r->arena, without_len, sizeof(*t.all));
    t.gone = arena_calloc(r->arena, without_len, sizeof(*t.gone));
    for (struct occupant *o = n->occupants; o; o = o->next)
        for (size_t i = 0; i < without_len; i++)
            if (o->is_pod == without[i].is_pod && strcmp(o->name, without[i].name) == 0 &&
                strcmp(o->ns, without[i].ns) == 0)
                t.all[t.len++].o = o;
    n->room = room_without(&t);
    for (size_t i = 0; i < t.len; i++)
        shift(&t, i, -1);
    fits = t.len > 0 && filter_node(r, n, &unused);
    for (size_t i = 0; i < t.len; i++)
        shift(&t, i, 1);
    n->room = t.room;
    return fits;
}

/* Nobody is the victim of itself: a reservation of its own counts as its own. */
static size_t
find_candidates(struct trial *t, int64_t priority)
{
    size_t cap = 0;

    for (const struct occupant *o = t->n->occupants; o; o = o->next)
        cap++;
    t->all = arena_calloc(t->r->arena, cap, sizeof(*t->all));
    t->gone = arena_calloc(t->r->arena, cap, sizeof(*t->gone));
    for (struct occupant *o = t->n->occupants; o; o = o->next) {
        int64_t its = priority_of_occupant(t->c, o);

        if (its < priority && o != cluster_occupant_on(t->r->self, t->n))
            t->all[t->len++] = (struct candidate){o, its, priority_start_us(o), cap--};
    }
    if (t->len > 1)
        qsort(t->all, t->len, sizeof(*t->all), by_importance);
    return t->len;
}

/* Counted anew: sums that have saturated cannot be taken apart. */
static struct room
room_without(const struct trial *t)
{
    struct room room = t->room;

    room.used_cpu_milli = room.used_memory_bytes = room.used_ephemeral_bytes = room.used_pods = 0;
    room.used_score_cpu_milli = room.used_score_memory_bytes = 0;
    room.extras = arena_calloc(t->r->arena, room.extras_cap, sizeof(*room.extras));
    for (size_t i = 0; i < room.extras_len; i++) {
        room.extras[i] = t->room.extras[i];
        room.extras[i].used = 0;
    }
    for (const struct occupant *o = t->n->occupants; o; o = o->next) {
        size_t i = 0;

        while (i < t->len && t->all[i].o != o)
            i++;
        if (i == t->len)
            need_take(&room, &o->need, t->c->names);
    }
    return room;
}

static void
shift(struct trial *t, size_t i, int64_t by)
{
    t->gone[i] = by < 0;
    peers_shift(t->r->peers, t->n, t->all[i].o, by);
    spread_shift(t->r->spread, t->n, t->all[i].o, by);
}

/* It stays, when it still fits beside it. */
static bool
reprieve(struct trial *t, size_t i)
{
    struct room before = t->n->room, *now = &t->n->room;
    struct str_list unused = {0};

    now->extras = arena_calloc(t->r->arena, now->extras_cap, sizeof(*now->extras));
    if (now->extras_len > 0)
        memcpy(now->extras, before.extras, now->extras_len * sizeof(*now->extras));
    need_take(now, &t->all[i].o->need, t->c->names);
    shift(t, i, 1);
    if (filter_node(t->r, t->n, &unused))
        return true;
    t->n->room = before;
    shift(t, i, -1);
    return false;
}

static int
by_importance(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;

    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->start_us != b->start_us)
        return a->start_us < b->start_us ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}
