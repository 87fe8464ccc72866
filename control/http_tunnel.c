/* A connection of the HTTP server on which another protocol is spoken; see http_server.h. */
#include <event2/buffer.h>

#include "control/http_conn.h"

void
http_tunnel_begin(struct http_exchange *x, const char *protocol, const struct http_tunnel_ops *ops,
                  void *ctx)
{
    struct evbuffer *out = bufferevent_get_output(x->conn->bev);

    evbuffer_add_printf(out,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\n"
                        "Connection: Upgrade\r\n%s\r\n",
                        protocol, sb_str(&x->headers));
    x->tunnel = ops;
    x->tunnel_ctx = ctx;
    http_conn_set_state(x->conn, CONN_TUNNEL);
    http_conn_process(x->conn);
}

void
http_tunnel_write(struct http_exchange *x, const void *data, size_t len)
{
    evbuffer_add(bufferevent_get_output(x->conn->bev), data, len);
}

void
http_tunnel_resume(struct http_exchange *x)
{
    http_conn_process(x->conn);
}

void
http_tunnel_end(struct http_exchange *x)
{
    struct http_conn *c = x->conn;

    x->on_gone = NULL;
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        http_conn_linger(c);
    else
        http_conn_set_state(c, CONN_CLOSING);
}

bool
http_tunnel_step(struct http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t len = evbuffer_get_contiguous_space(in), used;

    if (len == 0) {
        if (c->eof)
            http_conn_close(c);
        return false;
    }
    used = c->x.tunnel->data(c->x.tunnel_ctx, evbuffer_pullup(in, (ev_ssize_t)len), len);
    if (c->dead)
        return false;
    evbuffer_drain(in, used);
    return used > 0;
}
