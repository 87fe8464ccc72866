/* A class from its request: what shapes of nodes it takes and how it likes them, whom it counts,
 * and the counts. All rules are asked of the plain filters and of peers.c and spread.c. */
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "sched/fast_priv.h"
#include "sched/filter.h"
#include "sched/profile.h"
#include "sched/workload.h"

#define SOURCE_TEXT "node(s) were the source of the migration"

static bool read_keys(struct fast_class *k, struct fast *f, const struct request *r);
static bool read_terms(struct fast_class *k, struct fast *f, const struct node_terms *t);
static bool read_clauses(struct fast_class *k, struct fast *f, const struct node_clause *l,
                         size_t len);
static void read_key(struct fast *f, const char *key);
static bool name_host(struct fast_class *k, struct fast *f, const char *key, const char *value);
static bool add_special(struct fast_class *k, uint32_t row);
static bool compile_need(struct fast_class *k, struct fast *f, const struct request *r);
static bool compile_rules(struct fast_class *k, struct fast *f, const struct request *r);
static void compile_counts(struct fast_class *k, struct fast *f, const struct request *r);
static bool compile_near(struct fast_class *k, struct fast *f, const struct affinity *a);
static uint32_t find_counter(struct fast_class *k, struct fast *f, enum fast_what what,
                             const char *key);
static uint32_t add_counter(struct fast_class *k, struct fast *f, struct fast_counter c);
static void add_share(struct fast_class *k, uint32_t counter, int64_t n);
static void find_fewest(struct fast_counter *c);
static uint32_t add_reason(struct fast_class *k, const struct str_list *texts, bool pinned_out);
static int32_t add_tuple(struct fast_class *k, struct fast_tuple t);

const struct request *
fast_compiled(struct fast_ask *ask)
{
    if (ask->arena)
        return &ask->r;
    ask->arena = arena_new();
    ask->why = request_compile_alone(&ask->r, ask->f->c, ask->rq, ask->arena);
    /* those two are the decision's, not the class' */
    ask->r.self = NULL;
    ask->r.source_name = "";
    return &ask->r;
}

void
fast_compile(struct fast_class *k, struct fast_ask *ask)
{
    struct fast *f = ask->f;
    const struct request *r = fast_compiled(ask);
    const struct affinity *a = ask->rq->pod ? &ask->rq->pod->affinity : NULL;
    struct affinity *both;
    struct str_list source = {.items = (const char *[]){SOURCE_TEXT}, .len = 1};

    fast_compile_drop(k);
    if (ask->why) {
        k->why = xstrdup(ask->why);
        return;
    }
    if (!a)
        a = workload_affinity(f->c->hco, &ask->rq->vmi->spec.affinity, ask->arena, &both);
    k->migrate = r->migrate;
    k->needs_network = r->needs_network;
    k->pinned = r->nodes.pinned;
    k->conflict = r->nodes.pinned && r->nodes.pins.len == 0;
    /* a reason that names the source is not the class' alone */
    k->plain = r->cpu.impossible || !read_keys(k, f, r) || !compile_need(k, f, r) ||
               !compile_rules(k, f, r) || !compile_near(k, f, a);
    if (k->plain)
        return;
    k->source_reason = add_reason(k, &source, false);
    k->near_itself = peers_near_itself(r->peers);
    k->verdicts_len = f->shapes_cap;
    k->verdicts = xreallocarray(NULL, k->verdicts_len + 1, sizeof(*k->verdicts));
    memset(k->verdicts, 0xff, k->verdicts_len * sizeof(*k->verdicts));
    for (size_t i = 0; i < k->specials_len; i++)
        k->specials[i].verdict = -1;
    compile_counts(k, f, r);
    if (!f->kinds_on)
        return;
    for (uint32_t i = 0; i < f->kinds_len && !k->plain; i++) {
        const struct fast_kind *kind = &f->kinds[i];
        uint32_t at;

        if (!kind->first)
            continue;
        at = fast_compile_shares(k, ask, i);
        for (const struct occupant *o = kind->first; o && k->shares[at].n > 0; o = o->kind_next)
            for (int64_t s = 1; s <= k->shares[at].n && o->node->row != CLUSTER_NO_ROW; s++)
                fast_compile_add(k, f, &k->counters[k->shares[at + (size_t)s].counter],
                                 o->node->row, k->shares[at + (size_t)s].n);
    }
    for (size_t i = 0; i < k->counters_len; i++)
        find_fewest(&k->counters[i]);
}

