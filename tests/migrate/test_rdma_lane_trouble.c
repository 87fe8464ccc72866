/* Lanes when a device or a library says no: each call that can fail, completions that fail, a device
 * that is removed. All of it is injected, so it takes the double. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/migrate/lane_pair.h"
#include "tests/migrate/verbs_double.h"

/* --- calls that fail --- */

static void
test_open_fails(void **state)
{
    static const struct {
        const char *function;
        int code, rc;
    } rows[] = {
        {"rdma_create_event_channel", ENODEV, -ENODEV},
        {"rdma_create_event_channel", ENOENT, -ENODEV},
        {"rdma_create_event_channel", ENOSYS, -ENODEV},
        {"rdma_create_event_channel", EMFILE, -EMFILE},
        {"rdma_create_id", ENOMEM, -ENOMEM},
        {"rdma_bind_addr", ENODEV, -ENODEV},
        {"rdma_bind_addr", EADDRNOTAVAIL, -EADDRNOTAVAIL},
        {"ibv_query_device", EIO, -EIO},
        {"ibv_alloc_pd", ENOMEM, -ENOMEM},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct nic *n = NULL;
        struct err err = {0};
        const char *ip = rdma_test_ip();
        int rc;

        verbs_fail_call(rows[i].function, 1, rows[i].code);
        rc = nic_open(ip, "", &n, &err);
        if (rc != rows[i].rc || n || !err.msg[0])
            fail_msg("%s: %d, %s", rows[i].function, rc, err_msg(&err));
        assert_false(verbs_reset());
    }
}

static void
test_listen_fails(void **state)
{
    struct nic *n = NULL;
    struct err err = {0};
    uint16_t port = 0;

    (void)state;
    assert_int_equal(nic_open(rdma_test_ip(), "", &n, &err), 0);
    verbs_fail_call("rdma_listen", 1, EADDRINUSE);
    assert_int_equal(nic_listen(n, &port, &err), -EADDRINUSE);
    assert_int_equal(nic_listen_fd(n), -1);
    nic_close(n);
}

static void
test_dial_fails(void **state)
{
    static const struct {
        const char *function;
        unsigned nth;
        int code, rc;
    } rows[] = {
        {"rdma_create_event_channel", 1, EMFILE, -EMFILE},
        {"rdma_create_id", 1, ENOMEM, -ENOMEM},
        {"rdma_resolve_addr", 1, ENETUNREACH, -ENETUNREACH},
        {"rdma_resolve_route", 1, EINVAL, -EINVAL},
        {"rdma_get_cm_event", 1, EIO, -EIO},
        {"rdma_get_cm_event", 3, EIO, -EIO},
        {"ibv_reg_mr", 1, ENOMEM, -ENOMEM},
        {"ibv_create_comp_channel", 1, EMFILE, -EMFILE},
        {"ibv_create_comp_channel", 2, EMFILE, -EMFILE},
        {"ibv_create_cq", 1, ENOMEM, -ENOMEM},
        {"ibv_create_cq", 2, EINVAL, -EINVAL},
        {"rdma_create_qp", 1, ENOMEM, -ENOMEM},
        {"ibv_post_recv", 1, ENOMEM, -ENOMEM},
        {"ibv_post_recv", LANE_RECV_BUFFERS, ENOMEM, -ENOMEM},
        {"rdma_connect", 1, ENODEV, -ENODEV},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_pair k = {0};

        lane_pair_open(&k);
        verbs_fail_call(rows[i].function, rows[i].nth, rows[i].code);
        lane_pair_dial(&k);
        if (k.dial_rc != rows[i].rc || k.d || !k.dial_err.msg[0])
            fail_msg("%s %u: %d, %s", rows[i].function, rows[i].nth, k.dial_rc,
                     err_msg(&k.dial_err));
        lane_pair_down(&k);
        assert_false(verbs_reset());
    }
}

