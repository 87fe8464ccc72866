/* Networks in words: what `drover describe` says of a node's migration network, its interfaces and
 * of policies and enactments; from objects that are whole, half-written, malformed or missing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "cli/print_describe.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

struct row {
    const char *name;
    void (*describe)(struct describe *d, const struct tree *obj);
    const char *object; /* NULL: missing */
    const char *want[6];
    const char *not_want;
};

#define LINK_JSON                                                                            \
    "\\\"interface\\\":\\\"migration0\\\",\\\"address\\\":\\\"10.200.5.1\\\",\\\"mtu\\\":"   \
    "9000,\\\"rxBytes\\\":2147483648,\\\"txBytes\\\":1024,\\\"rxDropped\\\":3,\\\"txDropped" \
    "\\\":0"
#define NODE(annotations, conditions)                                                          \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"annotations\":{" \
    "\"x\":\"y\"" annotations "}},\"status\":{\"conditions\":[{\"type\":\"Ready\"}" conditions \
    "]}}"
#define GIVEN(body) ",\"" ANN_MIGRATION_ADDRESS "\":\"{\\\"network\\\":\\\"ns/net\\\"," body "}\""
#define LINK(body)  ",\"" ANN_MIGRATION_LINK "\":\"{" body "}\""
#define COND(status, reason, message)                                                          \
    ",{\"type\":\"" COND_MIGRATION_NETWORK "\",\"status\":\"" status "\",\"reason\":\"" reason \
    "\",\"message\":\"" message "\"}"
#define RDMA(status, message)                                                            \
    ",{\"type\":\"" COND_MIGRATION_RDMA "\",\"status\":\"" status "\",\"reason\":\"x\"," \
    "\"message\":\"" message "\"}"
#define NNS(interfaces)                                                                   \
    "{\"apiVersion\":\"nmstate.io/v1beta1\",\"kind\":\"NodeNetworkState\",\"metadata\":{" \
    "\"name\":\"n1\"},\"status\":{\"currentState\":{\"interfaces\":" interfaces "},"      \
    "\"lastSuccessfulUpdateTime\":\"2026-01-01T00:00:00Z\"}}"
#define IFACE(name, type, more) "{\"name\":\"" name "\",\"type\":\"" type "\"" more "}"
#define NNCE(node, policy, conditions)                                                       \
    "{\"apiVersion\":\"nmstate.io/v1beta1\",\"kind\":\"NodeNetworkConfigurationEnactment\"," \
    "\"metadata\":{\"name\":\"" node "." policy "\",\"labels\":{\"" LABEL_NMSTATE_NODE       \
    "\":\"" node "\",\"" LABEL_NMSTATE_POLICY "\":\"" policy                                 \
    "\"}},\"status\":{\"conditions\":[" conditions                                           \
    "],\"desiredState\":{\"interfaces\":[{\"name\":\"br1\"}]}}}"
#define IS(type, status, reason, message)                                   \
    "{\"type\":\"" type "\",\"status\":\"" status "\",\"reason\":\"" reason \
    "\",\"message\":\"" message "\"}"
#define NOW_US 1767225720000000 /* 2026-01-01T00:02:00Z */

static void
enactments_of_node(struct describe *d, const struct tree *obj)
{
    describe_enactments(d, obj, LABEL_NMSTATE_NODE);
}

static void
cell(struct describe *d, const struct tree *obj)
{
    describe_network_cell(obj, &d->out);
}