void
fast_compile_drop(struct fast_class *k)
{
    for (size_t i = 0; i < k->counters_len; i++) {
        free(k->counters[i].count);
        free(k->counters[i].known);
    }
    for (size_t i = 0; i < k->reasons_len; i++) {
        for (size_t t = 0; t < k->reasons[i].len; t++)
            free(k->reasons[i].texts[t]);
        free(k->reasons[i].texts);
    }
    free(k->counters);
    free(k->reasons);
    free(k->tuples);
    free(k->verdicts);
    free(k->counts);
    free(k->kind_shares);
    free(k->shares);
    free(k->why);
    need_drop(&k->need);
    k->counters = NULL;
    k->reasons = NULL;
    k->tuples = NULL;
    k->verdicts = NULL;
    k->counts = NULL;
    k->kind_shares = NULL;
    k->shares = NULL;
    k->why = NULL;
    k->counters_len = k->reasons_len = k->tuples_len = k->verdicts_len = 0;
    k->kinds_len = k->shares_len = k->shares_cap = 0;
    k->specials_len = k->extras_len = k->coarse_len = k->hard_len = k->soft_len = 0;
    k->near_sum = 0;
    k->plain = k->relabel = k->fine_scores = k->keyed = k->has_near = false;
}

/* What the filters before room say of the row, and what they like about it. */
int32_t
fast_compile_verdict(struct fast_class *k, struct fast_ask *ask, uint32_t row)
{
    struct fast *f = ask->f;
    const struct cluster_node *n = f->nodes[row];
    uint32_t shape = f->shape_of[row];
    int32_t *verdict = NULL;
    const struct request *r;
    struct str_list reasons = {0};

    for (size_t i = 0; i < k->specials_len; i++) {
        struct fast_special *s = &k->specials[i];

        if (s->row != row)
            continue;
        s->verdict = s->shape == shape ? s->verdict : -1;
        s->shape = shape;
        verdict = &s->verdict;
        break;
    }
    if (!verdict && shape >= k->verdicts_len) {
        size_t len = f->shapes_cap;

        k->verdicts = xreallocarray(k->verdicts, len, sizeof(*k->verdicts));
        memset(k->verdicts + k->verdicts_len, 0xff, (len - k->verdicts_len) * sizeof(*k->verdicts));
        k->verdicts_len = len;
    }
    if (!verdict)
        verdict = &k->verdicts[shape];
    if (*verdict != -1)
        return *verdict;
    r = fast_compiled(ask);
    if (filter_static(r, n, &reasons))
        *verdict =
            add_tuple(k, (struct fast_tuple){
                             .taints = taint_count_soft(&r->tolerations, n->node),
                             .preferred = node_terms_weight(&r->preferred, &n->labels, n->name),
                             .network = r->needs_network && n->no_network,
                         });
    else
        *verdict = -2 - (int32_t)add_reason(
                            k, &reasons, r->nodes.pinned && !node_terms_pins(&r->nodes, n->name));
    return *verdict;
}

