/* The kernel's side of networks, through libnl-3 and libnl-route-3: what is there, and making it.
 * All functions act in the calling thread's network namespace (netpolicy/netns.h moves it) and
 * block briefly. */
#ifndef NETPOLICY_NL_LINK_H
#define NETPOLICY_NL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "netpolicy/ip.h"
#include "netpolicy/limits.h"
#include "netpolicy/nad.h"
#include "netpolicy/netns.h"

struct nl_addr_found {
    struct ip ip;
    unsigned prefix;
    bool v4;
    char ifname[NL_IFNAME_SIZE];
    bool link_up; /* IFF_UP and carrier */
    uint32_t mtu;
};

/* All global-scope addresses of this namespace that may be used (no duplicate was found and, IPv6,
 * the search for one is over), sorted by interface name, then address; at most max. Returns the
 * number or -errno. */
int nl_addresses(struct nl_addr_found *out, int max, struct err *err);
/* The address that the dedicated network gave this host: the first one (by interface name, then
 * address) that nad_address_allowed accepts. -ENOENT with a sentence when there is none. */
int nl_find_migration_address(const struct nad_config *c, struct nl_addr_found *ret,
                              struct err *err);

/* Bytes and packets of an interface since it exists. -ENOENT: no such interface. Count a macvlan's
 * traffic at the interface below it: Linux 6.18 leaves unicast out of a macvlan's rx counters. */
struct nl_counters {
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped;
};
int nl_link_counters(const char *ifname, struct nl_counters *ret, struct err *err);

/* Bytes a second of the hardware under an interface (also under a VLAN, macvlan or ipvlan on it), as
 * its driver says; 0 = not known: there is none, as with a veth or a bridge, or it does not say. */
uint64_t nl_link_speed(const char *ifname);

/* Making things (for `drover dev` and, later, the handler). Names are at most 15 bytes. -EEXIST
 * when the name is taken; -ENOENT when an interface that is named is not there. New interfaces are
 * down. */
int nl_bridge_add(const char *name, struct err *err);
/* peer_netns_fd: the namespace by an open descriptor (netns_open), or -1 for this one. */
int nl_veth_add(const char *name, const char *peer, int peer_netns_fd, struct err *err);
int nl_macvlan_add(const char *name, const char *master, const char *mode, struct err *err);
int nl_link_set_master(const char *name, const char *bridge, struct err *err);
int nl_link_up(const char *name, struct err *err);
int nl_link_down(const char *name, struct err *err);
int nl_link_set_mtu(const char *name, uint32_t mtu, struct err *err);
/* IPv6 addresses are usable at once: no search for duplicates. */
int nl_addr_add(const char *ifname, const struct ip *ip, unsigned prefix, struct err *err);
int nl_link_del(const char *name, struct err *err);

#endif
