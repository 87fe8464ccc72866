/* A host's interfaces in nmstate's words, and back; see net_state.h and net_state_tree.h. A port's
 * "controller" is what is read back; the lists of ports in bridges and bonds are for people. */
#include "netpolicy/net_state_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netpolicy/place.h"

static struct tree *addrs_tree(const struct net_link *l, bool v4);
static struct tree *ours_tree(const struct net_link *l);
static int read_link(const struct place *p, struct net_link *ret);
static int read_kind(const struct place *p, struct net_link *l);
static int read_addrs(const struct place *p, struct net_link *l);
static int read_ours(const struct place *p, struct net_link *l);

/* As the kernel numbers them: linux/if_bonding.h, BOND_MODE_*. */
static const char *const bond_modes[] = {"balance-rr", "active-backup", "balance-xor", "broadcast",
                                         "802.3ad",    "balance-tlb",   "balance-alb"};
static const char *const macvlan_modes[] = {"bridge", "private", "vepa", "passthru"};

const char *
net_bond_mode_name(unsigned mode)
{
    return mode < ARRAY_LEN(bond_modes) ? bond_modes[mode] : "unknown";
}

int
net_bond_mode(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(bond_modes); i++)
        if (strcmp(name, bond_modes[i]) == 0 || (name[0] == (char)('0' + i) && name[1] == '\0'))
            return (int)i;
    return -EINVAL;
}

const char *
net_macvlan_mode(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(macvlan_modes); i++)
        if (strcmp(name, macvlan_modes[i]) == 0)
            return macvlan_modes[i];
    return NULL;
}

/* --- writing --- */

struct tree *
net_state_tree(const struct net_state *s)
{
    struct tree *t = tree_map(), *list = tree_list();

    for (size_t i = 0; i < s->len; i++)
        tree_append(list, net_link_tree(&s->links[i], s));
    tree_set(t, "interfaces", list);
    return t;
}

static struct tree *
ports_tree(const struct net_link *l, const struct net_state *s)
{
    struct tree *list = tree_list();

    for (size_t i = 0; i < s->len; i++) {
        struct tree *port;

        if (strcmp(s->links[i].controller, l->name) != 0)
            continue;
        if (l->kind == NET_BOND) {
            tree_append(list, tree_string(s->links[i].name));
            continue;
        }
        port = tree_map();
        tree_set(port, "name", tree_string(s->links[i].name));
        tree_append(list, port);
    }
    return list;
}

static struct tree *
kind_tree(const struct net_link *l, const struct net_state *ports_of)
{
    struct tree *t = tree_map();

    if (l->kind == NET_BRIDGE) {
        tree_set_path(t, tree_bool(l->stp), "options", "stp", "enabled", NULL);
        tree_set_path(t, tree_bool(l->vlan_filtering), "options", "vlan-filtering", NULL);
        if (ports_of)
            tree_set(t, "port", ports_tree(l, ports_of));
    } else if (l->kind == NET_BOND) {
        tree_set(t, "mode", tree_string(net_bond_mode_name(l->bond_mode)));
        tree_set_path(t, tree_int(l->bond_miimon), "options", "miimon", NULL);
        if (ports_of)
            tree_set(t, "port", ports_tree(l, ports_of));
    } else {
        tree_set(t, "base-iface", tree_string(l->base));
        if (l->kind == NET_VLAN)
            tree_set(t, "id", tree_int(l->vlan_id));
        else if (l->macvlan_mode)
            tree_set(t, "mode", tree_string(l->macvlan_mode));
    }
    return t;
}

/* Where nmstate keeps what is special to a kind; NULL: nowhere. */
static const char *
kind_key(enum net_kind k)
{
    switch (k) {
    case NET_BRIDGE:
        return "bridge";
    case NET_BOND:
        return "link-aggregation";
    case NET_VLAN:
        return "vlan";
    case NET_MACVLAN:
        return "mac-vlan";
    case NET_ETHERNET:
    case NET_LOOPBACK:
    case NET_OTHER:
        break;
    }
    return NULL;
}

