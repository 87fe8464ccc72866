/* Memory, vCPUs and the CPU's model of a domain; see libvirt_xml.h. Which field counts follows KubeVirt:
 * memory is memory.guest, else what is requested, else the limit; vCPUs are sockets x cores x threads, and
 * without any of them as many sockets as the CPU limit, else the request, has CPUs. */
#include "handler/libvirt_xml_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "handler/limits.h"

static uint64_t memory_bytes(struct lv_xml *x);
static int64_t amount_of(const struct tree *t, char *text, size_t size);
static uint64_t page_kib(struct lv_xml *x);
static unsigned topology(struct lv_xml *x, const char *key);
static unsigned count_of(struct lv_xml *x, const char *key);
static void write_pins(struct lv_xml *x);
static void write_model(struct lv_xml *x);
static void write_cpu_features(struct lv_xml *x);
static bool plain_word(const char *s);

void
lv_xml_memory(struct lv_xml *x)
{
    uint64_t bytes = memory_bytes(x), page = page_kib(x);

    x->memory_kib = bytes >> 10;
    if (page && x->c->odd_memory)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.memory.hugepages: not for guests that are emulated by a QEMU before "
                  "9.0, which loses their writes in a migration: want KVM, or a newer QEMU");
    else if (page && x->memory_kib % page != 0)
        lv_refuse(x, LV_INVALID,
                  "spec.domain.memory.hugepages.pageSize: memory of %" PRIu64
                  " KiB is no multiple of %" PRIu64 " KiB",
                  x->memory_kib, page);
    xw_text(&x->w, XW_NUM(x->memory_kib), "memory", "unit", "KiB", NULL);
    xw_begin(&x->w, "memoryBacking", NULL);
    if (page) {
        xw_begin(&x->w, "hugepages", NULL);
        xw_leaf(&x->w, "page", "size", XW_NUM(page), "unit", "KiB", NULL);
        xw_end(&x->w, "hugepages");
    }
    xw_leaf(&x->w, "source", "type", "memfd", NULL);
    xw_leaf(&x->w, "access", "mode", "shared", NULL);
    xw_end(&x->w, "memoryBacking");
}

unsigned
lv_xml_vcpus(struct lv_xml *x)
{
    uint64_t n = (uint64_t)topology(x, "sockets") * topology(x, "cores") * topology(x, "threads");

    if (n > LV_XML_MAX_VCPUS)
        lv_refuse(x, LV_INVALID, "spec.domain.cpu: %" PRIu64 " vCPUs: at most %d", n,
                  LV_XML_MAX_VCPUS);
    return n > LV_XML_MAX_VCPUS ? 1 : (unsigned)n;
}

unsigned
lv_xml_vcpu_count(const struct tree *vmi, struct hv_refusal *why)
{
    struct lv_xml x = {.domain = tree_find(vmi, "spec", "domain", NULL), .why = why};
    unsigned n = lv_xml_vcpus(&x);

    return x.rc == 0 ? n : 0;
}

void
lv_xml_vcpu(struct lv_xml *x)
{
    xw_text(&x->w, XW_NUM(x->vcpus), "vcpu", "placement", "static", NULL);
    if (x->io_threads)
        xw_text(&x->w, XW_NUM(x->io_threads), "iothreads", NULL);
    if (tree_get_bool(tree_find(x->domain, "cpu", "dedicatedCpuPlacement", NULL), false))
        write_pins(x);
}

void
lv_xml_cpu_model(struct lv_xml *x)
{
    write_model(x);
    xw_leaf(&x->w, "topology", "sockets", XW_NUM(topology(x, "sockets")), "cores",
            XW_NUM(topology(x, "cores")), "threads", XW_NUM(topology(x, "threads")), NULL);
    write_cpu_features(x);
    xw_end(&x->w, "cpu");
}

