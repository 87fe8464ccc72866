/* The controller's memory and its rule; see converge.h. The sentences are in converge_say.c, the
 * percentiles in converge_predict.c. */
#include "migrate/converge.h"

#include <math.h>
#include <string.h>

#include "base/sb.h"
#include "migrate/converge_int.h"
#include "migrate/converge_say.h"

#define WITHIN_ROUNDS  8     /* within the budget for so long: the minimum will not get better */
#define GAIN_MIN_US    700.0 /* a round that shortens the downtime by less is not worth it */
#define GAIN_PRICE     16.0  /* nor one that costs more than so many times what it gains */
#define SHRINK         0.85  /* nor one that leaves more than this of what is left now */
#define TREND          0.85  /* a round that left no more of the last one: so may the next */
#define TREND_UNKNOWN  0.5   /* after the first round: another one shows */
#define STUCK          0.98  /* a projected round that leaves more than this: as low as it gets */
#define PROJECT_ROUNDS 40    /* so far ahead it is looked */
#define CERTAIN        2     /* rounds in a row that do not expect to get there */
#define SHORT_ROUND_US 100000
#define LATE           0.9  /* of the completion timeout: then it would be too late */
#define NEAR_MINIMUM   1.25 /* of the lowest so far: a moment to pause beyond the budget */
#define WRITERS_MAX    80   /* percent for the writers alone; beyond it the whole guest */
#define THROTTLE_STEP  30   /* at most so many percent more at once */
#define EFFECTIVE_AGE  0.5  /* weight of the newest round in what a dirty byte costs */
#define PROBE_WEIGHT   0.5
#define FIRST_WEIGHT   0.35 /* where in memory the set lies is not known, so its exposure is not */

static const unsigned steps[] = {20, 30, 40, 50, 60, 70, 80, 90, 95, 99};

static void note_exchange(struct converge *c, const struct converge_round *in);
static double project(const struct converge_config *cfg, const struct converge_world *w,
                      double remaining, unsigned percent, unsigned *ret_rounds, double *ret_steady);
static bool within_is_enough(const struct converge_config *cfg, const struct converge_world *w,
                             struct converge_state *st, struct converge_judgement *j);
static enum converge_decision means(const struct converge_config *cfg,
                                    const struct converge_world *w, struct converge_state *st,
                                    struct converge_judgement *j);
static bool throttle(const struct converge_config *cfg, const struct converge_world *w,
                     struct converge_state *st, struct converge_judgement *j);

void
converge_init(struct converge *c, const struct converge_config *cfg)
{
    *c = (struct converge){
        .cfg = *cfg,
        .link = {.guess = cfg->bytes_per_s, .limit = cfg->limits.bandwidth_bytes_per_s},
        .st = {.remaining = -1, .last_remaining = -1},
        .effective = 1,
        .scan_us = (double)cfg->scan_us,
        .rtt_us = (double)cfg->rtt_us,
        .overhead_us = 2 * (double)cfg->rtt_us + (double)cfg->scan_us,
        .first = 1};
    if (c->cfg.limits.max_downtime_us == 0)
        c->cfg.limits.max_downtime_us = CONVERGE_DOWNTIME_US;
    if (c->cfg.fixed_us == 0)
        c->cfg.fixed_us = CONVERGE_FIXED_US;
    c->present_bytes = (double)cfg->total_bytes;
    wws_init(&c->wws, cfg->total_bytes);
}

void
converge_sample(struct converge *c, uint64_t wire_bytes, uint64_t us)
{
    linkrate_note(&c->link, wire_bytes, us);
}

void
converge_sample_end(struct converge *c, uint64_t wire_bytes, uint64_t us)
{
    linkrate_end(&c->link, wire_bytes, us);
}

void
converge_relinked(struct converge *c)
{
    linkrate_again(&c->link);
}

void
converge_set_limit(struct converge *c, uint64_t bytes_per_s)
{
    c->link.limit = bytes_per_s;
    c->cfg.limits.bandwidth_bytes_per_s = bytes_per_s;
}

void
converge_probe(struct converge *c, uint64_t guest_us, uint64_t dirty_bytes)
{
    wws_note(&c->wws, (double)guest_us / 1e6, 0, (double)dirty_bytes, PROBE_WEIGHT);
}

