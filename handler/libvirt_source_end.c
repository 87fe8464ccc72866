/* What became of a relayed migration that was committed and is not known to be over: both sides are
 * looked at until it is. See libvirt_source_int.h, docs/protocol.md. */
#include "handler/libvirt_source_int.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static enum mig_outcome ask(struct lv_source *s, enum lv_truth truth, bool *ret_incomplete,
                            struct err *err);
static enum mig_outcome go_on(struct lv_source *s, struct err *err);
static bool pause_us(struct lv_source *s, uint64_t us);

bool
lv_source_has_job(const struct libvirt_api *api, virDomainPtr dom)
{
    virTypedParameterPtr p = NULL;
    int type = 0, n = 0;
    bool known = api->virDomainGetJobStats(dom, &type, &p, &n, 0) == 0;

    if (known)
        api->virTypedParamsFree(p, n);
    return known && type != VIR_DOMAIN_JOB_NONE;
}

enum lv_truth
lv_source_look(struct lv_source *s, struct err *err)
{
    enum lv_truth truth = LV_NOT_KNOWN;
    int state = 0, reason = 0;
    virConnectPtr conn;
    virDomainPtr dom;

    if (!s->g)
        return LV_GONE;
    conn = libvirt_wait(s->lv, LV_LOOK_US, err);
    if (!conn)
        return LV_NOT_KNOWN;
    dom = s->api->virDomainLookupByUUID(conn, lv_guest_uuid(s->g));
    if (!dom) {
        truth = libvirt_error(err, "the domain") == -ESRCH ? LV_GONE : LV_NOT_KNOWN;
    } else if (s->api->virDomainGetState(dom, &state, &reason, 0) < 0) {
        truth = libvirt_error(err, "the domain") == -ESRCH ? LV_GONE : LV_NOT_KNOWN;
    } else if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED) {
        truth = LV_RUNS_HERE;
    } else if (state != VIR_DOMAIN_PAUSED) {
        truth = LV_GONE;
    } else if (reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED) {
        truth = LV_BROKEN;
    } else if (lv_source_has_job(s->api, dom)) {
        truth = LV_MOVING;
    } else {
        truth = reason == VIR_DOMAIN_PAUSED_USER && s->user_paused ? LV_RUNS_HERE : LV_PAUSED;
    }
    if (dom)
        s->api->virDomainFree(dom);
    s->api->virConnectClose(conn);
    return truth;
}

/* libvirt resumes the guest by itself when its migration fails; what it leaves paused is resumed here,
 * but for what its user paused. */
void
lv_source_restore(struct lv_source *s)
{
    uint64_t until = clock_mono_us() + LV_RESTORE_US;

    do {
        enum lv_truth truth = lv_source_look(s, NULL);

        if (truth == LV_RUNS_HERE || truth == LV_GONE || truth == LV_BROKEN)
            return;
        if (truth == LV_PAUSED && s->guest->ops->resume(s->guest, NULL) == 0)
            return;
        pause_us(s, LV_LOOK_AGAIN_US);
    } while (clock_mono_us() < until);
}

/* The target runs it: a copy that runs here, by whatever mistake of libvirt's, is stopped at once. */
void
lv_source_silence(struct lv_source *s)
{
    struct err err = {0};

    if (lv_source_look(s, NULL) != LV_RUNS_HERE || s->user_paused)
        return;
    if (s->guest->ops->pause(s->guest, &err) != 0 && err.code != -ESRCH)
        lv_source_say(s, err_msg(&err));
}

/* The target has said that all is there, whatever libvirt here made of the end: it may not be there any more
 * to be asked. */
static bool
told_complete(struct lv_source *s)
{
    bool complete;

    pthread_mutex_lock(&s->mu);
    complete = s->complete;
    pthread_mutex_unlock(&s->mu);
    return complete;
}

