/* Row delta: a guest that rewrites single words all over its memory, so that it dirties pages at
 * twice the link's speed and hardly changes them. Pages as they are never converge; differences do.
 * The link is limited by the engine's own bucket, so that it is the same for all. */
#include "bench/bench_rows.h"

#include <errno.h>
#include <math.h>

#include "bench/bench_move.h"

#define MEMORY    (2ull << 30)
#define SET       (256ull << 20) /* of it has content, and is rewritten */
#define LINK      (128ull << 20) /* bytes a second */
#define PAGE      4096u
#define WORD      8u
#define GIVE_UP_S 12u /* six times what sending all of it takes */

static const struct kind {
    const char *name;
    enum mig_encoding encoding;
} kinds[] = {
    {"encodings chosen by the engine", MIG_ENC_AUTO},
    {"delta", MIG_ENC_DELTA},
    {"raw", MIG_ENC_RAW},
};

#define KINDS ARRAY_LEN(kinds)
#define RAW   (KINDS - 1)

struct outcome {
    bool moved;
    struct mig_stats stats;
    double seconds, downtime_ms;
    char text[48];
};

/* A migration that the engine gives up is an answer here, not an error. */
static int
run_one(struct bench_run *b, struct bench_sides *sides, struct native_guest *g,
        const struct kind *k, struct outcome *ret, struct err *err)
{
    struct bench_move m = {
        .verify = true,
        .downtime = true,
        .verbose = b->o->verbose,
        .channels = b->o->channels,
        .policy = {.encoding = k->encoding},
        .limits = {.bandwidth_bytes_per_s = LINK, .completion_timeout_us = GIVE_UP_S * 1000000ull}};
    int rc = bench_move(sides, g, &m, err);

    ret->moved = rc == 0;
    ret->stats = m.stats;
    ret->seconds = (double)m.us / 1e6;
    ret->downtime_ms = (double)m.downtime_us / 1e3;
    if (rc == 0)
        snprintf(ret->text, sizeof ret->text, "moved in %.1f s", ret->seconds);
    else if (rc == -ECANCELED && m.cause == MIG_CAUSE_COMPLETION_TIMEOUT)
        snprintf(ret->text, sizeof ret->text, "given up after %.0f s", ret->seconds);
    else
        return rc;
    return 0;
}

static void
report(struct bench_row *row, const struct outcome *o)
{
    struct bench_check *c;

    for (size_t k = 0; k < RAW; k++) { /* what was given up has no time */
        c = bench_row_limit(row, "s", o[k].moved ? o[k].seconds : NAN, GIVE_UP_S, false,
                            kinds[k].name);
        snprintf(c->bound, sizeof c->bound, "converges");
        snprintf(c->ours_text, sizeof c->ours_text, "%s", o[k].text);
        snprintf(c->peer_name, sizeof c->peer_name, "raw");
        snprintf(c->peer_text, sizeof c->peer_text, "%s", o[RAW].text);
    }
    c = bench_row_limit(row, "s", o[RAW].moved ? 0 : o[RAW].seconds, GIVE_UP_S * 0.9, true, "raw");
    snprintf(c->bound, sizeof c->bound, "does not converge");
    snprintf(c->ours_text, sizeof c->ours_text, "%s", o[RAW].text);
    for (size_t k = 0; k < KINDS; k++) {
        static const char *const names[MIG_ENC_COUNT] = {[MIG_ENC_RAW] = "raw",
                                                         [MIG_ENC_DELTA] = "delta",
                                                         [MIG_ENC_LZ4] = "lz4",
                                                         [MIG_ENC_ZSTD] = "zstd"};
        struct bench_samples s = {0};

        for (size_t e = 0; e < MIG_ENC_COUNT; e++) {
            if (!names[e] || o[k].stats.enc_pages[e] == 0)
                continue;
            bench_samples_add(&s, (double)o[k].stats.enc_pages[e]);
            bench_row_take(row, "pages", &s, "%s: as %s", kinds[k].name, names[e]);
            bench_samples_add(&s, (double)o[k].stats.enc_bytes[e] / (1u << 20));
            bench_row_take(row, "MiB", &s, "%s: as %s, on the wire", kinds[k].name, names[e]);
        }

        bench_samples_add(&s, o[k].seconds);
        bench_row_take(row, "s", &s, "%s: %s", kinds[k].name, o[k].moved ? "moved" : "given up");
        if (!o[k].moved)
            continue;
        bench_samples_add(&s, o[k].downtime_ms);
        bench_row_take(row, "ms", &s, "%s: downtime as the guest saw it", kinds[k].name);
    }
}

int
bench_row_delta(struct bench_run *b, struct err *err)
{
    uint64_t bytes = bench_run_memory(b, MEMORY, MEMORY);
    struct native_config cfg = {.memory_bytes = bytes,
                                .vcpus = 1,
                                .set_bytes = SET,
                                .fill_bytes = SET,
                                .workload = "randomwords",
                                .rate_bytes_per_s = 2 * LINK / PAGE * WORD};
    struct bench_row *row = bench_report_row(
        b->report, "delta",
        "%.3g GiB, of whose first 256 MiB %llu pages a second get one new word each: twice the "
        "speed of a link of %llu MiB/s",
        (double)bytes / (1u << 30), 2 * LINK / PAGE, LINK >> 20);
    struct outcome o[KINDS] = {0};
    struct native_guest *g = NULL;
    struct bench_sides sides;
    int rc;

    bench_machine_touch(2 * SET);
    rc = bench_sides_start(&sides, err);
    if (rc == 0)
        rc = bench_move_guest_start(&cfg, "delta", &g, err);
    for (size_t k = 0; k < KINDS && rc == 0; k++) {
        bench_run_progress(b, "delta: %s", kinds[k].name);
        rc = run_one(b, &sides, g, &kinds[k], &o[k], err);
    }
    bench_move_guest_stop(g);
    bench_sides_stop(&sides);
    if (rc == 0)
        report(row, o);
    return rc;
}
