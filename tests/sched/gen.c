/* Random clusters that change; see gen.h. Objects come from a template seed, so that several ask
 * for the same thing, as real ones do. */
#include "tests/sched/gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"

#define GIB (INT64_C(1) << 30)

/* Claims in each rich cluster: the first can be reached from everywhere, the second from one
 * zone. */
static const struct pvc claims[] = {
    {.meta = {.name = "claim0", .namespace_ = "default"}, .volume_name = "pv0", .phase = "Bound"},
    {.meta = {.name = "claim1", .namespace_ = "default"}, .volume_name = "pv1", .phase = "Bound"},
};
static struct node_term in_z1 = {
    .exprs =
        (struct requirement[]){
            {.key = "zone", .op = SEL_IN, .values = {.items = (const char *[]){"z1"}, .len = 1}}},
    .exprs_len = 1};
static const struct pv volumes[] = {
    {.meta.name = "pv0"},
    {.meta.name = "pv1",
     .has_node_required = true,
     .node_required = &in_z1,
     .node_required_len = 1},
};
/* What an administrator may ask of all VMs. */
static struct kv in_ssd = {"disk", "ssd"}, web = {"app", "web"};
static struct label_selector webs = {.match_labels = {.items = &web, .len = 1}};
static struct weighted_pod_term apart = {.weight = 40,
                                         .term = {.selector = &webs, .topology_key = "zone"}};
static const struct nad network = {
    .meta = {.name = "net",
             .namespace_ = "default",
             .annotations = {.items = (struct kv[]){{"k8s.v1.cni.cncf.io/resourceName", "x/gpu"}},
                             .len = 1}}};

struct maker { /* makes one object */
    struct rng rng;
    struct arena *a;
    enum gen_style style;
};

static const char *const zones[] = {"z1", "z2", "z3"};
static const char *const disks[] = {"ssd", "hdd", "3", "12"};
static const char *const apps[] = {"web", "db", "mail"};
static const char *const topologies[] = {"zone", "kubernetes.io/hostname", "disk", "rack"};
static const char *const spaces[] = {"default", "other", "third"};
static const char *const features[] = {"aes", "avx", "apic"};
static const char *const policies[] = {NULL, "require", "forbid", "optional"};
static const char *const effects[] = {"NoSchedule", "NoExecute", "PreferNoSchedule",
                                      "PreferNoSchedule"};

static size_t
below(struct rng *r, size_t n)
{
    return (size_t)rng_below(r, n);
}

#define ONE_IN(m, n)  (below(&(m)->rng, (n)) == 0)
#define PICK(m, list) ((list)[below(&(m)->rng, ARRAY_LEN(list))])

size_t
gen_below(struct gen *g, size_t n)
{
    return below(&g->rng, n);
}

static void
add_pair(struct maker *m, struct kv_list *l, const char *key, const char *value)
{
    struct kv *items = arena_calloc(m->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] = (struct kv){key, value};
    l->items = items;
}

static void
add_resource(struct maker *m, struct resource_list *l, const char *name, int64_t units)
{
    struct resource *items = arena_calloc(m->a, l->len + 1, sizeof(*items));

    if (l->len > 0)
        memcpy(items, l->items, l->len * sizeof(*items));
    items[l->len++] =
        (struct resource){name,
                          {.set = true,
                           .units = units,
                           .milli = units > INT64_MAX / 1000 ? INT64_MAX : units * 1000}};
    l->items = items;
}

static void
add_milli(struct maker *m, struct resource_list *l, const char *name, int64_t milli)
{
    add_resource(m, l, name, (milli + 999) / 1000);
    l->items[l->len - 1].q.milli = milli;
}

