/* What the kernel makes of a step: a host's interfaces while a plan is being made. Where the kernel
 * changes more than it was told (MTUs that follow, ports that are closed, IPv6 addresses that are
 * lost), so does this; where we cannot know, an attribute becomes unknown and the plan sets it. For
 * net_plan.c only. Pure. */
#ifndef NETPOLICY_NET_SIM_H
#define NETPOLICY_NET_SIM_H

#include "netpolicy/net_plan.h"

enum sim_user { SIM_NO, SIM_YES, SIM_MAYBE };

struct sim_link {
    struct net_link l; /* name stays when it is gone */
    bool gone;
    bool mtu_known, mac_known;
    bool mac_by_user; /* this plan set it, so that it follows nothing more */
    enum sim_user
        mtu_by_user; /* bridge: somebody set its MTU, so that it follows its ports no more */
    unsigned touched;
};

struct net_sim {
    struct arena *arena;
    struct sim_link *links;
    size_t len, cap; /* room for all that may be added */
};

void net_sim_init(struct net_sim *s, const struct net_state *now, size_t added, struct arena *a);
struct sim_link *net_sim_find(struct net_sim *s, const char *name); /* NULL when it is gone */

void net_sim_add(struct net_sim *s, const struct net_link *l);
void net_sim_del(struct net_sim *s, struct sim_link *x); /* what stands on it must be gone */
void net_sim_up(struct net_sim *s, struct sim_link *x);
void net_sim_down(struct net_sim *s, struct sim_link *x);
void net_sim_mtu(struct net_sim *s, struct sim_link *x, uint32_t mtu);
void net_sim_mac(struct net_sim *s, struct sim_link *x, const uint8_t mac[6]);
void net_sim_controller(struct net_sim *s, struct sim_link *x, const char *controller);

#endif
