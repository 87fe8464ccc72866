/* The target's end of a relayed migration: says whether the guest can come, and records and runs what
 * libvirt has brought. Order: libvirt_mover.h, proto/relay_msg.proto. */
#include "handler/libvirt_target_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

/* What handling a message comes to: on with the run, or its end. */
#define GO_ON (-1)

static void on_message(void *ctx, const void *msg, size_t len);
static void on_broken(void *ctx, enum relay_kind kind, const struct err *err);
static void on_refused(void *ctx, const char *why);
static void goodbye(struct lv_target *t, uint64_t us);
static bool next(struct lv_target *t, uint64_t wait_us, struct relay_msg *ret);
static int handle(struct lv_target *t, struct relay_msg *m, struct err *err);
static int look_around(struct lv_target *t, struct err *err);
static int on_check(struct lv_target *t, const struct relay_msg *m, struct err *err);
static int on_finish(struct lv_target *t, const struct relay_msg *m, struct err *err);
static int on_commit(struct lv_target *t, const struct relay_msg *m, struct err *err);
static int on_question(struct lv_target *t, const struct relay_msg *m, struct err *err);
static int fail(struct lv_target *t, struct err *err);
static int never(struct lv_target *t, struct err *err);

static struct lv_target *
of(struct mover_target *m)
{
    return (struct lv_target *)m;
}

/* What both relays have in common. */
static void
fill(struct lv_target *t, struct relay_target_config *c)
{
    *c = (struct relay_target_config){
        .ident = t->cfg.ident,
        .tls = t->cfg.tls,
        .dead_peer_us = t->cfg.dead_peer_us,
        .refused = on_refused,
        .ctx = t,
    };
    memcpy(c->listen_ip, t->cfg.listen_ip, sizeof c->listen_ip);
    memcpy(c->bind_device, t->cfg.bind_device, sizeof c->bind_device);
    memcpy(c->tls_peer, t->cfg.tls_peer, sizeof c->tls_peer);
}

int
lv_target_new(const struct mig_target_config *cfg, struct hv_guest *g, struct mover_target **ret,
              struct err *err)
{
    struct lv_target *t = xcalloc(1, sizeof *t);
    struct relay_target_config c;
    pthread_condattr_t attr;
    int rc;

    t->head.mover = &mover_relay;
    t->cfg = *cfg;
    t->guest = g;
    t->g = (struct lv_guest *)g;
    t->lv = g ? lv_guest_conn(t->g) : NULL;
    t->api = libvirt_api(NULL);
    t->state = cfg->recovering_committed ? LV_T_POSTCOPY
               : cfg->recovering         ? LV_T_PREPARED
                                         : LV_T_WAITING;
    pthread_mutex_init(&t->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->cond, &attr);
    pthread_condattr_destroy(&attr);
    fill(t, &c);
    c.urgent_priority = cfg->urgent_priority;
    c.urgent_dscp = cfg->urgent_dscp;
    c.message = on_message;
    c.broken = on_broken;
    memcpy(c.fallback_listen_ip, cfg->fallback_listen_ip, sizeof c.fallback_listen_ip);
    lv_target_path(t, ".sock", c.data_path);
    if (t->lv)
        lv_target_socket(t->lv, c.rpc_path);
    else
        lv_target_path(t, ".none", c.rpc_path); /* nobody may come */
    rc = lv_make_dir(err);
    if (rc == 0)
        rc = relay_target_new(&c, &t->relay, err);
    if (rc != 0) {
        lv_target_free(&t->head);
        return rc;
    }
    *ret = &t->head;
    return 0;
}

