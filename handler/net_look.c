/* What the kernel says: events of netlink, a look at all interfaces after each of them (on a worker, it
 * only reads), and neighbours that do not answer, who are asked again. See net_impl.h. */
#include "handler/net_impl.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

#define OBSERVE_MIN_US 1000000u
#define PORT_DISCARD   9

static void on_watch(void *ctx, int fd, int events);
static void on_event(void *ctx, const struct nl_event *e);
static void look_fn(void *ctx);
static void look_done(void *ctx);
static void look_free(struct net_look_job *job);
static void on_peers(void *ctx);
static void on_observe(void *ctx);

int
net_look_start(struct net_agent *n, struct err *err)
{
    int rc = nl_watch_new(&n->watch, err);

    if (rc == 0)
        n->watch_fd = loop_fd_add(n->l, nl_watch_fd(n->watch), LOOP_READ, on_watch, n);
    return rc;
}

void
net_look_done(struct net_agent *n)
{
    loop_fd_del(n->watch_fd);
    nl_watch_free(n->watch);
    loop_timer_del(n->peer_timer);
    loop_timer_del(n->observe_timer);
    look_free(n->look);
    tree_free(n->observed);
    tree_free(n->to_observe);
}

static void
on_watch(void *ctx, int fd, int events)
{
    struct net_agent *n = ctx;
    struct err err = {0};

    (void)fd;
    (void)events;
    if (nl_watch_read(n->watch, on_event, n, &err) != 0)
        log_warn("network.watch", LS("error", err_msg(&err)));
}

static void
on_event(void *ctx, const struct nl_event *e)
{
    struct net_agent *n = ctx;

    if (e->kind == NL_EVENT_NEIGH) {
        if (n->attached && strcmp(e->ifname, n->expect.ifname) == 0 &&
            net_peers_event(&n->peers, e, loop_now_us(n->l)))
            net_say_network(n);
        return;
    }
    net_look_now(n);
    net_agent_repair(n);
}

void
net_look_now(struct net_agent *n)
{
    if (n->look) {
        n->look_wanted = true;
        return;
    }
    n->look_wanted = false;
    n->look = xcalloc(1, sizeof *n->look);
    n->look->n = n;
    n->look->rounds = n->rounds;
    n->look->a = arena_new();
    work_run(n->w, look_fn, look_done, n->look);
}

static void
look_fn(void *ctx)
{
    struct net_look_job *job = ctx;

    job->rc = nl_state_read(job->a, &job->now, NULL);
}

static void
look_done(void *ctx)
{
    struct net_look_job *job = ctx;
    struct net_agent *n = job->n;

    n->look = NULL;
    if (job->rc == 0 && job->rounds == n->rounds) { /* else it may be of before */
        if (n->attached) {
            struct mignet m;

            net_mig_check(&n->expect, n->effect.ref, &job->now, &m);
            /* a round that is at work on it says itself when it is well again */
            if (!n->round || m.state != MIGNET_READY || n->link.state == MIGNET_READY)
                n->link = m;
            net_say_network(n);
        }
        net_look_observed(n, net_state_tree(&job->now));
    }
    look_free(job);
    if (n->look_wanted)
        net_look_now(n);
}

static void
look_free(struct net_look_job *job)
{
    if (!job)
        return;
    arena_free(job->a);
    free(job);
}

/* --- neighbours that do not answer are asked again --- */

static void
ask_peer(const struct net_agent *n, const struct ip *ip)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_DISCARD)};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(PORT_DISCARD)};
    bool v4 = ip_is_v4(ip);
    AUTO_FD int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, n->expect.ifname,
                             (socklen_t)strlen(n->expect.ifname)) != 0)
        return;
    memcpy(&a4.sin_addr, &ip->a.s6_addr[12], 4);
    a6.sin6_addr = ip->a;
    /* whatever becomes of the byte, the kernel looks for the neighbour and says what it found */
    if (v4)
        sendto(fd, "", 1, 0, (const struct sockaddr *)&a4, sizeof a4);
    else
        sendto(fd, "", 1, 0, (const struct sockaddr *)&a6, sizeof a6);
}

void
net_look_ask_peers(struct net_agent *n)
{
    if (!n->peer_timer)
        n->peer_timer = loop_timer_add(n->l, HANDLER_PEER_ASK_US, on_peers, n);
}

static void
on_peers(void *ctx)
{
    struct net_agent *n = ctx;

    n->peer_timer = NULL;
    net_peers_expire(&n->peers, loop_now_us(n->l));
    for (size_t i = 0; i < n->peers.len; i++)
        if (n->peers.items[i].failed)
            ask_peer(n, &n->peers.items[i].ip);
    net_say_network(n);
}

/* --- the NodeNetworkState --- */

void
net_look_observed(struct net_agent *n, struct tree *state)
{
    uint64_t now = loop_now_us(n->l), since = now - n->observed_us, wait;

    if (n->observed && tree_equal(state, n->observed)) {
        tree_free(state);
        tree_free(n->to_observe);
        n->to_observe = NULL;
        wait = since < HANDLER_NET_OBSERVE_US ? HANDLER_NET_OBSERVE_US - since : 1;
    } else {
        tree_free(n->to_observe);
        n->to_observe = state;
        wait = !n->observed || since >= OBSERVE_MIN_US ? 1 : OBSERVE_MIN_US - since;
    }
    loop_timer_del(n->observe_timer);
    n->observe_timer = loop_timer_add(n->l, wait, on_observe, n);
}

static void
on_observe(void *ctx)
{
    struct net_agent *n = ctx;

    n->observe_timer = NULL;
    if (n->to_observe) {
        tree_free(n->observed);
        n->observed = TAKE_PTR(n->to_observe);
    }
    n->observed_us = loop_now_us(n->l);
    n->hooks.observed(n->hooks.ctx, tree_copy(n->observed));
    n->observe_timer = loop_timer_add(n->l, HANDLER_NET_OBSERVE_US, on_observe, n);
}
