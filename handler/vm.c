/* One VM on this host: from the newest VirtualMachineInstance, the journal and the guest process to the next
 * step. Level-triggered: vm_reconcile is called after every change and starts at most one blocking job and one
 * write; what the object should say is computed anew each time and written conditionally. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

static void entry_free(struct vm_entry *e);
static void say_unknown(struct vm_entry *e);
static void forget_if_done(struct vm_entry *e);
static void reconcile(struct vm_entry *e);
static bool reconcile_gone(struct vm_entry *e);
static bool reconcile_owner(struct vm_entry *e, const struct vmi *v, struct tree *want);
static bool reconcile_ended(struct vm_entry *e, const struct vmi *v, struct tree *want);
static bool say_runs_on(struct vm_entry *e);
static bool reconcile_foreign(struct vm_entry *e, const struct vmi *v);
static bool phase_is_final(const char *phase);
static void stamp_phase(struct vm_entry *e, struct tree *want, const char *phase);
static void want_phase(struct vm_entry *e, struct tree *want, const char *phase,
                       const char *reason);

void
vm_free_all(struct handler *h)
{
    size_t it = 0;
    const char *uid;
    void *v;

    while (strmap_next(h->vms, &it, &uid, &v))
        entry_free(v);
}

bool
vm_sessions_end(struct handler *h)
{
    size_t it = 0;
    void *v;
    bool none = true;

    while (strmap_next(h->vms, &it, NULL, &v)) {
        struct vm_entry *e = v;

        source_end(e);
        target_end(e);
        vm_trace_interrupt(e);
        vm_console_end(e);
        if (source_active(e) || target_active(e) || e->busy || e->writing || e->console)
            none = false;
    }
    return none;
}

void
vm_object_changed(struct handler *h, const struct tree *obj, bool gone)
{
    const char *uid = object_uid(obj);
    struct vm_entry *e = uid && *uid ? strmap_get(h->vms, uid) : NULL;

    if (!e) {
        const char *me = h->cfg.node_name;

        if (gone || !uid || !*uid || strlen(uid) >= JOURNAL_UID_SIZE)
            return;
        /* Only what concerns this node becomes an entry. */
        if (strcmp(tree_find_string(obj, "", "status", "nodeName", NULL), me) != 0 &&
            strcmp(tree_find_string(obj, "", "status", "migrationState", "targetNode", NULL), me) !=
                0)
            return;
        e = vm_entry_new(h, uid);
    }
    tree_free(e->vmi);
    e->vmi = gone ? NULL : tree_copy(obj);
    vm_reconcile(e);
}

void
vm_list_synced(struct handler *h)
{
    size_t it = 0;
    void *v;

    while (strmap_next(h->vms, &it, NULL, &v))
        vm_reconcile(v);
}

/* What has to touch the guest now does not wait for a recording. */
static void
interrupt_trace(struct vm_entry *e)
{
    struct arena *a;
    const struct vmi *v;
    const struct migration_state *ms;

    if (!e->trace)
        return;
    a = arena_new();
    v = e->vmi ? vmi_decode(e->vmi, a) : NULL;
    ms = v ? &v->status.migration : NULL;
    if (!v || v->meta.deletion_us || phase_is_final(v->status.phase) ||
        (ms->present && !ms->completed && !ms->failed))
        vm_trace_interrupt(e);
    arena_free(a);
}

void
vm_reconcile(struct vm_entry *e)
{
    if (e->busy)
        interrupt_trace(e);
    if (e->busy || e->reconciling)
        return;
    e->reconciling = true;
    e->arena = arena_new();
    reconcile(e);
    arena_free(e->arena);
    e->arena = NULL;
    e->reconciling = false;
    forget_if_done(e);
}

