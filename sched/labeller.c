/* The rules, label by label; see labeller.h. What is read: labeller_xml.c, the CPU map: labeller_map.c. */
#include "sched/labeller.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "base/sb.h"
#include "sched/cpu_base.h"
#include "sched/labeller_int.h"
#include "sched/labeller_xml.h"

#define MAX_NOTES 20 /* of hostile input there would be thousands */
#define TRUE      "true"

enum arch { ARCH_X86, ARCH_ARM64, ARCH_S390X, ARCH_OTHER };

struct arch_row {
    const char *libvirt, *kubernetes;
    enum arch arch;
};

static const struct arch_row arches[] = {
    {"x86_64", "amd64", ARCH_X86},      {"i686", "386", ARCH_X86},
    {"aarch64", "arm64", ARCH_ARM64},   {"s390x", "s390x", ARCH_S390X},
    {"ppc64le", "ppc64le", ARCH_OTHER}, {"riscv64", "riscv64", ARCH_OTHER},
};

/* All that the labeller sets; and what KubeVirt's did before it moved to node.kubevirt.io. */
static const char *const owned_prefixes[] = {
    LABEL_CPU_FEATURE,
    LABEL_CPU_MODEL,
    LABEL_CPU_MODEL_MIGRATION,
    LABEL_HOST_MODEL,
    LABEL_HOST_MODEL_FEATURE,
    LABEL_CPU_VENDOR,
    LABEL_CPU_TIMER,
    LABEL_HYPERV,
    LABEL_MACHINE_TYPE,
    LABEL_VM_ARCH,
    "feature.node.kubernetes.io/cpu-model-",
    "feature.node.kubernetes.io/cpu-feature-",
    "feature.node.kubernetes.io/kvm-info-cap-hyperv-",
};
static const char *const owned_keys[] = {
    LABEL_REALTIME,
    LABEL_SEV,
    LABEL_SEV_ES,
    LABEL_SEV_SNP,
    LABEL_TDX,
    LABEL_S390_PV,
    LABEL_OBSOLETE_HOST_MODEL,
};

/* That nobody should start a VM with any more: of the 4.15 documents, and KubeVirt's two Opterons. */
static const char *const obsolete_models[] = {
    "486",    "pentium",  "pentium2", "pentium3",   "pentiumpro", "coreduo",
    "n270",   "core2duo", "Conroe",   "athlon",     "phenom",     "qemu64",
    "qemu32", "kvm64",    "kvm32",    "Opteron_G1", "Opteron_G2",
};

struct run {
    const struct labeller_input *in;
    struct labeller_output *out;
    struct arena *a;
    struct err *err;
    enum arch arch;
    const char *arch_name;                   /* libvirt's, "" when it does not say */
    const struct xml_element *host, *custom; /* modes of the CPU; NULL: not supported */
    struct kv *labels;                       /* grows; unsorted, with repetitions */
    size_t len, cap;
    struct strmap *seen; /* keys of labels, and of those that cannot be */
};

