/* VirtualMachines and their instances: makes and deletes the VMI as the run strategy says, backs
 * off when it keeps failing, and writes what people see of the VM. Part of a pass
 * (control/loop_core.h). Rules: run strategies in the OpenShift Virtualization 4.15
 * documents; the words are KubeVirt's.
 * The placement of a VMI is loop_sched.c's, its end on its node the handler's. */
#include <inttypes.h>
#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"

#define CRASH_STABLE_S        60 /* an instance that ran so long has not failed to start */
#define CRASH_BACKOFF_FIRST_S 10
#define CRASH_BACKOFF_MAX_S   300

/* status.startFailure of a VM */
struct start_failure {
    int64_t count, retry_us;
    const char *vmi_uid; /* the last one that was counted */
};

static void drive(struct loops *l, const struct vm *vm, const struct vmi *vmi,
                  const struct start_failure *f);
static void restart(struct loops *l, const struct vm *vm, const struct vmi *vmi,
                    const struct start_failure *f);
static bool ended_early(struct loops *l, const struct vmi *vmi);
static void create_instance(struct loops *l, const struct vm *vm);
static void delete_instance(struct loops *l, const struct vmi *vmi, const char *why);
static void set_failure(struct loops *l, const struct vm *vm, int64_t count, const char *vmi_uid);
static void drop_requests(struct loops *l, const struct vm *vm);
static void answer_requests(struct loops *l, const struct vm *vm, const struct vmi *vmi);
static void publish(struct loops *l, const struct vm *vm, const struct vmi *vmi,
                    const struct start_failure *f);
static void let_go(struct loops *l, const struct vm *vm);
static void look_after_instance(struct loops *l, const struct vmi *vmi);
static bool owned_by(const struct vmi *vmi, const struct vm *vm);

void
loop_vm_pass(struct loops *l)
{
    const struct vm *vm;
    const struct vmi *vmi;

    for (size_t it = 0; (vm = loop_cache_next_changed(l->cache, KIND_VM, l->all, &it));) {
        const struct tree *t = loop_core_tree(l, KIND_VM, vm->meta.namespace_, vm->meta.name);
        const struct tree *sf = tree_find(t, "status", "startFailure", NULL);
        struct start_failure f = {
            .count = tree_get_int(tree_get(sf, "consecutiveFailCount"), 0),
            .vmi_uid = tree_get_string(tree_get(sf, "lastFailedVMIUID"), ""),
        };

        if (time_parse(tree_get_string(tree_get(sf, "retryAfterTimestamp"), ""), &f.retry_us,
                       NULL) != 0)
            f.retry_us = 0;
        vmi = loop_cache_get(l->cache, KIND_VMI, vm->meta.namespace_, vm->meta.name);
        if (vm->meta.deletion_us && !(vmi && owned_by(vmi, vm))) {
            let_go(l, vm);
            continue;
        }
        if (vmi && !owned_by(vmi, vm))
            continue; /* another owner's, or a VM of before: look_after_instance */
        drive(l, vm, vmi, &f);
        publish(l, vm, vmi, &f);
    }
    for (size_t it = 0; (vmi = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));)
        look_after_instance(l, vmi);
}

/* --- the run strategy --- */

static bool
strategy_is(const struct vm *vm, const char *name)
{
    return vm->run_strategy && strcmp(vm->run_strategy, name) == 0;
}

static void
drive(struct loops *l, const struct vm *vm, const struct vmi *vmi, const struct start_failure *f)
{
    enum vmi_phase phase = vmi ? vmi_phase_parse(vmi->status.phase) : VMI_UNSET;
    bool always = strategy_is(vm, "Always"), rerun = strategy_is(vm, "RerunOnFailure");
    bool once = strategy_is(vm, "Once"); /* an instance that has ended stays */

    if (vm->meta.deletion_us || strategy_is(vm, "Halted")) {
        if (vmi && !vmi->meta.deletion_us)
            delete_instance(l, vmi,
                            vm->meta.deletion_us ? "its VirtualMachine is being deleted"
                                                 : "its VirtualMachine is halted");
        if (f->count)
            set_failure(l, vm, 0, NULL);
        drop_requests(l, vm);
        return;
    }
    answer_requests(l, vm, vmi);
    if (!always && !rerun && !once) /* Manual: only requests start and stop it */
        return;
    if (!vmi) {
        if (f->retry_us > l->now_us)
            loop_core_look_at(l, KIND_VM, &vm->meta, f->retry_us);
        else
            create_instance(l, vm);
    } else if (!vmi->meta.deletion_us &&
               ((phase == VMI_FAILED && !once) || (always && phase == VMI_SUCCEEDED))) {
        restart(l, vm, vmi, f);
    }
}

