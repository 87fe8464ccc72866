/* The scheduling queue: a heap of what is ready, a heap of what backs off, and lists of what is
 * parked, one for each set of changes that can help. See control/loop_queue.h. */
#include "control/loop_queue.h"

#include <string.h>

#include "base/cleanup.h"
#include "control/heap.h"
#include "base/sb.h"
#include "base/strmap.h"

struct parked { /* oldest attempt first */
    struct queued *first, **last;
};

struct loop_queue {
    struct strmap *all; /* uid -> struct queued */
    struct heap ready;  /* VMIs; migrations have an order of their own (migrate/coord_queue.h) */
    struct heap backoff;
    struct parked parked[QUEUE_ALL + 1]; /* by what helps */
};

static bool comes_before(const void *pa, const void *pb);
static bool ends_before(const void *pa, const void *pb);
static void moved(void *item, size_t pos);
static void enter(struct loop_queue *q, struct queued *e, enum queue_state state);
static void leave(struct loop_queue *q, struct queued *e);
static void wake(struct loop_queue *q, struct queued *e, int64_t now_us);
static void entry_free(void *p);

struct loop_queue *
loop_queue_new(void)
{
    struct loop_queue *q = xcalloc(1, sizeof(*q));

    q->all = strmap_new();
    q->ready = (struct heap){.before = comes_before, .moved = moved};
    q->backoff = (struct heap){.before = ends_before, .moved = moved};
    for (size_t i = 0; i < ARRAY_LEN(q->parked); i++)
        q->parked[i].last = &q->parked[i].first;
    return q;
}

void
loop_queue_free(struct loop_queue *q)
{
    if (!q)
        return;
    strmap_free(q->all, entry_free);
    heap_done(&q->ready);
    heap_done(&q->backoff);
    free(q);
}

struct queued *
loop_queue_add(struct loop_queue *q, enum kind kind, const struct meta *m, int64_t priority,
               int64_t queued_us)
{
    struct queued *e = strmap_get(q->all, m->uid);

    if (e)
        return e;
    e = xcalloc(1, sizeof(*e));
    e->kind = kind;
    e->uid = xstrdup(m->uid);
    e->ns = xstrdup(m->namespace_ ? m->namespace_ : "");
    e->name = xstrdup(m->name);
    e->priority = priority;
    e->queued_us = queued_us;
    strmap_put(q->all, e->uid, e);
    enter(q, e, QUEUE_READY);
    return e;
}

struct queued *
loop_queue_find(const struct loop_queue *q, const char *uid)
{
    return strmap_get(q->all, uid);
}

void
loop_queue_drop(struct loop_queue *q, const char *uid)
{
    struct queued *e = strmap_del(q->all, uid);

    if (!e)
        return;
    leave(q, e);
    entry_free(e);
}

struct queued *
loop_queue_pop(struct loop_queue *q)
{
    struct queued *e = heap_first(&q->ready);

    if (!e)
        return NULL;
    leave(q, e);
    enter(q, e, QUEUE_TRYING);
    return e;
}

void
loop_queue_park(struct loop_queue *q, struct queued *e, const char *reason, const char *message,
                int64_t now_us)
{
    char *copy = xstrdup(message);

    leave(q, e);
    free(e->message);
    e->message = copy;
    e->reason = reason;
    e->helps = loop_queue_helps(message);
    e->attempts++;
    e->tried_us = e->queued_us = now_us;
    enter(q, e, QUEUE_PARKED);
}

void
loop_queue_put_back(struct loop_queue *q, struct queued *e)
{
    leave(q, e);
    enter(q, e, QUEUE_READY);
}

void
loop_queue_changed(struct loop_queue *q, unsigned what, int64_t now_us)
{
    for (unsigned helps = 0; helps < ARRAY_LEN(q->parked); helps++)
        while ((helps & what) && q->parked[helps].first)
            wake(q, q->parked[helps].first, now_us);
}

void
loop_queue_retry(struct loop_queue *q, struct queued *e, int64_t now_us)
{
    if (e->state == QUEUE_PARKED)
        wake(q, e, now_us);
}

