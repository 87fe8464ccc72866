/* Is a page all zeros? Most pages that are not show it in their first bytes; those that are, are
 * read at memory speed (AVX-512 or AVX2 where the processor has it). The page may be written by the guest
 * meanwhile: then either answer may come, and dirty tracking sends the page again. */
#ifndef MIGRATE_ZERO_H
#define MIGRATE_ZERO_H

#include <stdbool.h>

/* page: LAYOUT_PAGE_BYTES at a multiple of 64. Any thread. */
bool zero_page(const void *page);

/* For the test that compares them, and for zero.c. */
bool zero_page_plain(const void *page);
bool zero_page_avx2(const void *page);
bool zero_page_avx512(const void *page); /* only where __builtin_cpu_supports("avx512f") */

#endif
