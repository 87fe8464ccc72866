/* Random clusters; see random_cluster.h. */
#include "tests/sched/random_cluster.h"

#include <string.h>

#include "base/cleanup.h"

#define GIB (INT64_C(1) << 30)

static const char *const zones[] = {"z1", "z2", "z3"};
static const char *const disks[] = {"ssd", "hdd", "3", "12"};
static const char *const apps[] = {"web", "db", "mail"};
static const char *const keys[] = {"zone", "host", "disk", "kubernetes.io/hostname"};
static const char *const revisions[] = {"1", "2"};
static const char *const spaces[] = {"default", "other"};
static const char *const sets[] = {"set1", "set2"};
static const char *const models[] = {"Penryn", "Haswell"};
static const char *const features[] = {"aes", "avx", "apic"};
static const char *const policies[] = {NULL, "require", "forbid", "optional", "disable", "force"};
static const char *const effects[] = {"NoSchedule", "NoExecute", "PreferNoSchedule"};

static size_t
below(struct random_cluster *g, size_t n)
{
    return (size_t)rng_below(&g->rng, n);
}

static bool
one_in(struct random_cluster *g, size_t n)
{
    return below(g, n) == 0;
}

#define PICK(g, list) ((list)[below((g), ARRAY_LEN(list))])

static void
add_label(struct random_cluster *g, struct kv_list *l, const char *key, const char *value)
{
    struct kv *items = arena_calloc(g->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] = (struct kv){key, value};
    l->items = items;
}

static struct quantity
units(int64_t n)
{
    return (struct quantity){.set = true, .units = n, .milli = n * 1000};
}

static void
add_resource(struct random_cluster *g, struct resource_list *l, const char *name, struct quantity q)
{
    struct resource *items = arena_calloc(g->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] = (struct resource){name, q};
    l->items = items;
}

static void
make_node(struct random_cluster *g, struct node *n, size_t i)
{
    struct kv_list *l = &n->meta.labels;

    *n = (struct node){.meta.name = arena_printf(g->a, "n%zu", i)};
    if (!one_in(g, 8))
        add_label(g, l, "host", n->meta.name);
    if (!one_in(g, 8))
        add_label(g, l, "kubernetes.io/hostname", n->meta.name);
    if (!one_in(g, 4))
        add_label(g, l, "topology.kubernetes.io/zone", PICK(g, zones));
    if (!one_in(g, 6))
        add_label(g, l, "zone", PICK(g, zones));
    if (one_in(g, 2))
        add_label(g, l, "disk", PICK(g, disks));
    if (one_in(g, 5))
        add_label(g, l, "kubevirt.io/schedulable", one_in(g, 3) ? "false" : "true");
    if (!one_in(g, 3)) {
        size_t m = below(g, 2);

        add_label(g, l, "cpu-model.node.kubevirt.io/Penryn", "true");
        if (m == 1)
            add_label(g, l, "cpu-model.node.kubevirt.io/Haswell", "true");
        if (!one_in(g, 4))
            add_label(g, l, arena_printf(g->a, "host-model-cpu.node.kubevirt.io/%s", models[m]),
                      "true");
        for (size_t f = 0; f < 2; f++)
            if (one_in(g, 2))
                add_label(g, l, arena_printf(g->a, "cpu-feature.node.kubevirt.io/%s", features[f]),
                          one_in(g, 5) ? "false" : "true");
    }
    n->unschedulable = one_in(g, 9);
    if (one_in(g, 4)) {
        n->conditions.items = arena_calloc(g->a, 1, sizeof(struct condition));
        n->conditions.items[n->conditions.len++] =
            (struct condition){.type = "Ready", .status = one_in(g, 4) ? "False" : "True"};
    }
    n->taints = arena_calloc(g->a, 2, sizeof(*n->taints));
    while (n->taints_len < 2 && one_in(g, 3))
        n->taints[n->taints_len++] = (struct taint){
            .key = one_in(g, 2) ? "k1" : "k2",
            .value = one_in(g, 3) ? NULL : "v",
            .effect = PICK(g, effects),
        };
    add_resource(g, &n->allocatable, "cpu",
                 (struct quantity){true, 1, (int64_t)below(g, 3000) + 1});
    add_resource(g, &n->allocatable, "memory", units(((int64_t)below(g, 16) + 1) * GIB));
    add_resource(g, &n->allocatable, "pods", units((int64_t)below(g, 9)));
    if (one_in(g, 3))
        add_resource(g, &n->allocatable, "ephemeral-storage", units((int64_t)below(g, 300)));
    if (one_in(g, 2))
        add_resource(g, &n->allocatable, "x/gpu", units((int64_t)below(g, 3)));
    if (one_in(g, 2))
        add_resource(g, &n->allocatable, "devices.kubevirt.io/kvm", units((int64_t)below(g, 5)));
}

