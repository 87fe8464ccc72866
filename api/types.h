/* The objects, typed: what sched, netpolicy, migrate, control and handler work with. Decoded from
 * the generic tree by the tables in api/schema_*.c; everything they point to lives in the arena that
 * was given to object_decode. Strings are NULL when absent; lists have len 0. Optional scalars
 * have a has_ or set flag where absent differs from zero. Times are microseconds since 1970, 0 = absent.
 * Names follow upstream's JSON names in snake case. */
#ifndef API_TYPES_H
#define API_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/quantity.h"

enum kind {
    KIND_NONE,
    KIND_VM,            /* kubevirt.io/v1 VirtualMachine */
    KIND_VMI,           /* kubevirt.io/v1 VirtualMachineInstance */
    KIND_VMIM,          /* kubevirt.io/v1 VirtualMachineInstanceMigration */
    KIND_KUBEVIRT,      /* kubevirt.io/v1 KubeVirt */
    KIND_POLICY,        /* migrations.kubevirt.io/v1alpha1 MigrationPolicy */
    KIND_HCO,           /* hco.kubevirt.io/v1beta1 HyperConverged */
    KIND_NAD,           /* k8s.cni.cncf.io/v1 NetworkAttachmentDefinition */
    KIND_NNCP,          /* nmstate.io/v1, v1alpha1, v1beta1 NodeNetworkConfigurationPolicy */
    KIND_MAINTENANCE,   /* nodemaintenance.medik8s.io/v1beta1 NodeMaintenance */
    KIND_DESCHEDULER,   /* operator.openshift.io/v1 KubeDescheduler */
    KIND_NODE,          /* v1 Node */
    KIND_NAMESPACE,     /* v1 Namespace */
    KIND_PVC,           /* v1 PersistentVolumeClaim */
    KIND_EVENT,         /* v1 Event */
    KIND_POD,           /* v1 Pod: drover schedule's input only, never stored */
    KIND_PV,            /* v1 PersistentVolume */
    KIND_STORAGE_CLASS, /* storage.k8s.io/v1 StorageClass */
    KIND_PRIORITY,      /* scheduling.k8s.io/v1 PriorityClass */
    KIND_PDB,           /* policy/v1 PodDisruptionBudget */
    KIND_SCHED_CONFIG,  /* kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration:
                           drover schedule's input only */
    KIND_NNS,           /* nmstate.io/v1beta1, v1alpha1 NodeNetworkState */
    KIND_NNCE,          /* nmstate.io/v1beta1, v1alpha1 NodeNetworkConfigurationEnactment */
    KIND_IPPOOL,        /* whereabouts.cni.cncf.io/v1alpha1 IPPool */
    KIND_CONFIGMAP,     /* v1 ConfigMap: checkups */
    KIND_COUNT
};

struct str_list {
    const char **items;
    size_t len;
};

struct kv {
    const char *key, *value;
};

struct kv_list { /* decoded ones: in byte order of the keys */
    struct kv *items;
    size_t len;
};

struct owner_ref {
    const char *api_version, *kind, *name, *uid;
    bool controller;
};

struct meta {
    const char *name, *namespace_, *generate_name, *uid, *resource_version;
    int64_t generation;
    int64_t creation_us, deletion_us; /* creationTimestamp, deletionTimestamp */
    struct kv_list labels, annotations;
    struct str_list finalizers;
    struct owner_ref *owners;
    size_t owners_len;
};

/* --- selection rules --- */
enum sel_op { SEL_IN, SEL_NOT_IN, SEL_EXISTS, SEL_DOES_NOT_EXIST, SEL_GT, SEL_LT, SEL_UNKNOWN };

struct requirement {
    const char *key;
    enum sel_op op;
    struct str_list values;
};

struct label_selector {
    struct kv_list match_labels;
    struct requirement *exprs;
    size_t exprs_len;
};

struct node_term {
    struct requirement *exprs, *fields; /* matchExpressions, matchFields */
    size_t exprs_len, fields_len;
};

struct preferred_node_term {
    int64_t weight; /* 1..100 */
    struct node_term preference;
};

