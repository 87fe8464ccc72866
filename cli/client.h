/* The command line's view of the controller: where it is, and one function for each thing that the
 * verbs do with objects. Wraps proto/rest.h; kinds come from api/object.h. Blocking; one thread.
 * Warnings of the server go to stderr once each, as "Warning: TEXT". */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "api/object.h"
#include "api/tree.h"
#include "base/err.h"
#include "base/sb.h"

#define CLIENT_DEFAULT_URL "unix:/run/drover/api.sock"

struct client;

/* The controller's address: `server` (from --server, may be NULL), else $DROVER_SERVER, else the
 * `drover dev` cluster that runs in its usual folder, else CLIENT_DEFAULT_URL. *ret_url is the
 * caller's; *ret_how is a literal that says which of them it was. -EINVAL: not a URL. */
int client_address(const char *server, char **ret_url, const char **ret_how, struct err *err);
/* Opens a connection to the address that client_address finds. Nothing is sent yet. */
int client_open(const char *server, struct client **ret, struct err *err);
void client_free(struct client *c); /* NULL is fine */
void client_auto(struct client **c);
#define AUTO_CLIENT CLEANUP(client_auto)
const char *client_url(const struct client *c);
/* How long each call may take; 10 s otherwise. For tests that kill the controller. */
void client_set_timeout(struct client *c, unsigned ms);

/* Appends the path of a collection (name NULL) or an object, percent-encoded. ns NULL or "": no
 * namespace in the path (cluster scope, or all namespaces). sub: a subresource or NULL. */
void client_path(const struct kind_info *ki, const char *ns, const char *name, const char *sub,
                 struct sb *out);
/* Appends "?labelSelector=..&fieldSelector=.." for those that are not NULL. */
void client_query(const char *labels, const char *fields, struct sb *out);

/* GETs a path. as_table: asks for meta.k8s.io/v1 Table. *ret is the caller's. */
int client_get_path(struct client *c, const char *path, bool as_table, struct tree **ret,
                    struct err *err);
int client_get(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
               struct tree **ret, struct err *err);
/* A List object (apiVersion, kind, metadata.resourceVersion, items). */
int client_list(struct client *c, const struct kind_info *ki, const char *ns, const char *labels,
                struct tree **ret, struct err *err);
/* ret may be NULL in these. */
int client_create(struct client *c, const struct kind_info *ki, const char *ns,
                  const struct tree *obj, struct tree **ret, struct err *err);
int client_patch(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
                 const char *sub, const struct tree *patch, struct tree **ret, struct err *err);
int client_delete(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
                  struct tree **ret, struct err *err);
/* Appends /apis/subresources.kubevirt.io/v1/namespaces/NS/PLURAL/NAME/ACTION. */
void client_action_path(const char *ns, const char *plural, const char *name, const char *action,
                        struct sb *out);
/* PUTs it. */
int client_action(struct client *c, const char *ns, const char *plural, const char *name,
                  const char *action, const struct tree *body, struct err *err);

/* Watches a path from a resourceVersion (NULL: now) and calls fn with each event: "ADDED",
 * "MODIFIED", "DELETED", "ERROR" and the object (borrowed; a Table when as_table). Begins again
 * when the server ends the stream. Ends with fn's value when that is not 0, with 0 when *stop is
 * set. */
typedef int (*client_event_fn)(void *ctx, const char *type, const struct tree *obj);
int client_watch(struct client *c, const char *path, const char *resource_version, bool as_table,
                 client_event_fn fn, void *ctx, const atomic_bool *stop, struct err *err);

/* Looks at an object again and again (every CLIENT_POLL_MS) until fn(ctx, obj) gives non-zero, and
 * returns that value; obj is NULL when the object is not there. -ETIMEDOUT after timeout_us (0 =
 * never), -EINTR when client_stop is set, else the error of the call. */
#define CLIENT_POLL_MS 200
typedef int (*client_wait_fn)(void *ctx, const struct tree *obj);
int client_wait(struct client *c, const struct kind_info *ki, const char *ns, const char *name,
                int64_t timeout_us, client_wait_fn fn, void *ctx, struct err *err);
/* Sleeps; returns early, with false, when client_stop is set. */
bool client_sleep(unsigned ms);

/* Set by SIGINT, SIGTERM and SIGHUP once client_catch_signals was called; ends watches and
 * waits. */
extern atomic_bool client_stop;
void client_catch_signals(void);

#endif