static const struct row rows[] = {
    {"a network that works",
     describe_migration_network,
     NODE(GIVEN("\\\"address\\\":\\\"10.200.5.1/24\\\"")
              LINK(LINK_JSON ",\\\"speedMbps\\\":25000,\\\"limitBytesPerSecond\\\":1073741824"),
          COND("True", "AddressFound", "10.200.5.1 on migration0 for ns/net")),
     {"  State:            ready, AddressFound: 10.200.5.1 on migration0 for ns/net\n"
      "  Network:          ns/net\n"
      "  Interface:        migration0\n  Address:          10.200.5.1\n"
      "  MTU:              9000\n  Speed:            25 Gb/s\n"
      "  Kernel limit:     1 GiB/s\n  Received:         2 GiB, 3 packets dropped\n"
      "  Sent:             1 KiB, 0 packets dropped\n"},
     NULL},
    {"an address that it has not taken yet",
     describe_migration_network,
     NODE(GIVEN("\\\"address\\\":\\\"10.200.5.12/24\\\"") LINK(LINK_JSON), ""),
     {"  Given address:    10.200.5.12/24\n", "  Address:          10.200.5.1\n"},
     NULL},
    {"a link that does not say its speed, without a limit",
     describe_migration_network,
     NODE(LINK(LINK_JSON), ""),
     {"  Speed:            the link does not say\n  Kernel limit:     none\n"},
     "Trusted"},
    {"a network that is trusted",
     describe_migration_network,
     NODE(LINK(LINK_JSON ",\\\"trusted\\\":true"), ""),
     {"  Trusted:          yes: RDMA may be used, which does not encrypt\n  MTU:"},
     "no: only TCP"},
    {"RDMA, in the condition's words",
     describe_migration_network,
     NODE(LINK(LINK_JSON), RDMA("False", "no device has 10.200.5.1")),
     {"  RDMA:             no device has 10.200.5.1\n"},
     NULL},
    {"a network that is not",
     describe_migration_network,
     NODE(LINK(LINK_JSON ",\\\"trusted\\\":false"), ""),
     {"  Trusted:          no: only TCP is used\n"},
     "yes"},
    {"the range is full",
     describe_migration_network,
     NODE(GIVEN("\\\"reason\\\":\\\"RangeFull\\\",\\\"message\\\":\\\"10.200.5.0/30 is full\\\""),
          COND("False", "RangeFull", "no address")),
     {"  State:            not ready, RangeFull: no address\n",
      "  No address:       RangeFull: 10.200.5.0/30 is full\n"},
     "Interface:"},
    {"a node of which no handler has spoken",
     describe_migration_network,
     NODE("", ""),
     {"Migration network:\n  State:            unknown: no handler has reported it\n"},
     "Interface:"},
    {"annotations that are no JSON",
     describe_migration_network,
     NODE(",\"" ANN_MIGRATION_LINK "\":\"{\",\"" ANN_MIGRATION_ADDRESS "\":\"[1\"",
          COND("Unknown", "NotRead", "x")),
     {"  State:            unknown, NotRead: x\n"},
     "Interface:"},
    {"annotations of the wrong types",
     describe_migration_network,
     NODE(",\"" ANN_MIGRATION_LINK "\":\"[1,{}]\",\"" ANN_MIGRATION_ADDRESS
          "\":\"{\\\"reason\\\":{}}\"",
          ""),
     {"  State:            unknown: "},
     "No address"},
    {"a message cannot drive the terminal",
     describe_migration_network,
     NODE("", COND("False", "x", "a\\u001b[2Jb")),
     {"x: a [2Jb\n"},
     "\033"},
    {"in two words",
     cell,
     NODE(LINK(LINK_JSON ",\\\"speedMbps\\\":2500"), COND("True", "AddressFound", "x")),
     {"migration0 2.5 Gb/s"},
     "RDMA"},
    {"in three words",
     cell,
     NODE(LINK(LINK_JSON ",\\\"speedMbps\\\":2500"),
          COND("True", "AddressFound", "x") RDMA("True", "rxe0 serves 10.200.5.1")),
     {"migration0 2.5 Gb/s RDMA"},
     NULL},
    {"RDMA that is not there",
     cell,
     NODE(LINK(LINK_JSON), COND("True", "AddressFound", "x") RDMA("False", "no device")),
     {"migration0"},
     "RDMA"},
    {"in two words: broken",
     cell,
     NODE(LINK(LINK_JSON ",\\\"speedMbps\\\":100"), COND("False", "LinkDown", "x")),
     {"LinkDown"},
     "migration0"},
    {"in two words: none",
     cell,
     NODE("", COND("True", "NoDedicatedNetwork", "x")),
     {"management"},
     NULL},
    {"in two words: not known", cell, NODE("", ""), {"-"}, NULL},
    {"interfaces of each kind, and what they are part of",
     describe_interfaces,
     NNS("[" IFACE(
         "eth1", "ethernet",
         ",\"state\":\"up\",\"mtu\":9000,\"mac-address\":\"02:00:00:00:00:01\","
         "\"controller\":\"br1\"") "," IFACE("migration0", "mac-vlan",
                                             ",\"state\":\"up\",\"mac-vlan\":{\"base-iface\":"
                                             "\"eth1\",\"mode\":\"bridge\"},"
                                             "\"ipv4\":{\"enabled\":true,\"address\":[{\"ip\":\"10."
                                             "200.5.1\","
                                             "\"prefix-length\":24}]},\"ipv6\":{\"address\":[{"
                                             "\"ip\":\"fd00::1\","
                                             "\"prefix-length\":64}]}") "," IFACE("v", "vlan",
                                                                                  ",\"vlan\":{"
                                                                                  "\"base-iface\":"
                                                                                  "\"eth1\",\"id\":"
                                                                                  "100}") "," IFACE("b",
                                                                                                    "bond",
                                                                                                    ",\"link-aggregation\":{\"mode\":\"active-backup\",\"port\":[\"e2\",\"e3\"]}") "," IFACE("br1",
                                                                                                                                                                                             "linux-bridge",
                                                                                                                                                                                             ",\"bridge\":{\"port\":[{\"name\":\"eth1\"}]}") "]"),
     {"eth1        ethernet      up     02:00:00:00:00:01  9000  -                         port of "
      "br1\n",
      "migration0  mac-vlan      up     -                  -     10.200.5.1/24,fd00::1/64  on "
      "eth1, bridge\n",
      "on eth1, id 100\n", "active-backup, ports e2,e3\n", "  ports eth1\n"},
     NULL},
    {"no interfaces object", describe_interfaces, NULL, {"  <unknown: there is no "}, NULL},
    {"interfaces of the wrong types",
     describe_interfaces,
     NNS("[5,{\"name\":7,\"mtu\":\"x\",\"bridge\":[],\"ipv4\":{\"address\":{}}}]"),
     {"Interfaces:\n"},
     NULL},
    {"no interfaces in it", describe_interfaces, NNS("{}"), {"  <none reported>\n"}, NULL},
    {"the state's age", describe_nns, NNS("[]"), {"2026-01-01T00:00:00Z (2m ago)\n"}, NULL},
    {"enactments of a policy",
     enactments_of_node,
     "{\"items\":[" NNCE("n1", "br1",
                         IS("Available", "True", "SuccessfullyConfigured", "done") "," IS(
                             "Failing", "False", "x",
                             "y")) "," NNCE("n2", "br1",
                                            IS("Available", "False", "x", "z") "," IS(
                                                "Failing", "True", "FailedToConfigure",
                                                "eth9 is missing")) "," NNCE("n3", "br1", "") "]}",
     {"  NODE   CONDITION    REASON                   MESSAGE\n",
      "  n1     Available    SuccessfullyConfigured   done\n",
      "  n2     Failing      FailedToConfigure        eth9 is missing\n", "  n3     <none yet>\n"},
     NULL},
    {"no enactments", enactments_of_node, "{\"items\":[]}", {"Enactments:\n  <none>\n"}, NULL},
    {"an enactment",
     describe_nnce,
     NNCE("n1", "br1", IS("Pending", "True", "MaxUnavailableLimitReached", "waits")),
     {"Node:               n1\nPolicy:             br1\nState:              Pending: waits\n",
      "Desired state:\n  interfaces:\n", "MaxUnavailableLimitReached"},
     NULL},
    {"a policy that nobody has handled",
     describe_nncp,
     "{\"apiVersion\":\"nmstate.io/v1\",\"kind\":\"NodeNetworkConfigurationPolicy\",\"metadata\":{"
     "\"name\":\"br1\"},\"spec\":{\"maxUnavailable\":2,\"nodeSelector\":{\"a\":\"b\"},"
     "\"desiredState\":{\"interfaces\":[{\"name\":\"br1\"}]}}}",
     {"State:              <not handled yet>\n", "Node selector:      a=b\n",
      "Max unavailable:    2\n", "Desired state:\n  interfaces:\n"},
     "Conditions"},
    {"a policy that is degraded",
     describe_nncp,
     "{\"apiVersion\":\"nmstate.io/v1\",\"kind\":\"NodeNetworkConfigurationPolicy\",\"metadata\":{"
     "\"name\":\"br1\"},\"spec\":{},\"status\":{\"conditions\":[" IS(
         "Available", "False", "x", "y") "," IS("Degraded", "True", "FailedToConfigure",
                                                "1/2 nodes failed") "]}}",
     {"State:              Degraded: 1/2 nodes failed\n", "Max unavailable:    50%\n"},
     NULL},
};

