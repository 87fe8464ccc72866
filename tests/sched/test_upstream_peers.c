/* kube-scheduler 1.31's interpodaffinity plugin: inputs and outcomes of its tests. */
#include "base/sb.h"
#include "tests/sched/upstream.h"

#define LABELLED(name, labels, spec) POD(name, labels, spec, "cpu: 0, memory: '0'")
#define ON(name, labels, node)       LABELLED(name, labels, "nodeName: " node)
#define ON_WITH(name, labels, node, affinity) \
    LABELLED(name, labels, "nodeName: " node ", affinity: {" affinity "}")
#define OTHER(ns, name, labels, node, affinity)                                  \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name ", namespace: " ns \
    ", labels: {" labels "}}, spec: {nodeName: " node ", affinity: {" affinity   \
    "}, containers: [{name: c}]}}\n"
#define ASK(labels, affinity) LABELLED("p", labels, "affinity: {" affinity "}")
#define PLAIN(labels)         LABELLED("p", labels, "restartPolicy: Always")
#define E1(k, op)             "{key: " k ", operator: " op "}"
#define E(k, op, v)           "{key: " k ", operator: " op ", values: [" v "]}"
#define T(exprs, key)         "{labelSelector: {matchExpressions: [" exprs "]}, topologyKey: " key "}"
#define T_NS(exprs, key, ns) \
    "{labelSelector: {matchExpressions: [" exprs "]}, topologyKey: " key ", " ns "}"
#define W(w, term)   "{weight: " w ", podAffinityTerm: " term "}"
#define NEAR(terms)  "podAffinity: {" REQUIRED ": [" terms "]}"
#define FAR(terms)   "podAntiAffinity: {" REQUIRED ": [" terms "]}"
#define LIKES(terms) "podAffinity: {" PREFERRED ": [" terms "]}"
#define SHUNS(terms) "podAntiAffinity: {" PREFERRED ": [" terms "]}"
#define ONE          NODE("n", "region: r1, zone: z11, node: n", "")
#define SCAN         "service: securityscan"
#define WANTED       "node(s) didn't match pod affinity rules"
#define AVOIDED      "node(s) didn't match pod anti-affinity rules"
#define GUARDED      "node(s) didn't satisfy existing pods anti-affinity rules"

