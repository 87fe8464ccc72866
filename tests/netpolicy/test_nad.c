/* CNI configurations of NetworkAttachmentDefinitions: the documents' forms (seeds B9-B15), mistakes
 * in every field, and which addresses a range gives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "netpolicy/nad.h"

static int
parse(const char *config, struct nad_config *ret, struct arena *a, struct err *err)
{
    struct nad nad = {.meta = {.name = "net", .namespace_ = "openshift-cnv"}, .config = config};

    return nad_config_parse(&nad, ret, a, err);
}

#define HEAD           "\"cniVersion\":\"0.3.1\",\"name\":\"migration-bridge\","
#define MACVLAN        "\"type\":\"macvlan\",\"master\":\"eth1\",\"mode\":\"bridge\","
#define WHERE(fields)  "{" HEAD MACVLAN "\"ipam\":{\"type\":\"whereabouts\"," fields "}}"
#define LOCAL(fields)  "{" HEAD MACVLAN "\"ipam\":{\"type\":\"host-local\"," fields "}}"
#define STATIC(fields) "{" HEAD MACVLAN "\"ipam\":{\"type\":\"static\"," fields "}}"

/* A second plugin behind the documents' first. */
#define CHAIN(plugin) "{" HEAD "\"plugins\":[{" MACVLAN "\"mtu\":1400}," plugin "]}"

/* --- what is accepted --- */

struct good_case {
    const char *name, *config, *type, *link, *ipam, *range; /* link: master or bridge */
    int64_t vlan;
};

static const struct good_case good_cases[] = {
    {"the documents' migration network", WHERE("\"range\":\"10.200.5.0/24\""), "macvlan", "eth1",
     "whereabouts", "10.200.5.0/24", 0},
    {"host bits in the range", WHERE("\"range\":\"10.200.5.77/24\""), "macvlan", "eth1",
     "whereabouts", "10.200.5.0/24", 0},
    {"IPv6", WHERE("\"range\":\"fd00:5::/64\""), "macvlan", "eth1", "whereabouts", "fd00:5::/64",
     0},
    {"whereabouts ipRanges", WHERE("\"ipRanges\":[{\"range\":\"10.200.5.0/24\"}]"), "macvlan",
     "eth1", "whereabouts", "10.200.5.0/24", 0},
    {"cnv-bridge with a VLAN",
     "{" HEAD "\"type\":\"cnv-bridge\",\"bridge\":\"br1\",\"macspoofchk\":true,\"vlan\":100,"
     "\"preserveDefaultVlan\":false}",
     "cnv-bridge", "br1", NULL, NULL, 100},
    {"bridge", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"br1\",\"ipam\":{}}", "bridge", "br1",
     NULL, NULL, 0},
    {"plugins list",
     "{" HEAD
     "\"plugins\":[{\"type\":\"cnv-bridge\",\"bridge\":\"br1\"},{\"type\":\"cnv-tuning\"}]}",
     "cnv-bridge", "br1", NULL, NULL, 0},
    {"plugins list with addresses",
     "{" HEAD "\"plugins\":[{\"type\":\"macvlan\",\"master\":\"eth1\",\"ipam\":{\"type\":"
     "\"whereabouts\",\"range\":\"10.200.5.0/24\"}},{\"type\":\"tuning\",\"mtu\":9000}]}",
     "macvlan", "eth1", "whereabouts", "10.200.5.0/24", 0},
    {"vlan", "{" HEAD "\"type\":\"vlan\",\"master\":\"eth1\",\"vlanId\":7}", "vlan", "eth1", NULL,
     NULL, 7},
    {"host-device", "{" HEAD "\"type\":\"host-device\",\"device\":\"ens5\"}", "host-device", "ens5",
     NULL, NULL, 0},
    {"host-local subnet", LOCAL("\"subnet\":\"10.1.0.0/16\",\"gateway\":\"10.1.0.1\""), "macvlan",
     "eth1", "host-local", "10.1.0.0/16", 0},
    {"host-local ranges",
     LOCAL("\"ranges\":[[{\"subnet\":\"10.1.0.0/16\",\"rangeStart\":\"10.1.2.0\"}]]"), "macvlan",
     "eth1", "host-local", "10.1.0.0/16", 0},
};

