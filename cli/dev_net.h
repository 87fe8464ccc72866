/* The networks of a dev cluster: one namespace that stands for the switches and holds the
 * controller, one for each node, and the links between them.
 *
 * switch   br-mgmt 198.18.0.1/24     br-mig (the migration VLAN; no address) | mgmtI
 * | migI node I   mgmt0 198.18.0.(10+I)     eth1 (up, without an address)
 *
 * What stands on eth1 (migration0 and its address) is made by the node's handler, from the cluster's
 * NetworkAttachmentDefinition. Called by dev_cluster.c; needs CAP_SYS_ADMIN and CAP_NET_ADMIN; blocks
 * briefly. */
#ifndef CLI_DEV_NET_H
#define CLI_DEV_NET_H

#include <stddef.h>

#include "base/err.h"
#include "netpolicy/ip.h"

#define DEV_NET_MGMT_BRIDGE "br-mgmt"
#define DEV_NET_MIG_BRIDGE  "br-mig"
#define DEV_NET_CONTROLLER  "198.18.0.1"
#define DEV_NET_MGMT        "198.18.0.0/24"
#define DEV_NET_MIG         "10.200.5.0/24" /* of the examples' definition */
#define DEV_NET_FIRST_NODE  11              /* the last byte of node 1's management address */
#define DEV_NET_MAX_NODES   64

/* True, or an error that names the capabilities that are missing. */
int dev_net_permitted(struct err *err);
/* The management address of node i (0 is the first). */
struct ip dev_net_mgmt_address(size_t i);

/* Makes the switch in a fresh namespace of this name. */
int dev_net_make_switch(const char *netns, struct err *err);
/* Makes node i's namespace and joins it to the switch. */
int dev_net_make_node(const char *switch_netns, const char *netns, size_t i, struct err *err);
/* Takes the switch's ends of node i's links away, and with them the node's. Missing is fine. */
void dev_net_cut_node(const char *switch_netns, size_t i);

#endif