static int read_domcapabilities(struct run *r);
static int read_capabilities(struct run *r);
static int label_features(struct run *r);
static int collect_features(struct run *r, struct strmap *set);
static void collect_map(struct run *r, const char *model, struct strmap *set);
static void collect_minimum(struct run *r, struct strmap *base);
static void label_models(struct run *r);
static void label_host_model(struct run *r);
static void label_security(struct run *r, const struct xml_element *features);
static void label_machines(struct run *r, const struct xml_element *capabilities);
static void label_machine_list(struct run *r, const struct xml_element *parent);
static void label_tsc(struct run *r, const struct xml_element *cpu);
static bool requires(const struct run *r, const struct xml_element *feature);
static bool is_obsolete(const struct run *r, const char *model);
static bool is_supported(const struct xml_element *e);
static void add(struct run *r, const char *prefix, const char *name, const char *value);
static void note(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void finish(struct run *r);
static bool is_skipped(const struct node *n);
static bool is_stale(const struct run *r, const char *key);

int
labeller_run(const struct labeller_input *in, struct labeller_output *ret, struct arena *a,
             struct err *err)
{
    struct labeller_output out = {0};
    struct run r = {.in = in, .out = &out, .a = a, .err = err, .arch_name = ""};
    int rc = 0;

    r.seen = strmap_new();
    out.notes.items = arena_calloc(a, MAX_NOTES, sizeof(*out.notes.items));
    if (in->domcapabilities.xml)
        rc = read_domcapabilities(&r);
    if (rc == 0 && in->capabilities.xml)
        rc = read_capabilities(&r);
    if (rc == 0 && r.arch != ARCH_ARM64)
        rc = label_features(&r);
    if (rc == 0) {
        for (size_t i = 0; i < in->hyperv.len; i++)
            add(&r, LABEL_HYPERV, in->hyperv.items[i], TRUE);
        if (in->realtime)
            add(&r, LABEL_REALTIME, "", TRUE);
        finish(&r);
        *ret = out;
    }
    strmap_free(r.seen, NULL);
    return rc;
}

bool
labeller_owns(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(owned_prefixes); i++)
        if (strncmp(key, owned_prefixes[i], strlen(owned_prefixes[i])) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(owned_keys); i++)
        if (strcmp(key, owned_keys[i]) == 0)
            return true;
    return false;
}

static int
read_domcapabilities(struct run *r)
{
    struct xml_element *root;
    const struct xml_element *arch, *cpu;
    int rc = xml_parse(&r->in->domcapabilities, "domainCapabilities", &root, r->a, r->err);

    if (rc != 0)
        return rc;
    arch = xml_child(root, "arch");
    if (arch)
        r->arch_name = arch->text;
    for (size_t i = 0; i < ARRAY_LEN(arches); i++) {
        if (strcmp(arches[i].libvirt, r->arch_name) != 0)
            continue;
        r->arch = arches[i].arch;
        add(r, LABEL_VM_ARCH, arches[i].kubernetes, TRUE);
    }
    cpu = xml_child(root, "cpu");
    for (const struct xml_element *m = xml_child(cpu, "mode"); m; m = xml_again(m)) {
        if (strcmp(xml_attr(m, "supported"), "no") == 0)
            continue;
        if (strcmp(xml_attr(m, "name"), "host-model") == 0)
            r->host = m;
        else if (strcmp(xml_attr(m, "name"), "custom") == 0)
            r->custom = m;
    }
    /* QEMU on ARM offers models by name that no other host is sure to have, and no host model that
     * could be moved: KubeVirt publishes none of it */
    if (r->arch != ARCH_ARM64) {
        label_models(r);
        label_host_model(r);
    }
    label_security(r, xml_child(root, "features"));
    return 0;
}

static int
read_capabilities(struct run *r)
{
    struct xml_element *root;
    int rc = xml_parse(&r->in->capabilities, "capabilities", &root, r->a, r->err);
    const struct xml_element *cpu;

    if (rc != 0)
        return rc;
    cpu = xml_child(xml_child(root, "host"), "cpu");
    label_tsc(r, cpu);
    if (!*r->arch_name && xml_child(cpu, "arch"))
        r->arch_name = xml_child(cpu, "arch")->text;
    label_machines(r, root);
    return 0;
}

static void
label_models(struct run *r)
{
    for (const struct xml_element *m = xml_child(r->custom, "model"); m; m = xml_again(m)) {
        const char *usable = xml_attr(m, "usable");

        if (!*usable || is_obsolete(r, m->text))
            continue;
        add(r, LABEL_CPU_MODEL_MIGRATION, m->text, TRUE);
        if (strcmp(usable, "no") != 0)
            add(r, LABEL_CPU_MODEL, m->text, TRUE);
    }
}