static void
test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_cases); i++) {
        const struct good_case *g = &good_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct err err = {0};
        char range[CIDR_TEXT_SIZE] = "";

        if (parse(g->config, &c, a, &err) != 0)
            fail_msg("%s: %s", g->name, err_msg(&err));
        assert_string_equal(c.name, "migration-bridge");
        assert_string_equal(c.type, g->type);
        assert_string_equal(c.bridge ? c.bridge : c.master, g->link);
        assert_int_equal(c.vlan, g->vlan);
        assert_true((c.ipam_type == NULL) == (g->ipam == NULL));
        assert_int_equal(c.has_range, g->range != NULL);
        if (g->range) {
            cidr_format(&c.range, range, sizeof range);
            assert_string_equal(range, g->range);
        }
        arena_free(a);
    }
}

static void
test_defaults(void **state)
{
    struct arena *a = arena_new();
    struct nad_config c;

    (void)state;
    assert_int_equal(parse("{\"name\":\"n\",\"type\":\"macvlan\",\"master\":\"eth1\",\"mtu\":9000}",
                           &c, a, NULL),
                     0);
    assert_string_equal(c.mode, "bridge");
    assert_int_equal(c.mtu, 9000);
    arena_free(a);
}

/* What chained plugins add, and what asks for nothing. */
struct chain_case {
    const char *name, *config;
    int64_t mtu;
    uint64_t limit, burst;
};

static const struct chain_case chain_cases[] = {
    {"none", "{" HEAD MACVLAN "\"mtu\":1400}", 1400, 0, 0},
    {"tuning without settings", CHAIN("{\"type\":\"cnv-tuning\"}"), 1400, 0, 0},
    {"tuning's MTU counts", CHAIN("{\"type\":\"tuning\",\"mtu\":9000}"), 9000, 0, 0},
    {"tuning that asks for nothing",
     CHAIN("{\"type\":\"tuning\",\"promisc\":false,\"sysctl\":{},\"mac\":\"\",\"txQLen\":0}"), 1400,
     0, 0},
    {"bandwidth: bits to bytes",
     CHAIN("{\"type\":\"bandwidth\",\"egressRate\":8000000000,\"egressBurst\":8000000}"), 1400,
     1000000000, 1000000},
    {"bandwidth without limit",
     CHAIN("{\"type\":\"bandwidth\",\"ingressRate\":0,\"ingressBurst\":0,\"egressRate\":0,"
           "\"egressBurst\":0,\"capabilities\":{\"bandwidth\":true}}"),
     1400, 0, 0},
    {"largest burst",
     CHAIN("{\"type\":\"bandwidth\",\"egressRate\":12000,\"egressBurst\":34359738352}"), 1400, 1500,
     4294967294},
    {"those of pods", CHAIN("{\"type\":\"portmap\"},{\"type\":\"firewall\"},{\"type\":\"sbr\"}"),
     1400, 0, 0},
    {"both",
     CHAIN("{\"type\":\"tuning\",\"mtu\":1300},{\"type\":\"bandwidth\",\"egressRate\":80000,"
           "\"egressBurst\":160000}"),
     1300, 10000, 20000},
};

static void
test_chained(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(chain_cases); i++) {
        const struct chain_case *k = &chain_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct err err = {0};

        if (parse(k->config, &c, a, &err) != 0)
            fail_msg("%s: %s", k->name, err_msg(&err));
        if (c.mtu != k->mtu || c.limit_bytes_per_s != k->limit || c.burst_bytes != k->burst)
            fail_msg("%s: mtu %lld, limit %llu, burst %llu", k->name, (long long)c.mtu,
                     (unsigned long long)c.limit_bytes_per_s, (unsigned long long)c.burst_bytes);
        assert_string_equal(c.path, strstr(k->config, "plugins") ? "config.plugins[0]" : "config");
        arena_free(a);
    }
}

/* --- what is refused, and how --- */

struct bad_case {
    const char *name, *config, *says; /* part of the error */
};

