/* The network agent: what the objects and the kernel say comes in, rounds (net_round.h) run on a
 * worker one after another, and what is true goes out; see net.h. Looks at the kernel that only read
 * run beside a round, so that a lost link is known at once also while a policy is being probed. */
#include "handler/net.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api/names.h"
#include "api/object.h"
#include "base/log.h"
#include "handler/net_impl.h"

static void objects_set(struct net_objects *o, const char *ref, const struct tree *nad,
                        const char *assignment);
static bool objects_equal(const struct net_objects *a, const struct net_objects *b);
static void objects_done(struct net_objects *o);
static void policy_free(void *p);
static void retry_later(struct net_agent *n, uint64_t delay_us);
static void on_repair_timer(void *ctx);
static void round_fn(void *ctx);
static void round_done(void *ctx);
static void round_free(struct net_round_job *job);
static void take_policies(struct net_agent *n, const struct net_round *r);
static void take_network(struct net_agent *n, struct net_round_job *job);
static void backed_off(struct net_agent *n, const struct net_round_job *job);
static bool must_hold(struct net_agent *n);
static void on_hold(void *ctx);

struct net_agent *
net_agent_new(struct loop *l, struct work *w, const struct net_agent_config *cfg,
              const struct net_agent_hooks *hooks, struct err *err)
{
    struct net_agent *n = xcalloc(1, sizeof *n);
    struct net_journal j = {0};
    bool pending;
    int rc;

    n->lock = -1;
    rc = net_journal_lock(cfg->state_dir, false, &n->lock, err);
    if (rc == 0)
        rc = net_journal_load(cfg->state_dir, &j, err);
    pending = j.phase != NET_IDLE;
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
    n->network_pause_us = HANDLER_NET_REPAIR_US;
    net_journal_done(&j);
    if (rc == 0)
        rc = net_look_start(n, err);
    if (rc != 0) {
        net_agent_free(n);
        return NULL;
    }
    n->unfinished = pending;
    net_agent_round(n, false);
    net_look_now(n);
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
    net_look_done(n);
    loop_timer_del(n->retry_timer);
    loop_timer_del(n->repair_timer);
    loop_timer_del(n->hold_timer);
    loop_timer_del(n->publish_timer);
    round_free(n->round);
    objects_done(&n->newest);
    objects_done(&n->effect);
    strmap_free(n->policies, policy_free);
    tree_free(n->enactments);
    if (n->lock >= 0)
        close(n->lock);
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
    struct net_objects o = {0};

    objects_set(&o, ref, nad, assignment);
    if (n->network_known && objects_equal(&o, &n->newest)) {
        objects_done(&o);
        return;
    }
    objects_done(&n->newest);
    n->newest = o;
    n->network_known = true;
    net_agent_round(n, false);
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
        struct net_policy *p;

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
        if (!tree_equal(p->desired, desired))
            p->result_generation = 0; /* also one that was made anew: its generations begin at 1 */
        free(p->enactment);
        tree_free(p->desired);
        p->enactment = xstrdup(object_name(obj));
        p->desired = tree_copy(desired);
        p->unsaid = true;
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
        net_agent_round(n, false);
    net_say_policies(n);
}

static void
objects_set(struct net_objects *o, const char *ref, const struct tree *nad, const char *assignment)
{
    snprintf(o->ref, sizeof o->ref, "%s", ref);
    o->nad = tree_copy(nad);
    o->assignment = assignment ? xstrdup(assignment) : NULL;
}

/* As far as it matters to the kernel and to migrations. */
static bool
objects_equal(const struct net_objects *a, const struct net_objects *b)
{
    static const char *const annotations[] = {ANN_URGENT_DSCP, ANN_TRUSTED_NETWORK};

    for (size_t i = 0; i < ARRAY_LEN(annotations); i++) {
        const char *x = a->nad ? object_annotation(a->nad, annotations[i]) : NULL;
        const char *y = b->nad ? object_annotation(b->nad, annotations[i]) : NULL;

        if (strcmp(x ? x : "", y ? y : "") != 0)
            return false;
    }
    return strcmp(a->ref, b->ref) == 0 &&
           tree_equal(tree_get(a->nad, "spec"), tree_get(b->nad, "spec")) && !a->nad == !b->nad &&
           strcmp(a->assignment ? a->assignment : "", b->assignment ? b->assignment : "") == 0;
}

