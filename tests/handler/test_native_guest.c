/* handler/native_*: real guest processes: their start, life and end, and what they survive. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/guest_main.h"
#include "handler/guest_workload.h"
#include "tests/handler/native_rig.h"

#define MIB NATIVE_RIG_MIB

/* --- life --- */

static void
test_workloads(void **state)
{
    (void)state;
    for (const char *const *w = guest_workload_names; *w; w++) {
        struct native_guest *g = native_rig_start(*w);
        struct native_status st, then;

        NATIVE_RIG_UNTIL(g, st, st.steps > 200);
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
        native_rig_verify(g); /* while it runs */
        assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING);
        native_rig_pause(g);
        st = native_rig_status(g);
        assert_int_equal(st.state, NATIVE_PAUSED);
        native_rig_verify(g); /* while it is paused */
        native_rig_pause(g);
        then = native_rig_status(g);
        assert_int_equal(then.state, NATIVE_PAUSED);
        assert_int_equal(then.steps, st.steps);
        native_rig_resume(g);
        native_rig_resume(g);
        NATIVE_RIG_UNTIL(g, st, st.steps > then.steps && st.last_gap_us > 0);
        assert_int_equal(st.state, NATIVE_RUNNING);
        assert_int_equal(st.resumes, 2);
        native_rig_finish(g);
    }
}

/* What no step wrote to has no memory, neither after the start nor after a verify. */
static void
test_absent(void **state)
{
    struct native_guest *g = native_rig_start("idle"), *in = native_rig_start_incoming();
    const uint64_t filled = 3 * MIB + (64 << 10);

    (void)state;
    assert_int_equal(native_rig_present_bytes(g), filled);
    native_rig_verify(g);
    assert_int_equal(native_rig_present_bytes(g), filled);
    assert_int_equal(native_rig_present_bytes(in), 0);
    assert_int_equal(native_rig_status(in).state, NATIVE_INCOMING);
    assert_int_equal(native_rig_present_bytes(in), 0);
    native_rig_finish(g);
    native_rig_finish(in);
}

/* A throttle shows, lasts as long as the handle that asked for it, and bad ones are refused. */
static void
test_throttle(void **state)
{
    struct native_guest *g = native_rig_start("hotcold"), *other;
    struct guest port;
    struct err err = {0};

    (void)state;
    assert_int_equal(native_open(native_rig_state_dir, native_uid(g), &other, &err), 0);
    port = native_guest(other);
    assert_int_equal(port.ops->throttle(port.impl, 100, false, &err), -EINVAL);
    assert_int_equal(port.ops->throttle(port.impl, 40, true, &err), 0);
    assert_int_equal(native_rig_status(g).throttle_percent, 40);
    assert_true(native_rig_status(g).throttle_writers);
    assert_int_equal(port.ops->throttle(port.impl, 99, false, &err), 0);
    assert_int_equal(native_rig_status(g).throttle_percent, 99);
    assert_false(native_rig_status(g).throttle_writers);
    while (native_rig_status(g).throttled_us == 0)
        ;
    assert_int_equal(port.ops->throttle(port.impl, 0, false, &err), 0);
    assert_int_equal(native_rig_status(g).throttle_percent, 0);
    assert_int_equal(port.ops->throttle(port.impl, 50, false, &err), 0);
    native_free(other); /* as when the handler dies */
    while (native_rig_status(g).throttle_percent != 0)
        ;
    native_rig_verify(g);
    native_rig_finish(g);
}

static void
test_set_rate(void **state)
{
    struct native_guest *g = native_rig_start("sequential");
    struct native_status st, then;
    struct err err = {0};

    (void)state;
    assert_int_equal(native_set_rate(g, 0, &err), 0);
    st = native_rig_status(g);
    assert_int_equal(st.rate_bytes_per_s, 0);
    assert_int_equal(native_set_rate(g, 1024 * MIB, &err), 0);
    NATIVE_RIG_UNTIL(g, then, then.written_bytes > st.written_bytes + MIB);
    assert_int_equal(native_set_rate(g, UINT64_MAX, &err), -EINVAL);
    assert_non_null(strstr(err_msg(&err), "bytes a second: at most"));
    native_rig_verify(g);
    native_rig_finish(g);
}