static const struct bad_case bad_cases[] = {
    {"no configuration", NULL, "config: want a CNI configuration"},
    {"empty", "", "config: want a CNI configuration"},
    {"no JSON", "master: eth1", "config is not valid JSON"},
    {"the documents' missing comma", "{\"name\": \"vlan-93\" \"type\": \"cnv-bridge\"}",
     "config is not valid JSON"},
    {"the documents' stray brace", "{\"name\":\"n\",\"type\":\"macvlan\",\"master\":\"eth1\"}}",
     "config is not valid JSON"},
    {"the documents' callout digits",
     "{\"name\":\"n\",\"master\": \"eth1\", 3 \"mode\": \"bridge\"}", "config is not valid JSON"},
    {"a list", "[]", "config: want a JSON object, found"},
    {"a text", "\"macvlan\"", "config: want a JSON object, found"},
    {"duplicate key", "{\"name\":\"n\",\"name\":\"m\",\"type\":\"macvlan\",\"master\":\"e\"}",
     "config is not valid JSON"},
    {"no name", "{\"type\":\"macvlan\",\"master\":\"eth1\"}", "config.name: is missing"},
    {"name is a number", "{\"name\":5,\"type\":\"macvlan\",\"master\":\"eth1\"}",
     "config.name: want text, found integer"},
    {"version is a number", "{\"cniVersion\":0.3,\"name\":\"n\",\"type\":\"macvlan\"}",
     "config.cniVersion: want text"},
    {"no type", "{\"name\":\"n\",\"master\":\"eth1\"}", "config.type: is missing: want macvlan"},
    {"a tenant network", "{" HEAD "\"type\":\"ovn-k8s-cni-overlay\",\"topology\":\"layer2\"}",
     "config.type: \"ovn-k8s-cni-overlay\": want macvlan, bridge"},
    {"type and plugins", "{" HEAD "\"type\":\"macvlan\",\"plugins\":[{\"type\":\"macvlan\"}]}",
     "both type and plugins"},
    {"no plugins", "{" HEAD "\"plugins\":[]}", "config.plugins: is empty"},
    {"plugins is no list", "{" HEAD "\"plugins\":{}}", "config.plugins: want a list"},
    {"plugin is no object", "{" HEAD "\"plugins\":[\"macvlan\"]}",
     "config.plugins[0]: want an object"},
    {"second plugin without type",
     "{" HEAD "\"plugins\":[{\"type\":\"macvlan\",\"master\":\"e\"},{}]}",
     "config.plugins[1].type: is missing"},
    {"field of a plugin", "{" HEAD "\"plugins\":[{\"type\":\"macvlan\"},{\"type\":\"tuning\"}]}",
     "config.plugins[0].master: is missing"},
    {"too many plugins", "{" HEAD "\"plugins\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
     "config.plugins: 17 items; at most 16"},
    {"macvlan without master", "{" HEAD "\"type\":\"macvlan\"}", "config.master: is missing"},
    {"master too long", "{" HEAD "\"type\":\"macvlan\",\"master\":\"abcdefghijklmnop\"}",
     "config.master: \"abcdefghijklmnop\": want an interface's name"},
    {"master with a slash", "{" HEAD "\"type\":\"macvlan\",\"master\":\"../eth1\"}",
     "config.master: \"../eth1\""},
    {"master with a blank", "{" HEAD "\"type\":\"macvlan\",\"master\":\"eth1 3\"}",
     "config.master: \"eth1 3\""},
    {"unknown mode", "{" HEAD "\"type\":\"macvlan\",\"master\":\"e\",\"mode\":\"router\"}",
     "config.mode: \"router\": want bridge, private, vepa or passthru"},
    {"bridge without bridge", "{" HEAD "\"type\":\"cnv-bridge\"}", "config.bridge: is missing"},
    {"VLAN out of range", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"vlan\":4096}",
     "config.vlan: 4096: want 0 to 4094"},
    {"negative VLAN", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"vlan\":-1}",
     "config.vlan: -1: want 0 to 4094"},
    {"VLAN as text", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"vlan\":\"93\"}",
     "config.vlan: want a whole number, found string"},
    {"vlan plugin without number", "{" HEAD "\"type\":\"vlan\",\"master\":\"e\"}",
     "config.vlanId: is missing: want 1 to 4094"},
    {"vlan plugin, reserved number", "{" HEAD "\"type\":\"vlan\",\"master\":\"e\",\"vlanId\":4095}",
     "config.vlanId: 4095: want 1 to 4094"},
    {"VLAN that nobody may use", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"vlan\":4095}",
     "config.vlan: 4095: want 0 to 4094"},
    {"VLAN trunk", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"vlanTrunk\":[{\"id\":5}]}",
     "config.vlanTrunk: [{\"id\":5}]: is not supported"},
    {"macvlan with a tag", "{" HEAD MACVLAN "\"vlan\":5}",
     "config.vlan: 5: macvlan has no tag of its own: want type vlan"},
    {"vlan plugin with the bridge's word",
     "{" HEAD "\"type\":\"vlan\",\"master\":\"e\",\"vlan\":5}",
     "config.vlan: 5: the field is called vlanId"},
    {"vlan plugin, number 0", "{" HEAD "\"type\":\"vlan\",\"master\":\"e\",\"vlanId\":0}",
     "config.vlanId: 0: want 1 to 4094"},
    {"host-device by address",
     "{" HEAD "\"type\":\"host-device\",\"hwaddr\":\"52:54:00:00:00:01\"}",
     "config.hwaddr: \"52:54:00:00:00:01\": is not supported: name the interface under device"},
    {"host-device by bus",
     "{" HEAD "\"type\":\"host-device\",\"device\":\"e\",\"pciBusID\":\"0000:00:1f.6\"}",
     "config.pciBusID: \"0000:00:1f.6\": is not supported"},
    {"host-device by path", "{" HEAD "\"type\":\"host-device\",\"kernelpath\":\"/sys/devices/x\"}",
     "config.kernelpath: \"/sys/devices/x\": is not supported"},
    {"host-device with a tag", "{" HEAD "\"type\":\"host-device\",\"device\":\"e\",\"vlan\":5}",
     "config.vlan: 5: a host-device has no tag"},
    {"the kernel's own name", "{" HEAD "\"type\":\"macvlan\",\"master\":\"all\"}",
     "config.master: \"all\": want an interface's name"},
    {"a name for the kernel to count up", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"br%d\"}",
     "config.bridge: \"br%d\": want an interface's name"},
    {"master is a list", "{" HEAD "\"type\":\"macvlan\",\"master\":[\"eth1\"]}",
     "config.master: want text, found list"},
    {"MTU too small for IPv6",
     "{" HEAD MACVLAN "\"mtu\":1279,\"ipam\":{\"type\":\"whereabouts\",\"range\":\"fd00::/64\"}}",
     "config.mtu: 1279: want 1280 to 65535 where addresses are IPv6"},
    {"MTU of a chained plugin", CHAIN("{\"type\":\"tuning\",\"mtu\":9}"),
     "config.plugins[1].mtu: 9: want 68 to 65535"},
    {"unknown chained plugin", CHAIN("{\"type\":\"bandwith\",\"egressRate\":5}"),
     "config.plugins[1].type: \"bandwith\": want bandwidth, tuning"},
    {"chained sysctl", CHAIN("{\"type\":\"tuning\",\"sysctl\":{\"net.core.somaxconn\":\"500\"}}"),
     "config.plugins[1].sysctl: {\"net.core.somaxconn\":\"500\"}: is not supported: want mtu only"},
    {"chained address", CHAIN("{\"type\":\"cnv-tuning\",\"mac\":\"52:54:00:00:00:01\"}"),
     "config.plugins[1].mac: \"52:54:00:00:00:01\""},
    {"limit of what arrives",
     CHAIN("{\"type\":\"bandwidth\",\"ingressRate\":8000000,\"ingressBurst\":80000}"),
     "config.plugins[1].ingressRate: 8000000: what arrives is not limited"},
    {"burst of what arrives", CHAIN("{\"type\":\"bandwidth\",\"ingressBurst\":80000}"),
     "config.plugins[1].ingressBurst: 80000: what arrives"},
    {"rate without burst", CHAIN("{\"type\":\"bandwidth\",\"egressRate\":8000000}"),
     "config.plugins[1].egressBurst: is missing beside egressRate: want both, or none"},
    {"burst without rate", CHAIN("{\"type\":\"bandwidth\",\"egressBurst\":80000}"),
     "config.plugins[1].egressRate: is missing beside egressBurst"},
    {"rate below a frame a second",
     CHAIN("{\"type\":\"bandwidth\",\"egressRate\":11999,\"egressBurst\":80000}"),
     "config.plugins[1].egressRate: 11999: want 12000 to 8000000000000 bits a second"},
    {"negative rate", CHAIN("{\"type\":\"bandwidth\",\"egressRate\":-1,\"egressBurst\":80000}"),
     "config.plugins[1].egressRate: -1: want 0 to"},
    {"rate as text", CHAIN("{\"type\":\"bandwidth\",\"egressRate\":\"10M\",\"egressBurst\":80000}"),
     "config.plugins[1].egressRate: want a whole number, found string"},
    {"burst below a frame",
     CHAIN("{\"type\":\"bandwidth\",\"egressRate\":8000000,\"egressBurst\":8}"),
     "config.plugins[1].egressBurst: 8: want 12000 to"},
    {"burst of 4 GB",
     CHAIN("{\"type\":\"bandwidth\",\"egressRate\":8000000,\"egressBurst\":34359738360}"),
     "config.plugins[1].egressBurst: 34359738360: want"},
    {"limit of some subnets only",
     CHAIN("{\"type\":\"bandwidth\",\"shapedSubnets\":[\"10.0.0.0/8\"]}"),
     "config.plugins[1].shapedSubnets: [\"10.0.0.0/8\"]: is not supported"},
    {"host-device without device", "{" HEAD "\"type\":\"host-device\"}",
     "config.device: is missing"},
    {"MTU too small", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"mtu\":10}",
     "config.mtu: 10: want 68 to 65535"},
    {"MTU too large", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\",\"mtu\":65536}",
     "config.mtu: 65536"},
    {"ipam is text", "{" HEAD MACVLAN "\"ipam\":\"whereabouts\"}",
     "config.ipam: want an object, found string"},
    {"ipam without type", "{" HEAD MACVLAN "\"ipam\":{\"range\":\"10.0.0.0/24\"}}",
     "config.ipam.type: is missing: want whereabouts, host-local or static"},
    {"ipam dhcp", "{" HEAD MACVLAN "\"ipam\":{\"type\":\"dhcp\"}}",
     "config.ipam.type: \"dhcp\": want whereabouts"},
    {"no range", WHERE("\"gateway\":\"10.0.0.1\""), "config.ipam.range: is missing"},
    {"range without prefix", WHERE("\"range\":\"10.200.5.0\""),
     "config.ipam.range: \"10.200.5.0\": want an address and a prefix length"},
    {"range is a number", WHERE("\"range\":10"), "config.ipam.range: want text, found integer"},
    {"prefix too long", WHERE("\"range\":\"10.200.5.0/33\""),
     "config.ipam.range: \"10.200.5.0/33\""},
    {"loopback", WHERE("\"range\":\"127.0.0.0/8\""),
     "config.ipam.range: \"127.0.0.0/8\": want addresses that hosts can have"},
    {"multicast", WHERE("\"range\":\"ff02::/64\""), "config.ipam.range: \"ff02::/64\": want"},
    {"link-local", WHERE("\"range\":\"fe80::/64\""), "config.ipam.range: \"fe80::/64\": want"},
    {"half of all addresses", WHERE("\"range\":\"128.0.0.0/1\""),
     "config.ipam.range: \"128.0.0.0/1\": want addresses that hosts can have"},
    {"gateway outside", WHERE("\"range\":\"10.200.5.0/24\",\"gateway\":\"10.200.6.1\""),
     "config.ipam.gateway: 10.200.6.1 is not in 10.200.5.0/24"},
    {"gateway is no address", LOCAL("\"subnet\":\"10.200.5.0/24\",\"gateway\":\"router\""),
     "config.ipam.gateway: \"router\": want an address"},
    {"range beside ipRanges",
     WHERE("\"range\":\"10.1.0.0/24\",\"ipRanges\":[{\"range\":\"10.2.0.0/24\"}]"),
     "config.ipam.ipRanges: 2 ranges: one is supported"},
    {"no room for hosts", WHERE("\"range\":\"10.200.5.0/31\""),
     "\"10.200.5.0/31\": want a prefix length of 1 to 30"},
    {"no room for IPv6 hosts", WHERE("\"range\":\"fd00::/127\""),
     "want a prefix length of 1 to 126"},
    {"the whole address space", WHERE("\"range\":\"0.0.0.0/0\""),
     "want a prefix length of 1 to 30"},
    {"start outside", WHERE("\"range\":\"10.200.5.0/24\",\"range_start\":\"10.200.6.1\""),
     "config.ipam.range_start: 10.200.6.1 is not in 10.200.5.0/24"},
    {"end outside", WHERE("\"range\":\"10.200.5.0/24\",\"range_end\":\"10.200.4.255\""),
     "config.ipam.range_end: 10.200.4.255 is not in"},
    {"end before start",
     WHERE(
         "\"range\":\"10.200.5.0/24\",\"range_start\":\"10.200.5.9\",\"range_end\":\"10.200.5.8\""),
     "config.ipam.range_end: 10.200.5.8 is before the range's start"},
    {"start of another family", WHERE("\"range\":\"10.200.5.0/24\",\"range_start\":\"fd00::1\""),
     "config.ipam.range_start: fd00::1 is not in"},
    {"start is no address", WHERE("\"range\":\"10.200.5.0/24\",\"range_start\":\"5\""),
     "config.ipam.range_start: \"5\": want an address"},
    {"FIRST-LAST, bad first", WHERE("\"range\":\"x-10.200.5.9/24\""),
     "config.ipam.range: \"x-10.200.5.9/24\": want FIRST-LAST/PREFIX"},
    {"FIRST-LAST, first outside", WHERE("\"range\":\"10.200.6.1-10.200.5.9/24\""),
     "config.ipam.range_start: 10.200.6.1 is not in"},
    {"exclude is text", WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":\"10.200.5.1/32\""),
     "config.ipam.exclude: want a list"},
    {"exclude is no network",
     WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":[\"10.200.5.1\",\"no\"]"),
     "config.ipam.exclude[1]: \"no\""},
    {"exclude is a number", WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":[5]"),
     "config.ipam.exclude[0]"},
    {"two whereabouts ranges",
     WHERE("\"ipRanges\":[{\"range\":\"10.1.0.0/24\"},{\"range\":\"10.2.0.0/24\"}]"),
     "config.ipam.ipRanges: 2 ranges: one is supported"},
    {"whereabouts range item", WHERE("\"ipRanges\":[{\"range\":\"10.1.0.0\"}]"),
     "config.ipam.ipRanges[0].range: \"10.1.0.0\""},
    {"host-local without subnet", LOCAL("\"gateway\":\"10.1.0.1\""),
     "config.ipam.subnet: is missing"},
    {"host-local two sets", LOCAL("\"ranges\":[[],[]]"), "config.ipam.ranges: want one list"},
    {"host-local flat ranges", LOCAL("\"ranges\":[{\"subnet\":\"10.1.0.0/16\"}]"),
     "config.ipam.ranges: want one list"},
    {"host-local bad subnet", LOCAL("\"ranges\":[[{\"subnet\":\"10.1/16\"}]]"),
     "config.ipam.ranges[0][0].subnet: \"10.1/16\""},
    {"static without addresses", STATIC("\"routes\":[]"), "config.ipam.addresses: is missing"},
    {"static item is text", STATIC("\"addresses\":[\"10.1.0.1/24\"]"),
     "config.ipam.addresses[0]: want an object"},
    {"static twice",
     STATIC("\"addresses\":[{\"address\":\"10.1.0.7/24\"},{\"address\":\"10.1.0.7/16\"}]"),
     "config.ipam.addresses[1].address: 10.1.0.7: stands in this list twice"},
    {"static loopback", STATIC("\"addresses\":[{\"address\":\"::1/128\"}]"),
     "config.ipam.addresses[0].address: \"::1/128\": want an address that one host can have"},
    {"static without prefix", STATIC("\"addresses\":[{\"address\":\"10.1.0.1\"}]"),
     "config.ipam.addresses[0].address: \"10.1.0.1\""},
};

