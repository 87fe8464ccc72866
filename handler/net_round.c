/* See net_round.h. The set of what is in effect is a function of the objects: all new versions at
 * once when they agree, else those that do, by name, and the migration network last. */
#include "handler/net_round.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "handler/net_apply.h"
#include "netpolicy/nl_state.h"

#define PROBE_PAUSE_US 200000

/* What may take part in the next change: a policy, in its new version and the one that is in effect,
 * or (the last item) the migration network. */
struct item {
    struct net_round_policy *p;    /* NULL: the network, or a policy that is gone */
    const char *name;              /* of the policy; NULL: the network */
    struct net_wants wants, old;   /* len 0: none */
    struct tree *record;           /* the new version as the journal keeps it; owned */
    const struct tree *old_record; /* likewise, in effect; NULL: none, or it must not stay */
    enum { OUT, NEW, OLD } chosen;
    bool bad; /* the new version must not take part */
};

struct set {
    struct item *items;
    size_t len;
};

static int finish_pending(struct net_round *r, struct net_journal *j);
static void refuse_next(struct net_journal *j, const struct err *why);
static void refuse_policy(struct net_journal *j, const char *name, int64_t generation,
                          const char *why);
static bool answers(struct net_round *r, struct err *err);
static void set_make(struct net_round *r, struct net_journal *j, const struct net_state *now,
                     struct arena *a, struct set *s, struct net_mig_want *mig);
static const struct net_state *without_network(struct net_round *r, const struct net_journal *j,
                                               const struct net_state *now, struct arena *a,
                                               struct set *s);
static void set_choose(struct net_round *r, const struct net_journal *j,
                       const struct net_state *now, struct arena *a, struct set *s);
static bool set_composes(struct net_round *r, const struct net_journal *j,
                         const struct net_state *now, struct arena *a, const struct set *s,
                         const char **ret_reason, struct err *err);
static void set_wants(const struct set *s, struct arena *a, struct net_wants *ret);
static struct tree *set_policies(const struct set *s);
static bool set_changes_policies(const struct set *s, const struct net_journal *j);
static int apply(struct net_round *r, struct net_journal *j, struct arena *a, struct set *s);
static struct item *blame(struct set *s, const struct net_journal *j, const char *ifname);
static bool speaks_of(const struct item *it, const char *ifname);
static bool is_new(const struct item *it, const struct net_journal *j);
static void refuse(struct net_round *r, struct net_journal *j, struct set *s,
                   const struct err *why);
static void item_fails(struct item *it, struct net_round *r, int rc, const char *reason, bool pure,
                       const char *fmt, ...) PRINTF_LIKE(6, 7);
static void network_out(struct net_round *r, const struct set *s, const struct net_mig_want *mig,
                        struct arena *a);

void
net_round_run(struct net_round *r)
{
    struct arena *a = arena_new();
    struct net_journal j = {0};
    struct net_mig_want mig;
    struct net_state now;
    struct set s = {0};

    r->rc = net_journal_load(r->state_dir, &j, &r->err);
    if (r->rc == 0 && j.phase != NET_IDLE)
        r->rc = finish_pending(r, &j);
    if (r->rc == 0 && r->objects_known)
        r->rc = nl_state_read(a, &now, &r->err);
    if (r->rc == 0 && r->objects_known) {
        set_make(r, &j, &now, a, &s, &mig);
        r->rc = apply(r, &j, a, &s);
        if (r->rc == 0)
            network_out(r, &s, &mig, a);
    }
    if (!r->state && nl_state_read(a, &now, NULL) == 0)
        r->state = net_state_tree(&now);
    net_journal_done(&j);
    arena_free(a);
}

/* What a handler that was killed left. A change whose steps it did not finish may have cut it off:
 * it is gone on from only when the controller answers. */
