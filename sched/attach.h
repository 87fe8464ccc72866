/* What VMs are attached to beyond their node: claims, volumes, storage classes, networks. The cluster's own
 * tables of them, by name, and what follows for placement: resources that networks ask for. Internal
 * to sched/; the cluster_add_* functions are in place.h. All objects are borrowed. */
#ifndef SCHED_ATTACH_H
#define SCHED_ATTACH_H

#include "base/strmap.h"
#include "sched/cluster.h"

#define ATTACH_ANN_RESOURCE "k8s.v1.cni.cncf.io/resourceName" /* on NetworkAttachmentDefinitions */

struct attach {
    struct strmap *claims, *networks; /* NAMESPACE/NAME -> pvc, nad */
    struct strmap *volumes, *classes; /* NAME -> pv, storage_class */
};

void attach_free(struct attach *at); /* NULL is fine */
/* NULL when it is not known. */
const struct pvc *attach_claim(const struct cluster *c, const char *ns, const char *name);
const struct pv *attach_volume(const struct cluster *c, const char *name);
const struct storage_class *attach_class(const struct cluster *c, const char *name);
/* The class that claims without one get (storageclass.kubernetes.io/is-default-class), or NULL. */
const struct storage_class *attach_default_class(const struct cluster *c);
/* Is there any of its kind? Where there is none, none is missed: whoever wrote the input left storage
 * out. */
bool attach_knows_claims(const struct cluster *c);
bool attach_knows_volumes(const struct cluster *c);
bool attach_knows_classes(const struct cluster *c);
/* One of each resource that the VM's networks name (a bridge, a pool of SR-IOV functions), once for each
 * network. Adds to n, in the arena. */
void attach_network_needs(const struct cluster *c, const struct vmi *v, struct need *n,
                          struct arena *a);

#endif
