/* Post-copy by RDMA READ: faults that nothing at the source runs for, and whatever can go wrong with
 * them. Every fault is served, by a READ or by a request, and every byte is right in the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "migrate/bits.h"
#include "migrate/rdma_reach.h"
#include "proto/sum.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/verbs_double.h"
#include "tests/migrate/wire_peer.h"

#define MIB     (1u << 20)
#define PATIENT 20000000
#define SLOW    (2 * MIB) /* bytes a second: what is missing stays missing while a test acts */

static const struct fake_config idle = {{16 * MIB}, .seed = 90, .fill_pages = 4096};
static const struct fake_config calm = {{24 * MIB, 8 * MIB}, .seed = 91,        .fill_pages = 6000,
                                        .zero_pages = 500,   .set_pages = 6400, .pages_per_s = 500,
                                        .zero_percent = 10};
static const struct fake_config busy = {
    {24 * MIB, 8 * MIB}, .seed = 92,           .fill_pages = 6000, .zero_pages = 500,
    .set_pages = 6400,   .pages_per_s = 20000, .zero_percent = 10};
static const struct fake_config sparse = {{24 * MIB, 8 * MIB}, .seed = 93,
                                          .fill_pages = 800,   .set_pages = 800,
                                          .pages_per_s = 2000, .stride = 10};

/* --- what was said --- */

static struct {
    pthread_mutex_t mu;
    char noted[1024], decided[8192];
    uint64_t mr_bytes_at_commit, registered_at_commit;
    bool fail_registrations;
} heard = {.mu = PTHREAD_MUTEX_INITIALIZER};

static void
hear(char *buf, size_t size, const char *text)
{
    pthread_mutex_lock(&heard.mu);
    strncat(buf, text, size - strlen(buf) - 1);
    strncat(buf, "\n", size - strlen(buf) - 1);
    pthread_mutex_unlock(&heard.mu);
}

static bool
was_heard(const char *buf, const char *text)
{
    bool is;

    pthread_mutex_lock(&heard.mu);
    is = strstr(buf, text) != NULL;
    pthread_mutex_unlock(&heard.mu);
    return is;
}

static void
on_noted(void *ctx, const char *text)
{
    (void)ctx;
    hear(heard.noted, sizeof heard.noted, text);
}

static void
on_decided(struct pair *p, const struct mig_decision *d)
{
    (void)p;
    hear(heard.decided, sizeof heard.decided, d->text);
}

/* COMMIT has come, and nothing runs at the target yet. */
static void
on_committed(struct pair *p)
{
    struct verbs_counts c = {0};
    struct mig_stats st;

    if (!p->source)
        return;
    mig_source_stats(p->source, &st);
    verbs_counts(&c);
    heard.registered_at_commit = st.registered_peak_bytes;
    heard.mr_bytes_at_commit = c.mr_bytes;
    if (heard.fail_registrations)
        verbs_fail_call("ibv_reg_mr", 0, ENOMEM);
}

/* --- migrations --- */

static void
state_path(char *buf, size_t size)
{
    snprintf(buf, size, "/tmp/drover-test-rdma-postcopy-%d", (int)getpid());
}

static void
begin(struct both *t, const struct fake_config *c)
{
    const char *ip = rdma_test_ip();

    heard.noted[0] = heard.decided[0] = '\0';
    heard.fail_registrations = false;
    both_begin(t, c);
    t->p.src.policy.allow_post_copy = t->p.src.policy.post_copy_at_once = true;
    t->p.src.policy.transport = MIG_TRANSPORT_RDMA;
    t->p.src.network_trusted = t->p.dst.network_trusted = true;
    snprintf(t->p.src.local_ip, sizeof t->p.src.local_ip, "%s", ip);
    snprintf(t->p.dst.listen_ip, sizeof t->p.dst.listen_ip, "%s", ip);
    t->p.src.reconnect_us = t->p.dst.reconnect_us = PATIENT;
    t->p.on_committed = on_committed;
    t->p.on_decided = on_decided;
    t->p.dst.noted = on_noted;
    state_path(t->p.dst.state_path, sizeof t->p.dst.state_path);
    unlink(t->p.dst.state_path);
}

