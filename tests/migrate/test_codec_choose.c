/* Which encoding is chosen, as a table of measured numbers; how it is learnt; and the cache of
 * versions that deltas need. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/codec_cache.h"
#include "migrate/codec_choose.h"
#include "proto/limits.h"

#define PAGE LAYOUT_PAGE_BYTES
#define SEC  1000000000ull

static const bool all[MIG_ENC_COUNT] = {true, true, true, true, true, true};

struct measured {
    uint32_t ns, permille;
};

struct row {
    const char *name;
    enum mig_encoding fixed;
    uint64_t link_bytes_per_s; /* that the worker gets; 0 = not measured */
    unsigned wait_permille;    /* while raw pages are sent */
    uint64_t limit_bytes_per_s;
    struct measured delta, lz4, zstd; /* 0, 0 = not tried yet */
    bool without_lz4, without_delta;  /* the target does not take it */
    /* what is expected */
    enum mig_encoding group, trial;
    uint32_t keep;
};

#define G 1000000000ull
#define M 1000000ull

static const struct row rows[] = {
    {"nothing is known: raw", 0, 0, 0, 0, {0}, {0}, {0}, 0, 0, MIG_ENC_RAW, 0, 0},
    {"fast link: raw, and nothing is even tried",
     0,
     2 * G,
     600,
     0,
     {0},
     {0},
     {0},
     0,
     0,
     MIG_ENC_RAW,
     0,
     0},
    {"a worker that never waits: raw, whatever would be saved",
     0,
     50 * M,
     20,
     0,
     {0},
     {500, 10},
     {900, 10},
     0,
     0,
     MIG_ENC_RAW,
     0,
     0},
    {"1 Gbit/s, not tried: raw, lz4 is tried, pages are kept",
     0,
     60 * M,
     950,
     0,
     {0},
     {0},
     {0},
     0,
     0,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     1},
    {"1 Gbit/s, compressible: lz4; zstd is tried",
     0,
     60 * M,
     950,
     0,
     {0},
     {1200, 300},
     {0},
     0,
     0,
     MIG_ENC_LZ4,
     MIG_ENC_ZSTD,
     1},
    {"1 Gbit/s, zstd saves more and is quick enough",
     0,
     60 * M,
     950,
     0,
     {0},
     {1200, 300},
     {3000, 150},
     0,
     0,
     MIG_ENC_ZSTD,
     MIG_ENC_LZ4,
     1},
    {"5 Gbit/s, zstd saves more but is too slow",
     0,
     300 * M,
     700,
     0,
     {0},
     {1200, 300},
     {9000, 150},
     0,
     0,
     MIG_ENC_LZ4,
     0,
     1},
    {"incompressible",
     0,
     60 * M,
     950,
     0,
     {0},
     {300, 1000},
     {900, 1000},
     0,
     0,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     1},
    {"a tenth is not worth it",
     0,
     60 * M,
     950,
     0,
     {0},
     {300, 900},
     {900, 890},
     0,
     0,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     1},
    {"the limit counts before the link was measured",
     0,
     0,
     0,
     10 * M,
     {0},
     {0},
     {0},
     0,
     0,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     1},
    {"a fast link under a limit",
     0,
     2 * G,
     900,
     20 * M,
     {0},
     {1200, 300},
     {0},
     0,
     0,
     MIG_ENC_LZ4,
     MIG_ENC_ZSTD,
     1},
    {"deltas save nothing: one page in 16 is kept",
     0,
     60 * M,
     950,
     0,
     {600, 990},
     {0},
     {0},
     0,
     0,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     16},
    {"no lz4 at the target", 0, 60 * M, 950, 0, {0}, {0}, {0}, 1, 0, MIG_ENC_RAW, MIG_ENC_ZSTD, 1},
    {"no deltas at the target",
     0,
     60 * M,
     950,
     0,
     {0},
     {0},
     {0},
     0,
     1,
     MIG_ENC_RAW,
     MIG_ENC_LZ4,
     0},
    {"fixed: raw", MIG_ENC_RAW, 60 * M, 950, 0, {0}, {500, 10}, {0}, 0, 0, MIG_ENC_RAW, 0, 0},
    {"fixed: lz4", MIG_ENC_LZ4, 2 * G, 10, 0, {0}, {0}, {0}, 0, 0, MIG_ENC_LZ4, 0, 0},
    {"fixed: lz4, which the target does not take",
     MIG_ENC_LZ4,
     2 * G,
     10,
     0,
     {0},
     {0},
     {0},
     1,
     0,
     MIG_ENC_RAW,
     0,
     0},
    {"fixed: zstd", MIG_ENC_ZSTD, 2 * G, 10, 0, {0}, {0}, {0}, 0, 0, MIG_ENC_ZSTD, 0, 0},
    {"fixed: delta", MIG_ENC_DELTA, 2 * G, 10, 0, {0}, {0}, {0}, 0, 0, MIG_ENC_RAW, 0, 1},
};

