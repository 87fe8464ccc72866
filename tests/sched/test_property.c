/* Properties of place() on random clusters, held against naive.c: a node fits exactly when the naive
 * rules say so; reasons are there exactly when it does not; the counts in the message add up; scores
 * are what they should be; the best is the best. Seeds are printed; SEED and ROUNDS in the environment
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
#include "base/rng.h"
#include "base/sb.h"
#include "tests/sched/naive.h"
#include "sched/place.h"

#define MAX_NODES 9
#define MAX_VMIS  14
#define GIB       (INT64_C(1) << 30)

struct gen {
    struct rng rng;
    struct arena *a;
    struct node nodes[MAX_NODES];
    struct vmi vmis[MAX_VMIS]; /* the last one is placed */
    struct hco hco;
    struct naive_cluster c;
    int source; /* node of a migration, or -1 */
};

static const char *const zones[] = {"z1", "z2", "z3"};
static const char *const disks[] = {"ssd", "hdd", "3", "12"};
static const char *const apps[] = {"web", "db", "mail"};
static const char *const keys[] = {"zone", "host", "disk"};
static const char *const models[] = {"Penryn", "Haswell"};
static const char *const features[] = {"aes", "avx", "apic"};
static const char *const policies[] = {NULL, "require", "forbid", "optional", "disable", "force"};
static const char *const effects[] = {"NoSchedule", "NoExecute", "PreferNoSchedule"};

static size_t
below(struct gen *g, size_t n)
{
    return (size_t)rng_below(&g->rng, n);
}

static bool
one_in(struct gen *g, size_t n)
{
    return below(g, n) == 0;
}

#define PICK(g, list) ((list)[below((g), ARRAY_LEN(list))])

static void
add_label(struct gen *g, struct kv_list *l, const char *key, const char *value)
{
    struct kv *items = arena_calloc(g->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] = (struct kv){key, value};
    l->items = items;
}

static struct quantity
units(int64_t n)
{
    return (struct quantity){.set = true, .units = n, .milli = n * 1000};
}

static void
add_resource(struct gen *g, struct resource_list *l, const char *name, struct quantity q)
{
    struct resource *items = arena_calloc(g->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] = (struct resource){name, q};
    l->items = items;
}

static void
make_node(struct gen *g, struct node *n, size_t i)
{
    struct kv_list *l = &n->meta.labels;

    *n = (struct node){.meta.name = arena_printf(g->a, "n%zu", i)};
    if (!one_in(g, 8))
        add_label(g, l, "host", n->meta.name);
    if (!one_in(g, 6))
        add_label(g, l, "zone", PICK(g, zones));
    if (one_in(g, 2))
        add_label(g, l, "disk", PICK(g, disks));
    if (one_in(g, 5))
        add_label(g, l, "kubevirt.io/schedulable", one_in(g, 3) ? "false" : "true");
    if (!one_in(g, 3)) {
        size_t m = below(g, 2);

        add_label(g, l, "cpu-model.node.kubevirt.io/Penryn", "true");
        if (m == 1)
            add_label(g, l, "cpu-model.node.kubevirt.io/Haswell", "true");
        if (!one_in(g, 4))
            add_label(g, l, arena_printf(g->a, "host-model-cpu.node.kubevirt.io/%s", models[m]),
                      "true");
        for (size_t f = 0; f < 2; f++)
            if (one_in(g, 2))
                add_label(g, l, arena_printf(g->a, "cpu-feature.node.kubevirt.io/%s", features[f]),
                          one_in(g, 5) ? "false" : "true");
    }
    n->unschedulable = one_in(g, 9);
    if (one_in(g, 4)) {
        n->conditions.items = arena_calloc(g->a, 1, sizeof(struct condition));
        n->conditions.items[n->conditions.len++] =
            (struct condition){.type = "Ready", .status = one_in(g, 4) ? "False" : "True"};
    }
    n->taints = arena_calloc(g->a, 2, sizeof(*n->taints));
    while (n->taints_len < 2 && one_in(g, 3))
        n->taints[n->taints_len++] = (struct taint){
            .key = one_in(g, 2) ? "k1" : "k2",
            .value = one_in(g, 3) ? NULL : "v",
            .effect = PICK(g, effects),
        };
    add_resource(g, &n->allocatable, "cpu",
                 (struct quantity){true, 1, (int64_t)below(g, 3000) + 1});
    add_resource(g, &n->allocatable, "memory", units(((int64_t)below(g, 16) + 1) * GIB));
    add_resource(g, &n->allocatable, "pods", units((int64_t)below(g, 6)));
    if (one_in(g, 2))
        add_resource(g, &n->allocatable, "x/gpu", units((int64_t)below(g, 3)));
    if (one_in(g, 2))
        add_resource(g, &n->allocatable, "devices.kubevirt.io/kvm", units((int64_t)below(g, 5)));
}

