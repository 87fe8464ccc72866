/* An htb root with three classes: the whole (1:10 as tc would write it, at the limit), and in it
 * urgent (1:1, prio 0) and bulk (1:2, prio 1, where everything else goes). See nl_shape.h. Either
 * may use the whole limit; urgent goes first, and each is sure of a part when both want to send:
 * urgent of half, so that it need not wait until a large bulk packet is paid for, bulk of a
 * twentieth, so that it never starves. tc-htb(8), net/sched/sch_htb.c. */
#include "netpolicy/nl_shape.h"

#include <errno.h>
#include <string.h>

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "netpolicy/nl_priv.h"

#define ROOT        (NL_SHAPE_HANDLE << 16)
#define BULK_MINOR  2u
#define WHOLE       (ROOT | 0x10u)
#define BULK        (ROOT | BULK_MINOR)
#define CLASSES     3
#define TICK_NS     64 /* the unit of htb's buffers: PSCHED_SHIFT is 6 */
#define MIN_RATE    1000u
#define MIN_BURST   (16u << 10)
#define MAX_BURST   (1u << 30)
#define BURST_AUTO  0x7fffffffu /* in bulk's quantum: burst_bytes was 0 */
#define HALF_MADE   1u          /* a rate that nobody asks for, so that every plan repairs it */
#define NS_PER_S    UINT64_C(1000000000)
#define BURST_PER_S 100 /* automatic: 10 ms' worth, which late timers of a busy host stay within */

struct htb_class {
    uint32_t handle, parent, prio, quantum, buffer, cbuffer; /* buffers in ticks */
    uint64_t rate, ceil;
};

struct root {
    int ifindex;
    bool ours, foreign;
    struct nl_shape_counters counters;
};

static int find_root(struct nlp *c, const char *ifname, struct root *ret, struct err *err);
static int remove_root(struct nlp *c, const char *ifname, const struct root *root, struct err *err);
static int make(struct nlp *c, const char *ifname, const struct root *root,
                const struct net_shape *s, struct err *err);
static void classes_of(const struct net_shape *s, struct htb_class out[CLASSES]);

int
nl_shape_set(const char *ifname, const struct net_shape *s, struct err *err)
{
    AUTO_NLP struct nlp c = {0};
    struct net_shape is;
    struct root root;
    int rc;

    if (s->rate_bytes_per_s != 0 && s->rate_bytes_per_s < MIN_RATE)
        return err_set(err, -EINVAL, "limit of %s: %llu bytes a second: want at least %u", ifname,
                       (unsigned long long)s->rate_bytes_per_s, MIN_RATE);
    if (s->burst_bytes > MAX_BURST)
        return err_set(err, -EINVAL, "limit of %s: burst of %llu bytes: want at most %u", ifname,
                       (unsigned long long)s->burst_bytes, MAX_BURST);
    if ((rc = nlp_open(&c, err)) != 0 || (rc = find_root(&c, ifname, &root, err)) != 0)
        return rc;
    if (root.foreign)
        return err_set(err, -EBUSY,
                       "limit of %s: it has a queue discipline that drover did not make; it is "
                       "left alone",
                       ifname);
    if (s->rate_bytes_per_s == 0)
        return root.ours ? remove_root(&c, ifname, &root, err) : 0;
    if (root.ours) {
        rc = nlp_shape_read(&c, root.ifindex, &is, err);
        if (rc == 0 && is.rate_bytes_per_s == HALF_MADE) {
            rc = remove_root(&c, ifname, &root, err);
            root.ours = false;
        }
        if (rc != 0)
            return rc;
    }
    if ((rc = make(&c, ifname, &root, s, err)) != 0 ||
        (rc = nlp_shape_read(&c, root.ifindex, &is, err)) != 0)
        return rc;
    if (is.rate_bytes_per_s != s->rate_bytes_per_s || is.burst_bytes != s->burst_bytes)
        return err_set(err, -EIO,
                       "limit of %s: the kernel took %llu bytes a second, but does not say so when "
                       "asked",
                       ifname, (unsigned long long)s->rate_bytes_per_s);
    return 0;
}

