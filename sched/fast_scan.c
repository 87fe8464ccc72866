/* Loops over all rows, written so that the compiler makes vectors of them; each machine gets the
 * widest it has, the same numbers come out of all. Sums and products stay below 2^53, where
 * doubles are whole numbers; 100 * a / t with a <= t < 2^46 rounded to double and then down is
 * the same as in integers, since a quotient that is not whole is farther from the next whole
 * number than rounding reaches. */
#include <math.h>
#include <string.h>

#include "sched/fast_priv.h"
#include "sched/profile.h"
#include "sched/score.h"

/* No fused multiply-add: place() rounds after each step. */
#if defined(__x86_64__) && !defined(__clang__)
#define WIDE                                                                     \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), \
                   optimize("O3", "fp-contract=off", "no-trapping-math", "no-math-errno")))
#else
#define WIDE
#endif

struct scan {
    double cpu, memory, score_cpu, score_memory; /* of the newcomer */
    bool any_cpu, any_memory;
    double fit_weight, balanced_weight;
};

static void scan_scores(const struct fast_rows *rows, const struct scan *s, size_t len,
                        int16_t *leaf);
static void scan_extra(const int64_t *have, int64_t want, int bit, size_t len, int16_t *leaf);
static bool lacks(int64_t want, int64_t total, int64_t used, int64_t own);

void
fast_scan_leaves(const struct fast *f, const struct fast_class *k, int16_t *leaf)
{
    const struct need *n = &k->need;
    const int64_t limit = INT64_C(1) << 46;
    bool all_odd = !f->vector_scores || n->cpu_milli > limit || n->memory_bytes > limit ||
                   n->score_cpu_milli > limit || n->score_memory_bytes > limit;
    struct scan s = {
        .cpu = (double)n->cpu_milli,
        .memory = (double)n->memory_bytes,
        .score_cpu = (double)n->score_cpu_milli,
        .score_memory = (double)n->score_memory_bytes,
        .any_cpu = n->cpu_milli > 0,
        .any_memory = n->memory_bytes > 0,
        .fit_weight = (double)f->c->profile->weights[PLACE_FIT],
        .balanced_weight = (double)f->c->profile->weights[PLACE_BALANCED],
    };

    if (!all_odd) {
        scan_scores(&f->rows, &s, f->rows_cap, leaf);
        for (size_t i = 0; i < k->extras_len; i++)
            scan_extra(f->extras[k->extra[i]].free, k->want[i], FAST_FIRST_EXTRA + (int)i,
                       f->rows_cap, leaf);
    }
    if (all_odd || f->rows.odd_len > 0)
        for (uint32_t i = 0; i < f->rows_len; i++)
            if (all_odd || f->rows.odd[i])
                leaf[i] = f->nodes[i] ? fast_scan_row(f, k, i, NULL) : FAST_GONE;
    for (size_t i = f->rows_len; i < f->rows_cap; i++)
        leaf[i] = FAST_GONE;
}

int16_t
fast_scan_row(const struct fast *f, const struct fast_class *k, uint32_t row,
              const struct occupant *self)
{
    static const struct need nothing;
    const struct room *m = &f->nodes[row]->room;
    const struct need *own = self ? &self->need : &nothing, *n = &k->need;
    const struct profile *p = f->c->profile;
    unsigned bits = 0;

    if (m->used_pods - (self != NULL) + 1 > m->pods)
        bits |= 1u << FAST_PODS;
    if (lacks(n->cpu_milli, m->cpu_milli, m->used_cpu_milli, own->cpu_milli))
        bits |= 1u << FAST_CPU;
    if (lacks(n->memory_bytes, m->memory_bytes, m->used_memory_bytes, own->memory_bytes))
        bits |= 1u << FAST_MEMORY;
    for (size_t i = 0; i < k->extras_len; i++) {
        const struct fast_extra *e = &f->extras[k->extra[i]];
        int64_t have = e->free[row];

        if (self && !e->name) {
            have += own->ephemeral_bytes;
        } else if (self && have != INT64_MAX) {
            const struct need_extra *mine = need_find_extra(own, e->name);

            have += mine ? mine->value : 0;
        }
        if (k->want[i] > have)
            bits |= 1u << (FAST_FIRST_EXTRA + i);
    }
    if (bits)
        return (int16_t)(FAST_FIT - (int)bits);
    own = self ? own : NULL;
    return (int16_t)(p->weights[PLACE_FIT] * score_fit(p, n, own, m) +
                     p->weights[PLACE_BALANCED] * score_balanced(p, n, own, m));
}

