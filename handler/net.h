/* The networks of this host: applies the enactments and the migration network's definition to the
 * kernel, keeps what was there before in a journal, watches, and says what is. One a handler; loop
 * thread, with jobs of its own on a worker. The journal (STATE/network.json) is written before the
 * first step of every change, so that a handler that is killed goes on, or goes back. */
#ifndef HANDLER_NET_H
#define HANDLER_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/loop.h"
#include "handler/work.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/net_state.h"

/* The dedicated migration network as this host sees it now. */
struct mignet {
    enum { MIGNET_UNKNOWN, MIGNET_NONE, MIGNET_READY, MIGNET_BROKEN } state;
    char ip[INET6_ADDRSTRLEN]; /* where migrations listen and dial from (NONE: the management IP) */
    char ifname[NL_IFNAME_SIZE]; /* "" when NONE: any */
    char ref[256];               /* "ns/name" of the NAD */
    char code[64];               /* the condition's reason: AddressFound, LinkDown, AddressLost,
                                    MTUChanged, NeighbourUnreachable, RangeFull, ... (docs/node-network.md) */
    char reason[512];            /* its message */
    uint32_t mtu;
    char base[NL_IFNAME_SIZE];  /* the interface below it, "" = none: what its counters leave out */
    uint64_t speed_mbps;        /* 0 = not known */
    uint64_t limit_bytes_per_s; /* the kernel's, as it is set; 0 = none */
    uint8_t urgent_dscp;        /* 0 = not marked */
    bool trusted; /* declared so (ANN_TRUSTED_NETWORK); never without a dedicated network */
};

struct net_agent;

struct net_agent_config {
    const char *node, *state_dir; /* borrowed */
    const char *mgmt_ip;
    uint64_t
        probe_timeout_us; /* the controller must answer within this after a policy was applied */
};

/* All on the loop's thread but ask. */
struct net_agent_hooks {
    void (*changed)(void *ctx, const struct mignet *now); /* the migration network's state */
    /* Status of an enactment, to be written: conditions and handledGeneration. Borrowed. Said again
     * as long as net_agent_enactments shows another. */
    void (*enacted)(void *ctx, const char *name, const struct tree *status);
    void (*observed)(void *ctx, struct tree *current_state); /* for the NodeNetworkState; given */
    /* Migrations that have connections over the migration network now; 0 also when all of them are
     * cut off: they go on where the network is next. */
    unsigned (*busy)(void *ctx);
    /* On a worker: asks the controller for anything, over a connection of its own, and waits at most
     * about a second for the answer. */
    int (*ask)(void *ctx, struct err *err);
    void *ctx;
};

/* w: at least two threads, for this alone. -errno: netlink cannot be opened, or the journal not be
 * read. */
struct net_agent *net_agent_new(struct loop *l, struct work *w, const struct net_agent_config *cfg,
                                const struct net_agent_hooks *hooks, struct err *err);
void net_agent_stop(struct net_agent *n); /* before work_free: a probe that waits is left pending */
void net_agent_free(struct net_agent *n); /* after work_free; the kernel is left as it is */
/* What the objects say now. nad: the definition, NULL: missing (when ref is not ""); assignment: the
 * node's drover.io/migration-address annotation, or NULL. All borrowed. */
void net_agent_network(struct net_agent *n, const char *ref, const struct tree *nad,
                       const char *assignment);
/* All enactments of this node (list of NodeNetworkConfigurationEnactment objects). Borrowed. */
void net_agent_enactments(struct net_agent *n, const struct tree *list);
const struct mignet *net_agent_mignet(const struct net_agent *n);

#endif
