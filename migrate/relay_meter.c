/* Counters of a relay; see relay_meter.h. */
#include "migrate/relay_meter.h"

#define SECOND_US 1000000u

void
relay_meter_init(struct relay_meter *m)
{
    *m = (struct relay_meter){0};
    pthread_mutex_init(&m->mu, NULL);
}

void
relay_meter_done(struct relay_meter *m)
{
    pthread_mutex_destroy(&m->mu);
}

void
relay_meter_tick(struct relay_meter *m, uint64_t now_us)
{
    pthread_mutex_lock(&m->mu);
    m->at = (m->at + 1) % RELAY_METER_SLOTS;
    m->slots[m->at].us = now_us;
    m->slots[m->at].bytes = atomic_load(&m->sent);
    if (m->len < RELAY_METER_SLOTS)
        m->len++;
    pthread_mutex_unlock(&m->mu);
}

void
relay_meter_stats(struct relay_meter *m, struct relay_stats *ret)
{
    ret->sent_bytes = atomic_load(&m->sent);
    ret->received_bytes = atomic_load(&m->received);
    ret->rpc_bytes = atomic_load(&m->rpc);
    ret->wire_bytes = atomic_load(&m->wire);
    ret->shaping_wait_us = atomic_load(&m->shaping_wait_us);
    ret->cpu_us = atomic_load(&m->cpu_us);
    ret->streams = atomic_load(&m->streams);
    ret->opened = atomic_load(&m->opened);
    ret->rate_bytes_per_s = 0;
    pthread_mutex_lock(&m->mu);
    for (unsigned i = 1; i < m->len; i++) {
        unsigned k = (m->at + RELAY_METER_SLOTS - i) % RELAY_METER_SLOTS;
        uint64_t us = m->slots[m->at].us - m->slots[k].us;

        if (us > 0)
            ret->rate_bytes_per_s = (m->slots[m->at].bytes - m->slots[k].bytes) * SECOND_US / us;
        if (us >= SECOND_US)
            break;
    }
    pthread_mutex_unlock(&m->mu);
}
