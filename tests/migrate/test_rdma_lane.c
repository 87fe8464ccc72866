/* Lanes: how they come to be and end, and their stream; both ends in one process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/conn.h"
#include "tests/migrate/lane_pair.h"
#include "tests/migrate/verbs_double.h"

struct flow { /* one direction of a stream */
    struct lane *l;
    uint64_t seed;
    size_t bytes;
    int rc;
    struct err err;
};

/* The byte at this place of the stream with this seed. */
static uint8_t
byte_at(uint64_t seed, size_t i)
{
    return (uint8_t)(rng_mix(seed + i / 8) >> i % 8 * 8);
}

static void *
send_main(void *arg)
{
    struct flow *f = arg;
    struct rng rng;
    uint8_t *buf = xmalloc(MIB);

    rng_seed(&rng, f->seed);
    for (size_t at = 0; at < f->bytes && f->rc == 0;) {
        size_t n = 1 + rng_below(&rng, rng_below(&rng, 4) ? 3000 : MIB);
        size_t cut;
        struct iovec iov[3];

        n = n < f->bytes - at ? n : f->bytes - at;
        cut = rng_below(&rng, n + 1);
        for (size_t i = 0; i < n; i++)
            buf[i] = byte_at(f->seed, at + i);
        iov[0] = (struct iovec){buf, cut};
        iov[1] = (struct iovec){buf + cut, 0};
        iov[2] = (struct iovec){buf + cut, n - cut};
        f->rc = lane_send(f->l, iov, 3, &f->err);
        at += n;
    }
    free(buf);
    return NULL;
}

static void *
recv_main(void *arg)
{
    struct flow *f = arg;
    struct rng rng;
    uint8_t *buf = xmalloc(MIB);

    rng_seed(&rng, f->seed + 1);
    for (size_t at = 0; at < f->bytes && f->rc == 0;) {
        size_t n = 1 + rng_below(&rng, rng_below(&rng, 4) ? 3000 : MIB);

        n = n < f->bytes - at ? n : f->bytes - at;
        f->rc = lane_recv(f->l, buf, n, PATIENCE, &f->err);
        for (size_t i = 0; i < n && f->rc == 0; i++)
            if (buf[i] != byte_at(f->seed, at + i))
                f->rc = err_set(&f->err, -EBADMSG, "byte %zu is wrong", at + i);
        at += n;
    }
    free(buf);
    return NULL;
}

