/* The control codec: every message there and back, and everything that must be refused. With
 * DROVER_SEEDS=DIR set, writes the samples there as fuzz seeds first (tests/fuzz/corpus). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"
#include "tests/proto/samples.h"

static int
decode(const struct sb *in, struct control_msg *ret, struct err *err)
{
    struct control_header h;
    int rc;

    assert_true(in->len >= CONTROL_HEADER_SIZE);
    rc = control_decode_header((const uint8_t *)in->buf, &h, err);
    if (rc != 0)
        return rc;
    assert_true(in->len >= CONTROL_HEADER_SIZE + h.length);
    /* a buffer of exactly the length, so that a sanitizer sees what reads beyond it */
    AUTO_FREE uint8_t *exact = xmalloc(h.length + 1);

    memcpy(exact, in->buf + CONTROL_HEADER_SIZE, h.length);
    return control_decode(&h, exact, ret, err);
}

static void
there_and_back(const struct control_msg *m, struct control_msg *ret)
{
    AUTO_SB struct sb out = SB_INIT;
    struct err err = {0};

    control_encode(&out, m);
    if (decode(&out, ret, &err) != 0)
        fail_msg("%s: %s", control_type_name(m->type), err_msg(&err));
}

static void
test_there_and_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SAMPLES_CONTROL; i++) {
        AUTO_SB struct sb out = SB_INIT, again = SB_INIT;
        struct control_msg in, back;
        struct err err = {0};

        samples_control(i, &in);
        control_encode(&out, &in);
        if (decode(&out, &back, &err) != 0)
            fail_msg("%s: %s", control_type_name(in.type), err_msg(&err));
        assert_int_equal(back.type, in.type);
        assert_int_equal(back.generation, 7);
        control_encode(&again, &back);
        assert_int_equal(again.len, out.len);
        assert_memory_equal(again.buf, out.buf, out.len);
        control_msg_done(&back);
    }
}

static void
test_fields(void **state)
{
    AUTO_SB struct sb out = SB_INIT;
    struct control_msg in, back;

    (void)state;
    samples_control(CONTROL_HELLO - 1, &in);
    control_encode(&out, &in);
    assert_int_equal(decode(&out, &back, NULL), 0);
    assert_string_equal(back.hello.vmi_uid, "4b1c1f6e-0c0e-4a35-9d5e-1a2b3c4d5e6f");
    assert_string_equal(back.hello.migration_uid, "m-1");
    assert_int_equal(back.hello.regions_len, 2);
    assert_int_equal(back.hello.regions[0].size_bytes, 3u << 20);
    assert_int_equal(back.hello.channels, 3);
    sb_reset(&out);
    samples_control(CONTROL_ROUND_DONE - 1, &in);
    control_encode(&out, &in);
    assert_int_equal(decode(&out, &back, NULL), 0);
    assert_int_equal(back.round_done.bad_len, 2);
    assert_int_equal(back.round_done.bad[1].pages, 512);
    control_msg_done(&back);
}

/* --- what must be refused --- */

/* A frame that is changed before it is decoded. */
struct refused {
    const char *name;
    enum control_type type;
    void (*change)(struct control_msg *m, struct sb *out);
    bool before; /* change the message, not the frame */
    const char *text;
};

static void
put_sum(struct sb *out)
{
    const struct control_header h = {.type = wire_get16(out->buf + 6),
                                     .version = wire_get16(out->buf + 4),
                                     .length = wire_get32(out->buf + 8),
                                     .generation = wire_get64(out->buf + 16)};

    wire_put32(out->buf + 12, control_sum(&h, (uint8_t *)out->buf + CONTROL_HEADER_SIZE));
}

#define FRAME_CHANGE(name, code)                          \
    static void name(struct control_msg *m, struct sb *o) \
    {                                                     \
        (void)m;                                          \
        code;                                             \
    }
