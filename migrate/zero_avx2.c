/* Zero detection with AVX2 (module.mk gives this file alone the flag); see zero.h. */
#include "migrate/zero.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "proto/limits.h"

bool
zero_page_avx2(const void *page)
{
    const __m256i *p = page;

    for (unsigned i = 0; i < LAYOUT_PAGE_BYTES / 32; i += 4) {
        __m256i a = _mm256_or_si256(_mm256_load_si256(p + i), _mm256_load_si256(p + i + 1));
        __m256i b = _mm256_or_si256(_mm256_load_si256(p + i + 2), _mm256_load_si256(p + i + 3));

        a = _mm256_or_si256(a, b);
        if (!_mm256_testz_si256(a, a))
            return false;
    }
    return true;
}
#else
bool
zero_page_avx2(const void *page)
{
    return zero_page_plain(page);
}
#endif
