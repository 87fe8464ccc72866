/* The controller's metrics; see api_metrics.h. Names that upstream has are upstream's (4.15). */
#include "control/api_metrics.h"

#include <string.h>

#include "api/quantity.h"
#include "base/metrics.h"
#include "control/api_call.h"
#include "control/api_columns.h"

enum figure {
    IN_PENDING,
    IN_SCHEDULING,
    IN_RUNNING,
    SUCCEEDED,
    FAILED,
    PHASE_SECONDS,
    WAITING,
    ENDED,
    OBJECTS,
    CONNECTIONS,
    CALLS
};

static const double phase_buckets[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,    2.5, 5,
                                       10,   20,    30,   60,  120,  300, 1800, 3600};

static const struct metric_def defs[] = {
    [IN_PENDING] = {.name = "kubevirt_vmi_migrations_in_pending_phase",
                    .type = METRIC_GAUGE,
                    .help =
                        "Migrations that wait: admitted, but for a limit or another migration."},
    [IN_SCHEDULING] = {.name = "kubevirt_vmi_migrations_in_scheduling_phase",
                       .type = METRIC_GAUGE,
                       .help = "Migrations whose target is being chosen or prepared."},
    [IN_RUNNING] = {.name = "kubevirt_vmi_migrations_in_running_phase",
                    .type = METRIC_GAUGE,
                    .help = "Migrations whose memory moves."},
    [SUCCEEDED] = {.name = "kubevirt_vmi_migration_succeeded",
                   .type = METRIC_GAUGE,
                   .help = "Migration objects that are there and have succeeded."},
    [FAILED] = {.name = "kubevirt_vmi_migration_failed",
                .type = METRIC_GAUGE,
                .help = "Migration objects that are there and have failed."},
    [PHASE_SECONDS] = {.name = "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds",
                       .type = METRIC_HISTOGRAM,
                       .help = "Seconds from a migration's creation until it was in a phase.",
                       .labels = {"phase"},
                       .buckets = phase_buckets,
                       .buckets_len = ARRAY_LEN(phase_buckets)},
    [WAITING] = {.name = "drover_migrations_waiting",
                 .type = METRIC_GAUGE,
                 .help = "Migrations that wait, by what for: the length of each queue.",
                 .labels = {"reason"}},
    [ENDED] = {.name = "drover_migrations_ended_total",
               .type = METRIC_COUNTER,
               .help = "Migrations that have ended since this controller was started.",
               .labels = {"phase"}},
    [OBJECTS] = {.name = "drover_objects",
                 .type = METRIC_GAUGE,
                 .help = "Objects in the store.",
                 .labels = {"kind"}},
    [CONNECTIONS] = {.name = "drover_api_connections",
                     .type = METRIC_GAUGE,
                     .help = "Connections to the API server."},
    [CALLS] = {.name = "drover_api_calls",
               .type = METRIC_GAUGE,
               .help = "API requests that are being answered, watches among them."},
};

struct counts {
    double pending, scheduling, running, succeeded, failed;
    struct metrics *m;
};

static void on_migration(void *ctx, const struct store_event *ev);
static bool count_migration(void *ctx, const struct tree *obj);
static bool count_object(void *ctx, const struct tree *obj);
static void count_calls(struct api *a, struct metrics *m);
static int64_t entered_us(const struct tree *obj, const char *phase);

void
api_metrics_start(struct api *a)
{
    a->metrics = metrics_new(defs, ARRAY_LEN(defs));
    a->metrics_watch = store_watch(a->store, KIND_VMIM, on_migration, a);
}

void
api_metrics_stop(struct api *a)
{
    store_unwatch(TAKE_PTR(a->metrics_watch));
    metrics_free(TAKE_PTR(a->metrics));
}

void
api_metrics_docs(struct sb *out)
{
    metrics_docs(defs, ARRAY_LEN(defs), out);
}

