/* The double's queue pairs: posting, and the thread that carries out what was posted. */
#include "tests/migrate/verbs_double_int.h"

#include <errno.h>
#include <string.h>

static bool
needs_recv(enum ibv_wr_opcode op)
{
    return op == IBV_WR_SEND || op == IBV_WR_SEND_WITH_IMM || op == IBV_WR_RDMA_WRITE_WITH_IMM;
}

static bool
is_send(enum ibv_wr_opcode op)
{
    return op == IBV_WR_SEND || op == IBV_WR_SEND_WITH_IMM;
}

static enum ibv_wc_opcode
wc_opcode(enum ibv_wr_opcode op)
{
    return is_send(op)              ? IBV_WC_SEND
           : op == IBV_WR_RDMA_READ ? IBV_WC_RDMA_READ
                                    : IBV_WC_RDMA_WRITE;
}

/* --- life of a queue pair --- */

struct ibv_qp *
ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *a)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (dbl_device_of(pd->context)->removed)
        code = EIO;
    else if (a->qp_type != IBV_QPT_RC || !a->send_cq || !a->recv_cq || a->srq ||
             a->cap.max_send_sge > DBL_SGE_MAX || a->cap.max_recv_sge > DBL_SGE_MAX ||
             a->cap.max_inline_data > DBL_INLINE_MAX || a->cap.max_send_wr > 16384 ||
             a->cap.max_recv_wr > 16384)
        code = EINVAL;
    struct dbl_qp *q = code ? NULL : calloc(1, sizeof *q);
    if (q) {
        q->pub.context = pd->context;
        q->pub.pd = pd;
        q->pub.send_cq = a->send_cq;
        q->pub.recv_cq = a->recv_cq;
        q->pub.qp_context = a->qp_context;
        q->pub.qp_type = a->qp_type;
        q->pub.qp_num = dbl.next_qp++;
        q->pub.state = IBV_QPS_RESET;
        q->cap = a->cap;
        q->all_signalled = a->sq_sig_all;
        q->held = dbl.hold_all;
        q->work_end = &q->work;
        q->recv_end = &q->recv;
        ((struct dbl_cq *)a->send_cq)->users++;
        ((struct dbl_cq *)a->recv_cq)->users++;
        LIST_APPEND(dbl.qps, q);
        dbl.n.qps++;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return q ? &q->pub : NULL;
}

static struct dbl_work *
work_pop(struct dbl_qp *q)
{
    struct dbl_work *w = q->work;
    q->work = w->next;
    if (!q->work)
        q->work_end = &q->work;
    q->waiting--;
    return w;
}

static void
work_free(struct dbl_work *w)
{
    free(w->copy);
    free(w);
}

static struct dbl_recv *
recv_pop(struct dbl_qp *q)
{
    struct dbl_recv *r = q->recv;
    q->recv = r->next;
    if (!q->recv)
        q->recv_end = &q->recv;
    q->recvs--;
    return r;
}

int
ibv_destroy_qp(struct ibv_qp *pub)
{
    struct dbl_qp *q = (struct dbl_qp *)pub;
    pthread_mutex_lock(&dbl.mu);
    while (q->work)
        work_free(work_pop(q));
    while (q->recv)
        free(recv_pop(q));
    if (q->peer)
        q->peer->peer = NULL;
    ((struct dbl_cq *)q->pub.send_cq)->users--;
    ((struct dbl_cq *)q->pub.recv_cq)->users--;
    LIST_REMOVE(dbl.qps, q);
    dbl.n.qps--;
    pthread_cond_broadcast(&dbl.work);
    pthread_mutex_unlock(&dbl.mu);
    free(q);
    return 0;
}

