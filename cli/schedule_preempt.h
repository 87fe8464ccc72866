/* Priorities in `drover schedule`: classes and budgets of the manifests, the nodes that Pods were promised
 * when they preempted others, and what is said of a preemption. */
#ifndef CLI_SCHEDULE_PREEMPT_H
#define CLI_SCHEDULE_PREEMPT_H

#include "cli/offline.h"
#include "sched/preempt.h"

struct schedule_places;

/* Adds classes and budgets to the cluster, and warns of a class that is named and not there: it counts as 0,
 * because a captured Pod carries its number. Both are borrowed. */
struct schedule_places *schedule_places_new(struct cluster *c, const struct offline *o);
void schedule_places_free(struct schedule_places *s); /* NULL is fine */
/* place(), but room that was promised to others of the same or a higher priority is taken, and the node that
 * was promised to it is the first choice. What fits nowhere may preempt: *ret says whom, the message has
 * its part of it, and the room is promised to it from then on. */
struct place_result *schedule_place(struct schedule_places *s, const struct place_request *rq,
                                    struct preempt_result *ret);
/* "preemption" beside the answer, when it helps. */
void schedule_preempt_tree(const struct preempt_result *p, struct tree *answer);
/* A sentence, or "". */
void schedule_preempt_print(const struct preempt_result *p, struct sb *out);

#endif
