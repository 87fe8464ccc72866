/* What a target must not be: what the kernel would refuse, or what would cut the host off; see
 * net_plan.h. Only what somebody asks for is refused: what others have made stays as it is. */
#include <string.h>

#include "netpolicy/net_compose_impl.h"
#include "netpolicy/net_want.h"

#define MAX_VLAN 4094

static int check_base(const struct compose *c, const struct compose_link *x);
static int check_port(const struct compose *c, const struct compose_link *x);
static int check_neighbours(const struct compose *c, const struct compose_link *x);
static int check_existing(const struct compose *c, const struct net_want *w);
static int check_cycles(const struct compose *c);
static int check_reach(const struct compose *c, const struct compose_link *x);
static int check_mtu(const struct compose *c, const struct compose_link *x);
static int check_addrs(const struct compose *c, const struct compose_link *x);
static const char *carries(const struct compose *c, const struct net_link *now);
static bool changes(const struct compose_link *x, unsigned fields);

int
net_check_structure(const struct compose *c)
{
    int rc;

    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *x = &c->links[i];

        if (x->alive && ((rc = check_base(c, x)) != 0 || (rc = check_port(c, x)) != 0 ||
                         (rc = check_neighbours(c, x)) != 0))
            return rc;
        if ((rc = check_reach(c, x)) != 0)
            return rc;
    }
    for (size_t i = 0; i < c->wants->len; i++)
        if ((rc = check_existing(c, &c->wants->items[i])) != 0)
            return rc;
    return check_cycles(c);
}

int
net_check_values(const struct compose *c)
{
    int rc;

    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *x = &c->links[i];

        if (x->alive && ((rc = check_mtu(c, x)) != 0 || (rc = check_addrs(c, x)) != 0))
            return rc;
        if (x->alive && (x->asked & NET_F_SHAPE) && x->l.shape.rate_bytes_per_s > 0 &&
            x->l.shape_foreign)
            return compose_refuse(c, x->by, NET_REASON_CONFLICT,
                                  "%s: limit: somebody else's queueing discipline is there: remove "
                                  "it or the limit",
                                  x->l.name);
    }
    return 0;
}

/* Whether somebody speaks of these attributes, or they follow from what somebody speaks of. */
static bool
changes(const struct compose_link *x, unsigned fields)
{
    return ((x->asked | x->derived) & fields) != 0 ||
           (x->was && !net_link_equal(&x->before, &x->l, fields, NULL, 0));
}

/* --- what stands on what --- */

static int
check_base(const struct compose *c, const struct compose_link *x)
{
    const struct compose_link *base = compose_base(c, x);
    const char *what;

    if (!net_kind_stacked(x->l.kind) || !x->by)
        return 0;
    if (!base && (*x->l.base || (x->asked & NET_F_BASE)))
        return compose_refuse(c, x->by, NET_REASON_INTERFACE_MISSING,
                              "%s: base interface %s: there is no such interface here", x->l.name,
                              x->l.base);
    if (!(x->asked & NET_F_BASE) || !base)
        return 0;
    if (base->l.kind == NET_LOOPBACK || (x->l.kind == NET_MACVLAN && base->l.kind == NET_MACVLAN))
        return compose_refuse(c, x->by, NET_REASON_CONFLICT,
                              "%s: base interface %s is of type %s: want %s", x->l.name, x->l.base,
                              net_kind_name(base->l.kind),
                              base->l.kind == NET_MACVLAN ? "the one that it stands on"
                                                          : "ethernet, bond, linux-bridge or vlan");
    if (x->l.kind == NET_VLAN && (x->l.vlan_id < 1 || x->l.vlan_id > MAX_VLAN))
        return compose_refuse(c, x->by, NET_REASON_INVALID, "%s: vlan id %u: want 1 to %d",
                              x->l.name, x->l.vlan_id, MAX_VLAN);
    if (x->l.kind == NET_MACVLAN && !x->l.macvlan_mode)
        return compose_refuse(c, x->by, NET_REASON_INVALID, "%s: mode: want one of %s", x->l.name,
                              NET_MACVLAN_MODES);
    what = carries(c, net_state_find(c->now, base->l.name));
    if (!what) /* a policy gives it the address only now */
        what = carries(c, &base->l);
    if (strcmp(x->l.name, NET_MIGRATION_IFNAME) == 0 && what)
        return compose_refuse(c, x->by, NET_REASON_DEFAULT_ROUTE,
                              "%s: base interface %s carries %s of this host: want one of its own "
                              "for migrations",
                              x->l.name, x->l.base, what);
    return 0;
}

