/* A client of the controller's API, for handlers and the command line (libcurl inside). Blocking; one struct rest
 * is used by one thread at a time. URLs: "http://198.18.0.1:8001" or "unix:/run/drover/api.sock". */
#ifndef PROTO_REST_H
#define PROTO_REST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct rest;

struct rest_reply {
    int status;     /* HTTP status */
    char *body;     /* NUL-terminated, never NULL after success; freed by rest_reply_done */
    size_t len;
    char **warnings; /* texts of Warning headers (without code and agent) */
    size_t warnings_len;
};

#define REST_JSON        "application/json"
#define REST_MERGE_PATCH "application/merge-patch+json"

struct rest *rest_new(const char *url, struct err *err);
void rest_free(struct rest *r);
void rest_set_timeout(struct rest *r, unsigned ms); /* connect and whole call; default 10 s */
/* accept: NULL = JSON. body may be NULL. 0 when an HTTP answer came (any status), else -errno (-ECONNREFUSED,
 * -ETIMEDOUT, ...): then nothing is known about the effect. */
int rest_call(struct rest *r, const char *method, const char *path, const char *accept,
              const char *content_type, const void *body, size_t len, struct rest_reply *ret,
              struct err *err);
void rest_reply_done(struct rest_reply *rp);
/* Turns a Status body of a refused call into err's message ("virtualmachines \"x\" not found"). Returns the
 * matching -errno: 404 -ENOENT, 409 -EEXIST or -EAGAIN (conflict), 422 -EINVAL, 429 -EBUSY, else -EPROTO. */
int rest_reply_err(const struct rest_reply *rp, struct err *err);
/* Streams lines (JSON watch events) until the server ends it, fn returns non-zero, or *stop becomes
 * true (looked at at least every 200 ms). 0, -errno, or fn's value; *ret_status is the HTTP status. */
int rest_watch(struct rest *r, const char *path, int (*fn)(void *ctx, const char *line, size_t len),
               void *ctx, const atomic_bool *stop, int *ret_status, struct err *err);
/* The same with an Accept header (NULL = JSON), for the command line's `get -w`: each event's object is a
 * Table. */
int rest_watch_as(struct rest *r, const char *path, const char *accept,
                  int (*fn)(void *ctx, const char *line, size_t len), void *ctx,
                  const atomic_bool *stop, int *ret_status, struct err *err);

#endif
