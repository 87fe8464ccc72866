/* Cluster configuration, networks, Kubernetes' own kinds, and the metadata that all share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "api/limits.h"
#include "tests/api/rows.h"

static void
test_plain(void **state)
{
    object_row_check(*state, NULL);
}

/* --- configuration --- */

#define HCO \
    "{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {name: h}, spec: {%s}}"

static const struct object_row hco_rows[] = {
    {.name = "limits",
     .text = "liveMigrationConfig: {bandwidthPerMigration: 64Mi, completionTimeoutPerGiB: "
             "800, parallelMigrationsPerCluster: 5, parallelOutboundMigrationsPerNode: 2, "
             "progressTimeout: 150, network: my-secondary-network}"},
    {.name = "zeros",
     .text = "liveMigrationConfig: {bandwidthPerMigration: 0, completionTimeoutPerGiB: 0, "
             "progressTimeout: 0}"},
    {.name = "options of a policy",
     .text = "liveMigrationConfig: {allowAutoConverge: true, allowPostCopy: true, "
             "allowWorkloadDisruption: false, maxDowntimeMs: 2000000}"},
    {.name = "bandwidth with a blank (seeds A3.3)",
     .text = "liveMigrationConfig: {bandwidthPerMigration: 64 Mi}",
     .error = "spec.liveMigrationConfig.bandwidthPerMigration: Invalid value: \"64 Mi\": it has a "
              "blank"},
    {.name = "bandwidth a second",
     .text = "liveMigrationConfig: {bandwidthPerMigration: 64Mi/s}",
     .error = "bandwidthPerMigration: Invalid value: \"64Mi/s\": its suffix is unknown"},
    {.name = "negative bandwidth",
     .text = "liveMigrationConfig: {bandwidthPerMigration: -1Mi}",
     .error = "bandwidthPerMigration: Invalid value: \"-1Mi\": must be greater than or equal to 0"},
    {.name = "negative timeout",
     .text = "liveMigrationConfig: {completionTimeoutPerGiB: -1}",
     .error = "completionTimeoutPerGiB: Invalid value: -1: must be greater than or equal to 0"},
    {.name = "timeout as a duration",
     .text = "liveMigrationConfig: {progressTimeout: 150s}",
     .error = "progressTimeout: Invalid value: \"150s\": want an integer, not a string"},
    {.name = "negative limit",
     .text = "liveMigrationConfig: {parallelMigrationsPerCluster: -5}",
     .error = "parallelMigrationsPerCluster: Invalid value: -5"},
    {.name = "limit beyond 32 bits",
     .text = "liveMigrationConfig: {parallelOutboundMigrationsPerNode: 4294967296}",
     .error = "parallelOutboundMigrationsPerNode: Invalid value: 4294967296: is too large"},
    {.name = "downtime 0",
     .text = "liveMigrationConfig: {maxDowntimeMs: 0}",
     .error = "maxDowntimeMs: Invalid value: 0: must be between 1 and 2000000"},
    {.name = "network of a placeholder",
     .text = "liveMigrationConfig: {network: <network>}",
     .error =
         "network: Invalid value: \"<network>\": want a NetworkAttachmentDefinition as name or "
         "namespace/name"},
    {.name = "network in a bad namespace",
     .text = "liveMigrationConfig: {network: A/b}",
     .error = "network: Invalid value: \"A/b\": namespace: a lowercase RFC 1123 label"},
    {.name = "limit of inbound migrations, which upstream has not",
     .text = "liveMigrationConfig: {parallelInboundMigrationsPerNode: 2}",
     .error = "unknown field \"spec.liveMigrationConfig.parallelInboundMigrationsPerNode\""},
    {.name = "eviction strategy", .text = "evictionStrategy: LiveMigrate"},
    {.name = "eviction strategy that is none",
     .text = "evictionStrategy: Migrate",
     .error = "spec.evictionStrategy: Unsupported value: \"Migrate\""},
    {.name = "CPU models",
     .text = "defaultCPUModel: EPYC, obsoleteCPUs: {cpuModels: [\"486\", pentium], "
             "minCPUModel: Penryn}"},
    {.name = "minCPU (seeds K19)",
     .text = "obsoleteCPUs: {minCPU: Penryn}",
     .error = "unknown field \"spec.obsoleteCPUs.minCPU\""},
    {.name = "486 without quotes",
     .text = "obsoleteCPUs: {cpuModels: [486]}",
     .error = "obsoleteCPUs.cpuModels[0]: Invalid value: 486: want a string"},
    {.name = "CPU ratio", .text = "resourceRequirements: {vmiCPUAllocationRatio: 1}"},
    {.name = "CPU ratio 0",
     .text = "resourceRequirements: {vmiCPUAllocationRatio: 0}",
     .error = "vmiCPUAllocationRatio: Invalid value: 0: must be greater than or equal to 1"},
    {.name = "node placement",
     .text = "workloads: {nodePlacement: {nodeSelector: {a: b}, tolerations: "
             "[{operator: Exists}]}}"},
    {.name = "Gt 8 as the documents print it",
     .text = "workloads: {nodePlacement: {affinity: {nodeAffinity: "
             "{preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: "
             "{matchExpressions: "
             "[{key: example.io/num-cpus, operator: Gt, values: [8]}]}}]}}}}",
     .warning = "8 is taken as \"8\""},
    {.name = "bad node placement",
     .text = "workloads: {nodePlacement: {tolerations: [{}]}}",
     .error = "spec.workloads.nodePlacement.tolerations[0].operator: Invalid value"},
    {.name = "node placement without its level",
     .text = "workloads: {nodeSelector: {a: b}}",
     .error = "unknown field \"spec.workloads.nodeSelector\""},
    {.name = "infra is kept, and checked",
     .text = "infra: {nodePlacement: {nodeSelector: {\"a b\": c}}}",
     .error = "spec.infra.nodePlacement.nodeSelector: Invalid value: \"a b\""},
    {.name = "update methods",
     .text = "workloadUpdateStrategy: {workloadUpdateMethods: [LiveMigrate, Evict], "
             "batchEvictionSize: 10, "
             "batchEvictionInterval: 1m0s}",
     .warning = "spec.workloadUpdateStrategy is kept, but not acted on yet"},
    {.name = "unknown update method",
     .text = "workloadUpdateStrategy: {workloadUpdateMethods: [Restart]}",
     .error = "workloadUpdateMethods[0]: Unsupported value: \"Restart\": supported values: "
              "\"LiveMigrate\", "
              "\"Evict\""},
    {.name = "bad interval",
     .text = "workloadUpdateStrategy: {batchEvictionInterval: 1 m}",
     .error = "batchEvictionInterval: Invalid value: \"1 m\": want a duration such as 1h30m"},
    {.name = "feature gates are kept",
     .text = "featureGates: {downwardMetrics: true}",
     .warning = "spec.featureGates.downwardMetrics is kept"},
    {.name = "a feature gate that is acted on", .text = "featureGates: {alignCPUs: true}"},
    {.name = "unknown setting",
     .text = "liveMigration: {}",
     .error = "unknown field \"spec.liveMigration\""},
};