struct pod_term {                              /* PodAffinityTerm */
    struct label_selector *selector;           /* NULL: matches nothing */
    struct label_selector *namespace_selector; /* NULL: none */
    struct str_list namespaces;
    const char *topology_key;
    struct str_list match_label_keys, mismatch_label_keys;
};

struct weighted_pod_term {
    int64_t weight;
    struct pod_term term;
};

struct affinity {
    bool has_node_required; /* requiredDuringScheduling... is present (its list may be empty) */
    struct node_term *node_required;
    size_t node_required_len;
    struct preferred_node_term *node_preferred;
    size_t node_preferred_len;
    struct pod_term *pod_required, *pod_anti_required;
    size_t pod_required_len, pod_anti_required_len;
    struct weighted_pod_term *pod_preferred, *pod_anti_preferred;
    size_t pod_preferred_len, pod_anti_preferred_len;
};

struct toleration {
    const char *key, *operator_, *value, *effect; /* operator_: NULL = Equal; Equal Exists Gt Lt */
    bool has_seconds;
    int64_t seconds;
};

struct taint {
    const char *key, *value, *effect; /* NoSchedule PreferNoSchedule NoExecute */
    int64_t time_added_us;
};

struct spread { /* TopologySpreadConstraint */
    int64_t max_skew;
    const char *topology_key, *when_unsatisfiable;
    struct label_selector *selector;
    bool has_min_domains;
    int64_t min_domains;
    const char *node_affinity_policy, *node_taints_policy; /* NULL = default */
    struct str_list match_label_keys;
};

struct resource {
    const char *name; /* cpu, memory, pods, hugepages-2Mi, devices.kubevirt.io/kvm, ... */
    struct quantity q;
};

struct resource_list {
    struct resource *items;
    size_t len;
};

struct condition {
    const char *type, *status, *reason, *message;
    int64_t probe_us, transition_us, heartbeat_us;
};

struct condition_list {
    struct condition *items;
    size_t len;
};

/* --- VirtualMachineInstance --- */
struct cpu_feature {
    const char *name, *policy; /* policy NULL = require */
};

struct vmi_disk {
    const char *name;
    const char *kind; /* disk, cdrom, lun, or "" */
    const char *bus;
    bool reservation; /* lun.reservation: SCSI persistent reservations */
};

struct vmi_interface {
    const char *name;
    const char *binding; /* masquerade bridge sriov macvtap passt slirp, or "" */
    const char *mac;
};

struct vmi_network {
    const char *name;
    bool pod;                /* pod: {} */
    const char *multus_name; /* multus.networkName */
};

struct vmi_volume {
    const char *name;
    const char *kind;  /* the source's field name: persistentVolumeClaim, containerDisk, ... */
    const char *claim; /* persistentVolumeClaim.claimName or dataVolume.name */
    bool shared;       /* hostDisk.shared */
};

struct vmi_device { /* gpus[] and hostDevices[] */
    const char *name, *device_name;
};

struct vmi_cpu {
    int64_t cores, sockets, threads; /* 0 = absent (1) */
    const char *model;
    struct cpu_feature *features;
    size_t features_len;
    bool dedicated_placement, isolate_emulator_thread, numa_passthrough, realtime;
};

struct vmi_domain {
    struct vmi_cpu cpu;
    struct quantity guest_memory; /* memory.guest */
    const char *hugepages_size;   /* memory.hugepages.pageSize */
    struct resource_list requests, limits;
    const char *machine_type;
    struct vmi_disk *disks;
    size_t disks_len;
    struct vmi_interface *interfaces;
    size_t interfaces_len;
    struct vmi_device *gpus, *host_devices;
    size_t gpus_len, host_devices_len;
    bool has_autoattach_graphics, autoattach_graphics; /* autoattachGraphicsDevice, default true */
    bool has_tpm, tpm_persistent;
    bool sev, tdx, secure_execution; /* launchSecurity; sev: any of SEV's kinds */
    bool sev_es, sev_snp;            /* which one: SEV-ES, SEV-SNP */
    bool hyperv_reenlightenment, hyperv_passthrough, hyperv_evmcs;
    bool hyperv_vpindex, hyperv_runtime, hyperv_synic, hyperv_synictimer, hyperv_reset;
    bool hyperv_tlbflush, hyperv_ipi, hyperv_frequencies;
};