void
lv_target_free(struct mover_target *m)
{
    struct lv_target *t = of(m);

    if (t->relay)
        relay_target_free(t->relay);
    if (t->disks)
        relay_target_free(t->disks);
    for (size_t i = 0; i < t->queued; i++)
        relay_msg_done(&t->queue[i]);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

/* --- the relay's threads --- */

static void
on_message(void *ctx, const void *msg, size_t len)
{
    struct lv_target *t = ctx;
    struct relay_msg m = {0};
    struct err err = {0};
    int rc = relay_msg_decode(msg, len, &m, &err);

    if (rc == 0 && m.generation != t->cfg.ident.generation)
        rc = err_set(&err, -EPROTO, "%s of generation %llu: this is %llu", relay_msg_name(m.type),
                     (unsigned long long)m.generation, (unsigned long long)t->cfg.ident.generation);
    pthread_mutex_lock(&t->mu);
    if (rc == 0 && t->queued == LV_TARGET_QUEUE)
        rc = err_set(&err, -EPROTO, "%s: too many messages at once", relay_msg_name(m.type));
    if (rc == 0) {
        t->peer_gone = false; /* a control connection that comes later replaces the one before */
        t->queue[t->queued++] = m;
        m = (struct relay_msg){0};
    } else if (!t->broken.code) {
        t->broken = err;
        t->peer_gone = true;
    }
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mu);
    relay_msg_done(&m);
}

static void
on_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    struct lv_target *t = ctx;

    pthread_mutex_lock(&t->mu);
    if (kind == RELAY_CONTROL)
        t->peer_gone = true;
    if (!t->broken.code)
        t->broken = *err;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mu);
}

static void
on_refused(void *ctx, const char *why)
{
    struct lv_target *t = ctx;

    if (t->cfg.refused)
        t->cfg.refused(t->cfg.ctx, why);
}

/* Only disks are copied there: libvirt hears of a stream that breaks. */
static void
on_disk_message(void *ctx, const void *msg, size_t len)
{
    (void)ctx;
    (void)msg;
    (void)len;
}

static void
on_disk_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    (void)ctx;
    (void)kind;
    (void)err;
}

/* --- the run --- */

enum mig_target_outcome
lv_target_run(struct mover_target *m, struct err *err)
{
    struct lv_target *t = of(m);
    int outcome = GO_ON;

    if (t->g)
        lv_guest_migrating(t->g, true);
    t->stats.started_us = clock_mono_us();
    t->deadline_us =
        t->stats.started_us + (t->cfg.idle_timeout_us ? t->cfg.idle_timeout_us : LV_IDLE_US);
    if (t->state == LV_T_POSTCOPY)
        t->postcopy_us = t->stats.started_us;
    while (outcome == GO_ON) {
        struct relay_msg msg = {0};

        if (next(t, t->state == LV_T_SWITCHING ? LV_TARGET_SOON_US : LV_TARGET_LOOK_US, &msg))
            outcome = handle(t, &msg, err);
        relay_msg_done(&msg);
        if (outcome == GO_ON)
            outcome = look_around(t, err);
    }
    goodbye(t, outcome == MIG_TARGET_RUNNING ? LV_GOODBYE_US : 20 * (uint64_t)LV_TARGET_SOON_US);
    if (t->g && outcome != MIG_TARGET_IN_DOUBT)
        lv_guest_migrating(t->g, false);
    t->stats.finished_us = clock_mono_us();
    return (enum mig_target_outcome)outcome;
}

/* The last word is on its way, and with a guest that runs here the answer to libvirt's Finish, which goes
 * through the relay, too: the source closes the connection when it has both. */
static void
goodbye(struct lv_target *t, uint64_t us)
{
    uint64_t until = clock_mono_us() + us;
    bool gone = false;

    while (!gone && clock_mono_us() < until) {
        struct relay_msg msg = {0};

        if (next(t, LV_TARGET_SOON_US, &msg))
            relay_msg_done(&msg);
        pthread_mutex_lock(&t->mu);
        gone = t->peer_gone || t->stop;
        pthread_mutex_unlock(&t->mu);
    }
}

static int
say(struct lv_target *t, struct relay_msg *m, struct err *err)
{
    AUTO_SB struct sb out = SB_INIT;

    m->generation = t->cfg.ident.generation;
    relay_msg_encode(m, &out);
    return relay_target_send(t->relay, out.buf, out.len, err);
}

