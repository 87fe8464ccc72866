/* Claims, the volumes that they have or may get, and where those are; see volumes.h. */
#include "sched/volumes.h"

#include <string.h>

#include "sched/attach.h"
#include "sched/explain.h"

#define NO_PROVISIONER "kubernetes.io/no-provisioner"

static const char *compile_claim(const struct cluster *c, struct volume_rules *r, const char *ns,
                                 const struct vmi_volume *vol, struct arena *a);
static const char *compile_unbound(const struct cluster *c, struct volume_rule *rule,
                                   const struct pvc *claim, struct arena *a);
static struct node_terms volume_terms(const struct pv *p, struct arena *a);
static bool find_volume(const struct cluster *c, const struct volume_rule *rule,
                        const struct cluster_node *n, struct strmap *taken, struct arena *a);
static bool may_take(const struct pv *p, const struct pvc *claim, const char *cls,
                     const struct strmap *taken);
static bool is_claimed_by(const struct pv *p, const struct pvc *claim);
static bool provisions_at(const struct storage_class *cls, const struct cluster_node *n,
                          struct arena *a);
static bool same(const char *x, const char *y, const char *absent);

struct volume_rules
volumes_compile(const struct cluster *c, const struct vmi *v, struct arena *a)
{
    struct volume_rules r = {0};

    if (!c->attach)
        return r;
    for (size_t i = 0; i < v->spec.volumes_len && !r.refused; i++)
        if (v->spec.volumes[i].claim)
            r.refused = compile_claim(c, &r, v->meta.namespace_ ? v->meta.namespace_ : "",
                                      &v->spec.volumes[i], a);
    return r;
}

bool
volumes_matter(const struct cluster *c, const struct vmi *v)
{
    struct volume_rules r;
    struct arena *a;
    bool matter;

    for (size_t i = 0;; i++) {
        if (!c->attach || i == v->spec.volumes_len)
            return false;
        if (v->spec.volumes[i].claim)
            break;
    }
    a = arena_new();
    r = volumes_compile(c, v, a);
    matter = r.refused || r.volume_missing;
    for (size_t i = 0; i < r.len; i++)
        matter = matter || r.items[i].waiting || r.items[i].at.has_required;
    arena_free(a);
    return matter;
}

void
volumes_check(const struct cluster *c, const struct volume_rules *r, const struct cluster_node *n,
              struct arena *a, struct str_list *reasons)
{
    struct strmap *taken = strmap_new();
    bool conflict = false, none = false;

    for (size_t i = 0; i < r->len; i++) {
        const struct volume_rule *rule = &r->items[i];

        if (rule->bound && !node_terms_match(&rule->at, &n->labels, n->name))
            conflict = true;
        if (rule->waiting && !find_volume(c, rule, n, taken, a))
            none = true;
    }
    strmap_free(taken, NULL);
    if (conflict)
        explain_add(reasons, a, "node(s) had volume node affinity conflict");
    if (none)
        explain_add(reasons, a, "node(s) didn't find available persistent volumes to bind");
    if (r->volume_missing)
        explain_add(reasons, a,
                    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
}

const struct volume_rule *
volumes_in_the_way(const struct cluster *c, const struct volume_rules *r,
                   const struct cluster_node *n, struct arena *a)
{
    struct strmap *taken = strmap_new();
    const struct volume_rule *found = NULL;

    for (size_t i = 0; i < r->len && !found; i++) {
        const struct volume_rule *rule = &r->items[i];

        if ((rule->bound && !node_terms_match(&rule->at, &n->labels, n->name)) ||
            (rule->waiting && !find_volume(c, rule, n, taken, a)))
            found = rule;
    }
    strmap_free(taken, NULL);
    return found;
}

/* NULL, or why no node can do. */
static const char *
compile_claim(const struct cluster *c, struct volume_rules *r, const char *ns,
              const struct vmi_volume *vol, struct arena *a)
{
    const struct pvc *claim = attach_claim(c, ns, vol->claim);
    struct volume_rule rule = {.claim = vol->claim};
    const char *why = NULL;

    if (!claim) /* a DataVolume makes its claim when it is imported */
        return attach_knows_claims(c) && strcmp(vol->kind, "dataVolume") != 0
                   ? arena_printf(a, "persistentvolumeclaim \"%s\" not found", vol->claim)
                   : NULL;
    if (claim->phase && strcmp(claim->phase, "Lost") == 0)
        return arena_printf(a,
                            "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume "
                            "\"%s\"",
                            vol->claim, claim->volume_name ? claim->volume_name : "");
    if (claim->meta.deletion_us)
        return arena_printf(a, "persistentvolumeclaim \"%s\" is being deleted", vol->claim);
    if (claim->volume_name && *claim->volume_name) {
        rule.bound = attach_volume(c, claim->volume_name);
        if (rule.bound)
            rule.at = volume_terms(rule.bound, a);
        else if (attach_knows_volumes(c))
            r->volume_missing = true;
    } else if (!claim->phase || strcmp(claim->phase, "Bound") != 0) {
        why = compile_unbound(c, &rule, claim, a);
    }
    if (!why && (rule.bound || rule.waiting)) {
        if (!r->items)
            r->items = arena_calloc(a, VOLUME_RULES_MAX, sizeof(*r->items));
        if (r->len < VOLUME_RULES_MAX)
            r->items[r->len++] = rule;
    }
    return why;
}

static const char *
compile_unbound(const struct cluster *c, struct volume_rule *rule, const struct pvc *claim,
                struct arena *a)
{
    const char *name = claim->storage_class;
    const struct storage_class *cls = name ? attach_class(c, name) : attach_default_class(c);

