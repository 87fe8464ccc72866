/* Keeps the cluster that place() reads. See place.h for the functions, cluster.h for the inside. */
#include "sched/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "base/rng.h"
#include "base/sb.h"
#include "sched/attach.h"
#include "sched/priority.h"
#include "sched/profile.h"
#include "sched/workload.h"

#define FNV1A                0xcbf29ce484222325u /* where the hash begins */
#define NAMESPACE_NAME_LABEL "kubernetes.io/metadata.name"
#define SCRATCH_USES         64 /* needs that one scratch arena sees */

static uint64_t fnv1a(uint64_t h, const char *text);
static uint64_t order_of(const struct cluster *c, const char *name);
static struct cluster_node *ensure_node(struct cluster *c, const char *name);
static void drop_node(struct cluster *c, struct cluster_node *cn);
static void set_labels(struct cluster_node *cn);
static void occupy(struct cluster *c, const struct occupant *like, const char *node);
static void vacate(struct cluster *c, struct occupant *o);
static void vacate_all(struct cluster *c, bool is_pod, const char *ns, const char *name);
static struct occupant **place_in_table(const struct cluster *c, bool is_pod, const char *ns,
                                        const char *name, uint32_t hash);
static void grow_table(struct cluster *c);
static uint32_t occupant_hash(bool is_pod, const char *ns, const char *name);
static struct arena *scratch(struct cluster *c);
static struct occupant vmi_occupant(struct cluster *c, const struct vmi *v);
static struct occupant pod_occupant(struct cluster *c, const struct pod *p);
static void fill_name_label(struct kv_list *both, const struct kv_list *l, const char *ns);
static bool cpu_labelled(const struct node_labels *l);
static bool not_ready(const struct condition_list *l);
static bool no_network(const struct condition_list *l);
static int64_t heartbeat(const struct kv_list *annotations);
static bool is_final(const char *phase);
static const char *text(const char *s);
static bool sorted(const struct kv_list *l);

struct cluster *
cluster_new(void)
{
    struct cluster *c = xcalloc(1, sizeof(*c));

    c->by_name = strmap_new();
    c->namespaces = strmap_new();
    c->names = strmap_new();
    c->profile = profile_default();
    grow_table(c);
    return c;
}

void
cluster_free(struct cluster *c)
{
    void *value;
    size_t it = 0;

    if (!c)
        return;
    c->watch = NULL;
    while (strmap_next(c->by_name, &it, NULL, &value)) {
        struct cluster_node *cn = value;

        for (struct occupant *o = cn->occupants, *next; o; o = next) {
            next = o->next;
            need_drop(&o->need);
            free(o->own_affinity);
            free(o);
        }
        free(cn->sorted);
        free(cn->name);
        need_room_done(&cn->room);
        free(cn);
    }
    strmap_free(c->by_name, NULL);
    strmap_free(c->namespaces, free);
    strmap_free(c->names, free);
    arena_free(c->scratch);
    attach_free(c->attach);
    priorities_free(c->priorities);
    free(c->buckets);
    free(c->nodes);
    free(c);
}

void
cluster_set_hco(struct cluster *c, const struct hco *hco)
{
    c->hco = hco;
    if (c->watch)
        c->watch->settings(c->watch_arg);
}

void
cluster_set_heartbeat(struct cluster *c, int64_t now_us, int64_t timeout_s)
{
    c->now_us = now_us;
    c->heartbeat_timeout_s = timeout_s;
    if (c->watch)
        c->watch->settings(c->watch_arg);
}

void
cluster_set_now(struct cluster *c, int64_t now_us)
{
    c->now_us = now_us; /* no news for the watcher: it compares */
}

void
cluster_set_from_files(struct cluster *c)
{
    c->from_files = true;
    if (c->watch)
        c->watch->settings(c->watch_arg);
}

void
cluster_set_watch(struct cluster *c, const struct cluster_watch *w, void *arg)
{
    c->watch = w;
    c->watch_arg = arg;
}

