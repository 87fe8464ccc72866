/* The desired state of a NodeNetworkConfigurationPolicy as wants; see net_want.h. The words are
 * nmstate's (nmstate.io, "YAML API"), with the older spellings that OpenShift 4.8 to 4.15 documents
 * show: slaves and ports beside port, miimon as text. What is not done here is refused by name, so
 * that no policy is called done of which a part was dropped; only what asks for nothing (false, 0, an
 * empty list) and what nmstate itself only reports (min-mtu, driver, ...) is passed over. */
#include "netpolicy/net_want.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netpolicy/place.h"

#define STATE_PATH "spec.desiredState"
#define MTU_MIN    68
#define MTU_MAX    65535

static int read_interface(const struct place *p, const char *origin, struct net_want *w,
                          bool *ret_ignore);
static int read_base(const struct place *p, struct net_want *w);
static int read_attributes(const struct place *p, struct net_want *w);
static int read_addresses(const struct place *p, bool v4, struct net_want *w);
static int read_bridge(const struct place *p, struct net_want *w);
static int read_bond(const struct place *p, struct net_want *w);
static int read_ports(const struct place *p, const char *const *keys, bool items_are_maps,
                      struct net_want *w);
static int refuse_others(const struct place *p, const char *const *known, const char *want);

int
net_want_policy(const struct tree *desired, const char *origin, struct arena *a,
                struct net_wants *ret, struct err *err)
{
    static const char *const known[] = {"interfaces", NULL};
    struct place top = {.map = desired, .path = STATE_PATH, .arena = a, .err = err};
    struct net_wants wants = {0};
    const struct tree *list = NULL;
    int rc = 0;

    if (desired && tree_type(desired) != TREE_MAP && tree_type(desired) != TREE_NULL)
        rc = err_set(err, -EINVAL, STATE_PATH ": want an object, found %s",
                     tree_type_name(tree_type(desired)));
    else if ((rc = refuse_others(&top, known, "interfaces")) == 0)
        rc = place_list(&top, "interfaces", NNCP_MAX_INTERFACES, &list);

    wants.items = arena_calloc(a, tree_len(list), sizeof *wants.items);
    for (size_t i = 0; rc == 0 && i < tree_len(list); i++) {
        struct net_want *w = &wants.items[wants.len];
        bool ignore = false;
        struct place p;

        if ((rc = place_item(&top, "interfaces", list, i, &p)) != 0 ||
            (rc = read_interface(&p, origin, w, &ignore)) != 0)
            break;
        for (size_t k = 0; k < wants.len && rc == 0; k++)
            if (strcmp(wants.items[k].link.name, w->link.name) == 0)
                rc = err_set(err, -EINVAL,
                             "%s.name: \"%s\": stands in %s already: want one entry "
                             "for an interface",
                             p.path, w->link.name, wants.items[k].field);
        if (!ignore)
            wants.len++;
    }
    if (rc != 0)
        return err_prefix(err, rc, "%s", origin);
    *ret = wants;
    return 0;
}

/* --- one interface --- */

static const char *const states[] = {
    [NET_UP] = "up", [NET_DOWN] = "down", [NET_ABSENT] = "absent", "ignore", NULL};

/* By nmstate's names; NET_OTHER ("unknown"): whatever it is. */
static const enum net_kind kinds[] = {NET_ETHERNET, NET_BRIDGE,  NET_BOND,
                                      NET_VLAN,     NET_MACVLAN, NET_OTHER};
#define TYPES_TEXT "ethernet, linux-bridge, bond, vlan or mac-vlan"

static int
read_type(const struct place *p, struct net_want *w)
{
    const char *type = "unknown";
    int rc = place_text(p, "type", &type);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(type, net_kind_name(kinds[i])) == 0) {
            w->link.kind = kinds[i];
            w->has_kind = kinds[i] != NET_OTHER;
            return 0;
        }
    return err_set(p->err, -ENOTSUP, "%s.type: \"%.64s\": is not supported: want " TYPES_TEXT,
                   p->path, type);
}

