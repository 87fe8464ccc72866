/* Data channels over RDMA, or over TCP and why: what both ends agree on, what they do when it cannot be
 * set up, who gets in, and connections that break and are made again. What the channels carry is others'
 * tests' business; every byte of memory is right here, too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/rdma_lane.h"
#include "migrate/rdma_nic.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/relay.h"
#include "tests/migrate/verbs_double.h"
#include "tests/migrate/wire_peer.h"

#define MIB     (1u << 20)
#define PATIENT 20000000
#define OTHER   "127.0.0.2" /* a second address, for a device at one end only */

static const struct fake_config small = {{4 * MIB}, .seed = 61, .fill_pages = 500};
static const struct fake_config busy = {
    {16 * MIB}, .seed = 62, .fill_pages = 4096, .set_pages = 500, .pages_per_s = 1000};

static char said[64 << 10]; /* the decision log */

static void
on_decided(struct pair *p, const struct mig_decision *d)
{
    size_t at = strlen(said);

    (void)p;
    snprintf(said + at, sizeof said - at, "%s\n", d->text);
}

static void
begin(struct both *t, const struct fake_config *c)
{
    said[0] = '\0';
    both_begin(t, c);
    t->p.on_decided = on_decided;
}

static void
end(struct both *t)
{
    both_end(t);
    if (verbs_is_double())
        assert_false(verbs_reset()); /* nothing is left on any device */
    (void)rdma_test_ip();            /* the next test's device */
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
    assert_int_equal(fake_guest_wrong_pages(t->b), 0);
    assert_int_equal(fake_guest_uffds_open(t->a), 0);
}

/* It went over RDMA (why NULL), or over TCP for this reason, and everybody says so. */
static void
check_transport(struct both *t, const char *why)
{
    const struct mig_stats *a = &t->p.src_stats, *b = &t->p.dst_stats;
    enum mig_transport want = why ? MIG_TRANSPORT_TCP : MIG_TRANSPORT_RDMA;
    const char *line = why ? "data channels over TCP: " : "data channels over RDMA: ", *at;

    if (a->transport != want || b->transport != want ||
        (why ? !strstr(a->transport_why, why) : a->transport_why[0]))
        fail_msg("source: %s, target: %s, why: '%s', want '%s'", mig_transport_name(a->transport),
                 mig_transport_name(b->transport), a->transport_why, why ? why : "RDMA");
    assert_int_equal(a->rdma_device[0] != '\0', !why);
    assert_int_equal(b->rdma_device[0] != '\0', !why);
    at = strstr(said, line);
    if (why && !why[0])
        assert_null(strstr(said, "data channels over"));
    else if (!at || (why && !strstr(at, why)))
        fail_msg("the log does not say '%s':\n%s", why ? why : line, said);
}

static bool
skip_without(bool needs_double)
{
    if (!rdma_test_ip() || (needs_double && !verbs_is_double())) {
        print_message("# SKIP %s\n",
                      rdma_test_ip() ? "needs the double" : "no device (RDMA_TEST_IP)");
        return true;
    }
    return false;
}

/* --- what is agreed on --- */

struct row {
    const char *name;
    void (*arrange)(struct pair *p);
    bool needs_double;
    const char *why; /* NULL: it goes over RDMA; "" = over TCP, and nothing is said */
};

