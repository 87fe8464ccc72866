/* Preemption on random clusters, held against the rule written a second time: each try is a cluster of its
 * own, without those that have gone, and the choice among nodes is made step by step. Knows nothing of
 * sched/. SEED and ROUNDS in the environment change the seeds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/sb.h"
#include "sched/preempt.h"
#include "sched/profile.h"
#include "tests/sched/random_cluster.h"

#define EVERYBODY (RANDOM_VMIS_MAX + RANDOM_PODS_MAX + 2)
#define PDBS      2

struct body { /* a VM or Pod that is there */
    const char *name, *ns, *node;
    const struct kv_list *labels;
    int64_t priority, start_us;
    bool is_vmi;
    size_t index; /* among g's VMIs or Pods */
};

struct scene {
    struct random_cluster g;
    struct priority_class classes[4];
    struct pdb pdbs[PDBS];
    struct body bodies[EVERYBODY];
    size_t bodies_len;
    int64_t mine;
};

struct plan {
    size_t victims[EVERYBODY], len;
    int64_t violations;
};

static const int64_t values[] = {-5, 0, 5, 1000};
static const char *const class_names[] = {"c0", "c1", "c2", "c3"};

static size_t
below(struct scene *s, size_t n)
{
    return (size_t)rng_below(&s->g.rng, n);
}

static bool
has_ended(const char *phase)
{
    return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

/* Who is at two places, on its way from one to the other, is nobody's victim here. */
static void
dress(struct scene *s)
{
    struct random_cluster *g = &s->g;

    for (size_t i = 0; i < 4; i++)
        s->classes[i] = (struct priority_class){.meta.name = class_names[i], .value = values[i]};
    for (size_t i = 0; i < PDBS; i++) {
        static const char *const apps[] = {"web", "db", "mail"};
        struct label_selector *sel = arena_alloc(g->a, sizeof(*sel));

        sel->match_labels.items = arena_alloc(g->a, sizeof(struct kv));
        sel->match_labels.items[0] = (struct kv){"app", apps[below(s, 3)]};
        sel->match_labels.len = 1;
        s->pdbs[i] = (struct pdb){.meta = {.name = "b", .namespace_ = "default"},
                                  .selector = sel,
                                  .disruptions_allowed = (int64_t)below(s, 2)};
    }
    for (size_t i = 0; i < g->c.vmis_len; i++) {
        struct vmi *v = &g->vmis[i];
        bool moves = v->status.migration.present;
        size_t k = moves ? 3 : below(s, 4);

        v->spec.priority_class = class_names[k];
        v->status.start_us = (int64_t)below(s, 3) * 1000000;
        v->meta.creation_us = 0;
        if (has_ended(v->status.phase))
            continue;
        s->bodies[s->bodies_len++] =
            (struct body){v->meta.name,
                          v->meta.namespace_,
                          v->status.node_name,
                          &v->meta.labels,
                          moves ? INT64_MAX : values[k],
                          v->status.start_us ? v->status.start_us : INT64_MAX,
                          true,
                          i};
    }
    for (size_t i = 0; i < g->c.pods_len; i++) {
        struct pod *p = &g->pods[i];

        p->has_priority = true;
        p->priority = values[below(s, 4)];
        p->start_us = (int64_t)below(s, 3) * 1000000;
        if (has_ended(p->phase))
            continue;
        s->bodies[s->bodies_len++] =
            (struct body){p->meta.name, p->meta.namespace_,
                          p->node_name, &p->meta.labels,
                          p->priority,  p->start_us ? p->start_us : INT64_MAX,
                          false,        i};
    }
}

/* Takes away most of what nobody's leaving helps against, so that preemption is what decides. */
static void
ease(struct scene *s)
{
    struct random_cluster *g = &s->g;

    for (size_t i = 0; i < g->c.nodes_len; i++) {
        g->nodes[i].unschedulable = false;
        g->nodes[i].taints_len = 0;
        for (size_t k = 0; k < g->nodes[i].allocatable.len; k++)
            if (strcmp(g->nodes[i].allocatable.items[k].name, "pods") == 0)
                g->nodes[i].allocatable.items[k].q.units = (int64_t)below(s, 4);
    }
    memset(&g->hco, 0, sizeof(g->hco));
}

static bool
fits_without(const struct scene *s, const bool *gone, size_t node)
{
    struct naive_cluster c = s->g.c;
    struct vmi vmis[RANDOM_VMIS_MAX + 1];
    struct pod pods[RANDOM_PODS_MAX + 1];

    c.vmis = vmis;
    c.pods = pods;
    c.vmis_len = c.pods_len = 0;
    for (size_t i = 0; i < s->bodies_len; i++) {
        if (gone[i])
            continue;
        if (s->bodies[i].is_vmi)
            vmis[c.vmis_len++] = s->g.vmis[s->bodies[i].index];
        else
            pods[c.pods_len++] = s->g.pods[s->bodies[i].index];
    }
    return naive_fits(&c, &s->g.one, node);
}

static bool
matters_more(const struct body *a, const struct body *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->start_us < b->start_us;
}

/* The victims on a node; false: it does not help. */
static bool
victims_on(const struct scene *s, size_t node, struct plan *ret)
{
    size_t list[EVERYBODY], len = 0;
    bool gone[EVERYBODY] = {false}, guarded[EVERYBODY] = {false};
    int64_t left[PDBS];
    const char *name = s->g.nodes[node].meta.name;

    *ret = (struct plan){.len = 0};
    for (size_t i = 0; i < s->bodies_len; i++)
        if (s->bodies[i].node && strcmp(s->bodies[i].node, name) == 0 &&
            s->bodies[i].priority < s->mine)
            list[len++] = i;
    for (size_t i = 1; i < len; i++) /* insertion: what is equal stays in its order */
        for (size_t k = i; k > 0 && matters_more(&s->bodies[list[k]], &s->bodies[list[k - 1]]);
             k--) {
            size_t x = list[k];

            list[k] = list[k - 1];
            list[k - 1] = x;
        }
    for (size_t i = 0; i < len; i++)
        gone[list[i]] = true;
    if (len == 0 || !fits_without(s, gone, node))
        return false;
    for (size_t b = 0; b < PDBS; b++)
        left[b] = s->pdbs[b].disruptions_allowed;
    for (size_t i = 0; i < len; i++)
        for (size_t b = 0; b < PDBS; b++)
            if (strcmp(s->bodies[list[i]].ns, "default") == 0 &&
                label_selector_matches(s->pdbs[b].selector, s->bodies[list[i]].labels) &&
                --left[b] < 0)
                guarded[list[i]] = true;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < len; i++) {
            if (guarded[list[i]] != (pass == 0))
                continue;
            gone[list[i]] = false;
            if (fits_without(s, gone, node))
                continue;
            gone[list[i]] = true;
            ret->violations += pass == 0;
        }
    }
    for (size_t i = 0; i < len; i++)
        if (gone[list[i]])
            ret->victims[ret->len++] = list[i];
    return true;
}