struct tree *
net_link_tree(const struct net_link *l, const struct net_state *ports_of)
{
    static const uint8_t no_mac[6];
    const char *key = kind_key(l->kind);
    struct tree *t = tree_map(), *ours = ours_tree(l);

    tree_set(t, "name", tree_string(l->name));
    tree_set(t, "type", tree_string(net_kind_name(l->kind)));
    tree_set(t, "state", tree_string(l->up ? "up" : "down"));
    tree_set(t, "mtu", tree_int(l->mtu));
    if (l->min_mtu > 0)
        tree_set(t, "min-mtu", tree_int(l->min_mtu));
    if (l->max_mtu > 0)
        tree_set(t, "max-mtu", tree_int(l->max_mtu));
    if (memcmp(l->mac, no_mac, sizeof no_mac) != 0)
        tree_set(t, "mac-address",
                 tree_stringf("%02X:%02X:%02X:%02X:%02X:%02X", l->mac[0], l->mac[1], l->mac[2],
                              l->mac[3], l->mac[4], l->mac[5]));
    if (*l->controller)
        tree_set(t, "controller", tree_string(l->controller));
    if (key)
        tree_set(t, key, kind_tree(l, ports_of));
    if (l->speed_mbps > 0)
        tree_set_path(t, tree_int((int64_t)l->speed_mbps), "ethernet", "speed", NULL);
    tree_set(t, "ipv4", addrs_tree(l, true));
    tree_set(t, "ipv6", addrs_tree(l, false));
    if (tree_len(ours) > 0)
        tree_set(t, "drover", ours);
    else
        tree_free(ours);
    return t;
}

static struct tree *
addrs_tree(const struct net_link *l, bool v4)
{
    struct tree *t = tree_map(), *list = tree_list();

    for (size_t i = 0; i < l->addrs_len; i++) {
        const struct net_addr *x = &l->addrs[i];
        struct tree *item;
        char ip[IP_TEXT_SIZE];

        if (ip_is_v4(&x->ip) != v4)
            continue;
        ip_format(&x->ip, ip, sizeof ip);
        item = tree_map();
        tree_set(item, "ip", tree_string(ip));
        tree_set(item, "prefix-length", tree_int(x->prefix));
        if (x->foreign)
            tree_set_path(item, tree_bool(true), "drover", "foreign", NULL);
        tree_append(list, item);
    }
    tree_set(t, "enabled", tree_bool(tree_len(list) > 0));
    tree_set(t, "address", list);
    return t;
}

/* What nmstate has no word for. */
static struct tree *
ours_tree(const struct net_link *l)
{
    struct tree *t = tree_map();

    if (*l->driver)
        tree_set(t, "driver", tree_string(l->driver));
    if (l->ifindex != 0)
        tree_set(t, "ifindex", tree_int(l->ifindex));
    if (l->carrier)
        tree_set(t, "carrier", tree_bool(true));
    if (l->shape.rate_bytes_per_s > 0) {
        tree_set_path(t, tree_int((int64_t)l->shape.rate_bytes_per_s), "limit", "bytesPerSecond",
                      NULL);
        tree_set_path(t, tree_int((int64_t)l->shape.burst_bytes), "limit", "burstBytes", NULL);
    }
    if (l->shape_foreign)
        tree_set(t, "foreignLimit", tree_bool(true));
    if (l->arp_ignore)
        tree_set(t, "arpIgnore", tree_bool(true));
    if (l->default_route)
        tree_set(t, "defaultRoute", tree_bool(true));
    return t;
}

/* --- reading --- */

static int
compare_links(const void *x, const void *y)
{
    const struct net_link *a = x, *b = y;

    return strcmp(a->name, b->name);
}

int
net_state_from_tree(const struct tree *t, struct arena *a, struct net_state *ret, struct err *err)
{
    struct place p = {.map = t, .path = "network state", .arena = a, .err = err}, item;
    const struct tree *list;
    struct net_state s = {0};
    int rc;

    if (tree_type(t) != TREE_MAP || tree_type(tree_get(t, "interfaces")) != TREE_LIST)
        return err_set(err, -EINVAL, "network state: want an object with a list \"interfaces\"");
    if ((rc = place_list(&p, "interfaces", NET_MAX_LINKS, &list)) != 0)
        return rc;
    s.links = arena_calloc(a, tree_len(list), sizeof *s.links);
    for (; s.len < tree_len(list); s.len++)
        if ((rc = place_item(&p, "interfaces", list, s.len, &item)) != 0 ||
            (rc = read_link(&item, &s.links[s.len])) != 0)
            return rc;
    if (s.len > 0)
        qsort(s.links, s.len, sizeof *s.links, compare_links);
    for (size_t i = 1; i < s.len; i++)
        if (compare_links(&s.links[i - 1], &s.links[i]) == 0)
            return err_set(err, -EINVAL, "network state.interfaces: \"%s\" is there twice",
                           s.links[i].name);
    *ret = s;
    return 0;
}

