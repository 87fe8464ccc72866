/* Figures of the guests that run here (hv.h: stats), taken every HANDLER_STATS_US on one worker, so that
 * a hypervisor that hangs keeps neither the loop nor a scrape waiting. Loop thread but for the worker. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

struct one {
    struct vm_entry *e; /* loop thread only; there until `done`, for e->sampling says so */
    struct hv_guest *g;
    struct hv_stats st;
    bool ok;
};

struct vm_sample {
    struct handler *h;
    struct one *items;
    size_t len;
};

static void begin(void *ctx);
static void run(void *ctx);
static void done(void *ctx);
static void free_sample(struct vm_sample *s, bool stopping);

void
vm_stats_start(struct handler *h)
{
    h->stats_timer = loop_timer_add(h->l, HANDLER_STATS_US, begin, h);
}

void
vm_stats_stop(struct handler *h)
{
    loop_timer_del(h->stats_timer);
    h->stats_timer = NULL;
    if (h->sample) /* its worker has ended, and nobody will call `done` any more */
        free_sample(h->sample, true);
    h->sample = NULL;
}

static void
begin(void *ctx)
{
    struct handler *h = ctx;
    struct vm_sample *s = xcalloc(1, sizeof *s);
    size_t it = 0;
    void *v;

    h->stats_timer = NULL;
    s->h = h;
    s->items = xcalloc(strmap_len(h->vms) + 1, sizeof *s->items);
    while (strmap_next(h->vms, &it, NULL, &v)) {
        struct vm_entry *e = v;
        struct hv_now now;

        if (e->guest)
            e->guest->ops->now(e->guest, &now);
        if (!e->guest || !e->has_journal || e->j.state != JOURNAL_RUNNING ||
            (now.state != HV_RUNNING && now.state != HV_PAUSED)) {
            e->has_stats = false; /* what was known is old */
            continue;
        }
        s->items[s->len++] = (struct one){.e = e, .g = e->guest};
        e->sampling = true;
    }
    h->sample = s;
    work_run(h->work, run, done, s);
}

static void
run(void *ctx)
{
    struct vm_sample *s = ctx;
    bool silent[HV_KIND_COUNT] = {false};

    for (size_t i = 0; i < s->len; i++) {
        struct one *o = &s->items[i];
        enum hv_kind kind = o->g->ops->kind;
        int rc = silent[kind] ? -ENOTCONN : o->g->ops->stats(o->g, &o->st, NULL);

        o->ok = rc == 0;
        /* Not every one of a hundred guests waits for the same hypervisor. */
        silent[kind] |= rc == -ETIMEDOUT || rc == -ENOTCONN;
    }
}

static void
done(void *ctx)
{
    struct vm_sample *s = ctx;
    struct handler *h = s->h;

    h->sample = NULL;
    for (size_t i = 0; i < s->len; i++) {
        const struct one *o = &s->items[i];

        if (o->e->guest == o->g) {
            o->e->has_stats = o->ok;
            o->e->stats = o->st;
        }
    }
    free_sample(s, false);
    if (!h->stopping)
        vm_stats_start(h);
}

static void
free_sample(struct vm_sample *s, bool stopping)
{
    for (size_t i = 0; i < s->len; i++) {
        struct one *o = &s->items[i];

        o->e->sampling = false;
        if (o->e->guest != o->g) /* it was let go of meanwhile, and left to us */
            o->g->ops->free(o->g);
        if (!stopping)
            vm_reconcile(o->e); /* it may be of no use any more */
    }
    free(s->items);
    free(s);
}
