/* The source's side of the talk between the two handlers: the relay, what the target says, and the
 * commit. See libvirt_source_int.h, proto/relay_msg.proto. */
#include "handler/libvirt_source_int.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"

static void on_message(void *ctx, const void *msg, size_t len);
static void take(struct lv_source *s, struct relay_msg *m);
static void on_disk_message(void *ctx, const void *msg, size_t len);
static void on_disk_broken(void *ctx, enum relay_kind kind, const struct err *err);
static void on_broken(void *ctx, enum relay_kind kind, const struct err *err);

void
lv_link_path(const struct lv_source *s, const char *suffix, char ret[RELAY_PATH_SIZE])
{
    snprintf(ret, RELAY_PATH_SIZE, LV_MIGRATE_DIR "/%s%s", s->cfg.ident.migration_uid, suffix);
}

/* What both relays have in common: from where, to where, and how. */
static void
fill(struct lv_source *s, struct relay_source_config *c)
{
    *c = (struct relay_source_config){
        .ident = s->cfg.ident,
        .tls = s->cfg.tls,
        .share = s->cfg.share,
        .weight = s->cfg.policy.weight,
        .dead_peer_us = s->cfg.dead_peer_us,
        .ctx = s,
    };
    memcpy(c->tls_peer, s->cfg.tls_peer, sizeof c->tls_peer);
    pthread_mutex_lock(&s->mu);
    memcpy(c->target_addr, s->place.target_addr, sizeof c->target_addr);
    memcpy(c->fallback_addr, s->place.fallback_addr, sizeof c->fallback_addr);
    memcpy(c->local_ip, s->place.local_ip, sizeof c->local_ip);
    memcpy(c->bind_device, s->place.bind_device, sizeof c->bind_device);
    c->bandwidth_bytes_per_s = s->bandwidth;
    pthread_mutex_unlock(&s->mu);
}

int
lv_link_open(struct lv_source *s, enum mig_cause *ret_cause, struct err *err)
{
    struct relay_source_config c;
    struct relay_source *relay;
    int rc = lv_make_dir(err);

    *ret_cause = MIG_CAUSE_LOCAL;
    if (rc != 0)
        return rc;
    fill(s, &c);
    c.urgent_priority = s->cfg.urgent_priority;
    c.urgent_dscp = s->cfg.urgent_dscp;
    c.bulk_streams = s->cfg.policy.allow_post_copy ? 1 : 0;
    c.message = on_message;
    c.broken = on_broken;
    lv_link_path(s, ".rpc", c.rpc_path);
    lv_link_path(s, ".sock", c.data_path);
    pthread_mutex_lock(&s->mu);
    s->ready = s->prepared = s->answered = s->peer_gone = false;
    s->broken = (struct err){0};
    pthread_mutex_unlock(&s->mu);
    rc = relay_source_new(&c, &relay, ret_cause, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&s->mu);
    s->relay = relay;
    pthread_mutex_unlock(&s->mu);
    return 0;
}

int
lv_link_open_disks(struct lv_source *s, enum mig_cause *ret_cause, struct err *err)
{
    struct relay_source_config c;
    struct relay_source *relay;
    int rc;

    fill(s, &c);
    snprintf(c.target_addr, sizeof c.target_addr, "%s", s->peer.disk_address);
    c.fallback_addr[0] = '\0';
    c.message = on_disk_message;
    c.broken = on_disk_broken;
    lv_link_path(s, ".none", c.rpc_path);
    lv_link_path(s, ".disk", c.data_path);
    rc = relay_source_new(&c, &relay, ret_cause, err);
    if (rc != 0)
        return err_prefix(err, rc, "for its disks");
    pthread_mutex_lock(&s->mu);
    s->disks = relay;
    pthread_mutex_unlock(&s->mu);
    return 0;
}

void
lv_link_close(struct lv_source *s)
{
    struct relay_source *relay = s->relay, *disks = s->disks;

    if (!relay)
        return;
    lv_link_stats(s);
    pthread_mutex_lock(&s->mu);
    s->relay = s->disks = NULL;
    s->sent_before = s->stats.sent_bytes;
    s->cpu_before = s->stats.cpu_us;
    s->wait_before = s->stats.shaping_wait_us;
    s->stats.link = MIG_LINK_NONE;
    pthread_mutex_unlock(&s->mu);
    relay_source_free(relay);
    if (disks)
        relay_source_free(disks);
}

