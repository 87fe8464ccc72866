/* Who matters more than whom: PriorityClasses and PodDisruptionBudgets of a cluster. Internal to sched/; what
 * others call is in preempt.h. Follows kube-scheduler 1.31 and the Priority admission plugin. */
#ifndef SCHED_PRIORITY_H
#define SCHED_PRIORITY_H

#include "sched/cluster.h"

void priorities_free(struct priorities *p); /* NULL is fine */

int64_t priority_of_occupant(const struct cluster *c, const struct occupant *o);
/* Whether anybody has a priority, the newcomer with `mine` among them. Nobody has: nobody is pushed aside, and
 * nothing is said of it. */
bool priority_matters(const struct cluster *c, int64_t mine);
/* When it came to its node; INT64_MAX: it has not said so, and counts as the newest of all. */
int64_t priority_start_us(const struct occupant *o);
/* For each of the occupants, in their order: true where one of the budgets that select it has nothing left
 * when those before it go, too. */
void priority_protected(const struct cluster *c, struct occupant *const *list, size_t len,
                        bool *ret);

#endif
