/* Abilities, machine type, architecture and TSC frequency of a node; see host_rule.h. */
#include "sched/host_rule.h"

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "sched/explain.h"

#define LABEL_CPUMANAGER_NEW "kubevirt.io/cpumanager"
#define LABEL_TSC_OFFER      "scheduling.node.kubevirt.io/tsc-frequency-"
#define LABEL_TSC_FREQUENCY  LABEL_CPU_TIMER "tsc-frequency"
#define LABEL_TSC_SCALABLE   LABEL_CPU_TIMER "tsc-scalable"
#define TSC_TOLERANCE_PART   4000 /* QEMU accepts 250 parts in a million */

static void add(struct host_rule *r, bool wanted, const char *label, const char *alt,
                const char *what, const char *reason);
static void compile_hyperv(struct host_rule *r, const struct vmi_domain *d, struct arena *a);
static void compile_hypervisor(struct host_rule *r, const struct vmi *v);
static void compile_tsc(struct host_rule *r, const struct cluster *c, const struct vmi *v,
                        bool migrate, const struct cluster_node *source, struct arena *a);
static bool wants_invtsc(const struct vmi_cpu *cpu);
static bool runs_or_may(const struct cluster *c, const struct cluster_node *n);
static bool publishes(const struct cluster_node *n, const char *prefix);

struct host_rule
host_rule_compile(const struct cluster *c, const struct vmi *v, bool migrate,
                  const struct cluster_node *source, struct arena *a)
{
    const struct vmi_domain *d = &v->spec.domain;
    struct host_rule r = {0};

    add(&r, d->cpu.dedicated_placement, LABEL_CPUMANAGER, LABEL_CPUMANAGER_NEW, "CPU manager",
        "node(s) didn't have CPU manager enabled");
    add(&r, d->cpu.realtime, LABEL_REALTIME, NULL, "realtime", "node(s) didn't support realtime");
    add(&r, d->sev && !d->sev_snp, LABEL_SEV, NULL, "SEV", "node(s) didn't support SEV");
    add(&r, d->sev_es, LABEL_SEV_ES, NULL, "SEV-ES", "node(s) didn't support SEV-ES");
    add(&r, d->sev_snp, LABEL_SEV_SNP, NULL, "SEV-SNP", "node(s) didn't support SEV-SNP");
    add(&r, d->tdx, LABEL_TDX, NULL, "TDX", "node(s) didn't support TDX");
    add(&r, d->secure_execution, LABEL_S390_PV, NULL, "Secure Execution",
        "node(s) didn't support Secure Execution");
    compile_hyperv(&r, d, a);
    compile_hypervisor(&r, v);
    if (d->machine_type && *d->machine_type) {
        r.machine = d->machine_type;
        r.machine_label = arena_printf(a, "%s%s", LABEL_MACHINE_TYPE, d->machine_type);
    }
    if (v->spec.architecture && *v->spec.architecture)
        r.arch = v->spec.architecture;
    compile_tsc(&r, c, v, migrate, source, a);
    return r;
}

size_t
host_rule_check(const struct host_rule *r, const struct cluster_node *n, struct arena *a,
                struct str_list *reasons)
{
    size_t before = reasons->len;

    if (r->impossible) {
        explain_add(reasons, a, r->impossible);
        return 1;
    }
    for (size_t i = 0; i < r->abilities_len; i++)
        if (!host_rule_has(&r->abilities[i], n))
            explain_add(reasons, a, r->abilities[i].reason);
    if (!host_rule_machine_ok(r, n))
        explain_addf(reasons, a, "node(s) didn't support machine type %s", r->machine);
    if (!host_rule_arch_ok(r, n))
        explain_addf(reasons, a, "node(s) didn't have architecture %s", r->arch);
    if (!host_rule_tsc_ok(r, n))
        explain_addf(reasons, a, "node(s) didn't offer TSC frequency %lld", (long long)r->tsc_hz);
    return reasons->len - before;
}

bool
host_rule_wants_tsc(const struct vmi_domain *d)
{
    return d->hyperv_reenlightenment || wants_invtsc(&d->cpu);
}

/* Older labellers write the label without a value. */
bool
host_rule_has(const struct host_ability *b, const struct cluster_node *n)
{
    const char *value = node_labels_get(&n->labels, b->label);

    if (!value && b->alt)
        value = node_labels_get(&n->labels, b->alt);
    return value ? !*value || strcmp(value, "true") == 0 : b->absent_ok;
}

/* Labellers of KubeVirt 1.1 (the 4.15 documents') publish no machine types: then it is not known. */
bool
host_rule_machine_ok(const struct host_rule *r, const struct cluster_node *n)
{
    return !r->machine || node_labels_true(&n->labels, r->machine_label) ||
           !publishes(n, LABEL_MACHINE_TYPE);
}

bool
host_rule_arch_ok(const struct host_rule *r, const struct cluster_node *n)
{
    const char *have = r->arch ? node_labels_get(&n->labels, LABEL_ARCH) : NULL;

    return !have || strcmp(have, r->arch) == 0;
}

bool
host_rule_tsc_ok(const struct host_rule *r, const struct cluster_node *n)
{
    int64_t have, tolerance;

    if (r->tsc_hz == 0 || node_labels_true(&n->labels, r->tsc_label))
        return true;
    have = host_rule_tsc_of(n);
    if (have == 0)
        return false;
    tolerance = have / TSC_TOLERANCE_PART;
    if (r->tsc_hz < have - tolerance)
        return node_labels_true(&n->labels, LABEL_TSC_SCALABLE);
    return r->tsc_hz - have <= tolerance;
}

