/* What a source pushes in post-copy, and in which order: pure arithmetic over a bitmap of what the
 * target still lacks. First what lies around the last page that the guest had to wait for, in a
 * window that grows from 64 KiB to 4 MiB and begins anew with each fault (a guest that walks
 * through memory meets pages that are already there); then the stripes that were dirty in
 * most rounds of pre-copy; then the rest in address order.
 *
 * Not thread-safe: whoever shares one holds a lock around each call. */
#ifndef MIGRATE_PLAN_H
#define MIGRATE_PLAN_H

#include <stdint.h>

#include "proto/layout.h"

#define PLAN_WINDOW_MIN 16u   /* pages: 64 KiB */
#define PLAN_WINDOW_MAX 1024u /* 4 MiB */

struct plan {
    const struct layout *layout; /* borrowed */
    uint64_t *todo;              /* one bit a page */
    uint64_t left;               /* bits in it */
    uint32_t *order;             /* stripes, hottest first */
    uint64_t order_at;           /* before it nothing is left */
    uint64_t focus;              /* page of the last fault */
    uint32_t window;             /* pages around it; 0 = none */
};

/* What one call gives: pages of one stripe, all of them still lacking. */
struct plan_run {
    uint64_t page; /* global number */
    uint32_t pages;
};

/* todo is copied (layout->stripes * LAYOUT_STRIPE_PAGES bits); heat: one number a stripe, or NULL. */
void plan_init(struct plan *p, const struct layout *l, const uint64_t *todo, const uint8_t *heat);
void plan_done(struct plan *p);
/* Replaces what is lacking: the target said it anew. */
void plan_reset(struct plan *p, const uint64_t *todo);
/* The guest waits for these pages: the window begins at them. They count as sent. */
void plan_fault(struct plan *p, uint64_t page, uint32_t pages);
/* The next pages to push, at most max of them, which count as sent from here on. False when nothing
 * is left. */
bool plan_next(struct plan *p, uint32_t max, struct plan_run *ret);

#endif
