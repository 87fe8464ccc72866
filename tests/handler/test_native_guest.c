/* handler/native_*: real guest processes (this program, run again as drover-guest): their start, life and end,
 * what they survive, and moving one to another process with its memory copied by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"
#include "handler/guest_main.h"
#include "handler/guest_memory.h"
#include "handler/guest_wire.h"
#include "handler/native_guest.h"

#define MIB        (1ull << 20)
#define PATIENCE_S 60

static char state_dir[256];
static unsigned next_uid;

static struct native_config
config(const char *uid, const char *workload)
{
    return (struct native_config){.state_dir = state_dir,
                                  .program = "/proc/self/exe",
                                  .vmi_uid = uid,
                                  .name = "default/vm",
                                  .memory_bytes = 16 * MIB,
                                  .vcpus = 2,
                                  .workload = workload,
                                  .rate_bytes_per_s = 32 * MIB,
                                  .set_bytes = 4 * MIB,
                                  .fill_bytes = 3 * MIB,
                                  .zero_bytes = 64 << 10};
}

static struct native_guest *
spawn(const struct native_config *cfg)
{
    struct native_guest *g = NULL;
    struct err err = {0};

    if (native_spawn(cfg, &g, &err) < 0)
        fail_msg("%s", err_msg(&err));
    return g;
}

static struct native_guest *
start(const char *workload)
{
    char uid[32];

    snprintf(uid, sizeof(uid), "guest-%u", next_uid++);
    const struct native_config cfg = config(uid, workload);

    return spawn(&cfg);
}

static struct native_guest *
start_incoming(void)
{
    char uid[32];

    snprintf(uid, sizeof(uid), "in-%u", next_uid++);
    struct native_config cfg = config(uid, NULL);

    cfg.incoming = true;
    return spawn(&cfg);
}

static bool
exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Ends the guest; nothing of it stays, and it had nothing to complain of. */
static void
finish(struct native_guest *g)
{
    AUTO_FREE char *log = xasprintf("%s/guest.log", native_dir(g));
    AUTO_FREE char *dir = xstrdup(native_dir(g));
    AUTO_FREE char *text = NULL;
    size_t len;
    struct err err = {0};

    if (native_alive(g) && native_quit(g, &err) < 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(fs_read_all(log, 1 << 20, &text, &len, NULL), 0);
    if (strstr(text, "ERROR:") || strstr(text, "runtime error") || strstr(text, "WARNING:"))
        fail_msg("%s", text);
    assert_int_equal(native_remove(g, &err), 0);
    assert_false(exists(dir));
    native_free(g);
}

static struct native_status
status(struct native_guest *g)
{
    struct native_status st;
    struct err err = {0};

    if (native_status(g, &st, &err) < 0)
        fail_msg("%s", err_msg(&err));
    return st;
}

#define UNTIL(g, st, cond)                                              \
    do {                                                                \
        uint64_t until_end = clock_mono_us() + PATIENCE_S * 1000000ull; \
        while ((st) = status(g), !(cond))                               \
            assert_true(clock_mono_us() < until_end);                   \
    } while (0)

static void
verify(struct native_guest *g)
{
    struct native_verify v;
    struct err err = {0};

    if (native_verify(g, 0, &v, &err) < 0)
        fail_msg("%s", err_msg(&err));
    if (!v.ok)
        fail_msg("%s", v.text);
    assert_int_equal(v.pages, native_memory_bytes(g) / 4096);
    assert_string_equal(v.text, "");
}

static void
pause_guest(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct err err = {0};

    if (port.ops->pause(port.impl, &err) < 0)
        fail_msg("%s", err_msg(&err));
}

static void
resume_guest(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct err err = {0};

    if (port.ops->resume(port.impl, &err) < 0)
        fail_msg("%s", err_msg(&err));
}

static struct guest_region
region(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct guest_region out[GUEST_MAX_REGIONS];
    struct err err = {0};

    if (port.ops->regions(port.impl, out, &err) != 1)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(out[0].size, native_memory_bytes(g));
    assert_int_equal(out[0].page_bytes, 4096);
    return out[0];
}

static uint64_t
present_bytes(struct native_guest *g)
{
    struct stat st;

    assert_int_equal(fstat(region(g).memfd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void
wait_end(struct native_guest *g)
{
    struct pollfd p = {.fd = native_pidfd(g), .events = POLLIN};

    assert_int_equal(poll(&p, 1, PATIENCE_S * 1000), 1);
    assert_false(native_alive(g));
}

/* --- life ----------------------------------------------------------------------------------------- */

static void
test_workloads(void **state)
{
    (void)state;
    for (const char *const *w = guest_workload_names; *w; w++) {
        struct native_guest *g = start(*w);
        struct native_status st, then;

        UNTIL(g, st, st.steps > 200);
        assert_int_equal(st.state, NATIVE_RUNNING);
        assert_string_equal(st.workload, *w);
        assert_int_equal(st.vcpus, 2);
        assert_int_equal(st.memory_bytes, 16 * MIB);
        assert_int_equal(st.set_bytes, 4 * MIB);
        assert_int_equal(st.fill_bytes, 3 * MIB);
        assert_int_equal(st.zero_bytes, 64 << 10);
        assert_int_equal(st.rate_bytes_per_s, 32 * MIB);
        assert_int_equal(st.resumes, 1);
        assert_false(st.downtime_known);
        verify(g); /* while it runs */
        assert_int_equal(status(g).state, NATIVE_RUNNING);
        pause_guest(g);
        st = status(g);
        assert_int_equal(st.state, NATIVE_PAUSED);
        verify(g); /* while it is paused */
        pause_guest(g);
        then = status(g);
        assert_int_equal(then.state, NATIVE_PAUSED);
        assert_int_equal(then.steps, st.steps);
        resume_guest(g);
        resume_guest(g);
        UNTIL(g, st, st.steps > then.steps && st.last_gap_us > 0);
        assert_int_equal(st.state, NATIVE_RUNNING);
        assert_int_equal(st.resumes, 2);
        finish(g);
    }
}

/* What no step wrote to has no memory, neither after the start nor after a verify. */
static void
test_absent(void **state)
{
    struct native_guest *g = start("idle"), *in = start_incoming();
    const uint64_t filled = 3 * MIB + (64 << 10);

    (void)state;
    assert_int_equal(present_bytes(g), filled);
    verify(g);
    assert_int_equal(present_bytes(g), filled);
    assert_int_equal(present_bytes(in), 0);
    assert_int_equal(status(in).state, NATIVE_INCOMING);
    assert_int_equal(present_bytes(in), 0);
    finish(g);
    finish(in);
}

static void
test_set_rate(void **state)
{
    struct native_guest *g = start("sequential");
    struct native_status st, then;
    struct err err = {0};

    (void)state;
    assert_int_equal(native_set_rate(g, 0, &err), 0);
    st = status(g);
    assert_int_equal(st.rate_bytes_per_s, 0);
    assert_int_equal(native_set_rate(g, 1024 * MIB, &err), 0);
    UNTIL(g, then, then.written_bytes > st.written_bytes + MIB);
    assert_int_equal(native_set_rate(g, UINT64_MAX, &err), -EINVAL);
    assert_non_null(strstr(err_msg(&err), "bytes a second: at most"));
    verify(g);
    finish(g);
}

/* --- the process ------------------------------------------------------------------------------------ */

static void
read_proc(pid_t pid, const char *file, char *buf, size_t size)
{
    char path[64];
    AUTO_FREE char *text = NULL;
    size_t len;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    assert_int_equal(fs_read_all(path, 1 << 16, &text, &len, NULL), 0);
    snprintf(buf, size, "%s", text);
}

/* Not our child, in a session of its own, with none of our descriptors, directory or ignored signals. */
static void
test_detached(void **state)
{
    int leak[2];
    struct native_guest *g;
    char stat[4096], path[64], link[256];
    int ppid = 0, session = 0;

    (void)state;
    assert_int_equal(pipe(leak), 0); /* inheritable on purpose */
    signal(SIGUSR1, SIG_IGN);
    g = start("idle");
    read_proc(native_pid(g), "stat", stat, sizeof(stat));
    assert_int_equal(sscanf(strrchr(stat, ')') + 2, "%*c %d %*d %d", &ppid, &session), 2);
    assert_int_not_equal(ppid, getpid());
    assert_int_not_equal(session, getsid(0));
    for (int fd = 0; fd < 256; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)native_pid(g), fd);
        n = readlink(path, link, sizeof(link) - 1);
        if (n < 0)
            continue;
        link[n] = '\0';
        assert_null(strstr(link, "pipe:"));
        if (fd == 0)
            assert_string_equal(link, "/dev/null");
        if (fd == 1 || fd == 2)
            assert_non_null(strstr(link, "guest.log"));
    }
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)native_pid(g));
    assert_int_equal(readlink(path, link, sizeof(link)), 1);
    kill(native_pid(g), SIGHUP); /* a terminal that closes is none of its business */
    kill(native_pid(g), SIGPIPE);
    verify(g);
    kill(native_pid(g), SIGUSR1); /* not ignored: the default ends it */
    wait_end(g);
    signal(SIGUSR1, SIG_DFL);
    close(leak[0]);
    close(leak[1]);
    finish(g);
}

