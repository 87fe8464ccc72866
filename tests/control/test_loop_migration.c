/* Migrations through the whole controller, with handlers that do what docs/protocol.md says and
 * with handlers that do not: each ends with a true outcome, the VM runs exactly once, and what
 * waits says why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "api/object.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/strmap.h"
#include "loop_world.h"

static void
migrate(struct world *w, const char *name, const char *vmi, const char *annotations)
{
    world_applyf(w,
                 "apiVersion: kubevirt.io/v1\n"
                 "kind: VirtualMachineInstanceMigration\n"
                 "metadata: {name: %s, namespace: shop, annotations: {%s}}\n"
                 "spec: {vmiName: %s}\n",
                 name, annotations, vmi);
}

static const char *
phase(struct world *w, const char *name)
{
    return world_phase(w, KIND_VMIM, "shop", name);
}

static const char *
state(struct world *w, enum kind kind, const char *name, const char *key)
{
    return world_text(w, kind, "shop", name, "status", "migrationState", key);
}

static const char *
waits(struct world *w, const char *name, const char *field)
{
    return world_condition(w, KIND_VMIM, "shop", name, "Waiting", field);
}

static bool
flag(struct world *w, enum kind kind, const char *name, const char *key)
{
    return tree_get_bool(
        tree_find(store_get(w->store, kind, "shop", name), "status", "migrationState", key, NULL),
        false);
}

/* Runs until the migration is in this phase; fails after `seconds`. */
static void
reach(struct world *w, const char *name, const char *want, double seconds)
{
    for (double t = 0; strcmp(phase(w, name), want) != 0; t += 0.1) {
        if (t > seconds)
            fail_msg("%s: %s after %.0f s, want %s: %s", name, phase(w, name), seconds, want,
                     waits(w, name, "message"));
        world_run(w, 0.1);
    }
}

