/* Scheduling profiles: what a KubeSchedulerConfiguration changes in filters and scores. The numbers are
 * worked out by hand from the rules of kube-scheduler 1.31. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/sb.h"
#include "sched/profile.h"
#include "tests/sched/world.h"

#define PLUGINS(multi, score) SCHED_CONFIG("plugins: {multiPoint: {" multi "}, score: {" score "}}")
#define ARGS(name, args)      SCHED_CONFIG("pluginConfig: [{name: " name ", args: {" args "}}]")
#define STRATEGY(type, resources) \
    ARGS("NodeResourcesFit", "scoringStrategy: {type: " type ", resources: [" resources "]}")
#define RATIO(resources, shape)                                                     \
    ARGS("NodeResourcesFit",                                                        \
         "scoringStrategy: {type: RequestedToCapacityRatio, resources: [" resources \
         "], requestedToCapacityRatio: {shape: [" shape "]}}")
#define AT(utilization, score) "{utilization: " utilization ", score: " score "}"
#define UP                     AT("0", "0") ", " AT("100", "10")
#define BALANCED(resources)    ARGS("NodeResourcesBalancedAllocation", "resources: [" resources "]")
#define CPU                    "{name: cpu}"
#define MEMORY                 "{name: memory}"
#define EPHEMERAL              "{name: ephemeral-storage}"
#define GPU                    "{name: example.com/gpu}"

/* cpu 3 of 4, memory 5000 of 10000 */
#define A(more)                  NODE_WITH("a", "", "", "cpu: '4', memory: '10000', pods: '9'" more)
#define ASK(more)                POD("p", "app: web", "restartPolicy: Always", "cpu: '3', memory: '5000'" more)
#define NOTHING                  POD("p", "app: web", "restartPolicy: Always", "cpu: '0', memory: '0'")
#define ABSENT                   POD("p", "", "restartPolicy: Always", "")
#define ON(name, node, requests) POD(name, "", "nodeName: " node, requests)

#define FIT  "NodeResourcesFit"
#define EVEN "NodeResourcesBalancedAllocation"

static const struct world_score weights[] = {
    /* 100 of taints, 37 of fit, 87 of balance */
    {"the default", A(""), ASK(""), NULL, "a=424/38"},
    {"a profile that says nothing", SCHED_CONFIG("schedulerName: x") A(""), ASK(""), NULL,
     "a=424/38"},
    {"one alone",
     PLUGINS("", "disabled: [{name: '*'}], enabled: [{name: " FIT ", weight: 5}]") A(""), ASK(""),
     NULL, "a=185/37"},
    {"enabled without a weight is 1", PLUGINS("enabled: [{name: TaintToleration}]", "") A(""),
     ASK(""), NULL, "a=224/24"},
    {"score outdoes multiPoint",
     PLUGINS("enabled: [{name: " FIT ", weight: 10}]", "enabled: [{name: " FIT ", weight: 3}]")
         A(""),
     ASK(""), NULL, "a=498/38"},
    {"multiPoint takes away", PLUGINS("disabled: [{name: TaintToleration}]", "") A(""), ASK(""),
     NULL, "a=124/15"},
    {"all but one",
     PLUGINS("disabled: [{name: '*'}], enabled: [{name: " EVEN ", weight: 7}]", "") A(""), ASK(""),
     NULL, "a=609/87"},
    {"taken away and given again: the usual way to set a weight",
     PLUGINS("", "disabled: [{name: TaintToleration}], enabled: [{name: TaintToleration, weight: "
                 "2}]") A(""),
     ASK(""), NULL, "a=324/32"},
    {"score takes away what multiPoint gives",
     PLUGINS("enabled: [{name: " FIT ", weight: 9}]", "disabled: [{name: " FIT "}]") A(""), ASK(""),
     NULL, "a=387/38"},
    {"nothing scores", PLUGINS("", "disabled: [{name: '*'}]") A(""), ASK(""), NULL, "a=0/0"},
    {"images and volumes add no weight",
     PLUGINS("", "enabled: [{name: ImageLocality, weight: 50}]") A(""), ASK(""), NULL, "a=424/38"},
    {"the first profile counts",
     "---\n{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, "
     "profiles: "
     "[{plugins: {score: {disabled: [{name: '*'}]}}}, {}]}\n" A(""),
     ASK(""), NULL, "a=0/0"},
};

