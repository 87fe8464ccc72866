/* Why libvirt or QEMU did not want a domain, as a reason that a condition can have; see
 * libvirt_guest_int.h. Causes are told by libvirt's code, and where that says little (QEMU's own words come
 * as internal errors) by what QEMU is known to say. */
#include <string.h>

#include "handler/libvirt_guest_int.h"

static const struct {
    const char *said, *reason;
} causes[] = {
    {"Cannot allocate memory", "NotEnoughMemory"},
    {"cannot set up guest memory", "NotEnoughMemory"},
    {"unable to map backing store", "NotEnoughHugepages"},
    {"Failed to get \"write\" lock", "VolumeInUse"},
    {"Failed to get shared \"write\" lock", "VolumeInUse"},
    {"No space left on device", "NotEnoughSpace"},
    {"Permission denied", "PermissionDenied"},
    {"Cannot get interface MTU", "NetworkNotFound"},
    {"Network not found", "NetworkNotFound"},
    {"Unable to add bridge", "NetworkNotFound"},
    {"Could not open '", "VolumeNotFound"},
    {"Cannot access storage file", "VolumeNotFound"},
    {"Could not load PC BIOS", "FirmwareNotFound"},
    {"Unable to find any firmware", "FirmwareNotFound"},
    {"could not open kernel file", "KernelNotFound"},
    {"could not load kernel", "KernelNotFound"},
    {"the CPU is incompatible", "CPUIncompatible"},
    {"Unknown CPU model", "CPUModelNotFound"},
    {"Could not access KVM kernel module", "KVMNotAvailable"},
};

bool
lv_refusal_of(const struct libvirt_api *api, const char *fallback, struct hv_refusal *why)
{
    const virError *e = api->virGetLastError();
    const char *reason = fallback;

    if (!e || !e->message)
        return false;
    switch (e->code) {
    case VIR_ERR_RPC:
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_NO_MEMORY: /* libvirtd's own */
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_OPERATION_TIMEOUT: /* another job has the domain */
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        return false;
    case VIR_ERR_CPU_INCOMPATIBLE:
        reason = "CPUIncompatible";
        break;
    case VIR_ERR_NO_NETWORK:
        reason = "NetworkNotFound";
        break;
    default:
        if (e->domain == VIR_FROM_RPC)
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(causes); i++)
        if (strstr(e->message, causes[i].said)) {
            reason = causes[i].reason;
            break;
        }
    snprintf(why->reason, sizeof why->reason, "%s", reason);
    snprintf(why->text, sizeof why->text, "libvirt: %s", e->message);
    for (char *c = why->text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = c[1] ? ' ' : '\0';
    return true;
}
