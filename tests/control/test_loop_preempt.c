/* Priority and preemption through the whole controller on virtual time: who is placed first, who has to go
 * and how, that the room is kept meanwhile, and that plans are given up cleanly. */
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
#include "base/rng.h"
#include "loop_world.h"

#define ON(node) "      nodeSelector: {kubernetes.io/hostname: " node "}\n"
#define HIGH     "      priorityClassName: high\n"
#define MID      "      priorityClassName: mid\n"

static void
priority_class(struct world *w, const char *name, const char *rest)
{
    world_applyf(w,
                 "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: %s}\n%s",
                 name, rest);
}

/* n1 and n2 with 4 GiB each; low-1 (2 GiB) on n1; classes high and mid. */
static struct world *
cluster(const char *extra)
{
    struct world *w = world_new(1);

    priority_class(w, "high", "value: 1000\n");
    priority_class(w, "mid", "value: 500\n");
    world_node(w, "n1", 4);
    world_vm(w, "low-1", "Always", "2Gi", extra);
    world_run(w, 2);
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    world_node(w, "n2", 4);
    world_run(w, 1);
    return w;
}

static const char *
annotation(struct world *w, const char *vmi, const char *key)
{
    const char *s = object_annotation(store_get(w->store, KIND_VMI, "shop", vmi), key);

    return s ? s : "";
}

static const char *
phase(struct world *w, const char *vmi)
{
    return world_text(w, KIND_VMI, "shop", vmi, "status", "phase");
}

static void
cordon(struct world *w, const char *node, bool on)
{
    world_patch(w, KIND_NODE, NULL, node,
                on ? "{\"spec\":{\"unschedulable\":true}}" : "{\"spec\":{\"unschedulable\":null}}");
}

static void
test_a_victim_is_migrated(void **unused)
{
    struct world *w = cluster("");
    const char *newest;

    (void)unused;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    world_run(w, 0.2);
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "n1");
    assert_non_null(strstr(annotation(w, "top", ANN_VICTIMS), "\"low-1\""));
    assert_int_equal(world_migrations(w, "low-1", &newest), 1);
    assert_string_equal(
        object_annotation(store_get(w->store, KIND_VMIM, "shop", newest), ANN_EVACUATION_CAUSE),
        "preemption");
    assert_int_equal(world_event(w, "low-1", "Preempted",
                                 "Preempted by VirtualMachineInstance shop/top on node n1"),
                     1);
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "low-1"), "n2");
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "");
    assert_string_equal(annotation(w, "top", ANN_VICTIMS), "");
    assert_int_equal(world_migrations(w, "low-1", NULL), 1);
    world_validate(w);
    world_free(w);
}

static void
test_a_victim_that_fits_nowhere_is_shut_down(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    cordon(w, "n2", true);
    world_vm(w, "top", "Always", "3Gi", HIGH);
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_null(world_runs_on(w, "low-1"));
    assert_string_equal(phase(w, "low-1"), "Scheduling"); /* its next instance waits */
    assert_int_equal(world_migrations(w, "low-1", NULL), 0);
    assert_int_equal(world_event(w, "low-1", "EvictionRequested", "it fits nowhere else"), 1);
    cordon(w, "n2", false);
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "low-1"), "n2");
    world_free(w);
}

static void
test_strategies_that_do_not_migrate(void **unused)
{
    static const char *const strategies[] = {"      evictionStrategy: None\n",
                                             "      evictionStrategy: External\n"};

    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct world *w = cluster(strategies[i]);

        world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
        world_run(w, 20);
        assert_string_equal(world_runs_on(w, "top"), "n1");
        assert_string_equal(world_runs_on(w, "low-1"), "n2"); /* started anew */
        assert_int_equal(world_migrations(w, "low-1", NULL), 0);
        world_free(w);
    }
}

static void
test_no_more_victims_than_needed(void **unused)
{
    struct world *w = cluster(ON("n1"));

    (void)unused;
    world_vm(w, "low-2", "Always", "1Gi", ON("n1"));
    world_run(w, 3);
    assert_string_equal(world_runs_on(w, "low-2"), "n1");
    world_vm(w, "top", "Always", "1Gi", HIGH ON("n1"));
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_string_equal(world_runs_on(w, "low-1"), "n1"); /* the younger one went */
    assert_null(world_runs_on(w, "low-2"));
    assert_int_equal(world_event(w, "low-1", "Preempted", ""), 0);
    world_free(w);
}