static struct node *
make_node(struct maker *m, const char *name)
{
    struct node *n = arena_alloc(m->a, sizeof(*n));
    struct kv_list *l = &n->meta.labels;
    bool rich = m->style == GEN_RICH;

    n->meta.name = arena_strdup(m->a, name);
    if (ONE_IN(m, 2))
        add_pair(m, l, "disk", PICK(m, disks));
    if (!ONE_IN(m, 12))
        add_pair(m, l, "kubernetes.io/hostname", ONE_IN(m, 10) ? "shared" : n->meta.name);
    if (ONE_IN(m, 3))
        add_pair(m, l, "rack", arena_printf(m->a, "r%zu", below(&m->rng, 12)));
    if (!ONE_IN(m, 6))
        add_pair(m, l, "zone", PICK(m, zones));
    if (rich && ONE_IN(m, 3)) { /* not in order */
        add_pair(m, l, "cpu-model.node.kubevirt.io/Penryn", "true");
        add_pair(m, l, "host-model-cpu.node.kubevirt.io/Penryn", "true");
        for (size_t f = 0; f < 2; f++)
            if (ONE_IN(m, 2))
                add_pair(m, l, arena_printf(m->a, "cpu-feature.node.kubevirt.io/%s", features[f]),
                         ONE_IN(m, 5) ? "false" : "true");
    }
    if (rich && ONE_IN(m, 2))
        add_pair(m, l, "cpu-timer.node.kubevirt.io/tsc-frequency",
                 ONE_IN(m, 3) ? "3000000000" : "2000000000");
    if (!ONE_IN(m, 9))
        add_pair(m, l, "kubevirt.io/schedulable", ONE_IN(m, 9) ? "false" : "true");
    if (!ONE_IN(m, 9))
        add_pair(m, &n->meta.annotations, "kubevirt.io/heartbeat",
                 arena_printf(m->a, "\"2026-01-01T00:%02zu:00Z\"", below(&m->rng, 10)));
    n->unschedulable = ONE_IN(m, 14);
    n->conditions.items = arena_calloc(m->a, 2, sizeof(struct condition));
    if (ONE_IN(m, 4))
        n->conditions.items[n->conditions.len++] =
            (struct condition){.type = "Ready", .status = ONE_IN(m, 4) ? "False" : "True"};
    if (ONE_IN(m, 4))
        n->conditions.items[n->conditions.len++] = (struct condition){
            .type = PLACE_NETWORK_CONDITION, .status = ONE_IN(m, 2) ? "False" : "True"};
    n->taints = arena_calloc(m->a, 2, sizeof(*n->taints));
    while (n->taints_len < 2 && ONE_IN(m, 6))
        n->taints[n->taints_len++] = (struct taint){
            .key = ONE_IN(m, 2) ? "k1" : "k2",
            .value = ONE_IN(m, 3) ? NULL : "v",
            .effect = PICK(m, effects),
        };
    if (!ONE_IN(m, 20))
        add_milli(m, &n->allocatable, "cpu", 500 + (int64_t)below(&m->rng, 6000));
    add_resource(m, &n->allocatable, "memory",
                 ONE_IN(m, 40) ? INT64_MAX : (2 + (int64_t)below(&m->rng, 40)) * GIB);
    add_resource(m, &n->allocatable, "pods", 2 + (int64_t)below(&m->rng, 16));
    if (ONE_IN(m, 2))
        add_resource(m, &n->allocatable, "devices.kubevirt.io/kvm", (int64_t)below(&m->rng, 20));
    if (rich && ONE_IN(m, 2))
        add_resource(m, &n->allocatable, "x/gpu", (int64_t)below(&m->rng, 3));
    if (rich && ONE_IN(m, 2))
        add_resource(m, &n->allocatable, "ephemeral-storage", (int64_t)below(&m->rng, 3) * GIB);
    return n;
}

static struct str_list
some_values(struct maker *m, const char *const *from, size_t from_len)
{
    struct str_list l = {.items = arena_calloc(m->a, 2, sizeof(char *))};

    for (size_t n = ONE_IN(m, 12) ? 0 : 1 + below(&m->rng, 2); l.len < n;)
        l.items[l.len++] = from[below(&m->rng, from_len)];
    return l;
}

static struct str_list
one_value(struct maker *m, const char *value)
{
    struct str_list l = {.items = arena_calloc(m->a, 1, sizeof(char *)), .len = 1};

    l.items[0] = value;
    return l;
}

static struct node_term
make_node_term(struct maker *m)
{
    struct node_term t = {.exprs = arena_calloc(m->a, 2, sizeof(struct requirement))};

    while (t.exprs_len < 2 && !ONE_IN(m, 3)) {
        struct requirement *r = &t.exprs[t.exprs_len++];

        *r = (struct requirement){.key = ONE_IN(m, 2) ? "zone" : "disk"};
        r->op = (enum sel_op)below(&m->rng, SEL_UNKNOWN + (ONE_IN(m, 20) ? 1 : 0));
        if (r->op == SEL_IN || r->op == SEL_NOT_IN || r->op == SEL_UNKNOWN)
            r->values = strcmp(r->key, "zone") == 0 ? some_values(m, zones, ARRAY_LEN(zones))
                                                    : some_values(m, disks, ARRAY_LEN(disks));
        if (r->op == SEL_GT || r->op == SEL_LT)
            r->values = one_value(m, ONE_IN(m, 2) ? "3" : "7");
        if (ONE_IN(m, 6)) { /* a host */
            r->key = "kubernetes.io/hostname";
            r->op = ONE_IN(m, 2) ? SEL_IN : SEL_NOT_IN;
            r->values = one_value(m, arena_printf(m->a, "n%zu", below(&m->rng, 12)));
        }
    }
    if (ONE_IN(m, 8)) {
        t.fields = arena_calloc(m->a, 1, sizeof(struct requirement));
        t.fields_len = 1;
        t.fields[0] =
            (struct requirement){.key = "metadata.name", .op = ONE_IN(m, 2) ? SEL_IN : SEL_NOT_IN};
        t.fields[0].values = one_value(m, arena_printf(m->a, "n%zu", below(&m->rng, 12)));
    }
    return t;
}

