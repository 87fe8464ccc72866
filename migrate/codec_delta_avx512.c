/* Delta of a page with AVX-512F (module.mk gives this file alone the flag); see codec.h. */
#include "migrate/codec.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* A whole register is stored behind the changed words: CODEC_DELTA_SLACK has room for it. */
static size_t
delta(void *base, const void *page, uint8_t *out, size_t budget)
{
    uint8_t *p = out + 8, *old = base;
    const uint8_t *new = page;
    uint64_t blocks = 0;

    for (unsigned i = 0; i < LAYOUT_PAGE_BYTES / 64; i++, old += 64, new += 64) {
        __m512i n = _mm512_load_si512(new);
        __mmask8 changed = _mm512_cmpneq_epi64_mask(n, _mm512_load_si512(old));

        if (changed == 0)
            continue;
        _mm512_store_si512(old, n);
        blocks |= 1ull << i;
        *p = changed;
        _mm512_storeu_si512(p + 1, _mm512_maskz_compress_epi64(changed, n));
        p += 1 + 8 * (size_t)__builtin_popcount(changed);
        if ((size_t)(p - out) > budget)
            return 0;
    }
    memcpy(out, &blocks, 8);
    return (size_t)(p - out) <= budget ? (size_t)(p - out) : 0;
}

codec_delta_fn *
codec_delta_avx512(void)
{
    return __builtin_cpu_supports("avx512f") ? delta : NULL;
}
#else
codec_delta_fn *
codec_delta_avx512(void)
{
    return NULL;
}
#endif
