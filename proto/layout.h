/* Who owns which page. Guest memory is regions of pages; each region is cut into stripes of 2 MiB,
 * numbered through over all regions; stripe s belongs to channel s % channels for the whole
 * migration. Both ends compute this from the same numbers (regions and channels of Hello and
 * Accept), so two versions of a page never travel on two channels and never overtake each other.
 * Stripes and not contiguous shards, because hot memory lies together: a writable working set of a
 * few dozen MiB is spread over all channels in every round and at the switchover.
 *
 * Pages have a global number, stripe * LAYOUT_STRIPE_PAGES + page in the stripe: the index of all
 * bitmaps. */
#ifndef PROTO_LAYOUT_H
#define PROTO_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/limits.h"

struct layout_region {
    uint64_t size_bytes;
    uint32_t page_bytes;
};

struct layout {
    uint32_t regions, channels;
    uint64_t total_bytes;
    uint64_t stripes;                               /* in all regions */
    uint64_t first_stripe[CONTROL_MAX_REGIONS + 1]; /* of each region; the last is `stripes` */
    uint64_t size_bytes[CONTROL_MAX_REGIONS];
};

/* Checks the numbers (they come from a peer) and fills in l. -EINVAL with a text. */
int layout_init(struct layout *l, const struct layout_region *regions, uint32_t regions_len,
                uint32_t channels, struct err *err);
/* Where a stripe lies: region, offset of its first byte, bytes (the last of a region may be
 * short). */
void layout_stripe(const struct layout *l, uint64_t stripe, uint32_t *ret_region,
                   uint64_t *ret_offset, uint32_t *ret_bytes);
/* Global number of the page at an offset (both must be inside). */
uint64_t layout_page(const struct layout *l, uint32_t region, uint64_t offset);
/* Whether [offset, offset + pages) is page-aligned, inside the region and inside one stripe. */
bool layout_run_ok(const struct layout *l, uint32_t region, uint64_t offset, uint32_t pages);
uint32_t layout_owner(const struct layout *l, uint32_t region, uint64_t offset);

#endif
