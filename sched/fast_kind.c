/* What runs, by kind: occupants whose namespace, labels that any selector reads, and rules are
 * the same. Nothing is kept until a rule between VMs is met. */
#include <stdlib.h>
#include <string.h>

#include "sched/fast_priv.h"

#define SPARE_KINDS 1024

static void renew(struct fast *f);
static void forget(struct fast *f);
static uint32_t kind_with(struct fast *f, const struct sb *sig);
static void join(struct fast *f, struct occupant *o);

void
fast_kinds_init(struct fast *f)
{
    f->vm_keys = strmap_new();
    /* what runs already may have rules */
    for (size_t i = 0; i < f->c->nodes_len && !f->kinds_on; i++)
        for (const struct occupant *o = f->c->nodes[i]->occupants; o; o = o->next)
            f->kinds_on = f->kinds_on || fast_sig_has_peers(o->affinity);
    f->kinds_stale = f->kinds_on;
}

void
fast_kinds_done(struct fast *f)
{
    forget(f);
    free(f->kinds);
    strmap_free(f->vm_keys, NULL);
}

void
fast_kinds_refresh(struct fast *f)
{
    if (f->kinds_on && (f->kinds_stale || f->kinds_len > 2 * f->kinds_live + SPARE_KINDS))
        renew(f);
}

void
fast_kinds_came(struct fast *f, struct occupant *o)
{
    if (fast_sig_has_peers(o->affinity)) {
        if (!f->kinds_on)
            f->kinds_on = f->kinds_stale = true;
        if (fast_sig_vm_keys(f->vm_keys, o->affinity, NULL, 0))
            f->kinds_stale = true;
    }
    if (f->kinds_on && !f->kinds_stale)
        join(f, o);
}

void
fast_kinds_leaves(struct fast *f, struct occupant *o)
{
    if (o->kind == CLUSTER_NO_KIND)
        return;
    *o->kind_link = o->kind_next;
    if (o->kind_next)
        o->kind_next->kind_link = o->kind_link;
    if (!f->kinds[o->kind].first)
        f->kinds_live--;
    o->kind = CLUSTER_NO_KIND;
}

static void
renew(struct fast *f)
{
    const char *name;
    void *value;
    size_t it = 0;

    forget(f);
    /* rules of those that came while nothing was kept: all keys first */
    while (strmap_next(f->c->by_name, &it, &name, &value))
        for (const struct occupant *o = ((struct cluster_node *)value)->occupants; o; o = o->next)
            if (fast_sig_has_peers(o->affinity))
                fast_sig_vm_keys(f->vm_keys, o->affinity, NULL, 0);
    it = 0;
    while (strmap_next(f->c->by_name, &it, &name, &value))
        for (struct occupant *o = ((struct cluster_node *)value)->occupants; o; o = o->next)
            join(f, o);
    f->kinds_stale = false;
    f->epoch++;
}

static void
forget(struct fast *f)
{
    for (size_t i = 0; i < f->kinds_len; i++) {
        for (struct occupant *o = f->kinds[i].first; o; o = o->kind_next)
            o->kind = CLUSTER_NO_KIND;
        free(f->kinds[i].sig);
    }
    f->kinds_len = f->kinds_live = 0;
    memset(f->kind_buckets, 0, sizeof(f->kind_buckets));
}

static void
join(struct fast *f, struct occupant *o)
{
    struct fast_kind *k;

    sb_reset(&f->scratch);
    fast_sig_kind(f, o, &f->scratch);
    o->kind = kind_with(f, &f->scratch);
    k = &f->kinds[o->kind];
    f->kinds_live += k->first == NULL;
    o->kind_next = k->first;
    o->kind_link = &k->first;
    if (k->first)
        k->first->kind_link = &o->kind_next;
    k->first = o;
}

static uint32_t
kind_with(struct fast *f, const struct sb *sig)
{
    uint64_t h = fast_hash(sig->buf, sig->len);
    uint32_t *bucket = &f->kind_buckets[h % ARRAY_LEN(f->kind_buckets)];
    struct fast_kind *k;

    for (uint32_t i = *bucket; i != 0; i = f->kinds[i - 1].next) {
        k = &f->kinds[i - 1];
        if (k->hash == h && k->len == sig->len && memcmp(k->sig, sig->buf, sig->len) == 0)
            return i - 1;
    }
    if (f->kinds_len == f->kinds_cap) {
        size_t cap = f->kinds_cap ? 2 * f->kinds_cap : 16;

        f->kinds = xreallocarray(f->kinds, cap, sizeof(*f->kinds));
        f->kinds_cap = cap;
        for (size_t i = 0; i < f->kinds_len; i++) /* they have moved */
            if (f->kinds[i].first)
                f->kinds[i].first->kind_link = &f->kinds[i].first;
    }
    k = &f->kinds[f->kinds_len++];
    *k = (struct fast_kind){.sig = xmalloc(sig->len), .len = sig->len, .hash = h, .next = *bucket};
    memcpy(k->sig, sig->buf, sig->len);
    *bucket = (uint32_t)f->kinds_len;
    return *bucket - 1;
}
