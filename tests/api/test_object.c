/* Objects as a whole: kinds by their names, typed decoding, updates, conditions, the VMI of a VM. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "base/rng.h"
#include "tests/api/random_tree.h"
#include "tests/api/rows.h"

/* --- kinds --- */

static const struct word_row {
    const char *name;
    enum kind kind;
} word_rows[] = {
    {"vm", KIND_VM},
    {"vms", KIND_VM},
    {"VMs", KIND_VM},
    {"virtualmachine", KIND_VM},
    {"VirtualMachines", KIND_VM},
    {"virtualmachines.kubevirt.io", KIND_VM},
    {"vm.kubevirt.io", KIND_VM},
    {"virtualmachines.v1.kubevirt.io", KIND_VM},
    {"virtualmachines.v1alpha3.kubevirt.io", KIND_VM},
    {"vmi", KIND_VMI},
    {"vmis", KIND_VMI},
    {"vmim", KIND_VMIM},
    {"VirtualMachineInstanceMigration", KIND_VMIM},
    {"vmims", KIND_VMIM},
    {"kubevirt", KIND_KUBEVIRT},
    {"kv", KIND_KUBEVIRT},
    {"migrationpolicy", KIND_POLICY},
    {"migrationpolicies.migrations.kubevirt.io", KIND_POLICY},
    {"hco", KIND_HCO},
    {"hyperconverged", KIND_HCO},
    {"net-attach-def", KIND_NAD},
    {"network-attachment-definition", KIND_NAD},
    {"network-attachment-definitions", KIND_NAD},
    {"NetworkAttachmentDefinition", KIND_NAD},
    {"configmap", KIND_CONFIGMAP},
    {"nncp", KIND_NNCP},
    {"nm", KIND_MAINTENANCE},
    {"nodemaintenances.nodemaintenance.medik8s.io", KIND_MAINTENANCE},
    {"kubedescheduler", KIND_DESCHEDULER},
    {"no", KIND_NODE},
    {"node", KIND_NODE},
    {"NODES", KIND_NODE},
    {"nodes.v1", KIND_NODE},
    {"ns", KIND_NAMESPACE},
    {"pvc", KIND_PVC},
    {"ev", KIND_EVENT},
    {"pv", KIND_PV},
    {"sc", KIND_STORAGE_CLASS},
    {"po", KIND_POD},
    {"pc", KIND_PRIORITY},
    {"priorityclasses.scheduling.k8s.io", KIND_PRIORITY},
    {"pdb", KIND_PDB},
    {"", KIND_NONE},
    {"v", KIND_NONE},
    {"vmx", KIND_NONE},
    {"svc", KIND_NONE},
    {"secret", KIND_NONE},
    {"vm.", KIND_NONE},
    {".vm", KIND_NONE},
    {"vm.example.io", KIND_NONE},
    {"vm.kubevirt", KIND_NONE},
    {"virtualmachines.v2.kubevirt.io", KIND_NONE},
    {"virtualmachines.migrations.kubevirt.io", KIND_NONE},
    {"nodes.kubevirt.io", KIND_NONE},
    {"nodes.v2", KIND_NONE},
    {"virtual machine", KIND_NONE},
};

static void
test_word(void **state)
{
    const struct word_row *row = *state;
    const struct kind_info *k = kind_by_word(row->name);

    assert_int_equal(k ? k->kind : KIND_NONE, row->kind);
}

static void
test_kinds(void **state)
{
    (void)state;
    for (enum kind k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const struct kind_info *i = kind_info(k);
        AUTO_FREE char *version = xasprintf("%s%s%s", i->group, *i->group ? "/" : "", i->version);

        assert_int_equal(i->kind, k);
        assert_ptr_equal(kind_by_gvk(version, i->name), i);
        assert_ptr_equal(kind_by_resource(i->group, i->version, i->plural), i->unserved ? NULL : i);
        assert_ptr_equal(kind_by_word(i->plural), i);
    }
    assert_null(kind_info(KIND_NONE));
    assert_null(kind_info(KIND_COUNT));
    assert_null(kind_by_gvk("kubevirt.io", "VirtualMachine"));
    assert_null(kind_by_gvk("kubevirt.io/v1/x", "VirtualMachine"));
    assert_null(kind_by_gvk("/v1", "VirtualMachine"));
    assert_non_null(kind_by_gvk("kubevirt.io/v1alpha3", "VirtualMachine"));
    assert_null(kind_by_resource("kubevirt.io", "v1", "VirtualMachines"));
    assert_null(kind_by_resource("", "v1", "virtualmachines"));
    assert_false(kind_info(KIND_POD)->stored);
    assert_false(kind_info(KIND_NODE)->namespaced);
}

