/* The target's part of a migration in the handler: make the incoming guest, announce where it listens, make
 * the decisions durable, and clean up or take over. Order and meaning: docs/protocol.md. */
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "api/migration_options.h"
#include "api/names.h"
#include "base/fault.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/stats_tree.h"

#define RESULT_TRIES 20 /* half a second apart */

struct target_run {
    struct vm_entry *e;
    struct loop *l;
    char *state_dir;
    const struct mover *mover;
    struct mover_target *t;
    struct tls_ctx *tls; /* NULL: in the clear */
    struct vm_place place;
    unsigned ifindex; /* of place.device, which may have been made anew under its name */
    struct journal j; /* the engine's thread changes it in the hooks */
    pthread_t thread;
    enum mig_target_outcome outcome;
    struct err err;
};

static void make_incoming(struct vm_entry *e, const struct vmi *v);
static void incoming_run(struct vm_job *job);
static void incoming_done(struct vm_job *job);
static void follow_network(struct vm_entry *e);
static void listen_for(struct vm_entry *e, bool recovering);
static void *run_target(void *ctx);
static void on_ended(void *ctx);
static int on_prepared(void *ctx, struct err *err);
static int on_committed(void *ctx, struct err *err);
static int on_never(void *ctx, struct err *err);
static int encrypt(struct vm_entry *e, struct target_run *r, struct mig_target_config *c,
                   struct err *err);
static void on_refused(void *ctx, const char *why);
static void on_noted(void *ctx, const char *text);
static void failed_here(struct vm_entry *e, const char *reason);
static void result_run(struct vm_job *job);
static void result_done(struct vm_job *job);
static void reconcile_memory(struct vm_entry *e, const struct migration_state *ms,
                             struct tree *want);
static bool source_says_lost(const struct vm_entry *e);
static void on_running(void *ctx);
static void guest_runs(void *ctx);
static void note_damage(struct vm_entry *e, const struct target_run *run);
static void recover(struct vm_entry *e, const struct migration_state *ms);
static bool clean_up(struct vm_entry *e, const struct migration_state *ms, struct tree *want);

bool
target_stats(const struct vm_entry *e, struct mig_stats *ret)
{
    if (!e->dst)
        return false;
    e->dst->mover->target_stats(e->dst->t, ret);
    return true;
}

bool
target_active(const struct vm_entry *e)
{
    return e->dst != NULL;
}

void
target_end(struct vm_entry *e)
{
    if (e->dst)
        e->dst->mover->target_stop(e->dst->t);
}

