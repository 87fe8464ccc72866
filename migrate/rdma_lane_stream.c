/* The stream of a lane: messages into buffers that the receiver has posted. Each message with data
 * takes one of LANE_CREDITS, which come back in the heads of the other direction, or in notes when there
 * is nothing else to send. Contents are the peer's: heads are checked; see rdma_lane.h. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/rdma_int.h"

#define PAYLOAD_BYTES (LANE_BUFFER_BYTES - sizeof(struct lane_head))
#define SIGNAL_SENDS  4 /* one in so many; less than there are buffers */

static int await_send_buffer(struct lane *l, struct err *err);
static int post_data(struct lane *l, size_t len, bool last, struct err *err);
static int await_credit(struct lane *l, struct err *err);
static int post_send_locked(struct lane *l, uint8_t *buf, enum lane_message type, size_t len,
                            bool signaled);
static bool copy_ready(struct lane *l, uint8_t **to, size_t *left);
static void return_credits(struct lane *l);
static uint8_t *receive_buffer(const struct lane *l, uint32_t i);
static uint8_t *next_buffer(const struct lane *l);
static uint8_t *note_buffer(const struct lane *l, uint32_t i);

int
lane_send(struct lane *l, struct iovec *iov, int iov_len, struct err *err)
{
    size_t len = 0, left = 0;
    bool cut = FAULT(XPORT_SEND_SHORT);
    int rc = 0;

    if (cut) {
        iov_len = 1;
        iov[0].iov_len /= 2;
    }
    for (int i = 0; i < iov_len; i++)
        left += iov[i].iov_len;
    for (int i = 0; i < iov_len && rc == 0; i++) {
        const uint8_t *p = iov[i].iov_base;
        size_t todo = iov[i].iov_len;

        while (todo > 0 && rc == 0) {
            size_t n = todo < PAYLOAD_BYTES - len ? todo : PAYLOAD_BYTES - len;

            if (len == 0)
                rc = await_send_buffer(l, err);
            if (rc != 0)
                break;
            memcpy(next_buffer(l) + sizeof(struct lane_head) + len, p, n);
            p += n;
            len += n;
            todo -= n;
            left -= n;
            if (len == PAYLOAD_BYTES || left == 0) {
                rc = post_data(l, len, left == 0, err);
                len = 0;
            }
        }
    }
    if (cut && rc == 0)
        rc = err_set(err, -EIO, "send: fault point xport.send.short");
    return rc;
}

int
lane_settle(struct lane *l, struct err *err)
{
    return lane_room(l, 0, 0, err);
}

int
lane_recv(struct lane *l, void *buf, size_t len, uint64_t timeout_us, struct err *err)
{
    struct lane_nap z = {.role = LANE_RECEIVER,
                         .cqs = 1u << LANE_RCQ | 1u << LANE_SCQ,
                         .deadline_us = timeout_us ? clock_mono_us() + timeout_us : 0};
    uint8_t *to = buf;

    if (FAULT(XPORT_RECV_SHORT))
        return err_set(err, -EIO, "receive: fault point xport.recv.short");
    while (len > 0) {
        /* Before the look, so that what came before the end is not lost. */
        bool broken = atomic_load(&l->broken) != 0;

        if (atomic_load(&l->shut))
            return lane_why(l, err);
        if (copy_ready(l, &to, &len))
            continue;
        if (broken)
            return lane_why(l, err);
        return_credits(l);
        /* what was sent and fails says so to nobody else, where nobody sends */
        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l);
        pthread_mutex_unlock(&l->tx_mu);
        if (lane_nap(l, &z) == -ETIMEDOUT)
            return err_set(err, -ETIMEDOUT, "no answer for %llu ms",
                           (unsigned long long)timeout_us / 1000);
    }
    return 0;
}

bool
lane_readable(struct lane *l)
{
    bool readable;

    pthread_mutex_lock(&l->rx_mu);
    lane_drain_rx_locked(l);
    readable = l->ready_count > 0;
    pthread_mutex_unlock(&l->rx_mu);
    return readable;
}

