/* See dev_proc.h. */
#include "cli/dev_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "netpolicy/netns.h"

#define KILL_WAIT_MS 30000

static bool read_stat(pid_t pid, uint64_t *ret_start, char *ret_state);
static int open_pidfd(const struct dev_process *p);
static char **make_env(const char *const *extra);
static int open_ns(const struct dev_process *p, const char *kind);
static _Noreturn void child(const struct dev_spawn *s, char **env, const int host_fds[2],
                            int report);

/* What the child could not do, through a pipe that exec closes. */
struct failure {
    int error;
    char what[32];
};

int
dev_proc_spawn(const struct dev_spawn *s, struct dev_process *ret, struct err *err)
{
    AUTO_FREE char **env = make_env(s->env);
    AUTO_FD int in = -1;
    AUTO_FD int out = -1;
    AUTO_FD int mnt = -1;
    AUTO_FD int uts = -1;
    struct failure f = {0};
    int fds[2];
    pid_t pid;

    if (s->host && ((mnt = open_ns(s->host, "mnt")) < 0 || (uts = open_ns(s->host, "uts")) < 0))
        return err_set(err, -ESRCH, "%s: cannot start: its host (pid %d) is gone", s->argv[0],
                       (int)s->host->pid);
    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_set(err, -errno, "%s: cannot start: %s", s->argv[0], strerror(errno));
    in = fds[0];
    out = fds[1];
    pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "%s: cannot start: %s", s->argv[0], strerror(errno));
    if (pid == 0)
        child(s, env, (const int[2]){mnt, uts}, out);
    close(take_fd(&out));
    *ret = dev_proc_of(pid); /* our child: the pid cannot have been given away */
    ret->pid = pid;
    if (fs_read_full(in, &f, sizeof f) == 0) {
        waitpid(pid, NULL, 0);
        ret->pid = 0;
        return err_set(err, -f.error, "%s: cannot start: %s: %s", s->argv[0], f.what,
                       strerror(f.error));
    }
    return 0;
}

bool
dev_proc_alive(const struct dev_process *p)
{
    uint64_t start;
    char state;

    return p->pid > 0 && read_stat(p->pid, &start, &state) && start == p->start && state != 'Z' &&
           state != 'X';
}

bool
dev_proc_signal(const struct dev_process *p, int signo)
{
    AUTO_FD int fd = open_pidfd(p);

    return fd >= 0 && pidfd_send_signal(fd, signo, NULL, 0) == 0;
}

bool
dev_proc_wait(const struct dev_process *p, unsigned timeout_ms)
{
    uint64_t end_us = clock_mono_us() + (uint64_t)timeout_ms * 1000;
    AUTO_FD int fd = open_pidfd(p);

    if (fd < 0)
        return true;
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        uint64_t now_us = clock_mono_us();
        int left_ms = now_us >= end_us ? 0 : (int)((end_us - now_us + 999) / 1000);
        int n = poll(&poll_fd, 1, left_ms);

        if (n == 1)
            break;
        if (n == 0 || errno != EINTR)
            return false;
    }
    waitid(P_PID, (id_t)p->pid, NULL, WEXITED | WNOHANG); /* ECHILD: another's child */
    return true;
}

bool
dev_proc_kill(const struct dev_process *p)
{
    if (p->pid <= 0)
        return true;
    dev_proc_signal(p, SIGKILL);
    return dev_proc_wait(p, KILL_WAIT_MS);
}

struct dev_process
dev_proc_of(pid_t pid)
{
    struct dev_process p = {.pid = pid};
    char state;

    return read_stat(pid, &p.start, &state) ? p : (struct dev_process){0};
}

bool
dev_proc_apart(pid_t pid)
{
    struct stat ours, theirs;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    return stat("/proc/self/ns/mnt", &ours) == 0 && stat(path, &theirs) == 0 &&
           (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev);
}

bool
dev_proc_program(pid_t pid, char *buf, size_t size)
{
    static const char deleted[] = " (deleted)";
    char link[64], target[4096];
    const char *name;
    ssize_t n;

    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    if ((size_t)n > sizeof deleted && strcmp(target + n - (sizeof deleted - 1), deleted) == 0)
        target[(size_t)n - (sizeof deleted - 1)] = '\0';
    name = strrchr(target, '/');
    snprintf(buf, size, "%s", name ? name + 1 : target);
    return true;
}

