/* What objects ask of a host's interfaces: a NodeNetworkConfigurationPolicy's desired state, and the
 * migration network's NetworkAttachmentDefinition with this host's address. Pure; both read text
 * that people wrote: every refusal names field and value and what is allowed. */
#ifndef NETPOLICY_NET_WANT_H
#define NETPOLICY_NET_WANT_H

#include "netpolicy/nad.h"
#include "netpolicy/net_plan.h"

#define NET_MIGRATION_IFNAME "migration0"

/* desired: spec.desiredState of a policy (or status.desiredState of an enactment), borrowed; origin
 * is borrowed. Types linux-bridge, bond, vlan and ethernet (and mac-vlan); state up, down, absent,
 * ignore; mtu, mac-address, ipv4/ipv6 (enabled, address[], dhcp refused unless false), bridge
 * (options.stp.enabled, port[].name; "ports" and "slaves" as older documents have it),
 * link-aggregation (mode by name or number, options.miimon, port or slaves), vlan (base-iface, id),
 * controller. What of nmstate we do not do (routes, dns, ovs, ...) is refused by name, not dropped:
 * -ENOTSUP. */
int net_want_policy(const struct tree *desired, const char *origin, struct arena *a,
                    struct net_wants *ret, struct err *err);

/* What must be there for the migration network: the interface migration0 (macvlan, vlan; for
 * cnv-bridge and bridge a macvlan... see net_want.c; for host-device the device itself keeps its
 * name), up, with mtu, address and limit, and its base up and silent for others' ARP. addr NULL:
 * without IPAM; what the interface has stays. *ret_ifname: where the address is then. */
int net_want_nad(const struct nad_config *c, const char *origin, const struct ip *addr,
                 struct arena *a, struct net_wants *ret, const char **ret_ifname, struct err *err);

/* Whether the range of the migration network is free to use: it overlaps neither another address of this
 * host's (but for those on ifname) nor, for the controller, nodes' management addresses and other
 * NADs' ranges. -EEXIST with a sentence that names both. */
int net_check_range_host(const struct nad_config *c, const struct net_state *now,
                         const char *ifname, struct err *err);
int net_check_range_address(const struct nad_config *c, const struct ip *a, const char *whose,
                            struct err *err);
int net_check_range_other(const struct nad_config *c, const struct nad_config *other,
                          const char *other_ref, struct err *err);

#endif
