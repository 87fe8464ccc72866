/* Windows of the target's memory; see target_rdma.h. */
#include "migrate/target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/rdma_nic.h"
#include "migrate/zero.h"

#define ANSWER       4 /* windows that are answered together, when more are wanted */
#define REGISTRARS   2 /* at most, one for every so many processors: */
#define CORES_OF_ONE 4
#define GIVE_BACK    (LAYOUT_STRIPE_PAGES / 4) /* pages: a shorter run of zeros stays allocated */

enum {                         /* what t->windows knows of a stripe */
       WINDOW_WANTED = 1 << 0, /* waits for a registrar, or is registered */
       WINDOW_OPEN = 1 << 1,   /* registered */
       WINDOW_PINNED = 1 << 2, /* registered, or about to be */
       WINDOW_PLACED =
           1 << 3, /* was registered in this round: what is in it may not be vouched for */
       WINDOW_FILLED = 1 << 4, /* was ever */
};

/* Of one window: by its first stripe. */
struct window {
    struct nic_mr *mr; /* NULL: part of `whole`, or not registered */
    uint32_t stripes;  /* 0 = there is none */
};

struct target_windows {
    struct mig_target *t;
    uint64_t budget;                         /* 0 = none */
    struct nic_mr *whole[GUEST_MAX_REGIONS]; /* of on-demand paging; or NULL */
    _Atomic uint8_t *flags;                  /* by stripe */
    _Atomic uint64_t peak_bytes, open_bytes;
    pthread_t threads[REGISTRARS];
    unsigned threads_len;
    bool open;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    /* guarded by mu */
    struct window *of; /* by stripe */
    uint64_t *queue;   /* first stripes: each stripe is in it once at most */
    uint64_t first, len;
    uint64_t taken_bytes; /* registered, or in the queue */
    bool stop;
};

static void *registrar_main(void *arg);
static uint64_t take_next_locked(struct target_windows *ws);
static void open_window(struct target_windows *ws, uint64_t stripe, struct control_window *ret);
static int give_back(struct target_windows *ws, const struct control_window *w);
static int want(struct target_windows *ws, const struct control_window *w, bool *ret_refused);
static bool find_range(const struct mig_target *t, const struct control_window *w,
                       uint64_t *ret_stripe, uint32_t *ret_stripes, uint64_t *ret_bytes);
static void drop_window(struct target_windows *ws, uint64_t stripe);
static void clean(struct mig_target *t, uint64_t stripe);

uint64_t
target_rdma_budget(const struct mig_target *t)
{
    const struct nic_facts *f = nic_facts(t->nic);
    uint64_t budget = t->cfg.rdma_window_bytes ? t->cfg.rdma_window_bytes : TARGET_WINDOW_BYTES;

    if (f->on_demand)
        return 0;
    if (f->lock_bytes < budget)
        budget = f->lock_bytes;
    return budget ? budget : 1; /* 0 has another meaning; this one is less than any window */
}

int
target_rdma_open(struct mig_target *t)
{
    struct target_windows *ws = t->windows;
    cpu_set_t set;
    unsigned cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;

    if (!t->lanes)
        return 0;
    if (!ws) {
        ws = xcalloc(1, sizeof *ws);
        ws->t = t;
        ws->flags = xcalloc(t->layout.stripes, sizeof *ws->flags);
        ws->of = xcalloc(t->layout.stripes, sizeof *ws->of);
        ws->queue = xcalloc(t->layout.stripes, sizeof *ws->queue);
        pthread_mutex_init(&ws->mu, NULL);
        pthread_cond_init(&ws->cv, NULL);
        pthread_mutex_lock(&t->mu);
        t->windows = ws;
        pthread_mutex_unlock(&t->mu);
    }
    ws->budget = target_rdma_budget(t);
    for (uint32_t i = 0; i < t->regions_len && !ws->budget; i++) {
        if (nic_register(t->nic, t->regions[i].map, t->regions[i].size,
                         NIC_PEER_WRITES | NIC_ON_DEMAND, &ws->whole[i], NULL) != 0)
            ws->whole[i] = NULL; /* window by window, then */
    }
    ws->stop = false;
    ws->open = true;
    do {
        struct err err = {0};
        int rc = pthread_create(&ws->threads[ws->threads_len], NULL, registrar_main, ws);

        if (rc != 0) {
            rc = err_set(&err, -rc, "registrar thread: %s", strerror(rc));
            return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
        }
    } while (++ws->threads_len < REGISTRARS && ws->threads_len * CORES_OF_ONE < cores);
    return 0;
}

