/* The kernel's part in a plan; see net_sim.h. What is written here was seen in net/8021q/vlan.c,
 * drivers/net/macvlan.c, drivers/net/bonding/bond_main.c, net/bridge/br_if.c and
 * net/ipv6/addrconf.c (Linux 6.x). */
#include "netpolicy/net_sim.h"

#include <string.h>

#define DEFAULT_MIIMON 100 /* of bond modes 802.3ad, balance-tlb, balance-alb */

static void mtu_unknown(struct net_sim *s, struct sim_link *x, uint32_t at_least);
static void mtu_changed(struct net_sim *s, struct sim_link *x);
static void mac_unknown(struct net_sim *s, struct sim_link *x);
static void bridge_follows(struct net_sim *s, const char *name);

void
net_sim_init(struct net_sim *s, const struct net_state *now, size_t added, struct arena *a)
{
    struct net_state copy;

    net_state_copy(now, a, &copy);
    s->arena = a;
    s->len = copy.len;
    s->cap = copy.len + added;
    s->links = arena_calloc(a, s->cap, sizeof *s->links);
    for (size_t i = 0; i < copy.len; i++)
        s->links[i] = (struct sim_link){
            .l = copy.links[i], .mtu_known = true, .mac_known = true, .mtu_by_user = SIM_MAYBE};
}

struct sim_link *
net_sim_find(struct net_sim *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (!s->links[i].gone && strcmp(s->links[i].l.name, name) == 0)
            return &s->links[i];
    return NULL;
}

static bool
stands_on(const struct sim_link *x, const struct sim_link *base)
{
    return !x->gone && net_kind_stacked(x->l.kind) && strcmp(x->l.base, base->l.name) == 0;
}

void
net_sim_add(struct net_sim *s, const struct net_link *l)
{
    const struct sim_link *base = net_kind_stacked(l->kind) ? net_sim_find(s, l->base) : NULL;
    struct sim_link *x = NULL;
    unsigned touched;

    for (size_t i = 0; i < s->len && !x; i++)
        if (strcmp(s->links[i].l.name, l->name) == 0)
            x = &s->links[i];
    if (!x)
        x = &s->links[s->len++];
    touched = x->touched | NET_F_ALL;
    *x = (struct sim_link){.mtu_known = !base || base->mtu_known, .touched = touched};
    memcpy(x->l.name, l->name, sizeof x->l.name);
    net_link_take(&x->l, l, NET_F_BASE, s->arena);
    x->l.mtu = base ? base->l.mtu : NET_DEFAULT_MTU;
    x->l.bond_mode = l->bond_mode;
    x->l.bond_miimon = l->kind == NET_BOND && l->bond_miimon == 0 && l->bond_mode >= 4
                           ? DEFAULT_MIIMON
                           : l->bond_miimon;
}

void
net_sim_del(struct net_sim *s, struct sim_link *x)
{
    for (size_t i = 0; i < s->len; i++) {
        struct sim_link *port = &s->links[i];

        if (port->gone || strcmp(port->l.controller, x->l.name) != 0)
            continue;
        if (x->l.kind == NET_BOND)
            net_sim_down(s, port);
        net_sim_controller(s, port, "");
    }
    x->gone = true;
    x->touched = NET_F_ALL;
    if (*x->l.controller)
        bridge_follows(s, x->l.controller);
}

void
net_sim_up(struct net_sim *s, struct sim_link *x)
{
    x->l.up = true;
    x->touched |= NET_F_UP;
    for (size_t i = 0; i < s->len; i++)
        if (stands_on(&s->links[i], x) && s->links[i].l.kind == NET_VLAN && !s->links[i].l.up)
            net_sim_up(s, &s->links[i]);
}

void
net_sim_down(struct net_sim *s, struct sim_link *x)
{
    size_t kept = 0;

    if (!x->l.up)
        return;
    x->l.up = false;
    x->touched |= NET_F_UP | NET_F_ADDRS6;
    for (size_t i = 0; i < x->l.addrs_len; i++)
        if (ip_is_v4(&x->l.addrs[i].ip))
            x->l.addrs[kept++] = x->l.addrs[i];
    x->l.addrs_len = kept;
    for (size_t i = 0; i < s->len; i++)
        if (stands_on(&s->links[i], x) && s->links[i].l.kind == NET_VLAN && s->links[i].l.up)
            net_sim_down(s, &s->links[i]);
}

void
net_sim_mtu(struct net_sim *s, struct sim_link *x, uint32_t mtu)
{
    /* A bridge that has this MTU already is not told so by the kernel, and goes on following. */
    if (x->mtu_known && x->l.mtu != mtu)
        x->mtu_by_user = SIM_YES;
    else if (x->mtu_by_user == SIM_NO)
        x->mtu_by_user = SIM_MAYBE;
    x->l.mtu = mtu;
    x->mtu_known = true;
    mtu_changed(s, x);
}

