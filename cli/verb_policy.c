/* `drover policy`: which MigrationPolicy applies to a VM, what follows from it, and where each
 * value comes from. All rules are netpolicy's; this file reads manifests and prints. */
#include <string.h>

#include "api/quantity.h"
#include "base/sb.h"
#include "cli/offline.h"
#include "cli/print_table.h"
#include "cli/verbs.h"
#include "netpolicy/policy.h"
#include "sched/evict.h"
#include "sched/place.h"

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

/* What the decision is about. */
struct subject {
    const struct vmi *vmi;
    const struct namespace_ *ns;
    const struct hco *hco;
    const struct kubevirt *kubevirt;
    const struct migration_policy **policies;
    size_t policies_len;
    int64_t memory_bytes, disk_bytes;
};

static int find_subject(struct offline *o, struct subject *s);
static int64_t migrating_disks(struct offline *o, const struct vmi *vmi);
static void print_human(const struct subject *s, const struct policy_decision *d);

int
verb_policy(int argc, char **argv)
{
    AUTO_OFFLINE struct offline *o = NULL;
    AUTO_TREE struct tree *answer = NULL;
    struct policy_decision d;
    struct subject s = {0};
    int64_t bytes;
    int rc;

    o = offline_begin(&program, argc, argv, &rc);
    if (!o)
        return rc;
    rc = find_subject(o, &s);
    if (rc != EXIT_DONE)
        return rc;
    if (__builtin_add_overflow(s.memory_bytes, s.disk_bytes, &bytes))
        bytes = INT64_MAX;
    policy_decide(s.policies, s.policies_len, s.hco, s.kubevirt, s.ns, s.vmi, bytes, &d, o->arena);
    answer = policy_decision_tree(&d, o->vm_ns, o->vm_name);
    if (!offline_print(o, answer))
        print_human(&s, &d);
    return EXIT_DONE;
}

static int
find_subject(struct offline *o, struct subject *s)
{
    s->policies = arena_calloc(o->arena, o->len, sizeof *s->policies);
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_POLICY)
            s->policies[s->policies_len++] = it->policy;
        else if (it->kind == KIND_NAMESPACE && strcmp(it->meta->name, o->vm_ns) == 0)
            s->ns = it->ns;
        else if (it->kind == KIND_HCO)
            s->hco = o->hco;
        else if (it->kind == KIND_KUBEVIRT)
            s->kubevirt = it->kubevirt;
    }
    s->vmi = offline_vmi(o, o->vm_ns, o->vm_name);
    if (!s->vmi)
        return offline_errorf("virtual machine %s/%s: not in the input", o->vm_ns, o->vm_name);
    s->memory_bytes = vmi_guest_memory_bytes(&s->vmi->spec);
    s->disk_bytes = migrating_disks(o, s->vmi);
    return EXIT_DONE;
}

/* Disks travel with the VM only where its migration method is BlockMigration. */
static int64_t
migrating_disks(struct offline *o, const struct vmi *vmi)
{
    const struct pvc *const *claims;
    size_t len = offline_claims(o, o->vm_ns, &claims);
    struct migratable m = vmi_migratable(vmi, claims, len, o->arena);
    const struct tree *vm = NULL;

    if (strcmp(m.method, "BlockMigration") != 0)
        return 0;
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if ((it->kind == KIND_VM || it->kind == KIND_VMI) &&
            strcmp(it->meta->name, o->vm_name) == 0 &&
            strcmp(it->meta->namespace_, o->vm_ns) == 0 && (!vm || it->kind == KIND_VMI))
            vm = it->tree;
    }
    return policy_disk_bytes(vm, o->trees);
}

static void
print_human(const struct subject *s, const struct policy_decision *d)
{
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
    for (int o = 0; o < MIGRATION_OPTION_COUNT; o++) {
        migration_options_text(&d->options, (enum migration_option)o, text, sizeof text);
        table_cell(fields, migration_option_annotation((enum migration_option)o));
        table_cell(fields, text);
        table_cell(fields, d->option_source[o]);
    }
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
