/* CPU model, features and vendor of a node; see cpu_rule.h. */
#include "sched/cpu_rule.h"

#include <string.h>

#include "api/names.h"
#include "sched/cpu_base.h"
#include "sched/explain.h"

static void compile_features(struct cpu_rule *r, const struct vmi_cpu *cpu, const char *min_model,
                             struct arena *a);
static void compile_host_model(struct cpu_rule *r, const struct vmi *v, bool explicit_model,
                               const struct cluster_node *source, const char *min_model,
                               struct arena *a);
static void set_host_model(struct cpu_rule *r, const char *model, struct arena *a);
static const char *find_pin(const struct vmi *v);
static void add_feature(struct cpu_features *l, const char *name, const char *min_model,
                        struct arena *a);
static bool has_host_model(const struct cpu_rule *r, const struct cluster_node *n);
static const char *first_missing(const struct cpu_features *l, const struct cluster_node *n);
static bool has_feature(const struct cpu_feature_rule *f, const struct cluster_node *n);

struct cpu_rule
cpu_rule_compile(const struct vmi *v, const struct hco *hco, bool migrate,
                 const struct cluster_node *source, struct arena *a)
{
    const struct vmi_domain *d = &v->spec.domain;
    const char *model = vmi_cpu_model(&v->spec, hco);
    const char *min_model = hco ? hco->min_cpu_model : NULL;
    struct cpu_rule r = {0};
    size_t at = 0;

    compile_features(&r, &d->cpu, min_model, a);
    if (strcmp(model, "host-model") != 0 && strcmp(model, "host-passthrough") != 0) {
        r.model = model;
        r.model_label = arena_printf(a, "%s%s", LABEL_CPU_MODEL, model);
    } else if (migrate) {
        compile_host_model(&r, v, d->cpu.model && *d->cpu.model, source, min_model, a);
    }
    if (migrate && source)
        r.vendor = node_labels_next(&source->labels, LABEL_CPU_VENDOR, &at);
    if (!r.vendor && d->hyperv_evmcs)
        r.vendor = "Intel";
    if (r.vendor)
        r.vendor_label = arena_printf(a, "%s%s", LABEL_CPU_VENDOR, r.vendor);
    return r;
}

size_t
cpu_rule_check(const struct cpu_rule *r, const struct cluster_node *n, struct arena *a,
               struct str_list *reasons)
{
    size_t before = reasons->len;
    const char *missing;

    if (r->impossible) {
        explain_add(reasons, a, r->impossible);
        return 1;
    }
    if (r->model && !node_labels_true(&n->labels, r->model_label))
        explain_addf(reasons, a, "node(s) didn't have CPU model %s", r->model);
    if (r->host_model && !has_host_model(r, n))
        explain_addf(reasons, a, "node(s) didn't have host CPU model %s", r->host_model);
    else if ((missing = first_missing(&r->host_features, n))) /* they come by the dozen */
        explain_addf(reasons, a, "node(s) didn't have CPU feature %s of host model %s", missing,
                     r->host_model);
    if (r->vendor && !node_labels_true(&n->labels, r->vendor_label))
        explain_addf(reasons, a, "node(s) didn't have CPU vendor %s", r->vendor);
    if (r->required.len > 0 && !n->cpu_labelled) {
        explain_add(reasons, a, "node(s) had no CPU feature labels");
    } else {
        for (size_t i = 0; i < r->required.len; i++)
            if (!has_feature(&r->required.items[i], n))
                explain_addf(reasons, a, "node(s) didn't have CPU feature %s",
                             r->required.items[i].name);
    }
    for (size_t i = 0; i < r->forbidden.len; i++)
        if (has_feature(&r->forbidden.items[i], n))
            explain_addf(reasons, a, "node(s) had forbidden CPU feature %s",
                         r->forbidden.items[i].name);
    return reasons->len - before;
}

const char *
vmi_host_model_pin(const struct node *n, struct arena *a)
{
    struct node_labels labels = node_labels_sorted(&n->meta.labels, a);
    size_t at = 0;
    const char *model = node_labels_next(&labels, LABEL_HOST_MODEL, &at), *feature;
    const char *text = model;

    if (!model)
        return NULL;
    at = 0;
    while ((feature = node_labels_next(&labels, LABEL_HOST_MODEL_FEATURE, &at)))
        text = arena_printf(a, "%s %s", text, feature);
    return text;
}