uint32_t
fast_compile_shares(struct fast_class *k, struct fast_ask *ask, uint32_t kind)
{
    static const enum fast_what whats[PEERS_WHATS] = {[PEERS_WANTED] = FAST_C_NEAR,
                                                      [PEERS_AVOIDED] = FAST_C_AVOIDED,
                                                      [PEERS_GUARDED] = FAST_C_GUARDED,
                                                      [PEERS_SCORE] = FAST_C_SCORE};
    struct fast *f = ask->f;
    const struct occupant *o = f->kinds[kind].first;
    struct peers_shares l = {0};
    const struct request *r;
    const struct spread_rule *rules;
    size_t len, at;

    if (kind >= k->kinds_len) {
        size_t cap = f->kinds_cap;

        k->kind_shares = xreallocarray(k->kind_shares, cap, sizeof(*k->kind_shares));
        memset(k->kind_shares + k->kinds_len, 0, (cap - k->kinds_len) * sizeof(*k->kind_shares));
        k->kinds_len = cap;
    }
    if (k->kind_shares[kind] != 0)
        return k->kind_shares[kind] - 1;
    if (k->shares_len == 0)
        add_share(k, 0, 0);
    if (!o) /* it came and went: nothing to count */
        return 0;
    at = k->shares_len;
    add_share(k, 0, 0);
    r = fast_compiled(ask);
    peers_shares(r->peers, o, &l);
    for (size_t i = 0; i < l.len; i++)
        if (l.items[i].n != 0)
            add_share(k, find_counter(k, f, whats[l.items[i].what], l.items[i].key), l.items[i].n);
    free(l.items);
    rules = spread_hard(r->spread, &len);
    for (size_t i = 0; i < len; i++)
        if (spread_rule_counts(r, &rules[i], o))
            add_share(k, k->hard[i].counter, 1);
    rules = spread_soft(r->spread, &len);
    for (size_t i = 0; i < len; i++)
        if (spread_rule_counts(r, &rules[i], o))
            add_share(k, k->soft[i].counter, 1);
    k->shares[at].n = (int64_t)(k->shares_len - at - 1);
    k->kind_shares[kind] = (uint32_t)at + 1;
    return (uint32_t)at;
}

bool
fast_compile_add(struct fast_class *k, const struct fast *f, struct fast_counter *c, uint32_t row,
                 int64_t n)
{
    uint32_t dom = c->by_row ? row : f->topos[c->topo].dom[row];
    int64_t old;

    if (dom == FAST_NONE)
        return false;
    if (c->what == FAST_C_HARD && !(k->counts[row] & 1u << c->rule))
        return false;
    if (c->what == FAST_C_SOFT && !c->by_row && !(k->counts[row] & 16u << c->rule))
        return false;
    if (c->what == FAST_C_NEAR)
        k->near_sum += n;
    if (dom >= c->cap) {
        uint32_t cap = c->by_row ? (uint32_t)f->rows_cap : f->topos[c->topo].cap;

        c->count = xreallocarray(c->count, cap, sizeof(*c->count));
        memset(c->count + c->cap, 0, (cap - c->cap) * sizeof(*c->count));
        c->cap = cap;
    }
    old = c->count[dom];
    c->count[dom] += n;
    if (c->what == FAST_C_HARD && c->coarse < 0 && c->fewest_doms > 0) {
        int64_t fewest = c->fewest;

        if (old == fewest)
            c->fewest_doms--;
        if (c->count[dom] == fewest)
            c->fewest_doms++;
        if (c->count[dom] < fewest || c->fewest_doms == 0)
            find_fewest(c);
        k->relabel = k->relabel || c->fewest != fewest;
    }
    return c->coarse < 0;
}

/* Notes which labels of nodes the request reads, and which nodes it names. False: not for us. */
static bool
read_keys(struct fast_class *k, struct fast *f, const struct request *r)
{
    bool fine = read_terms(k, f, &r->nodes) && read_terms(k, f, &r->workload) &&
                read_terms(k, f, &r->enforced) &&
                read_clauses(k, f, r->preferred.items, r->preferred.len) &&
                (!r->target || name_host(k, f, NULL, r->target));

    if (f->node_keys_grew) {
        fast_rows_refresh(f);
        /* rows have moved on: name them again */
        k->specials_len = 0;
        return fine && read_keys(k, f, r);
    }
    return fine;
}

