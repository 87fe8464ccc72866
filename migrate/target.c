/* The target end of a migration: receives, confirms rounds, and drives the switchover's state
 * machine. See engine.h for the contract, switch.h for the machine, target_int.h for the
 * threads. */
#include "migrate/target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "migrate/xport.h"

static void start_life(struct mig_target *t);
static int load_post(struct mig_target *t);
static enum switch_event do_receive(struct mig_target *t);
static enum switch_event do_poison(struct mig_target *t);
static void drive(struct mig_target *t, enum switch_event ev);
static enum switch_event perform(struct mig_target *t);
static enum switch_event do_load(struct mig_target *t);
static bool source_gave_up(struct mig_target *t);
static enum switch_event do_record(struct mig_target *t);
static enum switch_event do_say_prepared(struct mig_target *t);
static enum switch_event commit_or_gone(struct mig_target *t);
static enum switch_event do_commit(struct mig_target *t);
static enum switch_event do_resume(struct mig_target *t);
static enum switch_event do_deny(struct mig_target *t);
static void do_final(struct mig_target *t);
static enum switch_event wait_decision(struct mig_target *t);
static enum switch_event wait_question(struct mig_target *t);
static enum switch_event trouble(struct mig_target *t, enum control_error_code code, int rc,
                                 const struct err *why);
static enum switch_event fault(struct mig_target *t, const char *name);
static void spent(struct mig_target *t, uint64_t *us, uint64_t began_us);
static void sum_stats(struct mig_target *t);

