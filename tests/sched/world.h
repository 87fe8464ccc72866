/* Clusters for tests, written as the YAML that people write, and rows that place one VM or Pod in
 * them. */
#ifndef TESTS_SCHED_WORLD_H
#define TESTS_SCHED_WORLD_H

#include <stdbool.h>

#include "api/object.h"
#include "sched/place.h"

/* One document each; `labels`, `spec`, ... are the inside of a flow map. */
#define NODE(name, labels, spec) \
    NODE_WITH(name, labels, spec, "cpu: '64', memory: 256Gi, pods: '110'")
#define NODE_WITH(name, labels, spec, allocatable)                                               \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name ", labels: {" labels "}}, spec: " \
    "{" spec "}, status: {allocatable: {" allocatable "}}}\n"
#define NAMESPACE(name, labels) \
    "---\n{apiVersion: v1, kind: Namespace, metadata: {name: " name ", labels: {" labels "}}}\n"
#define HCO(spec)                                                                  \
    "---\n{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {" \
    "name: kubevirt-hyperconverged, namespace: openshift-cnv}, spec: {" spec "}}\n"
/* A VMI: labels, spec beside the domain, domain beside its memory, status. */
#define VMI(name, labels, spec, domain, status)                                              \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: " name \
    ", namespace: default, labels: {" labels "}}, spec: {domain: {memory: {guest: 1Gi}, "    \
    "devices: {}, " domain "}, " spec "}, status: {" status "}}\n"
/* A VMI by the whole of its domain. */
#define VMI_DOMAIN(domain)                                                                  \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, " \
    "namespace: default}, spec: {domain: {" domain "}}}\n"
#define SCHED_CONFIG(profile)                                                              \
    "---\n{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, " \
    "profiles: "                                                                           \
    "[{" profile "}]}\n"
#define POD(name, labels, spec, requests)                       \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name   \
    ", namespace: default, labels: {" labels "}}, spec: {" spec \
    ", containers: [{name: c, resources: {requests: {" requests "}}}]}}\n"

struct world {
    struct arena *arena;
    struct cluster *cluster;
    const struct hco *hco;
    const struct vmi *vmi; /* the last one */
    const struct pod *pod; /* the last one, when no VMI came after it */
};

/* All documents of the text are in the cluster (VMIs and Pods where they have a node). Objects are
 * decoded, not validated. Fails the test on text that is no YAML or of a kind that is not known. */
struct world *world_new(const char *yaml);
/* More of them, later. */
void world_add(struct world *w, const char *yaml);
void world_free(struct world *w);

struct world_row {
    const char *name;
    const char *cluster, *asks; /* asks: the last document is placed */
    const char *node;           /* where it goes; NULL: nowhere */
    const char *message;        /* NULL: not looked at when it fits; else must be given */
    const char *reasons;        /* "n1: a | b; n2: c" of the unfit nodes, or NULL: not looked at */
    bool migrate, network;      /* network: the migration needs a dedicated one */
    const char *target;
    const char *added;           /* "key=value" of a migration's addedNodeSelector */
    int64_t heartbeat_timeout_s; /* now is 2026-01-01T00:10:00Z */
    bool from_files;
};

/* Scores of one plugin, or totals. */
struct world_score {
    const char *name;
    const char *cluster, *asks; /* as in struct world_row */
    const char *plugin;
    const char *want; /* "n1=100 n2=50" of the plugin; plugin NULL: "n1=total/score" */
};

/* Fails the test with all rows that give something else. A VMI that has a node migrates. */
void world_check_scores(const struct world_score *rows, size_t len);

/* Runs each row as a test of its own; returns what cmocka returns. */
int world_run(const char *group, const struct world_row *rows, size_t len);
/* "n1: a | b; n2: c". The caller's. */
char *world_reasons(const struct place_result *r);

#endif
