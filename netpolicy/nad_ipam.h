/* The "ipam" part of a CNI configuration: whereabouts, host-local and static. Pure; for nad.c. */
#ifndef NETPOLICY_NAD_IPAM_H
#define NETPOLICY_NAD_IPAM_H

#include "netpolicy/nad.h"
#include "netpolicy/place.h"

/* Reads plugin.ipam into *c; absent and {} mean that nobody gives out addresses. -EINVAL; the error
 * names field, value and what is allowed. */
int nad_ipam_read(const struct place *plugin, struct nad_config *c);

#endif
