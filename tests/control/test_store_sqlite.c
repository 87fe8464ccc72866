/* What the SQLite back end promises: whatever was acknowledged is there after a crash at any time,
 * groups are all or nothing, a refused write leaves memory and disk equal, files that are not ours
 * are left alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/strmap.h"
#include "tests/control/store_fixture.h"

static int
setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    fixture_open(f, true);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* For tests that fork: a directory only, since a child of a process with threads must not
 * allocate. */
static int
setup_dir(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/drover-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int
teardown_dir(void **state)
{
    struct fixture *f = *state;

    fs_rmtree(f->dir, NULL);
    free(f);
    return 0;
}

static void
test_reopen(void **state)
{
    struct fixture *f = *state;
    char *before, *after;
    uint64_t rv;
    struct stat st;

    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "n", ",\"spec\":{\"f\":1.5}")),
                     0);
    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "a", ",\"x\":\"\\u00e9\\n\"")),
                     0);
    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "b", "")), 0);
    assert_int_equal(fixture_delete(f, KIND_VM, "d", "b", NULL, 0), 0);
    rv = store_rv(f->st);
    before = fixture_dump(f->st);
    fixture_reopen(f);
    after = fixture_dump(f->st);
    assert_string_equal(after, before);
    assert_int_equal(store_rv(f->st), rv); /* the deletion's number is not given again */
    assert_int_equal(fixture_create(f, fixture_object(KIND_VM, "d", "b", "")), 0);
    assert_int_equal(store_object_rv(f->obj), rv + 1);
    /* what was before the start is not known any more */
    assert_int_equal(store_history(f->st, KIND_NONE, rv - 1, NULL, NULL), -ESTALE);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(before);
    free(after);
}

/* --- files that are refused --- */
static void
write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int
sql(const char *path, const char *text)
{
    char *cmd = xasprintf("sqlite3 '%s' >/dev/null", path);
    FILE *p = popen(cmd, "w");

    free(cmd);
    fputs(text, p);
    return pclose(p);
}

static void
test_refused_files(void **state)
{
    static const struct {
        const char *name, *file, *sql; /* content, or statements */
        int rc;
        const char *says;
    } rows[] = {
        {"no database",
         "this is text, and long enough to be taken for a header of a file.....\n"
         "................................................................\n",
         NULL, -EINVAL, "not a database"},
        {"another program's", NULL, "CREATE TABLE t(x);", -EINVAL, "not a drover store"},
        {"a newer format", "", "PRAGMA user_version=2;", -EINVAL, "format 2"},
        {"a kind of the future", "", "INSERT INTO objects VALUES('gadgets','','g','u',5,'{}');",
         -EINVAL, "gadgets"},
        {"a torn object", "", "INSERT INTO objects VALUES('nodes','','n','u',5,'{\"kind\":');",
         -EINVAL, "nodes /n"},
        {"an object under another name", "",
         "INSERT INTO objects VALUES('nodes','','n','u',5,'{}');", -EINVAL, "another name"},
    };
    struct fixture *f = *state;

    if (system("command -v sqlite3 >/dev/null") != 0)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = xasprintf("%s/row%zu.db", f->dir, i);
        struct store *st = NULL;
        struct err err = {0};
        int rc;

        if (rows[i].file && !*rows[i].file) { /* a good one first */
            assert_int_equal(store_open_sqlite(f->loop, path, &st, &err), 0);
            store_free(st);
        } else if (rows[i].file) {
            write_file(path, rows[i].file);
        }
        if (rows[i].sql)
            assert_int_equal(sql(path, rows[i].sql), 0);
        rc = store_open_sqlite(f->loop, path, &st, &err);
        if (rc != rows[i].rc || !strstr(err_msg(&err), rows[i].says) ||
            !strstr(err_msg(&err), path))
            fail_msg("%s: %d, %s", rows[i].name, rc, err_msg(&err));
        free(path);
    }
}

static void
test_refused_paths(void **state)
{
    static const struct {
        const char *path;
        int rc;
    } rows[] = {
        {"", -EINVAL},
        {":memory:", -EINVAL},
        {"/nonexistent-dir/x.db", -ENOENT},
        {"/", -EISDIR},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store *st;
        struct err err = {0};

        assert_int_equal(store_open_sqlite(f->loop, rows[i].path, &st, &err), rows[i].rc);
        assert_true(*err.msg);
    }
}

/* The file is one process's at a time. */
static void
test_in_use(void **state)
{
    struct fixture *f = *state;
    struct store *st;
    struct err err = {0};

    assert_int_equal(store_open_sqlite(f->loop, f->path, &st, &err), -EBUSY);
    assert_non_null(strstr(err_msg(&err), "another process has it open"));
}

