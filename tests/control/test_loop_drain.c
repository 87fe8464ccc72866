/* Drains through the whole controller: a NodeMaintenance empties its node as the VMs' eviction
 * strategies say, names what blocks, survives the controller's death at any write, and gives back
 * what it took. */
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

#define N1 "      nodeSelector: {kubernetes.io/hostname: n1}\n"

/* n1 has all VMs vm-1 .. vm-LEN; n2 and n3 come later and are empty. */
static struct world *
cluster(uint64_t seed, int len)
{
    struct world *w = world_new(seed);
    char name[16];

    world_node(w, "n1", 64);
    for (int i = 1; i <= len; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_vm(w, name, "Always", "1Gi", "");
    }
    world_run(w, 1);
    world_node(w, "n2", 64);
    world_node(w, "n3", 64);
    return w;
}

static void
maintain(struct world *w, const char *name, const char *node)
{
    world_applyf(w,
                 "apiVersion: nodemaintenance.medik8s.io/v1beta1\n"
                 "kind: NodeMaintenance\n"
                 "metadata: {name: %s}\n"
                 "spec: {nodeName: %s, reason: new disk}\n",
                 name, node);
}

static const struct tree *
status(struct world *w, const char *name, const char *key)
{
    return tree_find(store_get(w->store, KIND_MAINTENANCE, NULL, name), "status", key, NULL);
}

static const char *
text(struct world *w, const char *name, const char *key)
{
    return tree_get_string(status(w, name, key), "");
}

static int64_t
number(struct world *w, const char *name, const char *key)
{
    return tree_get_int(status(w, name, key), -1);
}

static bool
unschedulable(struct world *w, const char *node)
{
    return tree_get_bool(
        tree_find(store_get(w->store, KIND_NODE, NULL, node), "spec", "unschedulable", NULL),
        false);
}

static size_t
taints(struct world *w, const char *node)
{
    return tree_len(tree_find(store_get(w->store, KIND_NODE, NULL, node), "spec", "taints", NULL));
}

static void
test_six_leave_two_at_a_time(void **unused)
{
    struct world *w = cluster(1, 6);
    const char *newest;
    char name[16];

    (void)unused;
    maintain(w, "m", "n1");
    world_run(w, 1);
    assert_true(unschedulable(w, "n1"));
    assert_int_equal(taints(w, "n1"), 2);
    assert_string_equal(text(w, "m", "phase"), "Running");
    assert_int_equal(number(w, "m", "totalpods"), 6);
    assert_int_equal(number(w, "m", "evictionPods"), 6);
    assert_int_equal(number(w, "m", "drainProgress"), 0);
    assert_int_equal(tree_len(status(w, "m", "pendingPods")), 6);
    assert_string_equal(tree_get_string(tree_at(status(w, "m", "pendingPods"), 0), ""),
                        "shop/vm-1");
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm-1", "status", "evacuationNodeName"),
                        "n1");
    assert_int_equal(world_migrations(w, "vm-1", &newest), 1);
    assert_memory_equal(newest, "kubevirt-evacuation-", 20);
    assert_string_equal(
        object_annotation(store_get(w->store, KIND_VMIM, "shop", newest), ANN_EVACUATION), "n1");
    world_run(w, 2);
    assert_int_equal(number(w, "m", "drainProgress"), 33);
    world_run(w, 10);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_int_equal(number(w, "m", "drainProgress"), 100);
    assert_null(status(w, "m", "pendingPods"));
    assert_null(status(w, "m", "lastError"));
    for (int i = 1; i <= 6; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        assert_string_not_equal(world_runs_on(w, name), "n1");
        assert_string_equal(world_text(w, KIND_VMI, "shop", name, "status", "evacuationNodeName"),
                            "");
        assert_string_equal(world_text(w, KIND_VM, "shop", name, "status", "printableStatus"),
                            "Running");
        assert_int_equal(world_migrations(w, name, NULL), 1);
    }
    assert_int_equal(w->most_from[0], 2);
    world_validate(w);

    world_delete(w, KIND_MAINTENANCE, NULL, "m");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_MAINTENANCE, NULL, "m"));
    assert_false(unschedulable(w, "n1"));
    assert_int_equal(taints(w, "n1"), 0);
    world_vm(w, "new", "Always", "1Gi", N1);
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "new"), "n1");
    world_free(w);
}

