/* Each step of a plan on the real kernel, in a namespace of the test's own; `ip` says whether it is
 * so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "netpolicy/nl_link.h"
#include "netpolicy/nl_state.h"
#include "tests/netpolicy/nl_ns.h"

static int
set_up(void **state)
{
    *state = nl_ns_fresh() ? state : NULL;
    if (!*state)
        return 0;
    NL_NS_MUST("ip link add eth1 type veth peer name peer1");
    NL_NS_MUST("ip link add eth2 type veth peer name peer2");
    NL_NS_MUST("ip link add br0 type bridge");
    NL_NS_MUST("ip link set br0 up");
    return 0;
}

#define NEEDS_NS(state) \
    do {                \
        if (!*(state))  \
            skip();     \
    } while (0)

static int
apply(const struct net_step *s)
{
    struct err err = {0};
    int rc = nl_step_apply(s, &err);

    if (rc != 0)
        print_message("%d: %s\n", rc, err_msg(&err));
    return rc;
}

#define MUST(o, ...) \
    assert_int_equal(apply(&(const struct net_step){.op = (o), .link = __VA_ARGS__}), 0)

static struct net_addr
address(const char *text)
{
    struct net_addr a = {0};
    struct cidr c;

    assert_int_equal(cidr_parse(text, &c, NULL), 0);
    a.ip = c.base;
    a.prefix = c.prefix;
    return a;
}

/* Each row does a step (which must be so afterwards, as `ip` sees it), does it again (which is no
 * error) and undoes it (which must not be so afterwards). */