static int
check_port(const struct compose *c, const struct compose_link *x)
{
    const struct compose_link *owner = compose_controller(c, x);
    const struct net_want *w;

    if (owner && owner->l.kind == NET_BOND && (x->asked & NET_F_MAC))
        return compose_refuse(c, x->by, NET_REASON_CONFLICT,
                              "%s: mac-address: a port of bond %s has the bond's", x->l.name,
                              owner->l.name);
    if (!*x->l.controller || !changes(x, NET_F_CONTROLLER))
        return 0;
    w = owner && (owner->list || !x->by) ? owner->by : x->by;
    if (!owner)
        return compose_refuse(c, w, NET_REASON_INTERFACE_MISSING,
                              "%s: controller %s: there is no such interface here", x->l.name,
                              x->l.controller);
    if (!net_kind_ports(owner->l.kind))
        return compose_refuse(c, w, NET_REASON_CONFLICT,
                              "%s: controller %s is of type %s: want linux-bridge or bond",
                              x->l.name, owner->l.name, net_kind_name(owner->l.kind));
    if (x->l.kind == NET_LOOPBACK || x->l.kind == NET_BRIDGE ||
        (net_kind_made(x->l.kind) && owner->l.kind == NET_BOND))
        return compose_refuse(
            c, w, NET_REASON_CONFLICT, "%s: port %s is of type %s, which cannot be a port of a %s",
            owner->l.name, x->l.name, net_kind_name(x->l.kind), net_kind_name(owner->l.kind));
    return 0;
}

/* Who cannot be on one interface with whom. */
static int
check_neighbours(const struct compose *c, const struct compose_link *x)
{
    const struct compose_link *base = compose_base(c, x), *owner = compose_controller(c, x);

    if (x->l.kind == NET_BOND && owner && owner->l.kind == NET_BRIDGE &&
        (x->l.bond_mode == 0 || x->l.bond_mode >= 5) && changes(x, NET_F_CONTROLLER | NET_F_BOND))
        return compose_refuse(
            c, x->by ? x->by : owner->by, NET_REASON_BOND_MODE,
            "%s: a bridge (%s) over a bond of mode %u (%s): want mode 1, 2, 3 or 4", x->l.name,
            owner->l.name, x->l.bond_mode, net_bond_mode_name(x->l.bond_mode));
    if (!base)
        return 0;
    owner = compose_controller(c, base);
    if (x->l.kind == NET_MACVLAN && *base->l.controller &&
        (changes(x, NET_F_BASE) || changes(base, NET_F_CONTROLLER)))
        return compose_refuse(c,
                              x->by      ? x->by
                              : base->by ? base->by
                              : owner    ? owner->by
                                         : NULL,
                              NET_REASON_CONFLICT,
                              "%s: base interface %s is a port of %s: want %s itself as the base",
                              x->l.name, base->l.name, base->l.controller, base->l.controller);
    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *o = &c->links[i];

        if (o == x || !o->alive || compose_base(c, o) != base || o->l.kind != x->l.kind ||
            !changes(x, NET_F_BASE))
            continue;
        if (x->l.kind == NET_VLAN && o->l.vlan_id == x->l.vlan_id)
            return compose_refuse(c, x->by, NET_REASON_CONFLICT,
                                  "%s: vlan id %u on %s is %s's already", x->l.name, x->l.vlan_id,
                                  base->l.name, o->l.name);
        if (x->l.kind == NET_MACVLAN && x->l.macvlan_mode && o->l.macvlan_mode &&
            (strcmp(x->l.macvlan_mode, "passthru") == 0 ||
             strcmp(o->l.macvlan_mode, "passthru") == 0))
            return compose_refuse(c, x->by, NET_REASON_CONFLICT,
                                  "%s: %s is on %s, too: a macvlan of mode passthru is alone there",
                                  x->l.name, o->l.name, base->l.name);
    }
    return 0;
}

