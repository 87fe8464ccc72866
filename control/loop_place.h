/* Placement for the loops: on one cluster (loop_cluster.h), shared by the scheduler and the
 * migrations, so that what one has decided counts for the next. */
#ifndef CONTROL_LOOP_PLACE_H
#define CONTROL_LOOP_PLACE_H

#include "control/loop_core.h"
#include "sched/place.h"

struct loop_placed {
    const char *node;    /* NULL: fits nowhere. In the pass' arena. */
    const char *message; /* why; "" when it fits */
    struct tree *result; /* for ANN_SCHEDULE_RESULT when it fits, else NULL; the caller's */
};

/* In clusters of up to so many nodes the result shows how each of them scores; in larger ones the
 * chosen one and the count of the best. A refusal names at most so many with their reasons. */
#define LOOP_PLACE_NODES_SHOWN     64
#define LOOP_PLACE_NODES_EXPLAINED 16 /* of these: what each rule wants and what they have */

/* Places rq->vmi and, when it fits, reserves the room there. */
struct loop_placed loop_place(struct loops *l, const struct place_request *rq);

/* The same for a request that was just refused with this message: the nodes' reasons and the nearest
 * miss, while there is time for that (loop_cluster_may_explain). The caller's. */
struct tree *loop_place_refusal(struct loops *l, const struct place_request *rq,
                                const char *message);

/* The wall time of a node's last heartbeat; 0 when it never beat. */
int64_t loop_place_heartbeat_us(const struct kv_list *annotations);
/* The node's handler does not answer: no Node object, or its heartbeat is too old. *ret_gone (may
 * be NULL): there is no Node object. */
bool loop_place_stale(struct loops *l, const char *node, bool *ret_gone);

/* What the node's handler says is wrong with the migration network there, as "REASON: MESSAGE" of
 * its condition (for the pass); NULL: nothing. */
const char *loop_place_network_trouble(struct loops *l, const char *node);

#endif