/* --- a disk that refuses --- */
static void
test_disk_full(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, small;
    char *big = xmalloc(400001), *before, *after, *extra;
    int rc = 0, n = 0;

    memset(big, 'x', 400000);
    big[400000] = '\0';
    extra = xasprintf(",\"spec\":{\"x\":\"%s\"}", big);
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "first", "")), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){1000000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (rc == 0 && n < 20) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", n++);
        rc = fixture_create(f, fixture_object(KIND_NODE, "", name, extra));
    }
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(rc == -ENOSPC || rc == -EIO);
    assert_true(*f->message);
    assert_int_equal(store_count(f->st, KIND_NODE), n); /* "first" and all but the last */
    before = fixture_dump(f->st);
    fixture_reopen(f);
    after = fixture_dump(f->st);
    assert_string_equal(after, before);
    assert_int_equal(fixture_create(f, fixture_object(KIND_NODE, "", "room-again", extra)), 0);
    free(before);
    free(after);
    free(extra);
    free(big);
}

/* --- crashes: a child process writes and dies; what it said was done must be there --- */
struct child {
    int pipe;
    struct fixture *f;
    int round, left; /* of the round's writes: not answered yet */
};

#define GROUP 5 /* writes queued in one turn: committed together */

static void child_turn(struct child *c);

static void
child_ack(void *ctx, const struct store_result *res)
{
    struct child *c = ctx;
    char line[80];
    int n;

    if (res->rc) {
        n = snprintf(line, sizeof(line), "error %d\n", res->rc);
    } else {
        n = snprintf(line, sizeof(line), "%s\n", object_name(res->obj));
    }
    if (write(c->pipe, line, (size_t)n) != n)
        _exit(9);
    if (--c->left == 0)
        child_turn(c);
}

static void
child_turn(struct child *c)
{
    c->left = GROUP;
    for (int i = 0; i < GROUP; i++) {
        char name[32];

        snprintf(name, sizeof(name), "r%d-%d", c->round, i);
        store_create(c->f->st, fixture_object(KIND_NODE, "", name, ""), child_ack, c);
    }
    c->round++;
}

/* Starts a child that writes for ever; *ret_fd is where its acknowledgements come from. */
static pid_t
start_writer(const char *path, const char *fault, int *ret_fd)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct fixture f = {.loop = loop_event_new()};
        struct child c = {fds[1], &f, 0, 0};
        struct err err = {0};

        setenv("DROVER_FAULT", fault, 1);
        if (fault_init(&err) != 0 || store_open_sqlite(f.loop, path, &f.st, &err) != 0)
            _exit(8);
        child_turn(&c);
        loop_run(f.loop);
        _exit(7);
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

struct acked {
    struct strmap *names;
    size_t errors;
};

/* Reads acknowledgements until the end; after `kill_after` of them (0: never) kills the child. */
static void
read_acks(int fd, pid_t pid, size_t kill_after, struct acked *ret)
{
    FILE *file = fdopen(fd, "r");
    char line[80];

    ret->names = strmap_new();
    ret->errors = 0;
    while (fgets(line, sizeof(line), file)) {
        if (!strchr(line, '\n'))
            break; /* torn by the kill */
        *strchr(line, '\n') = '\0';
        if (strncmp(line, "error", 5) == 0)
            ret->errors++;
        else
            strmap_put(ret->names, line, ret);
        if (kill_after && strmap_len(ret->names) == kill_after)
            kill(pid, SIGKILL);
    }
    fclose(file);
}

/* Returns how many objects are there. */
static size_t
check_after_crash(const char *path, const struct acked *a)
{
    struct loop *loop = loop_event_new();
    struct store *st = NULL;
    struct err err = {0};
    size_t it = 0, len;
    const char *name;

    if (store_open_sqlite(loop, path, &st, &err) != 0)
        fail_msg("after the crash: %s", err_msg(&err));
    while (strmap_next(a->names, &it, &name, NULL))
        if (!store_get(st, KIND_NODE, NULL, name))
            fail_msg("%s was acknowledged and is gone", name);
    /* groups are whole, and at most one more than was acknowledged is there */
    len = store_count(st, KIND_NODE);
    assert_int_equal(len % GROUP, 0);
    assert_true(len - strmap_len(a->names) <= GROUP);
    assert_true(store_rv(st) >= len);
    store_free(st);
    loop_free(loop);
    return len;
}

static void
test_crash_at_fault_points(void **state)
{
    static const struct {
        const char *fault;
        size_t acked, stored;
    } rows[] = {
        {"store.commit.before:kill", 0, 0},
        {"store.commit.before@2:kill", GROUP, GROUP},
        {"store.commit.before@7:kill", 6 * GROUP, 6 * GROUP},
        {"store.commit.after:kill", 0, GROUP},
        {"store.commit.after@2:kill", GROUP, 2 * GROUP},
        {"store.commit.after@7:kill", 6 * GROUP, 7 * GROUP},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = xasprintf("%s/crash%zu.db", f->dir, i);
        struct acked a;
        int fd, status;
        pid_t pid = start_writer(path, rows[i].fault, &fd);

        read_acks(fd, pid, 0, &a);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: the child ended with status 0x%x", rows[i].fault, status);
        assert_int_equal(strmap_len(a.names), rows[i].acked);
        assert_int_equal(check_after_crash(path, &a), rows[i].stored);
        strmap_free(a.names, NULL);
        free(path);
    }
}

