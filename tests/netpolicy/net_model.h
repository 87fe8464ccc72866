/* A small kernel for plans: does one step to a state, refuses what Linux (and nl_step_apply) would
 * refuse, and changes what Linux changes by itself. Written apart from net_sim.c, from the kernel's
 * sources and from tries in a namespace, to be compared with it. */
#ifndef TESTS_NETPOLICY_NET_MODEL_H
#define TESTS_NETPOLICY_NET_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "netpolicy/net_plan.h"

#define MODEL_MAX 32

/* What the kernel remembers and does not show. */
struct model_link {
    struct net_link l;
    uint32_t mtu_before_bond;
    uint8_t mac_before_bond[6];
    bool mtu_by_user; /* bridge */
    bool mac_by_user;
};

enum model_drop6 { MODEL_NONE, MODEL_FOREIGN, MODEL_ALL }; /* which IPv6 addresses go, too */

struct model {
    struct model_link links[MODEL_MAX];
    size_t len;
    struct arena *arena;
    bool keep_addr_on_down;
    bool strict; /* what is already so is refused, too */
    uint8_t macs;
    char text[128];
};

static inline struct model_link *
model_find(struct model *m, const char *name)
{
    for (size_t i = 0; *name && i < m->len; i++)
        if (strcmp(m->links[i].l.name, name) == 0)
            return &m->links[i];
    return NULL;
}

static inline int
model_compare(const void *x, const void *y)
{
    const struct net_link *a = x, *b = y;

    return strcmp(a->name, b->name);
}

static inline void
model_state(const struct model *m, struct arena *a, struct net_state *ret)
{
    struct net_link links[MODEL_MAX];
    struct net_state s = {.links = links, .len = m->len};

    for (size_t i = 0; i < m->len; i++)
        links[i] = m->links[i].l;
    net_state_copy(&s, a, ret);
    if (ret->len > 0)
        qsort(ret->links, ret->len, sizeof *ret->links, model_compare);
}

static inline bool
model_on(const struct model_link *x, const struct model_link *base)
{
    return net_kind_stacked(x->l.kind) && strcmp(x->l.base, base->l.name) == 0;
}

static inline bool
model_in(const struct model_link *x, const struct model_link *owner)
{
    return strcmp(x->l.controller, owner->l.name) == 0;
}

static inline bool
model_has6(const struct model_link *x)
{
    for (size_t i = 0; i < x->l.addrs_len; i++)
        if (!ip_is_v4(&x->l.addrs[i].ip))
            return true;
    return false;
}

static inline int
model_compare_addrs(const void *x, const void *y)
{
    const struct net_addr *a = x, *b = y;
    int d = ip_cmp(&a->ip, &b->ip);

    return d != 0 ? d : (int)a->prefix - (int)b->prefix;
}

static inline void
model_addrs(struct model *m, struct model_link *x, const struct net_addr *skip,
            enum model_drop6 drop, const struct net_addr *add)
{
    struct net_addr *all = arena_calloc(m->arena, x->l.addrs_len + 1, sizeof *all);
    size_t len = 0;

    for (size_t i = 0; i < x->l.addrs_len; i++)
        if (!(skip && net_addr_equal(skip, &x->l.addrs[i])) &&
            !(!ip_is_v4(&x->l.addrs[i].ip) &&
              (drop == MODEL_ALL || (drop == MODEL_FOREIGN && x->l.addrs[i].foreign))))
            all[len++] = x->l.addrs[i];
    if (add)
        all[len++] = *add;
    if (len > 0)
        qsort(all, len, sizeof *all, model_compare_addrs);
    x->l.addrs = all;
    x->l.addrs_len = len;
}

#define MODEL_REFUSE(...)                                  \
    do {                                                   \
        snprintf(m->text, sizeof m->text, "" __VA_ARGS__); \
        return m->text;                                    \
    } while (0)

static inline void
model_mac(struct model *m, uint8_t mac[6])
{
    memset(mac, 0, 6);
    mac[0] = 0x52;
    mac[5] = ++m->macs;
}

static inline void model_bridge_mac(struct model *m, struct model_link *b);

static inline void
model_set_mac(struct model *m, struct model_link *x, const uint8_t mac[6])
{
    memcpy(x->l.mac, mac, 6);
    for (size_t i = 0; i < m->len; i++)
        if (model_on(&m->links[i], x) && m->links[i].l.kind == NET_VLAN && !m->links[i].mac_by_user)
            model_set_mac(m, &m->links[i], mac);
    for (size_t i = 0; i < m->len; i++)
        if (x->l.kind == NET_BOND && model_in(&m->links[i], x))
            model_set_mac(m, &m->links[i], mac);
    if (model_find(m, x->l.controller))
        model_bridge_mac(m, model_find(m, x->l.controller));
}

