/* How a lane comes to be: rdma_cm's steps of the end that dials and of the one that accepts. Each id
 * has an event channel of its own, so that lanes do not take each other's events; see rdma_lane.h. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/sb.h"
#include "migrate/rdma_int.h"

#define ACCEPT_TIMEOUT_US 1000000
#define STEP_TIMEOUT_MS   2000
/* A retry counter of 7 means "for ever" to some devices; 6 of them after an ACK time-out of
 * 4.096 us * 2^17 (0.54 s; devices may round it up) notice a black hole in 4 s, and do not give up on
 * a busy host or on a cut of a second. Buffers that are not posted yet are waited for (7: for ever). */
#define RETRIES     6
#define RNR_RETRIES 7
#define ACK_TIMEOUT 17

/* What IB's connection manager says in a rejection. */
#define REJECT_NO_LISTENER 8
#define REJECT_BY_CONSUMER 28

static int dial(struct lane *l, const char *addr, const uint8_t *preamble,
                const struct lane_config *cfg, uint64_t deadline_us, int cancel_fd,
                struct err *err);
static int await_event(struct lane *l, enum rdma_cm_event_type want, uint64_t deadline_us,
                       int cancel_fd, struct rdma_cm_event *ret, const char *addr, struct err *err);
static int refused(const struct rdma_cm_event *e, const char *addr, struct err *err);
static void set_options(struct lane *l, const struct lane_config *cfg);
static uint8_t at_most(uint32_t n, int limit);

int
lane_dial(struct nic *n, const char *addr, const uint8_t preamble[FRAME_PREAMBLE_SIZE],
          const struct lane_config *cfg, uint64_t timeout_us, int cancel_fd, struct lane **ret,
          struct err *err)
{
    struct lane *l = lane_new(n);
    int rc = dial(l, addr, preamble, cfg, clock_mono_us() + timeout_us, cancel_fd, err);

    if (rc == 0)
        *ret = l;
    else
        lane_free(l);
    return rc;
}

int
lane_accept(struct nic_request *r, const struct lane_config *cfg, struct lane **ret,
            struct err *err)
{
    struct lane *l = lane_new(r->nic);
    struct rdma_conn_param p = {.rnr_retry_count = RNR_RETRIES};
    const struct ibv_device_attr *a = &r->nic->attr;
    struct rdma_cm_event e;
    int gone = nic_request_take(r);
    int rc = nic_channel(&l->channel, err);

    l->id = r->id;
    if (rc == 0 && gone)
        rc = err_set(err, gone, "RDMA: who dialled has given up");
    if (rc == 0 && rdma_migrate_id(l->id, l->channel) != 0)
        rc = err_set(err, -errno, "RDMA: %s", strerror(errno));
    if (rc == 0) {
        set_options(l, cfg);
        rc = lane_equip(l, cfg, err);
    }
    if (rc == 0) {
        p.initiator_depth = at_most(l->reads, r->initiator_depth);
        p.responder_resources =
            cfg->read_by_peer ? at_most(r->responder_resources, a->max_qp_rd_atom) : 0;
        l->reads = p.initiator_depth;
        if (rdma_accept(l->id, &p) != 0)
            rc = err_set(err, -errno, "RDMA: accept: %s", strerror(errno));
    }
    if (rc != 0 && !gone)
        rdma_reject(l->id, NULL, 0);
    if (rc == 0) {
        atomic_store(&l->connected, true);
        rc = await_event(l, RDMA_CM_EVENT_ESTABLISHED, clock_mono_us() + ACCEPT_TIMEOUT_US, -1, &e,
                         "the peer", err);
    }
    free(r);
    if (rc == 0)
        *ret = l;
    else
        lane_free(l);
    return rc;
}

