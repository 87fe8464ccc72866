/* See bench_args.h. */
#include "bench/bench_args.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/options.h"
#include "bench/bench_print.h"

#define MAX_RUNS  999
#define MAX_NODES 1000000

static const struct row {
    const char *name;
    unsigned bit;
    int (*run)(struct bench_run *b, struct err *err);
} rows[] = {
    /* in the order of the report; several of one function are measured together */
    {"raw", BENCH_ROW_RAW, bench_row_streams},
    {"tls", BENCH_ROW_TLS, bench_row_streams},
    {"cpu", BENCH_ROW_CPU, bench_row_streams},
    {"qemu", BENCH_ROW_QEMU, bench_row_qemu},
    {"sparse", BENCH_ROW_SPARSE, bench_row_sparse},
    {"downtime", BENCH_ROW_DOWNTIME, bench_row_downtime},
    {"faults", BENCH_ROW_FAULTS, bench_row_faults},
    {"predict", BENCH_ROW_PREDICT, bench_row_predict},
    {"delta", BENCH_ROW_DELTA, bench_row_delta},
    {"relay", BENCH_ROW_RELAY, bench_row_relay},
    {"rdma", BENCH_ROW_RDMA, bench_row_rdma},
    {"sched", BENCH_ROW_SCHED, bench_row_sched},
    {"replay", BENCH_ROW_REPLAY, bench_row_replay},
};

static const char *const formats[] = {[BENCH_TABLE] = "table",
                                      [BENCH_JSON] = "json",
                                      [BENCH_MARKDOWN] = "markdown",
                                      [BENCH_SVG] = "svg",
                                      NULL};

static const struct options_def defs[] = {
    {.name = "quick", .type = OPTIONS_BOOL, .help = "fewer runs with less memory: two minutes"},
    {.name = "memory",
     .type = OPTIONS_SIZE,
     .min = 16 << 20,
     .help = "guest memory, instead of each row's own"},
    {.name = "runs",
     .type = OPTIONS_INT,
     .min = 1,
     .max = MAX_RUNS,
     .help = "runs of each kind, instead of each row's own"},
    {.name = "channels",
     .type = OPTIONS_INT,
     .max = 64,
     .dflt = "0",
     .help = "of the engine; 0 = its own choice"},
    {.name = "qemu",
     .type = OPTIONS_STRING,
     .repeat = true,
     .arg = "PROGRAM",
     .help = "a qemu-system-x86_64 to compare with, instead of those that are found"},
    {.name = "nodes",
     .type = OPTIONS_INT,
     .min = 1,
     .max = MAX_NODES,
     .help = "sched: one cluster of so many, instead of three"},
    {.name = "data",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .dflt = "../shared/data",
     .help = "replay: where the recorded placements are"},
    {.name = "rdma-ip",
     .type = OPTIONS_STRING,
     .arg = "ADDRESS",
     .help = "rdma: of this machine; without, the first that an RDMA device has"},
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .choices = formats,
     .dflt = "table",
     .help = "what is printed"},
    {.name = "verbose",
     .letter = 'v',
     .type = OPTIONS_BOOL,
     .help = "the engine's decisions in each migration, on stderr"},
    {.name = "save",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "bench.json, bench.md and bench.svg are written there, too"},
    {0},
};

static const struct options_program program = {
    .name = "drover-bench",
    .usage = "[OPTIONS] [all | ROW...]",
    .about =
        "Measures the engine beside what else could have moved the memory, in one run (needs "
        "root).\nRows: raw tls cpu qemu sparse downtime faults predict delta relay "
        "rdma sched replay; docs/benchmark.md says what they\nare. sched and replay need no root.\n"
        "Exit status: 0 what must hold does, 1 something could not be measured, 2 something "
        "does not\nhold, 77 this machine lacks something (root, a kernel feature).",
    .defs = defs,
    .max_args = ARRAY_LEN(rows),
};

static int
parse_rows(const struct options *o, unsigned *ret, struct err *err)
{
    const char *const *args;
    size_t n = options_args(o, &args);

    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned bit = strcmp(args[i], "all") == 0 ? ~0u : 0;

        for (size_t k = 0; k < ARRAY_LEN(rows) && bit == 0; k++) {
            if (strcmp(args[i], rows[k].name) == 0)
                bit = rows[k].bit;
        }
        if (bit == 0)
            return err_set(err, -EINVAL,
                           "'%s' is no row: want all, raw, tls, cpu, qemu, sparse, downtime, "
                           "faults, predict, delta, relay, rdma, sched or replay",
                           args[i]);
        *ret |= bit;
    }
    if (n == 0)
        *ret = ~0u;
    return 0;
}

