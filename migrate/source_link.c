/* The source's connections as something that can be lost: dropped, made again, and what was sent and
 * never confirmed put back among what is to be sent. The migration's own state (bitmaps, rounds, the
 * switchover's machine) lives on. See source_int.h, docs/postcopy.md. */
#include "migrate/source_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "migrate/bits.h"

static bool worth_another_try(const struct mig_source *s);
static void say_lost(struct mig_source *s, uint64_t for_us);
static int rest(struct mig_source *s, uint64_t deadline_us, struct err *err);
static void next_address(struct mig_source *s, unsigned tries);
static int send_again(struct mig_source *s);

int
source_lost(struct mig_source *s, int rc, const struct err *why)
{
    if (s->cause == MIG_CAUSE_NONE)
        s->lost = true;
    return source_trouble(s, MIG_CAUSE_PEER, rc, why);
}

void
source_unlink(struct mig_source *s)
{
    struct ctl *ctl;

    source_workers_stop(s);
    source_urgent_stop(s);
    source_lanes_lost(s);
    source_rdma_close(s);
    for (uint32_t i = 0; i < s->channels; i++) {
        struct source_worker *w = &s->workers[i];

        conn_free(TAKE_PTR(w->conn));
        w->seq = w->paced = 0;
        w->err = (struct err){0};
        w->cause = MIG_CAUSE_NONE;
        w->base = (struct control_totals){.batches = atomic_load(&w->batches),
                                          .raw_pages = atomic_load(&w->raw_pages),
                                          .zero_pages = atomic_load(&w->zero_pages)};
        source_batch_empty(&w->batch);
    }
    conn_free(TAKE_PTR(s->urgent.conn));
    source_lanes_drop(s);
    pthread_mutex_lock(&s->mu);
    ctl = TAKE_PTR(s->ctl);
    s->ctl_bytes += ctl ? ctl_bytes(ctl) : 0;
    s->failed = NULL;
    s->pending = 0;
    s->stats.link = MIG_LINK_NONE;
    pthread_mutex_unlock(&s->mu);
    ctl_free(ctl);
}

int
source_relink(struct mig_source *s, uint64_t deadline_us)
{
    struct err why = s->err;
    char text[MIG_DECISION_TEXT];
    uint64_t began = clock_mono_us();
    int rc;

    source_unlink(s);
    say_lost(s, deadline_us ? deadline_us - began : 0);
    rc = s->cfg.recovering || s->sw.state == SWITCH_SRC_SERVING ? 0 : send_again(s);
    for (unsigned tries = 0; rc == 0; tries++) {
        struct err err = {0};

        rc = rest(s, deadline_us, &err);
        if (rc != 0) {
            err_prefix(&err, rc, "%s", err_msg(&why));
            s->cause = MIG_CAUSE_NONE;
            s->lost = false;
            return source_trouble(s, rc == -ECANCELED ? MIG_CAUSE_CANCELLED : MIG_CAUSE_PEER, rc,
                                  &err);
        }
        next_address(s, tries);
        s->cause = MIG_CAUSE_NONE;
        s->err = (struct err){0};
        s->lost = false;
        s->refused = 0;
        rc = source_connect(s);
        if (rc == 0) {
            atomic_store(&s->stop, false);
            rc = source_workers_start(s);
        }
        if (rc == 0)
            break;
        source_unlink(s);
        if (worth_another_try(s))
            rc = 0;
    }
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&s->mu);
    converge_relinked(&s->converge);
    s->stats.reconnects++;
    pthread_mutex_unlock(&s->mu);
    snprintf(text, sizeof text,
             "the connection was lost (%.150s) and made again after %llu ms: goes on with %s",
             err_msg(&why), (unsigned long long)(clock_mono_us() - began) / 1000,
             s->sw.state == SWITCH_SRC_SERVING ? "what the target lacks"
                                               : "what was not confirmed");
    source_log(s, text);
    return 0;
}

/* for_us: 0 = as long as it takes. */
static void
say_lost(struct mig_source *s, uint64_t for_us)
{
    char text[MIG_DECISION_TEXT];

    if (!s->epoch || !s->err.code)
        return; /* the first one of a later life */
    if (for_us)
        snprintf(
            text, sizeof text,
            "the connection is lost (%.150s): the guest runs on here, and the target is dialled "
            "again for %.0f s",
            err_msg(&s->err), (double)for_us / 1e6);
    else
        snprintf(
            text, sizeof text,
            "the connection is lost (%.150s): the target is dialled until it answers; its guest "
            "waits for missing pages only",
            err_msg(&s->err));
    source_log(s, text);
}

