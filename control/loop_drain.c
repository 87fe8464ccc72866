/* NodeMaintenance: cordons the node, moves or ends its VMs as their eviction strategies say, names
 * what blocks, and gives the node back when the object is deleted. A plain cordon evicts nothing.
 * Part of a pass (control/loop_core.h). Rules: node maintenance in the OpenShift
 * Virtualization 4.15 documents, the status of upstream's operator; the decision for each VM is
 * sched/evict.h's. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_core.h"
#include "control/loop_evict.h"
#include "control/loop_migration.h"
#include "control/loop_phase.h"

#define FINALIZER_MAINTENANCE "foregroundDeleteNodeMaintenance" /* upstream's */
#define ANN_ADDED             "drover.io/maintenance-added"     /* what was put on the node */
#define ADDED_CORDON          "unschedulable"
#define ERROR_SIZE            1024
#define PENDING_NAMED         1000 /* in status.pendingPods */

static const char *const drain_taints[] = {TAINT_UNSCHEDULABLE, TAINT_DRAIN};

/* What is seen of one maintenance in this pass, and what becomes its status. */
struct drain {
    const struct maintenance *mt;
    const struct node *node; /* NULL: there is none */
    enum drain_phase phase;
    const char **pending; /* "ns/name", sorted */
    size_t pending_len;
    struct sb problems;
};

static void serve(struct loops *l, const struct maintenance *mt);
static void evict(struct loops *l, struct drain *d, const struct vmi *v);
static void give_back(struct loops *l, const struct maintenance *mt);
static void publish(struct loops *l, struct drain *d);

void
loop_drain_pass(struct loops *l)
{
    const struct maintenance *mt;

    for (size_t it = 0; (mt = loop_cache_next(l->cache, KIND_MAINTENANCE, &it));) {
        if (mt->meta.deletion_us)
            give_back(l, mt);
        else
            serve(l, mt);
    }
}

/* --- the node --- */

static bool
has_taint(const struct node *n, const char *key)
{
    for (size_t i = 0; i < n->taints_len; i++)
        if (n->taints[i].key && strcmp(n->taints[i].key, key) == 0 && n->taints[i].effect &&
            strcmp(n->taints[i].effect, "NoSchedule") == 0)
            return true;
    return false;
}

/* An older maintenance of the same node, being deleted or not; it comes first. */
static const struct maintenance *
rival(struct loops *l, const struct maintenance *mt)
{
    const struct maintenance *o;

    for (size_t it = 0; (o = loop_cache_next(l->cache, KIND_MAINTENANCE, &it));)
        if (o != mt && o->node_name && mt->node_name && strcmp(o->node_name, mt->node_name) == 0 &&
            (o->meta.creation_us != mt->meta.creation_us
                 ? o->meta.creation_us < mt->meta.creation_us
                 : strcmp(o->meta.name, mt->meta.name) < 0))
            return o;
    return NULL;
}

/* Before the node is touched: the finalizer, and a note of what will be added to it, so that only
 * that is taken away in the end. */
static int
take_on(struct loop_write *w, struct tree *obj)
{
    if (tree_find(obj, "metadata", "deletionTimestamp", NULL))
        return 0;
    loop_core_add_finalizer(obj, FINALIZER_MAINTENANCE);
    tree_set_path(obj, tree_string(w->args), "metadata", "annotations", ANN_ADDED, NULL);
    return 1;
}

static void
begin(struct loops *l, const struct maintenance *mt, const struct node *n)
{
    struct loop_write *w = loop_write_new(l, KIND_MAINTENANCE, &mt->meta, 0);
    AUTO_SB struct sb added = SB_INIT;

    sb_puts(&added, n->unschedulable ? "" : ADDED_CORDON);
    for (size_t i = 0; i < ARRAY_LEN(drain_taints); i++)
        if (!has_taint(n, drain_taints[i]))
            sb_printf(&added, "%s%s", added.len ? "," : "", drain_taints[i]);
    w->args = arena_strdup(w->arena, sb_str(&added));
    loop_write_mutate(w, take_on, NULL);
}

