/* See net_apply.h. */
#include "handler/net_apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "netpolicy/nl_state.h"

/* What was read back may differ because somebody else changed something meanwhile: it is done again
 * before it counts as a failure. */
#define PASSES 3

static int reach(const struct net_baseline *base, const struct net_wants *wants,
                 const struct ip *mgmt, bool going_back, struct net_applied *ret, struct err *err);
static int do_steps(const struct net_plan *plan, bool going_back, struct net_applied *ret,
                    struct err *err);
static struct tree *way_back(const struct net_state *now, const struct net_state *target,
                             const struct net_plan *plan, const struct tree *older,
                             struct arena *a);
static int parse_baseline(const struct tree *t, struct arena *a, struct net_baseline *ret,
                          struct err *err);

int
net_apply_change(const char *state_dir, struct net_journal *j, const struct net_wants *wants,
                 const struct ip *mgmt, const struct tree *policies, bool trial,
                 struct net_applied *ret, struct err *err)
{
    struct arena *a = arena_new();
    struct net_baseline base = {0};
    struct net_target target;
    struct net_state now;
    struct net_plan plan;
    struct err back_err = {0};
    AUTO_TREE struct tree *after = NULL;
    int rc;

    *ret = (struct net_applied){.reason = NET_REASON_KERNEL};
    if ((rc = parse_baseline(j->baseline, a, &base, err)) != 0 ||
        (rc = nl_state_read(a, &now, err)) != 0 ||
        (rc = net_compose(&now, &base, wants, mgmt, a, &target, &ret->reason, err)) != 0)
        goto out;
    net_plan_make(&now, &target.state, a, &plan);
    after = net_baseline_tree(&target.after);
    if (plan.len == 0 && j->phase == NET_IDLE && tree_equal(after, j->baseline) &&
        tree_equal(policies, j->policies))
        goto out;
    if (plan.len == 0) { /* only what is remembered changes */
        net_journal_set(&j->baseline, TAKE_PTR(after));
        net_journal_set(&j->policies, tree_copy(policies));
        net_journal_idle(j);
        rc = net_journal_save(state_dir, j, err);
        goto out;
    }
    if (j->phase == NET_IDLE)
        net_journal_set(&j->prior, tree_copy(j->baseline));
    net_journal_set(&j->back, way_back(&now, &target.state, &plan, j->back, a));
    net_journal_set(&j->baseline, net_baseline_tree(&target.before));
    net_journal_set(&j->after, TAKE_PTR(after));
    net_journal_set(&j->next, tree_copy(policies));
    j->phase = NET_APPLYING;
    rc = net_journal_save(state_dir, j, err);
    if (rc != 0) { /* nothing was done */
        net_journal_set(&j->baseline, TAKE_PTR(j->prior));
        net_journal_idle(j);
        goto out;
    }
    if (FAULT(NET_CHANGE_JOURNALED))
        rc = err_set(err, -EIO, "fault point net.change.journaled");
    else
        rc = reach(&target.before, wants, mgmt, false, ret, err);
    if (rc == 0 && FAULT(NET_CHANGE_DONE))
        rc = err_set(err, -EIO, "fault point net.change.done");
    if (rc == 0) {
        j->phase = NET_PROBING;
        rc = trial ? net_journal_save(state_dir, j, err) : net_apply_confirm(state_dir, j, err);
    }
    if (rc != 0 && net_apply_back(state_dir, j, &back_err) != 0)
        log_error("network.back", LS("error", err_msg(&back_err)));
out:
    arena_free(a);
    return rc;
}

int
net_apply_confirm(const char *state_dir, struct net_journal *j, struct err *err)
{
    net_journal_set(&j->baseline, TAKE_PTR(j->after));
    net_journal_set(&j->policies, TAKE_PTR(j->next));
    net_journal_idle(j);
    return net_journal_save(state_dir, j, err);
}

int
net_apply_back(const char *state_dir, struct net_journal *j, struct err *err)
{
    const struct net_wants nothing = {0};
    struct arena *a = arena_new();
    struct net_baseline back = {0};
    struct net_applied applied = {0};
    int rc = parse_baseline(j->back, a, &back, err);

    if (rc == 0) {
        j->phase = NET_BACK;
        rc = net_journal_save(state_dir, j, err);
    }
    if (rc == 0)
        rc = reach(&back, &nothing, NULL, true, &applied, err);
    if (rc == 0) {
        net_journal_set(&j->baseline, TAKE_PTR(j->prior));
        net_journal_idle(j);
        rc = net_journal_save(state_dir, j, err);
    }
    arena_free(a);
    return rc ? err_prefix(err, rc, "going back to how the network was before") : 0;
}

