/* Watches a replay from outside: knows the data and where each VM went, and nothing of sched/. Counts
 * at each step what the step breaks. */
#ifndef BENCH_REPLAY_CHECK_H
#define BENCH_REPLAY_CHECK_H

#include <stdbool.h>

#include "bench/replay_data.h"

struct replay_check;

struct replay_faults { /* VMs whose step broke it */
    size_t cpu, memory, rule[REPLAY_RULES];
};

struct replay_check *replay_check_new(const struct replay *r); /* r is borrowed */
void replay_check_free(struct replay_check *c);                /* NULL is fine */
void replay_check_place(struct replay_check *c, size_t vm, size_t host);
/* A host that could take the VM now without breaking a rule (NUMA apart). */
bool replay_check_fits_somewhere(const struct replay_check *c, size_t vm);
const struct replay_faults *replay_check_faults(const struct replay_check *c);
size_t replay_check_broken(const struct replay_check *c); /* all of them */
/* The VMs on the host can be laid out on its NUMA nodes: each, or each half of those of two, whole on
 * one, the largest first, on the fullest that has room. No fault where nobody asked for it. */
bool replay_check_numa_fits(const struct replay_check *c, size_t host);
size_t replay_check_hosts_used(const struct replay_check *c);

#endif