/* The instance has ended and shall run again: count it when it never got far, clear its place. */
static void
restart(struct loops *l, const struct vm *vm, const struct vmi *vmi, const struct start_failure *f)
{
    const char *reason = vmi->status.reason ? vmi->status.reason : "";
    bool lost = strcmp(reason, "NodeDeleted") == 0;
    AUTO_FREE char *why = NULL;

    if (!lost && ended_early(l, vmi)) {
        if (strcmp(f->vmi_uid, vmi->meta.uid) != 0)
            set_failure(l, vm, f->count + 1, vmi->meta.uid);
    } else if (f->count) {
        set_failure(l, vm, 0, NULL);
    }
    why = *reason ? xasprintf("it has ended (%s) and shall run again", reason)
                  : xstrdup("it has ended and shall run again");
    delete_instance(l, vmi, why); /* the event tells why when the instance is gone */
}

static bool
ended_early(struct loops *l, const struct vmi *vmi)
{
    const struct tree *t = loop_core_tree(l, KIND_VMI, vmi->meta.namespace_, vmi->meta.name);
    int64_t ran_us = phase_stamp_us(t, vmi_phase_name(VMI_RUNNING));
    int64_t end_us = phase_stamp_us(t, vmi->status.phase);

    if (!ran_us)
        ran_us = vmi->meta.creation_us;
    return (end_us ? end_us : l->now_us) - ran_us < (int64_t)CRASH_STABLE_S * 1000000;
}

static void
after_create(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_info("vm.started", LS("namespace", w->ns), LS("vm", w->name));
    loop_event(w->l, KIND_VM, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_NORMAL, "SuccessfulCreate",
               "Started the virtual machine by creating the new virtual machine instance %s",
               w->name);
}

/* As upstream's admission: later changes of the cluster's model are for later instances. */
static void
set_default_cpu(struct loops *l, struct tree *vmi)
{
    const struct hco *hco = loop_cache_hco(l->cache);
    const char *model = hco ? hco->default_cpu_model : NULL;

    if (model && *model && !*tree_find_string(vmi, "", "spec", "domain", "cpu", "model", NULL))
        tree_set_path(vmi, tree_string(model), "spec", "domain", "cpu", "model", NULL);
}

static void
create_instance(struct loops *l, const struct vm *vm)
{
    const struct tree *t = loop_core_tree(l, KIND_VM, vm->meta.namespace_, vm->meta.name);
    struct tree *vmi = vmi_from_vm(t), *finalizers = tree_list();

    tree_append(finalizers, tree_string(FINALIZER_VMI));
    tree_set_path(vmi, finalizers, "metadata", "finalizers", NULL);
    vmi_phase_set(vmi, VMI_PENDING, l->now_us, NULL);
    object_set_condition(vmi, "Ready", "False", "GuestNotRunning",
                         "Guest VM is not reported as running", l->now_us);
    set_default_cpu(l, vmi);
    loop_write_create(loop_write_new(l, KIND_VM, &vm->meta, 0), vmi, after_create);
}

static void
after_delete(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_info("vmi.deleted", LS("namespace", w->ns), LS("vmi", w->name),
             LS("why", (const char *)w->args));
    loop_event(w->l, KIND_VMI, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_NORMAL, "SuccessfulDelete", "the instance is ended: %s",
               (const char *)w->args);
}

static void
delete_instance(struct loops *l, const struct vmi *vmi, const char *why)
{
    struct loop_write *w = loop_write_new(l, KIND_VMI, &vmi->meta, 0);

    w->args = arena_strdup(w->arena, why);
    loop_write_delete(w, after_delete);
}

