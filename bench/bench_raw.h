/* The yardstick: what plain TCP streams carry from memory to memory, doing no more than that. */
#ifndef BENCH_BENCH_RAW_H
#define BENCH_BENCH_RAW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BENCH_RAW_MAX_STREAMS 8

/* Sends len bytes of mapped memory to addr ("ip:port", IPv4) over so many streams, each its
 * contiguous share; encrypted: as AES-GCM records (bench_aes.h). The sockets are as the system makes
 * them, but for their congestion control where `control` is not NULL. Blocks until the kernel has
 * taken all. */
struct bench_raw {
    const char *addr, *control;
    const uint8_t *memory;
    uint64_t len;
    unsigned streams;
    bool encrypted;
};
int bench_raw_send(const struct bench_raw *r, struct err *err);
/* The other end: takes streams connections from a listening socket and receives into p. Blocks
 * until all has come. */
int bench_raw_receive(int listen_fd, uint8_t *p, uint64_t len, unsigned streams, bool encrypted,
                      struct err *err);

/* All len bytes over a blocking socket, or an error (-EPIPE: the peer closed). */
int bench_send_all(int fd, const void *buf, size_t len, struct err *err);
int bench_recv_all(int fd, void *buf, size_t len, struct err *err);

#endif
