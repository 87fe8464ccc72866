/* What a domain boots from, its identity, features and clocks; see libvirt_xml.h. */
#include "handler/libvirt_xml_int.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/object.h"
#include "base/rng.h"

static void derive_uuid(const char *uid, char ret[37]);
static bool uuid_valid(const char *s);
static void write_sysinfo(struct lv_xml *x);
static void write_sysinfo_entry(struct lv_xml *x, const char *name, const char *value);
static bool chassis_given(struct lv_xml *x);
static void check_dns(struct lv_xml *x);
static const char *machine(struct lv_xml *x);
static void write_efi(struct lv_xml *x, const struct tree *efi);
static void write_boot(struct lv_xml *x);
static void write_feature(struct lv_xml *x, const char *key);
static void write_hyperv(struct lv_xml *x);
static void write_hyperv_feature(struct lv_xml *x, const struct tree *f, const char *key,
                                 const char *element);
static void write_timers(struct lv_xml *x, const struct tree *timers);
static void write_timer(struct lv_xml *x, const struct tree *t, const char *key, const char *name);

void
lv_xml_uuid(struct lv_xml *x)
{
    const struct tree *field = tree_find(x->domain, "firmware", "uuid", NULL);
    const char *asked = tree_get_string(field, field ? "" : NULL);
    const char *uid = object_uid(x->want->vmi);

    if (asked && !uuid_valid(asked))
        lv_refuse(x, LV_INVALID,
                  "spec.domain.firmware.uuid: \"%.64s\": want a UUID such as "
                  "5d307ca9-b3ef-428c-8861-06e72d69f223",
                  asked);
    else if (asked || uuid_valid(uid))
        snprintf(x->uuid, sizeof x->uuid, "%s", asked ? asked : uid);
    else
        derive_uuid(uid, x->uuid);
    xw_text(&x->w, x->uuid, "uuid", NULL);
}

void
lv_xml_os(struct lv_xml *x)
{
    const struct tree *loader = tree_find(x->domain, "firmware", "bootloader", NULL);
    const struct tree *efi = tree_get(loader, "efi"), *bios = tree_get(loader, "bios");
    bool info = tree_find(x->domain, "firmware", "serial", NULL) || chassis_given(x);

    check_dns(x);
    if (info)
        write_sysinfo(x);
    if (efi && bios)
        lv_refuse(x, LV_INVALID,
                  "spec.domain.firmware.bootloader: has bios and efi: want one of them");
    xw_begin(&x->w, "os", "firmware", efi && !x->c->firmware_code ? "efi" : NULL, NULL);
    xw_text(&x->w, "hvm", "type", "arch", "x86_64", "machine", machine(x), NULL);
    if (efi)
        write_efi(x, efi);
    write_boot(x);
    if (tree_get_bool(tree_get(bios, "useSerial"), false))
        xw_leaf(&x->w, "bios", "useserial", "yes", NULL);
    if (info)
        xw_leaf(&x->w, "smbios", "mode", "sysinfo", NULL);
    xw_end(&x->w, "os");
}

void
lv_xml_features(struct lv_xml *x)
{
    const struct tree *f = tree_get(x->domain, "features");
    const struct tree *apic = tree_get(f, "apic"), *eoi = tree_get(apic, "endOfInterrupt");

    xw_begin(&x->w, "features", NULL);
    if (!tree_get(f, "acpi") || lv_enabled(tree_get(f, "acpi")))
        xw_leaf(&x->w, "acpi", NULL);
    if (!apic || lv_enabled(apic))
        xw_leaf(&x->w, "apic", "eoi", eoi ? (tree_get_bool(eoi, false) ? "on" : "off") : NULL,
                NULL);
    write_hyperv(x);
    if (tree_get_bool(tree_find(f, "kvm", "hidden", NULL), false)) {
        xw_begin(&x->w, "kvm", NULL);
        xw_leaf(&x->w, "hidden", "state", "on", NULL);
        xw_end(&x->w, "kvm");
    }
    write_feature(x, "smm");
    write_feature(x, "pvspinlock");
    xw_end(&x->w, "features");
}

