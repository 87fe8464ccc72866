/* A migration on virtual time; see simulate.h. */
#include "migrate/simulate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/trace.h"

#define RTT_US        200
#define SCAN_US_GIB   250   /* of one scan, a GiB of memory, by two workers */
#define PIECE_US      50000 /* bandwidth changes, and clocks are looked at, so often */
#define PROBE_MAX_US  300000
#define PROBES        4
#define STALL_GIVE_US 1000000

struct sim {
    const struct simulate_config *cfg;
    struct converge c;
    struct stall stall;
    struct rng rng;
    double bandwidth, link; /* now and on average; bytes a second */
    double set, rate;       /* of the guest */
    double now_us;          /* since the first byte */
    double guest_us;        /* the guest has run, the time before included */
    uint64_t rtt_us, fixed_us, scan_us;
    struct simulate_result *ret;
};

static void probe(struct sim *s);
static bool run_round(struct sim *s, struct simulate_round *r, uint64_t bytes, uint64_t *ret_left,
                      uint64_t *ret_took);
static void finish(struct sim *s, enum converge_decision d, uint64_t left);
static struct simulate_round *new_round(struct sim *s);

static double
noise(struct sim *s)
{
    double a = ((double)(rng_u64(&s->rng) >> 11) + 1) / 9007199254740993.0;
    double b = (double)(rng_u64(&s->rng) >> 11) / 9007199254740992.0;
    double sigma = s->cfg->noise_permille / 1000.0;

    return sigma > 0 ? exp(sqrt(-2 * log(a)) * cos(2 * M_PI * b) * sigma) : 1;
}

int
simulate_run(const struct simulate_config *cfg, struct simulate_result *ret, struct err *err)
{
    struct sim s = {.cfg = cfg, .ret = ret};
    uint64_t present = cfg->present_bytes ? cfg->present_bytes : cfg->memory_bytes, left;
    struct converge_config cc = {.total_bytes = cfg->memory_bytes,
                                 .limits = cfg->limits,
                                 .policy = cfg->policy,
                                 .can_throttle = true,
                                 .can_post_copy = true,
                                 .seed = cfg->seed,
                                 .fixed_us = cfg->fixed_us};

    memset(ret, 0, sizeof *ret);
    if (cfg->memory_bytes == 0)
        return err_set(err, -EINVAL, "memory: must be more than 0");
    if (cfg->bandwidth_bytes_per_s == 0)
        return err_set(err, -EINVAL, "bandwidth: must be more than 0");
    if (cfg->set_bytes > cfg->memory_bytes)
        return err_set(err, -EINVAL, "working set: is more than the memory");
    s.link = (double)cfg->bandwidth_bytes_per_s;
    if (cfg->streams)
        s.link = fmin(s.link, (double)cfg->streams * SIMULATE_STREAM_BYTES_PER_S);
    if (cfg->limits.bandwidth_bytes_per_s)
        s.link = fmin(s.link, (double)cfg->limits.bandwidth_bytes_per_s);
    cc.bytes_per_s = (uint64_t)s.link;
    s.set = (double)cfg->set_bytes;
    s.rate = (double)cfg->dirty_bytes_per_s;
    s.rtt_us = cfg->rtt_us ? cfg->rtt_us : RTT_US;
    s.fixed_us = cfg->fixed_us ? cfg->fixed_us : CONVERGE_FIXED_US;
    s.scan_us = cfg->memory_bytes / (1024 * 1024) * SCAN_US_GIB / 1024;
    rng_seed(&s.rng, cfg->seed + 1);
    s.bandwidth = s.link * noise(&s);
    cc.rtt_us = s.rtt_us;
    cc.scan_us = s.scan_us;
    converge_init(&s.c, &cc);
    if (!cfg->no_probe)
        probe(&s);
    converge_start(&s.c, present, ret->start);
    ret->prediction = s.c.prediction;
    stall_init(&s.stall, 0);
    left = present;
    for (;;) {
        struct simulate_round *r = new_round(&s);
        struct converge_round in = {.round = r->round,
                                    .rtt_us = s.rtt_us,
                                    .count_us = s.scan_us,
                                    .dirty_bytes = left,
                                    .wire_bytes = left};
        struct converge_verdict v;
        uint64_t took;

        if (!run_round(&s, r, left, &left, &took) || r->round >= SIMULATE_MAX_ROUNDS)
            return 0;
        in.took_us = took;
        in.at_us = (uint64_t)s.now_us;
        in.remaining_bytes = left;
        if (r->round == 1)
            stall_restart(&s.stall, left, in.at_us);
        else
            stall_note(&s.stall, r->round, left, in.at_us);
        converge_next(&s.c, &in, &v);
        r->decision = v.decision;
        snprintf(r->why, sizeof r->why, "%s", v.why);
        if (v.throttle_percent > ret->throttle_percent)
            ret->throttle_percent = v.throttle_percent;
        if (v.decision == CONVERGE_THROTTLE)
            stall_restart(&s.stall, UINT64_MAX, in.at_us);
        if (v.decision == CONVERGE_ABORT) {
            ret->total_us = in.at_us;
            ret->limit = "completionTimeoutPerGiB";
            snprintf(ret->reason, sizeof ret->reason,
                     "completionTimeoutPerGiB: not complete after %.1f s",
                     (double)cfg->limits.completion_timeout_us / 1e6);
            return 0;
        }
        if (v.decision != CONVERGE_ROUND && v.decision != CONVERGE_THROTTLE) {
            finish(&s, v.decision, left);
            return 0;
        }
    }
}