static void
compile_features(struct cpu_rule *r, const struct vmi_cpu *cpu, const char *min_model,
                 struct arena *a)
{
    for (size_t i = 0; i < cpu->features_len; i++) {
        const char *policy = cpu->features[i].policy, *name = cpu->features[i].name;

        if (!name)
            continue;
        if (!policy || !*policy || strcmp(policy, "require") == 0)
            add_feature(&r->required, name, min_model, a);
        else if (strcmp(policy, "forbid") == 0)
            add_feature(&r->forbidden, name, min_model, a);
        /* optional, disable and force ask nothing of the node */
    }
}

/* The model that the guest has seen since it started. A node that carries no CPU labels at all has no
 * labeller (native guests): a model that nobody asked for binds nothing there. */
static void
compile_host_model(struct cpu_rule *r, const struct vmi *v, bool explicit_model,
                   const struct cluster_node *source, const char *min_model, struct arena *a)
{
    const char *pin = find_pin(v), *feature;
    size_t at = 0;

    if (pin) {
        char *words = arena_strdup(a, pin), *rest;

        set_host_model(r, strtok_r(words, " ", &rest), a);
        while (r->host_model && (feature = strtok_r(NULL, " ", &rest)))
            add_feature(&r->host_features, feature, min_model, a);
        if (r->host_model)
            return;
    }
    if (!source) {
        if (explicit_model)
            r->impossible = "node(s) couldn't be compared with the source, which is not known";
        return;
    }
    set_host_model(r, node_labels_next(&source->labels, LABEL_HOST_MODEL, &at), a);
    if (!r->host_model) {
        if (explicit_model || source->cpu_labelled)
            r->impossible = arena_printf(
                a, "node(s) couldn't be compared with source %s, which has no host-model label",
                source->name);
        return;
    }
    at = 0;
    while ((feature = node_labels_next(&source->labels, LABEL_HOST_MODEL_FEATURE, &at)))
        add_feature(&r->host_features, feature, min_model, a);
}

static void
set_host_model(struct cpu_rule *r, const char *model, struct arena *a)
{
    static const char *const prefixes[] = {LABEL_CPU_MODEL_MIGRATION, LABEL_CPU_MODEL,
                                           LABEL_HOST_MODEL};

    r->host_model = model;
    for (size_t i = 0; model && i < ARRAY_LEN(prefixes); i++)
        r->host_model_labels[i] = arena_printf(a, "%s%s", prefixes[i], model);
}

static const char *
find_pin(const struct vmi *v)
{
    for (size_t i = 0; i < v->meta.annotations.len; i++)
        if (strcmp(v->meta.annotations.items[i].key, PLACE_ANN_HOST_MODEL) == 0)
            return v->meta.annotations.items[i].value;
    return NULL;
}

static void
add_feature(struct cpu_features *l, const char *name, const char *min_model, struct arena *a)
{
    struct cpu_feature_rule *items = l->items;

    /* room for 1, 2, 4, ... */
    if ((l->len & (l->len - 1)) == 0) {
        items = arena_calloc(a, l->len > 0 ? 2 * l->len : 1, sizeof(*items));
        if (l->len > 0)
            memcpy(items, l->items, l->len * sizeof(*items));
    }
    items[l->len] = (struct cpu_feature_rule){
        .name = name,
        .label = arena_printf(a, "%s%s", LABEL_CPU_FEATURE, name),
        .host_label = arena_printf(a, "%s%s", LABEL_HOST_MODEL_FEATURE, name),
        .base = cpu_base_has(min_model, name),
    };
    l->items = items;
    l->len++;
}

static bool
has_host_model(const struct cpu_rule *r, const struct cluster_node *n)
{
    for (size_t i = 0; i < ARRAY_LEN(r->host_model_labels); i++)
        if (node_labels_true(&n->labels, r->host_model_labels[i]))
            return true;
    return false;
}

static const char *
first_missing(const struct cpu_features *l, const struct cluster_node *n)
{
    for (size_t i = 0; i < l->len; i++)
        if (!has_feature(&l->items[i], n))
            return l->items[i].name;
    return NULL;
}

static bool
has_feature(const struct cpu_feature_rule *f, const struct cluster_node *n)
{
    return node_labels_true(&n->labels, f->label) || node_labels_true(&n->labels, f->host_label) ||
           (f->base && n->cpu_labelled);
}
