/* Where a migration may go: the settings it needs (policy, dedicated network) and the node that
 * placement names. What cannot be searched for, and what fits nowhere, is explained. Part of the
 * migration loop. */
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "control/loop_migration.h"
#include "control/loop_place.h"
#include "control/loop_policy.h"
#include "control/network_check.h"
#include "netpolicy/nad.h"

static bool network_in_the_way(struct loops *l, struct migration *mg, const char *network);
static void unschedulable(struct migration *mg, const struct queued *q);
static void blocked(struct loops *l, struct migration *mg, const char *reason, const char *message);

void
loop_target_find(struct loops *l, struct migration *mg)
{
    struct policy_decision policy;
    struct loop_placed p;
    struct place_request rq = {
        .vmi = mg->v,
        .purpose = PLACE_MIGRATE,
        .target = kv_get(&mg->m->meta.annotations, ANN_MIGRATION_TARGET),
        .added_node_selector = &mg->m->added_node_selector,
    };
    const char *force = kv_get(&mg->m->meta.annotations, ANN_MIGRATION_FORCE);
    struct queued *q = loop_queue_find(l->queue, mg->m->meta.uid);

    if (q && q->state != QUEUE_READY) {
        unschedulable(mg, q);
        return;
    }
    loop_policy_decide(l, mg->v, &policy);
    if (loop_place_stale(l, mg->v->status.node_name, NULL)) {
        blocked(l, mg, "SourceNotReady",
                arena_printf(l->arena, "waiting: the handler of source node %s does not answer",
                             mg->v->status.node_name));
        return;
    }
    if (policy.effective.network && network_in_the_way(l, mg, policy.effective.network))
        return;
    rq.force = force && strcmp(force, "true") == 0;
    rq.needs_network = policy.effective.network != NULL;
    p = loop_place(l, &rq);
    if (p.node) {
        loop_queue_drop(l->queue, mg->m->meta.uid);
        mg->seen.target = COORD_TARGET_FOUND;
        mg->seen.target_node = p.node;
        mg->target = p.node;
        mg->target_result = p.result;
        return;
    }
    mg->target_result = loop_place_refusal(l, &rq, p.message);
    q = loop_queue_add(l->queue, KIND_VMIM, &mg->m->meta, 0, mg->m->meta.creation_us);
    loop_queue_park(l->queue, q, "Unschedulable", p.message, l->now_us);
    unschedulable(mg, q);
}

static void
unschedulable(struct migration *mg, const struct queued *q)
{
    mg->seen.target = COORD_TARGET_UNSCHEDULABLE;
    mg->seen.target_reason = q->reason;
    mg->seen.target_message = q->message;
}

/* The network is configured: it must exist, be readable, and be there on the source. */
static bool
network_in_the_way(struct loops *l, struct migration *mg, const char *network)
{
    const char *ns, *name;
    const struct nad *nad;
    struct nad_config config;
    struct err err = {0};
    const char *no;

    nad_ref_split(network, DEFAULT_HCO_NAMESPACE, l->arena, &ns, &name);
    nad = loop_cache_get(l->cache, KIND_NAD, ns, name);
    if (!nad) {
        blocked(l, mg, "NetworkNotFound",
                arena_printf(l->arena,
                             "waiting: NetworkAttachmentDefinition %s/%s, which "
                             "liveMigrationConfig.network names, does not exist%s",
                             ns, name, network_check_elsewhere(l->store, ns, name, l->arena)));
        return true;
    }
    if (nad_config_parse(nad, &config, l->arena, &err) != 0) {
        blocked(l, mg, "NetworkInvalid",
                arena_printf(l->arena, "waiting: NetworkAttachmentDefinition %s/%s: %s", ns, name,
                             err_msg(&err)));
        return true;
    }
    no = loop_place_network_trouble(l, mg->v->status.node_name);
    if (no) {
        blocked(l, mg, "SourceNetworkNotReady",
                arena_printf(l->arena, "waiting: migration network %s/%s on source node %s: %s", ns,
                             name, mg->v->status.node_name, no));
        return true;
    }
    return false;
}

static void
blocked(struct loops *l, struct migration *mg, const char *reason, const char *message)
{
    (void)l;
    mg->seen.target = COORD_TARGET_BLOCKED;
    mg->seen.target_reason = reason;
    mg->seen.target_message = message;
}
