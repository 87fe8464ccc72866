/* The double's devices as libibverbs shows them, protection domains, registrations, completions. */
#include "tests/migrate/verbs_double_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096ull

/* --- devices --- */

static int
query_device_ex(struct ibv_context *c, const struct ibv_query_device_ex_input *input,
                struct ibv_device_attr_ex *a, size_t size)
{
    (void)input;
    memset(a, 0, size);
    int rc = ibv_query_device(c, &a->orig_attr);
    pthread_mutex_lock(&dbl.mu);
    if (dbl.on_demand) {
        a->odp_caps.general_caps = IBV_ODP_SUPPORT;
        a->odp_caps.per_transport_caps.rc_odp_caps = IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_RECV |
                                                     IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;
    }
    pthread_mutex_unlock(&dbl.mu);
    return rc;
}

/* Extended only as far as the query that tells of on-demand paging: what else verbs.h does inline finds
 * no function in the table and falls back. */
struct verbs_context *
dbl_context_new(struct dbl_device *dev)
{
    struct verbs_context *v = calloc(1, sizeof *v);
    v->sz = sizeof *v;
    v->query_device_ex = query_device_ex;
    v->context.device = &dev->pub;
    v->context.abi_compat = __VERBS_ABI_IS_EXTENDED;
    v->context.cmd_fd = v->context.async_fd = -1;
    v->context.num_comp_vectors = 1;
    v->context.ops.post_send = dbl_post_send;
    v->context.ops.post_recv = dbl_post_recv;
    v->context.ops.poll_cq = dbl_poll;
    v->context.ops.req_notify_cq = dbl_notify;
    return v;
}

struct dbl_device *
dbl_device_of(struct ibv_context *c)
{
    return (struct dbl_device *)c->device;
}

struct ibv_device **
ibv_get_device_list(int *ret_n)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__), n = 0;
    for (struct dbl_device *d = dbl.devices; d; d = d->next)
        n += !d->removed;
    if (!code && n == 0)
        code = ENOSYS;
    struct ibv_device **list = NULL;
    if (!code) {
        list = calloc((size_t)n + 1, sizeof *list);
        n = 0;
        for (struct dbl_device *d = dbl.devices; d; d = d->next)
            if (!d->removed)
                list[n++] = &d->pub;
        if (ret_n)
            *ret_n = n;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return list;
}

void
ibv_free_device_list(struct ibv_device **list)
{
    free(list);
}

const char *
ibv_get_device_name(struct ibv_device *d)
{
    return d->name;
}

struct ibv_context *
ibv_open_device(struct ibv_device *dev)
{
    pthread_mutex_lock(&dbl.mu);
    struct dbl_device *d = (struct dbl_device *)dev;
    int code = dbl_trouble(__func__);
    if (!code && d->removed)
        code = ENODEV;
    struct verbs_context *v = code ? NULL : dbl_context_new(d);
    if (v)
        dbl.n.contexts++;
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return v ? &v->context : NULL;
}

int
ibv_close_device(struct ibv_context *c)
{
    pthread_mutex_lock(&dbl.mu);
    if (&dbl_device_of(c)->cm->context == c)
        dbl_die("ibv_close_device of a context that librdmacm owns");
    dbl.n.contexts--;
    free(verbs_get_ctx(c));
    pthread_mutex_unlock(&dbl.mu);
    return 0;
}

int
ibv_query_device(struct ibv_context *c, struct ibv_device_attr *a)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (dbl_device_of(c)->removed)
        code = EIO;
    memset(a, 0, sizeof *a);
    a->max_mr_size = UINT64_MAX;
    a->page_size_cap = PAGE;
    a->max_qp = 4096;
    a->max_qp_wr = 16384;
    a->max_sge = a->max_sge_rd = DBL_SGE_MAX;
    a->max_cq = 4096;
    a->max_cqe = 32767;
    a->max_mr = 524287;
    a->max_pd = 4096;
    a->max_qp_rd_atom = a->max_qp_init_rd_atom = (int)dbl.read_depth;
    a->phys_port_cnt = 1;
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

