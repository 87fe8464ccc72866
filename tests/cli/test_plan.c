/* drover plan network on manifests: steps in order, who asks for each, the address that a node gets, every
 * kind of refusal with its reason, wrong input, and a table that fits a terminal of 80 columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tree.h"
#include "base/fs.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define HCO(settings)                                                                            \
    "---\n{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {name: "         \
    "kubevirt-hyperconverged, namespace: openshift-cnv}, spec: {liveMigrationConfig: {" settings \
    "}}}\n"
#define NAD(name, ns, config)                                                             \
    "---\n{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: " \
    "{name: " name ", namespace: " ns                                                     \
    "}, spec: {config: '{\"cniVersion\":\"0.3.1\",\"name\":\"net\"," config "}'}}\n"
#define WHERE(range) ",\"ipam\":{\"type\":\"whereabouts\",\"range\":\"" range "\"}"
#define MACVLAN      "\"type\":\"macvlan\",\"master\":\"eth1\""
#define NETWORK      HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN WHERE("10.200.5.0/24"))
#define NODE(name, meta, address)                                                              \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name meta "}, status: {addresses: [" \
    "{type: InternalIP, address: " address "}]}}\n"
#define N1 NODE("n1", ", labels: {role: worker}", "198.18.0.1")
#define POLICY(name, selector, interfaces)                                              \
    "---\n{apiVersion: nmstate.io/v1, kind: NodeNetworkConfigurationPolicy, metadata: " \
    "{name: " name "}, spec: {nodeSelector: {" selector                                 \
    "}, desiredState: {interfaces: [" interfaces "]}}}\n"
#define STATE(interfaces)                                                                          \
    "---\n{apiVersion: nmstate.io/v1beta1, kind: NodeNetworkState, metadata: {name: n1}, status: " \
    "{currentState: {interfaces: [" interfaces "]}}}\n"
#define ETH(name, more) "{name: " name ", type: ethernet, state: up, mtu: 1500" more "}"
#define ETH0                                                                                \
    ETH("eth0",                                                                             \
        ", ipv4: {enabled: true, address: [{ip: 198.18.0.1, prefix-length: 24}]}, drover: " \
        "{defaultRoute: true}")
#define HOST STATE(ETH0 ", " ETH("eth1", "") ", " ETH("eth2", ""))
#define TOLD(address)                                                                           \
    ", annotations: {drover.io/migration-address: '{\"network\":\"openshift-cnv/mig\"," address \
    "}'}"

static char folder[64];

static int
set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/drover-plan-%d", (int)getpid());
    return fs_mkdirs(folder, 0755, NULL);
}

static int
cut_up(void **state)
{
    (void)state;
    return fs_rmtree(folder, NULL);
}

static struct ran
run_plan(const char *input, const char *how)
{
    AUTO_FREE char *file = xasprintf("%s/input.yaml", folder);
    const char *args[] = {"plan", "network",         "-f", file, "--node",
                          "n1",   how ? "-o" : NULL, how,  NULL};

    assert_int_equal(fs_replace(file, input, strlen(input), 0644, NULL), 0);
    return run_verb(verb_plan, args);
}

/* --- answers: steps as "OP INTERFACE", separated by "; " --- */

struct steps_case {
    const char *name, *input;
    const char *interface, *address; /* NULL: none */
    const char *steps;
};