static void
test_good(void **unused)
{
    static const char *const order[] = {"Pending",     "Scheduling", "Scheduled", "PreparingTarget",
                                        "TargetReady", "Running",    "Succeeded"};
    struct world *w = world_cluster(1, 2);
    const struct tree *t, *list;
    AUTO_FREE char *generation = NULL;

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_apply(w, "apiVersion: migrations.kubevirt.io/v1alpha1\n"
                   "kind: MigrationPolicy\n"
                   "metadata: {name: slow, annotations: {drover.io/weight: \"3\"}}\n"
                   "spec:\n"
                   "  bandwidthPerMigration: 64Mi\n"
                   "  selectors: {virtualMachineInstanceSelector: {app: vm}}\n");
    world_run(w, 1);
    assert_string_equal(world_vmi_node(w, "vm"), "n1");
    generation =
        xstrdup(object_annotation(store_get(w->store, KIND_VMI, "shop", "vm"), ANN_GENERATION));
    migrate(w, "m", "vm", "");
    reach(w, "m", "Running", 5);
    assert_string_equal(world_text(w, KIND_VM, "shop", "vm", "status", "printableStatus"),
                        "Migrating");
    world_run(w, 5);
    assert_string_equal(phase(w, "m"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_string_equal(world_vmi_node(w, "vm"), "n2");
    t = store_get(w->store, KIND_VMI, "shop", "vm");
    assert_string_equal(object_label(t, LABEL_NODE_NAME), "n2");
    assert_string_equal(object_label(t, LABEL_MIGRATION_TARGET), "n2");
    assert_string_equal(object_annotation(t, ANN_GENERATION),
                        object_annotation(t, ANN_MIGRATION_GENERATION));
    assert_int_equal(strtoull(object_annotation(t, ANN_GENERATION), NULL, 10),
                     strtoull(generation, NULL, 10) + 1);
    assert_string_equal(object_annotation(t, ANN_MIGRATION_OPTIONS),
                        "{\"encoding\":\"auto\",\"verify\":\"none\",\"channels\":0,\"weight\":3,"
                        "\"networkFallback\":\"none\",\"postCopy\":\"when-needed\",\"transport\":\"auto\"}");
    for (int k = 0; k < 2; k++) { /* the VMI's state and its copy */
        enum kind kind = k ? KIND_VMIM : KIND_VMI;
        const char *name = k ? "m" : "vm";

        assert_string_equal(state(w, kind, name, "sourceNode"), "n1");
        assert_string_equal(state(w, kind, name, "targetNode"), "n2");
        assert_string_equal(state(w, kind, name, "targetNodeAddress"), "10.200.5.2:4000");
        assert_string_equal(state(w, kind, name, "migrationPolicyName"), "slow");
        assert_string_equal(world_text(w, kind, "shop", name, "status", "migrationState",
                                       "migrationConfiguration", "bandwidthPerMigration"),
                            "64Mi");
        assert_true(flag(w, kind, name, "completed"));
        assert_true(flag(w, kind, name, "targetNodeDomainDetected"));
        assert_string_not_equal(state(w, kind, name, "startTimestamp"), "");
        assert_string_not_equal(state(w, kind, name, "endTimestamp"), "");
    }
    t = store_get(w->store, KIND_VMIM, "shop", "m");
    list = tree_find(t, "status", "phaseTransitionTimestamps", NULL);
    assert_int_equal(tree_len(list), ARRAY_LEN(order));
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        assert_string_equal(tree_get_string(tree_get(tree_at(list, i), "phase"), ""), order[i]);
    assert_non_null(object_annotation(t, ANN_SCHEDULE_RESULT));
    assert_int_equal(world_event(w, "m", "SuccessfulMigration", "from n1 to n2"), 1);
    assert_int_equal(world_event(w, "vm", "SuccessfulMigration", "from n1 to n2"), 1);
    world_validate(w);
    world_delete(w, KIND_VMIM, "shop", "m"); /* nothing holds a finished one */
    assert_null(store_get(w->store, KIND_VMIM, "shop", "m"));

    migrate(w, "back", "vm", ""); /* and back, with the next generation */
    world_run(w, 5);
    assert_string_equal(phase(w, "back"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    world_free(w);
}

/* --- handlers that misbehave --- */

struct bad_row {
    const char *name;
    void (*arm)(struct fake *source, struct fake *target);
    double after_s; /* it is not over before, and over at most 15 s later */
    const char *outcome;
    const char *reason; /* part of failureReason */
    const char *runs_on;
};

static void
arm_never_announces(struct fake *s, struct fake *t)
{
    (void)s;
    t->never_announces = true;
}

static void
arm_target_down(struct fake *s, struct fake *t)
{
    (void)s;
    t->never_announces = true;
    t->down = true;
}

static void
arm_refuses(struct fake *s, struct fake *t)
{
    (void)s;
    t->refuses = true;
}

static void
arm_never_claims(struct fake *s, struct fake *t)
{
    (void)t;
    s->never_claims = true;
}

static void
arm_claims_late(struct fake *s, struct fake *t)
{
    (void)t;
    s->claim_us = 119 * 1000000u;
}

static void
arm_announces_late(struct fake *s, struct fake *t)
{
    (void)s;
    t->prepare_us = 119 * 1000000u;
}

static void
arm_fails(struct fake *s, struct fake *t)
{
    (void)t;
    s->fails_migration = true;
}

static void
arm_fails_dirty(struct fake *s, struct fake *t)
{
    s->fails_migration = true;
    t->never_cleans = true;
}

static void
arm_never_completes(struct fake *s, struct fake *t)
{
    (void)t;
    s->never_completes = true;
}

static void
arm_source_dies_moved(struct fake *s, struct fake *t)
{
    (void)t;
    s->dies_after_move = true;
}

static void
arm_nothing(struct fake *s, struct fake *t)
{
    (void)s;
    (void)t;
}

static const struct bad_row bad_rows[] = {
    {"target never announces", arm_never_announces, 119, "Failed",
     "the handler of target node n2 did not announce an address within 120 s", "n1"},
    {"target's handler is down", arm_target_down, 119, "Failed", "did not announce", "n1"},
    {"target refuses", arm_refuses, 0, "Failed", "the migration network is not there", "n1"},
    {"source never claims", arm_never_claims, 119, "Failed",
     "the handler of source node n1 did not start the migration within 120 s", "n1"},
    {"source claims late", arm_claims_late, 119, "Succeeded", "", "n2"},
    {"target announces late", arm_announces_late, 119, "Succeeded", "", "n2"},
    {"source fails it", arm_fails, 2, "Failed", "progressTimeout: nothing moved", "n1"},
    {"target never says that it is clean", arm_fails_dirty, 120, "Failed",
     "progressTimeout: nothing moved for 150 s (and the handler of target node n2", "n1"},
    {"source never says that its copy is gone", arm_never_completes, 299, "Succeeded", "", "n2"},
    {"source dies when the guest has left", arm_source_dies_moved, 289, "Succeeded", "", "n2"},
    {"nobody misbehaves", arm_nothing, 2, "Succeeded", "", "n2"},
};

static void
test_misbehaving(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        const struct bad_row *r = &bad_rows[i];
        struct world *w = world_cluster(100 + i, 2);
        const char *why;

        world_vm(w, "vm", "Always", "1Gi", "");
        world_run(w, 1);
        migrate(w, "m", "vm", "");
        r->arm(world_fake(w, "n1"), world_fake(w, "n2"));
        world_run(w, r->after_s);
        if (r->after_s > 0 && strcmp(phase(w, "m"), r->outcome) == 0)
            fail_msg("%s: already %s", r->name, phase(w, "m"));
        world_run(w, 15);
        why = state(w, KIND_VMIM, "m", "failureReason");
        if (strcmp(phase(w, "m"), r->outcome) != 0 || !strstr(why, r->reason))
            fail_msg("%s: %s, %s (%s)", r->name, phase(w, "m"), why, waits(w, "m", "message"));
        if (!world_runs_on(w, "vm") || strcmp(world_runs_on(w, "vm"), r->runs_on) != 0 ||
            strcmp(world_vmi_node(w, "vm"), r->runs_on) != 0)
            fail_msg("%s: runs on %s", r->name, world_runs_on(w, "vm"));
        if (strcmp(r->outcome, "Failed") == 0) {
            assert_true(flag(w, KIND_VMIM, "m", "failed"));
            assert_int_equal(world_event(w, "m", "FailedMigration", r->reason), 1);
            assert_int_equal(world_event(w, "vm", "FailedMigration", r->reason), 1);
        }
        world_validate(w);
        world_free(w);
    }
}

static void
test_source_dies_after_claim(void **unused)
{
    struct world *w = world_cluster(120, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_fake(w, "n1")->dies_after_claim = true;
    migrate(w, "m", "vm", "");
    world_run(w, 1000); /* nobody but the source knows: nothing is decided for it, and it says so */
    assert_string_equal(phase(w, "m"), "Running");
    assert_string_equal(waits(w, "m", "reason"), "SourceStale");
    assert_non_null(strstr(waits(w, "m", "message"), "n1"));
    world_fake(w, "n1")->dies_after_claim = false;
    world_fake(w, "n1")->down = false; /* it comes back */
    world_run(w, 15);
    assert_string_equal(phase(w, "m"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    world_free(w);
}

static void
test_source_node_is_deleted_while_it_moves(void **unused)
{
    struct world *w = world_cluster(121, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_fake(w, "n1")->move_us = 3600u * 1000000u;
    migrate(w, "m", "vm", "");
    reach(w, "m", "Running", 5);
    world_fake(w, "n1")->off = true;
    world_run(w, 400);
    assert_string_equal(phase(w, "m"), "Running");
    world_delete(w, KIND_NODE, NULL, "n1");
    world_run(w, 5);
    assert_string_equal(phase(w, "m"), "Failed");
    assert_string_equal(state(w, KIND_VMIM, "m", "failureReason"), "node n1 was deleted");
    assert_string_equal(world_runs_on(w, "vm"), "n2"); /* started anew */
    world_free(w);
}

/* --- cancelling --- */

struct cancel_row {
    const char *phase;
    void (*arm)(struct fake *source, struct fake *target);
};

static void
arm_slow(struct fake *s, struct fake *t)
{
    (void)t;
    s->move_us = 3600u * 1000000u;
}

static void
test_cancel_in_each_phase(void **unused)
{
    static const struct cancel_row cancel_rows[] = {
        {"Pending", arm_nothing},
        {"Scheduling", arm_nothing},
        {"PreparingTarget", arm_never_announces},
        {"TargetReady", arm_never_claims},
        {"Running", arm_slow},
    };

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(cancel_rows); i++) {
        const struct cancel_row *r = &cancel_rows[i];
        struct world *w = world_cluster(130 + i, 2);

        world_vm(w, "vm", "Always", "1Gi", "");
        world_run(w, 1);
        if (strcmp(r->phase, "Pending") == 0) /* no slot */
            world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                           "kind: HyperConverged\n"
                           "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                           "spec: {liveMigrationConfig: {parallelMigrationsPerCluster: 1}}\n");
        if (strcmp(r->phase, "Pending") == 0) {
            world_vm(w, "first", "Always", "1Gi", "");
            world_run(w, 1);
            arm_slow(world_fake(w, "n1"), NULL);
            arm_slow(world_fake(w, "n2"), NULL);
            migrate(w, "m0", "first", "");
            world_run(w, 1);
        }
        if (strcmp(r->phase, "Scheduling") == 0) /* no target */
            world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":true}}");
        r->arm(world_fake(w, "n1"), world_fake(w, "n2"));
        migrate(w, "m", "vm", "");
        reach(w, "m", r->phase, 10);
        world_run(w, 1);
        assert_string_equal(phase(w, "m"), r->phase);
        world_delete(w, KIND_VMIM, "shop", "m");
        world_run(w, 2);
        if (store_get(w->store, KIND_VMIM, "shop", "m"))
            fail_msg("%s: the object is still there: %s", r->phase, waits(w, "m", "message"));
        assert_string_equal(world_runs_on(w, "vm"), "n1");
        assert_string_equal(world_phase(w, KIND_VMI, "shop", "vm"), "Running");
        assert_string_equal(state(w, KIND_VMI, "vm", "targetNodeAddress"), "");
        if (i >= 2) {
            assert_true(flag(w, KIND_VMI, "vm", "failed"));
            assert_true(flag(w, KIND_VMI, "vm", "abortRequested"));
            assert_string_equal(state(w, KIND_VMI, "vm", "abortStatus"), "Succeeded");
        }
        assert_int_equal(world_event(w, "vm", "SuccessfulAbortMigration", ""), 1);
        arm_nothing(NULL, NULL);
        world_fake(w, "n1")->never_claims = world_fake(w, "n2")->never_announces = false;
        world_fake(w, "n1")->move_us = world_fake(w, "n2")->move_us = 2000000;
        world_patch(w, KIND_NODE, NULL, "n2", "{\"spec\":{\"unschedulable\":null}}");
        migrate(w, "again", "vm", ""); /* and it can be moved all the same */
        world_run(w, 10);
        assert_string_equal(phase(w, "again"), "Succeeded");
        world_free(w);
    }
}

static void
test_cancel_too_late(void **unused)
{
    struct world *w = world_cluster(140, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_fake(w, "n1")->ignores_abort = true;
    migrate(w, "m", "vm", "");
    reach(w, "m", "Running", 5);
    world_delete(w, KIND_VMIM, "shop", "m");
    world_run(w, 5);
    assert_null(store_get(w->store, KIND_VMIM, "shop", "m"));
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_int_equal(world_event(w, "vm", "SuccessfulMigration", ""), 1);
    world_free(w);
}

/* --- the queue --- */

static void
test_limits_and_explanations(void **unused)
{
    struct world *w = world_new(150);
    char name[16];

    (void)unused;
    world_node(w, "n1", 64);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "vm-%c", 'a' + i);
        world_vm(w, name, "Always", "1Gi", "");
    }
    world_run(w, 1);
    world_node(w, "n2", 64);
    world_fake(w, "n1")->move_us = 60 * 1000000u;
    for (int i = 3; i >= 0; i--) { /* first come, first served: not by name */
        snprintf(name, sizeof(name), "m%d", i);
        migrate(w, name, (char[]){'v', 'm', '-', (char)('a' + i), 0}, "");
    }
    world_run(w, 5);
    assert_string_equal(phase(w, "m3"), "Running");
    assert_string_equal(phase(w, "m2"), "Running");
    assert_string_equal(phase(w, "m1"), "Pending");
    assert_string_equal(phase(w, "m0"), "Pending");
    assert_string_equal(waits(w, "m1", "status"), "True");
    assert_string_equal(waits(w, "m1", "reason"), "NodeLimit");
    assert_string_equal(waits(w, "m0", "message"),
                        "waiting: 2 of 2 outbound migrations of node n1 are running (vm-c, vm-d)");
    assert_int_equal(world_event(w, "m0", "NodeLimit", "vm-c, vm-d"), 1);
    world_run(w, 58);
    assert_string_equal(phase(w, "m1"), "Running");
    assert_string_equal(waits(w, "m1", "status"), "False");
    world_run(w, 130);
    assert_string_equal(phase(w, "m0"), "Succeeded");
    assert_int_equal(w->most_from[0], 2);
    assert_int_equal(w->most_moving, 2);
    world_free(w);
}

static void
test_cluster_limit(void **unused)
{
    struct world *w = world_new(151);
    char name[16];

    (void)unused;
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "n%d", i + 1);
        world_node(w, name, 16)->move_us = 60 * 1000000u;
    }
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "v%d", i + 1);
        world_vm(w, name, "Always", "9Gi", ""); /* one a node */
        world_run(w, 1);
    }
    world_node(w, "n7", 128)->move_us = 60 * 1000000u;
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "m%d", i + 1);
        migrate(w, name, (char[]){'v', (char)('1' + i), 0}, "");
    }
    world_run(w, 10);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "m%d", i + 1);
        assert_string_equal(phase(w, name), "Running");
    }
    assert_string_equal(phase(w, "m6"), "Pending");
    assert_string_equal(
        waits(w, "m6", "message"),
        "waiting: 5 of 5 migrations of the cluster are running (v1, v2, v3, v4, v5)");
    world_run(w, 130);
    assert_string_equal(phase(w, "m6"), "Succeeded");
    assert_int_equal(w->most_moving, 5);
    world_free(w);
}