static void
test_plain_cordon_moves_nothing(void **unused)
{
    struct world *w = cluster(2, 2);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n1", "{\"spec\":{\"unschedulable\":true}}");
    world_run(w, 60);
    assert_string_equal(world_runs_on(w, "vm-1"), "n1");
    assert_int_equal(world_migrations(w, "vm-1", NULL), 0);
    world_free(w);
}

static void
test_gives_back_only_what_it_took(void **unused)
{
    struct world *w = cluster(3, 1);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n1",
                "{\"spec\":{\"unschedulable\":true,\"taints\":[{\"key\":\"gpu\",\"effect\":"
                "\"NoSchedule\"},{\"key\":\"kubevirt.io/drain\",\"effect\":\"NoSchedule\"}]}}");
    maintain(w, "m", "n1");
    world_run(w, 5);
    assert_int_equal(taints(w, "n1"), 3);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    world_delete(w, KIND_MAINTENANCE, NULL, "m");
    world_run(w, 1);
    assert_true(unschedulable(w, "n1")); /* the user's cordon and taints stay */
    assert_int_equal(taints(w, "n1"), 2);
    world_free(w);
}

struct strategy_row {
    const char *name, *vm; /* lines under template.spec */
    const char *cluster;   /* HyperConverged's, or NULL */
    const char *run;
    bool blocked, restarted, ended; /* none of them: it moves */
};

#define RWO "      volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}]\n"

static const struct strategy_row strategy_rows[] = {
    {"default of a cluster with more than one node", "", NULL, "Always", false, false, false},
    {"LiveMigrate", "      evictionStrategy: LiveMigrate\n", NULL, "Always", false, false, false},
    {"None is shut down and starts elsewhere", "      evictionStrategy: None\n", NULL, "Always",
     false, true, false},
    {"None of RerunOnFailure, too", "      evictionStrategy: None\n", NULL, "RerunOnFailure", false,
     true, false},
    {"None of Manual stays down", "      evictionStrategy: None\n", NULL, "Manual", false, false,
     true},
    {"the cluster's None", "", "None", "Always", false, true, false},
    {"the VM's strategy beats the cluster's", "      evictionStrategy: LiveMigrate\n", "None",
     "Always", false, false, false},
    {"LiveMigrate that cannot blocks", RWO "      evictionStrategy: LiveMigrate\n", NULL, "Always",
     true, false, false},
    {"the default blocks, too", RWO, NULL, "Always", true, false, false},
    {"LiveMigrateIfPossible that cannot is shut down",
     RWO "      evictionStrategy: LiveMigrateIfPossible\n", NULL, "Always", false, true, false},
    {"LiveMigrateIfPossible that can moves", "      evictionStrategy: LiveMigrateIfPossible\n",
     NULL, "Always", false, false, false},
    {"External waits for its controller", "      evictionStrategy: External\n", NULL, "Always",
     true, false, false},
};

