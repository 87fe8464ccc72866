/* The relay as it should go: bytes, order, ends, messages; and who is turned away, and why. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sb.h"
#include "migrate/xport.h"
#include "tests/migrate/certs.h"
#include "tests/migrate/relay_pair.h"

#define STREAMS 9

static bool over_tls;

struct mover { /* one direction of a stream, driven by a thread */
    int fd;
    uint64_t stream, len;
    bool send, ok;
    pthread_t thread;
};

static void *
mover_main(void *arg)
{
    struct mover *m = arg;

    m->ok = m->send ? relay_pair_send(m->fd, m->stream, 0, m->len, m->stream * 3 + 1)
                    : relay_pair_receive(m->fd, m->stream, 0, m->len, m->stream * 5 + 2);
    if (m->send)
        shutdown(m->fd, SHUT_WR);
    else
        m->ok = m->ok && recv(m->fd, &(char){0}, 1, 0) == 0; /* and then the end */
    return NULL;
}

/* Each stream its own bytes, both ways at once, each side in chunks of its own. */
static void
bytes_arrive(void **state)
{
    struct mover m[STREAMS][4];
    struct relay_pair p;
    struct relay_stats a, b;
    uint64_t there = 0, back = 0;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    for (unsigned i = 0; i < STREAMS; i++) {
        uint64_t len = (4u << 20) + i * 12345, answer = 300000 + i * 777;
        int fd[2];

        relay_pair_stream(&p, i == 0 ? RELAY_RPC : RELAY_DATA, fd);
        m[i][0] = (struct mover){.fd = fd[0], .stream = i * 2, .len = len, .send = true};
        m[i][1] = (struct mover){.fd = fd[1], .stream = i * 2, .len = len};
        m[i][2] = (struct mover){.fd = fd[1], .stream = i * 2 + 1, .len = answer, .send = true};
        m[i][3] = (struct mover){.fd = fd[0], .stream = i * 2 + 1, .len = answer};
        there += i == 0 ? 0 : len;
        back += i == 0 ? 0 : answer;
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        for (unsigned k = 0; k < 4; k++)
            pthread_create(&m[i][k].thread, NULL, mover_main, &m[i][k]);
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        for (unsigned k = 0; k < 4; k++) {
            pthread_join(m[i][k].thread, NULL);
            assert_true(m[i][k].ok);
        }
        close(m[i][0].fd);
        close(m[i][1].fd);
    }
    relay_pair_wait_idle(&p);
    relay_source_stats(p.source, &a);
    relay_target_stats(p.target, &b);
    assert_int_equal(a.sent_bytes, there);
    assert_int_equal(b.sent_bytes, there);
    assert_int_equal(a.received_bytes, back);
    assert_int_equal(b.received_bytes, back);
    assert_int_equal(a.rpc_bytes, (4u << 20) + 300000);
    assert_int_equal(a.opened, STREAMS - 1);
    assert_true(a.wire_bytes >= there + (4u << 20));
    assert_true(a.cpu_us > 0 && b.cpu_us > 0);
    assert_true(a.path_mtu_bytes > 1000);
    assert_int_equal(a.encrypted, over_tls);
    assert_int_equal(strncmp(a.suite, "TLS 1.3", 7) == 0, over_tls);
    assert_int_equal(relay_pair_broken(&p, 0, RELAY_DATA) + relay_pair_broken(&p, 1, RELAY_DATA),
                     0);
    relay_pair_done(&p);
}

/* What QEMU sends first on a connection says which it is; the target's must come in that order, however
 * long its socket is not there. */
