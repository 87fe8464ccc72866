/* The nearest miss: which node lacks least, and the sentence that says what would have to change; and the
 * explanation of each node, all rules that fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "api/quantity.h"
#include "base/sb.h"
#include "sched/nearest.h"
#include "tests/sched/world.h"

#define SMALL(name, labels, spec) NODE_WITH(name, labels, spec, "cpu: '4', memory: 1Gi, pods: '9'")
#define VM(spec)                  VMI("vm", "app: db", spec, "", "")
#define ANTI                                                                        \
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: " \
    "[{labelSelector: {matchLabels: {app: db}}, topologyKey: host}]}}"
#define NEAR                                                                                \
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "             \
    "[{labelSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}, " \
    "topologyKey: host}]}}"
#define NODES_IN(term)                                                           \
    "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: " \
    "{nodeSelectorTerms: [" term "]}}}"

struct row {
    const char *name;
    const char *cluster, *asks;
    const char *node;   /* NULL: none can be named */
    const char *change; /* the whole of it */
    const char *whys; /* "n1: RULE: WANTED | HAS; ..." of the unfit nodes, or NULL: not looked at */
    bool migrate, force;
    const char *target;
};

static const struct row rows[] = {
    {.name = "a cordon is cheaper than room",
     SMALL("n1", "", "") NODE("n2", "", "unschedulable: true"),
     VM(""),
     "n2",
     "n2 would do: uncordon n2",
     "n1: NodeResourcesFit: 1269Mi memory | 1Gi free of 1Gi; n2: NodeUnschedulable: a node that "
     "takes VMs | a cordon"},
    {.name = "all rules that fail count, not only the first",
     SMALL("n1", "", "unschedulable: true")
         NODE("n2", "", "taints: [{key: k, value: v, effect: NoSchedule}]"),
     VM(""),
     "n2",
     "n2 would do: tolerate k=v:NoSchedule or take that taint from n2"},
    {.name = "two changes",
     NODE("n1", "", "unschedulable: true, taints: [{key: k, effect: NoExecute}]"),
     VM(""),
     "n1",
     "n1 would do: uncordon n1, and tolerate k:NoExecute or take that taint from n1",
     "n1: NodeUnschedulable: a node that takes VMs | a cordon, TaintToleration: no taint "
     "k:NoExecute, or a toleration for it | taint k:NoExecute"},
    {.name = "of equals the first name",
     NODE("n2", "", "unschedulable: true") NODE("n1", "", "unschedulable: true"),
     VM(""),
     "n1",
     "n1 would do: uncordon n1"},
    {.name = "room: the node that lacks least",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 1300Mi, pods: '9'")
         NODE_WITH("n2", "", "", "cpu: '4', memory: 2Gi, pods: '9'") VMI(
             "a", "", "", "resources: {requests: {memory: 800Mi}}", "nodeName: n1, phase: Running")
             VMI("b", "", "", "resources: {requests: {memory: 600Mi}}",
                 "nodeName: n2, phase: Running"),
     VM(""),
     "n2",
     "n2 would do: free 65Mi more memory on n2, or ask for less"},
    {.name = "a node that is too small when it is empty",
     SMALL("n1", "", ""),
     VM(""),
     "n1",
     "n1 would do: ask for at most 1Gi memory, all that n1 has",
     "n1: NodeResourcesFit: 1269Mi memory | 1Gi free of 1Gi"},
    {.name = "a device that the node does not have",
     NODE("n1", "", ""),
     VMI_DOMAIN("memory: {guest: 1Gi}, devices: {gpus: [{name: g, deviceName: nvidia.com/T4}]}"),
     "n1",
     "n1 would do: give n1 some nvidia.com/T4",
     "n1: NodeResourcesFit: 1 nvidia.com/T4 | 0 free of 0"},
    {.name = "a label",
     NODE("n1", "disk: hdd", ""),
     VM("nodeSelector: {disk: ssd}"),
     "n1",
     "n1 would do: label n1 disk=ssd",
     "n1: NodeAffinity: disk=ssd (its node selector or affinity) | disk=hdd"},
    {.name = "of ORed terms the one that is nearest",
     NODE("n1", "zone: c, cpus: '4'", ""),
     VM(NODES_IN(
         "{matchExpressions: [{key: zone, operator: In, values: [a]}, {key: cpus, operator: "
         "Gt, values: ['8']}]}, {matchExpressions: [{key: cpus, operator: Gt, values: "
         "['8']}, {key: zone, operator: Exists}]}")),
     "n1",
     "n1 would do: label n1 with cpus above 8",
     "n1: NodeAffinity: cpus above 8 (its node selector or affinity) | cpus=4"},
    {.name = "a term that matches nothing",
     NODE("n1", "", ""),
     VM(NODES_IN("{}")),
     "n1",
     "n1 would do: correct the required node affinity",
     "n1: NodeAffinity: its node selector or affinity: a required term that can match | terms that "
     "are all empty or not valid"},
    {.name = "a node by another name cannot be named",
     NODE("n1", "", ""),
     VM(NODES_IN("{matchFields: [{key: metadata.name, operator: In, values: [n9]}]}")),
     NULL,
     "",
     "n1: NodeAffinity: node n9, by name | the name n1, NodeAffinity: the node's name in (n9) (its "
     "node selector or affinity) | the name n1"},
    {.name = "a neighbour in the way, by name",
     NODE("n1", "host: n1", "") VMI("other", "app: db", "", "", "nodeName: n1, phase: Running"),
     VM(ANTI),
     "n1",
     "n1 would do: move default/other out of host=n1",
     "n1: InterPodAffinity: no VM with app=db in the same host | default/other in host=n1"},
    {.name = "a neighbour that keeps away",
     NODE("n1", "host: n1", "") VMI("other", "", ANTI, "", "nodeName: n1, phase: Running"),
     VM(""),
     "n1",
     "n1 would do: move default/other out of host=n1",
     "n1: InterPodAffinity: no VM in the same host that keeps away from it | default/other in "
     "host=n1 keeps away from VMs with app=db"},
    {.name = "a neighbour that is missing",
     NODE("n1", "host: n1", ""),
     VM(NEAR),
     "n1",
     "n1 would do: start one with app in (web, api) in host=n1",
     "n1: InterPodAffinity: a VM with app in (web, api) in the same host | none in host=n1"},
    {.name = "spread",
     NODE("n1", "zone: a", "") NODE("n2", "zone: b", "unschedulable: true")
         VMI("other", "app: db", "", "", "nodeName: n1, phase: Running"),
     VM("topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
        "DoNotSchedule, labelSelector: {matchLabels: {app: db}}}]"),
     "n2",
     "n2 would do: uncordon n2",
     "n1: PodTopologySpread: VMs with app=db spread over zone with a skew of at most 1 | 1 of them "
     "in zone=a, 0 where they are fewest; n2: NodeUnschedulable: a node that takes VMs | a cordon"},
    {.name = "CPU model",
     NODE("n1", "cpu-model.node.kubevirt.io/Penryn: 'true'", ""),
     VMI("vm", "", "", "cpu: {model: EPYC, features: [{name: aes}]}", ""),
     "n1",
     "n1 would do: ask for a CPU model that n1 has, and do without CPU feature aes",
     "n1: CPU: CPU model EPYC | Penryn, CPU: CPU feature aes that it requires | no label of it"},
    {.name = "another vendor is never near",
     NODE("src", "cpu-vendor.node.kubevirt.io/Intel: 'true'", "") NODE(
         "n1", "cpu-vendor.node.kubevirt.io/AMD: 'true', cpu-model.node.kubevirt.io/Penryn: 'true'",
         ""),
     VMI("vm", "", "", "cpu: {model: Penryn}", "nodeName: src, phase: Running"),
     NULL,
     "",
     .migrate = true},
    {.name = "an explicit target is the only one that is looked at",
     NODE("src", "", "") NODE("n1", "", "unschedulable: true")
         NODE("n2", "", "taints: [{key: k, effect: NoSchedule}]"),
     VMI("vm", "", "", "", "nodeName: src, phase: Running"),
     "n2",
     "n2 would do: tolerate k:NoSchedule or take that taint from n2",
     .migrate = true,
     .target = "n2"},
    {.name = "a forced target overrides rules, but not room",
     NODE("src", "", "") SMALL("n2", "", "unschedulable: true"),
     VMI("vm", "", "nodeSelector: {a: b}", "", "nodeName: src, phase: Running"),
     "n2",
     "n2 would do: ask for at most 1Gi memory, all that n2 has",
     .migrate = true,
     .force = true,
     .target = "n2"},
    {.name = "nor the source",
     NODE("src", "", ""),
     VMI("vm", "", "", "", "nodeName: src, phase: Running"),
     NULL,
     "",
     "src: Source: another node than the one it leaves | the VM itself",
     .migrate = true,
     .force = true,
     .target = "src"},
    {.name = "a claim that is not there",
     NODE("n1", "", "") "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, "
                        "namespace: default}, spec: {accessModes: [ReadWriteOnce]}}\n",
     VM("volumes: [{name: d, persistentVolumeClaim: {claimName: x}}]"),
     NULL,
     "no node can do: persistentvolumeclaim \"x\" not found"},
    {.name = "no nodes", "", VM(""), NULL, ""},
};

