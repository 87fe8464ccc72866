/* A report as a table for people, as JSON, as Markdown for the documentation, and as a picture. All
 * append to out. Pure. */
#ifndef BENCH_BENCH_PRINT_H
#define BENCH_BENCH_PRINT_H

#include "base/sb.h"
#include "bench/bench_report.h"

void bench_print_table(const struct bench_report *r, struct sb *out);
void bench_print_json(const struct bench_report *r, struct sb *out);
/* One block, from a comment that says what made it to one that ends it. */
void bench_print_markdown(const struct bench_report *r, struct sb *out);
/* Bars, ours and the peer's, with a line where the bound is. SVG 1.1, light background. */
void bench_print_svg(const struct bench_report *r, struct sb *out);

/* "met", "NOT MET". */
const char *bench_verdict(const struct bench_check *c);
/* The number with its unit, or the text instead of it. */
void bench_check_ours(const struct bench_check *c, char *buf, size_t size);
void bench_check_peer(const struct bench_check *c, char *buf, size_t size); /* "" = none */

#endif
