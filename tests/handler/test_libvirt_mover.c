/* Relayed migrations from end to end: both movers, the real relay over loopback and the gate, with a
 * libvirt of two hosts played by this file: what it does to the two copies of the guest is what
 * docs/decisions/0008-relay-commit.md has seen libvirt do. In every case exactly one copy runs at the
 * end, or the one that is left is paused because its user wants it so, and never do two run. */
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
    /* what is to happen */
    bool stays;    /* pre-copy does not end by itself */
    bool refuse;   /* the target's libvirt cannot finish */
    bool gives_up; /* the source's libvirt closes its connection while Finish is held */
    bool breaks;   /* post-copy breaks after Finish */
    /* what was seen */
    bool aborted, asked_post_copy, began, committed, resumed_post_copy;
    unsigned flags, finish_flags;
    int listen_fd, recorded[2];
    char journal[2][16];
    bool fail_prepared, fail_commit;
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
    pthread_mutex_lock(&w.mu);
    assert_true(w.committed); /* before the switch, not behind it */
    w.asked_post_copy = true;
    become_locked(SOURCE, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY);
    pthread_mutex_unlock(&w.mu);
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
    *type = w.moving ? VIR_DOMAIN_JOB_UNBOUNDED : VIR_DOMAIN_JOB_NONE;
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
    for (unsigned i = 0; i < n; i++)
        if (strcmp(params[i].field, VIR_MIGRATE_PARAM_DEST_XML) == 0)
            xml = params[i].value.s;
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
    while (ok && !resume && w.stays && !w.aborted && !w.asked_post_copy) {
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
    if (ok && w.gives_up) { /* as when its keepalive runs out */
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
            if (w.refuse)
                status = 1;
            else if (w.asked_post_copy && w.breaks)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY_FAILED);
            else if (w.asked_post_copy)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_POSTCOPY);
            else if (flags & VIR_MIGRATE_PAUSED)
                become_locked(TARGET, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
            else
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED);
            done = status == 0;
            if (w.breaks && w.asked_post_copy) {
                w.breaks = false;
                pthread_mutex_unlock(&w.mu);
                return;
            }
            while (w.asked_post_copy && done && !w.recorded[TARGET]) /* all memory, by and by */
                pthread_cond_wait(&w.cond, &w.mu);
            if (w.asked_post_copy && done)
                become_locked(TARGET, true, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED);
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
    return w.fail_commit ? err_set(err, -ENOSPC, "the disk is full") : record(SOURCE, "committed");
}

static int
on_prepared(void *ctx, struct err *err)
{
    (void)ctx;
    return w.fail_prepared ? err_set(err, -ENOSPC, "the disk is full") : record(TARGET, "prepared");
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

/* --- one migration --- */

static struct hv_ops ops = {
    .kind = HV_LIBVIRT, .memory_bytes = memory_bytes, .pause = guest_pause, .resume = guest_resume};
static struct lv_guest guests[2];

struct end {
    enum mig_outcome source;
    enum mig_cause cause;
    enum mig_target_outcome target;
    struct err err, target_err;
};

static void *
run_target(void *ctx)
{
    struct end *e = ctx;

    e->target = mover_relay.target_run(w.dst, &e->target_err);
    return NULL;
}

static void
forget(void)
{
    pthread_mutex_lock(&w.mu);
    memset(&w.dom, 0, sizeof w.dom);
    w.dom[SOURCE].there = true;
    w.dom[SOURCE].state = VIR_DOMAIN_RUNNING;
    w.two = w.stays = w.refuse = w.gives_up = w.breaks = w.aborted = w.asked_post_copy = false;
    w.began = w.committed = w.resumed_post_copy = w.fail_prepared = w.fail_commit = false;
    w.recorded[0] = w.recorded[1] = 0;
    w.journal[0][0] = w.journal[1][0] = '\0';
    pthread_mutex_unlock(&w.mu);
    fault_clear();
    ops.memory_bytes = memory_bytes;
}

static void
source_config(struct mig_source_config *c, const char *address)
{
    *c = (struct mig_source_config){.ident = ident, .channels = 1, .commit = on_commit};
    snprintf(c->target_addr, sizeof c->target_addr, "%s", address);
}

static void *
cancel_when_it_began(void *ctx)
{
    pthread_mutex_lock(&w.mu);
    while (!w.began)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    assert_true(mover_relay.source_cancel(ctx));
    return NULL;
}

static void *
stop_target_when_it_began(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&w.mu);
    while (!w.began)
        pthread_cond_wait(&w.cond, &w.mu);
    pthread_mutex_unlock(&w.mu);
    mover_relay.target_stop(w.dst);
    return NULL;
}

