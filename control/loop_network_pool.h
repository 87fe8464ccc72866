/* Which node has which address of the migration network: the IPPools' part of loop_network.c. */
#ifndef CONTROL_LOOP_NETWORK_POOL_H
#define CONTROL_LOOP_NETWORK_POOL_H

#include "control/loop_core.h"
#include "netpolicy/nad.h"

/* The network that the settings name, as it is now. Texts are borrowed for the pass. */
struct loop_net {
    const char *ref, *ns, *name; /* ref: "ns/name" */
    enum kind settings_kind;
    const struct meta *settings; /* who names it */
    const struct nad *nad;       /* NULL: missing */
    struct nad_config config;    /* when it gives addresses */
    bool gives;
    const char *reason, *message; /* NULL: usable; else no new address is given */
};

/* One Node. */
struct loop_net_node {
    const struct node *node;
    const char *now;   /* its annotation; NULL: none */
    const char *holds; /* the address in it, when it is of this network, without prefix; or NULL */
    const char *address; /* the pool's, with prefix; NULL: none */
};

/* Deletes pools whose definition is gone. n NULL, or it gives no addresses: that is all. Else fills
 * in the nodes' addresses (nodes: all, by name), and n->reason when there are not enough. False: not
 * yet, a pool is written first. */
bool loop_network_pool_pass(struct loops *l, struct loop_net *n, struct loop_net_node *nodes,
                            size_t len);

#endif
