/* See sched_world.h. */
#include "bench/sched_world.h"

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "base/rng.h"
#include "sched/need.h"

#define GIB         (INT64_C(1) << 30)
#define ZONES       3
#define RACK_NODES  40
#define TAINT_EVERY 16
#define MAX_LABELS  40
#define VM_GIB_MAX  8

static const struct size {
    int64_t cpus, gib;
    const char *type;
} sizes[] = {{64, 256, "m64"}, {96, 768, "r96"}, {128, 512, "m128"}};

/* What a labeller writes for two generations of one vendor and one of another. */
static const struct cpu_kind {
    const char *vendor, *host_model;
    const char *models[6], *features[10];
} cpu_kinds[] = {
    {"Intel",
     "Skylake-Server",
     {"Penryn", "Nehalem", "Haswell", "Broadwell", "Skylake-Server"},
     {"aes", "avx", "avx2", "fma", "pcid", "rdrand", "smep", "xsaves"}},
    {"Intel",
     "Icelake-Server",
     {"Nehalem", "Haswell", "Broadwell", "Skylake-Server", "Icelake-Server"},
     {"aes", "avx", "avx2", "avx512f", "fma", "pcid", "rdrand", "sha-ni", "smep", "xsaves"}},
    {"AMD",
     "EPYC-Rome",
     {"Opteron_G3", "EPYC", "EPYC-IBPB", "EPYC-Rome"},
     {"aes", "avx", "avx2", "clzero", "fma", "rdrand", "sha-ni", "smep", "svm", "xsaves"}},
};

struct cpu_labels { /* the keys, made once for all nodes of the kind */
    struct kv items[MAX_LABELS];
    size_t len;
};

static void make_cpu_labels(struct cpu_labels *l, const struct cpu_kind *k, struct arena *a);
static void make_node(struct sched_world *w, size_t i, const struct cpu_labels *kinds,
                      struct rng *rng);
static void make_vm(struct sched_world *w, size_t i, struct rng *rng);

struct sched_world *
sched_world_new(size_t nodes, size_t vms, uint64_t seed)
{
    struct arena *a = arena_new();
    struct sched_world *w = arena_alloc(a, sizeof *w);
    struct cpu_labels kinds[ARRAY_LEN(cpu_kinds)];
    struct rng rng;

    rng_seed(&rng, seed);
    *w = (struct sched_world){.arena = a, .nodes_len = nodes, .vms_len = nodes > 0 ? vms : 0};
    w->ns.meta.name = SCHED_WORLD_NAMESPACE;
    w->nodes = arena_calloc(a, nodes, sizeof *w->nodes);
    w->vms = arena_calloc(a, vms, sizeof *w->vms);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        make_cpu_labels(&kinds[i], &cpu_kinds[i], a);
    for (size_t i = 0; i < nodes; i++)
        make_node(w, i, kinds, &rng);
    for (size_t i = 0; i < w->vms_len; i++)
        make_vm(w, i, &rng);
    return w;
}

void
sched_world_free(struct sched_world *w)
{
    if (w)
        arena_free(w->arena);
}

struct cluster *
sched_world_cluster(const struct sched_world *w)
{
    struct cluster *c = cluster_new();

    cluster_add_namespace(c, &w->ns);
    for (size_t i = 0; i < w->nodes_len; i++)
        cluster_add_node(c, &w->nodes[i]);
    return c;
}

void
sched_world_fill(const struct sched_world *w, struct cluster *c)
{
    for (size_t i = 0; i < w->vms_len; i++)
        cluster_add_vmi(c, &w->vms[i]);
}

struct kv_list
sched_world_pairs(struct arena *a, size_t n, const struct kv *pairs)
{
    struct kv_list l = {.items = arena_calloc(a, n, sizeof *l.items), .len = n};

    memcpy(l.items, pairs, n * sizeof *pairs);
    return l;
}

struct resource
sched_world_resource(const char *name, int64_t units)
{
    return (struct resource){name, {.set = true, .units = units, .milli = units * 1000}};
}