static int
read_interface(const struct place *p, const char *origin, struct net_want *w, bool *ret_ignore)
{
    /* From "description" on: what nmstate reports and never applies. */
    static const char *const known[] = {
        "name",       "type",     "state",       "mtu",          "mac-address",
        "controller", "ipv4",     "ipv6",        "bridge",       "link-aggregation",
        "vlan",       "mac-vlan", "description", "profile-name", "permanent-mac-address",
        "min-mtu",    "max-mtu",  "driver",      "identifier",   NULL};
    const char *name = NULL, *state = "up", *identifier = "name";
    int rc;

    *w = (struct net_want){.field = p->path, .origin = origin};
    if ((rc = place_ifname(p, "name", true, &name)) != 0 ||
        (rc = place_text(p, "state", &state)) != 0 ||
        (rc = place_one_of(p, "state", state, states, "up, down, absent or ignore")) != 0)
        return rc;
    snprintf(w->link.name, sizeof w->link.name, "%s", name);
    if ((*ret_ignore = strcmp(state, "ignore") == 0))
        return 0;
    w->presence = (enum net_presence)place_index_of(state, states);

    if ((rc = read_type(p, w)) != 0 || (rc = place_text(p, "identifier", &identifier)) != 0)
        return rc;
    if (strcmp(identifier, "name") != 0)
        return err_set(p->err, -ENOTSUP, "%s.identifier: \"%.64s\": is not supported: want name",
                       p->path, identifier);
    if ((rc = refuse_others(p, known,
                            "name, type, state, mtu, mac-address, controller, ipv4, ipv6, "
                            "bridge, link-aggregation, vlan and mac-vlan")) != 0)
        return rc;
    if (w->presence == NET_ABSENT)
        return 0; /* nothing else of it matters */

    w->link.up = w->presence == NET_UP;
    w->fields = NET_F_UP;
    if ((rc = read_attributes(p, w)) != 0 || (rc = read_addresses(p, true, w)) != 0 ||
        (rc = read_addresses(p, false, w)) != 0 || (rc = read_bridge(p, w)) != 0 ||
        (rc = read_bond(p, w)) != 0)
        return rc;
    return read_base(p, w);
}

/* mtu, mac-address and controller. */
static int
read_attributes(const struct place *p, struct net_want *w)
{
    const struct tree *t = tree_get(p->map, "controller");
    static const uint8_t none[6];
    const char *controller = NULL;
    bool has_mac = false;
    int64_t mtu = 0;
    int rc;

    if ((rc = place_int(p, "mtu", MTU_MIN, MTU_MAX, &mtu)) != 0 ||
        (rc = place_mac(p, "mac-address", &has_mac, w->link.mac)) != 0 ||
        (rc = place_ifname(p, "controller", false, &controller)) != 0)
        return rc;
    if (mtu != 0) {
        w->link.mtu = (uint32_t)mtu;
        w->fields |= NET_F_MTU;
    }
    if (tree_type(t) == TREE_STRING) { /* "": in none */
        snprintf(w->link.controller, sizeof w->link.controller, "%s", controller ? controller : "");
        w->fields |= NET_F_CONTROLLER;
    }
    if (!has_mac)
        return 0;
    if ((w->link.mac[0] & 1) || memcmp(w->link.mac, none, sizeof none) == 0)
        return err_set(p->err, -EINVAL,
                       "%s.mac-address: %s: want one interface's address, such as "
                       "52:54:00:12:34:56",
                       p->path, place_quote(p, tree_get(p->map, "mac-address")));
    w->fields |= NET_F_MAC;
    return 0;
}

/* --- addresses --- */

static int
cmp_addr(const void *x, const void *y)
{
    return ip_cmp(&((const struct net_addr *)x)->ip, &((const struct net_addr *)y)->ip);
}

static int
read_address(const struct place *p, bool v4, struct net_addr *ret)
{
    static const char *const known[] = {"ip", "prefix-length", NULL};
    const char *family = v4 ? "an IPv4 address" : "an IPv6 address";
    int64_t max = v4 ? 32 : 128, prefix = 0;
    char text[IP_TEXT_SIZE];
    bool has = false;
    int rc;

    if ((rc = refuse_others(p, known, "ip and prefix-length")) != 0 ||
        (rc = place_ip(p, "ip", &has, &ret->ip)) != 0 ||
        (rc = place_int(p, "prefix-length", 1, max, &prefix)) != 0)
        return rc;
    if (!has)
        return err_set(p->err, -EINVAL, "%s.ip: is missing: want %s", p->path, family);
    ip_format(&ret->ip, text, sizeof text);
    if (ip_is_v4(&ret->ip) != v4)
        return err_set(p->err, -EINVAL, "%s.ip: %s: want %s", p->path, text, family);
    if (!ip_is_assignable(&ret->ip))
        return err_set(
            p->err, -EINVAL,
            "%s.ip: %s: want an address that one host can have (not loopback, link-local "
            "or multicast)",
            p->path, text);
    if (prefix == 0)
        return err_set(p->err, -EINVAL, "%s.prefix-length: is missing: want 1 to %lld", p->path,
                       (long long)max);
    ret->prefix = (unsigned)prefix;
    return 0;
}

