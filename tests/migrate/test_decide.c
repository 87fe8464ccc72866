/* The controller in the real engine, on a process that writes: what it decides, that the decision
 * log says so, that throttling is lifted whatever happens, and that the simulator, told the same,
 * comes to the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sb.h"
#include "migrate/simulate.h"
#include "tests/migrate/pair.h"

#define MIB (1u << 20)
#define LOG 400

struct log {
    struct mig_decision d[LOG];
    unsigned len;
    bool cancel; /* as soon as the guest is slowed down */
};

static void
on_decided(struct pair *p, const struct mig_decision *d)
{
    struct log *l = p->user;

    if (l->len < LOG)
        l->d[l->len++] = *d;
}

static void
on_progress(struct pair *p, const struct mig_stats *st)
{
    struct log *l = p->user;

    if (l->cancel && st->throttle_percent)
        mig_source_cancel(p->source);
}

static bool
says(const struct log *l, const char *text)
{
    for (unsigned i = 0; i < l->len; i++)
        if (strstr(l->d[i].text, text))
            return true;
    return false;
}

static void
print_log(const struct log *l)
{
    for (unsigned i = 0; i < l->len; i++)
        print_message("# %6.3f %s\n", (double)l->d[i].at_us / 1e6, l->d[i].text);
}

struct row {
    const char *name;
    const char *allowed; /* a, d */
    uint64_t pages_per_s;
    uint64_t set_pages;
    uint64_t bandwidth, max_downtime_us, timeout_us;
    int fail_throttle;
    bool cancel;
    /* what is expected */
    enum mig_outcome outcome;
    enum mig_cause cause;
    enum mig_mode mode;
    bool throttled;
    const char *texts[3];
};

/* 16 MiB of memory; a set of 8 MiB that is written in a tenth of the time that sending it takes. */
static const struct row rows[] = {
    {"a light writer",
     "",
     1000,
     2048,
     100000000,
     100000,
     0,
     0,
     false,
     MIG_MOVED,
     MIG_CAUSE_NONE,
     MIG_MODE_PRECOPY,
     false,
     {"start: ", "switch over", "moved: the guest stood still for"}},
    {"slowed down",
     "a",
     40000,
     2048,
     40000000,
     60000,
     0,
     0,
     false,
     MIG_MOVED,
     MIG_CAUSE_NONE,
     MIG_MODE_PRECOPY,
     true,
     {"slow the writers down by", "switch over"}},
    {"paused",
     "d",
     40000,
     2048,
     40000000,
     60000,
     0,
     0,
     false,
     MIG_MOVED,
     MIG_CAUSE_NONE,
     MIG_MODE_PAUSED,
     false,
     {"pause the guest for"}},
    {"it cannot be slowed down: paused",
     "ad",
     40000,
     2048,
     40000000,
     60000,
     0,
     1000,
     false,
     MIG_MOVED,
     MIG_CAUSE_NONE,
     MIG_MODE_PAUSED,
     false,
     {"cannot be slowed down: throttle: told to fail", "pause the guest for"}},
    {"nothing is allowed",
     "",
     40000,
     2048,
     40000000,
     60000,
     2000000,
     0,
     false,
     MIG_FAILED,
     MIG_CAUSE_COMPLETION_TIMEOUT,
     MIG_MODE_PRECOPY,
     false,
     {"nothing that the policy allows"}},
    {"cancelled while slowed down",
     "a",
     100000,
     2048,
     10000000,
     20000,
     0,
     0,
     true,
     MIG_FAILED,
     MIG_CAUSE_CANCELLED,
     MIG_MODE_PRECOPY,
     true,
     {"slow the writers down by"}},
};