void
lv_link_stats(struct lv_source *s)
{
    struct relay_stats rs, ds = {0};

    if (!s->relay)
        return;
    relay_source_stats(s->relay, &rs);
    if (s->disks)
        relay_source_stats(s->disks, &ds);
    pthread_mutex_lock(&s->mu);
    s->stats.sent_bytes = s->sent_before + rs.sent_bytes + ds.sent_bytes;
    s->stats.cpu_us = s->cpu_before + rs.cpu_us + ds.cpu_us;
    s->stats.shaping_wait_us = s->wait_before + rs.shaping_wait_us;
    s->stats.limit_bytes_per_s = rs.limit_bytes_per_s;
    s->stats.channels = rs.opened;
    s->stats.encrypted = rs.encrypted;
    s->stats.transport = MIG_TRANSPORT_TCP;
    memcpy(s->stats.suite, rs.suite, sizeof s->stats.suite);
    s->stats.path_mtu_bytes = rs.path_mtu_bytes;
    s->stats.link = s->peer_gone ? MIG_LINK_NONE : MIG_LINK_MAIN;
    pthread_mutex_unlock(&s->mu);
}

void
lv_link_cut(struct lv_source *s)
{
    if (s->relay)
        relay_source_cut(s->relay);
    if (s->disks)
        relay_source_cut(s->disks);
}

int
lv_link_send(struct lv_source *s, struct relay_msg *m, struct err *err)
{
    AUTO_SB struct sb out = SB_INIT;

    m->generation = s->cfg.ident.generation;
    relay_msg_encode(m, &out);
    if (!s->relay)
        return err_set(err, -ENOTCONN, "there is no connection to the target");
    return relay_source_send(s->relay, out.buf, out.len, err);
}

int
lv_link_await(struct lv_source *s, const bool *flag, uint64_t us, const char *what, struct err *err)
{
    uint64_t until = clock_mono_us() + us;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000),
                          .tv_nsec = (long)(until % 1000000) * 1000};
    int rc = 0;

    pthread_mutex_lock(&s->mu);
    while (rc == 0 && !*flag) {
        if (s->stop || (s->cancel && !s->committing))
            rc = err_set(err, -ECANCELED, "cancelled");
        else if (s->cause != MIG_CAUSE_NONE && !s->committing)
            rc = err_set(err, s->err.code, "%s", err_msg(&s->err));
        else if (s->peer_gone)
            rc = err_set(err, -ENOTCONN, "%s", what);
        else if (pthread_cond_timedwait(&s->cond, &s->mu, &ts) == ETIMEDOUT)
            rc = err_set(err, -ETIMEDOUT, "%s within %llu s", what,
                         (unsigned long long)us / 1000000);
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int
commit(struct lv_source *s, enum mig_cause *ret_cause, struct err *err)
{
    struct relay_msg m = {.type = RELAY_MSG_FINISH, .post_copy = s->post_copy};
    uint64_t began = clock_mono_us();
    int rc = lv_link_send(s, &m, err);

    *ret_cause = MIG_CAUSE_PEER;
    if (rc == 0)
        rc = lv_link_await(s, &s->prepared, LV_PREPARED_US, "the target does not confirm the guest",
                           err);
    if (rc == -ECANCELED)
        *ret_cause = MIG_CAUSE_CANCELLED;
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&s->mu);
    if (s->cancel || s->closed || s->cause != MIG_CAUSE_NONE)
        rc = err_set(err, -ECANCELED, "cancelled");
    s->committing = rc == 0;
    pthread_mutex_unlock(&s->mu);
    *ret_cause = rc == 0 ? MIG_CAUSE_LOCAL : MIG_CAUSE_CANCELLED;
    if (rc != 0)
        return rc;
    rc = FAULT(SRC_PREPARED) ? err_set(err, -EIO, "the commit cannot be recorded (fault point)")
                             : s->cfg.commit(s->cfg.ctx, err);
    pthread_mutex_lock(&s->mu);
    s->committing = s->committed = rc == 0;
    s->stats.downtime.commit_us = clock_mono_us() - began;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    (void)FAULT(SRC_COMMIT_RECORDED);
    return rc;
}

/* A migration may end by itself just when it is told to switch to post-copy: then the gate's thread and the
 * session's both come here, and what the first one got is the other's answer, too. */