void
converge_start(struct converge *c, uint64_t present_bytes, char *why)
{
    c->present_bytes = (double)present_bytes;
    wws_fit(&c->wws);
    converge_predict(c, c->present_bytes * c->first, 0);
    converge_say_start(c, why);
}

void
converge_refresh(struct converge *c, uint64_t at_us, uint64_t round_us, uint64_t left_bytes)
{
    struct converge_state st = c->st;

    c->st.at_us = (double)at_us;
    converge_predict(c, (double)left_bytes, (double)round_us);
    c->st = st;
}

void
converge_next(struct converge *c, const struct converge_round *in, struct converge_verdict *ret)
{
    double guest_s =
        ((double)in->took_us + (double)in->count_us / 2) / 1e6 * (100 - c->st.percent) / 100;
    double effective = in->dirty_bytes ? (double)in->wire_bytes / (double)in->dirty_bytes : 1;
    struct converge_judgement j = {0};
    struct converge_world w;

    c->scan_us = (double)in->count_us;
    c->rtt_us = (double)in->rtt_us;
    note_exchange(c, in);
    c->overhead_us = fmax(2 * c->rtt_us, c->exchange_us) + c->scan_us;
    c->wire_bytes += (double)in->wire_bytes;
    c->sending_us += (double)in->took_us;
    if (in->round <= 1)
        c->first = effective;
    else if (in->dirty_bytes >= (1u << 20))
        c->effective += (effective - c->effective) * (in->round == 2 ? 1 : EFFECTIVE_AGE);
    wws_note(&c->wws, guest_s, (double)(in->dirty_bytes ? in->dirty_bytes : 1),
             (double)in->remaining_bytes, in->round <= 1 ? FIRST_WEIGHT : 1);
    wws_fit(&c->wws);
    c->st.round = in->round;
    c->st.at_us = (double)in->at_us;
    c->st.last_remaining = c->st.remaining;
    c->st.remaining = (double)in->remaining_bytes;
    converge_world_now(c, &w);
    converge_judge(&c->cfg, &w, &c->st, &j);
    ret->decision = j.decision;
    ret->throttle_percent = c->st.percent;
    ret->writers_only = c->st.writers_only;
    ret->downtime_us = (uint64_t)j.downtime_us;
    ret->downtime_low_us = (uint64_t)j.downtime_low_us;
    converge_say_round(c, in, &w, &j, ret->why);
    if (j.decision == CONVERGE_ROUND || j.decision == CONVERGE_THROTTLE)
        converge_predict(c, 0, 0);
}

/* Short rounds show what a round takes beside its bytes: waking workers, the target's word. */
static void
note_exchange(struct converge *c, const struct converge_round *in)
{
    uint64_t mid = linkrate_percentile(&c->link, 50);
    double rest;

    if (in->took_us > SHORT_ROUND_US || mid == 0)
        return;
    rest = (double)in->took_us - (double)in->wire_bytes * 1e6 / (double)mid;
    if (rest < 0)
        rest = 0;
    if (c->exchange_us > 0) /* one stall is not what rounds take */
        rest = c->exchange_us + (fmin(rest, 4 * c->exchange_us + 100) - c->exchange_us) / 2;
    c->exchange_us = rest;
}

void
converge_throttle_failed(struct converge *c)
{
    c->cfg.can_throttle = false;
    c->st.percent = 0;
    c->st.throttle_spent = true;
}

uint64_t
converge_low_rate(const struct converge *c)
{
    return linkrate_percentile(&c->link, LINKRATE_LOW_PERCENT);
}

uint64_t
converge_mean_rate(const struct converge *c)
{
    return c->sending_us > 0 ? (uint64_t)(c->wire_bytes * 1e6 / c->sending_us) : 0;
}

uint64_t
converge_downtime_us(const struct converge *c, uint64_t remaining_bytes, unsigned percent)
{
    uint64_t rate = linkrate_percentile(&c->link, percent);
    struct converge_world w;
    double us;

    converge_world_now(c, &w);
    us = w.fixed_us +
         (double)remaining_bytes * w.effective * 1e6 / (double)(rate ? rate : CONVERGE_SLOW_LINK);
    return us < 9e18 ? (uint64_t)us : INT64_MAX;
}

