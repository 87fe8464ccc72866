/* Builds the snapshot that place() reads. See place.h for the functions, cluster.h for the inside. */
#include "sched/cluster.h"

#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/sb.h"
#include "sched/priority.h"
#include "sched/profile.h"

#define NAMESPACE_NAME_LABEL "kubernetes.io/metadata.name"

static struct cluster_node *ensure_node(struct cluster *c, const char *name);
static void occupy(struct cluster *c, const struct occupant *like, const char *node);
static struct occupant vmi_occupant(const struct cluster *c, const struct vmi *v);
static struct occupant pod_occupant(const struct cluster *c, const struct pod *p);
static char *occupant_key(bool is_pod, const char *ns, const char *name);
static struct kv_list *with_name_label(const struct kv_list *l, const char *ns, struct arena *a);
static bool cpu_labelled(const struct node_labels *l);
static bool not_ready(const struct condition_list *l);
static bool no_network(const struct condition_list *l);
static int64_t heartbeat(const struct kv_list *annotations);
static bool is_final(const char *phase);

struct cluster *
cluster_new(void)
{
    struct cluster *c = xcalloc(1, sizeof(*c));

    c->arena = arena_new();
    c->by_name = strmap_new();
    c->namespaces = strmap_new();
    c->occupants = strmap_new();
    c->profile = profile_default();
    return c;
}

void
cluster_free(struct cluster *c)
{
    if (!c)
        return;
    strmap_free(c->by_name, NULL);
    strmap_free(c->namespaces, NULL);
    strmap_free(c->occupants, NULL);
    arena_free(c->arena);
    priorities_free(c->priorities);
    free(c->nodes);
    free(c);
}

void
cluster_set_hco(struct cluster *c, const struct hco *hco)
{
    c->hco = hco;
}

void
cluster_set_heartbeat(struct cluster *c, int64_t now_us, int64_t timeout_s)
{
    c->now_us = now_us;
    c->heartbeat_timeout_s = timeout_s;
}

void
cluster_set_from_files(struct cluster *c)
{
    c->from_files = true;
}

void
cluster_set_profile(struct cluster *c, const struct profile *p)
{
    c->profile = p ? p : profile_default();
}

void
cluster_add_namespace(struct cluster *c, const struct namespace_ *ns)
{
    strmap_put(c->namespaces, ns->meta.name,
               with_name_label(&ns->meta.labels, ns->meta.name, c->arena));
}

void
cluster_add_node(struct cluster *c, const struct node *n)
{
    struct cluster_node *cn = ensure_node(c, n->meta.name);

    if (!cn->node) {
        if (c->nodes_len == c->nodes_cap) {
            c->nodes_cap = c->nodes_cap ? 2 * c->nodes_cap : 16;
            c->nodes = xreallocarray(c->nodes, c->nodes_cap, sizeof(*c->nodes));
        }
        c->nodes[c->nodes_len++] = cn;
    }
    cn->node = n;
    cn->labels = node_labels_sorted(&n->meta.labels, c->arena);
    cn->cpu_labelled = cpu_labelled(&cn->labels);
    cn->schedulable = node_labels_get(&cn->labels, LABEL_SCHEDULABLE);
    cn->not_ready = not_ready(&n->conditions);
    cn->no_network = no_network(&n->conditions);
    cn->heartbeat_us = heartbeat(&n->meta.annotations);
    need_room_of_node(&cn->room, n, c->arena);
}

void
cluster_add_vmi(struct cluster *c, const struct vmi *v)
{
    const struct migration_state *ms = &v->status.migration;
    struct occupant like;

    if (is_final(v->status.phase) || !v->status.node_name || !*v->status.node_name)
        return;
    like = vmi_occupant(c, v);
    occupy(c, &like, v->status.node_name);
    if (!ms->present || ms->completed || ms->failed)
        return;
    /* both ends hold its memory, also when status.nodeName is the target already */
    if (ms->target_node && *ms->target_node)
        occupy(c, &like, ms->target_node);
    if (ms->source_node && *ms->source_node)
        occupy(c, &like, ms->source_node);
}

void
cluster_add_pod(struct cluster *c, const struct pod *p)
{
    struct occupant like;

    if (is_final(p->phase) || !p->node_name || !*p->node_name)
        return;
    like = pod_occupant(c, p);
    occupy(c, &like, p->node_name);
}

void
cluster_reserve(struct cluster *c, const struct vmi *v, const char *node)
{
    struct occupant like = vmi_occupant(c, v);

    occupy(c, &like, node);
}

void
cluster_reserve_pod(struct cluster *c, const struct pod *p, const char *node)
{
    struct occupant like = pod_occupant(c, p);

    occupy(c, &like, node);
}

struct cluster_node *
cluster_find(const struct cluster *c, const char *name)
{
    return name ? strmap_get(c->by_name, name) : NULL;
}

const struct kv_list *
cluster_namespace_labels(const struct cluster *c, const char *ns, struct arena *a)
{
    static const struct kv_list none;
    const struct kv_list *known = strmap_get(c->namespaces, ns);

    return known ? known : with_name_label(&none, ns, a);
}

