/* A lane's completions and events: taking them, what a bad one means, and sleeping until there are
 * some. Two threads may sleep at once, the one that sends and the one that receives, and either may take
 * an event that the other waits for: then it wakes the other, which looks for itself. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/rdma_int.h"

#define POLL_BATCH    16
#define LATE_EVENT_MS 20

static void take_cq_events(struct lane *l, enum lane_role role, enum lane_cq which);
static void wake(struct lane *l, enum lane_role role);

int
lane_nap(struct lane *l, struct lane_nap *z)
{
    struct pollfd p[2 + LANE_CQS] = {{.fd = l->wake[z->role], .events = POLLIN},
                                     {.fd = l->channel->fd, .events = POLLIN}};
    uint64_t count;
    int ms = -1;

    if (!z->armed) {
        atomic_store(&l->sleeps[z->role], true);
        for (int i = 0; i < LANE_CQS; i++)
            if (z->cqs & 1u << i && ibv_req_notify_cq(l->cq[i], 0) != 0)
                lane_break(l, -EIO, "completions cannot be waited for");
        z->armed = true;
        return 0;
    }
    if (z->deadline_us) {
        uint64_t now = clock_mono_us();

        if (now >= z->deadline_us)
            return -ETIMEDOUT;
        ms = (int)((z->deadline_us - now) / 1000 + 1);
    }
    for (int i = 0; i < LANE_CQS; i++)
        p[2 + i] = (struct pollfd){.fd = z->cqs & 1u << i ? l->comp[i]->fd : -1, .events = POLLIN};
    poll(p, 2 + LANE_CQS, ms);
    z->armed = false;
    atomic_store(&l->sleeps[z->role], false);
    if (p[0].revents && !atomic_load(&l->broken))
        (void)!read(l->wake[z->role], &count, sizeof count);
    if (p[1].revents)
        lane_pump_events(l);
    for (int i = 0; i < LANE_CQS; i++)
        if (p[2 + i].revents)
            take_cq_events(l, z->role, (enum lane_cq)i);
    return 0;
}

void
lane_pump_events(struct lane *l)
{
    struct rdma_cm_event *e;

    pthread_mutex_lock(&l->cm_mu);
    while (rdma_get_cm_event(l->channel, &e) == 0) {
        enum rdma_cm_event_type type = e->event;

        rdma_ack_cm_event(e);
        if (type == RDMA_CM_EVENT_DISCONNECTED)
            lane_break(l, -EPIPE, "the peer closed the connection");
        else if (type == RDMA_CM_EVENT_DEVICE_REMOVAL)
            lane_break(l, -ENODEV, "device %s was removed", l->nic->facts.device);
        else if (type == RDMA_CM_EVENT_ADDR_CHANGE)
            lane_break(l, -ENOTCONN, "the address of %s has moved", l->nic->facts.device);
    }
    pthread_mutex_unlock(&l->cm_mu);
}

void
lane_drain_tx_locked(struct lane *l)
{
    struct ibv_wc wc[POLL_BATCH];
    int n;

    do {
        n = ibv_poll_cq(l->cq[LANE_SCQ], POLL_BATCH, wc);
        for (int i = 0; i < n; i++) {
            if (wc[i].status != IBV_WC_SUCCESS)
                lane_failed(l, &wc[i], LANE_SCQ);
            else if (wc[i].wr_id > l->done)
                l->done = wc[i].wr_id;
        }
    } while (n == POLL_BATCH);
    if (n < 0)
        lane_break(l, -EIO, "completions cannot be read");
}

void
lane_drain_rx_locked(struct lane *l)
{
    struct ibv_wc wc[POLL_BATCH];
    int n;

    do {
        n = ibv_poll_cq(l->cq[LANE_RCQ], POLL_BATCH, wc);
        for (int i = 0; i < n; i++) {
            if (wc[i].status != IBV_WC_SUCCESS)
                lane_failed(l, &wc[i], LANE_RCQ);
            else if (lane_take_message_locked(l, (uint32_t)wc[i].wr_id, wc[i].byte_len) != 0)
                return;
        }
    } while (n == POLL_BATCH);
    if (n < 0)
        lane_break(l, -EIO, "completions cannot be read");
}

/* What only was flushed says nothing of why: the reason stands in the other queue, or in an event, or
 * it was a request of the peer's that this end's device refused. */
void
lane_failed(struct lane *l, const struct ibv_wc *wc, enum lane_cq which)
{
    struct pollfd p = {.fd = l->channel->fd, .events = POLLIN};

    if (atomic_load(&l->broken))
        return;
    lane_pump_events(l);
    if (wc->status != IBV_WC_WR_FLUSH_ERR) {
        lane_break(l, lane_status(wc->status), "%s: %s",
                   which == LANE_SCQ ? "what was sent" : "what was received",
                   ibv_wc_status_str(wc->status));
        return;
    }
    if (which == LANE_RCQ && !l->reads) {
        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l);
        pthread_mutex_unlock(&l->tx_mu);
    }
    if (!atomic_load(&l->broken) && poll(&p, 1, LATE_EVENT_MS) > 0)
        lane_pump_events(l);
    lane_break(l, -ENOTCONN, "the queue pair has failed");
}

int
lane_status(enum ibv_wc_status s)
{
    switch (s) {
    case IBV_WC_SUCCESS:
        return 0;
    case IBV_WC_REM_ACCESS_ERR: /* key, range or right; or the peer has just died */
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR:
        return -EREMOTEIO;
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RNR_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
        return -ETIMEDOUT;
    case IBV_WC_LOC_LEN_ERR: /* longer than what was posted for it */
        return -EPROTO;
    case IBV_WC_WR_FLUSH_ERR:
        return -ENOTCONN;
    case IBV_WC_FATAL_ERR:
        return -ENODEV;
    default:
        return -EIO;
    }
}

int
lane_room(struct lane *l, uint64_t depth, uint64_t room, struct err *err)
{
    struct lane_nap z = {.role = LANE_SENDER, .cqs = 1u << LANE_SCQ};

    for (;;) {
        bool is_room;

        pthread_mutex_lock(&l->tx_mu);
        is_room = l->posted - l->done + room <= depth;
        if (!is_room) {
            lane_drain_tx_locked(l);
            is_room = l->posted - l->done + room <= depth;
        }
        pthread_mutex_unlock(&l->tx_mu);
        if (atomic_load(&l->broken))
            return lane_why(l, err);
        if (is_room)
            return 0;
        lane_nap(l, &z);
    }
}

static void
take_cq_events(struct lane *l, enum lane_role role, enum lane_cq which)
{
    struct ibv_cq *cq;
    void *context;
    unsigned n = 0;

    while (ibv_get_cq_event(l->comp[which], &cq, &context) == 0)
        n++;
    if (n == 0)
        return;
    ibv_ack_cq_events(l->cq[which], n);
    for (int i = 0; i < LANE_ROLES; i++)
        if (i != (int)role && atomic_load(&l->sleeps[i]))
            wake(l, (enum lane_role)i);
}

static void
wake(struct lane *l, enum lane_role role)
{
    uint64_t one = 1;

    (void)!write(l->wake[role], &one, sizeof one);
}
