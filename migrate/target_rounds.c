/* The target until FINISH: takes the source's control messages, confirms rounds, collects the
 * device state. See target_int.h. */
#include "migrate/target_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "migrate/bits.h"
#include "proto/sum.h"

static int on_message(struct mig_target *t, struct control_msg *m);
static int on_state(struct mig_target *t, const struct control_state *s);
static int on_missing(struct mig_target *t, const struct control_missing *m);
static int on_finish(struct mig_target *t, const struct control_finish *f);
static int confirm_round(struct mig_target *t);
static int say_round_done(struct mig_target *t);

int
target_receive(struct mig_target *t)
{
    uint64_t idle = t->cfg.idle_timeout_us ? t->cfg.idle_timeout_us : TARGET_IDLE_US;
    struct control_msg m = {0};
    int rc = 0;

    if (!t->ctl) { /* else the source has come back */
        rc = target_accept(t, true, clock_mono_us() + idle);
        if (rc == 0)
            rc = target_receivers_start(t);
        pthread_mutex_lock(&t->mu);
        t->stats.started_us = clock_mono_us();
        pthread_mutex_unlock(&t->mu);
    }
    while (rc == 0) {
        rc = target_next(t, &m);
        if (rc != 0)
            break;

        bool finish = m.type == CONTROL_FINISH;

        rc = on_message(t, &m);
        control_msg_done(&m);
        if (rc == 0 && finish)
            return 0;
    }
    return rc;
}

/* The next message of the source; meanwhile rounds are confirmed. 0, or trouble. */
int
target_next(struct mig_target *t, struct control_msg *ret)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = t->wake_fd, .events = POLLIN},
                              {.fd = ctl_fd(t->ctl), .events = POLLIN}};
        struct err err = {0}, chan_err;
        enum control_error_code chan_code;
        eventfd_t n;
        int rc;

        if (atomic_load(&t->stop)) {
            rc = err_set(&err, -ECANCELED, "stopped");
            return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
        }
        rc = ctl_recv(t->ctl, ret, &err);
        if (rc == 1)
            return 0;
        if (rc == -EPROTO)
            return target_trouble(t, CONTROL_ERR_PROTOCOL, rc, &err);
        if (rc < 0)
            return target_lost(t, rc, &err);
        if (ctl_dead(t->ctl, clock_mono_us())) {
            rc = err_set(&err, -ETIMEDOUT, "nothing was heard from the source for %llu ms",
                         (unsigned long long)ctl_dead_peer_us(t->ctl) / 1000);
            return target_lost(t, rc, &err);
        }
        pthread_mutex_lock(&t->mu);
        chan_err = t->chan_err;
        chan_code = t->chan_code;
        pthread_mutex_unlock(&t->mu);
        if (chan_err.code && !t->finish.round && !t->finish.post_copy) {
            /* A lost channel: the source's ABORT may be under way and says more. */
            if (chan_code == CONTROL_ERR_LOCAL && !t->chan_lost_us)
                t->chan_lost_us = clock_mono_us();
            if (chan_code != CONTROL_ERR_LOCAL)
                return target_trouble(t, chan_code, chan_err.code, &chan_err);
            if (clock_mono_us() - t->chan_lost_us > TARGET_REASON_US)
                return target_lost(t, chan_err.code, &chan_err);
        } else {
            rc = confirm_round(t);
            if (rc == 0)
                rc = target_verify_poll(t);
            if (rc != 0)
                return rc;
        }
        poll(p, 2, ctl_poll_ms(t->ctl, TARGET_TICK_US / 1000));
        if (p[0].revents)
            eventfd_read(t->wake_fd, &n);
    }
}

int
target_other_word(struct mig_target *t, const struct control_msg *m)
{
    struct err err = {0};
    int rc;

    if (m->type == CONTROL_RDMA_OFF && t->lanes) {
        /* its last word on a lane that was taken here: these and what it now dials do not mix */
        rc = err_set(&err, -EPIPE, "the source gave up RDMA: %s", m->text.text);
        return target_lost(t, rc, &err);
    }
    if (m->type != CONTROL_ABORT)
        return target_protocol_error(t, control_type_name(m->type));
    rc = err_set(&err, -ECANCELED, "the source gave up: %s", m->text.text);
    return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
}

