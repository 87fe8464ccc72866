/* Migrations over a network that damages, swallows and cuts. Whatever it does: one guest runs or
 * can be brought to, and its memory is right. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/relay.h"

#define MIB (1u << 20)

static const struct fake_config small = {
    {16 * MIB}, .seed = 61, .fill_pages = 4096, .set_pages = 400, .pages_per_s = 1500};

/* Bytes of a data channel to the target: the preamble, then a header with one record and 256 sums,
 * then 1 MiB of payload. */
#define HEADER  (FRAME_PREAMBLE_SIZE + 10)
#define RECORD  (FRAME_PREAMBLE_SIZE + FRAME_HEADER_SIZE + 3)
#define SUM     (FRAME_PREAMBLE_SIZE + FRAME_HEADER_SIZE + FRAME_RUN_SIZE + 100)
#define PAYLOAD (FRAME_PREAMBLE_SIZE + FRAME_HEADER_SIZE + FRAME_RUN_SIZE + 300000)

static const struct row {
    const char *name;
    enum relay_trick trick;
    int connection;
    bool to_source;
    uint64_t at;
    enum mig_outcome source; /* as far as it is certain */
    const char *text;        /* of the source */
} rows[] = {
    {"nothing", RELAY_NOTHING, 0, false, 0, MIG_MOVED, ""},
    {"a flipped bit in a page", RELAY_FLIP, 1, false, PAYLOAD, MIG_MOVED, ""},
    {"a flipped bit in another channel's page", RELAY_FLIP, 2, false, PAYLOAD + 600000, MIG_MOVED,
     ""},
    {"a flipped bit in a frame's header", RELAY_FLIP, 1, false, HEADER, MIG_FAILED, "page stream"},
    {"a flipped bit in a record", RELAY_FLIP, 2, false, RECORD, MIG_FAILED, "bad checksum"},
    {"a flipped bit in a page's sum", RELAY_FLIP, 1, false, SUM, MIG_FAILED, "bad checksum"},
    {"a flipped bit in the preamble's token", RELAY_FLIP, 1, false, 30, MIG_FAILED,
     "data channel 0"},
    {"a flipped bit in HELLO", RELAY_FLIP, 0, false, CONTROL_HEADER_SIZE + 5, MIG_FAILED,
     "bad checksum"},
    {"a flipped bit in ACCEPT", RELAY_FLIP, 0, true, CONTROL_HEADER_SIZE + 2, MIG_FAILED,
     "bad checksum"},
    {"swallowed: HELLO", RELAY_HOLE, 0, false, 10, MIG_FAILED, "no answer"},
    {"swallowed: in the first round", RELAY_HOLE, 1, false, PAYLOAD, MIG_FAILED,
     "nothing was heard"},
    {"cut: HELLO", RELAY_CUT, 0, false, 10, MIG_FAILED, ""},
    {"cut: in the first round", RELAY_CUT, 2, false, PAYLOAD, MIG_FAILED, ""},
};

/* A guest in doubt is asked for, on a network that is well again. */
static void
resolve(struct pair *p, struct fake_guest *a, struct fake_guest *b)
{
    struct pair q;
    struct err err = {0};

    if (p->dst_outcome == MIG_TARGET_RUNNING)
        return;
    assert_int_equal(p->dst_outcome, MIG_TARGET_IN_DOUBT);
    pair_init(&q, a, b);
    q.dst.recovering = true;
    pair_listen(&q);
    snprintf(q.src.target_addr, sizeof q.src.target_addr, "%s", mig_target_address(q.target));
    assert_int_equal(mig_source_resolve(&q.src, &err), MIG_MOVED);
    pair_wait_target(&q);
    assert_int_equal(q.dst_outcome, MIG_TARGET_RUNNING);
    pair_done(&q);
}

static void
check(struct pair *p, struct fake_guest *a, struct fake_guest *b)
{
    if (p->src_outcome == MIG_UNKNOWN) {
        assert_true(p->src_committed);
        assert_false(fake_guest_running(a));
        resolve(p, a, b);
    }
    if (p->src_outcome == MIG_FAILED) {
        assert_true(fake_guest_running(a));
        assert_false(fake_guest_running(b));
        assert_false(p->dst_committed);
        assert_true(p->src_err.msg[0]);
        assert_int_equal(fake_guest_wrong_pages(a), 0);
    } else {
        assert_false(fake_guest_running(a));
        assert_true(fake_guest_running(b));
        assert_int_equal(fake_guest_wrong_pages(b), 0);
    }
    assert_int_equal(fake_guest_uffds_open(a), 0);
}

