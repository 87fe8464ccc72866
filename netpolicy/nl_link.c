/* Interfaces and addresses through libnl; see nl_link.h. Each call opens its own socket: a socket
 * belongs to the namespace in which it was opened, and these calls are rare. */
#include "netpolicy/nl_link.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/macvlan.h>
#include <netlink/route/link/veth.h>

#include "base/sb.h"
#include "netpolicy/nl_priv.h"

static int set_flag(const char *name, unsigned flag, bool on, struct err *err);
static int collect(struct nl_addr_found **ret, size_t *ret_len, struct err *err);

/* --- what is there --- */

int
nl_addresses(struct nl_addr_found *out, int max, struct err *err)
{
    AUTO_FREE struct nl_addr_found *all = NULL;
    size_t len = 0;
    int rc = collect(&all, &len, err);

    if (rc != 0)
        return rc;
    if (max < 0)
        max = 0;
    if (len > (size_t)max)
        len = (size_t)max;
    if (len > 0)
        memcpy(out, all, len * sizeof *out);
    return (int)len;
}

int
nl_find_migration_address(const struct nad_config *c, struct nl_addr_found *ret, struct err *err)
{
    AUTO_FREE struct nl_addr_found *all = NULL;
    char range[CIDR_TEXT_SIZE + 32];
    size_t len = 0;
    int rc = collect(&all, &len, err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < len; i++) {
        if (nad_address_allowed(c, &all[i].ip)) {
            *ret = all[i];
            return 0;
        }
    }
    nad_range_text(c, range, sizeof range);
    return err_set(err, -ENOENT,
                   "migration network %s: no interface here has an address in %s (%zu addresses "
                   "looked at)",
                   c->name ? c->name : "", range, len);
}

int
nl_link_counters(const char *ifname, struct nl_counters *ret, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, ifname, &l, err)) != 0)
        return rc;
    *ret = (struct nl_counters){
        .rx_bytes = rtnl_link_get_stat(l, RTNL_LINK_RX_BYTES),
        .tx_bytes = rtnl_link_get_stat(l, RTNL_LINK_TX_BYTES),
        .rx_packets = rtnl_link_get_stat(l, RTNL_LINK_RX_PACKETS),
        .tx_packets = rtnl_link_get_stat(l, RTNL_LINK_TX_PACKETS),
        .rx_dropped = rtnl_link_get_stat(l, RTNL_LINK_RX_DROPPED),
        .tx_dropped = rtnl_link_get_stat(l, RTNL_LINK_TX_DROPPED),
    };
    return 0;
}

/* --- making it --- */

int
nl_bridge_add(const char *name, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    int rc;

    if ((rc = nlp_check_name(name, err)) != 0 || (rc = nlp_open(&nl, err)) != 0)
        return rc;
    l = rtnl_link_alloc();
    if (!l || rtnl_link_set_type(l, "bridge") < 0)
        return err_set(err, -ENOMEM, "bridge %s: no memory", name);
    rtnl_link_set_name(l, name);
    return nlp_result(&nl, rtnl_link_add(nl.sk, l, NLM_F_CREATE | NLM_F_EXCL), "cannot make bridge",
                      name, err);
}

int
nl_veth_add(const char *name, const char *peer, int peer_netns_fd, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    AUTO_LINK struct rtnl_link *p = NULL;
    int rc;

    if ((rc = nlp_check_name(name, err)) != 0 || (rc = nlp_check_name(peer, err)) != 0 ||
        (rc = nlp_open(&nl, err)) != 0)
        return rc;
    l = rtnl_link_veth_alloc();
    p = l ? rtnl_link_veth_get_peer(l) : NULL;
    if (!p)
        return err_set(err, -ENOMEM, "veth %s: no memory", name);
    rtnl_link_set_name(l, name);
    rtnl_link_set_name(p, peer);
    if (peer_netns_fd >= 0)
        rtnl_link_set_ns_fd(p, peer_netns_fd);
    return nlp_result(&nl, rtnl_link_add(nl.sk, l, NLM_F_CREATE | NLM_F_EXCL), "cannot make veth",
                      name, err);
}

