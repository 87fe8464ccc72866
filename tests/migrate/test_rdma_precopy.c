/* Pre-copy over RDMA: pages that are written straight into the target's memory, and everything that
 * may happen to them on the way. Over the double, and over a real device where RDMA_TEST_IP names one;
 * what has to be injected is left out there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "tests/migrate/meter.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/verbs_double.h"

#define MIB (1u << 20)

struct row {
    const char *name;
    struct fake_config cfg;
    unsigned channels;
    enum mig_encoding encoding;
    uint64_t window_bytes, limit;
    /* what is expected */
    unsigned placed_percent; /* of the pages with content, at least */
    uint64_t peak_max;       /* registered bytes; 0 = does not matter */
    uint64_t allocated_max;  /* pages at the target; 0 = likewise */
};

static const struct row rows[] = {
    {"idle, random memory",
     {{64 * MIB}, .seed = 1, .fill_pages = 16384},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 50},
    {"one channel",
     {{32 * MIB}, .seed = 2, .fill_pages = 8192},
     .channels = 1,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 30},
    {"more channels than stripes",
     {{4 * MIB}, .seed = 3, .fill_pages = 1024},
     .channels = 8,
     .encoding = MIG_ENC_RAW},
    {"automatic encodings",
     {{64 * MIB}, .seed = 4, .fill_pages = 16384},
     .channels = 2,
     .placed_percent = 30},
    {"never touched",
     {{256 * MIB}, .seed = 5},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 0,
     .allocated_max = 1},
    {"holes are neither registered nor allocated",
     {{256 * MIB}, .seed = 6, .fill_pages = 1000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 4 * MIB,
     .allocated_max = 1024},
    {"a page here and there is not worth a window",
     {{64 * MIB}, .seed = 7, .fill_pages = 1000, .stride = 16},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .peak_max = 1,
     .allocated_max = 1000},
    {"zero pages do not stay",
     {{64 * MIB}, .seed = 8, .fill_pages = 100, .zero_pages = 8000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .allocated_max = 100},
    {"odd size, two regions",
     {{3 * MIB + 4096, 5 * MIB + 12288}, .seed = 9, .fill_pages = 2000},
     .channels = 3,
     .encoding = MIG_ENC_RAW},
    {"a small budget: windows are given back",
     {{64 * MIB}, .seed = 10, .fill_pages = 16384},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 8 * MIB,
     .placed_percent = 20,
     .peak_max = 8 * MIB},
    {"a budget of one window",
     {{32 * MIB}, .seed = 11, .fill_pages = 8192},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 2 * MIB,
     .peak_max = 2 * MIB},
    {"a budget of less than a window",
     {{8 * MIB}, .seed = 12, .fill_pages = 2048},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .window_bytes = 4096,
     .peak_max = 1},
    {"writer, slow",
     {{64 * MIB}, .seed = 13, .fill_pages = 16384, .set_pages = 4096, .pages_per_s = 2000},
     .channels = 2,
     .encoding = MIG_ENC_RAW,
     .placed_percent = 30},
    {"writer, fast, small set",
     {{32 * MIB}, .seed = 14, .fill_pages = 8192, .set_pages = 512},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"writer of zeros",
     {{32 * MIB},
      .seed = 15,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .zero_percent = 50},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"puncher of holes: memory that the guest gives back",
     {{32 * MIB},
      .seed = 16,
      .fill_pages = 8192,
      .set_pages = 8192,
      .pages_per_s = 4000,
      .punch_percent = 60},
     .channels = 2,
     .encoding = MIG_ENC_RAW},
    {"deltas on top of what was placed",
     {{32 * MIB},
      .seed = 17,
      .fill_pages = 8192,
      .set_pages = 4096,
      .pages_per_s = 6000,
      .content = FAKE_WORDS},
     .channels = 2,
     .encoding = MIG_ENC_DELTA,
     .placed_percent = 10},
    {"everything, four channels, automatic encodings, a small budget",
     {{24 * MIB, 8 * MIB},
      .seed = 18,
      .fill_pages = 4000,
      .zero_pages = 1000,
      .set_pages = 8000,
      .pages_per_s = 5000,
      .zero_percent = 20,
      .punch_percent = 20,
      .content = FAKE_WORDS},
     .channels = 4,
     .window_bytes = 8 * MIB,
     .peak_max = 8 * MIB},
};

/* Both ends at the address of the device. */
static void
begin(struct both *t, const struct fake_config *c)
{
    const char *ip = rdma_test_ip();
    struct fake_config cfg = *c;

    if (!ip) {
        print_message("# SKIP no RDMA device: RDMA_TEST_IP names the address of one\n");
        skip();
    }
    if (!verbs_is_double()) { /* in an emulated machine (tests/rdma) all of it is slower */
        cfg.pages_per_s /= 8;
        if (cfg.region_bytes[0] == 64 * MIB) {
            cfg.region_bytes[0] /= 4;
            cfg.fill_pages /= 4;
            cfg.zero_pages /= 4;
            cfg.set_pages /= 4;
        }
    }
    both_begin(t, &cfg);
    if (!verbs_is_double())
        t->p.src.limits.max_downtime_us = 3000000;
    snprintf(t->p.src.local_ip, sizeof t->p.src.local_ip, "%s", ip);
    snprintf(t->p.dst.listen_ip, sizeof t->p.dst.listen_ip, "%s", ip);
    t->p.src.network_trusted = t->p.dst.network_trusted = true;
    t->p.src.policy.transport = MIG_TRANSPORT_RDMA;
    t->p.src.policy.encoding = MIG_ENC_RAW;
}

/* Nothing of the device's is alive, and nothing is registered. */
static void
end(struct both *t)
{
    both_end(t);
    assert_int_equal(t->p.src_stats.registered_bytes, 0);
    assert_int_equal(t->p.dst_stats.registered_bytes, 0);
    assert_false(verbs_reset());
}

/* It moved, over RDMA, and every byte is right there. */
static void
moved(struct both *t)
{
    struct pair *p = &t->p;

    if (p->src_outcome != MIG_MOVED)
        print_error("source: %s; target: %s\n", err_msg(&p->src_err), err_msg(&p->dst_err));
    assert_int_equal(p->src_outcome, MIG_MOVED);
    assert_int_equal(p->dst_outcome, MIG_TARGET_RUNNING);
    if (p->src_stats.transport != MIG_TRANSPORT_RDMA)
        print_error("not RDMA: %s\n", p->src_stats.transport_why);
    assert_int_equal(p->src_stats.transport, MIG_TRANSPORT_RDMA);
    assert_false(fake_guest_running(t->a));
    assert_true(fake_guest_running(t->b));
    if (t->b->cfg.set_pages)
        fake_guest_wait_steps(t->b, fake_guest_steps(t->b) + 50);
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    if (p->src_stats.reconnects == 0) { /* else a frame may have been sent and lost */
        assert_int_equal(p->src_stats.raw_pages, p->dst_stats.raw_pages);
        assert_int_equal(p->src_stats.zero_pages, p->dst_stats.zero_pages);
    }
    assert_int_equal(p->src_stats.remaining_bytes, 0);
}

static void
test_moves(void **state)
{
    const struct row *r = *state;
    struct both t;
    struct pair *p = &t.p;

    begin(&t, &r->cfg);
    if (r->cfg.set_pages)
        fake_guest_wait_steps(t.a, 100);
    p->src.channels = r->channels;
    p->src.policy.encoding = r->encoding;
    p->dst.rdma_window_bytes = r->window_bytes;
    meter_begin();
    pair_run(p);
    print_message("# %s: %llu of %llu pages placed, at most %llu KiB registered\n", r->name,
                  (unsigned long long)p->src_stats.placed_pages,
                  (unsigned long long)p->src_stats.raw_pages,
                  (unsigned long long)p->dst_stats.registered_peak_bytes / 1024);
    if (r->allocated_max) /* before the comparison reads, and so allocates, all of it */
        assert_in_range(fake_guest_allocated_pages(t.b), 0, r->allocated_max);
    moved(&t);
    assert_int_equal(p->src_stats.placed_pages, p->dst_stats.placed_pages);
    /* where registering gets no processor, sending does not wait for long */
    assert_true(p->src_stats.placed_pages * 100 >= p->src_stats.raw_pages * r->placed_percent ||
                (!meter_was_quiet() && p->src_stats.placed_pages > 0));
    assert_true(p->src_stats.sent_bytes >= p->src_stats.placed_pages * 4096);
    assert_true(p->dst_stats.sent_bytes >= p->dst_stats.placed_pages * 4096);
    if (r->peak_max)
        assert_true(p->dst_stats.registered_peak_bytes <= r->peak_max);
    if (p->src_stats.placed_pages)
        assert_true(p->dst_stats.registered_peak_bytes >= 2 * MIB);
    end(&t);
}

/* --- trouble: what the double can do --- */

static bool
cannot_inject(void)
{
    if (!verbs_is_double())
        print_message("# SKIP only the double makes such trouble\n");
    return !verbs_is_double();
}

static const struct fake_config idle = {{32 * MIB}, .seed = 31, .fill_pages = 8192};
static const struct fake_config busy = {
    {32 * MIB}, .seed = 32, .fill_pages = 8192, .set_pages = 2048, .pages_per_s = 2000};

/* A bit that was turned round on the way: found by the target, zero until it has come again. */
static void
test_corrupted(void **state)
{
    struct both t;

    (void)state;
    if (cannot_inject())
        skip();
    begin(&t, &idle);
    verbs_corrupt_write(3);
    pair_run(&t.p);
    moved(&t);
    assert_in_range(t.p.src_stats.again_pages, 1, 256);
    assert_true(t.p.src_stats.placed_pages > 0);
    end(&t);
}

/* The limit of locked memory is hit half-way: what there is is used in turns, and nothing fails. */
static void
test_lock_limit(void **state)
{
    struct both t;
    struct verbs_counts c;

    (void)state;
    if (cannot_inject())
        skip();
    begin(&t, &idle);
    t.p.src.channels = 1;
    verbs_set_lock_limit(20 * MIB);
    pair_run(&t.p);
    verbs_counts(&c);
    assert_true(c.mr_bytes_most <= 20 * MIB);
    moved(&t);
    print_message("# %llu of %llu pages placed, at most %llu KiB registered\n",
                  (unsigned long long)t.p.src_stats.placed_pages,
                  (unsigned long long)t.p.src_stats.raw_pages,
                  (unsigned long long)t.p.dst_stats.registered_peak_bytes / 1024);
    end(&t);
}

static void
refuse_from_now_on(struct pair *p, const struct mig_decision *d)
{
    (void)p;
    if (strstr(d->text, "over RDMA"))
        verbs_fail_call("ibv_reg_mr", 0, ENOMEM);
}

/* Nothing at all can be registered once the connection stands. */
static void
test_nothing_to_register(void **state)
{
    struct both t;

    (void)state;
    if (cannot_inject())
        skip();
    begin(&t, &busy);
    t.p.on_decided = refuse_from_now_on;
    pair_run(&t.p);
    moved(&t);
    assert_int_equal(t.p.src_stats.placed_pages, 0);
    assert_int_equal(t.p.dst_stats.registered_peak_bytes, 0);
    end(&t);
}

/* On-demand paging: one registration a region, and nothing is pinned. */
static void
test_on_demand(void **state)
{
    struct fake_config c = {{32 * MIB, 3 * MIB + 4096}, .seed = 33,          .fill_pages = 4000,
                            .set_pages = 8000,          .pages_per_s = 4000, .zero_percent = 20,
                            .punch_percent = 20};
    struct both t;

    (void)state;
    if (cannot_inject())
        skip();
    begin(&t, &c);
    verbs_set_on_demand(true);
    pair_run(&t.p);
    moved(&t);
    assert_true(t.p.src_stats.placed_pages > 0);
    assert_int_equal(t.p.dst_stats.registered_peak_bytes, 0);
    end(&t);
}

/* Queue pairs that run far ahead of each other. */
static void
test_reordered(void **state)
{
    (void)state;
    if (cannot_inject())
        skip();
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct both t;

        begin(&t, &busy);
        fake_guest_wait_steps(t.a, 50);
        t.p.src.channels = 4;
        verbs_reorder(seed);
        pair_run(&t.p);
        moved(&t);
        assert_true(t.p.src_stats.placed_pages > 0);
        end(&t);
    }
}

struct cut_row {
    const char *name;
    uint64_t writes; /* then: */
    bool remove;     /* the device, else the queue pairs break */
    unsigned corrupt;
};

static const struct cut_row cuts[] = {
    {"queue pairs break at once", 1, false, 0},
    {"queue pairs break in the middle", 20, false, 0},
    {"queue pairs break, and a page came damaged before", 20, false, 5},
    {"the device is removed in the middle", 20, true, 0},
};

/* What was written and never vouched for is zero again, and what was in doubt comes again. */
static void
test_cut(void **state)
{
    const struct cut_row *r = *state;
    struct both t;

    if (cannot_inject())
        skip();
    begin(&t, &busy);
    fake_guest_wait_steps(t.a, 50);
    t.p.src.reconnect_us = t.p.dst.reconnect_us = 10000000;
    t.p.src.limits.bandwidth_bytes_per_s = 100 * MIB;
    if (r->corrupt)
        verbs_corrupt_write(r->corrupt);
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    assert_true(verbs_wait_work(IBV_WR_RDMA_WRITE, r->writes));
    if (r->remove)
        verbs_device_remove(rdma_test_ip());
    else
        verbs_break(0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    if (t.p.src_outcome != MIG_MOVED)
        print_error("source: %s; target: %s\n", err_msg(&t.p.src_err), err_msg(&t.p.dst_err));
    assert_int_equal(t.p.src_outcome, MIG_MOVED);
    assert_true(t.p.src_stats.reconnects >= 1);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    end(&t);
}

/* Stopped while the device works: the guest runs on where it was, and nothing stays registered. */
static void
test_cancelled(void **state)
{
    struct mig_stats st = {0};
    struct both t;

    (void)state;
    begin(&t, &busy);
    fake_guest_wait_steps(t.a, 50);
    t.p.src.limits.bandwidth_bytes_per_s = 40 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    while (st.placed_pages == 0) { /* a target that nobody came to is told nothing */
        sched_yield();
        mig_source_stats(t.p.source, &st);
    }
    assert_true(mig_source_cancel(t.p.source));
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_FAILED);
    assert_int_equal(t.p.cause, MIG_CAUSE_CANCELLED);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_true(fake_guest_running(t.a));
    assert_int_equal(fake_guest_wrong_pages(t.a), 0);
    end(&t);
}

/* Placed pages count as any other byte does. */
static void
test_bandwidth(void **state)
{
    const uint64_t limit = 20 * MIB;
    struct both t;
    uint64_t us;

    (void)state;
    begin(&t, &idle);
    t.p.src.limits.bandwidth_bytes_per_s = limit;
    pair_run(&t.p);
    moved(&t);
    us = t.p.src_stats.paused_us - t.p.src_stats.started_us;
    print_message("# %.1f %% of the limit\n",
                  (double)t.p.src_stats.sent_bytes * 1e8 / (double)us / (double)limit);
    assert_true(t.p.src_stats.placed_pages > 0);
    assert_true(t.p.src_stats.sent_bytes * 1000000 <= limit * us / 100 * 103);
    end(&t);
}

/* --- fault points --- */

static const char *const faults[] = {"src.placed:error", "src.placed@7:error", "dst.window:error",
                                     "dst.window@3:error"};

static void
test_fault(void **state)
{
    const char *spec = *state;
    struct err err = {0};
    struct both t;

    begin(&t, &busy);
    t.p.src.reconnect_us = t.p.dst.reconnect_us = 10000000;
    assert_int_equal(fault_arm(spec, &err), 0);
    pair_run(&t.p);
    fault_clear();
    moved(&t);
    assert_int_equal(t.p.src_stats.reconnects, spec[0] == 's');
    end(&t);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_corrupted),           cmocka_unit_test(test_lock_limit),
        cmocka_unit_test(test_nothing_to_register), cmocka_unit_test(test_on_demand),
        cmocka_unit_test(test_reordered),           cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_bandwidth),
    };
    struct CMUnitTest
        tests[ARRAY_LEN(rows) + ARRAY_LEN(others) + ARRAY_LEN(cuts) + ARRAY_LEN(faults)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_moves,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++)
        tests[n++] = (struct CMUnitTest){.name = cuts[i].name,
                                         .test_func = test_cut,
                                         .initial_state = (void *)(uintptr_t)&cuts[i]};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        tests[n++] = (struct CMUnitTest){.name = faults[i],
                                         .test_func = test_fault,
                                         .initial_state = (void *)(uintptr_t)faults[i]};
    pair_skip_unless_supported(tests, n);
    return _cmocka_run_group_tests("rdma_precopy", tests, n, NULL, NULL);
}
