/* Hearing of what changes in the kernel's network; see nl_state.h. rtnetlink(7). libnl's receiver
 * turns ENOBUFS into the same error as ENOMEM, so that this reads the socket itself. */
#include "netpolicy/nl_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>

#include "base/sb.h"
#include "netpolicy/nl_priv.h"

struct named { /* of an interface that is gone the kernel no longer says how it was called */
    int ifindex;
    char name[NL_IFNAME_SIZE];
};

struct nl_watch {
    struct nlp nl;
    struct named *names;
    size_t names_len, names_cap;
};

struct delivery {
    struct nl_watch *w;
    void (*fn)(void *ctx, const struct nl_event *e);
    void *ctx;
};

static int read_names(struct nl_watch *w, struct err *err);
static void deliver(const struct delivery *d, const struct nlmsghdr *h);

int
nl_watch_new(struct nl_watch **ret, struct err *err)
{
    static const int groups[] = {RTNLGRP_LINK,  RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                 RTNLGRP_NEIGH, RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE};
    struct nl_watch *w = xcalloc(1, sizeof *w);
    const int size = NL_WATCH_BUFFER_BYTES;
    int fd, rc = nlp_open(&w->nl, err);

    if (rc != 0)
        goto bad;
    fd = nl_socket_get_fd(w->nl.sk);
    /* beyond the host's limit with CAP_NET_ADMIN, else as much as it gives: a loss is told */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        rc = nlp_result(&w->nl, nl_socket_add_membership(w->nl.sk, groups[i]), "cannot watch",
                        "interfaces", err);
        if (rc != 0)
            goto bad;
    }
    if ((rc = read_names(w, err)) != 0) /* after joining: what comes now is heard */
        goto bad;
    *ret = w;
    return 0;
bad:
    nl_watch_free(w);
    return rc;
}

void
nl_watch_free(struct nl_watch *w)
{
    if (!w)
        return;
    nlp_done(&w->nl);
    free(w->names);
    free(w);
}

int
nl_watch_fd(const struct nl_watch *w)
{
    return nl_socket_get_fd(w->nl.sk);
}

int
nl_watch_read(struct nl_watch *w, void (*fn)(void *ctx, const struct nl_event *e), void *ctx,
              struct err *err)
{
    _Alignas(struct nlmsghdr) char buf[NL_WATCH_READ_BYTES];
    const struct delivery d = {w, fn, ctx};
    const struct nl_event lost = {.kind = NL_EVENT_LOST};

    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {buf, sizeof buf};
        struct msghdr m = {
            .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(nl_watch_fd(w), &m, MSG_DONTWAIT);
        int left = (int)n, rc;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if ((n < 0 && errno == ENOBUFS) || (n >= 0 && (m.msg_flags & MSG_TRUNC))) {
            if ((rc = read_names(w, err)) != 0)
                return rc;
            fn(ctx, &lost);
            continue;
        }
        if (n < 0)
            return err_set(err, -errno, "netlink: cannot hear of changes: %s", strerror(errno));
        if (from.nl_pid != 0) /* from a process, not the kernel */
            continue;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buf; nlmsg_ok(h, left);
             h = nlmsg_next(h, &left))
            deliver(&d, h);
    }
}

/* --- names --- */

static struct named *
name_find(const struct nl_watch *w, int ifindex)
{
    for (size_t i = 0; i < w->names_len; i++)
        if (w->names[i].ifindex == ifindex)
            return &w->names[i];
    return NULL;
}

static void
name_set(struct nl_watch *w, int ifindex, const struct nlattr *name)
{
    struct named *n = name_find(w, ifindex);

    if (!n && w->names_len == w->names_cap) {
        w->names_cap = w->names_cap ? w->names_cap * 2 : 16;
        w->names = xreallocarray(w->names, w->names_cap, sizeof *w->names);
    }
    if (!n) {
        n = &w->names[w->names_len++];
        n->ifindex = ifindex;
    }
    nla_strlcpy(n->name, name, sizeof n->name);
}

static bool
parse(const struct nlmsghdr *h, size_t head, struct nlattr **tb, int max)
{
    return nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, (int)head, tb, max, NULL) == 0;
}

static void
on_name(const struct nlmsghdr *h, void *ctx)
{
    struct nlattr *tb[IFLA_MAX + 1] = {NULL};
    const struct ifinfomsg *m = nlmsg_data(h);

    if (h->nlmsg_type == RTM_NEWLINK && parse(h, sizeof *m, tb, IFLA_MAX) && tb[IFLA_IFNAME])
        name_set(ctx, m->ifi_index, tb[IFLA_IFNAME]);
}

