/* Which MigrationPolicy applies to a VM and what follows from it. Pure. Rules: seeds C03-C13, README of the
 * facts: all labels of both selectors must be there; more matching labels win; then the byte-wise
 * order of the sorted matching keys; then the name. */
#ifndef NETPOLICY_POLICY_H
#define NETPOLICY_POLICY_H

#include "api/tree.h"
#include "api/types.h"
#include "base/arena.h"

#define POLICY_DEFAULT_BANDWIDTH          0
#define POLICY_DEFAULT_COMPLETION_TIMEOUT 800
#define POLICY_DEFAULT_PARALLEL_CLUSTER   5
#define POLICY_DEFAULT_PARALLEL_NODE      2
#define POLICY_DEFAULT_PROGRESS_TIMEOUT   150
#define POLICY_DEFAULT_MAX_DOWNTIME_MS    300

struct policy_candidate {
    const char *name;
    bool matches;
    size_t matching_labels;
    const char *reason; /* one sentence: why (not), and why it lost against the chosen one */
};

struct policy_decision {
    const char *policy; /* NULL: none applies */
    struct migration_configuration effective; /* every has_ set; bandwidth 0 = unlimited */
    int64_t completion_timeout_s; /* for this VM's memory (and migrated disks): rounded up; 0 = none */
    struct policy_candidate *candidates; /* sorted by name */
    size_t candidates_len;
};

/* hco, kubevirt and ns may be NULL. memory_bytes: guest memory (+ disks that migrate). Borrowed texts point into the
 * inputs, the rest lives in the arena. */
void policy_decide(const struct migration_policy *const *policies, size_t len, const struct hco *hco,
                   const struct kubevirt *kv, const struct namespace_ *ns, const struct vmi *vmi,
                   int64_t memory_bytes, struct policy_decision *ret, struct arena *a);
/* The JSON of CLI.md. The caller's. */
struct tree *policy_decision_tree(const struct policy_decision *d, const char *vm_ns,
                                  const char *vm_name);
/* ceil(s_per_gib * bytes / 2^30), saturating; 0 when s_per_gib is 0. */
int64_t policy_completion_timeout_s(int64_t s_per_gib, int64_t bytes);

#endif
