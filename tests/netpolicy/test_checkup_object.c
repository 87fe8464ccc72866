/* A checkup's ConfigMap: parameters of both spellings, what is refused and in which words, results
 * there and back, and which of several is a migration's first estimate. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "api/object.h"
#include "api/quantity.h"
#include "netpolicy/checkup_object.h"
#include "netpolicy/limits.h"

static struct tree *
config_map(const char *data)
{
    AUTO_FREE char *json =
        xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
                  "\"namespace\":\"ns\",\"labels\":{\"kiagnose/checkup-type\":"
                  "\"kubevirt-vm-latency\"}},\"data\":{%s}}",
                  data);
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(json, strlen(json), &t, &err) != 0)
        fail_msg("%s", err_msg(&err));
    return t;
}

#define P(key, value) "\"spec.param." key "\":\"" value "\""
#define NODES         P("sourceNode", "worker1") "," P("targetNode", "worker2")

static const struct row {
    const char *name, *data;
    const char *error; /* NULL: none, and this is what it says: */
    const char *source, *target, *network;
    uint64_t max_ms, sample_s, timeout_s;
    unsigned streams;
} rows[] = {
    {"the documents' example",
     "\"spec.timeout\":\"5m\"," P("networkAttachmentDefinitionNamespace", "net") "," P(
         "networkAttachmentDefinitionName",
         "blue-network") "," P("maxDesiredLatencyMilliseconds", "10") "," P("sampleDurationSeconds",
                                                                            "5") "," NODES,
     NULL, "worker1", "worker2", "net/blue-network", 10, 5, 300, 0},
    {"the same as release 4.12 has it",
     "\"spec.timeout\":\"5m\"," P("network_attachment_definition_namespace", "net") "," P(
         "network_attachment_definition_name",
         "blue-network") "," P("max_desired_latency_milliseconds",
                               "10") "," P("sample_duration_seconds",
                                           "5") "," P("source_node", "worker1") "," P("target_node",
                                                                                      "worker2"),
     NULL, "worker1", "worker2", "net/blue-network", 10, 5, 300, 0},
    {"a blank in the timeout", "\"spec.timeout\":\"5 m\"," NODES, NULL, "worker1", "worker2", "", 0,
     5, 300, 0},
    {"defaults, and streams", NODES "," P("bandwidthStreams", "64"), NULL, "worker1", "worker2", "",
     0, 5, 300, 64},
    {"the newer spelling counts",
     NODES "," P("sample_duration_seconds", "9") "," P("sampleDurationSeconds", "2"), NULL,
     "worker1", "worker2", "", 0, 2, 300, 0},
    {"nothing", "", .error = "spec.param.sourceNode: want the name of a node"},
    {"a source without a target", P("sourceNode", "a"),
     .error = "spec.param.targetNode: want the name of a node"},
    {"a target without a source", P("targetNode", "a"),
     .error = "spec.param.sourceNode: want the name of a node"},
    {"an empty target", P("sourceNode", "a") "," P("targetNode", ""),
     .error = "spec.param.targetNode: want"},
    {"a node to itself", P("sourceNode", "a") "," P("targetNode", "a"),
     .error = "spec.param.targetNode: \"a\" is the source"},
    {"no node's name", P("sourceNode", "a/b") "," P("targetNode", "c"),
     .error = "spec.param.sourceNode: \"a/b\""},
    {"a network without its namespace", NODES "," P("networkAttachmentDefinitionName", "n"),
     .error = "spec.param.networkAttachmentDefinitionNamespace: want it, too"},
    {"a namespace without its network", NODES "," P("networkAttachmentDefinitionNamespace", "n"),
     .error = "spec.param.networkAttachmentDefinitionName: want it, too"},
    {"a maximum of nothing", NODES "," P("maxDesiredLatencyMilliseconds", "0"),
     .error = "spec.param.maxDesiredLatencyMilliseconds: \"0\": want a whole number from 1"},
    {"a maximum below nothing", NODES "," P("maxDesiredLatencyMilliseconds", "-1"),
     .error = "Milliseconds: \"-1\""},
    {"a maximum with a unit", NODES "," P("maxDesiredLatencyMilliseconds", "10ms"),
     .error = "Milliseconds: \"10ms\""},
    {"a maximum with a point", NODES "," P("maxDesiredLatencyMilliseconds", "1.5"),
     .error = "Milliseconds: \"1.5\""},
    {"a maximum of 64 bits", NODES "," P("maxDesiredLatencyMilliseconds", "18446744073709551617"),
     .error = "Milliseconds: \"18446744073709551617\""},
    {"no time at all", NODES "," P("sampleDurationSeconds", "0"),
     .error = "spec.param.sampleDurationSeconds: \"0\": want a whole number from 1 to 600"},
    {"too much time", NODES "," P("sampleDurationSeconds", "601"), .error = "\"601\""},
    {"no stream", NODES "," P("bandwidthStreams", "0"), .error = "from 1 to 64"},
    {"too many streams", NODES "," P("bandwidthStreams", "65"), .error = "from 1 to 64"},
    {"a timeout without a unit", "\"spec.timeout\":\"5\"," NODES,
     .error = "spec.timeout: \"5\": want a duration from 1s to 1h"},
    {"a timeout of nothing", "\"spec.timeout\":\"0s\"," NODES, .error = "spec.timeout: \"0s\""},
    {"a timeout of a day", "\"spec.timeout\":\"24h\"," NODES, .error = "spec.timeout: \"24h\""},
    {"a timeout that is a word", "\"spec.timeout\":\"soon\"," NODES,
     .error = "spec.timeout: \"soon\""},
};

