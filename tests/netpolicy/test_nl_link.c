/* Interfaces, addresses and named namespaces against the real kernel, in fresh namespaces that the
 * test makes: a switch with a bridge and two hosts with a macvlan each, as `drover dev` builds
 * them. Needs root; without it every test says so and is passed over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netpolicy/nl_link.h"

enum { SWITCH, HOST1, HOST2, SPACES };

static char names[SPACES][64];
static int fds[SPACES] = {-1, -1, -1};

static bool
permitted(void)
{
    return geteuid() == 0;
}

#define NEEDS_ROOT()                       \
    do {                                   \
        if (!permitted()) {                \
            print_message("needs root\n"); \
            skip();                        \
        }                                  \
    } while (0)

/* Runs fn in a namespace; what it asserts reaches the test as an error (cmocka's jump must not
 * leave the thread). */
static void
inside(int space, int (*fn)(void *ctx, struct err *err), void *ctx)
{
    struct err err = {0};
    int rc = netns_call(fds[space], fn, ctx, &err);

    if (rc != 0)
        fail_msg("in %s: %d %s", names[space], rc, err_msg(&err));
}

#define TRY(call)            \
    do {                     \
        int try_rc = (call); \
        if (try_rc != 0)     \
            return try_rc;   \
    } while (0)
#define WANT(code, call)                                                            \
    do {                                                                            \
        int want_rc = (call);                                                       \
        if (want_rc != (code))                                                      \
            return err_set(err, -EBADE, "%s: %d, want %d", #call, want_rc, (code)); \
    } while (0)

static int
cut_up(void **state)
{
    (void)state;
    for (int i = 0; i < SPACES; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
            netns_del(names[i], NULL);
        }
        fds[i] = -1;
    }
    return 0;
}

static int
set_up(void **state)
{
    struct err err = {0};

    (void)state;
    if (!permitted())
        return 0;
    for (int i = 0; i < SPACES; i++) {
        snprintf(names[i], sizeof names[i], "drover-test-%d-%d", (int)getpid(), i);
        if (netns_add(names[i], &err) != 0 || (fds[i] = netns_open(names[i], &err)) < 0) {
            print_error("%s\n", err.msg);
            cut_up(state);
            return -1;
        }
    }
    return 0;
}

/* --- namespaces --- */

static ino_t
own_netns(void)
{
    struct stat st;

    return stat("/proc/thread-self/ns/net", &st) == 0 ? st.st_ino : 0;
}

static int
loopback_is_up(void *ctx, struct err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)ctx;
    a.sin_port = htons(9);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        return err_set(err, -errno, "loopback: %s", strerror(errno));
    return 0;
}

static void
test_netns(void **state)
{
    struct err err = {0};
    struct stat st;
    char path[128];
    ino_t before = own_netns();

    (void)state;
    NEEDS_ROOT();
    assert_int_equal(own_netns(), before); /* set_up did not move this thread */
    assert_int_equal(fstat(fds[HOST1], &st), 0);
    assert_true(st.st_ino != before);
    inside(HOST1, loopback_is_up, NULL);
    assert_int_equal(own_netns(), before);
    assert_false(netns_has_process(fds[HOST1], getpid()));

    assert_int_equal(netns_add(names[HOST1], &err), -EEXIST);
    assert_non_null(strstr(err.msg, names[HOST1]));
    inside(HOST1, loopback_is_up, NULL); /* and the one that is there was not touched */

    snprintf(path, sizeof path, "/run/netns/%s", names[HOST1]);
    assert_int_equal(access(path, F_OK), 0);
}

static void
test_netns_refused(void **state)
{
    static const char *const bad[] = {"", "a/b", "..", ".hidden", "../../etc/passwd"};
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(netns_add(bad[i], &err), -EINVAL);
        assert_int_equal(netns_del(bad[i], NULL), -EINVAL);
        assert_int_equal(netns_open(bad[i], NULL), -EINVAL);
    }
    assert_int_equal(netns_open("drover-test-none", &err), -ENOENT);
    assert_int_equal(netns_del("drover-test-none", &err), -ENOENT);
    assert_int_equal(netns_enter(0, &err), -EINVAL);
}