static void
test_misfit(void **unused)
{
    struct world *w = world_cluster(152, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "      nodeSelector: {kubernetes.io/hostname: n1}\n");
    world_run(w, 1);
    migrate(w, "m", "vm", "");
    world_run(w, 1);
    assert_string_equal(phase(w, "m"), "Scheduling");
    assert_string_equal(waits(w, "m", "reason"), "Unschedulable");
    assert_non_null(strstr(waits(w, "m", "message"), "0/2 nodes are available: "));
    assert_int_equal(world_event(w, "m", "migrationTargetPodUnschedulable", "0/2"), 1);
    world_run(w, 290);
    assert_string_equal(phase(w, "m"), "Scheduling");
    world_run(w, 15);
    assert_string_equal(phase(w, "m"), "Failed");
    assert_non_null(strstr(state(w, KIND_VMIM, "m", "failureReason"),
                           "no node fitted the target for 300 s: 0/2 nodes are available"));
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    assert_string_equal(state(w, KIND_VMI, "vm", "migrationUid"), ""); /* nothing was handed off */

    migrate(w, "m2", "vm", "kubevirt.io/migrationUnschedulablePodTimeoutSeconds: '20'");
    world_run(w, 25);
    assert_string_equal(phase(w, "m2"), "Failed");

    migrate(w, "m3", "vm", "");
    world_run(w, 100);
    world_patch(w, KIND_NODE, NULL, "n2",
                "{\"metadata\":{\"labels\":{\"kubernetes.io/hostname\":\"n1\"}}}");
    world_run(w, 5); /* tried again when something changes */
    assert_string_equal(phase(w, "m3"), "Succeeded");
    world_validate(w);
    world_free(w);
}

