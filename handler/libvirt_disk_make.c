/* Checks the user's disks and makes ours: see libvirt_disk.h. In this order, so that an error leaves nothing:
 * look at all that has to be there, count the space, make ours, and at last what the user asked for. */
#include "handler/libvirt_disk_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "api/quantity.h"
#include "base/fs.h"
#include "handler/libvirt_disk_image.h"
#include "handler/libvirt_disk_seed.h"

#define OVERLAY_BYTES (UINT64_C(1) << 20) /* an empty one, and then some */
/* QEMU's locks on an image that it has open (block/file-posix.c): one byte for each permission that it has,
 * one for each that it does not share; the second is that to write. */
#define LOCK_MAY_WRITE  101
#define LOCK_NO_WRITERS 201

struct maker {
    bool incoming;
    struct hv_refusal *why;
    struct err *err;
};

static int settle(struct maker *m, struct lv_disk *d);
static int check_file(struct maker *m, struct lv_disk *d, const char *path, bool writes);
static int check_in_use(struct maker *m, const struct lv_disk *d, int fd, const char *path,
                        bool writes);
static bool locked(int fd, off_t byte);
static int check_boot(struct maker *m, const struct lv_boot *b);
static int check_space(struct maker *m, const struct lv_disks *d);
static uint64_t needs(const struct lv_disk *d);
static bool is_new(const struct lv_disk *d);
static int make_ours(struct maker *m, const struct lv_disk *d);
static int make_theirs(struct maker *m, const struct lv_disk *d);
static int make_sparse(const char *path, uint64_t bytes, struct err *err);
static int make_seed(const struct lv_disk *d, struct err *err);
static int say(struct maker *m, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static char *parent(const char *path);

int
lv_disks_check(struct lv_disks *d, bool incoming, struct hv_refusal *why, struct err *err)
{
    struct err own = {0};
    struct maker m = {.incoming = incoming, .why = why, .err = err ? err : &own};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < d->len; i++)
        rc = settle(&m, &d->items[i]);
    return rc ? rc : check_boot(&m, &d->boot);
}

int
lv_disks_make(const struct lv_disks *d, struct hv_refusal *why, struct err *err)
{
    struct err own = {0};
    struct maker m = {.why = why, .err = err ? err : &own};
    size_t made = 0;
    int rc = check_space(&m, d);

    for (; rc == 0 && made < d->len; made++)
        if (d->items[made].ours)
            rc = make_ours(&m, &d->items[made]);
    for (size_t i = 0; rc == 0 && i < d->len; i++)
        if (is_new(&d->items[i]) && !d->items[i].ours)
            rc = make_theirs(&m, &d->items[i]);
    if (rc && made)
        lv_disks_remove(d);
    return rc;
}

void
lv_disks_remove(const struct lv_disks *d)
{
    for (size_t i = 0; i < d->len; i++)
        if (d->items[i].ours)
            (void)unlink(d->items[i].path);
}

/* Finds the file that has to be there and looks at it; settles path (or backing), format and block. */
static int
settle(struct maker *m, struct lv_disk *d)
{
    bool under = d->backing != NULL;
    char **base = under ? &d->backing : &d->path;
    const char **format = under ? &d->backing_format : &d->format;
    struct stat st;

    if (d->ours && !under)
        return 0;
    if (d->find == LV_FIND_IMAGE) {
        struct err err = {0};
        char *found = NULL;
        int rc = lv_image_find(*base, d->inside, &found, format, &err);

        if (rc || !found)
            return say(m, rc, "volume %s: %s", d->name, err_msg(&err));
        free(*base);
        *base = found;
    } else if (d->find == LV_FIND_CLAIM && stat(*base, &st) == 0 && S_ISDIR(st.st_mode)) {
        char *file = xasprintf("%s/disk.img", *base);

        free(*base);
        *base = file;
    } else if (d->find == LV_FIND_CLAIM && stat(*base, &st) && errno == ENOENT) {
        /* a claim's directory is there before its disk.img is made */
        return say(m, -ENOENT, "volume %s: %s is not there", d->name, *base);
    }
    d->find = LV_FIND_FILE; /* found: once more is the same */
    return check_file(m, d, *base, !under && !d->read_only);
}

