/* Starts and stops the loops, and decides which changes they look at; see control/loops.h. */
#include "control/loops.h"

#include <string.h>

#include "control/loop_core.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"
#include "control/loop_place.h"

#define DEBOUNCE_US 5000

static void on_event(void *ctx, const struct store_event *ev);
static void remember_gone(struct loops *l, const struct tree *node);
static bool node_matters(const struct tree *a, const struct tree *b);
static bool same_but_annotations(const struct tree *a, const struct tree *b);
static bool ended(const struct tree *vmi);
static bool places_anew(const struct store_event *ev);

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
    l->start_us = loop_wall_us(loop);
    l->cache = loop_cache_new(store);
    l->memo = strmap_new();
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
    loop_cache_free(l->cache);
    loop_event_done(l);
    strmap_free(l->memo, loop_memo_free);
    strmap_free(l->gone, free);
    free(l);
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct loops *l = ctx;

    if (!loop_cache_holds(ev->kind))
        return;
    loop_cache_note(l->cache, ev);
    if (ev->kind == KIND_NODE && ev->type == STORE_DELETED)
        remember_gone(l, ev->obj);
    else if (ev->kind == KIND_NODE && ev->type == STORE_ADDED)
        free(strmap_del(l->gone, object_name(ev->obj)));
    if (places_anew(ev))
        l->epoch++;
    /* Heartbeats and progress come every second from every node; nothing is decided on them. */
    if (ev->type == STORE_MODIFIED &&
        ((ev->kind == KIND_NODE && !node_matters(ev->old_obj, ev->obj)) ||
         (ev->kind == KIND_VMIM && same_but_annotations(ev->old_obj, ev->obj))))
        return;
    /* Whether a VM can migrate, and whether its node is there, hangs on all other kinds. */
    if (ev->kind != KIND_VM && ev->kind != KIND_VMI && ev->kind != KIND_VMIM)
        l->look_at_all = true;
    loop_core_dirty(l);
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
        if (strcmp(tree_find_string(tree_at(ca, i), "", "type", NULL),
                   tree_find_string(tree_at(cb, i), "", "type", NULL)) != 0 ||
            strcmp(tree_find_string(tree_at(ca, i), "", "status", NULL),
                   tree_find_string(tree_at(cb, i), "", "status", NULL)) != 0 ||
            strcmp(tree_find_string(tree_at(ca, i), "", "message", NULL),
                   tree_find_string(tree_at(cb, i), "", "message", NULL)) != 0)
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

/* Whether what did not fit may fit now. */
static bool
places_anew(const struct store_event *ev)
{
    switch (ev->kind) {
    case KIND_NODE:
        return ev->type != STORE_MODIFIED || node_matters(ev->old_obj, ev->obj);
    case KIND_VMI: { /* room that it takes or frees, and what others may want to be near */
        static const char *const parts[] = {"nodeName", "migrationState"};

        if (ev->type != STORE_MODIFIED)
            return ev->type == STORE_DELETED;
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            if (!tree_equal(tree_find(ev->old_obj, "status", parts[i], NULL),
                            tree_find(ev->obj, "status", parts[i], NULL)))
                return true;
        return ended(ev->old_obj) != ended(ev->obj) ||
               !tree_equal(tree_find(ev->old_obj, "metadata", "labels", NULL),
                           tree_find(ev->obj, "metadata", "labels", NULL)) ||
               !tree_equal(tree_get(ev->old_obj, "spec"), tree_get(ev->obj, "spec"));
    }
    case KIND_HCO:
    case KIND_KUBEVIRT:
    case KIND_NAMESPACE:
    case KIND_PVC:
    case KIND_PV:
    case KIND_STORAGE_CLASS:
    case KIND_NAD:
        return true;
    default:
        return false;
    }
}
