/* What a drain would do, seen from the command line: the objects are fetched and the controller's
 * own rules (sched/evict.h) applied to them, so that --dry-run says what would happen, and a drain
 * that waits can name what blocks it. */
#ifndef CLI_CLIENT_DRAIN_H
#define CLI_CLIENT_DRAIN_H

#include "base/arena.h"
#include "cli/client.h"
#include "sched/evict.h"

struct drain_vm {
    const char *namespace_, *name;
    struct evict_decision decision;
};

struct drain_plan {
    struct drain_vm *vms; /* those that occupy the node, by namespace and name */
    size_t len, blocked;
    struct arena *arena; /* everything lives here; drain_plan_done frees it */
};

/* Fetches and decides. -ENOENT when there is no such node. */
int drain_plan_make(struct client *c, const char *node, struct drain_plan *ret, struct err *err);
void drain_plan_done(struct drain_plan *p);

/* "drain-NODE": the NodeMaintenance that `drover drain` makes and `drover uncordon` deletes. The
 * caller's. */
char *drain_maintenance_name(const char *node);
/* The NodeMaintenance that names the node, whoever made it; *ret NULL when there is none. The
 * caller's. */
int drain_maintenance_find(struct client *c, const char *node, struct tree **ret, struct err *err);

#endif