static struct str_list
some_values(struct random_cluster *g, const char *const *from, size_t from_len)
{
    struct str_list l = {.items = arena_calloc(g->a, 2, sizeof(char *))};

    for (size_t n = below(g, 8) == 0 ? 0 : 1 + below(g, 2); l.len < n;)
        l.items[l.len++] = from[below(g, from_len)];
    return l;
}

static struct node_term
make_term(struct random_cluster *g)
{
    struct node_term t = {.exprs = arena_calloc(g->a, 2, sizeof(struct requirement))};

    while (t.exprs_len < 2 && !one_in(g, 4)) {
        struct requirement *r = &t.exprs[t.exprs_len++];

        *r = (struct requirement){.key = one_in(g, 2) ? "zone" : "disk"};
        r->op = (enum sel_op)below(g, SEL_UNKNOWN + (one_in(g, 10) ? 1 : 0));
        if (r->op == SEL_IN || r->op == SEL_NOT_IN || r->op == SEL_UNKNOWN)
            r->values = strcmp(r->key, "zone") == 0 ? some_values(g, zones, ARRAY_LEN(zones))
                                                    : some_values(g, disks, ARRAY_LEN(disks));
        if (r->op == SEL_GT || r->op == SEL_LT) {
            r->values.items = arena_calloc(g->a, 1, sizeof(char *));
            r->values.items[r->values.len++] = one_in(g, 2) ? "3" : "7";
        }
    }
    if (one_in(g, 6)) {
        t.fields = arena_calloc(g->a, 1, sizeof(struct requirement));
        t.fields_len = 1;
        t.fields[0] =
            (struct requirement){.key = "metadata.name", .op = one_in(g, 2) ? SEL_IN : SEL_NOT_IN};
        t.fields[0].values.items = arena_calloc(g->a, 1, sizeof(char *));
        t.fields[0].values.items[t.fields[0].values.len++] =
            arena_printf(g->a, "n%zu", below(g, RANDOM_NODES_MAX));
    }
    return t;
}

/* Few of them are NULL, or empty. */
static struct label_selector *
make_selector(struct random_cluster *g)
{
    struct label_selector *s = arena_alloc(g->a, sizeof(*s));

    if (one_in(g, 12))
        return NULL;
    if (!one_in(g, 10))
        add_label(g, &s->match_labels, "app", PICK(g, apps));
    return s;
}

static struct str_list
one_name(struct random_cluster *g, const char *name)
{
    struct str_list l = {.items = arena_calloc(g->a, 1, sizeof(char *)), .len = 1};

    l.items[0] = name;
    return l;
}

static struct pod_term
make_pod_term(struct random_cluster *g)
{
    struct pod_term t = {.selector = make_selector(g), .topology_key = PICK(g, keys)};

    if (one_in(g, 5))
        t.namespaces = one_name(g, PICK(g, spaces));
    if (one_in(g, 5)) {
        t.namespace_selector = arena_alloc(g->a, sizeof(*t.namespace_selector));
        if (one_in(g, 2))
            add_label(g, &t.namespace_selector->match_labels, "team", PICK(g, spaces));
    }
    if (one_in(g, 6))
        t.match_label_keys = one_name(g, "rev");
    if (one_in(g, 6))
        t.mismatch_label_keys = one_name(g, "rev");
    return t;
}