static struct label_selector *
make_selector(struct maker *m)
{
    struct label_selector *s = arena_alloc(m->a, sizeof(*s));

    if (!ONE_IN(m, 8))
        add_pair(m, &s->match_labels, "app", PICK(m, apps));
    if (ONE_IN(m, 6)) {
        s->exprs = arena_calloc(m->a, 1, sizeof(*s->exprs));
        s->exprs_len = 1;
        s->exprs[0] = (struct requirement){.key = "tier", .op = SEL_EXISTS};
    }
    return s;
}

static struct pod_term
make_peer(struct maker *m)
{
    struct pod_term t = {.selector = make_selector(m), .topology_key = PICK(m, topologies)};

    if (m->style != GEN_RICH)
        return t;
    if (ONE_IN(m, 5))
        t.namespaces = one_value(m, PICK(m, spaces));
    if (ONE_IN(m, 6)) {
        t.namespace_selector = arena_alloc(m->a, sizeof(*t.namespace_selector));
        if (ONE_IN(m, 2))
            add_pair(m, &t.namespace_selector->match_labels, "team", ONE_IN(m, 2) ? "a" : "b");
    }
    if (ONE_IN(m, 6))
        t.match_label_keys = one_value(m, ONE_IN(m, 2) ? "version" : "app");
    if (ONE_IN(m, 8))
        t.mismatch_label_keys = one_value(m, "version");
    return t;
}

static void
make_peers(struct maker *m, struct affinity *a)
{
    size_t odds = m->style == GEN_RICH ? 6 : 4;

    a->pod_required = arena_calloc(m->a, 2, sizeof(*a->pod_required));
    a->pod_anti_required = arena_calloc(m->a, 2, sizeof(*a->pod_anti_required));
    a->pod_preferred = arena_calloc(m->a, 2, sizeof(*a->pod_preferred));
    a->pod_anti_preferred = arena_calloc(m->a, 2, sizeof(*a->pod_anti_preferred));
    while (a->pod_required_len < 2 && ONE_IN(m, odds + 2))
        a->pod_required[a->pod_required_len++] = make_peer(m);
    while (a->pod_anti_required_len < 2 && ONE_IN(m, odds))
        a->pod_anti_required[a->pod_anti_required_len++] = make_peer(m);
    while (a->pod_preferred_len < 2 && ONE_IN(m, odds))
        a->pod_preferred[a->pod_preferred_len++] = (struct weighted_pod_term){
            .weight = 1 + (int64_t)below(&m->rng, 100), .term = make_peer(m)};
    while (a->pod_anti_preferred_len < 2 && ONE_IN(m, odds))
        a->pod_anti_preferred[a->pod_anti_preferred_len++] = (struct weighted_pod_term){
            .weight = 1 + (int64_t)below(&m->rng, 100), .term = make_peer(m)};
}

static struct spread *
make_spreads(struct maker *m, size_t *ret_len)
{
    struct spread *l = arena_calloc(m->a, 2, sizeof(*l));
    bool rich = m->style == GEN_RICH;

    for (*ret_len = 0; *ret_len < 2 && ONE_IN(m, 3); ++*ret_len) {
        struct spread *s = &l[*ret_len];

        *s =
            (struct spread){.max_skew = 1 + (int64_t)below(&m->rng, 2),
                            .topology_key = PICK(m, topologies),
                            .when_unsatisfiable = ONE_IN(m, 2) ? "DoNotSchedule" : "ScheduleAnyway",
                            .selector = make_selector(m)};
        if (!rich)
            continue;
        if (ONE_IN(m, 4)) {
            s->has_min_domains = true;
            s->min_domains = 1 + (int64_t)below(&m->rng, 4);
        }
        if (ONE_IN(m, 4))
            s->node_affinity_policy = ONE_IN(m, 2) ? "Ignore" : "Honor";
        if (ONE_IN(m, 4))
            s->node_taints_policy = ONE_IN(m, 2) ? "Ignore" : "Honor";
        if (ONE_IN(m, 5))
            s->match_label_keys = one_value(m, "version");
    }
    return l;
}

