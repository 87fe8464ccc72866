/* Field tables and rules of what says where something may run: node selectors, affinity, tolerations,
 * taints, topology spread, label selectors. They are the same for VMs, pods and the cluster's
 * nodePlacement. Rules follow Kubernetes' core validation (spec/schedulers.md 1.2, 1.3, 1.6). */
#include "api/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "base/strmap.h"

static void prepare_requirement(struct check *c, struct tree *map);
static void check_requirement(struct check *c, struct tree *map);
static void check_requirement_values(struct check *c, const struct tree *map, struct tree *values,
                                     const char *op);
static void check_field_requirement(struct check *c, struct tree *map);
static void check_weight(struct check *c, struct tree *v);
static void check_topology_key(struct check *c, struct tree *v);
static void check_namespaces(struct check *c, struct tree *list);
static void check_toleration(struct check *c, struct tree *map);
static void check_toleration_value(struct check *c, const struct tree *map, const char *op);
static void check_spread(struct check *c, struct tree *map);

static const char *const node_operators[] = {"In", "NotIn", "Exists", "DoesNotExist",
                                             "Gt", "Lt",    NULL};
static const char *const label_operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
static const char *const toleration_operators[] = {"Equal", "Exists", "Gt", "Lt", "", NULL};
static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
static const char *const effects_or_all[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", "",
                                             NULL};
static const char *const spread_actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
static const char *const spread_policies[] = {"Honor", "Ignore", NULL};

/* --- requirements --- */

#define REQUIREMENT_FIELDS(operators)                                                \
    {.name = "key",                                                                  \
     .type = F_STRING,                                                               \
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,                                       \
     .at = AT(struct requirement, key)},                                             \
        {.name = "operator",                                                         \
         .type = F_OPERATOR,                                                         \
         .flags = FIELD_REQUIRED | FIELD_NONEMPTY,                                   \
         .at = AT(struct requirement, op),                                           \
         .values = operators},                                                       \
        {.name = "values", .type = F_STRINGS, .at = AT(struct requirement, values)}, \
    {                                                                                \
        0                                                                            \
    }

static const struct field node_requirement_fields[] = {REQUIREMENT_FIELDS(node_operators)};
static const struct field label_requirement_fields[] = {REQUIREMENT_FIELDS(label_operators)};

static const struct schema node_requirement_schema = {.fields = node_requirement_fields,
                                                      .prepare = prepare_requirement,
                                                      .check = check_requirement,
                                                      .size = sizeof(struct requirement)};
static const struct schema field_requirement_schema = {.fields = node_requirement_fields,
                                                       .check = check_field_requirement,
                                                       .size = sizeof(struct requirement)};
static const struct schema label_requirement_schema = {.fields = label_requirement_fields,
                                                       .check = check_requirement,
                                                       .size = sizeof(struct requirement)};

static const struct field label_selector_fields[] = {
    {.name = "matchLabels",
     .type = F_KV,
     .at = AT(struct label_selector, match_labels),
     .check = check_labels},
    {.name = "matchExpressions",
     .type = F_LIST,
     .at = AT(struct label_selector, exprs),
     .second = AT(struct label_selector, exprs_len),
     .sub = &label_requirement_schema},
    {0},
};

const struct schema label_selector_schema = {.fields = label_selector_fields,
                                             .size = sizeof(struct label_selector)};

/* --- affinity --- */

static const struct field node_term_fields[] = {
    {.name = "matchExpressions",
     .type = F_LIST,
     .at = AT(struct node_term, exprs),
     .second = AT(struct node_term, exprs_len),
     .sub = &node_requirement_schema},
    {.name = "matchFields",
     .type = F_LIST,
     .at = AT(struct node_term, fields),
     .second = AT(struct node_term, fields_len),
     .sub = &field_requirement_schema},
    {0},
};

static const struct schema node_term_schema = {.fields = node_term_fields,
                                               .size = sizeof(struct node_term)};

static const struct field node_selector_fields[] = {
    {.name = "nodeSelectorTerms",
     .type = F_LIST,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct affinity, node_required),
     .second = AT(struct affinity, node_required_len),
     .sub = &node_term_schema},
    {0},
};

static const struct schema node_selector_schema = {.fields = node_selector_fields};

static const struct field preferred_node_fields[] = {
    {.name = "weight",
     .type = F_INT,
     .flags = FIELD_REQUIRED,
     .at = AT(struct preferred_node_term, weight),
     .check = check_weight},
    {.name = "preference",
     .type = F_MAP,
     .flags = FIELD_REQUIRED,
     .at = AT(struct preferred_node_term, preference),
     .sub = &node_term_schema},
    {0},
};

static const struct schema preferred_node_schema = {.fields = preferred_node_fields,
                                                    .size = sizeof(struct preferred_node_term)};

