/* `drover labels`: the labels that a host's handler would put on its Node, from files that libvirt's
 * tools wrote. The rules are sched/labeller.h's; this file reads and prints. */
#include <errno.h>
#include <string.h>

#include "cli/offline.h"
#include "cli/print_table.h"
#include "sched/labeller_files.h"

static const struct options_def defs[] = {
    {.name = "domcapabilities",
     .type = OPTIONS_STRING,
     .arg = "FILE|-",
     .required = true,
     .help = "what `virsh domcapabilities` printed on the host"},
    {.name = "capabilities",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "what `virsh capabilities` printed: the TSC's frequency, machine types"},
    {.name = "supported-features",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "what `virsh hypervisor-cpu-baseline --features` printed: the exact CPU features"},
    {.name = "cpu-map",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "libvirt's CPU map: the features of models by name, such as " LABELLER_CPU_MAP},
    {.name = "node",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "the Node as it is: says what would be taken away, too"},
    {.name = "filename",
     .letter = 'f',
     .type = OPTIONS_STRING,
     .repeat = true,
     .arg = "FILE|DIR|-",
     .help = "manifests with the HyperConverged, for its obsoleteCPUs; may be given again"},
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover labels",
    .usage = "--domcapabilities FILE [--capabilities FILE] [--cpu-map DIR] [--node FILE] [-f FILE]",
    .about = "Prints the labels that the handler of a host would put on its Node: CPU models and\n"
             "features, host model, vendor, TSC, machine types, SEV and the like. On the host:\n"
             "  virsh domcapabilities --machine q35 --virttype kvm > dom.xml; virsh capabilities > "
             "caps.xml\n"
             "Hyper-V and realtime labels come from the host's KVM and kernel: not from files.",
    .defs = defs,
};

static int read_node(const char *path, const struct node **ret, struct offline *o,
                     struct tree **trees, struct err *err);
static struct tree *answer_of(const struct labeller_output *out);
static void print_human(const struct labeller_output *out, const struct node *n);
static const char *change_of(const struct node *n, const struct kv *label);

int
verb_labels(int argc, char **argv)
{
    int rc;
    AUTO_OFFLINE struct offline *o = offline_begin(&program, argc, argv, &rc);
    AUTO_TREE struct tree *answer = NULL, *trees = NULL;
    struct labeller_input in = {0};
    struct labeller_output out;
    struct labeller_files files;
    struct err err = {0};

    if (!o)
        return rc;
    files = (struct labeller_files){
        .domcapabilities = options_string(o->options, "domcapabilities"),
        .capabilities = options_string(o->options, "capabilities"),
        .supported_features = options_string(o->options, "supported-features"),
        .cpu_map = options_string(o->options, "cpu-map"),
    };
    in.hco = o->hco;
    rc = labeller_files_read(&files, &in, o->arena, &err);
    if (rc == 0)
        rc = read_node(options_string(o->options, "node"), &in.node, o, &trees, &err);
    if (rc == 0)
        rc = labeller_run(&in, &out, o->arena, &err);
    if (rc != 0)
        return offline_errorf("%s", err_msg(&err));
    for (size_t i = 0; i < out.notes.len; i++)
        offline_warn("%s", out.notes.items[i]);
    answer = answer_of(&out);
    if (!offline_print(o, answer))
        print_human(&out, in.node);
    return EXIT_DONE;
}

/* Of what is not a Node the manifests' own checks say what is wrong. */
static int
read_node(const char *path, const struct node **ret, struct offline *o, struct tree **trees,
          struct err *err)
{
    struct warnings warn = {.arena = o->arena};
    int rc;

    if (!path)
        return 0;
    rc = manifests_load(&path, 1, trees, &warn, err);
    if (rc != 0)
        return rc;
    if (tree_len(*trees) != 1 || object_kind(tree_at(*trees, 0))->kind != KIND_NODE)
        return err_set(err, -EINVAL, "%s: want one Node (v1) and nothing else%s%s%s", path,
                       tree_len(*trees) == 1 ? ", have a " : "",
                       tree_len(*trees) == 1 ? object_kind(tree_at(*trees, 0))->name : "",
                       tree_len(*trees) == 0 ? ", have no object" : "");
    *ret = node_decode(tree_at(*trees, 0), o->arena);
    return 0;
}

static struct tree *
answer_of(const struct labeller_output *out)
{
    struct tree *answer = tree_map(), *labels = tree_map(), *removed = tree_list();

    for (size_t i = 0; i < out->labels.len; i++)
        tree_set(labels, out->labels.items[i].key, tree_string(out->labels.items[i].value));
    for (size_t i = 0; i < out->removed.len; i++)
        tree_append(removed, tree_string(out->removed.items[i]));
    tree_set(answer, "labels", labels);
    tree_set(answer, "removed", removed);
    if (out->skipped)
        tree_set(answer, "skipped", tree_bool(true));
    return answer;
}

static void
print_human(const struct labeller_output *out, const struct node *n)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb text = SB_INIT;

    if (out->skipped) {
        printf(
            "node %s has the annotation node-labeller.kubevirt.io/skip-node: its labels are left "
            "as they are\n",
            n->meta.name);
        return;
    }
    table_column(t, "LABEL", false);
    table_column(t, "VALUE", false);
    if (n)
        table_column(t, "CHANGE", false);
    for (size_t i = 0; i < out->labels.len; i++) {
        table_cell(t, out->labels.items[i].key);
        table_cell(t, out->labels.items[i].value);
        if (n)
            table_cell(t, change_of(n, &out->labels.items[i]));
    }
    for (size_t i = 0; i < out->removed.len; i++) {
        table_cell(t, out->removed.items[i]);
        table_cell(t, "");
        table_cell(t, "removed");
    }
    if (table_rows(t) > 0)
        table_flush(t, 0, &text);
    else
        sb_puts(&text, "no labels\n");
    fputs(sb_str(&text), stdout);
}

static const char *
change_of(const struct node *n, const struct kv *label)
{
    for (size_t i = 0; i < n->meta.labels.len; i++)
        if (strcmp(n->meta.labels.items[i].key, label->key) == 0)
            return strcmp(n->meta.labels.items[i].value, label->value) == 0 ? "" : "changed";
    return "new";
}