static char *
whys_of(const struct place_result *r)
{
    AUTO_SB struct sb text = SB_INIT;

    for (size_t i = 0; i < r->nodes_len; i++) {
        const struct place_node *n = &r->nodes[i];

        if (n->fits)
            continue;
        sb_printf(&text, "%s%s: ", text.len > 0 ? "; " : "", n->name);
        for (size_t k = 0; k < n->whys_len; k++)
            sb_printf(&text, "%s%s: %s | %s", k > 0 ? ", " : "", n->whys[k].rule, n->whys[k].wanted,
                      n->whys[k].has);
    }
    return sb_steal(&text);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        AUTO_FREE char *yaml = xasprintf("%s%s", row->cluster, row->asks);
        struct world *w = world_new(yaml);
        struct place_request rq = {.vmi = w->vmi,
                                   .purpose = row->migrate ? PLACE_MIGRATE : PLACE_START,
                                   .target = row->target,
                                   .force = row->force};
        struct place_result *r = place(w->cluster, &rq);
        struct nearest near;
        AUTO_FREE char *whys = NULL;

        if (r->node)
            fail_msg("%s: placed on %s", row->name, r->node);
        place_explain(w->cluster, &rq, r, SIZE_MAX);
        near = nearest_miss(w->cluster, &rq, r, w->arena);
        whys = whys_of(r);
        if (strcmp(near.change, row->change) != 0 ||
            strcmp(near.node ? near.node : "-", row->node ? row->node : "-") != 0 ||
            (row->whys && strcmp(whys, row->whys) != 0))
            fail_msg("%s:\n%s: %s\n%s", row->name, near.node ? near.node : "-", near.change, whys);
        place_result_free(r);
        world_free(w);
    }
}

/* Cordon, taint, selector and anti-affinity are wishes: a target that is forced by name overrides them. */
static void
test_forced_target_takes_people_s_rules(void **state)
{
    struct world *w = world_new(NODE("src", "", "") NODE(
        "n1", "host: n1", "unschedulable: true, taints: [{key: k, effect: NoSchedule}]")
                                    VMI("other", "app: db", "", "", "nodeName: n1, phase: Running")
                                        VMI("vm", "app: db", "nodeSelector: {a: b}, " ANTI, "",
                                            "nodeName: src, phase: Running"));
    struct place_request rq = {
        .vmi = w->vmi, .purpose = PLACE_MIGRATE, .target = "n1", .force = false};
    struct place_result *r = place(w->cluster, &rq);

    (void)state;
    assert_null(r->node);
    place_result_free(r);
    rq.force = true;
    r = place(w->cluster, &rq);
    assert_string_equal(r->node, "n1");
    place_result_free(r);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_forced_target_takes_people_s_rules),
    };

    return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}
