/* Measures raw TCP streams and migrations of a guest full of random memory without a writer,
 * alternated, so that what else the machine does falls on both alike. See bench_engine.h;
 * docs/engine.md explains the figures. */
#include "bench/bench_engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/sb.h"
#include "bench/bench_guest.h"
#include "bench/bench_raw.h"
#include "bench/bench_sides.h"

#define MAX_REPEAT 99
#define MUST_HOLD  0.5 /* engine into fresh memory against one raw stream */

static const struct kind {
    const char *name, *text;
    struct bench_order order;
} kinds[] = {
    {"raw1",
     "1 raw TCP stream, into touched memory",
     {.job = BENCH_JOB_RAW, .streams = 1, .allocated = true}},
    {"raw2",
     "2 raw TCP streams, into touched memory",
     {.job = BENCH_JOB_RAW, .streams = 2, .allocated = true}},
    {"raw4",
     "4 raw TCP streams, into touched memory",
     {.job = BENCH_JOB_RAW, .streams = 4, .allocated = true}},
    {"raw1Fresh",
     "1 raw TCP stream, into memory never touched",
     {.job = BENCH_JOB_RAW, .streams = 1}},
    {"engine", "engine, into memory never touched", {.job = BENCH_JOB_ENGINE}},
    {"engineTouched", "engine, into touched memory", {.job = BENCH_JOB_ENGINE, .allocated = true}},
};

#define KINDS       ARRAY_LEN(kinds)
#define KIND_RAW1   0
#define KIND_ENGINE 4

struct sample {
    uint64_t us, source_cpu_us, target_cpu_us, downtime_us;
};

struct bench {
    const struct bench_engine_options *o;
    struct bench_sides sides;
    struct bench_guest guest;
    uint64_t sum;
    struct sample samples[KINDS][MAX_REPEAT];
    uint32_t channels; /* of the last migration */
};

static int run_one(struct bench *b, const struct kind *k, struct sample *ret, struct err *err);
static int run_engine(struct bench *b, const char *addr, struct sample *ret, struct err *err);
static void touch_free_memory(uint64_t bytes);
static double gb_per_s(const struct bench *b, size_t kind);
static double cpu_s_per_gb(const struct bench *b, size_t kind, bool target);
static void print_table(const struct bench *b, double ratio, bool holds);
static void print_json(const struct bench *b, double ratio, bool holds);

int
bench_engine(const struct bench_engine_options *o, struct err *err)
{
    AUTO_FREE struct bench *b = xcalloc(1, sizeof *b);
    int rc = mig_probe(err);

    b->o = o;
    b->sides.sock = -1;
    if (o->repeat < 1 || o->repeat > MAX_REPEAT)
        return err_set(err, -EINVAL, "repeat %u: want 1 to %d", o->repeat, MAX_REPEAT);
    if (rc != 0)
        return rc;
    rc = bench_sides_start(&b->sides, err);
    if (rc != 0) {
        bench_sides_stop(&b->sides);
        return rc;
    }
    rc = bench_guest_init(&b->guest, o->bytes, err);
    if (rc == 0) {
        bench_guest_fill(&b->guest, 1);
        b->sum = bench_guest_sum(&b->guest);
        for (unsigned i = 0; i < o->repeat && rc == 0; i++) {
            for (size_t k = 0; k < KINDS && rc == 0; k++)
                rc = run_one(b, &kinds[k], &b->samples[k][i], err);
        }
        bench_guest_done(&b->guest);
    }
    bench_sides_stop(&b->sides);
    if (rc != 0)
        return rc;

    double ratio = gb_per_s(b, KIND_ENGINE) / gb_per_s(b, KIND_RAW1);
    bool holds = ratio >= MUST_HOLD;

    if (o->json)
        print_json(b, ratio, holds);
    else
        print_table(b, ratio, holds);
    return holds ? 0
                 : err_set(err, -ERANGE, "the engine reached %.2f of a raw stream: want %.2f",
                           ratio, MUST_HOLD);
}

static int
run_one(struct bench *b, const struct kind *k, struct sample *ret, struct err *err)
{
    struct bench_order o = k->order;
    struct bench_result r;
    char addr[MIG_ADDR_SIZE];
    uint64_t began;
    int rc, far_rc;

    o.bytes = b->o->bytes;
    touch_free_memory(2 * o.bytes);
    rc = bench_sides_order(&b->sides, &o, addr, err);
    if (rc != 0)
        return rc;
    began = clock_mono_us();
    rc = o.job == BENCH_JOB_RAW ? bench_raw_send(addr, b->guest.region.map, o.bytes, o.streams, err)
                                : run_engine(b, addr, ret, err);
    if (o.job == BENCH_JOB_ENGINE)
        ret->us = clock_mono_us() - began;
    far_rc = bench_sides_arrived(&b->sides, rc ? NULL : err);
    if (o.job == BENCH_JOB_RAW)
        ret->us = clock_mono_us() - began;
    if (far_rc == 0)
        far_rc = bench_sides_result(&b->sides, &r, rc ? NULL : err);
    if (rc != 0 || far_rc != 0)
        return rc ? rc : far_rc;
    ret->target_cpu_us = r.cpu_us;
    return r.sum == b->sum ? 0
                           : err_set(err, -EIO, "%s: the memory that arrived is wrong", k->name);
}