static void
test_never_and_equals(void **unused)
{
    struct world *w = cluster(MID);

    (void)unused;
    priority_class(w, "meek", "value: 1000\npreemptionPolicy: Never\n");
    world_vm(w, "meek", "Always", "3Gi", "      priorityClassName: meek\n" ON("n1"));
    world_vm(w, "equal", "Always", "3Gi", MID ON("n1"));
    world_vm(w, "lowest", "Always", "3Gi", ON("n1"));
    world_run(w, 30);
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    assert_non_null(strstr(world_condition(w, KIND_VMI, "shop", "meek", "PodScheduled", "message"),
                           "preemption: not eligible due to preemptionPolicy=Never."));
    assert_non_null(
        strstr(world_condition(w, KIND_VMI, "shop", "equal", "PodScheduled", "message"),
               "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for "
               "scheduling."));
    assert_null(strstr(world_condition(w, KIND_VMI, "shop", "lowest", "PodScheduled", "message"),
                       "preemption"));
    assert_string_equal(annotation(w, "meek", ANN_NOMINATED), "");
    world_free(w);
}

/* Nothing is there to go to; the node that comes has room for one. */
static void
test_the_higher_is_placed_first(void **unused)
{
    struct world *w = world_new(1);

    (void)unused;
    priority_class(w, "high", "value: 1000\npreemptionPolicy: Never\n");
    world_vm(w, "old", "Always", "3Gi", "");
    world_run(w, 5);
    world_vm(w, "young", "Always", "3Gi", HIGH);
    world_run(w, 5);
    world_node(w, "n1", 4);
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "young"), "n1");
    assert_null(world_runs_on(w, "old"));
    world_free(w);
}

static void
test_the_room_is_kept(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_fake(w, "n1")->move_us = 10000000;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    world_run(w, 2);
    world_vm(w, "mid", "Always", "1Gi", MID ON("n1")); /* fits beside low-1, but is promised */
    world_run(w, 4);
    assert_string_equal(phase(w, "mid"), "Scheduling");
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_string_equal(phase(w, "mid"), "Scheduling");
    assert_string_equal(world_runs_on(w, "low-1"), "n2");
    world_free(w);
}

static void
test_given_up_when_it_fits_elsewhere(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_fake(w, "n2")->never_announces = true; /* the victim's migration hangs */
    world_vm(w, "top", "Always", "3Gi", HIGH "      nodeSelector: {tier: x}\n");
    world_patch(w, KIND_NODE, NULL, "n1", "{\"metadata\":{\"labels\":{\"tier\":\"x\"}}}");
    world_run(w, 5);
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "n1");
    world_node(w, "n3", 4);
    world_patch(w, KIND_NODE, NULL, "n3", "{\"metadata\":{\"labels\":{\"tier\":\"x\"}}}");
    world_run(w, 15);
    assert_string_equal(world_runs_on(w, "top"), "n3");
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "");
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    world_free(w);
}

static void
test_given_up_when_the_node_is_cordoned(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_fake(w, "n2")->never_announces = true;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    world_run(w, 3);
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "n1");
    cordon(w, "n1", true);
    world_run(w, 15);
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "");
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    assert_string_equal(phase(w, "top"), "Scheduling");
    world_free(w);
}

static void
test_given_up_when_the_vm_goes(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    while (world_migrations(w, "low-1", NULL) == 0)
        world_run(w, 0.001);
    cordon(w, "n2", true); /* the migration waits */
    world_run(w, 10);
    assert_int_equal(world_migrations(w, "low-1", NULL), 1);
    world_delete(w, KIND_VM, "shop", "top");
    world_run(w, 5);
    assert_null(store_get(w->store, KIND_VMI, "shop", "top"));
    assert_int_equal(world_migrations(w, "low-1", NULL), 0);
    cordon(w, "n2", false);
    world_run(w, 60);
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    world_free(w);
}