void
lv_xml_clock(struct lv_xml *x)
{
    const struct tree *clock = tree_get(x->domain, "clock");
    const struct tree *zone = tree_get(clock, "timezone"), *utc = tree_get(clock, "utc");
    const struct tree *offset = tree_get(utc, "offsetSeconds"), *timers = tree_get(clock, "timer");
    char seconds[24];

    if (zone && utc)
        lv_refuse(x, LV_INVALID, "spec.domain.clock: has timezone and utc: want one of them");
    snprintf(seconds, sizeof seconds, "%" PRId64, tree_get_int(offset, 0));
    xw_begin(&x->w, "clock", "offset",
             zone     ? "timezone"
             : offset ? "variable"
                      : "utc",
             "timezone", tree_get_string(zone, NULL), "adjustment", offset ? seconds : NULL,
             "basis", offset ? "utc" : NULL, NULL);
    if (timers)
        write_timers(x, timers);
    xw_end(&x->w, "clock");
}

/* The same for the same uid, on every host. */
static void
derive_uuid(const char *uid, char ret[37])
{
    uint64_t half[2] = {1, 2};

    for (const char *p = uid; *p; p++)
        for (size_t i = 0; i < 2; i++)
            half[i] = rng_mix(half[i] ^ (unsigned char)*p);
    snprintf(ret, 37, "%08x-%04x-8%03x-%04x-%012" PRIx64, (unsigned)(half[0] >> 32),
             (unsigned)(half[0] >> 16) & 0xffff, (unsigned)half[0] & 0xfff,
             0x8000 | ((unsigned)(half[1] >> 48) & 0x3fff), half[1] & UINT64_C(0xffffffffffff));
}

static bool
uuid_valid(const char *s)
{
    if (strlen(s) != 36)
        return false;
    for (size_t i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return false;
    return true;
}

/* libvirt insists that the SMBIOS uuid, where there is one, is the domain's, so none is given. */
static void
write_sysinfo(struct lv_xml *x)
{
    static const char *const entries[] = {"manufacturer", "version", "serial", "asset", "sku"};
    const char *serial = tree_find_string(x->domain, NULL, "firmware", "serial", NULL);

    xw_begin(&x->w, "sysinfo", "type", "smbios", NULL);
    if (serial) {
        xw_begin(&x->w, "system", NULL);
        write_sysinfo_entry(x, "serial", serial);
        xw_end(&x->w, "system");
    }
    if (chassis_given(x)) {
        xw_begin(&x->w, "chassis", NULL);
        for (size_t i = 0; i < ARRAY_LEN(entries); i++)
            write_sysinfo_entry(x, entries[i],
                                tree_find_string(x->domain, NULL, "chassis", entries[i], NULL));
        xw_end(&x->w, "chassis");
    }
    xw_end(&x->w, "sysinfo");
}

static void
write_sysinfo_entry(struct lv_xml *x, const char *name, const char *value)
{
    if (value)
        xw_text(&x->w, value, "entry", "name", name, NULL);
}

static bool
chassis_given(struct lv_xml *x)
{
    return tree_len(tree_get(x->domain, "chassis")) > 0;
}

/* The host's resolver answers guests on the user network; there is no other. */
static void
check_dns(struct lv_xml *x)
{
    const char *policy = tree_find_string(x->spec, "", "dnsPolicy", NULL);

    if (*policy && strcmp(policy, "Default") != 0)
        lv_refuse(x, LV_UNSUPPORTED, "spec.dnsPolicy: %.32s: want Default", policy);
}

static const char *
machine(struct lv_xml *x)
{
    const char *type = tree_find_string(x->domain, "", "machine", "type", NULL);
    const char *arch = tree_find_string(x->spec, "amd64", "architecture", NULL);

    if (*arch && strcmp(arch, "amd64") != 0)
        lv_refuse(x, LV_UNSUPPORTED, "spec.architecture: %.32s: guests are made for amd64 here",
                  arch);
    if (!*type)
        return "q35";
    if (strcmp(type, "q35") != 0 && strcmp(type, "pc") != 0 && strncmp(type, "pc-q35-", 7) != 0 &&
        strncmp(type, "pc-i440fx-", 10) != 0)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.machine.type: \"%.64s\": want q35, pc, or a version of them such as "
                  "pc-q35-7.2",
                  type);
    if (strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != strlen(type))
        lv_refuse(x, LV_INVALID, "spec.domain.machine.type: \"%.64s\": want the name of a machine",
                  type);
    return type;
}

