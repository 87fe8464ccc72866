/* Image files: see libvirt_disk_image.h. The header's fields: QEMU's docs/interop/qcow2.txt. */
#include "handler/libvirt_disk_image.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sb.h"

#define QCOW2_MAGIC         0x514649fbu
#define QCOW2_DATA_FILE_BIT (UINT64_C(1) << 2)

struct qcow2_head { /* big-endian */
    uint32_t magic, version;
    uint64_t backing_file_offset;
    unsigned char between[56];
    uint64_t incompatible_features; /* from version 3 on */
} __attribute__((packed));

static int only_file(const char *dir, char **ret, struct err *err);
static int settle(const char *path, const char **ret_format, struct err *err);

int
lv_image_find(const char *base, const char *inside, char **ret_path, const char **ret_format,
              struct err *err)
{
    static const char *const suffixes[] = {"", ".qcow2", ".raw", ".img"};
    AUTO_SB struct sb tried = SB_INIT;

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", base, suffixes[i]);
        struct stat st;
        int rc;

        sb_printf(&tried, "%s%s", i ? ", " : "", path);
        if (stat(path, &st))
            continue;
        if (S_ISDIR(st.st_mode)) {
            char *file = NULL;

            if (inside) {
                file = xasprintf("%s/%s", path, inside + strspn(inside, "/"));
                rc = lv_image_inside(path, file, err);
            } else {
                rc = only_file(path, &file, err);
            }
            free(path);
            path = file;
            if (rc || !path)
                return rc;
        } else if (inside) {
            return err_set(err, -EINVAL, "%s is a file: a path in it (%s) wants a directory", path,
                           inside);
        }
        rc = settle(path, ret_format, err);
        if (rc == 0)
            *ret_path = TAKE_PTR(path);
        return rc;
    }
    return err_set(err, -ENOENT, "there is no image: tried %s", sb_str(&tried));
}

int
lv_image_inside(const char *root, const char *path, struct err *err)
{
    AUTO_FREE char *real_root = realpath(root, NULL);
    AUTO_FREE char *real = realpath(path, NULL);
    size_t len = real_root ? strlen(real_root) : 0;

    if (!real_root || !real)
        return err_set(err, -errno, "%s is not there", real_root ? path : root);
    if (strncmp(real, real_root, len) != 0 || real[len] != '/')
        return err_set(err, -EINVAL, "%s leads out of its image %s", path, root);
    return 0;
}

/* As the images of containers have it: one file in /disk. */
static int
only_file(const char *dir, char **ret, struct err *err)
{
    AUTO_FREE char *sub = xasprintf("%s/disk", dir);
    AUTO_FREE char *found = NULL;
    DIR *d = opendir(sub);
    struct dirent *e;
    unsigned n = 0;

    if (!d)
        return err_set(err, -ENOENT, "%s is a directory: want one file in %s, or a path", dir, sub);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        free(found);
        found = xasprintf("%s/%s", sub, e->d_name);
    }
    closedir(d);
    if (n != 1)
        return err_set(err, n ? -EINVAL : -ENOENT, "%s holds %u files: want one, or a path", sub,
                       n);
    *ret = TAKE_PTR(found);
    return lv_image_inside(dir, *ret, err);
}

static int
settle(const char *path, const char **ret_format, struct err *err)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct qcow2_head h = {0};
    struct stat st;
    size_t len = strlen(path);
    bool named = len > 6 && strcmp(path + len - 6, ".qcow2") == 0, is;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st))
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "%s is not a regular file", path);
    n = pread(fd, &h, sizeof(h), 0);
    if (n < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    is = n >= 24 && be32toh(h.magic) == QCOW2_MAGIC;
    if (named && !is)
        return err_set(err, -EINVAL, "%s is no qcow2 image", path);
    if (is &&
        (h.backing_file_offset != 0 ||
         (be32toh(h.version) >= 3 && (be64toh(h.incompatible_features) & QCOW2_DATA_FILE_BIT))))
        return err_set(
            err, -EINVAL,
            "%s refers to another file: an image has to be whole (qemu-img convert makes "
            "it so)",
            path);
    *ret_format = is ? "qcow2" : "raw";
    return 0;
}