int
ibv_modify_qp(struct ibv_qp *pub, struct ibv_qp_attr *a, int mask)
{
    struct dbl_qp *q = (struct dbl_qp *)pub;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code && mask & IBV_QP_STATE) {
        if (a->qp_state == IBV_QPS_ERR)
            dbl_qp_fail(q, IBV_WC_WR_FLUSH_ERR);
        else if (a->qp_state != q->pub.state)
            code = EINVAL; /* connections are librdmacm's */
    }
    if (!code && mask & IBV_QP_ACCESS_FLAGS)
        q->access = a->qp_access_flags;
    if (!code && mask & IBV_QP_RNR_RETRY)
        q->rnr_retry = a->rnr_retry;
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

int
ibv_query_qp(struct ibv_qp *pub, struct ibv_qp_attr *a, int mask, struct ibv_qp_init_attr *init)
{
    const struct dbl_qp *q = (const struct dbl_qp *)pub;
    (void)mask;
    memset(a, 0, sizeof *a);
    memset(init, 0, sizeof *init);
    pthread_mutex_lock(&dbl.mu);
    a->qp_state = a->cur_qp_state = q->pub.state;
    a->cap = init->cap = q->cap;
    a->qp_access_flags = q->access;
    a->max_rd_atomic = (uint8_t)q->reads;
    a->max_dest_rd_atomic = (uint8_t)q->peer_reads;
    a->dest_qp_num = q->peer ? q->peer->pub.qp_num : 0;
    a->path_mtu = IBV_MTU_4096;
    a->port_num = 1;
    pthread_mutex_unlock(&dbl.mu);
    return 0;
}

static void
recv_done(struct dbl_qp *q, struct ibv_wc wc)
{
    struct dbl_recv *r = recv_pop(q);
    wc.wr_id = r->wr_id;
    wc.qp_num = q->pub.qp_num;
    dbl_complete((struct dbl_cq *)q->pub.recv_cq, &wc, 0);
    free(r);
}

static void
work_done(struct dbl_qp *q, struct dbl_work *w, struct ibv_wc wc)
{
    q->unsignalled++;
    if (wc.status || q->all_signalled || w->wr.send_flags & IBV_SEND_SIGNALED) {
        wc.wr_id = w->wr.wr_id;
        wc.opcode = wc_opcode(w->wr.opcode);
        wc.qp_num = q->pub.qp_num;
        dbl_complete((struct dbl_cq *)q->pub.send_cq, &wc, q->unsignalled);
        q->unsignalled = 0;
    }
    work_free(w);
}

void
dbl_qp_fail(struct dbl_qp *q, enum ibv_wc_status first)
{
    if (q->pub.state == IBV_QPS_ERR)
        return;
    q->pub.state = IBV_QPS_ERR;
    for (enum ibv_wc_status status = first; q->work; status = IBV_WC_WR_FLUSH_ERR)
        work_done(q, work_pop(q), (struct ibv_wc){.status = status});
    while (q->recv)
        recv_done(q, (struct ibv_wc){.status = IBV_WC_WR_FLUSH_ERR, .opcode = IBV_WC_RECV});
    pthread_cond_broadcast(&dbl.work);
}

/* --- posting --- */