int
net_apply_leave(const char *state_dir, unsigned *ret_steps, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/network.json", state_dir);
    const struct net_wants nothing = {0};
    struct arena *a = arena_new();
    struct net_journal j = {0};
    struct net_baseline base = {0};
    struct net_applied applied = {0};
    AUTO_FD int lock = -1;
    int rc = net_journal_lock(state_dir, true, &lock, err);

    if (rc == 0)
        rc = net_journal_load(state_dir, &j, err);
    /* Of a change that is under way, the baseline knows all that it touches. */
    if (rc == 0)
        rc = parse_baseline(j.baseline, a, &base, err);
    if (rc == 0)
        rc = reach(&base, &nothing, NULL, true, &applied, err);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
    net_journal_done(&j);
    arena_free(a);
    *ret_steps = applied.steps;
    return rc;
}

/* From how things are, whatever that is, to what base and wants make of it. */
static int
reach(const struct net_baseline *base, const struct net_wants *wants, const struct ip *mgmt,
      bool going_back, struct net_applied *ret, struct err *err)
{
    char text[160] = "";
    int rc = 0, last = 0;

    for (int pass = 0; pass <= PASSES; pass++) {
        struct arena *a = arena_new();
        struct net_target target;
        struct net_state now;
        struct net_plan plan = {0};

        ret->reason = NET_REASON_KERNEL;
        ret->ifname[0] = '\0';
        if ((rc = nl_state_read(a, &now, err)) != 0 ||
            (rc = net_compose(&now, base, wants, mgmt, a, &target, &ret->reason, err)) != 0) {
            arena_free(a);
            return rc;
        }
        net_plan_make(&now, &target.state, a, &plan);
        if (plan.len > 0 && pass == PASSES) {
            net_step_text(&plan.steps[0], text, sizeof text);
            memcpy(ret->ifname, plan.steps[0].link.name, sizeof ret->ifname);
        } else {
            rc = do_steps(&plan, going_back, ret, err);
        }
        arena_free(a);
        if ((rc != 0 && !going_back) || plan.len == 0)
            return rc;
        if (pass < PASSES)
            last = rc; /* what cannot go back now may when the rest has */
    }
    return last ? last
                : err_set(err, -EAGAIN,
                          "did not last: \"%s\" was done %d times; something else changes it", text,
                          PASSES);
}

static int
do_steps(const struct net_plan *plan, bool going_back, struct net_applied *ret, struct err *err)
{
    int first = 0;

    for (size_t i = 0; i < plan->len; i++) {
        const struct net_step *s = &plan->steps[i];
        struct err why = {0};
        char text[160];
        int rc;

        net_step_text(s, text, sizeof text);
        if (going_back ? FAULT(NET_BACK_STEP) : FAULT(NET_CHANGE_STEP))
            rc = err_set(&why, -EIO, "fault point net.%s.step", going_back ? "back" : "change");
        else
            rc = nl_step_apply(s, &why);
        if (rc == 0) {
            ret->steps++;
            log_info("network.step", LS("step", text), LS("for", going_back ? "back" : "change"));
            continue;
        }
        log_warn("network.step", LS("step", text), LS("error", err_msg(&why)));
        if (!first) {
            first = err_set(err, rc, "%s: %s", text, err_msg(&why));
            ret->reason = nl_step_reason(rc);
            memcpy(ret->ifname, s->link.name, sizeof ret->ifname);
        }
        if (!going_back)
            break;
    }
    return first;
}

static int
by_name(const void *a, const void *b)
{
    const struct net_before *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* As things are now, of what the steps touch; where an older change was not over, as they were before
 * that. */
static struct tree *
way_back(const struct net_state *now, const struct net_state *target, const struct net_plan *plan,
         const struct tree *older, struct arena *a)
{
    struct net_baseline b = {0};
    struct net_before *to;

    parse_baseline(older, a, &b, NULL);
    to = arena_calloc(a, b.len + plan->touched_len, sizeof *to);
    if (b.len > 0)
        memcpy(to, b.items, b.len * sizeof *to);
    b.items = to;
    for (size_t i = 0; i < plan->touched_len; i++) {
        const struct net_touched *t = &plan->touched[i];
        const struct net_link *l = net_state_find(now, t->name);
        const struct net_link *made = net_state_find(target, t->name);
        size_t k = 0;

        while (k < b.len && strcmp(b.items[k].name, t->name) != 0)
            k++;
        to = &b.items[k];
        if (k == b.len) {
            b.len++;
            memcpy(to->name, t->name, sizeof to->name);
            to->existed = l != NULL;
            to->fields = t->fields;
            if (l) {
                to->link = *l;
            } else {
                memcpy(to->link.name, t->name, sizeof to->link.name);
                to->link.kind = made ? made->kind : NET_OTHER;
            }
        } else if (to->existed && l) { /* more of it is touched now */
            net_link_take(&to->link, l, t->fields & ~to->fields, a);
            to->fields |= t->fields;
        }
    }
    qsort(b.items, b.len, sizeof *b.items, by_name);
    return net_baseline_tree(&b);
}

static int
parse_baseline(const struct tree *t, struct arena *a, struct net_baseline *ret, struct err *err)
{
    int rc = t ? net_baseline_from_tree(t, a, ret, err) : 0;

    return rc ? err_prefix(err, rc, "network.json") : 0;
}