void
loop_queue_turn(struct loop_queue *q, int64_t now_us)
{
    struct queued *e;

    while ((e = heap_first(&q->backoff)) && e->until_us <= now_us) {
        leave(q, e);
        enter(q, e, QUEUE_READY);
    }
    for (size_t i = 0; i < ARRAY_LEN(q->parked); i++)
        while (q->parked[i].first && q->parked[i].first->until_us <= now_us)
            wake(q, q->parked[i].first, now_us);
}

int64_t
loop_queue_next_us(const struct loop_queue *q)
{
    const struct queued *e = heap_first(&q->backoff);
    int64_t first_us = e ? e->until_us : 0;

    for (size_t i = 0; i < ARRAY_LEN(q->parked); i++) {
        e = q->parked[i].first;
        if (e && (!first_us || e->until_us < first_us))
            first_us = e->until_us;
    }
    return first_us;
}

size_t
loop_queue_count(const struct loop_queue *q)
{
    return strmap_len(q->all);
}

unsigned
loop_queue_helps(const char *message)
{
    static const struct {
        const char *text;
        unsigned helps;
    } rules[] = {
        {"Insufficient ", QUEUE_ROOM | QUEUE_NODES},
        {"Too many pods", QUEUE_ROOM | QUEUE_NODES},
        {"affinity rules", QUEUE_PEERS | QUEUE_NODES},
        {"topology spread", QUEUE_PEERS | QUEUE_NODES},
    };
    unsigned helps = QUEUE_NODES;

    if (strncmp(message, "0/", 2) != 0)
        return QUEUE_ALL;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (strstr(message, rules[i].text))
            helps |= rules[i].helps;
    return helps;
}

static bool
comes_before(const void *pa, const void *pb)
{
    const struct queued *a = pa, *b = pb;
    int c;

    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->queued_us != b->queued_us)
        return a->queued_us < b->queued_us;
    c = strcmp(a->ns, b->ns);
    return c ? c < 0 : strcmp(a->name, b->name) < 0;
}

static bool
ends_before(const void *pa, const void *pb)
{
    return ((const struct queued *)pa)->until_us < ((const struct queued *)pb)->until_us;
}

static void
moved(void *item, size_t pos)
{
    ((struct queued *)item)->pos = pos;
}

static int64_t
backoff_us(unsigned attempts)
{
    int64_t s = QUEUE_BACKOFF_FIRST_S;

    for (unsigned i = 1; i < attempts && s < QUEUE_BACKOFF_MAX_S; i++)
        s *= 2;
    return (s < QUEUE_BACKOFF_MAX_S ? s : QUEUE_BACKOFF_MAX_S) * 1000000;
}

/* From parked to ready, or to backing off. */
static void
wake(struct loop_queue *q, struct queued *e, int64_t now_us)
{
    int64_t until_us = e->tried_us + backoff_us(e->attempts);

    leave(q, e);
    e->until_us = until_us;
    enter(q, e, until_us > now_us ? QUEUE_BACKOFF : QUEUE_READY);
}

static void
enter(struct loop_queue *q, struct queued *e, enum queue_state state)
{
    struct parked *p = &q->parked[e->helps];

    e->state = state;
    switch (state) {
    case QUEUE_READY:
        if (e->kind == KIND_VMI)
            heap_put(&q->ready, e);
        break;
    case QUEUE_BACKOFF:
        heap_put(&q->backoff, e);
        break;
    case QUEUE_PARKED:
        e->until_us = e->tried_us + QUEUE_FLUSH_S * INT64_C(1000000);
        e->next = NULL;
        e->prev = p->last;
        *p->last = e;
        p->last = &e->next;
        break;
    case QUEUE_TRYING:
        break;
    }
}

static void
leave(struct loop_queue *q, struct queued *e)
{
    switch (e->state) {
    case QUEUE_READY:
        if (e->kind == KIND_VMI)
            heap_del(&q->ready, e->pos);
        break;
    case QUEUE_BACKOFF:
        heap_del(&q->backoff, e->pos);
        break;
    case QUEUE_PARKED:
        *e->prev = e->next;
        if (e->next)
            e->next->prev = e->prev;
        else
            q->parked[e->helps].last = e->prev;
        break;
    case QUEUE_TRYING:
        break;
    }
}

static void
entry_free(void *p)
{
    struct queued *e = p;

    free(e->uid);
    free(e->ns);
    free(e->name);
    free(e->message);
    free(e);
}
