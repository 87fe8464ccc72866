/* The migration loop's writes, one function each: on the migration object, and on the VMI's shared
 * state. Each looks again at the newest version: a handler may have written meanwhile, and whether
 * the source has claimed the start decides who may still say "failed" (docs/protocol.md). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "control/loop_event.h"
#include "control/loop_migration.h"
#include "control/loop_phase.h"
#include "control/loop_policy.h"

struct write_args {
    /* on the migration */
    enum coord_phase from, to;
    int64_t stamp_us;
    bool waiting, cancelled, reason_changed;
    const char *reason, *message;
    const char *vmi;
    struct tree *result; /* owned */
    /* on the VMI */
    const char *uid; /* the migration's */
    const char *source, *target;
    const char *old_uid; /* whose state is overwritten */
    const char *policy, *options;
    struct tree *configuration; /* owned */
};

static void
release_args(struct loop_write *w)
{
    struct write_args *a = w->args;

    tree_free(TAKE_PTR(a->result));
    tree_free(TAKE_PTR(a->configuration));
}

static struct loop_write *
new_write(struct loops *l, enum kind kind, const struct meta *meta, const char *uid)
{
    struct loop_write *w = loop_write_new(l, kind, meta, sizeof(struct write_args));
    struct write_args *a = w->args;

    w->release = release_args;
    a->uid = arena_strdup(w->arena, uid);
    return w;
}

static struct meta
about(const struct loop_write *w)
{
    return (struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid};
}

/* The VMI's migrationState when it is this migration's. */
static struct tree *
state_of(struct tree *vmi, const char *uid)
{
    struct tree *ms = tree_find(vmi, "status", "migrationState", NULL);

    return ms && strcmp(tree_get_string(tree_get(ms, "migrationUid"), ""), uid) == 0 ? ms : NULL;
}

static bool
flag(const struct tree *ms, const char *key)
{
    return tree_get_bool(tree_get(ms, key), false);
}

static void
set_time(struct tree *map, const char *key, int64_t us)
{
    char text[32];

    time_format(us, false, text, sizeof(text));
    tree_set(map, key, tree_string(text));
}

/* --- the migration object --- */

static bool
phase_is(const struct tree *obj, enum coord_phase p)
{
    return strcmp(tree_find_string(obj, "", "status", "phase", NULL), coord_phase_name(p)) == 0;
}

/* Copies the VMI's state when it is this migration's; true when that changed anything. */
static bool
copy_state(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    const struct tree *vmi = store_get(w->l->store, KIND_VMI, w->ns, a->vmi);
    const struct tree *ms = tree_find(vmi, "status", "migrationState", NULL);

    if (!ms || strcmp(tree_get_string(tree_get(ms, "migrationUid"), ""), w->uid) != 0 ||
        tree_equal(ms, tree_find(obj, "status", "migrationState", NULL)))
        return false;
    tree_set_path(obj, tree_copy(ms), "status", "migrationState", NULL);
    return true;
}

/* Its own record of what it is about, until the VMI has one. */
static void
write_record(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    struct tree *ms = tree_ensure_map(tree_ensure_map(obj, "status"), "migrationState");

    tree_set(ms, "migrationUid", tree_string(w->uid));
    if (a->source)
        tree_set(ms, "sourceNode", tree_string(a->source));
    if (a->target)
        tree_set(ms, "targetNode", tree_string(a->target));
    if (a->to == COORD_FAILED && !flag(ms, "failed")) {
        tree_set(ms, "failed", tree_bool(true));
        set_time(ms, "endTimestamp", a->stamp_us);
    }
    if (a->to == COORD_FAILED)
        tree_set(ms, "failureReason", tree_string(a->message));
}

/* How the target was chosen, or why there is none. result: may be NULL. */
static void
write_result(struct tree *obj, const struct tree *result)
{
    AUTO_SB struct sb json = SB_INIT;

    if (!result)
        return;
    tree_to_json(result, 0, &json);
    tree_set_path(obj, tree_string(sb_str(&json)), "metadata", "annotations", ANN_SCHEDULE_RESULT,
                  NULL);
}

