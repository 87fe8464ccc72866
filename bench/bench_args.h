/* drover-bench's command line, and a whole run of it. */
#ifndef BENCH_BENCH_ARGS_H
#define BENCH_BENCH_ARGS_H

#include "bench/bench_rows.h"

enum bench_format { BENCH_TABLE, BENCH_JSON, BENCH_MARKDOWN, BENCH_SVG };

struct bench_args {
    struct options *parsed;
    bool help;
    struct bench_options o;
    enum bench_format format;
    const char *save; /* folder for bench.json, bench.md, bench.svg; NULL = none */
    int save_fd;      /* it, open; -1 = none */
};

/* argv as main has it; borrowed. *ret is the caller's. -EINVAL: one line
 * that begins with the program's name and says what is wrong and what is allowed. Makes the folder of --save. */
int bench_args_parse(int argc, char *const *argv, struct bench_args **ret, struct err *err);
void bench_args_free(struct bench_args *a); /* NULL is fine */
void bench_args_print_help(void);
/* False when nothing that is measured starts a guest. */
bool bench_args_need_house(const struct bench_args *a);

/* Measures what was asked for and prints it, in a house (bench_house.h) where one is needed. Exit status: 0 all that
 * must hold does, 1 something could not be measured, 2 something does not hold. */
int bench_run_all(const struct bench_args *a);

#endif
