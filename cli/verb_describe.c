/* drover describe: one object in words, with what belongs to it: a VM with its running instance and
 * its migrations, a node with its VMs, a policy with those that it applies to, a maintenance with
 * what is left; and everything with its events. */
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "api/names.h"
#include "base/clock.h"
#include "cli/client_drain.h"
#include "cli/client_migration.h"
#include "cli/client_verb.h"
#include "cli/print_describe.h"
#include "cli/print_table.h"
#include "cli/term.h"
#include "netpolicy/policy.h"
#include "sched/place.h"

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_ALL_NAMESPACES,
    VERB_OPTION_SELECTOR,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover describe",
    .usage = "TYPE [NAME...] | TYPE/NAME... [OPTIONS]",
    .about = "Tells about objects: what they are, and why.",
    .defs = defs,
    .max_args = 10000,
};

static int
list(struct verb *v, enum kind kind, const char *ns, struct tree **ret)
{
    return client_list(v->client, kind_info(kind), ns, NULL, ret, &v->err);
}

static void
put_table(struct describe *d, struct table *t)
{
    if (table_rows(t))
        table_flush(t, 2, &d->out);
    else
        sb_puts(&d->out, "  <none>\n");
}

/* Migrations of one VM, as the server lists them. */
static int
add_migrations(struct verb *v, struct describe *d, const char *ns, const char *vm)
{
    static const char *const headings[] = {"NAME", "PHASE", "SOURCE", "TARGET", "POLICY", "WHY"};
    AUTO_TREE struct tree *all = NULL;
    AUTO_TABLE struct table *t = table_new();
    struct migration last = {0};
    const struct tree *items;
    int rc;

    rc = list(v, KIND_VMIM, ns, &all);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(t, headings[i], false);
    items = tree_get(all, "items");
    for (size_t i = 0; i < tree_len(items); i++) {
        struct migration m;

        migration_read(tree_at(items, i), d->arena, &m);
        if (strcmp(m.vm, vm) != 0)
            continue;
        table_cell(t, m.name);
        table_cell(t, m.phase[0] ? m.phase : "Pending");
        table_cell(t, m.source);
        table_cell(t, m.target);
        table_cell(t, m.policy);
        table_cell(t, m.failure[0] ? m.failure : m.waiting);
        if (m.decisions_len > 0 && m.created_us >= last.created_us)
            last = m;
    }
    if (table_rows(t)) {
        describe_section(d, "Migrations");
        put_table(d, t);
    }
    if (last.decisions_len > 0)
        describe_line(d, "Last decision", "%s: %s", last.decisions[last.decisions_len - 1].at,
                      last.decisions[last.decisions_len - 1].text);
    return 0;
}

/* The running instance of a VirtualMachine: where it is and why. */
static int
add_instance(struct verb *v, struct describe *d, const struct tree *vm)
{
    AUTO_TREE struct tree *vmi = NULL;
    const struct tree *template = tree_find(vm, "spec", "template", NULL);
    const struct vmi *typed;
    int rc;

    rc = client_get(v->client, kind_info(KIND_VMI), object_namespace(vm), object_name(vm), &vmi,
                    &v->err);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    describe_guest(d, vm, tree_get(vmi ? vmi : template, "spec"),
                   tree_find(vmi ? vmi : template, "metadata", "annotations", NULL), vmi);
    if (!vmi)
        return 0;
    typed = vmi_decode(vmi, d->arena);
    describe_line(d, "Node", "%s", typed->status.node_name ? typed->status.node_name : "<none>");
    if (!typed->status.node_name && object_annotation(vmi, ANN_NOMINATED))
        describe_line(d, "Promised", "room on %s, when those of lower priority have left it",
                      object_annotation(vmi, ANN_NOMINATED));
    describe_placement(d, "Placement when it started", vmi);
    return 0;
}