void
cluster_set_profile(struct cluster *c, const struct profile *p)
{
    c->profile = p ? p : profile_default();
    if (c->watch)
        c->watch->settings(c->watch_arg);
}

void
cluster_set_seed(struct cluster *c, uint64_t seed)
{
    void *value;
    size_t it = 0;

    c->seed = seed;
    while (strmap_next(c->by_name, &it, NULL, &value)) {
        struct cluster_node *cn = value;

        cn->order = order_of(c, cn->name);
    }
    if (c->watch)
        c->watch->settings(c->watch_arg);
}

void
cluster_add_namespace(struct cluster *c, const struct namespace_ *ns)
{
    const struct kv_list *l = &ns->meta.labels;
    size_t name_len = strlen(text(ns->meta.name)) + 1, items = (l->len + 1) * sizeof(struct kv);
    struct kv_list *both = xcalloc(1, sizeof(*both) + items + name_len);
    char *name = (char *)both + sizeof(*both) + items;

    memcpy(name, text(ns->meta.name), name_len);
    both->items = (struct kv *)(both + 1);
    fill_name_label(both, l, name);
    free(strmap_put(c->namespaces, name, both));
    if (c->watch)
        c->watch->relations(c->watch_arg);
}

void
cluster_update_namespace(struct cluster *c, const struct namespace_ *ns)
{
    cluster_add_namespace(c, ns);
}

void
cluster_remove_namespace(struct cluster *c, const char *name)
{
    free(strmap_del(c->namespaces, text(name)));
    if (c->watch)
        c->watch->relations(c->watch_arg);
}

void
cluster_add_node(struct cluster *c, const struct node *n)
{
    struct cluster_node *cn;

    if (!*text(n->meta.name))
        return; /* nothing could be sent there */
    cn = ensure_node(c, n->meta.name);
    if (!cn->node) {
        if (c->nodes_len == c->nodes_cap) {
            c->nodes_cap = c->nodes_cap ? 2 * c->nodes_cap : 16;
            c->nodes = xreallocarray(c->nodes, c->nodes_cap, sizeof(*c->nodes));
        }
        c->nodes[c->nodes_len++] = cn;
    }
    cn->node = n;
    set_labels(cn);
    cn->cpu_labelled = cpu_labelled(&cn->labels);
    cn->schedulable = node_labels_get(&cn->labels, LABEL_SCHEDULABLE);
    cn->not_ready = not_ready(&n->conditions);
    cn->no_network = no_network(&n->conditions);
    cn->heartbeat_us = heartbeat(&n->meta.annotations);
    need_room_of_node(&cn->room, n, c->names);
    if (c->watch)
        c->watch->node(c->watch_arg, cn);
}

void
cluster_update_node(struct cluster *c, const struct node *n)
{
    cluster_add_node(c, n);
}

void
cluster_remove_node(struct cluster *c, const char *name)
{
    struct cluster_node *cn = strmap_get(c->by_name, text(name));
    size_t at = 0;

    if (!cn || !cn->node)
        return;
    if (c->watch)
        c->watch->gone(c->watch_arg, cn);
    while (c->nodes[at] != cn)
        at++;
    memmove(&c->nodes[at], &c->nodes[at + 1], (c->nodes_len - at - 1) * sizeof(*c->nodes));
    c->nodes_len--;
    free(cn->sorted);
    cn->sorted = NULL;
    cn->node = NULL;
    cn->labels = (struct node_labels){0};
    cn->schedulable = NULL;
    cn->not_ready = cn->no_network = cn->cpu_labelled = false;
    cn->heartbeat_us = 0;
    need_room_of_node(&cn->room, NULL, c->names);
    drop_node(c, cn);
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
    if (!ms->present || ms->failed ||
        (ms->completed && ms->target_node && strcmp(ms->target_node, v->status.node_name) == 0))
        return;
    /* both ends hold its memory, also when status.nodeName is the target already, and when it is
     * not yet although the guest has arrived */
    if (ms->target_node && *ms->target_node)
        occupy(c, &like, ms->target_node);
    if (ms->source_node && *ms->source_node)
        occupy(c, &like, ms->source_node);
}