static void
test_parked_ones_hold_no_slot(void **unused)
{
    struct world *w = world_new(153);
    char name[16];

    (void)unused;
    world_node(w, "n1", 64);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "v%d", i);
        world_vm(w, name, "Always", "1Gi",
                 i < 3 ? "      nodeSelector: {kubernetes.io/hostname: n1}\n" : "");
    }
    world_run(w, 1);
    world_node(w, "n2", 64);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        migrate(w, name, (char[]){'v', (char)('0' + i), 0}, "");
    }
    world_run(w, 10);
    assert_string_equal(phase(w, "m0"), "Scheduling");
    assert_string_equal(phase(w, "m3"), "Succeeded");
    assert_string_equal(phase(w, "m4"), "Succeeded");
    world_free(w);
}

static void
test_refusals(void **unused)
{
    struct world *w = world_cluster(154, 2);

    (void)unused;
    world_apply(w, "apiVersion: v1\n"
                   "kind: PersistentVolumeClaim\n"
                   "metadata: {name: disk, namespace: shop}\n"
                   "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n");
    world_vm(w, "vm", "Always", "1Gi", "");
    world_vm(w, "rwo", "Always", "1Gi",
             "      volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}]\n");
    world_run(w, 1);
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "rwo", "LiveMigratable", "reason"),
                        "DisksNotLiveMigratable");
    assert_string_equal(
        world_condition(w, KIND_VMI, "shop", "rwo", "StorageLiveMigratable", "status"), "True");
    migrate(w, "none", "ghost", "");
    migrate(w, "disk", "rwo", "");
    world_fake(w, "n1")->move_us = world_fake(w, "n2")->move_us = 60 * 1000000u;
    migrate(w, "one", "vm", "");
    migrate(w, "two", "vm", "");
    world_run(w, 2);
    assert_string_equal(phase(w, "none"), "Failed");
    assert_non_null(strstr(state(w, KIND_VMIM, "none", "failureReason"), "does not exist"));
    assert_string_equal(phase(w, "disk"), "Failed");
    assert_non_null(strstr(state(w, KIND_VMIM, "disk", "failureReason"),
                           "Cannot migrate VMI, Reason: DisksNotLiveMigratable"));
    assert_string_equal(phase(w, "one"), "Running");
    assert_string_equal(phase(w, "two"), "Failed");
    assert_non_null(strstr(state(w, KIND_VMIM, "two", "failureReason"),
                           "another migration job is in progress: one"));
    /* the claim becomes shared: the condition follows */
    world_patch(w, KIND_PVC, "shop", "disk", "{\"spec\":{\"accessModes\":[\"ReadWriteMany\"]}}");
    world_run(w, 1);
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "rwo", "LiveMigratable", "status"),
                        "True");
    world_free(w);
}

