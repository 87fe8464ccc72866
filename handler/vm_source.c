/* The source's part of a migration in the handler: claim the start, run the engine in a thread, make the commit
 * durable, resolve what is in doubt, report. Order and meaning: docs/protocol.md. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/migration_options.h"
#include "api/names.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"
#include "handler/stats_tree.h"

struct source_run {
    struct vm_entry *e; /* loop thread only, but for e->h->l and what is constant */
    struct loop *l;
    char *state_dir;
    struct mig_source_config cfg;
    const struct mover *mover;
    struct mover_source *src; /* NULL while resolving */
    struct hv_guest *guest;   /* while resolving; borrowed, may be NULL */
    struct journal commit;    /* what commit() writes */
    pthread_t thread;
    bool resolving;
    struct vm_place place; /* where it is bound */
    char network_why[256]; /* what the engine was told of the network */
    /* answers, set by the thread before it posts */
    enum mig_outcome outcome;
    enum mig_cause cause;
    struct err err;
    struct mig_stats stats;
    uint64_t progress_sent_us; /* engine's thread */
};

struct progress { /* engine's thread -> loop */
    struct vm_entry *e;
    char uid[JOURNAL_UID_SIZE];
    struct mig_stats stats;
};

struct decision { /* engine's thread -> loop */
    struct vm_entry *e;
    char uid[JOURNAL_UID_SIZE];
    int64_t at_us;
    struct mig_decision d;
};

static void begin(struct vm_entry *e, const struct vmi *v);
static void begin_resolve(struct vm_entry *e, const struct vmi *v);
static void start_thread(struct vm_entry *e, struct source_run *r);
static void *run_source(void *ctx);
static void *run_resolve(void *ctx);
static void on_ended(void *ctx);
static int on_commit(void *ctx, struct err *err);
static void on_progress(void *ctx, const struct mig_stats *st);
static void write_progress(void *ctx);
static void on_decided(void *ctx, const struct mig_decision *d);
static void write_decision(void *ctx);
static void done_with(struct vm_entry *e, enum mig_outcome outcome, const char *reason);
static void want_mode(struct vm_entry *e, const struct vmi *v, struct tree *want);
static bool read_fallback(const struct vm_entry *e, const struct tree *vmim,
                          char ret[MIG_ADDR_SIZE]);
static void apply_override(struct vm_entry *e, const struct tree *vmim);
static void follow_network(struct vm_entry *e);
static int fill_config(struct vm_entry *e, const struct vmi *v, struct mig_source_config *c,
                       struct err *err);
static void free_run(struct source_run *r);
static bool report(struct vm_entry *e, const struct vmi *v, struct tree *want);
static bool finish_moved(struct vm_entry *e);
static void resume_run(struct vm_job *job);
static void resume_done(struct vm_job *job);
static void on_resolve_timer(void *ctx);
static void want_failed(struct vm_entry *e, struct tree *want, const char *reason);

bool
source_active(const struct vm_entry *e)
{
    return e->src != NULL;
}

void
source_cancel(struct vm_entry *e)
{
    if (e->src && e->src->src)
        e->src->mover->source_cancel(e->src->src);
}

void
source_end(struct vm_entry *e)
{
    source_cancel(e);
    if (e->src && e->src->src)
        e->src->mover->source_stop(e->src->src); /* in post-copy, which cannot be cancelled */
    loop_timer_del(e->src_timer);
    e->src_timer = NULL;
}

