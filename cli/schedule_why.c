/* Explanations in `drover schedule`; see schedule_why.h. */
#include "cli/schedule_why.h"

#include <string.h>

#include "base/strmap.h"
#include "cli/offline.h"

#define SHOWN_NODES 10 /* that share a line */
#define SHOWN_LINES 20

static bool print_nodes(const struct place_result *res, struct sb *out);
static size_t sharing(const struct place_result *res, const char *text, struct sb *names);
static char *text_of(const struct place_why *w);

struct nearest
schedule_why(const struct cluster *c, const struct place_request *rq, struct place_result *res)
{
    struct nearest none = {.change = ""};

    place_explain(c, rq, res, SCHEDULE_WHY_NODES);
    return res->node ? none : nearest_miss(c, rq, res, res->arena);
}

void
schedule_why_tree(const struct nearest *n, struct tree *answer)
{
    if (n->change && *n->change)
        tree_set(answer, "nearest", nearest_tree(n));
}

bool
schedule_why_print(const struct place_result *res, const struct nearest *n, struct sb *out)
{
    bool any = print_nodes(res, out);

    if (n->change && *n->change) {
        AUTO_SB struct sb line = SB_INIT;

        sb_printf(&line, "nearest: %s", n->change);
        offline_wrap(out, 2, sb_str(&line));
    }
    return any;
}

/* A line for each explanation, with the nodes that share it. */
static bool
print_nodes(const struct place_result *res, struct sb *out)
{
    struct strmap *seen = strmap_new();
    bool any = false;
    size_t more = 0;

    for (size_t i = 0; i < res->nodes_len; i++) {
        for (size_t k = 0; k < res->nodes[i].whys_len; k++) {
            AUTO_FREE char *text = text_of(&res->nodes[i].whys[k]);
            AUTO_SB struct sb names = SB_INIT, line = SB_INIT;
            size_t count;

            if (strmap_get(seen, text))
                continue;
            strmap_put(seen, text, seen);
            any = true;
            if (strmap_len(seen) > SHOWN_LINES) {
                more++;
                continue;
            }
            count = sharing(res, text, &names);
            sb_printf(&line, "not %s", sb_str(&names));
            if (count > SHOWN_NODES)
                sb_printf(&line, " and %zu more", count - SHOWN_NODES);
            sb_printf(&line, ": %s", text);
            offline_wrap(out, 2, sb_str(&line));
        }
    }
    if (more > 0)
        sb_printf(out, "  and %zu more reasons (-o json has them all)\n", more);
    strmap_free(seen, NULL);
    return any;
}

/* How many nodes; the first of them in names. */
static size_t
sharing(const struct place_result *res, const char *text, struct sb *names)
{
    size_t count = 0;

    for (size_t i = 0; i < res->nodes_len; i++) {
        for (size_t k = 0; k < res->nodes[i].whys_len; k++) {
            AUTO_FREE char *its = text_of(&res->nodes[i].whys[k]);

            if (strcmp(its, text) == 0 && count++ < SHOWN_NODES)
                sb_printf(names, "%s%s", count > 1 ? ", " : "", res->nodes[i].name);
        }
    }
    return count;
}

static char *
text_of(const struct place_why *w)
{
    return xasprintf("%s: wants %s, has %s", w->rule, w->wanted, w->has);
}
