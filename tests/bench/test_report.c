/* Statistics, verdicts, and a report as people and programs read it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "api/tree.h"
#include "bench/bench_aes.h"
#include "bench/bench_print.h"

static void
fill(struct bench_samples *s, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bench_samples_add(s, v[i]);
}

static void
test_quantiles(void **state)
{
    static const double v[] = {5, 1, 4, 2, 3, 10, 9, 8, 7, 6};
    static const struct {
        double q, want;
    } cases[] = {{0.5, 5}, {0.25, 3}, {0.75, 8}, {0, 1}, {1, 10}, {0.99, 10}, {0.9, 9}, {0.91, 10}};
    struct bench_samples s = {0}, none = {0};

    (void)state;
    fill(&s, v, ARRAY_LEN(v));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(bench_quantile(&s, cases[i].q) == cases[i].want);
    assert_true(bench_median(&s) == 5);
    assert_true(s.v[0] == 5); /* sorted in a copy */
    assert_true(isnan(bench_median(&none)));
    bench_samples_done(&s);
    assert_int_equal(s.len, 0);
}

static void
test_quantile_of_many(void **state)
{
    struct bench_samples s = {0};

    (void)state;
    for (int i = 50; i > 0; i--)
        bench_samples_add(&s, i);
    assert_true(bench_quantile(&s, 0.99) == 50); /* of fifty runs the worst */
    assert_true(bench_quantile(&s, 0.98) == 49);
    assert_true(bench_quantile(&s, 0.5) == 25);
    bench_samples_done(&s);
}

static void
test_numbers(void **state)
{
    static const struct {
        double v;
        const char *want;
    } cases[] = {{1234.4, "1234"},  {123.4, "123"}, {12.34, "12.3"},   {1.234, "1.23"},
                 {0.1234, "0.123"}, {0, "0.000"},   {-12.34, "-12.3"}, {NAN, "-"}};
    char buf[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bench_number(buf, sizeof buf, cases[i].v);
        assert_string_equal(buf, cases[i].want);
    }
}

static void
test_verdicts(void **state)
{
    struct bench_report r = {0};
    struct bench_row *row = bench_report_row(&r, "x", "%s", "title");

    (void)state;
    /* rates: at least 0.9 of the peer */
    assert_true(bench_check_met(bench_row_against(row, "GB/s", 1.8, 2, 0.9, true, "a", "p")));
    assert_false(bench_check_met(bench_row_against(row, "GB/s", 1.79, 2, 0.9, true, "a", "p")));
    /* latencies: at most 3 times the peer */
    assert_true(bench_check_met(bench_row_against(row, "us", 30, 10, 3, false, "a", "p")));
    assert_false(bench_check_met(bench_row_against(row, "us", 31, 10, 3, false, "a", "p")));
    row->check_len = 0;
    /* times: twice as fast */
    assert_true(bench_check_met(bench_row_faster(row, "s", 1, 2, 2, "a", "p")));
    assert_true(row->checks[0].ratio == 2);
    assert_false(bench_check_met(bench_row_faster(row, "s", 1.1, 2, 2, "a", "p")));
    /* numbers */
    assert_true(bench_check_met(bench_row_limit(row, "s", 0.3, 0.3, false, "a")));
    assert_false(bench_check_met(bench_row_limit(row, "s", 0.31, 0.3, false, "a")));
    /* what was not measured does not hold */
    assert_false(bench_check_met(bench_row_limit(row, "s", NAN, 0.3, false, "a")));
    assert_false(bench_check_met(bench_row_against(row, "s", 1, NAN, 0.9, true, "a", "p")));
    bench_report_done(&r);
}

/* A report with all there is: met, not met, skipped, failed, texts, a warning. */
static void
make(struct bench_report *r)
{
    static const double v[] = {1.9, 2.1, 2.0};
    struct bench_samples s = {0};
    struct bench_row *row;
    struct bench_check *c;

    *r = (struct bench_report){.machine = {.cpu = "Some <CPU> & more",
                                           .kernel = "Linux 6.18",
                                           .cores = 2,
                                           .memory_bytes = 8ull << 30,
                                           .load = 0.5,
                                           .pressure_percent = NAN}};
    row = bench_report_row(r, "raw", "2 GiB, %d runs", 3);
    bench_row_against(row, "GB/s", 2.0, 2.1, 0.9, true, "engine", "2 raw TCP streams");
    fill(&s, v, ARRAY_LEN(v));
    bench_row_take(row, "GB/s", &s, "%s", "engine into touched memory");
    row = bench_report_row(r, "downtime", "50 runs");
    bench_row_limit(row, "ms", 12.5, 10, false, "P50");
    row = bench_report_row(r, "delta", "words");
    c = bench_row_against(row, "s", 3, NAN, 1, false, "auto", "raw");
    c->limit = 12;
    snprintf(c->peer_text, sizeof c->peer_text, "given up");
    row = bench_report_row(r, "qemu", "beside QEMU");
    snprintf(row->absent, sizeof row->absent, "no qemu-system-x86_64 here");
    row = bench_report_row(r, "sparse", "16 GiB");
    row->failed = true;
    snprintf(row->absent, sizeof row->absent, "no memory");
    bench_report_warn(r, "raw: other processes kept the CPUs %d %% busy", 30);
}

