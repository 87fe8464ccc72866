/* List and watch in a thread, posted to the loop; see informer.h. */
#include "handler/informer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "api/object.h"
#include "base/log.h"
#include "base/strmap.h"
#include "handler/limits.h"
#include "proto/rest.h"

struct informer {
    struct loop *l;
    char *path;
    struct informer_events ev;
    struct rest *rest; /* the thread's */
    pthread_t thread;
    atomic_bool stop;
    /* loop thread */
    struct strmap *objects; /* "ns/name" -> struct tree */
    bool synced;
};

struct delivery { /* thread -> loop */
    struct informer *i;
    struct tree *list; /* a whole list, or */
    struct tree *obj;  /* one object */
    bool gone;
};

static void *run(void *ctx);
static int list_and_watch(struct informer *i, struct err *err);
static int on_line(void *ctx, const char *line, size_t len);
static void deliver(void *ctx);
static void deliver_one(struct informer *i, struct tree *obj, bool gone);
static void deliver_list(struct informer *i, struct tree *list);

static void
free_tree(void *t)
{
    tree_free(t);
}

struct informer *
informer_new(struct loop *l, const char *url, const char *path, const struct informer_events *ev,
             struct err *err)
{
    struct rest *rest = rest_new(url, err);

    if (!rest)
        return NULL;

    struct informer *i = xcalloc(1, sizeof *i);

    i->l = l;
    i->path = xstrdup(path);
    i->ev = *ev;
    i->rest = rest;
    i->objects = strmap_new();
    if (pthread_create(&i->thread, NULL, run, i) != 0)
        abort();
    return i;
}

void
informer_free(struct informer *i)
{
    if (!i)
        return;
    atomic_store(&i->stop, true);
    pthread_join(i->thread, NULL);
    rest_free(i->rest);
    strmap_free(i->objects, free_tree);
    free(i->path);
    free(i);
}

bool
informer_synced(const struct informer *i)
{
    return i->synced;
}

const struct tree *
informer_get(const struct informer *i, const char *ns, const char *name)
{
    AUTO_FREE char *key = xasprintf("%s/%s", ns, name);

    return strmap_get(i->objects, key);
}

const struct tree *
informer_get_uid(const struct informer *i, const char *uid)
{
    size_t it = 0;
    void *v;

    while (strmap_next(i->objects, &it, NULL, &v))
        if (strcmp(object_uid(v), uid) == 0)
            return v;
    return NULL;
}

const struct tree *
informer_first(const struct informer *i)
{
    const struct tree *best = NULL, *obj;
    size_t it = 0;

    while ((obj = informer_next(i, &it)) != NULL)
        if (!best || strcmp(object_name(obj), object_name(best)) < 0)
            best = obj;
    return best;
}

const struct tree *
informer_next(const struct informer *i, size_t *it)
{
    void *v;

    return strmap_next(i->objects, it, NULL, &v) ? v : NULL;
}

static void *
run(void *ctx)
{
    struct informer *i = ctx;

    while (!atomic_load(&i->stop)) {
        struct err err = {0};

        if (list_and_watch(i, &err) != 0)
            log_debug("informer.retry", LS("path", i->path), LS("error", err_msg(&err)));
        if (atomic_load(&i->stop))
            break;

        struct timespec t = {0, HANDLER_RETRY_US * 1000L};

        nanosleep(&t, NULL);
    }
    return NULL;
}

/* Returns when the watch has ended, with or without an error: the caller begins again with a list.
 */
static int
list_and_watch(struct informer *i, struct err *err)
{
    struct rest_reply rp = {0};
    struct tree *list = NULL;
    AUTO_FREE char *path = NULL;
    int rc = rest_call(i->rest, "GET", i->path, NULL, NULL, NULL, 0, &rp, err), status = 0;

    if (rc != 0)
        return rc;
    if (rp.status != 200)
        rc = rest_reply_err(&rp, err);
    else if (rp.len > HANDLER_MAX_WATCH_BYTES)
        rc = err_set(err, -EFBIG, "%s: a list of %zu bytes is too large", i->path, rp.len);
    else
        rc = tree_from_json(rp.body, rp.len, &list, err);
    rest_reply_done(&rp);
    if (rc != 0)
        return rc;
    path = xasprintf("%s%cwatch=1&resourceVersion=%s", i->path, strchr(i->path, '?') ? '&' : '?',
                     tree_find_string(list, "0", "metadata", "resourceVersion", NULL));

    struct delivery *d = xcalloc(1, sizeof *d);

    d->i = i;
    d->list = list;
    loop_post(i->l, deliver, d);
    rc = rest_watch(i->rest, path, on_line, i, &i->stop, &status, err);
    return rc;
}

static int
on_line(void *ctx, const char *line, size_t len)
{
    struct informer *i = ctx;
    AUTO_TREE struct tree *ev = NULL;
    struct err err = {0};
    const char *type;

    if (tree_from_json(line, len, &ev, &err) != 0) {
        log_warn("informer.line", LS("path", i->path), LS("error", err_msg(&err)));
        return -EPROTO;
    }
    type = tree_get_string(tree_get(ev, "type"), "");
    if (strcmp(type, "ERROR") == 0)
        return -ESTALE; /* 410 Gone and the like: list again */
    if (strcmp(type, "BOOKMARK") == 0)
        return 0;

    struct delivery *d = xcalloc(1, sizeof *d);

    d->i = i;
    d->obj = tree_copy(tree_get(ev, "object"));
    d->gone = strcmp(type, "DELETED") == 0;
    if (!d->obj) {
        free(d);
        return -EPROTO;
    }
    loop_post(i->l, deliver, d);
    return 0;
}

static void
deliver(void *ctx)
{
    struct delivery *d = ctx;

    if (d->list)
        deliver_list(d->i, d->list);
    else
        deliver_one(d->i, d->obj, d->gone);
    free(d);
}

/* Takes obj. */
static void
deliver_one(struct informer *i, struct tree *obj, bool gone)
{
    AUTO_FREE char *key = xasprintf("%s/%s", object_namespace(obj), object_name(obj));

    if (gone) {
        tree_free(strmap_del(i->objects, key));
        i->ev.object(i->ev.ctx, obj, true);
        tree_free(obj);
        return;
    }
    tree_free(strmap_put(i->objects, key, obj));
    i->ev.object(i->ev.ctx, obj, false);
}

/* Takes list. Objects that were known and are not in it are gone. */
static void
deliver_list(struct informer *i, struct tree *list)
{
    struct strmap *old = i->objects;
    const struct tree *items = tree_get(list, "items");
    size_t it = 0;
    void *v;

    i->objects = strmap_new();
    for (size_t n = 0; n < tree_len(items); n++) {
        struct tree *obj = tree_copy(tree_at(items, n));
        AUTO_FREE char *key = xasprintf("%s/%s", object_namespace(obj), object_name(obj));

        tree_free(strmap_put(i->objects, key, obj));
        tree_free(strmap_del(old, key));
    }
    while (strmap_next(old, &it, NULL, &v))
        i->ev.object(i->ev.ctx, v, true);
    it = 0;
    while (strmap_next(i->objects, &it, NULL, &v))
        i->ev.object(i->ev.ctx, v, false);
    strmap_free(old, free_tree);
    tree_free(list);
    i->synced = true;
    if (i->ev.synced)
        i->ev.synced(i->ev.ctx);
}
