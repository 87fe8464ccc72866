/* Post-copy, and connections that are lost and made again: whatever happens, the guest runs on one
 * side, waits for nothing but missing pages, and has every byte right in the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/rng.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/relay.h"

#define MIB     (1u << 20)
#define PATIENT 20000000

static const struct fake_config busy = {
    {24 * MIB, 8 * MIB}, .seed = 77,           .fill_pages = 6000, .zero_pages = 500,
    .set_pages = 6400,   .pages_per_s = 20000, .zero_percent = 10};
/* Asks for so little that the push sets the pace: for tests that act while memory is missing. */
static const struct fake_config calm = {{24 * MIB, 8 * MIB}, .seed = 79,        .fill_pages = 6000,
                                        .zero_pages = 500,   .set_pages = 6400, .pages_per_s = 500,
                                        .zero_percent = 10};
/* Writes a quarter of what the link of 64 MiB/s carries: pre-copy converges, at any speed of ours. */
static const struct fake_config steady = {
    {24 * MIB, 8 * MIB}, .seed = 80,          .fill_pages = 6000, .zero_pages = 500,
    .set_pages = 6400,   .pages_per_s = 4000, .zero_percent = 10};
static const struct fake_config idle = {{16 * MIB}, .seed = 78, .fill_pages = 4096};

static void
state_path(char *buf, size_t size)
{
    snprintf(buf, size, "/tmp/drover-test-postcopy-%d", (int)getpid());
}

static void
begin(struct both *t, const struct fake_config *c)
{
    both_begin(t, c);
    t->p.src.policy.allow_post_copy = t->p.src.policy.post_copy_at_once = true;
    t->p.src.reconnect_us = t->p.dst.reconnect_us = PATIENT;
    state_path(t->p.dst.state_path, sizeof t->p.dst.state_path);
    unlink(t->p.dst.state_path);
}

static void
end(struct both *t)
{
    char path[64];

    both_end(t);
    state_path(path, sizeof path);
    assert_int_not_equal(access(path, F_OK), 0); /* rule 3: no file stays behind */
}

/* All of it is at the target, and nothing of the engine stays in its process. */
static void
check_moved(struct both *t)
{
    if (t->p.src_outcome != MIG_MOVED)
        fail_msg("source: outcome %d: %s", t->p.src_outcome, err_msg(&t->p.src_err));
    if (t->p.dst_outcome != MIG_TARGET_RUNNING)
        fail_msg("target: outcome %d: %s", t->p.dst_outcome, err_msg(&t->p.dst_err));
    assert_true(t->p.src_committed && t->p.dst_committed);
    assert_false(fake_guest_running(t->a));
    assert_true(fake_guest_running(t->b));
    if (t->b->cfg.set_pages)
        fake_guest_wait_steps(t->b, fake_guest_steps(t->b) + 100);
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    assert_int_equal(fake_guest_uffds_open(t->a), 0);
    assert_int_equal(fake_guest_uffds_open(t->b), 0);
}

static void
wait_postcopy(struct both *t)
{
    struct mig_stats st;

    do {
        poll(NULL, 0, 1);
        mig_target_stats(t->p.target, &st);
    } while (st.mode != MIG_MODE_POSTCOPY || !t->p.dst_committed);
}

/* A source that was started again asks until it has an answer, as its handler makes it: the target may
 * be started again while it asks. */
static void
ask_again(struct both *t)
{
    pair_wait_source(&t->p);
    mig_source_free(t->p.source);
    pair_dial(&t->p, NULL);
}

static bool
has_no_answer(const struct both *t)
{
    return t->p.src_ended && t->p.src.recovering && t->p.src_outcome == MIG_UNKNOWN;
}

static void
wait_missing(struct both *t, uint64_t bytes)
{
    struct mig_stats st;

    do {
        poll(NULL, 0, 1);
        if (has_no_answer(t))
            ask_again(t);
        mig_target_stats(t->p.target, &st);
    } while (st.missing_bytes > bytes);
}

static void
test_at_once(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &busy);
    pair_run(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.src_stats.round, 0);
    assert_int_equal(t.p.dst_stats.mode, MIG_MODE_POSTCOPY);
    assert_int_equal(t.p.dst_stats.missing_bytes, 0);
    assert_true(t.p.dst_stats.faults > 0);

    uint64_t sum = 0;

    for (int i = 0; i < MIG_FAULT_BUCKETS; i++)
        sum += t.p.dst_stats.fault_us[i];
    assert_int_equal(sum, t.p.dst_stats.faults);
    end(&t);
}

