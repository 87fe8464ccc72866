/* A VirtualMachineInstance as libvirt's domain XML. Pure; any thread. Whatever the manifest asks of the
 * guest and we do not make is refused by its field, never dropped; what belongs to the cluster (probes,
 * affinity, ...) is not ours to look at. Names follow libvirt's formatdomain.
 *
 * Always: memory on memfd, shared (<memoryBacking><source type='memfd'/><access mode='shared'/>), so that
 * the engine can take it; a serial console on a unix socket of the guest's directory, logged to a file
 * there; uuid = firmware.uuid, else derived from the VMI's uid; name "NS_NAME"; <metadata> with the VMI's
 * namespace, name and uid in our own XML namespace (LV_METADATA_NS), by which domains are known again. */
#ifndef HANDLER_LIBVIRT_XML_H
#define HANDLER_LIBVIRT_XML_H

#include <stdbool.h>

#include "base/sb.h"
#include "handler/hv.h"
#include "handler/libvirt_disk.h"

#define LV_METADATA_NS "https://drover.io/domain/1"

struct lv_xml_config {
    const char *dir;  /* of this guest: console.sock, console.log, agent.sock, nvram.fd */
    const char *name; /* "NS_NAME": the domain's */
    bool kvm;         /* <domain type='kvm'>, else 'qemu' (emulated: TCG) */
    /* What host-model must not have, because QEMU does not start with it here; NULL = nothing. */
    const char *broken_feature;
    bool odd_memory; /* TCG of a QEMU before 9.0 loses dirty bits of memory that is a multiple of
                          256 KiB: 8 KiB more are given (spec: libvirt 3b) */
    bool swtpm;      /* this host has swtpm: devices.tpm can be made */
    const char *vm_bridge; /* host bridge for `pod` networks with binding bridge; NULL = none */
    const char *const *
        cpuset; /* host CPU of each vCPU with dedicatedCpuPlacement; not needed for an incoming guest */
    size_t cpuset_len;
    const char *emulator_cpuset; /* NULL: wherever there is room */
    const char *firmware_code,
        *firmware_vars; /* OVMF files for bootloader.efi; NULL = libvirt chooses */
};

/* 0 with the XML appended to ret; -EINVAL or -ENOTSUP with why (nothing appended). disks: of
 * lv_disks_plan. w->nads: how the networks' NADs map to interfaces (bridge, macvtap, tap). */
int lv_xml_domain(const struct lv_xml_config *c, const struct hv_want *w,
                  const struct lv_disks *disks, struct sb *ret, struct hv_refusal *why);

/* How many vCPUs the instance asks for; 0 with why. */
unsigned lv_xml_vcpu_count(const struct tree *vmi, struct hv_refusal *why);

/* The XML of a domain that comes to another host: every path that begins with `from/` begins with `to/`
 * instead, everything else stays byte for byte (MAC and device addresses, aliases). */
void lv_xml_relocate(const char *xml, const char *from, const char *to, struct sb *ret);

/* What <metadata> says: false when it is no domain of ours. */
struct lv_xml_ident {
    char uid[64], namespace_[256], name[256];
};
bool lv_xml_ident(const char *xml, struct lv_xml_ident *ret);
/* The <cpu> element of a live domain's XML, for virConnectCompareHypervisorCPU; NULL when it has none.
 * The caller frees. */
char *lv_xml_cpu(const char *xml);

#endif
