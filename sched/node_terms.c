/* Compiled node selection; see node_terms.h. */
#include "sched/node_terms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"

static void compile_clause(struct node_clause *c, const struct node_term *t, struct arena *a);
static bool compile_rule(struct node_rule *r, const struct requirement *q);
static bool compile_field(struct node_rule *r, const struct requirement *q);
static bool clause_matches(const struct node_clause *c, const struct node_labels *labels,
                           const char *name);
static bool rule_matches(const struct node_rule *r, const char *value);
static void find_pins(struct node_terms *t, struct arena *a);
static bool pairs_match(const struct kv_list *want, const struct kv_list *except,
                        const struct node_labels *labels);
static bool in_list(const struct str_list *l, const char *s);
static bool parse_int64(const char *s, int64_t *ret);

struct node_labels
node_labels_sorted(const struct kv_list *l, struct arena *a)
{
    struct kv *items = arena_calloc(a, l->len, sizeof(*items));

    if (l->len > 0) {
        memcpy(items, l->items, l->len * sizeof(*items));
        qsort(items, l->len, sizeof(*items), kv_by_key);
    }
    return (struct node_labels){.items = items, .len = l->len};
}

const char *
node_labels_get(const struct node_labels *l, const char *key)
{
    struct kv want = {.key = key};
    const struct kv *found =
        l->len > 0 ? bsearch(&want, l->items, l->len, sizeof(want), kv_by_key) : NULL;

    return found ? found->value : NULL;
}

bool
node_labels_true(const struct node_labels *l, const char *key)
{
    const char *value = node_labels_get(l, key);

    return value && strcmp(value, "true") == 0;
}

const char *
node_labels_next(const struct node_labels *l, const char *prefix, size_t *at)
{
    size_t len = strlen(prefix);

    for (; *at < l->len; (*at)++) {
        const struct kv *kv = &l->items[*at];

        if (strncmp(kv->key, prefix, len) == 0 && strcmp(kv->value, "true") == 0) {
            (*at)++;
            return kv->key + len;
        }
    }
    return NULL;
}

struct node_terms
node_terms_compile(const struct kv_list *selector, const struct kv_list *added,
                   const struct affinity *affinity, struct arena *a)
{
    struct node_terms t = {.selectors = {selector, added}};

    if (affinity && affinity->has_node_required) {
        t.has_required = true;
        t.required_len = affinity->node_required_len;
        t.required = arena_calloc(a, t.required_len, sizeof(*t.required));
        for (size_t i = 0; i < t.required_len; i++)
            compile_clause(&t.required[i], &affinity->node_required[i], a);
        find_pins(&t, a);
    }
    return t;
}

bool
node_terms_match(const struct node_terms *t, const struct node_labels *labels, const char *name)
{
    if (!pairs_match(t->selectors[0], NULL, labels) ||
        !pairs_match(t->selectors[1], t->selectors[0], labels))
        return false;
    if (!t->has_required)
        return true;
    for (size_t i = 0; i < t->required_len; i++)
        if (clause_matches(&t->required[i], labels, name))
            return true;
    return false;
}

bool
node_terms_rule_matches(const struct node_rule *r, const struct node_labels *labels,
                        const char *name)
{
    return rule_matches(r, r->key ? node_labels_get(labels, r->key) : name);
}

bool
node_terms_selects(const struct kv_list *selector, const char *key)
{
    return selector && kv_get(selector, key);
}

bool
node_terms_pins(const struct node_terms *t, const char *name)
{
    return in_list(&t->pins, name);
}

void
node_terms_preferred(const struct affinity *affinity, struct arena *a, struct node_clauses *ret)
{
    struct node_clause *items;
    size_t len = ret->len;

    if (!affinity || affinity->node_preferred_len == 0)
        return;
    items = arena_calloc(a, len + affinity->node_preferred_len, sizeof(*items));
    if (len > 0)
        memcpy(items, ret->items, len * sizeof(*items));
    for (size_t i = 0; i < affinity->node_preferred_len; i++) {
        const struct preferred_node_term *p = &affinity->node_preferred[i];

        compile_clause(&items[len], &p->preference, a);
        /* as upstream's type, whatever comes */
        items[len].weight = p->weight < INT32_MAX ? p->weight : INT32_MAX;
        if (p->weight > 0 && !items[len].never)
            len++;
    }
    ret->items = items;
    ret->len = len;
}

int64_t
node_terms_weight(const struct node_clauses *t, const struct node_labels *labels, const char *name)
{
    int64_t sum = 0;

    for (size_t i = 0; i < t->len; i++)
        if (clause_matches(&t->items[i], labels, name))
            sum += t->items[i].weight;
    return sum;
}