static const struct steps_case steps_cases[] = {
    {"nothing is asked for", HCO("") N1 HOST, NULL, NULL, ""},
    {"the documents' migration network", NETWORK N1 HOST, "migration0", "10.200.5.1/24",
     "add migration0; arp-ignore migration0; up migration0; add-address migration0; arp-ignore "
     "eth1"},
    {"it is there already",
     NETWORK N1 STATE(ETH0 ", " ETH(
         "eth1", ", drover: {arpIgnore: true}") ", {name: migration0, "
                                                "type: mac-vlan, state: up, mtu: 1500, mac-vlan: "
                                                "{base-iface: eth1, mode: "
                                                "bridge}, ipv4: {enabled: true, address: [{ip: "
                                                "10.200.5.1, prefix-length: "
                                                "24}]}, drover: {arpIgnore: true}}"),
     "migration0", "10.200.5.1/24", ""},
    {"an interface that has the address is used as it is",
     NETWORK NODE("n1", TOLD("\"address\":\"10.200.5.9/24\""), "198.18.0.1") STATE(
         ETH("eth1", "") ", " ETH("net9", ", ipv4: {enabled: true, address: [{ip: 10.200.5.9, "
                                          "prefix-length: 24}]}")),
     "net9", "10.200.5.9/24", ""},
    {"without addresses", HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN) N1 HOST,
     "migration0", NULL, "add migration0; arp-ignore migration0; up migration0; arp-ignore eth1"},
    {"host-device",
     HCO("network: other/mig")
         NAD("mig", "other", "\"type\":\"host-device\",\"device\":\"eth2\"" WHERE("10.200.5.0/24"))
             N1 HOST,
     "eth2", "10.200.5.1/24", "arp-ignore eth2; add-address eth2"},
    {"a policy for this node and one for others",
     N1 HOST POLICY("b", "role: worker", "{name: eth2, mtu: 1400}")
         POLICY("a", "role: other", "{name: eth1, mtu: 1300}"),
     NULL, NULL, "mtu eth2"},
    {"a bridge, in dependency order",
     N1 HOST POLICY("b", "", "{name: br1, type: linux-bridge, bridge: {port: [{name: eth2}]}}"),
     NULL, NULL, "add br1; controller eth2; up br1"},
};

static void
step_texts(const struct tree *answer, struct sb *out)
{
    const struct tree *steps = tree_get(answer, "steps");

    for (size_t i = 0; i < tree_len(steps); i++) {
        const struct tree *s = tree_at(steps, i);

        sb_printf(out, "%s%s %s", i ? "; " : "", tree_find_string(s, "", "op", NULL),
                  tree_find_string(s, "", "interface", NULL));
        assert_true(*tree_find_string(s, "", "text", NULL));
        assert_true(*tree_find_string(s, "", "origin", NULL));
    }
}

static bool
same_text(const struct tree *t, const char *want)
{
    return want ? strcmp(tree_get_string(t, ""), want) == 0 : tree_type(t) == TREE_NULL;
}

/* Whether both have the same words between "; ", in any order. */
static bool
same_steps(const char *got, const char *want)
{
    if (strlen(got) != strlen(want))
        return false;
    for (const char *at = want; *at;) {
        size_t len = strcspn(at, ";");
        AUTO_FREE char *step = xstrndup(at, len);

        if (!strstr(got, step))
            return false;
        at += len + strspn(at + len, "; ");
    }
    return true;
}

static void
test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps_cases); i++) {
        const struct steps_case *k = &steps_cases[i];
        AUTO_TREE struct tree *answer = NULL;
        AUTO_SB struct sb got = SB_INIT;
        struct ran r = run_plan(k->input, "json");

        if (r.exit_code != 0)
            fail_msg("%s: exit %d\n%s%s", k->name, r.exit_code, r.out, r.err);
        assert_int_equal(tree_from_json(r.out, strlen(r.out), &answer, NULL), 0);
        step_texts(answer, &got);
        if (!same_steps(sb_str(&got), k->steps))
            fail_msg("%s: \"%s\", not \"%s\"", k->name, sb_str(&got), k->steps);
        assert_string_equal(tree_find_string(answer, "", "node", NULL), "n1");
        assert_true(same_text(tree_get(answer, "interface"), k->interface));
        assert_true(same_text(tree_get(answer, "address"), k->address));
        assert_int_equal(tree_type(tree_get(answer, "refused")), TREE_NULL);
        assert_int_equal(tree_type(tree_get(answer, "note")), TREE_NULL);
        ran_done(&r);
    }
}

