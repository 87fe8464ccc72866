/* Digest of a stripe of guest memory, for verifying at the switchover that both ends hold the same:
 * XXH3-64 over number and sum of each page that is not all zero, in order. A page that is absent
 * counts as zeros, so it does not matter which end has allocated it. Finds what broken memory, disks
 * (swap) and programs do; it is no protection against an adversary. */
#ifndef MIGRATE_DIGEST_H
#define MIGRATE_DIGEST_H

#include "migrate/present.h"

/* offset and bytes as layout_stripe gives them. Reads through the region's mapping, only pages that
 * have data. 0, or -errno with a text. Any thread that owns p. */
int digest_stripe(struct present *p, uint64_t offset, uint32_t bytes, uint64_t *ret,
                  struct err *err);

#endif
