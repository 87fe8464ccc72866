/* A host's interfaces as a value: what the kernel has (nl_state.h fills it), what it should have
 * (net_plan.h composes it), and what it had before we changed it (the handler's journal). Pure. The
 * words of its text form are nmstate's (nmstate.io, "network state schema"). */
#ifndef NETPOLICY_NET_STATE_H
#define NETPOLICY_NET_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/arena.h"
#include "base/err.h"
#include "netpolicy/ip.h"
#include "netpolicy/limits.h"

enum net_kind {
    NET_ETHERNET, /* hardware, veth and what else we never make or remove */
    NET_LOOPBACK,
    NET_BRIDGE,  /* linux-bridge */
    NET_BOND,    /* bond */
    NET_VLAN,    /* vlan: 802.1Q on `base` */
    NET_MACVLAN, /* mac-vlan on `base` */
    NET_OTHER    /* vxlan, tun, ...: looked at only */
};
/* nmstate's word: "ethernet", "linux-bridge", "bond", "vlan", "mac-vlan", "loopback", "unknown". */
const char *net_kind_name(enum net_kind k);
bool net_kind_made(enum net_kind k);    /* bridge, bond, vlan, macvlan: can be made and removed */
bool net_kind_stacked(enum net_kind k); /* vlan, macvlan: stands on a base */
bool net_kind_ports(enum net_kind k);   /* bridge, bond: has ports */

#define NET_BOND_MODES                                                                           \
    "balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb, balance-alb or 0 " \
    "to 6"
#define NET_MACVLAN_MODES "bridge, private, vepa, passthru"
int net_bond_mode(const char *name); /* by name or number; 0-6 or -EINVAL */
const char *net_bond_mode_name(unsigned mode);
const char *net_macvlan_mode(const char *name); /* the constant, or NULL */

/* Which attributes of a link; in a link of a state all that its kind has are known. */
#define NET_F_UP         (1u << 0)
#define NET_F_MTU        (1u << 1)
#define NET_F_MAC        (1u << 2)
#define NET_F_CONTROLLER (1u << 3)
#define NET_F_ADDRS4     (1u << 4) /* the set of its IPv4 addresses */
#define NET_F_ADDRS6     (1u << 5) /* likewise, global ones; link-local addresses are the kernel's */
#define NET_F_BRIDGE     (1u << 6) /* stp, vlan_filtering */
#define NET_F_BOND       (1u << 7) /* mode, miimon */
#define NET_F_BASE       (1u << 8) /* base, and vlan_id or macvlan_mode: what it is, not how it is */
#define NET_F_SHAPE      (1u << 9)
#define NET_F_ARP_IGNORE (1u << 10)
#define NET_F_ALL        ((1u << 11) - 1)

struct net_addr {
    struct ip ip;
    unsigned prefix; /* in its own family: /24 is 24 for IPv4 */
    bool foreign;    /* by DHCP, autoconf or with a lifetime: never taken away by a plan */
};

/* A limit of the kernel for what leaves the interface: an htb root with a class for urgent traffic
 * before all other (nl_shape.h). 0 = none. */
struct net_shape {
    uint64_t rate_bytes_per_s, burst_bytes;
};

struct net_link {
    char name[NL_IFNAME_SIZE];
    enum net_kind kind;
    char driver[16]; /* IFLA_INFO_KIND: "veth", "vxlan", "bridge"; "" = hardware */
    int ifindex;     /* 0 in a target */
    bool up, carrier;
    uint32_t mtu, min_mtu, max_mtu;  /* max_mtu 0 = the kernel states none */
    uint8_t mac[6];                  /* in a target: all 0 = whatever the kernel gives */
    char controller[NL_IFNAME_SIZE]; /* the bridge or bond that it is a port of; "" = none */
    char base[NL_IFNAME_SIZE];       /* macvlan, vlan; "" = in another namespace */
    const char *macvlan_mode;        /* bridge private vepa passthru: a constant, or NULL */
    uint16_t vlan_id;
    bool stp, vlan_filtering; /* bridge */
    uint8_t bond_mode;        /* 0-6 */
    uint32_t bond_miimon;     /* milliseconds */
    struct net_addr *addrs;   /* of global scope, sorted by address */
    size_t addrs_len;
    struct net_shape shape;
    bool
        shape_foreign; /* somebody else's root qdisc is there (not the kernel's default): left alone */
    bool arp_ignore;     /* net.ipv4.conf.NAME.arp_ignore is not 0 */
    uint64_t speed_mbps; /* of hardware; 0 = not known */
    bool default_route;  /* a default route of either family leaves through it (or through what
                                it is a port of) */
};

/* Links sorted by name; they and their addresses live in one arena. */
struct net_state {
    struct net_link *links;
    size_t len;
};

const struct net_link *net_state_find(const struct net_state *s, const char *name);
/* The first interface that has the address; NULL: none has. */
const struct net_link *net_state_with(const struct net_state *s, const struct ip *ip);
/* A deep copy into the arena. */
void net_state_copy(const struct net_state *s, struct arena *a, struct net_state *ret);
/* Whether a link is as it is wanted in these attributes (NET_F_*; kinds are compared with
 * NET_F_BASE). Attributes that its kind has not, and a wanted MAC of zeros, agree with everything;
 * foreign addresses are neither missed nor too many. ret_why (may be NULL): the first that differs, in
 * words for people: "mtu 1500 instead of 9000". */
bool net_link_equal(const struct net_link *have, const struct net_link *want, unsigned fields,
                    char *ret_why, size_t size);
/* Takes these attributes over (addresses are copied into the arena, each once); with NET_F_BASE the
 * kind, too. Foreign addresses that dst has stay. */
void net_link_take(struct net_link *dst, const struct net_link *src, unsigned fields,
                   struct arena *a);
/* Address, prefix length and nothing else. */
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
const struct net_addr *net_link_find_addr(const struct net_link *l, const struct net_addr *a);

/* nmstate's form: {"interfaces": [{"name", "type", "state", "mtu", "mac-address", "ipv4", "ipv6", "bridge",
 * "link-aggregation", "vlan", "mac-vlan", "controller"}]}, and what nmstate has no word for under
 * "drover". The caller's. Reading it back gives an equal state; unknown fields are passed over, bad
 * ones are errors. */
struct tree *net_state_tree(const struct net_state *s);
int net_state_from_tree(const struct tree *t, struct arena *a, struct net_state *ret,
                        struct err *err);

#endif
