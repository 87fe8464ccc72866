/* A VirtualMachineInstance as libvirt's domain XML: the frame; see libvirt_xml.h. What stands in it is in
 * libvirt_xml_{cpu,os,disk,net,device}.c, what may stand in a manifest in libvirt_xml_fields.c. */
#include "handler/libvirt_xml_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/object.h"
#include "handler/libvirt_target_name.h"

#define QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"

static void write_domain(struct lv_xml *x);
static void write_metadata(struct lv_xml *x);
static void write_ends(struct lv_xml *x);
static void write_odd_memory(struct lv_xml *x);
static void look_ahead(struct lv_xml *x);

int
lv_xml_domain(const struct lv_xml_config *c, const struct hv_want *w, const struct lv_disks *disks,
              struct sb *ret, struct hv_refusal *why)
{
    AUTO_SB struct sb out = SB_INIT;
    struct lv_xml x = {
        .c = c, .want = w, .disks = disks, .why = why, .w = {.out = &out, .bad = NULL}};

    x.spec = tree_get(w->vmi, "spec");
    x.domain = tree_get(x.spec, "domain");
    x.devices = tree_get(x.domain, "devices");
    lv_xml_fields(&x);
    if (x.rc == 0)
        write_domain(&x);
    if (x.rc == 0 && x.w.bad)
        lv_refuse(&x, LV_INVALID,
                  "%s of the domain: has control characters, or is no UTF-8: XML cannot hold it",
                  x.w.bad);
    if (x.rc == 0)
        sb_add(ret, out.buf, out.len);
    return x.rc;
}

void
lv_refuse(struct lv_xml *x, const char *reason, const char *fmt, ...)
{
    va_list ap;

    if (x->rc != 0)
        return;
    x->rc = strcmp(reason, LV_UNSUPPORTED) == 0 ? -ENOTSUP : -EINVAL;
    snprintf(x->why->reason, sizeof x->why->reason, "%s", reason);
    va_start(ap, fmt);
    vsnprintf(x->why->text, sizeof x->why->text, fmt, ap);
    va_end(ap);
}

const char *
lv_virtio(const struct lv_xml *x)
{
    return x->transitional ? "virtio-transitional" : "virtio";
}

bool
lv_is_one_of(const char *s, const char *const *list)
{
    while (*list && strcmp(*list, s) != 0)
        list++;
    return *list != NULL;
}

bool
lv_enabled(const struct tree *feature)
{
    return tree_type(feature) == TREE_MAP && tree_get_bool(tree_get(feature, "enabled"), true);
}

static void
write_domain(struct lv_xml *x)
{
    look_ahead(x);
    xw_begin(&x->w, "domain", "type", x->c->kvm ? "kvm" : "qemu", "xmlns:qemu",
             x->c->odd_memory ? QEMU_NS : NULL, NULL);
    xw_text(&x->w, x->c->name, "name", NULL);
    lv_xml_uuid(x);
    write_metadata(x);
    lv_xml_memory(x);
    lv_xml_vcpu(x);
    lv_xml_os(x);
    lv_xml_features(x);
    lv_xml_cpu_model(x);
    lv_xml_clock(x);
    write_ends(x);
    xw_begin(&x->w, "devices", NULL);
    lv_xml_controllers(x);
    lv_xml_disks(x);
    lv_xml_interfaces(x);
    lv_xml_devices(x);
    xw_end(&x->w, "devices");
    if (x->c->odd_memory)
        write_odd_memory(x);
    xw_end(&x->w, "domain");
}

/* What earlier elements must know of later ones. */
static void
look_ahead(struct lv_xml *x)
{
    const struct tree *disks = tree_get(x->devices, "disks");

    x->vcpus = lv_xml_vcpus(x);
    x->transitional = tree_get_bool(tree_get(x->devices, "useVirtioTransitional"), false);
    for (size_t i = 0; i < tree_len(disks); i++) {
        const char *bus = lv_target_bus(tree_at(disks, i));

        x->needs_usb = x->needs_usb || strcmp(bus, "usb") == 0;
        x->needs_scsi = x->needs_scsi || strcmp(bus, "scsi") == 0;
    }
    lv_xml_io_threads(x);
}

/* By this the domain is known again: lv_xml_ident. */
static void
write_metadata(struct lv_xml *x)
{
    xw_begin(&x->w, "metadata", NULL);
    xw_leaf(&x->w, "drover:vmi", "xmlns:drover", LV_METADATA_NS, "namespace",
            object_namespace(x->want->vmi), "name", object_name(x->want->vmi), "uid",
            object_uid(x->want->vmi), NULL);
    xw_end(&x->w, "metadata");
}

/* A guest's end is ours to answer, by its run strategy: libvirt starts nothing again by itself. */
static void
write_ends(struct lv_xml *x)
{
    const char *reboot = tree_find_string(x->domain, "Reboot", "rebootPolicy", NULL);

    if (strcmp(reboot, "Reboot") != 0 && strcmp(reboot, "Terminate") != 0)
        lv_refuse(x, LV_INVALID, "spec.domain.rebootPolicy: %.64s: want Reboot or Terminate",
                  reboot);
    xw_text(&x->w, "destroy", "on_poweroff", NULL);
    xw_text(&x->w, strcmp(reboot, "Terminate") == 0 ? "destroy" : "restart", "on_reboot", NULL);
    xw_text(&x->w, "destroy", "on_crash", NULL);
}

/* libvirt gives memory in MiB: QEMU's own options, which come later, win. */
static void
write_odd_memory(struct lv_xml *x)
{
    AUTO_SB struct sb object = SB_INIT, size = SB_INIT;
    const char *const args[] = {"-m", NULL, "-object", NULL, "-machine", "memory-backend=odd"};

    sb_printf(&size, "%" PRIu64 "K", x->memory_kib + 8);
    sb_printf(&object, "memory-backend-memfd,id=odd,share=on,size=%s", sb_str(&size));
    xw_begin(&x->w, "qemu:commandline", NULL);
    for (size_t i = 0; i < ARRAY_LEN(args); i++)
        xw_leaf(&x->w, "qemu:arg", "value",
                args[i]  ? args[i]
                : i == 1 ? sb_str(&size)
                         : sb_str(&object),
                NULL);
    xw_end(&x->w, "qemu:commandline");
}