/* In a cycle, or on one: what somebody asks for. */
static const struct compose_link *
asked_deepest(const struct compose *c, const unsigned *depth, const struct compose_link *x)
{
    unsigned most = 0;

    for (size_t i = 0; i < c->len; i++)
        if (c->links[i].by && depth[i] > most) {
            most = depth[i];
            x = &c->links[i];
        }
    return x;
}

static int
check_cycles(const struct compose *c)
{
    unsigned *depth = arena_calloc(c->arena, c->len, sizeof *depth);
    bool again = true;

    for (size_t round = 0; again; round++) {
        again = false;
        for (size_t i = 0; i < c->len; i++) {
            const struct compose_link *x = &c->links[i];
            const struct compose_link *base = x->alive ? compose_base(c, x) : NULL;
            const struct compose_link *owner = x->alive ? compose_controller(c, x) : NULL;

            if (base && depth[i] <= depth[base - c->links]) {
                depth[i] = depth[base - c->links] + 1;
                again = true;
            }
            if (owner && depth[owner - c->links] <= depth[i]) {
                depth[owner - c->links] = depth[i] + 1;
                again = true;
            }
            if (depth[i] > c->len) {
                x = asked_deepest(c, depth, x);
                return compose_refuse(c, x->by, NET_REASON_CONFLICT, "%s: it would stand on itself",
                                      x->l.name);
            }
        }
    }
    return 0;
}

/* --- what keeps the host in reach --- */

static bool
has_address(const struct net_link *l, const struct ip *ip)
{
    for (size_t i = 0; ip && i < l->addrs_len; i++)
        if (ip_equal(&l->addrs[i].ip, ip))
            return true;
    return false;
}

/* What of this host's reach depends on the interface; NULL: nothing. */
static const char *
carries(const struct compose *c, const struct net_link *now)
{
    if (now && now->default_route)
        return "the default route";
    return now && has_address(now, c->mgmt) ? "the management address" : NULL;
}

/* What the migration network takes as it finds it (a host-device) is nobody else's. */
static int
check_existing(const struct compose *c, const struct net_want *w)
{
    const struct compose_link *x = w->existing ? compose_find(c, w->link.name) : NULL;
    const char *what = x ? carries(c, net_state_find(c->now, x->l.name)) : NULL;

    if (what)
        return compose_refuse(c, w, NET_REASON_DEFAULT_ROUTE,
                              "%s: it carries %s of this host: want one of its own for migrations",
                              x->l.name, what);
    if (x && (w->fields & (NET_F_ADDRS4 | NET_F_ADDRS6)) && *x->l.controller)
        return compose_refuse(
            c, w, NET_REASON_CONFLICT,
            "%s: it is a port of %s, which takes what arrives: want one of its own "
            "for migrations",
            x->l.name, x->l.controller);
    return 0;
}

/* Who wants away what x stands on. */
static const struct net_want *
remover(const struct compose *c, const struct compose_link *x)
{
    const struct net_want *w = x->by;

    for (size_t round = 0; !w && *x->before.base && round < c->len; round++) {
        const struct compose_link *below = NULL;

        for (size_t i = 0; i < c->len; i++)
            if (strcmp(c->links[i].l.name, x->before.base) == 0)
                below = &c->links[i];
        if (!below)
            break;
        x = below;
        w = x->by;
    }
    return w;
}

static bool
somebody_has(const struct compose *c, const struct ip *ip)
{
    for (size_t i = 0; i < c->len; i++)
        if (c->links[i].alive && has_address(&c->links[i].l, ip))
            return true;
    return false;
}

static int
check_reach(const struct compose *c, const struct compose_link *x)
{
    const struct net_link *now = net_state_find(c->now, x->l.name);
    const struct compose_link *owner = compose_controller(c, x);
    const char *what = carries(c, now);

    if (!what || (!x->alive && !x->was))
        return 0;
    if (!x->alive)
        return compose_refuse(c, remover(c, x), NET_REASON_DEFAULT_ROUTE,
                              "%s: state absent: it carries %s of this host", x->l.name, what);
    if (x->by && !x->l.up && now->up)
        return compose_refuse(c, x->by, NET_REASON_DEFAULT_ROUTE,
                              "%s: state down: it carries %s of this host", x->l.name, what);
    if (strcmp(x->l.controller, now->controller) != 0 && changes(x, NET_F_CONTROLLER))
        return compose_refuse(c, owner && owner->by ? owner->by : x->by, NET_REASON_DEFAULT_ROUTE,
                              "%s: it carries %s of this host: it cannot become or cease to be a "
                              "port (of %s)",
                              x->l.name, what, owner ? owner->l.name : now->controller);
    if (x->by && (!net_link_equal(now, &x->l, NET_F_BASE, NULL, 0) ||
                  (now->kind == NET_BOND && now->bond_mode != x->l.bond_mode)))
        return compose_refuse(c, x->by, NET_REASON_DEFAULT_ROUTE,
                              "%s: it would be made anew, but carries %s of this host", x->l.name,
                              what);
    if (x->by && c->mgmt && has_address(now, c->mgmt) && !somebody_has(c, c->mgmt))
        return compose_refuse(c, x->by, NET_REASON_DEFAULT_ROUTE,
                              "%s: its addresses: the management address of this host is not among "
                              "them",
                              x->l.name);
    return 0;
}