static void
test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_cases); i++) {
        const struct bad_case *b = &bad_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct err err = {0};
        int rc = parse(b->config, &c, a, &err);

        if (rc != -EINVAL)
            fail_msg("%s: %d (%s)", b->name, rc, err_msg(&err));
        if (!strstr(err.msg, b->says) ||
            strncmp(err.msg, "NetworkAttachmentDefinition openshift-cnv/net: ", 47) != 0)
            fail_msg("%s: \"%s\" does not say \"%s\"", b->name, err.msg, b->says);
        arena_free(a);
    }
}

static void
test_too_large(void **state)
{
    AUTO_FREE char *text = xmalloc(NAD_MAX_CONFIG_BYTES + 2);
    struct arena *a = arena_new();
    struct nad_config c;
    struct err err = {0};

    (void)state;
    memset(text, ' ', NAD_MAX_CONFIG_BYTES + 1);
    text[NAD_MAX_CONFIG_BYTES + 1] = '\0';
    assert_int_equal(parse(text, &c, a, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "at most"));
    arena_free(a);
}

/* --- addresses --- */

struct allowed_case {
    const char *name, *config, *ip;
    bool want;
};

#define NET24   WHERE("\"range\":\"10.200.5.0/24\"")
#define BOUNDED WHERE("\"range\":\"10.200.5.10-10.200.5.20/24\"")
#define HOLES   WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":[\"10.200.5.0/29\",\"10.200.5.9\"]")
#define NET6    WHERE("\"range\":\"fd00:5::/64\"")

