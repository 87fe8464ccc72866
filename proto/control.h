/* Control messages between the two ends of a migration (control.proto has the meaning of each
 * field) as plain structs, and their frames. Decoders check every count, length and string;
 * generated protobuf types do not leave control_encode.c and control_decode.c. Pure; any thread. */
#ifndef PROTO_CONTROL_H
#define PROTO_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sb.h"
#include "proto/layout.h"
#include "proto/limits.h"

#define CONTROL_HEADER_SIZE 24

enum control_type { /* wire values, never reused */
                    CONTROL_HELLO = 1,
                    CONTROL_ACCEPT = 2,
                    CONTROL_ROUND_BEGIN = 3,
                    CONTROL_ROUND_END = 4,
                    CONTROL_ROUND_DONE = 5,
                    CONTROL_STATE = 6,
                    CONTROL_FINISH = 7,
                    CONTROL_PREPARED = 8,
                    CONTROL_COMMIT = 9,
                    CONTROL_RUNNING = 10,
                    CONTROL_ABORT = 11,
                    CONTROL_QUESTION = 12,
                    CONTROL_ANSWER = 13,
                    CONTROL_HEARTBEAT = 14,
                    CONTROL_ERROR = 15,
                    CONTROL_DIGESTS = 19,
                    CONTROL_COMPARED = 20,
                    CONTROL_MISSING = 16,
                    CONTROL_COMPLETE = 17,
                    CONTROL_BYE = 18,
                    CONTROL_RDMA_OFF = 21,
                    CONTROL_WINDOWS_WANTED = 22,
                    CONTROL_WINDOWS = 23,
};

enum control_guest_state { /* as on the wire */
                           CONTROL_GUEST_RUNNING = 1,
                           CONTROL_GUEST_NEVER = 2,
                           CONTROL_GUEST_PREPARED = 3,
                           CONTROL_GUEST_NOT_PREPARED = 4,
};

enum control_error_code { /* as on the wire */
                          CONTROL_ERR_VERSION = 1,
                          CONTROL_ERR_IDENT = 2,
                          CONTROL_ERR_MEMORY = 3,
                          CONTROL_ERR_BUSY = 4,
                          CONTROL_ERR_PROTOCOL = 5,
                          CONTROL_ERR_GUEST = 6,
                          CONTROL_ERR_LOCAL = 7,
};

enum control_capability { /* bits of Hello and Accept, never reused */
                          CONTROL_CAP_DELTA = 1 << 0,
                          CONTROL_CAP_LZ4 = 1 << 1,
                          CONTROL_CAP_ZSTD = 1 << 2,
};
#define CONTROL_CAPS_ENCODINGS (CONTROL_CAP_DELTA | CONTROL_CAP_LZ4 | CONTROL_CAP_ZSTD)

struct control_hello {
    uint32_t version_min, version_max;
    uint64_t capabilities;
    char vmi_uid[CONTROL_UID_SIZE], migration_uid[CONTROL_UID_SIZE];
    struct layout_region regions[CONTROL_MAX_REGIONS];
    uint32_t regions_len;
    uint32_t channels, stripe_bytes;
    bool urgent, resume, serve, rdma;
    uint32_t epoch, round;
};

struct control_rdma {
    uint16_t port; /* 0: over TCP, and why */
    uint8_t token[CONTROL_TOKEN_SIZE];
    uint64_t window_bytes;
    char why[CONTROL_TEXT_SIZE];
};

struct control_accept {
    uint32_t version, channels;
    uint64_t capabilities;
    uint8_t token[CONTROL_TOKEN_SIZE];
    bool urgent;
    bool has_rdma;
    struct control_rdma rdma;
};

struct control_round_begin {
    uint32_t round;
    bool paused;
    uint64_t pages;
};

struct control_totals {
    uint64_t batches, raw_pages, zero_pages;
};

struct control_round_end {
    uint32_t round, channels;
    struct control_totals totals[CONTROL_MAX_CHANNELS];
};

struct control_bad_run {
    uint64_t offset;
    uint32_t region, pages;
};

struct control_round_done {
    uint32_t round;
    uint32_t bad_len; /* at most CONTROL_MAX_BAD_RUNS */
    bool more;
    struct control_bad_run *bad; /* encode: borrowed; decode: freed by control_msg_done */
};

struct control_state {
    uint64_t offset;
    size_t len;    /* at most CONTROL_STATE_CHUNK */
    uint8_t *data; /* encode: borrowed; decode: freed by control_msg_done */
};

struct control_finish {
    uint32_t round;
    uint64_t state_bytes, state_sum;
    bool post_copy;
    uint64_t missing_pages;
};

struct control_missing {
    uint64_t first_page;
    size_t words; /* at most CONTROL_MISSING_SIZE / 8 */
    bool last;
    uint64_t *bits; /* encode: borrowed; decode: freed by control_msg_done. In memory: host order */
};

struct control_digests {
    uint32_t round;
    uint64_t first_stripe;
    size_t len;     /* at most CONTROL_MAX_DIGESTS; 0: the target may begin to compute its own */
    uint64_t *sums; /* encode: borrowed; decode: freed by control_msg_done */
};

struct control_window {
    uint64_t first_page, pages, address;
    uint32_t key;
};

struct control_windows {                      /* WINDOWS_WANTED, WINDOWS (release_len 0) */
    uint32_t len, release_len;                /* at most CONTROL_MAX_WINDOWS each */
    struct control_window *windows, *release; /* encode: borrowed; decode: freed by
                                                 control_msg_done */
};

struct control_question {
    char vmi_uid[CONTROL_UID_SIZE], migration_uid[CONTROL_UID_SIZE];
    bool commit;
};

struct control_text {       /* ABORT, ANSWER, ERROR, RDMA_OFF */
    int code;               /* enum control_guest_state, enum control_error_code, or 0 */
    uint64_t missing_pages; /* ANSWER */
    char text[CONTROL_TEXT_SIZE];
};

struct control_msg {
    enum control_type type;
    uint64_t generation;
    union {
        struct control_hello hello;
        struct control_accept accept;
        struct control_round_begin round_begin;
        struct control_round_end round_end;
        struct control_round_done round_done; /* COMPARED, too */
        struct control_state state;
        struct control_finish finish;
        struct control_digests digests;
        struct control_question question;
        struct control_missing missing;
        struct control_windows windows;
        struct control_text text;
        uint64_t heartbeat_seq;
    };
};

struct control_header {
    enum control_type type;
    uint32_t version, length, sum;
    uint64_t generation;
};

/* "HELLO" ...; "?" when unknown. */
const char *control_type_name(enum control_type t);

/* Appends one frame to out. m must be within the limits (asserted: it is ours). */
void control_encode(struct sb *out, const struct control_msg *m);
/* Magic, version, known type, length within CONTROL_MAX_PAYLOAD. -EPROTO with a text. */
int control_decode_header(const uint8_t buf[CONTROL_HEADER_SIZE], struct control_header *ret,
                          struct err *err);
/* payload: h->length bytes. On success the caller ends *ret with control_msg_done. -EPROTO,
 * -ENOMEM. */
int control_decode(const struct control_header *h, const uint8_t *payload, struct control_msg *ret,
                   struct err *err);
void control_msg_done(struct control_msg *m);
/* What a frame's sum must be: of its header (all but the sum) and its payload of h->length bytes. */
uint32_t control_sum(const struct control_header *h, const uint8_t *payload);

/* Whether the first 4 bytes of a connection are those of a control frame. */
bool control_is_frame(const uint8_t magic[4]);

#endif
