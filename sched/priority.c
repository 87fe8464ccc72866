/* Priorities and budgets; see priority.h and preempt.h. */
#include "sched/priority.h"

#include <string.h>

#include "api/names.h"
#include "api/selector.h"
#include "sched/preempt.h"

struct priorities {
    struct strmap *classes; /* name -> const struct priority_class * */
    const struct pdb **pdbs;
    size_t pdbs_len, pdbs_cap;
};

static struct priorities *ensure(struct cluster *c);
static const struct priority_class *class_of(const struct cluster *c, const char *name);
static int64_t value_of(const struct cluster *c, const char *class_name);
static int64_t in_range(int64_t priority);
static bool budget_covers(const struct pdb *b, const struct occupant *o);

void
priorities_free(struct priorities *p)
{
    if (!p)
        return;
    strmap_free(p->classes, NULL);
    free(p->pdbs);
    free(p);
}

void
cluster_add_priority_class(struct cluster *c, const struct priority_class *p)
{
    union { /* the map takes a pointer to what nobody changes */
        const struct priority_class *in;
        void *out;
    } value = {.in = p};

    strmap_put(ensure(c)->classes, p->meta.name ? p->meta.name : "", value.out);
}

void
cluster_add_pdb(struct cluster *c, const struct pdb *b)
{
    struct priorities *p = ensure(c);

    if (p->pdbs_len == p->pdbs_cap) {
        p->pdbs_cap = p->pdbs_cap ? 2 * p->pdbs_cap : 8;
        p->pdbs = xreallocarray(p->pdbs, p->pdbs_cap, sizeof(*p->pdbs));
    }
    p->pdbs[p->pdbs_len++] = b;
}

void
cluster_clear_priorities(struct cluster *c)
{
    priorities_free(TAKE_PTR(c->priorities));
}

int64_t
cluster_priority_of_vmi(const struct cluster *c, const struct vmi *v)
{
    return value_of(c, v->spec.priority_class);
}

int64_t
cluster_priority_of_pod(const struct cluster *c, const struct pod *p)
{
    return p->has_priority ? in_range(p->priority) : value_of(c, p->priority_class);
}

bool
cluster_may_preempt(const struct cluster *c, const struct place_request *rq)
{
    const char *policy = rq->pod ? rq->pod->preemption_policy : NULL;
    const struct priority_class *k;

    if (!policy) {
        k = class_of(c, rq->pod ? rq->pod->priority_class : rq->vmi->spec.priority_class);
        policy = k ? k->preemption_policy : NULL;
    }
    return !policy || strcmp(policy, "Never") != 0;
}

bool
cluster_has_priority_class(const struct cluster *c, const char *name)
{
    return class_of(c, name) != NULL;
}

bool
cluster_has_lower_class(const struct cluster *c, int64_t priority)
{
    size_t it = 0;
    void *value;

    while (c->priorities && strmap_next(c->priorities->classes, &it, NULL, &value))
        if (in_range(((const struct priority_class *)value)->value) < priority)
            return true;
    return value_of(c, NULL) < priority;
}

int64_t
priority_of_occupant(const struct cluster *c, const struct occupant *o)
{
    return o->is_pod ? cluster_priority_of_pod(c, o->object)
                     : cluster_priority_of_vmi(c, o->object);
}

bool
priority_matters(const struct cluster *c, int64_t mine)
{
    if (mine != 0 || (c->priorities && strmap_len(c->priorities->classes) > 0))
        return true;
    for (size_t i = 0; i < c->nodes_len; i++)
        for (const struct occupant *o = c->nodes[i]->occupants; o; o = o->next)
            if (priority_of_occupant(c, o) != 0)
                return true;
    return false;
}

int64_t
priority_start_us(const struct occupant *o)
{
    int64_t us;

    if (o->is_pod) {
        const struct pod *p = o->object;

        us = p->start_us;
    } else {
        const struct vmi *v = o->object;

        us = v->status.start_us ? v->status.start_us : v->meta.creation_us;
    }
    return us ? us : INT64_MAX;
}

void
priority_protected(const struct cluster *c, struct occupant *const *list, size_t len, bool *ret)
{
    const struct priorities *p = c->priorities;
    size_t pdbs_len = p ? p->pdbs_len : 0;
    AUTO_FREE int64_t *left = xcalloc(pdbs_len + 1, sizeof(*left));

    for (size_t b = 0; b < pdbs_len; b++)
        left[b] = p->pdbs[b]->disruptions_allowed;
    for (size_t i = 0; i < len; i++) {
        ret[i] = false;
        for (size_t b = 0; b < pdbs_len; b++)
            if (budget_covers(p->pdbs[b], list[i]) && --left[b] < 0)
                ret[i] = true;
    }
}

static struct priorities *
ensure(struct cluster *c)
{
    if (!c->priorities) {
        c->priorities = xcalloc(1, sizeof(*c->priorities));
        c->priorities->classes = strmap_new();
    }
    return c->priorities;
}

/* Without a name the global default; of several of those the lowest, as upstream. NULL: none. */
static const struct priority_class *
class_of(const struct cluster *c, const char *name)
{
    static const struct priority_class system[] = {
        {.meta = {.name = PRIORITY_CLUSTER_CRITICAL}, .value = PRIORITY_CLUSTER_CRITICAL_VALUE},
        {.meta = {.name = PRIORITY_NODE_CRITICAL}, .value = PRIORITY_NODE_CRITICAL_VALUE},
    };
    const struct priority_class *found = NULL;
    size_t it = 0;
    void *value;

    if (name && *name) {
        for (size_t i = 0; i < ARRAY_LEN(system); i++)
            if (strcmp(name, system[i].meta.name) == 0)
                return &system[i];
        return c->priorities ? strmap_get(c->priorities->classes, name) : NULL;
    }
    while (c->priorities && strmap_next(c->priorities->classes, &it, NULL, &value)) {
        const struct priority_class *one = value;

        if (one->global_default && (!found || one->value < found->value))
            found = one;
    }
    return found;
}

static int64_t
value_of(const struct cluster *c, const char *class_name)
{
    const struct priority_class *k = class_of(c, class_name);

    return k ? in_range(k->value) : 0;
}

/* What the API would have refused must not overflow a sum. */
static int64_t
in_range(int64_t priority)
{
    return priority < INT32_MIN ? INT32_MIN : priority > INT32_MAX ? INT32_MAX : priority;
}

/* As kube-scheduler: a budget without a selector, or with an empty one, covers nobody; nor one that has
 * counted the VM as gone already. */
static bool
budget_covers(const struct pdb *b, const struct occupant *o)
{
    if (o->labels->len == 0 || !b->selector ||
        (b->selector->match_labels.len == 0 && b->selector->exprs_len == 0) ||
        strcmp(b->meta.namespace_ ? b->meta.namespace_ : "", o->ns) != 0)
        return false;
    return !kv_get(&b->disrupted, o->name) && label_selector_matches(b->selector, o->labels);
}