void
dev_proc_each_in(int netns_fd, void (*fn)(void *ctx, const struct dev_process *p), void *ctx)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        struct dev_process p;

        if (*end != '\0' || pid <= 0 || pid == getpid())
            continue;
        p = dev_proc_of((pid_t)pid);
        if (p.pid > 0 && netns_has_process(netns_fd, p.pid) && dev_proc_alive(&p))
            fn(ctx, &p);
    }
    if (dir)
        closedir(dir);
}

/* Start time and state: fields 22 and 3 of /proc/PID/stat. The command, field 2, may hold anything,
 * so only what follows its last ')' is looked at. */
static bool
read_stat(pid_t pid, uint64_t *ret_start, char *ret_state)
{
    AUTO_FREE char *text = NULL;
    char path[64];
    const char *s;
    size_t len;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (fs_read_all(path, 8192, &text, &len, NULL) != 0)
        return false;
    s = strrchr(text, ')');
    if (!s || s[1] != ' ')
        return false;
    *ret_state = s[2];
    for (int field = 2; s && field < 22; field++) {
        s = strchr(s, ' ');
        s = s ? s + 1 : NULL;
    }
    return s && sscanf(s, "%" SCNu64, ret_start) == 1;
}

/* A descriptor of this very process, or -1. Once it is open and the start time still fits, it
 * stands for that process whatever becomes of the pid. */
static int
open_pidfd(const struct dev_process *p)
{
    AUTO_FD int fd = -1;
    uint64_t start;
    char state;

    if (p->pid <= 0)
        return -1;
    fd = pidfd_open(p->pid, 0);
    if (fd < 0 || !read_stat(p->pid, &start, &state) || start != p->start)
        return -1;
    return take_fd(&fd);
}

static bool
same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");

    return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Our environment with `extra` added or replaced. The strings are borrowed. */
static char **
make_env(const char *const *extra)
{
    size_t n = 0, m = 0;
    char **env;

    while (environ[n])
        n++;
    while (extra && extra[m])
        m++;
    env = xcalloc(n + m + 1, sizeof *env);
    for (size_t i = n = 0; environ[i]; i++) {
        bool replaced = false;

        for (size_t k = 0; k < m; k++)
            replaced = replaced || same_name(extra[k], environ[i]);
        if (!replaced)
            env[n++] = environ[i];
    }
    for (size_t k = 0; k < m; k++)
        env[n++] = (char *)(uintptr_t)extra[k]; /* execve does not write to them */
    return env;
}

static _Noreturn void
child_fails(int report, const char *what)
{
    struct failure f = {.error = errno};

    strncpy(f.what, what, sizeof f.what - 1);
    if (write(report, &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

/* A namespace of this very process: it is looked at again once the descriptor is there. */
static int
open_ns(const struct dev_process *p, const char *kind)
{
    AUTO_FD int fd = -1;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)p->pid, kind);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && dev_proc_alive(p) ? take_fd(&fd) : -1;
}

static void
make_room(const struct dev_room *r, int report)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        child_fails(report, "its mount namespace");
    if (sethostname(r->hostname, strlen(r->hostname)) != 0)
        child_fails(report, "its host name");
    for (size_t i = 0; i < r->mounts_len; i++) {
        const struct dev_mount *m = &r->mounts[i];

        if (mount(m->from, m->to, m->type, m->type ? 0 : MS_BIND | MS_REC, NULL) != 0 ||
            (m->read_only && mount(NULL, m->to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0))
            child_fails(report, m->to);
    }
}

/* Between fork and exec: system calls only. */
static _Noreturn void
child(const struct dev_spawn *s, char **env, const int host_fds[2], int report)
{
    struct sigaction dflt = {.sa_handler = SIG_DFL};
    sigset_t none;
    int in, out;

    sigemptyset(&none);
    for (int n = 1; n < NSIG; n++)
        sigaction(n, &dflt, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (setns(s->netns_fd, CLONE_NEWNET) != 0)
        child_fails(report, "its network namespace");
    if (s->host && (setns(host_fds[0], CLONE_NEWNS) != 0 || setns(host_fds[1], CLONE_NEWUTS) != 0))
        child_fails(report, "its host's namespaces");
    if (s->room)
        make_room(s->room, report);
    in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    out = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (in < 0 || out < 0)
        child_fails(report, "its log");
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/") != 0)
        child_fails(report, "its descriptors");
    for (int fd = 0; fd <= 2; fd++)
        fcntl(fd, F_SETFD, 0); /* in or out may have had this number already */
    execve(s->argv[0], s->argv, env);
    child_fails(report, "exec");
}
