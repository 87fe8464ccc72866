/* One relay between the two sides: a process of its own on each, so that what both used is what the
 * kernel says of them: ours (migrate/relay.h), or socat. It carries one or more streams from a unix
 * socket at the near side to one at the far side. */
#ifndef BENCH_BENCH_RELAY_H
#define BENCH_BENCH_RELAY_H

#include "bench/bench_sides.h"

#define BENCH_RELAY_MAX_STREAMS 8

struct bench_relay_kind {
    const char *socat_buffer; /* socat's -b; NULL = ours */
    bool encrypted;
    unsigned streams; /* socat: 1 */
};

/* What is compared, as an index for struct bench_order. */
extern const struct bench_relay_kind bench_relay_kinds[];
#define BENCH_RELAY_KINDS 8u

/* Where socat is found; NULL = nowhere. Borrowed. */
const char *bench_relay_socat(void);

/* One side's process. */
struct bench_relay {
    pid_t pid;
    int stop_fd;
};

/* far: listens at BENCH_FAR_IP; ret_addr is where. Streams go to the unix socket `path`. */
int bench_relay_far(unsigned kind, const char *path, struct bench_relay *ret,
                    char ret_addr[MIG_ADDR_SIZE], struct err *err);
/* near: connects to addr; makes the unix socket `path`. Returns when that is there. */
int bench_relay_near(unsigned kind, const char *addr, const char *path, struct bench_relay *ret,
                     struct err *err);
/* Ends it; ret_cpu_us: user and system time of its whole life. */
int bench_relay_stop(struct bench_relay *r, uint64_t *ret_cpu_us, struct err *err);

#endif