static void
test_strategies(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(strategy_rows); i++) {
        const struct strategy_row *r = &strategy_rows[i];
        struct world *w = cluster(10 + i, 0);
        AUTO_FREE char *uid = NULL;
        const char *on;
        bool same;

        world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":true}}");
        world_patch(w, KIND_NODE, NULL, "n3", "{\"spec\":{\"unschedulable\":true}}");
        world_apply(
            w, "apiVersion: v1\n"
               "kind: PersistentVolumeClaim\n"
               "metadata: {name: disk, namespace: shop}\n"
               "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n");
        if (r->cluster)
            world_applyf(w,
                         "apiVersion: hco.kubevirt.io/v1beta1\n"
                         "kind: HyperConverged\n"
                         "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                         "spec: {evictionStrategy: %s}\n",
                         r->cluster);
        world_vm(w, "vm", r->run, "1Gi", r->vm);
        if (strcmp(r->run, "Manual") == 0)
            world_patch(w, KIND_VM, "shop", "vm",
                        "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\"}]}}");
        world_run(w, 2);
        if (!world_runs_on(w, "vm"))
            fail_msg("%s: it never ran", r->name);
        uid = xstrdup(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")));
        world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":null}}");
        maintain(w, "m", "n1");
        world_run(w, 10);
        on = world_runs_on(w, "vm");
        same = strcmp(object_uid(store_get(w->store, KIND_VMI, "shop", "vm")), uid) == 0;
        if (r->ended ? on != NULL
                     : !on || strcmp(on, r->blocked ? "n1" : "n2") != 0 || same == r->restarted)
            fail_msg("%s: runs on %s, %s instance; %s", r->name, on ? on : "nothing",
                     same ? "the same" : "a new", text(w, "m", "lastError"));
        assert_string_equal(text(w, "m", "phase"), r->blocked ? "Running" : "Succeeded");
        if (r->blocked && !strstr(text(w, "m", "lastError"), "shop/vm"))
            fail_msg("%s: it is not named: %s", r->name, text(w, "m", "lastError"));
        world_validate(w);
        world_free(w);
    }
}

static void
test_misfit_is_named_and_retried_with_backoff(void **unused)
{
    struct world *w = cluster(30, 1);
    const char *newest, *why;

    (void)unused;
    world_vm(w, "pinned", "Always", "1Gi", N1);
    world_run(w, 1);
    maintain(w, "m", "n1");
    world_run(w, 10);
    assert_string_equal(text(w, "m", "phase"), "Running");
    assert_string_not_equal(world_runs_on(w, "vm-1"), "n1"); /* it does not hold up the others */
    assert_non_null(strstr(text(w, "m", "lastError"), "shop/pinned: 0/3 nodes are available"));
    world_run(w, 295); /* the first attempt is over after 300 s, the second waits 20 s */
    assert_int_equal(world_migrations(w, "pinned", &newest), 2);
    why = world_condition(w, KIND_VMIM, "shop", newest, "Waiting", "message");
    assert_string_equal(world_condition(w, KIND_VMIM, "shop", newest, "Waiting", "reason"),
                        "MigrationBackoff");
    assert_non_null(strstr(why, "backing off until 2026-01-01T00:05:"));
    assert_non_null(strstr(why, "after 1 failed attempt"));
    assert_int_equal(world_event(w, newest, "MigrationBackoff", "backing off"), 1);
    assert_non_null(strstr(text(w, "m", "lastError"), "shop/pinned: the last attempt failed"));
    world_run(w, 25);
    assert_string_equal(world_phase(w, KIND_VMIM, "shop", newest), "Scheduling");
    world_run(w, 300 + 40 + 300 + 80 + 300 + 160 + 300 + 320 + 300 + 320 + 300);
    assert_int_equal(world_migrations(w, "pinned", NULL),
                     6); /* five that failed and one that waits */
    assert_string_equal(world_runs_on(w, "pinned"), "n1");
    world_patch(w, KIND_NODE, NULL, "n3",
                "{\"metadata\":{\"labels\":{\"kubernetes.io/hostname\":\"n1\"}}}");
    world_run(w, 330); /* now it fits */
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_string_equal(world_runs_on(w, "pinned"), "n3");
    world_free(w);
}

