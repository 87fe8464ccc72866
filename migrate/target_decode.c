/* The target's decoding of a batch: from the payload as it came to pages whose sums are good. A
 * delta is applied to a copy of what the guest's memory holds. Whether that is what the source took
 * for it, and whether any stream was whole, shows in the page's own sum: a page that has the wrong
 * one never gets into the guest and is asked for again. See target_int.h, codec.h. */
#include "migrate/target_int.h"

#include <stdlib.h>
#include <unistd.h>

#include "migrate/codec.h"

static bool decode(struct target_chan *c, const struct frame_header *h, uint32_t i,
                   const uint8_t *in, uint8_t *out);
static bool decode_delta(struct mig_target *t, const struct frame_run *r, const uint8_t *in,
                         uint8_t *out);

void
target_decode(struct target_chan *c, const struct frame_header *h)
{
    const uint8_t *in = c->buf;
    uint32_t page = 0;
    bool ok = true;

    for (uint32_t i = 0; i < h->runs; i++) {
        const struct frame_run *r = &c->runs[i];
        bool placed = r->kind == FRAME_PLACED, raw = placed || r->kind == FRAME_RAW;

        if (r->kind == FRAME_ZERO)
            continue;
        if (!raw && !c->out) {
            c->out = xmalloc((size_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES);
            c->lz = codec_lz_new();
        }
        c->data[i] = raw && c->direct[i] ? c->t->regions[r->region].map + r->offset
                     : raw               ? in
                                         : c->out + (size_t)page * LAYOUT_PAGE_BYTES;
        if (raw)
            ok = true;
        else if (r->bytes > 0) /* else it was decoded with the run that began its group */
            ok = decode(c, h, i, in, c->out + (size_t)page * LAYOUT_PAGE_BYTES);
        in += placed ? 0 : raw ? (size_t)r->pages * LAYOUT_PAGE_BYTES : r->bytes;
        for (uint32_t k = 0; k < r->pages; k++, page++)
            c->good[page] = ok && frame_page_sum(c->data[i] + (size_t)k * LAYOUT_PAGE_BYTES) ==
                                      frame_sum(c->head, h, page);
    }
}

void
target_decode_done(struct target_chan *c)
{
    free(c->out);
    c->out = NULL;
    codec_lz_free(c->lz);
    c->lz = NULL;
}

/* Run i and, of a group, those that go on with it. False when it is not what it says. */
static bool
decode(struct target_chan *c, const struct frame_header *h, uint32_t i, const uint8_t *in,
       uint8_t *out)
{
    const struct frame_run *r = &c->runs[i];
    size_t want = (size_t)r->pages * LAYOUT_PAGE_BYTES;

    if (r->kind == FRAME_DELTA)
        return decode_delta(c->t, r, in, out);
    for (uint32_t k = i + 1; k < h->runs && c->runs[k].kind == r->kind && !c->runs[k].bytes; k++)
        want += (size_t)c->runs[k].pages * LAYOUT_PAGE_BYTES;
    return r->kind == FRAME_LZ4 ? codec_unlz4(in, r->bytes, out, want) == 0
                                : codec_unzstd(c->lz, in, r->bytes, out, want) == 0;
}

static bool
decode_delta(struct mig_target *t, const struct frame_run *r, const uint8_t *in, uint8_t *out)
{
    size_t len = (size_t)r->pages * LAYOUT_PAGE_BYTES, left = r->bytes, used;

    /* Read, not looked at through our mapping: a hole stays a hole. */
    for (size_t at = 0; at < len;) {
        ssize_t n = pread(t->regions[r->region].memfd, out + at, len - at, (off_t)(r->offset + at));

        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    for (uint32_t k = 0; k < r->pages; k++, in += used, left -= used) {
        if (codec_delta_apply(out + (size_t)k * LAYOUT_PAGE_BYTES, in, left, &used) != 0)
            return false;
    }
    return left == 0;
}
