/* Frames of a relay; see relay_frame.h. */
#include "proto/relay_frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/sum.h"
#include "proto/wire.h"

#define MAGIC_HELLO  0x52565244u /* "DRVR" */
#define MAGIC_ANSWER 0x59565244u /* "DRVY" */
#define MAGIC_FRAME  0x4d565244u /* "DRVM" */

#define HELLO_SUM_AT (RELAY_FRAME_HELLO_SIZE - 8)
#define FLAG_URGENT  1u

static int check_magic(const uint8_t *buf, uint32_t want, const char *what, struct err *err);
static int get_text(char *ret, const uint8_t *p, size_t size, const char *field, struct err *err);
static bool printable(const char *s);

bool
relay_frame_is_hello(const uint8_t magic[4])
{
    return wire_get32(magic) == MAGIC_HELLO;
}

void
relay_frame_encode_hello(uint8_t buf[RELAY_FRAME_HELLO_SIZE], const struct relay_hello *h)
{
    memset(buf, 0, RELAY_FRAME_HELLO_SIZE);
    wire_put32(buf, MAGIC_HELLO);
    buf[4] = PROTO_VERSION;
    buf[5] = (uint8_t)h->kind;
    wire_put16(buf + 6, h->urgent ? FLAG_URGENT : 0);
    wire_put32(buf + 8, h->index);
    wire_put64(buf + 16, h->session);
    wire_put64(buf + 24, h->generation);
    snprintf((char *)buf + 32, CONTROL_UID_SIZE, "%s", h->vmi_uid);
    snprintf((char *)buf + 32 + CONTROL_UID_SIZE, CONTROL_UID_SIZE, "%s", h->migration_uid);
    wire_put64(buf + HELLO_SUM_AT, sum_bytes(buf, HELLO_SUM_AT, 0));
}

int
relay_frame_decode_hello(const uint8_t buf[RELAY_FRAME_HELLO_SIZE], struct relay_hello *ret,
                         struct err *err)
{
    struct relay_hello h = {.kind = buf[5],
                            .urgent = wire_get16(buf + 6) & FLAG_URGENT,
                            .index = wire_get32(buf + 8),
                            .session = wire_get64(buf + 16),
                            .generation = wire_get64(buf + 24)};
    int rc = check_magic(buf, MAGIC_HELLO, "relay hello", err);

    if (rc == 0 && wire_get64(buf + HELLO_SUM_AT) != sum_bytes(buf, HELLO_SUM_AT, 0))
        rc = err_set(err, -EPROTO, "relay hello: damaged (its sum is wrong)");
    if (rc == 0 && (buf[5] < RELAY_RPC || buf[5] > RELAY_CONTROL))
        rc = err_set(err, -EPROTO, "relay hello: kind %u: want %d to %d", buf[5], RELAY_RPC,
                     RELAY_CONTROL);
    if (rc == 0 && (wire_get16(buf + 6) & ~FLAG_URGENT || wire_get32(buf + 12)))
        rc = err_set(err, -EPROTO, "relay hello: flags %#x, reserved %#x: want 0 in unknown bits",
                     wire_get16(buf + 6), wire_get32(buf + 12));
    if (rc == 0)
        rc = get_text(h.vmi_uid, buf + 32, sizeof h.vmi_uid, "vmi_uid", err);
    if (rc == 0)
        rc = get_text(h.migration_uid, buf + 32 + CONTROL_UID_SIZE, sizeof h.migration_uid,
                      "migration_uid", err);
    if (rc == 0 && (!h.vmi_uid[0] || !h.migration_uid[0]))
        rc = err_set(err, -EPROTO, "relay hello: an empty uid");
    if (rc == 0)
        *ret = h;
    return rc;
}

