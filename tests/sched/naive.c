/* The rules of placement, naively: who may go where; see naive.h. */
#include "tests/sched/naive.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sched/naive_int.h"

static struct who
of_pod(const struct pod *p)
{
    return (struct who){.pod = p,
                        .meta = &p->meta,
                        .affinity = &p->affinity,
                        .selector = &p->node_selector,
                        .spreads = p->spreads,
                        .spreads_len = p->spreads_len,
                        .tolerations = p->tolerations,
                        .tolerations_len = p->tolerations_len};
}

static struct who
of_vmi(const struct vmi *v)
{
    return (struct who){.vmi = v,
                        .meta = &v->meta,
                        .affinity = &v->spec.affinity,
                        .selector = &v->spec.node_selector,
                        .spreads = v->spec.spreads,
                        .spreads_len = v->spec.spreads_len,
                        .tolerations = v->spec.tolerations,
                        .tolerations_len = v->spec.tolerations_len};
}

struct who
naive_who(const struct naive_one *one)
{
    return one->pod ? of_pod(one->pod) : of_vmi(one->vmi);
}

size_t
naive_others(const struct naive_cluster *c)
{
    return c->vmis_len + c->pods_len;
}

struct who
naive_other(const struct naive_cluster *c, size_t i)
{
    return i < c->vmis_len ? of_vmi(&c->vmis[i]) : of_pod(&c->pods[i - c->vmis_len]);
}

bool
naive_same(const struct who *a, const struct who *b)
{
    return (a->pod != NULL) == (b->pod != NULL) && strcmp(a->meta->name, b->meta->name) == 0 &&
           strcmp(a->meta->namespace_, b->meta->namespace_) == 0;
}

bool
naive_is_on(const struct who *w, const struct node *n)
{
    const char *phase = w->pod ? w->pod->phase : w->vmi->status.phase;
    const struct migration_state *ms;

    if (phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0))
        return false;
    if (w->pod)
        return strcmp(w->pod->node_name, n->meta.name) == 0;
    ms = &w->vmi->status.migration;
    return strcmp(w->vmi->status.node_name, n->meta.name) == 0 ||
           (ms->present && !ms->failed && ms->target_node &&
            strcmp(ms->target_node, n->meta.name) == 0);
}

const char *
naive_value(const struct kv_list *l, const char *key)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, key) == 0)
            return l->items[i].value;
    return NULL;
}

static bool
labelled(const struct node *n, const char *prefix, const char *name)
{
    for (size_t i = 0; i < n->meta.labels.len; i++) {
        const struct kv *l = &n->meta.labels.items[i];

        if (strncmp(l->key, prefix, strlen(prefix)) == 0 &&
            (!name || strcmp(l->key + strlen(prefix), name) == 0) && strcmp(l->value, "true") == 0)
            return true;
    }
    return false;
}

static bool
listed(const struct str_list *l, const char *s)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i], s) == 0)
            return true;
    return false;
}

/* A requirement of the generator's: values are words or small numbers. */
static bool
holds(const struct requirement *r, const char *have)
{
    switch (r->op) {
    case SEL_IN:
        return have && listed(&r->values, have);
    case SEL_NOT_IN:
        return !have || !listed(&r->values, have);
    case SEL_EXISTS:
        return have;
    case SEL_DOES_NOT_EXIST:
        return !have;
    case SEL_GT:
    case SEL_LT:
        if (!have || !strchr("0123456789", have[0]))
            return false;
        return r->op == SEL_GT ? atoi(have) > atoi(r->values.items[0])
                               : atoi(have) < atoi(r->values.items[0]);
    case SEL_UNKNOWN:
        break;
    }
    return false;
}

bool
naive_term_holds(const struct node_term *t, const struct node *n)
{
    if (t->exprs_len + t->fields_len == 0)
        return false;
    for (size_t i = 0; i < t->exprs_len; i++)
        if (t->exprs[i].op == SEL_UNKNOWN ||
            ((t->exprs[i].op == SEL_IN || t->exprs[i].op == SEL_NOT_IN) &&
             t->exprs[i].values.len == 0))
            return false; /* poison */
    for (size_t i = 0; i < t->exprs_len; i++)
        if (!holds(&t->exprs[i], naive_value(&n->meta.labels, t->exprs[i].key)))
            return false;
    for (size_t i = 0; i < t->fields_len; i++)
        if (!holds(&t->fields[i], n->meta.name))
            return false;
    return true;
}

static bool
required_holds(const struct affinity *a, const struct node *n)
{
    for (size_t i = 0; i < a->node_required_len; i++)
        if (naive_term_holds(&a->node_required[i], n))
            return true;
    return !a->has_node_required;
}

