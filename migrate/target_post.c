/* The memory of a guest that runs before it is there: which pages have arrived, who waits for which,
 * and showing them to the guest. See target_int.h, pager.h, docs/postcopy.md.
 *
 * Three bits a page. `claimed`: one thread writes it (a page that comes twice is dropped). `have`: its
 * content is in the memory file; set behind the content and before anybody is shown it, in a file that
 * a restarted handler goes on from. `asked`: a request for it is on its way.
 * A waiter is put down before its page is looked up, and a page's bit is set before its waiters are
 * looked up, both under `mu`: one of the two always sees the other. */
#include "migrate/target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/sb.h"
#include "migrate/bits.h"
#include "migrate/pager.h"
#include "migrate/urgent.h"
#include "migrate/xport.h"
#include "migrate/zero.h"

#define FILE_MAGIC    0x504d767264000001ull /* with the version of the format */
#define FILE_HEAD     4096
#define READERS_MAX   4
#define FAULTS        32  /* read at once */
#define ASK_PAGES_MAX 2   /* of a request: the guest waits for all of its answer */
#define AHEAD_PAGES   16  /* pages that are there, shown around one that was waited for */
#define RANGES_MAX    512 /* registered apart from each other */
#define PUNCH_STEP    (64u << 20)

/* What the file begins with; behind it the bitmap of what has arrived. */
struct head {
    uint64_t magic, uid_sum, stripes;
    uint32_t regions, channels, epoch, reserved;
    uint64_t size_bytes[CONTROL_MAX_REGIONS];
    uint8_t token[CONTROL_TOKEN_SIZE];
};

struct waiter {
    uint64_t page, since_us;
};

struct target_post {
    struct mig_target *t;
    struct layout layout; /* the target's own is made anew for each connection */
    struct pager *pager;
    /* the file, or memory of the same shape */
    struct head *head;
    size_t map_bytes;
    uint64_t *have;
    uint64_t *claimed, *asked, *poisoned;
    size_t words;
    _Atomic uint64_t left; /* pages */
    pthread_t readers[READERS_MAX];
    unsigned readers_len;
    int stop_fd;
    struct target_reads *reads;

    pthread_mutex_t mu;
    struct waiter *waiters; /* guarded by mu, like all below */
    size_t waiters_len, waiters_room;
    struct conn *urgent;
    _Atomic uint32_t ask_pages; /* of a request: as many as one segment carries */
    uint64_t faults, read_faults, fault_us[MIG_FAULT_BUCKETS], began_us, whole_us;
};

static int make(struct mig_target *t, const char *path, struct target_post **ret, struct err *err);
static int start(struct target_post *p, bool kept, struct err *err);
static int punch(struct mig_target *t, struct err *err);
static int register_missing(struct target_post *p, struct err *err);
static void *reader_main(void *arg);
static int on_fault(struct target_post *p, const struct pager_fault *f, struct err *err);
static uint32_t not_asked(struct target_post *p, uint64_t page, uint32_t max);
static void fetch(struct target_post *p, uint64_t page, uint32_t pages);
static void ask(struct target_post *p, uint64_t page, uint32_t pages);
static uint32_t pages_of_a_segment(struct conn *urgent);
static int install(struct target_post *p, const struct frame_run *r, uint32_t from, uint32_t pages,
                   const uint8_t *data, bool read, struct err *err);
static int place(struct target_post *p, uint32_t region, uint64_t offset, uint64_t page,
                 uint32_t pages, const uint8_t *data, bool read, struct err *err);
static int show(struct target_post *p, uint32_t region, uint64_t offset, uint32_t pages,
                struct err *err);
static int serve_waiters(struct target_post *p, uint64_t page, uint32_t pages, bool zero, bool read,
                         struct err *err);
static void guest_failed(struct target_post *p, const struct err *err);

/* --- atomic bits --- */

static bool
have_page(const struct target_post *p, uint64_t page)
{
    return __atomic_load_n(&p->have[page / 64], __ATOMIC_ACQUIRE) >> (page % 64) & 1;
}

