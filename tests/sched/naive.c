/* The rules of placement, naively; see naive.h. */
#include "tests/sched/naive.h"

#include <stdlib.h>
#include <string.h>

static const char *
value_of(const struct kv_list *l, const char *key)
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

static bool
term_holds(const struct node_term *t, const struct node *n)
{
    if (t->exprs_len + t->fields_len == 0)
        return false;
    for (size_t i = 0; i < t->exprs_len; i++)
        if (t->exprs[i].op == SEL_UNKNOWN ||
            ((t->exprs[i].op == SEL_IN || t->exprs[i].op == SEL_NOT_IN) &&
             t->exprs[i].values.len == 0))
            return false; /* poison */
    for (size_t i = 0; i < t->exprs_len; i++)
        if (!holds(&t->exprs[i], value_of(&n->meta.labels, t->exprs[i].key)))
            return false;
    for (size_t i = 0; i < t->fields_len; i++)
        if (!holds(&t->fields[i], n->meta.name))
            return false;
    return true;
}

static bool
affinity_holds(const struct vmi *v, const struct node *n)
{
    const struct affinity *a = &v->spec.affinity;

    for (size_t i = 0; i < v->spec.node_selector.len; i++) {
        const char *have = value_of(&n->meta.labels, v->spec.node_selector.items[i].key);

        if (!have || strcmp(have, v->spec.node_selector.items[i].value) != 0)
            return false;
    }
    if (!a->has_node_required)
        return true;
    for (size_t i = 0; i < a->node_required_len; i++)
        if (term_holds(&a->node_required[i], n))
            return true;
    return false;
}