struct failure_args {
    int64_t count;
    const char *vmi_uid;
};

static int
write_failure(struct loop_write *w, struct tree *obj)
{
    const struct failure_args *a = w->args;
    struct tree *status = tree_ensure_map(obj, "status"), *sf;
    int64_t wait_s = CRASH_BACKOFF_FIRST_S;
    char when[32];

    if (a->count == 0)
        return tree_del(status, "startFailure");
    for (int64_t i = 1; i < a->count && wait_s < CRASH_BACKOFF_MAX_S; i++)
        wait_s *= 2;
    if (wait_s > CRASH_BACKOFF_MAX_S)
        wait_s = CRASH_BACKOFF_MAX_S;
    time_format(loop_wall_us(w->l->loop) + wait_s * 1000000, true, when, sizeof(when));
    sf = tree_ensure_map(status, "startFailure");
    if (strcmp(tree_get_string(tree_get(sf, "lastFailedVMIUID"), ""), a->vmi_uid) == 0)
        return 0;
    tree_set(sf, "consecutiveFailCount", tree_int(a->count));
    tree_set(sf, "lastFailedVMIUID", tree_string(a->vmi_uid));
    tree_set(sf, "retryAfterTimestamp", tree_string(when));
    return 1;
}

static void
set_failure(struct loops *l, const struct vm *vm, int64_t count, const char *vmi_uid)
{
    struct loop_write *w = loop_write_new(l, KIND_VM, &vm->meta, sizeof(struct failure_args));
    struct failure_args *a = w->args;

    *a = (struct failure_args){count, arena_strdup(w->arena, vmi_uid)};
    loop_write_mutate(w, write_failure, NULL);
}

/* --- status.stateChangeRequests: what start, stop and restart ask for --- */

static int
drop_request(struct loop_write *w, struct tree *obj)
{
    const char *action = w->args;
    struct tree *status = tree_ensure_map(obj, "status");
    struct tree *list = tree_get(status, "stateChangeRequests");

    for (size_t i = 0; i < tree_len(list); i++) {
        if (strcmp(tree_get_string(tree_get(tree_at(list, i), "action"), ""), action) != 0)
            continue;
        tree_list_remove(list, i);
        if (tree_len(list) == 0)
            tree_del(status, "stateChangeRequests");
        return 1;
    }
    return 0;
}

static void
answered(struct loops *l, const struct vm *vm, const char *action)
{
    struct loop_write *w = loop_write_new(l, KIND_VM, &vm->meta, 0);

    w->args = arena_strdup(w->arena, action);
    loop_write_mutate(w, drop_request, NULL);
}

/* A VM that shall not run has none to answer. */
static void
drop_requests(struct loops *l, const struct vm *vm)
{
    const struct tree *t = loop_core_tree(l, KIND_VM, vm->meta.namespace_, vm->meta.name);
    const struct tree *list = tree_find(t, "status", "stateChangeRequests", NULL);

    for (size_t i = 0; i < tree_len(list); i++)
        answered(l, vm, tree_get_string(tree_get(tree_at(list, i), "action"), ""));
}

/* The first request, one a pass: {action: Stop, uid} ends that instance, {action: Start} makes
 * one. */
static void
answer_requests(struct loops *l, const struct vm *vm, const struct vmi *vmi)
{
    const struct tree *t = loop_core_tree(l, KIND_VM, vm->meta.namespace_, vm->meta.name);
    const struct tree *rq = tree_at(tree_find(t, "status", "stateChangeRequests", NULL), 0);
    const char *action = tree_get_string(tree_get(rq, "action"), "");
    const char *uid = tree_get_string(tree_get(rq, "uid"), vmi ? vmi->meta.uid : "");

    if (!rq)
        return;
    if (strcmp(action, "Stop") == 0 && vmi && strcmp(uid, vmi->meta.uid) == 0) {
        if (!vmi->meta.deletion_us)
            delete_instance(l, vmi, "stop was asked for");
    } else if (strcmp(action, "Start") == 0 && vmi &&
               vmi_phase_final(vmi_phase_parse(vmi->status.phase))) {
        if (!vmi->meta.deletion_us)
            delete_instance(l, vmi, "it has ended, and start was asked for");
    } else {
        if (strcmp(action, "Start") == 0 && !vmi && strategy_is(vm, "Manual"))
            create_instance(l, vm);
        answered(l, vm, action);
    }
}

