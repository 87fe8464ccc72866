/* The network agent: what the objects and the kernel say comes in, rounds (net_round.h) run on a
 * worker one after another, and what is true goes out; see net.h. Looks at the kernel that only read
 * run beside a round, so that a lost link is known at once also while a policy is being probed. */
#include "handler/net.h"

#include <errno.h>
#include <net/if.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "api/names.h"
#include "api/object.h"
#include "base/log.h"
#include "base/strmap.h"
#include "handler/limits.h"
#include "handler/net_peers.h"
#include "handler/net_round.h"
#include "handler/net_status.h"
#include "netpolicy/nl_state.h"

#define OBSERVE_MIN_US 1000000u
#define PORT_DISCARD   9

struct objects { /* owned copies of what the network is made of */
    char ref[256];
    struct tree *nad;
    char *assignment;
};

struct policy {
    char *enactment; /* its name */
    int64_t generation;
    struct tree *desired; /* NULL: not known yet */
    bool waiting;
    bool told;                 /* that it is being applied */
    int64_t result_generation; /* 0: nothing came of it yet */
    int rc;
    bool pure;
    char reason[64], message[ERR_MSG_SIZE];
    uint64_t retry_us, wait_us; /* when it may be tried again; the pause that led there */
};

struct round_job {
    struct net_agent *n;
    struct net_round r;
    struct objects mig, effect;
    struct tree *desired; /* list: keeps what r.policies point to */
    bool by_event;
};

struct look_job {
    struct net_agent *n;
    unsigned rounds; /* that had ended when it began */
    struct arena *a;
    struct net_state now;
    int rc;
};

struct net_agent {
    struct loop *l;
    struct work *w;
    char *state_dir, *mgmt_ip;
    struct ip mgmt;
    bool has_mgmt;
    uint64_t probe_timeout_us;
    struct net_agent_hooks hooks;
    atomic_bool stopping;

    struct objects newest, effect;
    bool network_known, enactments_known;
    struct strmap *policies; /* policy -> struct policy */
    struct tree *enactments; /* list, as last seen */

    struct mignet now;  /* as published */
    struct mignet link; /* without what peers and waiting migrations add */
    struct net_mig_expect expect;
    bool attached;  /* expect counts */
    bool found_mtu; /* expect.mtu is what was found, nobody asked for it */
    bool holding;

    struct round_job *round; /* that runs, or NULL */
    bool round_wanted;
    unsigned rounds; /* that have ended */
    struct look_job *look;
    bool look_wanted;
    struct loop_timer *round_timer, *hold_timer, *peer_timer, *observe_timer, *publish_timer;
    uint64_t round_at_us;
    uint64_t repair_pause_us, repaired_us;
    unsigned repairs; /* one after another */
    uint64_t error_pause_us;

    struct net_peers peers;
    struct nl_watch *watch;
    struct loop_fd *watch_fd;
    struct tree *observed; /* as last said */
    struct tree *to_observe;
    uint64_t observed_us;
};

static void objects_set(struct objects *o, const char *ref, const struct tree *nad,
                        const char *assignment);
static bool objects_equal(const struct objects *a, const struct objects *b);
static void objects_done(struct objects *o);
static void policy_free(void *p);
static void round_now(struct net_agent *n, bool by_event);
static void round_later(struct net_agent *n, uint64_t delay_us);
static void round_fn(void *ctx);
static void round_done(void *ctx);
static void round_free(struct round_job *job);
static void take_policies(struct net_agent *n, const struct net_round *r);
static void take_network(struct net_agent *n, struct round_job *job);
static void backed_off(struct net_agent *n, const struct round_job *job);
static bool must_hold(struct net_agent *n);
static void on_hold(void *ctx);
static void publish(struct net_agent *n);
static void tell(struct net_agent *n, const char *name, const struct tree *status);
static void say_network(struct net_agent *n);
static void on_watch(void *ctx, int fd, int events);
static void on_event(void *ctx, const struct nl_event *e);
static void look_now(struct net_agent *n);
static void look_fn(void *ctx);
static void look_done(void *ctx);
static void look_free(struct look_job *job);
static void on_peers(void *ctx);
static void observe(struct net_agent *n, struct tree *state);
static void on_observe(void *ctx);