/* What runs on a host says at once whether it can leave it, with all reasons; the claim is made later. */
static void
test_migratable_follows(void **unused)
{
    struct world *w = world_cluster(173, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi",
             "      volumes: [{name: d, persistentVolumeClaim: {claimName: later}}, {name: e, "
             "emptyDisk: "
             "{capacity: 1Gi}}]\n");
    world_run(w, 1);
    assert_non_null(strstr(world_condition(w, KIND_VMI, "shop", "vm", "LiveMigratable", "message"),
                           "Unable to determine if PVC later is shared"));
    world_apply(w, "apiVersion: v1\n"
                   "kind: PersistentVolumeClaim\n"
                   "metadata: {name: later, namespace: shop}\n"
                   "spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}\n");
    world_run(w, 1);
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "vm", "LiveMigratable", "status"),
                        "True");
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "migrationMethod"),
                        "BlockMigration");
    world_free(w);
}

static void
test_waits_for_its_vm(void **unused)
{
    struct world *w = world_cluster(155, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "100Gi", "");
    world_run(w, 1);
    migrate(w, "m", "vm", "");
    world_run(w, 890);
    assert_string_equal(phase(w, "m"), "Pending");
    assert_string_equal(waits(w, "m", "reason"), "VMINotRunning");
    world_run(w, 15);
    assert_string_equal(phase(w, "m"), "Failed");
    world_free(w);
}

