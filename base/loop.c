/* Hands the loop's calls to the back end that made it; see loop.h. */
#include "base/loop.h"

#include <stddef.h>

#include "base/loop_impl.h"

void
loop_free(struct loop *l)
{
    if (l)
        l->ops->free(l);
}

void
loop_run(struct loop *l)
{
    l->ops->run(l);
}

void
loop_stop(struct loop *l)
{
    l->ops->stop(l);
}

uint64_t
loop_now_us(const struct loop *l)
{
    return l->ops->now_us(l);
}

int64_t
loop_wall_us(const struct loop *l)
{
    return l->ops->wall_us(l);
}

struct loop_fd *
loop_fd_add(struct loop *l, int fd, int events, loop_fd_fn fn, void *ctx)
{
    return l->ops->fd_add(l, fd, events, fn, ctx);
}

struct loop_timer *
loop_timer_add(struct loop *l, uint64_t delay_us, loop_fn fn, void *ctx)
{
    return l->ops->timer_add(l, delay_us, fn, ctx);
}

void
loop_timer_del(struct loop_timer *t)
{
    if (t)
        t->ops->timer_del(t);
}

void
loop_defer(struct loop *l, loop_fn fn, void *ctx)
{
    l->ops->post(l, fn, ctx);
}

void
loop_post(struct loop *l, loop_fn fn, void *ctx)
{
    l->ops->post(l, fn, ctx);
}

void
loop_signal(struct loop *l, int signo, loop_fn fn, void *ctx)
{
    l->ops->signal(l, signo, fn, ctx);
}