static void
say_error(struct lv_target *t, const struct err *why)
{
    struct relay_msg m = {.type = RELAY_MSG_ERROR};

    snprintf(m.text, sizeof m.text, "%.500s", err_msg(why));
    (void)say(t, &m, NULL);
}

static bool
next(struct lv_target *t, uint64_t wait_us, struct relay_msg *ret)
{
    uint64_t until = clock_mono_us() + wait_us;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};
    bool have;

    pthread_mutex_lock(&t->mu);
    while (t->queued == 0 && !t->stop && !t->peer_gone &&
           pthread_cond_timedwait(&t->cond, &t->mu, &ts) == 0)
        ;
    if (t->queued == 0 && t->peer_gone) /* nothing wakes us until somebody comes, or time */
        pthread_cond_timedwait(&t->cond, &t->mu, &ts);
    have = t->queued > 0;
    if (have) {
        *ret = t->queue[0];
        memmove(t->queue, t->queue + 1, --t->queued * sizeof *t->queue);
    }
    pthread_mutex_unlock(&t->mu);
    return have;
}

static int
handle(struct lv_target *t, struct relay_msg *m, struct err *err)
{
    bool before = t->state == LV_T_WAITING || t->state == LV_T_MIGRATING;

    switch (m->type) {
    case RELAY_MSG_CHECK:
        if (t->state == LV_T_WAITING)
            return on_check(t, m, err);
        break;
    case RELAY_MSG_FINISH:
        if (t->state == LV_T_MIGRATING)
            return on_finish(t, m, err);
        break;
    case RELAY_MSG_COMMIT:
        if (t->state == LV_T_PREPARED)
            return on_commit(t, m, err);
        if (t->state == LV_T_POSTCOPY)
            return GO_ON; /* said with each Finish, and one that goes on ends with one, too */
        break;
    case RELAY_MSG_ABORT:
        if (!before && t->state != LV_T_PREPARED)
            break;
        err_set(err, -ECANCELED, "%s", m->text[0] ? m->text : "the source ended it");
        (void)lv_target_clean(t, NULL);
        return before ? MIG_TARGET_FAILED : MIG_TARGET_ABORTED;
    case RELAY_MSG_QUESTION:
        if (!before)
            return on_question(t, m, err);
        break;
    default:
        break;
    }
    err_set(err, -EPROTO, "%s from the source out of turn", relay_msg_name(m->type));
    if (!before) { /* what was recorded stands: another connection may make sense */
        say_error(t, err);
        if (t->cfg.noted)
            t->cfg.noted(t->cfg.ctx, err_msg(err));
        return GO_ON;
    }
    return fail(t, err);
}

