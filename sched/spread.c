/* Topology spread; see spread.h. */
#include "sched/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "base/sb.h"
#include "sched/request.h"
#include "sched/topo.h"

struct spread_rules {
    const struct request *r;
    struct spread_rule *hard, *soft;
    size_t hard_len, soft_len;
};

static void compile(struct spread_rules *s, const struct spread *list, size_t len);
static void count_hard(struct spread_rules *s);
static void find_fewest(struct spread_rule *rule);
static void count_domains(const struct spread_rules *s, const struct spread_rule *rule,
                          struct topo *counts, bool known_only);
static bool has_all_keys(const struct spread_rule *rules, size_t len, const struct cluster_node *n);
static int64_t matching(const struct request *r, const struct spread_rule *rule,
                        const struct cluster_node *n);
static bool selects(const struct request *r, const struct spread_rule *rule,
                    const struct kv_list *labels);
static bool says_nothing(const struct request *r, const struct spread *s);
static bool is_hostname(const struct spread_rule *rule);

struct spread_rules *
spread_new(const struct request *r, const struct spread *list, size_t len)
{
    struct spread_rules *s = xcalloc(1, sizeof(*s));

    s->r = r;
    compile(s, list, len);
    if (!r->alone)
        count_hard(s);
    return s;
}

void
spread_free(struct spread_rules *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->hard_len; i++)
        topo_free(s->hard[i].counts);
    free(s->hard);
    free(s->soft);
    free(s);
}

const char *
spread_check(const struct spread_rules *s, const struct cluster_node *n)
{
    /* in the manifest's order: the first constraint that fails gives the reason */
    for (size_t i = 0; i < s->hard_len; i++) {
        const struct spread_rule *rule = &s->hard[i];
        int64_t here;

        if (!has_all_keys(rule, 1, n))
            return SPREAD_NO_KEY;
        here = topo_get(rule->counts, rule->s->topology_key, &n->labels);

        if (here + rule->self - rule->fewest > rule->s->max_skew)
            return "node(s) didn't match pod topology spread constraints";
    }
    return NULL;
}

const struct spread_rule *
spread_hard(const struct spread_rules *s, size_t *ret_len)
{
    *ret_len = s->hard_len;
    return s->hard;
}

const struct spread_rule *
spread_soft(const struct spread_rules *s, size_t *ret_len)
{
    *ret_len = s->soft_len;
    return s->soft;
}

void
spread_shift(struct spread_rules *s, const struct cluster_node *n, const struct occupant *o,
             int64_t by)
{
    if (!has_all_keys(s->hard, s->hard_len, n))
        return;
    for (size_t i = 0; i < s->hard_len; i++) {
        struct spread_rule *rule = &s->hard[i];

        if (!spread_rule_node(s->r, rule, n) || !spread_rule_counts(s->r, rule, o))
            continue;
        topo_add(rule->counts, rule->s->topology_key, &n->labels, by);
        find_fewest(rule);
    }
}

bool
spread_score(const struct spread_rules *s, const struct cluster_node *const *nodes,
             size_t nodes_len, int64_t *scores)
{
    AUTO_FREE double *sums = xcalloc(nodes_len + 1, sizeof(*sums));
    int64_t most = 0, fewest = INT64_MAX;
    size_t with_keys = 0;

    if (s->soft_len == 0)
        return false;
    for (size_t k = 0; k < nodes_len; k++)
        with_keys += has_all_keys(s->soft, s->soft_len, nodes[k]);
    for (size_t i = 0; i < s->soft_len; i++) {
        const struct spread_rule *rule = &s->soft[i];
        const char *key = rule->s->topology_key;
        struct topo *counts = topo_new();
        int64_t unused;
        size_t domains;
        double weight;

        for (size_t k = 0; k < nodes_len; k++)
            if (has_all_keys(s->soft, s->soft_len, nodes[k]))
                topo_add(counts, key, &nodes[k]->labels, 0);
        domains = is_hostname(rule) ? with_keys : topo_domains(counts, key, &unused);
        weight = log((double)(domains + 2));
        if (!is_hostname(rule))
            count_domains(s, rule, counts, true);
        for (size_t k = 0; k < nodes_len; k++) {
            int64_t n = is_hostname(rule) ? matching(s->r, rule, nodes[k])
                                          : topo_get(counts, key, &nodes[k]->labels);

            sums[k] += (double)n * weight + (double)(rule->s->max_skew - 1);
        }
        topo_free(counts);
    }
    for (size_t k = 0; k < nodes_len; k++) {
        scores[k] = -1; /* a key is missing: scores 0, and is no extreme */
        if (!has_all_keys(s->soft, s->soft_len, nodes[k]))
            continue;
        scores[k] = llround(sums[k]);
        most = scores[k] > most ? scores[k] : most;
        fewest = scores[k] < fewest ? scores[k] : fewest;
    }
    for (size_t k = 0; k < nodes_len; k++) {
        if (scores[k] < 0)
            scores[k] = 0;
        else if (most == 0)
            scores[k] = 100;
        else
            scores[k] = 100 * (most + fewest - scores[k]) / most;
    }
    return true;
}