static void
make_node_affinity(struct maker *m, struct affinity *a)
{
    a->node_required = arena_calloc(m->a, 2, sizeof(*a->node_required));
    if (ONE_IN(m, 6)) {
        a->has_node_required = true;
        while (a->node_required_len < 2 && !ONE_IN(m, 3))
            a->node_required[a->node_required_len++] = make_node_term(m);
    }
    a->node_preferred = arena_calloc(m->a, 2, sizeof(*a->node_preferred));
    while (a->node_preferred_len < 2 && ONE_IN(m, 4))
        a->node_preferred[a->node_preferred_len++] = (struct preferred_node_term){
            .weight = 1 + (int64_t)below(&m->rng, 100), .preference = make_node_term(m)};
}

static struct toleration *
make_tolerations(struct maker *m, size_t *ret_len)
{
    struct toleration *l = arena_calloc(m->a, 2, sizeof(*l));

    for (*ret_len = 0; *ret_len < 2 && ONE_IN(m, 2); ++*ret_len) {
        struct toleration *t = &l[*ret_len];

        *t = (struct toleration){.key = ONE_IN(m, 2) ? "k1" : ONE_IN(m, 2) ? "k2" : NULL};
        t->operator_ = !t->key || ONE_IN(m, 2) ? "Exists" : NULL;
        if (!t->operator_)
            t->value = "v";
        t->effect = ONE_IN(m, 2) ? PICK(m, effects) : NULL;
    }
    return l;
}

static void
make_labels(struct maker *m, struct kv_list *l, const char *name)
{
    if (!ONE_IN(m, 6))
        add_pair(m, l, "app", PICK(m, apps));
    add_pair(m, l, "name", name); /* nobody selects by it */
    if (ONE_IN(m, 4))
        add_pair(m, l, "tier", "front");
    if (ONE_IN(m, 3))
        add_pair(m, l, "version", ONE_IN(m, 2) ? "1" : "2");
}

static struct vmi *
make_vmi(struct maker *m, const char *name)
{
    struct vmi *v = arena_alloc(m->a, sizeof(*v));
    struct vmi_domain *d = &v->spec.domain;
    bool rich = m->style == GEN_RICH;

    v->meta.name = arena_strdup(m->a, name);
    v->meta.namespace_ = ONE_IN(m, 4) ? PICK(m, spaces) : "default";
    make_labels(m, &v->meta.labels, v->meta.name);
    d->cpu.cores = 1 + (int64_t)below(&m->rng, 3);
    d->guest_memory =
        (struct quantity){.set = true, .units = ((int64_t)below(&m->rng, 8) + 1) * GIB / 4};
    if (ONE_IN(m, 2))
        add_milli(m, &d->requests, "cpu", (int64_t)below(&m->rng, 900));
    if (rich && ONE_IN(m, 8))
        add_resource(m, &d->requests, "memory", ONE_IN(m, 6) ? INT64_MAX : GIB);
    if (rich && ONE_IN(m, 6))
        add_resource(m, &d->requests, "x/gpu", 1);
    if (rich && ONE_IN(m, 6))
        add_resource(m, &d->requests, "ephemeral-storage", GIB / 2);
    if (rich && ONE_IN(m, 12))
        d->hugepages_size = "2Mi";
    if (rich && ONE_IN(m, 8))
        d->cpu.model = ONE_IN(m, 2) ? "Penryn" : "host-model";
    if (rich && ONE_IN(m, 8)) {
        d->cpu.features = arena_calloc(m->a, 1, sizeof(*d->cpu.features));
        d->cpu.features_len = 1;
        d->cpu.features[0].name = PICK(m, features);
        d->cpu.features[0].policy = PICK(m, policies);
    }
    if (rich && ONE_IN(m, 20))
        d->cpu.dedicated_placement = true;
    if (rich && ONE_IN(m, 8)) {
        d->hyperv_reenlightenment = true;
        v->status.tsc_frequency_hz = ONE_IN(m, 3) ? 0 : 2000000000;
    }
    if (ONE_IN(m, 6))
        add_pair(m, &v->spec.node_selector, "zone", PICK(m, zones));
    if (ONE_IN(m, 30))
        add_pair(m, &v->spec.node_selector, "kubernetes.io/hostname", "n3");
    v->spec.tolerations = make_tolerations(m, &v->spec.tolerations_len);
    if (rich && ONE_IN(m, 40))
        v->spec.scheduler_name = "theirs";
    if (rich && ONE_IN(m, 3)) {
        v->spec.volumes = arena_calloc(m->a, 1, sizeof(*v->spec.volumes));
        v->spec.volumes_len = 1;
        v->spec.volumes[0] = (struct vmi_volume){
            .name = "disk",
            .kind = "persistentVolumeClaim",
            .claim = arena_printf(m->a, "claim%zu", below(&m->rng, ARRAY_LEN(claims) + 1))};
    }
    if (rich && ONE_IN(m, 4)) {
        v->spec.networks = arena_calloc(m->a, 1, sizeof(*v->spec.networks));
        v->spec.networks_len = 1;
        v->spec.networks[0] = (struct vmi_network){.name = "net", .multus_name = "default/net"};
    }
    if (rich && ONE_IN(m, 12))
        add_pair(m, &v->meta.annotations, PLACE_ANN_HOST_MODEL, "Penryn aes");
    if (m->style != GEN_BASIC) {
        make_peers(m, &v->spec.affinity);
        v->spec.spreads = make_spreads(m, &v->spec.spreads_len);
    }
    make_node_affinity(m, &v->spec.affinity);
    return v;
}

