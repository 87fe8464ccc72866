/* The networks of a dev cluster: one namespace that stands for the switches and holds the
 * controller, one for each node, and the links between them.
 *
 * switch   br-mgmt 198.18.0.1/24     br-mig (the migration VLAN; no address) | mgmtI
 * | migI node I   mgmt0 198.18.0.(10+I)     eth1 - migration0 (macvlan, mode bridge) 10.200.5.x/24
 *
 * The interface and its address are what macvlan and whereabouts would make of the cluster's
 * NetworkAttachmentDefinition on a real host. Called by dev_cluster.c; needs CAP_SYS_ADMIN and
 * CAP_NET_ADMIN; blocks briefly. */
#ifndef CLI_DEV_NET_H
#define CLI_DEV_NET_H

#include <stddef.h>

#include "base/err.h"
#include "netpolicy/ip.h"

#define DEV_NET_MGMT_BRIDGE "br-mgmt"
#define DEV_NET_MIG_BRIDGE  "br-mig"
#define DEV_NET_CONTROLLER  "198.18.0.1"
#define DEV_NET_MGMT        "198.18.0.0/24"
#define DEV_NET_MIG         "10.200.5.0/24"
#define DEV_NET_FIRST_NODE  11 /* the last byte of node 1's management address */
#define DEV_NET_MAX_NODES   64

/* True, or an error that names the capabilities that are missing. */
int dev_net_permitted(struct err *err);
/* The management address of node i (0 is the first), and, as whereabouts would give them one after
 * another, the addresses on the migration network. */
struct ip dev_net_mgmt_address(size_t i);
int dev_net_mig_addresses(const char *range, size_t n, struct ip *out, struct err *err);

/* Makes the switch in a fresh namespace of this name. */
int dev_net_make_switch(const char *netns, struct err *err);
/* Makes node i's namespace and joins it to the switch. mig_prefix: the length of the range's
 * prefix. */
int dev_net_make_node(const char *switch_netns, const char *netns, size_t i, const struct ip *mig,
                      unsigned mig_prefix, struct err *err);
/* Takes the switch's ends of node i's links away, and with them the node's. Missing is fine. */
void dev_net_cut_node(const char *switch_netns, size_t i);

#endif
