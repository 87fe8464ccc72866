/* RDMA WRITEs of the source's workers; see source_rdma.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/codec.h"
#include "migrate/rdma_lane.h"

#define SLOTS      4 /* buffers of a worker: what it reads, what it encodes, what the device reads */
#define SLOT_BYTES (((size_t)FRAME_MAX_RAW_PAGES + 2) * LAYOUT_PAGE_BYTES)
#define AHEAD      16 /* stripes of its own that a worker looks ahead: 32 MiB */
#define ASK        4  /* that it asks for at once, but for the first */
/* Registering is faster than any link but costs processor time of the target: where that is scarce
 * sending must not run away from it. When a window takes longer, none is waited for until the target
 * has caught up. */
#define PATIENCE_US 100000
/* A window costs the target memory for all of its stripe: it is asked for when so much of that is to
 * be sent. */
#define WORTH(pages) ((pages) / 4)

_Static_assert(CODEC_DELTA_SLACK <= LAYOUT_PAGE_BYTES, "encoded batches fit a slot");

enum window_state { WINDOW_NONE, WINDOW_ASKED, WINDOW_OPEN, WINDOW_REFUSED };

struct window {
    _Atomic uint32_t state; /* enum window_state: the run thread moves it on from ASKED, the worker
                               whose stripe it is from everything else */
    _Atomic uint32_t key;   /* these two: valid while it is OPEN */
    _Atomic uint64_t address;
    uint64_t ticket; /* the worker's: of the last WRITE into it */
};

struct source_windows {
    struct window *of;        /* by stripe */
    _Atomic uint32_t refused; /* so far */
    /* of workers for windows */
    _Atomic uint32_t waits, ended;
    uint32_t ended_seen; /* by the run thread */
};

struct source_placer {
    struct lane *lane;
    struct nic_mr *mr;
    uint8_t *slots, *own_pages; /* own_pages: the batch's where nothing is placed */
    uint64_t slot_ticket[SLOTS];
    unsigned last_slot;
    uint64_t ticket; /* of this batch's WRITEs; 0 = none */
    struct lane_write writes[FRAME_MAX_RAW_PAGES];
    /* its windows, asked for or open, the oldest first */
    uint64_t *fifo;
    uint64_t fifo_room, fifo_first, fifo_len;
    uint64_t limit; /* of them at once */
    uint32_t refused_seen;
    bool raw_goes; /* the last batch had raw pages to speak of */
    bool patient;
    uint64_t ahead; /* stripe that it looks at next */
    uint64_t empty_until[GUEST_MAX_REGIONS];
    struct control_window want[AHEAD], release[AHEAD];
};

static void placer_new(struct source_worker *w);
static void placer_free(struct source_worker *w);
static int worth_window(struct source_worker *w, uint64_t stripe, bool *ret);
static int make_room(struct source_worker *w, uint64_t stripe, uint32_t *release_len, bool *ret);
static void drop_refused(struct source_worker *w);
static void wait_for(struct source_worker *w, uint64_t stripe);
static int ask(struct source_worker *w, uint32_t want_len, uint32_t release_len);
static void set_window(const struct mig_source *s, uint64_t stripe, struct control_window *ret);
static void add_piece(struct source_batch *b, uint8_t *at, size_t len);
static unsigned slot_of(const struct source_placer *p, const uint8_t *buf);

void
source_rdma_open(struct mig_source *s)
{
    if (!s->lanes)
        return;
    s->windows = xcalloc(1, sizeof *s->windows);
    s->windows->of = xcalloc(s->layout.stripes, sizeof *s->windows->of);
}

void
source_rdma_close(struct mig_source *s)
{
    for (uint32_t i = 0; i < s->channels && s->workers; i++)
        placer_free(&s->workers[i]);
    if (s->windows)
        free(s->windows->of);
    free(TAKE_PTR(s->windows));
    atomic_store(&s->open_window_bytes, 0);
}

int
source_rdma_on_windows(struct mig_source *s, const struct control_windows *m)
{
    struct err err = {0};
    int rc;

    for (uint32_t i = 0; i < m->len; i++) {
        const struct control_window *in = &m->windows[i];
        uint64_t stripe = in->first_page / LAYOUT_STRIPE_PAGES;
        struct window *w = NULL;
        struct control_window asked;

        if (s->windows && stripe < s->layout.stripes) {
            set_window(s, stripe, &asked);
            if (in->first_page == asked.first_page && in->pages == asked.pages)
                w = &s->windows->of[stripe];
        }
        if (!w || atomic_load(&w->state) != WINDOW_ASKED) {
            rc = err_set(
                &err, -EPROTO,
                "the target says WINDOWS of %llu pages from %llu on: they were not asked for",
                (unsigned long long)in->pages, (unsigned long long)in->first_page);
            return source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
        }
        if (!in->key) {
            atomic_store(&w->state, WINDOW_REFUSED);
            atomic_fetch_add(&s->windows->refused, 1);
            continue;
        }
        atomic_store_explicit(&w->key, in->key, memory_order_relaxed);
        atomic_store_explicit(&w->address, in->address, memory_order_relaxed);
        atomic_store_explicit(&w->state, WINDOW_OPEN, memory_order_release);

        uint64_t open = in->pages * LAYOUT_PAGE_BYTES;

        open += atomic_fetch_add(&s->open_window_bytes, open);
        if (open > atomic_load(&s->peak_window_bytes)) /* nobody else raises it */
            atomic_store(&s->peak_window_bytes, open);
    }
    pthread_mutex_lock(&s->mu);
    pthread_cond_broadcast(&s->cv);
    pthread_mutex_unlock(&s->mu);
    return 0;
}