static const struct world_score strategies[] = {
    {"least: 25 and 50, rounded down", A(""), ASK(""), FIT, "a=37"},
    {"least, weighted: (3*25 + 50) / 4",
     STRATEGY("LeastAllocated", "{name: cpu, weight: 3}, {name: memory, weight: 1}") A(""), ASK(""),
     FIT, "a=31"},
    {"most: 75 and 50", STRATEGY("MostAllocated", "") A(""), ASK(""), FIT, "a=62"},
    {"most, weighted: (3*75 + 50) / 4",
     STRATEGY("MostAllocated", "{name: cpu, weight: 3}, " MEMORY) A(""), ASK(""), FIT, "a=68"},
    {"a full node and an absent request, least: 0 and 80",
     NODE_WITH("a", "", "", "cpu: '4', memory: '1048576000', pods: '9'")
         ON("x", "a", "cpu: '4', memory: '0'"),
     ABSENT, FIT, "a=40"},
    {"the same, most: 100 and 20",
     STRATEGY("MostAllocated", "")
         NODE_WITH("a", "", "", "cpu: '4', memory: '1048576000', pods: '9'")
             ON("x", "a", "cpu: '4', memory: '0'"),
     ABSENT, FIT, "a=60"},
    {"an explicit 0 is 0", STRATEGY("MostAllocated", "") A(""), NOTHING, FIT, "a=0"},
    {"over-committed, least: 0 and 50", A("") ON("x", "a", "cpu: '6', memory: '5000'"), NOTHING,
     FIT, "a=25"},
    {"over-committed, most: 100 and 50",
     STRATEGY("MostAllocated", "") A("") ON("x", "a", "cpu: '6', memory: '5000'"), NOTHING, FIT,
     "a=75"},
    {"what the node does not have is left out",
     STRATEGY("LeastAllocated", CPU ", " EPHEMERAL) A(""), ASK(""), FIT, "a=25"},
    {"ephemeral storage: 25 and 70",
     STRATEGY("LeastAllocated", CPU ", " EPHEMERAL) A(", ephemeral-storage: '100'"),
     ASK(", ephemeral-storage: '30'"), FIT, "a=47"},
    {"ephemeral storage counts for those who ask for none: 25 and 100",
     STRATEGY("LeastAllocated", CPU ", " EPHEMERAL) A(", ephemeral-storage: '100'"), ASK(""), FIT,
     "a=62"},
    {"an extended resource does not",
     STRATEGY("LeastAllocated", CPU ", " GPU) A(", example.com/gpu: '4'"), ASK(""), FIT, "a=25"},
    {"an extended resource: 25 and 50",
     STRATEGY("LeastAllocated", CPU ", " GPU) A(", example.com/gpu: '4'")
         ON("x", "a", "cpu: '0', memory: '0', example.com/gpu: '1'"),
     ASK(", example.com/gpu: '1'"), FIT, "a=37"},
    {"huge pages: 75 and 50",
     STRATEGY("MostAllocated", CPU ", {name: hugepages-2Mi}") A(", hugepages-2Mi: 1Gi"),
     ASK(", hugepages-2Mi: 512Mi"), FIT, "a=62"},
    {"pods are no resource that scores", STRATEGY("MostAllocated", CPU ", {name: pods}") A(""),
     ASK(""), FIT, "a=75"},
    {"only what is not there", STRATEGY("MostAllocated", GPU) A(""), ASK(""), FIT, "a=0"},
    {"VMs: 100m of 1 CPU, 1269 of 2512 MiB",
     STRATEGY("MostAllocated", "") NODE_WITH("a", "", "", "cpu: '1', memory: 2512Mi, pods: '9'"),
     VMI("vm", "", "", "", ""), FIT, "a=30"},
};

