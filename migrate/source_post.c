/* The source's part of post-copy: it says what the target lacks, answers what the target's guest
 * waits for on a channel of its own, and pushes the rest over all others. The guest here is paused for
 * good, so its memory is read only and no page has two versions. See source_int.h, plan.h,
 * docs/postcopy.md. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/urgent.h"
#include "migrate/xport.h"
#include "migrate/zero.h"

#define PUSH_PAGES      64u  /* of one batch while nobody waits: 256 KiB */
#define PUSH_PAGES_BUSY 4u   /* and when somebody did a moment ago */
#define BUSY_US         2000 /* what a moment is */
#define YIELD_US        1000 /* a push waits at most so long for open requests */
#define HEAT_MAX        255

/* A batch of post-copy and its frame. */
struct source_post_batch {
    struct frame_run runs[FRAME_MAX_RAW_PAGES];
    uint64_t sums[FRAME_MAX_RAW_PAGES];
    uint8_t head[FRAME_MAX_HEAD];
    struct iovec iov[1 + FRAME_MAX_RAW_PAGES];
    uint32_t runs_len, pages; /* pages: with zeros */
};

static int say_missing(struct mig_source *s);
static void *urgent_main(void *arg);
static int answer(struct source_urgent *u, const struct frame_request *r);
static void add(struct mig_source *s, struct source_post_batch *b, uint32_t region, uint64_t offset,
                uint32_t pages);
static int send_batch(struct mig_source *s, struct source_post_batch *b, struct conn *conn,
                      uint64_t *seq, struct err *err);
static uint64_t batch_raw_pages(const struct source_post_batch *b);
static uint64_t batch_bytes(const struct source_post_batch *b);
static int urgent_start(struct mig_source *s);
static bool next_batch(struct mig_source *s, struct source_post_batch *b);

void
source_heat(struct mig_source *s)
{
    for (uint64_t i = 0; i < s->layout.stripes; i++) {
        const uint64_t *d = s->dirty + i * (LAYOUT_STRIPE_PAGES / 64);

        if (s->heat[i] < HEAT_MAX && bits_count(d, LAYOUT_STRIPE_PAGES / 64) > 0)
            s->heat[i]++;
    }
}

int
source_last_post(struct mig_source *s)
{
    struct source_state st = {0};
    uint64_t bytes;
    int rc;

    s->paused = true;
    rc = source_count_all(s, &bytes);
    /* Nothing was sent yet: the target lacks all that has data. The tracker knows only what was
     * written since it was armed, and the probes before the first round may have armed it. */
    for (uint32_t i = 0; rc == 0 && s->round == 0 && i < s->channels; i++) {
        s->workers[i].next_stripe = i;
        rc = source_not_reached(s, &s->workers[i]);
        if (rc != 0)
            source_trouble(s, MIG_CAUSE_GUEST, rc, &s->workers[i].err);
    }
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < s->words; i++)
        s->dirty[i] |= s->again[i];
    s->missing_pages = bits_count(s->dirty, s->words);
    bytes = s->missing_pages * LAYOUT_PAGE_BYTES;
    rc = say_missing(s);
    if (rc == 0)
        rc = source_send_state(s, &st);
    if (rc == 0 && FAULT(SRC_POSTCOPY_MISSING)) {
        struct err err = {0};

        rc = err_set(&err, -EIO, "fault point src.postcopy.missing");
        return source_trouble(s, MIG_CAUSE_LOCAL, rc, &err);
    }
    if (rc != 0)
        return rc;
    s->state_bytes = st.bytes;
    s->state_sum = st.sum;
    plan_init(&s->plan, &s->layout, s->dirty, s->heat);
    s->planned = true;
    pthread_mutex_lock(&s->mu);
    s->stats.downtime.scan_us = s->scan_us;
    s->stats.downtime.state_us = st.us;
    s->stats.missing_bytes = bytes;
    s->stats.mode = MIG_MODE_POSTCOPY; /* before commit() is called, which records it */
    pthread_mutex_unlock(&s->mu);
    /* The guest there may touch its memory while its state is loaded, before anything is decided. */
    return urgent_start(s);
}

