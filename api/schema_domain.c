/* Field tables and rules of a VM's hardware: spec.domain of a VirtualMachineInstance. Names and rules follow
 * kubevirt.io/api/core/v1 and KubeVirt's admission webhooks; huge pages follow the 4.15 documents
 * (seeds-scheduling R16). */
#include "api/resource_rules.h"

#include <stdio.h>
#include <string.h>

#include "api/limits.h"

#define DEVICES_MAX 256  /* disks, interfaces: upstream's limit */
#define CPU_MAX     4096 /* cores, sockets or threads */

static void prepare_domain(struct check *c, struct tree *map);
static void check_domain(struct check *c, struct tree *map);
static void check_cpu(struct check *c, struct tree *map);
static void check_mac(struct check *c, struct tree *v);
static void check_one_variant(struct check *c, struct tree *map, const struct field *fields,
                              const char *what);
static void check_disk(struct check *c, struct tree *map);
static void check_interface(struct check *c, struct tree *map);

static const char *const feature_policies[] = {"force",  "require", "optional", "disable",
                                               "forbid", "",        NULL};
static const char *const disk_buses[] = {"virtio", "sata", "scsi", "usb", NULL};
static const char *const lun_buses[] = {"virtio", "sata", "scsi", NULL};
static const char *const cdrom_buses[] = {"sata", "scsi", NULL};
static const char *const nic_models[] = {"e1000", "e1000e",  "igb",    "ne2k_pci",
                                         "pcnet", "rtl8139", "virtio", NULL};
static const char *const nic_states[] = {"up", "down", "absent", "", NULL};

/* --- CPU and memory --- */

static const struct field cpu_feature_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct cpu_feature, name)},
    {.name = "policy",
     .type = F_STRING,
     .at = AT(struct cpu_feature, policy),
     .values = feature_policies},
    {0},
};

static const struct schema cpu_feature_schema = {.fields = cpu_feature_fields,
                                                 .size = sizeof(struct cpu_feature)};

static const struct field numa_fields[] = {
    {.name = "guestMappingPassthrough",
     .type = F_FEATURE,
     .at = AT(struct vmi_domain, cpu.numa_passthrough)},
    {0},
};

static const struct schema numa_schema = {.fields = numa_fields};

static const struct field realtime_fields[] = {{.name = "mask", .type = F_STRING}, {0}};
static const struct schema realtime_schema = {.fields = realtime_fields};

static const struct field cpu_fields[] = {
    {.name = "cores",
     .type = F_INT,
     .at = AT(struct vmi_domain, cpu.cores),
     .min = 1,
     .max = CPU_MAX},
    {.name = "sockets",
     .type = F_INT,
     .at = AT(struct vmi_domain, cpu.sockets),
     .min = 1,
     .max = CPU_MAX},
    {.name = "threads",
     .type = F_INT,
     .at = AT(struct vmi_domain, cpu.threads),
     .min = 1,
     .max = CPU_MAX},
    {.name = "model", .type = F_STRING, .at = AT(struct vmi_domain, cpu.model)},
    {.name = "features",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_domain, cpu.features),
     .second = AT(struct vmi_domain, cpu.features_len),
     .sub = &cpu_feature_schema,
     .max = 512},
    {.name = "dedicatedCpuPlacement",
     .type = F_BOOL,
     .at = AT(struct vmi_domain, cpu.dedicated_placement)},
    {.name = "isolateEmulatorThread",
     .type = F_BOOL,
     .at = AT(struct vmi_domain, cpu.isolate_emulator_thread)},
    {.name = "numa", .type = F_MAP, .at = FLAT, .sub = &numa_schema},
    {.name = "realtime",
     .type = F_FEATURE,
     .at = AT(struct vmi_domain, cpu.realtime),
     .sub = &realtime_schema},
    {0},
};

static const char *const cpu_kept[] = {"maxSockets", NULL};

static const struct schema cpu_schema = {
    .fields = cpu_fields, .kept = cpu_kept, .check = check_cpu};

static const struct field hugepages_fields[] = {
    {.name = "pageSize",
     .type = F_STRING,
     .flags = FIELD_REQUIRED,
     .at = AT(struct vmi_domain, hugepages_size),
     .values = resources_page_sizes},
    {0},
};

static const struct schema hugepages_schema = {.fields = hugepages_fields};

static const struct field memory_fields[] = {
    {.name = "guest",
     .type = F_QUANTITY,
     .at = AT(struct vmi_domain, guest_memory),
     .check = check_positive},
    {.name = "hugepages", .type = F_MAP, .at = FLAT, .sub = &hugepages_schema},
    {0},
};

static const char *const memory_kept[] = {"maxGuest", NULL};

static const struct schema memory_schema = {.fields = memory_fields, .kept = memory_kept};

