/* Figures for Prometheus: a table of metrics (name, type, labels, help) and a registry of their
 * values, printed in the text exposition format 0.0.4. The table is also what the documentation is
 * printed from. How many series a metric may have is bounded: more are counted and left out. Not
 * thread-safe: one owner, its loop's thread. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/sb.h"

#define METRICS_MAX_LABELS  4
#define METRICS_MAX_SERIES  2000 /* of one metric */
#define METRICS_MAX_VALUE   128  /* bytes of a label's value; the rest is cut */
#define METRICS_CONTENT     "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_MAX_BUCKETS 32

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_def {
    const char *name; /* [a-z_][a-z0-9_]*; counters end with _total */
    enum metric_type type;
    const char *help;                           /* one sentence */
    const char *labels[METRICS_MAX_LABELS + 1]; /* NULL-terminated */
    const double *buckets; /* of a histogram: upper bounds, rising, without +Inf */
    size_t buckets_len;
};

struct metrics;

/* defs are borrowed for ever. `metric` below is an index into them. */
struct metrics *metrics_new(const struct metric_def *defs, size_t len);
void metrics_free(struct metrics *m); /* NULL is fine */

/* values: as many as the metric has labels, in their order; NULL counts as "". Any text. */
void metrics_set(struct metrics *m, size_t metric, const char *const *values, double v);
void metrics_add(struct metrics *m, size_t metric, const char *const *values, double v);
void metrics_observe(struct metrics *m, size_t metric, const char *const *values, double v);
/* n observations of v at once. */
void metrics_observe_n(struct metrics *m, size_t metric, const char *const *values, double v,
                       uint64_t n);
/* Forgets all series of a metric: what lives only while something runs is set anew each time. */
void metrics_clear(struct metrics *m, size_t metric);

/* All of it. Metrics without a series are left out. */
void metrics_text(const struct metrics *m, struct sb *out);
/* The table as Markdown, one row a metric. */
void metrics_docs(const struct metric_def *defs, size_t len, struct sb *out);

#endif
