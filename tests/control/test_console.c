/* Consoles through the API: a user's WebSocket on one raw connection, the handler's end on another,
 * and what each sees when the other, the VM or a peer does something. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/sb.h"
#include "control/api_call.h"
#include "control/console.h"
#include "proto/websocket.h"
#include "tests/control/api_fixture.h"

#define VMIS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
#define SUB  "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/v/console"
#define VMI                                                            \
    "{\"apiVersion\":\"kubevirt.io/"                                   \
    "v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":" \
    "\"v\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}}"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define HOST    "Host: x\r\n"
#define UPGRADE "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define USER    "GET " SUB " HTTP/1.1\r\n" HOST UPGRADE VERSION KEY
#define TAKE    "GET " SUB "?takeOver=true HTTP/1.1\r\n" HOST UPGRADE VERSION KEY
#define PLAIN   "Sec-WebSocket-Protocol: x, plain.kubevirt.io\r\n"
#define HANDLER HOST "Connection: Upgrade\r\nUpgrade: drover-console\r\n\r\n"

static void
set_status(struct api_fixture *f, const char *phase, const char *node)
{
    AUTO_FREE char *body =
        xasprintf("{\"status\":{\"phase\":\"%s\",\"nodeName\":\"%s\"}}", phase, node);

    assert_int_equal(
        api_fixture_call(f, "PATCH", VMIS "/v/status", "application/merge-patch+json", body), 200);
}

static void
make_vmi(struct api_fixture *f)
{
    api_fixture_create(f, VMIS, VMI);
    set_status(f, "Running", "n1");
}

/* The name of the session that is asked for, once it is another than `old`; "" when old is not ""
 * and there is none any more. */
static void
asked(struct api_fixture *f, const char *old, char id[64])
{
    for (int i = 0; i < 20000; i++) {
        const char *now;

        api_fixture_get(f, VMIS "/v");
        now = tree_find_string(f->body, "", "metadata", "annotations", "drover.io/console-request",
                               NULL);
        if (strcmp(now, old) != 0) {
            snprintf(id, 64, "%s", now);
            return;
        }
    }
    fail_msg("the annotation stays '%s'", old);
}

static int
user(struct api_fixture *f, const char *head)
{
    int fd = api_fixture_connect(f);

    api_fixture_send(fd, head);
    api_fixture_send(fd, "\r\n");
    return fd;
}

static int
handler(struct api_fixture *f, const char *id)
{
    AUTO_FREE char *head = xasprintf("GET " SUB "/backend?session=%s HTTP/1.1\r\n" HANDLER, id);
    int fd = api_fixture_connect(f);

    api_fixture_send(fd, head);
    return fd;
}

/* Reads until the text; the test fails when something else comes. */
static void
want(int fd, const void *text, size_t len)
{
    char buf[1024];
    size_t at = 0;

    assert_true(len <= sizeof(buf));
    while (at < len) {
        ssize_t n = recv(fd, buf + at, len - at, 0);

        if (n <= 0)
            fail_msg("%s after '%.*s'", n == 0 ? "the end" : strerror(errno), (int)at, buf);
        at += (size_t)n;
    }
    if (memcmp(buf, text, len) != 0)
        fail_msg("'%.*s' for '%.*s'", (int)len, buf, (int)len, (const char *)text);
}

#define WANT(fd, text) want(fd, text, sizeof(text) - 1)

