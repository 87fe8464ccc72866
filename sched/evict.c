/* What a drain does with a VM: the table of eviction strategies; see evict.h. */
#include "sched/evict.h"

#include <string.h>

static const char *strategy_of(const struct vmi *v, const char *cluster_strategy, size_t nodes,
                               const char **ret_origin);

const char *
evict_action_name(enum evict_action a)
{
    static const char *const names[] = {"migrate", "migrating", "shutdown", "block", "external"};

    return names[a];
}

bool
evict_applies(const struct vmi *v)
{
    const char *phase = v->status.phase;

    return v->meta.deletion_us == 0 &&
           !(phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0));
}

struct evict_decision
evict_decide(const struct vmi *v, const struct migratable *m, const char *cluster_strategy,
             size_t nodes, bool migrating, struct arena *a)
{
    const char *origin;
    struct evict_decision d = {.strategy = strategy_of(v, cluster_strategy, nodes, &origin)};
    bool if_possible = strcmp(d.strategy, "LiveMigrateIfPossible") == 0;

    if (migrating) {
        d.action = EVICT_MIGRATING;
        d.reason = "an unfinished migration of it exists";
    } else if (strcmp(d.strategy, "External") == 0) {
        d.action = EVICT_EXTERNAL;
        d.reason = arena_printf(a, "%s leaves the eviction to an external controller", origin);
    } else if (!if_possible && strcmp(d.strategy, "LiveMigrate") != 0) {
        d.action = EVICT_SHUTDOWN;
        d.reason = arena_printf(a, "%s asks for no migration", origin);
    } else if (m->ok) {
        d.action = EVICT_MIGRATE;
        d.reason = arena_printf(a, "%s asks for a live migration", origin);
    } else if (if_possible) {
        d.action = EVICT_SHUTDOWN;
        d.reason = arena_printf(a, "not live-migratable (%s: %s), and %s does without then",
                                m->reason, m->message, origin);
    } else {
        d.action = EVICT_BLOCK;
        d.reason = arena_printf(a,
                                "%s asks for a live migration, but it is not live-migratable "
                                "(%s: %s)",
                                origin, m->reason, m->message);
    }
    return d;
}

static const char *
strategy_of(const struct vmi *v, const char *cluster_strategy, size_t nodes,
            const char **ret_origin)
{
    if (v->spec.eviction_strategy && *v->spec.eviction_strategy) {
        *ret_origin = "its evictionStrategy";
        return v->spec.eviction_strategy;
    }
    if (cluster_strategy && *cluster_strategy) {
        *ret_origin = "the cluster's evictionStrategy";
        return cluster_strategy;
    }
    if (nodes == 1) {
        *ret_origin = "the default of a single-node cluster";
        return "None";
    }
    *ret_origin = "the default";
    return "LiveMigrate";
}
