/* Rules about labels: node selection, CPU, abilities of the host; part of why.h. */
#include <string.h>

#include "api/names.h"
#include "base/sb.h"
#include "sched/explain.h"
#include "sched/why.h"

#define SHOWN_MODELS 4

static void add_pair(struct why_ctx *w, const struct kv *kv, const char *whose);
static size_t failing(const struct why_ctx *w, const struct node_clause *c);
static void add_rule(struct why_ctx *w, const struct node_rule *r, const char *whose);
static const char *wanted_text(const struct why_ctx *w, const struct node_rule *r);
static const char *values_text(const struct why_ctx *w, const struct str_list *l);
static const char *some(const struct why_ctx *w, const char *prefix, const char *what);
static void feature(struct why_ctx *w, const char *name, const char *of);
static bool has(const struct why_ctx *w, const struct cpu_feature_rule *f);

/* Of terms that are ORed, the one that the node comes nearest to. */
void
why_selection(struct why_ctx *w, const struct node_terms *t, const char *whose)
{
    const struct node_clause *best = NULL;
    bool any = !t->has_required;
    size_t fewest = 0;

    for (size_t s = 0; s < ARRAY_LEN(t->selectors); s++) {
        const struct kv_list *l = t->selectors[s];

        for (size_t i = 0; l && i < l->len; i++)
            if (s == 0 || !node_terms_selects(t->selectors[0], l->items[i].key))
                add_pair(w, &l->items[i], whose);
    }
    for (size_t i = 0; i < t->required_len && !any; i++) {
        const struct node_clause *c = &t->required[i];
        size_t n = c->never ? 0 : failing(w, c);

        if (c->never)
            continue;
        any = n == 0;
        if (!best || n < fewest) {
            best = c;
            fewest = n;
        }
    }
    if (any)
        return;
    if (!best) {
        why_add(w, arena_printf(w->a, "%s: a required term that can match", whose),
                "terms that are all empty or not valid", WHY_COST_LABEL,
                "correct the required node affinity");
        return;
    }
    for (size_t i = 0; i < best->rules_len; i++)
        if (!node_terms_rule_matches(&best->rules[i], &w->n->labels, w->n->name))
            add_rule(w, &best->rules[i], whose);
}

void
why_cpu(struct why_ctx *w)
{
    const struct cpu_rule *c = &w->r->cpu;
    struct str_list reasons = {0};

    if (c->impossible) {
        why_add(w, "a source whose CPU is known", "no host-model label there", WHY_COST_VM,
                "start the labeller on the source, or restart the VM instead of migrating it");
        return;
    }
    if (c->model && !node_labels_true(&w->n->labels, c->model_label))
        why_add(w, arena_printf(w->a, "CPU model %s", c->model),
                some(w, LABEL_CPU_MODEL, "CPU model"), WHY_COST_VM,
                arena_printf(w->a, "ask for a CPU model that %s has", w->n->name));
    cpu_rule_check(c, w->n, w->a, &reasons);
    for (size_t i = 0; c->host_model && i < reasons.len; i++)
        if (strstr(reasons.items[i], "didn't have host CPU model"))
            why_add(w,
                    arena_printf(w->a, "host CPU model %s, which it started with", c->host_model),
                    some(w, LABEL_HOST_MODEL, "host model"), WHY_COST_VM,
                    arena_printf(w->a, "restart it on %s instead of migrating it", w->n->name));
    for (size_t i = 0; i < c->host_features.len; i++)
        if (!has(w, &c->host_features.items[i]))
            feature(w, c->host_features.items[i].name, "of its host model");
    if (c->vendor && !node_labels_true(&w->n->labels, c->vendor_label))
        why_add(w, arena_printf(w->a, "CPU vendor %s", c->vendor),
                some(w, LABEL_CPU_VENDOR, "CPU vendor"), WHY_COST_NEVER, NULL);
    for (size_t i = 0; i < c->required.len; i++)
        if (!has(w, &c->required.items[i]))
            feature(w, c->required.items[i].name, "that it requires");
    for (size_t i = 0; i < c->forbidden.len; i++)
        if (has(w, &c->forbidden.items[i]))
            why_add(
                w, arena_printf(w->a, "no CPU feature %s", c->forbidden.items[i].name), "it",
                WHY_COST_VM,
                arena_printf(w->a, "stop forbidding CPU feature %s", c->forbidden.items[i].name));
}

