/* The encodings' kernels: every form that this processor has against a plain loop, there and back,
 * and what decoders must refuse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/codec.h"
#include "migrate/zero.h"
#include "proto/wire.h"

#define PAGE  LAYOUT_PAGE_BYTES
#define WORDS (PAGE / 8)

static _Alignas(64) uint8_t old[PAGE], new[PAGE], base[PAGE], back[PAGE];

/* What the encoder must write, word by word, with no trick at all. */
static size_t
by_hand(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    uint64_t blocks = 0;
    size_t at = 8;

    for (unsigned i = 0; i < 64; i++) {
        uint8_t mask = 0;

        for (unsigned k = 0; k < 8; k++)
            mask |= (uint8_t)((memcmp(a + i * 64 + k * 8, b + i * 64 + k * 8, 8) != 0) << k);
        if (!mask)
            continue;
        blocks |= 1ull << i;
        out[at++] = mask;
        for (unsigned k = 0; k < 8; k++) {
            if (mask >> k & 1) {
                memcpy(out + at, b + i * 64 + k * 8, 8);
                at += 8;
            }
        }
    }
    wire_put64(out, blocks);
    return at;
}

static size_t
forms(codec_delta_fn *ret[4])
{
    size_t n = 0;

    ret[n++] = codec_delta;
    ret[n++] = codec_delta_plain;
    if (codec_delta_avx2())
        ret[n++] = codec_delta_avx2();
    if (codec_delta_avx512())
        ret[n++] = codec_delta_avx512();
    return n;
}

/* old -> new with every form, with every budget that matters, and back. */
static void
check_pair(void)
{
    static uint8_t want[CODEC_DELTA_MAX + 8], out[CODEC_DELTA_MAX + CODEC_DELTA_SLACK + 64];
    size_t len = by_hand(old, new, want), used, n;
    codec_delta_fn *fn[4];

    n = forms(fn);
    for (size_t f = 0; f < n; f++) {
        const size_t budgets[] = {len, len + 1, CODEC_DELTA_MAX};

        for (size_t b = 0; b < ARRAY_LEN(budgets); b++) {
            memcpy(base, old, PAGE);
            memset(out, 0xee, sizeof out);
            assert_int_equal(fn[f](base, new, out, budgets[b]), len);
            assert_memory_equal(out, want, len);
            assert_memory_equal(base, new, PAGE);
        }
        for (size_t less = 1; less <= len && less < 40; less++) { /* gives up, and in bounds */
            memcpy(base, old, PAGE);
            memset(out, 0xee, sizeof out);
            assert_int_equal(fn[f](base, new, out, len - less), 0);
            for (size_t i = len - less + CODEC_DELTA_SLACK; i < sizeof out; i++)
                assert_int_equal(out[i], 0xee);
        }
    }
    memcpy(back, old, PAGE);
    assert_int_equal(codec_delta_apply(back, want, len + 5, &used), 0);
    assert_int_equal(used, len);
    assert_memory_equal(back, new, PAGE);
    for (size_t cut = 0; cut < len; cut++) /* each shorter stream is none */
        assert_int_equal(codec_delta_apply(back, want, cut, &used), -EPROTO);
}

static void
test_delta(void **state)
{
    struct rng rng;

    (void)state;
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < PAGE; i++)
        old[i] = new[i] = (uint8_t)rng_u64(&rng);
    check_pair();                            /* nothing changed */
    for (unsigned i = 0; i < PAGE; i += 8) { /* one byte of each word, at each place in it */
        memcpy(new, old, PAGE);
        new[i + i / 8 % 8] ^= 0x80;
        check_pair();
    }
    for (unsigned changed = 1; changed <= WORDS; changed *= 2) { /* sparse to dense */
        memcpy(new, old, PAGE);
        for (unsigned k = 0; k < changed; k++)
            new[rng_below(&rng, PAGE)] ^= (uint8_t)(1 + rng_below(&rng, 255));
        check_pair();
    }
    memset(old, 0, PAGE); /* all of it, and a page that becomes zeros */
    check_pair();
    for (unsigned i = 0; i < PAGE; i++)
        new[i] = 0xff;
    check_pair();
    memcpy(old, new, PAGE);
    memset(new, 0, PAGE);
    check_pair();
}

static void
test_delta_sizes(void **state)
{
    uint8_t out[CODEC_DELTA_MAX + CODEC_DELTA_SLACK];

    (void)state;
    memset(new, 1, PAGE);
    memset(base, 1, PAGE);
    assert_int_equal(codec_delta(base, new, out, 100), FRAME_DELTA_MIN);
    new[777] = 2;
    assert_int_equal(codec_delta(base, new, out, 100), 17);
    memset(new, 3, PAGE);
    assert_int_equal(codec_delta(base, new, out, CODEC_DELTA_MAX), CODEC_DELTA_MAX);
}

/* Whatever comes, nothing outside the page is touched, and lengths are kept. */
static void
test_delta_hostile(void **state)
{
    AUTO_FREE uint8_t *room = xmalloc(3 * PAGE);
    struct rng rng;

    (void)state;
    rng_seed(&rng, 8);
    for (int round = 0; round < 20000; round++) {
        size_t len = rng_below(&rng, 200), used = 0;
        AUTO_FREE uint8_t *in = xmalloc(len + 1); /* of its own, for the sanitizer */

        memset(room, 0x77, 3 * PAGE);
        for (size_t i = 0; i < len; i++)
            in[i] = (uint8_t)(rng_u64(&rng) & rng_u64(&rng) & rng_u64(&rng));
        if (codec_delta_apply(room + PAGE, in, len, &used) == 0)
            assert_in_range(used, FRAME_DELTA_MIN, len);
        for (size_t i = 0; i < PAGE; i++)
            assert_true(room[i] == 0x77 && room[2 * PAGE + i] == 0x77);
    }
}

