/* A cluster that was changed decides as a new one of the same objects: random changes, and
 * place()'s whole answer, as text, of both. SEED and ROUNDS in the environment change what is
 * tried. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api/tree.h"
#include "base/sb.h"
#include "sched/cluster.h"
#include "tests/sched/gen.h"

#define CHANGES 25

static char *
answer(const struct cluster *c, const struct place_request *rq)
{
    struct place_result *r = place(c, rq);
    AUTO_TREE struct tree *t = place_result_tree(r, "ns", "vm");
    struct sb text = SB_INIT;

    place_result_free(r);
    tree_to_json(t, 0, &text);
    return sb_steal(&text);
}

/* Returns how many decisions were compared. */
static unsigned
check_seed(uint64_t seed)
{
    struct gen g;
    unsigned compared = 0;

    gen_init(&g, seed, (enum gen_style)(seed % 3), 4 + seed % 9);
    for (unsigned i = 0; i < CHANGES; i++) {
        struct place_request rq;
        struct gen_thing made;
        struct cluster *fresh;
        struct place_result *r;

        for (size_t k = gen_below(&g, 4); k > 0; k--)
            gen_change(&g);
        gen_request(&g, &rq, &made);
        fresh = gen_fresh(&g);
        {
            AUTO_FREE char *got = answer(g.c, &rq), *want = answer(fresh, &rq);

            if (strcmp(got, want) != 0)
                fail_msg("seed %llu, step %u: changed %s\nfresh %s", (unsigned long long)seed, i,
                         got, want);
        }
        compared++;
        assert_int_equal(g.c->occupants_len, fresh->occupants_len);
        assert_int_equal(g.c->occupied_len, fresh->occupied_len);
        assert_int_equal(g.c->nodes_len, fresh->nodes_len);
        cluster_free(fresh);
        r = place(g.c, &rq);
        if (made.arena && r->node)
            gen_keep(&g, &made, r->node);
        else if (made.arena)
            gen_drop(&made);
        place_result_free(r);
    }
    /* all that came goes again, and leaves nothing */
    while (g.vms.len > 0)
        gen_remove_vm(&g);
    assert_int_equal(g.c->occupants_len, 0);
    assert_int_equal(g.c->occupied_len, 0);
    assert_int_equal(strmap_len(g.c->by_name), g.nodes.len);
    for (size_t i = 0; i < g.c->nodes_len; i++) {
        const struct room *room = &g.c->nodes[i]->room;

        assert_int_equal(room->used_pods, 0);
        assert_int_equal(room->used_cpu_milli, 0);
        assert_int_equal(room->used_memory_bytes, 0);
        assert_int_equal(room->used_score_cpu_milli, 0);
        assert_int_equal(room->used_score_memory_bytes, 0);
        for (size_t k = 0; k < room->extras_len; k++)
            assert_int_equal(room->extras[k].used, 0);
    }
    gen_done(&g);
    return compared;
}

static void
test_changes(void **state)
{
    const char *seed_text = getenv("SEED"), *rounds_text = getenv("ROUNDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : 600;
    unsigned compared = 0;

    (void)state;
    for (uint64_t i = 0; i < rounds; i++)
        compared += check_seed(seed + i);
    print_message("# %u decisions compared, seeds %llu to %llu\n", compared,
                  (unsigned long long)seed, (unsigned long long)(seed + rounds - 1));
}

/* A VM that is replaced over and over takes no more memory than one. */
static void
test_no_growth(void **state)
{
    struct cluster *c = cluster_new();
    struct node n = {.meta.name = "n1"};
    struct vmi v = {.meta = {.name = "a", .namespace_ = "x"},
                    .status = {.phase = "Running", .node_name = "n1"}};
    size_t before;

    (void)state;
    cluster_add_node(c, &n);
    cluster_add_vmi(c, &v);
    before = cluster_bytes(c);
    for (int i = 0; i < 1000; i++) {
        cluster_update_node(c, &n);
        v.status.node_name = i % 2 ? "n1" : "elsewhere";
        cluster_update_vmi(c, &v);
        cluster_reserve(c, &v, "n3");
        cluster_unreserve(c, "x", "a", "n3");
    }
    v.status.node_name = "n1";
    cluster_update_vmi(c, &v);
    assert_int_equal(cluster_bytes(c), before);
    assert_int_equal(strmap_len(c->by_name), 1);
    cluster_free(c);
}

/* Sums that have hit their end come back right when those who caused it leave. */
static void
test_saturated(void **state)
{
    struct resource memory[] = {{"memory", {.set = true, .units = INT64_MAX}}};
    struct resource little[] = {{"memory", {.set = true, .units = 1000}}};
    struct vmi big[2] = {{.meta.name = "a", .status = {.phase = "Running", .node_name = "n1"}},
                         {.meta.name = "b", .status = {.phase = "Running", .node_name = "n1"}}};
    struct vmi small = {.meta.name = "c", .status = {.phase = "Running", .node_name = "n1"}};
    struct cluster *c = cluster_new();
    struct cluster_node *n;
    int64_t want;

    (void)state;
    small.spec.domain.requests = (struct resource_list){little, 1};
    cluster_add_vmi(c, &small);
    n = cluster_find(c, "n1");
    want = n->room.used_memory_bytes;
    for (int i = 0; i < 2; i++) {
        big[i].spec.domain.requests = (struct resource_list){memory, 1};
        cluster_add_vmi(c, &big[i]);
    }
    assert_true(n->room.used_memory_bytes == INT64_MAX);
    cluster_remove_vmi(c, NULL, "a");
    assert_true(n->room.used_memory_bytes == INT64_MAX);
    cluster_remove_vmi(c, "", "b");
    assert_int_equal(n->room.used_memory_bytes, want);
    assert_int_equal(n->room.used_pods, 1);
    cluster_free(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_no_growth),
        cmocka_unit_test(test_saturated),
    };

    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
