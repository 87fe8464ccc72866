/* VirtualMachines from creation to deletion, on a small cluster: run strategies, placement, what
 * people see, nodes that die. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/strmap.h"
#include "loop_world.h"

static uint64_t
generation(struct world *w, const char *name)
{
    const char *s = object_annotation(store_get(w->store, KIND_VMI, "shop", name), ANN_GENERATION);

    return s ? strtoull(s, NULL, 10) : 0;
}

static const char *
printable(struct world *w, const char *name)
{
    return world_text(w, KIND_VM, "shop", name, "status", "printableStatus");
}

static void
kill_guest(struct world *w, const char *name)
{
    const char *node = world_runs_on(w, name);
    char key[64];

    assert_non_null(node);
    snprintf(key, sizeof(key), "shop/%s", name);
    free(strmap_del(world_fake(w, node)->guests, key));
}

static const char *
cpu_model(struct world *w, const char *name)
{
    return tree_find_string(store_get(w->store, KIND_VMI, "shop", name), "", "spec", "domain",
                            "cpu", "model", NULL);
}

static void
test_starts_and_stops(void **state)
{
    struct world *w = world_new(1);
    const struct tree *vmi;

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "db", "Always", "1Gi", "");
    world_run(w, 1);
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "db"), "Running");
    assert_string_equal(world_vmi_node(w, "db"), "n1");
    assert_string_equal(world_runs_on(w, "db"), "n1");
    vmi = store_get(w->store, KIND_VMI, "shop", "db");
    assert_string_equal(object_label(vmi, LABEL_NODE_NAME), "n1");
    assert_string_equal(object_label(vmi, "app"), "db");
    assert_non_null(object_annotation(vmi, ANN_SCHEDULE_RESULT));
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "db", "PodScheduled", "status"),
                        "True");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "db", "LiveMigratable", "status"),
                        "True");
    assert_string_equal(world_text(w, KIND_VMI, "shop", "db", "status", "migrationMethod"),
                        "LiveMigration");
    assert_int_equal(world_event(w, "db", "Scheduled", "Successfully assigned shop/db to n1"), 1);
    assert_int_equal(world_event(w, "db", "SuccessfulCreate", "db"), 1);
    assert_string_equal(printable(w, "db"), "Running");
    assert_string_equal(world_condition(w, KIND_VM, "shop", "db", "Ready", "status"), "True");
    world_validate(w);

    world_patch(w, KIND_VM, "shop", "db", "{\"spec\":{\"runStrategy\":\"Halted\"}}");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_VMI, "shop", "db"));
    assert_null(world_runs_on(w, "db"));
    assert_string_equal(printable(w, "db"), "Stopped");
    assert_string_equal(world_condition(w, KIND_VM, "shop", "db", "Ready", "reason"),
                        "VMINotExists");

    world_patch(w, KIND_VM, "shop", "db", "{\"spec\":{\"runStrategy\":\"Always\"}}");
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "db"), "n1");
    world_delete(w, KIND_VM, "shop", "db");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_VM, "shop", "db"));
    assert_null(store_get(w->store, KIND_VMI, "shop", "db"));
    assert_null(world_runs_on(w, "db"));
    world_free(w);
}

/* Of the time when the instance is made; an own one wins. */
static void
test_default_cpu_model(void **state)
{
    struct world *w = world_new(2);

    (void)state;
    world_node(w, "n1", 4);
    world_vm(w, "before", "Always", "1Gi", "");
    world_run(w, 1);
    world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\nmetadata: {name: "
                   "kubevirt-hyperconverged, namespace: openshift-cnv}\nspec: {defaultCPUModel: "
                   "Haswell}\n");
    world_run(w, 1);
    world_vm(w, "plain", "Always", "1Gi", "");
    world_apply(w, "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: own, "
                   "namespace: shop}\nspec: {runStrategy: Always, template: {spec: {domain: "
                   "{memory: {guest: 1Gi}, cpu: {cores: 2, model: Skylake}}}}}\n");
    world_run(w, 1);
    assert_string_equal(cpu_model(w, "before"), "");
    assert_string_equal(cpu_model(w, "plain"), "Haswell");
    assert_string_equal(cpu_model(w, "own"), "Skylake");
    world_free(w);
}

