/* Bandwidth on virtual time: the token bucket against the plain sum of what it let through, the
 * allocation against tables and the properties of a weighted max-min fair one, and migrations that
 * come, go, idle and change their limits under one cap. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "migrate/share.h"

#define MIB    (UINT64_C(1) << 20)
#define SECOND UINT64_C(1000000)

/* --- bucket --- */

#define TRACE_MAX 400000

/* What one bucket let through, and when. */
static struct {
    uint64_t at_us[TRACE_MAX], sum[TRACE_MAX];
    size_t len;
} trace;

static void
note(uint64_t now, uint64_t bytes)
{
    assert_true(trace.len < TRACE_MAX);
    trace.at_us[trace.len] = now;
    trace.sum[trace.len] = bytes + (trace.len ? trace.sum[trace.len - 1] : 0);
    trace.len++;
}

/* The most in any window of that length, in thousandths of rate * window. */
static uint64_t
worst_permille(uint64_t rate, uint64_t window_us)
{
    uint64_t worst = 0;

    for (size_t i = 0, j = 0; i < trace.len; i++) {
        while (j < trace.len && trace.at_us[j] < trace.at_us[i] + window_us)
            j++;

        uint64_t bytes = trace.sum[j - 1] - (i ? trace.sum[i - 1] : 0);
        uint64_t may = (uint64_t)((unsigned __int128)rate * window_us / SECOND);
        uint64_t permille = bytes * 1000 / may;

        worst = permille > worst ? permille : worst;
    }
    return worst;
}

static const struct bucket_row {
    const char *name;
    uint64_t rate;
    unsigned senders;
    bool late; /* they come back later than they were told */
} bucket_rows[] = {
    {"256 KiB/s", 256 << 10, 1, false},       {"1 MiB/s", MIB, 1, false},
    {"1 MiB/s, 4 senders", MIB, 4, false},    {"1 MiB/s, 4 late ones", MIB, 4, true},
    {"100 MB/s, 2", 100000000, 2, false},     {"1 GiB/s", 1024 * MIB, 1, false},
    {"1 GiB/s, 4 late", 1024 * MIB, 4, true}, {"7 GB/s, 8", 7000000000u, 8, false},
};

static void
test_bucket(void **state)
{
    const struct bucket_row *r = *state;
    struct bucket b;
    uint64_t now = SECOND, next[8] = {0};
    struct rng rng;

    rng_seed(&rng, r->rate);
    trace.len = 0;
    bucket_init(&b, r->rate);
    for (unsigned i = 0; i < r->senders; i++)
        next[i] = now;
    while (now < 4 * SECOND) {
        unsigned who = 0;

        for (unsigned i = 1; i < r->senders; i++)
            who = next[i] < next[who] ? i : who;
        now = next[who] > now ? next[who] : now;

        uint64_t bytes = bucket_batch(&b, 1 << 20), wait = bucket_take(&b, bytes, now);

        assert_true(wait <= BUCKET_SLICE_US);
        if (wait == 0)
            note(now, bytes);
        next[who] = now + wait + 1 + (r->late ? rng_below(&rng, 8000) : 0);
    }

    uint64_t worst = worst_permille(r->rate, SECOND);
    uint64_t all = trace.sum[trace.len - 1] * 1000 / (r->rate * 3);

    print_message("# %s: at most %.1f %% in a second, %.1f %% in all\n", r->name,
                  (double)worst / 10, (double)all / 10);
    assert_true(worst <= 1030);
    assert_true(all >= 970 && all <= 1030);
    assert_int_equal(bucket_taken(&b), trace.sum[trace.len - 1]);
    bucket_done(&b);
}

static void
test_idle_time_is_not_saved_up(void **state)
{
    struct bucket b;
    uint64_t now = SECOND, got = 0;

    (void)state;
    bucket_init(&b, SECOND); /* a byte a microsecond */
    assert_int_equal(bucket_take(&b, 1, now), 0);
    now += 3600 * SECOND;
    while (bucket_take(&b, 1000, now) == 0)
        got += 1000;
    assert_true(got >= BUCKET_BURST_US && got <= BUCKET_BURST_US + 2000);
    bucket_done(&b);
}

static void
test_no_limit(void **state)
{
    struct bucket b;

    (void)state;
    bucket_init(&b, 0);
    assert_int_equal(bucket_take(&b, UINT64_MAX / 4, 5), 0);
    assert_int_equal(bucket_batch(&b, 1 << 20), 1 << 20);
    bucket_done(&b);
}

