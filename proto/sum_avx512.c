/* XXH3 compiled for AVX-512 (module.mk gives this file alone the flag); see sum.h. */
#include "proto/sum.h"

#if defined(__x86_64__)
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t
sum_bytes_avx512(const void *p, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, len, seed);
}
#else
uint64_t
sum_bytes_avx512(const void *p, size_t len, uint64_t seed)
{
    return sum_bytes_plain(p, len, seed);
}
#endif
