/* Interfaces as values: comparing, copying, and their text form. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/netpolicy/net_text.h"

struct difference {
    const char *have, *want, *why; /* why "": they agree */
};

static const struct difference differences[] = {
    {"e up", "e up", ""},
    {"e down", "e up", "down instead of up"},
    {"e mtu=1500", "e mtu=9000", "mtu 1500 instead of 9000"},
    {"e mac=1", "e mac=2", "another MAC address"},
    {"e mac=1", "e", ""},
    {"e", "e ctl=br1", "a port of nothing instead of br1"},
    {"e bridge", "e bond", "linux-bridge instead of bond"},
    {"e vlan on=a id=1", "e vlan on=b id=1", "on a instead of b"},
    {"e vlan on=a id=1", "e vlan on=a id=2", "vlan 1 instead of 2"},
    {"e macvlan on=a", "e macvlan on=a mode=vepa", "mode bridge instead of vepa"},
    {"e bond bmode=1", "e bond bmode=4", "bond mode 1 instead of 4"},
    {"e bond bmode=1 miimon=0", "e bond bmode=1 miimon=100", "miimon 0 instead of 100"},
    {"e bmode=1", "e bmode=4", ""}, /* no bond has none */
    {"e bridge", "e bridge stp", "stp off instead of on"},
    {"e", "e 10.0.0.1/24", "address 10.0.0.1/24 is missing"},
    {"e 10.0.0.1/24", "e", "address 10.0.0.1/24 is there, too"},
    {"e 10.0.0.1/24", "e 10.0.0.1/25", "address 10.0.0.1/25 is missing"},
    {"e dhcp:10.0.0.1/24", "e", ""},
    {"e", "e dhcp:10.0.0.1/24", ""},
    {"e dhcp:10.0.0.1/24", "e 10.0.0.1/24", ""},
    {"e", "e fd00::1/64", "address fd00::1/64 is missing"},
    {"e limit=1", "e limit=2", "a limit of 1 bytes/s instead of 2"},
    {"e", "e arp", "arp_ignore off instead of on"},
};

static void
test_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(differences); i++) {
        const struct difference *d = &differences[i];
        struct arena *a = arena_new();
        struct net_state have, want;
        char why[128] = "";
        bool equal;

        text_state(d->have, a, &have);
        text_state(d->want, a, &want);
        equal = net_link_equal(have.links, want.links, NET_F_ALL, why, sizeof why);
        if (equal != (*d->why == '\0') || strcmp(why, d->why) != 0)
            fail_msg("%s / %s: \"%s\", want \"%s\"", d->have, d->want, why, d->why);
        arena_free(a);
    }
}

/* Only the fields that are asked for count. */
static void
test_fields(void **state)
{
    struct arena *a = arena_new();
    struct net_state have, want;

    (void)state;
    text_state("e down mtu=1500 10.0.0.1/24 fd00::1/64", a, &have);
    text_state("e up mtu=9000 10.0.0.2/24 fd00::1/64", a, &want);
    assert_false(net_link_equal(have.links, want.links, NET_F_ADDRS4, NULL, 0));
    assert_true(net_link_equal(have.links, want.links, NET_F_ADDRS6 | NET_F_CONTROLLER, NULL, 0));
    net_link_take(have.links, want.links, NET_F_UP | NET_F_MTU | NET_F_ADDRS4, a);
    assert_true(net_link_equal(have.links, want.links, NET_F_ALL, NULL, 0));
    arena_free(a);
}

static const char everything[] =
    "bond0 bond down bmode=4 miimon=100 mtu=9000; br1 bridge stp mac=5 10.0.0.1/24 "
    "dhcp:10.0.0.7/24; "
    "eth1 ctl=br1 max=9000 route arp; lo loopback mtu=65536; m0 macvlan on=br1 mode=private "
    "fd00::1/64 limit=125000000; v5 vlan on=bond0 id=5; vnet0 other ctl=br1 qdisc";

static void
test_text(void **state)
{
    struct arena *a = arena_new();
    struct net_state s, copy, back;
    struct tree *t, *again;
    struct err err = {0};

    (void)state;
    text_state(everything, a, &s);
    net_state_copy(&s, a, &copy);
    s.links[1].addrs[0].prefix = 8; /* a copy is deep */
    t = net_state_tree(&copy);
    assert_int_equal(net_state_from_tree(t, a, &back, &err), 0);
    assert_int_equal(back.len, 7);
    for (size_t i = 0; i < back.len; i++) {
        char why[128] = "";

        if (!net_link_equal(&back.links[i], &copy.links[i], NET_F_ALL, why, sizeof why))
            fail_msg("%s: %s", back.links[i].name, why);
    }
    assert_int_equal(back.links[1].addrs[0].prefix, 24);
    assert_true(back.links[1].addrs[1].foreign);
    assert_true(net_state_find(&back, "eth1")->default_route);
    assert_true(net_state_find(&back, "vnet0")->shape_foreign);
    assert_int_equal(net_state_find(&back, "eth1")->max_mtu, 9000);
    assert_null(net_state_find(&back, "eth2"));
    assert_string_equal(tree_find_string(tree_at(tree_get(t, "interfaces"), 0), "",
                                         "link-aggregation", "mode", NULL),
                        "802.3ad");
    again = net_state_tree(&back);
    assert_true(tree_equal(t, again));
    tree_free(again);
    tree_free(t);
    arena_free(a);
}

