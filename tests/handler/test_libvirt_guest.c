/* Domains as guests over libvirt's own test driver: what a domain's life looks like behind hv.h, and what
 * is left when something fails on the way. The test driver runs no QEMU; what it cannot take of a real
 * domain's XML is cut away on the way to it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "handler/libvirt_guest_int.h"
#include "handler/libvirt_stats.h"

#define PATIENCE_US 20000000u
#define UID         "0b2f1c3e-93d4-4d0c-9d2a-1f6a3c5b7d11" /* and the domain's uuid */

static struct libvirt_api real, table;
static char state_dir[64];
static virConnectPtr hold; /* the test driver forgets all domains with its last connection */

static struct {
    virConnectCloseFunc on_close;
    void *close_ctx;
    virConnectPtr close_conn;
    bool fail_define, fail_create, break_create, start_before_break;
    virError broken; /* code 0: as libvirt says */
} fake;

/* --- functions in place of libvirt's --- */

static char *
no_kvm(virConnectPtr conn, const char *emulator, const char *arch, const char *machine,
       const char *virttype, unsigned int flags)
{
    (void)conn;
    (void)emulator;
    (void)arch;
    (void)machine;
    (void)virttype;
    (void)flags;
    return NULL;
}

static int
keep_close(virConnectPtr conn, virConnectCloseFunc cb, void *opaque, virFreeCallback freecb)
{
    assert_null(freecb);
    fake.on_close = cb;
    fake.close_ctx = opaque;
    fake.close_conn = conn;
    return 0;
}

static int
drop_close(virConnectPtr conn, virConnectCloseFunc cb)
{
    (void)conn;
    (void)cb;
    return 0;
}

static void
cut(const char *xml, const char *from, const char *to, struct sb *out)
{
    const char *a = strstr(xml, from), *b = a ? strstr(a, to) : NULL;

    assert_non_null(b);
    sb_add(out, a, (size_t)(b - a) + strlen(to));
}

static virDomainPtr
define_less(virConnectPtr conn, const char *xml, unsigned int flags)
{
    AUTO_SB struct sb sb = SB_INIT;

    if (fake.fail_define)
        return real.virDomainDefineXMLFlags(conn, "<domain type='test'><name>x</name></domain>",
                                            flags);
    sb_puts(&sb, "<domain type='test'>");
    cut(xml, "<name>", "</name>", &sb);
    cut(xml, "<uuid>", "</uuid>", &sb);
    cut(xml, "<metadata>", "</metadata>", &sb);
    sb_puts(&sb, "<memory unit='KiB'>65536</memory><os><type>hvm</type></os><devices>");
    cut(xml, "<serial ", "</serial>", &sb);
    sb_puts(&sb, "</devices></domain>");
    return real.virDomainDefineXMLFlags(conn, sb_str(&sb), flags);
}

static int
undefine_less(virDomainPtr d, unsigned int flags)
{
    assert_true(flags & VIR_DOMAIN_UNDEFINE_NVRAM);
    return real.virDomainUndefineFlags(
        d, flags & (VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA));
}

static int
shut_down_by_button(virDomainPtr d, unsigned int flags)
{
    assert_int_equal(flags, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN); /* there is no agent */
    return real.virDomainShutdownFlags(d, 0);
}

static char qemu_says[] = "process exited while connecting to monitor:\nCannot allocate memory";
static char rpc_says[] = "client socket is closed";

static int
create_or_not(virDomainPtr d)
{
    if (fake.fail_create) {
        fake.broken = (virError){
            .code = VIR_ERR_INTERNAL_ERROR, .domain = VIR_FROM_QEMU, .message = qemu_says};
        return -1;
    }
    if (fake.break_create) {
        if (fake.start_before_break)
            assert_int_equal(real.virDomainCreate(d), 0);
        fake.on_close(fake.close_conn, VIR_CONNECT_CLOSE_REASON_EOF, fake.close_ctx);
        fake.broken =
            (virError){.code = VIR_ERR_INTERNAL_ERROR, .domain = VIR_FROM_RPC, .message = rpc_says};
        return -1;
    }
    return real.virDomainCreate(d);
}

static virErrorPtr
last_error(void)
{
    static _Thread_local virError e;

    if (fake.broken.code == 0)
        return real.virGetLastError();
    e = fake.broken;
    return &e;
}