static const struct field node_affinity_fields[] = {
    {.name = "requiredDuringSchedulingIgnoredDuringExecution",
     .type = F_MAP,
     .at = FLAT,
     .second = AT(struct affinity, has_node_required),
     .sub = &node_selector_schema},
    {.name = "preferredDuringSchedulingIgnoredDuringExecution",
     .type = F_LIST,
     .at = AT(struct affinity, node_preferred),
     .second = AT(struct affinity, node_preferred_len),
     .sub = &preferred_node_schema},
    {0},
};

static const struct schema node_affinity_schema = {.fields = node_affinity_fields};

static const struct field pod_term_fields[] = {
    {.name = "labelSelector",
     .type = F_POINTER,
     .at = AT(struct pod_term, selector),
     .sub = &label_selector_schema},
    {.name = "namespaceSelector",
     .type = F_POINTER,
     .at = AT(struct pod_term, namespace_selector),
     .sub = &label_selector_schema},
    {.name = "namespaces",
     .type = F_STRINGS,
     .at = AT(struct pod_term, namespaces),
     .check = check_namespaces},
    {.name = "topologyKey",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct pod_term, topology_key),
     .check = check_topology_key},
    {.name = "matchLabelKeys", .type = F_STRINGS, .at = AT(struct pod_term, match_label_keys)},
    {.name = "mismatchLabelKeys",
     .type = F_STRINGS,
     .at = AT(struct pod_term, mismatch_label_keys)},
    {0},
};

static const struct schema pod_term_schema = {.fields = pod_term_fields,
                                              .size = sizeof(struct pod_term)};

static const struct field weighted_pod_fields[] = {
    {.name = "weight",
     .type = F_INT,
     .flags = FIELD_REQUIRED,
     .at = AT(struct weighted_pod_term, weight),
     .check = check_weight},
    {.name = "podAffinityTerm",
     .type = F_MAP,
     .flags = FIELD_REQUIRED,
     .at = AT(struct weighted_pod_term, term),
     .sub = &pod_term_schema},
    {0},
};

static const struct schema weighted_pod_schema = {.fields = weighted_pod_fields,
                                                  .size = sizeof(struct weighted_pod_term)};

#define POD_AFFINITY_FIELDS(required, preferred)                    \
    {.name = "requiredDuringSchedulingIgnoredDuringExecution",      \
     .type = F_LIST,                                                \
     .at = AT(struct affinity, required),                           \
     .second = AT(struct affinity, required##_len),                 \
     .sub = &pod_term_schema},                                      \
        {.name = "preferredDuringSchedulingIgnoredDuringExecution", \
         .type = F_LIST,                                            \
         .at = AT(struct affinity, preferred),                      \
         .second = AT(struct affinity, preferred##_len),            \
         .sub = &weighted_pod_schema},                              \
    {                                                               \
        0                                                           \
    }

static const struct field pod_affinity_fields[] = {
    POD_AFFINITY_FIELDS(pod_required, pod_preferred)};
static const struct field pod_anti_affinity_fields[] = {
    POD_AFFINITY_FIELDS(pod_anti_required, pod_anti_preferred)};

static const struct schema pod_affinity_schema = {.fields = pod_affinity_fields};
static const struct schema pod_anti_affinity_schema = {.fields = pod_anti_affinity_fields};

static const struct field affinity_fields[] = {
    {.name = "nodeAffinity", .type = F_MAP, .at = FLAT, .sub = &node_affinity_schema},
    {.name = "podAffinity", .type = F_MAP, .at = FLAT, .sub = &pod_affinity_schema},
    {.name = "podAntiAffinity", .type = F_MAP, .at = FLAT, .sub = &pod_anti_affinity_schema},
    {0},
};

const struct schema affinity_schema = {.fields = affinity_fields, .size = sizeof(struct affinity)};

/* --- tolerations, taints, spread --- */

static const struct field toleration_fields[] = {
    {.name = "key", .type = F_STRING, .at = AT(struct toleration, key)},
    {.name = "operator",
     .type = F_STRING,
     .at = AT(struct toleration, operator_),
     .values = toleration_operators},
    {.name = "value", .type = F_STRING, .at = AT(struct toleration, value)},
    {.name = "effect",
     .type = F_STRING,
     .at = AT(struct toleration, effect),
     .values = effects_or_all},
    {.name = "tolerationSeconds",
     .type = F_INT,
     .at = AT(struct toleration, seconds),
     .second = AT(struct toleration, has_seconds)},
    {0},
};

const struct schema toleration_schema = {
    .fields = toleration_fields, .check = check_toleration, .size = sizeof(struct toleration)};

static const struct field taint_fields[] = {
    {.name = "key",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct taint, key),
     .check = check_label_key},
    {.name = "value", .type = F_STRING, .at = AT(struct taint, value), .check = check_label_value},
    {.name = "effect",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct taint, effect),
     .values = effects},
    {.name = "timeAdded", .type = F_TIME, .at = AT(struct taint, time_added_us)},
    {0},
};

