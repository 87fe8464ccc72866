/* The relay where things go wrong: peers that vanish, ends that are cut or freed at any moment,
 * sockets that are not there, strangers that talk nonsense or nothing, networks that are not ours.
 * Nothing is left behind by any of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/sb.h"
#include "netpolicy/nl_link.h"
#include "tests/migrate/hosts.h"
#include "tests/migrate/relay.h"
#include "tests/migrate/relay_pair.h"

#define MIB (UINT64_C(1) << 20)

static bool over_tls;

/* --- a peer that vanishes --- */

/* Everything is idle, and from some heartbeat on nothing goes through any more, in any direction, on
 * any connection: as when a host dies. Both ends know within dead_peer_us, and break their streams. */
static void
a_peer_vanishes(void **state)
{
    const uint64_t dead_us = 600000;
    struct relay net = {.trick = RELAY_HOLE,
                        .at = RELAY_FRAME_HELLO_SIZE + 12 * RELAY_FRAME_HEADER_SIZE};
    struct relay_pair p;
    uint64_t began;
    int fd[2];
    char c;

    (void)state;
    relay_pair_init(&p, over_tls);
    if (over_tls)
        net.at += 4000; /* about a handshake, and records that are larger */
    p.src.dead_peer_us = p.dst.dead_peer_us = dead_us;
    relay_pair_listen(&p);
    relay_start(&net, relay_target_address(p.target));
    snprintf(p.src.target_addr, sizeof p.src.target_addr, "%s", net.addr);
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_stream(&p, RELAY_DATA, fd);
    while (!atomic_load(&net.done))
        poll(NULL, 0, 1);
    began = clock_mono_us();
    for (int end = 0; end < 2; end++) {
        uint64_t us;

        relay_pair_wait_broken(&p, end, RELAY_CONTROL, 1);
        relay_pair_wait_broken(&p, end, RELAY_DATA, 1);
        us = p.at[end].broken_us[RELAY_CONTROL] - began;
        print_message("# end %d knows after %llu ms: %s\n", end, (unsigned long long)us / 1000,
                      p.at[end].why[RELAY_CONTROL].msg);
        assert_non_null(strstr(p.at[end].why[RELAY_CONTROL].msg, "nothing was heard"));
        assert_non_null(strstr(p.at[end].why[RELAY_DATA].msg, "data stream 0"));
        assert_true(us < dead_us + 1000000); /* ticks, and a slow machine */
        assert_true(recv(fd[end], &c, 1, 0) <= 0);
        close(fd[end]);
    }
    assert_int_equal(relay_source_send(p.source, "x", 1, &p.err), -ENOTCONN);
    relay_pair_done(&p);
    relay_stop(&net);
}

/* A process that does not read for longer than a peer may be silent is not a peer that is gone. */
static void
a_slow_reader_is_not_dead(void **state)
{
    struct relay_pair p;
    int fd[2];

    (void)state;
    relay_pair_init(&p, over_tls);
    p.src.dead_peer_us = p.dst.dead_peer_us = 1000000;
    relay_pair_start(&p);
    relay_pair_stream(&p, RELAY_DATA, fd);
    /* as much as fits */
    for (uint64_t at = 0;;) {
        uint8_t buf[4096];
        ssize_t n;

        relay_pair_fill(buf, sizeof buf, 9, at);
        n = send(fd[0], buf, sizeof buf, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += (uint64_t)n;
            continue;
        }
        struct pollfd w = {.fd = fd[0], .events = POLLOUT};

        if (poll(&w, 1, 3000) == 0) { /* for three times as long nothing moves */
            assert_true(relay_pair_receive(fd[1], 9, 0, at, 1));
            break;
        }
    }
    assert_int_equal(relay_pair_broken(&p, 0, RELAY_DATA) + relay_pair_broken(&p, 1, RELAY_DATA) +
                         relay_pair_broken(&p, 0, RELAY_CONTROL) +
                         relay_pair_broken(&p, 1, RELAY_CONTROL),
                     0);
    close(fd[0]);
    close(fd[1]);
    relay_pair_done(&p);
}

/* --- at any moment --- */

#define BUSY 4

struct busy {
    int fd;
    uint64_t stream, seed;
    bool send;
    pthread_t thread;
};

