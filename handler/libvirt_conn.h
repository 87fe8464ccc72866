/* The connection to this host's libvirtd: opened, watched and opened again, with backoff, for as long as
 * the handler lives. libvirt is opened at run time (dlopen), so that a handler without it starts.
 *
 * Threads: one runs libvirt's event loop and makes the connection; blocking calls are made by the
 * handler's workers and by migrations' threads on the connection that libvirt_get gives them. Events
 * arrive on libvirt's thread and are handed to the subscriber there: it locks what it touches and posts
 * to the loop (loop_post).
 *
 * A libvirtd that does not answer: keepalive messages (LIBVIRT_KEEPALIVE_S, LIBVIRT_KEEPALIVE_COUNT in
 * limits.h) end the connection, so that every call on it ends with an error within that time; also
 * over the local socket. */
#ifndef HANDLER_LIBVIRT_CONN_H
#define HANDLER_LIBVIRT_CONN_H

#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/libvirt_api.h"

struct libvirt;

struct libvirt_config {
    const char *uri; /* as virConnectOpen takes it: qemu:///system, qemu:///system?socket=/path,
                        test:///default */
    /* On libvirt's thread. up: a connection is there (again): adopt what runs; false: it was lost. */
    void (*changed)(void *ctx, bool up);
    void *ctx;
};

/* Starts the thread; connects in the background. -ENOTSUP: no libvirt library on this host. */
int libvirt_new(const struct libvirt_config *cfg, struct libvirt **ret, struct err *err);
void libvirt_free(struct libvirt *lv); /* ends the thread; nobody calls anything any more */

/* The connection, with a reference that the caller gives back by api->virConnectClose; NULL with
 * -ENOTCONN in err (and why it could not be made) when there is none now. Any thread. */
virConnectPtr libvirt_get(struct libvirt *lv, struct err *err);
/* Waits up to timeout_us for one. */
virConnectPtr libvirt_wait(struct libvirt *lv, uint64_t timeout_us, struct err *err);
/* 0 when there is one now, else -ENOTCONN and why. Never blocks. */
int libvirt_ready(struct libvirt *lv, struct err *err);
const char *libvirt_uri(const struct libvirt *lv); /* as configured; borrowed */
/* Version numbers as libvirt gives them (major * 1000000 + minor * 1000 + release), 0 = not known. */
void libvirt_versions(struct libvirt *lv, unsigned long *ret_libvirt,
                      unsigned long *ret_hypervisor);

/* One domain's events, by uuid, until unsubscribe (which returns when no call is under way). Called on
 * libvirt's thread; survives reconnects (after one: LIBVIRT_EVENT_RESYNC: look at the domain again).
 * dom is borrowed. */
enum libvirt_event_kind {
    LIBVIRT_EVENT_LIFECYCLE, /* event, detail: virDomainEventType and its detail */
    LIBVIRT_EVENT_AGENT,     /* detail: 1 connected, 0 not */
    LIBVIRT_EVENT_REBOOT,
    LIBVIRT_EVENT_IO_ERROR,  /* text: which disk */
    LIBVIRT_EVENT_ITERATION, /* event: number of the migration's iteration */
    LIBVIRT_EVENT_JOB,       /* job completed: params, borrowed */
    LIBVIRT_EVENT_RESYNC,
    LIBVIRT_EVENT_LOST /* the connection is gone */
};
struct libvirt_event {
    enum libvirt_event_kind kind;
    int event, detail;
    const char *text;
    virTypedParameterPtr params;
    int params_len;
};
typedef void (*libvirt_event_fn)(void *ctx, virDomainPtr dom, const struct libvirt_event *ev);
void libvirt_subscribe(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                       libvirt_event_fn fn, void *ctx);
void libvirt_unsubscribe(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                         libvirt_event_fn fn, void *ctx);

/* Does not wait for a call that is under way: done(ctx) once there is none (and, at the latest, before
 * libvirt_free returns), on this thread or libvirt's. ctx may be freed there. */
void libvirt_unsubscribe_later(struct libvirt *lv, const unsigned char uuid[VIR_UUID_BUFLEN],
                               libvirt_event_fn fn, void *ctx, void (*done)(void *ctx));

/* The last error of this thread's libvirt call as ours: -errno by its code (no domain: -ESRCH, no
 * connection or keepalive: -ENOTCONN, operation aborted: -ECANCELED, timed out: -ETIMEDOUT, else -EIO),
 * "what: libvirt's message" on one line. */
int libvirt_error(struct err *err, const char *what);

#endif
