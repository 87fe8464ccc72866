/* HTTP/1.1 requests as bytes; see http_parse.h. */
#include "control/http_parse.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "control/control_limits.h"

static int parse_request_line(char *line, struct arena *a, struct http_request *r, struct err *err);
static int parse_target(const char *target, struct arena *a, struct http_request *r,
                        struct err *err);
static int parse_query(char *q, struct arena *a, struct http_request *r, struct err *err);
static int parse_header(char *line, struct http_request *r, struct err *err);
static int apply_headers(struct http_request *r, size_t max_body, struct err *err);
static int decode(char *s, bool plus, struct err *err);
static bool is_token(const char *s);
static bool has_token(const char *list, const char *token);

static const char *const methods[HTTP_METHOD_COUNT] = {"GET",   "HEAD",   "POST",   "PUT",
                                                       "PATCH", "DELETE", "OPTIONS"};

const char *
http_method_name(enum http_method m)
{
    return methods[m];
}

static int
refuse(struct err *err, int status, const char *text)
{
    err_set(err, -EINVAL, "%s", text);
    return status;
}

int
http_parse_head(const char *buf, size_t len, size_t max_body, struct arena *a,
                struct http_request *ret, struct err *err)
{
    char *p = arena_strndup(a, buf, len), *line;
    int status = 0;

    *ret = (struct http_request){.body = ""};
    ret->headers = arena_calloc(a, HTTP_MAX_HEADERS, sizeof(*ret->headers));
    if (memchr(buf, '\0', len))
        return refuse(err, 400, "the request's head has a NUL byte");
    for (line = p; status == 0; line = p) {
        p = strstr(line, "\r\n");
        if (!p)
            return refuse(err, 400, "the request's head does not end with an empty line");
        *p = '\0';
        p += 2;
        if (strpbrk(line, "\r\n"))
            return refuse(err, 400, "a line of the request's head ends without CR LF");
        if (!ret->target) {
            status = parse_request_line(line, a, ret, err);
            continue;
        }
        if (!*line)
            break;
        status = parse_header(line, ret, err);
    }
    return status ? status : apply_headers(ret, max_body, err);
}

static int
parse_request_line(char *line, struct arena *a, struct http_request *r, struct err *err)
{
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version || strchr(version + 1, ' '))
        return refuse(err, 400, "want METHOD TARGET HTTP/1.1 in the request line");
    *target++ = '\0';
    *version++ = '\0';
    if (strncmp(version, "HTTP/", 5) != 0)
        return refuse(err, 400, "want METHOD TARGET HTTP/1.1 in the request line");
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        return refuse(err, 505, "want HTTP/1.1");
    r->minor = version[7] - '0';
    if (!is_token(line))
        return refuse(err, 400, "the method has a character that is not allowed");
    for (r->method = 0; r->method < HTTP_METHOD_COUNT; r->method++)
        if (strcmp(line, methods[r->method]) == 0)
            break;
    if (r->method == HTTP_METHOD_COUNT)
        return refuse(err, 501,
                      "the method is not known: want GET, HEAD, POST, PUT, PATCH, DELETE "
                      "or OPTIONS");
    r->target = target;
    return parse_target(target, a, r, err);
}

static int
parse_target(const char *target, struct arena *a, struct http_request *r, struct err *err)
{
    char *path = arena_strdup(a, target), *query = strchr(path, '?');
    size_t n = 0;

    if (*path != '/')
        return refuse(err, 400, "the target must be a path that starts with '/'");
    for (const char *c = path; *c; c++)
        if (*c <= ' ' || *c == 0x7f)
            return refuse(err, 400, "the target has a blank or control character");
    if (strchr(path, '#'))
        return refuse(err, 400, "the target has a fragment");
    if (query)
        *query++ = '\0';
    for (const char *c = path; *c; c++)
        n += *c == '/';
    r->segments = arena_calloc(a, n + 1, sizeof(*r->segments));
    for (char *s = path + 1, *end; *s; s = end) {
        end = strchr(s, '/');
        if (end)
            *end++ = '\0';
        else
            end = s + strlen(s);
        if (decode(s, false, err) != 0)
            return 400;
        if (!*s || strcmp(s, ".") == 0 || strcmp(s, "..") == 0 || strchr(s, '/'))
            return refuse(err, 400, "the path has an empty, '.', '..' or slashed segment");
        r->segments[r->segments_len++] = s;
    }
    return query && *query ? parse_query(query, a, r, err) : 0;
}