static bool
affinity_holds(const struct who *w, const struct node *n)
{
    for (size_t i = 0; i < w->selector->len; i++) {
        const char *have = naive_value(&n->meta.labels, w->selector->items[i].key);

        if (!have || strcmp(have, w->selector->items[i].value) != 0)
            return false;
    }
    return required_holds(w->affinity, n);
}

bool
naive_tolerates(const struct who *w, const struct taint *t)
{
    for (size_t i = 0; i < w->tolerations_len; i++) {
        const struct toleration *o = &w->tolerations[i];
        bool exists = o->operator_ && strcmp(o->operator_, "Exists") == 0;

        if (o->key && *o->key && strcmp(o->key, t->key) != 0)
            continue;
        if (o->effect && *o->effect && strcmp(o->effect, t->effect) != 0)
            continue;
        if (exists || strcmp(o->value ? o->value : "", t->value ? t->value : "") == 0)
            return true;
    }
    return false;
}

bool
naive_taints_allow(const struct who *w, const struct node *n)
{
    for (size_t i = 0; i < n->taints_len; i++)
        if (strcmp(n->taints[i].effect, "PreferNoSchedule") != 0 &&
            !naive_tolerates(w, &n->taints[i]))
            return false;
    return true;
}

static bool
cpu_does(const struct naive_cluster *c, const struct vmi *v, int source, const struct node *n)
{
    const char *model =
        v->spec.domain.cpu.model ? v->spec.domain.cpu.model : c->hco->default_cpu_model;
    bool has_labels = labelled(n, "cpu-model.node.kubevirt.io/", NULL) ||
                      labelled(n, "cpu-feature.node.kubevirt.io/", NULL) ||
                      labelled(n, "host-model-cpu.node.kubevirt.io/", NULL);

    if (model && strcmp(model, "host-model") != 0) {
        if (!labelled(n, "cpu-model.node.kubevirt.io/", model))
            return false;
    } else if (source >= 0) {
        static const char *const models[] = {"Haswell", "Penryn"};
        const struct node *from = &c->nodes[source];
        const char *host = NULL;

        for (size_t i = 0; i < 2 && !host; i++)
            if (labelled(from, "host-model-cpu.node.kubevirt.io/", models[i]))
                host = models[i];
        if (!host &&
            (v->spec.domain.cpu.model || labelled(from, "cpu-model.node.kubevirt.io/", NULL) ||
             labelled(from, "cpu-feature.node.kubevirt.io/", NULL)))
            return false;
        if (host && !labelled(n, "cpu-model.node.kubevirt.io/", host) &&
            !labelled(n, "host-model-cpu.node.kubevirt.io/", host))
            return false;
    }
    for (size_t i = 0; i < v->spec.domain.cpu.features_len; i++) {
        const struct cpu_feature *f = &v->spec.domain.cpu.features[i];
        bool base = strcmp(f->name, "apic") == 0;
        bool has = labelled(n, "cpu-feature.node.kubevirt.io/", f->name) || (base && has_labels);

        if ((!f->policy || strcmp(f->policy, "require") == 0) && !has)
            return false;
        if (f->policy && strcmp(f->policy, "forbid") == 0 && has)
            return false;
    }
    return true;
}

static int64_t
quantity_of(const struct resource_list *l, const char *resource, int64_t absent)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].name, resource) == 0)
            return strcmp(resource, "cpu") == 0 ? l->items[i].q.milli : l->items[i].q.units;
    return absent;
}

static bool
is_sidecar(const struct pod_container *c)
{
    return c->restart_policy && strcmp(c->restart_policy, "Always") == 0;
}

/* All that runs at the same time, at its worst moment: when all have started, or during any start. */
static int64_t
pod_asks(const struct pod *p, const char *resource, int64_t absent)
{
    int64_t together = 0, worst;

    for (size_t i = 0; i < p->containers_len; i++)
        together += quantity_of(&p->containers[i].requests, resource, absent);
    for (size_t i = 0; i < p->init_containers_len; i++)
        if (is_sidecar(&p->init_containers[i]))
            together += quantity_of(&p->init_containers[i].requests, resource, absent);
    worst = together;
    for (size_t i = 0; i < p->init_containers_len; i++) {
        int64_t then = quantity_of(&p->init_containers[i].requests, resource, absent);

        for (size_t k = 0; k < i; k++)
            if (is_sidecar(&p->init_containers[k]))
                then += quantity_of(&p->init_containers[k].requests, resource, absent);
        worst = then > worst ? then : worst;
    }
    return worst + quantity_of(&p->overhead, resource, 0);
}