int
ibv_query_port(struct ibv_context *c, uint8_t port, struct _compat_ibv_port_attr *ret)
{
    struct ibv_port_attr *a = (void *)ret;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (port != 1)
        code = EINVAL;
    a->state = dbl_device_of(c)->removed ? IBV_PORT_DOWN : IBV_PORT_ACTIVE;
    a->max_mtu = a->active_mtu = IBV_MTU_4096;
    a->gid_tbl_len = 1;
    a->max_msg_sz = 1u << 30;
    a->link_layer = IBV_LINK_LAYER_ETHERNET;
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

/* --- protection domains and registrations --- */

struct ibv_pd *
ibv_alloc_pd(struct ibv_context *c)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (dbl_device_of(c)->removed)
        code = EIO;
    struct ibv_pd *pd = code ? NULL : calloc(1, sizeof *pd);
    if (pd) {
        pd->context = c;
        dbl.n.pds++;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return pd;
}

int
ibv_dealloc_pd(struct ibv_pd *pd)
{
    int code = 0;
    pthread_mutex_lock(&dbl.mu);
    for (struct dbl_mr *m = dbl.mrs; m; m = m->next)
        if (m->pub.pd == pd)
            code = EBUSY;
    for (struct dbl_qp *q = dbl.qps; q; q = q->next)
        if (q->pub.pd == pd)
            code = EBUSY;
    if (!code) {
        free(pd);
        dbl.n.pds--;
    }
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

/* As pinning does: memory that may not be touched so is no good (EFAULT), and all of it exists then. */
static int
populate(void *addr, size_t bytes, unsigned access)
{
    if (bytes == 0)
        return 0;
    uintptr_t from = (uintptr_t)addr & ~(PAGE - 1);
    uintptr_t to = ((uintptr_t)addr + bytes + PAGE - 1) & ~(PAGE - 1);
    int advice = access & IBV_ACCESS_LOCAL_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    while (madvise((void *)from, to - from, advice) != 0) /* NOLINT: made of an address */
        if (errno != EINTR && errno != EAGAIN)
            return errno == ENOMEM || errno == EINVAL ? EFAULT : errno;
    return 0;
}

static int
may_register(const struct ibv_pd *pd, unsigned access, uint64_t pinned)
{
    if (dbl_device_of(pd->context)->removed)
        return EIO;
    if (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC) &&
        !(access & IBV_ACCESS_LOCAL_WRITE))
        return EINVAL;
    if (access & IBV_ACCESS_ZERO_BASED)
        return EOPNOTSUPP;
    if (access & IBV_ACCESS_ON_DEMAND && !dbl.on_demand)
        return EOPNOTSUPP;
    if (pinned > dbl.lock_limit || dbl.n.mr_bytes > dbl.lock_limit - pinned)
        return ENOMEM;
    return 0;
}

struct ibv_mr *
ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova, unsigned access)
{
    const uint64_t from = (uintptr_t)addr & ~(PAGE - 1);
    uint64_t pinned = (((uintptr_t)addr + length + PAGE - 1) & ~(PAGE - 1)) - from;
    if (access & IBV_ACCESS_ON_DEMAND)
        pinned = 0;
    if (iova != (uintptr_t)addr)
        dbl_die("registration at an address of its own");
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble("ibv_reg_mr");
    if (!code)
        code = may_register(pd, access, pinned);
    if (!code) {
        dbl.n.mr_bytes += pinned; /* taken before the lock is let go */
        pthread_mutex_unlock(&dbl.mu);
        if (pinned)
            code = populate(addr, length, access);
        pthread_mutex_lock(&dbl.mu);
        if (code)
            dbl.n.mr_bytes -= pinned;
    }
    struct dbl_mr *m = code ? NULL : calloc(1, sizeof *m);
    if (m) {
        m->pub = (struct ibv_mr){.context = pd->context, .pd = pd, .addr = addr, .length = length};
        m->pub.lkey = m->pub.rkey = dbl.next_key;
        dbl.next_key += 0x101;
        m->access = access;
        m->pinned = pinned;
        m->next = dbl.mrs;
        dbl.mrs = m;
        dbl.n.mrs++;
        dbl.n.registrations++;
        if (dbl.n.mr_bytes > dbl.n.mr_bytes_most)
            dbl.n.mr_bytes_most = dbl.n.mr_bytes;
        pthread_cond_broadcast(&dbl.change);
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return m ? &m->pub : NULL;
}

struct ibv_mr *
ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
    return ibv_reg_mr_iova2(pd, addr, length, (uintptr_t)addr, (unsigned)access);
}