/* What was promised to one is not kept from those that matter more. */
static void
test_a_higher_one_takes_the_room(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    priority_class(w, "highest", "value: 2000\n");
    world_fake(w, "n1")->move_us = 8000000;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    world_run(w, 2);
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "n1");
    world_vm(w, "king", "Always", "3Gi", "      priorityClassName: highest\n" ON("n1"));
    world_run(w, 2);
    assert_string_equal(annotation(w, "king", ANN_NOMINATED), "n1");
    world_run(w, 40);
    assert_string_equal(world_runs_on(w, "king"), "n1");
    assert_string_equal(world_runs_on(w, "low-1"), "n2");
    assert_string_equal(phase(w, "top"), "Scheduling");
    assert_string_equal(annotation(w, "top", ANN_NOMINATED), "");
    world_free(w);
}

/* Its migration has no target for 30 s. */
static void
test_a_victim_whose_target_has_gone_is_shut_down(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n1"));
    while (world_migrations(w, "low-1", NULL) == 0)
        world_run(w, 0.001);
    cordon(w, "n2", true);
    world_run(w, 60);
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_null(world_runs_on(w, "low-1"));
    world_free(w);
}

static void
test_a_class_that_does_not_exist(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_vm(w, "vm", "Always", "1Gi", "      priorityClassName: non-preemptible\n");
    world_run(w, 20);
    assert_string_equal(phase(w, "vm"), "Pending");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "vm", "Synchronized", "status"),
                        "False");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "vm", "Synchronized", "reason"),
                        "FailedCreate");
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "vm", "Synchronized", "message"),
                        "failed to create virtual machine pod: pods \"virt-launcher-vm-\" is "
                        "forbidden: no PriorityClass with name non-preemptible was found");
    assert_int_equal(world_event(w, "vm", "FailedCreate", "no PriorityClass with name"), 1);
    priority_class(w, "non-preemptible", "value: 1\n");
    world_run(w, 5);
    assert_non_null(world_runs_on(w, "vm"));
    assert_string_equal(world_condition(w, KIND_VMI, "shop", "vm", "Synchronized", "status"), "");
    world_vm(w, "critical", "Always", "1Gi", "      priorityClassName: system-node-critical\n");
    world_run(w, 5);
    assert_non_null(world_runs_on(w, "critical"));
    world_validate(w);
    world_free(w);
}

/* It only comes: its migration is stopped, and it stays where it is. */
static void
test_a_victim_that_is_on_its_way_to_the_node(void **unused)
{
    struct world *w = cluster("");

    (void)unused;
    world_fake(w, "n1")->move_us = 100000000;
    world_apply(w, "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\nmetadata: "
                   "{name: m, namespace: shop}\nspec: {vmiName: low-1}\n");
    world_run(w, 5);
    world_vm(w, "top", "Always", "3Gi", HIGH ON("n2"));
    world_run(w, 40);
    assert_string_equal(world_runs_on(w, "top"), "n2");
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    assert_null(store_get(w->store, KIND_VMIM, "shop", "m"));
    assert_int_equal(world_event(w, "low-1", "EvictionRequested", ""), 0);
    world_free(w);
}

/* A controller that dies after any write goes on with the same plan. */
static void
test_crashes(void **unused)
{
    (void)unused;
    for (unsigned crash = 1; crash < 24; crash++) {
        struct world *w = cluster("");

        world_vm(w, "low-2", "Always", "1Gi", ON("n1"));
        world_run(w, 3);
        w->crash_at = w->writes + crash;
        world_vm(w, "top", "Always", "2Gi", HIGH ON("n1"));
        world_run(w, 40);
        assert_string_equal(world_runs_on(w, "top"), "n1");
        assert_string_equal(world_runs_on(w, "low-1"), "n2");
        assert_string_equal(world_runs_on(w, "low-2"), "n1");
        assert_int_equal(world_migrations(w, "low-1", NULL), 1);
        assert_int_equal(world_migrations(w, "low-2", NULL), 0);
        assert_string_equal(annotation(w, "top", ANN_NOMINATED), "");
        world_free(w);
    }
}

static int64_t
budget(struct world *w, const char *field)
{
    return tree_get_int(
        tree_find(store_get(w->store, KIND_PDB, "shop", "b"), "status", field, NULL), -1);
}