static int
change_phase(struct loop_write *w, struct tree *obj)
{
    struct write_args *a = w->args;
    int64_t now_us = loop_wall_us(w->l->loop);

    if (!phase_is(obj, a->from))
        return 0;
    tree_set_path(obj, tree_string(coord_phase_name(a->to)), "status", "phase", NULL);
    phase_stamp(obj, coord_phase_name(a->to), a->stamp_us, true);
    if (object_condition(obj, CONDITION_WAITING))
        object_set_condition(obj, CONDITION_WAITING, "False", "", "", now_us);
    if (a->cancelled)
        object_set_condition(obj, CONDITION_ABORT, "True", "Cancelled",
                             "the migration object was deleted", now_us);
    copy_state(w, obj);
    if (a->to == COORD_SCHEDULED || a->to == COORD_FAILED)
        write_record(w, obj);
    write_result(obj, a->result);
    if (coord_phase_final(a->to))
        loop_core_drop_finalizer(obj, FINALIZER_VMIM);
    else
        loop_core_add_finalizer(obj, FINALIZER_VMIM);
    return 1;
}

static void
tell_end(struct loop_write *w, const struct tree *obj)
{
    const struct write_args *a = w->args;
    const struct vmi *v = loop_cache_get(w->l->cache, KIND_VMI, w->ns, a->vmi);
    struct meta vmim = about(w);
    bool well = a->to == COORD_SUCCEEDED;
    const char *reason = well           ? "SuccessfulMigration"
                         : a->cancelled ? "SuccessfulAbortMigration"
                                        : "FailedMigration";
    const char *why =
        well ? a->message
             : tree_find_string(obj, a->message, "status", "migrationState", "failureReason", NULL);
    AUTO_FREE char *text =
        xasprintf("migration of %s/%s from %s%s%s %s%s%s", w->ns, a->vmi,
                  a->source ? a->source : "?", a->target ? " to " : "", a->target ? a->target : "",
                  well ? "succeeded" : "failed", *why ? ": " : "", why);
    enum loop_event_type type = well || a->cancelled ? EVENT_NORMAL : EVENT_WARNING;

    log_info("migration.end", LS("namespace", w->ns), LS("migration", w->name), LS("vmi", a->vmi),
             LS("phase", coord_phase_name(a->to)), LS("why", why));
    loop_event(w->l, KIND_VMIM, &vmim, type, reason, "%s", text);
    if (v)
        loop_event(w->l, KIND_VMI, &v->meta, type, reason, "%s", text);
}

static void
after_phase(struct loop_write *w, const struct tree *obj)
{
    const struct write_args *a = w->args;

    log_debug("migration.phase", LS("namespace", w->ns), LS("migration", w->name),
              LS("vmi", a->vmi), LS("phase", coord_phase_name(a->to)));
    if ((a->to == COORD_PENDING && FAULT(COORD_PENDING)) ||
        (a->to == COORD_SCHEDULING && FAULT(COORD_SCHEDULING)) ||
        (a->to == COORD_SCHEDULED && FAULT(COORD_SCHEDULED)) ||
        (a->to == COORD_READY && FAULT(COORD_TARGET_READY)) ||
        (a->to == COORD_RUNNING && FAULT(COORD_RUNNING)))
        return;
    if (coord_phase_final(a->to)) {
        tell_end(w, obj);
    } else if (a->to == COORD_SCHEDULED) {
        struct meta vmim = about(w);

        loop_event(w->l, KIND_VMIM, &vmim, EVENT_NORMAL, "Scheduled",
                   "Successfully assigned the migration of %s/%s from %s to %s", w->ns, a->vmi,
                   a->source ? a->source : "?", a->target);
    }
}

