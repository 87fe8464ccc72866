/* One round of the network agent: from the objects, the journal and the kernel to a host that is as
 * the objects ask for, and to what must be said of each. A policy that cannot be is put aside (what
 * it asked for before, if it was in effect, stays) and does not keep the others from being applied.
 * Synchronous; on a worker. Called by handler/net.c and tests. */
#ifndef HANDLER_NET_ROUND_H
#define HANDLER_NET_ROUND_H

#include "handler/net_journal.h"
#include "handler/net_mig.h"

struct net_round_policy {
    const char *name;           /* of the NodeNetworkConfigurationPolicy */
    int64_t generation;         /* 1 or more */
    const struct tree *desired; /* NULL: not known yet */
    bool waiting;               /* its turn has not come: what is in effect stays */
    bool held;                  /* it failed lately: not tried now */
    /* --- out --- */
    bool tried; /* the rest says what came of it */
    int rc;     /* 0: in effect */
    bool pure;  /* it failed before the kernel was asked: trying costs nothing */
    char reason[64], message[ERR_MSG_SIZE];
};

struct net_round {
    const char *state_dir;
    const struct ip *mgmt;
    struct net_round_policy *policies; /* sorted by name */
    size_t policies_len;
    bool objects_known; /* false: only what a killed handler left is brought to an end */
    struct net_mig_objects mig;
    struct net_mig_objects
        mig_effect; /* what is in effect: stays while mig_hold, or while it is not
                                          known yet what shall come */
    bool mig_hold;  /* migrations hold connections over it */
    /* Asks the controller once; 0 when it answered. Blocks for at most about a second. */
    int (*ask)(void *ctx, struct err *err);
    bool (*stopped)(void *ctx); /* the handler ends: a probe is left pending */
    void *ctx;
    uint64_t probe_timeout_us;
    /* --- out --- */
    int rc; /* the journal or the kernel cannot be read, or going back failed: again later */
    struct err err;
    unsigned steps;
    bool mig_tried; /* mig is in effect now, or failed; else what was in effect still is */
    bool attached;  /* expect says what it shall be like; else mig_state says why it is not to be */
    struct net_mig_expect expect;
    struct mignet mig_state; /* of mig */
    struct tree *state;      /* of net_state_tree, as it is now; the caller's */
};

void net_round_run(struct net_round *r);

#endif
