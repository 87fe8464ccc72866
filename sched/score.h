/* Scores of the nodes that passed the filters: kube-scheduler's default profile (1.31), integers as
 * there. Internal to sched/. */
#ifndef SCHED_SCORE_H
#define SCHED_SCORE_H

#include "sched/request.h"

#define SCORE_PLUGINS 6

extern const struct score_plugin {
    const char *name; /* kube-scheduler's */
    int64_t weight;
} score_plugins[SCORE_PLUGINS];

int64_t score_weights(void); /* the sum of all weights */

/* Fills out[i][p] with plugin p's score (0..100, before weighting) of nodes[i]. */
void score_nodes(const struct request *r, const struct cluster_node *const *nodes, size_t len,
                 int64_t (*out)[SCORE_PLUGINS]);

#endif
