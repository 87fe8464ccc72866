/* The event loop on libevent; see loop.h. Posts from other threads come through an eventfd. */
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/loop_impl.h"
#include "base/sb.h"

struct posted {
    struct posted *next;
    loop_fn fn;
    void *ctx;
};

struct event_loop {
    struct loop loop;
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    bool stop;
    struct signal_reg *signals;
    pthread_mutex_t mu;
    struct posted *head, **tail; /* guarded by mu */
};

struct loop_fd {
    struct event *ev;
    struct event_loop *l;
    loop_fd_fn fn;
    void *ctx;
    int fd;
};

struct event_timer {
    struct loop_timer t;
    struct event *ev;
};

struct signal_reg {
    struct signal_reg *next;
    struct event *ev;
    loop_fn fn;
    void *ctx;
};

static const struct loop_ops event_ops;
static void on_wake(evutil_socket_t fd, short what, void *arg);

struct loop *
loop_event_new(void)
{
    struct event_loop *l = xcalloc(1, sizeof *l);

    evthread_use_pthreads();
    l->loop.ops = &event_ops;
    l->base = event_base_new();
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!l->base || l->wake_fd < 0)
        abort();
    pthread_mutex_init(&l->mu, NULL);
    l->tail = &l->head;
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    event_add(l->wake, NULL);
    return &l->loop;
}

static struct event_loop *
self(const struct loop *l)
{
    return (struct event_loop *)(uintptr_t)l;
}

static void
ev_free(struct loop *loop)
{
    struct event_loop *l = self(loop);

    for (struct posted *p = l->head, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    for (struct signal_reg *s = l->signals, *next; s; s = next) {
        next = s->next;
        event_free(s->ev);
        free(s);
    }
    event_free(l->wake);
    event_base_free(l->base);
    close(l->wake_fd);
    pthread_mutex_destroy(&l->mu);
    free(l);
}

static void
ev_run(struct loop *loop)
{
    struct event_loop *l = self(loop);

    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        if (event_base_loop(l->base, EVLOOP_ONCE) != 0)
            break;
    }
    __atomic_store_n(&l->stop, false, __ATOMIC_RELEASE);
}

static void
ev_stop(struct loop *loop)
{
    struct event_loop *l = self(loop);
    uint64_t one = 1;

    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    (void)!write(l->wake_fd, &one, sizeof one);
}

static uint64_t
ev_now_us(const struct loop *loop)
{
    (void)loop;
    return clock_mono_us();
}

static int64_t
ev_wall_us(const struct loop *loop)
{
    (void)loop;
    return clock_wall_us();
}

static void
on_fd(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *f = arg;

    f->fn(f->ctx, (int)fd, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
}

static short
ev_mask(int events)
{
    return (short)(EV_PERSIST | (events & LOOP_READ ? EV_READ : 0) |
                   (events & LOOP_WRITE ? EV_WRITE : 0));
}

static struct loop_fd *
ev_fd_add(struct loop *loop, int fd, int events, loop_fd_fn fn, void *ctx)
{
    struct loop_fd *f = xcalloc(1, sizeof *f);

    *f = (struct loop_fd){.l = self(loop), .fn = fn, .ctx = ctx, .fd = fd};
    f->ev = event_new(f->l->base, fd, ev_mask(events), on_fd, f);
    if (events)
        event_add(f->ev, NULL);
    return f;
}

void
loop_fd_mod(struct loop_fd *f, int events)
{
    event_del(f->ev);
    event_assign(f->ev, f->l->base, f->fd, ev_mask(events), on_fd, f);
    if (events)
        event_add(f->ev, NULL);
}

void
loop_fd_del(struct loop_fd *f)
{
    if (!f)
        return;
    event_free(f->ev);
    free(f);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct event_timer *t = arg;
    loop_fn fn = t->t.fn;
    void *ctx = t->t.ctx;

    (void)fd;
    (void)what;
    event_free(t->ev);
    free(t);
    fn(ctx);
}

static struct loop_timer *
ev_timer_add(struct loop *loop, uint64_t delay_us, loop_fn fn, void *ctx)
{
    struct event_timer *t = xcalloc(1, sizeof *t);
    struct timeval tv = {(time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000)};

    t->t = (struct loop_timer){&event_ops, fn, ctx};
    t->ev = event_new(self(loop)->base, -1, 0, on_timer, t);
    event_add(t->ev, &tv);
    return &t->t;
}

static void
ev_timer_del(struct loop_timer *timer)
{
    struct event_timer *t = (struct event_timer *)timer;

    event_free(t->ev);
    free(t);
}

static void
ev_post(struct loop *loop, loop_fn fn, void *ctx)
{
    struct event_loop *l = self(loop);
    struct posted *p = xmalloc(sizeof *p);
    uint64_t one = 1;

    *p = (struct posted){NULL, fn, ctx};
    pthread_mutex_lock(&l->mu);
    *l->tail = p;
    l->tail = &p->next;
    pthread_mutex_unlock(&l->mu);
    (void)!write(l->wake_fd, &one, sizeof one);
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct event_loop *l = arg;
    uint64_t n;

    (void)what;
    (void)!read((int)fd, &n, sizeof n);
    pthread_mutex_lock(&l->mu);

    struct posted *p = l->head;

    l->head = NULL;
    l->tail = &l->head;
    pthread_mutex_unlock(&l->mu);
    while (p) {
        struct posted *next = p->next;

        p->fn(p->ctx);
        free(p);
        p = next;
    }
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct signal_reg *s = arg;

    (void)fd;
    (void)what;
    s->fn(s->ctx);
}

static void
ev_signal(struct loop *loop, int signo, loop_fn fn, void *ctx)
{
    struct event_loop *l = self(loop);
    struct signal_reg *s = xcalloc(1, sizeof *s);

    *s = (struct signal_reg){l->signals, NULL, fn, ctx};
    s->ev = event_new(l->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, s);
    event_add(s->ev, NULL);
    l->signals = s;
}

struct event_base *
loop_event_base(struct loop *l)
{
    return self(l)->base;
}

static const struct loop_ops event_ops = {
    .free = ev_free,
    .run = ev_run,
    .stop = ev_stop,
    .now_us = ev_now_us,
    .wall_us = ev_wall_us,
    .fd_add = ev_fd_add,
    .timer_add = ev_timer_add,
    .timer_del = ev_timer_del,
    .post = ev_post,
    .signal = ev_signal,
};
