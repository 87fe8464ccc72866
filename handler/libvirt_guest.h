/* Domains as guests: the libvirt driver behind handler/hv.h.
 *
 * STATE/guests/UID/ holds what belongs to one (console.sock, console.log, overlays, domain.xml); the domain
 * itself is libvirt's, persistent while it is here, and known again by its <metadata>. After a restart of
 * the handler, of libvirtd, or of both, the domains that run are adopted and nothing is done to them. */
#ifndef HANDLER_LIBVIRT_GUEST_H
#define HANDLER_LIBVIRT_GUEST_H

#include "handler/hv.h"

#define LV_RECORD_FILE "domain.json" /* in a guest's directory: it is a domain, and which one */

struct lv_driver_config {
    const char *state_dir, *uri;
    const char *images;    /* directory of images; NULL: STATE/images */
    const char *vm_bridge; /* or NULL */
    struct loop *loop;
    /* On the loop's thread: libvirt is there now, or is not any more. */
    void (*changed)(void *ctx, bool up);
    void *ctx;
};

/* -ENOTSUP: no libvirt library. A libvirtd that is not there is no error: it may come (ready says). */
int lv_driver_new(const struct lv_driver_config *cfg, struct hv_driver **ret, struct err *err);

/* --- for the migrations of domains (libvirt_source.c, libvirt_target.c) --- */
struct lv_guest; /* begins with struct hv_guest */
struct libvirt;
struct libvirt *lv_guest_conn(struct lv_guest *g);
const unsigned char *lv_guest_uuid(const struct lv_guest *g);
const char *lv_guest_dir(const struct lv_guest *g); /* STATE/guests/UID */
const char *lv_guest_domain_name(const struct lv_guest *g);
/* Targets of the disks that must be copied (libvirt_disk.h), as planned when it was made or adopted. */
size_t lv_guest_disks_to_copy(const struct lv_guest *g, char (*ret)[16], size_t max);
/* Tells the driver that a migration is at work on the domain, so that events of it are not read as the
 * guest's end (stopped: migrated) or as a user's pause. */
void lv_guest_migrating(struct lv_guest *g, bool on);
/* The incoming guest's domain is there now (after Prepare), or has begun to run. */
void lv_guest_arrived(struct lv_guest *g);

#endif
