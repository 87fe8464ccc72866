/* See libvirt_host.h. */
#include "handler/libvirt_host.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "base/log.h"
#include "base/sb.h"
#include "handler/kvm_caps.h"
#include "handler/libvirt_domxml.h"

#define FIXED_TCG_VERSION 9000000 /* QEMU 9.0: 03bfc2188f in upstream's history */

static bool has_kvm(virConnectPtr c);
static int taken_cpus(virConnectPtr c, struct lv_cpuset *ret, struct err *err);

int
lv_host_look(struct libvirt *lv, virConnectPtr c, const char *wanted, struct lv_host *ret,
             struct hv_refusal *why)
{
    unsigned long version, qemu;
    bool kvm = has_kvm(c);

    if (wanted && strcmp(wanted, "kvm") != 0 && strcmp(wanted, "tcg") != 0) {
        snprintf(why->reason, sizeof why->reason, "UnsupportedField");
        snprintf(why->text, sizeof why->text, "annotation %s: \"%.64s\": want kvm or tcg",
                 ANN_ACCELERATOR, wanted);
        return -ENOTSUP;
    }
    if (wanted && strcmp(wanted, "kvm") == 0 && !kvm) {
        snprintf(why->reason, sizeof why->reason, "KVMNotAvailable");
        snprintf(why->text, sizeof why->text, "annotation %s: kvm: this host has none",
                 ANN_ACCELERATOR);
        return -ENOTSUP;
    }
    libvirt_versions(lv, &version, &qemu);
    ret->kvm = kvm && !(wanted && strcmp(wanted, "tcg") == 0);
    ret->odd_memory = !ret->kvm && qemu < FIXED_TCG_VERSION;
    ret->swtpm = access("/usr/bin/swtpm", X_OK) == 0;
    return 0;
}

static bool
has_kvm(virConnectPtr c)
{
    const struct libvirt_api *api = libvirt_api(NULL);
    AUTO_FREE char *caps = api->virConnectGetDomainCapabilities(c, NULL, NULL, NULL, "kvm", 0);

    return caps && kvm_caps_usable();
}

/* A libvirtd that is gone or busy says nothing of KVM: only what QEMU itself says counts. */
static bool
model_starts(virConnectPtr c, const char *without, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(NULL);
    AUTO_FREE char *feature =
        xasprintf(without ? "<feature policy='disable' name='%s'/>" : "%s", without ? without : "");
    AUTO_FREE char *xml =
        xasprintf("<domain type='kvm'><name>drover-probe-%d</name><memory unit='MiB'>16</memory>"
                  "<vcpu>1</vcpu><os><type>hvm</type></os><cpu mode='host-model'>%s</cpu></domain>",
                  (int)getpid(), feature);
    virDomainPtr dom =
        api->virDomainCreateXML(c, xml, VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY);

    if (!dom)
        return libvirt_error(err, "a paused guest of the host's CPU model") != -EIO;
    api->virDomainDestroy(dom);
    api->virDomainFree(dom);
    return true;
}

const char *
lv_host_broken_feature(virConnectPtr c)
{
    static const char *const suspects[] = {"arch-capabilities"}; /* MSR 0x10a */
    struct err err = {0};

    if (model_starts(c, NULL, &err))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(suspects); i++) {
        if (model_starts(c, suspects[i], NULL)) {
            log_warn("libvirt.hostmodel", LS("without", suspects[i]), LS("error", err_msg(&err)));
            return suspects[i];
        }
    }
    return NULL; /* the guest's own start says what is wrong */
}

int
lv_host_cpus(virConnectPtr c, size_t n, unsigned *ret, struct hv_refusal *why, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    AUTO_FREE char *caps = api->virConnectGetCapabilities(c);
    struct arena *a = arena_new();
    struct lv_cpuset taken = {0};
    struct lv_cpus_host host;
    int rc = caps ? lv_domxml_host(caps, &host, a, err) : libvirt_error(err, "capabilities");

    if (rc == 0)
        rc = taken_cpus(c, &taken, err);
    if (rc == 0) {
        rc = lv_cpus_pick(&host, &taken, n, ret, err);
        if (rc == -EBUSY) {
            snprintf(why->reason, sizeof why->reason, "NotEnoughDedicatedCPUs");
            snprintf(why->text, sizeof why->text, "cpu.dedicatedCpuPlacement: %s", err_msg(err));
        }
    }
    arena_free(a);
    return rc;
}

/* Of all domains that run, whoever made them. */
static int
taken_cpus(virConnectPtr c, struct lv_cpuset *ret, struct err *err)
{
    const struct libvirt_api *api = libvirt_api(err);
    virDomainPtr *list = NULL;
    int n = api->virConnectListAllDomains(c, &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE), rc = 0;

    if (n < 0)
        return libvirt_error(err, "list of domains");
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *xml = api->virDomainGetXMLDesc(list[i], 0);
        struct arena *a = arena_new();
        struct lv_domxml d;

        if (!xml) { /* one that is gone meanwhile has none */
            int why = libvirt_error(err, "domain");

            rc = rc == 0 && why != -ESRCH ? why : rc;
        } else if (lv_domxml_read(xml, &d, a, NULL) == 0) {
            lv_cpuset_join(ret, &d.pinned);
        }
        arena_free(a);
        api->virDomainFree(list[i]);
    }
    free(list);
    return rc;
}
