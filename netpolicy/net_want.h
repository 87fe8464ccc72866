/* What objects ask of a host's interfaces: a NodeNetworkConfigurationPolicy's desired state, and the
 * migration network's NetworkAttachmentDefinition with this host's address. Pure; both read text
 * that people wrote: every refusal names field and value and what is allowed. */
#ifndef NETPOLICY_NET_WANT_H
#define NETPOLICY_NET_WANT_H

#include "netpolicy/nad.h"
#include "netpolicy/net_plan.h"

#define NET_MIGRATION_IFNAME "migration0"

/* desired: spec.desiredState of a policy (or status.desiredState of an enactment), borrowed; origin
 * is borrowed. Read of interfaces[]: name, type (linux-bridge, bond, vlan, ethernet, mac-vlan; none
 * or unknown: whatever it is), state (up, down, absent, ignore), mtu, mac-address, controller,
 * ipv4/ipv6 (enabled, address[]; enabled: false is an empty set; without a list what is there stays),
 * bridge (options.stp.enabled, port[].name; "ports" and "slaves" as older documents have it),
 * link-aggregation (mode by name or number; options.miimon, 100 when absent; port or slaves), vlan
 * (base-iface, id), mac-vlan (base-iface, mode). Wants are in the list's order, one an interface; an
 * ignored one has none. -EINVAL for a mistake; -ENOTSUP for what of nmstate we do not do (routes, dns, ovs,
 * dhcp, autoconf, ...), by its name, unless it asks for nothing: nothing is dropped in silence. */
int net_want_policy(const struct tree *desired, const char *origin, struct arena *a,
                    struct net_wants *ret, struct err *err);

/* What must be there for the migration network: what stands below (existing already, up, not
 * answering ARP for others' addresses), and on it the interface migration0 with mtu, the address (and
 * no other) and the limit:
 *   macvlan              a macvlan of that mode on master
 *   vlan                 a VLAN interface of vlanId on master
 *   bridge, cnv-bridge   a macvlan (mode bridge) on the bridge; with vlan, a VLAN interface on it
 *   host-device          none: the device itself, under its own name
 * The CNI plugin joins a pod to a bridge by a veth pair. A host needs no second end: an interface on
 * the bridge has its own hardware address and is gone with one delete, and the bridge itself, whose
 * address VMs and the host may use, is left as it is. With a tag frames pass the bridge tagged: no
 * VLAN has to be set on its ports. The bridge is not made here: a policy does that.
 * addr NULL: without IPAM; what the interface has stays. One that c does not give out is -EINVAL.
 * *ret_ifname (in *ret): where the address is then. */
int net_want_nad(const struct nad_config *c, const char *origin, const struct ip *addr,
                 struct arena *a, struct net_wants *ret, const char **ret_ifname, struct err *err);

/* Whether the range of the migration network is free to use: it overlaps neither the network of
 * another address of this host's (but for those on ifname; give the composed state, in which what we put
 * ourselves and take away is no more) nor, for the controller, nodes' management addresses and other
 * NADs' ranges. -EEXIST with a sentence that names both. */
int net_check_range_host(const struct nad_config *c, const struct net_state *now,
                         const char *ifname, struct err *err);
int net_check_range_address(const struct nad_config *c, const struct ip *a, const char *whose,
                            struct err *err);
int net_check_range_other(const struct nad_config *c, const struct nad_config *other,
                          const char *other_ref, struct err *err);

#endif
