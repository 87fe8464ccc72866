/* A target against a source that lies about windows, over a real lane of its own: what it asks for, what
 * it says was placed, what it writes and never vouches for, and what it writes when it may not any
 * more. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/rdma_lane.h"
#include "proto/sum.h"
#include "tests/migrate/verbs_double.h"
#include "tests/migrate/wire_peer.h"

#define MIB   (1u << 20)
#define PAGES LAYOUT_STRIPE_PAGES

static const struct fake_config two = {{5 * MIB, 4 * MIB}, .seed = 51, .fill_pages = 1};

/* The source by hand: control connection, one lane. */
struct rogue {
    struct both t;
    struct wire_peer w;
    struct nic *nic;
    struct lane *lane;
    uint8_t *pages; /* 4, registered */
    struct nic_mr *mr;
};

static bool
up(struct rogue *r, uint64_t window_bytes)
{
    const char *ip = rdma_test_ip();
    struct frame_preamble p = {.channel = 0, .epoch = 1};
    struct lane_config cfg = {0};
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    char addr[MIG_ADDR_SIZE];
    struct control_msg m = {.type = CONTROL_HELLO};
    struct err err = {0};
    int rc;

    if (!ip) {
        print_message("# SKIP no RDMA device: RDMA_TEST_IP names the address of one\n");
        skip();
    }
    memset(r, 0, sizeof *r);
    both_begin(&r->t, &two);
    snprintf(r->t.p.dst.listen_ip, sizeof r->t.p.dst.listen_ip, "%s", ip);
    r->t.p.dst.network_trusted = true;
    r->t.p.dst.rdma_window_bytes = window_bytes;
    pair_listen(&r->t.p);
    wire_peer_init(&r->w, &r->t.p.dst.ident, r->t.b, 1);
    r->w.hello.rdma = true;
    m.hello = r->w.hello;
    r->w.ctl = wire_connect(mig_target_address(r->t.p.target));
    if (r->w.ctl < 0 || !wire_say(&r->w, m) || !wire_hear(&r->w, &m) || m.type != CONTROL_ACCEPT ||
        !m.accept.has_rdma || !m.accept.rdma.port)
        return false;
    p.uid_sum = frame_uid_sum(r->w.hello.migration_uid, r->w.generation);
    memcpy(p.token, m.accept.rdma.token, sizeof p.token);
    frame_encode_preamble(buf, &p);
    snprintf(addr, sizeof addr, "%s:%u", ip, m.accept.rdma.port);
    rc = nic_open(ip, "", &r->nic, &err);
    if (rc == 0)
        rc = lane_dial(r->nic, addr, buf, &cfg, 5000000, -1, &r->lane, &err);
    r->pages = aligned_alloc(4096, 4 * 4096);
    memset(r->pages, 0xa5, 4 * 4096);
    if (rc == 0)
        rc = nic_register(r->nic, r->pages, 4 * 4096, NIC_LOCAL, &r->mr, &err);
    if (rc != 0)
        print_error("%s\n", err_msg(&err));
    return rc == 0;
}

static void
down(struct rogue *r)
{
    lane_free(r->lane);
    nic_close(r->nic);
    free(r->pages);
    wire_peer_done(&r->w);
    both_end(&r->t);
    assert_int_equal(r->t.p.dst_stats.registered_bytes, 0);
    assert_false(verbs_reset());
}

static bool
begin_round(struct rogue *r, uint32_t round, bool paused)
{
    return wire_say(&r->w, (struct control_msg){.type = CONTROL_ROUND_BEGIN,
                                                .round_begin = {.round = round, .paused = paused}});
}