/* Once a slow link was seen, migrations begin with a probe of what the guest writes, which arms all
 * memory. Armed and not written is not the same as sent: there is no first round that sends it. */
static void
test_at_once_after_a_slow_link(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &idle);
    t.p.src.policy.allow_post_copy = t.p.src.policy.post_copy_at_once = false;
    t.p.src.limits.bandwidth_bytes_per_s = 20 * MIB;
    pair_run(&t.p);
    check_moved(&t);
    end(&t);
    begin(&t, &idle);
    pair_run(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.dst_stats.mode, MIG_MODE_POSTCOPY);
    end(&t);
}

/* A guest that dirties memory faster than the link takes it: rounds, and then post-copy. */
static void
test_hybrid(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &busy);
    t.p.src.policy.post_copy_at_once = false;
    t.p.src.limits.bandwidth_bytes_per_s = 40 * MIB;
    t.p.src.limits.max_downtime_us = 5000;
    t.p.src.limits.completion_timeout_us = 3000000;
    pair_run(&t.p);
    check_moved(&t);
    assert_true(t.p.src_stats.round > 0);
    assert_int_equal(t.p.src_stats.mode, MIG_MODE_POSTCOPY);
    end(&t);
}

/* A guest that does nothing: all is pushed, nobody asks for a page. */
static void
test_idle_guest(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &idle);
    pair_run(&t.p);
    check_moved(&t);
    end(&t);
}

static void
run_through_relay(struct both *t, struct relay *r)
{
    pair_listen(&t->p);
    relay_start(r, mig_target_address(t->p.target));
    pair_dial(&t->p, r->addr);
}

/* All connections are cut, again and again: the guest waits for missing pages only. */
static void
test_cuts(void **state)
{
    struct relay r = {0};
    struct both t;

    (void)state;
    begin(&t, &calm);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    run_through_relay(&t, &r);
    wait_postcopy(&t);
    for (uint64_t left = 24; left > 0; left -= 6) {
        wait_missing(&t, left * MIB);
        relay_cut(&r);
    }
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    assert_true(t.p.src_stats.reconnects >= 2);
    assert_true(t.p.dst_stats.reconnects >= 2);
    relay_stop(&r);
    end(&t);
}

/* Nothing goes through any more, and nobody is told: on they go another way. */
static void
test_the_way_around(void **state)
{
    struct relay r = {.trick = RELAY_HOLE, .connection = 1, .at = MIB};
    struct both t;

    (void)state;
    if (pair_over_rdma)
        skip(); /* the relay has no data channel to swallow (test_rdma_setup) */
    begin(&t, &calm);
    t.p.src.limits.bandwidth_bytes_per_s = 32 * MIB;
    t.p.src.dead_peer_us = t.p.dst.dead_peer_us = 400000;
    snprintf(t.p.dst.fallback_listen_ip, sizeof t.p.dst.fallback_listen_ip, "127.0.0.2");
    pair_listen(&t.p);
    relay_start(&r, mig_target_address(t.p.target));
    snprintf(t.p.src.fallback_addr, sizeof t.p.src.fallback_addr, "%s",
             mig_target_fallback_address(t.p.target));
    pair_dial(&t.p, r.addr);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    assert_true(t.p.src_stats.reconnects >= 1);
    relay_stop(&r);
    end(&t);
}

/* The target's handler ends in post-copy, and another goes on from what has arrived. */
static void
restart_target(struct both *t)
{
    mig_target_stop(t->p.target);
    pair_wait_target(&t->p);
    assert_int_equal(t->p.dst_outcome, MIG_TARGET_IN_DOUBT);
    mig_target_free(t->p.target);
    t->p.target = NULL;
    t->p.dst.recovering_committed = true;
    pair_listen(&t->p);
    if (t->p.source)
        mig_source_redirect(t->p.source, mig_target_address(t->p.target), NULL);
}

static void
test_target_restarts(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &calm);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_missing(&t, 20 * MIB);
    restart_target(&t);
    wait_missing(&t, 12 * MIB);
    restart_target(&t);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    end(&t);
}