static int64_t
measure(const struct scene *s, const struct plan *p, int step)
{
    int64_t n = 0;

    switch (step) {
    case 0:
        return -p->violations;
    case 1:
        return -s->bodies[p->victims[0]].priority;
    case 2:
        for (size_t i = 0; i < p->len; i++)
            n += s->bodies[p->victims[i]].priority + INT64_C(2147483648);
        return -n;
    case 3:
        return -(int64_t)p->len;
    default:
        n = INT64_MAX;
        for (size_t i = 0; i < p->len; i++)
            if (s->bodies[p->victims[i]].priority == s->bodies[p->victims[0]].priority &&
                s->bodies[p->victims[i]].start_us < n)
                n = s->bodies[p->victims[i]].start_us;
        return n;
    }
}

/* Among those that help, step by step; then the first name. SIZE_MAX: none. */
static size_t
choose(const struct scene *s, const struct plan *plans, bool *helps)
{
    size_t best = SIZE_MAX;

    for (int step = 0; step < 5; step++) {
        int64_t most = INT64_MIN;

        for (size_t n = 0; n < s->g.c.nodes_len; n++)
            if (helps[n] && measure(s, &plans[n], step) > most)
                most = measure(s, &plans[n], step);
        for (size_t n = 0; n < s->g.c.nodes_len; n++)
            if (helps[n] && measure(s, &plans[n], step) < most)
                helps[n] = false;
    }
    for (size_t n = 0; n < s->g.c.nodes_len; n++)
        if (helps[n] &&
            (best == SIZE_MAX || strcmp(s->g.nodes[n].meta.name, s->g.nodes[best].meta.name) < 0))
            best = n;
    return best;
}

static struct cluster *
build(struct scene *s)
{
    struct random_cluster *g = &s->g;
    struct cluster *c = cluster_new();

    cluster_set_hco(c, &g->hco);
    if (g->c.config)
        cluster_set_profile(c, profile_compile(&g->config, g->a));
    for (size_t i = 0; i < g->c.namespaces_len; i++)
        cluster_add_namespace(c, &g->namespaces[i]);
    for (size_t i = 0; i < g->c.nodes_len; i++)
        cluster_add_node(c, &g->nodes[i]);
    for (size_t i = 0; i < g->c.vmis_len; i++)
        cluster_add_vmi(c, &g->vmis[i]);
    for (size_t i = 0; i < g->c.pods_len; i++)
        cluster_add_pod(c, &g->pods[i]);
    for (size_t i = 0; i < 4; i++)
        cluster_add_priority_class(c, &s->classes[i]);
    for (size_t i = 0; i < PDBS; i++)
        cluster_add_pdb(c, &s->pdbs[i]);
    return c;
}