static int
finish_pending(struct net_round *r, struct net_journal *j)
{
    struct err why = {0};

    log_info("network.journal", LS("phase", net_phase_name(j->phase)));
    if (j->phase != NET_BACK && answers(r, &why))
        return j->phase == NET_PROBING ? net_apply_confirm(r->state_dir, j, &r->err) : 0;
    if (j->phase != NET_BACK && r->stopped(r->ctx))
        return err_set(&r->err, -ECANCELED, "the handler ends");
    if (j->phase != NET_BACK)
        refuse_next(j, &why);
    return net_apply_back(r->state_dir, j, &r->err);
}

/* The policies that were new in the change that is under way; saved with what is written next. */
static void
refuse_next(struct net_journal *j, const struct err *why)
{
    for (size_t i = 0; i < tree_len(j->next); i++) {
        const char *name = tree_key_at(j->next, i);
        const struct tree *next = tree_at(j->next, i);

        if (!tree_equal(next, tree_get(j->policies, name)))
            refuse_policy(j, name, tree_get_int(tree_get(next, "generation"), 0), err_msg(why));
    }
    for (size_t i = 0; i < tree_len(j->policies); i++)
        if (!tree_get(j->next, tree_key_at(j->policies, i)))
            refuse_policy(j, tree_key_at(j->policies, i), 0, err_msg(why));
}

/* generation 0: it is gone, and its removal is what was refused. */
static void
refuse_policy(struct net_journal *j, const char *name, int64_t generation, const char *why)
{
    struct tree *no = tree_map();

    tree_set(no, "generation", tree_int(generation));
    tree_set(no, "reason", tree_string("FailedToConfigure"));
    tree_set(no, "message", tree_stringf("%.900s; everything went back to how it was before", why));
    if (!j->refused)
        j->refused = tree_map();
    tree_set(j->refused, name, no);
    log_warn("network.refused", LS("policy", name), LI("generation", generation), LS("error", why));
}

static bool
answers(struct net_round *r, struct err *err)
{
    uint64_t end = clock_mono_us() + r->probe_timeout_us;

    for (;;) {
        struct err why = {0};
        struct timespec t = {0, PROBE_PAUSE_US * 1000L};

        if (r->ask(r->ctx, &why) == 0)
            return true;
        if (clock_mono_us() >= end || r->stopped(r->ctx)) {
            err_set(err, -ETIMEDOUT, "the controller did not answer within %g s: %s",
                    (double)r->probe_timeout_us / 1e6, err_msg(&why));
            return false;
        }
        nanosleep(&t, NULL);
    }
}

static void
set_make(struct net_round *r, struct net_journal *j, const struct net_state *now, struct arena *a,
         struct set *s, struct net_mig_want *mig)
{
    size_t known = tree_len(j->policies);
    struct item *it;

