/* What only the HTTP API needs of the store (store.h is for everyone): objects with their JSON
 * text, counted references to them, dry runs, checks against other objects, and the recent past.
 * Loop thread only. */
#ifndef CONTROL_STORE_OBJECT_H
#define CONTROL_STORE_OBJECT_H

#include "control/store.h"

/* One version of one object; never changes. */
struct store_object;

const struct store_object *store_object_ref(const struct store_object *o); /* returns o */
void store_object_unref(const struct store_object *o);                     /* NULL is fine */
const struct tree *store_object_tree(const struct store_object *o);
/* Compact JSON, as stored; borrowed. */
const char *store_object_json(const struct store_object *o, size_t *ret_len);
enum kind store_object_kind(const struct store_object *o);
const char *store_object_key(const struct store_object *o); /* "namespace/name" or "name" */

/* As store_get and store_list. */
const struct store_object *store_find(struct store *st, enum kind kind, const char *ns,
                                      const char *name);
void store_each(struct store *st, enum kind kind, const char *ns,
                bool (*fn)(void *ctx, const struct store_object *o), void *ctx);

struct store_opts {
    bool dry_run; /* evaluate, call done with what would be, write nothing */
    /* Create only; NULL: none. Looks at the object, which it may change, and at the store, which
     * has then no queued writes before this one: what it sees is what the write meets. Returns 0,
     * or a negative errno that refuses the write. Gets the ctx of done. */
    int (*check)(void *ctx, struct tree *obj);
    const char *uid; /* mutate and delete: precondition, copied; NULL: none */
    uint64_t rv;     /* the same; 0: none */
};

void store_create_opts(struct store *st, struct tree *obj, const struct store_opts *o,
                       store_done done, void *ctx);
void store_mutate_opts(struct store *st, enum kind kind, const char *ns, const char *name,
                       const struct store_opts *o, store_mutate_fn fn, store_done done, void *ctx);
void store_delete_opts(struct store *st, enum kind kind, const char *ns, const char *name,
                       const struct store_opts *o, store_done done, void *ctx);

/* Calls fn for the events of the kind (KIND_NONE: all) with a resourceVersion above after_rv,
 * oldest first. -ESTALE when some of them are no longer kept, or after_rv lies in the future. */
int store_history(struct store *st, enum kind kind, uint64_t after_rv, store_watch_fn fn,
                  void *ctx);

#endif