bool
target_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    const struct migration_state *ms = &v->status.migration;
    const char *uid = ms->migration_uid ? ms->migration_uid : "";
    uint64_t generation = vm_annotation_number(e->vmi, ANN_MIGRATION_GENERATION);
    bool owner = v->status.node_name && strcmp(v->status.node_name, e->h->cfg.node_name) == 0;

    if (!*uid || strlen(uid) >= sizeof e->dst_uid)
        return false;
    if (strcmp(uid, e->dst_uid) != 0) {
        if (e->dst) { /* a newer attempt: the old one here is over */
            target_end(e);
            return true;
        }
        if (e->has_journal && e->j.migration_uid[0] && strcmp(e->j.migration_uid, uid) != 0 &&
            (e->j.state == JOURNAL_INCOMING || e->j.state == JOURNAL_PREPARED ||
             e->j.state == JOURNAL_NEVER)) {
            vm_end_guest(e, true);
            return true;
        }
        snprintf(e->dst_uid, sizeof e->dst_uid, "%s", uid);
        e->dst_phase = DST_NONE;
        e->dst_reason[0] = e->dst_address[0] = e->dst_damage[0] = '\0';
        memset(&e->dst_stats, 0, sizeof e->dst_stats);
        e->dst_result_sent = false;
        e->dst_result_tries = 0;
    }
    if (e->has_journal && e->j.state == JOURNAL_RUNNING && e->j.generation == generation &&
        (!e->dst || e->dst_runs)) {
        if (!ms->target_domain_detected)
            tree_set_path(want, tree_bool(true), "status", "migrationState",
                          "targetNodeDomainDetected", NULL);
        reconcile_memory(e, ms, want);
        target_guest_result(e, v);
        return !owner;
    }
    if (owner)
        return false; /* an older migration brought it here; others' business now */
    if (ms->failed)
        return clean_up(e, ms, want);
    if (!e->dst && e->has_journal && e->j.state != JOURNAL_RUNNING)
        recover(e, ms);
    if (e->dst) {
        follow_network(e);
        if (strcmp(ms->target_node_address ? ms->target_node_address : "", e->dst_address) != 0)
            tree_set_path(want, tree_string(e->dst_address), "status", "migrationState",
                          "targetNodeAddress", NULL);
        else
            (void)FAULT(DST_LISTENING);
        return true;
    }
    if (e->busy || (e->has_journal && e->j.state != JOURNAL_RUNNING))
        return true;
    if (e->dst_phase == DST_DONE) {
        /* This side gave up. Before the claim the status says so; after it the source will. */
        if (!ms->start_us) {
            char now[40];

            time_format(vm_now(e), true, now, sizeof now);
            tree_set_path(want, tree_bool(true), "status", "migrationState", "failed", NULL);
            tree_set_path(want, tree_string(e->dst_reason), "status", "migrationState",
                          "failureReason", NULL);
            tree_set_path(want, tree_string(now), "status", "migrationState", "endTimestamp", NULL);
        }
        return true;
    }
    if (ms->start_us || ms->completed || e->h->stopping || v->meta.deletion_us)
        return true;
    if (e->h->net.state == MIGNET_UNKNOWN)
        return true;
    if (e->h->net.state == MIGNET_BROKEN) {
        failed_here(e, e->h->net.reason);
        handler_retry_later(e->h);
        return true;
    }

    struct tls_ctx *tls;
    struct err err = {0};

    if (node_tls(e->h, &ms->configuration, &tls, &err) != 0) {
        failed_here(e, err_msg(&err));
        handler_retry_later(e->h);
        return true;
    }
    tls_ctx_unref(tls);
    make_incoming(e, v);
    return true;
}

/* Post-copy: the guest runs here, and the engine (of this life of the handler or the next) gets what is
 * missing. While it does, MemoryComplete is False; the source keeps its copy until it is True. */
static void
reconcile_memory(struct vm_entry *e, const struct migration_state *ms, struct tree *want)
{
    AUTO_FREE char *path = journal_postcopy_path(e->h->cfg.state_dir, e->uid);
    const char *lost = object_annotation(e->vmi, ANN_SOURCE_LOST);
    struct vm_place place;

    if (!e->dst && access(path, F_OK) == 0) {
        if (!hv_lives(e->guest) || e->h->stopping || e->busy ||
            vm_place_now(e->h, &place, NULL) != 0)
            return;
        listen_for(e, true);
    }
    if (!e->dst) {
        if (vm_condition_is(e, COND_MEMORY_COMPLETE, "False"))
            object_set_condition(want, COND_MEMORY_COMPLETE, "True",
                                 e->dst_damage[0] ? "SourceLost" : "Received",
                                 e->dst_damage[0] ? "what was missing is lost and was poisoned"
                                                  : "all memory has arrived",
                                 vm_now(e));
        if (e->dst_damage[0])
            object_set_condition(want, COND_MEMORY_DAMAGED, "True", "SourceLost", e->dst_damage,
                                 vm_now(e));
        return;
    }
    follow_network(e);
    object_set_condition(want, COND_MEMORY_COMPLETE, "False", "PostCopy",
                         "the guest runs here, and the rest of its memory comes from the source",
                         vm_now(e));
    if (strcmp(ms->target_node_address ? ms->target_node_address : "", e->dst_address) != 0)
        tree_set_path(want, tree_string(e->dst_address), "status", "migrationState",
                      "targetNodeAddress", NULL);
    if ((lost && strcmp(lost, e->dst_uid) == 0) || source_says_lost(e)) {
        log_error("migration.source.lost", LS("uid", e->uid), LS("migration", e->dst_uid));
        e->dst->mover->target_source_lost(e->dst->t);
    }
}