static int
read_address_list(const struct place *p, const struct tree *list, bool v4, struct net_want *w)
{
    struct net_link *l = &w->link;
    struct net_addr *all = arena_calloc(p->arena, l->addrs_len + tree_len(list), sizeof *l->addrs);
    int rc;

    if (l->addrs_len > 0)
        memcpy(all, l->addrs, l->addrs_len * sizeof *all);
    for (size_t i = 0; i < tree_len(list); i++) {
        struct net_addr *at = &all[l->addrs_len];
        char text[IP_TEXT_SIZE];
        struct place item;

        if ((rc = place_item(p, "address", list, i, &item)) != 0 ||
            (rc = read_address(&item, v4, at)) != 0)
            return rc;
        ip_format(&at->ip, text, sizeof text);
        for (size_t k = 0; k < l->addrs_len; k++)
            if (ip_equal(&all[k].ip, &at->ip))
                return err_set(p->err, -EINVAL, "%s.ip: %s: stands in this list twice", item.path,
                               text);
        l->addrs_len++;
    }
    qsort(all, l->addrs_len, sizeof *all, cmp_addr);
    l->addrs = all;
    w->fields |= v4 ? NET_F_ADDRS4 : NET_F_ADDRS6;
    return 0;
}

/* ipv4 or ipv6: `enabled: false` is an empty set of addresses; a list is the set; neither leaves what
 * is there. */
static int
read_addresses(const struct place *p, bool v4, struct net_want *w)
{
    static const char *const known[] = {"enabled", "address", "dhcp", "autoconf", NULL};
    const struct tree *list = NULL;
    bool enabled = true, dhcp = false, autoconf = false;
    struct place q;
    int rc;

    if ((rc = place_map(p, v4 ? "ipv4" : "ipv6", &q)) != 0 || !q.map)
        return rc;
    if ((rc = refuse_others(&q, known, "enabled and address")) != 0 ||
        (rc = place_bool(&q, "enabled", &enabled)) != 0 ||
        (rc = place_bool(&q, "dhcp", &dhcp)) != 0 ||
        (rc = place_bool(&q, "autoconf", &autoconf)) != 0 ||
        (rc = place_list(&q, "address", NNCP_MAX_ADDRESSES, &list)) != 0)
        return rc;
    if (dhcp || autoconf)
        return err_set(p->err, -ENOTSUP,
                       "%s.%s: true: is not supported: want false, and addresses under %s.address",
                       q.path, dhcp ? "dhcp" : "autoconf", q.path);
    if (!enabled && tree_len(list) > 0)
        return err_set(p->err, -EINVAL,
                       "%s.address: %zu addresses beside enabled: false: want one of both", q.path,
                       tree_len(list));
    return enabled && !list ? 0 : read_address_list(&q, list, v4, w);
}

/* --- bridges and bonds --- */

static int
wrong_type(const struct place *p, const char *key, const char *type)
{
    return err_set(p->err, -EINVAL, "%s.%s: belongs to an interface of type %s", p->path, key,
                   type);
}

static int
read_bridge(const struct place *p, struct net_want *w)
{
    static const char *const known[] = {"options", "port", "ports", "slaves", NULL};
    static const char *const options_known[] = {"stp", NULL};
    static const char *const stp_known[] = {"enabled", NULL};
    static const char *const port_keys[] = {"port", "ports", "slaves", NULL};
    struct place bridge, options, stp;
    int rc = place_map(p, "bridge", &bridge);

    if (rc != 0 || !bridge.map)
        return rc;
    if (w->link.kind != NET_BRIDGE)
        return wrong_type(p, "bridge", "linux-bridge");
    if ((rc = refuse_others(&bridge, known, "options and port")) != 0 ||
        (rc = place_map(&bridge, "options", &options)) != 0 ||
        (rc = refuse_others(&options, options_known, "stp")) != 0 ||
        (rc = place_map(&options, "stp", &stp)) != 0 ||
        (rc = refuse_others(&stp, stp_known, "enabled")) != 0 ||
        (rc = place_bool(&stp, "enabled", &w->link.stp)) != 0)
        return rc;
    if (tree_get(stp.map, "enabled"))
        w->fields |= NET_F_BRIDGE;
    return read_ports(&bridge, port_keys, true, w);
}