static bool
tolerates(const struct vmi *v, const struct taint *t)
{
    for (size_t i = 0; i < v->spec.tolerations_len; i++) {
        const struct toleration *o = &v->spec.tolerations[i];
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

static bool
taints_allow(const struct vmi *v, const struct node *n)
{
    for (size_t i = 0; i < n->taints_len; i++)
        if (strcmp(n->taints[i].effect, "PreferNoSchedule") != 0 && !tolerates(v, &n->taints[i]))
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

struct sums {
    int64_t cpu, memory, pods, gpus, kvm;
};

/* The generator's VMs have a guest size, cores, GPUs, and no graphics. */
static struct sums
asks(const struct naive_cluster *c, const struct vmi *v)
{
    int64_t guest = v->spec.domain.guest_memory.units;
    int64_t cores = v->spec.domain.cpu.cores ? v->spec.domain.cpu.cores : 1;
    int64_t ratio = c->hco->has_cpu_ratio ? c->hco->cpu_allocation_ratio : 10;
    int64_t gpus = (int64_t)v->spec.domain.gpus_len;

    return (struct sums){
        .cpu = (cores * 1000 + ratio - 1) / ratio,
        .memory = (guest * 1002 + 999) / 1000 + (218 + 8 * cores + 1024 * gpus) * 1048576,
        .pods = 1,
        .gpus = gpus,
        .kvm = 1,
    };
}

static bool
same_vm(const struct vmi *a, const struct vmi *b)
{
    return strcmp(a->meta.name, b->meta.name) == 0 &&
           strcmp(a->meta.namespace_, b->meta.namespace_) == 0;
}

static bool
is_on(const struct vmi *v, const struct node *n)
{
    const struct migration_state *ms = &v->status.migration;

    if (v->status.phase &&
        (strcmp(v->status.phase, "Succeeded") == 0 || strcmp(v->status.phase, "Failed") == 0))
        return false;
    return strcmp(v->status.node_name, n->meta.name) == 0 ||
           (ms->present && !ms->failed && ms->target_node &&
            strcmp(ms->target_node, n->meta.name) == 0);
}

static struct sums
used(const struct naive_cluster *c, const struct vmi *v, const struct node *n)
{
    struct sums sum = {0};

    for (size_t i = 0; i < c->vmis_len; i++) {
        struct sums one = asks(c, &c->vmis[i]);

        if (same_vm(&c->vmis[i], v) || !is_on(&c->vmis[i], n))
            continue;
        sum.cpu += one.cpu;
        sum.memory += one.memory;
        sum.pods += one.pods;
        sum.gpus += one.gpus;
        sum.kvm += one.kvm;
    }
    return sum;
}

static int64_t
total(const struct node *n, const char *name, bool milli)
{
    for (size_t i = 0; i < n->allocatable.len; i++)
        if (strcmp(n->allocatable.items[i].name, name) == 0)
            return milli ? n->allocatable.items[i].q.milli : n->allocatable.items[i].q.units;
    return -1;
}

static bool
has_room(const struct naive_cluster *c, const struct vmi *v, const struct node *n)
{
    struct sums want = asks(c, v), have = used(c, v, n);
    int64_t kvm = total(n, "devices.kubevirt.io/kvm", false);

    return want.cpu + have.cpu <= total(n, "cpu", true) &&
           want.memory + have.memory <= total(n, "memory", false) &&
           want.pods + have.pods <= total(n, "pods", false) &&
           (want.gpus == 0 || want.gpus + have.gpus <= total(n, "x/gpu", false)) &&
           (kvm < 0 || want.kvm + have.kvm <= kvm);
}

static bool
selects(const struct label_selector *s, const struct kv_list *labels)
{
    for (size_t i = 0; i < s->match_labels.len; i++) {
        const char *have = value_of(labels, s->match_labels.items[i].key);

        if (!have || strcmp(have, s->match_labels.items[i].value) != 0)
            return false;
    }
    return true;
}

/* Terms of the generator's: one selector by label, the VM's own namespace. */
static bool
term_takes(const struct pod_term *t, const struct vmi *owner, const struct vmi *other)
{
    return strcmp(owner->meta.namespace_, other->meta.namespace_) == 0 &&
           selects(t->selector, &other->meta.labels);
}

static bool
same_domain(const char *key, const struct node *a, const struct node *b)
{
    const char *x = value_of(&a->meta.labels, key), *y = value_of(&b->meta.labels, key);

    return x && y && strcmp(x, y) == 0;
}

/* Is there a peer for which `t` holds, in n's domain? (n NULL: in any domain) */
static bool
peer_there(const struct naive_cluster *c, const struct vmi *v, const struct affinity *all,
           const struct pod_term *t, const struct node *n)
{
    for (size_t i = 0; i < c->vmis_len; i++) {
        const struct vmi *p = &c->vmis[i];
        bool takes = all != NULL;

        if (same_vm(p, v))
            continue;
        for (size_t j = 0; all && j < all->pod_required_len; j++)
            takes = takes && term_takes(&all->pod_required[j], v, p);
        if (!all)
            takes = term_takes(t, v, p);
        for (size_t k = 0; takes && k < c->nodes_len; k++) {
            const struct node *at = &c->nodes[k];

            if (is_on(p, at) && (n ? same_domain(t->topology_key, n, at)
                                   : value_of(&at->meta.labels, t->topology_key) != NULL))
                return true;
        }
    }
    return false;
}

static bool
neighbours_do(const struct naive_cluster *c, const struct vmi *v, const struct node *n)
{
    const struct affinity *a = &v->spec.affinity;
    bool all_there = true, any_anywhere = false, takes_itself = a->pod_required_len > 0;

    for (size_t i = 0; i < a->pod_required_len; i++) {
        if (!value_of(&n->meta.labels, a->pod_required[i].topology_key))
            return false;
        all_there = all_there && peer_there(c, v, a, &a->pod_required[i], n);
        any_anywhere = any_anywhere || peer_there(c, v, a, &a->pod_required[i], NULL);
        takes_itself = takes_itself && selects(a->pod_required[i].selector, &v->meta.labels);
    }
    if (!all_there && !(takes_itself && !any_anywhere))
        return false;
    for (size_t i = 0; i < a->pod_anti_required_len; i++)
        if (peer_there(c, v, NULL, &a->pod_anti_required[i], n))
            return false;
    for (size_t i = 0; i < c->vmis_len; i++) {
        const struct vmi *p = &c->vmis[i];

        for (size_t j = 0; !same_vm(p, v) && j < p->spec.affinity.pod_anti_required_len; j++)
            for (size_t k = 0; k < c->nodes_len; k++)
                if (is_on(p, &c->nodes[k]) &&
                    term_takes(&p->spec.affinity.pod_anti_required[j], p, v) &&
                    same_domain(p->spec.affinity.pod_anti_required[j].topology_key, n,
                                &c->nodes[k]))
                    return false;
    }
    return true;
}

static bool
handler_lives(const struct node *n)
{
    const char *schedulable = value_of(&n->meta.labels, "kubevirt.io/schedulable");

    return !schedulable || strcmp(schedulable, "true") == 0;
}

static bool
workloads_run(const struct naive_cluster *c, const struct node *n)
{
    for (size_t i = 0; i < c->hco->workloads.node_selector.len; i++) {
        const struct kv *kv = &c->hco->workloads.node_selector.items[i];
        const char *have = value_of(&n->meta.labels, kv->key);

        if (!have || strcmp(have, kv->value) != 0)
            return false;
    }
    return true;
}

/* Does the node count in topology spread? */
static bool
counts(const struct naive_cluster *c, const struct vmi *v, int source, const struct node *n)
{
    return affinity_holds(v, n) && handler_lives(n) && workloads_run(c, n) &&
           cpu_does(c, v, source, n);
}

static int64_t
count_in_domain(const struct naive_cluster *c, const struct vmi *v, int source,
                const struct spread *s, const struct node *n)
{
    int64_t count = 0;

    for (size_t k = 0; k < c->nodes_len; k++) {
        if (!same_domain(s->topology_key, n, &c->nodes[k]) || !counts(c, v, source, &c->nodes[k]))
            continue;
        for (size_t i = 0; i < c->vmis_len; i++)
            if (!same_vm(&c->vmis[i], v) && is_on(&c->vmis[i], &c->nodes[k]) &&
                strcmp(c->vmis[i].meta.namespace_, v->meta.namespace_) == 0 &&
                selects(s->selector, &c->vmis[i].meta.labels))
                count++;
    }
    return count;
}

/* The generator's VMs have one hard constraint at most. */
static bool
spread_holds(const struct naive_cluster *c, const struct vmi *v, int source, const struct node *n)
{
    for (size_t i = 0; i < v->spec.spreads_len; i++) {
        const struct spread *s = &v->spec.spreads[i];
        int64_t least = INT64_MAX, self = selects(s->selector, &v->meta.labels);

        if (!value_of(&n->meta.labels, s->topology_key))
            return false;
        for (size_t k = 0; k < c->nodes_len; k++) {
            int64_t count;

            if (!value_of(&c->nodes[k].meta.labels, s->topology_key) ||
                !counts(c, v, source, &c->nodes[k]))
                continue;
            count = count_in_domain(c, v, source, s, &c->nodes[k]);
            least = count < least ? count : least;
        }
        if (least == INT64_MAX)
            least = 0;
        if (count_in_domain(c, v, source, s, n) + self - least > s->max_skew)
            return false;
    }
    return true;
}

bool
naive_fits(const struct naive_cluster *c, const struct vmi *v, int source, size_t n)
{
    static const struct taint cordon = {.key = "node.kubernetes.io/unschedulable",
                                        .effect = "NoSchedule"};
    const struct node *node = &c->nodes[n];

    if (source >= 0 && (size_t)source == n)
        return false;
    if (node->unschedulable && !tolerates(v, &cordon))
        return false;
    if (!handler_lives(node) || !workloads_run(c, node))
        return false;
    for (size_t i = 0; i < node->conditions.len; i++)
        if (strcmp(node->conditions.items[i].type, "Ready") == 0 &&
            strcmp(node->conditions.items[i].status, "True") != 0)
            return false;
    return taints_allow(v, node) && affinity_holds(v, node) && cpu_does(c, v, source, node) &&
           has_room(c, v, node) && spread_holds(c, v, source, node) && neighbours_do(c, v, node);
}

int64_t
naive_free_score(const struct naive_cluster *c, const struct vmi *v, size_t n)
{
    const struct node *node = &c->nodes[n];
    struct sums have = used(c, v, node), want = asks(c, v);
    int64_t cpu = total(node, "cpu", true), memory = total(node, "memory", false);
    int64_t free_cpu = (cpu - have.cpu - want.cpu) * 100 / cpu;
    int64_t free_memory = (memory - have.memory - want.memory) * 100 / memory;

    return (free_cpu + free_memory) / 2;
}

int64_t
naive_preference(const struct vmi *v, const struct node *n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < v->spec.affinity.node_preferred_len; i++)
        if (term_holds(&v->spec.affinity.node_preferred[i].preference, n))
            sum += v->spec.affinity.node_preferred[i].weight;
    return sum;
}

int64_t
naive_soft_taints(const struct vmi *v, const struct node *n)
{
    int64_t count = 0;

    for (size_t i = 0; i < n->taints_len; i++)
        if (strcmp(n->taints[i].effect, "PreferNoSchedule") == 0 && !tolerates(v, &n->taints[i]))
            count++;
    return count;
}
