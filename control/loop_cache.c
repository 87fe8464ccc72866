/* Typed objects, decoded lazily; see control/loop_cache.h. */
#include "control/loop_cache.h"

#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/arena.h"
#include "base/strmap.h"
#include "control/loop_index.h"
#include "migrate/coord.h"

#define CLAIMS_MAX 64 /* of one VM that are looked up */

struct entry {
    char *ns, *name;
    enum kind kind;
    struct arena *arena; /* NULL: to be decoded */
    const void *typed;
    struct arena *told_arena; /* the same as arena, or an older one */
    const void *told;
    size_t changed_at; /* position in its kind's list + 1; 0: not in it */
    bool untold, gone; /* gone: it is kept for its last loop_cache_tell only */
    struct loop_index_keys keys[LOOP_CACHE_INDEXES];
};

struct entry_list {
    struct entry **items; /* NULL: dropped out */
    size_t len, cap;
};

struct loop_cache {
    struct store *store;
    struct strmap *kinds[KIND_COUNT]; /* "ns/name" -> struct entry; NULL for kinds not held */
    struct entry_list changed[KIND_COUNT];
    struct entry_list untold;
    struct loop_index *indexes[LOOP_CACHE_INDEXES];
};

static const void *decode(enum kind kind, const struct tree *obj, struct arena *a);
static const void *typed(struct loop_cache *c, struct entry *e);
static void put(struct loop_cache *c, enum kind kind, const struct tree *obj);
static void take_out(struct loop_cache *c, enum kind kind, const struct tree *obj);
static void touch(struct loop_cache *c, struct entry *e);
static void tell_later(struct loop_cache *c, struct entry *e);
static void index_object(struct loop_cache *c, struct entry *e, const struct tree *obj);
static bool add_listed(void *ctx, const struct tree *obj);
static void list_add(struct entry_list *l, struct entry *e);
static void entry_free(void *p);
static char *key_of(const char *ns, const char *name);

struct loop_cache *
loop_cache_new(struct store *store)
{
    struct loop_cache *c = xcalloc(1, sizeof(*c));

    c->store = store;
    for (int i = 0; i < LOOP_CACHE_INDEXES; i++)
        c->indexes[i] = loop_index_new();
    for (int k = 0; k < KIND_COUNT; k++) {
        if (!loop_cache_holds((enum kind)k))
            continue;
        c->kinds[k] = strmap_new();
        store_list(store, (enum kind)k, NULL, add_listed, c);
    }
    return c;
}

void
loop_cache_free(struct loop_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->untold.len; i++)
        if (c->untold.items[i]->gone)
            entry_free(c->untold.items[i]);
    free(c->untold.items);
    for (int k = 0; k < KIND_COUNT; k++) {
        if (c->kinds[k])
            strmap_free(c->kinds[k], entry_free);
        free(c->changed[k].items);
    }
    for (int i = 0; i < LOOP_CACHE_INDEXES; i++)
        loop_index_free(c->indexes[i]);
    free(c);
}

bool
loop_cache_holds(enum kind kind)
{
    switch (kind) {
    case KIND_VM:
    case KIND_VMI:
    case KIND_VMIM:
    case KIND_KUBEVIRT:
    case KIND_POLICY:
    case KIND_HCO:
    case KIND_NAD:
    case KIND_MAINTENANCE:
    case KIND_NODE:
    case KIND_NAMESPACE:
    case KIND_PVC:
    case KIND_PV:
    case KIND_STORAGE_CLASS:
    case KIND_PRIORITY:
    case KIND_PDB:
        return true;
    default:
        return false;
    }
}

void
loop_cache_note(struct loop_cache *c, const struct store_event *ev)
{
    if (!loop_cache_holds(ev->kind))
        return;
    if (ev->type == STORE_DELETED)
        take_out(c, ev->kind, ev->obj);
    else
        put(c, ev->kind, ev->obj);
}

const void *
loop_cache_get(struct loop_cache *c, enum kind kind, const char *ns, const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    return typed(c, strmap_get(c->kinds[kind], key));
}

const void *
loop_cache_next(struct loop_cache *c, enum kind kind, size_t *it)
{
    void *e;

    while (strmap_next(c->kinds[kind], it, NULL, &e)) {
        const void *t = typed(c, e);

        if (t)
            return t;
    }
    return NULL;
}

const void *
loop_cache_next_changed(struct loop_cache *c, enum kind kind, bool all, size_t *it)
{
    const struct entry_list *l = &c->changed[kind];

    if (all)
        return loop_cache_next(c, kind, it);
    while (*it < l->len) {
        const void *t = typed(c, l->items[(*it)++]);

        if (t)
            return t;
    }
    return NULL;
}

const void *
loop_cache_next_of(struct loop_cache *c, enum loop_cache_index ix, const char *ns, const char *name,
                   size_t *it)
{
    AUTO_FREE char *key = key_of(ns, name);
    struct entry *e;

    while ((e = loop_index_next(c->indexes[ix], key, it))) {
        const void *t = typed(c, e);

        if (t)
            return t;
    }
    return NULL;
}