/* --- decoding --- */

static const char vm_text[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachine\n"
    "metadata:\n"
    "  name: vm1\n"
    "  namespace: prod\n"
    "  uid: u-1\n"
    "  labels: {app: db}\n"
    "  annotations: {a: b}\n"
    "  finalizers: [x/y]\n"
    "  creationTimestamp: 2026-11-21T13:04:05Z\n"
    "spec:\n"
    "  runStrategy: RerunOnFailure\n"
    "  template:\n"
    "    metadata:\n"
    "      labels: {size: big}\n"
    "      annotations: {drover.io/workload: mix}\n"
    "    spec:\n"
    "      nodeSelector: {zone: a}\n"
    "      schedulerName: drover-scheduler\n"
    "      evictionStrategy: LiveMigrate\n"
    "      terminationGracePeriodSeconds: 0\n"
    "      tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]\n"
    "      affinity:\n"
    "        nodeAffinity:\n"
    "          requiredDuringSchedulingIgnoredDuringExecution:\n"
    "            nodeSelectorTerms:\n"
    "            - matchExpressions: [{key: cpus, operator: Gt, values: [8]}]\n"
    "              matchFields: [{key: metadata.name, operator: NotIn, values: [n9]}]\n"
    "          preferredDuringSchedulingIgnoredDuringExecution:\n"
    "          - {weight: 7, preference: {matchExpressions: [{key: ssd, operator: Exists}]}}\n"
    "        podAntiAffinity:\n"
    "          requiredDuringSchedulingIgnoredDuringExecution:\n"
    "          - {labelSelector: {matchLabels: {app: db}}, topologyKey: kubernetes.io/hostname,\n"
    "             namespaces: [prod], namespaceSelector: {}}\n"
    "      domain:\n"
    "        cpu: {sockets: 1, cores: 2, threads: 2, model: Haswell, dedicatedCpuPlacement: true,\n"
    "              features: [{name: aes}, {name: vmx, policy: forbid}]}\n"
    "        memory: {guest: 4Gi, hugepages: {pageSize: 1Gi}}\n"
    "        resources: {requests: {cpu: 4}, limits: {memory: 5Gi, cpu: 4}}\n"
    "        machine: {type: q35}\n"
    "        features: {hyperv: {reenlightenment: {}, evmcs: {enabled: false}}}\n"
    "        launchSecurity: {sev: {}}\n"
    "        devices:\n"
    "          autoattachGraphicsDevice: false\n"
    "          tpm: {persistent: true}\n"
    "          gpus: [{name: g, deviceName: nvidia.com/T4}]\n"
    "          disks: [{name: root, disk: {bus: virtio}}, {name: cd, cdrom: {}}, {name: bare}]\n"
    "          interfaces: [{name: a, masquerade: {}}, {name: b, sriov: {}, macAddress:\n"
    "            'de:ad:00:00:be:af'}]\n"
    "      networks: [{name: a, pod: {}}, {name: b, multus: {networkName: ns/nad}}]\n"
    "      volumes:\n"
    "      - {name: root, persistentVolumeClaim: {claimName: c1}}\n"
    "      - {name: cd, hostDisk: {path: /x, type: Disk, shared: true}}\n"
    "      - {name: bare, dataVolume: {name: dv}}\n"
    "status: {printableStatus: Running, created: true, ready: true}\n";

static void
test_decode_vm(void **state)
{
    AUTO_TREE struct tree *obj = object_one(vm_text);
    struct arena *a = arena_new();
    struct vm *vm = vm_decode(obj, a);
    struct vmi_spec *s = &vm->spec;
    struct affinity *aff = &s->affinity;
    struct vmi_domain *d = &s->domain;

    (void)state;
    tree_free(TAKE_PTR(obj)); /* nothing points into it */
    assert_string_equal(vm->meta.name, "vm1");
    assert_string_equal(vm->meta.namespace_, "prod");
    assert_string_equal(vm->meta.uid, "u-1");
    assert_string_equal(vm->meta.finalizers.items[0], "x/y");
    assert_int_equal(vm->meta.creation_us, 1795266245000000);
    assert_int_equal(vm->meta.deletion_us, 0);
    assert_string_equal(vm->meta.labels.items[0].value, "db");
    assert_string_equal(vm->run_strategy, "RerunOnFailure");
    assert_string_equal(vm->template_labels.items[0].key, "size");
    assert_string_equal(vm->template_annotations.items[0].value, "mix");
    assert_string_equal(vm->printable_status, "Running");
    assert_true(vm->created && vm->ready);

    assert_string_equal(s->node_selector.items[0].key, "zone");
    assert_string_equal(s->scheduler_name, "drover-scheduler");
    assert_string_equal(s->eviction_strategy, "LiveMigrate");
    assert_true(s->has_grace);
    assert_int_equal(s->grace_seconds, 0);
    assert_int_equal(s->tolerations_len, 1);
    assert_true(s->tolerations[0].has_seconds);
    assert_int_equal(s->tolerations[0].seconds, 30);
    assert_null(s->tolerations[0].value);

    assert_true(aff->has_node_required);
    assert_int_equal(aff->node_required_len, 1);
    assert_int_equal(aff->node_required[0].exprs[0].op, SEL_GT);
    assert_string_equal(aff->node_required[0].exprs[0].values.items[0], "8");
    assert_int_equal(aff->node_required[0].fields[0].op, SEL_NOT_IN);
    assert_int_equal(aff->node_preferred[0].weight, 7);
    assert_int_equal(aff->node_preferred[0].preference.exprs[0].op, SEL_EXISTS);
    assert_int_equal(aff->pod_required_len, 0);
    assert_int_equal(aff->pod_anti_required_len, 1);
    assert_string_equal(aff->pod_anti_required[0].topology_key, "kubernetes.io/hostname");
    assert_string_equal(aff->pod_anti_required[0].selector->match_labels.items[0].value, "db");
    assert_non_null(aff->pod_anti_required[0].namespace_selector);
    assert_string_equal(aff->pod_anti_required[0].namespaces.items[0], "prod");

    assert_int_equal(d->cpu.cores, 2);
    assert_string_equal(d->cpu.model, "Haswell");
    assert_true(d->cpu.dedicated_placement);
    assert_int_equal(d->cpu.features_len, 2);
    assert_null(d->cpu.features[0].policy);
    assert_string_equal(d->cpu.features[1].policy, "forbid");
    assert_true(d->guest_memory.set);
    assert_int_equal(d->guest_memory.units, 4ll << 30);
    assert_string_equal(d->hugepages_size, "1Gi");
    assert_int_equal(d->limits.len, 2);
    assert_int_equal(d->requests.len, 2); /* memory follows from its limit */
    assert_string_equal(d->requests.items[0].name, "cpu");
    assert_int_equal(d->requests.items[0].q.milli, 4000);
    assert_string_equal(d->requests.items[1].name, "memory");
    assert_int_equal(d->requests.items[1].q.units, 5ll << 30);
    assert_string_equal(d->machine_type, "q35");
    assert_true(d->hyperv_reenlightenment);
    assert_false(d->hyperv_evmcs);
    assert_true(d->sev);
    assert_false(d->tdx || d->secure_execution);
    assert_true(d->has_autoattach_graphics);
    assert_false(d->autoattach_graphics);
    assert_true(d->has_tpm && d->tpm_persistent);
    assert_string_equal(d->gpus[0].device_name, "nvidia.com/T4");
    assert_int_equal(d->disks_len, 3);
    assert_string_equal(d->disks[0].kind, "disk");
    assert_string_equal(d->disks[0].bus, "virtio");
    assert_string_equal(d->disks[1].kind, "cdrom");
    assert_string_equal(d->disks[2].kind, "");
    assert_string_equal(d->interfaces[0].binding, "masquerade");
    assert_string_equal(d->interfaces[1].binding, "sriov");
    assert_string_equal(d->interfaces[1].mac, "de:ad:00:00:be:af");
    assert_true(s->networks[0].pod);
    assert_string_equal(s->networks[1].multus_name, "ns/nad");
    assert_string_equal(s->volumes[0].kind, "persistentVolumeClaim");
    assert_string_equal(s->volumes[0].claim, "c1");
    assert_string_equal(s->volumes[1].kind, "hostDisk");
    assert_true(s->volumes[1].shared);
    assert_string_equal(s->volumes[2].claim, "dv");
    arena_free(a);
}

/* Storage, and how a StorageClass' topology becomes node terms. */
static void
test_decode_storage(void **state)
{
    struct arena *a = arena_new();
    AUTO_TREE struct tree *pv = object_one(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: pv1}\n"
        "spec: {capacity: {storage: 10Gi}, accessModes: [ReadWriteOnce], storageClassName: local,\n"
        "  volumeMode: Block, local: {path: /mnt/disk}, claimRef: {namespace: shop, name: db},\n"
        "  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: "
        "In,\n    values: [a]}]}]}}}\n");
    AUTO_TREE struct tree *pvc = object_one(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: db, namespace: shop}\n"
        "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 5Gi}}, volumeName: "
        "pv1}\nstatus: {phase: Bound}\n");
    AUTO_TREE struct tree *sc = object_one(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: local}\n"
        "provisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n"
        "allowedTopologies: [{matchLabelExpressions: [{key: zone, values: [a, b]}]}]\n");
    struct pv *v = pv_decode(pv, a);
    struct pvc *c = pvc_decode(pvc, a);
    struct storage_class *s = storage_class_decode(sc, a);

    (void)state;
    assert_int_equal(v->capacity.units, 10ll << 30);
    assert_string_equal(v->claim_name, "db");
    assert_string_equal(v->claim_namespace, "shop");
    assert_true(v->has_node_required);
    assert_string_equal(v->node_required[0].exprs[0].key, "zone");
    assert_int_equal(c->request.units, 5ll << 30);
    assert_string_equal(c->volume_name, "pv1");
    assert_string_equal(c->phase, "Bound");
    assert_string_equal(s->provisioner, "kubernetes.io/no-provisioner");
    assert_string_equal(s->volume_binding_mode, "WaitForFirstConsumer");
    assert_int_equal(s->allowed_topologies_len, 1);
    assert_int_equal(s->allowed_topologies[0].exprs[0].op, SEL_IN);
    assert_int_equal(s->allowed_topologies[0].exprs[0].values.len, 2);
    arena_free(a);
}

