/* What the API server does by itself: makes the namespaces that exist from the start, empties
 * namespaces that are being deleted and lets them go, and deletes events that are old.
 * Level-triggered: it looks at what is there, so it carries on after a restart. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/log.h"
#include "control/api_call.h"

#define EVENT_SWEEP_US (60u * 1000000u)

static const char *const first_namespaces[] = {"default", "kube-system", DEFAULT_HCO_NAMESPACE};

static void make_namespaces(struct api *a);
static void on_event(void *ctx, const struct store_event *ev);
static bool look_at_namespace(void *ctx, const struct tree *ns);
static bool delete_object(void *ctx, const struct tree *obj);
static void empty_namespace(struct api *a, const char *name, bool gone);
static void on_event_timer(void *ctx);

void
api_housekeeping_start(struct api *a)
{
    make_namespaces(a);
    a->housekeeping = store_watch(a->store, KIND_NONE, on_event, a);
    store_list(a->store, KIND_NAMESPACE, NULL, look_at_namespace, a);
    on_event_timer(a);
}

void
api_housekeeping_stop(struct api *a)
{
    store_unwatch(TAKE_PTR(a->housekeeping));
    loop_timer_del(TAKE_PTR(a->event_timer));
}

bool
api_namespace_is_protected(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(first_namespaces); i++)
        if (strcmp(first_namespaces[i], name) == 0)
            return true;
    return false;
}

static void
on_namespace_made(void *ctx, const struct store_result *res)
{
    (void)ctx;
    if (res->rc && res->rc != -EEXIST)
        log_error("namespace.create", LS("error", err_msg(res->err)));
}

static void
make_namespaces(struct api *a)
{
    for (size_t i = 0; i < ARRAY_LEN(first_namespaces); i++) {
        struct tree *t;

        if (store_get(a->store, KIND_NAMESPACE, NULL, first_namespaces[i]))
            continue;
        t = tree_map();
        tree_set(t, "apiVersion", tree_string("v1"));
        tree_set(t, "kind", tree_string("Namespace"));
        tree_set_path(t, tree_string(first_namespaces[i]), "metadata", "name", NULL);
        api_prepare_namespace(t, true);
        store_create(a->store, t, on_namespace_made, NULL);
    }
}

/* --- namespaces that end --- */
static bool
is_ending(const struct tree *ns)
{
    return tree_find(ns, "metadata", "deletionTimestamp", NULL) != NULL;
}

static void
on_event(void *ctx, const struct store_event *ev)
{
    struct api *a = ctx;
    const char *name = object_namespace(ev->obj);
    const struct tree *ns;

    if (ev->kind == KIND_NAMESPACE) {
        if (ev->type == STORE_DELETED)
            empty_namespace(a, object_name(ev->obj), true);
        else
            look_at_namespace(a, ev->obj);
        return;
    }
    if (!kind_info(ev->kind)->namespaced || ev->type == STORE_MODIFIED)
        return;
    ns = store_get(a->store, KIND_NAMESPACE, NULL, name);
    if (ev->type == STORE_DELETED && ns && is_ending(ns))
        empty_namespace(a, name, false);
    else if (ev->type == STORE_ADDED && (!ns || is_ending(ns)))
        delete_object(a, ev->obj); /* it slipped in while the namespace was ending */
}

static bool
look_at_namespace(void *ctx, const struct tree *ns)
{
    struct api *a = ctx;

    if (is_ending(ns))
        empty_namespace(a, object_name(ns), false);
    return true;
}

static bool
delete_object(void *ctx, const struct tree *obj)
{
    struct api *a = ctx;

    if (!is_ending(obj)) /* the same field: already being deleted */
        store_delete(a->store, object_kind(obj)->kind, object_namespace(obj), object_name(obj),
                     object_uid(obj), 0, NULL, NULL);
    return true;
}

static int
let_go(void *ctx, struct tree *ns)
{
    (void)ctx;
    if (!is_ending(ns))
        return 0;
    tree_del(tree_get(ns, "metadata"), "finalizers");
    return 1;
}

static int
say_terminating(void *ctx, struct tree *ns)
{
    (void)ctx;
    if (!is_ending(ns))
        return 0;
    tree_set_path(ns, tree_string("Terminating"), "status", "phase", NULL);
    return 1;
}

struct sweep {
    struct api *api;
    size_t len; /* objects found */
};

static bool
sweep_one(void *ctx, const struct tree *obj)
{
    struct sweep *s = ctx;

    s->len++;
    return delete_object(s->api, obj);
}

/* Deletes what is in it; when nothing is, the namespace goes. gone: it has gone already. */
static void
empty_namespace(struct api *a, const char *name, bool gone)
{
    struct sweep s = {.api = a};

    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++)
        if (kind_info((enum kind)k)->namespaced && kind_info((enum kind)k)->stored)
            store_list(a->store, (enum kind)k, name, sweep_one, &s);
    if (!gone)
        store_mutate(a->store, KIND_NAMESPACE, NULL, name, 0, s.len ? say_terminating : let_go,
                     NULL, NULL);
}

/* --- events --- */
struct old_events {
    struct api *api;
    int64_t before_us;
};

static bool
delete_old_event(void *ctx, const struct tree *ev)
{
    const struct old_events *o = ctx;
    static const char *const fields[] = {"lastTimestamp", "eventTime"};
    int64_t at_us = 0, t;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (time_parse(tree_find_string(ev, "", fields[i], NULL), &t, NULL) == 0 && t > at_us)
            at_us = t;
    if (at_us == 0)
        time_parse(tree_find_string(ev, "", "metadata", "creationTimestamp", NULL), &at_us, NULL);
    if (at_us < o->before_us)
        delete_object(o->api, ev);
    return true;
}

static void
on_event_timer(void *ctx)
{
    struct api *a = ctx;
    struct old_events o = {a, loop_wall_us(a->loop) - (int64_t)EVENT_TTL_S * 1000000};

    store_list(a->store, KIND_EVENT, NULL, delete_old_event, &o);
    a->event_timer = loop_timer_add(a->loop, EVENT_SWEEP_US, on_event_timer, a);
}
