/* Metrics; see metrics.h. The format: prometheus.io/docs/instrumenting/exposition_formats. */
#include "base/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/strmap.h"

#define DROPPED_NAME "drover_metrics_dropped_series_total"
#define DROPPED_HELP "Series that were left out because their metric has too many."

struct series {
    char *labels; /* as they are printed: a="b",c="d" */
    double value; /* of a histogram the sum */
    uint64_t count;
    uint64_t buckets[METRICS_MAX_BUCKETS];
};

struct metrics {
    const struct metric_def *defs;
    size_t len;
    struct strmap **series; /* one map a metric: labels -> series */
    uint64_t dropped;
};

static struct series *series_of(struct metrics *m, size_t metric, const char *const *values);
static void put_labels(const struct metric_def *d, const char *const *values, struct sb *out);
static void put_escaped(struct sb *out, const char *text, size_t max, bool quotes);
static void put_number(struct sb *out, double v);
static void put_sample(const struct metric_def *d, const struct series *s, struct sb *out);
static void put_head(const struct metric_def *d, struct sb *out);

static const char *const types[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

struct metrics *
metrics_new(const struct metric_def *defs, size_t len)
{
    struct metrics *m = xcalloc(1, sizeof *m);

    m->defs = defs;
    m->len = len;
    m->series = xcalloc(len, sizeof(struct strmap *));
    for (size_t i = 0; i < len; i++)
        m->series[i] = strmap_new();
    return m;
}

static void
series_free(void *p)
{
    struct series *s = p;

    free(s->labels);
    free(s);
}

void
metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->len; i++)
        strmap_free(m->series[i], series_free);
    free(m->series);
    free(m);
}

void
metrics_set(struct metrics *m, size_t metric, const char *const *values, double v)
{
    struct series *s = series_of(m, metric, values);

    if (s)
        s->value = v;
}

void
metrics_add(struct metrics *m, size_t metric, const char *const *values, double v)
{
    struct series *s = series_of(m, metric, values);

    if (s)
        s->value += v;
}

void
metrics_observe(struct metrics *m, size_t metric, const char *const *values, double v)
{
    metrics_observe_n(m, metric, values, v, 1);
}

void
metrics_observe_n(struct metrics *m, size_t metric, const char *const *values, double v, uint64_t n)
{
    const struct metric_def *d = &m->defs[metric];
    struct series *s = series_of(m, metric, values);

    for (size_t i = 0; s && i < d->buckets_len; i++)
        if (v <= d->buckets[i])
            s->buckets[i] += n; /* cumulative, as they are printed */
    if (s) {
        s->count += n;
        s->value += v * (double)n;
    }
}

void
metrics_clear(struct metrics *m, size_t metric)
{
    strmap_free(m->series[metric], series_free);
    m->series[metric] = strmap_new();
}

void
metrics_text(const struct metrics *m, struct sb *out)
{
    for (size_t i = 0; i < m->len; i++) {
        size_t it = 0;
        void *s;

        if (strmap_len(m->series[i]) == 0)
            continue;
        put_head(&m->defs[i], out);
        while (strmap_next(m->series[i], &it, NULL, &s))
            put_sample(&m->defs[i], s, out);
    }
    sb_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", DROPPED_NAME, DROPPED_HELP,
              DROPPED_NAME, DROPPED_NAME, (unsigned long long)m->dropped);
}

void
metrics_docs(const struct metric_def *defs, size_t len, struct sb *out)
{
    sb_puts(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < len; i++) {
        const struct metric_def *d = &defs[i];

        sb_printf(out, "| `%s` | %s | ", d->name, types[d->type]);
        for (size_t k = 0; d->labels[k]; k++)
            sb_printf(out, "%s`%s`", k ? ", " : "", d->labels[k]);
        sb_printf(out, " | %s |\n", d->help);
    }
    sb_printf(out, "| `%s` | counter |  | %s |\n", DROPPED_NAME, DROPPED_HELP);
}

static struct series *
series_of(struct metrics *m, size_t metric, const char *const *values)
{
    AUTO_SB struct sb key = SB_INIT;
    struct series *s;

    put_labels(&m->defs[metric], values, &key);
    s = strmap_get(m->series[metric], sb_str(&key));
    if (s)
        return s;
    if (strmap_len(m->series[metric]) >= METRICS_MAX_SERIES) {
        m->dropped++;
        return NULL;
    }
    s = xcalloc(1, sizeof *s);
    s->labels = xstrdup(sb_str(&key));
    strmap_put(m->series[metric], s->labels, s);
    return s;
}

static void
put_labels(const struct metric_def *d, const char *const *values, struct sb *out)
{
    for (size_t i = 0; d->labels[i]; i++) {
        sb_printf(out, "%s%s=\"", i ? "," : "", d->labels[i]);
        put_escaped(out, values[i] ? values[i] : "", METRICS_MAX_VALUE, true);
        sb_putc(out, '"');
    }
}

/* Cut at a character's beginning, so that it stays UTF-8 where it was. */
static void
put_escaped(struct sb *out, const char *text, size_t max, bool quotes)
{
    for (size_t i = 0; text[i]; i++) {
        if (i >= max && ((unsigned char)text[i] & 0xc0) != 0x80)
            break;
        if (text[i] == '\n') {
            sb_puts(out, "\\n");
            continue;
        }
        if (text[i] == '\\' || (quotes && text[i] == '"'))
            sb_putc(out, '\\');
        sb_putc(out, text[i]);
    }
}

static void
put_number(struct sb *out, double v)
{
    if (isnan(v))
        sb_puts(out, "NaN");
    else if (isinf(v))
        sb_puts(out, v > 0 ? "+Inf" : "-Inf");
    else
        sb_printf(out, "%.15g", v);
}

static void
put_head(const struct metric_def *d, struct sb *out)
{
    sb_printf(out, "# HELP %s ", d->name);
    put_escaped(out, d->help, strlen(d->help), false);
    sb_printf(out, "\n# TYPE %s %s\n", d->name, types[d->type]);
}

static void
put_sample(const struct metric_def *d, const struct series *s, struct sb *out)
{
    bool any = s->labels[0] != '\0';

    if (d->type != METRIC_HISTOGRAM) {
        sb_printf(out, any ? "%s{%s} " : "%s%s ", d->name, s->labels);
        put_number(out, s->value);
        sb_putc(out, '\n');
        return;
    }
    for (size_t i = 0; i <= d->buckets_len; i++) {
        sb_printf(out, "%s_bucket{%s%sle=\"", d->name, s->labels, any ? "," : "");
        put_number(out, i < d->buckets_len ? d->buckets[i] : INFINITY);
        sb_printf(out, "\"} %llu\n",
                  (unsigned long long)(i < d->buckets_len ? s->buckets[i] : s->count));
    }
    sb_printf(out, any ? "%s_sum{%s} " : "%s_sum%s ", d->name, s->labels);
    put_number(out, s->value);
    sb_printf(out, any ? "\n%s_count{%s} %llu\n" : "\n%s_count%s %llu\n", d->name, s->labels,
              (unsigned long long)s->count);
}
