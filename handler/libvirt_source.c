/* The source's end of a relayed migration: asks the target, lets libvirt migrate, and commits between
 * libvirt's "it is there" and its end of the guest here. Order: libvirt_mover.h; facts that it rests on:
 * docs/decisions/0008-relay-commit.md. */
#include "handler/libvirt_source_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "handler/libvirt_cpu.h"

static int prepare(struct lv_source *s, enum mig_cause *ret_cause, struct err *err);
static int await_no_job(struct lv_source *s, struct err *err);
static int check_target(struct lv_source *s, const char *xml, struct err *err);
static bool give_up(struct lv_source *s, uint64_t now, uint64_t *since, int *step);
static enum mig_outcome after(struct lv_source *s, int rc, enum mig_cause *ret_cause,
                              struct err *err);
static bool finish_call(void *ctx, bool cancelled, uint32_t *flags);
static bool finish_answer(void *ctx);
static void finished(void *ctx, bool delivered);
static void on_event(void *ctx, virDomainPtr dom, const struct libvirt_event *ev);
static void finish_stats(struct lv_source *s);

static struct lv_source *
of(struct mover_source *m)
{
    return (struct lv_source *)m;
}

struct mover_source *
lv_source_new(const struct mig_source_config *cfg, struct hv_guest *g)
{
    struct lv_source *s = xcalloc(1, sizeof *s);
    pthread_condattr_t attr;

    s->head.mover = &mover_relay;
    s->cfg = s->place = *cfg;
    s->bandwidth = cfg->limits.bandwidth_bytes_per_s;
    s->guest = g;
    s->g = (struct lv_guest *)g;
    s->lv = g ? lv_guest_conn(s->g) : NULL;
    s->api = libvirt_api(NULL);
    s->committed = cfg->recovering;
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (cfg->recovering)
        s->stats.mode = MIG_MODE_POSTCOPY;
    if (cfg->policy.transport == MIG_TRANSPORT_RDMA)
        snprintf(s->stats.transport_why, sizeof s->stats.transport_why,
                 "QEMU sends this guest's memory itself, and its stream is relayed over TCP");
    return &s->head;
}

