/* Topology spread constraints, compiled and counted once a decision. Internal to sched/. Follows
 * kube-scheduler 1.31's podtopologyspread plugin; a VM that migrates does not count itself. */
#ifndef SCHED_SPREAD_H
#define SCHED_SPREAD_H

#include "sched/cluster.h"

struct spread_rules;
struct request;

/* r must be compiled but for its spread. The caller's. */
struct spread_rules *spread_new(const struct request *r, const struct spread *list, size_t len);
void spread_free(struct spread_rules *s); /* NULL is fine */

#define SPREAD_NO_KEY \
    "node(s) didn't match pod topology spread constraints (missing required label)"

/* kube-scheduler's text when a DoNotSchedule constraint is broken, or NULL. */
const char *spread_check(const struct spread_rules *s, const struct cluster_node *n);

/* As if o, which is on n, had left (by -1) or come back (by 1). */
void spread_shift(struct spread_rules *s, const struct cluster_node *n, const struct occupant *o,
                  int64_t by);

/* Scores of all feasible nodes, 0..100 each, into scores[]. False: no ScheduleAnyway constraint, and
 * nothing was written. */
bool spread_score(const struct spread_rules *s, const struct cluster_node *const *nodes,
                  size_t nodes_len, int64_t *scores);

#endif
