/* What is asked and must not be, each with its reason and a sentence that names origin, field, value
 * and what is allowed; and what goes back when nobody asks any more: named cases. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/netpolicy/net_model.h"
#include "tests/netpolicy/net_text.h"

struct refusal {
    const char *name, *now, *wants, *mgmt, *reason, *text;
};

static const struct refusal refusals[] = {
    /* what is missing */
    {"an ethernet that is missing", "", "eth9 ethernet up mtu=9000", NULL,
     NET_REASON_INTERFACE_MISSING, "policy: interfaces[0]: eth9: there is no such interface here"},
    {"no type, and missing", "", "br1 up", NULL, NET_REASON_INTERFACE_MISSING,
     "nothing says how to make it"},
    {"a base that is missing", "eth1", "v5 vlan up on=eth2 id=5", NULL,
     NET_REASON_INTERFACE_MISSING, "v5: base interface eth2: there is no such interface here"},
    {"a base that is to go", "br1 bridge", "br1 absent; m0 macvlan up on=br1", NULL,
     NET_REASON_INTERFACE_MISSING, "m0: base interface br1"},
    {"a port that is missing", "eth1", "br1 bridge up ports=eth1,eth2", NULL,
     NET_REASON_INTERFACE_MISSING, "br1: port eth2: there is no such interface here"},
    {"a controller that is missing", "eth1", "eth1 up ctl=br1", NULL, NET_REASON_INTERFACE_MISSING,
     "eth1: controller br1: there is no such interface here"},
    {"a vlan without a base", "", "v5 vlan up id=5", NULL, NET_REASON_INVALID,
     "v5: its base interface is missing"},
    {"a bond without a mode", "eth1", "bond0 bond up ports=eth1", NULL, NET_REASON_INVALID,
     "bond0: its mode is missing: want one of balance-rr, active-backup"},
    /* kinds */
    {"another kind of that name", "br1 bond bmode=1", "br1 bridge up", NULL, NET_REASON_CONFLICT,
     "br1: type linux-bridge: there is an interface of this name already, of type bond"},
    {"ethernet, and it is a bridge", "br1 bridge", "br1 ethernet up", NULL, NET_REASON_CONFLICT,
     "of type linux-bridge"},
    {"a type that is not made", "", "x0 other up", NULL, NET_REASON_KIND,
     "x0: type unknown: want ethernet, linux-bridge, bond, vlan or mac-vlan"},
    {"an ethernet cannot go", "eth1", "eth1 absent", NULL, NET_REASON_KIND,
     "eth1: state absent: an interface of type ethernet cannot be removed: want up or down"},
    {"a vlan has no ports", "eth1; eth2", "v5 vlan up on=eth1 id=5 ports=eth2", NULL,
     NET_REASON_INVALID, "v5: an interface of type vlan has no ports"},
    {"a controller that is none", "eth1; eth2", "eth1 up ctl=eth2", NULL, NET_REASON_CONFLICT,
     "controller eth2 is of type ethernet: want linux-bridge or bond"},
    {"a bridge in a bridge", "br0 bridge", "br1 bridge up ports=br0", NULL, NET_REASON_CONFLICT,
     "br1: port br0 is of type linux-bridge, which cannot be a port of a linux-bridge"},
    {"a bond in a bond", "bond0 bond bmode=1", "bond1 bond up bmode=1 ports=bond0", NULL,
     NET_REASON_CONFLICT, "port bond0 is of type bond"},
    {"loopback in a bridge", "lo loopback", "br1 bridge up ports=lo", NULL, NET_REASON_CONFLICT,
     "port lo is of type loopback"},
    {"a macvlan on a macvlan", "eth1; m0 macvlan on=eth1", "m1 macvlan up on=m0", NULL,
     NET_REASON_CONFLICT, "m1: base interface m0 is of type mac-vlan"},
    {"a vlan on loopback", "lo loopback", "v5 vlan up on=lo id=5", NULL, NET_REASON_CONFLICT,
     "base interface lo is of type loopback"},
    /* who is whose port */
    {"a port of two bridges", "eth1", "br0 bridge up ports=eth1; br1 bridge up ports=eth1", NULL,
     NET_REASON_CONFLICT, "port eth1: it is to be a port of br0, too"},
    {"a port of two, once by its controller", "eth1; br0 bridge",
     "eth1 up ctl=br0; br1 bridge up ports=eth1", NULL, NET_REASON_CONFLICT,
     "br1: port eth1: it is to be a port of br0, too"},
    {"a controller that does not name its port", "eth1", "br1 bridge up ports=; eth1 up ctl=br1",
     NULL, NET_REASON_CONFLICT, "br1: its ports do not name eth1"},
    {"itself", "", "br1 bridge up ports=br1", NULL, NET_REASON_CONFLICT, "port br1"},
    {"a circle", "bond0 bond bmode=1; eth1 ctl=bond0",
     "v5 vlan up on=br1 id=5; br1 bridge up ports=v5", NULL, NET_REASON_CONFLICT,
     "it would stand on itself"},
    {"a macvlan on a port", "br1 bridge; eth1 ctl=br1", "m0 macvlan up on=eth1", NULL,
     NET_REASON_CONFLICT, "m0: base interface eth1 is a port of br1: want br1 itself as the base"},
    {"a port with a macvlan", "eth1; m0 macvlan on=eth1", "br1 bridge up ports=eth1", NULL,
     NET_REASON_CONFLICT, "m0: base interface eth1 is a port of br1"},
    {"passthru is alone", "eth1; m0 macvlan on=eth1", "m1 macvlan up on=eth1 mode=passthru", NULL,
     NET_REASON_CONFLICT, "m1: m0 is on eth1, too: a macvlan of mode passthru is alone there"},
    {"a vlan id twice", "eth1; v5 vlan on=eth1 id=5", "x5 vlan up on=eth1 id=5", NULL,
     NET_REASON_CONFLICT, "x5: vlan id 5 on eth1 is v5's already"},
    {"vlan id 0", "eth1", "v0 vlan up on=eth1 id=0", NULL, NET_REASON_INVALID,
     "v0: vlan id 0: want 1 to 4094"},
    {"vlan id 4095", "eth1", "v0 vlan up on=eth1 id=4095", NULL, NET_REASON_INVALID,
     "v0: vlan id 4095: want 1 to 4094"},
    {"bridge over balance-rr", "eth1",
     "bond0 bond up bmode=0 ports=eth1; br1 bridge up ports=bond0", NULL, NET_REASON_BOND_MODE,
     "bond0: a bridge (br1) over a bond of mode 0 (balance-rr): want mode 1, 2, 3 or 4"},
    {"bridge over balance-tlb", "eth1", "bond0 bond up bmode=5; br1 bridge up ports=bond0", NULL,
     NET_REASON_BOND_MODE, "mode 5 (balance-tlb)"},
    {"bridge over balance-alb", "bond0 bond bmode=6", "br1 bridge up ports=bond0", NULL,
     NET_REASON_BOND_MODE, "mode 6 (balance-alb)"},
    {"mode 6 under a bridge", "bond0 bond bmode=1 ctl=br1; br1 bridge", "bond0 bond up bmode=6",
     NULL, NET_REASON_BOND_MODE, "mode 6"},
    /* up and down */
    {"a vlan up on a base that is to be down", "eth1", "eth1 down; v5 vlan up on=eth1 id=5", NULL,
     NET_REASON_CONFLICT, "v5: state up: its base eth1 is to be down (policy)"},
    /* MTU */
    {"MTU 67", "eth1", "eth1 up mtu=67", NULL, NET_REASON_MTU, "eth1: mtu 67: want 68 to 65535"},
    {"over what the hardware takes", "eth1 max=9000", "eth1 up mtu=9001", NULL, NET_REASON_MTU,
     "eth1: mtu 9001: want 68 to 9000"},
    {"over its base", "eth1", "m0 macvlan up on=eth1 mtu=9000", NULL, NET_REASON_MTU,
     "m0: mtu 9000: want at most 1500, which its base eth1 has"},
    {"its base shrinks", "eth1 mtu=9000", "eth1 up mtu=1500; m0 macvlan up on=eth1 mtu=9000", NULL,
     NET_REASON_MTU, "m0: mtu 9000: want at most 1500"},
    {"over a bridge that follows its port", "eth1",
     "br1 bridge up ports=eth1; m0 macvlan up on=br1 mtu=9000", NULL, NET_REASON_MTU,
     "want at most 1500, which its base br1 has"},
    {"a port whose bond is to have more than it takes", "eth1 max=1500; eth2",
     "bond0 bond up bmode=1 mtu=9000 ports=eth1,eth2", NULL, NET_REASON_MTU,
     "eth1: mtu 9000: want 68 to 1500"},
    {"a port of a bond with its own", "eth1",
     "bond0 bond up bmode=1 mtu=9000 ports=eth1; eth1 up mtu=1500", NULL, NET_REASON_MTU,
     "eth1: mtu 1500: want 9000 as its bond bond0 has"},
    {"below IPv6", "eth1 fd00::1/64", "eth1 up mtu=1279", NULL, NET_REASON_MTU,
     "eth1: mtu 1279: want at least 1280, since it has IPv6 addresses"},
    {"IPv6 on a small one", "eth1 mtu=1000", "eth1 up fd00::1/64", NULL, NET_REASON_MTU,
     "eth1: mtu 1000: want at least 1280"},
    {"below IPv6 of what stands on it", "eth1; m0 macvlan on=eth1 fd00::1/64", "eth1 up mtu=1000",
     NULL, NET_REASON_MTU, "policy: interfaces[0]: m0: mtu 1000: want at least 1280"},
    {"below IPv6 of the bridge that follows it", "br0 bridge fd00::1/64; eth1 ctl=br0",
     "eth1 up mtu=1000", NULL, NET_REASON_MTU,
     "policy: interfaces[0]: br0: mtu 1000: want at least 1280"},
    /* addresses, MAC, limit */
    {"a multicast address", "eth1", "eth1 up 224.0.0.1/24", NULL, NET_REASON_INVALID,
     "eth1: address 224.0.0.1/24: want a unicast address"},
    {"a link-local address", "eth1", "eth1 up fe80::1/64", NULL, NET_REASON_INVALID,
     "eth1: address fe80::1/64"},
    {"no address", "eth1", "eth1 up 0.0.0.0/24", NULL, NET_REASON_INVALID, "address 0.0.0.0/24"},
    {"two prefix lengths", "eth1", "eth1 up fd00::1/64 fd00::1/48", NULL, NET_REASON_INVALID,
     "fd00::1/64 is there twice with different prefix lengths"},
    {"a MAC for a bond's port", "eth1", "bond0 bond up bmode=1 ports=eth1; eth1 up mac=9", NULL,
     NET_REASON_CONFLICT, "eth1: mac-address: a port of bond bond0 has the bond's"},
    {"a limit where somebody else has one", "eth1 qdisc", "eth1 up limit=1000000", NULL,
     NET_REASON_CONFLICT, "eth1: limit: somebody else's queueing discipline is there"},
    /* what the host is reached by */
    {"the default route's interface as a port", "eth0 route", "br1 bridge up ports=eth0", NULL,
     NET_REASON_DEFAULT_ROUTE, "eth0: it carries the default route of this host"},
    {"the management address' interface as a port", "eth0 10.0.0.1/24", "br1 bridge up ports=eth0",
     "10.0.0.1", NET_REASON_DEFAULT_ROUTE, "eth0: it carries the management address of this host"},
    {"its port taken out", "br0 bridge route; eth0 route ctl=br0", "br0 bridge up ports=", NULL,
     NET_REASON_DEFAULT_ROUTE, "eth0: it carries the default route"},
    {"migrations over the default route", "eth0 route", "migration0 macvlan up on=eth0", NULL,
     NET_REASON_DEFAULT_ROUTE,
     "migration0: base interface eth0 carries the default route of this host: want one of its own"},
    {"migrations over the management address", "eth0 10.0.0.1/24", "migration0 macvlan up on=eth0",
     "10.0.0.1", NET_REASON_DEFAULT_ROUTE, "base interface eth0 carries the management address"},
    {"the default route absent", "br0 bridge route", "br0 absent", NULL, NET_REASON_DEFAULT_ROUTE,
     "policy: interfaces[0]: br0: state absent: it carries the default route of this host"},
    {"what the management vlan stands on", "bond0 bond bmode=1; v5 vlan on=bond0 id=5 10.0.0.1/24",
     "bond0 absent", "10.0.0.1", NET_REASON_DEFAULT_ROUTE,
     "policy: interfaces[0]: v5: state absent: it carries the management address"},
    {"the default route down", "eth0 route", "eth0 down", NULL, NET_REASON_DEFAULT_ROUTE,
     "eth0: state down: it carries the default route of this host"},
    {"the default route made anew", "bond0 bond bmode=1 route", "bond0 bond up bmode=4", NULL,
     NET_REASON_DEFAULT_ROUTE, "bond0: it would be made anew"},
    {"the management address taken away", "eth0 10.0.0.1/24", "eth0 up 10.0.0.2/24", "10.0.0.1",
     NET_REASON_DEFAULT_ROUTE, "eth0: its addresses: the management address of this host"},
};

