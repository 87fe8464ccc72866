/* HTTP/1.1 requests as bytes: the head, the chunked body, the target's path and query. Pure: no
 * sockets, no allocation but in the arena that is given. Strict where leniency is how requests are
 * smuggled: RFC 9112 sections 3, 5, 6 and 7; RFC 3986 for the target. Called by http_conn.c. */
#ifndef CONTROL_HTTP_PARSE_H
#define CONTROL_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD_COUNT
};

const char *http_method_name(enum http_method m);

struct http_pair {
    const char *name, *value; /* header names in lower case */
};

/* All strings live in the arena. */
struct http_request {
    enum http_method method;
    const char *target;    /* as sent */
    const char **segments; /* the path, split at '/' and decoded; never "." or "..", never empty */
    size_t segments_len;
    struct http_pair *query; /* decoded */
    size_t query_len;
    struct http_pair *headers;
    size_t headers_len;
    int minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* what the client wants */
    bool expect_continue;
    bool chunked;
    size_t content_length; /* 0 when there is none */
    const char *body; /* set by http_conn.c; NUL-terminated, never NULL when the handler runs */
    size_t body_len;
};

/* Parses len bytes that end with the empty line. Returns 0, or the HTTP status to refuse with (400,
 * 413, 414, 431, 501, 505) and fills in err. max_body: a larger Content-Length is 413. */
int http_parse_head(const char *buf, size_t len, size_t max_body, struct arena *a,
                    struct http_request *ret, struct err *err);
/* Header by its name in lower case; the first one's value, or NULL. */
const char *http_header(const struct http_request *r, const char *name);
/* Whether any header of that name lists the token (case does not matter). */
bool http_header_lists(const struct http_request *r, const char *name, const char *token);
/* Query parameter, or NULL. */
const char *http_param(const struct http_request *r, const char *name);

/* A chunked body, decoded as it comes. */
struct http_chunked {
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_DONE } state;
    uint64_t left;     /* bytes of this chunk that are still to come */
    size_t total;      /* bytes of body so far */
    size_t line_len;   /* bytes of the line that is being read */
    char line[32];     /* its first ones: enough for a size */
    unsigned trailers; /* bytes of trailer lines so far */
};

/* Consumes bytes of buf: *ret_used of them; body bytes among them are handed to fn, piece by piece.
 * Returns 0 (look at c->state for the end), or the HTTP status to refuse with. */
int http_chunked_feed(struct http_chunked *c, const char *buf, size_t len, size_t max_body,
                      void (*fn)(void *ctx, const char *data, size_t len), void *ctx,
                      size_t *ret_used, struct err *err);

#endif