void
relay_frame_encode_answer(uint8_t buf[RELAY_FRAME_ANSWER_SIZE], enum relay_answer a,
                          const char *text)
{
    memset(buf, 0, RELAY_FRAME_ANSWER_SIZE);
    wire_put32(buf, MAGIC_ANSWER);
    buf[4] = PROTO_VERSION;
    buf[5] = (uint8_t)a;
    snprintf((char *)buf + 8, RELAY_FRAME_TEXT_SIZE, "%s", text);
}

int
relay_frame_decode_answer(const uint8_t buf[RELAY_FRAME_ANSWER_SIZE], enum relay_answer *ret,
                          char ret_text[RELAY_FRAME_TEXT_SIZE], struct err *err)
{
    char text[RELAY_FRAME_TEXT_SIZE];
    int rc = check_magic(buf, MAGIC_ANSWER, "relay answer", err);

    if (rc == 0 && (buf[5] < RELAY_ANSWER_OK || buf[5] > RELAY_ANSWER_REFUSED))
        rc = err_set(err, -EPROTO, "relay answer: code %u: want %d or %d", buf[5], RELAY_ANSWER_OK,
                     RELAY_ANSWER_REFUSED);
    if (rc == 0)
        rc = get_text(text, buf + 8, sizeof text, "text", err);
    if (rc != 0)
        return rc;
    *ret = buf[5];
    memcpy(ret_text, text, sizeof text);
    return 0;
}

void
relay_frame_encode(uint8_t buf[RELAY_FRAME_HEADER_SIZE], const struct relay_frame *f)
{
    memset(buf, 0, RELAY_FRAME_HEADER_SIZE);
    wire_put32(buf, MAGIC_FRAME);
    buf[4] = PROTO_VERSION;
    buf[5] = (uint8_t)f->type;
    wire_put32(buf + 8, f->length);
    wire_put32(buf + 12, f->number);
}

int
relay_frame_decode(const uint8_t buf[RELAY_FRAME_HEADER_SIZE], uint32_t last,
                   struct relay_frame *ret, struct err *err)
{
    struct relay_frame f = {
        .type = buf[5], .length = wire_get32(buf + 8), .number = wire_get32(buf + 12)};
    int rc = check_magic(buf, MAGIC_FRAME, "relay control", err);

    if (rc != 0)
        return rc;
    if (f.type != RELAY_FRAME_MESSAGE && f.type != RELAY_FRAME_HEARTBEAT)
        return err_set(err, -EPROTO, "relay control: unknown frame type %u", buf[5]);
    if (f.type == RELAY_FRAME_HEARTBEAT ? f.length != 0
                                        : f.length == 0 || f.length > RELAY_MAX_MESSAGE)
        return err_set(err, -EPROTO, "relay control: %s of %u bytes: want %s",
                       f.type == RELAY_FRAME_HEARTBEAT ? "heartbeat" : "message", f.length,
                       f.type == RELAY_FRAME_HEARTBEAT ? "none" : "1 to 262144");
    if (f.number != last + (f.type == RELAY_FRAME_MESSAGE))
        return err_set(err, -EPROTO, "relay control: message %u after message %u", f.number, last);
    *ret = f;
    return 0;
}

static int
check_magic(const uint8_t *buf, uint32_t want, const char *what, struct err *err)
{
    if (wire_get32(buf) != want)
        return err_set(err, -EPROTO, "%s: not a drover relay (magic %#010x)", what,
                       wire_get32(buf));
    if (buf[4] < PROTO_VERSION_MIN || buf[4] > PROTO_VERSION)
        return err_set(err, -EPROTO, "%s: version %u: want %d to %d", what, buf[4],
                       PROTO_VERSION_MIN, PROTO_VERSION);
    return 0;
}

/* What a peer wrote goes into logs and messages. */
static int
get_text(char *ret, const uint8_t *p, size_t size, const char *field, struct err *err)
{
    if (p[size - 1])
        return err_set(err, -EPROTO, "relay: %s without an end", field);
    memcpy(ret, p, size);
    if (!printable(ret))
        return err_set(err, -EPROTO, "relay: %s with unprintable characters", field);
    return 0;
}

static bool
printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    }
    return true;
}
