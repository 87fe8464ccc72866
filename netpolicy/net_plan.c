/* The steps from one state to another; see net_plan.h. Each step is tried on a model of the kernel
 * (net_sim.h) as it is written down, so that what follows from it by itself is not done twice and
 * what it upsets is put right. */
#include "netpolicy/net_plan.h"

#include <stdlib.h>
#include <string.h>

#include "netpolicy/net_sim.h"

struct planner {
    struct net_sim sim;
    const struct net_state *now, *target;
    size_t *now_up, *target_up; /* indexes, what others stand on first */
    struct net_step *steps;
    size_t len, cap;
};

static size_t *order(const struct net_state *s, struct arena *a);
static void remove_links(struct planner *p);
static void release_ports(struct planner *p);
static void take_down(struct planner *p);
static void lower_mtus(struct planner *p);
static void build(struct planner *p, const struct net_link *want);
static void settle(struct planner *p, const struct net_link *want);
static void change_addresses(struct planner *p);

void
net_plan_make(const struct net_state *now, const struct net_state *target, struct arena *a,
              struct net_plan *ret)
{
    struct planner p = {.now = now, .target = target};
    struct net_plan plan = {0};

    net_sim_init(&p.sim, now, target->len, a);
    p.now_up = order(now, a);
    p.target_up = order(target, a);
    remove_links(&p);
    release_ports(&p);
    take_down(&p);
    lower_mtus(&p);
    for (size_t i = 0; i < target->len; i++)
        build(&p, &target->links[p.target_up[i]]);
    for (size_t i = 0; i < target->len; i++)
        settle(&p, &target->links[p.target_up[i]]);
    change_addresses(&p);

    plan.steps = p.steps;
    plan.len = p.len;
    plan.touched = arena_calloc(a, p.sim.len, sizeof *plan.touched);
    for (size_t i = 0; i < p.sim.len; i++) {
        struct net_touched *t = &plan.touched[plan.touched_len];

        if (p.sim.links[i].touched == 0)
            continue;
        t->fields = p.sim.links[i].touched;
        memcpy(t->name, p.sim.links[i].l.name, sizeof t->name);
        plan.touched_len++;
    }
    *ret = plan;
}

/* --- order --- */

struct ranked {
    unsigned depth;
    size_t index;
};

