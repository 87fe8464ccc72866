/* Makes and counts Events; see control/loop_event.h. */
#include "control/loop_event.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define EVENTS_REMEMBERED  4096 /* for counting; beyond it all are forgotten and made anew */
#define EVENT_MESSAGE_SIZE 1024 /* upstream's limit */

struct recorded {
    char *ns, *name;
    int64_t count;
};

struct count_args {
    int64_t count;
};

static struct tree *event_tree(struct loops *l, const struct recorded *r, enum kind kind,
                               const struct meta *about, enum loop_event_type type,
                               const char *reason, const char *message);
static int count_up(struct loop_write *w, struct tree *obj);
static void recorded_free(void *p);

void
loop_event(struct loops *l, enum kind kind, const struct meta *about, enum loop_event_type type,
           const char *reason, const char *fmt, ...)
{
    const char *ns = about->namespace_ && *about->namespace_ ? about->namespace_ : "default";
    char message[EVENT_MESSAGE_SIZE];
    AUTO_FREE char *key = NULL;
    struct recorded *r;
    struct loop_write *w;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    key = xasprintf("%s/%s/%s", about->uid ? about->uid : about->name, reason, message);
    r = strmap_get(l->events, key);
    /* Events are deleted when they are old: one that is gone is made again. */
    if (r && store_get(l->store, KIND_EVENT, r->ns, r->name)) {
        w = loop_write_new(l, KIND_EVENT, &(struct meta){.namespace_ = r->ns, .name = r->name},
                           sizeof(struct count_args));
        ((struct count_args *)w->args)->count = ++r->count;
        loop_write_mutate(w, count_up, NULL);
        return;
    }
    if (strmap_len(l->events) >= EVENTS_REMEMBERED) {
        strmap_free(l->events, recorded_free);
        l->events = strmap_new();
    }
    r = xcalloc(1, sizeof(*r));
    r->count = 1;
    r->ns = xstrdup(ns);
    r->name = xasprintf("%.230s.%016" PRIx64, about->name,
                        (uint64_t)loop_wall_us(l->loop) * 1000 + l->events_made++ % 1000);
    void *old = strmap_put(l->events, key, r);
    if (old)
        recorded_free(old);
    w = loop_write_new(l, KIND_EVENT, &(struct meta){.namespace_ = r->ns, .name = r->name}, 0);
    loop_write_create(w, event_tree(l, r, kind, about, type, reason, message), NULL);
}

void
loop_event_done(struct loops *l)
{
    strmap_free(l->events, recorded_free);
}

static struct tree *
event_tree(struct loops *l, const struct recorded *r, enum kind kind, const struct meta *about,
           enum loop_event_type type, const char *reason, const char *message)
{
    const struct kind_info *ki = kind_info(kind);
    struct tree *e = tree_map(), *on;
    char now[32];

    time_format(loop_wall_us(l->loop), false, now, sizeof(now));
    tree_set(e, "apiVersion", tree_string("v1"));
    tree_set(e, "kind", tree_string("Event"));
    tree_set_path(e, tree_string(r->name), "metadata", "name", NULL);
    tree_set_path(e, tree_string(r->ns), "metadata", "namespace", NULL);
    on = tree_ensure_map(e, "involvedObject");
    tree_set(on, "apiVersion",
             *ki->group ? tree_stringf("%s/%s", ki->group, ki->version) : tree_string(ki->version));
    tree_set(on, "kind", tree_string(ki->name));
    if (ki->namespaced)
        tree_set(on, "namespace", tree_string(about->namespace_));
    tree_set(on, "name", tree_string(about->name));
    if (about->uid)
        tree_set(on, "uid", tree_string(about->uid));
    tree_set(e, "type", tree_string(type == EVENT_WARNING ? "Warning" : "Normal"));
    tree_set(e, "reason", tree_string(reason));
    tree_set(e, "message", tree_string(message));
    tree_set(e, "count", tree_int(1));
    tree_set(e, "firstTimestamp", tree_string(now));
    tree_set(e, "lastTimestamp", tree_string(now));
    tree_set_path(e, tree_string(l->component), "source", "component", NULL);
    return e;
}

static int
count_up(struct loop_write *w, struct tree *obj)
{
    const struct count_args *a = w->args;
    char now[32];

    time_format(loop_wall_us(w->l->loop), false, now, sizeof(now));
    tree_set(obj, "count", tree_int(a->count));
    tree_set(obj, "lastTimestamp", tree_string(now));
    return 1;
}

static void
recorded_free(void *p)
{
    struct recorded *r = p;

    free(r->ns);
    free(r->name);
    free(r);
}
