/* The kernel's limit, set, read back and measured: TCP between two namespaces of the test's own,
 * over a veth and over a macvlan on it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netpolicy/nl_link.h"
#include "netpolicy/nl_shape.h"
#include "tests/netpolicy/nl_ns.h"

#define PORT      5001
#define WINDOW_US 1000000
#define MB        UINT64_C(1000000)

static uint64_t
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- the other side: a process in a namespace of its own that takes what comes --- */

/* One window of one connection. */
struct report {
    unsigned connection;
    uint64_t bytes, us;
};

static struct {
    pid_t pid;
    int reports; /* struct report */
} far_side;

struct taker {
    int fd, to;
    unsigned connection;
};

static void *
take(void *ctx)
{
    struct taker *t = ctx;
    struct report r = {.connection = t->connection};
    char *buf = malloc(1 << 20);
    uint64_t start = now_us();
    ssize_t n;

    while ((n = recv(t->fd, buf, 1 << 20, MSG_TRUNC)) > 0) {
        r.bytes += (uint64_t)n;
        r.us = now_us() - start;
        if (r.us < WINDOW_US)
            continue;
        if (write(t->to, &r, sizeof r) != (ssize_t)sizeof r)
            break;
        r.bytes = 0;
        start = now_us();
    }
    close(t->fd);
    free(buf);
    free(t);
    return NULL;
}

static int
far_main(int go, int to)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = 1, fd;
    char c;

    if (unshare(CLONE_NEWNET) != 0 || write(to, "u", 1) != 1 || read(go, &c, 1) != 1 ||
        nl_ns_sh("ip addr add 10.200.5.2/24 dev peer1 && ip link set peer1 up") != 0)
        return 1;
    inet_pton(AF_INET, "10.200.5.2", &a.sin_addr);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 ||
        write(to, "l", 1) != 1)
        return 1;
    for (unsigned i = 0;; i++) {
        struct taker *t = calloc(1, sizeof *t);
        pthread_t thread;

        *t = (struct taker){accept4(fd, NULL, NULL, SOCK_CLOEXEC), to, i};
        if (t->fd < 0 || pthread_create(&thread, NULL, take, t) != 0)
            return 1;
        pthread_detach(thread);
    }
}

static void
far_stop(void)
{
    if (far_side.pid <= 0)
        return;
    kill(far_side.pid, SIGKILL);
    waitpid(far_side.pid, NULL, 0);
    close(far_side.reports);
    far_side.pid = 0;
}

/* dev: "eth1", or "mv0" on it. */
static void
far_start(const char *dev, unsigned mtu)
{
    int go[2], to[2];
    char c;

    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    far_side.pid = fork();
    if (far_side.pid == 0)
        _exit(far_main(go[0], to[1]));
    close(to[1]);
    close(go[0]);
    far_side.reports = to[0];
    assert_int_equal(read(to[0], &c, 1), 1);
    NL_NS_MUST("ip link add eth1 mtu %u type veth peer name peer1 mtu %u", mtu, mtu);
    NL_NS_MUST("ip link set peer1 netns %d", (int)far_side.pid);
    NL_NS_MUST("ip link set eth1 up");
    if (strcmp(dev, "eth1") != 0)
        NL_NS_MUST("ip link add link eth1 name %s type macvlan mode bridge", dev);
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev %s", dev);
    NL_NS_MUST("ip link set %s up", dev);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(read(to[0], &c, 1), 1);
    close(go[1]);
}

/* --- this side: threads that send as fast as they may --- */

struct sender {
    pthread_t thread;
    uint32_t priority;
    atomic_bool stop;
};

static void *
send_all(void *ctx)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct sender *s = ctx;
    char *buf = calloc(1, 1 << 20);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, "10.200.5.2", &a.sin_addr);
    if (s->priority)
        setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &s->priority, sizeof s->priority);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        while (!s->stop && send(fd, buf, 1 << 20, MSG_NOSIGNAL) > 0)
            ;
    close(fd);
    free(buf);
    return NULL;
}

static void
sender_start(struct sender *s, uint32_t priority)
{
    *s = (struct sender){.priority = priority};
    assert_int_equal(pthread_create(&s->thread, NULL, send_all, s), 0);
}

static void
sender_stop(struct sender *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
}

static struct report
report_next(void)
{
    struct pollfd p = {.fd = far_side.reports, .events = POLLIN};
    struct report r;

    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(read(far_side.reports, &r, sizeof r), sizeof r);
    return r;
}

static uint64_t
bytes_per_s(const struct report *r)
{
    return r->bytes * 1000000 / r->us;
}

/* --- tests --- */

