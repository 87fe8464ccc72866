/* The convergence controller on virtual time: its parts against plain definitions, its decisions
 * in a table of situations, and thousands of simulated migrations of random guests over noisy
 * links. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/simulate.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define MB  1000000ull

/* --- parts --- */

static void
test_linkrate(void **state)
{
    struct linkrate l = {0};

    (void)state;
    assert_int_equal(linkrate_percentile(&l, 50), 0);
    l.guess = 77;
    assert_int_equal(linkrate_percentile(&l, 50), 77);
    linkrate_end(&l, 1000, 1000); /* pieces too short for a sample of their own still count */
    assert_int_equal(linkrate_percentile(&l, 10), 1000000);
    for (int i = 1; i <= 10; i++)
        linkrate_note(&l, (uint64_t)i * 1000000, 100000);
    assert_in_range(linkrate_percentile(&l, 10), 9000000, 20000000);
    assert_in_range(linkrate_percentile(&l, 50), 50000000, 60000000);
    l.limit = 30000000; /* is never exceeded */
    assert_int_equal(linkrate_percentile(&l, 50), 30000000);
    l.limit = 0;
    for (int i = 0; i < LINKRATE_SAMPLES; i++)
        linkrate_end(&l, 500000, 100000); /* old ones are forgotten */
    assert_int_equal(linkrate_percentile(&l, 50), 5000000);
    /* what drains at the end belongs to what was handed over before; a short round says nothing */
    for (int i = 0; i < 100; i++) {
        linkrate_note(&l, 1000000, 50000);
        linkrate_end(&l, 0, 50000);
        linkrate_end(&l, 10, 15000);
    }
    assert_int_equal(linkrate_percentile(&l, 0), 10000000);
    assert_int_equal(linkrate_percentile(&l, 100), 10000000);
    /* a slow link: a batch now and then; the time between belongs to it */
    for (int i = 0; i < 5 * (LINKRATE_SAMPLES + 1); i++)
        linkrate_note(&l, i % 5 == 4 ? 500000 : 0, 50000);
    assert_int_equal(linkrate_percentile(&l, 0), 2000000);
    assert_int_equal(linkrate_percentile(&l, 100), 2000000);
    /* a cut: what was known of the link stays known */
    for (int i = 0; i < 10 * LINKRATE_SAMPLES; i++)
        linkrate_note(&l, 0, 50000);
    linkrate_end(&l, 0, 50000);
    assert_int_equal(linkrate_percentile(&l, 10), 2000000);
    /* small rounds on a busy machine: what takes the time is not the link */
    for (int i = 0; i < LINKRATE_SAMPLES; i++) {
        linkrate_note(&l, 40, 60000);
        linkrate_note(&l, 0, 60000);
        linkrate_end(&l, 200000, 60000);
    }
    assert_int_equal(linkrate_percentile(&l, 0), 2000000);
    /* but a link that has become slow is noticed in a round that goes on */
    for (int i = 0; i < 20 * (LINKRATE_SAMPLES + 1); i++)
        linkrate_note(&l, 1000, 50000);
    assert_int_equal(linkrate_percentile(&l, 50), 20000);
    /* and when it is fast again, small rounds are enough to know */
    linkrate_end(&l, 0, 0);
    for (int i = 0; i < LINKRATE_SAMPLES; i++)
        linkrate_end(&l, 200000, 60000);
    assert_in_range(linkrate_percentile(&l, 10), 3300000, 3400000);
    /* another connection: a guess until there is something better */
    linkrate_again(&l);
    assert_in_range(linkrate_percentile(&l, 10), 3300000, 3400000);
    linkrate_end(&l, 1000000, 100000);
    assert_int_equal(linkrate_percentile(&l, 10), 10000000);
}

/* The closed form against a guest that writes random pages one at a time, pages being sent (and
 * armed again) in order meanwhile. */
