/* kube-scheduler 1.31's podtopologyspread plugin: inputs and outcomes of its tests. Pods are written as
 * "three foo on a"; a node that its tests call failed is cordoned here. */
#include "base/sb.h"
#include "tests/sched/upstream.h"

#define LABELLED(name, labels, spec) POD(name, labels, spec, "cpu: 0, memory: '0'")
#define ON(name, labels, node)       LABELLED(name, labels, "nodeName: " node)
#define F1(n)                        ON(n "1", "foo: ''", n)
#define F2(n)                        F1(n) ON(n "2", "foo: ''", n)
#define F3(n)                        F2(n) ON(n "3", "foo: ''", n)
#define F4(n)                        F3(n) ON(n "4", "foo: ''", n)
#define SELECT(key)                  "labelSelector: {matchExpressions: [{key: " key ", operator: Exists}]}"
#define RULE(skew, key, action, rest) \
    "{maxSkew: " skew ", topologyKey: " key ", whenUnsatisfiable: " action ", " rest "}"
#define HARD(skew, key, rest) RULE(skew, key, "DoNotSchedule", rest)
#define SOFT(skew, key, rest) RULE(skew, key, "ScheduleAnyway", rest)
#define FOO                   SELECT("foo")
#define BAR                   SELECT("bar")
#define ASK_AS(labels, rules) LABELLED("p", labels, "topologySpreadConstraints: [" rules "]")
#define ASK(rules)            ASK_AS("foo: ''", rules)
#define ASK_MORE(spec, rules) \
    LABELLED("p", "foo: ''", spec ", topologySpreadConstraints: [" rules "]")
#define N(name, zone) NODE(name, "zone: " zone ", node: " name, "")
#define FOUR          N("a", "z1") N("b", "z1") N("x", "z2") N("y", "z2")
#define SKEW          "node(s) didn't match pod topology spread constraints"
#define LACKS         SKEW " (missing required label)"