struct net_agent *
net_agent_new(struct loop *l, struct work *w, const struct net_agent_config *cfg,
              const struct net_agent_hooks *hooks, struct err *err)
{
    struct net_agent *n = xcalloc(1, sizeof *n);
    struct net_journal j = {0};
    int rc = net_journal_load(cfg->state_dir, &j, err);
    bool pending = j.phase != NET_IDLE;

    n->l = l;
    n->w = w;
    n->state_dir = xstrdup(cfg->state_dir);
    n->mgmt_ip = xstrdup(cfg->mgmt_ip);
    n->has_mgmt = ip_parse(cfg->mgmt_ip, &n->mgmt, NULL) == 0;
    n->probe_timeout_us = cfg->probe_timeout_us;
    n->hooks = *hooks;
    n->policies = strmap_new();
    n->repair_pause_us = HANDLER_NET_REPAIR_US;
    n->error_pause_us = HANDLER_NET_REPAIR_US;
    net_journal_done(&j);
    if (rc == 0)
        rc = nl_watch_new(&n->watch, err);
    if (rc != 0) {
        net_agent_free(n);
        return NULL;
    }
    n->watch_fd = loop_fd_add(l, nl_watch_fd(n->watch), LOOP_READ, on_watch, n);
    if (pending)
        round_now(n, false);
    look_now(n);
    return n;
}

void
net_agent_stop(struct net_agent *n)
{
    if (n)
        atomic_store(&n->stopping, true);
}

void
net_agent_free(struct net_agent *n)
{
    if (!n)
        return;
    loop_fd_del(n->watch_fd);
    nl_watch_free(n->watch);
    loop_timer_del(n->round_timer);
    loop_timer_del(n->hold_timer);
    loop_timer_del(n->peer_timer);
    loop_timer_del(n->observe_timer);
    loop_timer_del(n->publish_timer);
    round_free(n->round);
    look_free(n->look);
    objects_done(&n->newest);
    objects_done(&n->effect);
    strmap_free(n->policies, policy_free);
    tree_free(n->enactments);
    tree_free(n->observed);
    tree_free(n->to_observe);
    free(n->state_dir);
    free(n->mgmt_ip);
    free(n);
}

const struct mignet *
net_agent_mignet(const struct net_agent *n)
{
    return &n->now;
}

void
net_agent_network(struct net_agent *n, const char *ref, const struct tree *nad,
                  const char *assignment)
{
    struct objects o = {0};

    objects_set(&o, ref, nad, assignment);
    if (n->network_known && objects_equal(&o, &n->newest)) {
        objects_done(&o);
        return;
    }
    objects_done(&n->newest);
    n->newest = o;
    n->network_known = true;
    round_now(n, false);
}

