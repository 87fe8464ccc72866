/* The choice of an encoding; see codec_choose.h. */
#include "migrate/codec_choose.h"

#include <string.h>

#include "proto/limits.h"

#define WINDOW_NS    10000000u /* of the link's measurement */
#define BUSY_WAIT    100       /* permille: a worker that waits less has no processor to spare */
#define DECAY_NS     1000000000u /* without waiting, the link is thought twice as fast after so long */
#define TRY_FIRST_US 100000u
#define TRY_MAX_US   3200000u
#define WORTH        4   /* a raw page must cost so many times an encoding's time */
#define DELTA_BAD    900 /* permille: deltas save nothing */
#define DELTA_SAMPLE 16
#define STRETCH_MAX  3000 /* more is a moment, not a share */
#define BUDGET_MIN   256u
#define BUDGET_MAX   3072u /* of a delta, where nothing else shrinks the page */

/* What is thought of an encoding before it was measured: on the fast side, so that it is tried. */
static const uint32_t prior_ns[MIG_ENC_COUNT] = {
    [MIG_ENC_DELTA] = 1000, [MIG_ENC_LZ4] = 1000, [MIG_ENC_ZSTD] = 2000};

static uint64_t raw_ns(const struct codec_choose *c, uint64_t limit_bytes_per_s);
static uint64_t encode_ns(const struct codec_choose *c, enum mig_encoding e);
static bool worth(const struct codec_choose *c, enum mig_encoding e, uint64_t raw);
static uint64_t cost(const struct codec_choose *c, enum mig_encoding e, uint64_t raw);
static uint32_t mix(uint32_t was, uint64_t is);

void
codec_choose_init(struct codec_choose *c, enum mig_encoding fixed,
                  const bool allowed[MIG_ENC_COUNT])
{
    memset(c, 0, sizeof *c);
    c->fixed = fixed;
    c->stretch_permille = 1000;
    memcpy(c->allowed, allowed, sizeof c->allowed);
    for (unsigned e = 0; e < MIG_ENC_COUNT; e++) {
        c->of[e].ns_per_page = prior_ns[e];
        c->of[e].permille = 1000;
        c->of[e].every_us = TRY_FIRST_US;
    }
}

bool
codec_choose_sent(struct codec_choose *c, uint64_t bytes, uint64_t ns, uint64_t send_ns,
                  bool encoded)
{
    c->window_bytes += bytes;
    c->window_ns += ns;
    c->window_send_ns += send_ns < ns ? send_ns : ns;
    c->window_encoded |= encoded;
    return c->window_ns >= WINDOW_NS;
}

void
codec_choose_window(struct codec_choose *c, uint64_t ran_ns, uint64_t delayed_ns)
{
    uint64_t busy = ran_ns + delayed_ns, stretch = busy * 1000 / (ran_ns + 1);
    uint64_t idle = c->window_ns - (busy < c->window_ns ? busy : c->window_ns);
    uint64_t wait = (idle < c->window_send_ns ? idle : c->window_send_ns) * 1000 / c->window_ns;
    uint64_t sample =
        (uint64_t)((unsigned __int128)c->window_ns * (1u << 20) / (c->window_bytes + 1));

    /* A worker that encodes and does not wait says nothing about what it would do if it did not. */
    if (wait >= BUSY_WAIT || !c->window_encoded)
        c->wait_permille = c->link_known ? mix(c->wait_permille, wait) : (uint32_t)wait;
    if (wait >= BUSY_WAIT) {
        c->link_ns_per_mib = c->link_known ? (c->link_ns_per_mib * 3 + sample) / 4 : sample;
    } else {
        /* The link could take more than it was given; how much more is not known. */
        uint64_t part = c->window_ns < DECAY_NS ? c->window_ns : DECAY_NS;
        uint64_t decayed = c->link_ns_per_mib - c->link_ns_per_mib * part / DECAY_NS / 2;

        c->link_ns_per_mib = c->link_known && decayed < sample ? decayed : sample;
    }
    c->stretch_permille = mix(c->stretch_permille, stretch < 1000          ? 1000
                                                   : stretch < STRETCH_MAX ? stretch
                                                                           : STRETCH_MAX);
    c->link_known = true;
    c->window_encoded = false;
    c->window_bytes = c->window_ns = c->window_send_ns = 0;
}