void
loop_migration_store(struct loops *l, struct migration *mg, enum coord_phase from,
                     const struct coord_out *out)
{
    struct loop_write *w = new_write(l, KIND_VMIM, &mg->m->meta, mg->m->meta.uid);
    struct write_args *a = w->args;

    a->from = from;
    a->to = mg->c.phase;
    a->stamp_us = mg->c.stamp_us[a->to];
    a->message = arena_strdup(w->arena, out->message);
    a->vmi = arena_strdup(w->arena, mg->entry.vmi);
    a->source = arena_strdup(w->arena, mg->seen.source);
    a->target = arena_strdup(w->arena, mg->target ? mg->target : mg->seen.target_node);
    a->cancelled = a->to == COORD_FAILED && mg->seen.cancel;
    if (a->to == COORD_SCHEDULED)
        a->result = TAKE_PTR(mg->target_result);
    loop_write_mutate(w, change_phase, after_phase);
}

static int
change_wait(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;

    write_result(obj, a->result);
    return object_set_condition(obj, CONDITION_WAITING, a->waiting ? "True" : "False", a->reason,
                                a->message, loop_wall_us(w->l->loop));
}

static bool
is_short(const char *reason)
{
    static const char *const all[] = {"PreparingTarget", "Starting", "Finishing", "CleaningUp"};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (reason && strcmp(reason, all[i]) == 0)
            return true;
    return false;
}

static void
after_wait(struct loop_write *w, const struct tree *obj)
{
    const struct write_args *a = w->args;
    struct meta vmim = about(w);
    bool unfit = strcmp(a->reason, "Unschedulable") == 0;

    (void)obj;
    /* what only takes a moment is no event; the condition names it while it lasts */
    if (a->waiting && a->reason_changed && !is_short(a->reason))
        loop_event(w->l, KIND_VMIM, &vmim, unfit ? EVENT_WARNING : EVENT_NORMAL,
                   unfit ? "migrationTargetPodUnschedulable" : a->reason, "%s", a->message);
}

void
loop_migration_waits(struct loops *l, struct migration *mg, const struct coord_out *out)
{
    const struct condition *old = loop_core_condition(&mg->m->conditions, CONDITION_WAITING);
    const char *status = out->waiting ? "True" : "False";
    const char *reason = out->waiting ? out->reason : "",
               *message = out->waiting ? out->message : "";
    const char *old_reason = old && old->reason ? old->reason : "";
    struct loop_write *w;
    struct write_args *a;

    if (!old && !out->waiting)
        return;
    if (old && old->status && strcmp(old->status, status) == 0 && strcmp(old_reason, reason) == 0 &&
        strcmp(old->message ? old->message : "", message) == 0)
        return;
    w = new_write(l, KIND_VMIM, &mg->m->meta, mg->m->meta.uid);
    a = w->args;
    a->waiting = out->waiting;
    a->reason = arena_strdup(w->arena, reason);
    a->message = arena_strdup(w->arena, message);
    a->reason_changed = strcmp(old_reason, reason) != 0;
    a->result = TAKE_PTR(mg->target_result);
    loop_write_mutate(w, change_wait, after_wait);
}

static int
mirror(struct loop_write *w, struct tree *obj)
{
    return copy_state(w, obj);
}

void
loop_migration_mirror(struct loops *l, struct migration *mg)
{
    const struct tree *vmim =
        loop_core_tree(l, KIND_VMIM, mg->m->meta.namespace_, mg->m->meta.name);
    const struct tree *vmi = loop_core_tree(l, KIND_VMI, mg->m->meta.namespace_, mg->entry.vmi);
    struct loop_write *w;
    struct write_args *a;

    if (tree_equal(tree_find(vmim, "status", "migrationState", NULL),
                   tree_find(vmi, "status", "migrationState", NULL)))
        return;
    w = new_write(l, KIND_VMIM, &mg->m->meta, mg->m->meta.uid);
    a = w->args;
    a->vmi = arena_strdup(w->arena, mg->entry.vmi);
    loop_write_mutate(w, mirror, NULL);
}

static int
note_moved(struct loop_write *w, struct tree *obj)
{
    return object_set_condition(obj, CONDITION_MOVED, "True", "OwnerChanged",
                                "the VM runs at the target", loop_wall_us(w->l->loop));
}