/* Counted as upstream's disruption controller does, and then it protects: the other VM goes, though it
 * matters more. */
static void
test_budgets(void **unused)
{
    static const struct {
        const char *spec;
        int64_t desired, allowed;
    } rows[] = {
        {"minAvailable: 1", 1, 1},
        {"minAvailable: 2", 2, 0},
        {"minAvailable: 5", 5, 0},
        {"minAvailable: 50%", 1, 1},
        {"minAvailable: 51%", 2, 0},
        {"maxUnavailable: 1", 1, 1},
        {"maxUnavailable: 0", 2, 0},
        {"maxUnavailable: 9", 0, 2},
        {"maxUnavailable: 10%", 1, 1},
        {"unhealthyPodEvictionPolicy: AlwaysAllow", 0, 0},
        {"maxUnavailable: 0, selector: {matchLabels: {app: no}}", 0, 0},
    };
    struct world *w = cluster(ON("n1"));

    (void)unused;
    world_vm(w, "low-2", "Always", "64Mi", "");
    world_run(w, 5);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_applyf(w,
                     "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: b, "
                     "namespace: shop}\nspec: {%s%s}\n",
                     rows[i].spec, strstr(rows[i].spec, "selector") ? "" : ", selector: {}");
        world_run(w, 3);
        assert_int_equal(budget(w, "expectedPods"),
                         strstr(rows[i].spec, "app: no") || strstr(rows[i].spec, "unhealthy") ? 0
                                                                                              : 2);
        assert_int_equal(budget(w, "desiredHealthy"), rows[i].desired);
        assert_int_equal(budget(w, "disruptionsAllowed"), rows[i].allowed);
        assert_string_equal(
            world_condition(w, KIND_PDB, "shop", "b", "DisruptionAllowed", "status"),
            rows[i].allowed ? "True" : "False");
        world_delete(w, KIND_PDB, "shop", "b");
    }
    world_free(w);

    w = cluster(ON("n1"));
    priority_class(w, "meek", "value: 500\npreemptionPolicy: Never\n");
    world_vm(w, "worth-more", "Always", "1Gi", "      priorityClassName: meek\n" ON("n1"));
    world_patch(w, KIND_VMI, "shop", "low-1", "{\"metadata\":{\"labels\":{\"app\":\"db\"}}}");
    world_apply(w, "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: b, "
                   "namespace: shop}\nspec: {maxUnavailable: 0, selector: {matchLabels: {app: "
                   "db}}}\n");
    world_run(w, 5);
    assert_int_equal(budget(w, "expectedPods"), 1);
    assert_int_equal(budget(w, "currentHealthy"), 1);
    world_vm(w, "top", "Always", "1Gi", HIGH ON("n1"));
    world_run(w, 20);
    assert_string_equal(world_runs_on(w, "top"), "n1");
    assert_string_equal(world_runs_on(w, "low-1"), "n1");
    assert_null(world_runs_on(w, "worth-more"));
    world_validate(w);
    world_free(w);
}

/* --- random lives --- */

#define LIVES    40
#define LIFE_VMS 12

struct life {
    struct world *w;
    struct rng rng;
    uint64_t seed;
};

static int
pick(struct life *f, int n)
{
    return (int)rng_below(&f->rng, (uint64_t)n);
}

static void
something_happens(struct life *f)
{
    static const char *const strategies[] = {"Always", "Halted"};
    struct world *w = f->w;
    char name[16], node[16], patch[80];
    struct fake *n;

    snprintf(name, sizeof(name), "vm-%d", pick(f, LIFE_VMS));
    snprintf(node, sizeof(node), "n%d", 1 + pick(f, 3));
    n = world_fake(w, node);
    switch (pick(f, 8)) {
    case 0:
    case 1:
    case 2:
    case 3:
        snprintf(patch, sizeof(patch), "{\"spec\":{\"runStrategy\":\"%s\"}}",
                 strategies[pick(f, 4) == 0]);
        world_patch(w, KIND_VM, "shop", name, patch);
        break;
    case 4:
        cordon(w, node, pick(f, 2) == 0);
        break;
    case 5:
        w->crash_at = w->writes + 1 + (unsigned)pick(f, 15);
        break;
    case 6:
        n->refuses = pick(f, 2) == 0;
        n->fails_migration = pick(f, 3) == 0;
        break;
    default:
        n->move_us = (uint64_t)pick(f, 20) * 1000000;
        n->never_announces = pick(f, 4) == 0;
        break;
    }
}

