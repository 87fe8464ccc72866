/* A guest for measuring page faults of post-copy: memory in this process, and, once it is resumed, a
 * thread that touches pages that are not there yet, one after another at random, and measures how
 * long each touch takes. So the latency is what a virtual CPU would see, not what the engine says. */
#ifndef BENCH_BENCH_PROBER_H
#define BENCH_BENCH_PROBER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "bench/bench_stat.h"
#include "migrate/guest.h"

struct bench_prober {
    struct guest_region region; /* map: as a handler has it; hva: as the guest has it */
    int uffd;                   /* our copy, as a guest's process keeps one; -1 = none */
    /* the probing thread */
    bool running;
    atomic_bool stop;
    pthread_t thread;
    struct bench_samples fault_us; /* its own until bench_prober_stop */
};

/* bytes: a multiple of 4096. Memory is never touched yet. After an error, too, done is called. */
int bench_prober_init(struct bench_prober *g, uint64_t bytes, struct err *err);
void bench_prober_done(struct bench_prober *g);
/* Fills all of it with random bytes. */
void bench_prober_fill(struct bench_prober *g, uint64_t seed);
uint64_t bench_prober_sum(const struct bench_prober *g); /* proto/sum.h, of all of it */
/* Ends the thread, if it was ever resumed; then fault_us may be read. */
void bench_prober_stop(struct bench_prober *g);
struct guest bench_prober_port(struct bench_prober *g);

#endif