static void
is_auto(struct pair *p)
{
    p->src.policy.transport = MIG_TRANSPORT_AUTO;
}
static void
is_tcp(struct pair *p)
{
    p->src.policy.transport = MIG_TRANSPORT_TCP;
}
static void
has_post_copy(struct pair *p)
{
    p->src.policy.allow_post_copy = true;
}
static void
has_one_channel(struct pair *p)
{
    p->src.channels = 1;
}
static void
is_lz4(struct pair *p)
{
    is_auto(p);
    p->src.policy.encoding = MIG_ENC_LZ4;
}
static void
is_lz4_over_rdma(struct pair *p)
{
    p->src.policy.encoding = MIG_ENC_LZ4;
}
static void
source_distrusts(struct pair *p)
{
    p->src.network_trusted = false;
}
static void
source_distrusts_auto(struct pair *p)
{
    is_auto(p);
    p->src.network_trusted = false;
}
static void
target_distrusts(struct pair *p)
{
    p->dst.network_trusted = false;
}
static void
source_is_off(struct pair *p)
{
    p->src.rdma_off = true;
}
static void
target_is_off(struct pair *p)
{
    p->dst.rdma_off = true;
}
static void
no_device(struct pair *p)
{
    (void)p;
    verbs_device_remove("127.0.0.1");
}
static void
no_device_distrusted(struct pair *p)
{
    no_device(p);
    source_distrusts_auto(p);
}
static void
device_at_source(struct pair *p)
{
    verbs_device_remove("127.0.0.1");
    verbs_device_add(OTHER);
    snprintf(p->src.local_ip, sizeof p->src.local_ip, OTHER);
}
static void
device_at_target(struct pair *p)
{
    snprintf(p->src.local_ip, sizeof p->src.local_ip, OTHER);
}
static void
two_devices(struct pair *p)
{
    verbs_device_add(OTHER);
    snprintf(p->src.local_ip, sizeof p->src.local_ip, OTHER);
}
static void
cannot_listen(struct pair *p)
{
    (void)p;
    verbs_fail_call("rdma_listen", 1, EADDRINUSE);
}
static void
cannot_connect(struct pair *p)
{
    (void)p;
    verbs_fail_call("rdma_connect", 1, ENETUNREACH);
}

static const struct row rows[] = {
    {"rdma", NULL, false, NULL},
    {"auto", is_auto, false, NULL},
    {"one channel", has_one_channel, false, NULL},
    {"with post-copy allowed: the urgent channel and the one for READs", has_post_copy, false,
     NULL},
    {"rdma, lz4 is fixed: over the lanes' streams", is_lz4_over_rdma, false, NULL},
    {"two devices", two_devices, true, NULL},
    {"tcp", is_tcp, false, ""},
    {"auto, lz4 is fixed", is_lz4, false, "the policy fixes the encoding lz4"},
    {"the source does not trust the network", source_distrusts, false, "RDMA does not encrypt"},
    {"the same, auto", source_distrusts_auto, false, "RDMA does not encrypt"},
    {"the same, auto, and there is no device", no_device_distrusted, true, ""},
    {"the target does not trust the network", target_distrusts, false,
     "the target: RDMA does not encrypt"},
    {"turned off at the source", source_is_off, false, "RDMA is turned off at this host"},
    {"turned off at the target", target_is_off, false, "the target: RDMA is turned off"},
    {"no device", no_device, true, "this host has no RDMA device"},
    {"a device at the source only", device_at_source, true,
     "the target: no RDMA device is reached by"},
    {"a device at the target only", device_at_target, true, "no RDMA device is reached by"},
    {"the target cannot listen", cannot_listen, true, "the target: RDMA: listen on"},
    {"the source cannot connect", cannot_connect, true, "RDMA could not be set up: queue pair 0"},
};

static void
test_row(void **state)
{
    const struct row *r = *state;
    struct both t;

    if (skip_without(r->needs_double))
        skip();
    begin(&t, &small);
    if (r->arrange)
        r->arrange(&t.p);
    pair_run(&t.p);
    check_moved(&t);
    check_transport(&t, r->why);
    end(&t);
}

/* The control connection is encrypted as ever, and nobody claims it of the memory. */
static void
test_control_over_tls(void **state)
{
    struct both t;

    (void)state;
    if (skip_without(false))
        skip();
    pair_over_tls = true;
    begin(&t, &small);
    pair_over_tls = false;
    pair_run(&t.p);
    check_moved(&t);
    check_transport(&t, NULL);
    assert_false(t.p.src_stats.encrypted || t.p.dst_stats.encrypted);
    assert_non_null(strstr(t.p.src_stats.suite, "TLS 1.3"));
    assert_string_equal(t.p.dst_stats.suite, t.p.src_stats.suite);
    assert_non_null(strstr(said, "not encrypted: the network is declared trusted"));
    end(&t);
}

