/* One API request on its way through control/api_*.c and control/watch.c: what was asked, for which
 * kind and object, and what will be answered. Internal to those files.
 *
 * A handler function (int f(struct api_call *)) returns 0 when it has answered or will (it waits
 * for the store), or -1 after one of the api_err_* functions; the caller then sends that error. A
 * call that has been answered is freed. */
#ifndef CONTROL_API_CALL_H
#define CONTROL_API_CALL_H

#include "api/object.h"
#include "api/selector.h"
#include "base/arena.h"
#include "control/api_server.h"
#include "control/control_limits.h"
#include "control/store_object.h"

enum api_format { API_JSON, API_YAML, API_TABLE };

struct api {
    struct loop *loop;
    struct store *store;
    struct http_server *http;
    struct api_config config;
    struct api_call *calls; /* all that are not answered yet */
    struct store_watch *housekeeping;
    struct metrics *metrics;
    struct store_watch *metrics_watch;
    struct consoles *consoles; /* control/console.h */
    struct loop_timer *event_timer;
    bool stopped;
};

struct api_cause {
    const char *reason, *message, *field;
};

struct api_error {
    int code; /* HTTP status; 0: none */
    const char *reason, *message;
    const char *name, *group, *kind, *uid; /* details; NULL: absent */
    struct api_cause *causes;
    size_t causes_len;
};

struct api_call {
    struct api_call *next, **prev;
    struct api *api;
    struct http_exchange *x; /* NULL: the client has gone */
    struct arena *arena;     /* everything the call points to, but for what x owns */
    unsigned pending;        /* store operations that will still call back */

    const struct http_request *request; /* NULL when x is */
    const struct kind_info *kind;
    const char *version;         /* of the kind, as in the URL */
    const char *ns, *name, *sub; /* "" when absent */
    enum api_format format;
    enum { API_OBJECT_NONE, API_OBJECT_METADATA, API_OBJECT_FULL } include; /* rows of a Table */
    bool pretty, dry_run;
    enum { API_STRICT, API_WARN, API_IGNORE } validation;
    struct label_selector *labels; /* NULL: all */
    struct field_selector *fields; /* NULL: all; freed with the call */
    struct warnings warnings;
    struct api_error error;

    struct tree *body; /* the request's object or patch */
    enum { API_PUT, API_MERGE_PATCH, API_STRATEGIC_PATCH, API_JSON_PATCH } change;
};

/* --- api_server.c --- */
void api_call_free(struct api_call *c);
/* Keeps the call alive until a store operation has called back; api_call_back says that it has,
 * and returns false when nobody is left to answer: the client has gone and the call, too, unless
 * other operations still have to call back. */
void api_call_wait(struct api_call *c);
bool api_call_back(struct api_call *c);

