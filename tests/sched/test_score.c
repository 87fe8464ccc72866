/* Scores, plugin by plugin: numbers of kube-scheduler 1.31 for the same objects. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "tests/sched/world.h"

#define ASK     POD("p", "app: web", "restartPolicy: Always", "cpu: '0', memory: '0'")
#define SPEC(s) POD("p", "app: web", s, "cpu: '0', memory: '0'")
#define SMALL(name, cpu, memory) \
    NODE_WITH(name, "", "", "cpu: " cpu ", memory: '" memory "', pods: '99'")
#define ON(name, labels, node) POD(name, labels, "nodeName: " node, "cpu: '0', memory: '0'")
#define SOFT(key)                                                                        \
    "topologySpreadConstraints: [{maxSkew: 1, topologyKey: " key ", whenUnsatisfiable: " \
    "ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]"
#define PREFER(weight, terms) "{weight: " weight ", preference: {matchExpressions: [" terms "]}}"
#define PREFERRED(terms) \
    "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [" terms "]}}"
#define IN(key, value) "{key: " key ", operator: In, values: [" value "]}"
#define TERM(weight, app, key)                                                                    \
    "{weight: " weight ", podAffinityTerm: {topologyKey: " key ", labelSelector: {matchLabels: {" \
    "app: " app "}}}}"
#define NEAR(terms)     "podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [" terms "]}"
#define FAR(terms)      "podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [" terms "]}"
#define SOFT_TAINT(key) "{key: " key ", effect: PreferNoSchedule}"

static const struct world_score rows[] = {
    {"taints that are not tolerated",
     NODE("a", "", "") NODE("b", "", "taints: [" SOFT_TAINT("x") "]")
         NODE("c", "", "taints: [" SOFT_TAINT("x") ", " SOFT_TAINT("y") "]"),
     ASK, "TaintToleration", "a=100 b=50 c=0"},
    {"three taints: thirds, rounded down before the turn",
     NODE("a", "", "taints: [" SOFT_TAINT("x") "]")
         NODE("c", "", "taints: [" SOFT_TAINT("x") ", " SOFT_TAINT("y") ", " SOFT_TAINT("z") "]"),
     ASK, "TaintToleration", "a=67 c=0"},
    {"a toleration for NoSchedule does not count for PreferNoSchedule",
     NODE("a", "", "") NODE("b", "", "taints: [" SOFT_TAINT("x") "]"),
     SPEC("tolerations: [{key: x, operator: Exists, effect: NoSchedule}]"), "TaintToleration",
     "a=100 b=0"},
    {"a toleration for any effect does",
     NODE("a", "", "") NODE("b", "", "taints: [" SOFT_TAINT("x") "]"),
     SPEC("tolerations: [{key: x, operator: Exists}]"), "TaintToleration", "a=100 b=100"},

    {"preferred terms add up",
     NODE("a", "foo: bar", "") NODE("b", "key: value", "")
         NODE("c", "foo: bar, key: value, zone: az1", ""),
     SPEC(PREFERRED(PREFER("2", IN("foo", "bar")) ", " PREFER("4", IN("key", "value")) ", " PREFER(
         "5", IN("foo", "bar") ", " IN("key", "value") ", " IN("zone", "az1")))),
     "NodeAffinity", "a=18 b=36 c=100"},
    {"the same term twice counts twice", NODE("a", "foo: bar", "") NODE("b", "key: value", ""),
     SPEC(PREFERRED(PREFER("1", IN("foo", "bar")) ", " PREFER("1", IN("foo", "bar")) ", " PREFER(
         "1", IN("key", "value")))),
     "NodeAffinity", "a=100 b=50"},
    {"nobody matches", NODE("a", "", "") NODE("b", "", ""),
     SPEC(PREFERRED(PREFER("100", IN("foo", "bar")))), "NodeAffinity", "a=0 b=0"},
    {"an empty term prefers nothing", NODE("a", "foo: bar", "") NODE("b", "", ""),
     SPEC(PREFERRED("{weight: 100, preference: {}}, " PREFER("1", IN("foo", "bar")))),
     "NodeAffinity", "a=100 b=0"},
    {"a term that is no valid selector prefers nothing",
     NODE("a", "foo: bar", "") NODE("b", "", ""),
     SPEC(PREFERRED(PREFER("100", "{key: foo, operator: Exists, values: [x]}"))), "NodeAffinity",
     "a=0 b=0"},
    {"the cluster's workload preference counts for VMs",
     HCO("workloads: {nodePlacement: {" PREFERRED(
         PREFER("1", "{key: example.io/num-cpus, operator: Gt, values: ['8']}")) "}}")
         NODE("a", "example.io/num-cpus: '16'", "") NODE("b", "example.io/num-cpus: '8'", ""),
     VMI("vm", "", "", "", ""), "NodeAffinity", "a=100 b=0"},
    {"and not for Pods",
     HCO("workloads: {nodePlacement: {" PREFERRED(PREFER("1", IN("foo", "bar"))) "}}")
         NODE("a", "foo: bar", ""),
     ASK, "NodeAffinity", "a=0"},
    {"the documents' preferred label raises the score, whatever the prose says",
     NODE("a", "example-node-label-key: example-node-label-value", "") NODE("b", "", ""),
     VMI("vm", "", PREFERRED(PREFER("1", IN("example-node-label-key", "example-node-label-value"))),
         "", ""),
     "NodeAffinity", "a=100 b=0"},

    {"least allocated", SMALL("a", "'4'", "10000") SMALL("b", "'6'", "10000"),
     POD("p", "", "restartPolicy: Always", "cpu: 3, memory: '5000'"), "NodeResourcesFit",
     "a=37 b=50"},
    {"those that run count",
     SMALL("a", "'10'", "20000") SMALL("b", "'10'", "20000")
         POD("x", "", "nodeName: a", "cpu: 3, memory: '0'")
             POD("y", "", "nodeName: b", "cpu: 3, memory: '5000'"),
     POD("p", "", "restartPolicy: Always", "cpu: 3, memory: '5000'"), "NodeResourcesFit",
     "a=57 b=45"},
    {"an absent request counts 100m and 200Mi", SMALL("a", "'1'", "1048576000"),
     POD("p", "", "restartPolicy: Always", ""), "NodeResourcesFit", "a=85"},
    {"balanced", SMALL("a", "'4'", "10000") SMALL("b", "'6'", "10000"),
     POD("p", "", "restartPolicy: Always", "cpu: 3, memory: '5000'"),
     "NodeResourcesBalancedAllocation", "a=87 b=100"},
    {"balanced counts real requests", SMALL("a", "'1'", "1048576000"),
     POD("p", "", "restartPolicy: Always", ""), "NodeResourcesBalancedAllocation", "a=100"},
    {"a reservation of its own does not count twice",
     NODE("s", "", "unschedulable: true") NODE_WITH("a", "", "", "cpu: '4', memory: 8Gi, pods: '9'")
         NODE_WITH("b", "", "", "cpu: '4', memory: 8Gi, pods: '9'"),
     VMI("vm", "", "", "", "nodeName: s, phase: Running, migrationState: {targetNode: a}"),
     "NodeResourcesFit", "a=90 b=90"},
    {"a node with nothing", NODE_WITH("a", "", "", "pods: '9'"), ASK, "NodeResourcesFit", "a=0"},
    {"a node with nothing is balanced", NODE_WITH("a", "", "", "pods: '9'"), ASK,
     "NodeResourcesBalancedAllocation", "a=100"},

    {"near, by host",
     NODE("a", "host: a", "") NODE("b", "host: b", "") ON("x", "app: db", "a")
         ON("y", "app: db", "a") ON("z", "app: db", "b"),
     SPEC("affinity: {" NEAR(TERM("5", "db", "host")) "}"), "InterPodAffinity", "a=100 b=0"},
    {"between the extremes",
     NODE("a", "host: a", "") NODE("b", "host: b", "") NODE("c", "host: c", "")
         ON("x", "app: db", "a") ON("y", "app: db", "a") ON("v", "app: db", "a")
             ON("z", "app: db", "b"),
     SPEC("affinity: {" NEAR(TERM("5", "db", "host")) "}"), "InterPodAffinity", "a=100 b=33 c=0"},
    {"far", NODE("a", "host: a", "") NODE("b", "host: b", "") ON("x", "app: db", "a"),
     SPEC("affinity: {" FAR(TERM("100", "db", "host")) "}"), "InterPodAffinity", "a=0 b=100"},
    {"far, but everywhere", NODE("a", "host: a", "") ON("x", "app: db", "a"),
     SPEC("affinity: {" FAR(TERM("100", "db", "host")) "}"), "InterPodAffinity", "a=0"},
    {"what those that run prefer counts, too",
     NODE("a", "host: a", "") NODE("b", "host: b", "")
         POD("x", "", "nodeName: a, affinity: {" NEAR(TERM("3", "web", "host")) "}", "")
             POD("y", "", "nodeName: b, affinity: {" FAR(TERM("3", "web", "host")) "}", ""),
     ASK, "InterPodAffinity", "a=100 b=0"},
    {"their required affinity counts one",
     NODE("a", "host: a", "") NODE("b", "host: b", "")
         POD("x", "",
             "nodeName: b, affinity: {podAffinity: {"
             "requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: host, labelSelector: {"
             "matchLabels: {app: web}}}]}}",
             ""),
     ASK, "InterPodAffinity", "a=0 b=100"},
    {"peers of other namespaces do not count",
     NODE("a", "host: a", "")
         NODE("b", "host: b", "") "---\n{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: "
                                  "other, labels: {app: db}}, "
                                  "spec: {nodeName: a, containers: [{name: c}]}}\n",
     SPEC("affinity: {" NEAR(TERM("5", "db", "host")) "}"), "InterPodAffinity", "a=0 b=0"},

    {"spread over zones",
     NODE("a", "zone: z1", "") NODE("b", "zone: z1", "") NODE("c", "zone: z2", "")
         ON("x", "app: web", "a") ON("y", "app: web", "b") ON("z", "app: web", "c"),
     SPEC(SOFT("zone")), "PodTopologySpread", "a=33 b=33 c=100"},
    {"nobody there yet", NODE("a", "zone: z1", "") NODE("c", "zone: z2", ""), SPEC(SOFT("zone")),
     "PodTopologySpread", "a=100 c=100"},
    {"a node without the key scores nothing",
     NODE("a", "zone: z1", "") NODE("b", "", "") NODE("c", "zone: z2", "") ON("x", "app: web", "a"),
     SPEC(SOFT("zone")), "PodTopologySpread", "a=0 b=0 c=100"},
    {"hosts are counted one by one",
     NODE("a", "kubernetes.io/hostname: a", "") NODE("b", "kubernetes.io/hostname: b", "")
         ON("x", "app: web", "a") ON("y", "app: web", "a") ON("z", "app: web", "b"),
     SPEC(SOFT("kubernetes.io/hostname")), "PodTopologySpread", "a=33 b=100"},
    {"without a constraint there is no score", NODE("a", "zone: z1", ""), ASK, "PodTopologySpread",
     "a=0"},

    {"the sum: 3, 2, 1, 1, 2, 2",
     NODE_WITH("a", "foo: bar", "", "cpu: 4, memory: '10000', pods: '9'")
         NODE_WITH("b", "", "taints: [" SOFT_TAINT("x") "]", "cpu: 4, memory: '10000', pods: '9'"),
     POD("p", "", PREFERRED(PREFER("7", IN("foo", "bar"))), "cpu: 3, memory: '5000'"), NULL,
     "a=624/56 b=124/11"},
};

static void
test_scores(void **state)
{
    (void)state;
    world_check_scores(rows, ARRAY_LEN(rows));
}

/* All nodes that share the best total are named; the first name wins. */
static void
test_best(void **state)
{
    struct world *w = world_new(NODE("c", "", "") NODE("a", "", "") NODE(
        "b", "", "taints: [{key: k, effect: PreferNoSchedule}]") ASK);
    struct place_request rq = {.pod = w->pod};
    struct place_result *r = place(w->cluster, &rq);

    (void)state;
    assert_string_equal(r->node, "a");
    assert_int_equal(r->best.len, 2);
    assert_string_equal(r->best.items[0], "c");
    assert_string_equal(r->best.items[1], "a");
    place_result_free(r);
    world_free(w);
}