static struct str_list
some_values(struct gen *g, const char *const *from, size_t from_len)
{
    struct str_list l = {.items = arena_calloc(g->a, 2, sizeof(char *))};

    for (size_t n = below(g, 8) == 0 ? 0 : 1 + below(g, 2); l.len < n;)
        l.items[l.len++] = from[below(g, from_len)];
    return l;
}

static struct node_term
make_term(struct gen *g)
{
    struct node_term t = {.exprs = arena_calloc(g->a, 2, sizeof(struct requirement))};

    while (t.exprs_len < 2 && !one_in(g, 4)) {
        struct requirement *r = &t.exprs[t.exprs_len++];

        *r = (struct requirement){.key = one_in(g, 2) ? "zone" : "disk"};
        r->op = (enum sel_op)below(g, SEL_UNKNOWN + (one_in(g, 10) ? 1 : 0));
        if (r->op == SEL_IN || r->op == SEL_NOT_IN || r->op == SEL_UNKNOWN)
            r->values = strcmp(r->key, "zone") == 0 ? some_values(g, zones, ARRAY_LEN(zones))
                                                    : some_values(g, disks, ARRAY_LEN(disks));
        if (r->op == SEL_GT || r->op == SEL_LT) {
            r->values.items = arena_calloc(g->a, 1, sizeof(char *));
            r->values.items[r->values.len++] = one_in(g, 2) ? "3" : "7";
        }
    }
    if (one_in(g, 6)) {
        t.fields = arena_calloc(g->a, 1, sizeof(struct requirement));
        t.fields_len = 1;
        t.fields[0] =
            (struct requirement){.key = "metadata.name", .op = one_in(g, 2) ? SEL_IN : SEL_NOT_IN};
        t.fields[0].values.items = arena_calloc(g->a, 1, sizeof(char *));
        t.fields[0].values.items[t.fields[0].values.len++] =
            arena_printf(g->a, "n%zu", below(g, MAX_NODES));
    }
    return t;
}

static struct pod_term *
make_peers(struct gen *g, size_t *ret_len)
{
    struct pod_term *t = arena_calloc(g->a, 2, sizeof(*t));

    for (*ret_len = 0; *ret_len < 2 && one_in(g, 4); ++*ret_len) {
        struct label_selector *s = arena_alloc(g->a, sizeof(*s));

        add_label(g, &s->match_labels, "app", PICK(g, apps));
        t[*ret_len] = (struct pod_term){.selector = s, .topology_key = PICK(g, keys)};
    }
    return t;
}

