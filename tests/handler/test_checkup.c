/* The two ends of a network checkup against each other, and each against a peer that lies, is
 * silent or floods. More wrong than right. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/checkup_source.h"
#include "handler/checkup_target.h"
#include "handler/checkup_wire.h"
#include "migrate/xport.h"

/* --- a target that runs --- */

struct end {
    struct checkup_target *t;
    pthread_t thread;
    int rc;
    struct err err;
};

static void *
run_target(void *ctx)
{
    struct end *e = ctx;

    e->rc = checkup_target_run(e->t, &e->err);
    return NULL;
}

static int
start_on(struct end *e, const char *ip, uint64_t timeout_us)
{
    struct checkup_target_config cfg = {.timeout_us = timeout_us, .hello_us = 200000};
    int rc;

    *e = (struct end){0};
    snprintf(cfg.ip, sizeof cfg.ip, "%s", ip);
    rc = checkup_target_new(&cfg, &e->t, &e->err);
    if (rc == 0)
        assert_int_equal(pthread_create(&e->thread, NULL, run_target, e), 0);
    return rc;
}

static void
start(struct end *e, uint64_t timeout_us)
{
    assert_int_equal(start_on(e, "127.0.0.1", timeout_us), 0);
}

static int
finish(struct end *e)
{
    pthread_join(e->thread, NULL);
    checkup_target_free(e->t);
    return e->rc;
}

static struct checkup_source_config
source_config(const char *addr, const char *nonce)
{
    struct checkup_source_config c = {
        .sample_us = 50000, .bandwidth_us = 200000, .streams = 2, .cancel_fd = -1};

    snprintf(c.target_addr, sizeof c.target_addr, "%s", addr);
    snprintf(c.nonce, sizeof c.nonce, "%s", nonce);
    return c;
}

/* state: the address of both ends. */
static void
test_whole(void **state)
{
    struct checkup_source_config c;
    struct checkup_result r;
    struct err err = {0};
    struct end e;

    if (start_on(&e, *state, 60000000) != 0) {
        print_message("needs IPv6 on lo: %s\n", err_msg(&e.err));
        skip();
    }
    c = source_config(checkup_target_address(e.t), checkup_target_nonce(e.t));
    assert_int_equal(checkup_source_measure(&c, &r, &err), 0);
    assert_int_equal(finish(&e), 0);
    assert_true(r.min_ns > 0 && r.min_ns <= r.avg_ns && r.avg_ns <= r.max_ns);
    assert_true(r.p99_ns >= r.min_ns && r.p99_ns <= r.max_ns);
    assert_in_range(r.samples, 2, 51);
    assert_true(r.measured_us >= 45000);
    assert_true(r.bandwidth_bytes_per_s > 1000000);
    assert_int_equal(r.streams, 2);
    assert_int_equal(r.path_mtu_bytes, 65535); /* of lo, as far as an IP packet goes */
}

/* --- strangers at the target --- */

static int
dial(const struct end *e)
{
    const struct xport_dial d = {.addr = checkup_target_address(e->t),
                                 .local_ip = "",
                                 .device = "",
                                 .timeout_us = 5000000,
                                 .user_timeout_us = 5000000,
                                 .cancel_fd = -1};
    struct err err = {0};
    uint64_t rtt;
    int fd;

    assert_int_equal(xport_dial(&d, &fd, &rtt, &err), 0);
    return fd;
}

static int
say(const struct end *e, uint16_t role)
{
    const struct checkup_msg m = {.type = role};
    uint8_t buf[CHECKUP_HELLO_SIZE];
    int fd = dial(e);

    checkup_hello_encode(buf, &m, checkup_target_nonce(e->t));
    assert_int_equal(send(fd, buf, sizeof buf, MSG_NOSIGNAL), sizeof buf);
    return fd;
}

/* True when it answers with a message of that type; false when it closes without a byte. */
static bool
answers(int fd, uint16_t type)
{
    uint8_t buf[CHECKUP_MSG_SIZE];
    struct checkup_msg m;
    size_t len = 0;
    ssize_t n = 1;

    while (len < sizeof buf && n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&p, 1, 10000), 1);
        n = recv(fd, buf + len, sizeof buf - len, 0);
        len += n > 0 ? (size_t)n : 0;
    }
    if (len == 0)
        return false;
    assert_int_equal(len, sizeof buf);
    assert_true(checkup_msg_decode(buf, &m));
    return m.type == type;
}