    s->items = arena_calloc(a, r->policies_len + known + 1, sizeof *s->items);
    for (size_t i = 0; i < r->policies_len; i++) {
        struct net_round_policy *p = &r->policies[i];
        const struct tree *old = tree_get(j->policies, p->name);
        const struct tree *no = tree_get(j->refused, p->name);
        char *origin = arena_printf(a, "NodeNetworkConfigurationPolicy %s", p->name);
        struct err err = {0};
        int rc;

        it = &s->items[s->len++];
        *it = (struct item){.p = p, .name = p->name, .old_record = old};
        if (old && net_want_policy(tree_get(old, "desiredState"), origin, a, &it->old, NULL) != 0)
            it->old_record = NULL;
        if (no && tree_get_int(tree_get(no, "generation"), 0) != p->generation) {
            tree_del(j->refused, p->name);
            no = NULL;
        }
        if (no) {
            item_fails(it, r, -ETIMEDOUT, tree_find_string(no, "", "reason", NULL), false, "%s",
                       tree_find_string(no, "", "message", NULL));
            it->bad = true;
            continue;
        }
        if (p->waiting || p->held || !p->desired) {
            it->bad = true;
            continue;
        }

        it->record = tree_map();
        tree_set(it->record, "generation", tree_int(p->generation));
        tree_set(it->record, "desiredState", tree_copy(p->desired));
        rc = net_want_policy(p->desired, origin, a, &it->wants, &err);
        if (rc != 0) {
            item_fails(it, r, rc, rc == -ENOTSUP ? NET_REASON_KIND : NET_REASON_INVALID, true, "%s",
                       err_msg(&err));
            it->bad = true;
        }
    }
    /* Policies that are gone; they stay where their removal cost the connection to the controller. */
    for (size_t i = 0; i < known; i++) {
        const char *name = tree_key_at(j->policies, i);
        const struct tree *no = tree_get(j->refused, name);
        bool there = false;

        for (size_t k = 0; k < r->policies_len && !there; k++)
            there = strcmp(r->policies[k].name, name) == 0;
        if (there)
            continue;
        it = &s->items[s->len++];
        *it = (struct item){.name = name, .bad = true};
        if (net_want_policy(tree_find(tree_at(j->policies, i), "desiredState", NULL),
                            arena_printf(a, "NodeNetworkConfigurationPolicy %s", name), a, &it->old,
                            NULL) == 0 &&
            no && tree_get_int(tree_get(no, "generation"), -1) == 0)
            it->old_record = tree_at(j->policies, i);
    }
    now = without_network(r, j, now, a, s);
    net_mig_want(&r->mig, now, a, mig);
    it = &s->items[s->len++];
    r->mig_state = mig->state;
    r->expect = mig->expect;
    if (mig->keep || r->mig_hold) {
        struct net_mig_want effect;

        net_mig_want(&r->mig_effect, now, a, &effect);
        it->wants = effect.wants;
    } else {
        it->wants = mig->wants;
    }
}

/* The host as policies have it, in which what we made for the migration network is no more: an address
 * on it is no reason to take it for somebody else's interface, which then would go. */
static const struct net_state *
without_network(struct net_round *r, const struct net_journal *j, const struct net_state *now,
                struct arena *a, struct set *s)
{
    const struct net_wants none = {0};
    struct net_baseline base = {0};
    struct net_target *t = arena_alloc(a, sizeof *t);
    struct net_wants wants;
    const char *reason;

    for (size_t i = 0; i < s->len; i++)
        s->items[i].chosen = !s->items[i].bad ? NEW : s->items[i].old_record ? OLD : OUT;
    set_wants(s, a, &wants);
    if ((j->baseline && net_baseline_from_tree(j->baseline, a, &base, NULL) != 0) ||
        (net_compose(now, &base, &wants, r->mgmt, a, t, &reason, NULL) != 0 &&
         net_compose(now, &base, &none, r->mgmt, a, t, &reason, NULL) != 0))
        return now;
    return &t->state;
}

/* Which version of each item takes part, if any. */
static void
set_choose(struct net_round *r, const struct net_journal *j, const struct net_state *now,
           struct arena *a, struct set *s)
{
    const char *reason = NULL;
    struct err err = {0};
    bool more = true;

    for (size_t i = 0; i < s->len; i++) {
        struct item *it = &s->items[i];

        it->chosen = !it->bad ? NEW : it->old_record ? OLD : OUT;
    }
    if (set_composes(r, j, now, a, s, &reason, &err))
        return;
    for (size_t i = 0; i < s->len; i++)
        s->items[i].chosen = OUT;
    /* What one needs another may make: until a turn brings nothing more. Old versions come after all
     * new ones had their chance. */
    for (int version = NEW; version <= OLD; version++)
        for (more = true; more;) {
            more = false;
            for (size_t i = 0; i < s->len; i++) {
                struct item *it = &s->items[i];

                if (it->chosen != OUT || (version == NEW ? it->bad : !it->old_record))
                    continue;
                it->chosen = version;
                if (set_composes(r, j, now, a, s, &reason, &err)) {
                    more = true;
                    continue;
                }
                it->chosen = OUT;
                if (version == NEW)
                    item_fails(it, r, err.code, reason, true, "%s", err_msg(&err));
            }
        }
}

static bool
set_composes(struct net_round *r, const struct net_journal *j, const struct net_state *now,
             struct arena *a, const struct set *s, const char **ret_reason, struct err *err)
{
    struct net_baseline base = {0};
    struct net_target target;
    struct net_wants wants;