/* Between messages: clocks, ends, and the domain in post-copy. */
static int
look_around(struct lv_target *t, struct err *err)
{
    uint64_t now = clock_mono_us();
    struct relay_stats rs;
    bool gone, stop, lost;
    enum lv_here what;

    relay_target_stats(t->relay, &rs);
    pthread_mutex_lock(&t->mu);
    t->stats.sent_bytes = rs.sent_bytes + rs.received_bytes;
    t->stats.cpu_us = rs.cpu_us;
    t->stats.channels = rs.opened;
    t->stats.encrypted = rs.encrypted;
    t->stats.transport = MIG_TRANSPORT_TCP;
    memcpy(t->stats.suite, rs.suite, sizeof t->stats.suite);
    t->stats.path_mtu_bytes = rs.path_mtu_bytes;
    gone = t->peer_gone;
    stop = t->stop;
    lost = t->source_lost;
    pthread_mutex_unlock(&t->mu);
    switch (t->state) {
    case LV_T_WAITING:
        if (now > t->deadline_us)
            return err_set(err, -ETIMEDOUT, "the source did not come"), MIG_TARGET_FAILED;
        if (stop)
            return err_set(err, -ECANCELED, "an end was asked for"), MIG_TARGET_FAILED;
        return GO_ON;
    case LV_T_MIGRATING:
        if (stop)
            err_set(err, -ECANCELED, "an end was asked for");
        else if (gone)
            err_set(err, -ENOTCONN, "the source is gone: %s", err_msg(&t->broken));
        else
            return GO_ON;
        return fail(t, err);
    case LV_T_PREPARED:
        if (!stop)
            return GO_ON;
        err_set(err, -ECANCELED, "an end was asked for");
        return MIG_TARGET_IN_DOUBT;
    case LV_T_SWITCHING:
    case LV_T_POSTCOPY:
        break;
    }
    what = lv_target_look(t, err);
    if (t->state == LV_T_SWITCHING) {
        struct relay_msg m = {.type = RELAY_MSG_RUNNING};
        int rc;

        if (stop)
            return MIG_TARGET_IN_DOUBT;
        if (what != LV_HERE_PARTLY && what != LV_HERE_RUNS)
            return GO_ON; /* libvirt has not been asked to finish, or never is: a QUESTION follows */
        rc = t->cfg.committed(t->cfg.ctx, err);
        if (rc != 0) {
            if (t->cfg.noted)
                t->cfg.noted(t->cfg.ctx, err_msg(err));
            return GO_ON; /* it runs: tried again */
        }
        (void)FAULT(DST_COMMIT_RECORDED);
        lv_guest_arrived(t->g);
        t->state = LV_T_POSTCOPY;
        t->postcopy_us = now;
        pthread_mutex_lock(&t->mu);
        t->stats.mode = MIG_MODE_POSTCOPY;
        t->stats.downtime.commit_us = clock_mono_us() - t->commit_at_us;
        m.commit_us = t->stats.downtime.commit_us;
        pthread_mutex_unlock(&t->mu);
        (void)FAULT(DST_RUNNING);
        (void)say(t, &m, NULL);
        if (what == LV_HERE_PARTLY && t->cfg.running)
            t->cfg.running(t->cfg.ctx);
    }
    if (stop)
        return err_set(err, -ECANCELED, "an end was asked for"), MIG_TARGET_IN_DOUBT;
    if (lost && what == LV_HERE_PARTLY) {
        err_set(err, -EIO, "the source's memory is lost, and QEMU cannot go on without it: ended");
        (void)lv_target_clean(t, NULL);
        return MIG_TARGET_RUNNING;
    }
    if (what == LV_HERE_PARTLY || what == LV_HERE_NOT_KNOWN)
        return GO_ON;

    struct relay_msg m = {.type = RELAY_MSG_COMPLETE};

    (void)FAULT(DST_POSTCOPY_COMPLETE);
    t->stats.postcopy_us = now - t->postcopy_us;
    (void)unlink(t->cfg.state_path);
    (void)say(t, &m, NULL);
    return MIG_TARGET_RUNNING;
}

static int
on_check(struct lv_target *t, const struct relay_msg *m, struct err *err)
{
    struct relay_msg answer = {.type = RELAY_MSG_READY};
    struct hv_refusal why = {0};
    int rc = lv_target_check(t, m, &why, err);

    if (rc == 0 && m->disks_len > 0) {
        struct relay_target_config c;

        fill(t, &c);
        c.message = on_disk_message;
        c.broken = on_disk_broken;
        lv_target_path(t, ".none", c.rpc_path);
        lv_target_path(t, ".disk", c.data_path);
        rc = relay_target_new(&c, &t->disks, err);
        if (rc == 0) {
            snprintf(answer.disk_address, sizeof answer.disk_address, "%s",
                     relay_target_address(t->disks));
        } else {
            snprintf(why.reason, sizeof why.reason, "DiskRelay");
            snprintf(why.text, sizeof why.text, "%.500s", err_msg(err));
        }
    }
    if (rc != 0) {
        answer.type = RELAY_MSG_REFUSED;
        snprintf(answer.reason, sizeof answer.reason, "%.63s", why.reason);
        snprintf(answer.text, sizeof answer.text, "%.511s", why.text);
        (void)say(t, &answer, NULL);
        return MIG_TARGET_FAILED;
    }
    snprintf(answer.directory, sizeof answer.directory, "%s", lv_guest_dir(t->g));
    gethostname(answer.host, sizeof answer.host - 1);
    t->stats.total_bytes = m->memory_bytes;
    t->paused = m->paused;
    t->state = LV_T_MIGRATING;
    rc = say(t, &answer, err);
    return rc == 0 ? GO_ON : MIG_TARGET_FAILED;
}