static void
test_unschedulable_is_explained_and_tried_again(void **state)
{
    struct world *w = world_new(2);

    (void)state;
    world_node(w, "n1", 4);
    world_vm(w, "big", "Always", "32Gi", "");
    world_vm(w, "lost", "Always", "1Gi", "      nodeSelector: {disk: nvme}\n");
    world_run(w, 1);
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "big"), "Scheduling");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "big", "PodScheduled", "reason"),
                        "Unschedulable");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "big", "PodScheduled", "message"),
                        "0/1 nodes are available: 1 Insufficient memory.");
    assert_int_equal(world_event(w, "big", "FailedScheduling", "0/1 nodes are available"), 1);
    assert_string_equal(printable(w, "big"), "ErrorUnschedulable");
    assert_string_equal(printable(w, "lost"), "ErrorUnschedulable");
    world_run(w, 60);
    assert_int_equal(world_event(w, "big", "FailedScheduling", ""), 1); /* no news, no event */

    world_node(w, "n2", 64);
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "big"), "n2");
    assert_string_equal(printable(w, "big"), "Running");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "lost", "PodScheduled", "message"),
                        "0/2 nodes are available: 2 node(s) didn't match Pod's node "
                        "affinity/selector.");
    world_patch(w, KIND_NODE, NULL, "n1", "{\"metadata\":{\"labels\":{\"disk\":\"nvme\"}}}");
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "lost"), "n1");
    world_validate(w);
    world_free(w);
}

static void
test_two_are_not_given_the_same_room(void **state)
{
    struct world *w = world_new(3);

    (void)state;
    world_node(w, "n1", 6);
    world_node(w, "n2", 6);
    world_vm(w, "a", "Always", "4Gi", "");
    world_vm(w, "b", "Always", "4Gi", "");
    world_vm(w, "c", "Always", "4Gi", "");
    world_run(w, 2);
    assert_string_not_equal(world_runs_on(w, "a"), world_runs_on(w, "b"));
    assert_null(world_runs_on(w, "c"));
    world_delete(w, KIND_VM, "shop", "a");
    world_run(w, 2);
    assert_non_null(world_runs_on(w, "c"));
    world_free(w);
}

static void
test_other_schedulers_are_left_alone(void **state)
{
    struct world *w = world_new(4);

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "mine", "Always", "1Gi", "      schedulerName: my-scheduler\n");
    world_vm(w, "ours", "Always", "1Gi", "      schedulerName: drover-scheduler\n");
    world_run(w, 2);
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "mine"), "Pending");
    assert_string_equal(world_runs_on(w, "ours"), "n1");
    world_free(w);
}

struct strategy_row {
    const char *name, *strategy;
    const char *end; /* phase in which the guest ends */
    bool runs_again;
    const char *shows; /* printableStatus a minute later */
};

static const struct strategy_row strategy_rows[] = {
    {"always after a failure", "Always", "Failed", true, "Running"},
    {"always after a shutdown", "Always", "Succeeded", true, "Running"},
    {"rerun after a failure", "RerunOnFailure", "Failed", true, "Running"},
    {"rerun not after a shutdown", "RerunOnFailure", "Succeeded", false, "Stopped"},
    {"once not after a failure", "Once", "Failed", false, "Stopped"},
    {"once not after a shutdown", "Once", "Succeeded", false, "Stopped"},
    {"manual not after a failure", "Manual", "Failed", false, "Stopped"},
    {"manual not after a shutdown", "Manual", "Succeeded", false, "Stopped"},
};