static void
make_vmi(struct gen *g, struct vmi *v, size_t i)
{
    struct affinity *a = &v->spec.affinity;
    struct vmi_domain *d = &v->spec.domain;

    *v = (struct vmi){.meta.name = arena_printf(g->a, "vm%zu", i),
                      .meta.namespace_ = one_in(g, 4) ? "other" : "default"};
    add_label(g, &v->meta.labels, "app", PICK(g, apps));
    d->guest_memory = units((int64_t)below(g, 3) * GIB + (int64_t)below(g, 1000));
    d->has_autoattach_graphics = true;
    d->cpu.cores = (int64_t)below(g, 6);
    d->cpu.model = one_in(g, 4) ? PICK(g, models) : one_in(g, 5) ? "host-model" : NULL;
    d->cpu.features = arena_calloc(g->a, 2, sizeof(*d->cpu.features));
    while (d->cpu.features_len < 2 && one_in(g, 5))
        d->cpu.features[d->cpu.features_len++] =
            (struct cpu_feature){PICK(g, features), PICK(g, policies)};
    if (one_in(g, 6)) {
        d->gpus = arena_calloc(g->a, 1, sizeof(*d->gpus));
        d->gpus[d->gpus_len++] = (struct vmi_device){"g", "x/gpu"};
    }
    if (one_in(g, 5))
        add_label(g, &v->spec.node_selector, "zone", PICK(g, zones));
    if (one_in(g, 3)) {
        a->has_node_required = true;
        a->node_required = arena_calloc(g->a, 3, sizeof(*a->node_required));
        while (a->node_required_len < 3 && !one_in(g, 3))
            a->node_required[a->node_required_len++] = make_term(g);
    }
    a->node_preferred = arena_calloc(g->a, 3, sizeof(*a->node_preferred));
    while (a->node_preferred_len < 3 && one_in(g, 2))
        a->node_preferred[a->node_preferred_len++] =
            (struct preferred_node_term){1 + (int64_t)below(g, 100), make_term(g)};
    a->pod_required = make_peers(g, &a->pod_required_len);
    a->pod_anti_required = make_peers(g, &a->pod_anti_required_len);
    v->spec.tolerations = arena_calloc(g->a, 2, sizeof(*v->spec.tolerations));
    while (v->spec.tolerations_len < 2 && one_in(g, 2)) {
        struct toleration *t = &v->spec.tolerations[v->spec.tolerations_len++];

        *t = (struct toleration){.key = one_in(g, 2) ? "k1" : one_in(g, 2) ? "k2" : NULL};
        t->operator_ = !t->key || one_in(g, 2) ? "Exists" : one_in(g, 2) ? "Equal" : NULL;
        if (t->operator_ == NULL || strcmp(t->operator_, "Equal") == 0)
            t->value = "v";
        t->effect = one_in(g, 2) ? PICK(g, effects) : NULL;
    }
    if (one_in(g, 4)) {
        struct label_selector *s = arena_alloc(g->a, sizeof(*s));

        add_label(g, &s->match_labels, "app", PICK(g, apps));
        v->spec.spreads = arena_calloc(g->a, 1, sizeof(*v->spec.spreads));
        v->spec.spreads_len = 1;
        v->spec.spreads[0] = (struct spread){.max_skew = 1 + (int64_t)below(g, 2),
                                             .topology_key = PICK(g, keys),
                                             .when_unsatisfiable = "DoNotSchedule",
                                             .selector = s};
    }
    v->status.node_name = arena_printf(g->a, "n%zu", below(g, MAX_NODES));
    v->status.phase = one_in(g, 8) ? "Failed" : "Running";
    if (one_in(g, 5)) {
        struct migration_state *ms = &v->status.migration;

        *ms = (struct migration_state){
            .present = true, .completed = one_in(g, 3), .failed = one_in(g, 3)};
        ms->target_node = arena_printf(g->a, "n%zu", below(g, MAX_NODES));
    }
}

static void
gen_cluster(struct gen *g, uint64_t seed)
{
    size_t nodes = 1 + below((rng_seed(&g->rng, seed), g), MAX_NODES);
    size_t vmis = below(g, MAX_VMIS);

    g->hco = (struct hco){0};
    if (one_in(g, 6))
        g->hco.default_cpu_model = PICK(g, models);
    if (one_in(g, 3)) {
        g->hco.has_cpu_ratio = true;
        g->hco.cpu_allocation_ratio = 1 + (int64_t)below(g, 12);
    }
    if (one_in(g, 8))
        add_label(g, &g->hco.workloads.node_selector, "disk", "ssd");
    for (size_t i = 0; i < nodes; i++)
        make_node(g, &g->nodes[i], i);
    for (size_t i = 0; i <= vmis; i++)
        make_vmi(g, &g->vmis[i], i);
    g->c = (struct naive_cluster){g->nodes, nodes, g->vmis, vmis, &g->hco};
    g->source = -1;
    if (one_in(g, 3)) { /* the last one runs, and migrates */
        g->source = (int)below(g, nodes);
        g->vmis[vmis].status.node_name = g->nodes[g->source].meta.name;
        g->vmis[vmis].status.phase = "Running";
        g->c.vmis_len++;
    }
}

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

static const struct place_plugin_score *
plugin(const struct place_node *n, const char *name)
{
    for (size_t i = 0; i < n->scores_len; i++)
        if (strcmp(n->scores[i].plugin, name) == 0)
            return &n->scores[i];
    return NULL;
}

