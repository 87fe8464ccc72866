/* The source end of a migration: its life from new to free, and the driver of the switchover's
 * state machine. See engine.h for the contract, switch.h for the machine, source_int.h for the
 * threads. */
#include "migrate/source_int.h"

#include <errno.h>
#include <string.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fault.h"

#define RESUME_TRIES 3

static enum switch_event ask(const struct mig_source_config *cfg, int cancel_fd,
                             uint64_t *ret_missing, struct err *err);
static void drive(struct mig_source *s, enum switch_event ev);
static enum switch_event lost_or_trouble(const struct mig_source *s);
static enum switch_event do_copy(struct mig_source *s);
static enum switch_event do_dial(struct mig_source *s, unsigned actions);
static enum switch_event do_ask(struct mig_source *s);
static enum switch_event do_serve(struct mig_source *s);
static enum switch_event perform(struct mig_source *s, unsigned actions);
static enum switch_event do_pause(struct mig_source *s);
static enum switch_event do_last(struct mig_source *s);
static enum switch_event do_finish(struct mig_source *s);
static enum switch_event do_commit(struct mig_source *s);
static enum switch_event do_say_commit(struct mig_source *s);
static enum switch_event do_rollback(struct mig_source *s, unsigned actions);
static void say_abort(struct mig_source *s);
static enum switch_event fault(struct mig_source *s, const char *name);

struct mig_source *
mig_source_new(const struct mig_source_config *cfg)
{
    struct mig_source *s = xcalloc(1, sizeof *s);
    pthread_condattr_t attr;

    s->cfg = *cfg;
    snprintf(s->redirect, sizeof s->redirect, "%s", cfg->target_addr);
    snprintf(s->redirect_fallback, sizeof s->redirect_fallback, "%s", cfg->fallback_addr);
    memcpy(s->own_ip, cfg->local_ip, sizeof s->own_ip);
    memcpy(s->own_device, cfg->bind_device, sizeof s->own_device);
    s->own_trusted = cfg->network_trusted;
    s->channels = mig_channels(cfg->channels);
    s->workers = xcalloc(s->channels, sizeof *s->workers);
    for (uint32_t i = 0; i < s->channels; i++) {
        struct source_worker *w = &s->workers[i];

        w->s = s;
        w->index = i;
        w->next_stripe = i;
        for (unsigned r = 0; r < GUEST_MAX_REGIONS; r++)
            w->present[r].fd = -1;
    }
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cv, &attr);
    pthread_mutex_init(&s->plan_mu, NULL);
    pthread_cond_init(&s->plan_cv, &attr);
    pthread_condattr_destroy(&attr);
    share_join(cfg->share, &s->share, cfg->policy.weight, cfg->limits.bandwidth_bytes_per_s,
               clock_mono_us());
    s->stats.channels = s->channels;
    return s;
}

enum mig_outcome
mig_source_run(struct mig_source *s, enum mig_cause *ret_cause, struct err *err)
{
    static const enum mig_outcome outcomes[SWITCH_SRC_COUNT] = {
        [SWITCH_SRC_MOVED] = MIG_MOVED,
        [SWITCH_SRC_FAILED] = MIG_FAILED,
        [SWITCH_SRC_UNKNOWN] = MIG_UNKNOWN,
    };
    struct err none = {0};
    int rc = 0;

    s->run_cpu_base_us = clock_thread_ns() / 1000;
    s->sw = (struct switch_source){.state = SWITCH_SRC_COPYING, .since_us = clock_mono_us()};
    if (s->wake_fd < 0) {
        rc = err_set(&none, -EMFILE, "eventfd: no descriptor");
        source_trouble(s, MIG_CAUSE_LOCAL, rc, &none);
    }
    if (rc == 0)
        rc = source_setup(s);
    if (rc == 0 && !s->cfg.recovering)
        rc = source_workers_start(s);
    if (s->cfg.recovering) {
        s->sw.state = SWITCH_SRC_ASKING;
        s->epoch = 1 + (uint32_t)(clock_mono_us() & 0xffffff); /* not one of the earlier life's */
        s->committing = s->commit_said = s->go_postcopy = true;
    }
    drive(s, rc ? SWITCH_EV_TROUBLE : s->cfg.recovering ? do_ask(s) : do_copy(s));
    source_converge_end(s);
    source_teardown(s);
    pthread_mutex_lock(&s->mu);
    s->run_cpu_us = clock_thread_ns() / 1000 - s->run_cpu_base_us;
    s->stats.finished_us = clock_mono_us();
    pthread_mutex_unlock(&s->mu);
    *ret_cause = s->sw.state == SWITCH_SRC_MOVED ? MIG_CAUSE_NONE : s->cause;
    if (err)
        *err = s->sw.state == SWITCH_SRC_MOVED ? none : s->err;
    return outcomes[s->sw.state];
}