static void
objects_done(struct net_objects *o)
{
    tree_free(o->nad);
    free(o->assignment);
    memset(o, 0, sizeof *o);
}

static void
policy_free(void *ctx)
{
    struct net_policy *p = ctx;

    free(p->enactment);
    tree_free(p->desired);
    free(p);
}

/* --- rounds --- */

static bool
stopped(void *ctx)
{
    struct net_round_job *job = ctx;

    return atomic_load(&job->n->stopping);
}

static int
ask(void *ctx, struct err *err)
{
    struct net_round_job *job = ctx;

    return job->n->hooks.ask(job->n->hooks.ctx, err);
}

static uint64_t
longer(uint64_t pause_us)
{
    return pause_us * 2 < HANDLER_NET_RETRY_MAX_US ? pause_us * 2 : HANDLER_NET_RETRY_MAX_US;
}

static void
on_retry_timer(void *ctx)
{
    struct net_agent *n = ctx;

    n->retry_timer = NULL;
    net_agent_round(n, false);
}

/* An earlier one that waits stays. */
static void
retry_later(struct net_agent *n, uint64_t delay_us)
{
    uint64_t at = loop_now_us(n->l) + delay_us;

    if (n->retry_timer && n->retry_at_us <= at)
        return;
    loop_timer_del(n->retry_timer);
    n->retry_at_us = at;
    n->retry_timer = loop_timer_add(n->l, delay_us, on_retry_timer, n);
}

static void
on_repair_timer(void *ctx)
{
    struct net_agent *n = ctx;

    n->repair_timer = NULL;
    net_agent_round(n, true);
}

static int
by_name(const void *a, const void *b)
{
    const struct net_round_policy *x = a, *y = b;

    return strcmp(x->name, y->name);
}

void
net_agent_round(struct net_agent *n, bool by_event)
{
    bool known = n->network_known && n->enactments_known;
    uint64_t now = loop_now_us(n->l);
    struct net_round_job *job;
    struct net_round *r;
    const char *name;
    size_t it = 0;
    void *v;

    if (n->round) {
        n->round_wanted = true;
        return;
    }
    if (!known && !n->unfinished)
        return;
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
        struct net_policy *p = v;

        tree_append(job->desired, tree_string(name));
        to->name = tree_get_string(tree_at(job->desired, tree_len(job->desired) - 1), "");
        if (p->desired) {
            tree_append(job->desired, tree_copy(p->desired));
            to->desired = tree_at(job->desired, tree_len(job->desired) - 1);
        }
        to->generation = p->generation;
        to->waiting = p->waiting;
        to->held = p->retry_us > now;
        if (p->desired && !p->waiting && !p->told && p->result_generation != p->generation)
            net_say_progressing(n, p);
    }
    qsort(r->policies, r->policies_len, sizeof *r->policies, by_name);
    work_run(n->w, round_fn, round_done, job);
}

static void
round_fn(void *ctx)
{
    struct net_round_job *job = ctx;

    net_round_run(&job->r);
}

static void
round_done(void *ctx)
{
    struct net_round_job *job = ctx;
    struct net_agent *n = job->n;
    struct net_round *r = &job->r;

    n->round = NULL;
    n->rounds++;
    n->unfinished = r->rc != 0 && r->rc != -ECANCELED;
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
        retry_later(n, n->error_pause_us);
        n->error_pause_us = longer(n->error_pause_us);
    }
    if (r->state)
        net_look_observed(n, TAKE_PTR(r->state));
    round_free(job);
    net_say_network(n);
    net_say_policies(n);
    net_look_now(n); /* what happened meanwhile */
    if (n->round_wanted)
        net_agent_round(n, false);
}