static bool
read_terms(struct fast_class *k, struct fast *f, const struct node_terms *t)
{
    for (size_t s = 0; s < ARRAY_LEN(t->selectors); s++) {
        for (size_t i = 0; t->selectors[s] && i < t->selectors[s]->len; i++) {
            const struct kv *kv = &t->selectors[s]->items[i];

            read_key(f, kv->key);
            if (strcmp(kv->key, LABEL_HOSTNAME) == 0 && !name_host(k, f, kv->key, kv->value))
                return false;
        }
    }
    return read_clauses(k, f, t->required, t->required_len);
}

static bool
read_clauses(struct fast_class *k, struct fast *f, const struct node_clause *l, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        for (size_t j = 0; j < l[i].rules_len; j++) {
            const struct node_rule *rule = &l[i].rules[j];

            if (rule->key)
                read_key(f, rule->key);
            if (rule->key && strcmp(rule->key, LABEL_HOSTNAME) != 0)
                continue;
            if (rule->op == SEL_GT || rule->op == SEL_LT)
                return false;
            for (size_t v = 0; v < rule->values->len; v++)
                if (!name_host(k, f, rule->key, rule->values->items[v]))
                    return false;
        }
    }
    return true;
}

static void
read_key(struct fast *f, const char *key)
{
    if (strmap_get(f->node_keys, key))
        return;
    strmap_put(f->node_keys, key, f);
    f->node_keys_grew = true;
}

/* The nodes of that name (key NULL) or host name are looked at one by one. */
static bool
name_host(struct fast_class *k, struct fast *f, const char *key, const char *value)
{
    const struct cluster_node *n;
    const struct fast_topo *t;
    uint32_t dom, topo;

    if (!key) {
        n = cluster_find(f->c, value);
        return !n || n->row == CLUSTER_NO_ROW || add_special(k, n->row);
    }
    topo = fast_rows_topo(f, key);
    t = &f->topos[topo];
    dom = value ? (uint32_t)(uintptr_t)strmap_get(t->values, value) : 0;
    if (dom == 0)
        return true;
    for (uint32_t row = t->head[dom - 1]; row != FAST_NONE; row = t->next[row])
        if (!add_special(k, row))
            return false;
    return true;
}

static bool
add_special(struct fast_class *k, uint32_t row)
{
    for (size_t i = 0; i < k->specials_len; i++)
        if (k->specials[i].row == row)
            return true;
    if (k->specials_len == FAST_SPECIALS)
        return false;
    k->specials[k->specials_len++] = (struct fast_special){.row = row, .verdict = -1};
    return true;
}

static bool
compile_need(struct fast_class *k, struct fast *f, const struct request *r)
{
    k->need = r->need;
    need_keep(&k->need, f->c->names);
    if (r->need.ephemeral_bytes > 0) {
        k->extra[k->extras_len] = fast_rows_extra(f, NULL, false);
        k->want[k->extras_len++] = r->need.ephemeral_bytes;
    }
    for (size_t i = 0; i < r->need.extras_len; i++) {
        const struct need_extra *e = &r->need.extras[i];

        if (e->value <= 0 || profile_ignores(f->c->profile, e->name))
            continue;
        if (k->extras_len == FAST_EXTRAS)
            return false;
        k->extra[k->extras_len] = fast_rows_extra(f, e->name, e->if_listed);
        k->want[k->extras_len++] = e->value;
    }
    return true;
}