static int
say_missing(struct mig_source *s)
{
    for (uint64_t word = 0;;) {
        struct control_msg m = {.type = CONTROL_MISSING};
        uint64_t n;
        int rc;

        while (word < s->words && s->dirty[word] == 0)
            word++;
        n = s->words - word;
        n = n < CONTROL_MISSING_SIZE / 8 ? n : CONTROL_MISSING_SIZE / 8;
        m.missing = (struct control_missing){.first_page = word * 64,
                                             .words = n,
                                             .bits = s->dirty + word,
                                             .last = word + n == s->words};
        rc = source_say(s, &m);
        if (rc != 0 || m.missing.last)
            return rc;
        word += n;
    }
}

int
source_on_missing(struct mig_source *s, const struct control_missing *m)
{
    if (m->first_page / 64 < s->lacking_next || m->first_page / 64 > s->words ||
        m->words > s->words - m->first_page / 64) {
        struct err err = {0};
        int rc = err_set(&err, -EPROTO, "the target lacks memory that the guest does not have");

        return source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
    }
    if (m->words)
        memcpy(s->lacking + m->first_page / 64, m->bits, m->words * 8);
    s->lacking_next = m->first_page / 64 + m->words;
    s->lacking_whole = m->last;
    return 0;
}

/* The bitmap comes from a peer: pages behind the end of a region's last stripe are none. */
static void
cut_to_memory(const struct layout *l, uint64_t *bits)
{
    for (uint32_t r = 0; r < l->regions; r++) {
        uint64_t end =
            l->first_stripe[r] * LAYOUT_STRIPE_PAGES + l->size_bytes[r] / LAYOUT_PAGE_BYTES;

        for (uint64_t i = end; i < l->first_stripe[r + 1] * LAYOUT_STRIPE_PAGES; i++)
            bits_clear(bits, i);
    }
}

/* A connection that was made anew begins with what the target lacks. */
static int
begin_again(struct mig_source *s)
{
    int rc;

    s->lacking_whole = false;
    s->lacking_next = 0;
    free(s->lacking);
    s->lacking = xcalloc(s->words, 8);
    rc = source_wait(s, SOURCE_WAIT_LACKING);
    if (rc != 0 || s->complete)
        return rc;
    cut_to_memory(&s->layout, s->lacking);
    pthread_mutex_lock(&s->plan_mu);
    if (s->planned)
        plan_reset(&s->plan, s->lacking);
    else
        plan_init(&s->plan, &s->layout, s->lacking, s->heat);
    s->planned = true;
    pthread_mutex_unlock(&s->plan_mu);
    return urgent_start(s);
}

int
source_serve(struct mig_source *s)
{
    int rc = 0;

    if (!s->urgent.started)
        rc = begin_again(s);
    if (rc != 0 || s->complete)
        return rc;
    for (uint32_t i = 0; i < s->channels; i++)
        xport_short_queue(conn_fd(s->workers[i].conn));
    source_reads_start(s);
    source_phase_begin(s, SOURCE_PUSH);
    rc = source_wait(s, SOURCE_WAIT_COMPLETE);
    source_reads_stop(s);
    if (rc == 0 && FAULT(SRC_POSTCOPY_COMPLETE)) {
        struct err err = {0};

        rc = err_set(&err, -EIO, "fault point src.postcopy.complete");
        return source_lost(s, rc, &err);
    }
    return rc;
}

/* --- push --- */

int
source_push(struct source_worker *w)
{
    struct mig_source *s = w->s;
    AUTO_FREE struct source_post_batch *b = xmalloc(sizeof *b);

    b->runs_len = b->pages = 0;
    urgent_lower();
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed) && next_batch(s, b)) {
        uint64_t raw_pages = batch_raw_pages(b), pages = b->pages, bytes = batch_bytes(b);
        int rc = source_hold_back(w, bytes);

        if (rc == 0 && FAULT(SRC_POSTCOPY_PUSH))
            rc = err_set(&w->err, -EIO, "fault point src.postcopy.push");
        if (rc == 0)
            rc = send_batch(s, b, w->conn, &w->seq, &w->err);
        if (rc != 0) {
            w->cause = rc == -ECANCELED ? MIG_CAUSE_LOCAL : MIG_CAUSE_PEER;
            return err_prefix(&w->err, rc, "data channel %u", w->index);
        }
        atomic_fetch_add_explicit(&w->sent_bytes, bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->raw_pages, raw_pages, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->zero_pages, pages - raw_pages, memory_order_relaxed);
        atomic_store_explicit(&w->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
    }
    return 0;
}