static void
test_hco(void **state)
{
    object_row_check(*state, HCO);
}

#define POLICY                                                                                   \
    "{apiVersion: migrations.kubevirt.io/v1alpha1, kind: MigrationPolicy, metadata: {name: p}, " \
    "spec: {%s}}"

static const struct object_row policy_rows[] = {
    {.name = "policy",
     .text = "allowAutoConverge: true, bandwidthPerMigration: 217Ki, "
             "completionTimeoutPerGiB: 23, allowPostCopy: false, selectors: "
             "{namespaceSelector: {hpc-workloads: \"True\", xyz: \"\"}, "
             "virtualMachineInstanceSelector: {workload-type: db}}"},
    {.name = "zeros are set",
     .text = "bandwidthPerMigration: \"0\", completionTimeoutPerGiB: 0, selectors: {}"},
    {.name = "no selectors",
     .text = "allowPostCopy: true",
     .warning = "spec has no selectors: the policy matches nothing"},
    {.name = "True without quotes",
     .text = "selectors: {namespaceSelector: {hpc-workloads: True}}",
     .error = "spec.selectors.namespaceSelector.hpc-workloads: Invalid value: true: want a string, "
              "not a "
              "boolean (write it in quotes: \"true\")"},
    {.name = "selector as a LabelSelector",
     .text = "selectors: {namespaceSelector: {matchLabels: {a: b}}}",
     .error =
         "namespaceSelector.matchLabels: Invalid value: {\"a\":\"b\"}: want a string, not a map"},
    {.name = "selectors under other names",
     .text = "selectors: {vmiSelector: {a: b}}",
     .error = "unknown field \"spec.selectors.vmiSelector\""},
    {.name = "negative bandwidth",
     .text = "bandwidthPerMigration: \"-5\", selectors: {}",
     .error =
         "spec.bandwidthPerMigration: Invalid value: \"-5\": must be greater than or equal to 0"},
    {.name = "negative timeout",
     .text = "completionTimeoutPerGiB: -1, selectors: {}",
     .error = "spec.completionTimeoutPerGiB: Invalid value: -1"},
    {.name = "downtime too long",
     .text = "maxDowntimeMs: 2000001, selectors: {}",
     .error = "spec.maxDowntimeMs: Invalid value: 2000001: must be between 1 and 2000000"},
    {.name = "boolean as a text",
     .text = "allowPostCopy: \"true\", selectors: {}",
     .error = "spec.allowPostCopy: Invalid value: \"true\": want true or false"},
    {.name = "what a policy may not set",
     .text = "progressTimeout: 5, selectors: {}",
     .error = "unknown field \"spec.progressTimeout\""},
    {.name = "a limit in a policy",
     .text = "parallelMigrationsPerCluster: 5, selectors: {}",
     .error = "unknown field \"spec.parallelMigrationsPerCluster\""},
    {.name = "experimental is kept",
     .text = "experimental: {compression: zstd}, selectors: {}",
     .warning = "spec.experimental is kept"},
};

