/* Frames of RFC 6455: the handshake's example, what is read however it is cut, and what is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "proto/websocket.h"

static void
test_key(void **state)
{
    static const struct {
        const char *key;
        bool valid;
    } rows[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", true}, /* section 1.3 */
        {"AAAAAAAAAAAAAAAAAAAAAA==", true},  {"", false},
        {"dGhlIHNhbXBsZSBub25jZQ=", false},  {"dGhlIHNhbXBsZSBub25jZQ===", false},
        {"dGhlIHNhbXBsZSBub25jZR==", false}, /* bits beyond the 16 bytes */
        {"dGhlIHNhbXBsZSBub25j!Q==", false}, {"dGhlIHNhbXBsZSBub25jZQAA", false},
    };
    uint8_t sample[16];
    char key[WS_KEY_SIZE], accept[WS_ACCEPT_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (ws_key_valid(rows[i].key) != rows[i].valid)
            fail_msg("%s", rows[i].key);
    ws_accept("dGhlIHNhbXBsZSBub25jZQ==", accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    memcpy(sample, "the sample nonce", 16);
    ws_key(sample, key);
    assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ==");
}

/* Reads all of `in`, cut into pieces of `step`; what happened as text, up to the first refusal. */
static void
read_all(bool from_client, const char *in, size_t len, size_t step, struct sb *out)
{
    struct ws_reader r;

    ws_reader_init(&r, from_client);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < step ? len - at : step, used;
        AUTO_FREE uint8_t *exact = xmalloc(n); /* reading past the piece is seen */
        struct ws_event ev;
        struct err err = {0};
        unsigned status = 0;

        memcpy(exact, in + at, n);
        if (ws_read(&r, exact, n, &used, &ev, &status, &err) != 0) {
            sb_printf(out, "[%u %s]", status, err_msg(&err));
            return;
        }
        at += used;
        assert_true(used > 0 && used <= n);
        if (ev.kind == WS_EVENT_DATA)
            sb_add(out, ev.data, ev.len);
        else if (ev.kind == WS_EVENT_PING)
            sb_printf(out, "[ping %.*s]", (int)ev.len, (const char *)ev.data);
        else if (ev.kind == WS_EVENT_PONG)
            sb_printf(out, "[pong %.*s]", (int)ev.len, (const char *)ev.data);
        else if (ev.kind == WS_EVENT_CLOSE)
            sb_printf(out, "[close %u %.*s]", ev.status, (int)ev.len, (const char *)ev.data);
    }
}

#define HELLO "Hello"
/* section 5.7: "Hello", masked */
#define MASKED "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
#define M      "\0\0\0\0" /* a mask that changes nothing */

