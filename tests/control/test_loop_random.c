/* Random weeks of a cluster, seeded: migrations and drains come and go, handlers hang, fail and die
 * in the worst moments, hosts burn down, the controller is killed after any write. All the time no
 * VM runs twice (the world checks each write), the limits hold, and each decision is that of a
 * cluster built anew (loop_world.c); when it is quiet again, everything has come to an end and every
 * VM runs. LOOP_SEED=n runs one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "base/rng.h"
#include "loop_world.h"

#define NODES  5
#define VMS    10
#define EVENTS 120
#define SEEDS  12

struct life {
    struct world *w;
    struct rng rng;
    uint64_t seed;
    int migrations;
};

static int
pick(struct life *f, int n)
{
    return (int)rng_below(&f->rng, (uint64_t)n);
}

static void
behave(struct fake *n)
{
    n->never_announces = n->never_claims = n->never_completes = n->never_cleans = false;
    n->ignores_abort = n->refuses = n->fails_migration = n->cannot_boot = false;
    n->dies_after_claim = n->dies_after_move = n->down = false;
    n->prepare_us = 50000;
    n->claim_us = 20000;
    n->move_us = 2000000;
}

static void
misbehave(struct life *f, struct fake *n)
{
    switch (pick(f, 14)) {
    case 0:
        n->never_announces = true;
        break;
    case 1:
        n->never_claims = true;
        break;
    case 2:
        n->never_completes = true;
        break;
    case 3:
        n->never_cleans = true;
        break;
    case 4:
        n->ignores_abort = true;
        break;
    case 5:
        n->refuses = true;
        break;
    case 6:
        n->fails_migration = true;
        break;
    case 7:
        n->dies_after_claim = true;
        break;
    case 8:
        n->dies_after_move = true;
        break;
    case 9:
        n->down = true;
        break;
    case 10:
        n->move_us = (uint64_t)pick(f, 100) * 1000000;
        break;
    default:
        behave(n);
        break;
    }
}

static void
node_name(int i, char name[16])
{
    snprintf(name, 16, "n%d", i + 1);
}

/* What every VM asks of its node changes. */
static void
settings_change(struct life *f)
{
    static const char name[] = "kubevirt-hyperconverged", ns[] = "openshift-cnv";
    AUTO_FREE char *json = xasprintf(
        "{\"spec\":{\"resourceRequirements\":{\"vmiCPUAllocationRatio\":%d}}}", 1 + pick(f, 10));

    if (store_get(f->w->store, KIND_HCO, ns, name))
        world_patch(f->w, KIND_HCO, ns, name, json);
    else
        world_apply(f->w, "apiVersion: hco.kubevirt.io/v1beta1\n"
                          "kind: HyperConverged\n"
                          "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                          "spec: {}\n");
}

static void
something_happens(struct life *f)
{
    struct world *w = f->w;
    int n = pick(f, NODES), v = pick(f, VMS);
    char node[16], name[32];

    node_name(n, node);
    snprintf(name, sizeof(name), "vm-%d", v);
    switch (pick(f, 15)) {
    case 0:
    case 1:
    case 2:
    case 3:
        world_applyf(w,
                     "apiVersion: kubevirt.io/v1\n"
                     "kind: VirtualMachineInstanceMigration\n"
                     "metadata: {name: m%d, namespace: shop}\n"
                     "spec: {vmiName: %s}\n",
                     f->migrations++, name);
        break;
    case 4:
        snprintf(name, sizeof(name), "m%d", f->migrations - 1 - pick(f, 3));
        if (store_get(w->store, KIND_VMIM, "shop", name))
            world_delete(w, KIND_VMIM, "shop", name);
        break;
    case 5:
        snprintf(name, sizeof(name), "mt-%s", node);
        if (store_get(w->store, KIND_MAINTENANCE, NULL, name))
            world_delete(w, KIND_MAINTENANCE, NULL, name);
        else
            world_applyf(w,
                         "apiVersion: nodemaintenance.medik8s.io/v1beta1\n"
                         "kind: NodeMaintenance\n"
                         "metadata: {name: %s}\n"
                         "spec: {nodeName: %s}\n",
                         name, node);
        break;
    case 6:
        w->crash_at = w->writes + 1 + (unsigned)pick(f, 12);
        break;
    case 7:
        world_patch(w, KIND_VM, "shop", name, "{\"spec\":{\"runStrategy\":\"Halted\"}}");
        break;
    case 8:
        world_patch(w, KIND_VM, "shop", name, "{\"spec\":{\"runStrategy\":\"Always\"}}");
        break;
    case 9:
        if (pick(f, 10) == 0 && n > 1) /* burns down, and is found after a while */
            world_fake(w, node)->off = true;
        break;
    case 10:
        if (!store_get(w->store, KIND_NODE, NULL, node))
            break;
        world_patch(w, KIND_NODE, NULL, node,
                    pick(f, 2) ? "{\"spec\":{\"taints\":[{\"key\":\"x\",\"effect\":"
                                 "\"NoExecute\"}]}}"
                               : "{\"spec\":{\"taints\":null}}");
        break;
    case 11:
        settings_change(f);
        break;
    case 12:
        if (store_get(w->store, KIND_NODE, NULL, node))
            world_patch(w, KIND_NODE, NULL, node,
                        pick(f, 2) ? "{\"metadata\":{\"labels\":{\"zone\":\"a\"}}}"
                                   : "{\"metadata\":{\"labels\":{\"zone\":\"b\"}}}");
        break;
    default:
        misbehave(f, world_fake(w, node));
        break;
    }
}

static bool
is_final(void *ctx, const struct tree *obj)
{
    const struct life *f = ctx;
    const char *phase = tree_find_string(obj, "", "status", "phase", NULL);

    if (strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0)
        fail_msg("seed %llu: %s is %s: %s", (unsigned long long)f->seed, object_name(obj), phase,
                 world_condition(f->w, KIND_VMIM, "shop", object_name(obj), "Waiting", "message"));
    return true;
}

static void
run(uint64_t seed)
{
    static const char *const extras[] = {
        "",
        "      topologySpreadConstraints:\n"
        "      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway,\n"
        "         labelSelector: {matchExpressions: [{key: app, operator: Exists}]}}\n",
        "      affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [\n"
        "        {weight: 50, podAffinityTerm: {topologyKey: kubernetes.io/hostname,\n"
        "         labelSelector: {matchExpressions: [{key: app, operator: Exists}]}}}]}}\n",
        "      evictionStrategy: None\n",
    };
    struct life f = {.w = world_new(seed), .seed = seed};
    struct world *w = f.w;
    char name[32];

    rng_seed(&f.rng, seed);
    for (int i = 0; i < NODES; i++) {
        node_name(i, name);
        world_node(w, name, 64);
    }
    for (int i = 0; i < VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_vm(w, name, "Always", "1Gi", extras[i % ARRAY_LEN(extras)]);
    }
    world_run(w, 2);
    for (int i = 0; i < EVENTS; i++) {
        something_happens(&f);
        world_run(w, pick(&f, 10) == 0 ? 60 : 0.05 * pick(&f, 60));
    }
    for (int i = 0; i < NODES; i++) {
        struct fake *n = &w->nodes[i];

        behave(n);
        snprintf(name, sizeof(name), "mt-%s", n->name);
        if (store_get(w->store, KIND_MAINTENANCE, NULL, name))
            world_delete(w, KIND_MAINTENANCE, NULL, name);
    }
    world_run(w, 5);
    for (int i = 0; i < NODES; i++)
        if (store_get(w->store, KIND_NODE, NULL, w->nodes[i].name))
            world_patch(w, KIND_NODE, NULL, w->nodes[i].name, "{\"spec\":{\"taints\":null}}");
    for (int i = 0; i < VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        world_patch(w, KIND_VM, "shop", name, "{\"spec\":{\"runStrategy\":\"Always\"}}");
    }
    world_run(w, 320);
    for (int i = 0; i < NODES; i++)
        if (w->nodes[i].off) /* a person looks, and says so */
            world_delete(w, KIND_NODE, NULL, w->nodes[i].name);
    world_run(w, 2000);
    store_list(w->store, KIND_VMIM, NULL, is_final, &f);
    for (int i = 0; i < VMS; i++) {
        snprintf(name, sizeof(name), "vm-%d", i);
        if (!world_runs_on(w, name) ||
            strcmp(world_runs_on(w, name), world_vmi_node(w, name)) != 0 ||
            strcmp(world_phase(w, KIND_VMI, "shop", name), "Running") != 0 ||
            strcmp(world_text(w, KIND_VM, "shop", name, "status", "printableStatus"), "Running") !=
                0 ||
            *world_text(w, KIND_VMI, "shop", name, "status", "evacuationNodeName") ||
            world_migrations(w, name, NULL) > 5)
            fail_msg("seed %llu: %s: runs on %s, recorded on %s (%s, %s)", (unsigned long long)seed,
                     name, world_runs_on(w, name) ? world_runs_on(w, name) : "nothing",
                     world_vmi_node(w, name), world_phase(w, KIND_VMI, "shop", name),
                     world_text(w, KIND_VM, "shop", name, "status", "printableStatus"));
    }
    for (int i = 0; i < NODES; i++) {
        const struct tree *n = store_get(w->store, KIND_NODE, NULL, w->nodes[i].name);

        if (w->most_from[i] > 2)
            fail_msg("seed %llu: %d out of %s at once", (unsigned long long)seed, w->most_from[i],
                     w->nodes[i].name);
        if (n &&
            (tree_find(n, "spec", "unschedulable", NULL) || tree_find(n, "spec", "taints", NULL)))
            fail_msg("seed %llu: %s was not given back", (unsigned long long)seed,
                     w->nodes[i].name);
    }
    if (w->most_moving > 5)
        fail_msg("seed %llu: %d at once", (unsigned long long)seed, w->most_moving);
    world_validate(w);
    world_free(w);
}

static void
test_random(void **state)
{
    (void)state;
    world_seeds(run, SEEDS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests_name("loop_random", tests, NULL, NULL);
}