/* --- the process --- */

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

/* Not our child, in a session of its own, with none of our descriptors, directory or ignored
 * signals. */
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
    g = native_rig_start("idle");
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
    native_rig_verify(g);
    kill(native_pid(g), SIGUSR1); /* not ignored: the default ends it */
    native_rig_wait_end(g);
    signal(SIGUSR1, SIG_DFL);
    close(leak[0]);
    close(leak[1]);
    native_rig_finish(g);
}

/* The one that started it dies at once; another finds it, and it has gone on. */
static void
test_found_again(void **state)
{
    const struct native_config a = native_rig_config("found-a", "mix"),
                               b = native_rig_config("found-b", "zipf");
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
    assert_int_equal(native_find(native_rig_state_dir, &list, &len, NULL), 0);
    assert_int_equal(len, 2);
    assert_string_equal(native_uid(list[0]), "found-a");
    assert_string_equal(native_uid(list[1]), "found-b");
    for (size_t i = 0; i < len; i++) {
        struct native_status then = native_rig_status(list[i]);

        assert_true(native_alive(list[i]));
        assert_string_equal(native_name(list[i]), "default/vm");
        assert_int_equal(native_memory_bytes(list[i]), 16 * MIB);
        assert_false(native_was_incoming(list[i]));
        NATIVE_RIG_UNTIL(list[i], st, st.steps > then.steps);
        native_rig_verify(list[i]);
        native_rig_finish(list[i]);
    }
    free(list);
    assert_int_equal(native_find(native_rig_state_dir, &list, &len, NULL), 0);
    assert_int_equal(len, 0);
}

static void
test_killed(void **state)
{
    struct native_guest *g = native_rig_start("sequential"), *again = NULL;
    struct native_exit why;
    struct native_verify v;
    struct guest port = native_guest(g);
    struct err err = {0};

    (void)state;
    native_exit_reason(g, &why);
    assert_int_equal(why.kind, NATIVE_EXIT_NONE);
    kill(native_pid(g), SIGKILL);
    native_rig_wait_end(g);
    native_exit_reason(g, &why);
    assert_int_equal(why.kind, NATIVE_EXIT_KILLED);
    assert_int_equal(native_rig_status(g).state, NATIVE_ENDED);
    assert_int_equal(native_verify(g, 0, &v, &err), -ESRCH);
    assert_non_null(strstr(err_msg(&err), "has ended: killed: it left no word"));
    assert_int_equal(port.ops->pause(port.impl, &err), -ESRCH);
    /* found as an ended one, so that its end can be told */
    assert_int_equal(native_open(native_rig_state_dir, native_uid(g), &again, &err), 0);
    assert_false(native_alive(again));
    assert_int_equal(native_pidfd(again), -1);
    assert_int_equal(native_pid(again), 0);
    assert_int_equal(native_kill(again, &err), 0);
    assert_int_equal(native_quit(again, &err), 0);
    native_free(again);
    native_rig_finish(g);
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
            struct native_guest *g = native_rig_start("mix");
            struct native_exit why;

            if (paused)
                native_rig_pause(g);
            if (rows[i].signo)
                kill(native_pid(g), rows[i].signo);
            else
                assert_int_equal(native_quit(g, NULL), 0);
            native_rig_wait_end(g);
            native_exit_reason(g, &why);
            if (why.kind != rows[i].kind || strncmp(why.text, rows[i].text, strlen(rows[i].text)))
                fail_msg("%s: %d, '%s'", rows[i].name, (int)why.kind, why.text);
            native_rig_finish(g);
        }
}