bool
source_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    const struct migration_state *ms = &v->status.migration;
    const char *uid = ms->migration_uid ? ms->migration_uid : "";
    bool ended = v->status.phase && (strcmp(v->status.phase, "Succeeded") == 0 ||
                                     strcmp(v->status.phase, "Failed") == 0);

    if (e->src) {
        if (ended && ms->target_domain_detected && e->src->src)
            e->src->mover->source_stop(
                e->src->src); /* nobody needs the rest of its memory any more */
        if ((ms->abort_requested || v->meta.deletion_us) && !e->src_abort_seen && e->src->src) {
            e->src_abort_seen = true;
            e->src_abort_ok = e->src->mover->source_cancel(e->src->src);
            log_info("migration.cancel", LS("vmi", v->meta.name), LI("in_time", e->src_abort_ok));
            report_note(e, "asked to cancel: %s",
                        e->src_abort_ok ? "it will not commit" : "too late");
        }
        if (e->src->src && ms->target_node_address && *ms->target_node_address)
            e->src->mover->source_redirect(e->src->src, ms->target_node_address, NULL);
        if (e->src->src)
            follow_network(e);
        want_mode(e, v, want);
        return true;
    }
    if (!*uid || strlen(uid) >= sizeof e->src_uid)
        return false;
    if (strcmp(uid, e->src_uid) != 0) { /* a new attempt */
        if (e->has_journal && strcmp(e->j.migration_uid, uid) != 0 &&
            (e->j.state == JOURNAL_COMMITTED || e->j.state == JOURNAL_MOVED))
            return true; /* cannot be: the old one is not final. Wait for a newer object. */
        snprintf(e->src_uid, sizeof e->src_uid, "%s", uid);
        e->src_phase = SRC_NONE;
        e->src_abort_seen = e->src_abort_ok = e->src_result_sent = false;
        memset(&e->src_stats, 0, sizeof e->src_stats);
        e->src_cause = MIG_CAUSE_NONE;
        e->src_mode = MIG_MODE_PRECOPY;
        e->src_override = -1;
        report_forget(e);
        e->src_end_us = 0;
    }
    if (e->has_journal && e->j.state == JOURNAL_MOVED)
        return finish_moved(e) || report(e, v, want);
    if (ms->completed)
        return true; /* the owner changes as soon as the controller has heard the target */
    if (ms->failed)
        return false;
    if (e->has_journal && e->j.state == JOURNAL_COMMITTED) {
        if (e->src_phase == SRC_DONE && e->src_outcome == MIG_MOVED)
            return finish_moved(e);
        if (ms->target_domain_detected &&
            (!e->j.post_copy || ended || vm_condition_is(e, COND_MEMORY_COMPLETE, "True"))) {
            /* the target's own word, through the controller */
            done_with(e, MIG_MOVED, "");
            report_note(e, "the controller has heard from the target that the guest runs there");
            return finish_moved(e);
        }
        if (e->j.post_copy && !hv_lives(e->guest) && ms->target_domain_detected) {
            AUTO_FREE char *why =
                xasprintf("%s: the guest's process on node %s, which had it, is gone", e->src_uid,
                          e->h->cfg.node_name);

            object_set_condition(want, COND_SOURCE_LOST, "True", "GuestGone", why, vm_now(e));
        }
        if (!e->src_timer && !e->h->stopping)
            begin_resolve(e, v);
        return true;
    }
    if (e->src_phase == SRC_DONE)
        return report(e, v, want);
    if (source_may_have_left(e, v)) {
        struct vm_job *job = vm_job_new(e);

        log_warn("migration.left", LS("uid", e->uid), LS("migration", uid));
        job->j = e->j;
        job->j.state = JOURNAL_COMMITTED;
        memcpy(job->j.migration_uid, e->src_uid, sizeof job->j.migration_uid);
        job->write_journal = true;
        vm_job_start(job);
        return true;
    }
    if (!e->has_journal || e->j.state != JOURNAL_RUNNING || !e->guest)
        return false;
    if (ms->start_us) {
        if (e->src_phase == SRC_CLAIMED) {
            begin(e, v);
            return true;
        }
        /* An earlier life of this handler had claimed it and did not get as far as the commit. */
        done_with(e, MIG_FAILED, "the source handler was restarted during the migration");

        struct vm_job *job = vm_job_new(e);

        job->guest = e->guest;
        job->keep_paused = vm_wants_pause(e);
        job->fn = resume_run;
        job->done = resume_done;
        vm_job_start(job);
        return true;
    }
    if (!ms->target_node_address || !*ms->target_node_address || ms->abort_requested)
        return false;
    if (e->h->stopping || v->meta.deletion_us)
        return false;
    if (e->h->net.state == MIGNET_UNKNOWN)
        return false;
    if (e->h->net.state == MIGNET_BROKEN) {
        want_failed(e, want, e->h->net.reason);
        return false;
    }

    struct tls_ctx *tls;
    struct err err = {0};
    char now[40];

    if (node_tls(e->h, &ms->configuration, &tls, &err) != 0) {
        want_failed(e, want, err_msg(&err));
        return false;
    }
    tls_ctx_unref(tls);
    time_format(vm_now(e), true, now, sizeof now);
    tree_set_path(want, tree_string(now), "status", "migrationState", "startTimestamp", NULL);
    e->src_phase = SRC_CLAIMED;
    return false;
}