/* The source's handler has said, of this migration, that its guest is gone. */
static bool
source_says_lost(const struct vm_entry *e)
{
    const struct tree *c = object_condition(e->vmi, COND_SOURCE_LOST);

    return c &&
           strncmp(tree_find_string(c, "", "message", NULL), e->dst_uid, strlen(e->dst_uid)) == 0;
}

/* A journal of this migration without a session: an earlier life of this handler. */
static void
recover(struct vm_entry *e, const struct migration_state *ms)
{
    bool alive = hv_lives(e->guest);

    if (e->j.state == JOURNAL_PREPARED || e->j.state == JOURNAL_NEVER) {
        if (e->h->stopping || e->h->net.state == MIGNET_UNKNOWN || e->h->net.state == MIGNET_BROKEN)
            return;
        if (e->j.state == JOURNAL_PREPARED && !alive) {
            struct vm_job *job = vm_job_new(e);

            job->j = e->j;
            job->j.state = JOURNAL_NEVER;
            job->write_journal = true;
            vm_job_start(job);
            return;
        }
        listen_for(e, true);
        return;
    }
    /* INCOMING (or a leftover): nobody depends on it. Begin anew when the source has not started. */
    if (ms->start_us)
        failed_here(e, "the target handler was restarted during the migration");
    vm_end_guest(e, true);
}

/* The source (or the controller) says that it failed: whatever is here goes, then the address. */
static bool
clean_up(struct vm_entry *e, const struct migration_state *ms, struct tree *want)
{
    if (e->dst) {
        target_end(e);
        return true;
    }
    if (e->guest || e->has_journal) {
        if (e->has_journal && e->j.state == JOURNAL_RUNNING) {
            log_error("migration.impossible", LS("uid", e->uid), LS("migration", e->dst_uid));
            return true; /* we run it, committed: `failed` cannot be the source's word */
        }
        vm_end_guest(e, true);
        return true;
    }
    if (ms->target_node_address)
        tree_set_path(want, tree_null(), "status", "migrationState", "targetNodeAddress", NULL);
    return true;
}

static void
failed_here(struct vm_entry *e, const char *reason)
{
    e->dst_phase = DST_DONE;
    snprintf(e->dst_reason, sizeof e->dst_reason, "target: %s", reason);
    log_warn("migration.target", LS("uid", e->uid), LS("migration", e->dst_uid),
             LS("error", e->dst_reason));
}

static void
make_incoming(struct vm_entry *e, const struct vmi *v)
{
    enum hv_kind kind = vm_hypervisor_now(e);
    struct hv_driver *d = e->h->drivers[kind];
    struct vm_job *job;
    struct err err = {0};

    if (!d)
        err_set(&err, -ENOTCONN, "%s guests are not served here", hv_kind_name(kind));
    if (!d || d->ops->ready(d, &err) != 0) {
        failed_here(e, err_msg(&err));
        handler_retry_later(e->h);
        return;
    }
    job = vm_job_new(e);
    if (!vm_job_want(job, kind, true)) {
        free(job);
        handler_retry_later(e->h);
        return;
    }
    vm_journal_init(e, v, &job->j, JOURNAL_INCOMING, kind);
    memcpy(job->j.migration_uid, e->dst_uid, sizeof job->j.migration_uid);
    job->j.generation = vm_annotation_number(e->vmi, ANN_MIGRATION_GENERATION);
    job->write_journal = true;
    job->fn = incoming_run;
    job->done = incoming_done;
    e->dst_phase = DST_MAKING;
    vm_job_start(job);
}

static void
incoming_run(struct vm_job *job)
{
    if (FAULT(DST_PREPARE))
        job->rc = err_set(&job->err, -EIO, "the incoming guest could not be made (fault point)");
    else
        vm_job_make(job, false);
    if (job->rc != 0) {
        journal_remove(job->e->h->cfg.state_dir, job->e->uid, NULL);
        snprintf(job->text, sizeof job->text, "%s",
                 job->why.text[0] ? job->why.text : err_msg(&job->err));
    }
}

