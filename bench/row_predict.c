/* Row predict: what the engine says before the first byte, and what it comes to, over a matrix of
 * workloads, rates and links. The engine learns the link from migrations of the same process, as it
 * does in a handler, so one goes before that does not count. */
#include "bench/bench_rows.h"

#include <math.h>

#include "bench/bench_link.h"
#include "bench/bench_move.h"

#define LIMIT          (256ull << 20) /* bytes a second: of the limited link */
#define BOUND_TOTAL    15.0           /* percent */
#define BOUND_DOWNTIME 10.0           /* percent, or */
#define BOUND_DOWN_MS  5.0
#define LINK_RUNS      2

static const struct workload {
    const char *name;
    double bytes_a_page; /* that are written for one page that becomes dirty */
} workloads[] = {{"idle", 0},        {"sequential", 4096}, {"hotcold", 4096},
                 {"randomwords", 8}, {"zipf", 1024},       {"mix", 1300}};

static const double shares[] = {0.1, 0.3}; /* of the link: pages that become dirty */

struct predict {
    struct bench_run *b;
    struct bench_sides sides;
    uint64_t bytes;
    double link; /* bytes a second without a limit */
    /* a sample a migration */
    struct bench_samples total, total_off, downtime;
    struct off { /* a predicted downtime from the real one; share: of what is allowed */
        struct bench_samples ms, percent, share;
    } before, decided;
    unsigned unknown; /* that nothing was predicted for */
};

/* |a - b| in percent of b. */
static double
percent_off(double a, double b)
{
    return b > 0 ? 100 * fabs(a - b) / b : NAN;
}

static void
add_off(struct off *o, uint64_t said_us, double real_us)
{
    double ms = fabs((double)said_us - real_us) / 1e3,
           percent = percent_off((double)said_us, real_us);

    bench_samples_add(&o->ms, ms);
    bench_samples_add(&o->percent, percent);
    bench_samples_add(&o->share, fmin(ms / BOUND_DOWN_MS, percent / BOUND_DOWNTIME));
}

static void
off_done(struct off *o)
{
    bench_samples_done(&o->ms);
    bench_samples_done(&o->percent);
    bench_samples_done(&o->share);
}

static void
take(struct predict *p, const struct bench_move *m)
{
    double real = (double)(m->stats.finished_us - m->stats.started_us);
    double down = (double)m->stats.downtime_us;

    if (!m->predicted) {
        p->unknown++;
        return;
    }
    bench_samples_add(&p->total, real / 1e6);
    bench_samples_add(&p->total_off, percent_off((double)m->before.predicted_total_p50_us, real));
    bench_samples_add(&p->downtime, down / 1e3);
    add_off(&p->before, m->before.predicted_downtime_us, down);
    add_off(&p->decided, m->stats.predicted_downtime_us, down);
}

/* One guest: over the limited link and the other. */
static int
run_cell(struct predict *p, const struct workload *w, double share, struct err *err)
{
    struct native_config cfg = {
        .memory_bytes = p->bytes, .vcpus = 1, .fill_bytes = p->bytes, .workload = w->name};
    struct native_guest *g = NULL;
    int rc = bench_move_guest_start(&cfg, "predict", &g, err);

    for (int limited = 0; limited < (p->b->o->quick ? 1 : 2) && rc == 0; limited++) {
        double link = limited ? (double)LIMIT : p->link;
        struct bench_move m = {.verbose = p->b->o->verbose,
                               .channels = p->b->o->channels,
                               .downtime = share > 0,
                               .verify = true,
                               .limits.bandwidth_bytes_per_s = limited ? LIMIT : 0};

        bench_run_progress(p->b, "predict: %s, %.0f %% of %.2f GB/s", w->name, 100 * share,
                           link / 1e9);
        rc = native_set_rate(g, (uint64_t)(link * share / 4096 * w->bytes_a_page), err);
        if (rc == 0)
            rc = bench_move(&p->sides, g, &m, err);
        if (rc == 0)
            take(p, &m);
    }
    bench_move_guest_stop(g);
    return rc ? err_prefix(err, rc, "%s", w->name) : 0;
}