static void
compile_clause(struct node_clause *c, const struct node_term *t, struct arena *a)
{
    bool valid = t->exprs_len + t->fields_len > 0;

    *c = (struct node_clause){0};
    c->rules = arena_calloc(a, t->exprs_len + t->fields_len, sizeof(*c->rules));
    for (size_t i = 0; i < t->exprs_len; i++)
        valid = compile_rule(&c->rules[c->rules_len++], &t->exprs[i]) && valid;
    for (size_t i = 0; i < t->fields_len; i++)
        valid = compile_field(&c->rules[c->rules_len++], &t->fields[i]) && valid;
    c->never = !valid;
}

/* False when the requirement is not valid: it poisons its term. */
static bool
compile_rule(struct node_rule *r, const struct requirement *q)
{
    *r = (struct node_rule){.key = q->key ? q->key : "", .op = q->op, .values = &q->values};
    if (label_key_check(r->key, NULL) != 0)
        return false;
    for (size_t i = 0; i < q->values.len; i++)
        if (label_value_check(q->values.items[i], NULL) != 0)
            return false;
    switch (q->op) {
    case SEL_IN:
    case SEL_NOT_IN:
        return q->values.len > 0;
    case SEL_EXISTS:
    case SEL_DOES_NOT_EXIST:
        return q->values.len == 0;
    case SEL_GT:
    case SEL_LT:
        return q->values.len == 1 && parse_int64(q->values.items[0], &r->number);
    case SEL_UNKNOWN:
        break;
    }
    return false;
}

static bool
compile_field(struct node_rule *r, const struct requirement *q)
{
    *r = (struct node_rule){.op = q->op, .values = &q->values};
    if ((q->op != SEL_IN && q->op != SEL_NOT_IN) || q->values.len != 1)
        return false;
    if (q->key && strcmp(q->key, "metadata.name") == 0)
        return true;
    /* an unknown field has no value: In is false, NotIn is true */
    r->key = "";
    return true;
}

static bool
clause_matches(const struct node_clause *c, const struct node_labels *labels, const char *name)
{
    if (c->never)
        return false;
    for (size_t i = 0; i < c->rules_len; i++) {
        const struct node_rule *r = &c->rules[i];

        if (!rule_matches(r, r->key ? node_labels_get(labels, r->key) : name))
            return false;
    }
    return true;
}

static bool
rule_matches(const struct node_rule *r, const char *value)
{
    int64_t have;

    switch (r->op) {
    case SEL_IN:
        return value && in_list(r->values, value);
    case SEL_NOT_IN:
        return !value || !in_list(r->values, value);
    case SEL_EXISTS:
        return value != NULL;
    case SEL_DOES_NOT_EXIST:
        return value == NULL;
    case SEL_GT:
        return value && parse_int64(value, &have) && have > r->number;
    case SEL_LT:
        return value && parse_int64(value, &have) && have < r->number;
    case SEL_UNKNOWN:
        break;
    }
    return false;
}

/* The names of all terms, when each has one by In. kube-scheduler looks at those nodes only. Names
 * within a term must agree; terms without an agreed name add none. */
static void
find_pins(struct node_terms *t, struct arena *a)
{
    const char **names = arena_calloc(a, t->required_len, sizeof(*names));
    size_t len = 0;

    if (t->required_len == 0)
        return;
    for (size_t i = 0; i < t->required_len; i++) {
        const struct node_clause *c = &t->required[i];
        const char *name = NULL;
        bool pinned = false, clash = false;

        for (size_t j = 0; j < c->rules_len; j++) {
            const struct node_rule *r = &c->rules[j];

            if (r->key || r->op != SEL_IN || r->values->len != 1)
                continue;
            clash = clash || (pinned && strcmp(name, r->values->items[0]) != 0);
            name = r->values->items[0];
            pinned = true;
        }
        if (!pinned)
            return;
        if (!clash)
            names[len++] = name;
    }
    t->pinned = true;
    t->pins = (struct str_list){.items = names, .len = len};
}

static bool
pairs_match(const struct kv_list *want, const struct kv_list *except,
            const struct node_labels *labels)
{
    if (!want)
        return true;
    for (size_t i = 0; i < want->len; i++) {
        const struct kv *kv = &want->items[i];
        const char *value;

        if (except && kv_get(except, kv->key))
            continue;
        value = node_labels_get(labels, kv->key);
        if (!value || strcmp(value, kv->value) != 0)
            return false;
    }
    return true;
}

static bool
in_list(const struct str_list *l, const char *s)
{
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i], s) == 0)
            return true;
    return false;
}

/* As Go's strconv.ParseInt(s, 10, 64): an optional sign and digits, nothing else. */
static bool
parse_int64(const char *s, int64_t *ret)
{
    const char *digits = s + (*s == '+' || *s == '-');
    char *end;
    long long n;

    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    n = strtoll(s, &end, 10);
    if (errno == ERANGE || *end != '\0')
        return false;
    *ret = n;
    return true;
}
