/* One round of decisions on a fresh cluster, timed; and what the scheduler's memory comes to. */
#ifndef BENCH_SCHED_ROUND_H
#define BENCH_SCHED_ROUND_H

#include "bench/bench_stat.h"
#include "bench/sched_engine.h"
#include "bench/sched_load.h"

struct sched_round {
    const struct sched_world *w;
    const struct vmi *warmup; /* asked before the clock starts, and not reserved */
    size_t warmup_len;
    const struct vmi *vms; /* asked and reserved, one after another */
    size_t len,
        check_len; /* that are timed, at most; that come after them (vms has len + check_len) */
    bool plain;    /* by place() */
    bool each;     /* a sample is one decision's nanoseconds, not the round's decisions a second */
};

struct sched_times {
    struct bench_samples cpu, wall;
};

/* Adds samples to ret. Ends early when the time for a round is up. Then check_len decisions are
 * compared with place(): -EBADMSG when one differs. */
int sched_round_run(const struct sched_round *r, struct sched_times *ret, struct err *err);
void sched_times_done(struct sched_times *t);

/* Bytes on the heap beyond the objects: of cluster and engine a node (with as many classes as are
 * kept), and of the world's VMs a VM. kept: those that the engine itself counts, a node. */
void sched_round_memory(const struct sched_world *w, double *ret_node, double *ret_vm,
                        double *ret_kept);

#endif
