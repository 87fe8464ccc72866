/* Resources as numbers: what one VM or Pod asks of a node, and what a node has. Internal to sched/.
 * All sums saturate at INT64_MAX; negative quantities count as zero. */
#ifndef SCHED_NEED_H
#define SCHED_NEED_H

#include "api/types.h"
#include "base/arena.h"

#define NEED_KVM "devices.kubevirt.io/kvm"

struct need_extra { /* extended resources and huge pages */
    const char *name;
    int64_t value;
    bool if_listed; /* asked only of nodes that list it */
};

struct need {
    int64_t cpu_milli, memory_bytes, ephemeral_bytes;
    /* What least-allocated scoring counts: 100m and 200Mi for an absent request of a container. */
    int64_t score_cpu_milli, score_memory_bytes;
    struct need_extra *extras; /* by name, each once */
    size_t extras_len;
};

/* allocation_ratio: vCPUs per CPU; 0 or less = 10. The result lives in the arena. */
struct need need_of_vmi(const struct vmi_spec *s, int64_t allocation_ratio, struct arena *a);
struct need need_of_pod(const struct pod *p, struct arena *a);

struct room_extra {
    const char *name;
    int64_t total, used;
    bool listed; /* the node names it in status.allocatable */
};

struct room { /* one node */
    int64_t cpu_milli, memory_bytes, ephemeral_bytes, pods;
    int64_t used_cpu_milli, used_memory_bytes, used_ephemeral_bytes, used_pods;
    int64_t used_score_cpu_milli, used_score_memory_bytes;
    struct room_extra *extras;
    size_t extras_len, extras_cap;
};

/* Takes the totals from status.allocatable (from status.capacity where that is missing, as the API
 * server defaults it); what is used stays. */
void need_room_of_node(struct room *r, const struct node *n, struct arena *a);
void need_take(struct room *r, const struct need *n, struct arena *a);
const struct room_extra *need_room_extra(const struct room *r, const char *name); /* or NULL */
const struct need_extra *need_find_extra(const struct need *n, const char *name); /* or NULL */

int64_t need_add(int64_t a, int64_t b); /* saturating, for a, b >= 0 */
int64_t need_mul(int64_t a, int64_t b); /* the same */

#endif
