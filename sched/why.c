/* All that is in the way on a node; see why.h. What a rule is about in more detail is in why_*.c. */
#include "sched/why.h"

#include <string.h>

#include "api/names.h"
#include "sched/explain.h"

static void why_source(struct why_ctx *w);
static void why_cordon(struct why_ctx *w);
static void why_target(struct why_ctx *w);
static void why_ready(struct why_ctx *w);
static void why_handler(struct why_ctx *w);
static void why_workload(struct why_ctx *w);
static void why_taints(struct why_ctx *w);
static void why_affinity(struct why_ctx *w);
static void why_network(struct why_ctx *w);
static void why_pinned(struct why_ctx *w);

static const struct {
    const char *rule;
    void (*describe)(struct why_ctx *w); /* called when the filter refuses the node */
} rules[FILTERS] = {
    [FILTER_SOURCE] = {"Source", why_source},
    [FILTER_UNSCHEDULABLE] = {"NodeUnschedulable", why_cordon},
    [FILTER_TARGET] = {"NodeName", why_target},
    [FILTER_READY] = {"NodeReady", why_ready},
    [FILTER_HANDLER] = {"Handler", why_handler},
    [FILTER_WORKLOAD] = {"WorkloadPlacement", why_workload},
    [FILTER_TAINTS] = {"TaintToleration", why_taints},
    [FILTER_AFFINITY] = {"NodeAffinity", why_affinity},
    [FILTER_CPU] = {"CPU", why_cpu},
    [FILTER_HOST] = {"Host", why_host},
    [FILTER_FIT] = {"NodeResourcesFit", why_fit},
    [FILTER_NUMA] = {"NUMA", why_numa},
    [FILTER_VOLUMES] = {"VolumeBinding", why_volumes},
    [FILTER_SPREAD] = {"PodTopologySpread", why_spread},
    [FILTER_PEERS] = {"InterPodAffinity", why_peers},
    [FILTER_NETWORK] = {"MigrationNetwork", why_network},
};

struct why_list
why_node(const struct request *r, const struct cluster_node *n)
{
    struct why_ctx w = {.r = r, .n = n, .a = r->arena};

    if (!filter_looks_at(r, n))
        why_pinned(&w);
    for (enum filter f = 0; f < FILTERS; f++) {
        struct str_list reasons = {0};

        filter_run(r, n, f, &reasons);
        w.rule = rules[f].rule;
        if (reasons.len > 0)
            rules[f].describe(&w);
    }
    return w.list;
}

void
why_add(struct why_ctx *w, const char *wanted, const char *has, int cost, const char *change)
{
    struct why_list *l = &w->list;

    if (l->len == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct why *items = arena_calloc(w->a, cap, sizeof(*items));

        if (l->len > 0)
            memcpy(items, l->items, l->len * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->len++] =
        (struct why){.rule = w->rule, .wanted = wanted, .has = has, .change = change, .cost = cost};
}

const char *
why_label(const struct why_ctx *w, const char *key)
{
    const char *value = node_labels_get(&w->n->labels, key);

    return value ? arena_printf(w->a, "%s=%s", key, value) : arena_printf(w->a, "no label %s", key);
}

static void
why_source(struct why_ctx *w)
{
    why_add(w, "another node than the one it leaves", "the VM itself", WHY_COST_NEVER, NULL);
}

static void
why_cordon(struct why_ctx *w)
{
    why_add(w, "a node that takes VMs", "a cordon", WHY_COST_CORDON,
            arena_printf(w->a, "uncordon %s", w->n->name));
}

static void
why_target(struct why_ctx *w)
{
    why_add(w, arena_printf(w->a, "node %s, by name", w->r->target),
            arena_printf(w->a, "the name %s", w->n->name), WHY_COST_NEVER, NULL);
}

static void
why_ready(struct why_ctx *w)
{
    const struct condition_list *l = &w->n->node->conditions;
    const char *status = "not True", *message = NULL;

    for (size_t i = 0; i < l->len; i++) {
        if (l->items[i].type && strcmp(l->items[i].type, "Ready") == 0) {
            status = l->items[i].status ? l->items[i].status : status;
            message = l->items[i].message;
        }
    }
    why_add(w, "condition Ready True",
            message && *message ? arena_printf(w->a, "Ready %s: %s", status, message)
                                : arena_printf(w->a, "Ready %s", status),
            WHY_COST_HANDLER, arena_printf(w->a, "make %s ready", w->n->name));
}

static void
why_handler(struct why_ctx *w)
{
    const struct cluster *c = w->r->c;
    const char *change = arena_printf(w->a, "start drover-handler on %s", w->n->name);

    if (w->n->schedulable ? strcmp(w->n->schedulable, "true") != 0 : !c->from_files)
        why_add(w, "label " LABEL_SCHEDULABLE "=true", why_label(w, LABEL_SCHEDULABLE),
                WHY_COST_HANDLER, change);
    else if (w->n->heartbeat_us == CLUSTER_NO_HEARTBEAT)
        why_add(w,
                arena_printf(w->a, "a heartbeat younger than %lld s",
                             (long long)c->heartbeat_timeout_s),
                "none", WHY_COST_HANDLER, change);
    else
        why_add(w,
                arena_printf(w->a, "a heartbeat younger than %lld s",
                             (long long)c->heartbeat_timeout_s),
                arena_printf(w->a, "one that is %lld s old",
                             (long long)((c->now_us - w->n->heartbeat_us) / 1000000)),
                WHY_COST_HANDLER, change);
}

static void
why_workload(struct why_ctx *w)
{
    why_selection(w, &w->r->workload, "workloads.nodePlacement");
}

static void
why_taints(struct why_ctx *w)
{
    const struct node *n = w->n->node;

    for (size_t i = 0; i < n->taints_len; i++) {
        const struct taint *t = &n->taints[i];
        const char *text;

        if (!t->effect || strcmp(t->effect, "PreferNoSchedule") == 0 ||
            taint_tolerated(&w->r->tolerations, t))
            continue;
        text = arena_printf(w->a, "%s%s%s:%s", t->key ? t->key : "",
                            t->value && *t->value ? "=" : "", t->value ? t->value : "", t->effect);
        why_add(w, arena_printf(w->a, "no taint %s, or a toleration for it", text),
                arena_printf(w->a, "taint %s", text), WHY_COST_TAINT,
                arena_printf(w->a, "tolerate %s or take that taint from %s", text, w->n->name));
    }
}

static void
why_affinity(struct why_ctx *w)
{
    if (w->r->enforced.has_required &&
        !node_terms_match(&w->r->enforced, &w->n->labels, w->n->name))
        why_selection(w, &w->r->enforced, "the profile's addedAffinity");
    if (!node_terms_match(&w->r->nodes, &w->n->labels, w->n->name))
        why_selection(w, &w->r->nodes, "its node selector or affinity");
}

static void
why_network(struct why_ctx *w)
{
    why_add(w, "a ready migration network", "condition " PLACE_NETWORK_CONDITION " False",
            WHY_COST_HANDLER,
            arena_printf(w->a, "make the migration network work on %s", w->n->name));
}

static void
why_pinned(struct why_ctx *w)
{
    const char *names = "";

    for (size_t i = 0; i < w->r->nodes.pins.len; i++)
        names = arena_printf(w->a, "%s%s%s", names, i > 0 ? " or " : "", w->r->nodes.pins.items[i]);
    w->rule = "NodeAffinity";
    why_add(w, arena_printf(w->a, "node %s, by name", *names ? names : "of two names at once"),
            arena_printf(w->a, "the name %s", w->n->name), WHY_COST_NEVER, NULL);
}