static void
compile(struct spread_rules *s, const struct spread *list, size_t len)
{
    s->hard = xcalloc(len + 1, sizeof(*s->hard));
    s->soft = xcalloc(len + 1, sizeof(*s->soft));
    for (size_t i = 0; i < len; i++) {
        struct spread_rule rule = {.s = &list[i]};
        const char *affinity = list[i].node_affinity_policy, *taints = list[i].node_taints_policy;
        bool soft =
            list[i].when_unsatisfiable && strcmp(list[i].when_unsatisfiable, "ScheduleAnyway") == 0;

        rule.honor_affinity = !affinity || strcmp(affinity, "Ignore") != 0;
        rule.honor_taints = taints && strcmp(taints, "Honor") == 0;
        rule.self = selects(s->r, &rule, s->r->labels);
        rule.empty = says_nothing(s->r, &list[i]);
        if (soft)
            s->soft[s->soft_len++] = rule;
        else
            s->hard[s->hard_len++] = rule;
    }
}

static void
count_hard(struct spread_rules *s)
{
    for (size_t i = 0; i < s->hard_len; i++) {
        struct spread_rule *rule = &s->hard[i];

        rule->counts = topo_new();
        count_domains(s, rule, rule->counts, false);
        find_fewest(rule);
    }
}

static void
find_fewest(struct spread_rule *rule)
{
    int64_t min_domains = rule->s->has_min_domains ? rule->s->min_domains : 1;

    if ((int64_t)topo_domains(rule->counts, rule->s->topology_key, &rule->fewest) < min_domains)
        rule->fewest = 0;
}

/* Adds up the matching VMs by domain. known_only: only in domains that are there already (those of
 * feasible nodes), as scoring does. */
static void
count_domains(const struct spread_rules *s, const struct spread_rule *rule, struct topo *counts,
              bool known_only)
{
    const struct spread_rule *all = known_only ? s->soft : s->hard;
    size_t all_len = known_only ? s->soft_len : s->hard_len;

    for (size_t i = 0; i < s->r->c->nodes_len; i++) {
        const struct cluster_node *n = s->r->c->nodes[i];

        if (!has_all_keys(all, all_len, n) || !spread_rule_node(s->r, rule, n))
            continue;
        if (!known_only || topo_has(counts, rule->s->topology_key, &n->labels))
            topo_add(counts, rule->s->topology_key, &n->labels, matching(s->r, rule, n));
    }
}

static bool
has_all_keys(const struct spread_rule *rules, size_t len, const struct cluster_node *n)
{
    for (size_t i = 0; i < len; i++)
        if (!rules[i].s->topology_key || !node_labels_get(&n->labels, rules[i].s->topology_key))
            return false;
    return true;
}

bool
spread_rule_node(const struct request *r, const struct spread_rule *rule,
                 const struct cluster_node *n)
{
    return (!rule->honor_affinity || request_selects(r, n)) &&
           (!rule->honor_taints || !taint_first_untolerated(&r->tolerations, n->node));
}

static int64_t
matching(const struct request *r, const struct spread_rule *rule, const struct cluster_node *n)
{
    int64_t count = 0;

    if (rule->empty)
        return 0;
    for (const struct occupant *o = n->occupants; o; o = o->next)
        count += spread_rule_counts(r, rule, o);
    return count;
}

bool
spread_rule_counts(const struct request *r, const struct spread_rule *rule,
                   const struct occupant *o)
{
    for (const struct occupant *x = r->self; x; x = x->elsewhere)
        if (x == o)
            return false;
    return !rule->empty && !o->terminating && strcmp(o->ns, r->ns) == 0 &&
           selects(r, rule, o->labels);
}

static bool
selects(const struct request *r, const struct spread_rule *rule, const struct kv_list *labels)
{
    if (!label_selector_matches(rule->s->selector, labels))
        return false;
    for (size_t i = 0; rule->s->selector && i < rule->s->match_label_keys.len; i++) {
        const char *want = kv_get(r->labels, rule->s->match_label_keys.items[i]);
        const char *have = kv_get(labels, rule->s->match_label_keys.items[i]);

        if (want && (!have || strcmp(want, have) != 0))
            return false;
    }
    return true;
}

static bool
says_nothing(const struct request *r, const struct spread *s)
{
    for (size_t i = 0; i < s->match_label_keys.len; i++)
        if (kv_get(r->labels, s->match_label_keys.items[i]))
            return false;
    return s->selector && s->selector->match_labels.len == 0 && s->selector->exprs_len == 0;
}

static bool
is_hostname(const struct spread_rule *rule)
{
    return rule->s->topology_key && strcmp(rule->s->topology_key, LABEL_HOSTNAME) == 0;
}
