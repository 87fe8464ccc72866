/* From what is and what is asked to the steps that are missing: named cases. What the kernel makes of
 * the steps is tested in test_net_plan_random.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/netpolicy/net_text.h"

struct plan_case {
    const char *name, *now, *wants, *plan;
};

static const struct plan_case cases[] = {
    {"nothing asked", "eth1 up; br0 bridge up; eth2 up ctl=br0", "", ""},
    {"right already: taken over",
     "br1 bridge up 10.0.0.1/24; eth1 up ctl=br1; m0 macvlan up on=br1",
     "br1 bridge up 10.0.0.1/24 ports=eth1; m0 macvlan up on=br1 mtu=1500", ""},
    {"only what differs", "br1 bridge up; eth1 up ctl=br1", "br1 bridge up ports=eth1 10.0.0.1/24",
     "add address 10.0.0.1/24 to br1"},
    {"bridge with a port", "eth1 down", "br1 bridge up ports=eth1",
     "bring up eth1; make bridge br1; put eth1 into br1; bring up br1"},
    {"bridge gets its MTU from its port", "eth1 up", "br1 bridge up ports=eth1; eth1 up mtu=9000",
     "set mtu 9000 on eth1; make bridge br1; put eth1 into br1; bring up br1"},
    {"bond", "eth1 up; eth2 down", "bond0 bond up bmode=1 miimon=100 ports=eth1,eth2",
     "make bond bond0 (active-backup); put eth1 into "
     "bond0; "
     "put eth2 into bond0; bring up bond0"},
    {"vlan on a bond", "eth1 up",
     "v5 vlan up on=bond0 id=5; bond0 bond up bmode=4 miimon=100 ports=eth1",
     "make bond bond0 (802.3ad); put eth1 into bond0; bring up bond0; make vlan v5 "
     "on bond0 (5); bring up v5"},
    {"macvlan on a bridge", "eth1 up",
     "br1 bridge up ports=eth1; migration0 macvlan up on=br1 10.200.5.1/24",
     "make bridge br1; put eth1 into br1; bring up br1; make macvlan migration0 on br1 (bridge); "
     "bring up migration0; add address 10.200.5.1/24 to migration0"},
    {"macvlan moves to another base", "eth1 up; eth2 up; m0 macvlan up on=eth1 10.0.0.1/24",
     "m0 macvlan up on=eth2",
     "remove m0; make macvlan m0 on eth2 (bridge); bring up m0; add address 10.0.0.1/24 to m0"},
    {"vlan id differs", "eth1 up; v vlan up on=eth1 id=5", "v vlan up on=eth1 id=6",
     "remove v; make vlan v on eth1 (6); bring up v"},
    {"bond mode differs: ports and vlans come back",
     "bond0 bond up bmode=1; eth1 up ctl=bond0; v vlan up on=bond0 id=5 fd00::1/64",
     "bond0 bond up bmode=4 miimon=100",
     "remove v; remove bond0; set mtu 1500 on eth1; make bond bond0 (802.3ad); put eth1 into "
     "bond0; "
     "bring up bond0; make vlan v on bond0 (5); bring up v; add address fd00::1/64 to v"},
    {"MTU up: from the bottom", "eth1 up; m0 macvlan up on=eth1",
     "m0 macvlan up on=eth1 mtu=9000; eth1 up mtu=9000",
     "set mtu 9000 on eth1; set mtu 9000 on m0"},
    {"MTU down: from the top", "eth1 up mtu=9000; m0 macvlan up on=eth1 mtu=9000",
     "eth1 up mtu=1500", "set mtu 1500 on m0; set mtu 1500 on eth1"},
    {"an address moves", "eth1 up 10.0.0.1/24; eth2 up", "eth1 up no4; eth2 up 10.0.0.1/24",
     "take address 10.0.0.1/24 from eth1; add address 10.0.0.1/24 to eth2"},
    {"another subnet first, then the old one goes", "eth1 up 10.0.0.1/24", "eth1 up 10.1.0.1/24",
     "add address 10.1.0.1/24 to eth1; take address 10.0.0.1/24 from eth1"},
    {"some of a subnet", "eth1 up 10.0.0.1/24 10.0.0.2/24", "eth1 up 10.0.0.2/24 10.0.0.3/24",
     "add address 10.0.0.3/24 to eth1; take address 10.0.0.1/24 from eth1"},
    {"foreign addresses stay", "eth1 up dhcp:10.0.0.7/24 10.1.0.1/24", "eth1 up no4",
     "take address 10.1.0.1/24 from eth1"},
    {"down: IPv6 addresses are lost", "eth1 up 10.0.0.1/24 fd00::1/64", "eth1 down",
     "take address fd00::1/64 from eth1; take down eth1"},
    {"absent: ports are free", "br1 bridge up; eth1 up ctl=br1; m0 macvlan on=br1", "br1 absent",
     "remove m0; remove br1"},
    {"limit, ARP and MAC", "eth1 up", "eth1 up limit=1000000 arp mac=7",
     "set mac address 02:00:00:00:00:07 on eth1; set arp_ignore on on eth1; limit eth1 to 1000000 "
     "bytes/s"},
    {"from one bridge to another", "br0 bridge up; br1 bridge up; eth1 up ctl=br0",
     "br1 bridge up ports=eth1", "take eth1 out of its controller; put eth1 into br1"},
    {"a guest's tap does not shrink the bridge",
     "br1 bridge mtu=9000; eth1 mtu=9000 ctl=br1; eth2 mtu=9000; vnet0 other ctl=br1",
     "br1 bridge up ports=eth1,eth2", "put eth2 into br1; set mtu 9000 on br1"},
    {"a bridge that may follow its ports is told its MTU after them",
     "br0 bridge mtu=9000; eth1 mtu=9000 ctl=br0",
     "br0 bridge up mtu=9000 ports=", "take eth1 out of its controller; set mtu 9000 on br0"},
    {"a bridge may lose its IPv6 addresses with a port's MTU",
     "br1 bridge fd00::1/64; eth1 ctl=br1", "eth1 up mtu=1000; br1 bridge up mtu=1500",
     "take address fd00::1/64 from br1; set mtu 1000 on eth1; set mtu 1500 on br1; add address "
     "fd00::1/64 to br1"},
    {"what stands on a bridge that follows, with each port anew",
     "br1 bridge mtu=1400; eth0 mtu=1000; eth3 mtu=1400 ctl=br1; v1 vlan on=br1 id=3 mtu=1400",
     "br1 bridge up mtu=1400 ports=eth0",
     "take eth3 out of its controller; put eth0 into br1; set mtu 1400 on br1; set mtu 1400 on v1"},
    {"guests' taps stay", "br1 bridge up; eth1 up ctl=br1; vnet0 other up ctl=br1",
     "br1 bridge up ports=", "take eth1 out of its controller"},
};

static void
test_cases(void **state)
{
    unsigned bad = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct plan_case *k = &cases[i];
        struct arena *a = arena_new();
        struct net_baseline none = {0};
        struct net_target t;
        struct net_state now;
        struct net_wants w;
        struct net_plan p;
        struct err err = {0};
        const char *reason = "";

        text_state(k->now, a, &now);
        text_wants(k->wants, a, &w);
        if (net_compose(&now, &none, &w, NULL, a, &t, &reason, &err) != 0)
            fail_msg("%s: %s: %s", k->name, reason, err_msg(&err));
        net_plan_make(&now, &t.state, a, &p);
        if (strcmp(text_plan(&p, a), k->plan) != 0)
            print_error("%s:\n  want %s\n  have %s\n", k->name, k->plan, text_plan(&p, a)), bad++;
        arena_free(a);
    }
    assert_int_equal(bad, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