static const struct allowed_case allowed_cases[] = {
    {"first", NET24, "10.200.5.1", true},
    {"last", NET24, "10.200.5.254", true},
    {"network", NET24, "10.200.5.0", false},
    {"broadcast", NET24, "10.200.5.255", false},
    {"below", NET24, "10.200.4.255", false},
    {"above", NET24, "10.200.6.0", false},
    {"IPv6 in an IPv4 range", NET24, "fd00::1", false},
    {"start", BOUNDED, "10.200.5.10", true},
    {"end", BOUNDED, "10.200.5.20", true},
    {"before start", BOUNDED, "10.200.5.9", false},
    {"after end", BOUNDED, "10.200.5.21", false},
    {"excluded network", HOLES, "10.200.5.7", false},
    {"excluded address", HOLES, "10.200.5.9", false},
    {"gateway", WHERE("\"range\":\"10.200.5.0/24\",\"gateway\":\"10.200.5.1\""), "10.200.5.1",
     false},
    {"beside the gateway", WHERE("\"range\":\"10.200.5.0/24\",\"gateway\":\"10.200.5.1\""),
     "10.200.5.2", true},
    {"host-local gateway",
     LOCAL("\"ranges\":[[{\"subnet\":\"10.1.0.0/16\",\"gateway\":\"10.1.0.1\"}]]"), "10.1.0.1",
     false},
    {"between exclusions", HOLES, "10.200.5.8", true},
    {"IPv6", NET6, "fd00:5::1", true},
    {"IPv6 last", NET6, "fd00:5::ffff:ffff:ffff:ffff", true},
    {"IPv6 network", NET6, "fd00:5::", false},
    {"IPv6 outside", NET6, "fd00:5:0:1::1", false},
    {"IPv4 in an IPv6 range", NET6, "10.0.0.1", false},
    {"static", STATIC("\"addresses\":[{\"address\":\"10.1.0.7/24\"}]"), "10.1.0.7", true},
    {"not that static one", STATIC("\"addresses\":[{\"address\":\"10.1.0.7/24\"}]"), "10.1.0.8",
     false},
    {"no addresses at all", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}", "10.1.0.8", false},
};