static int
add_node_vms(struct verb *v, struct describe *d, const char *node)
{
    static const char *const headings[] = {"NAMESPACE", "VM", "PHASE", "MEMORY", "ON DRAIN"};
    CLEANUP(drain_plan_done) struct drain_plan plan = {0};
    AUTO_TREE struct tree *vmis = NULL;
    AUTO_TABLE struct table *t = table_new();
    int rc;

    rc = drain_plan_make(v->client, node, &plan, &v->err);
    if (rc == 0)
        rc = list(v, KIND_VMI, NULL, &vmis);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(t, headings[i], false);
    for (size_t i = 0; i < tree_len(tree_get(vmis, "items")); i++) {
        const struct tree *obj = tree_at(tree_get(vmis, "items"), i);
        const struct vmi *vmi = vmi_decode(obj, d->arena);
        AUTO_SB struct sb memory = SB_INIT;

        for (size_t j = 0; j < plan.len; j++) {
            const struct drain_vm *vm = &plan.vms[j];

            if (strcmp(vm->name, vmi->meta.name) != 0 ||
                strcmp(vm->namespace_, vmi->meta.namespace_) != 0)
                continue;
            human_bytes(&memory, vmi_memory_request_bytes(&vmi->spec));
            table_cell(t, vm->namespace_);
            table_cell(t, vm->name);
            table_cell(t, vmi->status.phase);
            table_cell(t, sb_str(&memory));
            table_cellf(t, "%s (%s)", evict_action_name(vm->decision.action), vm->decision.reason);
        }
    }
    describe_section(d, "VMs");
    put_table(d, t);
    return 0;
}

/* Enactments of a node or a policy. */
static int
add_enactments(struct verb *v, struct describe *d, const char *of, const char *name, const char *by)
{
    AUTO_FREE char *selector = xasprintf("%s=%s", of, name);
    AUTO_TREE struct tree *got = NULL;
    int rc = client_list(v->client, kind_info(KIND_NNCE), NULL, selector, &got, &v->err);

    if (rc == 0)
        describe_enactments(d, got, by);
    return rc;
}

/* What the handler has found on the node, and what it was asked to make of it. */
static int
add_node_network(struct verb *v, struct describe *d, const char *node)
{
    AUTO_TREE struct tree *nns = NULL;
    int rc = client_get(v->client, kind_info(KIND_NNS), NULL, node, &nns, &v->err);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    describe_interfaces(d, nns);
    return add_enactments(v, d, LABEL_NMSTATE_NODE, node, LABEL_NMSTATE_POLICY);
}

static int
add_left(struct verb *v, struct describe *d, const struct tree *maintenance)
{
    CLEANUP(drain_plan_done) struct drain_plan plan = {0};
    AUTO_TABLE struct table *t = table_new();
    int rc;

    rc = drain_plan_make(v->client, tree_find_string(maintenance, "", "spec", "nodeName", NULL),
                         &plan, &v->err);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return rc;
    table_column(t, "VM", false);
    table_column(t, "ACTION", false);
    table_column(t, "REASON", false);
    for (size_t i = 0; i < plan.len; i++) {
        table_cellf(t, "%s/%s", plan.vms[i].namespace_, plan.vms[i].name);
        table_cell(t, evict_action_name(plan.vms[i].decision.action));
        table_cell(t, plan.vms[i].decision.reason);
    }
    describe_section(d, "VMs left");
    put_table(d, t);
    return 0;
}

/* --- which VMs a policy applies to --- */

struct policies {
    const struct migration_policy **items;
    size_t len;
    const struct hco *hco;
    const struct kubevirt *kubevirt;
    struct tree *lists[4];
};

static int
fetch_policies(struct verb *v, struct policies *p, struct arena *a)
{
    static const enum kind kinds[] = {KIND_POLICY, KIND_HCO, KIND_KUBEVIRT, KIND_NAMESPACE};
    const struct tree *items;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        rc = list(v, kinds[i], NULL, &p->lists[i]);
        if (rc < 0)
            return rc;
    }
    items = tree_get(p->lists[0], "items");
    p->len = tree_len(items);
    p->items = arena_calloc(a, p->len + 1, sizeof(*p->items));
    for (size_t i = 0; i < p->len; i++)
        p->items[i] = policy_decode(tree_at(items, i), a);
    items = tree_get(p->lists[1], "items");
    p->hco = tree_len(items) ? hco_decode(tree_at(items, 0), a) : NULL;
    items = tree_get(p->lists[2], "items");
    p->kubevirt = tree_len(items) ? kubevirt_decode(tree_at(items, 0), a) : NULL;
    return 0;
}

static void
policies_done(struct policies *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->lists); i++)
        tree_free(p->lists[i]);
}