void
loop_migration_moved(struct loops *l, struct migration *mg)
{
    loop_write_mutate(new_write(l, KIND_VMIM, &mg->m->meta, mg->m->meta.uid), note_moved, NULL);
}

static int
drop_finalizer(struct loop_write *w, struct tree *obj)
{
    (void)w;
    loop_core_drop_finalizer(obj, FINALIZER_VMIM);
    return 1;
}

void
loop_migration_release(struct loops *l, struct migration *mg)
{
    loop_write_mutate(new_write(l, KIND_VMIM, &mg->m->meta, mg->m->meta.uid), drop_finalizer, NULL);
}

/* --- the VMI's shared state --- */

static int
hand_off(struct loop_write *w, struct tree *obj)
{
    struct write_args *a = w->args;
    struct tree *status = tree_ensure_map(obj, "status"), *ms = tree_get(status, "migrationState");
    const char *generation = object_annotation(obj, ANN_GENERATION);
    const char *old_uid = tree_get_string(tree_get(ms, "migrationUid"), "");
    char *end;
    unsigned long long number = generation ? strtoull(generation, &end, 10) : 0;

    if (vmi_phase_parse(tree_get_string(tree_get(status, "phase"), "")) != VMI_RUNNING ||
        tree_find(obj, "metadata", "deletionTimestamp", NULL) ||
        strcmp(tree_get_string(tree_get(status, "nodeName"), ""), a->source) != 0 ||
        strcmp(old_uid, a->old_uid) != 0 || strcmp(old_uid, a->uid) == 0)
        return 0;
    ms = tree_map();
    tree_set(ms, "migrationUid", tree_string(a->uid));
    tree_set(ms, "sourceNode", tree_string(a->source));
    tree_set(ms, "targetNode", tree_string(a->target));
    if (a->policy)
        tree_set(ms, "migrationPolicyName", tree_string(a->policy));
    tree_set(ms, "migrationConfiguration", TAKE_PTR(a->configuration));
    tree_set(status, "migrationState", ms);
    tree_set_path(obj, tree_string(a->target), "metadata", "labels", LABEL_MIGRATION_TARGET, NULL);
    tree_set_path(obj, tree_stringf("%llu", number + 1), "metadata", "annotations",
                  ANN_MIGRATION_GENERATION, NULL);
    tree_set_path(obj, tree_string(a->options), "metadata", "annotations", ANN_MIGRATION_OPTIONS,
                  NULL);
    return 1;
}

static void
after_hand_off(struct loop_write *w, const struct tree *obj)
{
    const struct write_args *a = w->args;
    struct meta vmi = about(w);

    (void)obj;
    log_info("migration.handoff", LS("namespace", w->ns), LS("vmi", w->name),
             LS("source", a->source), LS("target", a->target),
             LS("policy", a->policy ? a->policy : ""));
    if (FAULT(COORD_HANDOFF))
        return;
    loop_event(w->l, KIND_VMI, &vmi, EVENT_NORMAL, "SuccessfulHandOver",
               "the migration from %s to %s was handed to their handlers", a->source, a->target);
}

void
loop_migration_hand_off(struct loops *l, struct migration *mg)
{
    const struct vmi *v = mg->v;
    struct policy_decision policy;
    AUTO_TREE struct tree *options = NULL;
    AUTO_SB struct sb json = SB_INIT;
    struct loop_write *w;
    struct write_args *a;

    if (!mg->seen.source || !mg->seen.target_node)
        return;
    loop_policy_decide(l, v, &policy);
    w = new_write(l, KIND_VMI, &v->meta, mg->m->meta.uid);
    a = w->args;
    a->source = arena_strdup(w->arena, mg->seen.source);
    a->target = arena_strdup(w->arena, mg->seen.target_node);
    a->old_uid =
        arena_strdup(w->arena, v->status.migration.present && v->status.migration.migration_uid
                                   ? v->status.migration.migration_uid
                                   : "");
    a->policy = arena_strdup(w->arena, policy.policy);
    a->configuration = loop_policy_tree(&policy.effective);
    options = migration_options_tree(&policy.options);
    tree_to_json(options, 0, &json);
    a->options = arena_strdup(w->arena, sb_str(&json));
    loop_write_mutate(w, hand_off, after_hand_off);
}

