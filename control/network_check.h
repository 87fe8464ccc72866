/* What can be wrong with a migration network as the objects of the store have it: asked by the loops,
 * which then give out no addresses, and by the API server, which then refuses. */
#ifndef CONTROL_NETWORK_CHECK_H
#define CONTROL_NETWORK_CHECK_H

#include "base/arena.h"
#include "base/err.h"
#include "control/store.h"
#include "netpolicy/nad.h"

/* Whether the range of definition ns/name overlaps a node's management address or the range of
 * another definition: -EEXIST with a sentence that names both; of several, the first by text. */
int network_check_range(struct store *store, const struct nad_config *c, const char *ns,
                        const char *name, struct err *err);
/* "; one of that name is in namespace b: ...": people look for a missing definition there; "" when
 * there is none either. In the arena. */
const char *network_check_elsewhere(struct store *store, const char *ns, const char *name,
                                    struct arena *a);

#endif
