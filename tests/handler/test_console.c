/* The handler's end of a console: a guest that is one end of a socket pair, and a controller that
 * says what the row says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/console.h"

#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\nUpgrade: drover-console\r\n\r\n"

struct world {
    char dir[64], url[96];
    struct loop *l;
    struct console *c;
    int guest; /* what the guest's driver has */
    int listener, controller;
    bool ended;
    struct err why;
};

static void
on_done(void *ctx, const struct err *why)
{
    struct world *w = ctx;

    w->ended = true;
    w->why = *why;
    loop_stop(w->l);
}

static void
start(struct world *w)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int pair[2];

    signal(SIGPIPE, SIG_IGN);
    *w = (struct world){.l = loop_event_new(), .controller = -1};
    snprintf(w->dir, sizeof(w->dir), "/tmp/drover-console-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->url, sizeof(w->url), "unix:%s/api.sock", w->dir);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->url + 5);
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(w->listener, 1), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->guest = pair[0];
    w->c = console_start(w->l, w->url, "/x?session=0123", pair[1], on_done, w);
}

/* The controller takes the connection, reads the request and says something. */
static void
answer(struct world *w, const char *text)
{
    char head[4096];
    size_t len = 0;

    w->controller = accept(w->listener, NULL, NULL);
    assert_true(w->controller >= 0);
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len < sizeof(head));
        assert_int_equal(recv(w->controller, head + len, 1, 0), 1);
        len++;
    }
    head[len - 1] = '\0';
    assert_true(strncmp(head, "GET /x?session=0123 HTTP/1.1\r\n", 30) == 0);
    assert_non_null(strstr(head, "\r\nUpgrade: drover-console\r\n"));
    assert_non_null(strstr(head, "\r\nConnection: Upgrade\r\n"));
    assert_int_equal(send(w->controller, text, strlen(text), 0), strlen(text));
}

static void
want_end(int fd)
{
    char c;

    assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void
finish(struct world *w)
{
    if (!w->ended)
        loop_run(w->l);
    assert_true(w->ended);
    want_end(w->guest); /* free for the next one */
    close(w->guest);
    close(w->controller);
    close(w->listener);
    loop_free(w->l);
    fs_rmtree(w->dir, NULL);
}

static void
want(int fd, const char *text)
{
    char buf[256] = "";
    size_t len = strlen(text);

    assert_int_equal(recv(fd, buf, len, MSG_WAITALL), len);
    assert_memory_equal(buf, text, len);
}

static void
test_both_ways(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    answer(&w, UPGRADED "early");
    want(w.guest, "early");
    assert_int_equal(send(w.guest, "login: ", 7, 0), 7);
    want(w.controller, "login: ");
    assert_int_equal(send(w.controller, "root\n", 5, 0), 5);
    want(w.guest, "root\n");
    /* the guest ends: what it said last arrives, and then its end */
    assert_int_equal(send(w.guest, "bye", 3, 0), 3);
    shutdown(w.guest, SHUT_RDWR);
    want(w.controller, "bye");
    want_end(w.controller);
    finish(&w);
    assert_int_equal(w.why.code, 0);
}

static void
test_ends(void **state)
{
    static const struct {
        const char *name, *answer;
        bool stop, hang_up;
        int code;
        const char *says;
    } rows[] = {
        {"the controller goes", UPGRADED, false, true, 0, ""},
        {"we end it", UPGRADED "x", true, false, 0, ""},
        {"we end it before it began", "", true, false, -ECANCELED, "stopped"},
        {"the session was over",
         "HTTP/1.1 404 Not Found\r\nContent-Length: 44\r\n\r\n"
         "{\"message\":\"no such console session: ended\"}\n",
         false, false, -ENOENT, "no such console session: ended"},
        {"not HTTP", "SSH-2.0-x\r\n\r\n", false, false, -EPROTO, "not HTTP/1.1"},
        {"half an answer", "HTTP/1.1 101 Sw", false, true, -ECONNRESET, "closed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;

        start(&w);
        answer(&w, rows[i].answer);
        if (rows[i].hang_up)
            shutdown(w.controller, SHUT_RDWR);
        if (rows[i].stop) {
            if (*rows[i].answer)
                want(w.guest, "x"); /* it has begun */
            console_stop(w.c);
        }
        finish(&w);
        if (w.why.code != rows[i].code || !strstr(err_msg(&w.why), rows[i].says))
            fail_msg("%s: %d %s", rows[i].name, w.why.code, err_msg(&w.why));
    }
}

/* Nobody is there: no thread, no descriptor stays. */
static void
test_no_controller(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    close(accept(w.listener, NULL, NULL));
    finish(&w);
    assert_true(w.why.code == -ECONNRESET || w.why.code == -EPIPE); /* before or after we asked */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_no_controller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