/* A call that libvirt answers itself again: the error of ours is gone. */
static virDomainPtr
lookup(virConnectPtr conn, const char *uuid)
{
    fake.broken.code = 0;
    return real.virDomainLookupByUUIDString(conn, uuid);
}

/* The real thing, whichever test had it before: the domain of ours, or NULL. */
static virConnectPtr
direct(virDomainPtr *ret)
{
    virConnectPtr c = real.virConnectOpen("test:///default");

    assert_non_null(c);
    *ret = real.virDomainLookupByUUIDString(c, UID);
    return c;
}

static int
set_up(void **state)
{
    const struct libvirt_api *api = libvirt_api(NULL);

    (void)state;
    memset(&fake, 0, sizeof fake);
    real = table = *api;
    table.virConnectGetDomainCapabilities = no_kvm;
    table.virConnectRegisterCloseCallback = keep_close;
    table.virConnectUnregisterCloseCallback = drop_close;
    table.virDomainDefineXMLFlags = define_less;
    table.virDomainUndefineFlags = undefine_less;
    table.virDomainShutdownFlags = shut_down_by_button;
    table.virDomainCreate = create_or_not;
    table.virGetLastError = last_error;
    table.virDomainLookupByUUIDString = lookup;
    libvirt_api_replace(&table);
    hold = real.virConnectOpen("test:///default");
    snprintf(state_dir, sizeof state_dir, "/tmp/drover-lvg-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    return 0;
}

static int
tear_down(void **state)
{
    virDomainPtr d;
    virConnectPtr c;

    (void)state;
    libvirt_api_replace(NULL);
    c = direct(&d);
    if (d) {
        real.virDomainDestroy(d);
        real.virDomainUndefineFlags(d, 0);
        real.virDomainFree(d);
    }
    real.virConnectClose(c);
    real.virConnectClose(hold);
    return fs_rmtree(state_dir, NULL);
}

/* --- helpers --- */

static struct hv_driver *
driver(struct loop *l)
{
    const struct lv_driver_config cfg = {
        .state_dir = state_dir, .uri = "test:///default", .images = state_dir, .loop = l};
    struct hv_driver *d;
    struct err err;
    uint64_t until = clock_mono_us() + PATIENCE_US;

    assert_int_equal(lv_driver_new(&cfg, &d, &err), 0);
    while (d->ops->ready(d, &err) != 0)
        assert_true(clock_mono_us() < until);
    return d;
}

static struct tree *
manifest(const char *more)
{
    AUTO_FREE char *yaml = xasprintf("kind: VirtualMachineInstance\n"
                                     "metadata: {namespace: ns, name: vm, uid: " UID "}\n"
                                     "spec: {domain: {memory: {guest: 64Mi}, devices: {}%s}}\n",
                                     more);
    struct tree *docs, *one;
    struct err err;

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    one = tree_copy(tree_at(docs, 0));
    tree_free(docs);
    return one;
}

static int
try_start(struct hv_driver *d, const char *more, bool incoming, struct hv_guest **ret,
          struct hv_refusal *why, struct err *err)
{
    AUTO_TREE struct tree *vmi = manifest(more);
    const struct hv_want w = {.vmi = vmi, .incoming = incoming};

    *why = (struct hv_refusal){0};
    *err = (struct err){0};
    return d->ops->start(d, &w, ret, why, err);
}

static struct hv_guest *
started(struct hv_driver *d)
{
    struct hv_guest *g;
    struct hv_refusal why;
    struct err err;

    if (try_start(d, "", false, &g, &why, &err) != 0)
        fail_msg("%s (%s: %s)", err_msg(&err), why.reason, why.text);
    return g;
}

static struct hv_now
now_of(struct hv_guest *g)
{
    struct hv_now now;

    g->ops->now(g, &now);
    return now;
}

#define UNTIL(g, cond)                                          \
    do {                                                        \
        uint64_t until_ = clock_mono_us() + PATIENCE_US;        \
        struct hv_now now;                                      \
        while (now = now_of(g), !(cond))                        \
            if (clock_mono_us() > until_)                       \
                fail_msg("state %d: not %s", now.state, #cond); \
    } while (0)

static bool
exists(const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/guests/" UID "%s", state_dir, name);
    struct stat st;

    return stat(path, &st) == 0;
}

static void
assert_exit(struct hv_guest *g, enum hv_exit_kind kind, const char *text)
{
    struct hv_exit x;

    g->ops->exit_reason(g, &x);
    assert_int_equal(x.kind, kind);
    assert_non_null(strstr(x.text, text));
}

/* Nothing of the guest is left, neither here nor at libvirt. */
static void
assert_nothing(void)
{
    virDomainPtr d;
    virConnectPtr c = direct(&d);

    assert_null(d);
    real.virConnectClose(c);
    assert_false(exists(""));
}

static void
on_change(void *ctx)
{
    loop_stop(ctx);
}

/* --- */

static void
test_life(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g = started(d);
    virDomainPtr dom;
    virConnectPtr c = direct(&dom);
    struct err err;

    (void)state;
    assert_string_equal(g->ops->uid(g), UID);
    assert_string_equal(g->ops->name(g), "ns/vm");
    assert_true(g->ops->memory_bytes(g) == 64 << 20);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_true(exists("/" LV_RECORD_FILE) && exists("/domain.xml"));
    assert_non_null(dom);
    assert_int_equal(real.virDomainIsPersistent(dom), 1);

    assert_int_equal(g->ops->pause(g, &err), 0);
    assert_int_equal(g->ops->pause(g, &err), 0);
    assert_int_equal(now_of(g).state, HV_PAUSED);
    assert_int_equal(now_of(g).pause, HV_PAUSE_USER);
    assert_int_equal(g->ops->resume(g, &err), 0);
    assert_int_equal(g->ops->resume(g, &err), 0);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_int_equal(now_of(g).pause, HV_PAUSE_NONE);

    /* behind our back */
    g->ops->watch(g, l, on_change, l);
    loop_run(l); /* what was before */
    assert_int_equal(real.virDomainSuspend(dom), 0);
    UNTIL(g, now.state == HV_PAUSED && now.pause == HV_PAUSE_USER);
    loop_run(l);
    assert_int_equal(real.virDomainResume(dom), 0);
    UNTIL(g, now.state == HV_RUNNING);

    assert_int_equal(g->ops->console(g, &(int){0}, &err), -ENOTSUP); /* no QEMU listens */

    assert_int_equal(g->ops->shut_down(g, &err), 0);
    UNTIL(g, now.state == HV_ENDED);
    assert_exit(g, HV_EXIT_QUIT, "powered itself off");
    assert_int_equal(g->ops->pause(g, &err), -ESRCH);
    assert_int_equal(g->ops->shut_down(g, &err), -ESRCH);
    assert_true(exists("")); /* until its end was seen to */
    g->ops->unwatch(g);
    assert_int_equal(g->ops->remove(g, &err), 0);
    assert_nothing();
    assert_int_equal(g->ops->remove(g, &err), 0);
    g->ops->free(g);
    real.virDomainFree(dom);
    real.virConnectClose(c);
    d->ops->free(d);
    loop_free(l);
}

static void
test_ends(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g = started(d), *again;
    virDomainPtr dom;
    virConnectPtr c = direct(&dom);
    struct hv_refusal why;
    struct err err;

    (void)state;
    assert_int_equal(try_start(d, "", false, &again, &why, &err), -EEXIST);
    assert_int_equal(real.virDomainDestroy(dom), 0);
    UNTIL(g, now.state == HV_ENDED);
    assert_exit(g, HV_EXIT_KILLED, "destroyed");
    /* somebody starts it again, and undefines it */
    assert_int_equal(real.virDomainCreate(dom), 0);
    UNTIL(g, now.state == HV_RUNNING);
    assert_exit(g, HV_EXIT_NONE, "");
    assert_int_equal(real.virDomainDestroy(dom), 0);
    assert_int_equal(real.virDomainUndefineFlags(dom, 0), 0);
    UNTIL(g, now.state == HV_ENDED);
    assert_int_equal(g->ops->remove(g, &err), 0);
    assert_nothing();
    g->ops->free(g);
    assert_int_equal(d->ops->open(d, UID, &g, &err), -ENOENT);
    assert_int_equal(d->ops->open(d, "../../etc", &g, &err), -EINVAL);
    real.virDomainFree(dom);
    real.virConnectClose(c);
    d->ops->free(d);
    loop_free(l);
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *more, *reason, *text;
        bool define, create;
    } rows[] = {
        {"a field that nobody makes", ", watchdog: {name: w}", "", "watchdog", false, false},
        {"libvirt does not take it", "", "DomainRefused", "libvirt: ", true, false},
        {"QEMU does not start", "", "NotEnoughMemory", "monitor: Cannot allocate memory", false,
         true},
    };
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hv_guest *g;
        struct hv_refusal why;
        struct err err;

        print_message("%s\n", rows[i].name);
        fake.fail_define = rows[i].define;
        fake.fail_create = rows[i].create;
        assert_true(try_start(d, rows[i].more, false, &g, &why, &err) < 0);
        fake.broken.code = 0;
        if (rows[i].reason[0])
            assert_string_equal(why.reason, rows[i].reason);
        assert_true(why.reason[0] != '\0');
        if (!strstr(why.text, rows[i].text))
            fail_msg("%s", why.text);
        assert_null(strchr(why.text, '\n'));
        assert_nothing();
    }
    d->ops->free(d);
    loop_free(l);
}

