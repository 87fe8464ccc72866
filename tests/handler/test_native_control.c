/* handler/native_* and handler/guest_control: what comes in on a guest's control socket, right,
 * wrong, too early or from nobody; and moving a guest to another process, its memory copied by
 * hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sb.h"
#include "handler/guest_main.h"
#include "handler/guest_memory.h"
#include "handler/guest_wire.h"
#include "tests/handler/native_rig.h"

#define MIB NATIVE_RIG_MIB

/* --- the control socket --- */

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
    struct native_guest *g = native_rig_start("idle");
    AUTO_FREE char *path = xasprintf("%s/control", native_dir(g));
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(native_dir(g), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    native_rig_finish(g);
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
    struct native_guest *g = native_rig_start("mix");

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
        assert_int_equal(poll(&p, 1, NATIVE_RIG_PATIENCE_S * 1000), 1);
        if (rows[i].error == 0) {
            if (recv(fd, msg, sizeof(msg), 0) > 0)
                fail_msg("%s: answered", rows[i].name);
        } else {
            assert_true(recv(fd, msg, sizeof(msg), 0) >= (ssize_t)sizeof(h));
            memcpy(&h, msg, sizeof(h));
            if (h.error != rows[i].error)
                fail_msg("%s: %d", rows[i].name, h.error);
        }
        assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING);
    }
    native_rig_verify(g);
    native_rig_finish(g);
}

/* Clients that say nothing, never read, or die in the middle: others are served, the guest runs. */
static void
test_bad_clients(void **state)
{
    struct native_guest *g = native_rig_start("hotcold");
    const struct guest_wire_request ask = request(GUEST_WIRE_STATUS);
    const struct guest_wire_request quiet = request(GUEST_WIRE_VERIFY);
    struct native_status st;
    int silent[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
        silent[i] = dial(g);
        assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING);
    }
    /* asks on and on and reads nothing: it is cut off, not waited for */
    for (int i = 0; i < 100000; i++)
        if (send(silent[39], &ask, sizeof(ask), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
            break;
    assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING);
    for (int i = 0; i < 10; i++) { /* asks for a verify and is gone */
        AUTO_FD int fd = dial(g);

        assert_int_equal(send(fd, &quiet, sizeof(quiet), MSG_NOSIGNAL), sizeof(quiet));
    }
    NATIVE_RIG_UNTIL(g, st, !st.verifying);
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        close(silent[i]);
    native_rig_verify(g);
    native_rig_finish(g);
}

static void *
verify_thread(void *arg)
{
    struct native_verify v;

    return (void *)(intptr_t)native_verify(arg, 0, &v, NULL);
}

/* A long verify does not keep others waiting: status and pause are answered, a second verify is
 * refused, resume and quit cut it short. */
static void
test_during_verify(void **state)
{
    struct native_config cfg = native_rig_config("long", "mix");
    bool cut = false, quit = false;

    (void)state;
    cfg.memory_bytes = 256 * MIB;
    cfg.set_bytes = 0;
    cfg.fill_bytes = 192 * MIB;
    for (int tries = 0; tries < 10 && !(cut && quit); tries++) {
        struct native_guest *g = native_rig_spawn(&cfg);
        struct native_status st;
        struct native_verify v;
        pthread_t t;
        void *r;

        assert_int_equal(pthread_create(&t, NULL, verify_thread, g), 0);
        NATIVE_RIG_UNTIL(g, st, st.verifying || st.last_gap_us > 0);
        native_rig_pause(g);
        if (native_rig_status(g).verifying && !cut) {
            int second = native_verify(g, 0, &v, NULL);

            assert_true(second == -EBUSY || second == 0);
            native_rig_resume(g);
            assert_int_equal(native_rig_status(g).state, NATIVE_RUNNING);
            pthread_join(t, &r);
            cut = (intptr_t)r == -ECANCELED;
        } else {
            assert_int_equal(native_quit(g, NULL), 0);
            pthread_join(t, &r);
            quit = (intptr_t)r < 0;
        }
        native_rig_finish(g);
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
    struct native_guest *g = native_rig_start("idle");
    struct guest port = native_guest(g);
    int fd = -1;

    (void)state;
    for (int i = 0; i < 50; i++) {
        native_rig_verify(g);
        native_rig_region(g);
        native_rig_pause(g);
        native_rig_resume(g);
        assert_int_equal(port.ops->userfaultfd(port.impl, &fd, NULL), 0);
        close(fd);
    }
    assert_int_equal(open_fds(), before + 2); /* pidfd and memfd */
    native_rig_finish(g);
    assert_int_equal(open_fds(), before);
}

/* --- moving one --- */

/* The present pages of a paused guest, into one that is waiting. */
static void
copy_memory(struct native_guest *from, struct native_guest *to)
{
    struct guest_region a = native_rig_region(from), b = native_rig_region(to);
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

    native_rig_pause(from);
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
        struct native_guest *from = native_rig_start(*w), *to = native_rig_start_incoming(), *third;
        struct native_status a, b;

        NATIVE_RIG_UNTIL(from, a, a.steps > 300);
        move(from, to);
        a = native_rig_status(from);
        b = native_rig_status(to);
        assert_int_equal(b.state, NATIVE_PAUSED);
        assert_int_equal(b.steps, a.steps);
        assert_int_equal(b.written_bytes, a.written_bytes);
        assert_string_equal(b.workload, *w);
        assert_int_equal(b.rate_bytes_per_s, 32 * MIB);
        assert_int_equal(b.resumes, 0);
        assert_false(b.downtime_known);
        native_rig_verify(to);
        assert_int_equal(native_rig_present_bytes(to), native_rig_present_bytes(from));
        native_rig_resume(to);
        NATIVE_RIG_UNTIL(to, b, b.steps > a.steps + 100 && b.downtime_known);
        assert_true(b.downtime_us > 0);
        assert_int_equal(b.resumes, 1);
        native_rig_verify(to);
        /* and on, with what it did there */
        third = native_rig_start_incoming();
        move(to, third);
        native_rig_resume(third);
        NATIVE_RIG_UNTIL(third, a, a.steps > b.steps + 100 && a.downtime_known);
        native_rig_verify(third);
        assert_int_equal(native_rig_status(third).read_mismatches, 0);
        /* the first is as it was left, and could go on */
        native_rig_verify(from);
        native_rig_resume(from);
        native_rig_verify(from);
        native_rig_finish(from);
        native_rig_finish(to);
        native_rig_finish(third);
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
        struct native_guest *from = native_rig_start("mix"), *to = native_rig_start_incoming();
        struct native_verify v;
        struct native_status st;

        NATIVE_RIG_UNTIL(from, st, st.steps > 100);
        move(from, to);
        native_rig_region(to).map[rows[i].at] ^= 0x40;
        assert_int_equal(native_verify(to, 0, &v, NULL), 0);
        assert_false(v.ok);
        assert_int_equal(v.bad_pages, 1);
        if (!strstr(v.text, rows[i].want))
            fail_msg("%s: '%s'", rows[i].name, v.text);
        native_rig_region(to).map[rows[i].at] ^= 0x40;
        native_rig_verify(to);
        native_rig_verify(from);
        native_rig_finish(from);
        native_rig_finish(to);
    }
}

