/* What of the source's memory the target may READ in post-copy, as windows of neighbouring pages: which
 * ones the source opens in a stripe, and the table that the target keeps of them. Pure; who shares a
 * table holds a lock around each call. See source_rdma_read.c, target_rdma_read.c. */
#ifndef MIGRATE_RDMA_REACH_H
#define MIGRATE_RDMA_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/control.h"
#include "proto/layout.h"

#define REACH_MAX  16384 /* windows that are open at once */
#define REACH_RUNS 32    /* of one stripe */

#define REACH_WORDS (LAYOUT_STRIPE_PAGES / 64) /* of one stripe's bits */

struct reach_run {
    uint32_t first, pages; /* in the stripe */
};

/* Ranges of a stripe that are worth opening, at most REACH_RUNS: each has missing pages, and none has a
 * page without data, which opening would allocate. Where much is missing, what has data between missing
 * pages is taken along, as one window is cheaper than two. Returns how many. */
unsigned reach_runs(const uint64_t missing[REACH_WORDS], const uint64_t data[REACH_WORDS],
                    struct reach_run ret[REACH_RUNS]);

struct reach_window {
    uint64_t first_page, pages, address;
    uint32_t key;
    uint32_t open;    /* READs */
    uint64_t arrived; /* so many of its pages, from the first on, are known to be there */
};

struct reach {
    struct reach_window *windows; /* by page; none overlaps another */
    size_t len, room;
};

/* Whether what a peer names lies inside one region. */
bool reach_inside(const struct layout *l, const struct control_window *w);

void reach_done(struct reach *r); /* empties it */
/* What a source says, which may be anything: every window must lie inside one region and over no other,
 * and have a key. -EPROTO with a text; the windows before the bad one are in then. */
int reach_add(struct reach *r, const struct layout *l, const struct control_windows *m,
              struct err *err);
/* The window that the page is in, or NULL. Valid until the table changes. */
struct reach_window *reach_find(const struct reach *r, uint64_t page);
void reach_remove(struct reach *r, size_t index);

#endif