/* The target's answer about one stripe: its key. */
static bool
want(struct rogue *r, uint64_t stripe, struct control_window *ret)
{
    struct control_window w = {.first_page = stripe * PAGES, .pages = PAGES};
    struct control_msg m = {.type = CONTROL_WINDOWS_WANTED, .windows = {.len = 1, .windows = &w}};
    bool ok = wire_say(&r->w, m) && wire_hear(&r->w, &m);

    ok = ok && m.type == CONTROL_WINDOWS && m.windows.len == 1 &&
         m.windows.windows[0].first_page == w.first_page && m.windows.windows[0].pages == w.pages;
    if (ok)
        *ret = m.windows.windows[0];
    if (m.type == CONTROL_WINDOWS && ok)
        control_msg_done(&m);
    return ok;
}

/* Bytes of ours to a page of the window; and whether they have left. */
static int
put(struct rogue *r, const struct control_window *w, uint64_t page, struct err *err)
{
    struct lane_write x = {.from = r->pages,
                           .mr = r->mr,
                           .to = w->address + page * 4096,
                           .key = w->key,
                           .bytes = 4096};
    uint64_t ticket;
    int rc = lane_write(r->lane, &x, 1, &ticket, err);

    return rc ? rc : lane_wait(r->lane, ticket, err);
}

static bool
say_placed(struct rogue *r, uint32_t round, uint16_t region, uint64_t offset, uint64_t sum)
{
    const struct frame_run run = {
        .offset = offset, .pages = 1, .region = region, .kind = FRAME_PLACED};
    struct frame_header h = {
        .type = FRAME_BATCH, .round = round, .runs = 1, .pages = 1, .seq = r->w.seq[0]++};
    uint8_t buf[FRAME_MAX_HEAD];
    struct iovec iov = {.iov_base = buf, .iov_len = frame_encode(buf, &h, &run, &sum)};

    return lane_send(r->lane, &iov, 1, NULL) == 0;
}

/* *ret: pages that it asks for again. */
static bool
end_round(struct rogue *r, uint32_t round, uint64_t batches, uint64_t raw, uint32_t *ret)
{
    struct frame_header h = {.type = FRAME_ROUND_END, .round = round, .seq = r->w.seq[0]++};
    struct control_msg m = {.type = CONTROL_ROUND_END,
                            .round_end = {.round = round, .channels = 1}};
    uint8_t buf[FRAME_MAX_HEAD];
    struct iovec iov = {.iov_base = buf, .iov_len = frame_encode(buf, &h, NULL, NULL)};

    m.round_end.totals[0] = (struct control_totals){.batches = batches, .raw_pages = raw};
    if (lane_send(r->lane, &iov, 1, NULL) != 0 || !wire_say(&r->w, m) || !wire_hear(&r->w, &m) ||
        m.type != CONTROL_ROUND_DONE)
        return false;
    *ret = m.round_done.bad_len ? m.round_done.bad[0].pages : 0;
    control_msg_done(&m);
    return true;
}

/* It gives up, and says that the protocol was broken. */
static void
refused(struct rogue *r, const char *text)
{
    struct control_msg m;

    assert_true(wire_hear(&r->w, &m));
    while (m.type == CONTROL_WINDOWS) {
        control_msg_done(&m);
        assert_true(wire_hear(&r->w, &m));
    }
    assert_int_equal(m.type, CONTROL_ERROR);
    assert_int_equal(m.text.code, CONTROL_ERR_PROTOCOL);
    if (!strstr(m.text.text, text))
        fail_msg("'%s' does not say '%s'", m.text.text, text);
    pair_wait_target(&r->t.p);
    assert_int_equal(r->t.p.dst_outcome, MIG_TARGET_FAILED);
}

/* Nothing of ours is in the guest's memory. */
static void
untouched(struct rogue *r)
{
    for (int i = 0; i < r->t.b->regions_len; i++) {
        const struct guest_region *g = &r->t.b->regions[i];

        for (uint64_t at = 0; at < g->size; at += 4096) {
            if (g->map[at])
                fail_msg("region %d: page at %#llx is not zero", i, (unsigned long long)at);
        }
    }
}

