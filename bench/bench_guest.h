/* A guest of the simplest kind, for measuring the engine alone: memory in this process, no virtual
 * CPU, no writer. */
#ifndef BENCH_BENCH_GUEST_H
#define BENCH_BENCH_GUEST_H

#include <stdint.h>

#include "migrate/guest.h"

struct bench_guest {
    struct guest_region region; /* map: as a handler has it; hva: as the guest has it */
    int uffd;                   /* our copy, as a guest's process keeps one; -1 = none */
};

/* bytes: a multiple of 4096. Memory is never touched yet. */
int bench_guest_init(struct bench_guest *g, uint64_t bytes, struct err *err);
void bench_guest_done(struct bench_guest *g);
/* Fills all of it with random bytes, through both mappings' pages. */
void bench_guest_fill(struct bench_guest *g, uint64_t seed);
/* Allocates all of it, as zeros. */
void bench_guest_allocate(struct bench_guest *g);
uint64_t bench_guest_sum(const struct bench_guest *g);
struct guest bench_guest_port(struct bench_guest *g);

#endif
