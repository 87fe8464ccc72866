/* A synthetic cluster for the scheduler's rows: nodes as a labeller and an administrator leave them
 * (three zones, racks, CPU models and features, three sizes, two kinds of disk; one in sixteen is
 * tainted), and VMs that run there already. The same seed gives the same cluster. */
#ifndef BENCH_SCHED_WORLD_H
#define BENCH_SCHED_WORLD_H

#include "api/types.h"
#include "base/arena.h"
#include "sched/place.h"

#define SCHED_WORLD_ZONE       "topology.kubernetes.io/zone"
#define SCHED_WORLD_RACK       "example.com/rack"
#define SCHED_WORLD_DISK       "example.com/disk" /* ssd, hdd */
#define SCHED_WORLD_APP        "app"              /* of VMs: app-0 ... */
#define SCHED_WORLD_APPS       100
#define SCHED_WORLD_NAMESPACE  "shop"
#define SCHED_WORLD_TAINT      "dedicated" /* =database:NoSchedule */
#define SCHED_WORLD_TAINT_WITH "database"

struct sched_world {
    struct arena *arena; /* all that follows */
    struct node *nodes;
    size_t nodes_len;
    struct vmi *vms; /* with a node each */
    size_t vms_len;
    struct namespace_ ns;
};

struct sched_world *sched_world_new(size_t nodes, size_t vms, uint64_t seed);
void sched_world_free(struct sched_world *w); /* NULL is fine */
/* Its nodes, without a VM. The caller's; borrows from w. */
struct cluster *sched_world_cluster(const struct sched_world *w);
void sched_world_fill(const struct sched_world *w, struct cluster *c); /* its VMs */

/* Of the objects, for those who make more: texts live in the arena. */
struct kv_list sched_world_pairs(struct arena *a, size_t n, const struct kv *pairs);
struct resource sched_world_resource(const char *name, int64_t units);

#endif