static int
check_file(struct maker *m, struct lv_disk *d, const char *path, bool writes)
{
    AUTO_FD int fd = -1;
    struct stat st;

    if (stat(path, &st)) {
        if (errno == ENOENT && is_new(d) && !d->backing && !m->incoming)
            return 0;
        return say(m, -errno, "volume %s: %s%s", d->name, path,
                   errno == ENOENT ? " is not there" : " cannot be looked at");
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return say(m, -EINVAL, "volume %s: %s is %s: want a file or a block device", d->name, path,
                   S_ISDIR(st.st_mode) ? "a directory" : "no disk");
    if (S_ISREG(st.st_mode) && st.st_size == 0)
        return say(m, -EINVAL, "volume %s: %s is empty: a disk has a size", d->name, path);
    /* a block device that is opened to write and closed wakes udev: it is only read here */
    fd = open(path, (writes && S_ISREG(st.st_mode) ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return say(m, -errno, "volume %s: %s cannot be opened to %s: %s", d->name, path,
                   writes ? "write" : "read", strerror(errno));
    *(d->backing ? &d->backing_block : &d->block) = S_ISBLK(st.st_mode);
    return check_in_use(m, d, fd, path, writes);
}

/* Somebody else's QEMU that writes to it, or wants no writers. At the target of a migration the source's
 * still has it open. */
static int
check_in_use(struct maker *m, const struct lv_disk *d, int fd, const char *path, bool writes)
{
    if (m->incoming || d->shareable)
        return 0;
    if (locked(fd, LOCK_MAY_WRITE) || (writes && locked(fd, LOCK_NO_WRITERS)))
        return say(m, -EBUSY, "volume %s: %s is in use by another VM", d->name, path);
    return 0;
}

static bool
locked(int fd, off_t byte)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static int
check_boot(struct maker *m, const struct lv_boot *b)
{
    const char *const files[] = {b->kernel, b->initrd};

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct err err = {0};
        struct stat st;
        int rc;

        if (!files[i])
            continue;
        rc = lv_image_inside(b->root, files[i], &err);
        if (rc)
            return say(m, rc, "kernelBoot: %s", err_msg(&err));
        if (stat(files[i], &st) || !S_ISREG(st.st_mode) || access(files[i], R_OK))
            return say(m, -EINVAL, "kernelBoot: %s: want a file that can be read", files[i]);
    }
    return 0;
}

/* Files are made sparse; what they may grow to has to fit, so that no guest stops for a full disk later. */
static int
check_space(struct maker *m, const struct lv_disks *d)
{
    for (size_t i = 0; i < d->len; i++) {
        AUTO_FREE char *dir = parent(d->items[i].path);
        uint64_t want = 0, have;
        struct statvfs fs;
        struct stat st;

        if (!is_new(&d->items[i]) || stat(dir, &st) || statvfs(dir, &fs))
            continue;
        /* the others on the same file system want theirs too */
        for (size_t k = 0; k < d->len; k++) {
            AUTO_FREE char *other = parent(d->items[k].path);
            struct stat other_st;

            if (is_new(&d->items[k]) && stat(other, &other_st) == 0 && other_st.st_dev == st.st_dev)
                want += needs(&d->items[k]);
        }
        have = (uint64_t)fs.f_bavail * fs.f_frsize;
        if (want > have) {
            char w[32], h[32];

            quantity_format_human(want, w, sizeof(w));
            quantity_format_human(have, h, sizeof(h));
            return say(m, -ENOSPC, "volume %s: %s has room for %s, and the VM's disks want %s",
                       d->items[i].name, dir, h, w);
        }
    }
    return 0;
}

static uint64_t
needs(const struct lv_disk *d)
{
    if (d->seed)
        return OVERLAY_BYTES;
    return d->backing && !d->bytes ? OVERLAY_BYTES : d->bytes;
}

/* Ours, or the user's that we are asked to make and that is not there. */
static bool
is_new(const struct lv_disk *d)
{
    return d->ours || (d->create && access(d->path, F_OK) != 0 && errno == ENOENT);
}

static int
make_ours(struct maker *m, const struct lv_disk *d)
{
    int rc;

    (void)unlink(d->path); /* of a start that was cut off */
    if (d->seed)
        rc = make_seed(d, m->err);
    else if (d->backing)
        rc = lv_image_create(d->path, d->format, d->backing, d->backing_format, d->bytes, m->err);
    else
        rc = make_sparse(d->path, d->bytes, m->err);
    if (rc == -ENOSPC)
        return say(m, rc, "volume %s: %s: no space left", d->name, d->path);
    return rc ? err_prefix(m->err, rc, "volume %s", d->name) : 0;
}

static int
make_theirs(struct maker *m, const struct lv_disk *d)
{
    AUTO_FREE char *dir = parent(d->path);
    struct err err = {0};
    int rc = fs_mkdirs(dir, 0755, &err);

    if (rc == 0)
        rc = strcmp(d->format, "raw") == 0
                 ? make_sparse(d->path, d->bytes, &err)
                 : lv_image_create(d->path, d->format, NULL, NULL, d->bytes, &err);
    return rc ? say(m, rc, "volume %s: %s cannot be made: %s", d->name, d->path, err_msg(&err)) : 0;
}

static int
make_sparse(const char *path, uint64_t bytes, struct err *err)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = 0;

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (ftruncate(fd, (off_t)bytes)) {
        rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
        (void)unlink(path);
    }
    return rc;
}

static int
make_seed(const struct lv_disk *d, struct err *err)
{
    AUTO_SB struct sb image = SB_INIT;
    int rc = lv_seed_image(d->seed, &image, err);

    return rc ? rc : fs_replace(d->path, image.buf, image.len, 0600, err);
}

/* Sets both the refusal and the error. */
static int
say(struct maker *m, int code, const char *fmt, ...)
{
    const char *reason = code == -ENOENT                      ? LV_NOT_FOUND
                         : code == -ENOSPC || code == -EDQUOT ? LV_NO_SPACE
                         : code == -EBUSY                     ? LV_IN_USE
                                                              : LV_INVALID;
    char text[HV_TEXT_SIZE], host[HOST_NAME_MAX + 1] = "";
    va_list ap;

    (void)gethostname(host, sizeof(host) - 1);
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    lv_disk_refuse(m->why, reason, "%s (host %s)", text, host);
    return err_set(m->err, code, "%s (host %s)", text, host);
}

static char *
parent(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}
