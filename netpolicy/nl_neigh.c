/* What the kernel knows of a neighbour; see nl_state.h. arp(7), net/core/neighbour.c. */
#include "netpolicy/nl_state.h"

#include <errno.h>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "netpolicy/nl_priv.h"

#define KNOWN (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

static void
on_neigh(const struct nlmsghdr *h, void *ctx)
{
    const struct ndmsg *m = nlmsg_data(h);

    *(unsigned *)ctx = m->ndm_state;
}

int
nl_neighbour(const char *ifname, const struct ip *ip, struct err *err)
{
    bool v4 = ip_is_v4(ip);
    AUTO_NLP struct nlp nl = {0};
    AUTO_LINK struct rtnl_link *l = NULL;
    char text[IP_TEXT_SIZE];
    unsigned state = NUD_NONE;
    struct nl_msg *msg;
    struct err why;
    int rc;

    if ((rc = nlp_open(&nl, err)) != 0 || (rc = nlp_find(&nl, ifname, &l, err)) != 0)
        return rc;
    const struct ndmsg m = {.ndm_family = v4 ? AF_INET : AF_INET6,
                            .ndm_ifindex = rtnl_link_get_ifindex(l)};

    ip_format(ip, text, sizeof text);
    msg = nlp_msg(RTM_GETNEIGH, 0, &m, sizeof m);
    if (msg && nla_put(msg, NDA_DST, v4 ? 4 : 16, ip->a.s6_addr + (v4 ? 12 : 0)) < 0) {
        nlmsg_free(msg);
        msg = NULL;
    }
    rc = nlp_get(&nl, msg, on_neigh, &state, "neighbour", text, &why);
    if (rc == -ENOENT) /* the kernel has no entry */
        return 0;
    if (rc != 0)
        return err_set(err, rc, "%s: %s", ifname, err_msg(&why));
    if (state & NUD_FAILED)
        return err_set(err, -EHOSTUNREACH, "%s: neighbour %s does not answer", ifname, text);
    return (state & KNOWN) != 0;
}
