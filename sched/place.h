/* Places one VM: a cluster snapshot in, a decision with its reasons out. Pure: no time, no input or
 * output, no randomness but the stated tie-break. Called by drover-controller and `drover schedule`.
 * Rules: kube-scheduler's default profile and KubeVirt's, as docs/scheduling.md states them. */
#ifndef SCHED_PLACE_H
#define SCHED_PLACE_H

#include "api/tree.h"
#include "api/types.h"
#include "base/arena.h"

struct cluster; /* the snapshot: nodes, what runs on them, cluster settings */

struct cluster *cluster_new(void);
void cluster_free(struct cluster *c);
/* Settings that change placement: defaultCPUModel, workloads.nodePlacement, vmiCPUAllocationRatio.
 * Borrowed: must outlive c. NULL = upstream's defaults. Call it before VMIs are added. */
void cluster_set_hco(struct cluster *c, const struct hco *hco);
/* Heartbeats older than this many seconds before now_us (wall) make a node unfit for VMs, and so do
 * a missing one and a missing label kubevirt.io/schedulable=true; timeout_s 0 = do not look. */
void cluster_set_heartbeat(struct cluster *c, int64_t now_us, int64_t timeout_s);
/* The objects were written by hand: what only a running handler publishes (heartbeat, the label
 * kubevirt.io/schedulable) may be missing; what is there still counts. */
void cluster_set_from_files(struct cluster *c);
void cluster_add_namespace(struct cluster *c, const struct namespace_ *ns); /* borrowed */
void cluster_add_node(struct cluster *c, const struct node *n);             /* borrowed */
/* A VMI that occupies status.nodeName, and during a migration both of its ends.
 * Final ones and those without a node are ignored. Borrowed. */
void cluster_add_vmi(struct cluster *c, const struct vmi *v);
/* A Pod that occupies spec.nodeName, with the same exceptions. Borrowed. */
void cluster_add_pod(struct cluster *c, const struct pod *p);
/* Room for a decision that the caller has taken but not yet stored. Does nothing when the same VM
 * occupies the node already. Borrowed. */
void cluster_reserve(struct cluster *c, const struct vmi *v, const char *node);
void cluster_reserve_pod(struct cluster *c, const struct pod *p, const char *node);

/* --- changes: the same cluster, later. Everything added is borrowed until it is replaced or removed. --- */
/* In place of what is there by that name, or new (then as cluster_add_node). */
void cluster_update_node(struct cluster *c, const struct node *n);
/* What ran there stays known, as on a node that was never added. */
void cluster_remove_node(struct cluster *c, const char *name);
/* In place of all that this VMI occupies; a final one occupies nothing. */
void cluster_update_vmi(struct cluster *c, const struct vmi *v);
void cluster_remove_vmi(struct cluster *c, const char *ns, const char *name);
void cluster_update_pod(struct cluster *c, const struct pod *p);
void cluster_remove_pod(struct cluster *c, const char *ns, const char *name);
void cluster_update_namespace(struct cluster *c, const struct namespace_ *ns);
void cluster_remove_namespace(struct cluster *c, const char *name);
/* Takes back cluster_reserve; nothing when it does not occupy that node. */
void cluster_unreserve(struct cluster *c, const char *ns, const char *name, const char *node);
/* The time moves on: heartbeats age. */
void cluster_set_now(struct cluster *c, int64_t now_us);
/* What VMs are attached to; in place of one of that name. Borrowed. Networks before VMIs: the resources that
 * they name count for the VMIs that are added later. */
void cluster_add_pvc(struct cluster *c, const struct pvc *p);
void cluster_remove_pvc(struct cluster *c, const char *ns, const char *name);
void cluster_add_pv(struct cluster *c, const struct pv *p);
void cluster_remove_pv(struct cluster *c, const char *name);
void cluster_add_storage_class(struct cluster *c, const struct storage_class *s);
void cluster_remove_storage_class(struct cluster *c, const char *name);
void cluster_add_nad(struct cluster *c, const struct nad *n);
void cluster_remove_nad(struct cluster *c, const char *ns, const char *name);
/* In place of profile_default() (sched/profile.h). Borrowed. NULL: the default again. */
struct profile;
void cluster_set_profile(struct cluster *c, const struct profile *p);

/* How ties between nodes are broken. 0, the default: the first name in byte order. Else the nodes stand in
 * an order that the seed and their names alone decide. */
void cluster_set_seed(struct cluster *c, uint64_t seed);

enum place_plugin {
    PLACE_TAINT,
    PLACE_AFFINITY,
    PLACE_FIT,
    PLACE_BALANCED,
    PLACE_SPREAD,
    PLACE_PEERS,
    PLACE_PLUGINS
};

enum place_purpose { PLACE_START, PLACE_MIGRATE };