/* Only while the source has not claimed the start, or when the VMI has ended whatever its source
 * thinks: after the claim nobody but the source knows where the guest runs. */
static int
fail_state(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    struct tree *ms = state_of(obj, a->uid);
    enum vmi_phase phase = vmi_phase_parse(tree_find_string(obj, "", "status", "phase", NULL));

    if (!ms || flag(ms, "failed") || flag(ms, "completed") ||
        (*tree_get_string(tree_get(ms, "startTimestamp"), "") && !vmi_phase_final(phase)))
        return 0;
    tree_set(ms, "failed", tree_bool(true));
    tree_set(ms, "failureReason", tree_string(a->message));
    set_time(ms, "endTimestamp", loop_wall_us(w->l->loop));
    if (a->cancelled) {
        tree_set(ms, "abortRequested", tree_bool(true));
        tree_set(ms, "abortStatus", tree_string("Succeeded"));
    }
    return 1;
}

void
loop_migration_fail_state(struct loops *l, const struct vmi *v, const char *uid, const char *why,
                          bool cancelled)
{
    struct loop_write *w = new_write(l, KIND_VMI, &v->meta, uid);
    struct write_args *a = w->args;

    a->message = arena_strdup(w->arena, why);
    a->cancelled = cancelled;
    loop_write_mutate(w, fail_state, NULL);
}

static int
request_abort(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    struct tree *ms = state_of(obj, a->uid);

    if (!ms || flag(ms, "failed") || flag(ms, "completed") || flag(ms, "abortRequested"))
        return 0;
    tree_set(ms, "abortRequested", tree_bool(true));
    return 1;
}

void
loop_migration_request_abort(struct loops *l, const struct vmi *v, const char *uid)
{
    loop_write_mutate(new_write(l, KIND_VMI, &v->meta, uid), request_abort, NULL);
}

static int
source_lost(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    const char *now = object_annotation(obj, ANN_SOURCE_LOST);

    if (!state_of(obj, a->uid) || (now && strcmp(now, a->uid) == 0))
        return 0;
    tree_set_path(obj, tree_string(a->uid), "metadata", "annotations", ANN_SOURCE_LOST, NULL);
    return 1;
}

void
loop_migration_source_lost(struct loops *l, const struct vmi *v, const char *uid)
{
    loop_write_mutate(new_write(l, KIND_VMI, &v->meta, uid), source_lost, NULL);
}

static int
change_owner(struct loop_write *w, struct tree *obj)
{
    const struct write_args *a = w->args;
    struct tree *status = tree_ensure_map(obj, "status"), *ms = state_of(obj, a->uid);
    const char *target = tree_get_string(tree_get(ms, "targetNode"), "");
    const char *generation = object_annotation(obj, ANN_MIGRATION_GENERATION);

    if (!ms || flag(ms, "failed") || !*target ||
        !(flag(ms, "targetNodeDomainDetected") || flag(ms, "completed")) ||
        vmi_phase_final(vmi_phase_parse(tree_get_string(tree_get(status, "phase"), ""))))
        return 0;
    tree_set_path(obj, tree_string(target), "metadata", "labels", LABEL_NODE_NAME, NULL);
    if (generation)
        tree_set_path(obj, tree_string(generation), "metadata", "annotations", ANN_GENERATION,
                      NULL);
    tree_set(status, "nodeName", tree_string(target));
    tree_del(status, "evacuationNodeName");
    return 1;
}

static void
after_owner(struct loop_write *w, const struct tree *obj)
{
    log_info("migration.owner", LS("namespace", w->ns), LS("vmi", w->name),
             LS("node", tree_find_string(obj, "", "status", "nodeName", NULL)));
}

void
loop_migration_change_owner(struct loops *l, const struct vmi *v, const char *uid)
{
    loop_write_mutate(new_write(l, KIND_VMI, &v->meta, uid), change_owner, after_owner);
}
