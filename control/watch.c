/* Watches over HTTP: a stream of JSON lines {"type","object"}, from the state as it is or from a
 * resourceVersion, through the request's selectors. A client that does not keep up is told so and
 * cut off; it lists again. See api_call.h. */
#include <errno.h>
#include <string.h>

#include "control/api_call.h"

struct watch {
    struct api_call *call;
    struct store_watch *source; /* NULL for pods: there are none */
    struct loop_timer *timeout, *bookmark;
    bool had_row; /* a Table's columns were sent */
    bool bookmarks;
    size_t burst_bytes; /* what the first events may have left in the queue beyond the limit */
};

static int parse_start(struct api_call *c, uint64_t *ret_rv, unsigned *ret_s);
static void start(struct watch *w, uint64_t rv);
static bool send_present(void *ctx, const struct store_object *o);
static void on_event(void *ctx, const struct store_event *ev);
static bool selected(struct watch *w, const struct tree *obj);
static void send_event(struct watch *w, const char *type, const struct tree *obj,
                       const struct store_object *stored);
static void send_error(struct watch *w, const struct api_error *e);
static void on_timeout(void *ctx);
static void end(struct watch *w);
static void on_bookmark(void *ctx);
static void on_gone(void *ctx);
static void watch_free(struct watch *w);

int
api_watch(struct api_call *c)
{
    const char *bookmarks = http_param(c->request, "allowWatchBookmarks");
    uint64_t rv;
    unsigned seconds;
    struct watch *w;

    if (parse_start(c, &rv, &seconds) != 0 || api_parse_selectors(c) != 0 ||
        api_parse_include(c) != 0)
        return -1;
    w = xcalloc(1, sizeof(*w));
    w->call = c;
    w->bookmarks = bookmarks && (strcmp(bookmarks, "true") == 0 || strcmp(bookmarks, "1") == 0);
    w->timeout = loop_timer_add(c->api->loop, (uint64_t)seconds * 1000000, on_timeout, w);
    http_on_gone(c->x, on_gone, w);
    http_stream_begin(c->x, 200, "application/json");
    start(w, rv);
    return 0;
}

static int
parse_start(struct api_call *c, uint64_t *ret_rv, unsigned *ret_s)
{
    const char *rv = http_param(c->request, "resourceVersion");
    const char *seconds = http_param(c->request, "timeoutSeconds");
    const char *initial = http_param(c->request, "sendInitialEvents");

    *ret_s = WATCH_MAX_S;
    *ret_rv = 0;
    if (rv && *rv) {
        if (strspn(rv, "0123456789") != strlen(rv) || strlen(rv) > 19)
            return api_err_bad(c, "resourceVersion: Invalid value: \"%s\": want a number", rv);
        *ret_rv = strtoull(rv, NULL, 10);
    }
    if (seconds && *seconds) {
        if (strspn(seconds, "0123456789") != strlen(seconds) || strlen(seconds) > 9)
            return api_err_bad(c, "timeoutSeconds: Invalid value: \"%s\": want a number", seconds);

        unsigned s = (unsigned)strtoul(seconds, NULL, 10);

        if (s > 0 && s < *ret_s)
            *ret_s = s;
    }
    if (initial && strcmp(initial, "false") != 0)
        return api_err(c, 422, "Invalid",
                       "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: "
                       "sendInitialEvents is forbidden for watch unless the WatchList feature gate "
                       "is enabled");
    return 0;
}

static void
start(struct watch *w, uint64_t rv)
{
    struct api_call *c = w->call;
    struct store *st = c->api->store;
    int rc = 0;

    w->burst_bytes = SIZE_MAX; /* what is there already is sent whole, however slow the client */
    if (c->kind->stored && rv == 0)
        store_each(st, c->kind->kind, c->ns, send_present, w);
    else if (c->kind->stored)
        rc = store_history(st, c->kind->kind, rv, on_event, w);
    if (rc) {
        send_error(w, &(struct api_error){
                          .code = 410,
                          .reason = "Expired",
                          .message = arena_printf(c->arena, "too old resource version: %llu (%llu)",
                                                  (unsigned long long)rv,
                                                  (unsigned long long)store_rv(st)),
                      });
        return;
    }
    w->burst_bytes = http_stream_queued(c->x);
    if (c->kind->stored)
        w->source = store_watch(st, c->kind->kind, on_event, w);
    if (w->bookmarks && c->format != API_TABLE)
        w->bookmark =
            loop_timer_add(c->api->loop, c->api->config.bookmark_ms * 1000ull, on_bookmark, w);
}

