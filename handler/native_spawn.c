/* Starts drover-guest as a process that has nothing to do with ours any more. Two forks and a
 * session of its own detach it; before it runs the program it hands us its pidfd and waits for our
 * word, which we give when its pid file is on disk. So a guest without a pid file never runs,
 * whenever we die: without the word it sees the socket close and is gone. See native_guest.h and
 * docs/native-guest.md. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "api/tree.h"
#include "base/fs.h"
#include "handler/native_priv.h"

#define CHILD_READY_FD   3
#define CHILD_SPARE_FD   64 /* above all that the child gives a fixed number */
#define GO               'g'
#define FORK_TIMEOUT_MS  10000
#define READY_TIMEOUT_MS 30000
#define FILL_BYTES_PER_S (64ull << 20) /* slower than any host fills memory */
#define READY_TEXT_MAX   1024

pthread_mutex_t native_spawn_mu = PTHREAD_MUTEX_INITIALIZER;
extern char **environ;

/* What the child needs; made before the fork, because after it only async-signal-safe calls are
 * allowed. */
struct launch {
    const char *program;
    char **argv;
    int null_fd, log_fd, sock; /* the child's end */
};

struct exec_failure { /* what the child says when the program cannot be run */
    char mark[4];
    int error;
};

static _Noreturn void child_run(const struct launch *l);

static void
argv_free(char ***argv)
{
    for (char **a = *argv; a && *a; a++)
        free(*a);
    free(*argv);
}

#define ARGS_MAX 24

static void
add_arg(char **argv, size_t *n, const char *name, char *value)
{
    argv[(*n)++] = xasprintf("--%s=%s", name, value);
    free(value);
}

static char **
make_argv(const struct native_config *cfg, const char *dir)
{
    char **argv = xcalloc(ARGS_MAX, sizeof(*argv));
    size_t n = 0;

    argv[n++] = xstrdup("drover-guest");
    add_arg(argv, &n, "dir", xstrdup(dir));
    add_arg(argv, &n, "name", xstrdup(cfg->name ? cfg->name : ""));
    add_arg(argv, &n, "memory", xasprintf("%" PRIu64, cfg->memory_bytes));
    add_arg(argv, &n, "ready-fd", xasprintf("%d", CHILD_READY_FD));
    if (cfg->incoming) {
        argv[n++] = xstrdup("--incoming");
        return argv;
    }
    add_arg(argv, &n, "vcpus", xasprintf("%u", cfg->vcpus));
    add_arg(argv, &n, "workload", xstrdup(cfg->workload ? cfg->workload : "idle"));
    add_arg(argv, &n, "rate", xasprintf("%" PRIu64, cfg->rate_bytes_per_s));
    add_arg(argv, &n, "set", xasprintf("%" PRIu64, cfg->set_bytes));
    add_arg(argv, &n, "fill", xasprintf("%" PRIu64, cfg->fill_bytes));
    add_arg(argv, &n, "zero", xasprintf("%" PRIu64, cfg->zero_bytes));
    add_arg(argv, &n, "seed", xasprintf("%" PRId64, (int64_t)cfg->seed));
    return argv;
}

static int
write_config(const struct native_config *cfg, const char *dir, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, NATIVE_CONFIG_FILE);
    AUTO_TREE struct tree *t = tree_map();
    AUTO_SB struct sb sb = SB_INIT;

    tree_set(t, "uid", tree_string(cfg->vmi_uid));
    tree_set(t, "name", tree_string(cfg->name ? cfg->name : ""));
    tree_set(t, "memoryBytes", tree_int((int64_t)cfg->memory_bytes));
    tree_set(t, "incoming", tree_bool(cfg->incoming));
    tree_to_json(t, 2, &sb);
    sb_putc(&sb, '\n');
    return fs_replace(path, sb.buf, sb.len, 0600, err);
}

/* The caller's; NULL with errno. */
static char *
find_program(const char *given)
{
    char self[4096];
    ssize_t n;
    char *slash;

    if (given)
        return xstrdup(given);
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return NULL;
    self[n] = '\0';
    slash = strrchr(self, '/');
    return xasprintf("%.*s/drover-guest", (int)(slash ? slash - self : 0), self);
}

int
native_ready(const char *program, struct err *err)
{
    AUTO_FREE char *path = find_program(program);

    if (!path || access(path, X_OK) < 0)
        return err_set(err, -errno, "%s: %s", path ? path : "drover-guest", strerror(errno));
    return 0;
}

