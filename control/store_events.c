/* Watches and the recent past: each committed change is called out to the watchers on the loop, and
 * kept in a ring, bounded in number and bytes, for clients that were away for a moment. See store.h
 * and store_object.h. */
#include <errno.h>

#include "control/store_impl.h"

struct store_watch {
    struct store_watch *next;
    struct store *st;
    enum kind kind;
    store_watch_fn fn; /* NULL: unwatched, freed when no dispatch is under way */
    void *ctx;
    uint64_t since_rv; /* made while this event was called out: starts with the next */
};

static void remember(struct store *st, const struct store_op *op);
static void forget_oldest(struct store *st);
static void reap(struct store *st);

struct store_watch *
store_watch(struct store *st, enum kind kind, store_watch_fn fn, void *ctx)
{
    struct store_watch *w = xcalloc(1, sizeof(*w)), **tail = &st->watches;

    *w = (struct store_watch){NULL, st, kind, fn, ctx, st->rv};
    while (*tail)
        tail = &(*tail)->next;
    *tail = w;
    return w;
}

void
store_unwatch(struct store_watch *w)
{
    if (!w)
        return;
    w->fn = NULL;
    if (!w->st->dispatching)
        reap(w->st);
}

void
store_events_publish(struct store *st, const struct store_op *op)
{
    struct store_event ev = {
        .type = op->event,
        .kind = op->kind,
        .rv = op->obj->rv,
        .old_obj = op->old_obj ? op->old_obj->tree : NULL,
        .obj = op->obj->tree,
        .object = op->obj,
    };

    remember(st, op);
    st->dispatching++;
    for (struct store_watch *w = st->watches; w; w = w->next)
        if (w->fn && w->since_rv < ev.rv && (w->kind == KIND_NONE || w->kind == ev.kind))
            w->fn(w->ctx, &ev);
    if (--st->dispatching == 0)
        reap(st);
}

int
store_history(struct store *st, enum kind kind, uint64_t after_rv, store_watch_fn fn, void *ctx)
{
    if (after_rv < st->past_floor || after_rv > st->rv)
        return -ESTALE;
    for (size_t i = 0; i < st->past_len; i++) {
        const struct store_past *p = &st->past[(st->past_first + i) % STORE_HISTORY_EVENTS];

        if (p->rv <= after_rv || (kind != KIND_NONE && p->obj->kind != kind))
            continue;
        fn(ctx, &(struct store_event){.type = p->type,
                                      .kind = p->obj->kind,
                                      .rv = p->rv,
                                      .old_obj = p->old_obj ? p->old_obj->tree : NULL,
                                      .obj = p->obj->tree,
                                      .object = p->obj});
    }
    return 0;
}

void
store_events_done(struct store *st)
{
    while (st->past_len > 0)
        forget_oldest(st);
    free(st->past);
    for (struct store_watch *w = st->watches; w; w = w->next)
        w->fn = NULL;
    reap(st);
}

static void
remember(struct store *st, const struct store_op *op)
{
    while (st->past_len > 0 && (st->past_len == STORE_HISTORY_EVENTS ||
                                st->past_bytes + op->obj->json_len > STORE_HISTORY_BYTES))
        forget_oldest(st);
    if (!st->past)
        st->past = xcalloc(STORE_HISTORY_EVENTS, sizeof(*st->past));
    st->past[(st->past_first + st->past_len++) % STORE_HISTORY_EVENTS] = (struct store_past){
        .type = op->event,
        .rv = op->obj->rv,
        .old_obj = op->old_obj ? store_object_ref(op->old_obj) : NULL,
        .obj = store_object_ref(op->obj),
    };
    st->past_bytes += op->obj->json_len;
}

static void
forget_oldest(struct store *st)
{
    struct store_past *p = &st->past[st->past_first];

    st->past_floor = p->rv;
    st->past_bytes -= p->obj->json_len;
    store_object_unref(p->old_obj);
    store_object_unref(p->obj);
    st->past_first = (st->past_first + 1) % STORE_HISTORY_EVENTS;
    st->past_len--;
}

static void
reap(struct store *st)
{
    for (struct store_watch **p = &st->watches; *p;) {
        struct store_watch *w = *p;

        if (w->fn) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        free(w);
    }
}
