/* Post-copy by RDMA READ, the source's part: what of the paused guest's memory the target may read. A
 * thread of its own opens windows from RUNNING on (before it no peer reaches this memory at all),
 * hottest stripes first, as much at once as the budget and the limit of locked memory allow, and closes
 * those of which the target says that everything in them has arrived. Whatever ends the connection
 * closes all. See source_int.h, rdma_reach.h, docs/postcopy.md. */
#include "migrate/source_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "migrate/rdma_nic.h"
#include "migrate/rdma_reach.h"
#include "migrate/urgent.h"

#define BUDGET_BYTES (1ull << 30) /* unless the configuration says something else */
#define WINDOW_PAGES 2048u        /* 8 MiB: how long opening one takes is how long closing waits */
#define SAY_PAGES    1024u        /* the target hears of windows when they have so many pages */
#define SAY_WINDOWS  64u          /* or are so many */

struct window {
    uint64_t first_page, pages;
    struct nic_mr *mr;
    bool pinned;
    bool arrived; /* by the target's word: it reads nothing here any more */
};

struct source_reads {
    struct mig_source *s;
    pthread_t thread;
    bool started;
    /* owned by the thread */
    struct present present[GUEST_MAX_REGIONS];
    struct window next; /* being put together; pages 0 = nothing is */
    struct control_window unsaid[CONTROL_MAX_WINDOWS];
    uint32_t unsaid_len;
    uint64_t unsaid_pages, budget_bytes;
    /* guarded by mu */
    pthread_mutex_t mu;
    pthread_cond_t cv; /* stop, or windows to close */
    bool stop;
    struct window *windows; /* in no order */
    size_t len, room, arrived_len;
    uint64_t pinned_bytes;
    char text[MIG_DECISION_TEXT]; /* for the decision log; "" = nothing new */
};

static int on_read(struct mig_source *s, const struct control_window *w, struct err *err);
static int on_release(struct source_reads *r, const struct control_window *w, struct err *err);
static void *reads_main(void *arg);
static int open_all(struct source_reads *r);
static int open_on_demand(struct source_reads *r);
static int open_stripe(struct source_reads *r, uint64_t stripe);
static int grow(struct source_reads *r, uint64_t first_page, uint32_t pages);
static int open_next(struct source_reads *r);
static int open_window(struct source_reads *r, struct window *w, unsigned access, struct err *err);
static int room_for(struct source_reads *r, uint64_t bytes, uint64_t *ret_bytes);
static bool nothing_left(struct source_reads *r, uint64_t first_page, uint64_t pages);
static void close_arrived(struct source_reads *r);
static int say(struct source_reads *r);
static void note(struct source_reads *r, const struct err *err);
static void count(struct source_reads *r);

void
source_reads_start(struct mig_source *s)
{
    struct source_reads *r;
    struct err err = {0};
    uint64_t locked;
    int rc = 0;

    if (!s->read_lane || s->reads)
        return;
    s->reads = r = xcalloc(1, sizeof *r);
    r->s = s;
    /* Another migration of this process may want to lock something, too. */
    locked = nic_facts(s->nic)->lock_bytes;
    r->budget_bytes = s->cfg.rdma_window_bytes ? s->cfg.rdma_window_bytes : BUDGET_BYTES;
    if (locked != UINT64_MAX && r->budget_bytes > locked / 2)
        r->budget_bytes = locked / 2;
    if (r->budget_bytes < LAYOUT_PAGE_BYTES)
        rc = err_set(&err, -ENOMEM, "no more than %llu bytes may be registered at once",
                     (unsigned long long)r->budget_bytes);
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->cv, NULL);
    for (uint32_t i = 0; i < GUEST_MAX_REGIONS; i++)
        r->present[i].fd = -1;
    for (uint32_t i = 0; i < s->layout.regions && rc == 0; i++)
        rc = present_init(&r->present[i], &s->regions[i], &err);
    if (rc == 0) {
        rc = -pthread_create(&r->thread, NULL, reads_main, r);
        r->started = rc == 0;
        if (rc != 0)
            err_set(&err, rc, "thread: %s", strerror(-rc));
    }
    if (rc != 0)
        note(r, &err);
}

