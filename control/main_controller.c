/* drover-controller: API server, object store and the controller's loops in one process, on one
 * loop. State is in the store's file alone; it may be killed at any time. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/options.h"
#include "control/api_metrics.h"
#include "control/api_server.h"
#include "control/loops.h"
#include "control/store.h"

static const struct options_def defs[] = {
    {.name = "store",
     .type = OPTIONS_STRING,
     .arg = "PATH",
     .required = true,
     .help = "the SQLite file that holds all objects; made when it is not there"},
    {.name = "listen",
     .type = OPTIONS_STRING,
     .arg = "WHERE",
     .repeat = true,
     .dflt = "tcp:127.0.0.1:8001",
     .help = "where the API is served: unix:PATH or tcp:ADDRESS:PORT (port 0: any free one)"},
    {.name = "heartbeat-timeout",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "5m",
     .help = "a node whose handler was silent for so long gets no VMs, 1s to 24h"},
    {.name = "scheduler-config",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "a KubeSchedulerConfiguration: VMs are placed by its first profile"},
    {.name = "scheduler-seed",
     .type = OPTIONS_INT,
     .min = 0,
     .max = INT64_MAX,
     .dflt = "0",
     .arg = "NUMBER",
     .help = "breaks ties between nodes: 0 by name, else in an order drawn from it"},
    {.name = "print-metrics",
     .type = OPTIONS_BOOL,
     .help = "alone: print the table of metrics of GET /metrics, and exit"},
    {.name = "log-level",
     .type = OPTIONS_INT,
     .dflt = "3",
     .min = 1,
     .max = 4,
     .help = "1 errors, 2 warnings, 3 information, 4 debugging"},
    {.name = "log-json", .type = OPTIONS_BOOL, .help = "log lines as JSON instead of logfmt"},
    {0},
};

static const struct options_program program = {
    .name = "drover-controller",
    .usage = "[OPTIONS] --store PATH",
    .about = "The controller: serves the API, places VMs, and conducts migrations and drains.",
    .defs = defs,
};

static int run(const struct options *o, struct err *err);
static int listen_all(struct api *api, const struct options *o, struct err *err);
static int load_profile(const char *path, struct arena *a, const struct profile **ret,
                        struct err *err);
static int parse_timeout(const char *text, uint64_t *ret_us, struct err *err);

int
main(int argc, char **argv)
{
    AUTO_OPTIONS struct options *o = NULL;
    struct err err = {0};
    int rc = fault_init(&err);

    if (argc == 2 && strcmp(argv[1], "--print-metrics") == 0) {
        AUTO_SB struct sb table = SB_INIT;

        api_metrics_docs(&table);
        fputs(sb_str(&table), stdout);
        return 0;
    }

    if (rc == 0 && options_parse(&program, argc, argv, &o, &err) != 0) {
        fprintf(stderr, "%s\n", err_msg(&err)); /* begins with the program's name */
        return 1;
    }
    if (rc == 0 && options_help_wanted(o)) {
        AUTO_SB struct sb help = SB_INIT;

        options_help(&program, &help);
        fputs(sb_str(&help), stdout);
        return 0;
    }
    if (rc == 0) {
        log_init("drover-controller", (enum log_level)options_int(o, "log-level"),
                 options_bool(o, "log-json"));
        rc = run(o, &err);
    }
    if (rc != 0) {
        fprintf(stderr, "drover-controller: %s\n", err_msg(&err));
        return 1;
    }
    return 0;
}

static void
on_signal(void *ctx)
{
    loop_stop(ctx);
}

static int
run(const struct options *o, struct err *err)
{
    struct loops_config config = {0};
    struct loop *loop;
    struct store *store;
    struct loops *loops;
    struct api *api;
    struct arena *arena = arena_new();
    int rc =
        parse_timeout(options_string(o, "heartbeat-timeout"), &config.heartbeat_timeout_us, err);

    config.placement_seed = (uint64_t)options_int(o, "scheduler-seed");
    if (rc == 0 && options_string(o, "scheduler-config"))
        rc = load_profile(options_string(o, "scheduler-config"), arena, &config.profile, err);
    if (rc) {
        arena_free(arena);
        return rc;
    }
    signal(SIGPIPE, SIG_IGN);
    loop = loop_event_new();
    rc = store_open_sqlite(loop, options_string(o, "store"), &store, err);
    if (rc) {
        loop_free(loop);
        arena_free(arena);
        return rc;
    }
    api = api_new(loop, store, NULL);
    loops = loops_start(loop, store, &config);
    loop_signal(loop, SIGTERM, on_signal, loop);
    loop_signal(loop, SIGINT, on_signal, loop);
    rc = listen_all(api, o, err);
    if (rc == 0)
        loop_run(loop);
    log_info("controller.stopped", LI("resourceVersion", (int64_t)store_rv(store)));
    loops_stop(loops);
    api_stop(api);
    store_free(store);
    loops_free(loops);
    api_free(api);
    loop_free(loop);
    arena_free(arena);
    return rc;
}

static int
listen_all(struct api *api, const struct options *o, struct err *err)
{
    size_t n = options_count(o, "listen");

    for (size_t i = 0; i < (n ? n : 1); i++) {
        const char *where = n ? options_nth(o, "listen", i) : options_string(o, "listen");
        char url[256];
        int rc = api_listen(api, where, url, sizeof(url), err);

        if (rc)
            return rc;
        log_info("controller.listening", LS("url", url));
    }
    return 0;
}

/* The profile lives in the arena. */
static int
load_profile(const char *path, struct arena *a, const struct profile **ret, struct err *err)
{
    AUTO_TREE struct tree *objects = NULL;
    struct warnings warn = {.arena = a};
    int rc = manifests_load(&path, 1, &objects, &warn, err);

    for (size_t i = 0; i < warn.list.len; i++)
        log_warn("controller.scheduler-config", LS("file", path),
                 LS("warning", warn.list.items[i]));
    if (rc)
        return err_prefix(err, rc, "--scheduler-config");
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct kind_info *kind = object_kind(tree_at(objects, i));

        if (kind && kind->kind == KIND_SCHED_CONFIG) {
            *ret = profile_compile(sched_config_decode(tree_at(objects, i), a), a);
            return 0;
        }
    }
    return err_set(err, -EINVAL, "--scheduler-config %s: no KubeSchedulerConfiguration in it",
                   path);
}

/* A duration ("90s", "5m"), or a number of seconds. */
static int
parse_timeout(const char *text, uint64_t *ret_us, struct err *err)
{
    bool plain = *text && strspn(text, "0123456789") == strlen(text);
    AUTO_FREE char *duration = plain ? xasprintf("%ss", text) : xstrdup(text);
    int64_t us;
    int rc = duration_parse(duration, &us, err);

    if (rc == 0 && (us < 1000000 || us > 24 * 3600 * INT64_C(1000000)))
        rc = err_set(err, -EINVAL, "want 1s to 24h");
    if (rc)
        return err_prefix(err, rc, "--heartbeat-timeout %s", text);
    *ret_us = (uint64_t)us;
    return 0;
}
