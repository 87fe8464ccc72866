/* PriorityClass and PodDisruptionBudget in the API: one default, patches as kubectl sends them,
 * columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/control/api_fixture.h"

#define CLASSES   "/apis/scheduling.k8s.io/v1/priorityclasses"
#define BUDGETS   "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
#define TABLE     "application/json;as=Table;v=v1;g=meta.k8s.io"
#define MERGE     "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define CLASS(name, rest)                  \
    "{\"apiVersion\":\"scheduling.k8s.io/" \
    "v1\",\"kind\":\"PriorityClass\",\"metadata\":{\"name\":\"" name "\"}," rest "}"

static void
test_one_default(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, CLASSES, CLASS("plain", "\"value\":1,\"globalDefault\":true"));
    api_fixture_create(f, CLASSES, CLASS("other", "\"value\":2"));
    assert_int_equal(api_fixture_call(f, "POST", CLASSES, NULL,
                                      CLASS("second", "\"value\":3,\"globalDefault\":true")),
                     403);
    assert_non_null(strstr(api_fixture_text(f, "message"),
                           "PriorityClass plain is already marked as default. Only one default can "
                           "exist"));
    assert_int_equal(
        api_fixture_call(f, "PATCH", CLASSES "/other", MERGE, "{\"globalDefault\":true}"), 403);
    assert_int_equal(
        api_fixture_call(f, "PATCH", CLASSES "/plain", MERGE, "{\"description\":\"d\"}"), 200);
    assert_int_equal(
        api_fixture_call(f, "PATCH", CLASSES "/plain", MERGE, "{\"globalDefault\":false}"), 200);
    assert_int_equal(
        api_fixture_call(f, "PATCH", CLASSES "/other", MERGE, "{\"globalDefault\":true}"), 200);
}

static void
test_changes(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, CLASSES, CLASS("c", "\"value\":1"));
    assert_string_equal(api_fixture_text(f, "preemptionPolicy"), "PreemptLowerPriority");
    /* Kubernetes' own kinds are patched with a strategic merge; kubectl apply sends nothing else. */
    assert_int_equal(
        api_fixture_call(f, "PATCH", CLASSES "/c", STRATEGIC, "{\"description\":\"d\"}"), 200);
    assert_int_equal(api_fixture_call(f, "PATCH", CLASSES "/c", MERGE, "{\"value\":2}"), 422);
    assert_non_null(strstr(f->text, "may not be changed in an update."));
    assert_int_equal(api_fixture_call(f, "POST", CLASSES, NULL, CLASS("system-x", "\"value\":2")),
                     422);
}

static void
test_columns(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(f, CLASSES, CLASS("c", "\"value\":-5,\"preemptionPolicy\":\"Never\""));
    assert_int_equal(api_fixture_get_as(f, CLASSES, TABLE), 200);
    assert_string_equal(api_fixture_text(f, "columnDefinitions.1.name"), "Value");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.1"), "-5");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.2"), "false");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.4"), "Never");
    api_fixture_create(f, BUDGETS,
                       "{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\","
                       "\"metadata\":{\"name\":\"b\",\"namespace\":\"default\"},"
                       "\"spec\":{\"minAvailable\":\"50%\",\"selector\":{}}}");
    assert_int_equal(api_fixture_call(f, "PATCH", BUDGETS "/b/status", MERGE,
                                      "{\"status\":{\"disruptionsAllowed\":2}}"),
                     200);
    assert_int_equal(api_fixture_get_as(f, BUDGETS, TABLE), 200);
    assert_string_equal(api_fixture_text(f, "columnDefinitions.3.name"), "Allowed Disruptions");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.1"), "50%");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.2"), "N/A");
    assert_string_equal(api_fixture_text(f, "rows.0.cells.3"), "2");
}

/* As kubectl apply sends it: without a directive, and the old key has to go. */
static void
test_selector_is_replaced(void **state)
{
    struct api_fixture *f = *state;

    api_fixture_create(
        f, BUDGETS,
        "{\"apiVersion\":\"policy/v1\",\"kind\":\"PodDisruptionBudget\","
        "\"metadata\":{\"name\":\"b\",\"namespace\":\"default\"},"
        "\"spec\":{\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"a\":\"1\"}}}}");
    assert_int_equal(api_fixture_call(f, "PATCH", BUDGETS "/b", STRATEGIC,
                                      "{\"spec\":{\"selector\":{\"matchLabels\":{\"b\":\"2\"}}}}"),
                     200);
    assert_string_equal(api_fixture_text(f, "spec.selector.matchLabels.a"), "");
    assert_string_equal(api_fixture_text(f, "spec.selector.matchLabels.b"), "2");
    assert_string_equal(api_fixture_text(f, "spec.minAvailable"), "1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_default, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_changes, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_columns, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_selector_is_replaced, api_fixture_setup,
                                        api_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
