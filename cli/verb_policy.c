/* `drover policy`: which MigrationPolicy applies to a VM, what follows from it, and where each
 * value comes from. All rules are netpolicy's; this file reads manifests and prints. */
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "base/sb.h"
#include "cli/offline_policy.h"
#include "cli/print_table.h"
#include "cli/verbs.h"

static const struct options_def defs[] = {
    OFFLINE_OPT_FILES,
    OFFLINE_OPT_VM(true, "the VM that is asked about"),
    OFFLINE_OPT_NAMESPACE,
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover policy",
    .usage = "-f FILE|DIR [-f ...] --vm [NS/]NAME [-o json|yaml]",
    .about = "Says which MigrationPolicy applies to a VM, and what follows: bandwidth, timeouts,\n"
             "downtime, limits and network, each with where it comes from. Reads HyperConverged\n"
             "(or KubeVirt), MigrationPolicy, Namespace and the VM from the manifests. Exit 0\n"
             "also when no policy matches.",
    .defs = defs,
};

static void print_human(const struct offline *o, const struct offline_policy *s);
static void add_trust(struct table *fields, const struct offline *o, const char *network);

int
verb_policy(int argc, char **argv)
{
    AUTO_OFFLINE struct offline *o = NULL;
    AUTO_TREE struct tree *answer = NULL;
    struct offline_policy s;
    int rc;

    o = offline_begin(&program, argc, argv, &rc);
    if (!o)
        return rc;
    rc = offline_policy(o, 0, &s);
    if (rc != EXIT_DONE)
        return rc;
    answer = policy_decision_tree(&s.decision, o->vm_ns, o->vm_name);
    if (!offline_print(o, answer))
        print_human(o, &s);
    return EXIT_DONE;
}

static void
print_human(const struct offline *o, const struct offline_policy *s)
{
    const struct policy_decision *d = &s->decision;
    AUTO_TABLE struct table *fields = table_new();
    AUTO_TABLE struct table *candidates = table_new();
    AUTO_SB struct sb out = SB_INIT;
    char text[300];

    quantity_format_bytes(s->memory_bytes, text, sizeof text);
    sb_printf(&out, "VM        %s/%s, %s of memory", s->vmi->meta.namespace_, s->vmi->meta.name,
              text);
    if (s->disk_bytes > 0) {
        quantity_format_bytes(s->disk_bytes, text, sizeof text);
        sb_printf(&out, " and %s of disks that migrate with it", text);
    }
    sb_printf(&out, "\nPolicy    %s\n",
              d->policy           ? d->policy
              : d->candidates_len ? "none matches"
                                  : "none in the input");
    if (s->hco && s->kubevirt)
        sb_puts(&out, "Cluster   HyperConverged; it owns these settings, those of KubeVirt do not "
                      "count\n");
    sb_putc(&out, '\n');

    table_column(fields, "SETTING", false);
    table_column(fields, "VALUE", false);
    table_column(fields, "FROM", false);
    for (int f = 0; f < POLICY_FIELDS; f++) {
        policy_field_text(d, f, text, sizeof text);
        table_cell(fields, policy_field_name(f));
        table_cell(fields, text);
        table_cell(fields, d->source[f]);
    }
    for (int i = 0; i < MIGRATION_OPTION_COUNT; i++) {
        migration_options_text(&d->options, (enum migration_option)i, text, sizeof text);
        table_cell(fields, migration_option_annotation((enum migration_option)i));
        table_cell(fields, text);
        table_cell(fields, d->option_source[i]);
    }
    if (d->options.transport != MIGRATION_TRANSPORT_TCP)
        add_trust(fields, o, d->effective.network);
    table_flush(fields, 0, &out);

    if (d->candidates_len > 0) {
        sb_putc(&out, '\n');
        table_column(candidates, "POLICY", false);
        table_column(candidates, "MATCHES", false);
        table_column(candidates, "LABELS", true);
        table_column(candidates, "WHY", false);
        for (size_t i = 0; i < d->candidates_len; i++) {
            const struct policy_candidate *c = &d->candidates[i];

            table_cell(candidates, c->name);
            table_cell(candidates, c->matches ? "yes" : "no");
            table_cellf(candidates, "%zu", c->matching_labels);
            table_cell(candidates, c->reason);
        }
        table_flush(candidates, 0, &out);
    }
    fputs(sb_str(&out), stdout);
}

/* What RDMA depends on besides the policy: said where the definition is in the input. */
static void
add_trust(struct table *fields, const struct offline *o, const char *network)
{
    for (size_t i = 0; network && i < o->len; i++) {
        const struct offline_item *it = &o->items[i];
        AUTO_FREE char *name = NULL;
        const char *trusted;

        if (it->kind != KIND_NAD)
            continue;
        name = xasprintf("%s/%s", it->meta->namespace_, it->meta->name);
        if (strcmp(name, network) != 0)
            continue;
        trusted = kv_get(&it->meta->annotations, ANN_TRUSTED_NETWORK);
        table_cell(fields, ANN_TRUSTED_NETWORK);
        table_cell(fields, trusted ? trusted : "false");
        table_cell(fields, trusted ? "the network" : "default");
    }
}
