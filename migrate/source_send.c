/* The send phase: each worker walks its own stripes; for each it re-arms what is dirty, looks which
 * pages have data, which of those are zero, and sends the rest.
 * See source_int.h, proto/frame.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/zero.h"

#define READ_PAGES 64 /* at once: what is read is then looked at in the processor's cache */
#define WORDS      (LAYOUT_STRIPE_PAGES / 64)

/* One stripe: what is to be done with each of its pages. */
struct stripe {
    struct source_worker *w;
    uint32_t region, bytes, pages;
    uint64_t offset; /* in the region */
    uint64_t word;   /* first one in the bitmaps */
    uint64_t written[WORDS], unmapped[WORDS], present[WORDS];
};

static int first_pass(struct stripe *t, bool *ret_skip);
static int later_pass(struct stripe *t, bool *ret_skip);
static int last_pass(struct stripe *t, bool *ret_skip);
static int arm(struct stripe *t);
static int find_present(struct stripe *t);
static int on_range(void *ctx, const struct track_range *r);
static int send_pages(struct stripe *t);
static int send_data(struct stripe *t, const uint64_t *data, uint64_t *page);
static int read_pages(struct stripe *t, uint64_t first, uint64_t pages, uint8_t *to);
static int add(struct stripe *t, uint32_t page, enum frame_kind kind);
static int flush(struct source_worker *w);
static void sum_raw(struct source_worker *w);
static int put_frame(struct source_worker *w, enum frame_type type);
static uint32_t batch_pages(struct source_worker *w);

int
source_send(struct source_worker *w)
{
    struct mig_source *s = w->s;
    int (*pass)(struct stripe *, bool *) = s->paused       ? last_pass
                                           : s->round == 1 ? first_pass
                                                           : later_pass;
    int rc;

    w->batch.max_raw_pages = batch_pages(w);
    source_encode_begin(w);
    source_rdma_begin(w);
    for (uint64_t i = w->index; i < s->layout.stripes; i += s->channels) {
        struct stripe t = {.w = w, .word = i * WORDS};
        bool skip = false;

        w->next_stripe = i;
        memset(s->unconfirmed + t.word, 0, sizeof t.written);
        if (atomic_load_explicit(&s->stop, memory_order_relaxed))
            return err_set(&w->err, -ECANCELED, "stopped");
        layout_stripe(&s->layout, i, &t.region, &t.offset, &t.bytes);
        t.pages = t.bytes / LAYOUT_PAGE_BYTES;
        rc = source_rdma_ahead(w, i);
        if (rc == 0)
            rc = pass(&t, &skip);
        if (rc == 0 && !skip)
            rc = send_pages(&t);
        if (rc != 0)
            return rc;
    }
    w->next_stripe = s->layout.stripes;
    rc = flush(w);
    w->batch.iov_len = 1;
    return rc ? rc : put_frame(w, FRAME_ROUND_END);
}

/* Everything that has data. Stripes without any are not even armed: what appears there later has no
 * write protection and is reported as written. */
static int
first_pass(struct stripe *t, bool *ret_skip)
{
    struct source_worker *w = t->w;
    uint64_t *empty_until = &w->empty_until[t->region];
    int rc = 0;

    if (*empty_until <= t->offset)
        rc = present_next(&w->present[t->region], t->offset, empty_until, &w->err);
    if (rc == 0 && *empty_until >= t->offset + t->bytes) {
        *ret_skip = true;
        atomic_fetch_add_explicit(&w->absent_pages, t->pages, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->done_pages, t->pages, memory_order_relaxed);
        return 0;
    }
    if (rc == 0)
        rc = arm(t);
    if (rc == 0)
        rc = find_present(t);
    if (rc != 0) {
        w->cause = MIG_CAUSE_GUEST;
        return rc;
    }

    uint64_t absent = t->pages - bits_count(t->present, WORDS);

    memcpy(t->written, t->present, sizeof t->written);
    memset(t->unmapped, 0, sizeof t->unmapped);
    atomic_fetch_add_explicit(&w->absent_pages, absent, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->done_pages, absent, memory_order_relaxed);
    return 0;
}

/* Stripes in which the count found something: scanned and armed again just before they are sent. */
static int
later_pass(struct stripe *t, bool *ret_skip)
{
    struct source_worker *w = t->w;
    uint64_t *dirty = w->s->dirty + t->word, *again = w->s->again + t->word, any = 0;
    int rc;

    for (unsigned i = 0; i < WORDS; i++)
        any |= dirty[i] | again[i];
    if (!any) {
        *ret_skip = true;
        return 0;
    }
    rc = arm(t);
    if (rc == 0)
        rc = find_present(t);
    if (rc != 0) {
        w->cause = MIG_CAUSE_GUEST;
        return rc;
    }
    for (unsigned i = 0; i < WORDS; i++) {
        source_encode_forget(w, (t->word + i) * 64, again[i]);
        t->written[i] |= again[i];
        again[i] = 0;
    }
    return 0;
}