static inline void model_bridge_follows(struct model *m, const char *name);

/* A bridge without a MAC of its own has the least of its ports'. */
static inline void
model_bridge_mac(struct model *m, struct model_link *b)
{
    const uint8_t *least = NULL;

    for (size_t i = 0; i < m->len; i++)
        if (model_in(&m->links[i], b) && (!least || memcmp(m->links[i].l.mac, least, 6) < 0))
            least = m->links[i].l.mac;
    if (!b->mac_by_user && b->l.kind == NET_BRIDGE && least)
        model_set_mac(m, b, least);
}

static inline void
model_set_mtu(struct model *m, struct model_link *x, uint32_t mtu)
{
    if (x->l.mtu == mtu)
        return;
    x->l.mtu = mtu;
    if (mtu < 1280)
        model_addrs(m, x, NULL, MODEL_ALL, NULL);
    for (size_t i = 0; i < m->len; i++) {
        struct model_link *o = &m->links[i];

        if ((model_on(o, x) && o->l.mtu > mtu) || (x->l.kind == NET_BOND && model_in(o, x)))
            model_set_mtu(m, o, mtu);
    }
    model_bridge_follows(m, x->l.controller);
}

static inline void
model_bridge_follows(struct model *m, const char *name)
{
    struct model_link *b = model_find(m, name);
    uint32_t least = 0;

    if (!b || b->l.kind != NET_BRIDGE || b->mtu_by_user)
        return;
    for (size_t i = 0; i < m->len; i++)
        if (model_in(&m->links[i], b) && (least == 0 || m->links[i].l.mtu < least))
            least = m->links[i].l.mtu;
    model_set_mtu(m, b, least ? least : 1500);
}

static inline void
model_close(struct model *m, struct model_link *x)
{
    if (!x->l.up)
        return;
    x->l.up = false;
    model_addrs(m, x, NULL, m->keep_addr_on_down ? MODEL_FOREIGN : MODEL_ALL, NULL);
    for (size_t i = 0; i < m->len; i++)
        if (model_on(&m->links[i], x) && m->links[i].l.kind == NET_VLAN)
            model_close(m, &m->links[i]);
}

static inline void
model_open(struct model *m, struct model_link *x)
{
    x->l.up = true;
    for (size_t i = 0; i < m->len; i++)
        if (model_on(&m->links[i], x) && m->links[i].l.kind == NET_VLAN && !m->links[i].l.up)
            model_open(m, &m->links[i]);
}

static inline size_t
model_ports(const struct model *m, const struct model_link *owner)
{
    size_t len = 0;

    for (size_t i = 0; i < m->len; i++)
        len += model_in(&m->links[i], owner);
    return len;
}

static inline void
model_release(struct model *m, struct model_link *x)
{
    struct model_link *from = model_find(m, x->l.controller);

    memset(x->l.controller, 0, sizeof x->l.controller);
    if (from && from->l.kind == NET_BOND) {
        model_close(m, x);
        model_set_mtu(m, x, x->mtu_before_bond);
        model_set_mac(m, x, x->mac_before_bond);
        if (model_ports(m, from) == 0 && !from->mac_by_user) {
            uint8_t mac[6];

            model_mac(m, mac);
            model_set_mac(m, from, mac);
        }
    } else if (from) {
        model_bridge_mac(m, from);
        model_bridge_follows(m, from->l.name);
    }
}

static inline const char *
model_add(struct model *m, const struct net_link *l)
{
    struct model_link *base = model_find(m, l->base), *x;

    if (model_find(m, l->name) || m->len == MODEL_MAX)
        MODEL_REFUSE("EEXIST");
    if (!net_kind_made(l->kind))
        MODEL_REFUSE("EOPNOTSUPP: kind");
    if (net_kind_stacked(l->kind)) {
        if (!base)
            MODEL_REFUSE("ENODEV: no base %s", l->base);
        if (base->l.kind == NET_LOOPBACK)
            MODEL_REFUSE("EINVAL: base is loopback");
        if (l->kind == NET_MACVLAN && *base->l.controller)
            MODEL_REFUSE("EBUSY: base %s is a port", l->base);
        if (l->kind == NET_MACVLAN && (base->l.kind == NET_MACVLAN || !l->macvlan_mode))
            MODEL_REFUSE("macvlan on macvlan, or without a mode");
        for (size_t i = 0; i < m->len; i++) {
            const struct net_link *o = &m->links[i].l;

            if (o->kind != l->kind || strcmp(o->base, l->base) != 0)
                continue;
            if (l->kind == NET_VLAN && o->vlan_id == l->vlan_id)
                MODEL_REFUSE("EEXIST: vlan id %u", l->vlan_id);
            if (l->kind == NET_MACVLAN && (strcmp(o->macvlan_mode, "passthru") == 0 ||
                                           strcmp(l->macvlan_mode, "passthru") == 0))
                MODEL_REFUSE("EINVAL: passthru is alone");
        }
    }
    x = &m->links[m->len++];
    *x = (struct model_link){.l = {.kind = l->kind, .mtu = base ? base->l.mtu : 1500}};
    memcpy(x->l.name, l->name, sizeof x->l.name);
    net_link_take(&x->l, l, NET_F_BASE | NET_F_BOND, m->arena);
    if (l->kind == NET_BOND && l->bond_mode >= 4 && l->bond_miimon == 0)
        x->l.bond_miimon = 100;
    model_mac(m, x->l.mac);
    if (l->kind == NET_VLAN)
        memcpy(x->l.mac, base->l.mac, 6);
    return NULL;
}

