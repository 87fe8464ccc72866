/* One step of a plan, done in the kernel and read back; see nl_state.h. What else the kernel
 * changes with it is known to whoever plans (net_sim.h), but for what set_controller and addr_del
 * put right. */
#include "netpolicy/nl_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <netlink/route/link.h> /* inet.h stands not alone */
#include <netlink/route/link/inet.h>
#include <netlink/route/link/vlan.h>

#include "base/rng.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_priv.h"
#include "netpolicy/nl_shape.h"

static int perform(const struct net_step *s, const struct net_state *now, const struct net_link *is,
                   struct err *err);
static bool is_done(const struct net_step *s, const struct net_link *is, char *why, size_t size);
static int add(const struct net_link *l, struct err *err);
static int del(const struct net_link *is, struct err *err);
static int bring_up(const struct net_link *is, struct err *err);
static int set_mac(const struct net_link *l, const struct net_link *is, struct err *err);
static int set_controller(const struct net_link *l, const struct net_state *now,
                          const struct net_link *is, struct err *err);
static int set_bridge(const struct net_link *l, const struct net_link *is, struct err *err);
static int set_bond(const struct net_link *l, const struct net_link *is, struct err *err);
static int addr_del(const struct net_step *s, struct err *err);
static int set_inet_conf(const char *name, unsigned id, uint32_t value, struct err *err);

static const char *const op_text[] = {
    [NET_OP_ADD] = "make",
    [NET_OP_DEL] = "remove",
    [NET_OP_UP] = "bring up",
    [NET_OP_DOWN] = "take down",
    [NET_OP_MTU] = "set the MTU of",
    [NET_OP_MAC] = "set the MAC address of",
    [NET_OP_CONTROLLER] = "set the controller of",
    [NET_OP_BRIDGE] = "set the bridge options of",
    [NET_OP_BOND] = "set the bond options of",
    [NET_OP_ADDR_ADD] = "give an address to",
    [NET_OP_ADDR_DEL] = "take an address from",
    [NET_OP_SHAPE] = "limit",
    [NET_OP_ARP_IGNORE] = "set arp_ignore of",
};

int
nl_step_apply(const struct net_step *s, struct err *err)
{
    struct arena *a = arena_new();
    const struct net_link *is;
    struct net_state now;
    char why[128];
    int rc = nlp_check_name(s->link.name, err);

    if (rc == 0)
        rc = nl_state_read(a, &now, err);
    if (rc != 0)
        goto out;
    is = net_state_find(&now, s->link.name);
    if (is_done(s, is, why, sizeof why))
        goto out;
    if (!is && s->op != NET_OP_ADD)
        rc = err_set(err, -ENOENT, "cannot %s %s: no such interface here", op_text[s->op],
                     s->link.name);
    else
        rc = perform(s, &now, is, err);
    if (rc == 0)
        rc = nl_state_read(a, &now, err);
    if (rc != 0)
        goto out;
    is = net_state_find(&now, s->link.name);
    if (!is_done(s, is, why, sizeof why))
        rc = err_set(err, is ? -EIO : -ENOENT,
                     "cannot %s %s: the kernel agreed, but when it is asked, it says: %s",
                     op_text[s->op], s->link.name, why);
out:
    arena_free(a);
    return rc;
}

const char *
nl_step_reason(int rc)
{
    switch (rc) {
    case -EPERM:
    case -EACCES:
        return NET_REASON_PERMISSION;
    case -EOPNOTSUPP:
        return NET_REASON_KIND;
    case -ENOENT:
        return NET_REASON_INTERFACE_MISSING;
    case -ERANGE:
        return NET_REASON_MTU;
    case -EEXIST:
    case -EBUSY:
        return NET_REASON_CONFLICT;
    case -EINVAL:
        return NET_REASON_INVALID;
    default:
        return NET_REASON_KERNEL;
    }
}

static int
perform(const struct net_step *s, const struct net_state *now, const struct net_link *is,
        struct err *err)
{
    const struct net_link *l = &s->link;
    int rc;