static void
incoming_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;

    if (job->rc != 0) {
        e->has_journal = false;
        failed_here(e, job->text);
        return;
    }
    vm_set_guest(e, job->guest);
    listen_for(e, false);
}

/* Where else it listens, when the policy lets migrations use the management network; "" = nowhere. */
static const char *
fallback_ip(const struct vm_entry *e)
{
    struct migration_options o;

    migration_options_read(object_annotation(e->vmi, ANN_MIGRATION_OPTIONS), &o);
    return o.fallback_management && e->h->net.state == MIGNET_READY ? e->h->cfg.address : "";
}

/* Where the target listens now; the status follows e->dst_address. */
static void
announce(struct vm_entry *e, struct target_run *r, const struct vm_place *p)
{
    r->place = *p;
    r->ifindex = p->device[0] ? if_nametoindex(p->device) : 0;
    snprintf(e->dst_address, sizeof e->dst_address, "%s", r->mover->target_address(r->t));
    if (*r->mover->target_fallback_address(r->t)) {
        AUTO_TREE struct tree *t = tree_map();

        tree_set(t, "address", tree_string(r->mover->target_fallback_address(r->t)));
        vmim_annotate(e->h, e->dst_uid, ANN_TARGET_FALLBACK, t, NULL, NULL, NULL);
    }
}

/* The migration network is elsewhere now, or its interface was made anew: so is the socket. What is
 * connected goes on for as long as it can; a source that was cut off finds the new address in the
 * status. */
static void
follow_network(struct vm_entry *e)
{
    struct target_run *r = e->dst;
    struct vm_place p;
    struct err err = {0};

    if (vm_place_now(e->h, &p, NULL) != 0 ||
        (vm_place_equal(&p, &r->place) && (!p.device[0] || if_nametoindex(p.device) == r->ifindex)))
        return;
    if (r->mover->target_relisten(r->t, p.ip, p.device, p.trusted, fallback_ip(e), &err) != 0) {
        log_warn("migration.listen", LS("uid", e->uid), LS("error", err_msg(&err)));
        handler_retry_later(e->h);
        return;
    }
    announce(e, r, &p);
    log_info("migration.moved", LS("uid", e->uid), LS("migration", e->dst_uid),
             LS("address", e->dst_address), LS("interface", p.device));
}

