/* The REST client against a server that says what the row says: answers, refusals, silence, garbage.
 * (Against the real API: tests/control/test_api_*.c.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/sb.h"
#include "proto/rest.h"
#include "proto/rest_limits.h"

struct server {
    char dir[64], url[96];
    int fd;
    pthread_t thread;
    const char *answer;
    size_t answer_len;
    bool silent;       /* says no more until the client goes */
    atomic_bool *then; /* set when the answer has been sent */
    struct sb request;
};

static void *
serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->fd, NULL, NULL);
    char buf[65536];
    const char *end, *length;
    ssize_t n;

    /* a request: its head, and as much body as it announces */
    do {
        n = recv(fd, buf, sizeof(buf), 0);
        if (n > 0)
            sb_add(&s->request, buf, (size_t)n);
        end = strstr(sb_str(&s->request), "\r\n\r\n");
        length = end ? strstr(s->request.buf, "Content-Length: ") : NULL;
    } while (n > 0 && (!end || (length && s->request.len < (size_t)(end + 4 - s->request.buf) +
                                                               strtoul(length + 16, NULL, 10))));
    for (size_t at = 0; at < s->answer_len;) {
        n = send(fd, s->answer + at, s->answer_len - at, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (s->then)
        atomic_store(s->then, true);
    while (s->silent && recv(fd, buf, sizeof(buf), 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void
server_start(struct server *s, const char *answer, size_t len, bool silent, atomic_bool *then)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *s = (struct server){.answer = answer, .answer_len = len, .silent = silent, .then = then};
    snprintf(s->dir, sizeof(s->dir), "/tmp/drover-rest-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", s->dir);
    snprintf(s->url, sizeof(s->url), "unix:%s", sa.sun_path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s->fd, 4), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
server_stop(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    fs_rmtree(s->dir, NULL);
    sb_done(&s->request);
}

#define HEAD(status) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n"

static void
test_answers(void **state)
{
    static const struct {
        const char *name, *answer;
        int rc, status;
        const char *body;
        size_t warnings;
        const char *warning;
    } rows[] = {
        {"a body", HEAD("200 OK") "Content-Length: 2\r\n\r\n{}", 0, 200, "{}", 0, NULL},
        {"chunked",
         HEAD("201 Created") "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 0,
         201, "{}", 0, NULL},
        {"no body", HEAD("204 No Content") "\r\n", 0, 204, "", 0, NULL},
        {"until the end", HEAD("200 OK") "Connection: close\r\n\r\n{}", 0, 200, "{}", 0, NULL},
        {"a refusal is an answer", HEAD("404 Not Found") "Content-Length: 2\r\n\r\n{}", 0, 404,
         "{}", 0, NULL},
        {"warnings",
         HEAD("200 OK") "Warning: 299 - \"spec.a: \\\"x\\\" kept\"\r\nwarning: 299 - \"b\"\r\n"
                        "Content-Length: 2\r\n\r\n{}",
         0, 200, "{}", 2, "spec.a: \"x\" kept"},
        {"a warning without text", HEAD("200 OK") "Warning: 299\r\nContent-Length: 2\r\n\r\n{}", 0,
         200, "{}", 0, NULL},
        {"continue first",
         "HTTP/1.1 100 Continue\r\n\r\n" HEAD("200 OK") "Content-Length: 2\r\n\r\n{}", 0, 200, "{}",
         0, NULL},
        {"nothing", "", -ECONNRESET, 0, NULL, 0, NULL},
        {"half a head", "HTTP/1.1 200 OK\r\nContent-Le", -ECONNRESET, 0, NULL, 0, NULL},
        {"half a body", HEAD("200 OK") "Content-Length: 20\r\n\r\n{}", -ECONNRESET, 0, NULL, 0,
         NULL},
        {"half a chunk", HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n9\r\n{}", -ECONNRESET, 0,
         NULL, 0, NULL},
        {"no HTTP", "SSH-2.0-x\r\n\r\n", -EPROTO, 0, NULL, 0, NULL},
        {"a bad chunk", HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\nzz\r\n", -ECONNRESET, 0,
         NULL, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct server s;
        struct rest *r;
        struct rest_reply rp = {0};
        struct err err = {0};
        int rc;

        server_start(&s, rows[i].answer, strlen(rows[i].answer), false, NULL);
        r = rest_new(s.url, &err);
        assert_non_null(r);
        rc = rest_call(r, "PATCH", "/api/v1/x?a=b", NULL, REST_MERGE_PATCH, "{\"a\":1}", 7, &rp,
                       &err);
        if (rc != rows[i].rc || rp.status != rows[i].status)
            fail_msg("%s: %d (%s), status %d", rows[i].name, rc, err_msg(&err), rp.status);
        if (rc == 0) {
            assert_string_equal(rp.body, rows[i].body);
            assert_int_equal(rp.len, strlen(rows[i].body));
            assert_int_equal(rp.warnings_len, rows[i].warnings);
            if (rows[i].warning)
                assert_string_equal(rp.warnings[0], rows[i].warning);
        } else {
            assert_non_null(strstr(err_msg(&err), s.url)); /* who did not answer */
        }
        rest_reply_done(&rp);
        rest_free(r);
        server_stop(&s);
    }
}

static void
test_what_is_sent(void **state)
{
    static const char answer[] = HEAD("200 OK") "Content-Length: 2\r\n\r\n{}";
    struct server s;
    struct rest *r;
    struct rest_reply rp;

    (void)state;
    server_start(&s, answer, sizeof(answer) - 1, false, NULL);
    r = rest_new(s.url, NULL);
    assert_int_equal(rest_call(r, "PATCH", "/api/v1/x?a=b", "application/yaml", REST_MERGE_PATCH,
                               "{\"a\":1}", 7, &rp, NULL),
                     0);
    rest_reply_done(&rp);
    rest_free(r);
    pthread_join(s.thread, NULL);
    assert_true(strncmp(s.request.buf, "PATCH /api/v1/x?a=b HTTP/1.1\r\n", 30) == 0);
    assert_non_null(strstr(s.request.buf, "\r\nHost: localhost\r\n"));
    assert_non_null(strstr(s.request.buf, "\r\nAccept: application/yaml\r\n"));
    assert_non_null(strstr(s.request.buf, "\r\nContent-Type: application/merge-patch+json\r\n"));
    assert_null(strstr(s.request.buf, "Expect:"));
    assert_non_null(strstr(s.request.buf, "\r\n\r\n{\"a\":1}"));
    close(s.fd);
    fs_rmtree(s.dir, NULL);
    sb_done(&s.request);
}

static void
test_silence(void **state)
{
    struct server s;
    struct rest *r;
    struct rest_reply rp;
    struct err err = {0};

    (void)state;
    server_start(&s, "", 0, true, NULL);
    r = rest_new(s.url, &err);
    rest_set_timeout(r, 200);
    assert_int_equal(rest_call(r, "GET", "/", NULL, NULL, NULL, 0, &rp, &err), -ETIMEDOUT);
    rest_free(r);
    server_stop(&s);
}

static void
test_nobody(void **state)
{
    static const struct {
        const char *url;
        int rc; /* of a call; 1: not even a client */
    } rows[] = {
        {"unix:/nonexistent/socket", -ECONNREFUSED},
        {"http://127.0.0.1:1", -ECONNREFUSED},
        {"unix:relative", 1},
        {"unix:", 1},
        {"https://127.0.0.1", 1},
        {"127.0.0.1:80", 1},
        {"", 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        struct rest *r = rest_new(rows[i].url, &err);
        struct rest_reply rp;

        if ((r == NULL) != (rows[i].rc == 1))
            fail_msg("%s: %s", rows[i].url, err_msg(&err));
        if (r)
            assert_int_equal(rest_call(r, "GET", "/", NULL, NULL, NULL, 0, &rp, &err), rows[i].rc);
        assert_true(*err.msg);
        rest_free(r);
    }
}

static void
test_too_large(void **state)
{
    struct sb answer = SB_INIT;
    char *big = xmalloc(1 << 20);
    struct server s;
    struct rest *r;
    struct rest_reply rp;
    struct err err = {0};

    (void)state;
    memset(big, ' ', 1 << 20);
    sb_printf(&answer, HEAD("200 OK") "\r\n");
    while (answer.len <= REST_MAX_BODY_BYTES + 100)
        sb_add(&answer, big, 1 << 20);
    server_start(&s, answer.buf, answer.len, false, NULL);
    r = rest_new(s.url, &err);
    assert_int_equal(rest_call(r, "GET", "/", NULL, NULL, NULL, 0, &rp, &err), -EFBIG);
    rest_free(r);
    server_stop(&s);
    sb_done(&answer);
    free(big);
}

static void
test_reply_err(void **state)
{
    static const struct {
        int status, rc;
        const char *body, *says;
    } rows[] = {
        {404, -ENOENT, "{\"kind\":\"Status\",\"message\":\"nodes \\\"x\\\" not found\"}",
         "nodes \"x\" not found"},
        {409, -EEXIST, "{\"message\":\"m\",\"reason\":\"AlreadyExists\"}", "m"},
        {409, -EAGAIN, "{\"message\":\"m\",\"reason\":\"Conflict\"}", "m"},
        {409, -EAGAIN, "{}", "HTTP status 409"},
        {400, -EINVAL, "{\"message\":\"m\"}", "m"},
        {422, -EINVAL, "{\"message\":\"a\\nb\\u0041\"}", "a bA"},
        {410, -ESTALE, "{\"message\":\"m\"}", "m"},
        {429, -EBUSY, "{\"message\":\"m\"}", "m"},
        {500, -EIO, "{\"message\":\"m\"}", "m"},
        {507, -EIO, "not JSON", "HTTP status 507"},
        {404, -ENOENT, "", "HTTP status 404"},
        {404, -ENOENT, "{\"details\":{\"message\":\"deep\"}}", "HTTP status 404"},
        {404, -ENOENT, "{\"message\":\"cut", "HTTP status 404"},
        {404, -ENOENT, "{\"message\":7}", "HTTP status 404"},
        {404, -ENOENT, "{\"a\":\"\\\"message\\\":\\\"x\\\"\",\"message\":\"right\"}", "right"},
        {302, -EPROTO, "{}", "HTTP status 302"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *body = xstrdup(rows[i].body);
        struct rest_reply rp = {.status = rows[i].status, .body = body, .len = strlen(body)};
        struct err err = {0};
        int rc = rest_reply_err(&rp, &err);

        if (rc != rows[i].rc || !strstr(err_msg(&err), rows[i].says))
            fail_msg("%d %s: %d %s", rows[i].status, rows[i].body, rc, err_msg(&err));
        free(body);
    }
}

/* --- watches --- */
struct seen {
    struct sb text;
    int stop_at, n;
};

static int
see(void *ctx, const char *line, size_t len)
{
    struct seen *s = ctx;

    assert_int_equal(strlen(line), len);
    sb_printf(&s->text, "%s|", line);
    return ++s->n == s->stop_at ? 42 : 0;
}

static void
test_watch(void **state)
{
    static const struct {
        const char *name, *answer;
        int stop_at, rc, status;
        const char *seen;
    } rows[] = {
        {"two lines and the end", HEAD("200 OK") "Connection: close\r\n\r\n{1}\n{2}\n", 0, 0, 200,
         "{1}|{2}|"},
        {"chunks that cut lines",
         HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n"
                        "2\r\n{1\r\n4\r\n}\n{2\r\n2\r\n}\n\r\n0\r\n\r\n",
         0, 0, 200, "{1}|{2}|"},
        {"empty lines are nothing", HEAD("200 OK") "Connection: close\r\n\r\n\n\n{1}\n\n", 0, 0,
         200, "{1}|"},
        {"a line without an end is not handed on",
         HEAD("200 OK") "Connection: close\r\n\r\n{1}\n{2", 0, 0, 200, "{1}|"},
        {"the reader has enough", HEAD("200 OK") "Connection: close\r\n\r\n{1}\n{2}\n{3}\n", 2, 42,
         200, "{1}|{2}|"},
        {"refused", HEAD("410 Gone") "Content-Length: 5\r\n\r\n{1}\n\n", 0, -EPROTO, 410, ""},
        {"cut off", HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n9\r\n{1}\n", 0, -ECONNRESET,
         200, "{1}|"},
        {"nothing", "", 0, -ECONNRESET, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct server s;
        struct seen seen = {.stop_at = rows[i].stop_at};
        struct err err = {0};
        struct rest *r;
        int status = -1, rc;

        server_start(&s, rows[i].answer, strlen(rows[i].answer), false, NULL);
        r = rest_new(s.url, &err);
        rc = rest_watch(r, "/w?watch=1", see, &seen, NULL, &status, &err);
        if (rc != rows[i].rc || status != rows[i].status ||
            strcmp(sb_str(&seen.text), rows[i].seen) != 0)
            fail_msg("%s: %d (%s), status %d, saw %s", rows[i].name, rc, err_msg(&err), status,
                     sb_str(&seen.text));
        sb_done(&seen.text);
        rest_free(r);
        server_stop(&s);
    }
}

static void
test_watch_stops(void **state)
{
    static const char answer[] = HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n";
    struct server s;
    struct seen seen = {0};
    atomic_bool stop = false;
    struct rest *r;
    int status;

    (void)state;
    server_start(&s, answer, sizeof(answer) - 1, true, &stop);
    r = rest_new(s.url, NULL);
    assert_int_equal(rest_watch(r, "/w", see, &seen, &stop, &status, NULL), 0);
    rest_free(r);
    server_stop(&s);
    assert_int_equal(seen.n, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_what_is_sent),
        cmocka_unit_test(test_silence),   cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_reply_err),
        cmocka_unit_test(test_watch),     cmocka_unit_test(test_watch_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
