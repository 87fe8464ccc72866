/* What the loop's back ends share; included by base/loop*.c only. */
#ifndef BASE_LOOP_IMPL_H
#define BASE_LOOP_IMPL_H

#include <stdbool.h>

#include "base/loop.h"

struct loop_ops {
    void (*free)(struct loop *l);
    void (*run)(struct loop *l);
    void (*stop)(struct loop *l);
    uint64_t (*now_us)(const struct loop *l);
    int64_t (*wall_us)(const struct loop *l);
    struct loop_fd *(*fd_add)(struct loop *l, int fd, int events, loop_fd_fn fn, void *ctx);
    struct loop_timer *(*timer_add)(struct loop *l, uint64_t delay_us, loop_fn fn, void *ctx);
    void (*timer_del)(struct loop_timer *t);
    void (*post)(struct loop *l, loop_fn fn, void *ctx);
    void (*signal)(struct loop *l, int signo, loop_fn fn, void *ctx);
};

struct loop {
    const struct loop_ops *ops;
};

struct loop_timer { /* first member of each back end's timer */
    const struct loop_ops *ops;
    loop_fn fn;
    void *ctx;
};

#endif