/* A condition of Nodes, by their handlers, and what a node is refused with for it. */
#define PLACE_NETWORK_CONDITION "MigrationNetworkReady"
#define PLACE_NETWORK_REASON    "node(s) had no ready migration network"

struct place_request {
    const struct vmi *vmi;
    const struct pod *pod; /* instead of vmi: placed as kube-scheduler would; the filters for VMs
                              (readiness, handler, CPU, workload placement) do not apply */
    enum place_purpose purpose; /* MIGRATE: never the source; host-model rules; its own use of the
                                   source is not counted against the target */
    const char *target; /* explicit target node, or NULL; checked against the same filters */
    bool
        force; /* with target: what people ask for does not count (cordon, taints, selectors, placement
                   of workloads, neighbours); what the VM needs to run there does */
    const struct kv_list *added_node_selector; /* of the VMIM, or NULL */
    bool needs_network; /* MIGRATE over a dedicated network: to no node whose handler says that it
                           cannot use it (PLACE_NETWORK_CONDITION False) */
};

struct place_plugin_score {
    const char *plugin;    /* kube-scheduler's name */
    int64_t score, weight; /* 0..100, before weighting; above 0 */
};

struct place_why {
    const char *rule;         /* the plugin's name, or ours (docs/scheduling.md, "Filters") */
    const char *wanted, *has; /* "8546Mi memory", "6Gi free of 8Gi" */
};

struct place_node {
    const char *name;
    bool fits;
    int64_t score;                     /* total / sum of weights, rounded down: 0..100 */
    int64_t total;                     /* weighted sum */
    struct place_plugin_score *scores; /* of the plugins that have a weight */
    size_t scores_len;
    struct str_list reasons; /* why it does not fit, kube-scheduler's texts */
    struct place_why
        *whys; /* after place_explain(): every rule that it fails, not only the first */
    size_t whys_len;
};

struct place_result {
    const char *node;         /* NULL: fits nowhere */
    const char *message;      /* "0/3 nodes are available: ..." or "" */
    struct str_list best;     /* all nodes with the highest total */
    struct place_node *nodes; /* in the order of cluster_add_node */
    size_t nodes_len;
    struct arena *arena;
};

/* Never fails: a malformed request fits nowhere and says why. The result is the caller's. Ties are
 * broken as cluster_set_seed says. */
struct place_result *place(const struct cluster *c, const struct place_request *rq);
/* Which of the first max nodes fit and why the others do not: no scores, no choice. */
struct place_result *place_look(const struct cluster *c, const struct place_request *rq,
                                size_t max);
/* Adds to the nodes that do not fit (the first max of them) what each rule wants and what they have. c and
 * rq as for place(), and unchanged since. */
void place_explain(const struct cluster *c, const struct place_request *rq,
                   struct place_result *res, size_t max);
void place_result_free(struct place_result *r);
/* One VM's answer as JSON: "vm", "node", "message", "best", "nodes". The caller's. */
struct tree *place_result_tree(const struct place_result *r, const char *vm_ns,
                               const char *vm_name);

/* What a VMI asks of its node, by KubeVirt's and the 4.15 documents' formulas. */
int64_t vmi_memory_request_bytes(const struct vmi_spec *s); /* guest memory + overhead */
int64_t vmi_guest_memory_bytes(const struct vmi_spec *s);
int64_t vmi_cpu_request_milli(const struct vmi_spec *s, int64_t allocation_ratio);
/* What the feature gate alignCPUs adds to it: one CPU where the emulator's own would make the total odd. */
int64_t vmi_align_milli(const struct vmi_spec *s, const struct hco *hco);
/* The CPU model by precedence VM, cluster, host-model. Borrowed from its inputs or a literal. */
const char *vmi_cpu_model(const struct vmi_spec *s, const struct hco *hco);

/* The TSC frequency, in Hz, that a guest which counts on one (invtsc, Hyper-V re-enlightenment) should start
 * with: the lowest of the nodes that take VMs or run some. 0: it does not count on one, or none is
 * known. Whoever starts the VMI writes it to status.topologyHints.tscFrequency, as KubeVirt does. */
int64_t vmi_tsc_hint(const struct cluster *c, const struct vmi *v);

/* On a VMI whose model is host-model or host-passthrough: the model that it started with and the
 * features that go with it, "Haswell aes avx ...". Whoever starts the VMI writes it once, from
 * vmi_host_model_pin(); place() then looks for migration targets that have it, and keeps the way
 * back open after a move to a newer host. Without it, place() reads the source's labels. */
#define PLACE_ANN_HOST_MODEL "drover.io/host-model"
/* NULL when the node has no host-model label. In the arena. */
const char *vmi_host_model_pin(const struct node *n, struct arena *a);

#endif
