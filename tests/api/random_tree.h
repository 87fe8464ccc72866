/* Random trees for the properties that must hold for all trees. */
#ifndef TESTS_API_RANDOM_TREE_H
#define TESTS_API_RANDOM_TREE_H

#include <stdbool.h>

#include "api/tree.h"
#include "base/rng.h"

/* A map with strings, numbers and texts that readers stumble over; at most depth levels. nulls: also
 * null as a map's value (a merge patch cannot make those). The caller's. */
struct tree *random_tree(struct rng *r, unsigned depth, bool nulls);
/* A copy with some of it changed. The caller's. */
struct tree *random_change(struct rng *r, const struct tree *t, bool nulls);

#endif