/* --- finalizers --- */

static void
add_finalizer(struct tree *obj, const char *name)
{
    if (!tree_find(obj, "metadata", "deletionTimestamp", NULL))
        loop_core_add_finalizer(obj, name);
}

static int
drop_vm_finalizer(struct loop_write *w, struct tree *obj)
{
    (void)w;
    return loop_core_drop_finalizer(obj, FINALIZER_VM);
}

/* It is being deleted, and its instance has ended and is gone. */
static void
let_go(struct loops *l, const struct vm *vm)
{
    if (loop_core_has_finalizer(&vm->meta, FINALIZER_VM))
        loop_write_mutate(loop_write_new(l, KIND_VM, &vm->meta, 0), drop_vm_finalizer, NULL);
}

/* --- what people see of the VM --- */

static bool
is_true(const struct vmi *vmi, const char *type)
{
    const struct condition *c = loop_core_condition(&vmi->status.conditions, type);

    return c && c->status && strcmp(c->status, "True") == 0;
}

static const char *
printable_status(struct loops *l, const struct vm *vm, const struct vmi *vmi,
                 const struct start_failure *f)
{
    enum vmi_phase phase = vmi ? vmi_phase_parse(vmi->status.phase) : VMI_UNSET;
    const struct migration_state *ms = vmi ? &vmi->status.migration : NULL;
    const struct condition *placed =
        vmi ? loop_core_condition(&vmi->status.conditions, "PodScheduled") : NULL;
    bool wanted =
        strategy_is(vm, "Always") || strategy_is(vm, "RerunOnFailure") || strategy_is(vm, "Once");

    if (vm->meta.deletion_us)
        return "Terminating";
    if (vmi && vmi->meta.deletion_us)
        return "Stopping";
    if (!vmi)
        return !wanted ? "Stopped" : f->retry_us > l->now_us ? "CrashLoopBackOff" : "Provisioning";
    switch (phase) {
    case VMI_RUNNING:
        if (ms->present && ms->migration_uid && !ms->completed && !ms->failed &&
            !(ms->target_node && vmi->status.node_name &&
              strcmp(ms->target_node, vmi->status.node_name) == 0))
            return "Migrating";
        return is_true(vmi, "Paused") ? "Paused" : "Running";
    case VMI_SUCCEEDED:
    case VMI_FAILED:
        return "Stopped";
    case VMI_SCHEDULING:
        if (placed && placed->status && strcmp(placed->status, "False") == 0)
            return "ErrorUnschedulable";
        return "Starting";
    case VMI_SCHEDULED:
        return "Starting";
    default:
        return "Provisioning";
    }
}

struct publish_args {
    const char *printable, *status, *reason, *message;
    bool created, ready;
};

static int
write_status(struct loop_write *w, struct tree *obj)
{
    const struct publish_args *a = w->args;
    struct tree *status = tree_ensure_map(obj, "status");

    add_finalizer(obj, FINALIZER_VM);
    tree_set(status, "printableStatus", tree_string(a->printable));
    tree_set(status, "created", tree_bool(a->created));
    tree_set(status, "ready", tree_bool(a->ready));
    object_set_condition(obj, "Ready", a->status, a->reason, a->message, loop_wall_us(w->l->loop));
    return 1;
}

