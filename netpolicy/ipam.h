/* The addresses of the migration network, one a node, as whereabouts keeps them: an IPPool object a
 * range with its allocations (whereabouts.cni.cncf.io/v1alpha1: spec.range, spec.allocations: offset
 * from the network's address, in decimal -> {id, podref, ifname}). Ours: id is the node's name, and
 * `goneSince` says since when there is no such Node. Pure: trees in, trees out; the controller
 * (control/loop_network.h) stores them. The rules, with examples: docs/migration-addresses.md. */
#ifndef NETPOLICY_IPAM_H
#define NETPOLICY_IPAM_H

#include "api/tree.h"
#include "netpolicy/nad.h"

struct ipam_node {
    const char *name;
    bool has_found; /* the node has `found` now, whoever gave it */
    bool fixed; /* ... and keeps it, whatever it is told: it stands on an interface of its own */
    struct ip found;
    bool has_address; /* out */
    struct ip address;
};

/* True when the configuration gives addresses at all. */
bool ipam_gives(const struct nad_config *c);
/* The pool's name: "10.200.5.0-24", "fd00---64" (':' and '/' become '-'); static addresses: the
 * NAD's "NS-NAME". The caller's. */
char *ipam_pool_name(const struct nad_config *c, const char *nad_ns, const char *nad_name);
/* A new, empty pool. The caller's. */
struct tree *ipam_pool_new(const struct nad_config *c, const char *nad_ns, const char *nad_name);
/* Copies the allocations of another pool of the same network (its range was changed) whose node and
 * address are not in pool yet. */
void ipam_pool_adopt(struct tree *pool, const struct tree *other);

/* Gives each node an address. nodes: all that there are, names unique. In this order: what it has
 * and keeps (fixed), when it is allowed and no other node's; what the pool remembers, when the
 * configuration still allows it; what the node has already, when it is allowed and free; the lowest free one, in the order of nodes; and when the range is full, that of the node
 * which has been gone longest (of several, the first by name). give false: only what is remembered.
 * Allocations of nodes that are gone stay until then; those that the configuration does not allow,
 * or that cannot be read, go. Changes pool's spec: when it differs then, it must be written before
 * an address is used. 0, or -ENOSPC when some node got none: the range, and how many have one. */
int ipam_assign(struct tree *pool, const struct nad_config *c, const char *nad_ns,
                struct ipam_node *nodes, size_t len, bool give, int64_t now_us, struct err *err);

/* "10.200.5.1/24": with the prefix of the range, or of the static address. buf of CIDR_TEXT_SIZE. */
void ipam_address_text(const struct nad_config *c, const struct ip *a, char *buf, size_t size);

#endif
