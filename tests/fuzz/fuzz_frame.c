/* The page stream as a receiver takes it: preamble, answer, and frames against a layout. Whatever
 * gets through must lie inside memory and belong to the channel. Seeds:
 * DROVER_SEEDS=tests/fuzz/corpus build/.../test_control. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "proto/frame.h"
#include "proto/sum.h"
#include "proto/wire.h"

#define ALL_KINDS                                                                  \
    (FRAME_KINDS_PLAIN | FRAME_KIND_BIT(FRAME_DELTA) | FRAME_KIND_BIT(FRAME_LZ4) | \
     FRAME_KIND_BIT(FRAME_ZSTD) | FRAME_KIND_BIT(FRAME_PLACED))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct layout *l, const struct frame_header *h, const struct frame_run *runs,
      uint32_t channel)
{
    uint64_t pages = 0, bytes = 0;

    if (h->runs > FRAME_MAX_RUNS || h->pages > FRAME_MAX_RAW_PAGES ||
        h->bytes > FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES)
        abort();
    for (uint32_t i = 0; i < h->runs; i++) {
        uint64_t end = runs[i].offset + (uint64_t)runs[i].pages * LAYOUT_PAGE_BYTES;

        if (runs[i].region >= l->regions || runs[i].pages == 0 ||
            end > l->size_bytes[runs[i].region] || end < runs[i].offset ||
            (h->type != FRAME_PAGES &&
             layout_owner(l, runs[i].region, runs[i].offset) != channel) ||
            layout_owner(l, runs[i].region, end - 1) !=
                layout_owner(l, runs[i].region, runs[i].offset))
            abort();
        pages += runs[i].kind == FRAME_ZERO ? 0 : runs[i].pages;
        bytes +=
            runs[i].kind == FRAME_RAW ? (uint64_t)runs[i].pages * LAYOUT_PAGE_BYTES : runs[i].bytes;
        if (runs[i].kind > FRAME_PLACED || (runs[i].kind == FRAME_PLACED && runs[i].bytes) ||
            (i == 0 && runs[i].kind > FRAME_ZERO && runs[i].kind < FRAME_PLACED && !runs[i].bytes))
            abort();
    }
    if (pages != h->pages || bytes != h->bytes)
        abort();
}

static void
try_frame(uint8_t *buf, size_t size, const struct layout *l, uint32_t channel)
{
    struct frame_run runs[FRAME_MAX_RUNS];
    struct frame_header h;
    struct err err = {0};

    if (size < FRAME_HEADER_SIZE || frame_decode_header(buf, &h, &err) != 0 ||
        size < frame_head_size(&h))
        return;
    if (frame_decode_runs(buf, &h, l, channel, ALL_KINDS, runs, &err) == 0)
        check(l, &h, runs, channel);
    /* and with the checksum that the fuzzer cannot guess */
    wire_put64(buf + 32, sum_bytes(buf + FRAME_HEADER_SIZE, frame_head_size(&h) - FRAME_HEADER_SIZE,
                                   sum_bytes(buf, 32, 0)));
    if (frame_decode_header(buf, &h, &err) == 0 &&
        frame_decode_runs(buf, &h, l, channel, ALL_KINDS, runs, &err) == 0)
        check(l, &h, runs, channel);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct layout_region regions[] = {{7u << 20, 4096}, {(4u << 20) + 8192, 4096}};
    struct layout l;
    struct frame_preamble p;
    struct frame_request ask;
    enum frame_answer a;
    struct err err = {0};
    AUTO_FREE uint8_t *copy = xmalloc(size + 1);

    if (layout_init(&l, regions, 2, 3, &err) != 0)
        abort();
    if (size >= FRAME_PREAMBLE_SIZE && frame_decode_preamble(data, &p, &err) == 0 &&
        p.channel > FRAME_URGENT_CHANNEL)
        abort();
    if (size >= FRAME_REQUEST_SIZE && frame_decode_request(data, &l, &ask, &err) == 0 &&
        !layout_run_ok(&l, ask.region, ask.offset, ask.pages))
        abort();
    if (size >= FRAME_ANSWER_SIZE)
        (void)frame_decode_answer(data, &a, &err);
    for (uint32_t channel = 0; channel < 3; channel++) {
        memcpy(copy, data, size);
        try_frame(copy, size, &l, channel);
    }
    return 0;
}