int
nl_macvlan_add(const char *name, const char *master, const char *mode, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    AUTO_LINK struct rtnl_link *m = NULL;
    int rc, mode_nr = rtnl_link_macvlan_str2mode(mode);

    if (mode_nr < 0)
        return err_set(err, -EINVAL,
                       "macvlan %s: mode \"%s\": want bridge, private, vepa or "
                       "passthru",
                       name, mode);
    if ((rc = nlp_check_name(name, err)) != 0 || (rc = nlp_open(&nl, err)) != 0 ||
        (rc = nlp_find(&nl, master, &m, err)) != 0)
        return rc;
    l = rtnl_link_macvlan_alloc();
    if (!l)
        return err_set(err, -ENOMEM, "macvlan %s: no memory", name);
    rtnl_link_set_name(l, name);
    rtnl_link_set_link(l, rtnl_link_get_ifindex(m));
    rtnl_link_macvlan_set_mode(l, (uint32_t)mode_nr);
    return nlp_result(&nl, rtnl_link_add(nl.sk, l, NLM_F_CREATE | NLM_F_EXCL),
                      "cannot make macvlan", name, err);
}

int
nl_link_set_master(const char *name, const char *bridge, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    AUTO_LINK struct rtnl_link *b = NULL;
    AUTO_LINK struct rtnl_link *again = NULL;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &l, err)) != 0 ||
        (rc = nlp_find(&nl, bridge, &b, err)) != 0)
        return rc;
    rc = nlp_result(&nl, rtnl_link_enslave(nl.sk, b, l), "cannot put into its controller", name,
                    err);
    if (rc == -EINVAL &&
        nlp_find(&nl, bridge, &again, NULL) == -ENOENT) /* how the kernel says it */
        return err_set(err, -ENOENT, "interface %s: no such interface here", bridge);
    return rc;
}

int
nl_link_up(const char *name, struct err *err)
{
    return set_flag(name, IFF_UP, true, err);
}

int
nl_link_down(const char *name, struct err *err)
{
    return set_flag(name, IFF_UP, false, err);
}

int
nl_link_set_mtu(const char *name, uint32_t mtu, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &l, err)) != 0)
        return rc;
    if (!change)
        return err_set(err, -ENOMEM, "%s: no memory", name);
    rtnl_link_set_mtu(change, mtu);
    return nlp_result(&nl, rtnl_link_change(nl.sk, l, change, 0), "cannot set the MTU of", name,
                      err);
}

int
nl_addr_add(const char *ifname, const struct ip *ip, unsigned prefix, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    bool v4 = ip_is_v4(ip);
    unsigned char bytes[16];
    struct nl_addr *local;
    struct rtnl_addr *a;
    int rc;

    if (prefix > (v4 ? 32u : 128u))
        return err_set(err, -EINVAL, "%s: prefix length %u: want at most %u", ifname, prefix,
                       v4 ? 32u : 128u);
    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, ifname, &l, err)) != 0)
        return rc;
    memcpy(bytes, ip->a.s6_addr, 16);
    local = v4 ? nl_addr_build(AF_INET, bytes + 12, 4) : nl_addr_build(AF_INET6, bytes, 16);
    a = rtnl_addr_alloc();
    if (!local || !a) {
        rc = err_set(err, -ENOMEM, "%s: no memory", ifname);
    } else {
        rtnl_addr_set_ifindex(a, rtnl_link_get_ifindex(l));
        rtnl_addr_set_local(a, local);
        rtnl_addr_set_prefixlen(a, (int)prefix);
        if (!v4)
            rtnl_addr_set_flags(a, IFA_F_NODAD);
        rc = nlp_result(&nl, rtnl_addr_add(nl.sk, a, NLM_F_EXCL), "cannot give an address to",
                        ifname, err);
    }
    if (a)
        rtnl_addr_put(a);
    if (local)
        nl_addr_put(local);
    return rc;
}

