/* Field tables and rules of a VM's hardware: spec.domain of a VirtualMachineInstance. Names and rules follow
 * kubevirt.io/api/core/v1 and KubeVirt's admission webhooks; huge pages follow the 4.15 documents
 * (seeds-scheduling R16). */
#include "api/resource_rules.h"

#include <stdio.h>
#include <string.h>

#include "api/limits.h"
#include "api/schema_guest.h"

#define DEVICES_MAX 256  /* disks, interfaces: upstream's limit */
#define CPU_MAX     4096 /* cores, sockets or threads */

static void prepare_domain(struct check *c, struct tree *map);
static void check_domain(struct check *c, struct tree *map);
static void check_cpu(struct check *c, struct tree *map);
static void check_mac(struct check *c, struct tree *v);
static void check_one_variant(struct check *c, struct tree *map, const struct field *fields,
                              const char *what);
static void check_serial(struct check *c, struct tree *v);
static void check_boot_orders(struct check *c, const struct tree *devices);
static void check_secure_boot(struct check *c, const struct tree *domain);
static void check_disk(struct check *c, struct tree *map);
static void check_interface(struct check *c, struct tree *map);

static const char *const feature_policies[] = {"force",  "require", "optional", "disable",
                                               "forbid", "",        NULL};
static const char *const disk_buses[] = {"virtio", "sata", "scsi", "usb", NULL};
static const char *const lun_buses[] = {"virtio", "sata", "scsi", NULL};
static const char *const cdrom_buses[] = {"sata", "scsi", NULL};
static const char *const trays[] = {"open", "closed", "", NULL};
static const char *const caches[] = {"none", "writethrough", "writeback", "", NULL};
static const char *const ios[] = {"default", "native", "threads", "", NULL};
static const char *const error_policies[] = {"stop", "ignore", "report", "enospace", "", NULL};
static const char *const io_policies[] = {"shared", "auto", "supplementalPool", NULL};
static const char *const reboot_policies[] = {"Reboot", "Terminate", NULL};
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

#define BOOT_ORDER                                                      \
    {                                                                   \
        .name = "bootOrder", .type = F_INT, .min = 1, .max = UINT16_MAX \
    }

static const struct field disk_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = disk_buses},
    {.name = "readonly", .type = F_BOOL},
    TEXT("pciAddress"),
    {0},
};

static const struct field lun_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = lun_buses},
    {.name = "readonly", .type = F_BOOL},
    {.name = "reservation", .type = F_BOOL, .at = AT(struct vmi_disk, reservation)},
    {0},
};

static const struct field cdrom_target_fields[] = {
    {.name = "bus", .type = F_STRING, .at = AT(struct vmi_disk, bus), .values = cdrom_buses},
    {.name = "readonly", .type = F_BOOL},
    {.name = "tray", .type = F_STRING, .values = trays},
    {0},
};

static const struct schema disk_target_schema = {.fields = disk_target_fields};
static const struct schema lun_target_schema = {.fields = lun_target_fields};
static const struct schema cdrom_target_schema = {.fields = cdrom_target_fields};

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
    BOOT_ORDER,
    {.name = "serial", .type = F_STRING, .check = check_serial},
    {.name = "dedicatedIOThread", .type = F_BOOL},
    {.name = "cache", .type = F_STRING, .values = caches},
    {.name = "io", .type = F_STRING, .values = ios},
    {.name = "errorPolicy", .type = F_STRING, .values = error_policies},
    {.name = "shareable", .type = F_BOOL},
    {.name = "blockSize", .type = F_MAP, .sub = &block_size_schema},
    {0},
};

static const char *const disk_kept[] = {"tag", "changedBlockTracking", NULL};

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
    {.name = "model", .type = F_STRING, .values = nic_models},
    {.name = "state", .type = F_STRING, .values = nic_states},
    {.name = "ports", .type = F_LIST, .sub = &port_schema},
    BOOT_ORDER,
    TEXT("pciAddress"),
    {.name = "acpiIndex", .type = F_INT, .min = 1, .max = 16383},
    {0},
};

static const char *const interface_kept[] = {"dhcpOptions", "tag", NULL};

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

#define DEVICE_FLAG(n)            \
    {                             \
        .name = n, .type = F_BOOL \
    }

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
    {.name = "watchdog", .type = F_MAP, .sub = &watchdog_schema},
    {.name = "inputs",
     .type = F_LIST,
     .flags = FIELD_UNIQUE,
     .sub = &input_schema,
     .max = DEVICES_MAX},
    {.name = "rng", .type = F_MAP, .sub = &rng_schema},
    {.name = "sound", .type = F_MAP, .sub = &sound_schema},
    {.name = "video", .type = F_MAP, .sub = &video_schema},
    {.name = "panicDevices", .type = F_LIST, .sub = &panic_schema, .max = DEVICES_MAX},
    DEVICE_FLAG("useVirtioTransitional"),
    DEVICE_FLAG("disableHotplug"),
    DEVICE_FLAG("autoattachPodInterface"),
    DEVICE_FLAG("autoattachSerialConsole"),
    DEVICE_FLAG("logSerialConsole"),
    DEVICE_FLAG("autoattachMemBalloon"),
    DEVICE_FLAG("autoattachInputDevice"),
    DEVICE_FLAG("blockMultiQueue"),
    DEVICE_FLAG("networkInterfaceMultiqueue"),
    {0},
};

