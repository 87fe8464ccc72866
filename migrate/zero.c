/* Zero detection: run-time choice and the portable form; see zero.h. */
#include "migrate/zero.h"

#include <stdatomic.h>
#include <stdint.h>

#include "proto/limits.h"

typedef bool zero_fn(const void *page);

static zero_fn *
choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return zero_page_avx512;
    if (__builtin_cpu_supports("avx2"))
        return zero_page_avx2;
#endif
    return zero_page_plain;
}

bool
zero_page(const void *page)
{
    static zero_fn *_Atomic chosen;
    zero_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!fn) {
        fn = choose();
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    return fn(page);
}

bool
zero_page_plain(const void *page)
{
    const uint64_t *p = page;

    for (unsigned i = 0; i < LAYOUT_PAGE_BYTES / 8; i += 8) {
        if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7])
            return false;
    }
    return true;
}
