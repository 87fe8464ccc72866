/* Encoding of a batch; see source_encode.h, codec_choose.h, docs/encodings.md. */
#include "migrate/source_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "migrate/codec.h"
#include "migrate/codec_cache.h"
#include "migrate/codec_choose.h"

#define CACHE_MAX_BYTES (256ull << 20)   /* of all workers, unless configured */
#define GROUP_SHRINK(n) ((n) - (n) / 16) /* a group that shrinks less travels raw */

struct source_encode {
    struct codec_choose choose;
    struct codec_plan plan;
    struct codec_lz *lz;
    struct codec_cache *cache; /* made at its first page */
    uint64_t cache_bytes;
    bool
        fits; /* all that memory has is kept: nothing can be flushed out, so pages enter when they are
                  sent for the first time */
    /* the batch that is being encoded */
    uint8_t *payload;
    bool lent; /* it is the caller's */
    size_t bytes;
    struct frame_run runs[FRAME_MAX_RUNS];
    uint32_t runs_len, sums_len;
    uint64_t pages_of[MIG_ENC_COUNT], bytes_of[MIG_ENC_COUNT];
    uint32_t deltas; /* tried */
    uint64_t delta_bytes, delta_ns, group_ns;
    /* pages that wait for being compressed together */
    uint8_t *group;
    struct frame_run pieces[FRAME_GROUP_PAGES];
    uint32_t pieces_len, group_pages;
    /* time */
    uint64_t last_ns;            /* of the last batch */
    uint64_t ran_ns, delayed_ns; /* so far, at the last window */
    pid_t thread;                /* whose stat_fd is */
    int stat_fd;
};

static void encode_page(struct source_worker *w, const struct frame_run *r, uint32_t k,
                        const uint8_t *page, bool again);
static bool encode_delta(struct source_worker *w, const struct frame_run *r, uint32_t k,
                         uint8_t *base, const uint8_t *page);
static void keep(struct source_encode *e, uint64_t number, uint8_t *base, const uint8_t *copy,
                 bool again, bool paused);
static void put_group(struct source_worker *w, enum mig_encoding enc);
static void put_raw(struct source_worker *w, const struct frame_run *r, uint32_t k,
                    const uint8_t *page);
static struct frame_run *put_run(struct source_encode *e, const struct frame_run *r, uint32_t k,
                                 enum frame_kind kind);
static uint64_t cache_number(const struct mig_source *s, uint64_t page);
static uint64_t limit_of_worker(struct source_worker *w);
static void look_at_thread(struct source_encode *e);

void
source_encode_init(struct source_worker *w)
{
    struct mig_source *s = w->s;
    const bool allowed[MIG_ENC_COUNT] = {
        [MIG_ENC_RAW] = true,
        [MIG_ENC_ZERO] = true,
        [MIG_ENC_DELTA] = s->capabilities & CONTROL_CAP_DELTA,
        [MIG_ENC_LZ4] = s->capabilities & CONTROL_CAP_LZ4,
        [MIG_ENC_ZSTD] = s->capabilities & CONTROL_CAP_ZSTD,
    };
    struct source_encode *e;

    if (s->cfg.policy.encoding == MIG_ENC_RAW || !(s->capabilities & CONTROL_CAPS_ENCODINGS))
        return;
    e = w->encode = xcalloc(1, sizeof *e);
    codec_choose_init(&e->choose, s->cfg.policy.encoding, allowed);
    e->cache_bytes = s->cfg.limits.delta_cache_bytes;
    if (!e->cache_bytes)
        e->cache_bytes =
            s->layout.total_bytes < CACHE_MAX_BYTES ? s->layout.total_bytes : CACHE_MAX_BYTES;
    e->cache_bytes /= s->channels;
    e->stat_fd = -1;
}

void
source_encode_done(struct source_worker *w)
{
    struct source_encode *e = w->encode;

    if (!e)
        return;
    codec_lz_free(e->lz);
    codec_cache_free(e->cache);
    source_encode_into(w, NULL);
    free(e->group);
    if (e->stat_fd >= 0)
        close(e->stat_fd);
    free(e);
    w->encode = NULL;
}

