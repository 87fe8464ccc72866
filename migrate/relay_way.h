/* One direction of a stream: from one socket into another, never blocking. Where neither end is
 * encrypted the bytes stay in the kernel (splice(2) through a pipe); else they go through one buffer.
 * Internal to migrate/relay*. */
#ifndef MIGRATE_RELAY_WAY_H
#define MIGRATE_RELAY_WAY_H

#include "migrate/conn.h"
#include "migrate/relay_meter.h"
#include "migrate/share.h"

struct relay_way {
    /* constant */
    bool to_net;
    int local; /* the unix socket */
    struct conn *conn;
    struct share_member *share; /* what it sends is held under; NULL = nothing is */
    bool urgent;                /* goes before the others that draw from the share */
    struct relay_meter *meter;
    _Atomic uint64_t *payload, *wire; /* of the meter; wire: NULL = none */
    /* owned by the stream's thread */
    int pipe[2];
    uint8_t *buf; /* NULL: the pipe */
    size_t at, held, credit;
    struct bucket own; /* urgent: what it may send alone */
    bool eof, over;    /* nothing more comes; and that was passed on */
    /* why the last step did nothing */
    bool want_in, want_out;
    uint64_t wait_until_us; /* for bandwidth; 0 = not */
    uint64_t waits_since_us;
};

/* local is non-blocking; all are borrowed. -errno: no pipe. */
int relay_way_init(struct relay_way *w, struct err *err);
void relay_way_done(struct relay_way *w);
/* 1: something moved; 0: nothing could (want_in, want_out and wait_until_us say what is waited for,
 * none of them: it is over); -errno: one end broke. */
int relay_way_step(struct relay_way *w, struct err *err);

#endif