static void
test_policy(void **state)
{
    object_row_check(*state, POLICY);
}

#define KV "{apiVersion: kubevirt.io/v1, kind: KubeVirt, metadata: {name: k}, spec: "
#define NAD                                                                                     \
    "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: n}, " \
    "spec: "
#define NNCP                                                                                  \
    "{apiVersion: nmstate.io/v1, kind: NodeNetworkConfigurationPolicy, metadata: {name: n}, " \
    "spec: "
#define NM                                                                                      \
    "{apiVersion: nodemaintenance.medik8s.io/v1beta1, kind: NodeMaintenance, metadata: {name: " \
    "m}, spec: "
/* One interface of a policy. */
#define LINK(fields)  NNCP "{desiredState: {interfaces: [{name: x, " fields "}]}}}"
#define REFUSED(path) path " is not supported: nodes refuse a policy that asks for it"

static const struct object_row other_rows[] = {
    {.name = "KubeVirt",
     .text = KV "{configuration: {migrations: {bandwidthPerMigration: 1Gi, disableTLS: "
                "false}, evictionStrategy: None, cpuModel: EPYC}}}"},
    {.name = "KubeVirt keeps the rest",
     .text = KV "{configuration: {migrations: {unsafeMigrationOverride: true}}}}",
     .warning = "spec.configuration.migrations.unsafeMigrationOverride is kept"},
    {.name = "KubeVirt's unknown configuration",
     .text = KV "{configuration: {migration: {}}}}",
     .error = "unknown field \"spec.configuration.migration\" (did you mean \"migrations\"?)"},

    {.name = "NAD", .text = NAD "{config: '{\"type\": \"macvlan\"}'}}"},
    {.name = "NAD without a configuration", .text = NAD "{}}"},
    {.name = "NAD as a map",
     .text = NAD "{config: {type: macvlan, ipam: {range: 10.200.5.0/24}}}}",
     .warning = "spec.config should be a string with the CNI configuration as JSON: the map is "
                "turned into one"},
    {.name = "NAD without a comma (seeds A5.8)",
     .text = NAD "{config: '{\"name\": \"vlan-93\" \"type\": \"cnv-bridge\"}'}}",
     .error = "spec.config: Invalid value: \"{\\\"name\\\": \\\"vlan-93\\\" \\\"type\\\": "
              "\\\"cnv-bridge\\\"}\": "
              "not JSON: line 1, column 25: '}' expected near"},
    {.name = "NAD that is not an object",
     .text = NAD "{config: '[]'}}",
     .error = "want a CNI configuration as a JSON object, not a list"},
    {.name = "NAD that is a word",
     .text = NAD "{config: macvlan}}",
     .error = "spec.config: Invalid value: \"macvlan\": not JSON"},
    {.name = "NAD that is a list",
     .text = NAD "{config: [a]}}",
     .error = "spec.config: Invalid value: [\"a\"]: want a string, not a list"},
    {.name = "NAD with an unknown field",
     .text = NAD "{conf: x}}",
     .error = "unknown field \"spec.conf\""},
    {.name = "NAD with a key twice in its JSON",
     .text = NAD "{config: '{\"a\": 1, \"a\": 2}'}}",
     .error = "duplicate object key"},

    {.name = "NNCP",
     .text =
         NNCP "{nodeSelector: {a: b}, maxUnavailable: 50%, desiredState: {interfaces: [{name: br1, "
              "type: linux-bridge, state: up, ipv4: {enabled: false}, bridge: {options: {}, port: "
              "[{name: eth1}]}}]}}}"},
    {.name = "NNCP of a bond",
     .text = NNCP "{maxUnavailable: 3, desiredState: {interfaces: [{name: b, type: bond, "
                  "link-aggregation: {mode: 1, options: {miimon: '100'}, slaves: [eth2]}, mtu: "
                  "1450}]}}}"},
    {.name = "NNCP with addresses, VLAN and MACVLAN",
     .text =
         NNCP "{desiredState: {interfaces: [{name: e, controller: '', ipv6: {enabled: true, dhcp: "
              "false, address: [{ip: 'fd00::1', prefix-length: 64}]}}, {name: v, type: vlan, vlan: "
              "{base-iface: e, id: 5}}, {name: m, type: mac-vlan, mac-vlan: {base-iface: e, mode: "
              "vepa}}]}}}"},
    {.name = "NNCP that asks for nothing we do not do",
     .text = LINK("lldp: {enabled: false}, ethtool: {}, min-mtu: 68")},
    {.name = "NNCP without anything", .text = NNCP "{}}"},
    {.name = "NNCP with port at the wrong level (seeds A6.3)",
     .text = LINK("type: linux-bridge, bridge: {options: {}}, port: [{name: eth1}]"),
     .error = "unknown field \"spec.desiredState.interfaces[0].port\""},
    {.name = "NNCP interface without a name",
     .text = NNCP "{desiredState: {interfaces: [{type: bond}]}}}",
     .error = "interfaces[0].name: Required value"},
    {.name = "NNCP interface with a long name",
     .text = NNCP "{desiredState: {interfaces: [{name: abcdefghijklmnop}]}}}",
     .error =
         "interfaces[0].name: Invalid value: \"abcdefghijklmnop\": want an interface's name: 1"},
    {.name = "NNCP interface with the kernel's own name",
     .text = NNCP "{desiredState: {interfaces: [{name: default}]}}}",
     .error = "interfaces[0].name: Invalid value: \"default\""},
    {.name = "NNCP interface of an unknown type",
     .text = LINK("type: linux-brige"),
     .error = "interfaces[0].type: Unsupported value: \"linux-brige\""},
    {.name = "NNCP interface of a type that nodes do not make",
     .text = LINK("type: ovs-bridge"),
     .warning = REFUSED("interfaces[0].type")},
    {.name = "NNCP interface in an unknown state",
     .text = LINK("state: started"),
     .error = "interfaces[0].state: Unsupported value: \"started\""},
    {.name = "NNCP with a text as MTU",
     .text = LINK("mtu: big"),
     .error = "interfaces[0].mtu: Invalid value: \"big\": want an integer"},
    {.name = "NNCP with a small MTU",
     .text = LINK("mtu: 67"),
     .error = "interfaces[0].mtu: Invalid value: 67: must be between 68 and 65535"},
    {.name = "NNCP with a controller's bad name",
     .text = LINK("controller: a b"),
     .error = "interfaces[0].controller: Invalid value: \"a b\""},
    {.name = "NNCP with DHCP",
     .text = LINK("ipv4: {enabled: true, dhcp: true}"),
     .warning = REFUSED("interfaces[0].ipv4.dhcp")},
    {.name = "NNCP with DHCP as a text",
     .text = LINK("ipv4: {dhcp: 'yes'}"),
     .error = "interfaces[0].ipv4.dhcp: Invalid value: \"yes\": want true or false"},
    {.name = "NNCP with an address as text",
     .text = LINK("ipv4: {address: [10.0.0.1/24]}"),
     .error = "interfaces[0].ipv4.address[0]: Invalid value: \"10.0.0.1/24\""},
    {.name = "NNCP with an address without prefix",
     .text = LINK("ipv4: {address: [{ip: 10.0.0.1}]}"),
     .error = "interfaces[0].ipv4.address[0].prefix-length: Required value"},
    {.name = "NNCP with a misspelled prefix",
     .text = LINK("ipv4: {address: [{ip: 10.0.0.1, prefix_length: 24}]}"),
     .error =
         "unknown field \"spec.desiredState.interfaces[0].ipv4.address[0].prefix_length\" (did you "
         "mean \"prefix-length\"?)"},
    {.name = "NNCP with enabled at the wrong level",
     .text = LINK("bridge: {options: {enabled: false}}"),
     .error = "unknown field \"spec.desiredState.interfaces[0].bridge.options.enabled\""},
    {.name = "NNCP bridge port as a text",
     .text = LINK("bridge: {port: [eth1]}"),
     .error = "interfaces[0].bridge.port[0]: Invalid value: \"eth1\""},
    {.name = "NNCP bridge port twice",
     .text = LINK("bridge: {port: [{name: a}, {name: a}]}"),
     .error = "interfaces[0].bridge.port[1].name: Duplicate value: \"a\""},
    {.name = "NNCP bridge port with VLANs",
     .text = LINK("bridge: {port: [{name: a, vlan: {mode: trunk}}]}"),
     .warning = REFUSED("interfaces[0].bridge.port[0].vlan")},
    {.name = "NNCP bond port as a map",
     .text = LINK("link-aggregation: {mode: 1, port: [{name: a}]}"),
     .error = "interfaces[0].link-aggregation.port[0]: Invalid value"},
    {.name = "NNCP bond port with a slash",
     .text = LINK("link-aggregation: {mode: 1, slaves: [a/b]}"),
     .error = "interfaces[0].link-aggregation.slaves[0]: Invalid value: \"a/b\""},
    {.name = "NNCP bond of mode 7",
     .text = LINK("link-aggregation: {mode: 7}"),
     .error = "interfaces[0].link-aggregation.mode: Invalid value: 7: want balance-rr"},
    {.name = "NNCP bond of a mode that is a list",
     .text = LINK("link-aggregation: {mode: []}"),
     .error = "interfaces[0].link-aggregation.mode: Invalid value: []: want balance-rr"},
    {.name = "NNCP bond with miimon in words",
     .text = LINK("link-aggregation: {options: {miimon: fast}}"),
     .error =
         "interfaces[0].link-aggregation.options.miimon: Invalid value: \"fast\": want 0 to 60000"},
    {.name = "NNCP bond with other options",
     .text = LINK("link-aggregation: {options: {primary: eth1}}"),
     .warning = REFUSED("interfaces[0].link-aggregation.options.primary")},
    {.name = "NNCP VLAN without a base",
     .text = LINK("vlan: {id: 5}"),
     .error = "interfaces[0].vlan.base-iface: Required value"},
    {.name = "NNCP VLAN out of range",
     .text = LINK("vlan: {base-iface: e, id: 4095}"),
     .error = "interfaces[0].vlan.id: Invalid value: 4095: must be between 1 and 4094"},
    {.name = "NNCP MACVLAN of an unknown mode",
     .text = LINK("mac-vlan: {base-iface: e, mode: router}"),
     .error = "interfaces[0].mac-vlan.mode: Unsupported value: \"router\""},
    {.name = "NNCP with routes",
     .text = NNCP "{desiredState: {routes: {config: [{destination: 0.0.0.0/0}]}}}}",
     .warning = REFUSED("spec.desiredState.routes")},
    {.name = "NNCP with captures",
     .text = NNCP "{capture: {gw: routes.running.destination==\"0.0.0.0/0\"}, desiredState: {}}}",
     .error = "spec.capture: Forbidden: captures are not supported"},
    {.name = "NNCP of more nodes than all",
     .text = NNCP "{maxUnavailable: 101%}}",
     .error =
         "spec.maxUnavailable: Invalid value: \"101%\": want a number of nodes, or 0% to 100%"},
    {.name = "NNCP of some nodes",
     .text = NNCP "{maxUnavailable: some}}",
     .error = "spec.maxUnavailable: Invalid value: \"some\""},
    {.name = "NNCP of less than no nodes",
     .text = NNCP "{maxUnavailable: -1}}",
     .error = "spec.maxUnavailable: Invalid value: -1"},
    {.name = "NNCP with an unknown part",
     .text = NNCP "{desiredState: {interface: []}}}",
     .error = "unknown field \"spec.desiredState.interface\" (did you mean \"interfaces\"?)"},

    {.name = "NodeMaintenance", .text = NM "{nodeName: node01, reason: NIC replacement}}"},
    {.name = "NodeMaintenance without a node",
     .text = NM "{reason: x}}",
     .error = "spec.nodeName: Required value"},
    {.name = "NodeMaintenance of a bad node",
     .text = NM "{nodeName: \"Node 1\"}}",
     .error = "spec.nodeName: Invalid value: \"Node 1\""},
    {.name = "NodeMaintenance of several",
     .text = NM "{nodeName: [a, b]}}",
     .error = "spec.nodeName: Invalid value: [\"a\",\"b\"]: want a string, not a list"},

    {.name = "KubeDescheduler",
     .text = "{apiVersion: operator.openshift.io/v1, kind: KubeDescheduler, metadata: {name: "
             "cluster}, spec: "
             "{deschedulingIntervalSeconds: 3600, profiles: [DevPreviewLongLifecycle], mode: "
             "Predictive}}",
     .warning = "spec.mode is kept"},
    {.name = "KubeDescheduler with profile (seeds K20)",
     .text = "{apiVersion: operator.openshift.io/v1, kind: KubeDescheduler, metadata: {name: "
             "cluster}, spec: "
             "{profile: x}}",
     .error = "unknown field \"spec.profile\" (did you mean \"profiles\"?)"},
    {.name = "KubeDescheduler with an unknown mode",
     .text = "{apiVersion: operator.openshift.io/v1, kind: KubeDescheduler, metadata: {name: "
             "cluster}, spec: "
             "{mode: Manual}}",
     .error = "spec.mode: Unsupported value: \"Manual\""},

    {.name = "Node",
     .text =
         "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.0.0.0/24, "
         "unschedulable: true}, status: {allocatable: {cpu: 3500m, memory: 7000128Ki, pods: 250, "
         "devices.kubevirt.io/kvm: 1k}, nodeInfo: {architecture: amd64}, conditions: [{type: "
         "Ready, status: \"True\", lastHeartbeatTime: \"2026-11-21T13:04:05Z\"}]}}"},
    {.name = "Node with a bad quantity",
     .text =
         "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {allocatable: {cpu: four}}}",
     .error = "status.allocatable.cpu: Invalid value: \"four\""},
    {.name = "Node with a negative quantity",
     .text = "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {capacity: {cpu: -1}}}",
     .error = "status.capacity.cpu: Invalid value: \"-1\""},
    {.name = "Node with conditions as a map",
     .text = "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {conditions: {Ready: "
             "\"True\"}}}",
     .error = "status.conditions: Invalid value: {\"Ready\":\"True\"}: want a list"},
    {.name = "Node in a namespace",
     .text = "{apiVersion: v1, kind: Node, metadata: {name: n, namespace: x}}",
     .error = "metadata.namespace: Forbidden: not allowed on this type"},

    {.name = "claim",
     .text = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: "
             "{accessModes: [ReadWriteMany], volumeMode: Block, resources: {requests: {storage: "
             "10Gi}}}}"},
    {.name = "claim in a file may be short",
     .text =
         "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: "
         "[ReadWriteOnce]}}",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "claim without a size",
     .text =
         "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: "
         "[ReadWriteOnce]}}",
     .error = "spec.resources: Required value"},
    {.name = "claim without access modes",
     .text = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {}}",
     .error = "spec.accessModes: Required value"},
    {.name = "claim with short access modes",
     .text = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: "
             "{accessModes: [RWX]}}",
     .error =
         "spec.accessModes[0]: Unsupported value: \"RWX\": supported values: \"ReadWriteOnce\""},
    {.name = "claim of an unknown mode",
     .text =
         "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: "
         "[ReadWriteOnce], volumeMode: File}}",
     .error = "spec.volumeMode: Unsupported value: \"File\""},
    {.name = "claim of no bytes",
     .text =
         "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: "
         "[ReadWriteOnce], resources: {requests: {storage: 0}}}}",
     .error = "spec.resources.requests.storage: Invalid value: \"0\": must be greater than 0"},

    {.name = "Event",
     .text = "{apiVersion: v1, kind: Event, metadata: {name: e}, involvedObject: {kind: Node, "
             "name: n}, reason: R, message: M, type: Normal, count: 1, source: {component: c}, "
             "firstTimestamp: \"2026-11-21T13:04:05Z\", eventTime: null}"},
    {.name = "Event about nothing",
     .text = "{apiVersion: v1, kind: Event, metadata: {name: e}, reason: R}",
     .error = "involvedObject: Required value"},
    {.name = "Event with a bad time",
     .text = "{apiVersion: v1, kind: Event, metadata: {name: e}, involvedObject: {}, "
             "lastTimestamp: today}",
     .error = "lastTimestamp: Invalid value: \"today\""},

    {.name = "Pod",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {restartPolicy: Always, "
             "priority: -5, containers: [{name: c, image: i, ports: [{containerPort: 80}], "
             "resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}}]}, status: {phase: "
             "Running, podIP: 10.0.0.1}}"},
    {.name = "Pod with a port of the host",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{ports: "
             "[{containerPort: 80, "
             "hostPort: 80}]}]}}",
     .warning = "spec.containers[0].ports[0].hostPort is kept, but not acted on yet"},
    {.name = "Pod without containers",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}}",
     .error = "spec.containers: Required value: must have at least one item"},
    {.name = "Pod with a bad request",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{resources: "
             "{requests: {cpu: "
             "1 core}}}]}}",
     .error =
         "spec.containers[0].resources.requests.cpu: Invalid value: \"1 core\": it has a blank"},
    {.name = "Pod with an unknown policy",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {preemptionPolicy: Always, "
             "containers: "
             "[{}]}}",
     .error = "spec.preemptionPolicy: Unsupported value: \"Always\""},
    {.name = "Pod with an unknown field",
     .text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {node: n, containers: [{}]}}",
     .error = "unknown field \"spec.node\""},
};

