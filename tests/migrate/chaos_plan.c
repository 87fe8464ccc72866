/* What is drawn from a seed; see chaos.h. */
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "proto/control.h"
#include "tests/migrate/chaos.h"

#define MIB     (1ull << 20)
#define PATIENT 10000000 /* dead_peer_us where nobody is to be thought dead */
#define BRISK   300000

static bool
chance(struct rng *r, unsigned percent)
{
    return rng_below(r, 100) < percent;
}

/* 0 to max, small ones as often as large ones. */
static uint64_t
any_size(struct rng *r, uint64_t max)
{
    unsigned bits = 0;

    while (bits < 63 && 1ull << bits < max)
        bits++;

    uint64_t n = rng_below(r, 1ull << rng_below(r, bits + 1));

    return n > max ? max : n;
}

static void
draw_guest(struct rng *r, struct fake_config *g)
{
    uint64_t pages;

    g->region_bytes[0] = (1 + rng_below(r, chance(r, 20) ? 12 : 5)) * MIB;
    if (chance(r, 30))
        g->region_bytes[1] = (1 + rng_below(r, 1024)) * FAKE_PAGE;
    g->seed = rng_u64(r) >> 8;
    g->content = (enum fake_content)rng_below(r, 3);
    g->stride = chance(r, 25) ? 1 + (unsigned)rng_below(r, 40) : 1;
    pages = (g->region_bytes[0] + g->region_bytes[1]) / FAKE_PAGE / g->stride;
    g->fill_pages = chance(r, 10) ? 0 : chance(r, 40) ? pages : rng_below(r, pages);
    g->zero_pages = chance(r, 40) ? rng_below(r, pages - g->fill_pages + 1) : 0;
    if (chance(r, 80)) {
        g->set_pages = 1 + (chance(r, 50) ? rng_below(r, pages) : any_size(r, pages - 1));
        g->pages_per_s = chance(r, 10)   ? 0
                         : chance(r, 70) ? 1000 + rng_below(r, 50000)
                                         : 100 + any_size(r, 20000);
        g->zero_percent = chance(r, 30) ? (unsigned)rng_below(r, 60) : 0;
        g->punch_percent = chance(r, 30) ? (unsigned)rng_below(r, 40) : 0;
    }
    g->state_bytes = chance(r, 15) ? any_size(r, 400000) : 0;
}

static void
draw_trick(struct rng *r, struct net_trick *t, const struct chaos_plan *p)
{
    static const unsigned char types[2][8] = {
        {CONTROL_HELLO, CONTROL_ROUND_BEGIN, CONTROL_ROUND_END, CONTROL_STATE, CONTROL_FINISH,
         CONTROL_COMMIT, CONTROL_ABORT, CONTROL_QUESTION},
        {CONTROL_ACCEPT, CONTROL_ROUND_DONE, CONTROL_PREPARED, CONTROL_PREPARED, CONTROL_RUNNING,
         CONTROL_RUNNING, CONTROL_ANSWER, CONTROL_ERROR}};
    uint64_t bytes = p->guest.fill_pages * FAKE_PAGE + 4096;

    t->effect = (enum net_effect)rng_below(r, NET_EFFECTS);
    if (t->effect == NET_REFUSE && chance(r, 50))
        t->effect = NET_CUT_ALL;
    t->data = chance(r, 45) || t->effect == NET_NOISE;
    t->to_source = chance(r, t->data ? 10 : 50);
    t->connection = chance(r, 60) ? -1 : (int)rng_below(r, t->data ? p->channels : 2);
    t->salt = rng_u64(r);
    t->place = (unsigned)rng_below(r, 3);
    t->ms = 1 + (unsigned)any_size(r, 120);
    t->when = NET_AT_BYTE;
    if (!p->tls && (chance(r, 60) || t->effect == NET_NOISE))
        t->when = t->data ? NET_AT_FRAME : NET_AT_TYPE;
    if (t->when == NET_AT_TYPE) {
        t->type = types[t->to_source][rng_below(r, 8)];
        t->n = chance(r, 75) ? 0 : rng_below(r, 4);
    } else if (t->when == NET_AT_FRAME) {
        t->n = t->to_source ? 0 : any_size(r, t->effect == NET_NOISE ? 3 : 12);
    } else {
        t->n = t->data ? (t->to_source ? rng_below(r, 16) : any_size(r, bytes / p->channels + 100))
                       : any_size(r, p->tls ? 4000 : 1200);
        if (chance(r, 50) && !(t->data && t->to_source))
            t->n = rng_below(r, t->data ? bytes / p->channels : p->tls ? 7000 : 1200);
    }
}

