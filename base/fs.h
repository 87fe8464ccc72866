/* Files and descriptors: whole reads and writes, atomic replacement, directories. All block. */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads a whole file of at most max bytes. *ret_buf is malloc'd, NUL-terminated, the caller's;
 * path "-" is standard input. -EFBIG when it is larger. */
int fs_read_all(const char *path, size_t max, char **ret_buf, size_t *ret_len, struct err *err);
/* Writes tmp beside path, fsyncs it, renames it over path and fsyncs the directory: after it
 * returns 0 the new content survives a crash; a crash before leaves the old content. */
int fs_replace(const char *path, const void *buf, size_t len, mode_t mode, struct err *err);
/* mkdir -p. */
int fs_mkdirs(const char *path, mode_t mode, struct err *err);
/* rm -rf; missing is fine. Does not follow links and does not leave the file system. */
int fs_rmtree(const char *path, struct err *err);
/* Loops over short reads and EINTR. Return 0, -errno, or (read) -EPIPE on an early end. */
int fs_read_full(int fd, void *buf, size_t len);
int fs_write_full(int fd, const void *buf, size_t len);
int fs_set_nonblock(int fd, bool on);

#endif