static void
test_decode_run_strategy(void **state)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"{}", "Halted"},
        {"{running: true}", "Always"},
        {"{running: false}", "Halted"},
        {"{runStrategy: Manual}", "Manual"},
        {"{running: 5}", "Halted"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *text = xasprintf("spec: %s", rows[i].spec);
        AUTO_TREE struct tree *obj = yaml_one(text);
        struct arena *a = arena_new();

        assert_string_equal(vm_decode(obj, a)->run_strategy, rows[i].want);
        arena_free(a);
    }
}

static void
test_decode_status(void **state)
{
    AUTO_TREE struct tree *obj = object_one(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: v}\n"
        "spec: {architecture: s390x, domain: {memory: {guest: 1Gi}, launchSecurity: {}}}\n"
        "status:\n  phase: Running\n  nodeName: n1\n  evacuationNodeName: n1\n"
        "  topologyHints: {tscFrequency: 2100000000}\n"
        "  conditions: [{type: Ready, status: 'True', lastTransitionTime: 1970-01-01T00:00:01Z}]\n"
        "  migrationState: {migrationUid: m, sourceNode: n1, targetNode: n2, targetNodeAddress:\n"
        "    '10.9.0.18:43891', failed: true, failureReason: r, targetNodeDomainDetected: true,\n"
        "    migrationPolicyName: p, startTimestamp: 1970-01-01T00:00:02Z, "
        "migrationConfiguration:\n"
        "    {bandwidthPerMigration: 64Mi, completionTimeoutPerGiB: 0, allowPostCopy: false,\n"
        "     maxDowntimeMs: 300, progressTimeout: 150, parallelMigrationsPerCluster: 5, "
        "disableTLS:\n"
        "     true}}\n");
    struct arena *a = arena_new();
    struct vmi *v = vmi_decode(obj, a);
    struct migration_state *m = &v->status.migration;
    struct migration_configuration *c = &m->configuration;

    (void)state;
    assert_true(v->spec.domain.secure_execution);
    assert_string_equal(v->spec.architecture, "s390x");
    assert_int_equal(v->status.tsc_frequency_hz, 2100000000);
    assert_string_equal(v->status.phase, "Running");
    assert_string_equal(v->status.evacuation_node, "n1");
    assert_int_equal(v->status.conditions.len, 1);
    assert_int_equal(v->status.conditions.items[0].transition_us, 1000000);
    assert_true(m->present && m->failed && m->target_domain_detected);
    assert_false(m->completed || m->abort_requested);
    assert_string_equal(m->target_node_address, "10.9.0.18:43891");
    assert_string_equal(m->policy_name, "p");
    assert_int_equal(m->start_us, 2000000);
    assert_int_equal(m->end_us, 0);
    assert_int_equal(c->bandwidth_bytes_per_s, 67108864);
    assert_true(c->has_completion_timeout);
    assert_int_equal(c->completion_timeout_s_per_gib, 0);
    assert_true(c->has_post_copy);
    assert_false(c->allow_post_copy || c->has_auto_converge || c->has_disruption);
    assert_int_equal(c->max_downtime_ms, 300);
    assert_int_equal(c->parallel_per_cluster, 5);
    assert_false(c->has_parallel_node);
    assert_true(c->has_disable_tls && c->disable_tls);
    arena_free(a);
}

