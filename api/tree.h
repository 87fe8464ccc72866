/* The generic tree: what YAML and JSON documents become before anything knows their meaning, and
 * what the controller stores. Maps keep their order. Every node remembers where it was written.
 * Not thread-safe; a tree has one owner. Functions that allocate abort when memory runs out; sizes
 * from outside are bounded by api/limits.h. */
#ifndef API_TREE_H
#define API_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sb.h"

enum tree_type { TREE_NULL, TREE_BOOL, TREE_INT, TREE_FLOAT, TREE_STRING, TREE_LIST, TREE_MAP };

struct tree;

/* Where a node stands in its file; line and column count from 1, 0 = unknown (JSON bodies). */
struct tree_pos {
    unsigned line, column;
};

struct tree *tree_null(void);
struct tree *tree_bool(bool v);
struct tree *tree_int(int64_t v);
struct tree *tree_float(double v);
struct tree *tree_string(const char *s);              /* s is copied; NULL gives TREE_NULL */
struct tree *tree_stringn(const char *s, size_t len); /* len bytes without a NUL among them */
struct tree *tree_stringf(const char *fmt, ...) PRINTF_LIKE(1, 2);
struct tree *tree_list(void);
struct tree *tree_map(void);
void tree_free(struct tree *t); /* NULL is fine */
void tree_auto(struct tree **t);
#define AUTO_TREE CLEANUP(tree_auto)
struct tree *tree_copy(const struct tree *t);                /* deep; NULL gives NULL */
bool tree_equal(const struct tree *a, const struct tree *b); /* map order does not count */

enum tree_type tree_type(const struct tree *t);  /* NULL counts as TREE_NULL */
const char *tree_type_name(enum tree_type type); /* "boolean", "integer", "string", ... */
struct tree_pos tree_pos(const struct tree *t);
void tree_set_pos(struct tree *t, struct tree_pos pos);

/* Scalars; the default comes back when t is NULL or of another type. Strings are borrowed. */
bool tree_get_bool(const struct tree *t, bool dflt);
int64_t tree_get_int(const struct tree *t, int64_t dflt);
double tree_get_float(const struct tree *t, double dflt); /* TREE_INT too */
const char *tree_get_string(const struct tree *t, const char *dflt);

/* Lists and maps. len of anything else is 0. Children are borrowed. Passing NULL or another type
 * to a getter gives NULL. */
size_t tree_len(const struct tree *t);
struct tree *tree_at(const struct tree *t, size_t i);    /* list item, or map value i */
const char *tree_key_at(const struct tree *t, size_t i); /* map key i */
struct tree_pos tree_key_pos_at(const struct tree *t, size_t i);
void tree_set_key_pos_at(struct tree *t, size_t i, struct tree_pos pos);
struct tree *tree_get(const struct tree *t, const char *key); /* map value or NULL */
/* Child by path of map keys: tree_find(t, "status", "migrationState", "targetNode", NULL). */
struct tree *tree_find(const struct tree *t, ...) __attribute__((sentinel));
/* The same, as a string: the scalar's text, or dflt. Last argument NULL. */
const char *tree_find_string(const struct tree *t, const char *dflt, ...) __attribute__((sentinel));

void tree_append(struct tree *list, struct tree *item); /* takes item */
void tree_list_remove(struct tree *list, size_t i);
struct tree *tree_list_take(struct tree *list, size_t i);             /* out of it; the caller's */
void tree_set(struct tree *map, const char *key, struct tree *value); /* takes value; replaces */
bool tree_del(struct tree *map, const char *key);                     /* true when it was there */
struct tree *tree_take(struct tree *map, const char *key); /* out of it, or NULL; the caller's */
/* Returns the map under key, making it when it is absent or null (or of another type: replaced). */
struct tree *tree_ensure_map(struct tree *map, const char *key);
/* Sets a value at a path of map keys, making maps on the way. Takes value; the path ends with NULL. */
void tree_set_path(struct tree *map, struct tree *value, ...) __attribute__((sentinel));

/* RFC 7386: changes target in place (both maps); null deletes. patch is borrowed. */
void tree_merge_patch(struct tree *target, const struct tree *patch);
/* The merge patch that makes `to` from `from`; NULL when they are equal. The caller's. */
struct tree *tree_merge_diff(const struct tree *from, const struct tree *to);
/* Kubernetes' strategic merge patch for core/v1 kinds, as far as kubectl sends it: $patch,
 * $retainKeys, $setElementOrder and $deleteFromPrimitiveList are honoured; status.conditions and
 * status.addresses merge by type, metadata.ownerReferences by uid, metadata.finalizers and
 * spec.podCIDRs as sets; all other lists are replaced (spec.taints among them, as upstream). On an
 * error the target may have been changed in part: patch a copy. */
int tree_strategic_patch(struct tree *target, const struct tree *patch, struct err *err);

/* --- text --- */
/* One JSON value, strict RFC 8259, no duplicate keys, no \u0000, integers within int64, within
 * api/limits.h. Uses jansson. Errors: "line L, column C: ...". -EINVAL, or -E2BIG for a limit. */
int tree_from_json(const char *buf, size_t len, struct tree **ret, struct err *err);
/* Compact when indent is 0; keys in map order. Floats keep a point or exponent, so that they are
 * floats again when they are read. */
void tree_to_json(const struct tree *t, int indent, struct sb *out);

/* All documents of a YAML (or JSON) stream; empty documents are skipped. YAML 1.1 core types as
 * Kubernetes' clients read them: true/false/null/ints/floats plain, everything quoted is a string
 * (yes/no/on/off stay strings as in YAML 1.2). Anchors and aliases are expanded within the limits;
 * duplicate keys, non-string keys of complex type, merge keys "<<", binary tags: errors. Errors are
 * "FILE:L:C: ..." with `file` as given. *ret_docs is a TREE_LIST, the caller's. */
int tree_from_yaml(const char *file, const char *buf, size_t len, struct tree **ret_docs,
                   struct err *err);
/* Block style, strings quoted where a reader would otherwise see another type. */
void tree_to_yaml(const struct tree *t, struct sb *out);

#endif
