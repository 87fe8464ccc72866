/* A scheduling profile: which scores count how much, and the arguments of the plugins that take any.
 * Compiled from a profile of a kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration, or the
 * defaults of kube-scheduler 1.31. Read by score.c, peers.c, spread.c, filter_fit.c and request.c
 * through the cluster that it was set on. */
#ifndef SCHED_PROFILE_H
#define SCHED_PROFILE_H

#include "api/types.h"
#include "base/arena.h"
#include "sched/place.h"

enum profile_strategy { PROFILE_LEAST, PROFILE_MOST, PROFILE_RATIO };

enum profile_resource_kind {
    PROFILE_CPU,
    PROFILE_MEMORY,
    PROFILE_EPHEMERAL,
    PROFILE_EXTRA,  /* extended resources and huge pages: count only where they are asked for */
    PROFILE_UNKNOWN /* no resource that a node has: never counts */
};

struct profile_resource {
    const char *name;
    int64_t weight; /* 1..100 */
    enum profile_resource_kind kind;
};

struct profile_point {          /* of RequestedToCapacityRatio's shape */
    int64_t utilization, score; /* 0..100, 0..100 (ten times what is written) */
};

struct profile {
    const char *scheduler_name;     /* its name, accepted as ours; NULL: none but the usual two */
    int64_t weights[PLACE_PLUGINS]; /* by enum place_plugin; 0: not scored */
    int64_t weights_sum;
    enum profile_strategy strategy;
    const struct profile_resource *fit;      /* NodeResourcesFit; default cpu 1, memory 1 */
    const struct profile_resource *balanced; /* NodeResourcesBalancedAllocation; the same */
    size_t fit_len, balanced_len;
    const struct profile_point *shape;
    size_t shape_len;
    struct str_list ignored_resources, ignored_groups;
    int64_t hard_pod_affinity_weight; /* 0..100, default 1 */
    bool ignore_preferred_terms_of_existing;
    const struct spread *default_constraints; /* for members of a set (spread.h) that have none */
    size_t default_constraints_len;
    bool system_defaulting; /* they are kube-scheduler's own two: a node need not have both keys */
    const struct affinity *added_affinity; /* nodeAffinity of NodeAffinityArgs, or NULL */
};

/* kube-scheduler's defaults. A constant. */
const struct profile *profile_default(void);
/* The first profile. config: borrowed, as the profile's texts are; the profile lives in the arena. Never
 * fails: what the API accepts is taken, of the rest the default. */
const struct profile *profile_compile(const struct sched_config *config, struct arena *a);
/* The one by which a VM or Pod of that schedulerName (NULL: none, which is default-scheduler) is placed:
 * that of the name, else the first. */
const struct profile *profile_compile_for(const struct sched_config *config,
                                          const char *scheduler_name, struct arena *a);
/* Is room for this resource not looked at (ignoredResources, ignoredResourceGroups)? Extended resources
 * only: cpu, memory and huge pages always count. */
bool profile_ignores(const struct profile *p, const char *resource);
/* kube-scheduler's name of the plugin. */
const char *profile_plugin_name(enum place_plugin p);

#endif
