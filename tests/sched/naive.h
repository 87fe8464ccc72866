/* The rules of placement a second time, written for reading and not for speed, from the objects as
 * they are: what the property test holds place() against. Shares no code with sched/. */
#ifndef TESTS_SCHED_NAIVE_H
#define TESTS_SCHED_NAIVE_H

#include "api/types.h"

struct naive_cluster {
    const struct node *nodes;
    size_t nodes_len;
    const struct vmi *vmis; /* that have a node */
    size_t vmis_len;
    const struct hco *hco; /* never NULL */
};

/* May v go to node n? source: the index of the node that it migrates from, or -1. */
bool naive_fits(const struct naive_cluster *c, const struct vmi *v, int source, size_t n);
/* Least allocated, 0..100. */
int64_t naive_free_score(const struct naive_cluster *c, const struct vmi *v, size_t n);
/* Weights of preferred node affinity and number of soft taints that are not tolerated. */
int64_t naive_preference(const struct vmi *v, const struct node *n);
int64_t naive_soft_taints(const struct vmi *v, const struct node *n);

#endif