enum damage { NONE, MAGIC, VERSION, NONCE_FIRST, NONCE_LAST, ZEROS, SHORT };

static const struct stranger {
    const char *name;
    uint16_t role;
    enum damage damage;
    bool beside_control; /* a control connection is there before it */
    bool accepted;
} strangers[] = {
    {"a control connection", CHECKUP_HELLO_CONTROL, NONE, false, true},
    {"a stream beside it", CHECKUP_HELLO_STREAM, NONE, true, true},
    {"a stream alone", CHECKUP_HELLO_STREAM, NONE, false, false},
    {"a second control connection", CHECKUP_HELLO_CONTROL, NONE, true, false},
    {"role 0", 0, NONE, false, false},
    {"role 65535", 65535, NONE, false, false},
    {"a role that is an answer", CHECKUP_READY, NONE, false, false},
    {"another protocol", CHECKUP_HELLO_CONTROL, MAGIC, false, false},
    {"another version", CHECKUP_HELLO_CONTROL, VERSION, false, false},
    {"the nonce's first digit", CHECKUP_HELLO_CONTROL, NONCE_FIRST, false, false},
    {"the nonce's last digit", CHECKUP_HELLO_CONTROL, NONCE_LAST, false, false},
    {"a stream with another nonce", CHECKUP_HELLO_STREAM, NONCE_LAST, true, false},
    {"zeros", 0, ZEROS, false, false},
    {"half a HELLO, then silence", CHECKUP_HELLO_CONTROL, SHORT, false, false},
};

static void
test_stranger(void **state)
{
    const struct stranger *row = *state;
    const struct checkup_msg m = {.type = row->role};
    uint8_t buf[CHECKUP_HELLO_SIZE];
    struct end e;
    int fd, control = -1;

    start(&e, 60000000);
    if (row->beside_control) {
        control = say(&e, CHECKUP_HELLO_CONTROL);
        assert_true(answers(control, CHECKUP_READY));
    }
    checkup_hello_encode(buf, &m, checkup_target_nonce(e.t));
    if (row->damage == MAGIC)
        buf[0] ^= 1;
    if (row->damage == VERSION)
        buf[4]++;
    if (row->damage == NONCE_FIRST)
        buf[CHECKUP_MSG_SIZE] ^= 1;
    if (row->damage == NONCE_LAST)
        buf[CHECKUP_HELLO_SIZE - 1] ^= 1;
    if (row->damage == ZEROS)
        memset(buf, 0, sizeof buf);
    fd = dial(&e);
    assert_true(send(fd, buf, row->damage == SHORT ? 20 : sizeof buf, MSG_NOSIGNAL) > 0);
    assert_int_equal(answers(fd, CHECKUP_READY), row->accepted);
    if (control >= 0) { /* still served, whatever the other one was */
        checkup_msg_encode(buf, &(struct checkup_msg){.type = CHECKUP_ECHO, .seq = 7});
        assert_int_equal(send(control, buf, CHECKUP_MSG_SIZE, MSG_NOSIGNAL), CHECKUP_MSG_SIZE);
        assert_true(answers(control, CHECKUP_ECHO));
        close(control);
    } else {
        checkup_target_stop(e.t);
    }
    close(fd);
    assert_int_equal(finish(&e), row->beside_control ? 0 : -ECANCELED);
}

/* A flood of silent connections does not keep the source out, nor does it cost more than places. */
static void
test_flood(void **state)
{
    int fds[200];
    struct end e;

    (void)state;
    start(&e, 60000000);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(&e);
    int control = say(&e, CHECKUP_HELLO_CONTROL);

    assert_true(answers(control, CHECKUP_READY));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        assert_false(answers(fds[i], CHECKUP_READY)); /* each is closed in the end */
        close(fds[i]);
    }
    close(control);
    assert_int_equal(finish(&e), 0);
}

static void
test_too_many_streams(void **state)
{
    int fds[CHECKUP_MAX_STREAMS + 1];
    struct end e;

    (void)state;
    start(&e, 60000000);
    int control = say(&e, CHECKUP_HELLO_CONTROL);

    assert_true(answers(control, CHECKUP_READY));
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = say(&e, CHECKUP_HELLO_STREAM);
        assert_int_equal(answers(fds[i], CHECKUP_READY), i < CHECKUP_MAX_STREAMS);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    close(control);
    assert_int_equal(finish(&e), 0);
}

