/* Evictions; see control/loop_evict.h. */
#include "control/loop_evict.h"

#include <string.h>

#include "api/selector.h"
#include "base/log.h"
#include "control/loop_event.h"
#include "control/loop_migration.h"

#define EVACUATION_NAME "kubevirt-evacuation-"

struct evict_args {
    const char *cause, *text, *reason;
};

static bool first_this_pass(struct loops *l, const struct vmi *v);
static struct evict_args *args_new(struct loop_write *w, const struct loop_evict_cause *why);
static void evacuate(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why);
static void shut_down(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why,
                      const char *reason);

struct evict_decision
loop_evict(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why)
{
    struct evict_decision what = loop_evict_would(l, v);

    if (why->mark && (what.action == EVICT_MIGRATE || what.action == EVICT_MIGRATING ||
                      what.action == EVICT_EXTERNAL))
        loop_evict_mark(l, v, why->node);
    if (what.action == EVICT_MIGRATE && first_this_pass(l, v))
        evacuate(l, v, why);
    if (what.action == EVICT_SHUTDOWN)
        loop_evict_shut_down(l, v, why, what.reason);
    return what;
}

void
loop_evict_shut_down(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why,
                     const char *reason)
{
    if (first_this_pass(l, v))
        shut_down(l, v, why, reason);
}

struct evict_decision
loop_evict_would(struct loops *l, const struct vmi *v)
{
    const struct hco *hco = loop_cache_hco(l->cache);
    const struct kubevirt *kv = loop_cache_kubevirt(l->cache);
    const char *strategy = hco ? hco->eviction_strategy : kv ? kv->eviction_strategy : NULL;
    struct migratable can = loop_migratable(l, v);
    const struct vmim *now, *last;

    loop_evict_migrations(l, v, &now, &last);
    /* All nodes count, not those that take VMs now: a drain must not turn the default into None. */
    return evict_decide(v, &can, strategy, loop_cache_count(l->cache, KIND_NODE), now != NULL,
                        l->arena);
}

void
loop_evict_cancel(struct loops *l, const struct vmi *v, const char *cause)
{
    const struct vmim *m;

    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OF_VMI,
                                                v->meta.namespace_, v->meta.name, &it));) {
        const char *its = kv_get(&m->meta.annotations, ANN_EVACUATION_CAUSE);
        enum coord_phase p;

        if (its && strcmp(its, cause) == 0 && !m->meta.deletion_us &&
            coord_phase_parse(m->phase, &p, NULL) == 0 && p <= COORD_SCHEDULED)
            loop_write_delete(loop_write_new(l, KIND_VMIM, &m->meta, 0), NULL);
    }
}

/* args: the node, or NULL to take the mark away. */
static int
mark(struct loop_write *w, struct tree *obj)
{
    struct tree *status = tree_ensure_map(obj, "status");

    if (!w->args)
        return tree_del(status, "evacuationNodeName");
    if (strcmp(tree_get_string(tree_get(status, "nodeName"), ""), w->args) != 0)
        return 0;
    tree_set(status, "evacuationNodeName", tree_string(w->args));
    return 1;
}

void
loop_evict_mark(struct loops *l, const struct vmi *v, const char *node)
{
    struct loop_write *w;

    if (strcmp(v->status.evacuation_node ? v->status.evacuation_node : "", node ? node : "") == 0)
        return;
    w = loop_write_new(l, KIND_VMI, &v->meta, 0);
    w->args = arena_strdup(w->arena, node);
    loop_write_mutate(w, mark, NULL);
}

void
loop_evict_migrations(struct loops *l, const struct vmi *v, const struct vmim **ret_now,
                      const struct vmim **ret_last)
{
    const struct vmim *m;

    *ret_now = *ret_last = NULL;
    for (size_t it = 0; (m = loop_cache_next_of(l->cache, LOOP_CACHE_VMIM_OF_VMI,
                                                v->meta.namespace_, v->meta.name, &it));) {
        enum coord_phase p;

        if (coord_phase_parse(m->phase, &p, NULL) != 0)
            continue;
        if (!coord_phase_final(p))
            *ret_now = m;
        else if (!*ret_last || (*ret_last)->meta.creation_us <= m->meta.creation_us)
            *ret_last = m;
    }
}

void
loop_evict_done(struct loops *l)
{
    strmap_free(TAKE_PTR(l->evicted), NULL);
}

/* A node may be drained and tainted at once: what one loop has written the next does not see yet. */
static bool
first_this_pass(struct loops *l, const struct vmi *v)
{
    if (!l->evicted)
        l->evicted = strmap_new();
    return !strmap_put(l->evicted, v->meta.uid, l);
}

static struct evict_args *
args_new(struct loop_write *w, const struct loop_evict_cause *why)
{
    struct evict_args *a = w->args;

    a->cause = arena_strdup(w->arena, why->cause);
    a->text = arena_strdup(w->arena, why->text);
    return a;
}

static void
after_evacuation(struct loop_write *w, const struct tree *obj)
{
    const struct evict_args *a = w->args;

    log_info("evict.migrate", LS("namespace", w->ns), LS("vmi", w->name), LS("cause", a->cause),
             LS("migration", object_name(obj)));
    loop_event(w->l, KIND_VMI, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_NORMAL, "EvictionRequested", "%s: migration %s moves the VM away", a->text,
               object_name(obj));
}

static void
evacuate(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why)
{
    struct tree *m = tree_map();
    struct loop_write *w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(struct evict_args));

    tree_set(m, "apiVersion", tree_string("kubevirt.io/v1"));
    tree_set(m, "kind", tree_string("VirtualMachineInstanceMigration"));
    tree_set_path(m, tree_string(EVACUATION_NAME), "metadata", "generateName", NULL);
    tree_set_path(m, tree_string(v->meta.namespace_), "metadata", "namespace", NULL);
    tree_set_path(m, tree_string(why->node), "metadata", "annotations", ANN_EVACUATION, NULL);
    tree_set_path(m, tree_string(why->cause), "metadata", "annotations", ANN_EVACUATION_CAUSE,
                  NULL);
    tree_set_path(m, tree_string(v->meta.name), "spec", "vmiName", NULL);
    args_new(w, why);
    loop_write_create(w, m, after_evacuation);
}

static void
after_shutdown(struct loop_write *w, const struct tree *obj)
{
    const struct evict_args *a = w->args;

    (void)obj;
    log_info("evict.shutdown", LS("namespace", w->ns), LS("vmi", w->name), LS("cause", a->cause));
    loop_event(w->l, KIND_VMI, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_NORMAL, "EvictionRequested", "%s: the VM is shut down: %s", a->text,
               a->reason);
}

static void
shut_down(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why,
          const char *reason)
{
    struct loop_write *w = loop_write_new(l, KIND_VMI, &v->meta, sizeof(struct evict_args));

    args_new(w, why)->reason = arena_strdup(w->arena, reason);
    loop_write_delete(w, after_shutdown);
}
