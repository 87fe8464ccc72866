/* Blocking jobs (spawning a guest, verifying its memory, ending it) off the loop's thread. */
#ifndef HANDLER_WORK_H
#define HANDLER_WORK_H

#include "base/loop.h"

struct work;

/* `threads` workers; jobs start in the order they came. */
struct work *work_new(struct loop *l, unsigned threads);
/* Waits for the jobs that run; those that wait are dropped without `done`. */
void work_free(struct work *w);
/* fn runs on a worker, then done on the loop's thread, both with ctx. Never blocks. */
void work_run(struct work *w, void (*fn)(void *ctx), void (*done)(void *ctx), void *ctx);

#endif
