/* Row faults: how long a guest waits for a page of post-copy while the bulk of memory is pushed to
 * it, beside one request and answer of 4 KiB over an idle connection between the same two
 * namespaces. */
#include "bench/bench_rows.h"

#include "bench/bench_faults.h"
#include "bench/bench_link.h"

#define BOUND_P50   3.0
#define BOUND_P99   15.0
#define ROUND_TRIPS 4000

struct faults {
    struct bench_run *b;
    struct bench_sides sides;
    struct bench_prober guest;
    uint64_t bytes, sum;
    struct bench_samples round_trip, fault, count, bulk_s;
};

/* 1: the engine moved it without post-copy. */
static int
run_one(struct faults *f, struct err *err)
{
    struct bench_faults m = {.guest = &f->guest, .sum = f->sum, .channels = f->b->o->channels};
    int rc = bench_faults(&f->sides, &m, &f->fault, err);

    if (rc != 0)
        return rc;
    bench_samples_add(&f->count, (double)m.faults);
    bench_samples_add(&f->bulk_s, (double)m.far_stats.postcopy_us / 1e6);
    return m.stats.mode == MIG_MODE_POSTCOPY ? 0 : 1;
}

static void
report(struct faults *f, struct bench_row *row)
{
    double peer = bench_median(&f->round_trip);

    bench_row_against(row, "us", bench_quantile(&f->fault, 0.5), peer, BOUND_P50, false,
                      "fault latency, P50", "request and answer, median");
    bench_row_against(row, "us", bench_quantile(&f->fault, 0.99), peer, BOUND_P99, false,
                      "fault latency, P99", "request and answer, median");
    snprintf(row->note, sizeof row->note, "P99: faults %.0f us, requests and answers %.0f us",
             bench_quantile(&f->fault, 0.99), bench_quantile(&f->round_trip, 0.99));
}

int
bench_row_faults(struct bench_run *b, struct err *err)
{
    struct faults f = {.b = b, .bytes = bench_run_memory(b, 1ull << 30, 256ull << 20)};
    unsigned runs = bench_run_runs(b, 5, 2);
    struct bench_row *row = bench_report_row(
        b->report, "faults", "%.3g GiB of random memory by post-copy at once, %u runs",
        (double)f.bytes / (1u << 30), runs);
    int rc = bench_sides_start(&f.sides, err);

    bench_run_progress(b, "faults: requests and answers");
    if (rc == 0)
        rc = bench_link_round_trips(&f.sides, ROUND_TRIPS, &f.round_trip, err);
    if (rc == 0) {
        rc = bench_prober_init(&f.guest, f.bytes, err);
        if (rc == 0) {
            bench_prober_fill(&f.guest, 1);
            f.sum = bench_prober_sum(&f.guest);
        }
        for (unsigned i = 0; i < runs && rc == 0; i++) {
            bench_run_progress(b, "faults: run %u of %u", i + 1, runs);
            rc = run_one(&f, err);
        }
        bench_prober_done(&f.guest);
    }
    bench_sides_stop(&f.sides);
    if (rc == 0)
        report(&f, row);
    else if (rc > 0)
        snprintf(row->absent, sizeof row->absent,
                 "the engine moved it without post-copy; the peer alone");
    bench_row_take(row, "us", &f.round_trip, "request and answer of 4 KiB, idle");
    bench_row_take(row, "us", &f.fault, "page fault, bulk being pushed, as the guest saw it");
    bench_row_take(row, "", &f.count, "page faults in a run");
    bench_row_take(row, "s", &f.bulk_s, "post-copy, from resuming until all was there");
    return rc < 0 ? rc : 0;
}
