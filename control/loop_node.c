/* Node supervision: a node whose handler does not beat takes no VMs; a VM on a dead node is left
 * alone until a person deletes the Node object, which says that the host is down for certain. Part
 * of a pass (control/loop_core.h). Rules: node failure in the OpenShift
 * Virtualization 4.15 documents. */
#include <inttypes.h>
#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"

#define REASON_SILENT "NodeStatusUnknown" /* upstream's */

static void supervise(struct loops *l, const struct node *n);
static void rescue(struct loops *l, const struct vmi *v);
static int silence(struct loop_write *w, struct tree *obj);
static int revive(struct loop_write *w, struct tree *obj);
static int give_up(struct loop_write *w, struct tree *obj);
static void after_silence(struct loop_write *w, const struct tree *obj);
static void after_revive(struct loop_write *w, const struct tree *obj);
static void after_give_up(struct loop_write *w, const struct tree *obj);

void
loop_node_pass(struct loops *l)
{
    const struct node *n;
    const struct vmi *v;

    for (size_t it = 0; (n = loop_cache_next_changed(l->cache, KIND_NODE, l->all, &it));)
        supervise(l, n);
    for (size_t it = 0; (v = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));)
        if (v->status.node_name && *v->status.node_name &&
            !vmi_phase_final(vmi_phase_parse(v->status.phase)) &&
            !loop_cache_get(l->cache, KIND_NODE, NULL, v->status.node_name))
            rescue(l, v);
}

static void
supervise(struct loops *l, const struct node *n)
{
    int64_t beat_us = loop_place_heartbeat_us(&n->meta.annotations);
    const struct condition *ready = loop_core_condition(&n->conditions, "Ready");
    const char *label = kv_get(&n->meta.labels, LABEL_SCHEDULABLE);
    bool silenced = ready && ready->reason && strcmp(ready->reason, REASON_SILENT) == 0 &&
                    ready->status && strcmp(ready->status, "Unknown") == 0;

    if (!beat_us) /* no handler has ever spoken for it */
        return;
    if (l->now_us >= beat_us + l->heartbeat_timeout_us) {
        if (!silenced || !label || strcmp(label, "false") != 0)
            loop_write_mutate(loop_write_new(l, KIND_NODE, &n->meta, 0), silence, after_silence);
        return;
    }
    loop_core_look_at(l, KIND_NODE, &n->meta, beat_us + l->heartbeat_timeout_us);
    if (silenced)
        loop_write_mutate(loop_write_new(l, KIND_NODE, &n->meta, 0), revive, after_revive);
}

static bool
node_is_silent(struct loops *l, const struct tree *node)
{
    int64_t beat_us;
    const char *s = object_annotation(node, ANN_HEARTBEAT);

    return s && time_parse(s, &beat_us, NULL) == 0 &&
           loop_wall_us(l->loop) >= beat_us + l->heartbeat_timeout_us;
}

static int
silence(struct loop_write *w, struct tree *obj)
{
    int64_t seconds = w->l->heartbeat_timeout_us / 1000000;
    char message[96];

    if (!node_is_silent(w->l, obj))
        return 0;
    snprintf(message, sizeof(message), "the handler's heartbeat is older than %" PRId64 " s",
             seconds);
    tree_set_path(obj, tree_string("false"), "metadata", "labels", LABEL_SCHEDULABLE, NULL);
    object_set_condition(obj, "Ready", "Unknown", REASON_SILENT, message, loop_wall_us(w->l->loop));
    return 1;
}

/* The handler writes the same with its beat; this is for one that beat without it. */
static int
revive(struct loop_write *w, struct tree *obj)
{
    if (node_is_silent(w->l, obj))
        return 0;
    tree_set_path(obj, tree_string("true"), "metadata", "labels", LABEL_SCHEDULABLE, NULL);
    object_set_condition(obj, "Ready", "True", "HandlerReady", "the handler beats again",
                         loop_wall_us(w->l->loop));
    return 1;
}

