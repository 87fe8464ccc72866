/* Scores of the nodes that passed the filters: kube-scheduler's plugins (1.31) with the weights and
 * arguments of the cluster's profile, integers as there. Internal to sched/. */
#ifndef SCHED_SCORE_H
#define SCHED_SCORE_H

#include "sched/profile.h"
#include "sched/request.h"

/* Fills out[i][p] with plugin p's score (0..100, before weighting) of nodes[i]. */
void score_nodes(const struct request *r, const struct cluster_node *const *nodes, size_t len,
                 int64_t (*out)[PLACE_PLUGINS]);

/* --- the arithmetic, on numbers; for whoever keeps scores between decisions --- */

/* NodeResourcesFit and NodeResourcesBalancedAllocation of one node. need: the newcomer's; own: what it
 * has in room already and does not count twice, or NULL. */
int64_t score_fit(const struct profile *p, const struct need *need, const struct need *own,
                  const struct room *room);
int64_t score_balanced(const struct profile *p, const struct need *need, const struct need *own,
                       const struct room *room);

/* What becomes of raw scores when the extremes among all nodes that fit are known.
 * TaintToleration (reverse) and NodeAffinity: 100 * raw / most, or 100 minus that; 0 when most is 0. */
int64_t score_to_most(int64_t raw, int64_t most, bool reverse);
/* InterPodAffinity: from least to most as 0 to 100; 0 when they are equal. */
int64_t score_in_range(int64_t raw, int64_t least, int64_t most);
/* The sum of the profile's weights times the plugins' scores; and what people see, 0..100. */
int64_t score_total(const struct profile *p, const int64_t scores[PLACE_PLUGINS]);
int64_t score_of_total(const struct profile *p, int64_t total);

#endif
