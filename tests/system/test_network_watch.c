/* What happens to the migration network is known at once: from the kernel's word (a netlink message, heard
 * by this test itself in the host's namespace) until a watch at the API sees the node's condition
 * change, at most 100 ms. Meanwhile no migration is started over it, the queue says why, and all of it
 * comes back by itself when the network does. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/names.h"
#include "base/clock.h"
#include "tests/system/network.h"

#define NODE     "n1"
#define IFNAME   "migration0"
#define LIMIT_US 100000u
#define WAIT_S   15
#define MAX_SEEN 4096
#define REPEATS  3

/* Everything that was heard, by two threads: netlink messages of the interface, and what the condition was
 * in each event of the watch. */
struct heard {
    uint64_t at_us;
    unsigned type; /* RTM_*; 0: the condition */
    bool up;       /* RTM_NEWLINK: has carrier */
    bool failed;   /* RTM_NEWNEIGH: NUD_FAILED */
    uint32_t mtu;  /* RTM_NEWLINK */
    char status[16], reason[64];
};

static struct {
    struct sys *s;
    int netlink;
    unsigned ifindex; /* of migration0 in the namespace */
    struct client *client;
    pthread_t threads[2];
    atomic_bool stop;
    pthread_mutex_t mu;
    pthread_cond_t more;
    struct heard seen[MAX_SEEN]; /* guarded by mu */
    size_t len;
} w = {.mu = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void
add(const struct heard *h)
{
    pthread_mutex_lock(&w.mu);
    if (w.len < MAX_SEEN)
        w.seen[w.len++] = *h;
    pthread_cond_broadcast(&w.more);
    pthread_mutex_unlock(&w.mu);
}

/* --- the kernel's word --- */

static int
open_netlink(void *ctx, struct err *err)
{
    struct sockaddr_nl sa = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_NEIGH};
    struct timeval tv = {.tv_usec = 200000};

    (void)ctx;
    w.ifindex = if_nametoindex(IFNAME);
    w.netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (!w.ifindex || w.netlink < 0 || bind(w.netlink, (struct sockaddr *)&sa, sizeof sa) != 0)
        return err_set(err, -errno, "netlink in the namespace: %s", strerror(errno));
    setsockopt(w.netlink, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return 0;
}

static void
hear(const struct nlmsghdr *n, uint64_t now_us)
{
    struct heard h = {.at_us = now_us, .type = n->nlmsg_type};

    if (h.type == RTM_NEWLINK) {
        const struct ifinfomsg *i = NLMSG_DATA(n);
        int len = (int)IFLA_PAYLOAD(n);

        if ((unsigned)i->ifi_index != w.ifindex)
            return;
        for (const struct rtattr *a = IFLA_RTA(i); RTA_OK(a, len); a = RTA_NEXT(a, len)) {
            if (a->rta_type == IFLA_MTU)
                memcpy(&h.mtu, RTA_DATA(a), sizeof h.mtu);
            else if (a->rta_type == IFLA_CARRIER)
                h.up = (i->ifi_flags & IFF_UP) && *(const uint8_t *)RTA_DATA(a);
        }
    } else if (h.type == RTM_DELADDR) {
        const struct ifaddrmsg *i = NLMSG_DATA(n);

        if (i->ifa_index != w.ifindex)
            return;
    } else if (h.type == RTM_NEWNEIGH) {
        const struct ndmsg *i = NLMSG_DATA(n);

        if ((unsigned)i->ndm_ifindex != w.ifindex)
            return;
        h.failed = i->ndm_state & NUD_FAILED;
    } else {
        return;
    }
    add(&h);
}

static void *
run_netlink(void *ctx)
{
    static char buf[65536] __attribute__((aligned(8)));

    while (!atomic_load(&w.stop)) {
        ssize_t n = recv(w.netlink, buf, sizeof buf, 0);
        uint64_t now_us = clock_mono_us();
        int len = (int)n;

        for (const struct nlmsghdr *h = (void *)buf; n > 0 && NLMSG_OK(h, (unsigned)len);
             h = NLMSG_NEXT(h, len))
            hear(h, now_us);
    }
    return ctx;
}

/* --- the API's --- */

static int
on_event(void *ctx, const char *type, const struct tree *obj)
{
    const struct tree *list = tree_find(obj, "status", "conditions", NULL);
    struct heard h = {.at_us = clock_mono_us()};

    (void)ctx;
    (void)type;
    if (strcmp(tree_find_string(obj, "", "metadata", "name", NULL), NODE) != 0)
        return 0;
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *c = tree_at(list, i);

        if (strcmp(tree_find_string(c, "", "type", NULL), COND_MIGRATION_NETWORK) != 0)
            continue;
        snprintf(h.status, sizeof h.status, "%s", tree_find_string(c, "", "status", NULL));
        snprintf(h.reason, sizeof h.reason, "%s", tree_find_string(c, "", "reason", NULL));
        add(&h);
    }
    return 0;
}