/* Sets it; whether it was clear. */
static bool
take_bit(uint64_t *w, uint64_t i)
{
    uint64_t bit = 1ull << (i % 64);

    return !(__atomic_fetch_or(&w[i / 64], bit, __ATOMIC_ACQ_REL) & bit);
}

static void
where(const struct target_post *p, uint64_t page, uint32_t *ret_region, uint64_t *ret_offset)
{
    uint32_t bytes;

    layout_stripe(&p->layout, page / LAYOUT_STRIPE_PAGES, ret_region, ret_offset, &bytes);
    *ret_offset += page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES;
}

/* --- life --- */

int
target_post_new(struct mig_target *t, struct err *err)
{
    struct target_post *p = NULL;
    int rc = punch(t, err);

    if (rc == 0)
        rc = make(t, t->cfg.state_path, &p, err);
    if (rc != 0 || !p)
        return rc;
    for (size_t i = 0; i < p->words; i++)
        p->have[i] = ~t->lacking[i];
    memcpy(p->claimed, p->have, p->words * 8);
    atomic_store(&p->left, t->lacking_pages);
    memcpy(p->head->token, t->token, sizeof t->token);
    p->head->epoch = t->epoch;
    /* Valid from here on: the rest of it was written before. */
    __atomic_store_n(&p->head->magic, FILE_MAGIC, __ATOMIC_RELEASE);
    pthread_mutex_lock(&t->mu);
    t->post = p;
    pthread_mutex_unlock(&t->mu);
    return start(p, false, err);
}

int
target_post_load(struct mig_target *t, struct err *err)
{
    AUTO_FD int fd = *t->cfg.state_path ? open(t->cfg.state_path, O_RDONLY | O_CLOEXEC) : -1;
    struct layout_region r[GUEST_MAX_REGIONS];
    struct target_post *p = NULL;
    struct head h;
    uint64_t left = 0;
    int rc;

    if (fd < 0)
        return 0;
    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || h.magic != FILE_MAGIC ||
        h.uid_sum != frame_uid_sum(t->cfg.ident.migration_uid, t->cfg.ident.generation))
        return err_set(err, -EINVAL, "%s: not the state of this migration", t->cfg.state_path);
    rc = t->cfg.guest.ops ? t->cfg.guest.ops->regions(t->cfg.guest.impl, t->regions, err)
                          : err_set(err, -ESRCH, "the guest's process is gone");
    if (rc < 0)
        return rc;
    t->regions_len = (uint32_t)rc;
    for (uint32_t i = 0; i < t->regions_len; i++) {
        r[i] = (struct layout_region){t->regions[i].size, t->regions[i].page_bytes};
        if (h.regions != t->regions_len || h.size_bytes[i] != t->regions[i].size)
            return err_set(err, -EINVAL, "%s: the guest has other memory", t->cfg.state_path);
    }
    rc = layout_init(&t->layout, r, t->regions_len, h.channels, err);
    if (rc == 0)
        rc = make(t, t->cfg.state_path, &p, err);
    if (rc != 0 || !p)
        return rc;
    memcpy(p->claimed, p->have, p->words * 8);
    for (size_t i = 0; i < p->words; i++)
        left += (uint64_t)__builtin_popcountll(~p->have[i]);
    atomic_store(&p->left, left);
    t->epoch = h.epoch;
    t->urgent = true;
    pthread_mutex_lock(&t->mu);
    t->post = p;
    for (uint32_t i = 0; i < t->regions_len; i++)
        t->stats.total_bytes += t->regions[i].size;
    pthread_mutex_unlock(&t->mu);
    rc = start(p, true, err);
    return rc ? rc : 1;
}

