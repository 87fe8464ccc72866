/* The kernel's side of net_state.h and net_plan.h, through libnl: reading all interfaces, doing one
 * step of a plan, and hearing of changes. Everything acts in the calling thread's network namespace
 * and blocks briefly, but for the watch, which never blocks. Reading needs no capability. */
#ifndef NETPOLICY_NL_STATE_H
#define NETPOLICY_NL_STATE_H

#include "netpolicy/net_plan.h"

/* Everything of one moment (dumps are repeated while the kernel says that they were interrupted). */
int nl_state_read(struct arena *a, struct net_state *ret, struct err *err);
/* Does one step and reads back that it took. -EPERM (CAP_NET_ADMIN), -EOPNOTSUPP (this kernel makes no
 * such links), -ENOENT, -EBUSY, ...; what is already so is no error. */
int nl_step_apply(const struct net_step *s, struct err *err);
/* NET_REASON_* for what nl_step_apply returned. */
const char *nl_step_reason(int rc);

enum nl_event_kind { NL_EVENT_LINK, NL_EVENT_ADDR, NL_EVENT_NEIGH, NL_EVENT_ROUTE, NL_EVENT_LOST };
struct nl_event { /* LOST: some were missed: read everything anew */
    enum nl_event_kind kind;
    char ifname[NL_IFNAME_SIZE];
    bool gone;                          /* the link, address, neighbour or route was removed */
    struct ip ip;                       /* ADDR, NEIGH */
    bool neigh_failed, neigh_reachable; /* NEIGH: NUD_FAILED; NUD_REACHABLE */
};
struct nl_watch;
int nl_watch_new(struct nl_watch **ret, struct err *err);
void nl_watch_free(struct nl_watch *w);    /* NULL is fine */
int nl_watch_fd(const struct nl_watch *w); /* readable: call nl_watch_read */
/* All that wait; 0 or -errno. */
int nl_watch_read(struct nl_watch *w, void (*fn)(void *ctx, const struct nl_event *e), void *ctx,
                  struct err *err);

/* State of the neighbour on that interface: 1 reachable or about to be asked (stale, delay, probe),
 * 0 not known, -EHOSTUNREACH failed. */
int nl_neighbour(const char *ifname, const struct ip *ip, struct err *err);

#endif
