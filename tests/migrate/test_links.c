/* Migrations over networks of their own: two hosts in network namespaces, cables between them. The
 * urgent channel is marked, also in the packets; sockets are reached and reach through their device
 * alone; the path's MTU is found; and what is cut off goes on where the network is next. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/bucket.h"
#include "migrate/xport.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_shape.h"
#include "tests/migrate/hosts.h"
#include "tests/migrate/pair.h"

#define MIB  (UINT64_C(1) << 20)
#define DSCP 46 /* expedited forwarding, RFC 3246 */

struct trip {
    struct hosts h;
    struct both t;
    char log[64][MIG_DECISION_TEXT];
    int log_len;
    _Atomic bool runs_there;
    int marked[2]; /* sockets of this process with the mark: all, and with the priority, too */
};

static void
keep(struct pair *p, const struct mig_decision *d)
{
    struct trip *t = p->user;

    if (t->log_len < 64)
        memcpy(t->log[t->log_len++], d->text, sizeof d->text);
}

static const char *
said(const struct trip *t, const char *what)
{
    for (int i = 0; i < t->log_len; i++)
        if (strstr(t->log[i], what))
            return t->log[i];
    return NULL;
}

/* The source is on host 0, the target on host 1, both bound to that network. */
static void
begin(struct trip *t, const struct fake_config *c, const char *ifname, unsigned net, bool v6)
{
    both_begin(&t->t, c);
    t->t.p.user = t;
    t->t.p.on_decided = keep;
    t->t.p.src.reconnect_us = t->t.p.dst.reconnect_us = 0;
    hosts_ip(net, v6, 0, t->t.p.src.local_ip);
    hosts_ip(net, v6, 1, t->t.p.dst.listen_ip);
    snprintf(t->t.p.src.bind_device, sizeof t->t.p.src.bind_device, "%s", ifname);
    snprintf(t->t.p.dst.bind_device, sizeof t->t.p.dst.bind_device, "%s", ifname);
}

static void
start(struct trip *t)
{
    hosts_enter(&t->h, 1);
    pair_listen(&t->t.p);
    hosts_enter(&t->h, 0);
    pair_dial(&t->t.p, NULL);
}

static void
check_moved(struct trip *t)
{
    pair_wait_source(&t->t.p);
    pair_wait_target(&t->t.p);
    if (t->t.p.src_outcome != MIG_MOVED)
        fail_msg("source: %s; target: %s", t->t.p.src_err.msg, t->t.p.dst_err.msg);
    assert_int_equal(t->t.p.dst_outcome, MIG_TARGET_RUNNING);
    assert_int_equal(fake_guest_wrong_pages(t->t.b), 0);
}

static void
wait_until(bool (*fn)(void *ctx), void *ctx)
{
    uint64_t end = clock_mono_us() + 30000000;

    while (!fn(ctx)) {
        if (clock_mono_us() > end)
            fail_msg("waited in vain");
        poll(NULL, 0, 1);
    }
}

/* --- marks --- */

/* While the connections are there. */
static void
look_at_sockets(struct pair *p)
{
    struct trip *t = p->user;
    DIR *d = opendir("/proc/self/fd");

    for (struct dirent *e; d && (e = readdir(d));) {
        int fd = atoi(e->d_name), domain, tos, priority;
        socklen_t len = sizeof domain;

        if (e->d_name[0] == '.' || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
            (domain != AF_INET && domain != AF_INET6))
            continue;
        len = sizeof tos;
        if (getsockopt(fd, domain == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                       domain == AF_INET ? IP_TOS : IPV6_TCLASS, &tos, &len) < 0 ||
            tos >> 2 != DSCP)
            continue;
        t->marked[0]++;
        len = sizeof priority;
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &len), 0);
        t->marked[1] += (uint32_t)priority == NL_SHAPE_URGENT;
    }
    if (d)
        closedir(d);
}

/* Receives marked packets only: the byte behind the version and the header's length, in IPv4; in
 * IPv6 the traffic class lies across the first two. */
