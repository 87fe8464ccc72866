/* Two nics of one address and a lane between them, both in this process, for the tests of rdma_lane.h
 * and rdma_nic.h. Runs over the double and, linked with the libraries, over the device at
 * RDMA_TEST_IP. Everything here fails the test when it does not work. */
#ifndef TESTS_MIGRATE_LANE_PAIR_H
#define TESTS_MIGRATE_LANE_PAIR_H

#include "migrate/rdma_int.h"

#define SECOND   UINT64_C(1000000)
#define PATIENCE (20 * SECOND) /* for what must come */
#define MIB      ((size_t)1 << 20)
#define PIECE    4096
#define READS    16

struct lane_pair {
    struct nic *near, *far;
    struct lane *d, *a; /* d dialled, a accepted */
    char addr[MIG_ADDR_SIZE];
    uint8_t shown[FRAME_PREAMBLE_SIZE], seen[FRAME_PREAMBLE_SIZE];
    struct lane_config dial_cfg, accept_cfg;
    int dial_rc;
    struct err dial_err;
};

void lane_pair_open(struct lane_pair *k);    /* the nics; far listens at addr */
void lane_pair_connect(struct lane_pair *k); /* the lane */
void lane_pair_up(struct lane_pair *k);      /* both */
void lane_pair_up_to_read(struct lane_pair *k);
void lane_pair_down(struct lane_pair *k); /* what there is of it */
/* Dials as it says there, and leaves what came of it there: a thread's main. */
void *lane_pair_dial(void *k);
struct nic_request *lane_pair_request(struct nic *n, uint8_t seen[FRAME_PREAMBLE_SIZE]);
void lane_pair_send_byte(struct lane *l, uint8_t b);
uint8_t lane_pair_recv_byte(struct lane *l);

struct region {
    uint8_t *p;
    size_t bytes;
    struct nic_mr *mr; /* may be ended before */
};

struct region region_new(struct nic *n, size_t bytes, unsigned access);
void region_drop(struct region *r);
void region_fill(struct region *r, uint64_t seed);

/* Setup and teardown: nothing is left, no descriptor and no locked page. */
int lane_pair_before(void **state);
int lane_pair_after(void **state);
int lane_pair_warm_up(void **state); /* of the group: libraries keep what they know of devices */
/* 77, and why, when there is no device; else 0. */
int lane_pair_missing(void);
#define LANE_TEST(name) cmocka_unit_test_setup_teardown(name, lane_pair_before, lane_pair_after)

#endif
