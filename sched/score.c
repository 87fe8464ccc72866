/* Scores; see score.h. Each plugin fills one column for all feasible nodes, since most normalise
 * over them. */
#include "sched/score.h"

#include <math.h>

#include "base/sb.h"

#define MAX_SCORE 100

struct load { /* one resource of a node, the newcomer included; total 0: left out */
    int64_t used, total;
};

static struct load load_of(const struct profile_resource *which, const struct need *need,
                           const struct need *own, const struct room *room, bool for_score);
static struct load load(int64_t total, int64_t used, int64_t own, int64_t need);
static int64_t rate(const struct profile *p, const struct load *l);
static int64_t percent(int64_t part, int64_t total);
static int64_t on_shape(const struct profile *p, int64_t utilization);
static double deviation(const double *fractions, size_t len);
static void to_most(int64_t *raw, size_t len, bool reverse);
static void in_range(int64_t *raw, size_t len);

void
score_nodes(const struct request *r, const struct cluster_node *const *nodes, size_t len,
            int64_t (*out)[PLACE_PLUGINS])
{
    AUTO_FREE int64_t *column = xcalloc(len + 1, sizeof(*column));
    const struct profile *p = r->c->profile;

    for (size_t i = 0; i < len; i++)
        column[i] = taint_count_soft(&r->tolerations, nodes[i]->node);
    to_most(column, len, true);
    for (size_t i = 0; i < len; i++) {
        const struct occupant *here = cluster_occupant_on(r->self, nodes[i]);
        const struct need *own = here ? &here->need : NULL;

        out[i][PLACE_TAINT] = column[i];
        out[i][PLACE_FIT] = score_fit(p, &r->need, own, &nodes[i]->room);
        out[i][PLACE_BALANCED] = score_balanced(p, &r->need, own, &nodes[i]->room);
        column[i] = node_terms_weight(&r->preferred, &nodes[i]->labels, nodes[i]->name);
    }
    to_most(column, len, false);
    for (size_t i = 0; i < len; i++) {
        out[i][PLACE_AFFINITY] = column[i];
        column[i] = 0;
    }
    spread_score(r->spread, nodes, len, column);
    for (size_t i = 0; i < len; i++) {
        out[i][PLACE_SPREAD] = column[i];
        column[i] = peers_score(r->peers, nodes[i]);
    }
    in_range(column, len);
    for (size_t i = 0; i < len; i++)
        out[i][PLACE_PEERS] = column[i];
}

/* The weighted mean over the resources that the node has. RequestedToCapacityRatio leaves out those
 * that score 0, and rounds to the nearest instead of down. */
int64_t
score_fit(const struct profile *p, const struct need *need, const struct need *own,
          const struct room *room)
{
    int64_t sum = 0, weights = 0;

    for (size_t i = 0; i < p->fit_len; i++) {
        struct load l = load_of(&p->fit[i], need, own, room, true);
        int64_t score = l.total > 0 ? rate(p, &l) : 0;

        if (l.total == 0 || (p->strategy == PROFILE_RATIO && score == 0))
            continue;
        sum += score * p->fit[i].weight;
        weights += p->fit[i].weight;
    }
    if (weights == 0)
        return 0;
    return p->strategy == PROFILE_RATIO ? (2 * sum + weights) / (2 * weights) : sum / weights;
}

/* How alike the resources are filled: 100 times one minus the standard deviation. */
int64_t
score_balanced(const struct profile *p, const struct need *need, const struct need *own,
               const struct room *room)
{
    double few[8];
    AUTO_FREE double *many =
        p->balanced_len > ARRAY_LEN(few) ? xcalloc(p->balanced_len, sizeof(*many)) : NULL;
    double *fractions = many ? many : few;
    size_t len = 0;

    for (size_t i = 0; i < p->balanced_len; i++) {
        struct load l = load_of(&p->balanced[i], need, own, room, false);

        if (l.total == 0)
            continue;
        fractions[len] = (double)l.used / (double)l.total;
        if (fractions[len] > 1)
            fractions[len] = 1;
        len++;
    }
    return (int64_t)((1 - deviation(fractions, len)) * MAX_SCORE);
}

int64_t
score_to_most(int64_t raw, int64_t most, bool reverse)
{
    int64_t score = most > 0 ? MAX_SCORE * raw / most : 0;

    return reverse ? MAX_SCORE - score : score;
}

int64_t
score_in_range(int64_t raw, int64_t least, int64_t most)
{
    return most > least ? (int64_t)(MAX_SCORE * ((double)(raw - least) / (double)(most - least)))
                        : 0;
}