static void
test_explicit_target_and_added_selector(void **unused)
{
    struct world *w = world_cluster(156, 4);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    migrate(w, "m", "vm", "drover.io/target-node: n4");
    world_run(w, 5);
    assert_string_equal(world_runs_on(w, "vm"), "n4");
    world_apply(w, "apiVersion: kubevirt.io/v1\n"
                   "kind: VirtualMachineInstanceMigration\n"
                   "metadata: {name: s, namespace: shop}\n"
                   "spec: {vmiName: vm, addedNodeSelector: {kubernetes.io/hostname: n3}}\n");
    world_run(w, 5);
    assert_string_equal(world_runs_on(w, "vm"), "n3");
    world_free(w);
}

/* A target that somebody names is checked like any other, and the answer says what is in its way; by
 * force it is taken against people's rules. */
static void
test_forced_target(void **unused)
{
    struct world *w = world_cluster(158, 3);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_patch(w, KIND_NODE, NULL, "n3", "{\"spec\":{\"unschedulable\":true}}");
    migrate(w, "m", "vm", "drover.io/target-node: n3");
    world_run(w, 5);
    assert_string_equal(waits(w, "m", "reason"), "Unschedulable");
    assert_non_null(strstr(waits(w, "m", "message"), " n3 would do: uncordon n3."));
    world_delete(w, KIND_VMIM, "shop", "m");
    world_run(w, 2);
    migrate(w, "f", "vm", "drover.io/target-node: n3, drover.io/target-node-force: 'true'");
    world_run(w, 5);
    assert_string_equal(world_runs_on(w, "vm"), "n3");
    world_free(w);
}

/* --- the dedicated network --- */

static void
network_ready(struct world *w, const char *node, const char *status, const char *reason,
              const char *message)
{
    AUTO_FREE char *json =
        xasprintf("{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},"
                  "{\"type\":\"MigrationNetworkReady\",\"status\":\"%s\",\"reason\":\"%s\","
                  "\"message\":\"%s\"}]}}",
                  status, reason, message);

    world_patch(w, KIND_NODE, NULL, node, json);
}