static void
listen_for(struct vm_entry *e, bool recovering)
{
    struct target_run *r = xcalloc(1, sizeof *r);
    struct mig_target_config c = {0};
    struct vm_place place = {0};
    struct err err = {0};
    AUTO_FREE char *path = journal_postcopy_path(e->h->cfg.state_dir, e->uid);
    int rc = encrypt(e, r, &c, &err);

    if (rc == 0)
        rc = vm_place_now(e->h, &place, &err);

    if (!recovering)
        (void)unlink(path); /* of an attempt before this one */
    snprintf(c.ident.vmi_uid, sizeof c.ident.vmi_uid, "%s", e->uid);
    snprintf(c.ident.migration_uid, sizeof c.ident.migration_uid, "%s", e->dst_uid);
    c.ident.generation = e->j.generation;
    memcpy(c.listen_ip, place.ip, sizeof c.listen_ip);
    memcpy(c.bind_device, place.device, sizeof c.bind_device);
    c.network_trusted = place.trusted;
    c.rdma_off = e->h->cfg.no_rdma;
    c.rdma_window_bytes = e->h->cfg.rdma_window_bytes;
    snprintf(c.fallback_listen_ip, sizeof c.fallback_listen_ip, "%s", fallback_ip(e));
    vm_urgent_mark(e->h, &c.urgent_priority, &c.urgent_dscp);
    c.recovering = recovering && e->j.state != JOURNAL_RUNNING;
    c.recovering_committed = recovering && e->j.state == JOURNAL_RUNNING;
    snprintf(c.state_path, sizeof c.state_path, "%s", path);
    c.running = on_running;
    c.prepared = on_prepared;
    c.committed = on_committed;
    c.never = on_never;
    c.refused = on_refused;
    c.noted = on_noted;
    c.ctx = r;
    r->e = e;
    r->l = e->h->l;
    r->j = e->j;
    r->mover = vm_mover(e);
    if (!r->mover) {
        rc = -ENOTCONN;
        err_set(&err, rc, "%s guests are not served here", hv_kind_name(e->j.hypervisor));
    }
    if (rc == 0)
        rc = r->mover->target_new(&c, hv_lives(e->guest) ? e->guest : NULL, &r->t, &err);
    if (rc != 0) {
        tls_ctx_unref(r->tls);
        free(r);
        if (!recovering) {
            failed_here(e, err_msg(&err));
            vm_end_guest(e, true);
        } else {
            log_warn("migration.listen", LS("uid", e->uid), LS("error", err_msg(&err)));
            handler_retry_later(e->h);
        }
        return;
    }
    r->state_dir = xstrdup(e->h->cfg.state_dir);
    e->dst = r;
    e->dst_runs = c.recovering_committed;
    announce(e, r, &place);
    e->dst_phase = DST_LISTENING;
    log_info("migration.listening", LS("uid", e->uid), LS("migration", e->dst_uid),
             LS("address", e->dst_address), LI("recovering", recovering));
    if (pthread_create(&r->thread, NULL, run_target, r) != 0)
        abort();
}

/* With what, and from whom: the node that the newest object names as the source. */
static int
encrypt(struct vm_entry *e, struct target_run *r, struct mig_target_config *c, struct err *err)
{
    struct arena *a = arena_new();
    const struct vmi *v = e->vmi ? vmi_decode(e->vmi, a) : NULL;
    int rc = v ? node_tls(e->h, &v->status.migration.configuration, &r->tls, err)
               : err_set(err, -ENOENT, "the VM's object is not known");

    if (v && rc == 0)
        snprintf(c->tls_peer, sizeof c->tls_peer, "%s",
                 v->status.migration.source_node ? v->status.migration.source_node : "");
    c->tls = r->tls;
    arena_free(a);
    return rc;
}

/* The engine's thread. */
static void
on_refused(void *ctx, const char *why)
{
    struct target_run *r = ctx;

    log_warn("migration.refused", LS("migration", r->j.migration_uid), LS("why", why));
}

/* The engine's thread. */
static void
on_noted(void *ctx, const char *text)
{
    struct target_run *r = ctx;

    log_info("migration.note", LS("migration", r->j.migration_uid), LS("text", text));
}

static void *
run_target(void *ctx)
{
    struct target_run *r = ctx;

    r->outcome = r->mover->target_run(r->t, &r->err);
    loop_post(r->l, on_ended, r);
    return NULL;
}

static int
on_prepared(void *ctx, struct err *err)
{
    struct target_run *r = ctx;

    r->j.state = JOURNAL_PREPARED;
    return journal_write(r->state_dir, &r->j, err);
}

static int
on_committed(void *ctx, struct err *err)
{
    struct target_run *r = ctx;

    r->j.state = JOURNAL_RUNNING;
    return journal_write(r->state_dir, &r->j, err);
}

/* The engine's thread: post-copy. */
static void
on_running(void *ctx)
{
    struct target_run *r = ctx;

    loop_post(r->l, guest_runs, r->e);
}

static void
guest_runs(void *ctx)
{
    struct vm_entry *e = ctx;

    if (!e->dst)
        return;       /* all of it has arrived meanwhile */
    e->j = e->dst->j; /* on_committed wrote it, and the engine's thread has no more to write */
    e->dst_runs = true;
    vm_reconcile(e);
}