static void
test_refusals(void **state)
{
    unsigned bad = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *k = &refusals[i];
        struct arena *a = arena_new();
        struct net_baseline none = {0};
        struct net_target t;
        struct net_state now;
        struct net_wants w;
        struct err err = {0};
        const char *reason = "";
        struct ip mgmt;
        int rc;

        text_state(k->now, a, &now);
        text_wants(k->wants, a, &w);
        assert_true(!k->mgmt || ip_parse(k->mgmt, &mgmt, NULL) == 0);
        rc = net_compose(&now, &none, &w, k->mgmt ? &mgmt : NULL, a, &t, &reason, &err);
        if (rc == 0 || strcmp(reason, k->reason) != 0 || !strstr(err_msg(&err), k->text)) {
            print_error("%s: %d, %s: %s\n", k->name, rc, reason, rc == 0 ? "" : err_msg(&err));
            bad++;
        }
        arena_free(a);
    }
    assert_int_equal(bad, 0);
}

/* --- what others have made is not refused --- */

static const struct refusal accepted[] = {
    {"a bridge over mode 6 that is there", "bond0 bond bmode=6 ctl=br1; br1 bridge",
     "br1 bridge up stp", NULL, NULL, NULL},
    {"the default route's bridge as it is", "br0 bridge route; eth0 route ctl=br0",
     "br0 bridge up ports=eth0 mtu=1500", NULL, NULL, NULL},
    {"a vlan on the default route", "eth0 route", "v5 vlan up on=eth0 id=5", NULL, NULL, NULL},
    {"the management address moves", "eth0 10.0.0.1/24; eth1", "eth0 up no4; eth1 up 10.0.0.1/24",
     "10.0.0.1", NULL, NULL},
    {"absent, and it is", "", "br1 absent; eth9 absent", NULL, NULL, NULL},
    {"a later want says what it is", "", "br1 up mtu=1400; br1 bridge up", NULL, NULL, NULL},
    {"down on a macvlan's base", "eth1; m0 macvlan on=eth1", "eth1 down; m0 up", NULL, NULL, NULL},
};

