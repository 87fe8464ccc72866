/* The objects of the store in typed form, decoded when they are first looked at after a change. A
 * pointer from here is valid until the pass ends. Fed by control/loops.c's watch. */
#ifndef CONTROL_LOOP_CACHE_H
#define CONTROL_LOOP_CACHE_H

#include <stddef.h>

#include "api/types.h"
#include "control/store.h"

struct loop_cache;

/* Holds all objects that are in the store now. */
struct loop_cache *loop_cache_new(struct store *store);
void loop_cache_free(struct loop_cache *c);
void loop_cache_note(struct loop_cache *c, const struct store_event *ev);
/* False for kinds that no loop reads. */
bool loop_cache_holds(enum kind kind);

/* struct vm, vmi, vmim, ... as kind says; NULL when there is none. ns: NULL for cluster scope. */
const void *loop_cache_get(struct loop_cache *c, enum kind kind, const char *ns, const char *name);
/* Iteration in an order that means nothing: start with *it = 0; NULL at the end. */
const void *loop_cache_next(struct loop_cache *c, enum kind kind, size_t *it);
/* The same, but only those that have changed since the last pass: the object itself, or, for a VM
 * and its VMI, the other one. all: every one. */
const void *loop_cache_next_changed(struct loop_cache *c, enum kind kind, bool all, size_t *it);
/* The pass is over: what changes from now on counts for the next one. */
void loop_cache_pass_done(struct loop_cache *c);
size_t loop_cache_count(const struct loop_cache *c, enum kind kind);
/* The settings: the object of the well-known name, else the first by name; NULL when none. */
const struct hco *loop_cache_hco(struct loop_cache *c);
const struct kubevirt *loop_cache_kubevirt(struct loop_cache *c);

#endif