static void
after_silence(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_warn("node.silent", LS("node", w->name));
    loop_event(w->l, KIND_NODE, &(struct meta){.name = w->name, .uid = w->uid}, EVENT_WARNING,
               "NodeNotReady",
               "the handler of node %s has not beaten for %" PRId64
               " s: no VM is placed there; those that are there stay until the Node object is "
               "deleted",
               w->name, w->l->heartbeat_timeout_us / 1000000);
}

static void
after_revive(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_info("node.back", LS("node", w->name));
    loop_event(w->l, KIND_NODE, &(struct meta){.name = w->name, .uid = w->uid}, EVENT_NORMAL,
               "NodeReady", "the handler of node %s beats again", w->name);
}

/* A VMI whose node has no object. One that beat a moment ago may come back by itself (its handler
 * makes the object again), and its guest may run: wait as long as for a silent one. */
static void
rescue(struct loops *l, const struct vmi *v)
{
    const struct migration_state *ms = &v->status.migration;
    const int64_t *known = strmap_get(l->gone, v->status.node_name);
    int64_t beat_us = known ? *known : l->start_us;
    struct loop_write *w;

    if (ms->present && !ms->failed && (ms->target_domain_detected || ms->completed) &&
        ms->target_node && strcmp(ms->target_node, v->status.node_name) != 0)
        return; /* it runs at its target; the migration's loop changes the owner */
    if (l->now_us < beat_us + l->heartbeat_timeout_us) {
        char until[32];

        time_format(beat_us + l->heartbeat_timeout_us, false, until, sizeof(until));
        if (loop_core_look_at(l, KIND_VMI, &v->meta, beat_us + l->heartbeat_timeout_us))
            loop_event(l, KIND_VMI, &v->meta, EVENT_WARNING, "NodeDeleted",
                       "node %s has no Node object, but its handler may be alive: the VM is given "
                       "up at %s unless it comes back",
                       v->status.node_name, until);
        return;
    }
    w = loop_write_new(l, KIND_VMI, &v->meta, 0);
    w->args = arena_strdup(w->arena, v->status.node_name);
    loop_write_mutate(w, give_up, after_give_up);
}

static bool
runs_elsewhere(const struct tree *ms, const char *node)
{
    return !tree_get_bool(tree_get(ms, "failed"), false) &&
           (tree_get_bool(tree_get(ms, "targetNodeDomainDetected"), false) ||
            tree_get_bool(tree_get(ms, "completed"), false)) &&
           strcmp(tree_get_string(tree_get(ms, "targetNode"), node), node) != 0;
}

static int
give_up(struct loop_write *w, struct tree *obj)
{
    const char *node = w->args;
    struct tree *status = tree_ensure_map(obj, "status"), *ms = tree_get(status, "migrationState");
    int64_t now_us = loop_wall_us(w->l->loop);
    AUTO_FREE char *message = xasprintf("node %s was deleted", node);
    char now[32];

    if (strcmp(tree_get_string(tree_get(status, "nodeName"), ""), node) != 0 ||
        store_get(w->l->store, KIND_NODE, NULL, node) || runs_elsewhere(ms, node) ||
        vmi_phase_set(obj, VMI_FAILED, now_us, NULL) != 0)
        return 0;
    tree_set(status, "reason", tree_string("NodeDeleted"));
    object_set_condition(obj, "Ready", "False", "NodeDeleted", message, now_us);
    if (ms && !tree_get_bool(tree_get(ms, "completed"), false) &&
        !tree_get_bool(tree_get(ms, "failed"), false)) {
        time_format(now_us, false, now, sizeof(now));
        tree_set(ms, "failed", tree_bool(true));
        tree_set(ms, "failureReason", tree_string(message));
        tree_set(ms, "endTimestamp", tree_string(now));
    }
    return 1;
}

static void
after_give_up(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_warn("vmi.node_deleted", LS("namespace", w->ns), LS("vmi", w->name),
             LS("node", (const char *)w->args));
    loop_event(w->l, KIND_VMI, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_WARNING, "NodeDeleted", "node %s was deleted: the VM is given up there",
               (const char *)w->args);
}