struct vmi_spec {
    struct vmi_domain domain;
    struct kv_list node_selector;
    struct affinity affinity;
    struct toleration *tolerations;
    size_t tolerations_len;
    struct spread *spreads;
    size_t spreads_len;
    const char *scheduler_name, *priority_class, *eviction_strategy, *hostname;
    const char *architecture;
    struct vmi_network *networks;
    size_t networks_len;
    struct vmi_volume *volumes;
    size_t volumes_len;
    bool has_grace;
    int64_t grace_seconds; /* terminationGracePeriodSeconds */
};

struct migration_configuration { /* resolved options, as KubeVirt stores them in migrationState */
    bool has_bandwidth, has_completion_timeout, has_progress_timeout, has_max_downtime;
    bool has_auto_converge, has_post_copy, has_disruption;
    int64_t bandwidth_bytes_per_s;        /* bandwidthPerMigration; 0 = unlimited */
    int64_t completion_timeout_s_per_gib; /* completionTimeoutPerGiB */
    int64_t progress_timeout_s;
    int64_t max_downtime_ms;
    bool allow_auto_converge, allow_post_copy, allow_workload_disruption;
    bool has_parallel_cluster, has_parallel_node;
    int64_t parallel_per_cluster, parallel_outbound_per_node;
    const char *network; /* NULL: none */
    bool has_disable_tls, disable_tls;
};

struct migration_state { /* status.migrationState of a VMI and of a VMIM */
    bool present;
    const char *migration_uid, *source_node, *target_node, *target_node_address, *policy_name;
    const char *mode, *failure_reason, *abort_status;
    int64_t start_us, end_us;
    bool completed, failed, abort_requested, target_domain_detected;
    struct migration_configuration configuration;
};

struct vmi_status {
    const char *phase, *node_name, *reason, *evacuation_node, *migration_method;
    int64_t start_us; /* when it got its node: the time of its phase Scheduled */
    struct condition_list conditions;
    struct migration_state migration;
    int64_t tsc_frequency_hz; /* topologyHints.tscFrequency, 0 = none */
};

struct vmi {
    struct meta meta;
    struct vmi_spec spec;
    struct vmi_status status;
};

struct vm {
    struct meta meta;
    const char *run_strategy; /* always filled in: from runStrategy or running; default Halted */
    struct kv_list template_labels, template_annotations;
    struct vmi_spec spec; /* template.spec, merged with the documents' places (seeds P14) */
    const char *printable_status;
    bool created, ready;
};

struct vmim {
    struct meta meta;
    const char *vmi_name;
    struct kv_list added_node_selector;
    const char *phase; /* "" when unset */
    struct condition_list conditions;
    struct migration_state state;
};

/* --- cluster objects --- */
struct node_placement {
    struct kv_list node_selector;
    struct affinity affinity;
    struct toleration *tolerations;
    size_t tolerations_len;
};

struct hco {
    struct meta meta;
    struct migration_configuration live_migration;
    const char *eviction_strategy, *default_cpu_model;
    struct str_list obsolete_cpu_models;
    const char *min_cpu_model;
    bool has_cpu_ratio;
    int64_t cpu_allocation_ratio; /* resourceRequirements.vmiCPUAllocationRatio */
    bool align_cpus;              /* featureGates.alignCPUs */
    struct node_placement workloads;
    struct str_list workload_update_methods;
    bool has_workload_update_methods;
};

struct kubevirt { /* KubeVirt CR: configuration.migrations, an alias of the HCO's settings */
    struct meta meta;
    struct migration_configuration migrations;
    const char *eviction_strategy, *default_cpu_model;
};

struct migration_policy {
    struct meta meta;
    bool has_selectors;
    struct kv_list namespace_selector, vmi_selector;
    struct migration_configuration options; /* only the fields that a policy may set */
};

