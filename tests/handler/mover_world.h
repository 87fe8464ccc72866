/* Two hosts' libvirt and driver, played for test_libvirt_mover.c, which alone includes this: it defines the
 * driver's functions in place of the real ones, so that it can be linked to no other program. */
#ifndef TESTS_HANDLER_MOVER_WORLD_H
#define TESTS_HANDLER_MOVER_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/sb.h"
#include "handler/libvirt_conn.h"
#include "handler/libvirt_guest.h"
#include "handler/libvirt_mover.h"
#include "handler/limits.h"
#include "handler/mover.h"
#include "migrate/relay.h"
#include "proto/relay_msg.h"
#include "tests/handler/libvirt_rpc.h"

#define GENERATION 7
#define FINISH     306

enum { SOURCE, TARGET };

static struct mig_ident ident = {"vmi", "", GENERATION}; /* its sockets bear the process's number */

struct lv_guest { /* in place of the driver's */
    struct hv_guest head;
    struct libvirt *lv;
    int side;
};

static struct libvirt_api real, table;
static char socket_path[] = "/tmp/drover-test-mover.XXXXXX/libvirtd";

struct plan {      /* what is to happen */
    bool stays;    /* pre-copy does not end by itself */
    bool refuse;   /* the target's libvirt cannot finish */
    bool gives_up; /* the source's libvirt closes its connection while Finish is held */
    bool breaks;   /* post-copy breaks after Finish */
    bool slow;     /* all of post-copy is there, and Finish is answered a second later */
    bool unsaid;   /* or never: the connection is closed */
    int old_job;   /* looks at the source's job that still find one from before */
    bool paused;   /* the guest is, by its user */
    bool much;     /* more memory than the target has */
    bool fail_prepared, fail_commit;
    const char *fault;
};

static struct {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    virConnectPtr conn[2];
    struct {
        bool there;
        int state, reason;
    } dom[2];
    int opens;
    bool two; /* two copies ran at one time */
    struct plan plan;
    /* what was seen */
    bool aborted, asked_post_copy, began, committed, resumed_post_copy;
    unsigned flags, finish_flags;
    uint64_t speed; /* MiB/s that libvirt was told last; 0 = never */
    int listen_fd, recorded[2];
    char journal[2][16];
    bool moving; /* a migration is under way */
    struct mover_source *src;
    struct mover_target *dst;
} w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static _Thread_local virError last_error;

/* --- the guest, as the driver shows it --- */

struct libvirt *
lv_guest_conn(struct lv_guest *g)
{
    return g->lv;
}

const unsigned char *
lv_guest_uuid(const struct lv_guest *g)
{
    static const unsigned char uuid[VIR_UUID_BUFLEN] = {1, 2, 3};

    (void)g;
    return uuid;
}

const char *
lv_guest_dir(const struct lv_guest *g)
{
    return g->side == SOURCE ? "/var/lib/a/guests/u" : "/var/lib/b/guests/u";
}

size_t
lv_guest_disks_to_copy(const struct lv_guest *g, char (*ret)[16], size_t max)
{
    (void)g;
    (void)ret;
    (void)max;
    return 0;
}

void
lv_guest_migrating(struct lv_guest *g, bool on)
{
    (void)g;
    (void)on;
}

void
lv_guest_arrived(struct lv_guest *g)
{
    assert_int_equal(g->side, TARGET);
}

/* --- libvirt --- */

static bool
runs(int side)
{
    return w.dom[side].there && w.dom[side].state == VIR_DOMAIN_RUNNING;
}

static void
become_locked(int side, bool there, int state, int reason)
{
    w.dom[side].there = there;
    w.dom[side].state = state;
    w.dom[side].reason = reason;
    w.two = w.two || (runs(SOURCE) && runs(TARGET));
    pthread_cond_broadcast(&w.cond);
}

static void
become(int side, bool there, int state, int reason)
{
    pthread_mutex_lock(&w.mu);
    become_locked(side, there, state, reason);
    pthread_mutex_unlock(&w.mu);
}

static int
refused(int code, const char *text)
{
    static _Thread_local char message[128];

    snprintf(message, sizeof message, "%s", text);
    last_error = (virError){.code = code, .message = message};
    return -1;
}

static virErrorPtr
fake_last_error(void)
{
    return &last_error;
}

