/* Row rdma: a guest full of random memory moved over an RDMA device and over TCP between the same two
 * processes at one address, in turn, beside what perftest's ib_write_bw carries; and post-copy's page
 * faults when they are answered by an RDMA READ, by a request over RDMA, and by a request over TCP.
 * Both ends are where drover-bench was started: soft-RoCE exists in no other network namespace. */
#include "bench/bench_rows.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/sb.h"
#include "bench/bench_faults.h"
#include "bench/bench_move.h"
#include "bench/bench_rdma.h"

#define BW_BOUND   0.8
#define SOFT_BYTES (64ull << 20)

enum { RDMA, TCP, SIDES };
static const char *const carriers[SIDES] = {[RDMA] = "RDMA", [TCP] = "TCP"};

static const struct kind {
    unsigned carrier;
    bool allocated;
} kinds[] = {{RDMA, true}, {RDMA, false}, {TCP, true}, {TCP, false}};

static const struct fault_kind {
    const char *text;
    unsigned carrier;
    bool reads; /* the target reads pages itself */
} fault_kinds[] = {{"RDMA READ", RDMA, true},
                   {"request over RDMA", RDMA, false},
                   {"request over TCP", TCP, false}};

#define KINDS       ARRAY_LEN(kinds)
#define FAULT_KINDS ARRAY_LEN(fault_kinds)

struct rdma_run {
    struct bench_run *b;
    struct bench_rdma device;
    struct bench_sides sides;
    uint64_t bytes;
    unsigned runs;
    bool no_perftest;
    struct bench_row *moves, *faults;
    uint64_t placed_pages;
    struct bench_samples perftest, gb_per_s[KINDS], near_cpu[KINDS], far_cpu[KINDS],
        machine_cpu[KINDS], downtime[KINDS];
    struct bench_samples fault_us[FAULT_KINDS];
    uint64_t fault_count[FAULT_KINDS], read_count[FAULT_KINDS];
};

static int measure_moves(struct rdma_run *r, struct err *err);
static int measure_faults(struct rdma_run *r, struct err *err);
static void report_moves(struct rdma_run *r);
static void report_faults(struct rdma_run *r);

static int
measure(struct rdma_run *r, struct err *err)
{
    int rc = bench_sides_start_at(&r->sides, r->b->netns, r->device.ip, err);

    if (rc == 0)
        rc = measure_moves(r, err);
    if (rc == 0)
        rc = measure_faults(r, err);
    bench_sides_stop(&r->sides);
    if (rc == 0) {
        report_moves(r);
        report_faults(r);
    }
    for (size_t k = 0; k < KINDS; k++) {
        bench_samples_done(&r->gb_per_s[k]);
        bench_samples_done(&r->near_cpu[k]);
        bench_samples_done(&r->far_cpu[k]);
        bench_samples_done(&r->machine_cpu[k]);
        bench_samples_done(&r->downtime[k]);
    }
    for (size_t k = 0; k < FAULT_KINDS; k++)
        bench_samples_done(&r->fault_us[k]);
    bench_samples_done(&r->perftest);
    return rc;
}

int
bench_row_rdma(struct bench_run *b, struct err *err)
{
    struct rdma_run r = {.b = b, .runs = bench_run_runs(b, 5, 3)};
    struct err why = {0};
    char what[BENCH_TEXT];
    int rc;

    if (setns(b->netns, CLONE_NEWNET) < 0)
        return err_set(err, -errno, "network namespace: %s", strerror(errno));
    rc = bench_rdma_find(b->o->rdma_ip, &r.device, &why);
    if (rc != 0) {
        struct bench_row *row = bench_report_row(b->report, "rdma", "migration over RDMA");

        if (b->o->rdma_ip) /* it was to be there */
            return err_set(err, rc, "--rdma-ip: %s", err_msg(&why));
        snprintf(row->absent, sizeof row->absent, "%.*s", (int)sizeof row->absent - 1,
                 err_msg(&why));
        return 0;
    }
    r.bytes = r.device.soft ? bench_run_memory(b, SOFT_BYTES, SOFT_BYTES)
                            : bench_run_memory(b, 1ull << 30, 256ull << 20);
    snprintf(what, sizeof what, "%llu MiB of random memory over %s%s, %u runs in turn",
             (unsigned long long)(r.bytes >> 20), r.device.device,
             r.device.soft ? " (soft-RoCE: an emulation's figures)" : "", r.runs);
    r.moves = bench_report_row(b->report, "rdma", "pre-copy, %s", what);
    r.faults = bench_report_row(b->report, "rdma", "post-copy at once, %s", what);
    snprintf(r.moves->size, sizeof r.moves->size, "%s", r.device.soft ? "soft-RoCE" : "");
    snprintf(r.faults->size, sizeof r.faults->size, "%s", r.device.soft ? "soft-RoCE" : "");
    return measure(&r, err);
}