int
nl_link_del(const char *name, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &l, err)) != 0)
        return rc;
    return nlp_result(&nl, rtnl_link_delete(nl.sk, l), "cannot remove", name, err);
}

/* --- helpers --- */

static int
set_flag(const char *name, unsigned flag, bool on, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &l, err)) != 0)
        return rc;
    if (!change)
        return err_set(err, -ENOMEM, "%s: no memory", name);
    if (on)
        rtnl_link_set_flags(change, flag);
    else
        rtnl_link_unset_flags(change, flag);
    return nlp_result(&nl, rtnl_link_change(nl.sk, l, change, 0),
                      on ? "cannot bring up" : "cannot take down", name, err);
}

struct collection {
    struct nl_cache *links;
    struct nl_addr_found *items;
    size_t len, cap;
};

static void
collect_one(struct nl_object *object, void *ctx)
{
    const unsigned unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED;
    struct rtnl_addr *a = (struct rtnl_addr *)object;
    struct nl_addr *local = rtnl_addr_get_local(a);
    struct collection *c = ctx;
    struct nl_addr_found *f;
    struct rtnl_link *l;
    unsigned flags;

    if (!local || rtnl_addr_get_scope(a) != RT_SCOPE_UNIVERSE ||
        (rtnl_addr_get_flags(a) & unusable) != 0)
        return;
    l = rtnl_link_get(c->links, rtnl_addr_get_ifindex(a));
    if (!l)
        return; /* gone between the two dumps */
    if (c->len == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->items = xreallocarray(c->items, c->cap, sizeof *c->items);
    }
    f = &c->items[c->len];
    *f = (struct nl_addr_found){.prefix = (unsigned)rtnl_addr_get_prefixlen(a)};
    if (nl_addr_get_family(local) == AF_INET && nl_addr_get_len(local) == 4) {
        memset(f->ip.a.s6_addr + 10, 0xff, 2);
        memcpy(f->ip.a.s6_addr + 12, nl_addr_get_binary_addr(local), 4);
        f->v4 = true;
    } else if (nl_addr_get_family(local) == AF_INET6 && nl_addr_get_len(local) == 16) {
        memcpy(f->ip.a.s6_addr, nl_addr_get_binary_addr(local), 16);
    } else {
        rtnl_link_put(l);
        return;
    }
    flags = rtnl_link_get_flags(l);
    snprintf(f->ifname, sizeof f->ifname, "%s", rtnl_link_get_name(l));
    f->link_up = (flags & IFF_UP) && (flags & IFF_RUNNING);
    f->mtu = rtnl_link_get_mtu(l);
    c->len++;
    rtnl_link_put(l);
}

static int
cmp_found(const void *x, const void *y)
{
    const struct nl_addr_found *a = x, *b = y;
    int d = strcmp(a->ifname, b->ifname);

    return d != 0 ? d : ip_cmp(&a->ip, &b->ip);
}

static int
collect(struct nl_addr_found **ret, size_t *ret_len, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    struct nl_cache *addrs = NULL;
    struct collection c = {0};
    int rc, nle;

    if ((rc = nlp_open(&nl, err)) != 0)
        return rc;
    nle = rtnl_link_alloc_cache(nl.sk, AF_UNSPEC, &c.links);
    if (nle >= 0) {
        nle = rtnl_addr_alloc_cache(nl.sk, &addrs);
        if (nle >= 0) {
            nl_cache_foreach(addrs, collect_one, &c);
            nl_cache_free(addrs);
        }
        nl_cache_free(c.links);
    }
    if (nle < 0)
        return nlp_result(&nl, nle, "cannot list", "addresses", err);
    if (c.len > 0)
        qsort(c.items, c.len, sizeof *c.items, cmp_found);
    *ret = c.items;
    *ret_len = c.len;
    return 0;
}
