/* The target's front door: connections come from anywhere that can reach the address; those that show
 * the right identity get in, and wait there until their own socket here is connected, data streams in
 * the order of their index. Each has its own deadline, so a silent stranger holds up nobody. One
 * thread: the target's. Internal to migrate/relay*. */
#ifndef MIGRATE_RELAY_DOOR_H
#define MIGRATE_RELAY_DOOR_H

#include <poll.h>

#include "migrate/relay_end.h"

#define RELAY_DOOR_PLACES (RELAY_MAX_STREAMS + 32)

struct relay_door;

struct relay_door_config {
    const struct relay_target_config *target; /* borrowed */
    struct relay_end *end;
    _Atomic bool *cut; /* RPC and data streams are refused; a new session ends that */
};

struct relay_door *relay_door_new(const struct relay_door_config *cfg);
void relay_door_free(struct relay_door *d); /* NULL is fine; closes who waits */
/* What to poll for, at most RELAY_DOOR_PLACES; how many. *ret_wait_us: look again after so long at
 * the latest (unchanged when nothing is waited for). */
size_t relay_door_poll(struct relay_door *d, struct pollfd *p, uint64_t *ret_wait_us);
/* After poll. */
void relay_door_look(struct relay_door *d, const struct pollfd *p, size_t len, uint64_t now_us);
/* Takes everybody who knocks at a listening socket. */
void relay_door_accept(struct relay_door *d, int listen_fd, uint64_t now_us);

#endif