void
mig_source_stop(struct mig_source *s)
{
    pthread_mutex_lock(&s->mu);
    s->stop_serving = true;
    pthread_mutex_unlock(&s->mu);
    if (s->wake_fd >= 0)
        eventfd_write(s->wake_fd, 1);
}

void
mig_source_redirect(struct mig_source *s, const char *addr, const char *fallback_addr)
{
    pthread_mutex_lock(&s->mu);
    if (addr)
        snprintf(s->redirect, sizeof s->redirect, "%s", addr);
    if (fallback_addr)
        snprintf(s->redirect_fallback, sizeof s->redirect_fallback, "%s", fallback_addr);
    pthread_mutex_unlock(&s->mu);
}

void
mig_source_rebind(struct mig_source *s, const char *local_ip, const char *device, bool trusted,
                  const char *why)
{
    pthread_mutex_lock(&s->mu);
    if (local_ip) {
        snprintf(s->own_ip, sizeof s->own_ip, "%s", local_ip);
        snprintf(s->own_device, sizeof s->own_device, "%s", device);
        s->own_trusted = trusted;
    }
    snprintf(s->network_why, sizeof s->network_why, "%s", why);
    pthread_mutex_unlock(&s->mu);
}

bool
mig_source_cancel(struct mig_source *s)
{
    bool in_time;

    pthread_mutex_lock(&s->mu);
    in_time = !s->committing;
    if (in_time)
        s->cancel = true;
    pthread_mutex_unlock(&s->mu);
    if (in_time && s->wake_fd >= 0)
        eventfd_write(s->wake_fd, 1);
    return in_time;
}

void
mig_source_stats(struct mig_source *s, struct mig_stats *ret)
{
    pthread_mutex_lock(&s->mu);
    source_sum_stats(s, &s->stats);
    *ret = s->stats;
    pthread_mutex_unlock(&s->mu);
}

void
mig_source_free(struct mig_source *s)
{
    if (!s)
        return;
    share_leave(&s->share, clock_mono_us());
    pthread_cond_destroy(&s->cv);
    pthread_mutex_destroy(&s->mu);
    pthread_cond_destroy(&s->plan_cv);
    pthread_mutex_destroy(&s->plan_mu);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    free(s->workers);
    free(s);
}

enum mig_outcome
mig_source_resolve(const struct mig_source_config *cfg, struct err *err)
{
    struct switch_source sw = {.state = SWITCH_SRC_ASKING, .since_us = clock_mono_us()};
    uint64_t missing = 0;
    enum switch_event ev = ask(cfg, -1, &missing, err);
    unsigned actions;

    if (ev == SWITCH_EV_RUNNING && missing > 0) {
        err_set(err, -EBUSY, "it runs there, and %llu pages of its memory are still here",
                (unsigned long long)missing);
        return MIG_UNKNOWN;
    }
    switch_source_step(&sw, ev, clock_mono_us(), &actions);
    return sw.state == SWITCH_SRC_MOVED    ? MIG_MOVED
           : sw.state == SWITCH_SRC_FAILED ? MIG_FAILED
                                           : MIG_UNKNOWN;
}

