/* One connection of the HTTP server; between http_server.c and http_conn.c only. */
#ifndef CONTROL_HTTP_CONN_H
#define CONTROL_HTTP_CONN_H

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/sb.h"
#include "control/http_server.h"

enum conn_state {
    CONN_IDLE, /* before the first byte of a request */
    CONN_HEAD, /* some of the head is there */
    CONN_BODY,
    CONN_HANDLER, /* the request is complete; the reply is not */
    CONN_TUNNEL,  /* another protocol is spoken: http_tunnel.c */
    CONN_CLOSING, /* the last reply is being sent */
    CONN_LINGER   /* sent, and said so to the client: what it still sends is thrown away */
};

struct http_exchange {
    struct http_conn *conn; /* embedded in it: one request at a time */
    struct http_request request;
    struct arena *arena;
    struct sb body, headers; /* extra header lines of the reply */
    struct http_chunked chunked;
    bool streaming, close;
    void (*on_gone)(void *ctx);
    void *gone_ctx;
    const struct http_tunnel_ops *tunnel;
    void *tunnel_ctx;
};

struct http_conn {
    struct http_conn *next, **prev;
    struct http_server *server;
    struct bufferevent *bev;
    enum conn_state state;
    uint64_t deadline_us; /* 0: none */
    size_t scanned;       /* bytes of the input in which the head does not end */
    unsigned busy;        /* depth of calls that still need the struct */
    bool dead, eof;       /* eof: the client sends no more */
    struct http_exchange x;
};

struct http_server {
    struct loop *loop;
    struct http_config config;
    struct http_listener *listeners;
    struct http_conn *conns;
    size_t conns_len;
    struct loop_timer *sweep;
    bool paused; /* not accepting */
};

/* Takes fd. */
void http_conn_new(struct http_server *s, int fd);
void http_conn_close(struct http_conn *c);
/* Goes on with what has come; nothing when it is being gone on with already. */
void http_conn_process(struct http_conn *c);
void http_conn_set_state(struct http_conn *c, enum conn_state state);
/* All is sent: says so to the client, and waits a little for it to close. */
void http_conn_linger(struct http_conn *c);
/* http_tunnel.c: offers what has come; false when nothing was taken. */
bool http_tunnel_step(struct http_conn *c);
/* A connection is gone: there may be room for one that waits. */
void http_server_conn_gone(struct http_server *s);

#endif