/* The file (made or found), mapped; the other bitmaps. */
static int
make(struct mig_target *t, const char *path, struct target_post **ret, struct err *err)
{
    size_t words = t->layout.stripes * (LAYOUT_STRIPE_PAGES / 64), bytes = FILE_HEAD + words * 8;
    AUTO_FD int fd = *path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)
                           : memfd_create("drover-postcopy", MFD_CLOEXEC);
    struct target_post *p;
    void *map;

    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return err_set(err, -errno, "state of post-copy: %s: %s", path, strerror(errno));
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_set(err, -errno, "state of post-copy: %s: %s", path, strerror(errno));
    p = xcalloc(1, sizeof *p);
    p->t = t;
    p->layout = t->layout;
    p->head = map;
    p->map_bytes = bytes;
    p->have = (uint64_t *)(void *)((uint8_t *)map + FILE_HEAD);
    p->words = words;
    p->claimed = xcalloc(words, 8);
    p->asked = xcalloc(words, 8);
    p->poisoned = xcalloc(words, 8);
    p->head->uid_sum = frame_uid_sum(t->cfg.ident.migration_uid, t->cfg.ident.generation);
    p->head->stripes = t->layout.stripes;
    p->head->regions = t->layout.regions;
    p->head->channels = t->layout.channels;
    memcpy(p->head->size_bytes, t->layout.size_bytes, sizeof p->head->size_bytes);
    pthread_mutex_init(&p->mu, NULL);
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->reads = target_reads_new(t);
    p->ask_pages = 1;
    *ret = p;
    return 0;
}

static int
start(struct target_post *p, bool kept, struct err *err)
{
    cpu_set_t set;
    unsigned cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned n = cores / 4 < 1 ? 1 : cores / 4 > READERS_MAX ? READERS_MAX : cores / 4;
    int rc = pager_new(&p->t->cfg.guest, p->t->regions, p->t->regions_len, kept, &p->pager, err);

    if (rc == 0 && !kept)
        rc = register_missing(p, err);
    pthread_mutex_lock(&p->mu);
    p->began_us = clock_mono_us();
    pthread_mutex_unlock(&p->mu);
    for (unsigned i = 0; i < n && rc == 0; i++) {
        rc = pthread_create(&p->readers[i], NULL, reader_main, p);
        if (rc != 0)
            return err_set(err, -rc, "fault reader: %s", strerror(rc));
        p->readers_len++;
    }
    return rc;
}

void
target_post_free(struct mig_target *t, bool all)
{
    struct target_post *p = t->post;

    if (!p)
        return;
    eventfd_write(p->stop_fd, 1);
    while (p->readers_len > 0)
        pthread_join(p->readers[--p->readers_len], NULL);
    target_reads_detach(p->reads);
    pager_free(TAKE_PTR(p->pager), all);
    if (all && *t->cfg.state_path)
        (void)unlink(t->cfg.state_path);
    if (all)
        return; /* its figures are still asked for */
    pthread_mutex_lock(&t->mu);
    t->post = NULL;
    pthread_mutex_unlock(&t->mu);
    target_reads_free(p->reads);
    munmap(p->head, p->map_bytes);
    free(p->claimed);
    free(p->asked);
    free(p->poisoned);
    free(p->waiters);
    close(p->stop_fd);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

uint64_t
target_post_left(struct mig_target *t)
{
    return t->post ? atomic_load(&t->post->left) : 0;
}

/* Pages that came in pre-copy and changed since: what the guest must not see. Nobody writes to its
 * memory now. */
static int
punch(struct mig_target *t, struct err *err)
{
    uint64_t end = t->layout.stripes * LAYOUT_STRIPE_PAGES;

    for (uint64_t page = t->received ? bits_next(t->lacking, 0, end) : end; page < end;) {
        uint64_t stripe = page / LAYOUT_STRIPE_PAGES, last = (stripe + 1) * LAYOUT_STRIPE_PAGES;
        uint64_t from = page, offset;
        uint32_t region, bytes;

        while (page < last && bits_test(t->lacking, page))
            page++;
        layout_stripe(&t->layout, stripe, &region, &offset, &bytes);
        offset += from % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES;
        if ((bits_next(t->received, from, page) < page ||
             target_direct_filled(t, region, stripe)) &&
            fallocate(t->regions[region].memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)offset, (off_t)(page - from) * LAYOUT_PAGE_BYTES) < 0)
            return err_set(err, -errno, "guest memory: hole at %#llx: %s",
                           (unsigned long long)offset, strerror(errno));
        page = bits_next(t->lacking, page, end);
    }
    return 0;
}

