/* See bench_rows.h. */
#include "bench/bench_rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LISTEN_MS    200
#define BUSY_PERCENT 10.0

uint64_t
bench_run_memory(const struct bench_run *b, uint64_t usual, uint64_t quick)
{
    return b->o->memory_bytes ? b->o->memory_bytes : b->o->quick ? quick : usual;
}

unsigned
bench_run_runs(const struct bench_run *b, unsigned usual, unsigned quick)
{
    return b->o->runs ? b->o->runs : b->o->quick ? quick : usual;
}

void
bench_run_progress(const struct bench_run *b, const char *fmt, ...)
{
    bool tty = isatty(STDERR_FILENO);
    va_list ap;

    (void)b;
    if (!tty)
        return;
    va_start(ap, fmt);
    fprintf(stderr, "\r\033[K");
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fflush(stderr);
}

void
bench_run_quiet(struct bench_run *b, const char *row)
{
    double busy = bench_machine_busy(LISTEN_MS);

    if (busy > BUSY_PERCENT)
        bench_report_warn(b->report, "%s: other processes kept the CPUs %.0f %% busy before it",
                          row, busy);
}