static void *
busy_main(void *arg)
{
    struct busy *b = arg;

    if (b->send)
        relay_pair_send(b->fd, b->stream, 0, 1000 * MIB, b->seed);
    else
        relay_pair_receive(b->fd, b->stream, 0, 1000 * MIB, b->seed);
    return NULL;
}

/* One of five ends, after so many bytes, with streams under way and more being made. */
static void
end_somehow(uint64_t seed)
{
    struct busy b[BUSY][4];
    struct relay_pair p;
    struct relay_stats st;
    struct rng r;
    uint64_t bytes;

    rng_seed(&r, seed);
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    for (unsigned i = 0; i < BUSY; i++) {
        int fd[2];

        relay_pair_stream(&p, i == 0 ? RELAY_RPC : RELAY_DATA, fd);
        for (unsigned k = 0; k < 4; k++) {
            b[i][k] = (struct busy){.fd = fd[k == 1 || k == 2],
                                    .stream = i * 2 + k / 2,
                                    .seed = seed + k,
                                    .send = k % 2 == 0};
            pthread_create(&b[i][k].thread, NULL, busy_main, &b[i][k]);
        }
    }
    bytes = rng_below(&r, 3 * MIB);
    do
        relay_source_stats(p.source, &st);
    while (st.sent_bytes < bytes);
    close(relay_pair_connect(&p, RELAY_DATA)); /* one that is being made */
    switch (rng_below(&r, 5)) {
    case 0:
        relay_source_free(TAKE_PTR(p.source));
        break;
    case 1:
        relay_target_free(TAKE_PTR(p.target));
        break;
    case 2:
        relay_source_cut(p.source);
        break;
    case 3:
        relay_target_cut(p.target);
        break;
    default:
        shutdown(b[1][0].fd, SHUT_RDWR);
        relay_source_free(TAKE_PTR(p.source));
        relay_target_free(TAKE_PTR(p.target));
    }
    for (unsigned i = 0; i < BUSY; i++) {
        for (unsigned k = 0; k < 4; k++)
            pthread_join(b[i][k].thread, NULL);
        close(b[i][0].fd);
        close(b[i][1].fd);
    }
    relay_pair_done(&p);
}

static void
ends_at_any_moment(void **state)
{
    unsigned fds, threads;

    (void)state;
    end_somehow(1); /* what is made once a process */
    fds = relay_pair_fds();
    threads = relay_pair_threads();
    for (uint64_t seed = 2; seed < 22; seed++) {
        end_somehow(seed);
        if (relay_pair_fds() != fds || relay_pair_threads() != threads)
            fail_msg("seed %llu: %u descriptors were %u, %u threads were %u",
                     (unsigned long long)seed, relay_pair_fds(), fds, relay_pair_threads(),
                     threads);
    }
}

/* Streams that are being dialled, and that wait for QEMU's socket. */
static void
ends_while_connecting(void **state)
{
    unsigned fds = relay_pair_fds();

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct relay_pair p;
        int fd[3];
        char c;

        relay_pair_init(&p, over_tls);
        assert_int_equal(relay_target_new(&p.dst, &p.target, &p.err), 0);
        snprintf(p.src.target_addr, sizeof p.src.target_addr, "%s", relay_target_address(p.target));
        assert_int_equal(relay_pair_dial(&p), 0);
        for (int k = 0; k < 3; k++)
            fd[k] = relay_pair_connect(&p, RELAY_DATA);
        if (i == 0)
            relay_source_cut(p.source);
        else if (i == 1)
            relay_target_cut(p.target);
        else if (i == 2)
            relay_source_free(TAKE_PTR(p.source));
        else
            relay_target_free(TAKE_PTR(p.target));
        for (int k = 0; k < 3; k++) {
            assert_true(recv(fd[k], &c, 1, 0) <= 0);
            close(fd[k]);
        }
        relay_pair_done(&p);
    }
    assert_int_equal(relay_pair_fds(), fds);
}

