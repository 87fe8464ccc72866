/* The incremental twin of place(): the same decision on the same cluster, to the last reason,
 * from what is kept between decisions. place() is the reference; a property test holds the two
 * together.
 *
 * Requests that ask for the same thing (all that a decision reads, but the name) are one class.
 * A class keeps, for every node, whether it fits, its score, or why not; a placement touches the
 * node it changed, in every class that is asked again. Memory is bounded: FAST_CLASSES_MAX, and
 * bytes by the number of nodes; the least recently asked class goes. One thread. One engine a
 * cluster.
 *
 * place() itself decides, so in its time, what request_is_special() tells (claims that keep the
 * VM from some node, default spread constraints of sets, NUMA cells, a TSC frequency that is not
 * noted yet, forced targets), a soft spread over another key than host names with more than
 * about 200 domains, Gt and Lt on host names, more than 64 named nodes, more than 4 hard or 4
 * soft constraints, and more than 7 resources. docs/scheduling-engine.md tells how it works. */
#ifndef SCHED_FAST_H
#define SCHED_FAST_H

#include <stdint.h>

#include "sched/place.h"

#define FAST_CLASSES_MAX 64

struct fast;

/* On a cluster, which it watches (sched/cluster.h): c must outlive it, and may be changed through
 * place.h's functions at any time between decisions. */
struct fast *fast_new(struct cluster *c);
void fast_free(struct fast *f); /* NULL is fine */

struct fast_decision {
    const char *node;    /* NULL: fits nowhere. Borrowed from the cluster until it changes. */
    const char *message; /* as place_result's; until the next call */
    int64_t total, score;
    size_t best_len; /* how many nodes share the highest total */
    size_t fits_len; /* how many nodes fit */
};

/* rq as for place(). Never fails. */
void fast_place(struct fast *f, const struct place_request *rq, struct fast_decision *ret);
/* The nodes that share the highest total of the last decision, in byte order of their names (where they
 * are more than max: the first ones in the order of cluster_set_seed), at
 * most max names into out (borrowed as .node is); returns how many it wrote. Before the cluster
 * changes. */
size_t fast_best(const struct fast *f, const char **out, size_t max);
/* How many decisions place() has taken instead, since fast_new. */
uint64_t fast_plain(const struct fast *f);
/* What the node of the last decision scored, plugin by plugin, 0..100 before weighting; 0 for those
 * without a weight. rq is that decision's, which found a node. Before the cluster changes. */
void fast_scores(const struct fast *f, const struct place_request *rq, int64_t ret[PLACE_PLUGINS]);
/* Bytes that it has allocated, beyond the cluster. */
size_t fast_bytes(const struct fast *f);

#endif
