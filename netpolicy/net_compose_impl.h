/* Between the files of net_compose (net_plan.h): net_compose.c (what was, and what is asked),
 * net_derive.c (what follows from it), net_check.c (what must not be) and net_outcome.c (the target,
 * and what has to be remembered). Pure. */
#ifndef NETPOLICY_NET_COMPOSE_IMPL_H
#define NETPOLICY_NET_COMPOSE_IMPL_H

#include <errno.h>

#include "netpolicy/net_plan.h"

struct compose_link {
    struct net_link l;      /* as it shall be */
    struct net_link before; /* as it would be if nobody asked for anything; when was */
    bool was;
    bool mac_settled;
    bool alive;                 /* it shall be there */
    bool made;                  /* it is there because somebody asks for it */
    unsigned asked;             /* attributes that somebody speaks of */
    unsigned derived;           /* those that follow from what somebody asks of another interface */
    const struct net_want *by;  /* the last that speaks of it, or NULL */
    const struct net_want *mtu; /* the one that decides about its MTU */
    const struct net_want *list; /* the one that lists its ports */
};

struct compose {
    const struct net_state *now;
    const struct net_baseline *base;
    const struct net_wants *wants;
    const struct ip *mgmt;
    struct arena *arena;
    struct compose_link *links; /* sorted by name */
    size_t len;
    const char **ret_reason;
    struct err *err;
};

struct compose_link *compose_find(const struct compose *c, const char *name); /* alive, or NULL */
/* What a link stands on: its base, or NULL. */
struct compose_link *compose_base(const struct compose *c, const struct compose_link *x);
struct compose_link *compose_controller(const struct compose *c, const struct compose_link *x);
bool compose_lists(const struct net_want *w, const char *port);
/* Fills in the error: "ORIGIN: FIELD: ...". w may be NULL. Returns -EINVAL. */
int compose_refuse(const struct compose *c, const struct net_want *w, const char *reason,
                   const char *fmt, ...) PRINTF_LIKE(4, 5);

int net_check_structure(const struct compose *c); /* before net_derive */
int net_derive(struct compose *c);
int net_check_values(const struct compose *c);                     /* after it */
void net_outcome(const struct compose *c, struct net_target *ret); /* the last */

#endif
