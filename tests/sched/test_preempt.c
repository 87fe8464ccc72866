/* Preemption: whose place is taken, on which node, and what is said when it does not help. Rows of
 * our own, one rule of kube-scheduler 1.31 each. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "sched/preempt.h"
#include "tests/sched/world.h"

/* A node with 4 CPUs; a Pod of p CPUs with a priority, placed; classes; budgets. */
#define N4(name, labels, spec) NODE_WITH(name, labels, spec, "cpu: '4', memory: 8Gi, pods: '10'")
#define ON(name, labels, node, cpu, prio, more) \
    ON_SINCE(name, labels, node, cpu, prio, more, "00:00:00")
#define ON_SINCE(name, labels, node, cpu, prio, more, time)                                   \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name                                 \
    ", namespace: default, labels: {" labels "}}, spec: {nodeName: " node ", priority: " prio \
    ", " more "containers: [{name: c, resources: {requests: {cpu: '" cpu                      \
    "'}}}]}, status: {startTime: '2026-01-01T" time "Z'}}\n"
#define NEW(cpu, prio, more)                                                                    \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: default, labels: {app: " \
    "new}}, spec: {priority: " prio ", " more                                                   \
    "containers: [{name: c, resources: {requests: {cpu: '" cpu "'}}}]}}\n"
#define CLASS(name, more)                                                                 \
    "---\n{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: " name \
    "}, " more "}\n"
#define PDB(name, selector, allowed, more)                                                    \
    "---\n{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: " name          \
    ", namespace: default}, spec: {" selector "}, status: {disruptionsAllowed: " allowed more \
    "}}\n"
#define APP(v)                                                                      \
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: " \
    "[{topologyKey: host, labelSelector: {matchLabels: {app: " v "}}}]}}, "
#define NEAR(v)                                                                                \
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: " \
    "zone, labelSelector: {matchLabels: {app: " v "}}}]}}, "
#define SPREAD                                                                        \
    "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: " \
    "DoNotSchedule, labelSelector: {matchLabels: {app: new}}}], "

