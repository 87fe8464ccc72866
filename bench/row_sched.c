/* Row sched: decisions a second and bytes of memory of the scheduler, for three sizes of cluster, on
 * one core. Each decision is over all nodes, from a typed VM to a node's name, and the VM is reserved
 * there before the next. What must hold is compared with CPU time, because other work on the machine
 * does not count in it; the time that passed is shown. Decisions that come after a round's are
 * compared with place()'s. */
#include "bench/bench_rows.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "api/object.h"
#include "base/clock.h"
#include "bench/sched_round.h"

#define SEED        4
#define STREAM_LEN  50000 /* decisions of a round, at most */
#define LATENCY_LEN 2000  /* of a round in which each is timed */
#define PLAIN_LEN   3     /* of a round by place() */
#define CHECK_LEN   2     /* that are compared with place(), after each round */
#define DECODE_LEN  200   /* VMs that are decoded in a round */
#define LIMIT_NODE  1024  /* bytes */
#define LIMIT_VM    512

/* What must hold, and what is known of a peer: kube-scheduler 1.31's plugins alone (no API server, no
 * queue), one core, scoring all nodes (preferred affinity: a tenth of them), measured apart on a
 * machine of this kind. 0 = nothing. */
static const struct size {
    size_t nodes;
    double want[SCHED_LOADS], peer[SCHED_LOADS]; /* decisions a second */
    double p99_us;
} sizes[] = {
    {5000, {100e3, 500e3, 50e3, 50e3, 50e3, 50e3}, {175, 175, 118, 118, 416, 0}, 30},
    {10000, {60e3, 400e3, 30e3, 30e3, 30e3, 25e3}, {81, 81, 0, 0, 0, 0}, 60},
    {100000, {4e3, 200e3, 50e3, 50e3, 50e3, 2e3}, {6, 6, 0, 0, 0, 0}, 500},
};

/* floor: what kube-scheduler's own performance tests at 5,000 nodes must reach, a second. */
static const struct load_name {
    const char *name, *floor;
} load_names[] = {
    [SCHED_LOAD_COLD] = {"basic, first of its class", "; floor 680 to 810 /s"},
    [SCHED_LOAD_WARM] = {"basic, class seen before", "; floor 680 to 810 /s"},
    [SCHED_LOAD_ANTI] = {"hostname anti-affinity", "; floor 60 /s"},
    [SCHED_LOAD_SPREAD] = {"zone spread", "; floor 460 /s"},
    [SCHED_LOAD_PREFERRED] = {"preferred affinity", "; floor 90 /s"},
    [SCHED_LOAD_NONE] = {"no node fits, explained", ""},
};

struct sched_bench {
    struct bench_run *b;
    struct bench_row *row;
    const struct size *size;
    struct sched_world *w;
    const struct vmi *warm; /* one of each basic class */
    unsigned rounds;
    size_t compared; /* decisions, with place() */
};

static int measure_size(struct sched_bench *s, struct err *err);
static int measure_load(struct sched_bench *s, enum sched_load load, struct err *err);
static int measure_latency(struct sched_bench *s, enum sched_load load, struct err *err);
static int measure_plain(struct sched_bench *s, struct err *err);
static void measure_memory(struct sched_bench *s);
static int measure_decoding(struct sched_bench *s, struct err *err);
static void check_load(struct sched_bench *s, enum sched_load load, double per_s);
static int decode_many(bool yaml, const char *text, double *ret_us, struct err *err);
static int decode_one(bool yaml, const char *text, struct err *err);

int
bench_row_sched(struct bench_run *b, struct err *err)
{
    struct size other = {.nodes = b->o->nodes};
    const struct size *all = b->o->nodes ? &other : sizes;
    size_t len = b->o->nodes ? 1 : b->o->quick ? ARRAY_LEN(sizes) - 1 : ARRAY_LEN(sizes);
    cpu_set_t before, one;
    int rc = 0;

    if (sched_getaffinity(0, sizeof before, &before) < 0)
        return err_set(err, -errno, "the CPUs that may be used: %s", strerror(errno));
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    for (size_t i = 0; i < len && rc == 0; i++) {
        struct sched_bench s = {.b = b, .size = &all[i], .rounds = bench_run_runs(b, 5, 3)};

        s.row = bench_report_row(b->report, "sched", "%zu nodes", all[i].nodes);
        snprintf(s.row->size, sizeof s.row->size, "%zu nodes", all[i].nodes);
        rc = measure_size(&s, err);
        if (rc == 0 && i == 0)
            rc = measure_decoding(&s, err);
    }
    sched_setaffinity(0, sizeof before, &before);
    return rc;
}