void
codec_choose_encoded(struct codec_choose *c, enum mig_encoding e, uint32_t pages, uint64_t bytes,
                     uint64_t ns, uint64_t now_us)
{
    struct codec_measure *m = &c->of[e];
    uint64_t per_page, permille;

    if (pages == 0)
        return;
    per_page = ns / pages;
    permille = bytes * 1000 / ((uint64_t)pages * LAYOUT_PAGE_BYTES);
    m->ns_per_page = m->known ? mix(m->ns_per_page, per_page) : (uint32_t)per_page;
    m->permille = m->known ? mix(m->permille, permille) : (uint32_t)permille;
    m->known = true;
    if (m->permille > DELTA_BAD)
        m->every_us = m->every_us * 2 < TRY_MAX_US ? m->every_us * 2 : TRY_MAX_US;
    else
        m->every_us = TRY_FIRST_US;
    m->next_us = now_us + m->every_us;
}

struct codec_plan
codec_choose_next(const struct codec_choose *c, uint64_t limit_bytes_per_s, uint64_t now_us)
{
    static const enum mig_encoding lz[] = {MIG_ENC_LZ4, MIG_ENC_ZSTD};
    struct codec_plan p = {.group = MIG_ENC_RAW, .delta_budget = BUDGET_MAX};
    uint64_t raw, best;

    if (c->fixed != MIG_ENC_AUTO) {
        p.keep_one_in = c->fixed == MIG_ENC_DELTA && c->allowed[MIG_ENC_DELTA];
        if (c->fixed == MIG_ENC_LZ4 || c->fixed == MIG_ENC_ZSTD)
            p.group = c->allowed[c->fixed] ? c->fixed : MIG_ENC_RAW;
        return p;
    }
    raw = raw_ns(c, limit_bytes_per_s);
    if (raw == 0) /* the link is not known yet, or the processor is the bottleneck */
        return p;
    best = raw - raw / 5;
    for (unsigned i = 0; i < 2; i++) {
        const struct codec_measure *m = &c->of[lz[i]];

        if (!c->allowed[lz[i]] || !worth(c, lz[i], raw))
            continue;
        if (m->known && cost(c, lz[i], raw) < best) {
            best = cost(c, lz[i], raw);
            p.group = lz[i];
        }
    }
    for (unsigned i = 0; i < 2 && p.trial == MIG_ENC_AUTO; i++) {
        if (c->allowed[lz[i]] && lz[i] != p.group && worth(c, lz[i], raw) &&
            now_us >= c->of[lz[i]].next_us)
            p.trial = lz[i];
    }
    if (c->allowed[MIG_ENC_DELTA] && worth(c, MIG_ENC_DELTA, raw)) {
        const struct codec_measure *m = &c->of[MIG_ENC_DELTA];

        p.keep_one_in = m->known && m->permille > DELTA_BAD ? DELTA_SAMPLE : 1;
        if (p.group != MIG_ENC_RAW)
            p.delta_budget = c->of[p.group].permille * LAYOUT_PAGE_BYTES / 1000;
        if (p.delta_budget < BUDGET_MIN)
            p.delta_budget = BUDGET_MIN;
        if (p.delta_budget > BUDGET_MAX)
            p.delta_budget = BUDGET_MAX;
    }
    return p;
}

/* Time of one raw page on the link; 0 when nothing is to be gained there. */
static uint64_t
raw_ns(const struct codec_choose *c, uint64_t limit_bytes_per_s)
{
    uint64_t link = c->link_known && c->wait_permille >= BUSY_WAIT
                        ? c->link_ns_per_mib * LAYOUT_PAGE_BYTES >> 20
                        : 0;
    uint64_t limit =
        limit_bytes_per_s ? (uint64_t)LAYOUT_PAGE_BYTES * 1000000000u / limit_bytes_per_s : 0;

    if (c->link_known && c->wait_permille < BUSY_WAIT)
        return 0; /* with a limit, too: the worker cannot even use what it may */
    return link > limit ? link : limit;
}

static uint64_t
encode_ns(const struct codec_choose *c, enum mig_encoding e)
{
    return (uint64_t)c->of[e].ns_per_page * c->stretch_permille / 1000;
}

static bool
worth(const struct codec_choose *c, enum mig_encoding e, uint64_t raw)
{
    return raw >= WORTH * encode_ns(c, e);
}

static uint64_t
cost(const struct codec_choose *c, enum mig_encoding e, uint64_t raw)
{
    uint64_t ns = encode_ns(c, e), wire = raw * c->of[e].permille / 1000;

    return (wire > ns ? wire : ns) + ns / 4;
}

static uint32_t
mix(uint32_t was, uint64_t is)
{
    uint64_t v = ((uint64_t)was * 3 + is + 2) / 4;

    return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}
