/* What policies and the migration network's definition ask of a host: the documents' own manifests
 * (seeds A6, B16-B19), older spellings, mistakes in every field, what is refused by name, and whether
 * a range is free. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/sb.h"
#include "netpolicy/net_want.h"

/* --- a policy's wants as one line, to compare with --- */

static const char *
addr_text(const struct net_addr *a, struct arena *arena)
{
    struct cidr c = {.base = a->ip, .prefix = a->prefix, .v4 = ip_is_v4(&a->ip)};
    char text[CIDR_TEXT_SIZE];

    cidr_format(&c, text, sizeof text);
    return arena_strdup(arena, text);
}

static void
want_text(const struct net_want *w, struct arena *a, struct sb *out)
{
    static const char *const kinds[] = {
        [NET_ETHERNET] = "ethernet", [NET_BRIDGE] = "bridge",   [NET_BOND] = "bond",
        [NET_VLAN] = "vlan",         [NET_MACVLAN] = "macvlan", [NET_OTHER] = "?"};
    static const char *const presences[] = {"up", "down", "absent"};
    const struct net_link *l = &w->link;

    sb_printf(out, "%s%s %s %s", out->len ? "; " : "", l->name,
              w->has_kind ? kinds[l->kind] : "any", presences[w->presence]);
    if (w->existing)
        sb_puts(out, " existing");
    if (w->fields & NET_F_BASE)
        sb_printf(out, " on %s", l->base);
    if (w->fields & NET_F_BASE && l->kind == NET_VLAN)
        sb_printf(out, " id %u", l->vlan_id);
    if (w->fields & NET_F_BASE && l->kind == NET_MACVLAN)
        sb_printf(out, " mode %s", l->macvlan_mode);
    if (w->fields & NET_F_MTU)
        sb_printf(out, " mtu %u", l->mtu);
    if (w->fields & NET_F_MAC)
        sb_printf(out, " mac %02x..%02x", l->mac[0], l->mac[5]);
    if (w->fields & NET_F_CONTROLLER)
        sb_printf(out, " in \"%s\"", l->controller);
    if (w->fields & NET_F_BRIDGE)
        sb_printf(out, " stp %d", l->stp);
    if (w->fields & NET_F_BOND)
        sb_printf(out, " bond %u/%u", l->bond_mode, l->bond_miimon);
    if (w->fields & (NET_F_ADDRS4 | NET_F_ADDRS6))
        sb_printf(out, " addrs%s%s(", w->fields & NET_F_ADDRS4 ? "4" : "",
                  w->fields & NET_F_ADDRS6 ? "6" : "");
    for (size_t i = 0; i < l->addrs_len; i++)
        sb_printf(out, "%s%s", i ? " " : "", addr_text(&l->addrs[i], a));
    if (w->fields & (NET_F_ADDRS4 | NET_F_ADDRS6))
        sb_putc(out, ')');
    if (w->has_ports) {
        sb_puts(out, " ports(");
        for (size_t i = 0; i < w->ports_len; i++)
            sb_printf(out, "%s%s", i ? " " : "", w->ports[i]);
        sb_putc(out, ')');
    }
    if (w->fields & NET_F_SHAPE)
        sb_printf(out, " limit %llu/%llu", (unsigned long long)l->shape.rate_bytes_per_s,
                  (unsigned long long)l->shape.burst_bytes);
    if (w->fields & NET_F_ARP_IGNORE)
        sb_puts(out, " quiet");
    assert_int_equal(!!(w->fields & NET_F_UP), w->presence != NET_ABSENT);
    assert_int_equal(l->up, w->presence == NET_UP);
}

static struct tree *
yaml(const char *text)
{
    struct tree *docs = NULL, *doc;
    struct err err = {0};

    if (tree_from_yaml("test", text, strlen(text), &docs, &err) != 0)
        fail_msg("%s in:\n%s", err_msg(&err), text);
    doc = tree_copy(tree_at(docs, 0));
    tree_free(docs);
    return doc;
}

#define ORIGIN "NodeNetworkConfigurationPolicy p1"

struct policy_case {
    const char *name, *desired, *want;
};