    *ret_reason = NET_REASON_INVALID;
    set_wants(s, a, &wants);
    return (!j->baseline || net_baseline_from_tree(j->baseline, a, &base, err) == 0) &&
           net_compose(now, &base, &wants, r->mgmt, a, &target, ret_reason, err) == 0;
}

static void
set_wants(const struct set *s, struct arena *a, struct net_wants *ret)
{
    size_t n = 0;

    for (size_t i = 0; i < s->len; i++)
        n += s->items[i].wants.len + s->items[i].old.len;
    ret->items = arena_calloc(a, n, sizeof *ret->items);
    ret->len = 0;
    for (size_t i = 0; i < s->len; i++) {
        const struct item *it = &s->items[i];
        const struct net_wants *w = it->chosen == OLD ? &it->old : &it->wants;

        for (size_t k = 0; it->chosen != OUT && k < w->len; k++)
            ret->items[ret->len++] = w->items[k];
    }
}

static struct tree *
set_policies(const struct set *s)
{
    struct tree *t = tree_map();

    for (size_t i = 0; i < s->len; i++) {
        const struct item *it = &s->items[i];

        if (it->name && it->chosen != OUT)
            tree_set(t, it->name, tree_copy(it->chosen == NEW ? it->record : it->old_record));
    }
    return t;
}

/* Whether anything that policies ask for differs from what is in effect. */
static bool
set_changes_policies(const struct set *s, const struct net_journal *j)
{
    AUTO_TREE struct tree *t = set_policies(s);

    if (tree_len(t) != tree_len(j->policies))
        return true;
    for (size_t i = 0; i < tree_len(t); i++) {
        const struct tree *old = tree_get(j->policies, tree_key_at(t, i));

        if (!tree_equal(tree_get(tree_at(t, i), "desiredState"), tree_get(old, "desiredState")))
            return true;
    }
    return false;
}

/* Each turn either applies what is left, or puts one item aside. */
static int
apply(struct net_round *r, struct net_journal *j, struct arena *a, struct set *s)
{
    int rc = 0;

    for (size_t turn = 0; turn <= s->len; turn++) {
        AUTO_TREE struct tree *policies = NULL;
        struct net_applied applied = {0};
        struct net_wants wants;
        struct net_state now;
        struct err err = {0};
        struct item *bad;
        bool trial;

        if ((rc = nl_state_read(a, &now, &r->err)) != 0)
            break;
        set_choose(r, j, &now, a, s);
        set_wants(s, a, &wants);
        policies = set_policies(s);
        trial = set_changes_policies(s, j);
        rc = net_apply_change(r->state_dir, j, &wants, r->mgmt, policies, trial, &applied, &err);
        r->steps += applied.steps;
        if (rc == 0 && j->phase == NET_PROBING) {
            if (answers(r, &err)) {
                rc = net_apply_confirm(r->state_dir, j, &r->err);
            } else if (r->stopped(r->ctx)) {
                rc = err_set(&r->err, -ECANCELED, "the handler ends");
                break;
            } else {
                rc = net_apply_back(r->state_dir, j, &r->err);
                if (rc != 0)
                    break;
                refuse(r, j, s, &err);
                if ((rc = net_journal_save(r->state_dir, j, &r->err)) != 0)
                    break;
                continue;
            }
        }
        if (rc == 0)
            break;
        if (j->phase != NET_IDLE || !(bad = blame(s, j, applied.ifname))) {
            r->err = err;
            break;
        }
        item_fails(bad, r, rc, applied.reason, false, "%s", err_msg(&err));
        bad->bad = true;
        rc = 0;
    }
    for (size_t i = 0; i < s->len; i++) {
        struct item *it = &s->items[i];

        if (it->p && it->chosen == NEW && rc == 0) {
            it->p->tried = true;
            it->p->rc = 0;
        }
        net_journal_set(&it->record, NULL);
    }
    return rc;
}

