/* The API's frame: takes requests from the HTTP server, keeps account of those under way, and
 * ends. What requests mean is api_route.c's. See api_server.h. */
#include "control/api_server.h"

#include <string.h>

#include "control/api_call.h"
#include "control/api_metrics.h"
#include "control/console.h"

static void on_request(void *ctx, struct http_exchange *x);
static void on_gone(void *ctx);

struct api *
api_new(struct loop *loop, struct store *store, const struct api_config *config)
{
    struct api *a = xcalloc(1, sizeof(*a));

    a->loop = loop;
    a->store = store;
    if (config)
        a->config = *config;
    if (!a->config.watch_queue_bytes)
        a->config.watch_queue_bytes = WATCH_MAX_QUEUE_BYTES;
    if (!a->config.bookmark_ms)
        a->config.bookmark_ms = WATCH_BOOKMARK_S * 1000;
    if (!a->config.console_connect_ms)
        a->config.console_connect_ms = CONSOLE_CONNECT_S * 1000;
    if (!a->config.console_why_ms)
        a->config.console_why_ms = CONSOLE_WHY_S * 1000;
    if (!a->config.console_ping_ms)
        a->config.console_ping_ms = CONSOLE_PING_S * 1000;
    a->config.http.handler = on_request;
    a->config.http.ctx = a;
    a->config.http.error_body = api_status_plain;
    a->http = http_server_new(loop, &a->config.http);
    api_housekeeping_start(a);
    api_metrics_start(a);
    a->consoles = consoles_new(a);
    return a;
}

int
api_listen(struct api *a, const char *where, char *ret_url, size_t size, struct err *err)
{
    return http_server_listen(a->http, where, ret_url, size, err);
}

void
api_stop(struct api *a)
{
    if (a->stopped)
        return;
    a->stopped = true;
    api_housekeeping_stop(a);
    api_metrics_stop(a);
    http_server_free(TAKE_PTR(a->http));
    consoles_stop(a->consoles);
}

void
api_free(struct api *a)
{
    if (!a)
        return;
    api_stop(a);
    consoles_free(a->consoles);
    for (struct api_call *c = a->calls, *next; c; c = next) {
        next = c->next;
        c->pending = 0; /* the store will not call back any more */
        api_call_free(c);
    }
    free(a);
}

static void
on_request(void *ctx, struct http_exchange *x)
{
    struct api *a = ctx;
    struct api_call *c = xcalloc(1, sizeof(*c));

    *c = (struct api_call){
        .next = a->calls,
        .prev = &a->calls,
        .api = a,
        .x = x,
        .arena = arena_new(),
        .request = http_exchange_request(x),
        .version = "",
        .ns = "",
        .name = "",
        .sub = "",
        .include = API_OBJECT_METADATA,
    };
    c->warnings.arena = c->arena;
    if (c->next)
        c->next->prev = &c->next;
    a->calls = c;
    http_on_gone(x, on_gone, c);
    if (api_route(c) != 0)
        api_send_error(c);
}

static void
on_gone(void *ctx)
{
    struct api_call *c = ctx;

    c->x = NULL;
    c->request = NULL;
    if (c->pending == 0)
        api_call_free(c);
}

void
api_call_wait(struct api_call *c)
{
    c->pending++;
}

bool
api_call_back(struct api_call *c)
{
    c->pending--;
    if (c->x)
        return true;
    if (c->pending == 0)
        api_call_free(c);
    return false;
}

void
api_call_free(struct api_call *c)
{
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    tree_free(c->body);
    field_selector_free(c->fields);
    arena_free(c->arena);
    free(c);
}
