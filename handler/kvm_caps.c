/* Ioctls of /dev/kvm (linux/Documentation/virt/kvm/api.rst) and a file of /proc; see kvm_caps.h. */
#include "handler/kvm_caps.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fs.h"
#include "base/sb.h"

#define RT_RUNTIME "/proc/sys/kernel/sched_rt_runtime_us"

#if defined(__x86_64__)

#define MAX_MSRS 4096 /* KVM knows some hundred */

struct feature {
    const char *name;
    int extension; /* KVM_CHECK_EXTENSION says it, or, where it is 0, */
    uint32_t msr;  /* that the guest may use this synthetic MSR (Hyper-V TLFS, appendix C) */
};

static const struct feature features[] = {
    {"base", KVM_CAP_HYPERV, 0},
    {"time", KVM_CAP_HYPERV_TIME, 0},
    {"vpindex", KVM_CAP_HYPERV_VP_INDEX, 0},
    {"tlbflush", KVM_CAP_HYPERV_TLBFLUSH, 0},
    {"ipi", KVM_CAP_HYPERV_SEND_IPI, 0},
    {"synic", KVM_CAP_HYPERV_SYNIC, 0},
    {"synic2", KVM_CAP_HYPERV_SYNIC2, 0},
    {"frequencies", 0, 0x40000022},
    {"reset", 0, 0x40000003},
    {"runtime", 0, 0x40000010},
    {"synictimer", 0, 0x400000b0},
    {"reenlightenment", 0, 0x40000106},
};

static bool has_msr(const struct kvm_msr_list *list, uint32_t msr);

struct str_list
kvm_caps_hyperv(struct arena *a)
{
    struct str_list ret = {.items = arena_calloc(a, ARRAY_LEN(features), sizeof(*ret.items))};
    struct kvm_msr_list *msrs = arena_alloc(a, sizeof(*msrs) + MAX_MSRS * sizeof(msrs->indices[0]));
    AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return ret;
    msrs->nmsrs = MAX_MSRS;
    if (ioctl(fd, KVM_GET_MSR_INDEX_LIST, msrs) != 0)
        msrs->nmsrs = 0;
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        const struct feature *f = &features[i];

        if (f->extension ? ioctl(fd, KVM_CHECK_EXTENSION, f->extension) > 0 : has_msr(msrs, f->msr))
            ret.items[ret.len++] = f->name;
    }
    return ret;
}

static bool
has_msr(const struct kvm_msr_list *list, uint32_t msr)
{
    for (uint32_t i = 0; i < list->nmsrs; i++)
        if (list->indices[i] == msr)
            return true;
    return false;
}

#else

struct str_list
kvm_caps_hyperv(struct arena *a)
{
    (void)a;
    return (struct str_list){0};
}

#endif

bool
kvm_caps_realtime(void)
{
    AUTO_FREE char *text = NULL;
    size_t len;

    return fs_read_all(RT_RUNTIME, 64, &text, &len, NULL) == 0 && atoll(text) == -1;
}

bool
kvm_caps_usable(void)
{
    AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    return fd >= 0;
}
