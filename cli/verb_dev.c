/* `drover dev up|down|status`: a local cluster in network namespaces, for trying things out and for
 * tests. The work is cli/dev_cluster.h's; this file reads options and prints. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/options.h"
#include "base/sb.h"
#include "cli/dev_cluster.h"
#include "cli/dev_file.h"
#include "cli/dev_priv.h"
#include "cli/print_table.h"
#include "cli/verbs.h"

#define OPT_DIR                                                                       \
    {                                                                                 \
        .name = "dir", .type = OPTIONS_STRING, .arg = "DIR", .dflt = DEV_DIR_DEFAULT, \
        .help = "everything of the cluster lies here"                                 \
    }

static const char *const hypervisors[] = {"native", "libvirt", "auto", NULL}; /* as enum */
static const char *const outputs[] = {"table", "json", NULL};

static const struct options_def up_defs[] = {
    {.name = "nodes",
     .type = OPTIONS_INT,
     .min = 1,
     .max = DEV_NET_MAX_NODES,
     .help = "how many hosts: n1, n2, ... (3 unless -f gives them)"},
    {.name = "filename",
     .letter = 'f',
     .type = OPTIONS_STRING,
     .repeat = true,
     .arg = "FILE|DIR",
     .help = "hosts as Node objects: names, labels, taints, capacity"},
    OPT_DIR,
    {.name = "heartbeat",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = DEV_DEFAULT_HEARTBEAT,
     .help = "time between two heartbeats of a handler, 100ms to 10m"},
    {.name = "labels-from",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "label the hosts as one whose libvirt printed DIR/domcapabilities.xml (and "
             "capabilities.xml, cpu_map/ where they are there), such as examples/labels"},
    {.name = "store",
     .type = OPTIONS_STRING,
     .arg = "URL",
     .help = "the controller's store; SQLite below --dir unless given"},
    {.name = "insecure-plaintext",
     .type = OPTIONS_BOOL,
     .help = "no certificates: migrations are not encrypted"},
    {.name = "hypervisor",
     .type = OPTIONS_STRING,
     .dflt = "native",
     .choices = hypervisors,
     .help =
         "what runs the guests: processes of ours; or QEMU, each host with a libvirtd of its own "
         "in a mount and a UTS namespace; auto: libvirt where libvirtd and QEMU are "
         "installed"},
    {.name = "emulate",
     .type = OPTIONS_BOOL,
     .help = "with libvirt: hosts without /dev/kvm, so that QEMU emulates the guests' CPUs"},
    {.name = "images",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "with libvirt: images that manifests name as containerDisk and kernelBoot (else the "
             "folder images beside the programs: the test guest)"},
    {0},
};
static const struct options_def down_defs[] = {OPT_DIR, {0}};
static const struct options_def status_defs[] = {
    OPT_DIR,
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .dflt = "table",
     .choices = outputs,
     .help = "how to print the answer"},
    {0},
};

static const struct options_program up_program = {
    .name = "drover dev up",
    .usage = "[OPTIONS]",
    .about =
        "Makes a cluster on this machine: a controller and hosts, each in a network namespace\n"
        "of its own, joined by a management network (198.18.0.0/24) and, apart from it, a\n"
        "network for migrations (eth1 on each host). Needs root.",
    .defs = up_defs,
};
static const struct options_program down_program = {
    .name = "drover dev down",
    .usage = "[--dir DIR]",
    .about =
        "Ends the cluster: its processes and guests, namespaces, interfaces and files. Fine to\n"
        "run twice.",
    .defs = down_defs,
};
static const struct options_program status_program = {
    .name = "drover dev status",
    .usage = "[--dir DIR] [-o json]",
    .about =
        "What the cluster consists of and whether it is whole. Exit 2 when it is not, or when\n"
        "there is none.",
    .defs = status_defs,
};

static int dev_up(const struct options *o);
static int dev_down(const struct options *o);
static int dev_status(const struct options *o);

static const struct {
    const char *name;
    const struct options_program *program;
    int (*run)(const struct options *o);
} verbs[] = {
    {"up", &up_program, dev_up},
    {"down", &down_program, dev_down},
    {"status", &status_program, dev_status},
};

static const char usage[] =
    "drover dev up|down|status [OPTIONS]\n"
    "\n"
    "A local cluster in network namespaces. `drover dev up --help` and so on.\n";