static bool
tree_has_taint(const struct tree *taints, const char *key, size_t *ret_at)
{
    for (size_t i = 0; i < tree_len(taints); i++) {
        if (strcmp(tree_get_string(tree_get(tree_at(taints, i), "key"), ""), key) == 0 &&
            strcmp(tree_get_string(tree_get(tree_at(taints, i), "effect"), ""), "NoSchedule") ==
                0) {
            *ret_at = i;
            return true;
        }
    }
    return false;
}

static int
cordon(struct loop_write *w, struct tree *obj)
{
    struct tree *spec = tree_ensure_map(obj, "spec"), *taints = tree_get(spec, "taints");
    char now[32];
    size_t at;

    time_format(loop_wall_us(w->l->loop), false, now, sizeof(now));
    tree_set(spec, "unschedulable", tree_bool(true));
    if (tree_type(taints) != TREE_LIST) {
        taints = tree_list();
        tree_set(spec, "taints", taints);
    }
    for (size_t i = 0; i < ARRAY_LEN(drain_taints); i++) {
        struct tree *t;

        if (tree_has_taint(taints, drain_taints[i], &at))
            continue;
        t = tree_map();
        tree_set(t, "key", tree_string(drain_taints[i]));
        tree_set(t, "effect", tree_string("NoSchedule"));
        tree_set(t, "timeAdded", tree_string(now));
        tree_append(taints, t);
    }
    return 1;
}

static bool
lists(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == len && strncmp(p, word, len) == 0)
            return true;
    return false;
}

static int
uncordon(struct loop_write *w, struct tree *obj)
{
    const char *added = w->args;
    struct tree *spec = tree_ensure_map(obj, "spec"), *taints = tree_get(spec, "taints");
    size_t at;

    if (lists(added, ADDED_CORDON))
        tree_del(spec, "unschedulable");
    for (size_t i = 0; i < ARRAY_LEN(drain_taints); i++)
        if (lists(added, drain_taints[i]) && tree_has_taint(taints, drain_taints[i], &at))
            tree_list_remove(taints, at);
    if (taints && tree_len(taints) == 0)
        tree_del(spec, "taints");
    return 1;
}

/* --- a maintenance that stands --- */

static void PRINTF_LIKE(2, 3) problem(struct drain *d, const char *fmt, ...)
{
    va_list ap;

    if (d->problems.len >= ERROR_SIZE)
        return;
    if (d->problems.len)
        sb_puts(&d->problems, "; ");
    va_start(ap, fmt);
    sb_vprintf(&d->problems, fmt, ap);
    va_end(ap);
}

static int
cmp_vmi(const void *pa, const void *pb)
{
    const struct vmi *a = *(const struct vmi *const *)pa, *b = *(const struct vmi *const *)pb;
    int c = strcmp(a->meta.namespace_, b->meta.namespace_);

    return c ? c : strcmp(a->meta.name, b->meta.name);
}

/* Those on the node that have not ended, by name. In the pass' arena. */
static const struct vmi **
vmis_on(struct loops *l, const char *node, size_t *ret_len)
{
    size_t max = loop_cache_count_of(l->cache, LOOP_CACHE_VMI_ON_NODE, NULL, node), len = 0;
    const struct vmi **all = arena_calloc(l->arena, max + 1, sizeof(*all)), *v;

    for (size_t it = 0;
         (v = loop_cache_next_of(l->cache, LOOP_CACHE_VMI_ON_NODE, NULL, node, &it));)
        if (!vmi_phase_final(vmi_phase_parse(v->status.phase)))
            all[len++] = v;
    if (len > 1)
        qsort(all, len, sizeof(*all), cmp_vmi);
    *ret_len = len;
    return all;
}

static bool
has_begun(const struct maintenance *mt)
{
    return mt->phase && (strcmp(mt->phase, drain_phase_name(DRAIN_RUNNING)) == 0 ||
                         strcmp(mt->phase, drain_phase_name(DRAIN_SUCCEEDED)) == 0);
}