static struct pod_term *
make_peers(struct random_cluster *g, size_t *ret_len)
{
    struct pod_term *t = arena_calloc(g->a, 2, sizeof(*t));

    for (*ret_len = 0; *ret_len < 2 && one_in(g, 6); ++*ret_len)
        t[*ret_len] = make_pod_term(g);
    return t;
}

static struct weighted_pod_term *
make_liked_peers(struct random_cluster *g, size_t *ret_len)
{
    struct weighted_pod_term *t = arena_calloc(g->a, 2, sizeof(*t));

    for (*ret_len = 0; *ret_len < 2 && one_in(g, 4); ++*ret_len)
        t[*ret_len] = (struct weighted_pod_term){1 + (int64_t)below(g, 100), make_pod_term(g)};
    return t;
}

static void
make_affinity(struct random_cluster *g, struct affinity *a)
{
    if (one_in(g, 3)) {
        a->has_node_required = true;
        a->node_required = arena_calloc(g->a, 3, sizeof(*a->node_required));
        while (a->node_required_len < 3 && !one_in(g, 3))
            a->node_required[a->node_required_len++] = make_term(g);
    }
    a->node_preferred = arena_calloc(g->a, 3, sizeof(*a->node_preferred));
    while (a->node_preferred_len < 3 && one_in(g, 2))
        a->node_preferred[a->node_preferred_len++] =
            (struct preferred_node_term){1 + (int64_t)below(g, 100), make_term(g)};
    a->pod_required = make_peers(g, &a->pod_required_len);
    a->pod_anti_required = make_peers(g, &a->pod_anti_required_len);
    a->pod_preferred = make_liked_peers(g, &a->pod_preferred_len);
    a->pod_anti_preferred = make_liked_peers(g, &a->pod_anti_preferred_len);
}

static struct toleration *
make_tolerations(struct random_cluster *g, size_t *ret_len)
{
    struct toleration *list = arena_calloc(g->a, 2, sizeof(*list));

    for (*ret_len = 0; *ret_len < 2 && one_in(g, 2); ++*ret_len) {
        struct toleration *t = &list[*ret_len];

        *t = (struct toleration){.key = one_in(g, 2) ? "k1" : one_in(g, 2) ? "k2" : NULL};
        t->operator_ = !t->key || one_in(g, 2) ? "Exists" : one_in(g, 2) ? "Equal" : NULL;
        if (t->operator_ == NULL || strcmp(t->operator_, "Equal") == 0)
            t->value = "v";
        t->effect = one_in(g, 2) ? PICK(g, effects) : NULL;
    }
    return list;
}

/* Up to three, of which no two have the same key and effect. bare: without what a default constraint
 * may not have. */
static struct spread *
make_spreads(struct random_cluster *g, size_t *ret_len, bool bare)
{
    static const char *const honor[] = {NULL, "Honor", "Ignore"};
    struct spread *list = arena_calloc(g->a, 3, sizeof(*list));
    size_t len = 0;

    for (size_t i = 0; i < 3 && one_in(g, 3); i++) {
        struct spread s = {.max_skew = 1 + (int64_t)below(g, 3),
                           .topology_key = PICK(g, keys),
                           .when_unsatisfiable = one_in(g, 2) ? "DoNotSchedule" : "ScheduleAnyway",
                           .node_affinity_policy = PICK(g, honor),
                           .node_taints_policy = PICK(g, honor)};
        bool twice = false;

        if (!bare) {
            s.selector = make_selector(g);
            if (one_in(g, 4))
                s.match_label_keys = one_name(g, "rev");
        }
        if (one_in(g, 4) && strcmp(s.when_unsatisfiable, "DoNotSchedule") == 0) {
            s.has_min_domains = true;
            s.min_domains = 1 + (int64_t)below(g, 4);
        }
        for (size_t k = 0; k < len; k++)
            twice = twice || (strcmp(list[k].topology_key, s.topology_key) == 0 &&
                              strcmp(list[k].when_unsatisfiable, s.when_unsatisfiable) == 0);
        if (!twice)
            list[len++] = s;
    }
    *ret_len = len;
    return list;
}

