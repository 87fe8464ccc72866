/* The rows of the table: one function each, or one for several that are measured in turn with one
 * another. Each adds its rows to the report. */
#ifndef BENCH_BENCH_ROWS_H
#define BENCH_BENCH_ROWS_H

#include "bench/bench_report.h"
#include "bench/bench_sides.h"

enum bench_row_bit {
    BENCH_ROW_RAW = 1 << 0,
    BENCH_ROW_TLS = 1 << 1,
    BENCH_ROW_CPU = 1 << 2,
    BENCH_ROW_QEMU = 1 << 3,
    BENCH_ROW_SPARSE = 1 << 4,
    BENCH_ROW_DOWNTIME = 1 << 5,
    BENCH_ROW_FAULTS = 1 << 6,
    BENCH_ROW_PREDICT = 1 << 7,
    BENCH_ROW_DELTA = 1 << 8,
    BENCH_ROW_SCHED = 1 << 9,
    BENCH_ROW_REPLAY = 1 << 10,
    BENCH_ROW_RELAY = 1 << 11,
    BENCH_ROW_RDMA = 1 << 12,
};

struct bench_options {
    unsigned rows; /* bits */
    bool quick, verbose;
    uint64_t memory_bytes;   /* 0 = the row's own */
    unsigned runs;           /* 0 = the row's own */
    unsigned channels;       /* of the engine; 0 = its own choice */
    const char *const *qemu; /* programs */
    size_t qemu_len;
    size_t nodes;        /* of the scheduler's row; 0 = its own three sizes */
    const char *data;    /* folder of recorded placements */
    const char *rdma_ip; /* NULL = any address with a device */
};

struct bench_run {
    const struct bench_options *o;
    struct bench_report *report;
    int netns; /* that the program was started in; -1 = no row needs it */
};

/* Each: 0, or -errno with err when something went wrong that is not a figure. */
int bench_row_streams(struct bench_run *b, struct err *err); /* raw, tls, cpu */
int bench_row_qemu(struct bench_run *b, struct err *err);
int bench_row_sparse(struct bench_run *b, struct err *err);
int bench_row_downtime(struct bench_run *b, struct err *err);
int bench_row_faults(struct bench_run *b, struct err *err);
int bench_row_predict(struct bench_run *b, struct err *err);
int bench_row_delta(struct bench_run *b, struct err *err);
int bench_row_sched(struct bench_run *b, struct err *err);
int bench_row_replay(struct bench_run *b, struct err *err);
int bench_row_relay(struct bench_run *b, struct err *err); /* two rows: plain, TLS */
int bench_row_rdma(struct bench_run *b, struct err *err);  /* two rows: pre-copy, faults */

/* What was asked for, or the row's own. */
uint64_t bench_run_memory(const struct bench_run *b, uint64_t usual, uint64_t quick);
unsigned bench_run_runs(const struct bench_run *b, unsigned usual, unsigned quick);
/* One line on stderr: what is being measured. Overwritten by the next on a terminal. */
void bench_run_progress(const struct bench_run *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Before a row: says in the report when something else uses the CPUs. */
void bench_run_quiet(struct bench_run *b, const char *row);

#endif
