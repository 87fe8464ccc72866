/* A recorded trace of dirty pages: what a guest wrote, interval by interval. Recorded by
 * trace_record.c through PAGEMAP_SCAN, replayed by simulate.c. The format (text, version 1) is in
 * docs/convergence.md; a file is hostile until it is decoded. */
#ifndef MIGRATE_TRACE_H
#define MIGRATE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TRACE_VERSION       1
#define TRACE_PAGE_BYTES    4096u
#define TRACE_MAX_MEMORY    (1ull << 43)
#define TRACE_MAX_INTERVALS 100000u
#define TRACE_MAX_RANGES    (1u << 24)
#define TRACE_MAX_US        (24ull * 3600 * 1000000)
#define TRACE_MAX_FILE      (256u << 20)

struct trace_range {
    uint32_t page, pages; /* numbered through over all regions */
};

struct trace_interval {
    uint64_t end_us;     /* since the start of the recording */
    uint32_t first, len; /* of ranges */
};

struct trace {
    uint64_t memory_bytes, present_bytes;
    struct trace_interval *intervals;
    uint32_t intervals_len;
    struct trace_range *ranges;
    uint32_t ranges_len;
    uint64_t *seen; /* of trace_after: a bit a page, dirty since the last spread one; and scratch */
};

/* Decodes text of len bytes. -EINVAL names the line and what is wrong with it. */
int trace_parse(const char *text, size_t len, struct trace **ret, struct err *err);
int trace_load(const char *path, struct trace **ret, struct err *err); /* blocks */
void trace_free(struct trace *t);                                      /* NULL is fine */

/* Bytes that are dirty after a round that began from_us into the recording and took us; when it
 * ends the recording starts over. spread: the pages written were sent evenly over that time, in
 * order of their number, so that only what was written after its page was sent counts; else all
 * of it does. */
uint64_t trace_after(struct trace *t, uint64_t from_us, uint64_t us, bool spread);

#endif
