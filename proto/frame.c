/* Codec of the page stream; see frame.h for the format. */
#include "proto/frame.h"

#include <errno.h>
#include <string.h>

#include "proto/sum.h"
#include "proto/wire.h"

#define MAGIC_FRAME    0x50565244u /* "DRVP" */
#define MAGIC_PREAMBLE 0x44565244u /* "DRVD" */
#define MAGIC_ANSWER   0x41565244u /* "DRVA" */
#define SUMMED_SIZE    32          /* bytes of the header that head_sum covers */

static uint64_t head_sum(const uint8_t *buf, const struct frame_header *h);
static int check_run(const struct frame_run *run, uint32_t i, const struct layout *l,
                     uint32_t channel, struct err *err);
static int check_magic(uint32_t got, uint32_t want, uint32_t version, const char *what,
                       struct err *err);

size_t
frame_head_size(const struct frame_header *h)
{
    return FRAME_HEADER_SIZE + (size_t)h->runs * FRAME_RUN_SIZE +
           (size_t)(h->bytes / LAYOUT_PAGE_BYTES) * FRAME_SUM_SIZE;
}

size_t
frame_encode(uint8_t *buf, const struct frame_header *h, const struct frame_run *runs,
             const uint64_t *sums)
{
    uint8_t *p = buf + FRAME_HEADER_SIZE;

    wire_put32(buf, MAGIC_FRAME);
    buf[4] = PROTO_VERSION;
    buf[5] = (uint8_t)h->type;
    wire_put16(buf + 6, 0);
    wire_put32(buf + 8, h->round);
    wire_put32(buf + 12, h->runs);
    wire_put64(buf + 16, h->bytes);
    wire_put64(buf + 24, h->seq);
    for (uint32_t i = 0; i < h->runs; i++, p += FRAME_RUN_SIZE) {
        wire_put64(p, runs[i].offset);
        wire_put32(p + 8, runs[i].pages);
        wire_put16(p + 12, runs[i].region);
        wire_put16(p + 14, runs[i].kind);
    }
    for (uint64_t i = 0; i < h->bytes / LAYOUT_PAGE_BYTES; i++, p += FRAME_SUM_SIZE)
        wire_put64(p, sums[i]);
    wire_put64(buf + SUMMED_SIZE, head_sum(buf, h));
    return frame_head_size(h);
}

