/* See bench_report.h. */
#include "bench/bench_report.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/sb.h"

void
bench_report_done(struct bench_report *r)
{
    for (size_t i = 0; i < r->row_len; i++) {
        struct bench_row *row = &r->rows[i];

        for (size_t k = 0; k < row->figure_len; k++)
            bench_samples_done(&row->figures[k].samples);
        free(row->figures);
    }
    *r = (struct bench_report){0};
}

struct bench_row *
bench_report_row(struct bench_report *r, const char *id, const char *fmt, ...)
{
    struct bench_row *row = &r->rows[r->row_len++];
    va_list ap;

    assert(r->row_len <= BENCH_MAX_ROWS);
    row->id = id;
    va_start(ap, fmt);
    vsnprintf(row->title, sizeof row->title, fmt, ap);
    va_end(ap);
    return row;
}

void
bench_report_warn(struct bench_report *r, const char *fmt, ...)
{
    va_list ap;

    if (r->warning_len == ARRAY_LEN(r->warnings))
        return;
    va_start(ap, fmt);
    vsnprintf(r->warnings[r->warning_len++], sizeof r->warnings[0], fmt, ap);
    va_end(ap);
}

PRINTF_LIKE(3, 0)
static struct bench_figure *
new_figure(struct bench_row *row, const char *unit, const char *fmt, va_list ap)
{
    struct bench_figure *f;

    row->figures = xreallocarray(row->figures, row->figure_len + 1, sizeof *row->figures);
    f = &row->figures[row->figure_len++];
    *f = (struct bench_figure){.unit = unit};
    vsnprintf(f->what, sizeof f->what, fmt, ap);
    return f;
}

struct bench_figure *
bench_row_figure(struct bench_row *row, const char *unit, const char *fmt, ...)
{
    struct bench_figure *f;
    va_list ap;

    va_start(ap, fmt);
    f = new_figure(row, unit, fmt, ap);
    va_end(ap);
    return f;
}

void
bench_row_take(struct bench_row *row, const char *unit, struct bench_samples *s, const char *fmt,
               ...)
{
    va_list ap;

    va_start(ap, fmt);
    new_figure(row, unit, fmt, ap)->samples = *s;
    va_end(ap);
    *s = (struct bench_samples){0};
}

static struct bench_check *
new_check(struct bench_row *row, const char *unit, double ours, const char *what)
{
    struct bench_check *c = &row->checks[row->check_len++];

    assert(row->check_len <= BENCH_MAX_CHECKS);
    *c = (struct bench_check){.unit = unit, .ours = ours, .peer = NAN, .ratio = NAN};
    snprintf(c->what, sizeof c->what, "%s", what);
    return c;
}

struct bench_check *
bench_row_against(struct bench_row *row, const char *unit, double ours, double peer, double factor,
                  bool at_least, const char *what, const char *peer_name)
{
    struct bench_check *c = new_check(row, unit, ours, what);

    c->peer = peer;
    c->at_least = at_least;
    c->limit = peer * factor;
    c->ratio = ours / peer;
    snprintf(c->peer_name, sizeof c->peer_name, "%s", peer_name);
    snprintf(c->bound, sizeof c->bound, "%s %g times", at_least ? ">=" : "<=", factor);
    return c;
}

struct bench_check *
bench_row_faster(struct bench_row *row, const char *unit, double ours, double peer, double times,
                 const char *what, const char *peer_name)
{
    struct bench_check *c = new_check(row, unit, ours, what);

    c->peer = peer;
    c->limit = peer / times;
    c->ratio = peer / ours;
    snprintf(c->peer_name, sizeof c->peer_name, "%s", peer_name);
    snprintf(c->bound, sizeof c->bound, ">= %g times faster", times);
    return c;
}

struct bench_check *
bench_row_limit(struct bench_row *row, const char *unit, double ours, double limit, bool at_least,
                const char *what)
{
    struct bench_check *c = new_check(row, unit, ours, what);

    c->limit = limit;
    c->at_least = at_least;
    snprintf(c->bound, sizeof c->bound, "%s %g %s", at_least ? ">=" : "<=", limit, unit);
    return c;
}

bool
bench_check_met(const struct bench_check *c)
{
    return c->at_least ? c->ours >= c->limit : c->ours <= c->limit; /* false for a NAN */
}

void
bench_number(char *buf, size_t size, double v)
{
    double a = fabs(v);

    if (isnan(v))
        snprintf(buf, size, "-");
    else
        snprintf(buf, size, "%.*f", a >= 100 ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : 3, v);
}
