/* What the migration network's NetworkAttachmentDefinition asks of one host, and whether its range is
 * free; see net_want.h. */
#include "netpolicy/net_want.h"

#include <errno.h>
#include <string.h>

static int add_address(const struct nad_config *c, const struct ip *addr, struct arena *a,
                       struct net_want *w, struct err *err);
static bool networks_meet(const struct nad_config *c, const struct cidr *net, struct cidr *ret);
static const char *range_key(const struct nad_config *c);

int
net_want_nad(const struct nad_config *c, const char *origin, const struct ip *addr, struct arena *a,
             struct net_wants *ret, const char **ret_ifname, struct err *err)
{
    const char *below = c->bridge ? c->bridge : c->master;
    bool own = strcmp(c->type, "host-device") != 0; /* an interface of our own */
    struct net_want *w = arena_calloc(a, 2, sizeof *w), *top = own ? &w[1] : &w[0];
    int rc;

    /* What stands below: there already, up, and not answering for addresses of what stands on it. */
    w[0] = (struct net_want){.presence = NET_UP,
                             .fields = NET_F_UP | NET_F_ARP_IGNORE,
                             .link = {.up = true, .arp_ignore = true, .kind = NET_BRIDGE},
                             .has_kind = c->bridge != NULL,
                             .existing = true,
                             .field = arena_printf(a, "%s.%s", c->path,
                                                   c->bridge ? "bridge"
                                                   : own     ? "master"
                                                             : "device"),
                             .origin = origin};
    snprintf(w[0].link.name, sizeof w[0].link.name, "%s", below);

    if (own) {
        bool tagged = c->vlan != 0;

        w[1] = (struct net_want){.presence = NET_UP,
                                 .fields = NET_F_UP | NET_F_ARP_IGNORE | NET_F_BASE,
                                 .link = {.up = true,
                                          .arp_ignore = true,
                                          .name = NET_MIGRATION_IFNAME,
                                          .kind = tagged ? NET_VLAN : NET_MACVLAN,
                                          .vlan_id = (uint16_t)c->vlan,
                                          .macvlan_mode = tagged    ? NULL
                                                          : c->mode ? c->mode
                                                                    : "bridge"},
                                 .has_kind = true,
                                 .field = c->path,
                                 .origin = origin};
        snprintf(w[1].link.base, sizeof w[1].link.base, "%s", below);
    }
    if (c->mtu != 0) {
        top->link.mtu = (uint32_t)c->mtu;
        top->fields |= NET_F_MTU;
    }
    if (c->limit_bytes_per_s != 0) {
        top->link.shape = (struct net_shape){.rate_bytes_per_s = c->limit_bytes_per_s,
                                             .burst_bytes = c->burst_bytes};
        top->fields |= NET_F_SHAPE;
    }
    if (addr && (rc = add_address(c, addr, a, top, err)) != 0)
        return err_prefix(err, rc, "%s", origin);

    *ret = (struct net_wants){.items = w, .len = own ? 2 : 1};
    *ret_ifname = top->link.name;
    return 0;
}

/* The address is the only one of the interface, in either family: what an older range gave goes. */
static int
add_address(const struct nad_config *c, const struct ip *addr, struct arena *a, struct net_want *w,
            struct err *err)
{
    char text[IP_TEXT_SIZE], range[64 + CIDR_TEXT_SIZE];
    unsigned prefix = c->range.prefix;

    if (!nad_address_allowed(c, addr)) {
        ip_format(addr, text, sizeof text);
        nad_range_text(c, range, sizeof range);
        return err_set(err, -EINVAL, "%s.ipam: %s: is not an address that %s gives out", c->path,
                       text, range);
    }
    for (size_t i = 0; i < c->static_len; i++)
        if (ip_equal(&c->static_addresses[i].base, addr))
            prefix = c->static_addresses[i].prefix;
    w->link.addrs = arena_calloc(a, 1, sizeof *w->link.addrs);
    w->link.addrs[0] = (struct net_addr){.ip = *addr, .prefix = prefix};
    w->link.addrs_len = 1;
    w->fields |= NET_F_ADDRS4 | NET_F_ADDRS6;
    return 0;
}

/* --- whether the range is free --- */

int
net_check_range_host(const struct nad_config *c, const struct net_state *now, const char *ifname,
                     struct err *err)
{
    for (size_t i = 0; i < now->len; i++) {
        const struct net_link *l = &now->links[i];

        if (strcmp(l->name, ifname) == 0)
            continue;
        for (size_t k = 0; k < l->addrs_len; k++) {
            struct cidr net = {.base = l->addrs[k].ip,
                               .prefix = l->addrs[k].prefix,
                               .v4 = ip_is_v4(&l->addrs[k].ip)};
            char range[CIDR_TEXT_SIZE], text[CIDR_TEXT_SIZE];
            struct cidr mine;

            if (!networks_meet(c, &net, &mine))
                continue;
            cidr_format(&mine, range, sizeof range);
            cidr_format(&net, text, sizeof text);
            return err_set(err, -EEXIST, "%s.ipam.%s: %s overlaps %s, which interface %s has",
                           c->path, range_key(c), range, text, l->name);
        }
    }
    return 0;
}

int
net_check_range_address(const struct nad_config *c, const struct ip *a, const char *whose,
                        struct err *err)
{
    struct cidr one = {.base = *a, .prefix = ip_is_v4(a) ? 32 : 128, .v4 = ip_is_v4(a)}, mine;
    char range[CIDR_TEXT_SIZE], text[IP_TEXT_SIZE];

    if (!networks_meet(c, &one, &mine))
        return 0;
    cidr_format(&mine, range, sizeof range);
    ip_format(a, text, sizeof text);
    return err_set(err, -EEXIST, "%s.ipam.%s: %s overlaps %s, %s", c->path, range_key(c), range,
                   text, whose);
}

int
net_check_range_other(const struct nad_config *c, const struct nad_config *other,
                      const char *other_ref, struct err *err)
{
    char range[CIDR_TEXT_SIZE], text[CIDR_TEXT_SIZE];
    struct cidr mine, theirs;
    bool meet = other->has_range && networks_meet(c, &other->range, &mine);

    theirs = other->range;
    for (size_t i = 0; i < other->static_len && !meet; i++) {
        theirs = other->static_addresses[i];
        meet = networks_meet(c, &theirs, &mine);
    }
    if (!meet)
        return 0;
    cidr_format(&mine, range, sizeof range);
    cidr_format(&theirs, text, sizeof text);
    return err_set(err, -EEXIST, "%s.ipam.%s: %s overlaps %s of NetworkAttachmentDefinition %s",
                   c->path, range_key(c), range, text, other_ref);
}

/* Whether one of the configuration's networks and this one have an address in common. */
static bool
networks_meet(const struct nad_config *c, const struct cidr *net, struct cidr *ret)
{
    if (c->has_range && cidr_overlap(&c->range, net)) {
        *ret = c->range;
        return true;
    }
    for (size_t i = 0; i < c->static_len; i++)
        if (cidr_overlap(&c->static_addresses[i], net)) {
            *ret = c->static_addresses[i];
            return true;
        }
    return false;
}

static const char *
range_key(const struct nad_config *c)
{
    return c->static_len > 0                                         ? "addresses"
           : c->ipam_type && strcmp(c->ipam_type, "host-local") == 0 ? "subnet"
                                                                     : "range";
}
