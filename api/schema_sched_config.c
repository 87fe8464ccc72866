/* Field tables and rules of KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): which plugins
 * score with which weights, and the arguments of those that take any. An input of drover schedule
 * only. Rules follow kube-scheduler 1.31's config validation. What cannot change a placement here (threads,
 * leader election, back-off) is accepted without a word once it is valid; what would change one in
 * kube-scheduler and does not here is named in a warning. */
#include "api/schema.h"

#include <string.h>

#include "base/sb.h"

static void check_config(struct check *c, struct tree *map);
static void check_profiles(struct check *c, struct tree *list);
static void check_plugin_name(struct check *c, struct tree *v);
static void check_disabled_name(struct check *c, struct tree *v);
static void check_score_set(struct check *c, struct tree *map);
static void check_multi_point(struct check *c, struct tree *map);
static void check_no_effect(struct check *c, struct tree *list);
static void check_weight(struct check *c, struct tree *v);
static void check_plugin_args(struct check *c, struct tree *map);
static void check_sampling(struct check *c, struct tree *v);
static unsigned plugin_find(const char *name, bool *ret_known);
static void warn_item(struct check *c, const struct tree *item, size_t i, const char *why);

#define SWITCH(n)                 \
    {                             \
        .name = n, .type = F_BOOL \
    }
#define SCORES  1 /* the plugin scores nodes */
#define COUNTS  2 /* and its weight counts here */
#define FILTERS 4 /* the plugin refuses nodes here, whatever the configuration says */

/* All of kube-scheduler 1.31's. */
static const struct {
    const char *name;
    unsigned what;
} plugins[] = {
    {"TaintToleration", SCORES | COUNTS | FILTERS},
    {"NodeAffinity", SCORES | COUNTS | FILTERS},
    {"NodeResourcesFit", SCORES | COUNTS | FILTERS},
    {"NodeResourcesBalancedAllocation", SCORES | COUNTS},
    {"PodTopologySpread", SCORES | COUNTS | FILTERS},
    {"InterPodAffinity", SCORES | COUNTS | FILTERS},
    {"ImageLocality", SCORES},
    {"VolumeBinding", SCORES},
    {"NodeName", FILTERS},
    {"NodeUnschedulable", FILTERS},
    {"NodePorts", 0},
    {"VolumeRestrictions", 0},
    {"VolumeZone", 0},
    {"NodeVolumeLimits", 0},
    {"EBSLimits", 0},
    {"GCEPDLimits", 0},
    {"AzureDiskLimits", 0},
    {"CinderLimits", 0},
    {"DynamicResources", 0},
    {"SchedulingGates", FILTERS},
    {"PrioritySort", 0},
    {"DefaultPreemption", 0},
    {"DefaultBinder", 0},
};

/* --- profiles --- */

static const struct field enabled_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct sched_config_plugin, name),
     .check = check_plugin_name},
    {.name = "weight",
     .type = F_INT,
     .at = AT(struct sched_config_plugin, weight),
     .max = INT32_MAX,
     .check = check_weight},
    {0},
};
static const struct schema enabled_schema = {.fields = enabled_fields,
                                             .size = sizeof(struct sched_config_plugin)};
static const struct field disabled_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct sched_config_plugin, name),
     .check = check_disabled_name},
    {.name = "weight", .type = F_INT, .max = INT32_MAX},
    {0},
};
static const struct schema disabled_schema = {.fields = disabled_fields,
                                              .size = sizeof(struct sched_config_plugin)};

static const struct field set_fields[] = {
    {.name = "enabled",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct sched_config_plugins, enabled),
     .second = AT(struct sched_config_plugins, enabled_len),
     .sub = &enabled_schema},
    {.name = "disabled",
     .type = F_LIST,
     .at = AT(struct sched_config_plugins, disabled),
     .second = AT(struct sched_config_plugins, disabled_len),
     .sub = &disabled_schema},
    {0},
};
static const struct schema score_set_schema = {.fields = set_fields, .check = check_score_set};
static const struct schema multi_point_schema = {.fields = set_fields, .check = check_multi_point};
static const struct schema set_schema = {.fields = set_fields};

#define POINT(n)                                                           \
    {                                                                      \
        .name = n, .type = F_MAP, .flags = FIELD_LATER, .sub = &set_schema \
    }

static const struct field points_fields[] = {
    {.name = "multiPoint",
     .type = F_MAP,
     .at = AT(struct sched_config_profile, multi_point),
     .sub = &multi_point_schema},
    {.name = "score",
     .type = F_MAP,
     .at = AT(struct sched_config_profile, score),
     .sub = &score_set_schema},
    POINT("preEnqueue"),
    POINT("queueSort"),
    POINT("preFilter"),
    POINT("filter"),
    POINT("postFilter"),
    POINT("preScore"),
    POINT("reserve"),
    POINT("permit"),
    POINT("preBind"),
    POINT("bind"),
    POINT("postBind"),
    {0},
};
static const struct schema points_schema = {.fields = points_fields};