static void
make_meta(struct random_cluster *g, struct meta *m, const char *name, const char *set_kind)
{
    *m = (struct meta){.name = name, .namespace_ = one_in(g, 4) ? "other" : "default"};
    add_label(g, &m->labels, "app", PICK(g, apps));
    if (one_in(g, 2))
        add_label(g, &m->labels, "rev", PICK(g, revisions));
    if (one_in(g, 10))
        m->deletion_us = 1;
    if (one_in(g, 3)) {
        m->owners = arena_calloc(g->a, 1, sizeof(*m->owners));
        m->owners[m->owners_len++] =
            (struct owner_ref){.kind = set_kind, .name = PICK(g, sets), .controller = true};
    }
}

static void
make_vmi(struct random_cluster *g, struct vmi *v, size_t i)
{
    struct vmi_domain *d = &v->spec.domain;

    *v = (struct vmi){0};
    make_meta(g, &v->meta, arena_printf(g->a, "vm%zu", i), "VirtualMachineInstanceReplicaSet");
    d->guest_memory = units((int64_t)below(g, 3) * GIB + (int64_t)below(g, 1000));
    d->has_autoattach_graphics = true;
    d->cpu.cores = (int64_t)below(g, 6);
    d->cpu.model = one_in(g, 4) ? PICK(g, models) : one_in(g, 5) ? "host-model" : NULL;
    d->cpu.features = arena_calloc(g->a, 2, sizeof(*d->cpu.features));
    while (d->cpu.features_len < 2 && one_in(g, 5))
        d->cpu.features[d->cpu.features_len++] =
            (struct cpu_feature){PICK(g, features), PICK(g, policies)};
    if (one_in(g, 6)) {
        d->gpus = arena_calloc(g->a, 1, sizeof(*d->gpus));
        d->gpus[d->gpus_len++] = (struct vmi_device){"g", "x/gpu"};
    }
    if (one_in(g, 5))
        add_label(g, &v->spec.node_selector, "zone", PICK(g, zones));
    make_affinity(g, &v->spec.affinity);
    v->spec.tolerations = make_tolerations(g, &v->spec.tolerations_len);
    v->spec.spreads = make_spreads(g, &v->spec.spreads_len, false);
    v->status.node_name = arena_printf(g->a, "n%zu", below(g, RANDOM_NODES_MAX));
    v->status.phase = one_in(g, 8) ? "Failed" : "Running";
    if (one_in(g, 5)) {
        struct migration_state *ms = &v->status.migration;

        *ms = (struct migration_state){
            .present = true, .completed = one_in(g, 3), .failed = one_in(g, 3)};
        ms->target_node = arena_printf(g->a, "n%zu", below(g, RANDOM_NODES_MAX));
    }
}

static struct resource_list
make_requests(struct random_cluster *g)
{
    struct resource_list l = {0};

    if (one_in(g, 2))
        add_resource(g, &l, "cpu", (struct quantity){true, 1, (int64_t)below(g, 5) * 150});
    if (one_in(g, 2))
        add_resource(g, &l, "memory", units((int64_t)below(g, 3) * GIB / 2));
    if (one_in(g, 5))
        add_resource(g, &l, "ephemeral-storage", units((int64_t)below(g, 90)));
    if (one_in(g, 6))
        add_resource(g, &l, "x/gpu", units((int64_t)below(g, 2)));
    return l;
}