static void
windows(struct codec_choose *c, uint64_t bytes_per_s, unsigned wait_permille, bool encoded,
        unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        while (!codec_choose_sent(c, bytes_per_s / 500, SEC / 500, SEC / 500, encoded))
            ;
        codec_choose_window(c, c->window_ns / 1000 * (1000 - wait_permille), 0);
    }
}

static void
measured(struct codec_choose *c, enum mig_encoding e, const struct measured *m)
{
    if (m->ns)
        codec_choose_encoded(c, e, 1000, (uint64_t)m->permille * PAGE, m->ns * 1000, 0);
}

static void
test_table(void **state)
{
    const struct row *r = *state;
    bool allowed[MIG_ENC_COUNT];
    struct codec_choose c;
    struct codec_plan p;

    memcpy(allowed, all, sizeof allowed);
    allowed[MIG_ENC_LZ4] = !r->without_lz4;
    allowed[MIG_ENC_DELTA] = !r->without_delta;
    codec_choose_init(&c, r->fixed, allowed);
    if (r->link_bytes_per_s)
        windows(&c, r->link_bytes_per_s, r->wait_permille, false, 8);
    measured(&c, MIG_ENC_DELTA, &r->delta);
    measured(&c, MIG_ENC_LZ4, &r->lz4);
    measured(&c, MIG_ENC_ZSTD, &r->zstd);
    p = codec_choose_next(&c, r->limit_bytes_per_s, 100 * M);
    assert_int_equal(p.group, r->group);
    assert_int_equal(p.trial, r->trial);
    assert_int_equal(p.keep_one_in, r->keep);
    assert_in_range(p.delta_budget, 256, 3072);
}

/* A page that lz4 would bring down to a tenth is no delta of half its size. */
static void
test_delta_budget(void **state)
{
    struct codec_choose c;

    (void)state;
    codec_choose_init(&c, MIG_ENC_AUTO, all);
    windows(&c, 60 * M, 900, false, 4);
    assert_int_equal(codec_choose_next(&c, 0, 0).delta_budget, 3072);
    measured(&c, MIG_ENC_LZ4, &(struct measured){1000, 100});
    assert_int_equal(codec_choose_next(&c, 0, 0).delta_budget, 409);
    measured(&c, MIG_ENC_LZ4, &(struct measured){1000, 1});
    for (int i = 0; i < 20; i++)
        measured(&c, MIG_ENC_LZ4, &(struct measured){1000, 1});
    assert_int_equal(codec_choose_next(&c, 0, 0).delta_budget, 256);
}

/* What is not worth it is tried less and less often, and at once again when data changed. */
static void
test_trials(void **state)
{
    uint64_t now = 1, last = 0, tries = 0;
    struct codec_choose c;

    (void)state;
    codec_choose_init(&c, MIG_ENC_AUTO, (const bool[MIG_ENC_COUNT]){[MIG_ENC_LZ4] = true});
    windows(&c, 60 * M, 900, false, 4);
    for (; now < 60 * M; now += 1000) {
        if (codec_choose_next(&c, 0, now).trial == MIG_ENC_LZ4) {
            codec_choose_encoded(&c, MIG_ENC_LZ4, 16, 16 * PAGE, 16 * 400, now);
            tries++;
            last = now;
        }
    }
    assert_in_range(tries, 20, 26); /* 0.1 s, 0.2 ... 3.2 s, and so on */
    while (codec_choose_next(&c, 0, now).trial != MIG_ENC_LZ4)
        now += 1000;
    assert_in_range(now - last, 3100000, 3300000);
    for (int i = 0; i < 8; i++) /* other data */
        codec_choose_encoded(&c, MIG_ENC_LZ4, 16, 16 * PAGE / 5, 16 * 400, now);
    assert_int_equal(codec_choose_next(&c, 0, now).group, MIG_ENC_LZ4);
}

/* Where processors are shared, what an encoding takes of them counts for more: a peer that is slow
 * because it waits for the same processors is no slow link. */
static void
test_shared_processors(void **state)
{
    struct codec_choose c;

    (void)state;
    codec_choose_init(&c, MIG_ENC_AUTO, all);
    measured(&c, MIG_ENC_LZ4, &(struct measured){2000, 500});
    for (int i = 0; i < 20; i++) {
        while (!codec_choose_sent(&c, 400000, SEC / 500, SEC / 500, false))
            ;
        codec_choose_window(&c, c.window_ns / 10, c.window_ns / 100);
    }
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_LZ4);
    for (int i = 0; i < 20; i++) {
        while (!codec_choose_sent(&c, 400000, SEC / 500, SEC / 500, false))
            ;
        codec_choose_window(&c, c.window_ns / 10, c.window_ns / 3);
    }
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_RAW);
}

