/* The addresses of the migration network, one a node, as whereabouts keeps them: an IPPool object a
 * range with its allocations (whereabouts.cni.cncf.io/v1alpha1: spec.range, spec.allocations: offset from the
 * network's address, in decimal -> {id, podref, ifname}). Pure: trees in, trees out; the controller
 * (control/loop_network.h) stores them. */
#ifndef NETPOLICY_IPAM_H
#define NETPOLICY_IPAM_H

#include "api/tree.h"
#include "netpolicy/nad.h"

/* The pool's name: "10.200.5.0-24", "fd00---64" (':' and '/' become '-'); static addresses: the
 * NAD's "NS-NAME". The caller's. */
char *ipam_pool_name(const struct nad_config *c, const char *nad_ns, const char *nad_name);
/* A new, empty pool. The caller's. */
struct tree *ipam_pool_new(const struct nad_config *c, const char *nad_ns, const char *nad_name);

/* The node's address: what the pool remembers when the configuration still allows it; else `found`
 * (what the node already has; may be NULL) when it is allowed and free; else the lowest free one;
 * else, the pool being full, that of the node which has been gone longest (`is_gone`: no such Node; NULL =
 * never). Changes pool; *ret_changed: it must be written before the address is used. -ENOSPC:
 * the range and how many nodes have an address. */
int ipam_allocate(struct tree *pool, const struct nad_config *c, const char *nad_ns,
                  const char *node, const struct ip *found,
                  bool (*is_gone)(void *ctx, const char *node), void *ctx, struct ip *ret,
                  bool *ret_changed, struct err *err);
/* Takes a node's allocation away; true when there was one. */
bool ipam_release(struct tree *pool, const char *node);

#endif
