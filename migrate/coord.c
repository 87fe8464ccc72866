/* The coordinator's phases and its step; see migrate/coord.h. No input, no output, no memory but
 * struct coord. */
#include "migrate/coord.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct phase_info {
    const char *name;
    int64_t deadline_s;
    unsigned next;
    const char *text;
};

static const struct phase_info phases[COORD_PHASE_COUNT] = {
#define X(id, name, deadline, next, text) [COORD_##id] = {name, deadline, next, text},
    COORD_PHASES(X)
#undef X
};

static void step_waiting(struct coord *m, const struct coord_seen *s, int64_t now_us,
                         struct coord_out *out);
static void step_handed(struct coord *m, const struct coord_seen *s, int64_t now_us,
                        struct coord_out *out);
static void step_running(struct coord *m, const struct coord_seen *s, int64_t now_us,
                         struct coord_out *out);

static void vsay(struct coord_out *out, const char *reason, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);
static void say(struct coord_out *out, const char *reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void wait_for(struct coord_out *out, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void lost(struct coord *m, int64_t now_us, struct coord_out *out, const char *reason,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);

const char *
coord_phase_name(enum coord_phase p)
{
    return p < COORD_PHASE_COUNT ? phases[p].name : "?";
}

int
coord_phase_parse(const char *name, enum coord_phase *ret, struct err *err)
{
    for (int p = 0; p < COORD_PHASE_COUNT; p++) {
        if (strcmp(name ? name : "", phases[p].name) == 0) {
            *ret = (enum coord_phase)p;
            return 0;
        }
    }
    return err_set(err, -EINVAL, "phase '%s' is none of a migration's", name);
}

unsigned
coord_phase_next(enum coord_phase p)
{
    return p < COORD_PHASE_COUNT ? phases[p].next : 0;
}

int64_t
coord_phase_deadline_s(enum coord_phase p)
{
    return p < COORD_PHASE_COUNT ? phases[p].deadline_s : 0;
}

const char *
coord_phase_text(enum coord_phase p)
{
    return p < COORD_PHASE_COUNT ? phases[p].text : "";
}

bool
coord_phase_final(enum coord_phase p)
{
    return p == COORD_SUCCEEDED || p == COORD_FAILED;
}

bool
coord_phase_holds_slot(enum coord_phase p)
{
    return p == COORD_SCHEDULED || p == COORD_PREPARING || p == COORD_READY || p == COORD_RUNNING;
}

void
coord_init(struct coord *m, int64_t created_us)
{
    *m = (struct coord){.phase = COORD_UNSET, .created_us = created_us};
    m->stamp_us[COORD_UNSET] = created_us;
}

int
coord_set_phase(struct coord *m, enum coord_phase to, int64_t now_us, struct err *err)
{
    if (to >= COORD_PHASE_COUNT || !(coord_phase_next(m->phase) & 1u << to))
        return err_set(err, -EINVAL, "a migration cannot go from phase '%s' to '%s'",
                       coord_phase_name(m->phase), coord_phase_name(to));
    m->phase = to;
    m->stamp_us[to] = now_us;
    return 0;
}

void
coord_step(struct coord *m, const struct coord_seen *seen, int64_t now_us, struct coord_out *out)
{
    *out = (struct coord_out){.reason = ""};
    switch (m->phase) {
    case COORD_UNSET:
    case COORD_PENDING:
    case COORD_SCHEDULING:
    case COORD_SCHEDULED:
        step_waiting(m, seen, now_us, out);
        break;
    case COORD_PREPARING:
    case COORD_READY:
        step_handed(m, seen, now_us, out);
        break;
    case COORD_RUNNING:
        step_running(m, seen, now_us, out);
        break;
    case COORD_SUCCEEDED:
    case COORD_FAILED:
    case COORD_PHASE_COUNT:
        break;
    }
}

/* --- outcomes of a step --- */

static void
vsay(struct coord_out *out, const char *reason, const char *fmt, va_list ap)
{
    vsnprintf(out->message, sizeof(out->message), fmt, ap);
    out->reason = reason ? reason : "";
}

static void
say(struct coord_out *out, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsay(out, reason, fmt, ap);
    va_end(ap);
}

static void
wait_for(struct coord_out *out, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsay(out, reason, fmt, ap);
    va_end(ap);
    out->waiting = true;
}

static void
move(struct coord *m, enum coord_phase to, int64_t now_us, struct coord_out *out)
{
    if (coord_set_phase(m, to, now_us, NULL) == 0)
        out->actions |= COORD_STORE;
}

static void
lost(struct coord *m, int64_t now_us, struct coord_out *out, const char *reason, const char *fmt,
     ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsay(out, reason, fmt, ap);
    va_end(ap);
    move(m, COORD_FAILED, now_us, out);
}

static int64_t
due_us(int64_t from_us, int64_t seconds)
{
    int64_t us;

    if (__builtin_mul_overflow(seconds, 1000000, &us) || __builtin_add_overflow(from_us, us, &us))
        return INT64_MAX;
    return us;
}

/* True when `seconds` have passed since from_us; else the step is asked for again at that time. */
static bool
overdue(int64_t from_us, int64_t seconds, int64_t now_us, struct coord_out *out)
{
    int64_t due = due_us(from_us, seconds);

    if (now_us >= due)
        return true;
    if (due != INT64_MAX && (out->wake_us == 0 || due < out->wake_us))
        out->wake_us = due;
    return false;
}

static const char *
or_unknown(const char *s)
{
    return s ? s : "?";
}

/* --- before the hand-off: nobody but the controller has done anything yet --- */

/* Ends the attempt when it cannot go on whatever its phase; true when it did. */
static bool
refused(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    if (s->cancel)
        lost(m, now_us, out, "Cancelled", "cancelled: the migration object was deleted");
    else if (s->vmi == COORD_VMI_MISSING)
        lost(m, now_us, out, "VMINotFound", "the VirtualMachineInstance does not exist");
    else if (s->vmi == COORD_VMI_FINAL)
        lost(m, now_us, out, "VMIFinal", "the VirtualMachineInstance has ended (phase %s)",
             or_unknown(s->vmi_phase));
    else if (s->vmi == COORD_VMI_DELETING)
        lost(m, now_us, out, "VMIDeleted", "the VirtualMachineInstance is being deleted");
    else if (s->refused)
        lost(m, now_us, out, "NotMigratable", "%s", s->refused);
    else
        return false;
    return true;
}

static void
step_scheduling(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    int64_t since = m->stamp_us[COORD_SCHEDULING];
    int64_t pending_s = s->pending_s > 0 ? s->pending_s : phases[m->phase].deadline_s;
    int64_t unschedulable_s = s->unschedulable_s > 0 ? s->unschedulable_s : COORD_UNSCHEDULABLE_S;

    if (s->slot && s->target == COORD_TARGET_FOUND) {
        move(m, COORD_SCHEDULED, now_us, out);
        return;
    }
    if (s->slot && s->target == COORD_TARGET_UNKNOWN) {
        out->actions |= COORD_FIND_TARGET; /* also at the deadline: a target may be there now */
        return;
    }
    if (s->target == COORD_TARGET_UNSCHEDULABLE && overdue(since, unschedulable_s, now_us, out)) {
        lost(m, now_us, out, "TargetUnschedulable",
             "no node fitted the target for %" PRId64 " s: %s", unschedulable_s,
             or_unknown(s->target_message));
    } else if (overdue(since, pending_s, now_us, out)) {
        lost(m, now_us, out, "TargetPending", "the target was pending for %" PRId64 " s: %s",
             pending_s, s->slot ? or_unknown(s->target_message) : or_unknown(s->wait_message));
    } else if (!s->slot) {
        wait_for(out, s->wait_reason, "%s", or_unknown(s->wait_message));
    } else {
        wait_for(out, s->target_reason, "%s", or_unknown(s->target_message));
    }
}

static void
step_waiting(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    int64_t pending_s = s->pending_s > 0 ? s->pending_s : phases[m->phase].deadline_s;
    int64_t deadline_s = phases[m->phase].deadline_s;

    /* The controller died between the hand-off and the phase: what the handlers read counts. */
    if (m->phase == COORD_SCHEDULED && s->mine) {
        move(m, COORD_PREPARING, now_us, out);
        return;
    }
    if (refused(m, s, now_us, out))
        return;
    switch (m->phase) {
    case COORD_UNSET:
        move(m, COORD_PENDING, now_us, out);
        break;
    case COORD_PENDING:
        if (s->vmi == COORD_VMI_RUNNING && s->slot) {
            move(m, COORD_SCHEDULING, now_us, out);
        } else if (s->vmi == COORD_VMI_RUNNING) {
            wait_for(out, s->wait_reason, "%s", or_unknown(s->wait_message));
        } else if (overdue(m->stamp_us[COORD_PENDING], pending_s, now_us, out)) {
            lost(m, now_us, out, "VMINotRunning",
                 "the VirtualMachineInstance was not running within %" PRId64 " s (phase %s)",
                 pending_s, or_unknown(s->vmi_phase));
        } else {
            wait_for(out, "VMINotRunning",
                     "waiting: the VirtualMachineInstance does not run yet (phase %s)",
                     or_unknown(s->vmi_phase));
        }
        break;
    case COORD_SCHEDULING:
        step_scheduling(m, s, now_us, out);
        break;
    default: /* COORD_SCHEDULED */
        if (s->target_gone) {
            lost(m, now_us, out, "TargetGone", "target node %s is gone",
                 or_unknown(s->target_node));
        } else if (overdue(m->stamp_us[COORD_SCHEDULED], deadline_s, now_us, out)) {
            lost(m, now_us, out, "HandOffTimeout",
                 "the hand-off was not written within %" PRId64 " s", deadline_s);
        } else {
            out->actions |= COORD_HAND_OFF;
        }
        break;
    }
}

/* --- after the hand-off --- */

/* The attempt has failed for the handlers; it is over when nothing of it is left at the target. */
static void
clean_up(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    int64_t since = s->state_end_us ? s->state_end_us : m->stamp_us[m->phase];
    const char *why = s->failure_reason && *s->failure_reason ? s->failure_reason : "failed";

    if (!s->address || s->target_stale)
        lost(m, now_us, out, "MigrationFailed", "%s", why);
    else if (overdue(since, COORD_CLEANUP_S, now_us, out))
        lost(m, now_us, out, "MigrationFailed",
             "%s (and the handler of target node %s did not say within %d s that it is clean)", why,
             or_unknown(s->target_node), COORD_CLEANUP_S);
    else
        wait_for(out, "CleaningUp", "failed: %s; waiting until target node %s is clean", why,
                 or_unknown(s->target_node));
}

/* True when the VMI's state no longer speaks of this migration: nothing is left to decide. */
static bool
taken_away(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    if (s->vmi == COORD_VMI_MISSING)
        lost(m, now_us, out, "VMINotFound", "%s",
             s->failure_reason && *s->failure_reason
                 ? s->failure_reason
                 : "the VirtualMachineInstance does not exist any more");
    else if (s->other)
        lost(m, now_us, out, "TakenOver", "taken over by another migration");
    else if (!s->mine)
        lost(m, now_us, out, "StateCleared", "the migration state was cleared");
    else
        return false;
    return true;
}

static void
step_handed(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    int64_t deadline_s = phases[m->phase].deadline_s;

    if (taken_away(m, s, now_us, out))
        return;
    if (s->failed) {
        clean_up(m, s, now_us, out);
        return;
    }
    /* The source's claim settles every race: from here on only it may fail the attempt. */
    if (s->started || s->detected || s->completed) {
        move(m, m->phase == COORD_PREPARING ? COORD_READY : COORD_RUNNING, now_us, out);
        return;
    }
    if (s->vmi == COORD_VMI_FINAL)
        say(out, "VMIFinal", "the VirtualMachineInstance has ended (phase %s)",
            or_unknown(s->vmi_phase));
    else if (s->vmi == COORD_VMI_DELETING)
        say(out, "VMIDeleted", "the VirtualMachineInstance is being deleted");
    else if (s->cancel)
        say(out, "Cancelled", "cancelled: the migration object was deleted");
    else if (s->target_gone)
        say(out, "TargetGone", "target node %s is gone", or_unknown(s->target_node));
    else if (m->phase == COORD_PREPARING && s->address) {
        move(m, COORD_READY, now_us, out);
        return;
    } else if (m->phase == COORD_PREPARING &&
               overdue(m->stamp_us[m->phase], deadline_s, now_us, out))
        say(out, "TargetNotPrepared",
            "the handler of target node %s did not announce an address within %" PRId64 " s",
            or_unknown(s->target_node), deadline_s);
    else if (m->phase == COORD_READY && overdue(m->stamp_us[m->phase], deadline_s, now_us, out))
        say(out, "SourceNotStarted",
            "the handler of source node %s did not start the migration within %" PRId64 " s",
            or_unknown(s->source), deadline_s);
    else if (m->phase == COORD_PREPARING) {
        wait_for(out, "PreparingTarget", "waiting: target node %s prepares",
                 or_unknown(s->target_node));
        return;
    } else {
        wait_for(out, "Starting", "waiting: source node %s has not started yet",
                 or_unknown(s->source));
        return;
    }
    out->actions |= COORD_FAIL_STATE;
}

/* The guest runs at the target (it says so, or the source has seen it and ended its copy); what is
 * left is the owner's name and the other side's word. */
static void
step_arrived(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    const char *silent = s->detected ? s->source : s->target_node;
    bool stale = s->detected ? s->source_stale : s->target_stale;

    if (!s->owner_changed) {
        out->actions |= COORD_CHANGE_OWNER;
    } else if (s->memory_pending && s->source_gone) {
        /* Somebody took the node away, and nothing is heard from it. */
        out->actions |= COORD_SOURCE_LOST;
        say(out, "SourceLost",
            "the VM runs at the target; the rest of its memory is lost with node %s",
            or_unknown(s->source));
    } else if (s->memory_pending) {
        wait_for(out, "PostCopy",
                 "the VM runs at the target; the rest of its memory comes from node %s%s",
                 or_unknown(s->source),
                 s->source_stale ? ", whose handler does not answer: the VM waits where it needs it"
                                 : "");
    } else if (s->completed && s->detected) {
        move(m, COORD_SUCCEEDED, now_us, out);
    } else if (stale || (s->moved_us && overdue(s->moved_us, COORD_COMPLETE_S, now_us, out))) {
        say(out, "Unconfirmed", "the VM runs at the target, but the handler of node %s did not %s",
            or_unknown(silent),
            s->detected ? "confirm that its copy has ended" : "confirm it itself");
        move(m, COORD_SUCCEEDED, now_us, out);
    } else {
        wait_for(out, "Finishing", "the VM runs at the target; waiting until node %s has %s",
                 or_unknown(silent), s->detected ? "ended its copy" : "confirmed it");
    }
}

static void
step_running(struct coord *m, const struct coord_seen *s, int64_t now_us, struct coord_out *out)
{
    int64_t limit_s;

    if (taken_away(m, s, now_us, out))
        return;
    if (s->vmi == COORD_VMI_FINAL && !s->failed && !s->owner_changed) {
        /* Its owner says that the guest has ended (or its node was declared dead): the target's
         * copy must not come to life. */
        if (s->completed) {
            lost(m, now_us, out, "VMIFinal", "the VirtualMachineInstance has ended (phase %s)",
                 or_unknown(s->vmi_phase));
            return;
        }
        say(out, "VMIFinal", "the VirtualMachineInstance has ended (phase %s)",
            or_unknown(s->vmi_phase));
        out->actions |= COORD_FAIL_STATE;
        return;
    }
    if (s->failed) {
        clean_up(m, s, now_us, out);
        return;
    }
    if (s->detected || s->completed) {
        step_arrived(m, s, now_us, out);
        return;
    }
    if (__builtin_mul_overflow(s->completion_timeout_s, 2, &limit_s) ||
        __builtin_add_overflow(limit_s, COORD_ABORT_SLACK_S, &limit_s))
        limit_s = INT64_MAX;
    if (s->abort_requested)
        wait_for(out, "Aborting", "waiting: source node %s has been asked to abort%s",
                 or_unknown(s->source), s->source_stale ? ", but its handler does not answer" : "");
    else if (s->cancel || s->vmi == COORD_VMI_DELETING ||
             (s->completion_timeout_s > 0 &&
              overdue(m->stamp_us[COORD_RUNNING], limit_s, now_us, out))) {
        say(out,
            s->cancel                      ? "Cancelled"
            : s->vmi == COORD_VMI_DELETING ? "VMIDeleted"
                                           : "Overdue",
            "%s",
            s->cancel                      ? "cancelled: the migration object was deleted"
            : s->vmi == COORD_VMI_DELETING ? "the VirtualMachineInstance is being deleted"
                                           : "long past its completion timeout");
        out->actions |= COORD_REQUEST_ABORT;
    } else if (s->source_stale)
        wait_for(
            out, "SourceStale",
            "waiting: the handler of source node %s does not answer; the VM is there or at %s, "
            "and only they can say",
            or_unknown(s->source), or_unknown(s->target_node));
}
