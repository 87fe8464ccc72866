/* The fast engine decides as place() does: random clusters with changes of labels, taints, nodes, VMs,
 * namespaces and time in between, and each decision's node, total, score, message and set of best nodes
 * of both. SEED and ROUNDS in the environment change what is tried. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "sched/cluster.h"
#include "sched/fast.h"
#include "tests/sched/gen.h"

#define DECISIONS 60 /* on one cluster */

#ifdef __SANITIZE_ADDRESS__
#define CLUSTERS 150
#else
#define CLUSTERS 1800
#endif

struct sums {
    unsigned long compared, fitted, migrations, nowhere, plain;
};

static int
by_text(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void
compare(const struct fast *f, const struct fast_decision *got, const struct place_result *want,
        const char *where)
{
    AUTO_FREE const char **got_best = xcalloc(want->best.len + 2, sizeof(char *));
    AUTO_FREE const char **want_best = xcalloc(want->best.len + 1, sizeof(char *));
    size_t len = fast_best(f, got_best, want->best.len + 1), fits = 0;

    if ((got->node == NULL) != (want->node == NULL) ||
        (got->node && strcmp(got->node, want->node) != 0))
        fail_msg("%s: node %s (%s), want %s (%s)", where, got->node ? got->node : "none",
                 got->message, want->node ? want->node : "none", want->message);
    if (strcmp(got->message, want->message) != 0)
        fail_msg("%s: message %s\nwant %s", where, got->message, want->message);
    for (size_t i = 0; i < want->nodes_len; i++) {
        fits += want->nodes[i].fits;
        if (!want->node || strcmp(want->nodes[i].name, want->node) != 0)
            continue;
        if (got->total != want->nodes[i].total || got->score != want->nodes[i].score)
            fail_msg("%s: %s: total %lld, score %lld, want %lld, %lld", where, got->node,
                     (long long)got->total, (long long)got->score, (long long)want->nodes[i].total,
                     (long long)want->nodes[i].score);
    }
    if (got->fits_len != fits)
        fail_msg("%s: %zu fit, want %zu", where, got->fits_len, fits);
    if (len != want->best.len || got->best_len != len)
        fail_msg("%s: %zu best ones (%zu), want %zu", where, got->best_len, len, want->best.len);
    for (size_t i = 0; i < len; i++)
        want_best[i] = want->best.items[i];
    if (len > 1)
        qsort(want_best, len, sizeof(*want_best), by_text);
    for (size_t i = 0; i < len; i++)
        assert_string_equal(got_best[i], want_best[i]);
}

static void
check_seed(uint64_t seed, struct sums *sums)
{
    static const size_t sizes[] = {5, 9, 15, 30, 60, 90};
    struct gen g;
    struct fast *f;

    gen_init(&g, seed, (enum gen_style)(seed % 3), sizes[seed / 3 % 6]);
    f = fast_new(g.c);
    for (unsigned i = 0; i < DECISIONS; i++) {
        AUTO_FREE char *where = xasprintf("seed %llu, decision %u", (unsigned long long)seed, i);
        struct place_request rq;
        struct gen_thing made;
        struct fast_decision got;
        struct place_result *want;

        for (size_t k = gen_below(&g, 3) == 0 ? 1 + gen_below(&g, 3) : 0; k > 0; k--)
            gen_change(&g);
        gen_request(&g, &rq, &made);
        fast_place(f, &rq, &got);
        want = place(g.c, &rq);
        compare(f, &got, want, where);
        sums->compared++;
        sums->fitted += want->node != NULL;
        sums->nowhere += want->node == NULL;
        sums->migrations += rq.purpose == PLACE_MIGRATE;
        if (made.arena && want->node)
            gen_keep(&g, &made, want->node);
        else if (made.arena)
            gen_drop(&made);
        place_result_free(want);
    }
    sums->plain += fast_plain(f);
    fast_free(f);
    gen_done(&g);
}

static void
test_same_as_place(void **state)
{
    const char *seed_text = getenv("SEED"), *rounds_text = getenv("ROUNDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : CLUSTERS;
    struct sums s = {0};

    (void)state;
    for (uint64_t i = 0; i < rounds; i++)
        check_seed(seed + i, &s);
    print_message("# %lu decisions compared with place(), seeds %llu to %llu: %lu placed, %lu "
                  "nowhere, %lu migrations, %lu by place() itself\n",
                  s.compared, (unsigned long long)seed, (unsigned long long)(seed + rounds - 1),
                  s.fitted, s.nowhere, s.migrations, s.plain);
    if (rounds >= 100) {
        assert_in_range(s.fitted, s.compared / 10, s.compared);
        assert_in_range(s.nowhere, s.compared / 20, s.compared);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_as_place)};

    return cmocka_run_group_tests_name("fast", tests, NULL, NULL);
}
