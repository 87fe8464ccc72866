/* Field tables of what only the hypervisor acts on (handler/libvirt_xml*.c reads it from the tree, so
 * nothing of it is decoded): firmware, clock, chassis, and devices that do not decide where a VM runs. Names, values
 * and rules follow kubevirt.io/api/core/v1 and KubeVirt's admission webhooks; what libvirt guests are not given
 * here is refused when they start. */
#include "api/schema_guest.h"

#include <string.h>

static void check_firmware(struct check *c, struct tree *map);
static void check_bootloader(struct check *c, struct tree *map);
static void check_kernel_boot(struct check *c, struct tree *map);
static void check_clock(struct check *c, struct tree *map);
static void check_watchdog(struct check *c, struct tree *map);
static void check_vendor(struct check *c, struct tree *map);
static void check_block_size(struct check *c, struct tree *map);
static void check_uuid(struct check *c, struct tree *v);

#define FLAG(n)                   \
    {                             \
        .name = n, .type = F_BOOL \
    }
#define WORD(n, list)                                 \
    {                                                 \
        .name = n, .type = F_STRING, .values = (list) \
    }
#define SUB(n, table)                             \
    {                                             \
        .name = n, .type = F_MAP, .sub = &(table) \
    }
#define NAME                                                                       \
    {                                                                              \
        .name = "name", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY \
    }

static const struct field nothing[] = {{0}};

static const struct field enabled_fields[] = {FLAG("enabled"), {0}};
const struct schema feature_state_schema = {.fields = enabled_fields};

/* --- firmware --- */

static const struct field bios_fields[] = {FLAG("useSerial"), {0}};
static const struct schema bios_schema = {.fields = bios_fields};
static const struct field efi_fields[] = {FLAG("secureBoot"), FLAG("persistent"), {0}};
static const struct schema efi_schema = {.fields = efi_fields};

static const struct field bootloader_fields[] = {
    SUB("bios", bios_schema), SUB("efi", efi_schema), {0}};
static const struct schema bootloader_schema = {.fields = bootloader_fields,
                                                .check = check_bootloader};

static const char *const pull_policies[] = {"Always", "Never", "IfNotPresent", "", NULL};
static const struct field boot_container_fields[] = {
    {.name = "image", .type = F_STRING, .flags = FIELD_REQUIRED | FIELD_NONEMPTY},
    TEXT("imagePullSecret"),
    WORD("imagePullPolicy", pull_policies),
    TEXT("kernelPath"),
    TEXT("initrdPath"),
    {0},
};
static const struct schema boot_container_schema = {.fields = boot_container_fields};

static const struct field kernel_boot_fields[] = {
    TEXT("kernelArgs"), SUB("container", boot_container_schema), {0}};
static const struct schema kernel_boot_schema = {.fields = kernel_boot_fields,
                                                 .check = check_kernel_boot};

static const struct field firmware_fields[] = {
    {.name = "uuid", .type = F_STRING, .check = check_uuid},
    {.name = "serial", .type = F_STRING},
    SUB("bootloader", bootloader_schema),
    SUB("kernelBoot", kernel_boot_schema),
    {0},
};
static const char *const firmware_kept[] = {"acpi", NULL};
const struct schema firmware_schema = {
    .fields = firmware_fields, .kept = firmware_kept, .check = check_firmware};

static const struct field chassis_fields[] = {TEXT("manufacturer"), TEXT("version"), TEXT("serial"),
                                              TEXT("asset"),        TEXT("sku"),     {0}};
const struct schema chassis_schema = {.fields = chassis_fields};

/* --- clock --- */

static const char *const tick_policies[] = {"delay", "catchup", "merge", "discard", NULL};
static const char *const rtc_policies[] = {"delay", "catchup", NULL};
static const char *const hpet_policies[] = {"delay", "catchup", "merge", "discard", NULL};
static const char *const tracks[] = {"guest", "wall", NULL};

static const struct field timer_fields[] = {FLAG("present"), {0}};
static const struct schema timer_schema = {.fields = timer_fields};
static const struct field hpet_fields[] = {FLAG("present"), WORD("tickPolicy", hpet_policies), {0}};
static const struct schema hpet_schema = {.fields = hpet_fields};
static const struct field pit_fields[] = {FLAG("present"), WORD("tickPolicy", tick_policies), {0}};
static const struct schema pit_schema = {.fields = pit_fields};
static const struct field rtc_fields[] = {
    FLAG("present"), WORD("tickPolicy", rtc_policies), WORD("track", tracks), {0}};
static const struct schema rtc_schema = {.fields = rtc_fields};

static const struct field timers_fields[] = {SUB("hpet", hpet_schema),    SUB("kvm", timer_schema),
                                             SUB("pit", pit_schema),      SUB("rtc", rtc_schema),
                                             SUB("hyperv", timer_schema), {0}};
static const struct schema timers_schema = {.fields = timers_fields};

static const struct field utc_fields[] = {{.name = "offsetSeconds", .type = F_INT}, {0}};
static const struct schema utc_schema = {.fields = utc_fields};

static const struct field clock_fields[] = {
    SUB("utc", utc_schema), TEXT("timezone"), SUB("timer", timers_schema), {0}};
const struct schema clock_schema = {.fields = clock_fields, .check = check_clock};

/* --- features --- */

static const struct field apic_fields[] = {FLAG("enabled"), FLAG("endOfInterrupt"), {0}};
const struct schema apic_schema = {.fields = apic_fields};
static const struct field kvm_fields[] = {FLAG("hidden"), {0}};
const struct schema kvm_feature_schema = {.fields = kvm_fields};
static const struct field spinlocks_fields[] = {
    FLAG("enabled"), {.name = "spinlocks", .type = F_INT, .min = 4096, .max = UINT32_MAX}, {0}};