static void
reconcile(struct vm_entry *e)
{
    struct handler *h = e->h;

    if (!h->cluster[0] || !informer_synced(h->vmis))
        return; /* nothing is known about the cluster yet: guests run on as they do */
    if (e->has_journal && e->j.cluster[0] && strcmp(e->j.cluster, h->cluster) != 0) {
        if (!e->foreign_said)
            log_error("vm.foreign", LS("uid", e->uid), LS("name", e->j.name),
                      LS("cluster", e->j.cluster), LS("controller", h->cluster));
        e->foreign_said = true;
        return; /* a guest of another cluster: not ours to touch */
    }
    if (vm_not_found_yet(e)) {
        say_unknown(e);
        return;
    }
    if (!e->vmi) {
        reconcile_gone(e);
        return;
    }

    struct tree *want = tree_copy(e->vmi);
    const struct vmi *v = vmi_decode(e->vmi, e->arena);
    const char *me = h->cfg.node_name, *owner = v->status.node_name ? v->status.node_name : "";
    const struct migration_state *ms = &v->status.migration;
    bool is_source = ms->present && ms->source_node && strcmp(ms->source_node, me) == 0;
    bool is_target = ms->present && ms->target_node && strcmp(ms->target_node, me) == 0;
    bool stop = reconcile_ended(e, v, want);

    if (!stop && e->has_journal && e->j.state == JOURNAL_RUNNING && strcmp(owner, me) == 0)
        stop = vm_console_if_asked(e, v) || vm_reset_if_asked(e, v);
    if (!stop && is_source)
        stop = source_reconcile(e, v, want);
    if (!stop && is_target && !is_source)
        stop = target_reconcile(e, v, want);
    if (!stop && strcmp(owner, me) == 0)
        stop = reconcile_owner(e, v, want);
    if (!stop && strcmp(owner, me) != 0 && !is_source && !is_target)
        reconcile_foreign(e, v);
    if (!e->busy)
        vm_write_status(e, want);
    else
        tree_free(want);
}

/* It may run, or not: what has it does not answer. Nothing else is said, and nothing is done. */
static void
say_unknown(struct vm_entry *e)
{
    struct hv_driver *d = e->h->drivers[e->j.hypervisor];
    struct tree *want;
    struct err err = {0};

    if (!e->vmi ||
        strcmp(tree_find_string(e->vmi, "", "status", "nodeName", NULL), e->h->cfg.node_name) != 0)
        return;
    if (!d)
        err_set(&err, -ENOTCONN, "this handler does not use %s", hv_kind_name(e->j.hypervisor));
    else if (d->ops->ready(d, &err) == 0)
        return; /* it is being asked */
    want = tree_copy(e->vmi);
    object_set_condition(want, "Ready", "Unknown", "HypervisorNotReady", err_msg(&err), vm_now(e));
    vm_write_status(e, want);
}

/* The object is gone: finalizers make sure that this comes after the guest's end, or a person forced it. Either
 * way nobody owns the guest any more. */
static bool
reconcile_gone(struct vm_entry *e)
{
    if (source_active(e)) {
        source_cancel(e);
        return true;
    }
    if (target_active(e)) {
        target_end(e);
        return true;
    }
    if (e->guest || e->has_journal) {
        log_info("vm.removed", LS("uid", e->uid), LS("name", e->j.name));
        vm_end_guest(e, true);
        return true;
    }
    return false;
}

