/* The controller's object store: every object of the cluster as a tree in memory, and the same as
 * JSON on disk. Reads never touch the disk; a write is acknowledged only when it is durable. This
 * is the port: store_sqlite.c and store_mem.c are behind it, the HTTP API and the controller's own
 * loops (loop_*.c) in front. Follows Kubernetes' API conventions (metadata, resourceVersion,
 * finalizers, watch). Objects are not checked against their schema here: callers do that.
 *
 * All functions run on the loop's thread and none blocks, except store_open_sqlite and store_free.
 *
 * Order of things: writes are queued and evaluated in order, a group at a time, each on the newest
 * version (so two writers in one loop turn see one another); the group is then committed, and when
 * it is durable, for each write in order: memory changes, watchers are called, `done` is called.
 * When the commit fails nothing has changed and each `done` of the group gets the error. */
#ifndef CONTROL_STORE_H
#define CONTROL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/object.h"
#include "api/tree.h"
#include "base/err.h"
#include "base/loop.h"

struct store;
struct store_watch;

/* Opens or makes the SQLite file at path (":memory:" is refused: use store_open_mem) and reads all
 * objects. The file is held exclusively: -EBUSY when another process has it. loop is borrowed and
 * must outlive the store. Blocks. */
int store_open_sqlite(struct loop *loop, const char *path, struct store **ret, struct err *err);
/* Nothing on disk; the same rules and the same order of callbacks, completed by loop_defer, so that
 * it works on the simulated loop. For tests. Never fails. */
struct store *store_open_mem(struct loop *loop);
/* Waits for the commit under way (blocks), drops what is still queued (nobody was told of it),
 * calls no callbacks any more, closes. Not from inside a callback of the store. NULL is fine. */
void store_free(struct store *st);

/* --- reading ---
 * Trees are borrowed: valid until the caller returns to the loop, never to be changed (copy them).
 * ns is "" or NULL for kinds of cluster scope. */
const struct tree *store_get(struct store *st, enum kind kind, const char *ns, const char *name);
/* Calls fn for each object of the kind, ordered by "namespace/name" bytewise; ns NULL or "" = all
 * namespaces. fn returns false to stop. fn may queue writes (they change nothing before it ends).
 */
void store_list(struct store *st, enum kind kind, const char *ns,
                bool (*fn)(void *ctx, const struct tree *obj), void *ctx);
size_t store_count(struct store *st, enum kind kind);
/* The newest committed resourceVersion of the whole store. */
uint64_t store_rv(const struct store *st);
/* metadata.resourceVersion of an object as a number; 0 when absent. */
uint64_t store_object_rv(const struct tree *obj);

/* --- writing ---
 * done may be NULL. It is called exactly once, on the loop, never from inside the call that
 * queued the write; not at all after store_free. */
struct store_result {
    int rc;                 /* 0, or see below */
    const struct tree *obj; /* borrowed: the object after the write (removed: its last state);
                               NULL when rc is not 0 */
    bool changed;          /* false: the write would have changed nothing, so nothing was written */
    bool removed;          /* the object is gone (a delete with finalizers only marks it) */
    const struct err *err; /* borrowed; the message for a person when rc is not 0, never NULL */
};
/* rc:
 * -EEXIST  create: there is one of this name
 * -ENOENT  no such object
 * -EAGAIN  conflict: the precondition (resourceVersion, uid) does not hold; read again and retry
 * -EINVAL  the object has no name, kind or namespace as its kind wants; or fn refused so
 * -ENOSPC, -EIO, ...  the disk refused; nothing changed
 * any other: the value that a mutate or check function returned */
typedef void (*store_done)(void *ctx, const struct store_result *res);

/* Creates obj (taken): apiVersion, kind, metadata.name (or generateName) and, where the kind has
 * one, metadata.namespace must be there. Sets uid, creationTimestamp, resourceVersion, generation
 * (1; not for core kinds, as upstream). Removes deletionTimestamp and selfLink. status stays. */
void store_create(struct store *st, struct tree *obj, store_done done, void *ctx);

/* Replaces the object of the same kind, namespace and name by obj (taken). Its resourceVersion,
 * when it has one, and its uid, when it has one, must be the newest's (-EAGAIN else). uid,
 * creationTimestamp and deletionTimestamp cannot be changed; generation goes up when anything
 * outside metadata and status changed; the object is removed when it has a deletionTimestamp and
 * the last finalizer was taken away. Equal objects: not written. All this holds for patch and
 * mutate. */
void store_update(struct store *st, struct tree *obj, store_done done, void *ctx);

/* RFC 7386 merge patch (taken) on the newest version. rv 0 = no precondition; a
 * metadata.resourceVersion inside the patch is a precondition, too. */
void store_patch(struct store *st, enum kind kind, const char *ns, const char *name, uint64_t rv,
                 struct tree *patch, store_done done, void *ctx);

/* Read-modify-write: fn gets a copy of the newest version and changes it in place. It returns 1
 * (changed), 0 (leave it: done gets rc 0, changed = false) or a negative errno, which refuses the
 * write and comes back in done. fn runs later, on the loop, before done; ctx must live until done
 * was called. rv 0 = no precondition. fn may read the store: it sees what is committed, not what is
 * queued before it. */
typedef int (*store_mutate_fn)(void *ctx, struct tree *obj);
void store_mutate(struct store *st, enum kind kind, const char *ns, const char *name, uint64_t rv,
                  store_mutate_fn fn, store_done done, void *ctx);

/* Removes the object, or sets deletionTimestamp when it has finalizers (again: no change). uid NULL
 * and rv 0 = no precondition. */
void store_delete(struct store *st, enum kind kind, const char *ns, const char *name,
                  const char *uid, uint64_t rv, store_done done, void *ctx);

/* --- watching --- */
enum store_event_type { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };

struct store_event {
    enum store_event_type type;
    enum kind kind;
    uint64_t rv;
    const struct tree *old_obj; /* borrowed; NULL when added */
    const struct tree *obj;     /* borrowed; for a deleted object its last state with the new rv */
    const struct store_object *object; /* the same as obj; see store_object.h, for the HTTP API */
};
typedef void (*store_watch_fn)(void *ctx, const struct store_event *ev);

/* Calls fn on the loop for each committed change from now on, in order of rv; kind KIND_NONE = all
 * kinds. Nothing is replayed: store_list in the same callback gives the state it starts from. fn
 * may queue writes, and may unwatch itself and others. */
struct store_watch *store_watch(struct store *st, enum kind kind, store_watch_fn fn, void *ctx);
void store_unwatch(struct store_watch *w); /* NULL is fine */

#endif
