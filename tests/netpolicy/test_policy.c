/* Which policy applies and what follows: the documents' vectors (seeds B, C, section 5, X1-X4,
 * X23-X25), and a property: precedence agrees with a naive reference on random inputs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "netpolicy/policy.h"

#define MAX_LABELS   6
#define MAX_POLICIES 8
#define GIB          ((int64_t)1 << 30)

/* Labels as "k=v k2=v2"; "" is none. Values may be empty: "k=". */
static struct kv_list
labels(const char *text, struct arena *a)
{
    struct kv_list l = {.items = arena_calloc(a, MAX_LABELS, sizeof(struct kv))};
    char *copy = arena_strdup(a, text), *save = NULL;

    for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(t, '=');

        assert_non_null(eq);
        assert_true(l.len < MAX_LABELS);
        *eq = '\0';
        l.items[l.len++] = (struct kv){t, eq + 1};
    }
    return l;
}

struct policy_text {
    const char *name, *ns, *vmi; /* ns NULL: no selectors at all */
};

static void
decide(const struct policy_text *texts, size_t len, const char *ns_labels, const char *vmi_labels,
       struct policy_decision *ret, struct arena *a)
{
    struct migration_policy *p = arena_calloc(a, MAX_POLICIES, sizeof *p);
    const struct migration_policy **list = arena_calloc(a, MAX_POLICIES, sizeof(void *));
    struct namespace_ *ns = arena_calloc(a, 1, sizeof *ns);
    struct vmi *vmi = arena_calloc(a, 1, sizeof *vmi);

    for (size_t i = 0; i < len; i++) {
        p[i].meta.name = texts[i].name;
        p[i].has_selectors = texts[i].ns != NULL;
        p[i].namespace_selector = labels(texts[i].ns ? texts[i].ns : "", a);
        p[i].vmi_selector = labels(texts[i].vmi ? texts[i].vmi : "", a);
        list[i] = &p[i];
    }
    ns->meta.name = "shop";
    if (ns_labels)
        ns->meta.labels = labels(ns_labels, a);
    vmi->meta.name = "db";
    vmi->meta.namespace_ = "shop";
    vmi->meta.labels = labels(vmi_labels, a);
    policy_decide(list, len, NULL, NULL, ns_labels ? ns : NULL, vmi, 6 * GIB, ret, a);
}

/* --- which one --- */

struct match_case {
    const char *name, *ns, *vmi; /* labels; ns NULL: the namespace is not known */
    struct policy_text policies[3];
    const char *want;         /* NULL: none applies */
    const char *about;        /* a candidate, or NULL */
    const char *reason_holds; /* part of its reason */
};

