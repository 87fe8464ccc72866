/* Limits on real sockets: what the source puts into them, sampled every millisecond, stays within 3 %
 * of the limit in every window of a second, and what arrives reaches it; a new limit counts within
 * 100 ms; two migrations share a cap by weight. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/sb.h"
#include "migrate/share.h"
#include "tests/migrate/meter.h"
#include "tests/migrate/pair.h"

#define MIB         (UINT64_C(1) << 20)
#define SAMPLES_MAX 20000

static void
begin(struct both *t, uint64_t bytes, uint64_t seed)
{
    const struct fake_config c = {{bytes}, .seed = seed, .fill_pages = bytes / FAKE_PAGE};

    both_begin(t, &c);
}

/* The guest runs at the target, and waits for some of its pages: these count, too. */
static void
begin_post_copy(struct both *t, uint64_t bytes, uint64_t limit)
{
    const struct fake_config c = {{bytes},
                                  .seed = 95,
                                  .fill_pages = bytes / FAKE_PAGE,
                                  .set_pages = bytes / FAKE_PAGE,
                                  .pages_per_s = limit / FAKE_PAGE / 4};

    both_begin(t, &c);
    t->p.src.policy.allow_post_copy = t->p.src.policy.post_copy_at_once = true;
}

/* The time and the count belong together: a thread that lost the processor between them looks again. */
static struct meter_sample
look(struct both *t, uint64_t (*count)(struct both *t))
{
    for (;;) {
        uint64_t before = clock_mono_us(), bytes = count(t), now = clock_mono_us();

        if (now - before < 1000)
            return (struct meter_sample){now, bytes};
    }
}

/* Samples both until `us` have passed since the first byte of memory. */
static size_t
sample(struct both *t, uint64_t us, struct meter_sample *out, struct meter_sample *in)
{
    uint64_t began = 0;
    size_t n = 0;

    while (n < SAMPLES_MAX) {
        struct meter_sample sent = look(t, both_sent);

        if (!began && sent.bytes > 64 << 10)
            began = sent.at_us;
        if (began && sent.at_us - began > us)
            break;
        if (began) {
            out[n] = sent;
            in[n++] = look(t, both_received);
        }
        poll(NULL, 0, 1);
    }
    return n;
}

static const struct limit_row {
    const char *name;
    uint64_t limit, memory;
    unsigned channels;
    bool slow_machine; /* it may be that this machine does not reach it */
    bool tls;
    bool post_copy;
} limit_rows[] = {
    {"1 MiB/s, 1 channel", MIB, 4 * MIB, 1, false, false, false},
    {"1 MiB/s, 2 channels", MIB, 4 * MIB, 2, false, false, false},
    {"1 MiB/s, 4 channels", MIB, 4 * MIB, 4, false, false, false},
    {"64 MiB/s, 1 channel", 64 * MIB, 160 * MIB, 1, false, false, false},
    {"64 MiB/s, 4 channels", 64 * MIB, 160 * MIB, 4, false, false, false},
    {"1 GiB/s, 1 channel", 1024 * MIB, 1600 * MIB, 1, true, false, false},
    {"1 GiB/s, 2 channels", 1024 * MIB, 1600 * MIB, 2, true, false, false},
    {"1 GiB/s, 4 channels", 1024 * MIB, 1600 * MIB, 4, true, false, false},
    {"1 MiB/s, 2 channels, TLS", MIB, 4 * MIB, 2, false, true, false},
    {"64 MiB/s, 4 channels, TLS", 64 * MIB, 160 * MIB, 4, false, true, false},
    {"1 GiB/s, 2 channels, TLS", 1024 * MIB, 1600 * MIB, 2, true, true, false},
    {"1 MiB/s, 2 channels, post-copy", MIB, 4 * MIB, 2, false, false, true},
    {"16 MiB/s, 2 channels, post-copy", 16 * MIB, 40 * MIB, 2, false, false, true},
};

static void
test_limit(void **state)
{
    const struct limit_row *r = *state;
    AUTO_FREE struct meter_sample *out = xcalloc(SAMPLES_MAX, sizeof *out);
    AUTO_FREE struct meter_sample *in = xcalloc(SAMPLES_MAX, sizeof *in);
    uint64_t most, least, in_most, in_least;
    struct both t;
    size_t n;

    if (r->slow_machine && !meter_cores_are_free()) {
        print_message("# SKIP others use the cores\n");
        skip();
    }
    pair_over_tls = r->tls;
    if (r->post_copy)
        begin_post_copy(&t, r->memory, r->limit);
    else
        begin(&t, r->memory, 91);
    pair_over_tls = false;
    t.p.src.channels = r->channels;
    t.p.src.limits.bandwidth_bytes_per_s = r->limit;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    meter_begin();
    n = sample(&t, 1400000, out, in);
    mig_source_cancel(t.p.source);
    if (r->post_copy)
        mig_source_set_bandwidth(t.p.source, 0);
    meter_windows(out, n, r->limit, &most, &least);
    meter_windows(in, n, r->limit, &in_most, &in_least);
    print_message("# %s: sent %.1f to %.1f %%, received %.1f to %.1f %% of the limit in a second\n",
                  r->name, (double)least / 10, (double)most / 10, (double)in_least / 10,
                  (double)in_most / 10);
    assert_true(most <= 1030);
    assert_true(in_least >= 900 || r->slow_machine ||
                !meter_was_quiet()); /* 970 where nothing runs */
    both_end(&t);
}

