/* See capture.h. One packet socket an interface, opened in the node's namespace (where it stays), read by a
 * thread of the test. */
#include "tests/system/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <linux/ip.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_INTERFACES 16
#define ROOM_BYTES     (8 << 20)

struct capture {
    int fds[MAX_INTERFACES];
    char names[MAX_INTERFACES][IF_NAMESIZE];
    nfds_t len;
    struct in_addr nodes[MAX_INTERFACES];
    size_t nodes_len;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t mu;
    struct capture_sum sum; /* guarded by mu */
};

static int open_all(void *ctx, struct err *err);
static void *run(void *ctx);
static void read_all(struct capture *c, size_t i);
static bool is_stray(const struct capture *c, const unsigned char *p, size_t len, char *ret,
                     size_t size);

struct capture *
capture_new(struct sys *s, const char *node)
{
    struct capture *c = xcalloc(1, sizeof *c);
    struct err err = {0};

    for (size_t i = 0; i < s->c->nodes_len && i < MAX_INTERFACES; i++)
        inet_pton(AF_INET, s->c->nodes[i].mgmt_ip, &c->nodes[c->nodes_len++]);
    pthread_mutex_init(&c->mu, NULL);
    if (dev_node_call(s->c, node, open_all, c, &err) == -EAFNOSUPPORT) {
        printf("needs packet sockets (CONFIG_PACKET)\n");
        exit(SKIP_CODE);
    }
    if (err.code)
        sys_die(s, "capture on %s: %s", node, err_msg(&err));
    if (pthread_create(&c->thread, NULL, run, c) != 0)
        sys_die(s, "capture on %s: no thread", node);
    return c;
}

static int
open_all(void *ctx, struct err *err)
{
    struct if_nameindex *all = if_nameindex();
    struct capture *c = ctx;
    int room = ROOM_BYTES;

    for (size_t i = 0; all && all[i].if_index && c->len < MAX_INTERFACES; i++) {
        struct sockaddr_ll sa = {.sll_family = AF_PACKET,
                                 .sll_protocol = htons(ETH_P_ALL),
                                 .sll_ifindex = (int)all[i].if_index};
        int fd;

        if (strcmp(all[i].if_name, "migration0") == 0 || strcmp(all[i].if_name, "eth1") == 0)
            continue;
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
            int rc = err_set(err, -errno, "%s: %s", all[i].if_name, strerror(errno));

            if_freenameindex(all);
            return rc;
        }
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        c->fds[c->len] = fd;
        snprintf(c->names[c->len++], IF_NAMESIZE, "%s", all[i].if_name);
    }
    if_freenameindex(all);
    return c->len ? 0 : err_set(err, -ENODEV, "no interface to look at");
}

static void *
run(void *ctx)
{
    struct capture *c = ctx;

    while (!atomic_load(&c->stop)) {
        struct pollfd p[MAX_INTERFACES];

        for (size_t i = 0; i < c->len; i++)
            p[i] = (struct pollfd){.fd = c->fds[i], .events = POLLIN};
        if (poll(p, c->len, 100) <= 0)
            continue;
        pthread_mutex_lock(&c->mu);
        for (size_t i = 0; i < c->len; i++)
            read_all(c, i);
        pthread_mutex_unlock(&c->mu);
    }
    return NULL;
}

/* Caller holds mu. */
static void
read_all(struct capture *c, size_t i)
{
    unsigned char buf[128];
    ssize_t n;

    while ((n = recv(c->fds[i], buf, sizeof buf, MSG_TRUNC)) >= 0 || errno == ENETDOWN) {
        char text[96];

        if (n < 0) /* the interface is down: said once */
            continue;
        c->sum.packets++;
        c->sum.bytes += (uint64_t)n;
        if (!is_stray(c, buf, (size_t)n < sizeof buf ? (size_t)n : sizeof buf, text, sizeof text))
            continue;
        if (!c->sum.stray_packets++)
            snprintf(c->sum.first, sizeof c->sum.first, "%s: %s, %zd bytes", c->names[i], text, n);
        c->sum.stray_bytes += (uint64_t)n;
    }
}

static bool
is_node(const struct capture *c, struct in_addr a)
{
    for (size_t i = 0; i < c->nodes_len; i++)
        if (c->nodes[i].s_addr == a.s_addr)
            return true;
    return false;
}

static bool
in_range(struct in_addr a)
{
    return ntohl(a.s_addr) >> 8 == (10u << 16 | 200u << 8 | 5u); /* DEV_NET_MIG */
}

static bool
is_stray(const struct capture *c, const unsigned char *p, size_t len, char *ret, size_t size)
{
    const struct ether_header *eth = (const void *)p;
    char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
    struct iphdr ip;
    struct in_addr a, b;

    if (len < sizeof *eth + sizeof ip || ntohs(eth->ether_type) != ETHERTYPE_IP)
        return false;
    memcpy(&ip, p + sizeof *eth, sizeof ip);
    a.s_addr = ip.saddr;
    b.s_addr = ip.daddr;
    if (!in_range(a) && !in_range(b) && !(is_node(c, a) && is_node(c, b)))
        return false;
    snprintf(ret, size, "protocol %d from %s to %s", ip.protocol,
             inet_ntop(AF_INET, &a, from, sizeof from), inet_ntop(AF_INET, &b, to, sizeof to));
    return true;
}

void
capture_take(struct capture *c, struct capture_sum *ret)
{
    pthread_mutex_lock(&c->mu);
    for (size_t i = 0; i < c->len; i++) {
        struct tpacket_stats st = {0};
        socklen_t len = sizeof st;

        read_all(c, i);
        if (getsockopt(c->fds[i], SOL_PACKET, PACKET_STATISTICS, &st, &len) == 0)
            c->sum.missed += st.tp_drops;
    }
    *ret = c->sum;
    c->sum = (struct capture_sum){0};
    pthread_mutex_unlock(&c->mu);
}

void
capture_free(struct capture *c)
{
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    for (size_t i = 0; i < c->len; i++)
        close(c->fds[i]);
    pthread_mutex_destroy(&c->mu);
    free(c);
}
