/* Whether a VM can be live-migrated, and what a drain does with it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "sched/evict.h"
#include "tests/sched/world.h"

#define POD_NET      "networks: [{name: default, pod: {}}]"
#define NIC(binding) "interfaces: [{name: default, " binding "}]"
#define PVC(name, modes)                                                                        \
    "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: " name ", namespace: " \
    "default}, spec: {accessModes: [" modes "]}}\n"
#define CLAIM(name) "volumes: [{name: root, persistentVolumeClaim: {claimName: " name "}}]"
#define MUST \
    "live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"

static const struct {
    const char *name;
    const char *spec, *devices, *domain;   /* the VMI's */
    const char *node;                      /* labels of its node; NULL: not in the input */
    const char *more;                      /* claims */
    const char *reason, *message, *method; /* reason "": migratable */
    const char *storage;                   /* condition StorageLiveMigratable's message */
    bool bridge_allowed, stopped;
} rows[] = {
    {.name = "nothing in the way", .node = ""},
    {.name = "masquerade", .spec = POD_NET, .devices = NIC("masquerade: {}"), .node = ""},
    {.name = "bridge on the pod network",
     .spec = POD_NET,
     .devices = NIC("bridge: {}"),
     .node = "",
     .reason = "InterfaceNotLiveMigratable",
     .message = "cannot migrate VMI which does not use masquerade to connect to the pod network"},
    {.name = "bridge on the pod network, allowed by annotation",
     .spec = POD_NET,
     .devices = NIC("bridge: {}"),
     .node = "",
     .bridge_allowed = true},
    {.name = "SR-IOV on the pod network",
     .spec = POD_NET,
     .devices = NIC("sriov: {}"),
     .node = "",
     .reason = "InterfaceNotLiveMigratable"},
    {.name = "no binding on the pod network",
     .spec = POD_NET,
     .devices = "interfaces: [{name: default}]",
     .node = "",
     .reason = "InterfaceNotLiveMigratable"},
    {.name = "bridge on another network",
     .spec = "networks: [{name: default, multus: {networkName: net}}]",
     .devices = NIC("bridge: {}"),
     .node = ""},
    {.name = "masquerade and a bridge elsewhere",
     .spec = "networks: [{name: default, pod: {}}, {name: two, multus: {networkName: net}}]",
     .devices = "interfaces: [{name: two, bridge: {}}, {name: default, masquerade: {}}]",
     .node = ""},
    {.name = "a pod network that no interface uses", .spec = POD_NET, .node = ""},

    {.name = "host-model, known on the node",
     .domain = "cpu: {model: host-model}",
     .node = "host-model-cpu.node.kubevirt.io/Haswell: 'true'"},
    {.name = "host-model, not known on the node",
     .domain = "cpu: {model: host-model}",
     .node = "",
     .reason = "CPUModeLiveMigratable",
     .message = "the node \"n1\" does not allow migration with host-model"},
    {.name = "host-model, and the node is not in the input",
     .domain = "cpu: {model: host-model}",
     .reason = "CPUModeLiveMigratable"},
    {.name = "host-model, stopped", .domain = "cpu: {model: host-model}", .stopped = true},
    {.name = "host-model by default on a node without labeller", .node = ""},
    {.name = "host-model by default on a node whose labeller found none",
     .node = "cpu-model.node.kubevirt.io/Penryn: 'true'",
     .reason = "CPUModeLiveMigratable"},
    {.name = "a named model",
     .domain = "cpu: {model: Haswell}",
     .node = "cpu-model.node.kubevirt.io/Penryn: 'true'"},

    {.name = "a host device",
     .devices = "hostDevices: [{name: a, deviceName: b}]",
     .node = "",
     .reason = "HostDeviceNotLiveMigratable",
     .message = "VMI uses a PCI host devices"},
    {.name = "a GPU",
     .devices = "gpus: [{name: a, deviceName: b}]",
     .node = "",
     .reason = "HostDeviceNotLiveMigratable"},
    {.name = "SEV",
     .domain = "launchSecurity: {sev: {}}",
     .node = "",
     .reason = "SEVNotLiveMigratable",
     .message = "VMI uses SEV"},
    {.name = "TDX",
     .domain = "launchSecurity: {tdx: {}}",
     .node = "",
     .reason = "TDXNotLiveMigratable",
     .message = "VMI uses TDX"},
    {.name = "Secure Execution",
     .spec = "architecture: s390x",
     .domain = "launchSecurity: {}",
     .node = "",
     .reason = "SecureExecutionNotLiveMigratable",
     .message = "VMI uses Secure Execution"},
    {.name = "a LUN with persistent reservations",
     .spec = CLAIM("disk"),
     .devices = "disks: [{name: root, lun: {bus: scsi, reservation: true}}]",
     .more = PVC("disk", "ReadWriteMany"),
     .node = "",
     .reason = "PersistentReservationNotLiveMigratable",
     .message = "VMI uses SCSI persistent reservation"},
    {.name = "a LUN without them",
     .spec = CLAIM("disk"),
     .devices = "disks: [{name: root, lun: {bus: scsi, reservation: false}}]",
     .more = PVC("disk", "ReadWriteMany"),
     .node = ""},
    {.name = "re-enlightenment without a TSC frequency",
     .domain = "features: {hyperv: {reenlightenment: {enabled: true}}}",
     .node = "",
     .reason = "NoTSCFrequencyNotLiveMigratable",
     .message = "HyperV Reenlightenment VMIs cannot migrate when TSC Frequency is not exposed on "
                "the cluster: guest timers might be inconsistent"},
    {.name = "re-enlightenment with one",
     .domain = "features: {hyperv: {reenlightenment: {enabled: true}}}",
     .node = "cpu-timer.node.kubevirt.io/tsc-frequency: '2100000000'"},
    {.name = "re-enlightenment turned off",
     .domain = "features: {hyperv: {reenlightenment: {enabled: false}}}",
     .node = ""},
    {.name = "Hyper-V passthrough",
     .domain = "features: {hypervPassthrough: {enabled: true}}",
     .node = "",
     .reason = "HypervPassthroughNotLiveMigratable",
     .message = "VMI uses hyperv passthrough"},

    {.name = "a shared claim",
     .spec = CLAIM("disk"),
     .more = PVC("disk", "ReadWriteMany"),
     .node = ""},
    {.name = "a claim with both modes",
     .spec = CLAIM("disk"),
     .more = PVC("disk", "ReadWriteOnce, ReadWriteMany"),
     .node = ""},
    {.name = "a claim that is not shared",
     .spec = CLAIM("disk"),
     .more = PVC("disk", "ReadWriteOnce"),
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .message = "cannot migrate VMI: PVC disk is not shared, " MUST,
     .method = "BlockMigration"},
    {.name = "a claim that is not known",
     .spec = CLAIM("disk"),
     .more = PVC("other", "ReadWriteMany"),
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .message = "cannot migrate VMI: Unable to determine if PVC disk is shared, " MUST,
     .method = "BlockMigration"},
    {.name = "a claim of that name in another namespace",
     .spec = CLAIM("disk"),
     .more = "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: disk, namespace: "
             "other}, spec: {accessModes: [ReadWriteMany]}}\n",
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .method = "BlockMigration"},
    {.name = "a data volume",
     .spec = "volumes: [{name: root, dataVolume: {name: disk}}]",
     .more = PVC("disk", "ReadWriteMany"),
     .node = ""},
    {.name = "the second of two is not shared",
     .spec = "volumes: [{name: a, persistentVolumeClaim: {claimName: one}}, {name: b, dataVolume: "
             "{name: two}}]",
     .more = PVC("one", "ReadWriteMany") PVC("two", "ReadWriteOnce"),
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .message = "cannot migrate VMI: PVC two is not shared, " MUST,
     .method = "BlockMigration"},
    {.name = "a host disk",
     .spec = "volumes: [{name: a, hostDisk: {path: /d, type: Disk}}]",
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .message = "cannot migrate VMI with non-shared HostDisk",
     .method = "BlockMigration"},
    {.name = "a shared host disk",
     .spec = "volumes: [{name: a, hostDisk: {path: /d, type: Disk, shared: true}}]",
     .node = ""},
    {.name = "a container disk is copied",
     .spec = "volumes: [{name: a, containerDisk: {image: i}}]",
     .devices = "disks: [{name: a, disk: {bus: virtio}}]",
     .node = "",
     .method = "BlockMigration"},
    {.name = "a CD-ROM is not",
     .spec = "volumes: [{name: a, containerDisk: {image: i}}]",
     .devices = "disks: [{name: a, cdrom: {bus: sata}}]",
     .node = ""},

    {.name = "cloud-init is copied, as upstream counts it",
     .spec = "volumes: [{name: a, cloudInitNoCloud: {userData: x}}]",
     .devices = "disks: [{name: a, disk: {bus: virtio}}]",
     .node = "",
     .method = "BlockMigration"},
    {.name = "an ephemeral disk over a claim that is not shared",
     .spec = "volumes: [{name: a, ephemeral: {persistentVolumeClaim: {claimName: disk}}}]",
     .devices = "disks: [{name: a, disk: {bus: virtio}}]",
     .more = PVC("disk", "ReadWriteOnce"),
     .node = "",
     .method = "BlockMigration"},
    {.name = "an empty disk and a shared claim",
     .spec = "volumes: [{name: a, emptyDisk: {capacity: 1Gi}}, {name: b, persistentVolumeClaim: "
             "{claimName: disk}}]",
     .more = PVC("disk", "ReadWriteMany"),
     .node = "",
     .method = "BlockMigration"},
    {.name = "read-only on many hosts is not shared, upstream says",
     .spec = CLAIM("disk"),
     .more = PVC("disk", "ReadOnlyMany"),
     .node = "",
     .reason = "DisksNotLiveMigratable",
     .method = "BlockMigration"},
    {.name = "macvtap on another network",
     .spec = "networks: [{name: default, multus: {networkName: net}}]",
     .devices = NIC("macvtap: {}"),
     .node = ""},
    {.name = "dedicated CPUs, persistent TPM",
     .domain = "cpu: {cores: 2, dedicatedCpuPlacement: true}",
     .devices = "tpm: {persistent: true}",
     .node = ""},
    {.name = "of storage all reasons are told, but not that of disks",
     .spec = POD_NET ", " CLAIM("disk"),
     .devices = NIC("bridge: {}") ", gpus: [{name: a, deviceName: b}]",
     .domain = "launchSecurity: {sev: {}}",
     .node = "",
     .reason = "InterfaceNotLiveMigratable",
     .method = "BlockMigration",
     .storage = "InterfaceNotLiveMigratable: cannot migrate VMI which does not use masquerade to "
                "connect to the pod network, HostDeviceNotLiveMigratable: VMI uses a PCI host "
                "devices, SEVNotLiveMigratable: VMI uses SEV"},
    {.name = "interfaces come before disks",
     .spec = POD_NET ", " CLAIM("disk"),
     .devices = NIC("bridge: {}"),
     .node = "",
     .reason = "InterfaceNotLiveMigratable",
     .method = "BlockMigration"},
    {.name = "the host model comes before devices",
     .domain = "cpu: {model: host-model}",
     .devices = "gpus: [{name: a, deviceName: b}]",
     .node = "",
     .reason = "CPUModeLiveMigratable"},
    {.name = "devices come before SEV",
     .domain = "launchSecurity: {sev: {}}",
     .devices = "gpus: [{name: a, deviceName: b}]",
     .node = "",
     .reason = "HostDeviceNotLiveMigratable"},
    {.name = "TSC comes before Hyper-V passthrough",
     .domain =
         "features: {hyperv: {reenlightenment: {enabled: true}}, hypervPassthrough: {enabled: "
         "true}}",
     .node = "",
     .reason = "NoTSCFrequencyNotLiveMigratable"},
};