static inline const char *
model_del(struct model *m, const char *name)
{
    struct model_link *x = model_find(m, name);
    char owner[NL_IFNAME_SIZE];

    if (!x)
        MODEL_REFUSE("ENODEV");
    if (!net_kind_made(x->l.kind))
        MODEL_REFUSE("EOPNOTSUPP: kind");
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < m->len && !again; i++) {
            if (model_on(&m->links[i], x)) {
                if (m->strict)
                    MODEL_REFUSE("%s stands on it", m->links[i].l.name);
                model_del(m, m->links[i].l.name);
                x = model_find(m, name);
                again = true;
            }
        }
    }
    for (size_t i = 0; i < m->len; i++)
        if (model_in(&m->links[i], x))
            model_release(m, &m->links[i]);
    memcpy(owner, x->l.controller, sizeof owner);
    *x = m->links[--m->len];
    model_bridge_follows(m, owner);
    return NULL;
}

/* Whether x is reached from `from` downwards: bases and ports. */
static inline bool
model_below(struct model *m, struct model_link *from, const struct model_link *x)
{
    struct model_link *base = net_kind_stacked(from->l.kind) ? model_find(m, from->l.base) : NULL;

    if (from == x || (base && model_below(m, base, x)))
        return true;
    for (size_t i = 0; i < m->len; i++)
        if (model_in(&m->links[i], from) && model_below(m, &m->links[i], x))
            return true;
    return false;
}

static inline const char *
model_controller(struct model *m, struct model_link *x, const char *name)
{
    struct model_link *owner = model_find(m, name);
    bool up = x->l.up;

    if (strcmp(x->l.controller, name) == 0)
        MODEL_REFUSE("it is so already");
    if (*name && !owner)
        MODEL_REFUSE("ENODEV: no controller %s", name);
    if (!owner) {
        struct model_link *from = model_find(m, x->l.controller);
        bool bond = from && from->l.kind == NET_BOND;

        model_release(m, x);
        if (bond && up)
            model_open(m, x);
        return NULL;
    }
    if (*x->l.controller)
        MODEL_REFUSE("EBUSY: it is a port of %s", x->l.controller);
    if (!net_kind_ports(owner->l.kind) || x->l.kind == NET_LOOPBACK || x->l.kind == NET_BRIDGE ||
        (net_kind_made(x->l.kind) && owner->l.kind == NET_BOND)) /* Linux has vlans in bonds */
        MODEL_REFUSE("ELOOP: kinds");
    if (model_below(m, x, owner))
        MODEL_REFUSE("ELOOP");
    for (size_t i = 0; i < m->len; i++)
        if (model_on(&m->links[i], x) && m->links[i].l.kind == NET_MACVLAN)
            MODEL_REFUSE("EBUSY: macvlan %s is on it", m->links[i].l.name);
    if (owner->l.kind == NET_BRIDGE) {
        memcpy(x->l.controller, owner->l.name, sizeof x->l.controller);
        model_bridge_mac(m, owner);
        model_bridge_follows(m, name);
        return NULL;
    }
    if (x->l.max_mtu > 0 && owner->l.mtu > x->l.max_mtu)
        MODEL_REFUSE("EINVAL: mtu of the bond");
    model_close(m, x);
    x->mtu_before_bond = x->l.mtu;
    memcpy(x->mac_before_bond, x->l.mac, 6);
    if (model_ports(m, owner) == 0 && !owner->mac_by_user)
        model_set_mac(m, owner, x->l.mac);
    memcpy(x->l.controller, owner->l.name, sizeof x->l.controller);
    model_set_mtu(m, x, owner->l.mtu);
    model_set_mac(m, x, owner->l.mac);
    model_open(m, x);
    return NULL;
}

