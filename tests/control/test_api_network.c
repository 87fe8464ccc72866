/* The objects of the networks in the API: what settings, definitions and policies are refused or
 * warned of, in the light of others, and their columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "tests/control/api_fixture.h"

#define NS        "openshift-cnv"
#define NADS(ns)  "/apis/k8s.cni.cncf.io/v1/namespaces/" ns "/network-attachment-definitions"
#define HCOS      "/apis/hco.kubevirt.io/v1beta1/namespaces/" NS "/hyperconvergeds"
#define KUBEVIRTS "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts"
#define NNCPS     "/apis/nmstate.io/v1/nodenetworkconfigurationpolicies"
#define NNCES     "/apis/nmstate.io/v1beta1/nodenetworkconfigurationenactments"
#define MERGE     "application/merge-patch+json"
#define TABLE     "application/json;as=Table;v=v1;g=meta.k8s.io"

/* A configuration as it stands in spec.config: JSON inside a JSON text. */
#define MACVLAN(range)                                                                  \
    "{\\\"name\\\":\\\"n\\\",\\\"type\\\":\\\"macvlan\\\",\\\"master\\\":\\\"eth1\\\"," \
    "\\\"ipam\\\":{\\\"type\\\":\\\"whereabouts\\\",\\\"range\\\":\\\"" range "\\\"}}"
#define OVN "{\\\"name\\\":\\\"n\\\",\\\"type\\\":\\\"ovn-k8s-cni-overlay\\\"}"
#define BROKEN_LIST                                                                             \
    "{\\\"name\\\":\\\"n\\\",\\\"plugins\\\":[{\\\"type\\\":\\\"cnv-bridge\\\"},{\\\"type\\\":" \
    "\\\"tuning\\\"}]}"
#define NAD(name, config)                                                              \
    "{\"apiVersion\":\"k8s.cni.cncf.io/v1\",\"kind\":\"NetworkAttachmentDefinition\"," \
    "\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"config\":\"" config "\"}}"
#define HCO(network)                                                                         \
    "{\"apiVersion\":\"hco.kubevirt.io/v1beta1\",\"kind\":\"HyperConverged\",\"metadata\":"  \
    "{\"name\":\"kubevirt-hyperconverged\"},\"spec\":{\"liveMigrationConfig\":{\"network\":" \
    "\"" network "\"}}}"
#define NETWORK(network) "{\"spec\":{\"liveMigrationConfig\":{\"network\":\"" network "\"}}}"
#define CONFIG(config)   "{\"spec\":{\"config\":\"" config "\"}}"
#define NNCP(interface)                                                              \
    "{\"apiVersion\":\"nmstate.io/v1\",\"kind\":\"NodeNetworkConfigurationPolicy\"," \
    "\"metadata\":{\"name\":\"p\"},\"spec\":{\"desiredState\":{\"interfaces\":[" interface "]}}}"

struct request {
    const char *method, *path, *body;
    int status;          /* 0: 201 for POST, 200 else */
    const char *says;    /* part of the answer's message; NULL: nothing is looked for */
    const char *warning; /* part of the first warning; NULL: there is none */
};