static int
parse_query(char *q, struct arena *a, struct http_request *r, struct err *err)
{
    r->query = arena_calloc(a, HTTP_MAX_QUERY_PARAMS, sizeof(*r->query));
    for (char *s = q, *end; s; s = end) {
        end = strchr(s, '&');
        if (end)
            *end++ = '\0';
        if (!*s)
            continue;
        if (r->query_len == HTTP_MAX_QUERY_PARAMS)
            return refuse(err, 414, "the query has too many parameters");

        char *value = strchr(s, '=');

        if (value)
            *value++ = '\0';
        if (decode(s, true, err) != 0 || (value && decode(value, true, err) != 0))
            return 400;
        r->query[r->query_len++] = (struct http_pair){s, value ? value : ""};
    }
    return 0;
}

/* Percent-decodes in place. NUL and control characters are refused. */
static int
decode(char *s, bool plus, struct err *err)
{
    char *to = s;

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '%') {
            unsigned v = 0;

            for (int i = 1; i <= 2; i++) {
                if (!isxdigit((unsigned char)s[i]))
                    return err_set(err, -EINVAL, "the target has a bad %%-escape");
                v = v * 16 + (unsigned)(isdigit((unsigned char)s[i])
                                            ? s[i] - '0'
                                            : tolower((unsigned char)s[i]) - 'a' + 10);
            }
            s += 2;
            c = (unsigned char)v;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c < ' ' || c == 0x7f)
            return err_set(err, -EINVAL, "the target has an escaped control character");
        *to++ = (char)c;
    }
    *to = '\0';
    return 0;
}

static int
parse_header(char *line, struct http_request *r, struct err *err)
{
    char *value = strchr(line, ':');

    if (r->headers_len == HTTP_MAX_HEADERS)
        return refuse(err, 431, "the request has too many headers");
    if (*line == ' ' || *line == '\t')
        return refuse(err, 400, "a folded header line is not allowed");
    if (!value)
        return refuse(err, 400, "a header line has no colon");
    *value++ = '\0';
    if (!is_token(line))
        return refuse(err, 400, "a header's name has a character that is not allowed");
    for (char *c = line; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    value += strspn(value, " \t");
    for (size_t n = strlen(value); n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'); n--)
        value[n - 1] = '\0';
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return refuse(err, 400, "a header's value has a control character");
    r->headers[r->headers_len++] = (struct http_pair){line, value};
    return 0;
}

/* What the headers say about the connection and the body. */
static int
apply_headers(struct http_request *r, size_t max_body, struct err *err)
{
    unsigned hosts = 0;
    const char *length = NULL;

    r->keep_alive = r->minor >= 1;
    for (size_t i = 0; i < r->headers_len; i++) {
        const char *name = r->headers[i].name, *value = r->headers[i].value;

        if (strcmp(name, "host") == 0) {
            hosts++;
        } else if (strcmp(name, "content-length") == 0) {
            if (!*value || strspn(value, "0123456789") != strlen(value) ||
                (length && strcmp(length, value) != 0))
                return refuse(err, 400, "Content-Length: want one number");
            length = value;
        } else if (strcmp(name, "transfer-encoding") == 0) {
            if (r->chunked || strcasecmp(value, "chunked") != 0 || r->minor == 0)
                return refuse(err, 501, "Transfer-Encoding: want chunked");
            r->chunked = true;
        } else if (strcmp(name, "connection") == 0) {
            if (has_token(value, "close"))
                r->keep_alive = false;
            else if (has_token(value, "keep-alive"))
                r->keep_alive = true;
        } else if (strcmp(name, "expect") == 0) {
            if (strcasecmp(value, "100-continue") != 0)
                return refuse(err, 417, "Expect: want 100-continue");
            r->expect_continue = r->minor >= 1;
        }
    }
    if (hosts > 1 || (hosts == 0 && r->minor >= 1))
        return refuse(err, 400, "want one Host header");
    if (length && r->chunked)
        return refuse(err, 400, "Content-Length and Transfer-Encoding together are not allowed");
    for (const char *c = length; c && *c; c++) {
        if (r->content_length > max_body)
            break;
        r->content_length = r->content_length * 10 + (size_t)(*c - '0');
    }
    if (r->content_length > max_body)
        return refuse(err, 413, "the request's body is too large");
    return 0;
}

const char *
http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

bool
http_header_lists(const struct http_request *r, const char *name, const char *token)
{
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcmp(r->headers[i].name, name) == 0 && has_token(r->headers[i].value, token))
            return true;
    return false;
}

const char *
http_param(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->query_len; i++)
        if (strcmp(r->query[i].name, name) == 0)
            return r->query[i].value;
    return NULL;
}