static void
test_network(void **unused)
{
    struct world *w = world_cluster(157, 3);

    (void)unused;
    world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                   "kind: HyperConverged\n"
                   "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                   "spec: {liveMigrationConfig: {network: migration}}\n");
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    migrate(w, "m", "vm", "");
    world_run(w, 890); /* the network's definition is missing: wait, say so, give up after 900 s */
    assert_string_equal(phase(w, "m"), "Scheduling");
    assert_string_equal(waits(w, "m", "reason"), "NetworkNotFound");
    assert_non_null(
        strstr(waits(w, "m", "message"), "NetworkAttachmentDefinition openshift-cnv/migration"));
    world_run(w, 15);
    assert_string_equal(phase(w, "m"), "Failed");
    assert_non_null(strstr(state(w, KIND_VMIM, "m", "failureReason"), "does not exist"));

    network_ready(w, "n1", "False", "AddressLost", "no address on eth1");
    network_ready(w, "n2", "True", "AddressFound", "");
    network_ready(w, "n3", "True", "AddressFound", "");
    migrate(w, "m2", "vm", "");
    world_run(w, 1);
    world_apply(w, "apiVersion: k8s.cni.cncf.io/v1\n"
                   "kind: NetworkAttachmentDefinition\n"
                   "metadata: {name: migration, namespace: openshift-cnv}\n"
                   "spec:\n"
                   "  config: '{\"cniVersion\": \"0.3.1\", \"name\": \"migration\", \"type\": "
                   "\"macvlan\", \"master\": \"eth1\", \"mode\": \"bridge\", \"ipam\": {\"type\": "
                   "\"whereabouts\", \"range\": \"10.200.5.0/24\"}}'\n");
    world_run(w, 1);
    assert_string_equal(waits(w, "m2", "reason"), "SourceNetworkNotReady");
    assert_non_null(
        strstr(waits(w, "m2", "message"), "on source node n1: AddressLost: no address on eth1"));
    network_ready(w, "n1", "True", "AddressFound", "");
    network_ready(w, "n2", "False", "LinkDown", "eth1 has no carrier");
    network_ready(w, "n3", "Unknown", "NotRead", "");
    world_run(w, 1);
    assert_string_equal(waits(w, "m2", "reason"), "Unschedulable");
    assert_string_equal(
        waits(w, "m2", "message"),
        "0/3 nodes are available: 1 node(s) were the source of the migration, 2 "
        "node(s) had no ready migration network. n2: LinkDown: eth1 has no carrier. "
        "n3: NotRead.");
    assert_non_null(
        strstr(object_annotation(store_get(w->store, KIND_VMIM, "shop", "m2"), ANN_SCHEDULE_RESULT),
               "{\"name\":\"n2\",\"fits\":false,\"reasons\":[\"node(s) had no ready migration "
               "network\"]"));
    network_ready(w, "n3", "True", "AddressFound", "");
    world_run(w, 0.1); /* at once */
    assert_string_equal(state(w, KIND_VMIM, "m2", "targetNode"), "n3");
    world_run(w, 5);
    assert_string_equal(phase(w, "m2"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm"), "n3");
    assert_string_equal(world_text(w, KIND_VMI, "shop", "vm", "status", "migrationState",
                                   "migrationConfiguration", "network"),
                        "openshift-cnv/migration");
    world_free(w);
}

/* --- what is kept --- */

static void
test_five_attempts_are_kept(void **unused)
{
    struct world *w = world_cluster(158, 2);
    char name[16];

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        migrate(w, name, "vm", "");
        world_run(w, 5);
        assert_string_equal(phase(w, name), "Succeeded");
    }
    assert_int_equal(world_migrations(w, "vm", NULL), 5);
    assert_null(store_get(w->store, KIND_VMIM, "shop", "m0"));
    assert_null(store_get(w->store, KIND_VMIM, "shop", "m1"));
    assert_non_null(store_get(w->store, KIND_VMIM, "shop", "m2"));
    world_delete(w, KIND_VM, "shop", "vm"); /* they are kept as long as the VM is there */
    world_run(w, 310);
    assert_int_equal(world_migrations(w, "vm", NULL), 0);
    world_free(w);
}

static void
test_orphaned_state(void **unused)
{
    struct world *w = world_cluster(159, 2);

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_fake(w, "n2")->never_announces = true;
    migrate(w, "m", "vm", "");
    reach(w, "m", "PreparingTarget", 5);
    world_patch(w, KIND_VMIM, "shop", "m", "{\"metadata\":{\"finalizers\":null}}");
    world_delete(w, KIND_VMIM, "shop", "m"); /* by force */
    world_run(w, 2);
    assert_true(flag(w, KIND_VMI, "vm", "failed"));
    world_fake(w, "n2")->never_announces = false;
    migrate(w, "m2", "vm", "");
    world_run(w, 5);
    assert_string_equal(phase(w, "m2"), "Succeeded");
    world_free(w);
}

/* --- the controller dies --- */

static void
test_controller_dies_at_any_write(void **unused)
{
    unsigned writes = 0;

    (void)unused;
    for (unsigned k = 0; k == 0 || k <= writes; k++) {
        struct world *w = world_cluster(200 + k, 2);
        unsigned before;

        world_vm(w, "vm", "Always", "1Gi", "");
        world_run(w, 1);
        before = w->writes;
        w->crash_at = k ? before + k : 0;
        migrate(w, "m", "vm", "");
        world_run(w, 6);
        if (strcmp(phase(w, "m"), "Succeeded") != 0 || !world_runs_on(w, "vm") ||
            strcmp(world_runs_on(w, "vm"), "n2") != 0)
            fail_msg("killed after write %u: %s, runs on %s: %s", k, phase(w, "m"),
                     world_runs_on(w, "vm") ? world_runs_on(w, "vm") : "nothing",
                     waits(w, "m", "message"));
        if (k == 0)
            writes = w->writes - before;
        world_free(w);
    }
    assert_true(writes > 15);
}

static void
test_controller_dies_while_cancelling(void **unused)
{
    (void)unused;
    for (unsigned k = 1; k < 20; k++) {
        struct world *w = world_cluster(300 + k, 2);

        world_vm(w, "vm", "Always", "1Gi", "");
        world_run(w, 1);
        world_fake(w, "n1")->move_us = 60 * 1000000u;
        migrate(w, "m", "vm", "");
        world_run(w, 0.02 * k);
        w->crash_at = w->writes + 1 + k % 5;
        if (store_get(w->store, KIND_VMIM, "shop", "m"))
            world_delete(w, KIND_VMIM, "shop", "m");
        world_run(w, 10);
        assert_null(store_get(w->store, KIND_VMIM, "shop", "m"));
        assert_string_equal(world_runs_on(w, "vm"), "n1");
        world_free(w);
    }
}

/* Each of the controller's fault points lies on the way of every migration; one that only fails
 * there (and does not die) goes on with the next pass. */
static void
test_fault_points_are_reached(void **unused)
{
    static const char *const names[] = {"coord.scheduling", "coord.handoff", "coord.running",
                                        "coord.finish"};
    char path[64];

    (void)unused;
    snprintf(path, sizeof(path), "/tmp/drover-test-faults-%d", (int)getpid());
    setenv("DROVER_FAULT_LOG", path, 1);
    setenv("DROVER_FAULT",
           "coord.scheduling:error,coord.handoff:error,coord.running:error,coord.finish:error", 1);
    assert_int_equal(fault_init(NULL), 0);
    unsetenv("DROVER_FAULT");
    unsetenv("DROVER_FAULT_LOG");

    struct world *w = world_cluster(170, 2);
    AUTO_FREE char *log = NULL;
    size_t len;

    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    migrate(w, "m", "vm", "");
    world_run(w, 6);
    assert_string_equal(phase(w, "m"), "Succeeded");
    assert_string_equal(world_runs_on(w, "vm"), "n2");
    assert_int_equal(fs_read_all(path, 4096, &log, &len, NULL), 0);
    unlink(path);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strstr(log, names[i]))
            fail_msg("%s is not reached", names[i]);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_misbehaving),
        cmocka_unit_test(test_source_dies_after_claim),
        cmocka_unit_test(test_source_node_is_deleted_while_it_moves),
        cmocka_unit_test(test_cancel_in_each_phase),
        cmocka_unit_test(test_cancel_too_late),
        cmocka_unit_test(test_limits_and_explanations),
        cmocka_unit_test(test_cluster_limit),
        cmocka_unit_test(test_misfit),
        cmocka_unit_test(test_parked_ones_hold_no_slot),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_migratable_follows),
        cmocka_unit_test(test_waits_for_its_vm),
        cmocka_unit_test(test_explicit_target_and_added_selector),
        cmocka_unit_test(test_forced_target),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_five_attempts_are_kept),
        cmocka_unit_test(test_orphaned_state),
        cmocka_unit_test(test_controller_dies_at_any_write),
        cmocka_unit_test(test_controller_dies_while_cancelling),
        cmocka_unit_test(test_fault_points_are_reached), /* last: they stay armed */
    };

    return cmocka_run_group_tests_name("loop_migration", tests, NULL, NULL);
}