bool
source_rdma_waited(struct mig_source *s)
{
    struct source_windows *ws = s->windows;
    uint32_t ended = ws ? atomic_load(&ws->ended) : 0, was;

    if (!ws)
        return false;
    was = ws->ended_seen;
    ws->ended_seen = ended;
    return ended != was || atomic_load(&ws->waits) != ended;
}

void
source_rdma_begin(struct source_worker *w)
{
    if (w->s->windows && !w->placer && conn_lane(w->conn))
        placer_new(w);
    if (!w->placer)
        return;
    w->placer->ahead = w->index;
    w->placer->raw_goes = true;
    w->placer->patient = true;
    memset(w->placer->empty_until, 0, sizeof w->placer->empty_until);
}

int
source_rdma_ahead(struct source_worker *w, uint64_t stripe)
{
    struct mig_source *s = w->s;
    struct source_placer *p = w->placer;
    uint64_t step = s->channels, end = stripe + AHEAD * step;
    uint32_t want_len = 0, release_len = 0;
    int rc = 0;

    if (!p || !p->raw_goes)
        return 0;
    if (p->ahead < stripe)
        p->ahead = stripe;
    drop_refused(w);
    end = p->ahead > stripe + (AHEAD - ASK) * step ? 0 : end;
    for (end = end < s->layout.stripes ? end : s->layout.stripes; p->ahead < end;
         p->ahead += step) {
        struct window *win = &s->windows->of[p->ahead];
        bool worth = false, room = false;

        if (atomic_load(&win->state) != WINDOW_NONE)
            continue;
        rc = worth_window(w, p->ahead, &worth);
        if (rc == 0 && worth)
            rc = make_room(w, stripe, &release_len, &room);
        if (rc != 0)
            return rc;
        if (worth && !room)
            break;
        if (!worth)
            continue;
        p->fifo[(p->fifo_first + p->fifo_len++) % p->fifo_room] = p->ahead;
        win->ticket = 0;
        atomic_store(&win->state, WINDOW_ASKED);
        set_window(s, p->ahead, &p->want[want_len++]);
    }
    if (want_len || release_len)
        rc = ask(w, want_len, release_len);
    if (rc == 0)
        wait_for(w, stripe);
    return rc;
}

int
source_rdma_place(struct source_worker *w, uint8_t *payload)
{
    struct source_batch *b = &w->batch;
    struct source_placer *p = w->placer;
    uint32_t raw = 0, placed = 0;
    uint8_t *at = payload;
    size_t n = 0;
    int rc;

    b->iov_len = 1; /* the head */
    if (!p) {
        add_piece(b, payload, b->bytes);
        return 0;
    }
    p->ticket = 0;
    for (uint32_t i = 0; i < b->runs_len; i++) {
        struct frame_run *r = &b->runs[i];
        size_t len = r->kind == FRAME_RAW ? (size_t)r->pages * LAYOUT_PAGE_BYTES : r->bytes;
        uint64_t page = layout_page(&w->s->layout, r->region, r->offset);
        struct window *win = &w->s->windows->of[page / LAYOUT_STRIPE_PAGES];

        raw += r->kind == FRAME_RAW ? r->pages : 0;
        if (r->kind == FRAME_RAW &&
            atomic_load_explicit(&win->state, memory_order_acquire) == WINDOW_OPEN) {
            p->writes[n++] = (struct lane_write){
                .from = at,
                .mr = p->mr,
                .to = atomic_load_explicit(&win->address, memory_order_relaxed) +
                      page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES,
                .key = atomic_load_explicit(&win->key, memory_order_relaxed),
                .bytes = (uint32_t)len};
            r->kind = FRAME_PLACED;
            placed += r->pages;
        } else {
            add_piece(b, at, len);
        }
        at += len;
    }
    p->raw_goes = raw >= b->raw_pages / 4;
    if (n == 0)
        return 0;
    rc = lane_write(p->lane, p->writes, n, &p->ticket, &w->err);
    if (rc == 0 && FAULT(SRC_PLACED))
        rc = err_set(&w->err, -EIO, "fault point src.placed");
    if (rc != 0) {
        w->cause = MIG_CAUSE_PEER;
        return err_prefix(&w->err, rc, "data channel %u", w->index);
    }
    for (uint32_t i = 0; i < b->runs_len; i++) {
        const struct frame_run *r = &b->runs[i];

        if (r->kind == FRAME_PLACED)
            w->s->windows
                ->of[layout_page(&w->s->layout, r->region, r->offset) / LAYOUT_STRIPE_PAGES]
                .ticket = p->ticket;
    }
    b->bytes -= (uint64_t)placed * LAYOUT_PAGE_BYTES;
    atomic_fetch_add_explicit(&w->placed_pages, placed, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->sent_bytes, (uint64_t)placed * LAYOUT_PAGE_BYTES,
                              memory_order_relaxed);
    return 0;
}

