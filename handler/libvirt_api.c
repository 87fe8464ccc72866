/* dlopen of libvirt.so.0; see libvirt_api.h. */
#include "handler/libvirt_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct libvirt_api library;                 /* written under once, like the next two */
static char missing[256];                          /* why library is not there */
static const struct libvirt_api *_Atomic replaced; /* by a test, or NULL */

static void load(void);
static void be_quiet(void *ctx, virErrorPtr error);

const struct libvirt_api *
libvirt_api(struct err *err)
{
    const struct libvirt_api *api = atomic_load(&replaced);

    if (api)
        return api;
    pthread_once(&once, load);
    if (!missing[0])
        return &library;
    err_set(err, -ENOTSUP, "%s", missing);
    return NULL;
}

void
libvirt_api_replace(const struct libvirt_api *api)
{
    atomic_store(&replaced, api);
}

static void
load(void)
{
    void *so = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);

    if (!so) {
        snprintf(missing, sizeof missing, "no libvirt on this host: %s", dlerror());
        return;
    }
#define RESOLVE(name)                           \
    *(void **)&library.name = dlsym(so, #name); \
    if (!library.name)                          \
        snprintf(missing, sizeof missing, "libvirt.so.0 has no " #name);
    LIBVIRT_CALLS(RESOLVE)
    if (!missing[0])
        library.virSetErrorFunc(NULL,
                                be_quiet); /* who calls logs it; libvirt would print it, too */
}

static void
be_quiet(void *ctx, virErrorPtr error)
{
    (void)ctx;
    (void)error;
}
