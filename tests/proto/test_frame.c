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

static const uint32_t all_kinds = FRAME_KINDS_PLAIN | FRAME_KIND_BIT(FRAME_DELTA) |
                                  FRAME_KIND_BIT(FRAME_LZ4) | FRAME_KIND_BIT(FRAME_ZSTD) |
                                  FRAME_KIND_BIT(FRAME_PLACED);

static int
decode(const uint8_t *buf, uint32_t channel, struct frame_header *h, struct frame_run *runs,
       struct err *err)
{
    struct layout l;
    int rc = frame_decode_header(buf, h, err);

    samples_layout(&l);
    return rc ? rc : frame_decode_runs(buf, h, &l, channel, all_kinds, runs, err);
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

/* Every kind, groups over several runs included. */
static void
test_encoded_runs(void **state)
{
    static const uint64_t sums[2 * FRAME_MAX_RAW_PAGES]; /* some rows claim too many */
    const struct frame_run runs[] = {
        {.offset = 0, .pages = 2, .kind = FRAME_DELTA, .bytes = 16},
        {.offset = 8192, .pages = 60, .kind = FRAME_LZ4, .bytes = 60 * 4096},
        {.offset = 1 << 20, .pages = 4, .kind = FRAME_LZ4},
        {.offset = 1200 * 1024, .pages = 1, .kind = FRAME_LZ4, .bytes = 7},
        {.offset = 1204 * 1024, .pages = 1, .kind = FRAME_ZSTD, .bytes = 4095},
        {.offset = 1300 * 1024, .pages = 1, .kind = FRAME_RAW},
        {.offset = 1400 * 1024, .pages = 9, .kind = FRAME_ZERO},
    };
    struct frame_header got, h = {.type = FRAME_BATCH,
                                  .round = 2,
                                  .runs = ARRAY_LEN(runs),
                                  .pages = 69,
                                  .bytes = 16 + 60 * 4096 + 7 + 4095 + 4096};
    struct frame_run back[FRAME_MAX_RUNS];
    uint8_t buf[MAX_FRAME];
    struct layout l;
    struct err err = {0};

    (void)state;
    samples_layout(&l);
    frame_encode(buf, &h, runs, sums);
    assert_int_equal(decode(buf, 0, &got, back, &err), 0);
    assert_int_equal(got.pages, 69);
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        assert_int_equal(back[i].kind, runs[i].kind);
        assert_int_equal(back[i].bytes, runs[i].bytes);
        assert_int_equal(back[i].pages, runs[i].pages);
    }
    /* what was not agreed on is refused, each kind by itself */
    for (unsigned k = FRAME_RAW; k <= FRAME_ZSTD; k++)
        assert_int_equal(
            frame_decode_runs(buf, &got, &l, 0, all_kinds & ~FRAME_KIND_BIT(k), back, &err),
            -EPROTO);
}

/* What a WRITE has placed has sums and nothing in the payload, alone and among others. */
static void
test_placed_runs(void **state)
{
    const struct frame_run runs[] = {{.offset = 0, .pages = 2, .kind = FRAME_PLACED},
                                     {.offset = 8192, .pages = 1, .kind = FRAME_RAW},
                                     {.offset = 16384, .pages = 253, .kind = FRAME_PLACED}};
    static const struct {
        uint32_t from, runs, pages;
        uint64_t bytes;
    } rows[] = {{0, 1, 2, 0}, {0, 2, 3, 4096}, {0, 3, 256, 4096}, {2, 1, 253, 0}};
    uint64_t sums[FRAME_MAX_RAW_PAGES];

    (void)state;
    for (uint32_t i = 0; i < FRAME_MAX_RAW_PAGES; i++)
        sums[i] = i * 0x0101010101010101ull;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct frame_header got, h = {.type = FRAME_BATCH,
                                      .round = 1,
                                      .runs = rows[i].runs,
                                      .pages = rows[i].pages,
                                      .bytes = rows[i].bytes};
        struct frame_run back[FRAME_MAX_RUNS];
        uint8_t buf[MAX_FRAME];
        struct layout l;
        struct err err = {0};

        samples_layout(&l);
        assert_int_equal(frame_encode(buf, &h, runs + rows[i].from, sums), frame_head_size(&h));
        assert_int_equal(decode(buf, 0, &got, back, &err), 0);
        assert_int_equal(got.pages, rows[i].pages);
        assert_int_equal(got.bytes, rows[i].bytes);
        for (uint32_t k = 0; k < got.runs; k++)
            assert_int_equal(back[k].kind, runs[rows[i].from + k].kind);
        for (uint32_t k = 0; k < got.pages; k++)
            assert_int_equal(frame_sum(buf, &got, k), sums[k]);
        /* whoever has no lane takes none */
        assert_int_equal(
            frame_decode_runs(buf, &got, &l, 0, all_kinds & ~FRAME_KIND_BIT(6), back, &err),
            -EPROTO);
        assert_non_null(strstr(err_msg(&err), "unknown kind 6"));
    }
}