static const struct policy_case policy_cases[] = {
    {"nothing", "{}", ""},
    {"no interfaces", "interfaces: []", ""},
    {"the documents' linux bridge",
     "interfaces:\n"
     "  - name: br1\n"
     "    description: Linux bridge with eth1 as a port\n"
     "    type: linux-bridge\n"
     "    state: up\n"
     "    ipv4: {enabled: false}\n"
     "    bridge:\n"
     "      options: {stp: {enabled: false}}\n"
     "      port:\n"
     "        - name: eth1\n",
     "br1 bridge up stp 0 addrs4() ports(eth1)"},
    {"the documents' bond",
     "interfaces:\n"
     "  - name: bond1\n"
     "    type: bond\n"
     "    state: up\n"
     "    ipv4: {enabled: false}\n"
     "    link-aggregation:\n"
     "      mode: balance-alb\n"
     "      options: {miimon: '100'}\n"
     "      slaves: [eth2, eth3]\n"
     "    mtu: 1450\n",
     "bond1 bond up mtu 1450 bond 6/100 addrs4() ports(eth2 eth3)"},
    {"the documents' bridge over that bond",
     "interfaces: [{name: br1, description: br1 with bond1, type: linux-bridge, state: up, "
     "ipv4: {enabled: false}, bridge: {options: {stp: {enabled: false}}, port: [{name: bond1}]}}]",
     "br1 bridge up stp 0 addrs4() ports(bond1)"},
    {"state up is the default", "interfaces: [{name: eth1, type: ethernet}]", "eth1 ethernet up"},
    {"any type", "interfaces: [{name: eth1, state: up, mtu: 9000}]", "eth1 any up mtu 9000"},
    {"type unknown", "interfaces: [{name: eth1, type: unknown, mtu: 9000}]",
     "eth1 any up mtu 9000"},
    {"down", "interfaces: [{name: eth1, type: ethernet, state: down}]", "eth1 ethernet down"},
    {"absent: the rest does not matter",
     "interfaces: [{name: br1, type: linux-bridge, state: absent, mtu: 1400}]",
     "br1 bridge absent"},
    {"ignore", "interfaces: [{name: ovs1, type: ovs-bridge, state: ignore, ovs-db: {x: y}}]", ""},
    {"ignored beside a real one",
     "interfaces: [{name: eth0, state: ignore}, {name: eth1, type: ethernet}]", "eth1 ethernet up"},
    {"vlan",
     "interfaces: [{name: eth1.102, type: vlan, state: up, vlan: {base-iface: eth1, id: 102}}]",
     "eth1.102 vlan up on eth1 id 102"},
    {"vlan with its protocol",
     "interfaces: [{name: v, type: vlan, vlan: {base-iface: eth1, id: 1, protocol: 802.1q}}]",
     "v vlan up on eth1 id 1"},
    {"mac-vlan",
     "interfaces: [{name: mv, type: mac-vlan, mac-vlan: {base-iface: eth1, mode: passthru, "
     "promiscuous: true}}]",
     "mv macvlan up on eth1 mode passthru"},
    {"ethernet with addresses",
     "interfaces: [{name: eth1, type: ethernet, ipv4: {enabled: true, dhcp: false, address: "
     "[{ip: 198.18.0.9, prefix-length: 24}, {ip: 198.18.0.2, prefix-length: 24}]}}]",
     "eth1 ethernet up addrs4(198.18.0.2/24 198.18.0.9/24)"},
    {"both families",
     "interfaces: [{name: eth1, type: ethernet, ipv6: {enabled: true, autoconf: false, address: "
     "[{ip: 'fd00::2', prefix-length: 64}]}, ipv4: {address: [{ip: 198.18.0.9, prefix-length: "
     "32}]}}]",
     "eth1 ethernet up addrs46(198.18.0.9/32 fd00::2/64)"},
    {"addresses that are not spoken of stay", "interfaces: [{name: eth1, ipv4: {enabled: true}}]",
     "eth1 any up"},
    {"an empty list of addresses", "interfaces: [{name: eth1, ipv4: {enabled: true, address: []}}]",
     "eth1 any up addrs4()"},
    {"ports with an older word",
     "interfaces: [{name: br1, type: linux-bridge, bridge: {ports: [{name: a}, {name: b}]}}]",
     "br1 bridge up ports(a b)"},
    {"slaves of a bridge",
     "interfaces: [{name: br1, type: linux-bridge, bridge: {slaves: [{name: a}]}}]",
     "br1 bridge up ports(a)"},
    {"a bridge without ports", "interfaces: [{name: br1, type: linux-bridge, bridge: {port: []}}]",
     "br1 bridge up ports()"},
    {"a bridge whose ports stay",
     "interfaces: [{name: br1, type: linux-bridge, bridge: {options: "
     "{stp: {enabled: true}}}}]",
     "br1 bridge up stp 1"},
    {"vlan of a port that asks for nothing",
     "interfaces: [{name: br1, type: linux-bridge, bridge: {port: [{name: a, vlan: {}, "
     "stp-hairpin-mode: false}]}}]",
     "br1 bridge up ports(a)"},
    {"bond mode by number",
     "interfaces: [{name: b, type: bond, link-aggregation: {mode: 1, port: [a]}}]",
     "b bond up bond 1/100 ports(a)"},
    {"bond mode by number as text",
     "interfaces: [{name: b, type: bond, link-aggregation: {mode: '4', options: {miimon: 0}}}]",
     "b bond up bond 4/0"},
    {"bond mode by name",
     "interfaces: [{name: b, type: bond, link-aggregation: {mode: 802.3ad, options: {miimon: "
     "140}}}]",
     "b bond up bond 4/140"},
    {"into a controller", "interfaces: [{name: eth1, controller: br1}]", "eth1 any up in \"br1\""},
    {"out of its controller", "interfaces: [{name: eth1, controller: ''}]", "eth1 any up in \"\""},
    {"hardware address", "interfaces: [{name: eth1, mac-address: '52:54:00:AB:cd:0f'}]",
     "eth1 any up mac 52..0f"},
    {"what nmstate only reports",
     "interfaces: [{name: eth1, min-mtu: 68, max-mtu: 9216, driver: virtio_net, identifier: name, "
     "permanent-mac-address: '52:54:00:ab:cd:0f', profile-name: eth1}]",
     "eth1 any up"},
    {"what asks for nothing",
     "interfaces: [{name: eth1, lldp: {enabled: false}, accept-all-mac-addresses: false, mptcp: "
     "{address-flags: []}}]\n"
     "routes: {config: []}\n"
     "dns-resolver: {config: {server: [], search: []}}\n"
     "ovn: null\n",
     "eth1 any up"},
    {"in the order of the list",
     "interfaces: [{name: v, type: vlan, vlan: {base-iface: b, id: 9}}, {name: b, type: bond, "
     "link-aggregation: {mode: active-backup, port: [e]}}]",
     "v vlan up on b id 9; b bond up bond 1/100 ports(e)"},
};

static void
test_policy(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(policy_cases); i++) {
        const struct policy_case *k = &policy_cases[i];
        AUTO_TREE struct tree *desired = yaml(k->desired);
        AUTO_SB struct sb got = SB_INIT;
        struct arena *a = arena_new();
        struct net_wants wants;
        struct err err = {0};

        if (net_want_policy(desired, ORIGIN, a, &wants, &err) != 0)
            fail_msg("%s: %s", k->name, err_msg(&err));
        for (size_t w = 0; w < wants.len; w++) {
            want_text(&wants.items[w], a, &got);
            assert_string_equal(wants.items[w].origin, ORIGIN);
            assert_memory_equal(wants.items[w].field, "spec.desiredState.interfaces[", 29);
        }
        if (strcmp(sb_str(&got), k->want) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", k->name, sb_str(&got), k->want);
        arena_free(a);
    }
}