static const struct world_score ratios[] = {
    {"75 and 50, rounded to the nearest", RATIO("", UP) A(""), ASK(""), FIT, "a=63"},
    {"utilization is rounded down: 3 of 8",
     RATIO(CPU, UP) NODE_WITH("a", "", "", "cpu: '8', memory: '10000', pods: '9'"), ASK(""), FIT,
     "a=37"},
    {"downhill: 25 and 50", RATIO("", AT("0", "10") ", " AT("100", "0")) A(""), ASK(""), FIT,
     "a=38"},
    {"what scores 0 is left out, weight and all", RATIO("", UP) A(""),
     POD("p", "", "restartPolicy: Always", "cpu: '3', memory: '0'"), FIT, "a=75"},
    {"all 0", RATIO("", UP) A(""), NOTHING, FIT, "a=0"},
    {"a step is rounded towards 0: 100 - 29 and 100 - 8",
     RATIO("", AT("0", "0") ", " AT("40", "10") ", " AT("100", "5")) A(""), ASK(""), FIT, "a=82"},
    {"below the first point", RATIO(CPU, AT("80", "3") ", " AT("100", "9")) A(""), ASK(""), FIT,
     "a=30"},
    {"above the last one", RATIO(CPU, AT("0", "0") ", " AT("50", "10")) A(""), ASK(""), FIT,
     "a=100"},
    {"one point", RATIO(CPU, AT("50", "7")) A(""), ASK(""), FIT, "a=70"},
    {"on a point", RATIO(MEMORY, AT("0", "0") ", " AT("50", "9") ", " AT("100", "10")) A(""),
     ASK(""), FIT, "a=90"},
    {"weights: (75 + 2*50) / 3", RATIO(CPU ", {name: memory, weight: 2}", UP) A(""), ASK(""), FIT,
     "a=58"},
    {"weights: (2*75 + 50) / 3", RATIO("{name: cpu, weight: 2}, " MEMORY, UP) A(""), ASK(""), FIT,
     "a=67"},
    {"over-committed is full", RATIO(CPU, UP) A("") ON("x", "a", "cpu: '6', memory: '0'"), NOTHING,
     FIT, "a=100"},
    {"not asked for, not scored", RATIO(GPU, UP) A(", example.com/gpu: '4'"), ASK(""), FIT, "a=0"},
    {"asked for: 1 of 4", RATIO(GPU, UP) A(", example.com/gpu: '4'"), ASK(", example.com/gpu: '1'"),
     FIT, "a=25"},
};

static const struct world_score balance[] = {
    {"two: 0.75 and 0.5", A(""), ASK(""), EVEN, "a=87"},
    /* mean 0.51667, deviation sqrt(0.033889) = 0.18409 */
    {"three: 0.75, 0.5 and 0.3",
     BALANCED(CPU ", " MEMORY ", " EPHEMERAL) A(", ephemeral-storage: '100'"),
     ASK(", ephemeral-storage: '30'"), EVEN, "a=81"},
    /* mean 0.5, deviation sqrt(0.03125) = 0.17678 */
    {"four: 0.75, 0.5, 0.5 and 0.25",
     BALANCED(CPU ", " MEMORY ", " EPHEMERAL ", " GPU)
         A(", ephemeral-storage: '100', example.com/gpu: '4'"),
     ASK(", ephemeral-storage: '50', example.com/gpu: '1'"), EVEN, "a=82"},
    {"an extended resource that is not asked for",
     BALANCED(CPU ", " MEMORY ", " GPU) A(", example.com/gpu: '4'")
         ON("x", "a", "cpu: '0', memory: '0', example.com/gpu: '4'"),
     ASK(""), EVEN, "a=87"},
    {"one is even with itself", BALANCED(CPU) A(""), ASK(""), EVEN, "a=100"},
    {"none, too", BALANCED(GPU) A(""), ASK(""), EVEN, "a=100"},
    {"over-committed counts as full: 1 and 0.5", A("") ON("x", "a", "cpu: '6', memory: '5000'"),
     NOTHING, EVEN, "a=75"},
    {"real requests: an absent one is 0", A("") ON("x", "a", "cpu: '2'"), ABSENT, EVEN, "a=75"},
};