int
verb_dev(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; name && i < ARRAY_LEN(verbs); i++) {
        AUTO_OPTIONS struct options *o = NULL;
        struct err err = {0};

        if (strcmp(name, verbs[i].name) != 0)
            continue;
        if (options_parse(verbs[i].program, argc - 1, argv + 1, &o, &err) != 0) {
            fprintf(stderr, "%s\n", err_msg(&err));
            return EXIT_ERROR;
        }
        if (options_help_wanted(o)) {
            AUTO_SB struct sb help = SB_INIT;

            options_help(verbs[i].program, &help);
            fputs(sb_str(&help), stdout);
            return EXIT_DONE;
        }
        return verbs[i].run(o);
    }
    fprintf(stderr, "drover dev: %s%s%s want up, down or status\n", name ? "\"" : "",
            name ? name : "a verb is missing:", name ? "\":" : "");
    return EXIT_ERROR;
}

/* --- up --- */

static atomic_bool stop;

static void
on_signal(int signo)
{
    (void)signo;
    atomic_store(&stop, true);
}

static void
say(void *ctx, const char *line)
{
    (void)ctx;
    printf("%s\n", line);
    fflush(stdout);
}

static int
load_nodes(const struct options *o, struct dev_config *cfg, struct arena *a, struct err *err)
{
    size_t len = options_count(o, "filename");
    const char **paths = arena_calloc(a, len, sizeof *paths);
    struct dev_node_config *nodes;
    int rc;

    cfg->nodes_len = (size_t)options_int(o, "nodes");
    if (len == 0)
        return 0;
    if (options_given(o, "nodes"))
        return err_set(err, -EINVAL, "--nodes and -f both say which hosts there are: want one");
    for (size_t i = 0; i < len; i++)
        paths[i] = options_nth(o, "filename", i);
    rc = dev_nodes_load(paths, len, &nodes, &cfg->nodes_len, a, err);
    cfg->nodes = nodes;
    return rc;
}

/* The options of handlers that make them label their nodes by these files. */
static int
load_labels(const struct options *o, struct dev_config *cfg, struct arena *a, struct err *err)
{
    static const char *const files[][2] = {{"--domcapabilities", "domcapabilities.xml"},
                                           {"--capabilities", "capabilities.xml"},
                                           {"--cpu-map", "cpu_map"}};
    const char *dir = options_string(o, "labels-from");
    const char **args = arena_calloc(a, 2 * ARRAY_LEN(files) + 1, sizeof *args);
    size_t len = 0;

    for (size_t i = 0; dir && i < ARRAY_LEN(files); i++) {
        const char *given = arena_printf(a, "%s/%s", dir, files[i][1]);
        AUTO_FREE char *path = realpath(given, NULL);

        if (!path && (i == 0 || errno != ENOENT))
            return err_set(err, -errno, "--labels-from %s: %s", given, strerror(errno));
        if (!path)
            continue;
        args[len++] = files[i][0];
        args[len++] = arena_strdup(a, path);
    }
    if (len > 0)
        cfg->handler_args = args;
    return 0;
}

static int
dev_up(const struct options *o)
{
    struct sigaction act = {.sa_handler = on_signal}, was_int, was_term;
    struct dev_config cfg = {
        .dir = options_string(o, "dir"),
        .heartbeat = options_string(o, "heartbeat"),
        .store = options_string(o, "store"),
        .plaintext = options_bool(o, "insecure-plaintext"),
        .emulate = options_bool(o, "emulate"),
        .stop = &stop,
        .say = say,
    };
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct arena *a = arena_new();
    AUTO_FREE char *images = NULL;
    struct err err = {0};
    int rc = 0;

    atomic_store(&stop, false);
    sigaction(SIGINT, &act, &was_int);
    sigaction(SIGTERM, &act, &was_term);
    if (options_given(o, "images")) {
        images = realpath(options_string(o, "images"), NULL);
        if (!images)
            rc = err_set(&err, -errno, "--images %s: %s", options_string(o, "images"),
                         strerror(errno));
        cfg.images = images;
    }
    for (int i = 0; hypervisors[i]; i++)
        if (strcmp(hypervisors[i], options_string(o, "hypervisor")) == 0)
            cfg.hypervisor = i;
    if (rc == 0)
        rc = load_nodes(o, &cfg, a, &err);
    if (rc == 0)
        rc = load_labels(o, &cfg, a, &err);
    if (rc == 0)
        rc = dev_cluster_up(&cfg, &c, &err);
    sigaction(SIGINT, &was_int, NULL);
    sigaction(SIGTERM, &was_term, NULL);
    arena_free(a);
    if (rc != 0) {
        fprintf(stderr, "drover dev up: %s\n", err_msg(&err));
        return EXIT_ERROR;
    }
    printf("\n"
           "  export DROVER_SERVER=%s\n"
           "  drover get nodes\n"
           "  ip netns exec %s kubectl --kubeconfig %s get nodes\n"
           "  drover dev down%s%s\n",
           c->url, c->netns, c->kubeconfig, options_given(o, "dir") ? " --dir " : "",
           options_given(o, "dir") ? c->dir : "");
    return EXIT_DONE;
}