static void
test_there_and_back(void **state)
{
    static const struct {
        struct net_step there, back;
        const char *is; /* ip's arguments, and what to find in what it prints */
        const char *addr;
    } rows[] = {
        {{NET_OP_ADD, {.name = "br1", .kind = NET_BRIDGE}, {}},
         {NET_OP_DEL, {.name = "br1"}, {}},
         "-d link show br1 | grep -w bridge",
         NULL},
        {{NET_OP_ADD,
          {.name = "mv0", .kind = NET_MACVLAN, .base = "eth1", .macvlan_mode = "private"},
          {}},
         {NET_OP_DEL, {.name = "mv0"}, {}},
         "-d link show mv0 | grep 'macvlan mode private'",
         NULL},
        {{NET_OP_UP, {.name = "eth1"}, {}},
         {NET_OP_DOWN, {.name = "eth1"}, {}},
         "link show eth1 | grep '[<,]UP'",
         NULL},
        {{NET_OP_MTU, {.name = "eth1", .mtu = 9000}, {}},
         {NET_OP_MTU, {.name = "eth1", .mtu = 1500}, {}},
         "link show eth1 | grep 'mtu 9000'",
         NULL},
        {{NET_OP_MAC, {.name = "eth1", .mac = {2, 0, 0, 0, 0, 9}}, {}},
         {NET_OP_MAC, {.name = "eth1", .mac = {2, 0, 0, 0, 0, 8}}, {}},
         "link show eth1 | grep 02:00:00:00:00:09",
         NULL},
        {{NET_OP_CONTROLLER, {.name = "eth1", .controller = "br0"}, {}},
         {NET_OP_CONTROLLER, {.name = "eth1", .controller = ""}, {}},
         "link show eth1 | grep 'master br0'",
         NULL},
        {{NET_OP_BRIDGE, {.name = "br0", .stp = true}, {}},
         {NET_OP_BRIDGE, {.name = "br0", .stp = false}, {}},
         "-d link show br0 | grep 'stp_state 1'",
         NULL},
        {{NET_OP_ADDR_ADD, {.name = "eth1"}, {}},
         {NET_OP_ADDR_DEL, {.name = "eth1"}, {}},
         "addr show eth1 | grep 'inet 10.200.5.1/24 '",
         "10.200.5.1/24"},
        {{NET_OP_ADDR_ADD, {.name = "br0"}, {}},
         {NET_OP_ADDR_DEL, {.name = "br0"}, {}},
         "addr show br0 | grep 'inet6 fd00:5::1/64 .*nodad'",
         "fd00:5::1/64"},
        {{NET_OP_ARP_IGNORE, {.name = "eth1", .arp_ignore = true}, {}},
         {NET_OP_ARP_IGNORE, {.name = "eth1", .arp_ignore = false}, {}},
         "-V && grep -x 1 /proc/sys/net/ipv4/conf/eth1/arp_ignore",
         NULL},
        {{NET_OP_SHAPE, {.name = "eth1", .shape = {12345678, 0}}, {}},
         {NET_OP_SHAPE, {.name = "eth1", .shape = {0, 0}}, {}},
         "-V && tc class show dev eth1 | grep 'root rate 98765'",
         NULL},
    };

    NEEDS_NS(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_step there = rows[i].there, back = rows[i].back;

        if (rows[i].addr)
            there.addr = back.addr = address(rows[i].addr);
        if (nl_ns_sh("ip %s", rows[i].is) == 0)
            fail_msg("ip %s: already so", rows[i].is);
        if (apply(&there) != 0 || nl_ns_sh("ip %s", rows[i].is) != 0)
            fail_msg("ip %s: not so", rows[i].is);
        if (apply(&there) != 0 || nl_ns_sh("ip %s", rows[i].is) != 0)
            fail_msg("ip %s: not done twice", rows[i].is);
        if (apply(&back) != 0 || nl_ns_sh("ip %s", rows[i].is) == 0)
            fail_msg("ip %s: not undone", rows[i].is);
        if (apply(&back) != 0)
            fail_msg("ip %s: not undone twice", rows[i].is);
    }
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *text;
        int rc;
        const char *reason;
        struct net_step step;
        const char *addr;
    } rows[] = {
        {"add: name taken",
         "eth1",
         -EEXIST,
         NET_REASON_CONFLICT,
         {NET_OP_ADD, {.name = "eth1", .kind = NET_BRIDGE}, {}},
         NULL},
        {"add: base missing",
         "eth9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_ADD,
          {.name = "m0", .kind = NET_MACVLAN, .base = "eth9", .macvlan_mode = "bridge"},
          {}},
         NULL},
        {"add: another base",
         "mv1",
         -EEXIST,
         NET_REASON_CONFLICT,
         {NET_OP_ADD,
          {.name = "mv1", .kind = NET_MACVLAN, .base = "eth2", .macvlan_mode = "bridge"},
          {}},
         NULL},
        {"add: no mode",
         "mode",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_ADD, {.name = "m0", .kind = NET_MACVLAN, .base = "eth1"}, {}},
         NULL},
        {"add: not ours to make",
         "ethernet",
         -EOPNOTSUPP,
         NET_REASON_KIND,
         {NET_OP_ADD, {.name = "eth7", .kind = NET_ETHERNET}, {}},
         NULL},
        {"add: name too long",
         "15 bytes",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_ADD, {.name = "", .kind = NET_BRIDGE}, {}},
         NULL},
        {"add: a name that the kernel refuses",
         "a/b",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_ADD, {.name = "a/b", .kind = NET_BRIDGE}, {}},
         NULL},
        {"del: not ours to remove",
         "eth1",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_DEL, {.name = "eth1"}, {}},
         NULL},
        {"del: loopback",
         "loopback",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_DEL, {.name = "lo"}, {}},
         NULL},
        {"up: missing",
         "eth9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_UP, {.name = "eth9"}, {}},
         NULL},
        {"mtu: too small",
         "68",
         -ERANGE,
         NET_REASON_MTU,
         {NET_OP_MTU, {.name = "eth1", .mtu = 67}, {}},
         NULL},
        {"mtu: too large",
         "65535",
         -ERANGE,
         NET_REASON_MTU,
         {NET_OP_MTU, {.name = "eth1", .mtu = 70000}, {}},
         NULL},
        {"mtu: above its base's",
         "base",
         -ERANGE,
         NET_REASON_MTU,
         {NET_OP_MTU, {.name = "mv1", .mtu = 9000}, {}},
         NULL},
        {"mac: multicast",
         "eth1",
         -EADDRNOTAVAIL,
         NET_REASON_KERNEL,
         {NET_OP_MAC, {.name = "eth1", .mac = {1, 0, 0, 0, 0, 1}}, {}},
         NULL},
        {"controller: missing",
         "br9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_CONTROLLER, {.name = "eth1", .controller = "br9"}, {}},
         NULL},
        {"controller: none that takes ports",
         "eth1",
         -EOPNOTSUPP,
         NET_REASON_KIND,
         {NET_OP_CONTROLLER, {.name = "eth1", .controller = "eth2"}, {}},
         NULL},
        {"controller: itself",
         "br0",
         -ELOOP,
         NET_REASON_KERNEL,
         {NET_OP_CONTROLLER, {.name = "br0", .controller = "br0"}, {}},
         NULL},
        {"address: missing interface",
         "eth9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_ADDR_ADD, {.name = "eth9"}, {}},
         "10.200.5.1/24"},
        {"address: missing interface, taken away",
         "eth9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_ADDR_DEL, {.name = "eth9"}, {}},
         "10.200.5.1/24"},
        {"shape: too slow",
         "1000",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_SHAPE, {.name = "eth1", .shape = {999, 0}}, {}},
         NULL},
        {"shape: burst too large",
         "1073741824",
         -EINVAL,
         NET_REASON_INVALID,
         {NET_OP_SHAPE, {.name = "eth1", .shape = {1 << 20, 1ull << 40}}, {}},
         NULL},
        {"shape: missing",
         "eth9",
         -ENOENT,
         NET_REASON_INTERFACE_MISSING,
         {NET_OP_SHAPE, {.name = "eth9", .shape = {1 << 20, 0}}, {}},
         NULL},
    };

    NEEDS_NS(state);
    NL_NS_MUST("ip link add link eth1 name mv1 type macvlan mode bridge");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_step s = rows[i].step;
        struct err err = {0};
        int rc;

        if (rows[i].addr)
            s.addr = address(rows[i].addr);
        rc = nl_step_apply(&s, &err);
        if (rc != rows[i].rc || !strstr(err.msg, rows[i].text))
            fail_msg("%s: %d, want %d: \"%s\" (want it to say \"%s\")", rows[i].name, rc,
                     rows[i].rc, err.msg, rows[i].text);
        assert_string_equal(nl_step_reason(rc), rows[i].reason);
    }
    assert_string_equal(nl_step_reason(-EPERM), NET_REASON_PERMISSION);
}

