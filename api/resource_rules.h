/* Rules of what may be asked of a node, and what a node may offer: names of resources, whole numbers,
 * requests against limits, huge pages, dedicated CPUs. Checks for the tables of schema_domain.c and
 * schema_core.c, in the words of Kubernetes' core validation (1.31) and KubeVirt's admission
 * webhooks. Internal to api/. */
#ifndef API_RESOURCE_RULES_H
#define API_RESOURCE_RULES_H

#include "api/schema.h"

extern const char *const resources_page_sizes[]; /* of a VM's huge pages */

/* At requests, limits or overhead: known or qualified names, nothing negative, whole numbers of devices and
 * pages. A container may ask for devices and huge pages without the limit that an API server would
 * insist on: `drover schedule` takes what scheduling reads. */
void resources_amounts(struct check *c, struct tree *map);
/* At a node's capacity or allocatable. */
void resources_of_node(struct check *c, struct tree *map);
/* At resources: no request above its limit; equal where nothing can be overcommitted. */
void resources_within_limits(struct check *c, const struct tree *resources);
/* At a VM's domain. */
void resources_hugepages(struct check *c, const struct tree *domain);
void resources_dedicated(struct check *c, const struct tree *domain);

#endif