/* --- what fails while it is set up --- */

/* Whichever lane it is, and whichever end. */
static void
test_lane_fails(void **state)
{
    static const char *const calls[] = {"rdma_connect", "rdma_accept", "rdma_resolve_addr",
                                        "rdma_resolve_route"};

    (void)state;
    if (skip_without(true))
        skip();
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (unsigned k = 1; k <= 4; k++) {
            struct both t;

            begin(&t, &small);
            has_post_copy(&t.p);
            verbs_fail_call(calls[i], k, ENETUNREACH);
            pair_run(&t.p);
            check_moved(&t);
            check_transport(&t, "RDMA could not be set up: queue pair");
            assert_int_equal(t.p.src_stats.reconnects, 0);
            end(&t);
        }
    }
}

/* Any call of the libraries may fail, early or late: the guest moves, and nothing stays. */
static void
test_any_call_fails(void **state)
{
    static const char *const calls[] = {"rdma_create_event_channel",
                                        "rdma_create_id",
                                        "rdma_bind_addr",
                                        "rdma_create_qp",
                                        "ibv_alloc_pd",
                                        "ibv_create_cq",
                                        "ibv_reg_mr",
                                        "ibv_create_comp_channel",
                                        "ibv_req_notify_cq",
                                        "ibv_query_device",
                                        "ibv_post_recv"};

    (void)state;
    if (skip_without(true))
        skip();
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (unsigned k = 1; k <= 6; k++) {
            struct both t;

            begin(&t, &small);
            t.p.src.reconnect_us = t.p.dst.reconnect_us = PATIENT;
            verbs_fail_call(calls[i], k, ENOMEM);
            pair_run(&t.p);
            check_moved(&t);
            end(&t);
        }
    }
}

struct removal {
    unsigned after_qps;
    _Atomic bool stop;
    pthread_t thread;
};

static void *
remove_device(void *arg)
{
    struct removal *r = arg;
    struct verbs_counts n = {0};

    while (n.qps < r->after_qps && !r->stop) {
        verbs_counts(&n);
        poll(NULL, 0, 0);
    }
    verbs_device_remove("127.0.0.1");
    return NULL;
}

/* It goes while lanes are being made, or right after. */
static void
test_device_is_removed(void **state)
{
    (void)state;
    if (skip_without(true))
        skip();
    for (unsigned i = 1; i <= 8; i++) {
        struct removal r = {.after_qps = i};
        struct both t;

        begin(&t, &small);
        has_post_copy(&t.p);
        t.p.src.reconnect_us = t.p.dst.reconnect_us = PATIENT;
        t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
        assert_int_equal(pthread_create(&r.thread, NULL, remove_device, &r), 0);
        pair_run(&t.p);
        r.stop = true;
        pthread_join(r.thread, NULL);
        check_moved(&t);
        assert_int_equal(t.p.src_stats.transport, MIG_TRANSPORT_TCP);
        end(&t);
    }
}

/* --- who gets in --- */

/* A source by hand, with lanes. */
struct hand {
    struct both t;
    struct wire_peer w;
    struct nic *nic;
    struct lane *lanes[2];
    char addr[MIG_ADDR_SIZE];
};

