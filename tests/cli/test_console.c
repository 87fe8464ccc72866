/* drover console against a server that speaks WebSocket as the row says: off a terminal, through
 * pipes, and on one, through a pseudo-terminal. The verb runs in a child. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "proto/websocket.h"

#define JSON(status, text, body)                                                       \
    "HTTP/1.1 " status " x\r\nContent-Type: application/json\r\nContent-Length: " text \
    "\r\n\r\n" body

struct world {
    char dir[64], url[96];
    int listener, fd; /* fd: the connection that is served */
    int in, out;      /* our ends of the child's input and output */
    char err_path[96];
    pid_t child;
    struct ws_reader ws;
    struct sb request;
};

static void
begin(struct world *w)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct timeval tv = {20, 0};

    signal(SIGPIPE, SIG_IGN);
    *w = (struct world){.fd = -1, .request = SB_INIT};
    snprintf(w->dir, sizeof(w->dir), "/tmp/drover-console-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->url, sizeof(w->url), "unix:%s/api.sock", w->dir);
    snprintf(w->err_path, sizeof(w->err_path), "%s/err", w->dir);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->url + 5);
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(w->listener, 4), 0);
    setsockopt(w->listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)); /* of accept */
}

/* The child's end of everything is in, out, and the file err. */
static void
run_verb(struct world *w, int in, int out, const char *option, const char *value)
{
    char option_copy[32], value_copy[32];
    char *argv[] = {"console", "vm1", "-n", "shop", "-s", w->url, option_copy, value_copy, NULL};
    int argc = !option ? 6 : !value ? 7 : 8;

    snprintf(option_copy, sizeof(option_copy), "%s", option ? option : "");
    snprintf(value_copy, sizeof(value_copy), "%s", value ? value : "");
    fflush(NULL);
    w->child = fork();
    assert_true(w->child >= 0);
    if (w->child == 0) {
        int err = open(w->err_path, O_CREAT | O_WRONLY, 0600);

        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        close(w->in);
        close(w->out);
        close(w->listener);
        int code = verb_console(argc, argv);

        fflush(NULL);
        _exit(code);
    }
    close(in);
    close(out);
}

static void
through_pipes(struct world *w, const char *option, const char *value)
{
    int in[2], out[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    w->in = in[1];
    w->out = out[0];
    run_verb(w, in[0], out[1], option, value);
}

static void
put(int fd, const void *data, size_t len)
{
    assert_int_equal(write(fd, data, len), len);
}
#define PUT(fd, text) put(fd, text, sizeof(text) - 1)

/* Takes a connection, reads its request, and answers with text, or, NULL, upgrades it. */
static void
serve(struct world *w, const char *text)
{
    struct timeval tv = {20, 0};
    const char *key;
    char accepted[WS_ACCEPT_SIZE];

    if (w->fd >= 0)
        close(w->fd);
    w->fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(w->fd >= 0);
    setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    sb_done(&w->request);
    while (!strstr(sb_str(&w->request), "\r\n\r\n")) {
        char c;

        assert_int_equal(recv(w->fd, &c, 1, 0), 1);
        sb_putc(&w->request, c);
    }
    if (text) {
        put(w->fd, text, strlen(text));
        return;
    }
    key = strstr(w->request.buf, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    assert_non_null(strstr(w->request.buf, "Sec-WebSocket-Protocol: plain.kubevirt.io\r\n"));
    assert_non_null(strstr(w->request.buf, "Sec-WebSocket-Version: 13\r\n"));
    ws_accept(key + 19, accepted);
    PUT(w->fd, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ");
    put(w->fd, accepted, strlen(accepted));
    PUT(w->fd, "\r\n\r\n");
    ws_reader_init(&w->ws, true);
}

/* Reads frames until what they say is `text` ("[close 1000]" for a close, "[pong x]"). */
static void
want_frames(struct world *w, const char *text)
{
    AUTO_SB struct sb got = SB_INIT;

    while (strcmp(sb_str(&got), text) != 0) {
        uint8_t c;
        struct ws_event ev;
        unsigned status;
        size_t used;
        ssize_t n = recv(w->fd, &c, 1, 0);

        if (n != 1 || got.len > strlen(text))
            fail_msg("%s after '%s' for '%s'", n == 0 ? "the end" : "more", sb_str(&got), text);
        assert_int_equal(ws_read(&w->ws, &c, 1, &used, &ev, &status, NULL), 0);
        if (ev.kind == WS_EVENT_DATA)
            sb_add(&got, ev.data, ev.len);
        else if (ev.kind == WS_EVENT_PONG)
            sb_printf(&got, "[pong %.*s]", (int)ev.len, (const char *)ev.data);
        else if (ev.kind == WS_EVENT_CLOSE)
            sb_printf(&got, "[close %u]", ev.status);
    }
}

static void
want_out(struct world *w, const char *text)
{
    char buf[256] = "";
    size_t at = 0;

    while (at < strlen(text)) {
        ssize_t n = read(w->out, buf + at, strlen(text) - at);

        if (n <= 0)
            fail_msg("the end after '%s'", buf);
        at += (size_t)n;
    }
    assert_string_equal(buf, text);
}

static void
finish(struct world *w, int want_exit, const char *want_err)
{
    AUTO_FREE char *err = NULL;
    size_t len;
    int status;

    assert_int_equal(waitpid(w->child, &status, 0), w->child);
    assert_int_equal(fs_read_all(w->err_path, 1 << 16, &err, &len, NULL), 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want_exit || !strstr(err, want_err))
        fail_msg("status %x, '%s'", status, err);
    close(w->in);
    close(w->out);
    close(w->fd);
    close(w->listener);
    sb_done(&w->request);
    fs_rmtree(w->dir, NULL);
}

static void
test_pipes(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, NULL, NULL);
    serve(&w, NULL);
    assert_true(strncmp(w.request.buf,
                        "GET /apis/subresources.kubevirt.io/v1/namespaces/shop/"
                        "virtualmachineinstances/vm1/console HTTP/1.1\r\n",
                        90) == 0);
    PUT(w.in, "ls\x1d\n"); /* ^] is a byte like others here */
    want_frames(&w, "ls\x1d\n");
    PUT(w.fd, "\x82\x03"
              "a b");
    want_out(&w, "a b");
    PUT(w.fd, "\x89\x02hi");
    want_frames(&w, "[pong hi]");
    close(w.in);
    w.in = -1;
    PUT(w.fd, "\x82\x04more"); /* the input's end is not the console's */
    want_out(&w, "more");
    PUT(w.fd, "\x88\x0d\x03\xe9the VM ended");
    finish(&w, 1, "drover console: shop/vm1: the VM ende");
}

static void
test_for(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, "--for", "100ms");
    serve(&w, NULL);
    want_frames(&w, "[close 1000]");
    finish(&w, 0, "Connected to the console of shop/vm1\n");
}

static void
test_signal(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, NULL, NULL);
    serve(&w, NULL);
    PUT(w.fd, "\x82\x02ok");
    want_out(&w, "ok"); /* it is in the middle of it */
    kill(w.child, SIGTERM);
    want_frames(&w, "[close 1000]");
    finish(&w, 0, "");
}