/* In whole KiB. */
static uint64_t
memory_bytes(struct lv_xml *x)
{
    const struct {
        const char *name;
        const struct tree *amount;
    } places[] = {
        {"memory.guest", tree_find(x->domain, "memory", "guest", NULL)},
        {"resources.requests.memory",
         tree_find(x->domain, "resources", "requests", "memory", NULL)},
        {"resources.limits.memory", tree_find(x->domain, "resources", "limits", "memory", NULL)},
    };
    char text[64];
    int64_t bytes;
    size_t i = 0;

    while (i < ARRAY_LEN(places) && !places[i].amount)
        i++;
    if (i == ARRAY_LEN(places)) {
        lv_refuse(x, LV_INVALID,
                  "spec.domain.memory.guest: the guest has no memory: want an amount such as 1Gi");
        return 0;
    }
    bytes = amount_of(places[i].amount, text, sizeof text);
    if (bytes >= 1 << 20 && (uint64_t)bytes <= HANDLER_MAX_GUEST_BYTES)
        return (uint64_t)bytes >> 10 << 10;
    lv_refuse(x, LV_INVALID, "spec.domain.%s: %s: want 1Mi to %lluTi", places[i].name, text,
              HANDLER_MAX_GUEST_BYTES >> 40);
    return 0;
}

/* Units of a quantity, rounded up, -1 where it is none; and how it was written. */
static int64_t
amount_of(const struct tree *t, char *text, size_t size)
{
    struct quantity q;

    if (tree_type(t) == TREE_INT) {
        snprintf(text, size, "%" PRId64, tree_get_int(t, 0));
        return tree_get_int(t, 0);
    }
    snprintf(text, size, "%s", tree_get_string(t, ""));
    return quantity_parse(tree_get_string(t, ""), &q, NULL) == 0 ? q.units : -1;
}

/* Of huge pages; 0: none. */
static uint64_t
page_kib(struct lv_xml *x)
{
    const struct tree *huge = tree_find(x->domain, "memory", "hugepages", NULL);
    const char *size = tree_find_string(huge, "", "pageSize", NULL);

    if (!huge)
        return 0;
    if (strcmp(size, "2Mi") == 0)
        return 2u << 10;
    if (strcmp(size, "1Gi") == 0)
        return 1u << 20;
    lv_refuse(x, LV_INVALID, "spec.domain.memory.hugepages.pageSize: \"%.32s\": want 2Mi or 1Gi",
              size);
    return 0;
}

/* One of sockets, cores, threads. */
static unsigned
topology(struct lv_xml *x, const char *key)
{
    static const char *const keys[] = {"sockets", "cores", "threads"};
    const struct tree *cpu = tree_get(x->domain, "cpu"), *amount;
    char text[64];
    int64_t n;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (tree_get(cpu, keys[i]))
            return count_of(x, key);
    amount = tree_find(x->domain, "resources", "limits", "cpu", NULL);
    if (!amount)
        amount = tree_find(x->domain, "resources", "requests", "cpu", NULL);
    if (!amount || strcmp(key, "sockets") != 0)
        return 1;
    n = amount_of(amount, text, sizeof text);
    if (n >= 1 && n <= LV_XML_MAX_VCPUS)
        return (unsigned)n;
    lv_refuse(x, LV_INVALID, "spec.domain.resources: cpu: %s: want 1 to %d", text,
              LV_XML_MAX_VCPUS);
    return 1;
}

static unsigned
count_of(struct lv_xml *x, const char *key)
{
    const struct tree *t = tree_find(x->domain, "cpu", key, NULL);
    int64_t n = tree_get_int(t, t ? 0 : 1);

    if (n >= 1 && n <= LV_XML_MAX_VCPUS)
        return (unsigned)n;
    lv_refuse(x, LV_INVALID, "spec.domain.cpu.%s: want 1 to %d", key, LV_XML_MAX_VCPUS);
    return 1;
}