static void
hand_begin(struct hand *h)
{
    struct err err = {0};

    *h = (struct hand){0};
    begin(&h->t, &small);
    h->t.p.dst.idle_timeout_us = PATIENT;
    pair_listen(&h->t.p);
    wire_peer_init(&h->w, &h->t.p.dst.ident, h->t.b, 2);
    h->w.hello.rdma = true;
    assert_true(wire_source_hello(&h->w, mig_target_address(h->t.p.target)));
    assert_true(h->w.accept.has_rdma && h->w.accept.rdma.port > 0);
    assert_memory_not_equal(h->w.accept.rdma.token, h->w.token, CONTROL_TOKEN_SIZE);
    snprintf(h->addr, sizeof h->addr, "%s:%u", rdma_test_ip(), h->w.accept.rdma.port);
    if (nic_open(rdma_test_ip(), "", &h->nic, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static void
hand_end(struct hand *h)
{
    for (size_t i = 0; i < ARRAY_LEN(h->lanes); i++)
        lane_free(h->lanes[i]);
    nic_close(h->nic);
    wire_peer_done(&h->w);
    end(&h->t);
}

static struct frame_preamble
good_preamble(const struct hand *h, uint32_t channel)
{
    struct frame_preamble p = {.channel = channel,
                               .epoch = h->w.hello.epoch,
                               .uid_sum = frame_uid_sum(h->w.hello.migration_uid, h->w.generation)};

    memcpy(p.token, h->w.accept.rdma.token, sizeof p.token);
    return p;
}

static int
hand_dial(struct hand *h, const struct frame_preamble *p, struct lane **ret)
{
    static const struct lane_config cfg;
    uint8_t buf[FRAME_PREAMBLE_SIZE];

    frame_encode_preamble(buf, p);
    return lane_dial(h->nic, h->addr, buf, &cfg, PATIENT, -1, ret, NULL);
}

static void
refused(struct hand *h, const char *what, const struct frame_preamble *p)
{
    struct lane *l;
    int rc = hand_dial(h, p, &l);

    if (rc != -ECONNREFUSED)
        fail_msg("%s: %d, want refused", what, rc);
}

static bool
say_off(struct hand *h)
{
    struct control_msg m = {.type = CONTROL_RDMA_OFF};

    snprintf(m.text.text, sizeof m.text.text, "I cannot");
    return wire_say(&h->w, m);
}

static void
test_strangers(void **state)
{
    static const struct lane_config cfg;
    struct frame_preamble good, p;
    uint8_t garbage[FRAME_PREAMBLE_SIZE];
    struct lane *l;
    struct hand h;

    (void)state;
    if (skip_without(false))
        skip();
    hand_begin(&h);
    good = good_preamble(&h, 0);
    memset(garbage, 0x5a, sizeof garbage);
    assert_int_equal(lane_dial(h.nic, h.addr, garbage, &cfg, PATIENT, -1, &l, NULL), -ECONNREFUSED);
    for (size_t i = 0; i < CONTROL_TOKEN_SIZE; i += 5) {
        p = good;
        p.token[i] ^= 1;
        refused(&h, "another token", &p);
    }
    p = good;
    memcpy(p.token, h.w.token, sizeof p.token);
    refused(&h, "TCP's token", &p);
    p = good;
    p.epoch++;
    refused(&h, "another connection", &p);
    p = good;
    p.uid_sum++;
    refused(&h, "another migration", &p);
    p = good_preamble(&h, 2);
    refused(&h, "a channel too many", &p);
    p = good_preamble(&h, FRAME_URGENT_CHANNEL);
    refused(&h, "an urgent channel that was not agreed on", &p);
    p = good_preamble(&h, FRAME_READ_CHANNEL);
    refused(&h, "a channel for READs that was not agreed on", &p);
    assert_int_equal(hand_dial(&h, &good, &h.lanes[0]), 0);
    refused(&h, "the same channel twice", &good);
    p = good_preamble(&h, 1);
    assert_int_equal(hand_dial(&h, &p, &h.lanes[1]), 0);
    /* all are there: the handshake is over, and the source may speak */
    assert_true(wire_say(&h.w, (struct control_msg){.type = CONTROL_ABORT}));
    pair_wait_target(&h.t.p);
    assert_int_equal(h.t.p.dst_stats.transport, MIG_TRANSPORT_RDMA);
    assert_non_null(strstr(err_msg(&h.t.p.dst_err), "the source gave up"));
    hand_end(&h);
}

/* Never some channels over RDMA and some over TCP: what comes over TCP waits for RDMA_OFF, which ends
 * the lanes. */
static void
test_off_after_a_lane(void **state)
{
    struct frame_preamble p;
    uint8_t buf[FRAME_PREAMBLE_SIZE], answer[FRAME_ANSWER_SIZE];
    struct pollfd pfd = {.events = POLLIN};
    enum frame_answer a;
    uint8_t b;
    struct hand h;

    (void)state;
    if (skip_without(false))
        skip();
    hand_begin(&h);
    p = good_preamble(&h, 0);
    assert_int_equal(hand_dial(&h, &p, &h.lanes[0]), 0);
    memcpy(p.token, h.w.token, sizeof p.token);
    p.channel = 1;
    frame_encode_preamble(buf, &p);
    pfd.fd = wire_connect(mig_target_address(h.t.p.target));
    assert_true(wire_send(pfd.fd, buf, sizeof buf));
    assert_int_equal(poll(&pfd, 1, 100), 0);
    assert_true(say_off(&h));
    assert_true(wire_recv(pfd.fd, answer, sizeof answer));
    assert_int_equal(frame_decode_answer(answer, &a, NULL), 0);
    assert_int_equal(a, FRAME_ANSWER_OK);
    assert_int_equal(lane_recv(h.lanes[0], &b, 1, PATIENT, NULL), -EPIPE);
    h.w.data[1] = pfd.fd;
    p = good_preamble(&h, 0);
    refused(&h, "a lane behind RDMA_OFF", &p);
    assert_true(wire_source_data(&h.w, mig_target_address(h.t.p.target), 0));
    assert_true(wire_round(&h.w, 1, false));
    assert_true(wire_say(&h.w, (struct control_msg){.type = CONTROL_ABORT}));
    pair_wait_target(&h.t.p);
    assert_int_equal(h.t.p.dst_stats.transport, MIG_TRANSPORT_TCP);
    assert_int_equal(h.t.p.dst_stats.raw_pages, 2);
    hand_end(&h);
}

/* All lanes were taken, and only then the source finds that they are no good: a lost connection. */
static void
test_off_too_late(void **state)
{
    struct frame_preamble p;
    struct hand h;

    (void)state;
    if (skip_without(false))
        skip();
    hand_begin(&h);
    for (uint32_t i = 0; i < 2; i++) {
        p = good_preamble(&h, i);
        assert_int_equal(hand_dial(&h, &p, &h.lanes[i]), 0);
    }
    assert_true(say_off(&h));
    pair_wait_target(&h.t.p);
    assert_int_equal(h.t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_non_null(strstr(err_msg(&h.t.p.dst_err), "the source gave up RDMA: I cannot"));
    hand_end(&h);
}

static void
test_off_without_an_offer(void **state)
{
    struct wire_peer w;
    struct both t;

    (void)state;
    if (skip_without(false))
        skip();
    begin(&t, &small);
    pair_listen(&t.p);
    wire_peer_init(&w, &t.p.dst.ident, t.b, 2);
    assert_true(wire_source_hello(&w, mig_target_address(t.p.target)));
    assert_false(w.accept.has_rdma);
    assert_true(wire_say_simple(&w, CONTROL_RDMA_OFF));
    pair_wait_target(&t.p);
    assert_non_null(strstr(err_msg(&t.p.dst_err), "RDMA_OFF"));
    wire_peer_done(&w);
    end(&t);
}

/* A target that names a port where nothing listens, whether RDMA was offered or not. */
static void *
lie(void *arg)
{
    struct wire_peer *w = arg;
    struct control_msg m;
    bool ok;

    if (!wire_target_accept(w) || !wire_hear(w, &m) || m.type != CONTROL_HELLO)
        return NULL;
    w->hello = m.hello;
    m = (struct control_msg){.type = CONTROL_ACCEPT,
                             .accept = {.version = PROTO_VERSION,
                                        .channels = w->hello.channels,
                                        .has_rdma = true,
                                        .rdma = {.port = 1}}};
    ok = wire_say(w, m) && (!w->hello.rdma || wire_hear_type(w, CONTROL_RDMA_OFF));
    for (uint32_t i = 0; i < w->hello.channels && ok; i++)
        ok = wire_target_data(w, FRAME_ANSWER_OK);
    ok = ok && wire_target_drain_round(w);
    m = (struct control_msg){.type = CONTROL_ERROR, .text = {.code = CONTROL_ERR_LOCAL}};
    snprintf(m.text.text, sizeof m.text.text, ok ? "as was agreed" : "not so");
    wire_say(w, m);
    (void)wire_closed(w->ctl);
    return NULL;
}

static void
test_target_lies(void **state)
{
    (void)state;
    if (skip_without(false))
        skip();
    for (int offered = 0; offered < 2; offered++) {
        struct wire_peer w;
        pthread_t thread;
        char addr[MIG_ADDR_SIZE];
        struct both t;

        begin(&t, &small);
        if (!offered)
            is_tcp(&t.p);
        wire_peer_init(&w, &t.p.src.ident, t.a, 2);
        w.listen_ip = rdma_test_ip();
        assert_true(wire_target_listen(&w, addr));
        assert_int_equal(pthread_create(&thread, NULL, lie, &w), 0);
        pair_dial(&t.p, addr);
        pair_wait_source(&t.p);
        pthread_join(thread, NULL);
        wire_peer_done(&w);
        assert_non_null(strstr(err_msg(&t.p.src_err), "as was agreed"));
        assert_int_equal(t.p.src_stats.transport, MIG_TRANSPORT_TCP);
        end(&t);
    }
}

/* --- connections that break --- */

static void
wait_lanes(struct both *t, uint32_t reconnects, uint64_t more_bytes)
{
    uint64_t from = both_received(t);
    struct mig_stats st;

    do {
        poll(NULL, 0, 1);
        mig_source_stats(t->p.source, &st);
        if (t->p.src_ended)
            fail_msg("it has ended: %s", err_msg(&t->p.src_err));
    } while (st.reconnects < reconnects || st.link == MIG_LINK_NONE ||
             both_received(t) < from + more_bytes);
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

/* Once, and it goes on over RDMA; twice, and over TCP. */
static void
breaks(bool post_copy, unsigned times)
{
    struct both t;

    begin(&t, &busy);
    t.p.src.reconnect_us = t.p.dst.reconnect_us = PATIENT;
    t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    t.p.src.policy.allow_post_copy = t.p.src.policy.post_copy_at_once = post_copy;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    if (post_copy)
        wait_postcopy(&t);
    for (unsigned i = 0; i < times; i++) {
        wait_lanes(&t, i, MIB);
        verbs_break(0);
    }
    wait_lanes(&t, times, MIB / 2);
    mig_source_set_bandwidth(t.p.source, 0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    assert_int_equal(t.p.src_stats.reconnects, times);
    assert_int_equal(t.p.src_stats.transport, times < 2 ? MIG_TRANSPORT_RDMA : MIG_TRANSPORT_TCP);
    assert_int_equal(t.p.dst_stats.transport, t.p.src_stats.transport);
    if (times == 2) {
        assert_non_null(strstr(t.p.src_stats.transport_why, "RDMA has failed 2 times"));
        assert_non_null(strstr(said, "data channels over TCP: RDMA has failed 2 times"));
    }
    end(&t);
}

static void
test_breaks_in_precopy(void **state)
{
    (void)state;
    if (skip_without(true))
        skip();
    breaks(false, 1);
    breaks(false, 2);
}

static void
test_breaks_in_postcopy(void **state)
{
    (void)state;
    if (skip_without(true))
        skip();
    breaks(true, 1);
    breaks(true, 2);
}

/* The device goes for good in post-copy: what is missing comes over TCP. */
static void
test_device_goes_in_postcopy(void **state)
{
    struct both t;

    (void)state;
    if (skip_without(true))
        skip();
    begin(&t, &busy);
    t.p.src.reconnect_us = t.p.dst.reconnect_us = PATIENT;
    t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    t.p.src.policy.allow_post_copy = t.p.src.policy.post_copy_at_once = true;
    pair_listen(&t.p);
    pair_dial(&t.p, NULL);
    wait_postcopy(&t);
    wait_lanes(&t, 0, MIB);
    verbs_device_remove("127.0.0.1");
    wait_lanes(&t, 1, MIB);
    mig_source_set_bandwidth(t.p.source, 0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    assert_non_null(strstr(said, "data channels over TCP: this host has no RDMA device"));
    end(&t);
}

/* Nothing moves on the lanes any more, and nobody says that they are broken: the control connection's
 * heartbeat does, and whoever is blocked gets out. */
static void
test_silence(void **state)
{
    struct relay r = {.trick = RELAY_HOLE, .connection = 0, .at = 700};
    uint64_t began;
    struct both t;

    (void)state;
    if (skip_without(true))
        skip();
    begin(&t, &busy);
    t.p.src.dead_peer_us = t.p.dst.dead_peer_us = 500000;
    t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    pair_listen(&t.p);
    relay_start(&r, mig_target_address(t.p.target));
    pair_dial(&t.p, r.addr);
    wait_lanes(&t, 0, MIB / 4);
    verbs_drop_disconnects(true);
    verbs_hold(0, true);
    began = clock_mono_us();
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_true(clock_mono_us() - began < 10000000);
    assert_int_equal(t.p.src_outcome, MIG_FAILED);
    if (!strstr(err_msg(&t.p.src_err), "nothing was heard"))
        fail_msg("%s", err_msg(&t.p.src_err));
    assert_int_equal(t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_true(fake_guest_running(t.a));
    relay_stop(&r);
    end(&t);
}

/* The migration network is gone: the way around it is not trusted, and so TCP. */
static void
test_the_way_around(void **state)
{
    struct relay r = {.trick = RELAY_HOLE, .connection = 0, .at = 700};
    struct both t;

    (void)state;
    if (skip_without(true))
        skip();
    begin(&t, &busy);
    t.p.src.reconnect_us = t.p.dst.reconnect_us = PATIENT;
    t.p.src.dead_peer_us = t.p.dst.dead_peer_us = 500000;
    t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    snprintf(t.p.dst.fallback_listen_ip, sizeof t.p.dst.fallback_listen_ip, OTHER);
    pair_listen(&t.p);
    snprintf(t.p.src.fallback_addr, sizeof t.p.src.fallback_addr, "%s",
             mig_target_fallback_address(t.p.target));
    relay_start(&r, mig_target_address(t.p.target));
    pair_dial(&t.p, r.addr);
    wait_lanes(&t, 0, MIB / 4);
    verbs_hold(0, true);
    wait_lanes(&t, 1, MIB);
    mig_source_set_bandwidth(t.p.source, 0);
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    check_moved(&t);
    check_transport(&t, "the way around the migration network is not declared trusted");
    relay_stop(&r);
    end(&t);
}

/* Whoever waits on a lane that is stuck can still be told to end. */
static void
test_cancel_when_stuck(void **state)
{
    struct both t;

    (void)state;
    if (skip_without(true))
        skip();
    begin(&t, &busy);
    pair_listen(&t.p);
    verbs_hold(0, true);
    pair_dial(&t.p, NULL);
    wait_lanes(&t, 0, 0);
    assert_true(mig_source_cancel(t.p.source));
    pair_wait_source(&t.p);
    pair_wait_target(&t.p);
    assert_int_equal(t.p.src_outcome, MIG_FAILED);
    assert_int_equal(t.p.cause, MIG_CAUSE_CANCELLED);
    end(&t);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_control_over_tls),
        cmocka_unit_test(test_lane_fails),
        cmocka_unit_test(test_any_call_fails),
        cmocka_unit_test(test_device_is_removed),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_off_after_a_lane),
        cmocka_unit_test(test_off_too_late),
        cmocka_unit_test(test_off_without_an_offer),
        cmocka_unit_test(test_target_lies),
        cmocka_unit_test(test_breaks_in_precopy),
        cmocka_unit_test(test_breaks_in_postcopy),
        cmocka_unit_test(test_device_goes_in_postcopy),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_the_way_around),
        cmocka_unit_test(test_cancel_when_stuck),
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
    pair_over_rdma = true;
    return _cmocka_run_group_tests("rdma setup", tests, n, NULL, NULL);
}
