/* Typed objects, decoded lazily; see control/loop_cache.h. */
#include "control/loop_cache.h"

#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "base/arena.h"
#include "base/strmap.h"

struct entry {
    char *ns, *name;
    struct arena *arena; /* NULL: to be decoded */
    const void *typed;
    uint64_t changed_in; /* number of the pass that has to look at it */
};

struct loop_cache {
    uint64_t pass;
    struct store *store;
    struct strmap *kinds[KIND_COUNT]; /* "ns/name" -> struct entry; NULL for kinds not held */
};

static const void *decode(enum kind kind, const struct tree *obj, struct arena *a);
static const void *typed(struct loop_cache *c, enum kind kind, struct entry *e);
static void entry_free(void *p);
static void put(struct loop_cache *c, enum kind kind, const struct tree *obj);
static void touch_twin(struct loop_cache *c, enum kind kind, const struct tree *obj);
static bool add_listed(void *ctx, const struct tree *obj);
static char *key_of(const char *ns, const char *name);

struct loop_cache *
loop_cache_new(struct store *store)
{
    struct loop_cache *c = xcalloc(1, sizeof(*c));

    c->store = store;
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
    for (int k = 0; k < KIND_COUNT; k++)
        if (c->kinds[k])
            strmap_free(c->kinds[k], entry_free);
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
    if (ev->type == STORE_DELETED) {
        AUTO_FREE char *key = key_of(object_namespace(ev->obj), object_name(ev->obj));
        struct entry *e = strmap_del(c->kinds[ev->kind], key);

        if (e)
            entry_free(e);
    } else {
        put(c, ev->kind, ev->obj);
    }
    if (ev->kind == KIND_VM || ev->kind == KIND_VMI)
        touch_twin(c, ev->kind == KIND_VM ? KIND_VMI : KIND_VM, ev->obj);
}

const void *
loop_cache_get(struct loop_cache *c, enum kind kind, const char *ns, const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    return typed(c, kind, strmap_get(c->kinds[kind], key));
}

const void *
loop_cache_next(struct loop_cache *c, enum kind kind, size_t *it)
{
    void *e;

    while (strmap_next(c->kinds[kind], it, NULL, &e)) {
        const void *t = typed(c, kind, e);

        if (t)
            return t;
    }
    return NULL;
}

const void *
loop_cache_next_changed(struct loop_cache *c, enum kind kind, bool all, size_t *it)
{
    void *value;

    while (strmap_next(c->kinds[kind], it, NULL, &value)) {
        struct entry *e = value;
        const void *t = all || e->changed_in >= c->pass ? typed(c, kind, e) : NULL;

        if (t)
            return t;
    }
    return NULL;
}

void
loop_cache_pass_done(struct loop_cache *c)
{
    c->pass++;
}

size_t
loop_cache_count(const struct loop_cache *c, enum kind kind)
{
    return strmap_len(c->kinds[kind]);
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
typed(struct loop_cache *c, enum kind kind, struct entry *e)
{
    const struct tree *obj;

    if (!e || e->arena)
        return e ? e->typed : NULL;
    obj = store_get(c->store, kind, e->ns, e->name);
    if (!obj)
        return NULL;
    e->arena = arena_new();
    e->typed = decode(kind, obj, e->arena);
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

    if (e) {
        arena_free(TAKE_PTR(e->arena));
        e->typed = NULL;
        e->changed_in = c->pass;
        return;
    }
    e = xcalloc(1, sizeof(*e));
    e->changed_in = c->pass;
    e->ns = xstrdup(object_namespace(obj));
    e->name = xstrdup(object_name(obj));
    strmap_put(c->kinds[kind], key, e);
}

static void
touch_twin(struct loop_cache *c, enum kind kind, const struct tree *obj)
{
    AUTO_FREE char *key = key_of(object_namespace(obj), object_name(obj));
    struct entry *e = strmap_get(c->kinds[kind], key);

    if (e)
        e->changed_in = c->pass;
}

static void
entry_free(void *p)
{
    struct entry *e = p;

    arena_free(e->arena);
    free(e->ns);
    free(e->name);
    free(e);
}

static char *
key_of(const char *ns, const char *name)
{
    return ns && *ns ? xasprintf("%s/%s", ns, name) : xstrdup(name ? name : "");
}