/* A kind that the kernel has no driver for keeps its errno, which libnl gives another name to. */
static void
test_kind_lacking(void **state)
{
    struct net_step s = {NET_OP_ADD, {.name = "x0", .kind = NET_BOND, .bond_mode = 1}, {}};
    struct err err = {0};
    bool has = nl_ns_has_kind("bond");
    int rc;

    NEEDS_NS(state);
    rc = nl_step_apply(&s, &err);
    if (has) {
        assert_int_equal(rc, 0);
        NL_NS_MUST("ip -d link show x0 | grep 'bond mode active-backup'");
        return;
    }
    assert_int_equal(rc, -EOPNOTSUPP);
    assert_string_equal(nl_step_reason(rc), NET_REASON_KIND);
    assert_string_equal(err.msg,
                        "cannot make bond x0: this kernel makes no interfaces of that kind");
}

static void
test_vlan(void **state)
{
    NEEDS_NS(state);
    if (nl_ns_sh("ip link add link eth1 name q type vlan id 5") != 0) {
        print_message("this kernel makes no vlan\n");
        skip();
    }
    MUST(NET_OP_ADD, {.name = "eth1.7", .kind = NET_VLAN, .base = "eth1", .vlan_id = 7});
    NL_NS_MUST("ip -d link show eth1.7 | grep 'vlan protocol 802.1Q id 7'");
    MUST(NET_OP_DEL, {.name = "eth1.7"});

    /* on a bridge whose MAC address went with its last port */
    MUST(NET_OP_CONTROLLER, {.name = "eth1", .controller = "br0"});
    MUST(NET_OP_CONTROLLER, {.name = "eth1", .controller = ""});
    NL_NS_MUST("ip link show br0 | grep 'ether 00:00:00:00:00:00'");
    MUST(NET_OP_ADD, {.name = "br0.7", .kind = NET_VLAN, .base = "br0", .vlan_id = 7});
    MUST(NET_OP_UP, {.name = "br0.7"});
}