/* The one that started it dies at once; another finds it, and it has gone on. */
static void
test_found_again(void **state)
{
    const struct native_config a = config("found-a", "mix"), b = config("found-b", "zipf");
    struct native_guest **list = NULL;
    struct native_status st;
    size_t len = 0;
    int wstatus;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct native_guest *g;

        if (native_spawn(&b, &g, NULL) == 0 && native_spawn(&a, &g, NULL) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &wstatus, 0), child);
    assert_true(WIFSIGNALED(wstatus));
    assert_int_equal(native_find(state_dir, &list, &len, NULL), 0);
    assert_int_equal(len, 2);
    assert_string_equal(native_uid(list[0]), "found-a");
    assert_string_equal(native_uid(list[1]), "found-b");
    for (size_t i = 0; i < len; i++) {
        struct native_status then = status(list[i]);

        assert_true(native_alive(list[i]));
        assert_string_equal(native_name(list[i]), "default/vm");
        assert_int_equal(native_memory_bytes(list[i]), 16 * MIB);
        assert_false(native_was_incoming(list[i]));
        UNTIL(list[i], st, st.steps > then.steps);
        verify(list[i]);
        finish(list[i]);
    }
    free(list);
    assert_int_equal(native_find(state_dir, &list, &len, NULL), 0);
    assert_int_equal(len, 0);
}

