/* The event loop's contract. Two back ends: libevent (loop_event.c) and virtual time with a seeded
 * order (loop_sim.c, for tests; no descriptors, time jumps to the next timer). Callbacks run on the
 * loop's thread and must not block. Only loop_post and loop_stop may be called from other threads.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

#define LOOP_READ  1
#define LOOP_WRITE 2

typedef void (*loop_fn)(void *ctx);
typedef void (*loop_fd_fn)(void *ctx, int fd, int events);

struct loop *loop_event_new(void);        /* libevent; aborts when it cannot be made */
struct loop *loop_sim_new(uint64_t seed); /* starts at now_us = 1 s, wall 2026-01-01T00:00:00Z */
void loop_free(struct loop *l);           /* pending timers and posts are dropped, not run */

void loop_run(struct loop *l); /* until loop_stop; the sim's also ends when idle */
void loop_stop(struct loop *l);
/* Sim only: runs what falls due until now_us and leaves the clock there. */
void loop_sim_run_until(struct loop *l, uint64_t now_us);

uint64_t loop_now_us(const struct loop *l); /* monotonic, read once a turn */
int64_t loop_wall_us(const struct loop *l); /* unix time in microseconds */

/* events is a mask of LOOP_READ | LOOP_WRITE; persistent until removed. fd stays the caller's. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, int events, loop_fd_fn fn, void *ctx);
void loop_fd_mod(struct loop_fd *f, int events);
void loop_fd_del(struct loop_fd *f); /* NULL is fine; safe inside its own callback */

/* One-shot. The handle is dead once fn has been called (set your pointer to NULL in it) or after
 * loop_timer_del. */
struct loop_timer *loop_timer_add(struct loop *l, uint64_t delay_us, loop_fn fn, void *ctx);
void loop_timer_del(struct loop_timer *t); /* NULL is fine */

void loop_defer(struct loop *l, loop_fn fn, void *ctx); /* in this turn, after the callback */
void loop_post(struct loop *l, loop_fn fn, void *ctx);  /* from any thread; order is kept */
/* fn runs on the loop when signo arrives. Not in the sim. */
void loop_signal(struct loop *l, int signo, loop_fn fn, void *ctx);

struct event_base;
struct event_base *loop_event_base(struct loop *l); /* libevent back end only; for control/http */

#endif
