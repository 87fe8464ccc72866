/* Properties of place() on random clusters, held against naive.c: a node fits exactly when the naive
 * rules say so; reasons are there exactly when it does not; the counts in the message add up; scores
 * are what they should be, under random profiles; the best is the best. Seeds are printed; SEED and ROUNDS in the environment
 * change them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sb.h"
#include "sched/fast.h"
#include "sched/place.h"
#include "sched/profile.h"
#include "tests/sched/random_cluster.h"

/* "0/3 nodes are available: 2 a, 1 b." -> 3; -1 when it does not look like that. */
static long
count_message(const char *message, size_t nodes)
{
    AUTO_FREE char *head = xasprintf("0/%zu nodes are available: ", nodes);
    const char *at = message + strlen(head);
    long sum = 0;

    if (strncmp(message, head, strlen(head)) != 0 || message[strlen(message) - 1] != '.')
        return -1;
    for (;;) {
        char *end;
        long n = strtol(at, &end, 10);

        if (end == at || n <= 0 || *end != ' ')
            return -1;
        sum += n;
        /* a part ends where ", " and a number follow */
        for (at = end; *at; at++)
            if (strncmp(at, ", ", 2) == 0 && at[2] >= '1' && at[2] <= '9')
                break;
        if (!*at)
            return sum;
        at += 2;
    }
}

static void
check_scores(const struct random_cluster *g, uint64_t seed, const struct place_result *r)
{
    bool fits[RANDOM_NODES_MAX] = {false};
    int64_t scores[RANDOM_NODES_MAX][NAIVE_PLUGINS], best = -1, weights = 0;
    size_t fit = 0;

    for (size_t i = 0; i < r->nodes_len; i++)
        fit += fits[i] = r->nodes[i].fits;
    naive_scores(&g->c, &g->one, fits, scores);
    for (int p = 0; p < NAIVE_PLUGINS; p++)
        weights += naive_weight(g->c.config, p);
    for (size_t i = 0; i < r->nodes_len; i++) {
        const struct place_node *n = &r->nodes[i];
        int64_t sum = 0;
        size_t at = 0;

        if (!n->fits)
            continue;
        for (int p = 0; p < NAIVE_PLUGINS; p++) {
            int64_t weight = naive_weight(g->c.config, p);
            const struct place_plugin_score *s = &n->scores[at];

            if (weight == 0)
                continue;
            assert_true(at++ < n->scores_len);
            assert_string_equal(s->plugin, naive_names[p]);
            assert_int_equal(s->weight, weight);
            assert_in_range(s->score, 0, 100);
            if (s->score != scores[i][p])
                fail_msg("seed %llu: node %s: %s is %lld, should be %lld", (unsigned long long)seed,
                         n->name, s->plugin, (long long)s->score, (long long)scores[i][p]);
            sum += weight * s->score;
        }
        assert_int_equal(at, n->scores_len);
        assert_int_equal(sum, n->total);
        assert_int_equal(weights ? sum / weights : 0, n->score);
        best = n->total > best ? n->total : best;
    }
    assert_true((r->node != NULL) == (fit > 0));
    assert_true((r->best.len > 0) == (fit > 0));
    for (size_t i = 0; i < r->best.len; i++) {
        assert_true(strcmp(r->node, r->best.items[i]) <= 0);
        for (size_t k = 0; k < r->nodes_len; k++)
            if (strcmp(r->nodes[k].name, r->best.items[i]) == 0)
                assert_int_equal(r->nodes[k].total, best);
    }
}

/* The fast engine says the same, twice: what it has kept from the first time serves the second. */
static void
check_fast(struct cluster *c, const struct place_request *rq, uint64_t seed,
           const struct place_result *r)
{
    struct fast *f = fast_new(c);

    for (int i = 0; i < 2; i++) {
        struct fast_decision d;
        int64_t total = 0, score = 0;

        fast_place(f, rq, &d);
        for (size_t k = 0; r->node && k < r->nodes_len; k++) {
            if (strcmp(r->nodes[k].name, r->node) == 0) {
                total = r->nodes[k].total;
                score = r->nodes[k].score;
            }
        }
        if (strcmp(d.node ? d.node : "-", r->node ? r->node : "-") != 0 ||
            strcmp(d.message, r->message) != 0 || d.best_len != r->best.len ||
            (r->node && (d.total != total || d.score != score)))
            fail_msg("seed %llu: the fast engine: %s %lld/%lld of %zu \"%s\"; want %s %lld/%lld of "
                     "%zu \"%s\"",
                     (unsigned long long)seed, d.node ? d.node : "-", (long long)d.total,
                     (long long)d.score, d.best_len, d.message, r->node ? r->node : "-",
                     (long long)total, (long long)score, r->best.len, r->message);
    }
    fast_free(f);
}