static void
test_row(void **state)
{
    const struct row *row = *state;
    struct fake_guest *a = fake_guest_new(&small, false), *b = fake_guest_new(&small, true);
    struct relay r = {.trick = row->trick,
                      .connection = row->connection,
                      .to_source = row->to_source,
                      .at = row->at};
    struct pair p;

    pair_init(&p, a, b);
    if (row->trick == RELAY_HOLE)
        p.src.dead_peer_us = p.dst.dead_peer_us = 500000;
    p.dst.idle_timeout_us = 1000000;
    pair_listen(&p);
    relay_start(&r, mig_target_address(p.target));
    pair_dial(&p, r.addr);
    pair_wait_source(&p);
    pair_wait_target(&p);
    if (p.src_outcome != row->source || !strstr(p.src_err.msg, row->text))
        fail_msg("outcome %d: %s; target: %s", p.src_outcome, p.src_err.msg, p.dst_err.msg);
    assert_int_equal(r.done, row->trick != RELAY_NOTHING);
    if (row->trick == RELAY_FLIP && row->source == MIG_MOVED)
        assert_true(p.src_stats.again_pages >= 1);
    check(&p, a, b);
    relay_stop(&r);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

/* The whole conversation on the control connection, cut at ever later places, in both directions:
 * everything from HELLO to RUNNING is lost once. */
static void
test_cut_everywhere(void **state)
{
    const struct fake_config tiny = {{4 * MIB}, .seed = 62, .fill_pages = 256};
    unsigned outcomes[3] = {0}, runs = 0;

    (void)state;
    for (int to_source = 0; to_source < 2; to_source++) {
        for (uint64_t at = 0;; at += 9) {
            struct fake_guest *a = fake_guest_new(&tiny, false), *b = fake_guest_new(&tiny, true);
            struct relay r = {.trick = RELAY_CUT, .to_source = to_source, .at = at};
            struct pair p;
            bool played;

            pair_init(&p, a, b);
            p.dst.idle_timeout_us = 400000;
            pair_listen(&p);
            relay_start(&r, mig_target_address(p.target));
            pair_dial(&p, r.addr);
            pair_wait_source(&p);
            pair_wait_target(&p);
            check(&p, a, b);
            played = r.done;
            outcomes[p.src_outcome]++;
            runs++;
            relay_stop(&r);
            pair_done(&p);
            fake_guest_free(a);
            fake_guest_free(b);
            if (!played)
                break; /* the conversation was over before */
        }
    }
    print_message("# %u cuts: %u moved, %u failed, %u in doubt at first\n", runs,
                  outcomes[MIG_MOVED], outcomes[MIG_FAILED], outcomes[MIG_UNKNOWN]);
    assert_true(runs > 30 && outcomes[MIG_FAILED] > 10 && outcomes[MIG_UNKNOWN] > 2 &&
                outcomes[MIG_MOVED] >= 2);
}

/* Known within dead_peer_us, on both sides, and not much later. */
static void
test_dead_peer_is_known_soon(void **state)
{
    const struct fake_config c = {{64 * MIB}, .seed = 63, .fill_pages = 16384};
    struct fake_guest *a = fake_guest_new(&c, false), *b = fake_guest_new(&c, true);
    struct relay r = {.trick = RELAY_HOLE, .connection = 1, .at = 4 * MIB};
    struct pair p;
    uint64_t began = 0;

    (void)state;
    pair_init(&p, a, b);
    p.src.dead_peer_us = p.dst.dead_peer_us = 1000000;
    pair_listen(&p);
    relay_start(&r, mig_target_address(p.target));
    pair_dial(&p, r.addr);
    while (!r.done)
        poll(NULL, 0, 1);
    began = clock_mono_us();
    pair_wait_source(&p);
    pair_wait_target(&p);
    assert_int_equal(p.src_outcome, MIG_FAILED);
    assert_int_equal(p.cause, MIG_CAUSE_PEER);
    assert_int_equal(p.dst_outcome, MIG_TARGET_FAILED);
    assert_in_range(clock_mono_us() - began, 500000, 4000000);
    check(&p, a, b);
    relay_stop(&r);
    pair_done(&p);
    fake_guest_free(a);
    fake_guest_free(b);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_dead_peer_is_known_soon),
    };
    struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_row,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