static int
capture(const struct hosts *h, bool v6)
{
    struct sock_filter v4_code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfc),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DSCP << 2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 64),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_filter v6_code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x0fc0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DSCP << 6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 64),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog prog = {5, v6 ? v6_code : v4_code};
    struct sockaddr_ll sll = {.sll_family = AF_PACKET,
                              .sll_protocol = htons(ETH_P_ALL)}; /* else only what comes in */
    int fd, room = 4 << 20;

    hosts_enter(h, 0);
    fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    sll.sll_ifindex = (int)if_nametoindex("m0");
    assert_int_equal(bind(fd, (struct sockaddr *)&sll, sizeof sll), 0);
    return fd;
}

/* What the capture holds: packets that came in, and that went out. */
static void
count_packets(int fd, unsigned ret[2])
{
    struct sockaddr_ll sll;
    socklen_t len = sizeof sll;
    char buf[64];

    ret[0] = ret[1] = 0;
    while (recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&sll, &len) >= 0)
        ret[sll.sll_pkttype == PACKET_OUTGOING]++;
}

/* Effective capabilities of this thread, which those that it starts inherit. */
static void
net_capabilities(bool on)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint32_t bits = 1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW;

    assert_int_equal(syscall(SYS_capget, &head, data), 0);
    data[0].effective = on ? data[0].effective | bits : data[0].effective & ~bits;
    assert_int_equal(syscall(SYS_capset, &head, data), 0);
}

static char noted[MIG_DECISION_TEXT];

static void
on_noted(void *ctx, const char *text)
{
    (void)ctx;
    snprintf(noted, sizeof noted, "%s", text);
}

static const struct mark_row {
    const char *name;
    bool v6, marks, allowed;
} mark_rows[] = {
    {"the urgent channel is marked, IPv4", false, true, true},
    {"the urgent channel is marked, IPv6", true, true, true},
    {"without a wish nothing is marked", false, false, true},
    {"a priority that is not granted is a line of the log", false, true, false},
};

static void
test_mark(void **state)
{
    const struct mark_row *r = *state;
    const struct fake_config c = {{16 * MIB}, .seed = 71, .fill_pages = 4096, .set_pages = 2000};
    struct trip t = {.log_len = 0};
    unsigned packets[2];
    int fd;

    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, r->v6, 1500);
    begin(&t, &c, "m0", 1, r->v6);
    t.t.p.src.policy.allow_post_copy = t.t.p.src.policy.post_copy_at_once = true;
    if (r->marks) {
        t.t.p.src.urgent_priority = t.t.p.dst.urgent_priority = NL_SHAPE_URGENT;
        t.t.p.src.urgent_dscp = t.t.p.dst.urgent_dscp = DSCP;
    }
    t.t.p.on_commit = look_at_sockets;
    t.t.p.dst.noted = on_noted;
    noted[0] = '\0';
    fd = capture(&t.h, r->v6);
    hosts_enter(&t.h, 0);
    if (!r->allowed)
        net_capabilities(false);
    /* A thread's namespace is entered with CAP_SYS_ADMIN, which it keeps. */
    start(&t);
    net_capabilities(true);
    check_moved(&t);
    count_packets(fd, packets);
    print_message("# %d sockets marked, %d with the priority; %u packets in, %u out; %llu faults\n",
                  t.marked[0], t.marked[1], packets[0], packets[1],
                  (unsigned long long)t.t.p.dst_stats.faults);
    assert_int_equal(t.marked[0], r->marks ? 2 : 0);
    assert_int_equal(t.marked[1], r->marks && r->allowed ? 2 : 0);
    if (r->marks) {
        assert_true(packets[0] > 0 && packets[1] > 0);
        assert_true(packets[0] + packets[1] >= t.t.p.dst_stats.faults / 2);
    } else {
        assert_int_equal(packets[0] + packets[1], 0);
    }
    assert_int_equal(said(&t, "not marked as urgent") != NULL, !r->allowed);
    assert_int_equal(strstr(noted, "CAP_NET_ADMIN") != NULL, !r->allowed);
    close(fd);
    both_end(&t.t);
    hosts_free(&t.h);
}

