/* Taints and tolerations. Internal to sched/. Follows kube-scheduler 1.31's tainttoleration plugin
 * and core/v1's Toleration.ToleratesTaint; Gt and Lt as in KEP-5471. */
#ifndef SCHED_TAINT_H
#define SCHED_TAINT_H

#include "api/types.h"

struct tolerations { /* borrowed */
    const struct toleration *items;
    size_t len;
};

bool taint_tolerated(const struct tolerations *t, const struct taint *taint);
/* The first that tolerates it, or NULL. */
const struct toleration *taint_toleration(const struct tolerations *t, const struct taint *taint);
/* The node's first NoSchedule or NoExecute taint that is not tolerated, or NULL. */
const struct taint *taint_first_untolerated(const struct tolerations *t, const struct node *n);
/* How many PreferNoSchedule taints are not tolerated by tolerations for that effect or any. */
int64_t taint_count_soft(const struct tolerations *t, const struct node *n);

#endif
