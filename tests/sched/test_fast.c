/* The fast engine decides as place() does: random clusters with changes of labels, taints,
 * nodes, VMs, namespaces and time in between, and each decision's node, total, score, message
 * and set of best nodes of both. SEED and ROUNDS in the environment change what is tried. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "sched/cluster.h"
#include "sched/fast.h"
#include "sched/profile.h"
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
compare_scores(const struct fast *f, const struct place_request *rq, const struct place_node *want,
               const char *where)
{
    int64_t got[PLACE_PLUGINS];

    fast_scores(f, rq, got);
    for (size_t i = 0; i < PLACE_PLUGINS; i++) {
        int64_t score = 0;

        for (size_t s = 0; s < want->scores_len; s++)
            if (strcmp(want->scores[s].plugin, profile_plugin_name((enum place_plugin)i)) == 0)
                score = want->scores[s].score;
        if (got[i] != score)
            fail_msg("%s: %s: %s %lld, want %lld", where, want->name,
                     profile_plugin_name((enum place_plugin)i), (long long)got[i],
                     (long long)score);
    }
}

static void
compare(const struct fast *f, const struct place_request *rq, const struct fast_decision *got,
        const struct place_result *want, const char *where)
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
        compare_scores(f, rq, &want->nodes[i], where);
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

    /* now and then one of many blocks, and of keys with too many domains to tell apart */
    gen_init(&g, seed, (enum gen_style)(seed % 3), seed % 199 == 0 ? 400 : sizes[seed / 3 % 6]);
    g.networks_change = true;
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
        compare(f, &rq, &got, want, where);
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

/* A hard spread over hosts fills them level by level, and takes the levels down again. */
static void
test_levels(void **state)
{
    enum { HOSTS = 70, COPIES = 3 * HOSTS };

    struct arena *a = arena_new();
    struct cluster *c = cluster_new();
    struct fast *f = fast_new(c);
    struct kv app = {"app", "web"};
    struct label_selector webs = {.match_labels = {&app, 1}};
    struct spread apart = {.max_skew = 1,
                           .topology_key = "kubernetes.io/hostname",
                           .when_unsatisfiable = "DoNotSchedule",
                           .selector = &webs};
    struct vmi vms[COPIES];

    (void)state;
    for (size_t i = 0; i < HOSTS; i++) {
        struct node *n = arena_alloc(a, sizeof(*n));
        struct kv *host = arena_alloc(a, sizeof(*host));
        struct resource *have = arena_calloc(a, 3, sizeof(*have));

        n->meta.name = arena_printf(a, "n%zu", i);
        *host = (struct kv){"kubernetes.io/hostname", n->meta.name};
        n->meta.labels = (struct kv_list){host, 1};
        have[0] =
            (struct resource){"cpu", {true, 4 + (int64_t)i % 3, 4000 + 1000 * ((int64_t)i % 3)}};
        have[1] = (struct resource){"memory", {true, INT64_C(64) << 30, 0}};
        have[2] = (struct resource){"pods", {true, 10, 10000}};
        n->allocatable = (struct resource_list){have, 3};
        cluster_add_node(c, n);
    }
    for (size_t i = 0; i < 2 * COPIES; i++) {
        AUTO_FREE char *where = xasprintf("copy %zu", i);
        struct vmi probe, *v = i < COPIES ? &vms[i] : &probe;
        struct place_request rq = {.vmi = v};
        struct place_result *want;
        struct fast_decision got;

        if (i >= COPIES) /* in another order than they came */
            cluster_remove_vmi(c, "default", vms[(i * 11) % COPIES].meta.name);
        *v = (struct vmi){.meta = {.name = arena_printf(a, "vm%zu", i),
                                   .namespace_ = "default",
                                   .labels = {&app, 1}},
                          .spec = {.spreads = &apart, .spreads_len = 1}};
        fast_place(f, &rq, &got);
        want = place(c, &rq);
        compare(f, &rq, &got, want, where);
        if (i < COPIES) {
            assert_non_null(want->node);
            cluster_reserve(c, v, want->node);
        }
        place_result_free(want);
    }
    assert_int_equal(fast_plain(f), 0);
    fast_free(f);
    cluster_free(c);
    arena_free(a);
}

/* Resources and topology keys without end: what is kept of them is bounded, and decisions stay right. */
static void
test_many_names(void **state)
{
    enum { ASKED = 300 };

    struct gen g;
    struct fast *f;
    struct arena *a = arena_new();
    size_t most = 0, first = 0;

    (void)state;
    gen_init(&g, 12, GEN_BASIC, 40);
    f = fast_new(g.c);
    for (size_t i = 0; i < ASKED; i++) {
        AUTO_FREE char *where = xasprintf("name %zu", i);
        struct vmi *v = arena_alloc(a, sizeof(*v));
        struct resource *asks = arena_alloc(a, sizeof(*asks));
        struct pod_term *apart = arena_calloc(a, 1, sizeof(*apart));
        struct place_request rq = {.vmi = v};
        struct fast_decision got;
        struct place_result *want;

        *asks = (struct resource){arena_printf(a, "x/r%zu", i), {true, i % 2, 0}};
        *apart = (struct pod_term){.selector = arena_alloc(a, sizeof(struct label_selector)),
                                   .topology_key = arena_printf(a, "key%zu", i)};
        v->meta.name = arena_printf(a, "many%zu", i);
        v->spec.domain.requests = (struct resource_list){asks, 1};
        v->spec.affinity.pod_anti_required = apart;
        v->spec.affinity.pod_anti_required_len = 1;
        fast_place(f, &rq, &got);
        want = place(g.c, &rq);
        compare(f, &rq, &got, want, where);
        if (want->node)
            cluster_reserve(g.c, v, want->node);
        place_result_free(want);
        if (i < ASKED / 3)
            first = fast_bytes(f) > first ? fast_bytes(f) : first;
        most = fast_bytes(f) > most ? fast_bytes(f) : most;
    }
    print_message("# %zu bytes, %zu in the first third\n", most, first);
    assert_in_range(most, 1, 2 * first);
    fast_free(f);
    gen_done(&g);
    arena_free(a);
}