static void
test_strategies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strategy_rows); i++) {
        const struct strategy_row *r = &strategy_rows[i];
        struct world *w = world_new(10 + i);
        AUTO_FREE char *uid = NULL;
        uint64_t before;
        char json[64];

        world_node(w, "n1", 16);
        world_vm(w, "vm", r->strategy, "1Gi", "");
        world_run(w, 1);
        if (strcmp(r->strategy, "Manual") == 0) {
            assert_null(store_get(w->store, KIND_VMI, "shop", "vm"));
            world_patch(w, KIND_VM, "shop", "vm",
                        "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\"}]}}");
            world_run(w, 1);
            assert_string_equal(
                world_text(w, KIND_VM, "shop", "vm", "status", "stateChangeRequests"), "");
        }
        assert_string_equal(world_runs_on(w, "vm"), "n1");
        world_run(w, 120); /* it ran long enough to be worth a restart at once */
        before = generation(w, "vm");
        assert_true(before > 0);
        uid = xstrdup(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")));
        kill_guest(w, "vm");
        snprintf(json, sizeof(json), "{\"status\":{\"phase\":\"%s\",\"reason\":\"it fell\"}}",
                 r->end);
        world_patch(w, KIND_VMI, "shop", "vm", json);
        world_run(w, 2);
        if (r->runs_again) {
            if (!world_runs_on(w, "vm"))
                fail_msg("%s: it does not run", r->name);
            assert_string_not_equal(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")), uid);
            assert_true(generation(w, "vm") > before);
            assert_int_equal(world_event(w, "vm", "SuccessfulDelete", "(it fell)"), 1);
        } else if (world_runs_on(w, "vm")) {
            fail_msg("%s: it runs", r->name);
        }
        world_run(w, 60);
        assert_string_equal(printable(w, "vm"), r->shows);
        world_free(w);
    }
}

static void
test_restart_request(void **state)
{
    struct world *w = world_new(20);
    AUTO_FREE char *uid = NULL, *json = NULL;

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    uid = xstrdup(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")));
    json = xasprintf("{\"status\":{\"stateChangeRequests\":[{\"action\":\"Stop\",\"uid\":\"%s\"},"
                     "{\"action\":\"Start\"}]}}",
                     uid);
    world_patch(w, KIND_VM, "shop", "vm", json);
    world_run(w, 2);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_string_not_equal(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")), uid);
    assert_null(tree_find(store_get(w->store, KIND_VM, "shop", "vm"), "status",
                          "stateChangeRequests", NULL));
    world_free(w);
}

static void
test_crash_loop_backs_off(void **state)
{
    struct world *w = world_new(21);
    struct fake *n;

    (void)state;
    n = world_node(w, "n1", 16);
    n->cannot_boot = true;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_VMI, "shop", "vm"));
    assert_string_equal(printable(w, "vm"), "CrashLoopBackOff");
    world_run(w, 10); /* 10 s later the second one, then 20, 40, 80, 160, 300, 300 ... */
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 2);
    world_run(w, 15);
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 2);
    world_run(w, 10);
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 3);
    world_run(w, 300);
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 6);
    world_run(w, 1200);
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 10);
    assert_string_equal(printable(w, "vm"), "CrashLoopBackOff");
    world_crash(w); /* the backoff is stored */
    world_run(w, 1);
    assert_int_equal(world_event(w, "vm", "SuccessfulCreate", ""), 10);
    n->cannot_boot = false;
    world_run(w, 301);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_string_equal(printable(w, "vm"), "Running");
    world_free(w);
}

static void
test_silent_node(void **state)
{
    struct world *w = world_new(22);
    struct fake *n1;
    uint64_t before;

    (void)state;
    n1 = world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_node(w, "n2", 16);
    n1->down = true;
    world_run(w, 290);
    assert_string_equal(object_label(store_get(w->store, KIND_NODE, NULL, "n1"), LABEL_SCHEDULABLE),
                        "true");
    world_run(w, 20);
    assert_string_equal(object_label(store_get(w->store, KIND_NODE, NULL, "n1"), LABEL_SCHEDULABLE),
                        "false");
    assert_string_equal(world_condition(w, KIND_NODE, NULL, "n1", "Ready", "status"), "Unknown");
    assert_int_equal(world_event(w, "n1", "NodeNotReady", "300 s"), 1);
    world_run(w, 3600); /* it is not moved: its guest may run */
    assert_string_equal(world_vmi_node(w, "vm"), "n1");
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "vm"), "Running");

    n1->down = false; /* it beats again */
    world_run(w, 15);
    assert_string_equal(object_label(store_get(w->store, KIND_NODE, NULL, "n1"), LABEL_SCHEDULABLE),
                        "true");
    assert_string_equal(world_condition(w, KIND_NODE, NULL, "n1", "Ready", "status"), "True");

    n1->off = true; /* now for good: a person deletes the Node object */
    before = generation(w, "vm");
    world_run(w, 400);
    assert_string_equal(world_vmi_node(w, "vm"), "n1");
    world_delete(w, KIND_NODE, NULL, "n1");
    world_run(w, 5);
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_true(generation(w, "vm") > before);
    assert_int_equal(world_event(w, "vm", "NodeDeleted", "n1 was deleted"), 1);
    world_validate(w);
    world_free(w);
}