    switch (s->op) {
    case NET_OP_ADD:
        return is ? err_set(err, -EEXIST,
                            "cannot make %s %s: there is another interface (%s) of "
                            "that name",
                            net_kind_name(l->kind), l->name, net_kind_name(is->kind))
                  : add(l, err);
    case NET_OP_DEL:
        return del(is, err);
    case NET_OP_UP:
        return bring_up(is, err);
    case NET_OP_DOWN:
        return nl_link_down(l->name, err);
    case NET_OP_MTU:
        rc = nl_link_set_mtu(l->name, l->mtu, err);
        return rc == -EINVAL ? err_set(err, -ERANGE,
                                       "%s: mtu %" PRIu32 ": want %" PRIu32 " to %" PRIu32
                                       ", and not more than its base's",
                                       l->name, l->mtu, is->min_mtu, is->max_mtu)
                             : rc;
    case NET_OP_MAC:
        return set_mac(l, is, err);
    case NET_OP_CONTROLLER:
        return set_controller(l, now, is, err);
    case NET_OP_BRIDGE:
        return set_bridge(l, is, err);
    case NET_OP_BOND:
        return set_bond(l, is, err);
    case NET_OP_ADDR_ADD:
        return nl_addr_add(l->name, &s->addr.ip, s->addr.prefix, err);
    case NET_OP_ADDR_DEL:
        return addr_del(s, err);
    case NET_OP_SHAPE:
        return nl_shape_set(l->name, &l->shape, err);
    case NET_OP_ARP_IGNORE:
        return set_inet_conf(l->name, IPV4_DEVCONF_ARP_IGNORE, l->arp_ignore, err);
    }
    return err_set(err, -EINVAL, "%s: no such step", l->name);
}

/* --- what is so --- */

static bool
is_done(const struct net_step *s, const struct net_link *is, char *why, size_t size)
{
    static const unsigned fields[] = {
        [NET_OP_ADD] = NET_F_BASE,      [NET_OP_UP] = NET_F_UP,
        [NET_OP_DOWN] = NET_F_UP,       [NET_OP_MTU] = NET_F_MTU,
        [NET_OP_MAC] = NET_F_MAC,       [NET_OP_CONTROLLER] = NET_F_CONTROLLER,
        [NET_OP_BRIDGE] = NET_F_BRIDGE, [NET_OP_BOND] = NET_F_BOND,
        [NET_OP_SHAPE] = NET_F_SHAPE,   [NET_OP_ARP_IGNORE] = NET_F_ARP_IGNORE,
    };
    struct net_link want = s->link;

    snprintf(why, size, "%s", is ? "it is there" : "there is no such interface");
    if (!is || s->op == NET_OP_DEL)
        return !is && s->op == NET_OP_DEL;
    if (s->op == NET_OP_ADDR_ADD || s->op == NET_OP_ADDR_DEL) {
        bool has = net_link_find_addr(is, &s->addr) != NULL;

        snprintf(why, size, has ? "it has the address" : "it has no such address");
        return has == (s->op == NET_OP_ADDR_ADD);
    }
    want.up = s->op == NET_OP_UP;
    if (s->op != NET_OP_ADD) /* of which a step says only what it changes */
        want.kind = is->kind;
    if (want.shape.rate_bytes_per_s == 0)
        want.shape.burst_bytes = 0;
    if (s->op == NET_OP_BOND || (s->op == NET_OP_ADD && is->kind != NET_BOND))
        want.bond_mode = is->bond_mode;
    if (s->op == NET_OP_ADD && is->bond_mode != want.bond_mode) {
        snprintf(why, size, "its mode is %s", net_bond_mode_name(is->bond_mode));
        return false;
    }
    return net_link_equal(is, &want, fields[s->op], why, size);
}

/* --- links --- */

/* Attributes of a kind of link, in a message that makes one or changes it. */
struct change {
    struct nl_msg *msg;
    struct nlattr *info, *data;
    bool bad; /* no memory */
};

/* name: of a new one; NULL when ifindex says which. */
static struct change
change_start(int ifindex, const char *name, const char *driver)
{
    const struct ifinfomsg m = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};
    struct change ch = {
        .msg = nlp_msg(RTM_NEWLINK, name ? NLM_F_CREATE | NLM_F_EXCL : 0, &m, sizeof m)};

    ch.bad = !ch.msg || (name && nla_put_string(ch.msg, IFLA_IFNAME, name) < 0) ||
             !(ch.info = nla_nest_start(ch.msg, IFLA_LINKINFO)) ||
             nla_put_string(ch.msg, IFLA_INFO_KIND, driver) < 0 ||
             !(ch.data = nla_nest_start(ch.msg, IFLA_INFO_DATA));
    return ch;
}

static struct nl_msg *
change_end(struct change *ch)
{
    if (!ch->bad)
        ch->bad = nla_nest_end(ch->msg, ch->data) < 0 || nla_nest_end(ch->msg, ch->info) < 0;
    if (!ch->bad)
        return ch->msg;
    nlmsg_free(ch->msg);
    return NULL;
}