static void
test_decode_cluster(void **state)
{
    struct arena *a = arena_new();
    AUTO_TREE struct tree *h = object_one(
        "apiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\nmetadata: {name: h}\n"
        "spec: {liveMigrationConfig: {bandwidthPerMigration: 0, network: mig}, defaultCPUModel: "
        "EPYC,\n"
        "  obsoleteCPUs: {cpuModels: [a, b], minCPUModel: Penryn}, resourceRequirements:\n"
        "  {vmiCPUAllocationRatio: 4}, workloads: {nodePlacement: {nodeSelector: {w: x}, "
        "tolerations:\n"
        "  [{operator: Exists}]}}, infra: {nodePlacement: {nodeSelector: {i: y}}},\n"
        "  workloadUpdateStrategy: {workloadUpdateMethods: []}}\n");
    struct hco *hco = hco_decode(h, a);

    (void)state;
    assert_true(hco->live_migration.has_bandwidth);
    assert_int_equal(hco->live_migration.bandwidth_bytes_per_s, 0);
    assert_false(hco->live_migration.has_progress_timeout);
    assert_string_equal(hco->live_migration.network, "mig");
    assert_string_equal(hco->default_cpu_model, "EPYC");
    assert_int_equal(hco->obsolete_cpu_models.len, 2);
    assert_string_equal(hco->min_cpu_model, "Penryn");
    assert_int_equal(hco->cpu_allocation_ratio, 4);
    assert_int_equal(hco->workloads.node_selector.len, 1); /* not the infra's */
    assert_string_equal(hco->workloads.node_selector.items[0].key, "w");
    assert_int_equal(hco->workloads.tolerations_len, 1);
    assert_true(hco->has_workload_update_methods);
    assert_int_equal(hco->workload_update_methods.len, 0);

    AUTO_TREE struct tree *k =
        yaml_one("spec: {configuration: {cpuModel: EPYC, migrations: {progressTimeout: 5}}}");

    assert_int_equal(kubevirt_decode(k, a)->migrations.progress_timeout_s, 5);
    AUTO_TREE struct tree *p =
        yaml_one("spec: {selectors: {namespaceSelector: {a: b}}, allowWorkloadDisruption: true}");
    struct migration_policy *policy = policy_decode(p, a);

    assert_true(policy->has_selectors);
    assert_int_equal(policy->namespace_selector.len, 1);
    assert_int_equal(policy->vmi_selector.len, 0);
    assert_true(policy->options.has_disruption && policy->options.allow_workload_disruption);
    AUTO_TREE struct tree *m = yaml_one("{spec: {nodeName: n1, reason: r}}");

    assert_string_equal(maintenance_decode(m, a)->node_name, "n1");
    assert_string_equal(maintenance_decode(m, a)->phase, "");
    AUTO_TREE struct tree *n = object_one(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {l: m}}\n"
        "spec: {unschedulable: true, taints: [{key: k, effect: NoSchedule}]}\n"
        "status: {allocatable: {cpu: 3500m, pods: 250, devices.kubevirt.io/kvm: 1k}, addresses:\n"
        "  [{type: InternalIP, address: 198.18.0.1}], conditions: [{type: Ready, status: 'True',\n"
        "  lastHeartbeatTime: 1970-01-01T00:00:01Z}]}\n");
    struct node *node = node_decode(n, a);

    assert_true(node->unschedulable);
    assert_string_equal(node->taints[0].key, "k");
    assert_null(node->taints[0].value);
    assert_int_equal(node->allocatable.len, 3);
    assert_int_equal(node->allocatable.items[2].q.units, 1000);
    assert_string_equal(node->addresses[0].address, "198.18.0.1");
    assert_int_equal(node->conditions.items[0].heartbeat_us, 1000000);
    AUTO_TREE struct tree *c =
        yaml_one("{spec: {accessModes: [ReadWriteMany], volumeMode: Block}}");

    assert_string_equal(pvc_decode(c, a)->access_modes.items[0], "ReadWriteMany");
    AUTO_TREE struct tree *o = yaml_one(
        "{metadata: {name: p}, spec: {priority: 0, schedulingGates: [{name: g}], containers: [\n"
        " {resources: {requests: {cpu: 100m}, limits: {cpu: 1, memory: 1Gi}}}, {}], overhead: "
        "{cpu: 1}},\n"
        " status: {phase: Running}}");
    struct pod *pod = pod_decode(o, a);

    assert_true(pod->has_priority);
    assert_int_equal(pod->gates.len, 1);
    assert_int_equal(pod->containers_len, 2);
    assert_int_equal(pod->containers[0].requests.len, 2);
    assert_int_equal(pod->containers[0].requests.items[0].q.milli, 100);
    assert_string_equal(pod->containers[0].requests.items[1].name, "memory");
    assert_int_equal(pod->containers[1].requests.len, 0);
    assert_string_equal(pod->phase, "Running");
    AUTO_TREE struct tree *d = yaml_one("{metadata: {name: n}, spec: {config: '{}'}}");

    assert_string_equal(nad_decode(d, a)->config, "{}");
    assert_string_equal(namespace_decode(d, a)->meta.name, "n");
    assert_string_equal(meta_decode(d, a)->name, "n");
    arena_free(a);
}

