/* A lane: one reliable-connected queue pair of a migration, between two handlers. It carries
 *   - a stream of bytes both ways, by SEND into buffers that the receiver has posted, with credits:
 *     what conn.h offers (conn_rdma makes a conn of a lane);
 *   - one-sided WRITEs of the dialling end into memory that the other has registered. They arrive
 *     before whatever is sent on the stream behind them;
 *   - one-sided READs.
 * RDMA says nothing of a peer that is silent: whether it lives is the control connection's business.
 * A lane that broke is of no use any more; every call on it says why (-ENOTCONN, -EPIPE when the peer
 * left, -EREMOTEIO for a key or range that the peer does not grant, -ENODEV when the device was
 * removed, -ETIMEDOUT when the network swallows what is sent). */
#ifndef MIGRATE_RDMA_LANE_H
#define MIGRATE_RDMA_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "migrate/engine.h"
#include "migrate/rdma_nic.h"

#define LANE_LIST_MAX     64         /* work requests that are handed to the device at once */
#define LANE_SIGNAL_EVERY 32         /* of WRITEs: one asks for a completion */
#define LANE_WRITE_MAX    (1u << 20) /* bytes of one WRITE or READ */

struct lane_config {
    uint32_t reads;    /* that this end wants to have open at once; 0 = the lane reads nothing */
    bool read_by_peer; /* the other end may READ what is registered for it */
    uint8_t dscp;      /* 0 = none */
};

/* Connects to addr ("ip:port" of a nic_listen) and shows the preamble. 0; -ETIMEDOUT, -ECANCELED
 * (cancel_fd readable; -1 = never), -ECONNREFUSED, other -errno. */
int lane_dial(struct nic *n, const char *addr, const uint8_t preamble[FRAME_PREAMBLE_SIZE],
              const struct lane_config *cfg, uint64_t timeout_us, int cancel_fd, struct lane **ret,
              struct err *err);
/* Takes the request in any case. Blocks until the connection stands, at most a second. */
int lane_accept(struct nic_request *r, const struct lane_config *cfg, struct lane **ret,
                struct err *err);
void lane_refuse(struct nic_request *r);
/* The peer finds the stream ended. No other thread uses it any more. NULL is fine. */
void lane_free(struct lane *l);
/* Ends blocked calls of other threads, and all later ones. Any thread. NULL is fine. */
void lane_shut(struct lane *l);

/* --- the stream: as conn_send, conn_recv, conn_recvv, conn_readable of conn.h --- */
int lane_send(struct lane *l, struct iovec *iov, int iov_len, struct err *err);
int lane_recv(struct lane *l, void *buf, size_t len, uint64_t timeout_us, struct err *err);
bool lane_readable(struct lane *l); /* any thread */
/* conn_settle: the thread that sends. */
int lane_settle(struct lane *l, struct err *err);

/* --- WRITE: the thread that sends --- */

struct lane_write {
    const void *from;        /* inside `mr` */
    const struct nic_mr *mr; /* NIC_LOCAL is enough */
    uint64_t to;             /* address at the peer */
    uint32_t key;            /* the peer's, of what is registered there */
    uint32_t bytes;          /* 1 to LANE_WRITE_MAX */
};
/* Hands them to the device in lists of up to LANE_LIST_MAX; blocks while its queue is full. What they
 * read must stay as it is until lane_wait of the returned number: they complete in order. */
int lane_write(struct lane *l, const struct lane_write *w, size_t n, uint64_t *ret_ticket,
               struct err *err);
/* All up to `ticket` have left: 0, or why the lane broke. 0 at once for ticket 0. */
int lane_wait(struct lane *l, uint64_t ticket, struct err *err);

/* --- READ: on a lane of its own; the stream of such a lane is not used --- */

/* Any thread. -EAGAIN: as many as the lane may have are open. */
int lane_read(struct lane *l, void *to, const struct nic_mr *mr, uint64_t from, uint32_t key,
              uint32_t bytes, uint64_t cookie, struct err *err);
/* One thread. 1: the READ with this cookie has ended, *ret_rc 0 and all of its bytes are there, or
 * -errno (a short one: -EIO). After a lane broke, every open READ is still reported once, and then
 * -errno. 0: none within timeout_us. */
int lane_reap(struct lane *l, uint64_t timeout_us, uint64_t *ret_cookie, int *ret_rc,
              struct err *err);

/* Bytes that the lane has sent and received, one-sided ones included. Any thread. */
uint64_t lane_bytes(const struct lane *l);

#endif
