/* The target's receivers: one thread a data channel. A frame is checked before a byte of its
 * payload is read. Where the guest's memory has pages already the payload is received in place and
 * summed there; where it has none it is received into a buffer that fits the processor's cache,
 * summed, and written into the memory file (target_direct.c,
 * docs/decisions/0003-receive-then-write.md). See target_int.h, proto/frame.h. */
#include "migrate/target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/urgent.h"

#define PUNCH_PAGES \
    16 /* a shorter zero run is overwritten, a longer one given back to the kernel */

static void *receiver_main(void *arg);
static int receive_frame(struct target_chan *c, struct err *err, enum control_error_code *ret_code);
static int check_order(struct target_chan *c, const struct frame_header *h, struct err *err);
static int wait_for_round(struct target_chan *c, uint32_t round, struct err *err);
static int on_round_end(struct target_chan *c);
static int place(struct target_chan *c, const struct frame_header *h, struct err *err);
static int write_raw(struct mig_target *t, const struct frame_run *r, uint32_t from, uint32_t pages,
                     const uint8_t *data, struct err *err);
static int write_zero(struct mig_target *t, const struct frame_run *r, struct err *err);
static void note_received(struct mig_target *t, const struct frame_run *r, uint32_t from,
                          uint32_t pages);
static void note_bad(struct target_chan *c, uint32_t run, uint32_t from, uint32_t pages);
static void count(struct target_chan *c, const struct frame_header *h);

int
target_receivers_start(struct mig_target *t)
{
    if (!t->received) {
        t->received = xcalloc(t->layout.stripes * LAYOUT_STRIPE_PAGES / 64, 8);
        t->bad = xcalloc(t->layout.stripes * LAYOUT_STRIPE_PAGES / 64, 8);
        target_direct_init(t);
    }
    if (!t->post) {
        int rc = target_rdma_open(t);

        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < t->chans_len; i++) {
        struct target_chan *c = &t->chans[i];
        int rc;

        c->buf = xmalloc((size_t)FRAME_MAX_RAW_PAGES * LAYOUT_PAGE_BYTES);
        rc = pthread_create(&c->thread, NULL, receiver_main, c);
        if (rc != 0) {
            struct err err = {0};

            rc = err_set(&err, -rc, "receiver thread: %s", strerror(rc));
            return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
        }
        c->started = true;
    }
    return 0;
}

void
target_receivers_stop(struct mig_target *t)
{
    pthread_mutex_lock(&t->mu);
    t->closing = true;
    pthread_cond_broadcast(&t->cv);
    pthread_mutex_unlock(&t->mu);
    for (uint32_t i = 0; i < t->chans_len && t->chans; i++)
        conn_shut(t->chans[i].conn);
    for (uint32_t i = 0; i < t->chans_len && t->chans; i++) {
        struct target_chan *c = &t->chans[i];

        if (c->started)
            pthread_join(c->thread, NULL);
        c->started = false;
        free(c->buf);
        c->buf = NULL;
        target_decode_done(c);
    }
}

bool
target_receivers_idle(struct mig_target *t)
{
    for (uint32_t i = 0; i < t->chans_len; i++) {
        bool waiting;

        pthread_mutex_lock(&t->mu);
        waiting = t->chans[i].waiting;
        pthread_mutex_unlock(&t->mu);
        if (waiting || conn_readable(t->chans[i].conn))
            return false;
    }
    return true;
}

void
target_round_begun(struct mig_target *t, uint32_t round)
{
    pthread_mutex_lock(&t->mu);
    t->begun_round = round;
    pthread_cond_broadcast(&t->cv);
    pthread_mutex_unlock(&t->mu);
}

