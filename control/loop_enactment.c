/* NodeNetworkConfigurationPolicies: one enactment for each policy and matching node, let go a few at
 * a time (maxUnavailable), and the policy's status from what the handlers say in theirs. Types,
 * reasons and messages are kubernetes-nmstate's, so that `kubectl wait nncp --for
 * condition=Available` works. Part of a pass (control/loop_core.h); docs/node-network.md. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "api/selector.h"
#include "control/loop_event.h"
#include "control/loop_network.h"

#define PERCENT_DEFAULT    "50%" /* upstream's, of the matching nodes */
#define REASON_PROGRESSING "ConfigurationProgressing"
#define REASON_LIMIT       "MaxUnavailableLimitReached"
#define REASON_NOT_READY   "NodeNotReady"
#define REASON_SUCCESS     "SuccessfullyConfigured"
#define REASON_FAILED      "FailedToConfigure"
#define REASON_NO_NODE     "NoMatchingNode"

enum progress { OUTDATED, PENDING, RUNNING, AVAILABLE, FAILING, ABORTED };

/* A policy on one node. */
struct turn {
    const struct node *node;
    const struct tree *enactment; /* NULL: there is none yet */
    bool ready;                   /* the node's handler answers */
    enum progress progress;
};

struct policy_view {
    const struct tree *policy;
    int64_t generation;
    struct turn *turns; /* by the names of nodes */
    size_t len;
};

struct tally {
    size_t ready, counts[ABORTED + 1];
};

struct objects {
    const struct tree **items;
    size_t len, cap;
};

static bool add_object(void *ctx, const struct tree *obj);
static void drop_strays(struct loops *l, const struct objects *enactments);
static void find_turns(struct loops *l, struct policy_view *v);
static bool belongs(const struct tree *e, const char *node, const char *policy);
static bool selects(const struct tree *policy, const struct node *node);
static enum progress progress_of(const struct policy_view *v, const struct tree *enactment);
static void take_turns(struct loops *l, const struct policy_view *v);
static size_t max_unavailable(const struct tree *policy, size_t of);
static void write_enactment(struct loops *l, const struct policy_view *v, const struct turn *t,
                            bool go);
static void report(struct loops *l, const struct policy_view *v);

void
loop_enactment_pass(struct loops *l)
{
    struct objects policies = {0}, enactments = {0};

    if (!l->network->enactments_dirty && !l->all)
        return;
    l->network->enactments_dirty = false;
    store_list(l->store, KIND_NNCP, NULL, add_object, &policies);
    store_list(l->store, KIND_NNCE, NULL, add_object, &enactments);
    drop_strays(l, &enactments);
    for (size_t i = 0; i < policies.len; i++) {
        struct policy_view v = {.policy = policies.items[i]};

        v.generation = tree_get_int(tree_find(v.policy, "metadata", "generation", NULL), 0);
        find_turns(l, &v);
        take_turns(l, &v);
        report(l, &v);
    }
    free(policies.items);
    free(enactments.items);
}

static bool
add_object(void *ctx, const struct tree *obj)
{
    struct objects *o = ctx;

    if (o->len == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 16;
        o->items = xreallocarray(o->items, o->cap, sizeof(*o->items));
    }
    o->items[o->len++] = obj;
    return true;
}

/* Enactments whose policy or node is gone, or which do not belong together any more: their handler
 * puts back what was before. Those without our labels are not ours. */
static void
drop_strays(struct loops *l, const struct objects *enactments)
{
    for (size_t i = 0; i < enactments->len; i++) {
        const struct tree *e = enactments->items[i];
        const char *node_name = object_label(e, LABEL_NMSTATE_NODE);
        const char *policy_name = object_label(e, LABEL_NMSTATE_POLICY);
        const struct tree *policy;
        const struct node *node;
        struct meta m = {.name = object_name(e), .uid = object_uid(e)};

        if (!node_name || !policy_name)
            continue;
        policy = loop_core_tree(l, KIND_NNCP, NULL, policy_name);
        node = loop_cache_get(l->cache, KIND_NODE, NULL, node_name);
        if (!policy || !node || !selects(policy, node))
            loop_write_delete(loop_write_new(l, KIND_NNCE, &m, 0), NULL);
    }
}

