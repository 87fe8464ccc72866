/* What follows for interfaces that nobody speaks of from those that somebody speaks of: MTUs, and
 * what is up; see net_plan.h. The rules are the kernel's (net_sim.c), or what people expect where
 * the kernel would leave a new interface useless. */
#include <string.h>

#include "netpolicy/net_compose_impl.h"

static int derive_up(struct compose *c);
static void derive_mtu(struct compose *c);

int
net_derive(struct compose *c)
{
    int rc = derive_up(c);

    if (rc == 0)
        derive_mtu(c);
    return rc;
}

/* --- up and down --- */

static void
lose_addresses6(const struct compose *c, struct compose_link *x)
{
    static const struct net_link nothing;

    if (!(x->asked & NET_F_ADDRS6))
        net_link_take(&x->l, &nothing, NET_F_ADDRS6, c->arena);
}

static int
derive_up(struct compose *c)
{
    bool again = true;

    /* A vlan does not come up on a base that is down. */
    for (size_t i = 0; i < c->len; i++) {
        struct compose_link *x = &c->links[i];

        if (x->alive && (x->derived & NET_F_CONTROLLER) && !(x->asked & NET_F_UP)) {
            x->l.up = true;
            x->derived |= NET_F_UP;
        }
    }
    for (size_t round = 0; again && round <= c->len; round++) {
        again = false;
        for (size_t i = 0; i < c->len; i++) {
            struct compose_link *x = &c->links[i], *base = x->alive ? compose_base(c, x) : NULL;
            bool wanted = ((x->asked | x->derived) & NET_F_UP) != 0;

            if (!base || x->l.kind != NET_VLAN || !x->l.up || base->l.up || !wanted)
                continue;
            if (base->asked & NET_F_UP)
                return compose_refuse(c, x->by ? x->by : base->by, NET_REASON_CONFLICT,
                                      "%s: state up: its base %s is to be down (%s)", x->l.name,
                                      base->l.name, base->by->origin);
            base->l.up = true;
            base->derived |= NET_F_UP;
            again = true;
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < c->len; i++) {
            struct compose_link *x = &c->links[i], *base = x->alive ? compose_base(c, x) : NULL;

            if (base && x->l.kind == NET_VLAN && x->l.up && !base->l.up) {
                x->l.up = false;
                more = true;
            }
        }
    }
    for (size_t i = 0; i < c->len; i++)
        if (c->links[i].alive && c->links[i].was && c->links[i].before.up && !c->links[i].l.up)
            lose_addresses6(c, &c->links[i]);
    return 0;
}

/* --- MTU --- */

/* Whether the bridge's ports, or their MTUs, are others than they were: then it follows them. */
static bool
ports_changed(const struct compose *c, const struct compose_link *bridge)
{
    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *x = &c->links[i];
        bool is = x->alive && strcmp(x->l.controller, bridge->l.name) == 0;
        bool was = x->was && strcmp(x->before.controller, bridge->l.name) == 0;

        if (is != was || (is && x->l.mtu != x->before.mtu))
            return true;
    }
    return false;
}

/* Guests' taps are not among them: one with a small MTU would shrink the host's network. */
static uint32_t
least_of_ports(const struct compose *c, const struct compose_link *x, bool asked_only)
{
    uint32_t least = 0;

    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *p = &c->links[i];

        if (p->alive && strcmp(p->l.controller, x->l.name) == 0 && p->l.kind != NET_OTHER &&
            (!asked_only || (p->asked & NET_F_MTU)) && (least == 0 || p->l.mtu < least))
            least = p->l.mtu;
    }
    return least;
}

/* For errors about the MTU that the bridge gets from it. */
static const struct net_want *
who_changed_ports(const struct compose *c, const struct compose_link *bridge)
{
    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *x = &c->links[i];

        if (x->alive && strcmp(x->l.controller, bridge->l.name) == 0 && (x->mtu || x->by))
            return x->mtu ? x->mtu : x->by;
    }
    return NULL;
}

/* Without asking; asked MTUs are checked afterwards. */
static uint32_t
followed_mtu(const struct compose *c, struct compose_link *x)
{
    struct compose_link *base = compose_base(c, x), *owner = compose_controller(c, x);
    uint32_t own = x->was ? x->before.mtu : NET_DEFAULT_MTU, least;

    if (owner && owner->l.kind == NET_BOND &&
        (!x->was || strcmp(x->before.controller, owner->l.name) != 0 || owner->made ||
         (owner->asked & NET_F_MTU) || owner->l.mtu != owner->before.mtu)) {
        x->mtu = owner->mtu ? owner->mtu : owner->by;
        return owner->l.mtu;
    }
    if (x->l.kind == NET_BOND) {
        least = least_of_ports(c, x, true);
        x->mtu = least ? who_changed_ports(c, x) : NULL;
        return least ? least : own;
    }
    if (x->l.kind == NET_BRIDGE && (x->made || ports_changed(c, x))) {
        x->mtu = who_changed_ports(c, x);
        least = least_of_ports(c, x, false);
        return least ? least : NET_DEFAULT_MTU;
    }
    if (base && (x->made || own > base->l.mtu)) {
        x->mtu = base->mtu ? base->mtu : base->by;
        return base->l.mtu;
    }
    return own;
}

static void
derive_mtu(struct compose *c)
{
    bool again = true;

    for (size_t i = 0; i < c->len; i++) {
        struct compose_link *x = &c->links[i];

        if (x->alive && !(x->asked & NET_F_MTU))
            x->l.mtu = x->was ? x->before.mtu : NET_DEFAULT_MTU;
    }
    /* Each round settles what stands one higher; structure has no cycles. */
    for (size_t round = 0; again && round <= 4 * c->len; round++) {
        again = false;
        for (size_t i = 0; i < c->len; i++) {
            struct compose_link *x = &c->links[i];
            uint32_t mtu;

            if (!x->alive || (x->asked & NET_F_MTU))
                continue;
            mtu = followed_mtu(c, x);
            again = again || mtu != x->l.mtu;
            x->l.mtu = mtu;
        }
    }
}
