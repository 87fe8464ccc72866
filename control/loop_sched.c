/* Names a node for each VMI that has none. Part of a pass (control/loop_core.h); the decision
 * itself is sched/place.h's. Rules: docs/protocol.md, "A VM's life". */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "control/loop_cluster.h"
#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"
#include "control/loop_preempt.h"
#include "control/loop_priority.h"

#define TRIED_PER_PASS  512 /* the rest waits for the next pass: the loop stays answerable */
#define EVENTS_AT_FIRST 10
#define EVENTS_EVERY_US (60 * INT64_C(1000000))

struct sched_args {
    const char *node; /* NULL: nothing fits */
    const char *message;
    const char *host_model; /* what the guest starts with, or NULL: see PLACE_ANN_HOST_MODEL */
    int64_t tsc_hz;         /* 0: none */
    struct tree *result;    /* taken by the write */
};

static bool wants_node(const struct vmi *v);
static void enqueue(struct loops *l, const struct vmi *v);
static void decide(struct loops *l, struct queued *q, const struct vmi *v);
static void resolve_cpu(struct loops *l, const struct vmi *v, struct loop_write *w);
static void tell_failure(struct loops *l, const struct meta *vmi, const char *message);
static int write_decision(struct loop_write *w, struct tree *obj);
static void after_decision(struct loop_write *w, const struct tree *obj);

void
loop_sched_pass(struct loops *l)
{
    const struct vmi *v;
    struct queued *q;
    size_t tried = 0;

    for (size_t it = 0; (v = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));)
        enqueue(l, v);
    while ((q = loop_queue_pop(l->queue))) {
        if (tried++ == TRIED_PER_PASS || loop_preempt_busy(l)) {
            loop_queue_put_back(l->queue, q);
            loop_core_dirty(l);
            break;
        }
        v = loop_cache_get(l->cache, KIND_VMI, q->ns, q->name);
        if (v && strcmp(v->meta.uid, q->uid) == 0)
            decide(l, q, v);
        else
            loop_queue_drop(l->queue, q->uid);
    }
    loop_preempt_pass(l);
}

static void
enqueue(struct loops *l, const struct vmi *v)
{
    struct queued *q = loop_queue_find(l->queue, v->meta.uid);
    bool waits = wants_node(v) && loop_priority_known(l, v);
    int64_t priority = waits ? loop_priority_of(l, v) : 0;

    loop_preempt_note(l, v, waits);
    if (q && (!waits || q->priority != priority)) {
        loop_queue_drop(l->queue, v->meta.uid);
        q = NULL;
    }
    if (waits && !q)
        loop_queue_add(l->queue, KIND_VMI, &v->meta, priority, v->meta.creation_us);
    else if (waits && q->state == QUEUE_TRYING) /* a decision that was not stored */
        loop_queue_put_back(l->queue, q);
}

static bool
wants_node(const struct vmi *v)
{
    enum vmi_phase phase = vmi_phase_parse(v->status.phase);
    const char *who = v->spec.scheduler_name;

    return (phase == VMI_PENDING || phase == VMI_SCHEDULING) && !v->meta.deletion_us &&
           !(v->status.node_name && *v->status.node_name) &&
           (!who || !*who || strcmp(who, "default-scheduler") == 0 ||
            strcmp(who, SCHEDULER_NAME) == 0);
}

static void
free_result(struct loop_write *w)
{
    struct sched_args *a = w->args;

    tree_free(TAKE_PTR(a->result));
}

static void
decide(struct loops *l, struct queued *q, const struct vmi *v)
{
    struct loop_placed p = loop_preempt_place(l, v, q->priority);
    const struct condition *old = loop_core_condition(&v->status.conditions, "PodScheduled");
    struct loop_write *w;
    struct sched_args *a;

    if (!p.node) {
        loop_queue_park(l->queue, q, "Unschedulable", p.message, l->now_us);
        if (old && old->status && strcmp(old->status, "False") == 0 && old->message &&
            strcmp(old->message, p.message) == 0) { /* nothing new to say, but how often */
            tell_failure(l, &v->meta, p.message);
            return;
        }
        p.result = loop_place_refusal(l, &(struct place_request){.vmi = v, .purpose = PLACE_START},
                                      p.message);
    }
    w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(*a));
    a = w->args;
    a->node = arena_strdup(w->arena, p.node);
    a->message = arena_strdup(w->arena, p.message);
    a->result = p.result;
    if (p.node)
        resolve_cpu(l, v, w);
    w->release = free_result;
    loop_write_mutate(w, write_decision, after_decision);
}