static const struct row {
    const char *name, *cluster, *asks;
    const char *node;    /* NULL: it does not help */
    const char *victims; /* "a b" in their order */
    const char *message; /* when it does not help */
    int64_t violations;
} rows[] = {
    /* --- who goes --- */
    {"one lower goes", N4("n1", "", "") ON("a", "", "n1", "4", "1", ""), NEW("2", "5", ""), "n1",
     "a", NULL, 0},
    {"the same priority stays", N4("n1", "", "") ON("a", "", "n1", "4", "5", ""), NEW("2", "5", ""),
     NULL, NULL,
     " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", 0},
    {"no more than needed: the most important is given back first",
     N4("n1", "", "") ON("low", "", "n1", "2", "1", "") ON("mid", "", "n1", "2", "3", ""),
     NEW("2", "5", ""), "n1", "low", NULL, 0},
    {"the smaller is given back where the greater does not fit",
     N4("n1", "", "") ON("big", "", "n1", "3", "3", "") ON("small", "", "n1", "1", "1", ""),
     NEW("3", "5", ""), "n1", "big", NULL, 0},
    {"of equals the one that came later goes",
     N4("n1", "", "") ON_SINCE("young", "", "n1", "2", "1", "", "09:00:00")
         ON_SINCE("old", "", "n1", "2", "1", "", "08:00:00"),
     NEW("2", "5", ""), "n1", "young", NULL, 0},
    {"one that has not started counts as the newest",
     N4("n1", "", "") ON_SINCE("late", "", "n1", "2", "1", "", "23:00:00")
         POD("unstarted", "", "nodeName: n1, priority: 1", "cpu: '2'"),
     NEW("2", "5", ""), "n1", "unstarted", NULL, 0},
    {"victims are listed from the highest",
     N4("n1", "", "") ON("low", "", "n1", "2", "1", "") ON("mid", "", "n1", "2", "3", ""),
     NEW("4", "5", ""), "n1", "mid low", NULL, 0},
    {"the higher stay, though it then does not fit",
     N4("n1", "", "") ON("high", "", "n1", "3", "9", "") ON("low", "", "n1", "1", "1", ""),
     NEW("2", "5", ""), NULL, NULL, " preemption: 0/1 nodes are available: 1 Insufficient cpu.", 0},
    {"a negative priority is lower than none", N4("n1", "", "") ON("a", "", "n1", "4", "-1", ""),
     POD("new", "", "restartPolicy: Always", "cpu: '4'"), "n1", "a", NULL, 0},
    {"too many pods is a lack of room, too",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 8Gi, pods: '1'") ON("a", "", "n1", "1", "1", ""),
     NEW("1", "5", ""), "n1", "a", NULL, 0},
    /* --- where it comes from --- */
    {"a class by name",
     N4("n1", "", "") CLASS("high", "value: 100") ON("a", "", "n1", "4", "99", ""),
     POD("new", "", "priorityClassName: high", "cpu: '4'"), "n1", "a", NULL, 0},
    {"the default class",
     N4("n1", "", "") CLASS("plain", "value: 100, globalDefault: true")
         ON("a", "", "n1", "4", "99", ""),
     POD("new", "", "restartPolicy: Always", "cpu: '4'"), "n1", "a", NULL, 0},
    {"of two defaults the lower",
     N4("n1", "", "") CLASS("x", "value: 100, globalDefault: true")
         CLASS("y", "value: 10, globalDefault: true") ON("a", "", "n1", "4", "99", ""),
     POD("new", "", "restartPolicy: Always", "cpu: '4'"), NULL, NULL,
     " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", 0},
    {"the system's classes need no object",
     N4("n1", "", "") ON("a", "", "n1", "4", "2000000000", ""),
     POD("new", "", "priorityClassName: system-node-critical", "cpu: '4'"), "n1", "a", NULL, 0},
    {"nobody has a priority: nothing is said",
     N4("n1", "", "") POD("a", "", "nodeName: n1", "cpu: '4'"),
     POD("new", "", "restartPolicy: Always", "cpu: '4'"), NULL, NULL, "", 0},
    {"an unknown class counts as 0",
     N4("n1", "", "") CLASS("other", "value: 1") ON("a", "", "n1", "4", "0", ""),
     POD("new", "", "priorityClassName: nope", "cpu: '4'"), NULL, NULL,
     " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", 0},
    {"spec.priority counts before the class",
     N4("n1", "", "") CLASS("low", "value: 1") ON("a", "", "n1", "4", "3", ""),
     POD("new", "", "priorityClassName: low, priority: 7", "cpu: '4'"), "n1", "a", NULL, 0},
    {"VMs push VMs aside",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '10'") CLASS("high", "value: 9")
         VMI("old", "", "schedulerName: default-scheduler", "cpu: {cores: 1}", "nodeName: n1"),
     "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: new, "
     "namespace: default}, spec: {priorityClassName: high, domain: {memory: {guest: 2Gi}, "
     "devices: {}}}}\n",
     "n1", "old", NULL, 0},
    {"and Pods",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '10'") CLASS("high", "value: 9")
         POD("p", "", "nodeName: n1", "memory: 2Gi"),
     "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: new, "
     "namespace: default}, spec: {priorityClassName: high, domain: {memory: {guest: 2Gi}, "
     "devices: {}}}}\n",
     "n1", "p", NULL, 0},
    {"priorities that no API would have let in",
     N4("n1", "", "") ON("a", "", "n1", "2", "-9223372036854775808", "")
         ON("b", "", "n1", "2", "-9223372036854775807", ""),
     NEW("4", "9223372036854775807", ""), "n1", "a b", NULL, 0},
    {"a class without a name",
     N4("n1", "", "") "---\n{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, value: 5}\n" ON(
         "a", "", "n1", "4", "1", ""),
     NEW("2", "5", ""), "n1", "a", NULL, 0},
    /* --- Never --- */
    {"preemptionPolicy Never", N4("n1", "", "") ON("a", "", "n1", "4", "1", ""),
     NEW("2", "5", "preemptionPolicy: Never, "), NULL, NULL,
     " preemption: not eligible due to preemptionPolicy=Never.", 0},
    {"Never of its class",
     N4("n1", "", "") CLASS("meek", "value: 100, preemptionPolicy: Never")
         ON("a", "", "n1", "4", "1", ""),
     POD("new", "", "priorityClassName: meek", "cpu: '4'"), NULL, NULL,
     " preemption: not eligible due to preemptionPolicy=Never.", 0},
    {"its own policy counts before that of its class",
     N4("n1", "", "") CLASS("meek", "value: 100, preemptionPolicy: Never")
         ON("a", "", "n1", "4", "1", ""),
     POD("new", "", "priorityClassName: meek, preemptionPolicy: PreemptLowerPriority", "cpu: '4'"),
     "n1", "a", NULL, 0},
    {"Never of another's class says nothing",
     N4("n1", "", "") CLASS("meek", "value: 1, preemptionPolicy: Never")
         POD("a", "", "nodeName: n1, priorityClassName: meek", "cpu: '4'"),
     NEW("2", "5", ""), "n1", "a", NULL, 0},
    /* --- nodes that are not helped --- */
    {"cordoned, tainted, not selected, and one that is helped",
     N4("n1", "", "unschedulable: true") ON("a", "", "n1", "4", "1", "")
         N4("n2", "", "taints: [{key: k, effect: NoSchedule}]") ON("b", "", "n2", "4", "1", "")
             N4("n3", "", "") ON("c", "", "n3", "4", "1", "") N4("n4", "disk: ssd", "")
                 ON("d", "", "n4", "4", "2", ""),
     NEW("2", "5", "nodeSelector: {disk: ssd}, "), "n4", "d", NULL, 0},
    {"none that is helped",
     N4("n1", "", "unschedulable: true") ON("a", "", "n1", "4", "1", "")
         N4("n2", "", "taints: [{key: k, effect: NoExecute}]") ON("b", "", "n2", "4", "1", "")
             N4("n3", "", "") ON("c", "", "n3", "4", "7", ""),
     NEW("2", "5", ""), NULL, NULL,
     " preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 "
     "Preemption is not helpful for scheduling.",
     0},
    {"more than the node ever had", N4("n1", "", "") ON("a", "", "n1", "1", "1", ""),
     NEW("5", "5", ""), NULL, NULL, " preemption: 0/1 nodes are available: 1 Insufficient cpu.", 0},
    {"nodes that a pinned name leaves out",
     N4("n1", "", "") ON("a", "", "n1", "4", "1", "") N4("n2", "", "")
         ON("b", "", "n2", "4", "2", ""),
     NEW("2", "5",
         "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
         "{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: "
         "[n2]}]}]}}}, "),
     "n2", "b", NULL, 0},
    {"names that contradict", N4("n1", "", "") ON("a", "", "n1", "4", "1", ""),
     NEW("2", "5",
         "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
         "{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n1]}, "
         "{key: metadata.name, operator: In, values: [n2]}]}]}}}, "),
     NULL, NULL,
     " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", 0},
    {"no node at all", "", NEW("2", "5", ""), NULL, NULL, "", 0},
    {"gates: it is not in the queue", N4("n1", "", "") ON("a", "", "n1", "4", "1", ""),
     NEW("2", "5", "schedulingGates: [{name: x}], "), NULL, NULL, "", 0},
    {"another's scheduler", N4("n1", "", "") ON("a", "", "n1", "4", "1", ""),
     NEW("2", "5", "schedulerName: mine, "), NULL, NULL, "", 0},
    /* --- neighbours --- */
    {"its anti-affinity: who offends goes, who only fills the node stays",
     N4("n1", "host: n1", "") ON("foe", "app: foe", "n1", "1", "1", "")
         ON("other", "", "n1", "1", "1", ""),
     NEW("1", "5", APP("foe")), "n1", "foe", NULL, 0},
    {"anti-affinity of those that are there",
     N4("n1", "host: n1", "") ON("foe", "", "n1", "1", "1", APP("new")), NEW("1", "5", ""), "n1",
     "foe", NULL, 0},
    {"and of a higher one: it does not help",
     N4("n1", "host: n1", "") ON("foe", "", "n1", "1", "9", APP("new"))
         ON("a", "", "n1", "1", "1", ""),
     NEW("1", "5", ""), NULL, NULL,
     " preemption: 0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity "
     "rules.",
     0},
    {"a foe on another node of the domain is out of reach",
     N4("n1", "host: x", "") ON("a", "", "n1", "1", "1", "") N4("n2", "host: x",
                                                                "unschedulable: "
                                                                "true")
         ON("foe", "app: foe", "n2", "1", "1", ""),
     NEW("1", "5", APP("foe")), NULL, NULL,
     " preemption: 0/2 nodes are available: 1 Preemption is not helpful for scheduling, 1 node(s) "
     "didn't match pod anti-affinity rules.",
     0},
    {"affinity is not helped by leaving",
     N4("n1", "zone: a", "") ON("a", "", "n1", "1", "1", "") N4("n2", "zone: b",
                                                                "unschedulable: "
                                                                "true")
         ON("friend", "app: friend", "n2", "1", "1", ""),
     NEW("1", "5", NEAR("friend")), NULL, NULL,
     " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.", 0},
    {"the friend stays, the stranger goes",
     N4("n1", "zone: a", "") ON("friend", "app: friend", "n1", "2", "1", "")
         ON("stranger", "", "n1", "2", "3", ""),
     NEW("2", "5", NEAR("friend")), NULL, NULL,
     " preemption: 0/1 nodes are available: 1 node(s) didn't match pod affinity rules.", 0},
    {"the first of its kind, when the last friend goes",
     N4("n1", "zone: a", "") ON("last", "app: new", "n1", "4", "1", ""), NEW("4", "5", NEAR("new")),
     "n1", "last", NULL, 0},
    {"spread: the one too many in its own domain goes",
     N4("n1", "zone: a", "") ON("s", "app: new", "n1", "1", "1", "")
         ON("other", "", "n1", "1", "1", "") N4("n2", "zone: b", "unschedulable: true"),
     NEW("1", "5", SPREAD), "n1", "s", NULL, 0},
    {"spread: a node without the key is not helped",
     N4("n1", "", "") ON("s", "app: new", "n1", "1", "1", ""), NEW("1", "5", SPREAD), NULL, NULL,
     " preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", 0},
    /* --- budgets --- */
    {"who is protected is given back before who matters more",
     N4("n1", "", "") ON("kept", "app: db", "n1", "2", "1", "") ON("mid", "", "n1", "2", "3", "")
         PDB("b", "selector: {matchLabels: {app: db}}", "0", ""),
     NEW("2", "5", ""), "n1", "mid", NULL, 0},
    {"a budget with one left protects the second",
     N4("n1", "", "") ON("x", "app: db", "n1", "2", "2", "") ON("y", "app: db", "n1", "2", "1", "")
         PDB("b", "selector: {matchLabels: {app: db}}", "1", ""),
     NEW("2", "5", ""), "n1", "x", NULL, 0},
    {"a budget is broken when there is no other way",
     N4("n1", "", "") ON("x", "app: db", "n1", "4", "1", "")
         PDB("b", "selector: {matchLabels: {app: db}}", "0", ""),
     NEW("2", "5", ""), "n1", "x", NULL, 1},
    {"an empty selector covers nobody",
     N4("n1", "", "") ON("x", "app: db", "n1", "4", "1", "") PDB("b", "selector: {}", "0", ""),
     NEW("2", "5", ""), "n1", "x", NULL, 0},
    {"one without labels is covered by nothing",
     N4("n1", "", "") ON("x", "", "n1", "4", "1", "")
         PDB("b", "selector: {matchExpressions: [{key: a, operator: DoesNotExist}]}", "0", ""),
     NEW("2", "5", ""), "n1", "x", NULL, 0},
    {"one that is counted as gone already",
     N4("n1", "", "") ON("x", "app: db", "n1", "4", "1", "")
         PDB("b", "selector: {matchLabels: {app: db}}", "0",
             ", disruptedPods: {x: '2026-01-01T00:00:00Z'}"),
     NEW("2", "5", ""), "n1", "x", NULL, 0},
    {"a budget of another namespace",
     N4("n1", "", "") ON("x", "app: db", "n1", "4", "1",
                         "") "---\n{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: "
                             "{name: b, namespace: "
                             "other}, spec: {selector: {matchLabels: {app: db}}}}\n",
     NEW("2", "5", ""), "n1", "x", NULL, 0},
    /* --- which node --- */
    {"1: fewest violations, though its victim matters more",
     N4("n1", "", "") ON("x", "app: db", "n1", "4", "1", "") N4("n2", "", "")
         ON("y", "", "n2", "4", "3", "") PDB("b", "selector: {matchLabels: {app: db}}", "0", ""),
     NEW("2", "5", ""), "n2", "y", NULL, 0},
    {"2: the lowest highest priority, though there are more of them",
     N4("n1", "", "") ON("x", "", "n1", "4", "3", "") N4("n2", "", "")
         ON("y", "", "n2", "2", "2", "") ON("z", "", "n2", "2", "2", ""),
     NEW("4", "5", ""), "n2", "y z", NULL, 0},
    {"3: the smallest sum",
     N4("n1", "", "") ON("a", "", "n1", "2", "3", "") ON("b", "", "n1", "2", "2", "")
         N4("n2", "", "") ON("c", "", "n2", "2", "3", "") ON("d", "", "n2", "2", "1", ""),
     NEW("4", "5", ""), "n2", "c d", NULL, 0},
    {"3: each counts as at least zero, so negative ones do not make up for many",
     N4("n1", "", "") ON("a", "", "n1", "2", "3", "") ON("b", "", "n1", "2", "-9", "")
         N4("n2", "", "") ON("c", "", "n2", "4", "3", ""),
     NEW("4", "5", ""), "n2", "c", NULL, 0},
    {"5: the one whose oldest is youngest",
     N4("n1", "", "") ON_SINCE("a", "", "n1", "2", "3", "", "08:00:00")
         ON_SINCE("b", "", "n1", "2", "3", "", "11:00:00") N4("n2", "", "")
             ON_SINCE("c", "", "n2", "2", "3", "", "09:00:00")
                 ON_SINCE("d", "", "n2", "2", "3", "", "10:00:00"),
     NEW("4", "5", ""), "n2", "c d", NULL, 0},
    {"5: only those of the highest priority are compared",
     N4("n1", "", "") ON_SINCE("a", "", "n1", "2", "3", "", "10:00:00")
         ON_SINCE("b", "", "n1", "2", "1", "", "01:00:00") N4("n2", "", "")
             ON_SINCE("c", "", "n2", "2", "3", "", "09:00:00")
                 ON_SINCE("d", "", "n2", "2", "1", "", "11:00:00"),
     NEW("4", "5", ""), "n1", "a b", NULL, 0},
    {"6: the first name",
     N4("n2", "", "") ON("b", "", "n2", "4", "1", "") N4("n1", "", "")
         ON("a", "", "n1", "4", "1", ""),
     NEW("4", "5", ""), "n1", "a", NULL, 0},
    /* --- who waits for victims already --- */
    {"a victim is on its way out of the nominated node",
     N4("n1", "",
        "") "---\n{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: default, "
            "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: n1, priority: 1, "
            "containers: [{name: c, resources: {requests: {cpu: '4'}}}]}, status: {conditions: "
            "[{type: DisruptionTarget, status: 'True', reason: PreemptionByScheduler}]}}\n" N4(
                "n2", "", "") ON("b", "", "n2", "4", "1", ""),
     "---\n{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: default}, spec: {priority: "
     "5, containers: [{name: c, resources: {requests: {cpu: '2'}}}]}, status: {nominatedNodeName: "
     "n1}}\n",
     NULL, NULL, " preemption: not eligible due to a terminating pod on the nominated node.", 0},
    {"one that goes for another reason does not count",
     N4("n1", "",
        "") "---\n{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: default, "
            "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: n1, priority: 1, "
            "containers: [{name: c, resources: {requests: {cpu: '4'}}}]}, status: {conditions: "
            "[{type: DisruptionTarget, status: 'True', reason: EvictionByEvictionAPI}]}}\n",
     "---\n{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: default}, spec: {priority: "
     "5, containers: [{name: c, resources: {requests: {cpu: '2'}}}]}, status: {nominatedNodeName: "
     "n1}}\n",
     "n1", "a", NULL, 0},
    {"a nominated node that is cordoned by now is forgotten",
     N4("n1", "",
        "unschedulable: true") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, "
                               "metadata: {name: a, "
                               "namespace: default, deletionTimestamp: '2026-01-01T00:00:00Z'}, "
                               "spec: {domain: {memory: "
                               "{guest: 1Gi}, devices: {}}}, status: {nodeName: n1}}\n" N4(
                                   "n2", "", "") ON("b", "", "n2", "4", "1", ""),
     "---\n{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: default}, spec: {priority: "
     "5, containers: [{name: c, resources: {requests: {cpu: '2'}}}]}, status: {nominatedNodeName: "
     "n1}}\n",
     "n2", "b", NULL, 0},
};