int
net_link_from_tree(const struct tree *t, struct arena *a, struct net_link *ret, struct err *err)
{
    struct place p = {.map = t, .path = "interface", .arena = a, .err = err};

    if (tree_type(t) != TREE_MAP)
        return err_set(err, -EINVAL, "interface: want an object, found %s",
                       tree_type_name(tree_type(t)));
    return read_link(&p, ret);
}

/* Names of interfaces and drivers, as the kernel has them: what it calls an interface is not judged. */
static int
read_name(const struct place *p, const char *key, char ret[NL_IFNAME_SIZE])
{
    const char *s = NULL;
    int rc = place_text(p, key, &s);

    if (rc != 0 || !s)
        return rc;
    if (strlen(s) >= NL_IFNAME_SIZE)
        return err_set(p->err, -EINVAL, "%s.%s: \"%.64s\": want at most %d bytes", p->path, key, s,
                       NL_IFNAME_SIZE - 1);
    memset(ret, 0, NL_IFNAME_SIZE);
    memcpy(ret, s, strlen(s));
    return 0;
}

static int
read_u32(const struct place *p, const char *key, uint32_t *ret)
{
    int64_t v = *ret;
    int rc = place_int(p, key, 0, UINT32_MAX, &v);

    *ret = (uint32_t)v;
    return rc;
}

static int
read_u64(const struct place *p, const char *key, uint64_t *ret)
{
    int64_t v = 0;
    int rc = place_int(p, key, 0, INT64_MAX, &v);

    *ret = (uint64_t)v;
    return rc;
}

static int
read_link(const struct place *p, struct net_link *ret)
{
    static const char *const states[] = {"up", "down", NULL};
    struct place ethernet;
    struct net_link l = {0};
    const char *state = "down";
    bool has_mac = false;
    int rc;

    if ((rc = read_name(p, "name", l.name)) != 0)
        return rc;
    if (!*l.name)
        return err_set(p->err, -EINVAL, "%s.name: want 1 to %d bytes", p->path, NL_IFNAME_SIZE - 1);
    if ((rc = read_kind(p, &l)) != 0 || (rc = place_text(p, "state", &state)) != 0 ||
        (rc = place_one_of(p, "state", state, states, "up or down")) != 0 ||
        (rc = read_u32(p, "mtu", &l.mtu)) != 0 || (rc = read_u32(p, "min-mtu", &l.min_mtu)) != 0 ||
        (rc = read_u32(p, "max-mtu", &l.max_mtu)) != 0 ||
        (rc = place_mac(p, "mac-address", &has_mac, l.mac)) != 0 ||
        (rc = read_name(p, "controller", l.controller)) != 0 ||
        (rc = place_map(p, "ethernet", &ethernet)) != 0 ||
        (rc = read_u64(&ethernet, "speed", &l.speed_mbps)) != 0 || (rc = read_addrs(p, &l)) != 0 ||
        (rc = read_ours(p, &l)) != 0)
        return rc;
    l.up = strcmp(state, "up") == 0;
    *ret = l;
    return 0;
}