struct nad {
    struct meta meta;
    const char *config; /* the CNI configuration as JSON text (a YAML map is turned into JSON) */
};

struct maintenance {
    struct meta meta;
    const char *node_name, *reason;
    const char *phase; /* Running Succeeded Failed, "" when unset */
};

struct node_address {
    const char *type, *address;
};

struct node {
    struct meta meta;
    bool unschedulable;
    struct taint *taints;
    size_t taints_len;
    struct resource_list capacity, allocatable;
    struct condition_list conditions;
    struct node_address *addresses;
    size_t addresses_len;
};

struct namespace_ {
    struct meta meta;
};

struct pvc {
    struct meta meta;
    struct str_list access_modes;
    const char *volume_mode, *volume_name, *storage_class;
    struct quantity request; /* resources.requests.storage */
    const char *phase;       /* status.phase: Pending Bound Lost */
};

struct pod_container {
    struct resource_list requests;
    const char *restart_policy; /* Always: an init container that stays, a sidecar */
};

struct pod {
    struct meta meta;
    const char *node_name, *scheduler_name, *priority_class, *phase, *preemption_policy;
    const char *nominated_node; /* status.nominatedNodeName */
    bool has_priority;
    int64_t priority;
    int64_t start_us; /* status.startTime */
    struct condition_list conditions;
    struct kv_list node_selector;
    struct affinity affinity;
    struct toleration *tolerations;
    size_t tolerations_len;
    struct spread *spreads;
    size_t spreads_len;
    struct pod_container *containers, *init_containers;
    size_t containers_len, init_containers_len;
    struct resource_list overhead;
    struct str_list gates;
};

struct priority_class {
    struct meta meta;
    int64_t value;
    bool global_default;
    const char *preemption_policy; /* NULL = PreemptLowerPriority */
};

struct pdb {
    struct meta meta;
    struct label_selector *selector; /* NULL: matches nothing */
    int64_t disruptions_allowed;     /* status.disruptionsAllowed */
    struct kv_list disrupted;        /* status.disruptedPods: names, and since when */
};

struct pv {
    struct meta meta;
    const char *storage_class, *claim_namespace, *claim_name; /* spec.claimRef */
    struct str_list access_modes;
    const char *volume_mode;
    struct quantity capacity; /* capacity.storage */
    bool has_node_required;   /* spec.nodeAffinity.required */
    struct node_term *node_required;
    size_t node_required_len;
};

struct storage_class {
    struct meta meta;
    const char *volume_binding_mode; /* NULL = Immediate */
    const char *provisioner;         /* kubernetes.io/no-provisioner: volumes are made by hand */
    struct node_term *allowed_topologies;
    size_t allowed_topologies_len;
};

/* --- KubeSchedulerConfiguration --- */
struct sched_config_plugin {
    const char *name;
    int64_t weight; /* 0: absent, which is 1 */
};

struct sched_config_plugins { /* of one extension point */
    struct sched_config_plugin *enabled, *disabled;
    size_t enabled_len, disabled_len;
};

struct sched_config_resource {
    const char *name;
    int64_t weight; /* 0: absent, which is 1 */
};

struct sched_config_point {
    int64_t utilization, score;
};

struct sched_config_args { /* of one plugin; which fields count follows from name */
    const char *name;
    const char *strategy; /* LeastAllocated MostAllocated RequestedToCapacityRatio, or NULL */
    struct sched_config_resource *resources; /* of the strategy; of BalancedAllocation */
    size_t resources_len;
    struct sched_config_point *shape;
    size_t shape_len;
    struct str_list ignored_resources, ignored_groups;
    bool has_hard_weight, ignore_preferred;
    int64_t hard_weight;
    struct spread *default_constraints;
    size_t default_constraints_len;
    const char *defaulting_type;
    struct affinity added_affinity; /* only its node part */
};

struct sched_config_profile {
    const char *scheduler_name;
    struct sched_config_plugins multi_point, score;
    struct sched_config_args *args;
    size_t args_len;
};

struct sched_config {
    struct sched_config_profile *profiles;
    size_t profiles_len;
};

#endif