static int
set_up(void **state)
{
    *state = nl_ns_fresh() ? state : NULL;
    if (*state && nl_ns_sh("tc qdisc add dev lo root handle 7: htb") != 0) {
        print_message("needs tc and htb\n");
        *state = NULL;
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    far_stop();
    return 0;
}

#define NEEDS_NS(state) \
    do {                \
        if (!*(state))  \
            skip();     \
    } while (0)

static void
set(const char *dev, uint64_t rate, uint64_t burst)
{
    const struct net_shape s = {rate, burst};
    struct err err = {0};

    if (nl_shape_set(dev, &s, &err) != 0)
        fail_msg("%s", err_msg(&err));
}

static struct net_shape
get(const char *dev, bool *foreign)
{
    struct net_shape s = {7, 7};
    struct err err = {0};

    if (nl_shape_get(dev, &s, foreign, &err) != 0)
        fail_msg("%s", err_msg(&err));
    return s;
}

/* Each is changed into the next, and reads back as it was asked for. */
static void
test_set_get(void **state)
{
    static const struct net_shape rows[] = {
        {1000, 0},        {12345678, 0},          {12345678, 1 << 20},
        {12345678, 2000}, {UINT32_MAX, 99999},    {5000000001, 12345677},
        {25000000000, 0}, {25000000000, 1 << 30}, {0, 0},
        {0, 0},           {999999937, 7777777},
    };
    struct net_shape s;
    bool foreign;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    s = get("eth1", &foreign);
    assert_true(s.rate_bytes_per_s == 0 && s.burst_bytes == 0 && !foreign);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        set("eth1", rows[i].rate_bytes_per_s, rows[i].burst_bytes);
        s = get("eth1", &foreign);
        assert_int_equal(s.rate_bytes_per_s, rows[i].rate_bytes_per_s);
        assert_int_equal(s.burst_bytes, rows[i].burst_bytes);
        assert_false(foreign);
    }
    set("eth1", 25000000000, 0);
    NL_NS_MUST("tc class show dev eth1 | grep 'root rate 200Gbit ceil 200Gbit'");
    NL_NS_MUST("tc class show dev eth1 | grep ':1 parent .* prio 0 rate 100Gbit ceil 200Gbit'");
    NL_NS_MUST("tc class show dev eth1 | grep ':2 parent .* prio 1 rate 10Gbit ceil 200Gbit'");
    NL_NS_MUST("tc qdisc show dev eth1 | grep 'htb d201: root .* default 0x2 '");
}

static void
test_others(void **state)
{
    const struct net_shape s = {10 * MB, 0};
    struct nl_shape_counters n;
    struct err err = {0};
    bool foreign;

    NEEDS_NS(state);
    assert_int_equal(get("lo", &foreign).rate_bytes_per_s, 0); /* htb, but not ours */
    assert_true(foreign);
    assert_int_equal(nl_shape_set("lo", &s, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "lo"));
    assert_int_equal(nl_shape_counters("lo", &n, &err), -ENOENT);
    assert_int_equal(nl_shape_counters("eth9", &n, &err), -ENOENT);
    assert_int_equal(nl_shape_set("eth9", &s, &err), -ENOENT);
    NL_NS_MUST("tc qdisc del dev lo root");
    set("lo", 10 * MB, 0);
    assert_int_equal(get("lo", &foreign).rate_bytes_per_s, 10 * MB);
    assert_int_equal(nl_shape_counters("lo", &n, &err), 0);
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev lo");
    NL_NS_MUST("ping -c 1 -s 1000 10.200.5.1 || "
               "bash -c 'printf %%01000d 0 >/dev/udp/10.200.5.1/9; true'");
    assert_int_equal(nl_shape_counters("lo", &n, &err), 0);
    assert_true(n.packets > 0 && n.bytes >= 1000);
}

/* What a handler that was killed half-way left, or somebody changed, is not taken for the limit, and
 * is made right. */
static void
test_half_made(void **state)
{
    static const char *const spoil[] = {
        "tc qdisc add dev eth1 root handle d201: htb default 2",
        "tc class del dev eth1 classid d201:1",
        "tc class change dev eth1 parent d201: classid d201:10 htb rate 1gbit",
        "tc class change dev eth1 parent d201:10 classid d201:2 htb rate 1mbit ceil 80mbit",
        "tc class add dev eth1 parent d201:10 classid d201:7 htb rate 1mbit",
    };
    bool foreign;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        uint64_t rate;

        NL_NS_MUST("%s", spoil[i]);
        rate = get("eth1", &foreign).rate_bytes_per_s;
        if (rate == 10 * MB || rate == 0 || foreign)
            fail_msg("%s: taken for %llu", spoil[i], (unsigned long long)rate);
        set("eth1", 10 * MB, 0);
        assert_int_equal(get("eth1", &foreign).rate_bytes_per_s, 10 * MB);
    }
    NL_NS_MUST("tc class del dev eth1 classid d201:1");
    set("eth1", 0, 0);
    assert_int_equal(get("eth1", &foreign).rate_bytes_per_s, 0);
    assert_int_not_equal(nl_ns_sh("tc qdisc show dev eth1 | grep htb"), 0);
}

