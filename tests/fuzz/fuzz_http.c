/* An HTTP request as it comes off a connection: head, then a chunked body. What is accepted must be
 * within the limits and must not depend on how the bytes were cut. Seeds: requests of
 * tests/control/test_api_http.c. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "control/control_limits.h"
#include "control/http_parse.h"

#define MAX_BODY 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
    if (!ok)
        abort();
}

static void
collect(void *ctx, const char *data, size_t len)
{
    sb_add(ctx, data, len);
}

/* Feeds the bytes in pieces of at most step; returns the status and the body. */
static int
feed(const char *p, size_t len, size_t step, struct sb *body, struct http_chunked *c)
{
    size_t at = 0;
    int status = 0;

    *c = (struct http_chunked){0};
    while (at < len && status == 0 && c->state != CHUNK_DONE) {
        size_t n = len - at < step ? len - at : step, used;
        char *exact = xmalloc(n + 1); /* reading past the piece is seen */

        memcpy(exact, p + at, n);
        status = http_chunked_feed(c, exact, n, MAX_BODY, collect, body, &used, NULL);
        free(exact);
        must(status != 0 || used == n || c->state == CHUNK_DONE);
        at += status ? 0 : used;
    }
    must(body->len <= MAX_BODY);
    return status;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size ? memmem(text, size, "\r\n\r\n", 4) : NULL;
    size_t head = end ? (size_t)(end - text) + 4 : size;
    struct arena *a = arena_new();
    struct http_request r;
    struct err err = {0};
    int status = http_parse_head(text, head, MAX_BODY, a, &r, &err);

    if (status == 0) {
        must(end != NULL && r.content_length <= MAX_BODY && r.headers_len <= HTTP_MAX_HEADERS);
        must(r.query_len <= HTTP_MAX_QUERY_PARAMS && r.method < HTTP_METHOD_COUNT);
        for (size_t i = 0; i < r.segments_len; i++)
            must(*r.segments[i] && strcmp(r.segments[i], "..") != 0 && !strchr(r.segments[i], '/'));
    } else {
        must(status >= 400 && status < 600 && *err.msg);
    }
    arena_free(a);

    struct sb one = SB_INIT, two = SB_INIT;
    struct http_chunked c1, c2;
    int s1 = feed(text + head, size - head, SIZE_MAX, &one, &c1);
    int s2 = feed(text + head, size - head, 3, &two, &c2);

    must(s1 == s2 && (s1 || (c1.state == c2.state && one.len == two.len)));
    must(s1 || one.len == 0 || memcmp(one.buf, two.buf, one.len) == 0);
    sb_done(&one);
    sb_done(&two);
    return 0;
}