WIDE static void
scan_scores(const struct fast_rows *rows, const struct scan *s, size_t len, int16_t *leaf)
{
    const double *restrict cpu = rows->cpu, *restrict memory = rows->memory;
    const double *restrict used_cpu = rows->used_cpu, *restrict used_memory = rows->used_memory;
    const double *restrict score_cpu = rows->score_cpu;
    const double *restrict score_memory = rows->score_memory;
    const int32_t *restrict pods = rows->pods;
    int16_t *restrict out = leaf;
    const double want_cpu = s->cpu, want_memory = s->memory;
    const double want_score_cpu = s->score_cpu, want_score_memory = s->score_memory;
    const double fit_weight = s->fit_weight, balanced_weight = s->balanced_weight;
    const int any_cpu = s->any_cpu, any_memory = s->any_memory;

    for (size_t at = 0; at < len; at += FAST_BLOCK) {
        double score[FAST_BLOCK];
        int32_t lack[FAST_BLOCK];

        for (size_t j = 0; j < FAST_BLOCK; j++) {
            size_t i = at + j;
            double c = cpu[i], m = memory[i];
            double uc = used_cpu[i] + want_cpu, um = used_memory[i] + want_memory;
            double sc = c - (score_cpu[i] + want_score_cpu);
            double sm = m - (score_memory[i] + want_score_memory);
            double fc = sc * 100 / c, fm = sm * 100 / m;
            double bc = uc / c, bm = um / m;
            double std, fit;

            fc = fc > 0 ? floor(fc) : 0;
            fm = fm > 0 ? floor(fm) : 0;
            fit = floor((fc + fm) * 0.5);
            bc = bc > 1 ? 1 : bc;
            bm = bm > 1 ? 1 : bm;
            std = fabs((bc - bm) / 2);
            score[j] = fit_weight * fit + balanced_weight * floor((1 - std) * 100);
            score[j] = score[j] >= 0 ? score[j] : 0; /* no number: a row without room, see lack */
        }
        for (size_t j = 0; j < FAST_BLOCK; j++) {
            size_t i = at + j;
            int32_t lack_cpu = used_cpu[i] + want_cpu > cpu[i] ? any_cpu << FAST_CPU : 0;
            int32_t lack_memory =
                used_memory[i] + want_memory > memory[i] ? any_memory << FAST_MEMORY : 0;

            lack[j] = (pods[i] < 1 ? 1 << FAST_PODS : 0) | lack_cpu | lack_memory;
        }
        for (size_t j = 0; j < FAST_BLOCK; j++)
            out[at + j] = (int16_t)(lack[j] ? FAST_FIT - lack[j] : (int32_t)score[j]);
    }
}

WIDE static void
scan_extra(const int64_t *have, int64_t want, int bit, size_t len, int16_t *leaf)
{
    const int64_t *restrict free_ = have;
    int16_t *restrict out = leaf;
    const int16_t lack = (int16_t)(1 << bit);

    for (size_t at = 0; at < len; at += FAST_BLOCK) {
        for (size_t j = 0; j < FAST_BLOCK; j++) {
            int16_t l = out[at + j];

            if (want > free_[at + j])
                l = (int16_t)((l < 0 ? l : FAST_FIT) - lack);
            out[at + j] = l;
        }
    }
}

