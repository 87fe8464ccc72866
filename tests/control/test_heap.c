/* The heap against sorting: random puts, changes and removals give the items in order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/heap.h"
#include "base/rng.h"

#define ITEMS 200

struct item {
    uint64_t key;
    size_t pos;
    bool in;
};

static bool
before(const void *a, const void *b)
{
    return ((const struct item *)a)->key < ((const struct item *)b)->key;
}

static void
moved(void *item, size_t pos)
{
    ((struct item *)item)->pos = pos;
}

static void
test_random(void **state)
{
    struct heap h = {.before = before, .moved = moved};
    struct item items[ITEMS] = {0};
    struct rng rng;
    size_t len = 0;

    (void)state;
    rng_seed(&rng, 7);
    assert_null(heap_first(&h));
    for (int step = 0; step < 20000; step++) {
        struct item *i = &items[rng_below(&rng, ITEMS)];

        if (!i->in) {
            i->key = rng_below(&rng, 1000);
            i->in = true;
            heap_put(&h, i);
            len++;
        } else if (rng_below(&rng, 3) == 0) {
            i->key = rng_below(&rng, 1000);
            heap_fix(&h, i->pos);
        } else {
            i->in = false;
            heap_del(&h, i->pos);
            len--;
        }
        assert_int_equal(h.len, len);
        for (size_t j = 0; j < ITEMS; j++) {
            assert_true(!items[j].in || h.items[items[j].pos] == &items[j]);
            assert_true(!items[j].in || ((struct item *)heap_first(&h))->key <= items[j].key);
        }
    }
    for (uint64_t last = 0; h.len > 0; heap_del(&h, 0)) {
        const struct item *first = heap_first(&h);

        assert_true(first->key >= last);
        last = first->key;
    }
    heap_done(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
