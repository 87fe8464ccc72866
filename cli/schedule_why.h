/* What `drover schedule` says of nodes that do not do: every rule that fails with what is wanted and what is
 * there, and the change that would make the VM fit soonest. */
#ifndef CLI_SCHEDULE_WHY_H
#define CLI_SCHEDULE_WHY_H

#include "base/sb.h"
#include "sched/nearest.h"

#define SCHEDULE_WHY_NODES 1000 /* nodes that are explained for one VM */
#define SCHEDULE_WHY_VMS   20   /* VMs that are explained in one run, but for the one of --vm */

/* res is what place() said to rq; the cluster has not changed since. Adds the explanations to res; the nearest
 * miss (texts in res) is empty when it has a node. */
struct nearest schedule_why(const struct cluster *c, const struct place_request *rq,
                            struct place_result *res);
/* "nearest" beside the answer, when there is one. */
void schedule_why_tree(const struct nearest *n, struct tree *answer);
/* "not n1, n2: NodeResourcesFit: wants 8546Mi memory, has 6Gi free of 8Gi", a line each, and the nearest miss.
 * Returns false when res has no explanations, and prints nothing of nodes then. */
bool schedule_why_print(const struct place_result *res, const struct nearest *n, struct sb *out);

#endif