/* Rates of a while, in MiB/s. A limit is of what goes into the connections; a target that is slow may
 * still take from them what went in before. */
struct rates {
    uint64_t began_us, out, in;
};

static struct rates
rates_begin(struct both *t)
{
    return (struct rates){clock_mono_us(), both_sent(t), both_received(t)};
}

static void
rates_end(struct both *t, const struct rates *r, double *ret_out, double *ret_in)
{
    uint64_t out = both_sent(t) - r->out, in = both_received(t) - r->in;
    double s = (double)(clock_mono_us() - r->began_us) / 1e6;

    *ret_out = (double)out / (double)MIB / s;
    *ret_in = (double)in / (double)MIB / s;
}

/* A new limit counts within 100 ms: also when the old one was so low that a worker waits. */
static void
test_set_bandwidth(void **state)
{
    static const uint64_t steps[] = {256 << 10, 64 * MIB, 4 * MIB, 32 * MIB};
    struct both t;

    (void)state;
    begin(&t, 192 * MIB, 92);
    t.p.src.limits.bandwidth_bytes_per_s = steps[0];
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    while (both_received(&t) < 64 << 10)
        poll(NULL, 0, 1);
    for (size_t i = 1; i < 4; i++) {
        double want = (double)steps[i] / (double)MIB, out, in;
        struct rates r;

        mig_source_set_bandwidth(t.p.source, steps[i]);
        poll(NULL, 0, 100);
        meter_begin();
        r = rates_begin(&t);
        poll(NULL, 0, 800);
        rates_end(&t, &r, &out, &in);
        print_message("# %.0f MiB/s set: sent %.2f, received %.2f MiB/s\n", want, out, in);
        assert_true(out < want * 1.10);
        assert_true(in > want * 0.90 || !meter_was_quiet());
    }
    mig_source_set_bandwidth(t.p.source, 0);
    pair_wait_source(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_int_equal(t.p.src_stats.limit_bytes_per_s, 0);
    pair_wait_target(&t.p);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    both_end(&t);
}

/* Two migrations under a node's cap, 3 to 1; when one ends the other has all of it. */
static void
test_share_by_weight(void **state)
{
    struct share *s = share_new();
    struct both t, u;
    double a_out, a_in, b_out, b_in;
    struct rates a, b;

    (void)state;
    share_set_caps(s, 64 * MIB, 0, clock_mono_us());
    begin(&t, 200 * MIB, 93);
    begin(&u, 100 * MIB, 94);
    t.p.src.share = u.p.src.share = s;
    t.p.src.policy.weight = 3;
    pair_listen(&t.p);
    pair_listen(&u.p);
    pair_dial(&t.p, NULL);
    pair_dial(&u.p, NULL);
    while (both_received(&t) < MIB || both_received(&u) < MIB)
        poll(NULL, 0, 1);

    meter_begin();
    a = rates_begin(&t);
    b = rates_begin(&u);
    poll(NULL, 0, 1000);
    rates_end(&t, &a, &a_out, &a_in);
    rates_end(&u, &b, &b_out, &b_in);
    print_message("# sent %.2f and %.2f, received %.2f and %.2f MiB/s of 64\n", a_out, b_out, a_in,
                  b_in);
    assert_true(a_out + b_out < 64 * 1.05);
    assert_true((a_in > 48 * 0.90 && b_in > 16 * 0.90) || !meter_was_quiet());
    mig_source_cancel(t.p.source);
    pair_done(&t.p);
    poll(NULL, 0, 100);
    meter_begin();
    b = rates_begin(&u);
    poll(NULL, 0, 500);
    rates_end(&u, &b, &b_out, &b_in);
    print_message("# alone: sent %.2f, received %.2f MiB/s\n", b_out, b_in);
    assert_true(b_out < 64 * 1.06);
    assert_true(b_in > 64 * 0.90 || !meter_was_quiet());
    mig_source_cancel(u.p.source);
    both_end(&u);
    fake_guest_free(t.a);
    fake_guest_free(t.b);
    share_free(s);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(limit_rows) + 2] = {
        cmocka_unit_test(test_set_bandwidth),
        cmocka_unit_test(test_share_by_weight),
    };

    for (size_t i = 0; i < ARRAY_LEN(limit_rows); i++)
        tests[i + 2] = (struct CMUnitTest){.name = limit_rows[i].name,
                                           .test_func = test_limit,
                                           .initial_state = (void *)(uintptr_t)&limit_rows[i]};
    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return _cmocka_run_group_tests("bandwidth", tests, ARRAY_LEN(tests), NULL, NULL) +
           pair_run_rdma("bandwidth", tests, 4);
}