/* On any socket; TCP's own ECN bits are the kernel's business anyway. */
static void
test_ecn_bits_stay(void **state)
{
    struct err err = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), tos = 1, priority = 0;
    socklen_t len = sizeof tos;

    (void)state;
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos), 0);
    assert_int_equal(xport_mark(fd, 6, DSCP, &err), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &len), 0);
    assert_int_equal(tos, DSCP << 2 | 1);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &len), 0);
    assert_int_equal(priority, 6);
    close(fd);
}

/* --- one way only --- */

static int
dial(const char *addr, const char *ip, const char *device)
{
    struct xport_dial d = {.addr = addr,
                           .local_ip = ip,
                           .device = device,
                           .timeout_us = 300000,
                           .user_timeout_us = 300000,
                           .cancel_fd = -1};
    struct err err = {0};
    uint64_t rtt;
    int fd, rc = xport_dial(&d, &fd, &rtt, &err);

    if (rc == 0)
        close(fd);
    return rc;
}

/* The target's address is one of host 1, whose other interface hears of it, too: the kernel takes a
 * packet for any of its addresses wherever it comes in (RFC 1122, 3.3.4.2, the weak model), unless the
 * socket is bound to its device. */
static void
test_reached_through_its_device_alone(void **state)
{
    struct hosts h;
    char ip[INET6_ADDRSTRLEN], addr[MIG_ADDR_SIZE];
    struct err err = {0};

    (void)state;
    hosts_make(&h);
    hosts_cable(&h, "m0", 1, false, 1500);
    hosts_cable(&h, "o0", 2, false, 1500);
    hosts_enter(&h, 0);
    assert_true(hosts_run(&h, 0, "ip route add 198.18.1.2/32 via 198.18.2.2 dev o0"));
    assert_true(hosts_run(&h, 1, "ip route add 198.18.1.1/32 via 198.18.2.1 dev o0"));
    for (int bound = 0; bound < 2; bound++) {
        int fd = -1, got;
        char device[IF_NAMESIZE] = "";
        socklen_t len = sizeof device;

        hosts_enter(&h, 1);
        assert_int_equal(
            xport_listen(hosts_ip(1, false, 1, ip), bound ? "m0" : "", &fd, addr, &err), 0);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
        assert_string_equal(device, bound ? "m0" : "");
        hosts_enter(&h, 0);
        got = dial(addr, hosts_ip(2, false, 0, ip), "o0");
        /* through the other interface: only where it is not bound */
        if (bound)
            assert_true(got == -ECONNREFUSED || got == -ETIMEDOUT);
        else
            assert_int_equal(got, 0);
        /* and through its own, whatever the routes say */
        assert_int_equal(dial(addr, hosts_ip(1, false, 0, ip), bound ? "m0" : "o0"),
                         bound ? 0 : got);
        close(fd);
    }
    hosts_free(&h);
}

/* A whole migration while both hosts' routes point elsewhere: not a packet of it goes there. */
static void
test_a_route_elsewhere_changes_nothing(void **state)
{
    const struct fake_config c = {
        {16 * MIB}, .seed = 72, .fill_pages = 4096, .set_pages = 400, .pages_per_s = 2000};
    struct nl_counters was, is, own;
    struct trip t = {.log_len = 0};

    (void)state;
    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, 1500);
    hosts_cable(&t.h, "o0", 2, true, 1500); /* no IPv4 of its own, and no ARP */
    for (int i = 0; i < 2; i++) {
        assert_true(hosts_run(&t.h, i, "ip route add 198.18.1.0/25 dev o0"));
        assert_true(hosts_run(&t.h, i, "ip route add default dev o0"));
    }
    begin(&t, &c, "m0", 1, false);
    hosts_counters(&t.h, 0, "o0", &was);
    start(&t);
    check_moved(&t);
    hosts_counters(&t.h, 0, "o0", &is);
    hosts_counters(&t.h, 0, "m0", &own);
    print_message("# elsewhere: %llu bytes; over its own interface: %llu\n",
                  (unsigned long long)(is.tx_bytes - was.tx_bytes),
                  (unsigned long long)own.tx_bytes);
    assert_true(own.tx_bytes > 16 * MIB);
    assert_true(is.tx_bytes - was.tx_bytes < 1000); /* IPv6's own neighbour discovery */
    both_end(&t.t);
    hosts_free(&t.h);
}