/* What a netns_add leaves that was killed half-way: a file without a mount. */
static void
test_netns_half_made(void **state)
{
    char name[64], path[128];

    (void)state;
    NEEDS_ROOT();
    snprintf(name, sizeof name, "drover-test-%d-half", (int)getpid());
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int fd = open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(netns_del(name, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* --- links: refused --- */

static int
refuse_links(void *ctx, struct err *err)
{
    struct nl_counters n;
    struct ip ip;

    (void)ctx;
    ip_parse("10.200.5.1", &ip, NULL);
    TRY(nl_bridge_add("br0", err));
    WANT(-EEXIST, nl_bridge_add("br0", err));
    WANT(-EINVAL, nl_bridge_add("", err));
    WANT(-EINVAL, nl_bridge_add("sixteen-bytes-xx", err));
    WANT(-EINVAL, nl_veth_add("v0", "", -1, err));
    WANT(-EEXIST, nl_veth_add("br0", "v1", -1, err));
    WANT(-ENOENT, nl_macvlan_add("m0", "eth9", "bridge", err));
    if (!strstr(err->msg, "eth9"))
        return err_set(err, -EBADE, "the error does not name eth9: %s", err->msg);
    WANT(-EINVAL, nl_macvlan_add("m0", "br0", "router", err));
    WANT(-ENOENT, nl_link_set_master("eth9", "br0", err));
    WANT(-ENOENT, nl_link_set_master("lo", "br9", err));
    WANT(-ENOENT, nl_link_up("eth9", err));
    WANT(-ENOENT, nl_link_set_mtu("eth9", 1500, err));
    WANT(-ENOENT, nl_link_del("eth9", err));
    WANT(-ENOENT, nl_link_counters("eth9", &n, err));
    WANT(-EINVAL, nl_addr_add("br0", &ip, 33, err));
    WANT(-ENOENT, nl_addr_add("eth9", &ip, 24, err));
    TRY(nl_addr_add("br0", &ip, 24, err));
    WANT(-EEXIST, nl_addr_add("br0", &ip, 24, err));
    TRY(nl_link_del("br0", err));
    WANT(-ENOENT, nl_link_del("br0", err));
    return 0;
}

static void
test_refused(void **state)
{
    (void)state;
    NEEDS_ROOT();
    inside(SWITCH, refuse_links, NULL);
}

/* --- a migration network, as `drover dev` makes it --- */

static int
make_switch(void *ctx, struct err *err)
{
    (void)ctx;
    TRY(nl_bridge_add("br-mig", err));
    TRY(nl_link_up("br-mig", err));
    for (int i = HOST1; i <= HOST2; i++) {
        char port[16];

        snprintf(port, sizeof port, "mig-%d", i);
        TRY(nl_veth_add(port, "eth1", fds[i], err));
        TRY(nl_link_set_master(port, "br-mig", err));
        TRY(nl_link_up(port, err));
    }
    return 0;
}

static int
make_host(void *ctx, struct err *err)
{
    const char *text = ctx;
    struct ip ip;

    ip_parse(text, &ip, NULL);
    TRY(nl_link_up("eth1", err));
    TRY(nl_macvlan_add("migration0", "eth1", "bridge", err));
    TRY(nl_link_set_mtu("migration0", 1400, err));
    TRY(nl_addr_add("migration0", &ip, 24, err));
    return nl_link_up("migration0", err);
}

static struct nad_config
migration_range(const char *range)
{
    struct nad_config c = {.name = "migration-bridge", .type = "macvlan", .has_range = true};

    assert_int_equal(cidr_parse(range, &c.range, NULL), 0);
    return c;
}

struct find {
    struct nad_config config;
    struct nl_addr_found found;
    int rc;
    struct err err;
};

static int
find_address(void *ctx, struct err *err)
{
    struct find *f = ctx;

    (void)err;
    f->rc = nl_find_migration_address(&f->config, &f->found, &f->err);
    return 0;
}

static int
add_others(void *ctx, struct err *err)
{
    struct nl_addr_found all[NL_MAX_ADDRS];
    struct ip v4, v6;
    int n;

    (void)ctx;
    ip_parse("198.18.0.11", &v4, NULL);
    ip_parse("fd00:5::1", &v6, NULL);
    TRY(nl_bridge_add("a-mgmt", err));
    TRY(nl_addr_add("a-mgmt", &v4, 24, err));
    TRY(nl_addr_add("migration0", &v6, 64, err));
    n = nl_addresses(all, NL_MAX_ADDRS, err);
    if (n != 3 || strcmp(all[0].ifname, "a-mgmt") != 0 || all[0].link_up || all[0].prefix != 24 ||
        strcmp(all[1].ifname, "migration0") != 0 || !all[1].v4 || all[1].mtu != 1400 || all[2].v4)
        return err_set(err, -EBADE, "%d addresses; first on %s", n, n > 0 ? all[0].ifname : "none");
    WANT(1, nl_addresses(all, 1, err));
    WANT(0, nl_addresses(all, 0, err));
    return 0;
}

static int
take_down(void *ctx, struct err *err)
{
    (void)ctx;
    return nl_link_down("migration0", err);
}

struct datagram {
    int receiver; /* bound in HOST2 */
    struct nl_counters before, after;
};

static int
open_receiver(void *ctx, struct err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777)};
    struct datagram *d = ctx;

    inet_pton(AF_INET, "10.200.5.2", &a.sin_addr);
    d->receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(d->receiver, (struct sockaddr *)&a, sizeof a) != 0)
        return err_set(err, -errno, "bind: %s", strerror(errno));
    return nl_link_counters("eth1", &d->before, err);
}