static void
round_free(struct net_round_job *job)
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
        struct net_policy *p = strmap_get(n->policies, from->name);

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
        p->unsaid = p->unsaid || p->result_generation != from->generation || p->rc != from->rc ||
                    strcmp(p->message, from->message) != 0;
        p->result_generation = from->generation;
        p->rc = from->rc;
        p->pure = from->pure;
        memcpy(p->reason, from->reason, sizeof p->reason);
        memcpy(p->message, from->message, sizeof p->message);
        if (from->rc == 0 || from->pure) {
            p->retry_us = p->wait_us = 0;
            continue;
        }
        p->wait_us = longer(p->wait_us ? p->wait_us : HANDLER_NET_REPAIR_US);
        p->retry_us = now + p->wait_us;
        if (from->rc != -ETIMEDOUT) /* else it waits for another generation */
            retry_later(n, p->wait_us);
    }
}

static void
take_network(struct net_agent *n, struct net_round_job *job)
{
    struct net_round *r = &job->r;

    if (!r->mig_tried) {
        if (!r->mig_hold) /* its address is not known yet */
            n->link = r->mig_state;
        n->attached = n->attached && r->mig_hold;
        n->holding = r->mig_hold;
        return;
    }
    if (strcmp(n->expect.ifname, r->expect.ifname) != 0)
        n->peers.len = 0;
    n->holding = false;
    objects_done(&n->effect);
    n->effect = job->mig;
    memset(&job->mig, 0, sizeof job->mig);
    n->expect = r->expect;
    n->attached = r->attached;
    n->link = r->mig_state;
    n->found_mtu = n->attached && n->expect.mtu == 0;
    if (n->found_mtu)
        n->expect.mtu = n->link.mtu;
    if (n->attached || n->link.state != MIGNET_BROKEN) {
        n->network_pause_us = HANDLER_NET_REPAIR_US;
        return;
    }
    retry_later(n, n->network_pause_us);
    n->network_pause_us = longer(n->network_pause_us);
}

void
net_agent_repair(struct net_agent *n)
{
    if (loop_now_us(n->l) - n->repaired_us > HANDLER_NET_RETRY_MAX_US) {
        n->repair_pause_us = HANDLER_NET_REPAIR_US;
        n->repairs = 0;
    }
    if (n->network_known && n->enactments_known && !n->repair_timer)
        n->repair_timer = loop_timer_add(n->l, n->repair_pause_us, on_repair_timer, n);
}

/* Repairs of what somebody else changes come at longer and longer intervals. */
static void
backed_off(struct net_agent *n, const struct net_round_job *job)
{
    uint64_t now = loop_now_us(n->l);

    if (!job->by_event)
        return;
    if (job->r.steps > 0) {
        n->repairs++;
        n->repaired_us = now;
        n->repair_pause_us = longer(n->repair_pause_us);
        loop_timer_del(n->repair_timer); /* of the repair's own events */
        n->repair_timer = loop_timer_add(n->l, n->repair_pause_us, on_repair_timer, n);
    }
}

/* Whether what is in effect has to stay for now. Then nothing new is started over it until a round has
 * put something else in its place. */
static bool
must_hold(struct net_agent *n)
{
    if (!n->attached || objects_equal(&n->newest, &n->effect) || !*n->effect.ref ||
        n->hooks.busy(n->hooks.ctx) == 0)
        return false;
    n->holding = true;
    if (!n->hold_timer)
        n->hold_timer = loop_timer_add(n->l, HANDLER_NET_HOLD_US, on_hold, n);
    return true;
}

static void
on_hold(void *ctx)
{
    struct net_agent *n = ctx;

    n->hold_timer = NULL;
    if (must_hold(n))
        net_say_network(n);
    else
        net_agent_round(n, false);
}