/* The migration network changed, broke or came back: connections that there are go on for as long as
 * they can; the next ones are made from where it is now. */
static void
follow_network(struct vm_entry *e)
{
    struct source_run *r = e->src;
    char was[80], is[80], why[sizeof r->network_why] = "";
    struct vm_place p, began;
    struct err err = {0};

    if (e->h->net.state == MIGNET_UNKNOWN)
        return;
    snprintf(began.ip, sizeof began.ip, "%s", r->cfg.local_ip);
    snprintf(began.device, sizeof began.device, "%s", r->cfg.bind_device);
    began.trusted = r->cfg.network_trusted;
    if (vm_place_now(e->h, &p, &err) != 0) {
        p = r->place;
        snprintf(why, sizeof why, "%s", err_msg(&err));
    } else if (!vm_place_equal(&p, &began)) {
        snprintf(why, sizeof why, "it changed from %s to %s",
                 vm_place_text(&began, was, sizeof was), vm_place_text(&p, is, sizeof is));
    }
    if (!vm_place_equal(&p, &r->place))
        report_note(
            e,
            "this node's migration network is %s now: connections that there are go on, new "
            "ones are made there",
            vm_place_text(&p, is, sizeof is));
    else if (strcmp(why, r->network_why) == 0)
        return;
    log_info("migration.network", LS("migration", e->src_uid), LS("ip", p.ip),
             LS("interface", p.device), LS("why", why));
    r->place = p;
    memcpy(r->network_why, why, sizeof why);
    r->mover->source_rebind(r->src, p.ip, p.device, p.trusted, why);
}

/* What a network checkup found of the way from here. */
static void
fill_estimate(struct vm_entry *e, struct mig_source_config *c)
{
    struct checkup_estimate known;
    char at[40];

    checkup_estimate(e->h->checkup, &known);
    if (known.bytes_per_s == 0)
        return;
    time_format(known.at_us, false, at, sizeof at);
    c->link_estimate_bytes_per_s = known.bytes_per_s;
    snprintf(c->link_estimate_from, sizeof c->link_estimate_from, "checkup %.200s of %s",
             known.name, at);
}

/* What the policy allows and how the bytes are to travel, as the controller resolved it. */
static void
fill_policy(struct vm_entry *e, const struct migration_configuration *mc,
            struct mig_source_config *c)
{
    static const enum mig_encoding encodings[] = {
        [MIGRATION_ENCODING_AUTO] = MIG_ENC_AUTO,   [MIGRATION_ENCODING_RAW] = MIG_ENC_RAW,
        [MIGRATION_ENCODING_DELTA] = MIG_ENC_DELTA, [MIGRATION_ENCODING_LZ4] = MIG_ENC_LZ4,
        [MIGRATION_ENCODING_ZSTD] = MIG_ENC_ZSTD,
    };
    static const enum mig_transport transports[] = {
        [MIGRATION_TRANSPORT_AUTO] = MIG_TRANSPORT_AUTO,
        [MIGRATION_TRANSPORT_RDMA] = MIG_TRANSPORT_RDMA,
        [MIGRATION_TRANSPORT_TCP] = MIG_TRANSPORT_TCP,
    };
    struct migration_options o;

