/* Bounds of a record: fewer hosts than this cannot hold its VMs, however they are placed. */
#ifndef BENCH_REPLAY_BOUND_H
#define BENCH_REPLAY_BOUND_H

#include <stdbool.h>

#include "bench/replay_data.h"

/* Largest hosts first until their CPUs, and their memory, hold what all VMs want: the larger number. */
size_t replay_bound_sums(const struct replay *r);
/* Martello and Toth's bound L2 of bin packing (Knapsack Problems, 1990, 8.3), of the CPUs and of the
 * memory, each alone, where all hosts have the same: the larger number, else 0. numa: of the VMs,
 * or halves of VMs, that must come whole from one NUMA node, in NUMA nodes, of which a host has two. */
size_t replay_bound_l2(const struct replay *r, bool numa);

#endif