static void
test_bond(void **state)
{
    NEEDS_NS(state);
    if (!nl_ns_has_kind("bond"))
        skip();
    NL_NS_MUST("ip link set eth1 up");
    MUST(NET_OP_ADD, {.name = "bond0", .kind = NET_BOND, .bond_mode = 1, .bond_miimon = 100});
    MUST(NET_OP_BOND, {.name = "bond0", .bond_miimon = 140});
    NL_NS_MUST("ip -d link show bond0 | grep 'mode active-backup .*miimon 140'");
    /* a port must be down to go in and comes out down; the step leaves what was up up */
    MUST(NET_OP_CONTROLLER, {.name = "eth1", .controller = "bond0"});
    NL_NS_MUST("ip link show eth1 | grep 'master bond0'");
    MUST(NET_OP_CONTROLLER, {.name = "eth1"});
    NL_NS_MUST("ip link show eth1 | grep '[<,]UP'");
    MUST(NET_OP_CONTROLLER, {.name = "eth2", .controller = "bond0"}); /* opens it */
    MUST(NET_OP_DOWN, {.name = "eth2"});
    MUST(NET_OP_CONTROLLER, {.name = "eth2"});
    assert_int_not_equal(nl_ns_sh("ip link show eth2 | grep '[<,]UP'"), 0);
    MUST(NET_OP_DEL, {.name = "bond0"});
}

/* The kernel takes a subnet's other addresses away with its first one. */
static void
test_first_address_alone(void **state)
{
    struct net_step s = {NET_OP_ADDR_DEL, {.name = "eth1"}, address("10.200.5.1/24")};

    NEEDS_NS(state);
    NL_NS_MUST("ip addr add 10.200.5.1/24 dev eth1");
    NL_NS_MUST("ip addr add 10.200.5.2/24 dev eth1");
    NL_NS_MUST("ip addr add 10.200.5.3/24 dev eth1 valid_lft 1000 preferred_lft 900");
    assert_int_equal(apply(&s), 0);
    assert_int_not_equal(nl_ns_sh("ip addr show eth1 | grep 10.200.5.1/"), 0);
    NL_NS_MUST("ip addr show eth1 | grep 10.200.5.2/");
    NL_NS_MUST("ip addr show eth1 | grep 10.200.5.3/");
    NL_NS_MUST("grep -x 0 /proc/sys/net/ipv4/conf/eth1/promote_secondaries");
}

static void
test_foreign_limit(void **state)
{
    struct net_step s = {NET_OP_SHAPE, {.name = "eth1", .shape = {1 << 20, 0}}, {}};
    struct err err = {0};

    NEEDS_NS(state);
    if (nl_ns_sh("tc qdisc add dev eth1 root handle 7: tbf rate 1gbit burst 1mb latency 50ms") !=
        0) {
        print_message("needs tc and tbf\n");
        skip();
    }
    assert_int_equal(nl_step_apply(&s, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "eth1"));
    s.link.shape.rate_bytes_per_s = 0; /* none of ours is there: nothing to do */
    assert_int_equal(nl_step_apply(&s, &err), 0);
    NL_NS_MUST("tc qdisc show dev eth1 | grep 'tbf 7: root'");
}

static atomic_bool stop;
static atomic_uint tried;

static void *
come_and_go(void *ctx)
{
    struct nl_counters n;

    (void)ctx;
    for (unsigned turn = 0; !stop; turn++) {
        nl_bridge_add("flap0", NULL);
        for (unsigned until = tried + turn % 3; !stop && tried < until;)
            sched_yield();
        for (unsigned i = 0; i < turn * 7 % 64; i++) /* and a little into the next step */
            nl_link_counters("flap0", &n, NULL);
        nl_link_del("flap0", NULL);
    }
    return NULL;
}

/* An interface that vanishes between a step's reading, doing and reading back: the step was done, or
 * says that there is none. */
static void
test_vanishes(void **state)
{
    struct net_step rows[] = {
        {NET_OP_UP, {.name = "flap0"}, {}},
        {NET_OP_MTU, {.name = "flap0", .mtu = 1400}, {}},
        {NET_OP_MAC, {.name = "flap0", .mac = {2, 0, 0, 0, 0, 9}}, {}},
        {NET_OP_CONTROLLER, {.name = "eth1", .controller = "flap0"}, {}},
        {NET_OP_BRIDGE, {.name = "flap0", .stp = true}, {}},
        {NET_OP_ADDR_ADD, {.name = "flap0"}, address("10.200.5.1/24")},
        {NET_OP_ADDR_ADD, {.name = "flap0"}, address("fd00:5::1/64")},
        {NET_OP_SHAPE, {.name = "flap0", .shape = {1 << 20, 0}}, {}},
        {NET_OP_ARP_IGNORE, {.name = "flap0", .arp_ignore = true}, {}},
    };
    unsigned done = 0, none = 0;
    pthread_t t;

    NEEDS_NS(state);
    stop = false;
    assert_int_equal(pthread_create(&t, NULL, come_and_go, NULL), 0);
    /* On a busy machine the other thread may not have begun when these are over. */
    for (size_t i = 0; i < 40 * ARRAY_LEN(rows) || ((done == 0 || none == 0) && i < 100000); i++) {
        const struct net_step *s = &rows[i % ARRAY_LEN(rows)];
        struct err err = {0};
        int rc = nl_step_apply(s, &err);

        tried++;
        done += rc == 0;
        none += rc == -ENOENT;
        /* -EAGAIN: all listings were interrupted; -EIO: it went and came again in between */
        if (rc != 0 && rc != -ENOENT && rc != -EAGAIN && rc != -EIO) {
            stop = true;
            pthread_join(t, NULL);
            fail_msg("op %d: %d: %s", s->op, rc, err.msg);
        }
    }
    stop = true;
    pthread_join(t, NULL);
    print_message("%u done, %u without the interface\n", done, none);
    assert_true(none > 0);
}

