/* What the store's parts share: the core (store.c), the evaluation of writes (store_eval.c), the
 * index (store_index.c), watches and history (store_events.c) and the back ends. Included by
 * control/store_*.c only. Everything is owned by the loop's thread; the SQLite back end hands whole
 * batches to its writer thread and takes them back. */
#ifndef CONTROL_STORE_IMPL_H
#define CONTROL_STORE_IMPL_H

#include "base/rng.h"
#include "base/strmap.h"
#include "control/control_limits.h"
#include "control/store_object.h"

struct store_object {
    unsigned refs;
    enum kind kind;
    uint64_t rv;
    struct tree *tree;
    char *json;
    size_t json_len;
    char *key;
};

/* Takes tree and stamps rv into it. */
struct store_object *store_object_new(enum kind kind, struct tree *tree, uint64_t rv);

/* --- index: one array a kind, sorted by key --- */
struct store_index {
    const struct store_object **items;
    size_t len, cap;
};

const struct store_object *store_index_get(const struct store_index *ix, const char *key);
/* Puts o (its reference taken) in the place of what had its key. */
void store_index_put(struct store_index *ix, const struct store_object *o);
void store_index_del(struct store_index *ix, const char *key);
/* Position of the first item whose key is not below key. */
size_t store_index_lower(const struct store_index *ix, const char *key);
void store_index_done(struct store_index *ix);
/* "ns/name", or "name" when ns is NULL or ""; malloc'd. */
char *store_key(const char *ns, const char *name);

/* --- writes --- */
enum store_op_type { OP_CREATE, OP_UPDATE, OP_PATCH, OP_MUTATE, OP_DELETE };

struct store_op {
    struct store_op *next;
    enum store_op_type type;
    enum kind kind;
    char *key;         /* NULL for a create until its name is known */
    struct tree *tree; /* create, update: the object; patch: the patch */
    char *uid;         /* precondition or NULL */
    uint64_t rv;       /* precondition or 0 */
    bool dry_run;
    int (*check)(void *ctx, struct tree *obj);
    store_mutate_fn fn;
    store_done done;
    void *ctx;
    /* set by store_eval */
    int rc;
    struct err err;
    bool changed, removed; /* changed: something is to be written (unless dry_run) */
    enum store_event_type event;
    const struct store_object *old_obj, *obj; /* owned references */
};

/* Looks at the newest version (queued ones included) and fills in the op's result. */
void store_eval(struct store *st, struct store_op *op);
/* The newest version: of the batch that is being formed, else committed. Borrowed. */
const struct store_object *store_newest(struct store *st, enum kind kind, const char *key);

/* --- back ends --- */
struct store_write {
    enum kind kind;
    bool remove;
    const struct store_object *obj; /* for a removal: any version, only its key counts */
};

struct store_backend {
    /* Makes the writes and the counter durable, all or none, then calls store_committed on the
     * loop's thread (from here or later). writes stay valid until then. One batch at a time. */
    void (*commit)(void *impl, const struct store_write *writes, size_t len, uint64_t rv);
    /* Blocks until the batch under way has called store_committed. */
    void (*wait)(void *impl);
    void (*close)(void *impl);
};

struct store_past {
    enum store_event_type type;
    uint64_t rv;
    const struct store_object *old_obj, *obj;
};

struct store {
    struct loop *loop;
    const struct store_backend *backend;
    void *impl;
    struct rng rng;   /* uids and generated names */
    uint64_t rv;      /* newest committed */
    uint64_t next_rv; /* newest given out */
    struct store_index index[KIND_COUNT];
    struct loop_timer *timer; /* the next batch is formed when it fires */
    struct store_op *queue, **queue_tail;
    struct store_op *batch[STORE_BATCH_WRITES];
    size_t batch_len;
    struct store_write writes[STORE_BATCH_WRITES];
    size_t writes_len;
    struct strmap *overlay; /* "KIND/key" -> the batch's last op that wrote it */
    bool in_flight, closing;
    struct store_watch *watches;
    unsigned dispatching;    /* depth; unwatched ones are freed at 0 */
    struct store_past *past; /* ring of STORE_HISTORY_EVENTS */
    size_t past_first, past_len, past_bytes;
    uint64_t past_floor; /* events up to this rv are not kept */
};

/* seed 0: from the system's random source. impl is set by the caller. */
struct store *store_new(struct loop *loop, const struct store_backend *backend, uint64_t seed);
/* While opening: an object that was on disk (taken). */
void store_load(struct store *st, struct store_object *o);
/* While opening: the counter that was on disk. */
void store_load_rv(struct store *st, uint64_t rv);
/* From the back end, on the loop: the batch is durable (rc 0) or has left no trace. */
void store_committed(struct store *st, int rc, const struct err *err);

void store_events_publish(struct store *st, const struct store_op *op);
void store_events_done(struct store *st);

#endif
