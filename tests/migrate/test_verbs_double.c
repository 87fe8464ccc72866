/* The double of libibverbs and librdmacm against what a device does: which status an error ends with,
 * what is flushed, what a key is good for. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <errno.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/migrate/verbs_double.h"

#define MEM (64u << 10)

struct end {
    struct rdma_event_channel *events;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;
    struct ibv_comp_channel *comp;
    struct ibv_cq *cq;
    uint8_t *mem;
    struct ibv_mr *mr;
};

static struct pairing {
    struct end listener, dial, accept;
} two;

static void
wait_event(struct rdma_event_channel *c, enum rdma_cm_event_type want, struct rdma_cm_id **ret)
{
    struct rdma_cm_event *e;
    assert_int_equal(rdma_get_cm_event(c, &e), 0);
    assert_string_equal(rdma_event_str(e->event), rdma_event_str(want));
    if (ret)
        *ret = e->id;
    if (want == RDMA_CM_EVENT_CONNECT_REQUEST) {
        assert_int_equal(e->param.conn.private_data_len, 56);
        assert_memory_equal(e->param.conn.private_data, "hello\0\0", 7);
    }
    rdma_ack_cm_event(e);
}

static void
equip(struct end *e, unsigned access)
{
    e->pd = ibv_alloc_pd(e->id->verbs);
    e->comp = ibv_create_comp_channel(e->id->verbs);
    e->cq = ibv_create_cq(e->id->verbs, 64, NULL, e->comp, 0);
    struct ibv_qp_init_attr a = {.send_cq = e->cq,
                                 .recv_cq = e->cq,
                                 .qp_type = IBV_QPT_RC,
                                 .cap = {.max_send_wr = 16,
                                         .max_recv_wr = 16,
                                         .max_send_sge = 4,
                                         .max_recv_sge = 4,
                                         .max_inline_data = 64}};
    assert_int_equal(rdma_create_qp(e->id, e->pd, &a), 0);
    e->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    e->mr = ibv_reg_mr(e->pd, e->mem, MEM, access | IBV_ACCESS_LOCAL_WRITE);
    assert_non_null(e->mr);
    assert_int_not_equal(e->mr->rkey, 0);
}

static int
connect_two(void **state)
{
    (void)state;
    const unsigned all = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
    struct sockaddr_in a = {.sin_family = AF_INET};
    inet_pton(AF_INET, rdma_test_ip(), &a.sin_addr);
    memset(&two, 0, sizeof two);
    two.listener.events = rdma_create_event_channel();
    two.dial.events = rdma_create_event_channel();
    two.accept.events = two.listener.events;
    rdma_create_id(two.listener.events, &two.listener.id, NULL, RDMA_PS_TCP);
    assert_int_equal(rdma_bind_addr(two.listener.id, (struct sockaddr *)&a), 0);
    assert_int_equal(rdma_listen(two.listener.id, 1), 0);
    a.sin_port = rdma_get_src_port(two.listener.id);
    rdma_create_id(two.dial.events, &two.dial.id, NULL, RDMA_PS_TCP);
    assert_int_equal(rdma_resolve_addr(two.dial.id, NULL, (struct sockaddr *)&a, 1000), 0);
    wait_event(two.dial.events, RDMA_CM_EVENT_ADDR_RESOLVED, NULL);
    assert_int_equal(rdma_resolve_route(two.dial.id, 1000), 0);
    wait_event(two.dial.events, RDMA_CM_EVENT_ROUTE_RESOLVED, NULL);
    equip(&two.dial, all);
    struct rdma_conn_param p = {.private_data = "hello",
                                .private_data_len = 5,
                                .initiator_depth = 4,
                                .responder_resources = 4,
                                .retry_count = 6};
    assert_int_equal(rdma_connect(two.dial.id, &p), 0);
    wait_event(two.listener.events, RDMA_CM_EVENT_CONNECT_REQUEST, &two.accept.id);
    equip(&two.accept, all);
    assert_int_equal(rdma_accept(two.accept.id, &p), 0);
    wait_event(two.dial.events, RDMA_CM_EVENT_ESTABLISHED, NULL);
    wait_event(two.accept.events, RDMA_CM_EVENT_ESTABLISHED, NULL);
    return 0;
}

static void
end_done(struct end *e)
{
    if (e->mr)
        ibv_dereg_mr(e->mr);
    rdma_destroy_qp(e->id);
    ibv_destroy_cq(e->cq);
    ibv_destroy_comp_channel(e->comp);
    ibv_dealloc_pd(e->pd);
    munmap(e->mem, MEM);
    rdma_destroy_id(e->id);
}

static int
part_two(void **state)
{
    (void)state;
    end_done(&two.dial);
    end_done(&two.accept);
    rdma_destroy_id(two.listener.id);
    rdma_destroy_event_channel(two.listener.events);
    rdma_destroy_event_channel(two.dial.events);
    return verbs_reset() ? -1 : 0;
}

static struct ibv_wc
wait_wc(struct end *e)
{
    struct ibv_wc wc;
    while (ibv_poll_cq(e->cq, 1, &wc) == 0) {
        struct ibv_cq *cq;
        void *context;
        ibv_req_notify_cq(e->cq, 0);
        if (ibv_poll_cq(e->cq, 1, &wc) == 1)
            break;
        assert_int_equal(ibv_get_cq_event(e->comp, &cq, &context), 0);
        ibv_ack_cq_events(cq, 1);
    }
    return wc;
}

static int
post(struct end *e, enum ibv_wr_opcode op, uint32_t bytes, uint64_t to, uint32_t key, int flags)
{
    static uint64_t wr_id;
    struct ibv_sge sge = {(uintptr_t)e->mem, bytes, e->mr->lkey};
    struct ibv_send_wr wr = {.wr_id = wr_id,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .opcode = op,
                             .send_flags = (unsigned)flags,
                             .imm_data = htonl(77),
                             .wr.rdma = {to, key}},
                       *bad;
    wr_id++;
    return ibv_post_send(e->id->qp, &wr, &bad);
}

static void
expect_recv(struct end *e, uint32_t bytes)
{
    struct ibv_sge sge = {(uintptr_t)e->mem, bytes, e->mr->lkey};
    struct ibv_recv_wr wr = {.wr_id = 9000, .sg_list = &sge, .num_sge = 1}, *bad;
    assert_int_equal(ibv_post_recv(e->id->qp, &wr, &bad), 0);
}

#define HERE(e) ((uint64_t)(uintptr_t)(e).mem)

static void
test_data(void **state)
{
    (void)state;
    memset(two.dial.mem, 'x', MEM);
    expect_recv(&two.accept, 8);
    assert_int_equal(
        post(&two.dial, IBV_WR_RDMA_WRITE, 4096, HERE(two.accept) + 8192, two.accept.mr->rkey, 0),
        0);
    assert_int_equal(
        post(&two.dial, IBV_WR_SEND_WITH_IMM, 8, 0, 0, IBV_SEND_SIGNALED | IBV_SEND_INLINE), 0);
    struct ibv_wc wc = wait_wc(&two.accept);
    assert_int_equal(wc.status, IBV_WC_SUCCESS);
    assert_int_equal(wc.opcode, IBV_WC_RECV);
    assert_int_equal(wc.byte_len, 8);
    assert_int_equal(ntohl(wc.imm_data), 77);
    assert_int_equal(two.accept.mem[8192 + 4095], 'x'); /* the WRITE before it is there */
    assert_int_equal(two.accept.mem[8192 + 4096], 0);
    assert_int_equal(wait_wc(&two.dial).opcode, IBV_WC_SEND);
    two.accept.mem[100] = 'r';
    assert_int_equal(post(&two.dial, IBV_WR_RDMA_READ, 10, HERE(two.accept) + 100,
                          two.accept.mr->rkey, IBV_SEND_SIGNALED),
                     0);
    wc = wait_wc(&two.dial);
    assert_int_equal(wc.status, IBV_WC_SUCCESS);
    assert_int_equal(wc.byte_len, 10);
    assert_int_equal(two.dial.mem[0], 'r');
}

