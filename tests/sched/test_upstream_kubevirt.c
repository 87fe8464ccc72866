/* KubeVirt's own rules for where a VM's pod may run (its node selector renderer, target pods of
 * migrations, eviction webhook), as inputs and outcomes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/sb.h"
#include "sched/evict.h"
#include "tests/sched/upstream.h"

#define BARE         NODE("bare", "", "")
#define WITH(labels) BARE NODE("n", labels, "")
#define ASK(domain)  VMI("vm", "", "", domain, "")
#define SPEC(spec)   VMI("vm", "", spec, "", "")
#define MODEL(m)     "cpu-model.node.kubevirt.io/" m ": 'true'"
#define FEATURE(f)   "cpu-feature.node.kubevirt.io/" f ": 'true'"
#define VENDOR(v)    "cpu-vendor.node.kubevirt.io/" v ": 'true'"
#define HYPERV(f)    "hyperv.node.kubevirt.io/" f ": 'true'"
#define OFF          "node(s) didn't have label kubevirt.io/schedulable=true"

static const struct upstream_row selector_rows[] = {
    {.name = "a node whose handler is away",
     NODE("a", "kubevirt.io/schedulable: 'false'", "")
         NODE("b", "kubevirt.io/schedulable: 'true'", ""),
     ASK(""),
     "b",
     "a: " OFF},
    {.name = "dedicated CPUs ask for a CPU manager",
     WITH("cpumanager: 'true'"),
     ASK("cpu: {cores: 2, dedicatedCpuPlacement: true}"),
     "n"},
    {.name = "without them nobody asks",
     WITH("cpumanager: 'false'"),
     ASK("cpu: {cores: 2}"),
     "bare n"},
    {.name = "a model and features",
     WITH(MODEL("Skylake") ", " FEATURE("avx2") ", " FEATURE("pcid")),
     ASK("cpu: {model: Skylake, features: [{name: avx2}, {name: pcid, policy: require}]}"),
     "n"},
    {.name = "a model and features, of which one is missing",
     NODE("n", MODEL("Skylake") ", " FEATURE("avx2"), ""),
     ASK("cpu: {model: Skylake, features: [{name: avx2}, {name: pcid, policy: require}]}"),
     "",
     "n: node(s) didn't have CPU feature pcid"},
    {.name = "optional, disabled and forced features ask for nothing",
     WITH(MODEL("Skylake")),
     ASK("cpu: {model: Skylake, features: [{name: a, policy: optional}, {name: b, policy: "
         "disable}, {name: "
         "c, policy: force}]}"),
     "n"},
    {.name = "host-model is no label",
     WITH(MODEL("host-model")),
     ASK("cpu: {model: host-model}"),
     "bare n"},
    {.name = "host-passthrough is no label",
     WITH(MODEL("host-passthrough")),
     ASK("cpu: {model: host-passthrough}"),
     "bare n"},
    {.name = "the enlightenments that need the kernel",
     WITH(HYPERV("vpindex") ", " HYPERV("runtime") ", " HYPERV("reset") ", " HYPERV("frequencies")),
     ASK("features: {hyperv: {vpindex: {enabled: true}, runtime: {enabled: true}, reset: {enabled: "
         "true}, "
         "frequencies: {enabled: true}}}"),
     "n"},
    {.name = "those that do not need it",
     BARE,
     ASK("features: {hyperv: {relaxed: {enabled: true}, vapic: {enabled: true}, spinlocks: "
         "{enabled: true, "
         "spinlocks: 8191}, vendorid: {enabled: true, vendorid: x}}}"),
     "bare"},
    {.name = "EVMCS is Intel's",
     WITH(VENDOR("Intel")),
     ASK("features: {hyperv: {evmcs: {}}}"),
     "n"},
    {.name = "EVMCS switched off",
     WITH(VENDOR("Intel")),
     ASK("features: {hyperv: {evmcs: {enabled: false}}}"),
     "bare n"},
    {.name = "features of KVM are not Hyper-V's",
     WITH(VENDOR("Intel")),
     ASK("features: {kvm: {hidden: true}}"),
     "bare n"},
    {.name = "realtime",
     WITH("kubevirt.io/realtime: 'true', cpumanager: 'true'"),
     ASK("cpu: {cores: 1, dedicatedCpuPlacement: true, realtime: {}}"),
     "n"},
    {.name = "SEV", WITH("kubevirt.io/sev: 'true'"), ASK("launchSecurity: {sev: {}}"), "n"},
    {.name = "the VM's selector",
     WITH("blue-node: 'true'"),
     SPEC("nodeSelector: {blue-node: 'true'}"),
     "n"},
    {.name = "the cluster's selector",
     HCO("workloads: {nodePlacement: {nodeSelector: {all-nodes: must-work}}}")
         WITH("all-nodes: must-work"),
     ASK(""),
     "n"},
    {.name = "the cluster's and the VM's",
     HCO("workloads: {nodePlacement: {nodeSelector: {all-nodes: must-work}}}")
         NODE("a", "all-nodes: must-work", "") NODE("b", "blue-node: 'true'", "")
             NODE("c", "all-nodes: must-work, blue-node: 'true'", ""),
     SPEC("nodeSelector: {blue-node: 'true'}"),
     "c"},
    {.name = "the architecture",
     NODE("a", "kubernetes.io/arch: arm64", "") NODE("b", "kubernetes.io/arch: amd64", ""),
     SPEC("architecture: amd64"),
     "b"},
    {.name = "a tolerating VM",
     NODE("a", "", "taints: [{key: gpu, effect: NoSchedule}]"),
     SPEC("tolerations: [{key: gpu, operator: Exists}]"),
     "a"},
};

#define HOST(name, model, labels)                                \
    NODE(name,                                                   \
         "host-model-cpu.node.kubevirt.io/" model                \
         ": 'true', cpu-model-migration.node.kubevirt.io/" model \
         ": 'true', " MODEL(model) ", " labels,                  \
         "")
#define REQUIRED_FEATURE(f) "host-model-required-features.node.kubevirt.io/" f ": 'true'"
#define RUNS(cpu)           VMI("vm", "", "", "cpu: {" cpu "}", "nodeName: src, phase: Running")
#define KNOWS(m)            "cpu-model-migration.node.kubevirt.io/" m ": 'true'"

static const struct upstream_row migration_rows[] = {
    {.name = "never the source",
     NODE("src", "", "") NODE("a", "", ""),
     RUNS("model: ''"),
     "a",
     "src: node(s) were the source of the migration",
     .migrate = true},
    {.name = "host-model: the source's model, by its label for migrations",
     HOST("src", "Skylake", "x: y") HOST("old", "Haswell", "x: y")
         HOST("new", "Icelake", KNOWS("Skylake")),
     RUNS("model: host-model"),
     "new",
     "src: node(s) were the source of the migration; old: node(s) didn't have "
     "host CPU model Skylake",
     .migrate = true},
    {.name = "host-model: and the features that go with it, but for those of the minimum model",
     HOST("src", "Skylake", REQUIRED_FEATURE("fpu") ", " REQUIRED_FEATURE("vme")) HOST(
         "a", "Skylake", FEATURE("fpu")) HOST("b", "Skylake", FEATURE("fpu") ", " FEATURE("vme")),
     RUNS("model: host-model"),
     "b",
     .migrate = true},
    {.name = "host-model: a feature beyond the minimum model",
     HOST("src", "Skylake", REQUIRED_FEATURE("avx512f")) HOST("a", "Skylake", FEATURE("fpu"))
         HOST("b", "Skylake", FEATURE("avx512f")),
     RUNS("model: host-model"),
     "b",
     .migrate = true},
    {.name = "a named model goes wherever it is offered",
     HOST("src", "Skylake", MODEL("Penryn")) HOST("a", "Haswell", MODEL("Penryn"))
         HOST("b", "Haswell", "x: y"),
     RUNS("model: Penryn"),
     "a",
     .migrate = true},
    {.name = "other vendors are no targets",
     NODE("src", VENDOR("Intel") ", " MODEL("qemu64"), "")
         NODE("a", VENDOR("AMD") ", " MODEL("qemu64"), "")
             NODE("b", VENDOR("Intel") ", " MODEL("qemu64"), ""),
     RUNS("model: qemu64"),
     "b",
     .migrate = true},
    {.name = "a cordoned node is no target",
     NODE("src", "", "") NODE("a", "", "unschedulable: true") NODE("b", "", ""),
     RUNS("model: ''"),
     "b",
     .migrate = true},
    {.name = "anti-affinity with itself does not count",
     NODE("src", "zone: z1", "") NODE("a", "zone: z1", ""),
     VMI("vm", "app: db",
         "affinity: {podAntiAffinity: {" REQUIRED
         ": [{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}]}}",
         "", "nodeName: src, phase: Running"),
     "a",
     .migrate = true},
    {.name = "its brothers' anti-affinity does",
     NODE("src", "zone: z1", "") NODE("a", "zone: z2", "") NODE("b", "zone: z3", "")
         VMI("other", "app: db", "", "", "nodeName: a, phase: Running"),
     VMI("vm", "app: db",
         "affinity: {podAntiAffinity: {" REQUIRED
         ": [{topologyKey: zone, labelSelector: {matchLabels: {app: db}}}]}}",
         "", "nodeName: src, phase: Running"),
     "b",
     .migrate = true},
};

/* The webhook's table: strategy, live-migratable, and what becomes of the pod's eviction. */
static const struct {
    const char *vmi, *cluster;
    bool migratable;
    enum evict_action want;
} evictions[] = {
    {"LiveMigrate", NULL, true, EVICT_MIGRATE},
    {"LiveMigrate", NULL, false, EVICT_BLOCK},
    {"LiveMigrateIfPossible", NULL, true, EVICT_MIGRATE},
    {"LiveMigrateIfPossible", NULL, false, EVICT_SHUTDOWN},
    {"None", NULL, true, EVICT_SHUTDOWN},
    {"None", NULL, false, EVICT_SHUTDOWN},
    {"External", NULL, true, EVICT_EXTERNAL},
    {"External", NULL, false, EVICT_EXTERNAL},
    {"None", "LiveMigrate", true, EVICT_SHUTDOWN},
    {"LiveMigrate", "None", false, EVICT_BLOCK},
    {NULL, "LiveMigrate", false, EVICT_BLOCK},
    {NULL, "LiveMigrateIfPossible", false, EVICT_SHUTDOWN},
    {NULL, "External", true, EVICT_EXTERNAL},
    {NULL, "None", true, EVICT_SHUTDOWN},
};

static void
test_evictions(void **state)
{
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(evictions); i++) {
        struct vmi v = {.status = {.phase = "Running", .node_name = "n"}};
        struct migratable m = {.ok = evictions[i].migratable, .reason = "", .message = ""};
        struct evict_decision d;

        v.spec.eviction_strategy = evictions[i].vmi;
        d = evict_decide(&v, &m, evictions[i].cluster, 3, false, a);
        if (d.action != evictions[i].want)
            fail_msg("%s/%s, migratable %d: %s", evictions[i].vmi, evictions[i].cluster,
                     evictions[i].migratable, evict_action_name(d.action));
    }
    arena_free(a);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_evictions)};

    return upstream_run("KubeVirt's selectors", selector_rows, ARRAY_LEN(selector_rows)) +
           upstream_run("KubeVirt's target pods", migration_rows, ARRAY_LEN(migration_rows)) +
           cmocka_run_group_tests_name("KubeVirt's eviction webhook", tests, NULL, NULL);
}
