/* Matching and precedence of MigrationPolicy, and the effective values; see policy.h. The rules are
 * two tables and two comparisons: what a selector asks for, who beats whom, and which layer
 * (default, cluster, policy) gives each field. */
#include "netpolicy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "netpolicy/nad.h"

#define LABEL_NAMESPACE_NAME "kubernetes.io/metadata.name" /* every namespace has it */

/* One policy held against one VM. */
struct match {
    const struct migration_policy *policy;
    bool matches;
    size_t labels;            /* that are there */
    size_t wanted;            /* of both selectors together */
    const char **keys;        /* of both selectors, sorted; only filled in when it matches */
    const struct kv *missing; /* the first label that is not as it should be */
    const char *found;        /* its value instead, or NULL */
    bool missing_in_namespace;
};

static void match_policy(const struct migration_policy *p, const struct kv_list *ns_labels,
                         const struct kv_list *vmi_labels, struct match *ret, struct arena *a);
static int match_cmp(const struct match *x, const struct match *y);
static const char *match_reason(const struct match *m, const struct match *best, size_t matching,
                                const struct vmi *vmi, const struct namespace_ *ns,
                                struct arena *a);
static struct kv_list namespace_labels(const struct namespace_ *ns, const struct vmi *vmi,
                                       struct arena *a);
static void effective_values(const struct migration_policy *p, const struct hco *hco,
                             const struct kubevirt *kv, struct policy_decision *d, struct arena *a);
static void option_values(const struct migration_policy *p, const struct hco *hco,
                          const struct kubevirt *kv, struct policy_decision *d, struct arena *a);
static int by_name(const void *x, const void *y);
static const char *text_or(const char *s, const char *dflt);

void
policy_decide(const struct migration_policy *const *policies, size_t len, const struct hco *hco,
              const struct kubevirt *kv, const struct namespace_ *ns, const struct vmi *vmi,
              int64_t memory_bytes, struct policy_decision *ret, struct arena *a)
{
    struct match *m = arena_calloc(a, len, sizeof *m);
    struct kv_list ns_labels = namespace_labels(ns, vmi, a);
    const struct match *best = NULL;
    size_t matching = 0;

    *ret = (struct policy_decision){0};
    for (size_t i = 0; i < len; i++)
        match_policy(policies[i], &ns_labels, &vmi->meta.labels, &m[i], a);
    qsort(m, len, sizeof *m, by_name);
    for (size_t i = 0; i < len; i++) {
        if (!m[i].matches)
            continue;
        matching++;
        if (!best || match_cmp(&m[i], best) < 0)
            best = &m[i];
    }

    ret->candidates = arena_calloc(a, len, sizeof *ret->candidates);
    ret->candidates_len = len;
    for (size_t i = 0; i < len; i++) {
        ret->candidates[i] = (struct policy_candidate){
            .name = text_or(m[i].policy->meta.name, ""),
            .matches = m[i].matches,
            .matching_labels = m[i].labels,
            .reason = match_reason(&m[i], best, matching, vmi, ns, a),
        };
    }
    ret->policy = best ? text_or(best->policy->meta.name, "") : NULL;
    effective_values(best ? best->policy : NULL, hco, kv, ret, a);
    option_values(best ? best->policy : NULL, hco, kv, ret, a);
    ret->completion_timeout_s =
        policy_completion_timeout_s(ret->effective.completion_timeout_s_per_gib, memory_bytes);
}

int64_t
policy_completion_timeout_s(int64_t s_per_gib, int64_t bytes)
{
    const __int128 gib = (__int128)1 << 30;
    __int128 s;

    if (s_per_gib <= 0 || bytes <= 0)
        return 0;
    s = ((__int128)s_per_gib * bytes + gib - 1) / gib;
    return s > INT64_MAX ? INT64_MAX : (int64_t)s;
}

/* --- matching --- */

static const char *
text_or(const char *s, const char *dflt)
{
    return s ? s : dflt;
}