/* --- the path --- */

static const struct path_row {
    const char *name;
    uint32_t mtu, segment;
    bool v6;
} path_rows[] = {
    {"the path's MTU, 1500", 1500, 1448, false},
    {"the path's MTU, 9000", 9000, 8948, false},
    {"the path's MTU, 1500, IPv6", 1500, 1428, true},
};

static void
test_path(void **state)
{
    const struct path_row *r = *state;
    const struct fake_config c = {{MIB}, .seed = 73, .fill_pages = 256};
    struct trip t = {.log_len = 0};
    struct nl_counters n;
    uint64_t each;

    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, r->v6, r->mtu);
    begin(&t, &c, "m0", 1, r->v6);
    t.t.p.src.limits.bandwidth_bytes_per_s = MIB;
    t.t.p.src.policy.encoding = MIG_ENC_RAW;
    start(&t);
    check_moved(&t);
    hosts_counters(&t.h, 0, "m0", &n);
    each = n.tx_bytes / n.tx_packets;
    print_message("# %s; %llu packets of %llu bytes for 1 MiB at 1 MiB/s, waited %.0f ms\n",
                  said(&t, "takes packets of") ? said(&t, "takes packets of") : "nothing said",
                  (unsigned long long)n.tx_packets, (unsigned long long)each,
                  (double)t.t.p.src_stats.shaping_wait_us / 1000);
    assert_int_equal(t.t.p.src_stats.path_mtu_bytes, r->mtu);
    assert_int_equal(t.t.p.dst_stats.path_mtu_bytes, r->mtu);
    assert_int_equal(t.t.p.src_stats.segment_bytes, r->segment);
    assert_non_null(said(&t, "takes packets of"));
    assert_true(t.t.p.src_stats.shaping_wait_us > 500000);
    both_end(&t.t);
    hosts_free(&t.h);
}

/* What large frames bring, in one run: with the kernel's segmentation offload, as good hardware has it,
 * and without. */
static void
test_jumbo_frames(void **state)
{
    const struct fake_config c = {{384 * MIB}, .seed = 77, .fill_pages = 384 * MIB / FAKE_PAGE};
    uint64_t packets[2][2];

    (void)state;
    for (int offload = 0; offload < 2; offload++) {
        double rate[2], cpu[2];

        for (int jumbo = 0; jumbo < 2; jumbo++) {
            struct trip t = {.log_len = 0};
            const struct mig_stats *st = &t.t.p.src_stats;
            struct nl_counters n;

            hosts_make(&t.h);
            hosts_cable(&t.h, "m0", 1, false, jumbo ? 9000 : 1500);
            for (int i = 0; i < 2; i++)
                hosts_offload(&t.h, i, "m0", offload);
            begin(&t, &c, "m0", 1, false);
            t.t.p.src.policy.encoding = MIG_ENC_RAW;
            start(&t);
            check_moved(&t);
            hosts_counters(&t.h, 0, "m0", &n);
            packets[offload][jumbo] = n.tx_packets;
            rate[jumbo] = (double)st->sent_bytes / (double)(st->finished_us - st->started_us);
            cpu[jumbo] =
                (double)(st->cpu_us + t.t.p.dst_stats.cpu_us) * 1e3 / (double)st->sent_bytes;
            both_end(&t.t);
            hosts_free(&t.h);
        }
        print_message(
            "# offload %s: 1500: %.0f MB/s, %.2f CPU s/GB of both ends, %llu packets; 9000: "
            "%.0f MB/s, %.2f CPU s/GB, %llu packets: %.2f times the rate, %.2f the CPU\n",
            offload ? "on" : "off", rate[0], cpu[0], (unsigned long long)packets[offload][0],
            rate[1], cpu[1], (unsigned long long)packets[offload][1], rate[1] / rate[0],
            cpu[1] / cpu[0]);
    }
    /* a frame of 9000 bytes carries 6.18 times what one of 1500 does */
    assert_in_range(packets[0][0] * 100 / packets[0][1], 550, 640);
}