/* The generator's VMs have a guest size, cores, GPUs, and no graphics. */
static int64_t
vmi_asks(const struct naive_cluster *c, const struct vmi *v, const char *resource)
{
    int64_t guest = v->spec.domain.guest_memory.units;
    int64_t cores = v->spec.domain.cpu.cores ? v->spec.domain.cpu.cores : 1;
    int64_t ratio = c->hco->has_cpu_ratio ? c->hco->cpu_allocation_ratio : 10;
    int64_t gpus = (int64_t)v->spec.domain.gpus_len;

    if (strcmp(resource, "cpu") == 0)
        return (cores * 1000 + ratio - 1) / ratio;
    if (strcmp(resource, "memory") == 0)
        return (guest * 1002 + 999) / 1000 + (218 + 8 * cores + 1024 * gpus) * 1048576;
    if (strcmp(resource, "x/gpu") == 0)
        return gpus;
    return strcmp(resource, "devices.kubevirt.io/kvm") == 0;
}

int64_t
naive_asks(const struct naive_cluster *c, const struct who *w, const char *resource, int64_t absent)
{
    return w->pod ? pod_asks(w->pod, resource, absent) : vmi_asks(c, w->vmi, resource);
}

int64_t
naive_total(const struct node *n, const char *resource)
{
    return quantity_of(&n->allocatable, resource, -1);
}

int64_t
naive_used(const struct naive_cluster *c, const struct who *w, const struct node *n,
           const char *resource, int64_t absent)
{
    int64_t sum = 0;

    for (size_t i = 0; i < naive_others(c); i++) {
        struct who other = naive_other(c, i);

        if (!naive_same(&other, w) && naive_is_on(&other, n))
            sum += naive_asks(c, &other, resource, absent);
    }
    return sum;
}

const struct sched_config_args *
naive_args(const struct naive_cluster *c, const char *plugin)
{
    for (size_t i = 0; c->config && i < c->config->args_len; i++)
        if (strcmp(c->config->args[i].name, plugin) == 0)
            return &c->config->args[i];
    return NULL;
}

static bool
has_room(const struct naive_cluster *c, const struct who *w, const struct node *n)
{
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage", "x/gpu",
                                        "devices.kubevirt.io/kvm"};
    const struct sched_config_args *args = naive_args(c, "NodeResourcesFit");
    int64_t pods = 1;

    for (size_t i = 0; i < naive_others(c); i++) {
        struct who other = naive_other(c, i);

        pods += !naive_same(&other, w) && naive_is_on(&other, n);
    }
    if (pods > naive_total(n, "pods"))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int64_t want = naive_asks(c, w, names[i], 0), total = naive_total(n, names[i]);

        if (want == 0 || (args && strchr(names[i], '/') &&
                          (listed(&args->ignored_resources, names[i]) ||
                           (args->ignored_groups.len > 0 && names[i][0] == 'x'))))
            continue; /* the generator's only group is x */
        if (total < 0 && strcmp(names[i], "devices.kubevirt.io/kvm") == 0)
            continue;
        if (want + naive_used(c, w, n, names[i], 0) > (total < 0 ? 0 : total))
            return false;
    }
    return true;
}

bool
naive_selects(const struct label_selector *s, const struct kv_list *labels)
{
    for (size_t i = 0; i < s->match_labels.len; i++) {
        const char *have = naive_value(labels, s->match_labels.items[i].key);

        if (!have || strcmp(have, s->match_labels.items[i].value) != 0)
            return false;
    }
    return true;
}

static const struct kv_list *
namespace_labels(const struct naive_cluster *c, const char *name)
{
    for (size_t i = 0; i < c->namespaces_len; i++)
        if (strcmp(c->namespaces[i].meta.name, name) == 0)
            return &c->namespaces[i].meta.labels;
    abort(); /* the generator makes them all */
}

bool
naive_takes(const struct naive_cluster *c, const struct pod_term *t, const struct who *owner,
            const struct who *other)
{
    const char *ns = other->meta->namespace_;
    bool there =
        listed(&t->namespaces, ns) ||
        (t->namespace_selector && naive_selects(t->namespace_selector, namespace_labels(c, ns)));

    if (t->namespaces.len == 0 && !t->namespace_selector)
        there = strcmp(ns, owner->meta->namespace_) == 0;
    if (!there || !t->selector || !naive_selects(t->selector, &other->meta->labels))
        return false;
    for (size_t i = 0; i < t->match_label_keys.len + t->mismatch_label_keys.len; i++) {
        bool alike = i < t->match_label_keys.len;
        const char *key = alike ? t->match_label_keys.items[i]
                                : t->mismatch_label_keys.items[i - t->match_label_keys.len];
        const char *mine = naive_value(&owner->meta->labels, key);
        const char *theirs = naive_value(&other->meta->labels, key);

        if (mine && (theirs && strcmp(mine, theirs) == 0) != alike)
            return false;
    }
    return true;
}

