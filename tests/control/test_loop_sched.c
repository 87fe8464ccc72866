/* Placement through the whole controller: what waits for a node says why, is tried again when
 * something has changed that helps it and not all the time, and what is decided together keeps the
 * rules that each decision alone keeps. The queue itself: test_loop_queue.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/rng.h"
#include "base/strmap.h"
#include "loop_world.h"

static const char *
placed(struct world *w, const char *vm, const char *field)
{
    return world_condition(w, KIND_VMI, "shop", vm, "PodScheduled", field);
}

static int64_t
refusals(struct world *w, const char *vm)
{
    return world_event(w, vm, "FailedScheduling", "");
}

static void
test_unschedulable(void **unused)
{
    struct world *w = world_new(1);
    const char *json;

    (void)unused;
    world_node(w, "n1", 4);
    world_node(w, "n2", 4);
    world_vm(w, "vm", "Always", "8Gi", "");
    world_run(w, 1);
    assert_string_equal(world_phase(w, KIND_VMI, "shop", "vm"), "Scheduling");
    assert_string_equal(placed(w, "vm", "status"), "False");
    assert_string_equal(placed(w, "vm", "reason"), "Unschedulable");
    assert_string_equal(placed(w, "vm", "message"),
                        "0/2 nodes are available: 2 Insufficient memory.");
    assert_int_equal(refusals(w, "vm"), 1);
    json = object_annotation(store_get(w->store, KIND_VMI, "shop", "vm"), ANN_SCHEDULE_RESULT);
    assert_non_null(strstr(json, "\"name\":\"n2\",\"fits\":false"));
    assert_non_null(strstr(json,
                           "\"rule\":\"NodeResourcesFit\",\"wanted\":\"8451Mi memory\",\"has\":"
                           "\"4Gi free of 4Gi\""));
    assert_non_null(strstr(json,
                           "\"nearest\":{\"node\":\"n1\",\"change\":\"n1 would do: ask for at "
                           "most 4Gi memory"));
    world_node(w, "n3", 16);
    world_run(w, 2);
    assert_string_equal(world_vmi_node(w, "vm"), "n3");
    assert_string_equal(placed(w, "vm", "status"), "True");
    assert_int_equal(world_event(w, "vm", "Scheduled", "Successfully assigned shop/vm to n3"), 1);
    world_free(w);
}

/* Something that might help changes twice a second: 1, 2, 4, 8, 10, 10, ... s between attempts. */
static void
test_backoff(void **unused)
{
    struct world *w = world_new(2);

    (void)unused;
    world_node(w, "n1", 4);
    world_vm(w, "vm", "Always", "8Gi", "");
    for (int i = 0; i < 120; i++) {
        AUTO_FREE char *json = xasprintf("{\"metadata\":{\"labels\":{\"step\":\"s%d\"}}}", i);

        world_patch(w, KIND_NODE, NULL, "n1", json);
        world_run(w, 0.499);
    }
    assert_in_range(refusals(w, "vm"), 8, 9); /* at 0, 1, 3, 7, 15, 25, 35, 45, 55 s */
    world_free(w);
}

/* Nothing changes but heartbeats: after 5 minutes it is tried all the same. */
static void
test_flush(void **unused)
{
    struct world *w = world_new(3);

    (void)unused;
    world_node(w, "n1", 4);
    world_vm(w, "vm", "Always", "8Gi", "");
    world_run(w, 290);
    assert_int_equal(refusals(w, "vm"), 1);
    world_run(w, 20);
    assert_int_equal(refusals(w, "vm"), 2);
    world_free(w);
}

/* Told ten times, then once a minute, however often it is tried. */
static void
test_events_are_few(void **unused)
{
    struct world *w = world_new(4);

    (void)unused;
    world_node(w, "n1", 4);
    world_vm(w, "vm", "Always", "8Gi", "");
    for (int i = 0; i < 600; i++) {
        AUTO_FREE char *json = xasprintf("{\"metadata\":{\"labels\":{\"step\":\"s%d\"}}}", i);

        world_patch(w, KIND_NODE, NULL, "n1", json);
        world_run(w, 1);
    }
    assert_in_range(refusals(w, "vm"), 17, 20);
    world_free(w);
}