static void
test_a_failing_source_is_tried_again(void **unused)
{
    struct world *w = cluster(31, 1);

    (void)unused;
    world_fake(w, "n1")->fails_migration = true;
    maintain(w, "m", "n1");
    world_run(w, 10);
    assert_non_null(strstr(text(w, "m", "lastError"), "progressTimeout"));
    world_run(w, 13); /* second attempt from 23 s on */
    assert_int_equal(world_migrations(w, "vm-1", NULL), 2);
    world_fake(w, "n1")->fails_migration = false;
    world_run(w, 60);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_string_not_equal(world_runs_on(w, "vm-1"), "n1");
    world_free(w);
}

static void
test_evacuations_overtake_users(void **unused)
{
    struct world *w = cluster(32, 4);
    const char *newest;

    (void)unused;
    world_fake(w, "n1")->move_us = 30 * 1000000u;
    for (int i = 1; i <= 3; i++)
        world_applyf(w,
                     "apiVersion: kubevirt.io/v1\n"
                     "kind: VirtualMachineInstanceMigration\n"
                     "metadata: {name: user-%d, namespace: shop}\n"
                     "spec: {vmiName: vm-%d}\n",
                     i, i);
    world_run(w, 5);
    assert_string_equal(world_phase(w, KIND_VMIM, "shop", "user-3"), "Pending");
    maintain(w, "m", "n1"); /* vm-4's evacuation is younger than user-3, and goes first */
    world_run(w, 29);
    world_migrations(w, "vm-4", &newest);
    assert_string_equal(world_phase(w, KIND_VMIM, "shop", newest), "Running");
    world_run(w, 60);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_int_equal(w->most_from[0], 2);
    world_free(w);
}

static void
test_deleting_it_stops_what_has_not_begun(void **unused)
{
    struct world *w = cluster(33, 6);
    int left = 0, moved = 0;
    char name[16];

    (void)unused;
    world_fake(w, "n1")->move_us = 20 * 1000000u;
    maintain(w, "m", "n1");
    world_run(w, 5);
    world_delete(w, KIND_MAINTENANCE, NULL, "m");
    world_run(w, 1);
    assert_null(store_get(w->store, KIND_MAINTENANCE, NULL, "m"));
    assert_false(unschedulable(w, "n1"));
    world_run(w, 60);
    for (int i = 1; i <= 6; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        assert_string_equal(world_text(w, KIND_VMI, "shop", name, "status", "evacuationNodeName"),
                            "");
        *(strcmp(world_runs_on(w, name), "n1") == 0 ? &left : &moved) += 1;
    }
    assert_int_equal(moved, 2); /* the running ones have finished */
    assert_int_equal(left, 4);
    assert_int_equal(world_migrations(w, "vm-6", NULL), 0);
    world_free(w);
}

static void
test_nodes_that_cannot(void **unused)
{
    struct world *w = cluster(34, 1);

    (void)unused;
    maintain(w, "ghost", "n9");
    maintain(w, "first", "n1");
    world_run(w, 1);
    maintain(w, "second", "n1");
    world_run(w, 10);
    assert_string_equal(text(w, "ghost", "phase"), "Failed");
    assert_string_equal(text(w, "ghost", "lastError"), "node n9 does not exist");
    assert_string_equal(text(w, "first", "phase"), "Succeeded");
    assert_string_equal(text(w, "second", "phase"), "Failed");
    assert_non_null(strstr(text(w, "second", "lastError"), "by NodeMaintenance first"));
    world_node(w, "n9", 4);
    world_run(w, 1);
    assert_string_equal(text(w, "ghost", "phase"), "Succeeded");
    world_delete(w, KIND_MAINTENANCE, NULL, "first"); /* the next one takes over */
    world_run(w, 2);
    assert_string_equal(text(w, "second", "phase"), "Succeeded");
    assert_true(unschedulable(w, "n1"));
    world_delete(w, KIND_MAINTENANCE, NULL, "second");
    world_run(w, 1);
    assert_false(unschedulable(w, "n1"));
    world_free(w);
}