static const struct field resources_fields[] = {
    {.name = "requests",
     .type = F_RESOURCES,
     .at = AT(struct vmi_domain, requests),
     .check = resources_amounts},
    {.name = "limits",
     .type = F_RESOURCES,
     .at = AT(struct vmi_domain, limits),
     .check = resources_amounts},
    {0},
};

static const char *const resources_kept[] = {"overcommitGuestOverhead", NULL};

static const struct schema resources_schema = {.fields = resources_fields, .kept = resources_kept};

/* --- devices --- */

static const struct field disk_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = disk_buses},
    {0},
};

static const struct field lun_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = lun_buses},
    {.name = "reservation", .type = F_BOOL, .at = AT(struct vmi_disk, reservation)},
    {0},
};

static const struct field cdrom_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = cdrom_buses},
    {0},
};

static const char *const disk_target_kept[] = {"readonly", "pciAddress", NULL};
static const char *const lun_target_kept[] = {"readonly", NULL};
static const char *const cdrom_target_kept[] = {"readonly", "tray", NULL};

static const struct schema disk_target_schema = {.fields = disk_target_fields,
                                                 .kept = disk_target_kept};
static const struct schema lun_target_schema = {.fields = lun_target_fields,
                                                .kept = lun_target_kept};
static const struct schema cdrom_target_schema = {.fields = cdrom_target_fields,
                                                  .kept = cdrom_target_kept};

static const struct field disk_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_disk, name)},
    {.name = "disk",
     .type = F_VARIANT,
     .at = AT(struct vmi_disk, kind),
     .sub = &disk_target_schema},
    {.name = "lun", .type = F_VARIANT, .at = AT(struct vmi_disk, kind), .sub = &lun_target_schema},
    {.name = "cdrom",
     .type = F_VARIANT,
     .at = AT(struct vmi_disk, kind),
     .sub = &cdrom_target_schema},
    {0},
};

static const char *const disk_kept[] = {
    "bootOrder", "serial",      "dedicatedIOThread",    "cache", "io", "tag", "blockSize",
    "shareable", "errorPolicy", "changedBlockTracking", NULL};

static const struct schema disk_schema = {
    .fields = disk_fields, .kept = disk_kept, .check = check_disk, .size = sizeof(struct vmi_disk)};

#define BINDING(n)                                                            \
    {                                                                         \
        .name = n, .type = F_VARIANT, .at = AT(struct vmi_interface, binding) \
    }

static const struct field interface_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_interface, name)},
    BINDING("bridge"),
    BINDING("slirp"),
    BINDING("masquerade"),
    BINDING("sriov"),
    BINDING("macvtap"),
    BINDING("passt"),
    BINDING("passtBinding"),
    BINDING("binding"),
    {.name = "macAddress",
     .type = F_STRING,
     .at = AT(struct vmi_interface, mac),
     .check = check_mac},
    {.name = "model", .type = F_STRING, .flags = FIELD_LATER, .values = nic_models},
    {.name = "state", .type = F_STRING, .flags = FIELD_LATER, .values = nic_states},
    {0},
};

static const char *const interface_kept[] = {"ports", "bootOrder", "pciAddress", "dhcpOptions",
                                             "tag",   "acpiIndex", NULL};

static const struct schema interface_schema = {.fields = interface_fields,
                                               .kept = interface_kept,
                                               .check = check_interface,
                                               .size = sizeof(struct vmi_interface)};

static const struct field device_fields[] = {
    {.name = "name",
     .type = F_STRING,
     .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
     .at = AT(struct vmi_device, name)},
    {.name = "deviceName", .type = F_STRING, .at = AT(struct vmi_device, device_name)},
    {0},
};

static const char *const device_kept[] = {"claimName", "requestName", "virtualGPUOptions", "tag",
                                          NULL};

static const struct schema device_schema = {
    .fields = device_fields, .kept = device_kept, .size = sizeof(struct vmi_device)};

static const struct field tpm_fields[] = {
    {.name = "enabled", .type = F_BOOL},
    {.name = "persistent", .type = F_BOOL, .at = AT(struct vmi_domain, tpm_persistent)},
    {0},
};

static const struct schema tpm_schema = {.fields = tpm_fields};

static const struct field devices_fields[] = {
    {.name = "disks",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_domain, disks),
     .second = AT(struct vmi_domain, disks_len),
     .sub = &disk_schema,
     .max = DEVICES_MAX},
    {.name = "interfaces",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_domain, interfaces),
     .second = AT(struct vmi_domain, interfaces_len),
     .sub = &interface_schema,
     .max = DEVICES_MAX},
    {.name = "gpus",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_domain, gpus),
     .second = AT(struct vmi_domain, gpus_len),
     .sub = &device_schema,
     .max = DEVICES_MAX},
    {.name = "hostDevices",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .at = AT(struct vmi_domain, host_devices),
     .second = AT(struct vmi_domain, host_devices_len),
     .sub = &device_schema,
     .max = DEVICES_MAX},
    {.name = "autoattachGraphicsDevice",
     .type = F_BOOL,
     .at = AT(struct vmi_domain, autoattach_graphics),
     .second = AT(struct vmi_domain, has_autoattach_graphics)},
    {.name = "tpm", .type = F_FEATURE, .at = AT(struct vmi_domain, has_tpm), .sub = &tpm_schema},
    {0},
};