WIDE uint32_t
fast_scan_block(const int16_t *leaf, const uint8_t *gid, uint8_t group, int16_t *ret_most,
                uint8_t *ret_rows)
{
    int16_t mine[FAST_BLOCK], most = -1;
    uint8_t rows = 0, members = 0;

    for (size_t i = 0; i < FAST_BLOCK; i++)
        mine[i] = gid[i] == group ? leaf[i] : (int16_t)-1;
    for (size_t i = 0; i < FAST_BLOCK; i++)
        most = mine[i] > most ? mine[i] : most;
    for (size_t i = 0; i < FAST_BLOCK; i++)
        rows += mine[i] == most;
    for (size_t i = 0; i < FAST_BLOCK; i++)
        members += gid[i] == group;
    *ret_most = most;
    *ret_rows = rows;
    return members;
}

WIDE uint32_t
fast_scan_one_group(const uint8_t *shape, const int16_t *verdict, const uint8_t *group,
                    size_t shapes, size_t blocks, int16_t *leaf, uint8_t *gid, int16_t *most,
                    uint8_t *rows, uint8_t *lacking)
{
    uint32_t members = 0;

    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *restrict in = shape + b * FAST_BLOCK;
        int16_t *restrict l = leaf + b * FAST_BLOCK;
        uint8_t *restrict out = gid + b * FAST_BLOCK;
        int16_t by_shape[FAST_BLOCK], best = -1, least = 0;
        uint8_t of[FAST_BLOCK], with_best = 0, some = 0;

        for (size_t i = 0; i < FAST_BLOCK; i++) {
            by_shape[i] = verdict[0];
            of[i] = group[0];
        }
        for (size_t s = 1; s < shapes; s++) {
            uint8_t mine = (uint8_t)s, g = group[s];
            int16_t v = verdict[s];

            for (size_t i = 0; i < FAST_BLOCK; i++)
                of[i] = in[i] == mine ? g : of[i];
            for (size_t i = 0; i < FAST_BLOCK; i++)
                by_shape[i] = in[i] == mine ? v : by_shape[i];
        }
        for (size_t i = 0; i < FAST_BLOCK; i++) {
            int16_t other = l[i] == FAST_GONE ? l[i] : by_shape[i];

            l[i] = of[i] == FAST_NO_GROUP ? other : l[i];
            least = l[i] < least ? l[i] : least;
            best = l[i] > best ? l[i] : best;
        }
        for (size_t i = 0; i < FAST_BLOCK; i++)
            out[i] = l[i] < 0 ? FAST_NO_GROUP : of[i];
        for (size_t i = 0; i < FAST_BLOCK; i++)
            some += l[i] >= 0;
        for (size_t i = 0; i < FAST_BLOCK; i++)
            with_best += l[i] == best;
        most[b] = best;
        rows[b] = with_best;
        lacking[b] = least <= FAST_FIT;
        members += some;
    }
    return members;
}

bool
fast_scan_shapes(const uint32_t *shape, const int16_t *verdict, const uint8_t *group, int16_t *leaf,
                 uint8_t *gid)
{
    bool lacking = false;

    for (size_t i = 0; i < FAST_BLOCK; i++) {
        uint8_t g = group[shape[i]];
        int16_t l = leaf[i], v = verdict[shape[i]];

        gid[i] = l < 0 ? FAST_NO_GROUP : g;
        l = g == FAST_NO_GROUP && l != FAST_GONE ? v : l;
        lacking |= l <= FAST_FIT;
        leaf[i] = l;
    }
    return lacking;
}

WIDE int32_t
fast_scan_most(const int16_t *most, size_t len)
{
    int16_t best = -1;

    for (size_t i = 0; i < len; i++)
        best = most[i] > best ? most[i] : best;
    return best;
}

WIDE uint32_t
fast_scan_rows(const int16_t *most, const uint8_t *rows, size_t len, int16_t at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += most[i] == at ? rows[i] : 0;
    return sum;
}

static bool
lacks(int64_t want, int64_t total, int64_t used, int64_t own)
{
    return want > 0 && want > total - (used - own);
}
