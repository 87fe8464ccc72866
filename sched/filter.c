/* The chain of filters. Order: kube-scheduler's default profile, with ours put in: what the node is,
 * what it may run, what the VM wants, what its CPU can, room, the neighbours. */
#include "sched/filter.h"

#include <string.h>

#include "sched/explain.h"
#include "sched/numa.h"

static bool run(const struct request *r, const struct cluster_node *n, struct str_list *reasons,
                enum filter until);
static void filter_workload(const struct request *r, const struct cluster_node *n,
                            struct str_list *reasons);
static void filter_taints(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);
static void filter_affinity(const struct request *r, const struct cluster_node *n,
                            struct str_list *reasons);
static void filter_cpu(const struct request *r, const struct cluster_node *n,
                       struct str_list *reasons);
static void filter_host(const struct request *r, const struct cluster_node *n,
                        struct str_list *reasons);
static void filter_numa(const struct request *r, const struct cluster_node *n,
                        struct str_list *reasons);
static void filter_volumes(const struct request *r, const struct cluster_node *n,
                           struct str_list *reasons);
static void filter_spread(const struct request *r, const struct cluster_node *n,
                          struct str_list *reasons);
static void filter_peers(const struct request *r, const struct cluster_node *n,
                         struct str_list *reasons);

enum helps { NO, YES, BY_REASON }; /* does it help when others leave the node? */

static const struct {
    filter_fn fn;
    enum helps leaving;
    bool for_pods; /* kube-scheduler has it, too */
    bool wish; /* somebody's rule, which a forced target overrides; the others are the VM's needs */
} filters[FILTERS] = {
    [FILTER_SOURCE] = {filter_source, NO, false, false},
    [FILTER_UNSCHEDULABLE] = {filter_unschedulable, NO, true, true},
    [FILTER_TARGET] = {filter_target, NO, true, false},
    [FILTER_READY] = {filter_ready, NO, false, false},
    [FILTER_HANDLER] = {filter_handler, NO, false, false},
    [FILTER_WORKLOAD] = {filter_workload, NO, false, true},
    [FILTER_TAINTS] = {filter_taints, NO, true, true},
    [FILTER_AFFINITY] = {filter_affinity, NO, true, true},
    [FILTER_CPU] = {filter_cpu, NO, false, false},
    [FILTER_HOST] = {filter_host, NO, false, false},
    [FILTER_FIT] = {filter_fit, YES, true, false},
    [FILTER_NUMA] = {filter_numa, YES, false, false},
    [FILTER_VOLUMES] = {filter_volumes, NO, false, false},
    [FILTER_SPREAD] = {filter_spread, BY_REASON, true, true},
    [FILTER_PEERS] = {filter_peers, BY_REASON, true, true},
    /* last: what it refuses would do but for the network */
    [FILTER_NETWORK] = {filter_network, NO, false, false},
};

bool
filter_node(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    return run(r, n, reasons, FILTERS);
}

bool
filter_static(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    return run(r, n, reasons, FILTER_FIT);
}

const char *
filter_all_refused(const struct request *r)
{
    if (r->nodes.pinned && r->nodes.pins.len == 0 && !r->forced)
        return FILTER_CONFLICT;
    return r->volumes.refused;
}

/* A name in every required term: kube-scheduler does not even look at other nodes. */
bool
filter_looks_at(const struct request *r, const struct cluster_node *n)
{
    return !r->nodes.pinned || r->forced || node_terms_pins(&r->nodes, n->name);
}

void
filter_run(const struct request *r, const struct cluster_node *n, enum filter f,
           struct str_list *reasons)
{
    if ((filters[f].for_pods || r->is_vm) && !(filters[f].wish && r->forced))
        filters[f].fn(r, n, reasons);
}

bool
filter_resolvable(const struct request *r, const struct cluster_node *n)
{
    struct str_list reasons = {0};

    if (filter_all_refused(r) || !filter_looks_at(r, n))
        return false;
    for (enum filter f = 0; f < FILTERS; f++) {
        filter_run(r, n, f, &reasons);
        if (reasons.len > 0)
            return filters[f].leaving == YES || (filters[f].leaving == BY_REASON &&
                                                 strcmp(reasons.items[0], SPREAD_NO_KEY) != 0 &&
                                                 strcmp(reasons.items[0], PEERS_NOT_NEAR) != 0);
    }
    return false;
}

/* until: the first filter that is not run. */
static bool
run(const struct request *r, const struct cluster_node *n, struct str_list *reasons,
    enum filter until)
{
    const char *all = filter_all_refused(r);

    if (all || !filter_looks_at(r, n)) {
        explain_add(reasons, r->arena,
                    all ? all : "node(s) didn't satisfy plugin(s) [NodeAffinity]");
        return false;
    }
    for (enum filter f = 0; f < until; f++) {
        filter_run(r, n, f, reasons);
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
filter_host(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    host_rule_check(&r->host, n, r->arena, reasons);
}

static void
filter_numa(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (!numa_fits(r->c, &r->vmi->spec, n, r->self))
        explain_add(reasons, r->arena, NUMA_REASON);
}

static void
filter_volumes(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    volumes_check(r->c, &r->volumes, n, r->arena, reasons);
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
