/* Row replay: production placements, placed anew by the scheduler. Two data sets, read where they lie
 * (--data): ByteDance's snapshots (github.com/bytedance/DRL-based-VM-Rescheduling, Apache-2.0) and
 * Huawei's requests (github.com/mdl1104/Dataset-for-topology-aware-VM-placement, CC0). */
#include "bench/bench_rows.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "bench/replay_bound.h"
#include "bench/replay_run.h"

#define COMPARE   50 /* every so manieth decision with place() */
#define SEQUENCES 3
#define SNAPSHOTS "bytedance/snapshots.json"
#define HOSTS     "huawei/hosts.csv"
#define TOPOLOGY  "huawei/topology.csv"

struct totals { /* of a row */
    size_t steps, compared, broken, wrongly, rejected_by[REPLAY_RULES];
};

static int row_snapshots(struct bench_run *b, struct err *err);
static int run_snapshot(struct bench_run *b, struct bench_row *row, const struct replay *r,
                        struct totals *t, struct err *err);
static int row_requests(struct bench_run *b, struct err *err);
static int run_requests(struct bench_run *b, struct bench_row *row, const struct replay *r,
                        struct totals *t, struct err *err);
static int run_one(struct bench_run *b, struct bench_row *row, const struct replay *r,
                   const struct replay_options *o, const char *how, struct totals *t,
                   struct replay_result *res, struct err *err);
static void report(struct bench_row *row, const struct totals *t, bool snapshot);
static bool is_there(struct bench_run *b, struct bench_row *row, const char *file);
static int read_file(struct bench_run *b, const char *file, char **ret, size_t *ret_len,
                     struct err *err);
static void add(struct bench_row *row, const char *unit, double v, const char *of, const char *how,
                const char *what);

int
bench_row_replay(struct bench_run *b, struct err *err)
{
    int rc = row_snapshots(b, err);

    return rc ? rc : row_requests(b, err);
}

