/* Delta of a page: run-time choice, the portable encoder, and the decoder; see codec.h. */
#include "migrate/codec.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "proto/wire.h"

#define BLOCKS (LAYOUT_PAGE_BYTES / 64)
#define WORDS  8 /* of a block */

static codec_delta_fn *
choose(void)
{
    codec_delta_fn *fn = codec_delta_avx512();

    if (!fn)
        fn = codec_delta_avx2();
    return fn ? fn : codec_delta_plain;
}

size_t
codec_delta(void *base, const void *page, uint8_t *out, size_t budget)
{
    static codec_delta_fn *_Atomic chosen;
    codec_delta_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!fn) {
        fn = choose();
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    return fn(base, page, out, budget);
}

size_t
codec_delta_plain(void *base, const void *page, uint8_t *out, size_t budget)
{
    uint8_t *p = out + 8;
    uint64_t *old = base, blocks = 0;
    const uint64_t *new = page;

    for (unsigned i = 0; i < BLOCKS; i++, old += WORDS, new += WORDS) {
        uint8_t *mask = p;
        unsigned changed = 0;

        p++;
        for (unsigned k = 0; k < WORDS; k++) {
            uint64_t v = __atomic_load_n(&new[k], __ATOMIC_RELAXED);

            if (v == old[k])
                continue;
            old[k] = v;
            memcpy(p, &v, 8); /* as it lies in memory */
            p += 8;
            changed |= 1u << k;
        }
        if (changed == 0) {
            p = mask;
            continue;
        }
        *mask = (uint8_t)changed;
        blocks |= 1ull << i;
        if ((size_t)(p - out) > budget)
            return 0;
    }
    wire_put64(out, blocks);
    return (size_t)(p - out) <= budget ? (size_t)(p - out) : 0;
}

int
codec_delta_apply(void *page, const uint8_t *in, size_t len, size_t *ret_used)
{
    size_t at = 8;
    uint64_t blocks, *words = page;

    if (len < 8)
        return -EPROTO;
    blocks = wire_get64(in);
    while (blocks) {
        unsigned block = (unsigned)__builtin_ctzll(blocks), mask;

        blocks &= blocks - 1;
        if (at >= len)
            return -EPROTO;
        mask = in[at++];
        if (mask == 0 || len - at < 8 * (size_t)__builtin_popcount(mask))
            return -EPROTO;
        for (; mask; mask &= mask - 1, at += 8)
            memcpy(&words[block * WORDS + (unsigned)__builtin_ctz(mask)], in + at, 8);
    }
    *ret_used = at;
    return 0;
}
