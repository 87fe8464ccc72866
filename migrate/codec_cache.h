/* The versions of pages that were sent last, at the source: what deltas are made against. One for
 * each worker, whose pages never change channel, so nothing is locked. Bounded: sets of 8 places,
 * in which neighbouring pages go to neighbouring sets, so that a writable working set that lies
 * together fits to the last page. A page that is found becomes hotter, and a newcomer gets only a
 * place that has gone cold; so a stream of pages that come once takes at most one place of each
 * set, and a working set larger than the budget keeps what is in rather than turning over.
 * docs/decisions/0005-delta-format-and-cache.md.
 *
 * The caller names pages by a number of its own (dense from 0: neighbours differ by 1). What is in
 * here must be what the target holds, or the page's sum will be wrong there and the page asked for
 * again: whoever sends a page in another way fills it anew or drops it. */
#ifndef MIGRATE_CODEC_CACHE_H
#define MIGRATE_CODEC_CACHE_H

#include <stdint.h>

struct codec_cache;

/* bytes: at most so much memory for versions; it is taken from the kernel as pages come. NULL when
 * that is less than one set (32 KiB) or there is no address space for it. */
struct codec_cache *codec_cache_new(uint64_t bytes);
void codec_cache_free(struct codec_cache *c); /* NULL is fine */
/* The version of a page (LAYOUT_PAGE_BYTES, page-aligned, valid until the next put), or NULL. */
uint8_t *codec_cache_find(struct codec_cache *c, uint64_t page);
/* A place for it, which the caller fills entirely; NULL when all places that it may have are
 * hotter. */
uint8_t *codec_cache_put(struct codec_cache *c, uint64_t page);
void codec_cache_drop(struct codec_cache *c, uint64_t page);
/* Pages in it. */
uint64_t codec_cache_used(const struct codec_cache *c);

#endif