static void
test_deleted_node_that_lives(void **state)
{
    struct world *w = world_new(23);

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_node(w, "n2", 16);
    /* The handler beats, the guest runs: its Node object alone is gone for a while. */
    world_delete(w, KIND_NODE, NULL, "n1");
    world_run(w, 60);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "vm"), "Running");
    assert_int_equal(world_event(w, "vm", "NodeDeleted", "may be alive"), 1);
    world_apply(w, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    world_run(w, 600);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    world_free(w);
}

static void
test_generation_survives_a_name(void **state)
{
    struct world *w = world_new(24);
    uint64_t last = 0;

    (void)state;
    world_node(w, "n1", 16);
    for (int i = 0; i < 4; i++) {
        world_vm(w, "vm", "Always", "1Gi", "");
        world_run(w, 2);
        assert_true(generation(w, "vm") > last);
        last = generation(w, "vm");
        world_delete(w, KIND_VM, "shop", "vm");
        world_run(w, 2);
        world_crash(w);
    }
    world_free(w);
}

static void
test_instances_of_users_and_orphans(void **state)
{
    struct world *w = world_new(25);

    (void)state;
    world_node(w, "n1", 16);
    world_apply(w, "apiVersion: kubevirt.io/v1\n"
                   "kind: VirtualMachineInstance\n"
                   "metadata: {name: alone, namespace: shop}\n"
                   "spec: {domain: {devices: {}, memory: {guest: 1Gi}}}\n");
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "alone"), "n1");
    world_vm(w, "alone", "Always", "1Gi", ""); /* the name is taken: nobody touches the other's */
    world_run(w, 1);
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "alone"), "Running");
    world_delete(w, KIND_VMI, "shop", "alone");
    world_run(w, 2); /* now it is the VM's */
    assert_int_equal(tree_len(tree_find(store_get(w->store, KIND_VMI, "shop", "alone"), "metadata",
                                        "ownerReferences", NULL)),
                     1);
    world_stop_controller(w); /* the VM goes while nobody looks */
    world_run(w, 1);
    loops_free(TAKE_PTR(w->dead));
    world_delete(w, KIND_VM, "shop", "alone");
    world_start_controller(w);
    world_run(w, 2);
    assert_null(store_get(w->store, KIND_VMI, "shop", "alone"));
    assert_null(world_runs_on(w, "alone"));
    world_free(w);
}

/* The object of a VM that is deleted stays until its instance has ended. */
static void
test_deletion_waits_for_the_instance(void **state)
{
    struct world *w = world_new(27);

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_vm(w, "halted", "Halted", "1Gi", "");
    world_run(w, 1);
    world_fake(w, "n1")->down = true; /* cannot end it */
    world_delete(w, KIND_VM, "shop", "vm");
    world_delete(w, KIND_VM, "shop", "halted");
    world_run(w, 10);
    assert_null(store_get(w->store, KIND_VM, "shop", "halted"));
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_non_null(store_get(w->store, KIND_VMI, "shop", "vm"));
    assert_string_equal(printable(w, "vm"), "Terminating");
    world_crash(w);
    world_fake(w, "n1")->down = false;
    world_run(w, 15);
    assert_null(store_get(w->store, KIND_VMI, "shop", "vm"));
    assert_null(store_get(w->store, KIND_VM, "shop", "vm"));
    world_free(w);
}

static void
test_paused_shows(void **state)
{
    struct world *w = world_new(26);

    (void)state;
    world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_patch(w, KIND_VMI, "shop", "vm",
                "{\"status\":{\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\"}]}}");
    world_run(w, 1);
    assert_string_equal(printable(w, "vm"), "Paused");
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_and_stops),
        cmocka_unit_test(test_default_cpu_model),
        cmocka_unit_test(test_unschedulable_is_explained_and_tried_again),
        cmocka_unit_test(test_two_are_not_given_the_same_room),
        cmocka_unit_test(test_other_schedulers_are_left_alone),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_restart_request),
        cmocka_unit_test(test_crash_loop_backs_off),
        cmocka_unit_test(test_silent_node),
        cmocka_unit_test(test_deleted_node_that_lives),
        cmocka_unit_test(test_generation_survives_a_name),
        cmocka_unit_test(test_instances_of_users_and_orphans),
        cmocka_unit_test(test_deletion_waits_for_the_instance),
        cmocka_unit_test(test_paused_shows),
    };

    return cmocka_run_group_tests_name("loop_vm", tests, NULL, NULL);
}