/* Region 0 has stripes 0 to 2, the last of 1 MiB; region 1 stripes 3 and 4. */
static const struct ask_row {
    const char *name, *text;
    struct control_window want[2], release[1];
    uint32_t want_len, release_len;
} asks[] = {
    {"not at a stripe's begin", "no window", {{.first_page = 1, .pages = PAGES}}, .want_len = 1},
    {"part of a stripe", "no window", {{.first_page = 0, .pages = 511}}, .want_len = 1},
    {"more than a stripe", "no window", {{.first_page = 0, .pages = 513}}, .want_len = 1},
    {"behind a short stripe",
     "no window",
     {{.first_page = 2 * PAGES, .pages = PAGES}},
     .want_len = 1},
    {"two regions",
     "no window",
     {{.first_page = PAGES, .pages = PAGES + 256 + PAGES}},
     .want_len = 1},
    {"behind memory", "no window", {{.first_page = 5 * PAGES, .pages = PAGES}}, .want_len = 1},
    {"far behind memory", "no window", {{.first_page = 1ull << 50, .pages = PAGES}}, .want_len = 1},
    {"from memory's end on",
     "no window",
     {{.first_page = 4 * PAGES, .pages = 1ull << 40}},
     .want_len = 1},
    {"twice in a message",
     "given already",
     {{.first_page = 0, .pages = PAGES}, {.first_page = 0, .pages = PAGES}},
     .want_len = 2},
    {"one inside another",
     "given already",
     {{.first_page = 0, .pages = 2 * PAGES}, {.first_page = PAGES, .pages = PAGES}},
     .want_len = 2},
    {"gives back what it never had", "gives back", .release = {{.first_page = 0, .pages = PAGES}},
     .release_len = 1},
    {"gives back outside memory", "gives back",
     .release = {{.first_page = 9 * PAGES, .pages = PAGES}}, .release_len = 1},
};

static void
test_asks(void **state)
{
    const struct ask_row *row = *state;
    struct control_window w[2], b[1];
    struct rogue r;
    struct control_msg m = {
        .type = CONTROL_WINDOWS_WANTED,
        .windows = {
            .len = row->want_len, .release_len = row->release_len, .windows = w, .release = b}};

    memcpy(w, row->want, sizeof w);
    memcpy(b, row->release, sizeof b);
    assert_true(up(&r, 0));
    assert_true(wire_say(&r.w, m));
    refused(&r, row->text);
    down(&r);
}

static void
test_placed_without_a_window(void **state)
{
    struct control_window w;
    struct rogue r;

    (void)state;
    assert_true(up(&r, 0));
    assert_true(begin_round(&r, 1, false));
    assert_true(want(&r, 0, &w));
    assert_int_not_equal(w.key, 0);
    assert_true(say_placed(&r, 1, 0, 2 * MIB, 0)); /* the stripe beside it */
    refused(&r, "not open to the source");
    untouched(&r);
    down(&r);
}

/* Not more than it may have; what it gives back it may have again, and the old key is dead. */
static void
test_budget(void **state)
{
    struct control_window a, b, again;
    struct err err = {0};
    struct control_msg m = {.type = CONTROL_WINDOWS_WANTED,
                            .windows = {.release_len = 1, .release = &a}};
    struct rogue r;

    (void)state;
    assert_true(up(&r, 3 * MIB));
    assert_true(want(&r, 0, &a) && want(&r, 1, &b));
    assert_int_not_equal(a.key, 0);
    assert_int_equal(b.key, 0);
    assert_true(wire_say(&r.w, m));
    assert_true(want(&r, 1, &b));
    assert_int_not_equal(b.key, 0);
    assert_int_not_equal(a.key, b.key);
    assert_int_equal(put(&r, &b, 0, &err), 0);
    assert_true(want(&r, 0, &again));
    assert_int_equal(again.key, 0);
    assert_int_equal(put(&r, &a, 0, &err), -EREMOTEIO);
    down(&r);
}