static int
add_vlan(const struct net_link *l, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *v = NULL;
    AUTO_LINK struct rtnl_link *base = NULL;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, l->base, &base, err)) != 0)
        return rc;
    v = rtnl_link_vlan_alloc();
    if (!v)
        return err_set(err, -ENOMEM, "vlan %s: no memory", l->name);
    rtnl_link_set_name(v, l->name);
    rtnl_link_set_link(v, rtnl_link_get_ifindex(base));
    rtnl_link_vlan_set_id(v, l->vlan_id);
    return nlp_result(&nl, rtnl_link_add(nl.sk, v, NLM_F_CREATE | NLM_F_EXCL), "cannot make vlan",
                      l->name, err);
}

static int
add_bond(const struct net_link *l, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    struct change ch;
    int rc = nlp_open(&nl, err);

    if (rc != 0)
        return rc;
    ch = change_start(0, l->name, "bond");
    if (!ch.bad)
        ch.bad = nla_put_u8(ch.msg, IFLA_BOND_MODE, l->bond_mode) < 0 ||
                 (l->bond_miimon != 0 && nla_put_u32(ch.msg, IFLA_BOND_MIIMON, l->bond_miimon) < 0);
    return nlp_talk(&nl, change_end(&ch), "cannot make bond", l->name, err);
}

static int
add(const struct net_link *l, struct err *err)
{
    int rc;

    switch (l->kind) {
    case NET_BRIDGE:
        rc = nl_bridge_add(l->name, err);
        break;
    case NET_BOND:
        rc = add_bond(l, err);
        break;
    case NET_VLAN:
        rc = add_vlan(l, err);
        break;
    case NET_MACVLAN:
        rc = nl_macvlan_add(l->name, l->base, l->macvlan_mode ? l->macvlan_mode : "", err);
        break;
    default:
        return err_set(err, -EOPNOTSUPP,
                       "cannot make %s: interfaces of type %s are not made, only taken as they are",
                       l->name, net_kind_name(l->kind));
    }
    if (rc == -EOPNOTSUPP)
        err_set(err, rc, "cannot make %s %s: this kernel makes no interfaces of that kind",
                net_kind_name(l->kind), l->name);
    return rc;
}

static int
del(const struct net_link *is, struct err *err)
{
    if (!net_kind_made(is->kind))
        return err_set(
            err, -EINVAL,
            "cannot remove %s: it is of type %s, and what drover makes is of linux-bridge, "
            "bond, vlan and mac-vlan",
            is->name, net_kind_name(is->kind));
    return nl_link_del(is->name, err);
}

/* A bridge that lost its last port has a MAC address of zeros, a VLAN that was made on it has them
 * from it, and the kernel brings up none with such an address. */
static int
bring_up(const struct net_link *is, struct err *err)
{
    static const uint8_t zeros[sizeof is->mac];
    struct net_link with = *is;
    int rc = 0;

    if (is->kind == NET_VLAN && memcmp(is->mac, zeros, sizeof zeros) == 0) {
        rc = rng_secret(with.mac, sizeof with.mac);
        with.mac[0] = (uint8_t)((with.mac[0] & 0xfe) | 0x02); /* one of ours, of one station */
        rc =
            rc != 0 ? err_set(err, rc, "%s: no random numbers", is->name) : set_mac(&with, is, err);
    }
    return rc != 0 ? rc : nl_link_up(is->name, err);
}

static int
set_mac(const struct net_link *l, const struct net_link *is, struct err *err)
{
    const struct ifinfomsg m = {.ifi_family = AF_UNSPEC, .ifi_index = is->ifindex};
    AUTO_NLP struct nlp nl = {0};
    struct nl_msg *msg;
    int rc = nlp_open(&nl, err);

    if (rc != 0)
        return rc;
    msg = nlp_msg(RTM_NEWLINK, 0, &m, sizeof m);
    if (msg && nla_put(msg, IFLA_ADDRESS, sizeof l->mac, l->mac) < 0) {
        nlmsg_free(msg);
        msg = NULL;
    }
    return nlp_talk(&nl, msg, "cannot set the MAC address of", l->name, err);
}

/* A bond takes only interfaces that are down, brings them up, and leaves them down when they go. What
 * was up stays up (net_sim.c counts on it). */