/* The guest is paused: what the count found is all there is. */
static int
last_pass(struct stripe *t, bool *ret_skip)
{
    struct source_worker *w = t->w;
    uint64_t *dirty = w->s->dirty + t->word, *again = w->s->again + t->word, any = 0;
    int rc;

    for (unsigned i = 0; i < WORDS; i++) {
        t->written[i] = dirty[i] | again[i];
        any |= t->written[i];
        source_encode_forget(w, (t->word + i) * 64, again[i]);
        dirty[i] = again[i] = 0;
    }
    memset(t->unmapped, 0, sizeof t->unmapped);
    if (!any) {
        *ret_skip = true;
        return 0;
    }
    rc = present_bits(&w->present[t->region], t->offset, t->bytes, t->present, &w->err);
    if (rc != 0)
        w->cause = MIG_CAUSE_GUEST;
    return rc;
}

static int
arm(struct stripe *t)
{
    memset(t->written, 0, sizeof t->written);
    memset(t->unmapped, 0, sizeof t->unmapped);
    return track_scan(t->w->s->track, t->w->scan, t->region, t->offset, t->offset + t->bytes, true,
                      on_range, t, &t->w->err);
}

/* After arm: what the guest has in its page tables has data. The file is asked, page by page, only
 * where there is something else. */
static int
find_present(struct stripe *t)
{
    uint64_t unmapped = 0;

    for (unsigned i = 0; i < WORDS; i++)
        unmapped |= t->unmapped[i];
    if (unmapped)
        return present_bits(&t->w->present[t->region], t->offset, t->bytes, t->present, &t->w->err);
    memset(t->present, 0, sizeof t->present);
    bits_set_range(t->present, 0, t->pages);
    return 0;
}

static int
on_range(void *ctx, const struct track_range *r)
{
    struct stripe *t = ctx;
    uint64_t from = (r->start - t->offset) / LAYOUT_PAGE_BYTES;
    uint64_t to = (r->end - t->offset) / LAYOUT_PAGE_BYTES;

    if (r->written)
        bits_set_range(t->written, from, to);
    if (!r->mapped)
        bits_set_range(t->unmapped, from, to);
    return 0;
}

