/* Passes and writes of the controller's loops; see control/loop_core.h. */
#include "control/loop_core.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "control/loop_cluster.h"
#include "control/loop_evict.h"

#define RETRY_AFTER_ERROR_US 1000000

static void on_pass(void *ctx);
static void arm_wake(struct loops *l);
static void on_wake(void *ctx);
static int on_change(void *ctx, struct tree *obj);
static void on_done(void *ctx, const struct store_result *res);
static void start_write(struct loop_write *w,
                        void (*after)(struct loop_write *w, const struct tree *obj));
static void write_free(struct loop_write *w);

bool
loop_core_look_at(struct loops *l, enum kind kind, const struct meta *m, int64_t wall_us)
{
    return wall_us > 0 && loop_due_at(l->due, kind, m->namespace_, m->name, wall_us);
}

void
loop_core_dirty(struct loops *l)
{
    l->dirty = true;
    loop_core_schedule(l);
}

const struct tree *
loop_core_tree(struct loops *l, enum kind kind, const char *ns, const char *name)
{
    return store_get(l->store, kind, ns, name);
}

bool
loop_core_has_finalizer(const struct meta *m, const char *name)
{
    for (size_t i = 0; i < m->finalizers.len; i++)
        if (strcmp(m->finalizers.items[i], name) == 0)
            return true;
    return false;
}

void
loop_core_add_finalizer(struct tree *obj, const char *name)
{
    struct tree *meta = tree_ensure_map(obj, "metadata"), *list = tree_get(meta, "finalizers");

    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_get_string(tree_at(list, i), ""), name) == 0)
            return;
    if (tree_type(list) != TREE_LIST) {
        list = tree_list();
        tree_set(meta, "finalizers", list);
    }
    tree_append(list, tree_string(name));
}

bool
loop_core_drop_finalizer(struct tree *obj, const char *name)
{
    struct tree *list = tree_find(obj, "metadata", "finalizers", NULL);
    bool changed = false;

    for (size_t i = tree_len(list); i-- > 0;) {
        if (strcmp(tree_get_string(tree_at(list, i), ""), name) == 0) {
            tree_list_remove(list, i);
            changed = true;
        }
    }
    return changed;
}

const struct condition *
loop_core_condition(const struct condition_list *l, const char *type)
{
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i].type && strcmp(l->items[i].type, type) == 0)
            return &l->items[i];
    return NULL;
}

/* A pass waits until all writes of the last one have come back: their commits make it dirty. */
void
loop_core_schedule(struct loops *l)
{
    if (l->dirty && !l->stopped && !l->writes && !l->pass_timer)
        l->pass_timer = loop_timer_add(l->loop, l->debounce_us, on_pass, l);
}

static void
on_pass(void *ctx)
{
    struct loops *l = ctx;
    const char *ns, *name;
    enum kind kind;

    l->pass_timer = NULL;
    if (l->stopped || l->writes)
        return;
    loop_timer_del(TAKE_PTR(l->wake_timer));
    l->dirty = false;
    l->now_us = loop_wall_us(l->loop);
    while (loop_due_next(l->due, l->now_us, &kind, &ns, &name))
        loop_cache_touch(l->cache, kind, ns, name);
    loop_queue_turn(l->queue, l->now_us);
    l->all = l->look_at_all;
    l->look_at_all = false;
    l->arena = arena_new();
    loop_cluster_sync(l);
    loop_node_pass(l);
    loop_network_pass(l);
    loop_enactment_pass(l);
    loop_vm_pass(l);
    loop_sched_pass(l);
    loop_migration_pass(l);
    loop_taint_pass(l);
    loop_drain_pass(l);
    loop_budget_pass(l);
    loop_evict_done(l);
    loop_cache_pass_done(l->cache);
    arena_free(TAKE_PTR(l->arena));
    arm_wake(l);
    loop_core_schedule(l);
}