/* The source's handler ends in post-copy; the next asks, and serves what is missing. */
static void
restart_source(struct both *t)
{
    mig_source_stop(t->p.source);
    pair_wait_source(&t->p);
    assert_int_equal(t->p.src_outcome, MIG_UNKNOWN);
    assert_false(fake_guest_running(t->a));
    mig_source_free(t->p.source);
    t->p.src.recovering = true;
    pair_dial(&t->p, NULL);
}

static void
test_source_restarts(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &calm);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_missing(&t, 20 * MIB);
    restart_source(&t);
    wait_missing(&t, 12 * MIB);
    restart_source(&t);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    end(&t);
}

static void
test_both_restart(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &calm);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_missing(&t, 20 * MIB);
    mig_source_stop(t.p.source);
    restart_target(&t);
    restart_source(&t);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    end(&t);
}

/* The source is gone for good: an error where the guest touches what is lost, and never zeros. */
static void
test_source_lost(void **state)
{
    struct mig_range damage[64];
    struct both t;
    uint64_t bytes = 0, good = 0, bad = 0;
    size_t n;

    (void)state;
    begin(&t, &idle);
    t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_missing(&t, 10 * MIB);
    mig_source_stop(t.p.source);
    pair_wait_source(&t.p);
    mig_target_source_lost(t.p.target);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_RUNNING);
    n = mig_target_damage(t.p.target, damage, 64);
    assert_true(n > 0);
    for (size_t i = 0; i < n && i < 64; i++)
        bytes += damage[i].bytes;
    assert_true(bytes > 0 && bytes <= 10 * MIB);
    for (uint64_t page = 0; page < 4096; page++) {
        bool in = false;

        for (size_t i = 0; i < n && i < 64; i++)
            in = in || (page * FAKE_PAGE >= damage[i].offset &&
                        page * FAKE_PAGE < damage[i].offset + damage[i].bytes);
        if (fake_guest_touch(t.b, page) == in)
            fail_msg("page %llu: %s", (unsigned long long)page, in ? "no error" : "an error");
        good += !in;
        bad += in;
    }
    assert_true(good > 0 && bad > 0);
    assert_int_equal(bad * FAKE_PAGE, bytes);
    end(&t);
}

/* --- each fault point --- */

static const struct point {
    const char *spec;
    bool moves;      /* else the guest stays where it was */
    bool reconnects; /* after the loss of a connection */
} points[] = {
    {"src.postcopy.missing:error", false, false}, {"dst.postcopy.ready:error", false, false},
    {"src.postcopy.push:error", true, true},      {"src.postcopy.push@30:error", true, true},
    {"src.postcopy.answer:error", true, true},    {"src.postcopy.answer@20:error", true, true},
    {"dst.postcopy.fault:error", true, true},     {"dst.postcopy.fault@20:error", true, true},
    {"src.postcopy.complete:error", true, true},
};

static void
test_point(void **state)
{
    const struct point *p = *state;
    struct both t;

    fault_clear();
    begin(&t, &busy);
    if (strstr(p->spec, ".answer"))
        t.p.src.rdma_window_bytes = 1; /* less than a page: the target may read nothing, and asks */
    assert_int_equal(fault_arm(p->spec, NULL), 0);
    pair_run(&t.p);
    fault_clear();
    if (p->moves) {
        check_moved(&t);
        assert_int_equal(t.p.src_stats.reconnects > 0, p->reconnects);
    } else {
        assert_int_equal(t.p.src_outcome, MIG_FAILED);
        assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
        assert_false(t.p.src_committed);
        assert_true(fake_guest_running(t.a));
        assert_false(fake_guest_running(t.b));
        assert_int_equal(fake_guest_wrong_pages(t.a), 0);
        assert_int_equal(fake_guest_uffds_open(t.b), 0);
    }
    end(&t);
}

/* The target has everything and dies before it can say so: the source keeps its copy until it hears it
 * another way, and nothing is lost. */
static void
test_complete_is_not_said(void **state)
{
    struct both t;

    (void)state;
    fault_clear();
    begin(&t, &busy);
    assert_int_equal(fault_arm("dst.postcopy.complete:error", NULL), 0);
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_RUNNING);
    mig_source_stop(t.p.source);
    pair_wait_source(&t.p);
    fault_clear();
    assert_int_equal(t.p.src_outcome, MIG_UNKNOWN);
    assert_false(fake_guest_running(t.a));
    fake_guest_wait_steps(t.b, fake_guest_steps(t.b) + 100);
    assert_int_equal(fake_guest_wrong_pages(t.b), 0);
    end(&t);
}