/* The end that dialled hears of it at once. */
static void
test_accept_fails(void **state)
{
    static const struct {
        const char *function;
        int code, rc;
    } rows[] = {
        {"rdma_create_event_channel", EMFILE, -EMFILE},
        {"rdma_migrate_id", EINVAL, -EINVAL},
        {"ibv_reg_mr", ENOMEM, -ENOMEM},
        {"ibv_create_comp_channel", EMFILE, -EMFILE},
        {"ibv_create_cq", ENOMEM, -ENOMEM},
        {"rdma_create_qp", ENOMEM, -ENOMEM},
        {"ibv_post_recv", ENOMEM, -ENOMEM},
        {"rdma_accept", EINVAL, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_pair k = {0};
        struct nic_request *r;
        struct err err = {0};
        pthread_t t;
        int rc;

        lane_pair_open(&k);
        pthread_create(&t, NULL, lane_pair_dial, &k);
        r = lane_pair_request(k.far, k.seen);
        verbs_fail_call(rows[i].function, 1, rows[i].code);
        rc = lane_accept(r, &k.accept_cfg, &k.a, &err);
        pthread_join(t, NULL);
        if (rc != rows[i].rc || k.a || !err.msg[0])
            fail_msg("%s: %d, %s", rows[i].function, rc, err_msg(&err));
        if (k.dial_rc != -ECONNREFUSED)
            fail_msg("%s: the other end: %d, %s", rows[i].function, k.dial_rc,
                     err_msg(&k.dial_err));
        lane_pair_down(&k);
        assert_false(verbs_reset());
    }
}

/* An option that a device does not know is done without; so is an end that nobody is told of. */
static void
test_done_without(void **state)
{
    static const char *const functions[] = {"rdma_set_option", "rdma_disconnect"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        struct lane_pair k = {.dial_cfg.dscp = 26};

        lane_pair_open(&k);
        if (i == 0)
            verbs_fail_call(functions[i], 0, ENOSYS);
        lane_pair_connect(&k);
        lane_pair_send_byte(k.d, 5);
        assert_int_equal(lane_pair_recv_byte(k.a), 5);
        if (i == 1)
            verbs_fail_call(functions[i], 0, EINVAL);
        lane_pair_down(&k);
        assert_false(verbs_reset());
    }
}

/* --- completions that fail --- */

static const struct {
    enum ibv_wc_status status;
    int rc;
} statuses[] = {
    {IBV_WC_RETRY_EXC_ERR, -ETIMEDOUT},  {IBV_WC_RNR_RETRY_EXC_ERR, -ETIMEDOUT},
    {IBV_WC_REM_ACCESS_ERR, -EREMOTEIO}, {IBV_WC_REM_INV_REQ_ERR, -EREMOTEIO},
    {IBV_WC_REM_OP_ERR, -EREMOTEIO},     {IBV_WC_LOC_PROT_ERR, -EIO},
    {IBV_WC_LOC_QP_OP_ERR, -EIO},        {IBV_WC_FATAL_ERR, -ENODEV},
    {IBV_WC_WR_FLUSH_ERR, -ENOTCONN},
};

/* Whichever call meets it first says why, and all later ones say the same. */
static void
test_work_fails(void **state)
{
    static const enum ibv_wr_opcode kinds[] = {IBV_WR_SEND, IBV_WR_RDMA_WRITE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses) * 2; i++) {
        enum ibv_wc_status status = statuses[i / 2].status;
        int want = statuses[i / 2].rc, rc;
        struct lane_pair k = {0};
        struct region from, to;
        struct lane_write w;
        uint64_t ticket = 0;
        struct err err = {0};
        uint8_t b = 1;

        lane_pair_up(&k);
        from = region_new(k.near, PIECE, NIC_LOCAL);
        to = region_new(k.far, PIECE, NIC_PEER_WRITES);
        w = (struct lane_write){.from = from.p,
                                .mr = from.mr,
                                .to = nic_mr_address(to.mr),
                                .key = nic_mr_key(to.mr),
                                .bytes = PIECE};
        verbs_fail_work(kinds[i % 2], 1, status);
        if (i % 2 == 0)
            assert_int_equal(lane_send(k.d, &(struct iovec){&b, 1}, 1, &err), 0);
        do { /* a SEND that fails is met by whatever comes next */
            rc = lane_write(k.d, &w, 1, &ticket, &err);
            rc = rc ? rc : lane_wait(k.d, ticket, &err);
        } while (rc == 0);
        if (rc != want || !err.msg[0])
            fail_msg("%s: %d, %s", ibv_wc_status_str(status), rc, err_msg(&err));
        assert_int_equal(lane_send(k.d, &(struct iovec){&b, 1}, 1, &err), want);
        assert_int_equal(lane_recv(k.d, &b, 1, PATIENCE, &err), want);
        assert_int_equal(lane_wait(k.d, ticket, &err), want);
        assert_int_equal(lane_write(k.d, &w, 1, &ticket, &err), want);
        region_drop(&from);
        region_drop(&to);
        lane_pair_down(&k);
        assert_false(verbs_reset());
    }
}