int
source_rdma_next(struct source_worker *w, bool encoded)
{
    struct source_placer *p = w->placer;
    uint8_t *payload = p ? source_encode_payload(w) : NULL, *next;
    unsigned k;
    int rc;

    if (!p || !p->ticket)
        return 0;
    p->slot_ticket[slot_of(p, encoded ? payload : w->batch.pages)] = p->ticket;
    k = p->last_slot;
    do
        k = (k + 1) % SLOTS;
    while (k == slot_of(p, w->batch.pages) || (payload && k == slot_of(p, payload)));
    rc = lane_wait(p->lane, p->slot_ticket[k], &w->err);
    if (rc != 0) {
        w->cause = MIG_CAUSE_PEER;
        return err_prefix(&w->err, rc, "data channel %u", w->index);
    }
    p->last_slot = k;
    p->slot_ticket[k] = p->ticket = 0;
    next = p->slots + k * SLOT_BYTES;
    if (encoded)
        source_encode_into(w, next);
    else
        w->batch.pages = next;
    return 0;
}

/* --- a worker's buffers --- */

/* Where its buffers cannot be registered everything goes by the stream. */
static void
placer_new(struct source_worker *w)
{
    struct mig_source *s = w->s;
    struct source_placer *p = xcalloc(1, sizeof *p);
    uint64_t own = (s->layout.stripes + s->channels - 1) / s->channels;

    p->limit =
        s->window_bytes
            ? (s->window_bytes / LAYOUT_STRIPE_BYTES + s->channels - 1 - w->index) / s->channels
            : own;
    p->fifo_room = p->limit < own ? p->limit : own;
    p->slots = aligned_alloc(LAYOUT_PAGE_BYTES, SLOTS * SLOT_BYTES);
    if (!p->slots || p->limit == 0 ||
        nic_register(s->nic, p->slots, SLOTS * SLOT_BYTES, NIC_LOCAL, &p->mr, NULL) != 0) {
        free(p->slots);
        free(p);
        return;
    }
    p->fifo = xcalloc(p->fifo_room, sizeof *p->fifo);
    p->lane = conn_lane(w->conn);
    p->own_pages = w->batch.pages;
    w->batch.pages = p->slots;
    source_encode_into(w, p->slots + SLOT_BYTES);
    p->last_slot = 1;
    w->placer = p;
}

static void
placer_free(struct source_worker *w)
{
    struct source_placer *p = TAKE_PTR(w->placer);

    if (!p)
        return;
    source_encode_into(w, NULL);
    w->batch.pages = p->own_pages;
    nic_unregister(p->mr);
    free(p->slots);
    free(p->fifo);
    free(p);
}

static unsigned
slot_of(const struct source_placer *p, const uint8_t *buf)
{
    return (unsigned)((size_t)(buf - p->slots) / SLOT_BYTES);
}

static void
add_piece(struct source_batch *b, uint8_t *at, size_t len)
{
    struct iovec *last = &b->iov[b->iov_len - 1];

    if (len == 0)
        return;
    if (b->iov_len > 1 && (uint8_t *)last->iov_base + last->iov_len == at)
        last->iov_len += len;
    else
        b->iov[b->iov_len++] = (struct iovec){.iov_base = at, .iov_len = len};
}

/* --- windows --- */