void
simulate_result_done(struct simulate_result *r)
{
    free(r->rounds);
    r->rounds = NULL;
}

static struct simulate_round *
new_round(struct sim *s)
{
    struct simulate_result *ret = s->ret;

    if (ret->rounds_len % 64 == 0)
        ret->rounds = xrealloc(ret->rounds, (ret->rounds_len + 64) * sizeof *ret->rounds);
    ret->rounds[ret->rounds_len] = (struct simulate_round){.round = ret->rounds_len + 1};
    return &ret->rounds[ret->rounds_len++];
}

/* What is dirty after a time in which sent bytes were sent; all of it armed at once when 0 were. */
static uint64_t
dirtied(struct sim *s, uint64_t sent, double us)
{
    double guest_us = us * (100 - s->c.st.percent) / 100, bytes;

    if (s->cfg->trace)
        bytes =
            (double)trace_after(s->cfg->trace, (uint64_t)s->guest_us, (uint64_t)guest_us, sent > 0);
    else
        bytes = wws_after(s->set, s->rate, (double)sent, guest_us / 1e6) * noise(s);
    s->guest_us += guest_us;
    bytes = fmin(bytes, (double)s->cfg->memory_bytes);
    return (uint64_t)bytes / 4096 * 4096;
}

static void
probe(struct sim *s)
{
    for (unsigned i = PROBES; i > 0; i--) {
        uint64_t us = PROBE_MAX_US >> (i - 1);
        double began = s->guest_us;

        converge_probe(&s->c, us, dirtied(s, 0, (double)us));
        s->guest_us = i == 1 ? began + (double)us : began;
    }
}

static bool
ended_by_limit(struct sim *s, struct simulate_round *r, uint64_t left)
{
    const struct mig_limits *l = &s->cfg->limits;
    uint64_t now = (uint64_t)s->now_us, limit = l->completion_timeout_us;
    const char *field = NULL;

    if (s->cfg->policy.allow_disruption || s->cfg->policy.allow_post_copy)
        limit *= 2; /* the end of the round decides, as in the engine */
    if (limit && now > limit)
        field = "completionTimeoutPerGiB";
    else if (l->progress_timeout_us && stall_for_us(&s->stall, now) > l->progress_timeout_us)
        field = "progressTimeout";
    if (!field)
        return false;
    s->ret->limit = field;
    s->ret->total_us = now;
    if (field[0] == 'c')
        snprintf(s->ret->reason, sizeof s->ret->reason, "%s: not complete after %.1f s", field,
                 (double)limit / 1e6);
    else
        snprintf(s->ret->reason, sizeof s->ret->reason,
                 "%s: %llu bytes remain, no fewer for %.1f s", field,
                 (unsigned long long)s->stall.best_bytes, (double)l->progress_timeout_us / 1e6);
    snprintf(r->why, sizeof r->why, "%s", s->ret->reason);
    r->decision = CONVERGE_ABORT;
    r->dirty_bytes = left;
    return true;
}

