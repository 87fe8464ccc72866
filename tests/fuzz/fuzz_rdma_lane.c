/* A lane (migrate/rdma_lane.h) whose peer says what it likes, over the double of the device: messages with
 * wrong heads and lengths, credits that nobody owes, WRITEs to what is not granted. What is
 * within the rules arrives as it was sent; the first thing that is not breaks the lane, and nothing of
 * it is delivered. An input is a list of: what to do (1 byte), then as that wants. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "migrate/rdma_int.h"
#include "tests/migrate/verbs_double.h"

#define PATIENCE_US 10000000
#define SENT_MAX    ((size_t)LANE_CREDITS * LANE_BUFFER_BYTES)

#define DIE() (fprintf(stderr, "%s:%d\n", __FILE__, __LINE__), abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct lane_config plain;

struct hostile {
    struct nic *near, *far;
    struct lane *peer, *lane; /* who lies, and who is lied to */
    char addr[MIG_ADDR_SIZE];
    uint8_t *sent; /* data within the rules that was not received yet */
    size_t sent_len;
    unsigned messages, replies, returned; /* with data, there; back, and credits for those */
    bool bad;                             /* a rule was broken */
};

struct input {
    const uint8_t *p;
    size_t left;
};

static uint32_t
take(struct input *in, size_t bytes)
{
    uint8_t b[4] = {0};

    bytes = bytes < in->left ? bytes : in->left;
    memcpy(b, in->p, bytes);
    in->p += bytes;
    in->left -= bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* --- the connection --- */

static void
must(int rc, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err_msg(err));
    DIE();
}

static void *
dial_main(void *arg)
{
    struct hostile *h = arg;
    static const uint8_t preamble[FRAME_PREAMBLE_SIZE];
    struct err err = {0};

    must(lane_dial(h->near, h->addr, preamble, &plain, PATIENCE_US, -1, &h->peer, &err), &err);
    return NULL;
}

static void
up(struct hostile *h)
{
    uint8_t preamble[FRAME_PREAMBLE_SIZE];
    struct nic_request *r = NULL;
    struct err err = {0};
    struct pollfd p = {.events = POLLIN};
    uint16_t port;
    pthread_t t;

    must(nic_open(rdma_test_ip(), "", &h->near, &err), &err);
    must(nic_open(rdma_test_ip(), "", &h->far, &err), &err);
    must(nic_listen(h->far, &port, &err), &err);
    snprintf(h->addr, sizeof h->addr, "%s:%u", rdma_test_ip(), port);
    pthread_create(&t, NULL, dial_main, h);
    p.fd = nic_listen_fd(h->far);
    while (!r) {
        poll(&p, 1, -1);
        must(nic_next_request(h->far, &r, preamble, &err), &err);
    }
    must(lane_accept(r, &plain, &h->lane, &err), &err);
    pthread_join(t, NULL);
    h->sent = xmalloc(SENT_MAX);
}

static void
down(struct hostile *h)
{
    lane_free(h->peer);
    lane_free(h->lane);
    nic_close(h->near);
    nic_close(h->far);
    free(h->sent);
    if (verbs_reset())
        DIE();
}

/* --- what the peer does --- */

static bool
within_rules(struct hostile *h, const struct lane_head *head, size_t bytes)
{
    const unsigned credits = le16toh(head->credits), len = le32toh(head->bytes);

    if (bytes < sizeof *head || bytes > LANE_BUFFER_BYTES || len != bytes - sizeof *head)
        return false;
    if (credits > LANE_CREDITS || h->returned + atomic_load(&h->peer->given) + credits > h->replies)
        return false;
    if (le16toh(head->type) == LANE_NOTE)
        return len == 0 && credits > 0;
    return le16toh(head->type) == LANE_DATA && len > 0 &&
           h->messages + 1 - atomic_load(&h->lane->given) <= LANE_CREDITS;
}

static void
post(struct hostile *h, struct ibv_sge *sge, enum ibv_wr_opcode op, uint64_t to, uint32_t key)
{
    struct ibv_send_wr wr = {.wr_id = h->peer->posted + 1,
                             .sg_list = sge,
                             .num_sge = 1,
                             .opcode = op,
                             .send_flags = IBV_SEND_SIGNALED,
                             .wr.rdma = {to, key}},
                       *bad;

    h->peer->posted++;
    if (ibv_post_send(h->peer->id->qp, &wr, &bad) != 0)
        DIE();
    (void)lane_settle(h->peer, NULL);
}

