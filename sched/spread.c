/* Topology spread; see spread.h. */
#include "sched/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "base/sb.h"
#include "sched/profile.h"
#include "sched/request.h"
#include "sched/topo.h"

struct spread_rules {
    const struct request *r;
    struct spread_rule *hard, *soft;
    size_t hard_len, soft_len;
    bool some_keys; /* nodes need not have the keys of all soft rules */
};

static void compile(struct spread_rules *s, const struct spread *list, size_t len,
                    const struct owner_ref *set);
static void add_soft(const struct spread_rules *s, const struct spread_rule *rule,
                     const struct cluster_node *const *nodes, size_t nodes_len, double *sums);
static bool is_scored(const struct spread_rules *s, const struct cluster_node *n);
static const struct owner_ref *set_of(const struct occupant *o);
static bool same_set(const struct owner_ref *a, const struct owner_ref *b);
static int64_t bounded(int64_t n, int64_t least);
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
    const struct profile *p = r->c->profile;

    s->r = r;
    if (len > 0) {
        compile(s, list, len, NULL);
    } else {
        s->some_keys = p->system_defaulting;
        compile(s, p->default_constraints, r->set ? p->default_constraints_len : 0, r->set);
    }
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

        if (here + rule->self - rule->fewest > rule->max_skew)
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

    if (s->soft_len == 0)
        return false;
    for (size_t i = 0; i < s->soft_len; i++)
        add_soft(s, &s->soft[i], nodes, nodes_len, sums);
    for (size_t k = 0; k < nodes_len; k++) {
        scores[k] = -1; /* a key is missing: scores 0, and is no extreme */
        if (!is_scored(s, nodes[k]))
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

const struct owner_ref *
spread_set_of(const struct meta *m)
{
    static const char *const kinds[] = {"ReplicaSet", "ReplicationController", "StatefulSet",
                                        "VirtualMachineInstanceReplicaSet"};

    for (size_t i = 0; i < m->owners_len; i++)
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            if (m->owners[i].controller && m->owners[i].kind &&
                strcmp(m->owners[i].kind, kinds[k]) == 0)
                return &m->owners[i];
    return NULL;
}

/* Adds what one constraint says to the sums: more where more run, and a domain counts more the more
 * there are. Hosts are counted one by one, and with no regard to node affinity and taints. */
static void
add_soft(const struct spread_rules *s, const struct spread_rule *rule,
         const struct cluster_node *const *nodes, size_t nodes_len, double *sums)
{
    const char *key = rule->s->topology_key;
    struct topo *counts = topo_new();
    size_t scored = 0, domains, keyless = 0;
    int64_t unused;
    double weight;

    for (size_t k = 0; k < nodes_len; k++) {
        if (!is_scored(s, nodes[k]))
            continue;
        scored++;
        topo_add(counts, key, &nodes[k]->labels, 0);
        keyless += !has_all_keys(rule, 1, nodes[k]);
    }
    /* nodes without the key are one domain more, and get nothing from it */
    domains = is_hostname(rule) ? scored : topo_domains(counts, key, &unused) + (keyless > 0);
    weight = log((double)(domains + 2));
    if (!is_hostname(rule))
        count_domains(s, rule, counts, true);
    for (size_t k = 0; k < nodes_len; k++) {
        int64_t n;

        if (!has_all_keys(rule, 1, nodes[k]))
            continue;
        n = is_hostname(rule) ? matching(s->r, rule, nodes[k])
                              : topo_get(counts, key, &nodes[k]->labels);
        sums[k] += (double)n * weight + (double)(rule->max_skew - 1);
    }
    topo_free(counts);
}

static void
compile(struct spread_rules *s, const struct spread *list, size_t len, const struct owner_ref *set)
{
    s->hard = xcalloc(len + 1, sizeof(*s->hard));
    s->soft = xcalloc(len + 1, sizeof(*s->soft));
    for (size_t i = 0; i < len; i++) {
        struct spread_rule rule = {.s = &list[i], .set = set};
        const char *affinity = list[i].node_affinity_policy, *taints = list[i].node_taints_policy;
        bool soft =
            list[i].when_unsatisfiable && strcmp(list[i].when_unsatisfiable, "ScheduleAnyway") == 0;

        /* as upstream's type, whatever comes */
        rule.max_skew = bounded(list[i].max_skew, soft ? 1 : INT32_MIN);
        rule.honor_affinity = !affinity || strcmp(affinity, "Ignore") != 0;
        rule.honor_taints = taints && strcmp(taints, "Honor") == 0;
        rule.self = set || selects(s->r, &rule, s->r->labels);
        rule.empty = !set && says_nothing(s->r, &list[i]);
        if (soft)
            s->soft[s->soft_len++] = rule;
        else
            s->hard[s->hard_len++] = rule;
    }
}

static int64_t
bounded(int64_t n, int64_t least)
{
    return n < least ? least : n > INT32_MAX ? INT32_MAX : n;
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
    for (size_t i = 0; i < s->r->c->nodes_len; i++) {
        const struct cluster_node *n = s->r->c->nodes[i];

        if (!(known_only ? is_scored(s, n) : has_all_keys(s->hard, s->hard_len, n)) ||
            !spread_rule_node(s->r, rule, n))
            continue;
        if (!known_only || topo_has(counts, rule->s->topology_key, &n->labels))
            topo_add(counts, rule->s->topology_key, &n->labels, matching(s->r, rule, n));
    }
}

static bool
is_scored(const struct spread_rules *s, const struct cluster_node *n)
{
    return s->some_keys || has_all_keys(s->soft, s->soft_len, n);
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
           (rule->set ? same_set(rule->set, set_of(o)) : selects(r, rule, o->labels));
}

static const struct owner_ref *
set_of(const struct occupant *o)
{
    return spread_set_of(o->is_pod ? &((const struct pod *)o->object)->meta
                                   : &((const struct vmi *)o->object)->meta);
}

static bool
same_set(const struct owner_ref *a, const struct owner_ref *b)
{
    return b && strcmp(a->kind, b->kind) == 0 && a->name && b->name &&
           strcmp(a->name, b->name) == 0;
}

static bool
selects(const struct request *r, const struct spread_rule *rule, const struct kv_list *labels)
{
    bool any = false;

    for (size_t i = 0; i < rule->s->match_label_keys.len; i++) {
        const char *want = kv_get(r->labels, rule->s->match_label_keys.items[i]);
        const char *have = kv_get(labels, rule->s->match_label_keys.items[i]);

        if (want && (!have || strcmp(want, have) != 0))
            return false;
        any = any || want;
    }
    /* no selector selects nobody, but keys make one */
    return rule->s->selector ? label_selector_matches(rule->s->selector, labels) : any;
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