static bool
is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
            return false;
    return true;
}

static bool
has_token(const char *list, const char *token)
{
    size_t n = strlen(token);

    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");

        size_t len = strcspn(p, " \t,");

        if (len == n && strncasecmp(p, token, n) == 0)
            return true;
        p += len;
    }
    return false;
}

/* --- chunked bodies --- */
static int chunk_line(struct http_chunked *c, size_t max_body, struct err *err);

int
http_chunked_feed(struct http_chunked *c, const char *buf, size_t len, size_t max_body,
                  void (*fn)(void *ctx, const char *data, size_t len), void *ctx, size_t *ret_used,
                  struct err *err)
{
    size_t at = 0;

    *ret_used = 0;
    while (at < len && c->state != CHUNK_DONE) {
        if (c->state == CHUNK_DATA) {
            size_t n = len - at < c->left ? len - at : (size_t)c->left;

            fn(ctx, buf + at, n);
            at += n;
            c->left -= n;
            if (c->left == 0)
                c->state = CHUNK_DATA_END;
            continue;
        }

        char ch = buf[at++];

        if (ch != '\n') {
            if (c->line_len < sizeof(c->line))
                c->line[c->line_len] = ch;
            if (++c->line_len > HTTP_MAX_CHUNK_LINE)
                return refuse(err, 400, "a line of the chunked body is too long");
            continue;
        }

        int status = chunk_line(c, max_body, err);

        if (status)
            return status;
        c->line_len = 0;
    }
    *ret_used = at;
    return 0;
}

/* The line that is complete: a size, the end of a chunk, or a trailer. */
static int
chunk_line(struct http_chunked *c, size_t max_body, struct err *err)
{
    size_t n = c->line_len, i = 0;

    if (n == 0 || (n <= sizeof(c->line) && c->line[n - 1] != '\r'))
        return refuse(err, 400, "a line of the chunked body ends without CR LF");
    if (c->state == CHUNK_DATA_END) {
        if (n != 1)
            return refuse(err, 400, "a chunk is longer than it says");
        c->state = CHUNK_SIZE;
        return 0;
    }
    if (c->state == CHUNK_TRAILER) {
        c->trailers += (unsigned)n;
        if (c->trailers > HTTP_MAX_CHUNK_LINE * 4)
            return refuse(err, 431, "the trailers are too long");
        if (n == 1)
            c->state = CHUNK_DONE;
        return 0;
    }
    c->left = 0;
    for (; i < n && i < sizeof(c->line) && isxdigit((unsigned char)c->line[i]); i++) {
        if (c->left > max_body)
            return refuse(err, 413, "the request's body is too large");
        c->left = c->left * 16 + (uint64_t)(isdigit((unsigned char)c->line[i])
                                                ? c->line[i] - '0'
                                                : tolower((unsigned char)c->line[i]) - 'a' + 10);
    }
    if (i == 0 || i >= sizeof(c->line) || (c->line[i] != '\r' && c->line[i] != ';'))
        return refuse(err, 400, "a chunk's size is not a hexadecimal number");
    if (c->left > max_body - c->total)
        return refuse(err, 413, "the request's body is too large");
    c->total += (size_t)c->left;
    c->state = c->left ? CHUNK_DATA : CHUNK_TRAILER;
    return 0;
}