static void
test_stream_both_ways(void **state)
{
    struct lane_pair k = {0};
    pthread_t t[4];
    struct flow f[4];

    (void)state;
    lane_pair_up(&k);
    f[0] = (struct flow){.l = k.d, .seed = 1, .bytes = 8 * MIB + 13};
    f[1] = (struct flow){.l = k.a, .seed = 1, .bytes = 8 * MIB + 13};
    f[2] = (struct flow){.l = k.a, .seed = 77, .bytes = 3 * MIB + 1};
    f[3] = (struct flow){.l = k.d, .seed = 77, .bytes = 3 * MIB + 1};
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, i % 2 ? recv_main : send_main, &f[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        if (f[i].rc != 0)
            fail_msg("%d: %s", i, err_msg(&f[i].err));
    assert_true(lane_bytes(k.d) >= 11 * MIB + 14);
    lane_pair_down(&k);
}

/* As much as there are credits goes, however much is offered; the rest when the reader comes. */
static void
test_slow_reader(void **state)
{
    struct lane_pair k = {0};
    struct flow out = {.seed = 5, .bytes = 4 * MIB}, in = out;
    pthread_t t;

    (void)state;
    lane_pair_up(&k);
    out.l = k.d;
    in.l = k.a;
    pthread_create(&t, NULL, send_main, &out);
    while (lane_bytes(k.a) == 0)
        lane_readable(k.a);
    assert_true(lane_readable(k.a));
    assert_true(lane_bytes(k.d) <= LANE_CREDITS * LANE_BUFFER_BYTES);
    recv_main(&in);
    pthread_join(t, NULL);
    assert_int_equal(out.rc, 0);
    assert_int_equal(in.rc, 0);
    assert_false(lane_readable(k.a));
    lane_pair_down(&k);
}

static void
test_conn(void **state)
{
    struct lane_pair k = {0};
    struct conn *d, *a;
    char in[2][8] = {0};
    struct iovec out[2] = {{(char[]){"one"}, 3}, {(char[]){"two"}, 3}},
                 to[2] = {{in[0], 3}, {in[1], 3}};
    struct err err = {0};

    (void)state;
    lane_pair_up(&k);
    d = conn_rdma(k.d);
    a = conn_rdma(k.a);
    assert_ptr_equal(conn_lane(d), k.d);
    assert_int_equal(conn_fd(d), -1);
    assert_true(conn_is_plain(d));
    assert_int_equal(conn_handshake(d, &err), 1);
    assert_false(conn_readable(a));
    assert_int_equal(conn_send(d, out, 2, &err), 0);
    assert_int_equal(conn_recvv(a, to, 2, &err), 0);
    assert_string_equal(in[0], "one");
    assert_string_equal(in[1], "two");
    assert_int_equal(conn_recv(a, in[0], 1, 1000, &err), -ETIMEDOUT);
    conn_shut(a);
    assert_int_equal(conn_recv(a, in[0], 1, 0, &err), -ENOTCONN);
    assert_int_equal(conn_recv(d, in[0], 1, PATIENCE, &err), -EPIPE);
    conn_break(d);
    conn_free(a);
    k.d = k.a = NULL;
    lane_pair_down(&k);
}

/* --- ends --- */

enum call { CALL_RECV, CALL_SEND, CALL_REAP, CALL_WAIT, CALLS };

struct blocked {
    struct lane *l;
    struct region *to, *from;
    enum call call;
    int rc;
    struct err err;
};

static void *
blocked_main(void *arg)
{
    struct blocked *b = arg;
    uint8_t byte = 0, *big = xcalloc(1, MIB);
    uint64_t cookie;
    int one;

    while (b->rc >= 0) {
        struct iovec iov = {big, MIB};

        switch (b->call) {
        case CALL_RECV:
            b->rc = lane_recv(b->l, &byte, 1, 0, &b->err);
            break;
        case CALL_SEND:
            b->rc = lane_send(b->l, &iov, 1, &b->err);
            break;
        case CALL_REAP:
            b->rc = lane_reap(b->l, PATIENCE, &cookie, &one, &b->err);
            break;
        default:
            b->rc = lane_wait(b->l, UINT64_MAX, &b->err);
            break;
        }
    }
    free(big);
    return NULL;
}

/* A call that blocks ends when another thread shuts the lane, and when the peer leaves. */
static void
test_blocked_calls_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * CALLS; i++) {
        struct lane_pair k = {0};
        struct blocked b = {.call = (enum call)(i / 2)};
        bool peer_leaves = i % 2;
        struct err err = {0};
        pthread_t t;

        if (b.call == CALL_REAP)
            lane_pair_up_to_read(&k);
        else
            lane_pair_up(&k);
        b.l = k.d;
        pthread_create(&t, NULL, blocked_main, &b);
        if (b.call == CALL_SEND) /* it has begun, and soon has no credit left */
            while (!lane_readable(k.a))
                ;
        if (peer_leaves) {
            lane_free(k.a);
            k.a = NULL;
        } else {
            lane_shut(k.d);
        }
        pthread_join(t, NULL);
        if (b.rc != (peer_leaves ? -EPIPE : -ENOTCONN))
            fail_msg("call %d, %s: %d, %s", b.call, peer_leaves ? "left" : "shut", b.rc,
                     err_msg(&b.err));
        assert_int_equal(lane_send(k.d, &(struct iovec){k.shown, 1}, 1, &err), b.rc);
        lane_shut(k.d);
        lane_pair_down(&k);
    }
}

/* Everything that was sent before the end arrives; then the stream has ended. */
static void
test_end_after_data(void **state)
{
    struct lane_pair k = {0};
    uint8_t b;
    struct err err = {0};

    (void)state;
    lane_pair_up(&k);
    for (int i = 0; i < LANE_CREDITS; i++)
        lane_pair_send_byte(k.d, (uint8_t)i);
    lane_free(k.d);
    k.d = NULL;
    for (int i = 0; i < LANE_CREDITS; i++)
        assert_int_equal(lane_pair_recv_byte(k.a), i);
    assert_int_equal(lane_recv(k.a, &b, 1, PATIENCE, &err), -EPIPE);
    assert_int_equal(lane_recv(k.a, &b, 1, PATIENCE, &err), -EPIPE);
    assert_non_null(strstr(err_msg(&err), "closed"));
    lane_pair_down(&k);
}