static const char *const devices_kept[] = {"autoattachVSOCK", "downwardMetrics", "filesystems",
                                           "clientPassthrough", NULL};

static const struct schema devices_schema = {.fields = devices_fields, .kept = devices_kept};

/* --- features and the rest --- */

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
    /* what QEMU does without the host's kernel */
    {.name = "relaxed", .type = F_MAP, .sub = &feature_state_schema},
    {.name = "vapic", .type = F_MAP, .sub = &feature_state_schema},
    {.name = "spinlocks", .type = F_MAP, .sub = &spinlocks_schema},
    {.name = "vendorid", .type = F_MAP, .sub = &vendor_schema},
    {0},
};

static const struct schema hyperv_schema = {.fields = hyperv_fields};

static const struct field features_fields[] = {
    {.name = "hyperv", .type = F_MAP, .at = FLAT, .sub = &hyperv_schema},
    {.name = "hypervPassthrough",
     .type = F_FEATURE,
     .at = AT(struct vmi_domain, hyperv_passthrough),
     .sub = &feature_state_schema},
    {.name = "acpi", .type = F_MAP, .sub = &feature_state_schema},
    {.name = "apic", .type = F_MAP, .sub = &apic_schema},
    {.name = "smm", .type = F_MAP, .sub = &feature_state_schema},
    {.name = "kvm", .type = F_MAP, .sub = &kvm_feature_schema},
    {.name = "pvspinlock", .type = F_MAP, .sub = &feature_state_schema},
    {0},
};

static const struct schema features_schema = {.fields = features_fields};

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
    {.name = "firmware", .type = F_MAP, .sub = &firmware_schema},
    {.name = "clock", .type = F_MAP, .sub = &clock_schema},
    {.name = "chassis", .type = F_MAP, .sub = &chassis_schema},
    {.name = "ioThreadsPolicy", .type = F_STRING, .values = io_policies},
    {.name = "rebootPolicy", .type = F_STRING, .values = reboot_policies},
    {0},
};

static const char *const domain_kept[] = {"ioThreads", NULL};

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
    check_boot_orders(c, tree_get(map, "devices"));
    check_secure_boot(c, map);
}

/* Among disks and interfaces together. */
static void
check_boot_orders(struct check *c, const struct tree *devices)
{
    static const char *const lists[] = {"disks", "interfaces"};
    bool seen[2 * DEVICES_MAX + 1] = {false};
    struct path p[3];

    check_enter(c, &p[0], "devices");
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        const struct tree *list = tree_get(devices, lists[l]);

        check_enter(c, &p[1], lists[l]);
        for (size_t i = 0; i < tree_len(list) && i < DEVICES_MAX; i++) {
            int64_t n = tree_get_int(tree_get(tree_at(list, i), "bootOrder"), 0);

            check_enter_item(c, &p[2], i);
            if (n > 0 && n < (int64_t)ARRAY_LEN(seen) && seen[n])
                check_field_invalid(c, tree_at(list, i), "bootOrder",
                                    "must be a number that no other device has");
            else if (n > 0 && n < (int64_t)ARRAY_LEN(seen))
                seen[n] = true;
            check_leave(c);
        }
        check_leave(c);
    }
    check_leave(c);
}

static void
check_secure_boot(struct check *c, const struct tree *domain)
{
    struct tree *efi = tree_find(domain, "firmware", "bootloader", "efi", NULL);
    const struct tree *smm = tree_find(domain, "features", "smm", NULL);
    struct path p[3];

    if (tree_type(efi) != TREE_MAP || !tree_get_bool(tree_get(efi, "secureBoot"), true) ||
        (tree_type(smm) == TREE_MAP && tree_get_bool(tree_get(smm, "enabled"), true)))
        return;
    check_enter(c, &p[0], "firmware");
    check_enter(c, &p[1], "bootloader");
    check_enter(c, &p[2], "efi");
    check_field_invalid(c, efi, "secureBoot",
                        "is on unless it says false, and needs SMM: set features.smm");
    check_leave(c);
    check_leave(c);
    check_leave(c);
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
check_serial(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");

    if (strlen(s) > 256 || strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789_- ().+") != strlen(s))
        check_invalid(c, v, "must be at most 256 letters, digits, blanks or _-().+");
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
