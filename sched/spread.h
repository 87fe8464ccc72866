/* Topology spread constraints, compiled and counted once a decision. Internal to sched/. Follows
 * kube-scheduler 1.31's podtopologyspread plugin; a VM that migrates does not count itself. */
#ifndef SCHED_SPREAD_H
#define SCHED_SPREAD_H

#include "sched/cluster.h"

struct spread_rules;
struct request;

/* r must be compiled but for its spread. list: its own constraints; when there are none, the
 * profile's default ones hold for a member of a set (r->set): what counts for them are the members of
 * the same set. The caller's. */
struct spread_rules *spread_new(const struct request *r, const struct spread *list, size_t len);
void spread_free(struct spread_rules *s); /* NULL is fine */

#define SPREAD_NO_KEY \
    "node(s) didn't match pod topology spread constraints (missing required label)"

/* kube-scheduler's text when a DoNotSchedule constraint is broken, or NULL. */
const char *spread_check(const struct spread_rules *s, const struct cluster_node *n);

/* The set that controls the object: a ReplicaSet, ReplicationController, StatefulSet or
 * VirtualMachineInstanceReplicaSet; or NULL. */
const struct owner_ref *spread_set_of(const struct meta *m);

/* As if o, which is on n, had left (by -1) or come back (by 1). */
void spread_shift(struct spread_rules *s, const struct cluster_node *n, const struct occupant *o,
                  int64_t by);

/* Scores of all feasible nodes, 0..100 each, into scores[]. False: no ScheduleAnyway constraint, and
 * nothing was written. */
bool spread_score(const struct spread_rules *s, const struct cluster_node *const *nodes,
                  size_t nodes_len, int64_t *scores);

/* --- for the fast engine, which counts by itself (request.alone) --- */

struct spread_rule {
    const struct spread *s;
    const struct owner_ref *set; /* of a default constraint: who counts, in place of a selector */
    int64_t max_skew;            /* within 32 bits; at least 1 when it is soft */
    bool self;                   /* the newcomer matches its own selector */
    bool empty; /* the selector is there and says nothing: kube-scheduler counts nobody */
    bool honor_affinity, honor_taints;
    struct topo *counts; /* hard rules: matching VMs by domain */
    int64_t fewest;      /* in any of the domains that count */
};

/* The constraints, hard (DoNotSchedule) and soft. Borrowed. */
const struct spread_rule *spread_hard(const struct spread_rules *s, size_t *ret_len);
const struct spread_rule *spread_soft(const struct spread_rules *s, size_t *ret_len);
/* Do the node and what runs on it count, but for the topology keys that it must have? */
bool spread_rule_node(const struct request *r, const struct spread_rule *rule,
                      const struct cluster_node *n);
bool spread_rule_counts(const struct request *r, const struct spread_rule *rule,
                        const struct occupant *o);

#endif