/* Whatever is thrown at the decoders, they give a struct and do not crash: random trees, and real
 * objects with random parts. */
static void
test_decode_anything(void **state)
{
    static const char *const spoiled[] = {
        "5",
        "a",
        "[]",
        "[[]]",
        "{}",
        "{metadata: [], spec: [], status: []}",
        "{spec: {template: {spec: {domain: {devices: {disks: {a: b}, interfaces: [5]}, cpu: "
        "[1]}}}}}",
        "{spec: {domain: {memory: {guest: [], hugepages: 5}, resources: {requests: [a]}}}}",
        "{spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        "{nodeSelectorTerms: {}}}}, tolerations: [a, [], {key: 5}]}}",
        "{spec: {containers: [5, {}, [], {resources: 5}], schedulingGates: [5, {}]}, status: "
        "{phase: 5}}",
        "{spec: {config: {a: b}, nodeName: 5, taints: {}}, status: {conditions: [5], capacity: "
        "[1]}}",
        "{status: {migrationState: {migrationConfiguration: {bandwidthPerMigration: x, "
        "maxDowntimeMs: "
        "a}, startTimestamp: 5}}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoiled) + 500; i++) {
        struct arena *a = arena_new();
        struct rng r;

        rng_seed(&r, i);
        AUTO_TREE struct tree *t = i < ARRAY_LEN(spoiled) ? yaml_one(spoiled[i])
                                   : i % 2                ? random_tree(&r, 6, true)
                                                          : object_one(vm_text);

        if (i >= ARRAY_LEN(spoiled) && i % 2 == 0) {
            struct tree *changed = random_change(&r, t, true);

            tree_free(t);
            t = changed;
        }
        vm_decode(t, a);
        vmi_decode(t, a);
        vmim_decode(t, a);
        hco_decode(t, a);
        kubevirt_decode(t, a);
        policy_decode(t, a);
        nad_decode(t, a);
        maintenance_decode(t, a);
        node_decode(t, a);
        namespace_decode(t, a);
        pvc_decode(t, a);
        pod_decode(t, a);
        meta_decode(t, a);
        arena_free(a);
    }
}