/* Objects of a YAML text that test worlds do not hold. */
struct input {
    struct arena *arena;
    struct tree *docs;
    const struct pvc *pvcs[4];
    size_t pvcs_len;
    const struct vmi *vmi;
    const struct node *node;
};

static void
input_read(struct input *in, const char *yaml)
{
    struct err err = {0};

    *in = (struct input){.arena = arena_new()};
    if (tree_from_yaml("test", yaml, strlen(yaml), &in->docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    for (size_t i = 0; i < tree_len(in->docs); i++) {
        const struct tree *t = tree_at(in->docs, i);

        switch (object_kind(t)->kind) {
        case KIND_PVC:
            in->pvcs[in->pvcs_len++] = pvc_decode(t, in->arena);
            break;
        case KIND_NODE:
            in->node = node_decode(t, in->arena);
            break;
        default:
            in->vmi = vmi_decode(t, in->arena);
        }
    }
}

static void
input_done(struct input *in)
{
    tree_free(in->docs);
    arena_free(in->arena);
}

static const char *
or_empty(const char *s)
{
    return s ? s : "";
}

static void
test_migratable(void **state)
{
    AUTO_SB struct sb wrong = SB_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_SB struct sb yaml = SB_INIT;
        struct migratable_facts facts = {0};
        struct input in;
        struct migratable m;

        sb_printf(
            &yaml,
            "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, "
            "namespace: default, annotations: {%s}}, spec: {domain: {devices: {%s}, %s}, %s}, "
            "status: {phase: Running, %s}}\n",
            rows[i].bridge_allowed ? "kubevirt.io/allow-pod-bridge-network-live-migration: ''" : "",
            or_empty(rows[i].devices), or_empty(rows[i].domain), or_empty(rows[i].spec),
            rows[i].stopped ? "" : "nodeName: n1");
        if (rows[i].node)
            sb_printf(&yaml,
                      "---\n{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {%s}}}\n",
                      rows[i].node);
        sb_puts(&yaml, or_empty(rows[i].more));
        input_read(&in, sb_str(&yaml));
        facts.node = in.node;
        facts.node_missing = !in.node;
        facts.pvcs = in.pvcs;
        facts.pvcs_len = in.pvcs_len;
        m = vmi_migratable_with(in.vmi, &facts, in.arena);
        if (strcmp(m.reason, or_empty(rows[i].reason)) != 0 || m.ok != (rows[i].reason == NULL) ||
            (rows[i].message && strcmp(m.message, rows[i].message) != 0) || (m.ok && *m.message) ||
            (!m.ok && !*m.message) ||
            (rows[i].storage && strcmp(m.storage, rows[i].storage) != 0) ||
            (!*m.storage) != (m.ok || strcmp(m.reason, "DisksNotLiveMigratable") == 0) ||
            strcmp(m.method, rows[i].method ? rows[i].method : "LiveMigration") != 0)
            sb_printf(&wrong, "%s: %s (%s), %s\n", rows[i].name, m.reason, m.message, m.method);
        input_done(&in);
    }
    assert_string_equal(sb_str(&wrong), "");
}

/* Without a view of the nodes the host model is left out of account. */
static void
test_claims_only(void **state)
{
    struct input in;
    struct migratable m;

    (void)state;
    input_read(&in,
               "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm, "
               "namespace: default}, spec: {domain: {devices: {}, cpu: {model: host-model}}}, "
               "status: {nodeName: n1}}\n");
    m = vmi_migratable(in.vmi, NULL, 0, in.arena);
    assert_true(m.ok);
    input_done(&in);
}

/* The documents' table of eviction strategies, and KubeVirt's column for External. */
static void
test_evict(void **state)
{
    static const struct {
        const char *vm, *cluster;
        size_t nodes;
        bool migratable, migrating;
        const char *action, *strategy;
    } cases[] = {
        {"LiveMigrate", NULL, 3, true, false, "migrate", "LiveMigrate"},
        {"LiveMigrate", NULL, 3, false, false, "block", "LiveMigrate"},
        {"LiveMigrateIfPossible", NULL, 3, true, false, "migrate", "LiveMigrateIfPossible"},
        {"LiveMigrateIfPossible", NULL, 3, false, false, "shutdown", "LiveMigrateIfPossible"},
        {"None", NULL, 3, true, false, "shutdown", "None"},
        {"None", NULL, 3, false, false, "shutdown", "None"},
        {"External", NULL, 3, true, false, "external", "External"},
        {"External", NULL, 3, false, false, "external", "External"},
        /* unset: the cluster's, then the default by the number of nodes */
        {NULL, NULL, 3, true, false, "migrate", "LiveMigrate"},
        {NULL, NULL, 3, false, false, "block", "LiveMigrate"},
        {NULL, NULL, 2, true, false, "migrate", "LiveMigrate"},
        {NULL, NULL, 1, true, false, "shutdown", "None"},
        {NULL, NULL, 1, false, false, "shutdown", "None"},
        {NULL, NULL, 0, true, false, "migrate", "LiveMigrate"},
        {"", "", 3, true, false, "migrate", "LiveMigrate"},
        {NULL, "None", 3, true, false, "shutdown", "None"},
        {NULL, "LiveMigrateIfPossible", 3, false, false, "shutdown", "LiveMigrateIfPossible"},
        {NULL, "External", 3, true, false, "external", "External"},
        {NULL, "LiveMigrate", 1, true, false, "migrate", "LiveMigrate"},
        /* the VM's wins */
        {"None", "LiveMigrate", 3, true, false, "shutdown", "None"},
        {"LiveMigrate", "None", 3, true, false, "migrate", "LiveMigrate"},
        {"LiveMigrate", "External", 1, false, false, "block", "LiveMigrate"},
        /* under way */
        {"LiveMigrate", NULL, 3, true, true, "migrating", "LiveMigrate"},
        {"LiveMigrate", NULL, 3, false, true, "migrating", "LiveMigrate"},
        {"None", NULL, 3, true, true, "migrating", "None"},
        {"External", NULL, 3, true, true, "migrating", "External"},
        {NULL, NULL, 1, true, true, "migrating", "None"},
    };
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct vmi v = {.spec.eviction_strategy = cases[i].vm};
        struct migratable m = {
            .ok = cases[i].migratable, .reason = "SEVNotLiveMigratable", .message = "VMI uses SEV"};
        struct evict_decision d =
            evict_decide(&v, &m, cases[i].cluster, cases[i].nodes, cases[i].migrating, a);

        if (strcmp(evict_action_name(d.action), cases[i].action) != 0 ||
            strcmp(d.strategy, cases[i].strategy) != 0 || !*d.reason)
            fail_msg("row %zu: %s, %s, %s", i, evict_action_name(d.action), d.strategy, d.reason);
        if (d.action == EVICT_BLOCK)
            assert_non_null(strstr(d.reason, "SEVNotLiveMigratable: VMI uses SEV"));
    }
    arena_free(a);
}

static void
test_applies(void **state)
{
    (void)state;
    assert_true(evict_applies(&(struct vmi){.status.phase = "Running"}));
    assert_true(evict_applies(&(struct vmi){.status.phase = "Scheduled"}));
    assert_true(evict_applies(&(struct vmi){0}));
    assert_false(evict_applies(&(struct vmi){.status.phase = "Succeeded"}));
    assert_false(evict_applies(&(struct vmi){.status.phase = "Failed"}));
    assert_false(evict_applies(&(struct vmi){.status.phase = "Running", .meta.deletion_us = 1}));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migratable),
        cmocka_unit_test(test_claims_only),
        cmocka_unit_test(test_evict),
        cmocka_unit_test(test_applies),
    };

    return cmocka_run_group_tests_name("evict", tests, NULL, NULL);
}
