/* Field tables and rules of the arguments that plugins take in a KubeSchedulerConfiguration; the rest of
 * it is in schema_sched_config.c. Rules follow kube-scheduler 1.31's validation of plugin arguments. */
#include "api/schema.h"

#include <string.h>

#include "base/sb.h"

static void check_fit_strategy(struct check *c, struct tree *map);
static void check_shape(struct check *c, struct tree *list);
static void check_point(struct check *c, const struct tree *list, size_t i, const char *key,
                        int64_t most, bool rises);
static void check_resources(struct check *c, struct tree *list);
static void check_balanced_resources(struct check *c, struct tree *list);
static void check_ignored(struct check *c, struct tree *list);
static void check_ignored_groups(struct check *c, struct tree *list);
static void check_spread_args(struct check *c, struct tree *map);
static void check_preemption_args(struct check *c, struct tree *map);

static const char *const args_versions[] = {"kubescheduler.config.k8s.io/v1", NULL};

#define ARGS_FIELDS                                                    \
    {.name = "apiVersion", .type = F_STRING, .values = args_versions}, \
    {                                                                  \
        .name = "kind", .type = F_STRING                               \
    }
#define RESOURCES_FIELD(rule)                                                               \
    {                                                                                       \
        .name = "resources", .type = F_LIST, .at = AT(struct sched_config_args, resources), \
        .second = AT(struct sched_config_args, resources_len), .sub = &resource_schema,     \
        .check = rule                                                                       \
    }

static const struct field resource_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct sched_config_resource, name)},
    {.name = "weight", .type = F_INT, .at = AT(struct sched_config_resource, weight)},
    {0},
};
static const struct schema resource_schema = {.fields = resource_fields,
                                              .size = sizeof(struct sched_config_resource)};

static const struct field point_fields[] = {
    {.name = "utilization", .type = F_INT, .at = AT(struct sched_config_point, utilization)},
    {.name = "score", .type = F_INT, .at = AT(struct sched_config_point, score)},
    {0},
};
static const struct schema point_schema = {.fields = point_fields,
                                           .size = sizeof(struct sched_config_point)};

static const struct field ratio_fields[] = {
    {.name = "shape",
     .type = F_LIST,
     .at = AT(struct sched_config_args, shape),
     .second = AT(struct sched_config_args, shape_len),
     .sub = &point_schema,
     .flags = FIELD_REQUIRED,
     .check = check_shape},
    {0},
};
static const struct schema ratio_schema = {.fields = ratio_fields};

static const char *const strategies[] = {"LeastAllocated", "MostAllocated",
                                         "RequestedToCapacityRatio", NULL};
static const struct field strategy_fields[] = {
    {.name = "type",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct sched_config_args, strategy),
     .values = strategies},
    RESOURCES_FIELD(check_resources),
    {.name = "requestedToCapacityRatio", .type = F_MAP, .at = FLAT, .sub = &ratio_schema},
    {0},
};
static const struct schema strategy_schema = {.fields = strategy_fields,
                                              .check = check_fit_strategy};

static const struct field fit_fields[] = {
    ARGS_FIELDS,
    {.name = "ignoredResources",
     .type = F_STRINGS,
     .at = AT(struct sched_config_args, ignored_resources),
     .check = check_ignored},
    {.name = "ignoredResourceGroups",
     .type = F_STRINGS,
     .at = AT(struct sched_config_args, ignored_groups),
     .check = check_ignored_groups},
    {.name = "scoringStrategy", .type = F_MAP, .at = FLAT, .sub = &strategy_schema},
    {0},
};
static const struct field balanced_fields[] = {
    ARGS_FIELDS,
    RESOURCES_FIELD(check_balanced_resources),
    {0},
};
static const struct field peers_fields[] = {
    ARGS_FIELDS,
    {.name = "hardPodAffinityWeight",
     .type = F_INT,
     .at = AT(struct sched_config_args, hard_weight),
     .second = AT(struct sched_config_args, has_hard_weight),
     .max = 100},
    {.name = "ignorePreferredTermsOfExistingPods",
     .type = F_BOOL,
     .at = AT(struct sched_config_args, ignore_preferred)},
    {0},
};
static const char *const defaulting_types[] = {"System", "List", NULL};
static const struct field spread_args_fields[] = {
    ARGS_FIELDS,
    {.name = "defaultConstraints",
     .type = F_LIST,
     .at = AT(struct sched_config_args, default_constraints),
     .second = AT(struct sched_config_args, default_constraints_len),
     .sub = &spread_schema,
     .check = check_spreads},
    {.name = "defaultingType",
     .type = F_STRING,
     .at = AT(struct sched_config_args, defaulting_type),
     .values = defaulting_types},
    {0},
};
static const struct field affinity_args_fields[] = {
    ARGS_FIELDS,
    {.name = "addedAffinity",
     .type = F_MAP,
     .at = AT(struct sched_config_args, added_affinity),
     .sub = &node_affinity_schema},
    {0},
};
static const struct field preemption_fields[] = {
    ARGS_FIELDS,
    {.name = "minCandidateNodesPercentage", .type = F_INT, .max = 100},
    {.name = "minCandidateNodesAbsolute", .type = F_INT, .max = INT32_MAX},
    {0},
};
static const struct field binding_fields[] = {
    ARGS_FIELDS,
    {.name = "bindTimeoutSeconds", .type = F_INT, .max = INT64_MAX},
    {0},
};
static const struct field no_args_fields[] = {ARGS_FIELDS, {0}};