static void
test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        const struct refusal *k = &accepted[i];
        struct arena *a = arena_new();
        struct net_baseline none = {0};
        struct net_target t;
        struct net_state now;
        struct net_wants w;
        struct err err = {0};
        struct ip mgmt;

        text_state(k->now, a, &now);
        text_wants(k->wants, a, &w);
        assert_true(!k->mgmt || ip_parse(k->mgmt, &mgmt, NULL) == 0);
        if (net_compose(&now, &none, &w, k->mgmt ? &mgmt : NULL, a, &t, NULL, &err) != 0)
            fail_msg("%s: %s", k->name, err_msg(&err));
        arena_free(a);
    }
}

/* --- what goes back --- */

struct story {
    const char *name, *first;
    const char *acts[5]; /* wants; "!unplug NAME", "!STATE": somebody else's doing (a line of it) */
    const char *last;    /* the state in the end */
    const char *owed;    /* names that are in the baseline then */
};

static const struct story stories[] = {
    {"what we made goes", "eth1", {"br1 bridge up ports=eth1 10.0.0.1/24", ""}, "eth1", ""},
    {"attributes go back",
     "eth1 down 10.0.0.1/24",
     {"eth1 up mtu=9000 10.1.0.1/24 limit=1000000 arp", ""},
     "eth1 down 10.0.0.1/24",
     ""},
    {"only what nobody asks for any more",
     "eth1",
     {"eth1 up mtu=9000 arp", "eth1 up arp"},
     "eth1 arp",
     "eth1 "},
    {"into its bridge again",
     "br0 bridge; eth1 ctl=br0",
     {"br1 bridge up ports=eth1", ""},
     "br0 bridge; eth1 ctl=br0",
     ""},
    {"what was removed is made again, with what stood on it",
     "bond0 bond bmode=4 miimon=100 10.0.0.1/24; eth1 ctl=bond0; v5 vlan on=bond0 id=5 fd00::1/64",
     {"bond0 absent", ""},
     "bond0 bond bmode=4 miimon=100 10.0.0.1/24; eth1 ctl=bond0; v5 vlan on=bond0 id=5 fd00::1/64",
     ""},
    {"while it is absent it is owed", "br0 bridge mtu=1400; eth1", {"br0 absent"}, "eth1", "br0 "},
    {"absent, then wanted: as it was, and what is wanted",
     "br0 bridge stp 10.0.0.1/24",
     {"br0 absent", "br0 bridge up arp"},
     "br0 bridge stp arp 10.0.0.1/24",
     "br0 "},
    {"another vlan id, and back",
     "eth1; v vlan on=eth1 id=5 10.0.0.1/24",
     {"v vlan up on=eth1 id=6", ""},
     "eth1; v vlan on=eth1 id=5 10.0.0.1/24",
     ""},
    {"what stands on a shrunk base grows again",
     "eth1 mtu=9000; m0 macvlan on=eth1 mtu=9000",
     {"eth1 up mtu=1500", ""},
     "eth1 mtu=9000; m0 macvlan on=eth1 mtu=9000",
     ""},
    {"a shrunk macvlan is owed",
     "eth1 mtu=9000; m0 macvlan on=eth1 mtu=9000",
     {"eth1 up mtu=1500"},
     "eth1 mtu=1500; m0 macvlan on=eth1 mtu=1500",
     "eth1 m0 "},
    {"IPv6 addresses come back with the interface",
     "eth1 fd00::1/64; v vlan on=eth1 id=1 fd01::1/64",
     {"eth1 down", ""},
     "eth1 fd00::1/64; v vlan on=eth1 id=1 fd01::1/64",
     ""},
    {"a bond's port is as it was",
     "eth1 mtu=9000 fd00::1/64",
     {"bond0 bond up bmode=1 mtu=1400 ports=eth1", ""},
     "eth1 mtu=9000 fd00::1/64",
     ""},
    {"what others change meanwhile stays",
     "eth1",
     {"eth1 up mtu=9000", "!eth1 mtu=9000 10.0.0.9/24", ""},
     "eth1 10.0.0.9/24",
     ""},
    {"what others put on ours stays while it is there",
     "eth1",
     {"br1 bridge up ports=eth1", "!br1 bridge 10.0.0.9/24", "!m9 macvlan on=br1",
      "br1 bridge up ports=eth1 arp"},
     "br1 bridge arp 10.0.0.9/24; eth1 ctl=br1; m9 macvlan on=br1",
     "br1 eth1 "},
    {"what others remove is not made again",
     "br0 bridge",
     {"br0 bridge up mtu=1400", "!unplug br0", ""},
     "",
     ""},
    {"what others remove is made again while it is wanted",
     "br0 bridge",
     {"br0 bridge up mtu=1400", "!unplug br0", "br0 bridge up mtu=1400"},
     "br0 bridge mtu=1400",
     "br0 "},
    {"and goes then: it is ours now",
     "br0 bridge",
     {"br0 bridge up mtu=1400", "!unplug br0", "br0 bridge up mtu=1400", ""},
     "",
     ""},
    {"hardware that was pulled and came back",
     "eth1; eth2",
     {"br1 bridge up ports=eth1,eth2; eth1 up mtu=1400", "!unplug eth1", "!eth1 down",
      "br1 bridge up ports=eth1,eth2; eth1 up mtu=1400"},
     "br1 bridge mtu=1400; eth1 ctl=br1 mtu=1400; eth2 ctl=br1",
     "br1 eth1 eth2 "},
    {"hardware that was pulled, and nobody asks",
     "eth1; m0 macvlan on=eth1",
     {"m0 absent; eth1 up mtu=1400", "!unplug eth1", ""},
     "",
     ""},
    {"foreign addresses are left alone",
     "eth1 dhcp:10.0.0.7/24 10.0.0.8/24",
     {"eth1 up 10.0.0.9/24", ""},
     "eth1 dhcp:10.0.0.7/24 10.0.0.8/24",
     ""},
    {"absent, then up in one: from new",
     "br0 bridge stp mtu=1400",
     {"br0 bridge up mtu=1300; br0 absent; br0 bridge up arp"},
     "br0 bridge stp mtu=1400 arp",
     "br0 "},
    {"what cannot go back does not keep the rest",
     "eth1 mtu=9000; m0 macvlan on=eth1 mtu=9000 fd00::1/64",
     {"m0 absent", "!eth1 mtu=1300", ""},
     "eth1 mtu=1300; m0 macvlan on=eth1 mtu=1300 fd00::1/64",
     "m0 "},
    {"a port that had more than its bond, and a vlan on it",
     "bond0 bond bmode=1; eth0 mtu=9000 ctl=bond0; v1 vlan on=eth0 id=1 mtu=9000",
     {"bond0 bond up mtu=1280", ""},
     "bond0 bond bmode=1; eth0 mtu=9000 ctl=bond0; v1 vlan on=eth0 id=1 mtu=9000",
     ""},
    {"a limit goes", "eth1", {"eth1 up limit=1000000", "eth1 up"}, "eth1", ""},
};