static int
by_name(const void *x, const void *y)
{
    const struct match *p = x, *q = y;

    return strcmp(text_or(p->policy->meta.name, ""), text_or(q->policy->meta.name, ""));
}

/* The API server gives every namespace its name as a label; files seldom have it. */
static struct kv_list
namespace_labels(const struct namespace_ *ns, const struct vmi *vmi, struct arena *a)
{
    struct kv_list none = {0};
    const struct kv_list *have = ns ? &ns->meta.labels : &none;
    const char *name = ns && ns->meta.name ? ns->meta.name : vmi->meta.namespace_;
    struct kv_list all = {0};

    if (!name || kv_get(have, LABEL_NAMESPACE_NAME))
        return *have;
    all.items = arena_calloc(a, have->len + 1, sizeof *all.items);
    for (size_t i = 0; i < have->len; i++)
        all.items[i] = have->items[i];
    all.items[have->len] = (struct kv){LABEL_NAMESPACE_NAME, name};
    all.len = have->len + 1;
    return all;
}

static void
match_selector(const struct kv_list *selector, const struct kv_list *labels, bool is_namespace,
               struct match *m)
{
    for (size_t i = 0; i < selector->len; i++) {
        const struct kv *want = &selector->items[i];
        const char *have = kv_get(labels, want->key);

        if (have && strcmp(have, text_or(want->value, "")) == 0) {
            m->labels++;
        } else if (!m->missing) {
            m->missing = want;
            m->found = have;
            m->missing_in_namespace = is_namespace;
        }
    }
    m->wanted += selector->len;
}

static void
match_policy(const struct migration_policy *p, const struct kv_list *ns_labels,
             const struct kv_list *vmi_labels, struct match *ret, struct arena *a)
{
    size_t n = 0;

    *ret = (struct match){.policy = p};
    if (!p->has_selectors)
        return;
    match_selector(&p->namespace_selector, ns_labels, true, ret);
    match_selector(&p->vmi_selector, vmi_labels, false, ret);
    ret->matches = ret->labels == ret->wanted;
    if (!ret->matches)
        return;
    ret->keys = arena_calloc(a, ret->wanted, sizeof *ret->keys);
    for (size_t i = 0; i < p->namespace_selector.len; i++)
        ret->keys[n++] = p->namespace_selector.items[i].key;
    for (size_t i = 0; i < p->vmi_selector.len; i++)
        ret->keys[n++] = p->vmi_selector.items[i].key;
    qsort(ret->keys, n, sizeof *ret->keys, text_compare);
}

/* Where two matching policies differ first: the index of the key, or the length when they do
 * not. */
static size_t
first_difference(const struct match *x, const struct match *y)
{
    size_t i = 0;

    while (i < x->labels && strcmp(x->keys[i], y->keys[i]) == 0)
        i++;
    return i;
}

/* < 0 when x beats y. Both match. */
static int
match_cmp(const struct match *x, const struct match *y)
{
    size_t i;

    if (x->labels != y->labels)
        return x->labels > y->labels ? -1 : 1;
    i = first_difference(x, y);
    if (i < x->labels)
        return strcmp(x->keys[i], y->keys[i]);
    return by_name(x, y);
}

/* --- reasons --- */

static const char *
plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static const char *
reason_no_match(const struct match *m, const struct vmi *vmi, const struct namespace_ *ns,
                struct arena *a)
{
    const char *ns_name = text_or(vmi->meta.namespace_, "");
    const char *what, *value;

    if (!m->policy->has_selectors)
        return "It has no selectors, and such a policy applies to no VM.";
    value = text_or(m->missing->value, "");
    what = m->missing_in_namespace ? arena_printf(a, "namespace %s", ns_name)
                                   : arena_printf(a, "VM %s", text_or(vmi->meta.name, ""));
    if (m->found)
        return arena_printf(a, "Label %s of %s is \"%s\", and the policy wants \"%s\".",
                            m->missing->key, what, m->found, value);
    if (m->missing_in_namespace && !ns)
        return arena_printf(a, "Namespace %s is not known, so it has no label %s=\"%s\".", ns_name,
                            m->missing->key, value);
    return arena_printf(a, "Label %s=\"%s\" is missing on %s.", m->missing->key, value, what);
}

