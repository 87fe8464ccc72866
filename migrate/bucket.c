/* Token bucket; see bucket.h. */
#include "migrate/bucket.h"

#include "proto/limits.h"

static uint64_t
bytes_in(uint64_t rate, uint64_t us)
{
    unsigned __int128 n = (unsigned __int128)rate * us / 1000000;

    return n > INT64_MAX / 4 ? INT64_MAX / 4 : (uint64_t)n;
}

/* mu held. Brings tokens up to date; the clock stays where nothing grew, so that small rates do. */
static void
fill(struct bucket *b, uint64_t now_us)
{
    int64_t burst = (int64_t)bytes_in(b->rate, BUCKET_BURST_US);
    uint64_t past = b->filled_us && now_us > b->filled_us ? now_us - b->filled_us : 0;
    uint64_t grown = bytes_in(b->rate, past);

    if (grown > 0 || !b->filled_us) {
        b->tokens += (int64_t)grown;
        b->filled_us = now_us;
    }
    if (b->tokens > burst)
        b->tokens = burst;
}

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

void
bucket_set_rate(struct bucket *b, uint64_t rate_bytes_per_s, uint64_t now_us)
{
    pthread_mutex_lock(&b->mu);
    if (b->rate != rate_bytes_per_s) {
        uint64_t old = b->rate;

        if (old > 0)
            fill(b, now_us);
        else
            b->tokens = 0;
        if (old > 0 && b->tokens < 0)
            b->tokens = (int64_t)((__int128)b->tokens * (__int128)rate_bytes_per_s / (__int128)old);
        b->rate = rate_bytes_per_s;
        b->filled_us = now_us;
        if (b->tokens > 0) /* what was saved up under another rate is not spent under this one */
            b->tokens = 0;
    }
    pthread_mutex_unlock(&b->mu);
}

uint64_t
bucket_rate(const struct bucket *b)
{
    return atomic_load_explicit(&b->rate, memory_order_relaxed);
}

uint64_t
bucket_take(struct bucket *b, uint64_t bytes, uint64_t now_us)
{
    uint64_t wait = 0;

    pthread_mutex_lock(&b->mu);
    if (b->rate > 0) {
        fill(b, now_us);
        if (b->tokens < 0) {
            wait = (uint64_t)((unsigned __int128)(uint64_t)-b->tokens * 1000000 / b->rate) + 1;
            atomic_fetch_add_explicit(&b->waits, 1, memory_order_relaxed);
        } else {
            b->tokens -= (int64_t)(bytes > INT64_MAX / 4 ? INT64_MAX / 4 : bytes);
        }
    }
    if (wait == 0)
        b->taken += bytes;
    pthread_mutex_unlock(&b->mu);
    return wait < BUCKET_SLICE_US ? wait : BUCKET_SLICE_US;
}

void
bucket_charge(struct bucket *b, uint64_t bytes, uint64_t now_us)
{
    pthread_mutex_lock(&b->mu);
    if (b->rate > 0) {
        fill(b, now_us);
        b->tokens -= (int64_t)(bytes > INT64_MAX / 4 ? INT64_MAX / 4 : bytes);
    }
    b->taken += bytes;
    pthread_mutex_unlock(&b->mu);
}

uint64_t
bucket_taken(struct bucket *b)
{
    uint64_t n;

    pthread_mutex_lock(&b->mu);
    n = b->taken;
    pthread_mutex_unlock(&b->mu);
    return n;
}

uint64_t
bucket_batch(const struct bucket *b, uint64_t max)
{
    uint64_t rate = bucket_rate(b), n = rate ? bytes_in(rate, BUCKET_BATCH_US) : max;

    if (n < LAYOUT_PAGE_BYTES)
        n = LAYOUT_PAGE_BYTES;
    return n < max ? n : max;
}