/* Requests at the wrong time are refused and change nothing. */
static void
test_wrong_time(void **state)
{
    struct native_guest *run = native_rig_start("zipf"), *in = native_rig_start_incoming();
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
    native_rig_pause(run);
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
    assert_int_equal(native_rig_status(in).state, NATIVE_INCOMING);
    copy_memory(run, in);
    assert_int_equal(i.ops->load_state(i.impl, st, len, &err), 0);
    assert_int_equal(i.ops->load_state(i.impl, st, len, &err), -EBUSY);
    native_rig_verify(in);
    native_rig_finish(run);
    native_rig_finish(in);
}

/* The descriptor is of the guest's process: registering its memory through it works, and again
 * after the guest made another. */
static void
test_userfaultfd(void **state)
{
    struct native_guest *g = native_rig_start("hotcold");
    struct guest port = native_guest(g);
    struct guest_region mem = native_rig_region(g);
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
        /* i 0: ours is closed first, the guest's own stays until it makes another; 1: both are
         * closed */
        if (i == 1)
            assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
        if (i == 2)
            assert_int_equal(ioctl(fd, UFFDIO_UNREGISTER, &reg.range), 0);
    }
    assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
    assert_int_equal(port.ops->userfaultfd_close(port.impl, &err), 0);
    native_rig_verify(g);
    native_rig_finish(g);
}

/* A vCPU that waits for a page stands in nobody's way: others are answered, the pause comes when
 * the page does. */
static void
test_pause_in_fault(void **state)
{
    struct native_config cfg = native_rig_config("fault", "sequential");
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
    g = native_rig_spawn(&cfg);
    port = native_guest(g);
    mem = native_rig_region(g);
    assert_int_equal(port.ops->userfaultfd(port.impl, &uffd, NULL), 0);
    assert_int_equal(ioctl(uffd, UFFDIO_API, &api), 0);
    reg = (struct uffdio_register){.range = {.start = mem.hva, .len = mem.size},
                                   .mode = UFFDIO_REGISTER_MODE_MISSING};
    assert_int_equal(ioctl(uffd, UFFDIO_REGISTER, &reg), 0);
    assert_int_equal(native_set_rate(g, MIB, NULL), 0);
    p = (struct pollfd){.fd = uffd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, NATIVE_RIG_PATIENCE_S * 1000), 1);
    assert_int_equal(read(uffd, &msg, sizeof(msg)), sizeof(msg));
    assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
    fd = dial(g);
    assert_int_equal(send(fd, &ask, sizeof(ask), MSG_NOSIGNAL), sizeof(ask));
    NATIVE_RIG_UNTIL(g, st, st.pausing);
    assert_int_equal(st.state, NATIVE_RUNNING);
    zero = (struct uffdio_zeropage){
        .range = {.start = msg.arg.pagefault.address & ~4095ull, .len = 4096}};
    assert_int_equal(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
    assert_int_equal(recv(fd, &h, sizeof(h), 0), sizeof(h));
    assert_int_equal(h.error, 0);
    assert_int_equal(native_rig_status(g).state, NATIVE_PAUSED);
    assert_int_equal(native_rig_status(g).steps, 1);
    assert_int_equal(ioctl(uffd, UFFDIO_UNREGISTER, &reg.range), 0);
    native_rig_verify(g);
    native_rig_finish(g);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socket_mode),  cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_bad_clients),  cmocka_unit_test(test_during_verify),
        cmocka_unit_test(test_no_leak),      cmocka_unit_test(test_move),
        cmocka_unit_test(test_move_damaged), cmocka_unit_test(test_wrong_time),
        cmocka_unit_test(test_userfaultfd),  cmocka_unit_test(test_pause_in_fault),
    };

    if (argc > 1)
        return guest_main(argc, argv);
    return cmocka_run_group_tests_name("native_control", tests, native_rig_setup,
                                       native_rig_teardown);
}
