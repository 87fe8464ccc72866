/* `drover checkup latency`: round trips, bandwidth and path MTU between two nodes over the migration
 * network. Writes the documented ConfigMap, which the two handlers act on (handler/checkup.c), waits
 * for its result and prints it. docs/checkup.md. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "cli/client_migration.h"
#include "cli/client_verb.h"
#include "cli/print.h"
#include "cli/term.h"
#include "netpolicy/checkup_object.h"
#include "netpolicy/limits.h"

#define DEFAULT_NAME "kubevirt-vm-latency-checkup-config"
#define GRACE_US     15000000 /* beyond the checkup's own timeout: its end is written within this */

static const char *const outputs[] = {"json", "yaml", NULL};

static const struct options_def defs[] = {
    {.name = "source",
     .type = OPTIONS_STRING,
     .arg = "NODE",
     .help = "the node that measures; with neither of the two the controller chooses both"},
    {.name = "target", .type = OPTIONS_STRING, .arg = "NODE", .help = "the node that answers"},
    {.name = "network",
     .type = OPTIONS_STRING,
     .arg = "NS/NAD",
     .help = "the NetworkAttachmentDefinition that is expected; else the network that migrations "
             "use, whichever it is"},
    {.name = "max-latency",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "10ms",
     .help = "the checkup fails when one round trip took longer; whole milliseconds, 0 = never"},
    {.name = "duration",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "5s",
     .help = "how long round trips are measured; whole seconds"},
    {.name = "timeout",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "5m",
     .help = "the checkup fails when it is not done by then"},
    {.name = "streams",
     .type = OPTIONS_INT,
     .min = 1,
     .max = CHECKUP_MAX_STREAMS,
     .help = "TCP connections that the bandwidth is measured with; else as many as a migration "
             "from that node has"},
    {.name = "keep-name",
     .type = OPTIONS_STRING,
     .arg = "NAME",
     .dflt = DEFAULT_NAME,
     .help = "the ConfigMap that keeps the result; a finished checkup of that name is replaced"},
    VERB_OPTION_NAMESPACE,
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .choices = outputs,
     .help = "print the ConfigMap"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover checkup",
    .usage = "latency [--source NODE --target NODE] [OPTIONS]",
    .about =
        "Measures the way from one node to another over the network that migrations use: round\n"
        "trips, the largest packet that comes through, and bandwidth. The result is kept in a\n"
        "ConfigMap and is the first estimate of migrations from the source. Exit 2: it failed,\n"
        "or a round trip took longer than the maximum.",
    .defs = defs,
    .min_args = 1,
    .max_args = 1,
};

/* A duration in whole units, as the object has it. */
static int
whole(struct verb *v, const char *option, int64_t unit_us, const char *unit, int64_t *ret)
{
    const char *text = options_string(v->options, option);
    int64_t us;
    int rc = duration_parse(text, &us, &v->err);

    if (rc != 0)
        return err_prefix(&v->err, rc, "--%s", option);
    if (us < 0 || us % unit_us != 0)
        return err_set(&v->err, -EINVAL, "--%s %s: want whole %s", option, text, unit);
    *ret = us / unit_us;
    return 0;
}

static void
set_node(struct verb *v, struct tree *data, const char *option, const char *key)
{
    if (options_given(v->options, option))
        tree_set(data, key, tree_string(options_string(v->options, option)));
}

