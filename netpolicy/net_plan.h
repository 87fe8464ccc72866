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
    bool has_kind;              /* false: whatever it is (type: unknown, or an existing ethernet) */
    bool existing;              /* never made: when it is missing, that is InterfaceMissing */
    bool has_ports;             /* bridge, bond: exactly these are its ports */
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
struct tree *net_baseline_tree(const struct net_baseline *b); /* the caller's */
int net_baseline_from_tree(const struct tree *t, struct arena *a, struct net_baseline *ret,
                           struct err *err);

/* The state to reach: now, with what the baseline has put back, then the wants in their order (a
 * later one wins where two speak of the same attribute of an interface; that is no error). Besides:
 * the baseline as it must be durable before the first step (with all attributes that will be touched,
 * in passing too), and as it is afterwards (only what an object still speaks of, or what follows from
 * that).
 * What nobody asks for follows: a new vlan or macvlan has its base's MTU, a bridge the smallest of its
 * ports' when they change, a bond's ports the bond's; a port, and the base of a vlan, come up with
 * what needs them; a vlan goes down with its base, and what stands on a removed base goes with it. An
 * interface that goes down keeps its IPv4 addresses and loses its IPv6 ones, as in the kernel. "Exactly
 * these ports" leaves ports of kind NET_OTHER in: they are guests' taps.
 * Errors, each naming origin, field, value and what is allowed; code in ret_reason (see NET_REASON_*):
 * an interface that is missing and cannot be made (ethernet), a base or a port that is missing, MTU
 * outside of what the interface or its base takes, a port of two controllers, the interface that
 * carries the default route or the management address (mgmt, may be NULL) as a port, as a base of
 * the migration network or set absent, a cycle, a bridge over a bond of mode 0, 5 or 6, an existing
 * interface of another kind, type not supported here. */
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
    NET_OP_ADD, /* make link.name of link.kind (base, mode, id, bond mode), down */
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
 * from the bottom up and lowered from the top down; addresses are added before others are taken. */
void net_plan_make(const struct net_state *now, const struct net_state *target, struct arena *a,
                   struct net_plan *ret);
/* "make macvlan migration0 on eth1 (bridge)", "set mtu 9000 on br1". */
void net_step_text(const struct net_step *s, char *buf, size_t size);

#endif