static const struct field plugin_config_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct sched_config_args, name),
     .check = check_plugin_name},
    ANYTHING("args"), /* by name: check_plugin_args, and sched_config_decode */
    {0},
};
static const struct schema plugin_config_schema = {.fields = plugin_config_fields,
                                                   .check = check_plugin_args,
                                                   .size = sizeof(struct sched_config_args)};

static const struct field profile_fields[] = {
    {.name = "schedulerName",
     .type = F_STRING,
     .flags = FIELD_NONEMPTY,
     .at = AT(struct sched_config_profile, scheduler_name)},
    {.name = "percentageOfNodesToScore", .type = F_INT, .max = 100, .check = check_sampling},
    {.name = "plugins", .type = F_MAP, .at = FLAT, .sub = &points_schema},
    {.name = "pluginConfig",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct sched_config_profile, args),
     .second = AT(struct sched_config_profile, args_len),
     .sub = &plugin_config_schema},
    {0},
};
static const struct schema profile_schema = {.fields = profile_fields,
                                             .size = sizeof(struct sched_config_profile)};

static const struct field config_fields[] = {
    {.name = "apiVersion", .type = F_STRING},
    {.name = "kind", .type = F_STRING},
    {.name = "profiles",
     .type = F_LIST,
     .at = AT(struct sched_config, profiles),
     .second = AT(struct sched_config, profiles_len),
     .sub = &profile_schema,
     .check = check_profiles},
    {.name = "percentageOfNodesToScore", .type = F_INT, .max = 100, .check = check_sampling},
    {.name = "parallelism", .type = F_INT, .min = 1, .max = INT32_MAX},
    {.name = "podInitialBackoffSeconds", .type = F_INT, .min = 1, .max = INT64_MAX},
    {.name = "podMaxBackoffSeconds", .type = F_INT, .max = INT64_MAX},
    SWITCH("enableProfiling"),
    SWITCH("enableContentionProfiling"),
    SWITCH("delayCacheUntilActive"),
    ANYTHING("clientConnection"),
    ANYTHING("leaderElection"),
    {0},
};
static const char *const config_kept[] = {"extenders", NULL};
const struct schema sched_config_schema = {.fields = config_fields,
                                           .kept = config_kept,
                                           .check = check_config,
                                           .size = sizeof(struct sched_config)};

struct sched_config *
sched_config_decode(const struct tree *obj, struct arena *a)
{
    struct sched_config *config = arena_alloc(a, sizeof *config);
    const struct tree *profiles = tree_get(obj, "profiles");
    size_t at = 0;

    schema_decode(&sched_config_schema, obj, config, a);
    for (size_t i = 0; i < tree_len(profiles); i++) {
        const struct tree *list = tree_get(tree_at(profiles, i), "pluginConfig");
        struct sched_config_profile *p = &config->profiles[at];
        size_t arg = 0;

        if (tree_type(tree_at(profiles, i)) != TREE_MAP)
            continue;
        at++;
        for (size_t k = 0; tree_type(list) == TREE_LIST && k < tree_len(list); k++) {
            if (tree_type(tree_at(list, k)) != TREE_MAP)
                continue;
            if (p->args[arg].name)
                schema_decode(plugin_args_schema(p->args[arg].name),
                              tree_get(tree_at(list, k), "args"), &p->args[arg], a);
            arg++;
        }
    }
    return config;
}

/* --- rules --- */

static void
check_config(struct check *c, struct tree *map)
{
    int64_t first = tree_get_int(tree_get(map, "podInitialBackoffSeconds"), 1);
    int64_t most = tree_get_int(tree_get(map, "podMaxBackoffSeconds"), 10);

    if (most < first && tree_get(map, "podMaxBackoffSeconds"))
        check_field_invalid(c, map, "podMaxBackoffSeconds",
                            "must be greater than or equal to PodInitialBackoffSeconds");
    else if (most < first)
        check_field_invalid(c, map, "podInitialBackoffSeconds",
                            "must not be greater than podMaxBackoffSeconds, which is 10");
}

/* A single profile may go without a name. */
static void
check_profiles(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *name = tree_get(tree_at(list, i), "schedulerName");
        struct path item, field;

        check_enter_item(c, &item, i);
        if (!name && tree_len(list) > 1)
            check_field_required(c, tree_at(list, i), "schedulerName", NULL);
        for (size_t k = 0; name && k < i; k++) {
            const char *other = tree_get_string(tree_get(tree_at(list, k), "schedulerName"), NULL);

            if (!other || strcmp(other, tree_get_string(name, "")) != 0)
                continue;
            check_enter(c, &field, "schedulerName");
            check_duplicate(c, name);
            check_leave(c);
            break;
        }
        check_leave(c);
    }
}

