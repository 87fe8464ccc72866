/* The rules of placement, naively: how good a node is; see naive.h. */
#include <math.h>
#include <string.h>

#include "tests/sched/naive_int.h"

const char *const naive_names[NAIVE_PLUGINS] = {
    "TaintToleration",   "NodeAffinity",    "NodeResourcesFit", "NodeResourcesBalancedAllocation",
    "PodTopologySpread", "InterPodAffinity"};

static bool
off(const struct sched_config_plugins *p, const char *name)
{
    for (size_t i = 0; i < p->disabled_len; i++)
        if (strcmp(p->disabled[i].name, name) == 0 || strcmp(p->disabled[i].name, "*") == 0)
            return true;
    return false;
}

/* -1: not enabled. */
static int64_t
on(const struct sched_config_plugins *p, const char *name)
{
    for (size_t i = 0; i < p->enabled_len; i++)
        if (strcmp(p->enabled[i].name, name) == 0)
            return p->enabled[i].weight ? p->enabled[i].weight : 1;
    return -1;
}

int64_t
naive_weight(const struct sched_config_profile *config, int plugin)
{
    static const int64_t usual[NAIVE_PLUGINS] = {3, 2, 1, 1, 2, 2};
    const char *name = naive_names[plugin];

    if (!config)
        return usual[plugin];
    if (on(&config->score, name) > 0)
        return on(&config->score, name);
    if (off(&config->score, name))
        return 0;
    if (on(&config->multi_point, name) > 0)
        return on(&config->multi_point, name);
    return off(&config->multi_point, name) ? 0 : usual[plugin];
}

static int64_t
soft_taints(const struct who *w, const struct node *n)
{
    int64_t count = 0;

    for (size_t i = 0; i < n->taints_len; i++)
        if (strcmp(n->taints[i].effect, "PreferNoSchedule") == 0 &&
            !naive_tolerates(w, &n->taints[i]))
            count++;
    return count;
}

static int64_t
preference(const struct affinity *a, const struct node *n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < a->node_preferred_len; i++)
        if (naive_term_holds(&a->node_preferred[i].preference, n))
            sum += a->node_preferred[i].weight;
    return sum;
}

struct use {
    int64_t used, total; /* total 0: does not count */
};

static struct use
use_of(const struct naive_cluster *c, const struct who *w, const struct node *n, const char *name,
       bool real)
{
    int64_t absent = 0, want;

    if (!real && strcmp(name, "cpu") == 0)
        absent = 100;
    if (!real && strcmp(name, "memory") == 0)
        absent = 200 * INT64_C(1048576);
    want = naive_asks(c, w, name, absent);
    if (strcmp(name, "pods") == 0 || (strchr(name, '/') && want == 0) || naive_total(n, name) <= 0)
        return (struct use){0};
    return (struct use){want + naive_used(c, w, n, name, absent), naive_total(n, name)};
}

static int64_t
by_shape(const struct sched_config_args *args, int64_t u)
{
    const struct sched_config_point *p = args->shape;
    size_t i = 0;

    while (i < args->shape_len && p[i].utilization < u)
        i++;
    if (i == 0)
        return 10 * p[0].score;
    if (i == args->shape_len)
        return 10 * p[i - 1].score;
    return 10 * p[i - 1].score + 10 * (p[i].score - p[i - 1].score) * (u - p[i - 1].utilization) /
                                     (p[i].utilization - p[i - 1].utilization);
}

static const struct sched_config_resource usual_resources[] = {{"cpu", 1}, {"memory", 1}};

static int64_t
fit(const struct naive_cluster *c, const struct who *w, const struct node *n)
{
    const struct sched_config_args *args = naive_args(c, "NodeResourcesFit");
    const char *how = args && args->strategy ? args->strategy : "LeastAllocated";
    bool listed = args && args->resources_len > 0;
    size_t len = listed ? args->resources_len : 2;
    int64_t sum = 0, weights = 0;

    for (size_t i = 0; i < len; i++) {
        const struct sched_config_resource *r = listed ? &args->resources[i] : &usual_resources[i];
        struct use u = use_of(c, w, n, r->name, false);
        int64_t weight = r->weight ? r->weight : 1, score;

        if (u.total == 0)
            continue;
        if (u.used > u.total)
            u.used = u.total;
        if (strcmp(how, "LeastAllocated") == 0)
            score = (u.total - u.used) * 100 / u.total;
        else
            score = u.used * 100 / u.total;
        if (strcmp(how, "RequestedToCapacityRatio") == 0) {
            score = by_shape(args, score);
            if (score == 0)
                continue;
        }
        sum += score * weight;
        weights += weight;
    }
    if (weights == 0)
        return 0;
    if (strcmp(how, "RequestedToCapacityRatio") == 0)
        return (int64_t)round((double)sum / (double)weights);
    return sum / weights;
}

