/* Names a node for each VMI that has none. Part of a pass (control/loop_core.h); the decision
 * itself is sched/place.h's. Rules: docs/protocol.md, "A VM's life". */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"

#define PLACED_PER_PASS \
    128 /* the rest waits for the next pass, so that the loop stays answerable */

struct sched_args {
    const char *node; /* NULL: nothing fits */
    const char *message;
    struct tree *result; /* taken by the write */
};

static bool wants_node(const struct vmi *v);
static int cmp_age(const void *pa, const void *pb);
static bool decide(struct loops *l, const struct vmi *v);
static int write_decision(struct loop_write *w, struct tree *obj);
static void after_decision(struct loop_write *w, const struct tree *obj);

void
loop_sched_pass(struct loops *l)
{
    size_t len = 0, max = loop_cache_count(l->cache, KIND_VMI), placed = 0;
    const struct vmi **all = arena_calloc(l->arena, max + 1, sizeof(*all)), *v;

    for (size_t it = 0; (v = loop_cache_next(l->cache, KIND_VMI, &it)) && len < max;)
        if (wants_node(v))
            all[len++] = v;
    if (len > 1)
        qsort(all, len, sizeof(*all), cmp_age);
    for (size_t i = 0; i < len; i++) {
        if (loop_memo_get(l, all[i]->meta.uid))
            continue;
        if (placed++ == PLACED_PER_PASS) {
            loop_core_dirty(l);
            break;
        }
        decide(l, all[i]);
    }
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

/* Oldest first; then by name. */
static int
cmp_age(const void *pa, const void *pb)
{
    const struct vmi *a = *(const struct vmi *const *)pa, *b = *(const struct vmi *const *)pb;
    int c;

    if (a->meta.creation_us != b->meta.creation_us)
        return a->meta.creation_us < b->meta.creation_us ? -1 : 1;
    c = strcmp(a->meta.namespace_, b->meta.namespace_);
    return c ? c : strcmp(a->meta.name, b->meta.name);
}

static void
free_result(struct loop_write *w)
{
    struct sched_args *a = w->args;

    tree_free(TAKE_PTR(a->result));
}

static bool
decide(struct loops *l, const struct vmi *v)
{
    struct place_request rq = {.vmi = v, .purpose = PLACE_START};
    struct loop_placed p = loop_place(l, &rq);
    const struct condition *old = loop_core_condition(&v->status.conditions, "PodScheduled");
    struct loop_write *w;
    struct sched_args *a;

    if (!p.node) {
        loop_memo_put(l, v->meta.uid, "Unschedulable", p.message);
        if (old && old->status && strcmp(old->status, "False") == 0 && old->message &&
            strcmp(old->message, p.message) == 0) { /* nothing new to say */
            tree_free(p.result);
            return false;
        }
    }
    w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(*a));
    a = w->args;
    a->node = arena_strdup(w->arena, p.node);
    a->message = arena_strdup(w->arena, p.message);
    a->result = p.result;
    w->release = free_result;
    loop_write_mutate(w, write_decision, after_decision);
    return p.node != NULL;
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
    /* The store's counter is higher than any generation that was ever given to a VM of this name,
     * whatever became of its objects: each was given by a write that raised the counter. */
    tree_set_path(obj, tree_stringf("%" PRIu64, store_rv(w->l->store) + 1), "metadata",
                  "annotations", ANN_GENERATION, NULL);
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
        loop_event(w->l, KIND_VMI, &about, EVENT_WARNING, "FailedScheduling", "%s", a->message);
    }
}
