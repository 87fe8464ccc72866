/* Samples of one measurement, and what is said of them. Pure but for memory. */
#ifndef BENCH_BENCH_STAT_H
#define BENCH_BENCH_STAT_H

#include <stddef.h>

struct bench_samples {
    double *v;
    size_t len, cap;
};

void bench_samples_add(struct bench_samples *s, double v);
void bench_samples_done(struct bench_samples *s);
/* The smallest sample that at least so much of all (0 < q <= 1) does not exceed (nearest rank: never
 * a number that was not measured). NAN when there is none. */
double bench_quantile(const struct bench_samples *s, double q);
double bench_median(const struct bench_samples *s);
/* Of two series of the same length that were measured in turn: the median of a[i] / b[i]. NAN when
 * the lengths differ or are 0. */
double bench_median_ratio(const struct bench_samples *a, const struct bench_samples *b);

#endif
