/* The store's SQLite back end: a table of objects as JSON and the counter, in WAL mode with
 * synchronous=FULL, so that a commit that returned is on the disk. One writer thread makes the
 * commits, a group of writes each; the loop hears of them through an eventfd. See store_impl.h. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fault.h"
#include "base/fs.h"
#include "control/store_impl.h"

#define APPLICATION_ID 0x64726f76 /* "drov" */
#define FORMAT_VERSION 1

enum job_state { JOB_NONE, JOB_SUBMITTED, JOB_DONE };

struct sqlite_store {
    struct store *st;
    sqlite3 *db;
    sqlite3_stmt *put, *del, *counter, *begin, *commit, *rollback;
    struct loop_fd *wake;
    int wake_fd;
    bool thread_runs;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    /* guarded by mu; the writes themselves are the writer's while state is JOB_SUBMITTED */
    enum job_state state;
    bool stop;
    const struct store_write *writes;
    size_t len;
    uint64_t rv;
    int rc;
    struct err err;
};

static int open_file(struct sqlite_store *s, const char *path, struct err *err);
static int load(struct sqlite_store *s, const char *path, struct err *err);
static int load_row(struct sqlite_store *s, sqlite3_stmt *q, const char *path, struct err *err);
static void *writer(void *arg);
static int write_batch(struct sqlite_store *s, struct err *err);
static void on_wake(void *ctx, int fd, int events);
static void finish_job(struct sqlite_store *s);
static void sqlite_close_store(void *impl);
static int sql_err(sqlite3 *db, int code, struct err *err, const char *what);
static void kind_text(enum kind kind, char *buf, size_t size);

static void
sqlite_commit(void *impl, const struct store_write *writes, size_t len, uint64_t rv)
{
    struct sqlite_store *s = impl;

    pthread_mutex_lock(&s->mu);
    s->writes = writes;
    s->len = len;
    s->rv = rv;
    s->state = JOB_SUBMITTED;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

static void
sqlite_wait(void *impl)
{
    struct sqlite_store *s = impl;

    pthread_mutex_lock(&s->mu);
    while (s->state == JOB_SUBMITTED)
        pthread_cond_wait(&s->cond, &s->mu);
    pthread_mutex_unlock(&s->mu);
    finish_job(s);
}

static const struct store_backend backend = {sqlite_commit, sqlite_wait, sqlite_close_store};

int
store_open_sqlite(struct loop *loop, const char *path, struct store **ret, struct err *err)
{
    struct sqlite_store *s = xcalloc(1, sizeof(*s));

    s->st = store_new(loop, &backend, 0);
    s->st->impl = s;
    s->wake_fd = -1;
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, NULL);

    int rc = open_file(s, path, err);

    if (rc == 0)
        rc = load(s, path, err);
    if (rc == 0) {
        s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->wake_fd < 0)
            rc = err_set(err, -errno, "eventfd: %s", strerror(errno));
    }
    if (rc == 0) {
        rc = -pthread_create(&s->thread, NULL, writer, s);
        if (rc)
            err_set(err, rc, "the store's writer thread: %s", strerror(-rc));
        s->thread_runs = rc == 0;
    }
    if (rc) {
        store_free(s->st);
        return rc;
    }
    s->wake = loop_fd_add(loop, s->wake_fd, LOOP_READ, on_wake, s);
    *ret = s->st;
    return 0;
}

