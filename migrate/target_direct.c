/* Where the payload of a batch is received: straight into our mapping of the guest's memory where
 * that has pages already, else into the channel's buffer, from which it is written into the memory
 * file. Memory that is still empty is given huge pages first where a batch fills a good part of one:
 * that costs a tenth of what as many small pages do
 * (docs/decisions/0004-speed-of-the-raw-path.md). A page that is received in place and has a bad
 * sum is made zero again: what is not in t->received always is. See target_int.h. */
#include "migrate/target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate/bits.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1: huge pages now, whatever the system's defaults are */
#endif

/* A huge page is worth it from this many pages of it at once, side by side but for a quarter: memory
 * that has gaps at the source may take at most four times as much here. */
#define HUGE_FROM_PAGES (LAYOUT_STRIPE_PAGES / 4)
#define HUGE_FAILURES   8 /* in a row: the kernel has none to give, and asking costs time */

_Static_assert(LAYOUT_STRIPE_PAGES == 512, "a stripe is a huge page");

enum stripe { STRIPE_UNKNOWN, STRIPE_GAPS, STRIPE_WHOLE };

static bool worth_huge(const struct target_chan *c, const struct frame_header *h, uint32_t i,
                       uint64_t stripe);
static enum stripe look(struct mig_target *t, const struct frame_run *r, uint64_t stripe);
static bool resident(const uint8_t *p, uint32_t bytes);
static bool all_received(const struct mig_target *t, const struct frame_run *r);

void
target_direct_init(struct mig_target *t)
{
    t->stripe_state = xcalloc(t->layout.stripes, 1);
    for (uint32_t i = 0; i < t->regions_len; i++) {
        struct stat st;

        t->fresh[i] = fstat(t->regions[i].memfd, &st) == 0 && st.st_blocks == 0;
    }
}

int
target_direct_receive(struct target_chan *c, const struct frame_header *h, struct err *err)
{
    struct mig_target *t = c->t;
    uint8_t *in = c->buf;
    uint64_t last = UINT64_MAX;
    bool worth = false;
    int n = 0, rc;

    for (uint32_t i = 0; i < h->runs; i++) {
        const struct frame_run *r = &c->runs[i];
        uint64_t stripe = layout_page(&t->layout, r->region, r->offset) / LAYOUT_STRIPE_PAGES;
        size_t len = r->kind == FRAME_RAW ? (size_t)r->pages * LAYOUT_PAGE_BYTES : r->bytes;
        uint8_t *to = in;

        c->direct[i] = false;
        if (r->kind == FRAME_PLACED) {
            if (!target_rdma_may_place(t, stripe))
                return err_set(err, -EPROTO,
                               "page stream: run %u: placed at region %u, offset %#llx, which is "
                               "not open to the source",
                               i, r->region, (unsigned long long)r->offset);
            c->direct[i] = true;
        }
        if (r->kind == FRAME_RAW) {
            if (t->stripe_state[stripe] != STRIPE_WHOLE && target_rdma_pinned(t, stripe))
                t->stripe_state[stripe] = STRIPE_WHOLE;
            if (stripe != last)
                worth = worth_huge(c, h, i, stripe);
            last = stripe;
            if (t->stripe_state[stripe] == STRIPE_UNKNOWN)
                t->stripe_state[stripe] = (uint8_t)look(t, r, stripe);
            if (t->stripe_state[stripe] == STRIPE_GAPS && worth && target_direct_huge(t, stripe))
                t->stripe_state[stripe] = STRIPE_WHOLE;
            c->direct[i] = t->stripe_state[stripe] == STRIPE_WHOLE || all_received(t, r);
            if (c->direct[i])
                to = t->regions[r->region].map + r->offset;
        }
        in += len;
        if (len == 0)
            continue;
        if (n > 0 && (uint8_t *)c->iov[n - 1].iov_base + c->iov[n - 1].iov_len == to)
            c->iov[n - 1].iov_len += len;
        else
            c->iov[n++] = (struct iovec){.iov_base = to, .iov_len = len};
    }
    rc = conn_recvv(c->conn, c->iov, n, err);
    for (uint32_t i = 0; i < h->runs && rc != 0; i++) {
        if (c->direct[i]) /* who knows how much of it has come */
            target_direct_bad(t, &c->runs[i], 0, c->runs[i].pages);
    }
    return rc;
}

