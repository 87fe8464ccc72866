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

/* --- for the fast engine, which counts by itself (request.alone) --- */

enum peers_what { PEERS_WANTED, PEERS_AVOIDED, PEERS_GUARDED, PEERS_SCORE, PEERS_WHATS };

struct peers_share { /* what one peer adds to the counter of its node's domain under key */
    enum peers_what what;
    const char *key;
    int64_t n;
};

struct peers_shares { /* free(items) */
    struct peers_share *items;
    size_t len, cap;
};

/* What o counts for the newcomer, appended to ret; keys are borrowed from o and the request. */
void peers_shares(struct peers *p, const struct occupant *o, struct peers_shares *ret);
/* Does the newcomer match all of its own required terms? Then it may be the first of its kind. */
bool peers_near_itself(const struct peers *p);

/* --- for explanations --- */

struct peers_blame {
    enum peers_what what; /* affinity, anti-affinity, the anti-affinity of somebody there */
    const struct pod_term *term;
    const struct occupant *other; /* one of those in the way, or NULL */
};

/* Of a node that peers_check refuses: the term (NULL: none can be named), and who. */
struct peers_blame peers_blame(const struct peers *p, const struct cluster_node *n);

#endif
