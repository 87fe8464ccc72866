/* The libvirt driver with a real libvirtd and QEMU (emulated, 64 MiB, the test guest of tests/guest): its
 * heartbeat says whether anything was done to it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "handler/kvm_caps.h"
#include "handler/libvirt_cpu.h"
#include "handler/libvirt_domxml.h"
#include "handler/libvirt_guest_int.h"
#include "tests/handler/libvirt_rig.h"

#define PATIENCE_US 60000000u
#define UID         "0b2f1c3e-93d4-4d0c-9d2a-1f6a3c5b7d11"
#define UID2        "1c3f1c3e-93d4-4d0c-9d2a-1f6a3c5b7d22"

static struct loop *loop;
static struct hv_driver *driver;
static const char *accelerator = "tcg";

static void
connect_driver(void)
{
    static char state_dir[80];
    const struct lv_driver_config cfg = {
        .state_dir = state_dir, .uri = LV_RIG_URI, .images = lv_rig_images, .loop = loop};
    uint64_t until = clock_mono_us() + PATIENCE_US;
    struct err err;

    snprintf(state_dir, sizeof state_dir, "%s/s", lv_rig_dir);
    assert_int_equal(lv_driver_new(&cfg, &driver, &err), 0);
    while (driver->ops->ready(driver, &err) != 0) {
        poll(NULL, 0, 10);
        if (clock_mono_us() > until)
            fail_msg("%s", err_msg(&err));
    }
}

static int
try_start(const char *name, const char *uid, const char *domain, struct hv_guest **ret,
          struct hv_refusal *why, struct err *err)
{
    AUTO_FREE char *yaml = xasprintf(
        "kind: VirtualMachineInstance\n"
        "metadata: {namespace: ns, name: %s, uid: %s, annotations: {drover.io/accelerator: %s}}\n"
        "spec: {domain: {memory: {guest: 64Mi}, devices: {}, firmware: {kernelBoot: {kernelArgs: "
        "\"ws=8 rate=4\", container: {image: drover/testguest, kernelPath: /kernel}}}%s}}\n",
        name, uid, accelerator, domain);
    AUTO_TREE struct tree *docs = NULL;
    struct hv_want w = {0};

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, err) != 0)
        fail_msg("%s", err_msg(err));
    w.vmi = tree_at(docs, 0);
    *why = (struct hv_refusal){0};
    *err = (struct err){0};
    return driver->ops->start(driver, &w, ret, why, err);
}

static struct hv_guest *
started(const char *domain)
{
    struct hv_guest *g;
    struct hv_refusal why;
    struct err err;

    if (try_start("vm", UID, domain, &g, &why, &err) != 0)
        fail_msg("%s (%s: %s)", err_msg(&err), why.reason, why.text);
    return g;
}

static void
removed(struct hv_guest *g)
{
    AUTO_FREE char *dir = xasprintf("%s/s/guests/%s", lv_rig_dir, g->ops->uid(g));
    pid_t pid = lv_rig_qemu("ns_vm");
    struct stat st;
    struct err err;

    if (g->ops->remove(g, &err) != 0)
        fail_msg("%s", err_msg(&err));
    assert_false(lv_rig_alive(pid));
    assert_int_not_equal(stat(dir, &st), 0);
    g->ops->free(g);
}

/* The last number that its console.log has of HB lines, and whether a page was found changed; -1: none. */
static long
heartbeat(void)
{
    AUTO_FREE char *path = xasprintf("%s/s/guests/" UID "/console.log", lv_rig_dir);
    AUTO_FREE char *text = NULL;
    long last = -1;
    size_t len;

    if (fs_read_all(path, 16 << 20, &text, &len, NULL) != 0)
        return -1;
    for (const char *p = text; (p = strstr(p, "HB ")); p += 3) {
        const char *bad = strstr(p, "bad=");

        if (!strchr(p, '\n')) /* not whole yet */
            break;
        last = atol(p + 3);
        if (bad)
            assert_int_equal(strncmp(bad, "bad=0 ", 6), 0);
    }
    return last;
}