/* --- values --- */

static int
check_mtu(const struct compose *c, const struct compose_link *x)
{
    const struct compose_link *base = compose_base(c, x), *owner = compose_controller(c, x);
    const struct net_want *w = x->mtu ? x->mtu : x->by;
    uint32_t low = x->l.min_mtu > NET_MIN_MTU ? x->l.min_mtu : NET_MIN_MTU;
    uint32_t high = !base && x->l.max_mtu > 0 ? x->l.max_mtu : NET_MAX_MTU;

    if (!w || (!changes(x, NET_F_MTU) && !changes(x, NET_F_ADDRS6)))
        return 0; /* what goes back as far as it can is not refused */
    if (x->l.mtu < low || x->l.mtu > high)
        return compose_refuse(c, w, NET_REASON_MTU, "%s: mtu %u: want %u to %u", x->l.name,
                              x->l.mtu, low, high);
    if (base && x->l.mtu > base->l.mtu)
        return compose_refuse(c, w, NET_REASON_MTU,
                              "%s: mtu %u: want at most %u, which its base %s has", x->l.name,
                              x->l.mtu, base->l.mtu, base->l.name);
    if (owner && owner->l.kind == NET_BOND && x->l.mtu != owner->l.mtu)
        return compose_refuse(c, w, NET_REASON_MTU, "%s: mtu %u: want %u as its bond %s has",
                              x->l.name, x->l.mtu, owner->l.mtu, owner->l.name);
    if (x->l.mtu < NET_MIN_MTU_IPV6)
        for (size_t i = 0; i < x->l.addrs_len; i++)
            if (!ip_is_v4(&x->l.addrs[i].ip))
                return compose_refuse(c, w, NET_REASON_MTU,
                                      "%s: mtu %u: want at least %d, since it has IPv6 addresses",
                                      x->l.name, x->l.mtu, NET_MIN_MTU_IPV6);
    return 0;
}

static int
check_addrs(const struct compose *c, const struct compose_link *x)
{
    for (size_t i = 0; i < x->l.addrs_len; i++) {
        const struct net_addr *a = &x->l.addrs[i];
        bool v4 = ip_is_v4(&a->ip);
        struct cidr text = {.base = a->ip, .prefix = a->prefix, .v4 = v4};
        char buf[CIDR_TEXT_SIZE];

        if (a->foreign || !(x->asked & (v4 ? NET_F_ADDRS4 : NET_F_ADDRS6)))
            continue;
        cidr_format(&text, buf, sizeof buf);
        if (a->prefix > (v4 ? 32u : 128u) || IN6_IS_ADDR_UNSPECIFIED(&a->ip.a) ||
            IN6_IS_ADDR_MULTICAST(&a->ip.a) || IN6_IS_ADDR_LINKLOCAL(&a->ip.a) ||
            (v4 && (a->ip.a.s6_addr[12] == 0 || a->ip.a.s6_addr[12] >= 224)))
            return compose_refuse(c, x->by, NET_REASON_INVALID,
                                  "%s: address %s: want a unicast address that is not link-local",
                                  x->l.name, buf);
        if (i > 0 && ip_equal(&a->ip, &x->l.addrs[i - 1].ip) && !(v4 && x->l.addrs[i - 1].foreign))
            return compose_refuse(c, x->by, NET_REASON_INVALID,
                                  "%s: address %s is there twice with different prefix lengths",
                                  x->l.name, buf);
    }
    return 0;
}