void
lv_source_free(struct mover_source *m)
{
    struct lv_source *s = of(m);

    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

enum mig_outcome
lv_source_run(struct mover_source *m, enum mig_cause *ret_cause, struct err *err)
{
    struct lv_source *s = of(m);
    enum mig_outcome outcome;
    int rc;

    *ret_cause = MIG_CAUSE_NONE;
    lv_guest_migrating(s->g, true);
    libvirt_subscribe(s->lv, lv_guest_uuid(s->g), on_event, s);
    s->stats.started_us = clock_mono_us();
    s->stats.total_bytes = s->guest->ops->memory_bytes(s->guest);
    if (s->cfg.recovering) {
        outcome = lv_source_settle(s, false, err);
    } else {
        (void)FAULT(SRC_CONNECT);
        rc = prepare(s, ret_cause, err);
        if (rc == 0) {
            rc = lv_source_begin(s, false, err);
            if (rc == 0)
                rc = lv_source_wait(s, err);
        }
        outcome = after(s, rc, ret_cause, err);
    }
    lv_call_let_go(s);
    lv_gate_free(s->gate);
    s->gate = NULL;
    lv_link_close(s);
    libvirt_unsubscribe(s->lv, lv_guest_uuid(s->g), on_event, s);
    if (s->dom)
        s->api->virDomainFree(s->dom);
    if (s->conn)
        s->api->virConnectClose(s->conn);
    s->dom = NULL;
    s->conn = NULL;
    s->stats.finished_us = clock_mono_us();
    if (outcome != MIG_UNKNOWN)
        lv_guest_migrating(s->g, false);
    if (outcome == MIG_MOVED) {
        *ret_cause = MIG_CAUSE_NONE;
        *err = (struct err){0};
        finish_stats(s);
    }
    return outcome;
}

/* --- before libvirt begins --- */

int
lv_source_attach(struct lv_source *s, struct err *err)
{
    if (s->dom)
        s->api->virDomainFree(s->dom);
    if (s->conn)
        s->api->virConnectClose(s->conn);
    s->dom = NULL;
    s->conn = libvirt_wait(s->lv, HV_CALL_US, err);
    if (!s->conn)
        return err_prefix(err, -ENOTCONN, "libvirt on this node");
    s->dom = s->api->virDomainLookupByUUID(s->conn, lv_guest_uuid(s->g));
    return s->dom ? 0 : libvirt_error(err, "the domain");
}

static int
prepare(struct lv_source *s, enum mig_cause *ret_cause, struct err *err)
{
    AUTO_FREE char *xml = NULL;
    int state, reason, rc;

    *ret_cause = MIG_CAUSE_GUEST;
    rc = lv_source_attach(s, err);
    if (rc == 0)
        rc = await_no_job(s, err); /* which may have paused the guest */
    if (rc == 0 && s->api->virDomainGetState(s->dom, &state, &reason, 0) < 0)
        rc = libvirt_error(err, "the domain");
    if (rc != 0) {
        if (rc == -ENOTCONN)
            *ret_cause = MIG_CAUSE_LOCAL;
        return rc;
    }
    if (state != VIR_DOMAIN_RUNNING && state != VIR_DOMAIN_PAUSED && state != VIR_DOMAIN_BLOCKED)
        return err_set(err, -ESRCH, "the domain does not run");
    s->user_paused = state == VIR_DOMAIN_PAUSED;
    xml = s->api->virDomainGetXMLDesc(s->dom, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE);
    if (!xml)
        return libvirt_error(err, "the domain's XML");
    rc = lv_link_open(s, ret_cause, err);
    if (rc != 0)
        return rc;
    *ret_cause = MIG_CAUSE_PEER;
    rc = check_target(s, xml, err);
    if (rc == 0 && s->disk_copy)
        rc = lv_link_open_disks(s, ret_cause, err);
    if (s->cause != MIG_CAUSE_NONE) {
        *ret_cause = s->cause;
        *err = s->err;
    }
    return rc;
}

/* libvirt goes on for a moment with what a handler before this one has begun, until it sees that nobody carries
 * it any more, and takes no other migration meanwhile. */
static int
await_no_job(struct lv_source *s, struct err *err)
{
    uint64_t until = clock_mono_us() + LV_ABORT_US;
    bool end = false;

    while (!end && lv_source_has_job(s->api, s->dom)) {
        if (clock_mono_us() >= until)
            return err_set(err, -EBUSY, "libvirt is at work on the guest for something else");
        poll(NULL, 0, LV_LOOK_AGAIN_US / 1000);
        pthread_mutex_lock(&s->mu);
        end = s->cancel || s->stop;
        pthread_mutex_unlock(&s->mu);
    }
    return end ? err_set(err, -ECANCELED, "an end was asked for") : 0;
}

/* The value of an attribute of the first such element of what libvirt itself has written. */
static void
attribute(const char *xml, const char *element, const char *name, char *out, size_t size)
{
    const char *at = strstr(xml, element), *end = at ? strchr(at, '>') : NULL, *v;
    char key[32];
    size_t n;

    snprintf(key, sizeof key, " %s='", name);
    v = at ? strstr(at, key) : NULL;
    if (!v || v > end)
        return;
    v += strlen(key);
    n = strcspn(v, "'");
    if (n < size) {
        memcpy(out, v, n);
        out[n] = '\0';
    }
}

static int
check_target(struct lv_source *s, const char *xml, struct err *err)
{
    struct relay_msg m = {.type = RELAY_MSG_CHECK,
                          .memory_bytes = s->stats.total_bytes,
                          .post_copy = s->cfg.policy.allow_post_copy,
                          .paused = s->user_paused};
    unsigned long lib = 0, hypervisor = 0;
    char text[MIG_DECISION_TEXT];
    unsigned channels = mig_channels(s->cfg.channels);
    int rc = lv_cpu_needed(s->lv, xml, &m.cpu_xml, err);

    if (rc != 0)
        return rc;
    libvirt_versions(s->lv, &lib, &hypervisor);
    m.libvirt_version = lib;
    m.hypervisor_version = hypervisor;
    attribute(xml, "<domain ", "type", m.virt_type, sizeof m.virt_type);
    attribute(xml, "<type ", "arch", m.arch, sizeof m.arch);
    attribute(xml, "<type ", "machine", m.machine, sizeof m.machine);
    lv_link_path(s, ".sock", m.data_path);
    m.disks_len = lv_guest_disks_to_copy(s->g, m.disks, RELAY_MSG_MAX_DISKS);
    s->disk_copy = m.disks_len > 0;
    /* QEMU before 9 cannot switch to post-copy with more than one channel. */
    s->parallel = channels > 1 && !s->cfg.policy.allow_post_copy;
    rc = lv_link_send(s, &m, err);
    if (rc == 0)
        rc = lv_link_await(s, &s->ready, LV_CHECK_US, "the target does not say that it is ready",
                           err);
    relay_msg_done(&m);
    if (rc != 0)
        return rc;
    snprintf(text, sizeof text, "relay: libvirt %lu.%lu, QEMU %lu.%lu migrate to %s, %s%s%s%s",
             lib / 1000000, lib / 1000 % 1000, hypervisor / 1000000, hypervisor / 1000 % 1000,
             s->peer.host, s->parallel ? "over several channels" : "over one channel",
             s->cfg.policy.allow_post_copy ? ", post-copy allowed" : "",
             s->cfg.policy.allow_auto_converge ? ", auto-converge" : "",
             s->disk_copy ? ", disks are copied" : "");
    lv_source_say(s, text);
    return 0;
}

int
lv_source_begin(struct lv_source *s, bool resume, struct err *err)
{
    struct lv_gate_config gate = {
        .finish_call = finish_call, .finish_answer = finish_answer, .finished = finished, .ctx = s};
    struct lv_watch_config watch = {.total_bytes = s->stats.total_bytes,
                                    .limits = s->cfg.limits,
                                    .policy = s->cfg.policy,
                                    .can_post_copy = s->cfg.policy.allow_post_copy,
                                    .seed = s->cfg.ident.generation,
                                    .link_bytes_per_s = s->cfg.link_estimate_bytes_per_s};
    uint64_t budget_ms = s->cfg.limits.max_downtime_us ? s->cfg.limits.max_downtime_us / 1000 : 300;
    char say[MIG_DECISION_TEXT];
    int rc;

    lv_link_path(s, ".gate", gate.path);
    lv_link_path(s, ".rpc", gate.onward);
    rc = lv_gate_new(&gate, &s->gate, err);
    if (rc != 0)
        return rc;
    /* Not while it is not migrated, says an older libvirt: then its default holds, 300 ms as well. */
    if (!resume &&
        s->api->virDomainMigrateSetMaxDowntime(s->dom, budget_ms ? budget_ms : 1, 0) < 0) {
        struct err why = {0};

        libvirt_error(&why, "libvirt does not take the downtime budget");
        lv_source_say(s, err_msg(&why));
    }
    lv_watch_init(&s->watch, &watch, clock_mono_us(), say);
    if (!resume)
        lv_source_say(s, say);
    s->watch.post_copy = resume;
    return lv_call_start(s, resume, err);
}

/* --- while it migrates --- */

int
lv_source_wait(struct lv_source *s, struct err *err)
{
    uint64_t since = 0, now = clock_mono_us(), tick = now;
    int rc = 0, step = 0;

    while (!lv_call_ended(s, &rc, err)) {
        struct timespec ts;

        now = clock_mono_us();
        if (now >= tick) {
            lv_call_watch(s, now);
            tick = clock_mono_us() + LV_WATCH_US;
        }
        if (give_up(s, now, &since, &step))
            return err_set(err, -ETIMEDOUT, "libvirt does not end the migration");
        now += LV_WATCH_US / 4;
        ts.tv_sec = (time_t)(now / 1000000);
        ts.tv_nsec = (long)(now % 1000000) * 1000;
        pthread_mutex_lock(&s->mu);
        pthread_cond_timedwait(&s->cond, &s->mu, &ts);
        pthread_mutex_unlock(&s->mu);
    }
    return rc;
}

/* Ends libvirt's call where that is wanted: asks, then cuts what it goes over. True: it hangs. */
static bool
give_up(struct lv_source *s, uint64_t now, uint64_t *since, int *step)
{
    bool cancel, lost, trouble, committing, committed, complete;
    struct err err = {0};

    pthread_mutex_lock(&s->mu);
    cancel = s->cancel;
    committing = s->committing;
    committed = s->committed;
    complete = s->complete;
    lost = s->peer_gone || (s->stop && s->post_copy);
    trouble = s->cause != MIG_CAUSE_NONE;
    pthread_mutex_unlock(&s->mu);
    if (!committed && !lost && !s->post_copy && lv_gate_waits_us(s->gate, now) > LV_RPC_ANSWER_US) {
        err_set(&err, -ETIMEDOUT, "libvirt on the target does not answer for %u s",
                LV_RPC_ANSWER_US / 1000000);
        lv_source_trouble(s, MIG_CAUSE_PEER, -ETIMEDOUT, &err);
        lost = true;
    }
    if (lost && !trouble && !committed) {
        pthread_mutex_lock(&s->mu);
        err = s->broken;
        pthread_mutex_unlock(&s->mu);
        lv_source_trouble(s, MIG_CAUSE_PEER, -ENOTCONN, &err);
    }
    if (committing && !committed)
        return false;
    if (committed && !(lost && s->post_copy)) {
        if (s->post_copy && !complete)
            return false; /* as long as it takes */
        *since = *since ? *since : now;
        return now - *since > LV_CONFIRM_US;
    }
    if (!committed && !cancel && !trouble && !lost)
        return false;
    *since = *since ? *since : now;
    if (!committed && *step == 0) {
        /* Refused before the job has begun, and after its end: asked again. */
        if (!lost)
            s->api->virDomainAbortJob(s->dom);
        if (lost || now - *since > LV_ABORT_US)
            *step = 1;
    }
    if (*step == 0 && committed)
        *step = 1;
    if (*step == 1) {
        lv_link_cut(s);
        *step = 2;
    }
    return now - *since > 3 * (uint64_t)LV_ABORT_US;
}

/* The gate's thread: libvirt asks the target to finish. */
static bool
finish_call(void *ctx, bool cancelled, uint32_t *flags)
{
    struct lv_source *s = ctx;
    int state = 0, reason = 0;
    bool post_copy;

    if (cancelled)
        return true;
    pthread_mutex_lock(&s->mu);
    post_copy = s->post_copy;
    s->paused_us = s->paused_us ? s->paused_us : clock_mono_us();
    pthread_mutex_unlock(&s->mu);
    (void)FAULT(SRC_PAUSED);
    /* It may have ended as pre-copy just before it was told to switch. */
    if (post_copy && s->api->virDomainGetState(s->dom, &state, &reason, 0) == 0)
        post_copy = state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
                                                   reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED);
    pthread_mutex_lock(&s->mu);
    s->finishing = true;
    s->switched = post_copy;
    pthread_mutex_unlock(&s->mu);
    if (!post_copy) {
        *flags |= VIR_MIGRATE_PAUSED; /* until both handlers have recorded it */
        return true;
    }
    if (!s->committed)
        return false;

    struct relay_msg m = {.type = RELAY_MSG_COMMIT, .post_copy = true, .paused = s->user_paused};

    s->commit_sent = lv_link_send(s, &m, NULL) == 0;
    (void)FAULT(SRC_COMMIT_SENT);
    return true;
}

