/* The REST client on libcurl: one easy handle a client, kept alive between calls; watches run on a
 * multi handle so that they can be told to stop. See rest.h. */
#include "proto/rest.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "base/sb.h"
#include "proto/rest_limits.h"

struct rest {
    CURL *curl;
    char *base;   /* http://host:port, no slash at the end */
    char *socket; /* UNIX socket's path, or NULL */
    char *text;   /* the URL as it was given, for errors */
    unsigned timeout_ms;
};

struct answer {
    struct sb body;
    bool too_large;
    bool head_ended; /* curl takes an answer that ends within its head for one without a body */
    struct rest_reply *reply; /* warnings go here */
};

struct watching {
    struct sb line;
    int (*fn)(void *ctx, const char *line, size_t len);
    void *ctx;
    int rc;
    CURL *curl;
};

static void prepare(struct rest *r, const char *url, struct curl_slist *headers, char *errbuf);
static struct curl_slist *add_header(struct curl_slist *l, const char *name, const char *value);
static size_t on_body(char *data, size_t size, size_t n, void *ctx);
static size_t on_header(char *data, size_t size, size_t n, void *ctx);
static size_t on_watch(char *data, size_t size, size_t n, void *ctx);
static int code_of(CURLcode rc);
static int curl_err(struct rest *r, CURLcode rc, const char *errbuf, struct err *err);
static bool read_string(const char **p, struct sb *out);
static char *json_field(const char *body, const char *key);

static void
init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct rest *
rest_new(const char *url, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    bool un = strncmp(url, "unix:", 5) == 0;

    if ((un && url[5] != '/') || (!un && strncmp(url, "http://", 7) != 0)) {
        err_set(err, -EINVAL, "%s: want http://HOST:PORT or unix:/PATH", url);
        return NULL;
    }
    pthread_once(&once, init_curl);

    struct rest *r = xcalloc(1, sizeof *r);

    r->curl = curl_easy_init();
    if (!r->curl)
        abort();
    r->text = xstrdup(url);
    r->socket = un ? xstrdup(url + 5) : NULL;
    r->base = xstrdup(un ? "http://localhost" : url);
    r->timeout_ms = REST_TIMEOUT_MS;
    if (r->base[strlen(r->base) - 1] == '/')
        r->base[strlen(r->base) - 1] = '\0';
    return r;
}

void
rest_free(struct rest *r)
{
    if (!r)
        return;
    curl_easy_cleanup(r->curl);
    free(r->base);
    free(r->socket);
    free(r->text);
    free(r);
}

void
rest_set_timeout(struct rest *r, unsigned ms)
{
    r->timeout_ms = ms;
}

int
rest_call(struct rest *r, const char *method, const char *path, const char *accept,
          const char *content_type, const void *body, size_t len, struct rest_reply *ret,
          struct err *err)
{
    AUTO_FREE char *url = xasprintf("%s%s", r->base, path);
    char errbuf[CURL_ERROR_SIZE] = "";
    struct rest_reply reply = {0};
    struct answer a = {.reply = &reply};
    struct curl_slist *headers = add_header(NULL, "Accept", accept ? accept : REST_JSON);
    long status = 0;
    CURLcode rc;

    if (body)
        headers = add_header(headers, "Content-Type", content_type ? content_type : REST_JSON);
    headers = curl_slist_append(headers, "Expect:"); /* no 100-continue: one trip a call */
    prepare(r, url, headers, errbuf);
    curl_easy_setopt(r->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(r->curl, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
    if (body) {
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    }
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, &a);
    curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, &a);
    rc = curl_easy_perform(r->curl);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (rc != CURLE_OK) {
        sb_done(&a.body);
        rest_reply_done(&reply);
        if (a.too_large)
            return err_set(err, -EFBIG, "%s%s: the answer is larger than %u MiB", r->text, path,
                           REST_MAX_BODY_BYTES >> 20);
        return curl_err(r, rc, errbuf, err);
    }
    if (!a.head_ended) {
        sb_done(&a.body);
        rest_reply_done(&reply);
        return err_set(err, -ECONNRESET, "%s: the answer ended within its headers", r->text);
    }
    reply.status = (int)status;
    reply.len = a.body.len;
    reply.body = sb_steal(&a.body);
    *ret = reply;
    return 0;
}

