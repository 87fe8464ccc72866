/* HyperConverged spec.workloads.nodePlacement: the administrator's rules for all VMs, beside their own.
 * Internal to sched/. */
#ifndef SCHED_WORKLOAD_H
#define SCHED_WORKLOAD_H

#include "api/types.h"
#include "base/arena.h"

/* The rules between VMs that a VM with the affinity own goes by: its own and the cluster's. Only the terms
 * between VMs count in what is returned; it is own or the cluster's when the other has none, and else
 * *ret_both, a new one: in the arena, or without one the caller's to free (it is one block). */
const struct affinity *workload_affinity(const struct hco *hco, const struct affinity *own,
                                         struct arena *a, struct affinity **ret_both);

#endif