static void
draw_act(struct rng *r, struct chaos_act *a, const struct chaos_plan *p)
{
    static const enum chaos_what threads[] = {CHAOS_CANCEL, CHAOS_CANCEL, CHAOS_STOP,
                                              CHAOS_KILL_GUEST, CHAOS_BANDWIDTH},
                                 processes[] = {CHAOS_KILL_SRC,   CHAOS_KILL_DST, CHAOS_KILL_SRC,
                                                CHAOS_KILL_DST,   CHAOS_CANCEL,   CHAOS_FREEZE_SRC,
                                                CHAOS_FREEZE_DST, CHAOS_STOP,     CHAOS_KILL_GUEST};

    a->what = p->processes ? processes[rng_below(r, ARRAY_LEN(processes))]
                           : threads[rng_below(r, ARRAY_LEN(threads))];
    a->paused = chance(r, 40);
    a->after_us = a->paused       ? any_size(r, 6000)
                  : chance(r, 60) ? rng_below(r, 30000)
                                  : any_size(r, 60000);
    a->ms = 1 + (unsigned)any_size(r, 150);
}

static void
draw_fault(struct rng *r, struct chaos_period *q, const struct chaos_plan *p)
{
    for (;;) {
        enum fault_point f = (enum fault_point)rng_below(r, FAULT_COUNT);
        unsigned sides = chaos_point_sides(f), side;
        uint64_t nth = chance(r, 60) ? 1 : 1 + any_size(r, 30);

        if (!sides)
            continue;
        side = sides == 3 ? (unsigned)rng_below(r, 2) : sides - 1;
        snprintf(q->fault[side], sizeof q->fault[side], "%s@%u:%s", fault_name(f), (unsigned)nth,
                 p->processes && chance(r, 70) ? "kill" : "error");
        return;
    }
}

static void
draw_fails(struct rng *r, struct chaos_fails *f)
{
    int *const all[] = {&f->prepared,  &f->committed,  &f->never,    &f->commit,
                        &f->src_pause, &f->src_resume, &f->src_save, &f->src_uffd,
                        &f->dst_pause, &f->dst_resume, &f->dst_load};

    for (unsigned n = 1 + chance(r, 40); n > 0; n--)
        *all[rng_below(r, ARRAY_LEN(all))] = 1 + (int)(chance(r, 30) ? rng_below(r, 4) : 0);
    f->gone = chance(r, 30);
}

static void
draw_period(struct rng *r, struct chaos_period *q, const struct chaos_plan *p, unsigned faults)
{
    for (unsigned i = 0; i < faults; i++) {
        uint64_t k = rng_below(r, 100);

        if (k < 42 && q->tricks_len < NET_TRICKS)
            draw_trick(r, &q->tricks[q->tricks_len++], p);
        else if (k < 64)
            draw_fault(r, q, p);
        else if (k < 84 && q->acts_len < CHAOS_ACTS)
            draw_act(r, &q->acts[q->acts_len++], p);
        else
            draw_fails(r, &q->fails);
    }
    q->relay = q->tricks_len > 0 || chance(r, 10);
    q->strangers = chance(r, 15) ? 1 + (unsigned)rng_below(r, 12) : 0;
}

/* Somebody is thought dead only where somebody is silent. */
static bool
somebody_is_silent(const struct chaos_plan *p)
{
    for (unsigned i = 0; i < CHAOS_PERIODS; i++) {
        const struct chaos_period *q = &p->periods[i];

        for (unsigned k = 0; k < q->tricks_len; k++) {
            const struct net_trick *t = &q->tricks[k];

            /* a frame cut short makes its reader wait for the rest */
            if (t->effect == NET_STALL || t->effect == NET_HOLE || t->effect == NET_HALF ||
                net_tampers(t->effect))
                return true;
        }
        for (unsigned k = 0; k < q->acts_len; k++) {
            if (q->acts[k].what == CHAOS_FREEZE_SRC || q->acts[k].what == CHAOS_FREEZE_DST)
                return true;
        }
    }
    return false;
}