int
mig_target_new(const struct mig_target_config *cfg, struct mig_target **ret, struct err *err)
{
    struct mig_target *t = xcalloc(1, sizeof *t);
    int rc;

    t->cfg = *cfg;
    t->listen_fd = t->fallback_fd = t->next_listen_fd = t->next_fallback_fd = -1;
    pthread_mutex_init(&t->mu, NULL);
    pthread_mutex_init(&t->write_mu, NULL);
    pthread_cond_init(&t->cv, NULL);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->wake_fd < 0)
        rc = err_set(err, -errno, "eventfd: %s", strerror(errno));
    else
        rc = mig_target_relisten(t, cfg->listen_ip, cfg->bind_device, cfg->network_trusted,
                                 cfg->fallback_listen_ip, err);
    if (rc == 0 && !cfg->recovering && !cfg->recovering_committed) {
        rc = cfg->guest.ops->regions(cfg->guest.impl, t->regions, err);
        t->regions_len = rc > 0 ? (uint32_t)rc : 0;
        rc = rc > 0 ? 0 : rc == 0 ? err_set(err, -EINVAL, "the incoming guest has no memory") : rc;
    }
    for (uint32_t i = 0; i < t->regions_len; i++)
        t->stats.total_bytes += t->regions[i].size;
    if (rc != 0) {
        mig_target_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

static void
swap_fd(int *a, int *b)
{
    int c = *a;

    *a = *b;
    *b = c;
}

int
mig_target_relisten(struct mig_target *t, const char *ip, const char *device, bool trusted,
                    const char *fallback_ip, struct err *err)
{
    char address[MIG_ADDR_SIZE] = "", fallback_address[MIG_ADDR_SIZE] = "";
    AUTO_FD int fd = -1;
    AUTO_FD int fallback_fd = -1;
    int rc = xport_listen(ip, device, &fd, address, err);

    if (rc == 0 && *fallback_ip)
        rc = xport_listen(fallback_ip, "", &fallback_fd, fallback_address, err);
    if (rc != 0)
        return rc;
    memcpy(t->address, address, sizeof t->address);
    memcpy(t->fallback_address, fallback_address, sizeof t->fallback_address);
    pthread_mutex_lock(&t->mu);
    swap_fd(&t->next_listen_fd, &fd); /* what comes back is of a change that this one overtakes */
    swap_fd(&t->next_fallback_fd, &fallback_fd);
    t->next_trusted = trusted;
    t->relisten = true;
    pthread_mutex_unlock(&t->mu);
    eventfd_write(t->wake_fd, 1);
    return 0;
}

const char *
mig_target_address(const struct mig_target *t)
{
    return t->address;
}

const char *
mig_target_fallback_address(const struct mig_target *t)
{
    return t->fallback_address;
}

enum mig_target_outcome
mig_target_run(struct mig_target *t, struct err *err)
{
    static const enum mig_target_outcome outcomes[SWITCH_DST_COUNT] = {
        [SWITCH_DST_RUNNING] = MIG_TARGET_RUNNING,   [SWITCH_DST_FAILED] = MIG_TARGET_FAILED,
        [SWITCH_DST_ABORTED] = MIG_TARGET_ABORTED,   [SWITCH_DST_NEVER] = MIG_TARGET_FAILED,
        [SWITCH_DST_IN_DOUBT] = MIG_TARGET_IN_DOUBT, [SWITCH_DST_DAMAGED] = MIG_TARGET_RUNNING,
    };

    t->run_cpu_base_us = clock_thread_ns() / 1000;
    start_life(t);
    if (t->post)
        target_post_attach(t, NULL);
    target_receivers_stop(t);
    target_rdma_close(t);
    target_verify_free(t);
    target_post_free(t, t->sw.state != SWITCH_DST_IN_DOUBT);
    target_lanes_drop(t);
    pthread_mutex_lock(&t->mu);
    t->run_cpu_us = clock_thread_ns() / 1000 - t->run_cpu_base_us;
    t->stats.finished_us = clock_mono_us();
    t->stats.link = MIG_LINK_NONE;

    struct ctl *ctl = t->ctl;

    t->ctl_bytes += ctl ? ctl_bytes(ctl) : 0;
    t->ctl = NULL;
    pthread_mutex_unlock(&t->mu);
    ctl_free(ctl);
    if (err)
        *err = t->err;
    if (err && (t->sw.state == SWITCH_DST_RUNNING || t->sw.state == SWITCH_DST_DAMAGED))
        *err = (struct err){0};
    return outcomes[t->sw.state];
}

void
mig_target_stop(struct mig_target *t)
{
    atomic_store(&t->stop, true);
    eventfd_write(t->wake_fd, 1);
}

void
mig_target_source_lost(struct mig_target *t)
{
    atomic_store(&t->hopeless, true);
    eventfd_write(t->wake_fd, 1);
}

size_t
mig_target_damage(struct mig_target *t, struct mig_range *ret, size_t max)
{
    return target_post_damage(t, ret, max);
}

void
mig_target_stats(struct mig_target *t, struct mig_stats *ret)
{
    pthread_mutex_lock(&t->mu);
    sum_stats(t);
    *ret = t->stats;
    pthread_mutex_unlock(&t->mu);
}

void
mig_target_free(struct mig_target *t)
{
    if (!t)
        return;
    target_post_free(t, false);
    target_rdma_free(t);
    for (uint32_t i = 0; i < t->chans_len; i++)
        conn_free(t->chans[i].conn);
    if (t->listen_fd >= 0)
        close(t->listen_fd);
    if (t->fallback_fd >= 0)
        close(t->fallback_fd);
    if (t->next_listen_fd >= 0)
        close(t->next_listen_fd);
    if (t->next_fallback_fd >= 0)
        close(t->next_fallback_fd);
    if (t->wake_fd >= 0)
        close(t->wake_fd);
    pthread_cond_destroy(&t->cv);
    pthread_mutex_destroy(&t->write_mu);
    pthread_mutex_destroy(&t->mu);
    free(t->chans);
    free(t->lacking);
    free(t->received);
    free(t->bad);
    free(t->stripe_state);
    free(t->state);
    free(t);
}

int
target_trouble(struct mig_target *t, enum control_error_code code, int rc, const struct err *why)
{
    if (!t->err.code) {
        t->err = *why;
        t->err.code = rc;
        t->code = code;
    }
    return rc;
}

/* Where this run begins: with nothing, or where an earlier handler's life ended. */
static void
start_life(struct mig_target *t)
{
    uint64_t now = clock_mono_us();

    /* without a guest there is nothing to load for: the answer is NEVER (or that it is not known) */
    if ((t->cfg.recovering_committed || t->cfg.recovering) && t->cfg.guest.ops && load_post(t) != 0)
        return;
    if (t->cfg.recovering_committed) {
        t->sw = (struct switch_target){.state = SWITCH_DST_RESUMING, .since_us = now};
        drive(t, do_resume(t));
    } else if (t->cfg.recovering) {
        t->sw = (struct switch_target){.state = SWITCH_DST_PREPARED, .since_us = now};
        drive(t, wait_question(t));
    } else {
        t->sw = (struct switch_target){.state = SWITCH_DST_RECEIVING, .since_us = now};
        drive(t, do_receive(t));
    }
}

static void
drive(struct mig_target *t, enum switch_event ev)
{
    unsigned actions;

    do {
        if (switch_target_step(&t->sw, ev, clock_mono_us(), &actions) != 0)
            abort(); /* an event that our own code made up */
        ev = perform(t);
    } while (!switch_target_final(t->sw.state));
}

static enum switch_event
perform(struct mig_target *t)
{
    switch (t->sw.state) {
    case SWITCH_DST_RECEIVING:
        return do_receive(t);
    case SWITCH_DST_LISTENING:
        return target_relink(t) == 0 ? SWITCH_EV_DONE : SWITCH_EV_TROUBLE;
    case SWITCH_DST_FILLING:
        return target_fill(t);
    case SWITCH_DST_POISONING:
        return do_poison(t);
    case SWITCH_DST_LOADING:
        return do_load(t);
    case SWITCH_DST_RECORDING:
        return do_record(t);
    case SWITCH_DST_PREPARED:
        return do_say_prepared(t);
    case SWITCH_DST_COMMITTING:
        return do_commit(t);
    case SWITCH_DST_RESUMING:
        return do_resume(t);
    case SWITCH_DST_DENYING:
        return do_deny(t);
    default:
        do_final(t);
        return SWITCH_EV_TROUBLE; /* nobody looks at it */
    }
}

/* What an earlier handler left of a post-copy, if it was one. Where that cannot be had the guest stays
 * as it is: nothing is decided. */
static int
load_post(struct mig_target *t)
{
    struct err err = {0};
    int rc = target_post_load(t, &err);

    if (rc >= 0)
        return 0;
    t->sw = (struct switch_target){.state = SWITCH_DST_IN_DOUBT, .since_us = clock_mono_us()};
    return target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
}

static enum switch_event
do_receive(struct mig_target *t)
{
    if (target_receive(t) == 0)
        return SWITCH_EV_FINISH;
    return t->lost ? SWITCH_EV_LOST : SWITCH_EV_TROUBLE;
}

/* What is missing is lost for good, and whoever touches it shall know. */
static enum switch_event
do_poison(struct mig_target *t)
{
    struct err err = {0};
    int rc = target_post_poison(t, &err);

    if (rc == 0)
        return SWITCH_EV_DONE;
    err_prefix(&err, rc, "the source is gone, and what is missing cannot be poisoned");
    return trouble(t, CONTROL_ERR_GUEST, rc, &err);
}

/* --- switchover --- */

static enum switch_event
do_load(struct mig_target *t)
{
    struct err err = {0};
    uint64_t began;
    int rc = 0;

    if (t->finish.post_copy) {
        rc = target_post_new(t, &err);
        if (rc == 0 && FAULT(DST_POSTCOPY_READY))
            rc = err_set(&err, -EIO, "fault point dst.postcopy.ready");
        if (rc != 0) {
            err_prefix(&err, rc, "post-copy");
            return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
        }
        target_post_attach(t, t->chans[t->chans_len - 1].conn);
    }
    began = clock_mono_us();
    rc = t->cfg.guest.ops->load_state(t->cfg.guest.impl, t->state, t->state_have, &err);

    spent(t, &t->stats.downtime.load_us, began);
    if (rc != 0) {
        err_prefix(&err, rc, "device state");
        return trouble(t, CONTROL_ERR_GUEST, rc, &err);
    }
    if (FAULT(DST_STATE))
        return fault(t, "dst.state");
    return source_gave_up(t) ? SWITCH_EV_TROUBLE : SWITCH_EV_DONE;
}

/* Loading takes its time. A source that is gone before PREPARED is durable will never commit. */
static bool
source_gave_up(struct mig_target *t)
{
    struct control_msg m;
    struct err err = {0};
    int rc = ctl_recv(t->ctl, &m, &err);

    if (rc < 0)
        target_trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    if (rc == 1) {
        rc = target_other_word(t, &m);
        control_msg_done(&m);
    }
    return rc != 0;
}

static enum switch_event
do_record(struct mig_target *t)
{
    struct err err = {0};
    int rc = t->cfg.prepared ? t->cfg.prepared(t->cfg.ctx, &err) : 0;

    if (rc != 0) {
        err_prefix(&err, rc, "that the guest is whole could not be recorded");
        return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    }
    return SWITCH_EV_DONE;
}

static enum switch_event
do_say_prepared(struct mig_target *t)
{
    struct control_msg m = {.type = CONTROL_PREPARED};
    struct err err = {0};
    int rc;

    if (FAULT(DST_PREPARED))
        return fault(t, "dst.prepared");
    /* Where it cannot be sent the source has closed, and its ABORT may wait to be read. */
    rc = ctl_send(t->ctl, &m, &err);
    if (rc == 0)
        return wait_decision(t);
    if (wait_decision(t) == SWITCH_EV_ABORT)
        return SWITCH_EV_ABORT;
    return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
}

/* PREPARED was said: COMMIT, ABORT, or silence. */
static enum switch_event
wait_decision(struct mig_target *t)
{
    struct control_msg m;
    struct err err = {0};
    enum control_type type;

    if (target_next(t, &m) != 0)
        return SWITCH_EV_TROUBLE;
    type = m.type;
    if (type == CONTROL_ABORT) {
        err_set(&err, -ECANCELED, "the source gave up: %s", m.text.text);
        target_trouble(t, CONTROL_ERR_LOCAL, -ECANCELED, &err);
    }
    control_msg_done(&m);
    if (type == CONTROL_COMMIT)
        return commit_or_gone(t);
    if (type == CONTROL_ABORT)
        return SWITCH_EV_ABORT;
    target_protocol_error(t, control_type_name(type));
    return SWITCH_EV_TROUBLE;
}

/* Whole since an earlier life: the source comes and asks. */
static enum switch_event
wait_question(struct mig_target *t)
{
    for (;;) {
        if (target_accept(t, false, 0) != 0)
            return SWITCH_EV_TROUBLE;
        if (!t->cfg.guest.ops)
            return SWITCH_EV_GONE;
        if (t->asked_commit)
            return commit_or_gone(t);
        ctl_send_text(t->ctl, CONTROL_ANSWER, CONTROL_GUEST_PREPARED, "whole, paused", NULL);
        pthread_mutex_lock(&t->mu);

        struct ctl *ctl = t->ctl;

        t->ctl = NULL;
        t->stats.link = MIG_LINK_NONE;
        pthread_mutex_unlock(&t->mu);
        ctl_free(ctl);
    }
}

/* COMMIT has come. A guest that died while it waited is found out before anything is recorded. */
static enum switch_event
commit_or_gone(struct mig_target *t)
{
    return t->cfg.never && t->cfg.guest.ops->pause(t->cfg.guest.impl, NULL) == -ESRCH
               ? SWITCH_EV_GONE
               : SWITCH_EV_COMMIT;
}

static enum switch_event
do_commit(struct mig_target *t)
{
    struct err err = {0};
    uint64_t began = clock_mono_us();
    int rc;

    if (FAULT(DST_COMMIT_RECEIVED))
        return fault(t, "dst.commit.received");
    rc = t->cfg.committed ? t->cfg.committed(t->cfg.ctx, &err) : 0;
    spent(t, &t->stats.downtime.commit_us, began);
    if (rc != 0) {
        err_prefix(&err, rc, "COMMIT could not be recorded");
        return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
    }
    return FAULT(DST_COMMIT_RECORDED) ? fault(t, "dst.commit.recorded") : SWITCH_EV_DONE;
}

static enum switch_event
do_resume(struct mig_target *t)
{
    struct err err = {0};
    uint64_t began = clock_mono_us();
    int rc = t->cfg.guest.ops ? t->cfg.guest.ops->resume(t->cfg.guest.impl, &err)
                              : err_set(&err, -ESRCH, "the guest's process is gone");

    spent(t, &t->stats.downtime.resume_us, began);
    if (rc == 0)
        return t->post ? SWITCH_EV_PARTLY : SWITCH_EV_DONE;
    trouble(t, CONTROL_ERR_GUEST, rc, &err);
    /* Only when this very life resumed it for the first time is it certain that it never ran. */
    return rc == -ESRCH && !t->cfg.recovering_committed && t->cfg.never ? SWITCH_EV_GONE
                                                                        : SWITCH_EV_TROUBLE;
}

static enum switch_event
do_deny(struct mig_target *t)
{
    struct err err = {0};
    int rc = t->cfg.never ? t->cfg.never(t->cfg.ctx, &err)
                          : err_set(&err, -ENOSYS, "there is no record of it to be made");

    if (rc == 0) {
        err_set(&err, -ESRCH, "the guest was lost here before it ran");
        target_trouble(t, CONTROL_ERR_GUEST, -ESRCH, &err);
        return SWITCH_EV_DONE;
    }
    err_prefix(&err, rc, "that the guest never runs here could not be recorded");
    return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
}

static void
do_final(struct mig_target *t)
{
    struct control_msg m = {.type = CONTROL_RUNNING};

    if (t->post && (t->sw.state == SWITCH_DST_RUNNING || t->sw.state == SWITCH_DST_DAMAGED)) {
        if (!FAULT(DST_POSTCOPY_COMPLETE))
            target_say_complete(t);
        return;
    }
    if (!t->ctl)
        return;
    switch (t->sw.state) {
    case SWITCH_DST_RUNNING:
        if (FAULT(DST_RUNNING))
            return;
        if (t->asked)
            ctl_send_text(t->ctl, CONTROL_ANSWER, CONTROL_GUEST_RUNNING, "it runs here", NULL);
        else
            ctl_send(t->ctl, &m, NULL);
        break;
    case SWITCH_DST_NEVER:
        ctl_send_text(t->ctl, CONTROL_ANSWER, CONTROL_GUEST_NEVER, err_msg(&t->err), NULL);
        break;
    case SWITCH_DST_FAILED:
        target_receivers_stop(t);
        target_rdma_close(t);
        ctl_send_text(t->ctl, CONTROL_ERROR, (int)t->code, err_msg(&t->err), NULL);
        break;
    case SWITCH_DST_IN_DOUBT:
        if (t->asked)
            ctl_send_text(t->ctl, CONTROL_ANSWER, CONTROL_GUEST_PREPARED, err_msg(&t->err), NULL);
        break;
    default:
        break;
    }
}

/* --- small things --- */

static enum switch_event
trouble(struct mig_target *t, enum control_error_code code, int rc, const struct err *why)
{
    target_trouble(t, code, rc, why);
    return SWITCH_EV_TROUBLE;
}

static enum switch_event
fault(struct mig_target *t, const char *name)
{
    struct err err = {0};
    int rc = err_set(&err, -EIO, "fault point %s", name);

    return trouble(t, CONTROL_ERR_LOCAL, rc, &err);
}

/* A phase of the downtime is over; us is one of t->stats. */
static void
spent(struct mig_target *t, uint64_t *us, uint64_t began_us)
{
    pthread_mutex_lock(&t->mu);
    *us = clock_mono_us() - began_us;
    pthread_mutex_unlock(&t->mu);
}

/* mu held */
static void
sum_stats(struct mig_target *t)
{
    t->stats.sent_bytes = t->old_bytes + t->ctl_bytes + (t->ctl ? ctl_bytes(t->ctl) : 0);
    t->stats.cpu_us = t->run_cpu_us + t->old_cpu_us;
    t->stats.channels = t->channels ? t->channels : t->stats.channels;
    t->stats.raw_pages = t->old_totals.raw_pages;
    t->stats.zero_pages = t->old_totals.zero_pages;
    target_post_stats(t, &t->stats);
    target_rdma_stats(t, &t->stats);
    for (uint32_t i = 0; i < t->chans_len && t->chans; i++) {
        struct target_chan *c = &t->chans[i];

        t->stats.sent_bytes += atomic_load_explicit(&c->received_bytes, memory_order_relaxed);
        t->stats.cpu_us += atomic_load_explicit(&c->cpu_us, memory_order_relaxed);
        t->stats.raw_pages += c->totals.raw_pages;
        t->stats.zero_pages += c->totals.zero_pages;
    }
}