static void
test_killed(void **state)
{
    struct native_guest *g = start("sequential"), *again = NULL;
    struct native_exit why;
    struct native_verify v;
    struct guest port = native_guest(g);
    struct err err = {0};

    (void)state;
    native_exit_reason(g, &why);
    assert_int_equal(why.kind, NATIVE_EXIT_NONE);
    kill(native_pid(g), SIGKILL);
    wait_end(g);
    native_exit_reason(g, &why);
    assert_int_equal(why.kind, NATIVE_EXIT_KILLED);
    assert_int_equal(status(g).state, NATIVE_ENDED);
    assert_int_equal(native_verify(g, 0, &v, &err), -ESRCH);
    assert_non_null(strstr(err_msg(&err), "has ended: killed: it left no word"));
    assert_int_equal(port.ops->pause(port.impl, &err), -ESRCH);
    /* found as an ended one, so that its end can be told */
    assert_int_equal(native_open(state_dir, native_uid(g), &again, &err), 0);
    assert_false(native_alive(again));
    assert_int_equal(native_pidfd(again), -1);
    assert_int_equal(native_pid(again), 0);
    assert_int_equal(native_kill(again, &err), 0);
    assert_int_equal(native_quit(again, &err), 0);
    native_free(again);
    finish(g);
}