struct row {
    const char *name;
    void (*arrange)(void);
    bool post_copy, at_once, cancel, stop_target, resolve;
    enum mig_outcome source;
    enum mig_cause cause;
    enum mig_target_outcome target;
    int runs_at; /* -1: nowhere, and it is whole and paused at paused_at */
    int paused_at;
    const char *says;
};

static void
nothing(void)
{
}
static void
target_cannot_finish(void)
{
    w.refuse = true;
}
static void
prepared_fails(void)
{
    w.fail_prepared = true;
}
static void
commit_fails(void)
{
    w.fail_commit = true;
}
static void
stays(void)
{
    w.stays = true;
}
static void
commit_is_lost(void)
{
    fault_arm("dst.commit.received:error", NULL);
}
static void
libvirt_gives_up(void)
{
    w.gives_up = true;
}
static void
paused_by_its_user(void)
{
    become(SOURCE, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
}
static void
no_room(void)
{
    ops.memory_bytes = much_memory;
}
static void
breaks(void)
{
    w.stays = w.breaks = true;
}
static void
state_fault(void)
{
    fault_arm("dst.state:error", NULL);
}
static void
prepared_fault(void)
{
    fault_arm("src.prepared:error", NULL);
}

static const struct row rows[] = {
    {"it moves", nothing, .source = MIG_MOVED, .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
    {"paused by its user: it stays so", paused_by_its_user, .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING, .runs_at = -1, .paused_at = TARGET},
    {"no room at the target", no_room, .source = MIG_FAILED, .cause = MIG_CAUSE_GUEST,
     .target = MIG_TARGET_FAILED, .runs_at = SOURCE, .says = "NotEnoughMemory"},
    {"the target's libvirt cannot finish", target_cannot_finish, .source = MIG_FAILED,
     .cause = MIG_CAUSE_GUEST, .target = MIG_TARGET_FAILED, .runs_at = SOURCE,
     .says = "migration failed"},
    {"PREPARED cannot be recorded", prepared_fails, .source = MIG_FAILED, .cause = MIG_CAUSE_PEER,
     .target = MIG_TARGET_FAILED, .runs_at = SOURCE, .says = "the disk is full"},
    {"the guest is not whole there", state_fault, .source = MIG_FAILED, .cause = MIG_CAUSE_PEER,
     .target = MIG_TARGET_FAILED, .runs_at = SOURCE, .says = "not whole"},
    {"the commit cannot be recorded", commit_fails, .source = MIG_FAILED, .cause = MIG_CAUSE_LOCAL,
     .target = MIG_TARGET_ABORTED, .runs_at = SOURCE, .says = "the disk is full"},
    {"nor at that fault point", prepared_fault, .source = MIG_FAILED, .cause = MIG_CAUSE_LOCAL,
     .target = MIG_TARGET_ABORTED, .runs_at = SOURCE, .says = "fault point"},
    {"cancelled", stays, .cancel = true, .source = MIG_FAILED, .cause = MIG_CAUSE_CANCELLED,
     .target = MIG_TARGET_FAILED, .runs_at = SOURCE, .says = "cancelled"},
    {"the target's handler ends", stays, .stop_target = true, .source = MIG_FAILED,
     .cause = MIG_CAUSE_PEER, .target = MIG_TARGET_FAILED, .runs_at = SOURCE},
    {"COMMIT is lost: the target is asked", commit_is_lost, .resolve = true, .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
    {"libvirt gives up while its answer is held: it runs on here", libvirt_gives_up,
     .resolve = true, .source = MIG_FAILED, .target = MIG_TARGET_FAILED, .runs_at = SOURCE},
    {"post-copy is allowed and not needed", nothing, .post_copy = true, .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
    {"post-copy", stays, .post_copy = true, .at_once = true, .source = MIG_MOVED,
     .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
    {"post-copy breaks, and goes on", breaks, .post_copy = true, .at_once = true,
     .source = MIG_MOVED, .target = MIG_TARGET_RUNNING, .runs_at = TARGET},
};

static void
one(const struct row *r)
{
    struct mig_target_config tc = {.ident = ident,
                                   .listen_ip = "127.0.0.1",
                                   .prepared = on_prepared,
                                   .committed = on_committed,
                                   .never = on_never};
    struct mig_source_config sc;
    struct mig_stats st;
    pthread_t target, other;
    struct end e = {0};

    print_message("%s\n", r->name);
    forget();
    r->arrange();
    assert_int_equal(mover_relay.target_new(&tc, &guests[TARGET].head, &w.dst, &e.target_err), 0);
    source_config(&sc, mover_relay.target_address(w.dst));
    sc.policy.allow_post_copy = r->post_copy;
    sc.policy.post_copy_at_once = r->at_once;
    w.src = mover_relay.source_new(&sc, &guests[SOURCE].head);
    assert_int_equal(pthread_create(&target, NULL, run_target, &e), 0);
    if (r->cancel)
        pthread_create(&other, NULL, cancel_when_it_began, w.src);
    if (r->stop_target)
        pthread_create(&other, NULL, stop_target_when_it_began, NULL);
    e.source = mover_relay.source_run(w.src, &e.cause, &e.err);
    if (r->cancel || r->stop_target)
        pthread_join(other, NULL);
    mover_relay.source_stats(w.src, &st);
    mover_relay.source_free(w.src);
    if (r->resolve) {
        assert_int_equal(e.source, MIG_UNKNOWN);
        assert_string_equal(w.journal[SOURCE], "committed");
        e.source = mover_relay.source_resolve(&sc, &guests[SOURCE].head, &e.err);
    } else if (e.cause != r->cause) {
        fail_msg("%s: cause %d: %s", r->name, e.cause, err_msg(&e.err));
    }
    pthread_join(target, NULL);
    mover_relay.target_free(w.dst);
    if (e.source != r->source || e.target != r->target)
        fail_msg("%s: source %d (%s), target %d (%s)", r->name, e.source, err_msg(&e.err), e.target,
                 err_msg(&e.target_err));
    if (r->says && !strstr(err_msg(&e.err), r->says))
        fail_msg("%s: '%s'", r->name, err_msg(&e.err));
    assert_false(w.two);
    for (int side = SOURCE; side <= TARGET; side++) {
        bool is_there = r->runs_at == side || (r->runs_at < 0 && r->paused_at == side);

        assert_int_equal(runs(side), r->runs_at == side);
        assert_int_equal(w.dom[side].there, is_there);
    }
    if (r->source == MIG_MOVED)
        assert_string_equal(w.journal[TARGET], "running");
    if (w.began && !r->at_once && !w.aborted && w.recorded[TARGET])
        assert_true(w.finish_flags & VIR_MIGRATE_PAUSED); /* also where it could not be asked for */
    assert_int_equal((w.flags & VIR_MIGRATE_PAUSED) != 0,
                     w.began ? !r->post_copy : (w.flags & VIR_MIGRATE_PAUSED) != 0);
    if (r->at_once)
        assert_int_equal(st.mode, MIG_MODE_POSTCOPY);
    assert_int_equal(w.resumed_post_copy, r->arrange == breaks);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        one(&rows[i]);
}

/* --- a peer that is not what it should be --- */

static struct {
    struct relay_target *t;
    const char *how;
} hostile;

static void
answer_badly(void *ctx, const void *msg, size_t len)
{
    AUTO_SB struct sb out = SB_INIT;
    struct relay_msg m = {.type = RELAY_MSG_READY, .generation = GENERATION};

    (void)ctx;
    (void)msg;
    (void)len;
    snprintf(m.directory, sizeof m.directory, "/x");
    if (strcmp(hostile.how, "rubbish") == 0) {
        (void)relay_target_send(hostile.t, "\xff\xff\xff\xff", 4, NULL);
        return;
    }
    if (strcmp(hostile.how, "another generation") == 0)
        m.generation++;
    if (strcmp(hostile.how, "out of turn") == 0)
        m.type = RELAY_MSG_CHECK, m.memory_bytes = 1, memcpy(m.data_path, "/x", 3);
    relay_msg_encode(&m, &out);
    (void)relay_target_send(hostile.t, out.buf, out.len, NULL);
}

static void
nothing_broken(void *ctx, enum relay_kind kind, const struct err *err)
{
    (void)ctx;
    (void)kind;
    (void)err;
}

static void
test_hostile_target(void **state)
{
    static const char *const how[] = {"rubbish", "another generation", "out of turn"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        struct relay_target_config c = {.ident = ident,
                                        .listen_ip = "127.0.0.1",
                                        .rpc_path = "/nowhere",
                                        .data_path = "/nowhere",
                                        .message = answer_badly,
                                        .broken = nothing_broken};
        struct mig_source_config sc;
        enum mig_cause cause;
        struct err err = {0};

        forget();
        hostile.how = how[i];
        assert_int_equal(relay_target_new(&c, &hostile.t, &err), 0);
        source_config(&sc, relay_target_address(hostile.t));
        w.src = mover_relay.source_new(&sc, &guests[SOURCE].head);
        assert_int_equal(mover_relay.source_run(w.src, &cause, &err), MIG_FAILED);
        if (cause != MIG_CAUSE_PROTOCOL)
            fail_msg("%s: cause %d: %s", how[i], cause, err_msg(&err));
        mover_relay.source_free(w.src);
        relay_target_free(hostile.t);
        assert_true(runs(SOURCE));
        assert_false(w.began);
    }
}

static void
no_message(void *ctx, const void *msg, size_t len)
{
    (void)ctx;
    (void)msg;
    (void)len;
}

/* COMMIT or FINISH of a source that has not done what comes before: nothing is recorded, nothing runs. */
static void
test_hostile_source(void **state)
{
    static const enum relay_msg_type first[] = {RELAY_MSG_COMMIT, RELAY_MSG_FINISH,
                                                RELAY_MSG_QUESTION, RELAY_MSG_RUNNING};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        struct mig_target_config tc = {.ident = ident,
                                       .listen_ip = "127.0.0.1",
                                       .prepared = on_prepared,
                                       .committed = on_committed,
                                       .never = on_never};
        struct relay_source_config c = {
            .ident = tc.ident, .message = no_message, .broken = nothing_broken};
        struct relay_msg m = {.type = first[i], .generation = GENERATION};
        AUTO_SB struct sb out = SB_INIT;
        struct relay_source *peer;
        enum mig_cause cause;
        pthread_t target;
        struct end e = {0};

        forget();
        assert_int_equal(mover_relay.target_new(&tc, &guests[TARGET].head, &w.dst, &e.target_err),
                         0);
        assert_int_equal(pthread_create(&target, NULL, run_target, &e), 0);
        snprintf(c.target_addr, sizeof c.target_addr, "%s", mover_relay.target_address(w.dst));
        snprintf(c.rpc_path, sizeof c.rpc_path, LV_MIGRATE_DIR "/%s.rpc", ident.migration_uid);
        snprintf(c.data_path, sizeof c.data_path, LV_MIGRATE_DIR "/%s.sock", ident.migration_uid);
        if (relay_source_new(&c, &peer, &cause, &e.err) != 0)
            fail_msg("%s", err_msg(&e.err));
        relay_msg_encode(&m, &out);
        assert_int_equal(relay_source_send(peer, out.buf, out.len, &e.err), 0);
        pthread_join(target, NULL);
        relay_source_free(peer);
        mover_relay.target_free(w.dst);
        assert_int_equal(e.target, MIG_TARGET_FAILED);
        assert_non_null(strstr(err_msg(&e.target_err), "out of turn"));
        assert_string_equal(w.journal[TARGET], "");
        assert_false(runs(TARGET));
    }
}

static int
set_up(void **state)
{
    const struct libvirt_api *api = libvirt_api(NULL);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct err err = {0};
    char *slash, uri[256];
    pthread_t thread;

    (void)state;
    if (!api) {
        print_message("skipped: no libvirt library\n");
        exit(77);
    }
    if (lv_make_dir(&err) != 0 || access(LV_MIGRATE_DIR, W_OK) != 0) {
        print_message("skipped: %s cannot be written\n", LV_MIGRATE_DIR);
        exit(77);
    }
    snprintf(ident.migration_uid, sizeof ident.migration_uid, "test-mover-%d", (int)getpid());
    slash = strrchr(socket_path, '/');
    *slash = '\0';
    assert_non_null(mkdtemp(socket_path));
    *slash = '/';
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", socket_path);
    w.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w.listen_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(w.listen_fd, 4), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_libvirtd, NULL), 0);
    pthread_detach(thread);
    real = table = *api;
    table.virConnectOpen = fake_open;
    table.virDomainLookupByUUID = fake_lookup;
    table.virDomainFree = fake_nothing;
    table.virDomainRef = fake_nothing;
    table.virDomainGetState = fake_state;
    table.virDomainResume = fake_resume;
    table.virDomainSuspend = fake_suspend;
    table.virDomainDestroy = fake_destroy;
    table.virDomainUndefineFlags = fake_undefine;
    table.virDomainGetXMLDesc = fake_xml;
    table.virDomainAbortJob = fake_abort;
    table.virDomainMigrateStartPostCopy = fake_post_copy;
    table.virDomainMigrateSetMaxDowntime = fake_max_downtime;
    table.virDomainMigrateToURI3 = fake_migrate;
    table.virDomainGetJobStats = fake_job;
    table.virGetLastError = fake_last_error;
    libvirt_api_replace(&table);
    for (int side = SOURCE; side <= TARGET; side++) {
        snprintf(uri, sizeof uri, side == SOURCE ? "test:///default" : "test:///default?socket=%s",
                 socket_path);
        struct libvirt_config c = {.uri = uri};

        guests[side] =
            (struct lv_guest){.head = {.ops = &ops, .mover = &mover_relay}, .side = side};
        assert_int_equal(libvirt_new(&c, &guests[side].lv, &err), 0);
        virConnectPtr conn = libvirt_wait(guests[side].lv, 10000000, &err);

        if (!conn)
            fail_msg("%s", err_msg(&err));
        real.virConnectClose(conn);
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    for (int side = SOURCE; side <= TARGET; side++)
        libvirt_free(guests[side].lv);
    shutdown(w.listen_fd, SHUT_RDWR);
    (void)unlink(socket_path);
    *strrchr(socket_path, '/') = '\0';
    (void)rmdir(socket_path);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_hostile_target),
        cmocka_unit_test(test_hostile_source),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
