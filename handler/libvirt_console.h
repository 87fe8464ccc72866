/* A guest's serial console: the unix socket on which its QEMU listens. QEMU serves one client at a time
 * and lets others wait unseen, so that who is connected is looked up before. */
#ifndef HANDLER_LIBVIRT_CONSOLE_H
#define HANDLER_LIBVIRT_CONSOLE_H

#include "base/err.h"

/* Connects to the socket at path; *ret is the caller's. -EBUSY: somebody is connected; -ENOTSUP: there is
 * no such socket, or nobody listens on it. Any thread. */
int lv_console_open(const char *path, int *ret, struct err *err);

#endif
