/* The one struct cluster (sched/place.h) of the controller's life: fed with what changes in the
 * store, and with the room that is promised but not stored. Used by loop_place.c, for the
 * scheduler, the migrations and preemption. */
#ifndef CONTROL_LOOP_CLUSTER_H
#define CONTROL_LOOP_CLUSTER_H

#include "api/types.h"

struct cluster;
struct fast;
struct loop_cluster;
struct loops;

struct loop_cluster *loop_cluster_new(void);
void loop_cluster_free(struct loop_cluster *lc); /* before the cache; NULL is fine */

/* At the start of a pass: all changes since the last one are in. What was reserved in the last pass
 * is given back: by now it is stored, or will never be. Migrations that are Scheduled, but not yet
 * handed to their handlers, hold room at their targets; only their own objects know these. */
void loop_cluster_sync(struct loops *l);
/* For place() and the like; to be changed through the functions here only. */
struct cluster *loop_cluster_get(struct loops *l);
/* The engine on it. */
struct fast *loop_cluster_engine(struct loops *l);
/* Room for a decision of this pass; v is of the cache. One decision a VMI and pass. */
void loop_cluster_reserve(struct loops *l, const struct vmi *v, const char *node);
/* Takes back the room that was reserved for v in this pass. */
void loop_cluster_give_back(struct loops *l, const struct vmi *v);
/* Is there time left in this second to explain a decision, at the price of one look at every node? */
bool loop_cluster_may_explain(struct loops *l);
/* A new cluster of the same objects and reservations, for tests. The caller's, until the pass ends. */
struct cluster *loop_cluster_build(struct loops *l);

#endif