int
bench_args_parse(int argc, char *const *argv, struct bench_args **ret, struct err *err)
{
    struct bench_args *a = xcalloc(1, sizeof *a);
    const char **qemu;
    int rc = options_parse(&program, argc, argv, &a->parsed, err);

    a->save_fd = -1;
    if (rc != 0) {
        bench_args_free(a);
        return rc;
    }
    if (options_help_wanted(a->parsed)) {
        a->help = true;
        *ret = a;
        return 0;
    }
    rc = parse_rows(a->parsed, &a->o.rows, err);
    if (rc == 0) {
        a->o.quick = options_bool(a->parsed, "quick");
        a->o.verbose = options_bool(a->parsed, "verbose");
        a->o.memory_bytes = (uint64_t)options_int(a->parsed, "memory");
        a->o.runs = (unsigned)options_int(a->parsed, "runs");
        a->o.channels = (unsigned)options_int(a->parsed, "channels");
        a->o.nodes = (size_t)options_int(a->parsed, "nodes");
        a->o.data = options_string(a->parsed, "data");
        a->o.rdma_ip = options_string(a->parsed, "rdma-ip");
        a->save = options_string(a->parsed, "save");
        a->o.qemu_len = options_count(a->parsed, "qemu");
        qemu = xcalloc(a->o.qemu_len + 1, sizeof *qemu);
        for (size_t i = 0; i < a->o.qemu_len; i++)
            qemu[i] = options_nth(a->parsed, "qemu", i);
        a->o.qemu = qemu;
        while (strcmp(options_string(a->parsed, "output"), formats[a->format]) != 0)
            a->format++;
        if (a->o.memory_bytes % 4096 != 0)
            rc = err_set(err, -EINVAL, "--memory: want a multiple of 4096 bytes, such as 512Mi");
    }
    if (rc == 0 && a->save) {
        rc = fs_mkdirs(a->save, 0755, err);
        if (rc == 0)
            a->save_fd = open(a->save, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (rc == 0 && a->save_fd < 0)
            rc = err_set(err, -errno, "%s: %s", a->save, strerror(errno));
    }
    if (rc != 0) {
        bench_args_free(a);
        return err_prefix(err, rc, "%s", program.name);
    }
    *ret = a;
    return 0;
}

void
bench_args_free(struct bench_args *a)
{
    if (!a)
        return;
    if (a->save_fd >= 0)
        close(a->save_fd);
    free((void *)(uintptr_t)a->o.qemu);
    options_free(a->parsed);
    free(a);
}

void
bench_args_print_help(void)
{
    AUTO_SB struct sb sb = SB_INIT;

    options_help(&program, &sb);
    fputs(sb_str(&sb), stdout);
}

bool
bench_args_need_house(const struct bench_args *a)
{
    return (a->o.rows & ~(unsigned)(BENCH_ROW_SCHED | BENCH_ROW_REPLAY)) != 0;
}

/* --- a run --- */

/* Rows of one function that asked for: its first failure marks all of them that have no figure. */
static void
run_row(struct bench_run *b, const struct row *row)
{
    size_t first = b->report->row_len;
    uint64_t began = clock_mono_us();
    struct err err = {0};
    int rc;

    bench_run_quiet(b, row->name);
    rc = row->run(b, &err);
    for (size_t i = first; i < b->report->row_len; i++) {
        struct bench_row *r = &b->report->rows[i];

        r->seconds = (double)(clock_mono_us() - began) / 1e6;
        if (rc != 0 && !r->absent[0]) {
            r->failed = true;
            snprintf(r->absent, sizeof r->absent, "%.*s", (int)sizeof r->absent - 1, err_msg(&err));
        }
    }
}

static int
save(const struct bench_args *a, const char *name, const struct sb *sb)
{
    AUTO_FD int fd = openat(a->save_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = fd < 0 ? -errno : fs_write_full(fd, sb->buf, sb->len);

    if (rc != 0)
        fprintf(stderr, "drover-bench: %s/%s: %s\n", a->save, name, strerror(-rc));
    return rc;
}

static int
print_all(const struct bench_args *a, const struct bench_report *r)
{
    static void (*const print[])(const struct bench_report *r,
                                 struct sb *out) = {[BENCH_TABLE] = bench_print_table,
                                                    [BENCH_JSON] = bench_print_json,
                                                    [BENCH_MARKDOWN] = bench_print_markdown,
                                                    [BENCH_SVG] = bench_print_svg};
    static const struct {
        enum bench_format format;
        const char *name;
    } files[] = {
        {BENCH_JSON, "bench.json"}, {BENCH_MARKDOWN, "bench.md"}, {BENCH_SVG, "bench.svg"}};
    AUTO_SB struct sb sb = SB_INIT;
    int rc = 0;

    print[a->format](r, &sb);
    fputs(sb_str(&sb), stdout);
    for (size_t i = 0; i < ARRAY_LEN(files) && a->save; i++) {
        sb_reset(&sb);
        print[files[i].format](r, &sb);
        if (save(a, files[i].name, &sb) != 0)
            rc = -EIO;
    }
    return rc;
}

int
bench_run_all(const struct bench_args *a)
{
    struct bench_report *report = xcalloc(1, sizeof *report);
    AUTO_FD int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct bench_run b = {.o = &a->o, .report = report, .netns = netns};
    int status = 0;

    bench_machine_read(&report->machine);
    report->quick = a->o.quick;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool done = false;

        for (size_t k = 0; k < i; k++)
            done = done || (rows[k].run == rows[i].run && (rows[k].bit & a->o.rows));
        if ((rows[i].bit & a->o.rows) && !done)
            run_row(&b, &rows[i]);
    }
    bench_run_progress(&b, "%s", "");
    if (print_all(a, report) != 0)
        status = 1;
    for (size_t i = 0; i < report->row_len && status != 1; i++) {
        if (report->rows[i].failed)
            status = 1;
        for (size_t k = 0; k < report->rows[i].check_len && status != 1; k++) {
            if (!bench_check_met(&report->rows[i].checks[k]))
                status = 2;
        }
    }
    bench_report_done(report);
    free(report);
    return status;
}
