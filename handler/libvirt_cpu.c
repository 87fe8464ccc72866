/* See libvirt_cpu.h. */
#include "handler/libvirt_cpu.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/sb.h"
#include "handler/libvirt_domxml.h"
#include "handler/libvirt_xml.h"
#include "sched/labeller.h"

static int own_model(struct libvirt *lv, const struct lv_domxml *d, char **ret, struct err *err);

int
lv_cpu_needed(struct libvirt *lv, const char *domain_xml, char **ret, struct err *err)
{
    struct arena *a = arena_new();
    struct lv_domxml d;
    char *cpu = NULL;
    int rc = lv_domxml_read(domain_xml, &d, a, err);

    if (rc == 0 &&
        (strcmp(d.cpu_mode, "host-passthrough") == 0 || strcmp(d.cpu_mode, "maximum") == 0))
        rc = own_model(lv, &d, &cpu, err);
    else if (rc == 0)
        cpu = lv_xml_cpu(domain_xml);
    arena_free(a);
    if (rc == 0)
        *ret = cpu;
    return rc;
}

static int
own_model(struct libvirt *lv, const struct lv_domxml *d, char **ret, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    virConnectPtr c = libvirt_get(lv, err);
    struct labeller_text text = {.name = "domain capabilities"};
    AUTO_FREE char *xml = NULL;
    struct arena *a;
    int rc = 0;

    if (!c)
        return -ENOTCONN;
    a = arena_new();
    xml = api->virConnectGetDomainCapabilities(c, NULL, d->arch[0] ? d->arch : NULL,
                                               d->machine[0] ? d->machine : NULL, d->type, 0);
    if (!xml) {
        rc = libvirt_error(err, "domain capabilities");
    } else {
        const char *cpu;

        text.xml = xml;
        cpu = labeller_host_cpu(&text, a);
        *ret = cpu ? xstrdup(cpu) : NULL;
    }
    arena_free(a);
    api->virConnectClose(c);
    return rc;
}

int
lv_cpu_compare(struct libvirt *lv, const char *cpu_xml, const struct lv_cpu_where *where,
               struct hv_refusal *why, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    virConnectPtr c;
    int rc = 0;

    if (!cpu_xml)
        return 0;
    c = libvirt_get(lv, err);
    if (!c)
        return -ENOTCONN;
    if (api->virConnectCompareHypervisorCPU(c, NULL, where->arch, where->machine, where->virttype,
                                            cpu_xml,
                                            VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE) < 0) {
        const virError *e = api->virGetLastError();

        if (e && e->code == VIR_ERR_CPU_INCOMPATIBLE) {
            libvirt_error(err, "the guest's CPU");
            snprintf(why->reason, sizeof why->reason, "CPUIncompatible");
            snprintf(why->text, sizeof why->text, "%s", err_msg(err));
            rc = -ENOTSUP;
        } else {
            rc = libvirt_error(err, "comparing the guest's CPU with this host's");
            rc = rc == -ENOTSUP ? -EIO : rc; /* it says nothing about the CPU */
        }
    }
    api->virConnectClose(c);
    return rc;
}