static const char *
reason_lost(const struct match *m, const struct match *best, struct arena *a)
{
    const char *winner = text_or(best->policy->meta.name, "");
    size_t i;

    if (m->labels != best->labels)
        return arena_printf(a, "It matches %zu label%s, and policy %s matches %zu.", m->labels,
                            plural(m->labels), winner, best->labels);
    i = first_difference(best, m);
    if (i < m->labels)
        return arena_printf(a,
                            "It matches %zu label%s as policy %s does, whose key %s comes before "
                            "%s in byte order.",
                            m->labels, plural(m->labels), winner, best->keys[i], m->keys[i]);
    return arena_printf(a, "It matches the same label keys as policy %s, whose name comes first.",
                        winner);
}

static const char *
match_reason(const struct match *m, const struct match *best, size_t matching,
             const struct vmi *vmi, const struct namespace_ *ns, struct arena *a)
{
    if (!m->matches)
        return reason_no_match(m, vmi, ns, a);
    if (m != best)
        return reason_lost(m, best, a);
    if (matching == 1)
        return arena_printf(a, "It applies: the only policy that matches (%zu label%s).", m->labels,
                            plural(m->labels));
    return arena_printf(a, "It applies: first of %zu that match (%zu label%s).", matching,
                        m->labels, plural(m->labels));
}

/* --- effective values --- */

/* One scalar field of struct migration_configuration. */
struct option {
    const char *name;
    size_t has, value; /* offsets */
    bool is_bool;
    bool in_policy; /* may be taken from a MigrationPolicy (CLI.md) */
    int64_t dflt;
};

#define OPTION(h, v, b, p, d, n)                                                                \
    {                                                                                           \
        .name = (n), .has = offsetof(struct migration_configuration, h),                        \
        .value = offsetof(struct migration_configuration, v), .is_bool = (b), .in_policy = (p), \
        .dflt = (d)                                                                             \
    }

static const struct option options[POLICY_FIELDS] = {
    [POLICY_BANDWIDTH] = OPTION(has_bandwidth, bandwidth_bytes_per_s, false, true,
                                POLICY_DEFAULT_BANDWIDTH, "bandwidthPerMigration"),
    [POLICY_COMPLETION_TIMEOUT] =
        OPTION(has_completion_timeout, completion_timeout_s_per_gib, false, true,
               POLICY_DEFAULT_COMPLETION_TIMEOUT, "completionTimeoutPerGiB"),
    [POLICY_PROGRESS_TIMEOUT] = OPTION(has_progress_timeout, progress_timeout_s, false, false,
                                       POLICY_DEFAULT_PROGRESS_TIMEOUT, "progressTimeout"),
    [POLICY_AUTO_CONVERGE] =
        OPTION(has_auto_converge, allow_auto_converge, true, true, false, "allowAutoConverge"),
    [POLICY_POST_COPY] = OPTION(has_post_copy, allow_post_copy, true, true, false, "allowPostCopy"),
    [POLICY_DISRUPTION] = OPTION(has_disruption, allow_workload_disruption, true, true, false,
                                 "allowWorkloadDisruption"),
    [POLICY_MAX_DOWNTIME] = OPTION(has_max_downtime, max_downtime_ms, false, true,
                                   POLICY_DEFAULT_MAX_DOWNTIME_MS, "maxDowntimeMs"),
    [POLICY_PARALLEL_CLUSTER] =
        OPTION(has_parallel_cluster, parallel_per_cluster, false, false,
               POLICY_DEFAULT_PARALLEL_CLUSTER, "parallelMigrationsPerCluster"),
    [POLICY_PARALLEL_NODE] =
        OPTION(has_parallel_node, parallel_outbound_per_node, false, false,
               POLICY_DEFAULT_PARALLEL_NODE, "parallelOutboundMigrationsPerNode"),
    [POLICY_NETWORK] = {.name = "network"}, /* text: handled apart */
    [POLICY_DISABLE_TLS] = OPTION(has_disable_tls, disable_tls, true, false, false, "disableTLS"),
};

