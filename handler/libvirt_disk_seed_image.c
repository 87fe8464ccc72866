/* A seed as an ISO 9660 image: see libvirt_disk_seed.h. libarchive writes it; the times in it, which say when it
 * was made, are taken out, so that the same seed is the same image (ECMA-119, section 8.4). */
#include "handler/libvirt_disk_seed.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define SECTOR           2048
#define FIRST_DESCRIPTOR 16
#define TERMINATOR       255
#define LABEL_AT         (FIRST_DESCRIPTOR * SECTOR + 40) /* volume identifier of the primary one */
#define LABEL_BYTES      32
#define DATES_AT         813 /* of a volume descriptor: creation, modification, expiration, effective */
#define DATES            4
#define DATE_BYTES       17
#define ROOT_DATE_AT     (156 + 18) /* of a volume descriptor: the root directory's record, its date */
#define RECORD_DATE      7
#define BLOCK_BYTES      4096 /* what a disk may want to be a multiple of that is opened with O_DIRECT */

static int write_files(struct archive *a, const struct lv_seed *s);
static int write_dir(struct archive *a, const char *path);
static int write_entry(struct archive *a, const char *path, mode_t type, const void *data,
                       size_t len);
static la_ssize_t gather(struct archive *a, void *ctx, const void *buf, size_t len);
static void clear_dates(char *image, size_t len);
static void replace_date(char *image, size_t len, const unsigned char date[RECORD_DATE]);

int
lv_seed_image(const struct lv_seed *s, struct sb *ret, struct err *err)
{
    AUTO_SB struct sb image = SB_INIT;
    AUTO_FREE char *options =
        xasprintf("volume-id=%s,joliet=long,rockridge=useful,!pad,!zisofs", s->label);
    struct archive *a = archive_write_new();
    size_t data = 0;
    int rc = 0;

    if (!a)
        return err_set(err, -ENOMEM, "cloud-init image: libarchive has no memory");
    if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
        archive_write_set_options(a, options) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
        archive_write_open(a, &image, NULL, gather, NULL) != ARCHIVE_OK || write_files(a, s) ||
        archive_write_close(a) != ARCHIVE_OK)
        rc = err_set(err, -EIO, "cloud-init image: %s",
                     archive_error_string(a) ? archive_error_string(a) : "libarchive failed");
    archive_write_free(a);
    if (rc)
        return rc;
    /* the files' data is at the end, and nobody else's to touch */
    for (size_t i = 0; i < s->len; i++)
        data += (s->files[i].len + SECTOR - 1) / SECTOR * SECTOR;
    if (!image.buf || image.len < (FIRST_DESCRIPTOR + 1) * SECTOR + data)
        return err_set(err, -EIO, "cloud-init image: libarchive made one of %zu bytes", image.len);
    clear_dates(image.buf, image.len - data);
    /* as it is and as cloud-init looks for it: libarchive makes CONFIG_2 of config-2 */
    memset(image.buf + LABEL_AT, ' ', LABEL_BYTES);
    memcpy(image.buf + LABEL_AT, s->label, strlen(s->label));
    while (image.len % BLOCK_BYTES != 0)
        sb_putc(&image, '\0');
    sb_add(ret, image.buf, image.len);
    return 0;
}

static int
write_files(struct archive *a, const struct lv_seed *s)
{
    for (size_t i = 0; i < s->len; i++) {
        const struct lv_seed_file *f = &s->files[i];

        if ((i == 0 && write_dir(a, f->path)) || write_entry(a, f->path, AE_IFREG, f->data, f->len))
            return -EIO;
    }
    return 0;
}

/* The directories above path, outermost first. */
static int
write_dir(struct archive *a, const char *path)
{
    for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
        AUTO_FREE char *dir = xstrndup(path, (size_t)(at - path));

        if (write_entry(a, dir, AE_IFDIR, NULL, 0))
            return -EIO;
    }
    return 0;
}

static int
write_entry(struct archive *a, const char *path, mode_t type, const void *data, size_t len)
{
    struct archive_entry *e = archive_entry_new();
    bool dir = type == AE_IFDIR;
    int rc = e ? 0 : -EIO;

    if (e) {
        archive_entry_set_pathname(e, path);
        archive_entry_set_filetype(e, (unsigned)type);
        archive_entry_set_perm(e, dir ? 0755 : 0644);
        archive_entry_set_size(e, (la_int64_t)len);
        archive_entry_set_mtime(e, 0, 0);
        archive_entry_set_atime(e, 0, 0);
        archive_entry_set_ctime(e, 0, 0);
        if (archive_write_header(a, e) != ARCHIVE_OK ||
            (len && archive_write_data(a, data, len) != (la_ssize_t)len))
            rc = -EIO;
    }
    archive_entry_free(e);
    return rc;
}

static la_ssize_t
gather(struct archive *a, void *ctx, const void *buf, size_t len)
{
    (void)a;
    sb_add(ctx, buf, len);
    return (la_ssize_t)len;
}

/* Volume descriptors: sixteen '0' and a zero byte are "not specified". Directories: libarchive gives those
 * that it makes, the root among them, the time of making, and the rest 1970 in this host's time zone. The
 * sector behind the descriptors holds a remark on all that, for people. */
static void
clear_dates(char *image, size_t len)
{
    char *root = image + FIRST_DESCRIPTOR * SECTOR + ROOT_DATE_AT;
    unsigned char made[RECORD_DATE], epoch[RECORD_DATE];
    struct tm tm = {0};
    size_t at = FIRST_DESCRIPTOR * SECTOR;

    localtime_r(&(time_t){0}, &tm);
    epoch[0] = (unsigned char)tm.tm_year;
    epoch[1] = (unsigned char)(tm.tm_mon + 1);
    epoch[2] = (unsigned char)tm.tm_mday;
    epoch[3] = (unsigned char)tm.tm_hour;
    epoch[4] = (unsigned char)tm.tm_min;
    epoch[5] = (unsigned char)tm.tm_sec;
    epoch[6] = (unsigned char)(tm.tm_gmtoff / (15 * 60));
    memcpy(made, root, RECORD_DATE);
    replace_date(image, len, made);
    replace_date(image, len, epoch);
    for (; at + SECTOR <= len && (unsigned char)image[at] != TERMINATOR; at += SECTOR) {
        for (size_t i = 0; i < DATES; i++) {
            char *date = image + at + DATES_AT + i * DATE_BYTES;

            memset(date, '0', DATE_BYTES - 1);
            date[DATE_BYTES - 1] = 0;
        }
    }
    if (at + 2 * SECTOR <= len)
        memset(image + at + SECTOR, 0, SECTOR);
}

static void
replace_date(char *image, size_t len, const unsigned char date[RECORD_DATE])
{
    static const unsigned char fixed[RECORD_DATE] = {80, 1, 1}; /* 1980-01-01 00:00:00 UTC */
    char *at = image + FIRST_DESCRIPTOR * SECTOR, *end = image + len;

    while ((at = memmem(at, (size_t)(end - at), date, RECORD_DATE))) {
        memcpy(at, fixed, RECORD_DATE);
        at += RECORD_DATE;
    }
}
