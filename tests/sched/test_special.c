/* What only place() looks at: the fast engine says the same of it, before and after changes that no class of
 * requests sees (claims, volumes, NUMA cells in use, frequencies of other nodes). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "sched/fast.h"
#include "tests/sched/world.h"

struct row {
    const char *name;
    const char *cluster, *asks;
    const char *before, *after; /* where it goes; NULL: nowhere. after: with the change made */
    const char *change;         /* one more object, or "" */
    bool migrate, force;
};

#define HOST(name) NODE(name, "host: " name ", cpumanager: 'true'", "")
#define TSC(name, hz)                                          \
    NODE(name,                                                 \
         "cpu-feature.node.kubevirt.io/invtsc: 'true', "       \
         "cpu-timer.node.kubevirt.io/tsc-frequency: '" hz "'", \
         "")
#define CELLS(name)                                                                           \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name                                \
    ", labels: {cpumanager: 'true'}, annotations: {drover.io/numa-cells: '[{\"cpu\": 8, "     \
    "\"hugepages-1Gi\": \"8Gi\"}]'}}, status: {allocatable: {cpu: '64', memory: 64Gi, pods: " \
    "'9', hugepages-1Gi: 64Gi}}}\n"
#define PINNED_VM(name, status)                                                              \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: " name \
    ", namespace: default}, spec: {domain: {memory: {guest: 4Gi, hugepages: {pageSize: "     \
    "1Gi}}, devices: {}, cpu: {cores: 5, dedicatedCpuPlacement: true, numa: "                \
    "{guestMappingPassthrough: {}}}}}, status: {" status "}}\n"

static const struct row rows[] = {
    {"a claim that is bound later",
     HOST("n1") HOST(
         "n2") "---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv}, spec: "
               "{capacity: "
               "{storage: 1Gi}, accessModes: [ReadWriteOnce], nodeAffinity: {required: "
               "{nodeSelectorTerms: [{matchExpressions: [{key: host, operator: In, values: "
               "[n2]}]}]}}}}\n"
               "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: "
               "default}, spec: {accessModes: [ReadWriteOnce]}}\n",
     VMI("vm", "", "volumes: [{name: d, persistentVolumeClaim: {claimName: c}}]", "", ""), "n1",
     "n2",
     "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: default}, "
     "spec: {accessModes: [ReadWriteOnce], volumeName: pv}}\n",
     false, false},
    {"a NUMA cell that fills", CELLS("n1"), PINNED_VM("vm", ""), "n1", NULL,
     PINNED_VM("other", "nodeName: n1, phase: Running"), false, false},
    {"a slower node, which all should be able to stand in for", TSC("n1", "2100000000"),
     VMI("vm", "", "", "cpu: {features: [{name: invtsc}]}", ""), "n1", "n2",
     TSC("n2", "2000000000"), false, false},
    {"a rule of the whole cluster",
     HCO("workloads: {nodePlacement: {affinity: {podAntiAffinity: "
         "{requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {}, topologyKey: "
         "host}]}}}}") HOST("n1"),
     VMI("vm", "", "", "", ""), "n1", NULL,
     VMI("other", "", "", "", "nodeName: n1, phase: Running"), false, false},
    {"a forced target", HOST("src") NODE("n1", "", "unschedulable: true"),
     VMI("vm", "", "", "", "nodeName: src, phase: Running"), "n1", "n1", "", true, true},
};

static void
check_goes(struct fast *f, const struct cluster *c, const struct place_request *rq,
           const char *want, const char *row)
{
    struct place_result *r = place(c, rq);
    struct fast_decision d;

    fast_place(f, rq, &d);
    if (strcmp(r->node ? r->node : "-", want ? want : "-") != 0)
        fail_msg("%s: place: %s (%s), not %s", row, r->node, r->message, want);
    if (strcmp(d.node ? d.node : "-", want ? want : "-") != 0 || strcmp(d.message, r->message) != 0)
        fail_msg("%s: fast: %s (%s), not %s (%s)", row, d.node, d.message, want, r->message);
    place_result_free(r);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        AUTO_FREE char *yaml = xasprintf("%s%s", row->cluster, row->asks);
        struct world *w = world_new(yaml);
        struct fast *f = fast_new(w->cluster);
        struct place_request rq = {.vmi = w->vmi,
                                   .purpose = row->migrate ? PLACE_MIGRATE : PLACE_START,
                                   .target = row->force ? "n1" : NULL,
                                   .force = row->force};

        check_goes(f, w->cluster, &rq, row->before, row->name);
        if (*row->change)
            world_add(w, row->change);
        check_goes(f, w->cluster, &rq, row->after, row->name);
        fast_free(f);
        world_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests_name("special", tests, NULL, NULL);
}
