/* Post-copy by RDMA READ, the target's part: a page that the guest waits for is read from the source's
 * memory where the source has opened a window on it, into a staging buffer, and installed as a pushed
 * one would be. Nothing at the source has to run for it. Whatever cannot be read, or was not, is asked
 * for over the urgent channel: a fault is never lost here. Threads: fault readers ask, a reaper takes
 * what has come, the run thread hears of windows and gives them back. See target_int.h, rdma_reach.h,
 * docs/postcopy.md. */
#include "migrate/target_int.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "migrate/rdma_lane.h"
#include "migrate/rdma_nic.h"
#include "migrate/rdma_reach.h"
#include "migrate/urgent.h"
#include "migrate/zero.h"

#define SLOTS      32u /* READs that may be open; the lane may allow fewer */
#define SLOT_BYTES (TARGET_READ_PAGES * LAYOUT_PAGE_BYTES)
#define WALK_PAGES 64u /* a fault so near behind what was read is a step of a walk through memory */
#define WALK_OPEN  4u /* READs; where more are open the guest has many faults, and needs them more */
#define REAP_US    1000000

struct slot {
    uint64_t page;
    uint32_t pages;
};

struct target_reads {
    struct mig_target *t;
    uint8_t *staging; /* constant after new */
    /* owned by the run thread */
    struct nic_mr *staging_mr;
    struct lane *reaped; /* by the reaper */
    pthread_t reaper;
    bool started;

    pthread_mutex_t mu;
    /* guarded by mu */
    struct lane *lane; /* NULL: none, or it broke */
    struct reach reach;
    struct slot slots[SLOTS];
    uint32_t free[SLOTS], free_len;
    uint64_t walked; /* the page behind the last that was asked for */
    struct control_window seen[CONTROL_MAX_WINDOWS]; /* read, and the source was not told */
    uint32_t seen_len;
    char text[MIG_DECISION_TEXT]; /* for cfg.noted; "" = nothing new */
};

static int start(struct target_reads *r, struct lane *lane, struct err *err);
static void *reaper_main(void *arg);
static void take(struct target_reads *r, uint32_t slot, int rc);
static void note(struct target_reads *r, const struct err *err);
static void remember(struct target_reads *r, const struct slot *s);
static uint32_t whole_windows(struct target_reads *r,
                              struct control_window ret[CONTROL_MAX_WINDOWS]);

struct target_reads *
target_reads_new(struct mig_target *t)
{
    struct target_reads *r = xcalloc(1, sizeof *r);
    void *p =
        mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    r->t = t;
    r->staging = p == MAP_FAILED ? NULL : p;
    pthread_mutex_init(&r->mu, NULL);
    return r;
}

void
target_reads_free(struct target_reads *r)
{
    target_reads_detach(r);
    if (r->staging)
        munmap(r->staging, SLOTS * SLOT_BYTES);
    pthread_mutex_destroy(&r->mu);
    free(r);
}

void
target_reads_attach(struct target_reads *r, struct nic *nic, struct lane *lane)
{
    struct err err = {0};
    int rc = 0;

    if (!lane)
        return;
    if (!r->staging)
        rc = err_set(&err, -ENOMEM, "no memory for what they bring");
    if (rc == 0)
        rc = nic_register(nic, r->staging, SLOTS * SLOT_BYTES, NIC_LOCAL, &r->staging_mr, &err);
    if (rc == 0)
        rc = start(r, lane, &err);
    if (rc != 0)
        note(r, &err);
}

static int
start(struct target_reads *r, struct lane *lane, struct err *err)
{
    int rc;

    r->reaped = lane;
    pthread_mutex_lock(&r->mu);
    r->lane = lane;
    for (r->free_len = 0; r->free_len < SLOTS; r->free_len++)
        r->free[r->free_len] = r->free_len;
    pthread_mutex_unlock(&r->mu);
    rc = -pthread_create(&r->reaper, NULL, reaper_main, r);
    r->started = rc == 0;
    return rc ? err_set(err, rc, "thread: %s", strerror(-rc)) : 0;
}

void
target_reads_detach(struct target_reads *r)
{
    pthread_mutex_lock(&r->mu);
    lane_shut(TAKE_PTR(r->lane));
    pthread_mutex_unlock(&r->mu);
    if (r->started)
        pthread_join(r->reaper, NULL);
    r->started = false;
    nic_unregister(TAKE_PTR(r->staging_mr));
    reach_done(&r->reach);
    r->seen_len = 0;
}

bool
target_reads_walk(struct target_reads *r, uint64_t page)
{
    bool walks;

    pthread_mutex_lock(&r->mu);
    walks = r->lane && SLOTS - r->free_len < WALK_OPEN && page - r->walked < WALK_PAGES;
    pthread_mutex_unlock(&r->mu);
    return walks;
}