/* Encoding that makes the worker busy is no reason to stop; a link that became fast is. */
static void
test_busy_with_encoding(void **state)
{
    struct codec_choose c;
    unsigned n = 0;

    (void)state;
    codec_choose_init(&c, MIG_ENC_AUTO, all);
    windows(&c, 100 * M, 900, false, 4);
    measured(&c, MIG_ENC_LZ4, &(struct measured){1500, 20});
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_LZ4);
    windows(&c, 50 * M, 0, true, 10);
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_LZ4);
    while (codec_choose_next(&c, 0, 0).group == MIG_ENC_LZ4 && n++ < 10000)
        windows(&c, 50 * M, 0, true, 1);
    assert_in_range(n, 50, 1000); /* seconds, not for ever: then raw shows what the link takes */
    windows(&c, 100 * M, 900, false, 20);
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_LZ4);
    windows(&c, 2 * G, 500, false, 20);
    assert_int_equal(codec_choose_next(&c, 0, 0).group, MIG_ENC_RAW);
}

/* --- the cache --- */

static void
put(struct codec_cache *c, uint64_t page)
{
    uint8_t *p = codec_cache_put(c, page);

    if (p)
        memset(p, (int)(page * 7 & 0xff), PAGE);
}

static bool
holds(struct codec_cache *c, uint64_t page)
{
    const uint8_t *p = codec_cache_find(c, page);

    if (p)
        assert_true(p[0] == (page * 7 & 0xff) && p[PAGE - 1] == p[0]);
    return p != NULL;
}

static void
test_cache_neighbours_fit_entirely(void **state)
{
    struct codec_cache *c = codec_cache_new(1024 * PAGE);

    (void)state;
    for (uint64_t i = 0; i < 1024; i++)
        put(c, 5000 + i);
    assert_int_equal(codec_cache_used(c), 1024);
    for (uint64_t i = 0; i < 1024; i++)
        assert_true(holds(c, 5000 + i));
    assert_false(holds(c, 4999));
    codec_cache_drop(c, 5003);
    codec_cache_drop(c, 5003);
    codec_cache_drop(c, 1);
    assert_int_equal(codec_cache_used(c), 1023);
    assert_false(holds(c, 5003));
    assert_true(holds(c, 5004));
    codec_cache_free(c);
}

static void
test_cache_cold_stream(void **state)
{
    struct codec_cache *c = codec_cache_new(1024 * PAGE);
    uint64_t hot = 0;

    (void)state;
    for (uint64_t i = 0; i < 900; i++)
        put(c, i);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 900; i++)
            assert_true(holds(c, i));
    }
    for (uint64_t i = 0; i < 100000; i++) /* pages that come once */
        put(c, 1000000 + i);
    for (uint64_t i = 0; i < 900; i++)
        hot += holds(c, i);
    assert_in_range(hot, 770, 900); /* one place of eight, at most */
    assert_true(codec_cache_used(c) <= 1024);
    codec_cache_free(c);
}

/* Twice as large a working set, again and again: half of it stays in. */
static void
test_cache_too_small(void **state)
{
    struct codec_cache *c = codec_cache_new(1024 * PAGE);
    uint64_t found = 0;

    (void)state;
    for (int round = 0; round < 10; round++) {
        found = 0;
        for (uint64_t i = 0; i < 2048; i++) {
            if (holds(c, i))
                found++;
            else
                put(c, i);
        }
    }
    assert_in_range(found, 800, 1024);
    codec_cache_free(c);
}

static void
test_cache_sizes(void **state)
{
    struct codec_cache *c;

    (void)state;
    assert_null(codec_cache_new(0));
    assert_null(codec_cache_new(8 * PAGE - 1));
    c = codec_cache_new(8 * PAGE);
    for (uint64_t i = 0; i < 64; i++)
        put(c, i);
    assert_int_equal(codec_cache_used(c), 8);
    codec_cache_free(c);
    codec_cache_free(NULL);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_delta_budget),
        cmocka_unit_test(test_trials),
        cmocka_unit_test(test_busy_with_encoding),
        cmocka_unit_test(test_shared_processors),
        cmocka_unit_test(test_cache_neighbours_fit_entirely),
        cmocka_unit_test(test_cache_cold_stream),
        cmocka_unit_test(test_cache_too_small),
        cmocka_unit_test(test_cache_sizes),
    };
    struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){.name = rows[i].name,
                                         .test_func = test_table,
                                         .initial_state = (void *)(uintptr_t)&rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        tests[n++] = others[i];
    return cmocka_run_group_tests_name("codec_choose", tests, NULL, NULL);
}