void
rest_reply_done(struct rest_reply *rp)
{
    free(rp->body);
    for (size_t i = 0; i < rp->warnings_len; i++)
        free(rp->warnings[i]);
    free(rp->warnings);
    *rp = (struct rest_reply){0};
}

int
rest_reply_err(const struct rest_reply *rp, struct err *err)
{
    AUTO_FREE char *message = json_field(rp->body, "message");
    AUTO_FREE char *reason = json_field(rp->body, "reason");
    int code = -EPROTO;

    switch (rp->status) {
    case 400:
    case 422:
        code = -EINVAL;
        break;
    case 404:
        code = -ENOENT;
        break;
    case 409:
        code = reason && strcmp(reason, "AlreadyExists") == 0 ? -EEXIST : -EAGAIN;
        break;
    case 410:
        code = -ESTALE;
        break;
    case 429:
        code = -EBUSY;
        break;
    case 500 ... 599:
        code = -EIO;
        break;
    default:
        break;
    }
    if (message && *message)
        return err_set(err, code, "%s", message);
    return err_set(err, code, "the server answered with HTTP status %d", rp->status);
}

int
rest_watch(struct rest *r, const char *path, int (*fn)(void *ctx, const char *line, size_t len),
           void *ctx, const atomic_bool *stop, int *ret_status, struct err *err)
{
    return rest_watch_as(r, path, NULL, fn, ctx, stop, ret_status, err);
}

int
rest_watch_as(struct rest *r, const char *path, const char *accept,
              int (*fn)(void *ctx, const char *line, size_t len), void *ctx,
              const atomic_bool *stop, int *ret_status, struct err *err)
{
    AUTO_FREE char *url = xasprintf("%s%s", r->base, path);
    char errbuf[CURL_ERROR_SIZE] = "";
    struct watching w = {.fn = fn, .ctx = ctx, .curl = r->curl};
    struct curl_slist *headers = add_header(NULL, "Accept", accept ? accept : REST_JSON);
    CURLM *multi = curl_multi_init();
    CURLcode rc = CURLE_OK;
    long status = 0;
    int running = 1;

    prepare(r, url, headers, errbuf);
    curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_watch);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, &w);
    /* A peer that is gone without a word is noticed by the kernel's probes. */
    curl_easy_setopt(r->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TCP_KEEPIDLE, (long)REST_KEEPALIVE_S);
    curl_easy_setopt(r->curl, CURLOPT_TCP_KEEPINTVL, (long)REST_KEEPALIVE_S);
    curl_multi_add_handle(multi, r->curl);
    while (running && !(stop && atomic_load(stop))) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            break;
        if (running)
            curl_multi_poll(multi, NULL, 0, REST_STOP_CHECK_MS, NULL);
    }

    int left;
    const CURLMsg *msg = curl_multi_info_read(multi, &left);

    if (msg && msg->msg == CURLMSG_DONE)
        rc = msg->data.result;
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (int)status;
    curl_multi_remove_handle(multi, r->curl);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    sb_done(&w.line);
    if (w.rc != 0)
        return w.rc < 0 ? err_set(err, w.rc, "%s: the watch was ended", path) : w.rc;
    if (rc != CURLE_OK)
        return curl_err(r, rc, errbuf, err);
    if (status != 0 && status != 200)
        return err_set(err, -EPROTO, "%s: the server answered with HTTP status %ld", path, status);
    return 0;
}

static void
prepare(struct rest *r, const char *url, struct curl_slist *headers, char *errbuf)
{
    curl_easy_reset(r->curl);
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http");
    if (r->socket)
        curl_easy_setopt(r->curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
    curl_easy_setopt(r->curl, CURLOPT_PROXY, ""); /* the environment's proxies are not for us */
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "drover");
    curl_easy_setopt(r->curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, errbuf);
}