/* QUESTION, and what the target answers: RUNNING (with what it lacks), NEVER, or TROUBLE with err. */
static enum switch_event
ask(const struct mig_source_config *cfg, int cancel_fd, uint64_t *ret_missing, struct err *err)
{
    const struct switch_source sw = {.state = SWITCH_SRC_ASKING};
    struct control_msg m = {.type = CONTROL_QUESTION, .question.commit = true};
    enum switch_event ev = SWITCH_EV_TROUBLE;
    uint64_t rtt;
    struct ctl *ctl = NULL;
    struct conn *conn;
    int rc = source_dial(cfg, CTL_DEAD_PEER_US, cancel_fd, &conn, &rtt, err);

    if (rc == 0)
        rc = ctl_new(conn, cfg->ident.generation, cfg->dead_peer_us, &ctl, err);
    if (rc == 0) {
        memcpy(m.question.vmi_uid, cfg->ident.vmi_uid, sizeof m.question.vmi_uid);
        memcpy(m.question.migration_uid, cfg->ident.migration_uid, sizeof m.question.migration_uid);
        rc = ctl_send(ctl, &m, err);
    }
    /* It may have to make COMMIT durable and to resume the guest before it answers. */
    if (rc == 0)
        rc = ctl_wait(ctl, switch_source_deadline_us(&sw), cancel_fd, &m, err);
    if (rc == 1) {
        if (m.type == CONTROL_RUNNING ||
            (m.type == CONTROL_ANSWER && m.text.code == CONTROL_GUEST_RUNNING)) {
            ev = SWITCH_EV_RUNNING;
            *ret_missing = m.type == CONTROL_ANSWER ? m.text.missing_pages : 0;
        } else if (m.type == CONTROL_ANSWER && m.text.code == CONTROL_GUEST_NEVER) {
            ev = SWITCH_EV_NEVER;
            err_set(err, -ESRCH, "the target says that the guest never ran there: %s", m.text.text);
        } else if (m.type == CONTROL_ANSWER || m.type == CONTROL_ERROR) {
            err_set(err, -EREMOTEIO, "the target cannot say: %s", m.text.text);
        } else {
            err_set(err, -EPROTO, "the target answers %s to QUESTION", control_type_name(m.type));
        }
        control_msg_done(&m);
    }
    ctl_free(ctl);
    return ev;
}

uint32_t
mig_channels(unsigned want)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;

    if (want > CONTROL_MAX_CHANNELS)
        return CONTROL_MAX_CHANNELS;
    if (want > 0)
        return want;
    return cores < 2 ? 2 : cores > SOURCE_CHANNELS_MAX ? SOURCE_CHANNELS_MAX : (uint32_t)cores;
}

/* --- the switchover --- */

static void
drive(struct mig_source *s, enum switch_event ev)
{
    while (!switch_source_final(s->sw.state)) {
        unsigned actions;

        if (switch_source_step(&s->sw, ev, clock_mono_us(), &actions) != 0)
            abort(); /* an event that our own code made up */
        ev = perform(s, actions);
    }
}

/* Performs what a state asks for and waits for what ends it. */
static enum switch_event
perform(struct mig_source *s, unsigned actions)
{
    struct control_msg bye = {.type = CONTROL_BYE};

    switch (s->sw.state) {
    case SWITCH_SRC_COPYING:
        return do_copy(s);
    case SWITCH_SRC_DIALING:
        return do_dial(s, actions);
    case SWITCH_SRC_SERVING:
        return do_serve(s);
    case SWITCH_SRC_PAUSING:
        return do_pause(s);
    case SWITCH_SRC_SENDING:
        return do_last(s);
    case SWITCH_SRC_WAITING:
        return do_finish(s);
    case SWITCH_SRC_COMMITTING:
        return do_commit(s);
    case SWITCH_SRC_COMMITTED:
        return do_say_commit(s);
    case SWITCH_SRC_ROLLBACK:
        return do_rollback(s, actions);
    default:
        if (actions & SWITCH_DO_SAY_ABORT)
            say_abort(s);
        if ((actions & SWITCH_DO_SAY_BYE) && s->ctl)
            ctl_send(s->ctl, &bye, NULL);
        return SWITCH_EV_TROUBLE; /* final: nobody looks at it */
    }
}

/* What a failure is: of the connection alone, or of the migration. */
static enum switch_event
lost_or_trouble(const struct mig_source *s)
{
    return s->lost ? SWITCH_EV_LOST : SWITCH_EV_TROUBLE;
}

static enum switch_event
do_copy(struct mig_source *s)
{
    return source_copy(s) == 0 ? SWITCH_EV_SWITCH : lost_or_trouble(s);
}

/* The connection is gone, before anything was decided: the guest runs on here at once, and the
 * migration goes on when the target can be reached again. */
