/* A VM leaves its node although nobody asked for its end: migrated, shut down, or left there, as its
 * eviction strategy says (sched/evict.h). For drains, taints and preemption. Part of a pass
 * (control/loop_core.h). */
#ifndef CONTROL_LOOP_EVICT_H
#define CONTROL_LOOP_EVICT_H

#include "control/loop_core.h"
#include "sched/evict.h"

struct loop_evict_cause {
    const char *node;  /* that it leaves */
    const char *cause; /* of its migration: EVICT_CAUSE_* */
    const char *text;  /* what the events about it begin with: "node n1 is drained" */
    bool mark;         /* it is to stay away: status.evacuationNodeName says so */
};

#define EVICT_CAUSE_DRAIN   "drain"
#define EVICT_CAUSE_TAINT   "taint"
#define EVICT_CAUSE_PREEMPT "preemption"

/* Decides and acts, once a pass for each VM. A migration that is under way, or not started yet, is the
 * answer to every cause. */
struct evict_decision loop_evict(struct loops *l, const struct vmi *v,
                                 const struct loop_evict_cause *why);
/* Shuts it down, whatever its strategy says. */
void loop_evict_shut_down(struct loops *l, const struct vmi *v, const struct loop_evict_cause *why,
                          const char *reason);
/* The decision alone. */
struct evict_decision loop_evict_would(struct loops *l, const struct vmi *v);
/* Its migrations of this cause that have not been handed to the handlers are taken back. */
void loop_evict_cancel(struct loops *l, const struct vmi *v, const char *cause);
/* status.evacuationNodeName: the node, or NULL for none. */
void loop_evict_mark(struct loops *l, const struct vmi *v, const char *node);
/* The unfinished migration of v and the newest finished one; either may be NULL. */
void loop_evict_migrations(struct loops *l, const struct vmi *v, const struct vmim **ret_now,
                           const struct vmim **ret_last);
/* The pass is over. */
void loop_evict_done(struct loops *l);

#endif
