/* What the parts of lv_xml_domain share; internal to handler/libvirt_xml*.c. Each part writes its own
 * elements, in libvirt's order (formatdomain), and refuses with lv_refuse, once; the rest goes on, and
 * what was written is thrown away. */
#ifndef HANDLER_LIBVIRT_XML_INT_H
#define HANDLER_LIBVIRT_XML_INT_H

#include "handler/libvirt_xml.h"
#include "handler/libvirt_xml_write.h"

#define LV_XML_MAX_VCPUS 1024

struct lv_xml {
    const struct lv_xml_config *c;
    const struct hv_want *want;
    const struct lv_disks *disks;
    const struct tree *spec, *domain, *devices; /* of the VMI; any may be NULL */
    struct xw w;
    struct hv_refusal *why;
    int rc; /* of the first refusal */

    char uuid[37];
    unsigned vcpus;
    bool host_model;     /* <cpu> is what the host has: host-model, host-passthrough */
    uint64_t memory_kib; /* lv_xml_memory */
    bool transitional;
    bool needs_usb, needs_scsi;
    size_t io_threads, io_shared;
};

/* Refuses: -ENOTSUP for UnsupportedField, -EINVAL for all other reasons. The text begins with the
 * field's path. The first one counts. */
void lv_refuse(struct lv_xml *x, const char *reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define LV_UNSUPPORTED "UnsupportedField"
#define LV_INVALID     "InvalidField"

/* --- libvirt_xml_fields.c --- */
/* Refuses the first field of the VMI's spec that is neither made nor somebody else's business. */
void lv_xml_fields(struct lv_xml *x);

/* --- libvirt_xml_cpu.c --- */
void lv_xml_memory(struct lv_xml *x);
unsigned lv_xml_vcpus(struct lv_xml *x); /* sockets x cores x threads; 1 after a refusal */
void lv_xml_vcpu(struct lv_xml *x);
void lv_xml_cpu_model(struct lv_xml *x);

/* --- libvirt_xml_os.c --- */
void lv_xml_uuid(struct lv_xml *x);
void lv_xml_os(struct lv_xml *x);
void lv_xml_features(struct lv_xml *x);
void lv_xml_clock(struct lv_xml *x);

/* --- libvirt_xml_disk.c --- */
void lv_xml_io_threads(struct lv_xml *x); /* counts them; before the devices */
void lv_xml_disks(struct lv_xml *x);

/* --- libvirt_xml_net.c --- */
void lv_xml_interfaces(struct lv_xml *x);

/* --- libvirt_xml_device.c --- */
void lv_xml_controllers(struct lv_xml *x);
void lv_xml_devices(struct lv_xml *x);

/* "virtio", or its model for guests of before virtio 1.0. */
const char *lv_virtio(const struct lv_xml *x);
/* The address of a PCI device from text such as 0000:81:01.10; path names the field. */
void lv_xml_pci(struct lv_xml *x, const struct tree *text, const char *path);
/* <boot order=>: its own number of all devices that have one. */
void lv_xml_boot_order(struct lv_xml *x, const struct tree *order, const char *path);
/* Whether s is one of the NULL-terminated list. */
bool lv_is_one_of(const char *s, const char *const *list);
/* A map that says something is wanted, unless it says enabled: false. */
bool lv_enabled(const struct tree *feature);

#endif