void
chaos_draw(struct chaos_plan *p, uint64_t seed)
{
    static const unsigned faults[] = {0, 1, 1, 1, 1, 1, 2, 2, 2, 3};
    struct rng r;

    *p = (struct chaos_plan){.seed = seed};
    rng_seed(&r, seed);
    p->processes = chance(&r, 25);
    p->tls = chance(&r, 25);
    draw_guest(&r, &p->guest);
    p->load_ms = chance(&r, 15) ? (unsigned)rng_below(&r, 20) : 0;
    p->channels = 1 + (unsigned)rng_below(&r, chance(&r, 30) ? 8 : 3);
    if (chance(&r, 35)) /* long enough for a few rounds */
        p->limits.bandwidth_bytes_per_s = (30 + rng_below(&r, chance(&r, 70) ? 100 : 400)) * MIB;
    if (chance(&r, 15))
        p->limits.completion_timeout_us = 20000 + any_size(&r, 400000);
    if (chance(&r, 15))
        p->limits.progress_timeout_us = 30000 + any_size(&r, 300000);
    if (chance(&r, 15)) {
        p->limits.max_downtime_us = 1000 + any_size(&r, 300000);
        if (!p->limits.completion_timeout_us)
            p->limits.completion_timeout_us = 400000;
    }
    p->policy.encoding =
        chance(&r, 50) ? MIG_ENC_AUTO : (enum mig_encoding)rng_below(&r, MIG_ENC_COUNT);
    if (p->policy.encoding == MIG_ENC_ZERO)
        p->policy.encoding = MIG_ENC_RAW;
    p->policy.verify_full = chance(&r, 25);
    p->policy.allow_auto_converge = chance(&r, 25);
    p->policy.allow_post_copy = chance(&r, 30);
    p->policy.post_copy_at_once = p->policy.allow_post_copy && chance(&r, 40);
    if (p->policy
            .allow_post_copy) /* nobody sees what a guest gives back: drivers must not let it */
        p->guest.punch_percent = 0;
    p->policy.allow_disruption = chance(&r, 20);
    p->reconnect_us = 100000 + rng_below(&r, 300000);
    draw_period(&r, &p->periods[0], p, faults[rng_below(&r, ARRAY_LEN(faults))]);
    draw_period(&r, &p->periods[1], p, chance(&r, 40) ? 1 : 0);
    p->dead_peer_us = PATIENT;
    if (!p->limits.completion_timeout_us) /* what this machine may be too slow for today */
        p->limits.completion_timeout_us = CHAOS_LONG_US;
    if (somebody_is_silent(p)) {
        p->dead_peer_us = BRISK;
        if (p->limits.completion_timeout_us ==
            CHAOS_LONG_US) /* one data channel is silent, and all else lives */
            p->limits.completion_timeout_us = 700000;
    }
}

void
chaos_draw_point(struct chaos_plan *p, uint64_t seed, enum fault_point point, int side)
{
    struct chaos_period *q = &p->periods[0];

    chaos_draw(p, seed);
    p->processes = false;
    p->limits = (struct mig_limits){.completion_timeout_us = CHAOS_LONG_US};
    p->policy.verify_full = true;
    p->policy.allow_post_copy = p->policy.post_copy_at_once =
        strstr(fault_name(point), ".postcopy.") != NULL;
    p->guest.punch_percent = p->policy.allow_post_copy ? 0 : p->guest.punch_percent;
    memset(p->periods, 0, sizeof p->periods);
    if (point == FAULT_DST_WINDOW || point == FAULT_SRC_PLACED) {
        p->rdma = true;
        p->policy.encoding = MIG_ENC_RAW;
    }
    /* at a point of both sides, whose turn it is depends on which one comes so far first */
    snprintf(q->fault[side], sizeof q->fault[side], "%s@%u:error", fault_name(point),
             chaos_point_sides(point) == 3 ? 1 + (unsigned)(rng_mix(seed) % 6) : 1);
}

/* --- in words --- */

