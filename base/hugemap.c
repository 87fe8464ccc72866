/* See hugemap.h. */
#include "base/hugemap.h"

#include <stddef.h>
#include <sys/mman.h>

void *
hugemap(int fd, uint64_t size)
{
    uint64_t room;
    uint8_t *p, *at;
    void *map;

    if (__builtin_add_overflow(size, HUGEMAP_BYTES, &room))
        return MAP_FAILED;
    p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return MAP_FAILED;
    at = p + (-(uintptr_t)p & (HUGEMAP_BYTES - 1));
    map = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (map == MAP_FAILED) {
        munmap(p, room);
        return MAP_FAILED;
    }
    if (at > p)
        munmap(p, (uintptr_t)at - (uintptr_t)p);
    at += (size + 4095) & ~4095ull;
    if (at < p + room)
        munmap(at, (uintptr_t)(p + room) - (uintptr_t)at);
    return map;
}
