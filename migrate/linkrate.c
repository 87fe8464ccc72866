/* Bandwidth as a distribution; see linkrate.h. */
#include "migrate/linkrate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Shorter or smaller pieces measure latency, not bandwidth: wakeups, a busy processor. On a link so slow
 * that this many bytes take long, what has gone by then will do. */
#define SAMPLE_MIN_US    20000
#define SAMPLE_MIN_BYTES (UINT64_C(256) << 10)
#define SAMPLE_SLOW_US   500000

static void commit(struct linkrate *l);

static uint64_t
rate(uint64_t bytes, uint64_t us)
{
    return us ? (uint64_t)((unsigned __int128)bytes * 1000000 / us) : 0;
}

static bool
is_large(const struct linkrate *l)
{
    return l->piece_us >= SAMPLE_MIN_US && l->piece_bytes >= SAMPLE_MIN_BYTES;
}

void
linkrate_note(struct linkrate *l, uint64_t bytes, uint64_t us)
{
    if (is_large(l) || (l->piece_bytes && l->piece_us >= SAMPLE_SLOW_US))
        commit(l);
    l->piece_bytes += bytes;
    l->piece_us += us;
}

void
linkrate_end(struct linkrate *l, uint64_t bytes, uint64_t us)
{
    l->piece_bytes += bytes;
    l->piece_us += us;
    if (is_large(l) ||
        (l->piece_us >= SAMPLE_MIN_US &&
         rate(l->piece_bytes, l->piece_us) > linkrate_percentile(l, LINKRATE_LOW_PERCENT)))
        commit(l);
    else if (l->len > 0)
        l->piece_bytes = l->piece_us = 0;
}

void
linkrate_again(struct linkrate *l)
{
    *l = (struct linkrate){.guess = linkrate_percentile(l, 50), .limit = l->limit};
}

static void
commit(struct linkrate *l)
{
    l->samples[l->at] = rate(l->piece_bytes, l->piece_us);
    l->at = (l->at + 1) % LINKRATE_SAMPLES;
    l->piece_bytes = l->piece_us = 0;
    if (l->len < LINKRATE_SAMPLES)
        l->len++;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t
linkrate_percentile(const struct linkrate *l, unsigned percent)
{
    uint64_t sorted[LINKRATE_SAMPLES], r;

    if (l->len == 0) {
        r = l->piece_us ? rate(l->piece_bytes, l->piece_us) : 0;
        r = r ? r : l->guess ? l->guess : l->limit;
    } else {
        memcpy(sorted, l->samples, l->len * sizeof sorted[0]);
        qsort(sorted, l->len, sizeof sorted[0], by_value);
        r = sorted[(l->len - 1) * percent / 100];
    }
    return l->limit && r > l->limit ? l->limit : r;
}