uint32_t
target_reads_ask(struct target_reads *r, uint64_t page, uint32_t pages)
{
    struct reach_window *w = NULL;
    uint32_t slot;

    pthread_mutex_lock(&r->mu);
    if (r->lane && r->free_len > 0)
        w = reach_find(&r->reach, page);
    if (!w) {
        pages = 0;
    } else {
        pages = pages < TARGET_READ_PAGES ? pages : TARGET_READ_PAGES;
        if (pages > w->first_page + w->pages - page)
            pages = (uint32_t)(w->first_page + w->pages - page);
        slot = r->free[r->free_len - 1];
        r->slots[slot] = (struct slot){.page = page, .pages = pages};
        if (lane_read(r->lane, r->staging + (size_t)slot * SLOT_BYTES, r->staging_mr,
                      w->address + (page - w->first_page) * LAYOUT_PAGE_BYTES, w->key,
                      pages * LAYOUT_PAGE_BYTES, slot, NULL) == 0) {
            r->free_len--;
            w->open++;
            r->walked = page + pages;
        } else {
            pages = 0; /* too many are open, or the lane broke */
        }
    }
    pthread_mutex_unlock(&r->mu);
    return pages;
}

int
target_reads_windows(struct target_reads *r, const struct layout *l,
                     const struct control_windows *m, struct err *err)
{
    int rc;

    pthread_mutex_lock(&r->mu);
    rc = reach_add(&r->reach, l, m, err);
    pthread_mutex_unlock(&r->mu);
    return rc;
}

void
target_reads_tick(struct target_reads *r)
{
    struct control_window seen[CONTROL_MAX_WINDOWS], whole[CONTROL_MAX_WINDOWS];
    struct control_msg m = {.type = CONTROL_WINDOWS_WANTED,
                            .windows = {.windows = seen, .release = whole}};
    char text[MIG_DECISION_TEXT];

    pthread_mutex_lock(&r->mu);
    m.windows.release_len = whole_windows(r, whole);
    m.windows.len = r->seen_len;
    memcpy(seen, r->seen, r->seen_len * sizeof *seen);
    r->seen_len = 0;
    memcpy(text, r->text, sizeof text);
    r->text[0] = '\0';
    pthread_mutex_unlock(&r->mu);
    if (text[0] && r->t->cfg.noted)
        r->t->cfg.noted(r->t->cfg.ctx, text);
    if (m.windows.len > 0 || m.windows.release_len > 0)
        (void)ctl_send(r->t->ctl, &m, NULL); /* where it fails, all are closed */
}

/* Takes out of the table those whose pages are all there, and which nobody reads any more: their memory
 * may be closed at the source without a READ meeting it. mu held. */
static uint32_t
whole_windows(struct target_reads *r, struct control_window ret[CONTROL_MAX_WINDOWS])
{
    uint32_t n = 0;

    for (size_t i = 0; i < r->reach.len && n < CONTROL_MAX_WINDOWS;) {
        struct reach_window *w = &r->reach.windows[i];

        while (w->arrived < w->pages && target_post_has(r->t, w->first_page + w->arrived))
            w->arrived++;
        if (w->arrived < w->pages || w->open > 0) {
            i++;
            continue;
        }
        ret[n++] = (struct control_window){.first_page = w->first_page, .pages = w->pages};
        reach_remove(&r->reach, i);
    }
    return n;
}

/* --- the reaper --- */

static void *
reaper_main(void *arg)
{
    struct target_reads *r = arg;
    struct err err = {0};
    int rc;

    pthread_setname_np(pthread_self(), "mig-read");
    urgent_raise();
    do {
        uint64_t cookie;
        int read_rc;

        rc = lane_reap(r->reaped, REAP_US, &cookie, &read_rc, &err);
        if (rc == 1)
            take(r, (uint32_t)cookie, read_rc);
    } while (rc >= 0);
    pthread_mutex_lock(&r->mu);
    if (TAKE_PTR(r->lane)) /* not at our own wish */
        note(r, &err);
    pthread_mutex_unlock(&r->mu);
    eventfd_write(r->t->wake_fd, 1);
    return NULL;
}

/* mu held, or nobody else is there. */
static void
note(struct target_reads *r, const struct err *err)
{
    snprintf(r->text, sizeof r->text,
             "pages are not read from the source's memory any more, but asked for: %.200s",
             err_msg(err));
}

static void
take(struct target_reads *r, uint32_t slot, int rc)
{
    const uint8_t *data = r->staging + (size_t)slot * SLOT_BYTES;
    struct slot s;

    pthread_mutex_lock(&r->mu);
    s = r->slots[slot];
    pthread_mutex_unlock(&r->mu);
    if (rc == 0)
        target_post_read(r->t, s.page, s.pages, data);
    else
        target_post_request(r->t, s.page, s.pages);
    pthread_mutex_lock(&r->mu);
    if (rc == 0)
        remember(r, &s);
    r->free[r->free_len++] = slot;
    reach_find(&r->reach, s.page)->open--;
    pthread_mutex_unlock(&r->mu);
}

/* For the source, which does not notice: these need not be pushed. mu held. */
static void
remember(struct target_reads *r, const struct slot *s)
{
    struct control_window *last = r->seen_len > 0 ? &r->seen[r->seen_len - 1] : NULL;

    if (last && last->first_page + last->pages == s->page && s->page % LAYOUT_STRIPE_PAGES != 0)
        last->pages += s->pages;
    else if (r->seen_len < CONTROL_MAX_WINDOWS) /* else they come twice */
        r->seen[r->seen_len++] = (struct control_window){.first_page = s->page, .pages = s->pages};
    if (r->seen_len == CONTROL_MAX_WINDOWS / 2)
        eventfd_write(r->t->wake_fd, 1);
}
