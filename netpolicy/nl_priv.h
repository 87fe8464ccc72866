/* What the nl_* files share: one way to open a socket, to ask, and to say what the kernel refused.
 * For netpolicy/nl_*.c only. */
#ifndef NETPOLICY_NL_PRIV_H
#define NETPOLICY_NL_PRIV_H

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>

#include "netpolicy/net_state.h"

/* A route socket. It belongs to the namespace in which it was opened. What the kernel refuses is
 * kept as it said it: libnl's NLE_* make one of EOPNOTSUPP and others, and drop its words. */
struct nlp {
    struct nl_sock *sk;
    int refused;    /* -errno of the answer to the last request; 0 = none, or it was libnl's own */
    char said[128]; /* the kernel's words with it; "" = none */
};
#define AUTO_NLP  CLEANUP(nlp_done)
#define AUTO_LINK CLEANUP(nlp_link_done)

/* c must stay where it is until nlp_done. */
int nlp_open(struct nlp *c, struct err *err);
void nlp_done(struct nlp *c); /* all zero is fine */
void nlp_link_done(struct rtnl_link **l);

/* nle: what a function of libnl returned on c's socket. 0, or -errno with "WHAT NAME: why". */
int nlp_result(struct nlp *c, int nle, const char *what, const char *name, struct err *err);
int nlp_check_name(const char *name, struct err *err);
/* -ENOENT when there is none. */
int nlp_find(struct nlp *c, const char *name, struct rtnl_link **ret, struct err *err);

/* A message with its fixed head; NULL when there is no memory. */
struct nl_msg *nlp_msg(int type, int flags, const void *head, size_t size);
/* Sends it (taken; NULL gives -ENOMEM) and waits for the acknowledgement. */
int nlp_talk(struct nlp *c, struct nl_msg *msg, const char *what, const char *name,
             struct err *err);

typedef void nlp_fn(const struct nlmsghdr *h, void *ctx);
/* Likewise, for a request that one message answers, which fn gets. */
int nlp_get(struct nlp *c, struct nl_msg *msg, nlp_fn *fn, void *ctx, const char *what,
            const char *name, struct err *err);
/* All objects of a kind (RTM_GETLINK, ...); -EAGAIN: things changed meanwhile, fn got a mixture. */
int nlp_dump(struct nlp *c, int type, const void *head, size_t size, nlp_fn *fn, void *ctx,
             struct err *err);

/* An address attribute of either family; false when it is none (or NULL). */
bool nlp_ip(const struct nlattr *a, struct ip *ret);

/* fn gets each interface that a message's route leaves through, when it is a route of the main table
 * to somewhere (not a local or blackholed one) and, default_only, to anywhere. */
void nlp_route_links(const struct nlmsghdr *h, bool default_only,
                     void (*fn)(int ifindex, void *ctx), void *ctx);

/* As the hardware's driver says; 0 = it does not. Opens a socket of its own. */
uint32_t nlp_driver_mbit(const char *ifname);
#define NLP_STACKED_MAX 4 /* how deep interfaces lie on one another: a VLAN on a bond, say */

/* Our limit on an interface whose root qdisc is known to be ours. One that is half made, or was
 * changed by somebody, has a rate of 1, which nobody asks for. */
int nlp_shape_read(struct nlp *c, int ifindex, struct net_shape *ret, struct err *err);
/* Whether a root qdisc's message is ours or somebody else's; neither: the kernel's default. */
void nlp_shape_qdisc(const struct nlmsghdr *h, bool *ret_ours, bool *ret_foreign);

#endif