static void
test_post_fails(void **state)
{
    struct lane_pair k = {0};
    struct err err = {0};
    uint8_t b = 1;

    (void)state;
    lane_pair_up(&k);
    verbs_fail_call("ibv_post_send", 1, ENOMEM);
    assert_int_equal(lane_send(k.d, &(struct iovec){&b, 1}, 1, &err), -ENOMEM);
    assert_int_equal(lane_send(k.d, &(struct iovec){&b, 1}, 1, &err), -ENOMEM);
    lane_pair_down(&k);
}

/* Nobody sleeps for ever on a queue that cannot tell of completions. */
static void
test_cannot_wait(void **state)
{
    struct lane_pair k = {0};
    struct err err = {0};
    uint8_t b;

    (void)state;
    lane_pair_up(&k);
    verbs_fail_call("ibv_req_notify_cq", 1, EIO);
    assert_int_equal(lane_recv(k.d, &b, 1, 0, &err), -EIO);
    lane_pair_down(&k);
}

/* --- READs --- */

static void
read_one(struct lane_pair *k, struct region *to, struct region *from, uint64_t cookie)
{
    struct err err = {0};

    if (lane_read(k->d, to->p, to->mr, nic_mr_address(from->mr), nic_mr_key(from->mr), PIECE,
                  cookie, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static void
test_short_read(void **state)
{
    struct lane_pair k = {0};
    struct region from, to;
    struct err err = {0};
    uint64_t cookie = 0;
    int rc = 0;

    (void)state;
    lane_pair_up_to_read(&k);
    from = region_new(k.far, PIECE, NIC_PEER_READS);
    to = region_new(k.near, PIECE, NIC_LOCAL);
    verbs_short_read(1, PIECE / 2);
    read_one(&k, &to, &from, 7);
    assert_int_equal(lane_reap(k.d, PATIENCE, &cookie, &rc, &err), 1);
    assert_int_equal(cookie, 7);
    assert_int_equal(rc, -EIO);
    read_one(&k, &to, &from, 8); /* the lane is whole */
    assert_int_equal(lane_reap(k.d, PATIENCE, &cookie, &rc, &err), 1);
    assert_int_equal(cookie, 8);
    assert_int_equal(rc, 0);
    region_drop(&from);
    region_drop(&to);
    lane_pair_down(&k);
}

/* Each open READ is reported once, however the lane ends, and then why. */
static void
test_open_reads_end(void **state)
{
    static const char *const ends[] = {"cut", "removed", "shut", "left"};
    static const int rcs[] = {-ETIMEDOUT, -ENODEV, -ENOTCONN, -EPIPE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct lane_pair k = {0};
        struct region from, to;
        struct err err = {0};
        unsigned seen = 0;
        uint64_t cookie = 0;
        int rc, one = 0;

        lane_pair_up_to_read(&k);
        from = region_new(k.far, PIECE, NIC_PEER_READS);
        to = region_new(k.near, PIECE, NIC_LOCAL);
        verbs_hold(0, true);
        for (uint64_t n = 0; n < READS; n++)
            read_one(&k, &to, &from, n);
        assert_int_equal(lane_read(k.d, to.p, to.mr, nic_mr_address(from.mr), nic_mr_key(from.mr),
                                   PIECE, 99, &err),
                         -EAGAIN);
        assert_int_equal(lane_reap(k.d, 1000, &cookie, &one, &err), 0);
        switch (i) {
        case 0:
            verbs_break(0);
            break;
        case 1:
            verbs_device_remove(rdma_test_ip());
            break;
        case 2:
            lane_shut(k.d);
            break;
        default:
            lane_free(k.a);
            k.a = NULL;
            break;
        }
        while ((rc = lane_reap(k.d, PATIENCE, &cookie, &one, &err)) == 1) {
            assert_true(cookie < READS && !(seen & 1u << cookie));
            assert_true(one < 0);
            seen |= 1u << cookie;
        }
        assert_int_equal(seen, (1u << READS) - 1);
        if (rc != rcs[i])
            fail_msg("%s: %d, %s", ends[i], rc, err_msg(&err));
        assert_int_equal(lane_read(k.d, to.p, to.mr, nic_mr_address(from.mr), nic_mr_key(from.mr),
                                   PIECE, 99, &err),
                         rc);
        verbs_hold(0, false);
        region_drop(&from);
        region_drop(&to);
        lane_pair_down(&k);
        assert_false(verbs_reset());
    }
}

/* --- the device goes --- */

static void *
recv_one(void *arg)
{
    struct err err = {0};
    uint8_t b;

    return (void *)(intptr_t)lane_recv(arg, &b, 1, 0, &err);
}

static void
test_device_removed(void **state)
{
    struct lane_pair k = {0};
    uint8_t preamble[FRAME_PREAMBLE_SIZE];
    struct nic_request *r = NULL;
    struct err err = {0};
    pthread_t t[2];
    void *rc;

    (void)state;
    lane_pair_up(&k);
    pthread_create(&t[0], NULL, recv_one, k.d);
    pthread_create(&t[1], NULL, recv_one, k.a);
    verbs_device_remove(rdma_test_ip());
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &rc);
        assert_int_equal((intptr_t)rc, -ENODEV);
    }
    assert_int_equal(lane_send(k.d, &(struct iovec){preamble, 1}, 1, &err), -ENODEV);
    assert_int_equal(nic_next_request(k.far, &r, preamble, &err), -ENODEV);
    assert_non_null(strstr(err_msg(&err), "removed"));
    lane_pair_down(&k);
}

/* A peer whose end is never heard of: what is sent to it fails, and says so. */
static void
test_silent_end(void **state)
{
    struct lane_pair k = {0};
    struct err err = {0};
    int rc;

    (void)state;
    lane_pair_up(&k);
    verbs_drop_disconnects(true);
    lane_free(k.a);
    k.a = NULL;
    do
        rc = lane_send(k.d, &(struct iovec){k.shown, 1}, 1, &err);
    while (rc == 0);
    assert_int_equal(rc, -ETIMEDOUT);
    lane_pair_down(&k);
}

/* A request whose sender has given up before it was answered. */
static void
test_request_is_gone(void **state)
{
    struct lane_pair k = {0};
    struct nic_request *r, *other = NULL;
    struct err err = {0};

    (void)state;
    lane_pair_open(&k);
    assert_int_equal(lane_dial(k.near, k.addr, k.shown, &k.dial_cfg, 1000, -1, &k.d, &err),
                     -ETIMEDOUT);
    if (nic_next_request(k.far, &r, k.seen, &err) == 1) {
        assert_int_equal(nic_next_request(k.far, &other, k.seen, &err), 0);
        assert_true(lane_accept(r, &k.accept_cfg, &k.a, &err) < 0);
        assert_null(k.a);
    }
    lane_pair_down(&k);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(test_open_fails),      LANE_TEST(test_listen_fails),   LANE_TEST(test_dial_fails),
        LANE_TEST(test_accept_fails),    LANE_TEST(test_done_without),   LANE_TEST(test_work_fails),
        LANE_TEST(test_post_fails),      LANE_TEST(test_cannot_wait),    LANE_TEST(test_short_read),
        LANE_TEST(test_open_reads_end),  LANE_TEST(test_device_removed), LANE_TEST(test_silent_end),
        LANE_TEST(test_request_is_gone),
    };

    if (!verbs_is_double()) {
        print_message("skipped: what this injects takes the double\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, lane_pair_warm_up, NULL);
}