/* QEMU's socket never comes: the stream breaks, and says so, within its time. */
static void
a_socket_that_never_comes(void **state)
{
    struct relay_pair p;
    uint64_t began;
    int fd;
    char c;

    (void)state;
    relay_pair_init(&p, over_tls);
    snprintf(p.dst.data_path, RELAY_PATH_SIZE, "%.20s/none/there.sock", p.dir);
    assert_int_equal(relay_target_new(&p.dst, &p.target, &p.err), 0);
    snprintf(p.src.target_addr, sizeof p.src.target_addr, "%s", relay_target_address(p.target));
    assert_int_equal(relay_pair_dial(&p), 0);
    began = clock_mono_us();
    fd = relay_pair_connect(&p, RELAY_DATA);
    assert_true(recv(fd, &c, 1, 0) <= 0);
    assert_true(clock_mono_us() - began < RELAY_CONNECT_US + 5000000);
    relay_pair_wait_broken(&p, 0, RELAY_DATA, 1);
    print_message("# %s\n", p.at[0].why[RELAY_DATA].msg);
    assert_non_null(strstr(p.at[0].why[RELAY_DATA].msg, "No such file or directory"));
    assert_int_equal(relay_pair_broken(&p, 0, RELAY_CONTROL), 0);
    close(fd);
    relay_pair_done(&p);
}

static void
more_streams_than_may_be(void **state)
{
    int fd[RELAY_MAX_STREAMS + 1];
    struct relay_pair p;
    char c;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    for (unsigned i = 0; i <= RELAY_MAX_STREAMS; i++)
        fd[i] = relay_pair_connect(&p, RELAY_DATA);
    relay_pair_wait_broken(&p, 0, RELAY_DATA, 1);
    assert_non_null(strstr(p.at[0].why[RELAY_DATA].msg, "no more are allowed"));
    assert_true(recv(fd[RELAY_MAX_STREAMS], &c, 1, 0) <= 0);
    for (unsigned i = 0; i <= RELAY_MAX_STREAMS; i++)
        close(fd[i]);
    relay_pair_done(&p);
}

/* --- strangers, in the clear --- */

static int
knock(struct relay_pair *p)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    const char *addr = relay_target_address(p->target);
    struct timeval tv = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_port = htons((uint16_t)atoi(strrchr(addr, ':') + 1));
    inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static struct relay_hello
good_hello(struct relay_pair *p, enum relay_kind kind, uint32_t index, uint64_t session)
{
    struct relay_hello h = {
        .kind = kind, .index = index, .session = session, .generation = p->dst.ident.generation};

    snprintf(h.vmi_uid, sizeof h.vmi_uid, "%s", p->dst.ident.vmi_uid);
    snprintf(h.migration_uid, sizeof h.migration_uid, "%s", p->dst.ident.migration_uid);
    return h;
}

/* Says hello and checks the answer: text "" = OK. The connection. */
static int
say_hello(struct relay_pair *p, const struct relay_hello *h, const char *text)
{
    uint8_t out[RELAY_FRAME_HELLO_SIZE], in[RELAY_FRAME_ANSWER_SIZE];
    char said[RELAY_FRAME_TEXT_SIZE];
    enum relay_answer a;
    int fd = knock(p);

    relay_frame_encode_hello(out, h);
    assert_int_equal(send(fd, out, sizeof out, MSG_NOSIGNAL), sizeof out);
    assert_int_equal(recv(fd, in, sizeof in, MSG_WAITALL), sizeof in);
    assert_int_equal(relay_frame_decode_answer(in, &a, said, NULL), 0);
    assert_int_equal(a, *text ? RELAY_ANSWER_REFUSED : RELAY_ANSWER_OK);
    if (!strstr(said, text))
        fail_msg("'%s', not '%s'", said, text);
    return fd;
}

static void
ends(int fd)
{
    char c;

    assert_true(recv(fd, &c, 1, 0) <= 0);
    close(fd);
}