static void
test_wws_after(void **state)
{
    enum { PAGES = 20000, STEPS = 30000 };
    static uint32_t written[PAGES];
    struct rng r;

    (void)state;
    rng_seed(&r, 4);
    for (unsigned sent = 0; sent <= PAGES; sent += PAGES / 4) {
        double model;
        unsigned dirty = 0;

        memset(written, 0, sizeof written);
        for (uint32_t i = 1; i <= STEPS; i++)
            written[rng_below(&r, PAGES)] = i;
        for (unsigned i = 0; i < PAGES; i++)
            dirty += written[i] > (i < sent ? (uint64_t)STEPS * i / (sent ? sent : 1) : 0);
        model = wws_after(PAGES, STEPS, sent, 1);
        assert_true(fabs(model - dirty) < 0.02 * dirty);
    }
    assert_true(wws_after(0, 5, 5, 5) == 0 && wws_after(5, 0, 5, 5) == 0);
    assert_true(wws_after(1e6, 1e-3, 0, 1) > 0.0009); /* no loss of digits at slow rates */
}

/* A set and a rate are found again from noisy probes and rounds; one wild point does not matter. */
static void
test_wws_fit(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 8);
    for (int i = 0; i < 300; i++) {
        double set = (double)(1 + rng_below(&r, 1000)) * MIB, rate = set * (0.5 + i % 7);
        struct wws w;

        wws_init(&w, 4 * GIB);
        for (int k = 0; k < 5; k++) {
            double t = 0.05 * pow(3, k), noise = 0.95 + (double)rng_below(&r, 100) / 1000;

            wws_note(&w, t, k > 1 ? set / 2 : 0,
                     wws_after(set, rate, k > 1 ? set / 2 : 0, t) * (k == i % 5 ? noise : 1), 1);
        }
        if (i % 2)
            wws_note(&w, 1, set, set / 20, 0.3);
        wws_fit(&w);
        for (int k = 0; k < 6; k++) {
            double t = 0.1 * (1 << k);

            assert_true(fabs(log(wws_after(w.set_bytes, w.bytes_per_s, set, t) /
                                 wws_after(set, rate, set, t))) < 0.2);
        }
    }
}

static void
test_wws_extremes(void **state)
{
    struct wws w;

    (void)state;
    wws_init(&w, GIB);
    wws_fit(&w);
    assert_false(wws_known(&w));
    assert_true(w.set_bytes == 0);
    wws_note(&w, 0.1, 0, 0, 1);
    wws_note(&w, 0.2, 0, 0, 1);
    wws_fit(&w);
    assert_true(wws_known(&w) && w.set_bytes == 0); /* an idle guest */
    wws_note(&w, 0, 0, 5e9, 1);                     /* no time: no measurement */
    assert_int_equal(w.len, 2);
    for (int i = 0; i < 100; i++)
        wws_note(&w, 1e-6, 1e12, 1e12, 1); /* more than there is */
    wws_fit(&w);
    assert_int_equal(w.len, WWS_POINTS);
    assert_true(w.set_bytes <= (double)GIB && isfinite(w.bytes_per_s) && isfinite(w.spread));
}

/* --- decisions --- */

struct situation {
    const char *name;
    uint64_t rate; /* of the link */
    uint64_t max_downtime_ms, timeout_s;
    const char *allowed;       /* a: auto-converge, p: post-copy, d: disruption */
    const char *cannot;        /* t: throttle, p: post-copy */
    uint64_t remaining_mb[12]; /* after each round; 0 ends */
    /* what is expected */
    unsigned after; /* round; 0 = nothing but rounds */
    enum converge_decision decision;
    const char *says;
};

