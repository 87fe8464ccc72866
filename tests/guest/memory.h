/* The test guest's working memory: pages whose every byte follows from the page's number and from how often it
 * was written, so that a lost, stale or torn page is seen whenever it is looked at. */
#ifndef TESTS_GUEST_MEMORY_H
#define TESTS_GUEST_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Takes at most `pages` pages from the room [from, to) and writes each once: random (incompressible) or
 * zero content. Returns how many there are. */
uint64_t memory_fill(uint64_t from, uint64_t to, uint64_t pages, bool random);
/* Checks the next page in turn, all of it, and writes it: all of it, or two words. Returns true when a
 * pass over all pages is complete. */
bool memory_write_next(bool whole);
/* Checks the next page in turn without writing it; the same. */
bool memory_check_next(void);
uint64_t
memory_bad(void); /* pages that were not what was written there: each is put right once seen */

#endif
