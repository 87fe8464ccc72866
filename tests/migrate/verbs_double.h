/* A double of libibverbs and librdmacm for tests: both ends of a connection in one process, devices that
 * exist by name of an address only. The programs of tests/migrate are linked with it instead of the
 * libraries; the same test_rdma_*.c are linked a second time with the libraries and verbs_real.c, where
 * verbs_is_double() is false, everything here that injects or counts does nothing, and the address of a
 * device comes from RDMA_TEST_IP.
 *
 * What it does as a device does: work is carried out by a thread of its own, in order in a queue pair;
 * slots of a send queue come free when their completion is polled; registering populates; keys are never
 * used twice; private data arrives padded with zeros (RoCE); a queue pair whose peer has gone ends with
 * RETRY_EXC. What no program may do ends in abort() with a line that says why: a completion queue that
 * overruns, an event that was never acknowledged, a channel that is destroyed before what uses it.
 * Any thread may call any of these. */
#ifndef TESTS_MIGRATE_VERBS_DOUBLE_H
#define TESTS_MIGRATE_VERBS_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

bool verbs_is_double(void);
/* The address that a test uses on both sides: RDMA_TEST_IP, else 127.0.0.1, to which the double then
 * adds a device. NULL: no device here, skip (the real libraries without RDMA_TEST_IP). */
const char *rdma_test_ip(void);

/* --- devices: none but those added --- */

void verbs_device_add(const char *ip);
/* Its connections get DEVICE_REMOVAL, its queue pairs are flushed, its registrations are dead. */
void verbs_device_remove(const char *ip);
/* Takes all devices and knobs away, ready for the next test; whether something was still alive, which
 * is printed then. */
bool verbs_reset(void);

/* What the devices can do; for connections and registrations made from then on. */
void verbs_set_on_demand(bool on);         /* default: off */
void verbs_set_write_imm(bool on);         /* default: on; off: refused as siw does */
void verbs_set_read_depth(int n);          /* default: 16 */
void verbs_set_lock_limit(uint64_t bytes); /* default: UINT64_MAX. Over it: ENOMEM */

/* --- trouble --- */

/* The nth call (1 = the next) of this function ("ibv_reg_mr", "rdma_connect", ...) fails with this errno;
 * nth 0: every call from now on. */
void verbs_fail_call(const char *function, unsigned nth, int code);
/* The nth work request of this kind ends with this status, without its data; the queue pair with it. */
void verbs_fail_work(enum ibv_wr_opcode kind, unsigned nth, enum ibv_wc_status status);
/* The nth READ brings only so many bytes, says so in byte_len, and claims success. */
void verbs_short_read(unsigned nth, uint32_t bytes);
/* The nth WRITE arrives with one bit of its first byte turned round, and claims success. */
void verbs_corrupt_write(unsigned nth);
/* The nth work request of this kind, and what comes behind it in its queue pair, gets no answer; after
 * this time the device gives up: RETRY_EXC. */
void verbs_black_hole(enum ibv_wr_opcode kind, unsigned nth, unsigned ms);
/* All devices are removed once the nth work request of this kind is carried out. */
void verbs_remove_at(enum ibv_wr_opcode kind, unsigned nth);
unsigned verbs_struck(void);          /* how often any of these has happened since verbs_reset */
void verbs_drop_disconnects(bool on); /* the peer of a connection that ends is told nothing */
/* Queue pairs take turns as this seed says, some far ahead of others; 0: round robin. */
void verbs_reorder(uint64_t seed);

#define VERBS_QPS_MAX 256

struct verbs_qp {
    uint32_t number;
    bool dialled;     /* the end that connected, not the one that accepted */
    uint64_t sent[8]; /* work requests carried out, by opcode (IBV_WR_RDMA_WRITE ...) */
    unsigned waiting; /* work requests that were posted and not carried out */
    enum ibv_qp_state state;
};

/* Those that live, oldest first; at most `max` of them. */
size_t verbs_qps(struct verbs_qp *ret, size_t max);
void verbs_hold(uint32_t qp,
                bool on); /* 0: all, those to come too. Nothing that it posts is carried out */
/* It and its peer fail: RETRY_EXC for the first that waits, the rest flushed. 0: all. */
void verbs_break(uint32_t qp);

/* --- what there is, and what was done since verbs_reset --- */

struct verbs_counts {
    unsigned contexts, pds, mrs, cqs, comp_channels, qps, ids, event_channels; /* alive */
    uint64_t mr_bytes, mr_bytes_most; /* pinned: now, at most */
    uint64_t registrations;           /* ever */
    uint64_t work[8], bytes[8];       /* carried out, by opcode */
};

void verbs_counts(struct verbs_counts *ret);
/* Blocks until at least so many work requests of this kind were carried out (or 30 s, then false). */
bool verbs_wait_work(enum ibv_wr_opcode kind, uint64_t n);

#endif