/* On the engine's thread, which has nothing to ask of the guest from there on. */
static void
on_running(void *ctx)
{
    struct pair *p = ctx;
    struct trip *t = p->user;

    t->runs_there = true;
}

static bool
runs_there(void *ctx)
{
    struct trip *t = ctx;

    return t->runs_there;
}

#define TOUCHES 1000

/* Faults while the guest reads pages, one after the other or at random, and the push is slow. */
static uint64_t
faults_of_touches(bool jumbo, bool random, double *ret_ms)
{
    const struct fake_config c = {{64 * MIB}, .seed = 78, .fill_pages = 64 * MIB / FAKE_PAGE};
    struct trip t = {.log_len = 0};
    uint64_t began, faults;

    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, jumbo ? 9000 : 1500);
    begin(&t, &c, "m0", 1, false);
    t.t.p.src.policy.allow_post_copy = t.t.p.src.policy.post_copy_at_once = true;
    t.t.p.src.limits.bandwidth_bytes_per_s = 8 * MIB;
    t.t.p.dst.running = on_running;
    start(&t);
    wait_until(runs_there, &t);
    began = clock_mono_us();
    for (uint64_t i = 0; i < TOUCHES; i++)
        assert_true(fake_guest_touch(t.t.b, 8192 + (random ? i * 2654435761u % 8192 : i)));
    *ret_ms = (double)(clock_mono_us() - began) / 1000;
    mig_source_set_bandwidth(t.t.p.source, 0);
    check_moved(&t);
    faults = t.t.p.dst_stats.faults;
    both_end(&t.t);
    hosts_free(&t.h);
    return faults;
}

/* What is asked for at once follows the path: two pages where a segment carries them. */
static void
test_requests_follow_the_path(void **state)
{
    double ms[2];
    uint64_t faults[2];

    (void)state;
    for (int random = 0; random < 2; random++) {
        for (int jumbo = 0; jumbo < 2; jumbo++)
            faults[jumbo] = faults_of_touches(jumbo, random, &ms[jumbo]);
        print_message("# %u pages %s: MTU 1500 %llu faults, %.0f ms; 9000 %llu faults, %.0f ms\n",
                      TOUCHES, random ? "at random" : "in order", (unsigned long long)faults[0],
                      ms[0], (unsigned long long)faults[1], ms[1]);
        if (!random)
            assert_true(faults[0] > TOUCHES * 9 / 10 && faults[1] < TOUCHES * 6 / 10);
    }
}

/* A link whose batches come seldom: the prediction knows its rate, and is said once. */
static void
test_slow_link(void **state)
{
    const struct fake_config c = {{8 * MIB}, .seed = 79, .fill_pages = 8 * MIB / FAKE_PAGE};
    struct trip t = {.log_len = 0};
    const struct mig_stats *st = &t.t.p.src_stats;
    double took_s, predicted_s;
    int predictions = 0;

    (void)state;
    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, 1500);
    assert_true(hosts_run(&t.h, 0, "tc qdisc add dev m0 root tbf rate 16mbit burst 64k limit 64k"));
    begin(&t, &c, "m0", 1, false);
    t.t.p.src.policy.encoding = MIG_ENC_RAW;
    start(&t);
    check_moved(&t);
    took_s = (double)(st->finished_us - st->started_us) / 1e6;
    predicted_s = (double)st->predicted_total_p50_us / 1e6;
    for (int i = 0; i < t.log_len; i++)
        predictions += strstr(t.log[i], "prediction at") != NULL;
    print_message("# %.1f s for 8 MiB at 2 MB/s, predicted at last %.1f s; %s\n", took_s,
                  predicted_s,
                  said(&t, "prediction at") ? said(&t, "prediction at") : said(&t, "start:"));
    assert_true(predictions <= 1); /* one, unless there was one at the start */
    assert_true(predicted_s > took_s / 2 && predicted_s < took_s * 2);
    both_end(&t.t);
    hosts_free(&t.h);
}

