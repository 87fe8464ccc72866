/* A recorded sequence of VMs, placed anew by the scheduler. CPUs are dedicated; memory is huge pages,
 * as in the hosts of the record, and the hosts have memory besides for what KubeVirt adds to a VM,
 * which the records do not show. Rules of groups are affinity and anti-affinity between VMs: groups
 * are labels, the rack a topology key. */
#ifndef BENCH_REPLAY_RUN_H
#define BENCH_REPLAY_RUN_H

#include "bench/bench_stat.h"
#include "bench/replay_check.h"

struct replay_options {
    bool decreasing; /* largest VM first, instead of as recorded */
    bool most;       /* MostAllocated: fills hosts; else kube-scheduler's default, which spreads */
    bool numa;       /* VMs get CPUs of their own and insist on NUMA nodes */
    size_t compare;  /* every so manieth decision is compared with place(); 0 = none */
};

struct replay_result {
    size_t placed, rejected, compared;
    size_t wrongly; /* rejected although a host could have taken it without breaking a rule */
    size_t rejected_by[REPLAY_RULES];
    size_t hosts_used;
    size_t broken;      /* steps that broke a rule; with numa: that rule, too */
    size_t numa_broken; /* hosts whose VMs cannot be laid out on their NUMA nodes, at the end */
    double cpu_per_s, wall_per_s; /* decisions, each with its reservation */
};

/* -EBADMSG: a decision is not place()'s. */
int replay_run(const struct replay *r, const struct replay_options *o, struct replay_result *ret,
               struct err *err);

#endif
