/* Hearing of changes that `ip` makes in a namespace of the test's own: each within 100 ms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"
#include "tests/netpolicy/nl_ns.h"

#define HEARD_WITHIN_US 100000
#define GIVE_UP_MS      5000

static struct nl_watch *watch;

static int
set_up(void **state)
{
    struct err err = {0};

    *state = NULL;
    if (!nl_ns_fresh())
        return 0;
    *state = state;
    if (nl_watch_new(&watch, &err) != 0) {
        print_error("%s\n", err.msg);
        return -1;
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    nl_watch_free(watch);
    watch = NULL;
    return 0;
}

#define NEEDS_NS(state) \
    do {                \
        if (!*(state))  \
            skip();     \
    } while (0)

static uint64_t
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct expected {
    enum nl_event_kind kind;
    const char *ifname, *ip; /* ip: NULL = none */
    bool gone, failed;
};

struct hearing {
    const struct expected *want;
    bool heard;
    unsigned events;
};

static void
on_event(void *ctx, const struct nl_event *e)
{
    struct hearing *h = ctx;
    char text[IP_TEXT_SIZE];

    h->events++;
    if (!h->want || e->kind != h->want->kind || e->gone != h->want->gone ||
        strcmp(e->ifname, h->want->ifname) != 0 || e->neigh_failed != h->want->failed)
        return;
    ip_format(&e->ip, text, sizeof text);
    h->heard = h->heard || !h->want->ip || strcmp(h->want->ip, text) == 0;
}

static void
drain(void)
{
    struct hearing h = {0};

    assert_int_equal(nl_watch_read(watch, on_event, &h, NULL), 0);
}

/* Microseconds until it was heard, or UINT64_MAX. */
static uint64_t
hear(const struct expected *want, uint64_t since)
{
    struct hearing h = {.want = want};
    struct pollfd p = {.fd = nl_watch_fd(watch), .events = POLLIN};

    while (!h.heard && poll(&p, 1, GIVE_UP_MS) == 1)
        assert_int_equal(nl_watch_read(watch, on_event, &h, NULL), 0);
    return h.heard ? now_us() - since : UINT64_MAX;
}

static void
test_events(void **state)
{
    static const struct {
        const char *change;
        struct expected want;
    } rows[] = {
        {"link add eth1 type veth peer name peer1", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"link set eth1 up", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"link set peer1 up", {NL_EVENT_LINK, "peer1", NULL, false, false}},
        {"link set eth1 mtu 1400", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"addr add 10.200.5.1/24 dev eth1", {NL_EVENT_ADDR, "eth1", "10.200.5.1", false, false}},
        {"addr add fd00:5::1/64 dev eth1 nodad",
         {NL_EVENT_ADDR, "eth1", "fd00:5::1", false, false}},
        {"route add 10.9.0.0/16 via 10.200.5.2", {NL_EVENT_ROUTE, "eth1", NULL, false, false}},
        {"route del 10.9.0.0/16", {NL_EVENT_ROUTE, "eth1", NULL, true, false}},
        {"-6 route add default via fd00:5::fe dev eth1",
         {NL_EVENT_ROUTE, "eth1", NULL, false, false}},
        {"neigh add 10.200.5.2 lladdr 02:00:00:00:00:02 dev eth1",
         {NL_EVENT_NEIGH, "eth1", "10.200.5.2", false, false}},
        {"neigh change 10.200.5.2 nud failed dev eth1",
         {NL_EVENT_NEIGH, "eth1", "10.200.5.2", false, true}},
        {"addr del 10.200.5.1/24 dev eth1", {NL_EVENT_ADDR, "eth1", "10.200.5.1", true, false}},
        {"link set peer1 down", {NL_EVENT_LINK, "eth1", NULL, false, false}}, /* carrier */
        {"link set eth1 down", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"link set eth1 name eth2", {NL_EVENT_LINK, "eth1", NULL, true, false}},
        {"link set eth2 name eth1", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"link add br1 type bridge", {NL_EVENT_LINK, "br1", NULL, false, false}},
        {"link set eth1 master br1", {NL_EVENT_LINK, "eth1", NULL, false, false}},
        {"link del eth1", {NL_EVENT_LINK, "peer1", NULL, true, false}},
    };
    uint64_t worst = 0;

    NEEDS_NS(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t since, took;

        drain();
        NL_NS_MUST("ip %s", rows[i].change); /* the kernel tells before ip returns */
        since = now_us();
        took = hear(&rows[i].want, since);
        if (took == UINT64_MAX)
            fail_msg("ip %s: not heard", rows[i].change);
        if (took > HEARD_WITHIN_US)
            fail_msg("ip %s: heard after %u us", rows[i].change, (unsigned)took);
        if (took > worst)
            worst = took;
    }
    print_message("%zu changes, each heard within %u us of ip's end\n", ARRAY_LEN(rows),
                  (unsigned)worst);
}

