/* Token bucket: holds the senders of one migration together under a rate that may change at any
 * moment. Tokens are bytes. A sender may take more than is there, and the next one waits for the
 * debt, so over any time t no more than rate * t + what BUCKET_BURST_US saves up + one batch is
 * taken: within 3 % of the rate in any second, when batches are no larger than bucket_batch says.
 * Time comes in as a parameter. */
#ifndef MIGRATE_BUCKET_H
#define MIGRATE_BUCKET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUCKET_BURST_US 20000 /* of the rate: what a late sender may make up for */
#define BUCKET_BATCH_US 5000  /* of the rate: a batch */
#define BUCKET_SLICE_US 10000 /* the longest wait before the rate is looked at again */

struct bucket {
    pthread_mutex_t mu;
    /* written under mu */
    _Atomic uint64_t rate; /* bytes a second; 0 = no limit */
    int64_t tokens;        /* bytes; negative = owed */
    uint64_t filled_us;    /* when tokens was brought up to date; 0 = never */
    uint64_t taken;        /* bytes in all, also without a limit */
    _Atomic uint64_t
        waits; /* how often a sender was told to wait: it would have sent more at once */
};

void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s);
void bucket_done(struct bucket *b);
/* Any thread. What is owed is owed in time: it does not last longer at a lower rate. */
void bucket_set_rate(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t now_us);
uint64_t bucket_rate(const struct bucket *b);
/* 0: the bytes are taken, and may be sent. Else nothing is taken; ask again after so many
 * microseconds, at most BUCKET_SLICE_US. Any thread. */
uint64_t bucket_take(struct bucket *b, uint64_t bytes, uint64_t now_us);
/* The bytes are sent now, whatever is there: others wait for them. Any thread. */
void bucket_charge(struct bucket *b, uint64_t bytes, uint64_t now_us);
/* Bytes taken so far. Any thread. */
uint64_t bucket_taken(struct bucket *b);
/* Largest batch that keeps the flow smooth (BUCKET_BATCH_US of the rate, at least one page), at
 * most max. Any thread. */
uint64_t bucket_batch(const struct bucket *b, uint64_t max);

#endif