static void
make_pod(struct random_cluster *g, struct pod *p, size_t i)
{
    *p = (struct pod){0};
    make_meta(g, &p->meta, arena_printf(g->a, "pod%zu", i), "ReplicaSet");
    if (one_in(g, 6))
        add_label(g, &p->node_selector, "zone", PICK(g, zones));
    make_affinity(g, &p->affinity);
    p->tolerations = make_tolerations(g, &p->tolerations_len);
    p->spreads = make_spreads(g, &p->spreads_len, false);
    p->containers = arena_calloc(g->a, 2, sizeof(*p->containers));
    do
        p->containers[p->containers_len++].requests = make_requests(g);
    while (p->containers_len < 2 && one_in(g, 3));
    p->init_containers = arena_calloc(g->a, 3, sizeof(*p->init_containers));
    while (p->init_containers_len < 3 && one_in(g, 3)) {
        struct pod_container *c = &p->init_containers[p->init_containers_len++];

        c->requests = make_requests(g);
        c->restart_policy = one_in(g, 2) ? "Always" : NULL;
    }
    if (one_in(g, 5))
        p->overhead = make_requests(g);
    p->node_name = arena_printf(g->a, "n%zu", below(g, RANDOM_NODES_MAX));
    p->phase = one_in(g, 8) ? "Succeeded" : "Running";
}

/* --- profiles --- */

static const char *const plugin_names[] = {
    "TaintToleration",   "NodeAffinity",     "NodeResourcesFit", "NodeResourcesBalancedAllocation",
    "PodTopologySpread", "InterPodAffinity", "ImageLocality"};

static struct sched_config_plugins
make_plugins(struct random_cluster *g)
{
    struct sched_config_plugins p = {
        .enabled = arena_calloc(g->a, ARRAY_LEN(plugin_names), sizeof(struct sched_config_plugin)),
        .disabled = arena_calloc(g->a, 2, sizeof(*p.disabled))};

    for (size_t i = 0; i < ARRAY_LEN(plugin_names); i++)
        if (one_in(g, 5))
            p.enabled[p.enabled_len++] =
                (struct sched_config_plugin){plugin_names[i], (int64_t)below(g, 9)};
    while (p.disabled_len < 2 && one_in(g, 3))
        p.disabled[p.disabled_len++].name = one_in(g, 4) ? "*" : PICK(g, plugin_names);
    return p;
}

/* Each at most once. */
static struct sched_config_resource *
make_resources(struct random_cluster *g, int64_t most_weight, size_t *ret_len)
{
    static const char *const names[] = {"cpu",   "memory", "ephemeral-storage",
                                        "x/gpu", "pods",   "devices.kubevirt.io/kvm"};
    struct sched_config_resource *list = arena_calloc(g->a, ARRAY_LEN(names), sizeof(*list));

    *ret_len = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (one_in(g, 2))
            list[(*ret_len)++] = (struct sched_config_resource){
                names[i], (int64_t)below(g, (size_t)most_weight + 1)};
    return list;
}

static void
make_fit(struct random_cluster *g, struct sched_config_args *args)
{
    static const char *const strategies[] = {"LeastAllocated", "MostAllocated",
                                             "RequestedToCapacityRatio"};

    args->name = "NodeResourcesFit";
    args->strategy = PICK(g, strategies);
    args->resources = make_resources(g, 100, &args->resources_len);
    if (one_in(g, 6))
        args->ignored_resources = one_name(g, "x/gpu");
    if (one_in(g, 6))
        args->ignored_groups = one_name(g, "x");
    args->shape = arena_calloc(g->a, 4, sizeof(*args->shape));
    for (int64_t at = (int64_t)below(g, 60); at <= 100 && args->shape_len < 4;
         at += 1 + (int64_t)below(g, 60))
        args->shape[args->shape_len++] = (struct sched_config_point){at, (int64_t)below(g, 11)};
}

