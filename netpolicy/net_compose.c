/* The state to reach; see net_plan.h. First everything as it would be if nobody asked for anything
 * (now, with what the baseline has put back), then what each want says, then what follows from that
 * (net_derive.c), and what of it must not be (net_check.c); in the end what has to be remembered
 * (net_outcome.c). */
#include "netpolicy/net_compose_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void collect(struct compose *c);
static void put_back(struct compose *c);
static void drop_orphans(struct compose *c);
static int apply(struct compose *c, struct compose_link *x);
static int apply_ports(struct compose *c);

int
net_compose(const struct net_state *now, const struct net_baseline *base,
            const struct net_wants *wants, const struct ip *mgmt, struct arena *a,
            struct net_target *ret, const char **ret_reason, struct err *err)
{
    struct compose c = {.now = now,
                        .base = base,
                        .wants = wants,
                        .mgmt = mgmt,
                        .arena = a,
                        .ret_reason = ret_reason,
                        .err = err};
    struct net_target t = {0};
    int rc;

    collect(&c);
    put_back(&c);
    for (size_t i = 0; i < c.len; i++)
        if ((rc = apply(&c, &c.links[i])) != 0)
            return rc;
    if ((rc = apply_ports(&c)) != 0)
        return rc;
    drop_orphans(&c);
    if ((rc = net_check_structure(&c)) != 0 || (rc = net_derive(&c)) != 0 ||
        (rc = net_check_values(&c)) != 0)
        return rc;
    net_outcome(&c, &t);
    *ret = t;
    return 0;
}

int
compose_refuse(const struct compose *c, const struct net_want *w, const char *reason,
               const char *fmt, ...)
{
    char text[ERR_MSG_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->ret_reason)
        *c->ret_reason = reason;
    if (!w)
        return err_set(c->err, -EINVAL, "%s", text);
    return err_set(c->err, -EINVAL, "%s: %s: %s", w->origin ? w->origin : "",
                   w->field ? w->field : "", text);
}

/* --- looking up --- */

static int
compare_name(const void *key, const void *item)
{
    const struct compose_link *x = item;

    return strcmp(key, x->l.name);
}

static struct compose_link *
find_any(const struct compose *c, const char *name)
{
    return c->len > 0 ? bsearch(name, c->links, c->len, sizeof *c->links, compare_name) : NULL;
}

struct compose_link *
compose_find(const struct compose *c, const char *name)
{
    struct compose_link *x = *name ? find_any(c, name) : NULL;

    return x && x->alive ? x : NULL;
}

struct compose_link *
compose_base(const struct compose *c, const struct compose_link *x)
{
    return net_kind_stacked(x->l.kind) ? compose_find(c, x->l.base) : NULL;
}

struct compose_link *
compose_controller(const struct compose *c, const struct compose_link *x)
{
    return compose_find(c, x->l.controller);
}

bool
compose_lists(const struct net_want *w, const char *port)
{
    for (size_t i = 0; w && i < w->ports_len; i++)
        if (strcmp(w->ports[i], port) == 0)
            return true;
    return false;
}

/* --- what would be if nobody asked --- */

static void
add_name(struct compose *c, const char *name)
{
    struct compose_link *x = &c->links[c->len++];

    memcpy(x->l.name, name, strlen(name));
}

static int
compare_links(const void *x, const void *y)
{
    const struct compose_link *a = x, *b = y;

    return strcmp(a->l.name, b->l.name);
}

/* A place for every name that anybody speaks of. */
static void
collect(struct compose *c)
{
    size_t distinct = 0;

    c->links = arena_calloc(c->arena, c->now->len + c->base->len + c->wants->len, sizeof *c->links);
    for (size_t i = 0; i < c->now->len; i++)
        add_name(c, c->now->links[i].name);
    for (size_t i = 0; i < c->base->len; i++)
        add_name(c, c->base->items[i].name);
    for (size_t i = 0; i < c->wants->len; i++)
        add_name(c, c->wants->items[i].link.name);
    if (c->len > 0)
        qsort(c->links, c->len, sizeof *c->links, compare_links);
    for (size_t i = 0; i < c->len; i++)
        if (distinct == 0 || compare_links(&c->links[distinct - 1], &c->links[i]) != 0)
            c->links[distinct++] = c->links[i];
    c->len = distinct;
}

