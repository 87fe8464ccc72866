/* The page stream's codec and the layout behind it: there and back, and everything that must be
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "proto/sum.h"
#include "proto/wire.h"
#include "tests/proto/samples.h"

#define MAX_FRAME FRAME_MAX_HEAD

static int
decode(const uint8_t *buf, uint32_t channel, struct frame_header *h, struct frame_run *runs,
       struct err *err)
{
    struct layout l;
    int rc = frame_decode_header(buf, h, err);

    samples_layout(&l);
    return rc ? rc : frame_decode_runs(buf, h, &l, channel, runs, err);
}

static void
test_there_and_back(void **state)
{
    uint8_t buf[MAX_FRAME];
    struct frame_run back[FRAME_MAX_RUNS];
    const struct frame_run *runs;
    struct frame_header h, got;

    (void)state;
    samples_batch(&h, &runs);
    assert_int_equal(frame_encode(buf, &h, runs, samples_sums),
                     FRAME_HEADER_SIZE + 3 * FRAME_RUN_SIZE + 3 * FRAME_SUM_SIZE);
    assert_int_equal(decode(buf, 1, &got, back, NULL), 0);
    assert_int_equal(got.round, 4);
    assert_int_equal(got.seq, 11);
    assert_int_equal(got.bytes, 3 * 4096);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(frame_sum(buf, &got, i), samples_sums[i]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(back[i].offset, runs[i].offset);
        assert_int_equal(back[i].pages, runs[i].pages);
        assert_int_equal(back[i].region, runs[i].region);
        assert_int_equal(back[i].kind, runs[i].kind);
    }
}

/* The bytes of version 1, for ever: a change here breaks every peer there is. */
static void
test_bytes(void **state)
{
    static const uint8_t want[32] = {
        'D', 'R', 'V', 'P', 1, 1, 0, 0, /* magic, version, type, reserved */
        4,   0,   0,   0,   3, 0, 0, 0, /* round, runs */
        0,   48,  0,   0,   0, 0, 0, 0, /* bytes */
        11,  0,   0,   0,   0, 0, 0, 0, /* seq */
    };
    static const uint8_t run[16] = {0, 0, 32, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0};
    uint8_t buf[MAX_FRAME];
    const struct frame_run *runs;
    struct frame_header h;

    (void)state;
    samples_batch(&h, &runs);
    frame_encode(buf, &h, runs, samples_sums);
    assert_memory_equal(buf, want, sizeof want);
    assert_memory_equal(buf + FRAME_HEADER_SIZE, run, sizeof run);
    assert_memory_equal(buf + FRAME_HEADER_SIZE + 3 * FRAME_RUN_SIZE + 8, "\1\2\3\4\5\6\7\10", 8);
    assert_int_equal(wire_get64(buf + 32), 0xb1913a921ecc4457ull);
}

struct refused {
    const char *name;
    struct frame_run runs[3];
    struct frame_header h;
    uint32_t channel;
    const char *text;
};

#define S LAYOUT_STRIPE_BYTES
#define RAW(region_, offset_, pages_)                                                  \
    {                                                                                  \
        .offset = (offset_), .pages = (pages_), .region = (region_), .kind = FRAME_RAW \
    }
#define ZERO(region_, offset_, pages_)                                                  \
    {                                                                                   \
        .offset = (offset_), .pages = (pages_), .region = (region_), .kind = FRAME_ZERO \
    }
#define BATCH(runs_, bytes_)                                                \
    {                                                                       \
        .type = FRAME_BATCH, .round = 1, .runs = (runs_), .bytes = (bytes_) \
    }