/* What the link carries; and a migration that the engine learns from. */
static int
warm_up(struct predict *p, struct err *err)
{
    struct native_config cfg = {.memory_bytes = p->bytes, .vcpus = 1, .fill_bytes = p->bytes};
    struct bench_move m = {.verbose = p->b->o->verbose, .channels = p->b->o->channels};
    struct native_guest *g = NULL;
    const uint8_t *memory;
    int rc = bench_move_guest_start(&cfg, "warm", &g, err);

    if (rc == 0)
        rc = bench_move_guest_memory(g, &memory, err);
    if (rc == 0)
        rc = bench_link_speed(&p->sides, memory, p->bytes, LINK_RUNS, &p->link, err);
    if (rc == 0)
        rc = bench_move(&p->sides, g, &m, err);
    bench_move_guest_stop(g);
    return rc;
}

static void
report_downtime(struct bench_row *row, struct off *o, const char *when)
{
    char what[BENCH_TEXT];
    struct bench_check *c;

    snprintf(what, sizeof what, "downtime %s, error", when);
    c = bench_row_limit(row, "", bench_median(&o->share), 1, false, what);
    snprintf(c->bound, sizeof c->bound, "<= 10 %% or 5 ms");
    snprintf(c->ours_text, sizeof c->ours_text, "%.2f ms, %.0f %%", bench_median(&o->ms),
             bench_median(&o->percent));
    bench_row_take(row, "ms", &o->ms, "downtime, as predicted %s: off by", when);
    bench_row_take(row, "%", &o->percent, "downtime, as predicted %s: off by", when);
}

static void
report(struct predict *p, struct bench_row *row)
{
    if (p->unknown > 0)
        snprintf(row->note, sizeof row->note, "%u migrations without a prediction", p->unknown);
    bench_row_limit(row, "%", bench_median(&p->total_off), BOUND_TOTAL, false,
                    "total time at start, error");
    bench_row_take(row, "%", &p->total_off, "total time, as predicted at start: off by");
    bench_row_take(row, "s", &p->total, "total time");
    report_downtime(row, &p->before, "at start");
    report_downtime(row, &p->decided, "at the switch");
    bench_row_take(row, "ms", &p->downtime, "downtime");
}

int
bench_row_predict(struct bench_run *b, struct err *err)
{
    struct predict p = {.b = b, .bytes = bench_run_memory(b, 512ull << 20, 256ull << 20)};
    unsigned runs = bench_run_runs(b, 1, 1);
    struct bench_row *row = bench_report_row(b->report, "predict", "predictions");
    int rc;

    bench_machine_touch(2 * p.bytes);
    rc = bench_sides_start(&p.sides, err);
    if (rc == 0)
        rc = warm_up(&p, err);
    for (unsigned i = 0; i < runs && rc == 0; i++) {
        for (size_t w = 0; w < ARRAY_LEN(workloads) && rc == 0; w++) {
            if (workloads[w].bytes_a_page == 0)
                rc = run_cell(&p, &workloads[w], 0, err);
            for (size_t k = 0; workloads[w].bytes_a_page > 0 && k < ARRAY_LEN(shares) && rc == 0;
                 k++)
                rc = run_cell(&p, &workloads[w], shares[k], err);
        }
    }
    bench_sides_stop(&p.sides);
    snprintf(row->title, sizeof row->title,
             "%.3g MiB; idle and five workloads that dirty 10 %% and 30 %% of the link, which "
             "carries %.2f GB/s%s; %zu migrations",
             (double)p.bytes / (1u << 20), p.link / 1e9,
             b->o->quick ? "" : " or is limited to 256 MiB/s", p.total.len + p.unknown);
    if (rc == 0)
        report(&p, row);
    bench_samples_done(&p.total);
    bench_samples_done(&p.total_off);
    bench_samples_done(&p.downtime);
    off_done(&p.before);
    off_done(&p.decided);
    return rc;
}
