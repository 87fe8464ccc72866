/* Row downtime: how long a guest that writes at a quarter of the link's speed stands still at the
 * switchover, as its own vCPU's clock saw it. A smaller guest than in the other rows, because only
 * the last round counts and fifty are wanted. */
#include "bench/bench_rows.h"

#include "bench/bench_link.h"
#include "bench/bench_move.h"

#define BOUND_P50_MS 10.0
#define BOUND_P99_MS 40.0
#define LINK_RUNS    3
#define SHARE        4 /* the guest writes at the link's speed divided by this */

struct downtime {
    struct bench_samples guest, engine, total, rounds, phase[4];
};

static const char *const phases[] = {"of it: stop", "of it: last scan", "of it: last pages",
                                     "of it: state"};

static void
add(struct downtime *d, const struct bench_move *m)
{
    const struct mig_downtime *p = &m->stats.downtime;
    const uint64_t us[] = {p->stop_us, p->scan_us, p->pages_us, p->state_us};

    bench_samples_add(&d->guest, (double)m->downtime_us / 1e3);
    bench_samples_add(&d->engine, (double)m->stats.downtime_us / 1e3);
    bench_samples_add(&d->total, (double)m->us / 1e6);
    bench_samples_add(&d->rounds, m->stats.round);
    for (size_t i = 0; i < ARRAY_LEN(us); i++)
        bench_samples_add(&d->phase[i], (double)us[i] / 1e3);
}

static void
report(struct bench_row *row, struct downtime *d)
{
    bench_row_limit(row, "ms", bench_quantile(&d->guest, 0.5), BOUND_P50_MS, false,
                    "guest-visible downtime, P50");
    bench_row_limit(row, "ms", bench_quantile(&d->guest, 0.99), BOUND_P99_MS, false,
                    "guest-visible downtime, P99");
    bench_row_take(row, "ms", &d->guest, "downtime as the guest saw it");
    bench_row_take(row, "ms", &d->engine, "downtime as the source saw it");
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        bench_row_take(row, "ms", &d->phase[i], "%s", phases[i]);
    bench_row_take(row, "s", &d->total, "total time");
    bench_row_take(row, "", &d->rounds, "rounds");
}

int
bench_row_downtime(struct bench_run *b, struct err *err)
{
    uint64_t bytes = bench_run_memory(b, 512ull << 20, 256ull << 20);
    struct native_config cfg = {
        .memory_bytes = bytes, .vcpus = 1, .fill_bytes = bytes, .workload = "sequential"};
    unsigned runs = bench_run_runs(b, 50, 12);
    struct bench_row *row = bench_report_row(b->report, "downtime", "%u runs", runs);
    struct native_guest *g = NULL;
    struct downtime d = {0};
    struct bench_sides sides;
    const uint8_t *memory;
    double link = 0;
    int rc;

    bench_machine_touch(2 * bytes);
    rc = bench_sides_start(&sides, err);
    if (rc == 0)
        rc = bench_move_guest_start(&cfg, "downtime", &g, err);
    if (rc == 0)
        rc = bench_move_guest_memory(g, &memory, err);
    if (rc == 0)
        rc = bench_link_speed(&sides, memory, bytes, LINK_RUNS, &link, err);
    if (rc == 0)
        rc = native_set_rate(g, (uint64_t)(link / SHARE), err);
    for (unsigned i = 0; i < runs && rc == 0; i++) {
        struct bench_move m = {
            .downtime = true, .verify = true, .verbose = b->o->verbose, .channels = b->o->channels};

        bench_run_progress(b, "downtime: run %u of %u", i + 1, runs);
        rc = bench_move(&sides, g, &m, err);
        if (rc == 0)
            add(&d, &m);
    }
    bench_move_guest_stop(g);
    bench_sides_stop(&sides);
    snprintf(row->title, sizeof row->title,
             "%.3g MiB, sequential writes of %.2f GB/s (a quarter of the link's %.2f), %u runs",
             (double)bytes / (1u << 20), link / SHARE / 1e9, link / 1e9, runs);
    if (rc == 0)
        report(row, &d);
    bench_samples_done(&d.guest);
    bench_samples_done(&d.engine);
    bench_samples_done(&d.total);
    bench_samples_done(&d.rounds);
    for (size_t i = 0; i < ARRAY_LEN(d.phase); i++)
        bench_samples_done(&d.phase[i]);
    return rc;
}