static struct pod *
make_pod(struct maker *m, const char *name)
{
    struct pod *p = arena_alloc(m->a, sizeof(*p));

    p->meta.name = arena_strdup(m->a, name);
    p->meta.namespace_ = "default";
    make_labels(m, &p->meta.labels, p->meta.name);
    if (ONE_IN(m, 5)) {
        p->meta.owners = arena_calloc(m->a, 1, sizeof(*p->meta.owners));
        p->meta.owners_len = 1;
        p->meta.owners[0] =
            (struct owner_ref){.kind = "ReplicaSet", .name = "set", .controller = true};
    }
    p->containers = arena_calloc(m->a, 1, sizeof(*p->containers));
    p->containers_len = 1;
    if (!ONE_IN(m, 3))
        add_milli(m, &p->containers[0].requests, "cpu", (int64_t)below(&m->rng, 600));
    if (!ONE_IN(m, 3))
        add_resource(m, &p->containers[0].requests, "memory", (int64_t)below(&m->rng, 4) * GIB);
    p->tolerations = make_tolerations(m, &p->tolerations_len);
    if (m->style != GEN_BASIC) {
        make_peers(m, &p->affinity);
        p->spreads = make_spreads(m, &p->spreads_len);
    }
    make_node_affinity(m, &p->affinity);
    return p;
}

static struct maker
maker(const struct gen *g, struct arena *a, uint64_t seed)
{
    struct maker m = {.a = a, .style = g->style};

    rng_seed(&m.rng, seed);
    return m;
}

static struct gen_thing *
append(struct gen_list *l, struct gen_thing t)
{
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->len] = t;
    return &l->items[l->len++];
}

static void
take_out(struct gen_list *l, size_t at)
{
    arena_free(l->items[at].arena);
    memmove(&l->items[at], &l->items[at + 1], (l->len - at - 1) * sizeof(*l->items));
    l->len--;
}

static const char *
some_node(struct gen *g)
{
    static const char *const unknown[] = {"gone", "n2", "n5"};

    if (g->nodes.len == 0 || gen_below(g, 12) == 0)
        return unknown[gen_below(g, ARRAY_LEN(unknown))];
    return g->nodes.items[gen_below(g, g->nodes.len)].node->meta.name;
}

/* One thing is another than the template's: an engine that takes the two for the same is found
 * out. */
static void
tweak(struct gen *g, struct arena *a, struct vmi *v)
{
    struct vmi_spec *s = &v->spec;
    struct affinity *f = &s->affinity;

    switch (gen_below(g, 17)) {
    case 0:
        if (s->tolerations_len > 0)
            s->tolerations[0].effect = s->tolerations[0].effect ? NULL : "PreferNoSchedule";
        break;
    case 1:
        if (s->tolerations_len > 0)
            s->tolerations[0].key = "k2";
        break;
    case 2:
        s->tolerations_len = 0;
        break;
    case 3:
        if (f->node_preferred_len > 0)
            f->node_preferred[0].weight = 1;
        break;
    case 4:
        if (f->node_required_len > 0)
            f->node_required_len--;
        break;
    case 5:
        if (f->node_required_len > 0 && f->node_required[0].exprs_len > 0)
            f->node_required[0].exprs[0].op = SEL_EXISTS;
        break;
    case 6:
        if (f->pod_preferred_len > 0)
            f->pod_preferred[0].weight = 1;
        break;
    case 7:
        if (f->pod_anti_required_len > 0)
            f->pod_anti_required[0].topology_key = "zone";
        break;
    case 8:
        if (s->spreads_len > 0)
            s->spreads[0].max_skew = 4;
        break;
    case 9:
        if (s->spreads_len > 0)
            s->spreads[0].when_unsatisfiable = "DoNotSchedule";
        break;
    case 10:
        if (s->spreads_len > 0)
            s->spreads[0].node_taints_policy = "Honor";
        break;
    case 11:
        s->domain.cpu.sockets = 2;
        break;
    case 12:
        s->domain.has_tpm = !s->domain.has_tpm;
        break;
    case 13:
        s->node_selector =
            (struct kv_list){.items = arena_calloc(a, 1, sizeof(struct kv)), .len = 1};
        s->node_selector.items[0] = (struct kv){"disk", "ssd"};
        break;
    case 14:
        v->meta.labels.len--;
        break;
    case 15:
        v->status.tsc_frequency_hz = 3000000000;
        break;
    default:
        v->meta.namespace_ = "other";
    }
}