/* What the interface lets pass of the payload in a second, as bytes with headers: 52 bytes of IP and
 * TCP (with time stamps) and 14 of Ethernet come with each segment. */
static uint64_t
on_wire(uint64_t payload, unsigned mtu)
{
    return payload * (mtu + 14) / (mtu - 52);
}

static void
measure(const char *dev, unsigned mtu, const uint64_t *rates, size_t len)
{
    struct sender s;
    uint64_t able;
    unsigned connection = 0;

    far_start(dev, mtu);
    sender_start(&s, 0);
    able = bytes_per_s((const struct report[]){report_next()});
    sender_stop(&s);
    print_message("%s, MTU %u: %llu MB/s without a limit\n", dev, mtu,
                  (unsigned long long)(able / MB));
    for (size_t i = 0; i < len; i++) {
        uint64_t rate = rates[i], least = rate - rate * 3 / 100, most = rate + rate * 3 / 100;
        uint64_t is = 0;
        unsigned windows = 0;

        if (able < rate * 15 / 10) {
            print_message("%s, MTU %u: this machine is too slow for %llu MB/s\n", dev, mtu,
                          (unsigned long long)(rate / MB));
            continue;
        }
        set(dev, rate, 0);
        connection++;
        sender_start(&s, 0);
        /* Others use this machine, too: a sender that waits for a processor sends less, and one
         * second of a receiver that did takes what lay in its socket, which is more. */
        while (windows < 8 && (is < least || is > most)) {
            struct report r = report_next();

            if (r.connection != connection)
                continue;
            windows++;
            is = on_wire(bytes_per_s(&r), mtu);
            print_message("%s, MTU %u: limit %llu kB/s, measured %llu kB/s\n", dev, mtu,
                          (unsigned long long)(rate / 1000), (unsigned long long)(is / 1000));
        }
        if (is < least) { /* less than it was able to, or is it not any more? */
            set(dev, 0, 0);
            report_next();
            able = bytes_per_s((const struct report[]){report_next()});
            print_message("%llu MB/s without a limit by now\n", (unsigned long long)(able / MB));
        }
        sender_stop(&s);
        assert_true(is <= most && (is >= least || able < rate * 15 / 10));
        set(dev, 0, 0);
    }
    far_stop();
}

static void
test_rate_veth(void **state)
{
    NEEDS_NS(state);
    measure("eth1", 1500, (const uint64_t[]){10 * MB, 100 * MB, 1000 * MB}, 3);
}

static void
test_rate_jumbo(void **state)
{
    NEEDS_NS(state);
    measure("eth1", 9000, (const uint64_t[]){1000 * MB}, 1);
}

static void
test_rate_macvlan(void **state)
{
    NEEDS_NS(state);
    measure("mv0", 1500, (const uint64_t[]){10 * MB, 1000 * MB}, 2);
}

/* Two that both send as fast as they may: urgent gets nearly all, bulk does not starve, and
 * together they keep the limit. */
static void
test_urgent_first(void **state)
{
    const uint64_t rate = 20 * MB;
    uint64_t of[2] = {0, 0};
    struct sender bulk, urgent;

    NEEDS_NS(state);
    far_start("eth1", 1500);
    set("eth1", rate, 0);
    sender_start(&bulk, 0);
    report_next(); /* bulk has filled what there is to fill */
    sender_start(&urgent, NL_SHAPE_URGENT);
    while (report_next().connection != 1)
        ;
    /* Windows in which both were there; some more where a sender had to wait for a processor. */
    for (unsigned windows = 0; !of[0] || !of[1] || (windows < 16 && of[1] < rate * 85 / 100);
         windows++) {
        struct report r = report_next();

        of[r.connection] = on_wire(bytes_per_s(&r), 1500);
    }
    sender_stop(&urgent);
    sender_stop(&bulk);
    print_message("limit %llu kB/s: urgent %llu kB/s, bulk %llu kB/s\n",
                  (unsigned long long)(rate / 1000), (unsigned long long)(of[1] / 1000),
                  (unsigned long long)(of[0] / 1000));
    assert_true(of[1] >= rate * 85 / 100);
    assert_true(of[0] >= rate * 2 / 100);
    assert_true(of[0] + of[1] <= rate * 105 / 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set_get, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_veth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_jumbo, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_macvlan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_urgent_first, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nl_shape", tests, NULL, NULL);
}