static void
order_is_kept(void **state)
{
    struct relay_pair p;
    int src[STREAMS], dst;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_serve(&p, RELAY_RPC);
    assert_int_equal(relay_target_new(&p.dst, &p.target, &p.err), 0);
    snprintf(p.src.target_addr, sizeof p.src.target_addr, "%s", relay_target_address(p.target));
    assert_int_equal(relay_pair_dial(&p), 0);
    for (unsigned char i = 0; i < STREAMS; i++) {
        src[i] = relay_pair_connect(&p, RELAY_DATA);
        assert_int_equal(send(src[i], &i, 1, 0), 1);
    }
    relay_pair_serve(&p, RELAY_DATA); /* only now QEMU listens */
    for (unsigned char i = 0; i < STREAMS; i++) {
        unsigned char who = 255;

        dst = relay_pair_accept(&p, RELAY_DATA);
        assert_int_equal(recv(dst, &who, 1, 0), 1);
        assert_int_equal(who, i);
        close(dst);
        close(src[i]);
    }
    relay_pair_done(&p);
}

/* One direction ends, the other goes on. */
static void
half_close_is_passed_on(void **state)
{
    for (int from = 0; from < 2; from++) {
        struct relay_pair p;
        int fd[2];
        char c;

        (void)state;
        relay_pair_init(&p, over_tls);
        relay_pair_start(&p);
        relay_pair_stream(&p, RELAY_DATA, fd);
        assert_true(relay_pair_send(fd[from], 1, 0, 100000, 1));
        shutdown(fd[from], SHUT_WR);
        assert_true(relay_pair_receive(fd[!from], 1, 0, 100000, 2));
        assert_int_equal(recv(fd[!from], &c, 1, 0), 0);
        assert_true(relay_pair_send(fd[!from], 2, 0, 100000, 3));
        assert_true(relay_pair_receive(fd[from], 2, 0, 100000, 4));
        close(fd[!from]);
        assert_int_equal(recv(fd[from], &c, 1, 0), 0);
        close(fd[from]);
        relay_pair_wait_idle(&p);
        assert_int_equal(
            relay_pair_broken(&p, 0, RELAY_DATA) + relay_pair_broken(&p, 1, RELAY_DATA), 0);
        relay_pair_done(&p);
    }
}

/* A process that dies: the other side's gets to know, in both directions, and the other streams do
 * not. */
static void
death_is_passed_on(void **state)
{
    for (int dies = 0; dies < 2; dies++) {
        struct relay_pair p;
        int a[2], b[2];
        char c;

        (void)state;
        relay_pair_init(&p, over_tls);
        relay_pair_start(&p);
        relay_pair_stream(&p, RELAY_DATA, a);
        relay_pair_stream(&p, RELAY_DATA, b);
        close(a[dies]);
        assert_true(recv(a[!dies], &c, 1, 0) <= 0);
        for (ssize_t n = 1; n > 0;)
            n = send(a[!dies], "x", 1, MSG_NOSIGNAL);
        close(a[!dies]);
        assert_true(relay_pair_send(b[0], 1, 0, 5000, 1));
        assert_true(relay_pair_receive(b[1], 1, 0, 5000, 1));
        close(b[0]);
        close(b[1]);
        relay_pair_wait_idle(&p);
        relay_pair_done(&p);
    }
}

static void
slow_message(struct relay_pair *p, int end)
{
    (void)p;
    if (end == 1)
        usleep(2500000); /* what takes long is what is tested */
}

/* Messages both ways, whole and in order, of any size; and a handler that takes longer over one than a
 * peer may be silent is not dead. */