static void
put_back(struct compose *c)
{
    for (size_t i = 0; i < c->len; i++) {
        struct compose_link *x = &c->links[i];
        const struct net_link *now = net_state_find(c->now, x->l.name);
        const struct net_before *b = net_baseline_find(c->base, x->l.name);

        if (now) {
            x->l = *now;
            x->alive = !b || b->existed;
        } else if (b && b->existed && (b->fields & NET_F_BASE) && net_kind_made(b->link.kind)) {
            x->l = b->link; /* we removed it, and can make it again */
            x->l.ifindex = 0;
            x->alive = true;
        }
        if (now && b && b->existed) {
            net_link_take(&x->l, &b->link, b->fields, c->arena);
        } else if (now && b) {
            struct net_link blank = {.mtu = now->mtu, .up = now->up};

            net_link_take(&x->l, &blank, b->fields & ~(NET_F_BASE | NET_F_MAC), c->arena);
        }
    }
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < c->len; i++) {
            struct compose_link *x = &c->links[i];

            /* When the base has vanished meanwhile, what stood on it cannot be made again. */
            if (x->alive && !net_state_find(c->now, x->l.name) && net_kind_stacked(x->l.kind) &&
                !compose_base(c, x) && !net_state_find(c->now, x->l.base)) {
                x->alive = false;
                again = true;
            }
        }
    }
    for (size_t i = 0; i < c->len; i++) {
        c->links[i].was = c->links[i].alive;
        c->links[i].before = c->links[i].l;
    }
}

/* What stands on nothing goes with what it stood on, unless somebody asks for it: that is an error
 * then (net_check.c). */
static void
drop_orphans(struct compose *c)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < c->len; i++) {
            struct compose_link *x = &c->links[i];

            if (x->alive && !x->by && net_kind_stacked(x->l.kind) && *x->l.base &&
                !compose_base(c, x)) {
                x->alive = false;
                again = true;
            }
        }
    }
}

/* --- what is asked --- */

static bool
speaks_of(const struct net_want *w, const struct compose_link *x)
{
    return strcmp(w->link.name, x->l.name) == 0;
}

/* The link itself, before what the wants say of it. maker: the last of them that says what it is, or
 * NULL. */
static int
ensure(const struct compose *c, struct compose_link *x, const struct net_want *maker,
       const struct net_want *last)
{
    const char *name = x->l.name;

    if (maker && maker->link.kind == NET_OTHER)
        return compose_refuse(c, maker, NET_REASON_KIND,
                              "%s: type %s: want ethernet, linux-bridge, bond, vlan or mac-vlan",
                              name, net_kind_name(maker->link.kind));
    if (x->alive && maker && x->l.kind != maker->link.kind)
        return compose_refuse(c, maker, NET_REASON_CONFLICT,
                              "%s: type %s: there is an interface of this name already, of type %s",
                              name, net_kind_name(maker->link.kind), net_kind_name(x->l.kind));
    if (x->alive)
        return 0;
    if (!maker || maker->existing || !net_kind_made(maker->link.kind))
        return compose_refuse(
            c, last, NET_REASON_INTERFACE_MISSING,
            "%s: there is no such interface here, and nothing says how to make it", name);
    if (x->l.kind != maker->link.kind || !net_state_find(c->now, name)) {
        struct net_link blank = {.kind = maker->link.kind};

        memcpy(blank.name, name, strlen(name));
        x->l = blank;
    }
    if (net_kind_stacked(maker->link.kind) && !(maker->fields & NET_F_BASE))
        return compose_refuse(c, maker, NET_REASON_INVALID, "%s: its base interface is missing",
                              name);
    x->alive = x->made = true;
    return 0;
}

static int
say_absent(const struct compose *c, struct compose_link *x, const struct net_want *w)
{
    if (x->alive && !net_kind_made(x->l.kind))
        return compose_refuse(
            c, w, NET_REASON_KIND,
            "%s: state absent: an interface of type %s cannot be removed: want up "
            "or down",
            x->l.name, net_kind_name(x->l.kind));
    x->alive = false;
    x->asked = NET_F_ALL;
    x->by = w;
    return 0;
}

static void
say(const struct compose *c, struct compose_link *x, const struct net_want *w)
{
    unsigned fields = w->fields & ~(unsigned)NET_F_UP;

    if (!w->has_kind || !net_kind_stacked(w->link.kind) || w->link.kind != x->l.kind)
        fields &= ~(unsigned)NET_F_BASE;
    net_link_take(&x->l, &w->link, fields, c->arena);
    if (fields & NET_F_BASE) /* one constant for each, wherever the text was */
        x->l.macvlan_mode =
            net_macvlan_mode(w->link.macvlan_mode ? w->link.macvlan_mode : "bridge");
    x->l.up = w->presence == NET_UP;
    x->asked |= fields | NET_F_UP;
    x->by = w;
    if (fields & NET_F_MTU)
        x->mtu = w;
    if (w->has_ports)
        x->list = w;
}