int
target_protocol_error(struct mig_target *t, const char *what)
{
    struct err err = {0};
    int rc = err_set(&err, -EPROTO, "the source broke the protocol: %s (round %u, %s)", what,
                     t->round, switch_target_name(t->sw.state));

    return target_trouble(t, CONTROL_ERR_PROTOCOL, rc, &err);
}

static int
on_message(struct mig_target *t, struct control_msg *m)
{
    switch (m->type) {
    case CONTROL_ROUND_BEGIN:
        if (m->round_begin.round != t->round + 1 || (t->round > 0 && !t->round_done) ||
            (t->round_paused && !m->round_begin.paused))
            return target_protocol_error(t, "ROUND_BEGIN out of turn");
        t->round = m->round_begin.round;
        t->round_paused = m->round_begin.paused;
        t->round_ended = t->round_done = false;
        target_round_begun(t, t->round);
        pthread_mutex_lock(&t->mu);
        t->stats.round = t->round;
        if (t->round_paused && !t->stats.paused_us)
            t->stats.paused_us = clock_mono_us();
        pthread_mutex_unlock(&t->mu);
        return 0;
    case CONTROL_ROUND_END:
        if (m->round_end.round != t->round || t->round_ended ||
            m->round_end.channels != t->channels)
            return target_protocol_error(t, "ROUND_END out of turn");
        t->round_end = m->round_end;
        t->round_ended = true;
        return confirm_round(t);
    case CONTROL_MISSING:
        return on_missing(t, &m->missing);
    case CONTROL_STATE:
        return on_state(t, &m->state);
    case CONTROL_WINDOWS_WANTED:
        return target_rdma_on_wanted(t, &m->windows);
    case CONTROL_DIGESTS:
        return target_on_digests(t, &m->digests);
    case CONTROL_FINISH:
        return on_finish(t, &m->finish);
    default:
        return target_other_word(t, m);
    }
}

static int
on_state(struct mig_target *t, const struct control_state *s)
{
    if ((!t->round_paused && !t->lacking_whole) || s->offset != t->state_have)
        return target_protocol_error(t, "STATE out of turn");
    if (t->state_have + s->len > t->state_room) { /* CONTROL_MAX_STATE bounds it */
        t->state_room = (t->state_have + s->len) * 2;
        t->state = xrealloc(t->state, t->state_room);
    }
    memcpy(t->state + t->state_have, s->data, s->len);
    t->state_have += s->len;
    return 0;
}

/* Post-copy: what of the memory will not be here when the guest runs. */
static int
on_missing(struct mig_target *t, const struct control_missing *m)
{
    uint64_t words = t->layout.stripes * (LAYOUT_STRIPE_PAGES / 64), first = m->first_page / 64;

    if (!t->urgent || t->round_paused || (t->round > 0 && !t->round_done) || t->lacking_whole ||
        first < t->lacking_next || first > words || m->words > words - first)
        return target_protocol_error(t, "MISSING out of turn");
    if (!t->lacking)
        t->lacking = xcalloc(words, 8);
    for (uint64_t i = 0; i < m->words; i++) {
        uint64_t stripe = (first + i) * 64 / LAYOUT_STRIPE_PAGES, offset, end;
        uint32_t region, bytes;

        layout_stripe(&t->layout, stripe, &region, &offset, &bytes);
        end = stripe * LAYOUT_STRIPE_PAGES + bytes / LAYOUT_PAGE_BYTES;
        if (m->bits[i] & ~bits_mask(first + i, 0, end))
            return target_protocol_error(t, "MISSING names pages that do not exist");
        t->lacking[first + i] = m->bits[i];
        t->lacking_pages += (uint64_t)__builtin_popcountll(m->bits[i]);
    }
    t->lacking_next = first + m->words;
    t->lacking_whole = m->last;
    return 0;
}