void
net_agent_enactments(struct net_agent *n, const struct tree *list)
{
    struct strmap *old = n->policies;
    bool changed = !n->enactments_known;
    size_t it = 0;
    void *v;

    n->policies = strmap_new();
    for (size_t i = 0; i < tree_len(list) && i < HANDLER_MAX_POLICIES; i++) {
        const struct tree *obj = tree_at(list, i);
        const struct tree *desired = tree_find(obj, "status", "desiredState", NULL);
        int64_t generation = tree_get_int(tree_find(obj, "status", "policyGeneration", NULL), 0);
        const char *name = object_label(obj, LABEL_NMSTATE_POLICY);
        bool waiting = net_status_is(obj, "Pending", "True");
        struct policy *p;

        if (!name || !*name || strmap_get(n->policies, name))
            continue;
        p = strmap_del(old, name);
        if (!p)
            p = xcalloc(1, sizeof *p);
        strmap_put(n->policies, name, p);
        if (generation < 1)
            desired = NULL;
        if (p->enactment && strcmp(p->enactment, object_name(obj)) == 0 &&
            p->generation == generation && p->waiting == waiting && tree_equal(p->desired, desired))
            continue;
        changed = true;
        free(p->enactment);
        tree_free(p->desired);
        p->enactment = xstrdup(object_name(obj));
        p->desired = tree_copy(desired);
        p->waiting = waiting;
        p->told = false;
        if (p->generation != generation) {
            p->generation = generation;
            p->retry_us = p->wait_us = 0;
        }
    }
    while (!changed && strmap_next(old, &it, NULL, &v))
        changed = true; /* one is gone */
    strmap_free(old, policy_free);
    tree_free(n->enactments);
    n->enactments = tree_copy(list);
    n->enactments_known = true;
    if (changed)
        round_now(n, false);
    publish(n);
}

static void
objects_set(struct objects *o, const char *ref, const struct tree *nad, const char *assignment)
{
    snprintf(o->ref, sizeof o->ref, "%s", ref);
    o->nad = tree_copy(nad);
    o->assignment = assignment ? xstrdup(assignment) : NULL;
}

/* As far as it matters to the kernel. */
static bool
objects_equal(const struct objects *a, const struct objects *b)
{
    const char *dscp = a->nad ? object_annotation(a->nad, ANN_URGENT_DSCP) : NULL;
    const char *other = b->nad ? object_annotation(b->nad, ANN_URGENT_DSCP) : NULL;

    return strcmp(a->ref, b->ref) == 0 &&
           tree_equal(tree_get(a->nad, "spec"), tree_get(b->nad, "spec")) && !a->nad == !b->nad &&
           strcmp(dscp ? dscp : "", other ? other : "") == 0 &&
           strcmp(a->assignment ? a->assignment : "", b->assignment ? b->assignment : "") == 0;
}

static void
objects_done(struct objects *o)
{
    tree_free(o->nad);
    free(o->assignment);
    memset(o, 0, sizeof *o);
}

static void
policy_free(void *ctx)
{
    struct policy *p = ctx;

    free(p->enactment);
    tree_free(p->desired);
    free(p);
}

/* --- rounds --- */

static bool
stopped(void *ctx)
{
    struct round_job *job = ctx;

    return atomic_load(&job->n->stopping);
}

static int
ask(void *ctx, struct err *err)
{
    struct round_job *job = ctx;

    return job->n->hooks.ask(job->n->hooks.ctx, err);
}

static void
on_round_timer(void *ctx)
{
    struct net_agent *n = ctx;

    n->round_timer = NULL;
    round_now(n, true);
}

/* An earlier one that waits stays. */
static void
round_later(struct net_agent *n, uint64_t delay_us)
{
    uint64_t at = loop_now_us(n->l) + delay_us;

    if (n->round_timer && n->round_at_us <= at)
        return;
    loop_timer_del(n->round_timer);
    n->round_at_us = at;
    n->round_timer = loop_timer_add(n->l, delay_us, on_round_timer, n);
}