int64_t
score_total(const struct profile *p, const int64_t scores[PLACE_PLUGINS])
{
    int64_t total = 0;

    for (size_t i = 0; i < PLACE_PLUGINS; i++)
        total += p->weights[i] * scores[i];
    return total;
}

int64_t
score_of_total(const struct profile *p, int64_t total)
{
    return p->weights_sum > 0 ? total / p->weights_sum : 0;
}

/* for_score: an absent request counts as 100m and 200Mi. */
static struct load
load_of(const struct profile_resource *which, const struct need *need, const struct need *own,
        const struct room *room, bool for_score)
{
    static const struct need nothing;
    const struct need_extra *want, *mine;
    const struct room_extra *have;

    if (!own)
        own = &nothing;
    switch (which->kind) {
    case PROFILE_CPU:
        return for_score
                   ? load(room->cpu_milli, room->used_score_cpu_milli, own->score_cpu_milli,
                          need->score_cpu_milli)
                   : load(room->cpu_milli, room->used_cpu_milli, own->cpu_milli, need->cpu_milli);
    case PROFILE_MEMORY:
        return for_score ? load(room->memory_bytes, room->used_score_memory_bytes,
                                own->score_memory_bytes, need->score_memory_bytes)
                         : load(room->memory_bytes, room->used_memory_bytes, own->memory_bytes,
                                need->memory_bytes);
    case PROFILE_EPHEMERAL:
        return load(room->ephemeral_bytes, room->used_ephemeral_bytes, own->ephemeral_bytes,
                    need->ephemeral_bytes);
    case PROFILE_EXTRA:
        want = need_find_extra(need, which->name);
        have = need_room_extra(room, which->name);
        if (!want || want->value == 0 || !have)
            break;
        mine = need_find_extra(own, which->name);
        return load(have->total, have->used, mine ? mine->value : 0, want->value);
    case PROFILE_UNKNOWN:
    default:
        break;
    }
    return (struct load){0};
}

static struct load
load(int64_t total, int64_t used, int64_t own, int64_t need)
{
    return (struct load){.used = need_add(used - own, need), .total = total};
}

static int64_t
rate(const struct profile *p, const struct load *l)
{
    bool over = l->used > l->total;

    switch (p->strategy) {
    case PROFILE_MOST:
        return over ? MAX_SCORE : percent(l->used, l->total);
    case PROFILE_RATIO:
        return on_shape(p, over ? MAX_SCORE : percent(l->used, l->total));
    case PROFILE_LEAST:
    default:
        return over ? 0 : percent(l->total - l->used, l->total);
    }
}

static int64_t
percent(int64_t part, int64_t total)
{
    return (int64_t)((__int128)part * MAX_SCORE / total);
}

/* On the broken line through the shape's points, level beyond its ends. */
static int64_t
on_shape(const struct profile *p, int64_t utilization)
{
    for (size_t i = 0; i < p->shape_len; i++) {
        const struct profile_point *to = &p->shape[i], *from = to - (i > 0);

        if (utilization > to->utilization)
            continue;
        return i == 0
                   ? to->score
                   : from->score + (to->score - from->score) * (utilization - from->utilization) /
                                       (to->utilization - from->utilization);
    }
    return p->shape_len > 0 ? p->shape[p->shape_len - 1].score : 0;
}

/* Of a population; of two it is half their distance, which spares the square root its rounding. */
static double
deviation(const double *fractions, size_t len)
{
    double mean = 0, sum = 0;

    if (len < 2)
        return 0;
    if (len == 2)
        return fabs((fractions[0] - fractions[1]) / 2);
    for (size_t i = 0; i < len; i++)
        mean += fractions[i];
    mean /= (double)len;
    for (size_t i = 0; i < len; i++)
        sum += (fractions[i] - mean) * (fractions[i] - mean);
    return sqrt(sum / (double)len);
}

static void
to_most(int64_t *raw, size_t len, bool reverse)
{
    int64_t most = 0;

    for (size_t i = 0; i < len; i++)
        most = raw[i] > most ? raw[i] : most;
    for (size_t i = 0; i < len; i++)
        raw[i] = score_to_most(raw[i], most, reverse);
}

static void
in_range(int64_t *raw, size_t len)
{
    int64_t most = INT64_MIN, least = INT64_MAX;

    for (size_t i = 0; i < len; i++) {
        most = raw[i] > most ? raw[i] : most;
        least = raw[i] < least ? raw[i] : least;
    }
    for (size_t i = 0; i < len; i++)
        raw[i] = score_in_range(raw[i], least, most);
}
