/* Chooses between the AVX-512, the AVX2 and the portable form of XXH3; see sum.h. */
#include "proto/sum.h"

#include <stdatomic.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef uint64_t sum_fn(const void *p, size_t len, uint64_t seed);

static sum_fn *
choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return sum_bytes_avx512;
    if (__builtin_cpu_supports("avx2"))
        return sum_bytes_avx2;
#endif
    return sum_bytes_plain;
}

uint64_t
sum_bytes(const void *p, size_t len, uint64_t seed)
{
    static sum_fn *_Atomic chosen;
    sum_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!fn) {
        fn = choose();
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    return fn(p, len, seed);
}

uint64_t
sum_bytes_plain(const void *p, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, len, seed);
}