/* What a VM that takes its CPU from its host starts with: a migration's target must have it, too. */
static void
resolve_cpu(struct loops *l, const struct vmi *v, struct loop_write *w)
{
    struct sched_args *a = w->args;
    const char *model = vmi_cpu_model(&v->spec, loop_cache_hco(l->cache));
    const struct node *n = loop_cache_get(l->cache, KIND_NODE, NULL, a->node);

    if (n && (strcmp(model, "host-model") == 0 || strcmp(model, "host-passthrough") == 0))
        a->host_model = arena_strdup(w->arena, vmi_host_model_pin(n, w->arena));
    a->tsc_hz = vmi_tsc_hint(loop_cluster_get(l), v);
}

/* Each of the first ones, then at most one a minute: it may be tried every few seconds, for days. */
static void
tell_failure(struct loops *l, const struct meta *vmi, const char *message)
{
    struct queued *q = loop_queue_find(l->queue, vmi->uid);
    int64_t now_us = loop_wall_us(l->loop);

    if (!q || (q->said >= EVENTS_AT_FIRST && now_us < q->said_us + EVENTS_EVERY_US))
        return;
    q->said++;
    q->said_us = now_us;
    loop_event(l, KIND_VMI, vmi, EVENT_WARNING, "FailedScheduling", "%s", message);
}

static int
write_decision(struct loop_write *w, struct tree *obj)
{
    const struct sched_args *a = w->args;
    int64_t now_us = loop_wall_us(w->l->loop);
    AUTO_SB struct sb json = SB_INIT;

    if (*tree_find_string(obj, "", "status", "nodeName", NULL) ||
        tree_find(obj, "metadata", "deletionTimestamp", NULL))
        return 0;
    tree_to_json(a->result, 0, &json);
    if (!a->node) {
        enum vmi_phase phase = vmi_phase_parse(tree_find_string(obj, "", "status", "phase", NULL));

        if (phase != VMI_SCHEDULING && vmi_phase_set(obj, VMI_SCHEDULING, now_us, NULL) != 0)
            return 0;
        object_set_condition(obj, "PodScheduled", "False", "Unschedulable", a->message, now_us);
        tree_set_path(obj, tree_string(sb_str(&json)), "metadata", "annotations",
                      ANN_SCHEDULE_RESULT, NULL);
        return 1;
    }
    if (vmi_phase_set(obj, VMI_SCHEDULED, now_us, NULL) != 0)
        return 0;
    tree_set_path(obj, tree_string(a->node), "status", "nodeName", NULL);
    tree_set_path(obj, tree_string(a->node), "metadata", "labels", LABEL_NODE_NAME, NULL);
    tree_set_path(obj, tree_string(sb_str(&json)), "metadata", "annotations", ANN_SCHEDULE_RESULT,
                  NULL);
    if (a->host_model)
        tree_set_path(obj, tree_string(a->host_model), "metadata", "annotations",
                      PLACE_ANN_HOST_MODEL, NULL);
    if (a->tsc_hz)
        tree_set_path(obj, tree_int(a->tsc_hz), "status", "topologyHints", "tscFrequency", NULL);
    /* The store's counter is higher than any generation that was ever given to a VM of this name,
     * whatever became of its objects: each was given by a write that raised the counter. */
    tree_set_path(obj, tree_stringf("%" PRIu64, store_rv(w->l->store) + 1), "metadata",
                  "annotations", ANN_GENERATION, NULL);
    loop_preempt_clear(obj);
    object_set_condition(obj, "PodScheduled", "True", "", "", now_us);
    return 1;
}

static void
after_decision(struct loop_write *w, const struct tree *obj)
{
    const struct sched_args *a = w->args;
    struct meta about = {.namespace_ = w->ns, .name = w->name, .uid = w->uid};

    (void)obj;
    if (a->node) {
        log_info("vmi.scheduled", LS("namespace", w->ns), LS("vmi", w->name), LS("node", a->node));
        loop_event(w->l, KIND_VMI, &about, EVENT_NORMAL, "Scheduled",
                   "Successfully assigned %s/%s to %s", w->ns, w->name, a->node);
    } else {
        log_info("vmi.unschedulable", LS("namespace", w->ns), LS("vmi", w->name),
                 LS("why", a->message));
        tell_failure(w->l, &about, a->message);
    }
}