/* Each vCPU on a host CPU of its own, which are the node's to choose. */
static void
write_pins(struct lv_xml *x)
{
    bool isolate = tree_get_bool(tree_find(x->domain, "cpu", "isolateEmulatorThread", NULL), false);

    if (x->want->incoming) /* its domain comes from the source, with its pins */
        return;
    if (!x->c->cpuset || x->c->cpuset_len != x->vcpus) {
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.cpu.dedicatedCpuPlacement: this host has given %zu CPUs to %u vCPUs",
                  x->c->cpuset ? x->c->cpuset_len : 0, x->vcpus);
        return;
    }
    if (isolate && !x->c->emulator_cpuset) {
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.cpu.isolateEmulatorThread: this host has given no CPU to the "
                  "emulator's thread");
        return;
    }
    xw_begin(&x->w, "cputune", NULL);
    for (unsigned i = 0; i < x->vcpus; i++)
        xw_leaf(&x->w, "vcpupin", "vcpu", XW_NUM(i), "cpuset", x->c->cpuset[i], NULL);
    if (x->c->emulator_cpuset)
        xw_leaf(&x->w, "emulatorpin", "cpuset", x->c->emulator_cpuset, NULL);
    xw_end(&x->w, "cputune");
}

/* Opens <cpu>. No model (the cluster's is in the instance): host-model; an emulated guest has libvirt's
 * own then. */
static void
write_model(struct lv_xml *x)
{
    static const char *const modes[] = {"host-model", "host-passthrough", NULL};
    const char *model = tree_find_string(x->domain, "", "cpu", "model", NULL);

    if (!*model && !x->c->kvm && tree_len(tree_find(x->domain, "cpu", "features", NULL)) == 0) {
        xw_begin(&x->w, "cpu", NULL);
        return;
    }
    if (!*model) /* features want a model to stand beside: QEMU's own where it emulates */
        model = x->c->kvm ? "host-model" : "qemu64";
    if (strcmp(model, "host-passthrough") == 0 && !x->c->kvm)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.cpu.model: host-passthrough needs KVM, and guests are emulated on "
                  "this host: want host-model or the name of a model");
    if (!plain_word(model))
        lv_refuse(
            x, LV_INVALID,
            "spec.domain.cpu.model: %.64s: want host-model, host-passthrough or the name of a "
            "model",
            model);
    x->host_model = strcmp(model, "host-model") == 0 || strcmp(model, "host-passthrough") == 0;
    if (lv_is_one_of(model, modes)) {
        xw_begin(&x->w, "cpu", "mode", model, NULL);
        return;
    }
    xw_begin(&x->w, "cpu", "mode", "custom", "match", "exact", NULL);
    xw_text(&x->w, model, "model", "fallback", "forbid", NULL);
}

static bool
names_feature(const struct tree *features, const char *name)
{
    for (size_t i = 0; i < tree_len(features); i++)
        if (strcmp(tree_find_string(tree_at(features, i), "", "name", NULL), name) == 0)
            return true;
    return false;
}

static void
write_cpu_features(struct lv_xml *x)
{
    static const char *const policies[] = {"force",   "require", "optional",
                                           "disable", "forbid",  NULL};
    const struct tree *features = tree_find(x->domain, "cpu", "features", NULL);

    for (size_t i = 0; i < tree_len(features); i++) {
        const char *name = tree_find_string(tree_at(features, i), "", "name", NULL);
        const char *policy = tree_find_string(tree_at(features, i), "", "policy", NULL);

        policy = *policy ? policy : "require";
        if (!plain_word(name))
            lv_refuse(x, LV_INVALID,
                      "spec.domain.cpu.features[%zu].name: \"%.64s\": want the name of a feature",
                      i, name);
        else if (!lv_is_one_of(policy, policies))
            lv_refuse(x, LV_INVALID,
                      "spec.domain.cpu.features[%zu].policy: %.64s: want force, require, optional, "
                      "disable or forbid",
                      i, policy);
        xw_leaf(&x->w, "feature", "policy", policy, "name", name, NULL);
    }
    if (x->c->broken_feature && x->host_model && !names_feature(features, x->c->broken_feature))
        xw_leaf(&x->w, "feature", "policy", "disable", "name", x->c->broken_feature, NULL);
}

static bool
plain_word(const char *s)
{
    return *s && strlen(s) <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               strlen(s);
}
