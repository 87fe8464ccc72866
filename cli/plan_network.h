/* What a handler would do to a host's interfaces, from manifests: what `drover plan network` prints. The
 * decisions are netpolicy/'s, and the order of the questions is the controller's and the handler's. */
#ifndef CLI_PLAN_NETWORK_H
#define CLI_PLAN_NETWORK_H

#include "cli/offline.h"
#include "netpolicy/net_plan.h"

struct plan_network {
    const char *node;
    const char *network; /* "NS/NAME" of the settings; NULL: none is named */
    const char *ifname,
        *address; /* of the migration network; NULL: none; without IPAM no address */
    struct net_wants wants;
    struct net_plan plan;
    const char *reason, *message; /* refused; NULL: not */
    const char *note;             /* what was assumed; NULL: nothing */
};

/* Fills in *ret, which lives in o's arena. EXIT_DONE also when the answer is no; EXIT_ERROR, with one line on
 * stderr, when the input is wrong. */
int plan_network_make(struct offline *o, const char *node, struct plan_network *ret);
/* Who asks for a step, in words: "NodeNetworkConfigurationPolicy br1"; NULL: it follows from others. */
const char *plan_network_origin(const struct plan_network *p, const struct net_step *s);
/* {"node","network","interface","address","steps":[...],"refused","note"}; the caller's. */
struct tree *plan_network_tree(const struct plan_network *p);

#endif