static int
row_snapshots(struct bench_run *b, struct err *err)
{
    struct bench_row *row = bench_report_row(
        b->report, "replay",
        "ByteDance's snapshots (github.com/bytedance/DRL-based-VM-Rescheduling, Apache-2.0), all "
        "VMs placed anew one by one, MostAllocated; one thread, CPU time");
    AUTO_FREE char *text = NULL;
    struct arena *a = arena_new();
    struct totals t = {0};
    struct replay *r;
    size_t len, r_len = 0;
    int rc = 0;

    snprintf(row->size, sizeof row->size, "ByteDance");
    if (!is_there(b, row, SNAPSHOTS))
        goto out;
    rc = read_file(b, SNAPSHOTS, &text, &len, err);
    if (rc == 0)
        rc = replay_read_snapshots(text, len, a, &r, &r_len, err);
    if (rc != 0)
        err_prefix(err, rc, SNAPSHOTS);
    for (size_t i = 0; i < r_len && rc == 0; i++)
        rc = run_snapshot(b, row, &r[i], &t, err);
    if (rc == 0)
        report(row, &t, true);
out:
    arena_free(a);
    return rc;
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int
run_snapshot(struct bench_run *b, struct bench_row *row, const struct replay *r, struct totals *t,
             struct err *err)
{
    size_t bounds[2]; /* without and with NUMA */

    for (int numa = 0; numa < 2; numa++) {
        bounds[numa] = larger(larger(replay_bound_sums(r), replay_bound_l2(r, false)),
                              numa ? replay_bound_l2(r, true) : 0);
        add(row, "", (double)bounds[numa], r->name, numa ? ", NUMA" : "", "hosts, lower bound");
    }
    add(row, "", (double)r->hosts_used, r->name, "", "hosts in the recorded placement");
    for (int k = 0; k < 4; k++) {
        static const char *const hows[] = {", as recorded", ", largest first",
                                           ", as recorded, NUMA", ", largest first, NUMA"};
        struct replay_options o = {
            .decreasing = k % 2, .numa = k / 2, .most = true, .compare = COMPARE};
        const char *how = hows[k];
        struct replay_result res;
        char what[BENCH_TEXT];
        struct bench_check *c;
        int rc = run_one(b, row, r, &o, how, t, &res, err);

        if (rc != 0)
            return rc;
        snprintf(what, sizeof what, "%s%s: hosts", r->name, how);
        c = bench_row_limit(row, "", (double)res.hosts_used, (double)r->hosts_used, false, what);
        c->peer = (double)bounds[o.numa];
        c->ratio = c->ours / c->peer;
        snprintf(c->peer_name, sizeof c->peer_name, "lower bound");
        snprintf(c->bound, sizeof c->bound, "<= %zu as recorded", r->hosts_used);
    }
    return 0;
}

static int
row_requests(struct bench_run *b, struct err *err)
{
    struct bench_row *row = bench_report_row(
        b->report, "replay",
        "Huawei's requests (github.com/mdl1104/Dataset-for-topology-aware-VM-placement, CC0), "
        "placed "
        "in sequence; one thread, CPU time");
    AUTO_FREE char *hosts = NULL, *topology = NULL;
    struct arena *a = arena_new();
    struct totals t = {0};
    struct replay r = {0};
    int rc = 0;

    snprintf(row->size, sizeof row->size, "Huawei");
    if (!is_there(b, row, HOSTS))
        goto out;
    rc = read_file(b, HOSTS, &hosts, NULL, err);
    if (rc == 0)
        rc = read_file(b, TOPOLOGY, &topology, NULL, err);
    if (rc == 0) {
        rc = replay_read_hosts(hosts, topology, a, &r, err);
        if (rc != 0)
            err_prefix(err, rc, HOSTS ", " TOPOLOGY);
    }
    for (int i = 1; i <= SEQUENCES && rc == 0; i++) {
        AUTO_FREE char *file = xasprintf("huawei/requests-%d.csv", i), *text = NULL;

        rc = read_file(b, file, &text, NULL, err);
        if (rc == 0)
            rc = replay_read_requests(text, a, &r, err);
        if (rc != 0)
            err_prefix(err, rc, "%s", file);
        r.name = arena_printf(a, "sequence %d", i);
        if (rc == 0)
            rc = run_requests(b, row, &r, &t, err);
    }
    if (rc == 0)
        report(row, &t, false);
out:
    arena_free(a);
    return rc;
}

static int
run_requests(struct bench_run *b, struct bench_row *row, const struct replay *r, struct totals *t,
             struct err *err)
{
    add(row, "", (double)replay_bound_sums(r), r->name, "", "hosts, lower bound");
    for (int k = 0; k < 2; k++) {
        struct replay_options o = {.most = k, .compare = COMPARE};
        struct replay_result res;
        int rc = run_one(b, row, r, &o, k ? ", MostAllocated" : ", LeastAllocated", t, &res, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
run_one(struct bench_run *b, struct bench_row *row, const struct replay *r,
        const struct replay_options *o, const char *how, struct totals *t,
        struct replay_result *res, struct err *err)
{
    int rc;

    bench_run_progress(b, "replay: %s%s", r->name, how);
    rc = replay_run(r, o, res, err);
    if (rc != 0)
        return err_prefix(err, rc, "%s%s", r->name, how);
    add(row, "", (double)res->hosts_used, r->name, how, "hosts used");
    add(row, "", (double)res->rejected, r->name, how, "VMs that fit nowhere");
    add(row, "", (double)res->numa_broken, r->name, how, "hosts without a NUMA layout");
    add(row, "/s", res->cpu_per_s, r->name, how, "decisions");
    add(row, "/s", res->wall_per_s, r->name, how, "decisions, by the clock");
    t->steps += res->placed + res->rejected;
    t->compared += res->compared;
    t->broken += res->broken;
    t->wrongly += res->wrongly;
    for (size_t i = 0; i < REPLAY_RULES; i++)
        t->rejected_by[i] += res->rejected_by[i];
    return 0;
}

static void
want_none(struct bench_row *row, size_t n, const char *what)
{
    struct bench_check *c = bench_row_limit(row, "", (double)n, 0, false, what);

    snprintf(c->bound, sizeof c->bound, "none");
}

/* snapshot: all of it has a place, as recorded. */
static void
report(struct bench_row *row, const struct totals *t, bool snapshot)
{
    size_t all = 0;
    int len;

    for (size_t i = 0; i < REPLAY_RULES; i++)
        all += t->rejected_by[i];
    want_none(row, t->broken, "steps that broke a rule");
    want_none(row, t->wrongly, "VMs refused though a host had room");
    if (snapshot)
        want_none(row, all, "VMs without a host");
    len = snprintf(
        row->note, sizeof row->note,
        "%zu steps, each checked from outside for room%s; %zu compared with place(): the "
        "same. Only NUMA asks for a NUMA layout.",
        t->steps, snapshot ? " (NUMA: a layout, too)" : " and the group's rule", t->compared);
    if (!snapshot)
        snprintf(
            row->note + len, sizeof row->note - (size_t)len,
            " Fit nowhere: %zu of affinity groups, %zu of anti-affinity, %zu of fault domains, "
            "%zu without a rule",
            t->rejected_by[REPLAY_AFFINITY], t->rejected_by[REPLAY_ANTI_AFFINITY],
            t->rejected_by[REPLAY_FAULT_DOMAIN], t->rejected_by[REPLAY_FREE]);
}

static bool
is_there(struct bench_run *b, struct bench_row *row, const char *file)
{
    AUTO_FREE char *path = xasprintf("%s/%s", b->o->data, file);

    if (access(path, R_OK) == 0)
        return true;
    snprintf(row->absent, sizeof row->absent, "%s: %s", path, strerror(errno));
    return false;
}

static int
read_file(struct bench_run *b, const char *file, char **ret, size_t *ret_len, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", b->o->data, file);
    size_t len;

    return fs_read_all(path, REPLAY_MAX_BYTES, ret, ret_len ? ret_len : &len, err);
}

static void
add(struct bench_row *row, const char *unit, double v, const char *of, const char *how,
    const char *what)
{
    bench_samples_add(&bench_row_figure(row, unit, "%s%s: %s", of, how, what)->samples, v);
}
