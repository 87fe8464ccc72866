/* Which process a guest is: its pid together with its start time and the boot id, and a pidfd for
 * everything that is done to it, so that a number that was given to another process is never taken
 * for it. See native_priv.h; pidfd_open(2), proc(5). */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/native_priv.h"

#define BOOT_ID_FILE   "/proc/sys/kernel/random/boot_id"
#define STAT_START     22 /* field of /proc/PID/stat: start time in ticks since boot */
#define BOOT_ID_LENGTH 36

/* Start time of a process in ticks, from its stat line. */
static int
read_start(pid_t pid, uint64_t *ret, struct err *err)
{
    AUTO_FREE char *text = NULL;
    char path[64], *s;
    size_t len = 0;
    int r;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    r = fs_read_all(path, NATIVE_FILE_MAX, &text, &len, err);
    if (r < 0)
        return r;
    s = strrchr(text, ')'); /* ends field 2, which may contain anything */
    for (int field = 2; s && field < STAT_START; field++) {
        s = strchr(s, ' ');
        s = s ? s + 1 : NULL;
    }
    if (!s || *s < '0' || *s > '9')
        return err_set(err, -EINVAL, "%s: no start time in it", path);
    *ret = strtoull(s, NULL, 10);
    return 0;
}

static int
read_boot_id(char ret[BOOT_ID_LENGTH + 1], struct err *err)
{
    AUTO_FREE char *text = NULL;
    size_t len = 0;
    int r = fs_read_all(BOOT_ID_FILE, NATIVE_FILE_MAX, &text, &len, err);

    if (r < 0)
        return r;
    if (len < BOOT_ID_LENGTH)
        return err_set(err, -EINVAL, "%s: too short", BOOT_ID_FILE);
    memcpy(ret, text, BOOT_ID_LENGTH);
    ret[BOOT_ID_LENGTH] = '\0';
    return 0;
}

int
native_proc_record(const char *dir, pid_t pid, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, NATIVE_PID_FILE);
    AUTO_FREE char *line = NULL;
    char boot[BOOT_ID_LENGTH + 1];
    uint64_t start = 0;
    int r = read_start(pid, &start, err);

    if (r == 0)
        r = read_boot_id(boot, err);
    if (r < 0)
        return r;
    line = xasprintf("%d %" PRIu64 " %s\n", (int)pid, start, boot);
    return fs_replace(path, line, strlen(line), 0600, err);
}

int
native_proc_open(const char *dir, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, NATIVE_PID_FILE);
    AUTO_FREE char *text = NULL;
    char boot[BOOT_ID_LENGTH + 1], was_boot[BOOT_ID_LENGTH + 1];
    AUTO_FD int pidfd = -1;
    uint64_t start = 0, was_start = 0;
    size_t len = 0;
    int pid = 0, r = fs_read_all(path, NATIVE_FILE_MAX, &text, &len, err);

    if (r < 0)
        return r;
    if (sscanf(text, "%d %" SCNu64 " %36s", &pid, &was_start, was_boot) != 3 || pid < 1)
        return err_set(err, -EINVAL, "%s: want a pid, its start time and a boot id", path);
    r = read_boot_id(boot, err);
    if (r < 0)
        return r;
    *ret_pid = pid;
    *ret_pidfd = -1;
    if (strcmp(boot, was_boot) != 0)
        return 0;
    pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return errno == ESRCH || errno == EINVAL
                   ? 0
                   : err_set(err, -errno, "pidfd of %d: %s", pid, strerror(errno));
    /* After the pidfd was opened: it stands for the process that has this start time, or for none.
     * One that ended and that nobody has waited for yet is gone, too. */
    if (read_start(pid, &start, NULL) == 0 && start == was_start && native_proc_alive(pidfd))
        *ret_pidfd = take_fd(&pidfd);
    return 0;
}

bool
native_proc_wait(int pidfd, int timeout_ms)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    int n;

    if (pidfd < 0)
        return true;
    do
        n = poll(&p, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

bool
native_proc_alive(int pidfd)
{
    return !native_proc_wait(pidfd, 0);
}

int
native_proc_kill(int pidfd, struct err *err)
{
    if (pidfd < 0)
        return 0;
    if (pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return err_set(err, -errno, "cannot kill the guest's process: %s", strerror(errno));
    if (!native_proc_wait(pidfd, NATIVE_KILL_MS))
        return err_set(err, -ETIMEDOUT, "the guest's process was killed and is not gone after %d s",
                       NATIVE_KILL_MS / 1000);
    return 0;
}
