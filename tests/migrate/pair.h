/* Both ends of a migration in one process: each end in a thread of its own, over loopback. */
#ifndef TESTS_MIGRATE_PAIR_H
#define TESTS_MIGRATE_PAIR_H

#include <pthread.h>

#include "migrate/engine.h"
#include "tests/migrate/fake_guest.h"

#define PAIR_PATIENT_US \
    10000000 /* dead_peer_us where a slow machine must not look like a dead peer */

struct pair {
    /* set up before pair_start; pair_init fills in something that works */
    struct mig_source_config src;
    struct mig_target_config dst;
    /* durable words of the hooks, and orders to fail */
    _Atomic bool src_committed, dst_prepared, dst_committed, dst_never;
    int fail_commit, fail_prepared, fail_committed, fail_never; /* the next n calls */
    /* Called in the source's progress hook and at its commit, with the pair's lock not held. */
    void (*on_progress)(struct pair *p, const struct mig_stats *st);
    void (*on_commit)(struct pair *p);
    /* In the target's committed hook, before its word is durable. */
    void (*on_committed)(struct pair *p);
    void (*on_decided)(struct pair *p, const struct mig_decision *d);
    void *user;

    struct mig_source *source;
    struct mig_target *target;
    pthread_t src_thread, dst_thread;
    bool src_started, dst_started;
    _Atomic bool src_ended; /* its outcome is there, before pair_wait_source */
    enum mig_outcome src_outcome;
    enum mig_cause cause;
    struct err src_err, dst_err;
    enum mig_target_outcome dst_outcome;
    struct mig_stats src_stats, dst_stats;
};

/* Whether pair_init gives both ends certificates: source n1, target n2. */
extern bool pair_over_tls;
/* Whether it lets them use RDMA, on a network that is declared trusted: at rdma_test_ip(), which there
 * must be then. */
extern bool pair_over_rdma;
void pair_init(struct pair *p, struct fake_guest *src, struct fake_guest *dst);
/* A crash in a thread of the engine ends the program by its signal, or a sanitizer with a stack: cmocka would
 * end it with 255 and no word. pair_init does it. */
void pair_let_crash(void);
/* Opens the target and starts its thread. */
void pair_listen(struct pair *p);
/* Starts the source's thread, dialling addr (NULL = the target). */
void pair_dial(struct pair *p, const char *addr);
void pair_wait_source(struct pair *p);
void pair_wait_target(struct pair *p);
/* listen, dial, wait for both. */
void pair_run(struct pair *p);
void pair_done(struct pair *p);

/* The guest that moves, the one that is to receive it, and the migration. */
struct both {
    struct fake_guest *a, *b;
    struct pair p;
};

void both_begin(struct both *t, const struct fake_config *c);
void both_end(struct both *t);
/* Bytes that went into the connections at the source, and that came out of them at the target. */
uint64_t both_sent(struct both *t);
uint64_t both_received(struct both *t);

/* Makes tests skip, with the reason, where the kernel cannot track memory. */
struct CMUnitTest;
void pair_skip_unless_supported(struct CMUnitTest *tests, size_t n);
/* Runs them in the clear and then over TLS. Failures, for main to return. */
int pair_run_both(const char *name, const struct CMUnitTest *tests, size_t n);
/* Runs them with the data channels over RDMA. Likewise. */
int pair_run_rdma(const char *name, const struct CMUnitTest *tests, size_t n);

#endif
