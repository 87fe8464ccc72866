/* One connection of the HTTP server: reads a request within its deadlines and limits, hands it to
 * the handler, sends the reply, and goes on with the next. See http_server.h. */
#include "control/http_conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <string.h>
#include <sys/socket.h>

#include "control/control_limits.h"

#define READ_HIGH_BYTES (64u << 10) /* read ahead of what is parsed */
#define OUT_PAUSE_BYTES (1u << 20)  /* pipelined requests wait while so much is unsent */
#define LINGER_US       2000000u

static void on_read(struct bufferevent *bev, void *arg);
static void on_write(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);
static bool step(struct http_conn *c);
static bool at_eof(struct http_conn *c);
static bool read_head(struct http_conn *c);
static bool read_body(struct http_conn *c);
static void run_handler(struct http_conn *c);
static void refuse(struct http_conn *c, int status, const struct err *err);
static void finish_reply(struct http_conn *c);
static void leave(struct http_conn *c);
static void write_head(struct http_exchange *x, int status, const char *content_type,
                       int64_t length);
static const char *status_text(int status);

void
http_conn_new(struct http_server *s, int fd)
{
    struct http_conn *c = xcalloc(1, sizeof(*c));
    struct timeval write_tv = {s->config.write_timeout_ms / 1000,
                               (suseconds_t)(s->config.write_timeout_ms % 1000) * 1000};

    c->server = s;
    c->x.conn = c;
    c->bev = bufferevent_socket_new(loop_event_base(s->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c->bev)
        abort();
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, READ_HIGH_BYTES);
    bufferevent_set_timeouts(c->bev, NULL, &write_tv);
    c->next = s->conns;
    c->prev = &s->conns;
    if (c->next)
        c->next->prev = &c->next;
    s->conns = c;
    s->conns_len++;
    http_conn_set_state(
        c, CONN_HEAD); /* a client that connects and says nothing has as long as a slow one */
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void
http_conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (!c->dead) {
        c->dead = true;
        *c->prev = c->next;
        if (c->next)
            c->next->prev = c->prev;
        s->conns_len--;
        bufferevent_free(TAKE_PTR(c->bev));
        if ((c->state == CONN_HANDLER || c->state == CONN_TUNNEL) && c->x.on_gone)
            c->x.on_gone(c->x.gone_ctx);
        http_server_conn_gone(s);
    }
    if (c->busy > 0)
        return;
    arena_free(c->x.arena);
    sb_done(&c->x.body);
    sb_done(&c->x.headers);
    free(c);
}

/* --- reading --- */
static void
on_read(struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;

    (void)bev;
    http_conn_process(c);
}

static void
on_write(struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;

    (void)bev;
    /* Called when all is sent. */
    if (c->state == CONN_CLOSING) {
        http_conn_linger(c);
    } else if (c->state == CONN_TUNNEL) {
        c->busy++;
        c->x.tunnel->drained(c->x.tunnel_ctx);
        leave(c);
    } else {
        http_conn_process(c);
    }
}

void
http_conn_linger(struct http_conn *c)
{
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    http_conn_set_state(c, CONN_LINGER);
    http_conn_process(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http_conn *c = arg;

    (void)bev;
    if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) && !c->x.streaming) {
        /* A client may send its requests, shut its side and wait for the replies. */
        c->eof = true;
        http_conn_process(c);
        return;
    }
    http_conn_close(c);
}

void
http_conn_process(struct http_conn *c)
{
    if (c->busy)
        return;
    c->busy++;
    while (!c->dead && step(c))
        ;
    leave(c); /* NOLINT(clang-analyzer-unix.Malloc): while busy, closing only marks it dead */
}

static void
leave(struct http_conn *c)
{
    c->busy--;
    if (c->dead && c->busy == 0)
        http_conn_close(c);
}

/* One step onwards; false when there is nothing to do before more has come or gone. */
static bool
step(struct http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);

    switch (c->state) {
    case CONN_IDLE:
        if (evbuffer_get_length(bufferevent_get_output(c->bev)) > OUT_PAUSE_BYTES)
            return false;
        if (evbuffer_get_length(in) == 0 && !c->eof)
            return false;
        http_conn_set_state(c, CONN_HEAD);
        return true;
    case CONN_HEAD:
        return read_head(c) || at_eof(c);
    case CONN_BODY:
        return read_body(c) || at_eof(c);
    case CONN_LINGER:
        evbuffer_drain(in, evbuffer_get_length(in));
        if (c->eof)
            http_conn_close(c);
        return false;
    case CONN_TUNNEL:
        return http_tunnel_step(c);
    case CONN_HANDLER:
    case CONN_CLOSING:
        return false;
    }
    return false;
}

