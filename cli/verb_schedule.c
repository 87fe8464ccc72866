/* `drover schedule`: places the VMs and Pods of manifests, in their order, each seeing those before it.
 * The decisions are sched/'s; this file only knows which objects ask for one. */
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/strmap.h"
#include "cli/offline.h"
#include "cli/schedule_preempt.h"
#include "cli/schedule_print.h"
#include "cli/schedule_why.h"
#include "sched/evict.h"
#include "sched/place.h"
#include "sched/profile.h"

static const struct options_def defs[] = {
    OFFLINE_OPT_FILES,
    OFFLINE_OPT_VM(false, "place only this VM or Pod"),
    OFFLINE_OPT_NAMESPACE,
    OFFLINE_OPT_OUTPUT,
    {.name = "heartbeat-timeout",
     .type = OPTIONS_INT,
     .min = 0,
     .max = 1000000000,
     .dflt = "300",
     .arg = "SECONDS",
     .help = "older handler heartbeats make a node unfit; 0: do not look"},
    {.name = "now",
     .type = OPTIONS_STRING,
     .arg = "TIME",
     .help = "the time that heartbeats are compared with, as 2026-01-31T12:00:00Z (else now)"},
    {.name = "seed",
     .type = OPTIONS_INT,
     .min = 0,
     .max = INT64_MAX,
     .dflt = "0",
     .arg = "NUMBER",
     .help = "breaks ties: 0 by name, else in an order of the nodes drawn from it"},
    {0},
};

static const struct options_program program = {
    .name = "drover schedule",
    .usage = "-f FILE|DIR|- ... [--vm [NS/]NAME] [-o table|json|yaml]",
    .about =
        "Places every VirtualMachine, VirtualMachineInstance and Pod that has no node, in the "
        "order\ngiven; those with a node occupy it. A VirtualMachineInstanceMigration asks for "
        "a target for\nits VM. A KubeSchedulerConfiguration sets how nodes are scored. Says why "
        "each "
        "node does or\ndoes not do. Exit 2: one of them fits nowhere.",
    .defs = defs,
};

struct run {
    struct offline *o;
    struct cluster *c;
    struct schedule_places *places;
    struct strmap *running; /* "NS/NAME" -> the struct vmi of a VM that this run has placed */
    const struct sched_config *config; /* or NULL */
    struct strmap *profiles;           /* schedulerName -> its struct profile, as they are needed */
    struct schedule_report *report;
    size_t len;
    bool one_fits_nowhere;
    size_t explained; /* of those that fit nowhere */
};

static int fill_cluster(struct run *run);
static void add_attachments(struct run *run);
static int check_migrations(const struct run *run);
static bool asks_for_target(const struct run *run, const struct offline_item *it);
static void place_item(struct run *run, const struct offline_item *it);
static void place_vmi(struct run *run, const struct vmi *v);
static void place_migration(struct run *run, const struct vmim *m);
static void place_pod(struct run *run, const struct pod *p);
static void use_profile(struct run *run, const char *scheduler_name);
static struct nearest explain(struct run *run, const struct place_request *rq,
                              struct place_result *result);
static void answer(struct run *run, const struct meta *meta, const struct place_request *rq,
                   struct place_result *result, const struct preempt_result *preemption,
                   const struct nearest *nearest);
static void print_end(const struct run *run);
static int nothing_placed(const struct run *run);
static bool has_instance(const struct run *run, const char *ns, const char *name);
static bool wanted(const struct run *run, const char *ns, const char *name);
static bool is_final(const char *phase);
static bool has_text(const char *s);