static void
check_scores(struct gen *g, const struct vmi *v, const struct place_result *r)
{
    static const struct {
        const char *name;
        int64_t weight;
    } weights[] = {{"TaintToleration", 3},   {"NodeAffinity", 2},
                   {"NodeResourcesFit", 1},  {"NodeResourcesBalancedAllocation", 1},
                   {"PodTopologySpread", 2}, {"InterPodAffinity", 2}};
    int64_t most_weight = 0, most_taints = 0, best = -1;
    size_t fits = 0;

    for (size_t i = 0; i < r->nodes_len; i++) {
        int64_t w = naive_preference(v, &g->nodes[i]), t = naive_soft_taints(v, &g->nodes[i]);

        if (!r->nodes[i].fits)
            continue;
        fits++;
        most_weight = w > most_weight ? w : most_weight;
        most_taints = t > most_taints ? t : most_taints;
        best = r->nodes[i].total > best ? r->nodes[i].total : best;
    }
    for (size_t i = 0; i < r->nodes_len; i++) {
        const struct place_node *n = &r->nodes[i];
        int64_t sum = 0;

        if (!n->fits)
            continue;
        assert_int_equal(n->scores_len, ARRAY_LEN(weights));
        for (size_t p = 0; p < ARRAY_LEN(weights); p++) {
            const struct place_plugin_score *s = plugin(n, weights[p].name);

            assert_non_null(s);
            assert_in_range(s->score, 0, 100);
            sum += weights[p].weight * s->score;
        }
        assert_int_equal(sum, n->total);
        assert_int_equal(sum / 11, n->score);
        assert_int_equal(plugin(n, "NodeResourcesFit")->score, naive_free_score(&g->c, v, i));
        assert_int_equal(plugin(n, "NodeAffinity")->score,
                         most_weight ? 100 * naive_preference(v, &g->nodes[i]) / most_weight : 0);
        assert_int_equal(
            plugin(n, "TaintToleration")->score,
            100 - (most_taints ? 100 * naive_soft_taints(v, &g->nodes[i]) / most_taints : 0));
    }
    assert_true((r->node != NULL) == (fits > 0));
    assert_true((r->best.len > 0) == (fits > 0));
    for (size_t i = 0; i < r->best.len; i++) {
        assert_true(strcmp(r->node, r->best.items[i]) <= 0);
        for (size_t k = 0; k < r->nodes_len; k++)
            if (strcmp(r->nodes[k].name, r->best.items[i]) == 0)
                assert_int_equal(r->nodes[k].total, best);
    }
}

static bool
pinned_out(const struct vmi *v, const char *name)
{
    const struct affinity *a = &v->spec.affinity;
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
    struct gen g = {.a = arena_new()};
    struct cluster *c = cluster_new();
    struct place_request rq = {0};
    struct place_result *r;
    long reasons = 0;
    size_t counted = 0;
    bool fitted;

    gen_cluster(&g, seed);
    cluster_set_hco(c, &g.hco);
    /* in any order: VMs may come before their nodes */
    for (size_t i = 0; i < g.c.vmis_len && seed % 2; i++)
        cluster_add_vmi(c, &g.vmis[i]);
    for (size_t i = 0; i < g.c.nodes_len; i++)
        cluster_add_node(c, &g.nodes[i]);
    for (size_t i = 0; i < g.c.vmis_len; i++) /* twice changes nothing */
        cluster_add_vmi(c, &g.vmis[i]);
    rq.vmi = &g.vmis[g.source >= 0 ? g.c.vmis_len - 1 : g.c.vmis_len];
    rq.purpose = g.source >= 0 ? PLACE_MIGRATE : PLACE_START;
    r = place(c, &rq);
    assert_int_equal(r->nodes_len, g.c.nodes_len);
    for (size_t i = 0; i < r->nodes_len; i++) {
        bool want = naive_fits(&g.c, rq.vmi, g.source, i);

        if (r->nodes[i].fits != want)
            fail_msg("seed %llu: node %s: %s (%s)", (unsigned long long)seed, r->nodes[i].name,
                     r->nodes[i].fits ? "fits, and should not" : "should fit",
                     r->nodes[i].reasons.len ? r->nodes[i].reasons.items[0] : "");
        assert_true((r->nodes[i].reasons.len == 0) == want);
        if (!pinned_out(rq.vmi, r->nodes[i].name)) {
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
    check_scores(&g, rq.vmi, r);
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
