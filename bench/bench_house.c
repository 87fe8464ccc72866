/* See bench_house.h. Three processes: the one that was started waits and takes signals; the first
 * of the namespace reaps what detached itself; its child does the work. */
#include "bench/bench_house.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTERRUPTED 130
#define NO_HOUSE    254 /* the first process says so; its reason is on stderr */

static volatile sig_atomic_t first_pid;
static char guest_program[PATH_MAX];

static void find_guest_program(void);
static void first_main(int (*body)(void *ctx), void *ctx) __attribute__((noreturn));

static void
on_signal(int sig)
{
    (void)sig;
    if (first_pid > 0)
        kill(first_pid, SIGKILL);
}

int
bench_house_run(int (*body)(void *ctx), void *ctx, int *ret_status, struct err *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_signal}, old[ARRAY_LEN(signals)];
    sigset_t block, before;
    pid_t pid;
    int status;

    if (geteuid() != 0)
        return err_set(err, -EPERM, "needs root: it makes namespaces and looks at other processes");
    find_guest_program();
    if (unshare(CLONE_NEWPID) < 0)
        return err_set(err, -errno, "process-id namespace: %s", strerror(errno));
    fflush(NULL);
    sigemptyset(&block);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaddset(&block, signals[i]);
    sigprocmask(SIG_BLOCK, &block, &before); /* until first_pid is set */
    pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        first_main(body, ctx);
    }
    first_pid = pid;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &sa, &old[i]);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return err_set(err, -errno, "fork: %s", strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    first_pid = 0;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &old[i], NULL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_HOUSE)
        return err_set(err, -ENOTSUP, "this machine does not let it mount /proc and a tmpfs");
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : INTERRUPTED;
    return 0;
}

const char *
bench_house_guest_program(void)
{
    return guest_program;
}

static void
find_guest_program(void)
{
    static const char name[] = "/drover-guest";
    ssize_t n = readlink("/proc/self/exe", guest_program, sizeof guest_program - sizeof name);
    char *slash;

    guest_program[n > 0 ? n : 0] = '\0';
    slash = strrchr(guest_program, '/');
    if (slash)
        memcpy(slash, name, sizeof name);
}

static void
first_main(int (*body)(void *ctx), void *ctx)
{
    pid_t worker, pid;
    int status;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
        mount("bench", BENCH_HOUSE_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "size=90%") < 0) {
        fprintf(stderr, "drover-bench: %s\n", strerror(errno));
        _exit(NO_HOUSE);
    }
    worker = fork();
    if (worker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        status = body(ctx);
        fflush(NULL);
        _exit(status);
    }
    while ((pid = waitpid(-1, &status, 0)) != worker) {
        if (pid < 0 && errno != EINTR)
            _exit(1);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : INTERRUPTED);
}