/* Secure boot is upstream's default, and needs SMM as it does there. */
static void
write_efi(struct lv_xml *x, const struct tree *efi)
{
    bool secure = tree_get_bool(tree_get(efi, "secureBoot"), true);
    AUTO_FREE char *nvram = xasprintf("%s/nvram.fd", x->c->dir);

    if (secure && !lv_enabled(tree_find(x->domain, "features", "smm", NULL)))
        lv_refuse(x, LV_INVALID,
                  "spec.domain.firmware.bootloader.efi.secureBoot: is on unless it says false, and "
                  "needs spec.domain.features.smm");
    if (tree_get_bool(tree_get(efi, "persistent"), false))
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.firmware.bootloader.efi.persistent: EFI variables live as long as "
                  "the instance here, and move with it: leave it out");
    if (!x->c->firmware_code) {
        xw_begin(&x->w, "firmware", NULL);
        xw_leaf(&x->w, "feature", "enabled", secure ? "yes" : "no", "name", "secure-boot", NULL);
        xw_end(&x->w, "firmware");
        if (secure)
            xw_leaf(&x->w, "loader", "secure", "yes", NULL);
        xw_text(&x->w, nvram, "nvram", NULL);
        return;
    }
    xw_text(&x->w, x->c->firmware_code, "loader", "readonly", "yes", "secure",
            secure ? "yes" : "no", "type", "pflash", NULL);
    xw_text(&x->w, nvram, "nvram", "template", x->c->firmware_vars, NULL);
}

static void
write_boot(struct lv_xml *x)
{
    const struct lv_boot *b = &x->disks->boot;

    if (b->kernel)
        xw_text(&x->w, b->kernel, "kernel", NULL);
    if (b->initrd)
        xw_text(&x->w, b->initrd, "initrd", NULL);
    if (b->args && *b->args)
        xw_text(&x->w, b->args, "cmdline", NULL);
    if (tree_find(x->domain, "firmware", "kernelBoot", NULL) && !b->kernel)
        lv_refuse(x, LV_INVALID, "spec.domain.firmware.kernelBoot: no kernel was found for it");
}

/* On or off as it says; libvirt's default where it says nothing. */
static void
write_feature(struct lv_xml *x, const char *key)
{
    const struct tree *f = tree_find(x->domain, "features", key, NULL);

    if (f)
        xw_leaf(&x->w, key, "state", lv_enabled(f) ? "on" : "off", NULL);
}

static void
write_hyperv(struct lv_xml *x)
{
    static const struct {
        const char *key, *element;
    } known[] = {{"relaxed", "relaxed"},
                 {"vapic", "vapic"},
                 {"spinlocks", "spinlocks"},
                 {"vpindex", "vpindex"},
                 {"runtime", "runtime"},
                 {"synic", "synic"},
                 {"synictimer", "stimer"},
                 {"reset", "reset"},
                 {"vendorid", "vendor_id"},
                 {"frequencies", "frequencies"},
                 {"reenlightenment", "reenlightenment"},
                 {"tlbflush", "tlbflush"},
                 {"ipi", "ipi"},
                 {"evmcs", "evmcs"}};
    const struct tree *h = tree_find(x->domain, "features", "hyperv", NULL);
    const struct tree *all = tree_find(x->domain, "features", "hypervPassthrough", NULL);

    if (h && lv_enabled(all))
        lv_refuse(x, LV_INVALID,
                  "spec.domain.features.hypervPassthrough: not together with hyperv");
    if ((tree_len(h) > 0 || lv_enabled(all)) && !x->c->kvm)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.features.hyperv: needs KVM, and guests are emulated on this host: "
                  "leave it out");
    if (lv_enabled(all))
        xw_leaf(&x->w, "hyperv", "mode", "passthrough", NULL);
    if (tree_len(h) == 0)
        return;
    xw_begin(&x->w, "hyperv", NULL);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (tree_get(h, known[i].key))
            write_hyperv_feature(x, tree_get(h, known[i].key), known[i].key, known[i].element);
    xw_end(&x->w, "hyperv");
}