static const char *const devices_kept[] = {"useVirtioTransitional",
                                           "disableHotplug",
                                           "watchdog",
                                           "inputs",
                                           "autoattachPodInterface",
                                           "autoattachSerialConsole",
                                           "logSerialConsole",
                                           "autoattachMemBalloon",
                                           "autoattachInputDevice",
                                           "autoattachVSOCK",
                                           "rng",
                                           "blockMultiQueue",
                                           "networkInterfaceMultiqueue",
                                           "downwardMetrics",
                                           "panicDevices",
                                           "filesystems",
                                           "clientPassthrough",
                                           "sound",
                                           "video",
                                           NULL};

static const struct schema devices_schema = {.fields = devices_fields, .kept = devices_kept};

/* --- features and the rest --- */

static const struct field feature_state_fields[] = {{.name = "enabled", .type = F_BOOL}, {0}};
static const struct schema feature_state_schema = {.fields = feature_state_fields};

static const struct field synictimer_fields[] = {
    {.name = "enabled", .type = F_BOOL},
    {.name = "direct", .type = F_MAP, .sub = &feature_state_schema},
    {0},
};
static const struct schema synictimer_schema = {.fields = synictimer_fields};

#define HYPERV(n, member, table)                                                          \
    {                                                                                     \
        .name = n, .type = F_FEATURE, .at = AT(struct vmi_domain, member), .sub = (table) \
    }

static const struct field hyperv_fields[] = {
    HYPERV("reenlightenment", hyperv_reenlightenment, &feature_state_schema),
    HYPERV("evmcs", hyperv_evmcs, &feature_state_schema),
    HYPERV("vpindex", hyperv_vpindex, &feature_state_schema),
    HYPERV("runtime", hyperv_runtime, &feature_state_schema),
    HYPERV("synic", hyperv_synic, &feature_state_schema),
    HYPERV("synictimer", hyperv_synictimer, &synictimer_schema),
    HYPERV("reset", hyperv_reset, &feature_state_schema),
    HYPERV("tlbflush", hyperv_tlbflush, &feature_state_schema),
    HYPERV("ipi", hyperv_ipi, &feature_state_schema),
    HYPERV("frequencies", hyperv_frequencies, &feature_state_schema),
    {0},
};

/* what QEMU does without the host's kernel */
static const char *const hyperv_kept[] = {"relaxed", "vapic", "spinlocks", "vendorid", NULL};

static const struct schema hyperv_schema = {.fields = hyperv_fields, .kept = hyperv_kept};

static const struct field features_fields[] = {
    {.name = "hyperv", .type = F_MAP, .at = FLAT, .sub = &hyperv_schema},
    {.name = "hypervPassthrough",
     .type = F_FEATURE,
     .at = AT(struct vmi_domain, hyperv_passthrough),
     .sub = &feature_state_schema},
    {0},
};

static const char *const features_kept[] = {"acpi", "apic", "smm", "kvm", "pvspinlock", NULL};

static const struct schema features_schema = {.fields = features_fields, .kept = features_kept};

static const struct field sev_policy_fields[] = {
    {.name = "encryptedState", .type = F_BOOL, .at = AT(struct vmi_domain, sev_es)}, {0}};
static const struct schema sev_policy_schema = {.fields = sev_policy_fields};

static const struct field sev_fields[] = {
    {.name = "policy", .type = F_MAP, .at = FLAT, .sub = &sev_policy_schema}, {0}};
static const char *const sev_kept[] = {"attestation", "session", "dhCert", NULL};
static const struct schema sev_schema = {.fields = sev_fields, .kept = sev_kept};

static const struct field launch_security_fields[] = {
    {.name = "sev", .type = F_FEATURE, .at = AT(struct vmi_domain, sev), .sub = &sev_schema},
    {.name = "snp", .type = F_FEATURE, .at = AT(struct vmi_domain, sev_snp)},
    {.name = "tdx", .type = F_FEATURE, .at = AT(struct vmi_domain, tdx)},
    {0},
};

static const struct schema launch_security_schema = {.fields = launch_security_fields};

static const struct field machine_fields[] = {
    {.name = "type", .type = F_STRING, .at = AT(struct vmi_domain, machine_type)},
    {0},
};

static const struct schema machine_schema = {.fields = machine_fields};