/* Stripes with missing pages, neighbours together; with larger and larger gaps between them taken
 * along, until there are few enough: each range is a mapping of its own in the guest's process. */
static int
register_missing(struct target_post *p, struct err *err)
{
    const struct layout *l = &p->layout;
    uint64_t gap = 0, ranges;
    int rc = 0;

    do {
        uint64_t last = UINT64_MAX;

        ranges = 0;
        for (uint64_t i = 0; i < l->stripes; i++) {
            if (bits_next(p->t->lacking, i * LAYOUT_STRIPE_PAGES, (i + 1) * LAYOUT_STRIPE_PAGES) ==
                (i + 1) * LAYOUT_STRIPE_PAGES)
                continue;
            ranges += last == UINT64_MAX || i - last > gap + 1;
            last = i;
        }
        gap = gap ? gap * 2 : 1;
    } while (ranges > RANGES_MAX);
    gap = gap > 1 ? gap / 2 : 0;
    for (uint32_t r = 0; r < l->regions && rc == 0; r++) {
        uint64_t first = UINT64_MAX, last = 0;

        for (uint64_t i = l->first_stripe[r]; i <= l->first_stripe[r + 1] && rc == 0; i++) {
            bool end = i == l->first_stripe[r + 1];
            bool missing =
                !end && bits_next(p->t->lacking, i * LAYOUT_STRIPE_PAGES,
                                  (i + 1) * LAYOUT_STRIPE_PAGES) < (i + 1) * LAYOUT_STRIPE_PAGES;

            if (first != UINT64_MAX && (end || (missing && i - last > gap + 1))) {
                uint64_t from = (first - l->first_stripe[r]) * LAYOUT_STRIPE_BYTES;
                uint64_t to = (last + 1 - l->first_stripe[r]) * LAYOUT_STRIPE_BYTES;

                rc = pager_register(p->pager, r, from,
                                    (to < l->size_bytes[r] ? to : l->size_bytes[r]) - from, err);
                first = UINT64_MAX;
            }
            if (missing) {
                first = first == UINT64_MAX ? i : first;
                last = i;
            }
        }
    }
    return rc;
}

/* --- faults --- */

static void *
reader_main(void *arg)
{
    struct target_post *p = arg;
    struct pollfd fds[2] = {{.fd = pager_fd(p->pager), .events = POLLIN},
                            {.fd = p->stop_fd, .events = POLLIN}};
    struct err err = {0};
    int rc = 0;

    pthread_setname_np(pthread_self(), "mig-fault");
    urgent_raise();
    while (rc >= 0) {
        struct pager_fault f[FAULTS];

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            return NULL;
        rc = pager_read(p->pager, f, FAULTS, &err);
        for (int i = 0, n = rc; i < n && rc >= 0; i++)
            rc = on_fault(p, &f[i], &err);
    }
    guest_failed(p, &err);
    return NULL;
}

static void
guest_failed(struct target_post *p, const struct err *err)
{
    pthread_mutex_lock(&p->t->mu);
    if (!p->t->chan_err.code) {
        p->t->chan_err = *err;
        p->t->chan_code = CONTROL_ERR_GUEST;
    }
    pthread_mutex_unlock(&p->t->mu);
    eventfd_write(p->t->wake_fd, 1);
}

