/* GET /metrics of the controller: counts of what is there, phases that were entered, and that a
 * strict reader takes it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "control/api_metrics.h"
#include "tests/control/api_fixture.h"
#include "tests/exposition.h"

#define KV    "/apis/kubevirt.io/v1/namespaces/default/"
#define VMIS  KV "virtualmachineinstances"
#define VMIMS KV "virtualmachineinstancemigrations"
#define MERGE "application/merge-patch+json"

static void
read_now(struct api_fixture *f, struct exposition *e)
{
    assert_int_equal(api_fixture_get(f, "/metrics"), 200);
    if (!exposition_read(e, f->text))
        fail_msg("%s", e->error);
}

static void
check(const struct exposition *e, const char *series, const char *want)
{
    const char *got = exposition_get(e, series);

    if (want ? !got || strcmp(got, want) != 0 : got != NULL)
        fail_msg("%s: %s, want %s", series, got ? got : "not there", want ? want : "not there");
}

static void
migration(struct api_fixture *f, const char *name)
{
    AUTO_FREE char *vmi = xasprintf(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
        "\"name\":\"%s\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}}",
        name);
    AUTO_FREE char *vmim =
        xasprintf("{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\","
                  "\"metadata\":{\"name\":\"%s\"},\"spec\":{\"vmiName\":\"%s\"}}",
                  name, name);

    api_fixture_create(f, VMIS, vmi);
    api_fixture_create(f, VMIMS, vmim);
}

static void
set_phase(struct api_fixture *f, const char *name, const char *status)
{
    AUTO_FREE char *path = xasprintf(VMIMS "/%s/status", name);
    AUTO_FREE char *body = xasprintf("{\"status\":%s}", status);

    assert_int_equal(api_fixture_call(f, "PATCH", path, MERGE, body), 200);
}

#define STAMP(phase, at) \
    "{\"phase\":\"" phase "\",\"phaseTransitionTimestamp\":\"2026-01-01T00:00:" at "Z\"}"

static void
test_migrations(void **state)
{
    struct api_fixture *f = *state;
    struct exposition e;

    read_now(f, &e);
    check(&e, "kubevirt_vmi_migrations_in_running_phase", "0");
    check(&e, "drover_objects|kind=VirtualMachineInstanceMigration", "0");
    exposition_done(&e);

    migration(f, "a");
    migration(f, "b");
    migration(f, "c");
    migration(f, "d");
    set_phase(f, "b",
              "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"Waiting\",\"status\":\"True\","
              "\"reason\":\"TooMany\",\"message\":\"x\"}]}");
    set_phase(f, "c",
              "{\"phase\":\"Running\",\"phaseTransitionTimestamps\":[" STAMP(
                  "Pending", "01") "," STAMP("Running", "03.5") "]}");
    set_phase(f, "d", "{\"phase\":\"TargetReady\"}");
    read_now(f, &e);
    check(&e, "kubevirt_vmi_migrations_in_pending_phase", "2");
    check(&e, "kubevirt_vmi_migrations_in_scheduling_phase", "1");
    check(&e, "kubevirt_vmi_migrations_in_running_phase", "1");
    check(&e, "drover_migrations_waiting|reason=TooMany", "1");
    check(&e,
          "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds_sum|phase=Running",
          "2.5");
    exposition_done(&e);

    set_phase(f, "c", "{\"phase\":\"Succeeded\"}");
    set_phase(f, "d", "{\"phase\":\"Failed\"}");
    set_phase(f, "b", "{\"conditions\":null}");
    read_now(f, &e);
    check(&e, "kubevirt_vmi_migration_succeeded", "1");
    check(&e, "kubevirt_vmi_migration_failed", "1");
    check(&e, "drover_migrations_ended_total|phase=Failed", "1");
    check(&e, "drover_migrations_waiting|reason=TooMany", NULL);
    check(&e, "drover_objects|kind=VirtualMachineInstanceMigration", "4");
    exposition_done(&e);
}

static void
test_requests(void **state)
{
    struct api_fixture *f = *state;

    assert_int_equal(api_fixture_call(f, "POST", "/metrics", NULL, "{}"), 404);
    assert_int_equal(api_fixture_get(f, "/metrics/x"), 404);
    assert_int_equal(api_fixture_get(f, "/metrics?x=y"), 200);
}

static void
test_docs(void **state)
{
    AUTO_SB struct sb table = SB_INIT;
    AUTO_FREE char *text = NULL;
    size_t len;

    (void)state;
    api_metrics_docs(&table);
    assert_int_equal(fs_read_all("docs/metrics.md", 1 << 20, &text, &len, NULL), 0);
    if (!strstr(text, sb_str(&table)))
        fail_msg("docs/metrics.md is old: put the output of drover-controller --print-metrics in");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_migrations, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_requests, api_fixture_setup, api_fixture_teardown),
        cmocka_unit_test(test_docs),
    };

    return cmocka_run_group_tests_name("metrics of the controller", tests, NULL, NULL);
}
