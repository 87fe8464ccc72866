/* What a VM asks of a node's CPU: model, features, vendor, by the labels that the labeller publishes.
 * Internal to sched/. Follows the OpenShift Virtualization
 * 4.15 documents (CPU models, policies, obsolete models) and KubeVirt's target pods. */
#ifndef SCHED_CPU_RULE_H
#define SCHED_CPU_RULE_H

#include "base/arena.h"
#include "sched/cluster.h"

struct cpu_feature_rule {
    const char *name;
    const char *label, *host_label; /* either says that the node has it */
    bool base;                      /* part of the minimum model: has no label of its own */
};

struct cpu_features {
    struct cpu_feature_rule *items;
    size_t len;
};

struct cpu_rule {
    const char *model, *model_label;  /* a named model, or NULL */
    const char *host_model;           /* the one that a migration must find again, or NULL */
    const char *host_model_labels[3]; /* each of them says that the node can run it */
    struct cpu_features host_features, required, forbidden;
    const char *vendor, *vendor_label; /* of the source, or that the VM needs; or NULL */
    const char *impossible;            /* the reason why no node can do, or NULL */
};

/* source: the node that a migration leaves; NULL at a start, and when it is not known. */
struct cpu_rule cpu_rule_compile(const struct vmi *v, const struct hco *hco, bool migrate,
                                 const struct cluster_node *source, struct arena *a);
/* Appends every reason why the node's CPU does not do; returns how many. Texts are in the arena. */
size_t cpu_rule_check(const struct cpu_rule *r, const struct cluster_node *n, struct arena *a,
                      struct str_list *reasons);

#endif