static void
test_decisions(void **state)
{
    static struct log l;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct fake_config c = {{16 * MIB},
                                .seed = i + 1,
                                .fill_pages = 4096,
                                .set_pages = r->set_pages,
                                .pages_per_s = r->pages_per_s};
        struct fake_guest *src = fake_guest_new(&c, false), *dst = fake_guest_new(&c, true);
        struct pair p;

        memset(&l, 0, sizeof l);
        l.cancel = r->cancel;
        src->fail_throttle = r->fail_throttle;
        pair_init(&p, src, dst);
        p.user = &l;
        p.on_decided = on_decided;
        p.on_progress = on_progress;
        p.src.limits.bandwidth_bytes_per_s = r->bandwidth;
        p.src.limits.max_downtime_us = r->max_downtime_us;
        p.src.limits.completion_timeout_us = r->timeout_us;
        p.src.policy.allow_auto_converge = strchr(r->allowed, 'a');
        p.src.policy.allow_disruption = strchr(r->allowed, 'd');
        p.src.policy.encoding = MIG_ENC_RAW;
        pair_run(&p);
        if (p.src_outcome != r->outcome || p.cause != r->cause || p.src_stats.mode != r->mode) {
            print_log(&l);
            fail_msg("%s: outcome %d, cause %d, mode %d: %s", r->name, p.src_outcome, p.cause,
                     p.src_stats.mode, err_msg(&p.src_err));
        }
        for (size_t k = 0; k < ARRAY_LEN(r->texts) && r->texts[k]; k++) {
            if (!says(&l, r->texts[k])) {
                print_log(&l);
                fail_msg("%s: the log does not say \"%s\"", r->name, r->texts[k]);
            }
        }
        assert_int_equal(src->throttles > 0, r->throttled);
        assert_int_equal(src->throttle_percent, 0); /* lifted, whatever came */
        assert_int_equal(p.src_stats.throttle_percent, 0);
        assert_int_equal(p.src_stats.throttle_us > 0, r->throttled);
        if (r->outcome == MIG_MOVED) {
            const struct mig_downtime *d = &p.src_stats.downtime;

            assert_true(fake_guest_running(dst) && !fake_guest_running(src));
            assert_int_equal(fake_guest_wrong_pages(dst), 0);
            assert_true(p.src_stats.write_faults > 0 && p.src_stats.write_fault_us > 0);
            assert_true(d->stop_us > 0 && d->pages_us > 0 && d->scan_us > 0);
            assert_true(d->stop_us + d->scan_us + d->pages_us <= p.src_stats.downtime_us);
            assert_true(p.src_stats.predicted_downtime_us > 0);
            assert_true(p.src_stats.predicted_total_p50_us > 0);
            assert_true(p.src_stats.predicted_total_p90_us >= p.src_stats.predicted_total_p50_us);
        } else {
            assert_true(fake_guest_running(src));
        }
        for (unsigned k = 1; k < l.len; k++) {
            assert_true(l.d[k].at_us >= l.d[k - 1].at_us);
            assert_true(l.d[k].round >= l.d[k - 1].round);
        }
        pair_done(&p);
        fake_guest_free(src);
        fake_guest_free(dst);
    }
}

/* The engine and the simulator of the same guest and link: the same means, about as many rounds,
 * about the same time. */
static void
test_simulator_agrees(void **state)
{
    static struct log l;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct row *r = &rows[i];
        struct fake_config c = {{64 * MIB},
                                .seed = i + 1,
                                .fill_pages = 16384,
                                .set_pages = 8192,
                                .pages_per_s = r->pages_per_s * 2};
        struct fake_guest *src = fake_guest_new(&c, false), *dst = fake_guest_new(&c, true);
        struct simulate_config sc = {.memory_bytes = 64 * MIB,
                                     .set_bytes = c.set_pages * 4096,
                                     .dirty_bytes_per_s = c.pages_per_s * 4096,
                                     .bandwidth_bytes_per_s = r->bandwidth * 2};
        struct simulate_result res;
        struct pair p;
        double total;
        bool busy;

        memset(&l, 0, sizeof l);
        pair_init(&p, src, dst);
        p.user = &l;
        p.on_decided = on_decided;
        p.src.limits.bandwidth_bytes_per_s = sc.bandwidth_bytes_per_s;
        p.src.limits.max_downtime_us = sc.limits.max_downtime_us = 100000;
        p.src.policy.allow_auto_converge = sc.policy.allow_auto_converge = strchr(r->allowed, 'a');
        p.src.policy.allow_disruption = sc.policy.allow_disruption = strchr(r->allowed, 'd');
        p.src.policy.encoding = MIG_ENC_RAW;
        pair_run(&p);
        assert_int_equal(p.src_outcome, MIG_MOVED);
        assert_int_equal(simulate_run(&sc, &res, NULL), 0);
        assert_true(res.succeeded);
        total = (double)(p.src_stats.finished_us - p.src_stats.started_us) / (double)res.total_us;
        print_message("# %s: %u rounds, %.3f s, %.1f ms; simulated: %u rounds, %.3f s, %.1f ms\n",
                      r->name, p.src_stats.round,
                      (double)(p.src_stats.finished_us - p.src_stats.started_us) / 1e6,
                      (double)p.src_stats.downtime_us / 1e3, res.rounds_len,
                      (double)res.total_us / 1e6, (double)res.downtime_us / 1e3);
        /* A machine that is busy with other work does not carry what the simulator was told. */
        busy = (double)p.src_stats.sent_bytes * 1e6 /
                   (double)(p.src_stats.finished_us - p.src_stats.started_us) <
               0.7 * (double)sc.bandwidth_bytes_per_s;
        if (busy)
            print_message("# (not compared: the machine did not carry so much)\n");
        if (!busy && (p.src_stats.mode != res.mode || total < 0.5 || total > 2 ||
                      p.src_stats.round > 2 * res.rounds_len + 2 ||
                      res.rounds_len > 2 * p.src_stats.round + 2)) {
            print_log(&l);
            for (uint32_t k = 0; k < res.rounds_len; k++)
                print_message("# sim: %s\n", res.rounds[k].why);
            fail_msg("%s: mode %d, simulated %d; time %.2f of the simulated", r->name,
                     p.src_stats.mode, res.mode, total);
        }
        simulate_result_done(&res);
        pair_done(&p);
        fake_guest_free(src);
        fake_guest_free(dst);
    }
}

int
main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_simulator_agrees),
    };

    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
