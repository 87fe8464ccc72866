/* What the parts of the migration loop share: one migration of the pass under way, its target
 * search (loop_target.c) and its writes (loop_migration_write.c). Included by control/loop_*.c
 * only. */
#ifndef CONTROL_LOOP_MIGRATION_H
#define CONTROL_LOOP_MIGRATION_H

#include "control/loop_core.h"
#include "migrate/coord.h"
#include "migrate/coord_queue.h"
#include "sched/evict.h"

#define CONDITION_WAITING "Waiting"       /* of a VMIM: why it does not go on */
#define CONDITION_MOVED   "TargetRunning" /* of a VMIM: since when the target owns the VM */
#define CONDITION_ABORT   "migrationAbortRequested" /* upstream's */

struct migration {
    const struct vmim *m;
    const struct vmi *v; /* NULL: there is none */
    uint64_t rv;
    bool evacuation;
    struct coord c;
    struct coord_seen seen;
    struct coord_entry entry;
    char wait[COORD_MESSAGE_SIZE]; /* seen.wait_message */
    /* its VMI's migrations, by age; this one is among them */
    struct migration **group;
    size_t group_len;
    /* what the search of this pass has found */
    const char *target;         /* or NULL */
    struct tree *target_result; /* owned until a write takes it */
};

/* Whether this VMI can be migrated; the result lives in the pass' arena. */
struct migratable loop_migratable(struct loops *l, const struct vmi *v);
/* Keeps condition LiveMigratable and status.migrationMethod of all VMIs. */
void loop_migratable_pass(struct loops *l);

/* Fills in seen.target and what follows from it, target and target_result. */
void loop_target_find(struct loops *l, struct migration *mg);

/* Each queues one write, which looks again at the newest version before it changes anything. */
void loop_migration_store(struct loops *l, struct migration *mg, enum coord_phase from,
                          const struct coord_out *out);
void loop_migration_waits(struct loops *l, struct migration *mg, const struct coord_out *out);
void loop_migration_mirror(struct loops *l, struct migration *mg);
void loop_migration_moved(struct loops *l, struct migration *mg);
void loop_migration_release(struct loops *l, struct migration *mg);
void loop_migration_hand_off(struct loops *l, struct migration *mg);
/* On the VMI; uid is the migration's. */
void loop_migration_fail_state(struct loops *l, const struct vmi *v, const char *uid,
                               const char *why, bool cancelled);
void loop_migration_request_abort(struct loops *l, const struct vmi *v, const char *uid);
/* Post-copy: what is missing will never come (drover.io/source-lost). */
void loop_migration_source_lost(struct loops *l, const struct vmi *v, const char *uid);
void loop_migration_change_owner(struct loops *l, const struct vmi *v, const char *uid);

#endif
