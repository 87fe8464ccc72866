/* The order in which post-copy pushes memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/rng.h"
#include "base/sb.h"
#include "migrate/bits.h"
#include "migrate/plan.h"

#define STRIPES 8u
#define PAGES   (STRIPES * LAYOUT_STRIPE_PAGES)
#define WORDS   (PAGES / 64)

static void
begin(struct plan *p, struct layout *l, const uint64_t *todo, const uint8_t *heat)
{
    const struct layout_region r = {.size_bytes = (uint64_t)STRIPES * LAYOUT_STRIPE_BYTES,
                                    .page_bytes = LAYOUT_PAGE_BYTES};

    assert_int_equal(layout_init(l, &r, 1, 2, NULL), 0);
    plan_init(p, l, todo, heat);
}

static void
test_hottest_first(void **state)
{
    static const uint8_t heat[STRIPES] = {0, 3, 255, 0, 3, 1, 0, 0};
    static const uint64_t want[STRIPES] = {2, 1, 4, 5, 0, 3, 6, 7};
    uint64_t todo[WORDS];
    struct layout l;
    struct plan p;
    struct plan_run r;

    (void)state;
    memset(todo, 0xff, sizeof todo);
    begin(&p, &l, todo, heat);
    for (unsigned i = 0; i < STRIPES; i++) {
        assert_true(plan_next(&p, LAYOUT_STRIPE_PAGES, &r));
        assert_int_equal(r.page, want[i] * LAYOUT_STRIPE_PAGES);
        assert_int_equal(r.pages, LAYOUT_STRIPE_PAGES);
    }
    assert_false(plan_next(&p, 1, &r));
    assert_int_equal(p.left, 0);
    plan_done(&p);
}

/* After a fault, what lies around it comes first: 16 pages, then twice as many, up to 1,024. */
static void
test_window_grows_and_begins_anew(void **state)
{
    uint64_t todo[WORDS], far = 0;
    struct layout l;
    struct plan p;
    struct plan_run r;

    (void)state;
    memset(todo, 0xff, sizeof todo);
    begin(&p, &l, todo, NULL);
    plan_fault(&p, 3000, 1);
    assert_true(plan_next(&p, 64, &r));
    assert_int_equal(r.page, 3001);
    assert_int_equal(r.pages, 15);
    assert_true(plan_next(&p, 64, &r));
    assert_int_equal(r.page, 2996);
    assert_int_equal(r.pages, 4);
    assert_true(plan_next(&p, 64, &r));
    assert_int_equal(r.page, 3016);
    plan_fault(&p, 1000, 2); /* somewhere else: small again */
    assert_true(plan_next(&p, 64, &r));
    assert_int_equal(r.page, 1002);
    assert_int_equal(r.pages, 14);
    for (unsigned i = 0; i < 1000 && p.window > 0; i++) {
        assert_true(plan_next(&p, 64, &r));
        if (p.window > 0) {
            uint64_t d = r.page > 1000 ? r.page + r.pages - 1000 : 1000 - r.page;

            assert_true(d <= PLAN_WINDOW_MAX);
            far = d > far ? d : far;
        }
    }
    assert_int_equal(p.window, 0);
    assert_int_equal(far, PLAN_WINDOW_MAX);
    plan_done(&p);
}

/* Whatever the order of faults and calls: each page once, runs inside a stripe, none twice. */
static void
test_each_page_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t todo[WORDS], seen[WORDS] = {0};
        uint8_t heat[STRIPES];
        struct layout l;
        struct plan p;
        struct plan_run r;
        struct rng rng;

        rng_seed(&rng, seed);
        for (unsigned i = 0; i < WORDS; i++)
            todo[i] = rng_below(&rng, 3) ? rng_mix(seed * 99 + i) : 0;
        for (unsigned i = 0; i < STRIPES; i++)
            heat[i] = (uint8_t)rng_below(&rng, 4);
        begin(&p, &l, todo, heat);
        while (p.left > 0) {
            if (rng_below(&rng, 5) == 0) {
                uint64_t page = rng_below(&rng, PAGES);

                plan_fault(&p, page, 1);
                if (bits_test(todo, page))
                    bits_set(seen, page);
                continue;
            }
            assert_true(plan_next(&p, 1 + (uint32_t)rng_below(&rng, 100), &r));
            assert_true(r.pages > 0 && r.page / LAYOUT_STRIPE_PAGES ==
                                           (r.page + r.pages - 1) / LAYOUT_STRIPE_PAGES);
            for (uint64_t i = r.page; i < r.page + r.pages; i++) {
                assert_true(bits_test(todo, i) && !bits_test(seen, i));
                bits_set(seen, i);
            }
        }
        assert_false(plan_next(&p, 64, &r));
        assert_memory_equal(seen, todo, sizeof todo);
        plan_done(&p);
    }
}

/* The target came back and said what it lacks: it begins anew. */
static void
test_reset(void **state)
{
    uint64_t todo[WORDS] = {[0] = 6}, again[WORDS] = {[WORDS - 1] = 1ull << 63};
    struct layout l;
    struct plan p;
    struct plan_run r;

    (void)state;
    begin(&p, &l, todo, NULL);
    assert_true(plan_next(&p, 1, &r));
    assert_int_equal(r.page, 1);
    plan_reset(&p, again);
    assert_true(plan_next(&p, 64, &r));
    assert_int_equal(r.page, PAGES - 1);
    assert_false(plan_next(&p, 64, &r));
    plan_done(&p);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hottest_first),
        cmocka_unit_test(test_window_grows_and_begins_anew),
        cmocka_unit_test(test_each_page_once),
        cmocka_unit_test(test_reset),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