static void
hostile_hellos(void **state)
{
    uint8_t buf[4096];
    struct relay_pair p;
    struct relay_hello h;
    int control, fd;

    (void)state;
    relay_pair_init(&p, false);
    relay_pair_listen(&p);
    /* no session yet */
    h = good_hello(&p, RELAY_DATA, 0, 5);
    ends(say_hello(&p, &h, "control connection"));
    h = good_hello(&p, RELAY_CONTROL, 0, 5);
    control = say_hello(&p, &h, "");
    /* another session, number, migration */
    h = good_hello(&p, RELAY_DATA, 0, 6);
    ends(say_hello(&p, &h, "control connection"));
    h = good_hello(&p, RELAY_DATA, RELAY_MAX_STREAMS, 5);
    ends(say_hello(&p, &h, "far from its turn"));
    h = good_hello(&p, RELAY_DATA, UINT32_MAX, 5);
    ends(say_hello(&p, &h, "far from its turn"));
    h = good_hello(&p, RELAY_DATA, 0, 5);
    h.generation++;
    ends(say_hello(&p, &h, "another VM"));
    /* the same number twice; and one before it that has not come */
    h = good_hello(&p, RELAY_DATA, 0, 5);
    fd = say_hello(&p, &h, "");
    ends(say_hello(&p, &h, "was there before"));
    close(fd);
    /* noise, and a damaged hello */
    for (unsigned i = 0; i < 20; i++) {
        fd = knock(&p);
        memset(buf, (int)i * 13, sizeof buf);
        (void)!send(fd, buf, sizeof buf, MSG_NOSIGNAL);
        ends(fd);
    }
    h = good_hello(&p, RELAY_DATA, 1, 5);
    relay_frame_encode_hello(buf, &h);
    buf[40] ^= 1;
    fd = knock(&p);
    assert_int_equal(send(fd, buf, RELAY_FRAME_HELLO_SIZE, MSG_NOSIGNAL), RELAY_FRAME_HELLO_SIZE);
    assert_int_equal(recv(fd, buf, RELAY_FRAME_ANSWER_SIZE, MSG_WAITALL), RELAY_FRAME_ANSWER_SIZE);
    assert_non_null(strstr((char *)buf + 8, "damaged"));
    ends(fd);
    /* talks out of turn while it waits: stream 1 has not come */
    h = good_hello(&p, RELAY_DATA, 2, 5);
    relay_frame_encode_hello(buf, &h);
    fd = knock(&p);
    assert_int_equal(send(fd, buf, RELAY_FRAME_HELLO_SIZE + 10, MSG_NOSIGNAL),
                     RELAY_FRAME_HELLO_SIZE + 10);
    ends(fd);
    /* a message that is too large, on the control connection */
    relay_frame_encode(buf, &(struct relay_frame){RELAY_FRAME_MESSAGE, RELAY_MAX_MESSAGE + 1, 1});
    assert_int_equal(send(control, buf, RELAY_FRAME_HEADER_SIZE, MSG_NOSIGNAL),
                     RELAY_FRAME_HEADER_SIZE);
    relay_pair_wait_broken(&p, 1, RELAY_CONTROL, 1);
    assert_non_null(strstr(p.at[1].why[RELAY_CONTROL].msg, "message of 262145 bytes"));
    close(control);
    assert_int_equal(p.at[1].messages, 0);
    /* and it still serves who is right */
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_done(&p);
}

/* More silent strangers than there are places do not keep the source out. */
static void
silent_strangers(void **state)
{
    int fd[300], pair[2];
    struct relay_pair p;

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_listen(&p);
    for (size_t i = 0; i < ARRAY_LEN(fd); i++)
        fd[i] = knock(&p);
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_stream(&p, RELAY_DATA, pair);
    assert_true(relay_pair_send(pair[0], 1, 0, 10000, 1));
    assert_true(relay_pair_receive(pair[1], 1, 0, 10000, 1));
    ends(fd[0]); /* it had its time */
    for (size_t i = 1; i < ARRAY_LEN(fd); i++)
        close(fd[i]);
    close(pair[0]);
    close(pair[1]);
    relay_pair_done(&p);
}

/* --- the network --- */

