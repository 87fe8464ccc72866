/* The best group of a class, and the message when there is none: what is alike in a group is
 * computed once, from the counters of its domains; scores that are relative to the other nodes
 * that fit, last. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/explain.h"
#include "sched/fast_priv.h"
#include "sched/filter.h"
#include "sched/profile.h"
#include "sched/score.h"

#define SKEW_TEXT    "node(s) didn't match pod topology spread constraints"
#define AVOIDED_TEXT "node(s) didn't match pod anti-affinity rules"
#define GUARDED_TEXT "node(s) didn't satisfy existing pods anti-affinity rules"

struct extremes { /* among the groups that fit */
    int64_t taints, preferred;
    int64_t peers_least, peers_most;
    int64_t spread_least, spread_most;
};

struct view { /* of a group, in this decision */
    uint32_t refused;
    int64_t peers, spread; /* spread -1: a key is missing */
};

struct part { /* of the message */
    const char *text;
    int64_t rows;
};

static uint32_t refusal(const struct fast_class *k, const struct fast_group *g,
                        const int64_t *fewest, bool alone);
static int64_t peers_of(const struct fast_class *k, const struct fast_group *g);
static void spread_of(const struct fast *f, const struct fast_class *k, struct view *views);
static int64_t total_of(const struct fast *f, const struct fast_class *k,
                        const struct fast_group *g, const struct view *v, const struct extremes *x,
                        int64_t scores[PLACE_PLUGINS]);
static void explain(struct fast *f, const struct fast_class *k, const struct view *views);
static void add_part(struct part *parts, size_t *len, const char *text, int64_t rows);
static const char *refusal_text(uint32_t refused);
static int64_t count_of(const struct fast_counter *c, const struct fast_group *g);

void
fast_decide(struct fast *f, struct fast_class *k, struct fast_decision *ret)
{
    struct view views[FAST_GROUPS];
    struct extremes x = {
        .peers_least = INT64_MAX, .peers_most = INT64_MIN, .spread_least = INT64_MAX};
    int64_t fewest[FAST_RULES], most = INT64_MIN;
    bool alone = k->has_near && k->near_sum == 0 && k->near_itself;
    uint32_t first = FAST_NONE;

    for (size_t i = 0; i < k->hard_len; i++)
        fewest[i] = fast_fewest(&k->hard[i], &k->counters[k->hard[i].counter]);
    for (size_t i = 0; i < k->groups_len; i++) {
        const struct fast_group *g = &k->groups[i];
        struct view *v = &views[i];

        f->group_total[i] = INT64_MIN;
        if (g->rows == 0)
            continue;
        *v = (struct view){.refused = refusal(k, g, fewest, alone)};
        if (v->refused)
            continue;
        ret->fits_len += g->rows;
        v->peers = peers_of(k, g);
        x.peers_least = v->peers < x.peers_least ? v->peers : x.peers_least;
        x.peers_most = v->peers > x.peers_most ? v->peers : x.peers_most;
        if (k->tuples[g->tuple].taints > x.taints)
            x.taints = k->tuples[g->tuple].taints;
        if (k->tuples[g->tuple].preferred > x.preferred)
            x.preferred = k->tuples[g->tuple].preferred;
    }
    if (ret->fits_len == 0) {
        explain(f, k, views);
        ret->message = sb_str(&f->message);
        return;
    }
    if (k->soft_len > 0) {
        spread_of(f, k, views);
        for (size_t i = 0; i < k->groups_len; i++) {
            if (k->groups[i].rows == 0 || views[i].refused || views[i].spread < 0)
                continue;
            if (views[i].spread > x.spread_most)
                x.spread_most = views[i].spread;
            if (views[i].spread < x.spread_least)
                x.spread_least = views[i].spread;
        }
    }
    for (size_t i = 0; i < k->groups_len; i++) {
        struct fast_group *g = &k->groups[i];
        int64_t scores[PLACE_PLUGINS] = {0};

        if (g->rows == 0 || views[i].refused)
            continue;
        fast_group_best(f, k, g);
        f->group_total[i] = total_of(f, k, g, &views[i], &x, scores);
        if (f->group_total[i] > most) {
            most = f->group_total[i];
            ret->best_len = 0;
            first = FAST_NONE;
        }
        if (f->group_total[i] == most) {
            ret->best_len += g->most_rows;
            if (g->first < first) {
                first = g->first;
                memcpy(f->last_scores, scores, sizeof(scores));
            }
        }
    }
    f->last_total = most;
    f->last_row = first;
    ret->node = f->nodes[first]->name;
    ret->total = most;
    ret->score = score_of_total(f->c->profile, most);
}

