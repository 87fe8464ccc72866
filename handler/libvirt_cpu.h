/* Whether this host's hypervisor offers the CPU of a domain that runs elsewhere
 * (virConnectCompareHypervisorCPU), asked before a migration of it begins. Blocks for as long as libvirt
 * takes; any thread. */
#ifndef HANDLER_LIBVIRT_CPU_H
#define HANDLER_LIBVIRT_CPU_H

#include "handler/hv.h"
#include "handler/libvirt_conn.h"

/* What runs the domain: its live XML's <domain type> and <os><type arch machine>. Any may be NULL:
 * libvirt's default. */
struct lv_cpu_where {
    const char *virttype, *arch, *machine;
};

/* At the source: the <cpu> that a target must be able to offer for the live domain of this XML. That of
 * the XML when it names a model; for host-passthrough and maximum this host's own CPU as libvirt models
 * it, since the guest may use all of it. *ret is the caller's (free); NULL with 0: the domain has no CPU
 * that could be compared (none in the XML, or this host's libvirt has no model of its CPU). */
int lv_cpu_needed(struct libvirt *lv, const char *domain_xml, char **ret, struct err *err);

/* At the target. 0: this host offers cpu_xml, or more. -ENOTSUP: it does not, and why has reason
 * CPUIncompatible and names the features that are missing. Other errors (err) say nothing about the
 * CPU: -ENOTCONN, -ETIMEDOUT, -EIO. NULL for cpu_xml is 0. */
int lv_cpu_compare(struct libvirt *lv, const char *cpu_xml, const struct lv_cpu_where *where,
                   struct hv_refusal *why, struct err *err);

#endif
