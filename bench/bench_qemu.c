/* See bench_qemu.h. */
#include "bench/bench_qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "bench/bench_house.h"
#include "bench/bench_qmp.h"

#define URI         "tcp:" BENCH_FAR_IP ":4444"
#define START_US    20000000
#define MOVE_US     120000000
#define DOWNTIME_MS 300
#define NO_LIMIT    (1ll << 40) /* bytes a second */
#define MAX_ARGS    40
#define MAX_LOG     4096

struct qemu {
    pid_t pid;
    int pidfd;
    struct bench_qmp *qmp;
};

struct command { /* argv and what it owns */
    char *argv[MAX_ARGS];
    size_t len;
};

static void
add(struct command *c, char *arg)
{
    if (c->len + 1 < MAX_ARGS)
        c->argv[c->len++] = arg;
    else
        free(arg);
}

static void
command_done(struct command *c)
{
    for (size_t i = 0; i < c->len; i++)
        free(c->argv[i]);
}

/* What comes before /usr/bin/... in a program that was unpacked somewhere; "" for an installed one. */
static char *
prefix_of(const char *program)
{
    const char *at = strstr(program, "/usr/bin/");

    return at ? xstrndup(program, (size_t)(at - program)) : xstrdup("");
}

static void child(const struct command *c, const char *log, int netns) __attribute__((noreturn));

