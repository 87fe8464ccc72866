/* What the link between the two sides carries: plain TCP streams from memory to memory. */
#ifndef BENCH_BENCH_LINK_H
#define BENCH_BENCH_LINK_H

#include "bench/bench_sides.h"

struct bench_link {
    const uint8_t *memory; /* what is sent; borrowed */
    uint64_t bytes, sum;   /* sum: of the memory (proto/sum.h), compared with what arrived */
    unsigned streams;
    bool encrypted;
    const char *control; /* congestion control; NULL = the system's choice */
    /* what came of it */
    uint64_t us, far_cpu_us;
};

/* Sends it all once, into memory that the far side has touched before. -EIO: it arrived wrong. */
int bench_link_send(struct bench_sides *s, struct bench_link *l, struct err *err);
/* Bytes a second by the best of 1, 2 and 4 streams, each the median of runs. */
int bench_link_speed(struct bench_sides *s, const uint8_t *memory, uint64_t bytes, unsigned runs,
                     double *ret_bytes_per_s, struct err *err);
/* One request of 16 bytes and its answer of 4 KiB at a time, over one otherwise idle connection:
 * appends count times in microseconds. */
struct bench_samples;
int bench_link_round_trips(struct bench_sides *s, unsigned count, struct bench_samples *ret,
                           struct err *err);

#endif
