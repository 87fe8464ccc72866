/* Metrics in Prometheus' text format: byte by byte, through a strict reader, and within bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/metrics.h"
#include "base/rng.h"
#include "tests/exposition.h"

static const double buckets[] = {0.5, 1, 2.5};

static const struct metric_def defs[] = {
    {.name = "a_total", .type = METRIC_COUNTER, .help = "One \\ and\nanother \"line\"."},
    {.name = "g", .type = METRIC_GAUGE, .help = "A gauge.", .labels = {"namespace", "name"}},
    {.name = "h_seconds",
     .type = METRIC_HISTOGRAM,
     .help = "A histogram.",
     .labels = {"phase"},
     .buckets = buckets,
     .buckets_len = 3},
    {.name = "p", .type = METRIC_HISTOGRAM, .help = "Plain.", .buckets = buckets, .buckets_len = 1},
    {.name = "never", .type = METRIC_GAUGE, .help = "Not set."},
};

enum { A, G, H, P };

#define DROPPED(n)                                                                               \
    "# HELP drover_metrics_dropped_series_total Series that were left out because their metric " \
    "has too many.\n# TYPE drover_metrics_dropped_series_total counter\n"                        \
    "drover_metrics_dropped_series_total " n "\n"

static void
test_text(void **state)
{
    struct metrics *m = metrics_new(defs, ARRAY_LEN(defs));
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    metrics_add(m, A, NULL, 2);
    metrics_add(m, A, NULL, 40);
    metrics_set(m, G, (const char *[]){"shop", "a \"b\"\\c\nd"}, 1.5);
    metrics_set(m, G, (const char *[]){"shop", NULL}, 1e18);
    metrics_set(m, G, (const char *[]){"shop", "n"}, NAN);
    metrics_set(m, G, (const char *[]){"shop", "n"}, -INFINITY);
    metrics_observe(m, H, (const char *[]){"x"}, 0.5);
    metrics_observe(m, H, (const char *[]){"x"}, 2);
    metrics_observe(m, H, (const char *[]){"x"}, 99);
    metrics_observe_n(m, P, NULL, 0.25, 4);
    metrics_text(m, &out);
    assert_string_equal(sb_str(&out), "# HELP a_total One \\\\ and\\nanother \"line\".\n"
                                      "# TYPE a_total counter\n"
                                      "a_total 42\n"
                                      "# HELP g A gauge.\n"
                                      "# TYPE g gauge\n"
                                      "g{namespace=\"shop\",name=\"a \\\"b\\\"\\\\c\\nd\"} 1.5\n"
                                      "g{namespace=\"shop\",name=\"\"} 1e+18\n"
                                      "g{namespace=\"shop\",name=\"n\"} -Inf\n"
                                      "# HELP h_seconds A histogram.\n"
                                      "# TYPE h_seconds histogram\n"
                                      "h_seconds_bucket{phase=\"x\",le=\"0.5\"} 1\n"
                                      "h_seconds_bucket{phase=\"x\",le=\"1\"} 1\n"
                                      "h_seconds_bucket{phase=\"x\",le=\"2.5\"} 2\n"
                                      "h_seconds_bucket{phase=\"x\",le=\"+Inf\"} 3\n"
                                      "h_seconds_sum{phase=\"x\"} 101.5\n"
                                      "h_seconds_count{phase=\"x\"} 3\n"
                                      "# HELP p Plain.\n"
                                      "# TYPE p histogram\n"
                                      "p_bucket{le=\"0.5\"} 4\n"
                                      "p_bucket{le=\"+Inf\"} 4\n"
                                      "p_sum 1\n"
                                      "p_count 4\n" DROPPED("0"));
    metrics_free(m);
}

/* Whatever the labels hold, a strict reader takes it, and gets the values back. */
static void
test_any_labels(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct metrics *m = metrics_new(defs, ARRAY_LEN(defs));
        AUTO_SB struct sb out = SB_INIT;
        struct exposition e;
        struct rng rng;

        rng_seed(&rng, seed);
        for (int i = 0; i < 40; i++) {
            char a[24] = {0}, b[24] = {0};

            for (size_t k = 0; k < rng_below(&rng, sizeof a); k++) {
                a[k] = "\\\"\n{}=, axyz\xc3\xa4"[rng_below(&rng, 14)];
                b[k] = (char)(1 + rng_below(&rng, 127));
            }
            metrics_set(m, G, (const char *[]){a, b}, (double)rng_below(&rng, 1000) / 8);
            metrics_observe(m, H, (const char *[]){b}, (double)rng_below(&rng, 40) / 8);
            metrics_observe(m, P, NULL, (double)rng_below(&rng, 40) / 8);
        }
        metrics_text(m, &out);
        if (!exposition_read(&e, sb_str(&out)))
            fail_msg("seed %llu: %s", (unsigned long long)seed, e.error);
        exposition_done(&e);
        metrics_free(m);
    }
}

static void
test_bounds(void **state)
{
    struct metrics *m = metrics_new(defs, ARRAY_LEN(defs));
    AUTO_SB struct sb out = SB_INIT, again = SB_INIT;
    char name[300];
    struct exposition e;

    (void)state;
    for (int i = 0; i < METRICS_MAX_SERIES + 5; i++) {
        snprintf(name, sizeof name, "vm-%d", i);
        metrics_set(m, G, (const char *[]){"x", name}, i);
    }
    metrics_text(m, &out);
    assert_non_null(strstr(sb_str(&out), DROPPED("5")));
    assert_null(strstr(sb_str(&out), "vm-2000"));
    metrics_clear(m, G); /* room again */
    memset(name, 'n', sizeof name);
    name[127] = '\xc3'; /* a character of two bytes where it is cut: whole or not at all */
    name[128] = '\xa4';
    name[299] = '\0';
    metrics_set(m, G, (const char *[]){"x", name}, 1);
    metrics_text(m, &again);
    assert_true(exposition_read(&e, sb_str(&again)));
    assert_non_null(strstr(sb_str(&again), "n\xc3\xa4\"} 1\n"));
    exposition_done(&e);
    metrics_free(m);
}

/* The reader is strict: each of these is refused. */
static void
test_reader(void **state)
{
#define HEAD "# HELP a b\n# TYPE a gauge\n"
#define HIST "# HELP h b\n# TYPE h histogram\n"
    static const char *const bad[] = {
        "a 1\n",
        HEAD "a 1",
        HEAD "a\n",
        HEAD "a x\n",
        HEAD "b 1\n",
        HEAD "a{b} 1\n",
        HEAD "a{b=\"c} 1\n",
        HEAD "a{b=\"\\x\"} 1\n",
        HEAD "a{1=\"c\"} 1\n",
        HEAD "a 1\na 2\n",
        HEAD HEAD "a 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a thing\na 1\n",
        HIST "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
        HIST "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        HIST "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n",
        HIST "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n",
        HIST "h_bucket 1\n",
    };
    struct exposition e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (exposition_read(&e, bad[i]))
            fail_msg("taken: %s", bad[i]);
        exposition_done(&e);
    }
    assert_true(exposition_read(&e, HIST "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n"
                                         "h_count 1\n" HEAD "a{b=\"c\"} 1e3\n"));
    assert_string_equal(exposition_get(&e, "a|b=c"), "1e3");
    exposition_done(&e);
}

static void
test_docs(void **state)
{
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    metrics_docs(&defs[1], 1, &out);
    assert_non_null(strstr(sb_str(&out), "| `g` | gauge | `namespace`, `name` | A gauge. |\n"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_any_labels),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_reader),
        cmocka_unit_test(test_docs),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
