/* A heap of deadlines, with a map to find an object's own; see control/loop_due.h. */
#include "control/loop_due.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "control/heap.h"
#include "base/sb.h"
#include "base/strmap.h"

struct item {
    int64_t at_us;
    size_t pos;
    enum kind kind;
    char *ns, *name;
};

struct loop_due {
    struct heap heap;
    struct strmap *known;
    struct item *last; /* what loop_due_next has given out */
};

static char *key_of(enum kind kind, const char *ns, const char *name);
static bool before(const void *a, const void *b);
static void moved(void *item, size_t pos);
static void item_free(void *p);

struct loop_due *
loop_due_new(void)
{
    struct loop_due *d = xcalloc(1, sizeof(*d));

    d->known = strmap_new();
    d->heap = (struct heap){.before = before, .moved = moved};
    return d;
}

void
loop_due_free(struct loop_due *d)
{
    if (!d)
        return;
    strmap_free(d->known, item_free);
    if (d->last)
        item_free(d->last);
    heap_done(&d->heap);
    free(d);
}

bool
loop_due_at(struct loop_due *d, enum kind kind, const char *ns, const char *name, int64_t wall_us)
{
    AUTO_FREE char *key = key_of(kind, ns, name);
    struct item *i = strmap_get(d->known, key);

    if (i) {
        if (wall_us < i->at_us) {
            i->at_us = wall_us;
            heap_fix(&d->heap, i->pos);
        }
        return false;
    }
    i = xcalloc(1, sizeof(*i));
    *i = (struct item){wall_us, 0, kind, xstrdup(ns ? ns : ""), xstrdup(name)};
    strmap_put(d->known, key, i);
    heap_put(&d->heap, i);
    return true;
}

int64_t
loop_due_first_us(const struct loop_due *d)
{
    const struct item *i = heap_first(&d->heap);

    return i ? i->at_us : 0;
}

bool
loop_due_next(struct loop_due *d, int64_t now_us, enum kind *ret_kind, const char **ret_ns,
              const char **ret_name)
{
    struct item *i = heap_first(&d->heap);

    if (!i || i->at_us > now_us)
        return false;

    AUTO_FREE char *key = key_of(i->kind, i->ns, i->name);

    strmap_del(d->known, key);
    heap_del(&d->heap, i->pos);
    if (d->last)
        item_free(d->last);
    d->last = i;
    *ret_kind = i->kind;
    *ret_ns = i->ns;
    *ret_name = i->name;
    return true;
}

static char *
key_of(enum kind kind, const char *ns, const char *name)
{
    return xasprintf("%d/%s/%s", (int)kind, ns ? ns : "", name);
}

static bool
before(const void *a, const void *b)
{
    return ((const struct item *)a)->at_us < ((const struct item *)b)->at_us;
}

static void
moved(void *item, size_t pos)
{
    ((struct item *)item)->pos = pos;
}

static void
item_free(void *p)
{
    struct item *i = p;

    free(i->ns);
    free(i->name);
    free(i);
}