static void
want_end(int fd)
{
    char c;

    assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void
want_close(int fd, unsigned status, const char *reason)
{
    uint8_t head[WS_HEAD_MAX], payload[WS_CONTROL_MAX];
    size_t len = ws_close_payload(payload, status, reason);

    want(fd, head, ws_head(head, WS_CLOSE, len, NULL));
    want(fd, payload, len);
    want_end(fd);
}

static void
want_upgraded(int fd)
{
    AUTO_FREE char *head = api_fixture_read(fd, "\r\n\r\n");

    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
        fail_msg("%s", head);
}

static void
send_bytes(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

#define M              "\x11\x22\x33\x44"
#define SEND(fd, text) send_bytes(fd, text, sizeof(text) - 1)

/* Both ends, connected: the user's is *ret_user, the handler's *ret_handler. */
static void
open_both(struct api_fixture *f, int *ret_user, int *ret_handler, char id[64])
{
    *ret_user = user(f, USER PLAIN);
    asked(f, "", id);
    *ret_handler = handler(f, id);
    want_upgraded(*ret_handler);
    want_upgraded(*ret_user);
}

static void
test_both_ways(void **state)
{
    struct api_fixture *f = *state;
    AUTO_FREE char *head = NULL;
    char id[64], none[64];
    int u, h;

    make_vmi(f);
    u = user(f, USER PLAIN);
    asked(f, "", id);
    assert_int_equal(strlen(id), 32);
    h = handler(f, id);
    head = api_fixture_read(h, "\r\n\r\n");
    assert_non_null(strstr(head, "101 Switching Protocols"));
    assert_non_null(strstr(head, "Upgrade: drover-console\r\n"));
    free(head);
    head = api_fixture_read(u, "\r\n\r\n");
    assert_non_null(strstr(head, "101 Switching Protocols"));
    assert_non_null(strstr(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(head, "Sec-WebSocket-Protocol: plain.kubevirt.io\r\n"));
    SEND(h, "login: ");
    WANT(u, "\x82\x07login: ");
    SEND(u, "\x82\x84" M "\x63\x4d\x5c\x30"); /* "root" */
    WANT(h, "root");
    SEND(u, "\x81\x81" M "\x70"); /* "a", as text */
    WANT(h, "a");
    SEND(u, "\x89\x82" M "\x79\x4b"); /* ping "hi" */
    WANT(u, "\x8a\x02hi");
    SEND(u, "\x88\x82" M "\x12\xca"); /* close 1000 */
    want_close(u, WS_NORMAL, "");
    want_end(h);
    asked(f, id, none);
    assert_string_equal(none, "");
    close(u);
    close(h);
}

static void
test_refused_upgrades(void **state)
{
    static const struct {
        const char *name, *request;
        int status;
        const char *says;
    } rows[] = {
        {"no upgrade", "GET " SUB " HTTP/1.1\r\n" HOST, 400, "a console is a WebSocket"},
        {"no Connection", "GET " SUB " HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n" VERSION KEY, 400,
         "a console is a WebSocket"},
        {"another protocol",
         "GET " SUB " HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n" VERSION KEY, 400,
         "a console is a WebSocket"},
        {"no version", "GET " SUB " HTTP/1.1\r\n" HOST UPGRADE KEY, 426,
         "Sec-WebSocket-Version: 13\r\n"},
        {"an old version",
         "GET " SUB " HTTP/1.1\r\n" HOST UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY, 426,
         "Sec-WebSocket-Version: want 13"},
        {"no key", "GET " SUB " HTTP/1.1\r\n" HOST UPGRADE VERSION, 400, "Sec-WebSocket-Key"},
        {"a short key",
         "GET " SUB " HTTP/1.1\r\n" HOST UPGRADE VERSION "Sec-WebSocket-Key: AAAA\r\n", 400,
         "Sec-WebSocket-Key"},
        {"a page of another site", USER "Origin: http://evil.example\r\n", 403, "evil.example"},
        {"a page of nowhere", USER "Origin: null\r\n", 403, "Origin"},
        {"no such VM",
         "GET /apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/w/"
         "console HTTP/1.1\r\n" HOST UPGRADE VERSION KEY,
         404, "not found"},
        {"PUT", "PUT " SUB " HTTP/1.1\r\n" HOST UPGRADE VERSION KEY, 405, "does not allow"},
        {"backend of no session", "GET " SUB "/backend HTTP/1.1\r\n" HOST, 404, "it has ended"},
        {"backend of an old session",
         "GET " SUB "/backend?session=0123 HTTP/1.1\r\n" HOST "Connection: Upgrade\r\n"
         "Upgrade: drover-console\r\n",
         404, "it has ended"},
        {"backend by POST", "POST " SUB "/backend HTTP/1.1\r\n" HOST, 405, "does not allow"},
        {"deeper", "GET " SUB "/backend/x HTTP/1.1\r\n" HOST, 404, "could not find"},
    };
    struct api_fixture *f = *state;

    make_vmi(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *want = xasprintf("HTTP/1.1 %d ", rows[i].status), *text = NULL;
        int fd = api_fixture_connect(f);

        api_fixture_send(fd, rows[i].request);
        api_fixture_send(fd, "\r\n");
        text = api_fixture_read(fd, "}\n");
        if (strncmp(text, want, strlen(want)) != 0 || !strstr(text, rows[i].says))
            fail_msg("%s: %s", rows[i].name, text);
        close(fd);
    }
    set_status(f, "Scheduled", "n1");
    for (int i = 0; i < 2; i++) { /* 400, as upstream: virtctl tries again */
        int fd = user(f, USER);
        AUTO_FREE char *text = api_fixture_read(fd, "}\n");

        assert_non_null(strstr(text, "HTTP/1.1 400 "));
        assert_non_null(strstr(text, "VMI is not running"));
        close(fd);
    }
}

static void
test_one_user_at_a_time(void **state)
{
    struct api_fixture *f = *state;
    AUTO_FREE char *text = NULL;
    char first[64], second[64];
    int u, h, u2, h2;

    make_vmi(f);
    open_both(f, &u, &h, first);
    u2 = user(f, USER);
    text = api_fixture_read(u2, "}\n");
    assert_non_null(strstr(text, "HTTP/1.1 409 "));
    assert_non_null(strstr(text, "its console is in use"));
    close(u2);
    SEND(h, "still");
    WANT(u, "\x82\x05still");
    u2 = user(f, TAKE);
    want_close(u, WS_GOING_AWAY, "another user has taken the console over");
    want_end(h);
    asked(f, first, second);
    if (!*second) /* between the two */
        asked(f, "", second);
    h2 = handler(f, second);
    want_upgraded(h2);
    want_upgraded(u2);
    SEND(h2, "new");
    WANT(u2, "\x82\x03new");
    close(u);
    close(h);
    close(u2);
    want_end(h2);
    close(h2);
}

static void
test_vm_ends_or_moves(void **state)
{
    static const struct {
        const char *phase, *node;
        unsigned status;
        const char *reason;
    } rows[] = {
        {"Succeeded", "n1", WS_GOING_AWAY, "the VM has stopped: its phase is Succeeded"},
        {"Running", "n2", WS_SERVICE_RESTART, "the VM has moved to node n2"},
    };
    struct api_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int handler_first = 0; handler_first <= 1; handler_first++) {
            char id[64];
            int u, h;

            make_vmi(f);
            open_both(f, &u, &h, id);
            if (handler_first) { /* its guest has gone; what it said last still arrives */
                SEND(h, "bye");
                close(h);
                WANT(u, "\x82\x03"
                        "bye");
            }
            set_status(f, rows[i].phase, rows[i].node);
            want_close(u, rows[i].status, rows[i].reason);
            if (!handler_first) {
                want_end(h);
                close(h);
            }
            close(u);
            api_fixture_call(f, "DELETE", VMIS "/v", NULL, NULL);
        }
    }
}

/* Nothing says why: after a while the user is told what is known. */
static void
test_handler_goes(void **state)
{
    struct api_fixture f;
    char id[64];
    int u, h;

    (void)state;
    api_fixture_open(&f, &(struct api_config){.console_why_ms = 20});
    make_vmi(&f);
    open_both(&f, &u, &h, id);
    close(h);
    want_close(u, WS_GOING_AWAY, "node n1 has closed the console");
    close(u);
    /* and the next one finds it free */
    asked(&f, id, id);
    open_both(&f, &u, &h, id);
    close(u);
    want_end(h);
    close(h);
    api_fixture_close(&f);
}

static void
test_handler_refuses(void **state)
{
    static const struct {
        const char *body;
        int status;
        const char *user; /* NULL: the user still waits */
    } rows[] = {
        {"{}", 400, NULL},
        {"{\"code\":200,\"message\":\"x\"}", 400, NULL},
        {"{\"code\":501}", 400, NULL},
        {"[]", 400, NULL},
        {"{\"code\":501,\"message\":\"native guests have no console\"}", 200, "HTTP/1.1 501 "},
    };
    struct api_fixture *f = *state;
    AUTO_FREE char *path = NULL, *text = NULL;
    char id[64];
    int u;

    make_vmi(f);
    u = user(f, USER);
    asked(f, "", id);
    path = xasprintf(SUB "/backend?session=%s", id);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(api_fixture_call(f, "PUT", path, NULL, rows[i].body), rows[i].status);
        if (rows[i].user)
            text = api_fixture_read(u, "}\n");
    }
    assert_non_null(strstr(text, "HTTP/1.1 501 "));
    assert_non_null(strstr(text, "console of default/v: native guests have no console"));
    close(u);
    assert_int_equal(api_fixture_call(f, "PUT", path, NULL, rows[4].body), 404);
}

