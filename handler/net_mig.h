/* The dedicated migration network on this host: from what the objects say to what is wanted of the
 * kernel, and from what the kernel has to the state that migrations and users see. Pure. Called by
 * handler/net_round.c and net.c. */
#ifndef HANDLER_NET_MIG_H
#define HANDLER_NET_MIG_H

#include "handler/net.h"
#include "netpolicy/net_want.h"

/* What the objects say; all borrowed. */
struct net_mig_objects {
    const char *ref;        /* "NS/NAME"; "" = none is configured */
    const struct tree *nad; /* NULL: missing */
    const char *assignment; /* the Node's annotation, or NULL */
    const char *mgmt_ip;
};

/* What the interface of the network has to be like for migrations to use it. */
struct net_mig_expect {
    char ifname[NL_IFNAME_SIZE]; /* "" = nothing can be expected yet */
    struct ip addr;
    bool has_addr; /* false: without IPAM, the first that the interface has */
    uint32_t mtu;  /* 0: not looked at */
    uint8_t urgent_dscp;
    bool trusted;
    bool as_found; /* it was there without us, and is used as it is */
};

/* What is wanted of the kernel, and how far it is known what to expect. */
struct net_mig_want {
    struct net_mig_expect expect;
    struct net_wants wants; /* empty: nothing */
    bool keep;              /* not known yet: what is there for the network stays as it is */
    struct mignet state; /* NONE or BROKEN where that follows from the objects alone, else READY */
};

/* now: the host's interfaces. All that *ret points to lives in the arena. */
void net_mig_want(const struct net_mig_objects *o, const struct net_state *now, struct arena *a,
                  struct net_mig_want *ret);
/* An address of the network that is there already, without anything being done (no right to do it):
 * true when there is one. */
bool net_mig_find(const struct net_mig_objects *o, const struct net_state *now, struct arena *a,
                  struct net_mig_expect *ret);
/* How the interface is. ref is the network's. */
void net_mig_check(const struct net_mig_expect *e, const char *ref, const struct net_state *now,
                   struct mignet *ret);

void net_mig_broken(struct mignet *m, const char *ref, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
bool net_mig_equal(const struct mignet *a, const struct mignet *b);

#endif