static void
test_only_what_helps(void **unused)
{
    struct world *w = world_new(5);

    (void)unused;
    world_node(w, "n1", 16);
    world_patch(w, KIND_NODE, NULL, "n1",
                "{\"spec\":{\"taints\":[{\"key\":\"a\",\"value\":\"b\",\"effect\":\"NoSchedule\"}]"
                "}}");
    world_node(w, "n2", 4);
    world_vm(w, "small", "Always", "2Gi", "");
    world_run(w, 1);
    assert_string_equal(world_vmi_node(w, "small"), "n2");
    world_vm(w, "tainted", "Always", "1Gi", "      nodeSelector: {kubernetes.io/hostname: n1}\n");
    world_vm(w, "full", "Always", "3Gi", "");
    world_run(w, 20);
    assert_int_equal(refusals(w, "tainted"), 1);
    assert_int_equal(refusals(w, "full"), 1);
    world_delete(w, KIND_VM, "shop", "small"); /* makes room */
    world_run(w, 5);
    assert_string_equal(world_vmi_node(w, "full"), "n2");
    assert_int_equal(refusals(w, "tainted"), 1);
    world_patch(w, KIND_NODE, NULL, "n1", "{\"spec\":{\"taints\":null}}");
    world_run(w, 5);
    assert_string_equal(world_vmi_node(w, "tainted"), "n1");
    world_free(w);
}

