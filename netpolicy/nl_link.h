/* The kernel's side of networks, through libnl-3 and libnl-route-3: what is there, and making it.
 * All functions act in the calling thread's network namespace and block briefly. */
#ifndef NETPOLICY_NL_LINK_H
#define NETPOLICY_NL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "netpolicy/nad.h"

#define NL_IFNAME_SIZE 16
#define NL_MAX_ADDRS   64

struct nl_addr_found {
    struct ip ip;
    unsigned prefix;
    bool v4;
    char ifname[NL_IFNAME_SIZE];
    bool link_up; /* IFF_UP and carrier */
    uint32_t mtu;
};

/* All global-scope addresses of this namespace; at most max. Returns the number or -errno. */
int nl_addresses(struct nl_addr_found *out, int max, struct err *err);
/* The address that the dedicated network gave this host: the first one (by interface name, then
 * address) that nad_address_allowed accepts. -ENOENT with a sentence when there is none. */
int nl_find_migration_address(const struct nad_config *c, struct nl_addr_found *ret, struct err *err);

/* Bytes and packets of an interface since it exists. */
struct nl_counters {
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped;
};
int nl_link_counters(const char *ifname, struct nl_counters *ret, struct err *err);

/* Making things (for `drover dev` and, later, the handler). Names are at most 15 bytes. -EEXIST when the
 * name is taken. *_in(pid_or_fd): the namespace by an open descriptor of /run/netns/NAME. */
int nl_bridge_add(const char *name, struct err *err);
int nl_veth_add(const char *name, const char *peer, int peer_netns_fd, struct err *err);
int nl_macvlan_add(const char *name, const char *master, const char *mode, struct err *err);
int nl_link_set_master(const char *name, const char *bridge, struct err *err);
int nl_link_up(const char *name, struct err *err);
int nl_link_set_mtu(const char *name, uint32_t mtu, struct err *err);
int nl_addr_add(const char *ifname, const struct ip *ip, unsigned prefix, struct err *err);
int nl_link_del(const char *name, struct err *err);

/* Named network namespaces, compatible with `ip netns`. enter: moves the calling thread. */
int netns_add(const char *name, struct err *err);
int netns_del(const char *name, struct err *err);
int netns_open(const char *name, struct err *err); /* descriptor or -errno */
int netns_enter(int fd, struct err *err);

#endif
