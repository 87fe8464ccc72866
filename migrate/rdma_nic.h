/* An RDMA device as the engine sees it (libibverbs, librdmacm): found by an address of the migration
 * network, with one protection domain for one end of one migration. Memory is reached by a peer only
 * through what is registered here and only while it is: everything goes with nic_close, which may be
 * called at any point. Facts that this rests on: docs/rdma.md. */
#ifndef MIGRATE_RDMA_NIC_H
#define MIGRATE_RDMA_NIC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/frame.h"

#define NIC_NAME_SIZE 64

struct nic;
struct nic_mr;
struct lane;

struct nic_facts {
    char device[NIC_NAME_SIZE]; /* "rxe0", "mlx5_0" */
    uint64_t lock_bytes; /* of memory that this process may still lock; UINT64_MAX = no limit */
    uint32_t read_depth; /* RDMA READs that one lane may have open */
    bool on_demand;      /* registers without populating and pinning (ODP), for WRITE and READ */
    bool write_imm;      /* WRITE_WITH_IMM works */
};

/* Whether an RDMA device is reached by this local address ("" = by whatever leads to `peer`, which is
 * ip:port or ""). 0; -ENODEV with the reason, for the decision log; -errno. Blocks for at most a
 * second. Any thread. */
int nic_open(const char *local_ip, const char *peer, struct nic **ret, struct err *err);
/* Ends everything that belongs to it: listener, requests, registrations. Lanes must be freed before.
 * NULL is fine. */
void nic_close(struct nic *n);
const struct nic_facts *nic_facts(const struct nic *n);

/* --- memory --- */

enum nic_access { /* bits; a peer needs none for what it sends */
                  NIC_LOCAL = 0,
                  NIC_PEER_WRITES = 1 << 0,
                  NIC_PEER_READS = 1 << 1,
                  NIC_ON_DEMAND = 1 << 2, /* only where nic_facts says so */
};
/* Registers [addr, addr + bytes): populates and locks it (but for NIC_ON_DEMAND), which blocks, a
 * millisecond a MiB or less. Any thread. -ENOMEM: over the limit of locked memory; other -errno. The
 * key is this registration's own, and of no use once it has ended. */
int nic_register(struct nic *n, void *addr, size_t bytes, unsigned access, struct nic_mr **ret,
                 struct err *err);
/* No peer reaches it when this returns. Any thread. NULL is fine. */
void nic_unregister(struct nic_mr *m);
uint64_t nic_mr_address(const struct nic_mr *m);
uint32_t nic_mr_key(const struct nic_mr *m);        /* never 0 */
uint64_t nic_registered_bytes(const struct nic *n); /* now, pinned ones only. Any thread */

/* --- connections that come --- */

struct nic_request;

/* Listens on a free port of the address that nic_open was given (which then must be one). */
int nic_listen(struct nic *n, uint16_t *ret_port, struct err *err);
int nic_listen_fd(const struct nic *n); /* readable: call nic_next_request. -1 = does not listen */
/* 1: *ret came, with what it showed as its first bytes (a stranger's: not decoded yet); answer it with
 * lane_accept or lane_refuse. 0: none now; -errno: the device is gone. Never blocks. */
int nic_next_request(struct nic *n, struct nic_request **ret, uint8_t preamble[FRAME_PREAMBLE_SIZE],
                     struct err *err);

#endif
