/* The rules of placement a second time, written for reading and not for speed, from the objects as
 * they are: what the property test holds place() against. Shares no code with sched/. Knows what
 * random_cluster.c makes, and no more. */
#ifndef TESTS_SCHED_NAIVE_H
#define TESTS_SCHED_NAIVE_H

#include "api/types.h"

enum {
    NAIVE_TAINT,
    NAIVE_AFFINITY,
    NAIVE_FIT,
    NAIVE_BALANCED,
    NAIVE_SPREAD,
    NAIVE_PEERS,
    NAIVE_PLUGINS
};

struct naive_cluster {
    const struct node *nodes;
    size_t nodes_len;
    const struct vmi *vmis; /* that have a node */
    size_t vmis_len;
    const struct pod *pods; /* that have a node */
    size_t pods_len;
    const struct namespace_ *namespaces;
    size_t namespaces_len;
    const struct hco *hco;                     /* never NULL */
    const struct sched_config_profile *config; /* NULL: the default */
};

struct naive_one { /* who is placed: a VM or a Pod */
    const struct vmi *vmi;
    const struct pod *pod;
    int source; /* the index of the node that it migrates from, or -1 */
};

/* May it go to node n? */
bool naive_fits(const struct naive_cluster *c, const struct naive_one *one, size_t n);
/* Scores of the nodes that fit, by NAIVE_*; of the others whatever is there stays. */
void naive_scores(const struct naive_cluster *c, const struct naive_one *one, const bool *fits,
                  int64_t (*scores)[NAIVE_PLUGINS]);
extern const char *const naive_names[NAIVE_PLUGINS];
int64_t naive_weight(const struct sched_config_profile *config, int plugin);

#endif
