/* Running qemu-img: see libvirt_disk_image.h. Exec with arguments, no shell. */
#include "handler/libvirt_disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/sb.h"
#include "handler/limits.h"

#define SAID_MAX 600

static int run(const char *const *argv, struct err *err);
static pid_t start(const char *const *argv, int *ret_said, struct err *err);
static bool read_said(int fd, char said[SAID_MAX]);

int
lv_image_create(const char *path, const char *format, const char *backing,
                const char *backing_format, uint64_t bytes, struct err *err)
{
    const char *argv[12] = {"qemu-img", "create", "-q", "-f", format};
    AUTO_FREE char *size = xasprintf("%" PRIu64, bytes);
    size_t n = 5;
    int rc;

    if (backing) {
        argv[n++] = "-F"; /* said, so that nothing is probed */
        argv[n++] = backing_format;
        argv[n++] = "-b";
        argv[n++] = backing;
    }
    argv[n++] = path;
    if (bytes)
        argv[n++] = size;
    rc = run(argv, err);
    if (rc == 0 && chmod(path, 0600)) /* as the other disks are; qemu-img leaves it to the umask */
        rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
    return rc;
}

static int
run(const char *const *argv, struct err *err)
{
    char said[SAID_MAX] = "";
    AUTO_FD int fd = -1;
    int status = 0;
    bool ended;
    pid_t pid;

    pid = start(argv, &fd, err);
    if (pid <= 0)
        return (int)pid;
    ended = read_said(fd, said);
    if (!ended)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!ended)
        return err_set(err, -ETIMEDOUT, "qemu-img took longer than %u s",
                       HANDLER_QEMU_IMG_US / 1000000u);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !*said)
        return err_set(err, -ENOENT, "qemu-img cannot be run (package qemu-utils)");
    if (strstr(said, "No space left"))
        return err_set(err, -ENOSPC, "%s", said);
    return err_set(err, -EIO, "%s", *said ? said : "qemu-img failed without a word");
}

/* Its process id, or -errno. */
static pid_t
start(const char *const *argv, int *ret_said, struct err *err)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char locale[] = "LC_ALL=C";
    char *envp[] = {path, locale, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, all;
    pid_t pid = 0;
    int p[2], rc;

    if (pipe2(p, O_CLOEXEC))
        return err_set(err, -errno, "qemu-img: pipe: %s", strerror(errno));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, p[1], 2);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    /* exec does not write to what argv points to */
    rc = posix_spawnp(&pid, argv[0], &fa, &attr, (char *const *)(uintptr_t)argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    close(p[1]);
    if (rc) {
        close(p[0]);
        return err_set(err, -rc,
                       rc == ENOENT ? "qemu-img is not installed (package qemu-utils)"
                                    : "qemu-img cannot be run");
    }
    *ret_said = p[0];
    return pid;
}

/* What it says on stderr, on one line; false when it has not ended in time. */
static bool
read_said(int fd, char said[SAID_MAX])
{
    uint64_t until = clock_mono_us() + HANDLER_QEMU_IMG_US;
    size_t len = 0;

    for (;;) {
        uint64_t now = clock_mono_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buf[256];
        ssize_t n;

        if (now >= until)
            return false;
        if (poll(&p, 1, (int)((until - now) / 1000 + 1)) <= 0)
            continue;
        n = read(fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n && len < SAID_MAX - 1; i++)
            said[len++] = buf[i] == '\n' ? ' ' : buf[i];
    }
    while (len > 0 && said[len - 1] == ' ')
        len--;
    said[len] = '\0';
    return true;
}