/* --- the parent's side --- */

/* The pid and pidfd that the child sends before it waits for the word. */
static int
receive_pid(int sock, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    pid_t pid = 0;
    struct iovec iov = {.iov_base = &pid, .iov_len = sizeof(pid)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    struct pollfd p = {.fd = sock, .events = POLLIN};
    const struct cmsghdr *cm;
    ssize_t n;

    while ((n = poll(&p, 1, FORK_TIMEOUT_MS)) < 0 && errno == EINTR)
        continue;
    if (n <= 0)
        return err_set(err, -ETIMEDOUT, "the new process says nothing");
    n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    cm = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (n != sizeof(pid) || !cm || cm->cmsg_type != SCM_RIGHTS ||
        cm->cmsg_len != CMSG_LEN(sizeof(int)))
        return err_set(err, -ECHILD, "the new process ended before it began");
    memcpy(ret_pidfd, CMSG_DATA(cm), sizeof(int));
    *ret_pid = pid;
    return 0;
}

/* Forks twice; *ret_pid waits for the word on sock. Closes our copy of the child's end. */
static int
fork_guest(const struct launch *l, int sock, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
    pid_t child = fork();
    int r = child < 0 ? -errno : 0;

    if (child == 0) {
        setsid();
        child = _Fork();
        if (child == 0)
            child_run(l);
        _exit(child < 0);
    }
    close(l->sock); /* else the end of the other side would never be seen */
    if (r < 0)
        return err_set(err, r, "fork: %s", strerror(-r));
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return receive_pid(sock, ret_pid, ret_pidfd, err);
}

/* The last line of the guest's log, for what it said before it could tell us; "" when there is
 * none. */
static void
last_words(const char *dir, struct sb *sb)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, NATIVE_LOG_FILE);
    AUTO_FREE char *text = NULL;
    const char *line;
    size_t len = 0;

    if (fs_read_all(path, NATIVE_FILE_MAX, &text, &len, NULL) < 0)
        return;
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    line = strrchr(text, '\n');
    if (len > 0)
        sb_printf(sb, ": %.300s", line ? line + 1 : text);
}