static void
test_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(allowed_cases); i++) {
        const struct allowed_case *k = &allowed_cases[i];
        struct arena *a = arena_new();
        struct nad_config c;
        struct ip ip;

        assert_int_equal(parse(k->config, &c, a, NULL), 0);
        assert_int_equal(ip_parse(k->ip, &ip, NULL), 0);
        if (nad_address_allowed(&c, &ip) != k->want)
            fail_msg("%s: %s", k->name, k->ip);
        arena_free(a);
    }
}

struct next_case {
    const char *name, *config, *taken; /* separated by blanks */
    const char *want;                  /* NULL: full */
};

static const struct next_case next_cases[] = {
    {"first of all", NET24, "", "10.200.5.1"},
    {"after two", NET24, "10.200.5.2 10.200.5.1", "10.200.5.3"},
    {"fills a hole", NET24, "10.200.5.1 10.200.5.3 10.200.5.4", "10.200.5.2"},
    {"others' addresses do not matter", NET24, "10.200.6.1 fd00::1", "10.200.5.1"},
    {"from the start", BOUNDED, "", "10.200.5.10"},
    {"behind an exclusion", HOLES, "", "10.200.5.8"},
    {"behind two", HOLES, "10.200.5.8", "10.200.5.10"},
    {"IPv6", NET6, "fd00:5::1", "fd00:5::2"},
    {"a /64 without its lower half",
     WHERE("\"range\":\"fd00:5::/64\",\"exclude\":[\"fd00:5::/65\"]"), "", "fd00:5:0:0:8000::"},
    {"static",
     STATIC("\"addresses\":[{\"address\":\"10.1.0.7/24\"},{\"address\":\"10.1.0.5/24\"}]"),
     "10.1.0.7", "10.1.0.5"},
    {"full", WHERE("\"range\":\"10.200.5.0/30\""), "10.200.5.1 10.200.5.2", NULL},
    {"full between bounds", WHERE("\"range\":\"10.200.5.10-10.200.5.11/24\""),
     "10.200.5.10 10.200.5.11", NULL},
    {"all excluded", WHERE("\"range\":\"10.200.5.0/24\",\"exclude\":[\"10.200.0.0/16\"]"), "",
     NULL},
    {"all of a /64 excluded", WHERE("\"range\":\"fd00:5::/64\",\"exclude\":[\"fd00::/16\"]"), "",
     NULL},
    {"excluded to the last address there is",
     WHERE("\"range\":\"fd00:5::/64\",\"exclude\":[\"::/0\"]"), "", NULL},
    {"all static ones taken", STATIC("\"addresses\":[{\"address\":\"10.1.0.7/24\"}]"), "10.1.0.7",
     NULL},
    {"no addresses at all", "{" HEAD "\"type\":\"bridge\",\"bridge\":\"b\"}", "", NULL},
};