#define TERM(weight, app) \
    "{weight: " weight    \
    ", podAffinityTerm: {topologyKey: host, labelSelector: {matchLabels: {app: " app "}}}}"
#define NEAR(terms) "podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [" terms "]}"
#define MUST                                                                              \
    "podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: host, " \
    "labelSelector: "                                                                     \
    "{matchLabels: {app: web}}}]}"
#define HOSTS NODE("a", "host: a", "") NODE("b", "host: b", "")
/* on a one that would like web with 3, on b one that must have it */
#define TWO                                                                       \
    HOSTS POD("x", "", "nodeName: a, affinity: {" NEAR(TERM("3", "web")) "}", "") \
        POD("y", "app: db", "nodeName: b, affinity: {" MUST "}", "")
#define PEERS(args) ARGS("InterPodAffinity", args)

static const struct world_score peers[] = {
    {"3 against 1", TWO, NOTHING, "InterPodAffinity", "a=100 b=0"},
    {"3 against 5", PEERS("hardPodAffinityWeight: 5") TWO, NOTHING, "InterPodAffinity",
     "a=0 b=100"},
    {"3 against 3", PEERS("hardPodAffinityWeight: 3") TWO, NOTHING, "InterPodAffinity", "a=0 b=0"},
    {"3 against 0", PEERS("hardPodAffinityWeight: 0") TWO, NOTHING, "InterPodAffinity",
     "a=100 b=0"},
    {"0 against nothing",
     PEERS("hardPodAffinityWeight: 0") HOSTS POD("y", "", "nodeName: b, affinity: {" MUST "}", ""),
     NOTHING, "InterPodAffinity", "a=0 b=0"},
    {"what peers prefer, and must have, is passed over",
     PEERS("ignorePreferredTermsOfExistingPods: true") TWO, NOTHING, "InterPodAffinity", "a=0 b=0"},
    {"not by one that prefers something itself: 3 against 1 + 1",
     PEERS("ignorePreferredTermsOfExistingPods: true") TWO,
     POD("p", "app: web", "affinity: {" NEAR(TERM("1", "db")) "}", ""), "InterPodAffinity",
     "a=100 b=0"},
    {"3 against 1 + 4", PEERS("ignorePreferredTermsOfExistingPods: true") TWO,
     POD("p", "app: web", "affinity: {" NEAR(TERM("4", "db")) "}", ""), "InterPodAffinity",
     "a=0 b=100"},
};

#define POOL(value) "{key: pool, operator: In, values: [" value "]}"
#define ADDED_MUST(value)                                                                         \
    ARGS("NodeAffinity",                                                                          \
         "addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{" \
         "matchExpressions: [" POOL(value) "]}]}}")
#define ADDED_LIKES(weight, value)                                                            \
    ARGS("NodeAffinity",                                                                      \
         "addedAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: " weight \
         ", preference: {matchExpressions: [" POOL(value) "]}}]}")
#define POOLS \
    NODE("a", "pool: x", "") NODE("b", "disk: ssd", "") NODE("c", "pool: x, disk: ssd", "")