/* --- which address --- */

#define OTHERS NODE("n0", "", "198.18.0.2") NODE("n2", "", "198.18.0.3")
#define POOL                                                                                     \
    "---\n{apiVersion: whereabouts.cni.cncf.io/v1alpha1, kind: IPPool, metadata: {name: "        \
    "10.200.5.0-24, namespace: openshift-cnv}, spec: {range: 10.200.5.0/24, allocations: {'7': " \
    "{id: "                                                                                      \
    "n1, podref: openshift-cnv/n1, ifname: migration0}}}}\n"

static void
test_address(void **state)
{
    static const struct {
        const char *name, *input, *address;
    } cases[] = {
        {"the lowest free one, by the names of nodes", NETWORK N1 OTHERS HOST, "10.200.5.2/24"},
        {"what the pool remembers", NETWORK POOL N1 OTHERS HOST, "10.200.5.7/24"},
        {"what the controller told",
         NETWORK POOL NODE("n1", TOLD("\"address\":\"10.200.5.50/24\""), "198.18.0.1") HOST,
         "10.200.5.50/24"},
        {"what it told of another network does not count",
         NETWORK NODE("n1",
                      ", annotations: {drover.io/migration-address: '{\"network\":\"x/y\","
                      "\"address\":\"10.200.5.50/24\"}'}",
                      "198.18.0.1") HOST,
         "10.200.5.1/24"},
        {"nor does what cannot be read",
         NETWORK NODE("n1", ", annotations: {drover.io/migration-address: soon}", "198.18.0.1")
             HOST,
         "10.200.5.1/24"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *want = xasprintf("\"address\": \"%s\"", cases[i].address);
        struct ran r = run_plan(cases[i].input, "json");

        if (r.exit_code != 0 || !strstr(r.out, want))
            fail_msg("%s: exit %d, no %s\n%s%s", cases[i].name, r.exit_code, want, r.out, r.err);
        ran_done(&r);
    }
}

/* --- refusals --- */

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *input, *reason, *message;
    } cases[] = {
        {"no definition", HCO("network: mig") N1 HOST, "NetworkNotFound",
         "liveMigrationConfig.network: there is no NetworkAttachmentDefinition openshift-cnv/mig"},
        {"a definition in another namespace",
         HCO("network: mig") NAD("mig", "default", MACVLAN) N1 HOST, "NetworkNotFound",
         "openshift-cnv/mig"},
        {"a definition of tenants",
         HCO("network: mig")
             NAD("mig", "openshift-cnv", "\"type\":\"ovn-k8s-cni-overlay\",\"topology\":\"layer2\"")
                 N1 HOST,
         "NetworkInvalid", "config.type: \"ovn-k8s-cni-overlay\": want macvlan"},
        {"the range has this host's other address",
         HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN WHERE("10.200.5.0/24")) N1 STATE(
             ETH("eth1", ", ipv4: {enabled: true, address: [{ip: 10.200.5.200, prefix-length: "
                         "24}]}")),
         "RangeOverlap", "10.200.5.0/24 overlaps 10.200.5.200/24, which interface eth1 has"},
        {"the range has a management address",
         HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN WHERE("198.18.0.0/24")) N1 HOST,
         "RangeOverlap", "198.18.0.0/24 overlaps 198.18.0.1, node n1's management address"},
        {"another definition has the range",
         NETWORK NAD("vms", "default",
                     "\"type\":\"bridge\",\"bridge\":\"b\"" WHERE("10.200.0.0/16")) N1 HOST,
         "RangeOverlap",
         "10.200.5.0/24 overlaps 10.200.0.0/16 of NetworkAttachmentDefinition default/vms"},
        {"the range is full",
         HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN WHERE("10.200.5.0/30"))
             NODE("a", "", "198.18.0.8") NODE("b", "", "198.18.0.9") N1 HOST,
         "RangeFull", "10.200.5.0/30"},
        {"the controller said why not",
         NETWORK NODE("n1", TOLD("\"reason\":\"RangeFull\",\"message\":\"no address is left\""),
                      "198.18.0.1") HOST,
         "RangeFull", "no address is left"},
        {"an address that the definition does not give",
         NETWORK NODE("n1", TOLD("\"address\":\"10.9.9.9/24\""), "198.18.0.1") HOST,
         "NetworkInvalid", "10.9.9.9: is not an address that 10.200.5.0/24 gives out"},
        {"no such master", NETWORK N1 STATE(ETH0), "InterfaceMissing", "eth1"},
        {"the master carries the default route",
         HCO("network: mig") NAD("mig", "openshift-cnv",
                                 "\"type\":\"macvlan\",\"master\":\"eth0\"" WHERE("10.200.5.0/24"))
             N1 HOST,
         "MasterHasDefaultRoute", "eth0"},
        {"the host-device carries the default route",
         HCO("network: mig")
             NAD("mig", "openshift-cnv", "\"type\":\"host-device\",\"device\":\"eth0\"") N1 HOST,
         "MasterHasDefaultRoute", "config.device: eth0: it carries the default route of this host"},
        {"the host-device is a port",
         HCO("network: mig")
             NAD("mig", "openshift-cnv",
                 "\"type\":\"host-device\",\"device\":\"eth1\"" WHERE("10.200.5.0/24"))
                 N1 HOST POLICY("b", "",
                                "{name: br1, type: linux-bridge, bridge: {port: [{name: eth1}]}}"),
         "Conflict", "config.device: eth1: it is a port of br1, which takes what arrives"},
        {"the bridge is no bridge",
         HCO("network: mig") NAD("mig", "openshift-cnv",
                                 "\"type\":\"bridge\",\"bridge\":\"eth1\"" WHERE("10.200.5.0/24"))
             N1 HOST,
         "Conflict", "eth1"},
        {"no such bridge",
         HCO("network: mig")
             NAD("mig", "openshift-cnv",
                 "\"type\":\"cnv-bridge\",\"bridge\":\"br1\"" WHERE("10.200.5.0/24")) N1 HOST,
         "InterfaceMissing", "br1"},
        {"MTU above the master's",
         HCO("network: mig") NAD("mig", "openshift-cnv", MACVLAN ",\"mtu\":9000") N1 HOST,
         "MTUOutOfRange", "mtu 9000"},
        {"the documents' bridge on a bond of mode 6",
         N1 HOST POLICY("bond", "",
                        "{name: bond1, type: bond, link-aggregation: {mode: balance-alb, "
                        "slaves: [eth1, eth2]}}")
             POLICY("bridge", "",
                    "{name: br1, type: linux-bridge, bridge: {port: [{name: bond1}]}}"),
         "BondModeNotSupported", "balance-alb"},
        {"what nodes do not do",
         N1 HOST POLICY("p", "", "{name: eth1, ipv4: {enabled: true, dhcp: true}}"),
         "LinkKindNotSupported",
         "NodeNetworkConfigurationPolicy p: spec.desiredState.interfaces[0].ipv4.dhcp: true"},
        {"what is wrong", N1 HOST POLICY("p", "", "{name: b, type: bond}"), "Invalid",
         "spec.desiredState.interfaces[0].link-aggregation.mode: is missing"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_TREE struct tree *answer = NULL;
        struct ran r = run_plan(cases[i].input, "json");
        const char *reason, *message;

        if (r.exit_code != 2)
            fail_msg("%s: exit %d\n%s%s", cases[i].name, r.exit_code, r.out, r.err);
        assert_int_equal(tree_from_json(r.out, strlen(r.out), &answer, NULL), 0);
        reason = tree_find_string(answer, "", "refused", "reason", NULL);
        message = tree_find_string(answer, "", "refused", "message", NULL);
        if (strcmp(reason, cases[i].reason) != 0 || !strstr(message, cases[i].message))
            fail_msg("%s: %s: %s", cases[i].name, reason, message);
        assert_int_equal(tree_len(tree_get(answer, "steps")), 0);
        ran_done(&r);
    }
}