/* --- dialling --- */

static void
test_refused(void **state)
{
    struct lane_pair k = {0};
    pthread_t t;

    (void)state;
    lane_pair_open(&k);
    pthread_create(&t, NULL, lane_pair_dial, &k);
    lane_refuse(lane_pair_request(k.far, k.seen));
    pthread_join(t, NULL);
    assert_int_equal(k.dial_rc, -ECONNREFUSED);
    lane_pair_down(&k);
}

static void
test_nobody_listens(void **state)
{
    struct lane_pair k = {0};

    (void)state;
    lane_pair_open(&k);
    nic_close(k.far);
    k.far = NULL;
    lane_pair_dial(&k);
    assert_int_equal(k.dial_rc, -ECONNREFUSED);
    assert_non_null(strstr(k.dial_err.msg, k.addr));
    lane_pair_down(&k);
}

/* Nobody answers: the time is up, or it is cancelled. The request is of no use then. */
static void
test_no_answer(void **state)
{
    (void)state;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        struct lane_pair k = {0};
        struct lane *l = NULL;
        struct err err = {0};
        AUTO_FD int fd = eventfd(cancelled ? 1 : 0, EFD_CLOEXEC);

        lane_pair_open(&k);
        assert_int_equal(lane_dial(k.near, k.addr, k.shown, &(struct lane_config){0},
                                   cancelled ? PATIENCE : SECOND / 5, fd, &l, &err),
                         cancelled ? -ECANCELED : -ETIMEDOUT);
        assert_null(l);
        lane_pair_down(&k); /* and with it the request */
    }
}

/* Requests that come while one is accepted wait. */
static void
test_several_at_once(void **state)
{
    struct lane_pair k[6] = {{0}};
    struct lane *a[6];
    pthread_t t[6];
    struct err err = {0};
    bool seen[6] = {false};

    (void)state;
    lane_pair_open(&k[0]);
    for (uint8_t i = 0; i < 6; i++) {
        k[i].near = k[0].near;
        memcpy(k[i].addr, k[0].addr, sizeof k[i].addr);
        k[i].shown[0] = i;
        pthread_create(&t[i], NULL, lane_pair_dial, &k[i]);
    }
    for (int i = 0; i < 6; i++) {
        struct nic_request *r = lane_pair_request(k[0].far, k[0].seen);
        uint8_t who = k[0].seen[0];

        assert_true(who < 6 && !seen[who]);
        seen[who] = true;
        if (lane_accept(r, &(struct lane_config){0}, &a[who], &err) != 0)
            fail_msg("%s", err_msg(&err));
    }
    for (uint8_t i = 0; i < 6; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(k[i].dial_rc, 0);
        lane_pair_send_byte(k[i].d, i);
    }
    for (uint8_t i = 0; i < 6; i++) {
        assert_int_equal(lane_pair_recv_byte(a[i]), i);
        lane_free(a[i]);
        if (i > 0)
            lane_free(k[i].d);
    }
    lane_pair_down(&k[0]);
}

static void
test_no_device(void **state)
{
    static const struct {
        const char *local, *peer;
        int rc;
    } rows[] = {
        {"127.0.0.2", "", -ENODEV}, {"0.0.0.0", "", -ENODEV}, {"", "", -EINVAL},
        {"", "nowhere", -EINVAL},   {"", "1.2.3.4", -EINVAL}, {"host", "", -EINVAL},
    };
    struct nic *n = NULL;
    struct err err;

    (void)state;
    (void)rdma_test_ip(); /* there is one, elsewhere */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        err = (struct err){0};
        if (nic_open(rows[i].local, rows[i].peer, &n, &err) != rows[i].rc)
            fail_msg("'%s' '%s': %d %s", rows[i].local, rows[i].peer, err.code, err_msg(&err));
        assert_null(n);
        assert_true(err.msg[0] != '\0');
    }
}