void
target_rdma_close(struct mig_target *t)
{
    struct target_windows *ws = t->windows;

    if (!ws || !ws->open)
        return;
    pthread_mutex_lock(&ws->mu);
    ws->stop = true;
    pthread_cond_broadcast(&ws->cv);
    pthread_mutex_unlock(&ws->mu);
    while (ws->threads_len > 0)
        pthread_join(ws->threads[--ws->threads_len], NULL);
    for (uint32_t i = 0; i < t->regions_len; i++)
        nic_unregister(TAKE_PTR(ws->whole[i]));
    for (uint64_t i = 0; i < t->layout.stripes; i++)
        drop_window(ws, i);
    for (uint64_t i = 0; i < t->layout.stripes; i++) {
        if (atomic_load(&ws->flags[i]) & WINDOW_PLACED)
            clean(t, i);
        atomic_fetch_and(&ws->flags[i], WINDOW_FILLED);
    }
    ws->first = ws->len = ws->taken_bytes = 0;
    ws->open = false;
}

void
target_rdma_free(struct mig_target *t)
{
    struct target_windows *ws = t->windows;

    if (!ws)
        return;
    target_rdma_close(t);
    t->windows = NULL;
    pthread_cond_destroy(&ws->cv);
    pthread_mutex_destroy(&ws->mu);
    free(ws->flags);
    free(ws->of);
    free(ws->queue);
    free(ws);
}

int
target_rdma_on_wanted(struct mig_target *t, const struct control_windows *m)
{
    struct target_windows *ws = t->windows;
    struct control_window refused[CONTROL_MAX_WINDOWS];
    struct control_msg answer = {.type = CONTROL_WINDOWS, .windows.windows = refused};
    struct err err = {0};
    int rc = 0;

    if (!ws || !ws->open)
        return target_other_word(t, &(struct control_msg){.type = CONTROL_WINDOWS_WANTED});
    for (uint32_t i = 0; i < m->release_len && rc == 0; i++)
        rc = give_back(ws, &m->release[i]);
    for (uint32_t i = 0; i < m->len && rc == 0; i++) {
        bool no = false;

        rc = want(ws, &m->windows[i], &no);
        if (no) {
            refused[answer.windows.len] = m->windows[i];
            refused[answer.windows.len++].key = 0;
        }
    }
    if (rc != 0)
        return rc;
    if (answer.windows.len > 0)
        rc = ctl_send(t->ctl, &answer, &err);
    return rc ? target_lost(t, rc, &err) : 0;
}

void
target_rdma_round_done(struct mig_target *t)
{
    struct target_windows *ws = t->windows;

    if (!ws || !ws->open)
        return;
    for (uint64_t i = 0; i < t->layout.stripes; i++) {
        if ((atomic_load(&ws->flags[i]) & (WINDOW_PLACED | WINDOW_WANTED)) != WINDOW_PLACED)
            continue;
        clean(t, i); /* only this thread can want it again */
        atomic_fetch_and(&ws->flags[i], (uint8_t)~WINDOW_PLACED);
    }
}

static bool
has(const struct mig_target *t, uint64_t stripe, uint8_t flag)
{
    return t->windows && (atomic_load(&t->windows->flags[stripe]) & flag);
}

bool
target_rdma_may_place(const struct mig_target *t, uint64_t stripe)
{
    return has(t, stripe, WINDOW_PLACED);
}

bool
target_rdma_pinned(const struct mig_target *t, uint64_t stripe)
{
    return has(t, stripe, WINDOW_PINNED);
}

bool
target_rdma_filled(const struct mig_target *t, uint64_t stripe)
{
    return has(t, stripe, WINDOW_FILLED);
}

void
target_rdma_stats(struct mig_target *t, struct mig_stats *st)
{
    if (!t->windows)
        return;
    st->registered_bytes = atomic_load(&t->windows->open_bytes);
    st->registered_peak_bytes = atomic_load(&t->windows->peak_bytes);
}

/* --- what the source says --- */

static int
give_back(struct target_windows *ws, const struct control_window *w)
{
    struct mig_target *t = ws->t;
    uint64_t stripe, bytes;
    uint32_t stripes;

    if (!find_range(t, w, &stripe, &stripes, &bytes) ||
        !(atomic_load(&ws->flags[stripe]) & WINDOW_OPEN) || ws->of[stripe].stripes != stripes)
        return target_protocol_error(t, "WINDOWS_WANTED gives back what it was not given");
    drop_window(ws, stripe);
    pthread_mutex_lock(&ws->mu);
    ws->taken_bytes -= bytes;
    pthread_mutex_unlock(&ws->mu);
    return 0;
}