static int
by_name(const void *a, const void *b)
{
    const struct net_round_policy *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void
round_now(struct net_agent *n, bool by_event)
{
    bool known = n->network_known && n->enactments_known;
    uint64_t now = loop_now_us(n->l);
    struct round_job *job;
    struct net_round *r;
    const char *name;
    size_t it = 0;
    void *v;

    if (n->round) {
        n->round_wanted = true;
        return;
    }
    if (!known && (n->rounds > 0 || n->network_known || n->enactments_known))
        return;
    loop_timer_del(n->round_timer);
    n->round_timer = NULL;
    n->round_wanted = false;
    n->round = job = xcalloc(1, sizeof *job);
    job->n = n;
    job->by_event = by_event;
    job->desired = tree_list();
    objects_set(&job->mig, n->newest.ref, n->newest.nad, n->newest.assignment);
    objects_set(&job->effect, n->effect.ref, n->effect.nad, n->effect.assignment);
    r = &job->r;
    *r = (struct net_round){
        .state_dir = n->state_dir,
        .mgmt = n->has_mgmt ? &n->mgmt : NULL,
        .objects_known = known,
        .mig = {job->mig.ref, job->mig.nad, job->mig.assignment, n->mgmt_ip},
        .mig_effect = {job->effect.ref, job->effect.nad, job->effect.assignment, n->mgmt_ip},
        .mig_hold = known && must_hold(n),
        .ask = ask,
        .stopped = stopped,
        .ctx = job,
        .probe_timeout_us = n->probe_timeout_us,
    };
    r->policies = xcalloc(strmap_len(n->policies) + 1, sizeof *r->policies);
    while (strmap_next(n->policies, &it, &name, &v)) {
        struct net_round_policy *to = &r->policies[r->policies_len++];
        struct policy *p = v;

        tree_append(job->desired, tree_string(name));
        to->name = tree_get_string(tree_at(job->desired, tree_len(job->desired) - 1), "");
        if (p->desired) {
            tree_append(job->desired, tree_copy(p->desired));
            to->desired = tree_at(job->desired, tree_len(job->desired) - 1);
        }
        to->generation = p->generation;
        to->waiting = p->waiting;
        to->held = p->retry_us > now;
        if (p->desired && !p->waiting && !p->told && p->result_generation != p->generation) {
            AUTO_TREE struct tree *status = net_status_enactment(NET_STATUS_PROGRESSING, "", "",
                                                                 p->generation, loop_wall_us(n->l));

            p->told = true;
            tell(n, name, status);
        }
    }
    qsort(r->policies, r->policies_len, sizeof *r->policies, by_name);
    work_run(n->w, round_fn, round_done, job);
}

static void
round_fn(void *ctx)
{
    struct round_job *job = ctx;

    net_round_run(&job->r);
}

static void
round_done(void *ctx)
{
    struct round_job *job = ctx;
    struct net_agent *n = job->n;
    struct net_round *r = &job->r;

    n->round = NULL;
    n->rounds++;
    if (r->rc == 0 && r->objects_known) {
        n->error_pause_us = HANDLER_NET_REPAIR_US;
        take_policies(n, r);
        take_network(n, job);
        backed_off(n, job);
    } else if (r->rc != 0 && r->rc != -ECANCELED) {
        log_warn("network.round", LS("error", err_msg(&r->err)),
                 LI("again_ms", (int64_t)(n->error_pause_us / 1000)));
        n->attached = false;
        net_mig_broken(&n->link, n->newest.ref, "NetworkNotApplied", "%s", err_msg(&r->err));
        round_later(n, n->error_pause_us);
        n->error_pause_us *= 2;
        if (n->error_pause_us > HANDLER_NET_RETRY_MAX_US)
            n->error_pause_us = HANDLER_NET_RETRY_MAX_US;
    }
    if (r->state)
        observe(n, TAKE_PTR(r->state));
    round_free(job);
    say_network(n);
    publish(n);
    look_now(n); /* what happened meanwhile */
    if (n->round_wanted)
        round_now(n, false);
}

static void
round_free(struct round_job *job)
{
    if (!job)
        return;
    objects_done(&job->mig);
    objects_done(&job->effect);
    tree_free(job->desired);
    tree_free(job->r.state);
    free(job->r.policies);
    free(job);
}

static void
take_policies(struct net_agent *n, const struct net_round *r)
{
    uint64_t now = loop_now_us(n->l);

    for (size_t i = 0; i < r->policies_len; i++) {
        const struct net_round_policy *from = &r->policies[i];
        struct policy *p = strmap_get(n->policies, from->name);

        if (!p || !from->tried || p->generation != from->generation)
            continue;
        if (p->result_generation != from->generation || p->rc != from->rc) {
            if (from->rc == 0)
                log_info("network.policy", LS("policy", from->name),
                         LI("generation", from->generation));
            else
                log_warn("network.policy", LS("policy", from->name),
                         LI("generation", from->generation), LS("reason", from->reason),
                         LS("error", from->message));
        }
        p->result_generation = from->generation;
        p->rc = from->rc;
        p->pure = from->pure;
        memcpy(p->reason, from->reason, sizeof p->reason);
        memcpy(p->message, from->message, sizeof p->message);
        if (from->rc == 0 || from->pure) {
            p->retry_us = p->wait_us = 0;
            continue;
        }
        p->wait_us = p->wait_us ? p->wait_us * 2 : 2 * HANDLER_NET_REPAIR_US;
        if (p->wait_us > HANDLER_NET_RETRY_MAX_US)
            p->wait_us = HANDLER_NET_RETRY_MAX_US;
        p->retry_us = now + p->wait_us;
        if (from->rc != -ETIMEDOUT) /* else it waits for another generation */
            round_later(n, p->wait_us);
    }
}

static void
take_network(struct net_agent *n, struct round_job *job)
{
    struct net_round *r = &job->r;

    if (!r->mig_tried) {
        if (!r->mig_hold) /* its address is not known yet */
            n->link = r->mig_state;
        n->attached = n->attached && r->mig_hold;
        return;
    }
    if (strcmp(n->expect.ifname, r->expect.ifname) != 0)
        n->peers.len = 0;
    objects_done(&n->effect);
    n->effect = job->mig;
    memset(&job->mig, 0, sizeof job->mig);
    n->expect = r->expect;
    n->attached = r->attached;
    n->link = r->mig_state;
    n->found_mtu = n->attached && n->expect.mtu == 0;
    if (n->found_mtu)
        n->expect.mtu = n->link.mtu;
}

/* Repairs of what somebody else changes come at longer and longer intervals. */
static void
backed_off(struct net_agent *n, const struct round_job *job)
{
    uint64_t now = loop_now_us(n->l);

    if (!job->by_event)
        return;
    if (job->r.steps > 0) {
        n->repairs++;
        n->repaired_us = now;
        n->repair_pause_us *= 2;
        if (n->repair_pause_us > HANDLER_NET_RETRY_MAX_US)
            n->repair_pause_us = HANDLER_NET_RETRY_MAX_US;
    }
}

/* Whether what is in effect has to stay for now. */
static bool
must_hold(struct net_agent *n)
{
    n->holding = n->attached && !objects_equal(&n->newest, &n->effect) && *n->effect.ref &&
                 n->hooks.busy(n->hooks.ctx) > 0;
    if (n->holding && !n->hold_timer)
        n->hold_timer = loop_timer_add(n->l, HANDLER_NET_HOLD_US, on_hold, n);
    return n->holding;
}

static void
on_hold(void *ctx)
{
    struct net_agent *n = ctx;

    n->hold_timer = NULL;
    if (!must_hold(n))
        round_now(n, false);
    say_network(n);
}

/* --- what is said --- */

static void
on_publish(void *ctx)
{
    struct net_agent *n = ctx;

    n->publish_timer = NULL;
    publish(n);
}

/* Says of each enactment what is true and not said yet; again later while a write is on its way. */
static void
publish(struct net_agent *n)
{
    bool more = false;
    const char *name;
    size_t it = 0;
    void *v;

    while (strmap_next(n->policies, &it, &name, &v)) {
        struct policy *p = v;
        AUTO_TREE struct tree *status = NULL;
        AUTO_FREE char *message = NULL;
        bool own;

        if (p->waiting || !p->desired || p->result_generation != p->generation)
            continue;
        own = strcmp(p->reason, "LinkKindNotSupported") == 0 ||
              strcmp(p->reason, "NotPermitted") == 0;
        message = own || strcmp(p->reason, "FailedToConfigure") == 0
                      ? xstrdup(p->message)
                      : xasprintf("%s: %s", p->reason, p->message);
        status = p->rc == 0 ? net_status_enactment(NET_STATUS_AVAILABLE, "", "", p->generation,
                                                   loop_wall_us(n->l))
                            : net_status_enactment(NET_STATUS_FAILING,
                                                   own ? p->reason : "FailedToConfigure", message,
                                                   p->generation, loop_wall_us(n->l));
        for (size_t i = 0; i < tree_len(n->enactments); i++) {
            const struct tree *obj = tree_at(n->enactments, i);

            if (strcmp(object_name(obj), p->enactment) == 0 && !net_status_said(obj, status)) {
                if (!n->publish_timer)
                    n->hooks.enacted(n->hooks.ctx, p->enactment, status);
                more = true;
            }
        }
    }
    if (more && !n->publish_timer)
        n->publish_timer = loop_timer_add(n->l, HANDLER_NET_REPAIR_US, on_publish, n);
}

static void
tell(struct net_agent *n, const char *name, const struct tree *status)
{
    struct policy *p = strmap_get(n->policies, name);

    n->hooks.enacted(n->hooks.ctx, p->enactment, status);
}

/* The network's state, with what is not the link's. */
static void
say_network(struct net_agent *n)
{
    struct mignet m = n->link;
    char peers[160];
    size_t failed = net_peers_failed(&n->peers, peers, sizeof peers);

    if (m.state == MIGNET_UNKNOWN)
        return;
    if (m.state == MIGNET_READY && n->holding) {
        net_mig_broken(
            &m, n->newest.ref, "Reattaching",
            "%u migration(s) still run over %s; it is attached anew when they have ended",
            n->hooks.busy(n->hooks.ctx), n->link.ifname);
    } else if (m.state == MIGNET_READY && failed > 0 && failed == n->peers.len) {
        net_mig_broken(&m, m.ref, "NeighbourUnreachable",
                       "no neighbour on %s that was tried answers: %s", n->link.ifname, peers);
    } else if (m.state == MIGNET_READY && failed > 0) {
        snprintf(m.reason, sizeof m.reason, "%s; does not answer: %s", n->link.reason, peers);
    } else if (m.state == MIGNET_BROKEN && n->attached && n->repairs > 1) {
        size_t at = strlen(m.reason);

        snprintf(m.reason + at, sizeof m.reason - at,
                 "; repaired %u times, something else changes it: next repair after %llu s",
                 n->repairs, (unsigned long long)(n->repair_pause_us / 1000000));
    }
    if (failed > 0 && !n->peer_timer)
        n->peer_timer = loop_timer_add(n->l, HANDLER_PEER_ASK_US, on_peers, n);
    if (net_mig_equal(&m, &n->now))
        return;
    n->now = m;
    n->hooks.changed(n->hooks.ctx, &n->now);
}

/* --- the kernel's events --- */

static void
on_watch(void *ctx, int fd, int events)
{
    struct net_agent *n = ctx;
    struct err err = {0};

    (void)fd;
    (void)events;
    if (nl_watch_read(n->watch, on_event, n, &err) != 0)
        log_warn("network.watch", LS("error", err_msg(&err)));
}

static void
on_event(void *ctx, const struct nl_event *e)
{
    struct net_agent *n = ctx;

    if (e->kind == NL_EVENT_NEIGH) {
        if (n->attached && strcmp(e->ifname, n->expect.ifname) == 0 &&
            net_peers_event(&n->peers, e, loop_now_us(n->l)))
            say_network(n);
        return;
    }
    look_now(n);
    if (loop_now_us(n->l) - n->repaired_us > HANDLER_NET_RETRY_MAX_US) {
        n->repair_pause_us = HANDLER_NET_REPAIR_US;
        n->repairs = 0;
    }
    if (n->network_known && n->enactments_known)
        round_later(n, n->repair_pause_us);
}

static void
look_now(struct net_agent *n)
{
    if (n->look) {
        n->look_wanted = true;
        return;
    }
    n->look_wanted = false;
    n->look = xcalloc(1, sizeof *n->look);
    n->look->n = n;
    n->look->rounds = n->rounds;
    n->look->a = arena_new();
    work_run(n->w, look_fn, look_done, n->look);
}

static void
look_fn(void *ctx)
{
    struct look_job *job = ctx;

    job->rc = nl_state_read(job->a, &job->now, NULL);
}

static void
look_done(void *ctx)
{
    struct look_job *job = ctx;
    struct net_agent *n = job->n;

    n->look = NULL;
    if (job->rc == 0 && job->rounds == n->rounds) { /* else it may be of before */
        if (n->attached) {
            net_mig_check(&n->expect, n->effect.ref, &job->now, &n->link);
            say_network(n);
        }
        observe(n, net_state_tree(&job->now));
    }
    look_free(job);
    if (n->look_wanted)
        look_now(n);
}

static void
look_free(struct look_job *job)
{
    if (!job)
        return;
    arena_free(job->a);
    free(job);
}

/* --- neighbours that do not answer are asked again --- */

static void
ask_peer(const struct net_agent *n, const struct ip *ip)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_DISCARD)};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(PORT_DISCARD)};
    bool v4 = ip_is_v4(ip);
    AUTO_FD int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, n->expect.ifname,
                             (socklen_t)strlen(n->expect.ifname)) != 0)
        return;
    memcpy(&a4.sin_addr, &ip->a.s6_addr[12], 4);
    a6.sin6_addr = ip->a;
    /* whatever becomes of the byte, the kernel looks for the neighbour and says what it found */
    if (v4)
        sendto(fd, "", 1, 0, (const struct sockaddr *)&a4, sizeof a4);
    else
        sendto(fd, "", 1, 0, (const struct sockaddr *)&a6, sizeof a6);
}

