/* One-sided operations of a lane: WRITEs by the thread that sends, READs on a lane of their own; see
 * rdma_lane.h. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/rdma_int.h"

#define FLUSH_US 1000000 /* for what a broken queue pair still has to say */

static int check_write(const struct lane_write *w, struct err *err);
static int post_list(struct lane *l, const struct lane_write *w, size_t n, bool last,
                     uint64_t *ret_ticket, struct err *err);
static bool inside(const struct nic_mr *mr, const void *p, uint32_t bytes);
static int take_slot_locked(struct lane *l, uint32_t bytes, uint64_t cookie);
static int read_ended_locked(struct lane *l, const struct ibv_wc *wc, uint64_t *ret_cookie,
                             int *ret_rc);
static bool give_up_one(struct lane *l, uint64_t *ret_cookie, int *ret_rc);

int
lane_write(struct lane *l, const struct lane_write *w, size_t n, uint64_t *ret_ticket,
           struct err *err)
{
    uint64_t ticket = 0;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = check_write(&w[i], err);
    while (n > 0 && rc == 0) {
        size_t list = n < LANE_LIST_MAX ? n : LANE_LIST_MAX;

        rc = lane_room(l, LANE_WRITE_DEPTH, list, err);
        if (rc == 0)
            rc = post_list(l, w, list, n == list, &ticket, err);
        w += list;
        n -= list;
    }
    if (rc == 0)
        *ret_ticket = ticket;
    return rc;
}

int
lane_wait(struct lane *l, uint64_t ticket, struct err *err)
{
    struct lane_nap z = {.role = LANE_SENDER, .cqs = 1u << LANE_SCQ};

    while (ticket > 0) {
        bool left;

        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l);
        left = l->done >= ticket;
        pthread_mutex_unlock(&l->tx_mu);
        if (left)
            break;
        if (atomic_load(&l->broken))
            return lane_why(l, err);
        lane_nap(l, &z);
    }
    return 0;
}

int
lane_read(struct lane *l, void *to, const struct nic_mr *mr, uint64_t from, uint32_t key,
          uint32_t bytes, uint64_t cookie, struct err *err)
{
    struct ibv_sge sge = {.addr = (uintptr_t)to, .length = bytes, .lkey = mr->mr->lkey};
    struct ibv_send_wr wr = {.sg_list = &sge,
                             .num_sge = 1,
                             .opcode = IBV_WR_RDMA_READ,
                             .send_flags = IBV_SEND_SIGNALED,
                             .wr.rdma = {.remote_addr = from, .rkey = key}},
                       *bad;
    int slot, rc = 0;

    if (bytes == 0 || bytes > LANE_WRITE_MAX || !inside(mr, to, bytes))
        return err_set(err, -EINVAL,
                       "RDMA: READ of %u bytes: want 1 to %u, into what is registered", bytes,
                       LANE_WRITE_MAX);
    if (atomic_load(&l->broken))
        return lane_why(l, err);
    pthread_mutex_lock(&l->tx_mu);
    slot = take_slot_locked(l, bytes, cookie);
    if (slot >= 0) {
        wr.wr_id = (uint64_t)slot;
        rc = ibv_post_send(l->id->qp, &wr, &bad);
        if (rc != 0) {
            l->slots[slot].open = false;
            l->reads_open--;
        }
    }
    pthread_mutex_unlock(&l->tx_mu);
    if (slot < 0)
        return err_set(err, -EAGAIN, "RDMA: %u READs are open", l->reads);
    if (rc != 0) {
        lane_break(l, rc > 0 ? -rc : rc, "post READ: %s", strerror(rc > 0 ? rc : -rc));
        return lane_why(l, err);
    }
    return 0;
}

int
lane_reap(struct lane *l, uint64_t timeout_us, uint64_t *ret_cookie, int *ret_rc, struct err *err)
{
    struct lane_nap z = {
        .role = LANE_SENDER, .cqs = 1u << LANE_SCQ, .deadline_us = clock_mono_us() + timeout_us};

    for (;;) {
        bool broken = atomic_load(&l->broken) != 0;
        uint32_t open;
        struct ibv_wc wc;
        int n;

        pthread_mutex_lock(&l->tx_mu);
        n = ibv_poll_cq(l->cq[LANE_SCQ], 1, &wc);
        if (n > 0)
            n = read_ended_locked(l, &wc, ret_cookie, ret_rc);
        open = l->reads_open;
        pthread_mutex_unlock(&l->tx_mu);
        if (n > 0)
            return 1;
        if (n < 0)
            lane_break(l, -EIO, "completions cannot be read");
        if (broken && open == 0)
            return lane_why(l, err);
        if (broken && give_up_one(l, ret_cookie, ret_rc))
            return 1;
        if (!broken && lane_nap(l, &z) == -ETIMEDOUT)
            return 0;
    }
}

