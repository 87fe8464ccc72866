/* Predictions with percentiles: the rule of converge.c is played against worlds that are drawn from
 * what the measurements leave open: the candidates of the working set's fit, the spread of its
 * residuals and of the bandwidth, and of what a pause costs. Quantiles of the outcomes are the
 * prediction. Seeded, so that the same measurements always predict the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "migrate/converge_int.h"

#define DRAWS          49
#define ROUNDS_MAX     200
#define LINK_SPREAD    0.05 /* at least: standard deviation of the logarithm */
#define GUESS_SPREAD   0.25 /* of a bandwidth that was only learnt earlier */
#define SET_SPREAD     0.05 /* at least */
#define SET_SPREAD_MAX 0.5
#define FIXED_SPREAD   0.2
#define Z90            1.2816

struct outcome {
    double total_us, downtime_us, wire_bytes;
    double rounds;
    unsigned percent;
    enum converge_decision end;
};

static double
normal(struct rng *r)
{
    double a = ((double)(rng_u64(r) >> 11) + 1) / 9007199254740993.0;
    double b = (double)(rng_u64(r) >> 11) / 9007199254740992.0;

    return sqrt(-2 * log(a)) * cos(2 * M_PI * b);
}

static void
draw_world(const struct converge *c, struct rng *r, double link_spread, struct converge_world *w)
{
    double at = (double)(rng_u64(r) >> 11) / 9007199254740992.0, factor, all;

    converge_world_now(c, w);
    for (uint32_t i = 0; i < c->wws.candidates_len; i++) {
        const struct wws_candidate *k = &c->wws.candidates[i];

        w->set_bytes = k->set_bytes;
        w->bytes_per_s = k->bytes_per_s;
        at -= k->weight;
        if (at <= 0)
            break;
    }
    all = c->wws.spread < SET_SPREAD       ? SET_SPREAD
          : c->wws.spread > SET_SPREAD_MAX ? SET_SPREAD_MAX
                                           : c->wws.spread;
    factor = exp(normal(r) * all);
    w->set_bytes = fmin(w->set_bytes * factor, (double)c->cfg.total_bytes);
    w->bytes_per_s *= factor;
    factor = exp(normal(r) * link_spread);
    w->mid *= factor;
    w->low *= factor;
    w->fixed_us *= exp(normal(r) * FIXED_SPREAD);
}

