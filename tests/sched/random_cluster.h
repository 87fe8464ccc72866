/* Small random clusters for property tests: nodes, VMs and Pods that run on them, one more that is to
 * be placed, settings and a scheduling profile. Few names and values, so that things often match. */
#ifndef TESTS_SCHED_RANDOM_CLUSTER_H
#define TESTS_SCHED_RANDOM_CLUSTER_H

#include "api/types.h"
#include "base/arena.h"
#include "base/rng.h"
#include "tests/sched/naive.h"

#define RANDOM_NODES_MAX 9
#define RANDOM_VMIS_MAX  14
#define RANDOM_PODS_MAX  6

struct random_cluster {
    struct rng rng;
    struct arena *a; /* the caller's */
    struct node nodes[RANDOM_NODES_MAX];
    struct vmi vmis[RANDOM_VMIS_MAX + 1];
    struct pod pods[RANDOM_PODS_MAX + 1];
    struct namespace_ namespaces[2];
    struct hco hco;
    struct sched_config config;
    struct naive_cluster c; /* all of it, as naive.h wants it */
    struct naive_one one;   /* who is placed; it is among c's VMs only when it migrates */
};

/* Everything in *g but a is made anew from the seed. */
void random_cluster_make(struct random_cluster *g, uint64_t seed);

#endif