static inline const char *
model_mtu(struct model *m, struct model_link *x, uint32_t mtu)
{
    const struct model_link *base = net_kind_stacked(x->l.kind) ? model_find(m, x->l.base) : NULL;

    if (mtu < 68 || mtu > 65535 || (x->l.max_mtu > 0 && mtu > x->l.max_mtu))
        MODEL_REFUSE("ERANGE: mtu %u", mtu);
    if (base && mtu > base->l.mtu)
        MODEL_REFUSE("ERANGE: mtu %u over the base's %u", mtu, base->l.mtu);
    if (mtu < 1280 && model_has6(x))
        MODEL_REFUSE("mtu %u would take IPv6 addresses away", mtu);
    for (size_t i = 0; x->l.kind == NET_BOND && i < m->len; i++) {
        const struct model_link *o = &m->links[i];

        if (!model_in(o, x))
            continue;
        if (o->l.max_mtu > 0 && mtu > o->l.max_mtu)
            MODEL_REFUSE("ERANGE: mtu %u for port %s", mtu, o->l.name);
    }
    if (x->l.mtu != mtu)
        x->mtu_by_user = true;
    model_set_mtu(m, x, mtu);
    return NULL;
}

static inline const char *
model_addr(struct model *m, struct model_link *x, const struct net_addr *a, bool add)
{
    const struct net_addr *is = net_link_find_addr(&x->l, a);

    if (!add) {
        if (!is || is->foreign)
            MODEL_REFUSE("EADDRNOTAVAIL, or not ours");
        model_addrs(m, x, a, MODEL_NONE, NULL);
        return NULL;
    }
    if (is)
        MODEL_REFUSE("EEXIST");
    for (size_t i = 0; i < x->l.addrs_len; i++)
        if (!ip_is_v4(&a->ip) && ip_equal(&a->ip, &x->l.addrs[i].ip))
            MODEL_REFUSE("EEXIST: other prefix length");
    if (!ip_is_v4(&a->ip) && x->l.mtu < 1280)
        MODEL_REFUSE("EINVAL: IPv6 with mtu %u", x->l.mtu);
    model_addrs(m, x, NULL, MODEL_NONE, a);
    return NULL;
}

/* NULL, or why not. */
static inline const char *
model_apply(struct model *m, const struct net_step *s)
{
    struct model_link *x = model_find(m, s->link.name);
    const struct model_link *base;

    if (s->op == NET_OP_ADD)
        return model_add(m, &s->link);
    if (!x)
        MODEL_REFUSE("ENODEV");
    base = net_kind_stacked(x->l.kind) ? model_find(m, x->l.base) : NULL;
    switch (s->op) {
    case NET_OP_ADD:
        break;
    case NET_OP_DEL:
        return model_del(m, s->link.name);
    case NET_OP_UP:
        if (x->l.kind == NET_VLAN && !base->l.up)
            MODEL_REFUSE("ENETDOWN: base %s", x->l.base);
        if (m->strict && x->l.up)
            MODEL_REFUSE("it is so already");
        model_open(m, x);
        break;
    case NET_OP_DOWN:
        if (m->strict && !x->l.up)
            MODEL_REFUSE("it is so already");
        model_close(m, x);
        break;
    case NET_OP_MTU:
        return model_mtu(m, x, s->link.mtu);
    case NET_OP_MAC:
        if (x->l.kind != NET_BOND && model_find(m, x->l.controller) &&
            model_find(m, x->l.controller)->l.kind == NET_BOND)
            MODEL_REFUSE("a bond's port has the bond's");
        x->mac_by_user = true;
        model_set_mac(m, x, s->link.mac);
        break;
    case NET_OP_CONTROLLER:
        return model_controller(m, x, s->link.controller);
    case NET_OP_BRIDGE:
        if (x->l.kind != NET_BRIDGE)
            MODEL_REFUSE("EINVAL: no bridge");
        net_link_take(&x->l, &s->link, NET_F_BRIDGE, m->arena);
        break;
    case NET_OP_BOND:
        if (x->l.kind != NET_BOND || x->l.bond_mode != s->link.bond_mode)
            MODEL_REFUSE("EINVAL: no bond, or another mode");
        x->l.bond_miimon = s->link.bond_miimon;
        break;
    case NET_OP_ADDR_ADD:
    case NET_OP_ADDR_DEL:
        return model_addr(m, x, &s->addr, s->op == NET_OP_ADDR_ADD);
    case NET_OP_SHAPE:
        if (x->l.shape_foreign)
            MODEL_REFUSE("EBUSY: somebody else's qdisc");
        x->l.shape = s->link.shape;
        break;
    case NET_OP_ARP_IGNORE:
        x->l.arp_ignore = s->link.arp_ignore;
        break;
    }
    return NULL;
}

#endif
