/* See bench_stat.h. */
#include "bench/bench_stat.h"

#include <math.h>
#include <string.h>

#include "base/sb.h"

void
bench_samples_add(struct bench_samples *s, double v)
{
    if (s->len == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->v = xreallocarray(s->v, s->cap, sizeof *s->v);
    }
    s->v[s->len++] = v;
}

void
bench_samples_done(struct bench_samples *s)
{
    free(s->v);
    *s = (struct bench_samples){0};
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double
bench_quantile(const struct bench_samples *s, double q)
{
    AUTO_FREE double *v = NULL;
    size_t rank;

    if (s->len == 0)
        return NAN;
    v = xreallocarray(NULL, s->len, sizeof *v);
    memcpy(v, s->v, s->len * sizeof *v);
    qsort(v, s->len, sizeof *v, by_value);
    rank = (size_t)ceil(q * (double)s->len - 1e-9);
    return v[rank < 1 ? 0 : rank > s->len ? s->len - 1 : rank - 1];
}

double
bench_median(const struct bench_samples *s)
{
    return bench_quantile(s, 0.5);
}

double
bench_median_ratio(const struct bench_samples *a, const struct bench_samples *b)
{
    struct bench_samples r = {0};
    double m;

    if (a->len != b->len)
        return NAN;
    for (size_t i = 0; i < a->len; i++)
        bench_samples_add(&r, a->v[i] / b->v[i]);
    m = bench_median(&r);
    bench_samples_done(&r);
    return m;
}
