/* The nearest miss, and the explanation of every node; see nearest.h and place.h. */
#include "sched/nearest.h"

#include <string.h>

#include "base/sb.h"
#include "sched/why.h"

static const char *change_text(const struct cluster_node *n, const struct why_list *l,
                               struct arena *a);
static int64_t cost(const struct why_list *l);

struct nearest
nearest_miss(const struct cluster *c, const struct place_request *rq,
             const struct place_result *res, struct arena *a)
{
    struct nearest best = {.change = ""};
    int64_t least = WHY_COST_NEVER;
    struct why_list of = {0};
    struct request r;

    if (res->node || request_compile(&r, c, rq, a))
        goto out;
    if (filter_all_refused(&r)) {
        best.change = arena_printf(a, "no node can do: %s", filter_all_refused(&r));
        goto out;
    }
    for (size_t i = 0; i < c->nodes_len; i++) {
        struct why_list l = why_node(&r, c->nodes[i]);
        int64_t its = cost(&l);

        if (its > least || its >= WHY_COST_NEVER || l.len == 0 ||
            (its == least && best.node && strcmp(c->nodes[i]->name, best.node) > 0))
            continue;
        least = its;
        best.node = arena_strdup(a, c->nodes[i]->name);
        of = l;
    }
    if (best.node)
        best.change = change_text(cluster_find(c, best.node), &of, a);
out:
    request_done(&r);
    return best;
}

struct tree *
nearest_tree(const struct nearest *n)
{
    struct tree *t = tree_map();

    tree_set(t, "node", tree_string(n->node));
    tree_set(t, "change", tree_string(n->change));
    return t;
}

void
place_explain(const struct cluster *c, const struct place_request *rq, struct place_result *res,
              size_t max)
{
    struct request r;

    if (request_compile(&r, c, rq, res->arena) == NULL) {
        for (size_t i = 0, done = 0; i < res->nodes_len && done < max; i++) {
            struct place_node *pn = &res->nodes[i];
            const struct cluster_node *n = cluster_find(c, pn->name);
            struct why_list l;

            if (pn->fits || !n || !n->node)
                continue;
            l = why_node(&r, n);
            pn->whys = arena_calloc(res->arena, l.len, sizeof(*pn->whys));
            for (size_t k = 0; k < l.len; k++)
                pn->whys[pn->whys_len++] =
                    (struct place_why){l.items[k].rule, l.items[k].wanted, l.items[k].has};
            done++;
        }
    }
    request_done(&r);
}

/* "n3 would do: uncordon n3, and ..."; what n3 lacks is said by place_explain(). */
static const char *
change_text(const struct cluster_node *n, const struct why_list *l, struct arena *a)
{
    AUTO_SB struct sb text = SB_INIT;

    sb_printf(&text, "%s would do: ", n->name);
    for (size_t i = 0; i < l->len; i++)
        sb_printf(&text, "%s%s", i > 0 ? ", and " : "", l->items[i].change);
    return arena_strdup(a, sb_str(&text));
}

static int64_t
cost(const struct why_list *l)
{
    int64_t sum = 0;

    for (size_t i = 0; i < l->len; i++)
        sum += l->items[i].cost;
    return sum;
}
