/* The target's run thread where connections are lost and made again: before the switchover, and in
 * post-copy, where the guest runs already and waits on missing pages only. See target_int.h,
 * docs/postcopy.md. */
#include "migrate/target_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fault.h"

#define RECONNECT_US 30000000
#define BYE_US       2000000 /* after COMPLETE the source's last word is waited for */
#define AGAIN_US     600000000

enum fill { FILL_LOST, FILL_WHOLE, FILL_END };

static enum fill fill_session(struct mig_target *t);
static bool begin_session(struct mig_target *t);
static int on_message(struct mig_target *t, const struct control_msg *m);
static void forget_trouble(struct mig_target *t);

int
target_lost(struct mig_target *t, int rc, const struct err *why)
{
    if (!t->err.code)
        t->lost = true;
    return target_trouble(t, CONTROL_ERR_LOCAL, rc, why);
}

void
target_unlink(struct mig_target *t)
{
    struct target_chan *chans;
    struct ctl *ctl;

    if (t->post)
        target_post_attach(t, NULL);
    target_receivers_stop(t);
    target_rdma_close(t);
    pthread_mutex_lock(&t->mu);
    for (uint32_t i = 0; i < t->chans_len; i++) {
        struct target_chan *c = &t->chans[i];

        conn_free(TAKE_PTR(c->conn));
        t->old_bytes += atomic_load(&c->received_bytes);
        t->old_cpu_us += atomic_load(&c->cpu_us);
        t->old_totals.raw_pages += c->totals.raw_pages;
        t->old_totals.zero_pages += c->totals.zero_pages;
    }
    pthread_mutex_unlock(&t->mu);
    target_lanes_drop(t);
    pthread_mutex_lock(&t->mu);
    t->stats.link = MIG_LINK_NONE;
    chans = TAKE_PTR(t->chans);
    t->channels = t->chans_len = 0;
    ctl = TAKE_PTR(t->ctl);
    t->ctl_bytes += ctl ? ctl_bytes(ctl) : 0;
    t->closing = false;
    t->chan_err = (struct err){0};
    t->bad_pages = 0;
    pthread_mutex_unlock(&t->mu);
    free(chans);
    ctl_free(ctl);
    t->asked = t->asked_commit = false;
}

static void
forget_trouble(struct mig_target *t)
{
    t->err = (struct err){0};
    t->lost = false;
    t->chan_lost_us = 0;
}

int
target_relink(struct mig_target *t)
{
    uint64_t for_us = t->cfg.reconnect_us ? t->cfg.reconnect_us : RECONNECT_US;
    uint64_t deadline = clock_mono_us() + for_us;
    struct err why = t->err;
    int rc;

    do {
        target_unlink(t);
        forget_trouble(t);
        rc = target_accept(t, true, deadline);
        if (rc == 0)
            rc = target_receivers_start(t);
    } while (rc != 0 && t->lost && clock_mono_us() < deadline);
    if (rc != 0) {
        err_prefix(&t->err, rc, "%s", err_msg(&why));
        return rc;
    }
    /* A new round is what comes next; device state and MISSING begin anew. */
    if (t->bad)
        memset(t->bad, 0, t->layout.stripes * (LAYOUT_STRIPE_PAGES / 8));
    if (t->lacking)
        memset(t->lacking, 0, t->layout.stripes * (LAYOUT_STRIPE_PAGES / 8));
    t->lacking_next = t->lacking_pages = 0;
    t->lacking_whole = t->bad_left = t->round_paused = false;
    t->round_ended = t->round_done = true;
    t->state_have = 0;
    pthread_mutex_lock(&t->mu);
    t->stats.reconnects++;
    t->begun_round = t->round;
    pthread_mutex_unlock(&t->mu);
    return 0;
}

/* --- post-copy --- */

