/* See console.h. A session: ASKED (the annotation is there; the user's request waits) -> OPEN ->
 * (WHY: the handler's end has gone, and the instance will say why) -> ENDED. Bytes are passed on
 * while less than CONSOLE_QUEUE_BYTES of them wait for the other side; else they stay with the
 * sender's kernel. */
#include "control/console.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/names.h"
#include "base/log.h"
#include "base/rng.h"
#include "control/api_call.h"
#include "proto/upgrade.h"
#include "proto/websocket.h"

#define ID_SIZE 33

enum console_state { CONSOLE_ASKED, CONSOLE_OPEN, CONSOLE_WHY, CONSOLE_ENDED };

struct console {
    struct console *next, **prev;
    struct consoles *all;
    char id[ID_SIZE];
    char *ns, *name, *node;
    enum console_state state;
    struct api_call *waiting; /* ASKED: the user's request; NULL: the user has gone */
    struct http_exchange *user, *handler;
    struct ws_reader ws;
    uint64_t heard_us; /* when the user's end last said anything */
    struct loop_timer *timer;
    unsigned pending; /* store operations that will call back */
};

struct consoles {
    struct api *api;
    struct store_watch *watch;
    struct console *list; /* the ended ones until the store has called back */
    size_t open;
};

static int check_upgrade(struct api_call *c);
static int check_vmi(struct api_call *c, const struct tree *vmi);
static struct console *find(struct consoles *all, const char *ns, const char *name, const char *id);
static void ask(struct console *s);
static void on_timer(void *ctx);
static void end(struct console *s, unsigned status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void refuse(struct console *s, int code, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static void forget(struct console *s);
static bool look(struct console *s);
static void on_vmi(void *ctx, const struct store_event *ev);
static bool drop_stale(void *ctx, const struct tree *vmi);
static int remove_annotation(void *ctx, struct tree *vmi);
static void on_removed(void *ctx, const struct store_result *res);
static void on_waiting_gone(void *ctx);
static void on_user_gone(void *ctx);
static void on_handler_gone(void *ctx);
static size_t on_user_data(void *ctx, uint8_t *data, size_t len);
static void on_user_drained(void *ctx);
static size_t on_handler_data(void *ctx, uint8_t *data, size_t len);
static void on_handler_drained(void *ctx);

static const struct http_tunnel_ops user_ops = {on_user_data, on_user_drained};
static const struct http_tunnel_ops handler_ops = {on_handler_data, on_handler_drained};

struct consoles *
consoles_new(struct api *a)
{
    struct consoles *all = xcalloc(1, sizeof(*all));

    all->api = a;
    all->watch = store_watch(a->store, KIND_VMI, on_vmi, all);
    store_list(a->store, KIND_VMI, NULL, drop_stale, all);
    return all;
}

void
consoles_stop(struct consoles *all)
{
    store_unwatch(TAKE_PTR(all->watch));
}

void
consoles_free(struct consoles *all)
{
    if (!all)
        return;
    for (struct console *s = all->list, *next; s; s = next) {
        next = s->next;
        loop_timer_del(TAKE_PTR(s->timer));
        s->pending = 0; /* the store will not call back any more */
        s->state = CONSOLE_ENDED;
        forget(s);
    }
    free(all);
}

/* --- opening --- */

int
consoles_open(struct api_call *c)
{
    struct consoles *all = c->api->consoles;
    const char *take_over = http_param(c->request, "takeOver");
    const struct tree *vmi = store_get(c->api->store, KIND_VMI, c->ns, c->name);
    struct console *s = find(all, c->ns, c->name, NULL);
    uint8_t random[(ID_SIZE - 1) / 2];
    int rc;

    if (!vmi)
        return api_err_not_found(c, c->kind, c->name);
    if (check_upgrade(c) != 0 || check_vmi(c, vmi) != 0)
        return -1;
    if (s && s->state != CONSOLE_WHY && !(take_over && strcmp(take_over, "true") == 0))
        return api_err_conflict(c, c->name,
                                "its console is in use; takeOver=true disconnects its user");
    if (s)
        end(s, WS_GOING_AWAY, "another user has taken the console over");
    if (all->open >= CONSOLE_MAX)
        return api_err(c, 429, "TooManyRequests", "%zu consoles are open: close one first",
                       all->open);
    rc = rng_secret(random, sizeof(random));
    if (rc < 0)
        return api_err(c, 500, "InternalError", "no random bytes: %s", strerror(-rc));
    s = xcalloc(1, sizeof(*s));
    s->all = all;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(s->id + 2 * i, 3, "%02x", random[i]);
    s->ns = xstrdup(c->ns);
    s->name = xstrdup(c->name);
    s->node = xstrdup(tree_find_string(vmi, "", "status", "nodeName", NULL));
    s->waiting = c;
    s->next = all->list;
    s->prev = &all->list;
    if (s->next)
        s->next->prev = &s->next;
    all->list = s;
    all->open++;
    http_on_gone(c->x, on_waiting_gone, s);
    ask(s);
    return 0;
}

static int
check_upgrade(struct api_call *c)
{
    const struct http_request *r = c->request;
    const char *key = http_header(r, "sec-websocket-key");
    const char *version = http_header(r, "sec-websocket-version");
    const char *origin = http_header(r, "origin"), *host = http_header(r, "host");
    const char *site = origin ? strstr(origin, "://") : NULL;

    if (!http_header_lists(r, "connection", "upgrade") ||
        !http_header_lists(r, "upgrade", "websocket"))
        return api_err_bad(c, "a console is a WebSocket: want Connection: Upgrade and Upgrade: "
                              "websocket");
    if (!version || strcmp(version, WS_VERSION) != 0) {
        http_add_header(c->x, "Sec-WebSocket-Version", WS_VERSION);
        return api_err(c, 426, "BadRequest", "Sec-WebSocket-Version: want " WS_VERSION);
    }
    if (!key || !ws_key_valid(key))
        return api_err_bad(c, "Sec-WebSocket-Key: want 16 bytes in base64");
    /* A page of another site, in the browser of somebody who may reach this server. */
    if (origin && (!site || !host || strcasecmp(site + 3, host) != 0))
        return api_err(c, 403, "Forbidden", "Origin: a console is not open to pages of %s", origin);
    return 0;
}

static int
check_vmi(struct api_call *c, const struct tree *vmi)
{
    /* 400 as upstream: virtctl asks again until its --timeout */
    if (strcmp(tree_find_string(vmi, "", "status", "phase", NULL), "Running") != 0)
        return api_err_bad(c, "VMI is not running");
    if (!tree_get_bool(tree_find(vmi, "spec", "domain", "devices", "autoattachSerialConsole", NULL),
                       true))
        return api_err_conflict(c, c->name,
                                "it has no serial console (autoattachSerialConsole is false)");
    return 0;
}

/* id NULL: the one of that VM. */
static struct console *
find(struct consoles *all, const char *ns, const char *name, const char *id)
{
    for (struct console *s = all->list; s; s = s->next)
        if (s->state != CONSOLE_ENDED && (!id || strcmp(s->id, id) == 0) &&
            strcmp(s->name, name) == 0 && strcmp(s->ns, ns) == 0)
            return s;
    return NULL;
}

/* As store_mutate_fn. */
static int
add_annotation(void *ctx, struct tree *vmi)
{
    struct console *s = ctx;

    if (s->state != CONSOLE_ASKED)
        return 0;
    tree_set_path(vmi, tree_string(s->id), "metadata", "annotations", ANN_CONSOLE_REQUEST, NULL);
    return 1;
}

static void
on_asked(void *ctx, const struct store_result *res)
{
    struct console *s = ctx;

    s->pending--;
    if (res->rc != 0 && s->state == CONSOLE_ASKED)
        refuse(s, 500, "InternalError", "%s", err_msg(res->err));
    else
        forget(s);
}

static void
wait_for(struct console *s, unsigned ms)
{
    loop_timer_del(s->timer);
    s->timer = loop_timer_add(s->all->api->loop, (uint64_t)ms * 1000, on_timer, s);
}

static void
ask(struct console *s)
{
    struct api *a = s->all->api;

    s->pending++;
    store_mutate(a->store, KIND_VMI, s->ns, s->name, 0, add_annotation, on_asked, s);
    wait_for(s, a->config.console_connect_ms);
}

static int
refused_by_handler(struct api_call *c, struct console *s)
{
    const char *message;
    int64_t code;
    struct sb out = SB_INIT;

    if (api_read_body(c, false) != 0)
        return -1;
    message = tree_find_string(c->body, "", "message", NULL);
    code = tree_get_int(tree_get(c->body, "code"), 0);
    if (!*message || strlen(message) > CONSOLE_MESSAGE_MAX ||
        (code != 409 && code != 500 && code != 501))
        return api_err_bad(c, "want {\"code\": 409, 500 or 501, \"message\": TEXT}");
    refuse(s, (int)code,
           code == 409   ? "Conflict"
           : code == 501 ? "NotImplemented"
                         : "InternalError",
           "%s", message);
    sb_puts(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                  "\"Success\",\"code\":200}\n");
    api_send_json(c, 200, &out);
    return 0;
}

/* What the user sees is a WebSocket from now on. */
static void
upgrade_user(struct console *s)
{
    struct api_call *c = s->waiting;
    char accept[WS_ACCEPT_SIZE];

    s->waiting = NULL;
    s->user = c->x;
    ws_accept(http_header(c->request, "sec-websocket-key"), accept);
    http_add_header(s->user, "Sec-WebSocket-Accept", accept);
    if (http_header_lists(c->request, "sec-websocket-protocol", WS_PROTOCOL_PLAIN))
        http_add_header(s->user, "Sec-WebSocket-Protocol", WS_PROTOCOL_PLAIN);
    c->x = NULL; /* the exchange is the session's */
    api_call_free(c);
    ws_reader_init(&s->ws, true);
    s->heard_us = loop_now_us(s->all->api->loop);
    http_on_gone(s->user, on_user_gone, s);
    http_tunnel_begin(s->user, "websocket", &user_ops, s);
}

int
consoles_backend(struct api_call *c)
{
    const char *id = http_param(c->request, "session");
    struct console *s = find(c->api->consoles, c->ns, c->name, id ? id : "");

    if (c->request->method != HTTP_GET && c->request->method != HTTP_PUT)
        return api_err_method(c);
    if (!s)
        return api_err(c, 404, "NotFound", "no such console session: it has ended");
    if (s->state != CONSOLE_ASKED)
        return api_err_conflict(c, c->name, "this console session is connected already");
    if (c->request->method == HTTP_PUT)
        return refused_by_handler(c, s);
    if (!http_header_lists(c->request, "connection", "upgrade") ||
        !http_header_lists(c->request, "upgrade", UPGRADE_CONSOLE))
        return api_err_bad(c, "want Connection: Upgrade and Upgrade: " UPGRADE_CONSOLE);
    s->handler = c->x;
    c->x = NULL; /* the exchange is the session's */
    http_on_gone(s->handler, on_handler_gone, s);
    s->state = CONSOLE_OPEN;
    wait_for(s, c->api->config.console_ping_ms);
    api_call_free(c);
    log_info("console.opened", LS("namespace", s->ns), LS("vmi", s->name), LS("node", s->node));
    http_tunnel_begin(s->handler, UPGRADE_CONSOLE, &handler_ops, s);
    upgrade_user(s);
    return 0;
}

/* --- passing bytes on --- */

static void
send_frame(struct console *s, enum ws_opcode opcode, const void *data, size_t len)
{
    uint8_t head[WS_HEAD_MAX];

    http_tunnel_write(s->user, head, ws_head(head, opcode, len, NULL));
    http_tunnel_write(s->user, data, len);
}

static size_t
on_user_data(void *ctx, uint8_t *data, size_t len)
{
    struct console *s = ctx;
    size_t at = 0;

    s->heard_us = loop_now_us(s->all->api->loop);
    while (at < len && (!s->handler || http_stream_queued(s->handler) < CONSOLE_QUEUE_BYTES)) {
        struct ws_event ev;
        struct err err = {0};
        unsigned status;
        size_t used;

        if (ws_read(&s->ws, data + at, len - at, &used, &ev, &status, &err) != 0) {
            end(s, status, "%s", err_msg(&err));
            return len;
        }
        at += used;
        if (ev.kind == WS_EVENT_CLOSE) {
            end(s, ev.status == WS_NO_STATUS ? WS_NORMAL : ev.status, "%s", "");
            return len;
        }
        if (ev.kind == WS_EVENT_DATA && s->handler)
            http_tunnel_write(s->handler, ev.data, ev.len);
        /* one that takes no answers gets none */
        if (ev.kind == WS_EVENT_PING && http_stream_queued(s->user) < CONSOLE_QUEUE_BYTES)
            send_frame(s, WS_PONG, ev.data, ev.len);
    }
    return at;
}

static void
on_user_drained(void *ctx)
{
    struct console *s = ctx;

    if (s->handler)
        http_tunnel_resume(s->handler);
}

static size_t
on_handler_data(void *ctx, uint8_t *data, size_t len)
{
    struct console *s = ctx;
    size_t at = 0;

    while (at < len && http_stream_queued(s->user) < CONSOLE_QUEUE_BYTES) {
        size_t n = len - at < CONSOLE_FRAME_BYTES ? len - at : CONSOLE_FRAME_BYTES;

        send_frame(s, WS_BINARY, data + at, n);
        at += n;
    }
    return at;
}

static void
on_handler_drained(void *ctx)
{
    struct console *s = ctx;

    if (s->user)
        http_tunnel_resume(s->user);
}

/* --- ending --- */

static void
on_waiting_gone(void *ctx)
{
    struct console *s = ctx;
    struct api_call *c = s->waiting;

    s->waiting = NULL;
    c->x = NULL;
    c->request = NULL;
    api_call_free(c);
    end(s, WS_GOING_AWAY, "the user has gone");
}

static void
on_user_gone(void *ctx)
{
    struct console *s = ctx;

    s->user = NULL;
    end(s, WS_GOING_AWAY, "the user has gone");
}

/* The guest has ended, most likely, or moved: the instance says which, sooner or later. */
static void
on_handler_gone(void *ctx)
{
    struct console *s = ctx;

    s->handler = NULL;
    s->state = CONSOLE_WHY;
    if (look(s))
        return;
    wait_for(s, s->all->api->config.console_why_ms);
}

static void
on_timer(void *ctx)
{
    struct console *s = ctx;
    struct api *a = s->all->api;
    const struct tree *vmi = store_get(a->store, KIND_VMI, s->ns, s->name);
    const struct tree *ms = tree_find(vmi, "status", "migrationState", NULL);
    bool migrating = ms && !tree_get_bool(tree_get(ms, "completed"), false) &&
                     !tree_get_bool(tree_get(ms, "failed"), false);

    s->timer = NULL;
    if (s->state == CONSOLE_ASKED) {
        refuse(s, 504, "Timeout", "the handler of node %s did not answer within %u ms", s->node,
               a->config.console_connect_ms);
        return;
    }
    if (s->state == CONSOLE_WHY && !migrating) {
        end(s, WS_GOING_AWAY, "node %s has closed the console", s->node);
        return;
    }
    if (loop_now_us(a->loop) - s->heard_us >
        (uint64_t)a->config.console_ping_ms * CONSOLE_PINGS * 1000) {
        end(s, WS_GOING_AWAY, "no answer to %u pings", CONSOLE_PINGS);
        return;
    }
    if (http_stream_queued(s->user) < CONSOLE_QUEUE_BYTES)
        send_frame(s, WS_PING, NULL, 0);
    wait_for(s, s->state == CONSOLE_WHY ? a->config.console_why_ms : a->config.console_ping_ms);
}

/* Ends the session when the instance does not run any more, or not there; true: it has. */
static bool
look(struct console *s)
{
    const struct tree *vmi = store_get(s->all->api->store, KIND_VMI, s->ns, s->name);
    const char *phase = tree_find_string(vmi, "", "status", "phase", NULL);
    const char *node = tree_find_string(vmi, "", "status", "nodeName", NULL);

    if (!vmi || strcmp(phase, "Running") != 0) {
        if (s->state == CONSOLE_ASKED)
            refuse(s, 400, "BadRequest", "VMI is not running");
        else
            end(s, WS_GOING_AWAY, "the VM has stopped%s%s", *phase ? ": its phase is " : "", phase);
        return true;
    }
    if (strcmp(node, s->node) == 0)
        return false;
    if (s->state == CONSOLE_ASKED)
        refuse(s, 400, "BadRequest", "the VM has moved to node %s meanwhile", node);
    else
        end(s, WS_SERVICE_RESTART, "the VM has moved to node %s", node);
    return true;
}

static void
on_vmi(void *ctx, const struct store_event *ev)
{
    struct consoles *all = ctx;
    struct console *s = find(all, object_namespace(ev->obj), object_name(ev->obj), NULL);

    if (s)
        look(s);
}

/* Answers the user's request, which still waits. */
static void
refuse(struct console *s, int code, const char *reason, const char *fmt, ...)
{
    struct api_call *c = s->waiting;
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    s->waiting = NULL;
    if (c) {
        http_on_gone(c->x, NULL, NULL);
        api_err(c, code, reason, "console of %s/%s: %s", s->ns, s->name, sb_str(&text));
        api_send_error(c);
    }
    end(s, WS_GOING_AWAY, "%s", sb_str(&text));
}

/* s may be gone when this returns. */
static void
end(struct console *s, unsigned status, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    uint8_t payload[WS_CONTROL_MAX];
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    if (s->waiting) {
        refuse(s, 503, "ServiceUnavailable", "%s", sb_str(&text));
        return;
    }
    if (s->state != CONSOLE_ASKED)
        log_info("console.closed", LS("namespace", s->ns), LS("vmi", s->name), LS("node", s->node),
                 LI("status", status), LS("why", sb_str(&text)));
    s->state = CONSOLE_ENDED;
    s->all->open--;
    loop_timer_del(TAKE_PTR(s->timer));
    if (s->user) {
        send_frame(s, WS_CLOSE, payload, ws_close_payload(payload, status, sb_str(&text)));
        http_tunnel_end(TAKE_PTR(s->user));
    }
    if (s->handler)
        http_tunnel_end(TAKE_PTR(s->handler));
    s->pending++;
    store_mutate(s->all->api->store, KIND_VMI, s->ns, s->name, 0, remove_annotation, on_removed, s);
}

/* As store_mutate_fn; ctx NULL: whoever's it is. */
static int
remove_annotation(void *ctx, struct tree *vmi)
{
    const struct console *s = ctx;
    struct tree *annotations = tree_find(vmi, "metadata", "annotations", NULL);
    const char *id = tree_get_string(tree_get(annotations, ANN_CONSOLE_REQUEST), NULL);

    if (!id || (s && strcmp(id, s->id) != 0))
        return 0;
    tree_del(annotations, ANN_CONSOLE_REQUEST);
    return 1;
}

static void
on_removed(void *ctx, const struct store_result *res)
{
    struct console *s = ctx;

    (void)res; /* the instance may be gone: so is the annotation */
    s->pending--;
    forget(s);
}

static void
forget(struct console *s)
{
    if (s->state != CONSOLE_ENDED || s->pending > 0)
        return;
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    free(s->ns);
    free(s->name);
    free(s->node);
    free(s);
}

static bool
drop_stale(void *ctx, const struct tree *vmi)
{
    struct consoles *all = ctx;

    if (object_annotation(vmi, ANN_CONSOLE_REQUEST))
        store_mutate(all->api->store, KIND_VMI, object_namespace(vmi), object_name(vmi), 0,
                     remove_annotation, NULL, NULL);
    return true;
}