/* The next pass, if nothing changes before. */
static void
arm_wake(struct loops *l)
{
    int64_t due_us = loop_due_first_us(l->due), queue_us = loop_queue_next_us(l->queue);
    int64_t first_us = !due_us || (queue_us && queue_us < due_us) ? queue_us : due_us;

    if (first_us)
        l->wake_timer = loop_timer_add(
            l->loop, first_us > l->now_us ? (uint64_t)(first_us - l->now_us) : 0, on_wake, l);
}

static void
on_wake(void *ctx)
{
    struct loops *l = ctx;

    l->wake_timer = NULL;
    loop_core_dirty(l);
}

/* --- writes --- */

struct loop_write *
loop_write_new(struct loops *l, enum kind kind, const struct meta *meta, size_t args_size)
{
    struct loop_write *w = xcalloc(1, sizeof(*w));

    w->l = l;
    w->kind = kind;
    w->arena = arena_new();
    w->ns = arena_strdup(w->arena, meta->namespace_ ? meta->namespace_ : "");
    w->name = arena_strdup(w->arena, meta->name ? meta->name : "");
    w->uid = arena_strdup(w->arena, meta->uid);
    w->args = arena_alloc(w->arena, args_size);
    return w;
}

void
loop_write_mutate(struct loop_write *w, int (*change)(struct loop_write *w, struct tree *obj),
                  void (*after)(struct loop_write *w, const struct tree *obj))
{
    w->change = change;
    start_write(w, after);
    store_mutate(w->l->store, w->kind, w->ns, w->name, 0, on_change, on_done, w);
}

void
loop_write_create(struct loop_write *w, struct tree *obj,
                  void (*after)(struct loop_write *w, const struct tree *obj))
{
    start_write(w, after);
    store_create(w->l->store, obj, on_done, w);
}

void
loop_write_delete(struct loop_write *w, void (*after)(struct loop_write *w, const struct tree *obj))
{
    start_write(w, after);
    store_delete(w->l->store, w->kind, w->ns, w->name, w->uid, 0, on_done, w);
}

void
loop_core_drop_writes(struct loops *l)
{
    for (struct loop_write *w = l->writes, *next; w; w = next) {
        next = w->next;
        write_free(w);
    }
}

static void
start_write(struct loop_write *w, void (*after)(struct loop_write *w, const struct tree *obj))
{
    struct loops *l = w->l;

    w->after = after;
    w->next = l->writes;
    w->prev = &l->writes;
    if (w->next)
        w->next->prev = &w->next;
    l->writes = w;
}

static int
on_change(void *ctx, struct tree *obj)
{
    struct loop_write *w = ctx;

    if (w->l->stopped)
        return -ECANCELED;
    if (w->uid && strcmp(w->uid, object_uid(obj)) != 0)
        return 0;
    return w->change(w, obj);
}

static void
on_done(void *ctx, const struct store_result *res)
{
    struct loop_write *w = ctx;
    struct loops *l = w->l;

    switch (res->rc) {
    case 0:
        if (res->changed && w->after && !l->stopped)
            w->after(w, res->obj);
        break;
    case -ECANCELED: /* stopped */
    case -ENOENT:    /* gone meanwhile: the watch has told the next pass */
    case -EAGAIN:
        break;
    default:
        log_error("loops.write", LS("kind", kind_info(w->kind)->name), LS("namespace", w->ns),
                  LS("name", w->name), LS("error", err_msg(res->err)));
        if (l->stopped)
            break;
        l->look_at_all = true; /* what was decided has not been stored */
        loop_timer_del(l->wake_timer);
        l->wake_timer = loop_timer_add(l->loop, RETRY_AFTER_ERROR_US, on_wake, l);
        break;
    }
    write_free(w);
    loop_core_schedule(l);
}

static void
write_free(struct loop_write *w)
{
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    if (w->release)
        w->release(w);
    arena_free(w->arena);
    free(w);
}
