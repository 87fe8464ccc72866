/* The end of net_compose: the target as a state, and the baselines before and after the plan that leads
 * there; see net_plan.h. */
#include <string.h>

#include "netpolicy/net_compose_impl.h"

static void settle_mac(const struct compose *c, struct compose_link *x);
static void target_state(const struct compose *c, struct net_state *ret);
static void baselines(const struct compose *c, struct net_target *t);

void
net_outcome(const struct compose *c, struct net_target *ret)
{
    target_state(c, &ret->state);
    baselines(c, ret);
}

/* Whether it is made, or made anew, on the way to the target. */
static bool
remade(const struct compose *c, const struct compose_link *x)
{
    const struct net_link *now = net_state_find(c->now, x->l.name);
    const struct compose_link *base = compose_base(c, x);

    return !now || !net_link_equal(now, &x->l, NET_F_BASE, NULL, 0) ||
           (x->l.kind == NET_BOND && now->bond_mode != x->l.bond_mode) || (base && remade(c, base));
}

/* A vlan has its base's MAC unless it is given another, a bond's port the bond's. */
static bool
mac_follows(const struct net_state *s, const struct net_link *l)
{
    const struct net_link *base = l->kind == NET_VLAN ? net_state_find(s, l->base) : NULL;
    const struct net_link *owner = *l->controller ? net_state_find(s, l->controller) : NULL;

    return (owner && owner->kind == NET_BOND) ||
           (base && memcmp(base->mac, l->mac, sizeof l->mac) == 0);
}

/* A MAC that nobody asks for is the kernel's affair. One that was changed goes back, and what is made
 * anew keeps what it had. */
static void
settle_mac(const struct compose *c, struct compose_link *x)
{
    static const uint8_t any[6];
    const struct net_link *now = net_state_find(c->now, x->l.name);
    const struct net_before *b = net_baseline_find(c->base, x->l.name);
    struct compose_link *base = compose_base(c, x), *owner = compose_controller(c, x);
    bool back = x->was && b && b->existed && (b->fields & NET_F_MAC);

    if (x->mac_settled)
        return;
    x->mac_settled = true;
    if (x->asked & NET_F_MAC)
        return;
    if (base)
        settle_mac(c, base);
    if (owner && owner->l.kind == NET_BOND) {
        memset(x->l.mac, 0, sizeof x->l.mac);
    } else if (back && base && memcmp(x->l.mac, any, sizeof any) == 0 && !remade(c, x) &&
               !mac_follows(c->now, now)) {
        const struct net_link *below = net_state_find(c->now, base->l.name);

        memcpy(x->l.mac, memcmp(base->l.mac, any, sizeof any) != 0 ? base->l.mac : below->mac,
               sizeof x->l.mac);
    } else if (!back && (!remade(c, x) || !now || mac_follows(c->now, now))) {
        memset(x->l.mac, 0, sizeof x->l.mac);
    }
}

static void
target_state(const struct compose *c, struct net_state *ret)
{
    struct net_state s = {.links = arena_calloc(c->arena, c->len, sizeof *s.links)};
    struct net_state copy;

    for (size_t i = 0; i < c->len; i++)
        if (c->links[i].alive)
            settle_mac(c, &c->links[i]);
    for (size_t i = 0; i < c->len; i++)
        if (c->links[i].alive)
            s.links[s.len++] = c->links[i].l;
    net_state_copy(&s, c->arena, &copy);
    *ret = copy;
}

/* Foreign addresses come and go with whoever gave them. */
static void
drop_foreign(struct net_link *l, struct arena *a)
{
    struct net_addr *own = arena_calloc(a, l->addrs_len, sizeof *own);
    size_t len = 0;

    for (size_t i = 0; i < l->addrs_len; i++)
        if (!l->addrs[i].foreign)
            own[len++] = l->addrs[i];
    l->addrs = own;
    l->addrs_len = len;
}

static unsigned
touched_fields(const struct net_plan *p, const char *name)
{
    for (size_t i = 0; i < p->touched_len; i++)
        if (strcmp(p->touched[i].name, name) == 0)
            return p->touched[i].fields;
    return 0;
}

/* What of an entry has to be remembered once the target is reached. */
static unsigned
still_owed(const struct compose *c, const struct compose_link *x, const struct net_before *b)
{
    const struct compose_link *owner = compose_controller(c, x);
    bool bonds = owner && owner->l.kind == NET_BOND; /* then its MAC is the bond's again */
    unsigned owed = 0;

    if (!x->alive)
        return x->was ? b->fields : 0;
    for (unsigned f = 1; f & NET_F_ALL; f <<= 1) {
        if (!(b->fields & f) ||
            (f == NET_F_MAC && bonds && strcmp(b->link.controller, owner->l.name) == 0))
            continue;
        if (((x->asked | x->derived) & f) || !net_link_equal(&x->l, &b->link, f, NULL, 0))
            owed |= f;
    }
    return owed;
}

static void
baselines(const struct compose *c, struct net_target *t)
{
    struct net_baseline *before = &t->before, *after = &t->after;
    struct net_plan plan;

    net_plan_make(c->now, &t->state, c->arena, &plan);
    before->items = arena_calloc(c->arena, c->len, sizeof *before->items);
    after->items = arena_calloc(c->arena, c->len, sizeof *after->items);
    for (size_t i = 0; i < c->len; i++) {
        const struct compose_link *x = &c->links[i];
        const struct net_link *now = net_state_find(c->now, x->l.name);
        const struct net_before *old = net_baseline_find(c->base, x->l.name);
        unsigned touched = touched_fields(&plan, x->l.name);
        struct net_before b = {0}, *last;

        if (old && (now || (old->existed && (old->fields & NET_F_BASE))))
            b = *old;
        else if (touched == 0)
            continue;
        else
            b.existed = now != NULL;
        memcpy(b.name, x->l.name, sizeof b.name);
        if (!b.existed) {
            b.link = (struct net_link){.kind = x->l.kind};
            memcpy(b.link.name, b.name, sizeof b.name);
            b.fields |= x->asked | x->derived | touched;
        } else if (now) {
            struct net_link link = *now;

            drop_foreign(&link, c->arena);
            if (mac_follows(c->now, now))
                memset(link.mac, 0, sizeof link.mac);
            net_link_take(&link, &b.link, b.fields, c->arena);
            b.link = link;
            b.fields |= touched;
        }
        before->items[before->len++] = b;
        last = &after->items[after->len];
        *last = b;
        last->fields = b.existed ? still_owed(c, x, &b) : x->asked | x->derived;
        if (b.existed ? last->fields != 0 : x->alive)
            after->len++;
    }
}