/* The bytes of version 1, for ever: a change here breaks every peer there is. */
static void
test_bytes(void **state)
{
    static const uint8_t want[32] = {
        'D', 'R', 'V', 'P', 1, 1, 3, 0, /* magic, version, type, pages */
        4,   0,   0,   0,   3, 0, 0, 0, /* round, runs */
        0,   48,  0,   0,   0, 0, 0, 0, /* bytes */
        11,  0,   0,   0,   0, 0, 0, 0, /* seq */
    };
    static const uint8_t run[16] = {0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1};
    uint8_t buf[MAX_FRAME];
    const struct frame_run *runs;
    struct frame_header h;

    (void)state;
    samples_batch(&h, &runs);
    frame_encode(buf, &h, runs, samples_sums);
    assert_memory_equal(buf, want, sizeof want);
    assert_memory_equal(buf + FRAME_HEADER_SIZE, run, sizeof run);
    assert_memory_equal(buf + FRAME_HEADER_SIZE + 3 * FRAME_RUN_SIZE + 8, "\1\2\3\4\5\6\7\10", 8);
    assert_int_equal(wire_get64(buf + 32), 0x2cb68f9ee849c92full);
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
#define ENCODED(kind_, offset_, pages_, bytes_)                                    \
    {                                                                              \
        .offset = (offset_), .pages = (pages_), .kind = (kind_), .bytes = (bytes_) \
    }
#define BATCH(runs_, pages_, bytes_)                                                           \
    {                                                                                          \
        .type = FRAME_BATCH, .round = 1, .runs = (runs_), .pages = (pages_), .bytes = (bytes_) \
    }

/* Region 0: 7 MiB, stripes 0-3; region 1: 4 MiB + 8 KiB, stripes 4-6; three channels. */
static const struct refused refused[] = {
    {"type 0",
     {RAW(0, 0, 1)},
     {.type = 0, .round = 1, .runs = 1, .pages = 1, .bytes = 4096},
     0,
     "type 0"},
    {"type 4",
     {RAW(0, 0, 1)},
     {.type = 4, .round = 1, .runs = 1, .pages = 1, .bytes = 4096},
     0,
     "type 4"},
    {"round 0",
     {RAW(0, 0, 1)},
     {.type = 1, .round = 0, .runs = 1, .pages = 1, .bytes = 4096},
     0,
     "round 0"},
    {"no runs", {{0}}, BATCH(0, 0, 0), 0, "with 0 runs"},
    {"round end with a run", {ZERO(0, 0, 1)}, {.type = 2, .round = 1, .runs = 1}, 0, "with 1 runs"},
    {"round end with bytes",
     {{0}},
     {.type = 2, .round = 1, .pages = 1, .bytes = 4096},
     0,
     "with 0 runs"},
    {"no such region", {RAW(2, 0, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"region 255", {RAW(255, 0, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"offset behind the end", {RAW(0, 8u << 20, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"offset at the end", {RAW(0, 7u << 20, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"offset of 2^64 - 4096", {RAW(0, UINT64_MAX - 4095, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"offset inside a page", {RAW(0, 100, 1)}, BATCH(1, 1, 4096), 0, "not inside"},
    {"run over the end", {RAW(0, (7u << 20) - 4096, 2)}, BATCH(1, 2, 8192), 0, "not inside"},
    {"run over the end of a short stripe", {ZERO(1, 2 * S, 3)}, BATCH(1, 0, 0), 0, "not inside"},
    {"run over a stripe's end", {RAW(0, S - 4096, 2)}, BATCH(1, 2, 8192), 0, "not inside"},
    {"run of no pages", {RAW(0, 0, 0)}, BATCH(1, 0, 0), 0, "not inside"},
    {"run of 513 pages", {ZERO(0, 0, 513)}, BATCH(1, 0, 0), 0, "not inside"},
    {"run of 65535 pages", {ZERO(0, 0, 65535)}, BATCH(1, 0, 0), 0, "not inside"},
    {"another channel's stripe",
     {RAW(0, S, 1)},
     BATCH(1, 1, 4096),
     0,
     "belongs to channel 1, not 0"},
    {"another channel's region",
     {RAW(1, 0, 1)},
     BATCH(1, 1, 4096),
     0,
     "belongs to channel 1, not 0"},
    {"the last run is another's",
     {RAW(0, 0, 1), ZERO(0, 4096, 1), ZERO(0, S, 1)},
     BATCH(3, 1, 4096),
     0,
     "run 2"},
    {"kind 0", {{.pages = 1}}, BATCH(1, 0, 0), 0, "kind 0"},
    {"kind 7", {{.pages = 1, .kind = 7}}, BATCH(1, 0, 0), 0, "unknown kind 7"},
    {"kind 40", {{.pages = 1, .kind = 40}}, BATCH(1, 0, 0), 0, "kind 40"},
    {"fewer pages than the runs",
     {RAW(0, 0, 2)},
     BATCH(1, 1, 4096),
     0,
     "4096 bytes for 1 pages, and"},
    {"more pages than the runs", {RAW(0, 0, 1)}, BATCH(1, 2, 4096), 0, "bytes for 2 pages, and"},
    {"more bytes than the runs",
     {RAW(0, 0, 1)},
     BATCH(1, 2, 8192),
     0,
     "8192 bytes for 2 pages, and"},
    {"fewer bytes than the runs",
     {RAW(0, 0, 1)},
     BATCH(1, 1, 4095),
     0,
     "4095 bytes for 1 pages, and"},
    {"pages for zeros", {ZERO(0, 0, 1)}, BATCH(1, 1, 4096), 0, "runs of 0 bytes for 0 pages"},
    {"more bytes than pages", {RAW(0, 0, 1)}, BATCH(1, 1, 4097), 0, "4097 bytes for 1 pages"},
    {"pages without bytes", {RAW(0, 0, 1)}, BATCH(1, 1, 0), 0, "0 bytes for 1 pages"},
    {"bytes without pages", {RAW(0, 0, 1)}, BATCH(1, 0, 1), 0, "1 bytes for 0 pages"},
    {"257 pages", {RAW(0, 0, 257)}, BATCH(1, 257, 257 * 4096), 0, "257 pages in a batch"},
    {"raw with a length",
     {ENCODED(FRAME_RAW, 0, 1, 4096)},
     BATCH(1, 1, 4096),
     0,
     "4096 bytes for 1"},
    {"placed with a length",
     {ENCODED(FRAME_PLACED, 0, 1, 8)},
     BATCH(1, 1, 8),
     0,
     "run 0: kind 6: 8 bytes"},
    {"placed with a payload",
     {ENCODED(FRAME_PLACED, 0, 1, 0)},
     BATCH(1, 1, 4096),
     0,
     "runs of 0 bytes for 1 pages"},
    {"placed, and not counted",
     {ENCODED(FRAME_PLACED, 0, 1, 0)},
     BATCH(1, 0, 0),
     0,
     "runs of 0 bytes for 1 pages"},
    {"257 pages placed", {ENCODED(FRAME_PLACED, 0, 257, 0)}, BATCH(1, 257, 0), 0, "257 pages"},
    {"placed outside memory",
     {ENCODED(FRAME_PLACED, 8u << 20, 1, 0)},
     BATCH(1, 1, 0),
     2,
     "not inside a stripe"},
    {"a group goes on behind what was placed",
     {ENCODED(FRAME_LZ4, 0, 1, 9), ENCODED(FRAME_PLACED, 4096, 1, 0),
      ENCODED(FRAME_LZ4, 8192, 1, 0)},
     BATCH(3, 3, 9),
     0,
     "run 2: kind 4"},
    {"an end of a round with pages", {{0}}, {.type = 2, .round = 1, .pages = 1}, 0, "type 2"},
    {"zero with a length", {ENCODED(FRAME_ZERO, 0, 1, 8)}, BATCH(1, 1, 8), 0, "run 0: kind 2"},
    {"delta of no bytes", {ENCODED(FRAME_DELTA, 0, 1, 0)}, BATCH(1, 1, 8), 0, "kind 3: 0 bytes"},
    {"delta too short", {ENCODED(FRAME_DELTA, 0, 2, 15)}, BATCH(1, 2, 15), 0, "kind 3: 15 bytes"},
    {"delta as long as raw", {ENCODED(FRAME_DELTA, 0, 1, 4096)}, BATCH(1, 1, 4096), 0, "kind 3"},
    {"delta of 2^32 - 1 bytes",
     {ENCODED(FRAME_DELTA, 0, 1, UINT32_MAX)},
     BATCH(1, 1, 4096),
     0,
     "4294967295 bytes"},
    {"a group goes on from nothing", {ENCODED(FRAME_LZ4, 0, 1, 0)}, BATCH(1, 1, 8), 0, "kind 4: 0"},
    {"a group goes on from another kind",
     {ENCODED(FRAME_LZ4, 0, 1, 9), ENCODED(FRAME_ZSTD, 4096, 1, 0)},
     BATCH(2, 2, 9),
     0,
     "run 1: kind 5"},
    {"a group goes on behind a raw run",
     {ENCODED(FRAME_LZ4, 0, 1, 9), RAW(0, 4096, 1), ENCODED(FRAME_LZ4, 8192, 1, 0)},
     BATCH(3, 3, 4105),
     0,
     "run 2: kind 4"},
    {"a group of 65 pages", {ENCODED(FRAME_ZSTD, 0, 65, 100)}, BATCH(1, 65, 100), 0, "65 pages"},
    {"a group of 65 pages in two runs",
     {ENCODED(FRAME_LZ4, 0, 64, 100), ENCODED(FRAME_LZ4, 1 << 20, 1, 0)},
     BATCH(2, 65, 100),
     0,
     "group of 65 pages"},
    {"a group that is not smaller",
     {ENCODED(FRAME_LZ4, 0, 1, 4096)},
     BATCH(1, 1, 4096),
     0,
     "group"},
    {"a group of 2^32 - 1 bytes",
     {ENCODED(FRAME_LZ4, 0, 1, UINT32_MAX)},
     BATCH(1, 1, 4096),
     0,
     "4294967295 bytes"},
};

static void
test_refused(void **state)
{
    static const uint64_t sums[2 * FRAME_MAX_RAW_PAGES]; /* some rows claim too many */
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
        {4, 0x00020101, "12288 bytes for 2 pages"},
        {4, 0x01010101, "257 pages"},
        {4, 0x00000101, "12288 bytes for 0 pages"},
        {12, FRAME_MAX_RUNS + 1, "769 runs"},
        {12, UINT32_MAX, "4294967295 runs"},
        {16, 257 * 4096, "1052672 bytes for 3 pages"},
        {20, 1, "4294979584 bytes for 3 pages"},
        {8, 5, "bad checksum"},
        {32, 7, "bad checksum"},
        {FRAME_HEADER_SIZE + 1, 7, "bad checksum"},
        {FRAME_HEADER_SIZE + 3 * FRAME_RUN_SIZE, 7, "bad checksum"},
        {16, 100, "bad checksum"},
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
        .channel = 63, .epoch = 3, .uid_sum = frame_uid_sum("m", 1), .token = {1, 2, 255}};
    struct frame_preamble got;
    uint8_t buf[FRAME_PREAMBLE_SIZE];
    struct err err = {0};

    (void)state;
    frame_encode_preamble(buf, &p);
    assert_true(frame_is_preamble(buf));
    assert_int_equal(frame_decode_preamble(buf, &got, NULL), 0);
    assert_int_equal(got.channel, 63);
    assert_int_equal(got.epoch, 3);
    assert_int_equal(got.uid_sum, p.uid_sum);
    assert_memory_equal(got.token, p.token, sizeof p.token);
    assert_int_not_equal(frame_uid_sum("m", 1), frame_uid_sum("m", 2));
    assert_int_not_equal(frame_uid_sum("m", 1), frame_uid_sum("n", 1));
    wire_put32(buf + 8, FRAME_URGENT_CHANNEL);
    assert_int_equal(frame_decode_preamble(buf, &got, NULL), 0);
    wire_put32(buf + 8, FRAME_READ_CHANNEL);
    assert_int_equal(frame_decode_preamble(buf, &got, NULL), 0);
    assert_int_equal(got.channel, FRAME_READ_CHANNEL);
    /* QEMU's multifd takes id == channels and writes behind its array */
    wire_put32(buf + 8, FRAME_READ_CHANNEL + 1);
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

static void
test_request(void **state)
{
    static const struct frame_request bad[] = {
        {.region = 2, .offset = 0, .pages = 1},
        {.region = 0, .offset = 0, .pages = 0},
        {.region = 0, .offset = 0, .pages = FRAME_MAX_ASKED + 1},
        {.region = 0, .offset = 4096, .pages = 512},
        {.region = 0, .offset = 7u << 20, .pages = 1},
        {.region = 0, .offset = 100, .pages = 1},
        {.region = 1, .offset = UINT64_MAX & ~4095ull, .pages = 1},
    };
    struct frame_request r = {.region = 1, .offset = 8192, .pages = 3}, got;
    uint8_t buf[FRAME_REQUEST_SIZE];
    struct layout l;

    (void)state;
    samples_layout(&l);
    frame_encode_request(buf, &r);
    assert_int_equal(frame_decode_request(buf, &l, &got, NULL), 0);
    assert_int_equal(got.region, 1);
    assert_int_equal(got.offset, 8192);
    assert_int_equal(got.pages, 3);
    buf[17] ^= 1;
    assert_int_equal(frame_decode_request(buf, &l, &got, NULL), -EPROTO);
    buf[17] ^= 1;
    buf[4] = 9;
    assert_int_equal(frame_decode_request(buf, &l, &got, NULL), -EPROTO);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        frame_encode_request(buf, &bad[i]);
        assert_int_equal(frame_decode_request(buf, &l, &got, NULL), -EPROTO);
    }
}

/* In post-copy nothing changes any more, and any channel may carry any page. */
static void
test_pages_of_any_channel(void **state)
{
    struct frame_header h, got;
    struct frame_run back[FRAME_MAX_RUNS];
    const struct frame_run *runs;
    uint8_t buf[FRAME_MAX_HEAD];
    struct err err = {0};

    (void)state;
    samples_batch(&h, &runs);
    h.type = FRAME_PAGES;
    frame_encode(buf, &h, runs, samples_sums);
    for (uint32_t channel = 0; channel < 3; channel++)
        assert_int_equal(decode(buf, channel, &got, back, &err), 0);
    assert_int_equal(got.type, FRAME_PAGES);
    h.type = FRAME_BATCH;
    frame_encode(buf, &h, runs, samples_sums);
    assert_int_equal(decode(buf, 0, &got, back, &err), -EPROTO);
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

/* All forms of the checksum agree, at every alignment and length. */
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

        uint64_t plain = sum_bytes_plain(buf + from, len, seed);

        assert_int_equal(sum_bytes(buf + from, len, seed), plain);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2"))
            assert_int_equal(sum_bytes_avx2(buf + from, len, seed), plain);
        if (__builtin_cpu_supports("avx512f"))
            assert_int_equal(sum_bytes_avx512(buf + from, len, seed), plain);
#endif
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
        cmocka_unit_test(test_request),        cmocka_unit_test(test_pages_of_any_channel),
        cmocka_unit_test(test_layout_covers),  cmocka_unit_test(test_sum),
        cmocka_unit_test(test_encoded_runs),   cmocka_unit_test(test_placed_runs),
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