static const struct upstream_row hard_rows[] = {
    {.name = "nobody there", FOUR, ASK(HARD("1", "zone", FOO)), "a b x y"},
    {.name = "nobody that matches",
     FOUR ON("q", "bar: ''", "a"),
     ASK(HARD("1", "zone", FOO)),
     "a b x y"},
    {.name = "zones 3 and 3",
     FOUR F2("a") F1("b") F2("x") F1("y"),
     ASK(HARD("1", "zone", FOO)),
     "a b x y"},
    {.name = "zones 3 and 1",
     FOUR F2("a") F1("b") F1("y"),
     ASK(HARD("1", "zone", FOO)),
     "x y",
     "a: " SKEW "; b: " SKEW},
    {.name = "hosts 2, 1, 0, 3",
     FOUR F2("a") F1("b") F3("y"),
     ASK(HARD("1", "node", FOO)),
     "x",
     "a: " SKEW "; b: " SKEW "; y: " SKEW},
    {.name = "hosts 2, 1, 0, 3, a skew of two",
     FOUR F2("a") F1("b") F3("y"),
     ASK(HARD("2", "node", FOO)),
     "b x"},
    {.name = "hosts 2, 1, 0, 3, and it does not match itself",
     FOUR F2("a") F1("b") F3("y"),
     ASK_AS("bar: ''", HARD("1", "node", FOO)),
     "b x"},
    {.name = "a fifth zone without the key",
     FOUR NODE("n", "node: n", "") F1("a") F1("x"),
     ASK(HARD("1", "zone", FOO)),
     "a b x y",
     "n: " LACKS},
    {.name = "those on nodes without the key do not count",
     N("a", "z1") N("x", "z2") NODE("n", "node: n", "") F1("a") F3("n"),
     ASK(HARD("1", "zone", FOO)),
     "x",
     "a: " SKEW "; n: " LACKS},
    {.name = "no node has the key",
     FOUR F1("a"),
     ASK(HARD("1", "rack", FOO)),
     "",
     "a: " LACKS "; b: " LACKS "; x: " LACKS "; y: " LACKS},
    {.name = "a null selector selects nobody",
     FOUR F3("a"),
     ASK(HARD("1", "zone", "minDomains: 1")),
     "a b x y"},
    {.name = "zone and host, both hold on one",
     FOUR F2("a") F1("b") F3("y"),
     ASK(HARD("1", "zone", FOO) ", " HARD("1", "node", FOO)),
     "x"},
    {.name = "zone and host, no node holds both",
     FOUR F2("a") F1("b") F2("x") F2("y"),
     ASK(HARD("1", "zone", FOO) ", " HARD("1", "node", FOO)),
     "b",
     "a: " SKEW "; x: " SKEW "; y: " SKEW},
    {.name = "zone and host, none fits",
     FOUR F2("a") F1("b") F4("y"),
     ASK(HARD("1", "zone", FOO) ", " HARD("1", "node", SELECT("foo"))),
     ""},
    {.name = "two selectors",
     FOUR ON("q", "foo: '', bar: ''", "a") ON("r", "bar: ''", "y"),
     ASK_AS("foo: '', bar: ''", HARD("1", "zone", FOO) ", " HARD("1", "node", BAR)),
     "x",
     "a: " SKEW "; b: " SKEW "; y: " SKEW},
    {.name = "two selectors that leave nothing",
     N("a", "z1") N("x", "z2") ON("q", "foo: ''", "a") ON("r", "bar: ''", "x"),
     ASK_AS("foo: '', bar: ''", HARD("1", "zone", FOO) ", " HARD("1", "node", BAR)),
     "",
     "a: " SKEW "; x: " SKEW},
    {.name = "the first constraint that fails is the one that is told",
     N("a", "z1") NODE("b", "zone: z1", "") N("x", "z2") F2("a"),
     ASK(HARD("1", "zone", FOO) ", " HARD("5", "node", FOO)),
     "x",
     "a: " SKEW "; b: " SKEW},
    {.name = "and in the other order it is the missing key",
     N("a", "z1") NODE("b", "zone: z1", "") N("x", "z2") F2("a"),
     ASK(HARD("5", "node", FOO) ", " HARD("1", "zone", FOO)),
     "x",
     "a: " SKEW "; b: " LACKS},
    {.name = "other namespaces do not count",
     N("a", "z1") N("x", "z2") F1("x") "---\n{apiVersion: v1, kind: Pod, metadata: {name: q, "
                                       "namespace: ns1, labels: {foo: ''}}, spec: "
                                       "{nodeName: a, containers: [{name: c}]}}\n",
     ASK(HARD("1", "zone", FOO)),
     "a"},
    {.name = "those that end do not count",
     N("a", "z1") N("x", "z2") F1("x") "---\n{apiVersion: v1, kind: Pod, metadata: {name: q, "
                                       "namespace: default, labels: {foo: ''}, "
                                       "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: "
                                       "{nodeName: a, containers: [{name: c}]}}\n",
     ASK(HARD("1", "zone", FOO)),
     "a"},
    {.name = "a zone outside its node selector does not count",
     FOUR NODE("o", "zone: z3, node: o, old: ''", "") F2("a") F1("x"),
     ASK_MORE("affinity: {nodeAffinity: {" REQUIRED
              ": {nodeSelectorTerms: [{matchExpressions: [{key: old, "
              "operator: DoesNotExist}]}]}}}",
              HARD("1", "zone", FOO)),
     "x y"},
    {.name = "a zone outside its node selector counts where the policy ignores it",
     FOUR NODE("o", "zone: z3, node: o, old: ''", "") F2("a") F1("x"),
     ASK_MORE("affinity: {nodeAffinity: {" REQUIRED
              ": {nodeSelectorTerms: [{matchExpressions: [{key: old, "
              "operator: DoesNotExist}]}]}}}",
              HARD("1", "zone", FOO ", nodeAffinityPolicy: Ignore")),
     ""},
    {.name = "an empty tainted zone holds the others down",
     N("a", "z1") N("x", "z2")
         NODE("t", "zone: z3, node: t", "taints: [{key: k, effect: NoSchedule}]") F1("a") F1("x"),
     ASK(HARD("1", "zone", FOO)),
     "",
     "a: " SKEW "; x: " SKEW "; t: node(s) had untolerated taint {k: }"},
    {.name = "unless the policy honours taints",
     N("a", "z1") N("x", "z2")
         NODE("t", "zone: z3, node: t", "taints: [{key: k, effect: NoSchedule}]") F1("a") F1("x"),
     ASK(HARD("1", "zone", FOO ", nodeTaintsPolicy: Honor")),
     "a x"},
    {.name = "a tolerated taint is honoured, too",
     N("a", "z1") NODE("t", "zone: z3, node: t", "taints: [{key: k, effect: NoSchedule}]") F1("a"),
     ASK_MORE("tolerations: [{key: k, operator: Exists}]",
              HARD("1", "zone", FOO ", nodeTaintsPolicy: Honor")),
     "t"},
    {.name = "a cordoned empty zone holds the others down",
     N("a", "z1") NODE("t", "zone: z2, node: t", "unschedulable: true") F1("a"),
     ASK(HARD("1", "zone", FOO)),
     ""},
    {.name = "minDomains: too few domains count as an empty one",
     N("a", "z1") N("b", "z2") N("c", "z3") F2("a") F2("b") F2("c"),
     ASK(HARD("2", "zone", FOO ", minDomains: 4")),
     "",
     "a: " SKEW "; b: " SKEW "; c: " SKEW},
    {.name = "minDomains: as many as there are",
     N("a", "z1") N("b", "z2") N("c", "z3") F2("a") F2("b") F2("c"),
     ASK(HARD("2", "zone", FOO ", minDomains: 3")),
     "a b c"},
    {.name = "minDomains: fewer than there are",
     N("a", "z1") N("b", "z2") F2("a") F2("b"),
     ASK(HARD("2", "zone", FOO ", minDomains: 1")),
     "a b"},
    {.name = "minDomains on hosts",
     N("a", "z1") N("b", "z1") F1("a"),
     ASK(HARD("1", "node", FOO ", minDomains: 3")),
     "b",
     "a: " SKEW},
    {.name = "matchLabelKeys: only its own revision counts",
     N("a", "z1") N("x", "z2") ON("q", "foo: '', rev: '1'", "a") ON("r", "foo: '', rev: '2'", "x"),
     ASK_AS("foo: '', rev: '1'", HARD("1", "zone", FOO ", matchLabelKeys: [rev]")),
     "x",
     "a: " SKEW},
    {.name = "matchLabelKeys that it has not are passed over",
     N("a", "z1") N("x", "z2") F1("a"),
     ASK(HARD("1", "zone", FOO ", matchLabelKeys: [rev]")),
     "x"},
    {.name = "matchLabelKeys under an empty selector",
     N("a", "z1") N("x", "z2") F1("a"),
     ASK(HARD("1", "zone", "labelSelector: {}, matchLabelKeys: [foo]")),
     "x"},
    {.name = "an empty selector counts nobody, yet matches itself",
     N("a", "z1") N("x", "z2") F4("a"),
     ASK(HARD("1", "zone", "labelSelector: {}")),
     "a x"},
    {.name = "soft constraints do not filter",
     FOUR F4("a"),
     ASK(SOFT("1", "zone", FOO)),
     "a b x y"},
};