bool
fast_skewed(const struct fast_rule *rule, int64_t here, int64_t fewest)
{
    return here + rule->self - fewest > rule->max_skew;
}

int64_t
fast_fewest(const struct fast_rule *rule, const struct fast_counter *c)
{
    int64_t fewest = 0;
    bool first = true;

    if ((int64_t)c->known_doms < rule->min_domains)
        return 0;
    if (c->coarse < 0)
        return c->fewest;
    for (uint32_t d = 0; d < c->cap; d++) {
        if (c->known[d] == 0)
            continue;
        fewest = first || c->count[d] < fewest ? c->count[d] : fewest;
        first = false;
    }
    return fewest;
}

/* Why the group does not do, all bits. alone: the newcomer is the first of its kind. */
static uint32_t
refusal(const struct fast_class *k, const struct fast_group *g, const int64_t *fewest, bool alone)
{
    uint32_t mask = g->mask;

    for (size_t i = 0; i < k->counters_len; i++) {
        const struct fast_counter *c = &k->counters[i];
        int64_t n;

        if (c->coarse < 0 || g->key[c->coarse] < 0)
            continue;
        n = count_of(c, g);
        if (c->what == FAST_C_NEAR && n <= 0)
            mask |= FAST_NEAR;
        else if (c->what == FAST_C_AVOIDED && n > 0)
            mask |= FAST_AVOIDED;
        else if (c->what == FAST_C_GUARDED && n > 0)
            mask |= FAST_GUARDED;
        else if (c->what == FAST_C_HARD && fast_skewed(&k->hard[c->rule], n, fewest[c->rule]))
            mask |= FAST_SPREAD_SKEW(c->rule);
    }
    if (alone)
        mask &= ~FAST_NEAR;
    return mask & FAST_REFUSED;
}

static int64_t
peers_of(const struct fast_class *k, const struct fast_group *g)
{
    int64_t sum = k->fine_scores ? g->key[k->coarse_len] : 0;

    for (size_t i = 0; i < k->counters_len; i++)
        if (k->counters[i].what == FAST_C_SCORE && k->counters[i].coarse >= 0)
            sum += count_of(&k->counters[i], g);
    return sum;
}

static int64_t
count_of(const struct fast_counter *c, const struct fast_group *g)
{
    int64_t dom = g->key[c->coarse];

    return dom >= 0 && dom < (int64_t)c->cap ? c->count[dom] : 0;
}

/* As spread_score, by groups. */
static void
spread_of(const struct fast *f, const struct fast_class *k, struct view *views)
{
    double sums[FAST_GROUPS] = {0};
    size_t fine_at = k->coarse_len + k->fine_scores, with_keys = 0;

    for (size_t i = 0; i < k->groups_len; i++)
        if (k->groups[i].rows > 0 && !views[i].refused && !(k->groups[i].mask & FAST_SOFT_KEY))
            with_keys += k->groups[i].rows;
    for (size_t s = 0; s < k->soft_len; s++) {
        const struct fast_rule *rule = &k->soft[s];
        const struct fast_counter *c = &k->counters[rule->counter];
        size_t domains = with_keys;
        double weight;

        if (!rule->hostname) {
            AUTO_FREE bool *seen = xcalloc(f->topos[rule->topo].doms + 1, sizeof(*seen));

            domains = 0;
            for (size_t i = 0; i < k->groups_len; i++) {
                const struct fast_group *g = &k->groups[i];

                if (g->rows == 0 || views[i].refused || (g->mask & FAST_SOFT_KEY))
                    continue;
                domains += !seen[g->key[c->coarse]];
                seen[g->key[c->coarse]] = true;
            }
        }
        weight = log((double)(domains + 2));
        for (size_t i = 0; i < k->groups_len; i++) {
            const struct fast_group *g = &k->groups[i];
            int64_t n;

            if (g->rows == 0 || views[i].refused)
                continue;
            n = rule->hostname ? g->key[fine_at] : count_of(c, g);
            sums[i] += (double)n * weight + (double)(rule->max_skew - 1);
        }
        fine_at += rule->hostname;
    }
    for (size_t i = 0; i < k->groups_len; i++)
        if (k->groups[i].rows > 0 && !views[i].refused)
            views[i].spread = k->groups[i].mask & FAST_SOFT_KEY ? -1 : llround(sums[i]);
}