static const struct world_score added[] = {
    {"2 added, 6 of its own", ADDED_LIKES("2", "x") POOLS,
     POD("p", "",
         "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 6, "
         "preference: {matchExpressions: [{key: disk, operator: Exists}]}}]}}",
         ""),
     "NodeAffinity", "a=25 b=75 c=100"},
    {"added alone", ADDED_LIKES("2", "x") POOLS, VMI("vm", "", "", "", ""), "NodeAffinity",
     "a=100 b=0 c=100"},
};

#define SET(name)                                                           \
    "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: " name \
    ", uid: u, controller: true}]"
#define MEMBER(name, set, spec)                               \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name \
    ", namespace: default, " SET(set) "}, spec: {" spec "containers: [{name: c}]}}\n"
#define PLACE_AT(name, labels) NODE(name, "kubernetes.io/hostname: " name labels, "")
#define IN_ZONE(z)             ", topology.kubernetes.io/zone: " z
#define THREE                  PLACE_AT("a", IN_ZONE("z1")) PLACE_AT("b", IN_ZONE("z1")) PLACE_AT("c", IN_ZONE("z2"))
#define SPREAD                 "PodTopologySpread"
#define LIST(constraints) \
    ARGS(SPREAD, "defaultingType: List, defaultConstraints: [" constraints "]")
#define SOFT_ZONE \
    "{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}"
#define HARD_ZONE \
    "{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}"
#define TWO_AND_ONE                                                                 \
    THREE MEMBER("w1", "web", "nodeName: a, ") MEMBER("w2", "web", "nodeName: a, ") \
        MEMBER("w3", "web", "nodeName: b, ")

static const struct world_score defaults[] = {
    /* 2*ln5 + 3*ln4 + 6 = 13, ln5 + 3*ln4 + 6 = 12, 6 */
    {"the system's own, for members of a set", TWO_AND_ONE, MEMBER("w", "web", ""), SPREAD,
     "a=46 b=53 c=100"},
    {"other sets do not count", TWO_AND_ONE, MEMBER("w", "db", ""), SPREAD, "a=100 b=100 c=100"},
    {"nobody's", TWO_AND_ONE, NOTHING, SPREAD, "a=0 b=0 c=0"},
    /* 2*ln4 + 2 + 2*ln4 + 4 = 12; without a zone ln4 + 2 = 3 */
    {"a node needs not have both keys",
     PLACE_AT("a", IN_ZONE("z1")) PLACE_AT("d", "") MEMBER("w1", "web", "nodeName: a, ")
         MEMBER("w2", "web", "nodeName: a, ") MEMBER("w3", "web", "nodeName: d, "),
     MEMBER("w", "web", ""), SPREAD, "a=25 d=100"},
    {"its own take their place", TWO_AND_ONE,
     MEMBER("w", "web",
            "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, "
            "whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: nobody}}}], "),
     SPREAD, "a=0 b=0 c=0"},
    /* 3*ln4 = 4, 0 */
    {"a list", LIST(SOFT_ZONE) TWO_AND_ONE, MEMBER("w", "web", ""), SPREAD, "a=0 b=0 c=100"},
    {"of which a node must have all keys",
     LIST(SOFT_ZONE) PLACE_AT("a", IN_ZONE("z1")) PLACE_AT("d", ""), MEMBER("w", "web", ""), SPREAD,
     "a=100 d=0"},
    {"an empty list", LIST("") TWO_AND_ONE, MEMBER("w", "web", ""), SPREAD, "a=0 b=0 c=0"},
    {"a VM's set",
     TWO_AND_ONE "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, "
                 "metadata: {name: v1, namespace: default, ownerReferences: [{kind: "
                 "VirtualMachineInstanceReplicaSet, name: web, controller: true}]}, "
                 "spec: {domain: {devices: {}}}, status: {nodeName: c}}\n",
     "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v2, "
     "namespace: default, ownerReferences: [{kind: VirtualMachineInstanceReplicaSet, name: web, "
     "controller: true}]}, spec: {domain: {devices: {}}}}\n",
     /* ln5 + ln4 + 6 = 9 on c, 6 elsewhere */
     SPREAD, "a=100 b=100 c=66"},
};