static const struct match_case match_cases[] = {
    /* none applies */
    {"no policies", "a=1", "b=2", {{0}}, NULL, NULL, NULL},
    {"no selectors never match", "a=1", "b=2", {{"p", NULL, NULL}}, NULL, "p", "has no selectors"},
    {"VM label missing",
     "",
     "",
     {{"p", "", "tier=gold"}},
     NULL,
     "p",
     "Label tier=\"gold\" is missing on VM db."},
    {"VM label has another value",
     "",
     "tier=silver",
     {{"p", "", "tier=gold"}},
     NULL,
     "p",
     "Label tier of VM db is \"silver\", and the policy wants \"gold\"."},
    {"namespace label missing",
     "",
     "hpc=True",
     {{"p", "hpc=True", ""}},
     NULL,
     "p",
     "missing on namespace shop"},
    {"namespace label has another case",
     "hpc=true",
     "",
     {{"p", "hpc=True", ""}},
     NULL,
     "p",
     "is \"true\", and the policy wants \"True\""},
    {"namespace not known",
     NULL,
     "",
     {{"p", "hpc=True", ""}},
     NULL,
     "p",
     "Namespace shop is not known"},
    {"one of two VM labels",
     "",
     "size=small",
     {{"p", "", "size=small os=linux"}},
     NULL,
     "p",
     "os=\"linux\" is missing"},
    {"namespace matches, VM does not",
     "hpc=True",
     "",
     {{"p", "hpc=True", "os=linux"}},
     NULL,
     "p",
     "os"},
    {"VM matches, namespace does not",
     "",
     "os=linux",
     {{"p", "hpc=True", "os=linux"}},
     NULL,
     "p",
     "hpc"},
    {"labels on the wrong object",
     "os=linux",
     "hpc=True",
     {{"p", "hpc=True", "os=linux"}},
     NULL,
     "p",
     "hpc"},
    {"empty value wants an empty value",
     "xyz=full",
     "",
     {{"p", "xyz=", ""}},
     NULL,
     "p",
     "is \"full\", and the policy wants \"\""},
    {"empty value wants the label", "", "", {{"p", "xyz=", ""}}, NULL, "p", "xyz=\"\" is missing"},
    {"value is no prefix", "", "os=linux6", {{"p", "", "os=linux"}}, NULL, "p", "linux6"},
    {"another namespace by name",
     "",
     "",
     {{"p", "kubernetes.io/metadata.name=bank", ""}},
     NULL,
     "p",
     "is \"shop\""},
    /* one applies */
    {"empty selectors match all", "", "", {{"p", "", ""}}, "p", "p", "only policy that matches (0"},
    {"empty value on both sides", "xyz=", "", {{"p", "xyz=", ""}}, "p", "p", "(1 label)"},
    {"extra labels do not matter",
     "a=1 b=2",
     "c=3 d=4",
     {{"p", "a=1", "c=3"}},
     "p",
     "p",
     "(2 labels)"},
    {"the documents' policy",
     "hpc-workloads=True xyz-workloads-type=",
     "workload-type=db operating-system=",
     {{"p", "hpc-workloads=True xyz-workloads-type=", "workload-type=db operating-system="}},
     "p",
     "p",
     "(4 labels)"},
    {"namespace by its name",
     NULL,
     "",
     {{"p", "kubernetes.io/metadata.name=shop", ""}},
     "p",
     NULL,
     NULL},
    /* who wins */
    {"two labels beat one",
     "hpc=True",
     "vm=db",
     {{"p1", "hpc=True", ""}, {"p2", "hpc=True", "vm=db"}},
     "p2",
     "p1",
     "matches 1 label, and policy p2 matches 2"},
    {"first key in byte order",
     "hpc-workloads=True",
     "workload-type=db",
     {{"a", "", "workload-type=db"}, {"b", "hpc-workloads=True", ""}},
     "b",
     "a",
     "key hpc-workloads comes before workload-type"},
    {"byte order: capitals first",
     "",
     "Zoo=1 ape=1",
     {{"a", "", "ape=1"}, {"b", "", "Zoo=1"}},
     "b",
     "a",
     "Zoo"},
    {"keys are compared sorted, not as written",
     "",
     "a=1 b=1 c=1 d=1",
     {{"x", "", "d=1 b=1"}, {"y", "", "c=1 a=1"}},
     "y",
     "x",
     "key a comes before b"},
    {"second key decides",
     "",
     "a=1 b=1 c=1",
     {{"x", "", "a=1 c=1"}, {"y", "", "b=1 a=1"}},
     "y",
     "x",
     "key b comes before c"},
    {"a key that begins another comes first",
     "",
     "os=1 os-type=1",
     {{"x", "", "os-type=1"}, {"y", "", "os=1"}},
     "y",
     NULL,
     NULL},
    {"same keys: the name",
     "k=1",
     "k=1",
     {{"beta", "k=1", ""}, {"alpha", "", "k=1"}},
     "alpha",
     "beta",
     "whose name comes first"},
    {"a match of 0 labels loses",
     "",
     "os=linux",
     {{"all", "", ""}, {"linux", "", "os=linux"}},
     "linux",
     "all",
     "matches 0 labels"},
    {"a policy that does not match never wins",
     "",
     "a=1",
     {{"a", "", "a=1 b=1 c=1"}, {"z", "", "a=1"}},
     "z",
     "a",
     "missing"},
};

static void
test_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(match_cases); i++) {
        const struct match_case *c = &match_cases[i];
        struct arena *a = arena_new();
        struct policy_decision d;
        size_t len = 0;
        const char *reason = NULL;

        while (len < ARRAY_LEN(c->policies) && c->policies[len].name)
            len++;
        decide(c->policies, len, c->ns, c->vmi, &d, a);
        if ((d.policy == NULL) != (c->want == NULL) || (c->want && strcmp(d.policy, c->want) != 0))
            fail_msg("%s: policy %s, want %s", c->name, d.policy ? d.policy : "none",
                     c->want ? c->want : "none");
        assert_int_equal(d.candidates_len, len);
        for (size_t k = 0; k < len; k++)
            if (c->about && strcmp(d.candidates[k].name, c->about) == 0)
                reason = d.candidates[k].reason;
        if (c->about && (!reason || !strstr(reason, c->reason_holds)))
            fail_msg("%s: reason \"%s\" does not hold \"%s\"", c->name, reason, c->reason_holds);
        arena_free(a);
    }
}

