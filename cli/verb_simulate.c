/* `drover simulate migration`: how a migration would go, on virtual time: the engine's own
 * convergence controller (migrate/converge.h), driven by a model of guest and link
 * (migrate/simulate.h). Limits and permissions come from the policy code. This file reads options
 * and prints. */
#include "cli/verbs.h"

#include <string.h>

#include "api/quantity.h"
#include "base/sb.h"
#include "cli/offline_policy.h"
#include "cli/simulate_print.h"
#include "migrate/simulate.h"
#include "migrate/trace.h"

static const struct options_def defs[] = {
    {.name = "memory",
     .type = OPTIONS_STRING,
     .arg = "Q",
     .help = "the guest's memory; that of --vm unless given"},
    {.name = "present",
     .type = OPTIONS_STRING,
     .arg = "Q",
     .help = "how much of it has content; all of it unless given"},
    {.name = "working-set",
     .type = OPTIONS_STRING,
     .arg = "Q",
     .help = "how much of it the guest keeps writing to"},
    {.name = "dirty-rate",
     .type = OPTIONS_STRING,
     .arg = "Q",
     .help = "bytes of clean pages that it makes dirty a second, at first"},
    {.name = "trace",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "a recording (drover trace record) instead of memory, working set and rate"},
    {.name = "bandwidth",
     .type = OPTIONS_STRING,
     .required = true,
     .arg = "Q",
     .help = "of the link, in bytes a second: 1250M is 10 Gb/s"},
    {.name = "streams",
     .type = OPTIONS_INT,
     .min = 1,
     .max = 64,
     .arg = "N",
     .help = "channels; one takes at most 18 Gb/s; as many as it takes unless given"},
    {.name = "noise",
     .type = OPTIONS_INT,
     .min = 0,
     .max = 500,
     .dflt = "0",
     .arg = "PERMILLE",
     .help = "how unsteady link and guest are (standard deviation)"},
    {.name = "seed", .type = OPTIONS_INT, .min = 0, .dflt = "1", .help = "of the noise"},
    {.name = "filename",
     .letter = 'f',
     .type = OPTIONS_STRING,
     .repeat = true,
     .arg = "FILE|DIR|-",
     .help = "manifests: policies, HyperConverged, the VM; may be given again"},
    OFFLINE_OPT_VM(false, "the VM whose policy applies; without it, one without labels"),
    OFFLINE_OPT_NAMESPACE,
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover simulate",
    .usage = "migration --memory Q --working-set Q --dirty-rate Q --bandwidth Q [-f FILE --vm VM]",
    .about =
        "Says how a migration would go: rounds, bytes, time, downtime, and why it decides what\n"
        "it decides. The engine's own controller runs on virtual time against a model of the\n"
        "guest and the link. Quantities are as in manifests, rates in bytes a second. Exit 0\n"
        "when it succeeds, 2 when it does not.",
    .defs = defs,
    .min_args = 1,
    .max_args = 1,
};

static int get_quantity(const struct offline *o, const char *name, bool required, uint64_t *ret);
static int get_guest(struct offline *o, struct simulate_config *c, struct trace **ret_trace);
static int get_memory(struct offline *o, uint64_t *ret);
static int fill_config(struct offline *o, struct simulate_config *c, struct trace **ret_trace,
                       struct offline_policy *policy);

int
verb_simulate(int argc, char **argv)
{
    AUTO_OFFLINE struct offline *o = NULL;
    AUTO_TREE struct tree *answer = NULL;
    struct simulate_config c = {0};
    struct simulate_result r = {0};
    struct offline_policy policy = {0};
    struct trace *trace = NULL;
    struct err err = {0};
    const char *const *args;
    int rc;

    o = offline_begin(&program, argc, argv, &rc);
    if (!o)
        return rc;
    options_args(o->options, &args);
    if (strcmp(args[0], "migration") != 0)
        return offline_errorf("simulate %s: want \"simulate migration\"", args[0]);
    rc = fill_config(o, &c, &trace, &policy);
    if (rc == EXIT_DONE && simulate_run(&c, &r, &err) != 0)
        rc = offline_errorf("simulate migration: %s", err_msg(&err));
    trace_free(trace);
    if (rc != EXIT_DONE)
        return rc;
    answer = simulate_tree(&r);
    if (!offline_print(o, answer)) {
        AUTO_SB struct sb out = SB_INIT;

        sb_printf(&out, "Policy      %s\n",
                  policy.decision.policy ? policy.decision.policy : "none; defaults apply");
        simulate_print(&r, &out);
        fputs(sb_str(&out), stdout);
    }
    rc = r.succeeded ? EXIT_DONE : EXIT_NO;
    simulate_result_done(&r);
    return rc;
}