int
verb_schedule(int argc, char **argv)
{
    int rc;
    AUTO_OFFLINE struct offline *o = offline_begin(&program, argc, argv, &rc);
    struct run run = {.o = o};

    if (!o)
        return rc;
    run.c = cluster_new();
    run.running = strmap_new();
    run.profiles = strmap_new();
    run.report = schedule_report_new();
    rc = fill_cluster(&run);
    if (rc == EXIT_DONE)
        rc = check_migrations(&run);
    for (size_t i = 0; i < o->len && rc == EXIT_DONE; i++)
        place_item(&run, &o->items[i]);
    if (rc == EXIT_DONE && o->vm_name && run.len == 0) {
        rc = nothing_placed(&run);
    } else if (rc == EXIT_DONE) {
        print_end(&run);
        rc = run.one_fits_nowhere ? EXIT_NO : EXIT_DONE;
    }
    schedule_report_free(run.report);
    strmap_free(run.running, NULL);
    strmap_free(run.profiles, NULL);
    schedule_places_free(run.places);
    cluster_free(run.c);
    return rc;
}

static int
fill_cluster(struct run *run)
{
    const struct offline *o = run->o;
    const char *now = options_string(o->options, "now");
    int64_t now_us = clock_wall_us();
    struct err err = {0};

    if (now && time_parse(now, &now_us, &err) != 0)
        return offline_errorf("--now %s: %s", now, err_msg(&err));
    cluster_set_hco(run->c, o->hco);
    cluster_set_heartbeat(run->c, now_us, options_int(o->options, "heartbeat-timeout"));
    cluster_set_from_files(run->c);
    cluster_set_seed(run->c, (uint64_t)options_int(o->options, "seed"));
    add_attachments(run);
    for (size_t i = 0; i < o->len; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_NAMESPACE)
            cluster_add_namespace(run->c, it->ns);
        else if (it->kind == KIND_NODE)
            cluster_add_node(run->c, it->node);
        else if (it->kind == KIND_VMI)
            cluster_add_vmi(run->c, it->vmi);
        else if (it->kind == KIND_POD)
            cluster_add_pod(run->c, it->pod);
        else if (it->kind == KIND_SCHED_CONFIG) /* two would have been an error */
            run->config = it->sched_config;
    }
    run->places = schedule_places_new(run->c, o);
    return EXIT_DONE;
}

/* Before the VMIs: what networks ask for counts for those that run, too. */
static void
add_attachments(struct run *run)
{
    for (size_t i = 0; i < run->o->len; i++) {
        const struct offline_item *it = &run->o->items[i];

        if (it->kind == KIND_NAD)
            cluster_add_nad(run->c, it->nad);
        else if (it->kind == KIND_PVC)
            cluster_add_pvc(run->c, it->pvc);
        else if (it->kind == KIND_PV)
            cluster_add_pv(run->c, it->pv);
        else if (it->kind == KIND_STORAGE_CLASS)
            cluster_add_storage_class(run->c, it->storage_class);
    }
}

/* Before anything is printed: each migration names a VM that is there. */
static int
check_migrations(const struct run *run)
{
    for (size_t i = 0; i < run->o->len; i++) {
        const struct offline_item *it = &run->o->items[i];
        const char *ns = it->meta->namespace_;

        if (asks_for_target(run, it) && !offline_vmi(run->o, ns, it->vmim->vmi_name))
            return offline_errorf("VirtualMachineInstanceMigration %s/%s: spec.vmiName: no "
                                  "VirtualMachineInstance %s/%s in the input",
                                  ns, it->meta->name, ns, it->vmim->vmi_name);
    }
    return EXIT_DONE;
}

static bool
asks_for_target(const struct run *run, const struct offline_item *it)
{
    return it->kind == KIND_VMIM && !it->meta->deletion_us && has_text(it->vmim->vmi_name) &&
           wanted(run, it->meta->namespace_, it->vmim->vmi_name) && !is_final(it->vmim->phase);
}