int
nl_shape_get(const char *ifname, struct net_shape *ret, bool *ret_foreign, struct err *err)
{
    AUTO_NLP struct nlp c = {0};
    struct net_shape is = {0};
    struct root root;
    int rc;

    if ((rc = nlp_open(&c, err)) != 0 || (rc = find_root(&c, ifname, &root, err)) != 0 ||
        (root.ours && (rc = nlp_shape_read(&c, root.ifindex, &is, err)) != 0))
        return rc;
    *ret = is;
    *ret_foreign = root.foreign;
    return 0;
}

int
nl_shape_counters(const char *ifname, struct nl_shape_counters *ret, struct err *err)
{
    AUTO_NLP struct nlp c = {0};
    struct root root;
    int rc;

    if ((rc = nlp_open(&c, err)) != 0 || (rc = find_root(&c, ifname, &root, err)) != 0)
        return rc;
    if (!root.ours)
        return err_set(err, -ENOENT, "limit of %s: none is set", ifname);
    *ret = root.counters;
    return 0;
}

/* --- the root --- */

void
nlp_shape_qdisc(const struct nlmsghdr *h, bool *ret_ours, bool *ret_foreign)
{
    struct nlattr *tb[TCA_MAX + 1] = {NULL};
    const struct tcmsg *m = nlmsg_data(h);

    *ret_ours = *ret_foreign = false;
    if (h->nlmsg_type != RTM_NEWQDISC ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, TCA_MAX, NULL) != 0 ||
        m->tcm_parent != TC_H_ROOT)
        return;
    if (m->tcm_handle == ROOT && tb[TCA_KIND] && nla_strcmp(tb[TCA_KIND], "htb") == 0)
        *ret_ours = true;
    else /* what the kernel made by default has no handle */
        *ret_foreign = m->tcm_handle != 0;
}

static void
on_qdisc(const struct nlmsghdr *h, void *ctx)
{
    struct nlattr *tb[TCA_MAX + 1] = {NULL}, *st[TCA_STATS_MAX + 1] = {NULL};
    const struct tcmsg *m = nlmsg_data(h);
    struct root *root = ctx;
    struct gnet_stats_queue queue = {0};
    struct gnet_stats_basic basic = {0};
    bool ours, foreign;

    if (m->tcm_ifindex != root->ifindex)
        return;
    nlp_shape_qdisc(h, &ours, &foreign);
    root->ours = root->ours || ours;
    root->foreign = root->foreign || foreign;
    if (!ours || nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, TCA_MAX, NULL) != 0 ||
        !tb[TCA_STATS2] || nla_parse_nested(st, TCA_STATS_MAX, tb[TCA_STATS2], NULL) != 0)
        return;
    nla_memcpy(&basic, st[TCA_STATS_BASIC], sizeof basic);
    nla_memcpy(&queue, st[TCA_STATS_QUEUE], sizeof queue);
    root->counters = (struct nl_shape_counters){.bytes = basic.bytes,
                                                .packets = basic.packets,
                                                .dropped = queue.drops,
                                                .overlimits = queue.overlimits};
}

static int
find_root(struct nlp *c, const char *ifname, struct root *ret, struct err *err)
{
    const struct tcmsg m = {.tcm_family = AF_UNSPEC};
    AUTO_LINK struct rtnl_link *l = NULL;
    int rc = nlp_find(c, ifname, &l, err);

    if (rc != 0)
        return rc;
    *ret = (struct root){.ifindex = rtnl_link_get_ifindex(l)};
    return nlp_dump(c, RTM_GETQDISC, &m, sizeof m, on_qdisc, ret, err);
}

/* --- its classes --- */

