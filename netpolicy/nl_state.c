/* Reading all interfaces, their addresses, limits and default routes into a net_state; see
 * nl_state.h. rtnetlink(7); attributes as <linux/if_link.h> lists them. */
#include "netpolicy/nl_state.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>

#include "base/sb.h"
#include "netpolicy/nl_priv.h"

struct found_link {
    struct net_link link;
    int controller, base; /* ifindex; 0 = none, or in another namespace */
    bool shaped;
};
struct found_addr {
    int ifindex;
    struct net_addr addr;
};
struct reading {
    struct found_link *links;
    size_t links_len, links_cap;
    struct found_addr *addrs;
    size_t addrs_len, addrs_cap;
    bool torn; /* an answer speaks of an interface that no other knows */
};

static int read_once(struct nlp *c, struct reading *r, struct err *err);
static void on_link(const struct nlmsghdr *h, void *ctx);
static void on_addr(const struct nlmsghdr *h, void *ctx);
static void on_qdisc(const struct nlmsghdr *h, void *ctx);
static void on_route(const struct nlmsghdr *h, void *ctx);
static void name_others(struct reading *r);
static void find_speeds(struct reading *r);
static void build(struct reading *r, struct arena *a, struct net_state *ret);

int
nl_state_read(struct arena *a, struct net_state *ret, struct err *err)
{
    AUTO_NLP struct nlp c = {0};
    struct reading r = {0};
    int rc = nlp_open(&c, err);

    if (rc != 0)
        return rc;
    for (int i = 0; i < NL_DUMP_TRIES; i++) {
        r.links_len = r.addrs_len = 0;
        r.torn = false;
        rc = read_once(&c, &r, err);
        if (rc == 0 && r.torn)
            rc = err_set(err, -EAGAIN, "netlink: interfaces changed while they were listed");
        if (rc != -EAGAIN)
            break;
    }
    if (rc == 0)
        build(&r, a, ret);
    free(r.links);
    free(r.addrs);
    return rc;
}

static int
read_once(struct nlp *c, struct reading *r, struct err *err)
{
    static const unsigned char families[] = {AF_INET, AF_INET6};
    const struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    const struct ifaddrmsg addr = {.ifa_family = AF_UNSPEC};
    const struct tcmsg qdisc = {.tcm_family = AF_UNSPEC};
    int rc;

    if ((rc = nlp_dump(c, RTM_GETLINK, &link, sizeof link, on_link, r, err)) != 0 ||
        (rc = nlp_dump(c, RTM_GETADDR, &addr, sizeof addr, on_addr, r, err)) != 0 ||
        (rc = nlp_dump(c, RTM_GETQDISC, &qdisc, sizeof qdisc, on_qdisc, r, err)) != 0)
        return rc;
    for (size_t i = 0; i < r->links_len; i++) {
        struct found_link *f = &r->links[i];

        if (f->shaped && (rc = nlp_shape_read(c, f->link.ifindex, &f->link.shape, err)) != 0)
            return rc;
    }
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        const struct rtmsg route = {.rtm_family = families[i]};

        if ((rc = nlp_dump(c, RTM_GETROUTE, &route, sizeof route, on_route, r, err)) != 0)
            return rc;
    }
    name_others(r);
    find_speeds(r);
    return 0;
}

static struct found_link *
by_index(const struct reading *r, int ifindex)
{
    for (size_t i = 0; i < r->links_len; i++)
        if (r->links[i].link.ifindex == ifindex)
            return &r->links[i];
    return NULL;
}

/* --- links --- */

static uint32_t
get_u32(const struct nlattr *a)
{
    return a && nla_len(a) >= (int)sizeof(uint32_t) ? nla_get_u32(a) : 0;
}

static uint8_t
get_u8(const struct nlattr *a)
{
    return a && nla_len(a) >= 1 ? nla_get_u8(a) : 0;
}

static const char *
macvlan_mode(uint32_t mode)
{
    switch (mode) {
    case MACVLAN_MODE_PRIVATE:
        return "private";
    case MACVLAN_MODE_VEPA:
        return "vepa";
    case MACVLAN_MODE_BRIDGE:
        return "bridge";
    case MACVLAN_MODE_PASSTHRU:
        return "passthru";
    default: /* source: nothing that we make */
        return NULL;
    }
}