/* Half a request, or none, and the client sends no more: what is queued goes out, then the end. */
static bool
at_eof(struct http_conn *c)
{
    if (c->eof && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        http_conn_close(c);
    else if (c->eof)
        http_conn_set_state(c, CONN_CLOSING);
    return false;
}

static bool
read_head(struct http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    struct http_exchange *x = &c->x;
    struct evbuffer_ptr from, end;
    struct err err = {0};
    size_t len = evbuffer_get_length(in);
    int status;

    evbuffer_ptr_set(in, &from, c->scanned, EVBUFFER_PTR_SET);
    end = evbuffer_search(in, "\r\n\r\n", 4, &from);
    if (end.pos < 0 && len < HTTP_MAX_HEAD_BYTES) {
        c->scanned = len > 3 ? len - 3 : 0;
        return false;
    }
    if (end.pos < 0 || (size_t)end.pos + 4 > HTTP_MAX_HEAD_BYTES) {
        err_set(&err, -EINVAL, "the request's head is larger than %u bytes", HTTP_MAX_HEAD_BYTES);
        refuse(c, 431, &err);
        return true;
    }
    len = (size_t)end.pos + 4;
    x->arena = arena_new();
    status = http_parse_head((const char *)evbuffer_pullup(in, (ev_ssize_t)len), len,
                             HTTP_MAX_BODY_BYTES, x->arena, &x->request, &err);
    evbuffer_drain(in, len);
    c->scanned = 0;
    if (status) {
        refuse(c, status, &err);
        return true;
    }
    x->close = !x->request.keep_alive;
    http_conn_set_state(c, CONN_BODY);
    if (x->request.expect_continue && (x->request.chunked || x->request.content_length > 0) &&
        evbuffer_get_length(in) == 0)
        bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return true;
}

static void
add_body(void *ctx, const char *data, size_t len)
{
    sb_add(ctx, data, len);
}

static bool
read_body(struct http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    struct http_exchange *x = &c->x;
    size_t len = evbuffer_get_length(in);

    while (x->request.chunked && x->chunked.state != CHUNK_DONE) {
        size_t n = evbuffer_get_contiguous_space(in), used;
        struct err err = {0};
        int status;

        if (n == 0)
            return false;
        status = http_chunked_feed(&x->chunked, (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n,
                                   HTTP_MAX_BODY_BYTES, add_body, &x->body, &used, &err);
        evbuffer_drain(in, used);
        if (status) {
            refuse(c, status, &err);
            return true;
        }
    }
    if (!x->request.chunked) {
        size_t want = x->request.content_length - x->body.len, n = len < want ? len : want;

        if (n > 0) {
            sb_add(&x->body, evbuffer_pullup(in, (ev_ssize_t)n), n);
            evbuffer_drain(in, n);
        }
        if (n < want)
            return false;
    }
    run_handler(c);
    return true;
}

static void
run_handler(struct http_conn *c)
{
    struct http_exchange *x = &c->x;

    x->request.body = sb_str(&x->body);
    x->request.body_len = x->body.len;
    http_conn_set_state(c, CONN_HANDLER);
    c->server->config.handler(c->server->config.ctx, x);
}

/* The server's own refusal; what comes after it on the connection cannot be trusted. */
static void
refuse(struct http_conn *c, int status, const struct err *err)
{
    struct sb body = SB_INIT;

    if (!c->x.arena)
        c->x.arena = arena_new();
    http_conn_set_state(c, CONN_HANDLER);
    c->x.close = true;
    c->server->config.error_body(status, err_msg(err), &body);
    http_reply(&c->x, status, "application/json", &body);
}

/* --- replying --- */
const struct http_request *
http_exchange_request(const struct http_exchange *x)
{
    return &x->request;
}

void
http_on_gone(struct http_exchange *x, void (*fn)(void *ctx), void *ctx)
{
    x->on_gone = fn;
    x->gone_ctx = ctx;
}

void
http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    sb_printf(&x->headers, "%s: ", name);
    for (; *value; value++)
        sb_putc(&x->headers, (unsigned char)*value < ' ' || *value == 0x7f ? ' ' : *value);
    sb_puts(&x->headers, "\r\n");
}

static void
free_body(const void *data, size_t len, void *extra)
{
    (void)len;
    (void)data;
    free(extra);
}

void
http_reply(struct http_exchange *x, int status, const char *content_type, struct sb *body)
{
    struct evbuffer *out = bufferevent_get_output(x->conn->bev);
    size_t len = body->len;
    char *text = sb_steal(body);

    write_head(x, status, content_type, (int64_t)len);
    if (len > 0 && x->request.method != HTTP_HEAD)
        evbuffer_add_reference(out, text, len, free_body, text);
    else
        free(text);
    finish_reply(x->conn);
}

void
http_stream_begin(struct http_exchange *x, int status, const char *content_type)
{
    x->streaming = true;
    if (x->request.minor == 0)
        x->close = true; /* HTTP/1.0 knows no chunks: the end of the connection is the end */
    write_head(x, status, content_type, -1);
    if (x->conn->eof) /* nobody there, it seems: as if the end had come later; at the next sweep */
        x->conn->deadline_us = loop_now_us(x->conn->server->loop);
}

void
http_stream_write(struct http_exchange *x, const void *data, size_t len)
{
    struct evbuffer *out = bufferevent_get_output(x->conn->bev);

    if (len == 0 || x->request.method == HTTP_HEAD)
        return;
    if (x->request.minor == 0) {
        evbuffer_add(out, data, len);
        return;
    }
    evbuffer_add_printf(out, "%zx\r\n", len);
    evbuffer_add(out, data, len);
    evbuffer_add(out, "\r\n", 2);
}

size_t
http_stream_queued(const struct http_exchange *x)
{
    return evbuffer_get_length(bufferevent_get_output(x->conn->bev));
}

void
http_stream_end(struct http_exchange *x)
{
    if (x->request.minor > 0 && x->request.method != HTTP_HEAD)
        evbuffer_add(bufferevent_get_output(x->conn->bev), "0\r\n\r\n", 5);
    finish_reply(x->conn);
}

/* The reply is queued: ready for the next request, or to close. */
static void
finish_reply(struct http_conn *c)
{
    struct http_exchange *x = &c->x;
    bool close = x->close;

    arena_free(x->arena);
    sb_done(&x->body);
    sb_done(&x->headers);
    *x = (struct http_exchange){.conn = c, .close = close};
    http_conn_set_state(c, close ? CONN_CLOSING : CONN_IDLE);
    http_conn_process(c);
}

static void
write_head(struct http_exchange *x, int status, const char *content_type, int64_t length)
{
    struct evbuffer *out = bufferevent_get_output(x->conn->bev);

    evbuffer_add_printf(
        out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-cache, private\r\n", status,
        status_text(status), content_type);
    if (x->headers.len > 0)
        evbuffer_add(out, x->headers.buf, x->headers.len);
    if (length >= 0)
        evbuffer_add_printf(out, "Content-Length: %lld\r\n", (long long)length);
    else if (x->request.minor > 0)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    evbuffer_add_printf(out, "%s\r\n", x->close ? "Connection: close\r\n" : "");
}

void
http_conn_set_state(struct http_conn *c, enum conn_state state)
{
    const struct http_config *f = &c->server->config;
    const unsigned ms[] = {
        [CONN_IDLE] = f->idle_timeout_ms,
        [CONN_HEAD] = f->head_timeout_ms,
        [CONN_BODY] = f->body_timeout_ms,
        [CONN_HANDLER] = 0,
        [CONN_TUNNEL] = 0,  /* whoever speaks the protocol looks after it */
        [CONN_CLOSING] = 0, /* the write timeout ends it */
        [CONN_LINGER] = LINGER_US / 1000,
    };

    c->state = state;
    c->deadline_us = ms[state] ? loop_now_us(c->server->loop) + (uint64_t)ms[state] * 1000 : 0;
}

static const char *
status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Request Entity Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Entity"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}