int
lv_link_commit(struct lv_source *s, enum mig_cause *ret_cause, struct err *err)
{
    bool first;
    int rc;

    pthread_mutex_lock(&s->mu);
    while (s->commit_state == LV_COMMIT_ASKING)
        pthread_cond_wait(&s->cond, &s->mu);
    first = s->commit_state == LV_COMMIT_NOT_ASKED;
    if (first)
        s->commit_state = LV_COMMIT_ASKING;
    pthread_mutex_unlock(&s->mu);
    if (first) {
        struct err why = {0};

        rc = commit(s, ret_cause, &why);
        pthread_mutex_lock(&s->mu);
        s->commit_rc = rc;
        s->commit_cause = *ret_cause;
        s->commit_err = why;
        s->commit_state = LV_COMMIT_OVER;
        pthread_cond_broadcast(&s->cond);
        pthread_mutex_unlock(&s->mu);
    }
    pthread_mutex_lock(&s->mu);
    rc = s->commit_rc;
    *ret_cause = s->commit_cause;
    *err = s->commit_err;
    pthread_mutex_unlock(&s->mu);
    return rc;
}

/* --- the relay's threads --- */

static void
on_message(void *ctx, const void *msg, size_t len)
{
    struct lv_source *s = ctx;
    struct relay_msg m = {0};
    struct err err = {0};
    int rc = 0;

    rc = relay_msg_decode(msg, len, &m, &err);
    if (rc == 0 && m.generation != s->cfg.ident.generation)
        rc = err_set(&err, -EPROTO, "%s of generation %llu: this is %llu", relay_msg_name(m.type),
                     (unsigned long long)m.generation, (unsigned long long)s->cfg.ident.generation);
    if (rc != 0)
        lv_source_trouble(s, MIG_CAUSE_PROTOCOL, rc, &err);
    else
        take(s, &m);
    relay_msg_done(&m);
}

static void
take(struct lv_source *s, struct relay_msg *m)
{
    enum mig_cause cause = MIG_CAUSE_NONE;
    struct err err = {0};

    pthread_mutex_lock(&s->mu);
    switch (m->type) {
    case RELAY_MSG_READY:
        s->peer = *m;
        s->peer.cpu_xml = NULL;
        s->ready = true;
        break;
    case RELAY_MSG_PREPARED:
        s->prepared = true;
        break;
    case RELAY_MSG_COMPLETE:
        s->complete = true;
        break;
    case RELAY_MSG_RUNNING:
        if (!s->running) {
            s->running = true;
            s->stats.downtime.resume_us = m->resume_us;
            if (s->paused_us)
                s->stats.downtime_us = clock_mono_us() - s->paused_us;
        }
        break;
    case RELAY_MSG_ANSWER:
        s->peer = *m;
        s->peer.cpu_xml = NULL;
        s->answered = true;
        break;
    case RELAY_MSG_REFUSED:
        cause = MIG_CAUSE_GUEST;
        err_set(&err, -EPERM, "the target refuses it: %s: %s", m->reason, m->text);
        break;
    case RELAY_MSG_ERROR:
        cause = MIG_CAUSE_PEER;
        err_set(&err, -EIO, "target: %s", m->text);
        break;
    default:
        cause = MIG_CAUSE_PROTOCOL;
        err_set(&err, -EPROTO, "%s from the target", relay_msg_name(m->type));
        break;
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    if (cause != MIG_CAUSE_NONE)
        lv_source_trouble(s, cause, err.code, &err);
}

/* QEMU or libvirt hear of a stream that broke by themselves; this is for the reason. */
static void
on_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    struct lv_source *s = ctx;

    pthread_mutex_lock(&s->mu);
    if (kind == RELAY_CONTROL)
        s->peer_gone = true;
    if (!s->broken.code)
        s->broken = *err;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

static void
on_disk_message(void *ctx, const void *msg, size_t len)
{
    struct err err = {0};

    (void)msg;
    (void)len;
    err_set(&err, -EPROTO, "a message where only disks are copied");
    lv_source_trouble(ctx, MIG_CAUSE_PROTOCOL, -EPROTO, &err);
}

static void
on_disk_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    struct lv_source *s = ctx;

    (void)kind;
    pthread_mutex_lock(&s->mu);
    if (!s->broken.code)
        s->broken = *err;
    pthread_mutex_unlock(&s->mu);
}