/* Both selectors are looked at when a VM has no labels at all (upstream's check looks at the wrong
 * map there and lets everything match). */
static void
test_vm_without_labels(void **state)
{
    struct policy_text p = {"p", "hpc=True", ""};
    struct arena *a = arena_new();
    struct policy_decision d;

    (void)state;
    decide(&p, 1, "", "", &d, a);
    assert_null(d.policy);
    arena_free(a);
}

/* --- precedence against a naive reference --- */

static bool
naive_has(const struct kv_list *l, const struct kv *want)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, want->key) == 0)
            return strcmp(l->items[i].value, want->value) == 0;
    return false;
}

static bool
naive_matches(const struct kv_list *sel, const struct kv_list *have)
{
    for (size_t i = 0; i < sel->len; i++)
        if (!naive_has(have, &sel->items[i]))
            return false;
    return true;
}

/* All keys of both selectors, smallest first, each followed by a byte that sorts before all others:
 * the lists then compare as texts do. Then the name. */
static void
naive_rank(const struct migration_policy *p, char *buf, size_t size)
{
    size_t total = p->namespace_selector.len + p->vmi_selector.len;
    bool used[2 * MAX_LABELS] = {0};

    snprintf(buf, size, "%03zu:", 999 - total);
    for (size_t n = 0; n < total; n++) {
        const char *min = NULL;
        size_t at = 0;

        for (size_t i = 0; i < total; i++) {
            const char *k = i < p->namespace_selector.len
                                ? p->namespace_selector.items[i].key
                                : p->vmi_selector.items[i - p->namespace_selector.len].key;

            if (!used[i] && (!min || strcmp(k, min) < 0)) {
                min = k;
                at = i;
            }
        }
        used[at] = true;
        snprintf(buf + strlen(buf), size - strlen(buf), "%s\001", min);
    }
    snprintf(buf + strlen(buf), size - strlen(buf), "\001%s", p->meta.name);
}

static struct kv_list
random_labels(struct rng *r, size_t max, struct arena *a)
{
    static const char *const keys[] = {"a", "b", "aa", "B", "a.b/c", "zone"};
    static const char *const values[] = {"", "1", "2"};
    struct kv_list l = {.items = arena_calloc(a, MAX_LABELS, sizeof(struct kv))};

    for (size_t i = 0; i < ARRAY_LEN(keys) && l.len < max; i++) {
        if (rng_below(r, 2))
            l.items[l.len++] =
                (struct kv){keys[i], values[rng_below(r, 100) < 80 ? 1 : rng_below(r, 3)]};
    }
    return l;
}

static void
check_precedence(uint64_t seed)
{
    static const char *const names[MAX_POLICIES] = {"p3", "p1", "p7", "p0", "p2", "p6", "p5", "p4"};
    struct migration_policy p[MAX_POLICIES] = {0};
    const struct migration_policy *list[MAX_POLICIES], *best = NULL;
    struct arena *a = arena_new();
    struct namespace_ ns = {0};
    struct vmi vmi = {0};
    struct policy_decision d;
    char best_rank[256] = "", rank[256];
    struct rng r;
    size_t len, matching = 0;

    rng_seed(&r, seed);
    len = rng_below(&r, MAX_POLICIES + 1);
    ns.meta.labels = random_labels(&r, MAX_LABELS, a);
    vmi.meta.labels = random_labels(&r, MAX_LABELS, a);
    for (size_t i = 0; i < len; i++) {
        p[i].meta.name = names[i];
        p[i].has_selectors = rng_below(&r, 10) != 0;
        if (p[i].has_selectors) {
            p[i].namespace_selector = random_labels(&r, rng_below(&r, 3), a);
            p[i].vmi_selector = random_labels(&r, rng_below(&r, 3), a);
        }
        list[i] = &p[i];
        if (!p[i].has_selectors || !naive_matches(&p[i].namespace_selector, &ns.meta.labels) ||
            !naive_matches(&p[i].vmi_selector, &vmi.meta.labels))
            continue;
        matching++;
        naive_rank(&p[i], rank, sizeof rank);
        if (!best || strcmp(rank, best_rank) < 0) {
            best = &p[i];
            memcpy(best_rank, rank, sizeof rank);
        }
    }
    policy_decide(list, len, NULL, NULL, &ns, &vmi, GIB, &d, a);
    if ((d.policy == NULL) != (best == NULL) || (best && strcmp(d.policy, best->meta.name) != 0))
        fail_msg("seed %llu: policy %s, the reference says %s", (unsigned long long)seed,
                 d.policy ? d.policy : "none", best ? best->meta.name : "none");
    for (size_t i = 0; i < d.candidates_len; i++) {
        if (i > 0)
            assert_true(strcmp(d.candidates[i - 1].name, d.candidates[i].name) < 0);
        if (d.candidates[i].matches)
            matching--;
        assert_true(strlen(d.candidates[i].reason) > 10);
    }
    assert_int_equal(matching, 0);
    arena_free(a);
}

