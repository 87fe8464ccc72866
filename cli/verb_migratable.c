/* `drover migratable`: can this VM be moved while it runs? The answer is sched/evict.h's. */
#include "cli/offline.h"
#include "sched/evict.h"

static const struct options_def defs[] = {
    OFFLINE_OPT_FILES,
    OFFLINE_OPT_VM(true, "the VM"),
    OFFLINE_OPT_NAMESPACE,
    OFFLINE_OPT_OUTPUT,
    {0},
};

static const struct options_program program = {
    .name = "drover migratable",
    .usage = "-f FILE|DIR|- ... --vm [NS/]NAME [-o table|json|yaml]",
    .about =
        "Says whether a VM can be live-migrated, and what is in the way. What it needs to know "
        "of\ndisks comes from the PersistentVolumeClaims in the input, and of CPUs from the "
        "Node that\nthe VM runs on. Exit 2: it cannot.",
    .defs = defs,
};

int
verb_migratable(int argc, char **argv)
{
    int rc;
    AUTO_OFFLINE struct offline *o = offline_begin(&program, argc, argv, &rc);
    AUTO_TREE struct tree *answer = tree_map();
    struct migratable_facts facts = {0};
    const struct vmi *v;
    struct migratable m;

    if (!o)
        return rc;
    v = offline_vmi(o, o->vm_ns, o->vm_name);
    if (!v)
        return offline_errorf(
            "--vm %s/%s: no VirtualMachine or VirtualMachineInstance of that name "
            "in the input",
            o->vm_ns, o->vm_name);
    facts.hco = o->hco;
    facts.node = offline_node(o, v->status.node_name ? v->status.node_name : "");
    facts.node_missing = !facts.node;
    facts.pvcs_len = offline_claims(o, o->vm_ns, &facts.pvcs);
    m = vmi_migratable_with(v, &facts, o->arena);
    tree_set(answer, "vm", tree_stringf("%s/%s", o->vm_ns, o->vm_name));
    tree_set(answer, "status", tree_string(m.ok ? "True" : "False"));
    tree_set(answer, "reason", tree_string(m.reason));
    tree_set(answer, "message", tree_string(m.message));
    tree_set(answer, "method", tree_string(m.method));
    if (!offline_print(o, answer)) {
        AUTO_SB struct sb text = SB_INIT;

        if (m.ok)
            sb_printf(&text, "%s/%s can be live-migrated (%s)\n", o->vm_ns, o->vm_name, m.method);
        else
            sb_printf(&text, "%s/%s cannot be live-migrated: %s\n", o->vm_ns, o->vm_name, m.reason);
        offline_wrap(&text, 2, m.message);
        fputs(sb_str(&text), stdout);
    }
    return m.ok ? EXIT_DONE : EXIT_NO;
}