static int
want(struct target_windows *ws, const struct control_window *w, bool *ret_refused)
{
    struct mig_target *t = ws->t;
    uint64_t stripe, bytes;
    uint32_t stripes;

    if (!find_range(t, w, &stripe, &stripes, &bytes))
        return target_protocol_error(t, "WINDOWS_WANTED of what is no window");
    for (uint32_t i = 0; i < stripes; i++) {
        if (atomic_load(&ws->flags[stripe + i]) & WINDOW_WANTED)
            return target_protocol_error(t, "WINDOWS_WANTED of what it was given already");
    }
    pthread_mutex_lock(&ws->mu);
    *ret_refused = ws->budget && bytes > ws->budget - ws->taken_bytes;
    if (!*ret_refused) {
        for (uint32_t i = 0; i < stripes; i++)
            atomic_fetch_or(&ws->flags[stripe + i], WINDOW_WANTED);
        ws->of[stripe].stripes = stripes;
        ws->queue[(ws->first + ws->len++) % t->layout.stripes] = stripe;
        ws->taken_bytes += bytes;
        pthread_cond_signal(&ws->cv);
    }
    pthread_mutex_unlock(&ws->mu);
    return 0;
}

/* Whole stripes of one region, not too many. */
static bool
find_range(const struct mig_target *t, const struct control_window *w, uint64_t *ret_stripe,
           uint32_t *ret_stripes, uint64_t *ret_bytes)
{
    uint64_t stripe = w->first_page / LAYOUT_STRIPE_PAGES, pages = 0;
    uint32_t n = 0, region = 0;

    if (w->first_page % LAYOUT_STRIPE_PAGES || stripe >= t->layout.stripes)
        return false;
    for (; pages < w->pages && n < CONTROL_WINDOW_STRIPES && stripe + n < t->layout.stripes; n++) {
        uint64_t offset;
        uint32_t r, bytes;

        layout_stripe(&t->layout, stripe + n, &r, &offset, &bytes);
        if (n > 0 && r != region)
            return false;
        region = r;
        pages += bytes / LAYOUT_PAGE_BYTES;
    }
    *ret_stripe = stripe;
    *ret_stripes = n;
    *ret_bytes = pages * LAYOUT_PAGE_BYTES;
    return pages == w->pages;
}

/* If there is one that begins here. Nobody else opens or drops it meanwhile. */
static void
drop_window(struct target_windows *ws, uint64_t stripe)
{
    struct window *w = &ws->of[stripe];

    if (atomic_load(&ws->flags[stripe]) & WINDOW_OPEN && w->mr) {
        uint64_t bytes = 0;

        nic_unregister(TAKE_PTR(w->mr));
        for (uint32_t i = 0; i < w->stripes; i++) {
            uint32_t region, len;
            uint64_t offset;

            layout_stripe(&ws->t->layout, stripe + i, &region, &offset, &len);
            bytes += len;
        }
        atomic_fetch_sub(&ws->open_bytes, bytes);
    }
    for (uint32_t i = 0; i < w->stripes; i++)
        atomic_fetch_and(&ws->flags[stripe + i],
                         (uint8_t) ~(WINDOW_WANTED | WINDOW_OPEN | WINDOW_PINNED));
    w->stripes = 0;
}

/* --- registrars --- */

static void *
registrar_main(void *arg)
{
    struct target_windows *ws = arg;
    struct control_window opened[ANSWER];
    struct control_msg m = {.type = CONTROL_WINDOWS, .windows.windows = opened};
    uint32_t together = 1;

    pthread_setname_np(pthread_self(), "mig-window");
    pthread_mutex_lock(&ws->mu);
    for (;;) {
        while (ws->len == 0 && !ws->stop) {
            together = 1; /* somebody may wait for the first */
            pthread_cond_wait(&ws->cv, &ws->mu);
        }
        if (ws->stop)
            break;

        uint64_t stripe = take_next_locked(ws);

        bool last = ws->len == 0;

        pthread_mutex_unlock(&ws->mu);
        open_window(ws, stripe, &opened[m.windows.len++]);
        /* What is lost with the connection is found out by those who receive. */
        if (last || m.windows.len == together) {
            (void)ctl_send(ws->t->ctl, &m, NULL);
            m.windows.len = 0;
            together = together < ANSWER ? together * 2 : ANSWER;
        }
        pthread_mutex_lock(&ws->mu);
    }
    pthread_mutex_unlock(&ws->mu);
    return NULL;
}

