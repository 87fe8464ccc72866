/* drover: the command line. This file knows the verbs' names and one line about each, prints the
 * help, and suggests the nearest verb on a typo. The verbs are in cli/verb_*.c; what they share
 * with scripts is docs in CLI form: cli/verbs.h. */
#include <stdbool.h>
#include <string.h>

#include "base/sb.h"
#include "cli/verbs.h"

#define MAX_TYPO 2 /* letters that may be wrong for a suggestion */

struct verb_row {
    const char *group; /* set on the first one of a group */
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct verb_row verbs[] = {
    {"Looking", "get", verb_get, "objects as a table, yaml, json, names or through jsonpath"},
    {NULL, "describe", verb_describe, "one object in words, and why it is as it is"},
    {NULL, "events", verb_events, "what happened"},
    {NULL, "top", verb_top, "what the nodes have and are asked for; running migrations"},
    {"Changing", "apply", verb_apply, "make objects as manifests say"},
    {NULL, "delete", verb_delete, "delete objects"},
    {NULL, "label", verb_label, "set and remove labels"},
    {NULL, "annotate", verb_annotate, "set and remove annotations"},
    {"VMs", "start", verb_start, "start a VM"},
    {NULL, "stop", verb_stop, "stop a VM"},
    {NULL, "restart", verb_restart, "stop a VM and start it again"},
    {NULL, "pause", verb_pause, "hold a VM's vCPUs"},
    {NULL, "unpause", verb_unpause, "let a paused VM run on"},
    {NULL, "reset", verb_reset, "press a VM's reset button"},
    {NULL, "console", verb_console, "a VM's serial console"},
    {NULL, "migrate", verb_migrate, "move a running VM to another node"},
    {NULL, "migrate-cancel", verb_migrate_cancel, "cancel a VM's migration"},
    {NULL, "verify", verb_verify, "check every page of a native guest's memory"},
    {NULL, "trace", verb_trace, "record which pages a VM writes, for simulate"},
    {"Nodes", "cordon", verb_cordon, "place no more VMs on a node"},
    {NULL, "uncordon", verb_uncordon, "place VMs on a node again"},
    {NULL, "drain", verb_drain, "empty a node: its VMs move elsewhere"},
    {NULL, "taint", verb_taint, "set and remove taints"},
    {NULL, "checkup", verb_checkup, "measure the migration network between two nodes"},
    {"Without a controller, on files", "schedule", verb_schedule,
     "where would each VM go, and why"},
    {NULL, "policy", verb_policy, "which MigrationPolicy applies to a VM, and what follows"},
    {NULL, "plan", verb_plan, "what would the handler do to a node's network interfaces"},
    {NULL, "migratable", verb_migratable, "can a VM be live-migrated, and why not"},
    {NULL, "evict", verb_evict, "what would a drain do with each VM of a node"},
    {NULL, "labels", verb_labels, "the labels that a host gets, from what its libvirt says"},
    {NULL, "simulate", verb_simulate, "how would a migration go: time, downtime, rounds, and why"},
    {"Encryption", "pki", verb_pki, "certificates for migrations: a CA, one for each node"},
    {"A cluster of your own", "dev", verb_dev, "a local cluster in network namespaces: up, down"},
    {NULL, "demo", verb_demo, "the main job from end to end, in two minutes"},
    {"Others", "kubeconfig", verb_kubeconfig, "a kubeconfig for kubectl"},
};

static void
put_help(FILE *out)
{
    fputs("drover places virtual machines on hosts and moves them while they run.\n\n"
          "Usage: drover VERB [ARGUMENTS] [OPTIONS]\n"
          "       drover VERB --help\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (verbs[i].group)
            fprintf(out, "\n%s\n", verbs[i].group);
        fprintf(out, "  %-16s %s\n", verbs[i].name, verbs[i].help);
    }
    fputs("\nExit status: 0 done, and the answer is yes; 1 it could not be done, or the input is "
          "wrong;\n"
          "2 the answer is no (nothing fits, a drain is blocked, a timeout was reached).\n",
          out);
}

static const struct verb_row *
find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

/* Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment). */
static size_t
distance(const char *a, const char *b)
{
    enum { MAX = 24 };
    size_t d[MAX + 1][MAX + 1], la = strlen(a), lb = strlen(b);

    if (la > MAX || lb > MAX)
        return MAX;
    for (size_t i = 0; i <= la; i++) {
        for (size_t j = 0; j <= lb; j++) {
            size_t best;

            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[la][lb];
}

static int
unknown_verb(const char *name)
{
    const struct verb_row *nearest = NULL;
    size_t least = MAX_TYPO + 1;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        size_t n = distance(name, verbs[i].name);

        if (n < least && n < strlen(verbs[i].name)) {
            least = n;
            nearest = &verbs[i];
        }
    }
    if (nearest)
        fprintf(stderr, "drover: unknown verb \"%s\": did you mean \"%s\"?\n", name, nearest->name);
    else
        fprintf(stderr, "drover: unknown verb \"%s\": `drover --help` lists them\n", name);
    return EXIT_ERROR;
}

/* Options that kubectl users write before the verb, and that take a value. */
static bool
takes_value(const char *arg)
{
    static const char *const options[] = {"-n", "--namespace", "-s", "--server"};

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strcmp(arg, options[i]) == 0)
            return true;
    }
    return false;
}

/* Moves what stands before the verb behind it: -n NS get vm becomes get -n NS vm. The index of the
 * verb's new place is always 1; 0 = there is none. */
static int
verb_first(int argc, char **argv)
{
    int at = 1;
    char *verb;

    while (at < argc && argv[at][0] == '-')
        at += takes_value(argv[at]) ? 2 : 1;
    if (at >= argc)
        return 0;
    verb = argv[at];
    memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(argv[0]));
    argv[1] = verb;
    return 1;
}

int
main(int argc, char **argv)
{
    char help_option[] = "--help";
    char *help_argv[] = {NULL, help_option, NULL};
    const struct verb_row *verb;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        put_help(stdout);
        return EXIT_DONE;
    }
    if (!verb_first(argc, argv)) {
        put_help(stderr);
        return EXIT_ERROR;
    }
    if (strcmp(argv[1], "help") == 0) {
        if (argc == 2) {
            put_help(stdout);
            return EXIT_DONE;
        }
        verb = find_verb(argv[2]);
        help_argv[0] = argv[2];
        return verb ? verb->run(2, help_argv) : unknown_verb(argv[2]);
    }
    verb = find_verb(argv[1]);
    return verb ? verb->run(argc - 1, argv + 1) : unknown_verb(argv[1]);
}
