/* Which of the host's CPUs a guest with dedicatedCpuPlacement gets: pure arithmetic on sets of CPUs.
 *
 * The rule: CPUs that no other guest is pinned to, and never the host's first one, which is left for
 * everything else. All of one NUMA node when one has enough (the one with the fewest free that does, so
 * that large guests find room later); there, siblings of one core together, cores without a taken sibling
 * first, then by number. */
#ifndef HANDLER_LIBVIRT_CPUS_H
#define HANDLER_LIBVIRT_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LV_CPUS_MAX 4096 /* of a host; others are never given to a guest */

struct lv_cpuset {
    uint64_t bits[LV_CPUS_MAX / 64];
};

void lv_cpuset_add(struct lv_cpuset *s, unsigned cpu); /* nothing when it is past LV_CPUS_MAX */
bool lv_cpuset_has(const struct lv_cpuset *s, unsigned cpu);
void lv_cpuset_join(struct lv_cpuset *s, const struct lv_cpuset *other);
/* Adds those of libvirt's list, such as "0-3,^2,8"; -EINVAL: it is none. */
int lv_cpuset_parse(struct lv_cpuset *s, const char *list);

struct lv_cpu {
    unsigned id, node, socket, core; /* core: within its socket */
};

struct lv_cpus_host {
    struct lv_cpu *items; /* sorted by id */
    size_t len;
};

/* n CPUs for a guest, in the order of its vCPUs, into ret[n]. -EBUSY: there are not as many free; err
 * says how many. */
int lv_cpus_pick(const struct lv_cpus_host *h, const struct lv_cpuset *taken, size_t n,
                 unsigned *ret, struct err *err);

#endif
