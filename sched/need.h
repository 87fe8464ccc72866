/* Resources as numbers: what one VM or Pod asks of a node, and what a node has. Internal to sched/.
 * All sums saturate at INT64_MAX; negative quantities count as zero. */
#ifndef SCHED_NEED_H
#define SCHED_NEED_H

#include "api/types.h"
#include "base/arena.h"
#include "base/strmap.h"

#define NEED_KVM "devices.kubevirt.io/kvm"
#define NEED_SEV "devices.kubevirt.io/sev"

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

/* Names of extended resources, each once: a cluster knows few of them and meets them on every
 * node and VM. A map name -> the same text on the heap; free it with strmap_free(names, free). */
const char *need_name(struct strmap *names, const char *name);
/* Makes n independent of the arena and the object that it was made from: its extras are on the
 * heap, by interned names. Give them back with need_drop. */
void need_keep(struct need *n, struct strmap *names);
void need_drop(struct need *n);

/* Takes the totals from status.allocatable (from status.capacity where that is missing, as the API
 * server defaults it); what is used stays. n == NULL: a node that has nothing. */
void need_room_of_node(struct room *r, const struct node *n, struct strmap *names);
void need_take(struct room *r, const struct need *n, struct strmap *names);
/* The reverse of a need_take. False: a sum had saturated, nothing was changed, and the caller
 * must add up anew all that is left, after need_room_empty. */
bool need_untake(struct room *r, const struct need *n);
void need_room_empty(struct room *r); /* nothing is used any more */
void need_room_done(struct room *r);
const struct room_extra *need_room_extra(const struct room *r, const char *name); /* or NULL */
const struct need_extra *need_find_extra(const struct need *n, const char *name); /* or NULL */

void need_add_cpu(struct need *n, int64_t milli);
/* More of an extended resource: with what is asked for already. The list is then in the arena. */
void need_add_extra(struct need *n, const char *name, int64_t value, struct arena *a);
int64_t need_add(int64_t a, int64_t b); /* saturating, for a, b >= 0 */
int64_t need_mul(int64_t a, int64_t b); /* the same */

#endif