/* What cannot wait goes at once, and the others wait for as long as it takes to pay for it. */
static void
test_charge(void **state)
{
    struct bucket b;
    uint64_t now = SECOND;

    (void)state;
    bucket_init(&b, SECOND); /* a byte a microsecond */
    assert_int_equal(bucket_take(&b, 1, now), 0);
    bucket_charge(&b, 50000, now);
    assert_int_equal(bucket_taken(&b), 50001);
    assert_int_equal(bucket_take(&b, 1, now), BUCKET_SLICE_US);
    assert_true(bucket_take(&b, 1, now + 49990) > 0);
    assert_int_equal(bucket_take(&b, 1, now + 50010), 0);
    bucket_set_rate(&b, 0, now + 50010);
    bucket_charge(&b, 50000, now + 50010);
    assert_int_equal(bucket_take(&b, 1, now + 50010), 0);
    bucket_done(&b);
}

/* A batch that was large under the old rate is no silence of minutes under the new one, nor is what
 * was saved up under a high rate spent at once under a low one. */
static void
test_rate_changes(void **state)
{
    struct bucket b;
    uint64_t now = SECOND, got = 0;

    (void)state;
    bucket_init(&b, 1000 * MIB);
    assert_int_equal(bucket_take(&b, MIB, now), 0); /* a millisecond of debt */
    bucket_set_rate(&b, 10000, now);
    assert_true(bucket_take(&b, 1000, now) <= 1100);
    assert_int_equal(bucket_take(&b, 1000, now + 1100), 0);

    bucket_set_rate(&b, 1000 * MIB, now);
    now += SECOND;
    (void)bucket_take(&b, 1, now); /* full: 20 MiB in store */
    bucket_set_rate(&b, MIB, now);
    while (bucket_take(&b, 4096, now) == 0)
        got += 4096;
    assert_int_equal(got, 4096);
    bucket_set_rate(&b, 0, now);
    assert_int_equal(bucket_take(&b, 1 << 30, now), 0);
    bucket_done(&b);
}

/* --- allocation --- */

#define CLAIMS_MAX 8

static const struct allocate_row {
    const char *name;
    uint64_t cap;
    struct share_claim claims[CLAIMS_MAX];
    uint64_t want[CLAIMS_MAX];
    size_t len;
} allocate_rows[] = {
    {"one has all", 100, {{1, 0}}, {100}, 1},
    {"one under its limit", 100, {{1, 30}}, {30}, 1},
    {"limit above the cap", 100, {{1, 300}}, {100}, 1},
    {"two alike", 100, {{1, 0}, {1, 0}}, {50, 50}, 2},
    {"by weight", 100, {{1, 0}, {3, 0}}, {25, 75}, 2},
    {"the rest goes to who can use it", 100, {{1, 10}, {1, 0}}, {10, 90}, 2},
    {"the rest by weight", 100, {{2, 10}, {1, 0}, {2, 0}}, {10, 30, 60}, 3},
    {"satisfied one after another", 120, {{1, 10}, {1, 35}, {1, 50}, {1, 0}}, {10, 35, 37, 37}, 4},
    {"all satisfied", 100, {{1, 10}, {9, 20}}, {10, 20}, 2},
    {"exactly satisfied", 100, {{1, 50}, {1, 50}}, {50, 50}, 2},
    {"a great weight cannot take more than it wants", 100, {{1000, 10}, {1, 0}}, {10, 90}, 2},
    {"nothing is never given: 0 is no limit", 2, {{1, 0}, {1000, 0}, {1, 0}}, {1, 1, 1}, 3},
    {"no cap: the limits alone", 0, {{1, 0}, {1, 7}}, {0, 7}, 2},
    {"no overflow",
     UINT64_MAX / 4,
     {{1000, UINT64_MAX / 2}, {1000, 0}},
     {UINT64_MAX / 8, UINT64_MAX / 8},
     2},
};

static void
test_allocate(void **state)
{
    const struct allocate_row *r = *state;
    uint64_t got[CLAIMS_MAX];

    share_allocate(r->cap, r->claims, r->len, got);
    for (size_t i = 0; i < r->len; i++)
        if (got[i] != r->want[i])
            fail_msg("%s: [%zu] %llu, want %llu", r->name, i, (unsigned long long)got[i],
                     (unsigned long long)r->want[i]);
}

