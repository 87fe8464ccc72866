/* What a drain does with each VM of a node, and whether a VM can be live-migrated. Pure. Sources: the
 * eviction strategies of the OpenShift Virtualization 4.15 documents and KubeVirt's eviction webhook;
 * the order and reasons of KubeVirt's LiveMigratable condition. */
#ifndef SCHED_EVICT_H
#define SCHED_EVICT_H

#include "api/types.h"
#include "base/arena.h"

struct migratable {
    bool ok;
    const char *reason;  /* "" when ok, else upstream's: DisksNotLiveMigratable, ... */
    const char *message; /* "" when ok */
    const char *method;  /* LiveMigration or BlockMigration */
    /* Condition StorageLiveMigratable: can its volumes be moved to others while it runs? "" when they can,
     * else every reason but that of disks: "REASON: MESSAGE, REASON: MESSAGE". */
    const char *storage;
};

struct migratable_facts {    /* what is known beside the VMI; borrowed */
    const struct hco *hco;   /* for the default CPU model, or NULL */
    const struct node *node; /* the one that status.nodeName names, or NULL */
    bool node_missing;       /* it was looked for and is not there: its host model is not known */
    const struct pvc *const *pvcs; /* claims; those of other namespaces are passed over */
    size_t pvcs_len;
};

/* The first reason that holds, in upstream's order: interfaces, host model, host devices, SEV, TDX,
 * Secure Execution, SCSI persistent reservations, TSC frequency, Hyper-V passthrough, disks. Texts are literals or in the arena. */
struct migratable vmi_migratable_with(const struct vmi *v, const struct migratable_facts *facts,
                                      struct arena *a);
/* The same where only the claims are known: the host model is not looked at. */
struct migratable vmi_migratable(const struct vmi *v, const struct pvc *const *pvcs,
                                 size_t pvcs_len, struct arena *a);

enum evict_action { EVICT_MIGRATE, EVICT_MIGRATING, EVICT_SHUTDOWN, EVICT_BLOCK, EVICT_EXTERNAL };
const char *evict_action_name(enum evict_action a); /* "migrate", ... */

struct evict_decision {
    enum evict_action action;
    const char *strategy; /* the one that counts, after defaults */
    const char *reason;   /* one sentence */
};

/* Is there anything to evict? Not when it is final or being deleted. */
bool evict_applies(const struct vmi *v);
/* cluster_strategy: HyperConverged's, or NULL; the default then is LiveMigrate, but None in a cluster
 * with a single node. nodes: all nodes that can run VMs, the cordoned ones too (a drain cordons its own);
 * 0 = not known. migrating: an unfinished migration of it exists. */
struct evict_decision evict_decide(const struct vmi *v, const struct migratable *m,
                                   const char *cluster_strategy, size_t nodes, bool migrating,
                                   struct arena *a);

#define EVICT_TAINT_DEFAULT_S 300

struct evict_taint {
    const struct taint
        *taint;      /* the one that sends it away, or does soonest; NULL: it may stay for ever */
    int64_t seconds; /* that it may stay with it: 0 = it goes now */
};

/* What the NoExecute taints of its node mean for a VM that runs there. Each taint is tolerated by the
 * first toleration that matches it, and the smallest tolerationSeconds of those counts; none is for ever.
 * As upstream adds to every Pod: node.kubernetes.io/not-ready and unreachable are tolerated for 300 s,
 * unless the VM says otherwise. Follows kube-controller-manager 1.31's taint eviction. */
struct evict_taint evict_by_taint(const struct vmi_spec *s, const struct node *n);

#endif
