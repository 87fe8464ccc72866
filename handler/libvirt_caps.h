/* What this host's libvirt says of itself, for the labeller. The library is opened when it is first
 * asked for, so that a handler also runs on hosts that have none. */
#ifndef HANDLER_LIBVIRT_CAPS_H
#define HANDLER_LIBVIRT_CAPS_H

#include "base/arena.h"
#include "base/err.h"

struct libvirt_caps { /* XML, in the arena */
    const char *domcapabilities, *capabilities;
    const char *supported_features; /* NULL: this libvirt or architecture has no such call */
};

/* Connects to uri ("qemu:///system"), asks and disconnects; changes nothing, but a read-only connection
 * may not ask for domain capabilities (libvirt runs the emulator for them). Blocks for as long as libvirt
 * takes: on a worker. -ENOTSUP: no library here, or a build without it; -ECONNREFUSED: no daemon
 * answers; -EIO: it does, but not this. */
int libvirt_caps_read(const char *uri, struct libvirt_caps *ret, struct arena *a, struct err *err);

#endif