/* Cuts and restarts of both ends in an order that the seed chooses. */
static void
test_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct relay r = {0};
        struct rng rng;
        struct both t;
        bool through = seed % 2;

        rng_seed(&rng, seed);
        begin(&t, &calm);
        t.p.src.limits.bandwidth_bytes_per_s = 48 * MIB;
        if (through) {
            run_through_relay(&t, &r);
        } else {
            pair_listen(&t.p);
            pair_dial(&t.p, NULL);
        }
        wait_postcopy(&t);
        for (uint64_t left = 22; left > 2; left -= 5) {
            wait_missing(&t, left * MIB);
            switch (through ? 0 : 1 + rng_below(&rng, 3)) {
            case 0:
                relay_cut(&r);
                break;
            case 1:
                restart_target(&t);
                break;
            case 2:
                restart_source(&t);
                break;
            default:
                mig_source_stop(t.p.source);
                restart_target(&t);
                restart_source(&t);
            }
        }
        for (pair_wait_source(&t.p); has_no_answer(&t); pair_wait_source(&t.p))
            ask_again(&t);
        pair_wait_target(&t.p);
        check_moved(&t);
        if (through)
            relay_stop(&r);
        end(&t);
    }
}

/* --- pre-copy goes on, too --- */

static void
test_precopy_goes_on(void **state)
{
    for (int round = 0; round < 4; round++) {
        struct relay r = {0};
        struct both t;
        struct mig_stats st;
        struct rng rng;

        (void)state;
        rng_seed(&rng, (uint64_t)round + 1);
        begin(&t, &steady);
        t.p.src.policy = (struct mig_policy){0};
        t.p.src.limits.bandwidth_bytes_per_s = 64 * MIB;
        t.p.src.limits.max_downtime_us = 100000;
        run_through_relay(&t, &r);
        for (int cut = 0; cut < 2; cut++) {
            uint64_t at = (uint64_t)(cut * 16 + 2 + (int)rng_below(&rng, 24)) * MIB;

            do {
                poll(NULL, 0, 1);
                mig_source_stats(t.p.source, &st);
            } while (st.sent_bytes < at && !st.finished_us);
            relay_cut(&r);
        }
        pair_wait_source(&t.p);
        pair_wait_target(&t.p);
        /* a cut in the switchover itself may take it back, or leave it in doubt */
        if (t.p.src_outcome == MIG_MOVED && t.p.dst_outcome == MIG_TARGET_RUNNING) {
            check_moved(&t);
            if (!st.finished_us && st.round <= 1)
                assert_true(t.p.src_stats.reconnects >= 1);
        } else if (t.p.src_outcome == MIG_FAILED) {
            assert_true(fake_guest_running(t.a));
            assert_int_equal(fake_guest_wrong_pages(t.a), 0);
        }
        relay_stop(&r);
        end(&t);
    }
}

int
main(void)
{
    const struct CMUnitTest fixed[] = {
        cmocka_unit_test(test_at_once_after_a_slow_link), /* before others taught a fast one */
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_idle_guest),
        cmocka_unit_test(test_hybrid),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_the_way_around),
        cmocka_unit_test(test_target_restarts),
        cmocka_unit_test(test_source_restarts),
        cmocka_unit_test(test_both_restart),
        cmocka_unit_test(test_source_lost),
        cmocka_unit_test(test_precopy_goes_on),
        cmocka_unit_test(test_complete_is_not_said),
        cmocka_unit_test(test_seeds),
    };

    struct CMUnitTest tests[ARRAY_LEN(fixed) + ARRAY_LEN(points)];

    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        tests[ARRAY_LEN(fixed) + i] = (struct CMUnitTest){points[i].spec, test_point, NULL, NULL,
                                                          (void *)(uintptr_t)&points[i]};

    pair_skip_unless_supported(tests, sizeof tests / sizeof *tests);
    return _cmocka_run_group_tests("postcopy", tests, ARRAY_LEN(tests), NULL, NULL) +
           pair_run_rdma("postcopy", tests, ARRAY_LEN(tests));
}