/* --- api_status.c: errors, as upstream words them --- */
int api_err(struct api_call *c, int code, const char *reason, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
int api_err_bad(struct api_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3); /* 400 */
int api_err_forbidden(struct api_call *c, const struct kind_info *k, const char *name,
                      const char *fmt, ...) PRINTF_LIKE(4, 5); /* 403 */
int api_err_conflict(struct api_call *c, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* 409 */
int api_err_not_found(struct api_call *c, const struct kind_info *k, const char *name);
int api_err_no_resource(struct api_call *c); /* 404, no such path */
int api_err_method(struct api_call *c);      /* 405 */
/* 422 with causes, or 400 when all that is wrong are unknown fields. */
int api_err_invalid(struct api_call *c, const char *name, const struct field_errors *errs);
/* The same for one field. */
int api_err_field(struct api_call *c, const char *name, const char *field, const char *type,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
/* What the store said in res->rc (not 0). */
int api_err_store(struct api_call *c, const struct store_result *res);
/* Body of a Status. */
void api_status_json(const struct api_error *e, struct sb *out);
/* For refusals below this layer (http_config.error_body). */
void api_status_plain(int status, const char *message, struct sb *out);
/* "virtualmachines.kubevirt.io", "nodes"; lives in the call's arena. */
const char *api_resource(struct api_call *c, const struct kind_info *k);

/* --- api_reply.c: answers; each ends the call --- */
void api_send_error(struct api_call *c);
void api_send_object(struct api_call *c, int status, const struct tree *obj);
void api_send_stored(struct api_call *c, int status, const struct store_object *o);
void api_send_json(struct api_call *c, int status, struct sb *body); /* takes the content */
void api_send_typed(struct api_call *c, int status, const char *type, struct sb *body);
void api_send_text(struct api_call *c, int status, const char *text);
/* Takes the content of body. */
void api_send_body(struct api_call *c, int status, const char *content_type, struct sb *body);
/* Status Success with the object's details, as upstream answers a DELETE. */
void api_send_deleted(struct api_call *c, const struct tree *obj);
/* Appends the object as JSON, in the version that the URL names. */
void api_add_object(struct api_call *c, const struct store_object *o, struct sb *out);
void api_add_tree(struct api_call *c, const struct tree *obj, struct sb *out);
/* Spreads JSON over lines, for people (pretty=true). */
void api_indent(struct sb *json);
/* What the Accept header asks for; 406 when we have none of it. */
int api_negotiate(struct api_call *c);
/* Copies the call's warnings into headers; before the answer. */
void api_add_warnings(struct api_call *c);
void api_warn(struct api_call *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- api_route.c --- */
int api_route(struct api_call *c);

/* --- api_discovery.c, api_openapi.c --- */
int api_discovery(struct api_call *c);
int api_discovery_gv(struct api_call *c); /* /apis/GROUP/VERSION */
/* The groups that are served ("" is the core), and a group's versions, preferred first; NULL at the
 * end. */
const char *api_group_at(size_t i);
const char *api_version_at(const char *group, size_t i);
int api_openapi(struct api_call *c);

/* --- api_read.c --- */
int api_get(struct api_call *c);
int api_list(struct api_call *c);
int api_parse_include(struct api_call *c); /* includeObject: what a Table's rows carry */
/* Selectors and their errors; used by list, watch and delete of a collection. */
int api_parse_selectors(struct api_call *c);
bool api_selected(struct api_call *c, const struct tree *obj);

/* --- watch.c --- */
int api_watch(struct api_call *c);

/* --- api_body.c --- */
/* The request's body as a map in c->body; 400, 415. empty_ok: no body gives NULL. */
int api_read_body(struct api_call *c, bool empty_ok);
/* dryRun, fieldValidation, pretty. */
int api_parse_options(struct api_call *c);
/* apiVersion, kind, name and namespace of c->body against the URL. */
int api_check_identity(struct api_call *c);
/* Schema, rules and defaults; unknown fields as fieldValidation wants. */
int api_validate(struct api_call *c, struct tree *obj, const struct tree *old_obj, unsigned flags);

/* --- api_create.c, api_change.c, api_delete.c --- */
int api_create(struct api_call *c);
int api_update(struct api_call *c); /* PUT */
int api_patch(struct api_call *c);
int api_delete(struct api_call *c);
int api_delete_collection(struct api_call *c);
/* What the kind's objects get from the server: a namespace's finalizer, first status fields. */
void api_prepare(struct api_call *c, struct tree *obj, bool create);
void api_prepare_namespace(struct tree *obj, bool create);

/* --- api_admission.c --- */
/* Rules that need other objects. As store_opts.check: ctx is the call; 0, or -EPERM with the call's
 * error set. */
int api_admit(void *ctx, struct tree *obj);
/* Whether the kind has such rules. */
bool api_admission_looks_at(enum kind kind);
/* api_admission_checkup.c: the same for a ConfigMap, which may be a network checkup. */
int api_admit_checkup(struct api_call *c, struct tree *cm);
/* Rules for changes that depend on other objects: 0, or the error is set. Inside the store. */
int api_admit_change(struct api_call *c, const struct tree *old, const struct tree *doc);

/* --- api_admission_network.c: HyperConverged, KubeVirt, NetworkAttachmentDefinition,
 * NodeNetworkConfigurationPolicy --- */
bool api_admission_is_network(enum kind kind);
/* old NULL: it is new. Inside the store: 0, maybe with warnings, or the error is set. */
int api_admit_network(struct api_call *c, const struct tree *old, const struct tree *doc);

/* --- api_subresource.c: start, stop, restart, migrate, pause, unpause --- */
int api_subresource(struct api_call *c);

/* --- api_housekeeping.c: namespaces that exist, end, and empty; old events --- */
void api_housekeeping_start(struct api *a);
void api_housekeeping_stop(struct api *a);
bool api_namespace_is_protected(const char *name);

/* --- api_table.c --- */
void api_table_list(struct api_call *c, const struct store_object *const *items, size_t len,
                    struct sb *out);
/* One watch event's object; with the column definitions when first. */
void api_table_row(struct api_call *c, const struct tree *obj, bool first, struct sb *out);

#endif