static void
serve(struct loops *l, const struct maintenance *mt)
{
    const struct maintenance *first = rival(l, mt);
    struct drain d = {.mt = mt};
    const struct vmi **vmis;
    size_t len;

    d.node = mt->node_name ? loop_cache_get(l->cache, KIND_NODE, NULL, mt->node_name) : NULL;
    if (!d.node || first) {
        d.phase = DRAIN_FAILED;
        if (first)
            problem(&d, "node %s is in maintenance by NodeMaintenance %s", mt->node_name,
                    first->meta.name);
        else
            problem(&d, "node %s does not exist", mt->node_name ? mt->node_name : "");
    } else if (!loop_core_has_finalizer(&mt->meta, FINALIZER_MAINTENANCE) ||
               !kv_get(&mt->meta.annotations, ANN_ADDED)) {
        begin(l, mt, d.node);
        sb_done(&d.problems);
        return;
    } else {
        if (!d.node->unschedulable || !has_taint(d.node, TAINT_DRAIN) ||
            !has_taint(d.node, TAINT_UNSCHEDULABLE))
            loop_write_mutate(loop_write_new(l, KIND_NODE, &d.node->meta, 0), cordon, NULL);
        vmis = vmis_on(l, mt->node_name, &len);
        d.pending = arena_calloc(l->arena, len + 1, sizeof(*d.pending));
        for (size_t i = 0; i < len; i++)
            evict(l, &d, vmis[i]);
        /* A node that is empty from the start goes through Running, too. */
        d.phase = d.pending_len || !has_begun(mt) ? DRAIN_RUNNING : DRAIN_SUCCEEDED;
    }
    publish(l, &d);
    sb_done(&d.problems);
}

/* An attempt that waits for something other than its turn is worth naming. */
static void
name_trouble(struct drain *d, const struct vmi *v, const struct vmim *now, const struct vmim *last)
{
    const struct condition *c =
        now ? loop_core_condition(&now->conditions, CONDITION_WAITING) : NULL;
    static const char *const usual[] = {"ClusterLimit",     "NodeLimit", "PreparingTarget",
                                        "MigrationBackoff", "Starting",  "Finishing"};
    bool named = c && c->status && strcmp(c->status, "True") == 0 && c->reason && c->message;

    for (size_t i = 0; named && i < ARRAY_LEN(usual); i++)
        named = strcmp(c->reason, usual[i]) != 0;
    if (named)
        problem(d, "%s/%s: %s", v->meta.namespace_, v->meta.name, c->message);
    else if (last && last->state.failed && last->state.failure_reason)
        problem(d, "%s/%s: the last attempt failed: %s", v->meta.namespace_, v->meta.name,
                last->state.failure_reason);
}

static void
evict(struct loops *l, struct drain *d, const struct vmi *v)
{
    const char *node = d->mt->node_name;
    struct loop_evict_cause why = {
        .node = node,
        .cause = EVICT_CAUSE_DRAIN,
        .text = arena_printf(l->arena, "node %s is drained", node),
        .mark = true,
    };
    const struct vmim *now, *last;
    struct evict_decision what;

    d->pending[d->pending_len++] =
        arena_printf(l->arena, "%s/%s", v->meta.namespace_, v->meta.name);
    if (v->meta.deletion_us)
        return; /* it is leaving already */
    what = loop_evict(l, v, &why);
    loop_evict_migrations(l, v, &now, &last);
    if (what.action == EVICT_MIGRATING)
        name_trouble(d, v, now, last);
    else if (what.action == EVICT_BLOCK)
        problem(d, "%s/%s blocks the drain: %s", v->meta.namespace_, v->meta.name, what.reason);
    else if (what.action == EVICT_EXTERNAL)
        problem(d, "%s/%s waits for its external controller: %s", v->meta.namespace_, v->meta.name,
                what.reason);
}

/* --- status --- */

struct status_args {
    enum drain_phase phase;
    const char *error;
    const char **pending;
    size_t pending_len;
};

static struct tree *
pending_list(const char *const *pending, size_t len)
{
    struct tree *list = tree_list();

    for (size_t i = 0; i < len && i < PENDING_NAMED; i++)
        tree_append(list, tree_string(pending[i]));
    return list;
}

/* Fills in status; true when anything changed. */
static bool
fill_status(struct tree *obj, const struct status_args *a)
{
    struct tree *status = tree_ensure_map(obj, "status");
    AUTO_TREE struct tree *before = tree_copy(status);
    int64_t total = tree_get_int(tree_get(status, "totalpods"), 0), left = (int64_t)a->pending_len;
    const char *phase = tree_get_string(tree_get(status, "phase"), "");

    if (strcmp(phase, drain_phase_name(a->phase)) != 0)
        drain_phase_set(obj, a->phase, NULL);
    if (a->phase != DRAIN_FAILED) {
        if (left > total)
            total = left;
        tree_set(status, "totalpods", tree_int(total));
        tree_set(status, "evictionPods", tree_int(total));
        tree_set(status, "drainProgress", tree_int(total ? (total - left) * 100 / total : 100));
        if (left)
            tree_set(status, "pendingPods", pending_list(a->pending, a->pending_len));
        else
            tree_del(status, "pendingPods");
    }
    if (*a->error)
        tree_set(status, "lastError", tree_string(a->error));
    else
        tree_del(status, "lastError");
    return !tree_equal(before, status);
}