static void
test_nobody_reads(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, NULL, NULL);
    serve(&w, NULL);
    close(w.out);
    w.out = -1;
    PUT(w.fd, "\x82\x02ok");
    want_frames(&w, "[close 1000]");
    finish(&w, 0, "");
}

/* What the controller, or somebody else, says instead. */
static void
test_refusals(void **state)
{
    static const struct {
        const char *name, *answer;
        int exit_code;
        const char *says;
    } rows[] = {
        {"in use", JSON("409", "37", "{\"message\":\"its console is in use\"}\n\n"), 1,
         "shop/vm1: its console is in use; --take-over disconnects its user"},
        {"no console", JSON("501", "40", "{\"message\":\"native guests have none now\"}\n"), 1,
         "native guests have none now"},
        {"no JSON", JSON("500", "2", "no"), 1, "500"},
        {"a proxy that knows no better", JSON("200", "2", "{}"), 1, "200"},
        {"an answer to another", "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", 1,
         "the answer is not to our WebSocket request"},
        {"masked, as a server never sends", NULL, 1, "a server's frame is masked"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;

        begin(&w);
        through_pipes(&w, NULL, NULL);
        serve(&w, rows[i].answer);
        if (!rows[i].answer)
            PUT(w.fd, "\x82\x81\1\2\3\4x");
        finish(&w, rows[i].exit_code, rows[i].says);
    }
}

static void
test_waits(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, "--timeout", "1us");
    serve(&w, JSON("400", "32", "{\"message\":\"VMI is not running\"}"));
    finish(&w, 2, "drover console: shop/vm1: ");
    begin(&w);
    through_pipes(&w, NULL, NULL);
    for (int i = 0; i < 3; i++)
        serve(&w, JSON("400", "32", "{\"message\":\"VMI is not running\"}"));
    serve(&w, NULL);
    PUT(w.fd, "\x88\x02\x03\xe8");
    finish(&w, 1, "Waiting for VM shop/vm1 to run\nConnected to");
}

static void
test_moves(void **state)
{
    struct world w;

    (void)state;
    begin(&w);
    through_pipes(&w, NULL, NULL);
    serve(&w, NULL);
    PUT(w.fd, "\x82\x01"
              "a\x88\x06\x03\xf4n2!!");
    serve(&w, NULL);
    PUT(w.in, "x");
    want_frames(&w, "x");
    PUT(w.fd, "\x82\x01"
              "b");
    want_out(&w, "ab");
    kill(w.child, SIGTERM);
    finish(&w, 0, "shop/vm1: n2!!: connecting again\n");
}

static void
test_terminal(void **state)
{
    struct world w;
    struct termios t;
    int master, slave;

    (void)state;
    begin(&w);
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    w.in = dup(master);
    w.out = dup(master);
    run_verb(&w, dup(slave), dup(slave), NULL, NULL);
    serve(&w, NULL);
    PUT(w.fd, "\x82\x02\r\n");
    want_out(&w, "\r\n"); /* connected, and raw: no \r\r\n */
    assert_int_equal(tcgetattr(slave, &t), 0);
    assert_int_equal(t.c_lflag & (ICANON | ECHO | ISIG), 0);
    PUT(w.in, "\x03\x04x"); /* ^C and ^D are the guest's */
    want_frames(&w, "\x03\x04x");
    PUT(w.in, "y\x1dz");
    want_frames(&w, "y[close 1000]");
    finish(&w, 0, "Connected to the console of shop/vm1; ^] leaves it\n");
    assert_int_equal(tcgetattr(slave, &t), 0);
    assert_int_equal(t.c_lflag & (ICANON | ECHO | ISIG), ICANON | ECHO | ISIG);
    close(slave);
    close(master);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipes),    cmocka_unit_test(test_for),
        cmocka_unit_test(test_signal),   cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_waits),
        cmocka_unit_test(test_moves),    cmocka_unit_test(test_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