static void
test_params(void **state)
{
    const struct row *row = *state;
    AUTO_TREE struct tree *cm = config_map(row->data);
    struct checkup_params p = {0};
    struct err err = {0};
    int rc = checkup_object_params(cm, &p, &err);

    if (row->error) {
        assert_int_equal(rc, -EINVAL);
        if (!strstr(err_msg(&err), row->error))
            fail_msg("%s", err_msg(&err));
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(p.source, row->source);
    assert_string_equal(p.target, row->target);
    assert_string_equal(p.network, row->network);
    assert_int_equal(p.max_latency_ns, row->max_ms * 1000000);
    assert_int_equal(p.sample_us, row->sample_s * 1000000);
    assert_int_equal(p.timeout_us, row->timeout_s * 1000000);
    assert_int_equal(p.streams, row->streams);
}

/* The documented keys, written and read; a clock that was set back. */
static void
test_outcome(void **state)
{
    const struct checkup_params p = {.source = "worker1", .target = "worker2"};
    const struct checkup_result r = {.min_ns = 135000,
                                     .avg_ns = 177000,
                                     .p99_ns = 240000,
                                     .max_ns = 244000,
                                     .samples = 5000,
                                     .measured_us = 5000123,
                                     .bandwidth_bytes_per_s = 1200000000,
                                     .streams = 4,
                                     .path_mtu_bytes = 9000,
                                     .network = "net/blue",
                                     .interface_name = "eth1"};
    static const char *const keys[][2] = {
        {"status.succeeded", "true"},
        {"status.failureReason", ""},
        {"status.startTimestamp", "2022-01-01T09:00:07Z"},
        {"status.completionTimestamp", "2022-01-01T09:00:07Z"},
        {"status.result.avgLatencyNanoSec", "177000"},
        {"status.result.maxLatencyNanoSec", "244000"},
        {"status.result.minLatencyNanoSec", "135000"},
        {"status.result.measurementDurationSec", "5"},
        {"status.result.sourceNode", "worker1"},
        {"status.result.targetNode", "worker2"},
        {"status.result.bandwidthBytesPerSecond", "1200000000"},
        {"status.result.bandwidthStreams", "4"},
        {"status.result.pathMtuBytes", "9000"},
    };
    AUTO_TREE struct tree *cm = config_map("\"status.targetNonce\":\"x\",\"spec.timeout\":\"5m\"");
    struct checkup_result back;
    int64_t start, end;

    (void)state;
    assert_int_equal(time_parse("2022-01-01T09:00:07Z", &start, NULL), 0);
    assert_int_equal(time_parse("2022-01-01T09:00:00Z", &end, NULL), 0);
    assert_false(checkup_object_finished(cm));
    AUTO_TREE struct tree *patch = tree_map();

    tree_set(patch, "data", checkup_object_outcome(&p, &r, "", start, end));
    tree_merge_patch(cm, patch);
    assert_true(checkup_object_finished(cm));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_string_equal(checkup_object_get(cm, keys[i][0]), keys[i][1]);
    assert_null(tree_find(cm, "data", "status.targetNonce", NULL));
    assert_string_equal(checkup_object_get(cm, "spec.timeout"), "5m");
    checkup_object_result(cm, &back);
    assert_int_equal(back.max_ns, r.max_ns);
    assert_int_equal(back.samples, r.samples);
    assert_int_equal(back.streams, r.streams);
    assert_int_equal(back.path_mtu_bytes, r.path_mtu_bytes);
    assert_string_equal(back.network, r.network);
    assert_string_equal(back.interface_name, r.interface_name);
}

static void
test_judge(void **state)
{
    struct checkup_params p = {.max_latency_ns = 10000000};
    struct checkup_result r = {.max_ns = 10000000};
    char text[200];

    (void)state;
    checkup_object_judge(&p, &r, text, sizeof text);
    assert_string_equal(text, "");
    r.max_ns++;
    checkup_object_judge(&p, &r, text, sizeof text);
    assert_non_null(strstr(text, "at most 10 ms"));
    p.max_latency_ns = 0;
    checkup_object_judge(&p, &r, text, sizeof text);
    assert_string_equal(text, "");
}

#define DONE(at, network, ifname, rate)                                          \
    "\"status.succeeded\":\"true\",\"status.completionTimestamp\":\"" at         \
    "\",\"status.result.sourceNode\":\"a\",\"status.result.network\":\"" network \
    "\",\"status.result.sourceInterface\":\"" ifname                             \
    "\",\"status.result.bandwidthBytesPerSecond\":\"" rate "\""

static const struct estimate_row {
    const char *name, *data;
    bool counts;
} estimates[] = {
    {"of this link", DONE("2026-01-02T00:00:00Z", "net/m", "eth1", "700"), true},
    {"a day old", DONE("2026-01-01T12:00:00Z", "net/m", "eth1", "700"), true},
    {"older than a day", DONE("2026-01-01T11:59:59Z", "net/m", "eth1", "700"), false},
    {"of another network", DONE("2026-01-02T00:00:00Z", "net/n", "eth1", "700"), false},
    {"of the management network", DONE("2026-01-02T00:00:00Z", "management", "", "700"), false},
    {"of another interface", DONE("2026-01-02T00:00:00Z", "net/m", "eth2", "700"), false},
    {"without bandwidth", DONE("2026-01-02T00:00:00Z", "net/m", "eth1", "0"), false},
    {"with nonsense for it", DONE("2026-01-02T00:00:00Z", "net/m", "eth1", "-7"), false},
    {"with nonsense for its time", DONE("yesterday", "net/m", "eth1", "700"), false},
    {"not over", P("sourceNode", "a"), false},
    {"from another node",
     "\"status.succeeded\":\"true\",\"status.completionTimestamp\":\"2026-01-02T00:00:00Z\","
     "\"status.result.sourceNode\":\"b\",\"status.result.network\":\"net/m\","
     "\"status.result.sourceInterface\":\"eth1\",\"status.result.bandwidthBytesPerSecond\":"
     "\"700\"",
     false},
    {"failed",
     "\"status.succeeded\":\"false\",\"status.completionTimestamp\":\"2026-01-02T00:00:00Z\","
     "\"status.result.sourceNode\":\"a\",\"status.result.network\":\"net/m\","
     "\"status.result.sourceInterface\":\"eth1\",\"status.result.bandwidthBytesPerSecond\":"
     "\"700\"",
     false},
};

static void
test_estimate(void **state)
{
    const struct estimate_row *row = *state;
    const struct checkup_link link = {"a", "net/m", "eth1"};
    AUTO_TREE struct tree *cm = config_map(row->data);
    struct checkup_estimate best = {0};
    int64_t now;

    assert_int_equal(time_parse("2026-01-02T12:00:00Z", &now, NULL), 0);
    checkup_object_estimate(cm, &link, now, &best);
    assert_int_equal(best.bytes_per_s, row->counts ? 700 : 0);
    if (row->counts)
        assert_string_equal(best.name, "ns/c");
}

static void
test_newest(void **state)
{
    const struct checkup_link link = {"a", "", NULL};
    static const char *const data[] = {DONE("2026-01-02T00:00:00Z", "management", "", "1"),
                                       DONE("2026-01-02T02:00:00Z", "management", "", "2"),
                                       DONE("2026-01-02T01:00:00Z", "management", "", "3")};
    struct checkup_estimate best = {0};
    int64_t now;

    (void)state;
    assert_int_equal(time_parse("2026-01-02T12:00:00Z", &now, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        AUTO_TREE struct tree *cm = config_map(data[i]);

        checkup_object_estimate(cm, &link, now, &best);
    }
    assert_int_equal(best.bytes_per_s, 2);
}

int
main(void)
{
    struct CMUnitTest tests[64];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_params,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(estimates); i++)
        tests[n++] = (struct CMUnitTest){.name = estimates[i].name,
                                         .test_func = test_estimate,
                                         .initial_state = (void *)(uintptr_t)&estimates[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_outcome);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_judge);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_newest);
    return _cmocka_run_group_tests("checkup_object", tests, n, NULL, NULL);
}
