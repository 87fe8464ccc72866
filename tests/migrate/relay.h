/* A TCP relay between the two ends of a migration that damages, swallows or cuts: the network as it
 * can be. */
#ifndef TESTS_MIGRATE_RELAY_H
#define TESTS_MIGRATE_RELAY_H

#include <pthread.h>
#include <stdatomic.h>

#include "migrate/engine.h"

#define RELAY_MAX 64 /* connections: the first is control, then the data channels in order */

enum relay_trick {
    RELAY_NOTHING,
    RELAY_FLIP, /* one bit of the byte at `at` */
    RELAY_HOLE, /* from `at` on nothing goes through, on no connection, in no direction */
    RELAY_CUT,  /* at `at` all connections are reset */
};

struct relay {
    /* what it does: on which connection, in which direction, at which byte */
    enum relay_trick trick;
    int connection;
    bool to_source;
    uint64_t at;

    char addr[MIG_ADDR_SIZE]; /* where the source dials */
    const char *target;
    int listen_fd, stop_fd, cut_fd, len;
    int src[RELAY_MAX], dst[RELAY_MAX];
    uint64_t passed[RELAY_MAX][2];
    bool hole;
    _Atomic bool done; /* the trick was played */
    pthread_t thread;
};

void relay_start(struct relay *r, const char *target);
/* Resets all connections that there are now; new ones may come. */
void relay_cut(struct relay *r);
void relay_stop(struct relay *r);

#endif
