/* Scheduling profiles; see profile.h. Which plugins score follows kube-scheduler 1.31: the profile's
 * multiPoint set is merged into the default one, then score.enabled adds or overrides and
 * score.disabled takes away. */
#include "sched/profile.h"

#include <string.h>

#include "api/names.h"
#include "base/cleanup.h"

#define SHAPE_SCALE 10 /* a shape's scores are 0..10, a node's 0..100 */

static const struct profile *compile(const struct sched_config_profile *in, struct arena *a);
static void compile_plugins(struct profile *p, const struct sched_config_profile *in);
static int64_t weight_of(const struct sched_config_profile *in, const char *name, int64_t dflt);
static const struct sched_config_plugin *find(const struct sched_config_plugin *list, size_t len,
                                              const char *name);
static bool is_off(const struct sched_config_plugins *at, const char *name);
static void compile_args(struct profile *p, const struct sched_config_args *args, struct arena *a);
static const struct profile_resource *resources(const struct sched_config_args *args,
                                                size_t *ret_len, struct arena *a);
static const struct profile_point *shape(const struct sched_config_args *args, struct arena *a);
static bool is_shape(const struct sched_config_args *args);
static bool within(int64_t n, int64_t least, int64_t most);
static enum profile_resource_kind kind_of(const char *name);
static bool is_extended(const char *name);
static bool has_prefix(const char *s, const char *prefix);

static const char *const plugins[PLACE_PLUGINS] = {
    [PLACE_TAINT] = "TaintToleration",    [PLACE_AFFINITY] = "NodeAffinity",
    [PLACE_FIT] = "NodeResourcesFit",     [PLACE_BALANCED] = "NodeResourcesBalancedAllocation",
    [PLACE_SPREAD] = "PodTopologySpread", [PLACE_PEERS] = "InterPodAffinity",
};

static const struct profile_resource cpu_and_memory[] = {{"cpu", 1, PROFILE_CPU},
                                                         {"memory", 1, PROFILE_MEMORY}};

/* Of defaultingType System; they hold for members of a set that have none of their own (spread.h). */
static const struct spread system_constraints[] = {
    {.max_skew = 3, .topology_key = LABEL_HOSTNAME, .when_unsatisfiable = "ScheduleAnyway"},
    {.max_skew = 5, .topology_key = LABEL_ZONE, .when_unsatisfiable = "ScheduleAnyway"},
};

static const struct profile usual = {
    .weights = {[PLACE_TAINT] = 3,
                [PLACE_AFFINITY] = 2,
                [PLACE_FIT] = 1,
                [PLACE_BALANCED] = 1,
                [PLACE_SPREAD] = 2,
                [PLACE_PEERS] = 2},
    .weights_sum = 11,
    .strategy = PROFILE_LEAST,
    .fit = cpu_and_memory,
    .fit_len = ARRAY_LEN(cpu_and_memory),
    .balanced = cpu_and_memory,
    .balanced_len = ARRAY_LEN(cpu_and_memory),
    .hard_pod_affinity_weight = 1,
    .default_constraints = system_constraints,
    .default_constraints_len = ARRAY_LEN(system_constraints),
    .system_defaulting = true,
};

const struct profile *
profile_default(void)
{
    return &usual;
}

const struct profile *
profile_compile(const struct sched_config *config, struct arena *a)
{
    return config->profiles_len > 0 ? compile(&config->profiles[0], a) : &usual;
}

const struct profile *
profile_compile_for(const struct sched_config *config, const char *scheduler_name, struct arena *a)
{
    const char *want = scheduler_name ? scheduler_name : "default-scheduler";

    for (size_t i = 0; i < config->profiles_len; i++) {
        const char *name = config->profiles[i].scheduler_name;

        if (name && strcmp(name, want) == 0)
            return compile(&config->profiles[i], a);
    }
    return profile_compile(config, a);
}

bool
profile_ignores(const struct profile *p, const char *resource)
{
    size_t group_len = strcspn(resource, "/");

    if ((p->ignored_resources.len == 0 && p->ignored_groups.len == 0) || !is_extended(resource))
        return false;
    for (size_t i = 0; i < p->ignored_resources.len; i++)
        if (strcmp(p->ignored_resources.items[i], resource) == 0)
            return true;
    for (size_t i = 0; i < p->ignored_groups.len; i++)
        if (strlen(p->ignored_groups.items[i]) == group_len &&
            memcmp(p->ignored_groups.items[i], resource, group_len) == 0)
            return true;
    return false;
}

const char *
profile_plugin_name(enum place_plugin p)
{
    return plugins[p];
}

static const struct profile *
compile(const struct sched_config_profile *in, struct arena *a)
{
    struct profile *p = arena_alloc(a, sizeof(*p));

    *p = usual;
    p->scheduler_name = in->scheduler_name;
    compile_plugins(p, in);
    for (size_t i = 0; i < in->args_len; i++)
        if (in->args[i].name)
            compile_args(p, &in->args[i], a);
    return p;
}

