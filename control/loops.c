/* Starts and stops the loops, and decides which changes they look at; see control/loops.h. */
#include "control/loops.h"

#include <string.h>

#include "control/loop_cluster.h"
#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_network.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"
#include "control/loop_preempt.h"
#include "migrate/coord.h"

#define DEBOUNCE_US 5000

static void on_event(void *ctx, const struct store_event *ev);
static void remember_gone(struct loops *l, const struct tree *node);
static bool node_matters(const struct tree *a, const struct tree *b);
static bool same_but_annotations(const struct tree *a, const struct tree *b);
static bool ended(const struct tree *vmi);
static void touch_others(struct loops *l, const struct store_event *ev);
static void requeue(struct loops *l, const struct store_event *ev);
static bool finished(const struct tree *vmim);
static bool asks_anew(const struct store_event *ev);
static unsigned what_changed(const struct store_event *ev);

struct loops *
loops_start(struct loop *loop, struct store *store, const struct loops_config *config)
{
    struct loops *l = xcalloc(1, sizeof(*l));

    l->loop = loop;
    l->store = store;
    l->component = config && config->component ? config->component : "drover-controller";
    l->heartbeat_timeout_us = config && config->heartbeat_timeout_us
                                  ? (int64_t)config->heartbeat_timeout_us
                                  : (int64_t)LOOPS_HEARTBEAT_TIMEOUT_S * 1000000;
    l->debounce_us = config && config->debounce_us ? config->debounce_us : DEBOUNCE_US;
    l->on_mismatch = config ? config->on_mismatch : NULL;
    l->mismatch_ctx = config ? config->mismatch_ctx : NULL;
    l->profile = config ? config->profile : NULL;
    l->placement_seed = config ? config->placement_seed : 0;
    l->start_us = loop_wall_us(loop);
    l->cache = loop_cache_new(store);
    l->cluster = loop_cluster_new();
    l->queue = loop_queue_new();
    l->due = loop_due_new();
    l->tainted = strmap_new();
    l->promises = strmap_new();
    l->network = loop_network_new();
    l->gone = strmap_new();
    l->events = strmap_new();
    l->watch = store_watch(store, KIND_NONE, on_event, l);
    l->look_at_all = true;
    loop_core_dirty(l);
    return l;
}

void
loops_stop(struct loops *l)
{
    if (!l || l->stopped)
        return;
    l->stopped = true;
    store_unwatch(TAKE_PTR(l->watch));
    loop_timer_del(TAKE_PTR(l->pass_timer));
    loop_timer_del(TAKE_PTR(l->wake_timer));
}

void
loops_free(struct loops *l)
{
    if (!l)
        return;
    loop_core_drop_writes(l);
    loop_cluster_free(l->cluster);
    loop_cache_free(l->cache);
    loop_event_done(l);
    loop_queue_free(l->queue);
    loop_due_free(l->due);
    strmap_free(l->tainted, loop_taint_free);
    strmap_free(l->promises, loop_preempt_free);
    strmap_free(l->gone, free);
    loop_network_free(l->network);
    free(l);
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct loops *l = ctx;

    loop_network_note(l, ev);
    if (!loop_cache_holds(ev->kind))
        return;
    loop_cache_note(l->cache, ev);
    if (ev->kind == KIND_NODE && ev->type == STORE_DELETED)
        remember_gone(l, ev->obj);
    else if (ev->kind == KIND_NODE && ev->type == STORE_ADDED)
        free(strmap_del(l->gone, object_name(ev->obj)));
    /* Heartbeats and progress come every second from every node; nothing is decided on them. */
    if (ev->type == STORE_MODIFIED &&
        ((ev->kind == KIND_NODE && !node_matters(ev->old_obj, ev->obj)) ||
         (ev->kind == KIND_VMIM && same_but_annotations(ev->old_obj, ev->obj))))
        return;
    touch_others(l, ev);
    if (ev->kind == KIND_VMI || ev->kind == KIND_VMIM)
        requeue(l, ev);
    loop_queue_changed(l->queue, what_changed(ev), loop_wall_us(l->loop));
    loop_core_dirty(l);
}

/* What is decided about other objects on this one. Open migrations, and maintenances, are looked at
 * in every pass. */
static void
touch_others(struct loops *l, const struct store_event *ev)
{
    const char *ns = object_namespace(ev->obj), *name = object_name(ev->obj);

    switch (ev->kind) {
    case KIND_VM:
        loop_cache_touch(l->cache, KIND_VMI, ns, name);
        loop_cache_touch_of(l->cache, LOOP_CACHE_VMIM_OF_VMI, ns, name);
        break;
    case KIND_VMI:
        loop_cache_touch(l->cache, KIND_VM, ns, name);
        loop_cache_touch_of(l->cache, LOOP_CACHE_VMIM_OF_VMI, ns, name);
        break;
    case KIND_VMIM:
        if (ev->type == STORE_DELETED)
            loop_cache_touch(l->cache, KIND_VMI, ns,
                             tree_find_string(ev->obj, "", "spec", "vmiName", NULL));
        break;
    case KIND_NODE:
        loop_cache_touch_of(l->cache, LOOP_CACHE_VMI_ON_NODE, NULL, name);
        break;
    case KIND_PVC:
        loop_cache_touch_of(l->cache, LOOP_CACHE_VMI_OF_CLAIM, ns, name);
        break;
    case KIND_HCO:
    case KIND_KUBEVIRT:
    case KIND_PRIORITY:
        l->look_at_all = true;
        break;
    default:
        break;
    }
}