static void
label_host_model(struct run *r)
{
    const struct xml_element *model = xml_child(r->host, "model");
    const struct xml_element *vendor = xml_child(r->host, "vendor");

    if (!r->host)
        return;
    if (vendor && *vendor->text)
        add(r, LABEL_CPU_VENDOR, vendor->text, TRUE);
    else if (r->arch == ARCH_S390X) /* there is one, and libvirt does not say it */
        add(r, LABEL_CPU_VENDOR, "IBM", TRUE);
    if (!model || !*model->text) {
        note(r, "%s:%zu:%zu: the host model has no name", r->in->domcapabilities.name,
             r->host->line, r->host->column);
        return;
    }
    if (xml_again(model))
        note(r, "%s:%zu:%zu: the host model is expected to be one model: the first one, %s, counts",
             r->in->domcapabilities.name, r->host->line, r->host->column, model->text);
    add(r, LABEL_HOST_MODEL, model->text, TRUE);
    /* also when it is obsolete: a VM that runs must be able to leave and to come back */
    add(r, LABEL_CPU_MODEL_MIGRATION, model->text, TRUE);
    for (const struct xml_element *f = xml_child(r->host, "feature"); f; f = xml_again(f))
        if (requires(r, f))
            add(r, LABEL_HOST_MODEL_FEATURE, xml_attr(f, "name"), TRUE);
    if (is_obsolete(r, model->text)) {
        add(r, LABEL_OBSOLETE_HOST_MODEL, "", TRUE);
        r->out->obsolete_model = model->text;
    }
}

static int
label_features(struct run *r)
{
    struct strmap *set = strmap_new(), *base = strmap_new();
    const char *name, *min = r->in->hco ? r->in->hco->min_cpu_model : NULL;
    size_t it = 0;
    int rc = collect_features(r, set);

    if (rc == 0 && r->arch == ARCH_X86 && strmap_len(set) > 0)
        collect_minimum(r, base);
    while (rc == 0 && strmap_next(set, &it, &name, NULL)) {
        bool is_base =
            strmap_len(base) > 0 ? strmap_get(base, name) != NULL : cpu_base_has(min, name);

        if (r->arch != ARCH_X86 || !is_base)
            add(r, LABEL_CPU_FEATURE, name, TRUE);
    }
    strmap_free(set, NULL);
    strmap_free(base, NULL);
    return rc;
}

/* What a guest can have. The expanded host model says it all; without it: what the host model names,
 * what the CPU map says of it, and of every model that the host can run. */
static int
collect_features(struct run *r, struct strmap *set)
{
    const struct xml_element *f, *m = xml_child(r->host, "model");

    if (r->in->supported_features.xml) {
        struct xml_element *root;
        int rc = xml_parse(&r->in->supported_features, "cpu", &root, r->a, r->err);

        for (f = rc == 0 ? xml_child(root, "feature") : NULL; f; f = xml_again(f))
            if (requires(r, f))
                strmap_put(set, xml_attr(f, "name"), set);
        return rc;
    }
    for (f = xml_child(r->host, "feature"); f; f = xml_again(f))
        if (requires(r, f))
            strmap_put(set, xml_attr(f, "name"), set);
    if (m)
        collect_map(r, m->text, set);
    for (m = xml_child(r->custom, "model"); m; m = xml_again(m)) {
        const char *usable = xml_attr(m, "usable");

        if (*usable && strcmp(usable, "no") != 0 && !is_obsolete(r, m->text))
            collect_map(r, m->text, set);
    }
    for (f = xml_child(r->host, "feature"); f; f = xml_again(f))
        if (strcmp(xml_attr(f, "policy"), "disable") == 0)
            strmap_del(set, xml_attr(f, "name"));
    return 0;
}

static void
collect_map(struct run *r, const char *model, struct strmap *set)
{
    const char *missing = NULL;

    labeller_map_features(&r->in->models, model, set, &missing);
    if (missing)
        note(r, "the CPU map has no usable model %.64s, which %.64s builds on", missing, model);
}

