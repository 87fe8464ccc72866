/* Digest of a stripe; see digest.h. */
#include "migrate/digest.h"

#include "migrate/bits.h"
#include "migrate/zero.h"
#include "proto/sum.h"

int
digest_stripe(struct present *p, uint64_t offset, uint32_t bytes, uint64_t *ret, struct err *err)
{
    uint64_t bits[LAYOUT_STRIPE_PAGES / 64], pages = bytes / LAYOUT_PAGE_BYTES, digest = 0;
    int rc = present_bits(p, offset, bytes, bits, err);

    if (rc != 0)
        return rc;
    for (uint64_t i = bits_next(bits, 0, pages); i < pages; i = bits_next(bits, i + 1, pages)) {
        const uint8_t *page = p->region->map + offset + i * LAYOUT_PAGE_BYTES;

        if (!zero_page(page)) {
            const uint64_t link[] = {digest, i, sum_bytes(page, LAYOUT_PAGE_BYTES, 0)};

            digest = sum_bytes(link, sizeof link, 0);
        }
    }
    *ret = digest;
    return 0;
}