/* What a control connection may not say ends the checkup; so does the time. */
static void
test_ends(void **state)
{
    uint8_t buf[CHECKUP_MSG_SIZE];
    struct end e;

    (void)state;
    for (uint16_t type = 0; type < 20; type++) {
        if (type == CHECKUP_ECHO || type == CHECKUP_COUNT)
            continue;
        start(&e, 60000000);
        int control = say(&e, CHECKUP_HELLO_CONTROL);

        assert_true(answers(control, CHECKUP_READY));
        checkup_msg_encode(buf, &(struct checkup_msg){.type = type});
        assert_int_equal(send(control, buf, sizeof buf, MSG_NOSIGNAL), sizeof buf);
        assert_int_equal(finish(&e), 0);
        assert_false(answers(control, CHECKUP_READY));
        close(control);
    }
    start(&e, 1000);
    assert_int_equal(finish(&e), -ETIMEDOUT);
}

/* Probes without the nonce, too short ones, and ones before there is a source get no answer; the
 * one behind them does. */
static void
test_probes(void **state)
{
    const struct checkup_msg probe = {.type = CHECKUP_PROBE, .seq = 1},
                             echo = {.type = CHECKUP_ECHO, .seq = 2},
                             good = {.type = CHECKUP_PROBE, .seq = 3};
    uint8_t buf[1000] = {0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct checkup_msg m;
    struct end e;
    ssize_t n;
    int fd;

    (void)state;
    start(&e, 60000000);
    int control = say(&e, CHECKUP_HELLO_CONTROL);

    assert_int_equal(recv(control, buf, CHECKUP_MSG_SIZE, MSG_WAITALL), CHECKUP_MSG_SIZE);
    assert_true(checkup_msg_decode(buf, &m));
    to.sin_port = htons((uint16_t)m.a);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    checkup_hello_encode(buf, &probe, checkup_target_nonce(e.t));
    buf[CHECKUP_MSG_SIZE] ^= 1;
    assert_true(send(fd, buf, sizeof buf, 0) > 0);
    buf[CHECKUP_MSG_SIZE] ^= 1;
    assert_true(send(fd, buf, CHECKUP_PROBE_SIZE - 1, 0) > 0);
    assert_true(send(fd, buf, 0, 0) == 0);
    checkup_hello_encode(buf, &echo, checkup_target_nonce(e.t));
    assert_true(send(fd, buf, sizeof buf, 0) > 0);
    checkup_hello_encode(buf, &good, checkup_target_nonce(e.t));
    assert_true(send(fd, buf, sizeof buf, 0) > 0);
    n = recv(fd, buf, sizeof buf, 0);
    assert_int_equal(n, CHECKUP_MSG_SIZE); /* smaller than what it answers */
    assert_true(checkup_msg_decode(buf, &m));
    assert_int_equal(m.seq, 3);
    assert_int_equal(m.a, sizeof buf);
    assert_int_equal(recv(fd, buf, sizeof buf, MSG_DONTWAIT), -1);
    close(fd);
    close(control);
    assert_int_equal(finish(&e), 0);
}

/* --- targets that lie --- */

static const struct liar {
    const char *name;
    struct checkup_msg ready; /* the answer to HELLO; type 0 = it closes instead */
    struct checkup_msg echo;  /* the answer to ECHO; seq is added to the asked one */
    unsigned echoes;          /* so many right answers before it */
    bool garbage, silent;     /* bytes of no message; nothing, until it is cancelled */
    int rc;
    const char *text;
} liars[] = {
    {"closes", .rc = -EPIPE, .text = "closed the connection"},
    {"answers HELLO with ECHO", {CHECKUP_ECHO, 0, 9, 0}, .rc = -EPROTO, .text = "type 4"},
    {"has no UDP port", {CHECKUP_READY, 0, 0, 0}, .rc = -EPROTO, .text = "type 3"},
    {"has a UDP port of 17 bits", {CHECKUP_READY, 0, 65536, 0}, .rc = -EPROTO, .text = "type 3"},
    {"says nonsense", .garbage = true, .rc = -EPROTO, .text = "not of a checkup"},
    {"says nothing", .silent = true, .rc = -ECANCELED, .text = "cancelled"},
    {"echoes another question",
     {CHECKUP_READY, 0, 9, 0},
     {CHECKUP_ECHO, 1, 0, 0},
     3,
     .rc = -EPROTO,
     .text = "latency: the target answers another question"},
    {"answers ECHO with COUNT",
     {CHECKUP_READY, 0, 9, 0},
     {CHECKUP_COUNT, 0, 0, 0},
     60,
     .rc = -EPROTO,
     .text = "latency: the target answers another question"},
    {"closes after some echoes",
     {CHECKUP_READY, 0, 9, 0},
     .echoes = 60,
     .rc = -EPIPE,
     .text = "latency: the target closed"},
};

struct lie {
    const struct liar *row;
    int listen_fd, cancel_fd;
};

static void *
lie(void *ctx)
{
    const struct lie *l = ctx;
    struct pollfd p = {.fd = l->listen_fd, .events = POLLIN};
    uint8_t buf[CHECKUP_HELLO_SIZE];
    struct checkup_msg m;
    int fd;

    poll(&p, 1, -1);
    fd = accept(l->listen_fd, NULL, NULL);
    (void)recv(fd, buf, sizeof buf, MSG_WAITALL);
    if (l->row->silent) {
        eventfd_write(l->cancel_fd, 1);
        (void)recv(fd, buf, 1, 0); /* until the source closes */
    } else if (l->row->garbage || l->row->ready.type) {
        memset(buf, 0x55, sizeof buf);
        if (!l->row->garbage)
            checkup_msg_encode(buf, &l->row->ready);
        (void)send(fd, buf, CHECKUP_MSG_SIZE, MSG_NOSIGNAL);
    }
    bool closes = !l->row->silent && !l->row->garbage && !l->row->ready.type;

    for (unsigned i = 0;
         !closes && recv(fd, buf, CHECKUP_MSG_SIZE, MSG_WAITALL) == CHECKUP_MSG_SIZE &&
         i <= l->row->echoes;
         i++) {
        if (i == l->row->echoes) {
            if (!l->row->echo.type)
                break;
            (void)checkup_msg_decode(buf, &m);
            m.type = l->row->echo.type;
            m.seq += l->row->echo.seq;
            checkup_msg_encode(buf, &m);
        }
        (void)send(fd, buf, CHECKUP_MSG_SIZE, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void
test_liar(void **state)
{
    struct lie l = {.row = *state};
    struct checkup_source_config c;
    struct checkup_result r = {0};
    struct err err = {0};
    char addr[MIG_ADDR_SIZE];
    pthread_t thread;

    l.cancel_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(xport_listen("127.0.0.1", "", &l.listen_fd, addr, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, lie, &l), 0);
    c = source_config(addr, "0123456789abcdef0123456789abcdef");
    c.cancel_fd = l.cancel_fd;
    assert_int_equal(checkup_source_measure(&c, &r, &err), l.row->rc);
    assert_non_null(strstr(err_msg(&err), l.row->text));
    assert_int_equal(r.bandwidth_bytes_per_s, 0);
    pthread_join(thread, NULL);
    close(l.listen_fd);
    close(l.cancel_fd);
}

/* A target that nobody is at. */
static void
test_nobody(void **state)
{
    struct checkup_source_config c = source_config("127.0.0.1:1", "");
    struct checkup_result r;
    struct err err = {0};

    (void)state;
    assert_int_equal(checkup_source_measure(&c, &r, &err), -ECONNREFUSED);
}

int
main(void)
{
    struct CMUnitTest tests[64];
    size_t n = 0;

    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test_prestate(test_whole, (void *)(uintptr_t) "127.0.0.1");
    tests[n++] = (struct CMUnitTest){
        .name = "IPv6", .test_func = test_whole, .initial_state = (void *)(uintptr_t) "::1"};
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
        tests[n++] = (struct CMUnitTest){.name = strangers[i].name,
                                         .test_func = test_stranger,
                                         .initial_state = (void *)(uintptr_t)&strangers[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_flood);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_too_many_streams);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_ends);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_probes);
    for (size_t i = 0; i < ARRAY_LEN(liars); i++)
        tests[n++] = (struct CMUnitTest){.name = liars[i].name,
                                         .test_func = test_liar,
                                         .initial_state = (void *)(uintptr_t)&liars[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_nobody);
    return _cmocka_run_group_tests("checkup", tests, n, NULL, NULL);
}