/* --- moving --- */

struct moved {
    struct trip *t;
    uint64_t bytes;
};

static bool
has_come_so_far(void *ctx)
{
    struct moved *m = ctx;
    struct mig_stats st;

    mig_target_stats(m->t->t.p.target, &st);
    return st.sent_bytes >= m->bytes;
}

static bool
source_is_cut_off(void *ctx)
{
    struct trip *t = ctx;
    struct mig_stats st;

    mig_source_stats(t->t.p.source, &st);
    return st.link == MIG_LINK_NONE;
}

static bool
target_is_cut_off(void *ctx)
{
    struct trip *t = ctx;
    struct mig_stats st;

    mig_target_stats(t->t.p.target, &st);
    return st.link == MIG_LINK_NONE;
}

/* The target's socket and the source's next connections, to that network. */
static void
move(struct trip *t, const char *ifname, unsigned net)
{
    char ip[INET6_ADDRSTRLEN];
    struct err err = {0};

    hosts_enter(&t->h, 1);
    if (mig_target_relisten(t->t.p.target, hosts_ip(net, false, 1, ip), ifname, false, "", &err) !=
        0)
        fail_msg("%s", err_msg(&err));
    hosts_enter(&t->h, 0);
    mig_source_rebind(t->t.p.source, hosts_ip(net, false, 0, ip), ifname, false, "it changed");
    mig_source_redirect(t->t.p.source, mig_target_address(t->t.p.target), NULL);
}

static const struct move_row {
    const char *name;
    bool post_copy, same_name;
} move_rows[] = {
    {"a pre-copy that is cut off moves to another network", false, false},
    {"a post-copy that is cut off moves to another network", true, false},
    {"a pre-copy follows an interface that was made anew", false, true},
};

static void
test_move(void **state)
{
    const struct move_row *r = *state;
    const struct fake_config c = {
        {32 * MIB}, .seed = 74, .fill_pages = 8192, .set_pages = 400, .pages_per_s = 1000};
    struct trip t = {.log_len = 0};
    struct moved m = {&t, 8 * MIB};
    struct nl_counters n;
    const char *next = r->same_name ? "m0" : "m1";

    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, 1500);
    begin(&t, &c, "m0", 1, false);
    t.t.p.src.dead_peer_us = t.t.p.dst.dead_peer_us = 500000;
    t.t.p.src.limits.bandwidth_bytes_per_s = 24 * MIB;
    t.t.p.src.policy.allow_post_copy = t.t.p.src.policy.post_copy_at_once = r->post_copy;
    start(&t);
    wait_until(has_come_so_far, &m);
    hosts_cut(&t.h, "m0");
    wait_until(source_is_cut_off, &t);
    wait_until(target_is_cut_off, &t);
    hosts_cable(&t.h, next, r->same_name ? 1 : 3, false, 1500);
    move(&t, next, r->same_name ? 1 : 3);
    check_moved(&t);
    hosts_counters(&t.h, 0, next, &n);
    print_message("# %s\n", said(&t, "made again"));
    assert_true(n.tx_bytes > 8 * MIB);
    assert_int_equal(t.t.p.src_stats.reconnects, 1);
    assert_int_equal(t.t.p.dst_stats.reconnects, 1);
    assert_non_null(said(&t, r->post_copy ? "dialled until it answers" : "the guest runs on here"));
    both_end(&t.t);
    hosts_free(&t.h);
}