static void
test_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(next_cases); i++) {
        const struct next_case *k = &next_cases[i];
        struct arena *a = arena_new();
        struct ip taken[8], got, want;
        struct err err = {0};
        struct nad_config c;
        char *save = NULL;
        size_t len = 0;
        int rc;

        assert_int_equal(parse(k->config, &c, a, NULL), 0);
        for (char *t = strtok_r(arena_strdup(a, k->taken), " ", &save); t;
             t = strtok_r(NULL, " ", &save))
            assert_int_equal(ip_parse(t, &taken[len++], NULL), 0);
        rc = nad_address_next(&c, taken, len, &got, &err);
        if (k->want) {
            assert_int_equal(ip_parse(k->want, &want, NULL), 0);
            if (rc != 0 || !ip_equal(&got, &want))
                fail_msg("%s: %d %s", k->name, rc, err_msg(&err));
        } else if (rc != -ENOSPC || !strstr(err.msg, "migration-bridge: no free address")) {
            fail_msg("%s: %d %s", k->name, rc, err_msg(&err));
        }
        arena_free(a);
    }
}

/* Handing out until the range is full gives every allowed address once, in order. */
static void
check_exhaustion(uint64_t seed)
{
    struct arena *a = arena_new();
    struct ip taken[256], first, last, it, prev = {0};
    struct nad_config c;
    struct rng r;
    size_t n = 0, allowed = 0;
    int rc;

    rng_seed(&r, seed);
    assert_int_equal(
        parse(arena_printf(a,
                           WHERE("\"range\":\"10.9.%d.0/%d\",\"exclude\":[\"10.9.%d.%d/%d\","
                                 "\"10.9.%d.%d/%d\"]"),
                           7, 24 + (int)rng_below(&r, 7), 7, (int)rng_below(&r, 256),
                           26 + (int)rng_below(&r, 7), 7, (int)rng_below(&r, 256),
                           26 + (int)rng_below(&r, 7)),
              &c, a, NULL),
        0);
    first = cidr_first(&c.range);
    last = cidr_last(&c.range);
    for (it = first; ip_cmp(&it, &last) <= 0; it = ip_next(&it))
        allowed += nad_address_allowed(&c, &it);
    for (;;) {
        rc = nad_address_next(&c, taken, n, &it, NULL);
        if (rc != 0)
            break;
        assert_true(nad_address_allowed(&c, &it));
        assert_true(n == 0 || ip_cmp(&prev, &it) < 0);
        prev = it;
        assert_true(n < 256);
        taken[n++] = it;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(n, allowed);
    arena_free(a);
}

static void
test_exhaustion_property(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++)
        check_exhaustion(seed);
}

static void
test_ref_split(void **state)
{
    static const struct {
        const char *ref, *ns, *name;
    } cases[] = {
        {"net", "openshift-cnv", "net"},
        {"other/net", "other", "net"},
        {"/net", "", "net"},
        {"ns/", "ns", ""},
    };
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *ns, *name;

        nad_ref_split(cases[i].ref, "openshift-cnv", a, &ns, &name);
        assert_string_equal(ns, cases[i].ns);
        assert_string_equal(name, cases[i].name);
    }
    arena_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_chained),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_next),      cmocka_unit_test(test_exhaustion_property),
        cmocka_unit_test(test_ref_split),
    };

    return cmocka_run_group_tests_name("nad", tests, NULL, NULL);
}
