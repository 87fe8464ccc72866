/* Capabilities of the connection; see libvirt_caps.h. */
#include "handler/libvirt_caps.h"

#include <errno.h>

#include "base/sb.h"
#include "handler/limits.h"
#include "sched/labeller.h"

#if defined(__x86_64__)
#define MACHINE "q35"
#elif defined(__s390x__)
#define MACHINE "s390-ccw-virtio"
#else
#define MACHINE "virt"
#endif

static const char *taken(char *xml, struct arena *a);
static const char *domain_capabilities(const struct libvirt_api *api, virConnectPtr c,
                                       const char **ret_machine, const char **ret_type,
                                       struct arena *a);
static const char *expanded(const struct libvirt_api *api, virConnectPtr c,
                            const char *domcapabilities, const char *machine, const char *type,
                            struct arena *a);

int
libvirt_caps_read(struct libvirt *lv, struct libvirt_caps *ret, struct arena *a, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    struct libvirt_caps caps = {0};
    const char *machine = NULL, *type = NULL;
    virConnectPtr c = libvirt_wait(lv, LIBVIRT_CAPS_WAIT_US, err);
    int rc = 0;

    if (!c)
        return -ENOTCONN;
    caps.domcapabilities = domain_capabilities(api, c, &machine, &type, a);
    if (!caps.domcapabilities)
        rc = libvirt_error(err, "domain capabilities");
    if (rc == 0) {
        caps.capabilities = taken(api->virConnectGetCapabilities(c), a);
        if (!caps.capabilities)
            rc = libvirt_error(err, "capabilities");
    }
    if (rc == 0) {
        caps.supported_features = expanded(api, c, caps.domcapabilities, machine, type, a);
        *ret = caps;
    }
    api->virConnectClose(c);
    return rc;
}

static const char *
taken(char *xml, struct arena *a)
{
    const char *copy = arena_strdup(a, xml);

    free(xml);
    return copy;
}

/* As KubeVirt asks: KVM, else emulation, on the machine type that VMs get; else the driver's defaults. */
static const char *
domain_capabilities(const struct libvirt_api *api, virConnectPtr c, const char **ret_machine,
                    const char **ret_type, struct arena *a)
{
    static const struct {
        const char *machine, *type;
    } tries[] = {{MACHINE, "kvm"}, {MACHINE, "qemu"}, {NULL, NULL}};
    const char *xml = NULL;

    for (size_t i = 0; !xml && i < ARRAY_LEN(tries); i++) {
        *ret_machine = tries[i].machine;
        *ret_type = tries[i].type;
        xml = taken(
            api->virConnectGetDomainCapabilities(c, NULL, NULL, tries[i].machine, tries[i].type, 0),
            a);
    }
    return xml;
}

/* NULL: not here; then the labeller makes do with the host model and the CPU map. */
static const char *
expanded(const struct libvirt_api *api, virConnectPtr c, const char *domcapabilities,
         const char *machine, const char *type, struct arena *a)
{
    const struct labeller_text text = {"domain capabilities", domcapabilities};
    const char *cpu = labeller_host_cpu(&text, a);

    if (!cpu)
        return NULL;
    return taken(api->virConnectBaselineHypervisorCPU(c, NULL, NULL, machine, type, &cpu, 1,
                                                      VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES),
                 a);
}