/* --- pre-copy --- */

static int
run_perftest(struct rdma_run *r, struct err *err)
{
    double gb_per_s;
    int rc;

    if (r->no_perftest)
        return 0;
    rc = bench_rdma_write_bw(&r->device, r->bytes, &gb_per_s, err);
    r->no_perftest = rc == -ENOENT;
    if (rc == 0)
        bench_samples_add(&r->perftest, gb_per_s);
    return r->no_perftest ? 0 : rc;
}

static int
wrong_carrier(const struct mig_stats *st, unsigned carrier, struct err *err)
{
    bool rdma = st->transport == MIG_TRANSPORT_RDMA;

    if (rdma == (carrier == RDMA))
        return 0;
    return err_set(err, -EIO, "it went over %s: %s", rdma ? "RDMA" : "TCP", st->transport_why);
}

static int
run_move(struct rdma_run *r, struct native_guest *g, size_t k, struct err *err)
{
    unsigned carrier = kinds[k].carrier;
    struct bench_move m = {
        .allocated = kinds[k].allocated,
        .verify = true,
        .verbose = r->b->o->verbose,
        .channels = r->b->o->channels,
        .trusted = carrier == RDMA,
        .policy = {.transport = carrier == RDMA ? MIG_TRANSPORT_RDMA : MIG_TRANSPORT_TCP}};
    double gb = (double)r->bytes / 1e9;
    int rc;

    bench_machine_touch(r->bytes);
    rc = bench_move(&r->sides, g, &m, err);
    if (rc == 0)
        rc = wrong_carrier(&m.stats, carrier, err);
    if (rc != 0)
        return rc;
    bench_samples_add(&r->gb_per_s[k],
                      gb * 1e6 / (double)(m.stats.finished_us - m.stats.started_us));
    bench_samples_add(&r->near_cpu[k], (double)m.cpu_us / 1e6 / gb);
    bench_samples_add(&r->far_cpu[k], (double)m.far_cpu_us / 1e6 / gb);
    bench_samples_add(&r->machine_cpu[k], m.machine_cpu_s / gb);
    bench_samples_add(&r->downtime[k], (double)m.stats.downtime_us / 1e3);
    if (carrier == RDMA)
        r->placed_pages = m.stats.placed_pages;
    return 0;
}

static int
measure_moves(struct rdma_run *r, struct err *err)
{
    struct native_config cfg = {.memory_bytes = r->bytes, .vcpus = 1, .fill_bytes = r->bytes};
    struct native_guest *g = NULL;
    const uint8_t *memory;
    int rc;

    bench_machine_touch(2 * r->bytes);
    rc = bench_move_guest_start(&cfg, "rdma", &g, err);
    if (rc == 0)
        rc = bench_move_guest_memory(g, &memory, err);
    for (unsigned i = 0; i < r->runs && rc == 0; i++) {
        bench_run_progress(r->b, "rdma: run %u of %u", i + 1, r->runs);
        rc = run_perftest(r, err);
        for (size_t k = 0; k < KINDS && rc == 0; k++) {
            rc = run_move(r, g, k, err);
            if (rc != 0)
                err_prefix(err, rc, "over %s", carriers[kinds[k].carrier]);
        }
    }
    bench_move_guest_stop(g);
    return rc;
}