static void
on_peers(void *ctx)
{
    struct net_agent *n = ctx;

    n->peer_timer = NULL;
    net_peers_expire(&n->peers, loop_now_us(n->l));
    for (size_t i = 0; i < n->peers.len; i++)
        if (n->peers.items[i].failed)
            ask_peer(n, &n->peers.items[i].ip);
    say_network(n);
}

/* --- the NodeNetworkState --- */

static void
observe(struct net_agent *n, struct tree *state)
{
    uint64_t now = loop_now_us(n->l), since = now - n->observed_us, wait;

    if (n->observed && tree_equal(state, n->observed)) {
        tree_free(state);
        tree_free(n->to_observe);
        n->to_observe = NULL;
        wait = since < HANDLER_NET_OBSERVE_US ? HANDLER_NET_OBSERVE_US - since : 1;
    } else {
        tree_free(n->to_observe);
        n->to_observe = state;
        wait = !n->observed || since >= OBSERVE_MIN_US ? 1 : OBSERVE_MIN_US - since;
    }
    loop_timer_del(n->observe_timer);
    n->observe_timer = loop_timer_add(n->l, wait, on_observe, n);
}

static void
on_observe(void *ctx)
{
    struct net_agent *n = ctx;

    n->observe_timer = NULL;
    if (n->to_observe) {
        tree_free(n->observed);
        n->observed = TAKE_PTR(n->to_observe);
    }
    n->observed_us = loop_now_us(n->l);
    n->hooks.observed(n->hooks.ctx, tree_copy(n->observed));
    n->observe_timer = loop_timer_add(n->l, HANDLER_NET_OBSERVE_US, on_observe, n);
}
