/* A migration's figures as the JSON bodies of its annotations (docs/protocol.md). Pure: the same
 * functions for the source, the target and the tests. */
#ifndef HANDLER_STATS_TREE_H
#define HANDLER_STATS_TREE_H

#include "api/tree.h"
#include "migrate/engine.h"

/* drover.io/migration-progress: while it runs. now_us: monotonic. The caller's. */
struct tree *stats_tree_progress(const struct mig_stats *st, uint64_t now_us);
/* drover.io/migration-result: the source's, at the end. What was not measured (a handler that was
 * restarted knows little) is left out, rather than said to be 0. The caller's. */
struct tree *stats_tree_result(const struct mig_stats *st, bool moved, enum mig_cause cause,
                               uint64_t now_us);
/* drover.io/target-result: the target's, when the guest runs there. The caller's. */
struct tree *stats_tree_target(const struct mig_stats *st, const char *node);

const char *stats_tree_cause(enum mig_cause cause); /* "progressTimeout"; "" = none */
const char *stats_tree_mode(enum mig_mode mode);    /* upstream's: PreCopy PostCopy Paused */
const char *stats_tree_encoding(enum mig_encoding e);
/* The smallest bound in microseconds under which permille of the answered faults were; 0 = none. */
uint64_t stats_fault_quantile_us(const struct mig_stats *st, unsigned permille);

#endif