static void *
run_watch(void *ctx)
{
    struct err err = {0};

    if (client_watch(w.client, "/api/v1/nodes", NULL, false, on_event, NULL, &w.stop, &err) != 0 &&
        !atomic_load(&w.stop))
        fprintf(stderr, "the watch ended: %s\n", err_msg(&err));
    return ctx;
}

static void
begin(struct sys *s)
{
    struct err err = {0};

    w.s = s;
    if (dev_node_call(s->c, NODE, open_netlink, NULL, &err) != 0 ||
        client_open(s->c->url, &w.client, &err) != 0)
        sys_die(s, "%s", err_msg(&err));
    pthread_create(&w.threads[0], NULL, run_netlink, NULL);
    pthread_create(&w.threads[1], NULL, run_watch, NULL);
}

static void
end(void)
{
    atomic_store(&w.stop, true);
    pthread_join(w.threads[0], NULL);
    pthread_join(w.threads[1], NULL);
    client_free(w.client);
    close(w.netlink);
}

/* --- what is done to it --- */

static void
link_set_down(struct sys *s)
{
    network_ip(s, NODE, "link set " IFNAME " down");
}

static void
port_down(struct sys *s)
{
    network_ip(s, NULL, "link set mig1 down");
}

static void
port_up(struct sys *s)
{
    network_ip(s, NULL, "link set mig1 up");
}

static void
address_away(struct sys *s)
{
    network_ip(s, NODE, "addr flush dev " IFNAME " scope global");
}

static void
mtu_smaller(struct sys *s)
{
    network_ip(s, NODE, "link set " IFNAME " mtu 1400");
}

/* The other host leaves the switch: its link stays up, and nobody answers for its address. */
static void
peer_away(struct sys *s)
{
    network_ip(s, NULL, "link set mig2 nomaster");
    network_ip(s, NODE, "ntable change name arp_cache dev " IFNAME " retrans 100");
    network_ip(s, NODE, "neigh flush dev " IFNAME);
    network_ip(s, NODE, "neigh replace %s dev " IFNAME " nud probe lladdr 02:00:00:00:00:01",
               dev_cluster_node(s->c, "n2")->mig_ip);
}

static void
peer_back(struct sys *s)
{
    network_ip(s, NULL, "link set mig2 master " DEV_NET_MIG_BRIDGE);
}

static bool
is_down(const struct heard *h)
{
    return h->type == RTM_NEWLINK && !h->up;
}

static bool
is_address_gone(const struct heard *h)
{
    return h->type == RTM_DELADDR;
}

static bool
is_other_mtu(const struct heard *h)
{
    return h->type == RTM_NEWLINK && h->mtu == 1400;
}

static bool
is_failed(const struct heard *h)
{
    return h->type == RTM_NEWNEIGH && h->failed;
}

static const struct trouble {
    const char *name, *reason;
    void (*make)(struct sys *s);
    void (*mend)(struct sys *s); /* NULL: the handler does it, as the objects say so */
    bool (*told)(const struct heard *h);
    bool migrate; /* while it lasts, a migration waits */
} troubles[] = {
    {"link set down", "LinkDown", link_set_down, NULL, is_down, false},
    {"switch port down", "LinkDown", port_down, port_up, is_down, true},
    {"address removed", "AddressLost", address_away, NULL, is_address_gone, false},
    {"MTU changed", "MTUChanged", mtu_smaller, NULL, is_other_mtu, false},
    {"neighbour unreachable", "NeighbourUnreachable", peer_away, peer_back, is_failed, true},
};

/* --- and what comes of it --- */

static bool
is_ready(const struct heard *h)
{
    return h->type == 0 && strcmp(h->status, "True") == 0;
}

