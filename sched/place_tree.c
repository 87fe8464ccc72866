/* A placement as JSON, in the form of docs/scheduling.md; part of place.h. */
#include "sched/place.h"

static struct tree *node_tree(const struct place_node *n);
static struct tree *whys(const struct place_node *n);
static struct tree *strings(const struct str_list *l);

struct tree *
place_result_tree(const struct place_result *r, const char *vm_ns, const char *vm_name)
{
    struct tree *t = tree_map(), *nodes = tree_list();

    tree_set(t, "vm", tree_stringf("%s/%s", vm_ns, vm_name));
    tree_set(t, "node", tree_string(r->node));
    tree_set(t, "message", tree_string(r->message));
    tree_set(t, "best", strings(&r->best));
    for (size_t i = 0; i < r->nodes_len; i++)
        tree_append(nodes, node_tree(&r->nodes[i]));
    tree_set(t, "nodes", nodes);
    return t;
}

static struct tree *
node_tree(const struct place_node *n)
{
    struct tree *t = tree_map(), *scores;

    tree_set(t, "name", tree_string(n->name));
    tree_set(t, "fits", tree_bool(n->fits));
    if (n->fits) {
        scores = tree_map();
        tree_set(t, "score", tree_int(n->score));
        tree_set(t, "total", tree_int(n->total));
        for (size_t i = 0; i < n->scores_len; i++)
            tree_set(scores, n->scores[i].plugin, tree_int(n->scores[i].score));
        tree_set(t, "scores", scores);
    }
    tree_set(t, "reasons", strings(&n->reasons));
    if (n->whys_len > 0)
        tree_set(t, "why", whys(n));
    return t;
}

static struct tree *
whys(const struct place_node *n)
{
    struct tree *list = tree_list();

    for (size_t i = 0; i < n->whys_len; i++) {
        struct tree *t = tree_map();

        tree_set(t, "rule", tree_string(n->whys[i].rule));
        tree_set(t, "wanted", tree_string(n->whys[i].wanted));
        tree_set(t, "has", tree_string(n->whys[i].has));
        tree_append(list, t);
    }
    return list;
}

static struct tree *
strings(const struct str_list *l)
{
    struct tree *t = tree_list();

    for (size_t i = 0; i < l->len; i++)
        tree_append(t, tree_string(l->items[i]));
    return t;
}