int64_t
host_rule_tsc_of(const struct cluster_node *n)
{
    const char *text = node_labels_get(&n->labels, LABEL_TSC_FREQUENCY);

    /* 18 digits fit into 64 bits */
    if (!text || !*text || strlen(text) > 18 || text[strspn(text, "0123456789")])
        return 0;
    return strtoll(text, NULL, 10);
}

int64_t
vmi_tsc_hint(const struct cluster *c, const struct vmi *v)
{
    int64_t lowest = 0;

    if (!host_rule_wants_tsc(&v->spec.domain))
        return 0;
    for (size_t i = 0; i < c->nodes_len; i++) {
        int64_t hz = host_rule_tsc_of(c->nodes[i]);

        if (hz > 0 && (lowest == 0 || hz < lowest) && runs_or_may(c, c->nodes[i]))
            lowest = hz;
    }
    return lowest;
}

static void
add(struct host_rule *r, bool wanted, const char *label, const char *alt, const char *what,
    const char *reason)
{
    if (wanted)
        r->abilities[r->abilities_len++] =
            (struct host_ability){.label = label, .alt = alt, .what = what, .reason = reason};
}

/* The enlightenments that need the host's kernel, and those that they stand on: upstream's webhook adds
 * vpindex to synic, tlbflush and ipi, and synic to synictimer. */
static void
compile_hyperv(struct host_rule *r, const struct vmi_domain *d, struct arena *a)
{
    bool synic = d->hyperv_synic || d->hyperv_synictimer;
    const struct {
        bool wanted;
        const char *name;
    } features[] = {
        {d->hyperv_vpindex || synic || d->hyperv_tlbflush || d->hyperv_ipi, "vpindex"},
        {d->hyperv_runtime, "runtime"},
        {d->hyperv_reset, "reset"},
        {synic, "synic"},
        {d->hyperv_synictimer, "synictimer"},
        {d->hyperv_frequencies, "frequencies"},
        {d->hyperv_reenlightenment, "reenlightenment"},
        {d->hyperv_tlbflush, "tlbflush"},
        {d->hyperv_ipi, "ipi"},
    };

    for (size_t i = 0; i < ARRAY_LEN(features); i++)
        if (features[i].wanted)
            add(r, true, arena_printf(a, "%s%s", LABEL_HYPERV, features[i].name), NULL,
                arena_printf(a, "Hyper-V %s", features[i].name),
                arena_printf(a, "node(s) didn't support Hyper-V %s", features[i].name));
}

const char *
host_rule_hypervisor(const struct vmi *v)
{
    const struct kv_list *ann = &v->meta.annotations;
    const char *kind = kv_get(ann, ANN_RUNS_ON);

    if (!kind)
        kind = kv_get(ann, ANN_HYPERVISOR);
    if (!kind && kv_get(ann, ANN_WORKLOAD))
        kind = "native";
    return kind ? kind : "";
}

/* What it runs with, wherever it goes; before it runs, what it asks for. One that says nothing takes what
 * the node that it comes to has. */
static void
compile_hypervisor(struct host_rule *r, const struct vmi *v)
{
    const char *kind = host_rule_hypervisor(v);

    add(r, strcmp(kind, "libvirt") == 0, LABEL_HYPERVISOR_LIBVIRT, NULL, "libvirt",
        "node(s) had no libvirt");
    if (strcmp(kind, "native") != 0)
        return;
    add(r, true, LABEL_HYPERVISOR_NATIVE, NULL, "native guests", "node(s) had no native guests");
    r->abilities[r->abilities_len - 1].absent_ok = true;
}

/* A guest that counts on its TSC keeps the frequency that it started with: what was noted then, else
 * the source's, else, at a start, the lowest of the cluster (what most nodes can offer). */
static void
compile_tsc(struct host_rule *r, const struct cluster *c, const struct vmi *v, bool migrate,
            const struct cluster_node *source, struct arena *a)
{
    bool invtsc = wants_invtsc(&v->spec.domain.cpu);

    if (!host_rule_wants_tsc(&v->spec.domain))
        return;
    r->tsc_hz = v->status.tsc_frequency_hz;
    if (r->tsc_hz <= 0)
        r->tsc_hz = !migrate ? vmi_tsc_hint(c, v) : source ? host_rule_tsc_of(source) : 0;
    if (r->tsc_hz > 0)
        r->tsc_label = arena_printf(a, "%s%lld", LABEL_TSC_OFFER, (long long)r->tsc_hz);
    else if (migrate)
        r->impossible = "node(s) couldn't be compared with the source, whose TSC frequency is not "
                        "known";
    else if (invtsc)
        r->impossible = "node(s) had no TSC frequency";
}

static bool
wants_invtsc(const struct vmi_cpu *cpu)
{
    for (size_t i = 0; i < cpu->features_len; i++) {
        const struct cpu_feature *f = &cpu->features[i];

        if (f->name && strcmp(f->name, "invtsc") == 0 &&
            (!f->policy || !*f->policy || strcmp(f->policy, "require") == 0))
            return true;
    }
    return false;
}

/* Nodes that take VMs, and those that still have some; a node out of use drags nobody down. */
static bool
runs_or_may(const struct cluster *c, const struct cluster_node *n)
{
    if (n->schedulable ? strcmp(n->schedulable, "true") == 0
                       : c->heartbeat_timeout_s <= 0 || c->from_files)
        return true;
    for (const struct occupant *o = n->occupants; o; o = o->next)
        if (!o->is_pod)
            return true;
    return false;
}

static bool
publishes(const struct cluster_node *n, const char *prefix)
{
    size_t at = 0;

    return node_labels_next(&n->labels, prefix, &at) != NULL;
}
