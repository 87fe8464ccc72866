/* Codec of the page stream; see frame.h for the format. */
#include "proto/frame.h"

#include <errno.h>
#include <string.h>

#include "proto/sum.h"
#include "proto/wire.h"

#define MAGIC_FRAME    0x50565244u /* "DRVP" */
#define MAGIC_PREAMBLE 0x44565244u /* "DRVD" */
#define MAGIC_ANSWER   0x41565244u /* "DRVA" */
#define MAGIC_REQUEST  0x51565244u /* "DRVQ" */
#define SUMMED_SIZE    32          /* bytes of the header that head_sum covers */
#define REQUEST_SUMMED 24
#define ANY_CHANNEL    UINT32_MAX

/* What the runs of a frame come to. */
struct total {
    uint64_t pages, bytes;
    uint16_t group_kind; /* of the group that is open; 0 = none */
    uint64_t group_pages, group_bytes;
};

static uint64_t head_sum(const uint8_t *buf, const struct frame_header *h);
static int check_run(const struct frame_run *run, uint32_t i, const struct layout *l,
                     uint32_t channel, uint32_t kinds, struct err *err);
static int add_run(struct total *t, const struct frame_run *run, uint32_t i, struct err *err);
static int end_group(struct total *t, struct err *err);
static int check_magic(uint32_t got, uint32_t want, uint32_t version, const char *what,
                       struct err *err);

size_t
frame_head_size(const struct frame_header *h)
{
    return FRAME_HEADER_SIZE + (size_t)h->runs * FRAME_RUN_SIZE + (size_t)h->pages * FRAME_SUM_SIZE;
}

size_t
frame_encode(uint8_t *buf, const struct frame_header *h, const struct frame_run *runs,
             const uint64_t *sums)
{
    uint8_t *p = buf + FRAME_HEADER_SIZE;

    wire_put32(buf, MAGIC_FRAME);
    buf[4] = PROTO_VERSION;
    buf[5] = (uint8_t)h->type;
    wire_put16(buf + 6, (uint16_t)h->pages);
    wire_put32(buf + 8, h->round);
    wire_put32(buf + 12, h->runs);
    wire_put64(buf + 16, h->bytes);
    wire_put64(buf + 24, h->seq);
    for (uint32_t i = 0; i < h->runs; i++, p += FRAME_RUN_SIZE) {
        wire_put64(p, runs[i].offset);
        wire_put32(p + 8, runs[i].bytes);
        wire_put16(p + 12, (uint16_t)runs[i].pages);
        p[14] = (uint8_t)runs[i].region;
        p[15] = (uint8_t)runs[i].kind;
    }
    for (uint32_t i = 0; i < h->pages; i++, p += FRAME_SUM_SIZE)
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
                             .pages = wire_get16(buf + 6),
                             .bytes = wire_get64(buf + 16),
                             .seq = wire_get64(buf + 24),
                             .head_sum = wire_get64(buf + SUMMED_SIZE)};
    int rc = check_magic(wire_get32(buf), MAGIC_FRAME, buf[4], "page stream", err);

    if (rc != 0)
        return rc;
    if (h.type < FRAME_BATCH || h.type > FRAME_PAGES)
        return err_set(err, -EPROTO, "page stream: unknown frame type %d", h.type);
    if (h.runs > FRAME_MAX_RUNS)
        return err_set(err, -EPROTO, "page stream: %u runs in a batch: at most %u", h.runs,
                       FRAME_MAX_RUNS);
    if (h.pages > FRAME_MAX_RAW_PAGES)
        return err_set(err, -EPROTO, "page stream: %u pages in a batch: at most %u", h.pages,
                       FRAME_MAX_RAW_PAGES);
    /* pages without bytes: they were placed, or the runs say otherwise */
    if (h.bytes > (uint64_t)h.pages * LAYOUT_PAGE_BYTES)
        return err_set(err, -EPROTO, "page stream: %llu bytes for %u pages",
                       (unsigned long long)h.bytes, h.pages);
    if ((h.type == FRAME_ROUND_END) != (h.runs == 0) || (h.type == FRAME_ROUND_END && h.pages > 0))
        return err_set(err, -EPROTO, "page stream: frame of type %d with %u runs", h.type, h.runs);
    if (h.round == 0)
        return err_set(err, -EPROTO, "page stream: round 0");
    *ret = h;
    return 0;
}