/* What is pushed next, small while the guest has to wait for pages, and not at all while one is being
 * answered. False: nothing is left. */
static bool
next_batch(struct mig_source *s, struct source_post_batch *b)
{
    struct plan_run runs[PUSH_PAGES];
    uint64_t smooth = bucket_batch(&s->share.bucket, (uint64_t)PUSH_PAGES * LAYOUT_PAGE_BYTES);
    uint32_t n = 0, pages = 0, max = (uint32_t)(smooth / LAYOUT_PAGE_BYTES);
    uint64_t now = clock_mono_us(), until = now + YIELD_US;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};

    pthread_mutex_lock(&s->plan_mu);
    while (s->open_requests > 0 && pthread_cond_timedwait(&s->plan_cv, &s->plan_mu, &ts) == 0)
        ;
    if (s->fault_seen_us && now - s->fault_seen_us < BUSY_US && max > PUSH_PAGES_BUSY)
        max = PUSH_PAGES_BUSY;
    while (pages < max && plan_next(&s->plan, max - pages, &runs[n]))
        pages += runs[n++].pages;
    pthread_mutex_unlock(&s->plan_mu);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t offset;
        uint32_t region, bytes;

        layout_stripe(&s->layout, runs[i].page / LAYOUT_STRIPE_PAGES, &region, &offset, &bytes);
        add(s, b, region, offset + runs[i].page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES,
            runs[i].pages);
    }
    return n > 0;
}

/* --- urgent --- */

static int
urgent_start(struct mig_source *s)
{
    struct source_urgent *u = &s->urgent;
    struct err err = {0};
    int rc;

    u->s = s;
    u->seq = 0;
    u->err = (struct err){0};
    if (!u->batch)
        u->batch = xcalloc(1, sizeof *u->batch);
    xport_short_queue(conn_fd(u->conn));
    rc = pthread_create(&u->thread, NULL, urgent_main, u);
    if (rc != 0) {
        rc = err_set(&err, -rc, "urgent thread: %s", strerror(rc));
        return source_trouble(s, MIG_CAUSE_LOCAL, rc, &err);
    }
    u->started = true;
    return 0;
}

void
source_urgent_stop(struct mig_source *s)
{
    conn_shut(s->urgent.conn);
    if (s->urgent.started)
        pthread_join(s->urgent.thread, NULL);
    s->urgent.started = false;
    s->open_requests = 0;
}

void
source_post_done(struct mig_source *s)
{
    source_urgent_stop(s);
    conn_free(TAKE_PTR(s->urgent.conn));
    free(TAKE_PTR(s->urgent.batch));
    free(TAKE_PTR(s->lacking));
    if (s->planned)
        plan_done(&s->plan);
    s->planned = false;
}

/* One request after the other. When the channel breaks, the control connection tells, or breaks,
 * too. */
