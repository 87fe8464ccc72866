/* What a drain does with each VM of a node, and whether a VM can be live-migrated. Pure. Sources: eviction
 * strategies in spec/seeds-migration.md F and spec/kubevirt.md 5; LiveMigratable in 7. */
#ifndef SCHED_EVICT_H
#define SCHED_EVICT_H

#include "api/types.h"
#include "base/arena.h"

struct migratable {
    bool ok;
    const char *reason;  /* "" when ok, else upstream's: DisksNotLiveMigratable, ... */
    const char *message;
    const char *method;  /* LiveMigration or BlockMigration */
};

/* pvcs: claims of the VMI's namespace that are known. Texts are literals or in the arena. */
struct migratable vmi_migratable(const struct vmi *v, const struct pvc *const *pvcs, size_t pvcs_len,
                                 struct arena *a);

enum evict_action { EVICT_MIGRATE, EVICT_MIGRATING, EVICT_SHUTDOWN, EVICT_BLOCK, EVICT_EXTERNAL };
const char *evict_action_name(enum evict_action a); /* "migrate", ... */

struct evict_decision {
    enum evict_action action;
    const char *strategy; /* the one that counts, after defaults */
    const char *reason;   /* one sentence */
};

/* cluster_strategy: HyperConverged's, or NULL; the default is LiveMigrate with more than one schedulable node,
 * else None (seeds X5). migrating: an unfinished migration of it exists. */
struct evict_decision evict_decide(const struct vmi *v, const struct migratable *m,
                                   const char *cluster_strategy, size_t schedulable_nodes,
                                   bool migrating, struct arena *a);

#endif