/* A connection that is there goes on, whatever was said of the next one. */
static void
test_a_live_connection_stays(void **state)
{
    const struct fake_config c = {{16 * MIB}, .seed = 75, .fill_pages = 4096};
    struct trip t = {.log_len = 0};
    struct moved m = {&t, 4 * MIB};

    (void)state;
    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, 1500);
    hosts_cable(&t.h, "m1", 3, false, 1500);
    begin(&t, &c, "m0", 1, false);
    t.t.p.src.limits.bandwidth_bytes_per_s = 24 * MIB;
    start(&t);
    wait_until(has_come_so_far, &m);
    move(&t, "m1", 3);
    check_moved(&t);
    assert_int_equal(t.t.p.src_stats.reconnects, 0);
    both_end(&t.t);
    hosts_free(&t.h);
}

/* Nowhere to go: the guest runs on here, and the reason names the network. */
static void
test_cannot_move(void **state)
{
    const struct fake_config c = {
        {32 * MIB}, .seed = 76, .fill_pages = 8192, .set_pages = 400, .pages_per_s = 1000};
    struct trip t = {.log_len = 0};
    struct moved m = {&t, 8 * MIB};

    (void)state;
    hosts_make(&t.h);
    hosts_cable(&t.h, "m0", 1, false, 1500);
    begin(&t, &c, "m0", 1, false);
    t.t.p.src.dead_peer_us = t.t.p.dst.dead_peer_us = 500000;
    t.t.p.src.reconnect_us = t.t.p.dst.reconnect_us = 1000000;
    t.t.p.src.limits.bandwidth_bytes_per_s = 24 * MIB;
    start(&t);
    wait_until(has_come_so_far, &m);
    hosts_cut(&t.h, "m0");
    mig_source_rebind(t.t.p.source, NULL, NULL, false,
                      "NetworkAttachmentDefinition ns/mig is gone");
    pair_wait_source(&t.t.p);
    pair_wait_target(&t.t.p);
    print_message("# %s\n", t.t.p.src_err.msg);
    assert_int_equal(t.t.p.src_outcome, MIG_FAILED);
    assert_int_equal(t.t.p.cause, MIG_CAUSE_PEER);
    assert_non_null(strstr(t.t.p.src_err.msg,
                           "the migration network: NetworkAttachmentDefinition ns/mig is gone"));
    assert_int_equal(t.t.p.dst_outcome, MIG_TARGET_FAILED);
    assert_true(fake_guest_running(t.t.a));
    assert_int_equal(fake_guest_wrong_pages(t.t.a), 0);
    both_end(&t.t);
    hosts_free(&t.h);
}

static const char *missing;

static void
skip_all(void **state)
{
    (void)state;
    print_message("# SKIP %s\n", missing);
    skip();
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_ecn_bits_stay),
        cmocka_unit_test(test_slow_link),
        cmocka_unit_test(test_jumbo_frames),
        cmocka_unit_test(test_requests_follow_the_path),
        cmocka_unit_test(test_reached_through_its_device_alone),
        cmocka_unit_test(test_a_route_elsewhere_changes_nothing),
        cmocka_unit_test(test_a_live_connection_stays),
        cmocka_unit_test(test_cannot_move),
    };
    struct CMUnitTest tests[20] = {0};
    size_t n = 0;

#define ROWS(rows, fn)                                       \
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)             \
    tests[n++] = (struct CMUnitTest){.name = (rows)[i].name, \
                                     .test_func = (fn),      \
                                     .initial_state = (void *)(uintptr_t) & (rows)[i]}
    ROWS(mark_rows, test_mark);
    ROWS(path_rows, test_path);
    ROWS(move_rows, test_move);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    pair_skip_unless_supported(tests, n);
    for (size_t i = 0; !hosts_permitted(&missing) && i < n; i++)
        tests[i].test_func = skip_all;
    return _cmocka_run_group_tests("links", tests, n, NULL, NULL);
}