static int
post_one(struct dbl_qp *q, const struct ibv_send_wr *wr)
{
    const bool inl = wr->send_flags & IBV_SEND_INLINE;
    uint64_t bytes = 0;

    if (q->pub.state != IBV_QPS_RTS && q->pub.state != IBV_QPS_ERR)
        return EINVAL;
    if (wr->num_sge < 0 || (unsigned)wr->num_sge > q->cap.max_send_sge)
        return EINVAL;
    for (int i = 0; i < wr->num_sge; i++)
        bytes += wr->sg_list[i].length;
    if (bytes > 1u << 30 ||
        (inl && (bytes > q->cap.max_inline_data || wr->opcode == IBV_WR_RDMA_READ)))
        return EINVAL;
    if (!is_send(wr->opcode) && wr->opcode != IBV_WR_RDMA_WRITE &&
        wr->opcode != IBV_WR_RDMA_WRITE_WITH_IMM && wr->opcode != IBV_WR_RDMA_READ)
        return EINVAL;
    if (wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM && dbl.no_write_imm)
        return -EINVAL; /* negative, as siw has it */
    if (q->used == q->cap.max_send_wr)
        return ENOMEM;

    struct dbl_work *w = calloc(1, sizeof *w);
    w->wr = *wr;
    w->bytes = (uint32_t)bytes;
    if (inl) {
        uint8_t *to = w->copy = malloc(bytes + 1);
        for (int i = 0; i < wr->num_sge; i++) {
            memcpy(to, (void *)(uintptr_t)wr->sg_list[i].addr, wr->sg_list[i].length); /* NOLINT */
            to += wr->sg_list[i].length;
        }
    } else if (wr->num_sge) {
        memcpy(w->sge, wr->sg_list, (size_t)wr->num_sge * sizeof *w->sge);
    }
    q->used++;
    q->waiting++;
    *q->work_end = w;
    q->work_end = &w->next;
    if (q->pub.state == IBV_QPS_ERR)
        work_done(q, work_pop(q), (struct ibv_wc){.status = IBV_WC_WR_FLUSH_ERR});
    return 0;
}