static bool
compile_rules(struct fast_class *k, struct fast *f, const struct request *r)
{
    for (int soft = 0; soft < 2; soft++) {
        size_t len;
        const struct spread_rule *l =
            soft ? spread_soft(r->spread, &len) : spread_hard(r->spread, &len);

        if (len > FAST_RULES)
            return false;
        for (size_t i = 0; i < len; i++) {
            const struct spread *s = l[i].s;
            struct fast_rule *rule = soft ? &k->soft[i] : &k->hard[i];

            if (!s->topology_key)
                return false;
            *rule = (struct fast_rule){
                .max_skew = l[i].max_skew,
                .min_domains = s->has_min_domains ? s->min_domains : 1,
                .self = l[i].self,
                .hostname = soft && strcmp(s->topology_key, LABEL_HOSTNAME) == 0,
                .topo = fast_rows_topo(f, s->topology_key),
            };
            /* its domains among the nodes that fit would have to be counted */
            if (soft && !rule->hostname && f->topos[rule->topo].fine)
                return false;
            rule->counter =
                add_counter(k, f,
                            (struct fast_counter){.what = soft ? FAST_C_SOFT : FAST_C_HARD,
                                                  .rule = (uint8_t)i,
                                                  .by_row = rule->hostname,
                                                  .topo = rule->hostname ? FAST_NONE : rule->topo});
        }
        k->soft_len = soft ? len : 0;
        k->hard_len = soft ? k->hard_len : len;
    }
    k->keyed = k->keyed || k->soft_len > 0;
    return true;
}

static bool
compile_near(struct fast_class *k, struct fast *f, const struct affinity *a)
{
    k->has_near = a->pod_required_len > 0;
    for (size_t i = 0; i < a->pod_required_len; i++) {
        if (!a->pod_required[i].topology_key)
            return false;
        find_counter(k, f, FAST_C_NEAR, a->pod_required[i].topology_key);
    }
    return true;
}

/* Which rows count for which constraint. */
static void
compile_counts(struct fast_class *k, struct fast *f, const struct request *r)
{
    AUTO_FREE int16_t *by_shape = NULL;
    size_t hard_len, soft_len;
    const struct spread_rule *hard = spread_hard(r->spread, &hard_len);
    const struct spread_rule *soft = spread_soft(r->spread, &soft_len);

    if (hard_len + soft_len == 0)
        return;
    by_shape = xreallocarray(NULL, f->shapes_len + 1, sizeof(*by_shape));
    memset(by_shape, 0xff, f->shapes_len * sizeof(*by_shape));
    k->counts = xcalloc(f->rows_cap + 1, 1);
    for (size_t i = 0; i < hard_len; i++)
        k->counters[k->hard[i].counter].known =
            xcalloc(f->topos[k->hard[i].topo].doms + 1, sizeof(uint32_t));
    for (uint32_t row = 0; row < f->rows_len; row++) {
        int16_t bits = -1, *known = &by_shape[f->shape_of[row]];
        unsigned keys = 0;

        if (!f->nodes[row])
            continue;
        for (size_t i = 0; i < k->specials_len; i++)
            if (k->specials[i].row == row)
                known = &bits;
        if (*known < 0) {
            bits = 0;
            for (size_t i = 0; i < hard_len; i++)
                bits |= (int16_t)(spread_rule_node(r, &hard[i], f->nodes[row]) << i);
            for (size_t i = 0; i < soft_len; i++)
                bits |= (int16_t)(spread_rule_node(r, &soft[i], f->nodes[row]) << (4 + i));
            *known = bits;
        }
        for (size_t i = 0; i < hard_len; i++)
            if (f->topos[k->hard[i].topo].dom[row] == FAST_NONE)
                keys |= 15;
        for (size_t i = 0; i < soft_len; i++)
            if (f->topos[k->soft[i].topo].dom[row] == FAST_NONE)
                keys |= 240;
        k->counts[row] = (uint8_t)((unsigned)*known & ~keys);
        for (size_t i = 0; i < hard_len; i++)
            if (k->counts[row] & 1u << i)
                k->counters[k->hard[i].counter].known[f->topos[k->hard[i].topo].dom[row]]++;
    }
    for (size_t i = 0; i < hard_len; i++) { /* room for all domains from the start */
        struct fast_counter *c = &k->counters[k->hard[i].counter];

        c->cap = f->topos[c->topo].doms;
        c->count = xcalloc(c->cap + 1, sizeof(*c->count));
        for (uint32_t d = 0; d < c->cap; d++)
            c->known_doms += c->known[d] > 0;
    }
}