/* Whether enough of it will be sent in this round. */
static int
worth_window(struct source_worker *w, uint64_t stripe, bool *ret)
{
    struct mig_source *s = w->s;
    uint64_t bits[LAYOUT_STRIPE_PAGES / 64] = {0}, offset, *empty_until, pages;
    uint32_t region, bytes;
    int rc = 0;

    layout_stripe(&s->layout, stripe, &region, &offset, &bytes);
    if (s->round > 1 || s->paused) {
        for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
            bits[i] =
                s->dirty[stripe * ARRAY_LEN(bits) + i] | s->again[stripe * ARRAY_LEN(bits) + i];
    } else {
        empty_until = &w->placer->empty_until[region];
        if (*empty_until <= offset)
            rc = present_next(&w->present[region], offset, empty_until, &w->err);
        if (rc == 0 && *empty_until < offset + bytes)
            rc = present_bits(&w->present[region], offset, bytes, bits, &w->err);
    }
    pages = bits_count(bits, ARRAY_LEN(bits));
    if (rc != 0)
        w->cause = MIG_CAUSE_GUEST;
    *ret = pages > 0 && pages >= WORTH(bytes / LAYOUT_PAGE_BYTES);
    return rc;
}

/* *ret: there is room for another window. The oldest has to go for it, unless it is of use yet: from
 * `stripe` on, or not even there. */
static int
make_room(struct source_worker *w, uint64_t stripe, uint32_t *release_len, bool *ret)
{
    struct source_placer *p = w->placer;
    uint64_t oldest;
    struct window *win;
    int rc;

    *ret = p->fifo_len < p->limit;
    if (*ret || p->fifo_len == 0 || *release_len == AHEAD)
        return 0;
    oldest = p->fifo[p->fifo_first % p->fifo_room];
    win = &w->s->windows->of[oldest];
    if (atomic_load(&win->state) != WINDOW_OPEN || (oldest >= stripe && oldest < p->ahead))
        return 0;
    rc = lane_wait(p->lane, win->ticket, &w->err);
    if (rc != 0) {
        w->cause = MIG_CAUSE_PEER;
        return err_prefix(&w->err, rc, "data channel %u", w->index);
    }
    p->fifo_first++;
    p->fifo_len--;
    set_window(w->s, oldest, &p->release[*release_len]);
    atomic_store(&win->state, WINDOW_NONE);
    atomic_fetch_sub(&w->s->open_window_bytes,
                     p->release[(*release_len)++].pages * LAYOUT_PAGE_BYTES);
    *ret = true;
    return 0;
}

/* A target that refuses has less to give than it thought: what it has given is kept to. */
static void
drop_refused(struct source_worker *w)
{
    struct source_placer *p = w->placer;
    uint32_t refused = atomic_load(&w->s->windows->refused);
    uint64_t kept = 0;

    if (refused == p->refused_seen)
        return;
    p->refused_seen = refused;
    for (uint64_t i = 0; i < p->fifo_len; i++) {
        uint64_t stripe = p->fifo[(p->fifo_first + i) % p->fifo_room];
        struct window *win = &w->s->windows->of[stripe];

        if (atomic_load(&win->state) == WINDOW_REFUSED)
            atomic_store(&win->state, WINDOW_NONE);
        else
            p->fifo[(p->fifo_first + kept++) % p->fifo_room] = stripe;
    }
    if (kept < p->fifo_len)
        p->limit = kept;
    p->fifo_len = kept;
}

/* The target's answer, if it was asked, and soon. */
static void
wait_for(struct source_worker *w, uint64_t stripe)
{
    struct mig_source *s = w->s;
    struct window *win = &s->windows->of[stripe];
    uint64_t until = clock_mono_us() + PATIENCE_US;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};

    if (atomic_load(&win->state) == WINDOW_OPEN)
        w->placer->patient = true;
    if (s->paused || !w->placer->patient || atomic_load(&win->state) != WINDOW_ASKED)
        return;
    atomic_fetch_add(&s->windows->waits, 1);
    pthread_mutex_lock(&s->mu);
    while (!atomic_load(&s->stop) && atomic_load(&win->state) == WINDOW_ASKED && w->placer->patient)
        w->placer->patient = pthread_cond_timedwait(&s->cv, &s->mu, &ts) != ETIMEDOUT;
    pthread_mutex_unlock(&s->mu);
    atomic_fetch_add(&s->windows->ended, 1);
}

static int
ask(struct source_worker *w, uint32_t want_len, uint32_t release_len)
{
    struct source_placer *p = w->placer;
    struct control_msg m = {.type = CONTROL_WINDOWS_WANTED,
                            .windows = {.len = want_len,
                                        .release_len = release_len,
                                        .windows = p->want,
                                        .release = p->release}};
    int rc = ctl_send(w->s->ctl, &m, &w->err);

    if (rc != 0)
        w->cause = MIG_CAUSE_PEER;
    return rc;
}

static void
set_window(const struct mig_source *s, uint64_t stripe, struct control_window *ret)
{
    uint32_t region, bytes;
    uint64_t offset;

    layout_stripe(&s->layout, stripe, &region, &offset, &bytes);
    *ret = (struct control_window){.first_page = stripe * LAYOUT_STRIPE_PAGES,
                                   .pages = bytes / LAYOUT_PAGE_BYTES};
}
