/* Preemption: which lower-priority VMs and Pods would have to go from which node so that a VM or Pod that
 * fits nowhere fits there. Pure; nothing is changed. Follows kube-scheduler 1.31's defaultpreemption plugin
 * (docs/scheduling.md says where it differs: all nodes are candidates). Called by drover-controller
 * and `drover schedule`. */
#ifndef SCHED_PREEMPT_H
#define SCHED_PREEMPT_H

#include "api/types.h"
#include "base/arena.h"
#include "sched/place.h"

struct preempt_victim {
    const char *ns, *name;
    bool is_pod;
    int64_t priority;
};

struct preempt_result {
    const char *node;               /* NULL: preemption does not help */
    struct preempt_victim *victims; /* in the order in which kube-scheduler lists them */
    size_t victims_len;
    int64_t pdb_violations;
    /* kube-scheduler's: " preemption: 0/5 nodes are available: 2 No preemption victims found for incoming
     * pod, 3 Preemption is not helpful for scheduling." "" when a node was found, and when nobody in the
     * cluster has a priority: there is nothing to say then. */
    const char *message;
};

/* Priorities: a Pod's spec.priority, else its class' value, else the global default class', else 0; a
 * VMI's class. Unknown classes count as 0 here; the API refuses them. Budgets protect by their
 * status.disruptionsAllowed. All borrowed by the cluster. */
void cluster_add_priority_class(struct cluster *c, const struct priority_class *p);
void cluster_add_pdb(struct cluster *c, const struct pdb *b);
/* Forgets all classes and budgets: they have changed, and are added again. */
void cluster_clear_priorities(struct cluster *c);
int64_t cluster_priority_of_vmi(const struct cluster *c, const struct vmi *v);
int64_t cluster_priority_of_pod(const struct cluster *c, const struct pod *p);

/* preemptionPolicy: a Pod's own, else that of its class, is not Never. */
bool cluster_may_preempt(const struct cluster *c, const struct place_request *rq);
/* One that was added, or of the system. */
bool cluster_has_priority_class(const struct cluster *c, const char *name);

/* Can a VM have a lower priority than this, by the classes that there are? No: preempt() would look at all
 * nodes and find nobody. */
bool cluster_has_lower_class(const struct cluster *c, int64_t priority);
/* The node that was promised to it when it preempted others, or NULL. Borrowed. A Pod's
 * status.nominatedNodeName, a VMI's annotation ANN_NOMINATED. */
const char *preempt_nominated(const struct place_request *rq);

/* For what fits nowhere on c. c is as before when it returns. Result and texts are in the arena. */
struct preempt_result preempt(struct cluster *c, const struct place_request *rq, struct arena *a);

/* Would it fit on the node without these? False when none of them is there. */
bool preempt_helps(struct cluster *c, const struct place_request *rq, const char *node,
                   const struct preempt_victim *without, size_t without_len);

#endif