void
converge_world_now(const struct converge *c, struct converge_world *ret)
{
    uint64_t mid = linkrate_percentile(&c->link, 50), low = converge_low_rate(c);

    *ret = (struct converge_world){.set_bytes = c->wws.set_bytes,
                                   .bytes_per_s = c->wws.bytes_per_s,
                                   .mid = (double)(mid ? mid : CONVERGE_SLOW_LINK),
                                   .low = (double)(low ? low : CONVERGE_SLOW_LINK),
                                   .effective = c->effective,
                                   .fixed_us = (double)c->cfg.fixed_us + c->scan_us + c->rtt_us +
                                               fmax(2 * c->rtt_us, c->exchange_us),
                                   .overhead_us = c->overhead_us};
}

/* --- the rule --- */

static double
sending_us(const struct converge_world *w, double bytes, double rate)
{
    return bytes * w->effective * 1e6 / rate;
}

double
converge_round_us(const struct converge_world *w, double bytes)
{
    return sending_us(w, bytes, w->mid) + w->overhead_us;
}

double
converge_left(const struct converge_world *w, double bytes, unsigned percent)
{
    return wws_after(w->set_bytes, w->bytes_per_s, bytes,
                     converge_round_us(w, bytes) / 1e6 * (100 - percent) / 100);
}

void
converge_judge(const struct converge_config *cfg, const struct converge_world *w,
               struct converge_state *st, struct converge_judgement *j)
{
    double budget = (double)cfg->limits.max_downtime_us;
    double timeout = (double)cfg->limits.completion_timeout_us, us;
    bool over, shrinks;

    *j = (struct converge_judgement){
        .downtime_us = w->fixed_us + sending_us(w, st->remaining, w->mid),
        .downtime_low_us = w->fixed_us + sending_us(w, st->remaining, w->low),
        .next_bytes = converge_left(w, st->remaining, st->percent),
        .price_us = converge_round_us(w, st->remaining)};
    j->gain_us = sending_us(w, st->remaining - j->next_bytes, w->mid);
    if (j->downtime_low_us <= budget) {
        st->within++;
        st->hopeless = 0;
        j->decision = within_is_enough(cfg, w, st, j) ? CONVERGE_SWITCH : CONVERGE_ROUND;
        return;
    }
    st->within = 0;
    us = project(cfg, w, st->remaining, st->percent, &j->rounds, &j->steady_bytes);
    over = timeout > 0 && st->at_us >= timeout;
    if (!over && us >= 0 && (timeout == 0 || st->at_us + us < timeout * LATE)) {
        st->hopeless = 0;
        j->why = CONVERGE_WHY_COMING;
        j->decision = CONVERGE_ROUND;
        return;
    }
    /* A model is a model: while what is left halves by itself, it is not believed. */
    shrinks = st->last_remaining > 0 && st->remaining < st->last_remaining / 2;
    st->hopeless = shrinks ? 0 : st->hopeless + 1;
    j->why = over                     ? CONVERGE_WHY_TIMEOUT
             : st->hopeless < CERTAIN ? CONVERGE_WHY_WATCH
             : us >= 0                ? CONVERGE_WHY_LATE
                                      : CONVERGE_WHY_NEVER;
    j->decision = j->why == CONVERGE_WHY_WATCH ? CONVERGE_ROUND : means(cfg, w, st, j);
}

/* What another round would save by what the last one did, rather than by the model: a model that
 * has seen one or two rounds may be far off, and a round within the budget costs little. */
static double
gain_by_trend(const struct converge_world *w, const struct converge_state *st)
{
    double left = sending_us(w, st->remaining, w->mid), ratio = TREND_UNKNOWN;

    if (st->last_remaining > 0)
        ratio = st->remaining / st->last_remaining;
    return ratio <= TREND ? left * (1 - ratio) : 0;
}

/* Whether to switch over at once, what is left being within the budget. */
static bool
within_is_enough(const struct converge_config *cfg, const struct converge_world *w,
                 struct converge_state *st, struct converge_judgement *j)
{
    double timeout = (double)cfg->limits.completion_timeout_us, trend = gain_by_trend(w, st);
    bool model = j->next_bytes < st->remaining * SHRINK;
    bool peak = st->within > 1 && st->remaining > st->best * NEAR_MINIMUM;