static const struct upstream_row single_rows[] = {
    {.name = "nothing asked", ONE, PLAIN(""), "n"},
    {.name = "near, and nobody is there",
     ONE,
     ASK("", NEAR(T(E("service", "In", "securityscan"), "region"))),
     "",
     "n: " WANTED},
    {.name = "near, by In",
     ONE ON("x", SCAN, "n"),
     ASK("a: b", NEAR(T(E("service", "In", "securityscan, value2"), "region"))),
     "n"},
    {.name = "near, by NotIn",
     ONE ON("x", SCAN, "n"),
     ASK("a: b", NEAR(T(E("service", "NotIn", "other, value3"), "region"))),
     "n"},
    {.name = "near those of another namespace",
     ONE ON("x", SCAN, "n"),
     ASK("a: b",
         NEAR(T_NS(E("service", "In", "securityscan"), "region", "namespaces: [DiffNameSpace]"))),
     "",
     "n: " WANTED},
    {.name = "near, the label does not match",
     ONE ON("x", "service: other", "n"),
     ASK("a: b", NEAR(T(E("service", "In", "securityscan"), "region"))),
     "",
     "n: " WANTED},
    {.name = "several expressions, all hold",
     ONE ON("x", SCAN, "n"),
     ASK("a: b", NEAR(T(E1("service", "Exists") ", " E1("wrongkey", "DoesNotExist"), "region"))),
     "n"},
    {.name = "several terms, one peer matches all",
     ONE ON("x", "service: securityscan, security: s1", "n"),
     ASK("a: b", NEAR(T(E1("service", "Exists") ", " E("security", "In", "s1, s2"),
                        "region") ", " T(E("service", "In", "securityscan"), "zone"))),
     "n"},
    {.name = "one peer for each term is none for all",
     ONE ON("x", "service: securityscan", "n") ON("y", "tier: db", "n"),
     ASK("a: b", NEAR(T(E1("service", "Exists"), "region") ", " T(E1("tier", "Exists"), "zone"))),
     "",
     "n: " WANTED},
    {.name = "one expression of several fails",
     ONE ON("x", SCAN, "n"),
     ASK("a: b",
         NEAR(T(E1("service", "Exists") ", " E("service", "In", "antivirusscan"), "region"))),
     "",
     "n: " WANTED},
    {.name = "near and far, both hold",
     ONE ON("x", SCAN, "n"),
     ASK("security: s1", NEAR(T(E("service", "In", "securityscan, value2"), "region")) ", " FAR(
                             T(E("service", "In", "antivirusscan, value2"), "node"))),
     "n"},
    {.name = "near, far, and those there, all hold",
     ONE ON_WITH("x", SCAN, "n", FAR(T(E("service", "In", "antivirusscan"), "node"))),
     ASK("security: s1", NEAR(T(E("service", "In", "securityscan"), "region")) ", " FAR(
                             T(E("service", "In", "antivirusscan"), "node"))),
     "n"},
    {.name = "near holds, far does not",
     ONE ON("x", SCAN, "n"),
     ASK("security: s1", NEAR(T(E("service", "In", "securityscan"), "region")) ", " FAR(
                             T(E("service", "In", "securityscan"), "zone"))),
     "",
     "n: " AVOIDED},
    {.name = "near and far hold, those there object",
     ONE ON_WITH("x", SCAN, "n", FAR(T(E("service", "In", "securityscan"), "zone"))),
     ASK(SCAN, NEAR(T(E("service", "In", "securityscan"), "region")) ", " FAR(
                   T(E("service", "In", "antivirusscan"), "node"))),
     "",
     "n: " GUARDED},
    {.name = "it would match itself, but one is there that it does not match",
     ONE NODE("m", "", "unschedulable: true") ON("x", SCAN, "m"),
     ASK(SCAN, NEAR(T(E("service", "NotIn", "securityscan, value2"), "region"))),
     "",
     "n: " WANTED "; m: node(s) were unschedulable"},
    {.name = "those there object to one that asks for nothing",
     ONE ON_WITH("x", SCAN, "n", FAR(T(E("service", "In", "securityscan"), "zone"))),
     PLAIN(SCAN),
     "",
     "n: " GUARDED},
    {.name = "those there object to others",
     ONE ON_WITH("x", SCAN, "n", FAR(T(E("service", "NotIn", "securityscan"), "zone"))),
     PLAIN(SCAN),
     "n"},
    {.name = "its own terms object first",
     ONE ON_WITH("x", "security: s1", "n", FAR(T(E1("security", "Exists"), "zone"))),
     ASK(SCAN,
         FAR(T(E1("service", "Exists"), "region") ", " T(E1("security", "Exists"), "region"))),
     "",
     "n: " AVOIDED},
    {.name = "any of its terms is enough, in one domain",
     ONE ON_WITH("x", "security: s1", "n", FAR(T(E1("security", "Exists"), "zone"))),
     ASK(SCAN, FAR(T(E1("service", "Exists"), "zone") ", " T(E1("security", "Exists"), "zone"))),
     "",
     "n: " AVOIDED},
    {.name = "any of their terms is enough",
     ONE ON_WITH("x", SCAN, "n",
                 FAR(T(E1("service", "Exists"), "zone") ", " T(E1("security", "Exists"), "zone"))),
     ASK("security: s1", FAR(T(E1("tier", "Exists"), "zone"))),
     "",
     "n: " GUARDED},
    {.name = "terms that partly match, both ways: own terms are reported",
     ONE ON_WITH("x", "def: '', xyz: ''", "n",
                 FAR(T(E1("abc", "Exists"), "zone") ", " T(E1("def", "Exists"), "zone"))),
     ASK("abc: '', xyz: ''",
         FAR(T(E1("abc", "Exists"), "zone") ", " T(E1("def", "Exists"), "zone"))),
     "",
     "n: " AVOIDED},
    {.name = "a null selector selects nobody",
     ONE ON("x", SCAN, "n"),
     ASK(SCAN, NEAR("{topologyKey: zone}")),
     "",
     "n: " WANTED},
    {.name = "an empty selector selects everybody",
     ONE ON("x", SCAN, "n"),
     ASK("a: b", NEAR("{labelSelector: {}, topologyKey: zone}")),
     "n"},
    {.name = "far by a null selector is far from nobody",
     ONE ON("x", SCAN, "n"),
     ASK(SCAN, FAR("{topologyKey: zone}")),
     "n"},
    {.name = "far by an empty selector is far from everybody of the namespace",
     ONE ON("x", "", "n"),
     ASK(SCAN, FAR("{labelSelector: {}, topologyKey: zone}")),
     "",
     "n: " AVOIDED},
    {.name = "by namespaceSelector",
     ONE NAMESPACE("sub.team1", "team: team1") NAMESPACE("sub.team2", "team: team2")
         OTHER("sub.team1", "x", SCAN, "n", ""),
     ASK("a: b", NEAR(T_NS(E("service", "In", "securityscan"), "region",
                           "namespaceSelector: {matchLabels: {team: team1}}"))),
     "n"},
    {.name = "by namespaceSelector, of the wrong team",
     ONE NAMESPACE("sub.team1", "team: team1") NAMESPACE("sub.team2", "team: team2")
         OTHER("sub.team2", "x", SCAN, "n", ""),
     ASK("a: b", NEAR(T_NS(E("service", "In", "securityscan"), "region",
                           "namespaceSelector: {matchLabels: {team: team1}}"))),
     "",
     "n: " WANTED},
    {.name = "by namespaces or namespaceSelector",
     ONE NAMESPACE("sub.team1", "team: team1") NAMESPACE("sub.team2", "team: team2")
         OTHER("sub.team2", "x", SCAN, "n", ""),
     ASK("a: b",
         NEAR(T_NS(E("service", "In", "securityscan"), "region",
                   "namespaces: [sub.team2], namespaceSelector: {matchLabels: {team: team1}}"))),
     "n"},
    {.name = "the empty namespaceSelector means all",
     ONE OTHER("far-away", "x", SCAN, "n", ""),
     ASK("a: b", FAR(T_NS(E("service", "In", "securityscan"), "zone", "namespaceSelector: {}"))),
     "",
     "n: " AVOIDED},
    {.name = "those there object by namespaceSelector",
     ONE NAMESPACE("sub.team1", "team: team1") NAMESPACE("default", "team: team3")
         OTHER("sub.team1", "x", SCAN, "n",
               FAR(T_NS(E("service", "In", "securityscan"), "zone",
                        "namespaceSelector: {matchLabels: {team: team3}}"))),
     PLAIN(SCAN),
     "",
     "n: " GUARDED},
};