static enum switch_event
do_dial(struct mig_source *s, unsigned actions)
{
    uint64_t for_us = s->cfg.reconnect_us ? s->cfg.reconnect_us : SOURCE_RECONNECT_US;
    struct err err = {0};
    int rc = 0;

    if (actions & SWITCH_DO_RESUME) {
        rc = s->cfg.guest.ops->resume(s->cfg.guest.impl, &err);
        if (rc != 0) {
            s->lost = false;
            s->cause = MIG_CAUSE_NONE;
            source_trouble(s, MIG_CAUSE_GUEST, rc, &err);
            return SWITCH_EV_TROUBLE;
        }
    }
    source_unlink(s); /* nobody looks at these any more */
    s->paused = s->go_postcopy = false;
    pthread_mutex_lock(&s->mu);
    s->stats.mode = MIG_MODE_PRECOPY;
    pthread_mutex_unlock(&s->mu);
    return source_relink(s, clock_mono_us() + for_us) == 0 ? SWITCH_EV_DONE : SWITCH_EV_TROUBLE;
}

/* An earlier life committed a post-copy: what became of it? */
static enum switch_event
do_ask(struct mig_source *s)
{
    struct err err = {0};
    uint64_t missing = 0;
    enum switch_event ev = ask(&s->cfg, s->wake_fd, &missing, &err);

    if (ev == SWITCH_EV_TROUBLE && s->cfg.fallback_addr[0]) {
        struct mig_source_config around = s->cfg;

        memcpy(around.target_addr, s->cfg.fallback_addr, sizeof around.target_addr);
        around.local_ip[0] = around.bind_device[0] = '\0';
        ev = ask(&around, s->wake_fd, &missing, &err);
    }
    if (ev == SWITCH_EV_RUNNING && missing > 0)
        return SWITCH_EV_PARTLY;
    if (ev != SWITCH_EV_RUNNING)
        source_trouble(s, MIG_CAUSE_PEER, err.code ? err.code : -EIO, &err);
    return ev;
}

/* The guest runs there, and the target alone knows what it lacks. */
static enum switch_event
do_serve(struct mig_source *s)
{
    int rc = 0;

    pthread_mutex_lock(&s->mu);
    s->stats.mode = MIG_MODE_POSTCOPY;
    if (!s->cfg.recovering)
        s->stats.downtime_us = clock_mono_us() - s->stats.paused_us;
    pthread_mutex_unlock(&s->mu);
    for (;;) {
        if (!s->ctl)
            rc = source_relink(s, 0);
        if (rc == 0)
            rc = source_serve(s);
        if (rc == 0)
            return SWITCH_EV_ARRIVED;
        if (!s->lost)
            return SWITCH_EV_TROUBLE;
        source_unlink(s);
        rc = 0;
    }
}

static enum switch_event
do_pause(struct mig_source *s)
{
    struct err err = {0};
    uint64_t now = clock_mono_us();
    int rc;

    pthread_mutex_lock(&s->mu);
    s->stats.paused_us = now;
    pthread_mutex_unlock(&s->mu);
    rc = s->cfg.guest.ops->pause(s->cfg.guest.impl, &err);
    pthread_mutex_lock(&s->mu);
    s->stats.downtime.stop_us = clock_mono_us() - now;
    pthread_mutex_unlock(&s->mu);
    if (rc != 0) {
        source_trouble(s, MIG_CAUSE_GUEST, rc, &err);
        return SWITCH_EV_TROUBLE;
    }
    return FAULT(SRC_PAUSED) ? fault(s, "src.paused") : SWITCH_EV_DONE;
}

static enum switch_event
do_last(struct mig_source *s)
{
    int rc = s->go_postcopy ? source_last_post(s) : source_last(s, &s->state_bytes, &s->state_sum);

    return rc == 0 ? SWITCH_EV_DONE : lost_or_trouble(s);
}

