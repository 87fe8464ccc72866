/* The demo's course: make a cluster, six steps, take everything away again, and look that
 * nothing stays. Signals only set client_stop; every wait ends by it, and the way out is always
 * the same. */
#include "cli/demo.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/demo_keeper.h"

#define LOG_TAIL_LINES 5
#define LOG_MAX_BYTES  (64u << 20)

static void catch_signals(void);
static int run_steps(struct demo *d);
static int take_away(struct demo *d);
static void show_logs(struct demo *d);
static void free_all(struct demo *d);

int
demo_run(const struct demo_config *cfg, struct err *err)
{
    struct demo d = {.cfg = *cfg, .arena = arena_new(), .start_us = clock_mono_us()};
    struct demo_keeper keeper = {0};
    struct err why;
    int rc, end;

    catch_signals();
    term_init(&d.term, stdout);
    d.traces = traces_new();
    rc = demo_keeper_start(&keeper, cfg->dir, &d.err);
    if (rc == 0)
        rc = run_steps(&d);
    if (rc == 0 && ferror(stdout))
        rc = err_set(&d.err, -EPIPE, "nobody reads the output any more");
    why = d.err;
    if (rc < 0 && rc != -EINTR && d.cluster)
        show_logs(&d);
    if (rc == -EINTR && d.term.tty)
        fputc('\n', stdout); /* behind the terminal's ^C */
    end = take_away(&d);
    demo_keeper_dismiss(&keeper);
    if (rc < 0 && err)
        *err = why;
    else if (end < 0 && err)
        *err = d.err;
    if (rc < 0 && end < 0)
        fprintf(stderr, "drover demo: and not everything could be taken away: %s\n",
                err_msg(&d.err));
    free_all(&d);
    return rc < 0 ? rc : end;
}

static void
catch_signals(void)
{
    client_catch_signals();
    signal(SIGPIPE, SIG_IGN); /* whoever reads us may go; the cluster must not stay for it */
}

static void
free_all(struct demo *d)
{
    client_free(d->client);
    dev_cluster_free(d->cluster);
    traces_free(d->traces);
    tree_free(d->files);
    tree_free(d->move);
    tree_free(d->drain);
    arena_free(d->arena);
}

/* --- the cluster --- */

static int
cluster_up(struct demo *d)
{
    struct dev_config cfg = {
        .dir = d->cfg.dir,
        .nodes = d->nodes,
        .nodes_len = d->nodes_len,
        /* A guest that is emulated needs no /dev/kvm, and does not keep a CPU busy. */
        .hypervisor = d->real ? DEV_LIBVIRT : DEV_NATIVE,
        .emulate = true,
        .stop = &client_stop,
    };
    AUTO_TABLE struct table *t = table_new();
    int rc = dev_cluster_up(&cfg, &d->cluster, &d->err);

    if (rc < 0)
        return rc;
    traces_take(d->traces, d->cluster);
    table_column(t, "HOST", false);
    table_column(t, "MANAGEMENT", false);
    table_column(t, "CPUS", true);
    table_column(t, "MEMORY", true);
    table_column(t, "TAINT", false);
    table_cell(t, "controller");
    table_cell(t, DEV_NET_CONTROLLER);
    for (size_t i = 0; i < 3; i++)
        table_cell(t, "");
    for (size_t i = 0; i < d->cluster->nodes_len; i++) {
        const struct dev_node *n = &d->cluster->nodes[i];
        const struct dev_node_config *c = &d->nodes[i];

        table_cell(t, n->name);
        table_cell(t, n->mgmt_ip);
        table_cell(t, c->cpu ? c->cpu : DEV_DEFAULT_CPU);
        table_cell(t, c->memory ? c->memory : DEV_DEFAULT_MEMORY);
        if (c->taints_len)
            table_cellf(t, "%s=%s:%s", c->taints[0].key,
                        c->taints[0].value ? c->taints[0].value : "", c->taints[0].effect);
        else
            table_cell(t, "");
    }
    demo_say(d, 0,
             "One drover-controller and %zu drover-handlers, each in a network namespace of its "
             "own%s.",
             d->cluster->nodes_len, d->real ? ", each host with a libvirtd" : "");
    demo_table(d, t);
    return client_open(d->cluster->url, &d->client, &d->err);
}

static int
run_steps(struct demo *d)
{
    int rc = demo_load(d);

    if (rc < 0)
        return rc;
    demo_title(d);
    demo_step(d, "A cluster: three hosts, two networks");
    rc = cluster_up(d);
    if (rc < 0)
        return rc;
    demo_step(d, "Manifests");
    rc = demo_apply(d);
    if (rc < 0)
        return rc;
    demo_step(d, "Where each VM went, and why");
    rc = demo_wait_placed(d);
    if (rc == 0)
        rc = demo_explain(d);
    if (rc == 0)
        rc = demo_count(d, &d->net_before);
    if (rc < 0)
        return rc;
    demo_step(d, "One VM moves while it runs");
    rc = demo_migrate(d);
    if (rc < 0)
        return rc;
    demo_step(d, "A host empties itself");
    rc = demo_drain(d);
    if (rc < 0)
        return rc;
    demo_step(d, "What happened");
    return demo_report(d);
}

/* --- the end --- */

static int
take_away(struct demo *d)
{
    AUTO_SB struct sb left = SB_INIT;
    int rc;

    if (!d->cluster)
        return 0;
    client_free(d->client);
    d->client = NULL;
    traces_take(d->traces, d->cluster); /* guests have come since */
    rc = dev_cluster_down(d->cluster, &d->err);
    if (rc < 0)
        return rc;
    traces_left(d->traces, &left);
    if (left.len)
        return err_set(&d->err, -EBUSY, "still there: %s", sb_str(&left));
    demo_good(d, "nothing stays: %zu namespaces, %zu processes, all files and addresses are gone",
              traces_namespaces(d->traces), traces_processes(d->traces));
    return 0;
}

/* The last warnings of a daemon, before its log goes with everything else. */
static void
show_log(const char *folder, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    AUTO_FREE char *text = NULL;
    char *lines[LOG_TAIL_LINES], *save = NULL;
    size_t len, n = 0;

    if (fs_read_all(path, LOG_MAX_BYTES, &text, &len, NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        /* what is no log line of ours is what a dying program says */
        if (strstr(line, " level=info ") || strstr(line, " level=debug "))
            continue;
        if (n == LOG_TAIL_LINES)
            memmove(&lines[0], &lines[1], --n * sizeof(lines[0]));
        lines[n++] = line;
    }
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s: %s\n", name, lines[i]);
}

static void
show_logs(struct demo *d)
{
    AUTO_FREE char *folder = xasprintf("%s/log", d->cluster->dir);
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);

    fflush(stdout);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.')
            show_log(folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
}
