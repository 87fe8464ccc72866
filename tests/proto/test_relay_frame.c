/* Frames of a relay: there and back, and what is refused. With DROVER_SEEDS=DIR set, writes one of
 * each there as fuzz seeds first (tests/fuzz/corpus). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/sb.h"
#include "proto/relay_frame.h"
#include "proto/sum.h"
#include "proto/wire.h"

static const struct relay_hello hello = {.kind = RELAY_DATA,
                                         .urgent = true,
                                         .index = 3,
                                         .session = 0x0123456789abcdef,
                                         .generation = 42,
                                         .vmi_uid = "0b6a9a3e-vmi",
                                         .migration_uid = "77aa-migration"};

static void
hello_there_and_back(void **state)
{
    uint8_t buf[RELAY_FRAME_HELLO_SIZE];
    struct relay_hello h;

    (void)state;
    relay_frame_encode_hello(buf, &hello);
    assert_true(relay_frame_is_hello(buf));
    assert_int_equal(relay_frame_decode_hello(buf, &h, NULL), 0);
    assert_int_equal(h.kind, hello.kind);
    assert_true(h.urgent);
    assert_int_equal(h.index, 3);
    assert_true(h.session == hello.session);
    assert_int_equal(h.generation, 42);
    assert_string_equal(h.vmi_uid, hello.vmi_uid);
    assert_string_equal(h.migration_uid, hello.migration_uid);
}

static void
no_bit_of_a_hello_may_flip(void **state)
{
    uint8_t buf[RELAY_FRAME_HELLO_SIZE];
    struct relay_hello h;
    struct err err = {0};

    (void)state;
    relay_frame_encode_hello(buf, &hello);
    for (size_t i = 0; i < sizeof buf * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(relay_frame_decode_hello(buf, &h, &err), -EPROTO);
        assert_true(err.msg[0]);
        buf[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

/* What a peer that knows the sum may write. */
static const struct {
    const char *name;
    size_t at;
    uint8_t byte;
    const char *text;
} hellos[] = {
    {"kind 0", 5, 0, "kind 0"},
    {"kind 4", 5, 4, "kind 4"},
    {"an unknown flag", 6, 2, "flags 0x2"},
    {"the reserved word", 12, 1, "reserved 0x1"},
    {"version 0", 4, 0, "version 0"},
    {"version 9", 4, 9, "version 9"},
    {"no VMI", 32, 0, "an empty uid"},
    {"no migration", 96, 0, "an empty uid"},
    {"a uid without an end", 95, 'x', "vmi_uid without an end"},
    {"a uid with an escape", 33, '\033', "vmi_uid with unprintable"},
    {"a uid with a delete", 97, 0x7f, "migration_uid with unprintable"},
};

static void
hellos_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hellos); i++) {
        uint8_t buf[RELAY_FRAME_HELLO_SIZE];
        struct relay_hello h;
        struct err err = {0};

        relay_frame_encode_hello(buf, &hello);
        buf[hellos[i].at] = hellos[i].byte;
        wire_put64(buf + sizeof buf - 8, sum_bytes(buf, sizeof buf - 8, 0));
        if (relay_frame_decode_hello(buf, &h, &err) != -EPROTO || !strstr(err.msg, hellos[i].text))
            fail_msg("%s: '%s'", hellos[i].name, err.msg);
    }
}

static void
answers(void **state)
{
    uint8_t buf[RELAY_FRAME_ANSWER_SIZE];
    char text[RELAY_FRAME_TEXT_SIZE], huge[1000];
    enum relay_answer a;
    struct err err = {0};

    (void)state;
    relay_frame_encode_answer(buf, RELAY_ANSWER_REFUSED, "because");
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, NULL), 0);
    assert_int_equal(a, RELAY_ANSWER_REFUSED);
    assert_string_equal(text, "because");
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    relay_frame_encode_answer(buf, RELAY_ANSWER_REFUSED, huge);
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, NULL), 0);
    assert_int_equal(strlen(text), RELAY_FRAME_TEXT_SIZE - 1);
    buf[RELAY_FRAME_ANSWER_SIZE - 1] = 'x';
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, &err), -EPROTO);
    relay_frame_encode_answer(buf, RELAY_ANSWER_OK, "a\nb");
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, &err), -EPROTO);
    relay_frame_encode_answer(buf, 3, "");
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, &err), -EPROTO);
    buf[0] = 'X';
    assert_int_equal(relay_frame_decode_answer(buf, &a, text, &err), -EPROTO);
}

