/* Tables of claims, volumes, classes and networks; see attach.h. */
#include "sched/attach.h"

#include <string.h>

#include "api/selector.h"
#include "base/sb.h"

#define ANN_DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"

static struct attach *of(struct cluster *c);
static void put(struct strmap *m, const char *ns, const char *name, const void *object);
static void del(struct strmap *m, const char *ns, const char *name);
static const void *get(const struct strmap *m, const char *ns, const char *name);
static char *key_of(const char *ns, const char *name);

void
cluster_add_pvc(struct cluster *c, const struct pvc *p)
{
    put(of(c)->claims, p->meta.namespace_, p->meta.name, p);
}

void
cluster_remove_pvc(struct cluster *c, const char *ns, const char *name)
{
    del(of(c)->claims, ns, name);
}

void
cluster_add_pv(struct cluster *c, const struct pv *p)
{
    put(of(c)->volumes, NULL, p->meta.name, p);
}

void
cluster_remove_pv(struct cluster *c, const char *name)
{
    del(of(c)->volumes, NULL, name);
}

void
cluster_add_storage_class(struct cluster *c, const struct storage_class *s)
{
    put(of(c)->classes, NULL, s->meta.name, s);
}

void
cluster_remove_storage_class(struct cluster *c, const char *name)
{
    del(of(c)->classes, NULL, name);
}

void
cluster_add_nad(struct cluster *c, const struct nad *n)
{
    put(of(c)->networks, n->meta.namespace_, n->meta.name, n);
    if (c->watch)
        c->watch->relations(c->watch_arg);
}

void
cluster_remove_nad(struct cluster *c, const char *ns, const char *name)
{
    del(of(c)->networks, ns, name);
    if (c->watch)
        c->watch->relations(c->watch_arg);
}

void
attach_free(struct attach *at)
{
    if (!at)
        return;
    strmap_free(at->claims, NULL);
    strmap_free(at->networks, NULL);
    strmap_free(at->volumes, NULL);
    strmap_free(at->classes, NULL);
    free(at);
}

const struct pvc *
attach_claim(const struct cluster *c, const char *ns, const char *name)
{
    return c->attach ? get(c->attach->claims, ns, name) : NULL;
}

const struct pv *
attach_volume(const struct cluster *c, const char *name)
{
    return c->attach ? get(c->attach->volumes, NULL, name) : NULL;
}

const struct storage_class *
attach_class(const struct cluster *c, const char *name)
{
    return c->attach ? get(c->attach->classes, NULL, name) : NULL;
}

const struct storage_class *
attach_default_class(const struct cluster *c)
{
    const struct storage_class *found = NULL;
    size_t it = 0;
    void *value;

    while (c->attach && strmap_next(c->attach->classes, &it, NULL, &value)) {
        const struct storage_class *s = value;
        const char *is = kv_get(&s->meta.annotations, ANN_DEFAULT_CLASS);

        if (is && strcmp(is, "true") == 0 &&
            (!found || s->meta.creation_us > found->meta.creation_us ||
             (s->meta.creation_us == found->meta.creation_us &&
              strcmp(s->meta.name, found->meta.name) < 0)))
            found = s;
    }
    return found;
}

bool
attach_knows_claims(const struct cluster *c)
{
    return c->attach && strmap_len(c->attach->claims) > 0;
}

bool
attach_knows_volumes(const struct cluster *c)
{
    return c->attach && strmap_len(c->attach->volumes) > 0;
}

bool
attach_knows_classes(const struct cluster *c)
{
    return c->attach && strmap_len(c->attach->classes) > 0;
}

void
attach_network_needs(const struct cluster *c, const struct vmi *v, struct need *n, struct arena *a)
{
    for (size_t i = 0; c->attach && i < v->spec.networks_len; i++) {
        const char *ref = v->spec.networks[i].multus_name, *slash, *resource, *end;
        AUTO_FREE char *ns = NULL;
        const struct nad *nad;

        if (!ref)
            continue;
        slash = strchr(ref, '/');
        ns = slash ? xstrndup(ref, (size_t)(slash - ref))
                   : xstrdup(v->meta.namespace_ ? v->meta.namespace_ : "");
        nad = get(c->attach->networks, ns, slash ? slash + 1 : ref);
        resource = nad ? kv_get(&nad->meta.annotations, ATTACH_ANN_RESOURCE) : NULL;
        end = resource ? strchr(resource, '/') : NULL;
        /* "openshift.io/" without a name is written by consoles in error: it asks for nothing */
        if (resource && *resource && !(end && end[1] == '\0'))
            need_add_extra(n, resource, 1, a);
    }
}

static struct attach *
of(struct cluster *c)
{
    if (!c->attach) {
        c->attach = xcalloc(1, sizeof(*c->attach));
        c->attach->claims = strmap_new();
        c->attach->networks = strmap_new();
        c->attach->volumes = strmap_new();
        c->attach->classes = strmap_new();
    }
    return c->attach;
}

static void
put(struct strmap *m, const char *ns, const char *name, const void *object)
{
    AUTO_FREE char *key = key_of(ns, name);
    union { /* a map of pointers to objects that it does not change */
        const void *in;
        void *out;
    } value = {.in = object};

    if (name && *name) /* nothing can refer to the others */
        strmap_put(m, key, value.out);
}

static void
del(struct strmap *m, const char *ns, const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    strmap_del(m, key);
}

static const void *
get(const struct strmap *m, const char *ns, const char *name)
{
    AUTO_FREE char *key = key_of(ns, name);

    return strmap_get(m, key);
}

static char *
key_of(const char *ns, const char *name)
{
    return ns ? xasprintf("%s/%s", ns, name ? name : "") : xstrdup(name ? name : "");
}
