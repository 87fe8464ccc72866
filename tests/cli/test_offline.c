/* drover schedule, evict and migratable on manifests: answers, exit codes, errors, and a table that fits
 * a terminal of 80 columns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/tree.h"
#include "base/fs.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define NODE(name, more, mem)                                                         \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name "}, " more "status: {" \
    "allocatable: {cpu: '8', memory: " mem ", pods: '20'}}}\n"
#define VM(name, more)                                                                           \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: " name "}, spec: " \
    "{runStrategy: Always, template: {spec: {domain: {memory: {guest: 1Gi}, devices: {}}" more   \
    "}}}}\n"
#define VMI(name, more, status)                                                              \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: " name \
    "}, spec: {domain: {memory: {guest: 1Gi}, devices: {}}" more "}, status: {" status "}}\n"
#define ON(name, node, more) VMI(name, more, "phase: Running, nodeName: " node)
#define VMIM(name, vmi, more)                                                             \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: " \
    "{name: " name "}, spec: {vmiName: " vmi "}" more "}\n"
#define POD(name, requests)                                                                       \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name "}, spec: {containers: [{name: c, " \
    "image: i, resources: {requests: {" requests "}}}]}}\n"
#define PVC(name, mode)                                                                      \
    "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: " name "}, spec: {" \
    "accessModes: [" mode "], resources: {requests: {storage: 1Gi}}}}\n"
#define HCO(spec)                                                                        \
    "---\n{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {name: " \
    "kubevirt-hyperconverged, namespace: openshift-cnv}, spec: {" spec "}}\n"
#define CLASS(name, value)                                                                      \
    "---\n{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: " name "}, " \
    "value: " value "}\n"
#define PROMISED(name, class, node, cpu)                                                   \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name                              \
    "}, spec: {priorityClassName: " class ", containers: [{name: c, image: i, resources: " \
                                          "{requests: {cpu: '" cpu                         \
                                          "'}}}]}, status: {nominatedNodeName: " node "}}\n"
#define PROFILE(more)                                                                      \
    "---\n{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, " \
    "profiles: "                                                                           \
    "[{" more "}]}\n"
#define CLAIM(name) ", volumes: [{name: d, persistentVolumeClaim: {claimName: " name "}}]"
#define BUSY                                                                                     \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: busy}, spec: {nodeName: n1, containers: " \
    "[{name: c, resources: {requests: {cpu: 1, memory: 1Mi}}}]}}\n"
#define ASKS(name, scheduler)                                 \
    "---\n{apiVersion: v1, kind: Pod, metadata: {name: " name \
    "}, spec: {schedulerName: " scheduler                     \
    ", containers: [{name: c, resources: {requests: {cpu: 1, memory: 1Mi}}}]}}\n"
#define PACK                                                                              \
    "schedulerName: packer, plugins: {score: {disabled: [{name: '*'}], enabled: [{name: " \
    "NodeResourcesFit, weight: 5}, {name: NodeAffinity}]}}, pluginConfig: [{name: "       \
    "NodeResourcesFit, args: {scoringStrategy: {type: MostAllocated}}}]"
#define TWO   NODE("n1", "", "64Gi") NODE("n2", "", "64Gi")
#define SMALL NODE("n1", "", "2Gi") NODE("n2", "", "2Gi")

struct offline_case {
    const char *name, *verb, *input;
    const char *args[6]; /* after -f FILE -o json */
    int exit_code;
    const char *out; /* all of it, as compact JSON, of the fields that `brief` keeps; or NULL */
    const char *err; /* part of it; NULL: nothing is there */
};