int
lane_post_receive(struct lane *l, uint32_t buffer)
{
    struct ibv_sge sge = {.addr = (uintptr_t)receive_buffer(l, buffer),
                          .length = LANE_BUFFER_BYTES,
                          .lkey = l->mem_mr->mr->lkey};
    struct ibv_recv_wr wr = {.wr_id = buffer, .sg_list = &sge, .num_sge = 1}, *bad;
    int rc = ibv_post_recv(l->id->qp, &wr, &bad);

    return rc > 0 ? -rc : rc;
}

int
lane_take_message_locked(struct lane *l, uint32_t buffer, uint32_t bytes)
{
    struct lane_head h = {0};
    uint32_t len;
    int rc = 0;

    if (buffer >= LANE_RECV_BUFFERS || bytes < sizeof h)
        goto bad;
    memcpy(&h, receive_buffer(l, buffer), sizeof h);
    len = le32toh(h.bytes);
    if (len != bytes - sizeof h || le16toh(h.credits) > LANE_CREDITS)
        goto bad;
    if (atomic_fetch_add(&l->credits, le16toh(h.credits)) + le16toh(h.credits) > LANE_CREDITS)
        goto bad;
    atomic_fetch_add(&l->bytes, bytes);
    switch (le16toh(h.type)) {
    case LANE_DATA:
        l->data_received++;
        if (len == 0 || l->data_received - atomic_load(&l->given) > LANE_CREDITS)
            goto bad;
        rc = (int)((l->ready_first + l->ready_count++) % LANE_RECV_BUFFERS);
        l->ready[rc] = buffer;
        l->ready_bytes[rc] = len;
        return 0;
    case LANE_NOTE:
        if (len != 0 || h.credits == 0)
            goto bad;
        rc = lane_post_receive(l, buffer);
        if (rc != 0)
            lane_break(l, rc, "post receive: %s", strerror(-rc));
        return rc;
    default:
        goto bad;
    }
bad:
    lane_break(l, -EPROTO, "a message of %u bytes (type %u, credits %u) breaks the rules", bytes,
               le16toh(h.type), le16toh(h.credits));
    return -EPROTO;
}

static int
await_send_buffer(struct lane *l, struct err *err)
{
    struct lane_nap z = {.role = LANE_SENDER, .cqs = 1u << LANE_SCQ};
    unsigned i = l->sends % LANE_SEND_BUFFERS;

    for (;;) {
        bool left;

        if (atomic_load(&l->broken))
            return lane_why(l, err);
        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l);
        left = l->send_seq[i] <= l->done;
        pthread_mutex_unlock(&l->tx_mu);
        if (left)
            return 0;
        lane_nap(l, &z);
    }
}

static int
post_data(struct lane *l, size_t len, bool last, struct err *err)
{
    unsigned i = l->sends % LANE_SEND_BUFFERS;
    int rc = await_credit(l, err);

    if (rc != 0)
        return rc;
    atomic_fetch_sub(&l->credits, 1);
    pthread_mutex_lock(&l->tx_mu);
    rc = post_send_locked(l, next_buffer(l), LANE_DATA, len,
                          last || l->sends % SIGNAL_SENDS == SIGNAL_SENDS - 1);
    l->send_seq[i] = l->posted;
    pthread_mutex_unlock(&l->tx_mu);
    l->sends++;
    return rc ? lane_why(l, err) : 0;
}

static int
await_credit(struct lane *l, struct err *err)
{
    struct lane_nap z = {.role = LANE_SENDER, .cqs = 1u << LANE_RCQ | 1u << LANE_SCQ};

    for (;;) {
        if (atomic_load(&l->broken))
            return lane_why(l, err);
        if (atomic_load(&l->credits) > 0)
            return 0;
        pthread_mutex_lock(&l->tx_mu);
        lane_drain_tx_locked(l); /* where a failure is told */
        pthread_mutex_unlock(&l->tx_mu);
        pthread_mutex_lock(&l->rx_mu);
        lane_drain_rx_locked(l);
        pthread_mutex_unlock(&l->rx_mu);
        if (atomic_load(&l->credits) <= 0)
            lane_nap(l, &z);
    }
}