void
source_reads_stop(struct mig_source *s)
{
    struct source_reads *r = s->reads;

    if (!r)
        return;
    pthread_mutex_lock(&r->mu);
    r->stop = true;
    pthread_cond_signal(&r->cv);
    pthread_mutex_unlock(&r->mu);
    if (r->started)
        pthread_join(r->thread, NULL);
    source_reads_tick(s);
    for (size_t i = 0; i < r->len; i++)
        nic_unregister(r->windows[i].mr);
    r->len = 0;
    r->pinned_bytes = 0;
    count(r);
    for (uint32_t i = 0; i < GUEST_MAX_REGIONS; i++)
        present_done(&r->present[i]);
    pthread_cond_destroy(&r->cv);
    pthread_mutex_destroy(&r->mu);
    free(r->windows);
    free(r);
    s->reads = NULL;
}

int
source_on_windows_wanted(struct mig_source *s, const struct control_windows *m)
{
    struct source_reads *r = s->reads;
    struct err err = {0};
    int rc = 0;

    if (!r)
        rc = err_set(&err, -EPROTO, "the target reads what is not open");
    for (uint32_t i = 0; i < m->len && rc == 0; i++)
        rc = on_read(s, &m->windows[i], &err);
    for (uint32_t i = 0; r && i < m->release_len && rc == 0; i++)
        rc = on_release(r, &m->release[i], &err);
    return rc ? source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err) : 0;
}

/* The target has these pages: they are not pushed any more, and what lies around them is what its guest
 * works on. They came over the same link. */
static int
on_read(struct mig_source *s, const struct control_window *w, struct err *err)
{
    if (!reach_inside(&s->layout, w) || w->pages > LAYOUT_STRIPE_PAGES)
        return err_set(err, -EPROTO, "the target has read %llu pages at page %llu: no such memory",
                       (unsigned long long)w->pages, (unsigned long long)w->first_page);
    pthread_mutex_lock(&s->plan_mu);
    plan_fault(&s->plan, w->first_page, (uint32_t)w->pages);
    pthread_mutex_unlock(&s->plan_mu);
    bucket_charge(&s->share.bucket, w->pages * LAYOUT_PAGE_BYTES, clock_mono_us());
    return 0;
}

static int
on_release(struct source_reads *r, const struct control_window *w, struct err *err)
{
    bool known = false;

    pthread_mutex_lock(&r->mu);
    for (size_t i = 0; i < r->len && !known; i++) {
        struct window *have = &r->windows[i];

        known = have->first_page == w->first_page && have->pages == w->pages && !have->arrived;
        if (known)
            have->arrived = true;
    }
    r->arrived_len += known;
    pthread_cond_signal(&r->cv);
    pthread_mutex_unlock(&r->mu);
    return known ? 0 : err_set(err, -EPROTO, "the target gives back a window that it has not");
}

void
source_reads_tick(struct mig_source *s)
{
    struct source_reads *r = s->reads;
    char text[MIG_DECISION_TEXT];

    if (!r)
        return;
    pthread_mutex_lock(&r->mu);
    memcpy(text, r->text, sizeof text);
    r->text[0] = '\0';
    pthread_mutex_unlock(&r->mu);
    if (text[0])
        source_log(s, text);
}

/* --- the thread --- */

static void *
reads_main(void *arg)
{
    struct source_reads *r = arg;

    pthread_setname_np(pthread_self(), "mig-windows");
    urgent_lower();
    if (nic_facts(r->s->nic)->on_demand ? open_on_demand(r) : open_all(r))
        return NULL;
    pthread_mutex_lock(&r->mu);
    while (!r->stop) {
        if (r->arrived_len == 0)
            pthread_cond_wait(&r->cv, &r->mu);
        close_arrived(r);
    }
    pthread_mutex_unlock(&r->mu);
    return NULL;
}

/* 0, or there is no use in going on. */
static int
open_all(struct source_reads *r)
{
    struct mig_source *s = r->s;
    int rc = 0;

    for (uint64_t i = 0; i < s->layout.stripes && rc == 0; i++)
        rc = open_stripe(r, s->plan.order[i]);
    if (rc == 0)
        rc = open_next(r);
    return rc ? rc : say(r);
}