static const struct situation situations[] = {
    {"nothing left", 1000, 0, 0, "", "", {1}, 1, CONVERGE_SWITCH, "switch over"},
    {"within the budget but still shrinking: on to the minimum",
     1000,
     0,
     0,
     "",
     "",
     {200, 60, 18, 5, 1},
     5,
     CONVERGE_SWITCH,
     "another round would"},
    {"within the budget and not shrinking",
     1000,
     0,
     0,
     "",
     "",
     {100, 99},
     2,
     CONVERGE_SWITCH,
     "switch over"},
    {"a small budget", 1000, 20, 0, "", "", {100, 30, 9, 8}, 4, CONVERGE_SWITCH, "<= 20 ms"},
    {"never within the budget, nothing allowed",
     1000,
     0,
     0,
     "",
     "",
     {900, 900, 900, 900, 900, 900},
     0,
     CONVERGE_ROUND,
     "nothing that the"},
    {"it would never end: slowed down",
     1000,
     0,
     0,
     "apd",
     "",
     {900, 900, 900},
     2,
     CONVERGE_THROTTLE,
     "slow the writers down by"},
    {"auto-converge is not supported: post-copy",
     1000,
     0,
     0,
     "apd",
     "t",
     {900, 900, 900},
     2,
     CONVERGE_POSTCOPY,
     "by post-copy"},
    {"allowed, but the target cannot: pause",
     1000,
     0,
     0,
     "pd",
     "p",
     {900, 900, 900},
     2,
     CONVERGE_PAUSE,
     "pause the guest for"},
    {"pause only where it is allowed",
     1000,
     0,
     0,
     "p",
     "p",
     {900, 900, 900, 900},
     0,
     CONVERGE_ROUND,
     "nothing that the"},
    {"not at a peak", 1000, 0, 0, "d", "", {900, 1400, 900}, 3, CONVERGE_PAUSE, "pause"},
    {"the completion timeout: post-copy at the end of the round",
     1000,
     0,
     1,
     "p",
     "",
     {900, 900},
     1,
     CONVERGE_POSTCOPY,
     "timeout of 1.0 s is over"},
    {"the completion timeout: abort", 1000, 0, 1, "", "", {900, 900}, 1, CONVERGE_ABORT, "abort"},
    {"shrinks by half again and again: waited for",
     100,
     0,
     0,
     "d",
     "",
     {900, 440, 215, 107, 52, 24},
     0,
     CONVERGE_ROUND,
     "another round"},
    {"slow link", 1, 0, 0, "", "", {4, 3, 2}, 0, CONVERGE_ROUND, ">"},
};

static void
test_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(situations); i++) {
        const struct situation *s = &situations[i];
        struct converge_config cfg = {.total_bytes = 4 * GIB,
                                      .limits = {.max_downtime_us = s->max_downtime_ms * 1000,
                                                 .completion_timeout_us = s->timeout_s * 1000000},
                                      .policy = {.allow_auto_converge = strchr(s->allowed, 'a'),
                                                 .allow_post_copy = strchr(s->allowed, 'p'),
                                                 .allow_disruption = strchr(s->allowed, 'd')},
                                      .can_throttle = !strchr(s->cannot, 't'),
                                      .can_post_copy = !strchr(s->cannot, 'p')};
        uint64_t dirty = 4 * GIB, at = 0, rate = s->rate * MB;
        struct converge_verdict v = {.decision = CONVERGE_ROUND};
        char why[MIG_DECISION_TEXT];
        struct converge c;
        unsigned round = 0;

        converge_init(&c, &cfg);
        converge_start(&c, 4 * GIB, why);
        for (int k = 0; k < 8; k++)
            converge_sample(&c, rate / 10, 100000);
        while (s->remaining_mb[round] && v.decision == CONVERGE_ROUND) {
            uint64_t left = s->remaining_mb[round] == 1 ? 0 : s->remaining_mb[round] * MB;
            uint64_t us = dirty * 1000000 / rate;

            at += us;
            round++;

            struct converge_round in = {.round = round,
                                        .at_us = at,
                                        .took_us = us,
                                        .count_us = 500,
                                        .rtt_us = 200,
                                        .dirty_bytes = dirty,
                                        .wire_bytes = dirty,
                                        .remaining_bytes = left};

            converge_next(&c, &in, &v);
            dirty = left;
        }
        if (v.decision == CONVERGE_ROUND)
            round = 0;
        if (round != s->after || v.decision != s->decision || !strstr(v.why, s->says))
            fail_msg("%s: %s after round %u: %s", s->name, converge_decision_name(v.decision),
                     round, v.why);
    }
}