static int
check_write(const struct lane_write *w, struct err *err)
{
    if (w->bytes > 0 && w->bytes <= LANE_WRITE_MAX && inside(w->mr, w->from, w->bytes))
        return 0;
    return err_set(err, -EINVAL, "RDMA: WRITE of %u bytes: want 1 to %u, of what is registered",
                   w->bytes, LANE_WRITE_MAX);
}

static int
post_list(struct lane *l, const struct lane_write *w, size_t n, bool last, uint64_t *ret_ticket,
          struct err *err)
{
    struct ibv_send_wr wr[LANE_LIST_MAX], *bad;
    struct ibv_sge sge[LANE_LIST_MAX];
    uint64_t bytes = 0;
    int rc;

    pthread_mutex_lock(&l->tx_mu);
    for (size_t i = 0; i < n; i++) {
        bool signaled = i % LANE_SIGNAL_EVERY == LANE_SIGNAL_EVERY - 1 || (last && i == n - 1);

        sge[i] = (struct ibv_sge){
            .addr = (uintptr_t)w[i].from, .length = w[i].bytes, .lkey = w[i].mr->mr->lkey};
        wr[i] = (struct ibv_send_wr){.wr_id = l->posted + 1 + i,
                                     .next = i + 1 < n ? &wr[i + 1] : NULL,
                                     .sg_list = &sge[i],
                                     .num_sge = 1,
                                     .opcode = IBV_WR_RDMA_WRITE,
                                     .send_flags = signaled ? IBV_SEND_SIGNALED : 0,
                                     .wr.rdma = {.remote_addr = w[i].to, .rkey = w[i].key}};
        bytes += w[i].bytes;
    }
    rc = ibv_post_send(l->id->qp, wr, &bad);
    l->posted += n;
    *ret_ticket = l->posted;
    pthread_mutex_unlock(&l->tx_mu);
    if (rc != 0) {
        lane_break(l, rc > 0 ? -rc : rc, "post WRITE: %s", strerror(rc > 0 ? rc : -rc));
        return lane_why(l, err);
    }
    atomic_fetch_add(&l->bytes, bytes);
    return 0;
}

static bool
inside(const struct nic_mr *mr, const void *p, uint32_t bytes)
{
    uintptr_t from = (uintptr_t)mr->mr->addr, at = (uintptr_t)p;

    return at >= from && at - from <= mr->bytes && bytes <= mr->bytes - (at - from);
}

static int
take_slot_locked(struct lane *l, uint32_t bytes, uint64_t cookie)
{
    for (uint32_t i = 0; i < l->reads; i++) {
        if (!l->slots[i].open) {
            l->slots[i] = (struct lane_read_slot){true, bytes, cookie};
            l->reads_open++;
            return (int)i;
        }
    }
    return -1;
}

/* 1: it was an open READ. */
static int
read_ended_locked(struct lane *l, const struct ibv_wc *wc, uint64_t *ret_cookie, int *ret_rc)
{
    struct lane_read_slot *s = wc->wr_id < l->reads ? &l->slots[wc->wr_id] : NULL;

    if (!s || !s->open)
        return 0;
    s->open = false;
    l->reads_open--;
    *ret_cookie = s->cookie;
    if (wc->status != IBV_WC_SUCCESS) {
        lane_failed(l, wc, LANE_SCQ);
        *ret_rc =
            wc->status == IBV_WC_WR_FLUSH_ERR ? atomic_load(&l->broken) : lane_status(wc->status);
    } else if (wc->byte_len != s->bytes) {
        *ret_rc = -EIO;
    } else {
        *ret_rc = 0;
        atomic_fetch_add(&l->bytes, s->bytes);
    }
    return 1;
}

/* Of a broken lane: its device reports what was open as soon as the queue pair is in error. One that
 * was removed says nothing any more, and reaches nothing either. */
static bool
give_up_one(struct lane *l, uint64_t *ret_cookie, int *ret_rc)
{
    bool given_up = false;

    lane_disconnect(l);
    if (!l->give_up_us)
        l->give_up_us = clock_mono_us() + FLUSH_US;
    if (clock_mono_us() < l->give_up_us) {
        poll(NULL, 0, 1);
        return false;
    }
    pthread_mutex_lock(&l->tx_mu);
    for (uint32_t i = 0; i < l->reads && !given_up; i++) {
        given_up = l->slots[i].open;
        if (given_up) {
            l->slots[i].open = false;
            l->reads_open--;
            *ret_cookie = l->slots[i].cookie;
            *ret_rc = atomic_load(&l->broken);
        }
    }
    pthread_mutex_unlock(&l->tx_mu);
    return given_up;
}