static void
sqlite_close_store(void *impl)
{
    struct sqlite_store *s = impl;

    if (s->thread_runs) {
        pthread_mutex_lock(&s->mu);
        s->stop = true;
        pthread_cond_broadcast(&s->cond);
        pthread_mutex_unlock(&s->mu);
        pthread_join(s->thread, NULL);
    }
    loop_fd_del(s->wake);
    if (s->wake_fd >= 0)
        close(s->wake_fd);

    sqlite3_stmt *all[] = {s->put, s->del, s->counter, s->begin, s->commit, s->rollback};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(s->db);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

/* --- opening --- */
static int
get_int(struct sqlite_store *s, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sql_err(s->db, rc, err, sql);
}

static int
exec(struct sqlite_store *s, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sql_err(s->db, rc, err, sql);
}

/* Takes the file for this process alone, checks that it is ours, makes the tables in a new one. */
static int
prepare_file(struct sqlite_store *s, struct err *err)
{
    static const char *const pragmas[] = {
        "PRAGMA locking_mode=EXCLUSIVE",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA journal_size_limit=67108864",
    };
    int64_t app_id = 0, version = 0, tables = 0;
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(pragmas) && rc == 0; i++)
        rc = exec(s, pragmas[i], err);
    if (rc == 0)
        rc = exec(s, "BEGIN IMMEDIATE", err); /* with locking_mode: the lock is ours from here on */
    if (rc == 0)
        rc = get_int(s, "PRAGMA application_id", &app_id, err);
    if (rc == 0)
        rc = get_int(s, "PRAGMA user_version", &version, err);
    if (rc == 0)
        rc = get_int(s, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (rc)
        return rc;
    if (tables > 0 && app_id != APPLICATION_ID)
        return err_set(err, -EINVAL, "the file is an SQLite database, but not a drover store");
    if (tables > 0 && version != FORMAT_VERSION)
        return err_set(err, -EINVAL, "the store has format %lld; this program reads format %d",
                       (long long)version, FORMAT_VERSION);
    if (tables == 0)
        rc = exec(s,
                  "PRAGMA application_id=1685221238; PRAGMA user_version=1;"
                  "CREATE TABLE objects(kind TEXT NOT NULL, namespace TEXT NOT NULL,"
                  " name TEXT NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL,"
                  " json TEXT NOT NULL, PRIMARY KEY(kind, namespace, name)) WITHOUT ROWID;"
                  "CREATE TABLE counter(id INTEGER PRIMARY KEY CHECK(id = 1), rv INTEGER NOT NULL);"
                  "INSERT INTO counter VALUES(1, 1);",
                  err);
    return rc ? rc : exec(s, "COMMIT", err);
}

static int
open_file(struct sqlite_store *s, const char *path, struct err *err)
{
    _Static_assert(APPLICATION_ID == 1685221238 && FORMAT_VERSION == 1, "in the SQL as decimals");
    static const struct {
        size_t stmt;
        const char *sql;
    } stmts[] = {
        {offsetof(struct sqlite_store, put),
         "INSERT INTO objects(kind, namespace, name, uid, rv, json) VALUES(?,?,?,?,?,?)"
         " ON CONFLICT DO UPDATE SET uid=excluded.uid, rv=excluded.rv, json=excluded.json"},
        {offsetof(struct sqlite_store, del),
         "DELETE FROM objects WHERE kind=? AND namespace=? AND name=?"},
        {offsetof(struct sqlite_store, counter), "UPDATE counter SET rv=? WHERE id=1"},
        {offsetof(struct sqlite_store, begin), "BEGIN IMMEDIATE"},
        {offsetof(struct sqlite_store, commit), "COMMIT"},
        {offsetof(struct sqlite_store, rollback), "ROLLBACK"},
    };
    AUTO_FD int fd = -1;
    int rc;

    if (!*path || *path == ':')
        return err_set(err, -EINVAL, "store '%s': want the path of a file", path);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600); /* SQLite would make it 0644 */
    if (fd < 0)
        return err_set(err, -errno, "store %s: %s", path, strerror(errno));
    rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return err_prefix(err, sql_err(s->db, rc, err, "open"), "store %s", path);
    sqlite3_extended_result_codes(s->db, 1);
    rc = prepare_file(s, err);
    if (rc == -EBUSY)
        return err_set(err, rc, "store %s: another process has it open", path);
    if (rc)
        return err_prefix(err, rc, "store %s", path);
    for (size_t i = 0; i < ARRAY_LEN(stmts); i++) {
        sqlite3_stmt **to = (sqlite3_stmt **)((char *)s + stmts[i].stmt);

        rc = sqlite3_prepare_v3(s->db, stmts[i].sql, -1, SQLITE_PREPARE_PERSISTENT, to, NULL);
        if (rc != SQLITE_OK)
            return err_prefix(err, sql_err(s->db, rc, err, stmts[i].sql), "store %s", path);
    }
    return 0;
}

