/* Binary heap; see heap.h. */
#include "control/heap.h"

#include "base/cleanup.h"
#include "base/sb.h"

static void
set(struct heap *h, size_t pos, void *item)
{
    h->items[pos] = item;
    h->moved(item, pos);
}

static size_t
up(struct heap *h, size_t pos)
{
    void *item = h->items[pos];

    for (; pos > 0 && h->before(item, h->items[(pos - 1) / 2]); pos = (pos - 1) / 2)
        set(h, pos, h->items[(pos - 1) / 2]);
    set(h, pos, item);
    return pos;
}

static void
down(struct heap *h, size_t pos)
{
    void *item = h->items[pos];

    for (size_t child; (child = 2 * pos + 1) < h->len; pos = child) {
        if (child + 1 < h->len && h->before(h->items[child + 1], h->items[child]))
            child++;
        if (!h->before(h->items[child], item))
            break;
        set(h, pos, h->items[child]);
    }
    set(h, pos, item);
}

void
heap_done(struct heap *h)
{
    free(h->items);
    h->items = NULL;
    h->len = h->cap = 0;
}

void *
heap_first(const struct heap *h)
{
    return h->len ? h->items[0] : NULL;
}

void
heap_put(struct heap *h, void *item)
{
    if (h->len == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 16;
        h->items = xreallocarray(h->items, h->cap, sizeof(*h->items));
    }
    h->items[h->len] = item;
    up(h, h->len++);
}

void
heap_del(struct heap *h, size_t pos)
{
    void *last = h->items[--h->len];

    if (pos == h->len)
        return;
    h->items[pos] = last;
    heap_fix(h, pos);
}

void
heap_fix(struct heap *h, size_t pos)
{
    if (up(h, pos) == pos)
        down(h, pos);
}