const struct schema spinlocks_schema = {.fields = spinlocks_fields};
static const struct field vendor_fields[] = {FLAG("enabled"), TEXT("vendorid"), {0}};
const struct schema vendor_schema = {.fields = vendor_fields, .check = check_vendor};

/* --- devices --- */

static const char *const input_types[] = {"tablet", NULL};
static const char *const input_buses[] = {"usb", "virtio", "", NULL};
static const struct field input_fields[] = {
    NAME,
    {.name = "type", .type = F_STRING, .flags = FIELD_REQUIRED, .values = input_types},
    WORD("bus", input_buses),
    {0},
};
const struct schema input_schema = {.fields = input_fields};

static const char *const watchdog_actions[] = {"poweroff", "reset", "shutdown", "", NULL};
static const struct field i6300_fields[] = {WORD("action", watchdog_actions), {0}};
static const struct schema i6300_schema = {.fields = i6300_fields};
static const struct field watchdog_fields[] = {
    NAME, SUB("i6300esb", i6300_schema), SUB("diag288", i6300_schema), {0}};
const struct schema watchdog_schema = {.fields = watchdog_fields, .check = check_watchdog};

static const char *const sounds[] = {"ich9", "ac97", "", NULL};
static const struct field sound_fields[] = {NAME, WORD("model", sounds), {0}};
const struct schema sound_schema = {.fields = sound_fields};

static const struct field video_fields[] = {TEXT("type"), {0}};
const struct schema video_schema = {.fields = video_fields};

static const char *const panic_models[] = {"hyperv", "isa", "pvpanic", NULL};
static const struct field panic_fields[] = {
    {.name = "model", .type = F_STRING, .flags = FIELD_REQUIRED, .values = panic_models}, {0}};
const struct schema panic_schema = {.fields = panic_fields};

const struct schema rng_schema = {.fields = nothing};

static const struct field custom_size_fields[] = {
    {.name = "logical", .type = F_INT, .flags = FIELD_REQUIRED, .min = 512, .max = 2 << 20},
    {.name = "physical", .type = F_INT, .flags = FIELD_REQUIRED, .min = 512, .max = 2 << 20},
    {.name = "discardGranularity", .type = F_INT},
    {0},
};
static const struct schema custom_size_schema = {.fields = custom_size_fields,
                                                 .check = check_block_size};
static const struct field block_size_fields[] = {
    SUB("custom", custom_size_schema), SUB("matchVolume", feature_state_schema), {0}};
const struct schema block_size_schema = {.fields = block_size_fields};

static const char *const protocols[] = {"TCP", "UDP", "", NULL};
static const struct field port_fields[] = {
    TEXT("name"),
    WORD("protocol", protocols),
    {.name = "port", .type = F_INT, .flags = FIELD_REQUIRED, .min = 1, .max = 65535},
    {0},
};
const struct schema port_schema = {.fields = port_fields};

/* --- rules --- */

static void
check_uuid(struct check *c, struct tree *v)
{
    const char *s = tree_get_string(v, "");
    bool ok = strlen(s) == 36;

    for (size_t i = 0; i < 36 && ok; i++)
        ok = i == 8 || i == 13 || i == 18 || i == 23
                 ? s[i] == '-'
                 : s[i] && strchr("0123456789abcdefABCDEF", s[i]);
    if (!ok)
        check_invalid(c, v, "must be a UUID such as 5d307ca9-b3ef-428c-8861-06e72d69f223");
}

static void
check_firmware(struct check *c, struct tree *map)
{
    const struct tree *serial = tree_get(map, "serial");

    if (strlen(tree_get_string(serial, "")) > 256)
        check_field_invalid(c, map, "serial", "must be at most 256 characters");
}

static void
check_bootloader(struct check *c, struct tree *map)
{
    if (tree_get(map, "bios") && tree_get(map, "efi"))
        check_field_invalid(c, map, "efi", "bios and efi are mutually exclusive");
}

static void
check_kernel_boot(struct check *c, struct tree *map)
{
    const struct tree *container = tree_get(map, "container");

    if (!container) {
        if (*tree_find_string(map, "", "kernelArgs", NULL))
            check_field_invalid(c, map, "kernelArgs", "cannot be given without container");
        return;
    }
    if (!*tree_find_string(container, "", "kernelPath", NULL) &&
        !*tree_find_string(container, "", "initrdPath", NULL))
        check_field_required(c, map, "container", "kernelPath or initrdPath must be given");
}

static void
check_clock(struct check *c, struct tree *map)
{
    if (tree_get(map, "utc") && tree_get(map, "timezone"))
        check_field_invalid(c, map, "timezone", "utc and timezone are mutually exclusive");
}

static void
check_watchdog(struct check *c, struct tree *map)
{
    if (!tree_get(map, "i6300esb") && !tree_get(map, "diag288"))
        check_required(c, tree_pos(map), "a watchdog is i6300esb or diag288");
}

static void
check_vendor(struct check *c, struct tree *map)
{
    if (strlen(tree_find_string(map, "", "vendorid", NULL)) > 12)
        check_field_invalid(c, map, "vendorid", "must be at most 12 characters");
}

static void
check_block_size(struct check *c, struct tree *map)
{
    static const char *const keys[] = {"logical", "physical"};
    int64_t size[2];

    for (size_t i = 0; i < 2; i++) {
        size[i] = tree_get_int(tree_get(map, keys[i]), 0);
        if (size[i] & (size[i] - 1))
            check_field_invalid(c, map, keys[i], "must be a power of 2");
    }
    if (size[0] > size[1])
        check_field_invalid(c, map, "logical", "must be the same or less than physical");
}