enum mig_outcome
lv_source_settle(struct lv_source *s, bool once, struct err *err)
{
    for (;;) {
        enum mig_outcome outcome = MIG_UNKNOWN;
        enum lv_truth truth;
        bool incomplete = false;

        if (told_complete(s)) {
            lv_source_silence(s);
            return MIG_MOVED;
        }
        truth = lv_source_look(s, err);
        if (truth == LV_NOT_KNOWN)
            err_prefix(err, -ENOTCONN, "it is not known what became of the guest here");
        else if (truth == LV_MOVING)
            err_set(err, -EAGAIN, "libvirt is still at work on the guest here");
        else
            outcome = ask(s, truth, &incomplete, err);
        if (outcome == MIG_UNKNOWN && incomplete && !once && truth == LV_BROKEN)
            outcome = go_on(s, err);
        if (outcome != MIG_UNKNOWN || once)
            return outcome;
        if (!pause_us(s, LV_REDIAL_US)) {
            err_set(err, -ECANCELED, "an end was asked for");
            return MIG_UNKNOWN;
        }
    }
}

/* Over a new link: what the target says, who is offered the commit once more unless the guest runs
 * here. */
static enum mig_outcome
ask(struct lv_source *s, enum lv_truth truth, bool *ret_incomplete, struct err *err)
{
    struct relay_msg m = {.type = RELAY_MSG_QUESTION,
                          .withdraw = truth == LV_RUNS_HERE,
                          .post_copy = s->cfg.recovering || s->switched,
                          .paused = s->user_paused};
    enum mig_cause cause;
    int rc;

    lv_gate_free(s->gate);
    s->gate = NULL;
    lv_link_close(s);
    rc = lv_link_open(s, &cause, err);
    if (rc == 0)
        rc = lv_link_send(s, &m, err);
    if (rc == 0)
        rc = lv_link_await(s, &s->answered, LV_ANSWER_US, "the target does not answer", err);
    if (rc != 0)
        return MIG_UNKNOWN;
    *ret_incomplete = s->peer.incomplete;
    switch (s->peer.answer) {
    case RELAY_MSG_ANSWER_RUNNING:
        if (s->peer.incomplete) {
            err_set(err, -EAGAIN,
                    truth == LV_GONE ? "the guest's memory here is gone, and the target lacks some"
                                     : "the target lacks memory");
            return MIG_UNKNOWN;
        }
        lv_source_silence(s);
        return MIG_MOVED;
    case RELAY_MSG_ANSWER_NEVER:
        err_set(
            err, -ENOENT,
            s->cfg.recovering || s->switched
                ? "the target lost the guest before it ran there; its memory is whole here, but "
                  "QEMU does not leave post-copy: it has to be restarted"
                : "the target does not have the guest, and never will");
        return MIG_FAILED;
    default:
        err_set(err, -EAGAIN, "the target does not know yet");
        return MIG_UNKNOWN;
    }
}

/* Both are paused, and each lacks the other: libvirt is told to go on, over the new link. */
static enum mig_outcome
go_on(struct lv_source *s, struct err *err)
{
    int rc;

    lv_source_say(s, "the link is back: post-copy goes on");
    pthread_mutex_lock(&s->mu);
    s->post_copy = s->switched = true;
    s->stats.mode = MIG_MODE_POSTCOPY;
    s->stats.reconnects++;
    s->cause = MIG_CAUSE_NONE;
    pthread_mutex_unlock(&s->mu);
    lv_call_let_go(s);
    rc = lv_source_attach(s, err);
    if (rc == 0)
        rc = lv_source_begin(s, true, err);
    if (rc == 0)
        rc = lv_source_wait(s, err);
    lv_call_let_go(s);
    return rc == 0 ? MIG_MOVED : MIG_UNKNOWN;
}

/* False: an end was asked for. */
static bool
pause_us(struct lv_source *s, uint64_t us)
{
    uint64_t until = clock_mono_us() + us;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};
    bool stop;

    pthread_mutex_lock(&s->mu);
    while (!s->stop && pthread_cond_timedwait(&s->cond, &s->mu, &ts) == 0)
        ;
    stop = s->stop;
    pthread_mutex_unlock(&s->mu);
    return !stop;
}

enum mig_outcome
lv_source_resolve(const struct mig_source_config *cfg, struct hv_guest *g, struct err *err)
{
    struct mover_source *m = lv_source_new(cfg, g);
    struct lv_source *s = (struct lv_source *)m;
    enum mig_outcome outcome;

    s->committed = true;
    outcome = lv_source_settle(s, true, err);
    lv_link_close(s);
    lv_source_free(m);
    return outcome;
}
