/* KubeSchedulerConfiguration: what is accepted, what is refused and where, what is named as being without
 * effect, what is decoded. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "tests/api/rows.h"

#define SCORE(on, off) "profiles: [{plugins: {score: {enabled: [" on "], disabled: [" off "]}}}]"
#define MULTI(on, off) \
    "profiles: [{plugins: {multiPoint: {enabled: [" on "], disabled: [" off "]}}}]"
#define ARGS(name, a) "profiles: [{pluginConfig: [{name: " name ", args: {" a "}}]}]"
#define FIT(strategy) ARGS("NodeResourcesFit", "scoringStrategy: {" strategy "}")
#define SHAPE(points) \
    FIT("type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [" points "]}")
#define SPREAD(type, c) ARGS("PodTopologySpread", type "defaultConstraints: [" c "]")
#define ZONE            "maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway"

static const struct object_row rows[] = {
    {.name = "nothing at all", .text = ""},
    {.name = "what does not matter here",
     .text = "parallelism: 16, podInitialBackoffSeconds: 1, podMaxBackoffSeconds: 10, "
             "leaderElection: {leaderElect: true, resourceLock: leases}, clientConnection: "
             "{kubeconfig: /k}, enableProfiling: true, percentageOfNodesToScore: 100"},
    {.name = "sampling", .text = "percentageOfNodesToScore: 50", .warning = "has no effect: every"},
    {.name = "sampling of a profile",
     .text = "profiles: [{percentageOfNodesToScore: 0}]",
     .warning = "profiles[0].percentageOfNodesToScore has no effect"},
    {.name = "sampling beyond all",
     .text = "percentageOfNodesToScore: 101",
     .error = "percentageOfNodesToScore: Invalid value: 101: must be between 0 and 100"},
    {.name = "no threads", .text = "parallelism: 0", .error = "parallelism: Invalid value: 0"},
    {.name = "no back-off",
     .text = "podInitialBackoffSeconds: 0",
     .error = "podInitialBackoffSeconds: Invalid value: 0"},
    {.name = "back-off shorter than its start",
     .text = "podInitialBackoffSeconds: 5, podMaxBackoffSeconds: 4",
     .error = "podMaxBackoffSeconds: Invalid value: 4: must be greater than or equal to"},
    {.name = "back-off longer than the default end",
     .text = "podInitialBackoffSeconds: 11",
     .error = "podInitialBackoffSeconds: Invalid value: 11: must not be greater"},
    {.name = "extenders are not called",
     .text = "extenders: [{urlPrefix: 'http://x'}]",
     .warning = "extenders is kept, but not acted on yet"},
    {.name = "metadata", .text = "metadata: {name: x}", .error = "unknown field \"metadata\""},
    {.name = "an unknown field",
     .text = "profiles: [{schedulername: x}]",
     .error = "unknown field \"profiles[0].schedulername\" (did you mean \"schedulerName\"?)"},

    {.name = "two profiles", .text = "profiles: [{schedulerName: a}, {schedulerName: b}]"},
    {.name = "two of one name",
     .text = "profiles: [{schedulerName: a}, {schedulerName: a}]",
     .error = "profiles[1].schedulerName: Duplicate value: \"a\""},
    {.name = "two, one without a name",
     .text = "profiles: [{schedulerName: a}, {}]",
     .error = "profiles[1].schedulerName: Required value"},
    {.name = "an empty name",
     .text = "profiles: [{schedulerName: ''}]",
     .error = "profiles[0].schedulerName: Required value"},

    {.name = "weights", .text = SCORE("{name: NodeResourcesFit, weight: 5}", "{name: '*'}")},
    {.name = "the largest weight", .text = SCORE("{name: NodeAffinity, weight: 2147483647}", "")},
    {.name = "beyond 32 bits",
     .text = SCORE("{name: NodeAffinity, weight: 2147483648}", ""),
     .error = "profiles[0].plugins.score.enabled[0].weight: Invalid value: 2147483648"},
    {.name = "a negative weight",
     .text = MULTI("{name: NodeAffinity, weight: -1}", ""),
     .error = "profiles[0].plugins.multiPoint.enabled[0].weight: Invalid value: -1"},
    {.name = "weight 0",
     .text = SCORE("{name: NodeAffinity, weight: 0}", ""),
     .warning = "profiles[0].plugins.score.enabled[0].weight 0 counts as 1"},
    {.name = "an unknown plugin",
     .text = SCORE("{name: NodeAffinities}", ""),
     .error = "profiles[0].plugins.score.enabled[0].name: Unsupported value: \"NodeAffinities\""},
    {.name = "an unknown plugin is not even to be switched off",
     .text = SCORE("", "{name: NodeAffinities}"),
     .error = "profiles[0].plugins.score.disabled[0].name: Unsupported value"},
    {.name = "all cannot be enabled",
     .text = SCORE("{name: '*'}", ""),
     .error = "profiles[0].plugins.score.enabled[0].name: Unsupported value: \"*\""},
    {.name = "no name",
     .text = SCORE("{weight: 3}", ""),
     .error = "profiles[0].plugins.score.enabled[0].name: Required value"},
    {.name = "a plugin that does not score",
     .text = SCORE("{name: NodeName}", ""),
     .error = "profiles[0].plugins.score.enabled[0].name: Invalid value: \"NodeName\": does not "
              "extend the score point"},
    {.name = "it may be in multiPoint", .text = MULTI("{name: NodeName}", "")},
    {.name = "twice",
     .text = MULTI("{name: NodeAffinity}, {name: NodeAffinity}", ""),
     .error = "profiles[0].plugins.multiPoint.enabled[1].name: Duplicate value"},
    {.name = "images are not scored",
     .text = SCORE("{name: ImageLocality, weight: 3}", ""),
     .warning = "profiles[0].plugins.score.enabled[0] ImageLocality has no effect"},
    {.name = "nor are volumes",
     .text = MULTI("{name: VolumeBinding, weight: 3}", ""),
     .warning = "profiles[0].plugins.multiPoint.enabled[0] VolumeBinding has no effect"},
    {.name = "a filter cannot be switched off",
     .text = MULTI("", "{name: TaintToleration}"),
     .warning =
         "profiles[0].plugins.multiPoint.disabled[0] TaintToleration takes away scores only"},
    {.name = "a plugin without a filter can", .text = MULTI("", "{name: ImageLocality}")},
    {.name = "other points",
     .text = "profiles: [{plugins: {filter: {disabled: [{name: NodePorts}]}}}]",
     .warning = "profiles[0].plugins.filter is kept, but not acted on yet"},
    {.name = "which have plugins that are known, too",
     .text = "profiles: [{plugins: {filter: {enabled: [{name: Mine}]}}}]",
     .error = "profiles[0].plugins.filter.enabled[0].name: Unsupported value: \"Mine\"",
     .warning = "*"},
    {.name = "no such point",
     .text = "profiles: [{plugins: {normalizeScore: {}}}]",
     .error = "unknown field \"profiles[0].plugins.normalizeScore\""},

    {.name = "arguments with their type",
     .text = ARGS("NodeResourcesFit", "apiVersion: kubescheduler.config.k8s.io/v1, kind: "
                                      "NodeResourcesFitArgs, scoringStrategy: {type: "
                                      "MostAllocated}")},
    {.name = "of another plugin",
     .text = ARGS("InterPodAffinity", "kind: NodeAffinityArgs"),
     .error = "args.kind: Invalid value: \"NodeAffinityArgs\": has to match plugin args"},
    {.name = "of another version",
     .text = ARGS("InterPodAffinity", "apiVersion: kubescheduler.config.k8s.io/v1beta3"),
     .error = "args.apiVersion: Unsupported value"},
    {.name = "a field of another plugin",
     .text = ARGS("InterPodAffinity", "addedAffinity: {}"),
     .error = "unknown field \"profiles[0].pluginConfig[0].args.addedAffinity\""},
    {.name = "of a plugin that takes none",
     .text = ARGS("NodeName", "x: 1"),
     .error = "unknown field \"profiles[0].pluginConfig[0].args.x\""},
    {.name = "arguments that are no map",
     .text = "profiles: [{pluginConfig: [{name: NodeName, args: 3}]}]",
     .error = "profiles[0].pluginConfig[0].args: Invalid value: 3: want a map"},
    {.name = "of a plugin that there is not",
     .text = ARGS("Mine", "x: 1"),
     .error = "profiles[0].pluginConfig[0].name: Unsupported value: \"Mine\""},
    {.name = "twice for one plugin",
     .text = "profiles: [{pluginConfig: [{name: NodeName}, {name: NodeName}]}]",
     .error = "profiles[0].pluginConfig[1].name: Duplicate value: \"NodeName\""},

    {.name = "a strategy without a type",
     .text = FIT("resources: [{name: cpu}]"),
     .error = "args.scoringStrategy.type: Required value"},
    {.name = "an unknown strategy",
     .text = FIT("type: LeastRequested"),
     .error = "args.scoringStrategy.type: Unsupported value: \"LeastRequested\""},
    {.name = "weights of resources",
     .text =
         FIT("type: MostAllocated, resources: [{name: cpu, weight: 100}, {name: memory, weight: "
             "1}, {name: example.com/gpu}]")},
    {.name = "a resource's weight beyond 100",
     .text = FIT("type: MostAllocated, resources: [{name: cpu}, {name: memory, weight: 101}]"),
     .error = "args.scoringStrategy.resources[1].weight: Invalid value: 101: resource weight of "
              "memory not in valid range (0, 100]"},
    {.name = "a resource's weight below 0",
     .text = FIT("type: LeastAllocated, resources: [{name: cpu, weight: -1}]"),
     .error = "resources[0].weight: Invalid value: -1"},
    {.name = "ratio without a shape",
     .text = FIT("type: RequestedToCapacityRatio"),
     .error = "args.scoringStrategy.requestedToCapacityRatio: Required value: must be specified"},
    {.name = "ratio with an empty shape",
     .text = SHAPE(""),
     .error = "requestedToCapacityRatio.shape: Required value: at least one point"},
    {.name = "a shape for another strategy",
     .text = FIT("type: LeastAllocated, requestedToCapacityRatio: {shape: [{utilization: 0, score: "
                 "0}]}"),
     .error = "args.scoringStrategy.requestedToCapacityRatio: Forbidden: must be nil when type is "
              "not"},
    {.name = "a shape", .text = SHAPE("{utilization: 0, score: 10}, {utilization: 100, score: 0}")},
    {.name = "one point, all of it absent", .text = SHAPE("{}")},
    {.name = "utilization that does not rise",
     .text = SHAPE("{utilization: 50, score: 1}, {utilization: 50, score: 2}"),
     .error = "shape[1].utilization: Invalid value: 50: values must be sorted in increasing order"},
    {.name = "utilization beyond all",
     .text = SHAPE("{utilization: 101, score: 1}"),
     .error = "shape[0].utilization: Invalid value: 101: not in valid range [0, 100]"},
    {.name = "a score beyond 10",
     .text = SHAPE("{utilization: 1, score: 11}"),
     .error = "shape[0].score: Invalid value: 11: not in valid range [0, 10]"},
    {.name = "a score below 0",
     .text = SHAPE("{utilization: 1, score: -1}"),
     .error = "shape[0].score: Invalid value: -1: not in valid range [0, 10]"},
    {.name = "what is ignored",
     .text = ARGS("NodeResourcesFit",
                  "ignoredResources: [example.com/a], ignoredResourceGroups: [example.com]")},
    {.name = "a resource that is none",
     .text = ARGS("NodeResourcesFit", "ignoredResources: ['a b']"),
     .error = "args.ignoredResources[0]: Invalid value: \"a b\""},
    {.name = "a group with a slash",
     .text = ARGS("NodeResourcesFit", "ignoredResourceGroups: [example.com/a]"),
     .error = "args.ignoredResourceGroups[0]: Invalid value: \"example.com/a\": resource group "
              "name can't contain '/'"},

    {.name = "balanced over three",
     .text = ARGS("NodeResourcesBalancedAllocation",
                  "resources: [{name: cpu, weight: 1}, {name: memory}, {name: example.com/gpu}]")},
    {.name = "balanced knows no weights",
     .text = ARGS("NodeResourcesBalancedAllocation", "resources: [{name: cpu, weight: 2}]"),
     .error = "args.resources[0].weight: Invalid value: 2: must be 1"},
    {.name = "balanced over the same twice",
     .text = ARGS("NodeResourcesBalancedAllocation", "resources: [{name: cpu}, {name: cpu}]"),
     .error = "args.resources[1].name: Duplicate value: \"cpu\""},

    {.name = "hard weight", .text = ARGS("InterPodAffinity", "hardPodAffinityWeight: 100")},
    {.name = "hard weight beyond 100",
     .text = ARGS("InterPodAffinity", "hardPodAffinityWeight: 101"),
     .error = "args.hardPodAffinityWeight: Invalid value: 101: must be between 0 and 100"},
    {.name = "hard weight below 0",
     .text = ARGS("InterPodAffinity", "hardPodAffinityWeight: -1"),
     .error = "args.hardPodAffinityWeight: Invalid value: -1"},

    {.name = "default constraints", .text = SPREAD("defaultingType: List, ", "{" ZONE "}")},
    {.name = "a list that is empty: no defaults", .text = SPREAD("defaultingType: List, ", "")},
    {.name = "System has its own",
     .text = SPREAD("defaultingType: System, ", "{" ZONE "}"),
     .error = "args.defaultingType: Invalid value: \"System\": when .defaultConstraints are not "
              "empty"},
    {.name = "and is the default",
     .text = SPREAD("", "{" ZONE "}"),
     .error = "args.defaultingType: Invalid value: \"System\""},
    {.name = "no such type",
     .text = ARGS("PodTopologySpread", "defaultingType: Node"),
     .error = "args.defaultingType: Unsupported value: \"Node\""},
    {.name = "a selector of their own",
     .text = SPREAD("defaultingType: List, ", "{" ZONE ", labelSelector: {}}"),
     .error = "args.defaultConstraints[0].labelSelector: Forbidden"},
    {.name = "twice the same",
     .text = SPREAD("defaultingType: List, ", "{" ZONE "}, {" ZONE "}"),
     .error = "args.defaultConstraints[1]: Duplicate value: \"{zone, ScheduleAnyway}\""},
    {.name = "no skew",
     .text = SPREAD("defaultingType: List, ",
                    "{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}"),
     .error = "args.defaultConstraints[0].maxSkew: Invalid value: 0"},
    {.name = "no key",
     .text = SPREAD("defaultingType: List, ", "{maxSkew: 1, whenUnsatisfiable: DoNotSchedule}"),
     .error = "args.defaultConstraints[0].topologyKey: Required value"},

    {.name = "added affinity",
     .text = ARGS("NodeAffinity",
                  "addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
                  "{nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}")},
    {.name = "added affinity that is poisoned",
     .text = ARGS("NodeAffinity",
                  "addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
                  "{nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}"),
     .error = "nodeSelectorTerms[0].matchExpressions[0].values: Required value"},
    {.name = "added affinity to pods",
     .text = ARGS("NodeAffinity", "addedAffinity: {podAffinity: {}}"),
     .error = "unknown field \"profiles[0].pluginConfig[0].args.addedAffinity.podAffinity\""},

    {.name = "preemption candidates",
     .text =
         ARGS("DefaultPreemption", "minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 1")},
    {.name = "no candidates",
     .text =
         ARGS("DefaultPreemption", "minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0"),
     .error = "args.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same"},
    {.name = "more candidates than nodes",
     .text = ARGS("DefaultPreemption", "minCandidateNodesPercentage: 101"),
     .error = "args.minCandidateNodesPercentage: Invalid value: 101"},
    {.name = "a time before now",
     .text = ARGS("VolumeBinding", "bindTimeoutSeconds: -1"),
     .error = "args.bindTimeoutSeconds: Invalid value: -1"},
};

static void
test_row(void **state)
{
    object_row_check(*state, "{apiVersion: kubescheduler.config.k8s.io/v1, kind: "
                             "KubeSchedulerConfiguration, %s}");
}

static void
test_other_version(void **state)
{
    static const struct object_row row = {
        .name = "an older version",
        .text = "{apiVersion: kubescheduler.config.k8s.io/v1beta3, kind: "
                "KubeSchedulerConfiguration}",
        .error = "(want apiVersion: kubescheduler.config.k8s.io/v1, kind: "
                 "KubeSchedulerConfiguration)"};

    (void)state;
    object_row_check(&row, NULL);
}

/* Arguments reach the plugin that they stand under, also behind items that are no maps. */
static void
test_decode(void **state)
{
    struct arena *a = arena_new();
    struct tree *t = yaml_one(
        "profiles: [7, {schedulerName: s, plugins: {score: {enabled: [{name: A, weight: 3}], "
        "disabled: [{name: '*'}]}, multiPoint: {enabled: [{name: B}]}}, pluginConfig: [7, {args: "
        "{}}, "
        "{name: InterPodAffinity, args: {hardPodAffinityWeight: 0, addedAffinity: {}}}, "
        "{name: NodeResourcesFit, args: {ignoredResources: [r], scoringStrategy: {type: T, "
        "resources: [{name: cpu, weight: 4}], requestedToCapacityRatio: {shape: [{utilization: 5, "
        "score: 6}]}}}}, {name: NodeAffinity, args: [1]}]}]");
    const struct sched_config *c = sched_config_decode(t, a);
    const struct sched_config_profile *p = &c->profiles[0];

    (void)state;
    assert_int_equal(c->profiles_len, 1);
    assert_string_equal(p->scheduler_name, "s");
    assert_string_equal(p->score.enabled[0].name, "A");
    assert_int_equal(p->score.enabled[0].weight, 3);
    assert_string_equal(p->score.disabled[0].name, "*");
    assert_string_equal(p->multi_point.enabled[0].name, "B");
    assert_int_equal(p->multi_point.enabled[0].weight, 0);
    assert_int_equal(p->args_len, 4);
    assert_null(p->args[0].name);
    assert_true(p->args[1].has_hard_weight);
    assert_int_equal(p->args[1].hard_weight, 0);
    assert_string_equal(p->args[2].strategy, "T");
    assert_string_equal(p->args[2].ignored_resources.items[0], "r");
    assert_int_equal(p->args[2].resources[0].weight, 4);
    assert_int_equal(p->args[2].shape[0].utilization, 5);
    assert_int_equal(p->args[2].shape[0].score, 6);
    assert_string_equal(p->args[3].name, "NodeAffinity");
    assert_int_equal(sched_config_decode(NULL, a)->profiles_len, 0);
    tree_free(t);
    arena_free(a);
}

/* It is read from files, and no server has it. */
static void
test_unserved(void **state)
{
    const struct kind_info *k = kind_info(KIND_SCHED_CONFIG);

    (void)state;
    assert_true(k->unserved);
    assert_false(k->stored);
    assert_ptr_equal(kind_by_gvk("kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"),
                     k);
    assert_null(kind_by_resource(k->group, k->version, k->plural));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_unserved),
    };
    int failed = ROWS_RUN("sched_config", rows, test_row);

    return failed + cmocka_run_group_tests_name("sched_config: decode", tests, NULL, NULL);
}
