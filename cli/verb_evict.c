/* `drover evict`: what a drain of a node would do with each VM on it. The decisions are
 * sched/evict.h's. */
#include <string.h>

#include "cli/offline.h"
#include "cli/print_table.h"
#include "sched/evict.h"

static const struct options_def defs[] = {
    OFFLINE_OPT_FILES,
    {.name = "node",
     .type = OPTIONS_STRING,
     .required = true,
     .arg = "NODE",
     .help = "the node that would be drained"},
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover evict",
    .usage = "-f FILE|DIR|- ... --node NODE [-o table|json|yaml]",
    .about = "Says what a drain would do with each VM on a node: migrate, migrating (one is under "
             "way),\nshutdown, block, external. VMs that have ended or are being deleted are left "
             "out. Nothing\nis changed. Exit 2: one of them blocks the drain.",
    .defs = defs,
};

static struct evict_decision decide(struct offline *o, const struct vmi *v);
static size_t count_nodes(const struct offline *o);
static bool is_known(const struct offline *o, const char *node);
static void print_human(const char *node, const struct tree *answer);

int
verb_evict(int argc, char **argv)
{
    int rc;
    AUTO_OFFLINE struct offline *o = offline_begin(&program, argc, argv, &rc);
    AUTO_TREE struct tree *answer = tree_list();
    const char *node;

    if (!o)
        return rc;
    rc = EXIT_DONE;
    node = options_string(o->options, "node");
    if (!is_known(o, node))
        return offline_errorf("--node %s: no such Node in the input, and no VM runs there", node);
    for (size_t i = 0; i < o->len; i++) {
        const struct vmi *v = o->items[i].vmi;
        struct evict_decision d;
        struct tree *t;

        if (o->items[i].kind != KIND_VMI || !evict_applies(v) || !v->status.node_name ||
            strcmp(v->status.node_name, node) != 0)
            continue;
        d = decide(o, v);
        t = tree_map();
        tree_set(t, "vm", tree_stringf("%s/%s", v->meta.namespace_, v->meta.name));
        tree_set(t, "action", tree_string(evict_action_name(d.action)));
        tree_set(t, "strategy", tree_string(d.strategy));
        tree_set(t, "reason", tree_string(d.reason));
        tree_append(answer, t);
        if (d.action == EVICT_BLOCK)
            rc = EXIT_NO;
    }
    if (!offline_print(o, answer))
        print_human(node, answer);
    return rc;
}

static struct evict_decision
decide(struct offline *o, const struct vmi *v)
{
    const struct migration_state *ms = &v->status.migration;
    bool migrating = (ms->present && !ms->completed && !ms->failed) ||
                     offline_migration(o, v->meta.namespace_, v->meta.name) != NULL;
    struct migratable_facts facts = {.hco = o->hco};
    struct migratable m;

    facts.node = offline_node(o, v->status.node_name);
    facts.node_missing = !facts.node;
    facts.pvcs_len = offline_claims(o, v->meta.namespace_, &facts.pvcs);
    m = vmi_migratable_with(v, &facts, o->arena);
    return evict_decide(v, &m, o->hco ? o->hco->eviction_strategy : NULL, count_nodes(o), migrating,
                        o->arena);
}

static size_t
count_nodes(const struct offline *o)
{
    size_t count = 0;

    for (size_t i = 0; i < o->len; i++)
        count += o->items[i].kind == KIND_NODE;
    return count;
}

static bool
is_known(const struct offline *o, const char *node)
{
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_NODE && strcmp(it->meta->name, node) == 0)
            return true;
        if (it->kind == KIND_VMI && it->vmi->status.node_name &&
            strcmp(it->vmi->status.node_name, node) == 0)
            return true;
    }
    return false;
}

static void
print_human(const char *node, const struct tree *answer)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb text = SB_INIT;

    if (tree_len(answer) == 0)
        sb_printf(&text, "no VM runs on %s\n", node);
    table_set_tight(t);
    table_column(t, "VM", false);
    table_column(t, "ACTION", false);
    table_column(t, "STRATEGY", false);
    for (size_t i = 0; i < tree_len(answer); i++) {
        const struct tree *d = tree_at(answer, i);

        table_cell(t, tree_get_string(tree_get(d, "vm"), ""));
        table_cell(t, tree_get_string(tree_get(d, "action"), ""));
        table_cell(t, tree_get_string(tree_get(d, "strategy"), ""));
    }
    if (tree_len(answer) > 0)
        table_flush(t, 0, &text);
    for (size_t i = 0; i < tree_len(answer); i++) {
        const struct tree *d = tree_at(answer, i);
        AUTO_SB struct sb line = SB_INIT;

        sb_printf(&line, "%s: %s", tree_get_string(tree_get(d, "vm"), ""),
                  tree_get_string(tree_get(d, "reason"), ""));
        sb_puts(&text, i == 0 ? "\n" : "");
        offline_wrap(&text, 0, sb_str(&line));
    }
    fputs(sb_str(&text), stdout);
}