/* What "weighted max-min fair" means, on random cases. */
static void
test_allocate_properties(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        struct share_claim c[CLAIMS_MAX], shuffled[CLAIMS_MAX];
        uint64_t got[CLAIMS_MAX], again[CLAIMS_MAX], sum = 0, cap;
        size_t n, turn;
        bool hungry = false;
        struct rng rng;

        rng_seed(&rng, seed);
        n = 1 + rng_below(&rng, CLAIMS_MAX);
        cap = 1000 + rng_below(&rng, 1u << (10 + rng_below(&rng, 20)));
        for (size_t i = 0; i < n; i++)
            c[i] = (struct share_claim){.weight = 1 + (uint32_t)rng_below(&rng, 10),
                                        .want = rng_below(&rng, 3) ? 1 + rng_below(&rng, cap) : 0};
        share_allocate(cap, c, n, got);
        for (size_t i = 0; i < n; i++) {
            sum += got[i];
            if (got[i] < 1 || (c[i].want && got[i] > c[i].want))
                fail_msg("seed %llu: [%zu] has %llu", (unsigned long long)seed, i,
                         (unsigned long long)got[i]);
            hungry = hungry || !c[i].want || got[i] < c[i].want;
        }
        if (sum > cap || (hungry && sum + n < cap))
            fail_msg("seed %llu: %llu of %llu are given", (unsigned long long)seed,
                     (unsigned long long)sum, (unsigned long long)cap);
        for (size_t i = 0; i < n; i++) /* one that lacks has as much for its weight as any */
            for (size_t j = 0; j < n && (!c[i].want || got[i] < c[i].want); j++)
                if (got[j] * c[i].weight > (got[i] + 1) * c[j].weight)
                    fail_msg("seed %llu: [%zu] has more than [%zu], which lacks",
                             (unsigned long long)seed, j, i);
        turn = rng_below(&rng, n);
        for (size_t i = 0; i < n; i++)
            shuffled[i] = c[(i + turn) % n];
        share_allocate(cap, shuffled, n, again);
        for (size_t i = 0; i < n; i++)
            if (again[i] != got[(i + turn) % n])
                fail_msg("seed %llu: the order matters", (unsigned long long)seed);
    }
}

/* --- migrations under one cap --- */

#define CAP (100 * MIB)

/* Senders on virtual time: each sends as much as it may, or pauses. */
struct sender {
    struct share_member m;
    bool idle;
    uint64_t next_us, sent;
};

struct world {
    struct share *s;
    uint64_t now;
    struct sender *senders[4];
    size_t len;
};

static void
add(struct world *w, struct sender *x, uint32_t weight, uint64_t limit)
{
    memset(x, 0, sizeof *x);
    share_join(w->s, &x->m, weight, limit, w->now);
    w->senders[w->len++] = x;
}

static void
run_for(struct world *w, uint64_t us)
{
    uint64_t until = w->now + us;

    for (size_t i = 0; i < w->len; i++)
        w->senders[i]->sent = 0;
    for (; w->now < until; w->now += 100) {
        for (size_t i = 0; i < w->len; i++) {
            struct sender *x = w->senders[i];

            if (w->now % 50000 == 0)
                share_look(&x->m, w->now);
            while (!x->idle && x->next_us <= w->now) {
                uint64_t bytes = bucket_batch(&x->m.bucket, 1 << 20);
                uint64_t wait = share_take(&x->m, bytes, w->now);

                if (wait == 0)
                    x->sent += bytes;
                x->next_us = w->now + (wait ? wait : 20);
            }
        }
    }
}

/* Whether x sent at that rate in the last run of us microseconds, within 3 %. */
static void
check_rate(const struct sender *x, uint64_t us, double mib_per_s, const char *what)
{
    double got = (double)x->sent / (double)MIB / ((double)us / 1e6);

    if (got > mib_per_s * 1.03 || got < mib_per_s * 0.97)
        fail_msg("%s: %.2f MiB/s, want %.2f", what, got, mib_per_s);
}

static void
begin(struct world *w)
{
    *w = (struct world){.s = share_new(), .now = SECOND};
    share_set_caps(w->s, CAP, 0, w->now);
}

static void
end(struct world *w)
{
    while (w->len > 0)
        share_leave(&w->senders[--w->len]->m, w->now);
    assert_int_equal(share_members(w->s), 0);
    share_free(w->s);
}

static void
test_come_and_go(void **state)
{
    struct world w;
    struct sender a, b, c;

    (void)state;
    begin(&w);
    add(&w, &a, 1, 0);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 100, "alone");
    add(&w, &b, 3, 0);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 25, "a beside b");
    check_rate(&b, SECOND, 75, "b beside a");
    add(&w, &c, 1, 10 * MIB);
    run_for(&w, SECOND);
    check_rate(&c, SECOND, 10, "c has its own limit");
    check_rate(&a, SECOND, 22.5, "a shares the rest");
    check_rate(&b, SECOND, 67.5, "b shares the rest");
    share_leave(&b.m, w.now);
    w.senders[1] = &c;
    w.len = 2;
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 90, "a when b has gone");
    end(&w);
}