    migration_options_read(object_annotation(e->vmi, ANN_MIGRATION_OPTIONS), &o);
    c->channels = o.channels ? (unsigned)o.channels : e->h->cfg.channels;
    c->policy = (struct mig_policy){
        .allow_auto_converge = mc->has_auto_converge && mc->allow_auto_converge,
        .allow_post_copy = mc->has_post_copy && mc->allow_post_copy,
        .allow_disruption = mc->has_disruption && mc->allow_workload_disruption,
        .verify_full = o.verify_full,
        .encoding = encodings[o.encoding],
        .weight = (uint32_t)o.weight,
        .transport = transports[o.transport],
    };
    c->policy.post_copy_at_once = c->policy.allow_post_copy && o.post_copy_immediate;
}

static int
fill_config(struct vm_entry *e, const struct vmi *v, struct mig_source_config *c, struct err *err)
{
    const struct migration_state *ms = &v->status.migration;
    const struct migration_configuration *mc = &ms->configuration;
    uint64_t memory = e->guest ? e->guest->ops->memory_bytes(e->guest) : 0;
    unsigned __int128 budget;
    struct vm_place place;
    int rc = vm_place_now(e->h, &place, err);

    if (rc != 0)
        return rc;
    memset(c, 0, sizeof *c);
    snprintf(c->ident.vmi_uid, sizeof c->ident.vmi_uid, "%s", e->uid);
    snprintf(c->ident.migration_uid, sizeof c->ident.migration_uid, "%s", ms->migration_uid);
    c->ident.generation = vm_annotation_number(e->vmi, ANN_MIGRATION_GENERATION);
    if (!ms->target_node_address || snprintf(c->target_addr, sizeof c->target_addr, "%s",
                                             ms->target_node_address) >= (int)sizeof c->target_addr)
        return err_set(err, -EINVAL, "the target's address cannot be used");
    memcpy(c->local_ip, place.ip, sizeof c->local_ip);
    memcpy(c->bind_device, place.device, sizeof c->bind_device);
    c->network_trusted = place.trusted;
    c->rdma_off = e->h->cfg.no_rdma;
    c->rdma_window_bytes = e->h->cfg.rdma_window_bytes;
    vm_urgent_mark(e->h, &c->urgent_priority, &c->urgent_dscp);
    fill_policy(e, mc, c);
    fill_estimate(e, c);
    (void)read_fallback(e, informer_get_uid(e->h->vmims, e->src_uid), c->fallback_addr);
    if (mc->has_bandwidth && mc->bandwidth_bytes_per_s > 0)
        c->limits.bandwidth_bytes_per_s = (uint64_t)mc->bandwidth_bytes_per_s;
    if (mc->has_progress_timeout && mc->progress_timeout_s > 0)
        c->limits.progress_timeout_us = (uint64_t)mc->progress_timeout_s * 1000000u;
    if (mc->has_max_downtime && mc->max_downtime_ms > 0)
        c->limits.max_downtime_us = (uint64_t)mc->max_downtime_ms * 1000u;
    if (mc->has_completion_timeout && mc->completion_timeout_s_per_gib > 0) {
        /* per GiB, rounded up to a second */
        budget = (unsigned __int128)memory * (uint64_t)mc->completion_timeout_s_per_gib;
        budget = (budget + (1u << 30) - 1) >> 30;
        c->limits.completion_timeout_us =
            budget > UINT64_MAX / 1000000u ? UINT64_MAX : (uint64_t)budget * 1000000u;
    }
    snprintf(c->tls_peer, sizeof c->tls_peer, "%s", ms->target_node ? ms->target_node : "");
    return node_tls(e->h, mc, &c->tls, err);
}