static void
child(const struct command *c, const char *log, int netns)
{
    AUTO_FREE char *prefix = prefix_of(c->argv[0]);
    int null_fd = open("/dev/null", O_RDONLY);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((netns >= 0 && setns(netns, CLONE_NEWNET) < 0) || dup2(null_fd, 0) < 0 ||
        dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        _exit(127);
    if (prefix[0]) {
        AUTO_FREE char *libs = xasprintf("%s/usr/lib/x86_64-linux-gnu", prefix);
        AUTO_FREE char *modules = xasprintf("%s/qemu", libs);

        setenv("LD_LIBRARY_PATH", libs, 1);
        setenv("QEMU_MODULE_DIR", modules, 1);
    }
    execv(c->argv[0], c->argv);
    fprintf(stderr, "%s: %s\n", c->argv[0], strerror(errno));
    _exit(127);
}

static void
qemu_stop(struct qemu *q)
{
    bench_qmp_free(q->qmp);
    if (q->pid > 0) {
        kill(q->pid, SIGKILL);
        while (waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        close(q->pidfd);
    }
    *q = (struct qemu){0};
}

/* The last line that QEMU wrote, for its error. */
static int
with_log(const char *log, int rc, struct err *err)
{
    AUTO_FREE char *text = NULL;
    const char *line;
    size_t len;

    if (fs_read_all(log, MAX_LOG, &text, &len, NULL) != 0 || len == 0)
        return rc;
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    line = strrchr(text, '\n');
    return err_set(err, rc, "%.300s", line ? line + 1 : text);
}

/* netns: -1 = this one. extra is taken from. */
static int
qemu_start(const char *program, const char *name, uint64_t bytes, char *memory, bool incoming,
           int netns, struct qemu *ret, struct err *err)
{
    AUTO_FREE char *socket_path = xasprintf(BENCH_HOUSE_DIR "/%s.qmp", name);
    AUTO_FREE char *log = xasprintf(BENCH_HOUSE_DIR "/%s.log", name);
    AUTO_FREE char *prefix = prefix_of(program);
    static const char *const fixed[] = {"-nodefaults", "-no-user-config", "-display", "none",
                                        "-S",          "-accel",          "kvm",      "-accel",
                                        "tcg"};
    struct command c = {0};
    int rc;

    add(&c, xstrdup(program));
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        add(&c, xstrdup(fixed[i]));
    add(&c, xstrdup("-machine"));
    add(&c, xstrdup(memory ? "pc,memory-backend=pc.ram" : "pc"));
    add(&c, xstrdup("-m"));
    add(&c, xasprintf("%lluk", (unsigned long long)(bytes >> 10)));
    if (memory) {
        add(&c, xstrdup("-object"));
        add(&c, memory);
    }
    if (prefix[0]) {
        static const char *const data[] = {"qemu", "seabios"};

        for (size_t i = 0; i < ARRAY_LEN(data); i++) {
            add(&c, xstrdup("-L"));
            add(&c, xasprintf("%s/usr/share/%s", prefix, data[i]));
        }
    }
    add(&c, xstrdup("-qmp"));
    add(&c, xasprintf("unix:%s,server=on,wait=off", socket_path));
    if (incoming) {
        add(&c, xstrdup("-incoming"));
        add(&c, xstrdup("defer"));
    }
    unlink(socket_path);
    ret->pid = fork();
    if (ret->pid == 0)
        child(&c, log, netns);
    command_done(&c);
    if (ret->pid < 0) {
        ret->pid = 0;
        return err_set(err, -errno, "fork: %s", strerror(errno));
    }
    ret->pidfd = pidfd_open(ret->pid, 0);
    rc = bench_qmp_connect(socket_path, ret->pidfd, START_US, &ret->qmp, err);
    return rc ? with_log(log, rc, err) : 0;
}

static int
set_up(struct bench_qmp *q, unsigned multifd, struct err *err)
{
    struct tree *caps = tree_map(), *cap = tree_map(), *params = tree_map();
    struct tree *list = tree_list();
    int rc;

    tree_set(cap, "capability", tree_string("multifd"));
    tree_set(cap, "state", tree_bool(multifd > 0));
    tree_append(list, cap);
    tree_set(caps, "capabilities", list);
    tree_set(params, "max-bandwidth", tree_int(NO_LIMIT));
    tree_set(params, "downtime-limit", tree_int(DOWNTIME_MS));
    if (multifd > 0)
        tree_set(params, "multifd-channels", tree_int(multifd));
    rc = bench_qmp_call(q, "migrate-set-capabilities", caps, NULL, err);
    if (rc != 0) {
        tree_free(params);
        return rc;
    }
    return bench_qmp_call(q, "migrate-set-parameters", params, NULL, err);
}

static int
call_uri(struct bench_qmp *q, const char *command, struct err *err)
{
    struct tree *args = tree_map();

    tree_set(args, "uri", tree_string(URI));
    return bench_qmp_call(q, command, args, NULL, err);
}

static int
wait_moved(struct bench_qmp *q, struct bench_qemu_result *ret, struct err *err)
{
    uint64_t until = clock_mono_us() + MOVE_US;

    for (;;) {
        AUTO_TREE struct tree *t = NULL;
        int rc = bench_qmp_call(q, "query-migrate", NULL, &t, err);
        const char *status;

        if (rc != 0)
            return rc;
        status = tree_get_string(tree_get(t, "status"), "none");
        if (strcmp(status, "completed") == 0) {
            ret->total_s = (double)tree_get_int(tree_get(t, "total-time"), 0) / 1e3;
            ret->downtime_s = (double)tree_get_int(tree_get(t, "downtime"), 0) / 1e3;
            ret->transferred_bytes =
                (uint64_t)tree_get_int(tree_find(t, "ram", "transferred", NULL), 0);
            return 0;
        }
        if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)
            return err_set(err, -EIO, "QEMU's migration %s: %s", status,
                           tree_find_string(t, "it does not say why", "error-desc", NULL));
        if (clock_mono_us() > until)
            return err_set(err, -ETIMEDOUT, "QEMU's migration is not done after %d s",
                           MOVE_US / 1000000);
        poll(NULL, 0, 5);
    }
}

static int
accel_of(struct bench_qmp *q, char *ret, size_t size, struct err *err)
{
    AUTO_TREE struct tree *t = NULL;
    int rc = bench_qmp_call(q, "query-kvm", NULL, &t, err);

    if (rc == 0)
        snprintf(ret, size, "%s", tree_get_bool(tree_get(t, "enabled"), false) ? "kvm" : "tcg");
    return rc;
}

int
bench_qemu_move(const struct bench_sides *s, const struct bench_qemu_case *c,
                struct bench_qemu_result *ret, struct err *err)
{
    const char *prealloc = c->prealloc ? "on" : "off";
    char *source = xasprintf("memory-backend-file,id=pc.ram,mem-path=%s,share=on,size=%llu,"
                             "prealloc=%s",
                             c->file, (unsigned long long)c->bytes, prealloc);
    char *target = c->prealloc ? xasprintf("memory-backend-ram,id=pc.ram,size=%llu,prealloc=on",
                                           (unsigned long long)c->bytes)
                               : NULL; /* as it is by default */
    AUTO_FREE char *path = xasprintf("/proc/%d/ns/net", (int)s->far);
    AUTO_FD int netns = open(path, O_RDONLY | O_CLOEXEC);
    struct qemu src = {0}, dst = {0};
    int rc;

    *ret = (struct bench_qemu_result){0};
    rc = qemu_start(c->program, "dst", c->bytes, target, true, netns, &dst, err);
    if (rc == 0)
        rc = qemu_start(c->program, "src", c->bytes, source, false, -1, &src, err);
    else
        free(source);
    if (rc == 0)
        rc = accel_of(src.qmp, ret->accel, sizeof ret->accel, err);
    if (rc == 0)
        rc = set_up(dst.qmp, c->multifd, err);
    if (rc == 0)
        rc = set_up(src.qmp, c->multifd, err);
    if (rc == 0)
        rc = call_uri(dst.qmp, "migrate-incoming", err);
    if (rc == 0)
        rc = call_uri(src.qmp, "migrate", err);
    if (rc == 0)
        rc = wait_moved(src.qmp, ret, err);
    qemu_stop(&src);
    qemu_stop(&dst);
    return rc;
}

int
bench_qemu_version(const char *program, char *ret, size_t size, struct err *err)
{
    AUTO_TREE struct tree *t = NULL;
    const struct tree *v;
    struct qemu q = {0};
    int rc = qemu_start(program, "ask", 64u << 20, NULL, false, -1, &q, err);

    if (rc == 0)
        rc = bench_qmp_call(q.qmp, "query-version", NULL, &t, err);
    qemu_stop(&q);
    if (rc != 0)
        return rc;
    v = tree_get(t, "qemu");
    snprintf(ret, size, "%d.%d.%d", (int)tree_get_int(tree_get(v, "major"), 0),
             (int)tree_get_int(tree_get(v, "minor"), 0),
             (int)tree_get_int(tree_get(v, "micro"), 0));
    return 0;
}

size_t
bench_qemu_find(char *ret[BENCH_MAX_QEMU])
{
    const char *path = getenv("PATH");
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t n = 0;

    if (len > 0) {
        char *slash;

        self[len] = '\0';
        slash = strrchr(self, '/');
        *slash = '\0';
        ret[n] = xasprintf("%s/../build/qemu-backports/usr/bin/qemu-system-x86_64", self);
        if (access(ret[n], X_OK) == 0)
            n++;
        else
            free(ret[n]);
    }
    for (const char *p = path ? path : "/usr/bin"; *p;) {
        size_t dir = strcspn(p, ":");

        ret[n] = xasprintf("%.*s/qemu-system-x86_64", (int)dir, p);
        if (access(ret[n], X_OK) == 0)
            return n + 1;
        free(ret[n]);
        p += dir + (p[dir] == ':');
    }
    return n;
}