/* Without CAP_NET_ADMIN all that only reads works, what is already so is no error, and every step
 * says what it lacks. */
static int
without_capability(void)
{
    const struct net_step steps[] = {
        {NET_OP_ADD, {.name = "br1", .kind = NET_BRIDGE}, {}},
        {NET_OP_ADD,
         {.name = "m1", .kind = NET_MACVLAN, .base = "eth1", .macvlan_mode = "bridge"},
         {}},
        {NET_OP_DEL, {.name = "br0"}, {}},
        {NET_OP_UP, {.name = "eth1"}, {}},
        {NET_OP_DOWN, {.name = "br0"}, {}},
        {NET_OP_MTU, {.name = "eth1", .mtu = 9000}, {}},
        {NET_OP_MAC, {.name = "eth1", .mac = {2, 0, 0, 0, 0, 9}}, {}},
        {NET_OP_CONTROLLER, {.name = "eth1", .controller = "br0"}, {}},
        {NET_OP_BRIDGE, {.name = "br0", .stp = true}, {}},
        {NET_OP_ADDR_ADD, {.name = "eth1"}, address("10.200.5.1/24")},
        {NET_OP_ADDR_DEL, {.name = "eth2"}, address("10.200.5.2/24")},
        {NET_OP_SHAPE, {.name = "eth1", .shape = {1 << 20, 0}}, {}},
        {NET_OP_ARP_IGNORE, {.name = "eth1", .arp_ignore = true}, {}},
    };
    const struct net_step so = {NET_OP_UP, {.name = "br0"}, {}};
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    struct arena *a = arena_new();
    struct nl_watch *w = NULL;
    struct err err = {0};
    struct net_state s;
    struct ip ip;
    int bad = 0;

    if (syscall(SYS_capset, &h, none) != 0)
        return 1;
    ip_parse("10.200.5.2", &ip, NULL);
    if (nl_state_read(a, &s, &err) != 0 || !net_state_find(&s, "eth1") ||
        nl_watch_new(&w, &err) != 0 || nl_neighbour("eth1", &ip, &err) != 0 ||
        nl_step_apply(&so, &err) != 0) {
        print_error("%s\n", err.msg);
        bad = 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int rc = nl_step_apply(&steps[i], &err);

        if (rc != -EPERM || !strstr(err.msg, "CAP_NET_ADMIN") ||
            !strstr(err.msg, steps[i].link.name)) {
            print_error("step %zu: %d: %s\n", i, rc, err.msg);
            bad = 3;
        }
    }
    nl_watch_free(w);
    arena_free(a);
    return bad;
}

static void
test_no_capability(void **state)
{
    int status;
    pid_t pid;

    NEEDS_NS(state);
    NL_NS_MUST("ip addr add 10.200.5.2/24 dev eth2");
    pid = fork();
    if (pid == 0)
        _exit(without_capability());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_there_and_back, set_up),
        cmocka_unit_test_setup(test_refused, set_up),
        cmocka_unit_test_setup(test_kind_lacking, set_up),
        cmocka_unit_test_setup(test_vlan, set_up),
        cmocka_unit_test_setup(test_bond, set_up),
        cmocka_unit_test_setup(test_first_address_alone, set_up),
        cmocka_unit_test_setup(test_foreign_limit, set_up),
        cmocka_unit_test_setup(test_vanishes, set_up),
        cmocka_unit_test_setup(test_no_capability, set_up),
    };

    return cmocka_run_group_tests_name("nl_step", tests, NULL, NULL);
}