static void
run_row(void **state)
{
    const struct row *row = *state;
    AUTO_FREE char *yaml = xasprintf("%s%s", row->cluster, row->asks);
    AUTO_SB struct sb victims = SB_INIT;
    struct world *w = world_new(yaml);
    struct place_request rq = {.pod = w->pod, .vmi = w->pod ? NULL : w->vmi};
    struct place_result *before = place(w->cluster, &rq), *after;
    struct arena *a = arena_new();
    struct preempt_result got = preempt(w->cluster, &rq, a);

    assert_null(before->node);
    for (size_t i = 0; i < got.victims_len; i++)
        sb_printf(&victims, "%s%s", i > 0 ? " " : "", got.victims[i].name);
    if (row->node) {
        if (!got.node)
            fail_msg("does not help:%s", got.message);
        assert_string_equal(got.node, row->node);
        assert_string_equal(sb_str(&victims), row->victims);
        assert_string_equal(got.message, "");
        assert_int_equal(got.pdb_violations, row->violations);
    } else {
        if (got.node)
            fail_msg("%s instead of %s", got.node, sb_str(&victims));
        assert_string_equal(got.message, row->message);
    }
    after = place(w->cluster, &rq); /* nothing has changed */
    assert_null(after->node);
    assert_string_equal(after->message, before->message);
    place_result_free(before);
    place_result_free(after);
    arena_free(a);
    world_free(w);
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows)];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        union { /* cmocka takes a pointer to data that it does not change */
            const struct row *in;
            void *out;
        } row = {.in = &rows[i]};

        tests[i] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = run_row, .initial_state = row.out};
    }
    return cmocka_run_group_tests_name("preemption", tests, NULL, NULL);
}
