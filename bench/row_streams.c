/* Rows raw, tls and cpu: a guest full of random memory without a writer, moved by the engine and,
 * in turn with it, sent by 1, 2 and 4 plain TCP streams that do no more than that. What else the
 * machine does falls on all alike. */
#include "bench/bench_rows.h"

#include <math.h>

#include "bench/bench_certs.h"
#include "bench/bench_link.h"
#include "bench/bench_move.h"
#include "proto/sum.h"

#define RAW_BOUND 0.90
#define TLS_BOUND 0.85
#define CPU_BOUND 0.25

static const struct kind {
    const char *text;
    unsigned rows;    /* that need it */
    unsigned streams; /* 0 = the engine */
    bool encrypted, allocated;
    const char *control; /* of raw streams; NULL = the system's choice */
} kinds[] = {
    {"1 raw TCP stream", BENCH_ROW_RAW, 1, false, true, NULL},
    {"2 raw TCP streams", BENCH_ROW_RAW, 2, false, true, NULL},
    {"4 raw TCP streams", BENCH_ROW_RAW, 4, false, true, NULL},
    {"2 raw TCP streams with CUBIC", BENCH_ROW_RAW, 2, false, true, "cubic"},
    {"engine into touched memory", BENCH_ROW_RAW | BENCH_ROW_CPU, 0, false, true, NULL},
    {"engine into memory never touched", BENCH_ROW_RAW | BENCH_ROW_CPU, 0, false, false, NULL},
    {"1 stream through AES-128-GCM", BENCH_ROW_TLS, 1, true, true, NULL},
    {"2 streams through AES-128-GCM", BENCH_ROW_TLS, 2, true, true, NULL},
    {"4 streams through AES-128-GCM", BENCH_ROW_TLS, 4, true, true, NULL},
    {"2 streams through AES-128-GCM with CUBIC", BENCH_ROW_TLS, 2, true, true, "cubic"},
    {"engine with TLS into touched memory", BENCH_ROW_TLS, 0, true, true, NULL},
    {"engine with TLS into memory never touched", BENCH_ROW_TLS, 0, true, false, NULL},
};

#define KINDS ARRAY_LEN(kinds)

struct streams {
    struct bench_run *b;
    struct bench_sides sides;
    struct native_guest *guest;
    const uint8_t *memory;
    uint64_t bytes, sum;
    unsigned channels; /* that the engine used last */
    struct bench_samples gb_per_s[KINDS], near_cpu[KINDS], far_cpu[KINDS], downtime[KINDS];
};

static int measure(struct streams *s, unsigned runs, struct err *err);
static int run_one(struct streams *s, size_t k, struct err *err);
static void report_speed(struct streams *s, struct bench_row *row, bool encrypted, double bound);
static void report_cpu(struct streams *s, struct bench_row *row);

int
bench_row_streams(struct bench_run *b, struct err *err)
{
    struct streams s = {.b = b, .bytes = bench_run_memory(b, 2ull << 30, 512ull << 20)};
    struct native_config cfg = {.memory_bytes = s.bytes, .vcpus = 1, .fill_bytes = s.bytes};
    unsigned runs = bench_run_runs(b, 7, 3);
    double gib = (double)s.bytes / (1u << 30);
    struct bench_row *raw = NULL, *tls = NULL, *cpu = NULL;
    int rc;

    if (b->o->rows & BENCH_ROW_RAW)
        raw = bench_report_row(b->report, "raw",
                               "%.3g GiB of random memory, no writer, plaintext, %u runs in turn",
                               gib, runs);
    if (b->o->rows & BENCH_ROW_TLS) {
        tls = bench_report_row(b->report, "tls",
                               "%.3g GiB of random memory, no writer, TLS, %u runs in turn", gib,
                               runs);
    }
    if (b->o->rows & BENCH_ROW_CPU)
        cpu = bench_report_row(
            b->report, "cpu", "CPU time of a migration of %.3g GiB, plaintext, %u runs", gib, runs);
    bench_machine_touch(2 * s.bytes);
    rc = bench_sides_start(&s.sides, err);
    if (rc == 0)
        rc = bench_move_guest_start(&cfg, "streams", &s.guest, err);
    if (rc == 0)
        rc = bench_move_guest_memory(s.guest, &s.memory, err);
    if (rc == 0 && tls)
        rc = bench_certs_make(err);
    if (rc == 0) {
        s.sum = sum_bytes(s.memory, s.bytes, 0);
        rc = measure(&s, runs, err);
    }
    bench_move_guest_stop(s.guest);
    bench_sides_stop(&s.sides);
    if (rc == 0) {
        if (cpu)
            report_cpu(&s, cpu);
        if (raw)
            report_speed(&s, raw, false, RAW_BOUND);
        if (tls)
            report_speed(&s, tls, true, TLS_BOUND);
    }
    for (size_t k = 0; k < KINDS; k++) {
        bench_samples_done(&s.gb_per_s[k]);
        bench_samples_done(&s.near_cpu[k]);
        bench_samples_done(&s.far_cpu[k]);
        bench_samples_done(&s.downtime[k]);
    }
    return rc;
}