/* Nothing is populated or pinned: all that is missing of a region in one window. */
static int
open_on_demand(struct source_reads *r)
{
    const struct layout *l = &r->s->layout;
    int rc = 0;

    for (uint32_t i = 0; i < l->regions && rc == 0; i++) {
        uint64_t from = l->first_stripe[i] * LAYOUT_STRIPE_PAGES;
        uint64_t end = from + l->size_bytes[i] / LAYOUT_PAGE_BYTES;
        struct window w = {.first_page = from, .pages = end - from};
        struct err err = {0};

        if (nothing_left(r, w.first_page, w.pages))
            continue;
        rc = open_window(r, &w, NIC_PEER_READS | NIC_ON_DEMAND, &err);
        if (rc != 0)
            note(r, &err);
    }
    return rc ? rc : say(r);
}

static int
open_stripe(struct source_reads *r, uint64_t stripe)
{
    struct mig_source *s = r->s;
    uint64_t missing[REACH_WORDS], data[REACH_WORDS], offset;
    struct reach_run runs[REACH_RUNS];
    uint32_t region, bytes;
    struct err err = {0};
    unsigned n;
    int rc;

    pthread_mutex_lock(&s->plan_mu);
    memcpy(missing, s->plan.todo + stripe * REACH_WORDS, sizeof missing);
    pthread_mutex_unlock(&s->plan_mu);
    if (bits_count(missing, REACH_WORDS) == 0) /* all of it was pushed */
        return 0;
    layout_stripe(&s->layout, stripe, &region, &offset, &bytes);
    rc = present_bits(&r->present[region], offset, bytes, data, &err);
    if (rc != 0) {
        note(r, &err);
        return rc;
    }
    n = reach_runs(missing, data, runs);
    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = grow(r, stripe * LAYOUT_STRIPE_PAGES + runs[i].first, runs[i].pages);
    return rc;
}

/* Neighbours become one window. */
static int
grow(struct source_reads *r, uint64_t first_page, uint32_t pages)
{
    const struct layout *l = &r->s->layout;
    struct window *w = &r->next;
    uint32_t before, after, bytes;
    uint64_t offset;
    int rc = 0;

    if (w->pages > 0 && w->first_page + w->pages == first_page &&
        w->pages + pages <= WINDOW_PAGES) {
        layout_stripe(l, (first_page - 1) / LAYOUT_STRIPE_PAGES, &before, &offset, &bytes);
        layout_stripe(l, first_page / LAYOUT_STRIPE_PAGES, &after, &offset, &bytes);
        if (before == after) {
            w->pages += pages;
            return 0;
        }
    }
    rc = open_next(r);
    *w = (struct window){.first_page = first_page, .pages = pages};
    return rc;
}