static void
test_one_that_arrives_leaves_again(void **unused)
{
    struct world *w = cluster(35, 1);

    (void)unused;
    world_patch(w, KIND_NODE, NULL, "n3", "{\"spec\":{\"unschedulable\":true}}");
    world_fake(w, "n1")->move_us = 10 * 1000000u;
    world_apply(w, "apiVersion: kubevirt.io/v1\n"
                   "kind: VirtualMachineInstanceMigration\n"
                   "metadata: {name: user, namespace: shop}\n"
                   "spec: {vmiName: vm-1}\n");
    world_run(w, 3);
    maintain(w, "m", "n2"); /* its target is drained while it moves */
    world_run(w, 2);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    world_run(w, 30);
    assert_string_equal(world_phase(w, KIND_VMIM, "shop", "user"), "Succeeded");
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm-1"), "n1");
    world_free(w);
}

static void
test_single_node_shuts_down(void **unused)
{
    struct world *w = world_new(36);

    (void)unused;
    world_node(w, "n1", 64);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    maintain(w, "m", "n1");
    world_run(w, 5);
    assert_string_equal(text(w, "m", "phase"), "Succeeded");
    assert_null(world_runs_on(w, "vm"));
    assert_string_equal(world_text(w, KIND_VM, "shop", "vm", "status", "printableStatus"),
                        "ErrorUnschedulable");
    world_free(w);
}

/* The controller is killed after every single write of a drain, in turn. */
static void
test_controller_dies_at_any_write(void **unused)
{
    unsigned writes = 0;

    (void)unused;
    for (unsigned k = 0; k == 0 || k <= writes; k++) {
        struct world *w = cluster(100 + k, 3);
        unsigned before;
        char name[16];

        world_vm(w, "none", "Always", "1Gi", "      evictionStrategy: None\n" N1);
        world_run(w, 1);
        before = w->writes;
        w->crash_at = k ? before + k : 0;
        maintain(w, "m", "n1");
        world_run(w, 12);
        if (strcmp(text(w, "m", "phase"), "Succeeded") != 0)
            fail_msg("killed after write %u: %s: %s", k, text(w, "m", "phase"),
                     text(w, "m", "lastError"));
        for (int i = 1; i <= 3; i++) {
            snprintf(name, sizeof(name), "vm-%d", i);
            if (!world_runs_on(w, name) || strcmp(world_runs_on(w, name), "n1") == 0 ||
                world_migrations(w, name, NULL) != 1)
                fail_msg("killed after write %u: %s", k, name);
        }
        assert_true(w->most_from[0] <= 2);
        if (k == 0)
            writes = w->writes - before;
        world_delete(w, KIND_MAINTENANCE, NULL, "m");
        w->crash_at = k ? w->writes + 1 + k % 4 : 0;
        world_run(w, 3);
        if (store_get(w->store, KIND_MAINTENANCE, NULL, "m") || unschedulable(w, "n1") ||
            taints(w, "n1"))
            fail_msg("killed after write %u: the node is not given back", k);
        world_free(w);
    }
    assert_true(writes > 40);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_six_leave_two_at_a_time),
        cmocka_unit_test(test_plain_cordon_moves_nothing),
        cmocka_unit_test(test_gives_back_only_what_it_took),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_misfit_is_named_and_retried_with_backoff),
        cmocka_unit_test(test_a_failing_source_is_tried_again),
        cmocka_unit_test(test_evacuations_overtake_users),
        cmocka_unit_test(test_deleting_it_stops_what_has_not_begun),
        cmocka_unit_test(test_nodes_that_cannot),
        cmocka_unit_test(test_one_that_arrives_leaves_again),
        cmocka_unit_test(test_single_node_shuts_down),
        cmocka_unit_test(test_controller_dies_at_any_write),
    };

    return cmocka_run_group_tests_name("loop_drain", tests, NULL, NULL);
}