static void
somebody(struct model *m, const char *text)
{
    struct net_state s;
    struct model_link *x;

    if (strncmp(text, "unplug ", 7) == 0) {
        x = model_find(m, text + 7);
        assert_non_null(x);
        x->l.kind = NET_BRIDGE; /* the model removes what can be removed */
        m->strict = false;
        assert_null(model_del(m, text + 7));
        m->strict = true;
        return;
    }
    text_state(text, m->arena, &s);
    x = model_find(m, s.links[0].name);
    if (!x)
        x = &m->links[m->len++];
    else
        memcpy(s.links[0].controller, x->l.controller, sizeof x->l.controller);
    x->l = s.links[0];
}

static void
act(const struct story *k, struct model *m, struct net_baseline *base, const char *text)
{
    struct arena *a = m->arena;
    struct net_target t;
    struct net_state now;
    struct net_wants w;
    struct net_plan p;
    struct err err = {0};

    model_state(m, a, &now);
    text_wants(text, a, &w);
    if (net_compose(&now, base, &w, NULL, a, &t, NULL, &err) != 0)
        fail_msg("%s: \"%s\": %s", k->name, text, err_msg(&err));
    net_plan_make(&now, &t.state, a, &p);
    for (size_t i = 0; i < p.len; i++) {
        const char *why = model_apply(m, &p.steps[i]);

        if (why)
            fail_msg("%s: \"%s\": %s\nin %s", k->name, text, why, text_plan(&p, a));
    }
    *base = t.after;
}