/* Waits until the guest says "ok"; anything else is an error. */
static int
wait_ready(const struct native_config *cfg, const char *program, const char *dir, int sock,
           int pidfd, struct err *err)
{
    struct pollfd p[2] = {{.fd = sock, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    uint64_t fill = cfg->incoming ? 0 : cfg->fill_bytes + cfg->zero_bytes;
    AUTO_SB struct sb why = SB_INIT;
    char text[READY_TEXT_MAX + 1];
    struct exec_failure f;
    ssize_t n;

    while ((n = poll(p, 2, READY_TIMEOUT_MS + (int)(fill / FILL_BYTES_PER_S * 1000))) < 0 &&
           errno == EINTR)
        continue;
    if (n <= 0)
        return err_set(err, -ETIMEDOUT, "the guest is not ready after %d s",
                       READY_TIMEOUT_MS / 1000 + (int)(fill / FILL_BYTES_PER_S));
    n = recv(sock, text, READY_TEXT_MAX, MSG_DONTWAIT);
    if (n == 2 && memcmp(text, "ok", 2) == 0)
        return 0;
    if (n == sizeof(f) && memcmp(text, "exec", 4) == 0) {
        memcpy(&f, text, sizeof(f));
        return err_set(err, -f.error, "%s: %s", program, strerror(f.error));
    }
    if (n > 0) {
        text[n] = '\0';
        return err_set(err, -EINVAL, "%s", text);
    }
    last_words(dir, &why);
    return err_set(err, -ECHILD, "the guest ended at its start%s", sb_str(&why));
}

/* From the fork until the pid file is written and the word is given. */
static int
launch(const struct launch *l, const char *dir, int sock, pid_t *ret_pid, int *ret_pidfd,
       struct err *err)
{
    const char go = GO;
    int r = fork_guest(l, sock, ret_pid, ret_pidfd, err);

    if (r == 0)
        r = native_proc_record(dir, *ret_pid, err);
    if (r == 0 && send(sock, &go, 1, MSG_NOSIGNAL) != 1)
        r = err_set(err, -errno, "the new process is gone: %s", strerror(errno));
    return r;
}

static int
spawn_in(const struct native_config *cfg, const char *program, const char *dir, int *ret_sock,
         pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
    AUTO_FREE char *log = xasprintf("%s/%s", dir, NATIVE_LOG_FILE);
    CLEANUP(argv_free) char **argv = make_argv(cfg, dir);
    AUTO_FD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    AUTO_FD int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    AUTO_FD int ours = -1;
    int pair[2], r;
    struct launch l = {.program = program, .argv = argv, .null_fd = null_fd, .log_fd = log_fd};

    if (null_fd < 0 || log_fd < 0)
        return err_set(err, -errno, "%s: %s", null_fd < 0 ? "/dev/null" : log, strerror(errno));
    r = write_config(cfg, dir, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(err, -errno, "socketpair: %s", strerror(errno));
    ours = pair[0];
    l.sock = pair[1];
    r = launch(&l, dir, ours, ret_pid, ret_pidfd, err);
    if (r == 0)
        *ret_sock = take_fd(&ours);
    return r;
}

int
native_spawn(const struct native_config *cfg, struct native_guest **ret, struct err *err)
{
    AUTO_FREE char *guests = xasprintf("%s/guests", cfg->state_dir);
    AUTO_FREE char *dir = xasprintf("%s/%s", guests, cfg->vmi_uid);
    AUTO_FREE char *program = find_program(cfg->program);
    AUTO_FD int sock = -1;
    AUTO_FD int pidfd = -1;
    pid_t pid = 0;
    int r;

    if (!program)
        return err_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    r = native_uid_check(cfg->vmi_uid, err);
    if (r == 0)
        r = fs_mkdirs(guests, 0711, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&native_spawn_mu);
    if (mkdir(dir, 0700) < 0) {
        r = err_set(err, -errno, "%s: %s", dir,
                    errno == EEXIST ? "there is a guest of this VM already" : strerror(errno));
        pthread_mutex_unlock(&native_spawn_mu);
        return r;
    }
    r = spawn_in(cfg, program, dir, &sock, &pid, &pidfd, err);
    pthread_mutex_unlock(&native_spawn_mu);
    if (r == 0)
        r = wait_ready(cfg, program, dir, sock, pidfd, err);
    if (r == 0)
        r = native_new(dir, cfg->vmi_uid, pid, pidfd, ret, err);
    if (r == 0) {
        pidfd = -1;
        return 0;
    }
    if (sock >= 0)
        close(take_fd(&sock)); /* one that still waits for the word ends by that, too */
    if (native_proc_kill(pidfd, NULL) == 0)
        (void)fs_rmtree(dir, NULL); /* the first error is the one to tell */
    return err_prefix(err, r, "guest %s cannot be started", cfg->vmi_uid);
}

/* --- the child's side: async-signal-safe calls only --- */

static void
send_pid(int sock)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    pid_t pid = getpid();
    int pidfd = pidfd_open(pid, 0);
    struct iovec iov = {.iov_base = &pid, .iov_len = sizeof(pid)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.buf,
                         .msg_controllen = sizeof(control.buf)};
    struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

    cm->cmsg_level = SOL_SOCKET;
    cm->cmsg_type = SCM_RIGHTS;
    cm->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cm), &pidfd, sizeof(pidfd));
    if (pidfd < 0 || sendmsg(sock, &msg, MSG_NOSIGNAL) != (ssize_t)sizeof(pid))
        _exit(1);
    close(pidfd);
}

static void
reset_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void
child_run(const struct launch *l)
{
    struct exec_failure f = {.mark = {'e', 'x', 'e', 'c'}};
    int null_fd = fcntl(l->null_fd, F_DUPFD, CHILD_SPARE_FD);
    int log_fd = fcntl(l->log_fd, F_DUPFD, CHILD_SPARE_FD);
    int sock = fcntl(l->sock, F_DUPFD, CHILD_SPARE_FD);
    char go = 0;

    if (dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0 ||
        dup2(sock, CHILD_READY_FD) < 0 || close_range(CHILD_READY_FD + 1, ~0u, 0) < 0)
        _exit(1);
    reset_signals();
    umask(077);
    send_pid(CHILD_READY_FD);
    if (recv(CHILD_READY_FD, &go, 1, 0) != 1 || go != GO || chdir("/") < 0)
        _exit(1);
    execve(l->program, l->argv, environ);
    f.error = errno;
    (void)send(CHILD_READY_FD, &f, sizeof(f), MSG_NOSIGNAL);
    _exit(127);
}
