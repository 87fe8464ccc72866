/* Frames of RFC 6455; see websocket.h. Section numbers are the RFC's. */
#include "proto/websocket.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define GUID       "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* section 1.3 */
#define IS_CONTROL 8u                                     /* a bit of such opcodes */

static int read_head(struct ws_reader *r, unsigned *ret_status, struct err *err);
static size_t head_wanted(const struct ws_reader *r);
static int end_control(struct ws_reader *r, struct ws_event *ret, unsigned *ret_status,
                       struct err *err);

/* --- handshake --- */
bool
ws_key_valid(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /* 16 bytes: 22 characters, the last of which has 2 bits, and the padding */
    return strlen(key) == WS_KEY_SIZE - 1 && strspn(key, alphabet) == 22 &&
           strcmp(key + 22, "==") == 0 && (strchr(alphabet, key[21]) - alphabet) % 16 == 0;
}

void
ws_key(const uint8_t random[16], char ret[WS_KEY_SIZE])
{
    EVP_EncodeBlock((unsigned char *)ret, random, 16);
}

void
ws_accept(const char *key, char ret[WS_ACCEPT_SIZE])
{
    char text[WS_KEY_SIZE + sizeof(GUID)];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    snprintf(text, sizeof(text), "%.24s" GUID, key);
    if (!EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL))
        abort();
    EVP_EncodeBlock((unsigned char *)ret, digest, (int)n);
}

/* --- reading --- */
void
ws_reader_init(struct ws_reader *r, bool from_client)
{
    *r = (struct ws_reader){.from_client = from_client};
}

static int
refuse(struct err *err, unsigned *ret_status, unsigned status, const char *text)
{
    *ret_status = status;
    return err_set(err, -EPROTO, "%s", text);
}

int
ws_read(struct ws_reader *r, uint8_t *buf, size_t len, size_t *ret_used, struct ws_event *ret,
        unsigned *ret_status, struct err *err)
{
    size_t at = 0;

    *ret = (struct ws_event){0};
    *ret_used = 0;
    while (r->state != WS_READ_CLOSED) {
        if (r->state == WS_READ_HEAD) {
            size_t want = head_wanted(r) - r->head_len, n = len - at < want ? len - at : want;

            memcpy(r->head + r->head_len, buf + at, n);
            r->head_len += n;
            at += n;
            if (n < want)
                break;
            if (head_wanted(r) > r->head_len)
                continue;
            if (read_head(r, ret_status, err) != 0)
                return -EPROTO;
        }

        size_t n = len - at < r->left ? len - at : (size_t)r->left;
        uint8_t *p = buf + at;

        if (r->from_client) {
            ws_mask(p, n, r->mask, r->mask_at);
            r->mask_at = (r->mask_at + n) % 4;
        }
        at += n;
        r->left -= n;
        if (r->opcode & IS_CONTROL) {
            memcpy(r->control + r->control_len, p, n);
            r->control_len += n;
        }
        if (r->left == 0) {
            r->state = WS_READ_HEAD;
            r->head_len = 0;
            if (r->opcode & IS_CONTROL) {
                *ret_used = at;
                return end_control(r, ret, ret_status, err);
            }
            r->in_message = !r->fin;
        }
        if (n > 0 && !(r->opcode & IS_CONTROL)) {
            *ret = (struct ws_event){.kind = WS_EVENT_DATA, .data = p, .len = n};
            break;
        }
        if (at == len && r->state == WS_READ_PAYLOAD)
            break;
    }
    *ret_used = r->state == WS_READ_CLOSED ? len : at;
    return 0;
}

/* How long the head is, as far as it can be known by now. */
static size_t
head_wanted(const struct ws_reader *r)
{
    size_t n = 2;

    if (r->head_len < 2)
        return n;
    if ((r->head[1] & 0x7f) == 126)
        n += 2;
    else if ((r->head[1] & 0x7f) == 127)
        n += 8;
    return n + (r->head[1] & 0x80 ? 4 : 0);
}