void
cluster_update_vmi(struct cluster *c, const struct vmi *v)
{
    cluster_remove_vmi(c, v->meta.namespace_, v->meta.name);
    cluster_add_vmi(c, v);
}

void
cluster_remove_vmi(struct cluster *c, const char *ns, const char *name)
{
    vacate_all(c, false, text(ns), text(name));
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
cluster_update_pod(struct cluster *c, const struct pod *p)
{
    cluster_remove_pod(c, p->meta.namespace_, p->meta.name);
    cluster_add_pod(c, p);
}

void
cluster_remove_pod(struct cluster *c, const char *ns, const char *name)
{
    vacate_all(c, true, text(ns), text(name));
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

void
cluster_unreserve(struct cluster *c, const char *ns, const char *name, const char *node)
{
    for (int is_pod = 0; is_pod < 2; is_pod++) {
        uint32_t hash = occupant_hash(is_pod, text(ns), text(name));
        struct occupant *o = *place_in_table(c, is_pod, text(ns), text(name), hash);

        while (o && strcmp(o->node->name, node) != 0)
            o = o->elsewhere;
        if (o) {
            vacate(c, o);
            return;
        }
    }
}

struct cluster_node *
cluster_find(const struct cluster *c, const char *name)
{
    return name ? strmap_get(c->by_name, name) : NULL;
}

bool
cluster_before(const struct cluster_node *a, const struct cluster_node *b)
{
    return a->order != b->order ? a->order < b->order : strcmp(a->name, b->name) < 0;
}

const struct kv_list *
cluster_namespace_labels(const struct cluster *c, const char *ns, struct arena *a)
{
    static const struct kv_list none;
    const struct kv_list *known = strmap_get(c->namespaces, ns);
    struct kv_list *made;

    if (known)
        return known;
    made = arena_alloc(a, sizeof(*made));
    made->items = arena_calloc(a, 1, sizeof(*made->items));
    fill_name_label(made, &none, arena_strdup(a, ns));
    return made;
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
    return *place_in_table(c, is_pod, ns, name, occupant_hash(is_pod, ns, name));
}

int64_t
cluster_cpu_ratio(const struct cluster *c)
{
    return c->hco && c->hco->has_cpu_ratio ? c->hco->cpu_allocation_ratio : 0;
}

size_t
cluster_bytes(const struct cluster *c)
{
    size_t bytes = sizeof(*c) + c->nodes_cap * sizeof(*c->nodes), it = 0;
    const char *name;
    void *value;

    bytes += c->buckets_len * sizeof(*c->buckets);
    while (strmap_next(c->by_name, &it, &name, &value)) {
        const struct cluster_node *cn = value;

        /* its name is kept twice; the map has up to two entries and three slots for each key */
        bytes += sizeof(*cn) + 2 * (strlen(name) + 1) + 2 * 24 + 3 * sizeof(uint32_t);
        bytes += cn->room.extras_cap * sizeof(*cn->room.extras);
        if (cn->sorted)
            bytes += cn->labels.len * sizeof(*cn->sorted);
        for (const struct occupant *o = cn->occupants; o; o = o->next)
            bytes += sizeof(*o) + o->need.extras_len * sizeof(*o->need.extras);
    }
    return bytes;
}

static uint64_t
order_of(const struct cluster *c, const char *name)
{
    return c->seed == 0 ? 0 : rng_mix(fnv1a(FNV1A, name) ^ rng_mix(c->seed));
}

static struct cluster_node *
ensure_node(struct cluster *c, const char *name)
{
    struct cluster_node *cn = strmap_get(c->by_name, name);

    if (!cn) {
        cn = xcalloc(1, sizeof(*cn));
        cn->name = xstrdup(name);
        cn->order = order_of(c, name);
        cn->row = CLUSTER_NO_ROW;
        strmap_put(c->by_name, name, cn);
    }
    return cn;
}

/* Forgets a node that neither has an object nor runs anything. */
static void
drop_node(struct cluster *c, struct cluster_node *cn)
{
    if (cn->node || cn->occupants)
        return;
    strmap_del(c->by_name, cn->name);
    need_room_done(&cn->room);
    free(cn->name);
    free(cn);
}

/* Most writers sort labels: then there is nothing to copy. */
static void
set_labels(struct cluster_node *cn)
{
    const struct kv_list *l = &cn->node->meta.labels;
    struct arena *a;
    struct node_labels in_order;

    free(cn->sorted);
    cn->sorted = NULL;
    if (sorted(l)) {
        cn->labels = (struct node_labels){.items = l->items, .len = l->len};
        return;
    }
    a = arena_new();
    in_order = node_labels_sorted(l, a);
    cn->sorted = xreallocarray(NULL, l->len, sizeof(*cn->sorted));
    memcpy(cn->sorted, in_order.items, l->len * sizeof(*cn->sorted));
    cn->labels = (struct node_labels){.items = cn->sorted, .len = l->len};
    arena_free(a);
}

static bool
sorted(const struct kv_list *l)
{
    for (size_t i = 1; i < l->len; i++)
        if (strcmp(l->items[i - 1].key, l->items[i].key) >= 0)
            return false;
    return true;
}

/* Does nothing when the same VM or Pod is there already: a reservation that has been stored
 * since. */
static void
occupy(struct cluster *c, const struct occupant *like, const char *node)
{
    uint32_t hash = occupant_hash(like->is_pod, like->ns, like->name);
    struct occupant **slot = place_in_table(c, like->is_pod, like->ns, like->name, hash), *o;
    struct cluster_node *cn = ensure_node(c, node);

    if (cluster_occupant_on(*slot, cn))
        return;
    o = xmalloc(sizeof(*o));
    *o = *like;
    o->kind = CLUSTER_NO_KIND;
    o->hash = hash;
    need_keep(&o->need, c->names);
    if (!o->is_pod)
        o->affinity = workload_affinity(c->hco, like->affinity, NULL, &o->own_affinity);
    o->node = cn;
    o->next = cn->occupants;
    o->link = &cn->occupants;
    if (o->next)
        o->next->link = &o->next;
    cn->occupants = o;
    if (*slot) {
        o->elsewhere = (*slot)->elsewhere;
        (*slot)->elsewhere = o;
    } else {
        *slot = o;
        c->occupied_len++;
    }
    c->occupants_len++;
    need_take(&cn->room, &o->need, c->names);
    if (c->watch)
        c->watch->came(c->watch_arg, o);
    if (c->occupied_len > c->buckets_len)
        grow_table(c);
}

static void
vacate(struct cluster *c, struct occupant *o)
{
    struct occupant **slot = place_in_table(c, o->is_pod, o->ns, o->name, o->hash);
    struct cluster_node *cn = o->node;

    if (c->watch)
        c->watch->leaves(c->watch_arg, o);
    if (*slot == o && !o->elsewhere) {
        *slot = o->bucket_next;
        c->occupied_len--;
    } else if (*slot == o) {
        o->elsewhere->bucket_next = o->bucket_next;
        *slot = o->elsewhere;
    } else {
        struct occupant *before = *slot;

        while (before->elsewhere != o)
            before = before->elsewhere;
        before->elsewhere = o->elsewhere;
    }
    *o->link = o->next;
    if (o->next)
        o->next->link = o->link;
    c->occupants_len--;
    if (!need_untake(&cn->room, &o->need)) {
        need_room_empty(&cn->room);
        for (const struct occupant *x = cn->occupants; x; x = x->next)
            need_take(&cn->room, &x->need, c->names);
    }
    need_drop(&o->need);
    free(o->own_affinity);
    free(o);
    if (c->watch)
        c->watch->left(c->watch_arg, cn);
    drop_node(c, cn);
}

static void
vacate_all(struct cluster *c, bool is_pod, const char *ns, const char *name)
{
    uint32_t hash = occupant_hash(is_pod, ns, name);
    struct occupant *o = *place_in_table(c, is_pod, ns, name, hash);

    while (o) {
        struct occupant *elsewhere = o->elsewhere;

        vacate(c, o);
        o = elsewhere;
    }
}

/* Where the table points to the first occupant of the VM or Pod, or to NULL where that would be. */
static struct occupant **
place_in_table(const struct cluster *c, bool is_pod, const char *ns, const char *name,
               uint32_t hash)
{
    struct occupant **at = &c->buckets[hash & (c->buckets_len - 1)];

    while (*at && ((*at)->hash != hash || (*at)->is_pod != is_pod ||
                   strcmp((*at)->name, name) != 0 || strcmp((*at)->ns, ns) != 0))
        at = &(*at)->bucket_next;
    return at;
}

static void
grow_table(struct cluster *c)
{
    struct occupant **old = c->buckets;
    size_t old_len = c->buckets_len;

    c->buckets_len = old_len ? 2 * old_len : 16;
    c->buckets = xcalloc(c->buckets_len, sizeof(struct occupant *));
    for (size_t i = 0; i < old_len; i++) {
        for (struct occupant *o = old[i], *next; o; o = next) {
            struct occupant **slot = &c->buckets[o->hash & (c->buckets_len - 1)];

            next = o->bucket_next;
            o->bucket_next = *slot;
            *slot = o;
        }
    }
    free(old);
}

static uint64_t
fnv1a(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

static uint32_t
occupant_hash(bool is_pod, const char *ns, const char *name)
{
    uint64_t h = fnv1a(fnv1a(fnv1a(FNV1A + is_pod, ns), "/"), name);

    h ^= h >> 32;
    return (uint32_t)((h * 0x9e3779b97f4a7c15u) >> 32);
}

static struct arena *
scratch(struct cluster *c)
{
    if (!c->scratch || ++c->scratch_uses == SCRATCH_USES) {
        arena_free(c->scratch);
        c->scratch = arena_new();
        c->scratch_uses = 0;
    }
    return c->scratch;
}

static struct occupant
vmi_occupant(struct cluster *c, const struct vmi *v)
{
    struct arena *a = scratch(c);
    struct need need = need_of_vmi(&v->spec, cluster_cpu_ratio(c), a);

    need_add_cpu(&need, vmi_align_milli(&v->spec, c->hco));
    attach_network_needs(c, v, &need, a);
    return (struct occupant){
        .object = v,
        .ns = text(v->meta.namespace_),
        .name = text(v->meta.name),
        .labels = &v->meta.labels,
        .affinity = &v->spec.affinity,
        .terminating = v->meta.deletion_us != 0,
        .need = need,
    };
}

static struct occupant
pod_occupant(struct cluster *c, const struct pod *p)
{
    return (struct occupant){
        .object = p,
        .ns = text(p->meta.namespace_),
        .name = text(p->meta.name),
        .labels = &p->meta.labels,
        .affinity = &p->affinity,
        .is_pod = true,
        .terminating = p->meta.deletion_us != 0,
        .need = need_of_pod(p, scratch(c)),
    };
}

/* The API server gives each namespace a label with its name. both has room for it. */
static void
fill_name_label(struct kv_list *both, const struct kv_list *l, const char *ns)
{
    both->items[0] = (struct kv){.key = NAMESPACE_NAME_LABEL, .value = ns};
    both->len = 1;
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i].key, NAMESPACE_NAME_LABEL) != 0)
            both->items[both->len++] = l->items[i];
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
            return l->items[i].status && strcmp(l->items[i].status, "True") != 0;
    return false;
}

/* An unreadable time counts as one of long ago. KubeVirt writes it as a JSON string, quotes and
 * all. */
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

static const char *
text(const char *s)
{
    return s ? s : "";
}
