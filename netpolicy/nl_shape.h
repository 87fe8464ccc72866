/* The kernel's limit for what leaves an interface: an htb root qdisc with two classes, urgent
 * (post-copy faults) before bulk, through libnl. Used by nl_step_apply and read by nl_state_read;
 * blocks briefly. tc-htb(8). The limit counts what tc counts: Ethernet headers with it. */
#ifndef NETPOLICY_NL_SHAPE_H
#define NETPOLICY_NL_SHAPE_H

#include "netpolicy/net_state.h"

/* skb priority that puts a socket's packets into the urgent class (SO_PRIORITY): the class' handle.
 * Set it after IP_TOS or IPV6_TCLASS, which set the priority, too (ip(7)). */
#define NL_SHAPE_HANDLE 0xd201u /* major number of our root */
#define NL_SHAPE_URGENT (NL_SHAPE_HANDLE << 16 | 1u)

/* Sets, changes or (rate 0) removes ours; -EBUSY when somebody else's root qdisc is there. A burst of 0
 * is 10 ms' worth; one that is asked for is what may leave at once after a pause. */
int nl_shape_set(const char *ifname, const struct net_shape *s, struct err *err);
/* Reads it back: rate 0 when there is none of ours; *ret_foreign: there is somebody else's. */
int nl_shape_get(const char *ifname, struct net_shape *ret, bool *ret_foreign, struct err *err);
/* What it has held back: bytes and packets sent, drops, overlimits since it was made. */
struct nl_shape_counters {
    uint64_t bytes, packets, dropped, overlimits;
};
int nl_shape_counters(const char *ifname, struct nl_shape_counters *ret, struct err *err);

#endif
