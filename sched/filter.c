/* The chain of filters. Order: kube-scheduler's default profile, with ours put in: what the node is,
 * what it may run, what the VM wants, what its CPU can, room, the neighbours. */
#include "sched/filter.h"

#include "sched/explain.h"

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

static const struct {
    filter_fn fn;
    bool for_pods; /* kube-scheduler has it, too */
} filters[] = {
    {filter_source, false},  {filter_unschedulable, true}, {filter_target, true},
    {filter_ready, false},   {filter_handler, false},      {filter_workload, false},
    {filter_taints, true},   {filter_affinity, true},      {filter_cpu, false},
    {filter_fit, true},      {filter_spread, true},        {filter_peers, true},
    {filter_network, false}, /* last: what it refuses would do but for the network */
};

bool
filter_node(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    /* a name in every required term: kube-scheduler does not even look at other nodes */
    if (r->nodes.pinned && !node_terms_pins(&r->nodes, n->name)) {
        explain_add(reasons, r->arena,
                    r->nodes.pins.len == 0 ? FILTER_CONFLICT
                                           : "node(s) didn't satisfy plugin(s) [NodeAffinity]");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
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
    if (!node_terms_match(&r->nodes, &n->labels, n->name))
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