/* Without an address of its own the way to the peer says which device it is. */
static void
test_by_peer(void **state)
{
    struct lane_pair k = {0};
    struct nic *by_peer = NULL, *own;
    struct err err = {0};
    uint16_t port;

    (void)state;
    lane_pair_open(&k);
    if (nic_open("", k.addr, &by_peer, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_string_equal(nic_facts(by_peer)->device, nic_facts(k.near)->device);
    assert_int_equal(nic_listen(by_peer, &port, &err), -EINVAL);
    assert_int_equal(nic_listen_fd(by_peer), -1);
    own = k.near;
    k.near = by_peer;
    lane_pair_connect(&k);
    lane_pair_send_byte(k.d, 7);
    assert_int_equal(lane_pair_recv_byte(k.a), 7);
    lane_pair_down(&k);
    nic_close(own);
}

/* --- a peer that breaks the rules of the stream --- */

/* The same message, often: from a buffer of the lane's, which is not touched again. */
static void
post_raw(struct lane *l, struct lane_head h, size_t bytes, int times)
{
    uint8_t *buf = l->mem + (size_t)LANE_RECV_BUFFERS * LANE_BUFFER_BYTES;
    struct ibv_sge sge = {
        .addr = (uintptr_t)buf, .length = (uint32_t)bytes, .lkey = l->mem_mr->mr->lkey};

    memcpy(buf, &h, sizeof h);
    while (times-- > 0) {
        struct ibv_send_wr wr = {.wr_id = ++l->posted,
                                 .sg_list = &sge,
                                 .num_sge = 1,
                                 .opcode = IBV_WR_SEND,
                                 .send_flags = IBV_SEND_SIGNALED},
                           *bad;

        assert_int_equal(ibv_post_send(l->id->qp, &wr, &bad), 0);
    }
}

static void
test_hostile_stream(void **state)
{
    static const struct {
        const char *name;
        struct lane_head head;
        size_t bytes;
        int times;
    } rows[] = {
        {"half a head", {LANE_DATA, 0, 1}, 4, 1},
        {"no data", {LANE_DATA, 0, 0}, 8, 1},
        {"less than it says", {LANE_DATA, 0, 100}, 40, 1},
        {"more than it says", {LANE_DATA, 0, 100}, 200, 1},
        {"a length that wraps", {LANE_DATA, 0, UINT32_MAX}, 40, 1},
        {"no type", {0, 1, 0}, 8, 1},
        {"an unknown type", {3, 0, 8}, 16, 1},
        {"credits that were not owed", {LANE_NOTE, 1, 0}, 8, 1},
        {"many of them", {LANE_NOTE, UINT16_MAX, 0}, 8, 1},
        {"the same with data", {LANE_DATA, 1, 8}, 16, 1},
        {"a note of nothing", {LANE_NOTE, 0, 0}, 8, 1},
        {"a note with data", {LANE_NOTE, 1, 8}, 16, 1},
        {"more messages than credits", {LANE_DATA, 0, 8}, 16, LANE_CREDITS + 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_pair k = {0};
        struct lane_nap z = {.role = LANE_RECEIVER, .cqs = 1u << LANE_RCQ};
        uint8_t b[8 * (LANE_CREDITS + 2)];
        struct err err = {0};
        int rc;

        print_message("  %s\n", rows[i].name);
        lane_pair_up(&k);
        post_raw(k.d, rows[i].head, rows[i].bytes, rows[i].times);
        while (!atomic_load(&k.a->broken)) { /* nothing is taken from the stream */
            lane_readable(k.a);
            lane_nap(k.a, &z);
        }
        rc = lane_recv(k.a, b, sizeof b, PATIENCE, &err);
        if (rc != -EPROTO)
            fail_msg("%s: %d, %s", rows[i].name, rc, err_msg(&err));
        lane_pair_down(&k);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(test_stream_both_ways),
        LANE_TEST(test_slow_reader),
        LANE_TEST(test_conn),
        LANE_TEST(test_blocked_calls_end),
        LANE_TEST(test_end_after_data),
        LANE_TEST(test_refused),
        LANE_TEST(test_nobody_listens),
        LANE_TEST(test_no_answer),
        LANE_TEST(test_several_at_once),
        LANE_TEST(test_no_device),
        LANE_TEST(test_by_peer),
        LANE_TEST(test_hostile_stream),
    };
    int rc = lane_pair_missing();

    return rc ? rc : cmocka_run_group_tests(tests, lane_pair_warm_up, NULL);
}