static void
test_ends(void **state)
{
    static const struct {
        const char *name;
        int signo;
        enum native_exit_kind kind;
        const char *text;
    } rows[] = {
        {"quit", 0, NATIVE_EXIT_QUIT, "ended in order: as asked"},
        {"SIGTERM", SIGTERM, NATIVE_EXIT_QUIT, "ended in order: by signal 15"},
        {"SIGINT", SIGINT, NATIVE_EXIT_QUIT, "ended in order: by signal 2"},
        {"SIGSEGV", SIGSEGV, NATIVE_EXIT_CRASHED, "crashed: SIGSEGV at 0x"},
        {"SIGBUS", SIGBUS, NATIVE_EXIT_CRASHED, "crashed: SIGBUS at 0x"},
        {"SIGABRT", SIGABRT, NATIVE_EXIT_CRASHED, "crashed: SIGABRT"},
        {"SIGKILL", SIGKILL, NATIVE_EXIT_KILLED, "killed: it left no word"},
        {"SIGXCPU", SIGXCPU, NATIVE_EXIT_KILLED, "killed: it left no word"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int paused = 0; paused < 2; paused++) {
            struct native_guest *g = start("mix");
            struct native_exit why;

            if (paused)
                pause_guest(g);
            if (rows[i].signo)
                kill(native_pid(g), rows[i].signo);
            else
                assert_int_equal(native_quit(g, NULL), 0);
            wait_end(g);
            native_exit_reason(g, &why);
            if (why.kind != rows[i].kind || strncmp(why.text, rows[i].text, strlen(rows[i].text)))
                fail_msg("%s: %d, '%s'", rows[i].name, (int)why.kind, why.text);
            finish(g);
        }
}

/* A pid file that names another process, or none, is never taken for the guest, and nothing is killed. */
static void
test_stale_pid(void **state)
{
    pid_t bystander = fork(), gone;
    char boot[64] = "", stat[4096];
    unsigned long long start_ticks = 0;

    (void)state;
    if (bystander == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    gone = fork();
    if (gone == 0)
        _exit(0);
    waitpid(gone, NULL, 0);
    {
        AUTO_FREE char *text = NULL;
        size_t len;

        assert_int_equal(fs_read_all("/proc/sys/kernel/random/boot_id", 99, &text, &len, NULL), 0);
        snprintf(boot, sizeof(boot), "%.36s", text);
    }
    read_proc(bystander, "stat", stat, sizeof(stat));
    assert_int_equal(sscanf(strrchr(stat, ')') + 2,
                            "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                            "%*d %*d %llu",
                            &start_ticks),
                     1);
    const struct {
        const char *name;
        pid_t pid;
        unsigned long long ticks;
        const char *boot;
        bool alive; /* the row that proves the others: all as it should be */
    } rows[] = {
        {"as it should be", bystander, start_ticks, boot, true},
        {"another start time", bystander, start_ticks - 1, boot, false},
        {"another boot", bystander, start_ticks, "00000000-0000-0000-0000-000000000000", false},
        {"a process that is gone", gone, start_ticks, boot, false},
        {"a number that no process has", 1 << 30, start_ticks, boot, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *dir = xasprintf("%s/guests/stale", state_dir);
        AUTO_FREE char *pid = xasprintf("%s/pid", dir), *conf = xasprintf("%s/config.json", dir);
        AUTO_FREE char *line =
            xasprintf("%d %llu %s\n", (int)rows[i].pid, rows[i].ticks, rows[i].boot);
        const char *json = "{\"name\":\"\",\"memoryBytes\":1048576,\"incoming\":true}";
        struct native_guest **list = NULL;
        size_t len = 0;

        assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
        assert_int_equal(fs_replace(pid, line, strlen(line), 0600, NULL), 0);
        assert_int_equal(fs_replace(conf, json, strlen(json), 0600, NULL), 0);
        assert_int_equal(native_find(state_dir, &list, &len, NULL), 0);
        assert_int_equal(len, 1);
        if (native_alive(list[0]) != rows[i].alive)
            fail_msg("%s", rows[i].name);
        if (!rows[i].alive)
            assert_int_equal(native_remove(list[0], NULL), 0);
        else
            assert_int_equal(fs_rmtree(dir, NULL), 0);
        assert_false(exists(dir));
        native_free(list[0]);
        free(list);
        assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0);
    }
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
}

/* A start that was cut short leaves a directory without a pid file, and no process: it is cleaned away. */
static void
test_half_started(void **state)
{
    AUTO_FREE char *dir = xasprintf("%s/guests/half", state_dir);
    AUTO_FREE char *file = xasprintf("%s/config.json", dir);
    struct native_guest **list = NULL, *g = NULL;
    size_t len = 9;

    (void)state;
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
        assert_int_equal(fs_replace(file, "{", 1, 0600, NULL), 0);
        if (opened) {
            assert_int_equal(native_open(state_dir, "half", &g, NULL), -ENOENT);
        } else {
            assert_int_equal(native_find(state_dir, &list, &len, NULL), 0);
            assert_int_equal(len, 0);
            free(list);
        }
        assert_false(exists(dir));
    }
    assert_int_equal(native_open(state_dir, "never-was", &g, NULL), -ENOENT);
}

/* --- what cannot be started ------------------------------------------------------------------------ */

static void
test_spawn_refused(void **state)
{
    static const struct {
        const char *name;
        const char *uid, *program, *workload;
        uint64_t memory, set, fill;
        unsigned vcpus;
        int code;
        const char *want;
    } rows[] = {
        {"no program", "x", "/no/such/program", "idle", MIB, 0, 0, 1, -ENOENT,
         "guest x cannot be started: /no/such/program: No such file"},
        {"no executable", "x", "/etc/passwd", "idle", MIB, 0, 0, 1, -EACCES, "Permission denied"},
        {"a program that ends", "x", "/bin/true", "idle", MIB, 0, 0, 1, -ECHILD,
         "guest x cannot be started: the guest ended at its start"},
        {"uid empty", "", NULL, "idle", MIB, 0, 0, 1, -EINVAL, "guest uid '': want 1 to 63"},
        {"uid with a slash", "a/b", NULL, "idle", MIB, 0, 0, 1, -EINVAL, "guest uid 'a/b'"},
        {"uid upwards", "..", NULL, "idle", MIB, 0, 0, 1, -EINVAL, "not beginning with '.'"},
        {"workload", "x", NULL, "spin", MIB, 0, 0, 1, -ECHILD, "want one of idle, sequential"},
        {"no vCPU", "x", NULL, "idle", MIB, 0, 0, 0, -ECHILD, "--vcpus: 0 is too small"},
        {"odd memory", "x", NULL, "idle", MIB + 1, 0, 0, 1, -EINVAL,
         "memory of 1048577 bytes: want a multiple of 4096"},
        {"no memory", "x", NULL, "idle", 0, 0, 0, 1, -ECHILD, "--memory: 0 is too small"},
        {"set", "x", NULL, "idle", MIB, 2 * MIB, 0, 1, -EINVAL,
         "working set of 2097152 bytes: at most the memory, 1048576"},
        {"fill", "x", NULL, "idle", MIB, 0, 2 * MIB, 1, -EINVAL, "fill of 2097152 bytes"},
        {"set below vCPUs", "x", NULL, "mix", MIB, 4096, 0, 2, -EINVAL,
         "working set of 4096 bytes: at least 32768 for 2 vCPUs with workload mix"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *dir = xasprintf("%s/guests/x", state_dir);
        struct native_config cfg = config(rows[i].uid, rows[i].workload);
        struct native_guest *g = NULL;
        struct err err = {0};
        int r;

        if (rows[i].program)
            cfg.program = rows[i].program;
        cfg.memory_bytes = rows[i].memory;
        cfg.set_bytes = rows[i].set;
        cfg.fill_bytes = rows[i].fill;
        cfg.zero_bytes = 0;
        cfg.vcpus = rows[i].vcpus;
        r = native_spawn(&cfg, &g, &err);
        if (r != rows[i].code || !strstr(err_msg(&err), rows[i].want))
            fail_msg("%s: %d, '%s'", rows[i].name, r, err_msg(&err));
        assert_null(g);
        assert_false(exists(dir));
    }
}

static void
test_spawn_twice(void **state)
{
    struct native_guest *g = start("idle"), *second = NULL;
    AUTO_FREE char *uid = xstrdup(native_uid(g));
    const struct native_config cfg = config(uid, "idle");
    struct err err = {0};

    (void)state;
    assert_int_equal(native_spawn(&cfg, &second, &err), -EEXIST);
    assert_non_null(strstr(err_msg(&err), "there is a guest of this VM already"));
    assert_int_equal(status(g).state, NATIVE_RUNNING); /* the first is as it was */
    finish(g);
    finish(spawn(&cfg));
}

/* A socket's address holds 107 characters of path, a state directory's name may be longer. */
static void
test_long_path(void **state)
{
    AUTO_FREE char *dir = xasprintf("%s/%0100d/%0100d", state_dir, 1, 2);
    struct native_config cfg = config("deep", "sequential");
    struct native_guest *g;

    (void)state;
    cfg.state_dir = dir;
    g = spawn(&cfg);
    verify(g);
    finish(g);
}

/* --- the control socket ---------------------------------------------------------------------------- */

static int
dial(struct native_guest *g)
{
    AUTO_FD int dir = open(native_dir(g), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/control", dir);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static struct guest_wire_request
request(enum guest_wire_op op)
{
    return (struct guest_wire_request){
        .magic = GUEST_WIRE_MAGIC, .version = GUEST_WIRE_VERSION, .op = (uint16_t)op};
}

static void
test_socket_mode(void **state)
{
    struct native_guest *g = start("idle");
    AUTO_FREE char *path = xasprintf("%s/control", native_dir(g));
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(native_dir(g), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    finish(g);
}

static void
test_garbage(void **state)
{
    static const struct {
        const char *name;
        size_t len; /* of the message; 0: none, the end at once */
        struct guest_wire_request q;
        int error; /* of the reply; 0: no reply, the end */
    } rows[] = {
        {"nothing", 0, {0}, 0},
        {"one byte", 1, {.magic = GUEST_WIRE_MAGIC}, 0},
        {"half a head", 12, {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 1}, 0},
        {"zeros", sizeof(rows[0].q), {0}, 0},
        {"magic", sizeof(rows[0].q), {.magic = 1, .version = 1, .op = 11}, 0},
        {"a length that is not there",
         sizeof(rows[0].q),
         {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 8, .len = 5},
         0},
        {"a huge length",
         sizeof(rows[0].q),
         {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 8, .len = UINT32_MAX},
         0},
        {"more than it says", 100, {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 8}, 0},
        {"more than a message may have",
         40000,
         {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 8, .len = 40000 - sizeof(rows[0].q)},
         0},
        {"data with a request that has none",
         100,
         {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 11, .len = 100 - sizeof(rows[0].q)},
         -EBADMSG},
        {"version",
         sizeof(rows[0].q),
         {.magic = GUEST_WIRE_MAGIC, .version = 2, .op = 11},
         -EPROTONOSUPPORT},
        {"unknown request",
         sizeof(rows[0].q),
         {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 99},
         -EOPNOTSUPP},
        {"request 0", sizeof(rows[0].q), {.magic = GUEST_WIRE_MAGIC, .version = 1}, -EOPNOTSUPP},
        {"no state", sizeof(rows[0].q), {.magic = GUEST_WIRE_MAGIC, .version = 1, .op = 8}, -EBUSY},
    };
    struct native_guest *g = start("mix");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static uint8_t msg[65536];
        struct guest_wire_reply h = {0};
        AUTO_FD int fd = dial(g);
        struct pollfd p = {.fd = fd, .events = POLLIN};

        memcpy(msg, &rows[i].q, sizeof(rows[i].q));
        if (rows[i].len)
            assert_int_equal(send(fd, msg, rows[i].len, MSG_NOSIGNAL), rows[i].len);
        else
            shutdown(fd, SHUT_WR);
        assert_int_equal(poll(&p, 1, PATIENCE_S * 1000), 1);
        if (rows[i].error == 0) {
            if (recv(fd, msg, sizeof(msg), 0) > 0)
                fail_msg("%s: answered", rows[i].name);
        } else {
            assert_true(recv(fd, msg, sizeof(msg), 0) >= (ssize_t)sizeof(h));
            memcpy(&h, msg, sizeof(h));
            if (h.error != rows[i].error)
                fail_msg("%s: %d", rows[i].name, h.error);
        }
        assert_int_equal(status(g).state, NATIVE_RUNNING);
    }
    verify(g);
    finish(g);
}

/* Clients that say nothing, never read, or die in the middle: others are served, the guest runs. */
static void
test_bad_clients(void **state)
{
    struct native_guest *g = start("hotcold");
    const struct guest_wire_request ask = request(GUEST_WIRE_STATUS);
    const struct guest_wire_request quiet = request(GUEST_WIRE_VERIFY);
    struct native_status st;
    int silent[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
        silent[i] = dial(g);
        assert_int_equal(status(g).state, NATIVE_RUNNING);
    }
    /* asks on and on and reads nothing: it is cut off, not waited for */
    for (int i = 0; i < 100000; i++)
        if (send(silent[39], &ask, sizeof(ask), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
            break;
    assert_int_equal(status(g).state, NATIVE_RUNNING);
    for (int i = 0; i < 10; i++) { /* asks for a verify and is gone */
        AUTO_FD int fd = dial(g);

        assert_int_equal(send(fd, &quiet, sizeof(quiet), MSG_NOSIGNAL), sizeof(quiet));
    }
    UNTIL(g, st, !st.verifying);
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        close(silent[i]);
    verify(g);
    finish(g);
}

static void *
verify_thread(void *arg)
{
    struct native_verify v;

    return (void *)(intptr_t)native_verify(arg, 0, &v, NULL);
}

/* A long verify does not keep others waiting: status and pause are answered, a second verify is refused, resume and
 * quit cut it short. */
static void
test_during_verify(void **state)
{
    struct native_config cfg = config("long", "mix");
    bool cut = false, quit = false;

    (void)state;
    cfg.memory_bytes = 256 * MIB;
    cfg.set_bytes = 0;
    cfg.fill_bytes = 192 * MIB;
    for (int tries = 0; tries < 10 && !(cut && quit); tries++) {
        struct native_guest *g = spawn(&cfg);
        struct native_status st;
        struct native_verify v;
        pthread_t t;
        void *r;

        assert_int_equal(pthread_create(&t, NULL, verify_thread, g), 0);
        UNTIL(g, st, st.verifying || st.last_gap_us > 0);
        pause_guest(g);
        if (status(g).verifying && !cut) {
            int second = native_verify(g, 0, &v, NULL);

            assert_true(second == -EBUSY || second == 0);
            resume_guest(g);
            assert_int_equal(status(g).state, NATIVE_RUNNING);
            pthread_join(t, &r);
            cut = (intptr_t)r == -ECANCELED;
        } else {
            assert_int_equal(native_quit(g, NULL), 0);
            pthread_join(t, &r);
            quit = (intptr_t)r < 0;
        }
        finish(g);
    }
    assert_true(cut);
    assert_true(quit);
}

/* The driver keeps no descriptor that it does not need. */
static size_t
open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void
test_no_leak(void **state)
{
    size_t before = open_fds();
    struct native_guest *g = start("idle");
    struct guest port = native_guest(g);
    int fd = -1;

    (void)state;
    for (int i = 0; i < 50; i++) {
        verify(g);
        region(g);
        pause_guest(g);
        resume_guest(g);
        assert_int_equal(port.ops->userfaultfd(port.impl, &fd, NULL), 0);
        close(fd);
    }
    assert_int_equal(open_fds(), before + 2); /* pidfd and memfd */
    finish(g);
    assert_int_equal(open_fds(), before);
}

/* --- moving one ------------------------------------------------------------------------------------- */

/* The present pages of a paused guest, into one that is waiting. */
static void
copy_memory(struct native_guest *from, struct native_guest *to)
{
    struct guest_region a = region(from), b = region(to);
    uint64_t start_at = 0, end = 0;

    while (guest_memory_next_present(a.memfd, a.size, end, &start_at, &end) == 0 &&
           start_at < a.size)
        memcpy(b.map + start_at, a.map + start_at, end - start_at);
}

static void
move(struct native_guest *from, struct native_guest *to)
{
    struct guest a = native_guest(from), b = native_guest(to);
    AUTO_FREE void *st = NULL;
    size_t len = 0;
    struct err err = {0};

    pause_guest(from);
    copy_memory(from, to);
    if (a.ops->save_state(a.impl, &st, &len, &err) < 0 ||
        b.ops->load_state(b.impl, st, len, &err) < 0)
        fail_msg("%s", err_msg(&err));
}

static void
test_move(void **state)
{
    (void)state;
    for (const char *const *w = guest_workload_names; *w; w++) {
        struct native_guest *from = start(*w), *to = start_incoming(), *third;
        struct native_status a, b;

        UNTIL(from, a, a.steps > 300);
        move(from, to);
        a = status(from);
        b = status(to);
        assert_int_equal(b.state, NATIVE_PAUSED);
        assert_int_equal(b.steps, a.steps);
        assert_int_equal(b.written_bytes, a.written_bytes);
        assert_string_equal(b.workload, *w);
        assert_int_equal(b.rate_bytes_per_s, 32 * MIB);
        assert_int_equal(b.resumes, 0);
        assert_false(b.downtime_known);
        verify(to);
        assert_int_equal(present_bytes(to), present_bytes(from));
        resume_guest(to);
        UNTIL(to, b, b.steps > a.steps + 100 && b.downtime_known);
        assert_true(b.downtime_us > 0);
        assert_int_equal(b.resumes, 1);
        verify(to);
        /* and on, with what it did there */
        third = start_incoming();
        move(to, third);
        resume_guest(third);
        UNTIL(third, a, a.steps > b.steps + 100 && a.downtime_known);
        verify(third);
        assert_int_equal(status(third).read_mismatches, 0);
        /* the first is as it was left, and could go on */
        verify(from);
        resume_guest(from);
        verify(from);
        finish(from);
        finish(to);
        finish(third);
    }
}

/* What a migration could do wrong is found at the other side. */
static void
test_move_damaged(void **state)
{
    static const struct {
        const char *name;
        uint64_t at; /* byte that is changed in the copy */
        const char *want;
    } rows[] = {
        {"filled", 3 * MIB - 1, "page 767 "},
        {"zero part", 3 * MIB, "page 768 "},
        {"never touched", 16 * MIB - 1, "page 4095 "},
        {"working set", 5, "page 0 "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct native_guest *from = start("mix"), *to = start_incoming();
        struct native_verify v;
        struct native_status st;

        UNTIL(from, st, st.steps > 100);
        move(from, to);
        region(to).map[rows[i].at] ^= 0x40;
        assert_int_equal(native_verify(to, 0, &v, NULL), 0);
        assert_false(v.ok);
        assert_int_equal(v.bad_pages, 1);
        if (!strstr(v.text, rows[i].want))
            fail_msg("%s: '%s'", rows[i].name, v.text);
        region(to).map[rows[i].at] ^= 0x40;
        verify(to);
        verify(from);
        finish(from);
        finish(to);
    }
}

/* Requests at the wrong time are refused and change nothing. */
static void
test_wrong_time(void **state)
{
    struct native_guest *run = start("zipf"), *in = start_incoming();
    struct guest r = native_guest(run), i = native_guest(in);
    AUTO_FREE void *st = NULL;
    AUTO_FREE void *again = NULL;
    struct native_verify v;
    size_t len = 0, len2 = 0;
    struct err err = {0};

    (void)state;
    assert_int_equal(r.ops->save_state(r.impl, &st, &len, &err), -EBUSY);
    assert_non_null(strstr(err_msg(&err), "not paused"));
    assert_int_equal(i.ops->save_state(i.impl, &st, &len, &err), -EINVAL);
    assert_int_equal(i.ops->resume(i.impl, &err), -EINVAL);
    assert_int_equal(native_verify(in, 0, &v, &err), -EINVAL);
    assert_int_equal(native_set_rate(in, 1, &err), -EINVAL);
    assert_int_equal(i.ops->pause(i.impl, &err), 0); /* it is */
    pause_guest(run);
    assert_int_equal(r.ops->save_state(r.impl, &st, &len, &err), 0);
    assert_int_equal(r.ops->save_state(r.impl, &again, &len2, &err), 0);
    assert_int_equal(len, len2);
    assert_memory_equal(st, again, len);
    assert_int_equal(r.ops->load_state(r.impl, st, len, &err), -EBUSY);
    /* damage in every part; then the right one is still taken */
    for (size_t at = 0; at < len; at += 3) {
        ((uint8_t *)st)[at] ^= 0x21;
        if (i.ops->load_state(i.impl, st, len, &err) != -EINVAL)
            fail_msg("byte %zu", at);
        ((uint8_t *)st)[at] ^= 0x21;
    }
    assert_int_equal(i.ops->load_state(i.impl, st, len - 1, &err), -EINVAL);
    assert_int_equal(i.ops->load_state(i.impl, st, 0, &err), -EINVAL);
    assert_int_equal(status(in).state, NATIVE_INCOMING);
    copy_memory(run, in);
    assert_int_equal(i.ops->load_state(i.impl, st, len, &err), 0);
    assert_int_equal(i.ops->load_state(i.impl, st, len, &err), -EBUSY);
    verify(in);
    finish(run);
    finish(in);
}

/* The descriptor is of the guest's process: registering its memory through it works, and again after the
 * guest made another. */
static void
test_userfaultfd(void **state)
{
    struct native_guest *g = start("hotcold");
    struct guest port = native_guest(g);
    struct guest_region mem = region(g);
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
        struct uffdio_register reg = {.range = {.start = mem.hva, .len = mem.size},
                                      .mode = UFFDIO_REGISTER_MODE_MISSING};
        AUTO_FD int fd = -1;

        if (port.ops->userfaultfd(port.impl, &fd, &err) < 0)
            fail_msg("%s", err_msg(&err));
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
        assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
        /* i 0: ours is closed first, the guest's own stays until it makes another; 1: both are closed */
        if (i == 1)
            assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
        if (i == 2)
            assert_int_equal(ioctl(fd, UFFDIO_UNREGISTER, &reg.range), 0);
    }
    assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
    assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
    verify(g);
    finish(g);
}

/* A vCPU that waits for a page stands in nobody's way: others are answered, the pause comes when the page does. */
static void
test_pause_in_fault(void **state)
{
    struct native_config cfg = config("fault", "sequential");
    struct uffdio_api api = {.api = UFFD_API};
    struct native_guest *g;
    struct guest port;
    struct guest_region mem;
    struct uffdio_register reg;
    struct uffdio_zeropage zero;
    struct uffd_msg msg;
    AUTO_FD int uffd = -1;
    AUTO_FD int fd = -1;
    const struct guest_wire_request ask = request(GUEST_WIRE_PAUSE);
    struct guest_wire_reply h;
    struct pollfd p;
    struct native_status st;

    (void)state;
    cfg.vcpus = 1;
    cfg.fill_bytes = cfg.zero_bytes = cfg.rate_bytes_per_s = 0;
    g = spawn(&cfg);
    port = native_guest(g);
    mem = region(g);
    assert_int_equal(port.ops->userfaultfd(port.impl, &uffd, NULL), 0);
    assert_int_equal(ioctl(uffd, UFFDIO_API, &api), 0);
    reg = (struct uffdio_register){.range = {.start = mem.hva, .len = mem.size},
                                   .mode = UFFDIO_REGISTER_MODE_MISSING};
    assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
    assert_int_equal(native_set_rate(g, MIB, NULL), 0);
    p = (struct pollfd){.fd = uffd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_S * 1000), 1);
    assert_int_equal(read(uffd, &msg, sizeof(msg)), sizeof(msg));
    assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
    fd = dial(g);
    assert_int_equal(send(fd, &ask, sizeof(ask), MSG_NOSIGNAL), sizeof(ask));
    UNTIL(g, st, st.pausing);
    assert_int_equal(st.state, NATIVE_RUNNING);
    zero = (struct uffdio_zeropage){
        .range = {.start = msg.arg.pagefault.address & ~4095ull, .len = 4096}};
    assert_int_equal(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
    assert_int_equal(recv(fd, &h, sizeof(h), 0), sizeof(h));
    assert_int_equal(h.error, 0);
    assert_int_equal(status(g).state, NATIVE_PAUSED);
    assert_int_equal(status(g).steps, 1);
    assert_int_equal(ioctl(uffd, UFFDIO_UNREGISTER, &reg.range), 0);
    verify(g);
    finish(g);
}

/* --help and nonsense, as a person at a shell would see them. */
static void
test_command_line(void **state)
{
    static const struct {
        const char *args;
        int code;
        const char *want;
    } rows[] = {
        {"--help", 0, "--memory SIZE"},
        {"--help", 0, "(idle, sequential, hotcold, randomwords, zipf, mix; default idle)"},
        {"--memory=1Mi", 1, "drover-guest: --dir is missing"},
        {"--dir=/no/such --memory=1Mi", 1, "/no/such: No such file or directory"},
        {"--dir=. --memory=1", 1, "--memory: 1 is too small: at least 65536"},
        {"--dir=. --memory=1Mi --vcpus=129", 1, "--vcpus: 129 is too large: at most 128"},
        {"--dir=. --memory=1Mi extra", 1, "unexpected argument 'extra'"},
        {"--dir=. --memory=1Mi --ready-fd=99", 1, "--ready-fd 99: Bad file descriptor"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *cmd =
            xasprintf("cd %s && exec /proc/%d/exe %s 2>&1", state_dir, (int)getpid(), rows[i].args);
        FILE *f = popen(cmd, "r");
        char out[8192];
        size_t n;
        int wstatus;

        assert_non_null(f);
        n = fread(out, 1, sizeof(out) - 1, f);
        out[n] = '\0';
        wstatus = pclose(f);
        if (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus) != rows[i].code ||
            !strstr(out, rows[i].want))
            fail_msg("%s: %d, '%s'", rows[i].args, wstatus, out);
    }
}

static int
make_state_dir(void **state)
{
    (void)state;
    snprintf(state_dir, sizeof(state_dir), "/tmp/drover-test-native-%d", (int)getpid());
    return fs_mkdirs(state_dir, 0700, NULL);
}

/* Kills what a failed test left running. */
static int
remove_state_dir(void **state)
{
    struct native_guest **list = NULL;
    size_t len = 0;

    (void)state;
    (void)native_find(state_dir, &list, &len, NULL);
    for (size_t i = 0; i < len; i++) {
        native_remove(list[i], NULL);
        native_free(list[i]);
    }
    free(list);
    return fs_rmtree(state_dir, NULL);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workloads),    cmocka_unit_test(test_absent),
        cmocka_unit_test(test_set_rate),     cmocka_unit_test(test_detached),
        cmocka_unit_test(test_found_again),  cmocka_unit_test(test_killed),
        cmocka_unit_test(test_ends),         cmocka_unit_test(test_stale_pid),
        cmocka_unit_test(test_half_started), cmocka_unit_test(test_spawn_refused),
        cmocka_unit_test(test_spawn_twice),  cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_socket_mode),  cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_bad_clients),  cmocka_unit_test(test_during_verify),
        cmocka_unit_test(test_no_leak),      cmocka_unit_test(test_move),
        cmocka_unit_test(test_move_damaged), cmocka_unit_test(test_wrong_time),
        cmocka_unit_test(test_userfaultfd),  cmocka_unit_test(test_pause_in_fault),
        cmocka_unit_test(test_command_line),
    };

    if (argc > 1)
        return guest_main(argc, argv);
    return cmocka_run_group_tests_name("native_guest", tests, make_state_dir, remove_state_dir);
}
