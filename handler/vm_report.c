/* What users see of an outgoing migration while it runs and afterwards: progress, the decision log
 * and the result, as annotations of the migration object (docs/protocol.md). The state machine of
 * vm_source.c says when. Loop thread. */
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "base/log.h"
#include "handler/handler.h"
#include "handler/limits.h"
#include "handler/stats_tree.h"

#define DEFAULT_DOWNTIME_US 300000 /* the engine's */

static void keep(struct vm_entry *e, int64_t at_us, int64_t round, const char *text);
static void rate_text(int64_t bytes_per_s, char *buf, size_t size);
static const char *allowed(bool yes);
static struct tree *decisions_so_far(struct vm_entry *e);
static void on_result(void *ctx, int status, const struct tree *body, const char *error);

void
report_progress(struct vm_entry *e, const char *uid, const struct mig_stats *st)
{
    AUTO_TREE struct tree *t = stats_tree_progress(st, clock_mono_us());
    AUTO_FREE char *key = xasprintf("progress/%s", uid);

    vmim_annotate(e->h, uid, ANN_MIGRATION_PROGRESS, t, key, NULL, NULL);
}

void
report_decision(struct vm_entry *e, int64_t at_us, const struct mig_decision *d)
{
    keep(e, at_us, d->round, d->text);
}

void
report_note(struct vm_entry *e, const char *fmt, ...)
{
    char text[MIG_DECISION_TEXT];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    keep(e, vm_now(e), e->src_stats.round, text);
}

void
report_start(struct vm_entry *e, const struct vmi *v, const struct mig_source_config *c)
{
    const struct mig_limits *l = &c->limits;
    const struct mig_policy *p = &c->policy;
    const struct migration_state *ms = &v->status.migration;
    char memory[32], rate[64], total[48] = "none", stall[48] = "none";

    quantity_format_human(e->guest->ops->memory_bytes(e->guest), memory, sizeof memory);
    rate_text((int64_t)l->bandwidth_bytes_per_s, rate, sizeof rate);
    if (l->completion_timeout_us)
        snprintf(total, sizeof total, "%.0f s", (double)l->completion_timeout_us / 1e6);
    if (l->progress_timeout_us)
        snprintf(stall, sizeof stall, "%.0f s", (double)l->progress_timeout_us / 1e6);
    report_note(e,
                "start: %s of memory to %s (%s), policy %s; bandwidth %s, weight %u; downtime "
                "within %.0f ms, completion timeout %s, progress timeout %s; auto-converge %s, "
                "post-copy %s, pause %s",
                memory, ms->target_node ? ms->target_node : "?", c->target_addr,
                ms->policy_name && *ms->policy_name ? ms->policy_name : "none", rate, p->weight,
                (double)(l->max_downtime_us ? l->max_downtime_us : DEFAULT_DOWNTIME_US) / 1000,
                total, stall, allowed(p->allow_auto_converge), allowed(p->allow_post_copy),
                allowed(p->allow_disruption));
}

void
report_end(struct vm_entry *e, enum mig_outcome outcome, enum mig_cause cause,
           const struct mig_stats *st, const struct err *err)
{
    char bytes[32];

    quantity_format_human(st->sent_bytes, bytes, sizeof bytes);
    switch (outcome) {
    case MIG_MOVED:
        if (st->mode == MIG_MODE_PRECOPY)
            break; /* the engine has said it */
        report_note(e,
                    "moved: the guest runs at the target after %.3f s, %s in %u rounds, downtime "
                    "%.1f ms",
                    (double)(st->finished_us - st->started_us) / 1e6, bytes, st->round,
                    (double)st->downtime_us / 1000);
        break;
    case MIG_FAILED:
        report_note(e, "failed, the guest runs on here: %s%s%s", mig_cause_text(cause),
                    err->msg[0] ? ": " : "", err->msg);
        break;
    case MIG_UNKNOWN:
        report_note(e,
                    "in doubt: committed, but the target has not said that the guest runs there; "
                    "it stays paused here while the target is asked (%s)",
                    err_msg(err));
        break;
    }
}

void
report_bandwidth(struct vm_entry *e, int64_t bytes_per_s)
{
    char rate[64];

    rate_text(bytes_per_s, rate, sizeof rate);
    report_note(e, "bandwidth: %s from now on (%s)", rate,
                e->src_override < 0 ? "the policy's: the override was removed"
                                    : "a user's: " ANN_BANDWIDTH_OVERRIDE);
}

/* Bytes a second as text: "64Mi bytes a second", "unlimited". */
static void
rate_text(int64_t bytes_per_s, char *buf, size_t size)
{
    char q[32];

    quantity_format_bytes(bytes_per_s, q, sizeof q);
    if (bytes_per_s > 0)
        snprintf(buf, size, "%s bytes a second", q);
    else
        snprintf(buf, size, "unlimited");
}

static const char *
allowed(bool yes)
{
    return yes ? "allowed" : "not allowed";
}

void
report_forget(struct vm_entry *e)
{
    tree_free(e->src_decisions);
    e->src_decisions = NULL;
}

static void
keep(struct vm_entry *e, int64_t at_us, int64_t round, const char *text)
{
    AUTO_FREE char *key = xasprintf("decisions/%s", e->src_uid);
    struct tree *one = tree_map();
    char at[40];

    if (!e->src_decisions)
        e->src_decisions = decisions_so_far(e);
    time_format(at_us, true, at, sizeof at);
    tree_set(one, "at", tree_string(at));
    tree_set(one, "round", tree_int(round));
    tree_set(one, "text", tree_string(text));
    tree_append(e->src_decisions, one);
    while (tree_len(e->src_decisions) > HANDLER_MAX_DECISIONS)
        tree_list_remove(e->src_decisions, 0);
    vmim_annotate(e->h, e->src_uid, ANN_MIGRATION_DECISIONS, e->src_decisions, key, NULL, NULL);
}

/* Those of an earlier life of this handler. */
static struct tree *
decisions_so_far(struct vm_entry *e)
{
    const struct tree *obj = informer_get_uid(e->h->vmims, e->src_uid);
    struct tree *t = object_annotation_json(obj, ANN_MIGRATION_DECISIONS);

    if (tree_type(t) == TREE_LIST)
        return t;
    tree_free(t);
    return tree_list();
}

bool
report_result(struct vm_entry *e)
{
    bool moved = e->has_journal && e->j.state == JOURNAL_MOVED;
    AUTO_TREE struct tree *t = NULL;

    if (e->writing)
        return true;
    t = stats_tree_result(&e->src_stats, moved, e->src_cause, clock_mono_us());
    if (e->h->movers[vm_hypervisor_now(e)])
        tree_set(t, "method", tree_string(e->h->movers[vm_hypervisor_now(e)]->method));
    if (!vmim_annotate(e->h, e->src_uid, ANN_MIGRATION_RESULT, t, NULL, on_result, e)) {
        e->src_result_sent = true; /* the object is gone: nobody will read it */
        return false;
    }
    e->writing = true;
    return true;
}

static void
on_result(void *ctx, int status, const struct tree *body, const char *error)
{
    struct vm_entry *e = ctx;

    (void)body;
    e->writing = false;
    if (status == 0 || status >= 500) {
        handler_retry_later(e->h);
        return;
    }
    if (status >= 300)
        log_warn("migration.result", LS("migration", e->src_uid), LI("status", status),
                 LS("error", error));
    e->src_result_sent = true;
    vm_reconcile(e);
}