static void
report_moves(struct rdma_run *r)
{
    struct bench_row *row = r->moves;
    double rdma = bench_median(&r->gb_per_s[0]), tcp = bench_median(&r->gb_per_s[2]),
           perftest = bench_median(&r->perftest);
    AUTO_SB struct sb note = SB_INIT;

    if (r->device.soft && !r->no_perftest)
        bench_row_against(row, "GB/s", rdma, perftest, BW_BOUND, true, "engine over RDMA",
                          "ib_write_bw");
    if (r->no_perftest)
        sb_puts(&note, "ib_write_bw is not installed (package perftest); ");
    else
        sb_printf(&note,
                  "%.2f of ib_write_bw into memory already touched, %.2f into memory never "
                  "touched; ",
                  rdma / perftest, bench_median(&r->gb_per_s[1]) / perftest);
    sb_printf(&note, "%.2f of TCP; %.0f %% of the pages were placed by RDMA WRITE", rdma / tcp,
              100.0 * (double)r->placed_pages / ((double)r->bytes / 4096));
    snprintf(row->note, sizeof row->note, "%s", sb_str(&note));
    bench_row_take(row, "GB/s", &r->perftest, "ib_write_bw, 64 KiB at a time");
    for (size_t k = 0; k < KINDS; k++)
        bench_row_take(row, "GB/s", &r->gb_per_s[k], "engine over %s into memory %s",
                       carriers[kinds[k].carrier],
                       kinds[k].allocated ? "already touched" : "never touched");
    for (size_t k = 0; k < KINDS; k++) {
        const char *name = carriers[kinds[k].carrier];

        if (!kinds[k].allocated)
            continue;
        bench_row_take(row, "s/GB", &r->near_cpu[k], "CPU over %s: source", name);
        bench_row_take(row, "s/GB", &r->far_cpu[k], "CPU over %s: target", name);
        bench_row_take(row, "s/GB", &r->machine_cpu[k], "CPU over %s: the whole machine", name);
        bench_row_take(row, "ms", &r->downtime[k], "downtime over %s", name);
    }
}

/* --- post-copy --- */

static int
run_faults(struct rdma_run *r, struct bench_prober *g, uint64_t sum, size_t k, struct err *err)
{
    const struct fault_kind *kind = &fault_kinds[k];
    struct bench_faults f = {.guest = g,
                             .sum = sum,
                             .channels = r->b->o->channels,
                             .trusted = kind->carrier == RDMA,
                             .transport =
                                 kind->carrier == RDMA ? MIG_TRANSPORT_RDMA : MIG_TRANSPORT_TCP,
                             .window_bytes = kind->reads ? 0 : 1}; /* less than a page: none */
    int rc = bench_faults(&r->sides, &f, &r->fault_us[k], err);

    if (rc == 0)
        rc = wrong_carrier(&f.stats, kind->carrier, err);
    r->fault_count[k] += f.faults;
    r->read_count[k] += f.far_stats.read_faults;
    return rc;
}

static int
measure_faults(struct rdma_run *r, struct err *err)
{
    struct bench_prober g;
    uint64_t sum = 0;
    int rc = bench_prober_init(&g, r->bytes, err);

    if (rc == 0) {
        bench_prober_fill(&g, 1);
        sum = bench_prober_sum(&g);
    }
    for (unsigned i = 0; i < r->runs && rc == 0; i++) {
        bench_run_progress(r->b, "rdma: post-copy, run %u of %u", i + 1, r->runs);
        for (size_t k = 0; k < FAULT_KINDS && rc == 0; k++) {
            rc = run_faults(r, &g, sum, k, err);
            if (rc != 0)
                err_prefix(err, rc, "%s", fault_kinds[k].text);
        }
    }
    bench_prober_done(&g);
    return rc;
}

static void
report_faults(struct rdma_run *r)
{
    struct bench_row *row = r->faults;
    AUTO_SB struct sb note = SB_INIT;

    for (size_t k = 0; k < FAULT_KINDS; k++)
        sb_printf(&note, "%s%s: P50 %.0f us, P99 %.0f us, %llu faults", k ? "; " : "",
                  fault_kinds[k].text, bench_quantile(&r->fault_us[k], 0.5),
                  bench_quantile(&r->fault_us[k], 0.99), (unsigned long long)r->fault_count[k]);
    sb_printf(&note, "; engine's count of READs: %llu", (unsigned long long)r->read_count[0]);
    snprintf(row->note, sizeof row->note, "%s", sb_str(&note));
    for (size_t k = 0; k < FAULT_KINDS; k++)
        bench_row_take(row, "us", &r->fault_us[k], "page fault, bulk being pushed: %s",
                       fault_kinds[k].text);
}
