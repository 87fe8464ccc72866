/* An HTTP/1.1 server on UNIX and TCP sockets, on libevent's buffers: connections with deadlines and
 * limits (control_limits.h), keep-alive, chunked bodies both ways, long streams. Knows nothing of
 * Kubernetes. A slow, silent or hostile client costs one connection and bounded memory, and never
 * holds up another. Loop thread only; needs the libevent loop, and SIGPIPE ignored by the program.
 * Why not libevent's own evhttp: docs/api.md. */
#ifndef CONTROL_HTTP_SERVER_H
#define CONTROL_HTTP_SERVER_H

#include "base/loop.h"
#include "base/sb.h"
#include "control/http_parse.h"

struct http_server;
struct http_exchange; /* one request and its reply */

struct http_config {
    /* Called for each complete request. Must lead to exactly one http_reply, or to
     * http_stream_begin and http_stream_end, at once or later, unless on_gone is called before. */
    void (*handler)(void *ctx, struct http_exchange *x);
    void *ctx;
    /* The body (JSON) of a refusal that the server makes by itself. */
    void (*error_body)(int status, const char *message, struct sb *out);
    /* 0: the defaults of control_limits.h. Tests use small ones. */
    unsigned head_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    unsigned max_conns;
};

struct http_server *http_server_new(struct loop *loop, const struct http_config *config);
/* Cuts all connections (on_gone is called) and removes the UNIX sockets it made. NULL is fine. */
void http_server_free(struct http_server *s);
/* "unix:PATH" (mode 0600; a stale socket is replaced) or "tcp:ADDRESS:PORT" ("tcp:[::1]:8001"; port
 * 0: any free one). Repeatable. ret_url (may be NULL): "unix:PATH" or "http://ADDRESS:PORT". */
int http_server_listen(struct http_server *s, const char *where, char *ret_url, size_t size,
                       struct err *err);
size_t http_server_conns(const struct http_server *s);

/* --- in and after the handler: x is valid until the reply or the stream has ended, or on_gone was
 * called --- */
const struct http_request *http_exchange_request(const struct http_exchange *x);
/* fn is called when the client goes before the reply is complete; x is dead after it. */
void http_on_gone(struct http_exchange *x, void (*fn)(void *ctx), void *ctx);
/* An extra header of the reply; value must have no control characters (they are replaced). */
void http_add_header(struct http_exchange *x, const char *name, const char *value);
/* Takes the content of body. The body is not sent for HEAD. */
void http_reply(struct http_exchange *x, int status, const char *content_type, struct sb *body);
/* A reply whose end is not known. Bytes are queued without limit: look at http_stream_queued. */
void http_stream_begin(struct http_exchange *x, int status, const char *content_type);
void http_stream_write(struct http_exchange *x, const void *data, size_t len);
size_t http_stream_queued(const struct http_exchange *x);
void http_stream_end(struct http_exchange *x);

/* --- another protocol on the connection (RFC 9110 section 7.8); http_tunnel.c --- */
struct http_tunnel_ops {
    /* Bytes have come, or http_tunnel_resume was called and there are some. They may be changed.
     * Returns how many were taken; while some are left the client is not read from beyond 64 KiB,
     * and they are offered again with more, or by http_tunnel_resume. */
    size_t (*data)(void *ctx, uint8_t *data, size_t len);
    /* All that was written has been taken by the kernel. */
    void (*drained)(void *ctx);
};

/* Answers 101 with "Upgrade: protocol" and the headers that were added; from now on the connection
 * is a stream of bytes, not of requests. Ended by http_tunnel_end, or by the client's end, of which
 * on_gone tells once all that it sent before has been taken. A client that takes nothing for the
 * server's write timeout is cut off. ops must outlive the connection. data may be called before this
 * returns, unless it is called from the handler. */
void http_tunnel_begin(struct http_exchange *x, const char *protocol,
                       const struct http_tunnel_ops *ops, void *ctx);
/* Queued without limit: look at http_stream_queued. */
void http_tunnel_write(struct http_exchange *x, const void *data, size_t len);
/* Offers again what data() left. */
void http_tunnel_resume(struct http_exchange *x);
/* Sends what is queued, then closes. x is dead, and on_gone is not called. */
void http_tunnel_end(struct http_exchange *x);

#endif