/* The map's word on the minimum model, or nothing: then cpu_base.c's counts. */
static void
collect_minimum(struct run *r, struct strmap *base)
{
    const char *min = r->in->hco ? r->in->hco->min_cpu_model : NULL, *missing = NULL;

    if (!min || !*min)
        min = CPU_BASE_DEFAULT;
    if (!labeller_map_features(&r->in->models, min, base, &missing) && !cpu_base_known(min))
        note(r, "minCPUModel %.64s is not in the CPU map: %s counts", min, CPU_BASE_DEFAULT);
    else if (!cpu_base_known(min))
        note(r,
             "minCPUModel %.64s is not a model that placement knows: a VM that requires one of its "
             "features finds no node",
             min);
    if (missing)
        note(r, "the CPU map has no usable model %.64s, which %.64s builds on", missing, min);
}

static void
label_security(struct run *r, const struct xml_element *features)
{
    const struct xml_element *sev = xml_child(features, "sev");
    const struct xml_element *guests = xml_child(sev, "maxESGuests");
    const struct xml_element *launch = xml_child(features, "launchSecurity");
    bool es = is_supported(sev) && guests && strspn(guests->text, "0") < strlen(guests->text);

    if (is_supported(sev))
        add(r, LABEL_SEV, "", TRUE);
    if (es)
        add(r, LABEL_SEV_ES, "", TRUE);
    for (const struct xml_element *e = es && is_supported(launch) ? xml_child(launch, "enum")
                                                                  : NULL;
         e; e = xml_again(e))
        for (const struct xml_element *v = xml_child(e, "value"); v; v = xml_again(v))
            if (strcmp(xml_attr(e, "name"), "sectype") == 0 && strcmp(v->text, "sev-snp") == 0)
                add(r, LABEL_SEV_SNP, "", TRUE);
    if (is_supported(xml_child(features, "tdx")))
        add(r, LABEL_TDX, "", TRUE);
    if (is_supported(xml_child(features, "s390-pv")))
        add(r, LABEL_S390_PV, "", TRUE);
}

/* Those of the host's own architecture, under every name that they have. */
static void
label_machines(struct run *r, const struct xml_element *capabilities)
{
    for (const struct xml_element *g = xml_child(capabilities, "guest"); g; g = xml_again(g)) {
        const struct xml_element *arch = xml_child(g, "arch");

        if (strcmp(xml_attr(arch, "name"), r->arch_name) != 0)
            continue;
        label_machine_list(r, arch);
        for (const struct xml_element *d = xml_child(arch, "domain"); d; d = xml_again(d))
            label_machine_list(r, d);
    }
}

static void
label_machine_list(struct run *r, const struct xml_element *parent)
{
    for (const struct xml_element *m = xml_child(parent, "machine"); m; m = xml_again(m)) {
        add(r, LABEL_MACHINE_TYPE, m->text, TRUE);
        if (*xml_attr(m, "canonical"))
            add(r, LABEL_MACHINE_TYPE, xml_attr(m, "canonical"), TRUE);
    }
}

static void
label_tsc(struct run *r, const struct xml_element *cpu)
{
    for (const struct xml_element *c = xml_child(cpu, "counter"); c; c = xml_again(c)) {
        const char *hz = xml_attr(c, "frequency");

        if (strcmp(xml_attr(c, "name"), "tsc") != 0)
            continue;
        if (*hz < '1' || *hz > '9' || hz[strspn(hz, "0123456789")] || strlen(hz) > 18) {
            note(r, "%s:%zu:%zu: TSC frequency \"%.32s\": want a number of Hz",
                 r->in->capabilities.name, c->line, c->column, hz);
            continue;
        }
        add(r, LABEL_CPU_TIMER, "tsc-frequency", hz);
        add(r, LABEL_CPU_TIMER, "tsc-scalable",
            strcmp(xml_attr(c, "scaling"), "yes") == 0 ? TRUE : "false");
        return;
    }
}

/* On s390x libvirt gives no policy. */
static bool requires(const struct run *r, const struct xml_element *feature)
{
    const char *policy = xml_attr(feature, "policy");

    return *xml_attr(feature, "name") &&
           (strcmp(policy, "require") == 0 || (r->arch == ARCH_S390X && !*policy));
}