/* Who is to be put aside when a step on that interface failed: best a policy that is new and speaks of
 * it, then the network when it does, then a policy that was in effect and speaks of it. */
static struct item *
blame(struct set *s, const struct net_journal *j, const char *ifname)
{
    struct item *best = NULL;
    int best_score = 0;

    for (size_t i = 0; i < s->len; i++) {
        struct item *it = &s->items[i];
        int score;

        if (it->chosen != NEW || it->wants.len == 0)
            continue;
        if (*ifname && speaks_of(it, ifname))
            score = !it->name ? 4 : is_new(it, j) ? 5 : 3;
        else
            score = !it->name ? 1 : is_new(it, j) ? 2 : 0;
        if (score > 0 && score >= best_score) {
            best = it;
            best_score = score;
        }
    }
    if (best && best->name && !is_new(best, j))
        best->old_record = NULL; /* it is no way out */
    return best;
}

static bool
speaks_of(const struct item *it, const char *ifname)
{
    for (size_t k = 0; k < it->wants.len; k++) {
        const struct net_want *w = &it->wants.items[k];

        if (strcmp(w->link.name, ifname) == 0 || strcmp(w->link.base, ifname) == 0)
            return true;
        for (size_t n = 0; n < w->ports_len; n++)
            if (strcmp(w->ports[n], ifname) == 0)
                return true;
    }
    return false;
}

/* Whether a policy's new version differs from what is in effect. */
static bool
is_new(const struct item *it, const struct net_journal *j)
{
    const struct tree *old = tree_get(j->policies, it->name);

    return !old || !tree_equal(tree_get(old, "desiredState"), tree_get(it->record, "desiredState"));
}

/* The controller was lost with this change: none of the policies that were new in it is tried again
 * until it changes. */
static void
refuse(struct net_round *r, struct net_journal *j, struct set *s, const struct err *why)
{
    for (size_t i = 0; i < s->len; i++) {
        struct item *it = &s->items[i];
        const struct tree *old = it->name ? tree_get(j->policies, it->name) : NULL;

        if (it->p && it->chosen == NEW && is_new(it, j)) {
            refuse_policy(j, it->name, it->p->generation, err_msg(why));
            item_fails(it, r, -ETIMEDOUT, "FailedToConfigure", false, "%s",
                       tree_find_string(j->refused, "", it->name, "message", NULL));
        } else if (it->name && !it->p && it->chosen == OUT && old) {
            it->old_record = old; /* it stays */
            refuse_policy(j, it->name, 0, err_msg(why));
        } else {
            continue;
        }
        it->bad = true;
    }
}

static void
item_fails(struct item *it, struct net_round *r, int rc, const char *reason, bool pure,
           const char *fmt, ...)
{
    char text[ERR_MSG_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (it->p) {
        it->p->tried = true;
        it->p->rc = rc;
        it->p->pure = pure;
        snprintf(it->p->reason, sizeof it->p->reason, "%s", reason);
        memcpy(it->p->message, text, sizeof text);
    } else if (!it->name) {
        net_mig_broken(&r->mig_state, r->mig.ref, reason, "%s", text);
    }
}

/* What the migration network is now, read back. */
static void
network_out(struct net_round *r, const struct set *s, const struct net_mig_want *mig,
            struct arena *a)
{
    const struct item *it = &s->items[s->len - 1];
    struct net_mig_expect found;
    struct net_state now;

    if (nl_state_read(a, &now, NULL) != 0)
        return;
    r->state = net_state_tree(&now);
    r->mig_tried = !mig->keep && !r->mig_hold;
    if (mig->state.state != MIGNET_READY || !r->mig_tried)
        return;
    if (it->chosen != NEW) { /* the kernel refused; what is right already is used all the same */
        if (strcmp(r->mig_state.code, NET_REASON_PERMISSION) != 0 ||
            !net_mig_find(&r->mig, &now, a, &found))
            return;
        r->expect = found;
    }
    r->attached = true;
    net_mig_check(&r->expect, r->mig.ref, &now, &r->mig_state);
}