static int
send_pages(struct stripe *t)
{
    const uint64_t *sent = t->w->s->sent + t->word;
    uint64_t data[WORDS], gone[WORDS], any[WORDS];

    for (unsigned i = 0; i < WORDS; i++) {
        data[i] = t->written[i] & t->present[i];
        gone[i] = (t->written[i] | t->unmapped[i]) & ~t->present[i] & sent[i];
        any[i] = data[i] | gone[i];
    }
    memcpy(t->w->s->unconfirmed + t->word, any, sizeof any);
    for (uint64_t page = bits_next(any, 0, t->pages); page < t->pages;
         page = bits_next(any, page, t->pages)) {
        int rc;

        if (bits_test(data, page)) {
            rc = send_data(t, data, &page);
        } else {
            bits_clear(t->w->s->sent + t->word, page);
            rc = add(t, (uint32_t)page++, FRAME_ZERO);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Pages with data from *page on, as many as are read at once; *page: behind them. They are read into
 * the batch, not looked at through our mapping: for memory that is mapped by 4 KiB the page faults
 * cost more than the copy, and what is summed is what is sent, whatever the guest writes. */
static int
send_data(struct stripe *t, const uint64_t *data, uint64_t *page)
{
    struct source_worker *w = t->w;
    struct source_batch *b = &w->batch;
    uint64_t *sent = w->s->sent + t->word, first = *page, n = 1;
    uint64_t room = b->max_raw_pages - b->raw_pages;
    uint8_t *at = b->pages + (size_t)b->raw_pages * LAYOUT_PAGE_BYTES;
    int rc;

    while (n < READ_PAGES && n < room && first + n < t->pages && bits_test(data, first + n))
        n++;
    rc = read_pages(t, first, n, at);
    *page = first + n;
    for (uint64_t i = 0; i < n && rc == 0; i++, at += LAYOUT_PAGE_BYTES) {
        bool raw = !zero_page(at);

        if (raw) {
            uint8_t *to = b->pages + (size_t)b->raw_pages * LAYOUT_PAGE_BYTES;

            if (to != at) /* behind a zero page, or a full batch */
                memcpy(to, at, LAYOUT_PAGE_BYTES);
            if (bits_test(sent, first + i))
                bits_set(b->resent, b->raw_pages);
            bits_set(sent, first + i);
        } else {
            bits_clear(sent, first + i);
        }
        rc = add(t, (uint32_t)(first + i), raw ? FRAME_RAW : FRAME_ZERO);
    }
    return rc;
}

static int
read_pages(struct stripe *t, uint64_t first, uint64_t pages, uint8_t *to)
{
    const struct guest_region *r = &t->w->s->regions[t->region];
    uint64_t offset = t->offset + first * LAYOUT_PAGE_BYTES;
    size_t len = (size_t)pages * LAYOUT_PAGE_BYTES, at = 0;

    while (at < len) {
        ssize_t n = pread(r->memfd, to + at, len - at, (off_t)(offset + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            t->w->cause = MIG_CAUSE_GUEST;
            return err_set(&t->w->err, n < 0 ? -errno : -EIO, "guest memory: read at %#llx: %s",
                           (unsigned long long)offset, n < 0 ? strerror(errno) : "short");
        }
        at += (size_t)n;
    }
    return 0;
}

/* Puts a page into the batch, behind the last run where it can, and sends the batch when it is
 * full. */
static int
add(struct stripe *t, uint32_t page, enum frame_kind kind)
{
    struct source_batch *b = &t->w->batch;
    uint64_t offset = t->offset + (uint64_t)page * LAYOUT_PAGE_BYTES;
    struct frame_run *last = b->runs_len ? &b->runs[b->runs_len - 1] : NULL;

    if (last && last->kind == kind && last->region == t->region && last->offset >= t->offset &&
        last->offset + (uint64_t)last->pages * LAYOUT_PAGE_BYTES == offset)
        last->pages++;
    else
        b->runs[b->runs_len++] = (struct frame_run){
            .offset = offset, .pages = 1, .region = (uint16_t)t->region, .kind = (uint16_t)kind};
    b->raw_pages += kind == FRAME_RAW;
    b->zero_pages += kind == FRAME_ZERO;
    if (b->raw_pages == b->max_raw_pages || b->runs_len == SOURCE_BATCH_RUNS)
        return flush(t->w);
    return 0;
}

static int
flush(struct source_worker *w)
{
    struct source_batch *b = &w->batch;
    uint64_t began_us, sent_bytes = w->sent_bytes, bytes;
    bool encoded;
    int rc;

    if (b->runs_len == 0)
        return 0;
    b->bytes = (uint64_t)b->raw_pages * LAYOUT_PAGE_BYTES;
    encoded = source_encode_batch(w);
    bytes = b->bytes;
    began_us = clock_mono_us();
    rc = source_hold_back(w, FRAME_HEADER_SIZE + (uint64_t)b->runs_len * FRAME_RUN_SIZE +
                                 (uint64_t)b->raw_pages * FRAME_SUM_SIZE + b->bytes);
    if (rc == 0)
        rc = source_rdma_place(w, encoded ? source_encode_payload(w) : b->pages);
    if (rc == 0 && !encoded)
        sum_raw(w); /* while the device reads what is placed */
    if (rc == 0)
        rc = put_frame(w, FRAME_BATCH);
    if (rc == 0)
        rc = source_rdma_next(w, encoded);
    if (rc != 0)
        return rc;
    source_encode_sent(w, w->sent_bytes - sent_bytes, (clock_mono_us() - began_us) * 1000, encoded);
    atomic_fetch_add_explicit(&w->batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->raw_pages, b->raw_pages, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->zero_pages, b->zero_pages, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->done_pages, b->raw_pages + b->zero_pages, memory_order_relaxed);
    if (!encoded) {
        atomic_fetch_add_explicit(&w->enc_pages[MIG_ENC_RAW], b->raw_pages, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->enc_bytes[MIG_ENC_RAW], bytes, memory_order_relaxed);
    }
    source_batch_empty(b);
    b->max_raw_pages = batch_pages(w);
    if (w->seq % 64 == 0)
        atomic_store_explicit(&w->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
    if (!w->s->paused && FAULT(SRC_ROUND))
        return err_set(&w->err, -EIO, "fault point src.round");
    return 0;
}

void
source_batch_empty(struct source_batch *b)
{
    memset(b->resent, 0, sizeof b->resent);
    b->runs_len = b->raw_pages = b->zero_pages = 0;
    b->bytes = 0;
}

/* The sums of a batch that is not encoded. */
static void
sum_raw(struct source_worker *w)
{
    struct source_batch *b = &w->batch;

    for (uint32_t i = 0; i < b->raw_pages; i++)
        b->sums[i] = frame_page_sum(b->pages + (size_t)i * LAYOUT_PAGE_BYTES);
}

/* Header, records and sums of the batch (or none) in front of the payload that iov holds
 * already. */
static int
put_frame(struct source_worker *w, enum frame_type type)
{
    struct source_batch *b = &w->batch;
    struct frame_header h = {.type = type,
                             .round = w->s->round,
                             .runs = type == FRAME_BATCH ? b->runs_len : 0,
                             .pages = b->raw_pages,
                             .bytes = b->bytes,
                             .seq = w->seq++};
    int rc;

    b->iov[0].iov_base = b->head;
    b->iov[0].iov_len = frame_encode(b->head, &h, b->runs, b->sums);
    rc = conn_send(w->conn, b->iov, b->iov_len, &w->err);
    if (rc != 0) {
        w->cause = MIG_CAUSE_PEER;
        return err_prefix(&w->err, rc, "data channel %u", w->index);
    }
    atomic_fetch_add_explicit(&w->sent_bytes, frame_head_size(&h) + h.bytes, memory_order_relaxed);
    return 0;
}

/* As many as are sent smoothly at the bandwidth of this moment. */
static uint32_t
batch_pages(struct source_worker *w)
{
    const uint64_t max = (uint64_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES;

    return (uint32_t)(source_batch_bytes(w, max) / LAYOUT_PAGE_BYTES);
}
