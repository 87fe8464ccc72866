/* What a relay has carried: counters that its threads add to, and the rate of the last second.
 * Internal to migrate/relay*. */
#ifndef MIGRATE_RELAY_METER_H
#define MIGRATE_RELAY_METER_H

#include <pthread.h>
#include <stdatomic.h>

#include "migrate/relay.h"

#define RELAY_METER_SLOTS 24 /* a second of ticks, and some */

struct relay_meter {
    /* any thread */
    _Atomic uint64_t sent, received, rpc, wire, shaping_wait_us, cpu_us;
    _Atomic uint32_t streams, opened;
    /* guarded by mu */
    pthread_mutex_t mu;
    struct {
        uint64_t us, bytes;
    } slots[RELAY_METER_SLOTS]; /* what was sent when, newest at `at` */
    unsigned at, len;
};

void relay_meter_init(struct relay_meter *m);
void relay_meter_done(struct relay_meter *m);
/* Called every RELAY_TICK_US or so. */
void relay_meter_tick(struct relay_meter *m, uint64_t now_us);
/* Fills in what it knows. */
void relay_meter_stats(struct relay_meter *m, struct relay_stats *ret);

#endif
