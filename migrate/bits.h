/* Bitmaps of 64-bit words, one bit a page. */
#ifndef MIGRATE_BITS_H
#define MIGRATE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool
bits_test(const uint64_t *w, uint64_t i)
{
    return w[i / 64] >> (i % 64) & 1;
}

static inline void
bits_set(uint64_t *w, uint64_t i)
{
    w[i / 64] |= 1ull << (i % 64);
}

static inline void
bits_clear(uint64_t *w, uint64_t i)
{
    w[i / 64] &= ~(1ull << (i % 64));
}

/* Mask of word `word` for the bits [from, to). */
static inline uint64_t
bits_mask(uint64_t word, uint64_t from, uint64_t to)
{
    uint64_t lo = word * 64, m = ~0ull;

    if (from > lo)
        m = from - lo < 64 ? m << (from - lo) : 0;
    if (to < lo + 64)
        m = to > lo ? m & ((1ull << (to - lo)) - 1) : 0;
    return m;
}

static inline void
bits_set_range(uint64_t *w, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / 64; i * 64 < to; i++)
        w[i] |= bits_mask(i, from, to);
}

/* dst |= src in [from, to). */
static inline void
bits_or_range(uint64_t *dst, const uint64_t *src, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / 64; i * 64 < to; i++)
        dst[i] |= src[i] & bits_mask(i, from, to);
}

static inline uint64_t
bits_count(const uint64_t *w, size_t words)
{
    uint64_t n = 0;

    for (size_t i = 0; i < words; i++)
        n += (uint64_t)__builtin_popcountll(w[i]);
    return n;
}

/* First set bit in [from, to), or to. */
static inline uint64_t
bits_next(const uint64_t *w, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / 64; i * 64 < to; i++) {
        uint64_t x = w[i] & bits_mask(i, from, to);

        if (x)
            return i * 64 + (uint64_t)__builtin_ctzll(x);
    }
    return to;
}

#endif
