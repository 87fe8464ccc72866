/* One migration by post-copy at once, of a guest that measures its page faults. */
#ifndef BENCH_BENCH_FAULTS_H
#define BENCH_BENCH_FAULTS_H

#include "bench/bench_prober.h"
#include "bench/bench_sides.h"

struct bench_faults {
    /* what is asked for */
    struct bench_prober *guest; /* filled */
    uint64_t sum;               /* of its memory */
    unsigned channels;          /* 0 = the engine's choice */
    bool trusted;               /* the network is: transport may be RDMA */
    enum mig_transport transport;
    uint64_t window_bytes; /* of its memory that a peer may read at once; 0 = as usual */
    /* what came of it */
    uint64_t faults;
    struct mig_stats stats, far_stats;
};

/* Appends to ret_us what each fault took, as the guest at the far side saw it. 0 when it was moved and
 * the memory that arrived is right, else -errno. Whether it was by post-copy: stats.mode. */
int bench_faults(struct bench_sides *s, struct bench_faults *f, struct bench_samples *ret_us,
                 struct err *err);

#endif