static int
side_of(virDomainPtr dom)
{
    return (void *)dom == &w.dom[TARGET] ? TARGET : SOURCE;
}

static virConnectPtr
fake_open(const char *uri)
{
    virConnectPtr c = real.virConnectOpen("test:///default");

    pthread_mutex_lock(&w.mu);
    w.conn[strstr(uri, "socket=") ? TARGET : SOURCE] = c;
    pthread_mutex_unlock(&w.mu);
    return c;
}

static virDomainPtr
fake_lookup(virConnectPtr conn, const unsigned char *uuid)
{
    int side = conn == w.conn[TARGET] ? TARGET : SOURCE;
    bool there;

    (void)uuid;
    pthread_mutex_lock(&w.mu);
    there = w.dom[side].there;
    pthread_mutex_unlock(&w.mu);
    if (there)
        return (virDomainPtr)(void *)&w.dom[side];
    refused(VIR_ERR_NO_DOMAIN, "no domain");
    return NULL;
}

static int
fake_nothing(virDomainPtr dom)
{
    (void)dom;
    return 0;
}

static int
fake_state(virDomainPtr dom, int *state, int *reason, unsigned flags)
{
    int side = side_of(dom), rc = 0;

    (void)flags;
    pthread_mutex_lock(&w.mu);
    if (w.dom[side].there) {
        *state = w.dom[side].state;
        *reason = w.dom[side].reason;
    } else {
        rc = refused(VIR_ERR_NO_DOMAIN, "no domain");
    }
    pthread_mutex_unlock(&w.mu);
    return rc;
}

static int
fake_resume(virDomainPtr dom)
{
    become(side_of(dom), true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED);
    return 0;
}