size_t
loop_cache_count(const struct loop_cache *c, enum kind kind)
{
    return strmap_len(c->kinds[kind]);
}

size_t
loop_cache_count_of(const struct loop_cache *c, enum loop_cache_index ix, const char *ns,
                    const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    return loop_index_count(c->indexes[ix], key);
}

void
loop_cache_touch(struct loop_cache *c, enum kind kind, const char *ns, const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    touch(c, strmap_get(c->kinds[kind], key));
}

void
loop_cache_touch_of(struct loop_cache *c, enum loop_cache_index ix, const char *ns,
                    const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    for (size_t it = 0; it < loop_index_count(c->indexes[ix], key);)
        touch(c, loop_index_next(c->indexes[ix], key, &it));
}

void
loop_cache_pass_done(struct loop_cache *c)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        struct entry_list *l = &c->changed[k];

        for (size_t i = 0; i < l->len; i++)
            if (l->items[i])
                l->items[i]->changed_at = 0;
        l->len = 0;
    }
}

void
loop_cache_tell(struct loop_cache *c, loop_cache_tell_fn fn, void *ctx)
{
    for (size_t i = 0; i < c->untold.len; i++) {
        struct entry *e = c->untold.items[i];
        const void *now = e->gone ? NULL : typed(c, e);

        if (e->told || now) /* else it came and went in between */
            fn(ctx, e->kind, e->ns, e->name, e->told, now);
        if (e->gone) {
            entry_free(e);
            continue;
        }
        e->untold = false;
        if (e->told_arena != e->arena)
            arena_free(e->told_arena);
        e->told_arena = e->arena;
        e->told = now;
    }
    c->untold.len = 0;
}

void
loop_cache_tell_anew(struct loop_cache *c)
{
    void *value;

    for (size_t i = 0; i < c->untold.len; i++) {
        c->untold.items[i]->untold = false;
        if (c->untold.items[i]->gone)
            entry_free(c->untold.items[i]);
    }
    c->untold.len = 0;
    for (int k = 0; k < KIND_COUNT; k++) {
        for (size_t it = 0; c->kinds[k] && strmap_next(c->kinds[k], &it, NULL, &value);) {
            struct entry *e = value;

            if (e->told_arena != e->arena)
                arena_free(e->told_arena);
            e->told_arena = NULL;
            e->told = NULL;
            tell_later(c, e);
        }
    }
}

const struct hco *
loop_cache_hco(struct loop_cache *c)
{
    const struct hco *h = loop_cache_get(c, KIND_HCO, DEFAULT_HCO_NAMESPACE, DEFAULT_HCO_NAME);
    const struct hco *one;

    if (h)
        return h;
    for (size_t it = 0; (one = loop_cache_next(c, KIND_HCO, &it));)
        if (!h || strcmp(one->meta.name, h->meta.name) < 0)
            h = one;
    return h;
}

const struct kubevirt *
loop_cache_kubevirt(struct loop_cache *c)
{
    const struct kubevirt *k = NULL, *one;

    for (size_t it = 0; (one = loop_cache_next(c, KIND_KUBEVIRT, &it));)
        if (!k || strcmp(one->meta.name, k->meta.name) < 0)
            k = one;
    return k;
}

static const void *
typed(struct loop_cache *c, struct entry *e)
{
    const struct tree *obj;

    if (!e || e->arena)
        return e ? e->typed : NULL;
    obj = store_get(c->store, e->kind, e->ns, e->name);
    if (!obj)
        return NULL;
    e->arena = arena_new();
    e->typed = decode(e->kind, obj, e->arena);
    return e->typed;
}

static const void *
decode(enum kind kind, const struct tree *obj, struct arena *a)
{
    switch (kind) {
    case KIND_VM:
        return vm_decode(obj, a);
    case KIND_VMI:
        return vmi_decode(obj, a);
    case KIND_VMIM:
        return vmim_decode(obj, a);
    case KIND_KUBEVIRT:
        return kubevirt_decode(obj, a);
    case KIND_POLICY:
        return policy_decode(obj, a);
    case KIND_HCO:
        return hco_decode(obj, a);
    case KIND_NAD:
        return nad_decode(obj, a);
    case KIND_MAINTENANCE:
        return maintenance_decode(obj, a);
    case KIND_NODE:
        return node_decode(obj, a);
    case KIND_NAMESPACE:
        return namespace_decode(obj, a);
    case KIND_PVC:
        return pvc_decode(obj, a);
    case KIND_PRIORITY:
        return priority_class_decode(obj, a);
    case KIND_PDB:
        return pdb_decode(obj, a);
    case KIND_PV:
        return pv_decode(obj, a);
    case KIND_STORAGE_CLASS:
        return storage_class_decode(obj, a);
    default:
        return NULL;
    }
}

static bool
add_listed(void *ctx, const struct tree *obj)
{
    const struct kind_info *ki = object_kind(obj);

    if (ki)
        put(ctx, ki->kind, obj);
    return true;
}