/* --- what is refused --- */

struct refused_case {
    const char *name, *desired;
    int rc;
    const char *says;
};

#define IF(fields)  "interfaces: [{name: x1, " fields "}]"
#define AT0         "spec.desiredState.interfaces[0]"
#define BR(fields)  IF("type: linux-bridge, bridge: {" fields "}")
#define BND(fields) IF("type: bond, link-aggregation: {" fields "}")
#define VL(fields)  IF("type: vlan, vlan: {" fields "}")
#define MV(fields)  IF("type: mac-vlan, mac-vlan: {" fields "}")
#define IP4(fields) IF("ipv4: {" fields "}")
#define IP6(fields) IF("ipv6: {" fields "}")

static const struct refused_case refused_cases[] = {
    {"a list", "[]", -EINVAL, "spec.desiredState: want an object, found list"},
    {"a text", "up", -EINVAL, "spec.desiredState: want an object, found string"},
    {"interfaces is a map", "interfaces: {name: eth1}", -EINVAL,
     "spec.desiredState.interfaces: want a list, found"},
    {"interface is a text", "interfaces: [eth1]", -EINVAL, AT0 ": want an object, found string"},
    {"the documents' mapping of OVN",
     "ovn: {bridge-mappings: [{localnet: localnet-network, bridge: br-ex, state: present}]}",
     -ENOTSUP, "spec.desiredState.ovn: {\"bridge-mappings\":"},
    {"routes", "routes: {config: [{destination: 0.0.0.0/0, next-hop-interface: eth1}]}", -ENOTSUP,
     "spec.desiredState.routes: "},
    {"route rules", "route-rules: {config: [{route-table: 5}]}", -ENOTSUP,
     "spec.desiredState.route-rules: "},
    {"DNS", "dns-resolver: {config: {server: [10.0.0.1]}}", -ENOTSUP,
     "spec.desiredState.dns-resolver: "},
    {"hostname", "hostname: {running: n1}", -ENOTSUP, "spec.desiredState.hostname: "},
    {"OVS data base", "ovs-db: {external_ids: {a: b}}", -ENOTSUP, "spec.desiredState.ovs-db: "},
    {"a field that nobody knows", "interface: []\ninterfacess: [{name: a}]", -ENOTSUP,
     "spec.desiredState.interfacess: [{\"name\":\"a\"}]: is not supported: want interfaces"},

    {"no name", "interfaces: [{type: ethernet}]", -EINVAL, AT0 ".name: is missing"},
    {"name is a number", "interfaces: [{name: 5}]", -EINVAL, AT0 ".name: want text, found"},
    {"name too long", "interfaces: [{name: abcdefghijklmnop}]", -EINVAL,
     AT0 ".name: \"abcdefghijklmnop\": want an interface's name: 1 to 15 bytes"},
    {"name with a slash", "interfaces: [{name: a/b}]", -EINVAL, AT0 ".name: \"a/b\""},
    {"name of an ignored one", "interfaces: [{name: a b, state: ignore}]", -EINVAL,
     AT0 ".name: \"a b\""},
    {"captured name", "interfaces: [{name: '{{ capture.eth.interfaces.0.name }}'}]", -EINVAL,
     AT0 ".name: \"{{ capture."},
    {"twice", "interfaces: [{name: a, mtu: 1400}, {name: b}, {name: a, mtu: 1500}]", -EINVAL,
     "spec.desiredState.interfaces[2].name: \"a\": stands in spec.desiredState.interfaces[0]"},
    {"unknown state", IF("state: on"), -EINVAL,
     AT0 ".state: \"on\": want up, down, absent or ignore"},
    {"state is a boolean", IF("state: true"), -EINVAL, AT0 ".state: want text, found boolean"},
    {"OVS bridge", IF("type: ovs-bridge"), -ENOTSUP,
     AT0 ".type: \"ovs-bridge\": is not supported: want ethernet, linux-bridge, bond, vlan or"},
    {"veth", IF("type: veth, veth: {peer: y}"), -ENOTSUP, AT0 ".type: \"veth\""},
    {"dummy", IF("type: dummy"), -ENOTSUP, AT0 ".type: \"dummy\""},
    {"absent, of a type that we never make", IF("type: vxlan, state: absent"), -ENOTSUP,
     AT0 ".type: \"vxlan\""},
    {"chosen by hardware address", IF("identifier: mac-address"), -ENOTSUP,
     AT0 ".identifier: \"mac-address\": is not supported: want name"},
    {"offloads", IF("ethtool: {feature: {tx-checksum: true}}"), -ENOTSUP, AT0 ".ethtool: "},
    {"speed", IF("type: ethernet, ethernet: {speed: 1000}"), -ENOTSUP,
     AT0 ".ethernet: {\"speed\":1000}: is not supported"},
    {"virtual functions", IF("type: ethernet, ethernet: {sr-iov: {total-vfs: 2}}"), -ENOTSUP,
     AT0 ".ethernet: "},
    {"LLDP", IF("lldp: {enabled: true}"), -ENOTSUP, AT0 ".lldp: {\"enabled\":true}"},
    {"copied address", IF("type: bond, copy-mac-from: eth2"), -ENOTSUP,
     AT0 ".copy-mac-from: \"eth2\": is not supported"},
    {"the documents' misplaced port", IF("type: linux-bridge, port: [{name: eth1}]"), -ENOTSUP,
     AT0 ".port: [{\"name\":\"eth1\"}]: is not supported: want name, type"},

    {"MTU 0", IF("mtu: 0"), -EINVAL, AT0 ".mtu: 0: want 68 to 65535"},
    {"MTU too small", IF("mtu: 67"), -EINVAL, AT0 ".mtu: 67: want 68 to 65535"},
    {"MTU too large", IF("mtu: 65536"), -EINVAL, AT0 ".mtu: 65536: want 68 to 65535"},
    {"MTU as text", IF("mtu: '1450'"), -EINVAL, AT0 ".mtu: want a whole number, found string"},
    {"short hardware address", IF("mac-address: '52:54:00:ab:cd'"), -EINVAL,
     AT0 ".mac-address: \"52:54:00:ab:cd\": want six bytes"},
    {"hardware address with 0x in it", IF("mac-address: '52:54:00:ab:cd:0x'"), -EINVAL,
     AT0 ".mac-address: \"52:54:00:ab:cd:0x\": want six bytes"},
    {"hardware address with a blank", IF("mac-address: '52:54:00:ab:cd: 1'"), -EINVAL,
     AT0 ".mac-address: \"52:54:00:ab:cd: 1\": want six bytes"},
    {"long hardware address", IF("mac-address: '52:54:00:ab:cd:ef:01'"), -EINVAL,
     AT0 ".mac-address: \"52:54:00:ab:cd:ef:01\""},
    {"hardware address with one digit", IF("mac-address: '52:54:0:ab:cd:ef'"), -EINVAL,
     AT0 ".mac-address"},
    {"group address", IF("mac-address: '01:00:5e:00:00:01'"), -EINVAL, AT0 ".mac-address"},
    {"no address", IF("mac-address: '00:00:00:00:00:00'"), -EINVAL, AT0 ".mac-address"},
    {"controller's name", IF("controller: 'a b'"), -EINVAL, AT0 ".controller: \"a b\""},
    {"controller is a number", IF("controller: 1"), -EINVAL, AT0 ".controller: want text"},

    {"DHCP", IP4("enabled: true, dhcp: true"), -ENOTSUP,
     AT0 ".ipv4.dhcp: true: is not supported: want false, and addresses under"},
    {"DHCPv6", IP6("enabled: true, dhcp: true"), -ENOTSUP, AT0 ".ipv6.dhcp: true"},
    {"autoconf", IP6("enabled: true, autoconf: true"), -ENOTSUP,
     AT0 ".ipv6.autoconf: true: is not supported: want false"},
    {"automatic DNS", IP4("enabled: true, auto-dns: true"), -ENOTSUP,
     AT0 ".ipv4.auto-dns: true: is not supported: want enabled and address"},
    {"enabled as text", IP4("enabled: 'no'"), -EINVAL,
     AT0 ".ipv4.enabled: \"no\": want true or false"},
    {"ipv4 is a boolean", IF("ipv4: false"), -EINVAL, AT0 ".ipv4: want an object, found boolean"},
    {"address is a map", IP4("address: {ip: 198.18.0.1}"), -EINVAL,
     AT0 ".ipv4.address: want a list"},
    {"addresses of what is off",
     IP4("enabled: false, address: [{ip: 198.18.0.1, prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv4.address: 1 addresses beside enabled: false"},
    {"address is text", IP4("address: [198.18.0.1/24]"), -EINVAL,
     AT0 ".ipv4.address[0]: want an object, found string"},
    {"address without ip", IP4("address: [{prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: is missing: want an IPv4 address"},
    {"no address at all", IP4("address: [{ip: host, prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: \"host\""},
    {"address with prefix", IP4("address: [{ip: 198.18.0.1/24, prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: \"198.18.0.1/24\""},
    {"no prefix", IP4("address: [{ip: 198.18.0.1}]"), -EINVAL,
     AT0 ".ipv4.address[0].prefix-length: is missing: want 1 to 32"},
    {"prefix too long", IP4("address: [{ip: 198.18.0.1, prefix-length: 33}]"), -EINVAL,
     AT0 ".ipv4.address[0].prefix-length: 33: want 1 to 32"},
    {"prefix 0", IP6("address: [{ip: 'fd00::1', prefix-length: 0}]"), -EINVAL,
     AT0 ".ipv6.address[0].prefix-length: 0: want 1 to 128"},
    {"IPv6 in IPv4", IP4("address: [{ip: 'fd00::1', prefix-length: 32}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: fd00::1: want an IPv4 address"},
    {"IPv4 in IPv6", IP6("address: [{ip: 198.18.0.1, prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv6.address[0].ip: 198.18.0.1: want an IPv6 address"},
    {"link-local", IP6("address: [{ip: 'fe80::1', prefix-length: 64}]"), -EINVAL,
     AT0 ".ipv6.address[0].ip: fe80::1: want an address that one host can have"},
    {"multicast", IP4("address: [{ip: 224.0.0.1, prefix-length: 24}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: 224.0.0.1"},
    {"loopback", IP4("address: [{ip: 127.0.0.2, prefix-length: 8}]"), -EINVAL,
     AT0 ".ipv4.address[0].ip: 127.0.0.2"},
    {"the same address twice",
     IP4("address: [{ip: 198.18.0.1, prefix-length: 24}, {ip: 198.18.0.1, prefix-length: 16}]"),
     -EINVAL, AT0 ".ipv4.address[1].ip: 198.18.0.1: stands in this list twice"},
    {"lifetime", IP4("address: [{ip: 198.18.0.1, prefix-length: 24, valid-life-time: 5sec}]"),
     -ENOTSUP, AT0 ".ipv4.address[0].valid-life-time: \"5sec\": is not supported"},

    {"bridge settings of an ethernet", IF("type: ethernet, bridge: {port: []}"), -EINVAL,
     AT0 ".bridge: belongs to an interface of type linux-bridge"},
    {"bridge settings of nothing named", IF("bridge: {port: [{name: a}]}"), -EINVAL,
     AT0 ".bridge: belongs"},
    {"ports twice", BR("port: [{name: a}], ports: [{name: b}]"), -EINVAL,
     AT0 ".bridge: has both port and ports: want one of them"},
    {"ports as texts", BR("port: [eth1]"), -EINVAL,
     AT0 ".bridge.port[0]: want an object, found string"},
    {"port without name", BR("port: [{}]"), -EINVAL, AT0 ".bridge.port[0].name: is missing"},
    {"port's name", BR("slaves: [{name: a}, {name: a/b}]"), -EINVAL,
     AT0 ".bridge.slaves[1].name: \"a/b\""},
    {"port listed twice", BR("port: [{name: a}, {name: a}]"), -EINVAL,
     AT0 ".bridge.port[1]: \"a\": stands in this list twice"},
    {"itself as a port", BR("port: [{name: x1}]"), -EINVAL,
     AT0 ".bridge.port[0]: \"x1\": is the interface itself"},
    {"VLANs of a port", BR("port: [{name: a, vlan: {mode: access, tag: 5}}]"), -ENOTSUP,
     AT0 ".bridge.port[0].vlan: {\"mode\":\"access\",\"tag\":5}: is not supported"},
    {"cost of a port", BR("port: [{name: a, stp-path-cost: 100}]"), -ENOTSUP,
     AT0 ".bridge.port[0].stp-path-cost: 100"},
    {"stp as a boolean", BR("options: {stp: false}"), -EINVAL,
     AT0 ".bridge.options.stp: want an object, found boolean"},
    {"stp.enabled as text", BR("options: {stp: {enabled: 'off'}}"), -EINVAL,
     AT0 ".bridge.options.stp.enabled: \"off\": want true or false"},
    {"STP's priority", BR("options: {stp: {enabled: true, priority: 4096}}"), -ENOTSUP,
     AT0 ".bridge.options.stp.priority: 4096: is not supported: want enabled"},
    {"multicast snooping", BR("options: {multicast-snooping: true}"), -ENOTSUP,
     AT0 ".bridge.options.multicast-snooping: true: is not supported: want stp"},

    {"bond without settings", IF("type: bond"), -EINVAL,
     AT0 ".link-aggregation.mode: is missing: want balance-rr"},
    {"bond without mode", BND("port: [a]"), -EINVAL, AT0 ".link-aggregation.mode: is missing"},
    {"bond mode 7", BND("mode: 7"), -EINVAL, AT0 ".link-aggregation.mode: 7: want balance-rr"},
    {"bond mode -1", BND("mode: -1"), -EINVAL, AT0 ".link-aggregation.mode: -1: want"},
    {"bond mode 7 as text", BND("mode: '7'"), -EINVAL, AT0 ".link-aggregation.mode: \"7\": want"},
    {"unknown mode", BND("mode: lacp"), -EINVAL, AT0 ".link-aggregation.mode: \"lacp\": want"},
    {"mode is a list", BND("mode: [1]"), -EINVAL, AT0 ".link-aggregation.mode: [1]: want"},
    {"miimon with a unit", BND("mode: 1, options: {miimon: 100ms}"), -EINVAL,
     AT0 ".link-aggregation.options.miimon: \"100ms\": want 0 to 60000 (milliseconds)"},
    {"negative miimon", BND("mode: 1, options: {miimon: -1}"), -EINVAL,
     AT0 ".link-aggregation.options.miimon: -1: want 0 to 60000"},
    {"huge miimon", BND("mode: 1, options: {miimon: '99999999999999999999'}"), -EINVAL,
     AT0 ".link-aggregation.options.miimon: \"99999999999999999999\""},
    {"other options", BND("mode: 1, options: {primary: eth1}"), -ENOTSUP,
     AT0 ".link-aggregation.options.primary: \"eth1\": is not supported: want miimon"},
    {"bond ports as objects", BND("mode: 1, port: [{name: a}]"), -EINVAL,
     AT0 ".link-aggregation.port[0]: want an interface's name, found"},
    {"bond port's name", BND("mode: 1, slaves: [a, '']"), -EINVAL,
     AT0 ".link-aggregation.slaves[1]: \"\": want an interface's name"},
    {"bond ports twice", BND("mode: 1, port: [a], slaves: [b]"), -EINVAL,
     AT0 ".link-aggregation: has both port and slaves"},
    {"bond of itself", BND("mode: 1, port: [x1]"), -EINVAL,
     AT0 ".link-aggregation.port[0]: \"x1\": is the interface itself"},
    {"bond settings of a bridge", IF("type: linux-bridge, link-aggregation: {mode: 1}"), -EINVAL,
     AT0 ".link-aggregation: belongs to an interface of type bond"},

    {"vlan without settings", IF("type: vlan"), -EINVAL, AT0 ".vlan.base-iface: is missing"},
    {"vlan without id", VL("base-iface: eth1"), -EINVAL,
     AT0 ".vlan.id: is missing: want 1 to 4094"},
    {"vlan 0", VL("base-iface: eth1, id: 0"), -EINVAL, AT0 ".vlan.id: 0: want 1 to 4094"},
    {"vlan 4095", VL("base-iface: eth1, id: 4095"), -EINVAL, AT0 ".vlan.id: 4095: want 1 to 4094"},
    {"vlan as text", VL("base-iface: eth1, id: '5'"), -EINVAL, AT0 ".vlan.id: want a whole number"},
    {"vlan on itself", VL("base-iface: x1, id: 5"), -EINVAL,
     AT0 ".vlan.base-iface: \"x1\": is the interface itself"},
    {"service tag", VL("base-iface: eth1, id: 5, protocol: 802.1ad"), -EINVAL,
     AT0 ".vlan.protocol: \"802.1ad\": want 802.1q"},
    {"vlan flags", VL("base-iface: eth1, id: 5, loose-binding: true"), -ENOTSUP,
     AT0 ".vlan.loose-binding: true: is not supported"},
    {"vlan settings of an ethernet", IF("type: ethernet, vlan: {base-iface: eth1, id: 5}"), -EINVAL,
     AT0 ".vlan: belongs to an interface of type vlan"},
    {"mac-vlan without mode", MV("base-iface: eth1"), -EINVAL, AT0 ".mac-vlan.mode: is missing"},
    {"mac-vlan mode source", MV("base-iface: eth1, mode: source"), -EINVAL,
     AT0 ".mac-vlan.mode: \"source\": want bridge, private, vepa"},
    {"mac-vlan without base", MV("mode: bridge"), -EINVAL, AT0 ".mac-vlan.base-iface: is missing"},
    {"mac-vlan that is not promiscuous", MV("base-iface: e, mode: passthru, promiscuous: false"),
     -ENOTSUP, AT0 ".mac-vlan.promiscuous: false: is not supported"},
    {"mac-vtap", IF("type: mac-vtap, mac-vtap: {base-iface: e, mode: bridge}"), -ENOTSUP,
     AT0 ".type: \"mac-vtap\""},
};

static void
test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused_cases); i++) {
        const struct refused_case *k = &refused_cases[i];
        AUTO_TREE struct tree *desired = yaml(k->desired);
        struct arena *a = arena_new();
        struct net_wants wants = {.len = 77};
        struct err err = {0};
        int rc = net_want_policy(desired, ORIGIN, a, &wants, &err);

        if (rc != k->rc)
            fail_msg("%s: %d (%s)", k->name, rc, err_msg(&err));
        if (!strstr(err.msg, k->says) || strncmp(err.msg, ORIGIN ": ", strlen(ORIGIN) + 2) != 0)
            fail_msg("%s: \"%s\" does not say \"%s\"", k->name, err.msg, k->says);
        assert_int_equal(wants.len, 77); /* written only on success */
        arena_free(a);
    }
}

static void
test_limits(void **state)
{
    static const struct {
        const char *head, *item, *tail, *says;
        size_t max;
    } cases[] = {
        {"interfaces: [", "{name: i%zu}", "]", "interfaces: 257 items; at most 256",
         NNCP_MAX_INTERFACES},
        {"interfaces: [{name: b, type: linux-bridge, bridge: {port: [", "{name: p%zu}", "]}}]",
         "bridge.port: 65 items; at most 64", NNCP_MAX_PORTS},
        {"interfaces: [{name: b, ipv4: {address: [", "{ip: 198.18.1.%zu, prefix-length: 24}",
         "]}}]", "ipv4.address: 65 items; at most 64", NNCP_MAX_ADDRESSES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t n = cases[i].max; n <= cases[i].max + 1; n++) {
            AUTO_SB struct sb text = SB_INIT;
            struct arena *a = arena_new();
            struct net_wants wants;
            struct err err = {0};
            int rc;

            sb_puts(&text, cases[i].head);
            for (size_t k = 0; k < n; k++) {
                const char *at = strstr(cases[i].item, "%zu");

                sb_printf(&text, "%s%.*s%zu%s", k ? ", " : "", (int)(at - cases[i].item),
                          cases[i].item, k + 1, at + 3);
            }
            sb_puts(&text, cases[i].tail);
            AUTO_TREE struct tree *desired = yaml(sb_str(&text));
            rc = net_want_policy(desired, ORIGIN, a, &wants, &err);
            assert_int_equal(rc, n <= cases[i].max ? 0 : -EINVAL);
            if (rc != 0)
                assert_non_null(strstr(err.msg, cases[i].says));
            arena_free(a);
        }
}

/* --- the migration network --- */

#define NAD_ORIGIN "NetworkAttachmentDefinition openshift-cnv/net"
#define HEAD       "{\"cniVersion\":\"0.3.1\",\"name\":\"net\","
#define RANGE      "\"ipam\":{\"type\":\"whereabouts\",\"range\":\"10.200.5.0/24\"}}"

static void
parse_nad(const char *config, struct arena *a, struct nad_config *ret)
{
    struct nad nad = {.meta = {.name = "net", .namespace_ = "openshift-cnv"}, .config = config};
    struct err err = {0};

    if (nad_config_parse(&nad, ret, a, &err) != 0)
        fail_msg("%s in %s", err_msg(&err), config);
}

struct nad_case {
    const char *name, *config, *addr, *want, *ifname;
};

static const struct nad_case nad_cases[] = {
    {"the documents' macvlan",
     HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"mode\":\"bridge\"," RANGE, "10.200.5.1",
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode bridge "
     "addrs46(10.200.5.1/24) quiet",
     "migration0"},
    {"macvlan with MTU and mode",
     HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"mode\":\"vepa\",\"mtu\":9000," RANGE,
     "10.200.5.254",
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode vepa mtu 9000 "
     "addrs46(10.200.5.254/24) quiet",
     "migration0"},
    {"vlan", HEAD "\"type\":\"vlan\",\"master\":\"eth1\",\"vlanId\":7," RANGE, "10.200.5.1",
     "eth1 any up existing quiet; migration0 vlan up on eth1 id 7 addrs46(10.200.5.1/24) quiet",
     "migration0"},
    {"bridge: a macvlan on it", HEAD "\"type\":\"bridge\",\"bridge\":\"br1\"," RANGE, "10.200.5.2",
     "br1 bridge up existing quiet; migration0 macvlan up on br1 mode bridge "
     "addrs46(10.200.5.2/24) quiet",
     "migration0"},
    {"cnv-bridge with a tag: a VLAN on it",
     HEAD "\"type\":\"cnv-bridge\",\"bridge\":\"br1\",\"vlan\":100,\"mtu\":1450," RANGE,
     "10.200.5.2",
     "br1 bridge up existing quiet; migration0 vlan up on br1 id 100 mtu 1450 "
     "addrs46(10.200.5.2/24) quiet",
     "migration0"},
    {"host-device: under its own name", HEAD "\"type\":\"host-device\",\"device\":\"ens5\"," RANGE,
     "10.200.5.2", "ens5 any up existing addrs46(10.200.5.2/24) quiet", "ens5"},
    {"without addresses", HEAD "\"type\":\"macvlan\",\"master\":\"eth1\"}", NULL,
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode bridge quiet", "migration0"},
    {"IPv6",
     HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":\"whereabouts\",\"range\":"
          "\"fd00:5::/64\"}}",
     "fd00:5::9",
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode bridge addrs46(fd00:5::9/64) "
     "quiet",
     "migration0"},
    {"static: the prefix of that address",
     HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":\"static\",\"addresses\":["
          "{\"address\":\"10.1.0.7/24\"},{\"address\":\"10.2.0.7/20\"}]}}",
     "10.2.0.7",
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode bridge addrs46(10.2.0.7/20) "
     "quiet",
     "migration0"},
    {"with a limit",
     HEAD "\"plugins\":[{\"type\":\"macvlan\",\"master\":\"eth1\"},{\"type\":\"bandwidth\","
          "\"egressRate\":8000000,\"egressBurst\":800000}]}",
     NULL,
     "eth1 any up existing quiet; migration0 macvlan up on eth1 mode bridge limit 1000000/100000 "
     "quiet",
     "migration0"},
    {"host-device with a limit and MTU",
     HEAD "\"plugins\":[{\"type\":\"host-device\",\"device\":\"ens5\"},{\"type\":\"tuning\","
          "\"mtu\":9000},{\"type\":\"bandwidth\",\"egressRate\":8000000,\"egressBurst\":800000}]}",
     NULL, "ens5 any up existing mtu 9000 limit 1000000/100000 quiet", "ens5"},
};

static void
test_nad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nad_cases); i++) {
        const struct nad_case *k = &nad_cases[i];
        AUTO_SB struct sb got = SB_INIT;
        struct arena *a = arena_new();
        const char *ifname = NULL;
        struct net_wants wants;
        struct nad_config c;
        struct err err = {0};
        struct ip addr;

        parse_nad(k->config, a, &c);
        if (k->addr)
            assert_int_equal(ip_parse(k->addr, &addr, NULL), 0);
        if (net_want_nad(&c, NAD_ORIGIN, k->addr ? &addr : NULL, a, &wants, &ifname, &err) != 0)
            fail_msg("%s: %s", k->name, err_msg(&err));
        for (size_t w = 0; w < wants.len; w++) {
            want_text(&wants.items[w], a, &got);
            assert_string_equal(wants.items[w].origin, NAD_ORIGIN);
            assert_memory_equal(wants.items[w].field, "config", 6);
        }
        if (strcmp(sb_str(&got), k->want) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", k->name, sb_str(&got), k->want);
        assert_string_equal(ifname, k->ifname);
        arena_free(a);
    }
}

static void
test_nad_address(void **state)
{
    static const struct {
        const char *config, *addr, *says;
    } cases[] = {
        {HEAD "\"type\":\"macvlan\",\"master\":\"eth1\"," RANGE, "10.200.6.1",
         NAD_ORIGIN ": config.ipam: 10.200.6.1: is not an address that 10.200.5.0/24 gives out"},
        {HEAD "\"type\":\"macvlan\",\"master\":\"eth1\"," RANGE, "10.200.5.0",
         "10.200.5.0: is not"},
        {HEAD "\"type\":\"macvlan\",\"master\":\"eth1\"," RANGE, "fd00::1", "fd00::1: is not"},
        {HEAD "\"type\":\"macvlan\",\"master\":\"eth1\"}", "10.200.5.1",
         "config.ipam: 10.200.5.1: is not an address that no range at all gives out"},
        {HEAD "\"plugins\":[{\"type\":\"bridge\",\"bridge\":\"b\",\"ipam\":{\"type\":\"static\","
              "\"addresses\":[{\"address\":\"10.1.0.7/24\"}]}}]}",
         "10.1.0.8", "config.plugins[0].ipam: 10.1.0.8: is not an address that its static"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new();
        const char *ifname = NULL;
        struct net_wants wants;
        struct nad_config c;
        struct err err = {0};
        struct ip addr;

        parse_nad(cases[i].config, a, &c);
        assert_int_equal(ip_parse(cases[i].addr, &addr, NULL), 0);
        assert_int_equal(net_want_nad(&c, NAD_ORIGIN, &addr, a, &wants, &ifname, &err), -EINVAL);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].says);
        assert_null(ifname);
        arena_free(a);
    }
}

/* --- whether the range is free --- */

#define WHERE(range)                                                                              \
    HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":\"whereabouts\",\"range\":" \
         "\"" range "\"}}"
#define LOCAL(range)                                                                              \
    HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":\"host-local\",\"subnet\":" \
         "\"" range "\"}}"
#define STATIC(addr)                                                                              \
    HEAD "\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":\"static\",\"addresses\":[" \
         "{\"address\":\"" addr "\"}]}}"

struct overlap_case {
    const char *name, *config, *addr; /* of interface eth0, with prefix; or another's range */
    const char *says;                 /* NULL: free */
};

static const struct overlap_case host_cases[] = {
    {"apart", WHERE("10.200.5.0/24"), "10.200.4.9/24", NULL},
    {"the same network", WHERE("10.200.5.0/24"), "10.200.5.9/24",
     "config.ipam.range: 10.200.5.0/24 overlaps 10.200.5.9/24, which interface eth0 has"},
    {"a wider network", WHERE("10.200.5.0/24"), "10.200.77.9/16", "overlaps 10.200.77.9/16"},
    {"a narrower one", WHERE("10.0.0.0/8"), "10.9.9.9/32", "10.0.0.0/8 overlaps 10.9.9.9/32"},
    {"host-local's word", LOCAL("10.200.5.0/24"), "10.200.5.9/24", "config.ipam.subnet: 10.200"},
    {"static's network", STATIC("10.200.5.7/24"), "10.200.5.9/24",
     "config.ipam.addresses: 10.200.5.7/24 overlaps 10.200.5.9/24"},
    {"static, apart", STATIC("10.200.5.7/29"), "10.200.5.9/29", NULL},
    {"another family", WHERE("10.200.5.0/24"), "fd00::1/1", NULL},
    {"IPv6", WHERE("fd00:5::/64"), "fd00:5::9/48", "fd00:5::/64 overlaps fd00:5::9/48"},
    {"no range", HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}", "10.200.5.9/24", NULL},
};

static void
test_range_host(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(host_cases); i++) {
        const struct overlap_case *k = &host_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct cidr have;
        struct err err = {0};
        int rc;

        parse_nad(k->config, a, &c);
        assert_int_equal(cidr_parse(k->addr, &have, NULL), 0);
        struct net_addr addr = {.ip = have.base, .prefix = have.prefix};
        struct net_link links[] = {{.name = "eth0", .addrs = &addr, .addrs_len = 1},
                                   {.name = "eth1"}};
        struct net_state now = {.links = links, .len = ARRAY_LEN(links)};

        assert_int_equal(net_check_range_host(&c, &now, "eth0", &err), 0);
        rc = net_check_range_host(&c, &now, NET_MIGRATION_IFNAME, &err);
        if (rc != (k->says ? -EEXIST : 0))
            fail_msg("%s: %d %s", k->name, rc, err_msg(&err));
        if (k->says && !strstr(err.msg, k->says))
            fail_msg("%s: \"%s\" does not say \"%s\"", k->name, err.msg, k->says);
        arena_free(a);
    }
}

static const struct overlap_case address_cases[] = {
    {"outside", WHERE("10.200.5.0/24"), "10.200.4.255", NULL},
    {"inside", WHERE("10.200.5.0/24"), "10.200.5.9",
     "config.ipam.range: 10.200.5.0/24 overlaps 10.200.5.9, the address of node n3"},
    {"its edge", WHERE("10.200.5.0/24"), "10.200.5.0", "overlaps 10.200.5.0"},
    {"IPv6", WHERE("fd00:5::/64"), "fd00:5::9", "fd00:5::/64 overlaps fd00:5::9"},
    {"IPv6, outside", WHERE("fd00:5::/64"), "fd00:6::9", NULL},
    {"static's network", STATIC("10.200.5.7/24"), "10.200.5.9", "10.200.5.7/24 overlaps"},
    {"no range", HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}", "10.200.5.9", NULL},
};

static void
test_range_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(address_cases); i++) {
        const struct overlap_case *k = &address_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct err err = {0};
        struct ip addr;
        int rc;

        parse_nad(k->config, a, &c);
        assert_int_equal(ip_parse(k->addr, &addr, NULL), 0);
        rc = net_check_range_address(&c, &addr, "the address of node n3", &err);
        if (rc != (k->says ? -EEXIST : 0) || (k->says && !strstr(err.msg, k->says)))
            fail_msg("%s: %d %s", k->name, rc, err_msg(&err));
        arena_free(a);
    }
}