static int64_t
balanced(const struct naive_cluster *c, const struct who *w, const struct node *n)
{
    const struct sched_config_args *args = naive_args(c, "NodeResourcesBalancedAllocation");
    bool listed = args && args->resources_len > 0;
    size_t len = listed ? args->resources_len : 2, have = 0;
    double f[8], mean = 0, sum = 0;

    for (size_t i = 0; i < len; i++) {
        struct use u =
            use_of(c, w, n, listed ? args->resources[i].name : usual_resources[i].name, true);

        if (u.total > 0)
            f[have++] = u.used > u.total ? 1 : (double)u.used / (double)u.total;
    }
    if (have == 2)
        return (int64_t)((1 - fabs((f[0] - f[1]) / 2)) * 100);
    for (size_t i = 0; i < have; i++)
        mean += f[i];
    mean /= have ? (double)have : 1;
    for (size_t i = 0; i < have; i++)
        sum += (f[i] - mean) * (f[i] - mean);
    return (int64_t)((1 - (have > 2 ? sqrt(sum / (double)have) : 0)) * 100);
}

/* How many count in node n's domain, out of the whole cluster, for a soft constraint. */
static int64_t
soft_count(const struct naive_cluster *c, const struct naive_one *one, const struct who *w,
           const struct naive_rules *rules, const struct spread *s, const struct node *n)
{
    int64_t count = 0;

    if (strcmp(s->topology_key, "kubernetes.io/hostname") == 0)
        return naive_matching(c, w, rules, s, n);
    for (size_t k = 0; k < c->nodes_len; k++)
        if (naive_same_domain(s->topology_key, n, &c->nodes[k]) &&
            (rules->some_keys || naive_has_keys(rules, true, &c->nodes[k])) &&
            naive_counts(c, w, one->source, s, &c->nodes[k]))
            count += naive_matching(c, w, rules, s, &c->nodes[k]);
    return count;
}

/* Domains among the nodes that fit and are scored; those without the key are one together. */
static size_t
soft_domains(const struct naive_cluster *c, const struct naive_rules *rules, const struct spread *s,
             const bool *fits)
{
    size_t domains = 0;

    for (size_t i = 0; i < c->nodes_len; i++) {
        const char *mine = naive_value(&c->nodes[i].meta.labels, s->topology_key);
        bool first = true;

        if (!fits[i] || !(rules->some_keys || naive_has_keys(rules, true, &c->nodes[i])))
            continue;
        for (size_t k = 0; k < i; k++) {
            const char *theirs = naive_value(&c->nodes[k].meta.labels, s->topology_key);

            if (fits[k] && (rules->some_keys || naive_has_keys(rules, true, &c->nodes[k])) &&
                strcmp(mine ? mine : "", theirs ? theirs : "") == 0)
                first = false;
        }
        domains += first || strcmp(s->topology_key, "kubernetes.io/hostname") == 0;
    }
    return domains;
}

static void
spread(const struct naive_cluster *c, const struct naive_one *one, const struct who *w,
       const bool *fits, int64_t (*scores)[NAIVE_PLUGINS])
{
    struct naive_rules rules = naive_spreads(c, w);
    int64_t most = 0, least = INT64_MAX;
    bool any = false;

    for (size_t i = 0; i < rules.len; i++)
        any = any || naive_is_soft(&rules.items[i]);
    for (size_t n = 0; n < c->nodes_len; n++) {
        const struct node *node = &c->nodes[n];
        double sum = 0;

        if (!fits[n])
            continue;
        scores[n][NAIVE_SPREAD] = 0;
        if (!any || !(rules.some_keys || naive_has_keys(&rules, true, node)))
            continue;
        for (size_t i = 0; i < rules.len; i++) {
            const struct spread *s = &rules.items[i];

            if (!naive_is_soft(s) || !naive_value(&node->meta.labels, s->topology_key))
                continue;
            sum += (double)soft_count(c, one, w, &rules, s, node) *
                       log((double)(soft_domains(c, &rules, s, fits) + 2)) +
                   (double)(s->max_skew - 1);
        }
        scores[n][NAIVE_SPREAD] = llround(sum);
        most = scores[n][NAIVE_SPREAD] > most ? scores[n][NAIVE_SPREAD] : most;
        least = scores[n][NAIVE_SPREAD] < least ? scores[n][NAIVE_SPREAD] : least;
    }
    for (size_t n = 0; n < c->nodes_len && any; n++)
        if (fits[n] && (rules.some_keys || naive_has_keys(&rules, true, &c->nodes[n])))
            scores[n][NAIVE_SPREAD] =
                most ? 100 * (most + least - scores[n][NAIVE_SPREAD]) / most : 100;
}

