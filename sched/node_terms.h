/* Node selectors and node affinity, compiled once a decision: checked for validity, numbers read.
 * Internal to sched/. Follows kube-scheduler 1.31 (component-helpers/scheduling/corev1/
 * nodeaffinity). */
#ifndef SCHED_NODE_TERMS_H
#define SCHED_NODE_TERMS_H

#include "api/types.h"
#include "base/arena.h"

/* A node's labels, sorted by key. */
struct node_labels {
    const struct kv *items;
    size_t len;
};

struct node_labels node_labels_sorted(const struct kv_list *l, struct arena *a);
const char *node_labels_get(const struct node_labels *l, const char *key); /* or NULL */
bool node_labels_true(const struct node_labels *l, const char *key);       /* its value is "true" */
/* The first label at or after *at whose key begins with prefix and whose value is "true"; what
 * follows the prefix, or NULL. Start with *at = 0. */
const char *node_labels_next(const struct node_labels *l, const char *prefix, size_t *at);

struct node_rule {   /* one requirement */
    const char *key; /* NULL: the node's name */
    enum sel_op op;
    const struct str_list *values;
    int64_t number; /* of Gt and Lt */
};

struct node_clause {
    bool never; /* empty, or poisoned by a requirement that is not valid */
    struct node_rule *rules;
    size_t rules_len;
    int64_t weight; /* of preferred terms */
};

struct node_terms {
    const struct kv_list *selectors[2]; /* every pair must be there; NULL: none. The second gives
                                           way to the first where both have a key */
    bool has_required;
    struct node_clause *required; /* any of them */
    size_t required_len;
    bool pinned;          /* every required term names its nodes */
    struct str_list pins; /* those names */
};

/* selector, added, affinity: borrowed; any may be NULL. */
struct node_terms node_terms_compile(const struct kv_list *selector, const struct kv_list *added,
                                     const struct affinity *affinity, struct arena *a);
bool node_terms_match(const struct node_terms *t, const struct node_labels *labels,
                      const char *name);
/* One requirement of a clause that is not `never`. */
bool node_terms_rule_matches(const struct node_rule *r, const struct node_labels *labels,
                             const char *name);
/* Does the selector (or NULL) ask for the key? */
bool node_terms_selects(const struct kv_list *selector, const char *key);
bool node_terms_pins(const struct node_terms *t, const char *name);

struct node_clauses {
    struct node_clause *items;
    size_t len;
};

/* Terms that are preferred; those of no weight and empty ones are left out. Appends to ret. */
void node_terms_preferred(const struct affinity *affinity, struct arena *a,
                          struct node_clauses *ret);
/* The sum of the weights of the terms that match. */
int64_t node_terms_weight(const struct node_clauses *t, const struct node_labels *labels,
                          const char *name);

#endif