/* --- which nodes, and how far they are --- */

static int
by_name(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;

    return strcmp(x->node->meta.name, y->node->meta.name);
}

static void
find_turns(struct loops *l, struct policy_view *v)
{
    size_t max = loop_cache_count(l->cache, KIND_NODE);
    const struct node *n;

    v->turns = arena_calloc(l->arena, max + 1, sizeof(*v->turns));
    for (size_t it = 0; v->len < max && (n = loop_cache_next(l->cache, KIND_NODE, &it));) {
        const struct condition *ready = loop_core_condition(&n->conditions, "Ready");
        AUTO_FREE char *name = NULL;
        struct turn *t = &v->turns[v->len];

        if (!selects(v->policy, n))
            continue;
        name = xasprintf("%s.%s", n->meta.name, object_name(v->policy));
        t->enactment = loop_core_tree(l, KIND_NNCE, NULL, name);
        if (t->enactment && !belongs(t->enactment, n->meta.name, object_name(v->policy)))
            continue; /* "a" + "b.c" and "a.b" + "c" make one name: the first has it */
        t->node = n;
        t->ready = ready && ready->status && strcmp(ready->status, "True") == 0;
        t->progress = progress_of(v, t->enactment);
        v->len++;
    }
    if (v->len > 0)
        qsort(v->turns, v->len, sizeof(*v->turns), by_name);
}

static bool
belongs(const struct tree *e, const char *node, const char *policy)
{
    const char *n = object_label(e, LABEL_NMSTATE_NODE), *p = object_label(e, LABEL_NMSTATE_POLICY);

    return n && p && strcmp(n, node) == 0 && strcmp(p, policy) == 0;
}

/* spec.nodeSelector; none selects all. */
static bool
selects(const struct tree *policy, const struct node *node)
{
    const struct tree *selector = tree_find(policy, "spec", "nodeSelector", NULL);

    for (size_t i = 0; i < tree_len(selector); i++) {
        const char *value = kv_get(&node->meta.labels, tree_key_at(selector, i));

        if (!value || strcmp(value, tree_get_string(tree_at(selector, i), "")) != 0)
            return false;
    }
    return true;
}

static bool
is_true(const struct tree *obj, const char *type)
{
    return strcmp(tree_find_string(object_condition(obj, type), "", "status", NULL), "True") == 0;
}

static int64_t
generation_of(const struct tree *e, const char *key)
{
    return tree_get_int(tree_find(e, "status", key, NULL), -1);
}

/* Its handler is at work, maybe on what the policy asked for before. */
static bool
runs(const struct turn *t)
{
    return t->progress == RUNNING ||
           (t->progress == OUTDATED && t->enactment && !is_true(t->enactment, "Pending") &&
            generation_of(t->enactment, "handledGeneration") !=
                generation_of(t->enactment, "policyGeneration"));
}

static enum progress
progress_of(const struct policy_view *v, const struct tree *e)
{
    if (!e || generation_of(e, "policyGeneration") != v->generation ||
        !tree_equal(tree_find(e, "status", "desiredState", NULL),
                    tree_find(v->policy, "spec", "desiredState", NULL))) /* made anew */
        return OUTDATED;
    if (is_true(e, "Pending"))
        return PENDING;
    if (generation_of(e, "handledGeneration") != v->generation)
        return RUNNING;
    return is_true(e, "Available") ? AVAILABLE
           : is_true(e, "Failing") ? FAILING
           : is_true(e, "Aborted") ? ABORTED
                                   : RUNNING;
}

/* --- turns --- */

/* Nodes whose handler does not answer take no turn, and hold none up. Those that are at work keep
 * theirs when the policy changes. */
static void
take_turns(struct loops *l, const struct policy_view *v)
{
    size_t max = max_unavailable(v->policy, v->len), running = 0;

    for (size_t i = 0; i < v->len; i++)
        running += v->turns[i].ready && runs(&v->turns[i]);
    for (size_t i = 0; i < v->len; i++) {
        const struct turn *t = &v->turns[i];
        const char *why = t->ready ? REASON_LIMIT : REASON_NOT_READY;
        bool has = t->ready && runs(t), go = has || (t->ready && running < max);

        if (t->progress > PENDING)
            continue;
        running += go && !has;
        if (t->progress == OUTDATED || go ||
            strcmp(tree_find_string(object_condition(t->enactment, "Pending"), "", "reason", NULL),
                   why) != 0)
            write_enactment(l, v, t, go);
    }
}