struct bad_text {
    const char *json, *error;
};

#define LINK(fields) "{\"interfaces\":[{\"name\":\"e\"," fields "}]}"

static const struct bad_text bad_texts[] = {
    {"[]", "want an object with a list \"interfaces\""},
    {"{}", "want an object with a list \"interfaces\""},
    {"{\"interfaces\":{}}", "want an object with a list \"interfaces\""},
    {"{\"interfaces\":[1]}", "network state.interfaces[0]: want an object, found integer"},
    {"{\"interfaces\":[{}]}", "network state.interfaces[0].name: want 1 to 15 bytes"},
    {"{\"interfaces\":[{\"name\":\"sixteen-bytes-xx\"}]}", "want at most 15 bytes"},
    {"{\"interfaces\":[{\"name\":\"e\"},{\"name\":\"e\"}]}", "\"e\" is there twice"},
    {LINK("\"type\":1"), "interfaces[0].type: want text, found integer"},
    {LINK("\"state\":\"sideways\""), "interfaces[0].state: \"sideways\": want up or down"},
    {LINK("\"mtu\":-1"), "interfaces[0].mtu: -1: want 0 to 4294967295"},
    {LINK("\"mtu\":\"1500\""), "interfaces[0].mtu: want a whole number, found string"},
    {LINK("\"mac-address\":\"52:54:00:00:00\""), "mac-address: \"52:54:00:00:00\": want six bytes"},
    {LINK("\"mac-address\":\"52:54:00:00:00:0x\""), "want six bytes"},
    {LINK("\"type\":\"bond\",\"link-aggregation\":{\"mode\":\"7\"}"),
     "link-aggregation.mode: \"7\": want one of balance-rr"},
    {LINK("\"type\":\"mac-vlan\",\"mac-vlan\":{\"mode\":\"tube\"}"),
     "mac-vlan.mode: \"tube\": want one of bridge, private"},
    {LINK("\"type\":\"vlan\",\"vlan\":{\"id\":4095}"), "vlan.id: 4095: want 0 to 4094"},
    {LINK("\"type\":\"vlan\",\"vlan\":[]"), "interfaces[0].vlan: want an object, found"},
    {LINK("\"ipv4\":{\"address\":[{\"ip\":\"fd00::1\",\"prefix-length\":64}]}"),
     "ipv4.address[0].prefix-length: 64: want 0 to 32"},
    {LINK("\"ipv4\":{\"address\":[{\"ip\":\"fd00::1\",\"prefix-length\":24}]}"),
     "ipv4.address[0].ip: want an IPv4 address"},
    {LINK("\"ipv6\":{\"address\":[{\"ip\":\"fd00::1\"}]}"),
     "ipv6.address[0].prefix-length: is missing"},
    {LINK("\"ipv6\":{\"address\":[{\"prefix-length\":64}]}"), "ip: want an IPv6 address"},
    {LINK("\"ipv4\":{\"address\":{}}"), "ipv4.address: want a list, found"},
    {LINK("\"drover\":{\"limit\":{\"bytesPerSecond\":-1}}"), "bytesPerSecond: -1: want 0 to"},
    {LINK("\"drover\":{\"carrier\":\"yes\"}"), "drover.carrier: \"yes\": want true or false"},
};

static void
test_bad_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_texts); i++) {
        const struct bad_text *b = &bad_texts[i];
        struct arena *a = arena_new();
        struct tree *t = NULL;
        struct net_state s;
        struct err err = {0};

        assert_int_equal(tree_from_json(b->json, strlen(b->json), &t, &err), 0);
        if (net_state_from_tree(t, a, &s, &err) == 0 || !strstr(err_msg(&err), b->error))
            fail_msg("%s: \"%s\", want \"%s\"", b->json, err_msg(&err), b->error);
        tree_free(t);
        arena_free(a);
    }
}

static const struct bad_text bad_baselines[] = {
    {"{}", "want a map with a list \"before\""},
    {"{\"before\":[{}]}", "before[0]: want \"existed\""},
    {"{\"before\":[{\"existed\":true,\"changed\":[\"colour\"],\"interface\":{\"name\":\"e\"}}]}",
     "before[0]: changed[0]: \"colour\" is no attribute"},
    {"{\"before\":[{\"existed\":true,\"changed\":[],\"interface\":{}}]}",
     "before[0]: interface.name: want 1 to 15 bytes"},
    {"{\"before\":[{\"existed\":true,\"changed\":[],\"interface\":{\"name\":\"e\"}},"
     "{\"existed\":true,\"changed\":[],\"interface\":{\"name\":\"e\"}}]}",
     "before: \"e\" is there twice"},
};

static void
test_bad_baseline(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_baselines); i++) {
        const struct bad_text *b = &bad_baselines[i];
        struct arena *a = arena_new();
        struct tree *t = NULL;
        struct net_baseline base;
        struct err err = {0};

        assert_int_equal(tree_from_json(b->json, strlen(b->json), &t, &err), 0);
        if (net_baseline_from_tree(t, a, &base, &err) == 0 || !strstr(err_msg(&err), b->error))
            fail_msg("%s: \"%s\", want \"%s\"", b->json, err_msg(&err), b->error);
        tree_free(t);
        arena_free(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),  cmocka_unit_test(test_fields),
        cmocka_unit_test(test_text),         cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_bad_baseline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
