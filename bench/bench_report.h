/* What a run of drover-bench found: rows, each with figures that must hold (checks, with a peer
 * beside them where there is one) and figures that are only shown. Not thread-safe. How it is
 * printed: bench_print.h. */
#ifndef BENCH_BENCH_REPORT_H
#define BENCH_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "bench/bench_machine.h"
#include "bench/bench_stat.h"

#define BENCH_TEXT       200
#define BENCH_MAX_CHECKS 12
#define BENCH_MAX_ROWS   24

/* One thing that must hold: ours is at least, or at most, limit. */
struct bench_check {
    char what[BENCH_TEXT];
    const char *unit;                  /* "GB/s", "ms": of ours, peer and limit; static */
    double ours, peer, limit;          /* peer: NAN = there is none */
    bool at_least;                     /* else: at most */
    double ratio;                      /* as it is spoken of ("times faster"); NAN = none */
    char peer_name[BENCH_TEXT];        /* "" = none */
    char bound[BENCH_TEXT];            /* what must hold, for people: ">= 0.90 of it" */
    char ours_text[64], peer_text[64]; /* instead of the number: "moved in 3.1 s"; "" = none */
};

struct bench_figure {
    char what[BENCH_TEXT];
    const char *unit; /* static */
    struct bench_samples samples;
};

struct bench_row {
    const char *id;              /* static: "raw" */
    char size[16];               /* tells rows of one id apart: "5000 nodes"; "" = none */
    char title[BENCH_TEXT];      /* what was measured, and how much of it */
    char absent[2 * BENCH_TEXT]; /* why it was not measured; "" = it was */
    bool failed;                 /* absent because something went wrong */
    char note[2 * BENCH_TEXT];   /* "" = none */
    struct bench_check checks[BENCH_MAX_CHECKS];
    size_t check_len;
    struct bench_figure *figures;
    size_t figure_len;
    double seconds; /* that measuring took */
};

struct bench_report {
    struct bench_machine machine;
    bool quick;
    struct bench_row rows[BENCH_MAX_ROWS];
    size_t row_len;
    char warnings[8][BENCH_TEXT];
    size_t warning_len;
};

void bench_report_done(struct bench_report *r);
/* A new row. Valid until the report is done; id is borrowed. */
struct bench_row *bench_report_row(struct bench_report *r, const char *id, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void bench_report_warn(struct bench_report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A new figure of a row, without samples. Valid until the next one is made. */
struct bench_figure *bench_row_figure(struct bench_row *row, const char *unit, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same with the samples of s, which is left empty. */
void bench_row_take(struct bench_row *row, const char *unit, struct bench_samples *s,
                    const char *fmt, ...) PRINTF_LIKE(4, 5);

/* ours against factor times the peer. */
struct bench_check *bench_row_against(struct bench_row *row, const char *unit, double ours,
                                      double peer, double factor, bool at_least, const char *what,
                                      const char *peer_name);
/* Times: ours is so many times faster than the peer. */
struct bench_check *bench_row_faster(struct bench_row *row, const char *unit, double ours,
                                     double peer, double times, const char *what,
                                     const char *peer_name);
/* ours against a number. */
struct bench_check *bench_row_limit(struct bench_row *row, const char *unit, double ours,
                                    double limit, bool at_least, const char *what);

bool bench_check_met(const struct bench_check *c); /* false when a figure is missing, too */
/* Numbers for people: three digits that count. */
void bench_number(char *buf, size_t size, double v);

#endif