static void
place_item(struct run *run, const struct offline_item *it)
{
    const char *ns = it->meta->namespace_, *name = it->meta->name;

    if (it->meta->deletion_us)
        return;
    switch (it->kind) {
    case KIND_VM:
        if (wanted(run, ns, name) && !has_instance(run, ns, name))
            place_vmi(run, offline_vmi_of(run->o, it->vm));
        break;
    case KIND_VMI:
        if (wanted(run, ns, name) && !is_final(it->vmi->status.phase) &&
            !has_text(it->vmi->status.node_name))
            place_vmi(run, it->vmi);
        break;
    case KIND_VMIM:
        if (asks_for_target(run, it))
            place_migration(run, it->vmim);
        break;
    case KIND_POD:
        if (wanted(run, ns, name) && !is_final(it->pod->phase) && !has_text(it->pod->node_name))
            place_pod(run, it->pod);
        break;
    default:
        break;
    }
}

/* Keeps the VM's node in a copy: a migration later in the input finds it running. */
static void
place_vmi(struct run *run, const struct vmi *v)
{
    struct place_request rq = {.vmi = v, .purpose = PLACE_START};
    struct preempt_result preemption;
    struct place_result *result;
    struct nearest nearest;

    use_profile(run, v->spec.scheduler_name);
    result = schedule_place(run->places, &rq, &preemption);
    nearest = explain(run, &rq, result);
    if (result->node) {
        struct vmi *running = arena_alloc(run->o->arena, sizeof(*running));

        *running = *v;
        running->status.node_name = arena_strdup(run->o->arena, result->node);
        strmap_put(run->running,
                   arena_printf(run->o->arena, "%s/%s", v->meta.namespace_, v->meta.name), running);
        cluster_reserve(run->c, running, running->status.node_name);
    }
    answer(run, &v->meta, &rq, result, &preemption, &nearest);
}

static void
place_migration(struct run *run, const struct vmim *m)
{
    struct offline *o = run->o;
    const char *ns = m->meta.namespace_, *name = m->vmi_name;
    const struct vmi *v = strmap_get(run->running, arena_printf(o->arena, "%s/%s", ns, name));
    struct place_request rq = {.purpose = PLACE_MIGRATE,
                               .added_node_selector = &m->added_node_selector};
    struct migratable_facts facts = {.hco = o->hco};
    const struct migration_state *ms;
    struct migratable can;
    struct preempt_result preemption;
    struct place_result *result;
    struct nearest nearest;

    if (!v)
        v = offline_vmi(o, ns, name);
    ms = &v->status.migration;
    if (ms->present && has_text(ms->target_node) && !ms->completed && !ms->failed)
        return; /* it has a target, and occupies it */
    facts.node = offline_node(o, v->status.node_name ? v->status.node_name : "");
    facts.node_missing = !facts.node;
    facts.pvcs_len = offline_claims(o, ns, &facts.pvcs);
    can = vmi_migratable_with(v, &facts, o->arena);
    if (!can.ok)
        offline_warn("%s/%s: not live-migratable: %s: %s", ns, name, can.reason, can.message);
    rq.vmi = v;
    for (size_t i = 0; i < m->meta.annotations.len; i++)
        if (strcmp(m->meta.annotations.items[i].key, ANN_MIGRATION_TARGET) == 0)
            rq.target = m->meta.annotations.items[i].value;
        else if (strcmp(m->meta.annotations.items[i].key, ANN_MIGRATION_FORCE) == 0)
            rq.force = strcmp(m->meta.annotations.items[i].value, "true") == 0;
    use_profile(run, v->spec.scheduler_name);
    result = schedule_place(run->places, &rq, &preemption);
    nearest = explain(run, &rq, result);
    if (result->node)
        cluster_reserve(run->c, v, result->node);
    answer(run, &v->meta, &rq, result, &preemption, &nearest);
}

static void
place_pod(struct run *run, const struct pod *p)
{
    struct place_request rq = {.pod = p};
    struct preempt_result preemption;
    struct place_result *result;
    struct nearest nearest;

    use_profile(run, p->scheduler_name);
    result = schedule_place(run->places, &rq, &preemption);
    nearest = explain(run, &rq, result);
    if (result->node)
        cluster_reserve_pod(run->c, p, result->node);
    answer(run, &p->meta, &rq, result, &preemption, &nearest);
}

