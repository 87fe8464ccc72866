/* Two processes, each in a network namespace of its own, joined by a veth pair: this one, and a far
 * one that does what it is told. Nothing of it has a name; all of it is gone with the processes. */
#ifndef BENCH_BENCH_SIDES_H
#define BENCH_BENCH_SIDES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "migrate/engine.h"

enum bench_job { BENCH_JOB_RAW, BENCH_JOB_ENGINE };

struct bench_order {
    enum bench_job job;
    uint64_t bytes;
    unsigned streams; /* RAW */
    bool allocated;   /* the far side's memory is touched before */
};

struct bench_result { /* of the far side */
    int rc;
    char text[256];
    uint64_t sum;    /* of the memory that arrived */
    uint64_t cpu_us; /* ENGINE: of the target's threads */
};

struct bench_sides {
    pid_t far;
    int sock;
};

/* Forks the far side and moves this process into a namespace of its own. -EPERM: not root. */
int bench_sides_start(struct bench_sides *s, struct err *err);
void bench_sides_stop(struct bench_sides *s);
/* Gives an order; ret_addr is where the far side listens for it now. */
int bench_sides_order(struct bench_sides *s, const struct bench_order *o,
                      char ret_addr[MIG_ADDR_SIZE], struct err *err);
/* Waits until the far side has received everything (its figures come later: bench_sides_result). */
int bench_sides_arrived(struct bench_sides *s, struct err *err);
int bench_sides_result(struct bench_sides *s, struct bench_result *ret, struct err *err);

/* Identity that both sides use. */
extern const struct mig_ident bench_ident;

#endif
