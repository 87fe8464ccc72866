/* The yardstick: what plain TCP streams carry from memory to memory, doing no more than that. */
#ifndef BENCH_BENCH_RAW_H
#define BENCH_BENCH_RAW_H

#include <stdint.h>

#include "base/err.h"

#define BENCH_RAW_MAX_STREAMS 8

/* Sends len bytes of mapped memory to addr over so many streams, each its contiguous share. Blocks
 * until the kernel has taken all. */
int bench_raw_send(const char *addr, const uint8_t *p, uint64_t len, unsigned streams,
                   struct err *err);
/* The other end: takes streams connections from a listening socket and receives into p. Blocks
 * until all has come. */
int bench_raw_receive(int listen_fd, uint8_t *p, uint64_t len, unsigned streams, struct err *err);

#endif