static void
put(struct loop_cache *c, enum kind kind, const struct tree *obj)
{
    AUTO_FREE char *key = key_of(object_namespace(obj), object_name(obj));
    struct entry *e = strmap_get(c->kinds[kind], key);

    if (!e) {
        e = xcalloc(1, sizeof(*e));
        e->kind = kind;
        e->ns = xstrdup(object_namespace(obj));
        e->name = xstrdup(object_name(obj));
        strmap_put(c->kinds[kind], key, e);
    }
    if (e->arena != e->told_arena)
        arena_free(e->arena);
    e->arena = NULL;
    e->typed = NULL;
    index_object(c, e, obj);
    touch(c, e);
    tell_later(c, e);
}

static void
take_out(struct loop_cache *c, enum kind kind, const struct tree *obj)
{
    AUTO_FREE char *key = key_of(object_namespace(obj), object_name(obj));
    struct entry *e = strmap_del(c->kinds[kind], key);

    if (!e)
        return;
    index_object(c, e, NULL);
    if (e->changed_at)
        c->changed[kind].items[e->changed_at - 1] = NULL;
    e->changed_at = 0;
    e->gone = true;
    tell_later(c, e);
    if (!e->untold)
        entry_free(e);
}

static void
touch(struct loop_cache *c, struct entry *e)
{
    if (!e || e->changed_at)
        return;
    list_add(&c->changed[e->kind], e);
    e->changed_at = c->changed[e->kind].len;
}

/* True for what placement reads. */
static bool
is_told(enum kind kind)
{
    return loop_cache_holds(kind) && kind != KIND_VM && kind != KIND_KUBEVIRT &&
           kind != KIND_POLICY && kind != KIND_MAINTENANCE;
}

static void
tell_later(struct loop_cache *c, struct entry *e)
{
    if (e->untold || !is_told(e->kind))
        return;
    list_add(&c->untold, e);
    e->untold = true;
}

/* obj NULL: it is gone. */
static void
index_object(struct loop_cache *c, struct entry *e, const struct tree *obj)
{
    const struct tree *volumes = tree_find(obj, "spec", "volumes", NULL);
    const char *node = tree_find_string(obj, "", "status", "nodeName", NULL);
    const char *vmi = tree_find_string(obj, "", "spec", "vmiName", NULL);
    const char *claims[CLAIMS_MAX];
    enum coord_phase p;
    size_t len = 0;

    if (e->kind == KIND_VMI) {
        loop_index_set(c->indexes[LOOP_CACHE_VMI_ON_NODE], e, &e->keys[LOOP_CACHE_VMI_ON_NODE],
                       &node, *node ? 1 : 0);
        for (size_t i = 0; i < tree_len(volumes) && len < CLAIMS_MAX; i++) {
            const struct tree *v = tree_at(volumes, i);
            const char *claim = tree_find_string(v, "", "persistentVolumeClaim", "claimName", NULL);

            if (!*claim)
                claim = tree_find_string(v, "", "dataVolume", "name", NULL);
            if (*claim)
                claims[len++] = key_of(e->ns, claim);
        }
        loop_index_set(c->indexes[LOOP_CACHE_VMI_OF_CLAIM], e, &e->keys[LOOP_CACHE_VMI_OF_CLAIM],
                       claims, len);
        while (len > 0)
            free((char *)(uintptr_t)claims[--len]);
    } else if (e->kind == KIND_VMIM) {
        AUTO_FREE char *key = key_of(e->ns, vmi);
        const char *of = key, *open = "";
        bool ended =
            coord_phase_parse(tree_find_string(obj, "", "status", "phase", NULL), &p, NULL) != 0 ||
            coord_phase_final(p);

        loop_index_set(c->indexes[LOOP_CACHE_VMIM_OF_VMI], e, &e->keys[LOOP_CACHE_VMIM_OF_VMI], &of,
                       obj ? 1 : 0);
        loop_index_set(c->indexes[LOOP_CACHE_VMIM_OPEN], e, &e->keys[LOOP_CACHE_VMIM_OPEN], &open,
                       obj && !ended ? 1 : 0);
    }
}

static void
list_add(struct entry_list *l, struct entry *e)
{
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->items = xreallocarray(l->items, l->cap, sizeof(*l->items));
    }
    l->items[l->len++] = e;
}

static void
entry_free(void *p)
{
    struct entry *e = p;

    if (e->told_arena != e->arena)
        arena_free(e->told_arena);
    arena_free(e->arena);
    for (int i = 0; i < LOOP_CACHE_INDEXES; i++) {
        for (size_t j = 0; j < e->keys[i].len; j++)
            free(e->keys[i].items[j]);
        free(e->keys[i].items);
    }
    free(e->ns);
    free(e->name);
    free(e);
}

static char *
key_of(const char *ns, const char *name)
{
    return ns && *ns ? xasprintf("%s/%s", ns, name) : xstrdup(name ? name : "");
}