/* What its kind alone has: nested in IFLA_LINKINFO. */
static void
read_kind(struct net_link *l, unsigned short type, struct nlattr *linkinfo)
{
    struct nlattr *info[IFLA_INFO_MAX + 1] = {NULL};
    struct nlattr *data[256] = {NULL};

    l->kind = type == ARPHRD_LOOPBACK ? NET_LOOPBACK
              : type == ARPHRD_ETHER  ? NET_ETHERNET
                                      : NET_OTHER;
    if (!linkinfo || nla_parse_nested(info, IFLA_INFO_MAX, linkinfo, NULL) != 0 ||
        !info[IFLA_INFO_KIND])
        return;
    nla_strlcpy(l->driver, info[IFLA_INFO_KIND], sizeof l->driver);
    if (info[IFLA_INFO_DATA] &&
        nla_parse_nested(data, ARRAY_LEN(data) - 1, info[IFLA_INFO_DATA], NULL) != 0)
        memset(data, 0, sizeof data);
    if (strcmp(l->driver, "bridge") == 0) {
        l->kind = NET_BRIDGE;
        l->stp = get_u32(data[IFLA_BR_STP_STATE]) != 0;
        l->vlan_filtering = get_u8(data[IFLA_BR_VLAN_FILTERING]) != 0;
    } else if (strcmp(l->driver, "bond") == 0) {
        l->kind = NET_BOND;
        l->bond_mode = get_u8(data[IFLA_BOND_MODE]);
        l->bond_miimon = get_u32(data[IFLA_BOND_MIIMON]);
    } else if (strcmp(l->driver, "vlan") == 0 && data[IFLA_VLAN_PROTOCOL] &&
               nla_get_u16(data[IFLA_VLAN_PROTOCOL]) == htons(ETH_P_8021Q)) {
        l->kind = NET_VLAN;
        l->vlan_id = data[IFLA_VLAN_ID] ? nla_get_u16(data[IFLA_VLAN_ID]) : 0;
    } else if (strcmp(l->driver, "macvlan") == 0) {
        l->kind = NET_MACVLAN;
        l->macvlan_mode = macvlan_mode(get_u32(data[IFLA_MACVLAN_MODE]));
    } else if (strcmp(l->driver, "veth") != 0 && strcmp(l->driver, "dummy") != 0) {
        l->kind = NET_OTHER;
    }
}

/* An element of the array of net.ipv4.conf.NAME.*, which IFLA_AF_SPEC carries. */
static uint32_t
inet_conf(struct nlattr *af_spec, int id)
{
    struct nlattr *families[AF_INET + 1] = {NULL};
    struct nlattr *inet[IFLA_INET_MAX + 1] = {NULL};
    uint32_t v = 0;

    if (!af_spec || nla_parse_nested(families, AF_INET, af_spec, NULL) != 0 || !families[AF_INET] ||
        nla_parse_nested(inet, IFLA_INET_MAX, families[AF_INET], NULL) != 0 ||
        !inet[IFLA_INET_CONF] || nla_len(inet[IFLA_INET_CONF]) < id * (int)sizeof v)
        return 0;
    memcpy(&v, (const char *)nla_data(inet[IFLA_INET_CONF]) + (size_t)(id - 1) * sizeof v,
           sizeof v);
    return v;
}

static void
on_link(const struct nlmsghdr *h, void *ctx)
{
    struct nlattr *tb[IFLA_MAX + 1] = {NULL};
    const struct ifinfomsg *m = nlmsg_data(h);
    struct reading *r = ctx;
    struct found_link *f;

    if (h->nlmsg_type != RTM_NEWLINK ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, IFLA_MAX, NULL) != 0 ||
        !tb[IFLA_IFNAME])
        return;
    if (r->links_len == r->links_cap) {
        r->links_cap = r->links_cap ? r->links_cap * 2 : 16;
        r->links = xreallocarray(r->links, r->links_cap, sizeof *r->links);
    }
    f = &r->links[r->links_len++];
    *f = (struct found_link){0};
    nla_strlcpy(f->link.name, tb[IFLA_IFNAME], sizeof f->link.name);
    read_kind(&f->link, m->ifi_type, tb[IFLA_LINKINFO]);
    f->link.ifindex = m->ifi_index;
    f->link.up = (m->ifi_flags & IFF_UP) != 0;
    /* at once, where IFF_RUNNING follows a moment later */
    f->link.carrier = f->link.up && get_u8(tb[IFLA_CARRIER]) != 0;
    f->link.mtu = get_u32(tb[IFLA_MTU]);
    f->link.min_mtu = get_u32(tb[IFLA_MIN_MTU]);
    f->link.max_mtu = get_u32(tb[IFLA_MAX_MTU]);
    if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == sizeof f->link.mac)
        memcpy(f->link.mac, nla_data(tb[IFLA_ADDRESS]), sizeof f->link.mac);
    f->link.arp_ignore = inet_conf(tb[IFLA_AF_SPEC], IPV4_DEVCONF_ARP_IGNORE) != 0;
    f->controller = (int)get_u32(tb[IFLA_MASTER]);
    if (!tb[IFLA_LINK_NETNSID] && (f->link.kind == NET_VLAN || f->link.kind == NET_MACVLAN))
        f->base = (int)get_u32(tb[IFLA_LINK]);
}

static void
name_others(struct reading *r)
{
    for (size_t i = 0; i < r->links_len; i++) {
        struct found_link *f = &r->links[i], *other;

        if (f->controller != 0 && (other = by_index(r, f->controller)) != NULL)
            memcpy(f->link.controller, other->link.name, sizeof f->link.controller);
        else if (f->controller != 0)
            r->torn = true;
        if (f->base != 0 && (other = by_index(r, f->base)) != NULL)
            memcpy(f->link.base, other->link.name, sizeof f->link.base);
        else if (f->base != 0)
            r->torn = true;
        other = by_index(r, f->controller);
        for (int k = 0; other && k < NLP_STACKED_MAX; k++) {
            f->link.default_route = f->link.default_route || other->link.default_route;
            other = by_index(r, other->controller);
        }
    }
}

