/* The controller's API: Kubernetes' REST conventions over the object store. Serves kubectl, the
 * handlers and `drover`. docs/api.md says what is served and where it differs from upstream. Loop
 * thread only. */
#ifndef CONTROL_API_SERVER_H
#define CONTROL_API_SERVER_H

#include <stddef.h>

#include "base/loop.h"
#include "control/http_server.h"
#include "control/store.h"

struct api;

struct api_config {
    struct http_config http;  /* limits and deadlines only; zeros: the defaults */
    size_t watch_queue_bytes; /* 0: WATCH_MAX_QUEUE_BYTES */
    unsigned bookmark_ms;     /* 0: WATCH_BOOKMARK_S */
    /* 0: CONSOLE_CONNECT_S, CONSOLE_WHY_S, CONSOLE_PING_S */
    unsigned console_connect_ms, console_why_ms, console_ping_ms;
};

/* loop and store are borrowed and must outlive the API. config may be NULL. Makes the namespaces
 * that exist from the start (queued: they are there when the loop has run). */
struct api *api_new(struct loop *loop, struct store *store, const struct api_config *config);
/* As http_server_listen. */
int api_listen(struct api *a, const char *where, char *ret_url, size_t size, struct err *err);
/* Ends all connections and accepts no more. Writes that clients have asked for may still be in the
 * store's queue: call store_free next, then api_free. */
void api_stop(struct api *a);
void api_free(struct api *a); /* NULL is fine */

#endif