/* A seed draws from all that tie, the same whenever it is asked and in whatever order nodes come. */
static void
test_seed(void **state)
{
    struct world *w = world_new(NODE("a", "", "") NODE("b", "", "") NODE("c", "", "") ASK);
    struct world *turned = world_new(NODE("c", "", "") NODE("b", "", "") NODE("a", "", "") ASK);
    struct place_request rq = {.pod = w->pod};
    int chosen[3] = {0};

    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct place_result *r, *again;

        cluster_set_seed(w->cluster, seed);
        cluster_set_seed(turned->cluster, seed);
        r = place(w->cluster, &rq);
        again = place(turned->cluster, &rq);
        assert_string_equal(r->node, again->node);
        if (seed == 0)
            assert_string_equal(r->node, "a");
        assert_int_equal(r->best.len, 3);
        chosen[r->node[0] - 'a']++;
        place_result_free(r);
        place_result_free(again);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(chosen[i], 60, 140);
    world_free(w);
    world_free(turned);
}

static void
test_json(void **state)
{
    struct world *w = world_new(NODE("a", "", "") NODE("b", "", "unschedulable: true") ASK);
    struct place_request rq = {.pod = w->pod};
    struct place_result *r = place(w->cluster, &rq);
    AUTO_TREE struct tree *t = place_result_tree(r, "default", "p");
    AUTO_SB struct sb text = SB_INIT;

    (void)state;
    tree_to_json(t, 0, &text);
    assert_string_equal(
        sb_str(&text),
        "{\"vm\":\"default/p\",\"node\":\"a\",\"message\":\"\",\"best\":[\"a\"],\"nodes\":[{"
        "\"name\":\"a\",\"fits\":true,\"score\":45,\"total\":500,\"scores\":{"
        "\"TaintToleration\":100,\"NodeAffinity\":0,\"NodeResourcesFit\":100,"
        "\"NodeResourcesBalancedAllocation\":100,\"PodTopologySpread\":0,\"InterPodAffinity\":0},"
        "\"reasons\":[]},{\"name\":\"b\",\"fits\":false,\"reasons\":["
        "\"node(s) were unschedulable\"]}]}");
    place_result_free(r);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