void
source_encode_begin(struct source_worker *w)
{
    struct source_encode *e = w->encode;

    if (!e)
        return;
    if (e->thread != gettid()) { /* threads end with their connections */
        if (e->stat_fd >= 0)
            close(e->stat_fd);
        e->stat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
        e->thread = gettid();
    }
    /* what is left of the last phase's window is dropped: it is not known how busy it was */
    e->choose.window_bytes = e->choose.window_ns = e->choose.window_send_ns = 0;
    e->fits = e->cache_bytes * w->s->channels >= w->s->present_bytes;
    e->last_ns = clock_mono_ns();
    look_at_thread(e);
}

bool
source_encode_batch(struct source_worker *w)
{
    struct source_encode *e = w->encode;
    struct source_batch *b = &w->batch;
    bool cached, kept = false;
    uint64_t began, ran;
    uint32_t page = 0;

    if (!e)
        return false;
    e->plan = codec_choose_next(&e->choose, limit_of_worker(w), clock_mono_us());
    cached = e->cache && codec_cache_used(e->cache) > 0;
    if (e->plan.keep_one_in && e->cache_bytes && !w->s->paused)
        kept = e->fits || bits_next(b->resent, 0, b->raw_pages) < b->raw_pages;
    if (!cached && (b->raw_pages == 0 ||
                    (e->plan.group == MIG_ENC_RAW && e->plan.trial == MIG_ENC_AUTO && !kept)))
        return false;
    if (!e->payload)
        e->payload = xmalloc((size_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES + CODEC_DELTA_SLACK +
                             LAYOUT_PAGE_BYTES);
    if (!e->group) {
        e->group = xmalloc((size_t)FRAME_GROUP_PAGES * LAYOUT_PAGE_BYTES);
        e->lz = codec_lz_new();
    }
    if (kept && !e->cache) {
        e->cache = codec_cache_new(e->cache_bytes);
        if (!e->cache)
            e->cache_bytes = 0;
    }
    e->bytes = e->runs_len = e->sums_len = e->deltas = 0;
    e->delta_bytes = e->delta_ns = e->group_ns = 0;
    began = clock_thread_ns();
    memset(e->pages_of, 0, sizeof e->pages_of);
    memset(e->bytes_of, 0, sizeof e->bytes_of);
    for (uint32_t i = 0; i < b->runs_len; i++) {
        const struct frame_run *r = &b->runs[i];

        for (uint32_t k = 0; k < r->pages; k++) {
            if (r->kind == FRAME_RAW) {
                encode_page(w, r, k, b->pages + (size_t)page * LAYOUT_PAGE_BYTES,
                            e->fits || bits_test(b->resent, page));
                page++;
            } else if (cached) {
                uint64_t number = layout_page(&w->s->layout, r->region, r->offset) + k;

                codec_cache_drop(e->cache, cache_number(w->s, number));
            }
        }
        if (r->kind == FRAME_ZERO)
            e->runs[e->runs_len++] = *r;
    }
    put_group(w, e->plan.trial ? e->plan.trial : e->plan.group);
    /* A wall clock, which is cheap enough for each page, and what the thread ran at the most: it may
     * have been taken from its processor meanwhile. */
    ran = clock_thread_ns() - began - e->group_ns;
    codec_choose_encoded(&e->choose, MIG_ENC_DELTA, e->deltas, e->delta_bytes,
                         e->delta_ns < ran ? e->delta_ns : ran, clock_mono_us());
    memcpy(b->runs, e->runs, e->runs_len * sizeof *e->runs);
    b->runs_len = e->runs_len;
    b->bytes = e->bytes;
    return true;
}

void
source_encode_sent(struct source_worker *w, uint64_t bytes, uint64_t send_ns, bool encoded)
{
    struct source_encode *e = w->encode;
    uint64_t now;

    if (!e)
        return;
    for (unsigned k = 0; encoded && k < MIG_ENC_COUNT; k++) {
        atomic_fetch_add_explicit(&w->enc_pages[k], e->pages_of[k], memory_order_relaxed);
        atomic_fetch_add_explicit(&w->enc_bytes[k], e->bytes_of[k], memory_order_relaxed);
    }
    now = clock_mono_ns();
    if (codec_choose_sent(&e->choose, bytes, now - e->last_ns, send_ns, encoded)) {
        uint64_t ran = e->ran_ns, delayed = e->delayed_ns;

        look_at_thread(e);
        codec_choose_window(&e->choose, e->ran_ns - ran, e->delayed_ns - delayed);
    }
    e->last_ns = now;
}

void
source_encode_into(struct source_worker *w, uint8_t *payload)
{
    struct source_encode *e = w->encode;

    if (!e)
        return;
    if (!e->lent)
        free(e->payload);
    e->payload = payload;
    e->lent = payload != NULL;
}

uint8_t *
source_encode_payload(struct source_worker *w)
{
    return w->encode ? w->encode->payload : NULL;
}

void
source_encode_forget(struct source_worker *w, uint64_t page, uint64_t mask)
{
    struct source_encode *e = w->encode;

    if (!e || !e->cache)
        return;
    for (; mask; mask &= mask - 1)
        codec_cache_drop(e->cache, cache_number(w->s, page + (uint64_t)__builtin_ctzll(mask)));
}

/* --- one page --- */

static void
encode_page(struct source_worker *w, const struct frame_run *r, uint32_t k, const uint8_t *page,
            bool again)
{
    struct source_encode *e = w->encode;
    struct mig_source *s = w->s;
    uint64_t offset = r->offset + (uint64_t)k * LAYOUT_PAGE_BYTES;
    uint64_t number = cache_number(s, layout_page(&s->layout, r->region, offset));
    enum mig_encoding enc = e->plan.trial ? e->plan.trial : e->plan.group;
    uint8_t *base = e->cache ? codec_cache_find(e->cache, number) : NULL, *copy;
    bool keeps = base || (again && e->cache && e->plan.keep_one_in && !s->paused);

    if (base && encode_delta(w, r, k, base, page))
        return;
    if (enc == MIG_ENC_RAW) {
        copy = e->payload + e->bytes;
        put_raw(w, r, k, page);
    } else {
        copy = e->group + (size_t)e->group_pages * LAYOUT_PAGE_BYTES;
        memcpy(copy, page, LAYOUT_PAGE_BYTES);
    }
    if (keeps)
        keep(e, number, base, copy, again, s->paused);
    if (enc == MIG_ENC_RAW)
        return;

    struct frame_run *last = e->pieces_len ? &e->pieces[e->pieces_len - 1] : NULL;

    if (k > 0 && last && last->region == r->region &&
        last->offset + (uint64_t)last->pages * LAYOUT_PAGE_BYTES == offset)
        last->pages++;
    else
        e->pieces[e->pieces_len++] =
            (struct frame_run){.offset = offset, .pages = 1, .region = r->region};
    e->group_pages++;
    if (e->group_pages == (e->plan.trial ? CODEC_TRY_PAGES : FRAME_GROUP_PAGES)) {
        put_group(w, enc);
        e->plan.trial = MIG_ENC_AUTO;
    }
}

/* False when the page is better sent whole; then base is to be filled anew or dropped. */
static bool
encode_delta(struct source_worker *w, const struct frame_run *r, uint32_t k, uint8_t *base,
             const uint8_t *page)
{
    struct source_encode *e = w->encode;
    uint64_t began = clock_mono_ns();
    size_t len = codec_delta(base, page, e->payload + e->bytes, e->plan.delta_budget);

    e->deltas++;
    e->delta_bytes += len ? len : LAYOUT_PAGE_BYTES;
    e->delta_ns += clock_mono_ns() - began;
    if (len == 0)
        return false;
    put_run(e, r, k, FRAME_DELTA)->bytes += (uint32_t)len;
    w->batch.sums[e->sums_len++] = frame_page_sum(base);
    e->bytes += len;
    e->pages_of[MIG_ENC_DELTA]++;
    e->bytes_of[MIG_ENC_DELTA] += len;
    return true;
}

/* copy is what is sent of the page. */
static void
keep(struct source_encode *e, uint64_t number, uint8_t *base, const uint8_t *copy, bool again,
     bool paused)
{
    bool wanted = again && e->plan.keep_one_in && number % e->plan.keep_one_in == 0 && !paused;

    if (!wanted) {
        codec_cache_drop(e->cache, number);
        return;
    }
    if (!base)
        base = codec_cache_put(e->cache, number);
    if (base)
        memcpy(base, copy, LAYOUT_PAGE_BYTES);
}

/* --- what is sent --- */

/* The pages that have gathered, compressed together, or raw when they do not shrink. */
static void
put_group(struct source_worker *w, enum mig_encoding enc)
{
    struct source_encode *e = w->encode;
    size_t full = (size_t)e->group_pages * LAYOUT_PAGE_BYTES, len;
    uint64_t began, ns;
    uint32_t at = 0;

    if (e->group_pages == 0)
        return;
    began = clock_thread_ns();
    len = (enc == MIG_ENC_LZ4 ? codec_lz4 : codec_zstd)(e->lz, e->group, full,
                                                        e->payload + e->bytes, GROUP_SHRINK(full));
    ns = clock_thread_ns() - began;
    e->group_ns += ns;
    codec_choose_encoded(&e->choose, enc, e->group_pages, len ? len : full, ns, clock_mono_us());
    for (uint32_t i = 0; i < e->pieces_len; i++) {
        struct frame_run *r = &e->pieces[i];

        for (uint32_t k = 0; len == 0 && k < r->pages; k++, at++)
            put_raw(w, r, k, e->group + (size_t)at * LAYOUT_PAGE_BYTES);
        if (len == 0)
            continue;
        r->kind = enc == MIG_ENC_LZ4 ? FRAME_LZ4 : FRAME_ZSTD;
        r->bytes = i == 0 ? (uint32_t)len : 0;
        e->runs[e->runs_len++] = *r;
    }
    if (len > 0) {
        for (uint32_t i = 0; i < e->group_pages; i++)
            w->batch.sums[e->sums_len++] = frame_page_sum(e->group + (size_t)i * LAYOUT_PAGE_BYTES);
        e->bytes += len;
        e->pages_of[enc] += e->group_pages;
        e->bytes_of[enc] += len;
    }
    e->pieces_len = e->group_pages = 0;
}

/* Page k of run r, of which `page` is the content (the guest may write it meanwhile). */
static void
put_raw(struct source_worker *w, const struct frame_run *r, uint32_t k, const uint8_t *page)
{
    struct source_encode *e = w->encode;
    uint8_t *to = e->payload + e->bytes;

    memcpy(to, page, LAYOUT_PAGE_BYTES);
    put_run(e, r, k, FRAME_RAW);
    w->batch.sums[e->sums_len++] = frame_page_sum(to);
    e->bytes += LAYOUT_PAGE_BYTES;
    e->pages_of[MIG_ENC_RAW]++;
    e->bytes_of[MIG_ENC_RAW] += LAYOUT_PAGE_BYTES;
}

/* Page k of run r goes behind the last run, where it follows it, or begins a new one. */
static struct frame_run *
put_run(struct source_encode *e, const struct frame_run *r, uint32_t k, enum frame_kind kind)
{
    uint64_t offset = r->offset + (uint64_t)k * LAYOUT_PAGE_BYTES;
    struct frame_run *last = e->runs_len ? &e->runs[e->runs_len - 1] : NULL;

    if (k > 0 && last && last->kind == kind && last->region == r->region &&
        last->offset + (uint64_t)last->pages * LAYOUT_PAGE_BYTES == offset) {
        last->pages++;
        return last;
    }
    last = &e->runs[e->runs_len++];
    *last = (struct frame_run){
        .offset = offset, .pages = 1, .region = r->region, .kind = (uint16_t)kind};
    return last;
}

/* --- numbers --- */

/* A worker's own stripes, numbered through: neighbours stay neighbours. */
static uint64_t
cache_number(const struct mig_source *s, uint64_t page)
{
    return page / LAYOUT_STRIPE_PAGES / s->channels * LAYOUT_STRIPE_PAGES +
           page % LAYOUT_STRIPE_PAGES;
}

static uint64_t
limit_of_worker(struct source_worker *w)
{
    return share_rate(&w->s->share) / w->s->channels;
}

/* How long this thread ran, and waited for a processor, so far. */
static void
look_at_thread(struct source_encode *e)
{
    char buf[96];
    ssize_t n = e->stat_fd >= 0 ? pread(e->stat_fd, buf, sizeof buf - 1, 0) : -1;
    char *end;

    if (n <= 0) {
        e->ran_ns = clock_thread_ns();
        return;
    }
    buf[n] = '\0';
    e->ran_ns = strtoull(buf, &end, 10);
    e->delayed_ns = strtoull(end, NULL, 10);
}