/* --- updates --- */

#define VMIM_SPEC(s)                                                                           \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m, " \
    "namespace: x, uid: u}, spec: " s "}"
#define NM(s)                                                                                   \
    "{apiVersion: nodemaintenance.medik8s.io/v1beta1, kind: NodeMaintenance, metadata: {name: " \
    "m}, "                                                                                      \
    "spec: " s "}"
#define PVC(s)                                                                                \
    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: " \
    "[ReadWriteOnce]" s "}}"

static const struct update_row {
    const char *name, *before, *after, *error;
} update_rows[] = {
    {"nothing", VMIM_SPEC("{vmiName: v}"), VMIM_SPEC("{vmiName: v}"), NULL},
    {"labels may change", "{kind: Node, apiVersion: v1, metadata: {name: n}}",
     "{kind: Node, apiVersion: v1, metadata: {name: n, labels: {a: b}}}", NULL},
    {"reason may change", NM("{nodeName: n, reason: a}"), NM("{nodeName: n, reason: b}"), NULL},
    {"a claim may grow", PVC(", resources: {requests: {storage: 1Gi}}"),
     PVC(", resources: {requests: {storage: 2Gi}}"), NULL},
    {"a claim gets its volume", PVC(""), PVC(", volumeName: v"), NULL},
    {"an uid may be left out", VMIM_SPEC("{vmiName: v}"),
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m, "
     "namespace: x}, spec: {vmiName: v}}",
     NULL},
    {"spec of a migration", VMIM_SPEC("{vmiName: v}"), VMIM_SPEC("{vmiName: w}"),
     "spec: Forbidden: update of Migration object's spec is restricted"},
    {"addition to a migration's spec", VMIM_SPEC("{vmiName: v}"),
     VMIM_SPEC("{vmiName: v, addedNodeSelector: {a: b}}"), "spec: Forbidden"},
    {"spec of an instance",
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: m}, spec: {a: "
     "1}}",
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: m}, spec: {a: "
     "2}}",
     "spec: Forbidden: update of VMI object is restricted"},
    {"node of a maintenance", NM("{nodeName: n}"), NM("{nodeName: m}"),
     "spec.nodeName: Forbidden: updating spec.NodeName isn't allowed"},
    {"node of a maintenance taken away", NM("{nodeName: n}"), NM("{}"), "spec.nodeName: Forbidden"},
    {"access mode of a claim", PVC(""), PVC(", volumeMode: Block"),
     "spec: Forbidden: spec is immutable after creation"},
    {"volume of a claim", PVC(", volumeName: v"), PVC(", volumeName: w"), "spec: Forbidden"},
    {"name", VMIM_SPEC("{vmiName: v}"),
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: o, "
     "namespace: x}, spec: {vmiName: v}}",
     "metadata.name: Forbidden: field is immutable"},
    {"namespace", VMIM_SPEC("{vmiName: v}"),
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m, "
     "namespace: y}, spec: {vmiName: v}}",
     "metadata.namespace: Forbidden"},
    {"uid", VMIM_SPEC("{vmiName: v}"),
     "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m, "
     "namespace: x, uid: other}, spec: {vmiName: v}}",
     "metadata.uid: Forbidden"},
};