static const struct {
    const char *name;
    struct request requests[4];
} cases[] = {
    {"a network that is there",
     {{"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO("mig"), 0, NULL, NULL},
      {"PATCH", NADS(NS) "/mig", CONFIG(MACVLAN("10.200.0.0/16")), 0, NULL, NULL}}},
    {"a network that is to come",
     {{"POST", HCOS, HCO("mig"), 0, NULL, "no NetworkAttachmentDefinition " NS "/mig yet"},
      {"PATCH", HCOS "/kubevirt-hyperconverged", "{\"spec\":{\"defaultCPUModel\":\"Haswell\"}}", 0,
       NULL, NULL},
      {"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0")), 422,
       "spec.config: Invalid value: NetworkAttachmentDefinition " NS
       "/mig: config.ipam.range: \"10.200.5.0\"",
       NULL},
      {"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL}}},
    {"in another namespace",
     {{"POST", NADS("default"), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO("mig"), 422,
       "spec.liveMigrationConfig.network: Invalid value: \"mig\": there is no "
       "NetworkAttachmentDefinition " NS "/mig; one of that name is in namespace default: want it "
       "in " NS ", or network: default/mig",
       NULL},
      {"POST", HCOS, HCO("default/mig"), 0, NULL, NULL}}},
    {"one that cannot be used",
     {{"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0")), 0, NULL,
       "spec.config: cannot be used as migration network"},
      {"POST", HCOS, HCO("mig"), 422,
       "\"mig\": NetworkAttachmentDefinition " NS "/mig: config.ipam", NULL}}},
    {"VMs' networks are nobody's business, but not for migrations",
     {{"POST", NADS(NS), NAD("mig", OVN), 0, NULL, NULL},
      {"POST", NADS(NS), NAD("list", BROKEN_LIST), 0, NULL, "config.plugins[0].bridge"},
      {"POST", HCOS, HCO("mig"), 422, "config.type: \\\"ovn-k8s-cni-overlay\\\"", NULL}}},
    {"broken while it is used",
     {{"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO(NS "/mig"), 0, NULL, NULL},
      {"PATCH", NADS(NS) "/mig", CONFIG(MACVLAN("many")), 422,
       "spec.config: Invalid value: ", NULL},
      {"PATCH", NADS(NS) "/mig", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 0, NULL, NULL}}},
    {"on top of another",
     {{"POST", NADS("default"), NAD("other", MACVLAN("10.200.0.0/16")), 0, NULL, NULL},
      {"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO("mig"), 422,
       "\"mig\": config.ipam.range: 10.200.5.0/24 overlaps 10.200.0.0/16 of "
       "NetworkAttachmentDefinition default/other",
       NULL}}},
    {"another on top of it",
     {{"POST", NADS(NS), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO("mig"), 0, NULL, NULL},
      {"POST", NADS("default"), NAD("other", MACVLAN("10.200.0.0/16")), 0, NULL,
       "overlaps 10.200.5.0/24 of NetworkAttachmentDefinition " NS "/mig, which is the migration "
       "network"},
      {"PATCH", NADS(NS) "/mig", CONFIG(MACVLAN("10.200.6.0/24")), 422, "default/other", NULL}}},
    {"on the management network",
     {{"POST", "/api/v1/nodes",
       "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"},\"status\":{"
       "\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"192.0.2.7\"}]}}",
       0, NULL, NULL},
      {"POST", NADS(NS), NAD("mig", MACVLAN("192.0.2.0/24")), 0, NULL, NULL},
      {"POST", HCOS, HCO("mig"), 422, "overlaps 192.0.2.7, node n1's management address", NULL}}},
    {"KubeVirt's setting",
     {{"POST", "/api/v1/namespaces",
       "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"kubevirt\"}}", 0,
       NULL, NULL},
      {"POST", NADS("default"), NAD("mig", MACVLAN("10.200.5.0/24")), 0, NULL, NULL},
      {"POST", KUBEVIRTS,
       "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"KubeVirt\",\"metadata\":{\"name\":\"k\"},"
       "\"spec\":{\"configuration\":{\"migrations\":{\"network\":\"mig\"}}}}",
       422, "spec.configuration.migrations.network: Invalid value: \"mig\"", NULL}}},
    {"policies",
     {{"POST", NNCPS,
       NNCP("{\"name\":\"br1\",\"type\":\"linux-bridge\",\"state\":\"up\",\"mtu\":5}"), 422,
       "spec.desiredState.interfaces[0].mtu: Invalid value: 5: ", NULL},
      {"POST", NNCPS, NNCP("{\"name\":\"br1\",\"type\":\"linux-bridge\",\"state\":\"up\"}"), 0,
       NULL, NULL},
      {"PATCH", NNCPS "/p",
       "{\"spec\":{\"desiredState\":{\"interfaces\":[{\"name\":\"t\",\"type\":\"ovs-bridge\"}]}}}",
       0, NULL, "spec.desiredState.interfaces[0].type"},
      {"PATCH", NNCPS "/p", "{\"spec\":{\"desiredState\":{\"interfaces\":[{\"name\":\"a b\"}]}}}",
       422, "spec.desiredState.interfaces[0].name: Invalid value", NULL}}},
};

static void
test_admission(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_fixture *f;
        void *state;

        api_fixture_setup(&state);
        f = state;
        api_fixture_call(
            f, "POST", "/api/v1/namespaces", NULL,
            "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" NS "\"}}");
        for (size_t k = 0; k < ARRAY_LEN(cases[i].requests) && cases[i].requests[k].method; k++) {
            const struct request *r = &cases[i].requests[k];
            bool post = strcmp(r->method, "POST") == 0;
            int want = r->status ? r->status : post ? 201 : 200;

            api_fixture_call(f, r->method, r->path, post ? NULL : MERGE, r->body);
            if (f->status != want || (r->says && !strstr(api_fixture_text(f, "message"), r->says) &&
                                      !strstr(f->text, r->says)))
                fail_msg("%s, request %zu: %d: %s", cases[i].name, k, f->status, f->text);
            if (r->warning ? !strstr(f->warning, r->warning) : f->warnings > 0)
                fail_msg("%s, request %zu: warning: %s", cases[i].name, k, f->warning);
        }
        api_fixture_teardown(&state);
    }
}

