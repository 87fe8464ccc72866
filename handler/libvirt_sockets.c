/* See libvirt_sockets.h. proc_pid_net(5), section /proc/net/unix: the path is a line's last word. */
#include "handler/libvirt_sockets.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"

#define UNIX_MAX_BYTES (16u << 20)
#define YOUNG_NS       100000000 /* its owner may be about to bind it */

static bool
is_old(const struct stat *st)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - st->st_ctim.tv_sec) * 1000000000 + now.tv_nsec - st->st_ctim.tv_nsec >
           YOUNG_NS;
}

static bool
is_bound(const char *table, const char *path)
{
    AUTO_FREE char *end_of_line = xasprintf(" %s\n", path);

    return strstr(table, end_of_line) != NULL;
}

size_t
lv_sockets_sweep(const char *dir)
{
    AUTO_FREE char *table = NULL;
    const struct dirent *e;
    size_t len, n = 0;
    DIR *d = opendir(dir);

    if (!d)
        return 0;
    /* Read after the directory was opened: what is made from now on is young. */
    if (fs_read_all("/proc/net/unix", UNIX_MAX_BYTES, &table, &len, NULL) != 0) {
        closedir(d);
        return 0;
    }
    while ((e = readdir(d))) {
        AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
        struct stat st;

        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISSOCK(st.st_mode) ||
            !is_old(&st) || is_bound(table, path))
            continue;
        n += unlinkat(dirfd(d), e->d_name, 0) == 0;
    }
    closedir(d);
    return n;
}
