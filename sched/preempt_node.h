/* One node of a preemption: who would have to leave it. Internal to sched/; part of preempt.h. */
#ifndef SCHED_PREEMPT_NODE_H
#define SCHED_PREEMPT_NODE_H

#include "sched/preempt.h"
#include "sched/priority.h"
#include "sched/request.h"

struct preempt_plan {
    const struct cluster_node *node;
    const struct occupant **victims; /* highest priority first, then the oldest */
    int64_t *priorities;             /* of the victims */
    size_t len;
    int64_t violations; /* of budgets */
};

/* Takes all of lower priority away, and gives back as many as it can, those first that a budget protects,
 * then by priority. r is compiled for priority's VM or Pod; while this runs, n and r are changed, and they
 * are as before when it returns. False: it does not help; why says it, as a filter does. */
bool preempt_node_plan(struct cluster *c, struct request *r, struct cluster_node *n,
                       int64_t priority, struct preempt_plan *ret, struct str_list *why);

/* Would it fit on the node without these? False when none of them is there. */
bool preempt_node_without(struct cluster *c, struct request *r, struct cluster_node *n,
                          const struct preempt_victim *without, size_t without_len);

#endif