static int
measure(struct streams *s, unsigned runs, struct err *err)
{
    for (unsigned i = 0; i < runs; i++) {
        for (size_t k = 0; k < KINDS; k++) {
            int rc;

            if (!(kinds[k].rows & s->b->o->rows))
                continue;
            bench_run_progress(s->b, "run %u of %u: %s", i + 1, runs, kinds[k].text);
            rc = run_one(s, k, err);
            if (rc != 0)
                return err_prefix(err, rc, "%s", kinds[k].text);
        }
    }
    return 0;
}

static int
run_one(struct streams *s, size_t k, struct err *err)
{
    struct bench_move m = {.allocated = kinds[k].allocated,
                           .encrypted = kinds[k].encrypted,
                           .verify = true,
                           .verbose = s->b->o->verbose,
                           .channels = s->b->o->channels};
    struct bench_link l = {.memory = s->memory,
                           .bytes = s->bytes,
                           .sum = s->sum,
                           .streams = kinds[k].streams,
                           .encrypted = kinds[k].encrypted,
                           .control = kinds[k].control};
    double gb = (double)s->bytes / 1e9;
    uint64_t cpu = bench_cpu_us();
    int rc;

    if (kinds[k].streams > 0) {
        rc = bench_link_send(&s->sides, &l, err);
        m.cpu_us = bench_cpu_us() - cpu;
        m.us = l.us;
        m.far_cpu_us = l.far_cpu_us;
    } else {
        bench_machine_touch(s->bytes);
        rc = bench_move(&s->sides, s->guest, &m, err);
        s->channels = m.stats.channels;
        bench_samples_add(&s->downtime[k], (double)m.stats.downtime_us / 1e3);
    }
    if (rc != 0)
        return rc;
    bench_samples_add(&s->gb_per_s[k], gb * 1e6 / (double)m.us);
    bench_samples_add(&s->near_cpu[k], (double)m.cpu_us / 1e6 / gb);
    bench_samples_add(&s->far_cpu[k], (double)m.far_cpu_us / 1e6 / gb);
    return 0;
}

static void
report_speed(struct streams *s, struct bench_row *row, bool encrypted, double bound)
{
    double best = NAN, cubic = NAN, touched = NAN, fresh = NAN;
    const char *best_name = "";
    size_t engine = 0;

    for (size_t k = 0; k < KINDS; k++) {
        double median = bench_median(&s->gb_per_s[k]);

        if (kinds[k].encrypted != encrypted)
            continue;
        if (kinds[k].streams == 0 && kinds[k].allocated) {
            touched = median;
            engine = k;
        } else if (kinds[k].streams == 0) {
            fresh = median;
        } else if (kinds[k].control) {
            cubic = median;
        } else if (!(median <= best)) {
            best = median;
            best_name = kinds[k].text;
        }
    }
    bench_row_against(row, "GB/s", touched, best, bound, true,
                      encrypted ? "engine with TLS" : "engine", best_name);
    snprintf(row->note, sizeof row->note,
             "%u channels; into memory never touched %.2f of the same streams; %.2f of 2 streams "
             "that ask for CUBIC, as the engine does where the peer is near; downtime %.1f ms",
             s->channels, fresh / best, touched / cubic, bench_median(&s->downtime[engine]));
    for (size_t k = 0; k < KINDS; k++) {
        if (kinds[k].encrypted == encrypted)
            bench_row_take(row, "GB/s", &s->gb_per_s[k], "%s", kinds[k].text);
    }
}

static void
report_cpu(struct streams *s, struct bench_row *row)
{
    double ours = NAN;

    for (size_t k = 0; k < KINDS; k++) {
        if (kinds[k].streams == 0 && !kinds[k].encrypted && kinds[k].allocated)
            ours = bench_median(&s->near_cpu[k]);
    }
    bench_row_limit(row, "s/GB", ours, CPU_BOUND, false, "source");
    for (size_t k = 0; k < KINDS; k++) {
        if (s->near_cpu[k].len == 0)
            continue;
        bench_row_take(row, "s/GB", &s->near_cpu[k], "%s: source", kinds[k].text);
        bench_row_take(row, "s/GB", &s->far_cpu[k], "%s: target", kinds[k].text);
    }
}