static void
write_hyperv_feature(struct lv_xml *x, const struct tree *f, const char *key, const char *element)
{
    const struct tree *direct = tree_get(f, "direct");
    const char *state = lv_enabled(f) ? "on" : "off", *vendor = NULL;
    int64_t retries = tree_get_int(tree_get(f, "spinlocks"), 4096);
    bool spin = strcmp(key, "spinlocks") == 0;

    if (spin && (retries < 4095 || retries > UINT32_MAX))
        lv_refuse(x, LV_INVALID, "spec.domain.features.hyperv.spinlocks.spinlocks: want 4095 to %u",
                  UINT32_MAX);
    if (strcmp(key, "vendorid") == 0) {
        vendor = tree_find_string(f, "", "vendorid", NULL);
        if (!*vendor || strlen(vendor) > 12 || strchr(vendor, ','))
            lv_refuse(x, LV_INVALID,
                      "spec.domain.features.hyperv.vendorid.vendorid: \"%.32s\": want 1 to 12 "
                      "characters without a comma",
                      vendor);
    }
    if (direct) {
        xw_begin(&x->w, element, "state", state, NULL);
        xw_leaf(&x->w, "direct", "state", lv_enabled(direct) ? "on" : "off", NULL);
        xw_end(&x->w, element);
        return;
    }
    xw_leaf(&x->w, element, "state", state, "retries",
            spin && lv_enabled(f) ? XW_NUM((uint64_t)retries) : NULL, "value",
            lv_enabled(f) ? vendor : NULL, NULL);
}

static void
write_timers(struct lv_xml *x, const struct tree *timers)
{
    static const struct {
        const char *key, *name;
    } known[] = {{"hpet", "hpet"},
                 {"kvm", "kvmclock"},
                 {"pit", "pit"},
                 {"rtc", "rtc"},
                 {"hyperv", "hypervclock"}};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (tree_get(timers, known[i].key))
            write_timer(x, tree_get(timers, known[i].key), known[i].key, known[i].name);
}

static void
write_timer(struct lv_xml *x, const struct tree *t, const char *key, const char *name)
{
    static const char *const policies[] = {"delay", "catchup", "merge", "discard", NULL};
    static const char *const tracks[] = {"guest", "wall", NULL};
    const char *policy = tree_find_string(t, NULL, "tickPolicy", NULL);
    const char *track = tree_find_string(t, NULL, "track", NULL);
    bool present = tree_get_bool(tree_get(t, "present"), true);

    if (policy && !lv_is_one_of(policy, policies))
        lv_refuse(x, LV_INVALID,
                  "spec.domain.clock.timer.%s.tickPolicy: %.32s: want delay, catchup, merge or "
                  "discard",
                  key, policy);
    if (track && !lv_is_one_of(track, tracks))
        lv_refuse(x, LV_INVALID, "spec.domain.clock.timer.%s.track: %.32s: want guest or wall", key,
                  track);
    if (strcmp(key, "hyperv") == 0 && present && !x->c->kvm)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.clock.timer.hyperv: needs KVM, and guests are emulated on this "
                  "host: leave it out");
    xw_leaf(&x->w, "timer", "name", name, "tickpolicy", policy, "track", track, "present",
            present ? "yes" : "no", NULL);
}