#define MSG_CHANGE(name, code)                            \
    static void name(struct control_msg *m, struct sb *o) \
    {                                                     \
        (void)o;                                          \
        code;                                             \
    }

FRAME_CHANGE(magic, o->buf[0] ^= 1)
FRAME_CHANGE(version0, wire_put16(o->buf + 4, 0))
FRAME_CHANGE(version9, wire_put16(o->buf + 4, 9))
FRAME_CHANGE(type0, wire_put16(o->buf + 6, 0))
FRAME_CHANGE(type24, wire_put16(o->buf + 6, 24))
FRAME_CHANGE(type_max, wire_put16(o->buf + 6, 0xffff))
FRAME_CHANGE(length_over, wire_put32(o->buf + 8, CONTROL_MAX_PAYLOAD + 1))
FRAME_CHANGE(length_max, wire_put32(o->buf + 8, UINT32_MAX))
FRAME_CHANGE(sum, o->buf[12] ^= 1)
FRAME_CHANGE(payload, o->buf[CONTROL_HEADER_SIZE] ^= 1)
FRAME_CHANGE(shorter, wire_put32(o->buf + 8, wire_get32(o->buf + 8) - 1); o->len--; put_sum(o))
FRAME_CHANGE(garbage, memset(o->buf + CONTROL_HEADER_SIZE, 0xff, o->len - CONTROL_HEADER_SIZE);
             put_sum(o))

MSG_CHANGE(window_empty, static struct control_window w; m->windows.windows = &w;
           m->windows.len = 1)
MSG_CHANGE(window_wraps, static struct control_window w; w.first_page = 2; w.pages = UINT64_MAX;
           m->windows.windows = &w; m->windows.len = 1)
MSG_CHANGE(no_region, m->hello.regions_len = 0)
MSG_CHANGE(size0, m->hello.regions[0].size_bytes = 0)
MSG_CHANGE(size_odd, m->hello.regions[1].size_bytes = 4097)
MSG_CHANGE(size_max, m->hello.regions[1].size_bytes = UINT64_MAX & ~4095ull)
MSG_CHANGE(page_2m, m->hello.regions[0].page_bytes = 2u << 20)
MSG_CHANGE(channels0, m->hello.channels = 0)
MSG_CHANGE(channels65, m->hello.channels = 65)
MSG_CHANGE(stripe, m->hello.stripe_bytes = 4096)
MSG_CHANGE(versions, m->hello.version_min = 4)
MSG_CHANGE(uid_empty, m->hello.vmi_uid[0] = 0)
MSG_CHANGE(uid_blank, m->hello.vmi_uid[3] = ' ')
MSG_CHANGE(uid_control, m->hello.migration_uid[0] = '\n')
MSG_CHANGE(accept_version, m->accept.version = 2)
MSG_CHANGE(round0, m->round_begin.round = 0)
MSG_CHANGE(end_round0, m->round_end.round = 0)
MSG_CHANGE(end_no_channels, m->round_end.channels = 0)
MSG_CHANGE(done_round0, m->round_done.round = 0)
MSG_CHANGE(state_empty, m->state.len = 0)
MSG_CHANGE(state_far, m->state.offset = CONTROL_MAX_STATE)
MSG_CHANGE(state_wrap, m->state.offset = UINT64_MAX)
MSG_CHANGE(epoch0, m->hello.epoch = 0)
MSG_CHANGE(resume_first, m->hello.epoch = 1)
MSG_CHANGE(serve_first, m->hello.serve = true; m->hello.resume = false; m->hello.epoch = 1)
MSG_CHANGE(serve_slowly, m->hello.serve = true; m->hello.urgent = false)
MSG_CHANGE(missing_odd, m->missing.first_page = 65)
MSG_CHANGE(missing_nothing, m->missing.words = 0; m->missing.last = false)
MSG_CHANGE(finish_round0, m->finish.round = 0; m->finish.post_copy = false)
MSG_CHANGE(finish_state, m->finish.state_bytes = CONTROL_MAX_STATE + 1)
MSG_CHANGE(answer0, m->text.code = 0)
MSG_CHANGE(answer5, m->text.code = 5)
MSG_CHANGE(error8, m->text.code = 8)
MSG_CHANGE(error_negative, m->text.code = -1)

