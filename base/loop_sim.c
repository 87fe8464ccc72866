/* The event loop on virtual time: no descriptors, no sleeping. Posts run in the order they came;
 * timers that fall due at the same microsecond run in an order drawn from the seed, so that tests
 * see many interleavings and can repeat each. See loop.h. */
#include <stdlib.h>

#include "base/loop_impl.h"
#include "base/rng.h"
#include "base/sb.h"

#define SIM_START_US      1000000u
#define SIM_START_WALL_US 1767225600000000 /* 2026-01-01T00:00:00Z */

struct sim_timer {
    struct loop_timer t;
    struct sim_timer *next, **prev;
    struct sim_loop *l;
    uint64_t due_us, order;
};

struct sim_post {
    struct sim_post *next;
    loop_fn fn;
    void *ctx;
};

struct sim_loop {
    struct loop loop;
    struct rng rng;
    uint64_t now_us;
    bool stop;
    struct sim_timer *timers; /* unsorted: tests have few */
    struct sim_post *head, **tail;
};

static const struct loop_ops sim_ops;
static bool run_one(struct sim_loop *l, uint64_t until_us);

struct loop *
loop_sim_new(uint64_t seed)
{
    struct sim_loop *l = xcalloc(1, sizeof *l);

    l->loop.ops = &sim_ops;
    l->now_us = SIM_START_US;
    l->tail = &l->head;
    rng_seed(&l->rng, seed);
    return &l->loop;
}

static struct sim_loop *
self(const struct loop *l)
{
    return (struct sim_loop *)(uintptr_t)l;
}

static void
sim_free(struct loop *loop)
{
    struct sim_loop *l = self(loop);

    for (struct sim_timer *t = l->timers, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    for (struct sim_post *p = l->head, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(l);
}

static void
sim_run(struct loop *loop)
{
    struct sim_loop *l = self(loop);

    while (!l->stop && run_one(l, UINT64_MAX))
        ;
    l->stop = false;
}

void
loop_sim_run_until(struct loop *loop, uint64_t now_us)
{
    struct sim_loop *l = self(loop);

    while (!l->stop && run_one(l, now_us))
        ;
    l->stop = false;
    if (l->now_us < now_us)
        l->now_us = now_us;
}

/* Runs the oldest post, else the next timer due by until_us (jumping to it). False when idle. */
static bool
run_one(struct sim_loop *l, uint64_t until_us)
{
    if (l->head) {
        struct sim_post *p = l->head;

        l->head = p->next;
        if (!l->head)
            l->tail = &l->head;
        p->fn(p->ctx);
        free(p);
        return true;
    }

    struct sim_timer *best = NULL;

    for (struct sim_timer *t = l->timers; t; t = t->next)
        if (!best || t->due_us < best->due_us ||
            (t->due_us == best->due_us && t->order < best->order))
            best = t;
    if (!best || best->due_us > until_us)
        return false;
    if (best->due_us > l->now_us)
        l->now_us = best->due_us;

    loop_fn fn = best->t.fn;
    void *ctx = best->t.ctx;

    loop_timer_del(&best->t);
    fn(ctx);
    return true;
}

static void
sim_stop(struct loop *loop)
{
    self(loop)->stop = true;
}

static uint64_t
sim_now_us(const struct loop *loop)
{
    return self(loop)->now_us;
}

static int64_t
sim_wall_us(const struct loop *loop)
{
    return SIM_START_WALL_US + (int64_t)(self(loop)->now_us - SIM_START_US);
}

static struct loop_fd *
sim_fd_add(struct loop *loop, int fd, int events, loop_fd_fn fn, void *ctx)
{
    (void)loop;
    (void)fd;
    (void)events;
    (void)fn;
    (void)ctx;
    abort(); /* code under simulation must not use descriptors */
}

static struct loop_timer *
sim_timer_add(struct loop *loop, uint64_t delay_us, loop_fn fn, void *ctx)
{
    struct sim_loop *l = self(loop);
    struct sim_timer *t = xcalloc(1, sizeof *t);

    t->t = (struct loop_timer){&sim_ops, fn, ctx};
    t->l = l;
    if (__builtin_add_overflow(l->now_us, delay_us, &t->due_us))
        t->due_us = UINT64_MAX;
    t->order = rng_u64(&l->rng);
    t->next = l->timers;
    t->prev = &l->timers;
    if (t->next)
        t->next->prev = &t->next;
    l->timers = t;
    return &t->t;
}

static void
sim_timer_del(struct loop_timer *timer)
{
    struct sim_timer *t = (struct sim_timer *)timer;

    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    free(t);
}

static void
sim_post(struct loop *loop, loop_fn fn, void *ctx)
{
    struct sim_loop *l = self(loop);
    struct sim_post *p = xmalloc(sizeof *p);

    *p = (struct sim_post){NULL, fn, ctx};
    *l->tail = p;
    l->tail = &p->next;
}

static void
sim_signal(struct loop *loop, int signo, loop_fn fn, void *ctx)
{
    (void)loop;
    (void)signo;
    (void)fn;
    (void)ctx;
}

static const struct loop_ops sim_ops = {
    .free = sim_free,
    .run = sim_run,
    .stop = sim_stop,
    .now_us = sim_now_us,
    .wall_us = sim_wall_us,
    .fd_add = sim_fd_add,
    .timer_add = sim_timer_add,
    .timer_del = sim_timer_del,
    .post = sim_post,
    .signal = sim_signal,
};