static const struct namespace_ *
find_namespace(const struct policies *p, const char *name, struct arena *a)
{
    const struct tree *items = tree_get(p->lists[3], "items");

    for (size_t i = 0; i < tree_len(items); i++) {
        if (strcmp(object_name(tree_at(items, i)), name) == 0)
            return namespace_decode(tree_at(items, i), a);
    }
    return NULL;
}

static int
add_policy_vms(struct verb *v, struct describe *d, const struct policies *p, const char *policy)
{
    AUTO_TREE struct tree *vmis = NULL;
    AUTO_TABLE struct table *t = table_new();
    int rc;

    rc = list(v, KIND_VMI, NULL, &vmis);
    if (rc < 0)
        return rc;
    table_column(t, "VM", false);
    table_column(t, "APPLIES", false);
    table_column(t, "WHY", false);
    for (size_t i = 0; i < tree_len(tree_get(vmis, "items")); i++) {
        const struct vmi *vmi = vmi_decode(tree_at(tree_get(vmis, "items"), i), d->arena);
        struct policy_decision decision;

        policy_decide(p->items, p->len, p->hco, p->kubevirt,
                      find_namespace(p, vmi->meta.namespace_, d->arena), vmi,
                      vmi_guest_memory_bytes(&vmi->spec), &decision, d->arena);
        for (size_t j = 0; j < decision.candidates_len; j++) {
            const struct policy_candidate *c = &decision.candidates[j];

            if (strcmp(c->name, policy) != 0)
                continue;
            table_cellf(t, "%s/%s", vmi->meta.namespace_, vmi->meta.name);
            table_cell(t, decision.policy && strcmp(decision.policy, policy) == 0 ? "yes" : "no");
            table_cell(t, c->reason);
        }
    }
    describe_section(d, "VMs");
    put_table(d, t);
    return 0;
}

/* What a migration of this VM would follow, and from where each value comes. */
static void
add_vm_policy(struct describe *d, const struct policies *p, const struct vmi *vmi)
{
    struct policy_decision decision;
    AUTO_TABLE struct table *t = table_new();

    policy_decide(p->items, p->len, p->hco, p->kubevirt,
                  find_namespace(p, vmi->meta.namespace_, d->arena), vmi,
                  vmi_guest_memory_bytes(&vmi->spec), &decision, d->arena);
    describe_line(d, "Migration policy", "%s", decision.policy ? decision.policy : "<none>");
    for (size_t i = 0; i < decision.candidates_len; i++)
        sb_printf(&d->out, "  %s: %s\n", decision.candidates[i].name,
                  decision.candidates[i].reason);
    table_column(t, "SETTING", false);
    table_column(t, "VALUE", false);
    table_column(t, "FROM", false);
    for (int f = 0; f < POLICY_FIELDS; f++) {
        char text[300];

        policy_field_text(&decision, (enum policy_field)f, text, sizeof(text));
        table_cell(t, policy_field_name((enum policy_field)f));
        table_cell(t, text);
        table_cell(t, decision.source[f]);
    }
    put_table(d, t);
}

/* Those of a VirtualMachine with those of its instance, which has the same name: most of what happens
 * to a VM is told of the instance. */
static int
add_events(struct verb *v, struct describe *d, const struct kind_info *ki, const struct tree *obj)
{
    AUTO_TREE struct tree *events = NULL;
    AUTO_FREE char *fields = ki->kind == KIND_VM
                                 ? xasprintf("involvedObject.name=%s", object_name(obj))
                                 : xasprintf("involvedObject.kind=%s,involvedObject.name=%s",
                                             ki->name, object_name(obj));
    AUTO_SB struct sb path = SB_INIT;
    int rc;

    client_path(kind_info(KIND_EVENT), ki->namespaced ? object_namespace(obj) : NULL, NULL, NULL,
                &path);
    client_query(NULL, fields, &path);
    rc = client_get_path(v->client, sb_str(&path), false, &events, &v->err);
    if (rc == 0)
        describe_events(d, events);
    return rc;
}