/* One migration from here on. */
static void
play(const struct converge *c, const struct converge_world *w, struct rng *r, double left,
     double round_us, struct outcome *ret)
{
    struct converge_state st = c->st;
    struct converge_judgement j = {.decision = CONVERGE_ROUND};
    double noise = c->wws.spread < SET_SPREAD ? SET_SPREAD : fmin(c->wws.spread, SET_SPREAD_MAX);
    double took, next;

    *ret = (struct outcome){.wire_bytes = c->wire_bytes, .rounds = st.round};
    if (left > 0 || st.remaining < 0) { /* in a round, or before the first */
        took = left * 1e6 / w->mid;
        st.at_us += took;
        ret->wire_bytes += left;
        next = wws_after(w->set_bytes, w->bytes_per_s,
                         st.remaining >= 0 ? st.remaining : c->present_bytes,
                         (round_us + took) / 1e6 * (100 - st.percent) / 100);
        st.last_remaining = st.remaining;
        st.remaining = next;
        st.round++;
        ret->rounds++;
        converge_judge(&c->cfg, w, &st, &j);
    }
    /* A round that is gone on with because nothing helps: that goes on until a limit ends it. */
    while ((j.decision == CONVERGE_THROTTLE ||
            (j.decision == CONVERGE_ROUND && j.why != CONVERGE_WHY_NEVER &&
             j.why != CONVERGE_WHY_LATE)) &&
           ret->rounds < ROUNDS_MAX) {
        took = converge_round_us(w, st.remaining);
        if (c->cfg.limits.completion_timeout_us &&
            st.at_us + took > 2.0 * (double)c->cfg.limits.completion_timeout_us)
            break; /* that round will not end */
        next = converge_left(w, st.remaining, st.percent) * exp(normal(r) * noise);
        ret->wire_bytes += st.remaining * w->effective;
        st.at_us += took;
        st.last_remaining = st.remaining;
        st.remaining = fmin(next, (double)c->cfg.total_bytes);
        st.round++;
        ret->rounds++;
        converge_judge(&c->cfg, w, &st, &j);
    }
    ret->end = j.decision;
    ret->percent = st.percent;
    ret->downtime_us = j.decision == CONVERGE_POSTCOPY ? w->fixed_us : j.downtime_us;
    ret->total_us = st.at_us;
    if (j.decision == CONVERGE_ROUND || j.decision == CONVERGE_THROTTLE)
        ret->end = CONVERGE_ABORT;
    if (ret->end == CONVERGE_ABORT) {
        ret->downtime_us = 0;
        const struct mig_limits *l = &c->cfg.limits;

        if (l->progress_timeout_us) /* it is as low as it gets */
            ret->total_us = st.at_us + (double)l->progress_timeout_us;
        if (l->completion_timeout_us)
            ret->total_us = l->progress_timeout_us
                                ? fmin(ret->total_us, (double)l->completion_timeout_us)
                                : (double)l->completion_timeout_us;
        return;
    }
    ret->total_us += j.downtime_us;
    ret->wire_bytes += st.remaining * w->effective;
    ret->rounds++;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint64_t
quantile(const double *values, uint32_t n, unsigned percent)
{
    double v = values[(n - 1) * percent / 100];

    return v <= 0 ? 0 : v < 9e18 ? (uint64_t)v : INT64_MAX;
}

void
converge_predict(struct converge *c, double left, double round_us)
{
    double total[DRAWS], down[DRAWS], bytes[DRAWS], rounds[DRAWS], percent[DRAWS];
    double mid = (double)linkrate_percentile(&c->link, 50), low = (double)converge_low_rate(c);
    struct converge_prediction *p = &c->prediction;
    unsigned ends[CONVERGE_DECISIONS] = {0}, most = 0;
    double link_spread;
    uint32_t n = 0;
    struct rng r;

    p->known = mid > 0;
    if (!p->known)
        return;
    link_spread = low > 0 ? log(mid / low) / Z90 / 2 : 0;
    if (c->link.len == 0 && !c->link.limit)
        link_spread = GUESS_SPREAD;
    link_spread = fmax(link_spread, LINK_SPREAD);
    rng_seed(&r, c->cfg.seed * 1000003 + c->st.round);

    struct outcome o[DRAWS];

    for (unsigned i = 0; i < DRAWS; i++) {
        struct converge_world w;

        draw_world(c, &r, link_spread, &w);
        play(c, &w, &r, left, round_us, &o[i]);
        ends[o[i].end]++;
    }
    for (unsigned e = 0; e < CONVERGE_DECISIONS; e++) {
        if (ends[e] > most) {
            most = ends[e];
            p->end = (enum converge_decision)e;
        }
    }
    for (unsigned i = 0; i < DRAWS; i++) {
        total[i] = o[i].total_us;
        bytes[i] = o[i].wire_bytes;
        rounds[i] = o[i].rounds;
        percent[i] = o[i].percent;
        if (o[i].end != CONVERGE_ABORT || p->end == CONVERGE_ABORT)
            down[n++] = o[i].downtime_us;
    }
    qsort(total, DRAWS, sizeof total[0], by_value);
    qsort(bytes, DRAWS, sizeof bytes[0], by_value);
    qsort(rounds, DRAWS, sizeof rounds[0], by_value);
    qsort(percent, DRAWS, sizeof percent[0], by_value);
    qsort(down, n, sizeof down[0], by_value);
    p->throttle_percent = (unsigned)quantile(percent, DRAWS, 50);
    p->rounds_p50 = (uint32_t)quantile(rounds, DRAWS, 50);
    p->rounds_p90 = (uint32_t)quantile(rounds, DRAWS, 90);
    p->bytes_p50 = quantile(bytes, DRAWS, 50);
    p->bytes_p90 = quantile(bytes, DRAWS, 90);
    p->total_p50_us = quantile(total, DRAWS, 50);
    p->total_p90_us = quantile(total, DRAWS, 90);
    p->downtime_p50_us = quantile(down, n, 50);
    p->downtime_p90_us = quantile(down, n, 90);
}