#define HOST(name)      NODE(name, "kubernetes.io/hostname: " name, "")
#define HZ(name, zone)  NODE(name, "kubernetes.io/hostname: " name ", zone: " zone, "")
#define FAILED_HZ(n, z) NODE(n, "kubernetes.io/hostname: " n ", zone: " z, "unschedulable: true")
#define HOSTS           HOST("a") HOST("b") HOST("c") HOST("d")
#define BY_HOST(skew)   SOFT(skew, "kubernetes.io/hostname", FOO)
#define BY_ZONE         SOFT("1", "zone", FOO)
#define HOST_BAR        SOFT("1", "kubernetes.io/hostname", BAR)
#define PLUGIN          "PodTopologySpread"

static const struct upstream_row soft_rows[] = {
    {.name = "one on each",
     HOST("a") HOST("b") F1("a") F1("b"),
     ASK(BY_HOST("1")),
     "a=100 b=100",
     NULL,
     PLUGIN},
    {.name = "hosts 2, 1, 0, 3",
     HOSTS F2("a") F1("b") F3("d"),
     ASK(BY_HOST("1")),
     "a=20 b=60 c=100 d=0",
     NULL,
     PLUGIN},
    {.name = "a null selector",
     HOSTS F2("a") F1("b") F3("d"),
     ASK(SOFT("1", "kubernetes.io/hostname", "nodeTaintsPolicy: Ignore")),
     "a=100 b=100 c=100 d=100",
     NULL,
     PLUGIN},
    {.name = "hosts 2, 1, 0, 3, a skew of two",
     HOSTS F2("a") F1("b") F3("d"),
     ASK(BY_HOST("2")),
     "a=33 b=66 c=100 d=16",
     NULL,
     PLUGIN},
    {.name = "hosts 4, 3, 2, 1, a skew of three",
     HOSTS F4("a") F3("b") F2("c") F1("d"),
     ASK(BY_HOST("3")),
     "a=44 b=66 c=77 d=100",
     NULL,
     PLUGIN},
    {.name = "hosts 4, 2, 1 and one that does not fit",
     HOST("a") HOST("b") HOST("x") NODE("y", "kubernetes.io/hostname: y", "unschedulable: true")
         F4("a") F2("b") F1("x") F3("y"),
     ASK(BY_HOST("1")),
     "a=33 b=83 x=100",
     NULL,
     PLUGIN},
    {.name = "a host without the key scores nothing and is no extreme",
     HOST("a") NODE("b", "n: b", "") HOST("x") NODE(
         "y", "kubernetes.io/hostname: y", "unschedulable: true") F4("a") F2("b") F1("x") F3("y"),
     ASK(BY_HOST("1")),
     "a=16 b=0 x=100",
     NULL,
     PLUGIN},
    {.name = "zones, one of the nodes does not fit, its pods count",
     HZ("a", "z1") HZ("b", "z1") HZ("x", "z2") FAILED_HZ("y", "z2") F4("a") F2("b") F1("x") F3("y"),
     ASK(BY_ZONE),
     "a=75 b=75 x=100",
     NULL,
     PLUGIN},
    {.name = "zones and hosts, two of four fit",
     HZ("a", "z1") FAILED_HZ("b", "z1") HZ("x", "z2") FAILED_HZ("y", "z2") F2("a") F1("b") F2("x")
         F4("y"),
     ASK(BY_ZONE ", " BY_HOST("1")),
     "a=100 x=63",
     NULL,
     PLUGIN},
    {.name = "two constraints on zones",
     NODE("a", "zone: z1", "") NODE("b", "zone: z1", "unschedulable: true")
         NODE("x", "zone: z2", "") NODE("y", "zone: z2", "unschedulable: true")
             ON("a1", "foo: '', bar: ''", "a") ON("a2", "foo: ''", "a")
                 ON("b1", "foo: '', bar: ''", "b") ON("y1", "foo: ''", "y")
                     ON("y2", "foo: '', bar: ''", "y") ON("y3", "foo: ''", "y"),
     ASK_AS("foo: '', bar: ''", BY_ZONE ", " SOFT("1", "zone", BAR)),
     "a=85 x=100",
     NULL,
     PLUGIN},
    {.name = "zones by one label, hosts by another",
     HZ("a", "z1") HZ("b", "z1") HZ("x", "z2") HZ("y", "z2") ON("a1", "foo: ''", "a")
         ON("b1", "foo: '', bar: ''", "b") ON("y1", "foo: ''", "y") ON("y2", "bar: ''", "y"),
     ASK_AS("foo: '', bar: ''", BY_ZONE ", " HOST_BAR),
     "a=60 b=20 x=100 y=60",
     NULL,
     PLUGIN},
    {.name = "zones by one label, hosts by another, some with none",
     HZ("a", "z1") HZ("b", "z1") HZ("x", "z2") HZ("y", "z2") ON("b1", "bar: ''", "b")
         ON("x1", "foo: ''", "x") ON("y1", "foo: '', bar: ''", "y"),
     ASK_AS("foo: '', bar: ''", BY_ZONE ", " HOST_BAR),
     "a=100 b=60 x=40 y=0",
     NULL,
     PLUGIN},
    {.name = "zones by one label, hosts by another, three of four fit",
     HZ("a", "z1") HZ("b", "z1") HZ("x", "z2") FAILED_HZ("y", "z2") ON("a1", "foo: ''", "a")
         ON("b1", "foo: '', bar: ''", "b") ON("y1", "foo: ''", "y") ON("y2", "bar: ''", "y"),
     ASK_AS("foo: '', bar: ''", BY_ZONE ", " HOST_BAR),
     "a=50 b=25 x=100",
     NULL,
     PLUGIN},
    {.name = "other namespaces do not count",
     HOST("a") HOST("b") F1("a") F2("b") "---\n{apiVersion: v1, kind: Pod, metadata: {name: q, "
                                         "namespace: ns1, labels: {foo: ''}}, spec: "
                                         "{nodeName: a, containers: [{name: c}]}}\n",
     ASK(BY_HOST("1")),
     "a=100 b=33",
     NULL,
     PLUGIN},
    {.name = "those that end do not count",
     HOST("a") HOST("b") F1("b") "---\n{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: "
                                 "default, labels: {foo: ''}, "
                                 "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: a, "
                                 "containers: [{name: c}]}}\n",
     ASK(BY_HOST("1")),
     "a=100 b=0",
     NULL,
     PLUGIN},
    {.name = "minDomains says nothing to a soft one",
     NODE("a", "node: a", "") NODE("b", "node: b", "") NODE("c", "node: c", "") F2("a") F2("b")
         F1("c"),
     ASK(SOFT("2", "node", FOO ", minDomains: 10")),
     "a=75 b=75 c=100",
     NULL,
     PLUGIN},
    {.name = "nodes outside the selector do not count, hosts by label",
     NODE("a", "node: a, foo: ''", "") NODE("b", "node: b, foo: ''", "") NODE("c", "node: c", "")
         F2("a") F1("b") F1("c"),
     ASK_MORE("nodeSelector: {foo: ''}", SOFT("1", "node", FOO)),
     "a=33 b=100",
     NULL,
     PLUGIN},
    {.name = "a zone's members outside the selector do not count",
     NODE("a", "zone: z1, foo: ''", "") NODE("b", "zone: z1", "") NODE("c", "zone: z2, foo: ''", "")
         F1("a") F2("b") F2("c"),
     ASK_MORE("nodeSelector: {foo: ''}", BY_ZONE),
     "a=100 c=33",
     NULL,
     PLUGIN},
    {.name = "unless the policy ignores the selector",
     NODE("a", "zone: z1, foo: ''", "") NODE("b", "zone: z1", "") NODE("c", "zone: z2, foo: ''", "")
         F1("a") F2("b") F2("c"),
     ASK_MORE("nodeSelector: {foo: ''}", SOFT("1", "zone", FOO ", nodeAffinityPolicy: Ignore")),
     "a=75 c=100",
     NULL,
     PLUGIN},
    {.name = "a zone's tainted members do not count where the policy honours taints",
     NODE("a", "zone: z1", "") NODE("b", "zone: z1", "taints: [{key: k, effect: NoSchedule}]")
         NODE("c", "zone: z2", "") F1("a") F2("b") F2("c"),
     ASK(SOFT("1", "zone", FOO ", nodeTaintsPolicy: Honor")),
     "a=100 c=33",
     NULL,
     PLUGIN},
    {.name = "and do where it does not",
     NODE("a", "zone: z1", "") NODE("b", "zone: z1", "taints: [{key: k, effect: NoSchedule}]")
         NODE("c", "zone: z2", "") F1("a") F2("b") F2("c"),
     ASK(BY_ZONE),
     "a=75 c=100",
     NULL,
     PLUGIN},
    {.name = "matchLabelKeys under empty selectors",
     HZ("a", "z1") HZ("b", "z1") HZ("c", "z2") HZ("d", "z2") ON("a1", "foo: ''", "a")
         ON("b1", "foo: '', bar: ''", "b") ON("c1", "foo: ''", "c") ON("c2", "bar: ''", "c"),
     ASK_AS("foo: '', bar: ''",
            SOFT("1", "zone", "labelSelector: {}, matchLabelKeys: [foo]") ", " SOFT(
                "1", "kubernetes.io/hostname", "labelSelector: {}, matchLabelKeys: [bar]")),
     "a=60 b=20 c=60 d=100",
     NULL,
     PLUGIN},
    {.name = "matchLabelKeys beside a selector",
     HZ("a", "z1") HZ("b", "z1") HZ("c", "z2") HZ("d", "z2") ON("a1", "foo: ''", "a")
         ON("b1", "foo: '', bar: '', baz: ''", "b") ON("c1", "foo: ''", "c")
             ON("c2", "bar: ''", "c") ON("c3", "bar: '', baz: ''", "c"),
     ASK_AS("foo: '', bar: '', baz: ''",
            BY_ZONE ", " SOFT("1", "kubernetes.io/hostname", BAR ", matchLabelKeys: [baz]")),
     "a=60 b=20 c=60 d=100",
     NULL,
     PLUGIN},
    {.name = "more domains weigh more",
     NODE("a", "zone: z1, rack: r1", "") NODE("b", "zone: z1, rack: r2", "")
         NODE("c", "zone: z2, rack: r3", "") F1("a") F2("c"),
     ASK(BY_ZONE ", " SOFT("1", "rack", FOO)),
     "a=66 b=100 c=16",
     NULL,
     PLUGIN},
};

int
main(void)
{
    return upstream_run("hard spread", hard_rows, ARRAY_LEN(hard_rows)) +
           upstream_run("soft spread", soft_rows, ARRAY_LEN(soft_rows));
}
