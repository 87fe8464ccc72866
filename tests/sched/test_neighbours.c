/* Affinity between VMs and topology spread, as filters: kube-scheduler 1.31's cases, and what a
 * migration changes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/sched/world.h"

#define A(labels)              NODE("a", labels, "")
#define B(labels)              NODE("b", labels, "")
#define C(labels)              NODE("c", labels, "")
#define D(labels)              NODE("d", labels, "")
#define ON(name, labels, node) VMI(name, labels, "", "", "nodeName: " node ", phase: Running")
#define ON_WITH(name, labels, spec, node) \
    VMI(name, labels, spec, "", "nodeName: " node ", phase: Running")
#define ASK(labels, spec) VMI("vm", labels, spec, "", "")
#define SELECT(app)       "labelSelector: {matchLabels: {app: " app "}}"
#define TERM(app, key)    "{topologyKey: " key ", " SELECT(app) "}"
#define NEAR(terms) \
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [" terms "]}}"
#define FAR(terms) \
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [" terms "]}}"
#define HARD(skew, key, more)               \
    "{maxSkew: " skew ", topologyKey: " key \
    ", whenUnsatisfiable: DoNotSchedule, " SELECT("web") ", " more "}"
#define SPREAD(list) "topologySpreadConstraints: [" list "]"

#define NO_NEAR      "node(s) didn't match pod affinity rules"
#define NO_FAR       "node(s) didn't match pod anti-affinity rules"
#define GUARDED      "node(s) didn't satisfy existing pods anti-affinity rules"
#define SKEWED       "node(s) didn't match pod topology spread constraints"
#define NO_KEY       SKEWED " (missing required label)"
#define NONE(n, why) "0/" #n " nodes are available: " #n " " why "."

static const struct world_row rows[] = {
    /* --- affinity --- */
    {.name = "near one that runs",
     A("host: a") B("host: b") ON("db", "app: db", "b"),
     ASK("", NEAR(TERM("db", "host"))),
     "b",
     NULL,
     "a: " NO_NEAR},
    {.name = "nobody with the label",
     A("host: a"),
     ASK("", NEAR(TERM("db", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "the same zone will do",
     NODE("a", "zone: z, host: a", "unschedulable: true") B("zone: z, host: b") C("zone: y")
         ON("db", "app: db", "a"),
     ASK("", NEAR(TERM("db", "zone"))),
     "b",
     NULL,
     "a: node(s) were unschedulable; c: " NO_NEAR},
    {.name = "a node without the key",
     A("") ON("db", "app: db", "a"),
     ASK("", NEAR(TERM("db", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "one that has ended is no neighbour",
     A("host: a") VMI("db", "app: db", "", "", "nodeName: a, phase: Succeeded"),
     ASK("", NEAR(TERM("db", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "one that is on no node is no neighbour",
     A("host: a") VMI("db", "app: db", "", "", ""),
     ASK("", NEAR(TERM("db", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "the first of its kind",
     A("host: a"),
     ASK("app: web", NEAR(TERM("web", "host"))),
     "a"},
    {.name = "the first of its kind still needs the key",
     A(""),
     ASK("app: web", NEAR(TERM("web", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "not the first",
     A("host: a") B("host: b") ON("w1", "app: web", "b"),
     ASK("app: web", NEAR(TERM("web", "host"))),
     "b",
     NULL,
     "a: " NO_NEAR},
    {.name = "one neighbour must match all terms",
     A("host: a, zone: z") ON("x", "app: db", "a") ON("y", "app: web", "a"),
     ASK("", NEAR(TERM("db", "host") ", " TERM("web", "zone"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "namespace: its own by default",
     A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                  "{name: db, "
                  "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, status: "
                  "{nodeName: a}}\n",
     ASK("", NEAR(TERM("db", "host"))),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "namespaces",
     A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                  "{name: db, "
                  "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, status: "
                  "{nodeName: a}}\n",
     ASK("", NEAR("{topologyKey: host, namespaces: [other], " SELECT("db") "}")),
     "a"},
    {.name = "namespaceSelector by label",
     NAMESPACE("other", "team: red")
         A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                      "{name: db, "
                      "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, "
                      "status: {nodeName: a}}\n",
     ASK("", NEAR("{topologyKey: host, namespaceSelector: {matchLabels: {team: red}}, " SELECT(
                 "db") "}")),
     "a"},
    {.name = "namespaceSelector that matches another",
     NAMESPACE("other", "team: blue") NAMESPACE("default", "team: red")
         A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                      "{name: db, "
                      "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, "
                      "status: {nodeName: a}}\n",
     ASK("", NEAR("{topologyKey: host, namespaceSelector: {matchLabels: {team: red}}, " SELECT(
                 "db") "}")),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "namespaceSelector by name",
     A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                  "{name: db, "
                  "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, status: "
                  "{nodeName: a}}\n",
     ASK("", NEAR("{topologyKey: host, namespaceSelector: {matchLabels: {"
                  "kubernetes.io/metadata.name: other}}, " SELECT("db") "}")),
     "a"},
    {.name = "an empty namespaceSelector is all namespaces",
     A("host: a") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: "
                  "{name: db, "
                  "namespace: other, labels: {app: db}}, spec: {domain: {devices: {}}}, status: "
                  "{nodeName: a}}\n",
     ASK("", NEAR("{topologyKey: host, namespaceSelector: {}, " SELECT("db") "}")),
     "a"},
    {.name = "no labelSelector matches nobody",
     A("host: a") ON("db", "app: db", "a"),
     ASK("", NEAR("{topologyKey: host}")),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "an empty one matches all",
     A("host: a") ON("db", "app: db", "a"),
     ASK("", NEAR("{topologyKey: host, labelSelector: {}}")),
     "a"},
    {.name = "matchLabelKeys",
     A("host: a") B("host: b") ON("x", "app: db, rev: '1'", "a") ON("y", "app: db, rev: '2'", "b"),
     ASK("rev: '2'", NEAR("{topologyKey: host, matchLabelKeys: [rev], " SELECT("db") "}")),
     "b",
     NULL,
     "a: " NO_NEAR},
    {.name = "mismatchLabelKeys",
     A("host: a") B("host: b") ON("x", "app: db, rev: '1'", "a") ON("y", "app: db, rev: '2'", "b"),
     ASK("rev: '2'", NEAR("{topologyKey: host, mismatchLabelKeys: [rev], " SELECT("db") "}")),
     "a",
     NULL,
     "b: " NO_NEAR},

    /* --- anti-affinity --- */
    {.name = "far from one that runs",
     A("host: a") B("host: b") ON("db", "app: db", "a"),
     ASK("", FAR(TERM("db", "host"))),
     "b",
     NULL,
     "a: " NO_FAR},
    {.name = "nowhere is far enough",
     A("zone: z") B("zone: z") ON("db", "app: db", "a"),
     ASK("", FAR(TERM("db", "zone"))),
     NULL,
     NONE(2, NO_FAR)},
    {.name = "a node without the key is far",
     A("") ON("db", "app: db", "a"),
     ASK("", FAR(TERM("db", "zone"))),
     "a"},
    {.name = "any term that is broken is enough",
     A("host: a, zone: z") ON("db", "app: db", "a"),
     ASK("", FAR(TERM("web", "host") ", " TERM("db", "zone"))),
     NULL,
     NONE(1, NO_FAR)},
    {.name = "those that run guard their place",
     A("host: a") B("host: b") ON_WITH("db", "app: db", FAR(TERM("web", "host")), "a"),
     ASK("app: web", ""),
     "b",
     NULL,
     "a: " GUARDED},
    {.name = "their zone, too",
     A("zone: z") B("zone: z") C("zone: y") ON_WITH("db", "app: db", FAR(TERM("web", "zone")), "a"),
     ASK("app: web", ""),
     "c",
     NULL,
     "a: " GUARDED "; b: " GUARDED},
    {.name = "but not against others",
     A("host: a") ON_WITH("db", "app: db", FAR(TERM("web", "host")), "a"),
     ASK("app: mail", ""),
     "a"},
    {.name = "affinity is reported before anti-affinity",
     A("host: a") ON("db", "app: db", "a"),
     ASK("", "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [" TERM(
                 "none", "host") "]}, podAntiAffinity: {"
                                 "requiredDuringSchedulingIgnoredDuringExecution: [" TERM(
                                     "db", "host") "]}}"),
     NULL,
     NONE(1, NO_NEAR)},
    {.name = "the documents' example: the only candidate also has the one to avoid",
     A("kubernetes.io/hostname: a") B("kubernetes.io/hostname: b") ON(
         "x", "example-key-1: example-value-1", "a") ON("y", "example-key-2: example-value-2", "a"),
     ASK("", "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{"
             "labelSelector: {matchExpressions: [{key: example-key-1, operator: In, values: ["
             "example-value-1]}]}, topologyKey: kubernetes.io/hostname}]}, podAntiAffinity: {"
             "preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: {"
             "labelSelector: {matchExpressions: [{key: example-key-2, operator: In, values: ["
             "example-value-2]}]}, topologyKey: kubernetes.io/hostname}}]}}"),
     "a",
     NULL,
     "b: " NO_NEAR},

    /* --- a VM that migrates is no neighbour of itself --- */
    {.name = "keeps away from its like, in the zone it leaves",
     A("zone: z") B("zone: z"),
     ON_WITH("vm", "app: web", FAR(TERM("web", "zone")), "a"),
     "b",
     NULL,
     NULL,
     .migrate = true},
    {.name = "keeps away from others of its kind",
     A("host: a") B("host: b") C("host: c")
         ON_WITH("other", "app: web", FAR(TERM("web", "host")), "b"),
     ON_WITH("vm", "app: web", FAR(TERM("web", "host")), "a"),
     "c",
     NULL,
     "a: node(s) were the source of the migration; b: " NO_FAR,
     .migrate = true},
    {.name = "near its like, and it is the only one",
     A("host: a") B("host: b"),
     ON_WITH("vm", "app: web", NEAR(TERM("web", "host")), "a"),
     "b",
     NULL,
     NULL,
     .migrate = true},

    /* --- spread --- */
    {.name = "the emptier zone",
     A("zone: z1") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     "b",
     NULL,
     "a: " SKEWED},
    {.name = "a skew of two lets it stay",
     A("zone: z1") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("2", "zone", ""))),
     "a",
     NULL,
     ""},
    {.name = "one that does not count itself",
     A("zone: z1") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: db", SPREAD(HARD("1", "zone", ""))),
     "a",
     NULL,
     ""},
    {.name = "a node without the key",
     A("zone: z1") B(""),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     "a",
     NULL,
     "b: " NO_KEY},
    {.name = "no node with the key",
     A(""),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     NULL,
     NONE(1, NO_KEY)},
    {.name = "nodes that lack one of the keys do not count at all",
     A("zone: z1, host: a") B("zone: z2") C("zone: z1, host: c") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", "") ", " HARD("1", "host", ""))),
     "c",
     NULL,
     "a: " SKEWED "; b: " NO_KEY},
    {.name = "a cordoned empty zone pins the minimum",
     A("zone: z1") NODE("b", "zone: z2", "unschedulable: true") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     NULL,
     "0/2 nodes are available: 1 " SKEWED ", 1 node(s) were unschedulable."},
    {.name = "a tainted one does, too",
     A("zone: z1") NODE("b", "zone: z2", "taints: [{key: k, effect: NoSchedule}]")
         ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     NULL,
     "0/2 nodes are available: 1 " SKEWED ", 1 node(s) had untolerated taint {k: }."},
    {.name = "unless taints are honoured",
     A("zone: z1") NODE("b", "zone: z2", "taints: [{key: k, effect: NoSchedule}]")
         ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", "nodeTaintsPolicy: Honor"))),
     "a"},
    {.name = "zones that node affinity excludes do not count",
     A("zone: z1, disk: ssd") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: web", "nodeSelector: {disk: ssd}, " SPREAD(HARD("1", "zone", ""))),
     "a"},
    {.name = "unless affinity is ignored",
     A("zone: z1, disk: ssd") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: web",
         "nodeSelector: {disk: ssd}, " SPREAD(HARD("1", "zone", "nodeAffinityPolicy: Ignore"))),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 " SKEWED "."},
    {.name = "zones whose CPUs cannot run it do not count",
     A("zone: z1, cpu-model.node.kubevirt.io/EPYC: 'true'") B("zone: z2") ON("w", "app: web", "a"),
     VMI("vm", "app: web", SPREAD(HARD("1", "zone", "")), "cpu: {model: EPYC}", ""),
     "a"},
    {.name = "zones whose handlers are not heard do not count",
     A("zone: z1") B("zone: z2, kubevirt.io/schedulable: 'false'") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     "a",
     NULL,
     "b: node(s) didn't have label kubevirt.io/schedulable=true"},
    {.name = "too few domains: the minimum is zero",
     A("zone: z1") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", "minDomains: 2"))),
     NULL,
     NONE(1, SKEWED)},
    {.name = "enough domains",
     A("zone: z1") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", "minDomains: 1"))),
     "a"},
    {.name = "one that is being deleted does not count",
     A("zone: z1") B("zone: z2") "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, "
                                 "metadata: {name: w, "
                                 "namespace: default, labels: {app: web}, deletionTimestamp: "
                                 "'2026-01-01T00:00:00Z'}, spec: {"
                                 "domain: {devices: {}}}, status: {nodeName: a, phase: Running}}\n",
     ASK("app: web", SPREAD(HARD("1", "zone", ""))),
     "a",
     NULL,
     ""},
    {.name = "matchLabelKeys",
     A("zone: z1") B("zone: z2") ON("w", "app: web, rev: '1'", "a"),
     ASK("app: web, rev: '2'", SPREAD(HARD("1", "zone", "matchLabelKeys: [rev]"))),
     "a",
     NULL,
     ""},
    {.name = "no labelSelector counts nobody",
     A("zone: z1") B("zone: z2") ON("w", "app: web", "a"),
     ASK("app: web", SPREAD("{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}")),
     "a",
     NULL,
     ""},
    {.name = "keys without a selector are one",
     A("zone: z1") B("zone: z2") ON("w", "app: web, rev: '1'", "a") ON("v", "rev: '2'", "b"),
     ASK("app: web, rev: '1'",
         SPREAD("{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, matchLabelKeys: "
                "[rev]}")),
     "b",
     NULL,
     "a: " SKEWED},
    {.name = "the first constraint that is broken gives the reason",
     A("zone: z1, host: a") B("zone: z2, host: b") C("zone: z1") D("host: d")
         ON("w", "app: web", "a"),
     ASK("app: web", SPREAD(HARD("1", "zone", "") ", " HARD("9", "host", ""))),
     "b",
     NULL,
     "a: " SKEWED "; c: " SKEWED "; d: " NO_KEY},
    {.name = "what migrates does not count where it is",
     A("zone: z1") NODE("a2", "zone: z1", "") B("zone: z2") ON("w", "app: web", "b"),
     ON_WITH("vm", "app: web", SPREAD(HARD("1", "zone", "")), "a"),
     "a2",
     NULL,
     "a: node(s) were the source of the migration; b: " SKEWED,
     .migrate = true},
};

int
main(void)
{
    return world_run("neighbours", rows, sizeof(rows) / sizeof(rows[0]));
}
