/* Filters on the node's own state: cordon, explicit target, the migration's source, readiness, the
 * handler's heartbeat. */
#include <string.h>

#include "api/names.h"
#include "sched/explain.h"
#include "sched/filter.h"

void
filter_source(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (r->migrate && strcmp(n->name, r->source_name) == 0)
        explain_add(reasons, r->arena, "node(s) were the source of the migration");
}

void
filter_unschedulable(const struct request *r, const struct cluster_node *n,
                     struct str_list *reasons)
{
    static const struct taint cordon = {.key = TAINT_UNSCHEDULABLE, .effect = "NoSchedule"};

    if (n->node->unschedulable && !taint_tolerated(&r->tolerations, &cordon))
        explain_add(reasons, r->arena, "node(s) were unschedulable");
}

void
filter_target(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (r->target && strcmp(n->name, r->target) != 0)
        explain_add(reasons, r->arena, "node(s) didn't match the requested node name");
}

/* The condition Ready, where the node has it; kube-scheduler relies on the taints that follow. */
void
filter_ready(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (n->not_ready)
        explain_add(reasons, r->arena, "node(s) were not ready");
}

/* VMs go to no node whose handler has not been heard, whatever its condition says. */
void
filter_handler(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    bool must_have = r->c->heartbeat_timeout_s > 0 && !r->c->from_files;

    if (n->schedulable ? strcmp(n->schedulable, "true") != 0 : must_have)
        explain_add(reasons, r->arena, "node(s) didn't have label kubevirt.io/schedulable=true");
    else if (filter_heartbeat_missing(r->c, n))
        explain_add(reasons, r->arena, "node(s) had no recent virt-handler heartbeat");
}

void
filter_network(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    if (r->needs_network && n->no_network)
        explain_add(reasons, r->arena, PLACE_NETWORK_REASON);
}

bool
filter_heartbeat_missing(const struct cluster *c, const struct cluster_node *n)
{
    int64_t age_us;

    if (c->heartbeat_timeout_s <= 0)
        return false;
    if (n->heartbeat_us == CLUSTER_NO_HEARTBEAT)
        return !c->from_files;
    return __builtin_sub_overflow(c->now_us, n->heartbeat_us, &age_us) ||
           age_us / 1000000 >= c->heartbeat_timeout_s;
}