static const struct offline_case cases[] = {
    /* --- schedule: refused --- */
    {"no such option", "schedule", TWO, {"--nod"}, 1, NULL, "--nod"},
    {"--now that is no time", "schedule", TWO, {"--now", "noon"}, 1, NULL, "drover: --now noon: "},
    {"a negative timeout",
     "schedule",
     TWO,
     {"--heartbeat-timeout", "-1"},
     1,
     NULL,
     "heartbeat-timeout"},
    {"--vm without a name",
     "schedule",
     TWO,
     {"--vm", "default/"},
     1,
     NULL,
     "drover: --vm default/: want NAMESPACE/NAME"},
    {"--vm with two slashes", "schedule", TWO, {"--vm", "a/b/c"}, 1, NULL, "--vm a/b/c"},
    {"--vm that is not there",
     "schedule",
     TWO VM("a", ""),
     {"--vm", "b"},
     1,
     NULL,
     "drover: --vm default/b: no VirtualMachine, VirtualMachineInstance or Pod of that name"},
    {"--vm in another namespace",
     "schedule",
     TWO VM("a", ""),
     {"--vm", "a", "-n", "x"},
     1,
     NULL,
     "--vm x/a: "},
    {"--vm that runs",
     "schedule",
     TWO ON("a", "n1", ""),
     {"--vm", "a"},
     1,
     NULL,
     "drover: --vm default/a: it runs on node n1 already"},
    {"a migration of nothing",
     "schedule",
     TWO VMIM("m", "ghost", ""),
     {NULL},
     1,
     NULL,
     "drover: VirtualMachineInstanceMigration default/m: spec.vmiName: no VirtualMachineInstance "
     "default/ghost in the input"},
    {"what an API server refuses",
     "schedule",
     TWO VM("a", ", nodeSelector: {'a b': c}"),
     {NULL},
     1,
     NULL,
     "nodeSelector"},
    {"a migration of nothing, after a VM that was placed: nothing is printed",
     "schedule",
     TWO VM("a", "") VMIM("m", "ghost", ""),
     {NULL},
     1,
     "",
     "no VirtualMachineInstance default/ghost in the input"},
    {"a required term that says nothing",
     "schedule",
     TWO VM("a", ", affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {"
                 "nodeSelectorTerms: [{}]}}}"),
     {NULL},
     1,
     NULL,
     "nodeSelectorTerms[0]: Required value: must have at least one of matchExpressions and"},
    {"a toleration that cannot be",
     "schedule",
     TWO VM("a", ", tolerations: [{operator: Equal, value: x}]"),
     {NULL},
     1,
     NULL,
     "tolerations"},
    {"as usual: where more is free",
     "schedule",
     SMALL BUSY POD("p", "cpu: 1, memory: 1Mi"),
     {"--vm", "p"},
     0,
     "[{\"vm\":\"default/p\",\"node\":\"n2\",\"message\":\"\"}]",
     NULL},
    {"a profile that packs",
     "schedule",
     PROFILE(PACK) SMALL BUSY POD("p", "cpu: 1, memory: 1Mi"),
     {"--vm", "p"},
     0,
     "[{\"vm\":\"default/p\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"each by the profile that it names",
     "schedule",
     "---\n{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, "
     "profiles: [{"
     "schedulerName: default-scheduler}, {" PACK "}]}\n" SMALL BUSY ASKS("q", "packer")
         POD("p", "cpu: 1, memory: 1Mi") ASKS("r", "drover-scheduler") ASKS("s", "other"),
     {NULL},
     2,
     "[{\"vm\":\"default/q\",\"node\":\"n1\",\"message\":\"\"},{\"vm\":\"default/p\",\"node\":"
     "\"n2\",\"message\":\"\"},{\"vm\":\"default/r\",\"node\":\"n2\",\"message\":\"\"},{\"vm\":"
     "\"default/s\",\"node\":null,\"message\":\"waiting for scheduler other: this is "
     "drover-scheduler\"}]",
     NULL},
    {"two profiles' worth of configuration",
     "schedule",
     PROFILE(PACK) PROFILE("") SMALL,
     {NULL},
     1,
     NULL,
     "input.yaml:4:1: KubeSchedulerConfiguration: there is one already, at "},
    {"a plugin that there is not",
     "schedule",
     PROFILE("plugins: {score: {enabled: [{name: NodeResourceFit}]}}") SMALL,
     {NULL},
     1,
     NULL,
     "KubeSchedulerConfiguration: profiles[0].plugins.score.enabled[0].name: Unsupported value"},
    {"what has no effect is said",
     "schedule",
     PROFILE("plugins: {score: {enabled: [{name: ImageLocality, weight: 9}]}}") SMALL,
     {NULL},
     0,
     "[]",
     "drover: warning: "},
    {"no YAML", "schedule", "a: [", {NULL}, 1, NULL, "input.yaml:"},
    {"an unknown kind",
     "schedule",
     "{apiVersion: v1, kind: Service, metadata: {name: s}}\n",
     {NULL},
     1,
     NULL,
     "Service"},

    /* --- schedule: answered --- */
    {"nothing to place", "schedule", TWO, {NULL}, 0, "[]", NULL},
    {"one VM",
     "schedule",
     TWO VM("a", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"no nodes",
     "schedule",
     VM("a", ""),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"no nodes available to schedule pods\"}]",
     NULL},
    {"each sees those before it",
     "schedule",
     SMALL VM("a", "") VM("b", "") VM("c", ""),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"},{\"vm\":\"default/b\",\"node\":"
     "\"n2\",\"message\":\"\"},{\"vm\":\"default/c\",\"node\":null,\"message\":\"0/2 nodes are "
     "available: 2 Insufficient memory.\"}]",
     NULL},
    {"--vm places that one alone",
     "schedule",
     SMALL VM("a", "") VM("b", "") VM("c", ""),
     {"--vm", "default/c"},
     0,
     "[{\"vm\":\"default/c\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"those that run occupy their node",
     "schedule",
     SMALL ON("x", "n1", "") VM("a", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n2\",\"message\":\"\"}]",
     NULL},
    {"order of documents does not matter for those that run",
     "schedule",
     SMALL VM("a", "") ON("x", "n1", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n2\",\"message\":\"\"}]",
     NULL},
    {"a VM and its running instance",
     "schedule",
     SMALL VM("a", "") ON("a", "n2", ""),
     {NULL},
     0,
     "[]",
     NULL},
    {"a VM and its waiting instance are one",
     "schedule",
     SMALL VM("a", "") VMI("a", "", "phase: Scheduling"),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"a VM whose instance has ended starts anew",
     "schedule",
     SMALL VM("a", "") VMI("a", "", "phase: Succeeded, nodeName: n1"),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"an instance that has ended is not placed",
     "schedule",
     SMALL VMI("a", "", "phase: Failed"),
     {NULL},
     0,
     "[]",
     NULL},
    {"whom a preemption would cost",
     "schedule",
     CLASS("high", "10") SMALL ON("x", "n1", "") ON("y", "n2", ", priorityClassName: high")
         VM("a", ", priorityClassName: high"),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"0/2 nodes are available: 2 Insufficient "
     "memory.\",\"preemption\":{\"node\":\"n1\",\"victims\":[\"default/x\"],"
     "\"budgetViolations\":0}}]",
     NULL},
    {"a preemption that does not help",
     "schedule",
     CLASS("high", "10") SMALL ON("x", "n1", ", priorityClassName: high")
         ON("y", "n2", ", priorityClassName: high") VM("a", ", priorityClassName: high"),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"0/2 nodes are available: 2 Insufficient "
     "memory. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming "
     "pod.\"}]",
     NULL},
    {"the room that a preemption makes is not given to those after it",
     "schedule",
     CLASS("high", "10") NODE("n1", "", "2500Mi") ON("x", "n1", "")
         VM("a", ", priorityClassName: high") POD("b", "cpu: '1'") POD("c", "memory: 1Gi"),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"0/1 nodes are available: 1 Insufficient "
     "memory.\",\"preemption\":{\"node\":\"n1\",\"victims\":[\"default/x\"],"
     "\"budgetViolations\":0}},{\"vm\":\"default/b\",\"node\":\"n1\",\"message\":\"\"},"
     "{\"vm\":\"default/c\",\"node\":null,\"message\":\"0/1 nodes are available: 1 Insufficient "
     "memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming "
     "pod.\"}]",
     NULL},
    {"a Pod that was promised a node goes there, though another is emptier",
     "schedule",
     CLASS("high", "10") NODE("n1", "", "64Gi") NODE("n2", "", "4Gi")
         PROMISED("p", "high", "n2", "1"),
     {NULL},
     0,
     "[{\"vm\":\"default/p\",\"node\":\"n2\",\"message\":\"\"}]",
     NULL},
    {"what was promised is not there for others of no higher priority",
     "schedule",
     CLASS("high", "10") CLASS("higher", "11") NODE("n1", "", "4Gi") POD("q", "cpu: '1'")
         PROMISED("p", "high", "n1", "8"),
     {"--vm", "q"},
     2,
     "[{\"vm\":\"default/q\",\"node\":null,\"message\":\"0/1 nodes are available: 1 Insufficient "
     "cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming "
     "pod.\"}]",
     NULL},
    {"but it is for those of a higher one",
     "schedule",
     CLASS("high", "10") CLASS("higher", "11") NODE("n1", "", "4Gi")
         PROMISED("q", "higher", "nowhere", "1") PROMISED("p", "high", "n1", "8"),
     {"--vm", "q"},
     0,
     "[{\"vm\":\"default/q\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"a class that is not there",
     "schedule",
     TWO VM("a", ", priorityClassName: ghost"),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     "no PriorityClass with name ghost was found"},
    {"a migration",
     "schedule",
     TWO ON("a", "n1", "") VMIM("m", "a", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n2\",\"message\":\"\"}]",
     NULL},
    {"a migration takes room",
     "schedule",
     NODE("n1", "", "2Gi") NODE("n2", "", "2Gi") ON("a", "n1", "") VMIM("m", "a", "") VM("b", ""),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":\"n2\",\"message\":\"\"},{\"vm\":\"default/b\",\"node\":null,"
     "\"message\":\"0/2 nodes are available: 2 Insufficient memory.\"}]",
     NULL},
    {"a migration that has ended",
     "schedule",
     TWO ON("a", "n1", "") VMIM("m", "a", ", status: {phase: Succeeded}"),
     {NULL},
     0,
     "[]",
     NULL},
    {"a migration that has its target",
     "schedule",
     TWO VMI("a", "",
             "phase: Running, nodeName: n1, migrationState: {migrationUid: u, sourceNode: "
             "n1, targetNode: n2}") VMIM("m", "a", ", status: {phase: Running}"),
     {NULL},
     0,
     "[]",
     NULL},
    {"a migration of a VM that this input starts",
     "schedule",
     TWO VM("a", "") VMIM("m", "a", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"},{\"vm\":\"default/a\",\"node\":"
     "\"n2\",\"message\":\"\"}]",
     NULL},
    {"a migration of a VM that cannot migrate is warned of",
     "schedule",
     TWO ON("a", "n1", CLAIM("disk")) VMIM("m", "a", ""),
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n2\",\"message\":\"\"}]",
     "drover: warning: default/a: not live-migratable: DisksNotLiveMigratable: "},
    {"a migration's target by annotation",
     "schedule",
     TWO NODE("n3", "", "64Gi")
         ON("a", "n1", "") "---\n{apiVersion: kubevirt.io/v1, kind: "
                           "VirtualMachineInstanceMigration, metadata: {name: m, "
                           "annotations: {drover.io/target-node: n3}}, spec: {vmiName: a}}\n",
     {NULL},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n3\",\"message\":\"\"}]",
     NULL},
    {"a Pod has no overhead",
     "schedule",
     NODE("n1", "", "1Gi") POD("p", "memory: 1Gi"),
     {NULL},
     0,
     "[{\"vm\":\"default/p\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"Pods occupy, too",
     "schedule",
     NODE("n1", "", "1Gi") POD("p", "memory: 1Gi") POD("q", "memory: 1Mi"),
     {NULL},
     2,
     "[{\"vm\":\"default/p\",\"node\":\"n1\",\"message\":\"\"},{\"vm\":\"default/q\",\"node\":null,"
     "\"message\":\"0/1 nodes are available: 1 Insufficient memory.\"}]",
     NULL},
    {"an old heartbeat",
     "schedule",
     "{apiVersion: v1, kind: Node, metadata: {name: n1, annotations: {kubevirt.io/heartbeat: "
     "'2026-01-01T00:00:00Z'}}, status: {allocatable: {cpu: 4, memory: 8Gi, pods: 9}}}\n" VM("a",
                                                                                             ""),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"0/1 nodes are available: 1 node(s) had no "
     "recent virt-handler heartbeat.\"}]",
     NULL},
    {"a heartbeat that was fresh then",
     "schedule",
     "{apiVersion: v1, kind: Node, metadata: {name: n1, annotations: {kubevirt.io/heartbeat: "
     "'2026-01-01T00:00:00Z'}}, status: {allocatable: {cpu: 4, memory: 8Gi, pods: 9}}}\n" VM("a",
                                                                                             ""),
     {"--now", "2026-01-01T00:04:59Z"},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"heartbeats not looked at",
     "schedule",
     "{apiVersion: v1, kind: Node, metadata: {name: n1, annotations: {kubevirt.io/heartbeat: "
     "'2026-01-01T00:00:00Z'}}, status: {allocatable: {cpu: 4, memory: 8Gi, pods: 9}}}\n" VM("a",
                                                                                             ""),
     {"--heartbeat-timeout", "0"},
     0,
     "[{\"vm\":\"default/a\",\"node\":\"n1\",\"message\":\"\"}]",
     NULL},
    {"the cluster's default CPU model from a KubeVirt",
     "schedule",
     TWO "---\n{apiVersion: kubevirt.io/v1, kind: KubeVirt, metadata: {name: kubevirt, namespace: "
         "kubevirt}, spec: {configuration: {cpuModel: EPYC}}}\n" VM("a", ""),
     {NULL},
     2,
     "[{\"vm\":\"default/a\",\"node\":null,\"message\":\"0/2 nodes are available: 2 node(s) didn't "
     "have CPU model EPYC.\"}]",
     NULL},

    /* --- evict --- */
    {"--node is needed", "evict", TWO, {NULL}, 1, NULL, "--node"},
    {"a node that is not there",
     "evict",
     TWO,
     {"--node", "n9"},
     1,
     NULL,
     "drover: --node n9: no such Node in the input, and no VM runs there"},
    {"nothing runs there", "evict", TWO ON("a", "n1", ""), {"--node", "n2"}, 0, "[]", NULL},
    {"by default they migrate",
     "evict",
     TWO ON("a", "n1", ""),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"migrate\",\"strategy\":\"LiveMigrate\"}]",
     NULL},
    {"one node is a single-node cluster",
     "evict",
     NODE("n1", "", "9Gi") ON("a", "n1", ""),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"shutdown\",\"strategy\":\"None\"}]",
     NULL},
    {"a cordon does not make it one",
     "evict",
     NODE("n1", "spec: {unschedulable: true}, ", "9Gi") NODE("n2", "", "9Gi") ON("a", "n1", ""),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"migrate\",\"strategy\":\"LiveMigrate\"}]",
     NULL},
    {"one blocks",
     "evict",
     TWO ON("a", "n1", CLAIM("disk")) ON("b", "n1", "") PVC("disk", "ReadWriteOnce"),
     {"--node", "n1"},
     2,
     "[{\"vm\":\"default/a\",\"action\":\"block\",\"strategy\":\"LiveMigrate\"},{\"vm\":"
     "\"default/b\",\"action\":\"migrate\",\"strategy\":\"LiveMigrate\"}]",
     NULL},
    {"if possible",
     "evict",
     TWO ON("a", "n1", ", evictionStrategy: LiveMigrateIfPossible" CLAIM("disk")),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"shutdown\",\"strategy\":\"LiveMigrateIfPossible\"}]",
     NULL},
    {"the cluster's strategy",
     "evict",
     TWO HCO("evictionStrategy: External") ON("a", "n1", "")
         ON("b", "n1", ", evictionStrategy: None"),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"external\",\"strategy\":\"External\"},{\"vm\":"
     "\"default/b\",\"action\":\"shutdown\",\"strategy\":\"None\"}]",
     NULL},
    {"under way, by its migration",
     "evict",
     TWO ON("a", "n1", "") VMIM("m", "a", ""),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"migrating\",\"strategy\":\"LiveMigrate\"}]",
     NULL},
    {"a migration that failed is not under way",
     "evict",
     TWO ON("a", "n1", "") VMIM("m", "a", ", status: {phase: Failed}"),
     {"--node", "n1"},
     0,
     "[{\"vm\":\"default/a\",\"action\":\"migrate\",\"strategy\":\"LiveMigrate\"}]",
     NULL},
    {"those that have ended or leave are left out",
     "evict",
     TWO VMI("a", "",
             "phase: Succeeded, nodeName: n1") "---\n{apiVersion: kubevirt.io/v1, kind: "
                                               "VirtualMachineInstance, metadata: {name: b, "
                                               "deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: "
                                               "{domain: {memory: {guest: 1Gi}, devices: "
                                               "{}}}, status: {nodeName: n1, phase: Running}}\n",
     {"--node", "n1"},
     0,
     "[]",
     NULL},
    {"a strategy that is none",
     "evict",
     TWO ON("a", "n1", ", evictionStrategy: LiveMigration"),
     {"--node", "n1"},
     1,
     NULL,
     "evictionStrategy"},

    /* --- migratable --- */
    {"--vm is needed", "migratable", TWO, {NULL}, 1, NULL, "--vm"},
    {"no such VM", "migratable", TWO, {"--vm", "a"}, 1, NULL, "drover: --vm default/a: no Virtual"},
    {"it is",
     "migratable",
     ON("a", "n1", ""),
     {"--vm", "a"},
     0,
     "{\"vm\":\"default/a\",\"status\":\"True\",\"reason\":\"\",\"message\":\"\",\"method\":"
     "\"LiveMigration\"}",
     NULL},
    {"a VirtualMachine by its template",
     "migratable",
     VM("a", ""),
     {"--vm", "default/a"},
     0,
     "{\"vm\":\"default/a\",\"status\":\"True\",\"reason\":\"\",\"message\":\"\",\"method\":"
     "\"LiveMigration\"}",
     NULL},
    {"it is not",
     "migratable",
     ON("a", "n1", CLAIM("disk")) PVC("disk", "ReadWriteOnce"),
     {"--vm", "a"},
     2,
     "{\"vm\":\"default/a\",\"status\":\"False\",\"reason\":\"DisksNotLiveMigratable\",\"message\":"
     "\"cannot migrate VMI: PVC disk is not shared, live migration requires that all PVCs must be "
     "shared (using ReadWriteMany access mode)\",\"method\":\"BlockMigration\"}",
     NULL},
};

static char dir[] = "/tmp/drover-offline-XXXXXX";
static char file[sizeof(dir) + 16];

static int (*verb_of(const char *name))(int, char **)
{
    return strcmp(name, "schedule") == 0 ? verb_schedule
           : strcmp(name, "evict") == 0  ? verb_evict
                                         : verb_migratable;
}

static struct ran
run(const char *verb, const char *input, const char *output, const char *const *more)
{
    const char *args[16] = {verb, "-f", file, "-o", output};
    struct err err = {0};
    size_t n = 5;

    if (fs_replace(file, input, strlen(input), 0600, &err) != 0)
        fail_msg("%s", err_msg(&err));
    while (more && *more)
        args[n++] = *more++;
    return run_verb(verb_of(verb), args);
}

/* Drops what other tests look at: the nodes, the reasons, the best. */
static void
brief(struct tree *t)
{
    for (size_t i = 0; tree_type(t) == TREE_LIST && i < tree_len(t); i++) {
        tree_del(tree_at(t, i), "nodes");
        tree_del(tree_at(t, i), "best");
        tree_del(tree_at(t, i), "nearest"); /* tests/sched/test_nearest.c */
        tree_del(tree_at(t, i), "reason");
    }
}

static void
test_cases(void **state)
{
    AUTO_SB struct sb wrong = SB_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct offline_case *c = &cases[i];
        struct ran r = run(c->verb, c->input, "json", c->args);
        AUTO_TREE struct tree *t = NULL;
        AUTO_SB struct sb got = SB_INIT;

        if (c->out && tree_from_json(r.out, strlen(r.out), &t, NULL) == 0) {
            brief(t);
            tree_to_json(t, 0, &got);
        } else {
            sb_puts(&got, r.out);
        }
        if (r.exit_code != c->exit_code || strcmp(sb_str(&got), c->out ? c->out : "") != 0 ||
            (c->err ? !strstr(r.err, c->err) : *r.err))
            sb_printf(&wrong, "%s: %s: exit %d\n  out %s\n  err %s\n", c->verb, c->name,
                      r.exit_code, sb_str(&got), r.err);
        /* an error is one line, and nothing is half answered */
        if (r.exit_code == 1 && (*r.out || !*r.err || strchr(r.err, '\n')[1]))
            sb_printf(&wrong, "%s: not one line of error: %s%s\n", c->name, r.out, r.err);
        ran_done(&r);
    }
    assert_string_equal(sb_str(&wrong), "");
}

static void
assert_narrow(const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");

        if (len > 80)
            fail_msg("%zu columns: %.*s", len, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void
test_tables(void **state)
{
    static const char *const node[] = {"--node", "n1", NULL}, *const vm[] = {"--vm", "a", NULL};
    struct ran r;

    (void)state;
    r = run("schedule",
            NODE("worker-0.example.internal",
                 "spec: {taints: [{key: k, value: v, effect: "
                 "NoSchedule}]}, ",
                 "64Gi") NODE("worker-1.example.internal", "", "64Gi")
                NODE("worker-2.example.internal", "", "64Gi")
                    NODE("a-node-whose-name-is-longer-than-a-table-should-be.example.internal", "",
                         "64Gi") VM("a", "") VM("big", ", nodeSelector: {a: b}"),
            "table", NULL);
    assert_int_equal(r.exit_code, 2);
    assert_narrow(r.out);
    assert_non_null(strstr(r.out, "default/big -> no node\n  0/4 nodes are available: "));
    assert_non_null(strstr(r.out,
                           "  not worker-0.example.internal: node(s) had untolerated taint {k: "
                           "v}\n"));
    assert_non_null(strstr(r.out, "(one of 3 with the best score)"));
    assert_non_null(strstr(r.out, "SCORE = (3 TAINTS + 2 AFFINITY + FIT + BALANCE + 2 SPREAD + 2 "
                                  "PEERS) / 11\n"));
    ran_done(&r);

    r = run("schedule", PROFILE(PACK) SMALL VM("a", ", schedulerName: packer"), "table", NULL);
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.out, "  NODE  SCORE  AFFINITY  FIT\n"));
    assert_non_null(strstr(r.out, "\nSCORE = (AFFINITY + 5 FIT) / 6\n"));
    ran_done(&r);

    r = run("schedule", PROFILE("plugins: {score: {disabled: [{name: '*'}]}}") SMALL VM("a", ""),
            "table", NULL);
    assert_non_null(strstr(r.out, "  NODE  SCORE\n  n1        0\n"));
    assert_null(strstr(r.out, "SCORE ="));
    ran_done(&r);

    r = run("evict", TWO ON("a", "n1", CLAIM("disk")) PVC("disk", "ReadWriteOnce"), "table", node);
    assert_int_equal(r.exit_code, 2);
    assert_narrow(r.out);
    assert_non_null(strstr(r.out, "default/a  block   LiveMigrate"));
    ran_done(&r);

    r = run("evict", TWO, "table", node);
    assert_string_equal(r.out, "no VM runs on n1\n");
    ran_done(&r);

    r = run("migratable", ON("a", "n1", CLAIM("disk")) PVC("disk", "ReadWriteOnce"), "table", vm);
    assert_int_equal(r.exit_code, 2);
    assert_narrow(r.out);
    assert_non_null(strstr(r.out, "default/a cannot be live-migrated: DisksNotLiveMigratable\n"));
    ran_done(&r);

    r = run("schedule", TWO, "table", NULL);
    assert_string_equal(r.out, "nothing to place\n");
    ran_done(&r);

    r = run("migratable", ON("a", "n1", ""), "yaml", vm);
    assert_non_null(strstr(r.out, "status: \"True\"\n"));
    ran_done(&r);
}

static void
test_help(void **state)
{
    static const char *const verbs[] = {"schedule", "evict", "migratable"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        const char *args[] = {verbs[i], "--help", NULL};
        struct ran r = run_verb(verb_of(verbs[i]), args);

        assert_int_equal(r.exit_code, 0);
        assert_non_null(strstr(r.out, "--filename"));
        assert_non_null(strstr(r.out, "--output"));
        assert_string_equal(r.err, "");
        ran_done(&r);
    }
}

static int
set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/input.yaml", dir);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return fs_rmtree(dir, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests_name("offline", tests, set_up, tear_down);
}