bool
naive_same_domain(const char *key, const struct node *a, const struct node *b)
{
    const char *x = naive_value(&a->meta.labels, key), *y = naive_value(&b->meta.labels, key);

    return x && y && strcmp(x, y) == 0;
}

/* Is there a peer that all terms (or that one, when all is NULL) take, in n's domain? (n NULL: in any) */
static bool
peer_there(const struct naive_cluster *c, const struct who *w, const struct affinity *all,
           const struct pod_term *t, const struct node *n)
{
    for (size_t i = 0; i < naive_others(c); i++) {
        struct who p = naive_other(c, i);
        bool takes = true;

        if (naive_same(&p, w))
            continue;
        for (size_t j = 0; all && j < all->pod_required_len; j++)
            takes = takes && naive_takes(c, &all->pod_required[j], w, &p);
        if (!all)
            takes = naive_takes(c, t, w, &p);
        for (size_t k = 0; takes && k < c->nodes_len; k++) {
            const struct node *at = &c->nodes[k];

            if (naive_is_on(&p, at) && (n ? naive_same_domain(t->topology_key, n, at)
                                          : naive_value(&at->meta.labels, t->topology_key) != NULL))
                return true;
        }
    }
    return false;
}

static bool
neighbours_do(const struct naive_cluster *c, const struct who *w, const struct node *n)
{
    const struct affinity *a = w->affinity;
    bool all_there = true, any_anywhere = false, takes_itself = a->pod_required_len > 0;

    for (size_t i = 0; i < a->pod_required_len; i++) {
        if (!naive_value(&n->meta.labels, a->pod_required[i].topology_key))
            return false;
        all_there = all_there && peer_there(c, w, a, &a->pod_required[i], n);
        any_anywhere = any_anywhere || peer_there(c, w, a, &a->pod_required[i], NULL);
        takes_itself = takes_itself && naive_takes(c, &a->pod_required[i], w, w);
    }
    if (!all_there && !(takes_itself && !any_anywhere))
        return false;
    for (size_t i = 0; i < a->pod_anti_required_len; i++)
        if (peer_there(c, w, NULL, &a->pod_anti_required[i], n))
            return false;
    for (size_t i = 0; i < naive_others(c); i++) {
        struct who p = naive_other(c, i);

        for (size_t j = 0; !naive_same(&p, w) && j < p.affinity->pod_anti_required_len; j++)
            for (size_t k = 0; k < c->nodes_len; k++)
                if (naive_is_on(&p, &c->nodes[k]) &&
                    naive_takes(c, &p.affinity->pod_anti_required[j], &p, w) &&
                    naive_same_domain(p.affinity->pod_anti_required[j].topology_key, n,
                                      &c->nodes[k]))
                    return false;
    }
    return true;
}

static bool
handler_lives(const struct node *n)
{
    const char *schedulable = naive_value(&n->meta.labels, "kubevirt.io/schedulable");

    return !schedulable || strcmp(schedulable, "true") == 0;
}

static bool
workloads_run(const struct naive_cluster *c, const struct node *n)
{
    for (size_t i = 0; i < c->hco->workloads.node_selector.len; i++) {
        const struct kv *kv = &c->hco->workloads.node_selector.items[i];
        const char *have = naive_value(&n->meta.labels, kv->key);

        if (!have || strcmp(have, kv->value) != 0)
            return false;
    }
    return true;
}

bool
naive_selected(const struct naive_cluster *c, const struct who *w, int source, const struct node *n)
{
    return affinity_holds(w, n) &&
           (!w->vmi || (handler_lives(n) && workloads_run(c, n) && cpu_does(c, w->vmi, source, n)));
}

bool
naive_fits(const struct naive_cluster *c, const struct naive_one *one, size_t n)
{
    static const struct taint cordon = {.key = "node.kubernetes.io/unschedulable",
                                        .effect = "NoSchedule"};
    const struct sched_config_args *added = naive_args(c, "NodeAffinity");
    const struct node *node = &c->nodes[n];
    struct who w = naive_who(one);

    if (one->source >= 0 && (size_t)one->source == n)
        return false;
    if (node->unschedulable && !naive_tolerates(&w, &cordon))
        return false;
    if (w.vmi && (!handler_lives(node) || !workloads_run(c, node)))
        return false;
    for (size_t i = 0; w.vmi && i < node->conditions.len; i++)
        if (strcmp(node->conditions.items[i].type, "Ready") == 0 &&
            strcmp(node->conditions.items[i].status, "True") != 0)
            return false;
    if (added && !required_holds(&added->added_affinity, node))
        return false;
    return naive_taints_allow(&w, node) && affinity_holds(&w, node) &&
           (!w.vmi || cpu_does(c, w.vmi, one->source, node)) && has_room(c, &w, node) &&
           naive_spread_holds(c, &w, one->source, node) && neighbours_do(c, &w, node);
}