static bool
send_present(void *ctx, const struct store_object *o)
{
    struct watch *w = ctx;

    if (selected(w, store_object_tree(o)))
        send_event(w, "ADDED", store_object_tree(o), o);
    return true;
}

/* An object that comes to match counts as added, one that ceases to as deleted, as it last was. */
static void
on_event(void *ctx, const struct store_event *ev)
{
    struct watch *w = ctx;
    bool is = ev->type != STORE_DELETED && selected(w, ev->obj);
    bool was = ev->old_obj && selected(w, ev->old_obj);

    if (is) {
        send_event(w, was ? "MODIFIED" : "ADDED", ev->obj, ev->object);
    } else if (was && ev->type == STORE_DELETED) {
        send_event(w, "DELETED", ev->obj, ev->object);
    } else if (was) {
        AUTO_TREE struct tree *last = tree_copy(ev->old_obj);

        tree_set_path(last, tree_stringf("%llu", (unsigned long long)ev->rv), "metadata",
                      "resourceVersion", NULL);
        send_event(w, "DELETED", last, NULL);
    }
}

static bool
selected(struct watch *w, const struct tree *obj)
{
    struct api_call *c = w->call;

    return (!*c->ns || strcmp(object_namespace(obj), c->ns) == 0) &&
           (!*c->name || strcmp(object_name(obj), c->name) == 0) && api_selected(c, obj);
}

/* stored: the same as obj, with its JSON, or NULL. May end the watch and free it. */
static void
send_event(struct watch *w, const char *type, const struct tree *obj,
           const struct store_object *stored)
{
    struct api_call *c = w->call;
    AUTO_SB struct sb line = SB_INIT;
    size_t queued = http_stream_queued(c->x), limit = c->api->config.watch_queue_bytes;

    if (queued <= limit && w->burst_bytes != SIZE_MAX)
        w->burst_bytes = 0;
    if (w->burst_bytes != SIZE_MAX && queued > limit + w->burst_bytes) {
        send_error(
            w, &(struct api_error){
                   .code = 410,
                   .reason = "Expired",
                   .message = arena_printf(
                       c->arena, "the client is too slow: %zu bytes of events wait for it", queued),
               });
        return;
    }
    sb_printf(&line, "{\"type\":\"%s\",\"object\":", type);
    if (c->format == API_TABLE) {
        api_table_row(c, obj, !w->had_row, &line);
        w->had_row = true;
    } else if (stored) {
        api_add_object(c, stored, &line);
    } else {
        api_add_tree(c, obj, &line);
    }
    sb_puts(&line, "}\n");
    http_stream_write(c->x, line.buf, line.len);
}

/* The last event; ends the watch. */
static void
send_error(struct watch *w, const struct api_error *e)
{
    AUTO_SB struct sb line = SB_INIT;

    sb_puts(&line, "{\"type\":\"ERROR\",\"object\":");
    api_status_json(e, &line);
    line.len--; /* its newline */
    sb_puts(&line, "}\n");
    http_stream_write(w->call->x, line.buf, line.len);
    end(w);
}

static void
on_bookmark(void *ctx)
{
    struct watch *w = ctx;
    struct api_call *c = w->call;
    AUTO_SB struct sb line = SB_INIT;

    w->bookmark =
        loop_timer_add(c->api->loop, c->api->config.bookmark_ms * 1000ull, on_bookmark, w);
    sb_printf(&line,
              "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\","
              "\"metadata\":{\"resourceVersion\":\"%llu\",\"creationTimestamp\":null}}}\n",
              c->kind->name, c->kind->group, *c->kind->group ? "/" : "", c->version,
              (unsigned long long)store_rv(c->api->store));
    http_stream_write(c->x, line.buf, line.len);
}

static void
on_timeout(void *ctx)
{
    struct watch *w = ctx;

    w->timeout = NULL;
    end(w);
}

static void
end(struct watch *w)
{
    struct http_exchange *x = w->call->x;

    watch_free(w);
    http_stream_end(x);
}

static void
on_gone(void *ctx)
{
    watch_free(ctx);
}

static void
watch_free(struct watch *w)
{
    store_unwatch(w->source);
    loop_timer_del(w->timeout);
    loop_timer_del(w->bookmark);
    api_call_free(w->call);
    free(w);
}