static void
test_handler_does_not_answer(void **state)
{
    struct api_fixture f;
    AUTO_FREE char *text = NULL;
    int u;

    (void)state;
    api_fixture_open(&f, &(struct api_config){.console_connect_ms = 20});
    make_vmi(&f);
    u = user(&f, USER);
    text = api_fixture_read(u, "}\n");
    assert_non_null(strstr(text, "HTTP/1.1 504 "));
    assert_non_null(strstr(text, "the handler of node n1 did not answer within 20 ms"));
    close(u);
    api_fixture_close(&f);
}

/* A user's end that answers no pings is gone; one that does stays. */
static void
test_pings(void **state)
{
    struct api_fixture f;
    char id[64];
    int u, h;

    (void)state;
    api_fixture_open(&f, &(struct api_config){.console_ping_ms = 100});
    make_vmi(&f);
    open_both(&f, &u, &h, id);
    for (int i = 0; i < 5; i++) {
        WANT(u, "\x89\0");
        SEND(u, "\x8a\x80" M);
    }
    want_end(h);
    close(u);
    close(h);
    api_fixture_close(&f);
}

static void
test_bad_frames(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        unsigned status;
        const char *reason;
    } rows[] = {
        {"\x82\x04root", 6, WS_PROTOCOL_ERROR, "a client's frame is not masked"},
        {"\x82\xff\0\0\0\0\xff\xff\xff\xff" M, 14, WS_TOO_BIG, "a frame is longer than 1 MiB"},
        {"\x83\x80" M, 6, WS_PROTOCOL_ERROR, "a frame has a reserved opcode"},
    };
    struct api_fixture *f = *state;

    make_vmi(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char id[64], none[64];
        int u, h;

        open_both(f, &u, &h, id);
        send_bytes(u, rows[i].bytes, rows[i].len);
        want_close(u, rows[i].status, rows[i].reason);
        want_end(h);
        close(u);
        close(h);
        asked(f, id, none);
    }
}