/* Gone, or it asks for something else than when it was refused. */
static void
requeue(struct loops *l, const struct store_event *ev)
{
    struct queued *q = loop_queue_find(l->queue, object_uid(ev->obj));

    if (!q)
        return;
    if (ev->type == STORE_DELETED || (ev->kind == KIND_VMIM && finished(ev->obj)))
        loop_queue_drop(l->queue, q->uid);
    else if (asks_anew(ev))
        loop_queue_retry(l->queue, q, loop_wall_us(l->loop));
}

/* Rule 1 of the design: a node that beat a moment ago may only be missing its object. */
static void
remember_gone(struct loops *l, const struct tree *node)
{
    int64_t *beat = xcalloc(1, sizeof(*beat));
    const char *s = object_annotation(node, ANN_HEARTBEAT);

    if (!s || time_parse(s, beat, NULL) != 0)
        *beat = 0;
    free(strmap_put(l->gone, object_name(node), beat));
}

static bool
node_matters(const struct tree *a, const struct tree *b)
{
    static const char *const parts[] = {"capacity", "allocatable", "addresses"};
    static const char *const texts[] = {"type", "status", "reason", "message"};
    const struct tree *ca = tree_find(a, "status", "conditions", NULL);
    const struct tree *cb = tree_find(b, "status", "conditions", NULL);

    if (!tree_equal(tree_get(a, "spec"), tree_get(b, "spec")) ||
        !tree_equal(tree_find(a, "metadata", "labels", NULL),
                    tree_find(b, "metadata", "labels", NULL)) ||
        tree_len(ca) != tree_len(cb))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!tree_equal(tree_find(a, "status", parts[i], NULL),
                        tree_find(b, "status", parts[i], NULL)))
            return true;
    for (size_t i = 0; i < tree_len(ca); i++)
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            if (strcmp(tree_find_string(tree_at(ca, i), "", texts[k], NULL),
                       tree_find_string(tree_at(cb, i), "", texts[k], NULL)) != 0)
                return true;
    return false;
}

static bool
same_but_annotations(const struct tree *a, const struct tree *b)
{
    return tree_equal(tree_get(a, "spec"), tree_get(b, "spec")) &&
           tree_equal(tree_get(a, "status"), tree_get(b, "status")) &&
           tree_equal(tree_find(a, "metadata", "deletionTimestamp", NULL),
                      tree_find(b, "metadata", "deletionTimestamp", NULL)) &&
           tree_equal(tree_find(a, "metadata", "finalizers", NULL),
                      tree_find(b, "metadata", "finalizers", NULL));
}

static bool
ended(const struct tree *vmi)
{
    return vmi_phase_final(vmi_phase_parse(tree_find_string(vmi, "", "status", "phase", NULL)));
}

static bool
finished(const struct tree *vmim)
{
    const char *phase = tree_find_string(vmim, "", "status", "phase", NULL);
    enum coord_phase p;

    return coord_phase_parse(phase, &p, NULL) != 0 || coord_phase_final(p);
}

static bool
asks_anew(const struct store_event *ev)
{
    return !tree_equal(tree_get(ev->old_obj, "spec"), tree_get(ev->obj, "spec")) ||
           !tree_equal(tree_find(ev->old_obj, "metadata", "labels", NULL),
                       tree_find(ev->obj, "metadata", "labels", NULL));
}

static bool
moved(const struct store_event *ev)
{
    static const char *const parts[] = {"nodeName", "migrationState"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!tree_equal(tree_find(ev->old_obj, "status", parts[i], NULL),
                        tree_find(ev->obj, "status", parts[i], NULL)))
            return true;
    return false;
}

/* What may fit now that did not (QUEUE_*). */
static unsigned
what_changed(const struct store_event *ev)
{
    bool first = !*tree_find_string(ev->old_obj, "", "status", "nodeName", NULL);

    switch (ev->kind) {
    case KIND_NODE:
        return ev->type == STORE_DELETED ? QUEUE_PEERS : QUEUE_ALL;
    case KIND_VMI:
        if (ev->type == STORE_ADDED)
            return *tree_find_string(ev->obj, "", "status", "nodeName", NULL) ? QUEUE_PEERS : 0;
        if (ev->type == STORE_DELETED || ended(ev->old_obj) != ended(ev->obj))
            return first ? 0 : QUEUE_ROOM | QUEUE_PEERS;
        if (moved(ev))
            return first ? QUEUE_PEERS : QUEUE_ROOM | QUEUE_PEERS;
        return asks_anew(ev) ? QUEUE_ROOM | QUEUE_PEERS : 0;
    case KIND_NAMESPACE:
        return QUEUE_PEERS;
    case KIND_HCO:
    case KIND_KUBEVIRT:
    case KIND_PVC:
    case KIND_PV:
    case KIND_STORAGE_CLASS:
    case KIND_PRIORITY:
    case KIND_NAD:
        return QUEUE_ALL;
    default:
        return 0;
    }
}
