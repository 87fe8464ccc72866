/* Dirty tracking of another process' shared memory without code in it: a userfaultfd of that
 * process in WP_ASYNC mode (the kernel clears the write protection at the first write by itself)
 * and PAGEMAP_SCAN on its /proc/PID/pagemap, which reports what was written and protects it again
 * in one step. Linux 6.7 or later.
 *
 * Costs: 0.3-0.6 ms a GiB for a read-only scan, under 1 us for the guest's first
 * write to a page after it was armed. What is not seen: writes that do not go through the guest's
 * own mapping (ours, a device's, another process'), and holes that the guest punches (present.h
 * finds those, but not what is zeroed in place because a huge page could not be split: after it gave
 * memory back a guest may read old content or zeros, docs/engine.md). */
#ifndef MIGRATE_TRACK_H
#define MIGRATE_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/guest.h"

struct track;

/* Whether this kernel can do it: tries it on a page of our own, once a process. 0, or -ENOTSUP with
 * a text that names what is missing. */
int track_probe(struct err *err);

/* Registers all regions; from then on the guest's memory can be armed. A userfaultfd that an
 * earlier, killed daemon left in the guest is closed first. Nothing is armed yet: everything counts
 * as written. */
int track_new(const struct guest *g, const struct guest_region *regions, unsigned regions_len,
              struct track **ret, struct err *err);
/* Unregisters, closes, and tells the guest to close its copy. NULL is fine. err may be NULL; the
 * tracker is gone even on an error. */
int track_free(struct track *t, struct err *err);

/* A range of one scan, in bytes into the region. */
struct track_range {
    uint64_t start, end;
    bool written; /* since it was last armed, or never armed */
    bool mapped; /* in the guest's page tables; else only the file can tell whether there is data */
};

/* Buffer of one scanning thread. */
struct track_buf;
struct track_buf *track_buf_new(void);
void track_buf_free(struct track_buf *b);

/* Calls fn for every range in [start, end) of a region that was written or is not mapped, in order.
 * With arm, what is reported is write-protected again in the same step: read the pages after this
 * call. Any thread, each with its own buffer. Stops at the first non-zero return of fn and returns
 * it. */
int track_scan(struct track *t, struct track_buf *b, unsigned region, uint64_t start, uint64_t end,
               bool arm, int (*fn)(void *ctx, const struct track_range *r), void *ctx,
               struct err *err);

#endif
