/* From what a host's interfaces are, what we changed before and what the objects ask for, to the
 * steps that are missing. Pure: `drover plan network`, the handler (handler/net.h) and the fuzz
 * target call the same functions. A configuration is a function of the objects: what no object asks
 * for (any more) goes back to how it was before drover touched it. */
#ifndef NETPOLICY_NET_PLAN_H
#define NETPOLICY_NET_PLAN_H

#include "netpolicy/net_state.h"

enum net_presence { NET_UP, NET_DOWN, NET_ABSENT };

/* What one object asks of one interface. */
struct net_want {
    enum net_presence presence; /* decides alone: NET_F_UP in fields adds nothing */
    struct net_link link;       /* the fields of `fields` count, and kind when has_kind */
    unsigned fields;            /* NET_F_* */
    bool has_kind;  /* false: whatever it is (type: unknown). What is to be made needs it,
                                   and NET_F_BASE (vlan, macvlan) or NET_F_BOND (mode, miimon) */
    bool existing;  /* never made: when it is missing, that is InterfaceMissing */
    bool has_ports; /* bridge, bond: exactly these are its ports */
    const char **ports;
    size_t ports_len;
    const char *field;  /* where it was said, for errors: "spec.desiredState.interfaces[0]" */
    const char *origin; /* who asks: "NodeNetworkConfigurationPolicy br1" */
};

struct net_wants {
    struct net_want *items;
    size_t len;
};

/* How touched interfaces were before the first change of ours. Only what we changed goes back: what
 * somebody else changes meanwhile stays. */
struct net_before {
    char name[NL_IFNAME_SIZE];
    bool existed;         /* false: we made it */
    unsigned fields;      /* which of link's attributes we changed; NET_F_BASE: we removed it */
    struct net_link link; /* when it existed; else name and kind */
};
struct net_baseline {
    struct net_before *items; /* sorted by name */
    size_t len;
};
const struct net_before *net_baseline_find(const struct net_baseline *b, const char *name);
/* {"before": [{"existed", "changed": [names of attributes], "interface": as in net_state_tree}]}. The
 * caller's. Reading it back gives an equal baseline; -EINVAL, -E2BIG otherwise. */
struct tree *net_baseline_tree(const struct net_baseline *b);
int net_baseline_from_tree(const struct tree *t, struct arena *a, struct net_baseline *ret,
                           struct err *err);

/* The state to reach: now, with what the baseline puts back, then the wants in their order (a later
 * one wins where two speak of the same attribute of an interface; that is no error). Besides: the
 * baseline as it must be durable before the first step (with all attributes that will be touched, in
 * passing too), and as it is when the state is reached (what an object still speaks of, or what
 * follows from that). The same wants lead to the same state, whatever was asked for before.
 *
 * What nobody speaks of stays as it is, but for what follows from what somebody speaks of:
 * - a vlan or macvlan that we make has its base's MTU, a bridge the smallest of its ports' (not of
 *   guests' taps), when it is ours or they change; a bond's ports have the bond's;
 * - a port, and the base of a vlan that is up, come up; a vlan goes down with its base;
 * - what goes down keeps its IPv4 addresses and loses its IPv6 ones, as in the kernel;
 * - what stands on a removed base goes with it, and comes back with it;
 * - MAC addresses that were not asked for are the kernel's (all zeros in the state), unless an
 *   interface is made anew: then it keeps its own;
 * - "exactly these ports" leaves ports of kind NET_OTHER in: they are guests' taps.
 *
 * -EINVAL, naming origin, field, value and what is allowed, with *ret_reason (may be NULL) one of
 * NET_REASON_*: an interface that is missing and that nothing says how to make, a base, port or
 * controller that is missing; an MTU outside of what the interface, its base, its bond or IPv6 takes; an
 * interface of another kind, a kind that is not made or not removed; a port of two controllers, a port or
 * base of a kind that cannot be one, a macvlan on a port, a vlan id twice, a cycle; a bridge over a bond
 * of mode 0, 5 or 6; the interface that carries the default route or the management address (mgmt, may be
 * NULL) as a new port, as the base of the migration network, down, absent or made anew, and the
 * management address on no interface. What others have made is not refused, and giving back never is.
 *
 * What *ret points to lives in the arena, or is borrowed from now and base. */
struct net_target {
    struct net_state state;
    struct net_baseline before, after;
};
int net_compose(const struct net_state *now, const struct net_baseline *base,
                const struct net_wants *wants, const struct ip *mgmt, struct arena *a,
                struct net_target *ret, const char **ret_reason, struct err *err);

/* Reasons, as conditions spell them. */
#define NET_REASON_INTERFACE_MISSING "InterfaceMissing"
#define NET_REASON_MTU               "MTUOutOfRange"
#define NET_REASON_DEFAULT_ROUTE     "MasterHasDefaultRoute"
#define NET_REASON_BOND_MODE         "BondModeNotSupported"
#define NET_REASON_KIND              "LinkKindNotSupported" /* not here, or not by this kernel */
#define NET_REASON_CONFLICT          "Conflict"             /* kinds, controllers, cycles */
#define NET_REASON_OVERLAP           "RangeOverlap"
#define NET_REASON_PERMISSION        "NotPermitted" /* CAP_NET_ADMIN */
#define NET_REASON_KERNEL            "KernelRefused"
#define NET_REASON_INVALID           "Invalid"

/* A step leaves all else of the interface as it was (nl_step_apply sees to that): putting into a bond
 * and taking out closes it and brings it up again, an address that goes takes no others with it. */
enum net_op {
    NET_OP_ADD, /* make link.name of link.kind (base, mode, id, bond mode and miimon), down */
    NET_OP_DEL, /* remove it */
    NET_OP_UP,
    NET_OP_DOWN,
    NET_OP_MTU,
    NET_OP_MAC,
    NET_OP_CONTROLLER, /* put into link.controller; "" = take out */
    NET_OP_BRIDGE,     /* stp, vlan_filtering */
    NET_OP_BOND,       /* miimon */
    NET_OP_ADDR_ADD,   /* addr */
    NET_OP_ADDR_DEL,
    NET_OP_SHAPE, /* link.shape; rate 0 = none */
    NET_OP_ARP_IGNORE,
};
struct net_step {
    enum net_op op;
    struct net_link link; /* name, and what op needs */
    struct net_addr addr;
};
struct net_touched {
    char name[NL_IFNAME_SIZE];
    unsigned fields;
};
struct net_plan {
    struct net_step *steps;
    size_t len;
    struct net_touched *touched; /* what the steps change, also in passing, and what the kernel
                                    changes with it; NET_F_BASE: made or removed */
    size_t touched_len;
};
/* The steps from now to target, in an order in which each can be done: users are undone before what
 * they stand on, and made after it; an interface whose kind, base, mode, id or bond mode differs is
 * made anew, with its ports and what stands on it; one that is right is not touched; MTU is raised
 * from the bottom up and lowered from the top down; addresses are added before others are taken, but
 * for one that moves. target as net_compose made it: without cycles. *ret lives in the arena. */
void net_plan_make(const struct net_state *now, const struct net_state *target, struct arena *a,
                   struct net_plan *ret);
/* "make macvlan migration0 on eth1 (bridge)", "set mtu 9000 on br1". */
void net_step_text(const struct net_step *s, char *buf, size_t size);

#endif
