/* Label, annotation, taint and condition names in one place: upstream's, and our own (drover.io/). */
#ifndef API_NAMES_H
#define API_NAMES_H

#define LABEL_NODE_NAME           "kubevirt.io/nodeName"
#define LABEL_SCHEDULABLE         "kubevirt.io/schedulable" /* on nodes: "true" while the handler beats */
#define LABEL_MIGRATION_TARGET    "kubevirt.io/migrationTargetNodeName"
#define LABEL_VM                  "vm.kubevirt.io/name"
#define LABEL_CPU_MODEL           "cpu-model.node.kubevirt.io/"
#define LABEL_CPU_MODEL_MIGRATION "cpu-model-migration.node.kubevirt.io/"
#define LABEL_CPU_FEATURE         "cpu-feature.node.kubevirt.io/"
#define LABEL_HOST_MODEL          "host-model-cpu.node.kubevirt.io/"
#define LABEL_HOST_MODEL_FEATURE  "host-model-required-features.node.kubevirt.io/"
#define LABEL_CPU_VENDOR          "cpu-vendor.node.kubevirt.io/"
#define LABEL_CPU_TIMER           "cpu-timer.node.kubevirt.io/" /* tsc-frequency, tsc-scalable */
#define LABEL_HYPERV              "hyperv.node.kubevirt.io/"
#define LABEL_MACHINE_TYPE        "machine-type.node.kubevirt.io/"
#define LABEL_VM_ARCH             "kubevirt.io/vm-arch-" /* amd64 arm64 s390x */
#define LABEL_REALTIME            "kubevirt.io/realtime"
#define LABEL_SEV                 "kubevirt.io/sev"
#define LABEL_SEV_ES              "kubevirt.io/sev-es"
#define LABEL_SEV_SNP             "kubevirt.io/sev-snp"
#define LABEL_TDX                 "kubevirt.io/tdx"
#define LABEL_S390_PV             "kubevirt.io/s390-pv"
#define LABEL_OBSOLETE_HOST_MODEL "node-labeller.kubevirt.io/obsolete-host-model"
#define LABEL_CPUMANAGER          "cpumanager"
#define LABEL_HOSTNAME            "kubernetes.io/hostname"
#define LABEL_ARCH                "kubernetes.io/arch"
#define LABEL_ZONE                "topology.kubernetes.io/zone"

#define ANN_HEARTBEAT             "kubevirt.io/heartbeat"           /* on nodes: RFC 3339 time */
#define ANN_EVACUATION            "kubevirt.io/evacuationMigration" /* on VMIMs made by a drain: node */
#define ANN_SKIP_LABELLER         "node-labeller.kubevirt.io/skip-node"
#define ANN_UNSCHEDULABLE_TIMEOUT "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
#define ANN_PENDING_TIMEOUT       "kubevirt.io/migrationPendingPodTimeoutSeconds"

#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"
#define TAINT_DRAIN         "kubevirt.io/drain"

#define FINALIZER_VM   "kubevirt.io/virtualMachineControllerFinalize"
#define FINALIZER_VMI  "foregroundDeleteVirtualMachine"
#define FINALIZER_VMIM "kubevirt.io/migrationJobFinalize"

/* Ours. The native guest (annotations on a VM's template, copied to the VMI). */
#define ANN_WORKLOAD      "drover.io/workload" /* idle sequential hotcold randomwords zipf mix */
#define ANN_WORKLOAD_RATE "drover.io/workload-rate" /* bytes written a second, a quantity */
#define ANN_WORKLOAD_SET  "drover.io/workload-set"  /* working set, a quantity */
#define ANN_WORKLOAD_FILL "drover.io/workload-fill" /* bytes filled with random data at start */
/* Which hypervisor a VM wants: native or libvirt (on its template); which one its guest is made with, by
 * the handler that started it. docs/libvirt.md */
#define ANN_HYPERVISOR  "drover.io/hypervisor"
#define ANN_RUNS_ON     "drover.io/runs-on-hypervisor"
#define ANN_ACCELERATOR "drover.io/accelerator" /* kvm or tcg; without it: KVM where it works */
/* On a VMI, by its subresources pause ("true") and unpause ("false"): what its handler is to do. The
 * handler takes "false" away when it is done. */
#define ANN_PAUSE_REQUEST "drover.io/pause-request"
/* On the VMI, by the API's reset: any text; by its handler: JSON {"request", "ok", "text"}. */
#define ANN_RESET_REQUEST "drover.io/reset-request"
#define ANN_RESET_RESULT  "drover.io/reset-result"
/* On the VMI, by the API: the name of a console session that its handler shall connect to
 * (docs/console.md). */
#define ANN_CONSOLE_REQUEST "drover.io/console-request"
/* Of a Node, by its handler: which guests it can make now ("true" "false"). No such label: native only,
 * as handlers were before there was a choice. */
#define LABEL_HYPERVISOR_LIBVIRT "hypervisor.drover.io/libvirt"
#define LABEL_HYPERVISOR_NATIVE  "hypervisor.drover.io/native"
#define COND_PAUSED              "Paused" /* of a VMI, by its handler */
/* Options of migrations that upstream has no field for: on a MigrationPolicy, else on the
 * HyperConverged or KubeVirt object (api/migration_options.h, docs/migration-policy.md). */
#define ANN_ENCODING         "drover.io/encoding"         /* auto raw delta lz4 zstd */
#define ANN_VERIFY           "drover.io/verify"           /* none full */
#define ANN_CHANNELS         "drover.io/channels"         /* data connections, 0 = automatic */
#define ANN_WEIGHT           "drover.io/weight"           /* in shares of a bandwidth cap */
#define ANN_NETWORK_FALLBACK "drover.io/network-fallback" /* none management */
#define ANN_POST_COPY        "drover.io/post-copy"        /* when-needed immediate */
#define ANN_TRANSPORT        "drover.io/transport"        /* auto rdma tcp */
/* Fencing (rule 1): the generation at which status.nodeName may run the VMI, and the one that the
 * current migration's target will run it at. Written by the controller only. */