static bool
option_has(const struct migration_configuration *c, const struct option *o)
{
    return *(const bool *)((const char *)c + o->has);
}

static int64_t
option_get(const struct migration_configuration *c, const struct option *o)
{
    const char *p = (const char *)c + o->value;

    return o->is_bool ? *(const bool *)p : *(const int64_t *)p;
}

static void
option_set(struct migration_configuration *c, const struct option *o, int64_t v)
{
    char *p = (char *)c + o->value;

    *(bool *)((char *)c + o->has) = true;
    if (o->is_bool)
        *(bool *)p = v != 0;
    else
        *(int64_t *)p = v;
}

static void
effective_values(const struct migration_policy *p, const struct hco *hco, const struct kubevirt *kv,
                 struct policy_decision *d, struct arena *a)
{
    static const struct migration_configuration nothing;
    const struct migration_configuration *cluster = hco  ? &hco->live_migration
                                                    : kv ? &kv->migrations
                                                         : &nothing;
    const struct migration_configuration *own = p ? &p->options : &nothing;
    const char *cluster_name = hco ? "HyperConverged" : "KubeVirt";
    const char *own_name = p ? arena_printf(a, "policy %s", text_or(p->meta.name, "")) : NULL;
    struct migration_configuration *e = &d->effective;

    for (size_t f = 0; f < POLICY_FIELDS; f++) {
        const struct option *o = &options[f];

        if (f == POLICY_NETWORK)
            continue;
        if (o->in_policy && option_has(own, o)) {
            option_set(e, o, option_get(own, o));
            d->source[f] = own_name;
        } else if (option_has(cluster, o)) {
            option_set(e, o, option_get(cluster, o));
            d->source[f] = cluster_name;
        } else {
            option_set(e, o, o->dflt);
            d->source[f] = "default";
        }
    }

    /* A layer that says allowPostCopy alone says the same of disruption, in both directions, also
     * over what the layer below it says. */
    bool follow = own->has_post_copy ? !own->has_disruption
                                     : !own->has_disruption && !cluster->has_disruption;
    if (follow && (own->has_post_copy || cluster->has_post_copy)) {
        e->allow_workload_disruption = e->allow_post_copy;
        d->source[POLICY_DISRUPTION] = "allowPostCopy";
    }

    d->source[POLICY_NETWORK] = "default";
    if (cluster->network && *cluster->network) {
        const char *ns, *name;

        nad_ref_split(cluster->network, DEFAULT_HCO_NAMESPACE, a, &ns, &name);
        e->network = arena_printf(a, "%s/%s", ns, name);
        d->source[POLICY_NETWORK] = cluster_name;
    }
}

/* The first of policy, cluster object and default that has a value that can be read. */
static void
option_values(const struct migration_policy *p, const struct hco *hco, const struct kubevirt *kv,
              struct policy_decision *d, struct arena *a)
{
    static const struct kv_list nothing;
    const struct kv_list *layers[] = {p ? &p->meta.annotations : &nothing,
                                      hco  ? &hco->meta.annotations
                                      : kv ? &kv->meta.annotations
                                           : &nothing};
    const char *names[] = {p ? arena_printf(a, "policy %s", text_or(p->meta.name, "")) : NULL,
                           hco ? "HyperConverged" : "KubeVirt"};