static int
write_status(struct loop_write *w, struct tree *obj)
{
    char now[32];

    if (tree_find(obj, "metadata", "deletionTimestamp", NULL) || !fill_status(obj, w->args))
        return 0;
    time_format(loop_wall_us(w->l->loop), false, now, sizeof(now));
    tree_set_path(obj, tree_string(now), "status", "lastUpdate", NULL);
    return 1;
}

static void
after_status(struct loop_write *w, const struct tree *obj)
{
    const struct status_args *a = w->args;

    log_info("drain.status", LS("maintenance", w->name), LS("phase", drain_phase_name(a->phase)),
             LI("pending", a->pending_len), LS("error", a->error));
    (void)obj;
}

static void
publish(struct loops *l, struct drain *d)
{
    const struct tree *t = loop_core_tree(l, KIND_MAINTENANCE, NULL, d->mt->meta.name);
    AUTO_TREE struct tree *next = tree_copy(t);
    struct loop_write *w = NULL;
    struct status_args a = {d->phase, sb_str(&d->problems), d->pending, d->pending_len}, *copy;

    if (!fill_status(next, &a))
        return;
    w = loop_write_new(l, KIND_MAINTENANCE, &d->mt->meta, sizeof(a));
    copy = w->args;
    *copy = a;
    copy->error = arena_strdup(w->arena, a.error);
    copy->pending = arena_calloc(w->arena, a.pending_len + 1, sizeof(*copy->pending));
    for (size_t i = 0; i < a.pending_len; i++)
        copy->pending[i] = arena_strdup(w->arena, a.pending[i]);
    loop_write_mutate(w, write_status, after_status);
}

/* --- a maintenance that goes --- */

static int
let_go(struct loop_write *w, struct tree *obj)
{
    (void)w;
    return loop_core_drop_finalizer(obj, FINALIZER_MAINTENANCE);
}

/* Evacuations that have not been handed to the handlers are taken back; running ones finish. */
static void
take_back(struct loops *l, const char *node)
{
    const struct vmim *m;
    const struct vmi *v;

    for (size_t it = 0; (m = loop_cache_next(l->cache, KIND_VMIM, &it));) {
        const char *from = kv_get(&m->meta.annotations, ANN_EVACUATION);
        enum coord_phase p;

        if (from && strcmp(from, node) == 0 && !m->meta.deletion_us &&
            coord_phase_parse(m->phase, &p, NULL) == 0 && p <= COORD_SCHEDULED)
            loop_write_delete(loop_write_new(l, KIND_VMIM, &m->meta, 0), NULL);
    }
    for (size_t it = 0; (v = loop_cache_next(l->cache, KIND_VMI, &it));)
        if (v->status.evacuation_node && strcmp(v->status.evacuation_node, node) == 0)
            loop_evict_mark(l, v, NULL);
}

static void
give_back(struct loops *l, const struct maintenance *mt)
{
    const struct node *n =
        mt->node_name ? loop_cache_get(l->cache, KIND_NODE, NULL, mt->node_name) : NULL;
    const char *added = kv_get(&mt->meta.annotations, ANN_ADDED);

    if (!loop_core_has_finalizer(&mt->meta, FINALIZER_MAINTENANCE))
        return;
    if (n && added) {
        struct loop_write *w = loop_write_new(l, KIND_NODE, &n->meta, 0);

        w->args = arena_strdup(w->arena, added);
        loop_write_mutate(w, uncordon, NULL);
    }
    if (added && mt->node_name)
        take_back(l, mt->node_name);
    /* Last: when the controller dies before it, all of the above is done again. */
    loop_write_mutate(loop_write_new(l, KIND_MAINTENANCE, &mt->meta, 0), let_go, NULL);
}