static void *
urgent_main(void *arg)
{
    struct source_urgent *u = arg;
    struct mig_source *s = u->s;
    int rc;

    pthread_setname_np(pthread_self(), "mig-urgent");
    urgent_raise();
    do {
        uint8_t buf[FRAME_REQUEST_SIZE];
        struct frame_request r;

        rc = conn_recv(u->conn, buf, sizeof buf, 0, &u->err);
        if (rc == 0)
            rc = frame_decode_request(buf, &s->layout, &r, &u->err);
        if (rc == 0 && FAULT(SRC_POSTCOPY_ANSWER))
            rc = err_set(&u->err, -EIO, "fault point src.postcopy.answer");
        if (rc == 0)
            rc = answer(u, &r);
    } while (rc == 0);
    /* Without it the guest there would wait for ever: the connections go down together. */
    pthread_mutex_lock(&s->mu);
    if (s->ctl)
        ctl_shut(s->ctl);
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

static int
answer(struct source_urgent *u, const struct frame_request *r)
{
    struct mig_source *s = u->s;
    struct source_post_batch *b = u->batch;
    uint64_t page = layout_page(&s->layout, r->region, r->offset);
    int rc = 0;

    pthread_mutex_lock(&s->plan_mu);
    s->open_requests++;
    s->fault_seen_us = clock_mono_us();
    plan_fault(&s->plan, page, r->pages);
    pthread_mutex_unlock(&s->plan_mu);
    b->runs_len = b->pages = 0;
    for (uint32_t at = 0; at < r->pages && rc == 0;) {
        uint32_t n = r->pages - at < FRAME_MAX_RAW_PAGES ? r->pages - at : FRAME_MAX_RAW_PAGES;
        uint64_t bytes;

        add(s, b, r->region, r->offset + (uint64_t)at * LAYOUT_PAGE_BYTES, n);
        bytes = batch_bytes(b);
        /* Somebody waits for it: it goes now, and the push waits for what it took. */
        bucket_charge(&s->share.bucket, bytes, clock_mono_us());
        rc = send_batch(s, b, u->conn, &u->seq, &u->err);
        if (rc == 0)
            atomic_fetch_add_explicit(&u->sent_bytes, bytes, memory_order_relaxed);
        at += n;
    }
    pthread_mutex_lock(&s->plan_mu);
    if (--s->open_requests == 0)
        pthread_cond_broadcast(&s->plan_cv);
    pthread_mutex_unlock(&s->plan_mu);
    return rc;
}

/* --- batches --- */

/* Pages into runs of content and runs of zeros. */
static void
add(struct mig_source *s, struct source_post_batch *b, uint32_t region, uint64_t offset,
    uint32_t pages)
{
    const uint8_t *map = s->regions[region].map;

    for (uint32_t i = 0; i < pages; i++, offset += LAYOUT_PAGE_BYTES) {
        uint16_t kind = zero_page(map + offset) ? FRAME_ZERO : FRAME_RAW;
        struct frame_run *last = b->runs_len ? &b->runs[b->runs_len - 1] : NULL;

        if (last && last->kind == kind && last->region == region &&
            last->offset + (uint64_t)last->pages * LAYOUT_PAGE_BYTES == offset &&
            layout_run_ok(&s->layout, region, last->offset, last->pages + 1))
            last->pages++;
        else
            b->runs[b->runs_len++] = (struct frame_run){
                .offset = offset, .pages = 1, .region = (uint16_t)region, .kind = kind};
        b->pages++;
    }
}

static int
send_batch(struct mig_source *s, struct source_post_batch *b, struct conn *conn, uint64_t *seq,
           struct err *err)
{
    struct frame_header h = {
        .type = FRAME_PAGES, .round = s->epoch, .runs = b->runs_len, .seq = (*seq)++};
    int iov_len = 1, rc;

    for (uint32_t i = 0; i < b->runs_len; i++) {
        const struct frame_run *r = &b->runs[i];
        uint8_t *p = s->regions[r->region].map + r->offset;

        if (r->kind == FRAME_ZERO)
            continue;
        for (uint32_t k = 0; k < r->pages; k++)
            b->sums[h.pages++] = frame_page_sum(p + (size_t)k * LAYOUT_PAGE_BYTES);
        b->iov[iov_len].iov_base = p;
        b->iov[iov_len++].iov_len = (size_t)r->pages * LAYOUT_PAGE_BYTES;
    }
    h.bytes = (uint64_t)h.pages * LAYOUT_PAGE_BYTES;
    b->iov[0].iov_base = b->head;
    b->iov[0].iov_len = frame_encode(b->head, &h, b->runs, b->sums);
    rc = conn_send(conn, b->iov, iov_len, err);
    b->runs_len = b->pages = 0;
    return rc;
}

static uint64_t
batch_raw_pages(const struct source_post_batch *b)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < b->runs_len; i++)
        n += b->runs[i].kind == FRAME_ZERO ? 0 : b->runs[i].pages;
    return n;
}

/* What it takes on the connection. */
static uint64_t
batch_bytes(const struct source_post_batch *b)
{
    return FRAME_HEADER_SIZE + (uint64_t)b->runs_len * FRAME_RUN_SIZE +
           batch_raw_pages(b) * (FRAME_SUM_SIZE + LAYOUT_PAGE_BYTES);
}