const struct schema taint_schema = {.fields = taint_fields, .size = sizeof(struct taint)};

static const struct field spread_fields[] = {
    {.name = "maxSkew",
     .type = F_INT,
     .flags = FIELD_REQUIRED,
     .at = AT(struct spread, max_skew),
     .min = 1,
     .max = INT32_MAX},
    {.name = "topologyKey",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct spread, topology_key),
     .check = check_topology_key},
    {.name = "whenUnsatisfiable",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct spread, when_unsatisfiable),
     .values = spread_actions},
    {.name = "labelSelector",
     .type = F_POINTER,
     .at = AT(struct spread, selector),
     .sub = &label_selector_schema},
    {.name = "minDomains",
     .type = F_INT,
     .at = AT(struct spread, min_domains),
     .second = AT(struct spread, has_min_domains),
     .min = 1,
     .max = INT32_MAX},
    {.name = "nodeAffinityPolicy",
     .type = F_STRING,
     .at = AT(struct spread, node_affinity_policy),
     .values = spread_policies},
    {.name = "nodeTaintsPolicy",
     .type = F_STRING,
     .at = AT(struct spread, node_taints_policy),
     .values = spread_policies},
    {.name = "matchLabelKeys", .type = F_STRINGS, .at = AT(struct spread, match_label_keys)},
    {0},
};

const struct schema spread_schema = {
    .fields = spread_fields, .check = check_spread, .size = sizeof(struct spread)};

/* --- rules --- */

/* The documents write `values: [8]` under Gt (seeds P10): an integer there is meant as its text. */
static void
prepare_requirement(struct check *c, struct tree *map)
{
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    struct tree *values = tree_get(map, "values");
    struct path field, item;

    if ((strcmp(op, "Gt") != 0 && strcmp(op, "Lt") != 0) || tree_type(values) != TREE_LIST ||
        tree_len(values) != 1 || tree_type(tree_at(values, 0)) != TREE_INT)
        return;
    int64_t i = tree_get_int(tree_at(values, 0), 0);
    struct tree *list = tree_list(), *text = tree_stringf("%" PRId64, i);

    tree_set_pos(list, tree_pos(values));
    tree_set_pos(text, tree_pos(tree_at(values, 0)));
    tree_append(list, text);
    tree_set(map, "values", list);
    check_enter(c, &field, "values");
    check_enter_item(c, &item, 0);
    check_warn(c, "should be a string: %" PRId64 " is taken as \"%" PRId64 "\"", i, i);
    check_leave(c);
    check_leave(c);
}

static void
check_requirement(struct check *c, struct tree *map)
{
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    struct tree *key = tree_get(map, "key"), *values = tree_get(map, "values");
    struct path p;

    if (*tree_get_string(key, "")) {
        check_enter(c, &p, "key");
        check_label_key(c, key);
        check_leave(c);
    }
    if (values && tree_type(values) != TREE_LIST)
        return;
    check_enter(c, &p, "values");
    check_requirement_values(c, map, values, op);
    check_leave(c);
}

static void
check_requirement_values(struct check *c, const struct tree *map, struct tree *values,
                         const char *op)
{
    size_t len = tree_len(values);
    struct tree_pos pos = tree_pos(values ? values : map);
    bool compares = strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0;
    int64_t i;

    if ((strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0) && len == 0)
        check_required(c, pos, "must be specified when `operator` is 'In' or 'NotIn'");
    else if ((strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) && len > 0)
        check_forbidden(c, pos,
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if (compares && len != 1)
        check_required(c, pos, "must be specified single value when `operator` is 'Lt' or 'Gt'");
    for (size_t v = 0; v < len; v++) {
        struct tree *value = tree_at(values, v);
        struct path p;

        if (tree_type(value) != TREE_STRING)
            continue;
        check_enter_item(c, &p, v);
        check_label_value(c, value);
        if (compares && len == 1 && !label_int(tree_get_string(value, ""), &i))
            check_invalid(c, value, "must be an integer when `operator` is 'Lt' or 'Gt'");
        check_leave(c);
    }
}

/* matchFields knows the node's name only. */
static void
check_field_requirement(struct check *c, struct tree *map)
{
    static const char *const keys[] = {"metadata.name", NULL};
    static const char *const operators[] = {"In", "NotIn", NULL};
    struct tree *key = tree_get(map, "key"), *op = tree_get(map, "operator");
    struct path p;

    if (*tree_get_string(key, "") && !check_is_one_of(tree_get_string(key, ""), keys)) {
        check_enter(c, &p, "key");
        check_unsupported(c, key, keys, NULL);
        check_leave(c);
    }
    if (!*tree_get_string(op, ""))
        return;
    if (!check_is_one_of(tree_get_string(op, ""), operators)) {
        check_enter(c, &p, "operator");
        check_unsupported(c, op, operators, NULL);
        check_leave(c);
    } else if (tree_len(tree_get(map, "values")) != 1) {
        check_field_required(c, map, "values",
                             "must be only one value when `operator` is 'In' or 'NotIn' for node "
                             "field selector");
    }
}

static void
check_weight(struct check *c, struct tree *v)
{
    int64_t weight = tree_get_int(v, 0);

    if (weight < 1 || weight > 100)
        check_invalid(c, v, "must be in the range 1-100");
}

static void
check_topology_key(struct check *c, struct tree *v)
{
    if (!*tree_get_string(v, ""))
        check_required(c, tree_pos(v), "can not be empty");
    else
        check_label_key(c, v);
}

static void
check_namespaces(struct check *c, struct tree *list)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        struct path p;

        check_enter_item(c, &p, i);
        check_name_label(c, tree_at(list, i));
        check_leave(c);
    }
}

