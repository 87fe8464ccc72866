/* What this host's libvirt says of itself, for the labeller. */
#ifndef HANDLER_LIBVIRT_CAPS_H
#define HANDLER_LIBVIRT_CAPS_H

#include "base/arena.h"
#include "base/err.h"
#include "handler/libvirt_conn.h"

struct libvirt_caps { /* XML, in the arena */
    const char *domcapabilities, *capabilities;
    const char *supported_features; /* NULL: this libvirt or architecture has no such call */
};

/* Asks libvirt; changes nothing. Blocks for as long as libvirt takes: on a worker. -ENOTCONN: no daemon
 * answers (within LIBVIRT_CAPS_WAIT_US); -EIO: it does, but not this. */
int libvirt_caps_read(struct libvirt *lv, struct libvirt_caps *ret, struct arena *a,
                      struct err *err);

#endif