static void
test_precedence_property(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20000; seed++)
        check_precedence(seed);
}

/* The order of the input does not matter. */
static void
test_order_does_not_matter(void **state)
{
    struct policy_text p[3] = {{"a", "", "k=1"}, {"b", "k=1", ""}, {"c", "", "k=1 l=1"}};
    struct arena *a = arena_new();

    (void)state;
    for (int n = 0; n < 3; n++) {
        struct policy_text first = p[0];
        struct policy_decision d;

        p[0] = p[1];
        p[1] = p[2];
        p[2] = first;
        decide(p, 3, "k=1", "k=1 l=1", &d, a);
        assert_string_equal(d.policy, "c");
        assert_string_equal(d.candidates[0].name, "a");
    }
    arena_free(a);
}

/* --- what follows --- */

struct layer { /* -1: not set */
    int64_t bandwidth, timeout, downtime;
    int converge, post_copy, disruption;
};

#define UNSET                  \
    {                          \
        -1, -1, -1, -1, -1, -1 \
    }

static struct migration_configuration
from_layer(const struct layer *l)
{
    return (struct migration_configuration){
        .has_bandwidth = l->bandwidth >= 0,
        .bandwidth_bytes_per_s = l->bandwidth,
        .has_completion_timeout = l->timeout >= 0,
        .completion_timeout_s_per_gib = l->timeout,
        .has_max_downtime = l->downtime >= 0,
        .max_downtime_ms = l->downtime,
        .has_auto_converge = l->converge >= 0,
        .allow_auto_converge = l->converge == 1,
        .has_post_copy = l->post_copy >= 0,
        .allow_post_copy = l->post_copy == 1,
        .has_disruption = l->disruption >= 0,
        .allow_workload_disruption = l->disruption == 1,
    };
}

struct merge_case {
    const char *name;
    struct layer cluster, policy, want;
    const char *disruption_from;
};