/* A user who does not read: the handler is not read from either, nothing is lost, and others are
 * served. The same the other way round. */
static void
test_slow_ends(void **state)
{
    struct api_fixture *f = *state;
    static char chunk[4096];
    char id[64];
    int u, h;

    make_vmi(f);
    open_both(f, &u, &h, id);
    for (int to_user = 1; to_user >= 0; to_user--) {
        int from = to_user ? h : u, to = to_user ? u : h;
        size_t sent = 0, got = 0;
        struct pollfd p = {.fd = from, .events = POLLOUT};
        struct ws_reader r;

        /* kernels' buffers and ours are full when nothing has been taken for a while */
        while (poll(&p, 1, 200) == 1 && sent < (64u << 20)) {
            uint8_t frame[6 + 64] = "\x82\xc0" M;
            size_t n = to_user ? sizeof(chunk) : 64;

            for (size_t i = 0; i < n; i++)
                chunk[i] = (char)((sent + i) * 7);
            if (!to_user) {
                memcpy(frame + 6, chunk, n);
                ws_mask(frame + 6, n, (const uint8_t *)M, 0);
                memcpy(chunk, frame, n += 6);
            }

            ssize_t done = send(from, chunk, n, MSG_NOSIGNAL | MSG_DONTWAIT);

            if (done < 0)
                break;
            if (!to_user && (size_t)done < n) /* the rest of the frame, whatever it takes */
                break;
            sent += to_user ? (size_t)done : n - 6;
        }
        assert_true(sent > 0 && sent < (64u << 20));
        assert_int_equal(api_fixture_get(f, VMIS "/v"), 200);
        ws_reader_init(&r, false);
        while (got < sent) {
            uint8_t buf[8192];
            ssize_t n = recv(to, buf, sizeof(buf), 0);

            assert_true(n > 0);
            for (size_t at = 0; at < (size_t)n;) {
                struct ws_event ev = {.data = buf, .len = (size_t)n};
                size_t used = (size_t)n;
                unsigned status;

                if (to_user)
                    assert_int_equal(
                        ws_read(&r, buf + at, (size_t)n - at, &used, &ev, &status, NULL), 0);
                at += used;
                for (size_t i = 0; i < ev.len; i++)
                    if ((char)ev.data[i] != (char)((got + i) * 7))
                        fail_msg("byte %zu differs", got + i);
                got += ev.len;
            }
        }
    }
    close(u);
    close(h);
}

static void
test_user_gives_up(void **state)
{
    struct api_fixture *f = *state;
    AUTO_FREE char *path = NULL;
    char id[64];
    int u, h;

    make_vmi(f);
    u = user(f, USER);
    asked(f, "", id);
    close(u);
    h = handler(f, id); /* in time, or too late */
    free(api_fixture_read(h, "\r\n\r\n"));
    close(h);
    asked(f, id, id);
    assert_string_equal(id, "");
}

static void
start_again(struct api_fixture *f, void *ctx)
{
    (void)ctx;
    consoles_stop(f->api->consoles);
    consoles_free(f->api->consoles);
    f->api->consoles = consoles_new(f->api);
}

/* What a controller that was killed has left is no request. */
static void
test_left_over(void **state)
{
    struct api_fixture *f = *state;
    char id[64];

    make_vmi(f);
    api_fixture_call(f, "PATCH", VMIS "/v", "application/merge-patch+json",
                     "{\"metadata\":{\"annotations\":{\"drover.io/console-request\":\"0123\"}}}");
    api_fixture_do(f, start_again, NULL);
    asked(f, "0123", id);
    assert_string_equal(id, "");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_both_ways),
        T(test_refused_upgrades),
        T(test_one_user_at_a_time),
        T(test_vm_ends_or_moves),
        cmocka_unit_test(test_handler_goes),
        T(test_handler_refuses),
        cmocka_unit_test(test_handler_does_not_answer),
        cmocka_unit_test(test_pings),
        T(test_bad_frames),
        T(test_slow_ends),
        T(test_user_gives_up),
        T(test_left_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
