/* One stream of a relay: a unix socket here, a connection to the other end, and a thread that copies
 * both directions until both are over, one of the two breaks, or it is cut. Internal to
 * migrate/relay*. */
#ifndef MIGRATE_RELAY_STREAM_H
#define MIGRATE_RELAY_STREAM_H

#include "migrate/conn.h"
#include "migrate/relay_meter.h"
#include "migrate/share.h"

struct relay_stream;

struct relay_stream_config {
    enum relay_kind kind;
    uint32_t index;
    bool source; /* the unix socket is the source's */
    bool urgent;
    int local;         /* taken */
    struct conn *conn; /* taken; NULL: dial makes it */
    struct relay_meter *meter;
    struct share_member *share; /* or NULL */
    int wake_fd;                /* an eventfd that is written to when it is done */
    /* On the stream's thread. *ret is the stream's; ends early when cancel_fd becomes readable. */
    int (*dial)(void *dial_ctx, const struct relay_stream_config *c, int cancel_fd,
                struct conn **ret, struct err *err);
    void *dial_ctx;
    void (*broken)(void *ctx, enum relay_kind kind,
                   const struct err *err); /* not when it was cut */
    void *ctx;
};

/* Starts it. On an error what was to be taken is closed. */
int relay_stream_new(const struct relay_stream_config *cfg, struct relay_stream **ret,
                     struct err *err);
/* Breaks both sides soon. why: what broken is told; NULL = it is not called. Any thread. */
void relay_stream_cut(struct relay_stream *s, const struct err *why);
/* Whether both of its sockets are closed: relay_stream_free does not wait then. */
bool relay_stream_is_done(struct relay_stream *s);
void relay_stream_free(struct relay_stream *s); /* cuts it and joins its thread */

#endif