static void
test_update(void **state)
{
    const struct update_row *row = *state;
    AUTO_TREE struct tree *before = yaml_one(row->before);
    AUTO_TREE struct tree *after = yaml_one(row->after);
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    int rc = object_validate_update(before, after, &errs);

    assert_int_equal(rc == 0, row->error == NULL);
    if (row->error) {
        AUTO_FREE char *got = xasprintf("%s: %s", errs.items[0].path, errs.items[0].message);

        assert_string_equal(errs.items[0].type, "FieldValueForbidden");
        if (!strstr(got, row->error))
            fail_msg("want %s, got %s", row->error, got);
    }
    arena_free(a);
}

/* --- the rest --- */

static void
test_conditions(void **state)
{
    AUTO_TREE struct tree *obj =
        yaml_one("metadata: {name: a, labels: {l: m}, annotations: {n: o}}");
    const struct tree *list;

    (void)state;
    assert_true(object_set_condition(obj, "Ready", "False", "R", "why", 1000000));
    assert_false(object_set_condition(obj, "Ready", "False", "R", "why", 5000000));
    list = tree_find(obj, "status", "conditions", NULL);
    assert_int_equal(tree_len(list), 1);
    assert_string_equal(tree_find_string(tree_at(list, 0), "", "lastTransitionTime", NULL),
                        "1970-01-01T00:00:01Z");
    /* another reason is a change, but no transition */
    assert_true(object_set_condition(obj, "Ready", "False", "S", "why", 6000000));
    assert_string_equal(tree_find_string(tree_at(list, 0), "", "lastTransitionTime", NULL),
                        "1970-01-01T00:00:01Z");
    assert_true(object_set_condition(obj, "Ready", "True", NULL, NULL, 7000000));
    assert_string_equal(tree_find_string(tree_at(list, 0), "", "lastTransitionTime", NULL),
                        "1970-01-01T00:00:07Z");
    assert_null(tree_get(tree_at(list, 0), "reason"));
    assert_true(object_set_condition(obj, "Other", "True", "R", "", 8000000));
    assert_int_equal(tree_len(tree_find(obj, "status", "conditions", NULL)), 2);
    assert_string_equal(object_label(obj, "l"), "m");
    assert_string_equal(object_annotation(obj, "n"), "o");
    assert_null(object_label(obj, "x"));
    assert_string_equal(object_uid(obj), "");
    assert_null(object_kind(obj));
}