/* --- metadata and kinds --- */

#define NS_(m) "{apiVersion: v1, kind: Namespace, metadata: {" m "}}"
#define VMIM_(m)                                                                        \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {" m \
    "}, spec: {vmiName: v}}"

static const struct object_row meta_rows[] = {
    {.name = "name and namespace", .text = VMIM_("name: a.b-c, namespace: ns-1")},
    {.name = "generateName", .text = VMIM_("generateName: kubevirt-migrate-vm-")},
    {.name = "labels and annotations",
     .text = VMIM_("name: a, labels: {a.io/b: \"\", c: d}, annotations: {any/thing: \"a b\\nc\"}")},
    {.name = "what the server manages",
     .text =
         VMIM_("name: a, uid: u, resourceVersion: \"5\", generation: 2, creationTimestamp: "
               "\"2026-11-21T13:04:05Z\", deletionTimestamp: null, managedFields: [{x: y}], "
               "selfLink: /x, "
               "finalizers: [kubevirt.io/migrationJobFinalize, foregroundDeleteVirtualMachine], "
               "ownerReferences: [{apiVersion: v1, kind: K, name: n, uid: u, controller: true}]")},
    {.name = "creationTimestamp null, as kubectl writes it",
     .text = VMIM_("name: a, creationTimestamp: null")},
    {.name = "an annotation without a value",
     .text = VMIM_("name: a, annotations: {x: }"),
     .warning = "metadata.annotations.x has no value, which counts as \"\""},
    {.name = "no metadata",
     .text = "{apiVersion: v1, kind: Namespace}",
     .error = "metadata: Required value"},
    {.name = "no name",
     .text = VMIM_("labels: {}"),
     .error = "metadata.name: Required value: name or generateName is required"},
    {.name = "empty name", .text = VMIM_("name: \"\""), .error = "metadata.name: Required value"},
    {.name = "generateName in a file",
     .text = VMIM_("generateName: a-"),
     .error = "metadata.name: Required value",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "name with capitals",
     .text = VMIM_("name: MyMigration"),
     .error = "metadata.name: Invalid value: \"MyMigration\": a lowercase RFC 1123 subdomain"},
    {.name = "name of a placeholder",
     .text = VMIM_("name: <migration_name>"),
     .error = "metadata.name: Invalid value: \"<migration_name>\""},
    {.name = "name as a number",
     .text = VMIM_("name: 5"),
     .error = "metadata.name: Invalid value: 5: want a string, not an integer (write it in quotes: "
              "\"5\")"},
    {.name = "namespace's name with a dot",
     .text = NS_("name: a.b"),
     .error = "metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label"},
    {.name = "bad namespace",
     .text = VMIM_("name: a, namespace: A_b"),
     .error = "metadata.namespace: Invalid value: \"A_b\""},
    {.name = "namespace of a cluster's kind",
     .text = NS_("name: a, namespace: b"),
     .error = "metadata.namespace: Forbidden: not allowed on this type"},
    {.name = "bad generateName",
     .text = VMIM_("generateName: A-"),
     .error = "metadata.generateName: Invalid value: \"A-\""},
    {.name = "bad label key",
     .text = NS_("name: a, labels: {\"a/b/c\": d}"),
     .error = "metadata.labels: Invalid value: \"a/b/c\""},
    {.name = "bad label value",
     .text = NS_("name: a, labels: {a: \"b c\"}"),
     .error = "metadata.labels: Invalid value: \"b c\""},
    {.name = "label as a boolean",
     .text = NS_("name: a, labels: {a: true}"),
     .error = "metadata.labels.a: Invalid value: true: want a string"},
    {.name = "labels as a list",
     .text = NS_("name: a, labels: [x]"),
     .error = "metadata.labels: Invalid value: [\"x\"]: want a map"},
    {.name = "bad annotation key",
     .text = NS_("name: a, annotations: {\"-x\": d}"),
     .error = "metadata.annotations: Invalid value: \"-x\""},
    {.name = "annotation as a map",
     .text = NS_("name: a, annotations: {x: {y: z}}"),
     .error = "metadata.annotations.x: Invalid value: {\"y\":\"z\"}: want a string, not a map"},
    {.name = "bad finalizer",
     .text = NS_("name: a, finalizers: [\"a b\"]"),
     .error = "metadata.finalizers[0]: Invalid value: \"a b\""},
    {.name = "owner without a uid",
     .text = NS_("name: a, ownerReferences: [{apiVersion: v1, kind: K, name: n}]"),
     .error = "metadata.ownerReferences[0].uid: Required value"},
    {.name = "resourceVersion as a number",
     .text = NS_("name: a, resourceVersion: 5"),
     .error = "metadata.resourceVersion: Invalid value: 5: want a string"},
    {.name = "bad creationTimestamp",
     .text = NS_("name: a, creationTimestamp: yesterday"),
     .error = "metadata.creationTimestamp: Invalid value: \"yesterday\": its date: want an RFC "
              "3339 time"},
    {.name = "label instead of labels",
     .text = NS_("name: a, label: {a: b}"),
     .error = "unknown field \"metadata.label\" (did you mean \"labels\"?)"},
    {.name = "kind under metadata (003's nesting)",
     .text = NS_("name: a, kind: Namespace"),
     .error = "unknown field \"metadata.kind\""},
    {.name = "unknown field at the top",
     .text = "{apiVersion: v1, kind: Namespace, metadata: {name: a}, data: {}}",
     .error = "unknown field \"data\""},

    {.name = "v1alpha3",
     .text = "{apiVersion: kubevirt.io/v1alpha3, kind: VirtualMachineInstanceMigration, "
             "metadata: {name: a}, spec: {vmiName: v}}",
     .warning =
         "kubevirt.io/v1alpha3 VirtualMachineInstanceMigration is an older version: it is taken as "
         "kubevirt.io/v1"},
    {.name = "kubevirt/v1alpha3 (seeds K18)",
     .text = "{apiVersion: kubevirt/v1alpha3, kind: VirtualMachine, metadata: {name: a}}",
     .error = ": no matches for kind \"VirtualMachine\" in version \"kubevirt/v1alpha3\" "
              "(want "
              "apiVersion: kubevirt.io/v1, kind: VirtualMachine)"},
    {.name = "kind in lower case",
     .text = "{apiVersion: kubevirt.io/v1, kind: virtualmachine, metadata: {name: a}}",
     .error =
         "no matches for kind \"virtualmachine\" in version \"kubevirt.io/v1\" (want apiVersion: "
         "kubevirt.io/v1, kind: VirtualMachine)"},
    {.name = "future version",
     .text = "{apiVersion: kubevirt.io/v2, kind: VirtualMachine, metadata: {name: a}}",
     .error = "no matches for kind"},
    {.name = "no group",
     .text = "{apiVersion: v1, kind: VirtualMachine, metadata: {name: a}}",
     .error = "no matches for kind \"VirtualMachine\" in version \"v1\""},
    {.name = "unknown kind",
     .text = "{apiVersion: v1, kind: Secret, metadata: {name: a}}",
     .error = "no matches for kind \"Secret\" in version \"v1\""},
    {.name = "no apiVersion",
     .text = "{kind: VirtualMachine, metadata: {name: a}}",
     .error = "apiVersion: Required value"},
    {.name = "no kind",
     .text = "{apiVersion: v1, metadata: {name: a}}",
     .error = "kind: Required value"},
    {.name = "neither", .text = "{spec: {}}", .error = "kind: Required value"},
    {.name = "kind as a number",
     .text = "{apiVersion: v1, kind: 5}",
     .error = "kind: Invalid value: 5: want a string"},
    {.name = "a list",
     .text = "[a]",
     .error = "want an object with apiVersion and kind, not a list"},
    {.name = "a word",
     .text = "a",
     .error = "want an object with apiVersion and kind, not a string"},
    {.name = "metadata as a text",
     .text = "{apiVersion: v1, kind: Namespace, metadata: a}",
     .error = "metadata: Invalid value: \"a\": want a map"},
};

