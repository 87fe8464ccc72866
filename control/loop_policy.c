/* Settings from HyperConverged, KubeVirt and MigrationPolicies; see control/loop_policy.h. */
#include "control/loop_policy.h"

#include <string.h>

#include "api/quantity.h"
#include "sched/place.h"

void
loop_policy_limits(struct loops *l, int64_t *ret_per_cluster, int64_t *ret_per_node)
{
    const struct hco *hco = loop_cache_hco(l->cache);
    const struct kubevirt *kv = loop_cache_kubevirt(l->cache);
    const struct migration_configuration *c = hco  ? &hco->live_migration
                                              : kv ? &kv->migrations
                                                   : NULL;

    *ret_per_cluster =
        c && c->has_parallel_cluster ? c->parallel_per_cluster : POLICY_DEFAULT_PARALLEL_CLUSTER;
    *ret_per_node =
        c && c->has_parallel_node ? c->parallel_outbound_per_node : POLICY_DEFAULT_PARALLEL_NODE;
}

void
loop_policy_decide(struct loops *l, const struct vmi *v, struct policy_decision *ret)
{
    size_t len = 0, max = loop_cache_count(l->cache, KIND_POLICY);
    const struct migration_policy **all = arena_calloc(l->arena, max + 1, sizeof(*all)), *p;

    for (size_t it = 0; (p = loop_cache_next(l->cache, KIND_POLICY, &it)) && len < max;)
        all[len++] = p;
    policy_decide(all, len, loop_cache_hco(l->cache), loop_cache_kubevirt(l->cache),
                  loop_cache_get(l->cache, KIND_NAMESPACE, NULL, v->meta.namespace_), v,
                  loop_policy_bytes(l, v), ret, l->arena);
}

int64_t
loop_policy_bytes(struct loops *l, const struct vmi *v)
{
    int64_t bytes = vmi_guest_memory_bytes(&v->spec), disks;
    const struct tree *vmi;
    AUTO_TREE struct tree *claims = NULL;

    if (!v->status.migration_method || strcmp(v->status.migration_method, "BlockMigration") != 0)
        return bytes;
    vmi = loop_core_tree(l, KIND_VMI, v->meta.namespace_, v->meta.name);
    claims = tree_list();
    for (size_t i = 0; i < v->spec.volumes_len; i++) {
        const struct tree *pvc =
            v->spec.volumes[i].claim
                ? loop_core_tree(l, KIND_PVC, v->meta.namespace_, v->spec.volumes[i].claim)
                : NULL;

        if (pvc)
            tree_append(claims, tree_copy(pvc));
    }
    disks = vmi ? policy_disk_bytes(vmi, claims) : 0;
    return __builtin_add_overflow(bytes, disks, &bytes) ? INT64_MAX : bytes;
}

struct tree *
loop_policy_tree(const struct migration_configuration *c)
{
    struct tree *t = tree_map();
    char bytes[32];

    if (c->has_bandwidth) {
        quantity_format_bytes(c->bandwidth_bytes_per_s, bytes, sizeof(bytes));
        tree_set(t, "bandwidthPerMigration", tree_string(bytes));
    }
    if (c->has_completion_timeout)
        tree_set(t, "completionTimeoutPerGiB", tree_int(c->completion_timeout_s_per_gib));
    if (c->has_progress_timeout)
        tree_set(t, "progressTimeout", tree_int(c->progress_timeout_s));
    if (c->has_max_downtime)
        tree_set(t, "maxDowntimeMs", tree_int(c->max_downtime_ms));
    if (c->has_auto_converge)
        tree_set(t, "allowAutoConverge", tree_bool(c->allow_auto_converge));
    if (c->has_post_copy)
        tree_set(t, "allowPostCopy", tree_bool(c->allow_post_copy));
    if (c->has_disruption)
        tree_set(t, "allowWorkloadDisruption", tree_bool(c->allow_workload_disruption));
    if (c->has_parallel_cluster)
        tree_set(t, "parallelMigrationsPerCluster", tree_int(c->parallel_per_cluster));
    if (c->has_parallel_node)
        tree_set(t, "parallelOutboundMigrationsPerNode", tree_int(c->parallel_outbound_per_node));
    if (c->network)
        tree_set(t, "network", tree_string(c->network));
    if (c->has_disable_tls)
        tree_set(t, "disableTLS", tree_bool(c->disable_tls));
    return t;
}