static int
run_engine(struct bench *b, const char *addr, struct sample *ret, struct err *err)
{
    struct mig_source_config cfg = {
        .ident = bench_ident, .guest = bench_guest_port(&b->guest), .channels = b->o->channels};
    struct mig_source *s;
    struct mig_stats st;
    enum mig_cause cause;
    enum mig_outcome outcome;

    snprintf(cfg.target_addr, sizeof cfg.target_addr, "%s", addr);
    s = mig_source_new(&cfg);
    outcome = mig_source_run(s, &cause, err);
    mig_source_stats(s, &st);
    mig_source_free(s);
    ret->source_cpu_us = st.cpu_us;
    ret->downtime_us = st.downtime_us;
    b->channels = st.channels;
    return outcome == MIG_MOVED ? 0 : -EIO;
}

/* A page that a virtual machine has never used, or has given back to its host, costs ten times as
 * much as another: without this, that is all that would be measured. */
static void
touch_free_memory(uint64_t bytes)
{
    volatile uint8_t *p =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return;
    for (uint64_t i = 0; i < bytes; i += 4096)
        p[i] = 1;
    munmap((void *)(uintptr_t)p, bytes);
}

static int
by_us(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;

    return (x->us > y->us) - (x->us < y->us);
}

/* The sample whose time is the median. */
static struct sample
median(const struct bench *b, size_t kind)
{
    struct sample copy[MAX_REPEAT];

    memcpy(copy, b->samples[kind], sizeof copy);
    qsort(copy, b->o->repeat, sizeof copy[0], by_us);
    return copy[b->o->repeat / 2];
}

static double
gb_per_s(const struct bench *b, size_t kind)
{
    return (double)b->o->bytes / 1e3 / (double)median(b, kind).us;
}

static double
cpu_s_per_gb(const struct bench *b, size_t kind, bool target)
{
    struct sample s = median(b, kind);

    return (double)(target ? s.target_cpu_us : s.source_cpu_us) * 1e3 / (double)b->o->bytes;
}

static void
print_table(const struct bench *b, double ratio, bool holds)
{
    printf("%.2f GiB of random memory, no writer, two network namespaces, %u runs of each, "
           "alternated, medians\n\n",
           (double)b->o->bytes / (1u << 30), b->o->repeat);
    printf("%-44s %8s %8s %8s %9s %9s %12s\n", "", "ms", "GB/s", "ratio", "src s/GB", "dst s/GB",
           "downtime ms");
    for (size_t k = 0; k < KINDS; k++) {
        struct sample s = median(b, k);

        printf("%-44s %8.1f %8.2f %8.2f", kinds[k].text, (double)s.us / 1e3, gb_per_s(b, k),
               gb_per_s(b, k) / gb_per_s(b, KIND_RAW1));
        if (kinds[k].order.job == BENCH_JOB_ENGINE)
            printf(" %9.2f %9.2f %12.1f", cpu_s_per_gb(b, k, false), cpu_s_per_gb(b, k, true),
                   (double)s.downtime_us / 1e3);
        printf("\n");
    }
    printf(
        "\nengine, %u channels, into memory never touched, against 1 raw stream: %.2f (must hold: "
        "at least %.2f): %s\n",
        b->channels, ratio, MUST_HOLD, holds ? "holds" : "DOES NOT HOLD");
}

static void
print_json(const struct bench *b, double ratio, bool holds)
{
    printf("{\"bench\":\"engine\",\"bytes\":%llu,\"repeat\":%u,\"channels\":%u,\"kinds\":{",
           (unsigned long long)b->o->bytes, b->o->repeat, b->channels);
    for (size_t k = 0; k < KINDS; k++) {
        struct sample s = median(b, k);

        printf("%s\"%s\":{\"medianUs\":%llu,\"gbPerSecond\":%.3f,\"ratio\":%.3f,", k ? "," : "",
               kinds[k].name, (unsigned long long)s.us, gb_per_s(b, k),
               gb_per_s(b, k) / gb_per_s(b, KIND_RAW1));
        if (kinds[k].order.job == BENCH_JOB_ENGINE)
            printf("\"sourceCpuSecondsPerGb\":%.3f,\"targetCpuSecondsPerGb\":%.3f,\"downtimeMs\":%."
                   "2f,",
                   cpu_s_per_gb(b, k, false), cpu_s_per_gb(b, k, true),
                   (double)s.downtime_us / 1e3);
        printf("\"us\":[");
        for (unsigned i = 0; i < b->o->repeat; i++)
            printf("%s%llu", i ? "," : "", (unsigned long long)b->samples[k][i].us);
        printf("]}");
    }
    printf("},\"ratio\":%.3f,\"mustHold\":%.2f,\"holds\":%s}\n", ratio, MUST_HOLD,
           holds ? "true" : "false");
}