/* A waiting VM's own condition is no reason to try it again; its labels are. */
static void
test_asks_anew(void **unused)
{
    struct world *w = world_new(6);

    (void)unused;
    world_node(w, "n1", 4);
    world_vm(w, "vm", "Always", "8Gi", "");
    world_run(w, 20);
    assert_int_equal(refusals(w, "vm"), 1);
    world_patch(w, KIND_VMI, "shop", "vm", "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}");
    world_run(w, 20);
    assert_int_equal(refusals(w, "vm"), 1);
    world_patch(w, KIND_VMI, "shop", "vm", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    world_run(w, 20);
    assert_int_equal(refusals(w, "vm"), 2);
    world_free(w);
}

/* The settings change what each VM asks for: what runs is counted anew. */
static void
test_settings_change(void **unused)
{
    struct world *w = world_new(7);

    (void)unused;
    world_node(w, "n1", 64); /* 16 CPUs */
    world_vm(w, "a", "Always", "1Gi", "");
    world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                   "kind: HyperConverged\n"
                   "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                   "spec: {resourceRequirements: {vmiCPUAllocationRatio: 1}}\n");
    world_run(w, 1);
    world_apply(w, "apiVersion: kubevirt.io/v1\n"
                   "kind: VirtualMachine\n"
                   "metadata: {name: b, namespace: shop}\n"
                   "spec:\n"
                   "  runStrategy: Always\n"
                   "  template:\n"
                   "    spec:\n"
                   "      domain: {devices: {}, memory: {guest: 1Gi}, cpu: {cores: 16}}\n");
    world_run(w, 1);
    assert_string_equal(placed(w, "b", "message"), "0/1 nodes are available: 1 Insufficient cpu.");
    world_patch(w, KIND_HCO, "openshift-cnv", "kubevirt-hyperconverged",
                "{\"spec\":{\"resourceRequirements\":{\"vmiCPUAllocationRatio\":2}}}");
    world_run(w, 2);
    assert_string_equal(world_vmi_node(w, "b"), "n1");
    world_free(w);
}

static void
move(struct world *w, const char *name)
{
    world_applyf(w,
                 "apiVersion: kubevirt.io/v1\n"
                 "kind: VirtualMachineInstanceMigration\n"
                 "metadata: {name: %s, namespace: shop}\n"
                 "spec: {vmiName: vm}\n",
                 name);
    world_run(w, 5);
    assert_string_equal(world_phase(w, KIND_VMIM, "shop", name), "Succeeded");
}

/* The model that a host-model guest started with is written down, so that it may come back from a
 * newer host; and so is the TSC frequency that it counts on. */
static void
test_way_back(void **unused)
{
    struct world *w = world_new(8);
    const struct tree *vmi;

    (void)unused;
    world_node(w, "n1", 16);
    world_node(w, "n2", 16);
    world_patch(w, KIND_NODE, NULL, "n2",
                "{\"metadata\":{\"labels\":{\"host-model-cpu.node.kubevirt.io/Haswell\":null,"
                "\"host-model-cpu.node.kubevirt.io/Skylake-Client\":\"true\","
                "\"cpu-model.node.kubevirt.io/Skylake-Client\":\"true\","
                "\"cpu-model-migration.node.kubevirt.io/Skylake-Client\":\"true\"}}}");
    for (int i = 1; i <= 2; i++) {
        char name[] = {'n', (char)('0' + i), 0};

        world_patch(w, KIND_NODE, NULL, name,
                    "{\"metadata\":{\"labels\":{"
                    "\"cpu-timer.node.kubevirt.io/tsc-frequency\":\"2100000000\","
                    "\"cpu-timer.node.kubevirt.io/tsc-scalable\":\"true\"}}}");
    }
    world_apply(w, "apiVersion: kubevirt.io/v1\n"
                   "kind: VirtualMachine\n"
                   "metadata: {name: vm, namespace: shop}\n"
                   "spec:\n"
                   "  runStrategy: Always\n"
                   "  template:\n"
                   "    spec:\n"
                   "      domain: {devices: {}, memory: {guest: 1Gi},\n"
                   "        cpu: {features: [{name: invtsc, policy: require}]}}\n");
    world_run(w, 1);
    assert_non_null(strstr(placed(w, "vm", "message"), "invtsc"));
    for (int i = 1; i <= 2; i++) {
        char name[] = {'n', (char)('0' + i), 0};

        world_patch(w, KIND_NODE, NULL, name,
                    "{\"metadata\":{\"labels\":{"
                    "\"cpu-feature.node.kubevirt.io/invtsc\":\"true\"}}}");
    }
    world_run(w, 3);
    assert_string_equal(world_vmi_node(w, "vm"), "n1");
    vmi = store_get(w->store, KIND_VMI, "shop", "vm");
    assert_string_equal(object_annotation(vmi, "drover.io/host-model"), "Haswell");
    assert_int_equal(
        tree_get_int(tree_find(vmi, "status", "topologyHints", "tscFrequency", NULL), 0),
        2100000000);
    move(w, "there");
    assert_string_equal(world_vmi_node(w, "vm"), "n2");
    move(w, "back");
    assert_string_equal(world_vmi_node(w, "vm"), "n1");
    world_free(w);
}

/* More nodes than an annotation can show: the engine decides, and the result is short. */
static void
test_large(void **unused)
{
    struct world *w = world_new(9);
    AUTO_TREE struct tree *result = NULL;
    const char *json;
    char now[32], name[32];

    (void)unused;
    time_format(loop_wall_us(w->loop), false, now, sizeof(now));
    for (int i = 0; i < 70; i++)
        world_applyf(w,
                     "apiVersion: v1\n"
                     "kind: Node\n"
                     "metadata:\n"
                     "  name: n%02d\n"
                     "  labels: {kubernetes.io/hostname: n%02d, zone: z%d,\n"
                     "    kubevirt.io/schedulable: 'true'}\n"
                     "  annotations: {kubevirt.io/heartbeat: '%s'}\n"
                     "status:\n"
                     "  allocatable: {cpu: '16', memory: %dGi, pods: '110'}\n"
                     "  conditions:\n"
                     "  - {type: Ready, status: 'True'}\n",
                     i, i, i % 3, now, i < 60 ? 8 : 4);
    for (int i = 0; i < 75; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_vm(w, name, "Always", i % 5 ? "1Gi" : "3Gi",
                 i % 2 ? ""
                       : "      topologySpreadConstraints:\n"
                         "      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
                         "DoNotSchedule,\n"
                         "         labelSelector: {matchExpressions: [{key: app, operator: "
                         "Exists}]}}\n");
    }
    world_vm(w, "big", "Always", "6Gi", "");
    world_vm(w, "huge", "Always", "60Gi", "");
    world_run(w, 3);
    json = object_annotation(store_get(w->store, KIND_VMI, "shop", "big"), ANN_SCHEDULE_RESULT);
    assert_int_equal(tree_from_json(json, strlen(json), &result, NULL), 0);
    assert_int_equal(tree_len(tree_get(result, "nodes")), 1);
    assert_string_equal(tree_find_string(tree_at(tree_get(result, "nodes"), 0), "", "name", NULL),
                        world_vmi_node(w, "big"));
    assert_int_equal(tree_get_int(tree_get(result, "nodesNotShown"), 0), 69);
    assert_in_range(tree_get_int(tree_get(result, "fitsCount"), 0), 1, 60);
    assert_int_equal(tree_get_int(tree_get(result, "bestCount"), 0),
                     tree_len(tree_get(result, "best")));
    tree_free(TAKE_PTR(result));
    assert_string_equal(placed(w, "huge", "message"),
                        "0/70 nodes are available: 70 Insufficient memory.");
    json = object_annotation(store_get(w->store, KIND_VMI, "shop", "huge"), ANN_SCHEDULE_RESULT);
    assert_int_equal(tree_from_json(json, strlen(json), &result, NULL), 0);
    assert_int_equal(tree_len(tree_get(result, "nodes")), 64);
    assert_int_equal(tree_get_int(tree_get(result, "nodesNotShown"), 0), 6);
    assert_non_null(strstr(tree_find_string(result, "", "nearest", "change", NULL), "memory"));
    world_free(w);
}

/* It is gone before any pass has seen it. */
static void
test_comes_and_goes(void **unused)
{
    struct world *w = world_new(10);

    (void)unused;
    world_node(w, "n1", 16);
    world_vm(w, "vm", "Always", "1Gi", "");
    world_run(w, 1);
    world_applyf(w, "apiVersion: kubevirt.io/v1\n"
                    "kind: VirtualMachineInstanceMigration\n"
                    "metadata: {name: short, namespace: shop}\n"
                    "spec: {vmiName: vm}\n");
    world_delete(w, KIND_VMIM, "shop", "short");
    assert_null(store_get(w->store, KIND_VMIM, "shop", "short"));
    world_run(w, 1);
    assert_string_equal(world_runs_on(w, "vm"), "n1");
    world_free(w);
}

/* --- decided together --- */

#define NODES  6
#define VMS    10
#define GROUPS 4 /* of VMs that keep apart */

struct watched {
    struct world *w;
    struct store_watch *watch;
    struct strmap *on; /* "node/vm" */
    int of_group[NODES][GROUPS], on_node[NODES];
};

static void
occupies(struct watched *o, const char *vm, const char *node)
{
    AUTO_FREE char *key = xasprintf("%s/%s", node, vm);
    int n = node[0] ? node[1] - '1' : -1, group = (vm[0] - 'a') % GROUPS;

    if (n < 0 || strmap_put(o->on, key, o))
        return;
    if (++o->on_node[n] > 2)
        fail_msg("%d VMs on %s: there is room for 2", o->on_node[n], node);
    if (++o->of_group[n][group] > 1)
        fail_msg("%s is on %s with another one of group %d", vm, node, group);
}

static bool
add_vmi(void *ctx, const struct tree *vmi)
{
    const struct tree *ms = tree_find(vmi, "status", "migrationState", NULL);
    const char *phase = tree_find_string(vmi, "", "status", "phase", NULL);

    if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
        return true;
    occupies(ctx, object_name(vmi), tree_find_string(vmi, "", "status", "nodeName", NULL));
    if (!ms || tree_get_bool(tree_get(ms, "failed"), false))
        return true;
    occupies(ctx, object_name(vmi), tree_find_string(ms, "", "targetNode", NULL));
    if (!tree_get_bool(tree_get(ms, "completed"), false))
        occupies(ctx, object_name(vmi), tree_find_string(ms, "", "sourceNode", NULL));
    return true;
}

static bool
add_vmim(void *ctx, const struct tree *m)
{
    struct watched *o = ctx;
    const char *vm = tree_find_string(m, "", "spec", "vmiName", NULL);

    if (strcmp(tree_find_string(m, "", "status", "phase", NULL), "Scheduled") == 0 &&
        *world_vmi_node(o->w, vm))
        occupies(ctx, vm, tree_find_string(m, "", "status", "migrationState", "targetNode", NULL));
    return true;
}

/* What is stored keeps the rules, at every moment. */
static void
look(void *ctx, const struct store_event *ev)
{
    struct watched *o = ctx;

    if (ev->kind != KIND_VMI && ev->kind != KIND_VMIM)
        return;
    o->on = strmap_new();
    memset(o->of_group, 0, sizeof(o->of_group));
    memset(o->on_node, 0, sizeof(o->on_node));
    store_list(o->w->store, KIND_VMI, NULL, add_vmi, o);
    store_list(o->w->store, KIND_VMIM, NULL, add_vmim, o);
    strmap_free(o->on, NULL);
}

static void
live(uint64_t seed)
{
    struct watched o = {.w = world_new(seed)};
    struct world *w = o.w;
    struct rng rng;
    char name[32];
    size_t moves = 0, succeeded = 0;

    rng_seed(&rng, seed);
    for (int i = 0; i < NODES; i++) {
        snprintf(name, sizeof(name), "n%d", i + 1);
        world_node(w, name, 10);
    }
    o.watch = store_watch(w->store, KIND_NONE, look, &o);
    world_apply(w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                   "kind: HyperConverged\n"
                   "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                   "spec: {liveMigrationConfig: {parallelMigrationsPerCluster: 8,\n"
                   "  parallelOutboundMigrationsPerNode: 4}}\n");
    for (int i = 0; i < VMS; i++)
        world_applyf(w,
                     "apiVersion: kubevirt.io/v1\n"
                     "kind: VirtualMachine\n"
                     "metadata: {name: %c, namespace: shop}\n"
                     "spec:\n"
                     "  runStrategy: Always\n"
                     "  template:\n"
                     "    metadata: {labels: {group: g%d}}\n"
                     "    spec:\n"
                     "      domain: {devices: {}, memory: {guest: 4Gi}}\n"
                     "      affinity: {podAntiAffinity: {\n"
                     "        requiredDuringSchedulingIgnoredDuringExecution: [\n"
                     "        {labelSelector: {matchLabels: {group: g%d}},\n"
                     "         topologyKey: kubernetes.io/hostname}]}}\n",
                     'a' + i, i % GROUPS, i % GROUPS);
    world_run(w, 2);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 4; i++)
            world_applyf(w,
                         "apiVersion: kubevirt.io/v1\n"
                         "kind: VirtualMachineInstanceMigration\n"
                         "metadata: {name: m%zu, namespace: shop}\n"
                         "spec: {vmiName: %c}\n",
                         moves++, 'a' + (int)rng_below(&rng, VMS));
        snprintf(name, sizeof(name), "%c", 'a' + (int)rng_below(&rng, VMS));
        world_patch(w, KIND_VM, "shop", name,
                    rng_below(&rng, 2) ? "{\"spec\":{\"runStrategy\":\"Halted\"}}"
                                       : "{\"spec\":{\"runStrategy\":\"Always\"}}");
        if (rng_below(&rng, 8) == 0)
            world_crash(w);
        world_run(w, 0.1 * (double)rng_below(&rng, 60));
    }
    world_run(w, 120);
    for (int i = 0; i < VMS; i++) {
        const struct tree *vmi;

        snprintf(name, sizeof(name), "%c", 'a' + i);
        vmi = store_get(w->store, KIND_VMI, "shop", name);
        succeeded +=
            tree_get_bool(tree_find(vmi, "status", "migrationState", "completed", NULL), false);
    }
    assert_true(succeeded > 0);
    store_unwatch(o.watch);
    world_free(w);
}

/* By the profile that the controller was given: VMs are packed, where the default spreads them. */
static void
test_profile(void **unused)
{
    for (int packs = 0; packs < 2; packs++) {
        struct world *w = world_new(1);
        struct profile pack = *profile_default();

        (void)unused;
        pack.strategy = PROFILE_MOST;
        pack.weights[PLACE_BALANCED] = 0;
        w->config.profile = packs ? &pack : NULL;
        world_crash(w); /* begins again with it */
        world_node(w, "n1", 16);
        world_node(w, "n2", 16);
        world_vm(w, "a", "Always", "4Gi", "");
        world_run(w, 2);
        world_vm(w, "b", "Always", "4Gi", "");
        world_run(w, 2);
        assert_non_null(world_vmi_node(w, "a"));
        assert_int_equal(strcmp(world_vmi_node(w, "a"), world_vmi_node(w, "b")) == 0, packs);
        world_free(w);
    }
}

static void
test_together(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++)
        live(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unschedulable),   cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_flush),           cmocka_unit_test(test_events_are_few),
        cmocka_unit_test(test_only_what_helps), cmocka_unit_test(test_asks_anew),
        cmocka_unit_test(test_settings_change), cmocka_unit_test(test_way_back),
        cmocka_unit_test(test_large),           cmocka_unit_test(test_comes_and_goes),
        cmocka_unit_test(test_together),        cmocka_unit_test(test_profile),
    };

    return cmocka_run_group_tests_name("loop_sched", tests, NULL, NULL);
}