static void
test_vmi_from_vm(void **state)
{
    AUTO_TREE struct tree *vm = object_one(vm_text);
    AUTO_TREE struct tree *vmi = vmi_from_vm(vm);
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    const struct tree *owner = tree_at(tree_find(vmi, "metadata", "ownerReferences", NULL), 0);

    (void)state;
    if (object_validate(vmi, VALIDATE_CREATE, &errs, NULL) != 0)
        fail_msg("%s: %s", errs.items[0].path, errs.items[0].message);
    assert_string_equal(object_name(vmi), "vm1");
    assert_string_equal(object_namespace(vmi), "prod");
    assert_string_equal(object_label(vmi, "size"), "big");
    assert_null(object_label(vmi, "app")); /* the VM's own labels stay with it */
    assert_string_equal(object_annotation(vmi, ANN_WORKLOAD), "mix");
    assert_string_equal(tree_find_string(owner, "", "uid", NULL), "u-1");
    assert_true(tree_get_bool(tree_get(owner, "controller"), false));
    assert_true(tree_equal(tree_get(vmi, "spec"), tree_find(vm, "spec", "template", "spec", NULL)));
    assert_null(tree_get(vmi, "status"));
    arena_free(a);
}

static void
test_defaults(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        const char *namespace_;
    } rows[] = {
        {"{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: a}, "
         "spec: {vmiName: v}}",
         VALIDATE_OFFLINE, "default"},
        {"{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: a}, "
         "spec: {vmiName: v}}",
         0, ""},
        {"{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: a, "
         "namespace: b}, spec: {vmiName: v}}",
         VALIDATE_OFFLINE, "b"},
        {"{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, metadata: {name: a}}",
         VALIDATE_OFFLINE, DEFAULT_HCO_NAMESPACE},
        {"{apiVersion: v1, kind: Node, metadata: {name: a}}", VALIDATE_OFFLINE, ""},
    };
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_TREE struct tree *obj = yaml_one(rows[i].text);

        assert_int_equal(object_validate(obj, VALIDATE_CREATE | rows[i].flags, &errs, NULL), 0);
        assert_string_equal(object_namespace(obj), rows[i].namespace_);
    }
    AUTO_TREE struct tree *ns =
        object_one("{apiVersion: v1, kind: Namespace, metadata: {name: n}}");

    assert_string_equal(object_label(ns, "kubernetes.io/metadata.name"), "n");
    arena_free(a);
}

static void
test_warnings_limit(void **state)
{
    struct arena *a = arena_new();
    struct warnings w = {.arena = a};

    (void)state;
    for (int i = 0; i < 1000; i++)
        warnings_add(&w, "x");
    assert_int_equal(w.list.len, 201);
    assert_string_equal(w.list.items[200], "and more warnings");
    warnings_add(NULL, "x");
    arena_free(a);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_kinds),           cmocka_unit_test(test_decode_vm),
        cmocka_unit_test(test_decode_storage),  cmocka_unit_test(test_decode_run_strategy),
        cmocka_unit_test(test_decode_status),   cmocka_unit_test(test_decode_cluster),
        cmocka_unit_test(test_decode_anything), cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_vmi_from_vm),     cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_warnings_limit),
    };

    return ROWS_RUN("kind by word", word_rows, test_word) +
           ROWS_RUN("update", update_rows, test_update) +
           cmocka_run_group_tests_name("object", others, NULL, NULL);
}
