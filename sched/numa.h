/* Fit within a node's NUMA cells. Internal to sched/. Who asks: a VM with numa.guestMappingPassthrough (and so
 * with dedicated CPUs and huge pages). Its virtual sockets are parts of one size, and each part must come whole,
 * CPUs and huge pages, from one cell; so with one socket (the documents' advice) all of it does. A node says
 * what its cells have in the annotation NUMA_ANN_CELLS; one without it is not asked. Which cells the VMs on a
 * node use is not published anywhere: they are laid out anew each time, the largest parts first, each in
 * the fullest cell that takes it. */
#ifndef SCHED_NUMA_H
#define SCHED_NUMA_H

#include "sched/cluster.h"

/* On a Node: JSON, a list with one map of allocatable resources a cell, in the order of their numbers:
 * [{"cpu": "24", "hugepages-1Gi": "64Gi"}, {"cpu": "24", "hugepages-1Gi": "64Gi"}] */
#define NUMA_ANN_CELLS "drover.io/numa-cells"
#define NUMA_CELLS_MAX 64
#define NUMA_REASON    "node(s) had no NUMA cell with room for it"

struct numa_need {
    int64_t parts;    /* 0: the VM takes no CPUs for itself */
    int64_t cpus;     /* of each part */
    int64_t extra;    /* CPUs beside the first part's: the emulator's */
    int64_t bytes;    /* of huge pages, of each part */
    const char *page; /* "2Mi", or NULL: none */
    bool strict;      /* it is refused where it does not fit */
};

struct numa_need numa_need_of(const struct vmi_spec *s, const struct hco *hco);
/* True when the VM fits there, or nothing is known of the node's cells, or it does not ask. self: what it
 * occupies already, which does not count. */
bool numa_fits(const struct cluster *c, const struct vmi_spec *s, const struct cluster_node *n,
               const struct occupant *self);
/* "2 cells with 4 and 16 CPUs free": what the node's cells have left. In the arena. */
const char *numa_free_text(const struct cluster *c, const struct vmi_spec *s,
                           const struct cluster_node *n, const struct occupant *self,
                           struct arena *a);

#endif