static void
check_toleration(struct check *c, struct tree *map)
{
    const char *key = tree_get_string(tree_get(map, "key"), "");
    const char *op = tree_get_string(tree_get(map, "operator"), "");
    const char *effect = tree_get_string(tree_get(map, "effect"), "");
    struct path p;

    if (*key) {
        check_enter(c, &p, "key");
        check_label_key(c, tree_get(map, "key"));
        check_leave(c);
    } else if (strcmp(op, "Exists") != 0) {
        check_field_invalid(c, map, "operator",
                            "operator must be Exists when `key` is empty, which means \"match all "
                            "values and all keys\"");
    }
    if (tree_get(map, "tolerationSeconds") && strcmp(effect, "NoExecute") != 0)
        check_field_invalid(c, map, "effect",
                            "effect must be 'NoExecute' when `tolerationSeconds` is set");
    check_toleration_value(c, map, op);
}

static void
check_toleration_value(struct check *c, const struct tree *map, const char *op)
{
    struct tree *value = tree_get(map, "value");
    const char *text = tree_get_string(value, "");
    char canonical[32];
    int64_t i;

    if (strcmp(op, "Exists") == 0) {
        if (*text)
            check_field_invalid(c, map, "value", "value must be empty when `operator` is 'Exists'");
        return;
    }
    if (strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0) {
        bool ok = label_int(text, &i);

        if (ok) {
            snprintf(canonical, sizeof canonical, "%" PRId64, i);
            ok = strcmp(canonical, text) == 0;
        }
        if (!ok)
            check_field_invalid(c, map, "value",
                                "value must be a decimal integer without leading zeros or '+' when "
                                "`operator` is 'Gt' or 'Lt'");
        return;
    }
    if (tree_type(value) == TREE_STRING) {
        struct path p;

        check_enter(c, &p, "value");
        check_label_value(c, value);
        check_leave(c);
    }
}

static void
check_spread(struct check *c, struct tree *map)
{
    const char *action = tree_get_string(tree_get(map, "whenUnsatisfiable"), "");

    if (tree_get(map, "minDomains") && strcmp(action, "DoNotSchedule") != 0)
        check_field_invalid(c, map, "minDomains",
                            "can only use minDomains if whenUnsatisfiable=DoNotSchedule");
}

/* Taints must differ in key or effect. */
void
check_taints(struct check *c, struct tree *list)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *taint = tree_at(list, i);
        AUTO_FREE char *id = xasprintf("%s:%s", tree_get_string(tree_get(taint, "key"), ""),
                                       tree_get_string(tree_get(taint, "effect"), ""));
        struct path p;

        if (!strmap_put(seen, id, taint))
            continue;
        check_enter_item(c, &p, i);
        check_duplicate(c, taint);
        check_leave(c);
    }
    strmap_free(seen, NULL);
}

/* Spread constraints must differ in topologyKey or whenUnsatisfiable. */
void
check_spreads(struct check *c, struct tree *list)
{
    struct strmap *seen = strmap_new();

    for (size_t i = 0; i < tree_len(list); i++) {
        struct tree *s = tree_at(list, i);
        AUTO_FREE char *id = xasprintf("{%s, %s}", tree_get_string(tree_get(s, "topologyKey"), ""),
                                       tree_get_string(tree_get(s, "whenUnsatisfiable"), ""));
        struct path p;

        if (!strmap_put(seen, id, s))
            continue;
        AUTO_TREE struct tree *text = tree_string(id);

        tree_set_pos(text, tree_pos(s));
        check_enter_item(c, &p, i);
        check_duplicate(c, text);
        check_leave(c);
    }
    strmap_free(seen, NULL);
}
