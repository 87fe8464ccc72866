/* WebSocket (RFC 6455) as bytes: the handshake's key, the frames of either side, read as they come
 * and without a buffer for what they carry. Pure: no sockets, no allocation. Used by the
 * controller (the server's side) and by `drover console` (the client's). Extensions are not
 * negotiated; text is passed on as it is, like binary data.
 *
 * Everything a peer sends is hostile until it has been read here: see WS_MAX_FRAME_BYTES and the
 * rules that ws_read names. */
#ifndef PROTO_WEBSOCKET_H
#define PROTO_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define WS_VERSION "13"
/* What upstream's streams of bytes are called (virtctl console, vnc, port-forward). */
#define WS_PROTOCOL_PLAIN "plain.kubevirt.io"

#define WS_KEY_SIZE        25 /* of a client's 16 random bytes in base64, NUL included */
#define WS_ACCEPT_SIZE     29
#define WS_HEAD_MAX        14
#define WS_CONTROL_MAX     125
#define WS_MAX_FRAME_BYTES (1u << 20) /* a frame that says it is longer is refused */

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10
};

/* Why an end closes (section 7.4.1). */
enum ws_status {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NO_STATUS = 1005, /* never on the wire: the close frame had none */
    WS_TOO_BIG = 1009,
    WS_SERVICE_RESTART = 1012 /* connect again */
};

/* Whether key is 16 bytes in base64, as Sec-WebSocket-Key must be. */
bool ws_key_valid(const char *key);
/* Of 16 random bytes. */
void ws_key(const uint8_t random[16], char ret[WS_KEY_SIZE]);
/* What Sec-WebSocket-Accept answers to a valid key. */
void ws_accept(const char *key, char ret[WS_ACCEPT_SIZE]);

/* --- reading --- */
enum ws_event_kind {
    WS_EVENT_NONE, /* all bytes are used, and there is nothing to do */
    WS_EVENT_DATA, /* data, len: some bytes of a message; where messages end is not told */
    WS_EVENT_PING, /* data, len: to be sent back in a pong */
    WS_EVENT_PONG,
    WS_EVENT_CLOSE /* status, and data, len: its reason. Nothing is read after it */
};

struct ws_event {
    enum ws_event_kind kind;
    const uint8_t *data; /* borrowed until the next ws_read */
    size_t len;
    unsigned status; /* of a close: 1000-4999, WS_NO_STATUS when there was none */
};

struct ws_reader {
    bool from_client; /* frames must be masked; else they must not be */
    enum { WS_READ_HEAD, WS_READ_PAYLOAD, WS_READ_CLOSED } state;
    uint8_t head[WS_HEAD_MAX];
    size_t head_len;
    unsigned opcode;
    bool fin, in_message; /* in_message: more fragments of one must come */
    uint64_t left;        /* of this frame's payload */
    uint8_t mask[4];
    unsigned mask_at;
    uint8_t control[WS_CONTROL_MAX];
    size_t control_len;
};

void ws_reader_init(struct ws_reader *r, bool from_client);
/* Reads up to the next event: *ret_used of the len bytes at buf, whose payload is unmasked in
 * place. Call again while it gives events. 0, or -EPROTO with the reason in err and in *ret_status
 * what to close with: a frame that is masked or not where it must not be so, uses reserved bits or
 * opcodes, is longer than WS_MAX_FRAME_BYTES or writes its length longer than needed, a control
 * frame that is long or fragmented, fragments out of order, a close with a bad status. */
int ws_read(struct ws_reader *r, uint8_t *buf, size_t len, size_t *ret_used, struct ws_event *ret,
            unsigned *ret_status, struct err *err);

/* --- writing --- */
/* The head of a frame that is a whole message; mask NULL: as a server sends. Returns its length. */
size_t ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len, const uint8_t *mask);
/* Masks data that lies at `at` in the frame's payload. */
void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t at);
/* The payload of a close frame; what of reason does not fit is left out. Returns its length. */
size_t ws_close_payload(uint8_t out[WS_CONTROL_MAX], unsigned status, const char *reason);

#endif
