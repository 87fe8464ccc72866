/* libvirt's functions, found at run time (dlopen of libvirt.so.0), in a table: a handler without
 * libvirt starts and says so, and tests put their own functions in place of those that test:///default
 * does not have (everything about migrations). One line a function in CALLS. */
#ifndef HANDLER_LIBVIRT_API_H
#define HANDLER_LIBVIRT_API_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/err.h"

/* Functions that all supported versions (9.0 to 11.x and later) have. */
#define LIBVIRT_CALLS(X)               \
    X(virConnectOpen)                  \
    X(virConnectClose)                 \
    X(virConnectRef)                   \
    X(virConnectGetCapabilities)       \
    X(virConnectGetDomainCapabilities) \
    X(virConnectBaselineHypervisorCPU) \
    X(virConnectCompareHypervisorCPU)  \
    X(virDomainMigrateToURI3)          \
    X(virGetLastErrorMessage)          \
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