/* status.migrationState.mode: upstream's word for how the memory travels at the moment. */
static void
want_mode(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    const char *mode = stats_tree_mode(e->src_mode), *now = v->status.migration.mode;

    if (e->src_phase != SRC_CLAIMED && (!now || strcmp(now, mode) != 0))
        tree_set_path(want, tree_string(mode), "status", "migrationState", "mode", NULL);
}

bool
source_stats(const struct vm_entry *e, struct mig_stats *ret)
{
    if (!e->src || !e->src->src)
        return false;
    e->src->mover->source_stats(e->src->src, ret);
    return true;
}

/* Where else the target listens, when the policy lets migrations use the management network. */
static bool
read_fallback(const struct vm_entry *e, const struct tree *vmim, char ret[MIG_ADDR_SIZE])
{
    const char *text = vmim ? object_annotation(vmim, ANN_TARGET_FALLBACK) : NULL;
    AUTO_TREE struct tree *t = NULL;
    struct migration_options o;
    const char *addr;

    migration_options_read(object_annotation(e->vmi, ANN_MIGRATION_OPTIONS), &o);
    if (!o.fallback_management || !text || tree_from_json(text, strlen(text), &t, NULL) != 0)
        return false;
    addr = tree_find_string(t, "", "address", NULL);
    if (!*addr || strlen(addr) >= MIG_ADDR_SIZE)
        return false;
    memcpy(ret, addr, strlen(addr) + 1);
    return true;
}

void
source_vmim_changed(struct handler *h, const struct tree *vmim)
{
    size_t it = 0;
    void *value;

    while (strmap_next(h->vms, &it, NULL, &value)) {
        struct vm_entry *e = value;

        if (e->src && e->src->src && strcmp(e->src_uid, object_uid(vmim)) == 0) {
            char fallback[MIG_ADDR_SIZE];

            apply_override(e, vmim);
            if (read_fallback(e, vmim, fallback))
                e->src->mover->source_redirect(e->src->src, NULL, fallback);
        }
    }
}

/* drover.io/bandwidth-override: set, changed or taken away. */
static void
apply_override(struct vm_entry *e, const struct tree *vmim)
{
    const char *text = object_annotation(vmim, ANN_BANDWIDTH_OVERRIDE);
    struct quantity q = {0};
    int64_t wanted = -1;

    if (text && quantity_parse(text, &q, NULL) == 0 && q.units >= 0)
        wanted = q.units;
    if (wanted == e->src_override)
        return;
    e->src_override = wanted;
    if (wanted < 0)
        wanted = e->src_own_limit;
    e->src->mover->source_set_bandwidth(e->src->src, (uint64_t)wanted);
    log_info("migration.bandwidth", LS("migration", e->src_uid), LI("bytes_per_s", wanted));
    report_bandwidth(e, wanted);
}

static void
begin(struct vm_entry *e, const struct vmi *v)
{
    struct source_run *r = xcalloc(1, sizeof *r);
    const struct tree *vmim;

    struct err err = {0};

    r->mover = vm_mover(e);
    if (fill_config(e, v, &r->cfg, &err) != 0) {
        free_run(r);
        done_with(e, MIG_FAILED, err_msg(&err));
        handler_retry_later(e->h);
        return;
    }
    r->cfg.commit = on_commit;
    r->cfg.progress = on_progress;
    r->cfg.decided = on_decided;
    r->cfg.share = e->h->share;
    r->cfg.ctx = r;
    r->commit = e->j;
    r->commit.state = JOURNAL_COMMITTED;
    memcpy(r->commit.migration_uid, e->src_uid, sizeof r->commit.migration_uid);
    r->src = r->mover->source_new(&r->cfg, e->guest);
    e->src_phase = SRC_RUNNING;
    e->src_own_limit = (int64_t)r->cfg.limits.bandwidth_bytes_per_s;
    report_start(e, v, &r->cfg);
    log_info("migration.started", LS("vmi", v->meta.name), LS("migration", e->src_uid),
             LS("target", r->cfg.target_addr), LS("from", r->cfg.local_ip));
    start_thread(e, r);
    vmim = informer_get_uid(e->h->vmims, e->src_uid);
    if (vmim)
        apply_override(e, vmim);
}