#define ANN_GENERATION           "drover.io/generation"
#define ANN_MIGRATION_GENERATION "drover.io/migration-generation"
/* On the VMI, by the controller at hand-off: the options above, resolved. JSON. */
#define ANN_MIGRATION_OPTIONS "drover.io/migration-options"
/* On a VMIM that runs, by a user: bytes a second, a quantity, in place of bandwidthPerMigration. */
#define ANN_BANDWIDTH_OVERRIDE "drover.io/bandwidth-override"
/* Written by handlers. JSON objects; see docs/protocol.md. */
#define ANN_MIGRATION_PROGRESS "drover.io/migration-progress" /* on the VMIM, by the source */
#define ANN_MIGRATION_RESULT \
    "drover.io/migration-result"                    /* on the VMIM, by the source, at the end */
#define ANN_GUEST_RESULT  "drover.io/guest-result"  /* on the VMIM, by the target: downtime */
#define ANN_TARGET_RESULT "drover.io/target-result" /* on the VMIM, by the target: its figures */
#define ANN_MIGRATION_DECISIONS \
    "drover.io/migration-decisions" /* on the VMIM, by the source: the decision log, a list */
#define ANN_TARGET_FALLBACK \
    "drover.io/target-fallback" /* on the VMIM, by the target: JSON, where else it listens */
#define ANN_SOURCE_LOST \
    "drover.io/source-lost" /* on the VMI, by an administrator: uid of the migration in post-copy */
#define COND_MEMORY_COMPLETE "MemoryComplete"   /* of a VMI, by the target of a post-copy */
#define COND_MEMORY_DAMAGED  "MemoryDamaged"    /* likewise: ranges are lost with their source */
#define COND_SOURCE_LOST     "SourceMemoryLost" /* by the source: its guest's process is gone */
#define ANN_VERIFY_REQUEST   "drover.io/verify-request"  /* on the VMI, by a user: any text */
#define ANN_VERIFY_RESULT    "drover.io/verify-result"   /* on the VMI, by the handler: JSON */
#define ANN_TRACE_REQUEST    "drover.io/trace-request"   /* on the VMI, by a user: JSON */
#define ANN_TRACE_RESULT     "drover.io/trace-result"    /* on the VMI, by the handler: JSON */
#define ANN_SCHEDULE_RESULT  "drover.io/schedule-result" /* on the VMI/VMIM: why there, JSON */
#define ANN_MIGRATION_TARGET "drover.io/target-node" /* on a VMIM: explicit target (migrate --to) */
#define ANN_MIGRATION_FORCE \
    "drover.io/target-node-force" /* "true": whatever people's rules say (migrate --to --force) */
#define ANN_EVACUATION_CAUSE \
    "drover.io/evacuation-cause" /* on VMIMs of ANN_EVACUATION: drain taint preemption */
#define ANN_NOMINATED "drover.io/nominated-node"     /* on a VMI: where it preempts others */
#define ANN_VICTIMS   "drover.io/preemption-victims" /* on that VMI: who they are, JSON */

/* The migration network. On a Node, by the controller: JSON {"network": "NS/NAD", "address":
 * "10.200.5.1/24"} or {"network", "reason", "message"} when there is none to be had. */
#define ANN_MIGRATION_ADDRESS "drover.io/migration-address"
/* On an IPPool, by the controller: the name of its NetworkAttachmentDefinition. */
#define ANN_POOL_NETWORK "drover.io/network"
/* On a Node, by its handler with each heartbeat: JSON {"interface", "address", "mtu", "speedMbps",
 * "state", "rxBytes", "txBytes", "rxDropped", "txDropped", "limitBytesPerSecond",
 * "trusted"}. */
#define ANN_MIGRATION_LINK "drover.io/migration-link"
#define ANN_URGENT_DSCP \
    "drover.io/urgent-dscp" /* on a NAD: DSCP of post-copy's urgent packets, 0-63 */
/* On a NAD: "true": who can read or write what crosses this network may read and write the memory of
 * the guests that migrate over it. Only then does RDMA carry it, which encrypts nothing. */
#define ANN_TRUSTED_NETWORK    "drover.io/trusted-network"
#define LABEL_NMSTATE_NODE     "nmstate.io/node"   /* on enactments */
#define LABEL_NMSTATE_POLICY   "nmstate.io/policy" /* likewise */
#define LABEL_CHECKUP          "kiagnose/checkup-type"
#define COND_MIGRATION_NETWORK "MigrationNetworkReady" /* of a Node */
#define COND_MIGRATION_RDMA    "MigrationRDMAReady"    /* of a Node: a device serves that address */

/* PriorityClasses. The two of the system are there without an object. */
#define PRIORITY_SYSTEM_PREFIX          "system-"
#define PRIORITY_USER_MAX               1000000000
#define PRIORITY_CLUSTER_CRITICAL       "system-cluster-critical"
#define PRIORITY_CLUSTER_CRITICAL_VALUE 2000000000
#define PRIORITY_NODE_CRITICAL          "system-node-critical"
#define PRIORITY_NODE_CRITICAL_VALUE    2000001000

#define DEFAULT_HCO_NAMESPACE "openshift-cnv"
#define DEFAULT_HCO_NAME      "kubevirt-hyperconverged"
#define SCHEDULER_NAME        "drover-scheduler"

#endif