#define X "example.com/x: '1'"

static const struct world_row filters[] = {
    {"an extended resource that no node has", A(""), ASK(", " X), NULL,
     "0/1 nodes are available: 1 Insufficient example.com/x.", NULL, .from_files = true},
    {"ignored", ARGS(FIT, "ignoredResources: [example.com/x]") A(""), ASK(", " X), "a",
     .from_files = true},
    {"ignored by its group", ARGS(FIT, "ignoredResourceGroups: [example.com]") A(""), ASK(", " X),
     "a", .from_files = true},
    {"another group",
     ARGS(FIT, "ignoredResourceGroups: [example.co, xample.com, example.comm]") A(""), ASK(", " X),
     NULL, "0/1 nodes are available: 1 Insufficient example.com/x.", .from_files = true},
    {"huge pages cannot be ignored", ARGS(FIT, "ignoredResources: [hugepages-2Mi]") A(""),
     ASK(", hugepages-2Mi: 2Mi"), NULL, "0/1 nodes are available: 1 Insufficient hugepages-2Mi.",
     .from_files = true},
    {"nor can cpu", ARGS(FIT, "ignoredResources: [cpu]") A(""),
     POD("p", "", "restartPolicy: Always", "cpu: '5'"), NULL,
     "0/1 nodes are available: 1 Insufficient cpu.", .from_files = true},
    {"added affinity", ADDED_MUST("x") POOLS, NOTHING, "a", NULL,
     "b: node(s) didn't match scheduler-enforced node affinity", .from_files = true},
    {"added affinity comes before its own", ADDED_MUST("y") POOLS,
     POD("p", "", "nodeSelector: {disk: none}", ""), NULL,
     "0/3 nodes are available: 3 node(s) didn't match scheduler-enforced node affinity.",
     .from_files = true},
    {"added affinity holds for VMs", ADDED_MUST("x") POOLS,
     VMI("vm", "", "nodeSelector: {disk: ssd}", "", ""), "c", NULL,
     "a: node(s) didn't match Pod's node affinity/selector; b: node(s) didn't match "
     "scheduler-enforced node affinity",
     .from_files = true},
    {"a default constraint that refuses", LIST(HARD_ZONE) TWO_AND_ONE, MEMBER("w", "web", ""), "c",
     NULL,
     "a: node(s) didn't match pod topology spread constraints; b: node(s) didn't match pod "
     "topology "
     "spread constraints",
     .from_files = true},
    {"by what it adds itself", LIST(HARD_ZONE) THREE MEMBER("w1", "web", "nodeName: a, "),
     MEMBER("w", "web", ""), "c", NULL,
     "a: node(s) didn't match pod topology spread constraints; b: node(s) didn't match pod "
     "topology "
     "spread constraints",
     .from_files = true},
    {"and does not hold for others", LIST(HARD_ZONE) TWO_AND_ONE, NOTHING, "c", NULL, "",
     .from_files = true},
    {"a profile without its own name", A(""), POD("p", "", "schedulerName: packer", ""), NULL,
     "waiting for scheduler packer: this is drover-scheduler", .from_files = true},
    {"the profile's name is ours", SCHED_CONFIG("schedulerName: packer") A(""),
     POD("p", "", "schedulerName: packer", "cpu: '0'"), "a", .from_files = true},
    {"a VM's, too", SCHED_CONFIG("schedulerName: packer") NODE("a", "", ""),
     VMI("vm", "", "schedulerName: packer", "", ""), "a", .from_files = true},
    {"and so is the usual one", SCHED_CONFIG("schedulerName: packer") A(""),
     POD("p", "", "schedulerName: default-scheduler", "cpu: '0'"), "a", .from_files = true},
    {"a filter is not switched off",
     PLUGINS("disabled: [{name: '*'}]", "") NODE("a", "", "taints: [{key: k, effect: NoSchedule}]"),
     NOTHING, NULL, "0/1 nodes are available: 1 node(s) had untolerated taint {k: }.",
     .from_files = true},
};