static void
messages_arrive(void **state)
{
    struct relay_pair p;
    AUTO_FREE uint8_t *msg = xcalloc(1, RELAY_MAX_MESSAGE + 1);
    struct err err = {0};

    (void)state;
    relay_pair_init(&p, over_tls);
    p.src.dead_peer_us = p.dst.dead_peer_us = 2000000;
    p.on_message = slow_message;
    relay_pair_start(&p);
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(msg, &i, 4);
        assert_int_equal(relay_source_send(p.source, msg, i ? RELAY_MAX_MESSAGE : 4, &err), 0);
    }
    relay_pair_wait_messages(&p, 1, 1); /* now the target has its control connection */
    for (uint32_t i = 0; i < 40; i++) {
        memcpy(msg, &i, 4);
        assert_int_equal(relay_target_send(p.target, msg, 4 + i * 1000, &err), 0);
    }
    relay_pair_wait_messages(&p, 1, 2);
    relay_pair_wait_messages(&p, 0, 40);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(p.at[0].first[i], i);
        assert_int_equal(p.at[0].len[i], 4 + i * 1000);
    }
    assert_int_equal(p.at[1].len[1], RELAY_MAX_MESSAGE);
    assert_int_equal(relay_source_send(p.source, msg, RELAY_MAX_MESSAGE + 1, &err), -EMSGSIZE);
    assert_int_equal(relay_source_send(p.source, msg, 0, &err), -EMSGSIZE);
    assert_int_equal(
        relay_pair_broken(&p, 0, RELAY_CONTROL) + relay_pair_broken(&p, 1, RELAY_CONTROL), 0);
    relay_pair_done(&p);
}

