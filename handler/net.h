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
                                    MTUChanged, NeighbourUnreachable, RangeFull, ... (docs/network.md) */
    char reason[512];            /* its message */
    uint32_t mtu;
    uint64_t speed_mbps;        /* 0 = not known */
    uint64_t limit_bytes_per_s; /* the kernel's, as it is set; 0 = none */
    uint8_t urgent_dscp;        /* 0 = not marked */
};

struct net_agent;

struct net_agent_config {
    const char *node, *state_dir; /* borrowed */
    const char *mgmt_ip;
    uint64_t
        probe_timeout_us; /* the controller must answer within this after a policy was applied */
};

struct net_agent_hooks {
    void (*changed)(void *ctx, const struct mignet *now); /* the migration network's state */
    /* Status of an enactment: conditions to be written (given as a tree of status). */
    void (*enacted)(void *ctx, const char *name, struct tree *status);
    void (*observed)(void *ctx, struct tree *current_state); /* for the NodeNetworkState; given */
    /* Migrations that hold connections over the migration network now. */
    unsigned (*busy)(void *ctx);
    void *ctx;
};

struct net_agent *net_agent_new(struct loop *l, struct work *w, const struct net_agent_config *cfg,
                                const struct net_agent_hooks *hooks, struct err *err);
void net_agent_free(struct net_agent *n); /* after work_free; the kernel is left as it is */
/* What the objects say now. nad: the definition, NULL: missing (when ref is not ""); assignment: the node's
 * drover.io/migration-address annotation, or NULL. All borrowed. */
void net_agent_network(struct net_agent *n, const char *ref, const struct tree *nad,
                       const char *assignment);
/* All enactments of this node (list of NodeNetworkConfigurationEnactment objects). Borrowed. */
void net_agent_enactments(struct net_agent *n, const struct tree *list);
/* The management connection answers (a write to the API succeeded): a probe that waits is over. */
void net_agent_controller_answers(struct net_agent *n);
const struct mignet *net_agent_mignet(const struct net_agent *n);

#endif
