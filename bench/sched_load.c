/* See sched_load.h. */
#include "bench/sched_load.h"

#include "api/names.h"

#define MIB        (INT64_C(1) << 20)
#define CPU_STEPS  613                /* different CPU requests of cold VMs */
#define TOO_MUCH   (INT64_C(1) << 40) /* bytes: more than any node has */
#define PREFERENCE 50

static void make_class(enum sched_load load, size_t k, struct vmi *ret, struct arena *a);
static void make_basic(struct vmi *v, size_t k, struct arena *a);
static void make_new(struct vmi *v, size_t seq, bool fits, struct arena *a);
static struct pod_term *own_app(struct vmi *v, const char *key, struct arena *a);
static struct label_selector *app_selector(const struct vmi *v, struct arena *a);

const char sched_load_yaml[] =
    "apiVersion: kubevirt.io/v1\n"
    "kind: VirtualMachineInstance\n"
    "metadata:\n"
    "  name: web-1\n"
    "  namespace: " SCHED_WORLD_NAMESPACE "\n"
    "  labels: {" SCHED_WORLD_APP ": app-1}\n"
    "spec:\n"
    "  nodeSelector:\n"
    "    " SCHED_WORLD_DISK ": ssd\n"
    "  tolerations:\n"
    "  - {key: " SCHED_WORLD_TAINT ", operator: Equal, value: " SCHED_WORLD_TAINT_WITH
    ", effect: NoSchedule}\n"
    "  domain:\n"
    "    cpu: {cores: 2}\n"
    "    memory: {guest: 2Gi}\n"
    "    devices:\n"
    "      disks:\n"
    "      - name: root\n"
    "        disk: {bus: virtio}\n"
    "      interfaces:\n"
    "      - name: default\n"
    "        masquerade: {}\n"
    "  networks:\n"
    "  - name: default\n"
    "    pod: {}\n"
    "  volumes:\n"
    "  - name: root\n"
    "    containerDisk: {image: registry.example.com/web:1}\n";

struct vmi *
sched_load_make(enum sched_load load, size_t from, size_t len, struct arena *a)
{
    bool cold = load == SCHED_LOAD_COLD || load == SCHED_LOAD_NONE;
    struct vmi *vms = arena_calloc(a, len, sizeof *vms), classes[SCHED_LOAD_CLASSES] = {0};

    for (size_t k = 0; k < SCHED_LOAD_CLASSES; k++)
        make_class(load, k, &classes[k], a);
    for (size_t i = 0; i < len; i++) {
        vms[i] = classes[(from + i) % SCHED_LOAD_CLASSES];
        vms[i].meta.name = arena_printf(a, "vm-%d-%zu", (int)load, from + i);
        if (cold)
            make_new(&vms[i], from + i, load == SCHED_LOAD_COLD, a);
    }
    return vms;
}

static void
make_class(enum sched_load load, size_t k, struct vmi *ret, struct arena *a)
{
    struct affinity *aff = &ret->spec.affinity;
    struct spread *s;

    make_basic(ret, k, a);
    switch (load) {
    case SCHED_LOAD_ANTI:
        aff->pod_anti_required = own_app(ret, LABEL_HOSTNAME, a);
        aff->pod_anti_required_len = 1;
        break;
    case SCHED_LOAD_SPREAD:
        s = arena_alloc(a, sizeof *s);
        *s = (struct spread){.max_skew = 1,
                             .topology_key = SCHED_WORLD_ZONE,
                             .when_unsatisfiable = "DoNotSchedule",
                             .selector = app_selector(ret, a)};
        ret->spec.spreads = s;
        ret->spec.spreads_len = 1;
        break;
    case SCHED_LOAD_PREFERRED:
        aff->pod_preferred = arena_alloc(a, sizeof *aff->pod_preferred);
        aff->pod_preferred->weight = PREFERENCE;
        aff->pod_preferred->term = *own_app(ret, k % 2 ? SCHED_WORLD_ZONE : LABEL_HOSTNAME, a);
        aff->pod_preferred_len = 1;
        break;
    default:
        break;
    }
}

/* Of the ten: two selectors, five sizes; three tolerate the taint. */
static void
make_basic(struct vmi *v, size_t k, struct arena *a)
{
    static const char *const disks[] = {"ssd", "hdd"};
    static struct toleration tolerates = {.key = SCHED_WORLD_TAINT,
                                          .operator_ = "Equal",
                                          .value = SCHED_WORLD_TAINT_WITH,
                                          .effect = "NoSchedule"};
    struct kv app = {SCHED_WORLD_APP, arena_printf(a, "app-%zu", k)};
    struct kv disk = {SCHED_WORLD_DISK, disks[k % 2]};

    v->meta.namespace_ = SCHED_WORLD_NAMESPACE;
    v->meta.labels = sched_world_pairs(a, 1, &app);
    v->spec.node_selector = sched_world_pairs(a, 1, &disk);
    v->spec.domain.cpu.cores = 1 + (int64_t)(k % 5);
    v->spec.domain.guest_memory = sched_world_resource("", 1024 * MIB * (1 + (int64_t)(k % 5))).q;
    if (k % 3 == 2) {
        v->spec.tolerations = &tolerates;
        v->spec.tolerations_len = 1;
    }
}

/* A size that no other place of the sequence has. */
static void
make_new(struct vmi *v, size_t seq, bool fits, struct arena *a)
{
    struct vmi_domain *d = &v->spec.domain;
    int64_t memory = 1024 * MIB + 4 * MIB * (int64_t)(seq / CPU_STEPS);
    struct resource *cpu = arena_alloc(a, sizeof *cpu);

    *cpu = (struct resource){"cpu", {.set = true, .units = 1}};
    cpu->q.milli = 100 + (int64_t)(seq % CPU_STEPS);
    d->requests = (struct resource_list){cpu, 1};
    d->guest_memory = sched_world_resource("", fits ? memory : TOO_MUCH + memory).q;
}

static struct pod_term *
own_app(struct vmi *v, const char *key, struct arena *a)
{
    struct pod_term *t = arena_alloc(a, sizeof *t);

    *t = (struct pod_term){.selector = app_selector(v, a), .topology_key = key};
    return t;
}

static struct label_selector *
app_selector(const struct vmi *v, struct arena *a)
{
    struct label_selector *s = arena_alloc(a, sizeof *s);

    s->match_labels = v->meta.labels;
    return s;
}