static void
describe_trick(const struct net_trick *t, struct sb *out)
{
    static const char *const places[] = {"before", "inside", "after"};

    sb_printf(out, " %s(%s%d%s", net_effect_name(t->effect), t->data ? "data" : "ctl",
              t->connection, t->to_source ? "<" : ">");
    if (t->when == NET_AT_BYTE)
        sb_printf(out, " byte %llu", (unsigned long long)t->n);
    else if (t->when == NET_AT_FRAME)
        sb_printf(out, " %s frame %llu", places[t->place], (unsigned long long)t->n);
    else
        sb_printf(out, " %s %s %llu", places[t->place],
                  control_type_name((enum control_type)t->type), (unsigned long long)t->n);
    if (t->effect == NET_STALL)
        sb_printf(out, " %u ms", t->ms);
    sb_puts(out, ")");
}

static void
describe_fails(const struct chaos_fails *f, struct sb *out)
{
    const struct {
        const char *name;
        int n;
    } all[] = {
        {"prepared", f->prepared},     {"committed", f->committed}, {"never", f->never},
        {"commit", f->commit},         {"src-pause", f->src_pause}, {"src-resume", f->src_resume},
        {"src-save", f->src_save},     {"src-uffd", f->src_uffd},   {"dst-pause", f->dst_pause},
        {"dst-resume", f->dst_resume}, {"dst-load", f->dst_load}};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].n)
            sb_printf(out, " fail(%s %d%s)", all[i].name, all[i].n, f->gone ? " ESRCH" : "");
    }
}

void
chaos_describe(const struct chaos_plan *p, struct sb *out)
{
    static const char *const whats[] = {
        [CHAOS_CANCEL] = "cancel",           [CHAOS_STOP] = "stop",
        [CHAOS_KILL_SRC] = "kill-src",       [CHAOS_KILL_DST] = "kill-dst",
        [CHAOS_FREEZE_SRC] = "freeze-src",   [CHAOS_FREEZE_DST] = "freeze-dst",
        [CHAOS_KILL_GUEST] = "kill-guest-b", [CHAOS_BANDWIDTH] = "bandwidth",
    };
    const struct fake_config *g = &p->guest;

    sb_printf(
        out, "%s%s, guest %llu+%llu KiB, fill %llu, set %llu at %llu/s, content %d, stride %u",
        p->processes ? "processes" : "threads", p->tls ? ", TLS" : "",
        (unsigned long long)g->region_bytes[0] >> 10, (unsigned long long)g->region_bytes[1] >> 10,
        (unsigned long long)g->fill_pages, (unsigned long long)g->set_pages,
        (unsigned long long)g->pages_per_s, g->content, g->stride);
    sb_printf(out, "; %u channels, encoding %d%s%s%s%s%s", p->channels, p->policy.encoding,
              p->policy.verify_full ? " verify" : "",
              p->policy.allow_auto_converge ? " auto-converge" : "",
              p->policy.post_copy_at_once ? " pure-post-copy"
              : p->policy.allow_post_copy ? " post-copy"
                                          : "",
              p->policy.allow_disruption ? " disruption" : "",
              p->limits.bandwidth_bytes_per_s ? " limited" : "");
    if (p->limits.completion_timeout_us)
        sb_printf(out, " completion %llu ms",
                  (unsigned long long)p->limits.completion_timeout_us / 1000);
    for (unsigned i = 0; i < CHAOS_PERIODS; i++) {
        const struct chaos_period *q = &p->periods[i];

        sb_puts(out, i ? "; then:" : ";");
        for (unsigned k = 0; k < q->tricks_len; k++)
            describe_trick(&q->tricks[k], out);
        for (unsigned k = 0; k < q->acts_len; k++)
            sb_printf(out, " %s(%s%llu us)", whats[q->acts[k].what],
                      q->acts[k].paused ? "paused + " : "",
                      (unsigned long long)q->acts[k].after_us);
        for (unsigned k = 0; k < 2; k++) {
            if (q->fault[k][0])
                sb_printf(out, " %s:%s", k ? "dst" : "src", q->fault[k]);
        }
        describe_fails(&q->fails, out);
        if (q->strangers)
            sb_printf(out, " strangers(%u)", q->strangers);
    }
}