/* A pid file that names another process, or none, is never taken for the guest, and nothing is
 * killed. */
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
        AUTO_FREE char *dir = xasprintf("%s/guests/stale", native_rig_state_dir);
        AUTO_FREE char *pid = xasprintf("%s/pid", dir), *conf = xasprintf("%s/config.json", dir);
        AUTO_FREE char *line =
            xasprintf("%d %llu %s\n", (int)rows[i].pid, rows[i].ticks, rows[i].boot);
        const char *json = "{\"name\":\"\",\"memoryBytes\":1048576,\"incoming\":true}";
        struct native_guest **list = NULL;
        size_t len = 0;

        assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
        assert_int_equal(fs_replace(pid, line, strlen(line), 0600, NULL), 0);
        assert_int_equal(fs_replace(conf, json, strlen(json), 0600, NULL), 0);
        assert_int_equal(native_find(native_rig_state_dir, &list, &len, NULL), 0);
        assert_int_equal(len, 1);
        if (native_alive(list[0]) != rows[i].alive)
            fail_msg("%s", rows[i].name);
        if (!rows[i].alive)
            assert_int_equal(native_remove(list[0], NULL), 0);
        else
            assert_int_equal(fs_rmtree(dir, NULL), 0);
        assert_false(native_rig_exists(dir));
        native_free(list[0]);
        free(list);
        assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0);
    }
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
}

/* A start that was cut short leaves a directory without a pid file, and no process: it is cleaned
 * away. */
static void
test_half_started(void **state)
{
    AUTO_FREE char *dir = xasprintf("%s/guests/half", native_rig_state_dir);
    AUTO_FREE char *file = xasprintf("%s/config.json", dir);
    struct native_guest **list = NULL, *g = NULL;
    size_t len = 9;

    (void)state;
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(fs_mkdirs(dir, 0700, NULL), 0);
        assert_int_equal(fs_replace(file, "{", 1, 0600, NULL), 0);
        if (opened) {
            assert_int_equal(native_open(native_rig_state_dir, "half", &g, NULL), -ENOENT);
        } else {
            assert_int_equal(native_find(native_rig_state_dir, &list, &len, NULL), 0);
            assert_int_equal(len, 0);
            free(list);
        }
        assert_false(native_rig_exists(dir));
    }
    assert_int_equal(native_open(native_rig_state_dir, "never-was", &g, NULL), -ENOENT);
}

/* --- what cannot be started --- */

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
        AUTO_FREE char *dir = xasprintf("%s/guests/x", native_rig_state_dir);
        struct native_config cfg = native_rig_config(rows[i].uid, rows[i].workload);
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
        assert_false(native_rig_exists(dir));
    }
}

static void
test_spawn_twice(void **state)
{
    struct native_guest *g = native_rig_start("idle"), *second = NULL;
    AUTO_FREE char *uid = xstrdup(native_uid(g));
    const struct native_config cfg = native_rig_config(uid, "idle");
    struct err err = {0};

    (void)state;
    assert_int_equal(native_spawn(&cfg, &second, &err), -EEXIST);
    assert_non_null(strstr(err_msg(&err), "there is a guest of this VM already"));
    assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING); /* the first is as it was */
    native_rig_finish(g);
    native_rig_finish(native_rig_spawn(&cfg));
}

/* A socket's address holds 107 characters of path, a state directory's name may be longer. */
static void
test_long_path(void **state)
{
    AUTO_FREE char *dir = xasprintf("%s/%0100d/%0100d", native_rig_state_dir, 1, 2);
    struct native_config cfg = native_rig_config("deep", "sequential");
    struct native_guest *g;

    (void)state;
    cfg.state_dir = dir;
    g = native_rig_spawn(&cfg);
    native_rig_verify(g);
    native_rig_finish(g);
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
        AUTO_FREE char *cmd = xasprintf("cd %s && exec /proc/%d/exe %s 2>&1", native_rig_state_dir,
                                        (int)getpid(), rows[i].args);
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

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workloads),     cmocka_unit_test(test_absent),
        cmocka_unit_test(test_throttle),      cmocka_unit_test(test_set_rate),
        cmocka_unit_test(test_detached),      cmocka_unit_test(test_found_again),
        cmocka_unit_test(test_killed),        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stale_pid),     cmocka_unit_test(test_half_started),
        cmocka_unit_test(test_spawn_refused), cmocka_unit_test(test_spawn_twice),
        cmocka_unit_test(test_long_path),     cmocka_unit_test(test_command_line),
    };

    if (argc > 1)
        return guest_main(argc, argv);
    return cmocka_run_group_tests_name("native_guest", tests, native_rig_setup,
                                       native_rig_teardown);
}
