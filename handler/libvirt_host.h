/* What of this host decides how a domain is made: KVM or emulation, workarounds for its QEMU, free CPUs. */
#ifndef HANDLER_LIBVIRT_HOST_H
#define HANDLER_LIBVIRT_HOST_H

#include "handler/hv.h"
#include "handler/libvirt_conn.h"

struct lv_host {
    bool kvm;        /* libvirt offers it, and /dev/kvm can be opened */
    bool odd_memory; /* libvirt_xml.h's */
    bool swtpm;
};

/* wanted: NULL, "kvm" or "tcg" (ANN_ACCELERATOR). -ENOTSUP with why: it is not here, or is neither. */
int lv_host_look(struct libvirt *lv, virConnectPtr c, const char *wanted, struct lv_host *ret,
                 struct hv_refusal *why);

/* Whether QEMU starts with KVM and the host's CPU model: by starting it, paused, with nothing else (about
 * 0.4 s). Some nested kinds of KVM announce a feature and lack its registers: NULL when all is well (or
 * the question cannot be put), else the feature without which it does start. */
const char *lv_host_broken_feature(virConnectPtr c);

/* n host CPUs that no running domain is pinned to (libvirt_cpus.h) into ret. -EBUSY with why. */
int lv_host_cpus(virConnectPtr c, size_t n, unsigned *ret, struct hv_refusal *why, struct err *err);

#endif