/* Slots of the send queue come free by polling what completed, not before. */
static void
test_queue_full(void **state)
{
    (void)state;
    for (int i = 0; i < 15; i++)
        assert_int_equal(
            post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey, 0), 0);
    assert_true(verbs_wait_work(IBV_WR_RDMA_WRITE, 15));
    assert_int_equal(post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey,
                          IBV_SEND_SIGNALED),
                     0);
    assert_int_equal(
        post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey, 0), ENOMEM);
    assert_int_equal(wait_wc(&two.dial).status, IBV_WC_SUCCESS);
    assert_int_equal(
        post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey, 0), 0);
}

/* Each trouble, what the one who posted it sees, and that what comes behind it is flushed. */
static void
test_statuses(void **state)
{
    (void)state;
    enum trouble {
        BAD_KEY,
        ENDED_KEY,
        PAST_END,
        BEFORE,
        READ_ONLY,
        SHORT_RECV,
        NO_RECV,
        LOCAL,
        INJECTED,
        LOST
    };
    static const struct {
        const char *name;
        enum trouble trouble;
        enum ibv_wr_opcode op;
        enum ibv_wc_status status;
        bool peer_fails;
    } rows[] = {
        {"a key nobody has", BAD_KEY, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR, true},
        {"READ by a key nobody has", BAD_KEY, IBV_WR_RDMA_READ, IBV_WC_REM_ACCESS_ERR, true},
        {"a key whose registration has ended", ENDED_KEY, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR,
         true},
        {"a byte past the end", PAST_END, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR, true},
        {"a byte before", BEFORE, IBV_WR_RDMA_READ, IBV_WC_REM_ACCESS_ERR, true},
        {"WRITE where only READ is granted", READ_ONLY, IBV_WR_RDMA_WRITE, IBV_WC_REM_ACCESS_ERR,
         true},
        {"a receive buffer too short", SHORT_RECV, IBV_WR_SEND, IBV_WC_REM_INV_REQ_ERR, true},
        {"no receive buffer", NO_RECV, IBV_WR_SEND, IBV_WC_RNR_RETRY_EXC_ERR, false},
        {"local memory past the end", LOCAL, IBV_WR_SEND, IBV_WC_LOC_PROT_ERR, false},
        {"a status that a test asked for", INJECTED, IBV_WR_RDMA_WRITE, IBV_WC_REM_OP_ERR, true},
        {"a connection that is cut", LOST, IBV_WR_RDMA_WRITE, IBV_WC_RETRY_EXC_ERR, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_message("# %s\n", rows[i].name);
        connect_two(NULL);
        const uint32_t qp = two.dial.id->qp->qp_num;
        uint64_t to = HERE(two.accept);
        uint32_t key = two.accept.mr->rkey, bytes = 64;
        verbs_hold(qp, true);
        switch (rows[i].trouble) {
        case BAD_KEY:
            key += 1;
            break;
        case ENDED_KEY:
            ibv_dereg_mr(two.accept.mr);
            two.accept.mr = ibv_reg_mr(two.accept.pd, two.accept.mem, MEM,
                                       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
            assert_int_not_equal(two.accept.mr->rkey, key);
            break;
        case PAST_END:
            to += MEM - 63;
            break;
        case BEFORE:
            to -= 1;
            break;
        case READ_ONLY:
            ibv_dereg_mr(two.accept.mr);
            two.accept.mr = ibv_reg_mr(two.accept.pd, two.accept.mem, MEM,
                                       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
            key = two.accept.mr->rkey;
            break;
        case SHORT_RECV:
            expect_recv(&two.accept, 63);
            break;
        case LOCAL:
            expect_recv(&two.accept, 64);
            bytes = MEM + 1;
            break;
        case INJECTED:
            verbs_fail_work(rows[i].op, 1, rows[i].status);
            break;
        case NO_RECV:
        case LOST:
            break;
        }
        assert_int_equal(post(&two.dial, rows[i].op, bytes, to, key, 0), 0);
        assert_int_equal(
            post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey, 0), 0);
        if (rows[i].trouble == LOST)
            verbs_break(qp);
        verbs_hold(qp, false);
        assert_int_equal(wait_wc(&two.dial).status, rows[i].status);
        assert_int_equal(wait_wc(&two.dial).status, IBV_WC_WR_FLUSH_ERR);
        if (rows[i].trouble == SHORT_RECV)
            assert_int_equal(wait_wc(&two.accept).status, IBV_WC_LOC_LEN_ERR);
        struct ibv_qp_attr a;
        struct ibv_qp_init_attr init;
        ibv_query_qp(two.accept.id->qp, &a, IBV_QP_STATE, &init);
        assert_int_equal(a.qp_state == IBV_QPS_ERR, rows[i].peer_fails);
        assert_int_equal(part_two(NULL), 0);
    }
}

static void
test_registering(void **state)
{
    (void)state;
    struct ibv_mr *m[2];
    unsigned char there[16];
    uint8_t *p = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    verbs_set_lock_limit(4 * (uint64_t)MEM);
    m[0] = ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_LOCAL_WRITE);
    assert_non_null(m[0]);
    mincore(p, MEM, there);
    for (unsigned i = 0; i < sizeof there; i++)
        assert_int_equal(there[i] & 1, 1);
    m[1] = ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_LOCAL_WRITE);
    assert_non_null(m[1]);
    assert_int_not_equal(m[0]->rkey, m[1]->rkey);
    assert_null(ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_LOCAL_WRITE));
    assert_int_equal(errno, ENOMEM);
    ibv_dereg_mr(m[0]);
    verbs_fail_call("ibv_reg_mr", 1, EINVAL);
    assert_null(ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_LOCAL_WRITE));
    assert_int_equal(errno, EINVAL);
    mprotect(p, MEM, PROT_READ);
    assert_null(ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_LOCAL_WRITE));
    assert_int_equal(errno, EFAULT);
    m[0] = ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_REMOTE_READ);
    assert_non_null(m[0]);
    assert_null(ibv_reg_mr(two.dial.pd, p, MEM, IBV_ACCESS_REMOTE_WRITE));
    assert_int_equal(ibv_dealloc_pd(two.dial.pd), EBUSY);
    ibv_dereg_mr(m[0]);
    ibv_dereg_mr(m[1]);
    munmap(p, MEM);
}

