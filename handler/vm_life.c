/* A guest that runs here, between its start and its end: paused and resumed as its user asks, asked to
 * power off before it is ended, and what its state says in the VMI's conditions. Words and defaults are
 * KubeVirt's; docs/vm-life.md. Loop thread; jobs on workers. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"

#define DEFAULT_GRACE_S 30 /* terminationGracePeriodSeconds of a VMI that has none */

static void say(struct vm_entry *e, const struct hv_now *now, struct tree *want);
static void drop_condition(struct tree *obj, const char *type);
static void pause_run(struct vm_job *job);
static void resume_run(struct vm_job *job);
static void resume_done(struct vm_job *job);
static void shut_down_run(struct vm_job *job);
static void shut_down_done(struct vm_job *job);
static void on_stop_timer(void *ctx);

static bool
start_job(struct vm_entry *e, void (*fn)(struct vm_job *job), void (*done)(struct vm_job *job))
{
    struct vm_job *job = vm_job_new(e);

    job->guest = e->guest;
    job->fn = fn;
    job->done = done;
    vm_job_start(job);
    return true;
}

/* A migration of it is under way, or its beginning is: it is the migration's to pause. */
static bool
migrates(const struct vm_entry *e, const struct vmi *v)
{
    const struct migration_state *ms = &v->status.migration;

    return source_active(e) || target_active(e) ||
           (ms->present && ms->start_us && !ms->completed && !ms->failed);
}

bool
vm_life_reconcile(struct vm_entry *e, const struct vmi *v, struct tree *want)
{
    const char *asked = object_annotation(e->vmi, ANN_PAUSE_REQUEST);
    bool busy = migrates(e, v);
    struct hv_now now;

    if (!e->guest)
        return false;
    e->guest->ops->now(e->guest, &now);
    if (now.resets != e->resets)
        log_info("guest.reboot", LS("uid", e->uid), LS("name", v->meta.name));
    e->resets = now.resets;
    if (!busy && now.state == HV_PAUSED && now.pause == HV_PAUSE_MIGRATION) {
        /* One that is over: it kept the guest paused as its user had it, or did not get to resuming it. */
        if (!vm_wants_pause(e))
            return start_job(e, resume_run, resume_done);
        now.pause = HV_PAUSE_USER;
    }
    say(e, &now, want);
    if (!asked || busy || now.state == HV_UNKNOWN || now.state == HV_ENDED)
        return false;
    if (strcmp(asked, "true") == 0)
        return now.state == HV_RUNNING && start_job(e, pause_run, NULL);
    if (!e->resumed || now.state == HV_PAUSED)
        return start_job(e, resume_run, resume_done);
    e->resumed = !vm_annotate(e, ANN_PAUSE_REQUEST, NULL); /* answered */
    return false;
}

static void
pause_run(struct vm_job *job)
{
    job->rc = job->guest->ops->pause(job->guest, &job->err);
}

static void
resume_run(struct vm_job *job)
{
    job->rc = job->guest->ops->resume(job->guest, &job->err);
}

static void
resume_done(struct vm_job *job)
{
    job->e->resumed = job->rc == 0;
}

/* --- conditions --- */

static void
say(struct vm_entry *e, const struct hv_now *now, struct tree *want)
{
    static const char *const paused[][2] = {
        [HV_PAUSE_NONE] = {NULL, NULL},
        [HV_PAUSE_USER] = {"PausedByUser", "VMI was paused by user"},
        [HV_PAUSE_MIGRATION] = {"PausedByMigrationMonitor",
                                "VMI was paused by the migration monitor"},
        [HV_PAUSE_IO_ERROR] = {"PausedIOError", "VMI was paused, low-level IO error detected"},
        [HV_PAUSE_OTHER] = {"PausedByHypervisor", "VMI was paused by its hypervisor"},
    };
    int64_t at = vm_now(e);

    if (now->state == HV_UNKNOWN) { /* as it was, until it is known */
        struct hv_driver *d = e->h->drivers[e->guest->ops->kind];
        struct err err = {0};

        if (d)
            (void)d->ops->ready(d, &err);
        object_set_condition(want, "Ready", "Unknown", "HypervisorNotReady", err_msg(&err), at);
        return;
    }
    object_set_condition(want, "Ready", "True", "", "", at);
    drop_condition(want, "Synchronized");
    if (now->state == HV_PAUSED && paused[now->pause][0])
        object_set_condition(want, COND_PAUSED, "True", paused[now->pause][0],
                             paused[now->pause][1], at);
    else
        drop_condition(want, COND_PAUSED);
    if (now->agent_connected)
        object_set_condition(want, "AgentConnected", "True", "", "", at);
    else
        drop_condition(want, "AgentConnected");
}

static void
drop_condition(struct tree *obj, const char *type)
{
    struct tree *list = tree_get(tree_ensure_map(obj, "status"), "conditions");

    for (size_t i = tree_len(list); i-- > 0;)
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), type) == 0)
            tree_list_remove(list, i);
}

/* --- its end --- */

bool
vm_life_stopping(struct vm_entry *e, const struct vmi *v)
{
    int64_t grace_s = v->spec.has_grace ? v->spec.grace_seconds : DEFAULT_GRACE_S;
    int64_t now_us = vm_now(e), left_us;
    uint64_t wait_us;

    if (!hv_lives(e->guest) || e->stop_refused)
        return false;
    if (grace_s > HANDLER_MAX_GRACE_S)
        grace_s = HANDLER_MAX_GRACE_S;
    /* From the object's own clock, so that a handler that is restarted begins no second time. */
    left_us = v->meta.deletion_us + grace_s * 1000000 - now_us;
    if (left_us <= 0) {
        if (grace_s > 0)
            log_info("guest.grace.over", LS("uid", e->uid), LI("seconds", grace_s));
        return false;
    }
    if (e->stop_timer)
        return true;
    wait_us = (uint64_t)left_us < HANDLER_STOP_AGAIN_US ? (uint64_t)left_us : HANDLER_STOP_AGAIN_US;
    e->stop_timer = loop_timer_add(e->h->l, wait_us, on_stop_timer, e);
    return start_job(e, shut_down_run, shut_down_done);
}

static void
on_stop_timer(void *ctx)
{
    struct vm_entry *e = ctx;

    e->stop_timer = NULL;
    vm_reconcile(e);
}

/* Whatever it answers, the grace period goes on; only one that cannot be asked has none. */
static void
shut_down_run(struct vm_job *job)
{
    struct err err = {0};
    int rc = job->guest->ops->shut_down(job->guest, &err);

    job->refused = rc == -ENOTSUP;
    if (rc != 0 && !job->refused)
        log_warn("guest.shutdown", LS("uid", job->e->uid), LS("error", err_msg(&err)));
}

static void
shut_down_done(struct vm_job *job)
{
    job->e->stop_refused = job->refused;
}