static int
read_kind(const struct place *p, struct net_link *l)
{
    const char *type = "", *mode = NULL, *key;
    struct place k, options, stp;
    int64_t id = 0;
    int rc;

    if ((rc = place_text(p, "type", &type)) != 0)
        return rc;
    l->kind = NET_OTHER;
    for (int i = 0; i < NET_OTHER; i++)
        if (strcmp(type, net_kind_name((enum net_kind)i)) == 0)
            l->kind = (enum net_kind)i;
    key = kind_key(l->kind);
    if (!key)
        return 0;
    if ((rc = place_map(p, key, &k)) != 0 || (rc = place_map(&k, "options", &options)) != 0 ||
        (rc = place_map(&options, "stp", &stp)) != 0 ||
        (rc = place_bool(&stp, "enabled", &l->stp)) != 0 ||
        (rc = place_bool(&options, "vlan-filtering", &l->vlan_filtering)) != 0 ||
        (rc = read_u32(&options, "miimon", &l->bond_miimon)) != 0 ||
        (rc = read_name(&k, "base-iface", l->base)) != 0 ||
        (rc = place_int(&k, "id", 0, 4094, &id)) != 0 || (rc = place_text(&k, "mode", &mode)) != 0)
        return rc;
    l->vlan_id = (uint16_t)id;
    if (l->kind == NET_BOND && mode) {
        int number = net_bond_mode(mode);

        if (number < 0)
            return err_set(p->err, -EINVAL, "%s.mode: \"%.64s\": want one of %s", k.path, mode,
                           NET_BOND_MODES);
        l->bond_mode = (uint8_t)number;
    } else if (l->kind == NET_MACVLAN && mode) {
        l->macvlan_mode = net_macvlan_mode(mode);
        if (!l->macvlan_mode)
            return err_set(p->err, -EINVAL, "%s.mode: \"%.64s\": want one of %s", k.path, mode,
                           NET_MACVLAN_MODES);
    }
    return 0;
}

static int
read_addr(const struct place *p, bool v4, struct net_addr *ret)
{
    int64_t prefix = -1;
    struct place ours;
    bool has = false;
    int rc;

    if ((rc = place_ip(p, "ip", &has, &ret->ip)) != 0 ||
        (rc = place_int(p, "prefix-length", 0, v4 ? 32 : 128, &prefix)) != 0 ||
        (rc = place_map(p, "drover", &ours)) != 0 ||
        (rc = place_bool(&ours, "foreign", &ret->foreign)) != 0)
        return rc;
    if (!has || ip_is_v4(&ret->ip) != v4)
        return err_set(p->err, -EINVAL, "%s.ip: want an %s address", p->path, v4 ? "IPv4" : "IPv6");
    if (prefix < 0)
        return err_set(p->err, -EINVAL, "%s.prefix-length: is missing", p->path);
    ret->prefix = (unsigned)prefix;
    return 0;
}

static int
read_addrs(const struct place *p, struct net_link *l)
{
    static const char *const keys[2] = {"ipv4", "ipv6"};

    for (int family = 0; family < 2; family++) {
        struct net_link found = {0};
        const struct tree *list;
        struct place ip, item;
        int rc;

        if ((rc = place_map(p, keys[family], &ip)) != 0 ||
            (rc = place_list(&ip, "address", NET_MAX_LINK_ADDRS, &list)) != 0)
            return rc;
        found.addrs = arena_calloc(p->arena, tree_len(list), sizeof *found.addrs);
        for (size_t i = 0; i < tree_len(list); i++)
            if ((rc = place_item(&ip, "address", list, i, &item)) != 0 ||
                (rc = read_addr(&item, family == 0, &found.addrs[found.addrs_len++])) != 0)
                return rc;
        net_link_take(l, &found, family == 0 ? NET_F_ADDRS4 : NET_F_ADDRS6, p->arena);
    }
    return 0;
}

static int
read_ours(const struct place *p, struct net_link *l)
{
    struct place ours, limit;
    int64_t ifindex = 0;
    int rc;

    if ((rc = place_map(p, "drover", &ours)) != 0 ||
        (rc = read_name(&ours, "driver", l->driver)) != 0 ||
        (rc = place_int(&ours, "ifindex", 0, INT32_MAX, &ifindex)) != 0 ||
        (rc = place_bool(&ours, "carrier", &l->carrier)) != 0 ||
        (rc = place_map(&ours, "limit", &limit)) != 0 ||
        (rc = read_u64(&limit, "bytesPerSecond", &l->shape.rate_bytes_per_s)) != 0 ||
        (rc = read_u64(&limit, "burstBytes", &l->shape.burst_bytes)) != 0 ||
        (rc = place_bool(&ours, "foreignLimit", &l->shape_foreign)) != 0 ||
        (rc = place_bool(&ours, "arpIgnore", &l->arp_ignore)) != 0 ||
        (rc = place_bool(&ours, "defaultRoute", &l->default_route)) != 0)
        return rc;
    l->ifindex = (int)ifindex;
    return 0;
}
