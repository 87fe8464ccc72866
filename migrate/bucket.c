/* Token bucket; see bucket.h. Time comes in as a parameter. */
#include "migrate/bucket.h"

#include "proto/limits.h"

void
bucket_init(struct bucket *b, uint64_t rate_bytes_per_s)
{
    *b = (struct bucket){.rate = rate_bytes_per_s};
    pthread_mutex_init(&b->mu, NULL);
}

void
bucket_done(struct bucket *b)
{
    pthread_mutex_destroy(&b->mu);
}

uint64_t
bucket_take(struct bucket *b, uint64_t bytes, uint64_t now_us)
{
    uint64_t wait = 0;

    pthread_mutex_lock(&b->mu);
    if (b->rate > 0) {
        int64_t burst = (int64_t)((unsigned __int128)b->rate * BUCKET_BURST_US / 1000000);
        uint64_t past = b->filled_us && now_us > b->filled_us ? now_us - b->filled_us : 0;
        unsigned __int128 grown = (unsigned __int128)b->rate * past / 1000000;

        if (grown > 0 || !b->filled_us) { /* else the clock stays, so that small rates grow too */
            b->tokens += grown > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)grown;
            b->filled_us = now_us;
        }
        if (b->tokens > burst)
            b->tokens = burst;
        b->tokens -= (int64_t)bytes;
        if (b->tokens < 0)
            wait = (uint64_t)((unsigned __int128)(uint64_t)-b->tokens * 1000000 / b->rate) + 1;
    }
    pthread_mutex_unlock(&b->mu);
    return wait;
}

uint64_t
bucket_batch(struct bucket *b, uint64_t max)
{
    uint64_t n;

    pthread_mutex_lock(&b->mu);
    n = b->rate ? (uint64_t)((unsigned __int128)b->rate * BUCKET_BURST_US / 1000000) : max;
    pthread_mutex_unlock(&b->mu);
    if (n < LAYOUT_PAGE_BYTES)
        n = LAYOUT_PAGE_BYTES;
    return n < max ? n : max;
}
