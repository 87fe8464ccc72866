/* The count phase: a read-only scan of a contiguous share of guest memory by each worker. It says
 * how much is dirty, for the decision, and which stripes are worth re-arming, for the next round;
 * at the last round, with the guest paused, it is the exact list of what is still to be sent. */
#include "migrate/source_int.h"

#include <string.h>

#include "migrate/bits.h"

struct count {
    struct source_worker *w;
    uint32_t region;
};

static int on_range(void *ctx, const struct track_range *r);

int
source_count(struct source_worker *w)
{
    struct mig_source *s = w->s;
    const struct layout *l = &s->layout;
    uint64_t lo = l->stripes * w->index / s->channels;
    uint64_t hi = l->stripes * (w->index + 1) / s->channels;

    memset(s->dirty + lo * LAYOUT_STRIPE_PAGES / 64, 0, (hi - lo) * LAYOUT_STRIPE_PAGES / 8);
    for (uint32_t r = 0; r < l->regions; r++) {
        uint64_t a = lo > l->first_stripe[r] ? lo : l->first_stripe[r];
        uint64_t b = hi < l->first_stripe[r + 1] ? hi : l->first_stripe[r + 1];
        struct count c = {.w = w, .region = r};

        if (a >= b)
            continue;

        uint64_t start = (a - l->first_stripe[r]) * LAYOUT_STRIPE_BYTES;
        uint64_t end = (b - l->first_stripe[r]) * LAYOUT_STRIPE_BYTES;
        int rc;

        if (end > l->size_bytes[r])
            end = l->size_bytes[r];
        rc = track_scan(s->track, w->scan, r, start, end, false, on_range, &c, &w->err);
        if (rc != 0) {
            w->cause = MIG_CAUSE_GUEST;
            return rc;
        }
    }
    return 0;
}

static int
on_range(void *ctx, const struct track_range *r)
{
    struct count *c = ctx;
    struct mig_source *s = c->w->s;
    struct present *p = &c->w->present[c->region];
    uint64_t base = s->layout.first_stripe[c->region] * LAYOUT_STRIPE_PAGES;

    if (r->mapped) {
        bits_set_range(s->dirty, base + r->start / LAYOUT_PAGE_BYTES,
                       base + r->end / LAYOUT_PAGE_BYTES);
        return 0;
    }
    /* Not in the guest's page tables: a hole where data was sent is dirty, and so is data that was
     * written (and, say, swapped out). */
    for (uint64_t at = r->start; at < r->end;) {
        uint64_t data;
        int rc = present_next(p, at, &data, &c->w->err);

        if (rc != 0)
            return rc;
        if (data > r->end)
            data = r->end;
        bits_or_range(s->dirty, s->sent, base + at / LAYOUT_PAGE_BYTES,
                      base + data / LAYOUT_PAGE_BYTES);
        at = data;
        if (at < r->end) {
            uint64_t left = (r->end - at) / LAYOUT_PAGE_BYTES;
            uint32_t n = present_extent(
                p, at, left < LAYOUT_STRIPE_PAGES ? (uint32_t)left : LAYOUT_STRIPE_PAGES);

            if (r->written)
                bits_set_range(s->dirty, base + at / LAYOUT_PAGE_BYTES,
                               base + at / LAYOUT_PAGE_BYTES + n);
            at += (uint64_t)n * LAYOUT_PAGE_BYTES;
        }
    }
    return 0;
}
