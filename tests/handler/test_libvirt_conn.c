/* The connection to libvirt: kept, lost and made anew; events to those who asked; a libvirtd that hangs.
 * Over libvirt's own test driver (in the library: no daemon), with functions of ours in the table where
 * it has none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "handler/libvirt_conn.h"
#include "handler/limits.h"

#define PATIENCE_US 20000000u
#define TEST_UUID   "6695eb01-f6a4-8304-79aa-97f2502e193f" /* of test:///default's domain "test" */

static struct libvirt_api real, table;

static struct {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    int ups, downs, resyncs, losts, lifecycles, event, detail;
    int opens;         /* calls of virConnectOpen */
    int failing_opens; /* how many of them are to fail */
    bool hang, in_open, block, in_event;
    virConnectCloseFunc on_close;
    void *close_ctx;
    virConnectPtr close_conn;
} seen = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

#define UNTIL(cond_)                                                            \
    do {                                                                        \
        struct timespec end;                                                    \
        clock_gettime(CLOCK_REALTIME, &end);                                    \
        end.tv_sec += PATIENCE_US / 1000000;                                    \
        pthread_mutex_lock(&seen.mu);                                           \
        while (!(cond_))                                                        \
            if (pthread_cond_timedwait(&seen.cond, &seen.mu, &end) != 0) {      \
                pthread_mutex_unlock(&seen.mu);                                 \
                fail_msg("not within %u s: %s", PATIENCE_US / 1000000, #cond_); \
            }                                                                   \
        pthread_mutex_unlock(&seen.mu);                                         \
    } while (0)

static void
note(int *count)
{
    pthread_mutex_lock(&seen.mu);
    ++*count;
    pthread_cond_broadcast(&seen.cond);
    pthread_mutex_unlock(&seen.mu);
}

static void
set(bool *flag, bool value)
{
    pthread_mutex_lock(&seen.mu);
    *flag = value;
    pthread_cond_broadcast(&seen.cond);
    pthread_mutex_unlock(&seen.mu);
}

static void
on_changed(void *ctx, bool up)
{
    (void)ctx;
    note(up ? &seen.ups : &seen.downs);
}

static void
on_event(void *ctx, virDomainPtr dom, const struct libvirt_event *ev)
{
    assert_ptr_equal(ctx, &seen);
    if (ev->kind == LIBVIRT_EVENT_RESYNC || ev->kind == LIBVIRT_EVENT_LOST) {
        assert_null(dom);
        note(ev->kind == LIBVIRT_EVENT_RESYNC ? &seen.resyncs : &seen.losts);
        return;
    }
    assert_int_equal(ev->kind, LIBVIRT_EVENT_LIFECYCLE);
    assert_string_equal(real.virDomainGetName(dom), "test");
    pthread_mutex_lock(&seen.mu);
    seen.event = ev->event;
    seen.detail = ev->detail;
    seen.lifecycles++;
    seen.in_event = true;
    pthread_cond_broadcast(&seen.cond);
    while (seen.block)
        pthread_cond_wait(&seen.cond, &seen.mu);
    seen.in_event = false;
    pthread_mutex_unlock(&seen.mu);
}

/* --- functions in place of libvirt's --- */

static virConnectPtr
fake_open(const char *uri)
{
    bool fails;

    pthread_mutex_lock(&seen.mu);
    seen.opens++;
    seen.in_open = true;
    pthread_cond_broadcast(&seen.cond);
    while (seen.hang)
        pthread_cond_wait(&seen.cond, &seen.mu);
    seen.in_open = false;
    pthread_cond_broadcast(&seen.cond);
    fails = seen.failing_opens > 0;
    if (fails)
        seen.failing_opens--;
    pthread_mutex_unlock(&seen.mu);
    return real.virConnectOpen(fails ? "nosuch:///thing" : uri);
}

static int
fake_register_close(virConnectPtr conn, virConnectCloseFunc cb, void *opaque,
                    virFreeCallback freecb)
{
    assert_null(freecb);
    pthread_mutex_lock(&seen.mu);
    seen.on_close = cb;
    seen.close_ctx = opaque;
    seen.close_conn = conn;
    pthread_mutex_unlock(&seen.mu);
    return 0;
}

static int
fake_unregister_close(virConnectPtr conn, virConnectCloseFunc cb)
{
    assert_ptr_equal(conn, seen.close_conn);
    assert_true(cb == seen.on_close);
    return 0;
}

static int
set_up(void **state)
{
    struct err err;
    const struct libvirt_api *api = libvirt_api(&err);

    (void)state;
    if (!api) {
        print_message("skipped: %s\n", err_msg(&err));
        skip();
    }
    real = table = *api;
    table.virConnectOpen = fake_open;
    table.virConnectRegisterCloseCallback = fake_register_close;
    table.virConnectUnregisterCloseCallback = fake_unregister_close;
    libvirt_api_replace(&table);
    seen.ups = seen.downs = seen.resyncs = seen.losts = seen.lifecycles = seen.opens = 0;
    seen.failing_opens = 0;
    seen.hang = seen.in_open = seen.block = seen.in_event = false;
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    libvirt_api_replace(NULL);
    return 0;
}

static struct libvirt *
connected(void)
{
    const struct libvirt_config cfg = {"test:///default", on_changed, NULL};
    struct libvirt *lv;
    struct err err;

    assert_int_equal(libvirt_new(&cfg, &lv, &err), 0);
    UNTIL(seen.ups == 1);
    return lv;
}

static virDomainPtr
test_domain(virConnectPtr c)
{
    virDomainPtr d = real.virDomainLookupByUUIDString(c, TEST_UUID);

    assert_non_null(d);
    return d;
}

/* --- */

static void
test_connects(void **state)
{
    struct libvirt *lv = connected();
    unsigned long version = 0, driver = 0;
    struct err err;
    virConnectPtr c = libvirt_get(lv, &err);

    (void)state;
    assert_non_null(c);
    libvirt_versions(lv, &version, &driver);
    assert_true(version >= 9000000);
    assert_true(driver > 0);
    real.virConnectClose(c);
    assert_int_equal(seen.downs, 0);
    libvirt_free(lv);
}

static void
test_errors(void **state)
{
    struct libvirt *lv = connected();
    struct err err;
    virConnectPtr c = libvirt_wait(lv, PATIENCE_US, &err);
    virDomainPtr d;

    (void)state;
    assert_null(real.virDomainLookupByUUIDString(c, "00000000-0000-0000-0000-00000000dead"));
    assert_int_equal(libvirt_error(&err, "domain x"), -ESRCH);
    assert_non_null(strstr(err_msg(&err), "domain x: "));
    assert_null(strchr(err_msg(&err), '\n'));
    assert_null(real.virDomainDefineXMLFlags(c, "<domain", 0));
    assert_int_equal(libvirt_error(&err, "domain x"), -EIO);
    d = test_domain(c);
    assert_int_equal(
        real.virDomainMigrateToURI3(d, "test:///default", NULL, 0, VIR_MIGRATE_PEER2PEER), -1);
    assert_int_equal(libvirt_error(&err, "migration"), -ENOTSUP);
    real.virDomainFree(d);
    real.virConnectClose(c);
    libvirt_free(lv);
}

static void
on_other(void *ctx, virDomainPtr dom, const struct libvirt_event *ev)
{
    (void)ctx;
    (void)dom;
    (void)ev;
    fail_msg("an event of another domain");
}

static void
test_events(void **state)
{
    unsigned char uuid[VIR_UUID_BUFLEN], other[VIR_UUID_BUFLEN];
    struct libvirt *lv = connected();
    struct err err;
    virConnectPtr c = libvirt_get(lv, &err);
    virDomainPtr d = test_domain(c);

    (void)state;
    assert_int_equal(real.virDomainGetUUID(d, uuid), 0);
    memcpy(other, uuid, sizeof(other));
    other[0] ^= 1;
    libvirt_subscribe(lv, other, on_other, NULL);
    libvirt_subscribe(lv, uuid, on_event, &seen);
    assert_int_equal(real.virDomainSuspend(d), 0);
    UNTIL(seen.lifecycles == 1);
    assert_int_equal(seen.event, VIR_DOMAIN_EVENT_SUSPENDED);
    assert_int_equal(seen.detail, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    assert_int_equal(real.virDomainResume(d), 0);
    UNTIL(seen.lifecycles == 2);
    assert_int_equal(seen.event, VIR_DOMAIN_EVENT_RESUMED);
    libvirt_unsubscribe(lv, uuid, on_event, &seen);
    libvirt_unsubscribe(lv, other, on_other, NULL);
    real.virDomainFree(d);
    real.virConnectClose(c);
    libvirt_free(lv);
}

struct unsubscribing {
    struct libvirt *lv;
    unsigned char uuid[VIR_UUID_BUFLEN];
    atomic_bool done;
};

static void *
unsubscribe(void *ctx)
{
    struct unsubscribing *u = ctx;

    libvirt_unsubscribe(u->lv, u->uuid, on_event, &seen);
    atomic_store(&u->done, true);
    return NULL;
}

/* What a subscriber uses may be freed when unsubscribe has returned. */
static void
test_unsubscribe_waits(void **state)
{
    struct unsubscribing u = {.lv = connected()};
    struct err err;
    virConnectPtr c = libvirt_get(u.lv, &err);
    virDomainPtr d = test_domain(c);
    pthread_t thread;

    (void)state;
    assert_int_equal(real.virDomainGetUUID(d, u.uuid), 0);
    libvirt_subscribe(u.lv, u.uuid, on_event, &seen);
    set(&seen.block, true);
    assert_int_equal(real.virDomainSuspend(d), 0);
    UNTIL(seen.in_event);
    assert_int_equal(pthread_create(&thread, NULL, unsubscribe, &u), 0);
    assert_false(atomic_load(&u.done));
    set(&seen.block, false);
    pthread_join(thread, NULL);
    assert_false(seen.in_event);
    assert_int_equal(real.virDomainResume(d), 0);
    real.virDomainFree(d);
    real.virConnectClose(c);
    libvirt_free(u.lv);
}

static void
test_lost_and_back(void **state)
{
    unsigned char uuid[VIR_UUID_BUFLEN] = {1};
    struct libvirt *lv = connected();
    struct err err = {0};
    virConnectPtr c;

    (void)state;
    libvirt_subscribe(lv, uuid, on_event, &seen);
    set(&seen.hang, true);
    seen.on_close(seen.close_conn, VIR_CONNECT_CLOSE_REASON_KEEPALIVE, seen.close_ctx);
    assert_null(libvirt_get(lv, &err)); /* at once, although libvirt still has the connection */
    assert_int_equal(err.code, -ENOTCONN);
    assert_non_null(strstr(err_msg(&err), "libvirtd does not answer"));
    UNTIL(seen.downs == 1 && seen.losts == 1);
    UNTIL(seen.in_open);
    assert_null(libvirt_wait(lv, 1000, &err));
    assert_int_equal(err.code, -ENOTCONN);
    set(&seen.hang, false);
    c = libvirt_wait(lv, PATIENCE_US, &err);
    assert_non_null(c);
    UNTIL(seen.ups == 2 && seen.resyncs == 1);
    real.virConnectClose(c);
    libvirt_unsubscribe(lv, uuid, on_event, &seen);
    libvirt_free(lv);
}

static void
test_tries_again(void **state)
{
    struct libvirt *lv;
    uint64_t begin = clock_mono_us();

    (void)state;
    seen.failing_opens = 3;
    lv = connected();
    assert_int_equal(seen.opens, 4);
    /* 1, 2 and 4 times the first pause */
    assert_true(clock_mono_us() - begin >= 7 * LIBVIRT_RETRY_MIN_US);
    libvirt_free(lv);
}

/* A libvirtd that takes connections and does not answer holds up nobody, not even the end. */
static void
test_hangs_in_open(void **state)
{
    const struct libvirt_config cfg = {"test:///default", on_changed, NULL};
    struct libvirt *lv;
    struct err err = {0};
    uint64_t begin;

    (void)state;
    set(&seen.hang, true);
    assert_int_equal(libvirt_new(&cfg, &lv, &err), 0);
    UNTIL(seen.in_open);
    begin = clock_mono_us();
    assert_null(libvirt_get(lv, &err));
    assert_int_equal(err.code, -ENOTCONN);
    assert_true(clock_mono_us() - begin < 1000000);
    libvirt_free(lv);
    assert_true(clock_mono_us() - begin < 2 * LIBVIRT_STOP_US + 1000000);
    set(&seen.hang, false);
    UNTIL(!seen.in_open);
    assert_int_equal(seen.ups, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unsubscribe_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tries_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hangs_in_open, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("libvirt connection", tests, NULL, NULL);
}