#define TEST_SCORES(table)                           \
    static void test_##table(void **state)           \
    {                                                \
        (void)state;                                 \
        world_check_scores(table, ARRAY_LEN(table)); \
    }

TEST_SCORES(weights)
TEST_SCORES(strategies)
TEST_SCORES(ratios)
TEST_SCORES(balance)
TEST_SCORES(peers)
TEST_SCORES(added)
TEST_SCORES(defaults)

/* What no API server lets through: the defaults take its place, and nothing overflows. */
static const struct world_score odd[] = {
    {"a weight below 0 is 1", PLUGINS("", "enabled: [{name: NodeAffinity, weight: -5}]") A(""),
     ASK(""), NULL, "a=424/42"},
    {"weights of resources beyond 100 are 1",
     STRATEGY("MostAllocated", "{name: cpu, weight: 101}, {name: memory, weight: -1}") A(""),
     ASK(""), FIT, "a=62"},
    {"no shape: least allocated", RATIO("", "") A(""), ASK(""), FIT, "a=37"},
    {"a shape that falls back", RATIO("", AT("50", "0") ", " AT("50", "10")) A(""), ASK(""), FIT,
     "a=37"},
    {"a shape out of range", RATIO("", AT("-9223372036854775808", "9223372036854775807")) A(""),
     ASK(""), FIT, "a=37"},
    {"a strategy that there is not", STRATEGY("FewestAllocated", "") A(""), ASK(""), FIT, "a=37"},
    {"a skew beyond 64 bits less one",
     LIST("{maxSkew: -9223372036854775808, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: "
          "ScheduleAnyway}") TWO_AND_ONE,
     MEMBER("w", "web", ""), SPREAD, "a=0 b=33 c=100"},
    {"preferred weights", POOLS,
     POD("p", "",
         "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: "
         "9223372036854775807, preference: {matchExpressions: [{key: disk, operator: Exists}]}}, "
         "{weight: 9223372036854775807, preference: {matchExpressions: [{key: pool, operator: "
         "Exists}]}}, {weight: -9223372036854775808, preference: {matchExpressions: [{key: pool, "
         "operator: DoesNotExist}]}}]}}",
         ""),
     "NodeAffinity", "a=50 b=50 c=100"},
    {"preferred weights between VMs", HOSTS POD("x", "app: db", "nodeName: a", ""),
     POD("p", "app: web",
         "affinity: {" NEAR(
             TERM("9223372036854775807", "db") ", " TERM("9223372036854775807", "db")) "}",
         ""),
     "InterPodAffinity", "a=100 b=0"},
};

TEST_SCORES(odd)

/* No profile, and the default profile, are the same. */
static void
test_default(void **state)
{
    struct world *w =
        world_new(SCHED_CONFIG("plugins: {score: {disabled: [{name: '*'}]}}") A("") ASK(""));
    struct place_request rq = {.pod = w->pod};
    struct place_result *r = place(w->cluster, &rq);

    (void)state;
    assert_int_equal(r->nodes[0].total, 0);
    assert_int_equal(r->nodes[0].scores_len, 0);
    place_result_free(r);
    cluster_set_profile(w->cluster, NULL);
    r = place(w->cluster, &rq);
    assert_int_equal(r->nodes[0].total, 424);
    assert_int_equal(r->nodes[0].scores_len, PLACE_PLUGINS);
    place_result_free(r);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),  cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_ratios),   cmocka_unit_test(test_balance),
        cmocka_unit_test(test_peers),    cmocka_unit_test(test_added),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_odd),
        cmocka_unit_test(test_default),
    };
    int failed = world_run("profile: filters", filters, ARRAY_LEN(filters));

    return failed + cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
