/* NoExecute taints while VMs run: who does not tolerate them leaves, at once or when its time is over, and
 * stays when they are taken away before. Part of a pass (control/loop_core.h). Follows
 * kube-controller-manager 1.31's taint eviction; how a VM leaves is control/loop_evict.h's. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "control/loop_evict.h"
#include "control/loop_event.h"
#include "control/loop_phase.h"

#define EVENT_REASON "TaintManagerEviction" /* upstream's */

struct tainted { /* a VMI whose node has taints that it does not tolerate, or not for ever */
    char *ns, *name, *node;
    int64_t since_us;
    bool marked;  /* its time was over */
    bool blocked; /* and its eviction strategy keeps it */
};

static void consider(struct loops *l, const struct vmi *v);
static struct tainted *remember(struct loops *l, const struct vmi *v);
static void forget(struct loops *l, const char *uid);
static void send_away(struct loops *l, const struct vmi *v, struct tainted *t,
                      const struct evict_taint *why);
static void call_off(struct loops *l, const struct vmi *v);
static void clean_up(struct loops *l, const struct vmi *v, const char *node);
static const char *describe(struct loops *l, const struct taint *t, const char *node);
static bool in_maintenance(struct loops *l, const char *node);

void
loop_taint_pass(struct loops *l)
{
    const struct vmi *v;
    const char *uid;
    void *value;

    for (size_t it = 0; (v = loop_cache_next_changed(l->cache, KIND_VMI, l->all, &it));)
        if (!strmap_get(l->tainted, v->meta.uid))
            consider(l, v);
    /* What has failed is tried again: those that are to go are looked at in every pass. */
    for (size_t it = 0; strmap_next(l->tainted, &it, &uid, &value);) {
        const struct tainted *t = value;

        v = loop_cache_get(l->cache, KIND_VMI, t->ns, t->name);
        if (v && strcmp(v->meta.uid, uid) == 0)
            consider(l, v);
        else
            forget(l, uid);
    }
}

void
loop_taint_free(void *tainted)
{
    struct tainted *t = tainted;

    free(t->ns);
    free(t->name);
    free(t->node);
    free(t);
}

static void
consider(struct loops *l, const struct vmi *v)
{
    const char *at = v->status.node_name;
    const struct node *n = at && *at ? loop_cache_get(l->cache, KIND_NODE, NULL, at) : NULL;
    struct tainted *t = strmap_get(l->tainted, v->meta.uid);
    struct evict_taint why = {0};

    if (n && evict_applies(v))
        why = evict_by_taint(&v->spec, n);
    if (t && (!n || strcmp(t->node, at) != 0 || !evict_applies(v))) {
        forget(l, v->meta.uid); /* it has left, or is on its way */
        t = NULL;
    }
    if (!why.taint) {
        if (t)
            call_off(l, v);
        else if (n)
            clean_up(l, v, at);
        return;
    }
    if (!t)
        t = remember(l, v);
    if (l->now_us >= t->since_us + why.seconds * 1000000)
        send_away(l, v, t, &why);
    else
        loop_core_look_at(l, KIND_VMI, &v->meta, t->since_us + why.seconds * 1000000);
}

/* Since when: upstream's clock starts when the controller sees the taint, and anew when the controller
 * starts; so does this one. */
static struct tainted *
remember(struct loops *l, const struct vmi *v)
{
    struct tainted *t = xcalloc(1, sizeof(*t));

    t->ns = xstrdup(v->meta.namespace_);
    t->name = xstrdup(v->meta.name);
    t->node = xstrdup(v->status.node_name);
    t->since_us = l->now_us;
    strmap_put(l->tainted, v->meta.uid, t);
    return t;
}

static void
forget(struct loops *l, const char *uid)
{
    struct tainted *t = strmap_del(l->tainted, uid);

    if (t)
        loop_taint_free(t);
}

static void
send_away(struct loops *l, const struct vmi *v, struct tainted *t, const struct evict_taint *why)
{
    const char *text = describe(l, why->taint, t->node);
    struct evict_decision what =
        loop_evict(l, v, &(struct loop_evict_cause){t->node, EVICT_CAUSE_TAINT, text, true});
    bool blocked = what.action == EVICT_BLOCK || what.action == EVICT_EXTERNAL;

    if (!t->marked) {
        log_info("taint.evict", LS("namespace", t->ns), LS("vmi", t->name), LS("node", t->node),
                 LS("action", evict_action_name(what.action)));
        loop_event(l, KIND_VMI, &v->meta, EVENT_NORMAL, EVENT_REASON,
                   "Marking for deletion VirtualMachineInstance %s/%s: %s", t->ns, t->name, text);
    }
    if (blocked && !t->blocked)
        loop_event(l, KIND_VMI, &v->meta, EVENT_WARNING, EVENT_REASON, "%s, but it stays: %s", text,
                   what.reason);
    t->marked = true;
    t->blocked = blocked;
}

static void
call_off(struct loops *l, const struct vmi *v)
{
    log_info("taint.cancel", LS("namespace", v->meta.namespace_), LS("vmi", v->meta.name));
    loop_event(l, KIND_VMI, &v->meta, EVENT_NORMAL, EVENT_REASON,
               "Cancelling deletion of VirtualMachineInstance %s/%s", v->meta.namespace_,
               v->meta.name);
    clean_up(l, v, v->status.node_name);
    forget(l, v->meta.uid);
}

/* What a taint has begun that is not there any more, also of a controller of before. */
static void
clean_up(struct loops *l, const struct vmi *v, const char *node)
{
    loop_evict_cancel(l, v, EVICT_CAUSE_TAINT);
    if (v->status.evacuation_node && strcmp(v->status.evacuation_node, node) == 0 &&
        !in_maintenance(l, node))
        loop_evict_mark(l, v, NULL);
}

static const char *
describe(struct loops *l, const struct taint *t, const char *node)
{
    return arena_printf(l->arena, "node %s has taint {%s: %s}:NoExecute", node,
                        t->key ? t->key : "", t->value ? t->value : "");
}

static bool
in_maintenance(struct loops *l, const char *node)
{
    const struct maintenance *mt;

    for (size_t it = 0; (mt = loop_cache_next(l->cache, KIND_MAINTENANCE, &it));)
        if (mt->node_name && strcmp(mt->node_name, node) == 0)
            return true;
    return false;
}
