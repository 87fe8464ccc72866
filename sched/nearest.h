/* The nearest miss: of a VM that fits nowhere, the change that would make it fit soonest, in a sentence.
 * Pure. Called by drover-controller (the condition, describe vm) and `drover schedule`. */
#ifndef SCHED_NEAREST_H
#define SCHED_NEAREST_H

#include "sched/place.h"

struct nearest {
    const char *node;   /* the one that lacks least, or NULL: no single node can be named */
    const char *change; /* "n3 would do: uncordon n3, and ..."; "" when nothing can be said */
};

/* res: what place() said; it must not have found a node. Texts are in the arena. */
struct nearest nearest_miss(const struct cluster *c, const struct place_request *rq,
                            const struct place_result *res, struct arena *a);

/* {"node": NAME or null, "change": TEXT}. The caller's. */
struct tree *nearest_tree(const struct nearest *n);

#endif
