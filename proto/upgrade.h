/* Another protocol on a connection to the controller (RFC 9110 section 7.8): connects, asks, and
 * hands out the descriptor on which from then on only that protocol is spoken. For streams that a
 * request and its reply cannot carry: consoles. Blocking, bounded; any thread. */
#ifndef PROTO_UPGRADE_H
#define PROTO_UPGRADE_H

#include "base/err.h"
#include "proto/rest.h"

#define UPGRADE_CONSOLE "drover-console" /* the protocol of a handler's end of a console: bytes */

#define UPGRADE_MAX_HEAD_BYTES (16u << 10) /* of the answer */
#define UPGRADE_MAX_BODY_BYTES (64u << 10) /* of a refusal */
#define UPGRADE_VALUE_SIZE     128

struct upgrade {
    const char *url;      /* the controller: as rest_new's */
    const char *path;     /* with its query */
    const char *protocol; /* for the Upgrade header */
    const char *headers;  /* more lines, each with CR LF, or NULL */
    const char *want;     /* a header of the answer, in lower case, to be handed out; or NULL */
    unsigned timeout_ms;  /* of each step: connecting, and each wait for the answer */
    int stop_fd;          /* when it becomes readable: -ECANCELED. -1: none */
};

/* 0: *ret_fd is the caller's: a blocking socket, nothing read beyond the answer's head; value (may
 * be NULL) is the answer's header u->want, "" when it has none. Else *ret_fd is not touched:
 * -errno as rest_call, and when the controller answered something else than 101,
 * ret_refusal->status is its status (rest_reply_err tells it; rest_reply_done), and the value -EPROTO.
 */
int upgrade_open(const struct upgrade *u, int *ret_fd, char value[UPGRADE_VALUE_SIZE],
                 struct rest_reply *ret_refusal, struct err *err);

#endif