/* The handler ends and comes again: nothing is done to what runs, and what ended meanwhile has. */
static void
test_restart(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g = started(d), **list;
    virDomainPtr dom;
    virConnectPtr c;
    struct err err;
    size_t n;

    (void)state;
    g->ops->free(g);
    d->ops->free(d);
    c = direct(&dom);
    d = driver(l);
    assert_int_equal(d->ops->find(d, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    g = list[0];
    free(list);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_true(g->ops->memory_bytes(g) == 64 << 20);
    g->ops->free(g);
    d->ops->free(d);

    assert_int_equal(real.virDomainShutdownFlags(dom, 0), 0);
    d = driver(l);
    assert_int_equal(d->ops->open(d, UID, &g, &err), 0);
    assert_int_equal(now_of(g).state, HV_ENDED);
    assert_exit(g, HV_EXIT_QUIT, "powered itself off");
    assert_int_equal(g->ops->remove(g, &err), 0);
    assert_nothing();
    g->ops->free(g);
    real.virDomainFree(dom);
    real.virConnectClose(c);
    d->ops->free(d);
    loop_free(l);
}

/* The directory is lost, the domain runs: known by its metadata. Others' domains are left alone. */
static void
test_adopts_by_metadata(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g = started(d), **list;
    struct hv_refusal why;
    struct err err;
    size_t n;

    (void)state;
    g->ops->free(g);
    assert_int_equal(fs_rmtree(state_dir, &err), 0);
    assert_int_equal(try_start(d, "", false, &g, &why, &err), -EEXIST);
    assert_int_equal(d->ops->open(d, UID, &g, &err), 0);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    g->ops->free(g);
    assert_int_equal(fs_rmtree(state_dir, &err), 0);
    assert_int_equal(d->ops->find(d, &list, &n, &err), 0);
    assert_int_equal(n, 1); /* and not the test driver's own domain "test" */
    g = list[0];
    free(list);
    assert_string_equal(g->ops->name(g), "ns/vm");
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_int_equal(g->ops->remove(g, &err), 0);
    assert_nothing();
    g->ops->free(g);
    d->ops->free(d);
    loop_free(l);
}

static void
test_incoming(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g;
    struct hv_refusal why;
    struct err err;
    virDomainPtr dom;
    virConnectPtr c = direct(&dom);

    (void)state;
    assert_null(dom);
    assert_int_equal(try_start(d, "", true, &g, &why, &err), 0);
    assert_int_equal(now_of(g).state, HV_INCOMING);
    assert_true(exists("/" LV_RECORD_FILE));
    g->ops->free(g);
    assert_int_equal(d->ops->open(d, UID, &g, &err), 0);
    assert_int_equal(now_of(g).state, HV_INCOMING);

    /* what libvirt's Prepare and Finish come to */
    dom = real.virDomainDefineXMLFlags(
        c,
        "<domain type='test'><name>ns_vm</name><uuid>" UID "</uuid><memory>65536</memory>"
        "<metadata><drover:vmi xmlns:drover='"
        "https://drover.io/domain/1"
        "' namespace='ns' name='vm' uid='" UID "'/></metadata><os><type>hvm</type></os></domain>",
        0);
    assert_non_null(dom);
    assert_int_equal(real.virDomainCreate(dom), 0);
    assert_int_equal(real.virDomainSuspend(dom), 0);
    lv_guest_migrating((struct lv_guest *)g, true);
    assert_int_equal(lv_guest_look((struct lv_guest *)g, &err), 0);
    assert_int_equal(now_of(g).state, HV_INCOMING);
    lv_guest_arrived((struct lv_guest *)g);
    assert_int_equal(now_of(g).state, HV_PAUSED);
    assert_int_equal(now_of(g).pause, HV_PAUSE_MIGRATION);
    lv_guest_migrating((struct lv_guest *)g, false);
    assert_int_equal(g->ops->resume(g, &err), 0);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    g->ops->free(g);
    assert_int_equal(d->ops->open(d, UID, &g, &err), 0); /* the record says so, too */
    assert_int_equal(real.virDomainDestroy(dom), 0);
    UNTIL(g, now.state == HV_ENDED);
    assert_int_equal(g->ops->remove(g, &err), 0);
    assert_nothing();
    g->ops->free(g);
    real.virDomainFree(dom);
    real.virConnectClose(c);
    d->ops->free(d);
    loop_free(l);
}

static void
test_connection_lost(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g = started(d);
    virDomainPtr dom;
    virConnectPtr c = direct(&dom);

    (void)state;
    fake.on_close(fake.close_conn, VIR_CONNECT_CLOSE_REASON_KEEPALIVE, fake.close_ctx);
    assert_int_equal(real.virDomainSuspend(dom), 0);
    UNTIL(g, now.state == HV_PAUSED); /* seen after it was opened again */
    g->ops->free(g);
    real.virDomainFree(dom);
    real.virConnectClose(c);
    d->ops->free(d);
    loop_free(l);
}

/* libvirtd goes away while it starts a domain: it was started, or it was not. */
static void
test_broken_start(void **state)
{
    struct loop *l = loop_event_new();
    struct hv_driver *d = driver(l);
    struct hv_guest *g;
    struct hv_refusal why;
    struct err err;

    (void)state;
    fake.break_create = true;
    assert_int_equal(try_start(d, "", false, &g, &why, &err), -EAGAIN);
    assert_string_equal(why.reason, "");
    assert_nothing();
    fake.start_before_break = true;
    assert_int_equal(try_start(d, "", false, &g, &why, &err), 0);
    assert_int_equal(now_of(g).state, HV_RUNNING);
    g->ops->free(g);
    d->ops->free(d);
    loop_free(l);
}

/* --- what events come to, one after another --- */

struct step {
    enum libvirt_event_kind kind;
    int event, detail;
};

#define LIFE(e, d)                                                                \
    {                                                                             \
        LIBVIRT_EVENT_LIFECYCLE, VIR_DOMAIN_EVENT_##e, VIR_DOMAIN_EVENT_##e##_##d \
    }

static void
test_events(void **state)
{
    static const struct {
        const char *name;
        bool incoming, migrating;
        struct step steps[4];
        enum hv_state state;
        enum hv_pause pause;
        enum hv_exit_kind exit;
    } rows[] = {
        {"a disk fails", false, false, {LIFE(SUSPENDED, IOERROR)}, HV_PAUSED, HV_PAUSE_IO_ERROR, 0},
        {"a watchdog fires",
         false,
         false,
         {LIFE(SUSPENDED, WATCHDOG)},
         HV_PAUSED,
         HV_PAUSE_OTHER,
         0},
        {"the guest powers off",
         false,
         false,
         {LIFE(SHUTDOWN, GUEST), LIFE(STOPPED, SHUTDOWN)},
         HV_ENDED,
         0,
         HV_EXIT_QUIT},
        {"QEMU is sent SIGTERM",
         false,
         false,
         {LIFE(SHUTDOWN, HOST), LIFE(STOPPED, SHUTDOWN)},
         HV_ENDED,
         0,
         HV_EXIT_KILLED},
        {"QEMU is gone", false, false, {LIFE(STOPPED, FAILED)}, HV_ENDED, 0, HV_EXIT_KILLED},
        {"a panic", false, false, {LIFE(CRASHED, PANICKED)}, HV_ENDED, 0, HV_EXIT_CRASHED},
        {"a crash", false, false, {LIFE(STOPPED, CRASHED)}, HV_ENDED, 0, HV_EXIT_CRASHED},
        {"started again",
         false,
         false,
         {LIFE(STOPPED, CRASHED), LIFE(STARTED, BOOTED)},
         HV_RUNNING,
         0,
         0},
        {"somebody migrates it away with virsh",
         false,
         false,
         {LIFE(SUSPENDED, MIGRATED), LIFE(STOPPED, MIGRATED)},
         HV_ENDED,
         0,
         HV_EXIT_MIGRATED},
        {"we do: gone, but that is not its end yet",
         false,
         true,
         {LIFE(SUSPENDED, MIGRATED), LIFE(STOPPED, MIGRATED)},
         HV_PAUSED,
         HV_PAUSE_MIGRATION,
         0},
        {"our migration's pause",
         false,
         true,
         {LIFE(SUSPENDED, PAUSED)},
         HV_PAUSED,
         HV_PAUSE_MIGRATION,
         0},
        {"our migration fails",
         false,
         true,
         {LIFE(SUSPENDED, MIGRATED), LIFE(RESUMED, MIGRATED)},
         HV_RUNNING,
         0,
         0},
        {"it crashes while it migrates",
         false,
         true,
         {LIFE(STOPPED, CRASHED)},
         HV_ENDED,
         0,
         HV_EXIT_CRASHED},
        {"post-copy breaks",
         false,
         true,
         {LIFE(SUSPENDED, POSTCOPY_FAILED)},
         HV_PAUSED,
         HV_PAUSE_MIGRATION,
         0},
        {"Prepare at the target",
         true,
         true,
         {LIFE(STARTED, MIGRATED), LIFE(SUSPENDED, PAUSED)},
         HV_INCOMING,
         0,
         0},
        {"and it failed",
         true,
         true,
         {LIFE(STARTED, MIGRATED), LIFE(STOPPED, FAILED)},
         HV_INCOMING,
         0,
         0},
        {"and it runs",
         true,
         true,
         {LIFE(STARTED, MIGRATED), LIFE(RESUMED, MIGRATED)},
         HV_RUNNING,
         0,
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lv_guest g = {.state = rows[i].incoming ? HV_INCOMING : HV_RUNNING,
                             .migrating = rows[i].migrating,
                             .rec.incoming = rows[i].incoming};

        print_message("%s\n", rows[i].name);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].steps); k++)
            if (rows[i].steps[k].event || rows[i].steps[k].detail)
                lv_guest_event_locked(&g,
                                      &(struct libvirt_event){.kind = rows[i].steps[k].kind,
                                                              .event = rows[i].steps[k].event,
                                                              .detail = rows[i].steps[k].detail});
        assert_int_equal(g.state, rows[i].state);
        if (g.state == HV_PAUSED)
            assert_int_equal(g.pause, rows[i].pause);
        assert_int_equal(g.rec.exit.kind, rows[i].exit);
    }
}

