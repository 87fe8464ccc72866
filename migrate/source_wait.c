/* The source's run thread while it waits: it serves the control connection, watches the clocks and
 * the workers, and keeps the figures. See source_int.h. */
#include "migrate/source_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "migrate/bits.h"

#define MESSAGES_AT_ONCE 64 /* then a look at the clocks, whatever the target sends */

static int poll_ms(const struct mig_source *s, enum source_wait what, uint64_t now);
static int check(struct mig_source *s, enum source_wait what, bool *ret_done);
static int check_clocks(struct mig_source *s, uint64_t now);
static int worker_failed(struct mig_source *s, struct source_worker *w);
static int receive(struct mig_source *s);
static int on_message(struct mig_source *s, struct control_msg *m);
static int on_bad(struct mig_source *s, const struct control_round_done *d);
static int unexpected(struct mig_source *s, const struct control_msg *m);

int
source_trouble(struct mig_source *s, enum mig_cause cause, int rc, const struct err *why)
{
    if (s->cause == MIG_CAUSE_NONE) {
        s->cause = cause;
        s->err = *why;
        if (!s->err.code)
            s->err.code = rc;
    }
    return rc;
}

int
source_wait(struct mig_source *s, enum source_wait what)
{
    uint64_t answer_deadline = clock_mono_us() + SOURCE_ANSWER_US;

    for (;;) {
        struct pollfd p[2] = {{.fd = s->wake_fd, .events = POLLIN},
                              {.fd = ctl_fd(s->ctl), .events = POLLIN}};
        struct err err = {0};
        bool done = false;
        eventfd_t n;
        int rc = receive(s);

        if (rc == 0)
            rc = check(s, what, &done);
        if (rc != 0 || done)
            return rc;

        uint64_t now = clock_mono_us();

        rc = check_clocks(s, now);
        if (rc == 0 && what == SOURCE_WAIT_ROUND_DONE && now > answer_deadline) {
            rc = err_set(&err, -ETIMEDOUT, "the target does not confirm round %u", s->round);
            source_trouble(s, MIG_CAUSE_PEER, rc, &err);
        }
        if (rc != 0)
            return rc;
        source_tick(s, now);
        poll(p, 2, ctl_poll_ms(s->ctl, poll_ms(s, what, now)));
        if (p[0].revents)
            eventfd_read(s->wake_fd, &n);
    }
}

static int
poll_ms(const struct mig_source *s, enum source_wait what, uint64_t now)
{
    uint64_t us = SOURCE_TICK_US;

    if (what == SOURCE_WAIT_UNTIL && s->wait_until_us < now + us)
        us = s->wait_until_us > now ? s->wait_until_us - now + 999 : 0;
    return (int)(us / 1000);
}

int
source_say(struct mig_source *s, struct control_msg *m)
{
    struct err err = {0};
    int rc = ctl_send(s->ctl, m, &err);

    if (rc == 0)
        return 0;
    receive(s); /* the target's own words, if it left any */
    return source_lost(s, rc, &err);
}

static int
check(struct mig_source *s, enum source_wait what, bool *ret_done)
{
    struct err err = {0};
    struct source_worker *failed;
    bool cancel, idle;
    int rc;

    pthread_mutex_lock(&s->mu);
    cancel = s->committing ? s->stop_serving : s->cancel;
    failed = s->failed;
    idle = s->pending == 0;
    pthread_mutex_unlock(&s->mu);
    if (cancel) {
        rc = err_set(&err, -ECANCELED, "cancelled");
        return source_trouble(s, MIG_CAUSE_CANCELLED, rc, &err);
    }
    if (failed)
        return worker_failed(s, failed);
    switch (what) {
    case SOURCE_WAIT_WORKERS:
        *ret_done = idle;
        break;
    case SOURCE_WAIT_ROUND_DONE:
        *ret_done = s->round_done;
        break;
    case SOURCE_WAIT_COMPARED:
        *ret_done = s->compared;
        break;
    case SOURCE_WAIT_PREPARED:
        *ret_done = s->prepared;
        break;
    case SOURCE_WAIT_OUTCOME:
        *ret_done = s->running || s->never;
        break;
    case SOURCE_WAIT_LACKING:
        *ret_done = s->lacking_whole || s->complete;
        break;
    case SOURCE_WAIT_COMPLETE:
        *ret_done = s->complete;
        break;
    case SOURCE_WAIT_UNTIL:
        *ret_done = clock_mono_us() >= s->wait_until_us;
        break;
    }
    return 0;
}