/* A commit that fails (but nobody dies): its group gets the error, the next one works. */
static void
test_commit_fails(void **state)
{
    struct fixture *f = *state;
    char *path = xasprintf("%s/error.db", f->dir);
    struct acked a;
    int fd, status;
    pid_t pid = start_writer(path, "store.commit.before@2:error", &fd);

    read_acks(fd, pid, 5 * GROUP, &a);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(a.errors, GROUP);
    assert_null(strmap_get(a.names, "r1-0"));
    assert_non_null(strmap_get(a.names, "r2-0"));
    check_after_crash(path, &a);
    strmap_free(a.names, NULL);
    free(path);
}

/* Killed at no particular place, again and again on the same file. */
static void
test_crash_anywhere(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 0;
    struct rng r;

    rng_secret(&seed, sizeof(seed));
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 12; i++) {
        char *path = xasprintf("%s/any%d.db", f->dir, i);
        struct acked a;
        int fd;
        pid_t pid = start_writer(path, "", &fd);

        read_acks(fd, pid, 1 + rng_below(&r, 60), &a);
        waitpid(pid, NULL, 0);
        assert_int_equal(a.errors, 0);
        check_after_crash(path, &a);
        strmap_free(a.names, NULL);
        free(path);
    }
}

/* --- random writes against a model, with reopening in between --- */
struct model {
    struct strmap *objects; /* name -> value of spec.n, plus one */
};

static void
model_put(struct model *m, const char *name, uintptr_t n)
{
    strmap_put(m->objects, name, (void *)(n + 1));
}

static bool
model_get(struct model *m, const char *name, uintptr_t *ret)
{
    uintptr_t v = (uintptr_t)strmap_get(m->objects, name);

    *ret = v ? v - 1 : 0;
    return v != 0;
}

static int
add_one(void *ctx, struct tree *obj)
{
    (void)ctx;
    tree_set_path(obj, tree_int(tree_get_int(tree_find(obj, "spec", "n", NULL), 0) + 1), "spec",
                  "n", NULL);
    return 1;
}

static bool
check_one(void *ctx, const struct tree *obj)
{
    struct model *m = ctx;
    uintptr_t n;

    assert_true(model_get(m, object_name(obj), &n));
    assert_int_equal(tree_get_int(tree_find(obj, "spec", "n", NULL), 0), n);
    return true;
}

static void
random_writes(struct fixture *f, uint64_t seed)
{
    struct model m = {strmap_new()};
    struct rng r;
    uint64_t last_rv = store_rv(f->st);

    rng_seed(&r, seed);
    for (int turn = 0; turn < 60; turn++) {
        /* a turn of writes that are queued together; the model applies them in the same order */
        for (uint64_t i = rng_below(&r, 20); i > 0; i--) {
            char name[16], patch[64];
            uintptr_t n;
            bool there;

            snprintf(name, sizeof(name), "o%d", (int)rng_below(&r, 12));
            there = model_get(&m, name, &n);
            switch (rng_below(&r, 4)) {
            case 0:
                store_create(f->st, fixture_object(KIND_VM, "d", name, ",\"spec\":{\"n\":0}"), NULL,
                             NULL);
                if (!there)
                    model_put(&m, name, 0);
                break;
            case 1:
                store_mutate(f->st, KIND_VM, "d", name, 0, add_one, NULL, NULL);
                if (there)
                    model_put(&m, name, n + 1);
                break;
            case 2:
                snprintf(patch, sizeof(patch), "{\"spec\":{\"n\":%d}}", (int)i * 100);
                store_patch(f->st, KIND_VM, "d", name, 0, fixture_json(patch), NULL, NULL);
                if (there)
                    model_put(&m, name, i * 100);
                break;
            default:
                store_delete(f->st, KIND_VM, "d", name, NULL, 0, NULL, NULL);
                if (there)
                    strmap_del(m.objects, name);
            }
        }
        fixture_delete(f, KIND_NODE, "", "none", NULL, 0); /* waits for all of them */
        if (rng_below(&r, 8) == 0)
            fixture_reopen(f);
        assert_int_equal(store_count(f->st, KIND_VM), strmap_len(m.objects));
        store_list(f->st, KIND_VM, NULL, check_one, &m);
        assert_true(store_rv(f->st) >= last_rv);
        last_rv = store_rv(f->st);
    }
    strmap_free(m.objects, NULL);
}

static void
test_random_writes(void **state)
{
    uint64_t fresh = 0;

    rng_secret(&fresh, sizeof(fresh));
    for (uint64_t i = 0; i < 4; i++) {
        struct fixture f;
        uint64_t seed = i < 3 ? i + 1 : fresh;

        (void)state;
        print_message("seed %llu\n", (unsigned long long)seed);
        fixture_open(&f, true);
        random_writes(&f, seed);
        fixture_close(&f);
    }
}

#define T(fn)     cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define FORKS(fn) cmocka_unit_test_setup_teardown(fn, setup_dir, teardown_dir)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_reopen),           T(test_refused_files),      T(test_refused_paths),
        T(test_in_use),           T(test_disk_full),          FORKS(test_crash_at_fault_points),
        FORKS(test_commit_fails), FORKS(test_crash_anywhere), cmocka_unit_test(test_random_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
