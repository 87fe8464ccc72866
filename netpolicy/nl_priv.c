/* The route socket that the nl_* files share; see nl_priv.h. Kernel documentation:
 * userspace-api/netlink/intro (extended acknowledgements, interrupted dumps). */
#include "netpolicy/nl_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>

static int on_refused(struct sockaddr_nl *from, struct nlmsgerr *e, void *ctx);
static int on_valid(struct nl_msg *msg, void *ctx);

int
nlp_open(struct nlp *c, struct err *err)
{
    const int on = 1;
    int nle;

    *c = (struct nlp){.sk = nl_socket_alloc()};
    if (!c->sk)
        return err_set(err, -ENOMEM, "netlink: no memory");
    nle = nl_connect(c->sk, NETLINK_ROUTE);
    if (nle < 0) {
        nlp_done(c);
        return err_set(err, -EIO, "netlink: cannot connect: %s", nl_geterror(nle));
    }
    /* words for people come only where both are on; a kernel without them just says less */
    setsockopt(nl_socket_get_fd(c->sk), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(nl_socket_get_fd(c->sk), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    nl_socket_modify_err_cb(c->sk, NL_CB_CUSTOM, on_refused, c);
    return 0;
}

void
nlp_done(struct nlp *c)
{
    nl_socket_free(c->sk); /* NULL is fine */
    c->sk = NULL;
}

void
nlp_link_done(struct rtnl_link **l)
{
    if (*l)
        rtnl_link_put(*l);
}

int
nlp_result(struct nlp *c, int nle, const char *what, const char *name, struct err *err)
{
    int refused = c->refused;

    if (nle >= 0)
        return 0;
    c->refused = 0;
    switch (refused) {
    case 0: /* libnl's own, or rtnl_link_get_kernel, which hides the answer from on_refused */
        if (nle == -NLE_OBJ_NOTFOUND || nle == -NLE_NODEV)
            return err_set(err, -ENOENT, "%s %s: no such interface here", what, name);
        return err_set(err, nle == -NLE_NOMEM ? -ENOMEM : -EIO, "%s %s: %s", what, name,
                       nl_geterror(nle));
    case -EEXIST:
        return err_set(err, -EEXIST, "%s %s: there is one already", what, name);
    case -ENODEV:
    case -ENOENT:
        return err_set(err, -ENOENT, "%s %s: no such interface here", what, name);
    case -EPERM:
    case -EACCES:
        if (c->said[0]) /* no lack of a capability: of that the kernel says nothing more */
            return err_set(err, -EBUSY, "%s %s: %s", what, name, c->said);
        return err_set(err, -EPERM, "%s %s: not permitted: it needs CAP_NET_ADMIN", what, name);
    default:
        return err_set(err, refused, "%s %s: %s", what, name,
                       c->said[0] ? c->said : strerror(-refused));
    }
}

int
nlp_check_name(const char *name, struct err *err)
{
    size_t len = strlen(name);

    if (len == 0 || len >= NL_IFNAME_SIZE)
        return err_set(err, -EINVAL, "interface \"%.64s\": want a name of 1 to %d bytes", name,
                       NL_IFNAME_SIZE - 1);
    return 0;
}

int
nlp_find(struct nlp *c, const char *name, struct rtnl_link **ret, struct err *err)
{
    int rc = nlp_check_name(name, err);

    return rc != 0
               ? rc
               : nlp_result(c, rtnl_link_get_kernel(c->sk, 0, name, ret), "interface", name, err);
}

struct nl_msg *
nlp_msg(int type, int flags, const void *head, size_t size)
{
    struct nl_msg *msg = nlmsg_alloc_simple(type, flags);

    if (msg && nlmsg_append(msg, (void *)(uintptr_t)head, size, NLMSG_ALIGNTO) < 0) {
        nlmsg_free(msg);
        return NULL;
    }
    return msg;
}

int
nlp_talk(struct nlp *c, struct nl_msg *msg, const char *what, const char *name, struct err *err)
{
    if (!msg)
        return err_set(err, -ENOMEM, "%s %s: no memory", what, name);
    return nlp_result(c, nl_send_sync(c->sk, msg), what, name, err);
}

struct answer {
    nlp_fn *fn;
    void *ctx;
};

/* Until the answer, or the last of a dump's answers, is read. */
static int
receive(struct nlp *c, struct answer *a)
{
    struct nl_cb *own = nl_socket_get_cb(c->sk);
    struct nl_cb *cb = nl_cb_clone(own); /* keeps on_refused */
    int nle = -NLE_NOMEM;

    if (cb) {
        nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, a);
        nle = nl_recvmsgs(c->sk, cb);
    }
    nl_cb_put(cb);
    nl_cb_put(own);
    return nle;
}

int
nlp_get(struct nlp *c, struct nl_msg *msg, nlp_fn *fn, void *ctx, const char *what,
        const char *name, struct err *err)
{
    struct answer a = {fn, ctx};
    int nle;

    if (!msg)
        return err_set(err, -ENOMEM, "%s %s: no memory", what, name);
    nle = nl_send_auto(c->sk, msg);
    nlmsg_free(msg);
    if (nle >= 0)
        nle = receive(c, &a);
    if (nle >= 0)
        nle = nl_wait_for_ack(c->sk);
    return nlp_result(c, nle, what, name, err);
}

int
nlp_dump(struct nlp *c, int type, const void *head, size_t size, nlp_fn *fn, void *ctx,
         struct err *err)
{
    struct nl_msg *msg = nlp_msg(type, NLM_F_DUMP, head, size);
    struct answer a = {fn, ctx};
    int nle;

    if (!msg)
        return err_set(err, -ENOMEM, "netlink: no memory");
    nle = nl_send_auto(c->sk, msg);
    nlmsg_free(msg);
    if (nle >= 0)
        nle = receive(c, &a);
    if (nle == -NLE_DUMP_INTR)
        return err_set(err, -EAGAIN, "netlink: interfaces changed while they were listed");
    return nlp_result(c, nle, "cannot list", "interfaces", err);
}

bool
nlp_ip(const struct nlattr *a, struct ip *ret)
{
    if (!a || (nla_len(a) != 4 && nla_len(a) != 16))
        return false;
    *ret = (struct ip){0};
    if (nla_len(a) == 4) {
        memset(ret->a.s6_addr + 10, 0xff, 2);
        memcpy(ret->a.s6_addr + 12, nla_data(a), 4);
    } else {
        memcpy(ret->a.s6_addr, nla_data(a), 16);
    }
    return true;
}

void
nlp_route_links(const struct nlmsghdr *h, bool default_only, void (*fn)(int ifindex, void *ctx),
                void *ctx)
{
    struct nlattr *tb[RTA_MAX + 1] = {NULL};
    const struct rtmsg *m = nlmsg_data(h);
    struct rtnexthop *hop;
    unsigned table;

    if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, RTA_MAX, NULL) != 0)
        return;
    table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : m->rtm_table;
    if (table != RT_TABLE_MAIN || m->rtm_type != RTN_UNICAST || (default_only && m->rtm_dst_len))
        return;
    if (tb[RTA_OIF])
        fn((int)nla_get_u32(tb[RTA_OIF]), ctx);
    if (!tb[RTA_MULTIPATH])
        return;
    hop = nla_data(tb[RTA_MULTIPATH]);
    for (int left = nla_len(tb[RTA_MULTIPATH]); left >= (int)sizeof *hop && RTNH_OK(hop, left);
         left -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
        fn(hop->rtnh_ifindex, ctx);
}

static int
on_valid(struct nl_msg *msg, void *ctx)
{
    const struct answer *a = ctx;

    a->fn(nlmsg_hdr(msg), a->ctx);
    return NL_OK;
}

static int
on_refused(struct sockaddr_nl *from, struct nlmsgerr *e, void *ctx)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)((const char *)e - NLMSG_HDRLEN);
    struct nlattr *tb[NLMSGERR_ATTR_MAX + 1] = {NULL};
    struct nlp *c = ctx;

    (void)from;
    c->refused = e->error;
    c->said[0] = 0;
    if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && (h->nlmsg_flags & NLM_F_CAPPED) &&
        nlmsg_valid_hdr(h, sizeof *e) &&
        nla_parse(tb, NLMSGERR_ATTR_MAX, nlmsg_attrdata(h, sizeof *e), nlmsg_attrlen(h, sizeof *e),
                  NULL) == 0 &&
        tb[NLMSGERR_ATTR_MSG])
        nla_strlcpy(c->said, tb[NLMSGERR_ATTR_MSG], sizeof c->said);
    return -nl_syserr2nlerr(e->error);
}