static void
test_annotations_size(void **state)
{
    AUTO_TREE struct tree *obj = yaml_one(NS_("name: a"));
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    AUTO_FREE char *big = xmalloc(API_MAX_ANNOTATIONS_BYTES + 1);

    (void)state;
    memset(big, 'x', API_MAX_ANNOTATIONS_BYTES);
    big[API_MAX_ANNOTATIONS_BYTES] = '\0';
    tree_set_path(obj, tree_string(big), "metadata", "annotations", "k", NULL);
    assert_int_not_equal(object_validate(obj, VALIDATE_CREATE, &errs, NULL), 0);
    assert_string_equal(errs.items[0].path, "metadata.annotations");
    assert_string_equal(errs.items[0].message, "Too long: may not be more than 262144 bytes");
    assert_string_equal(errs.items[0].type, "FieldValueTooLong");
    arena_free(a);
}

static void
test_object_size(void **state)
{
    AUTO_TREE struct tree *obj =
        yaml_one("{apiVersion: kubevirt.io/v1, kind: KubeVirt, metadata: {name: a}, "
                 "spec: {customizeComponents: {}}}");
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    AUTO_FREE char *big = xmalloc(API_MAX_OBJECT_BYTES + 1);

    (void)state;
    memset(big, 'x', API_MAX_OBJECT_BYTES);
    big[API_MAX_OBJECT_BYTES] = '\0';
    tree_set_path(obj, tree_string(big), "spec", "customizeComponents", "x", NULL);
    assert_int_not_equal(object_validate(obj, VALIDATE_CREATE, &errs, NULL), 0);
    assert_string_equal(errs.items[0].type, "FieldValueTooLong");
    arena_free(a);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {cmocka_unit_test(test_annotations_size),
                                               cmocka_unit_test(test_object_size)};

    return ROWS_RUN("HyperConverged", hco_rows, test_hco) +
           ROWS_RUN("MigrationPolicy", policy_rows, test_policy) +
           ROWS_RUN("other kinds", other_rows, test_plain) +
           ROWS_RUN("metadata and kinds", meta_rows, test_plain) +
           cmocka_run_group_tests_name("sizes", others, NULL, NULL);
}