void
net_sim_mac(struct net_sim *s, struct sim_link *x, const uint8_t mac[6])
{
    mac_unknown(s, x);
    memcpy(x->l.mac, mac, sizeof x->l.mac);
    x->mac_known = x->mac_by_user = true;
    x->touched |= NET_F_MAC;
}

void
net_sim_controller(struct net_sim *s, struct sim_link *x, const char *controller)
{
    struct sim_link *from = net_sim_find(s, x->l.controller);
    struct sim_link *to = net_sim_find(s, controller);
    bool from_bond = from && from->l.kind == NET_BOND, to_bond = to && to->l.kind == NET_BOND;
    bool up = x->l.up || to_bond;
    char left[NL_IFNAME_SIZE];

    memcpy(left, x->l.controller, sizeof left);
    memset(x->l.controller, 0, sizeof x->l.controller);
    memcpy(x->l.controller, controller, strlen(controller));
    x->touched |= NET_F_CONTROLLER;
    if (from_bond || to_bond)
        net_sim_down(s, x);
    if (from_bond || to_bond) {
        mac_unknown(s, x);
        x->touched |= NET_F_MAC;
    }
    if (from_bond)
        mtu_unknown(s, x, 0); /* the one that it had when it was put in comes back */
    /* A bond or bridge may have had its MAC from a port, and may get another's. */
    if (from && !from->mac_by_user)
        mac_unknown(s, from);
    if (to && !to->mac_by_user)
        mac_unknown(s, to);
    if (*left)
        bridge_follows(s, left);
    if (to_bond && !to->mtu_known)
        mtu_unknown(s, x, 0);
    else if (to_bond && (!x->mtu_known || x->l.mtu != to->l.mtu))
        net_sim_mtu(s, x, to->l.mtu);
    else if (to)
        bridge_follows(s, controller);
    if ((from_bond || to_bond) && up)
        net_sim_up(s, x);
}

/* x's MTU was set: what stands on it shrinks with it, a bond's ports get the bond's, and the bridge
 * that it is a port of may follow. */
static void
mtu_changed(struct net_sim *s, struct sim_link *x)
{
    x->touched |= NET_F_MTU;
    for (size_t i = 0; i < s->len; i++) {
        struct sim_link *o = &s->links[i];
        bool port = !o->gone && x->l.kind == NET_BOND && strcmp(o->l.controller, x->l.name) == 0;

        if ((stands_on(o, x) && o->mtu_known && o->l.mtu > x->l.mtu) ||
            (port && (!o->mtu_known || o->l.mtu != x->l.mtu))) {
            o->l.mtu = x->l.mtu;
            o->mtu_known = true;
            mtu_changed(s, o);
        }
    }
    if (*x->l.controller)
        bridge_follows(s, x->l.controller);
}

/* It may be anything from at_least up to what it was. */
static void
mtu_unknown(struct net_sim *s, struct sim_link *x, uint32_t at_least)
{
    x->mtu_known = false;
    x->touched |= NET_F_MTU;
    for (size_t i = 0; i < s->len; i++)
        if (stands_on(&s->links[i], x) && (!s->links[i].mtu_known || s->links[i].l.mtu > at_least))
            mtu_unknown(s, &s->links[i], at_least);
    if (*x->l.controller)
        bridge_follows(s, x->l.controller);
}

/* With it those of the vlans on it and of its bridge, unless they were given others. */
static void
mac_unknown(struct net_sim *s, struct sim_link *x)
{
    struct sim_link *owner = net_sim_find(s, x->l.controller);

    x->mac_known = false;
    for (size_t i = 0; i < s->len; i++) {
        struct sim_link *o = &s->links[i];

        if (stands_on(o, x) && o->l.kind == NET_VLAN && o->mac_known && !o->mac_by_user)
            mac_unknown(s, o);
    }
    if (owner && owner->l.kind == NET_BRIDGE && owner->mac_known && !owner->mac_by_user)
        mac_unknown(s, owner);
}

static void
bridge_follows(struct net_sim *s, const char *name)
{
    struct sim_link *b = net_sim_find(s, name);
    uint32_t least = 0;
    bool known = true;

    if (!b || b->l.kind != NET_BRIDGE || b->mtu_by_user == SIM_YES)
        return;
    for (size_t i = 0; i < s->len; i++) {
        const struct sim_link *o = &s->links[i];

        if (o->gone || strcmp(o->l.controller, name) != 0)
            continue;
        known = known && o->mtu_known;
        if (least == 0 || o->l.mtu < least)
            least = o->l.mtu;
    }
    if (least == 0)
        least = NET_DEFAULT_MTU;
    if (known && b->mtu_known && b->l.mtu == least)
        return;
    if (known && b->mtu_by_user == SIM_NO) {
        b->l.mtu = least;
        b->mtu_known = true;
        mtu_changed(s, b);
    } else {
        mtu_unknown(s, b, known ? least : 0);
    }
}
