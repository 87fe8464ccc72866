/* place(): compile the request once, run the filters on every node, score those that fit, pick the
 * best. A plain full scan. */
#include "sched/place.h"

#include <string.h>

#include "base/sb.h"
#include "sched/explain.h"
#include "sched/filter.h"
#include "sched/score.h"

static void scan(struct place_result *res, const struct request *r, size_t max);
static void score(struct place_result *res, const struct request *r);
static const char *refusal(const struct place_result *res, const struct request *r);
static void pick(struct place_result *res, const struct cluster *c);

struct place_result *
place(const struct cluster *c, const struct place_request *rq)
{
    struct arena *a = arena_new();
    struct place_result *res = arena_alloc(a, sizeof(*res));
    struct request r;
    const char *why;

    res->arena = a;
    res->message = "";
    why = request_compile(&r, c, rq, a);
    if (why) {
        res->message = why;
    } else if (c->nodes_len == 0) {
        res->message = "no nodes available to schedule pods";
    } else {
        scan(res, &r, c->nodes_len);
        score(res, &r);
        pick(res, c);
        if (!res->node)
            res->message = refusal(res, &r);
    }
    request_done(&r);
    return res;
}

struct place_result *
place_look(const struct cluster *c, const struct place_request *rq, size_t max)
{
    struct arena *a = arena_new();
    struct place_result *res = arena_alloc(a, sizeof(*res));
    struct request r;
    const char *why;

    res->arena = a;
    why = request_compile(&r, c, rq, a);
    res->message = why ? why : "";
    if (!why)
        scan(res, &r, max < c->nodes_len ? max : c->nodes_len);
    request_done(&r);
    return res;
}

void
place_result_free(struct place_result *r)
{
    if (r)
        arena_free(r->arena);
}

static void
scan(struct place_result *res, const struct request *r, size_t max)
{
    res->nodes_len = max;
    res->nodes = arena_calloc(res->arena, res->nodes_len, sizeof(*res->nodes));
    for (size_t i = 0; i < res->nodes_len; i++) {
        struct place_node *pn = &res->nodes[i];

        pn->name = arena_strdup(res->arena, r->c->nodes[i]->name);
        pn->fits = filter_node(r, r->c->nodes[i], &pn->reasons);
    }
}

static void
score(struct place_result *res, const struct request *r)
{
    AUTO_FREE const struct cluster_node **fit = xcalloc(res->nodes_len + 1, sizeof(*fit));
    int64_t(*scores)[PLACE_PLUGINS];
    const struct profile *p = r->c->profile;
    size_t len = 0;

    for (size_t i = 0; i < res->nodes_len; i++)
        if (res->nodes[i].fits)
            fit[len++] = r->c->nodes[i];
    scores = arena_calloc(res->arena, len, sizeof(*scores));
    score_nodes(r, fit, len, scores);
    len = 0;
    for (size_t i = 0; i < res->nodes_len; i++) {
        struct place_node *pn = &res->nodes[i];

        if (!pn->fits)
            continue;
        pn->scores = arena_calloc(res->arena, PLACE_PLUGINS, sizeof(*pn->scores));
        for (size_t j = 0; j < PLACE_PLUGINS; j++)
            if (p->weights[j] > 0)
                pn->scores[pn->scores_len++] = (struct place_plugin_score){
                    profile_plugin_name((enum place_plugin)j), scores[len][j], p->weights[j]};
        pn->total = score_total(p, scores[len]);
        pn->score = score_of_total(p, pn->total);
        len++;
    }
}

/* Nodes that a pinned name excludes are not in the text, as in kube-scheduler 1.31, unless nothing
 * else would be. */
static const char *
refusal(const struct place_result *res, const struct request *r)
{
    const struct str_list **lists = arena_calloc(res->arena, res->nodes_len, sizeof(*lists));
    size_t len = 0;

    if (filter_all_refused(r))
        return arena_printf(res->arena, "0/%zu nodes are available: %s.", res->nodes_len,
                            filter_all_refused(r));
    for (size_t i = 0; i < res->nodes_len; i++)
        if (filter_looks_at(r, r->c->nodes[i]))
            lists[len++] = &res->nodes[i].reasons;
    for (size_t i = 0; len == 0 && i < res->nodes_len; i++)
        lists[i] = &res->nodes[i].reasons;
    return explain_message(res->nodes_len, lists, len > 0 ? len : res->nodes_len, res->arena);
}

/* The highest total; ties go to the first name in byte order. */
static void
pick(struct place_result *res, const struct cluster *c)
{
    const struct cluster_node *best = NULL;
    int64_t most = -1;

    for (size_t i = 0; i < res->nodes_len; i++)
        if (res->nodes[i].fits && res->nodes[i].total > most)
            most = res->nodes[i].total;
    for (size_t i = 0; i < res->nodes_len; i++) {
        const struct place_node *pn = &res->nodes[i];

        if (!pn->fits || pn->total != most)
            continue;
        explain_add(&res->best, res->arena, pn->name);
        if (!best || cluster_before(c->nodes[i], best)) {
            best = c->nodes[i];
            res->node = pn->name;
        }
    }
}