/* The built-in list, under any of QEMU's versions of them (qemu64-v1), and the cluster's. */
static bool
is_obsolete(const struct run *r, const char *model)
{
    for (size_t i = 0; i < ARRAY_LEN(obsolete_models); i++) {
        size_t len = strlen(obsolete_models[i]);
        const char *rest = model + len;

        if (strncmp(model, obsolete_models[i], len) == 0 &&
            (!*rest ||
             (strncmp(rest, "-v", 2) == 0 && rest[2] && !rest[2 + strspn(rest + 2, "0123456789")])))
            return true;
    }
    for (size_t i = 0; r->in->hco && i < r->in->hco->obsolete_cpu_models.len; i++)
        if (strcmp(model, r->in->hco->obsolete_cpu_models.items[i]) == 0)
            return true;
    return false;
}

static bool
is_supported(const struct xml_element *e)
{
    return strcmp(xml_attr(e, "supported"), "yes") == 0;
}

/* The label prefix + name, once. A name from outside that no label can have is left out, and noted. */
static void
add(struct run *r, const char *prefix, const char *name, const char *value)
{
    const char *key = arena_printf(r->a, "%s%s", prefix, name);

    if (strmap_put(r->seen, key, r))
        return;
    if (label_key_check(key, NULL) != 0) {
        note(r, "\"%.64s\" cannot be part of a label (%s...): left out", name, prefix);
        return;
    }
    if (r->len == r->cap) {
        size_t cap = r->cap > 0 ? 2 * r->cap : 256;
        struct kv *labels = arena_calloc(r->a, cap, sizeof(*labels));

        if (r->len > 0)
            memcpy(labels, r->labels, r->len * sizeof(*labels));
        r->labels = labels;
        r->cap = cap;
    }
    r->labels[r->len++] = (struct kv){key, value};
}

static void
note(struct run *r, const char *fmt, ...)
{
    struct err text = {0};
    va_list ap;

    if (r->out->notes.len == MAX_NOTES)
        return;
    va_start(ap, fmt);
    vsnprintf(text.msg, sizeof text.msg, fmt, ap);
    va_end(ap);
    for (char *p = text.msg; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    r->out->notes.items[r->out->notes.len++] = arena_strdup(r->a, text.msg);
}

/* Sorted labels, and what the node has to lose. */
static void
finish(struct run *r)
{
    const struct node *n = r->in->node;
    struct labeller_output *out = r->out;

    if (n && is_skipped(n)) {
        out->skipped = true;
        out->obsolete_model = NULL;
        return;
    }
    if (r->len > 0)
        qsort(r->labels, r->len, sizeof(*r->labels), kv_by_key);
    out->labels = (struct kv_list){r->labels, r->len};
    if (!n)
        return;
    out->removed.items = arena_calloc(r->a, n->meta.labels.len, sizeof(*out->removed.items));
    for (size_t i = 0; i < n->meta.labels.len; i++)
        if (is_stale(r, n->meta.labels.items[i].key))
            out->removed.items[out->removed.len++] = n->meta.labels.items[i].key;
    if (out->removed.len > 0)
        qsort(out->removed.items, out->removed.len, sizeof(*out->removed.items), text_compare);
}

static bool
is_skipped(const struct node *n)
{
    for (size_t i = 0; i < n->meta.annotations.len; i++)
        if (strcmp(n->meta.annotations.items[i].key, ANN_SKIP_LABELLER) == 0)
            return strcmp(n->meta.annotations.items[i].value, "false") != 0;
    return false;
}

static bool
is_stale(const struct run *r, const char *key)
{
    const struct kv wanted = {.key = key};

    if (r->len > 0 && bsearch(&wanted, r->labels, r->len, sizeof(*r->labels), kv_by_key))
        return false;
    if (!r->in->domcapabilities.xml)
        return strncmp(key, LABEL_HYPERV, strlen(LABEL_HYPERV)) == 0 ||
               strcmp(key, LABEL_REALTIME) == 0;
    return labeller_owns(key);
}
