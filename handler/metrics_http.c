/* GET /metrics of the handler; see metrics_http.h. */
#include "handler/metrics_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/http.h>

#include "base/metrics.h"

#define MAX_HEAD_BYTES 8192
#define MAX_BODY_BYTES 0
#define TIMEOUT_S      10

struct metrics_http {
    struct evhttp *http;
    void (*fill)(void *ctx, struct sb *out);
    void *ctx;
    unsigned port;
};

static void
on_metrics(struct evhttp_request *req, void *ctx)
{
    struct metrics_http *h = ctx;
    AUTO_SB struct sb out = SB_INIT;
    struct evbuffer *body = evbuffer_new();

    if (!body) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }
    h->fill(h->ctx, &out);
    evbuffer_add(body, sb_str(&out), out.len);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", METRICS_CONTENT);
    evhttp_send_reply(req, HTTP_OK, "OK", body);
    evbuffer_free(body);
}

static void
on_other(struct evhttp_request *req, void *ctx)
{
    (void)ctx;
    evhttp_send_error(req, HTTP_NOTFOUND, "want /metrics");
}

static int
split(const char *where, char *host, size_t size, uint16_t *ret_port, struct err *err)
{
    const char *colon = strrchr(where, ':');
    size_t len = colon ? (size_t)(colon - where) : 0;
    char *end = NULL;
    const char *text = where;
    struct in6_addr addr; /* either fits */
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

    if (!colon || !len || len >= size || end == colon + 1 || *end || port > 65535 ||
        colon[1] < '0' || colon[1] > '9')
        return err_set(err, -EINVAL, "%s: want ADDRESS:PORT", where);
    if (where[0] == '[' && where[len - 1] == ']') {
        where++;
        len -= 2;
    }
    memcpy(host, where, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, &addr) != 1 && inet_pton(AF_INET6, host, &addr) != 1)
        return err_set(err, -EINVAL, "%s: want an IP address and a port", text);
    *ret_port = (uint16_t)port;
    return 0;
}

int
metrics_http_new(struct loop *l, const char *where, void (*fill)(void *ctx, struct sb *out),
                 void *ctx, struct metrics_http **ret, struct err *err)
{
    struct metrics_http *h;
    struct evhttp_bound_socket *bound;
    struct sockaddr_in6 sa = {0}; /* or a sockaddr_in, whose port stands at the same place */
    socklen_t len = sizeof sa;
    char host[64];
    uint16_t port = 0;
    int rc = split(where, host, sizeof host, &port, err);

    if (rc != 0)
        return rc;
    h = xcalloc(1, sizeof *h);
    *h = (struct metrics_http){.http = evhttp_new(loop_event_base(l)), .fill = fill, .ctx = ctx};
    bound = h->http ? evhttp_bind_socket_with_handle(h->http, host, port) : NULL;
    if (!bound) {
        metrics_http_free(h);
        return err_set(err, -EADDRNOTAVAIL, "%s: cannot listen there", where);
    }
    evhttp_set_allowed_methods(h->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(h->http, MAX_HEAD_BYTES);
    evhttp_set_max_body_size(h->http, MAX_BODY_BYTES);
    evhttp_set_timeout(h->http, TIMEOUT_S);
    evhttp_set_cb(h->http, "/metrics", on_metrics, h);
    evhttp_set_gencb(h->http, on_other, h);
    if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&sa, &len) == 0)
        h->port = ntohs(sa.sin6_port);
    *ret = h;
    return 0;
}

void
metrics_http_free(struct metrics_http *h)
{
    if (!h)
        return;
    if (h->http)
        evhttp_free(h->http);
    free(h);
}

unsigned
metrics_http_port(const struct metrics_http *h)
{
    return h->port;
}
