/* What a VM asks of its host beside model, room and neighbours: abilities, machine type, architecture, TSC
 * frequency, resources of networks, NUMA cells, and the rules between VMs of the whole cluster. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/sb.h"
#include "tests/sched/world.h"

#define NONE(n, why) "0/" #n " nodes are available: " #n " " why "."

#define DOMAIN(inside) VMI("vm", "", "", inside, "")
#define RUNS(inside)   VMI("vm", "", "", inside, "nodeName: src, phase: Running")
#define HINTED(inside)        \
    VMI("vm", "", "", inside, \
        "nodeName: src, phase: Running, topologyHints: {tscFrequency: 2000000000}")
#define HYPERV(f)       "hyperv.node.kubevirt.io/" f ": 'true'"
#define MACHINE(t)      "machine-type.node.kubevirt.io/" t ": 'true'"
#define TSC(hz)         "cpu-timer.node.kubevirt.io/tsc-frequency: '" hz "'"
#define SCALABLE        ", cpu-timer.node.kubevirt.io/tsc-scalable: 'true'"
#define INVTSC          "cpu: {features: [{name: invtsc}]}"
#define INVTSC_LABEL    ", cpu-feature.node.kubevirt.io/invtsc: 'true'"
#define REENLIGHTENMENT "features: {hyperv: {reenlightenment: {}}}"
#define REENL_LABEL     ", " HYPERV("reenlightenment")

#define NUMA_NODE(name, cells)                                                            \
    "---\n{apiVersion: v1, kind: Node, metadata: {name: " name                            \
    ", labels: {cpumanager: 'true'}, annotations: {drover.io/numa-cells: '" cells "'}}, " \
    "status: {allocatable: {cpu: '64', memory: 256Gi, pods: '110', hugepages-1Gi: 128Gi}}}\n"
#define CELL(cpus, pages) "{\"cpu\": \"" cpus "\", \"hugepages-1Gi\": \"" pages "\"}"
#define PINNED_VM(name, shape, status)                                                          \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: " name    \
    ", namespace: default}, spec: {domain: {memory: {guest: 8Gi, hugepages: {pageSize: 1Gi}}, " \
    "devices: {}, cpu: {" shape ", dedicatedCpuPlacement: true, numa: "                         \
    "{guestMappingPassthrough: {}}}}}, status: {" status "}}\n"

#define NAD(name, annotations)                                                            \
    "---\n{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: " \
    "{name: " name ", namespace: default, annotations: {" annotations                     \
    "}}, spec: {config: '{}'}}\n"
#define BRIDGE_ANN "k8s.v1.cni.cncf.io/resourceName: bridge.network.kubevirt.io/br1"
#define ROOM       "cpu: '9', memory: 64Gi, pods: '9'"
#define ON_NET(vm, net, status) \
    VMI(vm, "", "networks: [{name: a, multus: {networkName: " net "}}]", "", status)

#define ANNOTATED(annotations, status)                                                            \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, "       \
    "namespace: default, annotations: {" annotations "}}, spec: {domain: {memory: {guest: 1Gi}, " \
    "devices: {}}}, status: {" status "}}\n"
#define LIBVIRT(is) "hypervisor.drover.io/libvirt: '" is "'"
#define NATIVE(is)  "hypervisor.drover.io/native: '" is "'"

static const struct world_row rows[] = {
    /* --- hypervisors --- */
    {.name = "asked for libvirt",
     NODE("n1", "", "") NODE("n2", LIBVIRT("true"), "") NODE("n3", LIBVIRT("false"), ""),
     ANNOTATED("drover.io/hypervisor: libvirt", ""),
     "n2",
     NULL,
     "n1: node(s) had no libvirt; n3: node(s) had no libvirt"},
    {.name = "libvirt, and no node has it",
     NODE("n1", "", "") NODE("n2", LIBVIRT("false"), ""),
     ANNOTATED("drover.io/hypervisor: libvirt", ""),
     NULL,
     NONE(2, "node(s) had no libvirt")},
    {.name = "a workload is a native guest's, which older handlers make without saying so",
     NODE("n1", NATIVE("false"), "") NODE("n2", "", ""),
     ANNOTATED("drover.io/workload: mix", ""),
     "n2",
     NULL,
     "n1: node(s) had no native guests"},
    {.name = "what the VM asks for counts more than its workload",
     NODE("n1", NATIVE("true"), "") NODE("n2", LIBVIRT("true"), ""),
     ANNOTATED("drover.io/workload: mix, drover.io/hypervisor: libvirt", ""),
     "n2"},
    {.name = "a VM that does not say takes any node",
     NODE("n1", NATIVE("false"), ""),
     ANNOTATED("", ""),
     "n1"},
    {.name = "what it runs with counts more than what it had asked for",
     NODE("src", LIBVIRT("true"), "") NODE("n1", "", "") NODE("n2", LIBVIRT("true"), ""),
     ANNOTATED("drover.io/hypervisor: native, drover.io/runs-on-hypervisor: libvirt",
               "nodeName: src, phase: Running"),
     "n2",
     .migrate = true},
    /* --- abilities --- */
    {.name = "realtime, with a label that has no value, as older labellers write it",
     NODE("n1", "", "") NODE("n2", "kubevirt.io/realtime: ''", ""),
     DOMAIN("cpu: {realtime: {}}"),
     "n2",
     NULL,
     "n1: node(s) didn't support realtime"},
    {.name = "an ability that is denied",
     NODE("n1", "kubevirt.io/realtime: 'false'", ""),
     DOMAIN("cpu: {realtime: {}}"),
     NULL,
     NONE(1, "node(s) didn't support realtime")},
    {.name = "the CPU manager by its new name",
     NODE("n1", "kubevirt.io/cpumanager: 'true'", ""),
     DOMAIN("cpu: {dedicatedCpuPlacement: true}"),
     "n1"},
    {.name = "SEV-ES needs both",
     NODE("n1", "kubevirt.io/sev: 'true'", "")
         NODE("n2", "kubevirt.io/sev: 'true', kubevirt.io/sev-es: 'true'", ""),
     DOMAIN("launchSecurity: {sev: {policy: {encryptedState: true}}}"),
     "n2",
     NULL,
     "n1: node(s) didn't support SEV-ES"},
    {.name = "SEV-SNP has a label of its own",
     NODE("n1", "kubevirt.io/sev: 'true'", "") NODE("n2", "kubevirt.io/sev-snp: 'true'", ""),
     DOMAIN("launchSecurity: {snp: {}}"),
     "n2",
     NULL,
     "n1: node(s) didn't support SEV-SNP"},
    {.name = "TDX",
     NODE("n1", "", "") NODE("n2", "kubevirt.io/tdx: 'true'", ""),
     DOMAIN("launchSecurity: {tdx: {}}"),
     "n2",
     NULL,
     "n1: node(s) didn't support TDX"},
    {.name = "Secure Execution",
     NODE("n1", "", "") NODE("n2", "kubevirt.io/s390-pv: 'true'", ""),
     VMI("vm", "", "architecture: s390x", "launchSecurity: {}", ""),
     "n2",
     NULL,
     "n1: node(s) didn't support Secure Execution"},
    {.name = "SEV takes one of the node's keys where it lists them",
     NODE_WITH("n1", "kubevirt.io/sev: 'true'", "", ROOM ", devices.kubevirt.io/sev: '1'")
         VMI("other", "", "", "launchSecurity: {sev: {}}", "nodeName: n1, phase: Running"),
     DOMAIN("launchSecurity: {sev: {}}"),
     NULL,
     NONE(1, "Insufficient devices.kubevirt.io/sev")},
    {.name = "Hyper-V, and what it stands on",
     NODE("n1", HYPERV("synictimer"), "")
         NODE("n2", HYPERV("synictimer") ", " HYPERV("synic") ", " HYPERV("vpindex"), ""),
     DOMAIN("features: {hyperv: {synictimer: {}}}"),
     "n2",
     NULL,
     "n1: node(s) didn't support Hyper-V vpindex | node(s) didn't support Hyper-V synic"},
    {.name = "Hyper-V that is switched off asks for nothing",
     NODE("n1", "", ""),
     DOMAIN("features: {hyperv: {ipi: {enabled: false}, relaxed: {}, vapic: {}}}"),
     "n1"},
    {.name = "EVMCS needs Intel",
     NODE("n1", "cpu-vendor.node.kubevirt.io/AMD: 'true'", "")
         NODE("n2", "cpu-vendor.node.kubevirt.io/Intel: 'true'", ""),
     DOMAIN("features: {hyperv: {evmcs: {}}}"),
     "n2",
     NULL,
     "n1: node(s) didn't have CPU vendor Intel"},

    /* --- machine type, architecture --- */
    {.name = "machine type",
     NODE("n1", MACHINE("pc-q35-rhel8.6.0"), "")
         NODE("n2", MACHINE("pc-q35-rhel8.6.0") ", " MACHINE("pc-q35-rhel9.2.0"), ""),
     DOMAIN("machine: {type: pc-q35-rhel9.2.0}"),
     "n2",
     NULL,
     "n1: node(s) didn't support machine type pc-q35-rhel9.2.0"},
    {.name = "machine type of a migration's target",
     NODE("src", MACHINE("pc-q35-rhel9.2.0"), "") NODE("n1", MACHINE("pc-q35-rhel8.6.0"), ""),
     RUNS("machine: {type: pc-q35-rhel9.2.0}"),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't support machine type pc-q35-rhel9.2.0, 1 node(s) "
     "were the source of the migration.",
     .migrate = true},
    {.name = "nodes that publish no machine types are not asked",
     NODE("n1", "", ""),
     DOMAIN("machine: {type: pc-q35-rhel9.2.0}"),
     "n1"},
    {.name = "architecture",
     NODE("n1", "kubernetes.io/arch: amd64", "") NODE("n2", "kubernetes.io/arch: arm64", ""),
     VMI("vm", "", "architecture: arm64", "", ""),
     "n2",
     NULL,
     "n1: node(s) didn't have architecture arm64"},
    {.name = "no architecture runs anywhere",
     NODE("n1", "kubernetes.io/arch: arm64", ""),
     DOMAIN(""),
     "n1"},

    /* --- TSC: tolerance is 250 millionths of the node's, rounded down --- */
    {.name = "a start takes the lowest frequency, which the faster node cannot offer",
     NODE("n1", TSC("2100000000") INVTSC_LABEL, "") NODE("n2", TSC("2000000000") INVTSC_LABEL, ""),
     DOMAIN(INVTSC),
     "n2",
     NULL,
     "n1: node(s) didn't offer TSC frequency 2000000000"},
    {.name = "the faster one can, when it scales",
     NODE("n1", TSC("2100000000") SCALABLE INVTSC_LABEL, "")
         NODE("n2", TSC("2000000000") INVTSC_LABEL, ""),
     DOMAIN(INVTSC),
     "n1"},
    {.name = "a slow node that is out of use drags nobody down",
     NODE("n1", TSC("2100000000") INVTSC_LABEL, "")
         NODE("n2", TSC("2000000000") ", kubevirt.io/schedulable: 'false'", ""),
     DOMAIN(INVTSC),
     "n1"},
    {.name = "no node has a frequency",
     NODE("n1", "cpu-feature.node.kubevirt.io/invtsc: 'true'", ""),
     DOMAIN(INVTSC),
     NULL,
     NONE(1, "node(s) had no TSC frequency")},
    {.name = "re-enlightenment starts without one",
     NODE("n1", HYPERV("reenlightenment"), ""),
     DOMAIN(REENLIGHTENMENT),
     "n1"},
    {.name = "a migration keeps the frequency noted at the start",
     NODE("src", TSC("2100000000") SCALABLE REENL_LABEL, "")
         NODE("n1", TSC("2000500125") REENL_LABEL, "") NODE("n2", TSC("2000500126") REENL_LABEL, "")
             NODE("n3", TSC("1999500124") REENL_LABEL, "")
                 NODE("n4", TSC("1999500125") REENL_LABEL, ""),
     HINTED(REENLIGHTENMENT),
     "n1",
     NULL,
     "src: node(s) were the source of the migration; n2: node(s) didn't offer TSC frequency "
     "2000000000; n3: node(s) didn't offer TSC frequency 2000000000",
     .migrate = true},
    {.name = "without a note the source's",
     NODE("src", TSC("2100000000") REENL_LABEL, "") NODE("n1", TSC("2000000000") REENL_LABEL, "")
         NODE("n2", TSC("2100000000") REENL_LABEL, ""),
     RUNS(REENLIGHTENMENT),
     "n2",
     NULL,
     "src: node(s) were the source of the migration; n1: node(s) didn't offer TSC frequency "
     "2100000000",
     .migrate = true},
    {.name = "a slower node cannot scale up",
     NODE("src", TSC("2100000000") REENL_LABEL, "")
         NODE("n1", TSC("2000000000") SCALABLE REENL_LABEL, ""),
     RUNS(REENLIGHTENMENT),
     NULL,
     "0/2 nodes are available: 1 node(s) didn't offer TSC frequency 2100000000, 1 node(s) were the "
     "source of the migration.",
     .migrate = true},
    {.name = "KubeVirt's own label says that the node offers it",
     NODE("src", TSC("2100000000") REENL_LABEL, "")
         NODE("n1", "scheduling.node.kubevirt.io/tsc-frequency-2100000000: 'true'" REENL_LABEL, ""),
     RUNS(REENLIGHTENMENT),
     "n1",
     NULL,
     NULL,
     .migrate = true},
    {.name = "a source without a frequency",
     NODE("src", HYPERV("reenlightenment"), "") NODE("n1", TSC("2000000000") REENL_LABEL, ""),
     RUNS(REENLIGHTENMENT),
     NULL,
     "0/2 nodes are available: 1 node(s) couldn't be compared with the source, whose TSC frequency "
     "is not known, 1 node(s) were the source of the migration.",
     .migrate = true},
    {.name = "a frequency that is no number is none",
     NODE("n1", TSC("fast") INVTSC_LABEL, ""),
     DOMAIN(INVTSC),
     NULL,
     NONE(1, "node(s) had no TSC frequency")},
    {.name = "a guest that does not count on it goes anywhere",
     NODE("src", TSC("2100000000"), "") NODE("n1", TSC("1000000000"), ""),
     RUNS(""),
     "n1",
     NULL,
     NULL,
     .migrate = true},

    /* --- NUMA cells --- */
    {.name = "one socket comes from one cell",
     NUMA_NODE("n1", "[" CELL("6", "32Gi") "," CELL("6", "32Gi") "]")
         NUMA_NODE("n2", "[" CELL("4", "32Gi") "," CELL("8", "32Gi") "]"),
     PINNED_VM("vm", "sockets: 1, cores: 8", ""),
     "n2",
     NULL,
     "n1: node(s) had no NUMA cell with room for it"},
    {.name = "two sockets may come from two",
     NUMA_NODE("n1", "[" CELL("6", "32Gi") "," CELL("6", "32Gi") "]"),
     PINNED_VM("vm", "sockets: 2, cores: 4", ""),
     "n1"},
    {.name = "huge pages from the same cell",
     NUMA_NODE("n1", "[" CELL("16", "4Gi") "," CELL("2", "32Gi") "]"),
     PINNED_VM("vm", "cores: 8", ""),
     NULL,
     NONE(1, "node(s) had no NUMA cell with room for it")},
    {.name = "those that run there hold theirs",
     NUMA_NODE("n1", "[" CELL("8", "32Gi") "," CELL("8", "32Gi") "]")
         PINNED_VM("a", "cores: 6", "nodeName: n1, phase: Running")
             PINNED_VM("b", "cores: 6", "nodeName: n1, phase: Running"),
     PINNED_VM("vm", "cores: 4", ""),
     NULL,
     NONE(1, "node(s) had no NUMA cell with room for it")},
    {.name = "and fill a cell before the next",
     NUMA_NODE("n1", "[" CELL("8", "32Gi") "," CELL("8", "32Gi") "]")
         PINNED_VM("a", "cores: 4", "nodeName: n1, phase: Running")
             PINNED_VM("b", "cores: 4", "nodeName: n1, phase: Running"),
     PINNED_VM("vm", "cores: 8", ""),
     "n1"},
    {.name = "its own reservation does not stand in the way",
     NODE("src", "", "") NUMA_NODE("n1", "[" CELL("8", "8Gi") "]"),
     PINNED_VM("vm", "cores: 8",
               "nodeName: src, phase: Running, migrationState: {sourceNode: src, targetNode: n1}"),
     "n1",
     NULL,
     NULL,
     .migrate = true},
    {.name = "cells that are not known are not asked",
     NODE_WITH("n1", "cpumanager: 'true'", "", ROOM ", hugepages-1Gi: 64Gi")
         NUMA_NODE("n2", "nonsense"),
     PINNED_VM("vm", "cores: 8", ""),
     "n2"},
    {.name = "a VM that shares its CPUs is not asked",
     NUMA_NODE("n1", "[" CELL("1", "1Gi") "]"),
     DOMAIN("cpu: {cores: 8}"),
     "n1"},

    /* --- alignCPUs --- */
    {.name = "the emulator's CPU makes the total odd: one more",
     HCO("featureGates: {alignCPUs: true}")
         NODE_WITH("n1", "cpumanager: 'true'", "", "cpu: '9', memory: 64Gi, pods: '9'")
             NODE_WITH("n2", "cpumanager: 'true'", "", "cpu: '10', memory: 64Gi, pods: '9'"),
     DOMAIN("cpu: {cores: 8, dedicatedCpuPlacement: true, isolateEmulatorThread: true}"),
     "n2",
     NULL,
     "n1: Insufficient cpu"},
    {.name = "an even total stays",
     HCO("featureGates: {alignCPUs: true}")
         NODE_WITH("n1", "cpumanager: 'true'", "", "cpu: '8', memory: 64Gi, pods: '9'"),
     DOMAIN("cpu: {cores: 7, dedicatedCpuPlacement: true, isolateEmulatorThread: true}"),
     "n1"},
    {.name = "without the gate nothing is added",
     NODE_WITH("n1", "cpumanager: 'true'", "", "cpu: '9', memory: 64Gi, pods: '9'"),
     DOMAIN("cpu: {cores: 8, dedicatedCpuPlacement: true, isolateEmulatorThread: true}"),
     "n1"},
    {.name = "those that run have it, too",
     HCO("featureGates: {alignCPUs: true}")
         NODE_WITH("n1", "cpumanager: 'true'", "", "cpu: '10', memory: 64Gi, pods: '9'")
             VMI("other", "", "",
                 "cpu: {cores: 8, dedicatedCpuPlacement: true, isolateEmulatorThread: true}",
                 "nodeName: n1, phase: Running"),
     DOMAIN(""),
     NULL,
     NONE(1, "Insufficient cpu")},

    /* --- networks --- */
    {.name = "a bridge is a resource of the node",
     NAD("br", BRIDGE_ANN) NODE_WITH("n1", "", "", ROOM)
         NODE_WITH("n2", "", "", ROOM ", bridge.network.kubevirt.io/br1: 1k"),
     ON_NET("vm", "br", ""),
     "n2",
     NULL,
     "n1: Insufficient bridge.network.kubevirt.io/br1"},
    {.name = "by namespace and name",
     NAD("br", BRIDGE_ANN) NODE_WITH("n1", "", "", ROOM),
     ON_NET("vm", "default/br", ""),
     NULL,
     NONE(1, "Insufficient bridge.network.kubevirt.io/br1")},
    {.name = "those that run take theirs",
     NAD("br", BRIDGE_ANN) NODE_WITH("n1", "", "", ROOM ", bridge.network.kubevirt.io/br1: '1'")
         ON_NET("other", "br", "nodeName: n1, phase: Running"),
     ON_NET("vm", "br", ""),
     NULL,
     NONE(1, "Insufficient bridge.network.kubevirt.io/br1")},
    {.name = "a network that is not known asks for nothing",
     NODE_WITH("n1", "", "", ROOM),
     ON_NET("vm", "br", ""),
     "n1"},
    {.name = "a resource without a name asks for nothing",
     NAD("br", "k8s.v1.cni.cncf.io/resourceName: openshift.io/") NODE_WITH("n1", "", "", ROOM),
     ON_NET("vm", "br", ""),
     "n1"},

    /* --- rules between VMs in workloads.nodePlacement --- */
    {.name = "anti-affinity of the whole cluster",
     HCO("workloads: {nodePlacement: {affinity: {podAntiAffinity: "
         "{requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: "
         "db}}, topologyKey: host}]}}}}") NODE("n1", "host: n1", "") NODE("n2", "host: n2", "")
         VMI("other", "app: db", "", "", "nodeName: n1, phase: Running"),
     VMI("vm", "app: web", "", "", ""),
     "n2",
     NULL,
     "n1: node(s) didn't match pod anti-affinity rules"},
    {.name = "and from the side of those that run",
     HCO("workloads: {nodePlacement: {affinity: {podAntiAffinity: "
         "{requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: "
         "db}}, topologyKey: host}]}}}}") NODE("n1", "host: n1", "") NODE("n2", "host: n2", "")
         VMI("other", "app: web", "", "", "nodeName: n1, phase: Running"),
     VMI("vm", "app: db", "", "", ""),
     "n2",
     NULL,
     "n1: node(s) didn't satisfy existing pods anti-affinity rules"},
    {.name = "beside the VM's own",
     HCO("workloads: {nodePlacement: {affinity: {podAntiAffinity: "
         "{requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: "
         "db}}, topologyKey: host}]}}}}") NODE("n1", "host: n1", "") NODE("n2", "host: n2", "")
         NODE("n3", "host: n3", "") VMI("a", "app: db", "", "", "nodeName: n1, phase: Running")
             VMI("b", "app: web", "", "", "nodeName: n2, phase: Running"),
     VMI("vm", "app: x",
         "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
         "[{labelSelector: {matchLabels: {app: web}}, topologyKey: host}]}}",
         "", ""),
     "n3",
     NULL,
     "n1: node(s) didn't match pod anti-affinity rules; n2: node(s) didn't match pod anti-affinity "
     "rules"},
    {.name = "a Pod is no workload",
     HCO("workloads: {nodePlacement: {affinity: {podAntiAffinity: "
         "{requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: "
         "db}}, topologyKey: host}]}}}}") NODE("n1", "host: n1", "")
         VMI("other", "app: db", "", "", "nodeName: n1, phase: Running"),
     POD("p", "app: web", "restartPolicy: Always", ""),
     "n1"},
};

int
main(void)
{
    return world_run("host_rule", rows, sizeof(rows) / sizeof(rows[0]));
}
