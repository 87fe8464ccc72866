/* The handler's only listening HTTP: GET /metrics on one TCP address (--metrics-listen). Small on
 * purpose, and without any way to change a thing; who may reach the address may read the names and
 * figures of this node's VMs. libevent's evhttp with small limits. Loop thread; needs the libevent
 * loop. */
#ifndef HANDLER_METRICS_HTTP_H
#define HANDLER_METRICS_HTTP_H

#include "base/err.h"
#include "base/loop.h"
#include "base/sb.h"

struct metrics_http;

/* where: "ADDRESS:PORT", "[ADDRESS6]:PORT"; port 0: any free one. fill appends the text. */
int metrics_http_new(struct loop *l, const char *where, void (*fill)(void *ctx, struct sb *out),
                     void *ctx, struct metrics_http **ret, struct err *err);
void metrics_http_free(struct metrics_http *h); /* NULL is fine */
unsigned metrics_http_port(const struct metrics_http *h);

#endif