/* What p, which is on `at`, adds to node n. */
static int64_t
peer_adds(const struct naive_cluster *c, const struct who *w, const struct who *p,
          const struct node *at, const struct node *n)
{
    const struct sched_config_args *args = naive_args(c, "InterPodAffinity");
    int64_t hard = args && args->has_hard_weight ? args->hard_weight : 1, sum = 0;

#define ADD(owner, other, list, term_of, weight_of)                                    \
    for (size_t i = 0; i < (owner)->affinity->list##_len; i++)                         \
        if (naive_takes(c, &(owner)->affinity->list[i] term_of, owner, other) &&       \
            naive_same_domain((owner)->affinity->list[i] term_of.topology_key, at, n)) \
    sum += (weight_of)
    ADD(w, p, pod_preferred, .term, w->affinity->pod_preferred[i].weight);
    ADD(w, p, pod_anti_preferred, .term, -w->affinity->pod_anti_preferred[i].weight);
    ADD(p, w, pod_preferred, .term, p->affinity->pod_preferred[i].weight);
    ADD(p, w, pod_anti_preferred, .term, -p->affinity->pod_anti_preferred[i].weight);
    ADD(p, w, pod_required, , hard);
#undef ADD
    return sum;
}

static int64_t
peers(const struct naive_cluster *c, const struct who *w, const struct node *n)
{
    const struct sched_config_args *args = naive_args(c, "InterPodAffinity");
    int64_t sum = 0;

    if (args && args->ignore_preferred &&
        w->affinity->pod_preferred_len + w->affinity->pod_anti_preferred_len == 0)
        return 0;
    for (size_t i = 0; i < naive_others(c); i++) {
        struct who p = naive_other(c, i);

        for (size_t k = 0; k < c->nodes_len && !naive_same(&p, w); k++)
            if (naive_is_on(&p, &c->nodes[k]))
                sum += peer_adds(c, w, &p, &c->nodes[k], n);
    }
    return sum;
}

void
naive_scores(const struct naive_cluster *c, const struct naive_one *one, const bool *fits,
             int64_t (*scores)[NAIVE_PLUGINS])
{
    static const struct affinity none;
    const struct sched_config_args *args = naive_args(c, "NodeAffinity");
    const struct affinity *added = args ? &args->added_affinity : &none;
    struct who w = naive_who(one);
    int64_t most_taints = 0, most_liked = 0, most = INT64_MIN, least = INT64_MAX;

    for (size_t n = 0; n < c->nodes_len; n++) {
        const struct node *node = &c->nodes[n];
        int64_t *s = scores[n];

        if (!fits[n])
            continue;
        s[NAIVE_TAINT] = soft_taints(&w, node);
        s[NAIVE_AFFINITY] = preference(w.affinity, node) + preference(added, node);
        s[NAIVE_FIT] = fit(c, &w, node);
        s[NAIVE_BALANCED] = balanced(c, &w, node);
        s[NAIVE_PEERS] = peers(c, &w, node);
        most_taints = s[NAIVE_TAINT] > most_taints ? s[NAIVE_TAINT] : most_taints;
        most_liked = s[NAIVE_AFFINITY] > most_liked ? s[NAIVE_AFFINITY] : most_liked;
        most = s[NAIVE_PEERS] > most ? s[NAIVE_PEERS] : most;
        least = s[NAIVE_PEERS] < least ? s[NAIVE_PEERS] : least;
    }
    for (size_t n = 0; n < c->nodes_len; n++) {
        int64_t *s = scores[n];

        if (!fits[n])
            continue;
        s[NAIVE_TAINT] = 100 - (most_taints ? 100 * s[NAIVE_TAINT] / most_taints : 0);
        s[NAIVE_AFFINITY] = most_liked ? 100 * s[NAIVE_AFFINITY] / most_liked : 0;
        s[NAIVE_PEERS] =
            most > least
                ? (int64_t)(100 * ((double)(s[NAIVE_PEERS] - least) / (double)(most - least)))
                : 0;
    }
    spread(c, one, &w, fits, scores);
}