static uint32_t
ticks(uint64_t bytes, uint64_t rate)
{
    uint64_t n = bytes * NS_PER_S / rate / TICK_NS;

    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void
classes_of(const struct net_shape *s, struct htb_class out[CLASSES])
{
    uint64_t rate = s->rate_bytes_per_s, burst = s->burst_bytes;

    if (burst == 0)
        burst = rate / BURST_PER_S;
    if (burst < MIN_BURST)
        burst = MIN_BURST;
    if (burst > MAX_BURST)
        burst = MAX_BURST;
    out[0] = (struct htb_class){.handle = WHOLE, .parent = ROOT, .rate = rate};
    out[1] = (struct htb_class){.handle = NL_SHAPE_URGENT, .parent = WHOLE, .rate = rate / 2};
    /* the kernel keeps a burst as a time, rounded; as it was asked for it stands in the quantum
     * of bulk, which shares its priority with nobody and so has no use for one */
    out[2] = (struct htb_class){.handle = BULK,
                                .parent = WHOLE,
                                .rate = rate / 20,
                                .prio = 1,
                                .quantum = s->burst_bytes ? (uint32_t)s->burst_bytes : BURST_AUTO};
    for (int i = 0; i < CLASSES; i++) {
        out[i].ceil = rate;
        out[i].buffer = out[i].cbuffer = ticks(burst, rate);
        if (out[i].quantum == 0) /* said, so that the kernel does not warn of its own guess */
            out[i].quantum = MIN_BURST;
    }
}

static struct nl_msg *
class_msg(int ifindex, const struct htb_class *k)
{
    const struct tcmsg m = {
        .tcm_ifindex = ifindex, .tcm_handle = k->handle, .tcm_parent = k->parent};
    const struct tc_htb_opt opt = {
        /* with the link layer said, the kernel wants no table of transmission times */
        .rate = {.linklayer = TC_LINKLAYER_ETHERNET,
                 .rate = k->rate < UINT32_MAX ? (uint32_t)k->rate : UINT32_MAX},
        .ceil = {.linklayer = TC_LINKLAYER_ETHERNET,
                 .rate = k->ceil < UINT32_MAX ? (uint32_t)k->ceil : UINT32_MAX},
        .buffer = k->buffer,
        .cbuffer = k->cbuffer,
        .quantum = k->quantum,
        .prio = k->prio,
    };
    struct nl_msg *msg = nlp_msg(RTM_NEWTCLASS, NLM_F_CREATE, &m, sizeof m);
    struct nlattr *options;

    if (!msg || nla_put_string(msg, TCA_KIND, "htb") < 0 ||
        !(options = nla_nest_start(msg, TCA_OPTIONS)) ||
        nla_put(msg, TCA_HTB_PARMS, sizeof opt, &opt) < 0 ||
        nla_put_u64(msg, TCA_HTB_RATE64, k->rate) < 0 ||
        nla_put_u64(msg, TCA_HTB_CEIL64, k->ceil) < 0 || nla_nest_end(msg, options) < 0) {
        nlmsg_free(msg);
        return NULL;
    }
    return msg;
}

static struct nl_msg *
root_msg(int ifindex)
{
    const struct tcmsg m = {.tcm_ifindex = ifindex, .tcm_handle = ROOT, .tcm_parent = TC_H_ROOT};
    const struct tc_htb_glob glob = {.version = 3, .rate2quantum = 10, .defcls = BULK_MINOR};
    struct nl_msg *msg = nlp_msg(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
    struct nlattr *options;

    if (!msg || nla_put_string(msg, TCA_KIND, "htb") < 0 ||
        !(options = nla_nest_start(msg, TCA_OPTIONS)) ||
        nla_put(msg, TCA_HTB_INIT, sizeof glob, &glob) < 0 || nla_nest_end(msg, options) < 0) {
        nlmsg_free(msg);
        return NULL;
    }
    return msg;
}

static int
remove_root(struct nlp *c, const char *ifname, const struct root *root, struct err *err)
{
    const struct tcmsg m = {
        .tcm_ifindex = root->ifindex, .tcm_handle = ROOT, .tcm_parent = TC_H_ROOT};

    return nlp_talk(c, nlp_msg(RTM_DELQDISC, 0, &m, sizeof m), "cannot remove the limit of", ifname,
                    err);
}

static int
make(struct nlp *c, const char *ifname, const struct root *root, const struct net_shape *s,
     struct err *err)
{
    struct htb_class classes[CLASSES];
    int rc;

    if (!root->ours) {
        rc = nlp_talk(c, root_msg(root->ifindex), "cannot limit", ifname, err);
        if (rc == -EEXIST)
            return err_set(err, -EBUSY, "limit of %s: somebody else made one just now", ifname);
        if (rc == -ENOENT && c->said[0]) /* of a missing interface it says nothing more */
            return err_set(err, -EOPNOTSUPP,
                           "limit of %s: this kernel has no htb queue discipline (sch_htb)",
                           ifname);
        if (rc != 0)
            return rc;
    }
    classes_of(s, classes);
    for (int i = 0; i < CLASSES; i++) {
        rc = nlp_talk(c, class_msg(root->ifindex, &classes[i]), "cannot limit", ifname, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- read back --- */

struct found {
    int ifindex;
    struct htb_class classes[CLASSES];
    size_t len;
    bool others; /* classes that we do not make */
};

static void
on_class(const struct nlmsghdr *h, void *ctx)
{
    struct nlattr *tb[TCA_MAX + 1] = {NULL}, *o[TCA_HTB_MAX + 1] = {NULL};
    const struct tcmsg *m = nlmsg_data(h);
    struct tc_htb_opt opt = {0};
    struct found *f = ctx;
    struct htb_class *k;

    if (h->nlmsg_type != RTM_NEWTCLASS || m->tcm_ifindex != f->ifindex ||
        TC_H_MAJ(m->tcm_handle) != ROOT ||
        nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof *m, tb, TCA_MAX, NULL) != 0 ||
        !tb[TCA_OPTIONS] || nla_parse_nested(o, TCA_HTB_MAX, tb[TCA_OPTIONS], NULL) != 0 ||
        !o[TCA_HTB_PARMS])
        return;
    if (f->len == CLASSES) {
        f->others = true;
        return;
    }
    nla_memcpy(&opt, o[TCA_HTB_PARMS], sizeof opt);
    k = &f->classes[f->len++];
    *k = (struct htb_class){
        .handle = m->tcm_handle,
        .parent = m->tcm_parent == TC_H_ROOT ? ROOT : m->tcm_parent,
        .prio = opt.prio,
        .quantum = opt.quantum,
        .buffer = opt.buffer,
        .cbuffer = opt.cbuffer,
        .rate = o[TCA_HTB_RATE64] ? nla_get_u64(o[TCA_HTB_RATE64]) : opt.rate.rate,
        .ceil = o[TCA_HTB_CEIL64] ? nla_get_u64(o[TCA_HTB_CEIL64]) : opt.ceil.rate,
    };
}

static const struct htb_class *
class_find(const struct found *f, uint32_t handle)
{
    for (size_t i = 0; i < f->len; i++)
        if (f->classes[i].handle == handle)
            return &f->classes[i];
    return NULL;
}

/* An inner class has no priority or quantum; the kernel says what it was made with, or a default. */
static bool
same(const struct htb_class *is, const struct htb_class *want)
{
    return is->parent == want->parent && is->rate == want->rate && is->ceil == want->ceil &&
           is->buffer == want->buffer && is->cbuffer == want->cbuffer &&
           (want->handle == WHOLE || (is->prio == want->prio && is->quantum == want->quantum));
}

int
nlp_shape_read(struct nlp *c, int ifindex, struct net_shape *ret, struct err *err)
{
    const struct tcmsg m = {.tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex};
    struct net_shape s = {.rate_bytes_per_s = HALF_MADE};
    const struct htb_class *whole, *bulk;
    struct found f = {.ifindex = ifindex};
    struct htb_class want[CLASSES];
    int rc = nlp_dump(c, RTM_GETTCLASS, &m, sizeof m, on_class, &f, err);

    if (rc != 0)
        return rc;
    *ret = s;
    whole = class_find(&f, WHOLE);
    bulk = class_find(&f, BULK);
    if (!whole || !bulk || f.others || whole->rate == 0)
        return 0;
    s.rate_bytes_per_s = whole->rate;
    s.burst_bytes = bulk->quantum == BURST_AUTO ? 0 : bulk->quantum;
    classes_of(&s, want);
    for (int i = 0; i < CLASSES; i++) {
        const struct htb_class *is = class_find(&f, want[i].handle);

        if (!is || !same(is, &want[i]))
            return 0;
    }
    *ret = s;
    return 0;
}
