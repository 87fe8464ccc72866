/* Shared mappings that huge pages fit into. */
#ifndef BASE_HUGEMAP_H
#define BASE_HUGEMAP_H

#include <stdint.h>

#define HUGEMAP_BYTES (2u << 20)

/* Maps the first size bytes of the memory file fd shared, read-write and without reserving, at an
 * address that is a multiple of HUGEMAP_BYTES, so that a huge page of the file can be one of the
 * mapping. The caller unmaps it with munmap(p, size). MAP_FAILED and errno as mmap. */
void *hugemap(int fd, uint64_t size);

#endif