static void
only_the_migration_network(void **state)
{
    struct nl_counters home[2], mig[2];
    const char *why;
    char ip[INET6_ADDRSTRLEN];
    struct relay_pair p;
    struct hosts h;
    int fd[2];

    (void)state;
    if (!hosts_permitted(&why)) {
        print_message("# SKIP %s\n", why);
        skip();
    }
    hosts_make(&h);
    hosts_cable(&h, "home0", 1, false, 1500);
    hosts_cable(&h, "mig0", 2, false, 1500);
    relay_pair_init(&p, over_tls);
    snprintf(p.dst.listen_ip, sizeof p.dst.listen_ip, "%s", hosts_ip(2, false, 1, ip));
    snprintf(p.dst.bind_device, sizeof p.dst.bind_device, "mig0");
    snprintf(p.dst.fallback_listen_ip, sizeof p.dst.fallback_listen_ip, "%s",
             hosts_ip(1, false, 1, ip));
    snprintf(p.src.local_ip, sizeof p.src.local_ip, "%s", hosts_ip(2, false, 0, ip));
    snprintf(p.src.bind_device, sizeof p.src.bind_device, "mig0");
    p.src.dead_peer_us = p.dst.dead_peer_us = 500000;
    hosts_enter(&h, 1);
    relay_pair_listen(&p);
    hosts_enter(&h, 0);
    hosts_counters(&h, 0, "home0", &home[0]);
    hosts_counters(&h, 0, "mig0", &mig[0]);
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_stream(&p, RELAY_DATA, fd);
    assert_true(relay_pair_send(fd[0], 1, 0, 200000, 1));
    assert_true(relay_pair_receive(fd[1], 1, 0, 200000, 1));
    hosts_counters(&h, 0, "home0", &home[1]);
    hosts_counters(&h, 0, "mig0", &mig[1]);
    assert_true(mig[1].tx_bytes - mig[0].tx_bytes > 200000);
    assert_true(home[1].tx_bytes - home[0].tx_bytes < 5000); /* the kernel's own */
    close(fd[0]);
    close(fd[1]);
    /* the cable is pulled: both know, though nothing is being sent */
    hosts_link(&h, 0, "mig0", false);
    relay_pair_wait_broken(&p, 0, RELAY_CONTROL, 1);
    relay_pair_wait_broken(&p, 1, RELAY_CONTROL, 1);
    relay_source_free(TAKE_PTR(p.source));
    /* the network does not work, and it was not told of another */
    assert_int_not_equal(relay_pair_dial(&p), 0);
    assert_int_equal(p.cause, MIG_CAUSE_CONNECT);
    snprintf(p.src.fallback_addr, sizeof p.src.fallback_addr, "%s",
             relay_target_fallback_address(p.target));
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_stream(&p, RELAY_DATA, fd);
    assert_true(relay_pair_send(fd[0], 1, 0, 200000, 1));
    assert_true(relay_pair_receive(fd[1], 1, 0, 200000, 1));
    close(fd[0]);
    close(fd[1]);
    relay_pair_done(&p);
    hosts_free(&h);
}

static void
listens_elsewhere(void **state)
{
    struct relay_pair p;
    char old[MIG_ADDR_SIZE];
    int fd[2], again[2];

    (void)state;
    relay_pair_init(&p, over_tls);
    relay_pair_start(&p);
    relay_pair_stream(&p, RELAY_DATA, fd);
    snprintf(old, sizeof old, "%s", relay_target_address(p.target));
    assert_int_not_equal(relay_target_relisten(p.target, "198.18.77.77", "", "", &p.err), 0);
    assert_string_equal(relay_target_address(p.target), old);
    assert_int_equal(relay_target_relisten(p.target, "127.0.0.2", "", "", &p.err), 0);
    assert_int_equal(strncmp(relay_target_address(p.target), "127.0.0.2:", 10), 0);
    /* what there is goes on, and a source that comes to the new address takes over */
    assert_true(relay_pair_send(fd[0], 1, 0, 10000, 1));
    assert_true(relay_pair_receive(fd[1], 1, 0, 10000, 1));
    relay_source_free(TAKE_PTR(p.source));
    snprintf(p.src.target_addr, sizeof p.src.target_addr, "%s", relay_target_address(p.target));
    assert_int_equal(relay_pair_dial(&p), 0);
    relay_pair_stream(&p, RELAY_DATA, again);
    for (int i = 0; i < 2; i++) {
        close(fd[i]);
        close(again[i]);
    }
    relay_pair_done(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_vanishes),
        cmocka_unit_test(a_slow_reader_is_not_dead),
        cmocka_unit_test(ends_at_any_moment),
        cmocka_unit_test(ends_while_connecting),
        cmocka_unit_test(more_streams_than_may_be),
        cmocka_unit_test(silent_strangers),
        cmocka_unit_test(only_the_migration_network),
        cmocka_unit_test(listens_elsewhere),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(hostile_hellos),
        cmocka_unit_test(a_socket_that_never_comes),
    };
    int failed = cmocka_run_group_tests_name("relay in trouble, in the clear", tests, NULL, NULL);

    failed += cmocka_run_group_tests_name("relay in trouble", once, NULL, NULL);
    over_tls = true;
    return failed + cmocka_run_group_tests_name("relay in trouble, TLS", tests, NULL, NULL);
}