static void
test_zero_forms(void **state)
{
    typedef bool zero_fn(const void *page);
    zero_fn *fn[4] = {zero_page, zero_page_plain};
    size_t n = 2;

    (void)state;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        fn[n++] = zero_page_avx2;
    if (__builtin_cpu_supports("avx512f"))
        fn[n++] = zero_page_avx512;
#endif
    for (size_t f = 0; f < n; f++) {
        memset(new, 0, PAGE);
        assert_true(fn[f](new));
        for (unsigned i = 0; i < PAGE; i++) {
            new[i] = (uint8_t)(1u << i % 8);
            assert_false(fn[f](new));
            new[i] = 0;
        }
        memset(new, 0xff, PAGE);
        assert_false(fn[f](new));
    }
}

/* --- lz4 and zstd --- */

#define GROUP (FRAME_GROUP_PAGES * PAGE)

static void
fill(uint8_t *p, size_t len, unsigned kind, struct rng *rng)
{
    for (size_t i = 0; i < len; i++) {
        static const char text[] = "virtual machines move, and nobody looks up from their work. ";

        p[i] = kind == 0   ? (uint8_t)rng_u64(rng)
               : kind == 1 ? (uint8_t)text[(i + i / 999) % (sizeof text - 1)]
               : kind == 2 ? (uint8_t)(i % 64 ? 0 : rng_u64(rng))
                           : 0;
    }
}

static void
test_lz_there_and_back(void **state)
{
    AUTO_FREE uint8_t *in = xmalloc(GROUP), *out = xmalloc(GROUP), *got = xmalloc(GROUP);
    struct codec_lz *z = codec_lz_new();
    struct rng rng;

    (void)state;
    rng_seed(&rng, 4);
    for (unsigned kind = 0; kind < 4; kind++) {
        for (unsigned pages = 1; pages <= FRAME_GROUP_PAGES; pages += 9) {
            size_t len = (size_t)pages * PAGE, a, b;

            fill(in, len, kind, &rng);
            a = codec_lz4(z, in, len, out, len - 1);
            assert_true(kind == 0 ? a == 0 : a > 0 && a < len / 2);
            if (a) {
                assert_int_equal(codec_unlz4(out, a, got, len), 0);
                assert_memory_equal(got, in, len);
                assert_int_equal(codec_unlz4(out, a - 1, got, len), -EPROTO);
                assert_int_equal(codec_unlz4(out, a, got, len - 1), -EPROTO);
                if (len < GROUP)
                    assert_int_equal(codec_unlz4(out, a, got, len + 1), -EPROTO);
                assert_int_equal(codec_lz4(z, in, len, out, a - 1), 0);
            }
            b = codec_zstd(z, in, len, out, len - 1);
            assert_true(kind == 0 ? b == 0 : b > 0 && b < len / 2);
            if (b) {
                assert_int_equal(codec_unzstd(z, out, b, got, len), 0);
                assert_memory_equal(got, in, len);
                assert_int_equal(codec_unzstd(z, out, b - 1, got, len), -EPROTO);
                assert_int_equal(codec_unzstd(z, out, b, got, len - 1), -EPROTO);
                assert_int_equal(codec_zstd(z, in, len, out, b - 1), 0);
            }
        }
    }
    codec_lz_free(z);
}

/* Damaged streams are refused or give other bytes (the page's sum finds that), within bounds. */
static void
test_lz_hostile(void **state)
{
    AUTO_FREE uint8_t *in = xmalloc(4 * PAGE), *out = xmalloc(4 * PAGE), *room = xmalloc(6 * PAGE);
    struct codec_lz *z = codec_lz_new();
    struct rng rng;

    (void)state;
    rng_seed(&rng, 6);
    fill(in, 4 * PAGE, 1, &rng);
    for (int round = 0; round < 4000; round++) {
        bool lz4 = round % 2;
        size_t len = lz4 ? codec_lz4(z, in, 4 * PAGE, out, 4 * PAGE)
                         : codec_zstd(z, in, 4 * PAGE, out, 4 * PAGE);
        AUTO_FREE uint8_t *copy = xmalloc(len);

        memcpy(copy, out, len);
        for (int k = 0; k < 3; k++)
            copy[rng_below(&rng, len)] = (uint8_t)rng_u64(&rng);
        memset(room, 0x77, 6 * PAGE);
        (void)(lz4 ? codec_unlz4(copy, len, room + PAGE, 4 * PAGE)
                   : codec_unzstd(z, copy, len, room + PAGE, 4 * PAGE));
        for (size_t i = 0; i < PAGE; i++)
            assert_true(room[i] == 0x77 && room[5 * PAGE + i] == 0x77);
    }
    codec_lz_free(z);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta),
        cmocka_unit_test(test_delta_sizes),
        cmocka_unit_test(test_delta_hostile),
        cmocka_unit_test(test_zero_forms),
        cmocka_unit_test(test_lz_there_and_back),
        cmocka_unit_test(test_lz_hostile),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