/* Steps of throttling: writers first, upwards, then all; then the next means. And it says so. */
static void
test_throttle_steps(void **state)
{
    struct converge_config cfg = {.total_bytes = 4 * GIB,
                                  .policy = {.allow_auto_converge = true, .allow_disruption = true},
                                  .can_throttle = true};
    struct converge_verdict v = {0};
    unsigned steps = 0, last = 0;
    bool all = false;
    struct converge c;

    (void)state;
    converge_init(&c, &cfg);
    for (int k = 0; k < 8; k++)
        converge_sample(&c, 100 * MB, 100000);
    for (uint32_t round = 1; round < 40 && v.decision != CONVERGE_PAUSE; round++) {
        struct converge_round in = {.round = round,
                                    .at_us = round * 1000000ull,
                                    .took_us = 1000000,
                                    .dirty_bytes = 900 * MB,
                                    .wire_bytes = 900 * MB,
                                    .remaining_bytes = 900 * MB}; /* whatever is done */

        converge_next(&c, &in, &v);
        if (v.decision != CONVERGE_THROTTLE)
            continue;
        steps++;
        assert_true(v.throttle_percent > last || (!v.writers_only && !all));
        assert_true(v.throttle_percent <= 99 && v.throttle_percent >= 20);
        assert_non_null(strstr(v.why, v.writers_only ? "the writers" : "the whole guest"));
        assert_false(all && v.writers_only);
        all = !v.writers_only;
        last = v.throttle_percent;
    }
    assert_int_equal(v.decision, CONVERGE_PAUSE);
    assert_in_range(steps, 4, 12);
    assert_true(all);
    assert_int_equal(last, 99);
    /* where it fails it is not tried again */
    converge_init(&c, &cfg);
    converge_throttle_failed(&c);
    for (uint32_t round = 1; round < 10; round++) {
        struct converge_round in = {.round = round,
                                    .at_us = round * 1000000ull,
                                    .took_us = 1000000,
                                    .dirty_bytes = 900 * MB,
                                    .wire_bytes = 900 * MB,
                                    .remaining_bytes = 900 * MB};

        converge_next(&c, &in, &v);
        assert_int_not_equal(v.decision, CONVERGE_THROTTLE);
    }
}

/* Numbers of a sentence are those of the situation. */
static void
test_sentence(void **state)
{
    struct converge_config cfg = {
        .total_bytes = 4 * GIB, .limits.max_downtime_us = 150000, .fixed_us = 37400};
    struct converge_round in = {.round = 5,
                                .at_us = 9000000,
                                .took_us = 300000,
                                .rtt_us = 200,
                                .dirty_bytes = 300 * MIB,
                                .wire_bytes = 300 * MIB,
                                .remaining_bytes = 210 * MIB};
    struct converge_verdict v;
    struct converge c;

    (void)state;
    converge_init(&c, &cfg);
    for (int k = 0; k < 20; k++)
        converge_sample(&c, (k % 5 ? 110 : 90) * MB, 100000);
    converge_next(&c, &in, &v);
    if (strncmp(v.why,
                "round 5: 210.0 MiB remain, 1.10 GB/s (p10 900 MB/s): predicted downtime 245 ms + "
                "38 ms fixed > 150 ms",
                100) != 0)
        fail_msg("%s", v.why);
    assert_true(strlen(v.why) < MIG_DECISION_TEXT - 1);
}

/* --- whole migrations --- */

