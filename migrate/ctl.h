/* The control connection of one migration end: whole control frames in and out, and a heartbeat
 * thread, so that the peer knows within dead_peer_us whether this process lives even while it waits
 * for a hook or the guest. */
#ifndef MIGRATE_CTL_H
#define MIGRATE_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/control.h"

#define CTL_DEAD_PEER_US 2000000

struct conn;
struct ctl;

/* Takes c, a tuned connection (also on an error). Every frame in and out bears
 * `generation`. Starts the heartbeat. */
int ctl_new(struct conn *c, uint64_t generation, uint64_t dead_peer_us, struct ctl **ret,
            struct err *err);
/* Stops the heartbeat, closes. NULL is fine. */
void ctl_free(struct ctl *c);
/* Makes both ends see a broken connection. Any thread, while c is not freed. */
void ctl_shut(struct ctl *c);
/* For poll. */
int ctl_fd(const struct ctl *c);
/* How long poll of it may wait, at most `ms`: not at all while bytes wait in this process. */
int ctl_poll_ms(struct ctl *c, int ms);

/* Any thread; sets m->generation. Blocks while the peer does not read, at most dead_peer_us:
 * -ETIMEDOUT. */
int ctl_send(struct ctl *c, struct control_msg *m, struct err *err);
/* ABORT, ANSWER and ERROR. */
int ctl_send_text(struct ctl *c, enum control_type type, int code, const char *text,
                  struct err *err);

/* One thread. 1: *ret is the next message (control_msg_done); 0: nothing yet; -EPIPE: the peer
 * closed; -EPROTO: not a valid message; other -errno. Never blocks. Heartbeats are swallowed. */
int ctl_recv(struct ctl *c, struct control_msg *ret, struct err *err);
/* ctl_recv, waiting for up to timeout_us or until cancel_fd (-1 = none) is readable (-ECANCELED).
 * -ETIMEDOUT, also when the peer is dead. */
int ctl_wait(struct ctl *c, uint64_t timeout_us, int cancel_fd, struct control_msg *ret,
             struct err *err);
/* Whether nothing was heard from the peer for dead_peer_us. Call ctl_recv until 0 first. */
bool ctl_dead(const struct ctl *c, uint64_t now_us);
uint64_t ctl_dead_peer_us(const struct ctl *c);
/* Bytes sent and received so far. Any thread. */
uint64_t ctl_bytes(const struct ctl *c);

#endif
