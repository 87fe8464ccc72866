/* Full verification at the target: threads of its own digest all memory while the source does the
 * same; then the stripes that differ are asked for again. The run thread goes on serving the control
 * connection meanwhile. See target_int.h, digest.h, source_verify.c. */
#include "migrate/target_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fault.h"
#include "migrate/bits.h"
#include "migrate/digest.h"

struct digester {
    struct target_verify *v;
    struct mig_target *t;
    uint32_t index;
    pthread_t thread;
    bool started;
    struct err err;
};

struct target_verify {
    /* owned by the run thread */
    uint64_t *theirs, have; /* digests that the source sent */
    bool running;
    struct digester *digesters;
    /* owned by the digesters while they run: each its stripes */
    uint64_t *ours;
    _Atomic uint32_t pending;
    atomic_bool stop;
};

static void *digester_main(void *arg);
static int start(struct mig_target *t);
static int compare(struct mig_target *t);

int
target_on_digests(struct mig_target *t, const struct control_digests *d)
{
    struct target_verify *v = t->verify;

    if (!t->round_paused || !t->round_done || t->bad_left || d->round != t->round)
        return target_protocol_error(t, "DIGESTS out of turn");
    if (!v) {
        v = t->verify = xcalloc(1, sizeof *v);
        v->theirs = xcalloc(t->layout.stripes, sizeof *v->theirs);
        v->ours = xcalloc(t->layout.stripes, sizeof *v->ours);
    }
    if (d->len == 0) {
        if (v->running || d->first_stripe != 0)
            return target_protocol_error(t, "DIGESTS out of turn");
        return start(t);
    }
    if (!v->running || d->first_stripe != v->have || d->len > t->layout.stripes - v->have)
        return target_protocol_error(t, "DIGESTS of other stripes than were due");
    memcpy(v->theirs + v->have, d->sums, d->len * sizeof *d->sums);
    v->have += d->len;
    return 0;
}

int
target_verify_poll(struct mig_target *t)
{
    struct target_verify *v = t->verify;
    struct err err = {0};

    if (!v || !v->running || v->have < t->layout.stripes || atomic_load(&v->pending) > 0)
        return 0;
    for (uint32_t i = 0; i < t->channels; i++) {
        if (!err.code)
            err = v->digesters[i].err;
    }
    target_verify_stop(t);
    return err.code ? target_trouble(t, CONTROL_ERR_GUEST, err.code, &err) : compare(t);
}

bool
target_verify_runs(const struct mig_target *t)
{
    return t->verify && t->verify->running;
}

void
target_verify_stop(struct mig_target *t)
{
    struct target_verify *v = t->verify;

    if (!v || !v->running)
        return;
    atomic_store(&v->stop, true);
    for (uint32_t i = 0; i < t->channels; i++) {
        if (v->digesters[i].started)
            pthread_join(v->digesters[i].thread, NULL);
    }
    free(v->digesters);
    v->digesters = NULL;
    v->running = false;
}

void
target_verify_free(struct mig_target *t)
{
    if (!t->verify)
        return;
    target_verify_stop(t);
    free(t->verify->theirs);
    free(t->verify->ours);
    free(t->verify);
    t->verify = NULL;
}

static int
start(struct mig_target *t)
{
    struct target_verify *v = t->verify;

    v->have = 0;
    v->digesters = xcalloc(t->channels, sizeof *v->digesters);
    v->running = true;
    atomic_store(&v->stop, false);
    atomic_store(&v->pending, t->channels);
    for (uint32_t i = 0; i < t->channels; i++) {
        struct digester *d = &v->digesters[i];
        int rc;

        *d = (struct digester){.v = v, .t = t, .index = i};
        rc = pthread_create(&d->thread, NULL, digester_main, d);
        if (rc != 0) {
            struct err err = {0};

            rc = err_set(&err, -rc, "digest thread: %s", strerror(rc));
            return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
        }
        d->started = true;
    }
    return 0;
}

static void *
digester_main(void *arg)
{
    struct digester *d = arg;
    struct mig_target *t = d->t;
    struct present present[GUEST_MAX_REGIONS];
    uint32_t opened = 0;
    int rc = 0;

    for (; opened < t->layout.regions && rc == 0; opened++)
        rc = present_init(&present[opened], &t->regions[opened], &d->err);
    for (uint64_t i = d->index; i < t->layout.stripes && rc == 0 && !atomic_load(&d->v->stop);
         i += t->channels) {
        uint32_t region, bytes;
        uint64_t offset;

        layout_stripe(&t->layout, i, &region, &offset, &bytes);
        rc = digest_stripe(&present[region], offset, bytes, &d->v->ours[i], &d->err);
        if (FAULT(DST_DIGEST))
            d->v->ours[i]++;
    }
    while (opened > 0)
        present_done(&present[--opened]);
    atomic_fetch_sub(&d->v->pending, 1);
    eventfd_write(t->wake_fd, 1);
    return NULL;
}

/* Says which stripes differ, all of each. */
static int
compare(struct mig_target *t)
{
    struct target_verify *v = t->verify;
    AUTO_FREE struct control_bad_run *bad = xcalloc(CONTROL_MAX_BAD_RUNS, sizeof *bad);
    struct control_msg m = {.type = CONTROL_COMPARED,
                            .round_done = {.round = t->round, .bad = bad}};
    uint64_t i = 0;
    struct err err = {0};
    int rc;

    do {
        m.round_done.bad_len = 0;
        for (; i < t->layout.stripes && m.round_done.bad_len < CONTROL_MAX_BAD_RUNS; i++) {
            struct control_bad_run *r = &bad[m.round_done.bad_len];
            uint32_t bytes;

            if (v->ours[i] == v->theirs[i])
                continue;
            layout_stripe(&t->layout, i, &r->region, &r->offset, &bytes);
            r->pages = bytes / LAYOUT_PAGE_BYTES;
            m.round_done.bad_len++;
            t->bad_left = true;
            /* whatever is there may be wrong: what comes as zero is to be made zero */
            bits_set_range(t->received, i * LAYOUT_STRIPE_PAGES,
                           i * LAYOUT_STRIPE_PAGES + r->pages);
        }
        m.round_done.more = i < t->layout.stripes;
        rc = ctl_send(t->ctl, &m, &err);
    } while (rc == 0 && m.round_done.more);
    return rc ? target_trouble(t, CONTROL_ERR_LOCAL, rc, &err) : 0;
}