static int
check_clocks(struct mig_source *s, uint64_t now)
{
    uint64_t started = s->stats.started_us, limit = s->cfg.limits.completion_timeout_us;
    uint64_t stalled = stall_for_us(&s->stall, now), deadline = switch_source_deadline_us(&s->sw);
    struct err err = {0};
    int rc;

    if (ctl_dead(s->ctl, now)) {
        rc = err_set(&err, -ETIMEDOUT, "nothing was heard from the target for %llu ms",
                     (unsigned long long)ctl_dead_peer_us(s->ctl) / 1000);
        return source_lost(s, rc, &err);
    }
    if (deadline && now > deadline + s->long_pause_us) {
        rc = err_set(&err, -ETIMEDOUT, "switchover: %s: for more than %llu s",
                     switch_source_text(s->sw.state),
                     (unsigned long long)(deadline - s->sw.since_us) / 1000000);
        return source_trouble(s, MIG_CAUSE_PEER, rc, &err);
    }
    if (s->commit_said)
        return 0; /* no limit takes it back any more */
    /* Where a pause or post-copy is allowed, the end of the round decides (converge.h); a round that
     * does not end for as long again is given up. */
    if (limit &&
        (s->cfg.policy.allow_disruption || (s->cfg.policy.allow_post_copy && s->can_post_copy)))
        limit = 2 * limit + s->long_pause_us;
    if (limit && started && now - started > limit) {
        rc = err_set(&err, -ETIMEDOUT, "not complete after %.1f s", (double)limit / 1e6);
        return source_trouble(s, MIG_CAUSE_COMPLETION_TIMEOUT, rc, &err);
    }
    limit = s->cfg.limits.progress_timeout_us;
    if (limit && started && !s->paused && stalled > limit) {
        rc = err_set(
            &err, -ETIMEDOUT,
            "%llu bytes remain, no fewer for %.1f s: sent at %llu bytes a second, dirtied at %llu",
            (unsigned long long)s->stall.best_bytes, (double)limit / 1e6,
            (unsigned long long)s->stats.transfer_bytes_per_s, (unsigned long long)s->dirty_rate);
        return source_trouble(s, MIG_CAUSE_PROGRESS_TIMEOUT, rc, &err);
    }
    return 0;
}

/* A channel that broke usually breaks because the target gave up, and the target says why on the
 * control connection: its words are better than "connection reset". */
static int
worker_failed(struct mig_source *s, struct source_worker *w)
{
    uint64_t deadline = clock_mono_us() + SOURCE_REASON_US;
    enum mig_cause cause = w->cause ? w->cause : MIG_CAUSE_LOCAL;

    while (cause == MIG_CAUSE_PEER && s->cause == MIG_CAUSE_NONE && clock_mono_us() < deadline) {
        struct pollfd p = {.fd = ctl_fd(s->ctl), .events = POLLIN};
        struct control_msg m;

        if (poll(&p, 1, ctl_poll_ms(s->ctl, 20)) <= 0 && ctl_poll_ms(s->ctl, 1) > 0)
            continue;

        int rc = ctl_recv(s->ctl, &m, NULL);

        if (rc < 0)
            break;
        if (rc == 0)
            continue;
        if (m.type == CONTROL_ERROR)
            on_message(s, &m);
        control_msg_done(&m);
    }
    if (cause == MIG_CAUSE_PEER)
        return source_lost(s, w->err.code ? w->err.code : -EIO, &w->err);
    return source_trouble(s, cause, w->err.code ? w->err.code : -EIO, &w->err);
}