int
api_metrics(struct api_call *c)
{
    struct api *a = c->api;
    struct metrics *m = a->metrics;
    struct counts n = {.m = m};
    struct sb out = SB_INIT;

    metrics_clear(m, WAITING);
    store_list(a->store, KIND_VMIM, NULL, count_migration, &n);
    metrics_set(m, IN_PENDING, NULL, n.pending);
    metrics_set(m, IN_SCHEDULING, NULL, n.scheduling);
    metrics_set(m, IN_RUNNING, NULL, n.running);
    metrics_set(m, SUCCEEDED, NULL, n.succeeded);
    metrics_set(m, FAILED, NULL, n.failed);
    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const struct kind_info *ki = kind_info((enum kind)k);
        size_t objects = 0;

        if (!ki->stored)
            continue;
        store_list(a->store, (enum kind)k, NULL, count_object, &objects);
        metrics_set(m, OBJECTS, (const char *[]){ki->name}, (double)objects);
    }
    count_calls(a, m);
    metrics_text(m, &out);
    api_send_body(c, 200, METRICS_CONTENT, &out);
    return 0;
}

static void
count_calls(struct api *a, struct metrics *m)
{
    size_t calls = 0;

    for (const struct api_call *c = a->calls; c; c = c->next)
        calls++;
    metrics_set(m, CALLS, NULL, (double)calls);
    metrics_set(m, CONNECTIONS, NULL, (double)http_server_conns(a->http));
}

static const char *
phase_of(const struct tree *obj)
{
    return obj ? tree_find_string(obj, "", "status", "phase", NULL) : "";
}

static bool
is_any(const char *phase, const char *const *all)
{
    for (; *all; all++)
        if (strcmp(phase, *all) == 0)
            return true;
    return false;
}

static bool
count_migration(void *ctx, const struct tree *obj)
{
    static const char *const scheduling[] = {"Scheduling", "Scheduled", "PreparingTarget",
                                             "TargetReady", NULL};
    struct counts *n = ctx;
    const char *phase = phase_of(obj);
    const struct tree *waiting = object_condition(obj, "Waiting");

    n->pending += !*phase || strcmp(phase, "Pending") == 0;
    n->scheduling += is_any(phase, scheduling);
    n->running += strcmp(phase, "Running") == 0;
    n->succeeded += strcmp(phase, "Succeeded") == 0;
    n->failed += strcmp(phase, "Failed") == 0;
    if (waiting && strcmp(tree_find_string(waiting, "", "status", NULL), "True") == 0)
        metrics_add(n->m, WAITING, (const char *[]){tree_find_string(waiting, "", "reason", NULL)},
                    1);
    return true;
}

static bool
count_object(void *ctx, const struct tree *obj)
{
    (void)obj;
    ++*(size_t *)ctx;
    return true;
}

/* A phase that a migration has now and had not before. */
static void
on_migration(void *ctx, const struct store_event *ev)
{
    struct api *a = ctx;
    const char *phase = phase_of(ev->obj);
    int64_t now_us, created_us;

    if (ev->type == STORE_DELETED || !*phase || strcmp(phase, phase_of(ev->old_obj)) == 0)
        return;
    now_us = entered_us(ev->obj, phase);
    created_us = entered_us(ev->obj, "Pending"); /* creationTimestamp knows whole seconds only */
    if (now_us && created_us && now_us >= created_us)
        metrics_observe(a->metrics, PHASE_SECONDS, (const char *[]){phase},
                        (double)(now_us - created_us) / 1e6);
    if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
        metrics_add(a->metrics, ENDED, (const char *[]){phase}, 1);
}

static int64_t
entered_us(const struct tree *obj, const char *phase)
{
    const struct tree *list = tree_find(obj, "status", "phaseTransitionTimestamps", NULL);
    int64_t us = 0;

    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *one = tree_at(list, i);
        const char *at = tree_find_string(one, "", "phaseTransitionTimestamp", NULL);

        if (strcmp(tree_find_string(one, "", "phase", NULL), phase) == 0)
            (void)time_parse(at, &us, NULL);
    }
    return us;
}