#define BOND_MIIMON_DEFAULT 100 /* NetworkManager's; the kernel's 0 never sees a lost carrier */
#define BOND_MIIMON_MAX     60000

static int
read_bond_mode(const struct place *p, uint8_t *ret)
{
    const struct tree *t = tree_get(p->map, "mode");
    int64_t n =
        tree_type(t) == TREE_INT ? tree_get_int(t, -1) : net_bond_mode(tree_get_string(t, ""));

    if (tree_type(t) == TREE_NULL)
        return err_set(p->err, -EINVAL, "%s.mode: is missing: want " NET_BOND_MODES, p->path);
    if (n < 0 || n > 6)
        return err_set(p->err, -EINVAL, "%s.mode: %s: want " NET_BOND_MODES, p->path,
                       place_quote(p, t));
    *ret = (uint8_t)n;
    return 0;
}

static int
read_miimon(const struct place *p, uint32_t *ret)
{
    const struct tree *t = tree_get(p->map, "miimon");
    const char *s = tree_get_string(t, "");
    int64_t ms = tree_get_int(t, -1);

    if (tree_type(t) == TREE_NULL)
        return 0;
    if (*s && strlen(s) <= 5 && s[strspn(s, "0123456789")] == '\0')
        ms = strtol(s, NULL, 10);
    if (ms < 0 || ms > BOND_MIIMON_MAX)
        return err_set(p->err, -EINVAL, "%s.miimon: %s: want 0 to %d (milliseconds)", p->path,
                       place_quote(p, t), BOND_MIIMON_MAX);
    *ret = (uint32_t)ms;
    return 0;
}

static int
read_bond(const struct place *p, struct net_want *w)
{
    static const char *const known[] = {"mode", "options", "port", "ports", "slaves", NULL};
    static const char *const options_known[] = {"miimon", NULL};
    static const char *const port_keys[] = {"port", "ports", "slaves", NULL};
    struct place bond, options;
    int rc = place_map(p, "link-aggregation", &bond);

    if (rc != 0)
        return rc;
    if (!bond.map) {
        if (w->link.kind == NET_BOND)
            return err_set(p->err, -EINVAL, "%s.mode: is missing: want " NET_BOND_MODES, bond.path);
        return 0;
    }
    if (w->link.kind != NET_BOND)
        return wrong_type(p, "link-aggregation", "bond");
    w->link.bond_miimon = BOND_MIIMON_DEFAULT;
    if ((rc = refuse_others(&bond, known, "mode, options and port")) != 0 ||
        (rc = read_bond_mode(&bond, &w->link.bond_mode)) != 0 ||
        (rc = place_map(&bond, "options", &options)) != 0 ||
        (rc = refuse_others(&options, options_known, "miimon")) != 0 ||
        (rc = read_miimon(&options, &w->link.bond_miimon)) != 0)
        return rc;
    w->fields |= NET_F_BOND;
    return read_ports(&bond, port_keys, false, w);
}

/* A port of a bridge is an object with a name, one of a bond a text. */
static int
read_port(const struct place *p, const char *key, const struct tree *list, size_t i, bool is_map,
          const char **ret)
{
    static const char *const known[] = {"name", NULL};
    const char *path = arena_printf(p->arena, "%s.%s[%zu]", p->path, key, i);
    const struct tree *t = tree_at(list, i);
    struct place item;
    int rc;

    if (is_map) {
        if ((rc = place_item(p, key, list, i, &item)) != 0 ||
            (rc = refuse_others(&item, known, "name")) != 0)
            return rc;
        return place_ifname(&item, "name", true, ret);
    }
    if (tree_type(t) != TREE_STRING)
        return err_set(p->err, -EINVAL, "%s: want an interface's name, found %s", path,
                       tree_type_name(tree_type(t)));
    *ret = arena_strdup(p->arena, tree_get_string(t, ""));
    return place_check_ifname(p, path, *ret);
}

static int
read_ports(const struct place *p, const char *const *keys, bool items_are_maps, struct net_want *w)
{
    const struct tree *list = NULL, *t;
    const char *key = NULL;
    int rc;

    for (; *keys; keys++) {
        if ((rc = place_list(p, *keys, NNCP_MAX_PORTS, &t)) != 0)
            return rc;
        if (t && list)
            return err_set(p->err, -EINVAL, "%s: has both %s and %s: want one of them", p->path,
                           key, *keys);
        if (t) {
            list = t;
            key = *keys;
        }
    }
    if (!list)
        return 0;
    w->has_ports = true;
    w->ports = arena_calloc(p->arena, tree_len(list), sizeof *w->ports);
    for (size_t i = 0; i < tree_len(list); i++) {
        if ((rc = read_port(p, key, list, i, items_are_maps, &w->ports[i])) != 0)
            return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(w->ports[k], w->ports[i]) == 0)
                return err_set(p->err, -EINVAL, "%s.%s[%zu]: \"%s\": stands in this list twice",
                               p->path, key, i, w->ports[i]);
        if (strcmp(w->ports[i], w->link.name) == 0)
            return err_set(p->err, -EINVAL, "%s.%s[%zu]: \"%s\": is the interface itself", p->path,
                           key, i, w->ports[i]);
        w->ports_len++;
    }
    return 0;
}