static int
fill_config(struct offline *o, struct simulate_config *c, struct trace **ret_trace,
            struct offline_policy *policy)
{
    int rc = get_guest(o, c, ret_trace);

    if (rc == EXIT_DONE)
        rc = get_quantity(o, "bandwidth", true, &c->bandwidth_bytes_per_s);
    if (rc != EXIT_DONE)
        return rc;
    if (c->bandwidth_bytes_per_s == 0)
        return offline_errorf("--bandwidth 0: must be more than 0");
    c->streams = (unsigned)options_int(o->options, "streams");
    c->noise_permille = (unsigned)options_int(o->options, "noise");
    c->seed = (uint64_t)options_int(o->options, "seed");
    rc = offline_policy(o, (int64_t)c->memory_bytes, policy);
    if (rc == EXIT_DONE)
        simulate_limits(&policy->decision, &c->limits, &c->policy);
    return rc;
}

static int
get_guest(struct offline *o, struct simulate_config *c, struct trace **ret_trace)
{
    static const char *const instead[] = {"memory", "present", "working-set", "dirty-rate"};
    const char *path = options_string(o->options, "trace");
    struct err err = {0};
    int rc;

    if (path) {
        for (size_t i = 0; i < ARRAY_LEN(instead); i++)
            if (options_given(o->options, instead[i]))
                return offline_errorf("--%s: the trace says that already", instead[i]);
        if (trace_load(path, ret_trace, &err) != 0)
            return offline_errorf("%s", err_msg(&err));
        c->trace = *ret_trace;
        c->memory_bytes = c->trace->memory_bytes;
        c->present_bytes = c->trace->present_bytes;
        return EXIT_DONE;
    }
    rc = get_memory(o, &c->memory_bytes);
    if (rc == EXIT_DONE)
        rc = get_quantity(o, "present", false, &c->present_bytes);
    if (rc == EXIT_DONE)
        rc = get_quantity(o, "working-set", true, &c->set_bytes);
    if (rc == EXIT_DONE)
        rc = get_quantity(o, "dirty-rate", true, &c->dirty_bytes_per_s);
    if (rc != EXIT_DONE)
        return rc;
    if (c->memory_bytes == 0)
        return offline_errorf("--memory 0: must be more than 0");
    if (c->set_bytes > c->memory_bytes)
        return offline_errorf("--working-set %s: is more than --memory",
                              options_string(o->options, "working-set"));
    if (c->present_bytes > c->memory_bytes)
        return offline_errorf("--present %s: is more than --memory",
                              options_string(o->options, "present"));
    return EXIT_DONE;
}

/* As given, else the memory of the VM. */
static int
get_memory(struct offline *o, uint64_t *ret)
{
    struct offline_policy policy;
    int rc;

    if (options_given(o->options, "memory") || !o->vm_name)
        return get_quantity(o, "memory", true, ret);
    rc = offline_policy(o, 0, &policy);
    if (rc == EXIT_DONE)
        *ret = (uint64_t)policy.memory_bytes;
    return rc;
}

static int
get_quantity(const struct offline *o, const char *name, bool required, uint64_t *ret)
{
    const char *text = options_string(o->options, name);
    struct quantity q;
    struct err err = {0};

    if (!text && !required)
        return EXIT_DONE;
    if (!text)
        return offline_errorf("--%s: must be given", name);
    if (quantity_parse(text, &q, &err) != 0)
        return offline_errorf("--%s %s: %s", name, text, err_msg(&err));
    if (q.units < 0 || q.units > (1ll << 50))
        return offline_errorf("--%s %s: want 0 to 1Pi", name, text);
    *ret = (uint64_t)q.units;
    return EXIT_DONE;
}