static int
compare_ranked(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;

    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Raises the depth of name above `below`. True when that changed it. */
static bool
above(const struct net_state *s, struct ranked *r, const char *name, unsigned below)
{
    const struct net_link *l = *name ? net_state_find(s, name) : NULL;

    if (!l || r[l - s->links].depth > below)
        return false;
    r[l - s->links].depth = below + 1;
    return true;
}

static size_t *
order(const struct net_state *s, struct arena *a)
{
    struct ranked *r = arena_calloc(a, s->len, sizeof *r);
    size_t *ret = arena_calloc(a, s->len, sizeof *ret);
    bool changed = true;

    for (size_t i = 0; i < s->len; i++)
        r[i].index = i;
    /* As many rounds as links are enough, unless there is a cycle: then any order will do. */
    for (size_t round = 0; changed && round <= s->len; round++) {
        changed = false;
        for (size_t i = 0; i < s->len; i++) {
            const struct net_link *l = &s->links[i];
            const struct net_link *base =
                net_kind_stacked(l->kind) && *l->base ? net_state_find(s, l->base) : NULL;

            if (base && above(s, r, l->name, r[base - s->links].depth))
                changed = true;
            if (above(s, r, l->controller, r[i].depth))
                changed = true;
        }
    }
    if (s->len > 0)
        qsort(r, s->len, sizeof *r, compare_ranked);
    for (size_t i = 0; i < s->len; i++)
        ret[i] = r[i].index;
    return ret;
}

/* --- steps --- */

static struct net_step *
step(struct planner *p, enum net_op op, const char *name)
{
    if (p->len == p->cap) {
        struct net_step *more;

        p->cap = p->cap ? p->cap * 2 : 32;
        more = arena_calloc(p->sim.arena, p->cap, sizeof *more);
        if (p->len > 0)
            memcpy(more, p->steps, p->len * sizeof *more);
        p->steps = more;
    }
    p->steps[p->len] = (struct net_step){.op = op};
    memcpy(p->steps[p->len].link.name, name, strlen(name));
    return &p->steps[p->len++];
}

static void
do_controller(struct planner *p, struct sim_link *x, const char *controller)
{
    struct net_step *st = step(p, NET_OP_CONTROLLER, x->l.name);

    memcpy(st->link.controller, controller, strlen(controller));
    net_sim_controller(&p->sim, x, controller);
}

static void
do_addr(struct planner *p, struct sim_link *x, const struct net_addr *addr, bool add)
{
    struct net_addr a = *addr; /* it may be one of x's, which move */
    struct net_addr *all = arena_calloc(p->sim.arena, x->l.addrs_len + 1, sizeof *all);
    size_t len = 0;

    step(p, add ? NET_OP_ADDR_ADD : NET_OP_ADDR_DEL, x->l.name)->addr = a;
    x->touched |= ip_is_v4(&a.ip) ? NET_F_ADDRS4 : NET_F_ADDRS6;
    for (size_t i = 0; i < x->l.addrs_len; i++)
        if (!net_addr_equal(&x->l.addrs[i], &a))
            all[len++] = x->l.addrs[i];
    if (add)
        all[len++] = a;
    x->l.addrs = all;
    x->l.addrs_len = len;
}

static void
drop_addresses6(struct planner *p, struct sim_link *x)
{
    for (size_t i = 0; i < x->l.addrs_len;) {
        if (!ip_is_v4(&x->l.addrs[i].ip) && !x->l.addrs[i].foreign)
            do_addr(p, x, &x->l.addrs[i], false);
        else
            i++;
    }
}

/* An interface that goes down loses its IPv6 addresses, unless keep_addr_on_down is set: taken away
 * before, they are gone in both cases, and change_addresses gives back what is wanted. */
static void
before_close(struct planner *p, struct sim_link *x)
{
    if (!x->l.up)
        return;
    drop_addresses6(p, x);
    for (size_t i = 0; i < p->sim.len; i++) {
        struct sim_link *o = &p->sim.links[i];

        if (!o->gone && o->l.kind == NET_VLAN && strcmp(o->l.base, x->l.name) == 0)
            before_close(p, o);
    }
}

/* The same with an MTU that is too low for IPv6, of x and of what follows it; 0: with one that is not
 * known, as when a port comes out of a bond. */
static void
before_mtu(struct planner *p, struct sim_link *x, uint32_t mtu)
{
    struct sim_link *owner = *x->l.controller ? net_sim_find(&p->sim, x->l.controller) : NULL;

    if (mtu >= NET_MIN_MTU_IPV6)
        return;
    drop_addresses6(p, x);
    for (size_t i = 0; i < p->sim.len; i++) {
        struct sim_link *o = &p->sim.links[i];
        bool stacked = net_kind_stacked(o->l.kind) && strcmp(o->l.base, x->l.name) == 0;
        bool port = x->l.kind == NET_BOND && strcmp(o->l.controller, x->l.name) == 0;

        if (!o->gone && o->l.mtu > mtu && (stacked || port))
            before_mtu(p, o, mtu);
    }
    if (owner && owner->l.kind == NET_BRIDGE && owner->l.mtu > mtu)
        before_mtu(p, owner, mtu);
}

static void
do_up(struct planner *p, struct sim_link *x)
{
    step(p, NET_OP_UP, x->l.name);
    net_sim_up(&p->sim, x);
}

static void
do_down(struct planner *p, struct sim_link *x)
{
    before_close(p, x);
    step(p, NET_OP_DOWN, x->l.name);
    net_sim_down(&p->sim, x);
}

static void
do_mtu(struct planner *p, struct sim_link *x, uint32_t mtu)
{
    before_mtu(p, x, mtu);
    step(p, NET_OP_MTU, x->l.name)->link.mtu = mtu;
    net_sim_mtu(&p->sim, x, mtu);
}

/* --- undoing --- */

static bool
to_be_removed(struct planner *p, const struct net_link *l)
{
    const struct net_link *want = net_state_find(p->target, l->name);
    const struct net_link *base;

    if (!net_kind_made(l->kind))
        return false;
    if (!want || !net_link_equal(l, want, NET_F_BASE, NULL, 0) ||
        (l->kind == NET_BOND && l->bond_mode != want->bond_mode))
        return true;
    base = net_kind_stacked(l->kind) && *l->base ? net_state_find(p->now, l->base) : NULL;
    return base && !net_sim_find(&p->sim, base->name);
}

static void
remove_links(struct planner *p)
{
    bool *gone = arena_calloc(p->sim.arena, p->now->len, sizeof *gone);

    /* What stands on something that goes has to go: upwards to mark, downwards to do. */
    for (size_t i = 0; i < p->now->len; i++) {
        const struct net_link *l = &p->now->links[p->now_up[i]];
        const struct net_link *base =
            net_kind_stacked(l->kind) && *l->base ? net_state_find(p->now, l->base) : NULL;

        gone[p->now_up[i]] = to_be_removed(p, l) || (base && gone[base - p->now->links]);
    }
    for (size_t i = p->now->len; i-- > 0;) {
        const struct net_link *l = &p->now->links[p->now_up[i]];

        if (!gone[p->now_up[i]])
            continue;
        for (size_t k = 0; l->kind == NET_BOND && k < p->sim.len; k++)
            if (!p->sim.links[k].gone && strcmp(p->sim.links[k].l.controller, l->name) == 0)
                before_mtu(p, &p->sim.links[k], 0);
        step(p, NET_OP_DEL, l->name);
        net_sim_del(&p->sim, net_sim_find(&p->sim, l->name));
    }
}

static void
release_ports(struct planner *p)
{
    for (size_t i = p->now->len; i-- > 0;) {
        const struct net_link *now = &p->now->links[p->now_up[i]];
        struct sim_link *x = *now->controller ? net_sim_find(&p->sim, now->name) : NULL;
        const struct net_link *want = x ? net_state_find(p->target, x->l.name) : NULL;
        const struct sim_link *from;

        if (!want || !*x->l.controller || strcmp(x->l.controller, want->controller) == 0)
            continue;
        from = net_sim_find(&p->sim, x->l.controller);
        if (from && from->l.kind == NET_BOND)
            before_mtu(p, x, 0);
        do_controller(p, x, "");
    }
}

static void
take_down(struct planner *p)
{
    for (size_t i = p->target->len; i-- > 0;) {
        const struct net_link *want = &p->target->links[p->target_up[i]];
        struct sim_link *x = net_sim_find(&p->sim, want->name);

        if (x && x->l.up && !want->up)
            do_down(p, x);
    }
}

static void
lower_mtus(struct planner *p)
{
    for (size_t i = p->target->len; i-- > 0;) {
        const struct net_link *want = &p->target->links[p->target_up[i]];
        struct sim_link *x = net_sim_find(&p->sim, want->name);

        if (x && x->mtu_known && x->l.mtu > want->mtu)
            do_mtu(p, x, want->mtu);
    }
}

/* --- making --- */

static void
set_mac(struct planner *p, struct sim_link *x, const struct net_link *want)
{
    static const uint8_t any[6];

    if (memcmp(want->mac, any, sizeof any) == 0 ||
        (x->mac_known && memcmp(want->mac, x->l.mac, sizeof any) == 0))
        return;
    memcpy(step(p, NET_OP_MAC, want->name)->link.mac, want->mac, sizeof any);
    net_sim_mac(&p->sim, x, want->mac);
}

/* A bond will bring it up when it is put in, and a vlan on it follows. */
static bool
waits_for_up(struct planner *p, const struct sim_link *x, const struct net_link *want)
{
    const struct net_link *owner =
        *want->controller ? net_state_find(p->target, want->controller) : NULL;
    const struct sim_link *base = want->kind == NET_VLAN ? net_sim_find(&p->sim, want->base) : NULL;

    return (owner && owner->kind == NET_BOND && strcmp(x->l.controller, owner->name) != 0) ||
           (base && !base->l.up);
}

static void
put_in(struct planner *p, const struct net_link *port, const struct net_link *owner)
{
    struct sim_link *x = net_sim_find(&p->sim, port->name);

    if (!x)
        return;
    if (strcmp(x->l.controller, owner->name) != 0) {
        if (owner->kind == NET_BOND)
            before_mtu(p, x, 0);
        else
            before_mtu(p, net_sim_find(&p->sim, owner->name), x->l.mtu);
        do_controller(p, x, owner->name);
    }
    /* One that has not its bond's had it before, and what stands on it needs it at once. */
    if (x->mtu_known && x->l.mtu != port->mtu)
        do_mtu(p, x, port->mtu);
}

static void
build(struct planner *p, const struct net_link *want)
{
    struct sim_link *x = net_sim_find(&p->sim, want->name);

    if (!x) {
        if (!net_kind_made(want->kind))
            return;
        net_link_take(&step(p, NET_OP_ADD, want->name)->link, want, NET_F_BASE | NET_F_BOND,
                      p->sim.arena);
        net_sim_add(&p->sim, want);
        x = net_sim_find(&p->sim, want->name);
    }
    if (!net_link_equal(&x->l, want, NET_F_BRIDGE, NULL, 0)) {
        net_link_take(&step(p, NET_OP_BRIDGE, want->name)->link, want, NET_F_BRIDGE, p->sim.arena);
        net_link_take(&x->l, want, NET_F_BRIDGE, p->sim.arena);
        x->touched |= NET_F_BRIDGE;
    }
    if (!net_link_equal(&x->l, want, NET_F_BOND, NULL, 0)) {
        net_link_take(&step(p, NET_OP_BOND, want->name)->link, want, NET_F_BOND, p->sim.arena);
        net_link_take(&x->l, want, NET_F_BOND, p->sim.arena);
        x->touched |= NET_F_BOND;
    }
    set_mac(p, x, want);
    /* A bond gives its MTU to its ports, a bridge gets its own from them. */
    if (want->kind == NET_BOND && (!x->mtu_known || x->l.mtu != want->mtu))
        do_mtu(p, x, want->mtu);
    for (size_t i = 0; net_kind_ports(want->kind) && i < p->target->len; i++)
        if (strcmp(p->target->links[i].controller, want->name) == 0)
            put_in(p, &p->target->links[i], want);
    if (!x->mtu_known || x->l.mtu != want->mtu)
        do_mtu(p, x, want->mtu);
    if (!net_link_equal(&x->l, want, NET_F_ARP_IGNORE, NULL, 0)) {
        step(p, NET_OP_ARP_IGNORE, want->name)->link.arp_ignore = want->arp_ignore;
        x->l.arp_ignore = want->arp_ignore;
        x->touched |= NET_F_ARP_IGNORE;
    }
    if (!net_link_equal(&x->l, want, NET_F_SHAPE, NULL, 0)) {
        step(p, NET_OP_SHAPE, want->name)->link.shape = want->shape;
        x->l.shape = want->shape;
        x->touched |= NET_F_SHAPE;
    }
    if (want->up && !x->l.up && !waits_for_up(p, x, want))
        do_up(p, x);
}

/* What was right when it was built and was upset by what was built after it. */
static void
settle(struct planner *p, const struct net_link *want)
{
    struct sim_link *x = net_sim_find(&p->sim, want->name);

    if (!x)
        return;
    set_mac(p, x, want);
    if (!x->mtu_known || x->l.mtu != want->mtu)
        do_mtu(p, x, want->mtu);
    if (want->up && !x->l.up)
        do_up(p, x);
    else if (!want->up && x->l.up)
        do_down(p, x);
}

/* --- addresses --- */

static bool
unwanted(const struct planner *p, const struct sim_link *x, const struct net_addr *a)
{
    const struct net_link *want = net_state_find(p->target, x->l.name);

    return want && !a->foreign && !net_link_find_addr(want, a);
}

/* Whether the same address has to leave another interface first, or changes its prefix length. */
static bool
waits(const struct planner *p, const struct net_addr *a)
{
    for (size_t i = 0; i < p->sim.len; i++) {
        const struct sim_link *o = &p->sim.links[i];

        for (size_t k = 0; !o->gone && k < o->l.addrs_len; k++)
            if (ip_equal(&a->ip, &o->l.addrs[k].ip) && unwanted(p, o, &o->l.addrs[k]))
                return true;
    }
    return false;
}

static void
add_addresses(struct planner *p, bool all)
{
    for (size_t i = 0; i < p->target->len; i++) {
        const struct net_link *want = &p->target->links[i];
        struct sim_link *x = net_sim_find(&p->sim, want->name);

        for (size_t k = 0; x && k < want->addrs_len; k++) {
            const struct net_addr *a = &want->addrs[k];

            if (!a->foreign && !net_link_find_addr(&x->l, a) && (all || !waits(p, a)))
                do_addr(p, x, a, true);
        }
    }
}

/* New ones come before old ones go: without its last IPv4 address an interface loses its routes. */
static void
change_addresses(struct planner *p)
{
    add_addresses(p, false);
    for (size_t i = 0; i < p->sim.len; i++) {
        struct sim_link *x = &p->sim.links[i];

        for (size_t k = 0; !x->gone && k < x->l.addrs_len;) {
            if (unwanted(p, x, &x->l.addrs[k]))
                do_addr(p, x, &x->l.addrs[k], false);
            else
                k++;
        }
    }
    add_addresses(p, true);
}
