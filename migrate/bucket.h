/* Token bucket: holds the senders of one migration together under its bandwidth. Tokens are bytes;
 * they grow with the rate and with at most BUCKET_BURST_US of it in store, so that over any second
 * the limit holds to about 2 %. A sender may take more than is there; it then waits for its
 * debt. */
#ifndef MIGRATE_BUCKET_H
#define MIGRATE_BUCKET_H

#include <pthread.h>
#include <stdint.h>

#define BUCKET_BURST_US 20000

struct bucket {
    pthread_mutex_t mu;
    uint64_t rate;      /* bytes a second; 0 = no limit */
    int64_t tokens;     /* bytes; negative = owed */
    uint64_t filled_us; /* when tokens was brought up to date; 0 = never */
};

void bucket_init(struct bucket *b, uint64_t rate_bytes_per_s);
void bucket_done(struct bucket *b);
/* Takes bytes and returns for how many microseconds the caller must wait before it sends them. Any
 * thread. */
uint64_t bucket_take(struct bucket *b, uint64_t bytes, uint64_t now_us);
/* Largest batch that keeps the flow smooth (BUCKET_BURST_US of the rate, at least one page), at
 * most max. */
uint64_t bucket_batch(struct bucket *b, uint64_t max);

#endif
