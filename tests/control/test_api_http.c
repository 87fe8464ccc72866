/* The HTTP server against clients that are wrong, slow, silent or hostile: each gets a Status that
 * says why, or loses its connection, and nobody else notices. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "control/api_call.h"
#include "tests/control/api_fixture.h"

#define GET_VERSION "GET /version HTTP/1.1\r\nHost: x\r\n"

/* --- requests, byte by byte --- */
static void
test_bad_requests(void **state)
{
    static const struct {
        const char *name, *request;
        int status;
        const char *says; /* in the answer */
    } rows[] = {
        {"fine", GET_VERSION "Connection: close\r\n\r\n", 200, "gitVersion"},
        {"HTTP/1.0", "GET /version HTTP/1.0\r\n\r\n", 200, "gitVersion"},
        {"two at once", GET_VERSION "\r\n" GET_VERSION "Connection: close\r\n\r\n", 200,
         "gitVersion"},
        {"chunked body",
         "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
         "Connection: close\r\n\r\n"
         "2;ext=1\r\n{\"\r\n3b\r\napiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{"
         "\"name\":\"ck\"\r\n"
         "2\r\n}}\r\n0\r\nTrailer: x\r\n\r\n",
         201, "\"ck\""},
        {"no method", " /version HTTP/1.1\r\nHost: x\r\n\r\n", 400, "character"},
        {"no version", "GET /version\r\nHost: x\r\n\r\n", 400, "request line"},
        {"a blank too many", "GET /version  HTTP/1.1\r\nHost: x\r\n\r\n", 400, "request line"},
        {"HTTP/2", "GET /version HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP/1.1"},
        {"another protocol", "SSH-2.0-OpenSSH\r\n\r\n", 400, "request line"},
        {"an unknown method", "BREW /version HTTP/1.1\r\nHost: x\r\n\r\n", 501, "GET, HEAD"},
        {"no Host", "GET /version HTTP/1.1\r\n\r\n", 400, "Host"},
        {"two Hosts", "GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "Host"},
        {"a proxy's target", "GET http://x/version HTTP/1.1\r\nHost: x\r\n\r\n", 400, "path"},
        {"a fragment", "GET /version#x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "fragment"},
        {"a header without colon", GET_VERSION "Nonsense\r\n\r\n", 400, "colon"},
        {"a blank before the colon", GET_VERSION "Accept : x\r\n\r\n", 400, "name"},
        {"a folded header", GET_VERSION "A: b\r\n c\r\n\r\n", 400, "folded"},
        {"a control character", GET_VERSION "A: b\x01\r\n\r\n", 400, "control"},
        {"a bare LF", "GET /version HTTP/1.1\nHost: x\r\n\r\n", 400, "CR LF"},
        {"both lengths",
         "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         400, "together"},
        {"two lengths",
         "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
         "Content-Length: 2\r\n\r\n",
         400, "Content-Length"},
        {"a negative length", "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
         400, "Content-Length"},
        {"a length with a sign", "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
         400, "Content-Length"},
        {"an endless length",
         "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
         413, "too large"},
        {"an encoding that we have not",
         "POST /version HTTP/1.1\r\nHost: x\r\n"
         "Transfer-Encoding: gzip, chunked\r\n\r\n",
         501, "chunked"},
        {"chunked twice",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         501, "chunked"},
        {"an expectation", GET_VERSION "Expect: a pony\r\n\r\n", 417, "100-continue"},
        {"a bad chunk size",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
         "xyz\r\n",
         400, "hexadecimal"},
        {"a huge chunk",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
         "ffffffffffffffffff\r\n",
         413, "too large"},
        {"a chunk that is longer than it says",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400,
         "longer"},
        {"a chunk with a bare LF",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n", 400,
         "CR LF"},
        {"a bad escape", "GET /api/v1/nodes/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "escape"},
        {"half an escape", "GET /api/v1/nodes/%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "escape"},
        {"an escaped NUL", "GET /api/v1/nodes/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400, "control"},
        {"up and away", "GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400, "segment"},
        {"up, escaped", "GET /api/v1/%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "segment"},
        {"an escaped slash", "GET /api/v1/nodes/a%2fb HTTP/1.1\r\nHost: x\r\n\r\n", 400, "segment"},
        {"an empty segment", "GET /api//v1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "segment"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = api_fixture_connect(f);
        char *answer, line[32];

        api_fixture_send(fd, rows[i].request);
        shutdown(fd, SHUT_WR);
        answer = api_fixture_read(fd, NULL);
        snprintf(line, sizeof(line), "HTTP/1.1 %d ", rows[i].status);
        if (strncmp(answer, line, strlen(line)) != 0 || !strstr(answer, rows[i].says))
            fail_msg("%s: want %d with \"%s\", got:\n%s", rows[i].name, rows[i].status,
                     rows[i].says, answer);
        if (rows[i].status >= 400 && !strstr(answer, "\"kind\":\"Status\""))
            fail_msg("%s: no Status: %s", rows[i].name, answer);
        free(answer);
        close(fd);
    }
    assert_int_equal(api_fixture_get(f, "/version"), 200);
}

/* Every request, cut off after each of its bytes: no answer, or one; never a hang or a crash. */
static void
test_truncated(void **state)
{
    static const char request[] = "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n"
                                  "4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n";
    struct api_fixture *f = *state;

    for (size_t len = 0; len < sizeof(request); len++) {
        int fd = api_fixture_connect(f);
        char *answer;

        assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), len);
        shutdown(fd, SHUT_WR);
        answer = api_fixture_read(fd, NULL);
        assert_int_equal(*answer != '\0', len >= sizeof(request) - 1);
        free(answer);
        close(fd);
    }
    assert_int_equal(api_fixture_get(f, "/version"), 200);
}

/* The same request, one byte a packet. */
static void
test_byte_by_byte(void **state)
{
    static const char request[] =
        "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Content-Length: 62\r\n\r\n"
        "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
        "\"b\"}}";
    struct api_fixture *f = *state;
    int fd = api_fixture_connect(f);
    char *answer;

    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        if (i % 10 == 0)
            assert_int_equal(api_fixture_get(f, "/version"), 200); /* others are served meanwhile */
    }
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 201 Created"));
    free(answer);
    close(fd);
}

static void
test_too_large(void **state)
{
    struct api_fixture *f = *state;
    struct sb big = SB_INIT;
    int fd;
    char *answer;

    /* headers */
    sb_puts(&big, GET_VERSION);
    while (big.len < HTTP_MAX_HEAD_BYTES + 100)
        sb_puts(&big, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    fd = api_fixture_connect(f);
    api_fixture_send(fd, sb_str(&big));
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 431 "));
    free(answer);
    close(fd);

    sb_reset(&big);
    sb_puts(&big, GET_VERSION);
    for (int i = 0; i < HTTP_MAX_HEADERS + 1; i++)
        sb_puts(&big, "A: b\r\n");
    sb_puts(&big, "\r\n");
    fd = api_fixture_connect(f);
    api_fixture_send(fd, sb_str(&big));
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 431 "));
    free(answer);
    close(fd);

    /* one line without an end */
    sb_reset(&big);
    while (big.len < HTTP_MAX_HEAD_BYTES * 2)
        sb_puts(&big, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    fd = api_fixture_connect(f);
    api_fixture_send(fd, sb_str(&big));
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 431 "));
    free(answer);
    close(fd);

    /* a body that says how large it is, and sends it all the same: the answer must arrive */
    sb_reset(&big);
    sb_printf(&big, "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: %u\r\n\r\n",
              HTTP_MAX_BODY_BYTES + 1);
    while (big.len < HTTP_MAX_BODY_BYTES + 1)
        sb_puts(&big, "0123456789012345678901234567890123456789012345678901234567890123456789");
    fd = api_fixture_connect(f);
    api_fixture_send(fd, sb_str(&big));
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 413 "));
    assert_non_null(strstr(answer, "RequestEntityTooLarge"));
    free(answer);
    close(fd);
    sb_done(&big);
    assert_int_equal(api_fixture_get(f, "/version"), 200);
}

/* --- time --- */
static void
test_deadlines(void **state)
{
    static const struct {
        const char *name, *send;
        const char *answer; /* "" when the connection is just cut */
    } rows[] = {
        {"says nothing", "", ""},
        {"half a request line", "GET /ver", ""},
        {"half the headers", GET_VERSION, ""},
        {"half a body", "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", ""},
        {"half a chunk",
         "POST /version HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", ""},
        {"idle after a request", GET_VERSION "\r\n", "HTTP/1.1 200 OK"},
    };
    const struct api_config config = {
        .http = {.head_timeout_ms = 200, .body_timeout_ms = 200, .idle_timeout_ms = 200}};
    struct api_fixture f;

    (void)state;
    api_fixture_open(&f, &config);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = api_fixture_connect(&f);
        char *answer;

        api_fixture_send(fd, rows[i].send);
        answer = api_fixture_read(fd, NULL); /* returns when the server has cut us off */
        if (strncmp(answer, rows[i].answer, strlen(rows[i].answer)) != 0 ||
            (!*rows[i].answer && *answer))
            fail_msg("%s: %s", rows[i].name, answer);
        free(answer);
        close(fd);
    }
    api_fixture_close(&f);
}

/* --- many connections --- */
static void
get_conns(struct api_fixture *f, void *ctx)
{
    *(size_t *)ctx = http_server_conns(f->api->http);
}

static void
test_connection_limit(void **state)
{
    const struct api_config config = {.http = {.max_conns = 8}};
    struct api_fixture f;
    int fds[20];
    size_t n;
    char *answer;

    (void)state;
    api_fixture_open(&f, &config);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = api_fixture_connect(&f);
        api_fixture_send(fds[i], GET_VERSION "\r\n");
    }
    answer = api_fixture_read(fds[0], "gitVersion");
    free(answer);
    api_fixture_do(&f, get_conns, &n);
    assert_true(n <= 8);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) { /* each that goes makes room for one that waits */
        if (i > 0) {
            answer = api_fixture_read(fds[i], "gitVersion");
            assert_non_null(strstr(answer, "200 OK"));
            free(answer);
        }
        close(fds[i]);
    }
    assert_int_equal(api_fixture_get(&f, "/version"), 200);
    api_fixture_close(&f);
}

/* A client that asks much and reads nothing: bounded, and served when it reads. */
static void
test_pipelining_without_reading(void **state)
{
    struct api_fixture *f = *state;
    int fd = api_fixture_connect(f);
    size_t sent = 0, want = 40000, got = 0;
    char *buf = xmalloc(1 << 20);
    const char *one = "GET /apis HTTP/1.1\r\nHost: x\r\n\r\n";

    /* as many as go without blocking */
    for (; sent < want; sent++)
        if (send(fd, one, strlen(one), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)strlen(one))
            break;
    assert_true(sent > 0 && sent < want); /* the server has stopped reading */
    assert_int_equal(api_fixture_get(f, "/version"), 200);
    shutdown(fd, SHUT_WR);
    for (ssize_t n; (n = recv(fd, buf, (1 << 20) - 1, 0)) > 0;) {
        buf[n] = '\0';
        for (char *p = buf; (p = strstr(p, "APIGroupList")); p++)
            got++;
    }
    assert_true(got + 16 >= sent - 1 && got <= sent); /* but for texts torn between two reads */
    free(buf);
    close(fd);
}

/* The client goes before its answer. */
static void
test_gone_before_the_answer(void **state)
{
    struct api_fixture *f = *state;
    size_t n = 0;

    for (int i = 0; i < 50; i++) {
        int fd = api_fixture_connect(f);
        struct linger now = {1, 0};
        char *request = xasprintf("POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\n"
                                  "Content-Length: %d\r\n\r\n"
                                  "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{"
                                  "\"name\":\"g%02d\"}}",
                                  64, i);

        api_fixture_send(fd, request);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(fd);
        free(request);
    }
    assert_int_equal(api_fixture_get(f, "/version"), 200);
    do { /* all of them are forgotten */
        api_fixture_do(f, get_conns, &n);
    } while (n > 1);
}

static void
test_head_and_keep_alive(void **state)
{
    struct api_fixture *f = *state;
    int fd = api_fixture_connect(f);
    char *answer;

    api_fixture_send(fd, "HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n");
    answer = api_fixture_read(fd, "\r\n\r\n");
    assert_non_null(strstr(answer, "Content-Length: "));
    assert_null(strstr(answer, "gitVersion"));
    free(answer);
    api_fixture_send(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                         "Connection: close\r\n\r\n");
    answer = api_fixture_read(fd, NULL);
    assert_non_null(strstr(answer, "\r\n\r\nok"));
    assert_non_null(strstr(answer, "Connection: close"));
    assert_null(strstr(answer, "100 Continue")); /* there is no body to wait for */
    free(answer);
    close(fd);

    fd = api_fixture_connect(f);
    api_fixture_send(fd, "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                         "Expect: 100-continue\r\n\r\n");
    answer = api_fixture_read(fd, "\r\n\r\n");
    assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    free(answer);
    api_fixture_send(fd, "{}");
    answer = api_fixture_read(fd, "Status");
    assert_non_null(strstr(answer, "HTTP/1.1 400 "));
    free(answer);
    close(fd);
}

/* --- where it listens --- */
static void
test_listen(void **state)
{
    static const struct {
        const char *where, *says;
    } rows[] = {
        {"", "unix:PATH or tcp:"},
        {"http://x", "unix:PATH or tcp:"},
        {"unix:", "1 to 107 bytes"},
        {"unix:/nonexistent-dir/x", "No such file"},
        {"tcp:", "numeric"},
        {"tcp:localhost:80", "numeric"},
        {"tcp:127.0.0.1", "numeric"},
        {"tcp:127.0.0.1:99999", "numeric"},
        {"tcp:203.0.113.1:1", "assign"},
        {"unix:/tmp/"
         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
         "23456789012345678901234567890123456789",
         "1 to 107 bytes"},
    };
    struct api_fixture *f = *state;
    struct rest *tcp;
    struct rest_reply rp;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct loop *loop = loop_event_new();
        struct store *st = store_open_mem(loop);
        struct api *a = api_new(loop, st, NULL);

        err = (struct err){0};
        assert_true(api_listen(a, rows[i].where, NULL, 0, &err) < 0);
        if (!strstr(err_msg(&err), rows[i].says))
            fail_msg("%s: %s", rows[i].where, err_msg(&err));
        if (i == 0) { /* where another listens */
            assert_int_equal(api_listen(a, f->url, NULL, 0, &err), -EADDRINUSE);
            assert_non_null(strstr(err_msg(&err), "another process"));
        }
        api_stop(a);
        store_free(st);
        api_free(a);
        loop_free(loop);
    }
    tcp = rest_new(f->tcp_url, &err);
    assert_int_equal(rest_call(tcp, "GET", "/version", NULL, NULL, NULL, 0, &rp, &err), 0);
    assert_int_equal(rp.status, 200);
    rest_reply_done(&rp);
    rest_free(tcp);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_bad_requests),
        T(test_truncated),
        T(test_byte_by_byte),
        T(test_too_large),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_connection_limit),
        T(test_pipelining_without_reading),
        T(test_gone_before_the_answer),
        T(test_head_and_keep_alive),
        T(test_listen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
