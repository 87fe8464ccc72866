/* Field tables of what says where something may run: node selectors, affinity, tolerations, taints,
 * topology spread, label selectors. They are the same for VMs, pods and the cluster's nodePlacement.
 * The rules that take more than a table to state are in placement_rules.c. */
#include "api/placement_rules.h"

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
                                                      .prepare = placement_prepare_requirement,
                                                      .check = placement_requirement,
                                                      .size = sizeof(struct requirement)};
static const struct schema field_requirement_schema = {.fields = node_requirement_fields,
                                                       .check = placement_field_requirement,
                                                       .size = sizeof(struct requirement)};
static const struct schema label_requirement_schema = {.fields = label_requirement_fields,
                                                       .check = placement_requirement,
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

const struct schema node_term_schema = {.fields = node_term_fields,
                                        .size = sizeof(struct node_term)};
static const struct schema required_term_schema = {
    .fields = node_term_fields, .check = placement_required_term, .size = sizeof(struct node_term)};

static const struct field node_selector_fields[] = {
    {.name = "nodeSelectorTerms",
     .type = F_LIST,
     .flags = FIELD_REQUIRED,
     .at = AT(struct affinity, node_required),
     .second = AT(struct affinity, node_required_len),
     .sub = &required_term_schema,
     .check = placement_required_terms},
    {0},
};

static const struct schema node_selector_schema = {.fields = node_selector_fields};

static const struct field preferred_node_fields[] = {
    {.name = "weight",
     .type = F_INT,
     .flags = FIELD_REQUIRED | FIELD_CLAMP,
     .at = AT(struct preferred_node_term, weight),
     .min = 0,
     .max = INT32_MAX,
     .check = placement_weight},
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

const struct schema node_affinity_schema = {.fields = node_affinity_fields};

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
     .check = placement_namespaces},
    {.name = "topologyKey",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct pod_term, topology_key),
     .check = placement_topology_key},
    {.name = "matchLabelKeys", .type = F_STRINGS, .at = AT(struct pod_term, match_label_keys)},
    {.name = "mismatchLabelKeys",
     .type = F_STRINGS,
     .at = AT(struct pod_term, mismatch_label_keys)},
    {0},
};

static const struct schema pod_term_schema = {
    .fields = pod_term_fields, .check = placement_pod_term, .size = sizeof(struct pod_term)};

static const struct field weighted_pod_fields[] = {
    {.name = "weight",
     .type = F_INT,
     .flags = FIELD_REQUIRED | FIELD_CLAMP,
     .at = AT(struct weighted_pod_term, weight),
     .min = 0,
     .max = INT32_MAX,
     .check = placement_weight},
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
    .fields = toleration_fields, .check = placement_toleration, .size = sizeof(struct toleration)};

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
     .flags = FIELD_REQUIRED | FIELD_CLAMP,
     .at = AT(struct spread, max_skew),
     .min = 1,
     .max = INT32_MAX,
     .check = placement_above_zero},
    {.name = "topologyKey",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct spread, topology_key),
     .check = placement_topology_key},
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
     .flags = FIELD_CLAMP,
     .at = AT(struct spread, min_domains),
     .second = AT(struct spread, has_min_domains),
     .min = 1,
     .max = INT32_MAX,
     .check = placement_above_zero},
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
    .fields = spread_fields, .check = placement_spread, .size = sizeof(struct spread)};