static const struct merge_case merge_cases[] = {
    {"nothing set: defaults", UNSET, UNSET, {0, 800, 300, 0, 0, 0}, "default"},
    {"the cluster's values",
     {64 << 20, 100, 500, 1, 1, 1},
     UNSET,
     {64 << 20, 100, 500, 1, 1, 1},
     "HyperConverged"},
    {"the documents' policy",
     {64 << 20, 800, -1, -1, -1, -1},
     {217 << 10, 23, -1, 1, 0, -1},
     {222208, 23, 300, 1, 0, 0},
     "allowPostCopy"},
    {"explicit 0 in a policy is unlimited",
     {64 << 20, -1, -1, -1, -1, -1},
     {0, -1, -1, -1, -1, -1},
     {0, 800, 300, 0, 0, 0},
     "default"},
    {"unset in a policy inherits",
     {64 << 20, 100, 50, 1, -1, -1},
     {-1, 7, -1, -1, -1, -1},
     {64 << 20, 7, 50, 1, 0, 0},
     "default"},
    {"false in a policy beats true",
     {-1, -1, -1, 1, 1, 1},
     {-1, -1, -1, 0, 0, 0},
     {0, 800, 300, 0, 0, 0},
     "policy p"},
    {"timeout 0 in a policy is none",
     {-1, 800, -1, -1, -1, -1},
     {-1, 0, -1, -1, -1, -1},
     {0, 0, 300, 0, 0, 0},
     "default"},
    /* allowWorkloadDisruption follows allowPostCopy */
    {"policy post-copy alone allows disruption",
     UNSET,
     {-1, -1, -1, -1, 1, -1},
     {0, 800, 300, 0, 1, 1},
     "allowPostCopy"},
    {"policy without post-copy takes it away",
     {-1, -1, -1, -1, 1, 1},
     {-1, -1, -1, -1, 0, -1},
     {0, 800, 300, 0, 0, 0},
     "allowPostCopy"},
    {"policy sets both", UNSET, {-1, -1, -1, -1, 1, 0}, {0, 800, 300, 0, 1, 0}, "policy p"},
    {"policy sets disruption only",
     {-1, -1, -1, -1, 0, 0},
     {-1, -1, -1, -1, -1, 1},
     {0, 800, 300, 0, 0, 1},
     "policy p"},
    {"cluster post-copy alone allows disruption",
     {-1, -1, -1, -1, 1, -1},
     UNSET,
     {0, 800, 300, 0, 1, 1},
     "allowPostCopy"},
    {"cluster disruption stays without post-copy in the policy",
     {-1, -1, -1, -1, -1, 1},
     {5, -1, -1, -1, -1, -1},
     {5, 800, 300, 0, 0, 1},
     "HyperConverged"},
    {"cluster says no to disruption",
     {-1, -1, -1, -1, 1, 0},
     UNSET,
     {0, 800, 300, 0, 1, 0},
     "HyperConverged"},
};

static void
test_merge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(merge_cases); i++) {
        const struct merge_case *c = &merge_cases[i];
        struct migration_policy p = {.meta.name = "p", .has_selectors = true};
        const struct migration_policy *list[] = {&p};
        struct hco hco = {.live_migration = from_layer(&c->cluster)};
        struct migration_configuration *e;
        struct vmi vmi = {0};
        struct arena *a = arena_new();
        struct policy_decision d;

        p.options = from_layer(&c->policy);
        policy_decide(list, 1, &hco, NULL, NULL, &vmi, 6 * GIB, &d, a);
        e = &d.effective;
        if (e->bandwidth_bytes_per_s != c->want.bandwidth ||
            e->completion_timeout_s_per_gib != c->want.timeout ||
            e->max_downtime_ms != c->want.downtime ||
            e->allow_auto_converge != (c->want.converge == 1) ||
            e->allow_post_copy != (c->want.post_copy == 1) ||
            e->allow_workload_disruption != (c->want.disruption == 1))
            fail_msg("%s: got %lld %lld %lld %d %d %d", c->name,
                     (long long)e->bandwidth_bytes_per_s,
                     (long long)e->completion_timeout_s_per_gib, (long long)e->max_downtime_ms,
                     e->allow_auto_converge, e->allow_post_copy, e->allow_workload_disruption);
        if (strcmp(d.source[POLICY_DISRUPTION], c->disruption_from) != 0)
            fail_msg("%s: disruption from %s", c->name, d.source[POLICY_DISRUPTION]);
        assert_true(e->has_bandwidth && e->has_completion_timeout && e->has_progress_timeout &&
                    e->has_max_downtime && e->has_auto_converge && e->has_post_copy &&
                    e->has_disruption && e->has_parallel_cluster && e->has_parallel_node);
        arena_free(a);
    }
}

/* Limits, progressTimeout and network belong to the cluster, whatever a policy object holds. */
static void
test_not_from_a_policy(void **state)
{
    struct migration_policy p = {
        .meta.name = "p",
        .has_selectors = true,
        .options = {.has_progress_timeout = true,
                    .progress_timeout_s = 1,
                    .has_parallel_cluster = true,
                    .parallel_per_cluster = 99,
                    .has_parallel_node = true,
                    .parallel_outbound_per_node = 99,
                    .has_disable_tls = true,
                    .disable_tls = true,
                    .network = "elsewhere"},
    };
    const struct migration_policy *list[] = {&p};
    struct vmi vmi = {0};
    struct arena *a = arena_new();
    struct policy_decision d;

    (void)state;
    policy_decide(list, 1, NULL, NULL, NULL, &vmi, GIB, &d, a);
    assert_string_equal(d.policy, "p");
    assert_int_equal(d.effective.progress_timeout_s, 150);
    assert_int_equal(d.effective.parallel_per_cluster, 5);
    assert_int_equal(d.effective.parallel_outbound_per_node, 2);
    assert_false(d.effective.disable_tls);
    assert_null(d.effective.network);
    arena_free(a);
}

