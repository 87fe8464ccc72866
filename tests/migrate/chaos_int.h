/* Shared by chaos_end.c (one end: its thread or process) and chaos_run.c (the handler's part and
 * the checks) only. */
#ifndef TESTS_MIGRATE_CHAOS_INT_H
#define TESTS_MIGRATE_CHAOS_INT_H

#include "tests/migrate/chaos.h"

enum { SRC, DST };

enum end_job {
    JOB_RUN,       /* the migration */
    JOB_RESOLVE,   /* source: what became of it? */
    JOB_SERVE,     /* source: the same, and what the target lacks is served */
    JOB_RECOVER,   /* target: PREPARED in an earlier life */
    JOB_COMMITTED, /* target: COMMIT recorded in an earlier life */
    JOB_GONE,      /* target: the guest is gone, and that is on record */
};

struct end_result {
    atomic_bool done;
    int outcome; /* enum mig_outcome or enum mig_target_outcome */
    enum mig_cause cause;
    struct err err;
    struct mig_stats stats;
    atomic_bool cancelled; /* mig_source_cancel said true */
    atomic_bool acted;     /* something was done to it */
};

/* In memory that the ends' processes share with the runner. */
struct chaos_shared {
    /* journals */
    atomic_bool src_committed, dst_prepared, dst_committed, dst_never;
    struct fake_twins twins;
    struct end_result res[2];
    atomic_bool listening, paused, stop_source, stop_target, guest_killed;
    char target_addr[MIG_ADDR_SIZE];
    /* told to fail: the next n calls */
    atomic_int fail_prepared, fail_committed, fail_never, fail_commit;
    atomic_bool failed; /* one of them did */
};

struct chaos_run {
    const struct chaos_plan *plan;
    struct chaos_reach *reach;
    struct chaos_shared *sh;
    struct fake_guest *guest[2];
    struct chaos_net net;
    const struct chaos_period *period; /* NULL: no faults any more */
    enum end_job job[2];
    char dial[MIG_ADDR_SIZE], state_path[64];
    uint64_t started_us;
    /* threads */
    pthread_t thread[2], hand[2];
    /* processes */
    pid_t pid[2];
    bool running[2], died[2];
    /* guarded by mu: what a hand may call */
    pthread_mutex_t mu;
    struct mig_source *source;
    struct mig_target *target;
};

/* Arms the period's fault points; before its first end_start. */
void ends_arm(struct chaos_run *r);
/* Runs one end's job in a thread or a process of its own. The target's address is in sh when
 * `listening`; it may also end without (done). */
void end_start(struct chaos_run *r, int side);
/* Whether it has ended: joined, or reaped (then `died` says whether without a word). */
bool end_over(struct chaos_run *r, int side);
bool end_fired(const struct chaos_run *r);

#endif