/* What is lost, for people and programs: region:offset+bytes. */
static void
note_damage(struct vm_entry *e, const struct target_run *run)
{
    struct mig_range r[8];
    size_t n = run->mover->target_damage(run->t, r, ARRAY_LEN(r)), at = 0;

    e->dst_damage[0] = '\0';
    for (size_t i = 0; i < n && i < ARRAY_LEN(r); i++)
        at += (size_t)snprintf(e->dst_damage + at, sizeof e->dst_damage - at, "%s%u:%#llx+%llu",
                               i ? " " : "", r[i].region, (unsigned long long)r[i].offset,
                               (unsigned long long)r[i].bytes);
    if (n > ARRAY_LEN(r))
        snprintf(e->dst_damage + at, sizeof e->dst_damage - at, " and %zu ranges more",
                 n - ARRAY_LEN(r));
    if (n > 0)
        log_error("migration.damaged", LS("uid", e->uid), LS("migration", e->dst_uid),
                  LS("ranges", e->dst_damage));
}

static int
on_never(void *ctx, struct err *err)
{
    struct target_run *r = ctx;

    r->j.state = JOURNAL_NEVER;
    return journal_write(r->state_dir, &r->j, err);
}

static void
on_ended(void *ctx)
{
    struct target_run *r = ctx;
    struct vm_entry *e = r->e;
    AUTO_TREE struct tree *result = NULL;

    pthread_join(r->thread, NULL);
    r->mover->target_stats(r->t, &e->dst_stats);
    note_damage(e, r);
    r->mover->target_free(r->t);
    tls_ctx_unref(r->tls);
    e->dst = NULL;
    if (!e->dst_runs) /* else this has been known for long, and the guest may have ended since */
        e->j = r->j;
    e->dst_runs = false;
    log_info("migration.target.ended", LS("uid", e->uid), LS("migration", e->dst_uid),
             LI("outcome", r->outcome), LS("error", err_msg(&r->err)));
    switch (r->outcome) {
    case MIG_TARGET_RUNNING:
        e->dst_phase = DST_DONE;
        node_metrics_target_ended(e->h->metrics, &e->dst_stats);
        result = stats_tree_target(&e->dst_stats, e->h->cfg.node_name);
        vmim_annotate(e->h, e->dst_uid, ANN_TARGET_RESULT, result, NULL, NULL, NULL);
        break;
    case MIG_TARGET_FAILED:
    case MIG_TARGET_ABORTED:
        failed_here(e, err_msg(&r->err));
        if (e->j.state != JOURNAL_NEVER)
            vm_end_guest(e, true);
        break;
    case MIG_TARGET_IN_DOUBT:
        e->dst_phase = DST_NONE; /* reconcile listens again */
        break;
    }
    free(r->state_dir);
    free(r);
    vm_reconcile(e);
}

/* The downtime as the guest's own clock saw it, once every vCPU has made a step: onto the VMIM. */
void
target_guest_result(struct vm_entry *e, const struct vmi *v)
{
    struct vm_job *job;

    (void)v;
    if (e->dst_result_sent || e->busy || !hv_native(e->guest)) /* others do not say */
        return;
    job = vm_job_new(e);
    job->guest = e->guest;
    job->fn = result_run;
    job->done = result_done;
    vm_job_start(job);
}

static void
result_run(struct vm_job *job)
{
    job->rc = native_status(hv_native(job->guest), &job->status, &job->err);
}

static void
result_done(struct vm_job *job)
{
    struct vm_entry *e = job->e;
    AUTO_TREE struct tree *t = NULL;

    if (job->rc != 0 || e->dst_result_sent)
        return;
    if (!job->status.downtime_known) {
        /* No step yet (an idle guest makes few): asked again a little later. */
        handler_retry_later(e->h);
        e->dst_result_sent = ++e->dst_result_tries > RESULT_TRIES;
        return;
    }
    t = tree_map();
    tree_set(t, "downtimeMs", tree_float((double)job->status.downtime_us / 1000.0));
    tree_set(t, "node", tree_string(e->h->cfg.node_name));
    e->dst_result_sent = true;
    vmim_annotate(e->h, e->dst_uid, ANN_GUEST_RESULT, t, NULL, NULL, NULL);
}