/* Sends bytes while the guest runs; false when a limit ended it. */
static bool
run_round(struct sim *s, struct simulate_round *r, uint64_t bytes, uint64_t *ret_left,
          uint64_t *ret_took)
{
    double began = s->now_us, left = (double)bytes, rate;
    const struct simulate_round *before = r->round > 1 ? r - 1 : NULL;

    rate = before && before->us ? (double)before->dirty_bytes / (double)before->us : 0;
    if (s->cfg->noise_permille)
        s->bandwidth = s->link * noise(s);
    while (left > 0) {
        double us = fmin(PIECE_US, left * 1e6 / s->bandwidth), sent = s->bandwidth * us / 1e6;

        left = us < PIECE_US ? 0 : left - sent;
        s->now_us += us;
        r->sent_bytes = bytes - (uint64_t)left;
        converge_sample(&s->c, (uint64_t)sent, (uint64_t)us);
        stall_note(&s->stall, r->round,
                   (uint64_t)(left + (r->round > 1 ? rate * (s->now_us - began) : 0)),
                   (uint64_t)s->now_us);
        if (ended_by_limit(s, r, (uint64_t)left)) {
            r->us = (uint64_t)(s->now_us - began);
            s->ret->sent_bytes += r->sent_bytes;
            return false;
        }
        s->bandwidth += (s->link * noise(s) - s->bandwidth) * 0.3;
    }
    converge_sample_end(&s->c, 0, 2 * s->rtt_us);
    s->ret->sent_bytes += bytes;
    s->now_us += 2 * (double)s->rtt_us;
    *ret_took = (uint64_t)(s->now_us - began);
    s->now_us += (double)s->scan_us;
    *ret_left = dirtied(s, bytes ? bytes : 1, s->now_us - began - (double)s->scan_us / 2);
    r->dirty_bytes = *ret_left;
    r->us = (uint64_t)(s->now_us - began);
    return true;
}

/* The last bytes, the guest paused; or all of them while it runs at the target. */
static void
finish(struct sim *s, enum converge_decision d, uint64_t left)
{
    struct simulate_round *r = new_round(s);
    double fixed = (double)(s->fixed_us + s->scan_us + 3 * s->rtt_us);
    double send = (double)left * 1e6 / (s->link * noise(s));

    r->decision = d;
    r->final = true;
    r->sent_bytes = left;
    r->us = (uint64_t)(fixed + send);
    s->ret->sent_bytes += left;
    s->ret->succeeded = true;
    s->ret->total_us = (uint64_t)(s->now_us + fixed + send);
    s->ret->downtime_us = (uint64_t)(d == CONVERGE_POSTCOPY ? fixed : fixed + send);
    s->ret->mode = d == CONVERGE_POSTCOPY ? MIG_MODE_POSTCOPY
                   : d == CONVERGE_PAUSE  ? MIG_MODE_PAUSED
                                          : MIG_MODE_PRECOPY;
    if (d == CONVERGE_POSTCOPY)
        snprintf(r->why, sizeof r->why, "the guest runs at the target; the rest follows");
    else
        snprintf(r->why, sizeof r->why, "the guest is paused: the last pages and its state");
    snprintf(s->ret->reason, sizeof s->ret->reason, "%s", s->ret->rounds[r->round - 2].why);
}