static const struct overlap_case other_cases[] = {
    {"apart", WHERE("10.200.5.0/24"), WHERE("10.200.6.0/24"), NULL},
    {"the same", WHERE("10.200.5.0/24"), LOCAL("10.200.5.0/24"),
     "config.ipam.range: 10.200.5.0/24 overlaps 10.200.5.0/24 of NetworkAttachmentDefinition "
     "default/vms"},
    {"part of it", LOCAL("10.200.0.0/16"), WHERE("10.200.5.0/24"),
     "config.ipam.subnet: 10.200.0.0/16 overlaps 10.200.5.0/24"},
    {"static addresses of the other", WHERE("10.200.5.0/24"), STATIC("10.200.5.7/30"),
     "10.200.5.0/24 overlaps 10.200.5.7/30"},
    {"static and static", STATIC("10.200.5.7/24"), STATIC("10.200.5.8/24"),
     "config.ipam.addresses: 10.200.5.7/24 overlaps 10.200.5.8/24"},
    {"the other has no range", WHERE("10.200.5.0/24"), HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}",
     NULL},
    {"neither has", HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}",
     HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}", NULL},
    {"families", WHERE("10.200.5.0/24"), WHERE("fd00:5::/64"), NULL},
};

static void
test_range_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(other_cases); i++) {
        const struct overlap_case *k = &other_cases[i];
        struct arena *a = arena_new();
        struct nad_config c, other;
        struct err err = {0};
        int rc;

        parse_nad(k->config, a, &c);
        parse_nad(k->addr, a, &other);
        rc = net_check_range_other(&c, &other, "default/vms", &err);
        if (rc != (k->says ? -EEXIST : 0) || (k->says && !strstr(err.msg, k->says)))
            fail_msg("%s: %d %s", k->name, rc, err_msg(&err));
        arena_free(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_nad),
        cmocka_unit_test(test_nad_address),   cmocka_unit_test(test_range_host),
        cmocka_unit_test(test_range_address), cmocka_unit_test(test_range_other),
    };

    return cmocka_run_group_tests_name("net_want", tests, NULL, NULL);
}
