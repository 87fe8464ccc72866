/* PriorityClass and PodDisruptionBudget: what is accepted, what may change, what is decoded. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/api/rows.h"

static const struct object_row class_rows[] = {
    {.name = "a class", .text = "high}, value: 1000, description: d, globalDefault: true"},
    {.name = "negative", .text = "low}, value: -5, preemptionPolicy: Never"},
    {.name = "the largest of a user's", .text = "high}, value: 1000000000"},
    {.name = "the smallest", .text = "low}, value: -2147483648"},
    {.name = "the system's own, as it is", .text = "system-node-critical}, value: 2000001000"},
    {.name = "no value", .text = "high}", .error = "value: Required value"},
    {.name = "above what users may have",
     .text = "high}, value: 1000000001",
     .error = "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
    {.name = "beyond 32 bits",
     .text = "low}, value: -2147483649",
     .error = "value: Invalid value: -2147483649"},
    {.name = "value as text", .text = "high}, value: '5'", .error = "value: Invalid value: \"5\""},
    {.name = "a reserved name",
     .text = "system-mine}, value: 5",
     .error = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved "
              "for system use only"},
    {.name = "a system class with another value",
     .text = "system-cluster-critical}, value: 2000000001",
     .error = "metadata.name: Forbidden: priority class names with 'system-'"},
    {.name = "a system class as the default",
     .text = "system-cluster-critical}, value: 2000000000, globalDefault: true",
     .error = "metadata.name: Forbidden: priority class names with 'system-'"},
    {.name = "another policy",
     .text = "high}, value: 5, preemptionPolicy: Always",
     .error = "preemptionPolicy: Unsupported value: \"Always\""},
    {.name = "a field that is none",
     .text = "high}, value: 5, weight: 3",
     .error = "unknown field \"weight\""},
};

static void
test_class(void **state)
{
    object_row_check(*state, "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, "
                             "metadata: {name: %s}");
}

static const struct object_row pdb_rows[] = {
    {.name = "minAvailable", .text = "minAvailable: 2, selector: {matchLabels: {app: db}}"},
    {.name = "a share", .text = "maxUnavailable: 50%, selector: {}"},
    {.name = "all of them", .text = "minAvailable: 100%"},
    {.name = "none of them", .text = "maxUnavailable: 0"},
    {.name = "neither", .text = "unhealthyPodEvictionPolicy: AlwaysAllow"},
    {.name = "both",
     .text = "minAvailable: 1, maxUnavailable: 1",
     .error = "spec: Invalid value: \"minAvailable, maxUnavailable\": minAvailable and "
              "maxUnavailable cannot be both set"},
    {.name = "negative",
     .text = "minAvailable: -1",
     .error = "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"},
    {.name = "too many",
     .text = "minAvailable: 2147483648",
     .error = "spec.minAvailable: Invalid value: 2147483648: is too large"},
    {.name = "more than all",
     .text = "maxUnavailable: 101%",
     .error = "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"},
    {.name = "a share beyond any number",
     .text = "maxUnavailable: 99999999999999999999%",
     .error = "spec.maxUnavailable: Invalid value: \"99999999999999999999%\": must not be greater "
              "than 100%"},
    {.name = "a number as text",
     .text = "maxUnavailable: '5'",
     .error = "a valid percent string must be a numeric string followed by an ending '%'"},
    {.name = "a percentage of nothing",
     .text = "maxUnavailable: '%'",
     .error = "a valid percent string must be a numeric string followed by an ending '%'"},
    {.name = "a negative share",
     .text = "maxUnavailable: -5%",
     .error = "a valid percent string must be a numeric string followed by an ending '%'"},
    {.name = "a fraction",
     .text = "maxUnavailable: 1.5",
     .error = "spec.maxUnavailable: Invalid value: 1.5: want a number, or a percentage"},
    {.name = "selector with an operator that is none",
     .text = "selector: {matchExpressions: [{key: a, operator: Near}]}",
     .error = "spec.selector.matchExpressions[0].operator: "},
    {.name = "policy that is none",
     .text = "unhealthyPodEvictionPolicy: Sometimes",
     .error = "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Sometimes\""},
};

static void
test_pdb(void **state)
{
    object_row_check(*state, "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: "
                             "b, namespace: default}, spec: {%s}}");
}

static const struct update_row {
    const char *name, *before, *after, *error;
} update_rows[] = {
    {"a description", "value: 5", "value: 5, description: d", NULL},
    {"the default", "value: 5", "value: 5, globalDefault: true", NULL},
    {"the value", "value: 5", "value: 6", "value: Forbidden: may not be changed in an update."},
    {"the policy", "value: 5, preemptionPolicy: Never",
     "value: 5, preemptionPolicy: PreemptLowerPriority",
     "preemptionPolicy: Invalid value: \"PreemptLowerPriority\": field is immutable"},
    {"the policy, left out", "value: 5, preemptionPolicy: Never", "value: 5", "preemptionPolicy: "},
    {"the policy, said though it is the default", "value: 5",
     "value: 5, preemptionPolicy: PreemptLowerPriority", NULL},
};

static void
test_update(void **state)
{
    const struct update_row *row = *state;
    AUTO_FREE char *a = xasprintf("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, "
                                  "metadata: {name: high}, %s}",
                                  row->before);
    AUTO_FREE char *b = xasprintf("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, "
                                  "metadata: {name: high}, %s}",
                                  row->after);
    AUTO_TREE struct tree *before = object_one(a), *after = object_one(b);
    struct arena *arena = arena_new();
    struct field_errors errs = {.arena = arena};

    object_validate_update(before, after, &errs);
    if (!row->error) {
        assert_int_equal(errs.len, 0);
    } else {
        AUTO_FREE char *said = NULL;

        assert_int_equal(errs.len, 1);
        said = xasprintf("%s: %s", errs.items[0].path, errs.items[0].message);
        if (!strstr(said, row->error))
            fail_msg("%s", said);
    }
    arena_free(arena);
}

static void
test_decode(void **state)
{
    AUTO_TREE struct tree *class_obj =
        object_one("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: c}, "
                   "value: -7, globalDefault: true, preemptionPolicy: Never}");
    AUTO_TREE struct tree *pdb_obj =
        object_one("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, "
                   "namespace: d}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}, "
                   "status: {disruptionsAllowed: 3, currentHealthy: 4}}");
    AUTO_TREE struct tree *bare_obj =
        object_one("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, "
                   "namespace: d}, spec: {minAvailable: 1}}");
    AUTO_TREE struct tree *vmi_obj =
        yaml_one("{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, "
                 "status: {phaseTransitionTimestamps: [{phase: Pending, phaseTransitionTimestamp: "
                 "'1970-01-01T00:00:01Z'}, {phase: Scheduled, phaseTransitionTimestamp: "
                 "'1970-01-01T00:00:02Z'}]}}");
    struct arena *a = arena_new();
    struct priority_class *c = priority_class_decode(class_obj, a);
    struct pdb *pdb = pdb_decode(pdb_obj, a);

    (void)state;
    assert_int_equal(c->value, -7);
    assert_true(c->global_default);
    assert_string_equal(c->preemption_policy, "Never");
    assert_int_equal(pdb->disruptions_allowed, 3);
    assert_int_equal(pdb->selector->match_labels.len, 1);
    assert_null(pdb_decode(bare_obj, a)->selector);
    assert_int_equal(vmi_decode(vmi_obj, a)->status.start_us, 2000000);
    arena_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decode)};

    return ROWS_RUN("PriorityClass", class_rows, test_class) +
           ROWS_RUN("PodDisruptionBudget", pdb_rows, test_pdb) +
           ROWS_RUN("updates", update_rows, test_update) +
           cmocka_run_group_tests_name("decoding", tests, NULL, NULL);
}