static void
publish(struct loops *l, const struct vm *vm, const struct vmi *vmi, const struct start_failure *f)
{
    const struct tree *t = loop_core_tree(l, KIND_VM, vm->meta.namespace_, vm->meta.name);
    const struct tree *old = object_condition(t, "Ready");
    const struct condition *ready =
        vmi ? loop_core_condition(&vmi->status.conditions, "Ready") : NULL;
    struct publish_args a = {
        .printable = printable_status(l, vm, vmi, f),
        .status = ready && ready->status ? ready->status : "False",
        .reason = ready && ready->reason ? ready->reason
                  : vmi                  ? "GuestNotRunning"
                                         : "VMINotExists",
        .message = ready && ready->message ? ready->message
                   : vmi                   ? ""
                                           : "VMI does not exist",
        .created = vmi && !vmi_phase_final(vmi_phase_parse(vmi->status.phase)),
    };
    struct loop_write *w;
    struct publish_args *copy;

    a.ready = vmi && strcmp(a.status, "True") == 0 && !vmi->meta.deletion_us;
    if ((vm->meta.deletion_us || loop_core_has_finalizer(&vm->meta, FINALIZER_VM)) &&
        vm->printable_status && strcmp(vm->printable_status, a.printable) == 0 &&
        vm->created == a.created && vm->ready == a.ready &&
        strcmp(tree_find_string(old, "?", "status", NULL), a.status) == 0 &&
        strcmp(tree_find_string(old, "", "reason", NULL), a.reason) == 0 &&
        strcmp(tree_find_string(old, "", "message", NULL), a.message) == 0)
        return;
    w = loop_write_new(l, KIND_VM, &vm->meta, sizeof(a));
    copy = w->args;
    *copy = a; /* printable is a literal */
    copy->status = arena_strdup(w->arena, a.status);
    copy->reason = arena_strdup(w->arena, a.reason);
    copy->message = arena_strdup(w->arena, a.message);
    loop_write_mutate(w, write_status, NULL);
}

/* --- instances --- */

static bool
owned_by(const struct vmi *vmi, const struct vm *vm)
{
    for (size_t i = 0; i < vmi->meta.owners_len; i++)
        if (vmi->meta.owners[i].uid && strcmp(vmi->meta.owners[i].uid, vm->meta.uid) == 0)
            return true;
    return false;
}

/* Its VirtualMachine does not exist any more (or only one of the same name). */
static bool
orphaned(struct loops *l, const struct vmi *vmi)
{
    for (size_t i = 0; i < vmi->meta.owners_len; i++) {
        const struct owner_ref *o = &vmi->meta.owners[i];
        const struct vm *vm;

        if (!o->kind || strcmp(o->kind, "VirtualMachine") != 0 || !o->uid)
            continue;
        vm = loop_cache_get(l->cache, KIND_VM, vmi->meta.namespace_, o->name);
        return !vm || strcmp(vm->meta.uid, o->uid) != 0;
    }
    return false;
}

static int
release(struct loop_write *w, struct tree *obj)
{
    enum vmi_phase phase = vmi_phase_parse(tree_find_string(obj, "", "status", "phase", NULL));

    (void)w;
    if (!vmi_phase_final(phase) && *tree_find_string(obj, "", "status", "nodeName", NULL))
        return 0;
    return loop_core_drop_finalizer(obj, FINALIZER_VMI);
}

static int
adopt(struct loop_write *w, struct tree *obj)
{
    if (tree_find(obj, "metadata", "deletionTimestamp", NULL) ||
        vmi_phase_set(obj, VMI_PENDING, loop_wall_us(w->l->loop), NULL) != 0)
        return 0;
    add_finalizer(obj, FINALIZER_VMI);
    object_set_condition(obj, "Ready", "False", "GuestNotRunning",
                         "Guest VM is not reported as running", loop_wall_us(w->l->loop));
    return 1;
}

static void
look_after_instance(struct loops *l, const struct vmi *vmi)
{
    enum vmi_phase phase = vmi_phase_parse(vmi->status.phase);

    if (!vmi->meta.deletion_us && orphaned(l, vmi)) {
        delete_instance(l, vmi, "its VirtualMachine was deleted");
    } else if (!vmi->meta.deletion_us && phase == VMI_UNSET) {
        loop_write_mutate(loop_write_new(l, KIND_VMI, &vmi->meta, 0), adopt, NULL);
    } else if (loop_core_has_finalizer(&vmi->meta, FINALIZER_VMI) &&
               (vmi_phase_final(phase) ||
                (vmi->meta.deletion_us && !(vmi->status.node_name && *vmi->status.node_name)))) {
        loop_write_mutate(loop_write_new(l, KIND_VMI, &vmi->meta, 0), release, NULL);
    }
}