static const struct {
    struct relay_frame f;
    uint32_t last;
    const char *text; /* NULL: it is fine */
} frames[] = {
    {{RELAY_FRAME_MESSAGE, 1, 1}, 0, NULL},
    {{RELAY_FRAME_MESSAGE, RELAY_MAX_MESSAGE, 8}, 7, NULL},
    {{RELAY_FRAME_HEARTBEAT, 0, 7}, 7, NULL},
    {{RELAY_FRAME_MESSAGE, 0, 1}, 0, "message of 0 bytes"},
    {{RELAY_FRAME_MESSAGE, RELAY_MAX_MESSAGE + 1, 1}, 0, "message of 262145 bytes"},
    {{RELAY_FRAME_MESSAGE, UINT32_MAX, 1}, 0, "message of 4294967295 bytes"},
    {{RELAY_FRAME_HEARTBEAT, 1, 0}, 0, "heartbeat of 1 bytes"},
    {{RELAY_FRAME_MESSAGE, 5, 1}, 1, "message 1 after message 1"},
    {{RELAY_FRAME_MESSAGE, 5, 3}, 1, "message 3 after message 1"},
    {{RELAY_FRAME_HEARTBEAT, 0, 3}, 2, "message 3 after message 2"},
    {{3, 0, 0}, 0, "unknown frame type 3"},
    {{0, 0, 0}, 0, "unknown frame type 0"},
};

static void
frames_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        uint8_t buf[RELAY_FRAME_HEADER_SIZE];
        struct relay_frame f = {0};
        struct err err = {0};
        int rc;

        relay_frame_encode(buf, &frames[i].f);
        rc = relay_frame_decode(buf, frames[i].last, &f, &err);
        if (frames[i].text ? rc != -EPROTO || !strstr(err.msg, frames[i].text) : rc != 0)
            fail_msg("row %zu: %d '%s'", i, rc, err.msg);
        if (rc == 0)
            assert_int_equal(f.length, frames[i].f.length);
    }
}

static void
write_seed(const char *dir, const char *name, const void *buf, size_t len)
{
    AUTO_FREE char *path = xasprintf("%s/relay/%s", dir, name);

    if (fs_replace(path, buf, len, 0644, NULL) != 0)
        exit(1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_there_and_back), cmocka_unit_test(no_bit_of_a_hello_may_flip),
        cmocka_unit_test(hellos_refused),       cmocka_unit_test(answers),
        cmocka_unit_test(frames_checked),
    };
    const char *seeds = getenv("DROVER_SEEDS");
    uint8_t buf[RELAY_FRAME_ANSWER_SIZE];

    if (seeds) {
        AUTO_FREE char *dir = xasprintf("%s/relay", seeds);

        if (fs_mkdirs(dir, 0755, NULL) != 0)
            return 1;
        relay_frame_encode_hello(buf, &hello);
        write_seed(seeds, "hello", buf, RELAY_FRAME_HELLO_SIZE);
        relay_frame_encode_answer(buf, RELAY_ANSWER_REFUSED, "another generation is expected");
        write_seed(seeds, "answer", buf, RELAY_FRAME_ANSWER_SIZE);
        relay_frame_encode(buf, &frames[0].f);
        write_seed(seeds, "message", buf, RELAY_FRAME_HEADER_SIZE);
        relay_frame_encode(buf, &(struct relay_frame){RELAY_FRAME_HEARTBEAT, 0, 1});
        write_seed(seeds, "heartbeat", buf, RELAY_FRAME_HEADER_SIZE);
    }
    return cmocka_run_group_tests_name("relay frames", tests, NULL, NULL);
}