static int
read_head(struct ws_reader *r, unsigned *ret_status, struct err *err)
{
    const uint8_t *p = r->head + 2;
    unsigned opcode = r->head[0] & 0x0f, len7 = r->head[1] & 0x7f;
    bool fin = r->head[0] & 0x80, masked = r->head[1] & 0x80;
    uint64_t len = len7;
    unsigned more = len7 == 126 ? 2 : len7 == 127 ? 8 : 0;

    if (more) {
        len = 0;
        for (unsigned i = 0; i < more; i++)
            len = len << 8 | *p++;
    }
    if (r->head[0] & 0x70)
        return refuse(err, ret_status, WS_PROTOCOL_ERROR, "a frame has a reserved bit");
    if (masked != r->from_client)
        return refuse(err, ret_status, WS_PROTOCOL_ERROR,
                      r->from_client ? "a client's frame is not masked"
                                     : "a server's frame is masked");
    if (opcode != WS_CONTINUATION && opcode != WS_TEXT && opcode != WS_BINARY &&
        opcode != WS_CLOSE && opcode != WS_PING && opcode != WS_PONG)
        return refuse(err, ret_status, WS_PROTOCOL_ERROR, "a frame has a reserved opcode");
    if ((more == 2 && len < 126) || (more == 8 && len <= UINT16_MAX))
        return refuse(err, ret_status, WS_PROTOCOL_ERROR,
                      "a frame's length is written longer than needed");
    if (len > WS_MAX_FRAME_BYTES)
        return refuse(err, ret_status, WS_TOO_BIG, "a frame is longer than 1 MiB");
    if (opcode & IS_CONTROL) {
        if (!fin || len > WS_CONTROL_MAX)
            return refuse(err, ret_status, WS_PROTOCOL_ERROR,
                          "a control frame is fragmented, or longer than 125 bytes");
        r->control_len = 0;
    } else if ((opcode == WS_CONTINUATION) != r->in_message) {
        return refuse(err, ret_status, WS_PROTOCOL_ERROR,
                      r->in_message ? "a message begins within another"
                                    : "a fragment belongs to no message");
    }
    r->opcode = opcode;
    r->fin = fin;
    r->left = len;
    r->mask_at = 0;
    if (masked)
        memcpy(r->mask, p, 4);
    r->state = WS_READ_PAYLOAD;
    return 0;
}

/* Section 7.4: which may stand in a close frame. */
static bool
status_valid(unsigned s)
{
    return (s >= 1000 && s <= 1014 && s != 1004 && s != WS_NO_STATUS && s != 1006) ||
           (s >= 3000 && s <= 4999);
}

/* A control frame is complete. */
static int
end_control(struct ws_reader *r, struct ws_event *ret, unsigned *ret_status, struct err *err)
{
    *ret = (struct ws_event){
        .kind = r->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
        .data = r->control,
        .len = r->control_len,
    };
    if (r->opcode != WS_CLOSE)
        return 0;
    r->state = WS_READ_CLOSED;
    ret->kind = WS_EVENT_CLOSE;
    ret->status = WS_NO_STATUS;
    if (r->control_len == 0)
        return 0;
    ret->status = r->control_len == 1 ? 0 : (unsigned)r->control[0] << 8 | r->control[1];
    if (!status_valid(ret->status))
        return refuse(err, ret_status, WS_PROTOCOL_ERROR, "a close frame has a bad status");
    ret->data += 2;
    ret->len -= 2;
    return 0;
}

/* --- writing --- */
size_t
ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len, const uint8_t *mask)
{
    unsigned more = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    size_t n = 2;

    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)((mask ? 0x80 : 0) | (more == 0 ? len : more == 2 ? 126 : 127));
    while (more > 0)
        out[n++] = (uint8_t)((uint64_t)len >> 8 * --more);
    if (mask) {
        memcpy(out + n, mask, 4);
        n += 4;
    }
    return n;
}

void
ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t at)
{
    for (size_t i = 0; i < len; i++)
        data[i] ^= mask[(at + i) % 4];
}

size_t
ws_close_payload(uint8_t out[WS_CONTROL_MAX], unsigned status, const char *reason)
{
    size_t n = strlen(reason);

    if (n > WS_CONTROL_MAX - 2)
        n = WS_CONTROL_MAX - 2;
    out[0] = (uint8_t)(status >> 8);
    out[1] = (uint8_t)status;
    memcpy(out + 2, reason, n);
    return n + 2;
}
