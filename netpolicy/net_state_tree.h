/* One interface in its text form, for what keeps single interfaces: net_state_tree.c's state and the
 * baseline of net_baseline.c. Pure. */
#ifndef NETPOLICY_NET_STATE_TREE_H
#define NETPOLICY_NET_STATE_TREE_H

#include "netpolicy/net_state.h"

/* The caller's. ports_of: the state that the link stands in, for the names of a bridge's or bond's
 * ports; NULL: they are left out. */
struct tree *net_link_tree(const struct net_link *l, const struct net_state *ports_of);
int net_link_from_tree(const struct tree *t, struct arena *a, struct net_link *ret,
                       struct err *err);

#endif
