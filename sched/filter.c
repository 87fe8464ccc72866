/* The chain of filters. Order: kube-scheduler's default profile, with ours put in: what the node is,
 * what it may run, what the VM wants, what its CPU can, room, the neighbours. */
#include "sched/filter.h"

#include <string.h>

#include "sched/explain.h"

static bool run(const struct request *r, const struct cluster_node *n, struct str_list *reasons,
                filter_fn until);
static void filter_workload(const struct request *r, const struct cluster_node *n,
                            struct str_list *reasons);
static void filter_taints(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);
static void filter_affinity(const struct request *r, const struct cluster_node *n,
                            struct str_list *reasons);
static void filter_cpu(const struct request *r, const struct cluster_node *n,
                       struct str_list *reasons);
static void filter_spread(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);
static void filter_peers(const struct request *r, const struct cluster_node *n,
                         struct str_list *reasons);

enum helps { NO, YES, BY_REASON }; /* does it help when others leave the node? */

static const struct {
    filter_fn fn;
    bool for_pods; /* kube-scheduler has it, too */
    enum helps leaving;
} filters[] = {
    {filter_source, false, NO},  {filter_unschedulable, true, NO}, {filter_target, true, NO},
    {filter_ready, false, NO},   {filter_handler, false, NO},      {filter_workload, false, NO},
    {filter_taints, true, NO},   {filter_affinity, true, NO},      {filter_cpu, false, NO},
    {filter_fit, true, YES},     {filter_spread, true, BY_REASON}, {filter_peers, true, BY_REASON},
    {filter_network, false, NO}, /* last: what it refuses would do but for the network */
};

bool
filter_node(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    return run(r, n, reasons, NULL);
}

bool
filter_static(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    return run(r, n, reasons, filter_fit);
}

bool
filter_resolvable(const struct request *r, const struct cluster_node *n)
{
    struct str_list reasons = {0};

    if (r->nodes.pinned && !node_terms_pins(&r->nodes, n->name))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        if (!filters[i].for_pods && !r->is_vm)
            continue;
        filters[i].fn(r, n, &reasons);
        if (reasons.len > 0)
            return filters[i].leaving == YES || (filters[i].leaving == BY_REASON &&
                                                 strcmp(reasons.items[0], SPREAD_NO_KEY) != 0 &&
                                                 strcmp(reasons.items[0], PEERS_NOT_NEAR) != 0);
    }
    return false;
}

/* until: the first filter that is not run, or NULL. */
static bool
run(const struct request *r, const struct cluster_node *n, struct str_list *reasons,
    filter_fn until)
{
    /* a name in every required term: kube-scheduler does not even look at other nodes */
    if (r->nodes.pinned && !node_terms_pins(&r->nodes, n->name)) {
        explain_add(reasons, r->arena,
                    r->nodes.pins.len == 0 ? FILTER_CONFLICT
                                           : "node(s) didn't satisfy plugin(s) [NodeAffinity]");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(filters) && filters[i].fn != until; i++) {
        if (!filters[i].for_pods && !r->is_vm)
            continue;
        filters[i].fn(r, n, reasons);
        if (reasons->len > 0)
            return false;
    }
    return true;
}

/* Where the cluster's administrator lets VMs run: HyperConverged spec.workloads.nodePlacement. Its
 * tolerations let the handler run there; a VM needs its own. */
static void
filter_workload(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (!node_terms_match(&r->workload, &n->labels, n->name))
        explain_add(reasons, r->arena, "node(s) didn't match workloads node placement");
}

static void
filter_taints(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    const struct taint *t = taint_first_untolerated(&r->tolerations, n->node);

    if (t)
        explain_addf(reasons, r->arena, "node(s) had untolerated taint {%s: %s}",
                     t->key ? t->key : "", t->value ? t->value : "");
}

static void
filter_affinity(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (r->enforced.has_required && !node_terms_match(&r->enforced, &n->labels, n->name))
        explain_add(reasons, r->arena, "node(s) didn't match scheduler-enforced node affinity");
    else if (!node_terms_match(&r->nodes, &n->labels, n->name))
        explain_add(reasons, r->arena, "node(s) didn't match Pod's node affinity/selector");
}

static void
filter_cpu(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    cpu_rule_check(&r->cpu, n, r->arena, reasons);
}

static void
filter_spread(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    const char *why = spread_check(r->spread, n);

    if (why)
        explain_add(reasons, r->arena, why);
}

static void
filter_peers(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    const char *why = peers_check(r->peers, n);

    if (why)
        explain_add(reasons, r->arena, why);
}