static void
begin_resolve(struct vm_entry *e, const struct vmi *v)
{
    struct source_run *r = xcalloc(1, sizeof *r);

    e->src_phase = SRC_RESOLVING;
    r->mover = vm_mover(e);
    if (!r->mover || fill_config(e, v, &r->cfg, NULL) != 0) {
        free_run(r);
        e->src_timer = loop_timer_add(e->h->l, HANDLER_RESOLVE_US, on_resolve_timer, e);
        return;
    }
    r->resolving = !e->j.post_copy || !e->guest;
    r->guest = e->guest;
    if (!r->resolving) { /* it has what the target lacks */
        r->cfg.recovering = true;
        r->cfg.progress = on_progress;
        r->cfg.decided = on_decided;
        r->cfg.share = e->h->share;
        r->cfg.ctx = r;
        r->commit = e->j;
        r->src = r->mover->source_new(&r->cfg, e->guest);
    }
    start_thread(e, r);
}

static void
start_thread(struct vm_entry *e, struct source_run *r)
{
    r->e = e;
    r->l = e->h->l;
    r->state_dir = xstrdup(e->h->cfg.state_dir);
    memcpy(r->place.ip, r->cfg.local_ip, sizeof r->place.ip);
    memcpy(r->place.device, r->cfg.bind_device, sizeof r->place.device);
    r->place.trusted = r->cfg.network_trusted;
    e->src = r;
    if (pthread_create(&r->thread, NULL, r->resolving ? run_resolve : run_source, r) != 0)
        abort(); /* no thread can be had: the journal says what is true at the next start */
}

static void *
run_source(void *ctx)
{
    struct source_run *r = ctx;

    r->outcome = r->mover->source_run(r->src, &r->cause, &r->err);
    r->mover->source_stats(r->src, &r->stats);
    loop_post(r->l, on_ended, r);
    return NULL;
}

static void *
run_resolve(void *ctx)
{
    struct source_run *r = ctx;

    r->outcome = r->mover->source_resolve(&r->cfg, r->guest, &r->err);
    loop_post(r->l, on_ended, r);
    return NULL;
}

/* The engine's thread: from here on this copy must not run again by itself. */
static int
on_commit(void *ctx, struct err *err)
{
    struct source_run *r = ctx;
    struct mig_stats st;

    r->mover->source_stats(r->src, &st);
    r->commit.post_copy = st.mode == MIG_MODE_POSTCOPY;
    return journal_write(r->state_dir, &r->commit, err);
}

static void
on_progress(void *ctx, const struct mig_stats *st)
{
    struct source_run *r = ctx;
    uint64_t now = clock_mono_us();
    struct progress *p;

    if (now - r->progress_sent_us < HANDLER_PROGRESS_US)
        return;
    r->progress_sent_us = now;
    p = xcalloc(1, sizeof *p);
    p->e = r->e;
    memcpy(p->uid, r->commit.migration_uid, sizeof p->uid);
    p->stats = *st;
    loop_post(r->l, write_progress, p);
}

static void
write_progress(void *ctx)
{
    struct progress *p = ctx;

    report_progress(p->e, p->uid, &p->stats);
    if (p->e->src_mode != p->stats.mode) {
        p->e->src_mode = p->stats.mode;
        vm_reconcile(p->e);
    }
    free(p);
}

/* The engine's thread. */
static void
on_decided(void *ctx, const struct mig_decision *d)
{
    struct source_run *r = ctx;
    struct decision *n = xcalloc(1, sizeof *n);

    n->e = r->e;
    memcpy(n->uid, r->commit.migration_uid, sizeof n->uid);
    n->at_us = clock_wall_us();
    n->d = *d;
    loop_post(r->l, write_decision, n);
}

