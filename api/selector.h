/* Labels: syntax, selectors (text form of kubectl -l, and the structured LabelSelector), field
 * selectors. Pure. Follows apimachinery's labels and validation packages. */
#ifndef API_SELECTOR_H
#define API_SELECTOR_H

#include <stdbool.h>

#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"

/* Syntax checks; 0 or -EINVAL with the rule that was broken. */
int label_key_check(const char *key, struct err *err); /* [prefix/]name */
int label_value_check(const char *value, struct err *err);
int name_check(const char *name, struct err *err);       /* RFC 1123 subdomain */
int name_label_check(const char *name, struct err *err); /* RFC 1123 label, at most 63 */

/* Go's ParseInt(s, 10, 64): how Gt and Lt read labels and values. False when it is no such number. */
bool label_int(const char *s, int64_t *ret);

/* Value of a label, or NULL. Borrowed. */
const char *kv_get(const struct kv_list *l, const char *key);
int kv_by_key(const void *a, const void *b); /* of two struct kv, for qsort: byte order */

/* One requirement against a label set, with node-affinity semantics (spec/schedulers.md 1.2):
 * NotIn is true when the key is absent; Gt/Lt need integers on both sides. */
bool requirement_matches(const struct requirement *r, const struct kv_list *labels);
/* metav1.LabelSelector: matchLabels AND matchExpressions; empty matches all; NULL matches none. */
bool label_selector_matches(const struct label_selector *s, const struct kv_list *labels);

/* kubectl -l: "a=b,c!=d,e,!f,g in (x,y),h notin (z)". The result lives in the arena. */
int selector_parse(const char *text, struct arena *a, struct label_selector *ret, struct err *err);

/* kubectl --field-selector: "metadata.name=x,status.phase!=Running". Applied to a tree by path. */
struct tree;
struct field_selector;
int field_selector_parse(const char *text, struct field_selector **ret, struct err *err);
bool field_selector_matches(const struct field_selector *s, const struct tree *object);
void field_selector_free(struct field_selector *s);

#endif
