/* Zero detection with AVX-512F (module.mk gives this file alone the flag); see zero.h. */
#include "migrate/zero.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#include "proto/limits.h"

bool
zero_page_avx512(const void *page)
{
    const uint8_t *p = page;

    for (unsigned i = 0; i < LAYOUT_PAGE_BYTES; i += 256) {
        __m512i a = _mm512_or_si512(_mm512_load_si512(p + i), _mm512_load_si512(p + i + 64));
        __m512i b = _mm512_or_si512(_mm512_load_si512(p + i + 128), _mm512_load_si512(p + i + 192));

        if (_mm512_test_epi64_mask(_mm512_or_si512(a, b), _mm512_or_si512(a, b)))
            return false;
    }
    return true;
}
#else
bool
zero_page_avx512(const void *page)
{
    return zero_page_plain(page);
}
#endif