/* A number, or a percentage of the matching nodes, rounded up; at least 1. */
static size_t
max_unavailable(const struct tree *policy, size_t of)
{
    const struct tree *v = tree_find(policy, "spec", "maxUnavailable", NULL);
    int64_t n = tree_get_int(v, 0);

    if (tree_type(v) != TREE_INT)
        n = ((int64_t)of * strtol(tree_get_string(v, PERCENT_DEFAULT), NULL, 10) + 99) / 100;
    return n > 0 ? (size_t)n : 1;
}

struct enactment_args {
    struct tree *desired;
    int64_t generation;
    bool go, ready;
};

static void
set_conditions(struct tree *e, const struct enactment_args *a, int64_t now_us)
{
    const char *reason = a->go ? REASON_PROGRESSING : a->ready ? REASON_LIMIT : REASON_NOT_READY;
    const char *message = a->go      ? "the node's handler applies the desired state"
                          : a->ready ? "waiting: maxUnavailable nodes are being configured"
                                     : "waiting: the node's handler does not answer";
    const char *open = a->go ? "Unknown" : "False";

    object_set_condition(e, "Pending", a->go ? "False" : "True", reason, a->go ? "" : message,
                         now_us);
    object_set_condition(e, "Progressing", a->go ? "True" : "False", reason, a->go ? message : "",
                         now_us);
    object_set_condition(e, "Available", open, reason, "", now_us);
    object_set_condition(e, "Failing", open, reason, "", now_us);
    object_set_condition(e, "Aborted", "False", reason, "", now_us);
}

static void
fill_enactment(struct tree *e, const struct enactment_args *a, int64_t now_us)
{
    struct tree *status = tree_ensure_map(e, "status");

    tree_del(status, "desiredState");
    if (a->desired)
        tree_set(status, "desiredState", tree_copy(a->desired));
    tree_del(status, "handledGeneration");
    tree_set(status, "policyGeneration", tree_int(a->generation));
    set_conditions(e, a, now_us);
}

static int
change_enactment(struct loop_write *w, struct tree *obj)
{
    fill_enactment(obj, w->args, loop_wall_us(w->l->loop));
    return 1;
}

static void
release_enactment(struct loop_write *w)
{
    tree_free(((struct enactment_args *)w->args)->desired);
}

static void
write_enactment(struct loops *l, const struct policy_view *v, const struct turn *t, bool go)
{
    AUTO_FREE char *name = xasprintf("%s.%s", t->node->meta.name, object_name(v->policy));
    struct meta m = {.name = name, .uid = t->enactment ? object_uid(t->enactment) : NULL};
    struct loop_write *w = loop_write_new(l, KIND_NNCE, &m, sizeof(struct enactment_args));
    struct enactment_args *a = w->args;
    struct tree *e;

    *a = (struct enactment_args){tree_copy(tree_find(v->policy, "spec", "desiredState", NULL)),
                                 v->generation, go, t->ready};
    w->release = release_enactment;
    if (t->enactment) {
        loop_write_mutate(w, change_enactment, NULL);
        return;
    }
    e = tree_map();
    tree_set(e, "apiVersion", tree_string("nmstate.io/v1beta1"));
    tree_set(e, "kind", tree_string("NodeNetworkConfigurationEnactment"));
    tree_set_path(e, tree_string(name), "metadata", "name", NULL);
    tree_set_path(e, tree_string(t->node->meta.name), "metadata", "labels", LABEL_NMSTATE_NODE,
                  NULL);
    tree_set_path(e, tree_string(object_name(v->policy)), "metadata", "labels",
                  LABEL_NMSTATE_POLICY, NULL);
    fill_enactment(e, a, l->now_us);
    loop_write_create(w, e, NULL);
}

/* --- the policy's status --- */

