/* The neighbours on the migration network that were tried, as the kernel's neighbour table had them:
 * which of them do not answer. Those are asked again now and then, or nobody would learn that they
 * are back; one that stays silent is forgotten, so that a host that is gone for good does not keep
 * this one from being used. Pure. Called by handler/net.c. */
#ifndef HANDLER_NET_PEERS_H
#define HANDLER_NET_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "handler/limits.h"
#include "netpolicy/nl_state.h"

struct net_peers {
    struct net_peer {
        struct ip ip;
        bool failed;
        uint64_t since_us; /* it has failed */
    } items[HANDLER_MAX_PEERS];
    size_t len;
};

/* e: of the network's interface. True when anything that net_peers_failed says may have changed. */
bool net_peers_event(struct net_peers *p, const struct nl_event *e, uint64_t now_us);
/* Forgets who has failed for HANDLER_PEER_FORGET_US; true when there was one. */
bool net_peers_expire(struct net_peers *p, uint64_t now_us);
/* How many have failed; *ret_text: the first of them, for people. */
size_t net_peers_failed(const struct net_peers *p, char *ret_text, size_t size);

#endif
