/* The snapshot's inside: nodes with their room, and what runs where. Internal to sched/; its
 * functions for others are in place.h. A plain list that is scanned as a whole. */
#ifndef SCHED_CLUSTER_H
#define SCHED_CLUSTER_H

#include "base/arena.h"
#include "base/strmap.h"
#include "sched/need.h"
#include "sched/node_terms.h"
#include "sched/place.h"

#define CLUSTER_NO_HEARTBEAT INT64_MIN

struct priorities;

struct occupant { /* one VM or Pod on one node; a migrating VM has two */
    const void *object; /* its struct pod or struct vmi */
    const char *ns, *name;
    const struct kv_list *labels;
    const struct affinity *affinity;
    bool is_pod, terminating;
    struct need need;
    struct cluster_node *node;
    struct occupant *next;      /* on this node */
    struct occupant *elsewhere; /* of the same VM or Pod */
};

struct cluster_node {
    const char *name;
    const struct node *node; /* NULL: not added yet, or not known */
    struct node_labels labels;
    const char *schedulable; /* its label kubevirt.io/schedulable, or NULL */
    bool not_ready;          /* it has a condition Ready that is not True */
    bool no_network;         /* PLACE_NETWORK_CONDITION is False */
    int64_t heartbeat_us;    /* of its handler, or CLUSTER_NO_HEARTBEAT */
    bool cpu_labelled; /* a labeller has run: it has labels of CPU models, features or vendor */
    struct room room;
    struct occupant *occupants; /* the last one first */
};

struct cluster {
    struct priorities *priorities; /* sched/priority.c's; NULL: there are no classes and budgets */
    struct arena *arena;
    const struct hco *hco;
    const struct profile *profile; /* never NULL */
    int64_t now_us, heartbeat_timeout_s;
    bool from_files;
    struct cluster_node **nodes; /* those with a node, in the order of cluster_add_node */
    size_t nodes_len, nodes_cap;
    struct strmap *by_name;    /* all cluster_nodes */
    struct strmap *namespaces; /* name -> struct kv_list *, with the label that carries the name */
    struct strmap *occupants;  /* key -> the first struct occupant */
};

struct cluster_node *cluster_find(const struct cluster *c, const char *name); /* or NULL */
/* Labels of a namespace; of an unknown one the label with its name alone. The latter is made in a. */
const struct kv_list *cluster_namespace_labels(const struct cluster *c, const char *ns,
                                               struct arena *a);
/* What the VM or Pod has on the node, or NULL. */
const struct occupant *cluster_occupant_on(const struct occupant *first,
                                           const struct cluster_node *n);
const struct occupant *cluster_occupants_of(const struct cluster *c, bool is_pod, const char *ns,
                                            const char *name);
int64_t cluster_cpu_ratio(const struct cluster *c);

#endif