/* Within 100 ms, in both directions. */
static void
test_limit_changes(void **state)
{
    struct world w;
    struct sender a, b;

    (void)state;
    begin(&w);
    add(&w, &a, 1, 0);
    add(&w, &b, 1, 0);
    run_for(&w, SECOND);
    share_set_limit(&a.m, 5 * MIB, w.now);
    run_for(&w, 100000); /* on the way */
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 5, "a limited");
    check_rate(&b, SECOND, 95, "b has the rest");
    share_set_limit(&a.m, 0, w.now);
    run_for(&w, 100000);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 50, "a free again");
    check_rate(&b, SECOND, 50, "b gives it back");
    share_set_caps(w.s, CAP, 20 * MIB, w.now);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 10, "under the link's cap");
    share_set_caps(w.s, 0, 20 * MIB, w.now);
    share_leave(&b.m, w.now);
    w.len = 1;
    assert_int_equal(share_rate(&a.m), 0); /* alone on the link */
    share_set_caps(w.s, 10 * MIB, 20 * MIB, w.now);
    assert_int_equal(share_rate(&a.m), 10 * MIB);
    share_set_caps(w.s, 0, 0, w.now);
    assert_int_equal(share_rate(&a.m), 0);
    end(&w);
}

/* What one does not use the other has within 100 ms, and gives it back within 100 ms. */
static void
test_idle_share(void **state)
{
    struct world w;
    struct sender a, b;

    (void)state;
    begin(&w);
    add(&w, &a, 1, 0);
    add(&w, &b, 1, 0);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 50, "both send");
    b.idle = true;
    run_for(&w, 100000);
    run_for(&w, SECOND);
    assert_true(a.sent > 97 * MIB);
    b.idle = false;
    run_for(&w, 100000);
    assert_true(a.sent + b.sent < CAP / 10 * 105 / 100);
    run_for(&w, SECOND);
    check_rate(&a, SECOND, 50, "both send again");
    check_rate(&b, SECOND, 50, "both send again");
    end(&w);
}

/* However they come, go, idle and change: together they stay within 3 % of the cap in any second. */
static void
test_cap_holds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        struct sender s[4];
        struct rng rng;
        uint64_t steps[40], sum = 0;

        rng_seed(&rng, seed);
        begin(&w);
        for (size_t i = 0; i < 4; i++)
            add(&w, &s[i], 1 + (uint32_t)rng_below(&rng, 5), 0);
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct sender *x = &s[rng_below(&rng, 4)];

            if (rng_below(&rng, 2))
                x->idle = !x->idle;
            else
                share_set_limit(&x->m, rng_below(&rng, 2) * (1 + rng_below(&rng, CAP)), w.now);
            run_for(&w, 100000);
            steps[k] = s[0].sent + s[1].sent + s[2].sent + s[3].sent;
            sum += steps[k];
            if (k >= 10)
                sum -= steps[k - 10];
            if (k >= 9 && sum > CAP * 103 / 100)
                fail_msg("seed %llu: %.1f MiB in a second of 100", (unsigned long long)seed,
                         (double)sum / (double)MIB);
        }
        end(&w);
    }
}

int
main(void)
{
    struct CMUnitTest buckets[ARRAY_LEN(bucket_rows)], rows[ARRAY_LEN(allocate_rows)];
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_idle_time_is_not_saved_up),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_charge),
        cmocka_unit_test(test_rate_changes),
        cmocka_unit_test(test_allocate_properties),
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_limit_changes),
        cmocka_unit_test(test_idle_share),
        cmocka_unit_test(test_cap_holds),
    };

    for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
        buckets[i] = (struct CMUnitTest){.name = bucket_rows[i].name,
                                         .test_func = test_bucket,
                                         .initial_state = (void *)(uintptr_t)&bucket_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i] = (struct CMUnitTest){.name = allocate_rows[i].name,
                                      .test_func = test_allocate,
                                      .initial_state = (void *)(uintptr_t)&allocate_rows[i]};
    return cmocka_run_group_tests_name("bucket", buckets, NULL, NULL) +
           cmocka_run_group_tests_name("allocation", rows, NULL, NULL) +
           cmocka_run_group_tests_name("shares", others, NULL, NULL);
}
