/* Affinity and anti-affinity between VMs (and Pods), compiled and counted once a decision. Internal
 * to sched/. Follows kube-scheduler 1.31's interpodaffinity plugin; a VM that migrates is no peer
 * of itself. */
#ifndef SCHED_PEERS_H
#define SCHED_PEERS_H

#include "sched/cluster.h"

struct peers;
struct request;

/* r's own fields (ns, labels, self) must be set. affinity may be NULL. The caller's. */
struct peers *peers_new(const struct request *r, const struct affinity *affinity);
void peers_free(struct peers *p); /* NULL is fine */

#define PEERS_NOT_NEAR "node(s) didn't match pod affinity rules"

/* The first rule that the node breaks, as kube-scheduler's text, or NULL. */
const char *peers_check(const struct peers *p, const struct cluster_node *n);
/* As if o, which is on n, had left (by -1) or come back (by 1); scores stay as they are. */
void peers_shift(struct peers *p, const struct cluster_node *n, const struct occupant *o,
                 int64_t by);
/* Raw score, before normalising; may be negative. */
int64_t peers_score(const struct peers *p, const struct cluster_node *n);
bool peers_scores(const struct peers *p); /* false: no preference is in play, all score 0 */

#endif