static unsigned
plugin_find(const char *name, bool *ret_known)
{
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        if (strcmp(plugins[i].name, name) == 0) {
            *ret_known = true;
            return plugins[i].what;
        }
    }
    *ret_known = false;
    return 0;
}

static void
check_plugin_name(struct check *c, struct tree *v)
{
    const char *names[ARRAY_LEN(plugins) + 1] = {NULL};
    bool known;

    plugin_find(tree_get_string(v, ""), &known);
    if (known)
        return;
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
        names[i] = plugins[i].name;
    check_unsupported(c, v, names, NULL);
}

static void
check_disabled_name(struct check *c, struct tree *v)
{
    if (strcmp(tree_get_string(v, ""), "*") != 0)
        check_plugin_name(c, v);
}

static void
check_score_set(struct check *c, struct tree *map)
{
    struct tree *list = tree_get(map, "enabled");
    struct path field, item, name;

    check_enter(c, &field, "enabled");
    for (size_t i = 0; tree_type(list) == TREE_LIST && i < tree_len(list); i++) {
        struct tree *v = tree_get(tree_at(list, i), "name");
        bool known;
        unsigned what = plugin_find(tree_get_string(v, ""), &known);

        if (!known || (what & SCORES))
            continue;
        check_enter_item(c, &item, i);
        check_enter(c, &name, "name");
        check_invalid(c, v, "does not extend the score point: it scores no nodes");
        check_leave(c);
        check_leave(c);
    }
    check_no_effect(c, list);
    check_leave(c);
}

/* Filters cannot be switched off here: what a VM asks for is never passed over. */
static void
check_multi_point(struct check *c, struct tree *map)
{
    struct tree *list = tree_get(map, "disabled");
    struct path field;

    check_enter(c, &field, "disabled");
    for (size_t i = 0; tree_type(list) == TREE_LIST && i < tree_len(list); i++) {
        const char *name = tree_get_string(tree_get(tree_at(list, i), "name"), "");
        bool known;

        if (strcmp(name, "*") == 0 || (plugin_find(name, &known) & FILTERS))
            warn_item(c, tree_at(list, i), i, "takes away scores only: filters stay");
    }
    check_leave(c);
    check_enter(c, &field, "enabled");
    check_no_effect(c, tree_get(map, "enabled"));
    check_leave(c);
}

/* Weights of plugins that score in kube-scheduler and not here. */
static void
check_no_effect(struct check *c, struct tree *list)
{
    for (size_t i = 0; tree_type(list) == TREE_LIST && i < tree_len(list); i++) {
        const char *name = tree_get_string(tree_get(tree_at(list, i), "name"), "");
        bool known;
        unsigned what = plugin_find(name, &known);

        if ((what & SCORES) && !(what & COUNTS))
            warn_item(c, tree_at(list, i), i,
                      "has no effect: images and volumes are not scored here");
    }
}

static void
warn_item(struct check *c, const struct tree *item, size_t i, const char *why)
{
    struct path p;

    check_enter_item(c, &p, i);
    check_warn(c, "%s %s", tree_get_string(tree_get(item, "name"), ""), why);
    check_leave(c);
}

static void
check_weight(struct check *c, struct tree *v)
{
    if (tree_get_int(v, 0) == 0)
        check_warn(c, "0 counts as 1; list the plugin under disabled to switch its score off");
}

static void
check_plugin_args(struct check *c, struct tree *map)
{
    const char *name = tree_get_string(tree_get(map, "name"), "");
    struct tree *args = tree_get(map, "args"), *kind;
    struct path p, field;
    bool known;

    plugin_find(name, &known);
    if (!known || tree_type(args) == TREE_NULL)
        return;
    check_enter(c, &p, "args");
    kind = tree_get(args, "kind");
    if (tree_type(args) != TREE_MAP) {
        check_type(c, args, "want a map");
    } else {
        AUTO_FREE char *want = xasprintf("%sArgs", name);

        schema_check(plugin_args_schema(name), c, args);
        check_enter(c, &field, "kind");
        if (tree_type(kind) == TREE_STRING && strcmp(tree_get_string(kind, ""), want) != 0)
            check_invalid(c, kind, "has to match plugin args: want %s", want);
        check_leave(c);
    }
    check_leave(c);
}

static void
check_sampling(struct check *c, struct tree *v)
{
    int64_t percentage = tree_get_int(v, 0);

    if (percentage != 100)
        check_warn(c, "has no effect: every node is looked at");
}