/* Workers send their stripes in order and ask far ahead: the lowest is the one that is waited for. */
static uint64_t
take_next_locked(struct target_windows *ws)
{
    uint64_t room = ws->t->layout.stripes, *first = &ws->queue[ws->first], stripe;

    for (uint64_t i = 1; i < ws->len; i++) {
        uint64_t *other = &ws->queue[(ws->first + i) % room];

        if (*other < *first)
            stripe = *first, *first = *other, *other = stripe;
    }
    stripe = *first;
    ws->first = (ws->first + 1) % room;
    ws->len--;
    return stripe;
}

/* *ret: the answer; key 0 when it cannot be had. */
static void
open_window(struct target_windows *ws, uint64_t stripe, struct control_window *ret)
{
    struct mig_target *t = ws->t;
    struct window *w = &ws->of[stripe];
    uint64_t offset, bytes = 0;
    uint32_t region, len, stripes = w->stripes;
    uint8_t *from;
    int rc = 0;

    layout_stripe(&t->layout, stripe, &region, &offset, &len);
    from = t->regions[region].map + offset;
    for (uint32_t i = 0; i < stripes; i++) {
        layout_stripe(&t->layout, stripe + i, &region, &offset, &len);
        bytes += len;
        if (!ws->whole[region])
            atomic_fetch_or(&ws->flags[stripe + i], WINDOW_PINNED);
    }
    if (ws->whole[region]) {
        ret->key = nic_mr_key(ws->whole[region]);
        ret->address =
            nic_mr_address(ws->whole[region]) + (uint64_t)(from - t->regions[region].map);
    } else {
        /* who did not see yet that it is pinned is done with its zeros */
        pthread_mutex_lock(&t->write_mu);
        pthread_mutex_unlock(&t->write_mu);
        for (uint32_t i = 0; i < stripes; i++)
            (void)target_direct_huge(t, stripe + i);
        rc = nic_register(t->nic, from, bytes, NIC_PEER_WRITES, &w->mr, NULL);
        if (rc == 0 && FAULT(DST_WINDOW)) {
            nic_unregister(TAKE_PTR(w->mr));
            rc = -EIO;
        }
        ret->key = rc ? 0 : nic_mr_key(w->mr);
        ret->address = rc ? 0 : nic_mr_address(w->mr);
    }
    ret->first_page = stripe * LAYOUT_STRIPE_PAGES;
    ret->pages = bytes / LAYOUT_PAGE_BYTES;
    if (rc == 0) {
        uint64_t open = w->mr ? bytes + atomic_fetch_add(&ws->open_bytes, bytes) : 0;
        uint64_t peak = atomic_load(&ws->peak_bytes);

        while (open > peak && !atomic_compare_exchange_weak(&ws->peak_bytes, &peak, open))
            ;
    } else {
        pthread_mutex_lock(&ws->mu);
        ws->taken_bytes -= bytes;
        w->stripes = 0;
        pthread_mutex_unlock(&ws->mu);
    }
    /* The first last: it says that the window is there, or may be asked for again. */
    for (uint32_t i = stripes; i-- > 0;) {
        if (rc == 0)
            atomic_fetch_or(&ws->flags[stripe + i],
                            WINDOW_PLACED | WINDOW_FILLED | (i == 0 ? WINDOW_OPEN : 0));
        else
            atomic_fetch_and(&ws->flags[stripe + i], (uint8_t) ~(WINDOW_WANTED | WINDOW_PINNED));
        if (rc != 0)
            atomic_fetch_or(&ws->flags[stripe + i], WINDOW_FILLED);
    }
}

/* --- zeros again --- */

/* What of the stripe was not received is zero, and without pages where that is most of it. Nothing is
 * registered there, and no receiver is at it. */
static void
clean(struct mig_target *t, uint64_t stripe)
{
    uint64_t first = stripe * LAYOUT_STRIPE_PAGES, end, offset;
    uint32_t region, bytes;

    layout_stripe(&t->layout, stripe, &region, &offset, &bytes);
    end = first + bytes / LAYOUT_PAGE_BYTES;
    for (uint64_t a = first, b; a < end; a = b) {
        uint64_t at = offset + (a - first) * LAYOUT_PAGE_BYTES;
        uint8_t *p = t->regions[region].map + at;

        for (b = a; b < end && !bits_test(t->received, b); b++)
            ;
        if (b - a >= GIVE_BACK || (b > a && !t->windows->budget) || (a == first && b == end)) {
            if (fallocate(t->regions[region].memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          (off_t)at, (off_t)((b - a) * LAYOUT_PAGE_BYTES)) == 0)
                continue;
        }
        for (uint64_t i = a; i < b; i++, p += LAYOUT_PAGE_BYTES) {
            if (!zero_page(p))
                memset(p, 0, LAYOUT_PAGE_BYTES);
        }
        b = b > a ? b : b + 1;
    }
}