static void
message(struct hostile *h, struct lane_head head, size_t bytes)
{
    uint8_t *buf = h->peer->mem + (size_t)LANE_RECV_BUFFERS * LANE_BUFFER_BYTES; /* it sends none */
    struct ibv_sge sge = {
        .addr = (uintptr_t)buf, .length = (uint32_t)bytes, .lkey = h->peer->mem_mr->mr->lkey};
    const bool ok = within_rules(h, &head, bytes);

    memcpy(buf, &head, sizeof head);
    for (size_t i = sizeof head; i < bytes; i++)
        buf[i] = (uint8_t)(i * 31 + h->messages);
    if (ok && le16toh(head.type) == LANE_DATA) {
        memcpy(h->sent + h->sent_len, buf + sizeof head, bytes - sizeof head);
        h->sent_len += bytes - sizeof head;
        h->messages++;
        atomic_fetch_sub(&h->peer->credits, 1); /* as if it had been sent by the rules */
    }
    h->returned += ok ? le16toh(head.credits) : 0;
    h->bad = !ok;
    post(h, &sge, IBV_WR_SEND, 0, 0);
}

/* By the one key that there is: of buffers that the lane registered for itself. */
static void
reach(struct hostile *h, uint32_t offset, uint32_t bytes, uint32_t key)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)h->peer->mem, .length = bytes, .lkey = h->peer->mem_mr->mr->lkey};

    post(h, &sge, IBV_WR_RDMA_WRITE, (uintptr_t)h->lane->mem + offset,
         nic_mr_key(h->lane->mem_mr) + key);
    h->bad = true;
}

/* --- what the lane does --- */

static void
receive(struct hostile *h, size_t bytes)
{
    AUTO_FREE uint8_t *got = xmalloc(bytes + 1);

    bytes = bytes < h->sent_len ? bytes : h->sent_len;
    if (lane_recv(h->lane, got, bytes, PATIENCE_US, NULL) != 0 || memcmp(got, h->sent, bytes) != 0)
        DIE();
    memmove(h->sent, h->sent + bytes, h->sent_len - bytes);
    h->sent_len -= bytes;
}

static void
reply(struct hostile *h, size_t bytes)
{
    uint8_t out[1024] = {0}, in[sizeof out];
    struct iovec iov = {out, bytes};

    if (atomic_load(&h->lane->credits) <= 0)
        return;
    if (lane_send(h->lane, &iov, 1, NULL) != 0 ||
        lane_recv(h->peer, in, bytes, PATIENCE_US, NULL) != 0)
        DIE();
    h->replies++;
}

static void
step(struct hostile *h, struct input *in)
{
    struct lane_head head = {0};
    size_t bytes;

    switch (take(in, 1) % 6) {
    case 0: /* as it comes */
        bytes = take(in, 3) % (LANE_BUFFER_BYTES + 16);
        head = (struct lane_head){htole16((uint16_t)take(in, 2)), htole16((uint16_t)take(in, 2)),
                                  htole32(take(in, 4))};
        message(h, head, bytes);
        break;
    case 1: /* data that may be fine */
        bytes = take(in, 2);
        head = (struct lane_head){htole16(LANE_DATA), htole16((uint16_t)take(in, 1)),
                                  htole32((uint32_t)bytes)};
        message(h, head, bytes + sizeof head);
        break;
    case 2: /* a note that may be fine */
        head = (struct lane_head){htole16(LANE_NOTE), htole16((uint16_t)take(in, 1)), 0};
        message(h, head, sizeof head);
        break;
    case 3:
        receive(h, take(in, 2));
        break;
    case 4:
        reply(h, 1 + take(in, 2) % 1024);
        break;
    default:
        reach(h, take(in, 4), 1 + take(in, 1), take(in, 1) % 2 * take(in, 4));
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hostile h = {0};
    struct input in = {data, size};
    uint8_t byte;

    up(&h);
    while (in.left > 0 && !h.bad) {
        step(&h, &in);
        (void)lane_readable(h.lane); /* takes what has come */
        if (!h.bad && (atomic_load(&h.lane->broken) || atomic_load(&h.peer->broken)))
            DIE();
    }
    receive(&h, h.sent_len); /* what came before a lie is good */
    if (h.bad && lane_recv(h.lane, &byte, 1, PATIENCE_US, NULL) == -ETIMEDOUT)
        DIE();
    if (h.bad && !atomic_load(&h.lane->broken))
        DIE();
    down(&h);
    return 0;
}