    migration_options_init(&d->options);
    for (int o = 0; o < MIGRATION_OPTION_COUNT; o++) {
        enum migration_option opt = (enum migration_option)o;
        bool found = false;

        d->option_source[o] = "default";
        for (size_t i = 0; i < ARRAY_LEN(layers) && !found; i++) {
            const char *text = kv_get(layers[i], migration_option_annotation(opt));
            int64_t value;

            found = text && migration_option_parse(opt, text, &value, NULL) == 0;
            if (found) {
                migration_options_set(&d->options, opt, value);
                d->option_source[o] = names[i];
            }
        }
    }
}

/* --- as text and JSON --- */

const char *
policy_field_name(enum policy_field f)
{
    return options[f].name;
}

void
policy_field_text(const struct policy_decision *d, enum policy_field f, char *buf, size_t size)
{
    const struct migration_configuration *e = &d->effective;
    long long v = f == POLICY_NETWORK ? 0 : (long long)option_get(e, &options[f]);
    char q[32];

    switch (f) {
    case POLICY_BANDWIDTH:
        if (v == 0) {
            snprintf(buf, size, "unlimited");
            return;
        }
        quantity_format_bytes(v, q, sizeof q);
        snprintf(buf, size, "%s/s", q);
        return;
    case POLICY_COMPLETION_TIMEOUT:
        if (v == 0)
            snprintf(buf, size, "none");
        else
            snprintf(buf, size, "%lld s per GiB: %lld s", v, (long long)d->completion_timeout_s);
        return;
    case POLICY_PROGRESS_TIMEOUT:
        snprintf(buf, size, "%lld s", v);
        return;
    case POLICY_MAX_DOWNTIME:
        snprintf(buf, size, "%lld ms", v);
        return;
    case POLICY_NETWORK:
        snprintf(buf, size, "%s", e->network ? e->network : "none: the nodes' own network");
        return;
    default:
        if (options[f].is_bool)
            snprintf(buf, size, "%s", v ? "true" : "false");
        else
            snprintf(buf, size, "%lld", v);
    }
}

struct tree *
policy_decision_tree(const struct policy_decision *d, const char *vm_ns, const char *vm_name)
{
    const struct migration_configuration *e = &d->effective;
    struct tree *t = tree_map(), *eff = tree_map(), *list = tree_list();

    tree_set(t, "vm", tree_stringf("%s/%s", vm_ns, vm_name));
    tree_set(t, "policy", tree_string(d->policy));
    tree_set(eff, "bandwidthPerMigrationBytesPerSecond", tree_int(e->bandwidth_bytes_per_s));
    tree_set(eff, "completionTimeoutSeconds", tree_int(d->completion_timeout_s));
    tree_set(eff, "completionTimeoutPerGiB", tree_int(e->completion_timeout_s_per_gib));
    tree_set(eff, "progressTimeout", tree_int(e->progress_timeout_s));
    tree_set(eff, "allowAutoConverge", tree_bool(e->allow_auto_converge));
    tree_set(eff, "allowPostCopy", tree_bool(e->allow_post_copy));
    tree_set(eff, "allowWorkloadDisruption", tree_bool(e->allow_workload_disruption));
    tree_set(eff, "maxDowntimeMs", tree_int(e->max_downtime_ms));
    tree_set(eff, "parallelMigrationsPerCluster", tree_int(e->parallel_per_cluster));
    tree_set(eff, "parallelOutboundMigrationsPerNode", tree_int(e->parallel_outbound_per_node));
    tree_set(eff, "network", tree_string(e->network));
    tree_set(t, "effective", eff);
    tree_set(t, "options", migration_options_tree(&d->options));
    for (size_t i = 0; i < d->candidates_len; i++) {
        const struct policy_candidate *c = &d->candidates[i];
        struct tree *m = tree_map();

        tree_set(m, "name", tree_string(c->name));
        tree_set(m, "matches", tree_bool(c->matches));
        tree_set(m, "matchingLabels", tree_int((int64_t)c->matching_labels));
        tree_set(m, "reason", tree_string(c->reason));
        tree_append(list, m);
    }
    tree_set(t, "candidates", list);
    return t;
}