static const struct refused refused[] = {
    {"wrong magic", CONTROL_HELLO, magic, false, "not a drover stream"},
    {"version 0", CONTROL_HELLO, version0, false, "version 0"},
    {"version 9", CONTROL_HELLO, version9, false, "version 9"},
    {"type 0", CONTROL_HELLO, type0, false, "type 0"},
    {"type 24", CONTROL_HELLO, type24, false, "type 24"},
    {"type 65535", CONTROL_HELLO, type_max, false, "type 65535"},
    {"length over the limit", CONTROL_HELLO, length_over, false, "at most"},
    {"length of 4 GiB", CONTROL_HELLO, length_max, false, "at most"},
    {"bad checksum", CONTROL_HELLO, sum, false, "bad checksum"},
    {"flipped payload", CONTROL_HELLO, payload, false, "bad checksum"},
    {"truncated message", CONTROL_HELLO, shorter, false, "HELLO"},
    {"garbage", CONTROL_HELLO, garbage, false, "cannot be unpacked"},
    {"no region", CONTROL_HELLO, no_region, true, "0 memory regions"},
    {"region of 0 bytes", CONTROL_HELLO, size0, true, "0 bytes"},
    {"region of 4097 bytes", CONTROL_HELLO, size_odd, true, "4097 bytes"},
    {"region of 2^64 bytes", CONTROL_HELLO, size_max, true, "multiple of"},
    {"pages of 2 MiB", CONTROL_HELLO, page_2m, true, "pages of 2097152"},
    {"no channel", CONTROL_HELLO, channels0, true, "0 channels"},
    {"65 channels", CONTROL_HELLO, channels65, true, "65 channels"},
    {"stripes of another size", CONTROL_HELLO, stripe, true, "stripes of 4096"},
    {"versions upside down", CONTROL_HELLO, versions, true, "versions 4 to 3"},
    {"empty uid", CONTROL_HELLO, uid_empty, true, "0 characters"},
    {"uid with a blank", CONTROL_HELLO, uid_blank, true, "character 0x20"},
    {"uid with a newline", CONTROL_HELLO, uid_control, true, "character 0x0a"},
    {"connection 0", CONTROL_HELLO, epoch0, true, "connection 0"},
    {"resume on the first connection", CONTROL_HELLO, resume_first, true, "connection 1"},
    {"serve on the first connection", CONTROL_HELLO, serve_first, true, "serve 1"},
    {"serve without the urgent channel", CONTROL_HELLO, serve_slowly, true, "serve 1"},
    {"missing from page 65", CONTROL_MISSING, missing_odd, true, "page 65"},
    {"missing nothing", CONTROL_MISSING, missing_nothing, true, "0 bytes of bitmap"},
    {"a window of nothing", CONTROL_WINDOWS, window_empty, true, "0 pages"},
    {"a window behind all numbers", CONTROL_WINDOWS_WANTED, window_wraps, true, "pages from page"},
    {"unknown version accepted", CONTROL_ACCEPT, accept_version, true, "version 2"},
    {"round 0 begins", CONTROL_ROUND_BEGIN, round0, true, "round 0"},
    {"round 0 ends", CONTROL_ROUND_END, end_round0, true, "round 0"},
    {"round of no channels", CONTROL_ROUND_END, end_no_channels, true, "0 channels"},
    {"round 0 done", CONTROL_ROUND_DONE, done_round0, true, "round 0"},
    {"no state in a piece", CONTROL_STATE, state_empty, true, "0 bytes"},
    {"state beyond the limit", CONTROL_STATE, state_far, true, "more than"},
    {"state at 2^64", CONTROL_STATE, state_wrap, true, "more than"},
    {"finish in round 0", CONTROL_FINISH, finish_round0, true, "round 0"},
    {"finish with too much state", CONTROL_FINISH, finish_state, true, "at most"},
    {"answer 0", CONTROL_ANSWER, answer0, true, "guest state 0"},
    {"answer 5", CONTROL_ANSWER, answer5, true, "guest state 5"},
    {"error 8", CONTROL_ERROR, error8, true, "error code 8"},
    {"error -1", CONTROL_ERROR, error_negative, true, "error code -1"},
};