/* A VMI or Pod of one of the templates; its status says where it runs, or nothing. */
static struct gen_thing
new_vm(struct gen *g, const char *name, uint64_t template_, bool runs)
{
    struct gen_thing t = {.arena = arena_new(), .template_ = template_};
    struct maker m = maker(g, t.arena, g->seed * 1000 + template_);
    const char *node = runs ? arena_strdup(t.arena, some_node(g)) : NULL;

    if (template_ % 5 == 4) {
        t.pod = make_pod(&m, name);
        t.pod->node_name = node;
        t.pod->phase = gen_below(g, 20) == 0 ? "Succeeded" : "Running";
        return t;
    }
    t.vmi = make_vmi(&m, name);
    if (gen_below(g, 3) == 0)
        tweak(g, t.arena, t.vmi);
    t.vmi->status.node_name = node;
    t.vmi->status.phase = gen_below(g, 20) == 0 ? "Failed" : "Running";
    t.vmi->meta.deletion_us = gen_below(g, 15) == 0;
    if (runs && gen_below(g, 8) == 0)
        t.vmi->status.migration =
            (struct migration_state){.present = true,
                                     .completed = gen_below(g, 3) == 0,
                                     .source_node = node,
                                     .target_node = arena_strdup(t.arena, some_node(g))};
    return t;
}

static void
put_vm(const struct gen_thing *t, struct cluster *c, bool update)
{
    if (t->vmi && update)
        cluster_update_vmi(c, t->vmi);
    else if (t->vmi)
        cluster_add_vmi(c, t->vmi);
    else if (update)
        cluster_update_pod(c, t->pod);
    else
        cluster_add_pod(c, t->pod);
    if (t->reserved && t->vmi)
        cluster_reserve(c, t->vmi, t->reserved);
    else if (t->reserved)
        cluster_reserve_pod(c, t->pod, t->reserved);
}

static void
change_node(struct gen *g)
{
    struct gen_thing t = {.arena = arena_new()}, *old;
    struct maker m = maker(g, t.arena, rng_u64(&g->rng));
    size_t at = gen_below(g, g->nodes_max);

    for (size_t i = 0; i < g->nodes.len; i++) {
        old = &g->nodes.items[i];
        if (strcmp(old->node->meta.name, "n0") >= 0 &&
            (size_t)strtoul(old->node->meta.name + 1, NULL, 10) == at) {
            t.node = make_node(&m, old->node->meta.name);
            /* mostly a small change */
            if (gen_below(g, 3) > 0) {
                struct kv_list labels = t.node->meta.labels;
                struct node *n = t.node;
                struct maker again = maker(g, t.arena, old->template_);

                t.template_ = old->template_;
                t.node = make_node(&again, n->meta.name);
                switch (gen_below(g, 5)) {
                case 0:
                    t.node->unschedulable = !t.node->unschedulable;
                    break;
                case 1:
                    t.node->meta.labels = labels;
                    break;
                case 2:
                    t.node->taints = n->taints;
                    t.node->taints_len = n->taints_len;
                    break;
                case 3:
                    t.node->allocatable = n->allocatable;
                    break;
                default:
                    t.node->meta.annotations = n->meta.annotations;
                }
            }
            cluster_update_node(g->c, t.node);
            arena_free(old->arena);
            *old = t;
            return;
        }
    }
    t.template_ = rng_u64(&g->rng);
    m = maker(g, t.arena, t.template_);
    t.node = make_node(&m, arena_printf(t.arena, "n%zu", at));
    append(&g->nodes, t);
    cluster_add_node(g->c, t.node);
}

static void
remove_node(struct gen *g)
{
    size_t at;

    if (g->nodes.len < 2)
        return;
    at = gen_below(g, g->nodes.len);
    cluster_remove_node(g->c, g->nodes.items[at].node->meta.name);
    take_out(&g->nodes, at);
}

static void
change_vm(struct gen *g)
{
    struct gen_thing *old, t;

    if (g->vms.len == 0)
        return;
    old = &g->vms.items[gen_below(g, g->vms.len)];
    t = new_vm(g, old->vmi ? old->vmi->meta.name : old->pod->meta.name, old->template_, true);
    if (t.vmi) /* it is the same one */
        t.vmi->meta.namespace_ = arena_strdup(t.arena, old->vmi->meta.namespace_);
    put_vm(&t, g->c, true);
    arena_free(old->arena);
    *old = t;
}