static void
write_decision(void *ctx)
{
    struct decision *n = ctx;

    if (strcmp(n->uid, n->e->src_uid) == 0)
        report_decision(n->e, n->at_us, &n->d);
    free(n);
}

static void
on_ended(void *ctx)
{
    struct source_run *r = ctx;
    struct vm_entry *e = r->e;

    pthread_join(r->thread, NULL);
    e->src = NULL;
    if (r->resolving) {
        log_info("migration.resolved", LS("migration", e->src_uid), LI("outcome", r->outcome),
                 LS("error", err_msg(&r->err)));
        if (r->outcome != MIG_UNKNOWN)
            report_note(e, "the target was asked: the guest %s",
                        r->outcome == MIG_MOVED ? "runs there"
                                                : "never ran there; it goes on here");
    } else {
        r->mover->source_free(r->src);
        e->src_stats = r->stats;
        e->src_mode = r->stats.mode;
        e->src_cause = r->cause;
        if (e->vmi)
            node_metrics_source_ended(e->h->metrics, object_namespace(e->vmi), object_name(e->vmi),
                                      r->outcome, r->cause, &r->stats, vm_now(e));
        report_progress(e, e->src_uid, &r->stats);
        if (!r->cfg.recovering || r->outcome != MIG_UNKNOWN)
            report_end(e, r->outcome, r->cause, &r->stats, &r->err);
        log_info("migration.ended", LS("migration", e->src_uid), LI("outcome", r->outcome),
                 LI("rounds", r->stats.round), LI("bytes", (int64_t)r->stats.sent_bytes),
                 LI("downtime_us", (int64_t)r->stats.downtime_us), LS("error", err_msg(&r->err)));
    }
    switch (r->outcome) {
    case MIG_MOVED:
        done_with(e, MIG_MOVED, "");
        if (!r->resolving)
            e->j = r->commit; /* on_commit wrote it */
        break;
    case MIG_FAILED:
        if (r->resolving || r->cfg.recovering) {
            /* The target's durable word: it never ran there. The guest here is whole: on it goes. */
            struct vm_job *job = vm_job_new(e);

            done_with(e, MIG_FAILED, "the target lost the guest before it ran there");
            job->guest = e->guest;
            job->j = e->j;
            job->j.state = JOURNAL_RUNNING;
            job->j.migration_uid[0] = '\0';
            job->j.post_copy = false;
            job->write_journal = true;
            job->keep_paused = vm_wants_pause(e);
            if (hv_lives(e->guest)) { /* else its end is said next */
                job->fn = resume_run;
                job->done = resume_done;
            }
            vm_job_start(job);
        } else {
            AUTO_FREE char *why = NULL;

            if (r->cause == MIG_CAUSE_NONE || r->cause == MIG_CAUSE_CANCELLED || !r->err.msg[0])
                why = xstrdup(mig_cause_text(r->cause));
            else
                why = xasprintf("%s: %s", mig_cause_text(r->cause), err_msg(&r->err));
            done_with(e, MIG_FAILED, why);
        }
        break;
    case MIG_UNKNOWN:
        if (!r->resolving)
            e->j = r->commit;
        e->src_phase = SRC_RESOLVING;
        if (!e->h->stopping)
            e->src_timer = loop_timer_add(e->h->l, HANDLER_RESOLVE_US, on_resolve_timer, e);
        break;
    }
    free_run(r);
    vm_reconcile(e);
}

static void
free_run(struct source_run *r)
{
    tls_ctx_unref(r->cfg.tls);
    free(r->state_dir);
    free(r);
}