static void
test_device_removed(void **state)
{
    (void)state;
    expect_recv(&two.accept, 64);
    verbs_device_remove(rdma_test_ip());
    wait_event(two.dial.events, RDMA_CM_EVENT_DEVICE_REMOVAL, NULL);
    assert_int_equal(wait_wc(&two.accept).status, IBV_WC_WR_FLUSH_ERR);
    assert_int_equal(
        post(&two.dial, IBV_WR_RDMA_WRITE, 1, HERE(two.accept), two.accept.mr->rkey, 0), 0);
    assert_int_equal(wait_wc(&two.dial).status, IBV_WC_WR_FLUSH_ERR);
    assert_null(ibv_reg_mr(two.dial.pd, two.dial.mem, MEM, 0));
    wait_event(two.accept.events, RDMA_CM_EVENT_DEVICE_REMOVAL, NULL);
    wait_event(two.accept.events, RDMA_CM_EVENT_DEVICE_REMOVAL, NULL);
}

static void
test_disconnect(void **state)
{
    (void)state;
    struct pollfd p = {.fd = two.accept.events->fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(rdma_disconnect(two.dial.id), 0);
    assert_int_equal(poll(&p, 1, 0), 1);
    wait_event(two.accept.events, RDMA_CM_EVENT_DISCONNECTED, NULL);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(post(&two.accept, IBV_WR_RDMA_WRITE, 1, HERE(two.dial), two.dial.mr->rkey, 0),
                     0);
    assert_int_equal(wait_wc(&two.accept).status, IBV_WC_RETRY_EXC_ERR);
}

static void
test_nobody_there(void **state)
{
    (void)state;
    int n;
    assert_null(rdma_create_event_channel());
    assert_int_equal(errno, ENODEV);
    assert_null(ibv_get_device_list(&n));
    verbs_device_add("198.18.77.1");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct rdma_event_channel *c = rdma_create_event_channel();
    struct rdma_cm_id *id;
    rdma_create_id(c, &id, NULL, RDMA_PS_TCP);
    assert_int_equal(rdma_bind_addr(id, (struct sockaddr *)&a), -1);
    assert_int_equal(errno, ENODEV);
    inet_pton(AF_INET, "198.18.77.2", &a.sin_addr);
    assert_int_equal(rdma_bind_addr(id, (struct sockaddr *)&a), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(rdma_resolve_addr(id, NULL, (struct sockaddr *)&a, 1000), 0);
    wait_event(c, RDMA_CM_EVENT_ADDR_ERROR, NULL);
    rdma_destroy_id(id);
    rdma_destroy_event_channel(c);
    assert_false(verbs_reset());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data, connect_two, part_two),
        cmocka_unit_test_setup_teardown(test_queue_full, connect_two, part_two),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test_setup_teardown(test_registering, connect_two, part_two),
        cmocka_unit_test_setup_teardown(test_device_removed, connect_two, part_two),
        cmocka_unit_test_setup_teardown(test_disconnect, connect_two, part_two),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests_name("verbs_double", tests, NULL, NULL);
}
