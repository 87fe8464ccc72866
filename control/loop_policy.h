/* The settings of the cluster as the loops use them: limits, and the MigrationPolicy of one VM. */
#ifndef CONTROL_LOOP_POLICY_H
#define CONTROL_LOOP_POLICY_H

#include "control/loop_core.h"
#include "netpolicy/policy.h"

/* parallelMigrationsPerCluster and parallelOutboundMigrationsPerNode. */
void loop_policy_limits(struct loops *l, int64_t *ret_per_cluster, int64_t *ret_per_node);
/* Which policy applies to v now; lives in the pass' arena. */
void loop_policy_decide(struct loops *l, const struct vmi *v, struct policy_decision *ret);
/* Bytes that a completion timeout is reckoned for: guest memory, and disks that travel with it. */
int64_t loop_policy_bytes(struct loops *l, const struct vmi *v);
/* status.migrationState.migrationConfiguration, with upstream's names. The caller's. */
struct tree *loop_policy_tree(const struct migration_configuration *c);

#endif
