/* Delta of a page with AVX2 (module.mk gives this file alone the flag); see codec.h. */
#include "migrate/codec.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static size_t
delta(void *base, const void *page, uint8_t *out, size_t budget)
{
    uint8_t *p = out + 8, *old = base;
    const uint8_t *new = page;
    uint64_t blocks = 0;

    for (unsigned i = 0; i < LAYOUT_PAGE_BYTES / 64; i++, old += 64, new += 64) {
        __m256i *o = (__m256i *)(void *)old;
        const __m256i *n = (const __m256i *)(const void *)new;
        __m256i a = _mm256_load_si256(n), b = _mm256_load_si256(n + 1);
        __m256i same_a = _mm256_cmpeq_epi64(a, _mm256_load_si256(o));
        __m256i same_b = _mm256_cmpeq_epi64(b, _mm256_load_si256(o + 1));
        unsigned changed = ~((unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(same_a)) |
                             (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(same_b)) << 4) &
                           0xff;

        if (changed == 0)
            continue;
        _mm256_store_si256(o, a);
        _mm256_store_si256(o + 1, b);
        blocks |= 1ull << i;
        *p++ = (uint8_t)changed;
        for (; changed; changed &= changed - 1, p += 8)
            memcpy(p, old + 8 * (size_t)__builtin_ctz(changed), 8);
        if ((size_t)(p - out) > budget)
            return 0;
    }
    memcpy(out, &blocks, 8);
    return (size_t)(p - out) <= budget ? (size_t)(p - out) : 0;
}

codec_delta_fn *
codec_delta_avx2(void)
{
    return __builtin_cpu_supports("avx2") ? delta : NULL;
}
#else
codec_delta_fn *
codec_delta_avx2(void)
{
    return NULL;
}
#endif