static int
describe_kind(struct verb *v, struct describe *d, const struct policies *p,
              const struct kind_info *ki, const struct tree *obj)
{
    AUTO_TREE struct tree *made = NULL;
    int rc = 0;

    switch (ki->kind) {
    case KIND_VM:
        describe_vm(d, obj);
        rc = add_instance(v, d, obj);
        if (rc < 0)
            return rc;
        made = vmi_from_vm(obj);
        if (made)
            add_vm_policy(d, p, vmi_decode(made, d->arena));
        return add_migrations(v, d, object_namespace(obj), object_name(obj));
    case KIND_VMI:
        describe_vmi(d, obj);
        add_vm_policy(d, p, vmi_decode(obj, d->arena));
        return add_migrations(v, d, object_namespace(obj), object_name(obj));
    case KIND_VMIM:
        describe_vmim(d, obj);
        return 0;
    case KIND_NODE:
        describe_node(d, obj);
        rc = add_node_network(v, d, object_name(obj));
        return rc < 0 ? rc : add_node_vms(v, d, object_name(obj));
    case KIND_NNCP:
        describe_nncp(d, obj);
        return add_enactments(v, d, LABEL_NMSTATE_POLICY, object_name(obj), LABEL_NMSTATE_NODE);
    case KIND_NNCE:
        describe_nnce(d, obj);
        return 0;
    case KIND_NNS:
        describe_nns(d, obj);
        return 0;
    case KIND_PRIORITY:
        describe_priority(d, obj);
        return 0;
    case KIND_POLICY:
        describe_policy(d, obj);
        return add_policy_vms(v, d, p, object_name(obj));
    case KIND_MAINTENANCE:
        describe_maintenance(d, obj);
        return add_left(v, d, obj);
    default:
        describe_yaml(d, "Spec", tree_get(obj, "spec"));
        describe_yaml(d, "Status", tree_get(obj, "status"));
        return 0;
    }
}

static int
describe_one(struct verb *v, const struct kind_info *ki, const struct tree *obj, struct sb *out)
{
    CLEANUP(describe_done) struct describe d = {0};
    CLEANUP(policies_done) struct policies p = {0};
    int rc = 0;

    describe_init(&d, clock_wall_us());
    if (ki->kind == KIND_VM || ki->kind == KIND_VMI || ki->kind == KIND_POLICY)
        rc = fetch_policies(v, &p, d.arena);
    if (rc < 0)
        return rc;
    d.hco = p.hco;
    describe_head(&d, obj);
    rc = describe_kind(v, &d, &p, ki, obj);
    if (rc == 0)
        rc = add_events(v, &d, ki, obj);
    if (rc == 0)
        sb_printf(out, "%s%s", out->len ? "\n\n" : "", sb_str(&d.out));
    return rc;
}

/* Long lines are folded for people; a pipe gets them whole. */
static void
print_text(const char *text)
{
    AUTO_SB struct sb folded = SB_INIT;
    struct term t;

    term_init(&t, stdout);
    if (t.tty)
        term_fold(&folded, text, t.columns);
    fputs(t.tty ? sb_str(&folded) : text, stdout);
}

int
verb_describe(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    CLEANUP(verb_targets_done) struct verb_targets targets = {0};
    AUTO_SB struct sb out = SB_INIT;
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (verb_targets_parse(v.args, v.args_len, false, &targets, &v.err) < 0)
        return verb_error(&v);
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < targets.len; i++) {
        const struct verb_target *t = &targets.items[i];
        AUTO_TREE struct tree *got = NULL;
        const struct tree *items;
        int rc;

        if (t->name && t->ki->namespaced && !v.namespace_)
            return verb_errorf(&v, "%s \"%s\": a name does not go with -A", t->ki->singular,
                               t->name);
        if (t->name)
            rc = client_get(v.client, t->ki, v.namespace_, t->name, &got, &v.err);
        else
            rc = client_list(v.client, t->ki, v.namespace_, options_string(v.options, "selector"),
                             &got, &v.err);
        if (rc == 0 && t->name)
            rc = describe_one(&v, t->ki, got, &out);
        items = t->name ? NULL : tree_get(got, "items");
        for (size_t j = 0; rc == 0 && j < tree_len(items); j++)
            rc = describe_one(&v, t->ki, tree_at(items, j), &out);
        if (rc < 0)
            exit_code = verb_error(&v);
    }
    print_text(sb_str(&out));
    if (!out.len && exit_code == EXIT_DONE)
        fprintf(stderr, "No resources found\n");
    return exit_code;
}