#ifndef __SANITIZE_ADDRESS__ /* its malloc counts nothing */
#define NODES 5000
#define VMS   20000

static void
set_pairs(struct arena *a, struct kv_list *l, const struct kv *from, size_t len)
{
    l->items = arena_calloc(a, len, sizeof(*l->items));
    memcpy(l->items, from, len * sizeof(*from));
    l->len = len;
}

static struct node *
memory_node(struct arena *a, size_t i)
{
    struct node *n = arena_alloc(a, sizeof(*n));
    const char *name = arena_printf(a, "worker-%05zu.example.com", i);
    const struct kv labels[] = {
        {"cpu-feature.node.kubevirt.io/aes", "true"},
        {"cpu-model.node.kubevirt.io/Penryn", "true"},
        {"disk", i % 3 ? "ssd" : "hdd"},
        {"kubernetes.io/hostname", name},
        {"kubevirt.io/schedulable", "true"},
        {"topology.kubernetes.io/zone", arena_printf(a, "zone-%zu", i % 5)},
    };
    const struct resource have[] = {
        {"cpu", {true, 64, 64000}},      {"memory", {true, INT64_C(256) << 30, 0}},
        {"pods", {true, 250, 250000}},   {"devices.kubevirt.io/kvm", {true, 1000, 1000000}},
        {"hugepages-1Gi", {true, 0, 0}},
    };

    n->meta.name = name;
    set_pairs(a, &n->meta.labels, labels, ARRAY_LEN(labels));
    n->allocatable.items = arena_calloc(a, ARRAY_LEN(have), sizeof(*have));
    memcpy(n->allocatable.items, have, sizeof(have));
    n->allocatable.len = ARRAY_LEN(have);
    return n;
}

/* Of 64 sorts: more memory, and rules between VMs in half of them. */
static void
memory_vm(struct arena *a, struct vmi *v, size_t i)
{
    size_t sort = i % 64;
    const struct kv labels[] = {{"app", arena_printf(a, "app-%zu", sort)},
                                {"vm.kubevirt.io/name", arena_printf(a, "vm-%zu", i)}};
    struct label_selector *s = arena_alloc(a, sizeof(*s));
    struct weighted_pod_term *w = arena_alloc(a, sizeof(*w));

    v->meta.name = labels[1].value;
    v->meta.namespace_ = "default";
    set_pairs(a, &v->meta.labels, labels, ARRAY_LEN(labels));
    v->spec.domain.guest_memory =
        (struct quantity){.set = true, .units = (int64_t)(sort + 1) << 27};
    set_pairs(a, &s->match_labels, labels, 1);
    w->weight = 10;
    w->term = (struct pod_term){.selector = s,
                                .topology_key = sort % 4 ? "topology.kubernetes.io/zone"
                                                         : "kubernetes.io/hostname"};
    if (sort % 2 == 0) {
        v->spec.affinity.pod_anti_preferred = w;
        v->spec.affinity.pod_anti_preferred_len = 1;
    }
}

/* At most 1 KiB a node and 512 bytes a placed VM, the cluster's memory and the engine's
 * together, as malloc counts it: with its own overhead. */
static void
test_memory(void **state)
{
    struct arena *a = arena_new();
    struct vmi *vms = arena_calloc(a, VMS, sizeof(*vms));
    const struct node **nodes = arena_calloc(a, NODES, sizeof(struct node *));
    struct cluster *c;
    struct fast *f;
    struct fast_decision d;
    size_t start, of_nodes, of_vms;

    (void)state;
    for (size_t i = 0; i < NODES; i++)
        nodes[i] = memory_node(a, i);
    for (size_t i = 0; i < VMS; i++)
        memory_vm(a, &vms[i], i);
    start = mallinfo2().uordblks + mallinfo2().hblkhd;
    c = cluster_new();
    for (size_t i = 0; i < NODES; i++)
        cluster_add_node(c, nodes[i]);
    f = fast_new(c);
    for (size_t i = 0; i < 64; i++)
        fast_place(f, &(struct place_request){.vmi = &vms[i]}, &d);
    of_nodes = mallinfo2().uordblks + mallinfo2().hblkhd - start;
    for (size_t i = 0; i < VMS; i++) {
        fast_place(f, &(struct place_request){.vmi = &vms[i]}, &d);
        assert_non_null(d.node);
        cluster_reserve(c, &vms[i], d.node);
    }
    of_vms = mallinfo2().uordblks + mallinfo2().hblkhd - start - of_nodes;
    print_message("# %zu bytes a node, %zu bytes a placed VM\n", of_nodes / NODES, of_vms / VMS);
    assert_in_range(of_nodes / NODES, 1, 1024);
    assert_in_range(of_vms / VMS, 1, 512);
    assert_in_range(fast_bytes(f), 1, of_nodes + of_vms);
    assert_int_equal(fast_plain(f), 0);
    fast_free(f);
    cluster_free(c);
    arena_free(a);
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_place),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_many_names),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_memory),
#endif
    };

    return cmocka_run_group_tests_name("fast", tests, NULL, NULL);
}
