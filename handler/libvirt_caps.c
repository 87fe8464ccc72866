/* libvirt through dlopen; see libvirt_caps.h. */
#include "handler/libvirt_caps.h"

#include <errno.h>

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/sb.h"
#include "sched/labeller.h"

#if defined(__x86_64__)
#define MACHINE "q35"
#elif defined(__s390x__)
#define MACHINE "s390-ccw-virtio"
#else
#define MACHINE "virt"
#endif

#define CALLS(X)                       \
    X(virConnectOpen)                  \
    X(virConnectClose)                 \
    X(virConnectGetCapabilities)       \
    X(virConnectGetDomainCapabilities) \
    X(virConnectBaselineHypervisorCPU) \
    X(virGetLastErrorMessage)          \
    X(virSetErrorFunc)

#define POINTER(name) __typeof__(name) *name;
static struct {
    CALLS(POINTER)
} lib; /* written once, under once */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[256]; /* why lib is not there; likewise */

static void load(void);
static void be_quiet(void *ctx, virErrorPtr error);
static const char *taken(char *xml, struct arena *a);
static const char *domain_capabilities(virConnectPtr c, const char **ret_machine,
                                       const char **ret_type, struct arena *a);
static const char *expanded(virConnectPtr c, const char *domcapabilities, const char *machine,
                            const char *type, struct arena *a);

int
libvirt_caps_read(const char *uri, struct libvirt_caps *ret, struct arena *a, struct err *err)
{
    struct libvirt_caps caps = {0};
    const char *machine = NULL, *type = NULL;
    virConnectPtr c;
    int rc = 0;

    pthread_once(&once, load);
    if (missing[0])
        return err_set(err, -ENOTSUP, "%s", missing);
    c = lib.virConnectOpen(uri);
    if (!c)
        return err_set(err, -ECONNREFUSED, "%s: %s", uri, lib.virGetLastErrorMessage());
    caps.domcapabilities = domain_capabilities(c, &machine, &type, a);
    if (!caps.domcapabilities)
        rc = err_set(err, -EIO, "%s: domain capabilities: %s", uri, lib.virGetLastErrorMessage());
    if (rc == 0) {
        caps.capabilities = taken(lib.virConnectGetCapabilities(c), a);
        if (!caps.capabilities)
            rc = err_set(err, -EIO, "%s: capabilities: %s", uri, lib.virGetLastErrorMessage());
    }
    if (rc == 0) {
        caps.supported_features = expanded(c, caps.domcapabilities, machine, type, a);
        *ret = caps;
    }
    lib.virConnectClose(c);
    return rc;
}

static void
load(void)
{
    void *so = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);

    if (!so) {
        snprintf(missing, sizeof missing, "no libvirt on this host: %s", dlerror());
        return;
    }
#define RESOLVE(name)                       \
    *(void **)&lib.name = dlsym(so, #name); \
    if (!lib.name)                          \
        snprintf(missing, sizeof missing, "libvirt.so.0 has no " #name);
    CALLS(RESOLVE)
    if (!missing[0])
        lib.virSetErrorFunc(NULL, be_quiet); /* who calls logs it; libvirt would print it, too */
}

static void
be_quiet(void *ctx, virErrorPtr error)
{
    (void)ctx;
    (void)error;
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
domain_capabilities(virConnectPtr c, const char **ret_machine, const char **ret_type,
                    struct arena *a)
{
    static const struct {
        const char *machine, *type;
    } tries[] = {{MACHINE, "kvm"}, {MACHINE, "qemu"}, {NULL, NULL}};
    const char *xml = NULL;

    for (size_t i = 0; !xml && i < ARRAY_LEN(tries); i++) {
        *ret_machine = tries[i].machine;
        *ret_type = tries[i].type;
        xml = taken(
            lib.virConnectGetDomainCapabilities(c, NULL, NULL, tries[i].machine, tries[i].type, 0),
            a);
    }
    return xml;
}

/* NULL: not here; then the labeller makes do with the host model and the CPU map. */
static const char *
expanded(virConnectPtr c, const char *domcapabilities, const char *machine, const char *type,
         struct arena *a)
{
    const struct labeller_text text = {"domain capabilities", domcapabilities};
    const char *cpu = labeller_host_cpu(&text, a);

    if (!cpu)
        return NULL;
    return taken(lib.virConnectBaselineHypervisorCPU(c, NULL, NULL, machine, type, &cpu, 1,
                                                     VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES),
                 a);
}