static int
post_send_locked(struct lane *l, uint8_t *buf, enum lane_message type, size_t len, bool signaled)
{
    unsigned owed = atomic_exchange(&l->owed, 0);
    struct lane_head h = {htole16((uint16_t)type), htole16((uint16_t)owed), htole32((uint32_t)len)};
    struct ibv_sge sge = {
        .addr = (uintptr_t)buf, .length = (uint32_t)(sizeof h + len), .lkey = l->mem_mr->mr->lkey};
    struct ibv_send_wr wr = {.wr_id = l->posted + 1,
                             .sg_list = &sge,
                             .num_sge = 1,
                             .opcode = IBV_WR_SEND,
                             .send_flags = signaled ? IBV_SEND_SIGNALED : 0},
                       *bad;
    int rc;

    memcpy(buf, &h, sizeof h);
    atomic_fetch_add(&l->given, owed);
    rc = ibv_post_send(l->id->qp, &wr, &bad);
    if (rc != 0) {
        lane_break(l, rc > 0 ? -rc : rc, "post send: %s", strerror(rc > 0 ? rc : -rc));
        return -1;
    }
    l->posted++;
    atomic_fetch_add(&l->bytes, sizeof h + len);
    return 0;
}

/* false: nothing is there. A buffer that is used up is posted again. */
static bool
copy_ready(struct lane *l, uint8_t **to, size_t *left)
{
    uint32_t buffer, bytes, n;
    bool used_up;
    int rc;

    pthread_mutex_lock(&l->rx_mu);
    if (l->ready_count == 0)
        lane_drain_rx_locked(l);
    if (l->ready_count == 0) {
        pthread_mutex_unlock(&l->rx_mu);
        return false;
    }
    buffer = l->ready[l->ready_first];
    bytes = l->ready_bytes[l->ready_first];
    pthread_mutex_unlock(&l->rx_mu);

    n = bytes - l->read_offset < *left ? bytes - l->read_offset : (uint32_t)*left;
    memcpy(*to, receive_buffer(l, buffer) + sizeof(struct lane_head) + l->read_offset, n);
    *to += n;
    *left -= n;
    l->read_offset += n;
    used_up = l->read_offset == bytes;
    if (used_up) {
        l->read_offset = 0;
        pthread_mutex_lock(&l->rx_mu);
        l->ready_first = (l->ready_first + 1) % LANE_RECV_BUFFERS;
        l->ready_count--;
        rc = lane_post_receive(l, buffer);
        pthread_mutex_unlock(&l->rx_mu);
        if (rc != 0) /* what has come already is still to be had */
            lane_break(l, rc, "post receive: %s", strerror(-rc));
        atomic_fetch_add(&l->owed, 1);
        return_credits(l);
    }
    return true;
}

/* When it is time to tell the peer; if all notes are on their way still, later. */
static void
return_credits(struct lane *l)
{
    unsigned i;

    if (atomic_load(&l->owed) < LANE_CREDIT_STEP)
        return;
    pthread_mutex_lock(&l->tx_mu);
    i = l->notes % LANE_NOTE_BUFFERS;
    lane_drain_tx_locked(l);
    if (l->note_seq[i] <= l->done && atomic_load(&l->owed) > 0 && !atomic_load(&l->broken) &&
        post_send_locked(l, note_buffer(l, i), LANE_NOTE, 0, true) == 0) {
        l->note_seq[i] = l->posted;
        l->notes++;
    }
    pthread_mutex_unlock(&l->tx_mu);
}

static uint8_t *
receive_buffer(const struct lane *l, uint32_t i)
{
    return l->mem + (size_t)i * LANE_BUFFER_BYTES;
}

/* To send from. */
static uint8_t *
next_buffer(const struct lane *l)
{
    return receive_buffer(l, LANE_RECV_BUFFERS + l->sends % LANE_SEND_BUFFERS);
}

static uint8_t *
note_buffer(const struct lane *l, uint32_t i)
{
    return receive_buffer(l, LANE_RECV_BUFFERS + LANE_SEND_BUFFERS) + (size_t)i * LANE_NOTE_BYTES;
}