static int
on_finish(struct lv_target *t, const struct relay_msg *m, struct err *err)
{
    struct relay_msg answer = {.type = RELAY_MSG_PREPARED};
    enum lv_here what = lv_target_look(t, err);
    int rc = 0;

    if (what != LV_HERE_WHOLE && !(m->post_copy && what == LV_HERE_INCOMING))
        rc = err_set(err, -ESRCH, "the guest is not whole here");
    if (rc == 0 && FAULT(DST_STATE))
        rc = err_set(err, -EIO, "the guest is not whole here (fault point)");
    if (rc == 0 && m->post_copy && t->cfg.state_path[0]) {
        /* There, and whoever takes over knows that memory may be missing. */
        AUTO_FD int fd = open(t->cfg.state_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (fd < 0 || fsync(fd) != 0)
            rc = err_set(err, -errno, "%s: %s", t->cfg.state_path, strerror(errno));
    }
    if (rc == 0)
        rc = t->cfg.prepared(t->cfg.ctx, err);
    if (rc != 0)
        return fail(t, err);
    t->state = LV_T_PREPARED;
    (void)FAULT(DST_PREPARED);
    (void)say(t, &answer, NULL); /* not heard: the source asks */
    return GO_ON;
}

/* Whole, and ours: recorded, and it runs. */
static int
take_over(struct lv_target *t, bool paused, struct relay_msg *answer, struct err *err)
{
    uint64_t began = clock_mono_us(), recorded;
    int rc = t->cfg.committed(t->cfg.ctx, err);

    if (rc != 0)
        return rc;
    recorded = clock_mono_us();
    (void)FAULT(DST_COMMIT_RECORDED);
    if (t->cfg.state_path[0])
        (void)unlink(t->cfg.state_path);
    if (!paused)
        rc = lv_target_resume(t, err);
    answer->commit_us = recorded - began;
    answer->resume_us = clock_mono_us() - recorded;
    pthread_mutex_lock(&t->mu);
    t->stats.downtime.commit_us = answer->commit_us;
    t->stats.downtime.resume_us = answer->resume_us;
    pthread_mutex_unlock(&t->mu);
    if (rc != 0)
        return rc;
    lv_guest_arrived(t->g);
    (void)FAULT(DST_RUNNING);
    return 0;
}

static int
on_commit(struct lv_target *t, const struct relay_msg *m, struct err *err)
{
    struct relay_msg answer = {.type = RELAY_MSG_RUNNING};

    if (FAULT(DST_COMMIT_RECEIVED))
        return GO_ON; /* as if it had been lost */
    t->commit_at_us = clock_mono_us();
    if (m->post_copy) {
        t->state = LV_T_SWITCHING;
        return GO_ON;
    }
    if (take_over(t, m->paused, &answer, err) != 0) {
        if (t->cfg.noted)
            t->cfg.noted(t->cfg.ctx, err_msg(err));
        return GO_ON; /* the source asks until it is known */
    }
    (void)say(t, &answer, NULL);
    return MIG_TARGET_RUNNING;
}

static int
on_question(struct lv_target *t, const struct relay_msg *m, struct err *err)
{
    struct relay_msg answer = {.type = RELAY_MSG_ANSWER, .answer = RELAY_MSG_ANSWER_WAIT};
    enum lv_here what = lv_target_look(t, err);
    bool ran = t->state == LV_T_POSTCOPY;
    int ret = GO_ON;

    if (what == LV_HERE_NONE && !ran) {
        ret = never(t, err);
        answer.answer = ret == GO_ON ? RELAY_MSG_ANSWER_WAIT : RELAY_MSG_ANSWER_NEVER;
    } else if (what == LV_HERE_NONE || what == LV_HERE_RUNS || what == LV_HERE_PARTLY) {
        if (ran || take_over(t, true, &answer, err) == 0) { /* it runs: nothing to resume */
            answer.answer = RELAY_MSG_ANSWER_RUNNING;
            answer.incomplete = what == LV_HERE_PARTLY;
            if (answer.incomplete && !ran) {
                t->state = LV_T_POSTCOPY;
                t->postcopy_us = clock_mono_us();
                if (t->cfg.running)
                    t->cfg.running(t->cfg.ctx);
            }
            if (!answer.incomplete && !ran)
                ret = MIG_TARGET_RUNNING;
        }
    } else if (m->withdraw && !ran && (what == LV_HERE_WHOLE || what == LV_HERE_INCOMING)) {
        ret = never(t, err);
        answer.answer = ret == GO_ON ? RELAY_MSG_ANSWER_WAIT : RELAY_MSG_ANSWER_NEVER;
    } else if (what == LV_HERE_WHOLE && !m->withdraw) {
        if (take_over(t, m->paused, &answer, err) == 0) {
            answer.answer = RELAY_MSG_ANSWER_RUNNING;
            ret = MIG_TARGET_RUNNING;
        }
    }
    (void)say(t, &answer, NULL);
    return ret;
}

/* Durably: it will not run here. What is left of it goes first. */
static int
never(struct lv_target *t, struct err *err)
{
    if (lv_target_clean(t, err) != 0 || t->cfg.never(t->cfg.ctx, err) != 0) {
        if (t->cfg.noted)
            t->cfg.noted(t->cfg.ctx, err_msg(err));
        return GO_ON;
    }
    if (t->cfg.state_path[0])
        (void)unlink(t->cfg.state_path);
    err_set(err, -ENOENT, "the guest did not get here");
    return MIG_TARGET_FAILED;
}

static int
fail(struct lv_target *t, struct err *err)
{
    struct err why = {0};

    say_error(t, err); /* the reason first: the source's libvirt will only see streams that break */
    if (lv_target_clean(t, &why) != 0)
        err_prefix(err, err->code, "%s", err_msg(&why));
    return MIG_TARGET_FAILED;
}

/* --- from other threads --- */

const char *
lv_target_address(const struct mover_target *m)
{
    return relay_target_address(((const struct lv_target *)m)->relay);
}

const char *
lv_target_fallback_address(const struct mover_target *m)
{
    return relay_target_fallback_address(((const struct lv_target *)m)->relay);
}

int
lv_target_relisten(struct mover_target *m, const char *ip, const char *device, bool trusted,
                   const char *fallback_ip, struct err *err)
{
    (void)trusted; /* a relay is TCP always */
    return relay_target_relisten(of(m)->relay, ip, device, fallback_ip, err);
}

void
lv_target_stop(struct mover_target *m)
{
    struct lv_target *t = of(m);

    pthread_mutex_lock(&t->mu);
    t->stop = true;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mu);
}

void
lv_target_source_lost(struct mover_target *m)
{
    struct lv_target *t = of(m);

    pthread_mutex_lock(&t->mu);
    t->source_lost = true;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mu);
}

size_t
lv_target_damage(struct mover_target *m, struct mig_range *ret, size_t max)
{
    (void)m; /* QEMU does not go on with damaged memory: the guest was ended */
    (void)ret;
    (void)max;
    return 0;
}

void
lv_target_stats(struct mover_target *m, struct mig_stats *ret)
{
    struct lv_target *t = of(m);

    pthread_mutex_lock(&t->mu);
    *ret = t->stats;
    pthread_mutex_unlock(&t->mu);
}