static int
on_fault(struct target_post *p, const struct pager_fault *f, struct err *err)
{
    uint64_t page = layout_page(&p->layout, f->region, f->offset);

    pthread_mutex_lock(&p->mu);
    if (p->waiters_len == p->waiters_room) {
        p->waiters_room = p->waiters_room ? 2 * p->waiters_room : 64;
        p->waiters = xrealloc(p->waiters, p->waiters_room * sizeof *p->waiters);
    }
    p->waiters[p->waiters_len++] = (struct waiter){.page = page, .since_us = clock_mono_us()};
    pthread_mutex_unlock(&p->mu);
    if (have_page(p, page)) {
        /* Here already: shown, with its neighbours that are here, too. */
        uint32_t n = 1;

        while (n < AHEAD_PAGES && (page + n) % LAYOUT_STRIPE_PAGES != 0 &&
               f->offset + (uint64_t)n * LAYOUT_PAGE_BYTES < p->t->regions[f->region].size &&
               have_page(p, page + n))
            n++;

        int rc = pager_show(p->pager, f->region, f->offset, (uint64_t)n * LAYOUT_PAGE_BYTES, err);

        /* A hole: this one is zeros, or a neighbour is. */
        if (rc == -ENOENT)
            rc = pager_show(p->pager, f->region, f->offset, LAYOUT_PAGE_BYTES, err);
        if (rc != 0 && rc != -ENOENT)
            return rc;
        return serve_waiters(p, page, 1, rc == -ENOENT, false, err);
    }
    if (FAULT(DST_POSTCOPY_FAULT)) {
        pthread_mutex_lock(&p->mu);
        conn_shut(p->urgent);
        pthread_mutex_unlock(&p->mu);
    }
    if (take_bit(p->asked, page)) {
        uint32_t n = 1 + not_asked(p, page + 1,
                                   atomic_load_explicit(&p->ask_pages, memory_order_relaxed) - 1);
        bool walks = target_reads_walk(p->reads, page);

        fetch(p, page, n);
        if (walks) /* behind what it waits for */
            fetch(p, page + n, not_asked(p, page + n, TARGET_READ_PAGES));
    }
    return 0;
}

/* How many pages from this one on, in the stripe of the one before and at most max, are missing and not
 * asked for; the caller has to. */
static uint32_t
not_asked(struct target_post *p, uint64_t page, uint32_t max)
{
    uint64_t offset, stripe = (page - 1) / LAYOUT_STRIPE_PAGES;
    uint32_t region, bytes, n = 0;

    layout_stripe(&p->layout, stripe, &region, &offset, &bytes);
    for (uint64_t end = stripe * LAYOUT_STRIPE_PAGES + bytes / LAYOUT_PAGE_BYTES;
         n < max && page + n < end && !have_page(p, page + n) && take_bit(p->asked, page + n);)
        n++;
    return n;
}

/* By a READ, where that goes. */
static void
fetch(struct target_post *p, uint64_t page, uint32_t pages)
{
    uint32_t reading = pages > 0 ? target_reads_ask(p->reads, page, pages) : 0;

    if (reading < pages)
        ask(p, page + reading, pages - reading);
}

/* Pages of one stripe. What cannot be sent now is asked for when there is a channel again. */
static void
ask(struct target_post *p, uint64_t page, uint32_t pages)
{
    uint8_t buf[FRAME_REQUEST_SIZE];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    struct frame_request r = {.pages = pages};
    uint32_t region;

    where(p, page, &region, &r.offset);
    r.region = (uint16_t)region;
    frame_encode_request(buf, &r);
    pthread_mutex_lock(&p->mu);
    if (p->urgent)
        (void)conn_send(p->urgent, &iov, 1, NULL);
    pthread_mutex_unlock(&p->mu);
}

void
target_post_request(struct mig_target *t, uint64_t page, uint32_t pages)
{
    ask(t->post, page, pages);
}

bool
target_post_has(const struct mig_target *t, uint64_t page)
{
    return have_page(t->post, page);
}

int
target_post_windows(struct mig_target *t, const struct control_windows *m, struct err *err)
{
    return target_reads_windows(t->post->reads, &t->post->layout, m, err);
}

void
target_post_tick(struct mig_target *t)
{
    target_reads_tick(t->post->reads);
}

/* What one segment of the path carries, and so comes in the time of one page: two pages in jumbo frames.
 * A guest that walks through memory then waits half as often (docs/bandwidth.md). */
static uint32_t
pages_of_a_segment(struct conn *urgent)
{
    const uint32_t head = FRAME_HEADER_SIZE + FRAME_RUN_SIZE;
    uint32_t mtu, segment, n;

    if (conn_lane(urgent)) /* a page takes less than the way there and back */
        return ASK_PAGES_MAX;
    xport_path(conn_fd(urgent), &mtu, &segment);
    n = segment > head ? (segment - head) / (LAYOUT_PAGE_BYTES + FRAME_SUM_SIZE) : 0;
    return n < 1 ? 1 : n < ASK_PAGES_MAX ? n : ASK_PAGES_MAX;
}