/* Our guest ended by itself: recorded, reported, and only then cleaned up. */
static bool
reconcile_ended(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    if (e->has_journal && e->j.state == JOURNAL_RUNNING && e->src_phase != SRC_RUNNING &&
        !hv_lives(e->guest) && !source_may_have_left(e, v)) {
        struct vm_job *job = vm_job_new(e);

        job->j = e->j;
        job->j.state = JOURNAL_ENDED;
        job->write_journal = true;
        if (e->guest) {
            struct hv_exit x;

            e->guest->ops->exit_reason(e->guest, &x);
            snprintf(job->j.reason, sizeof job->j.reason, "%s%s",
                     x.kind == HV_EXIT_QUIT ? "quit: " : "", x.text);
        } else {
            snprintf(job->j.reason, sizeof job->j.reason, "the guest %s is gone",
                     e->j.hypervisor == HV_NATIVE ? "process" : "domain");
        }
        log_warn("guest.ended", LS("uid", e->uid), LS("name", e->j.name),
                 LS("reason", job->j.reason));
        vm_job_start(job);
        return true;
    }
    if (!e->has_journal || e->j.state != JOURNAL_ENDED)
        return false;
    target_end(e); /* in post-copy it still gets memory for it */
    if (source_active(e) || target_active(e))
        return true;
    if (phase_is_final(v->status.phase) || v->meta.deletion_us) {
        vm_end_guest(e, true);
        if (!phase_is_final(v->status.phase))
            want_phase(e, want, "Succeeded", "");
        return true;
    }
    if (strncmp(e->j.reason, "quit: ", 6) == 0)
        want_phase(e, want, "Succeeded", e->j.reason + 6);
    else
        want_phase(e, want, "Failed", e->j.reason);
    return true;
}

/* status.nodeName is this node. */
static bool
reconcile_owner(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    bool final = phase_is_final(v->status.phase);

    if (e->has_journal && e->j.state != JOURNAL_RUNNING && e->j.state != JOURNAL_STARTING)
        return true; /* in the hands of a migration */
    if (v->meta.deletion_us || final) {
        if (source_active(e)) {
            source_cancel(e);
            return true;
        }
        if (target_active(e)) {
            target_end(e);
            return true;
        }
        if (e->guest || e->has_journal) {
            if (final || !vm_life_stopping(e, v))
                vm_end_guest(e, true);
            return true;
        }
        if (!final)
            want_phase(e, want, "Succeeded", "");
        return false;
    }
    if (!e->has_journal || e->j.state == JOURNAL_STARTING) {
        bool due = v->status.phase && strcmp(v->status.phase, "Scheduled") == 0;

        if (due && !e->refused.reason[0] && vm_start_guest(e, v))
            return true;
        if (e->refused.reason[0]) {
            object_set_condition(want, "Synchronized", "False", e->refused.reason, e->refused.text,
                                 vm_now(e));
            if (e->refused_final)
                want_phase(e, want, "Failed", e->refused.text);
            return false;
        }
        if (v->status.phase && strcmp(v->status.phase, "Running") == 0)
            want_phase(e, want, "Failed", "this node has no record of the guest any more");
        return false;
    }
    if (say_runs_on(e))
        return false; /* before it counts as running, for who looks where it could go */
    if (!v->status.phase || strcmp(v->status.phase, "Running") != 0)
        want_phase(e, want, "Running", "");
    if (vm_life_reconcile(e, v, want))
        return true;
    /* In post-copy its memory is not there yet, and its userfaultfd is in use. */
    return !target_active(e) && (vm_verify_if_asked(e, v) || vm_trace_if_asked(e, v));
}

/* True while it is being written. */
static bool
say_runs_on(struct vm_entry *e)
{
    const char *kind = hv_kind_name(e->j.hypervisor);
    const char *said = object_annotation(e->vmi, ANN_RUNS_ON);

    if (said && strcmp(said, kind) == 0)
        return false;
    (void)vm_annotate(e, ANN_RUNS_ON, kind);
    return true;
}