/* Region 0: 7 MiB, stripes 0-3; region 1: 4 MiB + 8 KiB, stripes 4-6; three channels. */
static const struct refused refused[] = {
    {"type 0", {RAW(0, 0, 1)}, {.type = 0, .round = 1, .runs = 1, .bytes = 4096}, 0, "type 0"},
    {"type 3", {RAW(0, 0, 1)}, {.type = 3, .round = 1, .runs = 1, .bytes = 4096}, 0, "type 3"},
    {"round 0", {RAW(0, 0, 1)}, {.type = 1, .round = 0, .runs = 1, .bytes = 4096}, 0, "round 0"},
    {"no runs", {{0}}, BATCH(0, 0), 0, "with 0 runs"},
    {"round end with a run", {ZERO(0, 0, 1)}, {.type = 2, .round = 1, .runs = 1}, 0, "with 1 runs"},
    {"round end with bytes", {{0}}, {.type = 2, .round = 1, .bytes = 4096}, 0, "with 0 runs"},
    {"no such region", {RAW(2, 0, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"region 65535", {RAW(65535, 0, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"offset behind the end", {RAW(0, 8u << 20, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"offset at the end", {RAW(0, 7u << 20, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"offset of 2^64 - 4096", {RAW(0, UINT64_MAX - 4095, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"offset inside a page", {RAW(0, 100, 1)}, BATCH(1, 4096), 0, "not inside"},
    {"run over the end", {RAW(0, (7u << 20) - 4096, 2)}, BATCH(1, 8192), 0, "not inside"},
    {"run over the end of a short stripe", {ZERO(1, 2 * S, 3)}, BATCH(1, 0), 0, "not inside"},
    {"run over a stripe's end", {RAW(0, S - 4096, 2)}, BATCH(1, 8192), 0, "not inside"},
    {"run of no pages", {RAW(0, 0, 0)}, BATCH(1, 0), 0, "not inside"},
    {"run of 513 pages", {ZERO(0, 0, 513)}, BATCH(1, 0), 0, "not inside"},
    {"run of 2^32 - 1 pages", {ZERO(0, 0, UINT32_MAX)}, BATCH(1, 0), 0, "not inside"},
    {"another channel's stripe", {RAW(0, S, 1)}, BATCH(1, 4096), 0, "belongs to channel 1, not 0"},
    {"another channel's region", {RAW(1, 0, 1)}, BATCH(1, 4096), 0, "belongs to channel 1, not 0"},
    {"the last run is another's",
     {RAW(0, 0, 1), ZERO(0, 4096, 1), ZERO(0, S, 1)},
     BATCH(3, 4096),
     0,
     "run 2"},
    {"kind 0", {{.pages = 1}}, BATCH(1, 0), 0, "kind 0"},
    {"kind 3", {{.pages = 1, .kind = 3}}, BATCH(1, 0), 0, "kind 3"},
    {"fewer bytes than pages", {RAW(0, 0, 2)}, BATCH(1, 4096), 0, "4096 bytes for 2 raw pages"},
    {"more bytes than pages", {RAW(0, 0, 1)}, BATCH(1, 8192), 0, "8192 bytes for 1 raw pages"},
    {"bytes for zero pages", {ZERO(0, 0, 1)}, BATCH(1, 4096), 0, "4096 bytes for 0 raw pages"},
    {"bytes that are no pages", {RAW(0, 0, 1)}, BATCH(1, 4097), 0, "4097 bytes"},
};

static void
test_refused(void **state)
{
    static const uint64_t sums[FRAME_MAX_RAW_PAGES];
    const struct refused *r = *state;
    uint8_t buf[MAX_FRAME];
    struct frame_run back[FRAME_MAX_RUNS];
    struct frame_header got;
    struct err err = {0};

    frame_encode(buf, &r->h, r->runs, sums);
    assert_int_equal(decode(buf, r->channel, &got, back, &err), -EPROTO);
    if (!strstr(err_msg(&err), r->text))
        fail_msg("'%s' does not say '%s'", err_msg(&err), r->text);
}

/* Fields that the encoder cannot be asked to write. */
static void
test_refused_bytes(void **state)
{
    static const struct {
        size_t at;
        uint32_t value;
        const char *text;
    } rows[] = {
        {0, 0x50565245, "not a drover stream"},
        {4, 0x00000102, "version 2"},
        {4, 0x00000100, "version 0"},
        {4, 0x00010101, "type 1"},
        {12, FRAME_MAX_RUNS + 1, "513 runs"},
        {12, UINT32_MAX, "4294967295 runs"},
        {16, 257 * 4096, "want pages, at most 1048576"},
        {20, 1, "want pages, at most 1048576"},
        {8, 5, "bad checksum"},
        {32, 7, "bad checksum"},
        {FRAME_HEADER_SIZE + 1, 7, "bad checksum"},
        {FRAME_HEADER_SIZE + 3 * FRAME_RUN_SIZE, 7, "bad checksum"},
        {16, 100, "want pages"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t buf[MAX_FRAME] = {0};
        struct frame_run back[FRAME_MAX_RUNS];
        const struct frame_run *runs;
        struct frame_header h;
        struct err err = {0};

        samples_batch(&h, &runs);
        frame_encode(buf, &h, runs, samples_sums);
        wire_put32(buf + rows[i].at, rows[i].value);
        assert_int_equal(decode(buf, 1, &h, back, &err), -EPROTO);
        if (!strstr(err_msg(&err), rows[i].text))
            fail_msg("row %zu: '%s' does not say '%s'", i, err_msg(&err), rows[i].text);
    }
}

/* Every single flipped bit of header and records is found. */
static void
test_any_flipped_bit(void **state)
{
    uint8_t buf[MAX_FRAME];
    struct frame_run back[FRAME_MAX_RUNS];
    const struct frame_run *runs;
    struct frame_header h, got;
    size_t len;

    (void)state;
    samples_batch(&h, &runs);
    len = frame_encode(buf, &h, runs, samples_sums);
    for (size_t i = 0; i < len * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(decode(buf, 1, &got, back, NULL), -EPROTO);
        buf[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_int_equal(decode(buf, 1, &got, back, NULL), 0);
}

static void
test_preamble(void **state)
{
    struct frame_preamble p = {
        .channel = 63, .uid_sum = frame_uid_sum("m", 1), .token = {1, 2, 255}};
    struct frame_preamble got;
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    struct err err = {0};

    (void)state;
    frame_encode_preamble(buf, &p);
    assert_true(frame_is_preamble(buf));
    assert_int_equal(frame_decode_preamble(buf, &got, NULL), 0);
    assert_int_equal(got.channel, 63);
    assert_int_equal(got.uid_sum, p.uid_sum);
    assert_memory_equal(got.token, p.token, sizeof p.token);
    assert_int_not_equal(frame_uid_sum("m", 1), frame_uid_sum("m", 2));
    assert_int_not_equal(frame_uid_sum("m", 1), frame_uid_sum("n", 1));
    wire_put32(buf + 8, 64); /* QEMU's multifd takes id == channels and writes behind its array */
    assert_int_equal(frame_decode_preamble(buf, &got, &err), -EPROTO);
    wire_put32(buf + 8, 1);
    wire_put32(buf + 4, 2);
    assert_int_equal(frame_decode_preamble(buf, &got, &err), -EPROTO);
    buf[0] ^= 1;
    assert_false(frame_is_preamble(buf));
    assert_int_equal(frame_decode_preamble(buf, &got, &err), -EPROTO);
}

static void
test_answer(void **state)
{
    uint8_t buf[FRAME_ANSWER_SIZE];
    enum frame_answer a;

    (void)state;
    frame_encode_answer(buf, FRAME_ANSWER_REFUSED);
    assert_int_equal(frame_decode_answer(buf, &a, NULL), 0);
    assert_int_equal(a, FRAME_ANSWER_REFUSED);
    wire_put32(buf + 8, 0);
    assert_int_equal(frame_decode_answer(buf, &a, NULL), -EPROTO);
    wire_put32(buf + 8, 3);
    assert_int_equal(frame_decode_answer(buf, &a, NULL), -EPROTO);
    frame_encode_answer(buf, FRAME_ANSWER_OK);
    buf[3] = 'X';
    assert_int_equal(frame_decode_answer(buf, &a, NULL), -EPROTO);
}

/* Every page has exactly one owner and one number, and stripes cover all of memory. */
static void
test_layout_covers(void **state)
{
    struct layout l;
    uint64_t bytes = 0, next_page = 0;

    (void)state;
    samples_layout(&l);
    assert_int_equal(l.stripes, 7);
    for (uint64_t i = 0; i < l.stripes; i++) {
        uint32_t region, len;
        uint64_t offset;

        layout_stripe(&l, i, &region, &offset, &len);
        assert_true(layout_run_ok(&l, region, offset, len / 4096));
        assert_false(layout_run_ok(&l, region, offset, len / 4096 + 1));
        assert_int_equal(layout_owner(&l, region, offset), i % 3);
        assert_int_equal(layout_owner(&l, region, offset + len - 4096), i % 3);
        assert_int_equal(layout_page(&l, region, offset), i * LAYOUT_STRIPE_PAGES);
        assert_true(layout_page(&l, region, offset) >= next_page);
        next_page = layout_page(&l, region, offset + len - 4096) + 1;
        bytes += len;
    }
    assert_int_equal(bytes, l.total_bytes);
}

/* Both forms of the checksum agree, at every alignment and length. */
static void
test_sum(void **state)
{
    AUTO_FREE uint8_t *buf = xmalloc(3 * 4096);
    struct rng rng;

    (void)state;
    rng_seed(&rng, 5);
    for (int i = 0; i < 3 * 4096; i++)
        buf[i] = (uint8_t)rng_u64(&rng);
    for (int i = 0; i < 2000; i++) {
        size_t from = rng_below(&rng, 4096), len = rng_below(&rng, 2 * 4096);
        uint64_t seed = rng_u64(&rng);

        assert_int_equal(sum_bytes(buf + from, len, seed), sum_bytes_plain(buf + from, len, seed));
    }
    /* the value is part of the wire format */
    assert_int_equal(sum_bytes("drover", 6, 0), sum_bytes_plain("drover", 6, 0));
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refused_bytes),  cmocka_unit_test(test_any_flipped_bit),
        cmocka_unit_test(test_preamble),       cmocka_unit_test(test_answer),
        cmocka_unit_test(test_layout_covers),  cmocka_unit_test(test_sum),
    };
    struct CMUnitTest tests[ARRAY_LEN(refused) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        tests[n++] = (struct CMUnitTest){.name = refused[i].name,
                                         .test_func = test_refused,
                                         .initial_state = (void *)(uintptr_t)&refused[i]};
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