void
target_post_attach(struct mig_target *t, struct conn *urgent)
{
    struct target_post *p = t->post;
    AUTO_FREE uint64_t *pages = NULL;
    size_t n = 0;

    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->urgent = NULL; /* what is read no more is asked for in the next session */
    pthread_mutex_unlock(&p->mu);
    target_reads_detach(p->reads);
    if (urgent)
        target_reads_attach(p->reads, t->nic, t->read_lane);
    pthread_mutex_lock(&p->mu);
    p->urgent = urgent;
    if (urgent)
        p->ask_pages = pages_of_a_segment(urgent);
    for (size_t i = 0; i < p->words; i++)
        __atomic_store_n(&p->asked[i], 0, __ATOMIC_RELEASE);
    if (urgent && p->waiters_len > 0) {
        pages = xcalloc(p->waiters_len, sizeof *pages);
        for (; n < p->waiters_len; n++)
            pages[n] = p->waiters[n].page;
    }
    pthread_mutex_unlock(&p->mu);
    for (size_t i = 0; i < n; i++)
        if (!have_page(p, pages[i]) && take_bit(p->asked, pages[i]))
            ask(p, pages[i], 1);
}

/* --- what arrives --- */

int
target_post_receive(struct target_chan *c, const struct frame_header *h, struct err *err,
                    enum control_error_code *ret_code)
{
    struct mig_target *t = c->t;
    struct target_post *p;
    uint32_t at = 0;
    int rc;

    pthread_mutex_lock(&t->mu);
    p = t->post;
    pthread_mutex_unlock(&t->mu);
    *ret_code = CONTROL_ERR_PROTOCOL;
    if (!p || h->round != t->epoch || h->seq != c->seq)
        return err_set(err, -EPROTO,
                       "page stream: post-copy out of turn (connection %u, frame %llu)", h->round,
                       (unsigned long long)h->seq);
    *ret_code = CONTROL_ERR_LOCAL;
    rc = conn_recv(c->conn, c->head + FRAME_HEADER_SIZE, frame_head_size(h) - FRAME_HEADER_SIZE, 0,
                   err);
    if (rc != 0)
        return rc;
    *ret_code = CONTROL_ERR_PROTOCOL;
    rc = frame_decode_runs(c->head, h, &t->layout, c->index, FRAME_KINDS_PLAIN, c->runs, err);
    if (rc != 0)
        return rc;
    c->seq++;
    if (!c->lowered && c->index < t->channels)
        urgent_lower();
    c->lowered = true;
    *ret_code = CONTROL_ERR_LOCAL;
    if (h->bytes > 0)
        rc = conn_recv(c->conn, c->buf, h->bytes, 0, err);
    if (rc != 0) /* a lost connection, not a lost guest */
        return rc;
    for (uint32_t i = 0; i < h->runs && rc == 0; i++) {
        const struct frame_run *r = &c->runs[i];

        if (r->kind == FRAME_ZERO) {
            rc = install(p, r, 0, r->pages, NULL, false, err);
            continue;
        }
        for (uint32_t from = 0, to; from < r->pages && rc == 0; from = to) {
            const uint8_t *data = c->buf + (size_t)(at + from) * LAYOUT_PAGE_BYTES;
            uint64_t page = layout_page(&p->layout, r->region, r->offset) + from;

            for (to = from;
                 to < r->pages && frame_page_sum(c->buf + (size_t)(at + to) * LAYOUT_PAGE_BYTES) ==
                                      frame_sum(c->head, h, at + to);
                 to++)
                ;
            if (to > from)
                rc = install(p, r, from, to - from, data, false, err);
            else
                ask(p, page, (to = from + 1) - from); /* damaged on the way */
        }
        at += r->pages;
    }
    if (rc != 0 && rc != -ESHUTDOWN)
        *ret_code = CONTROL_ERR_GUEST;
    atomic_fetch_add_explicit(&c->received_bytes, frame_head_size(h) + h->bytes,
                              memory_order_relaxed);
    if (atomic_load(&p->left) == 0)
        eventfd_write(t->wake_fd, 1);
    return rc;
}

