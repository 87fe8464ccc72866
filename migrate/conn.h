/* One connection of a migration: what the engine sends and receives through, whatever carries it.
 * Made from a connected TCP socket (xport.h). One thread may send while another receives;
 * everything else says who may call it. Sends are whole frames of the caller's: nothing is buffered
 * here. */
#ifndef MIGRATE_CONN_H
#define MIGRATE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "migrate/tls.h"

struct conn;
struct lane;

/* Takes fd, which blocks. Never NULL. */
struct conn *conn_plain(int fd);
/* The same over TLS 1.3 (tls.h): takes fd, also on an error; ctx is borrowed. accepts: this end was
 * dialled. peer: the node that the other end must be. Nothing but the handshake may be called until
 * it is over. */
int conn_tls(int fd, struct tls_ctx *ctx, bool accepts, const char *peer, struct conn **ret,
             struct err *err);
/* The same over RDMA (rdma_lane.h): takes the lane. It is plain, and has no descriptor (conn_fd is -1):
 * the calls that never block, and those of a handshake, are not for it. */
struct conn *conn_rdma(struct lane *l);
/* Its lane, borrowed; NULL: it is TCP. */
struct lane *conn_lane(struct conn *c);
/* 1: over; 0: call it again when poll says conn_events; -errno: the peer is not who it must be, or
 * speaks no TLS. Never blocks. 1 on a plain connection. */
int conn_handshake(struct conn *c, struct err *err);
short conn_events(struct conn *c);
/* Waits for it: 0; -ETIMEDOUT after timeout_us, -ECANCELED when cancel_fd (-1 = none) becomes
 * readable. */
int conn_handshake_wait(struct conn *c, uint64_t timeout_us, int cancel_fd, struct err *err);
/* Whether the peer of a TLS connection began with a frame of ours in the clear; and what to answer
 * then: the bytes as they are, without TLS, if they go at once. */
bool conn_met_plaintext(struct conn *c);
void conn_answer_plaintext(struct conn *c, const void *buf, size_t len);
/* How it is encrypted: "" or tls_suite. */
void conn_suite(struct conn *c, char ret[TLS_SUITE_SIZE]);

/* Nothing more is sent, and the peer is told; what it sends may still be received. Never
 * blocks. */
void conn_finish(struct conn *c);
/* Closes; a peer over TLS is told that this is the end. NULL is fine. No other thread uses it any
 * more. */
void conn_free(struct conn *c);
/* The same for a connection that did not come to its end: the peer finds it reset. */
void conn_break(struct conn *c);
/* For poll alone, and on a plain connection for sendfile and splice. -1 when c is NULL. */
int conn_fd(const struct conn *c);
/* Whether what is written to conn_fd is what the peer reads. */
bool conn_is_plain(const struct conn *c);

/* Sends all of iov (which is changed), from where it lies, or fails: -EPIPE, -ECONNRESET,
 * -ETIMEDOUT ... After a failure the connection is of no use. Blocks while the peer does not
 * read. */
int conn_send(struct conn *c, struct iovec *iov, int iov_len, struct err *err);
/* Over RDMA waits until the peer's device has all that was sent, or says why it never will: who sends
 * nothing more would not hear of it. Over TCP 0 at once: there the receiver hears of it. */
int conn_settle(struct conn *c, struct err *err);
/* Receives exactly len bytes or fails: -EPIPE when the peer closed, -ETIMEDOUT when they have not
 * come within timeout_us (0 = waits for ever). */
int conn_recv(struct conn *c, void *buf, size_t len, uint64_t timeout_us, struct err *err);
/* Receives all of iov (which is changed) to where it points, or fails; waits for ever. */
int conn_recvv(struct conn *c, struct iovec *iov, int iov_len, struct err *err);

/* As much as goes at once, and never blocks. Bytes sent or received; 0 of conn_recv_some: the peer
 * closed; -EAGAIN: nothing now (after that of conn_send_some the same bytes must be offered again);
 * other -errno. */
ssize_t conn_send_some(struct conn *c, const void *buf, size_t len, struct err *err);
ssize_t conn_recv_some(struct conn *c, void *buf, size_t len, struct err *err);
/* 0 when everything that was offered is with the kernel, -EAGAIN, other -errno. */
int conn_flush(struct conn *c, struct err *err);
/* Whether bytes wait in this process: poll says nothing of them. Any thread. */
bool conn_pending(struct conn *c);
/* Whether the peer has sent something that was not received yet. Any thread. */
bool conn_readable(struct conn *c);

/* Ends blocked sends and receives of other threads, and all later ones. Any thread. NULL is
 * fine. */
void conn_shut(struct conn *c);

#endif