static void
test_cluster_objects(void **state)
{
    struct kubevirt kv = {.migrations = {.has_bandwidth = true,
                                         .bandwidth_bytes_per_s = 7,
                                         .has_progress_timeout = true,
                                         .progress_timeout_s = 9,
                                         .network = "kv-net"}};
    struct hco hco = {.live_migration = {.has_bandwidth = true,
                                         .bandwidth_bytes_per_s = 8,
                                         .network = "my-secondary-network"}};
    struct vmi vmi = {0};
    struct arena *a = arena_new();
    struct policy_decision d;

    (void)state;
    policy_decide(NULL, 0, NULL, &kv, NULL, &vmi, GIB, &d, a);
    assert_int_equal(d.effective.bandwidth_bytes_per_s, 7);
    assert_int_equal(d.effective.progress_timeout_s, 9);
    assert_string_equal(d.effective.network, "openshift-cnv/kv-net");
    assert_string_equal(d.source[POLICY_BANDWIDTH], "KubeVirt");

    /* The HyperConverged owns the settings: a key that it lacks has its default. */
    policy_decide(NULL, 0, &hco, &kv, NULL, &vmi, GIB, &d, a);
    assert_int_equal(d.effective.bandwidth_bytes_per_s, 8);
    assert_int_equal(d.effective.progress_timeout_s, 150);
    assert_string_equal(d.effective.network, "openshift-cnv/my-secondary-network");
    assert_string_equal(d.source[POLICY_NETWORK], "HyperConverged");
    assert_string_equal(d.source[POLICY_PROGRESS_TIMEOUT], "default");

    hco.live_migration.network = "other/net";
    policy_decide(NULL, 0, &hco, NULL, NULL, &vmi, GIB, &d, a);
    assert_string_equal(d.effective.network, "other/net");
    arena_free(a);
}

/* Annotations: the policy's, else the cluster object's, else the default; a HyperConverged counts
 * alone; what cannot be read is as if it were not there. */
static void
test_options(void **state)
{
    struct arena *a = arena_new();
    struct kv own[] = {{"drover.io/encoding", "delta"},
                       {"drover.io/weight", "many"},
                       {"drover.io/transport", "rdma"}};
    struct kv cluster[] = {{"drover.io/encoding", "raw"},
                           {"drover.io/weight", "4"},
                           {"drover.io/post-copy", "immediate"},
                           {"drover.io/transport", "tcp"}};
    struct kv other[] = {{"drover.io/verify", "full"}};
    struct migration_policy p = {
        .meta = {.name = "p", .annotations = {own, 3}},
        .has_selectors = true,
    };
    const struct migration_policy *list[] = {&p};
    struct hco hco = {.meta.annotations = {cluster, 4}};
    struct kubevirt kv = {.meta.annotations = {other, 1}};
    struct vmi vmi = {0};
    struct policy_decision d;

    (void)state;
    policy_decide(list, 1, &hco, &kv, NULL, &vmi, GIB, &d, a);
    assert_int_equal(d.options.encoding, MIGRATION_ENCODING_DELTA);
    assert_string_equal(d.option_source[MIGRATION_OPTION_ENCODING], "policy p");
    assert_int_equal(d.options.weight, 4);
    assert_string_equal(d.option_source[MIGRATION_OPTION_WEIGHT], "HyperConverged");
    assert_true(d.options.post_copy_immediate);
    assert_int_equal(d.options.transport, MIGRATION_TRANSPORT_RDMA);
    assert_string_equal(d.option_source[MIGRATION_OPTION_TRANSPORT], "policy p");
    assert_false(d.options.verify_full);
    assert_string_equal(d.option_source[MIGRATION_OPTION_VERIFY], "default");

    p.has_selectors = false; /* it does not apply: neither do its annotations */
    policy_decide(list, 1, &hco, &kv, NULL, &vmi, GIB, &d, a);
    assert_int_equal(d.options.transport, MIGRATION_TRANSPORT_TCP);
    assert_string_equal(d.option_source[MIGRATION_OPTION_TRANSPORT], "HyperConverged");
    policy_decide(list, 1, NULL, &kv, NULL, &vmi, GIB, &d, a);
    assert_int_equal(d.options.encoding, MIGRATION_ENCODING_AUTO);
    assert_int_equal(d.options.transport, MIGRATION_TRANSPORT_AUTO);
    assert_string_equal(d.option_source[MIGRATION_OPTION_TRANSPORT], "default");
    assert_true(d.options.verify_full);
    assert_string_equal(d.option_source[MIGRATION_OPTION_VERIFY], "KubeVirt");
    arena_free(a);
}