int
ibv_dereg_mr(struct ibv_mr *mr)
{
    struct dbl_mr *m = (struct dbl_mr *)mr;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (!code) {
        LIST_REMOVE(dbl.mrs, m);
        dbl.n.mrs--;
        dbl.n.mr_bytes -= m->pinned;
        free(m);
        pthread_cond_broadcast(&dbl.change);
    }
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

uint8_t *
dbl_memory(const struct ibv_pd *pd, uint32_t key, uint64_t addr, uint64_t bytes, unsigned need)
{
    for (struct dbl_mr *m = dbl.mrs; m; m = m->next) {
        if (m->pub.lkey != key)
            continue;
        const uint64_t base = (uintptr_t)m->pub.addr;
        if (m->pub.pd != pd || need & ~m->access || dbl_device_of(pd->context)->removed)
            return NULL;
        if (addr < base || bytes > m->pub.length || addr - base > m->pub.length - bytes)
            return NULL;
        return (uint8_t *)m->pub.addr + (addr - base);
    }
    return NULL;
}

/* --- completions --- */

struct ibv_comp_channel *
ibv_create_comp_channel(struct ibv_context *c)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (dbl_device_of(c)->removed)
        code = EIO;
    struct dbl_channel *ch = code ? NULL : calloc(1, sizeof *ch);
    if (ch) {
        ch->pub.context = c;
        ch->pub.fd = eventfd(0, EFD_CLOEXEC);
        dbl.n.comp_channels++;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return ch ? &ch->pub : NULL;
}

int
ibv_destroy_comp_channel(struct ibv_comp_channel *pub)
{
    struct dbl_channel *ch = (struct dbl_channel *)pub;
    pthread_mutex_lock(&dbl.mu);
    int code = ch->users ? EBUSY : 0;
    if (!code) {
        close(ch->pub.fd);
        free(ch);
        dbl.n.comp_channels--;
    }
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

struct ibv_cq *
ibv_create_cq(struct ibv_context *c, int cqe, void *context, struct ibv_comp_channel *channel,
              int vector)
{
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble(__func__);
    if (dbl_device_of(c)->removed)
        code = EIO;
    else if (cqe < 1 || cqe > 32767 || vector != 0)
        code = EINVAL;
    struct dbl_cq *cq = code ? NULL : calloc(1, sizeof *cq);
    if (cq) {
        cq->pub.context = c;
        cq->pub.channel = channel;
        cq->pub.cq_context = context;
        cq->pub.cqe = cqe;
        cq->ring = calloc((size_t)cqe, sizeof *cq->ring);
        if (channel)
            ((struct dbl_channel *)channel)->users++;
        dbl.n.cqs++;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return cq ? &cq->pub : NULL;
}

static void
unfire(struct dbl_cq *cq)
{
    struct dbl_channel *ch = (struct dbl_channel *)cq->pub.channel;
    struct dbl_cq **at = &ch->fired;
    while (*at != cq)
        at = &(*at)->next_fired;
    *at = cq->next_fired;
    cq->fired = false;
    if (!ch->fired)
        dbl_fd_clear(ch->pub.fd);
}

int
ibv_destroy_cq(struct ibv_cq *pub)
{
    struct dbl_cq *cq = (struct dbl_cq *)pub;
    pthread_mutex_lock(&dbl.mu);
    if (cq->users) {
        pthread_mutex_unlock(&dbl.mu);
        return EBUSY;
    }
    if (cq->got != cq->acked)
        dbl_die("ibv_destroy_cq: %u of %u events acknowledged", cq->acked, cq->got);
    if (cq->fired)
        unfire(cq);
    if (cq->pub.channel)
        ((struct dbl_channel *)cq->pub.channel)->users--;
    free(cq->ring);
    free(cq);
    dbl.n.cqs--;
    pthread_mutex_unlock(&dbl.mu);
    return 0;
}

int
ibv_get_cq_event(struct ibv_comp_channel *pub, struct ibv_cq **ret, void **ret_context)
{
    struct dbl_channel *ch = (struct dbl_channel *)pub;
    int code = 0;
    pthread_mutex_lock(&dbl.mu);
    while (!ch->fired && !code)
        code = dbl_fd_wait(ch->pub.fd);
    if (!code) {
        struct dbl_cq *cq = ch->fired;
        unfire(cq);
        cq->got++;
        *ret = &cq->pub;
        *ret_context = cq->pub.cq_context;
    }
    pthread_mutex_unlock(&dbl.mu);
    errno = code;
    return code ? -1 : 0;
}

void
ibv_ack_cq_events(struct ibv_cq *pub, unsigned n)
{
    pthread_mutex_lock(&dbl.mu);
    ((struct dbl_cq *)pub)->acked += n;
    pthread_mutex_unlock(&dbl.mu);
}

int
dbl_notify(struct ibv_cq *cq, int solicited_only)
{
    (void)solicited_only;
    pthread_mutex_lock(&dbl.mu);
    int code = dbl_trouble("ibv_req_notify_cq");
    if (!code)
        ((struct dbl_cq *)cq)->armed = true;
    pthread_mutex_unlock(&dbl.mu);
    return code;
}

void
dbl_complete(struct dbl_cq *cq, const struct ibv_wc *wc, unsigned frees)
{
    const unsigned room = (unsigned)cq->pub.cqe;
    if (cq->len == room)
        dbl_die("a completion queue of %u overruns", room);
    cq->ring[(cq->first + cq->len++) % room] = (struct dbl_cqe){.wc = *wc, .frees = frees};
    if (!cq->armed || !cq->pub.channel)
        return;
    cq->armed = false;
    if (cq->fired)
        return;
    struct dbl_channel *ch = (struct dbl_channel *)cq->pub.channel;
    if (!ch->fired)
        dbl_fd_set(ch->pub.fd);
    cq->fired = true;
    cq->next_fired = NULL;
    struct dbl_cq **at = &ch->fired;
    while (*at)
        at = &(*at)->next_fired;
    *at = cq;
}

int
dbl_poll(struct ibv_cq *pub, int max, struct ibv_wc *wc)
{
    struct dbl_cq *cq = (struct dbl_cq *)pub;
    int n = 0;
    pthread_mutex_lock(&dbl.mu);
    for (; n < max && cq->len > 0; n++, cq->len--) {
        const struct dbl_cqe *e = &cq->ring[cq->first];
        cq->first = (cq->first + 1) % (unsigned)cq->pub.cqe;
        wc[n] = e->wc;
        for (struct dbl_qp *q = dbl.qps; q; q = q->next)
            if (q->pub.qp_num == e->wc.qp_num)
                q->used -= e->frees;
    }
    pthread_mutex_unlock(&dbl.mu);
    return n;
}

const char *
ibv_wc_status_str(enum ibv_wc_status s)
{
    static const char *const names[] = {
        [IBV_WC_SUCCESS] = "success",
        [IBV_WC_LOC_LEN_ERR] = "local length error",
        [IBV_WC_LOC_QP_OP_ERR] = "local QP operation error",
        [IBV_WC_LOC_PROT_ERR] = "local protection error",
        [IBV_WC_WR_FLUSH_ERR] = "work request flushed",
        [IBV_WC_REM_INV_REQ_ERR] = "remote invalid request",
        [IBV_WC_REM_ACCESS_ERR] = "remote access error",
        [IBV_WC_REM_OP_ERR] = "remote operation error",
        [IBV_WC_RETRY_EXC_ERR] = "transport retry counter exceeded",
        [IBV_WC_RNR_RETRY_EXC_ERR] = "RNR retry counter exceeded",
    };
    return s < sizeof names / sizeof *names && names[s] ? names[s] : "unknown";
}