void
gen_remove_vm(struct gen *g)
{
    struct gen_thing *t;
    size_t at;

    if (g->vms.len == 0)
        return;
    at = gen_below(g, g->vms.len);
    t = &g->vms.items[at];
    if (t->reserved) {
        const struct meta *meta = t->vmi ? &t->vmi->meta : &t->pod->meta;

        cluster_unreserve(g->c, meta->namespace_, meta->name, t->reserved);
    } else if (t->vmi) {
        cluster_remove_vmi(g->c, t->vmi->meta.namespace_, t->vmi->meta.name);
    } else {
        cluster_remove_pod(g->c, t->pod->meta.namespace_, t->pod->meta.name);
    }
    take_out(&g->vms, at);
}

static void
change_space(struct gen *g)
{
    size_t at = gen_below(g, ARRAY_LEN(spaces));
    struct gen_thing t = {.arena = arena_new()};
    struct maker m = maker(g, t.arena, rng_u64(&g->rng));

    t.ns = arena_alloc(t.arena, sizeof(*t.ns));
    t.ns->meta.name = spaces[at];
    if (!ONE_IN(&m, 3))
        add_pair(&m, &t.ns->meta.labels, "team", ONE_IN(&m, 2) ? "a" : "b");
    for (size_t i = 0; i < g->spaces.len; i++) {
        if (strcmp(g->spaces.items[i].ns->meta.name, spaces[at]) != 0)
            continue;
        if (ONE_IN(&m, 3)) {
            cluster_remove_namespace(g->c, spaces[at]);
            take_out(&g->spaces, i);
            arena_free(t.arena);
            return;
        }
        cluster_update_namespace(g->c, t.ns);
        arena_free(g->spaces.items[i].arena);
        g->spaces.items[i] = t;
        return;
    }
    cluster_add_namespace(g->c, t.ns);
    append(&g->spaces, t);
}

/* Weights, strategies and what else a KubeSchedulerConfiguration changes. */
static void
change_profile(struct gen *g)
{
    static const struct profile_resource heavy[] = {
        {"cpu", 3, PROFILE_CPU}, {"memory", 1, PROFILE_MEMORY}, {"x/gpu", 5, PROFILE_EXTRA}};
    static const struct profile_point shape[] = {{0, 100}, {50, 30}, {100, 0}};
    struct profile *p = &g->profile;

    *p = *profile_default();
    if (gen_below(g, 3) > 0) {
        p->weights_sum = 0;
        for (size_t i = 0; i < PLACE_PLUGINS; i++) {
            p->weights[i] = (int64_t)gen_below(g, 6);
            p->weights_sum += p->weights[i];
        }
        p->strategy = (enum profile_strategy)gen_below(g, 3);
        p->shape = shape;
        p->shape_len = ARRAY_LEN(shape);
        p->hard_pod_affinity_weight = (int64_t)gen_below(g, 3) * 50;
        p->ignore_preferred_terms_of_existing = gen_below(g, 3) == 0;
        if (gen_below(g, 2) == 0) {
            p->fit = p->balanced = heavy;
            p->fit_len = ARRAY_LEN(heavy);
            p->balanced_len = gen_below(g, 4);
        }
    }
    g->profiled = true;
    cluster_set_profile(g->c, p);
    g->tie_seed = gen_below(g, 3);
    cluster_set_seed(g->c, g->tie_seed);
}

static void
change_network(struct gen *g)
{
    g->networked = !g->networked;
    if (g->networked)
        cluster_add_nad(g->c, &network);
    else
        cluster_remove_nad(g->c, "default", "net");
}

void
gen_change(struct gen *g)
{
    size_t what = gen_below(g, 42);
    char name[32];

    if (what < 12) {
        change_vm(g);
    } else if (what < 20) {
        gen_remove_vm(g);
    } else if (what < 28) {
        snprintf(name, sizeof(name), "vm%u", g->names++);
        put_vm(append(&g->vms, new_vm(g, name, gen_below(g, g->templates), true)), g->c, false);
    } else if (what < 34) {
        change_node(g);
    } else if (what < 36) {
        remove_node(g);
    } else if (what < 38) {
        change_space(g);
    } else if (what < 39) {
        change_profile(g);
    } else if (what < 40 && g->networks_change && g->style == GEN_RICH) {
        change_network(g);
    } else {
        g->now_us += (int64_t)gen_below(g, 120) * 1000000 - 20 * 1000000;
        cluster_set_now(g->c, g->now_us);
    }
}

