/* Convergence decisions; see converge.h. */
#include "migrate/converge.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLE_MIN_US 20000 /* shorter pieces measure latency, not bandwidth */
#define WITHIN_ROUNDS 8     /* within the budget for so long: the minimum will not get better */
#define GAIN_PERCENT  70 /* a round that leaves more than this of the last one gained little */
#define STALL_MARGIN  64 /* a new minimum is one that is lower by at least 1/64 */

static uint64_t
rate(uint64_t bytes, uint64_t us)
{
    return (uint64_t)((unsigned __int128)bytes * 1000000 / us);
}

void
converge_init(struct converge *c, uint64_t max_downtime_us)
{
    *c = (struct converge){.max_downtime_us =
                               max_downtime_us ? max_downtime_us : CONVERGE_DOWNTIME_US,
                           .last_remaining = UINT64_MAX};
}

void
converge_sample(struct converge *c, uint64_t bytes, uint64_t us)
{
    c->piece_bytes += bytes;
    c->piece_us += us;
    if (c->piece_us < SAMPLE_MIN_US)
        return;
    c->samples[c->samples_at] = rate(c->piece_bytes, c->piece_us);
    c->samples_at = (c->samples_at + 1) % CONVERGE_SAMPLES;
    c->piece_bytes = c->piece_us = 0;
    if (c->samples_len < CONVERGE_SAMPLES)
        c->samples_len++;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t
converge_low_rate(const struct converge *c)
{
    uint64_t sorted[CONVERGE_SAMPLES];

    if (c->samples_len == 0)
        return c->piece_us ? rate(c->piece_bytes, c->piece_us) : 0;
    memcpy(sorted, c->samples, c->samples_len * sizeof sorted[0]);
    qsort(sorted, c->samples_len, sizeof sorted[0], by_value);
    return sorted[c->samples_len / 5];
}

uint64_t
converge_predict_us(const struct converge *c, const struct converge_input *in)
{
    uint64_t low = converge_low_rate(c);
    /* The last scan, three exchanges (round done, prepared, running), the device state. */
    unsigned __int128 us =
        (unsigned __int128)in->scan_us + 3 * (unsigned __int128)in->rtt_us + CONVERGE_STATE_US;

    if (in->remaining_bytes > 0) {
        /* Nothing was ever sent that would measure a rate: a slow link's, 10 Mb/s, will do. */
        us += (unsigned __int128)in->remaining_bytes * 1000000 / (low ? low : 1250000);
    }
    return us > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)us;
}

enum converge_decision
converge_next(struct converge *c, const struct converge_input *in)
{
    struct converge_input nothing_left = *in;
    uint64_t fixed, bytes_us, last = c->last_remaining;
    bool little_gain;

    nothing_left.remaining_bytes = 0;
    fixed = converge_predict_us(c, &nothing_left);
    c->predicted_us = converge_predict_us(c, in);
    c->last_remaining = in->remaining_bytes;
    if (c->predicted_us > c->max_downtime_us) {
        c->within = 0;
        return CONVERGE_ROUND;
    }
    c->within++;
    bytes_us = c->predicted_us - fixed;
    little_gain = last != UINT64_MAX && (unsigned __int128)in->remaining_bytes * 100 >=
                                            (unsigned __int128)last * GAIN_PERCENT;
    /* The bytes cost less than what is paid anyway, or rounds do not shrink any more. */
    if (bytes_us * 2 <= fixed || little_gain || c->within >= WITHIN_ROUNDS)
        return CONVERGE_SWITCH;
    return CONVERGE_ROUND;
}

void
stall_init(struct stall *s, uint64_t now_us)
{
    stall_restart(s, UINT64_MAX, now_us);
}

void
stall_note(struct stall *s, uint32_t round, uint64_t remaining_bytes, uint64_t now_us)
{
    uint64_t margin = round <= 1 ? 0 : s->best_bytes / STALL_MARGIN;

    if (remaining_bytes < s->best_bytes - margin) {
        s->best_bytes = remaining_bytes;
        s->since_us = now_us;
    }
}

void
stall_restart(struct stall *s, uint64_t remaining_bytes, uint64_t now_us)
{
    s->best_bytes = remaining_bytes;
    s->since_us = now_us;
}

uint64_t
stall_for_us(const struct stall *s, uint64_t now_us)
{
    return now_us > s->since_us ? now_us - s->since_us : 0;
}