static void
find_speeds(struct reading *r)
{
    for (size_t i = 0; i < r->links_len; i++) {
        const struct found_link *f = &r->links[i];

        for (int k = 0; f && f->base != 0 && k < NLP_STACKED_MAX; k++)
            f = by_index(r, f->base);
        if (f && (f->link.kind == NET_BOND || (f->link.kind == NET_ETHERNET && !f->link.driver[0])))
            r->links[i].link.speed_mbps = nlp_driver_mbit(f->link.name);
    }
}

/* --- addresses, limits, routes --- */

static void
on_addr(const struct nlmsghdr *h, void *ctx)
{
    struct nlattr *tb[IFA_MAX + 1] = {NULL};
    const struct ifaddrmsg *m = nlmsg_data(h);
    struct reading *r = ctx;
    const struct nlattr *local;
    struct found_addr *f;
    uint32_t flags;
    struct ip ip;

    if (h->nlmsg_type != RTM_NEWADDR ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, IFA_MAX, NULL) != 0 ||
        m->ifa_scope != RT_SCOPE_UNIVERSE)
        return;
    local = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
    if (!by_index(r, (int)m->ifa_index)) {
        r->torn = true;
        return;
    }
    if (!nlp_ip(local, &ip))
        return;
    if (r->addrs_len == r->addrs_cap) {
        r->addrs_cap = r->addrs_cap ? r->addrs_cap * 2 : 16;
        r->addrs = xreallocarray(r->addrs, r->addrs_cap, sizeof *r->addrs);
    }
    flags = tb[IFA_FLAGS] ? get_u32(tb[IFA_FLAGS]) : m->ifa_flags;
    f = &r->addrs[r->addrs_len++];
    *f = (struct found_addr){.ifindex = (int)m->ifa_index};
    f->addr.ip = ip;
    f->addr.prefix = m->ifa_prefixlen;
    /* what DHCP and router advertisements give ends at a time and is renewed; by hand it stays */
    f->addr.foreign = !(flags & IFA_F_PERMANENT) || (flags & IFA_F_TEMPORARY);
}

static void
on_qdisc(const struct nlmsghdr *h, void *ctx)
{
    const struct tcmsg *m = nlmsg_data(h);
    struct reading *r = ctx;
    bool ours, foreign;
    struct found_link *f;

    nlp_shape_qdisc(h, &ours, &foreign);
    if (!ours && !foreign)
        return;
    f = by_index(r, m->tcm_ifindex);
    if (!f) {
        r->torn = true;
        return;
    }
    f->shaped = ours;
    f->link.shape_foreign = foreign;
}

static void
on_default_route(int ifindex, void *ctx)
{
    struct reading *r = ctx;
    struct found_link *f = by_index(r, ifindex);

    if (f)
        f->link.default_route = true;
    else
        r->torn = true;
}

static void
on_route(const struct nlmsghdr *h, void *ctx)
{
    if (h->nlmsg_type == RTM_NEWROUTE)
        nlp_route_links(h, true, on_default_route, ctx);
}

/* --- the result --- */

static int
cmp_link(const void *x, const void *y)
{
    const struct found_link *a = x, *b = y;

    return strcmp(a->link.name, b->link.name);
}

static int
cmp_addr(const void *x, const void *y)
{
    const struct found_addr *a = x, *b = y;

    if (a->ifindex != b->ifindex)
        return a->ifindex < b->ifindex ? -1 : 1;
    return ip_cmp(&a->addr.ip, &b->addr.ip) != 0 ? ip_cmp(&a->addr.ip, &b->addr.ip)
                                                 : (int)a->addr.prefix - (int)b->addr.prefix;
}

static void
build(struct reading *r, struct arena *a, struct net_state *ret)
{
    if (r->links_len > 0)
        qsort(r->links, r->links_len, sizeof *r->links, cmp_link);
    if (r->addrs_len > 0)
        qsort(r->addrs, r->addrs_len, sizeof *r->addrs, cmp_addr);
    *ret = (struct net_state){.links = arena_calloc(a, r->links_len, sizeof *ret->links),
                              .len = r->links_len};
    for (size_t i = 0; i < r->links_len; i++) {
        struct net_link *l = &ret->links[i];
        size_t first = 0, end;

        *l = r->links[i].link;
        while (first < r->addrs_len && r->addrs[first].ifindex != l->ifindex)
            first++;
        for (end = first; end < r->addrs_len && r->addrs[end].ifindex == l->ifindex;)
            end++;
        l->addrs_len = end - first;
        l->addrs = arena_calloc(a, l->addrs_len, sizeof *l->addrs);
        for (size_t k = 0; k < l->addrs_len; k++)
            l->addrs[k] = r->addrs[first + k].addr;
    }
}
