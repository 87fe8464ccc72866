/* Comparing and copying of a host's interfaces; see net_state.h. The text form is in
 * net_state_tree.c. */
#include "netpolicy/net_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void take_addrs(struct net_link *dst, const struct net_link *src, unsigned fields,
                       struct arena *a);
static bool say(char *why, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool addrs_differ(const struct net_link *have, const struct net_link *want, bool v4,
                         char *why, size_t size);

static const char *const kind_names[] = {
    [NET_ETHERNET] = "ethernet", [NET_LOOPBACK] = "loopback", [NET_BRIDGE] = "linux-bridge",
    [NET_BOND] = "bond",         [NET_VLAN] = "vlan",         [NET_MACVLAN] = "mac-vlan",
    [NET_OTHER] = "unknown",
};

const char *
net_kind_name(enum net_kind k)
{
    return kind_names[k];
}

bool
net_kind_made(enum net_kind k)
{
    return net_kind_stacked(k) || net_kind_ports(k);
}

bool
net_kind_stacked(enum net_kind k)
{
    return k == NET_VLAN || k == NET_MACVLAN;
}

bool
net_kind_ports(enum net_kind k)
{
    return k == NET_BRIDGE || k == NET_BOND;
}

const struct net_link *
net_state_find(const struct net_state *s, const char *name)
{
    size_t low = 0, high = s->len;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int d = strcmp(name, s->links[mid].name);

        if (d == 0)
            return &s->links[mid];
        if (d < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct net_link *
net_state_with(const struct net_state *s, const struct ip *ip)
{
    for (size_t i = 0; i < s->len; i++)
        for (size_t k = 0; k < s->links[i].addrs_len; k++)
            if (ip_equal(&s->links[i].addrs[k].ip, ip))
                return &s->links[i];
    return NULL;
}

void
net_state_copy(const struct net_state *s, struct arena *a, struct net_state *ret)
{
    struct net_state c = {.links = arena_calloc(a, s->len, sizeof *c.links), .len = s->len};

    for (size_t i = 0; i < s->len; i++) {
        c.links[i] = s->links[i];
        c.links[i].addrs = NULL;
        c.links[i].addrs_len = 0;
        take_addrs(&c.links[i], &s->links[i], NET_F_ADDRS4 | NET_F_ADDRS6, a);
    }
    *ret = c;
}

bool
net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    return ip_equal(&a->ip, &b->ip) && a->prefix == b->prefix;
}

const struct net_addr *
net_link_find_addr(const struct net_link *l, const struct net_addr *a)
{
    for (size_t i = 0; i < l->addrs_len; i++)
        if (net_addr_equal(&l->addrs[i], a))
            return &l->addrs[i];
    return NULL;
}

/* --- one link --- */

static unsigned
addr_field(const struct net_addr *a)
{
    return ip_is_v4(&a->ip) ? NET_F_ADDRS4 : NET_F_ADDRS6;
}

void
net_link_take(struct net_link *dst, const struct net_link *src, unsigned fields, struct arena *a)
{
    if (fields & NET_F_UP)
        dst->up = src->up;
    if (fields & NET_F_MTU)
        dst->mtu = src->mtu;
    if (fields & NET_F_MAC)
        memcpy(dst->mac, src->mac, sizeof dst->mac);
    if (fields & NET_F_CONTROLLER)
        memcpy(dst->controller, src->controller, sizeof dst->controller);
    if (fields & (NET_F_ADDRS4 | NET_F_ADDRS6))
        take_addrs(dst, src, fields, a);
    if (fields & NET_F_BRIDGE) {
        dst->stp = src->stp;
        dst->vlan_filtering = src->vlan_filtering;
    }
    if (fields & NET_F_BOND) {
        dst->bond_mode = src->bond_mode;
        dst->bond_miimon = src->bond_miimon;
    }
    if (fields & NET_F_BASE) {
        dst->kind = src->kind;
        memcpy(dst->base, src->base, sizeof dst->base);
        dst->macvlan_mode = src->macvlan_mode;
        dst->vlan_id = src->vlan_id;
    }
    if (fields & NET_F_SHAPE)
        dst->shape = src->shape;
    if (fields & NET_F_ARP_IGNORE)
        dst->arp_ignore = src->arp_ignore;
}

bool
net_link_equal(const struct net_link *have, const struct net_link *want, unsigned fields, char *why,
               size_t size)
{
    static const uint8_t any_mac[6];

    if (fields & NET_F_BASE) {
        if (have->kind != want->kind)
            return say(why, size, "%s instead of %s", net_kind_name(have->kind),
                       net_kind_name(want->kind));
        if (net_kind_stacked(want->kind) && strcmp(have->base, want->base) != 0)
            return say(why, size, "on %s instead of %s", have->base, want->base);
        if (want->kind == NET_VLAN && have->vlan_id != want->vlan_id)
            return say(why, size, "vlan %u instead of %u", have->vlan_id, want->vlan_id);
        if (want->kind == NET_MACVLAN && strcmp(have->macvlan_mode ? have->macvlan_mode : "",
                                                want->macvlan_mode ? want->macvlan_mode : "") != 0)
            return say(why, size, "mode %s instead of %s",
                       have->macvlan_mode ? have->macvlan_mode : "unknown",
                       want->macvlan_mode ? want->macvlan_mode : "unknown");
    }
    if ((fields & NET_F_BOND) && want->kind == NET_BOND) {
        if (have->bond_mode != want->bond_mode)
            return say(why, size, "bond mode %u instead of %u", have->bond_mode, want->bond_mode);
        if (have->bond_miimon != want->bond_miimon)
            return say(why, size, "miimon %u instead of %u", have->bond_miimon, want->bond_miimon);
    }
    if ((fields & NET_F_BRIDGE) && want->kind == NET_BRIDGE) {
        if (have->stp != want->stp)
            return say(why, size, "stp %s instead of %s", have->stp ? "on" : "off",
                       want->stp ? "on" : "off");
        if (have->vlan_filtering != want->vlan_filtering)
            return say(why, size, "vlan filtering %s instead of %s",
                       have->vlan_filtering ? "on" : "off", want->vlan_filtering ? "on" : "off");
    }
    if ((fields & NET_F_CONTROLLER) && strcmp(have->controller, want->controller) != 0)
        return say(why, size, "a port of %s instead of %s",
                   *have->controller ? have->controller : "nothing",
                   *want->controller ? want->controller : "nothing");
    if ((fields & NET_F_MTU) && have->mtu != want->mtu)
        return say(why, size, "mtu %u instead of %u", have->mtu, want->mtu);
    if ((fields & NET_F_MAC) && memcmp(want->mac, any_mac, 6) != 0 &&
        memcmp(have->mac, want->mac, 6) != 0)
        return say(why, size, "another MAC address");
    if ((fields & NET_F_UP) && have->up != want->up)
        return say(why, size, "%s instead of %s", have->up ? "up" : "down",
                   want->up ? "up" : "down");
    if (((fields & NET_F_ADDRS4) && addrs_differ(have, want, true, why, size)) ||
        ((fields & NET_F_ADDRS6) && addrs_differ(have, want, false, why, size)))
        return false;
    if ((fields & NET_F_SHAPE) && (have->shape.rate_bytes_per_s != want->shape.rate_bytes_per_s ||
                                   have->shape.burst_bytes != want->shape.burst_bytes))
        return say(why, size, "a limit of %llu bytes/s instead of %llu",
                   (unsigned long long)have->shape.rate_bytes_per_s,
                   (unsigned long long)want->shape.rate_bytes_per_s);
    if ((fields & NET_F_ARP_IGNORE) && have->arp_ignore != want->arp_ignore)
        return say(why, size, "arp_ignore %s instead of %s", have->arp_ignore ? "on" : "off",
                   want->arp_ignore ? "on" : "off");
    return true;
}

static bool
addrs_differ(const struct net_link *have, const struct net_link *want, bool v4, char *why,
             size_t size)
{
    const struct net_link *const sides[2] = {want, have};

    for (int side = 0; side < 2; side++) {
        const struct net_link *l = sides[side], *other = sides[1 - side];

        for (size_t i = 0; i < l->addrs_len; i++) {
            const struct net_addr *x = &l->addrs[i];
            struct cidr c = {.base = x->ip, .prefix = x->prefix, .v4 = v4};
            char text[CIDR_TEXT_SIZE];

            if (x->foreign || ip_is_v4(&x->ip) != v4 || net_link_find_addr(other, x))
                continue;
            cidr_format(&c, text, sizeof text);
            say(why, size, side == 0 ? "address %s is missing" : "address %s is there, too", text);
            return true;
        }
    }
    return false;
}

static int
compare_addrs(const void *x, const void *y)
{
    const struct net_addr *a = x, *b = y;
    int d = ip_cmp(&a->ip, &b->ip);

    if (d == 0)
        d = (a->prefix > b->prefix) - (a->prefix < b->prefix);
    return d != 0 ? d : a->foreign - b->foreign;
}

static void
take_addrs(struct net_link *dst, const struct net_link *src, unsigned fields, struct arena *a)
{
    struct net_addr *all = arena_calloc(a, dst->addrs_len + src->addrs_len, sizeof *all);
    size_t len = 0, distinct = 0;

    for (size_t i = 0; i < dst->addrs_len; i++)
        if (dst->addrs[i].foreign || !(fields & addr_field(&dst->addrs[i])))
            all[len++] = dst->addrs[i];
    for (size_t i = 0; i < src->addrs_len; i++)
        if (fields & addr_field(&src->addrs[i]))
            all[len++] = src->addrs[i];
    if (len > 0)
        qsort(all, len, sizeof *all, compare_addrs);
    for (size_t i = 0; i < len; i++)
        if (distinct == 0 || !net_addr_equal(&all[i], &all[distinct - 1]))
            all[distinct++] = all[i];
    dst->addrs = all;
    dst->addrs_len = distinct;
}

static bool
say(char *why, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (why && size > 0)
        vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return false;
}