static void
test_refused(void **state)
{
    const struct refused *r = *state;
    AUTO_SB struct sb out = SB_INIT;
    struct control_msg m, back;
    struct err err = {0};

    samples_control((unsigned)r->type - 1, &m);
    if (r->before)
        r->change(&m, &out);
    control_encode(&out, &m);
    if (!r->before)
        r->change(&m, &out);
    assert_int_equal(decode(&out, &back, &err), -EPROTO);
    if (!strstr(err_msg(&err), r->text))
        fail_msg("'%s' does not say '%s'", err_msg(&err), r->text);
}

/* One bit of any frame: never another message. ABORT and COMMIT, HEARTBEAT and RUNNING have types
 * that differ in one bit, and most of them have no payload. */
static void
test_no_bit_may_flip(void **state)
{
    static const uint8_t behind[CONTROL_MAX_PAYLOAD]; /* where the length is what flips */

    (void)state;
    for (unsigned i = 0; i < SAMPLES_CONTROL; i++) {
        AUTO_SB struct sb out = SB_INIT;
        struct control_msg m, back;
        size_t bits;

        samples_control(i, &m);
        if (m.type == CONTROL_ABORT)
            m.text.text[0] = '\0';
        control_encode(&out, &m);
        bits = out.len * 8;
        sb_add(&out, behind, sizeof behind);
        for (size_t bit = 0; bit < bits; bit++) {
            out.buf[bit / 8] ^= (char)(1 << bit % 8);
            if (decode(&out, &back, NULL) != -EPROTO)
                fail_msg("%s, bit %zu: taken", control_type_name(m.type), bit);
            out.buf[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
}

/* Hand-made protobuf: what our own encoder would never write. */
static void
refuse_payload(enum control_type type, const void *payload, size_t len, const char *text)
{
    struct control_header h = {.type = type, .version = 1, .length = (uint32_t)len};
    struct control_msg m;
    struct err err = {0};

    h.sum = control_sum(&h, payload);
    assert_int_equal(control_decode(&h, payload, &m, &err), -EPROTO);
    if (!strstr(err_msg(&err), text))
        fail_msg("'%s' does not say '%s'", err_msg(&err), text);
}

/* The messages of a full verification. */
static void
test_digests(void **state)
{
    uint64_t sums[] = {1, UINT64_MAX, 0, 7};
    struct control_bad_run bad[] = {{.offset = 2u << 20, .region = 1, .pages = 512}};
    struct control_msg m = {
        .type = CONTROL_DIGESTS,
        .generation = 7,
        .digests = {.round = 4, .first_stripe = 1ull << 33, .len = 4, .sums = sums}};
    struct control_msg back;

    (void)state;
    there_and_back(&m, &back);
    assert_int_equal(back.digests.round, 4);
    assert_int_equal(back.digests.first_stripe, 1ull << 33);
    assert_int_equal(back.digests.len, 4);
    assert_memory_equal(back.digests.sums, sums, sizeof sums);
    control_msg_done(&back);
    m.digests.len = 0;
    there_and_back(&m, &back);
    assert_int_equal(back.digests.len, 0);
    control_msg_done(&back);
    m = (struct control_msg){.type = CONTROL_COMPARED,
                             .generation = 7,
                             .round_done = {.round = 4, .bad_len = 1, .more = true, .bad = bad}};
    there_and_back(&m, &back);
    assert_int_equal(back.type, CONTROL_COMPARED);
    assert_int_equal(back.round_done.bad_len, 1);
    assert_int_equal(back.round_done.bad[0].offset, 2u << 20);
    assert_true(back.round_done.more);
    control_msg_done(&back);
}

static void
test_too_many(void **state)
{
    uint8_t buf[2 * (CONTROL_MAX_BAD_RUNS + 2)];

    (void)state;
    /* field 6 of Hello, empty, 17 times */
    for (int i = 0; i < 17; i++) {
        buf[2 * i] = 6 << 3 | 2;
        buf[2 * i + 1] = 0;
    }
    refuse_payload(CONTROL_HELLO, buf, 34, "17 regions");
    buf[0] = 1 << 3;
    buf[1] = 1; /* round 1 */
    for (int i = 1; i < 66; i++)
        buf[2 * i] = 2 << 3 | 2, buf[2 * i + 1] = 0;
    refuse_payload(CONTROL_ROUND_END, buf, 132, "65 channels");
    for (int i = 1; i < CONTROL_MAX_BAD_RUNS + 2; i++)
        buf[2 * i] = 2 << 3 | 2, buf[2 * i + 1] = 0;
    refuse_payload(CONTROL_ROUND_DONE, buf, sizeof buf, "4097 bad runs");
    refuse_payload(CONTROL_COMPARED, buf, sizeof buf, "4097 bad runs");

    static uint8_t digests[6 + 8 * (CONTROL_MAX_DIGESTS + 1)] = {1 << 3, 1, 3 << 3 | 2};
    uint32_t len = 8 * (CONTROL_MAX_DIGESTS + 1);

    digests[3] = 0x80 | (len & 0x7f);
    digests[4] = 0x80 | (len >> 7 & 0x7f);
    digests[5] = (uint8_t)(len >> 14);
    refuse_payload(CONTROL_DIGESTS, digests, sizeof digests, "16385 digests");
    refuse_payload(CONTROL_DIGESTS, "", 0, "round 0");
    /* a token of 3 bytes */
    refuse_payload(CONTROL_ACCEPT, "\x1a\x03xyz", 5, "token of 3 bytes");
}

static void
test_texts_are_tamed(void **state)
{
    AUTO_SB struct sb out = SB_INIT;
    struct control_msg m = {.type = CONTROL_ABORT, .text.text = "bad\x1b[31m\nline"}, back;
    uint8_t big[CONTROL_TEXT_SIZE + 200] = {1 << 3 | 2, 0x80 | (CONTROL_TEXT_SIZE + 100) % 128,
                                            (CONTROL_TEXT_SIZE + 100) / 128};
    struct control_header h = {
        .type = CONTROL_ABORT, .version = 1, .length = CONTROL_TEXT_SIZE + 103};

    (void)state;
    control_encode(&out, &m);
    assert_int_equal(decode(&out, &back, NULL), 0);
    assert_string_equal(back.text.text, "bad?[31m?line");
    memset(big + 3, 'x', CONTROL_TEXT_SIZE + 100);
    h.sum = control_sum(&h, big);
    assert_int_equal(control_decode(&h, big, &back, NULL), 0);
    assert_int_equal(strlen(back.text.text), CONTROL_TEXT_SIZE - 1);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_fields),
        cmocka_unit_test(test_no_bit_may_flip), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_texts_are_tamed), cmocka_unit_test(test_digests),
    };
    struct CMUnitTest tests[ARRAY_LEN(refused) + ARRAY_LEN(others)] = {0};
    const char *seeds = getenv("DROVER_SEEDS");
    size_t n = 0;

    if (seeds && samples_write(seeds) != 0)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        tests[n++] = (struct CMUnitTest){.name = refused[i].name,
                                         .test_func = test_refused,
                                         .initial_state = (void *)(uintptr_t)&refused[i]};
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