static int
fake_suspend(virDomainPtr dom)
{
    become(side_of(dom), true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
    return 0;
}

static int
fake_destroy(virDomainPtr dom)
{
    assert_int_equal(side_of(dom), TARGET); /* the source's is libvirt's, or its driver's */
    become(TARGET, false, 0, 0);
    return 0;
}

static int
fake_undefine(virDomainPtr dom, unsigned flags)
{
    (void)dom;
    (void)flags;
    return 0;
}

static char *
fake_xml(virDomainPtr dom, unsigned flags)
{
    (void)dom;
    (void)flags;
    return xstrdup(
        "<domain type='qemu'><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
        "<serial><source path='/var/lib/a/guests/u/console.sock'/></serial></devices>"
        "</domain>");
}

static int
fake_abort(virDomainPtr dom)
{
    (void)dom;
    pthread_mutex_lock(&w.mu);
    w.aborted = true;
    pthread_cond_broadcast(&w.cond);
    pthread_mutex_unlock(&w.mu);
    return 0;
}

static int
fake_post_copy(virDomainPtr dom, unsigned flags)
{
    (void)dom;
    (void)flags;
    if (!w.plan.stays)
        return refused(VIR_ERR_OPERATION_INVALID, "it has ended by itself");
    pthread_mutex_lock(&w.mu);
    assert_true(w.committed); /* before the switch, not behind it */
    w.asked_post_copy = true;
    become_locked(SOURCE, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY);
    pthread_mutex_unlock(&w.mu);
    return 0;
}

static void
told_speed(uint64_t mib)
{
    pthread_mutex_lock(&w.mu);
    w.speed = mib;
    pthread_cond_broadcast(&w.cond);
    pthread_mutex_unlock(&w.mu);
}

static int
fake_max_speed(virDomainPtr dom, unsigned long mib, unsigned flags)
{
    (void)dom;
    (void)flags;
    told_speed(mib);
    return 0;
}

static int
fake_max_downtime(virDomainPtr dom, unsigned long long ms, unsigned flags)
{
    (void)dom;
    (void)flags;
    assert_int_equal(ms, 300);
    return 0;
}

static int
fake_job(virDomainPtr dom, int *type, virTypedParameterPtr *params, int *n, unsigned flags)
{
    int max = 0;

    (void)dom;
    (void)flags;
    *params = NULL;
    *n = 0;
    pthread_mutex_lock(&w.mu);
    *type = w.moving || w.plan.old_job > 0 ? VIR_DOMAIN_JOB_UNBOUNDED : VIR_DOMAIN_JOB_NONE;
    w.plan.old_job -= w.plan.old_job > 0;
    pthread_mutex_unlock(&w.mu);
    real.virTypedParamsAddULLong(params, n, &max, VIR_DOMAIN_JOB_MEMORY_TOTAL, 64u << 20);
    real.virTypedParamsAddULLong(params, n, &max, VIR_DOMAIN_JOB_MEMORY_REMAINING, 1u << 20);
    real.virTypedParamsAddULLong(params, n, &max, VIR_DOMAIN_JOB_MEMORY_ITERATION, 1);
    return 0;
}

/* The source's libvirtd. */
static int
fake_migrate(virDomainPtr dom, const char *uri, virTypedParameterPtr params, unsigned n,
             unsigned flags)
{
    bool resume = (flags & VIR_MIGRATE_POSTCOPY_RESUME) != 0, post_copy, ok = false;
    const char *path = strstr(uri, "socket="), *xml = NULL;
    uint8_t m[LIBVIRT_RPC_SIZE];
    int fd;

    (void)dom;
    pthread_mutex_lock(&w.mu);
    w.flags = flags;
    w.began = true;
    w.resumed_post_copy = w.resumed_post_copy || resume;
    pthread_cond_broadcast(&w.cond);
    pthread_mutex_unlock(&w.mu);
    if (w.plan.old_job > 0)
        return refused(VIR_ERR_OPERATION_INVALID, "another migration job is already running");
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(params[i].field, VIR_MIGRATE_PARAM_DEST_XML) == 0)
            xml = params[i].value.s;
        if (strcmp(params[i].field, VIR_MIGRATE_PARAM_BANDWIDTH) == 0)
            told_speed(params[i].value.ul);
    }
    if (!resume && (!xml || !strstr(xml, "/var/lib/b/guests/u/console.sock")))
        return refused(VIR_ERR_INTERNAL_ERROR, "the XML is not the target's");
    fd = path ? libvirt_rpc_dial(path + strlen("socket=")) : -1;
    if (fd < 0)
        return refused(VIR_ERR_NO_CONNECT, "cannot connect to the other libvirtd");
    libvirt_rpc_make(m, 303, 0, 0, flags, 0); /* Prepare */
    ok = send(fd, m, LIBVIRT_RPC_SIZE, MSG_NOSIGNAL) == LIBVIRT_RPC_SIZE &&
         recv(fd, m, LIBVIRT_RPC_SIZE, MSG_WAITALL) == LIBVIRT_RPC_SIZE;
    pthread_mutex_lock(&w.mu);
    w.moving = true;
    while (ok && !resume && w.plan.stays && !w.aborted && !w.asked_post_copy) {
        struct timespec t;
        char c;

        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 20000000;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w.cond, &w.mu, &t);
        ok = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
    }
    ok = ok && !w.aborted;
    post_copy = w.asked_post_copy;
    if (ok && !post_copy && runs(SOURCE))
        become_locked(SOURCE, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION);
    pthread_mutex_unlock(&w.mu);
    if (ok) {
        libvirt_rpc_make(m, FINISH, 0, 0, flags, 0);
        ok = send(fd, m, LIBVIRT_RPC_SIZE, MSG_NOSIGNAL) == LIBVIRT_RPC_SIZE;
    }
    if (ok && w.plan.gives_up) { /* as when its keepalive runs out */
        pthread_mutex_lock(&w.mu);
        while (!w.committed)
            pthread_cond_wait(&w.cond, &w.mu);
        pthread_mutex_unlock(&w.mu);
        ok = false;
    }
    ok = ok && recv(fd, m, LIBVIRT_RPC_SIZE, MSG_WAITALL) == LIBVIRT_RPC_SIZE &&
         libvirt_rpc_get(m + 24) == 0;
    pthread_mutex_lock(&w.mu);
    if (ok) { /* it ends its QEMU, and closes the connection afterwards */
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_sec++;
        while (!w.recorded[TARGET] && pthread_cond_timedwait(&w.cond, &w.mu, &t) == 0)
            ;
    }
    close(fd);
    w.moving = false;
    if (ok)
        become_locked(SOURCE, false, 0, 0);
    else if (post_copy)
        become_locked(SOURCE, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED);
    else if (w.dom[SOURCE].reason != VIR_DOMAIN_PAUSED_USER)
        become_locked(SOURCE, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATION_CANCELED);
    pthread_mutex_unlock(&w.mu);
    return ok ? 0 : refused(VIR_ERR_OPERATION_FAILED, "migration failed");
}