/* Each is placed by the profile that it names. */
static void
use_profile(struct run *run, const char *scheduler_name)
{
    const char *key = scheduler_name ? scheduler_name : "";
    union { /* the map does not change what it holds */
        const struct profile *in;
        void *out;
    } p;

    if (!run->config)
        return;
    p.out = strmap_get(run->profiles, key);
    if (!p.out) {
        p.in = profile_compile_for(run->config, scheduler_name, run->o->arena);
        strmap_put(run->profiles, key, p.out);
    }
    cluster_set_profile(run->c, p.in);
}

/* Before room is reserved: the explanation is of the cluster that the decision saw. */
static struct nearest
explain(struct run *run, const struct place_request *rq, struct place_result *result)
{
    struct nearest none = {.change = ""};

    if (!run->o->vm_name && (result->node || run->explained++ >= SCHEDULE_WHY_VMS))
        return none;
    return schedule_why(run->c, rq, result);
}

/* Takes result. JSON and YAML are printed at once, what people read is collected. */
static void
answer(struct run *run, const struct meta *meta, const struct place_request *rq,
       struct place_result *result, const struct preempt_result *preemption,
       const struct nearest *nearest)
{
    struct schedule_answer a = {
        .ns = meta->namespace_,
        .name = meta->name,
        .source = rq->purpose == PLACE_MIGRATE ? rq->vmi->status.node_name : NULL,
        .result = result,
        .preemption = *preemption,
        .nearest = *nearest,
    };

    if (!offline_is_table(run->o)) {
        struct tree *t = place_result_tree(result, a.ns, a.name);

        schedule_preempt_tree(preemption, t);
        schedule_why_tree(nearest, t);
        offline_print_item(run->o, t, run->len);
    } else {
        schedule_report_add(run->report, &a);
    }
    run->one_fits_nowhere = run->one_fits_nowhere || !result->node;
    run->len++;
    place_result_free(result);
}

static void
print_end(const struct run *run)
{
    AUTO_SB struct sb text = SB_INIT;

    if (!offline_is_table(run->o)) {
        offline_print_items_end(run->o, run->len);
        return;
    }
    schedule_report_print(run->report, &text);
    fputs(sb_str(&text), stdout);
}

/* --vm named something that asks for no node. */
static int
nothing_placed(const struct run *run)
{
    struct offline *o = run->o;
    const struct vmi *v = offline_vmi(o, o->vm_ns, o->vm_name);
    const char *node = v ? v->status.node_name : NULL;

    for (size_t i = 0; i < o->len && !node; i++) {
        const struct offline_item *it = &o->items[i];

        if (it->kind == KIND_POD && strcmp(it->meta->name, o->vm_name) == 0 &&
            strcmp(it->meta->namespace_, o->vm_ns) == 0)
            node = it->pod->node_name;
    }
    if (has_text(node))
        return offline_errorf("--vm %s/%s: it runs on node %s already; add a "
                              "VirtualMachineInstanceMigration to ask for a migration's target",
                              o->vm_ns, o->vm_name, node);
    return offline_errorf("--vm %s/%s: no VirtualMachine, VirtualMachineInstance or Pod of that "
                          "name in the input asks for a node",
                          o->vm_ns, o->vm_name);
}

/* The VM runs, or is about to: its VirtualMachineInstance is in the input. */
static bool
has_instance(const struct run *run, const char *ns, const char *name)
{
    for (size_t i = 0; i < run->o->len; i++) {
        const struct offline_item *it = &run->o->items[i];

        if (it->kind == KIND_VMI && strcmp(it->meta->name, name) == 0 &&
            strcmp(it->meta->namespace_, ns) == 0)
            return !is_final(it->vmi->status.phase);
    }
    return false;
}

static bool
wanted(const struct run *run, const char *ns, const char *name)
{
    return !run->o->vm_name ||
           (strcmp(run->o->vm_ns, ns) == 0 && strcmp(run->o->vm_name, name) == 0);
}

static bool
is_final(const char *phase)
{
    return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

static bool
has_text(const char *s)
{
    return s && *s;
}
