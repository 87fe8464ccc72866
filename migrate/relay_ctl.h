/* The control connection of a relay: whole messages in order, either way, and heartbeats, so that a
 * peer that is gone is known even while nobody has anything to say. A thread receives and calls back;
 * whoever owns it calls relay_ctl_tick. Internal to migrate/relay*. */
#ifndef MIGRATE_RELAY_CTL_H
#define MIGRATE_RELAY_CTL_H

#include <stdatomic.h>

#include "migrate/conn.h"

#define RELAY_CTL_DEAD_PEER_US 2000000 /* where the configuration says 0 */

struct relay_ctl;

struct relay_ctl_config {
    struct conn *conn; /* taken, also on an error */
    uint64_t dead_peer_us;
    _Atomic uint64_t *wire; /* counts what is sent */
    void (*message)(void *ctx, const void *msg, size_t len);
    /* It is of no use any more; called once, last, and not when it is being freed. */
    void (*lost)(void *ctx, const struct err *err);
    void *ctx;
};

int relay_ctl_new(const struct relay_ctl_config *cfg, struct relay_ctl **ret, struct err *err);
/* Ends blocked sends; lost is not called any more. Any thread. */
void relay_ctl_shut(struct relay_ctl *c);
void relay_ctl_free(struct relay_ctl *c); /* waits for a callback; NULL is fine */
/* Any thread; blocks while the peer does not read, at most until it is taken for dead. -EMSGSIZE. */
int relay_ctl_send(struct relay_ctl *c, const void *msg, size_t len, struct err *err);
/* Sends a heartbeat when it is time, and gives the peer up when it was silent for too long. Does not
 * block. To be called often: RELAY_TICK_US. */
void relay_ctl_tick(struct relay_ctl *c, uint64_t now_us);
/* Whether lost was called. */
bool relay_ctl_is_lost(struct relay_ctl *c);
struct conn *relay_ctl_conn(struct relay_ctl *c); /* borrowed: to look at */

#endif