#define FOO    "foo: bar"
#define IN_FOO E("foo", "In", "bar")
#define IN_ABC E1("abc", "Exists")
#define CHINA \
    NODE("a", "region: r1", "") NODE("b", "region: r1, az: az1", "") NODE("c", "region: r2", "")

static const struct upstream_row many_rows[] = {
    {.name = "near, all nodes of the domain do",
     CHINA ON("x", FOO, "a"),
     ASK("", NEAR(T(IN_FOO, "region"))),
     "a b",
     "c: " WANTED},
    {.name = "two domains, of which one is filled",
     NODE("a", "zone: az1, hostname: h1", "") NODE("b", "zone: az2, hostname: h2", "")
         ON("x", FOO, "a"),
     ASK("", NEAR(T(IN_FOO, "zone"))),
     "a",
     "b: " WANTED},
    {.name = "the first of its kind may go anywhere with the key",
     NODE("a", "zone: az1, host: h1", "") NODE("b", "zone: az2, host: h2", ""),
     ASK("foo: bar, service: s", NEAR(T(IN_FOO, "zone") ", " T(E("service", "In", "s"), "zone"))),
     "a b"},
    {.name = "the first of its kind, one node lacks a key",
     NODE("a", "zone: az1, host: h1", "") NODE("b", "zone: az2", ""),
     ASK(FOO, NEAR(T(IN_FOO, "zone") ", " T(IN_FOO, "host"))),
     "a",
     "b: " WANTED},
    {.name = "it matches only one of its own terms: it is no first of its kind",
     CHINA,
     ASK(FOO, NEAR(T(IN_FOO, "region") ", " T(E("service", "In", "s"), "region"))),
     ""},
    {.name = "keys that no node has, though it matches itself",
     CHINA,
     ASK(FOO, NEAR(T(IN_FOO, "invalid"))),
     ""},
    {.name = "far, in the whole region",
     CHINA ON("x", "foo: abc", "a"),
     ASK("foo: '123'", FAR(T(E("foo", "In", "abc"), "region"))),
     "c",
     "a: " AVOIDED "; b: " AVOIDED},
    {.name = "far from itself only, where none is",
     CHINA,
     ASK(FOO, FAR(T(IN_FOO, "region"))),
     "a b c"},
    {.name = "near and far at once",
     NODE("a", "region: r1, host: a", "") NODE("b", "region: r1, host: b", "") ON("x", FOO, "a"),
     ASK(FOO, NEAR(T(IN_FOO, "region")) ", " FAR(T(IN_FOO, "host"))),
     "b",
     "a: " AVOIDED},
    {.name = "far: a node without the key does",
     NODE("a", "host: a", "") NODE("b", "", "") ON("x", FOO, "a") ON("y", FOO, "b"),
     ASK("", FAR(T(IN_FOO, "host"))),
     "b",
     "a: " AVOIDED},
    {.name = "they object in their whole region",
     CHINA ON_WITH("x", "", "a", FAR(T(IN_FOO, "region"))),
     PLAIN(FOO),
     "c",
     "a: " GUARDED "; b: " GUARDED},
    {.name = "several there, each objects by another key",
     NODE("a", "region: r1, zone: z1, host: a", "") NODE("b", "region: r1, zone: z2, host: b", "")
         NODE("c", "region: r2, zone: z3, host: c", "") ON_WITH(
             "x", "", "a", FAR(T(IN_FOO, "zone"))) ON_WITH("y", "", "c", FAR(T(IN_ABC, "host"))),
     PLAIN("foo: bar, abc: ''"),
     "b",
     "a: " GUARDED "; c: " GUARDED},
    {.name = "own anti-affinity of two keys, each filled by another",
     NODE("a", "zone: z1, host: a", "") NODE("b", "zone: z2, host: b", "")
         NODE("c", "zone: z3, host: c", "") ON("x", FOO, "a") ON("y", "abc: ''", "b"),
     ASK("", FAR(T(IN_FOO, "zone") ", " T(IN_ABC, "host"))),
     "c",
     "a: " AVOIDED "; b: " AVOIDED},
    {.name = "affinity of two keys, both must be filled by one that matches all",
     NODE("a", "zone: z1, host: a", "") NODE("b", "zone: z1, host: b", "")
         ON("x", "foo: bar, abc: ''", "a"),
     ASK("", NEAR(T(IN_FOO, "zone") ", " T(IN_ABC, "host"))),
     "a",
     "b: " WANTED},
    {.name = "those on nodes that do not fit count, too",
     NODE("a", "zone: z1", "unschedulable: true") NODE("b", "zone: z1", "")
         NODE("c", "zone: z2", "") ON("x", FOO, "a"),
     ASK("", NEAR(T(IN_FOO, "zone"))),
     "b"},
    {.name = "those that end are still neighbours",
     NODE("a", "zone: z1", "")
         NODE("b", "zone: z2", "") "---\n{apiVersion: v1, kind: Pod, metadata: {name: x, "
                                   "namespace: default, labels: {foo: bar}, "
                                   "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: "
                                   "a, containers: [{name: c}]}}\n",
     ASK("", FAR(T(IN_FOO, "zone"))),
     "b"},
    {.name = "matchLabelKeys: only those of the same revision",
     NODE("a", "zone: z1", "") NODE("b", "zone: z2", "") ON("x", "foo: bar, rev: '1'", "a")
         ON("y", "foo: bar, rev: '2'", "b"),
     ASK("foo: bar, rev: '2'", NEAR("{labelSelector: {matchLabels: {foo: bar}}, topologyKey: zone, "
                                    "matchLabelKeys: [rev]}")),
     "b",
     "a: " WANTED},
    {.name = "mismatchLabelKeys: only those of other tenants",
     NODE("a", "zone: z1", "") NODE("b", "zone: z2", "") ON("x", "tenant: mine", "a")
         ON("y", "tenant: yours", "b"),
     ASK("tenant: mine",
         FAR("{labelSelector: {matchExpressions: [{key: tenant, operator: Exists}]}, "
             "topologyKey: zone, mismatchLabelKeys: [tenant]}")),
     "a",
     "b: " AVOIDED},
    {.name = "matchLabelKeys that it does not have say nothing",
     NODE("a", "zone: z1", "") NODE("b", "zone: z2", "") ON("x", "foo: bar, rev: '1'", "a"),
     ASK(FOO, NEAR("{labelSelector: {matchLabels: {foo: bar}}, topologyKey: zone, matchLabelKeys: "
                   "[rev]}")),
     "a"},
    {.name = "their matchLabelKeys are filled by their own labels",
     NODE("a", "zone: z1", "") NODE("b", "zone: z2", "")
         ON_WITH("x", "foo: bar, rev: '1'", "a",
                 FAR("{labelSelector: {matchLabels: {foo: bar}}, topologyKey: zone, "
                     "matchLabelKeys: [rev]}")),
     PLAIN("foo: bar, rev: '2'"),
     "a b"},
};

