/* The cluster's inside: nodes with their room, and what runs where. Internal to sched/; its
 * functions for others are in place.h. Every object that is added is borrowed until it is
 * replaced or removed; what the cluster makes of it is the cluster's, object by object, so that
 * changes leave nothing behind. One watcher is told of every change: the fast engine. */
#ifndef SCHED_CLUSTER_H
#define SCHED_CLUSTER_H

#include "base/arena.h"
#include "base/strmap.h"
#include "sched/need.h"
#include "sched/node_terms.h"
#include "sched/place.h"

#define CLUSTER_NO_HEARTBEAT INT64_MIN
#define CLUSTER_NO_ROW       UINT32_MAX
#define CLUSTER_NO_KIND      UINT32_MAX

struct priorities;

struct occupant {       /* one VM or Pod on one node; a migrating VM has two */
    const void *object; /* its struct pod or struct vmi */
    const char *ns, *name;
    const struct kv_list *labels;
    const struct affinity *affinity; /* between VMs: with the cluster's own (sched/workload.h) */
    struct affinity *own_affinity;   /* that, where it had to be made; or NULL */
    struct need need;                /* kept: see need.h */
    struct cluster_node *node;
    struct occupant *next, **link; /* on this node; link: the pointer that points here */
    struct occupant *elsewhere;    /* of the same VM or Pod */
    struct occupant *bucket_next;  /* in the cluster's table; of the first one of a VM or Pod */
    uint32_t hash;
    bool is_pod, terminating;
    /* the watcher's */
    uint32_t kind;
    struct occupant *kind_next, **kind_link;
};

struct cluster_node {
    char *name;
    const struct node *node; /* NULL: not added yet, removed, or not known */
    struct node_labels labels;
    struct kv *sorted;       /* labels' memory, or NULL: those of the node, which are in order */
    const char *schedulable; /* its label kubevirt.io/schedulable, or NULL */
    bool not_ready;          /* it has a condition Ready that is not True */
    bool no_network;         /* PLACE_NETWORK_CONDITION is False */
    int64_t heartbeat_us;    /* of its handler, or CLUSTER_NO_HEARTBEAT */
    bool cpu_labelled; /* a labeller has run: it has labels of CPU models, features or vendor */
    struct room room;
    struct occupant *occupants; /* the last one first */
    uint64_t order;             /* among nodes that tie: cluster_before */
    uint32_t row;               /* the watcher's */
};

/* Called after the change, but leaves() before it. Each may be NULL only if all are. */
struct cluster_watch {
    void (*node)(void *arg, struct cluster_node *n); /* added, or its object was replaced */
    void (*gone)(void *arg,
                 struct cluster_node *n);        /* about to be removed from the list of nodes */
    void (*came)(void *arg, struct occupant *o); /* and so its node's room changed */
    void (*leaves)(void *arg, struct occupant *o);
    void (*left)(void *arg, struct cluster_node *n); /* and so its room changed */
    void (*relations)(void *arg); /* labels of a namespace, or a network, changed */
    void (*settings)(void *arg);  /* anything that concerns all nodes */
};

struct cluster {
    struct attach *attach; /* sched/attach.c's: claims, volumes, networks; NULL: there are none */
    struct priorities *priorities; /* sched/priority.c's; NULL: there are no classes and budgets */
    const struct hco *hco;
    const struct profile *profile; /* never NULL */
    uint64_t seed;
    int64_t now_us, heartbeat_timeout_s;
    bool from_files;
    struct cluster_node **nodes; /* those with a node, in the order of cluster_add_node */
    size_t nodes_len, nodes_cap;
    struct strmap *by_name;    /* all cluster_nodes; those without a node have occupants */
    struct strmap *namespaces; /* name -> struct kv_list *, with the label that carries the name */
    struct strmap *names;      /* of extended resources: need_name */
    struct occupant **buckets; /* a hash table; each the first one of a VM or Pod */
    size_t buckets_len;        /* a power of two */
    size_t occupied_len;       /* VMs and Pods in the table */
    size_t occupants_len;      /* occupants, all nodes */
    struct arena *scratch;     /* for needs until they are kept; a new one now and then */
    size_t scratch_uses;
    const struct cluster_watch *watch; /* or NULL */
    void *watch_arg;
};

struct cluster_node *cluster_find(const struct cluster *c, const char *name); /* or NULL */
/* Is a taken, where a and b tie? */
bool cluster_before(const struct cluster_node *a, const struct cluster_node *b);
/* Labels of a namespace; of an unknown one the label with its name alone. The latter is made in
 * a. */
const struct kv_list *cluster_namespace_labels(const struct cluster *c, const char *ns,
                                               struct arena *a);
/* What the VM or Pod has on the node, or NULL. */
const struct occupant *cluster_occupant_on(const struct occupant *first,
                                           const struct cluster_node *n);
const struct occupant *cluster_occupants_of(const struct cluster *c, bool is_pod, const char *ns,
                                            const char *name);
int64_t cluster_cpu_ratio(const struct cluster *c);
/* Takes the place of the watcher before; NULL: none. Borrowed. */
void cluster_set_watch(struct cluster *c, const struct cluster_watch *w, void *arg);
/* Bytes that the cluster holds beyond the objects, as it asked for them. */
size_t cluster_bytes(const struct cluster *c);

#endif
