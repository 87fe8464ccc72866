/* What the XML of a domain, and of libvirt's capabilities, says that the driver needs. Pure; the text is
 * libvirt's, and is limited and checked all the same (sched/labeller_xml.h). */
#ifndef HANDLER_LIBVIRT_DOMXML_H
#define HANDLER_LIBVIRT_DOMXML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "handler/libvirt_cpus.h"

struct lv_domxml {               /* texts are in the arena */
    const char *type;            /* kvm qemu test ... */
    const char *arch, *machine;  /* "" when it does not say */
    const char *uuid;            /* "" when it does not say */
    uint64_t memory_bytes;       /* at start */
    bool agent, agent_connected; /* it has the guest agent's channel; and that is open */
    const char *cpu_mode;        /* "" without <cpu> */
    struct lv_cpuset pinned;     /* host CPUs that its vCPUs and emulator are pinned to */
};

/* -EINVAL when xml is no <domain>. */
int lv_domxml_read(const char *xml, struct lv_domxml *ret, struct arena *a, struct err *err);
/* Host CPUs from virConnectGetCapabilities. -EINVAL. */
int lv_domxml_host(const char *capabilities, struct lv_cpus_host *ret, struct arena *a,
                   struct err *err);

#endif