/* Beside its window nothing is to be reached. */
static void
test_beside_the_window(void **state)
{
    struct control_window w;
    struct err err = {0};
    struct rogue r;

    (void)state;
    assert_true(up(&r, 0));
    assert_true(want(&r, 0, &w));
    assert_int_equal(put(&r, &w, PAGES, &err), -EREMOTEIO);
    wire_peer_done(&r.w);
    pair_wait_target(&r.t.p);
    untouched(&r);
    down(&r);
}

/* Pages that were written, and then the connection is gone: zero again. */
static void
test_never_vouched_for(void **state)
{
    struct control_window w;
    struct err err = {0};
    struct rogue r;

    (void)state;
    assert_true(up(&r, 0));
    assert_true(begin_round(&r, 1, false));
    for (uint64_t stripe = 0; stripe < 5; stripe += 3) {
        assert_true(want(&r, stripe, &w));
        assert_int_equal(put(&r, &w, 0, &err), 0);
        assert_int_equal(put(&r, &w, 300, &err), 0);
    }
    assert_int_equal(r.t.b->regions[0].map[0], 0xa5); /* it did arrive */
    wire_peer_done(&r.w);
    pair_wait_target(&r.t.p);
    assert_int_equal(r.t.p.dst_outcome, MIG_TARGET_FAILED);
    untouched(&r);
    down(&r);
}

/* A sum that is not the page's: zero at once, and asked for again. Beside it one that is right, and one
 * that nobody speaks of. From FINISH on the window is shut. */
static void
test_to_the_end(void **state)
{
    struct control_msg finish = {.type = CONTROL_FINISH, .finish = {.round = 2}};
    struct control_window w;
    struct err err = {0};
    const uint8_t *map;
    uint32_t again = 0;
    struct rogue r;
    uint64_t good;

    (void)state;
    assert_true(up(&r, 0));
    map = r.t.b->regions[0].map;
    good = frame_page_sum(r.pages);
    assert_true(begin_round(&r, 1, false));
    assert_true(want(&r, 0, &w));
    for (uint64_t page = 7; page < 10; page++)
        assert_int_equal(put(&r, &w, page, &err), 0);
    assert_true(say_placed(&r, 1, 0, 7 * 4096, good + 1));
    assert_true(say_placed(&r, 1, 0, 8 * 4096, good));
    assert_true(end_round(&r, 1, 2, 2, &again));
    assert_int_equal(again, 1);
    assert_int_equal(map[7 * 4096], 0);
    assert_int_equal(map[8 * 4096], 0xa5);
    assert_true(begin_round(&r, 2, true));
    assert_int_equal(put(&r, &w, 7, &err), 0);
    assert_true(say_placed(&r, 2, 0, 7 * 4096, good));
    assert_true(end_round(&r, 2, 3, 3, &again));
    assert_int_equal(again, 0);
    assert_int_equal(map[9 * 4096], 0xa5); /* there yet: it may be vouched for while it is open */
    finish.finish.state_sum = sum_bytes(NULL, 0, 0);
    assert_true(wire_say(&r.w, finish));
    pair_wait_target(&r.t.p); /* there is no device state to load, but FINISH was acted on */
    assert_int_not_equal(put(&r, &w, 20, &err), 0);
    assert_int_equal(map[7 * 4096], 0xa5);
    assert_int_equal(map[8 * 4096], 0xa5);
    assert_int_equal(map[9 * 4096], 0);
    assert_int_equal(map[20 * 4096], 0);
    assert_int_equal(r.t.p.dst_stats.placed_pages, 3);
    down(&r);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_placed_without_a_window),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_beside_the_window),
        cmocka_unit_test(test_never_vouched_for),
        cmocka_unit_test(test_to_the_end),
    };
    struct CMUnitTest tests[ARRAY_LEN(asks) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        tests[n++] = (struct CMUnitTest){.name = asks[i].name,
                                         .test_func = test_asks,
                                         .initial_state = (void *)(uintptr_t)&asks[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    return _cmocka_run_group_tests("rdma_windows", tests, n, NULL, NULL);
}