void
why_host(struct why_ctx *w)
{
    const struct host_rule *h = &w->r->host;
    int64_t hz = host_rule_tsc_of(w->n);

    if (h->impossible) {
        why_add(w, "a TSC frequency", "none that is known", WHY_COST_VM,
                "run the labeller, so that nodes publish their TSC frequency");
        return;
    }
    for (size_t i = 0; i < h->abilities_len; i++)
        if (!host_rule_has(&h->abilities[i], w->n))
            why_add(w, h->abilities[i].what, why_label(w, h->abilities[i].label), WHY_COST_VM,
                    arena_printf(w->a, "do without %s", h->abilities[i].what));
    if (!host_rule_machine_ok(h, w->n))
        why_add(w, arena_printf(w->a, "machine type %s", h->machine),
                some(w, LABEL_MACHINE_TYPE, "machine type"), WHY_COST_VM,
                arena_printf(w->a, "ask for a machine type that %s has", w->n->name));
    if (!host_rule_arch_ok(h, w->n))
        why_add(w, arena_printf(w->a, "architecture %s", h->arch), why_label(w, LABEL_ARCH),
                WHY_COST_NEVER, NULL);
    if (!host_rule_tsc_ok(h, w->n))
        why_add(w, arena_printf(w->a, "TSC frequency %lld Hz", (long long)h->tsc_hz),
                hz > 0 ? arena_printf(w->a, "%lld Hz", (long long)hz) : "no TSC frequency",
                WHY_COST_NEVER, NULL);
}

static void
add_pair(struct why_ctx *w, const struct kv *kv, const char *whose)
{
    const char *value = node_labels_get(&w->n->labels, kv->key);
    const char *wanted = arena_printf(w->a, "%s=%s", kv->key, kv->value);

    if (value && strcmp(value, kv->value) == 0)
        return;
    why_add(w, arena_printf(w->a, "%s (%s)", wanted, whose), why_label(w, kv->key), WHY_COST_LABEL,
            arena_printf(w->a, "label %s %s", w->n->name, wanted));
}

static size_t
failing(const struct why_ctx *w, const struct node_clause *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->rules_len; i++)
        n += !node_terms_rule_matches(&c->rules[i], &w->n->labels, w->n->name);
    return n;
}

static void
add_rule(struct why_ctx *w, const struct node_rule *r, const char *whose)
{
    const char *wanted = arena_printf(w->a, "%s (%s)", wanted_text(w, r), whose), *change;

    if (!r->key) {
        why_add(w, wanted, arena_printf(w->a, "the name %s", w->n->name), WHY_COST_NEVER, NULL);
        return;
    }
    if (r->op == SEL_IN)
        change = arena_printf(w->a, "label %s %s=%s", w->n->name, r->key, r->values->items[0]);
    else if (r->op == SEL_EXISTS)
        change = arena_printf(w->a, "label %s with %s", w->n->name, r->key);
    else if (r->op == SEL_GT || r->op == SEL_LT)
        change = arena_printf(w->a, "label %s with %s %s %lld", w->n->name, r->key,
                              r->op == SEL_GT ? "above" : "below", (long long)r->number);
    else
        change = arena_printf(w->a, "take label %s from %s", r->key, w->n->name);
    why_add(w, wanted, why_label(w, r->key), WHY_COST_LABEL, change);
}

static const char *
wanted_text(const struct why_ctx *w, const struct node_rule *r)
{
    const char *key = r->key ? r->key : "the node's name";

    switch (r->op) {
    case SEL_IN:
        return arena_printf(w->a, "%s in (%s)", key, values_text(w, r->values));
    case SEL_NOT_IN:
        return arena_printf(w->a, "%s not in (%s)", key, values_text(w, r->values));
    case SEL_EXISTS:
        return arena_printf(w->a, "a label %s", key);
    case SEL_DOES_NOT_EXIST:
        return arena_printf(w->a, "no label %s", key);
    case SEL_GT:
        return arena_printf(w->a, "%s above %lld", key, (long long)r->number);
    case SEL_LT:
        return arena_printf(w->a, "%s below %lld", key, (long long)r->number);
    case SEL_UNKNOWN:
        break;
    }
    return key;
}

static const char *
values_text(const struct why_ctx *w, const struct str_list *l)
{
    AUTO_SB struct sb text = SB_INIT;

    for (size_t i = 0; i < l->len; i++)
        sb_printf(&text, "%s%s", i > 0 ? ", " : "", l->items[i]);
    return arena_strdup(w->a, sb_str(&text));
}

/* "Penryn, Haswell": what the node has of a kind of label. */
static const char *
some(const struct why_ctx *w, const char *prefix, const char *what)
{
    AUTO_SB struct sb text = SB_INIT;
    size_t at = 0, n = 0;
    const char *name;

    while ((name = node_labels_next(&w->n->labels, prefix, &at)))
        if (n++ < SHOWN_MODELS)
            sb_printf(&text, "%s%s", n > 1 ? ", " : "", name);
    if (n == 0)
        return arena_printf(w->a, "no label of a %s", what);
    if (n > SHOWN_MODELS)
        sb_printf(&text, " and %zu more", n - SHOWN_MODELS);
    return arena_strdup(w->a, sb_str(&text));
}

static void
feature(struct why_ctx *w, const char *name, const char *of)
{
    why_add(w, arena_printf(w->a, "CPU feature %s %s", name, of),
            w->n->cpu_labelled ? "no label of it" : "no labels of CPU features", WHY_COST_VM,
            arena_printf(w->a, "do without CPU feature %s", name));
}

static bool
has(const struct why_ctx *w, const struct cpu_feature_rule *f)
{
    return node_labels_true(&w->n->labels, f->label) ||
           node_labels_true(&w->n->labels, f->host_label) || (f->base && w->n->cpu_labelled);
}