static void
make_config(struct random_cluster *g)
{
    struct sched_config_profile *p = arena_alloc(g->a, sizeof(*p));
    struct sched_config_args *args = arena_calloc(g->a, 5, sizeof(*args));

    g->config = (struct sched_config){.profiles = p, .profiles_len = 1};
    p->multi_point = make_plugins(g);
    p->score = make_plugins(g);
    p->args = args;
    if (one_in(g, 2))
        make_fit(g, &args[p->args_len++]);
    if (one_in(g, 2)) {
        args[p->args_len].name = "NodeResourcesBalancedAllocation";
        args[p->args_len].resources = make_resources(g, 1, &args[p->args_len].resources_len);
        p->args_len++;
    }
    if (one_in(g, 2))
        args[p->args_len++] = (struct sched_config_args){.name = "InterPodAffinity",
                                                         .has_hard_weight = one_in(g, 2),
                                                         .hard_weight = (int64_t)below(g, 101),
                                                         .ignore_preferred = one_in(g, 3)};
    if (one_in(g, 2)) {
        bool list = !one_in(g, 3);

        args[p->args_len].name = "PodTopologySpread";
        args[p->args_len].defaulting_type = list ? "List" : one_in(g, 2) ? "System" : NULL;
        if (list)
            args[p->args_len].default_constraints =
                make_spreads(g, &args[p->args_len].default_constraints_len, true);
        p->args_len++;
    }
    if (one_in(g, 3)) {
        struct affinity added = {0};

        make_affinity(g, &added);
        args[p->args_len].name = "NodeAffinity";
        args[p->args_len].added_affinity =
            (struct affinity){.has_node_required = added.has_node_required && one_in(g, 2),
                              .node_required = added.node_required,
                              .node_required_len = added.node_required_len,
                              .node_preferred = added.node_preferred,
                              .node_preferred_len = added.node_preferred_len};
        p->args_len++;
    }
}

void
random_cluster_make(struct random_cluster *g, uint64_t seed)
{
    size_t nodes, vmis, pods;

    rng_seed(&g->rng, seed);
    nodes = 1 + below(g, RANDOM_NODES_MAX);
    vmis = below(g, RANDOM_VMIS_MAX);
    pods = one_in(g, 2) ? 0 : below(g, RANDOM_PODS_MAX);
    g->hco = (struct hco){0};
    if (one_in(g, 6))
        g->hco.default_cpu_model = PICK(g, models);
    if (one_in(g, 3)) {
        g->hco.has_cpu_ratio = true;
        g->hco.cpu_allocation_ratio = 1 + (int64_t)below(g, 12);
    }
    if (one_in(g, 8))
        add_label(g, &g->hco.workloads.node_selector, "disk", "ssd");
    for (size_t i = 0; i < 2; i++) {
        g->namespaces[i] = (struct namespace_){.meta.name = spaces[i]};
        add_label(g, &g->namespaces[i].meta.labels, "team", PICK(g, spaces));
    }
    for (size_t i = 0; i < nodes; i++)
        make_node(g, &g->nodes[i], i);
    for (size_t i = 0; i <= vmis; i++)
        make_vmi(g, &g->vmis[i], i);
    for (size_t i = 0; i <= pods; i++)
        make_pod(g, &g->pods[i], i);
    g->c = (struct naive_cluster){g->nodes, nodes,         g->vmis, vmis,    g->pods,
                                  pods,     g->namespaces, 2,       &g->hco, NULL};
    g->config = (struct sched_config){0};
    if (one_in(g, 2)) {
        make_config(g);
        g->c.config = &g->config.profiles[0];
    }
    g->one = (struct naive_one){.vmi = &g->vmis[vmis], .source = -1};
    if (one_in(g, 3)) { /* the last one runs, and migrates */
        g->one.source = (int)below(g, nodes);
        g->vmis[vmis].status.node_name = g->nodes[g->one.source].meta.name;
        g->vmis[vmis].status.phase = "Running";
        g->c.vmis_len++;
    } else if (one_in(g, 3)) {
        g->one = (struct naive_one){.pod = &g->pods[pods], .source = -1};
    }
}
