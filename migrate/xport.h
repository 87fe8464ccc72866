/* TCP under the engine: dial and listen on one address or device only, and whole sends and
 * receives. Sockets are blocking; what ends a blocked call early is xport_shut from another thread,
 * or the peer's silence (TCP_USER_TIMEOUT). Encryption will sit behind these same calls. */
#ifndef MIGRATE_XPORT_H
#define MIGRATE_XPORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "migrate/engine.h"
#include "proto/limits.h"

/* Connects to "ip:port" or "[ip6]:port" from local_ip ("" = any) through device ("" = any). Gives
 * up after timeout_us (-ETIMEDOUT) or when cancel_fd becomes readable (-ECANCELED; -1 = never).
 * *ret_fd is the caller's: blocking, TCP_NODELAY, data that stays unacknowledged for
 * user_timeout_us breaks it; to a peer that answers within a millisecond, CUBIC where it is granted.
 * *ret_rtt_us: how long connecting took. */
struct xport_dial {
    const char *addr, *local_ip, *device;
    uint64_t timeout_us, user_timeout_us;
    int cancel_fd;
};
int xport_dial(const struct xport_dial *d, int *ret_fd, uint64_t *ret_rtt_us, struct err *err);

/* Listens on a free port of ip alone, through device ("" = any). *ret_fd is the caller's,
 * non-blocking; ret_addr is what the peer dials. */
int xport_listen(const char *ip, const char *device, int *ret_fd, char ret_addr[MIG_ADDR_SIZE],
                 struct err *err);

/* Marks what the socket sends: its DSCP (its ECN bits stay), and its priority on this host. 0 = leave
 * as it is. -errno with what was not granted; the rest is done. */
int xport_mark(int fd, uint32_t priority, uint8_t dscp, struct err *err);
/* The largest packet that the path of a connected socket takes whole, as far as the kernel knows by
 * now, and what of it one TCP segment carries. 0 where it does not say, as for -1. */
void xport_path(int fd, uint32_t *ret_mtu, uint32_t *ret_segment);

/* The address that the socket has at this end, without its port. -errno. */
int xport_local_ip(int fd, char ret[MIG_ADDR_SIZE], struct err *err);

/* Whether the peer of a connected socket answers within a millisecond. */
bool xport_is_near(int fd);

/* Keeps little in the socket, so that what is sent is soon at the peer: for channels whose order
 * matters while a guest waits. -1 (no socket: RDMA) is fine. */
void xport_short_queue(int fd);

/* Makes an accepted socket like a dialled one. */
void xport_tune(int fd, uint64_t user_timeout_us);
/* SO_MAX_PACING_RATE: the kernel spreads what is sent; 0 = as fast as it goes. Where it is not
 * granted nothing changes. -1 is fine. */
void xport_pace(int fd, uint64_t bytes_per_s);

/* Sends all of iov (which is changed) or fails: -EPIPE, -ECONNRESET, -ETIMEDOUT ... */
int xport_send(int fd, struct iovec *iov, int iov_len, struct err *err);
/* Receives exactly len bytes or fails; -EPIPE when the peer closed. */
int xport_recv(int fd, void *buf, size_t len, struct err *err);
/* Receives all of iov (which is changed) or fails; likewise. */
int xport_recvv(int fd, struct iovec *iov, int iov_len, struct err *err);
/* Ends blocked sends and receives of other threads, and all later ones. -1 is fine. */
void xport_shut(int fd);

#endif