static void
describes(void **state)
{
    const struct row *r = *state;
    CLEANUP(describe_done) struct describe d;
    AUTO_TREE struct tree *obj = NULL;
    struct err err = {0};

    if (r->object && tree_from_json(r->object, strlen(r->object), &obj, &err) < 0)
        fail_msg("%s: %s", r->object, err_msg(&err));
    describe_init(&d, NOW_US);
    r->describe(&d, obj);
    for (size_t i = 0; i < ARRAY_LEN(r->want) && r->want[i]; i++)
        if (!strstr(sb_str(&d.out), r->want[i]))
            fail_msg("\"%s\" is not in:\n%s", r->want[i], sb_str(&d.out));
    if (r->not_want && strstr(sb_str(&d.out), r->not_want))
        fail_msg("\"%s\" is in:\n%s", r->not_want, sb_str(&d.out));
}

/* --- the verb: with all objects, and with none but the Node --- */

#define EMPTY "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[]}"
#define NNCES "/apis/nmstate.io/v1beta1/nodenetworkconfigurationenactments?labelSelector=nmstate.io"

static const char *const describe_n1[] = {"describe", "node", "n1", NULL};

static void
the_node_and_its_networks(void **state)
{
    static const struct fake_answer answers[] = {
        {"GET", "/apis/nmstate.io/v1beta1/nodenetworkstates/n1", 200,
         NNS("[" IFACE("eth1", "ethernet", "") "]"), NULL, 0},
        {"GET", NNCES "*", 200,
         "{\"items\":[" NNCE("n1", "br1", IS("Available", "True", "Ok", "done")) "]}", NULL, 0},
        {"GET", "/api/v1/nodes/n1", 200, NODE("", ""), NULL, 0},
        {"GET", "/api/v1/nodes", 200, "{\"items\":[" NODE("", "") "]}", NULL, 0},
        {"GET", "/*", 200, EMPTY, NULL, 0},
        {0}};
    struct fake_server *s = fake_server_new(answers);
    struct ran r;

    (void)state;
    setenv("DROVER_SERVER", fake_server_url(s), 1);
    r = run_verb(verb_describe, describe_n1);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.out, "  eth1  ethernet"));
    assert_non_null(strstr(r.out, "  br1      Available   Ok       done\n"));
    assert_non_null(strstr(fake_server_log(s), "nmstate.io%2Fnode%3Dn1"));
    ran_done(&r);
    fake_server_free(s);
}

static void
a_node_alone(void **state)
{
    static const struct fake_answer answers[] = {
        {"GET", "/apis/nmstate.io/v1beta1/nodenetworkstates/n1", 404,
         "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"no\",\"code\":404}", NULL, 0},
        {"GET", "/api/v1/nodes/n1", 200, NODE("", ""), NULL, 0},
        {"GET", "/api/v1/nodes", 200, "{\"items\":[" NODE("", "") "]}", NULL, 0},
        {"GET", "/*", 200, EMPTY, NULL, 0},
        {0}};
    struct fake_server *s = fake_server_new(answers);
    struct ran r;

    (void)state;
    setenv("DROVER_SERVER", fake_server_url(s), 1);
    r = run_verb(verb_describe, describe_n1);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.out, "Interfaces:\n  <unknown: there is no NodeNetworkState"));
    assert_non_null(strstr(r.out, "Enactments:\n  <none>\n"));
    ran_done(&r);
    fake_server_free(s);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + 2] = {cmocka_unit_test(the_node_and_its_networks),
                                                    cmocka_unit_test(a_node_alone)};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[2 + i] =
            (struct CMUnitTest){rows[i].name, describes, NULL, NULL, (void *)(uintptr_t)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
