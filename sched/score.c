/* Scores; see score.h. Each plugin fills one column for all feasible nodes, since most normalise
 * over them. */
#include "sched/score.h"

#include "base/sb.h"

#define MAX_SCORE 100

enum { TAINT, AFFINITY, FIT, BALANCE, SPREAD, PEERS };

const struct score_plugin score_plugins[SCORE_PLUGINS] = {
    [TAINT] = {"TaintToleration", 3},    [AFFINITY] = {"NodeAffinity", 2},
    [FIT] = {"NodeResourcesFit", 1},     [BALANCE] = {"NodeResourcesBalancedAllocation", 1},
    [SPREAD] = {"PodTopologySpread", 2}, [PEERS] = {"InterPodAffinity", 2},
};

struct load { /* of one node, the newcomer included */
    int64_t cpu, cpu_total, memory, memory_total;
};

static struct load load_of(const struct request *r, const struct cluster_node *n, bool for_score);
static int64_t least_allocated(const struct load *l);
static int64_t balanced(const struct load *l);
static int64_t free_percent(int64_t used, int64_t total);
static double fraction(int64_t used, int64_t total);
static void normalise_to_most(int64_t *raw, size_t len, bool reverse);
static void normalise_range(int64_t *raw, size_t len);

int64_t
score_weights(void)
{
    int64_t sum = 0;

    for (size_t p = 0; p < SCORE_PLUGINS; p++)
        sum += score_plugins[p].weight;
    return sum;
}

void
score_nodes(const struct request *r, const struct cluster_node *const *nodes, size_t len,
            int64_t (*out)[SCORE_PLUGINS])
{
    AUTO_FREE int64_t *column = xcalloc(len + 1, sizeof(*column));

    for (size_t i = 0; i < len; i++)
        column[i] = taint_count_soft(&r->tolerations, nodes[i]->node);
    normalise_to_most(column, len, true);
    for (size_t i = 0; i < len; i++) {
        struct load scored = load_of(r, nodes[i], true), real = load_of(r, nodes[i], false);

        out[i][TAINT] = column[i];
        out[i][FIT] = least_allocated(&scored);
        out[i][BALANCE] = balanced(&real);
        column[i] = node_terms_weight(&r->preferred, &nodes[i]->labels, nodes[i]->name);
    }
    normalise_to_most(column, len, false);
    for (size_t i = 0; i < len; i++) {
        out[i][AFFINITY] = column[i];
        column[i] = 0;
    }
    spread_score(r->spread, nodes, len, column);
    for (size_t i = 0; i < len; i++) {
        out[i][SPREAD] = column[i];
        column[i] = peers_score(r->peers, nodes[i]);
    }
    normalise_range(column, len);
    for (size_t i = 0; i < len; i++)
        out[i][PEERS] = column[i];
}

static struct load
load_of(const struct request *r, const struct cluster_node *n, bool for_score)
{
    static const struct need nothing;
    const struct occupant *here = cluster_occupant_on(r->self, n);
    const struct need *own = here ? &here->need : &nothing, *need = &r->need;
    const struct room *room = &n->room;

    if (for_score)
        return (struct load){
            .cpu =
                need_add(room->used_score_cpu_milli - own->score_cpu_milli, need->score_cpu_milli),
            .cpu_total = room->cpu_milli,
            .memory = need_add(room->used_score_memory_bytes - own->score_memory_bytes,
                               need->score_memory_bytes),
            .memory_total = room->memory_bytes,
        };
    return (struct load){
        .cpu = need_add(room->used_cpu_milli - own->cpu_milli, need->cpu_milli),
        .cpu_total = room->cpu_milli,
        .memory = need_add(room->used_memory_bytes - own->memory_bytes, need->memory_bytes),
        .memory_total = room->memory_bytes,
    };
}

/* The mean of what stays free, over the resources that the node has. */
static int64_t
least_allocated(const struct load *l)
{
    int64_t sum = 0, weights = 0;

    if (l->cpu_total > 0) {
        sum += free_percent(l->cpu, l->cpu_total);
        weights++;
    }
    if (l->memory_total > 0) {
        sum += free_percent(l->memory, l->memory_total);
        weights++;
    }
    return weights > 0 ? sum / weights : 0;
}

/* How alike CPU and memory are filled: (1 - |f1 - f2| / 2) * 100. */
static int64_t
balanced(const struct load *l)
{
    double std = 0;

    if (l->cpu_total > 0 && l->memory_total > 0) {
        std = (fraction(l->cpu, l->cpu_total) - fraction(l->memory, l->memory_total)) / 2;
        if (std < 0)
            std = -std;
    }
    return (int64_t)((1 - std) * MAX_SCORE);
}

static int64_t
free_percent(int64_t used, int64_t total)
{
    if (used > total)
        return 0;
    return (int64_t)((__int128)(total - used) * MAX_SCORE / total);
}

static double
fraction(int64_t used, int64_t total)
{
    double f = (double)used / (double)total;

    return f > 1 ? 1 : f;
}

/* 100 * raw / most; reversed: 100 minus that. All zero: 0, reversed 100. */
static void
normalise_to_most(int64_t *raw, size_t len, bool reverse)
{
    int64_t most = 0;

    for (size_t i = 0; i < len; i++)
        most = raw[i] > most ? raw[i] : most;
    for (size_t i = 0; i < len; i++) {
        int64_t score = most > 0 ? MAX_SCORE * raw[i] / most : 0;

        raw[i] = reverse ? MAX_SCORE - score : score;
    }
}

/* From the smallest to the largest as 0 to 100; all equal: 0. */
static void
normalise_range(int64_t *raw, size_t len)
{
    int64_t most = INT64_MIN, least = INT64_MAX;

    for (size_t i = 0; i < len; i++) {
        most = raw[i] > most ? raw[i] : most;
        least = raw[i] < least ? raw[i] : least;
    }
    for (size_t i = 0; i < len; i++)
        raw[i] = most > least
                     ? (int64_t)(MAX_SCORE * ((double)(raw[i] - least) / (double)(most - least)))
                     : 0;
}
