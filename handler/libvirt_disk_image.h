/* Image files: which one a containerDisk reference stands for, what a qcow2 header says, and qemu-img.
 * Blocks; any thread. */
#ifndef HANDLER_LIBVIRT_DISK_IMAGE_H
#define HANDLER_LIBVIRT_DISK_IMAGE_H

#include <stdint.h>

#include "base/err.h"

/* base: <images>/<reference>. It, or it with .qcow2, .raw or .img; a directory stands for the file `inside`
 * of it (which may not be a link that leads out), or without one for the only file in its disk/. An image is
 * the operator's and no guest writes to it, so its format may be looked at: qcow2 by name or first bytes. One
 * that names another file (backing, external data) is refused: whoever made it could read this host's files
 * by it. -ENOENT lists what was tried, -EINVAL. *ret_path is the caller's. */
int lv_image_find(const char *base, const char *inside, char **ret_path, const char **ret_format,
                  struct err *err);

/* path lies in the directory root, links followed. -ENOENT, -EINVAL. */
int lv_image_inside(const char *root, const char *path, struct err *err);

/* qemu-img create: format "qcow2"; backing NULL = none; bytes 0 = the backing file's size. Never by a shell,
 * never probing. -ENOENT with text when qemu-img is not installed, -ENOSPC, -ETIMEDOUT after
 * HANDLER_QEMU_IMG_US, else -EIO with what it said. */
int lv_image_create(const char *path, const char *format, const char *backing,
                    const char *backing_format, uint64_t bytes, struct err *err);

#endif
