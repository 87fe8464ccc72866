/* drover top: what the nodes have and what is asked of them, and the migrations that run now.
 * Requests are counted as the scheduler counts them (sched/place.h). */
#include "cli/verbs.h"

#include <string.h>

#include "api/quantity.h"
#include "cli/client_migration.h"
#include "cli/client_verb.h"
#include "cli/print_describe.h"
#include "cli/print_table.h"
#include "sched/place.h"

static const char *const what[] = {"nodes", "migrations", NULL};

static const struct options_def defs[] = {
    {.name = "no-headers", .type = OPTIONS_BOOL, .help = "leave the tables' headings out"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover top",
    .usage = "[nodes|migrations] [OPTIONS]",
    .about = "Shows what is asked of each node and what it has, and the migrations that run.",
    .defs = defs,
    .max_args = 1,
};

struct load {
    size_t vms;
    int64_t cpu_milli, memory_bytes;
};

static int64_t
allocatable(const struct node *n, const char *name, bool milli)
{
    for (size_t i = 0; i < n->allocatable.len; i++) {
        const struct resource *r = &n->allocatable.items[i];

        if (strcmp(r->name, name) == 0)
            return milli ? r->q.milli : r->q.units;
    }
    return 0;
}

static bool
is_ready(const struct node *n)
{
    for (size_t i = 0; i < n->conditions.len; i++) {
        const struct condition *c = &n->conditions.items[i];

        if (strcmp(c->type, "Ready") == 0)
            return c->status && strcmp(c->status, "True") == 0;
    }
    return false;
}

/* What occupies the node: its VMIs, and those that are on their way to it. */
static struct load
load_of(const struct node *n, const struct tree *vmis, int64_t ratio, struct arena *a)
{
    struct load load = {0};

    for (size_t i = 0; i < tree_len(vmis); i++) {
        const struct vmi *v = vmi_decode(tree_at(vmis, i), a);
        const char *phase = v->status.phase ? v->status.phase : "";
        const struct migration_state *ms = &v->status.migration;
        bool coming = ms->present && !ms->completed && !ms->failed && ms->target_node &&
                      strcmp(ms->target_node, n->meta.name) == 0;

        if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
            continue;
        if (!coming && (!v->status.node_name || strcmp(v->status.node_name, n->meta.name) != 0))
            continue;
        load.vms++;
        load.cpu_milli += vmi_cpu_request_milli(&v->spec, ratio);
        load.memory_bytes += vmi_memory_request_bytes(&v->spec);
    }
    return load;
}

static void
put_share(struct table *t, const char *text, int64_t used, int64_t of)
{
    if (of > 0)
        table_cellf(t, "%s (%d%%)", text, (int)((double)used * 100 / (double)of));
    else
        table_cell(t, text);
}

static void
add_node(struct table *t, const struct node *n, const struct tree *obj, const struct load *load)
{
    int64_t cpu = allocatable(n, "cpu", true), memory = allocatable(n, "memory", false);
    AUTO_SB struct sb network = SB_INIT;
    char text[32];

    table_cell(t, n->meta.name);
    table_cellf(t, "%s%s", is_ready(n) ? "Ready" : "NotReady",
                n->unschedulable ? ",SchedulingDisabled" : "");
    describe_network_cell(obj, &network);
    table_cell(t, sb_str(&network));
    table_cellf(t, "%zu", load->vms);
    quantity_format_cpu(load->cpu_milli, text, sizeof(text));
    put_share(t, text, load->cpu_milli, cpu);
    quantity_format_cpu(cpu, text, sizeof(text));
    table_cell(t, text);
    quantity_format_human((uint64_t)load->memory_bytes, text, sizeof(text));
    put_share(t, text, load->memory_bytes, memory);
    quantity_format_human((uint64_t)memory, text, sizeof(text));
    table_cell(t, text);
}

static void
columns(struct verb *v, struct table *t, const char *const *headings, size_t len, size_t left)
{
    for (size_t i = 0; i < len; i++)
        table_column(t, headings[i], i >= left);
    if (options_bool(v->options, "no-headers"))
        table_no_headings(t);
}

static int
top_nodes(struct verb *v, struct sb *out)
{
    static const char *const headings[] = {"NODE",          "STATUS", "MIGRATES OVER", "VMS",
                                           "CPU REQUESTED", "CPU",    "MEM REQUESTED", "MEMORY"};
    AUTO_TREE struct tree *nodes = NULL, *vmis = NULL, *hcos = NULL;
    AUTO_TABLE struct table *t = table_new();
    struct arena *a;
    int64_t ratio = 0;
    int rc;

    rc = client_list(v->client, kind_info(KIND_NODE), NULL, NULL, &nodes, &v->err);
    if (rc == 0)
        rc = client_list(v->client, kind_info(KIND_VMI), NULL, NULL, &vmis, &v->err);
    if (rc == 0)
        rc = client_list(v->client, kind_info(KIND_HCO), NULL, NULL, &hcos, &v->err);
    if (rc < 0)
        return rc;
    a = arena_new();
    if (tree_len(tree_get(hcos, "items"))) {
        const struct hco *hco = hco_decode(tree_at(tree_get(hcos, "items"), 0), a);

        ratio = hco->has_cpu_ratio ? hco->cpu_allocation_ratio : 0;
    }
    columns(v, t, headings, ARRAY_LEN(headings), 3);
    for (size_t i = 0; i < tree_len(tree_get(nodes, "items")); i++) {
        const struct tree *obj = tree_at(tree_get(nodes, "items"), i);
        const struct node *n = node_decode(obj, a);
        struct load load = load_of(n, tree_get(vmis, "items"), ratio, a);

        add_node(t, n, obj, &load);
    }
    table_flush(t, 0, out);
    arena_free(a);
    return 0;
}

static int
top_migrations(struct verb *v, struct sb *out)
{
    static const char *const headings[] = {"NAMESPACE", "VM",       "PHASE", "SOURCE", "TARGET",
                                           "TRANSPORT", "ROUND",    "DONE",  "LEFT",   "RATE",
                                           "DIRTY",     "DOWNTIME", "ETA"};
    AUTO_TREE struct tree *list = NULL;
    AUTO_TABLE struct table *t = table_new();
    const struct tree *items;
    struct arena *a;
    int rc;

    rc = client_list(v->client, kind_info(KIND_VMIM), NULL, NULL, &list, &v->err);
    if (rc < 0)
        return rc;
    a = arena_new();
    items = tree_get(list, "items");
    columns(v, t, headings, ARRAY_LEN(headings), 6);
    for (size_t i = 0; i < tree_len(items); i++) {
        AUTO_SB struct sb left = SB_INIT, rate = SB_INIT, dirty = SB_INIT;
        AUTO_SB struct sb downtime = SB_INIT, eta = SB_INIT;
        struct migration m;

        migration_read(tree_at(items, i), a, &m);
        if (m.final)
            continue;
        human_bytes(&left, m.remaining_bytes);
        human_rate(&rate, m.rate_bytes_per_s);
        human_rate(&dirty, m.dirty_bytes_per_s);
        table_cell(t, m.namespace_);
        table_cell(t, m.vm);
        table_cell(t, m.phase[0] ? m.phase : "Pending");
        table_cell(t, m.source);
        table_cell(t, m.target);
        table_cell(t, m.transport);
        table_cellf(t, "%lld", (long long)m.round);
        table_cellf(t, "%d%%", migration_permille(&m) / 10);
        table_cell(t, sb_str(&left));
        table_cell(t, sb_str(&rate));
        table_cell(t, sb_str(&dirty));
        human_ms(&downtime, m.predicted_downtime_ms > 0 ? m.predicted_downtime_ms : -1);
        human_ms(&eta, migration_eta_ms(&m));
        table_cell(t, sb_str(&downtime));
        table_cell(t, sb_str(&eta));
    }
    if (table_rows(t))
        table_flush(t, 0, out);
    else
        sb_puts(out, "No migration runs.\n");
    arena_free(a);
    return 0;
}

int
verb_top(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_SB struct sb out = SB_INIT;
    const char *only = NULL;
    int exit_code, rc = 0;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (v.args_len) {
        for (size_t i = 0; what[i] && !only; i++) {
            if (strncmp(v.args[0], what[i], strlen(what[i]) - 1) == 0)
                only = what[i];
        }
        if (!only)
            return verb_errorf(&v, "\"%s\": want nodes or migrations", v.args[0]);
    }
    if (!only || only == what[0])
        rc = top_nodes(&v, &out);
    if (rc == 0 && !only)
        sb_putc(&out, '\n');
    if (rc == 0 && (!only || only == what[1]))
        rc = top_migrations(&v, &out);
    if (rc < 0)
        return verb_error(&v);
    fputs(sb_str(&out), stdout);
    return EXIT_DONE;
}
