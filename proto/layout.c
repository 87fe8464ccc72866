/* Regions, stripes and their owners; see layout.h. Pure arithmetic. */
#include "proto/layout.h"

#include <errno.h>
#include <string.h>

int
layout_init(struct layout *l, const struct layout_region *regions, uint32_t regions_len,
            uint32_t channels, struct err *err)
{
    if (regions_len < 1 || regions_len > CONTROL_MAX_REGIONS)
        return err_set(err, -EINVAL, "%u memory regions: want 1 to %d", regions_len,
                       CONTROL_MAX_REGIONS);
    if (channels < 1 || channels > CONTROL_MAX_CHANNELS)
        return err_set(err, -EINVAL, "%u channels: want 1 to %d", channels, CONTROL_MAX_CHANNELS);
    memset(l, 0, sizeof *l);
    l->regions = regions_len;
    l->channels = channels;
    for (uint32_t i = 0; i < regions_len; i++) {
        uint64_t size = regions[i].size_bytes;

        if (regions[i].page_bytes != LAYOUT_PAGE_BYTES)
            return err_set(err, -EINVAL, "memory region %u: pages of %u bytes: want %u", i,
                           regions[i].page_bytes, LAYOUT_PAGE_BYTES);
        if (size == 0 || size % LAYOUT_PAGE_BYTES != 0 || size > LAYOUT_MAX_REGION_BYTES)
            return err_set(err, -EINVAL,
                           "memory region %u: %llu bytes: want a multiple of %u up to %llu", i,
                           (unsigned long long)size, LAYOUT_PAGE_BYTES, LAYOUT_MAX_REGION_BYTES);
        l->size_bytes[i] = size;
        l->total_bytes += size; /* 16 * 2^46 fits */
        l->first_stripe[i] = l->stripes;
        l->stripes += (size + LAYOUT_STRIPE_BYTES - 1) / LAYOUT_STRIPE_BYTES;
    }
    l->first_stripe[regions_len] = l->stripes;
    return 0;
}

void
layout_stripe(const struct layout *l, uint64_t stripe, uint32_t *ret_region, uint64_t *ret_offset,
              uint32_t *ret_bytes)
{
    uint32_t r = 0;

    while (stripe >= l->first_stripe[r + 1])
        r++;

    uint64_t offset = (stripe - l->first_stripe[r]) * LAYOUT_STRIPE_BYTES;
    uint64_t left = l->size_bytes[r] - offset;

    *ret_region = r;
    *ret_offset = offset;
    *ret_bytes = left < LAYOUT_STRIPE_BYTES ? (uint32_t)left : LAYOUT_STRIPE_BYTES;
}

uint64_t
layout_page(const struct layout *l, uint32_t region, uint64_t offset)
{
    return l->first_stripe[region] * LAYOUT_STRIPE_PAGES + offset / LAYOUT_PAGE_BYTES;
}

bool
layout_run_ok(const struct layout *l, uint32_t region, uint64_t offset, uint32_t pages)
{
    if (region >= l->regions || pages < 1 || pages > LAYOUT_STRIPE_PAGES ||
        offset % LAYOUT_PAGE_BYTES != 0 || offset >= l->size_bytes[region])
        return false;

    uint64_t len = (uint64_t)pages * LAYOUT_PAGE_BYTES;

    if (len > l->size_bytes[region] - offset)
        return false;
    return offset / LAYOUT_STRIPE_BYTES == (offset + len - 1) / LAYOUT_STRIPE_BYTES;
}

uint32_t
layout_owner(const struct layout *l, uint32_t region, uint64_t offset)
{
    return (uint32_t)((l->first_stripe[region] + offset / LAYOUT_STRIPE_BYTES) % l->channels);
}
