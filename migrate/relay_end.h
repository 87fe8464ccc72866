/* What both ends of a relay have: streams, the control connection, and counters. Internal to
 * migrate/relay*. */
#ifndef MIGRATE_RELAY_END_H
#define MIGRATE_RELAY_END_H

#include "migrate/relay_ctl.h"
#include "migrate/relay_meter.h"
#include "migrate/relay_stream.h"

#define RELAY_TICK_US  50000   /* clocks are looked at so often */
#define RELAY_DIAL_US  5000000 /* for connecting, and for TLS */
#define RELAY_HELLO_US 5000000 /* for a connection to show what it is */
/* Connections stay while their peer acknowledges nothing: for the kernel one whose process does not
 * read looks like one that is gone. The control connection's heartbeats tell them apart. */
#define RELAY_USER_US 900000000

struct relay_end {
    /* constant */
    uint64_t dead_peer_us;
    void (*message)(void *ctx, const void *msg, size_t len);
    void (*broken)(void *ctx, enum relay_kind kind, const struct err *err);
    void *ctx;
    int wake_fd;
    struct relay_meter meter;
    struct share_member *share; /* NULL: nothing is shaped */
    /* written once */
    _Atomic bool ending;
    /* guarded by mu */
    pthread_mutex_t mu;
    struct relay_stream *streams[RELAY_MAX_STREAMS];
    struct relay_ctl *ctl;
    unsigned ctl_users; /* threads that send through it */
    pthread_cond_t unused;
    bool encrypted;
    char suite[TLS_SUITE_SIZE];
};

int relay_end_init(struct relay_end *e, struct err *err);
void relay_end_done(struct relay_end *e); /* ends streams and control */
/* Starts a stream; e's own fields of cfg are filled in. -ENOSPC: RELAY_MAX_STREAMS are open. What was
 * to be taken is closed on an error. */
int relay_end_add(struct relay_end *e, struct relay_stream_config *cfg, struct err *err);
/* Cuts all streams (relay_stream_cut). */
void relay_end_cut(struct relay_end *e, const struct err *why);
/* Joins the threads of streams that are done; all = of all of them. The owner's thread. */
void relay_end_reap(struct relay_end *e, bool all);
/* The control connection is this one from now on; an older one is ended. The owner's thread. */
int relay_end_set_ctl(struct relay_end *e, struct conn *conn, struct err *err);
void relay_end_tick(struct relay_end *e, uint64_t now_us);
int relay_end_send(struct relay_end *e, const void *msg, size_t len, struct err *err);
void relay_end_stats(struct relay_end *e, struct relay_stats *ret);
/* Makes the socket of a stream or of control like the others: little waits in it. */
void relay_end_tune(int fd);

#endif