static int
dial(struct lane *l, const char *addr, const uint8_t *preamble, const struct lane_config *cfg,
     uint64_t deadline_us, int cancel_fd, struct err *err)
{
    struct nic *n = l->nic;
    struct sockaddr_storage to, from = n->local;
    struct sockaddr *source = from.ss_family ? (struct sockaddr *)&from : NULL;
    struct rdma_conn_param p = {.private_data = preamble,
                                .private_data_len = FRAME_PREAMBLE_SIZE,
                                .retry_count = RETRIES,
                                .rnr_retry_count = RNR_RETRIES};
    struct rdma_cm_event e;
    int rc = nic_parse(addr, &to, err);

    if (rc == 0)
        rc = nic_channel(&l->channel, err);
    if (rc != 0)
        return rc;
    if (rdma_create_id(l->channel, &l->id, NULL, RDMA_PS_TCP) != 0)
        return err_set(err, -errno, "RDMA: %s", strerror(errno));
    if (rdma_resolve_addr(l->id, source, (struct sockaddr *)&to, STEP_TIMEOUT_MS) != 0)
        return err_set(err, -errno, "RDMA: no way to %s: %s", addr, strerror(errno));
    rc = await_event(l, RDMA_CM_EVENT_ADDR_RESOLVED, deadline_us, cancel_fd, &e, addr, err);
    if (rc != 0)
        return rc;
    set_options(l, cfg);
    if (rdma_resolve_route(l->id, STEP_TIMEOUT_MS) != 0)
        return err_set(err, -errno, "RDMA: no way to %s: %s", addr, strerror(errno));
    rc = await_event(l, RDMA_CM_EVENT_ROUTE_RESOLVED, deadline_us, cancel_fd, &e, addr, err);
    if (rc == 0)
        rc = lane_equip(l, cfg, err);
    if (rc != 0)
        return rc;
    p.initiator_depth = (uint8_t)l->reads;
    p.responder_resources = cfg->read_by_peer ? at_most(UINT8_MAX, n->attr.max_qp_rd_atom) : 0;
    if (rdma_connect(l->id, &p) != 0)
        return err_set(err, -errno, "RDMA: connect to %s: %s", addr, strerror(errno));
    rc = await_event(l, RDMA_CM_EVENT_ESTABLISHED, deadline_us, cancel_fd, &e, addr, err);
    if (rc != 0)
        return rc;
    atomic_store(&l->connected, true);
    l->reads = at_most(l->reads, e.param.conn.initiator_depth);
    if (cfg->reads && !l->reads)
        return err_set(err, -EOPNOTSUPP, "RDMA: %s does not let itself be read", addr);
    return 0;
}

static int
await_event(struct lane *l, enum rdma_cm_event_type want, uint64_t deadline_us, int cancel_fd,
            struct rdma_cm_event *ret, const char *addr, struct err *err)
{
    int rc = nic_event(l->channel, deadline_us, cancel_fd, ret);

    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "RDMA: no answer of %s", addr);
    if (rc == -ECANCELED)
        return err_set(err, rc, "cancelled");
    if (rc != 0)
        return err_set(err, rc, "RDMA: events: %s", strerror(-rc));
    return ret->event == want ? 0 : refused(ret, addr, err);
}

static int
refused(const struct rdma_cm_event *e, const char *addr, struct err *err)
{
    switch (e->event) {
    case RDMA_CM_EVENT_REJECTED:
        return err_set(err, -ECONNREFUSED, "RDMA: %s %s (reason %d)", addr,
                       e->status == REJECT_NO_LISTENER   ? "does not listen"
                       : e->status == REJECT_BY_CONSUMER ? "refused"
                                                         : "could not take the connection",
                       e->status);
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        return err_set(err, -ENODEV, "RDMA: the device was removed");
    case RDMA_CM_EVENT_DISCONNECTED:
        return err_set(err, -ECONNRESET, "RDMA: %s left at once", addr);
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    default:
        return err_set(err, e->status < 0 ? e->status : -EHOSTUNREACH,
                       "RDMA: no connection with %s: %s, %s", addr, rdma_event_str(e->event),
                       strerror(e->status < 0 ? -e->status : EHOSTUNREACH));
    }
}

/* Wishes: a device that does not have them connects without. */
static void
set_options(struct lane *l, const struct lane_config *cfg)
{
    uint8_t ack = ACK_TIMEOUT, tos = (uint8_t)(cfg->dscp << 2);

    (void)rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack, sizeof ack);
    if (tos)
        (void)rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof tos);
}

static uint8_t
at_most(uint32_t n, int limit)
{
    uint32_t max = limit < 0 ? 0 : limit > UINT8_MAX ? UINT8_MAX : (uint32_t)limit;

    return (uint8_t)(n < max ? n : max);
}