static int
read_names(struct nl_watch *w, struct err *err)
{
    const struct ifinfomsg m = {.ifi_family = AF_UNSPEC};
    AUTO_NLP struct nlp nl = {0};
    int rc = nlp_open(&nl, err);

    if (rc != 0)
        return rc;
    for (int i = 0; i < NL_DUMP_TRIES; i++) {
        w->names_len = 0;
        rc = nlp_dump(&nl, RTM_GETLINK, &m, sizeof m, on_name, w, err);
        if (rc != -EAGAIN)
            break;
    }
    return rc;
}

static void
put_name(const struct nl_watch *w, int ifindex, struct nl_event *e)
{
    const struct named *n = name_find(w, ifindex);

    if (n)
        memcpy(e->ifname, n->name, sizeof e->ifname);
}

/* --- events --- */

static void
deliver_link(const struct delivery *d, const struct nlmsghdr *h)
{
    struct nl_event e = {.kind = NL_EVENT_LINK};
    struct nlattr *tb[IFLA_MAX + 1] = {NULL};
    const struct ifinfomsg *m = nlmsg_data(h);
    struct named *known;

    if (!parse(h, sizeof *m, tb, IFLA_MAX) || !tb[IFLA_IFNAME])
        return;
    nla_strlcpy(e.ifname, tb[IFLA_IFNAME], sizeof e.ifname);
    known = name_find(d->w, m->ifi_index);
    /* of family bridge: a port's attributes, also when it leaves its bridge and stays */
    e.gone = h->nlmsg_type == RTM_DELLINK && m->ifi_family == AF_UNSPEC;
    if (e.gone) {
        if (known)
            *known = d->w->names[--d->w->names_len];
    } else {
        if (known && strcmp(known->name, e.ifname) != 0) { /* it has a new name */
            struct nl_event old = {.kind = NL_EVENT_LINK, .gone = true};

            memcpy(old.ifname, known->name, sizeof old.ifname);
            d->fn(d->ctx, &old);
        }
        name_set(d->w, m->ifi_index, tb[IFLA_IFNAME]);
    }
    d->fn(d->ctx, &e);
}

static void
deliver_addr(const struct delivery *d, const struct nlmsghdr *h)
{
    struct nl_event e = {.kind = NL_EVENT_ADDR, .gone = h->nlmsg_type == RTM_DELADDR};
    struct nlattr *tb[IFA_MAX + 1] = {NULL};
    const struct ifaddrmsg *m = nlmsg_data(h);

    if (!parse(h, sizeof *m, tb, IFA_MAX) ||
        !nlp_ip(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], &e.ip))
        return;
    put_name(d->w, (int)m->ifa_index, &e);
    d->fn(d->ctx, &e);
}

static void
deliver_neigh(const struct delivery *d, const struct nlmsghdr *h)
{
    struct nl_event e = {.kind = NL_EVENT_NEIGH, .gone = h->nlmsg_type == RTM_DELNEIGH};
    struct nlattr *tb[NDA_MAX + 1] = {NULL};
    const struct ndmsg *m = nlmsg_data(h);

    if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) ||
        !parse(h, sizeof *m, tb, NDA_MAX) || !nlp_ip(tb[NDA_DST], &e.ip))
        return;
    put_name(d->w, m->ndm_ifindex, &e);
    e.neigh_failed = (m->ndm_state & NUD_FAILED) != 0;
    e.neigh_reachable = (m->ndm_state & NUD_REACHABLE) != 0;
    d->fn(d->ctx, &e);
}

struct route_delivery {
    const struct delivery *d;
    bool gone;
};

static void
on_route_link(int ifindex, void *ctx)
{
    const struct route_delivery *r = ctx;
    struct nl_event e = {.kind = NL_EVENT_ROUTE, .gone = r->gone};

    put_name(r->d->w, ifindex, &e);
    r->d->fn(r->d->ctx, &e);
}

static void
deliver(const struct delivery *d, const struct nlmsghdr *h)
{
    struct route_delivery r = {d, h->nlmsg_type == RTM_DELROUTE};

    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        deliver_link(d, h);
        break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
        deliver_addr(d, h);
        break;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        deliver_neigh(d, h);
        break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        nlp_route_links(h, false, on_route_link, &r);
        break;
    default:
        break;
    }
}