/* 0: it was placed; 1: nothing helps; 2: a preemption helps; 3: and there was more than one node. */
static int
check_seed(uint64_t seed)
{
    struct scene s = {.g = {.a = arena_new()}};
    struct plan plans[RANDOM_NODES_MAX];
    bool helps[RANDOM_NODES_MAX] = {false};
    struct place_request rq = {0};
    struct place_result *r, *after;
    struct preempt_result got;
    struct cluster *c;
    size_t best, candidates = 0;
    int outcome = 0;
    bool easy = seed % 4 != 0;

    random_cluster_make(&s.g, seed);
    dress(&s);
    s.mine = easy ? 1000 : 5;
    if (easy)
        ease(&s);
    if (s.g.one.pod) {
        struct pod *one = arena_alloc(s.g.a, sizeof(*one));

        *one = *s.g.one.pod;
        one->has_priority = true;
        one->priority = s.mine;
        if (easy) {
            one->node_selector.len = 0;
            one->affinity.has_node_required = false;
        }
        s.g.one.pod = one;
    } else {
        struct vmi *one = arena_alloc(s.g.a, sizeof(*one));

        *one = *s.g.one.vmi;
        one->spec.priority_class = easy ? "c3" : "c2";
        if (easy) {
            one->spec.node_selector.len = 0;
            one->spec.affinity.has_node_required = false;
            memset(&one->spec.domain.cpu, 0, sizeof(one->spec.domain.cpu));
        }
        s.g.one.vmi = one;
    }
    c = build(&s);
    rq = (struct place_request){.vmi = s.g.one.vmi,
                                .pod = s.g.one.pod,
                                .purpose = s.g.one.source >= 0 ? PLACE_MIGRATE : PLACE_START};
    r = place(c, &rq);
    if (!r->node && r->nodes_len > 0) {
        for (size_t n = 0; n < s.g.c.nodes_len; n++) {
            /* to be the first of its kind is no reason to push the others away */
            helps[n] = strcmp(r->nodes[n].reasons.items[0],
                              "node(s) didn't match pod affinity rules") != 0 &&
                       victims_on(&s, n, &plans[n]);
            candidates += helps[n];
        }
        best = choose(&s, plans, helps);
        got = preempt(c, &rq, s.g.a);
        if ((best == SIZE_MAX) != (got.node == NULL) ||
            (got.node && strcmp(got.node, s.g.nodes[best].meta.name) != 0))
            fail_msg("seed %llu: %s, should be %s:%s", (unsigned long long)seed,
                     got.node ? got.node : "none",
                     best == SIZE_MAX ? "none" : s.g.nodes[best].meta.name, got.message);
        for (size_t i = 0; got.node && i < plans[best].len; i++)
            if (got.victims_len != plans[best].len ||
                strcmp(got.victims[i].name, s.bodies[plans[best].victims[i]].name) != 0 ||
                got.victims[i].is_pod == s.bodies[plans[best].victims[i]].is_vmi)
                fail_msg("seed %llu: node %s: %zu victims, should be %zu: the %zuth is %s, not %s",
                         (unsigned long long)seed, got.node, got.victims_len, plans[best].len, i,
                         i < got.victims_len ? got.victims[i].name : "none",
                         s.bodies[plans[best].victims[i]].name);
        if (got.node && got.pdb_violations != plans[best].violations)
            fail_msg("seed %llu: %lld violations, should be %lld", (unsigned long long)seed,
                     (long long)got.pdb_violations, (long long)plans[best].violations);
        after = place(c, &rq); /* it has left nothing behind */
        assert_string_equal(after->message, r->message);
        place_result_free(after);
        outcome = got.node ? candidates > 1 ? 3 : 2 : 1;
    }
    place_result_free(r);
    cluster_free(c);
    arena_free(s.g.a);
    return outcome;
}

static void
test_preempt(void **state)
{
    const char *seed_text = getenv("SEED"), *rounds_text = getenv("ROUNDS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : 20000, seen[4] = {0};

    (void)state;
    for (uint64_t i = 0; i < rounds; i++)
        seen[check_seed(seed + i)]++;
    print_message("# seeds %llu to %llu: %llu placed, %llu not helped, %llu helped, %llu of them "
                  "with a choice\n",
                  (unsigned long long)seed, (unsigned long long)(seed + rounds - 1),
                  (unsigned long long)seen[0], (unsigned long long)seen[1],
                  (unsigned long long)(seen[2] + seen[3]), (unsigned long long)seen[3]);
    if (rounds >= 10000) /* the generator must reach all of it */
        assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > rounds / 100 && seen[3] > 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_preempt)};

    return cmocka_run_group_tests_name("preemption, random", tests, NULL, NULL);
}