/* What a cluster has before nodes and VMs come. */
static void
settle(const struct gen *g, struct cluster *c)
{
    cluster_set_hco(c, &g->hco);
    cluster_set_heartbeat(c, g->now_us, g->timeout_s);
    if (g->profiled)
        cluster_set_profile(c, &g->profile);
    cluster_set_seed(c, g->tie_seed);
    if (g->networked)
        cluster_add_nad(c, &network);
    for (size_t i = 0; g->style == GEN_RICH && i < ARRAY_LEN(claims); i++) {
        cluster_add_pvc(c, &claims[i]);
        cluster_add_pv(c, &volumes[i]);
    }
}

void
gen_init(struct gen *g, uint64_t seed, enum gen_style style, size_t nodes_max)
{
    struct maker m;
    size_t nodes, vms;

    *g = (struct gen){.seed = seed, .style = style, .nodes_max = nodes_max};
    rng_seed(&g->rng, seed);
    g->templates = 2 + gen_below(g, 8);
    g->now_us = GEN_NOW_US + 600 * 1000000;
    g->timeout_s = gen_below(g, 3) == 0 ? 300 : 0;
    m = maker(g, NULL, seed);
    if (ONE_IN(&m, 3)) {
        g->hco.has_cpu_ratio = true;
        g->hco.cpu_allocation_ratio = 1 + (int64_t)below(&m.rng, 12);
    }
    if (style == GEN_RICH && ONE_IN(&m, 5)) {
        if (ONE_IN(&m, 2)) {
            g->hco.workloads.affinity.pod_anti_preferred = &apart;
            g->hco.workloads.affinity.pod_anti_preferred_len = 1;
        } else {
            g->hco.workloads.node_selector = (struct kv_list){.items = &in_ssd, .len = 1};
        }
    }
    g->networked = style == GEN_RICH && ONE_IN(&m, 2);
    g->c = cluster_new();
    settle(g, g->c);
    nodes = 1 + gen_below(g, 2 * nodes_max);
    vms = gen_below(g, 2 * nodes_max);
    for (size_t i = 0; i < nodes; i++)
        change_node(g);
    for (size_t i = 0; i < vms; i++) {
        char name[32];

        snprintf(name, sizeof(name), "vm%u", g->names++);
        put_vm(append(&g->vms, new_vm(g, name, gen_below(g, g->templates), true)), g->c, false);
    }
}

void
gen_done(struct gen *g)
{
    struct gen_list *lists[] = {&g->nodes, &g->vms, &g->spaces};

    cluster_free(g->c);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (size_t k = 0; k < lists[i]->len; k++)
            arena_free(lists[i]->items[k].arena);
        free(lists[i]->items);
    }
}

struct cluster *
gen_fresh(const struct gen *g)
{
    struct cluster *c = cluster_new();

    settle(g, c);
    for (size_t i = 0; i < g->spaces.len; i++)
        cluster_add_namespace(c, g->spaces.items[i].ns);
    for (size_t i = 0; i < g->nodes.len; i++)
        cluster_add_node(c, g->nodes.items[i].node);
    for (size_t i = 0; i < g->vms.len; i++)
        put_vm(&g->vms.items[i], c, false);
    return c;
}

void
gen_request(struct gen *g, struct place_request *rq, struct gen_thing *ret_new)
{
    char name[32];

    *rq = (struct place_request){0};
    *ret_new = (struct gen_thing){0};
    if (g->vms.len > 0 && gen_below(g, 4) == 0) { /* one that is there */
        const struct gen_thing *t = &g->vms.items[gen_below(g, g->vms.len)];

        rq->vmi = t->vmi;
        rq->pod = t->pod;
        rq->purpose = t->vmi && gen_below(g, 5) > 0 ? PLACE_MIGRATE : PLACE_START;
    } else {
        snprintf(name, sizeof(name), "vm%u", g->names++);
        *ret_new = new_vm(g, name, gen_below(g, g->templates), false);
        rq->vmi = ret_new->vmi;
        rq->pod = ret_new->pod;
    }
    if (gen_below(g, 25) == 0)
        rq->target = some_node(g);
    rq->force = rq->target && gen_below(g, 6) == 0;
    rq->needs_network = gen_below(g, 3) == 0;
    if (rq->purpose == PLACE_MIGRATE && gen_below(g, 8) == 0) {
        static struct kv z2 = {"zone", "z2"};
        static const struct kv_list added = {.items = &z2, .len = 1};

        rq->added_node_selector = &added;
    }
}

void
gen_keep(struct gen *g, struct gen_thing *made, const char *node)
{
    made->reserved = arena_strdup(made->arena, node);
    put_vm(append(&g->vms, *made), g->c, false);
}

void
gen_drop(struct gen_thing *made)
{
    arena_free(made->arena);
}