static enum switch_event
do_finish(struct mig_source *s)
{
    struct control_msg m = {.type = CONTROL_FINISH,
                            .finish = {.round = s->round,
                                       .state_bytes = s->state_bytes,
                                       .state_sum = s->state_sum,
                                       .post_copy = s->go_postcopy,
                                       .missing_pages = s->missing_pages}};

    if (source_say(s, &m) != 0)
        return SWITCH_EV_TROUBLE;
    if (FAULT(SRC_STATE_SENT))
        return fault(s, "src.state.sent");
    s->finish_said = true;
    if (source_wait(s, SOURCE_WAIT_PREPARED) != 0)
        return SWITCH_EV_TROUBLE;
    return FAULT(SRC_PREPARED) ? fault(s, "src.prepared") : SWITCH_EV_PREPARED;
}

static enum switch_event
do_commit(struct mig_source *s)
{
    struct err err = {0};
    uint64_t began;
    bool cancel;
    int rc;

    pthread_mutex_lock(&s->mu);
    cancel = s->cancel;
    s->committing = !cancel;
    pthread_mutex_unlock(&s->mu);
    if (cancel) {
        rc = err_set(&err, -ECANCELED, "cancelled");
        source_trouble(s, MIG_CAUSE_CANCELLED, rc, &err);
        return SWITCH_EV_TROUBLE;
    }
    began = clock_mono_us();
    rc = s->cfg.commit ? s->cfg.commit(s->cfg.ctx, &err) : 0;
    pthread_mutex_lock(&s->mu);
    s->stats.downtime.commit_us = clock_mono_us() - began;
    pthread_mutex_unlock(&s->mu);
    if (rc != 0) {
        err_prefix(&err, rc, "the decision to commit could not be recorded");
        source_trouble(s, MIG_CAUSE_LOCAL, rc, &err);
        return SWITCH_EV_TROUBLE;
    }
    return SWITCH_EV_DONE;
}

static enum switch_event
do_say_commit(struct mig_source *s)
{
    struct control_msg m = {.type = CONTROL_COMMIT};

    if (FAULT(SRC_COMMIT_RECORDED))
        return fault(s, "src.commit.recorded");
    if (source_say(s, &m) != 0)
        return SWITCH_EV_TROUBLE;
    if (FAULT(SRC_COMMIT_SENT))
        return fault(s, "src.commit.sent");
    s->commit_said = true;
    if (source_wait(s, SOURCE_WAIT_OUTCOME) != 0)
        return SWITCH_EV_TROUBLE;
    if (s->never) {
        struct err err = {0};
        int rc = err_set(&err, -ESRCH, "the target lost the guest before it ran there");
        source_trouble(s, MIG_CAUSE_PEER, rc, &err);
        return SWITCH_EV_NEVER;
    }
    if (FAULT(SRC_RUNNING_HEARD))
        return fault(s, "src.running.heard");
    if (s->go_postcopy)
        return SWITCH_EV_PARTLY;
    pthread_mutex_lock(&s->mu);
    s->stats.downtime_us = clock_mono_us() - s->stats.paused_us;
    pthread_mutex_unlock(&s->mu);
    return SWITCH_EV_RUNNING;
}

/* The guest first: every moment that it waits is downtime. */
static enum switch_event
do_rollback(struct mig_source *s, unsigned actions)
{
    struct err err = {0};
    int rc = -EIO;

    for (int i = 0; i < RESUME_TRIES && rc != 0; i++)
        rc = s->cfg.guest.ops->resume(s->cfg.guest.impl, &err);
    source_unthrottle(s);
    if (rc != 0) {
        char why[ERR_MSG_SIZE / 2];

        snprintf(why, sizeof why, "%s", s->err.msg);
        err_set(&s->err, rc, "the guest could not be resumed: %s (the migration failed: %s)",
                err_msg(&err), why);
        s->cause = MIG_CAUSE_GUEST;
    }
    if (actions & SWITCH_DO_SAY_ABORT)
        say_abort(s);
    return rc ? SWITCH_EV_TROUBLE : SWITCH_EV_DONE;
}

static void
say_abort(struct mig_source *s)
{
    source_workers_stop(s);
    source_urgent_stop(s);
    if (s->ctl)
        ctl_send_text(s->ctl, CONTROL_ABORT, 0, err_msg(&s->err), NULL);
}

static enum switch_event
fault(struct mig_source *s, const char *name)
{
    struct err err = {0};
    int rc = err_set(&err, -EIO, "fault point %s", name);

    source_trouble(s, MIG_CAUSE_LOCAL, rc, &err);
    return SWITCH_EV_TROUBLE;
}