#define S1    "security: s1"
#define S2    "security: s2"
#define S(v)  E("security", "In", v)
#define THREE NODE("a", "region: r1", "") NODE("b", "region: r2", "") NODE("c", "az: az1", "")
#define PEER  "InterPodAffinity"
#define FIVE                             \
    NODE("a", "region: r1, az: az1", "") \
    NODE("b", "region: r2", "")          \
    NODE("c", "region: r1", "") NODE("d", "region: r1", "") NODE("e", "region: r2", "")

static const struct upstream_row score_rows[] = {
    {.name = "nothing wished", THREE, PLAIN(S1), "a=0 b=0 c=0", NULL, PEER},
    {.name = "only the domain with a match, not the match without the key",
     THREE ON("x", S1, "a") ON("y", S2, "b") ON("z", S1, "c"),
     ASK(S1, LIKES(W("5", T(S("s1"), "region")))),
     "a=100 b=0 c=0",
     NULL,
     PEER},
    {.name = "all nodes of the domain",
     NODE("a", "region: r1", "") NODE("b", "region: r1, az: az1", "") NODE("c", "region: r2", "")
         ON("x", S1, "a"),
     ASK("", LIKES(W("5", T(S("s1"), "region")))),
     "a=100 b=100 c=0",
     NULL,
     PEER},
    {.name = "more matches, higher score",
     FIVE ON("u", S2, "a") ON("v", S2, "a") ON("w", S2, "b") ON("x", S2, "c") ON("y", S2, "d")
         ON("z", S2, "e"),
     ASK(S1, LIKES(W("6", T(S("s2"), "region")))),
     "a=100 b=0 c=100 d=100 e=0",
     NULL,
     PEER},
    {.name = "two wishes of different weight",
     THREE ON("x", S1, "a") ON("y", S2, "b") ON("z", S1, "c"),
     ASK(S1, LIKES(W("2", T(E("security", "NotIn", "s1"), "region")) ", " W(
                 "8", T(E1("security", "Exists") ", " S("s2, value2"), "region")))),
     "a=0 b=100 c=0",
     NULL,
     PEER},
    {.name = "a fifth",
     THREE ON("x", S1, "a") ON("y", S2, "b"),
     ASK(S1, LIKES(W("2", T(S("s1"), "region")) ", " W("10", T(S("s2"), "region")))),
     "a=20 b=100 c=0",
     NULL,
     PEER},
    {.name = "those there wish, too",
     THREE ON_WITH("x", S1, "a", LIKES(W("5", T(S("s1"), "region"))))
         ON_WITH("y", S2, "b", LIKES(W("6", T(S("s2"), "region")))),
     PLAIN(S2),
     "a=0 b=100 c=0",
     NULL,
     PEER},
    {.name = "those there need: one each",
     THREE ON_WITH("x", S1, "a",
                   NEAR(T(S("s1, value2"), "region") ", " T(E1("security", "Exists"), "region")))
         ON_WITH("y", S2, "b",
                 NEAR(T(S("s1, value2"), "region") ", " T(E1("security", "Exists"), "region"))),
     PLAIN(S1),
     "a=100 b=100 c=0",
     NULL,
     PEER},
    {.name = "far: the other node",
     NODE("a", "az: az1", "") NODE("b", "region: r1", "") ON("x", S1, "a") ON("y", S2, "b"),
     ASK(S1, SHUNS(W("5", T(S("s1"), "az")))),
     "a=0 b=100",
     NULL,
     PEER},
    {.name = "far: a match without the key does not count",
     NODE("a", "az: az1", "") NODE("b", "region: r1", "") ON("x", S1, "a") ON("y", S1, "b"),
     ASK(S1, SHUNS(W("5", T(S("s1"), "az")))),
     "a=0 b=100",
     NULL,
     PEER},
    {.name = "far: the more, the lower",
     NODE("a", "az: az1", "") NODE("b", "az: az2", "") NODE("c", "az: az3", "") ON("w", S1, "a")
         ON("x", S1, "a") ON("y", S1, "b"),
     ASK(S1, SHUNS(W("5", T(S("s1"), "az")))),
     "a=0 b=50 c=100",
     NULL,
     PEER},
    {.name = "those there shun",
     NODE("a", "az: az1", "") NODE("b", "az: az2", "")
         ON_WITH("x", S1, "a", SHUNS(W("5", T(S("s2"), "az"))))
             ON_WITH("y", S2, "b", SHUNS(W("5", T(S("s1"), "az")))),
     PLAIN(S2),
     "a=0 b=100",
     NULL,
     PEER},
    {.name = "near in the region, far in the zone",
     NODE("a", "region: r1", "") NODE("b", "az: az1", "") ON("x", S1, "a") ON("y", S1, "b"),
     ASK(S1, LIKES(W("8", T(S("s1"), "region"))) ", " SHUNS(W("5", T(S("s2"), "az")))),
     "a=100 b=0",
     NULL,
     PEER},
    {.name = "brothers: in one region, yet not in one zone",
     FIVE ON("t", S1, "a") ON("u", S1, "a") ON("v", S1, "b") ON("w", S1, "c") ON("x", S1, "c")
         ON("y", S1, "d") ON("z", S1, "e"),
     ASK(S1, LIKES(W("8", T(S("s1"), "region"))) ", " SHUNS(W("5", T(S("s2"), "az")))),
     "a=100 b=0 c=100 d=100 e=0",
     NULL,
     PEER},
    {.name = "wishes of both sides add up",
     NODE("a", "region: r1", "") NODE("b", "region: r2", "") NODE("c", "region: r3", "")
         ON_WITH("x", S1, "a", LIKES(W("5", T(S("s1"), "region")))) ON("y", S1, "b"),
     ASK(S1, LIKES(W("5", T(S("s1"), "region")))),
     "a=100 b=50 c=0",
     NULL,
     PEER},
    {.name = "below zero is stretched to 0 to 100, too",
     NODE("a", "az: az1", "") NODE("b", "az: az2", "") ON("w", S1, "a") ON("x", S1, "a")
         ON("y", S1, "b"),
     ASK(S1, SHUNS(W("5", T(S("s1"), "az")))),
     "a=0 b=100",
     NULL,
     PEER},
    {.name = "all alike score nothing",
     NODE("a", "az: az1", "") NODE("b", "az: az2", "") ON("x", S1, "a") ON("y", S1, "b"),
     ASK(S1, LIKES(W("5", T(S("s1"), "az")))),
     "a=0 b=0",
     NULL,
     PEER},
    {.name = "wishes by namespaceSelector",
     THREE NAMESPACE("sub1.team1", "team: team1") NAMESPACE("sub2.team2", "team: team2")
         OTHER("sub1.team1", "x", S1, "a", "") OTHER("sub2.team2", "y", S1, "b", ""),
     ASK(S1,
         LIKES(W("5", T_NS(S("s1"), "region", "namespaceSelector: {matchLabels: {team: team1}}")))),
     "a=100 b=0 c=0",
     NULL,
     PEER},
    {.name = "those there shun by namespaceSelector",
     THREE NAMESPACE("default", "team: team1") OTHER(
         "elsewhere", "x", S1, "a",
         SHUNS(W("5", T_NS(S("s1"), "region", "namespaceSelector: {matchLabels: {team: team1}}")))),
     PLAIN(S1),
     "a=0 b=100 c=100",
     NULL,
     PEER},
    {.name = "the domain's score is its members' sum, wherever they run",
     NODE("a", "region: r1", "") NODE("b", "region: r1", "unschedulable: true")
         NODE("c", "region: r2", "") ON("w", S1, "b") ON("x", S1, "b") ON("y", S1, "c"),
     ASK(S1, LIKES(W("5", T(S("s1"), "region")))),
     "a=100 c=0",
     NULL,
     PEER},
};

int
main(void)
{
    return upstream_run("one node", single_rows, ARRAY_LEN(single_rows)) +
           upstream_run("many nodes", many_rows, ARRAY_LEN(many_rows)) +
           upstream_run("scores of neighbours", score_rows, ARRAY_LEN(score_rows));
}