static void
sockets_are_private(void **state)
{
    struct relay_pair p;
    struct stat st;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    assert_int_equal(stat(p.src.rpc_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(p.src.data_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    relay_source_free(TAKE_PTR(p.source));
    assert_int_equal(stat(p.src.rpc_path, &st), -1);
    assert_int_equal(stat(p.src.data_path, &st), -1);
    relay_pair_done(&p);
}

/* A second control connection: the migration goes on over a new relay, and the old one is over. */
static void
a_new_source_takes_over(void **state)
{
    struct relay_source *old;
    struct relay_pair p;
    int a[2], b[2];
    char c;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    relay_pair_stream(&p, RELAY_DATA, a);
    old = TAKE_PTR(p.source);
    relay_target_cut(p.target);
    assert_true(recv(a[0], &c, 1, 0) <= 0);
    assert_true(recv(a[1], &c, 1, 0) <= 0);
    close(relay_pair_connect(&p, RELAY_DATA));
    relay_pair_wait_refused(&p, "has ended the streams");
    snprintf(p.src.rpc_path, sizeof p.src.rpc_path, "%s/again-rpc.sock", p.dir);
    snprintf(p.src.data_path, sizeof p.src.data_path, "%s/again-data.sock", p.dir);
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_wait_broken(&p, 0, RELAY_CONTROL, 1);
    relay_pair_stream(&p, RELAY_DATA, b);
    assert_true(relay_pair_send(b[0], 1, 0, 50000, 1));
    assert_true(relay_pair_receive(b[1], 1, 0, 50000, 1));
    relay_source_free(old);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    relay_pair_done(&p);
}

static void
cut_ends_streams_alone(void **state)
{
    struct relay_pair p;
    struct stat st;
    int a[2], r[2];
    char c;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    relay_pair_stream(&p, RELAY_DATA, a);
    relay_pair_stream(&p, RELAY_RPC, r);
    relay_source_cut(p.source);
    for (int i = 0; i < 2; i++) {
        assert_true(recv(a[i], &c, 1, 0) <= 0);
        assert_true(recv(r[i], &c, 1, 0) <= 0);
        close(a[i]);
        close(r[i]);
    }
    relay_pair_wait_idle(&p);
    assert_int_equal(relay_source_send(p.source, "x", 1, &p.err), 0);
    relay_pair_wait_messages(&p, 1, 1);
    assert_int_equal(relay_pair_broken(&p, 0, RELAY_DATA), 0);
    relay_source_free(TAKE_PTR(p.source));
    assert_int_equal(stat(p.src.data_path, &st), -1);
    relay_pair_done(&p);
}

/* --- who is turned away --- */

static void
other_ident(struct relay_pair *p)
{
    p->src.ident.generation++;
}

static void
other_migration(struct relay_pair *p)
{
    snprintf(p->src.ident.migration_uid, MIG_UID_SIZE, "mig-2");
}

static void
other_certificate(struct relay_pair *p)
{
    p->src.tls = certs_node("n3");
}

static void
other_target(struct relay_pair *p)
{
    snprintf(p->src.tls_peer, sizeof p->src.tls_peer, "n4");
}

static void
plain_source(struct relay_pair *p)
{
    p->src.tls = NULL;
}

static void
plain_target(struct relay_pair *p)
{
    p->dst.tls = NULL;
}

static const struct turned_away {
    const char *name;
    void (*change)(struct relay_pair *p);
    enum mig_cause cause;
    const char *source_says, *target_says; /* parts; target: NULL = nothing */
} turned_away[] = {
    {"another generation", other_ident, MIG_CAUSE_PEER, "another VM, migration or generation",
     "another VM, migration or generation"},
    {"another migration", other_migration, MIG_CAUSE_PEER, "another VM, migration or generation",
     "another VM, migration or generation"},
    {"another node's certificate", other_certificate, MIG_CAUSE_PEER, "does not accept our",
     "it is another node's"},
    {"a target with another name", other_target, MIG_CAUSE_PEER, "it is another node's",
     "does not accept our certificate"},
    {"in the clear to TLS", plain_source, MIG_CAUSE_PEER, "wants TLS 1.3", "does not speak TLS"},
    {"TLS to one in the clear", plain_target, MIG_CAUSE_PROTOCOL, "does not speak TLS",
     "the source encrypts"},
};

static void
strangers_hear_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(turned_away); i++) {
        const struct turned_away *t = &turned_away[i];
        struct relay_pair p;
        int rc;

        relay_pair_init(&p, true);
        t->change(&p);
        relay_pair_listen(&p);
        rc = relay_pair_dial(&p);
        if (rc == 0 || !strstr(p.err.msg, t->source_says) || p.cause != t->cause)
            fail_msg("%s: %d, cause %d, '%s'", t->name, rc, (int)p.cause, p.err.msg);
        relay_pair_wait_refused(&p, t->target_says);
        assert_int_equal(access(p.src.rpc_path, F_OK), -1);
        relay_pair_done(&p);
    }
}

static void
nobody_listens(void **state)
{
    struct relay_pair p;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_listen(&p);
    relay_target_free(TAKE_PTR(p.target));
    assert_int_not_equal(relay_pair_dial(&p), 0);
    assert_int_equal(p.cause, MIG_CAUSE_CONNECT);
    assert_non_null(strstr(p.err.msg, "connect to 127.0.0.1:"));
    relay_pair_done(&p);
}

/* A connection that BBR had, be it for its handshake alone, is paced by timers for ever: a third of
 * what a byte costs. Only how it is set can be seen from here. */
static void
near_peers_are_dialled_with_cubic(void **state)
{
    char name[16] = "", addr[MIG_ADDR_SIZE];
    socklen_t len = sizeof name;
    struct xport_dial d = {.addr = addr,
                           .local_ip = "",
                           .device = "",
                           .timeout_us = 5000000,
                           .user_timeout_us = 5000000,
                           .cancel_fd = -1};
    struct err err = {0};
    uint64_t rtt;
    int fd, listener;

    (void)state;
    assert_int_equal(xport_listen("127.0.0.1", "", &listener, addr, &err), 0);
    assert_int_equal(xport_dial(&d, &fd, &rtt, &err), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    if (xport_is_near(fd))
        assert_string_equal(name, "cubic");
    close(fd);
    close(listener);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(half_close_is_passed_on),
        cmocka_unit_test(death_is_passed_on),
        cmocka_unit_test(messages_arrive),
        cmocka_unit_test(sockets_are_private),
        cmocka_unit_test(a_new_source_takes_over),
        cmocka_unit_test(cut_ends_streams_alone),
        cmocka_unit_test(nobody_listens),
    };
    const struct CMUnitTest strangers[] = {
        cmocka_unit_test(strangers_hear_why),
        cmocka_unit_test(near_peers_are_dialled_with_cubic),
    };
    int failed = cmocka_run_group_tests_name("relay, in the clear", tests, NULL, NULL);

    over_tls = true;
    failed += cmocka_run_group_tests_name("relay, TLS", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("relay, strangers", strangers, NULL, NULL);
}
