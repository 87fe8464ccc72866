/* See libvirt_console.h; /proc/net/unix is described in proc(5). */
#include "handler/libvirt_console.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sb.h"

/* SS_ of linux/net.h, the column St */
#define CONNECTING 2 /* waits to be accepted */
#define CONNECTED  3

static bool is_connected(const char *path);

int
lv_console_open(const char *path, int *ret, struct err *err)
{
    static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* from the look to the connection */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;

    if (fd < 0)
        return err_set(err, -errno, "socket: %s", strerror(errno));
    if (strlen(path) >= sizeof(a.sun_path))
        return err_set(err, -ENAMETOOLONG, "%s: a socket's path has at most %zu characters", path,
                       sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    pthread_mutex_lock(&mu);
    if (is_connected(path))
        rc = err_set(err, -EBUSY, "somebody is connected to the console");
    else if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) != 0)
        rc = err_set(err, errno == ENOENT || errno == ECONNREFUSED ? -ENOTSUP : -errno,
                     "the guest's console: %s: %s", path, strerror(errno));
    pthread_mutex_unlock(&mu);
    if (rc == 0)
        *ret = take_fd(&fd);
    return rc;
}

/* QEMU's end of a connection has the path, as the socket that it listens on has. */
static bool
is_connected(const char *path)
{
    AUTO_FILE FILE *f = fopen("/proc/net/unix", "re");
    AUTO_FREE char *line = NULL;
    size_t size = 0;

    while (f && getline(&line, &size, f) > 0) {
        unsigned state = 0;
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        /* Num RefCount Protocol Flags Type St Inode Path */
        if (sscanf(line, "%*s %*s %*s %*s %*s %x %*s %n", &state, &at) == 1 && at > 0 &&
            (state == CONNECTED || state == CONNECTING) && strcmp(line + at, path) == 0)
            return true;
    }
    return false;
}