/* The object; with nodes it is checked by the rules that the controller has. */
static int
make_object(struct verb *v, struct tree **ret)
{
    struct checkup_params p;
    AUTO_TREE struct tree *cm = tree_map();
    struct tree *data = tree_ensure_map(cm, "data");
    const char *network = options_string(v->options, "network");
    int64_t ms = 0, seconds = 0;
    int rc = whole(v, "max-latency", 1000, "milliseconds", &ms);

    if (rc == 0)
        rc = whole(v, "duration", 1000000, "seconds", &seconds);
    if (rc != 0)
        return rc;
    tree_set(cm, "apiVersion", tree_string("v1"));
    tree_set(cm, "kind", tree_string("ConfigMap"));
    tree_set_path(cm, tree_string(options_string(v->options, "keep-name")), "metadata", "name",
                  NULL);
    tree_set_path(cm, tree_string(v->namespace_), "metadata", "namespace", NULL);
    tree_set_path(cm, tree_string(CHECKUP_TYPE_LATENCY), "metadata", "labels", LABEL_CHECKUP, NULL);
    tree_set(data, CHECKUP_TIMEOUT, tree_string(options_string(v->options, "timeout")));
    if (network) {
        const char *slash = strchr(network, '/');

        if (!slash || slash == network || !slash[1])
            return err_set(&v->err, -EINVAL, "--network %s: want NAMESPACE/NAME", network);
        tree_set(data, CHECKUP_NETWORK_NAMESPACE, tree_stringn(network, (size_t)(slash - network)));
        tree_set(data, CHECKUP_NETWORK_NAME, tree_string(slash + 1));
    }
    if (ms > 0)
        tree_set(data, CHECKUP_MAX_LATENCY, tree_stringf("%lld", (long long)ms));
    tree_set(data, CHECKUP_SAMPLE, tree_stringf("%lld", (long long)seconds));
    set_node(v, data, "source", CHECKUP_SOURCE);
    set_node(v, data, "target", CHECKUP_TARGET);
    if (options_given(v->options, "streams"))
        tree_set(data, CHECKUP_STREAMS,
                 tree_stringf("%lld", (long long)options_int(v->options, "streams")));
    if (checkup_object_names_node(cm))
        rc = checkup_object_params(cm, &p, &v->err);
    if (rc == 0)
        *ret = TAKE_PTR(cm);
    return rc;
}

