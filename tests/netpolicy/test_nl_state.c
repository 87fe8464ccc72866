/* Reading interfaces from the real kernel, in a namespace of the test's own in which `ip` and `tc`
 * made them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"
#include "tests/netpolicy/nl_ns.h"

static struct arena *arena;

static int
set_up(void **state)
{
    *state = nl_ns_fresh() ? state : NULL;
    arena = arena_new();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

#define NEEDS_NS(state) \
    do {                \
        if (!*(state))  \
            skip();     \
    } while (0)

static const struct net_link *
link_now(const char *name)
{
    struct net_state s = nl_ns_state(arena);
    const struct net_link *l = net_state_find(&s, name);

    if (!l)
        fail_msg("no %s", name);
    return l;
}

static void
test_kinds(void **state)
{
    const struct net_link *l;
    struct net_state s;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add br1 type bridge stp_state 1");
    NL_NS_MUST("ip link add br2 address 02:00:00:00:00:07 type bridge");
    NL_NS_MUST("ip link add eth1 mtu 9000 type veth peer name peer1");
    NL_NS_MUST("ip link add link eth1 name mv0 mtu 1400 type macvlan mode private");
    NL_NS_MUST("ip link set peer1 master br1");
    NL_NS_MUST("ip link set eth1 up");
    if (nl_ns_sh("ip link add br3 type bridge vlan_filtering 1") == 0)
        assert_true(link_now("br3")->vlan_filtering);
    if (nl_ns_sh("ip link add vx0 type vxlan id 5 dstport 4789") == 0)
        assert_int_equal(link_now("vx0")->kind, NET_OTHER);

    s = nl_ns_state(arena);
    for (size_t i = 1; i < s.len; i++)
        assert_true(strcmp(s.links[i - 1].name, s.links[i].name) < 0);

    l = link_now("lo");
    assert_int_equal(l->kind, NET_LOOPBACK);
    assert_true(l->up);
    assert_int_equal(l->addrs_len, 0); /* of host scope */
    l = link_now("br1");
    assert_int_equal(l->kind, NET_BRIDGE);
    assert_string_equal(l->driver, "bridge");
    assert_true(l->stp && !l->vlan_filtering && !l->up);
    l = link_now("br2");
    assert_true(!l->stp && !l->vlan_filtering);
    assert_memory_equal(l->mac, "\x02\0\0\0\0\x07", 6);
    l = link_now("eth1");
    assert_int_equal(l->kind, NET_ETHERNET);
    assert_string_equal(l->driver, "veth");
    assert_string_equal(l->base, ""); /* a veth's peer is nothing that it stands on */
    assert_int_equal(l->mtu, 9000);
    assert_int_equal(l->min_mtu, 68);
    assert_int_equal(l->max_mtu, 65535);
    assert_int_equal(l->speed_mbps, 0); /* no hardware */
    assert_true(l->up && !l->carrier);  /* its peer is down */
    l = link_now("peer1");
    assert_string_equal(l->controller, "br1");
    assert_true(l->ifindex > 0);
    l = link_now("mv0");
    assert_int_equal(l->kind, NET_MACVLAN);
    assert_string_equal(l->base, "eth1");
    assert_string_equal(l->macvlan_mode, "private");
    assert_int_equal(l->mtu, 1400);

    NL_NS_MUST("ip link set peer1 up");
    assert_true(link_now("eth1")->carrier);
    NL_NS_MUST("ip link add link eth1 name mv1 type macvlan mode source");
    assert_null(link_now("mv1")->macvlan_mode);
}

static void
test_kinds_rare(void **state)
{
    const struct net_link *l;

    NEEDS_NS(state);
    if (!nl_ns_has_kind("bond") || nl_ns_sh("ip link add eth1 type veth peer name p1") != 0 ||
        nl_ns_sh("ip link add link eth1 name eth1.7 type vlan id 7") != 0) {
        print_message("needs bond and vlan\n");
        skip();
    }
    NL_NS_MUST("ip link add link eth1 name q0 type vlan protocol 802.1ad id 9");
    NL_NS_MUST("ip link add bond0 type bond mode 802.3ad miimon 140");
    l = link_now("eth1.7");
    assert_int_equal(l->kind, NET_VLAN);
    assert_int_equal(l->vlan_id, 7);
    assert_string_equal(l->base, "eth1");
    assert_int_equal(link_now("q0")->kind, NET_OTHER);
    l = link_now("bond0");
    assert_int_equal(l->kind, NET_BOND);
    assert_int_equal(l->bond_mode, 4);
    assert_int_equal(l->bond_miimon, 140);
}

static void
test_addresses(void **state)
{
    static const struct {
        const char *text;
        unsigned prefix;
        bool foreign;
    } want[] = {{"10.200.5.1", 16, false}, {"10.200.5.1", 24, false}, {"10.200.5.9", 24, true},
                {"198.18.0.1", 32, false}, {"fd00:5::1", 64, false},  {"fd00:5::2", 64, true}};
    const struct net_link *l;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link set eth1 up");
    NL_NS_MUST("ip addr add fd00:5::2/64 dev eth1 valid_lft 1000 preferred_lft 900 nodad");
    NL_NS_MUST("ip addr add fd00:5::1/64 dev eth1 nodad");
    NL_NS_MUST("ip addr add 198.18.0.1 peer 198.18.0.2/32 dev eth1");
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev eth1");
    NL_NS_MUST("ip addr add 10.200.5.1/16 dev eth1");
    NL_NS_MUST("ip addr add 10.200.5.9/24 dev eth1 valid_lft 1000 preferred_lft 900");
    NL_NS_MUST("ip addr add 169.254.7.7/16 dev eth1 scope link");
    l = link_now("eth1");
    assert_int_equal(l->addrs_len, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        char text[IP_TEXT_SIZE];

        ip_format(&l->addrs[i].ip, text, sizeof text);
        assert_string_equal(text, want[i].text);
        assert_int_equal(l->addrs[i].prefix, want[i].prefix);
        assert_int_equal(l->addrs[i].foreign, want[i].foreign);
    }
    assert_int_equal(link_now("peer1")->addrs_len, 0);
}