void
target_post_read(struct mig_target *t, uint64_t page, uint32_t pages, const uint8_t *data)
{
    struct target_post *p = t->post;
    struct frame_run r = {.pages = pages};
    struct err err = {0};
    uint32_t region;
    int rc = 0;

    where(p, page, &region, &r.offset);
    r.region = (uint16_t)region;
    for (uint32_t i = 0; i < pages && rc == 0; i++) {
        const uint8_t *one = data + (size_t)i * LAYOUT_PAGE_BYTES;

        rc = install(p, &r, i, 1, zero_page(one) ? NULL : one, true, &err);
    }
    if (rc != 0)
        guest_failed(p, &err);
    if (atomic_load(&p->left) == 0)
        eventfd_write(t->wake_fd, 1);
}

/* Those of the pages that nobody else writes or has written. data: NULL = zeros. */
static int
install(struct target_post *p, const struct frame_run *r, uint32_t from, uint32_t pages,
        const uint8_t *data, bool read, struct err *err)
{
    uint64_t first = layout_page(&p->layout, r->region, r->offset) + from;
    uint64_t offset = r->offset + (uint64_t)from * LAYOUT_PAGE_BYTES;
    int rc = 0;

    for (uint32_t a = 0, b; a < pages && rc == 0; a = b + 1) {
        for (b = a; b < pages && take_bit(p->claimed, first + b); b++)
            ;
        if (b > a)
            rc = place(p, r->region, offset + (uint64_t)a * LAYOUT_PAGE_BYTES, first + a, b - a,
                       data ? data + (size_t)a * LAYOUT_PAGE_BYTES : NULL, read, err);
    }
    return rc;
}

static int
place(struct target_post *p, uint32_t region, uint64_t offset, uint64_t page, uint32_t pages,
      const uint8_t *data, bool read, struct err *err)
{
    /* Through our own mapping, which no userfaultfd watches: a write into the file would wait for
     * the other writers of it. */
    if (data)
        memcpy(p->t->regions[region].map + offset, data, (size_t)pages * LAYOUT_PAGE_BYTES);
    (void)FAULT(DST_POSTCOPY_PAGE);
    for (uint32_t i = 0; i < pages; i++)
        __atomic_fetch_or(&p->have[(page + i) / 64], 1ull << ((page + i) % 64), __ATOMIC_RELEASE);
    atomic_fetch_sub(&p->left, pages);
    (void)FAULT(DST_POSTCOPY_SHOW);

    int rc = data ? show(p, region, offset, pages, err) : 0;

    return rc ? rc : serve_waiters(p, page, pages, !data, read, err);
}

static int
show(struct target_post *p, uint32_t region, uint64_t offset, uint32_t pages, struct err *err)
{
    int rc = pager_show(p->pager, region, offset, (uint64_t)pages * LAYOUT_PAGE_BYTES, err);

    /* The guest gave it back to the kernel meanwhile: it will be asked for zeros. */
    return rc == -ENOENT ? 0 : rc;
}

/* Who waits for these pages, of which the file knows by now, goes on. */
static int
serve_waiters(struct target_post *p, uint64_t page, uint32_t pages, bool zero, bool read,
              struct err *err)
{
    uint64_t now = clock_mono_us(), served[FAULTS];
    size_t n = 0;
    int rc = 0;