/* Before anything is deleted for a checkup that would be refused. */
static int
look_for_nodes(struct verb *v, const struct tree *cm)
{
    static const char *const keys[] = {CHECKUP_SOURCE, CHECKUP_TARGET};

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *name = checkup_object_get(cm, keys[i]);
        AUTO_TREE struct tree *node = NULL;
        int rc = 0;

        if (*name)
            rc = client_get(v->client, kind_info(KIND_NODE), NULL, name, &node, &v->err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Deletes a finished (or abandoned) checkup of that name; nothing else is touched. */
static int
make_room(struct verb *v, const char *name)
{
    const struct kind_info *ki = kind_info(KIND_CONFIGMAP);
    AUTO_TREE struct tree *old = NULL;
    struct checkup_params p = {.timeout_us = 0};
    int64_t made_us = 0;
    int rc = client_get(v->client, ki, v->namespace_, name, &old, &v->err);

    if (rc == -ENOENT)
        return 0;
    if (rc != 0)
        return rc;
    if (!checkup_object_is(old))
        return err_set(&v->err, -EEXIST,
                       "configmap %s/%s is no checkup (it lacks the label " LABEL_CHECKUP
                       "): --keep-name NAME gives another name",
                       v->namespace_, name);
    (void)checkup_object_params(old, &p, NULL);
    (void)time_parse(tree_find_string(old, "", "metadata", "creationTimestamp", NULL), &made_us,
                     NULL);
    if (!checkup_object_finished(old) &&
        clock_wall_us() - made_us < (int64_t)p.timeout_us + GRACE_US)
        return err_set(&v->err, -EBUSY,
                       "checkup %s/%s is still running: wait for it, or give this one a name of "
                       "its own with --keep-name",
                       v->namespace_, name);
    rc = client_delete(v->client, ki, v->namespace_, name, NULL, &v->err);
    return rc == -ENOENT ? 0 : rc;
}

struct watching {
    const struct checkup_params *p;
    struct term term;
    struct term_live live;
    uint64_t since_us; /* when it began to measure; 0 = not yet */
    struct tree *found;
};

/* client_wait_fn: 1 when it is over. */
static int
watch(void *ctx, const struct tree *cm)
{
    struct watching *w = ctx;
    AUTO_SB struct sb line = SB_INIT;

    if (!cm)
        return -ENOENT;
    if (checkup_object_finished(cm)) {
        w->found = tree_copy(cm);
        return 1;
    }
    if (!w->live.term)
        return 0;
    if (*checkup_object_get(cm, CHECKUP_STARTED)) {
        uint64_t now = clock_mono_us();

        w->since_us = w->since_us ? w->since_us : now;
        sb_printf(&line, "measuring %s %s %s: %.0f s\n", w->p->source, term_glyph(&w->term, '>'),
                  w->p->target, (double)(now - w->since_us) / 1e6);
    } else {
        sb_printf(&line, "waiting for the handler of %s\n",
                  *checkup_object_get(cm, CHECKUP_TARGET_ADDRESS) ? w->p->source : w->p->target);
    }
    term_live_draw(&w->live, sb_str(&line));
    return 0;
}

static void
put_ns(struct sb *out, uint64_t ns)
{
    if (ns < 1000000)
        sb_printf(out, "%.0f us", (double)ns / 1e3);
    else
        sb_printf(out, "%.2f ms", (double)ns / 1e6);
}

static void
report(const struct tree *cm, const struct checkup_params *p)
{
    struct checkup_result r;
    AUTO_SB struct sb out = SB_INIT;
    const char *reason = checkup_object_get(cm, CHECKUP_FAILURE);

    checkup_object_result(cm, &r);
    sb_printf(&out, "Checkup     %s/%s: %s\n", object_namespace(cm), object_name(cm),
              *reason ? "failed" : "succeeded");
    if (*reason)
        sb_printf(&out, "Reason      %s\n", reason);
    sb_printf(&out, "Way         %s to %s", p->source, p->target);
    if (*r.network)
        sb_printf(&out, ", network %s", r.network);
    if (*r.interface_name)
        sb_printf(&out, " (%s)", r.interface_name);
    sb_putc(&out, '\n');
    if (r.samples) {
        sb_puts(&out, "Latency     least ");
        put_ns(&out, r.min_ns);
        sb_puts(&out, ", average ");
        put_ns(&out, r.avg_ns);
        sb_puts(&out, ", 99 % within ");
        put_ns(&out, r.p99_ns);
        sb_puts(&out, ", greatest ");
        put_ns(&out, r.max_ns);
        sb_printf(&out, " (%llu round trips", (unsigned long long)r.samples);
        if (p->max_latency_ns)
            sb_printf(&out, "; at most %llu ms", (unsigned long long)p->max_latency_ns / 1000000);
        sb_puts(&out, ")\n");
    }
    if (r.path_mtu_bytes)
        sb_printf(&out, "Path MTU    %u bytes\n", r.path_mtu_bytes);
    if (r.bandwidth_bytes_per_s) {
        sb_puts(&out, "Bandwidth   ");
        human_rate(&out, (int64_t)r.bandwidth_bytes_per_s);
        sb_printf(&out, " over %u TCP stream%s\n", r.streams, r.streams == 1 ? "" : "s");
    }
    fputs(sb_str(&out), stdout);
}

static int
run_latency(struct verb *v)
{
    const struct kind_info *ki = kind_info(KIND_CONFIGMAP);
    const char *name = options_string(v->options, "keep-name");
    const char *output = options_string(v->options, "output");
    AUTO_TREE struct tree *cm = NULL, *made = NULL, *found = NULL;
    struct checkup_params p;
    struct watching w = {.p = &p};
    int rc;

    if (make_object(v, &cm) != 0 || look_for_nodes(v, cm) != 0 || make_room(v, name) != 0 ||
        client_create(v->client, ki, v->namespace_, cm, &made, &v->err) != 0 ||
        checkup_object_params(made, &p, &v->err) != 0)
        return verb_error(v);
    client_catch_signals();
    term_init(&w.term, stdout);
    if (w.term.tty && !output)
        w.live.term = &w.term;
    rc = client_wait(v->client, ki, v->namespace_, name, (int64_t)p.timeout_us + GRACE_US, watch,
                     &w, &v->err);
    if (w.live.term) {
        term_live_draw(&w.live, "");
        term_live_end(&w.live);
    }
    found = w.found;
    if (rc == -ETIMEDOUT)
        return verb_no(v, "%s/%s: neither handler has said how it ended (do both run?)",
                       v->namespace_, name);
    if (rc == -ENOENT)
        return verb_errorf(v, "%s/%s was deleted meanwhile", v->namespace_, name);
    if (rc == -EINTR)
        return verb_errorf(v, "interrupted; the checkup %s/%s goes on", v->namespace_, name);
    if (rc < 0)
        return verb_error(v);
    if (output) {
        struct print_format format = {0};
        AUTO_SB struct sb out = SB_INIT;

        if (print_format_parse(output, &format, &v->err) != 0)
            return verb_error(v);
        print_object(&format, found, &out);
        fputs(sb_str(&out), stdout);
    } else {
        report(found, &p);
    }
    return strcmp(checkup_object_get(found, CHECKUP_SUCCEEDED), "true") == 0 ? EXIT_DONE : EXIT_NO;
}

int
verb_checkup(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (strcmp(v.args[0], "latency") != 0)
        return verb_errorf(&v, "%s: want \"checkup latency\"", v.args[0]);
    return run_latency(&v);
}