static int
receive(struct mig_source *s)
{
    for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
        struct control_msg m;
        struct err err = {0};
        int rc = ctl_recv(s->ctl, &m, &err);

        bool last_word = (s->running && !s->go_postcopy) || s->never || s->complete;

        if (rc == 0 || (rc < 0 && last_word))
            return 0; /* after it the target may close */
        if (rc == -EPROTO)
            return source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
        if (rc < 0)
            return source_lost(s, rc, &err);
        rc = on_message(s, &m);
        control_msg_done(&m);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
on_message(struct mig_source *s, struct control_msg *m)
{
    struct err err = {0};
    int rc;

    switch (m->type) {
    case CONTROL_ROUND_DONE:
        if (!s->round_ended || s->round_done || m->round_done.round != s->round)
            return unexpected(s, m);
        s->round_done = !m->round_done.more;
        return on_bad(s, &m->round_done);
    case CONTROL_COMPARED:
        if (!s->comparing || s->compared || m->round_done.round != s->round)
            return unexpected(s, m);
        s->compared = !m->round_done.more;
        s->differing += m->round_done.bad_len;
        return on_bad(s, &m->round_done);
    case CONTROL_PREPARED:
        if (!s->finish_said || s->prepared)
            return unexpected(s, m);
        s->prepared = true;
        return 0;
    case CONTROL_RUNNING:
        if (!s->commit_said)
            return unexpected(s, m);
        s->running = true;
        return 0;
    case CONTROL_MISSING:
        if (s->sw.state != SWITCH_SRC_SERVING || s->lacking_whole)
            return unexpected(s, m);
        return source_on_missing(s, &m->missing);
    case CONTROL_WINDOWS_WANTED:
        if (s->sw.state != SWITCH_SRC_SERVING)
            return unexpected(s, m);
        return source_on_windows_wanted(s, &m->windows);
    case CONTROL_COMPLETE:
        /* right behind RUNNING, where nothing was missing: the machine has not stepped yet */
        if (s->sw.state != SWITCH_SRC_SERVING && !(s->running && s->go_postcopy))
            return unexpected(s, m);
        s->complete = true;
        return 0;
    case CONTROL_ANSWER:
        if (!s->commit_said || m->text.code != CONTROL_GUEST_NEVER)
            return unexpected(s, m);
        s->never = true;
        return 0;
    case CONTROL_WINDOWS:
        return source_rdma_on_windows(s, &m->windows);
    case CONTROL_ERROR:
        rc = err_set(&err, -EREMOTEIO, "the target gave up: %s", m->text.text);
        return source_trouble(
            s, m->text.code == CONTROL_ERR_PROTOCOL ? MIG_CAUSE_PROTOCOL : MIG_CAUSE_PEER, rc,
            &err);
    default:
        return unexpected(s, m);
    }
}

static int
on_bad(struct mig_source *s, const struct control_round_done *d)
{
    for (uint32_t i = 0; i < d->bad_len; i++) {
        const struct control_bad_run *b = &d->bad[i];

        if (!layout_run_ok(&s->layout, b->region, b->offset, b->pages)) {
            struct err err = {0};
            int rc =
                err_set(&err, -EPROTO,
                        "the target asks for region %u, offset %#llx, %u pages again: not inside "
                        "a stripe of the guest's memory",
                        b->region, (unsigned long long)b->offset, b->pages);

            return source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
        }

        uint64_t page = layout_page(&s->layout, b->region, b->offset);

        bits_set_range(s->again, page, page + b->pages);
        s->again_pages += b->pages;
    }
    return 0;
}

static int
unexpected(struct mig_source *s, const struct control_msg *m)
{
    struct err err = {0};
    int rc = err_set(&err, -EPROTO, "the target says %s out of turn (round %u, %s)",
                     control_type_name(m->type), s->round, switch_source_name(s->sw.state));

    return source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
}

/* --- figures --- */

void
source_sum_stats(struct mig_source *s, struct mig_stats *st)
{
    uint64_t cpu = 0, held = 0;

    st->sent_bytes = s->ctl_bytes + (s->ctl ? ctl_bytes(s->ctl) : 0) +
                     atomic_load_explicit(&s->urgent.sent_bytes, memory_order_relaxed);
    st->raw_pages = st->zero_pages = st->absent_pages = st->placed_pages = 0;
    memset(st->enc_pages, 0, sizeof st->enc_pages);
    memset(st->enc_bytes, 0, sizeof st->enc_bytes);
    for (uint32_t i = 0; i < s->channels && s->workers; i++) {
        struct source_worker *w = &s->workers[i];

        st->sent_bytes += atomic_load_explicit(&w->sent_bytes, memory_order_relaxed);
        st->raw_pages += atomic_load_explicit(&w->raw_pages, memory_order_relaxed);
        st->zero_pages += atomic_load_explicit(&w->zero_pages, memory_order_relaxed);
        st->absent_pages += atomic_load_explicit(&w->absent_pages, memory_order_relaxed);
        st->placed_pages += atomic_load_explicit(&w->placed_pages, memory_order_relaxed);
        for (unsigned e = 0; e < MIG_ENC_COUNT; e++) {
            st->enc_pages[e] += atomic_load_explicit(&w->enc_pages[e], memory_order_relaxed);
            st->enc_bytes[e] += atomic_load_explicit(&w->enc_bytes[e], memory_order_relaxed);
        }
        cpu += atomic_load_explicit(&w->cpu_us, memory_order_relaxed);
        held += atomic_load_explicit(&w->held_us, memory_order_relaxed);
    }
    st->enc_pages[MIG_ENC_ZERO] = st->zero_pages;
    st->cpu_us = cpu + s->run_cpu_us;
    st->shaping_wait_us = held;
    st->registered_bytes = atomic_load_explicit(&s->open_window_bytes, memory_order_relaxed);
    st->registered_peak_bytes = atomic_load_explicit(&s->peak_window_bytes, memory_order_relaxed);
    st->limit_bytes_per_s = share_rate(&s->share);
}

void
source_tick(struct mig_source *s, uint64_t now)
{
    uint64_t done = 0, left, bytes;
    bool busy;

    share_look(&s->share, now);
    for (uint32_t i = 0; i < s->channels; i++)
        done += atomic_load_explicit(&s->workers[i].done_pages, memory_order_relaxed);
    if (s->sw.state == SWITCH_SRC_SERVING) {
        pthread_mutex_lock(&s->plan_mu);
        left = s->planned ? s->plan.left * LAYOUT_PAGE_BYTES : s->stats.missing_bytes;
        pthread_mutex_unlock(&s->plan_mu);
        pthread_mutex_lock(&s->mu);
        s->stats.missing_bytes = s->stats.remaining_bytes = left;
        pthread_mutex_unlock(&s->mu);
    }
    pthread_mutex_lock(&s->mu);
    s->run_cpu_us = clock_thread_ns() / 1000 - s->run_cpu_base_us;
    source_sum_stats(s, &s->stats);
    bytes = s->stats.sent_bytes;
    busy = s->sampling && s->pending > 0;
    left = busy && s->round_pages > done ? (s->round_pages - done) * LAYOUT_PAGE_BYTES : 0;
    if (busy)
        s->stats.remaining_bytes = left;
    if (busy && now - s->tick_us >= SOURCE_TICK_US) {
        uint64_t us = now - s->tick_us, was = s->stats.transfer_bytes_per_s;
        uint64_t rate = (uint64_t)((unsigned __int128)(bytes - s->tick_bytes) * 1000000 / us);

        s->stats.transfer_bytes_per_s = was ? (was * 3 + rate) / 4 : rate;
        if (!source_rdma_waited(s))
            converge_sample(&s->converge, bytes - s->tick_bytes, us);
        s->tick_us = now;
        s->tick_bytes = bytes;
    }
    pthread_mutex_unlock(&s->mu);
    if (busy) {
        uint64_t dirtied =
            s->round > 1
                ? (uint64_t)((unsigned __int128)s->dirty_rate * (now - s->round_began_us) / 1000000)
                : 0;

        stall_note(&s->stall, s->round, left + dirtied, now);
        source_converge_tick(s, now, left);
    }
    source_reads_tick(s);
    if (s->cfg.progress && now - s->progress_us >= SOURCE_PROGRESS_US) {
        struct mig_stats copy;

        s->progress_us = now;
        source_look_at_path(s);
        mig_source_stats(s, &copy);
        s->cfg.progress(s->cfg.ctx, &copy);
    }
}
