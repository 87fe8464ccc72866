/* The client of QEMU's machine protocol, against a peer that plays QEMU from a script. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/bench_qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define OK       "{\"return\": {}}\n"

struct script {
    const char *greeting;
    const char *answers[3]; /* one a request; NULL = closes */
    int listener;
    char path[64];
    pthread_t thread;
};

static void *
play(void *arg)
{
    const struct script *s = arg;
    AUTO_FD int fd = accept(s->listener, NULL, NULL);
    char buf[4096];

    if (fd < 0 || send(fd, s->greeting, strlen(s->greeting), MSG_NOSIGNAL) < 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(s->answers) && s->answers[i]; i++) {
        if (recv(fd, buf, sizeof buf, 0) <= 0 ||
            send(fd, s->answers[i], strlen(s->answers[i]), MSG_NOSIGNAL) < 0)
            return NULL;
    }
    return NULL;
}

static int
connect_to(struct script *s, struct bench_qmp **ret, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    AUTO_FD int self = pidfd_open(getpid(), 0);

    snprintf(s->path, sizeof s->path, "/tmp/test-qmp-%d", (int)getpid());
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", s->path);
    unlink(s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, play, s), 0);
    return bench_qmp_connect(s->path, self, 5000000, ret, err);
}

static void
end(struct script *s, struct bench_qmp *q)
{
    bench_qmp_free(q);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
}

static void
test_answer_behind_events(void **state)
{
    struct script s = {.greeting = GREETING,
                       .answers = {OK, "{\"event\": \"STOP\", \"timestamp\": {}}\n{\"event\": "
                                       "\"RESUME\"}\n{\"return\": {\"status\": \"active\"}}\n"}};
    struct bench_qmp *q = NULL;
    AUTO_TREE struct tree *t = NULL;
    struct tree *args = tree_map();

    (void)state;
    assert_int_equal(connect_to(&s, &q, NULL), 0);
    tree_set(args, "uri", tree_string("tcp:x"));
    assert_int_equal(bench_qmp_call(q, "query-migrate", args, &t, NULL), 0);
    assert_string_equal(tree_get_string(tree_get(t, "status"), ""), "active");
    end(&s, q);
}

static void
test_refused(void **state)
{
    struct script s = {
        .greeting = GREETING,
        .answers = {OK, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not so\"}}\n"}};
    struct bench_qmp *q = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(connect_to(&s, &q, NULL), 0);
    assert_int_equal(bench_qmp_call(q, "migrate", NULL, NULL, &err), -EIO);
    assert_string_equal(err_msg(&err), "QEMU: migrate: not so");
    end(&s, q);
}

static void
test_ends(void **state)
{
    struct script s = {.greeting = GREETING, .answers = {OK}};
    struct bench_qmp *q = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(connect_to(&s, &q, NULL), 0);
    assert_true(bench_qmp_call(q, "migrate", NULL, NULL, &err) < 0);
    assert_non_null(strstr(err_msg(&err), "QEMU ended"));
    end(&s, q);
}

static void
test_no_json(void **state)
{
    struct script s = {.greeting = "hello\n"};
    struct bench_qmp *q = NULL;

    (void)state;
    assert_true(connect_to(&s, &q, NULL) < 0);
    assert_null(q);
    end(&s, NULL);
}

static void
test_nobody(void **state)
{
    AUTO_FD int self = pidfd_open(getpid(), 0);
    struct bench_qmp *q = NULL;
    struct err err = {0};

    (void)state;
    assert_true(bench_qmp_connect("/tmp/test-qmp-nobody", self, 20000, &q, &err) < 0);
    assert_string_equal(err_msg(&err), "QEMU does not start");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_behind_events), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ends), cmocka_unit_test(test_no_json), cmocka_unit_test(test_nobody)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