int
frame_decode_header(const uint8_t buf[FRAME_HEADER_SIZE], struct frame_header *ret, struct err *err)
{
    struct frame_header h = {.type = buf[5],
                             .round = wire_get32(buf + 8),
                             .runs = wire_get32(buf + 12),
                             .bytes = wire_get64(buf + 16),
                             .seq = wire_get64(buf + 24),
                             .head_sum = wire_get64(buf + SUMMED_SIZE)};
    int rc = check_magic(wire_get32(buf), MAGIC_FRAME, buf[4], "page stream", err);

    if (rc != 0)
        return rc;
    if ((h.type != FRAME_BATCH && h.type != FRAME_ROUND_END) || wire_get16(buf + 6) != 0)
        return err_set(err, -EPROTO, "page stream: unknown frame type %d", h.type);
    if (h.runs > FRAME_MAX_RUNS)
        return err_set(err, -EPROTO, "page stream: %u runs in a batch: at most %u", h.runs,
                       FRAME_MAX_RUNS);
    if (h.bytes > (uint64_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES ||
        h.bytes % LAYOUT_PAGE_BYTES != 0)
        return err_set(err, -EPROTO, "page stream: %llu bytes in a batch: want pages, at most %u",
                       (unsigned long long)h.bytes, FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES);
    if ((h.type == FRAME_BATCH) != (h.runs > 0) || (h.type == FRAME_ROUND_END && h.bytes > 0))
        return err_set(err, -EPROTO, "page stream: frame of type %d with %u runs", h.type, h.runs);
    if (h.round == 0)
        return err_set(err, -EPROTO, "page stream: round 0");
    *ret = h;
    return 0;
}

int
frame_decode_runs(const uint8_t *buf, const struct frame_header *h, const struct layout *l,
                  uint32_t channel, struct frame_run *ret_runs, struct err *err)
{
    const uint8_t *p = buf + FRAME_HEADER_SIZE;
    uint64_t raw_pages = 0;

    if (head_sum(buf, h) != h->head_sum)
        return err_set(err, -EPROTO, "page stream: bad checksum of a frame header");
    for (uint32_t i = 0; i < h->runs; i++, p += FRAME_RUN_SIZE) {
        struct frame_run run = {.offset = wire_get64(p),
                                .pages = wire_get32(p + 8),
                                .region = wire_get16(p + 12),
                                .kind = wire_get16(p + 14)};
        int rc = check_run(&run, i, l, channel, err);

        if (rc != 0)
            return rc;
        if (run.kind == FRAME_RAW)
            raw_pages += run.pages; /* at most 512 runs of 512 pages */
        ret_runs[i] = run;
    }
    if (raw_pages * LAYOUT_PAGE_BYTES != h->bytes)
        return err_set(err, -EPROTO, "page stream: %llu bytes for %llu raw pages",
                       (unsigned long long)h->bytes, (unsigned long long)raw_pages);
    return 0;
}

uint64_t
frame_sum(const uint8_t *buf, const struct frame_header *h, uint32_t i)
{
    return wire_get64(buf + FRAME_HEADER_SIZE + (size_t)h->runs * FRAME_RUN_SIZE +
                      (size_t)i * FRAME_SUM_SIZE);
}

uint64_t
frame_page_sum(const void *page)
{
    return sum_bytes(page, LAYOUT_PAGE_BYTES, 0);
}

uint64_t
frame_uid_sum(const char *migration_uid, uint64_t generation)
{
    return sum_bytes(migration_uid, strlen(migration_uid), generation);
}

void
frame_encode_preamble(uint8_t buf[FRAME_PREAMBLE_SIZE], const struct frame_preamble *p)
{
    memset(buf, 0, FRAME_PREAMBLE_SIZE);
    wire_put32(buf, MAGIC_PREAMBLE);
    wire_put32(buf + 4, PROTO_VERSION);
    wire_put32(buf + 8, p->channel);
    wire_put64(buf + 16, p->uid_sum);
    memcpy(buf + 24, p->token, CONTROL_TOKEN_SIZE);
}

int
frame_decode_preamble(const uint8_t buf[FRAME_PREAMBLE_SIZE], struct frame_preamble *ret,
                      struct err *err)
{
    int rc = check_magic(wire_get32(buf), MAGIC_PREAMBLE, wire_get32(buf + 4), "data channel", err);

    if (rc != 0)
        return rc;
    if (wire_get32(buf + 8) >= CONTROL_MAX_CHANNELS)
        return err_set(err, -EPROTO, "data channel: number %u: want 0 to %d", wire_get32(buf + 8),
                       CONTROL_MAX_CHANNELS - 1);
    ret->channel = wire_get32(buf + 8);
    ret->uid_sum = wire_get64(buf + 16);
    memcpy(ret->token, buf + 24, CONTROL_TOKEN_SIZE);
    return 0;
}

void
frame_encode_answer(uint8_t buf[FRAME_ANSWER_SIZE], enum frame_answer a)
{
    memset(buf, 0, FRAME_ANSWER_SIZE);
    wire_put32(buf, MAGIC_ANSWER);
    wire_put32(buf + 4, PROTO_VERSION);
    wire_put32(buf + 8, (uint32_t)a);
}

int
frame_decode_answer(const uint8_t buf[FRAME_ANSWER_SIZE], enum frame_answer *ret, struct err *err)
{
    int rc = check_magic(wire_get32(buf), MAGIC_ANSWER, wire_get32(buf + 4),
                         "data channel's answer", err);
    uint32_t a = wire_get32(buf + 8);

    if (rc != 0)
        return rc;
    if (a != FRAME_ANSWER_OK && a != FRAME_ANSWER_REFUSED)
        return err_set(err, -EPROTO, "data channel's answer: unknown value %u", a);
    *ret = (enum frame_answer)a;
    return 0;
}

bool
frame_is_preamble(const uint8_t magic[4])
{
    return wire_get32(magic) == MAGIC_PREAMBLE;
}

static uint64_t
head_sum(const uint8_t *buf, const struct frame_header *h)
{
    return sum_bytes(buf + FRAME_HEADER_SIZE, frame_head_size(h) - FRAME_HEADER_SIZE,
                     sum_bytes(buf, SUMMED_SIZE, 0));
}

static int
check_run(const struct frame_run *run, uint32_t i, const struct layout *l, uint32_t channel,
          struct err *err)
{
    if (run->kind != FRAME_RAW && run->kind != FRAME_ZERO)
        return err_set(err, -EPROTO, "page stream: run %u: unknown kind %u", i, run->kind);
    if (!layout_run_ok(l, run->region, run->offset, run->pages))
        return err_set(
            err, -EPROTO,
            "page stream: run %u: region %u, offset %#llx, %u pages: not inside a stripe "
            "of the guest's memory",
            i, run->region, (unsigned long long)run->offset, run->pages);
    if (layout_owner(l, run->region, run->offset) != channel)
        return err_set(err, -EPROTO,
                       "page stream: run %u: region %u, offset %#llx belongs to channel %u, not %u",
                       i, run->region, (unsigned long long)run->offset,
                       layout_owner(l, run->region, run->offset), channel);
    return 0;
}

static int
check_magic(uint32_t got, uint32_t want, uint32_t version, const char *what, struct err *err)
{
    if (got != want)
        return err_set(err, -EPROTO, "%s: not a drover stream (magic %#010x)", what, got);
    if (version < PROTO_VERSION_MIN || version > PROTO_VERSION)
        return err_set(err, -EPROTO, "%s: version %u: want %d to %d", what, version,
                       PROTO_VERSION_MIN, PROTO_VERSION);
    return 0;
}