/* A port that leaves its bridge is not gone: the kernel tells the leaving as an RTM_DELLINK of the
 * bridge family. */
static void
on_gone(void *ctx, const struct nl_event *e)
{
    if (e->kind == NL_EVENT_LINK && e->gone)
        ++*(unsigned *)ctx;
}

static void
test_port_leaves(void **state)
{
    unsigned gone = 0;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link add br1 type bridge");
    NL_NS_MUST("ip link set eth1 master br1");
    drain();
    NL_NS_MUST("ip link set eth1 nomaster");
    assert_int_equal(nl_watch_read(watch, on_gone, &gone, NULL), 0);
    assert_int_equal(gone, 0);
    NL_NS_MUST("ip link del br1");
    assert_int_equal(nl_watch_read(watch, on_gone, &gone, NULL), 0);
    assert_int_equal(gone, 1);
}

static void
on_lost(void *ctx, const struct nl_event *e)
{
    unsigned *n = ctx;

    n[e->kind == NL_EVENT_LOST]++;
}

/* More events than the buffer holds: the loss is told, and then all goes on. */
static void
test_lost(void **state)
{
    struct expected want = {NL_EVENT_LINK, "after", NULL, false, false};
    unsigned n[2] = {0, 0}, changes = 0;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    drain();
    for (; changes < 20000; changes++)
        assert_int_equal(changes % 2 ? nl_link_down("eth1", NULL) : nl_link_up("eth1", NULL), 0);
    NL_NS_MUST("ip link add other type bridge"); /* its name is learnt although it was not told */
    assert_int_equal(nl_watch_read(watch, on_lost, n, NULL), 0);
    print_message("%u changes: %u events and %u losses\n", changes, n[0], n[1]);
    if (n[1] == 0) {
        print_message("the buffer held them all\n");
        skip();
    }
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev other");
    want = (struct expected){NL_EVENT_ADDR, "other", "10.200.5.1", false, false};
    assert_true(hear(&want, 0) != UINT64_MAX);
}

static void
test_neighbour(void **state)
{
    static const struct {
        const char *change, *ip;
        int want;
    } rows[] = {
        {"addr add 10.200.5.1/24 dev eth1", "10.200.5.2", 0},
        {"neigh add 10.200.5.2 lladdr 02:00:00:00:00:02 dev eth1 nud reachable", "10.200.5.2", 1},
        {"neigh change 10.200.5.2 dev eth1 nud stale", "10.200.5.2", 1},
        {"neigh change 10.200.5.2 dev eth1 nud permanent", "10.200.5.2", 1},
        {"neigh change 10.200.5.2 dev eth1 nud failed", "10.200.5.2", -EHOSTUNREACH},
        {"neigh flush dev eth1 nud failed", "10.200.5.3", 0},
        {"neigh add fd00:5::2 lladdr 02:00:00:00:00:02 dev eth1", "fd00:5::2", 1},
    };
    struct err err = {0};
    struct ip ip;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link set eth1 up");
    NL_NS_MUST("ip link set peer1 up");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc;

        NL_NS_MUST("ip %s", rows[i].change);
        assert_int_equal(ip_parse(rows[i].ip, &ip, NULL), 0);
        rc = nl_neighbour("eth1", &ip, &err);
        if (rc != rows[i].want)
            fail_msg("ip %s: %d, want %d: %s", rows[i].change, rc, rows[i].want, err_msg(&err));
        if (rc < 0)
            assert_non_null(strstr(err.msg, rows[i].ip));
    }
    assert_int_equal(nl_neighbour("eth9", &ip, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "eth9"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_port_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_neighbour, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nl_watch", tests, NULL, NULL);
}