struct timeout_case {
    const char *name;
    int64_t per_gib, bytes, want;
};

static const struct timeout_case timeout_cases[] = {
    {"6 GiB at 800", 800, 6 * GIB, 4800},
    {"6 GiB at 23", 23, 6 * GIB, 138},
    {"6 GiB and 10 GiB of disk", 800, 16 * GIB, 12800},
    {"one byte more is a second more", 1, GIB + 1, 2},
    {"64 MiB at 1", 1, 64 << 20, 1},
    {"128 MiB at 800", 800, 128 << 20, 100},
    {"0 is none", 0, GIB, 0},
    {"negative is none", -5, GIB, 0},
    {"no memory", 800, 0, 0},
    {"negative memory", 800, -1, 0},
    {"saturates", INT64_MAX, INT64_MAX, INT64_MAX},
    {"large without overflow", 800, INT64_MAX, 6871947673600},
};

static void
test_completion_timeout(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(timeout_cases); i++) {
        const struct timeout_case *c = &timeout_cases[i];
        int64_t got = policy_completion_timeout_s(c->per_gib, c->bytes);

        if (got != c->want)
            fail_msg("%s: %lld, want %lld", c->name, (long long)got, (long long)c->want);
    }
}

/* --- JSON and text --- */

static void
test_json(void **state)
{
    struct policy_text p[] = {{"slow", "", "os=linux"}, {"none", NULL, NULL}};
    AUTO_SB struct sb sb = SB_INIT;
    AUTO_TREE struct tree *t = NULL;
    struct arena *a = arena_new();
    struct policy_decision d;

    (void)state;
    decide(p, 2, "", "os=linux", &d, a);
    t = policy_decision_tree(&d, "shop", "db");
    tree_to_json(t, 0, &sb);
    assert_string_equal(
        sb_str(&sb),
        "{\"vm\":\"shop/db\",\"policy\":\"slow\",\"effective\":{"
        "\"bandwidthPerMigrationBytesPerSecond\":0,\"completionTimeoutSeconds\":4800,"
        "\"completionTimeoutPerGiB\":800,\"progressTimeout\":150,\"allowAutoConverge\":false,"
        "\"allowPostCopy\":false,\"allowWorkloadDisruption\":false,\"maxDowntimeMs\":300,"
        "\"parallelMigrationsPerCluster\":5,\"parallelOutboundMigrationsPerNode\":2,"
        "\"network\":null},\"options\":{\"encoding\":\"auto\",\"verify\":\"none\","
        "\"channels\":0,\"weight\":1,\"networkFallback\":\"none\",\"postCopy\":\"when-needed\","
        "\"transport\":\"auto\"},"
        "\"candidates\":["
        "{\"name\":\"none\",\"matches\":false,\"matchingLabels\":0,"
        "\"reason\":\"It has no selectors, and such a policy applies to no VM.\"},"
        "{\"name\":\"slow\",\"matches\":true,\"matchingLabels\":1,"
        "\"reason\":\"It applies: the only policy that matches (1 label).\"}]}");
    arena_free(a);
}

static void
test_field_text(void **state)
{
    struct arena *a = arena_new();
    struct policy_decision d;
    struct vmi vmi = {0};
    char buf[300];

    (void)state;
    policy_decide(NULL, 0, NULL, NULL, NULL, &vmi, 6 * GIB, &d, a);
    policy_field_text(&d, POLICY_BANDWIDTH, buf, sizeof buf);
    assert_string_equal(buf, "unlimited");
    policy_field_text(&d, POLICY_COMPLETION_TIMEOUT, buf, sizeof buf);
    assert_string_equal(buf, "800 s per GiB: 4800 s");
    d.effective.bandwidth_bytes_per_s = 64 << 20;
    policy_field_text(&d, POLICY_BANDWIDTH, buf, sizeof buf);
    assert_string_equal(buf, "64Mi/s");
    for (int f = 0; f < POLICY_FIELDS; f++) {
        policy_field_text(&d, f, buf, sizeof buf);
        assert_true(strlen(buf) > 0 && strlen(policy_field_name(f)) > 0);
    }
    arena_free(a);
}

