/* Promises and plans of preemption; see control/loop_preempt.h. The victims are loop_victim.c's. */
#include "control/loop_preempt.h"

#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_cluster.h"
#include "control/loop_priority.h"
#include "control/loop_victim.h"
#include "sched/preempt.h"

#define PLANS_PER_PASS 4 /* each looks at all nodes */
#define WAITING        " preemption: not eligible due to a terminating pod on the nominated node."

struct promise {
    char *ns, *name, *node;
    int64_t priority;
    struct loop_victim *victims;
    size_t victims_len;
    bool held; /* its room, in this pass */
};

struct plan_args { /* node NULL: there is none any more */
    const char *node, *victims;
};

static void make_promise(struct loops *l, const struct vmi *v, const char *node);
static void only_chosen(struct tree *result);
static void break_promise(struct loops *l, const char *uid);
static void hold(struct loops *l, struct promise *p, const char *uid);
static bool still_helps(struct loops *l, const struct place_request *rq, const struct promise *p);
static struct preempt_result make_plan(struct loops *l, const struct place_request *rq);
static void write_plan(struct loops *l, const struct vmi *v, const struct preempt_result *r);

void
loop_preempt_note(struct loops *l, const struct vmi *v, bool waits)
{
    const char *node = kv_get(&v->meta.annotations, ANN_NOMINATED);
    const struct promise *p = strmap_get(l->promises, v->meta.uid);

    if (p && (!waits || !node || strcmp(p->node, node) != 0)) {
        break_promise(l, v->meta.uid);
        p = NULL;
    }
    if (!p && waits && node)
        make_promise(l, v, node);
}

struct loop_placed
loop_preempt_place(struct loops *l, const struct vmi *v, int64_t priority)
{
    struct place_request rq = {.vmi = v, .purpose = PLACE_START};
    struct promise *p = strmap_get(l->promises, v->meta.uid);
    struct loop_placed placed = {0};
    struct preempt_result plan;
    const char *uid;
    void *value;

    for (size_t it = 0; strmap_next(l->promises, &it, &uid, &value);)
        if (value != p && ((struct promise *)value)->priority >= priority)
            hold(l, value, uid);
    if (p) {
        if (p->held)
            loop_cluster_give_back(l, v);
        p->held = false;
        rq.target = p->node;
        placed = loop_place(l, &rq);
        rq.target = NULL;
    }
    if (placed.node) {
        only_chosen(placed.result);
    } else {
        tree_free(placed.result);
        placed = loop_place(l, &rq);
    }
    if (placed.node) {
        break_promise(l, v->meta.uid);
        return placed;
    }
    if (p && still_helps(l, &rq, p)) {
        placed.message = arena_printf(l->arena, "%s" WAITING, placed.message);
    } else {
        plan = make_plan(l, &rq);
        if (plan.node || p)
            write_plan(l, v, &plan);
        break_promise(l, v->meta.uid);
        if (plan.node)
            loop_cluster_reserve(l, v, plan.node);
        placed.message = arena_printf(l->arena, "%s%s", placed.message, plan.message);
    }
    return placed;
}

/* The promised node is taken without a look at the others: of them nothing is known, and "didn't match
 * the requested node name" would be what nobody asked for. */
static void
only_chosen(struct tree *result)
{
    const char *node = tree_find_string(result, "", "node", NULL);
    const struct tree *nodes = tree_get(result, "nodes");
    struct tree *kept = tree_list();

    for (size_t i = 0; i < tree_len(nodes); i++)
        if (strcmp(tree_find_string(tree_at(nodes, i), "", "name", NULL), node) == 0)
            tree_append(kept, tree_copy(tree_at(nodes, i)));
    tree_set(result, "nodes", kept);
    tree_set(result, "message", tree_string("promised by preemption; no other node was looked at"));
}

bool
loop_preempt_busy(const struct loops *l)
{
    return l->plans >= PLANS_PER_PASS;
}

void
loop_preempt_pass(struct loops *l)
{
    const char *uid;
    void *value;

    for (size_t it = 0; strmap_next(l->promises, &it, &uid, &value);) {
        struct promise *p = value;
        const struct vmi *v = loop_cache_get(l->cache, KIND_VMI, p->ns, p->name);

        if (!v || strcmp(v->meta.uid, uid) != 0) {
            break_promise(l, uid);
            continue;
        }
        hold(l, p, uid);
    }
    for (size_t it = 0; strmap_next(l->promises, &it, NULL, &value);) {
        struct promise *p = value;
        const struct vmi *v = loop_cache_get(l->cache, KIND_VMI, p->ns, p->name);

        for (size_t i = 0; i < p->victims_len; i++)
            loop_victim_send_away(l, &p->victims[i], p->node, v);
        p->held = false;
    }
    l->plans = 0;
}

