/* A local copy of all objects of one kind, kept up to date by list and watch in a thread of its
 * own; changes arrive on the loop's thread. After a break it lists again and reports what differs,
 * so that the callbacks are level-triggered: each object's newest state, and its end. */
#ifndef HANDLER_INFORMER_H
#define HANDLER_INFORMER_H

#include <stdbool.h>

#include "api/tree.h"
#include "base/loop.h"

struct informer;

struct informer_events {
    /* obj is borrowed; gone: it was deleted (obj is its last known state). */
    void (*object)(void *ctx, const struct tree *obj, bool gone);
    /* After each complete list: what was not reported by now does not exist. */
    void (*synced)(void *ctx);
    void *ctx;
};

/* path: the collection ("/apis/kubevirt.io/v1/virtualmachineinstances"), with selectors behind it
 * if need be ("?labelSelector=..."). */
struct informer *informer_new(struct loop *l, const char *url, const char *path,
                              const struct informer_events *ev, struct err *err);
void informer_free(struct informer *i); /* ends the thread; at most about a second */
bool informer_synced(const struct informer *i);
/* The newest known object; ns "" for cluster scope. Borrowed until the next turn of the loop. */
const struct tree *informer_get(const struct informer *i, const char *ns, const char *name);
/* By metadata.uid (linear). */
const struct tree *informer_get_uid(const struct informer *i, const char *uid);
/* The first by name; NULL when there is none. */
const struct tree *informer_first(const struct informer *i);
/* One object after another, from *it = 0 on; NULL at the end. */
const struct tree *informer_next(const struct informer *i, size_t *it);

#endif
