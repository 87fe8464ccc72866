/* New network checkups: nodes that are not named are chosen among those that are Ready; parameters
 * that no handler could act on are refused, in words that name them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/sb.h"
#include "tests/control/api_fixture.h"

#define CMS   "/api/v1/namespaces/default/configmaps"
#define NODES "/api/v1/nodes"
#define NODE(name, ready)                                                     \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name \
    "\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"" ready "\"}]}}"
#define CM(label, data)                                                                       \
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\",\"labels\":{" \
    "\"kiagnose/checkup-type\":\"" label "\"}},\"data\":{" data "}}"
#define LATENCY "kubevirt-vm-latency"
#define P(k, v) "\"spec.param." k "\":\"" v "\""

static const struct row {
    const char *name, *body;
    int status;
    const char *text; /* a part of the answer */
} rows[] = {
    {"both are named", CM(LATENCY, P("sourceNode", "n2") "," P("targetNode", "n3")), 201,
     P("targetNode", "n3")},
    {"as older releases name them", CM(LATENCY, P("source_node", "n2") "," P("target_node", "n3")),
     201, P("target_node", "n3")},
    {"none is named: the first two that are Ready", CM(LATENCY, "\"spec.timeout\":\"5m\""), 201,
     P("sourceNode", "n1") "," P("targetNode", "n3")},
    {"another checkup", CM("kubevirt-dpdk", P("sourceNode", "x")), 201, "kubevirt-dpdk"},
    {"a source alone", CM(LATENCY, P("sourceNode", "n1")), 422,
     "spec.param.targetNode: want the name of a node"},
    {"a target alone", CM(LATENCY, P("targetNode", "n1")), 422,
     "spec.param.sourceNode: want the name of a node"},
    {"a source that is not there", CM(LATENCY, P("sourceNode", "n9") "," P("targetNode", "n1")),
     422, "spec.param.sourceNode: there is no node"},
    {"a target that is not there", CM(LATENCY, P("sourceNode", "n1") "," P("targetNode", "n9")),
     422, "spec.param.targetNode: there is no node"},
    {"one node twice", CM(LATENCY, P("sourceNode", "n1") "," P("targetNode", "n1")), 422,
     "is the source, too"},
    {"a wrong number",
     CM(LATENCY,
        P("sourceNode", "n1") "," P("targetNode", "n3") "," P("sampleDurationSeconds", "5s")),
     422, "spec.param.sampleDurationSeconds"},
    {"a wrong number beside nodes that are chosen", CM(LATENCY, P("bandwidthStreams", "many")), 422,
     "spec.param.bandwidthStreams"},
};

static void
test_create(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("n1", "True"));
    api_fixture_create(f, NODES, NODE("n2", "Unknown"));
    api_fixture_create(f, NODES, NODE("n3", "True"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        api_fixture_call(f, "POST", CMS, NULL, rows[i].body);
        if (f->status != rows[i].status || !strstr(f->text, rows[i].text))
            fail_msg("%s: %d %s", rows[i].name, f->status, f->text);
        if (f->status == 201)
            api_fixture_call(f, "DELETE", CMS "/c", NULL, NULL);
    }
}

/* Results, an address to dial and a nonce are the handlers' to write. */
static void
test_results_do_not_come_with_it(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("n1", "True"));
    api_fixture_create(f, NODES, NODE("n2", "True"));
    api_fixture_call(f, "POST", CMS, NULL,
                     CM(LATENCY, "\"status.succeeded\":\"true\",\"spec.timeout\":\"9m\","
                                 "\"status.targetAddress\":\"192.0.2.1:22\","
                                 "\"status.result.bandwidthBytesPerSecond\":\"1\""));
    assert_int_equal(f->status, 201);
    assert_null(strstr(f->text, "status."));
    assert_non_null(strstr(f->text, "9m"));
    api_fixture_call(f, "POST", CMS, NULL,
                     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                     "\"other\"},\"data\":{\"status.succeeded\":\"true\"}}");
    assert_int_equal(f->status, 201);
    assert_non_null(strstr(f->text, "status.succeeded"));
}

static void
test_no_two_nodes(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, NODES, NODE("n1", "True"));
    api_fixture_create(f, NODES, NODE("n2", "False"));
    api_fixture_call(f, "POST", CMS, NULL, CM(LATENCY, ""));
    assert_int_equal(f->status, 422);
    assert_non_null(strstr(f->text, "no two nodes that are Ready"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_results_do_not_come_with_it, api_fixture_setup,
                                        api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_two_nodes, api_fixture_setup, api_fixture_teardown),
    };

    return cmocka_run_group_tests_name("api_checkup", tests, NULL, NULL);
}