/* Another node owns it, and no migration names us: whatever is here was fenced off. */
static bool
reconcile_foreign(struct vm_entry *e, const struct vmi *v)
{
    if (source_active(e)) {
        source_cancel(e);
        return true;
    }
    if (target_active(e)) {
        target_end(e);
        return true;
    }
    if (!e->guest && !e->has_journal)
        return false;

    /* COMMITTED and not named any more: the controller ended the migration after the target said that
     * it runs. A RUNNING guest whose generation is not below the owner's would be a second owner:
     * keep it and shout, never guess. */
    if (e->has_journal && e->j.state == JOURNAL_RUNNING &&
        e->j.generation >= vm_annotation_number(e->vmi, ANN_GENERATION)) {
        if (!e->foreign_said)
            log_error("vm.ownership", LS("uid", e->uid), LS("name", e->j.name),
                      LS("owner", v->status.node_name), LI("generation", e->j.generation));
        e->foreign_said = true;
        return true;
    }
    log_info("vm.fenced", LS("uid", e->uid), LS("name", v->meta.name),
             LS("owner", v->status.node_name));
    vm_end_guest(e, true);
    return true;
}

bool
vm_condition_is(const struct vm_entry *e, const char *type, const char *status)
{
    return strcmp(tree_find_string(object_condition(e->vmi, type), "", "status", NULL), status) ==
           0;
}

struct vm_entry *
vm_entry_new(struct handler *h, const char *uid)
{
    struct vm_entry *e = xcalloc(1, sizeof *e);

    e->h = h;
    snprintf(e->uid, sizeof e->uid, "%s", uid);
    strmap_put(h->vms, uid, e);
    return e;
}

static void
entry_free(struct vm_entry *e)
{
    loop_timer_del(e->src_timer);
    loop_timer_del(e->stop_timer);
    vm_refused_forget(e);
    vm_drop_guest(e);
    tree_free(e->vmi);
    report_forget(e);
    free(e);
}

/* An entry without object, guest, journal or anything under way is of no use. */
static void
forget_if_done(struct vm_entry *e)
{
    const char *me = e->h->cfg.node_name;

    if (e->busy || e->writing || e->sampling || e->guest || e->has_journal || e->console ||
        source_active(e) || target_active(e))
        return;
    if (e->vmi &&
        (strcmp(tree_find_string(e->vmi, "", "status", "nodeName", NULL), me) == 0 ||
         strcmp(tree_find_string(e->vmi, "", "status", "migrationState", "targetNode", NULL), me) ==
             0 ||
         strcmp(tree_find_string(e->vmi, "", "status", "migrationState", "sourceNode", NULL), me) ==
             0))
        return;
    if (!informer_synced(e->h->vmis))
        return;
    strmap_del(e->h->vms, e->uid);
    entry_free(e);
}

static bool
phase_is_final(const char *phase)
{
    return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

/* status.phaseTransitionTimestamps: when each phase was entered last. */
static void
stamp_phase(struct vm_entry *e, struct tree *want, const char *phase)
{
    struct tree *status = tree_ensure_map(want, "status"), *stamp = tree_map();
    struct tree *list = tree_get(status, "phaseTransitionTimestamps");
    char now[40];

    if (tree_type(list) != TREE_LIST) {
        list = tree_list();
        tree_set(status, "phaseTransitionTimestamps", list);
    }
    for (size_t i = tree_len(list); i-- > 0;)
        if (strcmp(tree_find_string(tree_at(list, i), "", "phase", NULL), phase) == 0)
            tree_list_remove(list, i);
    time_format(vm_now(e), false, now, sizeof now);
    tree_set(stamp, "phase", tree_string(phase));
    tree_set(stamp, "phaseTransitionTimestamp", tree_string(now));
    tree_append(list, stamp);
}

static void
want_phase(struct vm_entry *e, struct tree *want, const char *phase, const char *reason)
{
    bool running = strcmp(phase, "Running") == 0;

    if (strcmp(tree_find_string(want, "", "status", "phase", NULL), phase) != 0)
        stamp_phase(e, want, phase);
    tree_set_path(want, tree_string(phase), "status", "phase", NULL);
    if (*reason)
        tree_set_path(want, tree_string(reason), "status", "reason", NULL);
    object_set_condition(want, "Ready", running ? "True" : "False",
                         running ? "" : "GuestNotRunning",
                         running ? "" : "Guest VM is not reported as running", vm_now(e));
}
