/* Field tables and rules of what says who may push whom aside: PriorityClass (scheduling.k8s.io/v1)
 * and PodDisruptionBudget (policy/v1). Names and texts follow upstream. */
#include "api/schema.h"

#include <string.h>

#include "api/names.h"

static void check_priority_class(struct check *c, struct tree *obj);
static void check_disruptions(struct check *c, struct tree *value);
static void check_pdb_spec(struct check *c, struct tree *spec);

/* --- PriorityClass --- */

static const char *const preemption_policies[] = {"PreemptLowerPriority", "Never", NULL};

static const struct field priority_class_fields[] = {
    OBJECT_FIELDS(struct priority_class),
    {.name = "value",
     .type = F_INT,
     .flags = FIELD_REQUIRED,
     .at = AT(struct priority_class, value),
     .min = INT32_MIN,
     .max = INT32_MAX},
    {.name = "globalDefault", .type = F_BOOL, .at = AT(struct priority_class, global_default)},
    {.name = "description", .type = F_STRING},
    {.name = "preemptionPolicy",
     .type = F_STRING,
     .at = AT(struct priority_class, preemption_policy),
     .values = preemption_policies},
    {0},
};
const struct schema priority_class_schema = {.fields = priority_class_fields,
                                             .check = check_priority_class,
                                             .size = sizeof(struct priority_class)};

/* --- PodDisruptionBudget --- */

static const char *const unhealthy_policies[] = {"IfHealthyBudget", "AlwaysAllow", NULL};

static const struct field pdb_spec_fields[] = {
    {.name = "selector",
     .type = F_POINTER,
     .at = AT(struct pdb, selector),
     .sub = &label_selector_schema},
    {.name = "minAvailable", .type = F_ANY, .check = check_disruptions},
    {.name = "maxUnavailable", .type = F_ANY, .check = check_disruptions},
    {.name = "unhealthyPodEvictionPolicy", .type = F_STRING, .values = unhealthy_policies},
    {0},
};
static const struct schema pdb_spec_schema = {.fields = pdb_spec_fields, .check = check_pdb_spec};

static const struct field pdb_status_fields[] = {
    {.name = "disruptionsAllowed",
     .type = F_INT,
     .at = AT(struct pdb, disruptions_allowed),
     .max = INT32_MAX},
    {.name = "disruptedPods", .type = F_KV, .at = AT(struct pdb, disrupted)},
    {0},
};
static const struct schema pdb_status_schema = {.fields = pdb_status_fields, .open = true};

static const struct field pdb_fields[] = {
    OBJECT_FIELDS(struct pdb),
    {.name = "spec", .type = F_MAP, .at = FLAT, .sub = &pdb_spec_schema},
    {.name = "status", .type = F_MAP, .flags = FIELD_STATUS, .at = FLAT, .sub = &pdb_status_schema},
    {0},
};
const struct schema pdb_schema = {.fields = pdb_fields, .size = sizeof(struct pdb)};

/* --- rules --- */

/* The two classes of the system are there without an object; one in their place must be the same
 * (the output of `kubectl get -o yaml` is an input, too). */
static void
check_priority_class(struct check *c, struct tree *obj)
{
    const struct tree *value = tree_get(obj, "value");
    const char *name = tree_find_string(obj, "", "metadata", "name", NULL);
    int64_t n = tree_get_int(value, 0);
    struct path p;

    if (strncmp(name, PRIORITY_SYSTEM_PREFIX, strlen(PRIORITY_SYSTEM_PREFIX)) == 0) {
        bool same =
            (strcmp(name, PRIORITY_CLUSTER_CRITICAL) == 0 &&
             n == PRIORITY_CLUSTER_CRITICAL_VALUE) ||
            (strcmp(name, PRIORITY_NODE_CRITICAL) == 0 && n == PRIORITY_NODE_CRITICAL_VALUE);

        if (same && !tree_get_bool(tree_get(obj, "globalDefault"), false))
            return;
        check_enter(c, &p, "metadata");
        check_field_forbidden(c, tree_get(obj, "metadata"), "name",
                              "priority class names with '" PRIORITY_SYSTEM_PREFIX
                              "' prefix are reserved for system use only");
        check_leave(c);
    } else if (tree_type(value) == TREE_INT && n > PRIORITY_USER_MAX) {
        check_field_forbidden(c, obj, "value",
                              "maximum allowed value of a user defined priority is 1000000000");
    }
}

/* A number from 0, or a share from 0% to 100%. */
static void
check_disruptions(struct check *c, struct tree *value)
{
    const char *text = tree_get_string(value, "");
    size_t digits = strspn(text, "0123456789");

    if (tree_type(value) == TREE_INT) {
        if (tree_get_int(value, 0) < 0)
            check_invalid(c, value, "must be greater than or equal to 0");
        else if (tree_get_int(value, 0) > INT32_MAX)
            check_invalid(c, value, "is too large");
    } else if (tree_type(value) != TREE_STRING) {
        check_type(c, value, "want a number, or a percentage such as \"50%\"");
    } else if (digits == 0 || strcmp(text + digits, "%") != 0) {
        check_invalid(c, value,
                      "a valid percent string must be a numeric string followed by an ending '%%' "
                      "(e.g. '1%%', or '93%%')");
    } else if (digits > 3 || strtol(text, NULL, 10) > 100) {
        check_invalid(c, value, "must not be greater than 100%%");
    }
}

static void
check_pdb_spec(struct check *c, struct tree *spec)
{
    if (tree_get(spec, "minAvailable") && tree_get(spec, "maxUnavailable"))
        check_invalid_text(c, tree_pos(spec), "minAvailable, maxUnavailable",
                           "minAvailable and maxUnavailable cannot be both set");
}
