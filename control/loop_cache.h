/* The objects of the store in typed form, decoded when they are first looked at after a change, with
 * what has changed since the last pass and who names whom. A pointer from here is valid until the
 * pass ends; what loop_cache_tell has told of lives longer, see there. Fed by control/loops.c's
 * watch. */
#ifndef CONTROL_LOOP_CACHE_H
#define CONTROL_LOOP_CACHE_H

#include <stddef.h>

#include "api/types.h"
#include "control/store.h"

struct loop_cache;

/* Who names whom: objects by what a field of theirs says. */
enum loop_cache_index {
    LOOP_CACHE_VMI_ON_NODE,  /* VMIs by status.nodeName; ns NULL */
    LOOP_CACHE_VMI_OF_CLAIM, /* VMIs by the claims of their volumes */
    LOOP_CACHE_VMIM_OF_VMI,  /* migrations by spec.vmiName */
    LOOP_CACHE_VMIM_OPEN,    /* migrations that have not ended; ns NULL, name "" */
    LOOP_CACHE_INDEXES
};

/* Holds all objects that are in the store now; all of them count as changed. */
struct loop_cache *loop_cache_new(struct store *store);
void loop_cache_free(struct loop_cache *c);
/* Not during a pass. */
void loop_cache_note(struct loop_cache *c, const struct store_event *ev);
/* False for kinds that no loop reads. */
bool loop_cache_holds(enum kind kind);

/* struct vm, vmi, vmim, ... as kind says; NULL when there is none. ns: NULL for cluster scope. */
const void *loop_cache_get(struct loop_cache *c, enum kind kind, const char *ns, const char *name);
/* Iteration in an order that means nothing: start with *it = 0; NULL at the end. */
const void *loop_cache_next(struct loop_cache *c, enum kind kind, size_t *it);
/* The same, but only those that have changed since the last pass or were touched. all: every one. */
const void *loop_cache_next_changed(struct loop_cache *c, enum kind kind, bool all, size_t *it);
/* The same, of those that name ns/name. */
const void *loop_cache_next_of(struct loop_cache *c, enum loop_cache_index ix, const char *ns,
                               const char *name, size_t *it);
size_t loop_cache_count(const struct loop_cache *c, enum kind kind);
size_t loop_cache_count_of(const struct loop_cache *c, enum loop_cache_index ix, const char *ns,
                           const char *name);

/* Counts as changed for the next pass, or for the rest of this one. Nothing when there is none. */
void loop_cache_touch(struct loop_cache *c, enum kind kind, const char *ns, const char *name);
/* Touches those that name ns/name. */
void loop_cache_touch_of(struct loop_cache *c, enum loop_cache_index ix, const char *ns,
                         const char *name);
/* The pass is over: what changes from now on counts for the next one. */
void loop_cache_pass_done(struct loop_cache *c);

/* Calls fn for each object of a kind that placement reads (is_told) that was added, changed or removed since the last call, in the order in
 * which that happened first. before: what was told the last time, NULL when it is new; it is freed
 * when fn has returned. now: NULL when it is gone; it lives until it is `before`, or the cache is
 * freed: so whoever follows the calls may borrow what they tell. */
typedef void (*loop_cache_tell_fn)(void *ctx, enum kind kind, const char *ns, const char *name,
                                   const void *before, const void *now);
void loop_cache_tell(struct loop_cache *c, loop_cache_tell_fn fn, void *ctx);
/* The next loop_cache_tell tells of all objects, as if they were new. What was told before lives
 * until then. */
void loop_cache_tell_anew(struct loop_cache *c);

/* The settings: the object of the well-known name, else the first by name; NULL when none. */
const struct hco *loop_cache_hco(struct loop_cache *c);
const struct kubevirt *loop_cache_kubevirt(struct loop_cache *c);

#endif
