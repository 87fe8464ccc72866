/* The rules of placement, naively: topology spread; see naive.h. */
#include <string.h>

#include "tests/sched/naive_int.h"

struct naive_rules
naive_spreads(const struct naive_cluster *c, const struct who *w)
{
    static const struct spread system[] = {
        {.max_skew = 3,
         .topology_key = "kubernetes.io/hostname",
         .when_unsatisfiable = "ScheduleAnyway"},
        {.max_skew = 5,
         .topology_key = "topology.kubernetes.io/zone",
         .when_unsatisfiable = "ScheduleAnyway"},
    };
    const struct sched_config_args *args = naive_args(c, "PodTopologySpread");
    bool list = args && args->defaulting_type && strcmp(args->defaulting_type, "List") == 0;

    if (w->spreads_len > 0)
        return (struct naive_rules){.items = w->spreads, .len = w->spreads_len};
    if (w->meta->owners_len == 0) /* the generator's owners are all sets */
        return (struct naive_rules){0};
    if (list)
        return (struct naive_rules){args->default_constraints, args->default_constraints_len, true,
                                    false};
    return (struct naive_rules){system, 2, true, true};
}

bool
naive_is_soft(const struct spread *s)
{
    return strcmp(s->when_unsatisfiable, "ScheduleAnyway") == 0;
}

bool
naive_counts(const struct naive_cluster *c, const struct who *w, int source, const struct spread *s,
             const struct node *n)
{
    bool affinity = !s->node_affinity_policy || strcmp(s->node_affinity_policy, "Honor") == 0;
    bool taints = s->node_taints_policy && strcmp(s->node_taints_policy, "Honor") == 0;

    return (!affinity || naive_selected(c, w, source, n)) && (!taints || naive_taints_allow(w, n));
}

/* Does the constraint of w count other? */
static bool
spread_takes(const struct who *w, const struct naive_rules *rules, const struct spread *s,
             const struct who *other)
{
    size_t keys = 0;

    if (rules->by_set)
        return other->meta->owners_len > 0 &&
               strcmp(w->meta->owners[0].kind, other->meta->owners[0].kind) == 0 &&
               strcmp(w->meta->owners[0].name, other->meta->owners[0].name) == 0;
    for (size_t i = 0; i < s->match_label_keys.len; i++) {
        const char *mine = naive_value(&w->meta->labels, s->match_label_keys.items[i]);
        const char *theirs = naive_value(&other->meta->labels, s->match_label_keys.items[i]);

        if (mine && (!theirs || strcmp(mine, theirs) != 0))
            return false;
        keys += mine != NULL;
    }
    if (!s->selector)
        return keys > 0;
    return naive_selects(s->selector, &other->meta->labels);
}

/* A selector that is there and empty selects everybody, and is counted as nobody. */
static bool
is_empty(const struct who *w, const struct naive_rules *rules, const struct spread *s)
{
    size_t keys = 0;

    for (size_t i = 0; i < s->match_label_keys.len; i++)
        keys += naive_value(&w->meta->labels, s->match_label_keys.items[i]) != NULL;
    return !rules->by_set && s->selector && s->selector->match_labels.len == 0 && keys == 0;
}

int64_t
naive_matching(const struct naive_cluster *c, const struct who *w, const struct naive_rules *rules,
               const struct spread *s, const struct node *n)
{
    int64_t count = 0;

    for (size_t i = 0; i < naive_others(c); i++) {
        struct who p = naive_other(c, i);

        count += !naive_same(&p, w) && !p.meta->deletion_us && naive_is_on(&p, n) &&
                 strcmp(p.meta->namespace_, w->meta->namespace_) == 0 && !is_empty(w, rules, s) &&
                 spread_takes(w, rules, s, &p);
    }
    return count;
}

bool
naive_has_keys(const struct naive_rules *rules, bool soft, const struct node *n)
{
    for (size_t i = 0; i < rules->len; i++)
        if (naive_is_soft(&rules->items[i]) == soft &&
            !naive_value(&n->meta.labels, rules->items[i].topology_key))
            return false;
    return true;
}

static int64_t
count_in_domain(const struct naive_cluster *c, const struct who *w, int source,
                const struct naive_rules *rules, const struct spread *s, const struct node *n)
{
    int64_t count = 0;

    for (size_t k = 0; k < c->nodes_len; k++)
        if (naive_same_domain(s->topology_key, n, &c->nodes[k]) &&
            naive_has_keys(rules, false, &c->nodes[k]) &&
            naive_counts(c, w, source, s, &c->nodes[k]))
            count += naive_matching(c, w, rules, s, &c->nodes[k]);
    return count;
}

bool
naive_spread_holds(const struct naive_cluster *c, const struct who *w, int source,
                   const struct node *n)
{
    struct naive_rules rules = naive_spreads(c, w);

    for (size_t i = 0; i < rules.len; i++) {
        const struct spread *s = &rules.items[i];
        int64_t least = INT64_MAX, self = spread_takes(w, &rules, s, w), domains = 0;

        if (naive_is_soft(s))
            continue;
        if (!naive_value(&n->meta.labels, s->topology_key))
            return false;
        for (size_t k = 0; k < c->nodes_len; k++) {
            const struct node *at = &c->nodes[k];
            bool first = true;
            int64_t count;

            if (!naive_has_keys(&rules, false, at) || !naive_counts(c, w, source, s, at))
                continue;
            for (size_t j = 0; j < k; j++)
                if (naive_same_domain(s->topology_key, at, &c->nodes[j]) &&
                    naive_has_keys(&rules, false, &c->nodes[j]) &&
                    naive_counts(c, w, source, s, &c->nodes[j]))
                    first = false;
            domains += first;
            count = count_in_domain(c, w, source, &rules, s, at);
            least = count < least ? count : least;
        }
        if (domains < (s->has_min_domains ? s->min_domains : 1))
            least = 0;
        if (count_in_domain(c, w, source, &rules, s, n) + self - least > s->max_skew)
            return false;
    }
    return true;
}