static int
set_controller(const struct net_link *l, const struct net_state *now, const struct net_link *is,
               struct err *err)
{
    const struct net_link *to = net_state_find(now, l->controller);
    const struct net_link *from = net_state_find(now, is->controller);
    bool to_bond = to && to->kind == NET_BOND, from_bond = from && from->kind == NET_BOND;
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *link = NULL;
    int rc;

    if (to_bond && is->up && (rc = nl_link_down(l->name, err)) != 0)
        return rc;
    if (l->controller[0])
        rc = nl_link_set_master(l->name, l->controller, err);
    else if ((rc = nlp_open(&nl, err)) == 0 && (rc = nlp_find(&nl, l->name, &link, err)) == 0)
        rc = nlp_result(&nl, rtnl_link_release(nl.sk, link), "cannot take out of its controller",
                        l->name, err);
    if (is->up && (from_bond || to_bond)) {
        int up = nl_link_up(l->name, rc == 0 ? err : NULL);

        rc = rc != 0 ? rc : up;
    }
    return rc;
}

/* Only what differs is said: kernels without vlan_filtering refuse also to switch it off. */
static int
set_bridge(const struct net_link *l, const struct net_link *is, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    struct change ch;
    int rc = nlp_open(&nl, err);

    if (rc != 0)
        return rc;
    ch = change_start(is->ifindex, NULL, "bridge");
    if (!ch.bad)
        ch.bad = (l->stp != is->stp && nla_put_u32(ch.msg, IFLA_BR_STP_STATE, l->stp) < 0) ||
                 (l->vlan_filtering != is->vlan_filtering &&
                  nla_put_u8(ch.msg, IFLA_BR_VLAN_FILTERING, l->vlan_filtering) < 0);
    return nlp_talk(&nl, change_end(&ch), "cannot set the bridge options of", l->name, err);
}

static int
set_bond(const struct net_link *l, const struct net_link *is, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    struct change ch;
    int rc = nlp_open(&nl, err);

    if (rc != 0)
        return rc;
    ch = change_start(is->ifindex, NULL, "bond");
    if (!ch.bad)
        ch.bad = nla_put_u32(ch.msg, IFLA_BOND_MIIMON, l->bond_miimon) < 0;
    return nlp_talk(&nl, change_end(&ch), "cannot set the bond options of", l->name, err);
}

/* --- addresses --- */

/* With the first IPv4 address of a subnet the kernel takes the others of it away, too, unless
 * promote_secondaries is set (ip-sysctl). */
static int
addr_del(const struct net_step *s, struct err *err)
{
    bool v4 = ip_is_v4(&s->addr.ip);
    const char *name = s->link.name;
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *is = NULL;
    uint32_t promote = 1;
    struct nl_msg *msg;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &is, err)) != 0)
        return rc;
    const struct ifaddrmsg m = {.ifa_family = v4 ? AF_INET : AF_INET6,
                                .ifa_prefixlen = (unsigned char)s->addr.prefix,
                                .ifa_index = (unsigned)rtnl_link_get_ifindex(is)};

    if (v4) {
        rtnl_link_inet_get_conf(is, IPV4_DEVCONF_PROMOTE_SECONDARIES, &promote);
        if (!promote && (rc = set_inet_conf(name, IPV4_DEVCONF_PROMOTE_SECONDARIES, 1, err)) != 0)
            return rc;
    }
    msg = nlp_msg(RTM_DELADDR, 0, &m, sizeof m);
    if (msg && nla_put(msg, IFA_LOCAL, v4 ? 4 : 16, s->addr.ip.a.s6_addr + (v4 ? 12 : 0)) < 0) {
        nlmsg_free(msg);
        msg = NULL;
    }
    rc = nlp_talk(&nl, msg, "cannot take an address from", name, err);
    if (rc == -EADDRNOTAVAIL) /* went by itself just now */
        rc = 0;
    if (!promote)
        set_inet_conf(name, IPV4_DEVCONF_PROMOTE_SECONDARIES, 0, NULL);
    return rc;
}

/* Through rtnetlink and not /proc/sys, which may show another namespace, or be read-only. */
static int
set_inet_conf(const char *name, unsigned id, uint32_t value, struct err *err)
{
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *is = NULL;
    AUTO_LINK struct rtnl_link *change = rtnl_link_alloc();
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, name, &is, err)) != 0)
        return rc;
    if (!change || rtnl_link_inet_set_conf(change, id, value) < 0)
        return err_set(err, -ENOMEM, "%s: no memory", name);
    return nlp_result(&nl, rtnl_link_change(nl.sk, is, change, 0), "cannot configure IPv4 of", name,
                      err);
}