static int
measure_size(struct sched_bench *s, struct err *err)
{
    size_t nodes = s->size->nodes;
    int rc = 0;

    s->w = sched_world_new(nodes, nodes, SEED);
    s->warm = sched_load_make(SCHED_LOAD_WARM, 0, SCHED_LOAD_CLASSES, s->w->arena);
    snprintf(s->row->title, sizeof s->row->title,
             "%zu nodes in 3 zones with %zu VMs, 10 classes; one core, CPU time, %u rounds", nodes,
             s->w->vms_len, s->rounds);
    for (enum sched_load l = 0; l < SCHED_LOADS && rc == 0; l++)
        rc = measure_load(s, l, err);
    for (enum sched_load l = 0; l <= SCHED_LOAD_WARM && rc == 0; l++)
        rc = measure_latency(s, l, err);
    if (rc == 0)
        measure_memory(s);
    if (rc == 0)
        rc = measure_plain(s, err);
    snprintf(
        s->row->note, sizeof s->row->note,
        "%zu decisions compared with place() (node, total, all that share it, text): the same. "
        "The peer is kube-scheduler's plugins alone, measured apart on such a machine; floors "
        "are its own tests', with API server and a sample of the nodes",
        s->compared);
    sched_world_free(s->w);
    return rc;
}

static int
measure_load(struct sched_bench *s, enum sched_load load, struct err *err)
{
    size_t nodes = s->size->nodes;
    struct sched_round r = {
        .w = s->w, .warmup_len = SCHED_LOAD_CLASSES, .len = STREAM_LEN, .check_len = CHECK_LEN};
    struct arena *a = arena_new();
    struct sched_times t = {0};
    struct vmi *vms;
    int rc = 0;

    if (load == SCHED_LOAD_ANTI && r.len > nodes / 2)
        r.len = nodes / 2; /* a node takes one VM of each application */
    vms = sched_load_make(load, 0, SCHED_LOAD_CLASSES + r.len + CHECK_LEN, a);
    r.vms = vms + SCHED_LOAD_CLASSES;
    r.warmup = load == SCHED_LOAD_COLD ? s->warm : vms;
    for (unsigned i = 0; i < s->rounds && rc == 0; i++) {
        bench_run_progress(s->b, "sched: %zu nodes, %s, round %u of %u", nodes,
                           load_names[load].name, i + 1, s->rounds);
        rc = sched_round_run(&r, &t, err);
        s->compared += CHECK_LEN;
    }
    if (rc == 0 && s->size->want[load] > 0)
        check_load(s, load, bench_median(&t.cpu));
    bench_row_take(s->row, "/s", &t.cpu, "%s", load_names[load].name);
    bench_row_take(s->row, "/s", &t.wall, "%s, by the clock", load_names[load].name);
    arena_free(a);
    return rc;
}

static void
check_load(struct sched_bench *s, enum sched_load load, double per_s)
{
    double peer = s->size->peer[load];
    struct bench_check *c =
        bench_row_limit(s->row, "/s", per_s, s->size->want[load], true, load_names[load].name);

    if (peer > 0) {
        c->peer = peer;
        c->ratio = per_s / peer;
        snprintf(c->peer_name, sizeof c->peer_name, "kube-scheduler's plugins%s",
                 s->size == sizes ? load_names[load].floor : "");
    }
}

/* Decisions timed one by one: the quantiles of a round are samples. Those of new classes, which are
 * the slow ones, are what is checked. */