static void
end(struct both *t)
{
    char path[64];

    both_end(t);
    state_path(path, sizeof path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(verbs_reset()); /* nothing of RDMA stays: no registration, queue pair, anything */
}

static void
need_double(void)
{
    if (verbs_is_double())
        return;
    print_message("# SKIP a real device does not fail at our wish\n");
    skip();
}

static struct mig_stats
at_source(struct both *t)
{
    struct mig_stats st;

    mig_source_stats(t->p.source, &st);
    return st;
}

static struct mig_stats
at_target(struct both *t)
{
    struct mig_stats st;

    mig_target_stats(t->p.target, &st);
    return st;
}

static void
check_moved(struct both *t)
{
    if (t->p.src_outcome != MIG_MOVED)
        fail_msg("source: outcome %d: %s", t->p.src_outcome, err_msg(&t->p.src_err));
    if (t->p.dst_outcome != MIG_TARGET_RUNNING)
        fail_msg("target: outcome %d: %s", t->p.dst_outcome, err_msg(&t->p.dst_err));
    assert_false(fake_guest_running(t->a));
    assert_true(fake_guest_running(t->b));
    if (t->b->cfg.set_pages)
        fake_guest_wait_steps(t->b, fake_guest_steps(t->b) + 100);
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    assert_int_equal(fake_guest_uffds_open(t->b), 0);
    assert_int_equal(t->p.dst_stats.mode, MIG_MODE_POSTCOPY);
    assert_int_equal(t->p.src_stats.registered_bytes, 0);
}

static void
wait_postcopy(struct both *t)
{
    while (at_target(t).mode != MIG_MODE_POSTCOPY || !t->p.dst_committed)
        poll(NULL, 0, 1);
}

/* More faults are answered by READs than until now. */
static void
wait_reads(struct both *t)
{
    uint64_t before = at_target(t).read_faults;

    while (at_target(t).read_faults <= before + 3)
        poll(NULL, 0, 1);
}

/* So much of the source's memory is open, and the target knows. */
static void
wait_open(struct both *t, uint64_t bytes)
{
    while (at_source(t).registered_bytes < bytes)
        poll(NULL, 0, 1);
}

/* Both begun, slowly; the guest runs at the target, and the source's memory is open to it. */
static void
start_slowly(struct both *t, uint64_t open_bytes)
{
    t->p.src.limits.bandwidth_bytes_per_s = SLOW;
    pair_listen(&t->p);
    pair_dial(&t->p, NULL);
    wait_postcopy(t);
    wait_open(t, open_bytes);
}

/* Touches pages from this one on, until one of them was read: from here on all windows are known, as they
 * are said in order and this is in the last one. The next page that was not touched. */
static uint64_t
touch_until_read(struct both *t, uint64_t page)
{
    uint64_t before = at_target(t).read_faults;

    while (at_target(t).read_faults == before) {
        assert_true(page < 4090);
        assert_true(fake_guest_touch(t->b, page));
        page += 4;
    }
    return page;
}

/* Here and there in the second half of `idle`, so that it looks like no walk. */
static uint64_t
scattered(int i)
{
    return 2200 + (uint64_t)i * 131 % 1880;
}

static void
finish(struct both *t)
{
    mig_source_set_bandwidth(t->p.source, 0);
    pair_wait_source(&t->p);
    pair_wait_target(&t->p);
    check_moved(t);
}

/* The target's queue pair for READs, once it has carried one out. */
static struct verbs_qp
read_queue(void)
{
    struct verbs_qp qps[VERBS_QPS_MAX];

    for (;;) {
        size_t n = verbs_qps(qps, VERBS_QPS_MAX);

        for (size_t i = 0; i < n; i++)
            if (qps[i].sent[IBV_WR_RDMA_READ] > 0 && qps[i].state == IBV_QPS_RTS)
                return qps[i];
        poll(NULL, 0, 1);
    }
}

/* Nothing that it posts is carried out any more, and something has been posted: the guest's writer waits
 * for it. */
static uint32_t
hold_a_read(void)
{
    struct verbs_qp q = read_queue();

    verbs_hold(q.number, true);
    do {
        poll(NULL, 0, 1);
        q = read_queue();
    } while (q.waiting == 0);
    return q.number;
}

/* By hand: all up to a guest that runs at the target and lacks its first page. */
static bool
wire_post_copy(struct wire_peer *w, const char *addr, struct fake_guest *from)
{
    struct guest g = fake_guest_port(from);
    struct control_finish f = {.post_copy = true, .missing_pages = 1};
    AUTO_FREE void *state = NULL;
    uint64_t bits[1] = {1};
    size_t len;

    if (g.ops->pause(g.impl, NULL) != 0 || g.ops->save_state(g.impl, &state, &len, NULL) != 0)
        return false;
    f.state_bytes = len;
    f.state_sum = sum_bytes(state, len, 0);
    return wire_source_up(w, addr) && wire_source_data(w, addr, FRAME_URGENT_CHANNEL) &&
           wire_say(w, (struct control_msg){.type = CONTROL_MISSING,
                                            .missing = {.words = 1, .bits = bits, .last = true}}) &&
           wire_say(w, (struct control_msg){.type = CONTROL_STATE,
                                            .state = {.len = len, .data = state}}) &&
           wire_say(w, (struct control_msg){.type = CONTROL_FINISH, .finish = f}) &&
           wire_hear_type(w, CONTROL_PREPARED) && wire_say_simple(w, CONTROL_COMMIT) &&
           wire_hear_type(w, CONTROL_RUNNING);
}

/* --- windows --- */

static void
fill(uint64_t bits[REACH_WORDS], const uint32_t (*runs)[2])
{
    memset(bits, 0, REACH_WORDS * 8);
    for (; (*runs)[1]; runs++)
        bits_set_range(bits, (*runs)[0], (*runs)[0] + (*runs)[1]);
}

static void
test_which_windows(void **state)
{
    static const struct {
        const char *name;
        uint32_t missing[4][2], data[4][2], want[4][2]; /* first page, pages */
    } rows[] = {
        {"nothing is missing", {{0}}, {{0, 512}}, {{0}}},
        {"nothing has data", {{0, 512}}, {{0}}, {{0}}},
        {"all of it", {{0, 512}}, {{0, 512}}, {{0, 512}}},
        {"a page", {{7, 1}}, {{0, 512}}, {{7, 1}}},
        {"the last page", {{511, 1}}, {{511, 1}}, {{511, 1}}},
        {"little: what is missing", {{7, 1}, {9, 2}}, {{0, 512}}, {{7, 1}, {9, 2}}},
        {"little, and a page of it without data", {{7, 4}}, {{0, 8}, {9, 9}}, {{7, 1}, {9, 2}}},
        {"much: with what has data", {{0, 64}, {100, 64}}, {{0, 512}}, {{0, 512}}},
        {"much: and no page without data",
         {{0, 64}, {100, 64}},
         {{0, 70}, {90, 80}},
         {{0, 70}, {90, 80}}},
        {"much: only where some is missing", {{0, 128}}, {{0, 130}, {200, 300}}, {{0, 130}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t missing[REACH_WORDS], data[REACH_WORDS];
        struct reach_run got[REACH_RUNS];
        unsigned n, want = 0;

        fill(missing, rows[i].missing);
        fill(data, rows[i].data);
        while (rows[i].want[want][1])
            want++;
        n = reach_runs(missing, data, got);
        if (n != want)
            fail_msg("%s: %u windows, want %u", rows[i].name, n, want);
        for (unsigned k = 0; k < n; k++)
            if (got[k].first != rows[i].want[k][0] || got[k].pages != rows[i].want[k][1])
                fail_msg("%s: window %u is %u+%u", rows[i].name, k, got[k].first, got[k].pages);
    }
}

/* Single pages far apart: more than there may be windows in a stripe. */
static void
test_windows_are_few(void **state)
{
    uint64_t missing[REACH_WORDS] = {0}, data[REACH_WORDS];
    struct reach_run got[REACH_RUNS];

    (void)state;
    for (uint64_t i = 0; i < LAYOUT_STRIPE_PAGES; i += 6)
        bits_set(missing, i);
    assert_int_equal(reach_runs(missing, missing, got), REACH_RUNS);
    memset(data, 0xff, sizeof data);
    assert_int_equal(reach_runs(missing, data, got), 1);
    assert_int_equal(got[0].pages, LAYOUT_STRIPE_PAGES);
}

/* Two regions: pages 0 to 1279 (two stripes and a half), and 1536 to 2047. */
static void
test_windows_that_lie(void **state)
{
    static const struct {
        const char *name;
        struct control_window w;
        bool good;
    } rows[] = {
        {"one page", {5, 1, 0x1000, 1}, true},
        {"a whole region", {0, 1280, 0x1000, 1}, true},
        {"the other", {1536, 512, 0x1000, 1}, true},
        {"beside another", {20, 80, 0x1000, 1}, true},
        {"before another", {90, 10, 0x1000, 1}, true},
        {"no page", {5, 0, 0x1000, 1}, false},
        {"no key", {5, 1, 0x1000, 0}, false},
        {"over the end of a region", {1279, 2, 0x1000, 1}, false},
        {"behind the end of a region", {1280, 1, 0x1000, 1}, false},
        {"from one region into the next", {1000, 600, 0x1000, 1}, false},
        {"behind all memory", {2048, 1, 0x1000, 1}, false},
        {"very far", {UINT64_MAX, 1, 0x1000, 1}, false},
        {"very many", {5, UINT64_MAX, 0x1000, 1}, false},
        {"an address that wraps", {5, 16, UINT64_MAX - 0x7fff, 1}, false},
    };
    struct layout_region regions[2] = {{5 * MIB, 4096}, {2 * MIB, 4096}};
    struct layout l;

    (void)state;
    assert_int_equal(layout_init(&l, regions, 2, 2, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct control_window two[2] = {{100, 10, 0x8000, 9}, rows[i].w};
        struct control_windows m = {.len = rows[i].w.pages == 1280 ? 1 : 2,
                                    .windows = two + (rows[i].w.pages == 1280)};
        struct reach r = {0};
        struct err err = {0};

        if ((reach_add(&r, &l, &m, &err) == 0) != rows[i].good)
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
        reach_done(&r);
    }
}

static void
test_windows_do_not_overlap(void **state)
{
    struct layout_region region = {8 * MIB, 4096};
    struct control_window has[2] = {{300, 50, 0x8000, 9}, {100, 10, 0x8000, 8}};
    static const struct control_window bad[] = {
        {100, 10, 0x1000, 1}, {95, 6, 0x1000, 1},    {109, 1, 0x1000, 1},
        {0, 2048, 0x1000, 1}, {105, 200, 0x1000, 1}, {349, 100, 0x1000, 1},
    };
    struct layout l;
    struct reach r = {0};

    (void)state;
    assert_int_equal(layout_init(&l, &region, 1, 1, NULL), 0);
    assert_int_equal(reach_add(&r, &l, &(struct control_windows){.len = 2, .windows = has}, NULL),
                     0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct control_window w = bad[i];
        struct control_windows m = {.len = 1, .windows = &w};

        assert_int_equal(reach_add(&r, &l, &m, NULL), -EPROTO);
        assert_int_equal(r.len, 2);
    }
    assert_null(reach_find(&r, 99));
    assert_int_equal(reach_find(&r, 100)->key, 8);
    assert_int_equal(reach_find(&r, 109)->key, 8);
    assert_null(reach_find(&r, 110));
    assert_int_equal(reach_find(&r, 349)->key, 9);
    assert_null(reach_find(&r, 350));
    reach_remove(&r, 0);
    assert_null(reach_find(&r, 100));
    assert_int_equal(reach_find(&r, 300)->key, 9);
    reach_done(&r);
}

static void
test_windows_have_a_limit(void **state)
{
    struct layout_region region = {128 * MIB, 4096};
    struct layout l;
    struct reach r = {0};
    int rc = 0;

    (void)state;
    assert_int_equal(layout_init(&l, &region, 1, 1, NULL), 0);
    for (uint64_t i = 0; i <= REACH_MAX; i++) {
        struct control_window w = {2 * i, 1, 0x1000, 1};

        assert_int_equal(rc, 0);
        rc = reach_add(&r, &l, &(struct control_windows){.len = 1, .windows = &w}, NULL);
    }
    assert_int_equal(rc, -EPROTO);
    reach_done(&r);
}

/* --- faults --- */

static void
test_faults_are_read(void **state)
{
    struct mig_stats before, after;
    struct both t;

    (void)state;
    begin(&t, &idle);
    start_slowly(&t, 14 * MIB);
    (void)touch_until_read(&t, 2100);
    before = at_target(&t);
    for (int i = 0; i < 100; i++)
        assert_true(fake_guest_touch(t.b, scattered(i)));
    after = at_target(&t);
    assert_true(after.faults - before.faults >= 50); /* some were pushed before */
    /* The push may bring a page while it is read; a request never does. */
    assert_true(10 * (after.read_faults - before.read_faults) >=
                9 * (after.faults - before.faults));
    finish(&t);
    assert_int_equal(t.p.src_stats.reconnects, 0);
    assert_int_equal(t.p.src_stats.transport, MIG_TRANSPORT_RDMA);
    assert_string_equal(heard.noted, "");
    end(&t);
}

/* A guest that writes all over its memory. */
static void
test_busy_guest(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &busy);
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    check_moved(&t);
    assert_true(t.p.dst_stats.read_faults > 0);
    assert_true(t.p.dst_stats.read_faults <= t.p.dst_stats.faults);
    assert_int_equal(t.p.src_stats.reconnects, 0);
    end(&t);
}

static void
test_nothing_is_open_before_it_runs(void **state)
{
    struct verbs_counts c;
    struct both t;

    (void)state;
    begin(&t, &idle);
    start_slowly(&t, 14 * MIB);
    assert_int_equal(heard.registered_at_commit, 0);
    if (verbs_is_double()) {
        verbs_counts(&c);
        assert_true(c.mr_bytes >= heard.mr_bytes_at_commit + 14 * MIB);
    }
    finish(&t);
    assert_true(t.p.src_stats.registered_peak_bytes >= 14 * MIB);
    end(&t);
}

/* Every tenth page has data: the others still have none afterwards. */
static void
test_sparse_guest_stays_so(void **state)
{
    struct both t;
    uint64_t pages;

    (void)state;
    begin(&t, &sparse);
    t.p.src.limits.bandwidth_bytes_per_s = MIB / 4;
    pages = fake_guest_allocated_pages(t.a);
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_reads(&t);
    finish(&t);
    assert_true(fake_guest_allocated_pages(t.a) <= pages + 8);
    end(&t);
}

/* Windows are given back when all of them is there, and others opened. */
static void
test_budget(void **state)
{
    struct verbs_counts c;
    struct both t;

    (void)state;
    begin(&t, &calm);
    t.p.src.rdma_window_bytes = 2 * MIB;
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.src_stats.registered_peak_bytes, 2 * MIB);
    assert_true(t.p.dst_stats.read_faults > 0);
    verbs_counts(&c);
    if (verbs_is_double())
        assert_true(c.mr_bytes_most < 40 * MIB);
    assert_string_equal(heard.noted, "");
    end(&t);
}

/* The device reads without pinning: all is open at once, and nothing counts. */
static void
test_on_demand(void **state)
{
    struct both t;

    (void)state;
    need_double();
    begin(&t, &calm);
    verbs_set_on_demand(true);
    t.p.src.rdma_window_bytes = 2 * MIB;
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.src_stats.registered_peak_bytes, 0);
    assert_true(t.p.dst_stats.read_faults > 0);
    end(&t);
}

/* --- trouble --- */

static void
fail_access(void)
{
    verbs_fail_work(IBV_WR_RDMA_READ, 1, IBV_WC_REM_ACCESS_ERR);
}

static void
fail_timeout(void)
{
    verbs_fail_work(IBV_WR_RDMA_READ, 1, IBV_WC_RETRY_EXC_ERR);
}

static void
fail_short(void)
{
    verbs_short_read(1, 100);
}

/* One READ goes wrong: the guest does not notice, and neither does the connection. */
static void
test_bad_read(void **state)
{
    void (*const *fail)(void) = *state;
    struct both t;

    need_double();
    begin(&t, &idle);
    start_slowly(&t, 14 * MIB);
    (void)touch_until_read(&t, 2100);
    (*fail)();
    for (int i = 0; i < 50; i++)
        assert_true(fake_guest_touch(t.b, scattered(i)));
    finish(&t);
    assert_int_equal(t.p.src_stats.reconnects, 0);
    end(&t);
}

/* More faults than the lane may have READs: the others are asked for. */
static void
test_too_many_reads(void **state)
{
    struct mig_stats before, after;
    struct both t;
    uint32_t qp;

    (void)state;
    need_double();
    begin(&t, &calm);
    verbs_set_read_depth(1);
    start_slowly(&t, 20 * MIB);
    qp = hold_a_read();
    before = at_target(&t);
    for (uint64_t page = 5990; page > 5900; page -= 4)
        assert_true(fake_guest_touch(t.b, page));
    after = at_target(&t);
    assert_true(after.faults > before.faults);
    assert_int_equal(after.read_faults, before.read_faults);
    verbs_hold(qp, false);
    finish(&t);
    assert_string_equal(heard.noted, "");
    end(&t);
}

/* The queue pair for READs breaks while the guest waits for one. */
static void
test_read_lane_breaks(void **state)
{
    struct both t;
    uint64_t steps;
    uint32_t qp;

    (void)state;
    need_double();
    begin(&t, &calm);
    start_slowly(&t, 20 * MIB);
    qp = hold_a_read();
    steps = fake_guest_steps(t.b);
    verbs_break(qp);
    fake_guest_wait_steps(t.b, steps + 50);
    finish(&t);
    assert_true(was_heard(heard.noted, "but asked for"));
    assert_int_equal(t.p.src_stats.reconnects, 0);
    assert_int_equal(t.p.dst_stats.reconnects, 0);
    end(&t);
}

/* All queue pairs break, some of them with work on the way: the connection is made again. */
static void
test_all_lanes_break(void **state)
{
    struct both t;
    uint64_t steps;

    (void)state;
    need_double();
    begin(&t, &calm);
    start_slowly(&t, 20 * MIB);
    (void)hold_a_read();
    steps = fake_guest_steps(t.b);
    verbs_break(0);
    verbs_hold(0, false);
    fake_guest_wait_steps(t.b, steps + 100);
    assert_true(at_source(&t).reconnects >= 1);
    wait_reads(&t); /* with new keys */
    finish(&t);
    end(&t);
}

/* The device goes, and with it every lane: on over TCP, with what the target lacks. */
static void
test_device_goes(void **state)
{
    struct both t;

    (void)state;
    need_double();
    begin(&t, &calm);
    start_slowly(&t, 20 * MIB);
    (void)hold_a_read();
    verbs_device_remove(rdma_test_ip());
    mig_source_set_bandwidth(t.p.source, 0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    assert_true(t.p.src_stats.reconnects >= 1);
    assert_int_equal(t.p.src_stats.transport, MIG_TRANSPORT_TCP);
    end(&t);
}

/* Nothing can be locked any more when the guest runs there: all is asked for. */
static void
test_registration_fails(void **state)
{
    struct both t;

    (void)state;
    need_double();
    begin(&t, &calm);
    heard.fail_registrations = true;
    t.p.src.limits.bandwidth_bytes_per_s = 16 * MIB;
    pair_run(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.dst_stats.read_faults, 0);
    assert_true(t.p.dst_stats.faults > 0);
    assert_int_equal(t.p.src_stats.registered_peak_bytes, 0);
    assert_true(was_heard(heard.decided, "asks for the other pages"));
    end(&t);
}

/* --- restarts, and the end of it --- */

static void
restart_target(struct both *t)
{
    mig_target_stop(t->p.target);
    pair_wait_target(&t->p);
    assert_int_equal(t->p.dst_outcome, MIG_TARGET_IN_DOUBT);
    mig_target_free(t->p.target);
    t->p.dst.recovering_committed = true;
    pair_listen(&t->p);
    mig_source_redirect(t->p.source, mig_target_address(t->p.target), NULL);
}

static void
test_target_restarts(void **state)
{
    struct both t;

    (void)state;
    begin(&t, &calm);
    start_slowly(&t, 20 * MIB);
    wait_reads(&t);
    restart_target(&t);
    wait_reads(&t); /* with new keys */
    finish(&t);
    end(&t);
}

static void
restart_source(struct both *t)
{
    mig_source_stop(t->p.source);
    pair_wait_source(&t->p);
    assert_int_equal(t->p.src_outcome, MIG_UNKNOWN);
    assert_int_equal(t->p.src_stats.registered_bytes, 0);
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
    start_slowly(&t, 20 * MIB);
    wait_reads(&t);
    restart_source(&t);
    wait_reads(&t);
    finish(&t);
    end(&t);
}

struct toucher {
    struct fake_guest *guest;
    uint64_t page;
    bool good;
};

static void *
touch_main(void *arg)
{
    struct toucher *t = arg;

    t->good = fake_guest_touch(t->guest, t->page);
    return NULL;
}

/* The source is gone for good while a READ is open: what it would have brought is lost. */
static void
test_source_lost(void **state)
{
    struct mig_range damage[64];
    struct toucher touch;
    pthread_t thread;
    struct both t;
    uint64_t bytes = 0;
    uint32_t qp;
    size_t n;

    (void)state;
    need_double();
    begin(&t, &idle);
    start_slowly(&t, 14 * MIB);
    (void)touch_until_read(&t, 2100);
    qp = read_queue().number;
    verbs_hold(qp, true);
    touch = (struct toucher){.guest = t.b, .page = 4000, .good = true};
    assert_int_equal(pthread_create(&thread, NULL, touch_main, &touch), 0);
    while (read_queue().waiting == 0)
        poll(NULL, 0, 1);
    mig_target_source_lost(t.p.target);
    pair_wait_target(&t.p);
    pthread_join(thread, NULL);
    assert_false(touch.good);
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_RUNNING);
    mig_source_stop(t.p.source);
    pair_wait_source(&t.p);
    assert_int_equal(t.p.src_stats.registered_bytes, 0);
    n = mig_target_damage(t.p.target, damage, 64);
    assert_true(n > 0);
    for (size_t i = 0; i < n && i < 64; i++)
        bytes += damage[i].bytes;
    assert_true(n > 64 || bytes >= t.p.dst_stats.missing_bytes);
    end(&t);
}

/* --- lies --- */

/* A source that has handed the guest over, and then names memory that there is not: it is dropped, and the
 * guest waits for a better one. */
static void
test_source_lies(void **state)
{
    static const struct control_window lies[] = {
        {1280, 1, 0x1000, 1}, {0, 1281, 0x1000, 1}, {5, 1, 0x1000, 0}, {5, 1, UINT64_MAX, 1}};
    static const struct fake_config small = {{5 * MIB}, .seed = 94, .fill_pages = 1280};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct control_window lie = lies[i];
        struct wire_peer w;
        struct both t;

        begin(&t, &small);
        wire_peer_init(&w, &t.p.dst.ident, t.b, 2);
        w.hello.urgent = true;
        pair_listen(&t.p);
        assert_true(wire_post_copy(&w, mig_target_address(t.p.target), t.a));
        assert_true(wire_say(&w, (struct control_msg){.type = CONTROL_WINDOWS,
                                                      .windows = {.len = 1, .windows = &lie}}));
        assert_true(wire_closed(w.ctl));
        assert_true(was_heard(heard.noted, "WINDOWS: "));
        wire_peer_done(&w);
        mig_target_stop(t.p.target);
        pair_wait_target(&t.p);
        assert_int_equal(t.p.dst_outcome, MIG_TARGET_IN_DOUBT);
        unlink(t.p.dst.state_path); /* the next handler would need it */
        end(&t);
    }
}