static int
load(struct sqlite_store *s, const char *path, struct err *err)
{
    sqlite3_stmt *q = NULL;
    int64_t rv = 0;
    int rc = get_int(s, "SELECT rv FROM counter", &rv, err);

    if (rc)
        return err_prefix(err, rc, "store %s", path);

    int step = sqlite3_prepare_v2(
        s->db, "SELECT kind, namespace, name, rv, json FROM objects ORDER BY kind, namespace, name",
        -1, &q, NULL);

    while (step == SQLITE_OK || step == SQLITE_ROW) {
        step = sqlite3_step(q);
        if (step != SQLITE_ROW)
            break;
        rc = load_row(s, q, path, err);
        if (rc)
            break;
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = err_prefix(err, sql_err(s->db, step, err, "reading the objects"), "store %s", path);
    sqlite3_finalize(q);
    store_load_rv(s->st, (uint64_t)rv);
    return rc;
}

static int
load_row(struct sqlite_store *s, sqlite3_stmt *q, const char *path, struct err *err)
{
    const char *kind = (const char *)sqlite3_column_text(q, 0);
    const char *ns = (const char *)sqlite3_column_text(q, 1);
    const char *name = (const char *)sqlite3_column_text(q, 2);
    const char *json = (const char *)sqlite3_column_text(q, 4);
    AUTO_TREE struct tree *t = NULL;
    char text[256] = "";
    int k = KIND_NONE;

    if (!kind || !ns || !name || !json)
        return err_set(err, -ENOMEM, "store %s: out of memory", path);
    for (k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        kind_text((enum kind)k, text, sizeof(text));
        if (strcmp(text, kind) == 0)
            break;
    }
    if (k == KIND_COUNT)
        return err_set(err, -EINVAL,
                       "store %s: %s %s/%s is of a kind that this program does not have", path,
                       kind, ns, name);

    int rc = tree_from_json(json, (size_t)sqlite3_column_bytes(q, 4), &t, err);

    if (rc == 0 && (strcmp(object_name(t), name) != 0 || strcmp(object_namespace(t), ns) != 0))
        rc = err_set(err, -EINVAL, "the object bears another name");
    if (rc)
        return err_prefix(err, rc, "store %s: %s %s/%s", path, kind, ns, name);
    store_load(s->st,
               store_object_new((enum kind)k, TAKE_PTR(t), (uint64_t)sqlite3_column_int64(q, 3)));
    return 0;
}

/* --- writing --- */
static void *
writer(void *arg)
{
    struct sqlite_store *s = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&s->mu);
    while (!s->stop) {
        if (s->state != JOB_SUBMITTED) {
            pthread_cond_wait(&s->cond, &s->mu);
            continue;
        }
        pthread_mutex_unlock(&s->mu);

        struct err err = {0};
        int rc = write_batch(s, &err);

        pthread_mutex_lock(&s->mu);
        s->rc = rc;
        s->err = err;
        s->state = JOB_DONE;
        pthread_cond_broadcast(&s->cond);
        (void)!write(s->wake_fd, &one, sizeof(one));
    }
    pthread_mutex_unlock(&s->mu);
    return NULL;
}

static int
step_done(sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);

    sqlite3_reset(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int
write_one(struct sqlite_store *s, const struct store_write *w)
{
    sqlite3_stmt *q = w->remove ? s->del : s->put;
    const struct store_object *o = w->obj;
    char kind[256];

    kind_text(w->kind, kind, sizeof(kind));
    sqlite3_bind_text(q, 1, kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, object_namespace(o->tree), -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, object_name(o->tree), -1, SQLITE_STATIC);
    if (!w->remove) {
        sqlite3_bind_text(q, 4, object_uid(o->tree), -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 5, (sqlite3_int64)o->rv);
        sqlite3_bind_text(q, 6, o->json, (int)o->json_len, SQLITE_STATIC);
    }

    int rc = step_done(q);

    sqlite3_clear_bindings(q);
    return rc;
}

static int
write_batch(struct sqlite_store *s, struct err *err)
{
    int rc = step_done(s->begin);

    for (size_t i = 0; i < s->len && rc == SQLITE_OK; i++)
        rc = write_one(s, &s->writes[i]);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(s->counter, 1, (sqlite3_int64)s->rv);
        rc = step_done(s->counter);
    }
    if (rc == SQLITE_OK && FAULT(STORE_COMMIT_BEFORE))
        rc = SQLITE_IOERR;
    if (rc == SQLITE_OK)
        rc = step_done(s->commit);
    if (rc == SQLITE_OK) {
        (void)FAULT(STORE_COMMIT_AFTER); /* it can only kill or stop: the commit stands */
        return 0;
    }

    int code = sql_err(s->db, rc, err, "the write could not be stored");

    if (!sqlite3_get_autocommit(s->db)) /* some errors have rolled back by themselves */
        step_done(s->rollback);
    return code;
}

static void
on_wake(void *ctx, int fd, int events)
{
    uint64_t n;

    (void)events;
    (void)!read(fd, &n, sizeof(n));
    finish_job(ctx);
}

static void
finish_job(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->mu);

    bool done = s->state == JOB_DONE;
    int rc = s->rc;
    struct err err = s->err;

    if (done)
        s->state = JOB_NONE;
    pthread_mutex_unlock(&s->mu);
    if (done)
        store_committed(s->st, rc, &err);
}

static int
sql_err(sqlite3 *db, int code, struct err *err, const char *what)
{
    int e = -EIO;

    switch (code & 0xff) {
    case SQLITE_FULL:
        e = -ENOSPC;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        e = -EBUSY;
        break;
    case SQLITE_NOMEM:
        e = -ENOMEM;
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        e = -EACCES;
        break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        e = -EINVAL;
        break;
    default:
        break;
    }
    return err_set(err, e, "%s: %s", what,
                   db && (sqlite3_extended_errcode(db) & 0xff) == (code & 0xff)
                       ? sqlite3_errmsg(db)
                       : sqlite3_errstr(code));
}

/* "virtualmachines.kubevirt.io", "nodes": survives any renumbering of enum kind. */
static void
kind_text(enum kind kind, char *buf, size_t size)
{
    const struct kind_info *ki = kind_info(kind);

    snprintf(buf, size, "%s%s%s", ki->plural, *ki->group ? "." : "", ki->group);
}
