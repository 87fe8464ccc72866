/* What a VM asks of its host beside the CPU model, room and neighbours: abilities that the labeller publishes
 * as node labels (Hyper-V, realtime, SEV, TDX, dedicated CPUs), machine type, architecture, TSC frequency.
 * Internal to sched/. Follows KubeVirt's node selectors of target pods (nodeselectorrenderer.go) and its
 * TSC topology (watch/topology), as docs/scheduling.md states them. */
#ifndef SCHED_HOST_RULE_H
#define SCHED_HOST_RULE_H

#include "base/arena.h"
#include "sched/cluster.h"

#define HOST_ABILITIES_MAX 24

struct host_ability {        /* the node must have the label, "true" or empty */
    bool absent_ok;          /* ... or none at all: older handlers do not write it */
    const char *label, *alt; /* alt: another name for the same, or NULL */
    const char *what;        /* "SEV", "Hyper-V vpindex" */
    const char *reason;
};

struct host_rule {
    struct host_ability abilities[HOST_ABILITIES_MAX];
    size_t abilities_len;
    const char *machine,
        *machine_label;     /* asked only of nodes that publish machine types; or NULL */
    const char *arch;       /* asked only of nodes that publish theirs; or NULL */
    int64_t tsc_hz;         /* 0: no frequency is asked for */
    const char *tsc_label;  /* says by itself that the node offers tsc_hz */
    const char *impossible; /* the reason why no node can do, or NULL */
};

/* source: the node that a migration leaves; NULL at a start, and when it is not known. */
struct host_rule host_rule_compile(const struct cluster *c, const struct vmi *v, bool migrate,
                                   const struct cluster_node *source, struct arena *a);
/* Appends every reason why the node does not do; returns how many. Texts are in the arena. */
size_t host_rule_check(const struct host_rule *r, const struct cluster_node *n, struct arena *a,
                       struct str_list *reasons);

/* Does the guest count on the frequency of its TSC (invtsc, Hyper-V re-enlightenment)? */
bool host_rule_wants_tsc(const struct vmi_domain *d);
/* "native" "libvirt" (or another word that the VMI asks for); "": whatever its node has. Borrowed. */
const char *host_rule_hypervisor(const struct vmi *v);
bool host_rule_has(const struct host_ability *b, const struct cluster_node *n);
bool host_rule_machine_ok(const struct host_rule *r, const struct cluster_node *n);
bool host_rule_arch_ok(const struct host_rule *r, const struct cluster_node *n);
bool host_rule_tsc_ok(const struct host_rule *r, const struct cluster_node *n);
/* The frequency that the node's labels name, 0 when they name none. */
int64_t host_rule_tsc_of(const struct cluster_node *n);

#endif
