/* libvirt's functions, found at run time (dlopen of libvirt.so.0), in a table: a handler without
 * libvirt starts and says so, and tests put their own functions in place of those that test:///default
 * does not have (everything about migrations). One line a function in CALLS. */
#ifndef HANDLER_LIBVIRT_API_H
#define HANDLER_LIBVIRT_API_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/err.h"

/* Functions that all supported versions (9.0 to 11.x and later) have. */
#define LIBVIRT_CALLS(X)                  \
    X(virEventRegisterDefaultImpl)        \
    X(virEventRunDefaultImpl)             \
    X(virConnectOpen)                     \
    X(virConnectClose)                    \
    X(virConnectRef)                      \
    X(virConnectSetKeepAlive)             \
    X(virConnectIsAlive)                  \
    X(virConnectRegisterCloseCallback)    \
    X(virConnectUnregisterCloseCallback)  \
    X(virConnectDomainEventRegisterAny)   \
    X(virConnectDomainEventDeregisterAny) \
    X(virConnectGetLibVersion)            \
    X(virConnectGetVersion)               \
    X(virConnectGetCapabilities)          \
    X(virConnectGetDomainCapabilities)    \
    X(virConnectBaselineHypervisorCPU)    \
    X(virConnectCompareHypervisorCPU)     \
    X(virConnectListAllDomains)           \
    X(virDomainLookupByUUID)              \
    X(virDomainLookupByUUIDString)        \
    X(virDomainRef)                       \
    X(virDomainFree)                      \
    X(virDomainGetName)                   \
    X(virDomainGetUUID)                   \
    X(virDomainGetXMLDesc)                \
    X(virDomainGetState)                  \
    X(virDomainDefineXMLFlags)            \
    X(virDomainUndefineFlags)             \
    X(virDomainCreate)                    \
    X(virDomainCreateXML)                 \
    X(virDomainDestroy)                   \
    X(virDomainSuspend)                   \
    X(virDomainResume)                    \
    X(virDomainShutdownFlags)             \
    X(virDomainReset)                     \
    X(virDomainIsPersistent)              \
    X(virDomainListGetStats)              \
    X(virDomainStatsRecordListFree)       \
    X(virDomainMigrateToURI3)             \
    X(virDomainMigrateStartPostCopy)      \
    X(virDomainMigrateSetMaxDowntime)     \
    X(virDomainMigrateSetMaxSpeed)        \
    X(virDomainGetJobStats)               \
    X(virDomainAbortJob)                  \
    X(virTypedParamsAddString)            \
    X(virTypedParamsAddULLong)            \
    X(virTypedParamsAddInt)               \
    X(virTypedParamsFree)                 \
    X(virTypedParamsGetULLong)            \
    X(virTypedParamsGetUInt)              \
    X(virTypedParamsGetLLong)             \
    X(virTypedParamsGetInt)               \
    X(virGetLastError)                    \
    X(virGetLastErrorMessage)             \
    X(virResetLastError)                  \
    X(virSetErrorFunc)

struct libvirt_api {
#define X(name) __typeof__(name) *name;
    LIBVIRT_CALLS(X)
#undef X
};

/* The table; the same one each time, loaded once. NULL with -ENOTSUP when libvirt.so.0 is not here or
 * lacks a function. Any thread. */
const struct libvirt_api *libvirt_api(struct err *err);
/* Tests: this table from now on (NULL: the library's). Before any connection is made. */
void libvirt_api_replace(const struct libvirt_api *api);

#endif