static const struct field domain_fields[] = {
    {.name = "resources", .type = F_MAP, .at = FLAT, .sub = &resources_schema},
    {.name = "cpu", .type = F_MAP, .at = FLAT, .sub = &cpu_schema},
    {.name = "memory", .type = F_MAP, .at = FLAT, .sub = &memory_schema},
    {.name = "machine", .type = F_MAP, .at = FLAT, .sub = &machine_schema},
    {.name = "devices", .type = F_MAP, .at = FLAT, .sub = &devices_schema},
    {.name = "features", .type = F_MAP, .at = FLAT, .sub = &features_schema},
    {.name = "launchSecurity", .type = F_MAP, .at = FLAT, .sub = &launch_security_schema},
    {0},
};

static const char *const domain_kept[] = {
    "firmware", "clock", "ioThreadsPolicy", "ioThreads", "chassis", "rebootPolicy", NULL};

const struct schema domain_schema = {.fields = domain_fields,
                                     .kept = domain_kept,
                                     .prepare = prepare_domain,
                                     .check = check_domain,
                                     .size = sizeof(struct vmi_domain)};

/* --- rules --- */

/* The documents print a VM's interfaces, rng and networkInterfaceMultiqueue right under domain
 * (seeds-scheduling B-14); they belong under devices. */
static void
prepare_domain(struct check *c, struct tree *map)
{
    static const char *const moved[] = {"interfaces", "disks", "rng", "networkInterfaceMultiqueue",
                                        NULL};

    for (const char *const *key = moved; *key; key++) {
        struct tree *value = tree_get(map, *key);
        struct tree *devices = tree_get(map, "devices");
        struct path p;

        if (!value || (devices && (tree_type(devices) != TREE_MAP || tree_get(devices, *key))))
            continue; /* it stays and is an unknown field */
        check_enter(c, &p, *key);
        check_warn(c, "is taken as devices.%s, where it belongs", *key);
        check_leave(c);
        value = tree_take(map, *key);
        tree_set(tree_ensure_map(map, "devices"), *key, value);
    }
}

static void
check_domain(struct check *c, struct tree *map)
{
    const struct tree *resources = tree_get(map, "resources");
    const struct tree *guest = tree_find(map, "memory", "guest", NULL);
    struct quantity limit = check_quantity(tree_find(resources, "limits", "memory", NULL));
    struct path outer, inner;

    check_enter(c, &outer, "resources");
    resources_within_limits(c, resources);
    check_leave(c);
    if (limit.set && limit.milli > 0 && check_quantity(guest).milli > limit.milli) {
        check_enter(c, &outer, "memory");
        check_enter(c, &inner, "guest");
        check_invalid(c, guest, "must be equal to or less than the memory limit");
        check_leave(c);
        check_leave(c);
    }
    resources_hugepages(c, map);
    resources_dedicated(c, map);
}

static void
check_cpu(struct check *c, struct tree *map)
{
    bool dedicated = tree_get_bool(tree_get(map, "dedicatedCpuPlacement"), false);

    if (tree_get_bool(tree_get(map, "isolateEmulatorThread"), false) && !dedicated)
        check_field_invalid(c, map, "isolateEmulatorThread",
                            "can be set only together with dedicatedCpuPlacement");
    if (tree_find(map, "numa", "guestMappingPassthrough", NULL) && !dedicated)
        check_field_invalid(c, map, "numa",
                            "guestMappingPassthrough can be set only together with "
                            "dedicatedCpuPlacement");
}

/* Six bytes in hexadecimal, between ':' or '-'. */
static void
check_mac(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    bool ok = strlen(s) == 17;

    for (size_t i = 0; i < 17 && ok; i++)
        ok = i % 3 == 2 ? (s[i] == ':' || s[i] == '-') && s[i] == s[2]
                        : s[i] && strchr("0123456789abcdefABCDEF", s[i]);
    if (!ok)
        check_invalid(c, v, "must be a MAC address such as de:ad:00:00:be:af");
}

static void
check_one_variant(struct check *c, struct tree *map, const struct field *fields, const char *what)
{
    const char *first = NULL;

    for (size_t i = 0; i < tree_len(map); i++) {
        const char *key = tree_key_at(map, i);
        const struct field *f = fields;

        while (f->name && !(f->type == F_VARIANT && strcmp(f->name, key) == 0))
            f++;
        if (!f->name)
            continue;
        if (first) {
            char text[120];

            snprintf(text, sizeof text, "%s may be given only once, and %s is there", what, first);
            check_field_forbidden(c, map, key, text);
        }
        first = f->name;
    }
}

static void
check_disk(struct check *c, struct tree *map)
{
    check_one_variant(c, map, disk_fields, "the kind of device");
}

static void
check_interface(struct check *c, struct tree *map)
{
    check_one_variant(c, map, interface_fields, "the binding");
}