/* --- disks that migrate --- */

struct disk_case {
    const char *name, *vm, *objects; /* JSON */
    int64_t want;
};

#define PVC(name, ns, mode, size)                                                              \
    "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"" name \
    "\",\"namespace\":\"" ns "\"},\"spec\":{\"accessModes\":[\"" mode                          \
    "\"],\"resources\":{\"requests\":{\"storage\":\"" size "\"}}}}"
#define VM(volumes)                                                                                \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":\"v\"," \
    "\"namespace\":\"n\"},\"spec\":{\"template\":{\"spec\":{\"volumes\":[" volumes "]}}}}"
#define VMI(volumes)                                                                        \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{" \
    "\"name\":\"v\",\"namespace\":\"n\"},\"spec\":{\"volumes\":[" volumes "]}}"

static const struct disk_case disk_cases[] = {
    {"none", VM(""), "[]", 0},
    {"empty disk of a VM", VM("{\"emptyDisk\":{\"capacity\":\"10Gi\"}}"), "[]", 10 * GIB},
    {"empty disk of a VMI", VMI("{\"emptyDisk\":{\"capacity\":\"2Gi\"}}"), "[]", 2 * GIB},
    {"two of them",
     VM("{\"emptyDisk\":{\"capacity\":\"1Gi\"}},{\"emptyDisk\":{\"capacity\":1024}}"), "[]",
     GIB + 1024},
    {"host disk", VM("{\"hostDisk\":{\"path\":\"/x\",\"capacity\":\"1Gi\"}}"), "[]", GIB},
    {"shared host disk", VM("{\"hostDisk\":{\"shared\":true,\"capacity\":\"1Gi\"}}"), "[]", 0},
    {"container disk has no size", VM("{\"containerDisk\":{\"image\":\"x\"}}"), "[]", 0},
    {"own claim", VM("{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}"),
     "[" PVC("c", "n", "ReadWriteOnce", "10Gi") "]", 10 * GIB},
    {"shared claim", VM("{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}"),
     "[" PVC("c", "n", "ReadWriteMany", "10Gi") "]", 0},
    {"data volume", VM("{\"dataVolume\":{\"name\":\"c\"}}"),
     "[" PVC("c", "n", "ReadWriteOnce", "3Gi") "]", 3 * GIB},
    {"claim of another namespace", VM("{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}"),
     "[" PVC("c", "m", "ReadWriteOnce", "10Gi") "]", 0},
    {"claim that is not known", VM("{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}"), "[]", 0},
    {"size that is none", VM("{\"emptyDisk\":{\"capacity\":\"10 Gi\"}}"), "[]", 0},
    {"negative size", VM("{\"emptyDisk\":{\"capacity\":\"-1Gi\"}}"), "[]", 0},
    {"saturates",
     VM("{\"emptyDisk\":{\"capacity\":\"7Ei\"}},{\"emptyDisk\":{\"capacity\":\"7Ei\"}}"), "[]",
     INT64_MAX},
};

static void
test_disks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(disk_cases); i++) {
        const struct disk_case *c = &disk_cases[i];
        AUTO_TREE struct tree *vm = NULL;
        AUTO_TREE struct tree *objects = NULL;
        struct err err = {0};

        if (tree_from_json(c->vm, strlen(c->vm), &vm, &err) != 0 ||
            tree_from_json(c->objects, strlen(c->objects), &objects, &err) != 0)
            fail_msg("%s: %s", c->name, err_msg(&err));
        if (policy_disk_bytes(vm, objects) != c->want)
            fail_msg("%s: %lld, want %lld", c->name, (long long)policy_disk_bytes(vm, objects),
                     (long long)c->want);
    }
    assert_int_equal(policy_disk_bytes(NULL, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_vm_without_labels),
        cmocka_unit_test(test_precedence_property),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_not_from_a_policy),
        cmocka_unit_test(test_cluster_objects),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_completion_timeout),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_field_text),
        cmocka_unit_test(test_disks),
    };

    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