static int
on_finish(struct mig_target *t, const struct control_finish *f)
{
    if (f->post_copy) {
        if (!t->lacking_whole || f->round != t->round || (t->round > 0 && !t->round_done))
            return target_protocol_error(t, "FINISH out of turn");
        if (f->missing_pages != t->lacking_pages)
            return target_protocol_error(t, "FINISH with other missing pages than were named");
        if (f->state_bytes != t->state_have ||
            f->state_sum != sum_bytes(t->state, t->state_have, 0))
            return target_protocol_error(t, "FINISH with other device state than was sent");
        if (!target_receivers_idle(t))
            return target_protocol_error(t, "pages behind FINISH");
        target_rdma_close(t);
        t->finish = *f;
        return 0;
    }
    if (!t->round_paused || !t->round_done || f->round != t->round || t->lacking)
        return target_protocol_error(t, "FINISH out of turn");
    if (target_verify_runs(t))
        return target_protocol_error(t, "FINISH while memory is being compared");
    if (t->bad_left)
        return target_protocol_error(t, "FINISH although pages were asked for again");
    if (f->state_bytes != t->state_have || f->state_sum != sum_bytes(t->state, t->state_have, 0))
        return target_protocol_error(t, "FINISH with other device state than was sent");
    if (!target_receivers_idle(t))
        return target_protocol_error(t, "pages behind FINISH");
    t->finish = *f;
    target_receivers_stop(t);
    target_rdma_close(t); /* from here on nothing can write to the guest's memory */
    return 0;
}

/* Both have been heard: every channel's end of the round, and what the source says that it sent. */
static int
confirm_round(struct mig_target *t)
{
    bool all = true, same = true;

    if (!t->round_ended || t->round_done)
        return 0;
    pthread_mutex_lock(&t->mu);
    for (uint32_t i = 0; i < t->channels; i++) {
        const struct control_totals *a = &t->chans[i].totals, *b = &t->round_end.totals[i];

        all = all && t->chans[i].ended_round == t->round;
        same = same && a->batches == b->batches && a->raw_pages == b->raw_pages &&
               a->zero_pages == b->zero_pages;
    }
    if (all && same) {
        t->bad_left = t->bad_pages > 0;
        t->bad_pages = 0;
    }
    pthread_mutex_unlock(&t->mu);
    if (!all)
        return 0;
    if (!same)
        return target_protocol_error(t, "ROUND_END counts other pages than came");
    t->round_done = true;
    target_rdma_round_done(t);
    return say_round_done(t);
}

/* With the pages that came with a bad checksum, in as many messages as it takes. */
static int
say_round_done(struct mig_target *t)
{
    AUTO_FREE struct control_bad_run *bad =
        xcalloc(t->bad_left ? CONTROL_MAX_BAD_RUNS : 1, sizeof *bad);
    struct control_msg m = {.type = CONTROL_ROUND_DONE,
                            .round_done = {.round = t->round, .bad = bad}};
    uint64_t end = t->bad_left ? t->layout.stripes * LAYOUT_STRIPE_PAGES : 0;
    uint64_t page = bits_next(t->bad, 0, end);
    struct err err = {0};
    int rc;

    do {
        m.round_done.bad_len = 0;
        while (page < end && m.round_done.bad_len < CONTROL_MAX_BAD_RUNS) {
            struct control_bad_run *r = &bad[m.round_done.bad_len++];
            uint64_t stripe = page / LAYOUT_STRIPE_PAGES, offset;
            uint32_t bytes;

            layout_stripe(&t->layout, stripe, &r->region, &offset, &bytes);
            r->offset = offset + page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES;
            r->pages = 0;
            for (; page < (stripe + 1) * LAYOUT_STRIPE_PAGES && bits_test(t->bad, page); page++) {
                bits_clear(t->bad, page);
                r->pages++;
            }
            page = bits_next(t->bad, page, end);
        }
        m.round_done.more = page < end;
        rc = ctl_send(t->ctl, &m, &err);
    } while (rc == 0 && m.round_done.more);
    return rc ? target_trouble(t, CONTROL_ERR_LOCAL, rc, &err) : 0;
}