/* --- wrong input --- */

static void
test_wrong(void **state)
{
    static const struct {
        const char *name, *input, *err;
    } cases[] = {
        {"no such node", NETWORK HOST, "drover: --node n1: no such Node in the input"},
        {"a state that cannot be read", N1 STATE("{name: eth1, type: ethernet, mtu: large}"),
         "drover: NodeNetworkState n1: status.currentState: "},
        {"a port at the wrong level (seeds A6.3)",
         N1 POLICY("p", "", "{name: br1, type: linux-bridge, port: [{name: eth1}]}"),
         "unknown field \"spec.desiredState.interfaces[0].port\""},
        {"captures",
         N1
         "---\n{apiVersion: nmstate.io/v1, kind: NodeNetworkConfigurationPolicy, metadata: {name: "
         "p}, spec: {capture: {a: b}}}\n",
         "spec.capture: Forbidden"},
    };
    const char *no_node[] = {"plan", "network", "-f", "examples", NULL};
    const char *no_such[] = {"plan", "storage", "-f", "examples", "--node", "n1", NULL};
    const char *nothing[] = {"plan", "-f", "examples", "--node", "n1", NULL};
    struct ran r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        r = run_plan(cases[i].input, "json");
        if (r.exit_code != 1 || !strstr(r.err, cases[i].err) || *r.out)
            fail_msg("%s: exit %d\n%s%s", cases[i].name, r.exit_code, r.out, r.err);
        ran_done(&r);
    }
    r = run_verb(verb_plan, no_node);
    assert_int_equal(r.exit_code, 1);
    assert_non_null(strstr(r.err, "--node"));
    ran_done(&r);
    r = run_verb(verb_plan, no_such);
    assert_int_equal(r.exit_code, 1);
    assert_non_null(strstr(r.err, "plan storage: want \"plan network\""));
    ran_done(&r);
    r = run_verb(verb_plan, nothing);
    assert_int_equal(r.exit_code, 1);
    ran_done(&r);
}