    if (st->within <= 1 || st->remaining < st->best)
        st->best = st->remaining;
    if (trend > j->gain_us || !model) {
        j->gain_us = trend;
        model = trend > 0;
    }
    if (peak && w->overhead_us < sending_us(w, st->remaining - st->best, w->mid)) {
        j->gain_us = sending_us(w, st->remaining - st->best, w->mid);
        model = true;
    }
    j->why = CONVERGE_WHY_SHRINKS;
    if (!model || j->gain_us < GAIN_MIN_US || j->gain_us * GAIN_PRICE < j->price_us)
        j->why = CONVERGE_WHY_MINIMUM;
    else if (st->within >= WITHIN_ROUNDS)
        j->why = CONVERGE_WHY_PATIENCE;
    else if (timeout > 0 && st->at_us + j->price_us + j->downtime_low_us > timeout * LATE)
        j->why = CONVERGE_WHY_HURRY;
    return j->why != CONVERGE_WHY_SHRINKS;
}

/* Rounds ahead by the model: the time until what is left is within the budget, or -1. */
static double
project(const struct converge_config *cfg, const struct converge_world *w, double remaining,
        unsigned percent, unsigned *ret_rounds, double *ret_steady)
{
    double budget = (double)cfg->limits.max_downtime_us, us = 0, bytes = remaining;
    double found = -1;
    unsigned i;

    for (i = 0; i < PROJECT_ROUNDS; i++) {
        double next = converge_left(w, bytes, percent);

        us += converge_round_us(w, bytes);
        if (w->fixed_us + sending_us(w, next, w->low) <= budget) {
            found = us;
            bytes = next;
            break;
        }
        /* The first step may well go up: what is left now may lie below where it settles. */
        if (i > 0 && next >= bytes * STUCK)
            break;
        bytes = next;
    }
    *ret_rounds = i + 1;
    *ret_steady = bytes;
    return found;
}

/* It does not get there by itself. In this order: slower, post-copy, pause; else it goes on until
 * the completion timeout. */
static enum converge_decision
means(const struct converge_config *cfg, const struct converge_world *w, struct converge_state *st,
      struct converge_judgement *j)
{
    bool over = j->why == CONVERGE_WHY_TIMEOUT;

    if (!over && throttle(cfg, w, st, j))
        return CONVERGE_THROTTLE;
    if (cfg->policy.allow_post_copy && cfg->can_post_copy)
        return CONVERGE_POSTCOPY;
    if (cfg->policy.allow_disruption) {
        /* A pause costs as much as is left: not at a peak. */
        bool low = st->last_remaining < 0 || st->remaining <= st->last_remaining * NEAR_MINIMUM;

        if (over || low)
            return CONVERGE_PAUSE;
    }
    return over ? CONVERGE_ABORT : CONVERGE_ROUND;
}

static bool
throttle(const struct converge_config *cfg, const struct converge_world *w,
         struct converge_state *st, struct converge_judgement *j)
{
    unsigned percent = 0, most = steps[ARRAY_LEN(steps) - 1];
    bool writers = st->percent == 0 || st->writers_only;

    if (!cfg->policy.allow_auto_converge || !cfg->can_throttle || st->throttle_spent)
        return false;
    if (writers && st->percent == WRITERS_MAX) {
        writers = false; /* the same for all, before more */
        percent = WRITERS_MAX;
    }
    if (writers)
        most = WRITERS_MAX;
    for (size_t i = 0; i < ARRAY_LEN(steps) && percent == 0; i++) {
        unsigned rounds;
        double steady;

        if (steps[i] <= st->percent || steps[i] > most)
            continue;
        if (steps[i] >= st->percent + THROTTLE_STEP || steps[i] == most ||
            project(cfg, w, st->remaining, steps[i], &rounds, &steady) >= 0)
            percent = steps[i];
    }
    if (percent == 0) {
        st->throttle_spent = true; /* 99 % of all, and it does not help */
        return false;
    }
    st->percent = percent;
    st->writers_only = writers;
    st->hopeless = CERTAIN - 1; /* one round shows whether that is enough */
    j->percent = percent;
    j->writers_only = writers;
    return true;
}
