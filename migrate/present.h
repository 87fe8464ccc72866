/* Which pages of a guest's memory file hold data? Reading any other page would allocate it.
 * SEEK_DATA jumps over holes of any size at once but walks extents page by page; mincore tells
 * resident pages fast but knows nothing of swap: together they are right and cheap. */
#ifndef MIGRATE_PRESENT_H
#define MIGRATE_PRESENT_H

#include <stdint.h>

#include "base/err.h"
#include "migrate/guest.h"
#include "proto/limits.h"

struct present {
    const struct guest_region *region; /* borrowed */
    int fd; /* an open file of our own: lseek moves no one else's position */
    unsigned char vec[LAYOUT_STRIPE_PAGES];
};

int present_init(struct present *p, const struct guest_region *region, struct err *err);
void present_done(struct present *p);

/* Offset of the first page with data at or behind `offset`; the region's size when there is
 * none. */
int present_next(struct present *p, uint64_t offset, uint64_t *ret, struct err *err);
/* How many pages from `offset` on, which has data, surely have data: 1 to max (max at most a
 * stripe's). */
uint32_t present_extent(struct present *p, uint64_t offset, uint32_t max);
/* Sets the bit of each page with data in [offset, offset + bytes), bit 0 = the first. */
int present_bits(struct present *p, uint64_t offset, uint32_t bytes,
                 uint64_t bits[LAYOUT_STRIPE_PAGES / 64], struct err *err);

#endif