static void
compile_plugins(struct profile *p, const struct sched_config_profile *in)
{
    p->weights_sum = 0;
    for (size_t i = 0; i < PLACE_PLUGINS; i++) {
        p->weights[i] = weight_of(in, plugins[i], usual.weights[i]);
        p->weights_sum += p->weights[i];
    }
}

/* 0: the plugin does not score. A plugin that is enabled without a weight has 1. */
static int64_t
weight_of(const struct sched_config_profile *in, const char *name, int64_t dflt)
{
    const struct sched_config_plugin *e = find(in->score.enabled, in->score.enabled_len, name);

    if (!e && is_off(&in->score, name))
        return 0;
    if (!e)
        e = find(in->multi_point.enabled, in->multi_point.enabled_len, name);
    if (e)
        return within(e->weight, 1, INT32_MAX) ? e->weight : 1;
    return is_off(&in->multi_point, name) ? 0 : dflt;
}

static const struct sched_config_plugin *
find(const struct sched_config_plugin *list, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++)
        if (list[i].name && strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static bool
is_off(const struct sched_config_plugins *at, const char *name)
{
    return find(at->disabled, at->disabled_len, name) || find(at->disabled, at->disabled_len, "*");
}

static void
compile_args(struct profile *p, const struct sched_config_args *args, struct arena *a)
{
    if (strcmp(args->name, "NodeResourcesFit") == 0) {
        p->ignored_resources = args->ignored_resources;
        p->ignored_groups = args->ignored_groups;
        p->fit = resources(args, &p->fit_len, a);
        if (args->strategy && strcmp(args->strategy, "MostAllocated") == 0)
            p->strategy = PROFILE_MOST;
        if (args->strategy && strcmp(args->strategy, "RequestedToCapacityRatio") == 0 &&
            is_shape(args)) {
            p->strategy = PROFILE_RATIO;
            p->shape = shape(args, a);
            p->shape_len = args->shape_len;
        }
    } else if (strcmp(args->name, "NodeResourcesBalancedAllocation") == 0) {
        p->balanced = resources(args, &p->balanced_len, a);
    } else if (strcmp(args->name, "InterPodAffinity") == 0) {
        if (args->has_hard_weight && within(args->hard_weight, 0, 100))
            p->hard_pod_affinity_weight = args->hard_weight;
        p->ignore_preferred_terms_of_existing = args->ignore_preferred;
    } else if (strcmp(args->name, "PodTopologySpread") == 0) {
        if (args->defaulting_type && strcmp(args->defaulting_type, "List") == 0) {
            p->default_constraints = args->default_constraints;
            p->default_constraints_len = args->default_constraints_len;
            p->system_defaulting = false;
        }
    } else if (strcmp(args->name, "NodeAffinity") == 0) {
        p->added_affinity = &args->added_affinity;
    }
}

static const struct profile_resource *
resources(const struct sched_config_args *args, size_t *ret_len, struct arena *a)
{
    struct profile_resource *list = arena_calloc(a, args->resources_len, sizeof(*list));

    if (args->resources_len == 0) {
        *ret_len = ARRAY_LEN(cpu_and_memory);
        return cpu_and_memory;
    }
    for (size_t i = 0; i < args->resources_len; i++) {
        const struct sched_config_resource *r = &args->resources[i];
        const char *name = r->name ? r->name : "";

        list[i] = (struct profile_resource){name, within(r->weight, 1, 100) ? r->weight : 1,
                                            kind_of(name)};
    }
    *ret_len = args->resources_len;
    return list;
}

static bool
is_shape(const struct sched_config_args *args)
{
    for (size_t i = 0; i < args->shape_len; i++) {
        const struct sched_config_point *p = &args->shape[i];

        if (!within(p->utilization, 0, 100) || !within(p->score, 0, 10) ||
            (i > 0 && p[-1].utilization >= p->utilization))
            return false;
    }
    return args->shape_len > 0;
}

static const struct profile_point *
shape(const struct sched_config_args *args, struct arena *a)
{
    struct profile_point *list = arena_calloc(a, args->shape_len, sizeof(*list));

    for (size_t i = 0; i < args->shape_len; i++)
        list[i] =
            (struct profile_point){args->shape[i].utilization, args->shape[i].score * SHAPE_SCALE};
    return list;
}

static enum profile_resource_kind
kind_of(const char *name)
{
    if (strcmp(name, "cpu") == 0)
        return PROFILE_CPU;
    if (strcmp(name, "memory") == 0)
        return PROFILE_MEMORY;
    if (strcmp(name, "ephemeral-storage") == 0)
        return PROFILE_EPHEMERAL;
    return strchr(name, '/') || has_prefix(name, "hugepages-") ||
                   has_prefix(name, "attachable-volumes-")
               ? PROFILE_EXTRA
               : PROFILE_UNKNOWN;
}

/* Kubernetes' sense of the word: a name with a domain that is not its own. */
static bool
is_extended(const char *name)
{
    return strchr(name, '/') && !strstr(name, "kubernetes.io/") && !has_prefix(name, "requests.");
}

static bool
within(int64_t n, int64_t least, int64_t most)
{
    return n >= least && n <= most;
}

static bool
has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}