enum switch_event
target_fill(struct mig_target *t)
{
    struct control_msg running = {.type = CONTROL_RUNNING};
    bool first = true;

    if (FAULT(DST_RUNNING))
        conn_shut(t->chans_len ? t->chans[0].conn : NULL);
    else if (t->ctl && t->asked)
        target_answer_running(t, t->ctl);
    else if (t->ctl)
        (void)ctl_send(t->ctl, &running, NULL);
    if (t->asked)
        target_unlink(t);
    if (t->cfg.running)
        t->cfg.running(t->cfg.ctx);
    for (;;) {
        enum fill f = FILL_LOST;

        if (t->ctl && (first || begin_session(t)))
            f = fill_session(t);
        else if (target_post_left(t) == 0)
            f = FILL_WHOLE;
        target_post_attach(t, NULL);
        if (f == FILL_WHOLE)
            return SWITCH_EV_ARRIVED;
        if (atomic_load(&t->hopeless))
            return SWITCH_EV_HOPELESS;
        if (f == FILL_END)
            return SWITCH_EV_TROUBLE;
        first = false;
        target_unlink(t);
        forget_trouble(t);
        /* A source that was lost again before all of its channels were there: from the start. */
        if (target_accept(t, true, clock_mono_us() + AGAIN_US) != 0)
            target_unlink(t);
        if (atomic_load(&t->stop) && !atomic_load(&t->hopeless))
            return SWITCH_EV_TROUBLE;
    }
}

/* ANSWER to a QUESTION: it runs here, and so much is missing. */
void
target_answer_running(struct mig_target *t, struct ctl *ctl)
{
    struct control_msg m = {
        .type = CONTROL_ANSWER,
        .text = {.code = CONTROL_GUEST_RUNNING, .missing_pages = target_post_left(t)}};

    snprintf(m.text.text, sizeof m.text.text, "it runs here");
    (void)ctl_send(ctl, &m, NULL);
}

/* A source has come back: its channels are served, and it is told what is missing. */
static bool
begin_session(struct mig_target *t)
{
    struct err err = {0};

    if (target_receivers_start(t) != 0)
        return false;
    pthread_mutex_lock(&t->mu);
    t->stats.reconnects++;
    pthread_mutex_unlock(&t->mu);
    if (target_post_say_missing(t, &err) != 0)
        return false;
    target_post_attach(t, t->chans[t->chans_len - 1].conn);
    return true;
}

/* 0; else a source that says this is dropped, and may come again. */
static int
on_message(struct mig_target *t, const struct control_msg *m)
{
    struct err err = {0};
    int rc = m->type == CONTROL_WINDOWS ? target_post_windows(t, &m->windows, &err)
                                        : err_set(&err, -EPROTO, "the source says %s in post-copy",
                                                  control_type_name(m->type));

    if (rc != 0 && t->cfg.noted)
        t->cfg.noted(t->cfg.ctx, err_msg(&err));
    return rc;
}

static enum fill
fill_session(struct mig_target *t)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = t->wake_fd, .events = POLLIN},
                              {.fd = ctl_fd(t->ctl), .events = POLLIN}};
        enum control_error_code code;
        struct control_msg m;
        struct err err;
        eventfd_t n;
        int rc;

        if (target_post_left(t) == 0)
            return FILL_WHOLE;
        if (atomic_load(&t->stop) || atomic_load(&t->hopeless))
            return FILL_END;
        rc = ctl_recv(t->ctl, &m, NULL);
        if (rc == 1) {
            rc = on_message(t, &m);
            control_msg_done(&m);
        }
        if (rc != 0 || ctl_dead(t->ctl, clock_mono_us()))
            return FILL_LOST;
        target_post_tick(t);
        pthread_mutex_lock(&t->mu);
        err = t->chan_err;
        code = t->chan_code;
        pthread_mutex_unlock(&t->mu);
        if (err.code && code == CONTROL_ERR_GUEST) {
            target_trouble(t, code, err.code, &err);
            return FILL_END;
        }
        if (err.code)
            return FILL_LOST;
        poll(p, 2, ctl_poll_ms(t->ctl, TARGET_TICK_US / 1000));
        if (p[0].revents)
            eventfd_read(t->wake_fd, &n);
    }
}

/* The source may lose its copy now: it is told, and it is waited for its having heard. When that does
 * not come, it asks again, or learns it from the controller. */
void
target_say_complete(struct mig_target *t)
{
    uint64_t deadline = clock_mono_us() + BYE_US;
    struct control_msg m = {.type = CONTROL_COMPLETE};
    bool bye = false;

    while (!bye && clock_mono_us() < deadline && !atomic_load(&t->stop) &&
           !atomic_load(&t->hopeless)) {
        if (t->ctl && ctl_send(t->ctl, &m, NULL) == 0 &&
            ctl_wait(t->ctl, BYE_US, -1, &m, NULL) == 1) {
            bye = m.type == CONTROL_BYE;
            control_msg_done(&m);
        }
        if (bye)
            break;
        target_unlink(t);
        forget_trouble(t);
        (void)target_accept(t, true, deadline);
        m = (struct control_msg){.type = CONTROL_COMPLETE};
    }
    forget_trouble(t);
}