static void
check_story(const struct story *k)
{
    struct arena *a = arena_new();
    struct model m = {.arena = a, .strict = true};
    struct net_baseline base = {0};
    struct net_state first, last, want;
    struct sb owed = SB_INIT;

    text_state(k->first, a, &first);
    for (size_t i = 0; i < first.len; i++)
        m.links[m.len++] = (struct model_link){.l = first.links[i], .mtu_by_user = true};
    for (size_t i = 0; i < ARRAY_LEN(k->acts) && k->acts[i]; i++) {
        if (k->acts[i][0] == '!')
            somebody(&m, k->acts[i] + 1);
        else
            act(k, &m, &base, k->acts[i]);
    }
    model_state(&m, a, &last);
    text_state(k->last, a, &want);
    for (size_t i = 0; i < want.len; i++) {
        const struct net_link *x = net_state_find(&last, want.links[i].name);
        char why[128] = "missing";

        if (!x || !net_link_equal(x, &want.links[i], NET_F_ALL, why, sizeof why))
            fail_msg("%s: %s: %s", k->name, want.links[i].name, why);
        for (size_t n = 0; n < want.links[i].addrs_len; n++)
            if (!net_link_find_addr(x, &want.links[i].addrs[n]))
                fail_msg("%s: %s: an address is missing", k->name, x->name);
    }
    if (last.len != want.len)
        fail_msg("%s: %zu interfaces, want %zu", k->name, last.len, want.len);
    for (size_t i = 0; i < base.len; i++)
        sb_printf(&owed, "%s ", base.items[i].name);
    if (strcmp(sb_str(&owed), k->owed) != 0)
        fail_msg("%s: in the baseline: \"%s\", want \"%s\"", k->name, sb_str(&owed), k->owed);
    sb_done(&owed);
    arena_free(a);
}

static void
test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stories); i++)
        check_story(&stories[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_stories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