static bool
has_ended(void *ctx, const struct tree *obj)
{
    const struct life *f = ctx;
    const char *now = tree_find_string(obj, "", "status", "phase", NULL);

    if (strcmp(now, "Succeeded") != 0 && strcmp(now, "Failed") != 0)
        fail_msg("seed %llu: %s is %s", (unsigned long long)f->seed, object_name(obj), now);
    return true;
}

static int
value_of(int vm)
{
    return vm % 3 == 0 ? 1000 : vm % 3 == 1 ? 500 : 0;
}

/* All VMs ask for the same: when it is quiet, nobody waits who matters more than one that runs, no promise is
 * left, and no migration. */
static void
live(uint64_t seed)
{
    static const char *const classes[] = {HIGH, MID, ""};
    struct life f = {.w = world_new(seed), .seed = seed};
    struct world *w = f.w;
    int waits = -1, runs = 10000, len = 0;
    char name[16];

    rng_seed(&f.rng, seed);
    priority_class(w, "high", "value: 1000\n");
    priority_class(w, "mid", "value: 500\n");
    for (int i = 1; i <= 3; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        world_node(w, name, 4); /* room for three each */
    }
    for (int i = 0; i < LIFE_VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_vm(w, name, i % 2 ? "Always" : "Halted", "1Gi", classes[i % 3]);
    }
    for (int i = 0; i < 40; i++) {
        something_happens(&f);
        world_run(w, pick(&f, 5) == 0 ? 40 : 0.05 * pick(&f, 60));
    }
    for (int i = 1; i <= 3; i++) {
        struct fake *n;

        snprintf(name, sizeof(name), "n%d", i);
        n = world_fake(w, name);
        n->refuses = n->fails_migration = n->never_announces = false;
        n->move_us = 1000000;
        cordon(w, name, false);
    }
    for (int i = 0; i < LIFE_VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_patch(w, KIND_VM, "shop", name, "{\"spec\":{\"runStrategy\":\"Always\"}}");
    }
    world_run(w, 2000);
    store_list(w->store, KIND_VMIM, NULL, has_ended, &f);
    for (int i = 0; i < LIFE_VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        if (*annotation(w, name, ANN_NOMINATED))
            fail_msg("seed %llu: %s has a promise yet", (unsigned long long)seed, name);
        if (world_runs_on(w, name)) {
            len++;
            runs = value_of(i) < runs ? value_of(i) : runs;
        } else {
            waits = value_of(i) > waits ? value_of(i) : waits;
        }
    }
    if (len != 9 || waits > runs)
        fail_msg("seed %llu: %d run, the least with %d; one with %d waits",
                 (unsigned long long)seed, len, runs, waits);
    world_validate(w);
    world_free(w);
}

static void
test_random(void **unused)
{
    (void)unused;
    world_seeds(live, LIVES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_victim_is_migrated),
        cmocka_unit_test(test_a_victim_that_fits_nowhere_is_shut_down),
        cmocka_unit_test(test_strategies_that_do_not_migrate),
        cmocka_unit_test(test_no_more_victims_than_needed),
        cmocka_unit_test(test_never_and_equals),
        cmocka_unit_test(test_the_higher_is_placed_first),
        cmocka_unit_test(test_the_room_is_kept),
        cmocka_unit_test(test_given_up_when_it_fits_elsewhere),
        cmocka_unit_test(test_given_up_when_the_node_is_cordoned),
        cmocka_unit_test(test_given_up_when_the_vm_goes),
        cmocka_unit_test(test_a_higher_one_takes_the_room),
        cmocka_unit_test(test_a_victim_whose_target_has_gone_is_shut_down),
        cmocka_unit_test(test_a_class_that_does_not_exist),
        cmocka_unit_test(test_a_victim_that_is_on_its_way_to_the_node),
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