void
loop_preempt_clear(struct tree *vmi)
{
    struct tree *annotations = tree_find(vmi, "metadata", "annotations", NULL);

    if (!annotations)
        return;
    tree_del(annotations, ANN_NOMINATED);
    tree_del(annotations, ANN_VICTIMS);
}

void
loop_preempt_free(void *promise)
{
    struct promise *p = promise;

    for (size_t i = 0; i < p->victims_len; i++)
        loop_victim_done(&p->victims[i]);
    free(p->victims);
    free(p->ns);
    free(p->name);
    free(p->node);
    free(p);
}

/* Victims that cannot be read are none: the plan then does not help, and is given up. */
static void
make_promise(struct loops *l, const struct vmi *v, const char *node)
{
    struct promise *p = xcalloc(1, sizeof(*p));
    const char *json = kv_get(&v->meta.annotations, ANN_VICTIMS);
    AUTO_TREE struct tree *list = NULL;

    p->ns = xstrdup(v->meta.namespace_);
    p->name = xstrdup(v->meta.name);
    p->node = xstrdup(node);
    p->priority = loop_priority_of(l, v);
    if (json && tree_from_json(json, strlen(json), &list, NULL) == 0)
        p->victims = loop_victim_read(list, &p->victims_len);
    strmap_put(l->promises, v->meta.uid, p);
}

static void
break_promise(struct loops *l, const char *uid)
{
    struct promise *p = strmap_del(l->promises, uid);

    if (!p)
        return;
    for (size_t i = 0; i < p->victims_len; i++)
        loop_victim_spare(l, &p->victims[i]);
    loop_preempt_free(p);
}

static void
hold(struct loops *l, struct promise *p, const char *uid)
{
    const struct vmi *v = p->held ? NULL : loop_cache_get(l->cache, KIND_VMI, p->ns, p->name);

    if (!v || strcmp(v->meta.uid, uid) != 0)
        return;
    loop_cluster_reserve(l, v, p->node);
    p->held = true;
}

/* Some of the victims are there yet, and without them it would fit. */
static bool
still_helps(struct loops *l, const struct place_request *rq, const struct promise *p)
{
    struct preempt_victim *left = arena_calloc(l->arena, p->victims_len, sizeof(*left));
    size_t len = 0;

    for (size_t i = 0; i < p->victims_len; i++)
        if (loop_victim_there(l, &p->victims[i], p->node))
            left[len++] =
                (struct preempt_victim){.ns = p->victims[i].ns, .name = p->victims[i].name};
    return len > 0 && preempt_helps(loop_cluster_get(l), rq, p->node, left, len);
}

static struct preempt_result
make_plan(struct loops *l, const struct place_request *rq)
{
    struct cluster *c = loop_cluster_get(l);
    struct preempt_result r = {.message = ""};

    if (cluster_has_lower_class(c, loop_priority_of(l, rq->vmi)))
        r = preempt(c, rq, l->arena);
    l->plans += r.node || *r.message;
    return r;
}

static int
change_plan(struct loop_write *w, struct tree *obj)
{
    const struct plan_args *a = w->args;

    if (*tree_find_string(obj, "", "status", "nodeName", NULL) ||
        tree_find(obj, "metadata", "deletionTimestamp", NULL))
        return 0;
    loop_preempt_clear(obj);
    if (a->node) {
        tree_set_path(obj, tree_string(a->node), "metadata", "annotations", ANN_NOMINATED, NULL);
        tree_set_path(obj, tree_string(a->victims), "metadata", "annotations", ANN_VICTIMS, NULL);
    }
    return 1;
}

static void
after_plan(struct loop_write *w, const struct tree *obj)
{
    const struct plan_args *a = w->args;

    (void)obj;
    log_info("preempt.plan", LS("namespace", w->ns), LS("vmi", w->name),
             LS("node", a->node ? a->node : ""), LS("victims", a->victims));
}

static void
write_plan(struct loops *l, const struct vmi *v, const struct preempt_result *r)
{
    struct loop_write *w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(struct plan_args));
    struct plan_args *a = w->args;
    AUTO_TREE struct tree *list = loop_victim_list(l, r);
    AUTO_SB struct sb json = SB_INIT;

    tree_to_json(list, 0, &json);
    a->node = arena_strdup(w->arena, r->node);
    a->victims = arena_strdup(w->arena, sb_str(&json));
    loop_write_mutate(w, change_plan, after_plan);
}
