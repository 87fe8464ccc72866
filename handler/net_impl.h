/* The network agent's inside, for net.c, net_look.c and net_say.c only. Loop thread. */
#ifndef HANDLER_NET_IMPL_H
#define HANDLER_NET_IMPL_H

#include <stdatomic.h>

#include "base/strmap.h"
#include "handler/limits.h"
#include "handler/net.h"
#include "handler/net_peers.h"
#include "handler/net_round.h"
#include "handler/net_status.h"

struct net_objects { /* owned copies of what the network is made of */
    char ref[256];
    struct tree *nad;
    char *assignment;
};

struct net_policy {
    char *enactment; /* its name */
    int64_t generation;
    struct tree *desired; /* NULL: not known yet */
    bool waiting;
    bool told;                 /* that it is being applied */
    bool unsaid;               /* what came of it */
    int64_t result_generation; /* 0: nothing came of it yet */
    int rc;
    bool pure;
    char reason[64], message[ERR_MSG_SIZE];
    uint64_t retry_us, wait_us; /* when it may be tried again; the pause that led there */
};

struct net_round_job {
    struct net_agent *n;
    struct net_round r;
    struct net_objects mig, effect;
    struct tree *desired; /* list: keeps what r.policies point to */
    bool by_event;
};

struct net_look_job {
    struct net_agent *n;
    unsigned rounds; /* that had ended when it began */
    struct arena *a;
    struct net_state now;
    int rc;
};

struct net_agent {
    struct loop *l;
    struct work *w;
    char *state_dir, *mgmt_ip;
    int lock; /* of the state directory, for as long as this lives */
    struct ip mgmt;
    bool has_mgmt;
    uint64_t probe_timeout_us;
    struct net_agent_hooks hooks;
    atomic_bool stopping;

    struct net_objects newest, effect;
    bool network_known, enactments_known;
    struct strmap *policies; /* policy -> struct net_policy */
    struct tree *enactments; /* list, as last seen */

    struct mignet now;  /* as published */
    struct mignet link; /* without what peers and waiting migrations add */
    struct net_mig_expect expect;
    bool attached;  /* expect counts */
    bool found_mtu; /* expect.mtu is what was found, nobody asked for it */
    bool holding;

    struct net_round_job *round; /* that runs, or NULL */
    bool round_wanted;
    bool unfinished; /* a change in the journal is brought to an end without objects, too */
    unsigned rounds; /* that have ended */
    struct net_look_job *look;
    bool look_wanted;
    struct loop_timer *retry_timer, *repair_timer, *hold_timer, *peer_timer, *observe_timer,
        *publish_timer;
    uint64_t retry_at_us;
    uint64_t repair_pause_us, repaired_us;
    unsigned repairs;          /* one after another */
    uint64_t error_pause_us;   /* after a round that failed */
    uint64_t network_pause_us; /* after one in which the network could not be made */

    struct net_peers peers;
    struct nl_watch *watch;
    struct loop_fd *watch_fd;
    struct tree *observed; /* as last said */
    struct tree *to_observe;
    uint64_t observed_us;
};

/* net.c */
void net_agent_round(struct net_agent *n, bool by_event); /* now, or after the one that runs */
/* Something of the kernel changed: a round looks whether it is still as it should be, after a pause
 * that grows while something else changes it again and again. */
void net_agent_repair(struct net_agent *n);

/* net_look.c: what the kernel says */
int net_look_start(struct net_agent *n, struct err *err);
void net_look_done(struct net_agent *n);
void net_look_now(struct net_agent *n); /* reads the interfaces on a worker */
void net_look_observed(struct net_agent *n,
                       struct tree *state); /* given: for the NodeNetworkState */
void
net_look_ask_peers(struct net_agent *n); /* those that fail, in a while and until they answer */

/* net_say.c: what is said */
void net_say_network(struct net_agent *n);
void net_say_policies(struct net_agent *n);
void net_say_progressing(struct net_agent *n, struct net_policy *p);

#endif