/* Opens what was put together, when there is room. */
static int
open_next(struct source_reads *r)
{
    struct window w = r->next;

    r->next.pages = 0;
    while (w.pages > 0) {
        struct window part = w;
        struct err err = {0};
        uint64_t bytes;
        int rc = room_for(r, w.pages * LAYOUT_PAGE_BYTES, &bytes);

        if (rc != 0)
            return rc;
        /* Pushed while there was no room for it. */
        if (nothing_left(r, w.first_page, w.pages))
            return 0;
        part.pages = bytes / LAYOUT_PAGE_BYTES;
        part.pinned = true;
        rc = open_window(r, &part, NIC_PEER_READS, &err);
        if (rc == -ENOMEM && r->pinned_bytes > 0) {
            r->budget_bytes = r->pinned_bytes; /* the limit is nearer than it looked */
            continue;
        }
        if (rc != 0) {
            note(r, &err);
            return rc;
        }
        w.first_page += part.pages;
        w.pages -= part.pages;
        if (r->unsaid_pages >= SAY_PAGES || r->unsaid_len >= SAY_WINDOWS)
            rc = say(r);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
open_window(struct source_reads *r, struct window *w, unsigned access, struct err *err)
{
    struct mig_source *s = r->s;
    uint32_t region, stripe_bytes;
    uint64_t offset;
    int rc;

    layout_stripe(&s->layout, w->first_page / LAYOUT_STRIPE_PAGES, &region, &offset, &stripe_bytes);
    offset += w->first_page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES;
    rc = nic_register(s->nic, s->regions[region].map + offset, w->pages * LAYOUT_PAGE_BYTES, access,
                      &w->mr, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&r->mu);
    if (r->len == r->room) {
        r->room = r->room ? 2 * r->room : 64;
        r->windows = xrealloc(r->windows, r->room * sizeof *r->windows);
    }
    r->windows[r->len++] = *w;
    r->pinned_bytes += w->pinned ? w->pages * LAYOUT_PAGE_BYTES : 0;
    count(r);
    pthread_mutex_unlock(&r->mu);
    r->unsaid[r->unsaid_len++] = (struct control_window){.first_page = w->first_page,
                                                         .pages = w->pages,
                                                         .address = nic_mr_address(w->mr),
                                                         .key = nic_mr_key(w->mr)};
    r->unsaid_pages += w->pages;
    return 0;
}

/* Waits until there is any, or stop (-ECANCELED). *ret_bytes: how much of what is wanted. */
static int
room_for(struct source_reads *r, uint64_t bytes, uint64_t *ret_bytes)
{
    int rc = 0;

    pthread_mutex_lock(&r->mu);
    for (;;) {
        uint64_t room;

        close_arrived(r);
        room = r->budget_bytes > r->pinned_bytes ? r->budget_bytes - r->pinned_bytes : 0;
        room = room / LAYOUT_PAGE_BYTES * LAYOUT_PAGE_BYTES;
        *ret_bytes = bytes < room ? bytes : room;
        if (r->stop)
            rc = -ECANCELED;
        if (r->stop || (r->len<REACH_MAX && * ret_bytes> 0))
            break;
        if (r->unsaid_len > 0) { /* what is open already shall be of use meanwhile */
            pthread_mutex_unlock(&r->mu);
            rc = say(r);
            pthread_mutex_lock(&r->mu);
            if (rc != 0)
                break;
            continue;
        }
        pthread_cond_wait(&r->cv, &r->mu);
    }
    pthread_mutex_unlock(&r->mu);
    return rc;
}

static bool
nothing_left(struct source_reads *r, uint64_t first_page, uint64_t pages)
{
    struct mig_source *s = r->s;
    bool none;

    pthread_mutex_lock(&s->plan_mu);
    none = bits_next(s->plan.todo, first_page, first_page + pages) == first_page + pages;
    pthread_mutex_unlock(&s->plan_mu);
    return none;
}

/* mu held; let go of while the device is at it. */
static void
close_arrived(struct source_reads *r)
{
    for (size_t i = 0; i < r->len && r->arrived_len > 0;) {
        struct window w = r->windows[i];

        if (!w.arrived) {
            i++;
            continue;
        }
        r->windows[i] = r->windows[--r->len];
        r->arrived_len--;
        pthread_mutex_unlock(&r->mu);
        nic_unregister(w.mr);
        pthread_mutex_lock(&r->mu);
        r->pinned_bytes -= w.pinned ? w.pages * LAYOUT_PAGE_BYTES : 0;
        count(r);
    }
}

static int
say(struct source_reads *r)
{
    struct control_msg m = {.type = CONTROL_WINDOWS,
                            .windows = {.len = r->unsaid_len, .windows = r->unsaid}};

    if (r->unsaid_len == 0)
        return 0;
    r->unsaid_len = 0;
    r->unsaid_pages = 0;
    return ctl_send(r->s->ctl, &m, NULL); /* a lost connection is the run thread's to find */
}

static void
note(struct source_reads *r, const struct err *err)
{
    pthread_mutex_lock(&r->mu);
    snprintf(
        r->text, sizeof r->text,
        "the target may read %.0f MiB of this memory at most, and asks for the other pages: %.200s",
        (double)r->pinned_bytes / (1 << 20), err_msg(err));
    pthread_mutex_unlock(&r->mu);
}

/* Pre-copy's windows, which these figures were of, are gone. */
static void
count(struct source_reads *r)
{
    struct mig_source *s = r->s;

    atomic_store(&s->open_window_bytes, r->pinned_bytes);
    if (atomic_load(&s->peak_window_bytes) < r->pinned_bytes)
        atomic_store(&s->peak_window_bytes, r->pinned_bytes);
}