int
frame_decode_runs(const uint8_t *buf, const struct frame_header *h, const struct layout *l,
                  uint32_t channel, uint32_t kinds, struct frame_run *ret_runs, struct err *err)
{
    const uint8_t *p = buf + FRAME_HEADER_SIZE;
    struct total t = {0};
    int rc;

    if (head_sum(buf, h) != h->head_sum)
        return err_set(err, -EPROTO, "page stream: bad checksum of a frame header");
    for (uint32_t i = 0; i < h->runs; i++, p += FRAME_RUN_SIZE) {
        struct frame_run run = {.offset = wire_get64(p),
                                .bytes = wire_get32(p + 8),
                                .pages = wire_get16(p + 12),
                                .region = p[14],
                                .kind = p[15]};

        rc = check_run(&run, i, l, h->type == FRAME_PAGES ? ANY_CHANNEL : channel, kinds, err);
        if (rc == 0)
            rc = add_run(&t, &run, i, err);
        if (rc != 0)
            return rc;
        ret_runs[i] = run;
    }
    rc = end_group(&t, err);
    if (rc != 0)
        return rc;
    if (t.pages != h->pages || t.bytes != h->bytes)
        return err_set(
            err, -EPROTO,
            "page stream: %llu bytes for %u pages, and runs of %llu bytes for %llu pages",
            (unsigned long long)h->bytes, h->pages, (unsigned long long)t.bytes,
            (unsigned long long)t.pages);
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
    wire_put32(buf + 12, p->epoch);
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
    if (wire_get32(buf + 8) > FRAME_READ_CHANNEL)
        return err_set(err, -EPROTO, "data channel: number %u: want 0 to %d", wire_get32(buf + 8),
                       FRAME_READ_CHANNEL);
    ret->channel = wire_get32(buf + 8);
    ret->epoch = wire_get32(buf + 12);
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

void
frame_encode_request(uint8_t buf[FRAME_REQUEST_SIZE], const struct frame_request *r)
{
    wire_put32(buf, MAGIC_REQUEST);
    wire_put16(buf + 4, PROTO_VERSION);
    wire_put16(buf + 6, r->region);
    wire_put32(buf + 8, r->pages);
    wire_put32(buf + 12, 0);
    wire_put64(buf + 16, r->offset);
    wire_put64(buf + REQUEST_SUMMED, sum_bytes(buf, REQUEST_SUMMED, 0));
}

int
frame_decode_request(const uint8_t buf[FRAME_REQUEST_SIZE], const struct layout *l,
                     struct frame_request *ret, struct err *err)
{
    struct frame_request r = {.region = wire_get16(buf + 6),
                              .pages = wire_get32(buf + 8),
                              .offset = wire_get64(buf + 16)};
    int rc = check_magic(wire_get32(buf), MAGIC_REQUEST, wire_get16(buf + 4), "request", err);

    if (rc != 0)
        return rc;
    if (wire_get64(buf + REQUEST_SUMMED) != sum_bytes(buf, REQUEST_SUMMED, 0))
        return err_set(err, -EPROTO, "request: bad checksum");
    if (r.pages > FRAME_MAX_ASKED || !layout_run_ok(l, r.region, r.offset, r.pages))
        return err_set(err, -EPROTO,
                       "request: region %u, offset %#llx, %u pages: not inside a stripe of the "
                       "guest's memory",
                       r.region, (unsigned long long)r.offset, r.pages);
    *ret = r;
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
          uint32_t kinds, struct err *err)
{
    if (run->kind < FRAME_RAW || run->kind > FRAME_PLACED || !(kinds & FRAME_KIND_BIT(run->kind)))
        return err_set(err, -EPROTO, "page stream: run %u: unknown kind %u", i, run->kind);
    if (!layout_run_ok(l, run->region, run->offset, run->pages))
        return err_set(
            err, -EPROTO,
            "page stream: run %u: region %u, offset %#llx, %u pages: not inside a stripe "
            "of the guest's memory",
            i, run->region, (unsigned long long)run->offset, run->pages);
    if (channel != ANY_CHANNEL && layout_owner(l, run->region, run->offset) != channel)
        return err_set(err, -EPROTO,
                       "page stream: run %u: region %u, offset %#llx belongs to channel %u, not %u",
                       i, run->region, (unsigned long long)run->offset,
                       layout_owner(l, run->region, run->offset), channel);
    return 0;
}

/* At most 768 runs of 512 pages and 2^32 bytes: nothing overflows. */
static int
add_run(struct total *t, const struct frame_run *run, uint32_t i, struct err *err)
{
    uint64_t full = (uint64_t)run->pages * LAYOUT_PAGE_BYTES;
    bool group = run->kind == FRAME_LZ4 || run->kind == FRAME_ZSTD, ok = true;
    int rc = 0;

    if (group && run->bytes == 0) {
        ok = t->group_kind == run->kind;
        t->group_pages += run->pages;
    } else {
        rc = end_group(t, err);
        ok = run->kind == FRAME_DELTA
                 ? run->bytes >= (uint64_t)run->pages * FRAME_DELTA_MIN && run->bytes < full
                 : group || run->bytes == 0;
        if (group) {
            t->group_kind = run->kind;
            t->group_pages = run->pages;
            t->group_bytes = run->bytes;
        }
    }
    if (rc == 0 && !ok)
        rc = err_set(err, -EPROTO, "page stream: run %u: kind %u: %u bytes for %u pages", i,
                     run->kind, run->bytes, run->pages);
    t->pages += run->kind == FRAME_ZERO ? 0 : run->pages;
    t->bytes += run->kind == FRAME_RAW ? full : run->bytes;
    return rc;
}

static int
end_group(struct total *t, struct err *err)
{
    bool ok = t->group_kind == 0 || (t->group_pages <= FRAME_GROUP_PAGES &&
                                     t->group_bytes < t->group_pages * LAYOUT_PAGE_BYTES);

    t->group_kind = 0;
    return ok ? 0
              : err_set(err, -EPROTO, "page stream: a group of %llu pages in %llu bytes",
                        (unsigned long long)t->group_pages, (unsigned long long)t->group_bytes);
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
