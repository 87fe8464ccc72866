/* What only VMs ask of a node: readiness, a handler that beats, CPU model and features, room for the
 * overhead, devices; and what a migration adds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/sched/world.h"

#define READY(name, status, annotations)                                                          \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name ", annotations: {" annotations     \
    "}, labels: {kubevirt.io/schedulable: 'true'}}, status: {conditions: [{type: Ready, status: " \
    "'" status "'}], allocatable: {cpu: '4', memory: 64Gi, pods: '9'}}}\n"
#define NETWORK(name, status, cpus)                                                               \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name "}, status: {conditions: [{type: " \
    "MigrationNetworkReady, status: '" status "'}], allocatable: {cpu: '" cpus                    \
    "', memory: 64Gi, pods: '9'}}}\n"
#define BEAT(time)   "kubevirt.io/heartbeat: '" time "'"
#define NONE(n, why) "0/" #n " nodes are available: " #n " " why "."

#define MODEL(m)   "cpu-model.node.kubevirt.io/" m ": 'true'"
#define MIGR(m)    "cpu-model-migration.node.kubevirt.io/" m ": 'true'"
#define FEATURE(f) "cpu-feature.node.kubevirt.io/" f ": 'true'"
#define HOST(m)    "host-model-cpu.node.kubevirt.io/" m ": 'true'"
#define HOSTF(f)   "host-model-required-features.node.kubevirt.io/" f ": 'true'"
#define VENDOR(v)  "cpu-vendor.node.kubevirt.io/" v ": 'true'"
#define PENRYN     NODE("penryn", MODEL("Penryn") ", " MIGR("Penryn") ", " HOST("Penryn"), "")
#define HASWELL                                                                                    \
    NODE("haswell",                                                                                \
         MODEL("Penryn") ", " MODEL("Haswell") ", " MIGR("Penryn") ", " MIGR("Haswell") ", " HOST( \
             "Haswell") ", " HOSTF("aes") ", " FEATURE("aes") ", " FEATURE("avx2"),                \
         "")
#define SKYLAKE                                                                                                                        \
    NODE(                                                                                                                              \
        "skylake",                                                                                                                     \
        MODEL("Penryn") ", " MODEL("Haswell") ", " MODEL("Skylake-Client") ", " MIGR("Haswell") ", " MIGR("Skylake-Client") ", " HOST( \
            "Skylake-Client") ", " HOSTF("aes") ", " HOSTF("mpx") ", " FEATURE("aes") ","                                              \
                                                                                      " " FEATURE("avx2") ", " FEATURE(                \
                                                                                          "mpx"),                                      \
        "")
#define CPU(inside) VMI("vm", "", "", "cpu: {" inside "}", "")
#define AES(policy) CPU("features: [{name: aes, policy: " policy "}]")
#define RUNS(node, inside) \
    VMI("vm", "", "", "cpu: {" inside "}", "nodeName: " node ", phase: Running")
#define PIN(node, pin)                                                                        \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, "   \
    "namespace: default, annotations: {drover.io/host-model: '" pin "'}}, spec: {domain: {"   \
    "memory: {guest: 1Gi}, devices: {}, cpu: {model: host-model}}}, status: {nodeName: " node \
    ", phase: Running}}\n"

static const struct world_row rows[] = {
    /* --- ready, heartbeat; now is 00:10:00 --- */
    {.name = "not ready",
     READY("n1", "False", BEAT("2026-01-01T00:10:00Z")),
     CPU(""),
     NULL,
     NONE(1, "node(s) were not ready"),
     .heartbeat_timeout_s = 300},
    {.name = "ready unknown",
     READY("n1", "Unknown", BEAT("2026-01-01T00:10:00Z")),
     CPU(""),
     NULL,
     NONE(1, "node(s) were not ready"),
     .heartbeat_timeout_s = 300},
    {.name = "a Pod's node need not be ready: taints say so",
     READY("n1", "False", ""),
     POD("p", "", "restartPolicy: Always", ""),
     "n1",
     .heartbeat_timeout_s = 300},
    {.name = "no condition Ready is no refusal", NODE("n1", "", ""), CPU(""), "n1"},
    {.name = "fresh heartbeat",
     READY("n1", "True", BEAT("2026-01-01T00:05:01Z")),
     CPU(""),
     "n1",
     .heartbeat_timeout_s = 300},
    {.name = "heartbeat as old as the timeout, node ready",
     READY("n1", "True", BEAT("2026-01-01T00:05:00Z")),
     CPU(""),
     NULL,
     NONE(1, "node(s) had no recent virt-handler heartbeat"),
     .heartbeat_timeout_s = 300},
    {.name = "heartbeat of the future",
     READY("n1", "True", BEAT("2026-01-01T00:20:00Z")),
     CPU(""),
     "n1",
     .heartbeat_timeout_s = 300},
    {.name = "heartbeat with quotes, as KubeVirt writes it",
     READY("n1", "True", BEAT("\"2026-01-01T00:10:00Z\"")),
     CPU(""),
     "n1",
     .heartbeat_timeout_s = 300},
    {.name = "heartbeat that is no time",
     READY("n1", "True", BEAT("yesterday")),
     CPU(""),
     NULL,
     NONE(1, "node(s) had no recent virt-handler heartbeat"),
     .heartbeat_timeout_s = 300},
    {.name = "no heartbeat",
     READY("n1", "True", ""),
     CPU(""),
     NULL,
     NONE(1, "node(s) had no recent virt-handler heartbeat"),
     .heartbeat_timeout_s = 300},
    {.name = "no heartbeat in a file",
     READY("n1", "True", ""),
     CPU(""),
     "n1",
     .heartbeat_timeout_s = 300,
     .from_files = true},
    {.name = "an old heartbeat in a file counts",
     READY("n1", "True", BEAT("2026-01-01T00:00:00Z")),
     CPU(""),
     NULL,
     NONE(1, "node(s) had no recent virt-handler heartbeat"),
     .heartbeat_timeout_s = 300,
     .from_files = true},
    {.name = "heartbeats not looked at", READY("n1", "True", ""), CPU(""), "n1"},
    {.name = "handler says no",
     NODE("n1", "kubevirt.io/schedulable: 'false'", ""),
     CPU(""),
     NULL,
     NONE(1, "node(s) didn't have label kubevirt.io/schedulable=true")},
    {.name = "handler never came",
     NODE("n1", "", ""),
     CPU(""),
     NULL,
     NONE(1, "node(s) didn't have label kubevirt.io/schedulable=true"),
     .heartbeat_timeout_s = 300},

    /* --- CPU model: VM, then cluster, then host-model --- */
    {.name = "no model: any node", PENRYN NODE("bare", "", ""), CPU(""), "bare"},
    {.name = "named model",
     PENRYN HASWELL,
     CPU("model: Haswell"),
     "haswell",
     NULL,
     "penryn: node(s) didn't have CPU model Haswell"},
    {.name = "the documents' Conroe is obsolete: no node offers it",
     PENRYN HASWELL,
     CPU("model: Conroe"),
     NULL,
     NONE(2, "node(s) didn't have CPU model Conroe")},
    {.name = "486 as a string",
     PENRYN,
     CPU("model: '486'"),
     NULL,
     NONE(1, "node(s) didn't have CPU model 486")},
    {.name = "a label that is not true",
     NODE("n1", "cpu-model.node.kubevirt.io/Haswell: 'false'", ""),
     CPU("model: Haswell"),
     NULL,
     NONE(1, "node(s) didn't have CPU model Haswell")},
    {.name = "the cluster's default",
     HCO("defaultCPUModel: Haswell") PENRYN HASWELL,
     CPU(""),
     "haswell"},
    {.name = "the VM's model wins over the cluster's",
     HCO("defaultCPUModel: Haswell") PENRYN NODE("epyc", MODEL("EPYC"), ""),
     CPU("model: EPYC"),
     "epyc"},
    {.name = "the cluster's default is case-sensitive",
     HCO("defaultCPUModel: haswell") PENRYN HASWELL,
     CPU(""),
     NULL,
     NONE(2, "node(s) didn't have CPU model haswell")},
    {.name = "host-model starts anywhere",
     HCO("defaultCPUModel: EPYC") PENRYN HASWELL,
     CPU("model: host-model"),
     "haswell"},
    {.name = "host-passthrough starts anywhere", PENRYN, CPU("model: host-passthrough"), "penryn"},
    {.name = "a Pod has no CPU model",
     HCO("defaultCPUModel: EPYC") PENRYN,
     POD("p", "", "restartPolicy: Always", ""),
     "penryn"},

    /* --- features by policy, on Penryn and on Haswell --- */
    {.name = "aes require",
     PENRYN HASWELL,
     AES("require"),
     "haswell",
     NULL,
     "penryn: node(s) didn't have CPU feature aes"},
    {.name = "aes require is the default",
     PENRYN,
     CPU("features: [{name: aes}]"),
     NULL,
     NONE(1, "node(s) didn't have CPU feature aes")},
    {.name = "aes forbid",
     PENRYN HASWELL,
     AES("forbid"),
     "penryn",
     NULL,
     "haswell: node(s) had forbidden CPU feature aes"},
    {.name = "aes optional", PENRYN, AES("optional"), "penryn"},
    {.name = "aes optional, there", HASWELL, AES("optional"), "haswell"},
    {.name = "aes disable", PENRYN, AES("disable"), "penryn"},
    {.name = "aes disable, there", HASWELL, AES("disable"), "haswell"},
    {.name = "aes force", PENRYN, AES("force"), "penryn"},
    {.name = "aes force, there", HASWELL, AES("force"), "haswell"},
    {.name = "apic is part of the minimum model and has no label",
     PENRYN,
     CPU("features: [{name: apic, policy: require}]"),
     "penryn"},
    {.name = "apic forbidden: every labelled node has it",
     PENRYN HASWELL,
     CPU("features: [{name: apic, policy: forbid}]"),
     NULL,
     NONE(2, "node(s) had forbidden CPU feature apic")},
    {.name = "a node without CPU labels is not known to have anything",
     NODE("bare", "", ""),
     CPU("features: [{name: apic}]"),
     NULL,
     NONE(1, "node(s) had no CPU feature labels")},
    {.name = "with a newer minimum model aes has no label",
     HCO("obsoleteCPUs: {minCPUModel: Haswell}") PENRYN,
     AES("require"),
     "penryn"},
    {.name = "all missing features are named",
     PENRYN,
     CPU("features: [{name: aes}, {name: avx2}, {name: sse2}]"),
     NULL,
     "0/1 nodes are available: 1 node(s) didn't have CPU feature aes, 1 node(s) didn't have CPU "
     "feature avx2."},
    {.name = "model and feature",
     HASWELL,
     CPU("model: Haswell, features: [{name: mpx}]"),
     NULL,
     NONE(1, "node(s) didn't have CPU feature mpx")},

    /* --- other abilities --- */
    {.name = "dedicated CPUs need the CPU manager",
     NODE("n1", "", "") NODE("n2", "cpumanager: 'true'", ""),
     CPU("dedicatedCpuPlacement: true"),
     "n2",
     NULL,
     "n1: node(s) didn't have CPU manager enabled"},
    {.name = "SEV",
     NODE("n1", "", "") NODE("n2", "kubevirt.io/sev: 'true'", ""),
     VMI("vm", "", "", "launchSecurity: {sev: {}}", ""),
     "n2",
     NULL,
     "n1: node(s) didn't support SEV"},

    /* --- room, devices --- */
    {.name = "both short: the documents' message",
     NODE_WITH("n1", "", "", "cpu: '5', memory: 3783496Ki, pods: '250'")
         NODE_WITH("n2", "", "", "cpu: '5', memory: 3783496Ki, pods: '250'"),
     VMI("vm", "", "", "resources: {requests: {cpu: 5000000Gi, memory: 5130000240Mi}}", ""),
     NULL,
     "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory."},
    {.name = "the overhead counts: 1276.048 MiB to the byte",
     NODE_WITH("n1", "", "", "cpu: '4', memory: '1338033308', pods: '9'")
         NODE_WITH("n2", "", "", "cpu: '4', memory: '1338033307', pods: '9'"),
     CPU("cores: 2"),
     "n1",
     NULL,
     "n2: Insufficient memory"},
    {.name = "a tenth of a CPU for each vCPU",
     NODE_WITH("n1", "", "", "cpu: 800m, memory: 64Gi, pods: '9'")
         NODE_WITH("n2", "", "", "cpu: 799m, memory: 64Gi, pods: '9'"),
     CPU("cores: 8"),
     "n1",
     NULL,
     "n2: Insufficient cpu"},
    {.name = "vmiCPUAllocationRatio",
     HCO("resourceRequirements: {vmiCPUAllocationRatio: 1}")
         NODE_WITH("n1", "", "", "cpu: 7999m, memory: 64Gi, pods: '9'"),
     CPU("cores: 8"),
     NULL,
     NONE(1, "Insufficient cpu")},
    {.name = "dedicated CPUs are whole",
     NODE_WITH("n1", "cpumanager: 'true'", "", "cpu: 7999m, memory: 64Gi, pods: '9'"),
     CPU("cores: 8, dedicatedCpuPlacement: true"),
     NULL,
     NONE(1, "Insufficient cpu")},
    {.name = "those that run count with their overhead",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '9'")
         VMI("other", "", "", "", "nodeName: n1, phase: Running"),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "and leave no room for a third",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '9'")
         VMI("other", "", "", "", "nodeName: n1, phase: Running")
             VMI("third", "", "", "", "nodeName: n1, phase: Scheduled"),
     VMI("vm", "", "", "", ""),
     NULL,
     NONE(1, "Insufficient memory")},
    {.name = "those that have ended do not",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '9'")
         VMI("other", "", "", "", "nodeName: n1, phase: Succeeded")
             VMI("third", "", "", "", "nodeName: n1, phase: Failed"),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "an incoming migration takes room",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '1'")
         NODE("n0", "", "unschedulable: true")
             VMI("other", "", "", "",
                 "nodeName: n0, phase: Running, migrationState: {sourceNode: n0, "
                 "targetNode: n1}"),
     VMI("vm", "", "", "", ""),
     NULL,
     "0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable."},
    {.name = "a source that has not ended holds its memory",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '1'")
         NODE("n0", "", "unschedulable: true")
             VMI("other", "", "", "",
                 "nodeName: n0, phase: Running, migrationState: {sourceNode: n1, targetNode: n0, "
                 "targetNodeDomainDetected: true}"),
     VMI("vm", "", "", "", ""),
     NULL,
     "0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable."},
    {.name = "one that has arrived holds its target before its owner has changed",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '1'")
         NODE("n0", "", "unschedulable: true")
             VMI("other", "", "", "",
                 "nodeName: n0, phase: Running, migrationState: {sourceNode: n0, targetNode: n1, "
                 "completed: true}"),
     VMI("vm", "", "", "", ""),
     NULL,
     "0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable."},
    {.name = "one that has ended does not",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '1'")
         NODE("n0", "", "unschedulable: true")
             VMI("other", "", "", "",
                 "nodeName: n0, phase: Running, migrationState: {sourceNode: n1, targetNode: n0, "
                 "completed: true}"),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "one that failed does not",
     NODE_WITH("n1", "", "", "cpu: '4', memory: 3Gi, pods: '1'")
         NODE("n0", "", "unschedulable: true")
             VMI("other", "", "", "",
                 "nodeName: n0, phase: Running, migrationState: {sourceNode: n0, "
                 "targetNode: n1, failed: true}"),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "all that is short is named",
     NODE_WITH("n1", "", "", "cpu: 50m, memory: 1Gi, pods: '0', devices.kubevirt.io/kvm: '0'"),
     VMI("vm", "", "", "resources: {requests: {ephemeral-storage: 1Gi}}, gpus: []", ""),
     NULL,
     "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient devices.kubevirt.io/kvm, 1 "
     "Insufficient ephemeral-storage, 1 Insufficient memory, 1 Too many pods."},
    {.name = "kvm used up",
     NODE_WITH("n1", "", "", "cpu: '9', memory: 64Gi, pods: '9', devices.kubevirt.io/kvm: '1'")
         VMI("other", "", "", "", "nodeName: n1, phase: Running"),
     VMI("vm", "", "", "", ""),
     NULL,
     NONE(1, "Insufficient devices.kubevirt.io/kvm")},
    {.name = "kvm, a thousand",
     NODE_WITH("n1", "", "", "cpu: '9', memory: 64Gi, pods: '9', devices.kubevirt.io/kvm: 1k"),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "a node that lists no kvm runs native guests",
     NODE("n1", "", ""),
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "a Pod needs no kvm",
     NODE_WITH("n1", "", "", "cpu: '9', memory: 64Gi, pods: '9', devices.kubevirt.io/kvm: '0'"),
     POD("p", "", "restartPolicy: Always", ""),
     "n1"},
    {.name = "huge pages come from their pool",
     NODE_WITH("n1", "", "", "cpu: '9', memory: 300Mi, pods: '9', hugepages-2Mi: 1Gi"),
     VMI_DOMAIN("devices: {}, memory: {guest: 1Gi, hugepages: {pageSize: 2Mi}}"),
     "n1"},
    {.name = "huge pages of another size",
     NODE_WITH("n1", "", "", "cpu: '9', memory: 64Gi, pods: '9', hugepages-2Mi: 4Gi"),
     VMI_DOMAIN("devices: {}, memory: {guest: 1Gi, hugepages: {pageSize: 1Gi}}"),
     NULL,
     NONE(1, "Insufficient hugepages-1Gi")},
    {.name = "a GPU is an extended resource",
     NODE("n1", "", "")
         NODE_WITH("n2", "", "", "cpu: '9', memory: 64Gi, pods: '9', nvidia.com/T4: '1'"),
     VMI_DOMAIN("memory: {guest: 1Gi}, devices: {gpus: [{name: g, deviceName: nvidia.com/T4}]}"),
     "n2",
     NULL,
     "n1: Insufficient nvidia.com/T4"},
    {.name = "two of them are two",
     NODE_WITH("n2", "", "", "cpu: '9', memory: 64Gi, pods: '9', nvidia.com/T4: '1'"),
     VMI_DOMAIN("memory: {guest: 1Gi}, devices: {gpus: [{name: g, deviceName: nvidia.com/T4}], "
                "hostDevices: [{name: h, deviceName: nvidia.com/T4}]}"),
     NULL,
     NONE(1, "Insufficient nvidia.com/T4")},
    {.name = "capacity stands in for allocatable",
     "---\n{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {capacity: {cpu: '4', "
     "memory: 8Gi, pods: '9'}}}\n",
     VMI("vm", "", "", "", ""),
     "n1"},
    {.name = "a node that says nothing has nothing",
     "---\n{apiVersion: v1, kind: Node, metadata: {name: n1}}\n",
     VMI("vm", "", "", "", ""),
     NULL,
     "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods."},

    /* --- migration targets --- */
    {.name = "never the source",
     NODE("n1", "", "") NODE("n2", "", ""),
     RUNS("n1", ""),
     "n2",
     NULL,
     "n1: node(s) were the source of the migration",
     .migrate = true},
    {.name = "not even as explicit target",
     NODE("n1", "", "") NODE("n2", "", ""),
     RUNS("n1", ""),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't match the requested node name, 1 node(s) were the "
     "source of the migration.",
     .migrate = true,
     .target = "n1"},
    {.name = "over a dedicated network",
     NODE("n1", "", "") NETWORK("n2", "False", "4") NETWORK("n3", "True", "4")
         NETWORK("n4", "False", "0") NETWORK("n5", "Unknown", "4"),
     RUNS("n1", ""),
     "n3",
     NULL,
     "n1: node(s) were the source of the migration; n2: node(s) had no ready migration network; "
     "n4: Insufficient cpu; n5: node(s) had no ready migration network",
     .migrate = true,
     .network = true},
    {.name = "over none",
     NODE("n1", "", "") NETWORK("n2", "False", "4"),
     RUNS("n1", ""),
     "n2",
     NULL,
     NULL,
     .migrate = true},
    {.name = "a start needs no migration network",
     NETWORK("n1", "False", "4"),
     CPU(""),
     "n1",
     NULL,
     NULL,
     .network = true},
    {.name = "a cluster of one node",
     NODE("n1", "", ""),
     RUNS("n1", ""),
     NULL,
     NONE(1, "node(s) were the source of the migration"),
     .migrate = true},
    {.name = "what does not run cannot migrate",
     NODE("n1", "", ""),
     VMI("vm", "", "", "", ""),
     NULL,
     "the VMI runs on no node: there is nothing to migrate",
     .migrate = true},
    {.name = "addedNodeSelector",
     NODE("n1", "", "") NODE("n2", "", "") NODE("n3", "a: b", ""),
     RUNS("n1", ""),
     "n3",
     NULL,
     "n1: node(s) were the source of the migration; n2: node(s) didn't match Pod's node "
     "affinity/selector",
     .migrate = true,
     .added = "a=b"},
    {.name = "addedNodeSelector gives way to the VM's own",
     NODE("n1", "", "") NODE("n2", "a: b", "") NODE("n3", "a: c", ""),
     VMI("vm", "", "nodeSelector: {a: c}", "", "nodeName: n1, phase: Running"),
     "n3",
     NULL,
     NULL,
     .migrate = true,
     .added = "a=b"},
    {.name = "its own reservation does not stand in the way",
     NODE("n0", "", "") NODE_WITH("n1", "", "", "cpu: '4', memory: 2Gi, pods: '1'"),
     VMI("vm", "", "", "",
         "nodeName: n0, phase: Running, migrationState: {sourceNode: n0, "
         "targetNode: n1}"),
     "n1",
     NULL,
     NULL,
     .migrate = true},
    {.name = "host-model from Haswell",
     PENRYN HASWELL SKYLAKE,
     RUNS("haswell", "model: host-model"),
     "skylake",
     NULL,
     "penryn: node(s) didn't have host CPU model Haswell; haswell: node(s) were the source of the "
     "migration",
     .migrate = true},
    {.name = "host-model by default from Haswell: nowhere to go",
     PENRYN HASWELL,
     RUNS("haswell", ""),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't have host CPU model Haswell, 1 node(s) were the "
     "source of the migration.",
     .migrate = true},
    {.name = "host-model needs the features, too",
     HASWELL NODE("n2", MIGR("Haswell"), ""),
     RUNS("haswell", "model: host-model"),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't have CPU feature aes of host model Haswell, 1 "
     "node(s) were the source of the migration.",
     .migrate = true},
    {.name = "after a move the way back is open",
     HASWELL SKYLAKE,
     PIN("skylake", "Haswell aes"),
     "haswell",
     NULL,
     NULL,
     .migrate = true},
    {.name = "without the pin it is closed",
     HASWELL SKYLAKE,
     RUNS("skylake", "model: host-model"),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't have host CPU model Skylake-Client, 1 node(s) were "
     "the source of the migration.",
     .migrate = true},
    {.name = "an obsolete host model keeps its way", /* it keeps host-model-cpu alone */
     NODE("n1", HOST("Opteron_G2"), "") NODE("n2", HOST("Opteron_G2"), ""),
     RUNS("n1", "model: host-model"),
     "n2",
     NULL,
     NULL,
     .migrate = true},
    {.name = "a named model needs its label, not the source's",
     HASWELL PENRYN,
     RUNS("haswell", "model: Penryn"),
     "penryn",
     NULL,
     NULL,
     .migrate = true},
    {.name = "host-model asked for, but the source has none",
     NODE("n1", "", "") PENRYN,
     RUNS("n1", "model: host-model"),
     NULL,
     "0/2 nodes are available: 1 node(s) couldn't be compared with source n1, which has no "
     "host-model label, 1 node(s) were the source of the migration.",
     .migrate = true},
    {.name = "nobody asked for a model, and the source has no labeller",
     NODE("n1", "", "") NODE("n2", "", ""),
     RUNS("n1", ""),
     "n2",
     NULL,
     NULL,
     .migrate = true},
    {.name = "host-model from a node that is gone",
     PENRYN,
     RUNS("n1", "model: host-model"),
     NULL,
     NONE(1, "node(s) couldn't be compared with the source, which is not known"),
     .migrate = true},
    {.name = "another CPU vendor",
     NODE("n1", MODEL("Penryn") ", " VENDOR("Intel"), "")
         NODE("n2", MODEL("Penryn") ", " VENDOR("AMD"), "")
             NODE("n3", MODEL("Penryn") ", " VENDOR("Intel"), ""),
     RUNS("n1", "model: Penryn"),
     "n3",
     NULL,
     "n1: node(s) were the source of the migration; n2: node(s) didn't have CPU vendor Intel",
     .migrate = true},
};

int
main(void)
{
    return world_run("vm_filter", rows, sizeof(rows) / sizeof(rows[0]));
}
