/* What the two ends of a network checkup say to each other. All numbers are little-endian; every
 * message has one size, so that nothing is allocated for a peer.
 *
 *   TCP, source -> target: a HELLO on each connection, with its role and the nonce from the
 *     object; the target answers READY (a: its UDP port) or closes. Then, on the one control
 *     connection, ECHO -> the same bytes back; COUNT -> COUNT with a: the bytes that all streams
 *     have brought so far, b: nanoseconds of the target's monotonic clock at that moment. On a
 *     stream: bytes without meaning, which are counted.
 *   UDP, source -> target: a PROBE padded to the size that is tried; target -> source: its first
 *     CHECKUP_MSG_SIZE bytes with a: the payload's size as it arrived. An answer is never larger
 *     than what it answers. */
#ifndef HANDLER_CHECKUP_WIRE_H
#define HANDLER_CHECKUP_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "netpolicy/checkup_object.h"

#define CHECKUP_MAGIC      0x4b434844u /* "DHCK" */
#define CHECKUP_VERSION    1
#define CHECKUP_MSG_SIZE   32
#define CHECKUP_HELLO_SIZE (CHECKUP_MSG_SIZE + CHECKUP_NONCE_LEN)
#define CHECKUP_PROBE_SIZE CHECKUP_HELLO_SIZE /* at least */

enum checkup_msg_type {
    CHECKUP_HELLO_CONTROL = 1,
    CHECKUP_HELLO_STREAM = 2,
    CHECKUP_READY = 3,
    CHECKUP_ECHO = 4,
    CHECKUP_COUNT = 5,
    CHECKUP_PROBE = 6,
};

struct checkup_msg {
    uint16_t type;
    uint64_t seq, a, b;
};

static inline void
checkup_msg_encode(uint8_t buf[CHECKUP_MSG_SIZE], const struct checkup_msg *m)
{
    const uint32_t magic = htole32(CHECKUP_MAGIC);
    const uint16_t head[2] = {htole16(CHECKUP_VERSION), htole16(m->type)};
    const uint64_t body[3] = {htole64(m->seq), htole64(m->a), htole64(m->b)};

    memcpy(buf, &magic, 4);
    memcpy(buf + 4, head, 4);
    memcpy(buf + 8, body, 24);
}

/* False when it is no message of this protocol. */
static inline bool
checkup_msg_decode(const uint8_t buf[CHECKUP_MSG_SIZE], struct checkup_msg *ret)
{
    uint32_t magic;
    uint16_t head[2];
    uint64_t body[3];

    memcpy(&magic, buf, 4);
    memcpy(head, buf + 4, 4);
    memcpy(body, buf + 8, 24);
    *ret = (struct checkup_msg){le16toh(head[1]), le64toh(body[0]), le64toh(body[1]),
                                le64toh(body[2])};
    return le32toh(magic) == CHECKUP_MAGIC && le16toh(head[0]) == CHECKUP_VERSION;
}

/* A message and the nonce behind it. */
static inline void
checkup_hello_encode(uint8_t buf[CHECKUP_HELLO_SIZE], const struct checkup_msg *m,
                     const char nonce[CHECKUP_NONCE_LEN])
{
    checkup_msg_encode(buf, m);
    memcpy(buf + CHECKUP_MSG_SIZE, nonce, CHECKUP_NONCE_LEN);
}

/* False also when the nonce is another; how much of it is right does not show in the time that
 * this takes. */
static inline bool
checkup_hello_decode(const uint8_t buf[CHECKUP_HELLO_SIZE], const char nonce[CHECKUP_NONCE_LEN],
                     struct checkup_msg *ret)
{
    uint8_t differs = 0;

    for (int i = 0; i < CHECKUP_NONCE_LEN; i++)
        differs |= (uint8_t)(buf[CHECKUP_MSG_SIZE + i] ^ (uint8_t)nonce[i]);
    return checkup_msg_decode(buf, ret) && !differs;
}

#endif
