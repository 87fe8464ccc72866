/* Binary heap of pointers: the first by a given order, and any of them taken out by its position,
 * which each item keeps. Items are borrowed. Not thread-safe. */
#ifndef CONTROL_HEAP_H
#define CONTROL_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct heap {
    /* set by the owner; the rest is zeroed at first */
    bool (*before)(const void *a, const void *b);
    void (*moved)(void *item, size_t pos); /* it is at pos now */
    void **items;
    size_t len, cap;
};

void heap_done(struct heap *h);
void *heap_first(const struct heap *h); /* NULL when it is empty */
void heap_put(struct heap *h, void *item);
void heap_del(struct heap *h, size_t pos);
/* The item at pos comes earlier or later than it did. */
void heap_fix(struct heap *h, size_t pos);

#endif
