/* A placement request, compiled once a decision; the filters and scores read nothing else but it and
 * a node. Internal to sched/. */
#ifndef SCHED_REQUEST_H
#define SCHED_REQUEST_H

#include "base/arena.h"
#include "sched/cluster.h"
#include "sched/cpu_rule.h"
#include "sched/host_rule.h"
#include "sched/need.h"
#include "sched/node_terms.h"
#include "sched/peers.h"
#include "sched/place.h"
#include "sched/spread.h"
#include "sched/taint.h"
#include "sched/volumes.h"

struct request {
    const struct cluster *c;
    struct arena *arena; /* the decision's */
    bool is_vm, migrate, needs_network, forced;
    bool alone; /* its neighbours are not counted: peers_check, spread_check and scores do not
                   work */
    const struct vmi *vmi; /* NULL: a Pod */
    const char *ns, *name;
    const struct kv_list *labels;
    const struct owner_ref *set;       /* that it is a member of, or NULL: see spread.h */
    const struct occupant *self;       /* what it occupies already: does not count against it */
    const char *target;                /* or NULL */
    const struct cluster_node *source; /* when it migrates; NULL: not known */
    const char *source_name;
    struct need need;
    struct node_terms nodes;    /* its own nodeSelector and required node affinity */
    struct node_terms workload; /* the cluster's, for VMs */
    struct node_terms enforced; /* the profile's addedAffinity */
    struct node_clauses preferred;
    struct tolerations tolerations;
    struct cpu_rule cpu;
    struct host_rule host;
    struct volume_rules volumes;
    struct peers *peers;
    struct spread_rules *spread;
};

/* Compiles rq against c. Both are borrowed and must outlive the request. Returns NULL, or why nothing
 * can be placed: a text in the arena; then r is not usable. */
const char *request_compile(struct request *r, const struct cluster *c,
                            const struct place_request *rq, struct arena *a);
/* The same without looking at what runs in the cluster. */
const char *request_compile_alone(struct request *r, const struct cluster *c,
                                  const struct place_request *rq, struct arena *a);
/* Does rq ask for what only place() looks at: claims that not every node can reach, NUMA cells, a TSC
 * frequency that is not noted yet, a forced target, default spread constraints? Cheap; rq need not be compiled. Whoever keeps answers between decisions leaves it to place(). */
bool request_is_special(const struct cluster *c, const struct place_request *rq);
void request_done(struct request *r);
/* Does the node count as a domain for topology spread: node affinity and, for VMs, what KubeVirt
 * renders as node selectors (a live handler, workload placement, CPU). */
bool request_selects(const struct request *r, const struct cluster_node *n);

#endif