static uint32_t
find_counter(struct fast_class *k, struct fast *f, enum fast_what what, const char *key)
{
    uint32_t topo = fast_rows_topo(f, key);

    for (uint32_t i = 0; i < k->counters_len; i++)
        if (k->counters[i].what == what && k->counters[i].topo == topo)
            return i;
    return add_counter(k, f, (struct fast_counter){.what = what, .topo = topo});
}

static uint32_t
add_counter(struct fast_class *k, struct fast *f, struct fast_counter c)
{
    if (k->counters_len == FAST_COUNTERS) {
        k->plain = true;
        return 0;
    }
    c.coarse = -1;
    if (!c.by_row && !f->topos[c.topo].fine) {
        size_t at = 0;

        while (at < k->coarse_len && k->coarse[at] != c.topo)
            at++;
        if (at == FAST_KEY - 1 - FAST_RULES) {
            k->plain = true;
            at = 0;
        }
        if (at == k->coarse_len)
            k->coarse[k->coarse_len++] = c.topo;
        c.coarse = (int32_t)at;
    } else if (c.what == FAST_C_SCORE) {
        k->fine_scores = true;
    }
    k->keyed = k->relabel = true;
    k->counters = xreallocarray(k->counters, k->counters_len + 1, sizeof(*k->counters));
    k->counters[k->counters_len] = c;
    return (uint32_t)k->counters_len++;
}

static void
add_share(struct fast_class *k, uint32_t counter, int64_t n)
{
    if (k->shares_len == k->shares_cap) {
        k->shares_cap = k->shares_cap ? 2 * k->shares_cap : 8;
        k->shares = xreallocarray(k->shares, k->shares_cap, sizeof(*k->shares));
    }
    k->shares[k->shares_len++] = (struct fast_share){counter, n};
}

/* Of a constraint whose rows are told apart by counts. */
static void
find_fewest(struct fast_counter *c)
{
    bool first = true;

    if (c->what != FAST_C_HARD)
        return;
    c->fewest = c->fewest_doms = 0;
    for (uint32_t d = 0; d < c->cap; d++) {
        if (c->known[d] == 0)
            continue;
        if (first || c->count[d] < c->fewest) {
            c->fewest = c->count[d];
            c->fewest_doms = 0;
        }
        c->fewest_doms += c->count[d] == c->fewest;
        first = false;
    }
}

static uint32_t
add_reason(struct fast_class *k, const struct str_list *texts, bool pinned_out)
{
    struct fast_reason *r;

    for (uint32_t i = 0; i < k->reasons_len; i++) {
        size_t same = 0;

        r = &k->reasons[i];
        while (same < r->len && same < texts->len &&
               strcmp(r->texts[same], texts->items[same]) == 0)
            same++;
        if (same == r->len && same == texts->len && r->pinned_out == pinned_out)
            return i;
    }
    k->reasons = xreallocarray(k->reasons, k->reasons_len + 1, sizeof(*k->reasons));
    r = &k->reasons[k->reasons_len];
    *r = (struct fast_reason){.len = texts->len, .pinned_out = pinned_out};
    r->texts = xcalloc(texts->len + 1, sizeof(char *));
    for (size_t i = 0; i < texts->len; i++)
        r->texts[i] = xstrdup(texts->items[i]);
    return (uint32_t)k->reasons_len++;
}

static int32_t
add_tuple(struct fast_class *k, struct fast_tuple t)
{
    for (size_t i = 0; i < k->tuples_len; i++)
        if (k->tuples[i].taints == t.taints && k->tuples[i].preferred == t.preferred &&
            k->tuples[i].network == t.network)
            return (int32_t)i;
    k->tuples = xreallocarray(k->tuples, k->tuples_len + 1, sizeof(*k->tuples));
    k->tuples[k->tuples_len] = t;
    return (int32_t)k->tuples_len++;
}
