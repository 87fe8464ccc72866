/* Holes and data of a memory file; see present.h. */
#include "migrate/present.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "migrate/bits.h"

int
present_init(struct present *p, const struct guest_region *region, struct err *err)
{
    char path[48];

    p->region = region;
    snprintf(path, sizeof path, "/proc/self/fd/%d", region->memfd);
    p->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0)
        return err_set(err, -errno, "guest memory: %s: %s", path, strerror(errno));
    return 0;
}

void
present_done(struct present *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

int
present_next(struct present *p, uint64_t offset, uint64_t *ret, struct err *err)
{
    off_t o = lseek(p->fd, (off_t)offset, SEEK_DATA);

    if (o < 0 && errno != ENXIO)
        return err_set(err, -errno, "guest memory: SEEK_DATA: %s", strerror(errno));
    *ret = o < 0 || (uint64_t)o > p->region->size
               ? p->region->size
               : (uint64_t)o & ~(uint64_t)(LAYOUT_PAGE_BYTES - 1);
    return 0;
}

uint32_t
present_extent(struct present *p, uint64_t offset, uint32_t max)
{
    uint32_t n = 1;

    if (max > 1 && mincore(p->region->map + offset, (size_t)max * LAYOUT_PAGE_BYTES, p->vec) == 0) {
        while (n < max && (p->vec[n] & 1))
            n++;
    }
    return n;
}

int
present_bits(struct present *p, uint64_t offset, uint32_t bytes,
             uint64_t bits[LAYOUT_STRIPE_PAGES / 64], struct err *err)
{
    uint32_t pages = bytes / LAYOUT_PAGE_BYTES;

    memset(bits, 0, LAYOUT_STRIPE_PAGES / 8);
    for (uint32_t i = 0; i < pages;) {
        uint64_t at = 0;
        int rc = present_next(p, offset + (uint64_t)i * LAYOUT_PAGE_BYTES, &at, err);

        if (rc != 0)
            return rc;
        if (at >= offset + bytes)
            break;
        i = (uint32_t)((at - offset) / LAYOUT_PAGE_BYTES);

        uint32_t n = present_extent(p, at, pages - i);

        bits_set_range(bits, i, i + n);
        i += n;
    }
    return 0;
}