int
dbl_post_send(struct ibv_qp *pub, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    int code = 0;
    pthread_mutex_lock(&dbl.mu);
    for (; wr && !code; wr = wr->next) {
        code = dbl_trouble("ibv_post_send");
        if (!code)
            code = post_one((struct dbl_qp *)pub, wr);
        if (code)
            *bad = wr;
    }
    pthread_cond_broadcast(&dbl.work);
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

int
dbl_post_recv(struct ibv_qp *pub, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    struct dbl_qp *q = (struct dbl_qp *)pub;
    int code = 0;
    pthread_mutex_lock(&dbl.mu);
    for (; wr && !code; wr = wr->next) {
        code = dbl_trouble("ibv_post_recv");
        if (!code && (q->pub.state == IBV_QPS_RESET || wr->num_sge < 0 ||
                      (unsigned)wr->num_sge > q->cap.max_recv_sge))
            code = EINVAL;
        if (!code && q->recvs == q->cap.max_recv_wr)
            code = ENOMEM;
        if (code) {
            *bad = wr;
            break;
        }
        struct dbl_recv *r = calloc(1, sizeof *r);
        r->wr_id = wr->wr_id;
        r->sges = wr->num_sge;
        if (r->sges)
            memcpy(r->sge, wr->sg_list, (size_t)r->sges * sizeof *r->sge);
        *q->recv_end = r;
        q->recv_end = &r->next;
        q->recvs++;
        if (q->pub.state == IBV_QPS_ERR)
            recv_done(q, (struct ibv_wc){.status = IBV_WC_WR_FLUSH_ERR, .opcode = IBV_WC_RECV});
    }
    pthread_cond_broadcast(&dbl.work);
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

/* --- carrying out --- */

/* Copies between `flat` and a list of pieces of the queue pair's own memory. */
static enum ibv_wc_status
copy_pieces(const struct dbl_qp *q, const struct ibv_sge *sge, int n, uint8_t *flat, uint64_t bytes,
            bool into_pieces)
{
    for (int i = 0; i < n; i++) {
        const uint64_t part = sge[i].length < bytes ? sge[i].length : bytes;
        if (sge[i].length == 0)
            continue;
        uint8_t *at = dbl_memory(q->pub.pd, sge[i].lkey, sge[i].addr, sge[i].length,
                                 into_pieces ? IBV_ACCESS_LOCAL_WRITE : 0);
        if (!at)
            return IBV_WC_LOC_PROT_ERR;
        if (into_pieces)
            memcpy(at, flat, part);
        else
            memcpy(flat, at, part);
        flat += part;
        bytes -= part;
    }
    return bytes ? IBV_WC_LOC_LEN_ERR : IBV_WC_SUCCESS;
}

static enum ibv_wc_status
one_sided(struct dbl_qp *q, struct dbl_work *w, uint32_t bytes, uint8_t *flat, bool corrupt)
{
    const bool read = w->wr.opcode == IBV_WR_RDMA_READ;
    const unsigned need = read ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
    if (!(q->peer->access & need) || (read && q->peer->peer_reads == 0))
        return IBV_WC_REM_INV_REQ_ERR;
    if (w->bytes == 0)
        return IBV_WC_SUCCESS;
    uint8_t *there =
        dbl_memory(q->peer->pub.pd, w->wr.wr.rdma.rkey, w->wr.wr.rdma.remote_addr, w->bytes, need);
    if (!there)
        return IBV_WC_REM_ACCESS_ERR;
    if (read) {
        memcpy(flat, there, bytes);
        return copy_pieces(q, w->sge, w->wr.num_sge, flat, bytes, true);
    }
    memcpy(there, flat, w->bytes);
    if (corrupt)
        there[0] ^= 1;
    return IBV_WC_SUCCESS;
}

/* The peer's side of what consumes a receive buffer. */
static enum ibv_wc_status
two_sided(struct dbl_qp *q, struct dbl_work *w, uint8_t *flat)
{
    struct dbl_qp *peer = q->peer;
    struct ibv_wc wc = {.byte_len = w->bytes, .opcode = IBV_WC_RECV, .src_qp = q->pub.qp_num};
    if (w->wr.opcode == IBV_WR_RDMA_WRITE_WITH_IMM)
        wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
    else
        wc.status = copy_pieces(peer, peer->recv->sge, peer->recv->sges, flat, w->bytes, true);
    if (w->wr.opcode != IBV_WR_SEND) {
        wc.wc_flags = IBV_WC_WITH_IMM;
        wc.imm_data = w->wr.imm_data;
    }
    recv_done(peer, wc);
    return wc.status ? IBV_WC_REM_INV_REQ_ERR : IBV_WC_SUCCESS;
}

static bool
runnable(const struct dbl_qp *q)
{
    if (!q->work || q->held || q->hole.tv_sec)
        return false;
    if (!q->peer)
        return true;
    if (q->peer->pub.state == IBV_QPS_INIT)
        return false; /* it has yet to look at the answer */
    return !needs_recv(q->work->wr.opcode) || q->peer->recv || q->rnr_retry != 7 ||
           q->peer->pub.state == IBV_QPS_ERR;
}

static bool
peer_at_fault(enum ibv_wc_status s)
{
    return s == IBV_WC_REM_ACCESS_ERR || s == IBV_WC_REM_INV_REQ_ERR || s == IBV_WC_REM_OP_ERR;
}

static void
fall_silent(struct dbl_qp *q, unsigned ms)
{
    clock_gettime(CLOCK_REALTIME, &q->hole);
    q->hole.tv_nsec += (long)(ms % 1000) * 1000000;
    q->hole.tv_sec += ms / 1000 + q->hole.tv_nsec / 1000000000;
    q->hole.tv_nsec %= 1000000000;
}

/* Queue pairs that have waited long enough for an answer fail. The others: *ret is when the first of
 * them will; false: there is none. */
static bool
give_up_silent(struct timespec *ret)
{
    struct timespec now;
    bool any = false;
    clock_gettime(CLOCK_REALTIME, &now);
    for (struct dbl_qp *q = dbl.qps; q; q = q->next) {
        const struct timespec *h = &q->hole;
        if (!h->tv_sec || q->pub.state == IBV_QPS_ERR)
            continue;
        if (h->tv_sec < now.tv_sec || (h->tv_sec == now.tv_sec && h->tv_nsec <= now.tv_nsec)) {
            dbl_qp_fail(q, IBV_WC_RETRY_EXC_ERR);
            continue;
        }
        if (!any || h->tv_sec < ret->tv_sec ||
            (h->tv_sec == ret->tv_sec && h->tv_nsec < ret->tv_nsec))
            *ret = *h;
        any = true;
    }
    return any;
}

static void
carry_out(struct dbl_qp *q)
{
    const enum ibv_wr_opcode op = q->work->wr.opcode;
    const struct dbl_fate fate = dbl_fate_of_work(op);
    enum ibv_wc_status status = fate.status;
    struct dbl_qp *peer = q->peer;

    if (fate.hole_ms) {
        fall_silent(q, fate.hole_ms);
        return;
    }
    struct dbl_work *w = work_pop(q);
    const uint32_t bytes = w->bytes < fate.read_bytes ? w->bytes : fate.read_bytes;
    uint8_t *flat = malloc((size_t)w->bytes + 1);
    if (!peer || peer->pub.state == IBV_QPS_ERR)
        status = IBV_WC_RETRY_EXC_ERR;
    if (!status && op == IBV_WR_RDMA_READ && q->reads == 0)
        status = IBV_WC_LOC_QP_OP_ERR;
    if (!status && needs_recv(op) && !peer->recv)
        status = IBV_WC_RNR_RETRY_EXC_ERR;
    if (!status && w->copy)
        memcpy(flat, w->copy, w->bytes);
    else if (!status && op != IBV_WR_RDMA_READ)
        status = copy_pieces(q, w->sge, w->wr.num_sge, flat, w->bytes, false);
    if (!status && !is_send(op))
        status = one_sided(q, w, bytes, flat, fate.corrupt);
    if (!status && needs_recv(op))
        status = two_sided(q, w, flat);
    free(flat);
    if (!status) {
        q->sent[op]++;
        dbl.n.work[op]++;
        dbl.n.bytes[op] += bytes;
    }
    work_done(q, w, (struct ibv_wc){.status = status, .byte_len = bytes});
    if (status) {
        dbl_qp_fail(q, IBV_WC_WR_FLUSH_ERR);
        if (peer && peer_at_fault(status))
            dbl_qp_fail(peer, IBV_WC_WR_FLUSH_ERR);
    }
    for (struct dbl_device *d = dbl.devices; fate.remove && d; d = d->next)
        if (!d->removed)
            dbl_device_gone(d);
    pthread_cond_broadcast(&dbl.change);
}

static uint64_t
draw(void)
{
    dbl.seed ^= dbl.seed << 13;
    dbl.seed ^= dbl.seed >> 7;
    dbl.seed ^= dbl.seed << 17;
    return dbl.seed;
}

/* Round robin: the first after `last`. With a seed: any, and mostly the one that was last. */
static struct dbl_qp *
choose(uint32_t last)
{
    struct dbl_qp *first = NULL, *next = NULL, *same = NULL, *any = NULL;
    unsigned n = 0;
    for (struct dbl_qp *q = dbl.qps; q; q = q->next) {
        if (!runnable(q))
            continue;
        if (!first)
            first = q;
        if (!next && q->pub.qp_num > last)
            next = q;
        if (q->pub.qp_num == last)
            same = q;
        n++;
        if (dbl.seed && draw() % n == 0)
            any = q;
    }
    if (dbl.seed)
        return same && draw() % 8 ? same : any;
    return next ? next : first;
}

static void *
device_thread(void *arg)
{
    uint32_t last = 0;
    (void)arg;
    pthread_mutex_lock(&dbl.mu);
    for (;;) {
        struct timespec until;
        bool silent = give_up_silent(&until);
        struct dbl_qp *q = choose(last);
        if (!q && silent)
            pthread_cond_timedwait(&dbl.work, &dbl.mu, &until);
        else if (!q)
            pthread_cond_wait(&dbl.work, &dbl.mu);
        if (!q)
            continue;
        last = q->pub.qp_num;
        carry_out(q);
        pthread_mutex_unlock(&dbl.mu); /* let others in */
        pthread_mutex_lock(&dbl.mu);
    }
    return NULL;
}

void
dbl_run(void)
{
    pthread_t t;
    if (dbl.running)
        return;
    if (pthread_create(&t, NULL, device_thread, NULL) != 0)
        dbl_die("no thread");
    pthread_detach(t);
    dbl.running = true;
}