static void *
receiver_main(void *arg)
{
    struct target_chan *c = arg;
    struct mig_target *t = c->t;
    struct err err = {0};
    enum control_error_code code = CONTROL_ERR_LOCAL;
    char name[16];
    int rc;

    snprintf(name, sizeof name, "mig-recv-%u", c->index);
    pthread_setname_np(pthread_self(), name);
    if (c->index >= t->channels)
        urgent_raise();
    do {
        rc = receive_frame(c, &err, &code);
        if (c->seq % 64 == 0)
            atomic_store_explicit(&c->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
    } while (rc == 0);
    atomic_store_explicit(&c->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
    err_prefix(&err, rc, "data channel %u", c->index);
    pthread_mutex_lock(&t->mu);
    if (!t->chan_err.code) {
        t->chan_err = err;
        t->chan_code = code;
    }
    pthread_mutex_unlock(&t->mu);
    eventfd_write(t->wake_fd, 1);
    return NULL;
}

static int
receive_frame(struct target_chan *c, struct err *err, enum control_error_code *ret_code)
{
    struct frame_header h;
    int rc = conn_recv(c->conn, c->head, FRAME_HEADER_SIZE, 0, err);

    *ret_code = CONTROL_ERR_LOCAL;
    if (rc != 0)
        return rc;
    *ret_code = CONTROL_ERR_PROTOCOL;
    rc = frame_decode_header(c->head, &h, err);
    if (rc == 0 && h.type == FRAME_PAGES)
        return target_post_receive(c, &h, err, ret_code);
    if (rc == 0)
        rc = check_order(c, &h, err);
    if (rc != 0)
        return rc;
    *ret_code = CONTROL_ERR_LOCAL;
    rc = wait_for_round(c, h.round, err);
    if (rc == 0 && h.runs > 0)
        rc = conn_recv(c->conn, c->head + FRAME_HEADER_SIZE,
                       frame_head_size(&h) - FRAME_HEADER_SIZE, 0, err);
    if (rc != 0)
        return rc;
    *ret_code = CONTROL_ERR_PROTOCOL;
    rc = frame_decode_runs(c->head, &h, &c->t->layout, c->index,
                           c->t->kinds | (conn_lane(c->conn) ? FRAME_KIND_BIT(FRAME_PLACED) : 0),
                           c->runs, err);
    if (rc != 0)
        return rc;
    c->seq++;
    if (h.type == FRAME_ROUND_END)
        return on_round_end(c);
    *ret_code = CONTROL_ERR_LOCAL;
    rc = target_direct_receive(c, &h, err);
    if (rc == 0 && FAULT(DST_STREAM))
        rc = err_set(err, -EIO, "fault point dst.stream");
    if (rc == 0)
        rc = place(c, &h, err);
    if (rc == -EPROTO)
        *ret_code = CONTROL_ERR_PROTOCOL;
    if (rc == 0)
        count(c, &h);
    return rc;
}

static int
check_order(struct target_chan *c, const struct frame_header *h, struct err *err)
{
    if (h->seq != c->seq)
        return err_set(err, -EPROTO, "page stream: frame %llu where %llu was due",
                       (unsigned long long)h->seq, (unsigned long long)c->seq);
    if (h->round != c->round)
        return err_set(err, -EPROTO, "page stream: round %u where %u was due", h->round, c->round);
    return 0;
}

/* ROUND_BEGIN travels on the control connection and may be a little later than the first pages.
 * Until it has come they stay out of the guest: behind the last round it never comes. */
static int
wait_for_round(struct target_chan *c, uint32_t round, struct err *err)
{
    struct mig_target *t = c->t;
    bool begun;

    pthread_mutex_lock(&t->mu);
    c->waiting = t->begun_round < round;
    while (t->begun_round < round && !t->closing)
        pthread_cond_wait(&t->cv, &t->mu);
    begun = t->begun_round >= round;
    c->waiting = c->waiting && !begun;
    pthread_mutex_unlock(&t->mu);
    return begun ? 0 : err_set(err, -ECANCELED, "page stream: round %u never began", round);
}

static int
on_round_end(struct target_chan *c)
{
    atomic_fetch_add_explicit(&c->received_bytes, FRAME_HEADER_SIZE, memory_order_relaxed);
    atomic_store_explicit(&c->cpu_us, clock_thread_ns() / 1000, memory_order_relaxed);
    pthread_mutex_lock(&c->t->mu);
    c->ended_round = c->round++;
    pthread_mutex_unlock(&c->t->mu);
    eventfd_write(c->t->wake_fd, 1);
    return 0;
}

/* All of a batch but the pages whose checksum is bad. */
static int
place(struct target_chan *c, const struct frame_header *h, struct err *err)
{
    uint32_t at = 0;
    bool locked = false;
    int rc = 0;

    target_decode(c, h);
    for (uint32_t i = 0; i < h->runs && rc == 0; i++) {
        const struct frame_run *r = &c->runs[i];

        if (!c->direct[i] && !locked)
            pthread_mutex_lock(&c->t->write_mu);
        locked = locked || !c->direct[i];
        if (r->kind == FRAME_ZERO) {
            rc = write_zero(c->t, r, err);
            continue;
        }
        for (uint32_t from = 0, to; from < r->pages && rc == 0; from = to) {
            bool good = c->good[at + from];

            for (to = from + 1; to < r->pages && c->good[at + to] == good; to++)
                ;
            if (!good)
                note_bad(c, i, from, to - from);
            else if (c->direct[i])
                note_received(c->t, r, from, to - from);
            else
                rc = write_raw(c->t, r, from, to - from,
                               c->data[i] + (size_t)from * LAYOUT_PAGE_BYTES, err);
        }
        at += r->pages;
    }
    if (locked)
        pthread_mutex_unlock(&c->t->write_mu);
    return rc;
}

static int
write_raw(struct mig_target *t, const struct frame_run *r, uint32_t from, uint32_t pages,
          const uint8_t *data, struct err *err)
{
    uint64_t offset = r->offset + (uint64_t)from * LAYOUT_PAGE_BYTES;
    size_t len = (size_t)pages * LAYOUT_PAGE_BYTES, at = 0;

    while (at < len) {
        ssize_t n = pwrite(t->regions[r->region].memfd, data + at, len - at, (off_t)(offset + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, n < 0 ? -errno : -EIO, "guest memory: write at %#llx: %s",
                           (unsigned long long)offset, n < 0 ? strerror(errno) : "short");
        at += (size_t)n;
    }
    note_received(t, r, from, pages);
    return 0;
}

static void
note_received(struct mig_target *t, const struct frame_run *r, uint32_t from, uint32_t pages)
{
    uint64_t page =
        layout_page(&t->layout, r->region, r->offset + (uint64_t)from * LAYOUT_PAGE_BYTES);

    bits_set_range(t->received, page, page + pages);
}

/* The incoming guest's memory was never touched: only pages that came before need to become
 * zero. */
static int
write_zero(struct mig_target *t, const struct frame_run *r, struct err *err)
{
    static const uint8_t zeros[LAYOUT_PAGE_BYTES * PUNCH_PAGES];
    uint64_t base = layout_page(&t->layout, r->region, r->offset), end = base + r->pages;
    int fd = t->regions[r->region].memfd;

    for (uint64_t a = bits_next(t->received, base, end); a < end;
         a = bits_next(t->received, a, end)) {
        uint64_t b = a;
        off_t offset = (off_t)r->offset + (off_t)(a - base) * LAYOUT_PAGE_BYTES;

        while (b < end && bits_test(t->received, b))
            bits_clear(t->received, b++);

        off_t len = (off_t)(b - a) * LAYOUT_PAGE_BYTES;
        bool done = true;

        if (target_rdma_pinned(t, base / LAYOUT_STRIPE_PAGES))
            memset(t->regions[r->region].map + offset, 0, (size_t)len);
        else if (b - a >= PUNCH_PAGES)
            done = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len) == 0;
        else
            done = pwrite(fd, zeros, (size_t)len, offset) == len;

        if (!done)
            return err_set(err, -EIO, "guest memory: zeros at %#llx: %s",
                           (unsigned long long)offset, strerror(errno));
    }
    return 0;
}

/* Pages that arrived with a bad checksum: asked for again when the round ends. */
static void
note_bad(struct target_chan *c, uint32_t run, uint32_t from, uint32_t pages)
{
    struct mig_target *t = c->t;
    const struct frame_run *r = &c->runs[run];
    uint64_t page =
        layout_page(&t->layout, r->region, r->offset + (uint64_t)from * LAYOUT_PAGE_BYTES);

    if (c->direct[run])
        target_direct_bad(t, r, from, pages);
    bits_set_range(t->bad, page, page + pages);
    pthread_mutex_lock(&t->mu);
    t->bad_pages += pages;
    pthread_mutex_unlock(&t->mu);
}

static void
count(struct target_chan *c, const struct frame_header *h)
{
    static const enum mig_encoding enc_of[] = {
        [FRAME_RAW] = MIG_ENC_RAW,     [FRAME_PLACED] = MIG_ENC_RAW, [FRAME_ZERO] = MIG_ENC_ZERO,
        [FRAME_DELTA] = MIG_ENC_DELTA, [FRAME_LZ4] = MIG_ENC_LZ4,    [FRAME_ZSTD] = MIG_ENC_ZSTD};
    uint64_t zero = 0, placed = 0;

    pthread_mutex_lock(&c->t->mu);
    for (uint32_t i = 0; i < h->runs; i++) {
        const struct frame_run *r = &c->runs[i];
        enum mig_encoding e = enc_of[r->kind];

        zero += r->kind == FRAME_ZERO ? r->pages : 0;
        placed += r->kind == FRAME_PLACED ? r->pages : 0;
        c->t->stats.enc_pages[e] += r->pages;
        c->t->stats.enc_bytes[e] +=
            e == MIG_ENC_RAW ? (uint64_t)r->pages * LAYOUT_PAGE_BYTES : r->bytes;
    }
    c->t->stats.placed_pages += placed;
    c->totals.batches++;
    c->totals.raw_pages += h->pages;
    c->totals.zero_pages += zero;
    pthread_mutex_unlock(&c->t->mu);
    atomic_fetch_add_explicit(&c->received_bytes,
                              frame_head_size(h) + h->bytes + placed * LAYOUT_PAGE_BYTES,
                              memory_order_relaxed);
}