static void
test_table(void **state)
{
    static const char *const want[] = {"2.00 GB/s",
                                       "2.10 GB/s  2 raw TCP streams",
                                       "0.952",
                                       ">= 0.9 times",
                                       " met\n",
                                       "12.5 ms",
                                       "<= 10 ms",
                                       "NOT MET",
                                       "qemu         skipped: no qemu-system-x86_64 here\n",
                                       "sparse       FAILED: no memory\n",
                                       "given up  raw",
                                       "warning: raw: other processes kept the CPUs 30 % busy\n",
                                       "1.90..2.10 (1.90..2.10), 3\n",
                                       "Some <CPU> & more, 2 cores, 8 GiB"};
    AUTO_SB struct sb sb = SB_INIT;
    struct bench_report r;

    (void)state;
    make(&r);
    bench_print_table(&r, &sb);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!strstr(sb_str(&sb), want[i]))
            fail_msg("'%s' is not in:\n%s", want[i], sb_str(&sb));
    }
    assert_null(strstr(sb_str(&sb), "nan"));
    bench_report_done(&r);
}

static void
test_json(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    AUTO_TREE struct tree *t = NULL;
    struct bench_report r;
    struct err err = {0};
    const struct tree *row, *check;

    (void)state;
    make(&r);
    bench_print_json(&r, &sb);
    if (tree_from_json(sb.buf, sb.len, &t, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(tree_len(tree_get(t, "rows")), 5);
    row = tree_at(tree_get(t, "rows"), 0);
    assert_string_equal(tree_get_string(tree_get(row, "row"), ""), "raw");
    check = tree_at(tree_get(row, "checks"), 0);
    assert_true(tree_get_bool(tree_get(check, "met"), false));
    assert_true(tree_get_float(tree_get(check, "ours"), 0) == 2.0);
    assert_true(tree_get_float(tree_get(check, "peer"), 0) == 2.1);
    assert_true(
        tree_get_float(tree_find(tree_at(tree_get(row, "figures"), 0), "median", NULL), 0) == 2.0);
    assert_int_equal(tree_len(tree_find(tree_at(tree_get(row, "figures"), 0), "samples", NULL)), 3);
    check = tree_at(tree_get(tree_at(tree_get(t, "rows"), 1), "checks"), 0);
    assert_false(tree_get_bool(tree_get(check, "met"), true));
    assert_null(tree_get(check, "peer"));
    assert_non_null(tree_get(tree_at(tree_get(t, "rows"), 3), "skipped"));
    assert_non_null(tree_get(tree_at(tree_get(t, "rows"), 4), "failed"));
    bench_report_done(&r);
}

static size_t
count(const char *s, const char *what)
{
    size_t n = 0;

    for (s = strstr(s, what); s; s = strstr(s + 1, what))
        n++;
    return n;
}

static void
test_svg(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct bench_report r;
    const char *s;

    (void)state;
    make(&r);
    bench_print_svg(&r, &sb);
    s = sb_str(&sb);
    assert_int_equal(strncmp(s, "<svg ", 5), 0);
    assert_int_equal(count(s, "<text "), count(s, "</text>"));
    assert_int_equal(count(s, "<svg "), count(s, "</svg>"));
    assert_non_null(strstr(s, "Some &lt;CPU&gt; &amp; more"));
    assert_int_equal(count(s, ">NOT MET</text>"), 1);
    assert_int_equal(count(s, ">met</text>"), 2);
    assert_int_equal(count(s, "<rect "), 1 + 3 + 1 + 2); /* ground, ours, one peer, key */
    assert_int_equal(count(s, "stroke-dasharray"), 3 + 1);
    /* the bars' scale: ours is 2.0 of 2.1, and 420 long is the longest */
    assert_non_null(strstr(s, "width=\"400.0\""));
    assert_non_null(strstr(s, "width=\"420.0\""));
    assert_null(strstr(s, "nan"));
    bench_report_done(&r);
}

static void
test_markdown(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct bench_report r;

    (void)state;
    make(&r);
    bench_print_markdown(&r, &sb);
    assert_non_null(strstr(sb_str(&sb), "| raw | engine | 2.00 GB/s | 2.10 GB/s, 2 raw TCP streams "
                                        "| 0.952 | >= 0.9 times | met |\n"));
    assert_non_null(strstr(sb_str(&sb), "| downtime | P50 | 12.5 ms |  |  | <= 10 ms | **not met** "
                                        "|\n"));
    assert_non_null(strstr(sb_str(&sb), "<!-- made by: drover-bench all -o markdown -->\n"));
    assert_non_null(strstr(sb_str(&sb), "<!-- end -->\n"));
    bench_report_done(&r);
}

/* The encrypted peer really encrypts and authenticates: else it would be no yardstick. */
static void
test_aes(void **state)
{
    struct bench_aes *a = bench_aes_new(true), *b = bench_aes_new(false);
    uint8_t in[1000], sealed[1000 + BENCH_AES_EXTRA], again[sizeof sealed], out[1000];

    (void)state;
    memset(in, 7, sizeof in);
    bench_aes_seal(a, in, sizeof in, sealed);
    assert_memory_not_equal(sealed + 5, in, sizeof in);
    assert_true(bench_aes_open(b, sealed, sizeof in, out));
    assert_memory_equal(in, out, sizeof in);
    bench_aes_seal(a, in, sizeof in, again);
    assert_memory_not_equal(sealed, again, sizeof sealed); /* another nonce */
    again[100] ^= 1;
    assert_false(bench_aes_open(b, again, sizeof in, out));
    bench_aes_free(a);
    bench_aes_free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles), cmocka_unit_test(test_quantile_of_many),
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_table),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_svg),       cmocka_unit_test(test_markdown),
        cmocka_unit_test(test_aes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