/* --- down --- */

static int
dev_down(const struct options *o)
{
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct err err = {0};
    int rc = dev_cluster_open(options_string(o, "dir"), &c, &err);

    if (rc == -ENOENT) {
        printf("%s: there is no cluster\n", options_string(o, "dir"));
        return EXIT_DONE;
    }
    if (rc == 0)
        rc = dev_net_permitted(&err);
    if (rc == 0)
        rc = dev_cluster_down(c, &err);
    if (rc != 0) {
        fprintf(stderr, "drover dev down: %s\n", err_msg(&err));
        return EXIT_ERROR;
    }
    printf("cluster %s has ended\n", c->id);
    return EXIT_DONE;
}

/* --- status --- */

static void
print_daemon(struct table *t, const char *name, const struct dev_process *p, const char *netns,
             const char *mgmt, const char *mig)
{
    bool alive = dev_proc_alive(p);

    table_cell(t, name);
    table_cell(t, alive ? "running" : "gone");
    if (alive)
        table_cellf(t, "%d", (int)p->pid);
    else
        table_cell(t, "-");
    table_cell(t, netns);
    table_cell(t, mgmt);
    table_cell(t, mig);
}

static int
dev_status(const struct options *o)
{
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    AUTO_TABLE struct table *t = NULL;
    AUTO_SB struct sb out = SB_INIT;
    struct err err = {0}, why = {0};
    bool whole;
    int rc = dev_cluster_open(options_string(o, "dir"), &c, &err);

    if (rc != 0) {
        fprintf(rc == -ENOENT ? stdout : stderr, "%s\n", err_msg(&err));
        return rc == -ENOENT ? EXIT_NO : EXIT_ERROR;
    }
    whole = dev_ready_check(c, &why) == 0 && c->ready;
    if (strcmp(options_string(o, "output"), "json") == 0) {
        AUTO_TREE struct tree *answer = dev_file_tree(c);

        tree_set(answer, "whole", tree_bool(whole));
        tree_to_json(answer, 2, &out);
        printf("%s\n", sb_str(&out));
        return whole ? EXIT_DONE : EXIT_NO;
    }
    t = table_new();
    table_column(t, "DAEMON", false);
    table_column(t, "STATE", false);
    table_column(t, "PID", true);
    table_column(t, "NAMESPACE", false);
    table_column(t, "MANAGEMENT", false);
    table_column(t, "MIGRATION", false);
    print_daemon(t, "controller", &c->controller, c->netns, DEV_NET_CONTROLLER, "-");
    for (size_t i = 0; i < c->nodes_len; i++) {
        const struct dev_node *n = &c->nodes[i];

        print_daemon(t, n->name, &n->handler, n->netns, n->mgmt_ip, n->mig_ip[0] ? n->mig_ip : "-");
        if (n->libvirt) {
            AUTO_FREE char *name = xasprintf("%s libvirtd", n->name);

            print_daemon(t, name, &n->libvirtd, n->netns, "-", "-");
        }
    }
    table_flush(t, 0, &out);
    printf("cluster %s in %s, %s\n\n%s\n%s\n", c->id, c->dir, c->url, sb_str(&out),
           whole      ? "All nodes are Ready."
           : c->ready ? err_msg(&why)
                      : "It is being made, or its making was interrupted: drover dev down.");
    return whole ? EXIT_DONE : EXIT_NO;
}