static void
test_arp_ignore(void **state)
{
    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    assert_false(link_now("eth1")->arp_ignore);
    if (nl_ns_sh("echo 1 >/proc/sys/net/ipv4/conf/eth1/arp_ignore") != 0) {
        print_message("needs /proc/sys to write to\n");
        skip();
    }
    assert_true(link_now("eth1")->arp_ignore);
    assert_false(link_now("peer1")->arp_ignore);
}

static void
test_default_route(void **state)
{
    static const struct {
        const char *name, *route, *links; /* which have it then */
    } rows[] = {
        {"none", "10.9.0.0/16 dev eth1", ""},
        {"another table", "default via 10.200.5.254 dev eth1 table 100", ""},
        {"blackhole", "blackhole default", ""},
        {"IPv4", "default via 10.200.5.254 dev eth1", "eth1"},
        {"without a gateway", "default dev mv0", "mv0"},
        {"IPv6", "default via fd00:5::fe dev eth1", "eth1"},
        {"several ways",
         "default nexthop via 10.200.5.254 dev eth1 nexthop via 10.200.6.254 dev br1",
         "br1 eth1 port1"},
        {"its controller", "default dev br1", "br1 port1"},
        {"unreachable IPv6", "unreachable default metric 9999999", ""},
    };

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link add br1 type bridge");
    NL_NS_MUST("ip link add port1 type veth peer name port2");
    NL_NS_MUST("ip link set port1 master br1");
    NL_NS_MUST("ip link add link eth1 name mv0 type macvlan mode bridge");
    for (int i = 0; i < 6; i++) {
        static const char *const up[] = {"peer1", "eth1", "port2", "port1", "br1", "mv0"};

        NL_NS_MUST("ip link set %s up", up[i]);
    }
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev eth1");
    NL_NS_MUST("ip addr add 10.200.6.1/24 dev br1");
    NL_NS_MUST("ip addr add fd00:5::1/64 dev eth1 nodad");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *family = strstr(rows[i].name, "IPv6") ? "-6" : "-4";
        char have[128] = "";
        struct net_state s;

        NL_NS_MUST("ip %s route add %s", family, rows[i].route);
        s = nl_ns_state(arena);
        for (size_t k = 0; k < s.len; k++)
            if (s.links[k].default_route)
                snprintf(have + strlen(have), sizeof have - strlen(have), "%s%s",
                         have[0] ? " " : "", s.links[k].name);
        if (strcmp(have, rows[i].links) != 0)
            fail_msg("%s: \"%s\", want \"%s\"", rows[i].name, have, rows[i].links);
        NL_NS_MUST("ip %s route del %s", family, rows[i].route);
    }
}

/* In another namespace than its base, which has no name there. */
static int
read_elsewhere(int go, int ready)
{
    const struct net_link *l;
    struct net_state s;
    char c = 0;

    if (unshare(CLONE_NEWNET) != 0 || write(ready, &c, 1) != 1 || read(go, &c, 1) != 1 ||
        nl_state_read(arena, &s, NULL) != 0)
        return 1;
    l = net_state_find(&s, "mv0");
    return l && l->kind == NET_MACVLAN && !l->base[0] ? 0 : 2;
}

static void
test_base_elsewhere(void **state)
{
    int go[2], ready[2], status;
    char c = 0;
    pid_t pid;

    NEEDS_NS(state);
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link add link eth1 name mv0 type macvlan mode bridge");
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0)
        _exit(read_elsewhere(go[0], ready[1]));
    assert_int_equal(read(ready[0], &c, 1), 1);
    NL_NS_MUST("ip link set mv0 netns %d", (int)pid);
    assert_int_equal(write(go[1], &c, 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(ready[i]);
    }
}

static atomic_bool stop;

static void *
disturb(void *ctx)
{
    (void)ctx;
    while (!stop) {
        nl_bridge_add("flap0", NULL);
        nl_link_del("flap0", NULL);
    }
    return NULL;
}

/* Listings that are interrupted are repeated: what is stable is there each time, and once. */
static void
test_torn(void **state)
{
    pthread_t t;
    unsigned read = 0, busy = 0;

    NEEDS_NS(state);
    for (int i = 0; i < 100; i++)
        NL_NS_MUST("ip link add stable%d type bridge", i);
    stop = false;
    assert_int_equal(pthread_create(&t, NULL, disturb, NULL), 0);
    for (int i = 0; i < 100; i++) {
        struct err err = {0};
        struct net_state s;
        size_t stable = 0;
        int rc = nl_state_read(arena, &s, &err);

        if (rc == -EAGAIN) { /* ten times in a row */
            busy++;
            continue;
        }
        assert_int_equal(rc, 0);
        for (size_t k = 0; k < s.len; k++)
            stable += strncmp(s.links[k].name, "stable", 6) == 0;
        assert_int_equal(stable, 100);
        read++;
    }
    stop = true;
    pthread_join(t, NULL);
    print_message("%u read, %u given up\n", read, busy);
    assert_true(read > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kinds_rare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_arp_ignore, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_default_route, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_base_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nl_state", tests, NULL, NULL);
}