static const struct {
    const char *plugin;
    struct schema schema;
} args_schemas[] = {
    {"NodeResourcesFit", {.fields = fit_fields}},
    {"NodeResourcesBalancedAllocation", {.fields = balanced_fields}},
    {"InterPodAffinity", {.fields = peers_fields}},
    {"PodTopologySpread", {.fields = spread_args_fields, .check = check_spread_args}},
    {"NodeAffinity", {.fields = affinity_args_fields}},
    {"DefaultPreemption", {.fields = preemption_fields, .check = check_preemption_args}},
    {"VolumeBinding", {.fields = binding_fields}},
};
static const struct schema no_args_schema = {.fields = no_args_fields};

const struct schema *
plugin_args_schema(const char *plugin)
{
    for (size_t i = 0; i < ARRAY_LEN(args_schemas); i++)
        if (strcmp(args_schemas[i].plugin, plugin) == 0)
            return &args_schemas[i].schema;
    return &no_args_schema;
}

static void
check_fit_strategy(struct check *c, struct tree *map)
{
    static const char ratio[] = "requestedToCapacityRatio";
    bool by_ratio = strcmp(tree_get_string(tree_get(map, "type"), ""), strategies[2]) == 0;

    if (by_ratio && !tree_get(map, ratio))
        check_field_required(c, map, ratio,
                             "must be specified when type is "
                             "RequestedToCapacityRatio");
    else if (!by_ratio && tree_get(map, ratio) && tree_get(map, "type"))
        check_field_forbidden(c, map, ratio,
                              "must be nil when type is not "
                              "RequestedToCapacityRatio");
}

static void
check_shape(struct check *c, struct tree *list)
{
    if (tree_len(list) == 0)
        check_required(c, tree_pos(list), "at least one point must be specified");
    for (size_t i = 0; i < tree_len(list); i++) {
        check_point(c, list, i, "utilization", 100, true);
        check_point(c, list, i, "score", 10, false);
    }
}

/* One number of an item: within 0 and most, and above the item's before it when it must rise. */
static void
check_point(struct check *c, const struct tree *list, size_t i, const char *key, int64_t most,
            bool rises)
{
    struct tree *v = tree_get(tree_at(list, i), key);
    int64_t n = tree_get_int(v, 0);
    struct path item;

    check_enter_item(c, &item, i);
    if (n < 0 || n > most) {
        AUTO_FREE char *why = xasprintf("not in valid range [0, %lld]", (long long)most);

        check_field_invalid(c, tree_at(list, i), key, why);
    } else if (rises && i > 0 && tree_get_int(tree_get(tree_at(list, i - 1), key), 0) >= n) {
        if (v)
            check_field_invalid(c, tree_at(list, i), key,
                                "values must be sorted in increasing order");
        else
            check_field_required(c, tree_at(list, i), key,
                                 "values must be sorted in increasing order, and absent is 0");
    }
    check_leave(c);
}

/* An absent weight, and 0, is 1. */
static void
check_resources(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *r = tree_at(list, i);
        int64_t weight = tree_get_int(tree_get(r, "weight"), 0);
        struct path item;

        if (weight >= 0 && weight <= 100)
            continue;
        AUTO_FREE char *why = xasprintf("resource weight of %.80s not in valid range (0, 100]",
                                        tree_get_string(tree_get(r, "name"), ""));

        check_enter_item(c, &item, i);
        check_field_invalid(c, r, "weight", why);
        check_leave(c);
    }
}

static void
check_balanced_resources(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *r = tree_at(list, i), *name = tree_get(r, "name");
        int64_t weight = tree_get_int(tree_get(r, "weight"), 0);
        struct path item, field;

        check_enter_item(c, &item, i);
        if (weight != 0 && weight != 1)
            check_field_invalid(c, r, "weight", "must be 1");
        for (size_t k = 0; k < i; k++) {
            if (strcmp(tree_get_string(tree_get(tree_at(list, k), "name"), ""),
                       tree_get_string(name, "")) != 0)
                continue;
            check_enter(c, &field, "name");
            check_duplicate(c, name);
            check_leave(c);
            break;
        }
        check_leave(c);
    }
}

static void
check_ignored(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path item;

        check_enter_item(c, &item, i);
        check_label_key(c, tree_at(list, i));
        check_leave(c);
    }
}

static void
check_ignored_groups(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path item;

        check_enter_item(c, &item, i);
        if (strchr(tree_get_string(tree_at(list, i), ""), '/'))
            check_invalid(c, tree_at(list, i), "resource group name can't contain '/'");
        else
            check_label_key(c, tree_at(list, i));
        check_leave(c);
    }
}

static void
check_spread_args(struct check *c, struct tree *map)
{
    struct tree *list = tree_get(map, "defaultConstraints"),
                *type = tree_get(map, "defaultingType");
    struct path field, item;

    if (tree_type(list) != TREE_LIST || tree_len(list) == 0)
        return;
    check_enter(c, &field, "defaultConstraints");
    for (size_t i = 0; i < tree_len(list); i++) {
        check_enter_item(c, &item, i);
        if (tree_get(tree_at(list, i), "labelSelector"))
            check_field_forbidden(
                c, tree_at(list, i), "labelSelector",
                "constraint must not define a selector, as they deduced for each pod");
        check_leave(c);
    }
    check_leave(c);
    if (strcmp(tree_get_string(type, "System"), "System") != 0)
        return;
    check_enter(c, &field, "defaultingType");
    check_invalid_text(c, tree_pos(type ? type : list), "System",
                       "when .defaultConstraints are not empty (want List)");
    check_leave(c);
}

static void
check_preemption_args(struct check *c, struct tree *map)
{
    if (tree_get_int(tree_get(map, "minCandidateNodesPercentage"), 10) == 0 &&
        tree_get_int(tree_get(map, "minCandidateNodesAbsolute"), 100) == 0)
        check_field_invalid(c, map, "minCandidateNodesPercentage",
                            "cannot be zero at the same time as minCandidateNodesAbsolute");
}