bool
source_may_have_left(const struct vm_entry *e, const struct vmi *v)
{
    const struct migration_state *ms = &v->status.migration;

    /* Our engine never ends the guest before the commit is on the disk; libvirt does. */
    return e->has_journal && e->j.hypervisor == HV_LIBVIRT && e->j.state == JOURNAL_RUNNING &&
           !e->src && e->src_phase != SRC_DONE && ms->present && ms->start_us && !ms->failed &&
           !ms->completed && ms->migration_uid && ms->source_node &&
           strcmp(ms->source_node, e->h->cfg.node_name) == 0 && !hv_lives(e->guest);
}

static void
on_resolve_timer(void *ctx)
{
    struct vm_entry *e = ctx;

    e->src_timer = NULL;
    vm_reconcile(e);
}

static void
done_with(struct vm_entry *e, enum mig_outcome outcome, const char *reason)
{
    e->src_phase = SRC_DONE;
    e->src_outcome = outcome;
    e->src_end_us = vm_now(e);
    snprintf(e->src_reason, sizeof e->src_reason, "%s", reason);
}

static void
resume_run(struct vm_job *job)
{
    struct hv_guest *g = job->guest;

    job->rc = job->keep_paused ? g->ops->pause(g, &job->err) : g->ops->resume(g, &job->err);
}

static void
resume_done(struct vm_job *job)
{
    if (job->rc != 0) {
        log_error("guest.resume", LS("uid", job->e->uid), LS("error", err_msg(&job->err)));
        job->e->src_phase = SRC_NONE; /* tried again */
    }
}

/* The target runs it: record that, end the copy here. True while that is under way. */
static bool
finish_moved(struct vm_entry *e)
{
    struct vm_job *job;

    if (e->j.state == JOURNAL_MOVED && !e->guest)
        return false;
    if (e->j.state != JOURNAL_MOVED) {
        if (FAULT(SRC_RUNNING_HEARD))
            return false;
        job = vm_job_new(e);
        job->j = e->j;
        job->j.state = JOURNAL_MOVED;
        memcpy(job->j.migration_uid, e->src_uid, sizeof job->j.migration_uid);
        job->write_journal = true;
        vm_job_start(job);
        return true;
    }
    vm_end_guest(e, false);
    return true;
}

/* What became of it, into the object: first the result's details on the VMIM, then the state. */
static bool
report(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    const struct migration_state *ms = &v->status.migration;
    bool moved = e->has_journal && e->j.state == JOURNAL_MOVED;
    char now[40];

    if (!moved && e->src_phase != SRC_DONE)
        return false;
    if (!moved && e->src_outcome == MIG_MOVED)
        return finish_moved(e);
    if (ms->completed || ms->failed) {
        if (moved) { /* acknowledged: nothing of it is left here */
            vm_end_guest(e, true);
            return true;
        }
        return false;
    }
    if (!e->src_result_sent && report_result(e))
        return moved; /* the state follows when the details are there */
    if (moved) {
        (void)FAULT(SRC_GUEST_GONE);
        time_format(e->src_end_us ? e->src_end_us : vm_now(e), true, now, sizeof now);
        tree_set_path(want, tree_bool(true), "status", "migrationState", "completed", NULL);
        tree_set_path(want, tree_string(now), "status", "migrationState", "endTimestamp", NULL);
        want_mode(e, v, want);
        if (ms->abort_requested) /* it came after the commit */
            tree_set_path(want, tree_string("Failed"), "status", "migrationState", "abortStatus",
                          NULL);
        return true;
    }
    want_failed(e, want, e->src_reason);
    if (ms->abort_requested)
        tree_set_path(want, tree_string("Succeeded"), "status", "migrationState", "abortStatus",
                      NULL);
    return false;
}

static void
want_failed(struct vm_entry *e, struct tree *want, const char *reason)
{
    char now[40];

    time_format(vm_now(e), true, now, sizeof now);
    tree_set_path(want, tree_bool(true), "status", "migrationState", "failed", NULL);
    tree_set_path(want, tree_string(reason), "status", "migrationState", "failureReason", NULL);
    tree_set_path(want, tree_string(now), "status", "migrationState", "endTimestamp", NULL);
}