static const struct {
    const char *path, *columns, *cells;
} tables[] = {
    {NNCPS, "Name Status Reason", "[\"p\",\"Available\",\"SuccessfullyConfigured\"]"},
    {NNCES, "Name Status Status Age Reason",
     "[\"n1.p\",\"Pending\",\"25m\",\"MaxUnavailableLimitReached\"]"},
    {"/apis/nmstate.io/v1beta1/nodenetworkstates", "Name Age", "[\"n1\",\"0s\"]"},
    {"/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/default/ippools",
     "Name Age Range Allocated", "[\"10.200.5.0-24\",\"0s\",\"10.200.5.0/24\",\"2\"]"},
    {"/api/v1/namespaces/default/configmaps", "Name Data Age", "[\"c\",\"3\",\"0s\"]"},
    {"/api/v1/nodes",
     "Name Status Roles Age Version Internal-IP External-IP OS-Image Kernel-Version "
     "Migration-Network Migration-Interface Migration-Address MTU Speed RDMA",
     "\"True\",\"migration0\",\"10.200.5.1\",\"9000\",\"10Gb/s\",\"False\"]"},
};

static void
test_columns(void **state)
{
    struct api_fixture *f = *state;
    char since[40];
    AUTO_FREE char *status = NULL;

    time_format(loop_wall_us(f->loop) - INT64_C(1510000000), false, since, sizeof(since));
    status = xasprintf("{\"status\":{\"conditions\":[{\"type\":\"Failing\",\"status\":\"False\"},"
                       "{\"type\":\"Pending\",\"status\":\"True\",\"lastTransitionTime\":\"%s\","
                       "\"reason\":\"MaxUnavailableLimitReached\"}]}}",
                       since);
    api_fixture_create(f, NNCPS, NNCP("{\"name\":\"br1\",\"type\":\"linux-bridge\"}"));
    api_fixture_call(f, "PATCH", NNCPS "/p/status", MERGE,
                     "{\"status\":{\"conditions\":[{\"type\":\"Degraded\",\"status\":\"False\"},{"
                     "\"type\":\"Available\",\"status\":\"True\",\"reason\":"
                     "\"SuccessfullyConfigured\"}]}}");
    api_fixture_create(f, NNCES,
                       "{\"apiVersion\":\"nmstate.io/v1beta1\",\"kind\":"
                       "\"NodeNetworkConfigurationEnactment\",\"metadata\":{\"name\":\"n1.p\"}}");
    api_fixture_call(f, "PATCH", NNCES "/n1.p/status", MERGE, status);
    assert_int_equal(f->status, 200);
    api_fixture_create(f, "/apis/nmstate.io/v1beta1/nodenetworkstates",
                       "{\"apiVersion\":\"nmstate.io/v1beta1\",\"kind\":\"NodeNetworkState\","
                       "\"metadata\":{\"name\":\"n1\"}}");
    api_fixture_create(f, "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/default/ippools",
                       "{\"apiVersion\":\"whereabouts.cni.cncf.io/v1alpha1\",\"kind\":\"IPPool\","
                       "\"metadata\":{\"name\":\"10.200.5.0-24\"},\"spec\":{\"range\":"
                       "\"10.200.5.0/24\",\"allocations\":{\"1\":{\"id\":\"a\"},\"2\":{\"id\":"
                       "\"b\"}}}}");
    api_fixture_create(
        f, "/api/v1/namespaces/default/configmaps",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},"
        "\"data\":{\"a\":\"1\",\"b\":\"2\"},\"binaryData\":{\"x\":\"AA==\"}}");
    api_fixture_create(
        f, "/api/v1/nodes",
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"annotations\":{"
        "\"drover.io/migration-link\":\"{\\\"interface\\\":\\\"migration0\\\",\\\"address\\\":"
        "\\\"10.200.5.1\\\",\\\"mtu\\\":9000,\\\"speedMbps\\\":10000}\"}},\"status\":{"
        "\"conditions\":[{\"type\":\"MigrationNetworkReady\",\"status\":\"True\"},{\"type\":"
        "\"MigrationRDMAReady\",\"status\":\"False\"}]}}");
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        AUTO_SB struct sb columns = SB_INIT;
        const struct tree *defs;

        assert_int_equal(api_fixture_get_as(f, tables[i].path, TABLE), 200);
        defs = tree_get(f->body, "columnDefinitions");
        for (size_t k = 0; k < tree_len(defs); k++)
            sb_printf(&columns, "%s%s", k ? " " : "",
                      tree_find_string(tree_at(defs, k), "", "name", NULL));
        assert_string_equal(sb_str(&columns), tables[i].columns);
        for (char *age; (age = strstr(f->text, "\"1s\""));) /* of this second or the next */
            age[1] = '0';
        if (!strstr(f->text, tables[i].cells))
            fail_msg("%s: want %s in %s", tables[i].path, tables[i].cells, f->text);
    }
    /* a node whose handler has said nothing */
    api_fixture_create(f, "/api/v1/nodes",
                       "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n2\"}}");
    api_fixture_get_as(f, "/api/v1/nodes/n2", TABLE);
    assert_non_null(strstr(f->text, "\"<none>\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admission),
        cmocka_unit_test_setup_teardown(test_columns, api_fixture_setup, api_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
