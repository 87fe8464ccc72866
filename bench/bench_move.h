/* One migration of a native guest from the near to the far side, with everything that was measured
 * of it; and the guest that is moved. Everything blocks. */
#ifndef BENCH_BENCH_MOVE_H
#define BENCH_BENCH_MOVE_H

#include "bench/bench_sides.h"
#include "handler/native_guest.h"

/* A drover-guest at the near side. uid names it; everything else as in native_config (state_dir is
 * set here). */
int bench_move_guest_start(const struct native_config *cfg, const char *uid,
                           struct native_guest **ret, struct err *err);
void bench_move_guest_stop(struct native_guest *g); /* ends it and frees; NULL is fine */
/* Its memory as this process has it mapped (native_guest.h), all of it read once. */
int bench_move_guest_memory(struct native_guest *g, const uint8_t **ret, struct err *err);

struct bench_move {
    /* what is asked for */
    bool allocated, encrypted, downtime, verify; /* see bench_order */
    unsigned channels;                           /* 0 = the engine's choice */
    struct mig_limits limits;
    struct mig_policy policy;
    bool trusted; /* the network is: policy.transport may be RDMA */
    bool verbose; /* the engine's decisions on stderr */
    /* what came of it */
    enum mig_outcome outcome;
    enum mig_cause cause;
    uint64_t us;                      /* from the call until the target runs, or it is given up */
    uint64_t cpu_us;                  /* of this process meanwhile */
    double machine_cpu_s;             /* of all there is (bench_machine_cpu_s) */
    uint64_t far_cpu_us, downtime_us; /* downtime: as the guest's own clock saw it */
    struct mig_stats stats, far_stats;
    bool predicted;          /* the engine said before the first byte what it would come to */
    struct mig_stats before; /* that */
};

/* Moves a copy of g: afterwards g runs on here and the copy is gone. Each is a first migration: the
 * engine sees a mapping of g's memory that nobody has used. 0 when it MOVED and the memory that
 * arrived is right; -ECANCELED when the engine gave it up (m->cause, err); else -errno. */
int bench_move(struct bench_sides *s, struct native_guest *g, struct bench_move *m,
               struct err *err);

#endif