static void
test_read(void **state)
{
    static const struct {
        const char *name;
        bool from_client;
        const char *in;
        size_t len;
        const char *want;
    } rows[] = {
#define ROW(name, from_client, in, want) {name, from_client, in, sizeof(in) - 1, want}
        ROW("text", false, "\x81\x05Hello", "Hello"),
        ROW("masked", true, MASKED, "Hello"),
        ROW("twice", true, MASKED MASKED, "HelloHello"),
        ROW("fragments", false, "\x01\x03Hel\x80\x02lo", "Hello"),
        ROW("a ping within fragments", false, "\x01\x03Hel\x89\x05Hello\x80\x02lo",
            "Hel[ping Hello]lo"),
        ROW("binary, of which more is to come", false,
            "\x82\x7e\x00\x7e"
            "0123456789abcdef",
            "0123456789abcdef"),
        ROW("empty", false, "\x82\x00\x82\x02ok", "ok"),
        ROW("an empty fragment at the end", false, "\x02\x02ok\x80\x00\x82\x01!", "ok!"),
        ROW("ping without a word", true, "\x89\x80" M, "[ping ]"),
        ROW("pong", true, "\x8a\x82" M "hi", "[pong hi]"),
        ROW("close without a status", true, "\x88\x80" M, "[close 1005 ]"),
        ROW("close", true,
            "\x88\x85" M "\x03\xe8"
            "bye",
            "[close 1000 bye]"),
        ROW("close of an application", true, "\x88\x82" M "\x0f\xa0", "[close 4000 ]"),
        ROW("nothing after a close", true,
            "\x88\x82" M "\x03\xe8"
            "\xff\xff",
            "[close 1000 ]"),
        ROW("not masked", true, "\x81\x05Hello", "[1002 a client's frame is not masked]"),
        ROW("masked by a server", false, MASKED, "[1002 a server's frame is masked]"),
        ROW("reserved bit", false, "\xc1\x05Hello", "[1002 a frame has a reserved bit]"),
        ROW("reserved opcode", false, "\x83\x05Hello", "[1002 a frame has a reserved opcode]"),
        ROW("reserved control opcode", false, "\x8b\x00", "[1002 a frame has a reserved opcode]"),
        ROW("a long length for a short frame", false, "\x82\x7e\x00\x05Hello",
            "[1002 a frame's length is written longer than needed]"),
        ROW("a very long length for a frame", false, "\x82\x7f\0\0\0\0\0\0\xff\xff",
            "[1002 a frame's length is written longer than needed]"),
        ROW("the longest", false, "\x82\x7f\0\0\0\0\0\x10\0\0ok", "ok"),
        ROW("too long", false, "\x82\x7f\0\0\0\0\0\x10\0\1", "[1009 a frame is longer than 1 MiB]"),
        ROW("far too long", false, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
            "[1009 a frame is longer than 1 MiB]"),
        ROW("a ping of 126 bytes", false, "\x89\x7e\x00\x7e",
            "[1002 a control frame is fragmented, or longer than 125 bytes]"),
        ROW("a fragmented close", true, "\x08\x80" M,
            "[1002 a control frame is fragmented, or longer than 125 bytes]"),
        ROW("a fragment of nothing", false, "\x80\x02lo",
            "[1002 a fragment belongs to no message]"),
        ROW("a message within one", false, "\x01\x03Hel\x81\x02lo",
            "Hel[1002 a message begins within another]"),
        ROW("half a status", true, "\x88\x81" M "\x03", "[1002 a close frame has a bad status]"),
        ROW("a status that is never sent", true, "\x88\x82" M "\x03\xed",
            "[1002 a close frame has a bad status]"),
        ROW("a status of nobody", true, "\x88\x82" M "\x00\x01",
            "[1002 a close frame has a bad status]"),
#undef ROW
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].len; step++) {
            AUTO_SB struct sb out = SB_INIT;

            read_all(rows[i].from_client, rows[i].in, rows[i].len, step, &out);
            if (strcmp(sb_str(&out), rows[i].want) != 0)
                fail_msg("%s, in pieces of %zu: %s", rows[i].name, step, sb_str(&out));
        }
    }
}

/* What ws_head writes, ws_read reads: at each length where the head changes its form. */
static void
test_there_and_back(void **state)
{
    static const size_t lens[] = {0, 1, 125, 126, 127, 65535, 65536, WS_MAX_FRAME_BYTES};
    static const uint8_t mask[4] = {1, 0xff, 0x80, 7};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        for (int client = 0; client <= 1; client++) {
            AUTO_SB struct sb frame = SB_INIT, out = SB_INIT, want = SB_INIT;
            uint8_t head[WS_HEAD_MAX];

            sb_add(&frame, head, ws_head(head, WS_BINARY, lens[i], client ? mask : NULL));
            for (size_t k = 0; k < lens[i]; k++)
                sb_putc(&want, (char)(k * 7 + 1));
            sb_add(&frame, sb_str(&want), want.len);
            if (client && lens[i] > 0) {
                uint8_t *p = (uint8_t *)frame.buf + frame.len - lens[i];

                ws_mask(p, lens[i] / 3, mask, 0); /* in two pieces */
                ws_mask(p + lens[i] / 3, lens[i] - lens[i] / 3, mask, lens[i] / 3);
            }
            read_all(client, frame.buf, frame.len, 4093, &out);
            assert_int_equal(out.len, want.len);
            assert_memory_equal(sb_str(&out), sb_str(&want), want.len);
        }
    }
}

static void
test_close_payload(void **state)
{
    uint8_t out[WS_CONTROL_MAX];
    char reason[300];

    (void)state;
    assert_int_equal(ws_close_payload(out, 1001, "gone"), 6);
    assert_memory_equal(out, "\x03\xe9gone", 6);
    memset(reason, 'x', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    assert_int_equal(ws_close_payload(out, 1001, reason), WS_CONTROL_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_close_payload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