#define UNTIL(cond)                                      \
    do {                                                 \
        uint64_t until_ = clock_mono_us() + PATIENCE_US; \
        while (!(cond)) {                                \
            poll(NULL, 0, 20);                           \
            if (clock_mono_us() > until_)                \
                fail_msg("not: %s", #cond);              \
        }                                                \
    } while (0)

static struct hv_now
now_of(struct hv_guest *g)
{
    struct hv_now now;

    g->ops->now(g, &now);
    return now;
}

static void
beats_on(void)
{
    long n = heartbeat();

    UNTIL(heartbeat() > n + 1);
}

/* --- */

static void
test_life(void **state)
{
    struct hv_guest *g = started("");
    struct hv_stats stats;
    struct hv_exit x;
    struct err err;
    int fd = -1, fd2 = -1;
    char text[256];
    long n;

    (void)state;
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_true(g->ops->memory_bytes(g) >= 64 << 20);
    UNTIL(heartbeat() >= 2);

    assert_int_equal(g->ops->pause(g, &err), 0);
    assert_int_equal(now_of(g).state, HV_PAUSED);
    assert_int_equal(now_of(g).pause, HV_PAUSE_USER);
    n = heartbeat();
    assert_int_equal(g->ops->stats(g, &stats, &err), 0);
    assert_true(stats.has_cpu && stats.cpu_ns > 0 && stats.vcpus == 1);
    assert_true(stats.has_memory && stats.memory_bytes >= 64 << 20);
    assert_true(stats.memory_rss_bytes > 0);
    assert_int_equal(heartbeat(), n);
    assert_int_equal(g->ops->resume(g, &err), 0);
    UNTIL(heartbeat() > n);

    assert_int_equal(g->ops->console(g, &fd, &err), 0);
    assert_int_equal(g->ops->console(g, &fd2, &err), -EBUSY);
    assert_true(read(fd, text, sizeof text) > 0);
    close(fd);
    UNTIL(g->ops->console(g, &fd, &err) == 0); /* when QEMU has seen it */
    close(fd);

    n = heartbeat();
    assert_int_equal(g->ops->reset(g, &err), 0);
    UNTIL(now_of(g).resets == 1);
    UNTIL(heartbeat() < n); /* it counts from 0 again */
    assert_int_equal(now_of(g).state, HV_RUNNING);
    beats_on();

    assert_int_equal(g->ops->shut_down(g, &err), 0);
    UNTIL(now_of(g).state == HV_ENDED);
    g->ops->exit_reason(g, &x);
    assert_int_equal(x.kind, HV_EXIT_QUIT);
    removed(g);
}

/* With the CPU that a guest gets when its manifest asks for none, and with all of the host's. */
static void
test_kvm(void **state)
{
    static const char *const cpus[] = {"", ", cpu: {model: host-passthrough}"};

    (void)state;
    if (!kvm_caps_usable()) {
        print_message("skipped: /dev/kvm cannot be opened\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(cpus); i++) {
        struct hv_guest *g;

        accelerator = "kvm";
        g = started(cpus[i]);
        accelerator = "tcg";
        UNTIL(heartbeat() >= 2);
        removed(g);
    }
}

static void
test_libvirtd_restarts(void **state)
{
    static const int signals[] = {SIGTERM, SIGKILL};
    struct hv_guest *g = started("");
    pid_t qemu = lv_rig_qemu("ns_vm");
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        uint64_t begin = clock_mono_us();

        lv_rig_signal(signals[i]);
        UNTIL(now_of(g).state == HV_UNKNOWN);
        assert_int_equal(g->ops->pause(g, &err), -ENOTCONN);
        assert_int_equal(driver->ops->ready(driver, &err), -ENOTCONN);
        assert_true(clock_mono_us() - begin < HV_CALL_US);
        beats_on();
        lv_rig_libvirtd();
        UNTIL(now_of(g).state == HV_RUNNING);
        beats_on();
        assert_int_equal(lv_rig_qemu("ns_vm"), qemu);
    }
    removed(g);
}

/* Stopped in the midst of life: every call ends in time, and all is as before when it goes on. */
static void
test_libvirtd_hangs(void **state)
{
    struct hv_guest *g = started("");
    struct hv_refusal why;
    struct hv_guest *other;
    struct err err;
    uint64_t begin;

    (void)state;
    lv_rig_signal(SIGSTOP);
    begin = clock_mono_us();
    assert_int_equal(g->ops->pause(g, &err), -ENOTCONN);
    assert_true(clock_mono_us() - begin < HV_CALL_US);
    UNTIL(now_of(g).state == HV_UNKNOWN);
    begin = clock_mono_us();
    assert_int_equal(g->ops->resume(g, &err), -ENOTCONN);
    assert_int_equal(try_start("vm2", UID2, "", &other, &why, &err), -ENOTCONN);
    assert_int_equal(g->ops->remove(g, &err), -ENOTCONN);
    assert_true(clock_mono_us() - begin < 1000000);
    beats_on();
    lv_rig_signal(SIGCONT);
    UNTIL(now_of(g).state == HV_RUNNING || now_of(g).state == HV_PAUSED); /* it has read it */
    assert_int_equal(g->ops->resume(g, &err), 0);
    beats_on();
    removed(g);
}

static void
test_qemu_killed(void **state)
{
    struct hv_guest *g = started("");
    struct hv_exit x;
    struct err err;

    (void)state;
    assert_int_equal(kill(lv_rig_qemu("ns_vm"), SIGKILL), 0);
    UNTIL(now_of(g).state == HV_ENDED);
    g->ops->exit_reason(g, &x);
    assert_int_equal(x.kind, HV_EXIT_KILLED);
    assert_int_equal(g->ops->pause(g, &err), -ESRCH);
    removed(g);
}

/* The handler ends, and so does libvirtd meanwhile: the guest notices nothing, and is known again. */
static void
test_handler_restarts(void **state)
{
    struct hv_guest *g = started(""), **list;
    pid_t qemu = lv_rig_qemu("ns_vm");
    struct err err;
    size_t n;

    (void)state;
    g->ops->free(g);
    driver->ops->free(driver);
    lv_rig_signal(SIGTERM);
    lv_rig_libvirtd();
    connect_driver();
    assert_int_equal(driver->ops->find(driver, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    g = list[0];
    free(list);
    assert_string_equal(g->ops->name(g), "ns/vm");
    assert_int_equal(now_of(g).state, HV_RUNNING);
    assert_int_equal(lv_rig_qemu("ns_vm"), qemu);
    beats_on();
    removed(g);
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *domain, *reason, *text;
    } rows[] = {
        {"a machine that QEMU does not have", ", machine: {type: pc-q35-1.0}", "DomainRefused",
         "pc-q35-1.0"},
        {"a CPU model that libvirt does not know", ", cpu: {model: NoSuchCPU}", "CPUModelNotFound",
         "NoSuchCPU"},
        {"more CPUs of its own than there are", ", cpu: {cores: 64, dedicatedCpuPlacement: true}",
         "NotEnoughDedicatedCPUs", "64 dedicated CPUs wanted"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *dir = xasprintf("%s/s/guests/" UID, lv_rig_dir);
        struct hv_guest *g;
        struct hv_refusal why;
        struct err err;
        struct stat st;

        print_message("%s\n", rows[i].name);
        assert_true(try_start("vm", UID, rows[i].domain, &g, &why, &err) < 0);
        print_message("  %s: %s\n", why.reason, why.text);
        assert_string_equal(why.reason, rows[i].reason);
        assert_non_null(strstr(why.text, rows[i].text));
        assert_int_not_equal(stat(dir, &st), 0);
        assert_int_equal(lv_rig_qemu("ns_vm"), 0);
        assert_int_equal(driver->ops->open(driver, UID, &g, &err), -ENOENT);
    }
}

/* As many CPUs of their own as this host has besides its first, and not one more. */
static void
test_dedicated_cpus(void **state)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    struct hv_guest *g, *other;
    struct hv_refusal why;
    struct err err;
    struct arena *a;
    struct lv_domxml x;
    AUTO_FREE char *xml = NULL;
    virConnectPtr c;
    virDomainPtr d;

    (void)state;
    if (n < 2) {
        print_message("skipped: one CPU\n");
        skip();
    }
    accelerator = kvm_caps_usable() ? "kvm" : "tcg";
    g = started(", cpu: {dedicatedCpuPlacement: true}");
    assert_int_equal(lv_guest_domain((struct lv_guest *)g, &c, &d, &err), 0);
    xml = libvirt_api(NULL)->virDomainGetXMLDesc(d, 0);
    libvirt_api(NULL)->virDomainFree(d);
    libvirt_api(NULL)->virConnectClose(c);
    a = arena_new();
    assert_int_equal(lv_domxml_read(xml, &x, a, &err), 0);
    assert_false(lv_cpuset_has(&x.pinned, 0));
    arena_free(a);
    if (n == 2) {
        assert_true(lv_cpuset_has(&x.pinned, 1));
        assert_true(
            try_start("vm2", UID2, ", cpu: {dedicatedCpuPlacement: true}", &other, &why, &err) < 0);
        assert_string_equal(why.reason, "NotEnoughDedicatedCPUs");
    }
    accelerator = "tcg";
    removed(g);
}

static void
test_cpus(void **state)
{
    static const struct lv_cpu_where tcg = {"qemu", "x86_64", "q35"};
    struct hv_guest *g = started("");
    struct libvirt *lv = lv_guest_conn((struct lv_guest *)g);
    const struct libvirt_api *api = libvirt_api(NULL);
    AUTO_FREE char *xml = NULL, *cpu = NULL;
    struct hv_refusal why = {0};
    struct err err = {0};
    virConnectPtr c;
    virDomainPtr d;
    int rc;

    (void)state;
    assert_int_equal(lv_guest_domain((struct lv_guest *)g, &c, &d, &err), 0);
    xml = api->virDomainGetXMLDesc(d, 0);
    api->virDomainFree(d);
    api->virConnectClose(c);
    rc = lv_cpu_needed(lv, xml, &cpu, &err);
    assert_int_equal(rc, 0);
    print_message("  %s\n", cpu ? cpu : "(no CPU)");
    rc = lv_cpu_compare(lv, cpu, &tcg, &why, &err);
    print_message("  own: %d %s\n", rc, rc ? err_msg(&err) : "");
    assert_int_equal(rc, 0);
    rc = lv_cpu_compare(lv,
                        "<cpu mode='custom' match='exact'><model fallback='forbid'>Opteron_G5"
                        "</model><vendor>AMD</vendor></cpu>",
                        &tcg, &why, &err);
    print_message("  Opteron_G5: %d %s: %s\n", rc, why.reason, why.text);
    assert_int_equal(rc, -ENOTSUP);
    assert_string_equal(why.reason, "CPUIncompatible");
    removed(g);
}

static int
set_up(void **state)
{
    (void)state;
    loop = loop_event_new();
    lv_rig_libvirtd();
    connect_driver();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    driver->ops->free(driver);
    loop_free(loop);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dedicated_cpus), /* first: whether host-model starts is asked there */
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_kvm),
        cmocka_unit_test(test_libvirtd_restarts),
        cmocka_unit_test(test_libvirtd_hangs),
        cmocka_unit_test(test_qemu_killed),
        cmocka_unit_test(test_handler_restarts),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cpus),
    };

    lv_rig_enter();
    return cmocka_run_group_tests_name("libvirt host", tests, set_up, tear_down);
}
