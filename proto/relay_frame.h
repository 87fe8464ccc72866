/* What the two ends of a relay (migrate/relay.h) say to each other. The first bytes of each
 * connection, source to target, are a hello that binds it to one migration; the target answers it.
 * After that RPC and data connections carry what libvirt and QEMU say and nothing of ours; the control
 * connection carries frames: a header and, in a message, its bytes. Fixed little-endian layouts.
 *
 *   hello   168 bytes  magic "DRVR", version u8, kind u8, flags u16, index u32, 0 u32, session u64,
 *                      generation u64, vmi_uid 64, migration_uid 64, sum u64 (XXH3-64 of the rest)
 *   answer  256 bytes  magic "DRVY", version u8, code u8, 0 u16, text 248
 *   header   16 bytes  magic "DRVM", version u8, type u8, 0 u16, length u32, number u32
 *
 * Texts are padded with NULs and end with one. A frame's number counts the messages (a heartbeat has
 * that of the message before it): one that was lost shows. Decoders check everything and give plain
 * structs. Pure; any thread. */
#ifndef PROTO_RELAY_FRAME_H
#define PROTO_RELAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/limits.h"

#define RELAY_FRAME_HELLO_SIZE  168
#define RELAY_FRAME_ANSWER_SIZE 256
#define RELAY_FRAME_HEADER_SIZE 16
#define RELAY_FRAME_TEXT_SIZE   248 /* with the NUL */

enum relay_kind { /* of a connection; wire values, never reused */
                  RELAY_RPC = 1,
                  RELAY_DATA = 2,
                  RELAY_CONTROL = 3,
};

struct relay_hello {
    enum relay_kind kind;
    bool urgent;      /* data: what it carries goes before the others */
    uint32_t index;   /* of its kind, in the order in which the source's were accepted: 0, 1, ... */
    uint64_t session; /* chosen by the source: its control connection's, and that of all others */
    uint64_t generation;
    char vmi_uid[CONTROL_UID_SIZE], migration_uid[CONTROL_UID_SIZE]; /* never "" */
};

enum relay_answer { /* wire values, never reused */
                    RELAY_ANSWER_OK = 1,
                    RELAY_ANSWER_REFUSED = 2,
};

enum relay_frame_type { /* wire values, never reused */
                        RELAY_FRAME_MESSAGE = 1,
                        RELAY_FRAME_HEARTBEAT = 2,
};

struct relay_frame {
    enum relay_frame_type type;
    uint32_t length; /* message: 1 to RELAY_MAX_MESSAGE; heartbeat: 0 */
    uint32_t number; /* of this message, or of the last one; the first is 1 */
};

/* Whether the first 4 bytes of a connection are those of a hello. */
bool relay_frame_is_hello(const uint8_t magic[4]);

/* All decoders: 0, or -EPROTO with a text. */
void relay_frame_encode_hello(uint8_t buf[RELAY_FRAME_HELLO_SIZE], const struct relay_hello *h);
int relay_frame_decode_hello(const uint8_t buf[RELAY_FRAME_HELLO_SIZE], struct relay_hello *ret,
                             struct err *err);
/* text: why it was refused; "" with OK. What is too long is cut. */
void relay_frame_encode_answer(uint8_t buf[RELAY_FRAME_ANSWER_SIZE], enum relay_answer a,
                               const char *text);
int relay_frame_decode_answer(const uint8_t buf[RELAY_FRAME_ANSWER_SIZE], enum relay_answer *ret,
                              char ret_text[RELAY_FRAME_TEXT_SIZE], struct err *err);
void relay_frame_encode(uint8_t buf[RELAY_FRAME_HEADER_SIZE], const struct relay_frame *f);
/* last: the number of the last message before this frame. */
int relay_frame_decode(const uint8_t buf[RELAY_FRAME_HEADER_SIZE], uint32_t last,
                       struct relay_frame *ret, struct err *err);

#endif