struct outcome {
    const char *reason, *message;
};

static struct outcome
outcome_of(struct loops *l, const struct policy_view *v)
{
    struct tally t = {0};
    size_t finished;
    const char *silent = "", *pending = "", *aborted = "";

    for (size_t i = 0; i < v->len; i++) {
        t.ready += v->turns[i].ready;
        t.counts[v->turns[i].progress]++;
    }
    finished = t.counts[AVAILABLE] + t.counts[FAILING] + t.counts[ABORTED];
    if (t.ready < v->len)
        silent =
            arena_printf(l->arena, ", %zu nodes ignored due to NotReady state", v->len - t.ready);
    if (t.counts[PENDING] > 0)
        pending = arena_printf(l->arena, ", %zu pending", t.counts[PENDING]);
    if (t.counts[ABORTED] > 0)
        aborted = arena_printf(l->arena, ", %zu nodes aborted configuration", t.counts[ABORTED]);
    if (v->len == 0)
        return (struct outcome){REASON_NO_NODE, "Policy does not match any node"};
    if (t.counts[FAILING] + t.counts[ABORTED] > 0)
        return (struct outcome){REASON_FAILED,
                                arena_printf(l->arena, "%zu/%zu nodes failed to configure%s",
                                             t.counts[FAILING], v->len, aborted)};
    if (finished < t.ready)
        return (struct outcome){REASON_PROGRESSING,
                                arena_printf(l->arena,
                                             "Policy is progressing %zu/%zu nodes finished%s%s",
                                             finished, t.ready, pending, silent)};
    return (struct outcome){REASON_SUCCESS,
                            arena_printf(l->arena, "%zu/%zu nodes successfully configured%s",
                                         t.counts[AVAILABLE], v->len, silent)};
}

/* Which condition an outcome makes true, and what the others are then. */
static const struct {
    const char *reason, *type, *others;
} outcomes[] = {
    {REASON_SUCCESS, "Available", "False"},
    {REASON_FAILED, "Degraded", "False"},
    {REASON_PROGRESSING, "Progressing", "Unknown"},
    {REASON_NO_NODE, "Ignored", "False"},
};

static bool
set_outcome(struct tree *policy, const struct outcome *o, int64_t now_us)
{
    static const char *const types[] = {"Available", "Degraded", "Progressing", "Ignored"};
    bool changed = false;
    size_t is = 0;

    while (strcmp(outcomes[is].reason, o->reason) != 0)
        is++;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        bool holds = strcmp(types[i], outcomes[is].type) == 0;
        bool open = i < 2; /* not known while it progresses */

        changed |= object_set_condition(policy, types[i],
                                        holds  ? "True"
                                        : open ? outcomes[is].others
                                               : "False",
                                        o->reason, holds ? o->message : "", now_us);
    }
    return changed;
}

static int
change_policy(struct loop_write *w, struct tree *obj)
{
    return set_outcome(obj, w->args, loop_wall_us(w->l->loop));
}

/* One event when a policy is through, and how. */
static void
after_policy(struct loop_write *w, const struct tree *obj)
{
    const struct outcome *o = w->args;
    bool failed = strcmp(o->reason, REASON_FAILED) == 0;

    (void)obj;
    if (failed || strcmp(o->reason, REASON_SUCCESS) == 0)
        loop_event(w->l, KIND_NNCP, &(struct meta){.name = w->name, .uid = w->uid},
                   failed ? EVENT_WARNING : EVENT_NORMAL, o->reason, "%s", o->message);
}

static void
report(struct loops *l, const struct policy_view *v)
{
    struct outcome o = outcome_of(l, v), *kept;
    AUTO_TREE struct tree *copy = tree_copy(v->policy);
    struct meta m = {.name = object_name(v->policy), .uid = object_uid(v->policy)};
    struct loop_write *w;

    if (!set_outcome(copy, &o, l->now_us))
        return;
    w = loop_write_new(l, KIND_NNCP, &m, sizeof(o));
    kept = w->args;
    kept->reason = o.reason;
    kept->message = arena_strdup(w->arena, o.message);
    loop_write_mutate(w, change_policy, after_policy);
}