/* --- for people --- */

static void
check_width(const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");

        if (len > 80)
            fail_msg("%zu columns: %.*s", len, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void
test_words(void **state)
{
    static const struct {
        const char *name, *input;
        int exit_code;
        const char *holds[4], *err;
    } cases[] = {
        {"steps",
         NETWORK N1 HOST POLICY("mtu", "", "{name: eth1, mtu: 1400}"),
         0,
         {"Network   openshift-cnv/mig\n", "Interface migration0, 10.200.5.1/24\n", "policy mtu\n",
          "network\n"},
         ""},
        {"nothing to do",
         N1 HOST,
         0,
         {"Network   none: migrations use the management network\n",
          "Steps     none: the host is as the objects ask for\n"},
         ""},
        {"a refusal", NETWORK N1 STATE(ETH0), 2, {"Refused   InterfaceMissing: "}, ""},
        {"without a state",
         N1,
         0,
         {"Steps     none"},
         "no NodeNetworkState n1 in the input: planned for a host without interfaces"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ran r = run_plan(cases[i].input, NULL);

        if (r.exit_code != cases[i].exit_code)
            fail_msg("%s: exit %d\n%s%s", cases[i].name, r.exit_code, r.out, r.err);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].holds) && cases[i].holds[k]; k++)
            if (!strstr(r.out, cases[i].holds[k]))
                fail_msg("%s: no \"%s\" in\n%s", cases[i].name, cases[i].holds[k], r.out);
        assert_non_null(strstr(r.err, cases[i].err));
        if (!*cases[i].err)
            assert_string_equal(r.err, "");
        check_width(r.out);
        ran_done(&r);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),   cmocka_unit_test(test_address),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests_name("plan", tests, set_up, cut_up);
}