static int
send_one(void *ctx, struct err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777)};
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char data[1000] = "memory";

    (void)ctx;
    inet_pton(AF_INET, "10.200.5.2", &a.sin_addr);
    if (sendto(fd, data, sizeof data, 0, (struct sockaddr *)&a, sizeof a) != (ssize_t)sizeof data)
        return err_set(err, -errno, "sendto: %s", strerror(errno));
    return 0;
}

static int
count_again(void *ctx, struct err *err)
{
    struct datagram *d = ctx;

    return nl_link_counters("eth1", &d->after, err);
}

static void
test_migration_network(void **state)
{
    char first[] = "10.200.5.1", second[] = "10.200.5.2";
    struct find f = {.config = migration_range("10.200.5.0/24")};
    struct datagram d = {.receiver = -1};
    char text[IP_TEXT_SIZE];

    (void)state;
    NEEDS_ROOT();
    inside(SWITCH, make_switch, NULL);

    /* before the address is there: a sentence, no fallback */
    inside(HOST1, find_address, &f);
    assert_int_equal(f.rc, -ENOENT);
    assert_non_null(strstr(f.err.msg, "migration-bridge"));
    assert_non_null(strstr(f.err.msg, "10.200.5.0/24"));

    inside(HOST1, make_host, first);
    inside(HOST2, make_host, second);
    inside(HOST1, add_others, NULL);
    inside(HOST1, find_address, &f);
    assert_int_equal(f.rc, 0);
    ip_format(&f.found.ip, text, sizeof text);
    assert_string_equal(text, "10.200.5.1");
    assert_string_equal(f.found.ifname, "migration0");
    assert_int_equal(f.found.prefix, 24);
    assert_int_equal(f.found.mtu, 1400);
    assert_true(f.found.link_up);

    inside(HOST2, open_receiver, &d);
    inside(HOST1, send_one, NULL);
    struct pollfd p = {.fd = d.receiver, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    close(d.receiver);
    inside(HOST2, count_again, &d);
    assert_true(d.after.rx_bytes >= d.before.rx_bytes + 1000);
    assert_true(d.after.rx_packets > d.before.rx_packets);

    /* another range is not ours */
    f.config = migration_range("10.200.6.0/24");
    inside(HOST1, find_address, &f);
    assert_int_equal(f.rc, -ENOENT);

    /* a link that is down is found and said to be down */
    f.config = migration_range("10.200.5.0/24");
    inside(HOST1, take_down, NULL);
    inside(HOST1, find_address, &f);
    assert_int_equal(f.rc, 0);
    assert_false(f.found.link_up);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_netns, set_up, cut_up),
        cmocka_unit_test_setup_teardown(test_netns_refused, set_up, cut_up),
        cmocka_unit_test(test_netns_half_made),
        cmocka_unit_test_setup_teardown(test_refused, set_up, cut_up),
        cmocka_unit_test_setup_teardown(test_migration_network, set_up, cut_up),
    };

    return cmocka_run_group_tests_name("nl_link", tests, NULL, NULL);
}