static struct simulate_config
random_guest(struct rng *r, uint64_t seed, unsigned most_percent)
{
    struct simulate_config c = {.noise_permille = 50, .seed = seed};

    c.memory_bytes = (256 * MIB) << rng_below(r, 7);
    c.bandwidth_bytes_per_s = 50 * MB * (1 + rng_below(r, 60));
    c.set_bytes = c.memory_bytes / 1000 * (1 + rng_below(r, 900));
    c.dirty_bytes_per_s = c.bandwidth_bytes_per_s / 100 * rng_below(r, most_percent);
    c.limits.completion_timeout_us = c.memory_bytes / MIB * 800 * 1000000 / 1024;
    c.limits.progress_timeout_us = 150000000;
    c.policy.allow_auto_converge = rng_below(r, 2);
    c.policy.allow_post_copy = rng_below(r, 2);
    c.policy.allow_disruption = rng_below(r, 2);
    return c;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct accuracy {
    double total[4000], down[4000];
    unsigned len, total_covered, down_covered;
};

static void
check_one(const struct simulate_config *c, const struct simulate_result *r, struct accuracy *a)
{
    const struct simulate_round *last = &r->rounds[r->rounds_len - 1];
    bool any =
        c->policy.allow_auto_converge || c->policy.allow_post_copy || c->policy.allow_disruption;

    /* an end, and no worse one than is allowed */
    assert_in_range(r->rounds_len, 1, 4000);
    if (any)
        assert_in_range(r->rounds_len, 1, 60);
    if (r->throttle_percent)
        assert_true(c->policy.allow_auto_converge);
    if (!r->succeeded) {
        assert_non_null(r->limit);
        assert_non_null(strstr(r->reason, r->limit));
        assert_false(c->policy.allow_post_copy || c->policy.allow_disruption);
        return;
    }
    assert_true(r->mode != MIG_MODE_POSTCOPY || c->policy.allow_post_copy);
    assert_true(r->mode != MIG_MODE_PAUSED || c->policy.allow_disruption);
    /* within the budget; noise of the last moment aside */
    if (r->mode != MIG_MODE_PAUSED)
        assert_true(r->downtime_us <= 345000);
    for (const struct simulate_round *k = r->rounds; k < last; k++)
        assert_true(strlen(k->why) > 20);
    a->total[a->len] =
        fabs((double)r->prediction.total_p50_us - (double)r->total_us) / (double)r->total_us;
    a->down[a->len] = fabs((double)r->prediction.downtime_p50_us - (double)r->downtime_us);
    a->down[a->len] = a->down[a->len] < 5000 ? 0 : a->down[a->len] / (double)r->downtime_us;
    a->total_covered += r->prediction.total_p90_us >= r->total_us;
    a->down_covered += r->prediction.downtime_p90_us >= r->downtime_us;
    a->len++;
}

/* Thousands of guests: from idle to twice the link's speed, sets from nothing to all of memory. */
static void
test_random_guests(void **state)
{
    static struct accuracy a;
    struct rng r;

    (void)state;
    rng_seed(&r, 20);
    memset(&a, 0, sizeof a);
    for (uint64_t i = 0; i < 2000; i++) {
        struct simulate_config c = random_guest(&r, i, 200);
        struct simulate_result res;

        assert_int_equal(simulate_run(&c, &res, NULL), 0);
        check_one(&c, &res, &a);
        simulate_result_done(&res);
    }
    qsort(a.total, a.len, sizeof a.total[0], by_value);
    qsort(a.down, a.len, sizeof a.down[0], by_value);
    print_message("# %u migrations: total off by %.1f %% (median), %.1f %% (p90), P90 covers %.1f "
                  "%%; downtime off by %.1f %% (median; less than 5 ms is 0), P90 covers %.1f %%\n",
                  a.len, a.total[a.len / 2] * 100, a.total[a.len * 9 / 10] * 100,
                  100.0 * a.total_covered / a.len, a.down[a.len / 2] * 100,
                  100.0 * a.down_covered / a.len);
    assert_true(a.len > 1800);
    assert_true(a.total[a.len / 2] < 0.15);
    assert_true(a.total_covered >= a.len * 9 / 10);
    assert_true(a.down[a.len / 2] < 0.10);
    assert_true(a.down_covered >= a.len * 9 / 10);
}

/* A light writer: what it waits for is short, whatever the budget would allow. */
static void
test_light_writer(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 21);
    for (uint64_t i = 0; i < 300; i++) {
        struct simulate_config c = {.memory_bytes = 2 * GIB,
                                    .set_bytes = (64 + rng_below(&r, 1900)) * MIB,
                                    .bandwidth_bytes_per_s = 1000 * MB + rng_below(&r, 3000 * MB),
                                    .noise_permille = 30,
                                    .fixed_us = 3000,
                                    .seed = i};
        struct simulate_result res;

        c.dirty_bytes_per_s = c.bandwidth_bytes_per_s / 4;
        assert_int_equal(simulate_run(&c, &res, NULL), 0);
        assert_true(res.succeeded && res.mode == MIG_MODE_PRECOPY);
        if (res.downtime_us > 10000)
            fail_msg("seed %d: %.1f ms", (int)i, (double)res.downtime_us / 1e3);
        simulate_result_done(&res);
    }
}