static bool
pinned_out(const struct naive_one *one, const char *name)
{
    const struct affinity *a = one->pod ? &one->pod->affinity : &one->vmi->spec.affinity;
    bool out = a->has_node_required && a->node_required_len > 0;

    for (size_t i = 0; i < a->node_required_len; i++) {
        const struct node_term *t = &a->node_required[i];

        if (t->fields_len == 0 || t->fields[0].op != SEL_IN ||
            strcmp(t->fields[0].values.items[0], name) == 0)
            out = false;
    }
    return out;
}

/* Returns whether something fitted. */
static bool
check_seed(uint64_t seed)
{
    struct random_cluster g = {.a = arena_new()};
    struct cluster *c = cluster_new();
    struct place_request rq = {0};
    struct place_result *r;
    long reasons = 0;
    size_t counted = 0;
    bool fitted;

    random_cluster_make(&g, seed);
    cluster_set_hco(c, &g.hco);
    if (g.c.config)
        cluster_set_profile(c, profile_compile(&g.config, g.a));
    for (size_t i = 0; i < g.c.namespaces_len; i++)
        cluster_add_namespace(c, &g.namespaces[i]);
    /* in any order: VMs may come before their nodes */
    for (size_t i = 0; i < g.c.vmis_len && seed % 2; i++)
        cluster_add_vmi(c, &g.vmis[i]);
    for (size_t i = 0; i < g.c.nodes_len; i++)
        cluster_add_node(c, &g.nodes[i]);
    for (size_t i = 0; i < g.c.vmis_len; i++) /* twice changes nothing */
        cluster_add_vmi(c, &g.vmis[i]);
    for (size_t i = 0; i < g.c.pods_len; i++)
        cluster_add_pod(c, &g.pods[i]);
    rq.vmi = g.one.vmi;
    rq.pod = g.one.pod;
    rq.purpose = g.one.source >= 0 ? PLACE_MIGRATE : PLACE_START;
    r = place(c, &rq);
    assert_int_equal(r->nodes_len, g.c.nodes_len);
    for (size_t i = 0; i < r->nodes_len; i++) {
        bool want = naive_fits(&g.c, &g.one, i);

        if (r->nodes[i].fits != want)
            fail_msg("seed %llu: node %s: %s (%s)", (unsigned long long)seed, r->nodes[i].name,
                     r->nodes[i].fits ? "fits, and should not" : "should fit",
                     r->nodes[i].reasons.len ? r->nodes[i].reasons.items[0] : "");
        assert_true((r->nodes[i].reasons.len == 0) == want);
        if (!pinned_out(&g.one, r->nodes[i].name)) {
            reasons += (long)r->nodes[i].reasons.len;
            counted++;
        }
    }
    if (!r->node) {
        long want = counted > 0 ? reasons : (long)r->nodes_len;

        if (count_message(r->message, r->nodes_len) != want)
            fail_msg("seed %llu: %ld reasons, but: %s", (unsigned long long)seed, want, r->message);
    } else {
        assert_string_equal(r->message, "");
    }
    check_scores(&g, seed, r);
    check_fast(c, &rq, seed, r);
    fitted = r->node != NULL;
    place_result_free(r);
    cluster_free(c);
    arena_free(g.a);
    return fitted;
}

static void
test_place(void **state)
{
    const char *seed_text = getenv("SEED"), *rounds_text = getenv("ROUNDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : 10000, fitted = 0;

    (void)state;
    print_message("# seeds %llu to %llu\n", (unsigned long long)seed,
                  (unsigned long long)(seed + rounds - 1));
    for (uint64_t i = 0; i < rounds; i++)
        fitted += check_seed(seed + i);
    /* the generator must not make everything fit, or nothing */
    if (rounds >= 1000)
        assert_in_range(fitted, rounds / 10, rounds - rounds / 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_place)};

    return cmocka_run_group_tests_name("property", tests, NULL, NULL);
}