const struct occupant *
cluster_occupant_on(const struct occupant *first, const struct cluster_node *n)
{
    while (first && first->node != n)
        first = first->elsewhere;
    return first;
}

const struct occupant *
cluster_occupants_of(const struct cluster *c, bool is_pod, const char *ns, const char *name)
{
    AUTO_FREE char *key = occupant_key(is_pod, ns, name);

    return strmap_get(c->occupants, key);
}

int64_t
cluster_cpu_ratio(const struct cluster *c)
{
    return c->hco && c->hco->has_cpu_ratio ? c->hco->cpu_allocation_ratio : 0;
}

static struct cluster_node *
ensure_node(struct cluster *c, const char *name)
{
    struct cluster_node *cn = strmap_get(c->by_name, name);

    if (!cn) {
        cn = arena_alloc(c->arena, sizeof(*cn));
        cn->name = arena_strdup(c->arena, name);
        strmap_put(c->by_name, name, cn);
    }
    return cn;
}

/* Does nothing when the same VM or Pod is there already: a reservation that has been stored since. */
static void
occupy(struct cluster *c, const struct occupant *like, const char *node)
{
    AUTO_FREE char *key = occupant_key(like->is_pod, like->ns, like->name);
    struct cluster_node *cn = ensure_node(c, node);
    struct occupant *first = strmap_get(c->occupants, key), *o;

    if (cluster_occupant_on(first, cn))
        return;
    o = arena_alloc(c->arena, sizeof(*o));
    *o = *like;
    o->node = cn;
    o->next = cn->occupants;
    cn->occupants = o;
    if (first) {
        o->elsewhere = first->elsewhere;
        first->elsewhere = o;
    } else {
        strmap_put(c->occupants, key, o);
    }
    need_take(&cn->room, &o->need, c->arena);
}

static struct occupant
vmi_occupant(const struct cluster *c, const struct vmi *v)
{
    return (struct occupant){
        .object = v,
        .ns = v->meta.namespace_ ? v->meta.namespace_ : "",
        .name = v->meta.name,
        .labels = &v->meta.labels,
        .affinity = &v->spec.affinity,
        .terminating = v->meta.deletion_us != 0,
        .need = need_of_vmi(&v->spec, cluster_cpu_ratio(c), c->arena),
    };
}

static struct occupant
pod_occupant(const struct cluster *c, const struct pod *p)
{
    return (struct occupant){
        .object = p,
        .ns = p->meta.namespace_ ? p->meta.namespace_ : "",
        .name = p->meta.name,
        .labels = &p->meta.labels,
        .affinity = &p->affinity,
        .is_pod = true,
        .terminating = p->meta.deletion_us != 0,
        .need = need_of_pod(p, c->arena),
    };
}

static char *
occupant_key(bool is_pod, const char *ns, const char *name)
{
    return xasprintf("%s %s/%s", is_pod ? "pod" : "vm", ns, name);
}

/* The API server gives each namespace a label with its name. */
static struct kv_list *
with_name_label(const struct kv_list *l, const char *ns, struct arena *a)
{
    struct kv_list *both = arena_alloc(a, sizeof(*both));

    both->items = arena_calloc(a, l->len + 1, sizeof(*both->items));
    both->items[0] = (struct kv){.key = NAMESPACE_NAME_LABEL, .value = arena_strdup(a, ns)};
    both->len = 1;
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, NAMESPACE_NAME_LABEL) != 0)
            both->items[both->len++] = l->items[i];
    return both;
}

static bool
cpu_labelled(const struct node_labels *l)
{
    static const char *const prefixes[] = {LABEL_CPU_MODEL, LABEL_CPU_MODEL_MIGRATION,
                                           LABEL_CPU_FEATURE, LABEL_HOST_MODEL, LABEL_CPU_VENDOR};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t at = 0;

        if (node_labels_next(l, prefixes[i], &at))
            return true;
    }
    return false;
}

static bool
not_ready(const struct condition_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i].type && strcmp(l->items[i].type, "Ready") == 0)
            return !l->items[i].status || strcmp(l->items[i].status, "True") != 0;
    return false;
}

static bool
no_network(const struct condition_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        if (l->items[i].type && strcmp(l->items[i].type, PLACE_NETWORK_CONDITION) == 0)
            return l->items[i].status && strcmp(l->items[i].status, "False") == 0;
    return false;
}

/* An unreadable time counts as one of long ago. KubeVirt writes it as a JSON string, quotes and all. */
static int64_t
heartbeat(const struct kv_list *annotations)
{
    char bare[64] = "";
    int64_t us;

    for (size_t i = 0; i < annotations->len; i++) {
        const char *text = annotations->items[i].value;
        size_t len;

        if (strcmp(annotations->items[i].key, ANN_HEARTBEAT) != 0 || !text)
            continue;
        text += *text == '"';
        len = strcspn(text, "\"");
        if (len < sizeof(bare))
            memcpy(bare, text, len);
        return time_parse(bare, &us, NULL) == 0 ? us : 0;
    }
    return CLUSTER_NO_HEARTBEAT;
}

static bool
is_final(const char *phase)
{
    return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}
