/* Sockets of migrations (LV_MIGRATE_DIR) that nobody listens on any more: a handler or QEMU that was killed left
 * them. Each migration has names of its own, so that no later one would ever remove them. */
#ifndef HANDLER_LIBVIRT_SOCKETS_H
#define HANDLER_LIBVIRT_SOCKETS_H

#include <stddef.h>

/* Removes those in dir that /proc/net/unix does not know and that are older than 100 ms. Returns how many.
 * Any thread; blocks as long as reading a directory does. */
size_t lv_sockets_sweep(const char *dir);

#endif