/* More bandwidth is never predicted to take longer, nor does it. */
static void
test_monotone(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 22);
    for (int i = 0; i < 100; i++) {
        struct simulate_config c = random_guest(&r, (uint64_t)i, 60);
        uint64_t predicted = UINT64_MAX, real = UINT64_MAX;

        c.noise_permille = 0;
        c.policy = (struct mig_policy){0};
        for (int k = 0; k < 5; k++) {
            struct simulate_result res;

            assert_int_equal(simulate_run(&c, &res, NULL), 0);
            assert_true(res.prediction.known);
            assert_true(res.prediction.total_p50_us <= predicted);
            assert_true(res.total_us <= real);
            assert_true(res.prediction.total_p90_us >= res.prediction.total_p50_us);
            assert_true(res.prediction.downtime_p90_us >= res.prediction.downtime_p50_us);
            predicted = res.prediction.total_p50_us;
            real = res.total_us;
            simulate_result_done(&res);
            c.bandwidth_bytes_per_s *= 2;
        }
    }
}

static void
test_same_again(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 23);
    for (uint64_t i = 0; i < 50; i++) {
        struct simulate_config c = random_guest(&r, i, 200);
        struct simulate_result a, b;

        assert_int_equal(simulate_run(&c, &a, NULL), 0);
        assert_int_equal(simulate_run(&c, &b, NULL), 0);
        assert_int_equal(a.rounds_len, b.rounds_len);
        assert_int_equal(a.total_us, b.total_us);
        assert_string_equal(a.start, b.start);
        for (uint32_t k = 0; k < a.rounds_len; k++)
            assert_string_equal(a.rounds[k].why, b.rounds[k].why);
        simulate_result_done(&a);
        simulate_result_done(&b);
    }
}

static void
test_simulate_refuses(void **state)
{
    static const struct simulate_config rows[] = {
        {.memory_bytes = 0, .bandwidth_bytes_per_s = 1},
        {.memory_bytes = GIB, .bandwidth_bytes_per_s = 0},
        {.memory_bytes = GIB, .bandwidth_bytes_per_s = 1, .set_bytes = GIB + 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct simulate_result r;
        struct err err = {0};

        assert_true(simulate_run(&rows[i], &r, &err) < 0);
        assert_true(err_msg(&err)[0] != '\0');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linkrate),     cmocka_unit_test(test_wws_after),
        cmocka_unit_test(test_wws_fit),      cmocka_unit_test(test_wws_extremes),
        cmocka_unit_test(test_decisions),    cmocka_unit_test(test_throttle_steps),
        cmocka_unit_test(test_sentence),     cmocka_unit_test(test_random_guests),
        cmocka_unit_test(test_light_writer), cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_same_again),   cmocka_unit_test(test_simulate_refuses),
    };

    return cmocka_run_group_tests_name("converge", tests, NULL, NULL);
}