static void
skip_without_device(struct CMUnitTest *tests, size_t n, CMUnitTestFunction skip_one)
{
    for (size_t i = 0; i < n && !rdma_test_ip(); i++)
        tests[i].test_func = skip_one;
}

static void
no_device(void **state)
{
    (void)state;
    print_message("# SKIP no RDMA device: RDMA_TEST_IP is not set\n");
    skip();
}

int
main(void)
{
    static void (*const bad[])(void) = {fail_access, fail_timeout, fail_short};
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(test_which_windows),        cmocka_unit_test(test_windows_are_few),
        cmocka_unit_test(test_windows_that_lie),     cmocka_unit_test(test_windows_do_not_overlap),
        cmocka_unit_test(test_windows_have_a_limit),
    };
    struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults_are_read),
        cmocka_unit_test(test_busy_guest),
        cmocka_unit_test(test_nothing_is_open_before_it_runs),
        cmocka_unit_test(test_sparse_guest_stays_so),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_on_demand),
        {"a READ that is refused", test_bad_read, NULL, NULL, (void *)(uintptr_t)&bad[0]},
        {"a READ that is not answered", test_bad_read, NULL, NULL, (void *)(uintptr_t)&bad[1]},
        {"a READ that is short", test_bad_read, NULL, NULL, (void *)(uintptr_t)&bad[2]},
        cmocka_unit_test(test_too_many_reads),
        cmocka_unit_test(test_read_lane_breaks),
        cmocka_unit_test(test_all_lanes_break),
        cmocka_unit_test(test_device_goes),
        cmocka_unit_test(test_registration_fails),
        cmocka_unit_test(test_target_restarts),
        cmocka_unit_test(test_source_restarts),
        cmocka_unit_test(test_source_lost),
        cmocka_unit_test(test_source_lies),
    };
    int failed = cmocka_run_group_tests_name("windows of post-copy", pure, NULL, NULL);

    pair_skip_unless_supported(tests, ARRAY_LEN(tests));
    skip_without_device(tests, ARRAY_LEN(tests), no_device);
    return failed + cmocka_run_group_tests_name("post-copy by READ", tests, NULL, NULL);
}
