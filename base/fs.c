/* Whole files and descriptors; see fs.h. */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sb.h"

static int sync_dir_of(const char *path);

int
fs_read_all(const char *path, size_t max, char **ret_buf, size_t *ret_len, struct err *err)
{
    bool in = strcmp(path, "-") == 0;
    AUTO_FD int fd = in ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    const char *name = in ? "standard input" : path;
    AUTO_SB struct sb sb = SB_INIT;
    char buf[65536];

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", name, strerror(errno));
    for (;;) {
        ssize_t n = read(fd, buf, sizeof buf);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return err_set(err, -errno, "%s: %s", name, strerror(errno));
        }
        if (n == 0)
            break;
        if (sb.len + (size_t)n > max)
            return err_set(err, -EFBIG, "%s: larger than %zu bytes, the most that is read", name,
                           max);
        sb_add(&sb, buf, (size_t)n);
    }
    *ret_len = sb.len;
    *ret_buf = sb_steal(&sb);
    return 0;
}

int
fs_replace(const char *path, const void *buf, size_t len, mode_t mode, struct err *err)
{
    AUTO_FREE char *tmp = xasprintf("%s.tmp", path);
    AUTO_FD int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    int rc;

    if (fd < 0)
        return err_set(err, -errno, "%s: %s", tmp, strerror(errno));
    rc = fs_write_full(fd, buf, len);
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    if (rc == 0 && rename(tmp, path) != 0)
        rc = -errno;
    if (rc == 0)
        rc = sync_dir_of(path);
    if (rc != 0) {
        unlink(tmp);
        return err_set(err, rc, "%s: %s", path, strerror(-rc));
    }
    return 0;
}

int
fs_mkdirs(const char *path, mode_t mode, struct err *err)
{
    AUTO_FREE char *p = xstrdup(path);

    for (char *s = p + 1;; s++) {
        char c = *s;

        if (c != '/' && c != '\0')
            continue;
        *s = '\0';
        if (mkdir(p, mode) != 0 && errno != EEXIST)
            return err_set(err, -errno, "%s: %s", p, strerror(errno));
        if (c == '\0')
            break;
        *s = c;
    }

    struct stat st;

    if (stat(path, &st) != 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(err, -ENOTDIR, "%s: is there, but is not a directory", path);
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

int
fs_rmtree(const char *path, struct err *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return err_set(err, -errno, "%s: cannot remove: %s", path, strerror(errno));
    return 0;
}

int
fs_read_full(int fd, void *buf, size_t len)
{
    unsigned char *p = buf;

    while (len > 0) {
        ssize_t n = read(fd, p, len);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            return -EPIPE;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int
fs_write_full(int fd, const void *buf, size_t len)
{
    const unsigned char *p = buf;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int
fs_set_nonblock(int fd, bool on)
{
    int fl = fcntl(fd, F_GETFL);

    if (fl < 0 || fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK) != 0)
        return -errno;
    return 0;
}

static int
sync_dir_of(const char *path)
{
    AUTO_FREE char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');

    if (slash == dir)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';

    AUTO_FD int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) != 0)
        return -errno;
    return 0;
}