static int64_t
total_of(const struct fast *f, const struct fast_class *k, const struct fast_group *g,
         const struct view *v, const struct extremes *x, int64_t scores[PLACE_PLUGINS])
{
    const struct fast_tuple *t = &k->tuples[g->tuple];

    scores[PLACE_TAINT] = score_to_most(t->taints, x->taints, true);
    scores[PLACE_AFFINITY] = score_to_most(t->preferred, x->preferred, false);
    scores[PLACE_PEERS] = score_in_range(v->peers, x->peers_least, x->peers_most);
    if (k->soft_len > 0 && v->spread >= 0)
        scores[PLACE_SPREAD] =
            x->spread_most == 0
                ? 100
                : 100 * (x->spread_most + x->spread_least - v->spread) / x->spread_most;
    return score_total(f->c->profile, scores) + g->most;
}

/* place()'s message, from the numbers of rows by reason. */
static void
explain(struct fast *f, const struct fast_class *k, const struct view *views)
{
    size_t len = 0, most = FAST_FITS + k->groups_len, live = f->c->nodes_len;
    AUTO_FREE struct part *parts = NULL;
    AUTO_FREE const char **names = NULL;
    AUTO_FREE char **lines = NULL;
    int64_t pinned_out = 0;

    sb_reset(&f->message);
    sb_printf(&f->message, "0/%zu nodes are available:", live);
    if (k->conflict) {
        sb_puts(&f->message, " " FILTER_CONFLICT ".");
        return;
    }
    for (size_t i = 0; i < k->reasons_len; i++) {
        most += k->reasons[i].len;
        pinned_out += k->reasons[i].pinned_out ? k->reasons[i].rows : 0;
    }
    parts = xcalloc(most + 1, sizeof(*parts));
    names = xcalloc(FAST_FITS, sizeof(char *));
    for (size_t i = 0; i < k->reasons_len; i++) {
        const struct fast_reason *r = &k->reasons[i];

        if (r->rows == 0 || (r->pinned_out && pinned_out < (int64_t)live))
            continue;
        for (size_t t = 0; t < r->len; t++)
            add_part(parts, &len, r->texts[t], r->rows);
    }
    for (size_t i = 0; i < k->groups_len; i++)
        if (k->groups[i].rows > 0)
            add_part(parts, &len, refusal_text(views[i].refused), k->groups[i].rows);
    /* numbers first: parts are in the order of their whole text */
    lines = xcalloc(len + FAST_FITS + 1, sizeof(char *));
    most = 0;
    for (size_t i = 0; i < len; i++)
        lines[most++] = xasprintf("%lld %s", (long long)parts[i].rows, parts[i].text);
    names[FAST_CPU] = "cpu";
    names[FAST_MEMORY] = "memory";
    for (size_t i = 0; i < k->extras_len; i++) {
        const char *name = f->extras[k->extra[i]].name;

        names[FAST_FIRST_EXTRA + i] = name ? name : "ephemeral-storage";
    }
    for (size_t i = 0; i < FAST_FITS; i++)
        if (k->fit_rows[i] > 0)
            lines[most++] =
                i == FAST_PODS
                    ? xasprintf("%lld Too many pods", (long long)k->fit_rows[i])
                    : xasprintf("%lld Insufficient %s", (long long)k->fit_rows[i], names[i]);
    if (most > 1)
        qsort(lines, most, sizeof(char *), text_compare);
    for (size_t i = 0; i < most; i++) {
        sb_printf(&f->message, "%s %s", i > 0 ? "," : "", lines[i]);
        free(lines[i]);
    }
    sb_putc(&f->message, '.');
}

static void
add_part(struct part *parts, size_t *len, const char *text, int64_t rows)
{
    for (size_t i = 0; i < *len; i++) {
        if (strcmp(parts[i].text, text) == 0) {
            parts[i].rows += rows;
            return;
        }
    }
    parts[(*len)++] = (struct part){text, rows};
}

static const char *
refusal_text(uint32_t refused)
{
    uint32_t first = refused & -refused;

    if (first < FAST_NEAR_KEY)
        return __builtin_ctz(first) % 2 ? SKEW_TEXT : SPREAD_NO_KEY;
    switch (first) {
    case FAST_NEAR_KEY:
    case FAST_NEAR:
        return PEERS_NOT_NEAR;
    case FAST_AVOIDED:
        return AVOIDED_TEXT;
    case FAST_GUARDED:
        return GUARDED_TEXT;
    default:
        return PLACE_NETWORK_REASON;
    }
}
