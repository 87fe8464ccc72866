/* Which MigrationPolicy applies to a VM and what follows from it. Pure. Rules: seeds B, C03-C13,
 * README of the facts: all labels of both selectors must be there; more matching labels win; then
 * the byte-wise order of the sorted matching keys; then the name. The whole of it, with examples:
 * docs/migration-policy.md. Called by drover-controller at hand-off and by `drover policy`. */
#ifndef NETPOLICY_POLICY_H
#define NETPOLICY_POLICY_H

#include "api/migration_options.h"
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
    size_t matching_labels; /* labels of both selectors that are there, also when not all are */
    const char *reason;     /* one sentence: why (not), and why it lost against the chosen one */
};

/* The effective values, in the order in which `drover policy` prints them. */
enum policy_field {
    POLICY_BANDWIDTH,
    POLICY_COMPLETION_TIMEOUT,
    POLICY_PROGRESS_TIMEOUT,
    POLICY_AUTO_CONVERGE,
    POLICY_POST_COPY,
    POLICY_DISRUPTION,
    POLICY_MAX_DOWNTIME,
    POLICY_PARALLEL_CLUSTER,
    POLICY_PARALLEL_NODE,
    POLICY_NETWORK,
    POLICY_DISABLE_TLS,
    POLICY_FIELDS
};

struct policy_decision {
    const char *policy; /* NULL: none applies */
    /* every has_ set; bandwidth 0 = unlimited; network is "NS/NAME" or NULL */
    struct migration_configuration effective;
    /* where each value comes from: "default", "HyperConverged", "KubeVirt", "policy NAME", or
     * "allowPostCopy" for a disruption that follows it */
    const char *source[POLICY_FIELDS];
    struct migration_options options; /* from annotations, layer by layer like the others */
    const char *option_source[MIGRATION_OPTION_COUNT];
    int64_t
        completion_timeout_s; /* for this VM's memory (and migrated disks): rounded up; 0 = none */
    struct policy_candidate *candidates; /* sorted by name */
    size_t candidates_len;
};

/* hco, kubevirt and ns may be NULL. A HyperConverged that is there counts alone: it owns the
 * KubeVirt object's settings (seeds B01, B08). memory_bytes: guest memory, and disks that migrate
 * (policy_disk_bytes). Borrowed texts point into the inputs, the rest lives in the arena. */
void policy_decide(const struct migration_policy *const *policies, size_t len,
                   const struct hco *hco, const struct kubevirt *kv, const struct namespace_ *ns,
                   const struct vmi *vmi, int64_t memory_bytes, struct policy_decision *ret,
                   struct arena *a);

/* The JSON of CLI.md. The caller's. */
struct tree *policy_decision_tree(const struct policy_decision *d, const char *vm_ns,
                                  const char *vm_name);

/* The field's name as manifests spell it, and its effective value as text for people ("64Mi/s",
 * "unlimited", "800 s per GiB"). buf of 300 is enough. */
const char *policy_field_name(enum policy_field f);
void policy_field_text(const struct policy_decision *d, enum policy_field f, char *buf,
                       size_t size);

/* ceil(s_per_gib * bytes / 2^30), saturating; 0 when either is 0 or less. */
int64_t policy_completion_timeout_s(int64_t s_per_gib, int64_t bytes);

/* Bytes of disks that travel with a VM whose migration method is BlockMigration:
 * emptyDisk.capacity, hostDisk.capacity, and the claims (persistentVolumeClaim, dataVolume) that
 * are not ReadWriteMany, by their spec.resources.requests.storage. vm: a VirtualMachine or
 * VirtualMachineInstance; objects: a TREE_LIST in which its claims are looked up, or NULL. What has
 * no stated size counts 0. Saturating. */
int64_t policy_disk_bytes(const struct tree *vm, const struct tree *objects);

#endif