/* The first that pred or (pred NULL) a condition with that reason holds for, from *at on; waits for
 * it. */
static struct heard
await(size_t *at, const char *what, bool (*pred)(const struct heard *h), const char *reason)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&w.mu);
    for (;;) {
        for (size_t i = *at; i < w.len; i++) {
            struct heard h = w.seen[i];

            if (pred ? !pred(&h)
                     : h.type != 0 || strcmp(h.status, "False") != 0 ||
                           strcmp(h.reason, reason) != 0)
                continue;
            *at = i + 1;
            pthread_mutex_unlock(&w.mu);
            return h;
        }
        if (pthread_cond_timedwait(&w.more, &w.mu, &until) != 0)
            break;
    }
    for (size_t i = *at; i < w.len; i++)
        fprintf(stderr, "heard: type %u up %d mtu %u failed %d, condition %s %s\n", w.seen[i].type,
                w.seen[i].up, w.seen[i].mtu, w.seen[i].failed, w.seen[i].status, w.seen[i].reason);
    pthread_mutex_unlock(&w.mu);
    sys_die(w.s, "%s: waited %d s in vain", what, WAIT_S);
}

struct queued {
    struct network_move m;
    const char *reason;
};

static bool
is_explained(void *ctx)
{
    struct queued *q = ctx;

    network_move_look(w.s, &q->m);
    if (network_move_over(&q->m) || strcmp(q->m.phase, "Running") == 0)
        sys_die(w.s, "%s is %s while the network is not ready", q->m.name, q->m.phase);
    return strstr(q->m.waits, q->reason) != NULL;
}

static int
by_value(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

    return (a > b) - (a < b);
}

static void
one(struct sys *s, const struct trouble *t)
{
    uint64_t took_us[REPEATS], sorted[REPEATS];
    /* What the handler mends it mends later and later, when it happens again and again. */
    size_t len = 0, want = t->mend ? REPEATS : 1;
    char name[32], text[1024];
    static unsigned n;

    for (size_t i = 0; i < want; i++) {
        struct queued q = {.reason = t->reason};
        bool migrate = t->migrate && i == 0;
        struct heard told, known;
        size_t from, at;

        pthread_mutex_lock(&w.mu);
        from = w.len;
        pthread_mutex_unlock(&w.mu);
        t->make(s);
        at = from;
        told = await(&at, t->name, t->told, NULL);
        at = from;
        known = await(&at, t->reason, NULL, t->reason);
        /* a watch may be faster than this test's own ear */
        took_us[len++] = known.at_us > told.at_us ? known.at_us - told.at_us : 0;
        if (took_us[i] > LIMIT_US)
            want = REPEATS; /* a busy machine may be late once */
        if (migrate) {
            snprintf(name, sizeof name, "m%u", ++n);
            network_move_start(s, name, &q.m);
            sys_wait(s, 20, "the queue names the reason", is_explained, &q);
            printf("    %s waits: %s\n", name, q.m.waits);
        }
        if (t->mend)
            t->mend(s);
        (void)await(&at, "it is ready again", is_ready, NULL);
        if (migrate) {
            network_move_wait(s, &q.m, 30);
            if (strcmp(q.m.phase, "Succeeded") != 0)
                sys_die(s, "%s: %s: %s", name, q.m.phase, q.m.failure);
            if (!sys_verify(s, "default", NETWORK_VM, text, sizeof text))
                sys_die(s, "%s: memory: %s", name, text);
        }
    }
    printf("  %s: %s after", t->name, t->reason);
    for (size_t i = 0; i < len; i++)
        printf("%s %.1f ms", i ? "," : "", (double)took_us[i] / 1000);
    printf("\n");
    fflush(stdout);
    memcpy(sorted, took_us, len * sizeof sorted[0]);
    qsort(sorted, len, sizeof sorted[0], by_value);
    if (sorted[len / 2] > LIMIT_US)
        sys_die(s, "%s: want at most %u ms", t->name, LIMIT_US / 1000);
}

int
main(void)
{
    static struct sys s; /* until after main: it is torn down at exit */
    size_t at = 0;

    sys_up(&s, 2);
    network_up(&s);
    network_vm(&s);
    network_policy(&s, false, "0");
    begin(&s);
    (void)await(&at, "the first heartbeat", is_ready, NULL);
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
        one(&s, &troubles[i]);
    end();
    return 0;
}