static void
make_cpu_labels(struct cpu_labels *l, const struct cpu_kind *k, struct arena *a)
{
    l->len = 0;
    for (size_t i = 0; i < ARRAY_LEN(k->models) && k->models[i]; i++)
        l->items[l->len++] =
            (struct kv){arena_printf(a, LABEL_CPU_MODEL "%s", k->models[i]), "true"};
    for (size_t i = 0; i < ARRAY_LEN(k->features) && k->features[i]; i++)
        l->items[l->len++] =
            (struct kv){arena_printf(a, LABEL_CPU_FEATURE "%s", k->features[i]), "true"};
    l->items[l->len++] = (struct kv){arena_printf(a, LABEL_CPU_VENDOR "%s", k->vendor), "true"};
    l->items[l->len++] = (struct kv){arena_printf(a, LABEL_HOST_MODEL "%s", k->host_model), "true"};
}

static void
make_node(struct sched_world *w, size_t i, const struct cpu_labels *kinds, struct rng *rng)
{
    static struct taint dedicated = {
        .key = SCHED_WORLD_TAINT, .value = SCHED_WORLD_TAINT_WITH, .effect = "NoSchedule"};
    static struct condition ready = {.type = "Ready", .status = "True"};
    const struct size *size = &sizes[rng_below(rng, ARRAY_LEN(sizes))];
    size_t rack = i / RACK_NODES; /* racks are bought at one time, and stand in one zone */
    const struct cpu_labels *cpu = &kinds[rng_mix(rack) % ARRAY_LEN(cpu_kinds)];
    struct node *n = &w->nodes[i];
    struct kv labels[MAX_LABELS];
    struct resource has[] = {
        sched_world_resource("cpu", size->cpus),
        sched_world_resource("memory", size->gib * GIB),
        sched_world_resource("ephemeral-storage", 400 * GIB),
        sched_world_resource("pods", 500),
        sched_world_resource(NEED_KVM, 1000),
    };
    size_t len = 0;

    n->meta.name = arena_printf(w->arena, "node-%06zu", i);
    labels[len++] = (struct kv){LABEL_HOSTNAME, n->meta.name};
    labels[len++] = (struct kv){SCHED_WORLD_ZONE,
                                arena_printf(w->arena, "zone-%c", (char)('a' + rack % ZONES))};
    labels[len++] = (struct kv){"topology.kubernetes.io/region", "region-1"};
    labels[len++] = (struct kv){SCHED_WORLD_RACK, arena_printf(w->arena, "rack-%zu", rack)};
    labels[len++] = (struct kv){SCHED_WORLD_DISK, rng_below(rng, 4) ? "ssd" : "hdd"};
    labels[len++] = (struct kv){"node.kubernetes.io/instance-type", size->type};
    labels[len++] = (struct kv){"kubernetes.io/arch", "amd64"};
    labels[len++] = (struct kv){"kubernetes.io/os", "linux"};
    labels[len++] = (struct kv){"node-role.kubernetes.io/worker", ""};
    labels[len++] = (struct kv){LABEL_SCHEDULABLE, "true"};
    memcpy(labels + len, cpu->items, cpu->len * sizeof *labels);
    qsort(labels, len + cpu->len, sizeof *labels, kv_by_key); /* as decoded ones are */
    n->meta.labels = sched_world_pairs(w->arena, len + cpu->len, labels);
    n->allocatable.items = arena_calloc(w->arena, ARRAY_LEN(has), sizeof *has);
    memcpy(n->allocatable.items, has, sizeof has);
    n->allocatable.len = ARRAY_LEN(has);
    n->conditions = (struct condition_list){&ready, 1};
    if (i % TAINT_EVERY == TAINT_EVERY - 1) {
        n->taints = &dedicated;
        n->taints_len = 1;
    }
}

static void
make_vm(struct sched_world *w, size_t i, struct rng *rng)
{
    struct vmi *v = &w->vms[i];
    struct kv app = {SCHED_WORLD_APP,
                     arena_printf(w->arena, "app-%u", (unsigned)rng_below(rng, SCHED_WORLD_APPS))};

    v->meta.namespace_ = SCHED_WORLD_NAMESPACE;
    v->meta.name = arena_printf(w->arena, "placed-%zu", i);
    v->meta.labels = sched_world_pairs(w->arena, 1, &app);
    v->spec.domain.cpu.cores = 1 + (int64_t)rng_below(rng, 8);
    v->spec.domain.guest_memory =
        sched_world_resource("", GIB * (1 + (int64_t)rng_below(rng, VM_GIB_MAX))).q;
    v->status.phase = "Running";
    v->status.node_name = w->nodes[rng_below(rng, w->nodes_len)].meta.name;
}
