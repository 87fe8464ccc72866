/* Row sparse: a large guest that has touched next to nothing. */
#include "bench/bench_rows.h"

#include "bench/bench_move.h"

#define TOUCHED (64ull << 20)
#define BOUND_S 0.3

int
bench_row_sparse(struct bench_run *b, struct err *err)
{
    uint64_t bytes = bench_run_memory(b, 16ull << 30, 16ull << 30);
    struct native_config cfg = {.memory_bytes = bytes, .vcpus = 1, .fill_bytes = TOUCHED};
    unsigned runs = bench_run_runs(b, 5, 3);
    struct bench_row *row =
        bench_report_row(b->report, "sparse", "%.3g GiB never touched but for 64 MiB, %u runs",
                         (double)bytes / (1u << 30), runs);
    struct bench_samples seconds = {0}, downtime = {0};
    struct native_guest *g = NULL;
    struct bench_sides sides;
    int rc;

    bench_machine_touch(4 * TOUCHED);
    rc = bench_sides_start(&sides, err);
    if (rc == 0)
        rc = bench_move_guest_start(&cfg, "sparse", &g, err);
    for (unsigned i = 0; i < runs && rc == 0; i++) {
        struct bench_move m = {
            .verify = true, .verbose = b->o->verbose, .channels = b->o->channels};

        bench_run_progress(b, "sparse: run %u of %u", i + 1, runs);
        rc = bench_move(&sides, g, &m, err);
        bench_samples_add(&seconds, (double)m.us / 1e6);
        bench_samples_add(&downtime, (double)m.stats.downtime_us / 1e3);
    }
    bench_move_guest_stop(g);
    bench_sides_stop(&sides);
    if (rc == 0)
        bench_row_limit(row, "s", bench_median(&seconds), BOUND_S, false, "total time");
    bench_row_take(row, "s", &seconds, "total time");
    bench_row_take(row, "ms", &downtime, "downtime");
    return rc;
}