static int
measure_latency(struct sched_bench *s, enum sched_load load, struct err *err)
{
    static const struct {
        double q;
        const char *name;
    } quantiles[] = {{0.5, "P50"}, {0.99, "P99"}};
    struct sched_times of[ARRAY_LEN(quantiles)] = {0};
    struct arena *a = arena_new();
    struct sched_round r = {.w = s->w,
                            .warmup = s->warm,
                            .warmup_len = SCHED_LOAD_CLASSES,
                            .vms = sched_load_make(load, SCHED_LOAD_CLASSES, LATENCY_LEN, a),
                            .len = LATENCY_LEN,
                            .each = true};
    char what[BENCH_TEXT];
    int rc = 0;

    for (unsigned i = 0; i < s->rounds && rc == 0; i++) {
        struct sched_times each = {0};

        rc = sched_round_run(&r, &each, err);
        for (size_t k = 0; k < ARRAY_LEN(of) && rc == 0; k++) {
            bench_samples_add(&of[k].cpu, bench_quantile(&each.cpu, quantiles[k].q) / 1e3);
            bench_samples_add(&of[k].wall, bench_quantile(&each.wall, quantiles[k].q) / 1e3);
        }
        sched_times_done(&each);
    }
    for (size_t k = 0; k < ARRAY_LEN(of); k++) {
        snprintf(what, sizeof what, "%s, %s", load_names[load].name, quantiles[k].name);
        if (rc == 0 && load == SCHED_LOAD_COLD && quantiles[k].q > 0.9 && s->size->p99_us > 0)
            bench_row_limit(s->row, "us", bench_median(&of[k].cpu), s->size->p99_us, false, what);
        bench_row_take(s->row, "us", &of[k].cpu, "%s", what);
        bench_row_take(s->row, "us", &of[k].wall, "%s, by the clock", what);
    }
    arena_free(a);
    return rc;
}

static int
measure_plain(struct sched_bench *s, struct err *err)
{
    struct sched_round r = {.w = s->w, .vms = s->warm, .len = PLAIN_LEN, .plain = true};
    struct sched_times t = {0};
    int rc = sched_round_run(&r, &t, err);

    bench_row_take(s->row, "/s", &t.cpu, "place(), the plain scan with the reasons of all nodes");
    sched_times_done(&t);
    return rc;
}

static void
measure_memory(struct sched_bench *s)
{
    double node, vm, kept;

    bench_run_progress(s->b, "sched: %zu nodes, memory", s->size->nodes);
    sched_round_memory(s->w, &node, &vm, &kept);
    bench_row_limit(s->row, "B", node, LIMIT_NODE, false, "memory a node");
    bench_row_limit(s->row, "B", vm, LIMIT_VM, false, "memory a placed VM");
    bench_samples_add(&bench_row_figure(s->row, "B", "memory a node, of it the engine's")->samples,
                      kept);
}

/* What a decision does not include: the text of a VM to the typed object. */
static int
measure_decoding(struct sched_bench *s, struct err *err)
{
    AUTO_TREE struct tree *docs = NULL;
    AUTO_SB struct sb json = SB_INIT;
    int rc = tree_from_yaml("vm", sched_load_yaml, strlen(sched_load_yaml), &docs, err);

    if (rc == 0)
        tree_to_json(tree_at(docs, 0), 0, &json);
    for (int yaml = 1; yaml >= 0 && rc == 0; yaml--) {
        struct bench_samples us = {0};

        for (unsigned i = 0; i < s->rounds && rc == 0; i++) {
            double one;

            rc = decode_many(yaml, yaml ? sched_load_yaml : sb_str(&json), &one, err);
            bench_samples_add(&us, one);
        }
        bench_row_take(s->row, "us", &us, "not in it: one VM from %s, validated and decoded",
                       yaml ? "YAML" : "JSON");
    }
    return rc;
}

static int
decode_many(bool yaml, const char *text, double *ret_us, struct err *err)
{
    uint64_t began = clock_thread_ns();
    int rc = 0;

    for (int i = 0; i < DECODE_LEN && rc == 0; i++)
        rc = decode_one(yaml, text, err);
    *ret_us = (double)(clock_thread_ns() - began) / 1e3 / DECODE_LEN;
    return rc;
}

static int
decode_one(bool yaml, const char *text, struct err *err)
{
    AUTO_TREE struct tree *t = NULL;
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct warnings warn = {.arena = a};
    int rc = yaml ? tree_from_yaml("vm", text, strlen(text), &t, err)
                  : tree_from_json(text, strlen(text), &t, err);
    struct tree *obj = yaml ? tree_at(t, 0) : t;

    if (rc == 0 && object_validate(obj, VALIDATE_CREATE, &errs, &warn) != 0) {
        rc = -EINVAL;
        field_errors_text(&errs, "vm", obj, err);
    }
    if (rc == 0)
        vmi_decode(obj, a);
    arena_free(a);
    return rc;
}