static int
apply(struct compose *c, struct compose_link *x)
{
    const struct net_want *maker = NULL, *last = NULL;
    size_t first = 0;
    int rc;

    for (size_t i = 0; i < c->wants->len; i++) {
        const struct net_want *w = &c->wants->items[i];

        if (!speaks_of(w, x))
            continue;
        last = w;
        if (w->presence == NET_ABSENT) {
            maker = NULL;
            first = i + 1; /* what was said before it is void */
        } else if (w->has_kind && (!w->existing || !maker)) {
            maker = w;
        }
    }
    if (!last)
        return 0;
    if (!*x->l.name)
        return compose_refuse(c, last, NET_REASON_INVALID, "name: want 1 to %d bytes",
                              NL_IFNAME_SIZE - 1);
    if (last->presence == NET_ABSENT)
        return say_absent(c, x, last);
    if ((rc = ensure(c, x, maker, last)) != 0)
        return rc;
    for (size_t i = first; i < c->wants->len; i++) {
        const struct net_want *w = &c->wants->items[i];

        if (!speaks_of(w, x))
            continue;
        if (w->existing && w->has_kind && w->link.kind != x->l.kind)
            return compose_refuse(c, w, NET_REASON_CONFLICT, "%s: it is of type %s: want %s",
                                  x->l.name, net_kind_name(x->l.kind), net_kind_name(w->link.kind));
        say(c, x, w);
    }
    if (x->made && x->l.kind == NET_BOND && !(x->asked & NET_F_BOND))
        return compose_refuse(c, maker, NET_REASON_INVALID,
                              "%s: its mode is missing: want one of %s", x->l.name, NET_BOND_MODES);
    return 0;
}

/* Lists of ports become the ports' controllers. */
static int
apply_ports(struct compose *c)
{
    for (size_t i = 0; i < c->len; i++) {
        struct compose_link *x = &c->links[i];
        const struct net_want *w = x->alive ? x->list : NULL;

        if (w && !net_kind_ports(x->l.kind))
            return compose_refuse(c, w, NET_REASON_INVALID,
                                  "%s: an interface of type %s has no ports", x->l.name,
                                  net_kind_name(x->l.kind));
        for (size_t k = 0; w && k < w->ports_len; k++) {
            struct compose_link *port = compose_find(c, w->ports[k]);

            if (!port)
                return compose_refuse(c, w, NET_REASON_INTERFACE_MISSING,
                                      "%s: port %s: there is no such interface here", x->l.name,
                                      w->ports[k]);
            if (((port->asked | port->derived) & NET_F_CONTROLLER) &&
                strcmp(port->l.controller, x->l.name) != 0)
                return compose_refuse(
                    c, w, NET_REASON_CONFLICT, "%s: port %s: it is to be a port of %s, too",
                    x->l.name, w->ports[k], *port->l.controller ? port->l.controller : "nothing");
            memset(port->l.controller, 0, sizeof port->l.controller);
            memcpy(port->l.controller, x->l.name, strlen(x->l.name));
            port->derived |= NET_F_CONTROLLER;
        }
        for (size_t k = 0; w && k < c->len; k++) {
            struct compose_link *port = &c->links[k];

            if (!port->alive || strcmp(port->l.controller, x->l.name) != 0 ||
                compose_lists(w, port->l.name) || port->l.kind == NET_OTHER)
                continue;
            if (port->asked & NET_F_CONTROLLER)
                return compose_refuse(
                    c, w, NET_REASON_CONFLICT,
                    "%s: its ports do not name %s, which is to be one of them (%s)", x->l.name,
                    port->l.name, port->by->origin);
            memset(port->l.controller, 0, sizeof port->l.controller);
        }
    }
    for (size_t i = 0; i < c->len; i++) {
        struct compose_link *x = &c->links[i];

        const struct compose_link *owner = compose_controller(c, x);

        if (!(x->asked & NET_F_CONTROLLER) &&
            (!owner || (owner->made && !net_kind_ports(owner->l.kind))))
            memset(x->l.controller, 0, sizeof x->l.controller);
    }
    return 0;
}