static void
test_looks(void **state)
{
    static const struct {
        const char *name;
        bool gone, incoming, migrating;
        int state, reason;
        enum hv_state want;
        enum hv_pause pause;
        enum hv_exit_kind exit;
    } rows[] = {
        {"runs", false, false, false, VIR_DOMAIN_RUNNING, 0, HV_RUNNING, 0, 0},
        {"powers off just now", false, false, false, VIR_DOMAIN_SHUTDOWN, 0, HV_RUNNING, 0, 0},
        {"paused", false, false, false, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, HV_PAUSED,
         HV_PAUSE_USER, 0},
        {"disk", false, false, false, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, HV_PAUSED,
         HV_PAUSE_IO_ERROR, 0},
        {"asleep", false, false, false, VIR_DOMAIN_PMSUSPENDED, 0, HV_PAUSED, HV_PAUSE_OTHER, 0},
        {"off", false, false, false, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, HV_ENDED, 0,
         HV_EXIT_QUIT},
        {"the host was off", false, false, false, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN,
         HV_ENDED, 0, HV_EXIT_KILLED},
        {"failed", false, false, false, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED, HV_ENDED, 0,
         HV_EXIT_FAILED},
        {"crashed, kept", false, false, false, VIR_DOMAIN_CRASHED, 0, HV_ENDED, 0, HV_EXIT_CRASHED},
        {"gone", true, false, false, 0, 0, HV_ENDED, 0, HV_EXIT_KILLED},
        {"gone in our migration", true, false, true, 0, 0, HV_PAUSED, HV_PAUSE_MIGRATION, 0},
        {"off while migrating", false, false, true, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED,
         HV_ENDED, 0, HV_EXIT_CRASHED},
        {"not there yet", true, true, false, 0, 0, HV_INCOMING, 0, 0},
        {"there and paused", false, true, true, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION,
         HV_INCOMING, 0, 0},
        {"there and runs", false, true, true, VIR_DOMAIN_RUNNING, 0, HV_RUNNING, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lv_guest g = {.state = HV_UNKNOWN,
                             .lost = true,
                             .migrating = rows[i].migrating,
                             .rec.incoming = rows[i].incoming};

        print_message("%s\n", rows[i].name);
        lv_guest_seen_locked(&g, rows[i].gone, rows[i].state, rows[i].reason, false);
        assert_false(g.lost);
        assert_int_equal(g.state, rows[i].want);
        if (g.state == HV_PAUSED)
            assert_int_equal(g.pause, rows[i].pause);
        assert_int_equal(g.rec.exit.kind, rows[i].exit);
    }
}

static void
test_stats(void **state)
{
#define ULL(name, v)                  \
    {                                 \
        name, VIR_TYPED_PARAM_ULLONG, \
        {                             \
            .ul = v                   \
        }                             \
    }
#define UINT(name, v)               \
    {                               \
        name, VIR_TYPED_PARAM_UINT, \
        {                           \
            .ui = v                 \
        }                           \
    }
    virTypedParameter params[] = {
        ULL("cpu.time", 7000),
        UINT("vcpu.current", 2),
        ULL("balloon.current", 512),
        ULL("balloon.maximum", 1024),
        ULL("balloon.rss", 300),
        UINT("block.count", 2),
        ULL("block.0.rd.bytes", 10),
        ULL("block.0.rd.reqs", 1),
        ULL("block.1.rd.bytes", 20),
        ULL("block.1.wr.bytes", 5),
        ULL("block.2.rd.bytes", 1000), /* past what count says */
        UINT("net.count", 1),
        ULL("net.0.rx.bytes", 3),
        ULL("net.0.tx.drop", 4),
        {"dirtyrate.megabytes_per_second", VIR_TYPED_PARAM_LLONG, {.l = 3}},
    };
    struct hv_stats st;

    (void)state;
    lv_stats_of(libvirt_api(NULL), params, ARRAY_LEN(params), &st);
    assert_true(st.has_cpu && st.has_memory && st.has_block && st.has_net);
    assert_int_equal(st.cpu_ns, 7000);
    assert_int_equal(st.vcpus, 2);
    assert_int_equal(st.memory_bytes, 1 << 20);
    assert_int_equal(st.balloon_bytes, 512 << 10);
    assert_int_equal(st.memory_rss_bytes, 300 << 10);
    assert_int_equal(st.block_read_bytes, 30);
    assert_int_equal(st.block_write_bytes, 5);
    assert_int_equal(st.block_read_ops, 1);
    assert_int_equal(st.net_rx_bytes, 3);
    assert_int_equal(st.net_tx_drops, 4);
    assert_int_equal(st.dirty_bytes_per_s, 3 << 20);
    lv_stats_of(libvirt_api(NULL), params, 0, &st);
    assert_false(st.has_cpu || st.has_memory || st.has_block || st.has_net);
    params[5].value.ui = UINT32_MAX; /* devices that it does not list */
    lv_stats_of(libvirt_api(NULL), params, ARRAY_LEN(params), &st);
    assert_int_equal(st.block_read_bytes, 1030);
}

static int
skip_without(void **state)
{
    struct err err;

    (void)state;
    if (libvirt_api(&err))
        return 0;
    print_message("skipped: %s\n", err_msg(&err));
    exit(77);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_looks),
        cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_adopts_by_metadata, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_incoming, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connection_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_start, set_up, tear_down),
        cmocka_unit_test(test_stats), /* libvirt is initialized by now, as it is always in life */
    };

    return cmocka_run_group_tests_name("libvirt guests", tests, skip_without, NULL);
}