/* The gate's thread: the domain is at the target, whole and paused, or (post-copy) runs there. libvirt
 * here waits for this before it ends the guest. */
static bool
finish_answer(void *ctx)
{
    struct lv_source *s = ctx;
    enum mig_cause cause;
    struct err err = {0};
    int rc;

    if (s->switched || s->committed)
        return true;
    (void)FAULT(SRC_STATE_SENT);
    rc = lv_link_commit(s, &cause, &err);
    if (rc != 0)
        lv_source_trouble(s, cause, rc, &err);
    return rc == 0;
}

static void
finished(void *ctx, bool delivered)
{
    struct lv_source *s = ctx;
    struct relay_msg m = {.type = RELAY_MSG_COMMIT, .paused = s->user_paused};

    /* Not delivered: libvirt has given up meanwhile, and lets the guest run here. */
    if (!s->switched && delivered && lv_link_send(s, &m, NULL) == 0) {
        s->commit_sent = true;
        (void)FAULT(SRC_COMMIT_SENT);
    }
    pthread_mutex_lock(&s->mu);
    s->released = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

/* libvirt's thread. */
static void
on_event(void *ctx, virDomainPtr dom, const struct libvirt_event *ev)
{
    struct lv_source *s = ctx;

    (void)dom;
    if (ev->kind != LIBVIRT_EVENT_LIFECYCLE || ev->event != VIR_DOMAIN_EVENT_SUSPENDED ||
        (ev->detail != VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED &&
         ev->detail != VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY))
        return;
    pthread_mutex_lock(&s->mu);
    if (!s->paused_us)
        s->paused_us = clock_mono_us();
    if (!s->stats.paused_us)
        s->stats.paused_us = s->paused_us;
    pthread_mutex_unlock(&s->mu);
}

/* --- what became of it --- */

static enum mig_outcome
after(struct lv_source *s, int rc, enum mig_cause *ret_cause, struct err *err)
{
    struct relay_msg m = {.type = RELAY_MSG_ABORT};
    struct err why = {0};

    pthread_mutex_lock(&s->mu);
    while (s->committing && !s->committed) /* on the gate's thread, by a record on disk */
        pthread_cond_wait(&s->cond, &s->mu);
    s->closed = !s->committed; /* from now on it cannot be any more */
    pthread_mutex_unlock(&s->mu);
    if (s->committed) {
        if (rc == 0) /* libvirt may be done before the gate's thread is */
            lv_link_await(s, &s->released, LV_GATE_READ_US, "", &why);
        if (s->commit_sent &&
            lv_link_await(s, &s->running, rc == 0 ? LV_RUNNING_US : 1, "the target is silent",
                          &why) == 0 &&
            (rc == 0 || !s->switched)) {
            lv_source_silence(s);
            return MIG_MOVED;
        }
        if (rc == 0)
            *err = why;
        *ret_cause = MIG_CAUSE_PEER;
        return s->switched && !s->stop ? lv_source_settle(s, false, err) : MIG_UNKNOWN;
    }
    if (rc != 0 && s->call && s->cause == MIG_CAUSE_NONE && !s->cancel)
        lv_link_await(s, &s->peer_gone, LV_REASON_US, "", &why); /* the target's own words */
    if (s->cause != MIG_CAUSE_NONE) { /* why it was ended, rather than that it was */
        *ret_cause = s->cause;
        *err = s->err;
    } else if (s->cancel) {
        *ret_cause = MIG_CAUSE_CANCELLED;
        err_set(err, -ECANCELED, "cancelled");
    } else if (s->broken.code) {
        *ret_cause = MIG_CAUSE_PEER;
        err_prefix(err, rc, "%s", err_msg(&s->broken));
    } else if (rc == 0) {
        *ret_cause = MIG_CAUSE_LOCAL;
        err_set(err, -EPROTO, "libvirt has migrated the guest past this handler");
    } else if (s->call) {
        *ret_cause = rc == -ENOTCONN ? MIG_CAUSE_LOCAL : MIG_CAUSE_GUEST;
    }
    pthread_mutex_lock(&s->mu);
    if (s->network_why[0] && (*ret_cause == MIG_CAUSE_PEER || *ret_cause == MIG_CAUSE_CONNECT))
        err_prefix(err, err->code, "this node's migration network: %s", s->network_why);
    pthread_mutex_unlock(&s->mu);
    snprintf(m.text, sizeof m.text, "%.500s", err_msg(err));
    (void)lv_link_send(s, &m, NULL);
    lv_link_cut(s);
    lv_source_restore(s);
    return MIG_FAILED;
}

static void
finish_stats(struct lv_source *s)
{
    char text[MIG_DECISION_TEXT];

    if (!s->stats.downtime_us)
        return;
    snprintf(
        text, sizeof text,
        "moved: the guest stood still for %.1f ms (commit %.1f, resume %.1f, the rest is QEMU's "
        "and libvirt's); predicted %.1f ms; %.2f s in all",
        (double)s->stats.downtime_us / 1e3, (double)s->stats.downtime.commit_us / 1e3,
        (double)s->stats.downtime.resume_us / 1e3, (double)s->stats.predicted_downtime_us / 1e3,
        (double)(s->stats.finished_us - s->stats.started_us) / 1e6);
    lv_source_say(s, text);
}

int
lv_source_trouble(struct lv_source *s, enum mig_cause cause, int rc, const struct err *why)
{
    pthread_mutex_lock(&s->mu);
    if (s->cause == MIG_CAUSE_NONE) {
        s->cause = cause;
        s->err = *why;
        if (!s->err.code)
            s->err.code = rc;
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    return rc;
}

void
lv_source_say(struct lv_source *s, const char *text)
{
    struct mig_decision d = {.at_us = clock_mono_us() - s->stats.started_us,
                             .round = s->stats.round};

    if (!s->cfg.decided)
        return;
    snprintf(d.text, sizeof d.text, "%s", text);
    s->cfg.decided(s->cfg.ctx, &d);
}

/* --- from other threads --- */

bool
lv_source_cancel(struct mover_source *m)
{
    struct lv_source *s = of(m);
    bool in_time;

    pthread_mutex_lock(&s->mu);
    in_time = !s->committing && !s->committed;
    s->cancel = s->cancel || in_time;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    return in_time;
}

void
lv_source_stop(struct mover_source *m)
{
    struct lv_source *s = of(m);

    pthread_mutex_lock(&s->mu);
    s->stop = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

void
lv_source_redirect(struct mover_source *m, const char *addr, const char *fallback_addr)
{
    struct lv_source *s = of(m);

    pthread_mutex_lock(&s->mu);
    if (addr)
        snprintf(s->place.target_addr, sizeof s->place.target_addr, "%s", addr);
    if (fallback_addr)
        snprintf(s->place.fallback_addr, sizeof s->place.fallback_addr, "%s", fallback_addr);
    pthread_mutex_unlock(&s->mu);
}

void
lv_source_rebind(struct mover_source *m, const char *local_ip, const char *device, bool trusted,
                 const char *why)
{
    struct lv_source *s = of(m);

    (void)trusted; /* a relay is TCP always */
    pthread_mutex_lock(&s->mu);
    if (local_ip)
        snprintf(s->place.local_ip, sizeof s->place.local_ip, "%s", local_ip);
    if (device)
        snprintf(s->place.bind_device, sizeof s->place.bind_device, "%s", device);
    snprintf(s->network_why, sizeof s->network_why, "%s", why);
    pthread_mutex_unlock(&s->mu);
}

void
lv_source_set_bandwidth(struct mover_source *m, uint64_t bytes_per_s)
{
    struct lv_source *s = of(m);

    pthread_mutex_lock(&s->mu);
    s->bandwidth = bytes_per_s;
    if (s->relay) /* it takes no lock that waits for us */
        relay_source_set_bandwidth(s->relay, bytes_per_s);
    if (s->disks)
        relay_source_set_bandwidth(s->disks, bytes_per_s);
    pthread_mutex_unlock(&s->mu);
}

void
lv_source_stats(struct mover_source *m, struct mig_stats *ret)
{
    struct lv_source *s = of(m);

    pthread_mutex_lock(&s->mu);
    *ret = s->stats;
    pthread_mutex_unlock(&s->mu);
}
