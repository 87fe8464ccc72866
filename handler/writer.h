/* Writes to the controller's API, one after another in a thread, so that the loop never waits. A
 * write whose key equals that of one that still waits replaces it (progress, heartbeats). */
#ifndef HANDLER_WRITER_H
#define HANDLER_WRITER_H

#include <stddef.h>

#include "api/tree.h"
#include "base/loop.h"

struct writer;

/* status: the HTTP status, or 0 when no answer came (then the effect is not known). body is the
 * answer, borrowed, or NULL. Called on the loop's thread. */
typedef void (*writer_fn)(void *ctx, int status, const struct tree *body, const char *error);

struct writer *writer_new(struct loop *l, const char *url, struct err *err);
size_t writer_queued(struct writer *w); /* writes that wait. Any thread */
void writer_free(struct writer *w);     /* what waits is dropped without an answer */
/* content_type NULL = merge patch. key NULL = never replaced. body is borrowed. fn may be NULL. */
void writer_send(struct writer *w, const char *key, const char *method, const char *path,
                 const char *content_type, const struct tree *body, writer_fn fn, void *ctx);

#endif
