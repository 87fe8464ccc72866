/* Where a VM's volumes can be had: claims that are bound to local volumes pin it, claims that wait for
 * their first consumer need a volume or a provisioner there. Internal to sched/. Follows kube-scheduler
 * 1.31's volumebinding plugin; a kind of object of which there is none at all is not missed
 * (docs/scheduling.md, "Volumes"). */
#ifndef SCHED_VOLUMES_H
#define SCHED_VOLUMES_H

#include "sched/cluster.h"

#define VOLUME_RULES_MAX 256 /* as many as a VM has volumes */

struct volume_rule { /* one claim */
    const char *claim;
    const struct pv *bound;          /* its volume, or NULL */
    struct node_terms at;            /* where that is */
    const struct pvc *waiting;       /* not bound: needs a volume of its class there */
    const struct storage_class *cls; /* of a waiting one */
};

struct volume_rules {
    const char *refused; /* no node can do: kube-scheduler's text, or NULL */
    struct volume_rule *items;
    size_t len;
    bool volume_missing; /* a claim is bound to a volume that is not there */
};

struct volume_rules volumes_compile(const struct cluster *c, const struct vmi *v, struct arena *a);
/* Do the VM's claims keep it from any node? False: all are where every node can reach them. */
bool volumes_matter(const struct cluster *c, const struct vmi *v);
/* Appends kube-scheduler's reasons. */
void volumes_check(const struct cluster *c, const struct volume_rules *r,
                   const struct cluster_node *n, struct arena *a, struct str_list *reasons);
/* The first claim in the way at the node, or NULL. */
const struct volume_rule *volumes_in_the_way(const struct cluster *c, const struct volume_rules *r,
                                             const struct cluster_node *n, struct arena *a);

#endif