void
target_direct_bad(struct mig_target *t, const struct frame_run *r, uint32_t from, uint32_t pages)
{
    uint64_t offset = r->offset + (uint64_t)from * LAYOUT_PAGE_BYTES;
    uint64_t page = layout_page(&t->layout, r->region, offset);

    memset(t->regions[r->region].map + offset, 0, (size_t)pages * LAYOUT_PAGE_BYTES);
    for (uint32_t i = 0; i < pages; i++)
        bits_clear(t->received, page + i);
}

bool
target_direct_filled(const struct mig_target *t, uint32_t region, uint64_t stripe)
{
    return !t->fresh[region] || t->stripe_state[stripe] == STRIPE_WHOLE ||
           target_rdma_filled(t, stripe);
}

/* Whether the batch brings, from run i on, enough of the stripe's pages, and those without gaps to
 * speak of. */
static bool
worth_huge(const struct target_chan *c, const struct frame_header *h, uint32_t i, uint64_t stripe)
{
    uint64_t from = c->runs[i].offset, to = from;
    uint32_t pages = 0;

    for (; i < h->runs; i++) {
        const struct frame_run *r = &c->runs[i];

        if (layout_page(&c->t->layout, r->region, r->offset) / LAYOUT_STRIPE_PAGES != stripe)
            break;
        if (r->kind != FRAME_RAW)
            continue;
        pages += r->pages;
        from = r->offset < from ? r->offset : from;
        if (r->offset + (uint64_t)r->pages * LAYOUT_PAGE_BYTES > to)
            to = r->offset + (uint64_t)r->pages * LAYOUT_PAGE_BYTES;
    }
    return pages >= HUGE_FROM_PAGES && pages * 4 >= (to - from) / LAYOUT_PAGE_BYTES * 3;
}

/* The first time that something comes for it: whether all of it has pages. */
static enum stripe
look(struct mig_target *t, const struct frame_run *r, uint64_t stripe)
{
    uint32_t region, bytes;
    uint64_t offset;

    if (t->fresh[r->region])
        return STRIPE_GAPS;
    layout_stripe(&t->layout, stripe, &region, &offset, &bytes);
    return resident(t->regions[region].map + offset, bytes) ? STRIPE_WHOLE : STRIPE_GAPS;
}

static bool
resident(const uint8_t *p, uint32_t bytes)
{
    unsigned char vec[LAYOUT_STRIPE_PAGES];

    if (mincore((void *)(uintptr_t)p, bytes, vec) != 0)
        return false;
    for (uint32_t i = 0; i < bytes / LAYOUT_PAGE_BYTES; i++) {
        if (!(vec[i] & 1))
            return false;
    }
    return true;
}

bool
target_direct_huge(struct mig_target *t, uint64_t stripe)
{
    uint32_t region, bytes;
    uint64_t offset;
    uint8_t *p;

    layout_stripe(&t->layout, stripe, &region, &offset, &bytes);
    p = t->regions[region].map + offset;
    if (bytes != LAYOUT_STRIPE_BYTES || (uintptr_t)p % LAYOUT_STRIPE_BYTES != 0 ||
        atomic_load_explicit(&t->huge_failures, memory_order_relaxed) >= HUGE_FAILURES)
        return false;
    /* Where every page is there already, copying them into a huge one is dearer than using them. */
    if (!t->fresh[region] && resident(p, bytes))
        return false;
    /* What has no page at all cannot be collapsed; one that there is stays as it is. */
    if (fallocate(t->regions[region].memfd, FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  LAYOUT_PAGE_BYTES) != 0)
        return false;
    if (madvise(p, bytes, MADV_COLLAPSE) != 0) {
        atomic_fetch_add_explicit(&t->huge_failures, 1, memory_order_relaxed);
        return false;
    }
    atomic_store_explicit(&t->huge_failures, 0, memory_order_relaxed);
    return true;
}

static bool
all_received(const struct mig_target *t, const struct frame_run *r)
{
    uint64_t page = layout_page(&t->layout, r->region, r->offset);

    for (uint32_t i = 0; i < r->pages; i++) {
        if (!bits_test(t->received, page + i))
            return false;
    }
    return true;
}