/* In post-copy there is nothing to lose by asking on; before it, only silence and a target that has
 * not noticed yet are. */
static bool
worth_another_try(const struct mig_source *s)
{
    return s->sw.state == SWITCH_SRC_SERVING || s->cause == MIG_CAUSE_CONNECT ||
           s->cause == MIG_CAUSE_CANCELLED || s->refused == CONTROL_ERR_BUSY || s->lost;
}

/* A moment between two tries, and whether there shall be another. */
static int
rest(struct mig_source *s, uint64_t deadline_us, struct err *err)
{
    struct pollfd p = {.fd = s->wake_fd, .events = POLLIN};
    uint64_t limit = s->cfg.limits.completion_timeout_us, now;
    char network[sizeof s->network_why];
    eventfd_t n;
    bool end;

    if (s->refused || s->cause == MIG_CAUSE_CONNECT)
        poll(&p, 1, SOURCE_REDIAL_US / 1000);
    eventfd_read(s->wake_fd, &n);
    now = clock_mono_us();
    pthread_mutex_lock(&s->mu);
    end = s->committing ? s->stop_serving : s->cancel;
    memcpy(network, s->network_why, sizeof network);
    pthread_mutex_unlock(&s->mu);
    if (end)
        return err_set(err, -ECANCELED, "cancelled");
    if (deadline_us && now >= deadline_us)
        return err_set(err, -ETIMEDOUT, "the target could not be reached again%s%s",
                       network[0] ? "; the migration network: " : "", network);
    if (deadline_us && limit && s->stats.started_us && now - s->stats.started_us > limit)
        return err_set(err, -ETIMEDOUT, "not complete after %.1f s", (double)limit / 1e6);
    return 0;
}

/* Where the target listens; every other try the way around, where there is one. */
static void
next_address(struct mig_source *s, unsigned tries)
{
    pthread_mutex_lock(&s->mu);
    s->around = tries % 2 && s->redirect_fallback[0];
    memcpy(s->cfg.target_addr, s->around ? s->redirect_fallback : s->redirect, MIG_ADDR_SIZE);
    memcpy(s->cfg.local_ip, s->own_ip, sizeof s->own_ip);
    memcpy(s->cfg.bind_device, s->own_device, sizeof s->own_device);
    s->cfg.network_trusted = s->own_trusted;
    pthread_mutex_unlock(&s->mu);
    if (s->around) /* another network: the kernel knows the way */
        s->cfg.local_ip[0] = s->cfg.bind_device[0] = '\0';
}

/* What was sent in the round that broke may have arrived or not: it is sent again, from the page
 * itself. `sent` keeps the worse of both: the target has to be told of zeros, too. */
static int
send_again(struct mig_source *s)
{
    for (size_t i = 0; i < s->words; i++) {
        s->again[i] |= s->unconfirmed[i];
        s->sent[i] |= s->unconfirmed[i];
        s->unconfirmed[i] = 0;
    }
    for (uint32_t i = 0; s->round == 1 && i < s->channels; i++) {
        int rc = source_not_reached(s, &s->workers[i]);

        if (rc != 0)
            return source_trouble(s, MIG_CAUSE_GUEST, rc, &s->workers[i].err);
    }
    return 0;
}

/* The first round sends what has data, dirty or not: what it had not come to. */
int
source_not_reached(struct mig_source *s, struct source_worker *w)
{
    for (uint64_t i = w->next_stripe; i < s->layout.stripes; i += s->channels) {
        uint64_t bits[LAYOUT_STRIPE_PAGES / 64], offset;
        uint32_t region, bytes;
        int rc;

        layout_stripe(&s->layout, i, &region, &offset, &bytes);
        rc = present_bits(&w->present[region], offset, bytes, bits, &w->err);
        if (rc != 0)
            return rc;
        for (unsigned k = 0; k < ARRAY_LEN(bits); k++)
            s->again[i * ARRAY_LEN(bits) + k] |= bits[k];
    }
    return 0;
}
