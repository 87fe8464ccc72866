/* The controller's own loops: VM lifecycle, scheduling, migrations, node supervision, drains. They
 * watch the store, decide on what is committed, and write back; nothing that matters lives only in
 * memory, so a controller that is killed at any write carries on from the store when it is started
 * again. Called by control/main_controller.c and by tests. docs/states.md names the states,
 * docs/protocol.md who writes what. */
#ifndef CONTROL_LOOPS_H
#define CONTROL_LOOPS_H

#include <stdint.h>

#include "base/loop.h"
#include "control/store.h"
#include "sched/profile.h"

/* The documents: up to five minutes until it is seen that a node is gone. */
#define LOOPS_HEARTBEAT_TIMEOUT_S 300

struct loops;

struct loops_config {
    const char *component;         /* source of events; NULL: "drover-controller". Borrowed. */
    uint64_t heartbeat_timeout_us; /* 0: LOOPS_HEARTBEAT_TIMEOUT_S */
    uint64_t debounce_us;          /* from a change to the pass that looks at it; 0: 5 ms */
    const struct profile *profile; /* NULL: profile_default(). Borrowed. */
    uint64_t placement_seed;       /* of ties: cluster_set_seed */
    /* For tests: each decision is compared with that on a cluster built anew, and this is called
     * when they differ. NULL: they are not compared. */
    void (*on_mismatch)(void *ctx, const char *what);
    void *mismatch_ctx;
};

/* Starts all loops on `loop`, on whose thread everything happens. loop and store are borrowed and
 * must outlive loops_stop. config may be NULL. Never fails. */
struct loops *loops_start(struct loop *loop, struct store *store,
                          const struct loops_config *config);
/* No pass runs any more, and what they have queued in the store and is not evaluated yet is
 * refused. Call before store_free. */
void loops_stop(struct loops *l);
/* Call after store_free, or, when the store lives on, when the loop is idle. NULL is fine. */
void loops_free(struct loops *l);

#endif