static struct curl_slist *
add_header(struct curl_slist *l, const char *name, const char *value)
{
    AUTO_FREE char *h = xasprintf("%s: %s", name, value);

    return curl_slist_append(l, h);
}

static size_t
on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct answer *a = ctx;

    if (a->body.len + size * n > REST_MAX_BODY_BYTES) {
        a->too_large = true;
        return 0;
    }
    sb_add(&a->body, data, size * n);
    return size * n;
}

/* Warning: 299 - "text": the text goes to the reply. */
static size_t
on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct answer *a = ctx;
    size_t len = size * n;

    a->head_ended = len == 2 && memcmp(data, "\r\n", 2) == 0;
    if (len < 9 || strncasecmp(data, "Warning:", 8) != 0 ||
        a->reply->warnings_len >= REST_MAX_WARNINGS)
        return len;

    const char *begin = memchr(data, '"', len), *end = data + len;
    struct sb text = SB_INIT;

    if (!begin)
        return len;
    for (const char *p = begin + 1; p < end && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < end)
            p++;
        sb_putc(&text, *p);
    }
    a->reply->warnings =
        xreallocarray(a->reply->warnings, a->reply->warnings_len + 1, sizeof *a->reply->warnings);
    a->reply->warnings[a->reply->warnings_len++] = sb_steal(&text);
    return len;
}

static size_t
on_watch(char *data, size_t size, size_t n, void *ctx)
{
    struct watching *w = ctx;
    const char *p = data, *end = data + size * n;
    long status = 0;

    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return size * n; /* a Status body: the caller looks at the number */
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);

        if (w->line.len + len > REST_MAX_LINE_BYTES) {
            w->rc = -EFBIG;
            return 0;
        }
        sb_add(&w->line, p, len);
        if (!nl)
            break;
        if (w->line.len > 0)
            w->rc = w->fn(w->ctx, sb_str(&w->line), w->line.len);
        sb_reset(&w->line);
        if (w->rc != 0)
            return 0;
        p = nl + 1;
    }
    return size * n;
}

static int
code_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    default:
        return -EPROTO;
    }
}

static int
curl_err(struct rest *r, CURLcode rc, const char *errbuf, struct err *err)
{
    return err_set(err, code_of(rc), "%s: %s", r->text, *errbuf ? errbuf : curl_easy_strerror(rc));
}

/* Reads a JSON string: *p is at its first quote, and afterwards behind its last. False when it does
 * not end. Characters beyond ASCII written as \u become '?'. */
static bool
read_string(const char **p, struct sb *out)
{
    const char *q = *p + 1;

    for (; *q && *q != '"'; q++) {
        if (*q == '\\' && q[1] == 'u' && strnlen(q, 6) == 6) {
            char hex[5] = {q[2], q[3], q[4], q[5], 0};
            unsigned long c = strtoul(hex, NULL, 16);

            sb_putc(out, c >= ' ' && c < 127 ? (char)c : '?');
            q += 5;
        } else if (*q == '\\' && q[1]) {
            q++;
            sb_putc(out, *q == 'n' || *q == 't' || *q == 'r' ? ' ' : *q);
        } else {
            sb_putc(out, *q);
        }
    }
    *p = *q ? q + 1 : q;
    return *q == '"';
}

/* The text of a top-level string member of a Status object, which is all that is wanted from it
 * here (a whole JSON reader lives in api/, which this folder does not use), or NULL. Depth and strings
 * are followed, so that a message cannot pose as another member. */
static char *
json_field(const char *body, const char *key)
{
    int depth = 0;
    const char *p = body;

    while (p && *p) {
        if (*p != '"') {
            depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
            p++;
            continue;
        }

        AUTO_SB struct sb name = SB_INIT;

        if (!read_string(&p, &name))
            return NULL;
        p += strspn(p, " \t\r\n");
        if (depth != 1 || *p != ':' || strcmp(sb_str(&name), key) != 0)
            continue;
        p += 1 + strspn(p + 1, " \t\r\n");

        struct sb value = SB_INIT;

        if (*p == '"' && read_string(&p, &value))
            return sb_steal(&value);
        sb_done(&value);
        return NULL;
    }
    return NULL;
}
