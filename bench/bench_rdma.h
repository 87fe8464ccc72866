/* The RDMA device that row rdma measures over, and perftest's ib_write_bw over the same one. */
#ifndef BENCH_BENCH_RDMA_H
#define BENCH_BENCH_RDMA_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "migrate/rdma_nic.h"

struct bench_rdma {
    char ip[INET6_ADDRSTRLEN]; /* of this machine, and the device is reached by it */
    char device[NIC_NAME_SIZE];
    bool soft; /* rxe or siw: the processors do what the device would */
};

/* ip: NULL = the first address of this network namespace that a device is reached by. -ENODEV with
 * the reason. */
int bench_rdma_find(const char *ip, struct bench_rdma *ret, struct err *err);

/* Sends bytes (a multiple of 64 KiB) from the device to itself by ib_write_bw, both ends here. -ENOENT:
 * perftest is not installed. Blocks. */
int bench_rdma_write_bw(const struct bench_rdma *d, uint64_t bytes, double *ret_gb_per_s,
                        struct err *err);
/* What of ib_write_bw's words is its average, in GB/s of 10^9 bytes. False: none is there. */
bool bench_rdma_parse(const char *text, double *ret_gb_per_s);

#endif