    if (!attach_knows_classes(c))
        return NULL;
    if (name && *name && !cls)
        return arena_printf(a, "storageclass.storage.k8s.io \"%s\" not found", name);
    if (cls && cls->volume_binding_mode &&
        strcmp(cls->volume_binding_mode, "WaitForFirstConsumer") == 0) {
        rule->waiting = claim;
        rule->cls = cls;
        return NULL;
    }
    return "pod has unbound immediate PersistentVolumeClaims";
}

static struct node_terms
volume_terms(const struct pv *p, struct arena *a)
{
    struct affinity *where = arena_alloc(a, sizeof(*where));

    where->has_node_required = p->has_node_required;
    where->node_required = p->node_required;
    where->node_required_len = p->node_required_len;
    return node_terms_compile(NULL, NULL, where, a);
}

/* The smallest volume that is there and does, which is then taken; else one that is made there. */
static bool
find_volume(const struct cluster *c, const struct volume_rule *rule, const struct cluster_node *n,
            struct strmap *taken, struct arena *a)
{
    const struct pv *best = NULL;
    static char yes;
    size_t it = 0;
    void *value;

    while (strmap_next(c->attach->volumes, &it, NULL, &value)) {
        const struct pv *p = value;
        struct node_terms at;

        if (!may_take(p, rule->waiting, rule->cls->meta.name, taken) ||
            (best && !is_claimed_by(p, rule->waiting) &&
             (is_claimed_by(best, rule->waiting) || p->capacity.units >= best->capacity.units)))
            continue;
        at = volume_terms(p, a);
        if (node_terms_match(&at, &n->labels, n->name))
            best = p;
    }
    if (best) {
        strmap_put(taken, best->meta.name, &yes);
        return true;
    }
    return provisions_at(rule->cls, n, a);
}

static bool
may_take(const struct pv *p, const struct pvc *claim, const char *cls, const struct strmap *taken)
{
    if (strmap_get(taken, p->meta.name) || p->meta.deletion_us)
        return false;
    if (p->claim_name && *p->claim_name)
        return is_claimed_by(p, claim);
    if (!same(p->storage_class, cls, "") ||
        !same(p->volume_mode, claim->volume_mode, "Filesystem") ||
        p->capacity.units < claim->request.units)
        return false;
    for (size_t i = 0; i < claim->access_modes.len; i++) {
        bool has = false;

        for (size_t j = 0; j < p->access_modes.len && !has; j++)
            has = strcmp(p->access_modes.items[j], claim->access_modes.items[i]) == 0;
        if (!has)
            return false;
    }
    return true;
}

static bool
is_claimed_by(const struct pv *p, const struct pvc *claim)
{
    return p->claim_name && claim->meta.name && strcmp(p->claim_name, claim->meta.name) == 0 &&
           same(p->claim_namespace, claim->meta.namespace_, "");
}

static bool
provisions_at(const struct storage_class *cls, const struct cluster_node *n, struct arena *a)
{
    struct affinity *where;
    struct node_terms at;

    if (!cls->provisioner || strcmp(cls->provisioner, NO_PROVISIONER) == 0)
        return false;
    if (cls->allowed_topologies_len == 0)
        return true;
    where = arena_alloc(a, sizeof(*where));
    where->has_node_required = true;
    where->node_required = cls->allowed_topologies;
    where->node_required_len = cls->allowed_topologies_len;
    at = node_terms_compile(NULL, NULL, where, a);
    return node_terms_match(&at, &n->labels, n->name);
}

static bool
same(const char *x, const char *y, const char *absent)
{
    return strcmp(x ? x : absent, y ? y : absent) == 0;
}