/* The target's libvirtd, one connection. */
static void
serve(int fd)
{
    bool done = false;
    uint8_t m[LIBVIRT_RPC_SIZE];

    while (recv(fd, m, LIBVIRT_RPC_SIZE, MSG_WAITALL) == LIBVIRT_RPC_SIZE) {
        uint32_t proc = libvirt_rpc_get(m + 12), flags = libvirt_rpc_get(m + 32), status = 0;

        pthread_mutex_lock(&w.mu);
        if (proc == FINISH) {
            w.finish_flags = flags;
            if (w.plan.refuse)
                status = 1;
            else if (w.asked_post_copy && w.plan.breaks)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY_FAILED);
            else if (w.asked_post_copy)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY);
            else if (flags & VIR_MIGRATE_PAUSED)
                become_locked(TARGET, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
            else
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED);
            done = status == 0;
            if (w.plan.breaks && w.asked_post_copy) {
                w.plan.breaks = false;
                pthread_mutex_unlock(&w.mu);
                return;
            }
            while (w.asked_post_copy && done && !w.recorded[TARGET]) /* all memory, by and by */
                pthread_cond_wait(&w.cond, &w.mu);
            if (w.asked_post_copy && done)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED);
            pthread_mutex_unlock(&w.mu);
            if (done && w.plan.slow)
                usleep(1000000);
            if (done && w.plan.unsaid)
                return;
            pthread_mutex_lock(&w.mu);
        } else if (!(flags & VIR_MIGRATE_POSTCOPY_RESUME)) {
            become_locked(TARGET, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION);
        } else {
            done = true;
        }
        pthread_mutex_unlock(&w.mu);
        libvirt_rpc_make(m, proc, 1, status, 0, 0);
        if (send(fd, m, LIBVIRT_RPC_SIZE, MSG_NOSIGNAL) != LIBVIRT_RPC_SIZE)
            break;
    }
    if (!done)
        become(TARGET, false, 0, 0); /* it destroys what was not finished */
}

static void *
run_libvirtd(void *ctx)
{
    int fd;

    (void)ctx;
    while ((fd = accept(w.listen_fd, NULL, NULL)) >= 0) {
        serve(fd);
        close(fd);
    }
    return NULL;
}

/* --- hooks --- */

static int
record(int side, const char *word)
{
    pthread_mutex_lock(&w.mu);
    snprintf(w.journal[side], sizeof w.journal[side], "%s", word);
    w.recorded[side] += strcmp(word, "running") == 0;
    w.committed = w.committed || strcmp(word, "committed") == 0;
    pthread_cond_broadcast(&w.cond);
    pthread_mutex_unlock(&w.mu);
    return 0;
}

static int
on_commit(void *ctx, struct err *err)
{
    (void)ctx;
    assert_string_equal(w.journal[TARGET], "prepared");
    return w.plan.fail_commit ? err_set(err, -ENOSPC, "the disk is full")
                              : record(SOURCE, "committed");
}

static int
on_prepared(void *ctx, struct err *err)
{
    (void)ctx;
    return w.plan.fail_prepared ? err_set(err, -ENOSPC, "the disk is full")
                                : record(TARGET, "prepared");
}

static int
on_committed(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    assert_string_equal(w.journal[SOURCE], "committed");
    return record(TARGET, "running");
}

static int
on_never(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    assert_false(runs(TARGET));
    return record(TARGET, "never");
}

static uint64_t
memory_bytes(const struct hv_guest *g)
{
    (void)g;
    return 64u << 20;
}

static uint64_t
much_memory(const struct hv_guest *g)
{
    (void)g;
    return 1ull << 45;
}

static int
guest_pause(struct hv_guest *g, struct err *err)
{
    (void)err;
    become(((struct lv_guest *)g)->side, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
    return 0;
}

static int
guest_resume(struct hv_guest *g, struct err *err)
{
    (void)err;
    become(((struct lv_guest *)g)->side, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED);
    return 0;
}

#endif
