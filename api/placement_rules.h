/* Rules of what says where something may run, beyond what a field table states: checks for the tables of
 * schema_placement.c, each called at the value that it checks. They follow Kubernetes' core validation
 * (1.31), in its words. Internal to api/. */
#ifndef API_PLACEMENT_RULES_H
#define API_PLACEMENT_RULES_H

#include "api/schema.h"

/* A requirement of a node or label selector: map with key, operator, values. */
void placement_prepare_requirement(struct check *c, struct tree *map);
void placement_requirement(struct check *c, struct tree *map);
void placement_field_requirement(struct check *c, struct tree *map); /* of matchFields */
void placement_required_terms(struct check *c, struct tree *list);   /* nodeSelectorTerms */
void placement_required_term(struct check *c, struct tree *map);     /* one of them */
void placement_weight(struct check *c, struct tree *v);
void placement_topology_key(struct check *c, struct tree *v);
void placement_namespaces(struct check *c, struct tree *list);
void placement_pod_term(struct check *c, struct tree *map); /* PodAffinityTerm */
void placement_toleration(struct check *c, struct tree *map);
void placement_above_zero(struct check *c, struct tree *v);
void placement_spread(struct check *c, struct tree *map); /* TopologySpreadConstraint */

#endif
