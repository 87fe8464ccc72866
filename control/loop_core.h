/* What the loops share: the pass, the cache they read, and how they write. Included by
 * control/loop*.c only; everything runs on the loop's thread.
 *
 * A pass runs all loops one after the other over the committed objects. It starts a moment after a
 * change (debounce) and never while a write of an earlier pass is in flight: so no loop decides
 * twice on the same fact, and what one loop has decided in a pass the next one sees through the
 * shared cluster (loop_cluster.h). Every write looks again at the newest version of its object
 * before it changes it. */
#ifndef CONTROL_LOOP_CORE_H
#define CONTROL_LOOP_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/names.h"
#include "api/object.h"
#include "base/arena.h"
#include "base/strmap.h"
#include "control/loop_cache.h"
#include "control/loop_due.h"
#include "control/loop_queue.h"
#include "control/loops.h"

struct loop_cluster;
struct loop_network;
struct loop_write;

struct loops {
    /* constant after start */
    struct loop *loop;
    struct store *store;
    const char *component;
    int64_t heartbeat_timeout_us;
    uint64_t debounce_us;
    int64_t start_us;              /* wall */
    const struct profile *profile; /* NULL: the default */
    uint64_t placement_seed;
    void (*on_mismatch)(void *ctx, const char *what);
    void *mismatch_ctx;

    struct loop_cache *cache;
    struct store_watch *watch;
    struct loop_timer *pass_timer, *wake_timer;
    bool dirty, stopped;
    bool look_at_all; /* the next pass looks at every VM, not only at those that have changed */
    struct loop_write *writes; /* in flight */

    struct loop_cluster *cluster;
    struct loop_queue *queue; /* what waits for a node */
    struct loop_due *due;     /* objects that are to be looked at later */
    struct strmap *gone;      /* names of deleted nodes -> int64_t: their last heartbeat */
    struct strmap *events;    /* see loop_event.c */
    uint64_t events_made;
    struct strmap *tainted; /* uid -> struct tainted: see loop_taint.c */
    int64_t budgets_us;     /* loop_budget.c's: when they were counted, wall */
    bool budgets_dirty;
    struct strmap *promises; /* uid -> struct promise: see loop_preempt.c */
    struct loop_network *network;

    /* of the pass under way */
    struct arena *arena;
    int64_t now_us;         /* wall */
    bool all;               /* look_at_all, for this pass */
    struct strmap *evicted; /* loop_evict.c's: uids */
    unsigned plans;         /* loop_preempt.c's: that were made */
};

/* The object counts as changed at this wall time, even if nothing changes; 0 is ignored. An earlier
 * time that is known stays. True when none was known. */
bool loop_core_look_at(struct loops *l, enum kind kind, const struct meta *m, int64_t wall_us);
/* Another pass soon. */
void loop_core_dirty(struct loops *l);
/* The newest committed tree. Borrowed until the pass ends; NULL when there is none. */
const struct tree *loop_core_tree(struct loops *l, enum kind kind, const char *ns,
                                  const char *name);

bool loop_core_has_finalizer(const struct meta *m, const char *name);
/* On a tree. Adding does nothing where it is there already; true when it was taken away. */
void loop_core_add_finalizer(struct tree *obj, const char *name);
bool loop_core_drop_finalizer(struct tree *obj, const char *name);

/* The condition of this type, or NULL. */
const struct condition *loop_core_condition(const struct condition_list *l, const char *type);

/* --- writes --- */
struct loop_write {
    struct loop_write *next, **prev; /* loop_core.c's */
    struct loops *l;
    enum kind kind;
    const char *ns, *name, *uid;
    struct arena *arena; /* of this write: texts that `change` and `after` need */
    void *args;          /* theirs, in the arena */
    int (*change)(struct loop_write *w, struct tree *obj);
    void (*after)(struct loop_write *w, const struct tree *obj);
    void (*release)(struct loop_write *w); /* frees what args own outside the arena; may be NULL */
};

/* A write to be filled in and given to one of the three below. args_size bytes of zeroed args. */
struct loop_write *loop_write_new(struct loops *l, enum kind kind, const struct meta *meta,
                                  size_t args_size);
/* Read-modify-write of the object with this uid (another object of the name is left alone). change
 * returns 1 when it changed the object, 0 to leave it (what the write was for no longer holds).
 * after (may be NULL) is called when the change is durable. */
void loop_write_mutate(struct loop_write *w, int (*change)(struct loop_write *w, struct tree *obj),
                       void (*after)(struct loop_write *w, const struct tree *obj));
/* Takes obj. */
void loop_write_create(struct loop_write *w, struct tree *obj,
                       void (*after)(struct loop_write *w, const struct tree *obj));
void loop_write_delete(struct loop_write *w,
                       void (*after)(struct loop_write *w, const struct tree *obj));

/* --- the loops, in the order of a pass --- */
void loop_node_pass(struct loops *l);
void loop_network_pass(struct loops *l);
void loop_enactment_pass(struct loops *l);
void loop_vm_pass(struct loops *l);
void loop_sched_pass(struct loops *l);
void loop_migration_pass(struct loops *l);
void loop_taint_pass(struct loops *l);
void loop_taint_free(void *tainted); /* of l->tainted */
void loop_drain_pass(struct loops *l);
void loop_budget_pass(struct loops *l);

/* --- loop_core.c's, for loops.c --- */
void loop_core_schedule(struct loops *l);
void loop_core_drop_writes(struct loops *l);

#endif