/* --- what stands on another interface --- */

static int
read_vlan(const struct place *p, struct net_want *w, const char **ret_base)
{
    static const char *const known[] = {"base-iface", "id", "protocol", NULL};
    static const char *const protocols[] = {"802.1q", NULL};
    const char *protocol = "802.1q";
    int64_t id = 0;
    int rc;

    if ((rc = refuse_others(p, known, "base-iface and id")) != 0 ||
        (rc = place_ifname(p, "base-iface", true, ret_base)) != 0 ||
        (rc = place_int(p, "id", 1, 4094, &id)) != 0 ||
        (rc = place_text(p, "protocol", &protocol)) != 0 ||
        (rc = place_one_of(p, "protocol", protocol, protocols, "802.1q")) != 0)
        return rc;
    if (id == 0)
        return err_set(p->err, -EINVAL, "%s.id: is missing: want 1 to 4094", p->path);
    w->link.vlan_id = (uint16_t)id;
    return 0;
}

static int
read_macvlan(const struct place *p, struct net_want *w, const char **ret_base)
{
    /* promiscuous: the kernel's own setting, which only passthru mode looks at, is true */
    static const char *const known[] = {"base-iface", "mode", "promiscuous", NULL};
    const char *mode = NULL;
    bool promiscuous = true;
    int rc;

    if ((rc = refuse_others(p, known, "base-iface and mode")) != 0 ||
        (rc = place_ifname(p, "base-iface", true, ret_base)) != 0 ||
        (rc = place_text(p, "mode", &mode)) != 0 ||
        (rc = place_bool(p, "promiscuous", &promiscuous)) != 0)
        return rc;
    if (!promiscuous)
        return err_set(p->err, -ENOTSUP, "%s.promiscuous: false: is not supported: want true",
                       p->path);
    if (!mode)
        return err_set(p->err, -EINVAL, "%s.mode: is missing: want " NET_MACVLAN_MODES, p->path);
    w->link.macvlan_mode = net_macvlan_mode(mode);
    if (!w->link.macvlan_mode)
        return err_set(p->err, -EINVAL, "%s.mode: \"%.64s\": want " NET_MACVLAN_MODES, p->path,
                       mode);
    return 0;
}

static int
read_base(const struct place *p, struct net_want *w)
{
    static const struct {
        const char *key;
        enum net_kind kind;
        int (*read)(const struct place *p, struct net_want *w, const char **ret_base);
    } stacked[] = {{"vlan", NET_VLAN, read_vlan}, {"mac-vlan", NET_MACVLAN, read_macvlan}};
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(stacked); i++) {
        bool is = w->link.kind == stacked[i].kind;
        const char *base = NULL;
        struct place q;

        if ((rc = place_map(p, stacked[i].key, &q)) != 0)
            return rc;
        if (q.map && !is)
            return wrong_type(p, stacked[i].key, stacked[i].key);
        if (!is)
            continue;
        if ((rc = stacked[i].read(&q, w, &base)) != 0)
            return rc;
        if (strcmp(base, w->link.name) == 0)
            return err_set(p->err, -EINVAL, "%s.base-iface: \"%s\": is the interface itself",
                           q.path, base);
        snprintf(w->link.base, sizeof w->link.base, "%s", base);
        w->fields |= NET_F_BASE;
    }
    return 0;
}

/* What this file does not do, by its name; what asks for nothing is no matter. */
static int
refuse_others(const struct place *p, const char *const *known, const char *want)
{
    for (size_t i = 0; i < tree_len(p->map); i++) {
        const char *key = tree_key_at(p->map, i);

        if (place_index_of(key, known) < 0 && !place_is_nothing(tree_at(p->map, i)))
            return err_set(p->err, -ENOTSUP, "%s.%.64s: %s: is not supported: want %s", p->path,
                           key, place_quote(p, tree_at(p->map, i)), want);
    }
    return 0;
}