    pthread_mutex_lock(&p->mu);
    for (size_t i = 0; i < p->waiters_len;) {
        struct waiter *w = &p->waiters[i];

        if (w->page < page || w->page >= page + pages || n == FAULTS) {
            i++;
            continue;
        }

        uint64_t us = now - w->since_us;
        unsigned bucket = us ? 64 - (unsigned)__builtin_clzll(us) : 0;

        p->fault_us[bucket < MIG_FAULT_BUCKETS ? bucket : MIG_FAULT_BUCKETS - 1]++;
        p->faults++;
        p->read_faults += read;
        served[n++] = w->page;
        *w = p->waiters[--p->waiters_len];
    }
    pthread_mutex_unlock(&p->mu);
    for (size_t i = 0; i < n && zero && rc == 0; i++) {
        uint64_t offset;
        uint32_t region;

        where(p, served[i], &region, &offset);
        rc = pager_zero(p->pager, region, offset, LAYOUT_PAGE_BYTES, err);
    }
    return rc == 0 && n == FAULTS ? serve_waiters(p, page, pages, zero, read, err) : rc;
}

/* --- what the source is told, and the end --- */

int
target_post_say_missing(struct mig_target *t, struct err *err)
{
    struct target_post *p = t->post;
    AUTO_FREE uint64_t *bits = xcalloc(CONTROL_MISSING_SIZE / 8, 8);

    for (uint64_t word = 0;;) {
        struct control_msg m = {.type = CONTROL_MISSING};
        uint64_t n;
        int rc;

        while (word < p->words && p->have[word] == UINT64_MAX)
            word++;
        n = p->words - word;
        n = n < CONTROL_MISSING_SIZE / 8 ? n : CONTROL_MISSING_SIZE / 8;
        for (uint64_t i = 0; i < n; i++)
            bits[i] = ~__atomic_load_n(&p->have[word + i], __ATOMIC_ACQUIRE);
        m.missing = (struct control_missing){
            .first_page = word * 64, .words = n, .bits = bits, .last = word + n == p->words};
        rc = ctl_send(t->ctl, &m, err);
        if (rc != 0 || m.missing.last)
            return rc;
        word += n;
    }
}

int
target_post_poison(struct mig_target *t, struct err *err)
{
    struct target_post *p = t->post;
    uint64_t end = p->words * 64;

    for (uint64_t page = 0; page < end;) {
        uint64_t from = page, offset;
        uint32_t region;
        int rc;

        if (have_page(p, page)) {
            page++;
            continue;
        }
        while (page < end && !have_page(p, page) && (page == from || page % LAYOUT_STRIPE_PAGES))
            bits_set(p->poisoned, page++);
        where(p, from, &region, &offset);
        rc = pager_poison(p->pager, region, offset, (page - from) * LAYOUT_PAGE_BYTES, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

size_t
target_post_damage(struct mig_target *t, struct mig_range *ret, size_t max)
{
    struct target_post *p = t->post;
    uint64_t end = p ? p->words * 64 : 0, last = UINT64_MAX;
    size_t n = 0;

    for (uint64_t page = p ? bits_next(p->poisoned, 0, end) : end; page < end;) {
        uint64_t from = page, offset;
        uint32_t region;

        while (page < end && bits_test(p->poisoned, page) &&
               (page == from || page % LAYOUT_STRIPE_PAGES))
            page++;
        where(p, from, &region, &offset);
        if (n > 0 && n <= max && last == from && ret[n - 1].region == region)
            ret[n - 1].bytes += (page - from) * LAYOUT_PAGE_BYTES;
        else if (n++ < max)
            ret[n - 1] = (struct mig_range){region, offset, (page - from) * LAYOUT_PAGE_BYTES};
        last = page;
        page = bits_next(p->poisoned, page, end);
    }
    return n;
}

void
target_post_stats(struct mig_target *t, struct mig_stats *st)
{
    struct target_post *p = t->post;

    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    if (atomic_load(&p->left) == 0 && !p->whole_us)
        p->whole_us = clock_mono_us();
    st->mode = MIG_MODE_POSTCOPY;
    st->faults = p->faults;
    st->read_faults = p->read_faults;
    memcpy(st->fault_us, p->fault_us, sizeof st->fault_us);
    st->missing_bytes = atomic_load(&p->left) * LAYOUT_PAGE_BYTES;
    st->postcopy_us = (p->whole_us ? p->whole_us : clock_mono_us()) - p->began_us;
    pthread_mutex_unlock(&p->mu);
}
